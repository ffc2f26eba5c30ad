"""Scenario files are read strictly; cases fill them in; the command says what is wrong in a sentence."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from firmware.cli import main
from hil.bench.capture import Capture, Channel
from hil.bench.strict import TableError
from hil.scenarios import report
from hil.scenarios.campaign import exit_code, run_all
from hil.scenarios.play import Result, excerpt
from hil.scenarios.schema import Recording, Scenario, load
from hil.scenarios.verdict import Outcome, Verdict

GOOD = """
[scenario]
title = "A step to {f_hz} Hz"
tags = ["grid"]
duration_s = 1.0

[unit]
code = "ieee1547_2018_cat3"

[start]
power_w = -5000.0

[[step]]
at_s = 0.2
grid = [{ dt_s = 0.5, f_hz = "$f_hz" }]

[instant.t0]
channel = "grid_f_hz"
above = 61.0

[[must]]
kind = "ceases"
within_s = 0.16
because = "test"

[case.fast]
f_hz = 62.5

[case.faster]
f_hz = 64.0
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_cases_fill_values_and_texts_and_time_runs_from_t0(tmp_path: Path) -> None:
    first, second = load(written(tmp_path, GOOD))
    assert (first.name, second.name) == ("mine[fast]", "mine[faster]")
    assert first.title == "A step to 62.5 Hz"
    assert second.steps[0].grid[0].f_hz == 64.0
    assert first.musts[0].after == "t0"
    assert first.unit.nominal_hz == 60.0


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("duration_s = 1.0", "duration_s = 1.0\ncolour = 1", "no key 'colour'"),
        ("[start]", "[begin]", "no key 'begin'"),
        ("power_w = -5000.0", 'power_w = "much"', "a number from"),
        ("at_s = 0.2\n", "", "either at_s or when"),
        ("at_s = 0.2\n", 'at_s = 0.2\nwhen = "idle"\n', "either at_s or when"),
        ("at_s = 0.2\n", "at_s = 5.0\n", "none after 1 s"),
        ('grid = [{ dt_s = 0.5, f_hz = "$f_hz" }]\n', "", "nothing is done"),
        ('f_hz = "$f_hz"', 'f_hz = "$hertz"', "no value 'hertz'"),
        ('f_hz = "$f_hz"', 'f_hz = "$f_hz", wobble = 1', "no key 'wobble'"),
        ("[case.faster]\nf_hz = 64.0", "[case.faster]\nf_hz = 99.0", "f_hz = 99.0 must be a number from 30 to 70"),
        ("[case.faster]\nf_hz = 64.0", "[case.faster]\nv = 1", "every case must give the same names"),
        ('channel = "grid_f_hz"', 'channel = "ac_a"', "what the rig does"),
        ("above = 61.0\n", "", "above, below or both"),
        ('kind = "ceases"', 'kind = "explodes"', "must be one of ceases"),
        ("within_s = 0.16\n", "", "within_s is missing"),
        ('because = "test"\n', "", "'because' is missing"),
        ('because = "test"\n', 'because = "test"\nafter = "t9"\n', "must be one of start, t0"),
        ('because = "test"\n', 'because = "test"\nchannel = "ac_a"\n', "no key 'channel'"),
        ('[[must]]\nkind = "ceases"\nwithin_s = 0.16\nbecause = "test"\n', "", "proves nothing"),
    ],
)
def test_a_mistake_in_a_scenario_is_one_sentence(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    with pytest.raises(TableError, match=sentence):
        load(written(tmp_path, GOOD.replace(old, new)))


def test_the_recorded_day_becomes_ramps_from_row_to_row() -> None:
    rows = excerpt(Recording("toledo", 1190.0, 1200.0), 230.0)
    assert len(rows) == 6
    assert all(row.shape == "ramp" and row.dt_s == 2.0 for row in rows)
    assert rows[-1].f_hz == pytest.approx(47.408)
    assert rows[-1].v_v[0] == pytest.approx(516.423 / (46_000 / 3**0.5) * 230.0)  # type: ignore[index]


# --------------------------------------------------------------------------------------------------------- reports
def made(name: str, verdict: Verdict, error: str = "") -> Result:
    capture = Capture({"ac_a": Channel("ac_a", "A")}, [0.0, 1.0], {"ac_a": [1.0, 2.0]})
    return Result(
        name, "a <title>", ("grid",), [Outcome(verdict, "what <b>", "found", "why")], error, 1.0, 2.0, capture
    )


RESULTS = [
    made("a", Verdict.PASS),
    made("b", Verdict.FAIL),
    made("c", Verdict.INCONCLUSIVE),
    made("d", Verdict.PASS, "the rig is broken"),
]


def test_exit_codes_tell_failures_from_a_broken_rig() -> None:
    assert [exit_code([result]) for result in RESULTS] == [0, 1, 3, 4]
    assert exit_code(RESULTS) == 1
    assert exit_code([RESULTS[0], RESULTS[2], RESULTS[3]]) == 4
    assert exit_code([RESULTS[0], RESULTS[2]]) == 3


def test_reports_for_machines_and_people_say_the_same() -> None:
    root = ET.fromstring(report.junit(RESULTS))
    assert [root.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["4", "1", "1", "1"]
    page = report.page(RESULTS, "Title & more")
    assert "a &lt;title&gt;" in page
    assert "<title>Title &amp; more</title>" in page
    assert "what <b>" not in page
    assert page.count("<polyline") == 4
    assert "http" not in page  # nothing from outside
    assert [report.as_dict(r)["verdict"] for r in RESULTS] == ["PASS", "FAIL", "INCONCLUSIVE", "ERROR"]
    json.dumps([report.as_dict(r) for r in RESULTS])
    assert "the rig is broken" in report.line(RESULTS[3])


def _dies(scenario: Scenario) -> Result:
    import os

    if "faster" in scenario.name:
        os._exit(9)
    return Result(scenario.name, "", (), [Outcome(Verdict.PASS, "x", "y")])


@pytest.mark.slow
def test_a_worker_that_dies_is_an_error_and_never_a_pass(tmp_path: Path) -> None:
    scenarios = load(written(tmp_path, GOOD))
    results = dict(run_all(scenarios, _dies, 2))
    assert set(results) == {0, 1}
    assert results[1].verdict is Verdict.ERROR


# ------------------------------------------------------------------------------------------------------------- command
class Plugin:
    """The entry point as an installed package would give it."""

    name = "hil"

    @staticmethod
    def load():  # type: ignore[no-untyped-def]
        from hil.scenarios.command import register

        return register


def quadrant(*words: str) -> int:
    return main(["hil", *words], plugins=[Plugin()])  # type: ignore[list-item]


def test_a_scenario_runs_from_the_command_line_and_writes_every_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = 'adjust = { "enter_service.delay_s" = 0.0, "enter_service.ramp_duration_s" = 1.0 }'
    one = GOOD.split("[case.faster]")[0].replace("[unit]", f"[unit]\n{quick}")
    path = written(tmp_path, one)
    out = tmp_path / "out"
    words = ["--json", out / "r.json", "--junit", out / "r.xml", "--html", out / "r.html", "--captures", out / "c"]
    assert quadrant("run", str(path), *map(str, words)) == 0
    said = capsys.readouterr().out
    assert "PASS" in said
    assert "1 PASS of 1 scenarios" in said
    assert json.loads((out / "r.json").read_text())[0]["outcomes"][0]["because"] == "test"
    assert (out / "r.html").stat().st_size > 5_000
    capture = Capture.from_json(json.loads((out / "c" / "mine[fast].json").read_text()))
    assert len(capture.t) > 1000
    assert (out / "c" / "mine[fast].csv").read_text().startswith("t_s,grid_va_pu [pu]")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "no_such_scenario"], "there is no such file"),
        (["run", "grid_swell_small", "--tag", "nothing"], "No scenario has all of these tags"),
        (["run", "grid_swell_small", "--bench", "none.toml"], "No such file"),
        (["check", "none.toml"], "No such file"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_code_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quadrant(*words) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert not said.out


def test_the_library_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert quadrant("list") == 0
    assert "vde_iberian_day" in capsys.readouterr().out
