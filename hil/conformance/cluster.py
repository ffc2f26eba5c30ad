"""A campaign's cases on the workers of a Dask cluster, as many machines as it has (extra `cluster`).

A case goes to a worker and comes back with its verdict and its capture; nothing is shared but the network. Every
worker must have this very code and the versions that the results depend on: the key of a case proves it. When a worker
dies, the case that it was playing is played by another one; nothing else is lost.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from typing import Any

from hil.conformance.engine import Done, Job, code_hash, failed, job_like, versions

CONNECT_S = 10.0
GONE_S = 60.0  # so long without any worker (own choice: a nanny starts a new one in a few seconds)
Files = dict[str, bytes]


class ClusterError(Exception):
    """The cluster cannot be used, or is gone. The text is a sentence."""


def identity() -> tuple[str, str]:
    """What every worker must have in common with this process."""
    return code_hash(), ", ".join(f"{name} {number}" for name, number in versions().items())


def remote(job: Job, performer: Callable[[Job, Path | None], Done]) -> tuple[Done, Files]:
    """On the worker: the result and its files, by their path below OUT."""
    if job_like(job, job.case).key != job.key:
        raise ClusterError(f"this worker has other code or other versions than the campaign: {identity()[1]}")
    with tempfile.TemporaryDirectory() as folder:
        done = performer(job, Path(folder))
        names = [done.files + end for end in (".cfg", ".dat")] if done.files else []
        return done, {name: (Path(folder) / name).read_bytes() for name in names}


def work(jobs: Sequence[Job], out: Path, address: str, performer: Callable[[Job, Path | None], Done]) -> Iterator[Done]:
    """Results as they come, their captures written under `out`. Raises ClusterError."""
    if not jobs:
        return
    try:
        import distributed
    except ImportError:
        raise ClusterError("--dask needs the extra `cluster`: pip install 'quadrant[cluster]'") from None
    try:
        client = distributed.Client(address, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise ClusterError(f"there is no Dask scheduler at {address}: {error}") from None
    with client:
        _check(client, address)
        results = _spread(client, deque(jobs), address, partial(remote, performer=performer))
        while True:
            try:
                found = next(results, None)
            except (CancelledError, distributed.CancelledError, OSError) as error:
                raise _gone(address, type(error).__name__) from None
            if found is None:
                return
            done, files = found
            for name, data in files.items():
                path = out / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            yield done


def _gone(address: str, why: str) -> ClusterError:
    return ClusterError(
        f"the cluster at {address} is gone ({why}); what is done is kept, and the same command goes on from there"
    )


def _check(client: Any, address: str) -> None:
    """Every worker has this code and one thread: two cases in one process would share their beginnings."""
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
    except TimeoutError:
        raise ClusterError(f"the scheduler at {address} has no worker") from None
    for worker, threads in client.nthreads().items():
        if threads != 1:
            raise ClusterError(f"worker {worker} has {threads} threads; start it with --nthreads 1 --nworkers N")
    ours = identity()
    for worker, theirs in client.run(identity).items():
        if theirs != ours:
            what = "other code" if theirs[1] == ours[1] else f"{theirs[1]}, here are {ours[1]}"
            raise ClusterError(f"worker {worker} would not give the same results: it has {what}")


def _spread(client: Any, waiting: deque[Job], address: str, call: Callable[[Job], Any]) -> Iterator[tuple[Done, Files]]:
    import distributed

    playing: dict[Any, Job] = {}  # never more than there are workers: a death concerns no case but the one that ran
    gone_s = 0.0
    while waiting or playing:
        while waiting and len(playing) < max(1, len(client.nthreads())):
            job = waiting.popleft()
            playing[client.submit(call, job, key=f"{job.key}-{job.case.id}", pure=False)] = job
        try:
            ready = distributed.wait(list(playing), timeout=1.0, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            gone_s = 0.0 if client.nthreads() else gone_s + 1.0
            if gone_s >= GONE_S:
                raise _gone(address, f"no worker for {GONE_S:g} s") from None
            continue
        for future in ready:
            yield _result(future, playing.pop(future))


def _result(future: Any, job: Job) -> tuple[Done, Files]:
    import distributed
    from distributed.comm.core import CommClosedError

    try:
        found: tuple[Done, Files] = future.result()
    except distributed.KilledWorker:
        return failed(job, "every worker that played it died"), {}
    except (CancelledError, distributed.CancelledError, CommClosedError):
        raise
    except Exception as error:  # a defect of ours in one case: no verdict, and the others go on
        return failed(job, f"the rig failed: {type(error).__name__}: {error}"), {}
    return found
