"""Ride-through and momentary cessation: the table of IEEE 1547 Category III, and what is not applied unverified."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.grid_codes import Chain, GridCodeError, Quantity, RideThroughMode, check_response, internal_delay, load
from firmware.protection.channel import source_delay
from firmware.protection.grid import GridProtection
from firmware.protection.momentary_cessation import hold_s
from firmware.protection.ride_through import RideThrough
from firmware.protection.types import GridState, Source
from tests.protection.bench import CHAIN, CODES, IEEE, IEEE_AT_ONCE, ON, VDE, Bench, all_phases, one_phase

C, M, X = RideThroughMode.CONTINUOUS, RideThroughMode.MANDATORY, RideThroughMode.MOMENTARY_CESSATION


def below(x: float) -> float:
    return math.nextafter(x, -math.inf)


def above(x: float) -> float:
    return math.nextafter(x, math.inf)


@pytest.mark.parametrize(
    ("v", "mode"),
    [
        (0.0, X), (below(0.5), X), (0.5, M), (below(0.7), M), (0.7, M), (below(0.88), M), (0.88, C), (1.0, C), (1.1, C),
        (above(1.1), X), (1.2, X), (above(1.2), X), (5.0, X), (20.0, X),
    ],
)  # fmt: skip
def test_every_voltage_has_the_mode_of_its_row(v: float, mode: RideThroughMode) -> None:
    ride = RideThrough(IEEE)
    assert ride.judge(v, v, 60.0) is mode
    assert ride.judge(min(v, 1.0), max(v, 1.0), 60.0) is mode  # one phase is enough


@pytest.mark.parametrize(
    ("f", "mode"),
    [(55.0, M), (57.0, M), (below(58.8), M), (58.8, C), (61.2, C), (above(61.2), M), (61.8, M), (65.0, M)],
)
def test_every_frequency_has_the_mode_of_its_row(f: float, mode: RideThroughMode) -> None:
    assert RideThrough(IEEE).judge(1.0, 1.0, f) is mode


def test_a_frequency_that_cannot_be_measured_says_nothing_about_riding_through() -> None:
    assert RideThrough(IEEE).judge(1.0, 1.0, math.nan) is C
    assert RideThrough(IEEE).judge(0.1, 0.19, 50.0) is X


def test_the_ceasing_excursion_is_the_one_that_is_explained() -> None:
    ride = RideThrough(IEEE)
    assert ride.judge(0.8, 1.15, 57.5) is X
    assert ride.last.why == "1.150 pu is outside of 0.88..1.1 pu"
    assert ride.judge(1.0, 1.0, 57.5) is M
    assert ride.last.why == "57.500 Hz is outside of 58.8..61.2 Hz"
    assert ride.last.clause == "Table 19"
    assert ride.judge(0.8, 1.0, 57.5) is M
    assert ride.last.why == "0.800 pu is outside of 0.88..1.1 pu"  # none ceases: voltage first
    assert ride.judge(0.8, 1.0, math.nan) is M
    assert ride.judge(0.88, 1.0, 57.5) is M
    assert ride.last.why.startswith("57.500 Hz")


def test_a_row_that_is_only_remembered_is_applied_only_on_request() -> None:
    german, on_request = RideThrough(VDE), RideThrough(load(VDE.name, nominal_v=230.0, allow_unverified=True))
    for v in (0.3, 1.2):
        assert german.judge(v, v, 50.0) is M
        assert on_request.judge(v, v, 50.0) is RideThroughMode.RESTRICTED
    american = RideThrough(load(IEEE.name, nominal_v=277.0, allow_unverified=True))
    assert american.judge(1.2, 1.2, 60.0) is X
    for v in (above(1.2), 1.25, 9.99, 20.0):
        assert american.judge(v, v, 60.0) is RideThroughMode.CEASE


def test_a_frequency_beyond_its_rows_keeps_the_answer_of_its_own_side() -> None:
    """The codes at hand answer alike on both sides, so one side gets another mode here."""
    first = next(r for r in IEEE.ride_through if r.quantity is Quantity.FREQUENCY)
    assert first.lo.value == 61.2
    rows = tuple(replace(r, mode=RideThroughMode.PERMISSIVE) if r is first else r for r in IEEE.ride_through)
    ride = RideThrough(replace(IEEE, ride_through=rows))
    for f, mode in (
        (above(61.2), "permissive_operation"),
        (65.0, "permissive_operation"),
        (57.5, "mandatory_operation"),
    ):
        assert ride.judge(1.0, 1.0, f).value == mode
    assert ride.judge(1.0, 1.0, 40.0) is M


def test_of_three_rows_on_one_side_the_middle_one_has_its_own_answer() -> None:
    """The codes at hand have two at most above nominal, so one is put between."""
    outer = next(r for r in IEEE.ride_through if r.quantity is Quantity.VOLTAGE and r.lo.value == 1.1)
    at = [replace(outer.lo, value=v) for v in (1.1, 1.2, 1.3, 1.4)]
    modes = (RideThroughMode.PERMISSIVE, X, M)
    rows = [replace(outer, lo=a, hi=b, mode=m) for a, b, m in zip(at, at[1:], modes, strict=False)]
    ride = RideThrough(replace(IEEE, ride_through=(*(r for r in IEEE.ride_through if r.mode is C), *rows)))
    for v, mode in zip((1.15, 1.2, above(1.2), 1.3, above(1.3), 1.4, 1.5), (0, 0, 1, 1, 2, 2, 2), strict=True):
        assert ride.judge(1.0, v, 60.0) is modes[mode]


def test_a_quantity_whose_only_row_is_continuous_is_ridden_through_outside_of_it() -> None:
    rows = tuple(r for r in IEEE.ride_through if r.mode is C)
    ride = RideThrough(replace(IEEE, ride_through=rows))
    for lo, hi, f in ((0.1, 1.0, 60.0), (1.0, 1.5, 60.0), (1.0, 1.0, 65.0), (1.0, 1.0, 50.0)):
        assert ride.judge(lo, hi, f) is M
    assert ride.last.clause == "Table 19"


@given(st.sampled_from(CODES), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_further_from_nominal_never_gets_a_milder_answer_on_the_same_side(code: object, a: float, b: float) -> None:
    ride = RideThrough(code)  # type: ignore[arg-type]
    order = {C: 0, M: 1, X: 2}
    high = [order[ride.judge(1.0, 1.0 + x, ride.f.lo)] for x in sorted((a, b))]
    low = [order[ride.judge(1.0 - x, 1.0, ride.f.lo)] for x in sorted((a, b))]
    assert high == sorted(high)
    assert low == sorted(low)


@pytest.mark.parametrize("code", CODES, ids=lambda c: c.name)
def test_no_element_trips_before_the_ride_through_time_of_any_row_it_covers(code: object) -> None:
    for trip in code.trips:  # type: ignore[attr-defined]
        for row in code.ride_through:  # type: ignore[attr-defined]
            if row.quantity is not trip.quantity or row.min_time_s is None:
                continue
            over = trip.side.value == "over"
            covers = trip.threshold.value < row.hi.value if over else trip.threshold.value > row.lo.value
            same_side = (
                row.lo.value >= 1.0 if trip.quantity is Quantity.VOLTAGE else row.lo.value > code.nominal_f_hz
            ) is over  # type: ignore[attr-defined]
            if covers and same_side:
                for source in Source:
                    delay_s = source_delay(trip, internal_delay(trip, CHAIN), source)
                    assert delay_s >= row.min_time_s.value, (trip.id, row, source)


# ------------------------------------------------------------------------------------------------- in the state machine
def test_a_dip_into_momentary_cessation_stops_power_with_the_first_sample_and_keeps_the_contactors() -> None:
    bench = Bench(IEEE_AT_ONCE).enter()
    status = bench.see(one_phase(1, below(0.5)))
    assert status.state is GridState.CEASED
    assert status.may_connect
    assert not status.may_transfer
    assert status.reason.startswith("Ceased")
    assert bench.codes() == ["grid_cease"]
    assert bench.hold(1.0, 0.4).state is GridState.CEASED
    assert bench.codes() == ["grid_cease"]


def test_power_returns_after_the_hold_and_well_inside_of_the_restore_time() -> None:
    bench = Bench(IEEE_AT_ONCE).enter()
    bench.hold(0.5, 0.4)
    assert IEEE.momentary_cessation is not None
    assert hold_s(IEEE) == 0.1 <= IEEE.momentary_cessation.restore_max_s.value / 4
    assert bench.hold(0.1, 1.0).state is GridState.CEASED  # 0.095 s of good samples
    status = bench.see(1.0)
    assert status.state is GridState.CONNECTED
    assert status.may_transfer
    assert bench.codes() == ["grid_cease"]


def test_a_voltage_that_recovers_only_into_ride_through_restores_power_too() -> None:
    bench = Bench(IEEE_AT_ONCE).enter()
    bench.hold(0.2, 0.4)
    status = bench.hold(0.105, 0.6)
    assert status.state is GridState.RIDING_THROUGH
    assert status.may_transfer
    assert status.reason == "Riding through: 0.600 pu is outside of 0.88..1.1 pu."
    assert status.clause.startswith("IEEE 1547-2018, ")
    assert bench.codes() == ["grid_cease"]


def test_a_voltage_that_hovers_at_the_boundary_does_not_switch_the_converter_each_sample() -> None:
    bench = Bench(IEEE_AT_ONCE).enter()
    states = {bench.see(0.49 if i % 10 == 0 else 0.51).state for i in range(100)}
    assert states == {GridState.CEASED}


def test_mandatory_operation_goes_on_and_is_told_once() -> None:
    bench = Bench(IEEE_AT_ONCE).enter()
    for _ in range(300):
        status = bench.see(0.8)
        assert (status.state, status.may_transfer) == (GridState.RIDING_THROUGH, True)
    assert bench.codes() == ["grid_ride_through"]
    assert bench.hold(0.1).state is GridState.RIDING_THROUGH
    assert bench.see().state is GridState.CONNECTED


@pytest.mark.parametrize(("seen_by_pilot", "seen_by_converter"), [(0.4, 1.0), (1.0, 0.4), (0.8, 0.4), (0.4, 0.8)])
def test_either_source_makes_it_cease(seen_by_pilot: float, seen_by_converter: float) -> None:
    bench = Bench(IEEE_AT_ONCE, expected=True).enter()
    pair = [((v, v, v), 60.0) for v in (seen_by_pilot, seen_by_converter)]
    assert bench.step(*pair).state is GridState.CEASED


def test_a_source_that_fell_silent_in_a_dip_does_not_hold_the_charger_in_cessation() -> None:
    bench = Bench(IEEE_AT_ONCE, expected=True).enter()
    good, dip = ((1.0, 1.0, 1.0), 60.0), ((0.4, 0.4, 0.4), 60.0)
    assert bench.step(dip, good).state is GridState.CEASED
    states = [bench.step(None, good).state for _ in range(40)]
    assert states[19] is GridState.CEASED  # 100 ms: the dip is the newest value and not stale
    assert states[20] is GridState.CONNECTED


def test_cessation_ends_in_the_trip_that_it_belongs_to() -> None:
    bench = Bench(IEEE_AT_ONCE).enter()
    took = bench.until_trip(3.0, lambda: bench.see(0.4))
    assert took == pytest.approx(1.925)
    assert bench.codes() == ["grid_cease", "grid_trip"]


def test_the_german_code_ceases_on_no_number_that_is_only_remembered() -> None:
    bench = Bench(VDE).enter()
    status = bench.see(0.6)
    assert (status.state, status.may_transfer) == (GridState.RIDING_THROUGH, True)
    bench = Bench(load(VDE.name, nominal_v=230.0, allow_unverified=True)).enter()
    assert bench.see(0.6).state is GridState.CEASED


def test_a_board_that_cannot_cease_in_time_is_refused() -> None:
    slow = Chain(0.010, 0.005, 0.010, 0.0590, 0.0)
    with pytest.raises(GridCodeError, match=r"ceases after 0\.084 s; the code allows 0\.083 s"):
        GridProtection(IEEE, slow)
    GridProtection(IEEE, Chain(0.010, 0.005, 0.010, 0.0570, 0.0, frequency_window_s=0.035))
    GridProtection(VDE, slow)  # its 0.06 s are only remembered
    with pytest.raises(GridCodeError, match=r"allows 0\.06 s"):
        GridProtection(load(VDE.name, nominal_v=230.0, allow_unverified=True), slow)


def test_a_response_that_is_just_in_time_is_accepted_and_rows_that_do_not_cease_have_none() -> None:
    row = next(r for r in IEEE.ride_through if r.mode is X)
    assert row.max_response_s is not None
    check_response(row, Chain(row.max_response_s.value, 0.0, 0.0, 0.0, 0.0))
    check_response(replace(row, max_response_s=None), Chain(9.0, 0.0, 0.0, 0.0, 0.0))
    check_response(replace(row, mode=M), Chain(9.0, 0.0, 0.0, 0.0, 0.0))


def test_a_code_without_rows_knows_only_continuous_operation() -> None:
    ride = RideThrough(replace(IEEE, ride_through=()))
    assert ride.judge(0.0, 3.0, 10.0) is C


def test_the_hold_without_a_restore_time_is_a_tenth_of_a_second() -> None:
    assert hold_s(VDE) == 0.1


def test_a_short_restore_time_shortens_the_hold() -> None:
    assert IEEE.momentary_cessation is not None
    quick = replace(IEEE.momentary_cessation.restore_max_s, value=0.2)
    assert hold_s(replace(IEEE, momentary_cessation=replace(IEEE.momentary_cessation, restore_max_s=quick))) == 0.05


def test_in_service_means_one_of_three_states() -> None:
    assert {s for s in GridState if s not in ON} == {GridState.WAITING, GridState.TRIPPED}


# ------------------------------------------------------------------------------------------- getting ready while ceased
def test_a_ceased_converter_may_get_ready_once_the_voltage_is_back_and_not_in_the_sag() -> None:
    bench = Bench(IEEE_AT_ONCE).enter()
    assert not bench.see().may_idle
    sagging = bench.hold(0.3, 0.3)
    assert (sagging.state, sagging.may_idle) == (GridState.CEASED, False)
    assert not bench.see(one_phase(1, below(0.88))).may_idle
    back = bench.see(0.88)
    assert (back.state, back.may_transfer, back.may_idle) == (GridState.CEASED, False, True)
    assert not bench.see(one_phase(2, 0.4)).may_idle  # and falls again
    after = bench.hold(0.2)
    assert (after.state, after.may_transfer, after.may_idle) == (GridState.CONNECTED, True, False)


def test_neither_in_a_swell_nor_after_a_trip_may_it_get_ready() -> None:
    bench = Bench(IEEE_AT_ONCE).enter()
    assert not bench.see(1.15).may_idle
    assert bench.see(1.1).may_idle
    while (status := bench.see(1.15, tick_ms=50)).state is not GridState.TRIPPED:
        assert not status.may_idle
    assert not bench.see().may_idle


def test_what_a_silent_source_said_last_keeps_the_converter_off_until_it_is_stale() -> None:
    bench = Bench(IEEE_AT_ONCE, expected=True).enter()
    bench.hold(0.2, 0.3)
    seen = (1.0,) * 3, 60.0
    waiting = [bench.step(None, seen).may_idle for _ in range(15)]  # 75 ms: the pilot's last word is still the sag
    assert not any(waiting)
    assert bench.status is not None
    assert bench.status.state is GridState.CEASED
    for _ in range(10):
        bench.step(None, seen)
    assert bench.status.may_idle or bench.status.may_transfer


def test_the_slower_source_ends_a_cessation_no_later_than_the_faster_one() -> None:
    """The converter sees the return up to 50 ms later, and holds 50 ms less."""
    bench = Bench(IEEE_AT_ONCE, expected=True).enter()
    bench.hold(0.2, 0.3)
    seen = (1.0,) * 3, 60.0
    start = bench.now
    for k in range(1, 40):
        status = bench.step(seen, seen if k >= 10 else None)  # its first good sample comes 45 ms later
        if status.may_transfer:
            break
    assert bench.now - start == pytest.approx(hold_s(IEEE) + 0.005, abs=1e-6)


def test_a_stale_source_does_not_keep_a_ceased_converter_from_getting_ready() -> None:
    bench = Bench(IEEE_AT_ONCE, expected=True).enter()
    sag, back = (all_phases(0.4), 60.0), (all_phases(1.0), 60.0)
    for _ in range(30):
        assert bench.step(sag, sag).state in ON
    for _ in range(102):  # beyond its half second
        status = bench.step(sag)
    assert (status.state, status.may_idle) == (GridState.CEASED, False)
    status = bench.step(back)
    assert (status.state, status.may_idle) == (GridState.CEASED, True)
