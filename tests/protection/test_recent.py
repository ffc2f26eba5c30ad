"""The frequencies of the last moments: which are kept, which are left out, and windows of them."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.protection.channel import MAX_AHEAD_S
from firmware.protection.recent import Recent, middle
from firmware.protection.types import GridSample

V = (1.0, 1.0, 1.0)
times = st.integers(0, 12).map(float)  # few, so that they are equal, run back and meet the ends of windows
batches = st.lists(st.lists(st.tuples(times, st.floats(45.0, 55.0) | st.just(math.nan)), max_size=4), max_size=6)


def taken(*pairs: tuple[float, float], now: float = 100.0, from_s: float = -math.inf) -> Recent:
    recent = Recent()
    recent.take(now, [GridSample(t, V, f) for t, f in pairs], from_s)
    return recent


@given(batches, times, times, times)
def test_windows_are_those_of_the_samples_in_the_order_of_their_times(
    given_in: list[list[tuple[float, float]]], from_s: float, begin: float, end: float
) -> None:
    recent, kept = Recent(), list[tuple[float, float]]()
    for batch in given_in:
        recent.take(100.0, [GridSample(t, V, f) for t, f in batch], from_s)
        for t, f in batch:
            if f == f and t >= max((x for x, _ in kept), default=-math.inf):
                kept.append((t, f))
        kept = [(t, f) for t, f in kept if t > from_s]
    assert list(zip(recent.t, recent.f_hz, strict=True)) == kept
    assert recent.between(begin, end) == [f for t, f in kept if begin < t <= end]


def test_what_is_not_after_the_beginning_is_forgotten_also_without_a_new_sample() -> None:
    recent = taken((1.0, 50.0), (2.0, 51.0), (3.0, 52.0))
    recent.take(100.0, [], 2.0)
    assert (recent.t, recent.f_hz) == ([3.0], [52.0])


@pytest.mark.parametrize(("ahead_s", "kept"), [(MAX_AHEAD_S, 2), (math.nextafter(MAX_AHEAD_S, 1.0), 1)])
def test_a_sample_of_a_clock_that_is_ahead_does_not_shut_out_those_after_it(ahead_s: float, kept: int) -> None:
    recent = taken((ahead_s, 50.0), now=0.0)
    recent.take(0.01, [GridSample(0.01 + MAX_AHEAD_S, V, 51.0)], -1.0)
    assert len(recent.t) == kept


def test_a_time_that_is_no_number_is_left_out() -> None:
    assert taken((math.nan, 50.0), (1.0, 51.0), (math.nan, 52.0), (2.0, 53.0)).f_hz == [51.0, 53.0]


def test_cleared_it_takes_any_time_again() -> None:
    recent = taken((5.0, 50.0))
    recent.clear()
    recent.take(100.0, [GridSample(1.0, V, 49.0)], -math.inf)
    assert (recent.t, recent.f_hz) == ([1.0], [49.0])


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12), st.data())
def test_the_middle_is_the_median(values: list[float], data: st.DataObject) -> None:
    values.sort()
    begin = data.draw(st.integers(0, len(values) - 1))
    end = data.draw(st.integers(begin + 1, len(values)))
    assert middle(values, begin, end) == statistics.median(values[begin:end])
