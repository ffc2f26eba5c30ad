"""What the suites plan: everything a code demands is there or left out with a sentence, and the source can play it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firmware.grid_codes import Quantity, RelaySetting, Side, adjust, inspect, names
from firmware.grid_codes import words as w
from hil.bench.profile import GridPoint, Segment, compile_profile
from hil.bench.sim_grid import SIM_GRID
from hil.bench.strict import TableError
from hil.conformance.campaign import BUILDERS
from hil.conformance.case import SUITES, Case
from hil.conformance.matrix import matrix_of
from hil.conformance.ride import level
from hil.conformance.trips import window_of
from hil.scenarios.verdict import START
from tests.conformance.rig import EN, IEEE, VDE, built, case, subject


def _tested() -> list[str]:
    found = []
    for name in names():
        seen = inspect(name)
        try:
            matrix_of(seen)
        except TableError:
            continue
        if w.fate(seen)[0] is w.Fate.RUNS and "_norm" not in name:  # which differ in reactive power only
            found.append(name)
    return found


TESTED = _tested()


def cases(name: str) -> list[Case]:
    return [c for suite in SUITES for c in built(suite, name)[0]]


@pytest.mark.parametrize("name", TESTED)
def test_every_case_can_be_played_by_the_source_and_says_what_it_rests_on(name: str) -> None:
    found = cases(name)
    settings = {tuple(sorted(c.scenario.unit.adjust.items())) for c in found}
    for changes in settings:
        adjust(subject(name).code, dict(changes))  # every setting lies in the code's range
    assert len({c.id for c in found}) == len(found)
    for c in found:
        s = c.scenario
        known = {START, *(i.name for i in s.instants)}
        assert s.musts, c.id
        assert all(m.after in known and m.because for m in s.musts), c.id
        volts, f_hz = 230.0, s.unit.nominal_hz
        for step in s.steps:
            segments = []
            for g in step.grid:
                volts = volts if g.v_pu is None else g.v_pu * 230.0
                f_hz = f_hz if g.f_hz is None else g.f_hz
                moved = None if g.v_pu is None else volts
                segments.append(
                    Segment(g.dt_s, g.shape, moved, g.f_hz, g.jump_deg, (), g.phases if g.jump_deg else "abc")
                )
            if segments:
                compile_profile(segments, SIM_GRID, GridPoint((230.0,) * 3, s.unit.nominal_hz))


@pytest.mark.parametrize("name", TESTED)
def test_every_trip_stage_has_cases_or_a_sentence(name: str) -> None:
    found, left_out = built("trips", name)
    for trip in subject(name).code.trips:
        there = [c for c in found if c.id.startswith(f"trips/{trip.id}/")]
        assert there or any(trip.id in text for text in left_out), trip.id
        if trip.quantity is Quantity.VOLTAGE and any("/as it is/" in c.id for c in there):
            assert {c.id.rsplit("/", 1)[1][:2] for c in there} >= {"al", "ed"}


def test_a_voltage_stage_is_run_five_times_on_each_phase_and_on_all_and_once_at_its_edge() -> None:
    runs = [c.id.rsplit("/", 1)[1] for c in built("trips")[0] if c.id.startswith("trips/OV2/as it is")]
    assert len(runs) == 21
    assert [r for r in runs if r.startswith("L2")] == [f"L2 {n}" for n in range(1, 6)]
    assert runs[-1] == "edge"


def test_repeats_begin_at_different_phases_of_the_chargers_clock() -> None:
    at = [c.scenario.steps[0].at_s for c in built("trips")[0] if c.id.startswith("trips/OV2/as it is/all")]
    assert len({round(x % 0.01, 4) for x in at if x is not None}) == 5


def test_the_grid_stands_inside_of_the_limit_and_then_outside_of_it() -> None:
    for name in (IEEE, VDE, EN):
        for c in built("trips", name)[0]:
            trip = adjust(subject(name).code, dict(c.scenario.unit.adjust)).trip(c.id.split("/")[1])
            grid = c.scenario.steps[0].grid
            values = [g.v_pu if g.v_pu is not None else g.f_hz for g in grid]
            inside, outside = values[0], values[-1]
            assert inside is not None
            assert outside is not None
            sign = 1.0 if trip.side is Side.OVER else -1.0
            assert sign * inside < sign * trip.threshold.value < sign * outside, c.id


def test_a_relays_time_has_a_least_and_a_clearing_time_has_none() -> None:
    ieee, vde = subject(IEEE), subject(VDE)
    assert window_of(ieee, ieee.code.trip("OV2")).not_before_s is None
    assert window_of(ieee, ieee.code.trip("OV2")).within_s == 0.16
    trip = vde.code.trip("UV1")
    assert isinstance(trip.time, RelaySetting)
    window = window_of(vde, trip)
    assert window.not_before_s is not None
    assert window.not_before_s < trip.time.delay.value < window.within_s


def test_enter_service_rows_are_those_of_the_table() -> None:
    found, _ = built("enter-service")
    assert [c.id for c in found] == [f"enter-service/case {n}" for n in range(1, 7)]
    first = case("enter-service/case 3").scenario
    assert first.unit.adjust["enter_service.delay_s"] == 600.0
    assert first.steps[-1].at_s == 1200.0  # twice the delay without power before


def test_what_the_source_cannot_play_is_said() -> None:
    found, left_out = built("phase-jump")
    assert {c.id.split("/")[1] for c in found} == {"B", "C", "D", "E", "F"}
    together = replace(subject(), caps=replace(SIM_GRID, phase_each=False))
    found, left_out = BUILDERS["phase-jump"](together)
    assert {c.id.split("/")[1] for c in found} == {"E", "F"}
    assert sum("cannot turn the phases so" in text for text in left_out) == 3


def test_a_row_is_played_inside_of_its_range_where_the_code_asks_the_charger_to_stay() -> None:
    for name in ("ieee1547_2018_cat2", IEEE):
        ieee = subject(name)
        for course in ieee.matrix.sequences:
            if course.title not in ieee.code.title:
                continue
            for letter, (_, lo, hi) in course.rows.items():
                assert lo <= level(ieee, course, letter) <= hi, (course.name, letter)
    low = {c.name: c for c in subject().matrix.sequences}["low_cat3"]
    assert level(subject(), low, "B") == pytest.approx(0.02)  # 1 s near nothing: the code asks for that
    assert level(subject(), low, "C") == pytest.approx(0.48)  # 9 s below half: the code asks for one
    assert level(subject(), low, "D") == pytest.approx(0.52)


def test_a_threshold_whose_edge_waits_too_long_is_stepped_over_at_its_shortest_time() -> None:
    found, left_out = built("trips", IEEE)
    edges = {c.id.rpartition("/")[0] for c in found if c.id.endswith("/edge")}
    without = {c.id.rpartition("/")[0] for c in found} - edges
    assert {name for name in without if "time 1000" in name} == without
    assert without
    for name in without:
        assert name.replace("time 1000", "time 180") in edges or name.replace("time 1000", "time 0.16") in edges
        _, stage, corner = name.split("/")
        assert any(text.startswith(f"trips {stage} ({corner}): the edge run") for text in left_out)
