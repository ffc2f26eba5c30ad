"""The 10-minute mean against a brute-force calculation, and the element on top of it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.grid_codes import Confidence, Mean10Min, MeanMethod, Quantity, Setting, Side
from firmware.protection.mean_10min import MeanVoltageTrip, SlidingMean
from firmware.protection.types import GridState, Source
from tests.protection.bench import VDE, VDE_AT_ONCE, Bench

MAX_HOLD_S = 0.1


def seconds(value: float) -> Setting:
    return Setting(value, "s", "test", (), Confidence.HIGH)


SHORT = Mean10Min(seconds(30.0), seconds(3.0))
FULL = Mean10Min(seconds(600.0), seconds(3.0))
SHORT_RMS = Mean10Min(seconds(30.0), seconds(3.0), MeanMethod.RMS)
FULL_RMS = Mean10Min(seconds(600.0), seconds(3.0), MeanMethod.RMS)


def brute_force(setting: Mean10Min, samples: list[tuple[int, tuple[float, float, float]]]) -> tuple[float, ...] | None:
    """By definition, from all samples (time in ms): 3-s values of time-weighted samples, then their mean."""
    power = 2 if setting.method is MeanMethod.RMS else 1
    step = round(setting.interval_s.value * 1000)
    n = round(setting.window_s.value / setting.interval_s.value)
    now = samples[-1][0] // step
    weights: dict[int, float] = {}
    sums: dict[int, list[float]] = {}
    for (t0, _), (t1, v) in itertools.pairwise(samples):
        weight = min((t1 - t0) / 1000.0, MAX_HOLD_S)
        weights[t1 // step] = weights.get(t1 // step, 0.0) + weight
        so_far = sums.setdefault(t1 // step, [0.0, 0.0, 0.0])
        sums[t1 // step] = [s + x**power * weight for s, x in zip(so_far, v, strict=True)]
    good = [
        [s / weights[i] for s in sums[i]]
        for i in range(now - n, now)
        if weights.get(i, 0.0) >= setting.interval_s.value / 2 - 1e-9
    ]
    if len(good) < n / 2:
        return None
    return tuple((sum(v[phase] for v in good) / len(good)) ** (1 / power) for phase in range(3))


SEGMENTS = st.lists(
    st.tuples(
        st.tuples(*[st.floats(0.0, 1.5)] * 3),
        st.sampled_from((5, 20, 95, 100)),  # period of samples
        st.integers(1, 9000),  # for so long
        st.sampled_from((0, 0, 0, 120, 1400, 1500, 1600, 7000, 40_000)),  # and then nothing for so long
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(SEGMENTS, st.integers(0, 3000), st.sampled_from((SHORT, SHORT_RMS)))
def test_the_mean_is_what_brute_force_makes_of_all_samples(
    segments: list[tuple[tuple[float, float, float], int, int, int]], start_ms: int, setting: Mean10Min
) -> None:
    mean, samples = SlidingMean(setting, MAX_HOLD_S), []
    t = 1_000_000 + start_ms
    for v, period, length, gap in segments:
        for _ in range(max(1, length // period)):
            t += period
            samples.append((t, v))
            mean.add(t / 1000.0, v)
        expected = brute_force(setting, samples)
        if expected is None:
            assert mean.mean is None
        else:
            assert mean.mean == pytest.approx(expected, abs=1e-8)
        t += gap


def test_a_whole_ten_minutes_agree_with_brute_force() -> None:
    mean, samples = SlidingMean(FULL, MAX_HOLD_S), []
    for i in range(13_000):
        t = 3_000 + 50 * i
        v = (1.0 + 0.1 * math.sin(i / 700), 1.05, 1.0 + i / 130_000)
        samples.append((t, v))
        mean.add(t / 1000.0, v)
    assert mean.mean == pytest.approx(brute_force(FULL, samples), abs=1e-8)


def fill(mean: SlidingMean, seconds_: float, v: float, start_s: float = 0.0) -> float:
    for i in range(round(seconds_ * 20)):
        mean.add(start_s + i / 20, (v, v, v))
    return start_s + seconds_


def test_there_is_no_mean_before_half_of_the_window_was_measured() -> None:
    mean = SlidingMean(SHORT, MAX_HOLD_S)
    t = fill(mean, 15.0, 1.0)  # the fifth 3-s value is not closed yet
    assert mean.mean is None
    mean.add(t, (1.0, 1.0, 1.0))
    assert mean.mean == (1.0, 1.0, 1.0)


def test_a_mean_needs_a_hundred_of_its_two_hundred_values() -> None:
    mean = SlidingMean(FULL, MAX_HOLD_S)
    t = fill(mean, 300.0, 1.0)
    assert mean.mean is None  # the hundredth is not closed yet
    mean.add(t, (1.0, 1.0, 1.0))
    assert mean.mean == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("short_s", "counts"), [(0.0, True), (1 / 128, False)])
def test_a_value_counts_from_half_of_its_time_on(short_s: float, counts: bool) -> None:
    """Binary fractions of a second are exact, so that 1.5 s are 1.5 s and no rounding helps either way."""
    mean = SlidingMean(SHORT, MAX_HOLD_S)
    for i in range(12 * 16):  # 12 s, four values
        mean.add(i / 16, (1.0, 1.0, 1.0))
    for i in range(24):  # the fifth: 1.5 s, or a little less
        mean.add(12.0 + i / 16 - (short_s if i == 23 else 0.0), (1.0, 1.0, 1.0))
    mean.add(15.0, (1.0, 1.0, 1.0))
    assert (mean.mean is not None) is counts


@pytest.mark.parametrize(("short_s", "counts"), [(1e-6, True), (1.1e-6, False)])
def test_half_of_its_time_less_a_microsecond_is_half_of_its_time(short_s: float, counts: bool) -> None:
    """Times are compared to the microsecond, and that microsecond belongs to it."""
    mean = SlidingMean(SHORT, 3.0)
    mean.add(0.0, (1.0, 1.0, 1.0))
    mean.add(1.5 - short_s, (1.0, 1.0, 1.0))
    for t in (3.0, 6.0, 9.0, 12.0, 15.0):  # the sample that begins a value stands for the time before it
        mean.add(t, (1.0, 1.0, 1.0))
    assert (mean.mean is not None) is counts


def test_the_mean_is_said_to_the_billionth() -> None:
    mean = SlidingMean(SHORT, MAX_HOLD_S)
    fill(mean, 20.0, 1.0000000043)
    assert mean.mean == (1.000000004,) * 3


@pytest.mark.parametrize("setting", [FULL, FULL_RMS])
def test_a_constant_voltage_has_exactly_itself_as_its_mean(setting: Mean10Min) -> None:
    for v in (1.1, 0.1, 1.0999, 1.15):
        mean = SlidingMean(setting, MAX_HOLD_S)
        fill(mean, 400.0, v)
        assert mean.mean == (v, v, v)


def test_what_was_not_measured_is_left_out_and_is_no_zero() -> None:
    mean = SlidingMean(SHORT, MAX_HOLD_S)
    fill(mean, 18.0, 1.08)
    mean.add(24.0, (1.08, 1.08, 1.08))
    assert mean.mean == (1.08, 1.08, 1.08)


def test_a_sample_after_a_gap_stands_for_no_longer_than_its_age_limit() -> None:
    mean = SlidingMean(SHORT, MAX_HOLD_S)
    t = fill(mean, 18.0, 1.0)
    mean.add(t + 2.0, (9.0, 9.0, 9.0))  # 0.1 s of weight at most: too little to make a 3-s value
    mean.add(t + 3.0, (1.0, 1.0, 1.0))
    assert mean.mean == (1.0, 1.0, 1.0)


def test_the_mean_is_gone_when_the_window_has_run_empty() -> None:
    mean = SlidingMean(SHORT, MAX_HOLD_S)
    t = fill(mean, 40.0, 1.0)
    mean.add(t + 60.0, (1.0, 1.0, 1.0))
    assert mean.mean is None


def test_the_window_slides_by_one_value_and_forgets_the_eleventh() -> None:
    mean = SlidingMean(SHORT, MAX_HOLD_S)
    t = fill(mean, 30.0, 1.0)
    t = fill(mean, 3.0, 2.0, t)
    mean.add(t, (2.0, 2.0, 2.0))
    assert mean.mean == pytest.approx((1.1, 1.1, 1.1))
    t = fill(mean, 30.0, 2.0, t)
    mean.add(t, (2.0, 2.0, 2.0))
    assert mean.mean == (2.0, 2.0, 2.0)


def test_the_rms_mean_weighs_a_high_voltage_more_than_the_arithmetic_one() -> None:
    arithmetic, rms = SlidingMean(SHORT, MAX_HOLD_S), SlidingMean(SHORT_RMS, MAX_HOLD_S)
    for mean in (arithmetic, rms):
        t = fill(mean, 15.0, 0.8)
        t = fill(mean, 15.0, 1.2, t)
        mean.add(t, (1.2, 1.2, 1.2))
    assert arithmetic.mean == pytest.approx((1.0,) * 3, abs=1e-3)  # the first sample of a run stands for nothing
    assert rms.mean == pytest.approx(((0.5 * 0.8**2 + 0.5 * 1.2**2) ** 0.5,) * 3, abs=1e-3)


# ------------------------------------------------------------------------------------------------------- the element
def test_the_ten_minute_mean_at_its_threshold_does_not_trip() -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    assert bench.hold(700.0, 1.1, tick_ms=100).state is not GridState.TRIPPED


@pytest.mark.parametrize("phase", range(3))
def test_the_ten_minute_mean_of_each_phase_alone_trips(phase: int) -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    bench.hold(620.0, 1.09, tick_ms=100)
    # From 1.09 to a mean above 1.10 with 1.12 takes 10/30 of the window: 200 s, then the end of a 3-s value and 0.1 s.
    volts = tuple(1.12 if i == phase else 1.0 for i in range(3))
    took = bench.until_trip(300.0, lambda: bench.see(volts, tick_ms=100))  # type: ignore[arg-type]
    assert took is not None
    assert 200.0 <= took <= 206.2
    assert bench.status is not None
    trip = bench.status.last_trip
    assert trip is not None
    assert (trip.element, trip.phase) == ("OV1_10MIN", f"L{phase + 1}")
    assert 1.1 < trip.value <= 1.1003


def test_a_mean_that_is_still_high_forbids_to_enter_service_again() -> None:
    bench = Bench(VDE_AT_ONCE).enter()
    bench.hold(620.0, 1.09, tick_ms=100)
    assert bench.until_trip(300.0, lambda: bench.see(1.12, tick_ms=100)) is not None
    status = bench.hold(9.0, 1.09, tick_ms=100)
    assert status.state is GridState.TRIPPED
    assert "OV1_10MIN is outside of its limit" in status.reason


def test_the_german_code_asks_for_ten_minutes_of_three_second_values() -> None:
    assert VDE.mean_10min is not None
    assert (VDE.mean_10min.window_s.value, VDE.mean_10min.interval_s.value) == (600.0, 3.0)


@pytest.mark.parametrize(("side", "worst"), [(Side.OVER, 1.05), (Side.UNDER, 0.85)])
def test_the_worst_phase_is_the_highest_of_an_over_and_the_lowest_of_an_under_voltage(side: Side, worst: float) -> None:
    setting = next(t for t in VDE.trips if t.quantity is Quantity.VOLTAGE_10MIN)
    element = MeanVoltageTrip(replace(setting, side=side), 0.1, Source.PILOT, SlidingMean(SHORT, MAX_HOLD_S))
    element.mean.mean = (0.95, 0.85, 1.05)
    element.feed(0.0)
    assert element.value == worst
