"""What protection says to people, and the statuses of its elements."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from firmware.grid_codes import RelaySetting, Side
from firmware.protection.closest import closest, nearness, sentence
from firmware.protection.element import Element
from firmware.protection.enter_service import plain
from firmware.protection.types import ElementStatus, GridSample, GridState, GridStatus, Source, Told
from tests.protection.bench import IEEE_AT_ONCE, VDE, VDE_AT_ONCE, Bench, one_phase


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


def test_a_value_at_the_threshold_is_inside_and_the_next_number_is_not() -> None:
    for name, at, outside in (("OV2", 1.25, math.nextafter(1.25, 2.0)), ("UV2", 0.45, math.nextafter(0.45, 0.0))):
        e = element(name)
        e.judge(5.0, at)
        assert e.timer.t_start is None
        e.judge(6.0, outside)
        assert e.timer.t_start == 6.0


@pytest.mark.parametrize(("name", "at", "beyond"), [("OV2", 1.2, 1.19), ("UV2", 0.5, 0.51)])
def test_a_value_at_a_tightened_threshold_is_inside_too(name: str, at: float, beyond: float) -> None:
    for threshold, t_start in ((at, None), (beyond, 6.0)):
        e = element(name)
        e.judge(5.0, at)
        tighter = replace(e.setting, threshold=replace(e.setting.threshold, value=threshold))
        e.retune(6.0, tighter, 0.1, fresh=True)
        assert e.timer.t_start == t_start


def test_a_sample_is_measured_and_a_status_asks_for_nothing_unless_it_says_so() -> None:
    assert GridSample(1.0, (1.0, 1.0, 1.0), 50.0).held is False
    bare = GridStatus(GridState.WAITING, False, False, 0.0, False, 0.0, "", "", None, ())
    assert (bare.probe_tan_phi, bare.may_idle) == (0.0, False)


def test_a_trip_is_told_in_one_sentence() -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    bench.until_trip(1.0, lambda: bench.see(one_phase(1, 0.44)))
    assert bench.status is not None
    assert bench.status.last_trip is not None
    text = "Tripped by UV2: L2 0.440 pu is below 0.450 pu for 0.30 s (pilot MCU grid sense)."
    assert bench.status.last_trip.text == text
    assert bench.notices[-1].detail == f"{text} VDE-AR-N 4105:2018-11, clause not given in the source"
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


def test_elements_are_those_of_the_last_step_whenever_they_are_asked_for() -> None:
    bench = Bench(VDE_AT_ONCE)
    for v in (0.9, 1.0, 0.9):
        bench.see(v)
        assert bench.protection.elements()[0].value == v
    while bench.see(1.3).state is not GridState.TRIPPED:
        pass
    assert bench.protection.elements()[0].value == 1.3
    assert bench.protection.elements()[0].timer_s == pytest.approx(0.1)


# ------------------------------------------------------------------------------------------------ the closest element
def status_of(name: str, unit: str, threshold: float, margin: float, timer_s: float, delay_s: float) -> ElementStatus:
    value = threshold - margin if name.startswith("O") else threshold + margin
    return ElementStatus(name, Source.PILOT, value, threshold, unit, margin, timer_s, delay_s, "the clause")


def test_the_element_whose_delay_runs_is_closest_whatever_the_margins_of_others() -> None:
    near = status_of("OV1", "pu", 1.1, 0.0001, 0.0, 60.0)
    running = status_of("UV1", "pu", 0.8, -0.1, 1.5, 3.0)
    further = status_of("UV2", "pu", 0.45, -0.01, 0.29, 0.3)
    assert sorted((near, running, further), key=nearness) == [further, running, near]
    assert closest((near, running, further)) is further
    assert closest(()) is None


def test_margins_in_volts_and_hertz_are_compared_by_their_share_of_the_threshold() -> None:
    ov2 = status_of("OV2", "pu", 1.25, 0.245, 0.0, 0.1)  # 20 %
    uf1 = status_of("UF1", "Hz", 47.5, 2.512, 0.0, 0.1)  # 5 %
    assert closest((ov2, uf1)) is uf1


@pytest.mark.parametrize(
    ("timer_s", "delay_s", "threshold", "near"),
    [
        (1.5, 3.0, 0.8, (0, -0.5)), (0.005, 3.0, 0.8, (0, -0.005 / 3.0)), (0.004, 0.005, 0.8, (0, -0.8)),
        (0.0, 3.0, 0.8, (1, 0.25)), (0.5, 0.0, 0.8, (1, 0.25)), (0.0, 0.0, 0.8, (1, 0.25)),
        (0.0, 3.0, -0.8, (1, 0.25)), (0.0, 3.0, 0.0, (1, 0.2)),
    ],
)  # fmt: skip
def test_nearness_is_the_share_of_a_delay_that_runs_or_else_of_the_threshold(
    timer_s: float, delay_s: float, threshold: float, near: tuple[int, float]
) -> None:
    assert nearness(status_of("UV1", "pu", threshold, 0.2, timer_s, delay_s)) == pytest.approx(near)


@pytest.mark.parametrize(
    ("timer_s", "delay_s", "words"),
    [
        (0.0, 99.5, "margin 0.200 pu, timer 0.0 of 99.5 s"),
        (12.34, 99.5, "timer 12.3 of 99.5 s, margin 0.200 pu"),
        (12.34, 100.0, "timer 12 of 100 s, margin 0.200 pu"),
        (12.34, 100.6, "timer 12 of 101 s, margin 0.200 pu"),
        (0.005, 3.0, "timer 0.0 of 3 s, margin 0.200 pu"),
    ],
)
def test_a_timer_has_one_decimal_below_a_hundred_seconds_and_stands_first_while_it_runs(
    timer_s: float, delay_s: float, words: str
) -> None:
    assert sentence(status_of("UV1", "pu", 0.8, 0.2, timer_s, delay_s)) == f"UV1 0.8 pu: {words}, the clause"


def test_the_closest_element_is_told_with_threshold_margin_timer_and_clause() -> None:
    uf1 = status_of("UF1", "Hz", 47.5, 2.48, 0.0, 0.1)
    assert sentence(uf1) == "UF1 47.5 Hz: margin 2.48 Hz, timer 0.0 of 0.1 s, the clause"
    running = status_of("OF1", "Hz", 61.2, -0.3, 12.0, 299.895)
    assert sentence(running) == "OF1 61.2 Hz: timer 12 of 300 s, margin -0.30 Hz, the clause"
    uv2 = status_of("UV2", "pu", 0.45, -0.0001, 0.25, 0.3)
    assert sentence(uv2) == "UV2 0.45 pu: timer 0.2 of 0.3 s, margin 0.000 pu, the clause"


def test_an_excursion_tells_the_log_which_element_it_brings_closest_and_every_clause() -> None:
    bench = Bench(IEEE_AT_ONCE).enter()
    bench.hold(0.05, 0.6)
    bench.see(0.3)
    told = {notice.code: notice.detail for notice in bench.notices}
    assert told["grid_ride_through"] == (
        "0.600 pu is outside of 0.88..1.1 pu (IEEE 1547-2018, clause not given in the source); "
        "closest: UV1 0.88 pu: margin -0.280 pu, timer 0.0 of 20.9 s, IEEE 1547-2018, Table 13"
    )
    assert told["grid_cease"].startswith("0.300 pu is outside of 0.88..1.1 pu (IEEE 1547-2018, ")
    bench.hold(2.5, 0.3)
    assert next(n.detail for n in bench.notices if n.code == "grid_trip").endswith("IEEE 1547-2018, Table 13")


def test_a_cessation_is_explained_by_the_voltage_that_caused_it_and_not_by_what_came_after() -> None:
    """One late tick with a deep sag and then a frequency that only has to be ridden through: ceased by the voltage."""
    bench = Bench(IEEE_AT_ONCE).enter()
    bench.ms += 15
    t = bench.now
    late = [GridSample(t - 0.01, (0.3,) * 3, 60.0), GridSample(t, (1.0,) * 3, 58.0)]
    status = bench.give(late, [])
    assert status.state is GridState.CEASED
    assert "0.300 pu is outside of 0.88..1.1 pu" in status.reason
    assert bench.notices[-1].detail.startswith("0.300 pu is outside")
    status = bench.see(1.0, 58.0)  # still held
    assert status.state is GridState.CEASED
    assert "0.300 pu" in status.reason
    status = bench.hold(0.2, 1.0, 58.0)
    assert status.state is GridState.RIDING_THROUGH
    assert "58.000 Hz is outside of 58.8..61.2 Hz" in status.reason
    assert status.clause == "IEEE 1547-2018, Table 19"


def test_a_sentence_on_an_excursion_looks_like_its_text() -> None:
    told = Told("Riding through: ", 0.78, "pu", 0.88, 1.1, ".")
    assert str(told) == "Riding through: 0.780 pu is outside of 0.88..1.1 pu."
    assert repr(told) == repr(str(told))
