"""The suites on the simulated charger: the right one passes, each wrong one fails the case that is named for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import comtrade
import pytest

from hil.conformance import engine
from hil.conformance.campaign import exit_code, perform_all, plan
from hil.conformance.case import Case
from hil.conformance.engine import Done, Job, bench_hash, perform
from hil.conformance.enter import Row, _case
from hil.conformance.wrong import WRONG
from tests.conformance.rig import IEEE, VDE, case, subject, verdict

SLICE = ("trips/OV2/as it is/L1 1", "trips/UV2/as it is/L3 1", "trips/OF2/as it is/all 1", "trips/UF2/as it is/edge")
SLOW_SLICE = ("trips/OV2/as it is/all 2", "trips/OV2/as it is/edge", "support/freq_droop_2")
# Not a row of Table 11: a delay short enough for a test.
SHORT = {"enter_service.delay_s": 20.0, "enter_service.ramp_duration_s": 1.0}


def short_enter_service() -> Case:
    return _case(subject(), Row("short", SHORT, 20.0, 1.0, (0.897, 0.937), (60.0, 60.0)))


def bad(done: Done) -> list[str]:
    return [o["what"] for o in done.outcomes if o["verdict"] == "FAIL"]


@pytest.mark.parametrize("name", [*SLICE, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_SLICE)])
def test_the_right_charger_passes(name: str) -> None:
    done = verdict(case(name))
    assert done.verdict == "PASS", (done.error, done.outcomes)


@pytest.mark.parametrize(
    "wrong", ["threshold", pytest.param("late", marks=pytest.mark.slow), pytest.param("phase", marks=pytest.mark.slow)]
)
def test_a_wrong_charger_fails_the_trip_test_that_is_named_for_it(wrong: str) -> None:
    done = verdict(case(WRONG[wrong].caught_by), wrong)
    assert done.verdict == "FAIL", (done.error, done.outcomes)
    assert any("k_grid <= 0.5 within" in what for what in bad(done))


@pytest.mark.slow
def test_wrong_chargers_are_caught_for_their_own_fault_only() -> None:
    assert verdict(case("trips/OV2/as it is/L1 1"), "phase").verdict == "PASS"
    assert verdict(case("trips/OV2/as it is/all 1"), "threshold").verdict == "PASS"  # two MRA are too much to notice


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["", "no-anti-islanding"])
def test_a_balanced_island_is_left_and_not_without_anti_islanding(wrong: str) -> None:
    done = verdict(case("islanding/P 0.5/P +0 %, C +0 %/1"), wrong)
    assert done.verdict == ("FAIL" if wrong else "PASS"), (done.error, done.outcomes)


@pytest.mark.slow
def test_two_runs_with_one_seed_give_byte_identical_captures_and_another_seed_does_not(tmp_path: Path) -> None:
    one, captures = case("trips/OV2/as it is/all 3"), []
    for n, seed in enumerate((1, 1, 2)):
        engine._begun.clear()  # the beginning too is played again
        done = perform(Job(one, f"{n}", seed), tmp_path)
        captures.append([(tmp_path / f"{done.files}.{end}").read_bytes() for end in ("cfg", "dat")])
    assert captures[0] == captures[1]
    assert captures[0][1] != captures[2][1]


@pytest.mark.slow
def test_a_case_does_not_depend_on_what_was_played_before_it() -> None:
    first = verdict(case("trips/OV2/as it is/all 1"))
    verdict(case("trips/UV2/as it is/L3 1"))
    again = verdict(case("trips/OV2/as it is/all 1"))
    assert first.sha256 == again.sha256 != ""


@pytest.mark.slow
def test_a_capture_is_read_by_another_reader_with_the_story_in_it(tmp_path: Path) -> None:
    done = perform(Job(case("trips/OV2/as it is/all 1"), "x"), tmp_path)
    read = comtrade.load(str(tmp_path / f"{done.files}.cfg"), ignore_warnings=True)
    volts = list(read.analog[read.analog_channel_ids.index("grid_vmax_pu")])
    contactor = list(read.status[read.status_channel_ids.index("k_grid")])
    assert max(volts) == pytest.approx(1.22, abs=0.002)
    assert contactor[0] == 1
    assert contactor[-1] == 0
    opened = read.time[contactor.index(0)] - read.time[next(k for k, v in enumerate(volts) if v > 1.2)]
    assert 0.0 < opened < 0.16


def test_the_plot_shows_the_tolerance_band_and_the_instant() -> None:
    done = verdict(case("trips/OV2/as it is/all 1"))
    text = "".join(done.plots)
    assert text.count("<svg") == len(done.plots) >= 3
    assert "#cfe8cf" in text  # where the contactor must be open
    assert "#f6c6c0" in text  # where current must not flow
    assert ">step</text>" in text


def test_a_beginning_that_is_not_reached_is_an_error_and_no_verdict() -> None:
    one = case("trips/OV2/as it is/all 1")
    odd = replace(one.scenario, unit=replace(one.scenario.unit, adjust={"trip.OV2.time_s": 9.0}))  # out of its range
    done = verdict(replace(one, scenario=odd))
    assert done.verdict == "ERROR"
    assert "beginning was not reached" in done.error
    assert "trip.OV2.time_s" in done.error


@pytest.mark.slow
def test_the_command_says_what_is_wrong_in_one_sentence(tmp_path: Path) -> None:
    def quadrant(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("quadrant")), "conform", *words, "--out", str(tmp_path / "o")]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "COLUMNS": "200"})

    for words, sentence in (
        (["--code", "nowhere"], "nowhere"),
        (["--code", IEEE, "--wrong", "none"], "there is no wrong charger 'none'"),
        (["--code", IEEE, "--suite", "trip"], "suites are trips"),
        (["--code", IEEE, "--only", "nothing of the kind"], "There is no such case."),
        (["--code", IEEE, "-j", "2", "--dask", "tcp://127.0.0.1:9"], "-j is of this machine"),
        (["--code", IEEE, "--bench", str(tmp_path / "none.toml")], "none.toml"),
    ):
        done = quadrant(*words)
        assert done.returncode == 2, (words, done)
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["", "timer"])
def test_the_enter_service_time_begins_anew_and_a_charger_that_forgets_it_fails(wrong: str) -> None:
    done = verdict(short_enter_service(), wrong)
    assert done.verdict == ("FAIL" if wrong else "PASS"), (done.error, done.outcomes)


@pytest.mark.slow
def test_a_charger_that_does_not_ride_through_fails_the_sequence() -> None:
    done = verdict(case("ride-through/high_cat3/1 AB/low"), "no-ride-through")
    assert any("always k_grid" in what for what in bad(done))
    assert verdict(case("ride-through/high_cat3/1 AB/low")).verdict == "PASS"


@pytest.mark.slow
def test_one_and_two_workers_give_the_same_verdicts_and_the_same_captures(tmp_path: Path) -> None:
    whole = plan(VDE, ["trips"], bench_hash(None))
    few = [job for job in whole.jobs if "OV2" in job.case.id and ("all" in job.case.id or "edge" in job.case.id)]
    few = [*few[:2], few[-1]]
    assert few[-1].case.id.endswith("edge")
    found = []
    for workers in (1, 2):
        out = tmp_path / f"{workers}"
        results = perform_all(replace(whole, jobs=tuple(few)), out, workers, lambda *_: None)
        assert exit_code(results) == 0, [(d.id, d.error, d.outcomes) for d in results if d.verdict != "PASS"]
        found.append([(d.id, d.verdict, d.sha256, json.dumps(d.outcomes)) for d in results])
    assert found[0] == found[1]
