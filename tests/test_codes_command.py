"""`quadrant codes`: what it prints, what it draws, and its one sentence for a user's mistake."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

import boards
from firmware import cli
from firmware.codes_command import difference, functions_of
from firmware.grid_codes import Confidence, inspect, internal_delay, names
from firmware.guard.assemble import chain_of

Run = Callable[..., tuple[int, str, str]]
EVERY = names(refused=True)


COMMANDS = functools.cache(cli.built_in)  # 20 ms each time, for commands that are the same in every test here


@pytest.fixture
def codes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `quadrant codes ...`; returns exit code, standard output, standard error."""
    monkeypatch.setattr(cli, "built_in", COMMANDS)

    def run(*words: object) -> tuple[int, str, str]:
        code = cli.main(["codes", *map(str, words)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run


# ------------------------------------------------------------------------------------------------------- list and show
def test_the_list_has_every_profile_once_under_what_becomes_of_it(codes: Run) -> None:
    code, out, _ = codes("list")
    assert code == 0
    assert sorted(re.findall(r"^  (\w+)  ", out, re.MULTILINE)) == sorted(EVERY)
    never = out.partition("does not run:")[2]
    assert {"no_lv", "at_tor_erzeuger", "jp_jeac9701_2019"} <= set(re.findall(r"^  (\w+)  ", never, re.MULTILINE))
    rows = json.loads(codes("list", "--json")[1])
    assert {r["name"]: r["state"] for r in rows}["it_cei_0_21"] == "only with allow_unverified"
    assert [r["name"] for r in rows] == list(EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_every_profile_can_be_shown_whatever_becomes_of_it(codes: Run, name: str) -> None:
    code, out, _ = codes("show", name)
    assert code == 0
    found = inspect(name)
    for trip in found.trips:
        assert re.search(
            rf"^  {re.escape(trip.id)} .* {min(s.conf for _, s in trip.numbers()).name.lower()}$", out, re.M
        )
    assert found.profile_hash in out
    plain = json.loads(codes("show", name, "--json")[1])
    assert plain["numbers"].keys() == dict(found.numbers()).keys()
    assert all(n["src"] and n["clause"] for n in plain["numbers"].values() if n["value"] is not None)


def test_show_says_why_a_profile_does_not_run_and_what_is_unverified(codes: Run) -> None:
    assert "does not run: there is no source for enter_service.v_min" in codes("show", "at_tor_erzeuger")[1]
    assert "NOT VERIFIED: trips UF2, OV2, OV1, UV1, UV2" in codes("show", "us_hi_rule14h")[1]
    assert "not known" in codes("show", "jp_jeac9701_2019")[1]


def test_show_names_the_support_functions_that_run_those_left_out_and_those_that_are_off(codes: Run) -> None:
    told = codes("show", "de_vde_ar_n_4105_2018")[1].partition("support functions of a charger of 22 kW\n")[2]
    lines = [line.split(maxsplit=2) for line in told.partition("carried")[0].splitlines()]
    assert [x[2].partition(" (")[0] for x in lines if x[:2] == ["in", "force"]] == ["lfsm", "lfsm"]
    assert "lfsm: its release (release_hold_s, release_pu_per_min) is only remembered" in told
    assert [x[1] for x in lines if x[0] == "off"] == ["volt_var", "cosphi_p"]
    bold = json.loads(codes("show", "de_vde_ar_n_4105_2018", "--allow-unverified", "--json")[1])["functions"]
    assert bold["left out"] == []
    assert "if the profile ran" in codes("show", "no_lv")[1]


def test_a_function_that_would_be_left_out_if_it_were_on_is_told_beforehand() -> None:
    code = inspect("de_vde_ar_n_4105_2018")
    section = code.section("volt_var")
    assert section is not None
    doubtful = [(key, replace(curve, conf=Confidence.LOW)) for key, curve in section.curves]
    support = tuple(replace(s, curves=tuple(doubtful)) if s is section else s for s in code.support)
    found = functions_of(replace(code, support=support))
    assert found["off"][0] == "volt_var, and left out if it were on: volt_var: curve_gt_4k6 is only remembered"
    assert not any("volt_var" in line for line in found["in force"] + found["left out"])


def test_show_with_an_operators_file_shows_what_would_be_in_force(codes: Run, tmp_path: Path) -> None:
    file = tmp_path / "operator.toml"
    file.write_text("[trip.OV1]\ntime_s = 2.0\n")
    before = codes("show", "ieee1547_2018_cat3")[1]
    out = codes("show", "ieee1547_2018_cat3", "--adjust", file)[1]
    assert "adjusted: trip.OV1.time_s 13 -> 2" in out
    assert out.splitlines()[-1] != before.splitlines()[-1]  # the hash
    file.write_text("[trip.OV1]\ntime_s = 14.0\n")
    code, _, err = codes("show", "ieee1547_2018_cat3", "--adjust", file)
    assert (code, err.strip()) == (1, "ieee1547_2018_cat3: trip.OV1.time_s cannot be 14.0; allowed: 1..13 s")


# ---------------------------------------------------------------------------------------------------------------- diff
def test_the_difference_names_what_differs_and_nothing_else(codes: Run) -> None:
    rows = {k: (a, b) for k, a, b in difference(inspect("ieee1547_2018_cat2"), inspect("ieee1547_2018_cat3"))}
    assert rows["trip UV1"] == ("voltage under 0.7 pu, cleared by 10 s", "voltage under 0.88 pu, cleared by 21 s")
    assert rows["ride-through voltage 0..0.5"][0] == "-"
    assert "trip OF1" not in rows
    assert "enter_service.delay_s" not in rows
    out = codes("diff", "ieee1547_2018_cat2", "ieee1547_2018_cat3")[1]
    assert len(out.splitlines()) == len(rows) + 1
    assert len(json.loads(codes("diff", "ieee1547_2018_cat2", "ieee1547_2018_cat3", "--json")[1])) == len(rows)


@pytest.mark.parametrize("name", EVERY)
def test_a_profile_does_not_differ_from_itself(codes: Run, name: str) -> None:
    assert codes("diff", name, name)[1] == f"{name} and {name} say the same.\n"


# ------------------------------------------------------------------------------------------------------------- explain
@pytest.mark.parametrize("name", EVERY)
def test_every_trip_of_every_profile_can_be_explained_with_all_its_evidence(codes: Run, name: str) -> None:
    chain = chain_of(boards.load("desk"))
    for trip in inspect(name).trips:
        code, out, _ = codes("explain", name, trip.id.lower())
        assert code == 0
        for _, setting in trip.numbers():
            assert all(f"source {key}: " in out for key in setting.src)
            assert setting.clause in out
            assert setting.note in out
        assert "not in the registry" not in out
        assert f"waits {internal_delay(trip, chain):.4g} s inside" in out


def test_a_section_is_explained_with_all_its_numbers(codes: Run) -> None:
    out = codes("explain", "ieee1547_2018_cat3", "rocof_ride_through")[1]
    assert "rocof_ride_through.limit_hz_s = 3 Hz/s" in out
    assert "rocof_ride_through.window_s = 0.1 s" in out
    assert "phase_jump.single_phase_deg = 60 deg" in codes("explain", "ieee1547_2018_cat3", "phase_jump")[1]
    assert codes("explain", "ieee1547_2018_cat3", "ride_through")[0] == 1


def test_the_explanation_does_the_arithmetic_of_the_chain(codes: Run) -> None:
    out = codes("explain", "ieee1547_2018_cat3", "OV2", "--nominal-v", "277")[1]
    assert "above 1.2 pu (332.4 V)" in out
    assert "takes up to 0.075 s (window 0.01 + report 0.005 + tick 0.01 + converter off 0.02 + contactor 0.03 s)" in out
    assert "waits 0.085 s inside, so the contactor is open by 0.16 s at the latest" in out
    assert "high: two independent sources" in out


def test_the_explanation_is_of_what_the_board_itself_runs(codes: Run, tmp_path: Path) -> None:
    board = tmp_path / "mine.toml"
    text = Path(boards.__file__).parent / "desk.toml"
    board.write_text(
        text.read_text()
        .replace('code = "de_vde_ar_n_4105_2018"', 'code = "ieee1547_2018_cat3"\nadjust = { "trip.OV1.time_s" = 5.0 }')
        .replace("nominal_v = 230.0", "nominal_v = 277.0")
        .replace("contactor_open_s = 0.030", "contactor_open_s = 0.130")
    )
    out = codes("explain", "ieee1547_2018_cat3", "OV1", "--board", board)[1]
    assert "(304.7 V)" in out
    assert "5 s run from the beginning" in out
    out = codes("explain", "ieee1547_2018_cat3", "OV2", "--board", board)[1]
    assert "REFUSED: trip.OV2: this board takes 0.175 s" in out


def test_a_number_beside_the_trips_can_be_explained(codes: Run) -> None:
    out = codes("explain", "de_vde_ar_n_4105_2018", "enter_service.v_max")[1]
    assert "enter_service.v_max = 1.1 pu" in out
    assert "NOT VERIFIED" in out
    assert "remembered from the standard" in out


# ---------------------------------------------------------------------------------------------------------------- plot
@pytest.mark.slow  # two pictures take two seconds; `records plot` draws one in the fast tests
def test_a_plot_is_written_as_png_and_as_svg(codes: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    png, svg = tmp_path / "a.png", tmp_path / "a.svg"
    assert codes("plot", "ieee1547_2018_cat2_normB", "--out", png)[:2] == (0, f"{png}\n")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert codes("plot", "us_hi_rule14h", "--out", svg)[0] == 0
    words = svg.read_text()
    ElementTree.fromstring(words)
    for text in ("OV2  1.2 pu, cleared by 0.16 s  (unverified)", "momentary cessation", "NOT VERIFIED"):
        assert f"<!-- {text}" in words or text in words


DRAWN = ["as4777_2_2020_au_a", "se_alp_50549", "it_cei_0_21", "jp_jeac9701_2019"]


@pytest.mark.parametrize("name", ["no_lv", *(pytest.param(name, marks=pytest.mark.slow) for name in DRAWN)])
def test_a_profile_of_every_kind_can_be_drawn(codes: Run, tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib")
    assert codes("plot", name, "--out", tmp_path / "x.png")[0] == 0


# ------------------------------------------------------------------------------------------------------------ mistakes
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("show", "nothing"), "there is no grid code 'nothing'; there are: as4777_2_2020_au_a, "),
        (("show", "ieee1547_2018_base"), "is a part of other profiles"),
        (("diff", "de_vde_ar_n_4105_2018", "../x"), "there is no grid code '../x'"),
        (
            ("explain", "de_vde_ar_n_4105_2018", "OV9"),
            "has no element, number or section 'OV9'; elements: OV2, OV1_10MIN",
        ),
        (("explain", "de_vde_ar_n_4105_2018", "OV2", "--board", "nothing"), "There is no board 'nothing'"),
        (("show", "de_vde_ar_n_4105_2018", "--nominal-v", "120"), "nominal_v is 120.0; allowed: 227.7..232.3 V"),
        (("show", "ieee1547_2018_cat3", "--adjust", "/nothing/x.toml"), "/nothing/x.toml: cannot be read"),
        (("plot", "ieee1547_2018_cat3", "--out", "x.pdf"), "--out x.pdf: the name must end in .png or .svg"),
        (("plot", "ieee1547_2018_cat3", "--out", "/nothing/x.png"), "/nothing/x.png: cannot be written"),
    ],
)
def test_a_users_mistake_is_one_sentence(codes: Run, words: tuple[str, ...], sentence: str) -> None:
    code, out, err = codes(*words)
    assert (code, out) == (1, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_a_missing_matplotlib_is_a_sentence(codes: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = codes("plot", "ieee1547_2018_cat3")
    assert (code, err) == (1, "a plot needs matplotlib, which is not installed: pip install 'quadrant[plot]'\n")
