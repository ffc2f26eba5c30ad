"""Campaigns on a Dask cluster of local processes: the same results, and a worker that dies loses only its case."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hil.conformance import cluster
from hil.conformance.campaign import perform_all, plan
from hil.conformance.engine import Done, Job, bench_hash, perform
from hil.conformance.main import narrowed
from tests.conformance.test_campaign import broken, fake, jobs, small

distributed = pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
KILLED = "trips/OV2/as it is/all 2"


@contextmanager
def local(workers: int) -> Iterator[str]:
    """Worker processes on this machine with a nanny each, which starts a new one for one that died."""
    with distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as found:
        yield found.scheduler_address


def logged(job: Job, _: Path | None) -> Done:
    return fake(job, Path(os.environ["QUADRANT_TEST_LOG"]))


def deadly_once(job: Job, _: Path | None) -> Done:
    """The worker that plays one of the cases is killed in the middle of it, the first time."""
    folder = Path(os.environ["QUADRANT_TEST_LOG"])
    done = logged(job, None)
    if job.case.id == KILLED and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return done


def deadly(job: Job, _: Path | None) -> Done:
    if job.case.id == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    return logged(job, None)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUADRANT_TEST_LOG", str(tmp_path))
    return tmp_path


def played(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()


def test_one_and_two_workers_give_the_verdicts_and_captures_of_this_process(tmp_path: Path) -> None:
    whole = plan("ieee1547_2018_cat3", ["trips"], bench_hash(None))
    few = narrowed(whole, "OV2/as it is/L", None, real=False)
    few = replace(few, jobs=few.jobs[:2])
    here = perform_all(few, tmp_path / "here", 1, lambda *_: None)
    told = [(done.id, done.verdict, done.sha256, done.files) for done in here]
    assert {verdict for _, verdict, _, _ in told} == {"PASS"}
    for workers in (1, 2):
        out = tmp_path / f"cluster{workers}"
        with local(workers) as address:
            there = perform_all(few, out, 1, lambda *_: None, perform, address)
        assert [(done.id, done.verdict, done.sha256, done.files) for done in there] == told
        for done in here:
            for end in (".cfg", ".dat"):
                name = done.files + end
                assert (out / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_a_worker_killed_in_mid_campaign_loses_only_the_case_it_was_playing(log: Path) -> None:
    with local(2) as address:
        results = perform_all(small(log), log, 1, lambda *_: None, deadly_once, address)
    assert [done.verdict for done in results] == ["PASS"] * 5
    assert sorted(played(log)) == sorted([*(job.case.id for job in jobs()), KILLED])  # that one twice, no other


def test_a_case_that_kills_every_worker_is_an_error_and_the_others_have_their_verdicts(log: Path) -> None:
    with local(2) as address:
        results = perform_all(small(log), log, 1, lambda *_: None, deadly, address)
    assert {done.id: done.verdict for done in results if done.verdict != "PASS"} == {KILLED: "ERROR"}
    assert "died" in next(done.error for done in results if done.verdict == "ERROR")
    assert set(played(log)) == {job.case.id for job in jobs()} - {KILLED}
    assert len(results) == 5


def test_a_defect_and_another_code_on_a_worker_are_errors_and_no_verdicts(log: Path) -> None:
    stranger = replace(jobs(1)[0], key="of another code")
    with local(1) as address:
        done = list(cluster.work([*jobs(2)[1:], stranger], log, address, broken))
    assert [d.verdict for d in done] == ["ERROR", "ERROR"]
    assert any("RuntimeError: a defect" in d.error for d in done)
    assert any("other code" in d.error for d in done)


def test_a_cluster_that_would_give_other_results_is_refused_before_anything_is_played(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with local(1) as address:
        monkeypatch.setattr(cluster, "code_hash", lambda: "of this process only")
        with pytest.raises(cluster.ClusterError, match="would not give the same results"):
            list(cluster.work(jobs(1), log, address, logged))
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as found,
        pytest.raises(cluster.ClusterError, match="2 threads"),
    ):
        list(cluster.work(jobs(1), log, found.scheduler_address, logged))
    assert not (log / "log").exists()


def test_a_scheduler_that_goes_in_mid_campaign_is_said_and_what_is_done_stays(log: Path) -> None:
    with local(1) as address:
        results = cluster.work(jobs(), log, address, logged)
        first = next(results)
    with pytest.raises(cluster.ClusterError, match="is gone"):
        list(results)
    assert first.verdict == "PASS"


def test_a_scheduler_that_is_not_there_is_said_in_one_sentence(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 1.0)
    with pytest.raises(cluster.ClusterError, match=r"no Dask scheduler at tcp://127\.0\.0\.1:9"):
        list(cluster.work(jobs(1), log, "tcp://127.0.0.1:9", logged))
    assert not (log / "log").exists()


def test_the_key_that_a_worker_computes_is_the_campaigns() -> None:
    job = jobs(1)[0]
    done, files = cluster.remote(job, lambda job, out: Done(job.key, job.case.id, "", "", "", "PASS"))
    assert (done.key, files) == (job.key, {})
    with pytest.raises(cluster.ClusterError, match="other code"):
        cluster.remote(replace(job, seed=2), perform)
