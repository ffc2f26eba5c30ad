"""Rows about conformance campaigns: cases per minute with one and with two workers, on the wall.

Every worker is a process of its own that starts, loads the charger and plays its way to the first case; the rate is
that of a short campaign with all of it, so a long one is faster.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from hil.conformance.campaign import perform_all, plan
from hil.conformance.engine import bench_hash
from tests.bench.harness import Row

CODE, STAGES = "ieee1547_2018_cat3", ("OV2/as it is", "OF2/as it is")


def rows() -> list[Row]:
    whole = plan(CODE, ["trips"], bench_hash(None))
    jobs = tuple(job for job in whole.jobs if any(stage in job.case.id for stage in STAGES))
    rates, verdicts = {}, []
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as out:
            begun = time.perf_counter()
            results = perform_all(replace(whole, jobs=jobs), Path(out), workers, lambda *_: None)
            rates[f"-j {workers}"] = 60.0 * len(jobs) / (time.perf_counter() - begun)
        verdicts.append([(done.id, done.verdict, done.sha256) for done in results])
    same = "identical" if verdicts[0] == verdicts[1] else "NOT identical"
    return [
        Row(
            "conformance", "cases a minute on the wall", rates,
            note=f"{len(jobs)} trip cases; verdicts and captures with one and two workers: {same}.",
        )
    ]  # fmt: skip
