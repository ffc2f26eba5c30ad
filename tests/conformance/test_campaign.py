"""Campaigns: what is done is kept, what changed is played again, a worker that dies loses only its case."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from hil.conformance import campaign, engine, iec62116, others, report
from hil.conformance.campaign import exit_code, kept, perform_all, plan, work
from hil.conformance.engine import Done, Job, job_of
from hil.conformance.main import narrowed
from tests.conformance.rig import case

ROWS = [{"verdict": "PASS", "what": "current ceases within 2 s of island", "found": "0.5000 s", "because": "x"}]


def fake(job: Job, out: Path | None) -> Done:
    """As `perform`, without a charger. OUT/log has a line per call."""
    assert out is not None
    with (out / "log").open("a") as log:
        log.write(f"{job.case.id}\n")
    return Done(job.key, job.case.id, job.case.suite, job.case.clause, "t", "PASS", outcomes=[dict(ROWS[0])])


def deadly(job: Job, out: Path | None) -> Done:
    if job.case.id.endswith("all 2"):
        os._exit(7)
    return fake(job, out)


def broken(job: Job, out: Path | None) -> Done:
    if job.case.id.endswith("all 2"):
        raise RuntimeError("a defect")
    return fake(job, out)


def jobs(count: int = 5) -> tuple[Job, ...]:
    runs = [case(f"trips/OV2/as it is/all {n}") for n in range(1, count + 1)]
    return tuple(job_of(run, "profile", "bench") for run in runs)


def small(out: Path) -> campaign.Plan:
    out.mkdir(exist_ok=True)
    whole = plan("ieee1547_2018_cat3", ["phase-jump"], "bench")
    return replace(whole, jobs=jobs())


def played(out: Path) -> list[str]:
    return (out / "log").read_text().split("\n")[:-1]


def test_a_second_run_plays_nothing_and_finds_the_same(tmp_path: Path) -> None:
    told: list[bool] = []
    first = perform_all(small(tmp_path), tmp_path, 1, lambda _, before: told.append(before), fake)
    second = perform_all(small(tmp_path), tmp_path, 1, lambda _, before: told.append(before), fake)
    assert first == second
    assert told == [False] * 5 + [True] * 5
    assert len(played(tmp_path)) == 5


def test_an_interrupted_campaign_goes_on_where_it_was(tmp_path: Path) -> None:
    def until_three(job: Job, out: Path | None) -> Done:
        if (tmp_path / "log").exists() and len(played(tmp_path)) == 3:
            raise KeyboardInterrupt
        return fake(job, out)

    with pytest.raises(KeyboardInterrupt):
        perform_all(small(tmp_path), tmp_path, 1, lambda *_: None, until_three)
    results = perform_all(small(tmp_path), tmp_path, 1, lambda *_: None, fake)
    assert len(results) == 5
    assert sorted(played(tmp_path)) == sorted({job.case.id for job in jobs()})  # none twice


def test_a_half_written_result_or_a_lost_capture_is_played_again(tmp_path: Path) -> None:
    (done,) = perform_all(replace(small(tmp_path), jobs=jobs(1)), tmp_path, 1, lambda *_: None, fake)
    path = tmp_path / "results" / f"{done.key}.json"
    path.write_text(path.read_text()[:40])
    assert kept(tmp_path, done.key) is None
    campaign.keep(tmp_path, replace(done, files="captures/x"))
    assert kept(tmp_path, done.key) is None
    (tmp_path / "captures").mkdir()
    for end in ("cfg", "dat"):
        (tmp_path / f"captures/x.{end}").write_text("")
    assert kept(tmp_path, done.key) is not None


def test_the_key_changes_with_everything_a_result_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    one = case("trips/OV2/as it is/all 1")
    keys = {
        job_of(one, "p", "b").key,
        job_of(case("trips/OV2/as it is/all 2"), "p", "b").key,
        job_of(replace(one, scenario=replace(one.scenario, duration_s=2.0)), "p", "b").key,
        job_of(one, "other", "b").key,
        job_of(one, "p", "other").key,
        job_of(one, "p", "b", 2).key,
        job_of(one, "p", "b", 1, "late").key,
    }
    same = job_of(one, "p", "b").key
    monkeypatch.setattr(engine, "code_hash", lambda: "other code")
    keys.add(job_of(one, "p", "b").key)
    monkeypatch.undo()
    monkeypatch.setattr(engine, "versions", lambda: {"python": "4"})
    keys.add(job_of(one, "p", "b").key)
    assert len(keys) == 9
    assert same in keys


@pytest.mark.slow
def test_a_worker_that_dies_loses_only_the_case_that_killed_it(tmp_path: Path) -> None:
    done = {d.id: d for d in work(jobs(), tmp_path, 2, deadly)}
    assert len(done) == 5
    bad = [d for d in done.values() if d.verdict != "PASS"]
    assert [(d.id, d.verdict) for d in bad] == [("trips/OV2/as it is/all 2", "ERROR")]
    assert "died" in bad[0].error


def test_a_defect_of_the_rig_in_a_worker_is_an_error_and_no_verdict(tmp_path: Path) -> None:
    done = {d.id: d for d in work(jobs(3), tmp_path, 2, broken)}
    assert done["trips/OV2/as it is/all 2"].verdict == "ERROR"
    assert "RuntimeError: a defect" in done["trips/OV2/as it is/all 2"].error
    assert sum(d.verdict == "PASS" for d in done.values()) == 2


def test_condition_a_goes_on_outwards_only_when_a_mismatch_lasted_longer_than_the_balance(tmp_path: Path) -> None:
    whole = plan("de_vde_ar_n_4105_2018", ["iec62116"], "bench")
    nine = [job for job in whole.jobs if job.case.id.startswith("iec62116/A/")]
    whole = replace(whole, jobs=tuple(nine))

    def timed(longest: str) -> list[str]:
        def one(job: Job, out: Path | None) -> Done:
            done = fake(job, out)
            seconds = 0.8 if job.case.id == longest else 0.7 if "P +0 %, C +0 %" in job.case.id else 0.5
            done.outcomes[0]["found"] = f"{seconds:.4f} s (+/- 0.0010)"
            return done

        out = tmp_path / str(len(longest))
        out.mkdir()
        return [done.id for done in perform_all(whole, out, 1, lambda *_: None, one)[len(nine) :]]

    assert timed("none") == []
    further = timed("iec62116/A/P -5 %, C +0 %/1")
    assert len(set(further)) == 16
    assert all("10 %" in name for name in further)
    assert "iec62116/A/P +10 %, C -5 %/1" in further


def test_a_point_further_out_is_the_balanced_case_with_another_mismatch() -> None:
    balanced = job_of(case("iec62116/A/P +0 %, C +0 %/1", "de_vde_ar_n_4105_2018"), "profile", "bench")
    far = iec62116.moved(balanced, -10.0, 5.0).case
    assert far.id == far.scenario.name == "iec62116/A/P -10 %, C +5 %/1"
    assert "-10 % power, +5 % capacitance" in far.scenario.title
    assert dict(far.scenario.steps[0].island) == {"qf": 1.0, "dp": -0.1, "dc": 0.05, "reactive": 0.0}
    assert far.scenario.steps[1:] == balanced.case.scenario.steps[1:]
    assert far.scenario.musts == balanced.case.scenario.musts


def test_the_three_longest_islands_are_repeated_twice_and_only_once(tmp_path: Path) -> None:
    whole = plan("ieee1547_2018_cat3", ["islanding"], "bench")
    times = {job.key: 0.2 + 0.01 * n for n, job in enumerate(whole.jobs)}

    def timed(job: Job, out: Path | None) -> Done:
        done = fake(job, out)
        done.outcomes[0]["found"] = f"{times.get(job.key, 0.1):.4f} s (+/- 0.0010)"
        return done

    results = perform_all(whole, tmp_path, 1, lambda *_: None, timed)
    again = [d.id for d in results[len(whole.jobs) :]]
    longest = [job.case.id.rsplit("/", 1)[0] for job in whole.jobs[-3:]]
    assert sorted(again) == sorted(f"{name}/{n}" for name in longest for n in (2, 3))


def test_how_long_an_island_lasted_is_read_from_its_verdict() -> None:
    done = Done("k", "i", "islanding", "c", "t", "PASS", outcomes=[{**ROWS[0], "found": "1.2345 s (+/- 0.0010)"}])
    assert others.run_on_s(done) == 1.2345
    still = replace(done, outcomes=[{**ROWS[0], "found": "current still flows 2.999 s after island"}])
    assert others.run_on_s(still) == pytest.approx(2.999), "an island that never ended is the longest"


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["PASS", "PASS"], 0),
        (["PASS", "FAIL", "ERROR"], 1),
        (["PASS", "ERROR", "INCONCLUSIVE"], 4),
        (["INCONCLUSIVE", "PASS"], 3),
        ([], 4),
    ],
)
def test_exit_codes(verdicts: list[str], code: int) -> None:
    assert exit_code([Done("k", "i", "s", "c", "t", v) for v in verdicts]) == code


def test_a_real_bench_plays_no_case_that_needs_other_settings() -> None:
    whole = plan("ieee1547_2018_cat3", ["trips"], "bench")
    some = narrowed(whole, "", None, real=True)
    assert all(not job.case.scenario.unit.adjust for job in some.jobs)
    assert any("needs other settings" in text for text in some.left_out)


def test_what_is_not_played_is_said() -> None:
    whole = plan("ieee1547_2018_cat3", ["trips"], "bench")
    some = narrowed(whole, "OV2", 5.0, real=False)
    assert some.jobs
    assert all("OV2" in job.case.id and job.case.scenario.duration_s <= 5.0 for job in some.jobs)
    assert len(some.left_out) == len(whole.left_out) + 2


def test_reports_hold_every_run_and_say_what_failed() -> None:
    bad = {"verdict": "FAIL", "what": "x < 1 & more", "found": "2", "because": "<clause>"}
    results = [
        Done("a", "trips/OV2/1", "trips", "Table 13", "good", "PASS", outcomes=[dict(ROWS[0])], plots=["<svg></svg>"]),
        Done("b", "trips/OV2/2", "trips", "Table 13", "bad", "FAIL", outcomes=[bad]),
        Done("c", "x/1", "x", "c", "rig", "ERROR", "the rig broke"),
    ]
    about = {"grid code": "test", "code": "sha256 1"}
    page = report.page(results, about, ["something"])
    assert "1 PASS, 1 FAIL, 1 ERROR of 3 runs" in page
    assert "x &lt; 1 &amp; more" in page
    assert "&lt;clause&gt;" in page
    assert "<svg></svg>" in page
    assert "http" not in page.replace("http-equiv", "")  # nothing from outside
    assert "<li>something</li>" in page
    data = json.loads(report.as_json(results, about, ["something"]))
    assert data["counts"] == {"PASS": 1, "FAIL": 1, "INCONCLUSIVE": 0, "ERROR": 1}
    assert data["not_tested"] == ["something"]
    root = ET.fromstring(report.as_junit(results, about))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "1", "1")
    failure = root.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "FAIL: x < 1 & more: 2"
