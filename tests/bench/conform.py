"""Rows about conformance campaigns: cases per minute with one and with two workers, on the wall, and a long case alone.

Every worker is a process of its own that starts, loads the charger and plays its way to the first case; the rate is
that of a short campaign with all of it, so a long one is faster. A Dask cluster of local processes is started before
its clock runs: it stands for machines that are there.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from hil.conformance.campaign import Plan, perform_all, plan
from hil.conformance.engine import Done, beginning, bench_hash, play
from tests.bench.harness import Row

CODE, STAGES = "ieee1547_2018_cat3", ("OV2/as it is", "OF2/as it is")
LONG = "trips/UV1/as it is/all 1"  # 21 s below a limit, 1000 samples a second
EXTRA = "needs the extra `cluster` (pip install 'quadrant[cluster]')"


def _ours(workers: int, chosen: Plan, out: Path) -> tuple[list[Done], float]:
    begun = time.perf_counter()
    return perform_all(chosen, out, workers, lambda *_: None), time.perf_counter() - begun


def _dask(workers: int, chosen: Plan, out: Path) -> tuple[list[Done], float]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        begun = time.perf_counter()
        results = perform_all(chosen, out, 1, lambda *_: None, dask=cluster.scheduler_address)
        return results, time.perf_counter() - begun


def _campaign(name: str, ways: dict[str, Callable[[Plan, Path], tuple[list[Done], float]]], chosen: Plan) -> Row:
    rates, verdicts = {}, []
    for label, way in ways.items():
        with tempfile.TemporaryDirectory() as out:
            results, took_s = way(chosen, Path(out))
            rates[label] = 60.0 * len(chosen.jobs) / took_s
        verdicts.append([(done.id, done.verdict, done.sha256) for done in results])
    same = "identical" if all(told == verdicts[0] for told in verdicts) else "NOT identical"
    first, *_, last = rates.values()
    return Row(
        name, "cases a minute on the wall", rates,
        note=f"{len(chosen.jobs)} trip cases; verdicts and captures with one and two workers: {same}; two are "
        f"{last / first:.2f} times as fast as one.",
    )  # fmt: skip


def rows() -> list[Row]:
    whole = plan(CODE, ["trips"], bench_hash(None))
    chosen = replace(whole, jobs=tuple(job for job in whole.jobs if any(stage in job.case.id for stage in STAGES)))
    found = [_campaign("conformance", {f"-j {n}": partial(_ours, n) for n in (1, 2)}, chosen)]
    if find_spec("distributed"):
        ways = {f"{n} worker{'s' * (n > 1)}": partial(_dask, n) for n in (1, 2)}
        found.append(_campaign("conformance, --dask", ways, chosen))
    else:
        found.append(Row("conformance, --dask", skipped=EXTRA))
    job = next(job for job in whole.jobs if job.case.id == LONG)
    beginning(job)
    begun = time.thread_time()
    result = play(job)
    took_s = time.thread_time() - begun
    simulated_s = job.case.scenario.duration_s
    found.append(
        Row(
            "conformance, one case", "simulated s per s of processor time", {"speed": simulated_s / took_s},
            note=f"{LONG}, {simulated_s:.0f} s with 1000 samples a second, from its copied beginning to its verdict: "
            f"{result.verdict.value}.",
        )
    )  # fmt: skip
    return found
