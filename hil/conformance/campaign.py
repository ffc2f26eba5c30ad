"""A campaign: the cases of a code, played by processes, each result kept the moment it is there.

Results lie in OUT/results, one file per key; the key covers the case, the code, the profile, the bench and the
versions, so an interrupted campaign goes on where it was, and one after a change begins anew. A worker that dies loses
the case it was playing; that case is tried once more alone, and is an ERROR when it kills that worker too.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import boards
from firmware.grid_codes import GridCode, load
from firmware.guard.assemble import chain_of
from hil.bench.sim_grid import SIM_GRID
from hil.conformance import characteristics, cluster, enter, iec62116, others, ride, rocof, trips
from hil.conformance.case import SUITES, Case, Subject
from hil.conformance.engine import Done, Job, failed, job_of, perform
from hil.conformance.matrix import matrix_of
from hil.scenarios.campaign import EXIT_ERROR, EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS

Performer = Callable[[Job, Path | None], Done]
BUILDERS: dict[str, Callable[[Subject], tuple[list[Case], list[str]]]] = {
    "trips": trips.cases,
    "ride-through": ride.cases,
    "enter-service": enter.cases,
    "support": characteristics.cases,
    "phase-jump": others.phase_jump,
    "rocof": rocof.cases,
    "islanding": others.islanding,
    "iec62116": iec62116.cases,
}
BOARD, NOMINAL_V = "desk", 230.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign plays. left_out: what cannot be tested here, one sentence each."""

    subject: Subject
    suites: tuple[str, ...]
    jobs: tuple[Job, ...]
    left_out: tuple[str, ...]


def plan(
    name: str, suites: Sequence[str], bench: str, *, seed: int = 1, wrong: str = "", unverified: bool = False
) -> Plan:
    """bench: hash of the bench. Raises GridCodeError and TableError with a sentence."""
    code: GridCode = load(name, nominal_v=NOMINAL_V, allow_unverified=unverified)
    board = boards.load(BOARD)
    subject = Subject(code, matrix_of(code), chain_of(board), SIM_GRID, BOARD, NOMINAL_V, board.ratings.discharge_w)
    cases: list[Case] = []
    left_out: list[str] = []
    for suite in [s for s in SUITES if s in suites]:
        made, missing = BUILDERS[suite](subject)
        cases += made
        left_out += missing
    jobs = tuple(job_of(case, code.profile_hash, bench, seed, wrong) for case in cases)
    return Plan(subject, tuple(suites), jobs, tuple(left_out))


# -------------------------------------------------------------------------------------------------------------- journal
def kept(out: Path, key: str) -> Done | None:
    """A result of an earlier run, if it is whole and its capture is still there."""
    try:
        done = Done(**json.loads((out / "results" / f"{key}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    whole = not done.files or all((out / f"{done.files}.{end}").is_file() for end in ("cfg", "dat"))
    return done if whole and done.key == key else None


def keep(out: Path, done: Done) -> None:
    """Atomic: a half-written result is none."""
    folder = out / "results"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{done.key}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(done)), encoding="utf-8")
    os.replace(part, path)


# -------------------------------------------------------------------------------------------------------------- playing
def work(jobs: Sequence[Job], out: Path, workers: int, performer: Performer = perform) -> Iterator[Done]:
    """Results as they come."""
    if workers <= 1:
        for job in jobs:
            yield performer(job, out)
        return
    left = {job.key: job for job in jobs}
    run = partial(_pooled, performer=performer, out=out)
    while left:
        suspects: list[Job] = []
        for key, done in _pool(list(left.values()), workers, run):
            if done is None:
                suspects.append(left[key])
            else:
                del left[key]
                yield done
        for job in suspects:  # what the pool may have died of: one by one, so that the guilty one is known
            del left[job.key]
            for _, alone in _pool([job], 1, run):
                yield alone or failed(job, "the worker that played it died, twice")


def _pooled(job: Job, performer: Performer, out: Path) -> Done:
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)  # the campaign was killed; nobody wants what is still in the queue
    return performer(job, out)


def _pool(jobs: list[Job], workers: int, run: Callable[[Job], Done]) -> Iterator[tuple[str, Done | None]]:
    """(key, result) of what was done; None for what was being played when a worker died. The rest is not mentioned."""
    # spawn: nothing of this process (sockets, threads, a half-read terminal) gets into the workers
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = {pool.submit(run, job): job for job in jobs}
        broken: list[Job] = []
        for future in as_completed(futures):
            job = futures[future]
            try:
                yield job.key, future.result()
            except BrokenProcessPool:
                broken.append(job)
            except Exception as error:  # a defect of ours in one case: no verdict, and the others go on
                yield job.key, failed(job, f"the rig failed: {type(error).__name__}: {error}")
        order = {job.key: n for n, job in enumerate(jobs)}
        broken.sort(key=lambda job: order[job.key])
        for job in broken[:workers]:  # jobs start in order, so these were being played
            yield job.key, None


def perform_all(
    plan_: Plan,
    out: Path,
    workers: int,
    told: Callable[[Done, bool], None],
    performer: Performer = perform,
    dask: str = "",
) -> list[Done]:
    """Everything that is not there yet, then what the suites add because of it (longest islands again). told(result,
    from an earlier run?) is called for each. In the order of the plan. dask: address of a scheduler whose workers play,
    instead of `workers` processes here; raises cluster.ClusterError then."""
    results: dict[str, Done] = {}
    jobs = list(plan_.jobs)
    seen: set[str] = set()
    while True:
        new = [job for job in jobs if job.key not in seen]
        if not new:
            break
        seen |= {job.key for job in new}
        for job in new:
            if (old := kept(out, job.key)) is not None:
                results[job.key] = old
                told(old, True)
        todo = [job for job in new if job.key not in results]
        todo.sort(key=lambda job: repr((job.case.scenario.unit, job.case.scenario.start)))  # shared beginnings together
        played = cluster.work(todo, out, dask, performer) if dask else work(todo, out, workers, performer)
        for done in played:
            keep(out, done)
            results[done.key] = done
            told(done, False)
        jobs += [*others.follow_up(jobs, results), *iec62116.further(jobs, results)]
    return [results[job.key] for job in jobs]


def exit_code(results: Sequence[Done]) -> int:
    """FAIL first: it is what somebody must look at; a campaign without a case has proven nothing."""
    verdicts = {done.verdict for done in results}
    for name, code in (("FAIL", EXIT_FAIL), ("ERROR", EXIT_ERROR), ("INCONCLUSIVE", EXIT_INCONCLUSIVE)):
        if name in verdicts:
            return code
    return EXIT_PASS if verdicts else EXIT_ERROR
