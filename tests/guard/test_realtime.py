"""Absolute deadlines and lateness, on a clock that the test holds."""

from __future__ import annotations

import signal
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.guard import realtime
from firmware.guard.realtime import Deadline, Lateness


class Clock:
    """Monotonic time that only passes when somebody sleeps, or when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 50.0
        self.wakes_late_s = 0.0
        monkeypatch.setattr(realtime.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(realtime, "sleep_until", self.sleep_until)

    def sleep_until(self, deadline_s: float) -> None:
        assert deadline_s > self.now
        self.now = deadline_s + self.wakes_late_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_deadlines_are_a_grid_in_time_however_late_each_wake_up_is(clock: Clock) -> None:
    deadline = Deadline(0.010)
    for n in range(1, 101):
        clock.wakes_late_s = 0.0003 * (n % 7)
        assert deadline.wait() == pytest.approx(0.0003 * (n % 7))
        assert clock.now == pytest.approx(50.0 + 0.010 * n + clock.wakes_late_s)
    assert deadline.missed == 0


def test_work_that_takes_less_than_a_period_costs_no_deadline(clock: Clock) -> None:
    deadline = Deadline(0.010)
    for _ in range(50):
        deadline.wait()
        clock.now += 0.0099
    assert deadline.missed == 0
    assert clock.now == pytest.approx(50.0 + 50 * 0.010 + 0.0099)


def test_missed_periods_are_counted_and_never_caught_up(clock: Clock) -> None:
    deadline = Deadline(0.010)
    deadline.wait()
    clock.now += 0.0345  # deadlines at 20, 30 and 40 ms went by
    assert deadline.wait() == pytest.approx(0.0245)
    assert deadline.missed == 2, "the one at 20 ms is this late one; those at 30 and 40 ms are gone"
    woke = clock.now
    deadline.wait()
    assert clock.now - woke == pytest.approx(0.0055), "the next one on the old grid, and only one"
    assert clock.now == pytest.approx(50.0 + 0.050)
    deadline.wait()
    assert deadline.missed == 2


def test_hours_of_suspension_end_in_one_tick(clock: Clock) -> None:
    deadline = Deadline(0.010)
    deadline.wait()
    clock.now += 7200.0
    assert deadline.wait() == pytest.approx(7200.0 - 0.010)
    assert deadline.missed == pytest.approx(719_999, abs=1)
    before = clock.now
    deadline.wait()
    assert 0.0 < clock.now - before <= 0.010 + 1e-9


@given(st.lists(st.floats(0.0, 0.05), min_size=1, max_size=60))
def test_ticks_and_missed_periods_add_up_to_the_time_that_passed(busy_s: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch)
        deadline = Deadline(0.010)
        for busy in busy_s:
            late = deadline.wait()
            assert late >= 0.0
            clock.now += busy
        deadline.wait()
        periods = len(busy_s) + 1 + deadline.missed
        assert 0.010 * periods - 1e-6 <= clock.now - 50.0 < 0.010 * (periods + 1) + 1e-6


def test_the_real_sleep_ends_at_its_absolute_time_also_when_a_signal_comes_in_between() -> None:
    hits: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: hits.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        due = time.monotonic() + 0.03
        realtime.sleep_until(due)
        assert time.monotonic() >= due
        time.sleep(0)  # a place for the interpreter to run the handler
        assert hits == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def test_a_deadline_that_is_over_is_not_slept_for() -> None:
    began = time.monotonic()
    realtime.sleep_until(began - 1.0)
    realtime.sleep_until(0.0)
    assert time.monotonic() - began < 30.0  # one that took it for a duration would sleep for years


# ---------------------------------------------------------------------------------------------------------- lateness
def test_percentiles_of_a_hundred_known_values() -> None:
    lateness = Lateness(1000)
    for n in range(100):
        lateness.add((n * 37 % 100) / 1000.0)
    assert lateness.percentile(0.0) == 0.0
    assert lateness.percentile(0.5) == pytest.approx(0.050)
    assert lateness.percentile(0.99) == pytest.approx(0.099)
    assert lateness.percentile(1.0) == pytest.approx(0.099)
    assert lateness.max_s == pytest.approx(0.099)


def test_percentiles_look_back_over_the_window_only_and_the_maximum_over_all() -> None:
    lateness = Lateness(10)
    lateness.add(5.0)
    for _ in range(10):
        lateness.add(0.001)
    assert lateness.percentile(1.0) == 0.001
    assert lateness.max_s == 5.0


def test_before_the_first_sample_nothing_is_late() -> None:
    assert Lateness(10).percentile(0.99) == 0.0
    assert Lateness(10).max_s == 0.0


@given(st.lists(st.floats(0.0, 10.0), min_size=1, max_size=50), st.floats(0.0, 1.0))
def test_a_percentile_is_a_measured_value_with_that_share_below_it(values: list[float], q: float) -> None:
    lateness = Lateness(50)
    for value in values:
        lateness.add(value)
    found = lateness.percentile(q)
    assert found in values
    assert sum(v <= found for v in values) >= q * len(values) - 1e-9
