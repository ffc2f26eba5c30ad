"""What `quadrant conform` does once it is asked."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from firmware.grid_codes import GridCodeError
from hil.bench import config
from hil.bench.bench import Bench
from hil.bench.roles import BenchError
from hil.bench.strict import TableError
from hil.conformance import report
from hil.conformance.campaign import Performer, Plan, exit_code, perform_all, plan
from hil.conformance.cluster import ClusterError
from hil.conformance.engine import Done, Job, bench_hash, code_hash, perform, versions
from hil.conformance.wrong import WRONG
from hil.scenarios.campaign import EXIT_ERROR, EXIT_USAGE
from hil.scenarios.play import Result, run

INTERRUPTED = 130
OVERHEAD_S = 3.0  # simulated seconds that a case costs beside its story, for the estimate of the time left


def main(args: argparse.Namespace) -> int:
    try:
        bench = config.load(args.bench) if args.bench else config.BenchConfig()
        if args.wrong and args.wrong not in WRONG:
            raise TableError(f"there is no wrong charger {args.wrong!r}; there are {', '.join(WRONG)}")
        if not bench.simulated and (args.jobs > 1 or args.wrong or args.dask):
            raise TableError(
                "a real bench plays one case at a time, on the charger that is there: no -j, no --dask, no --wrong"
            )
        if args.dask and args.jobs > 1:
            raise TableError("-j is of this machine; with --dask the cluster's workers play, as many as there are")
        whole = plan(args.code, args.suite, bench_hash(args.bench), seed=args.seed, wrong=args.wrong)
    except (GridCodeError, TableError, OSError) as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    chosen = narrowed(whole, args.only, args.longest, real=not bench.simulated)
    if args.show:
        return _show(chosen)
    if not chosen.jobs:
        print("There is no such case.", file=sys.stderr)
        return EXIT_USAGE
    performer: Performer = perform if bench.simulated else partial(_on_bench, bench_config=bench)
    about = facts(chosen, bench.name, args)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        results = _watched(chosen, args.out, args.jobs, performer, args.dask)
        report.write(args.out, results, about, chosen.left_out)
    except OSError as error:
        print(f"The results could not be written: {error}", file=sys.stderr)
        return EXIT_USAGE
    except ClusterError as error:
        print(error, file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on from here.", file=sys.stderr)
        return INTERRUPTED
    print(f"{report.summary(results)}; {args.out / 'report.html'}")
    return exit_code(results)


def narrowed(whole: Plan, only: str, longest_s: float | None, *, real: bool) -> Plan:
    """The part of a plan that is played; what is not is said in the report."""
    jobs, left_out = list(whole.jobs), list(whole.left_out)
    if only:
        jobs = [job for job in jobs if only in job.case.id]
        left_out.append(f"every case without {only!r} in its name (--only)")
    if longest_s is not None:
        gone = [job for job in jobs if job.case.scenario.duration_s > longest_s]
        jobs = [job for job in jobs if job.case.scenario.duration_s <= longest_s]
        left_out.append(f"{len(gone)} cases that play longer than {longest_s:g} s (--longest)")
    if real:
        other = [job.case.id for job in jobs if job.case.scenario.unit.adjust]
        jobs = [job for job in jobs if not job.case.scenario.unit.adjust]
        left_out += [f"{name}: needs other settings than the charger's own" for name in other]
    return replace(whole, jobs=tuple(jobs), left_out=tuple(left_out))


def facts(chosen: Plan, bench: str, args: argparse.Namespace) -> dict[str, str]:
    """What stands at the head of the report: no time of day, so that the same campaign gives the same report."""
    code = chosen.subject.code
    found = {
        "grid code": code.identity,
        "caution": code.caution,
        "procedures": f"{chosen.subject.matrix.name}: {chosen.subject.matrix.title}",
        "suites": ", ".join(chosen.suites),
        "bench": f"{bench}, sha256 {bench_hash(args.bench)}",
        "code": f"sha256 {code_hash()}",
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
        "seed": str(args.seed),
        "WRONG CHARGER": WRONG[args.wrong].title if args.wrong else "",
    }
    return {key: value for key, value in found.items() if value}


def _show(chosen: Plan) -> int:
    for job in chosen.jobs:
        print(f"{job.case.id:<60}{job.case.scenario.duration_s:8.1f} s  {job.case.scenario.title}")
    for text in chosen.left_out:
        print(f"not tested: {text}")
    total_s = sum(job.case.scenario.duration_s for job in chosen.jobs)
    print(f"{len(chosen.jobs)} cases, {total_s:.0f} s of simulated time")
    return 0


def _watched(chosen: Plan, out: Path, jobs: int, performer: Performer, dask: str) -> list[Done]:
    """With a bar on a terminal, else with a line per case."""
    console = Console(stderr=True)
    weights = {job.key: job.case.scenario.duration_s + OVERHEAD_S for job in chosen.jobs}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=600.0) as bar:
        task = bar.add_task("", total=round(sum(weights.values())))
        runs = 0

        def told(done: Done, before: bool) -> None:
            nonlocal runs
            runs += 1
            bar.update(
                task, advance=round(weights.get(done.key, 0.0)), description=f"{runs} of {len(chosen.jobs)} runs"
            )
            if done.verdict != "PASS" or not console.is_terminal:
                mark = " (kept)" if before else ""
                lines = [f"{done.verdict:<13}{done.id}{mark}", *(f"    {text}" for text in report.problems(done))]
                bar.console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)

        return perform_all(chosen, out, jobs, told, performer, dask)


def _on_bench(job: Job, out: Path | None, bench_config: config.BenchConfig) -> Done:
    """One case on instruments."""
    from hil.bench.real import open_bench

    def opened(_: object) -> Bench:
        bench = open_bench(bench_config)
        code = bench.unit.identity.get("code", job.case.scenario.unit.code)
        if code != job.case.scenario.unit.code:
            raise BenchError(f"unit: it runs under {code}, the case is for {job.case.scenario.unit.code}")
        return bench

    def player(job: Job) -> Result:
        return run(job.case.scenario, opened)

    return perform(job, out, player)
