"""Curves between their points, lags on their time: the two pieces that every support function is made of."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.grid_support.curve import Curve
from firmware.grid_support.response import TIME_CONSTANT_SHARE, Response

number = st.floats(-1e4, 1e4, allow_nan=False)


@st.composite
def points(draw: st.DrawFn, monotone: bool = False) -> list[tuple[float, float]]:
    xs = sorted(draw(st.lists(number, min_size=1, max_size=8)))
    ys = draw(st.lists(number, min_size=len(xs), max_size=len(xs)))
    return list(zip(xs, sorted(ys) if monotone else ys, strict=True))


@given(points(), number)
def test_a_value_lies_between_those_of_its_neighbours_for_any_spacing(
    found: list[tuple[float, float]], x: float
) -> None:
    y = Curve(found).at(x)
    left = [p for p in found if p[0] <= x][-1:] or found[:1]
    right = [p for p in found if p[0] > x][:1] or found[-1:]
    assert min(left[0][1], right[0][1]) <= y <= max(left[0][1], right[0][1])


@given(points(monotone=True), number, number)
def test_a_curve_of_rising_points_never_falls(found: list[tuple[float, float]], a: float, b: float) -> None:
    curve = Curve(found)
    assert curve.at(min(a, b)) <= curve.at(max(a, b))


@given(points())
def test_a_curve_passes_through_its_points_and_stays_level_beyond_them(found: list[tuple[float, float]]) -> None:
    curve = Curve(found)
    assert curve.points == tuple(found)
    for (x, y), later in itertools.zip_longest(found, found[1:]):
        if later is None or later[0] > x:  # of several points at one x the last holds
            assert curve.at(x) == y
    assert curve.at(found[0][0] - 1.0) == found[0][1]
    assert curve.at(found[-1][0] + 1.0) == found[-1][1]


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 1)), min_size=1, max_size=7), st.data())
def test_a_curve_is_level_on_its_plateau_and_nowhere_is_a_level_stretch_missed(
    found: list[tuple[int, int]], data: st.DataObject
) -> None:
    curve = Curve(sorted((float(x), float(y)) for x, y in found))
    x = data.draw(st.sampled_from([k / 2 for k in range(-9, 10)]))
    begin, end = curve.plateau(x)
    for near in [k / 4 for k in range(-18, 19)] + [math.nextafter(k, side) for k in range(-4, 5) for side in (-9, 9)]:
        if begin <= near < end:
            assert curve.at(near) == curve.at(x)
    level = curve.at(x - 0.125) == curve.at(x) == curve.at(x + 0.125)  # the next numbers are equal by rounding, too
    assert begin <= x < end or not level


def test_a_frequency_table_that_is_not_one_hertz_apart_is_divided_by_its_spacing() -> None:
    close = Curve([(49.8, -7000.0), (50.0, 0.0), (50.2, 7000.0)])
    assert close.at(50.1) == pytest.approx(3500.0)
    assert close.at(49.9) == pytest.approx(-3500.0)
    wide = Curve([(47.0, -7000.0), (50.0, 0.0), (53.0, 7000.0)])
    assert wide.at(48.5) == pytest.approx(-3500.0)
    assert wide.at(52.5) == pytest.approx(5833.333, abs=0.001)


@pytest.mark.parametrize("bad", [[], [(1.0, math.nan)], [(math.inf, 1.0)], [(2.0, 0.0), (1.0, 0.0)]])
def test_points_that_are_no_curve_are_refused(bad: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="curve"):
        Curve(bad)


def test_a_curve_has_no_value_where_nobody_measured() -> None:
    with pytest.raises(ValueError, match="nan"):
        Curve([(0.0, 0.0)]).at(math.nan)


@pytest.mark.parametrize("share", [0.9, 0.86, TIME_CONSTANT_SHARE])
@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_a_step_has_made_its_share_at_the_given_time_however_it_is_sampled(share: float, steps: int) -> None:
    lag = Response(5.0, share, start=2.0)
    for k in range(steps + 1):
        value = lag.step(100.0 + 5.0 * k / steps, 12.0)
    assert value == pytest.approx(2.0 + share * 10.0, abs=1e-9)


@given(st.lists(st.tuples(st.floats(0.0, 3.0), number), min_size=1, max_size=20), st.floats(0.0, 10.0))
def test_a_lag_never_leaves_what_it_was_asked(inputs: list[tuple[float, float]], reach_s: float) -> None:
    lag, t = Response(reach_s), 0.0
    seen = []
    for dt, target in inputs:
        t += dt
        seen.append(target)
        assert min(seen) - 1e-9 <= lag.step(t, target) <= max(seen) + 1e-9


@given(st.lists(st.tuples(st.integers(1, 30), number), min_size=1, max_size=8), st.integers(2, 10))
def test_a_lag_does_not_depend_on_samples_that_repeat_the_last(held: list[tuple[int, float]], parts: int) -> None:
    coarse, fine, t = Response(3.0), Response(3.0), 0
    for ticks, target in held:
        coarse.step(t / 10, target)
        for k in range(parts):
            fine.step(t / 10 + ticks / 10 * k / parts, target)
        t += ticks
    assert coarse.step(t / 10, 0.0) == pytest.approx(fine.step(t / 10, 0.0), abs=1e-6)


def test_a_lag_without_a_start_has_settled_on_its_first_sample_and_one_without_time_follows_at_once() -> None:
    assert Response(5.0).step(0.0, 7.0) == 7.0
    lag = Response(0.0, start=1.0)
    assert (lag.step(0.0, 5.0), lag.step(0.0, 6.0)) == (5.0, 6.0)


def test_a_sample_acts_from_its_own_time_on_and_not_before() -> None:
    lag = Response(1.0, start=0.0)
    lag.step(0.0, 0.0)
    assert lag.step(10.0, 1.0) == 0.0
    assert lag.step(11.0, 1.0) == pytest.approx(0.9)


def test_a_time_that_runs_backwards_is_no_time_and_a_reset_forgets() -> None:
    lag = Response(1.0, start=0.0)
    lag.step(5.0, 1.0)
    before = lag.step(5.5, 1.0)
    assert lag.step(4.0, 1.0) == before
    lag.reset()
    assert lag.step(4.0, 1.0) == 0.0


@pytest.mark.parametrize(("reach_s", "share"), [(-1.0, 0.9), (math.nan, 0.9), (math.inf, 0.9), (1.0, 0.0), (1.0, 1.0)])
def test_a_lag_that_cannot_be_is_refused(reach_s: float, share: float) -> None:
    with pytest.raises(ValueError, match="response time"):
        Response(reach_s, share)


@pytest.mark.parametrize("x", [0.0, 0.5])
def test_a_slope_at_the_beginning_of_a_curve_is_no_level_stretch(x: float) -> None:
    begin, end = Curve([(0.0, 0.0), (1.0, 1.0), (2.0, 1.0)]).plateau(x)
    assert not begin < end
