"""Voltage and frequency elements of both codes, at their edges, through the whole of grid protection."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.grid_codes import GridCode, Quantity, Side, TripSetting, internal_delay
from firmware.protection.channel import source_delay
from firmware.protection.frequency_trip import BLOCK_V_PU
from firmware.protection.types import GridSample, GridState, GridStatus, Source
from tests.protection.bench import (
    CHAIN,
    IEEE,
    IEEE_AT_ONCE,
    ON,
    QUICK,
    VDE,
    VDE_AT_ONCE,
    Bench,
    Volts,
    all_phases,
    beyond,
    name,
    one_phase,
    trips_of,
)

VOLTAGE = trips_of(Quantity.VOLTAGE)
BOTH = trips_of(Quantity.VOLTAGE, Quantity.FREQUENCY)
FAST = [(code, trip) for code, trip in BOTH if internal_delay(trip, CHAIN) < 4.0]


def tick_for(delay_s: float) -> int:
    """Fine where the delay is short, coarse (but below the pilot's age limit) where it lasts minutes."""
    return 5 if delay_s < 4.0 else 50


def look_at(bench: Bench, trip: TripSetting, value: float, tick_ms: int) -> GridStatus:
    if trip.quantity is Quantity.FREQUENCY:
        return bench.see(f=value, tick_ms=tick_ms)
    return bench.see(value, tick_ms=tick_ms)


def expected_s(delay_s: float, tick_ms: int) -> float:
    """The first step at which the delay has passed."""
    return math.ceil(round(delay_s * 1000, 6) / tick_ms) * tick_ms / 1000.0


@pytest.mark.parametrize(("code", "trip"), BOTH, ids=name)
def test_a_value_exactly_at_the_threshold_never_trips(code: GridCode, trip: TripSetting) -> None:
    bench, delay = Bench(code).enter(), internal_delay(trip, CHAIN)
    tick = tick_for(delay)
    others = [t for t in code.trips if t.quantity is trip.quantity and t.side is trip.side and t is not trip]
    if any((t.threshold.value < trip.threshold.value) == (trip.side is Side.OVER) for t in others):
        # A wider element trips first in the end; until then this one must not even time.
        look_at(bench, trip, trip.threshold.value, tick)
        look_at(bench, trip, trip.threshold.value, tick)
        own = next(e for e in bench.protection.elements() if e.element == trip.id)
        assert (own.timer_s, own.margin) == (0.0, 0.0)
        return
    assert bench.until_trip(1.2 * delay + 1.0, lambda: look_at(bench, trip, trip.threshold.value, tick)) is None


@pytest.mark.parametrize(("code", "trip"), BOTH, ids=name)
def test_the_next_number_outside_trips_when_the_delay_is_over_and_not_a_step_before(
    code: GridCode, trip: TripSetting
) -> None:
    bench, delay = Bench(code).enter(), internal_delay(trip, CHAIN)
    tick = tick_for(delay)
    took = bench.until_trip(2.0 * delay + 1.0, lambda: look_at(bench, trip, beyond(trip), tick))
    assert took == pytest.approx(expected_s(delay, tick), abs=1e-6)
    assert bench.status is not None
    done = bench.status.last_trip
    assert done is not None
    assert done.element == trip.id
    assert done.source is Source.PILOT
    assert (done.value, done.threshold, done.unit) == (beyond(trip), trip.threshold.value, trip.threshold.unit)
    assert done.delay_s == delay
    assert done.t == bench.now
    assert done.t - done.t_start == pytest.approx(took)
    assert done.phase == ("" if trip.quantity is Quantity.FREQUENCY else "L1")
    assert not bench.status.may_connect
    assert not bench.status.may_transfer
    assert bench.status.power_limit_pu == 0.0
    assert bench.codes().count("grid_trip") == 1


@pytest.mark.parametrize(("code", "trip"), FAST, ids=name)
def test_an_excursion_one_step_shorter_than_the_delay_does_not_trip(code: GridCode, trip: TripSetting) -> None:
    bench, delay = Bench(code).enter(), internal_delay(trip, CHAIN)
    samples = round(expected_s(delay, 5) * 1000 / 5)  # the one after these would operate
    for _ in range(3):
        for _ in range(samples):
            assert look_at(bench, trip, beyond(trip), 5).state is not GridState.TRIPPED
        assert bench.see().state is not GridState.TRIPPED  # back inside: everything starts anew


@pytest.mark.parametrize("phase", range(3))
@pytest.mark.parametrize(("code", "trip"), VOLTAGE, ids=name)
def test_each_phase_alone_trips_and_is_named(code: GridCode, trip: TripSetting, phase: int) -> None:
    bench, delay = Bench(code).enter(), internal_delay(trip, CHAIN)
    tick = tick_for(delay)
    volts = one_phase(phase, beyond(trip))
    assert bench.until_trip(delay + 0.1, lambda: bench.see(volts, tick_ms=tick)) is not None
    assert bench.status is not None
    assert bench.status.last_trip is not None
    assert (bench.status.last_trip.element, bench.status.last_trip.phase) == (trip.id, f"L{phase + 1}")


def test_a_fault_that_wanders_from_phase_to_phase_is_one_fault() -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    for phase in (0, 1, 2):
        assert bench.hold(0.1, one_phase(phase, 0.3)).state is not GridState.TRIPPED
    assert bench.see(one_phase(0, 0.3)).state is GridState.TRIPPED


@pytest.mark.parametrize("source", list(Source))
@pytest.mark.parametrize(("code", "trip"), FAST, ids=name)
def test_either_source_trips_alone(code: GridCode, trip: TripSetting, source: Source) -> None:
    bench = Bench(code, expected=True).enter()
    healthy = (all_phases(1.0), code.nominal_f_hz)
    bad = (
        (all_phases(1.0), beyond(trip))
        if trip.quantity is Quantity.FREQUENCY
        else (all_phases(beyond(trip)), code.nominal_f_hz)
    )
    pair = (bad, healthy) if source is Source.PILOT else (healthy, bad)
    took = bench.until_trip(4.0, lambda: bench.step(*pair))
    assert took == pytest.approx(expected_s(source_delay(trip, internal_delay(trip, CHAIN), source), 5), abs=1e-6)
    assert bench.status is not None
    assert bench.status.last_trip is not None
    assert (bench.status.last_trip.element, bench.status.last_trip.source) == (trip.id, source)


@pytest.mark.parametrize(
    ("code", "element", "delay_s", "by_converter_s"),
    [
        (IEEE, "OV2", 0.09, 0.04),
        (IEEE, "OV2", 0.03, 0.0),  # it can be late, never early
        (IEEE, "OF2", 0.20, 0.15),
        (IEEE, "OF2", 0.06, 0.05),  # the wait that tells a phase jump stays
        (IEEE, "OF2", 0.04, 0.04),
        (VDE, "UF1", 0.10, 0.10),  # a relay setting is used as it stands
        (VDE, "OV2", 0.10, 0.10),
    ],
)
def test_only_a_clearing_time_makes_the_slower_source_wait_less(
    code: GridCode, element: str, delay_s: float, by_converter_s: float
) -> None:
    trip = code.trip(element)
    assert source_delay(trip, delay_s, Source.PILOT) == delay_s
    assert source_delay(trip, delay_s, Source.CONVERTER) == pytest.approx(by_converter_s, abs=1e-12)


@pytest.mark.parametrize("code", QUICK, ids=name)
def test_an_abnormal_sample_right_after_entering_service_does_not_trip_at_once(code: GridCode) -> None:
    bench = Bench(code)
    while bench.see(tick_ms=50).state not in ON:
        pass
    for v, f in ((0.0, math.nan), (1.6, 50.0), (1.0, 45.0), (1.0, 65.0)):
        assert bench.see(v, f).state is not GridState.TRIPPED
        bench.see()


def test_what_was_abnormal_before_entering_service_is_not_counted() -> None:
    bench = Bench(IEEE_AT_ONCE)
    bench.hold(5.0, 0.3)
    assert bench.see().state is GridState.CONNECTED
    assert bench.see(0.3).state is not GridState.TRIPPED


def test_a_late_tick_trips_at_once_when_its_samples_prove_it() -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    t0, bad = bench.now, all_phases(0.3)
    bench.ms += 400
    late = [GridSample(t0 + i * 0.005, bad, 50.0) for i in range(1, 81)]
    assert bench.give(late, []).state is GridState.TRIPPED


def test_a_late_tick_trips_on_an_excursion_that_is_over_when_it_comes() -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    t0 = bench.now
    bench.ms += 400
    late = [GridSample(t0 + i * 0.005, all_phases(0.3 if i <= 61 else 1.0), 50.0) for i in range(1, 81)]
    status = bench.give(late, [])
    assert status.state is GridState.TRIPPED
    assert status.last_trip is not None
    assert status.last_trip.element == "UV2"


def test_a_late_tick_does_not_trip_on_an_excursion_that_was_too_short() -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    t0 = bench.now
    bench.ms += 400
    late = [GridSample(t0 + i * 0.005, all_phases(0.3 if i <= 60 else 1.0), 50.0) for i in range(1, 81)]
    assert bench.give(late, []).state in ON


def test_a_bad_value_that_is_merely_held_goes_on_counting_until_it_is_stale() -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    bench.hold(0.055, f=47.0)  # first bad sample 50 ms ago
    for _ in range(9):
        assert bench.step(None).state in ON
    assert bench.step(None).state is GridState.TRIPPED  # 100 ms after the first bad sample, 50 ms after the last
    assert bench.status is not None
    assert bench.status.last_trip is not None
    assert bench.status.last_trip.element == "UF1"


def test_the_element_whose_delay_ran_out_first_is_the_one_that_is_named() -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    t0 = bench.now
    bench.ms += 1000
    seen = [GridSample(t0 + i * 0.005, all_phases(0.3), 50.0 if i < 50 else 47.0) for i in range(1, 201)]
    status = bench.give(seen, [])  # UV2 is over after 0.3 s, UF1 after 0.245 + 0.1 s
    assert status.last_trip is not None
    assert status.last_trip.element == "UV2"
    bench = Bench(VDE_AT_ONCE).enter()
    t0 = bench.now
    bench.ms += 1000
    seen = [GridSample(t0 + i * 0.005, all_phases(0.3), 50.0 if i < 35 else 47.0) for i in range(1, 201)]
    status = bench.give(seen, [])
    assert status.last_trip is not None
    assert status.last_trip.element == "UF1"


# ------------------------------------------------------------------------------------------------ frequency and voltage
def test_a_missing_frequency_does_not_hide_a_missing_voltage() -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    took = bench.until_trip(1.0, lambda: bench.see(0.0, math.nan))
    assert took == pytest.approx(0.3)
    assert bench.status is not None
    assert bench.status.last_trip is not None
    assert bench.status.last_trip.element == "UV2"


def test_a_frequency_on_a_dead_bus_is_not_believed() -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    took = bench.until_trip(1.0, lambda: bench.see(math.nextafter(BLOCK_V_PU, 0.0), 47.0))
    assert took == pytest.approx(0.3)
    assert bench.status is not None
    assert bench.status.last_trip is not None
    assert bench.status.last_trip.element == "UV2"


def test_a_frequency_is_believed_from_a_fifth_of_the_voltage_on_any_phase() -> None:
    assert BLOCK_V_PU == 0.2
    bench = Bench(VDE_AT_ONCE).enter()
    took = bench.until_trip(1.0, lambda: bench.see((0.0, BLOCK_V_PU, 0.0), 47.0))
    assert took == pytest.approx(0.1)
    assert bench.status is not None
    assert bench.status.last_trip is not None
    assert bench.status.last_trip.element == "UF1"


@pytest.mark.parametrize("missing", [math.nan, math.inf, -math.inf])
def test_a_frequency_that_is_missing_does_not_count_as_back_inside(missing: float) -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    bench.hold(0.060, f=47.0)  # 55 ms on the timer
    bench.hold(0.050, f=missing)
    for _ in range(8):  # 60 to 95 ms
        assert bench.see(f=47.0).state in ON
    assert bench.see(f=47.0).state is GridState.TRIPPED


def test_a_frequency_that_is_missing_does_not_count_as_outside() -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    bench.hold(0.060, f=47.0)
    assert bench.hold(0.095, f=math.nan).state in ON
    assert bench.see().state in ON
    assert bench.hold(0.100, f=47.0).state in ON
    assert bench.see(f=47.0).state is GridState.TRIPPED


def test_a_phase_jump_that_looks_like_over_frequency_for_40_ms_does_not_trip() -> None:
    for code in QUICK:
        bench = Bench(code).enter()
        assert bench.hold(0.040, f=code.nominal_f_hz + 5.5).state in ON
        assert bench.hold(1.0).state in ON


# ------------------------------------------------------------------------------------------------------ by property
def band(code: GridCode, quantity: Quantity) -> tuple[float, float]:
    """The values no element minds."""
    low = [t.threshold.value for t in code.trips if t.quantity is quantity and t.side is Side.UNDER]
    high = [t.threshold.value for t in code.trips if t.quantity is quantity and t.side is Side.OVER]
    return max(low), min(high)


INSIDE = st.sampled_from(QUICK).flatmap(
    lambda code: st.tuples(
        st.just(code),
        st.lists(
            st.tuples(
                st.tuples(*[st.floats(*band(code, Quantity.VOLTAGE))] * 3),
                st.floats(*band(code, Quantity.FREQUENCY)),
                st.integers(1, 99),
            ),
            max_size=80,
        ),
    )
)


@settings(max_examples=30, deadline=None)
@given(INSIDE, st.booleans())
def test_it_never_trips_while_everything_is_inside(
    case: tuple[GridCode, list[tuple[Volts, float, int]]], expected: bool
) -> None:
    code, samples = case
    bench = Bench(code, expected=expected).enter()
    for v, f, gap_ms in samples:
        assert bench.see(v, f, tick_ms=gap_ms).state in ON


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(FAST), st.lists(st.integers(1, 99), min_size=1, max_size=40), st.floats(0.0, 1.0))
def test_it_always_trips_within_the_delay_and_one_sample_when_outside(
    which: tuple[GridCode, TripSetting], gaps_ms: list[int], how_far: float
) -> None:
    code, trip = which
    bench, delay = Bench(code).enter(), internal_delay(trip, CHAIN)
    value = beyond(trip) + (how_far * 0.1 if trip.side is Side.OVER else -how_far * 0.1)
    i = 0

    def look() -> GridStatus:
        nonlocal i
        i += 1
        return look_at(bench, trip, value, gaps_ms[i % len(gaps_ms)])

    took = bench.until_trip(10.0, look)
    assert took is not None
    assert took <= delay + max(gaps_ms) / 1000.0 + 1e-6


