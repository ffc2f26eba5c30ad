"""Rate of change of frequency: what trips the four codes that ask for it, and what only looks like it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.grid_codes import (
    Confidence,
    GridCode,
    GridCodeError,
    Quantity,
    RelaySetting,
    Setting,
    Side,
    TripSetting,
    inspect,
    internal_delay,
    load,
    names,
)
from firmware.grid_codes import words as w
from firmware.grid_codes.chain import ROCOF_CONFIRM_S, ROCOF_WINDOW_S
from firmware.grid_codes.consistency import check
from firmware.protection.channel import Channel
from firmware.protection.element import trip_of
from firmware.protection.enter_service import Window
from firmware.protection.rocof import RocofTrip, _keep
from firmware.protection.timers import TIME_LSB_S
from firmware.protection.types import GridSample, GridState, Source
from firmware.replay import replay
from tests.protection.bench import CHAIN, Bench, at_once

NAMES = ("se_alp_50549", "dk_lv_type_a", "uk_g98", "uk_g99_type_a")
ROCOF_CODES = tuple(at_once(load(n, nominal_v=230.0, allow_unverified=n != "se_alp_50549")) for n in NAMES)
MEASURE_S = ROCOF_WINDOW_S + ROCOF_CONFIRM_S
SLACK = 1e-5


def rocof(code: GridCode) -> TripSetting:
    return next(t for t in code.trips if t.quantity is Quantity.ROCOF)


def element(delay_s: float = 0.5, threshold: float = 1.0) -> RocofTrip:
    setting = rocof(ROCOF_CODES[-1])
    return RocofTrip(replace(setting, threshold=replace(setting.threshold, value=threshold)), delay_s, Source.PILOT)


def feed(under_test: RocofTrip, f: Callable[[float], float], until_s: float, step_s: float) -> float | None:
    """Feed f(t) from t = 0 on; the time at which it operates."""
    for k in range(round(until_s / step_s) + 1):
        if under_test.feed(100.0 + k * step_s, f(k * step_s), True):
            return k * step_s
    under_test.settle()
    return None


def bench_until(code: GridCode, f: Callable[[float], float], for_s: float, tick_ms: int = 5) -> tuple[Bench, float]:
    """(bench, seconds to its trip or nan)."""
    bench = Bench(code).enter()
    bench.hold(1.0)
    start = bench.now
    while bench.now - start < for_s:
        t = bench.now + tick_ms / 1000.0 - start
        if bench.see(1.0, f(t), tick_ms=tick_ms).state is GridState.TRIPPED:
            return bench, bench.now - start
    return bench, math.nan


def through(hz_s: float) -> Callable[[float], float]:
    """A ramp that stays inside of all frequency limits for as long as it takes: it starts at the far end."""
    begin = 50.0 - math.copysign(1.9, hz_s)
    return lambda t: min(begin + hz_s * t, 51.4) if hz_s > 0.0 else max(begin + hz_s * t, 47.6)


# ------------------------------------------------------------------------------------------------------------ profiles
def test_all_codes_with_a_rocof_trip_run_and_the_others_have_none() -> None:
    asking = {n for n in names() if any(t.quantity is Quantity.ROCOF for t in inspect(n).trips)}
    assert asking == set(NAMES)
    for code in ROCOF_CODES:
        Bench(code).enter()
    assert load("se_alp_50549", nominal_v=230.0).verified  # two network operators: no flag needed


def test_a_rate_that_is_said_to_trip_when_it_is_under_is_refused() -> None:
    code = ROCOF_CODES[0]
    trips = tuple(replace(t, side=Side.UNDER) if t.quantity is Quantity.ROCOF else t for t in code.trips)
    with pytest.raises(GridCodeError, match=r"trip\.LOM_ROCOF is an under-trip"):
        check(replace(code, trips=trips))


def test_the_measuring_window_is_part_of_the_chain() -> None:
    trip = rocof(ROCOF_CODES[-1])
    assert internal_delay(trip, CHAIN) == 0.5  # a relay's setting stands
    window_s = CHAIN.until_open_s(Quantity.ROCOF) - CHAIN.until_open_s(Quantity.FREQUENCY)
    assert window_s == pytest.approx(MEASURE_S)
    lines = w.explain(ROCOF_CODES[-1], "lom_rocof", CHAIN, "bench", {})
    assert any("window 0.19 + report 0.005" in line for line in lines)
    assert any("rate of change of frequency, rising or falling, is above 1 Hz/s" in line for line in lines)


# --------------------------------------------------------------------------------------------------------- measurement
@pytest.mark.parametrize("step_s", [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0, 3.0])
@pytest.mark.parametrize("hz_s", [0.3, -0.3])
def test_the_rate_of_a_ramp_is_right_at_any_spacing_of_samples(step_s: float, hz_s: float) -> None:
    under_test = element()
    feed(under_test, lambda t: 50.0 + hz_s * t, max(0.5, 3.0 * step_s), step_s)
    assert under_test.value == pytest.approx(0.3, abs=1e-6)


@given(st.lists(st.floats(0.001, 3.0), min_size=1, max_size=30), st.floats(-4.0, 4.0))
def test_the_rate_of_a_ramp_is_never_overstated_whatever_the_spacing(steps: list[float], hz_s: float) -> None:
    under_test, t = element(delay_s=0.0), 7.0
    for step_s in steps:
        t += step_s
        under_test.feed(t, 50.0 + hz_s * (t - 7.0), True)
        under_test.settle()
        assert not under_test.value > abs(hz_s) + SLACK


def test_there_is_no_rate_before_the_windows_are_filled() -> None:
    under_test = element()
    feed(under_test, lambda t: 50.0 + t, MEASURE_S - 0.005, 0.005)
    assert math.isnan(under_test.value)
    under_test = element()
    feed(under_test, lambda t: 50.0 + t, MEASURE_S, 0.005)
    assert under_test.value == pytest.approx(1.0)


def test_a_rate_is_said_to_the_millionth() -> None:
    under_test = element()
    feed(under_test, lambda t: 50.0 + 0.3000014 * t, 0.5, 0.005)
    assert under_test.value == 0.300001


@pytest.mark.parametrize("older", [[], [(0.0, 5.0)]])
def test_a_window_that_is_a_microsecond_short_is_filled(older: list[tuple[float, float]]) -> None:
    """Times are compared to the microsecond, and that microsecond belongs to it."""
    begin = 0.2 - 0.1 + TIME_LSB_S  # rounded as where it is compared
    values = deque([*older, (begin, 6.0)])
    assert _keep(values, 0.2, 7.0, 0.1)
    assert list(values) == [(begin, 6.0), (0.2, 7.0)]


# --------------------------------------------------------------------------------------------------------------- edges
@pytest.mark.parametrize("code", ROCOF_CODES, ids=lambda c: c.name)
@pytest.mark.parametrize("tick_ms", [5, 10, 20, 50])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_rate_just_above_the_threshold_trips_after_its_delay_and_not_before(
    code: GridCode, tick_ms: int, sign: float
) -> None:
    trip = rocof(code)
    hz_s = sign * trip.threshold.value * 1.001
    bench, took = bench_until(code, through(hz_s), 3.0, tick_ms)
    delay_s = internal_delay(trip, CHAIN)
    assert delay_s <= took <= delay_s + MEASURE_S + 2.0 * tick_ms / 1000.0 + SLACK
    assert bench.status is not None
    done = bench.status.last_trip
    assert done is not None
    assert (done.element, done.unit, done.threshold) == ("LOM_ROCOF", "Hz/s", trip.threshold.value)
    assert done.phase == ("rising" if sign > 0 else "falling")
    assert done.value == pytest.approx(abs(hz_s), rel=1e-4)
    assert f"{done.phase} {done.value:.3f} Hz/s is above {done.threshold:.3f} Hz/s" in done.text


@pytest.mark.parametrize("code", ROCOF_CODES, ids=lambda c: c.name)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_rate_of_exactly_the_threshold_never_trips(code: GridCode, sign: float) -> None:
    threshold = rocof(code).threshold.value
    bench, took = bench_until(code, through(sign * threshold), 3.2 / threshold)
    assert math.isnan(took)
    assert bench.status is not None
    seen = next(e for e in bench.protection.elements() if e.element == "LOM_ROCOF")
    assert seen.margin == pytest.approx(0.0, abs=1e-6)


def test_a_steeper_ramp_never_trips_later() -> None:
    took = [bench_until(ROCOF_CODES[-1], through(hz_s), 3.0)[1] for hz_s in (1.01, 1.1, 1.3, 1.7, 2.5)]
    assert took == sorted(took, reverse=True)


def test_the_delay_is_a_definite_time_and_starts_anew_when_the_rate_falls_below_the_threshold() -> None:
    """Steep, then flat for long enough to show, then steep: neither part alone is 0.5 s."""

    def f(t: float) -> float:
        return 48.0 + 2.0 * min(t, 0.45) + 2.0 * max(0.0, min(t, 1.1) - 0.65)

    assert feed(element(), f, 3.0, 0.005) is None
    assert feed(element(), lambda t: 48.0 + 2.0 * t, 3.0, 0.005) is not None


def test_without_a_delay_the_first_rate_above_the_threshold_trips_even_where_all_was_calm_before() -> None:
    code = ROCOF_CODES[-1]
    none = replace(rocof(code), time=RelaySetting(Setting(0.0, "s", "test", (), Confidence.HIGH)))
    code = replace(code, trips=tuple(none if t.quantity is Quantity.ROCOF else t for t in code.trips))
    bench, took = bench_until(code, lambda t: 50.0 + 1.2 * t, 0.5)
    assert took == pytest.approx(ROCOF_WINDOW_S / 1.2 + ROCOF_CONFIRM_S, abs=0.006)
    assert bench.status is not None
    assert bench.status.last_trip is not None
    assert bench.status.last_trip.element == "LOM_ROCOF"


def test_a_rate_that_turns_round_is_two_excursions() -> None:
    def f(t: float) -> float:
        return 50.0 + 2.0 * (min(t, 0.5) - max(0.0, t - 0.5))

    assert feed(element(), f, 1.0, 0.005) is None
    assert feed(element(), f, 2.0, 0.005) is not None  # the second one goes on


def test_a_rate_whose_windows_differ_in_sign_is_none_and_never_below_zero() -> None:
    under_test, seen = element(), []
    for k in range(200):
        t = k * 0.005
        under_test.feed(t, 50.0 + 2.0 * (min(t, 0.5) - max(0.0, t - 0.5)), True)
        under_test.settle()
        seen.append(under_test.value)
    rates = [v for v in seen if v == v]
    assert min(rates) == 0.0
    assert (max(rates), rates[-1]) == (pytest.approx(2.0), pytest.approx(2.0))


# ------------------------------------------------------------------------------------------------- what is no rate
def pulses(*jumps: tuple[float, float]) -> Callable[[float], float]:
    """Jumps (s, degrees) as a two-cycle instrument shows them at 50 Hz: pulses of 40 ms."""
    return lambda t: 50.0 + sum(deg / 360.0 / 0.04 for at, deg in jumps if 0.0 <= t - at < 0.04)


@settings(deadline=None)
@given(st.floats(-180.0, 180.0), st.sampled_from([0.001, 0.005, 0.01, 0.02, 0.05]))
def test_a_phase_jump_of_any_size_leaves_nothing_in_the_rate(degrees: float, step_s: float) -> None:
    under_test, f = element(delay_s=0.0, threshold=0.01), pulses((0.5, degrees))
    for k in range(round(1.5 / step_s)):
        assert not under_test.feed(k * step_s, f(k * step_s), True)
        under_test.settle()
        assert under_test.value == 0.0 or math.isnan(under_test.value)


@settings(max_examples=60)
@given(st.floats(-60.0, 60.0), st.floats(0.0, 1.0), st.sampled_from(ROCOF_CODES))
def test_a_fault_there_and_back_trips_none_of_the_codes(degrees: float, apart_s: float, code: GridCode) -> None:
    trip = rocof(code)
    under_test = RocofTrip(trip, internal_delay(trip, CHAIN), Source.PILOT)
    assert feed(under_test, pulses((0.3, degrees), (0.3 + apart_s, -degrees)), 2.0, 0.005) is None


def test_a_frequency_that_cannot_be_measured_stops_the_time_and_begins_the_windows_anew() -> None:
    under_test = element()
    feed(under_test, lambda t: 48.0 + 2.0 * t, 0.4, 0.005)
    t0 = under_test.timer.elapsed(100.4)
    assert 0.2 < t0 < 0.3
    for k in range(81, 281):
        assert not under_test.feed(100.0 + k * 0.005, 48.0, False)
    assert math.isnan(under_test.value)
    assert under_test.timer.elapsed(101.4) == pytest.approx(t0)
    for k in range(281, 281 + round(MEASURE_S / 0.005)):  # another frequency: no rate across the hole
        assert not under_test.feed(100.0 + k * 0.005, 51.0, True)
        assert math.isnan(under_test.value)
    assert not under_test.feed(100.0 + (281 + round(MEASURE_S / 0.005)) * 0.005, 51.0, True)
    under_test.settle()
    assert (under_test.value, under_test.timer.t_start) == (0.0, None)


@pytest.mark.parametrize("hole", ["silent", "nan", "dead"])
def test_no_rate_is_made_up_across_a_hole_in_the_measurement(hole: str) -> None:
    """50 Hz before it and 51.3 Hz behind it. The hole is short, so that nothing else trips."""
    bench = Bench(ROCOF_CODES[1]).enter()  # 2.5 Hz/s for 80 ms: the fastest
    bench.hold(1.0)
    if hole == "silent":
        bench.ms += 95
    else:
        bench.hold(0.09, 0.1 if hole == "dead" else 1.0, math.nan if hole == "nan" else 50.0)
    if hole == "silent":
        bench.protection._pilot._gap(bench.now)
    status = bench.hold(1.0, 1.0, 51.3)
    assert status.state in (GridState.CONNECTED, GridState.RIDING_THROUGH)


def test_a_source_that_is_expected_anew_begins_its_windows_anew() -> None:
    bench = Bench(ROCOF_CODES[1], expected=True).enter()
    bench.hold(0.5)
    channel = bench.protection._converter
    bench.expected = False
    bench.hold(0.2)
    bench.expected = True
    bench.see(1.0, 51.0)
    assert [e.value for e in channel._rates if e.value == e.value] == []


# ---------------------------------------------------------------------------------------------------- long steps
@pytest.mark.parametrize("step_s", [0.02, 0.1, 0.5, 1.0, 3.0])
def test_a_recording_with_long_steps_trips_on_its_slope_and_not_on_its_stairs(step_s: float) -> None:
    def rows(hz_s: float) -> list[GridSample]:
        count = round(12.0 / step_s)
        f = [min(48.0 + max(0.0, hz_s * (k * step_s - 3.0)), 51.4) for k in range(count + 1)]
        return [GridSample(k * step_s, (1.0,) * 3, f[k]) for k in range(count + 1)]

    for code in ROCOF_CODES:
        threshold = rocof(code).threshold.value
        assert replay(rows(0.99 * threshold), code, CHAIN, rated_w=22_000.0).first_trip is None
    trip = replay(rows(0.5 if step_s == 3.0 else 1.3), ROCOF_CODES[-1], CHAIN, rated_w=22_000.0).first_trip
    if step_s == 3.0:
        assert trip is None
    else:
        assert trip is not None
        assert trip.element == "LOM_ROCOF"
        assert 3.5 < trip.t <= 3.5 + MEASURE_S + 2.0 * step_s + SLACK


def test_an_operation_tells_its_direction_and_evidence() -> None:
    under_test = element()
    took = feed(under_test, lambda t: 52.0 - 1.25 * t, 3.0, 0.005)
    assert took is not None
    trip = trip_of(under_test.operation(), 100.0 + took)
    assert (trip.phase, trip.unit, trip.clause) == ("falling", "Hz/s", under_test.setting.threshold.clause)
    assert trip.value == pytest.approx(1.25)
    assert trip.text.startswith("Tripped by LOM_ROCOF: falling 1.250 Hz/s is above 1.000 Hz/s for 0.50 s")


def test_the_profile_files_name_no_element_that_is_not_here(tmp_path: Path) -> None:
    """A quantity that nobody measures is refused when the file is read."""
    text = (Path(inspect.__code__.co_filename).parent / "uk_g98.toml").read_text()
    for source in Path(inspect.__code__.co_filename).parent.glob("_*.toml"):
        (tmp_path / source.name).write_text(source.read_text())
    (tmp_path / "x.toml").write_text(text.replace('quantity = "rocof"', 'quantity = "vector_shift"'))
    with pytest.raises(GridCodeError, match=r"quantity is 'vector_shift'; allowed: voltage, voltage_10min, frequency"):
        inspect("x", directory=tmp_path)


@pytest.mark.parametrize(("size", "late"), [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)])
def test_a_rate_that_begins_to_count_within_a_batch_lets_the_rest_of_it_be_judged_once(size: int, late: int) -> None:
    code = ROCOF_CODES[-1]
    course = [
        GridSample(k * 0.005, (1.0, 1.0, 1.0), 50.0 + max(0.0, 2.0 * ((k - late) * 0.005 - 0.3)))
        for k in range(size * 60)
    ]
    one_by_one, in_batches = (Channel(Source.PILOT, code, CHAIN, Window(code.enter_service)) for _ in range(2))
    for channel in (one_by_one, in_batches):
        channel.begin(0.0)
    counted = set()
    for first in range(0, len(course), size):
        batch = course[first : first + size]
        now = batch[-1].t
        found = [operation for sample in batch for operation in one_by_one.take(now, [sample], None)]
        assert list(in_batches.take(now, batch, None)) == found
        assert in_batches.last == one_by_one.last == batch[-1]
        assert in_batches.refused == one_by_one.refused == 0
        starts = [[e.timer.t_start for e in channel.timing()] for channel in (one_by_one, in_batches)]
        assert starts[0] == starts[1]
        counted.add(bool(starts[0]))
    assert counted == {False, True}
