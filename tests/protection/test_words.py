"""What protection says to people, and the statuses of its elements."""

from __future__ import annotations

import math

import pytest

from firmware.grid_codes import RelaySetting, Side
from firmware.protection.element import Element
from firmware.protection.enter_service import plain
from firmware.protection.grid import ELEMENTS_EVERY
from firmware.protection.types import ElementStatus, GridState, Source
from tests.protection.bench import VDE, VDE_AT_ONCE, Bench, one_phase


def element(name: str) -> Element:
    setting = VDE.trip(name)
    assert isinstance(setting.time, RelaySetting)
    return Element(setting, setting.time.delay.value, Source.PILOT)


def test_an_excess_shows_as_many_digits_as_it_takes_to_see_it() -> None:
    assert element("UV2").excess(0.44, "L2") == "L2 0.440 pu is below 0.450 pu"
    assert element("UF1").excess(47.476, "") == "47.476 Hz is below 47.500 Hz"
    assert element("UF1").excess(47.4999, "") == "47.499900 Hz is below 47.500000 Hz"
    assert element("OV2").excess(1.25000001, "L1") == "L1 1.250000010 pu is above 1.250000000 pu"
    assert element("OV2").excess(1.25 + 1e-11, "L3") == "L3 1.250000000010 pu is above 1.250000000000 pu"


def test_the_margin_is_positive_inside_and_negative_outside_for_both_sides() -> None:
    for name, inside, outside in (("OV2", 1.15, 1.35), ("UV1", 0.9, 0.7)):
        e = element(name)
        e.judge(0.0, inside)
        assert e.status(0.0).margin == pytest.approx(0.1)
        e.judge(0.0, outside)
        assert e.status(0.0).margin == pytest.approx(-0.1)
        assert e.over is (e.setting.side is Side.OVER)


def test_a_trip_is_told_in_one_sentence() -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    bench.until_trip(1.0, lambda: bench.see(one_phase(1, 0.44)))
    assert bench.status is not None
    assert bench.status.last_trip is not None
    text = "Tripped by UV2: L2 0.440 pu is below 0.450 pu for 0.30 s (pilot MCU grid sense)."
    assert bench.status.last_trip.text == bench.notices[-1].detail == text
    assert bench.status.last_trip.clause == "VDE-AR-N 4105:2018-11, clause not given in the source"
    assert bench.status.clause == bench.status.last_trip.clause
    assert bench.status.reason == text + " Will not connect: L2 0.440 pu is outside 0.85..1.10 pu."


def test_the_other_sentences() -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    assert bench.see().reason == "Connected: the grid is inside its continuous range."
    assert bench.status is not None
    assert bench.status.clause == "VDE-AR-N 4105:2018-11"
    bench = Bench(VDE_AT_ONCE)
    assert bench.step(None).reason == "Will not connect: there is no fresh sample from the pilot MCU grid sense."
    assert bench.see(f=50.2).reason == "Will not connect: 50.200 Hz is outside 47.50..50.10 Hz."
    assert bench.see(f=50.2).clause == "VDE-AR-N 4105:2018-11, clause not given in the source"
    assert bench.codes() == ["grid_wait"]


def test_numbers_of_the_window_have_two_decimals_or_three() -> None:
    assert [plain(x) for x in (1.1, 0.917, 47.5, 60.0)] == ["1.10", "0.917", "47.50", "60.00"]


def test_elements_tell_value_margin_and_time_of_each_source_in_use() -> None:
    bench = Bench(VDE_AT_ONCE, expected=True).enter()
    bench.hold(0.055, (0.7, 1.0, 1.02))
    found = bench.protection.elements()
    assert [(e.element, e.source) for e in found] == [
        (name, source) for source in Source for name in ("OV2", "UV1", "UV2", "UF1", "OF1")
    ]  # no OV1_10MIN: there is no mean yet
    by_name: dict[str, ElementStatus] = {e.element: e for e in found if e.source is Source.PILOT}
    uv1, ov2, uf1 = by_name["UV1"], by_name["OV2"], by_name["UF1"]
    assert (uv1.value, uv1.threshold, uv1.unit, uv1.delay_s) == (0.7, 0.8, "pu", 3.0)
    assert uv1.margin == pytest.approx(-0.1)
    assert uv1.timer_s == pytest.approx(0.05)
    assert (ov2.value, ov2.timer_s) == (1.02, 0.0)
    assert ov2.margin == pytest.approx(0.23)
    assert (uf1.value, uf1.unit, uf1.margin) == (50.0, "Hz", 2.5)


def test_an_element_that_cannot_measure_is_not_listed() -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    bench.see(1.0, math.nan)
    assert [e.element for e in bench.protection.elements()] == ["OV2", "UV1", "UV2"]


def test_the_status_carries_elements_that_are_renewed_every_tenth_step_and_on_a_trip() -> None:
    assert ELEMENTS_EVERY == 10
    bench = Bench(VDE_AT_ONCE)
    assert bench.see(0.9).elements[0].value == 0.9
    for _ in range(9):
        assert bench.see(1.0).elements[0].value == 0.9
    assert bench.see(1.0).elements[0].value == 1.0
    while bench.see(1.3).state is not GridState.TRIPPED:
        pass
    assert bench.status is not None
    assert bench.status.elements[0].value == 1.3
    assert bench.status.elements[0].timer_s == pytest.approx(0.1)