DEPTHS = st.lists(st.tuples(st.floats(0.0, 1.3), st.floats(0.0, 0.5)), min_size=1, max_size=150)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(QUICK), DEPTHS)
def test_a_worse_voltage_never_trips_later(code: GridCode, depths: list[tuple[float, float]]) -> None:
    def trip_step(values: list[float]) -> float:
        bench = Bench(code).enter()
        for i, v in enumerate(values):
            if bench.see(v, tick_ms=20).state is GridState.TRIPPED:
                return i
        return math.inf

    mild = [min(v, 1.05) for v, _ in depths]
    worse = [max(0.0, v - more) for v, (_, more) in zip(mild, depths, strict=True)]
    assert trip_step(worse) <= trip_step(mild)
    high = [max(v, 0.9) for v, _ in depths]
    higher = [v + more for v, (_, more) in zip(high, depths, strict=True)]
    assert trip_step(higher) <= trip_step(high)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(QUICK),
    st.booleans(),
    st.lists(st.tuples(st.floats(0.0, 4.0), st.floats(0.0, 3.0)), min_size=1, max_size=60),
)
def test_a_worse_frequency_never_trips_later(code: GridCode, under: bool, offsets: list[tuple[float, float]]) -> None:
    def trip_step(by: list[float]) -> float:
        bench = Bench(code).enter()
        for i, df in enumerate(by):
            if bench.see(f=code.nominal_f_hz + (-df if under else df), tick_ms=20).state is GridState.TRIPPED:
                return i
        return math.inf

    assert trip_step([a + b for a, b in offsets]) <= trip_step([a for a, _ in offsets])
