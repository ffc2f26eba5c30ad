"""The two timers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.protection.timers import TIME_LSB_S, ConfirmedTimer, HoldFlag, PickupTimer

times = st.lists(st.integers(1, 400), min_size=1, max_size=40).map(
    lambda gaps: [1e6 + sum(gaps[:i]) / 1000.0 for i in range(1, len(gaps) + 1)]
)


def test_the_first_sample_outside_starts_the_timer_and_does_not_operate_it() -> None:
    timer = PickupTimer(0.1)
    assert not timer.outside(5000.0)
    assert timer.t_start == 5000.0
    assert timer.elapsed(5000.0) == 0.0


@pytest.mark.parametrize("t0", [0.0, 100.0, 123456.789, 3.0e7])
def test_a_delay_that_is_met_exactly_operates_and_a_millisecond_less_does_not(t0: float) -> None:
    timer = PickupTimer(0.1)
    assert not timer.outside(t0)
    assert not timer.outside(t0 + 0.099)
    assert timer.outside(t0 + 0.1)


def test_the_tolerance_of_time_is_one_microsecond() -> None:
    timer = PickupTimer(0.1)
    timer.outside(0.0)
    assert TIME_LSB_S == 1e-6
    assert not timer.outside(0.1 - 1.1e-6)
    assert not timer.due(0.1 - 1.1e-6)
    assert timer.due(0.1 - 1e-6)  # its end belongs to it
    assert timer.outside(0.1 - 1e-6)


def test_the_tolerance_of_a_hold_is_one_microsecond() -> None:
    flag = HoldFlag(0.1)
    flag.feed(0.0, True)
    for t, on in ((0.0, True), (0.1 - 1.1e-6, True), (0.1 - 1e-6, False)):
        flag.feed(t, False)
        assert flag.on is on


def test_another_delay_has_the_same_tolerance() -> None:
    timer = PickupTimer(5.0)
    timer.outside(0.0)
    timer.retune(0.1)
    assert timer.delay_s == 0.1
    assert not timer.outside(0.1 - 1.1e-6)
    assert timer.outside(0.1 - 0.9e-6)


def test_a_timer_that_wants_two_samples_is_never_due_by_one() -> None:
    timer = ConfirmedTimer(0.1)
    assert not timer.due(5.0)
    assert not timer.outside(10.0)
    assert not timer.due(20.0)
    assert not timer.outside(10.05)
    assert not timer.due(10.09)
    assert timer.due(10.1)
    timer.inside()
    assert not timer.due(20.0)


def test_a_zero_delay_operates_on_the_first_sample() -> None:
    assert PickupTimer(0.0).outside(7.0)


def test_one_sample_inside_makes_it_start_anew() -> None:
    timer = PickupTimer(0.1)
    timer.outside(0.0)
    timer.outside(0.09)
    timer.inside()
    assert not timer.due(10.0)
    assert timer.elapsed(10.0) == 0.0
    assert not timer.outside(0.11)
    assert not timer.outside(0.2)
    assert timer.outside(0.21)


def test_a_held_value_outside_becomes_due_by_the_clock_alone() -> None:
    timer = PickupTimer(0.1)
    timer.outside(50.0)
    assert not timer.due(50.099)
    assert timer.due(50.1)
    assert timer.t_due == pytest.approx(50.1)


def test_unknown_time_counts_neither_as_inside_nor_as_outside() -> None:
    timer = PickupTimer(0.1)
    timer.outside(10.0)
    timer.outside(10.06)
    timer.unknown(11.0)
    assert not timer.due(12.0)
    assert timer.elapsed(12.0) == pytest.approx(0.06)
    timer.unknown(13.0)
    assert timer.elapsed(14.0) == pytest.approx(0.06)
    assert not timer.outside(13.03)
    assert timer.elapsed(13.03) == pytest.approx(0.09)
    assert timer.due(13.05)
    assert timer.outside(13.04)
    assert timer.t_start == 10.0


def test_unknown_does_not_start_a_timer() -> None:
    timer = PickupTimer(0.1)
    timer.unknown(5.0)
    assert timer.t_start is None
    assert not timer.due(100.0)


@given(times, st.integers(0, 3000))
def test_outside_all_the_time_operates_at_the_first_sample_that_proves_the_delay(
    ts: list[float], delay_ms: int
) -> None:
    timer = PickupTimer(delay_ms / 1000.0)
    for t in ts:
        assert timer.outside(t) is (round((t - ts[0]) * 1000) >= delay_ms)


def test_a_flag_is_set_at_once_and_cleared_only_after_its_hold() -> None:
    flag = HoldFlag(0.1)
    flag.feed(1.0, False)
    assert not flag.on
    flag.feed(2.0, True)
    assert flag.on
    flag.feed(2.05, False)
    flag.feed(2.149, False)
    assert flag.on
    flag.feed(2.15, False)
    assert not flag.on


def test_a_new_excursion_restarts_the_hold() -> None:
    flag = HoldFlag(0.1)
    flag.feed(0.0, True)
    flag.feed(0.01, False)
    flag.feed(0.10, True)
    flag.feed(0.11, False)
    flag.feed(0.12, False)
    assert flag.on
    flag.feed(0.20, False)
    assert flag.on
    flag.feed(0.21, False)
    assert not flag.on


def test_a_reset_flag_is_off_and_its_next_hold_is_whole() -> None:
    flag = HoldFlag(0.1)
    flag.feed(0.0, True)
    flag.feed(0.05, False)
    flag.reset()
    assert not flag.on
    flag.feed(0.30, True)
    flag.feed(0.31, False)
    flag.feed(0.40, False)
    assert flag.on


def test_a_flag_without_hold_clears_with_the_first_denial() -> None:
    flag = HoldFlag(0.0)
    flag.feed(0.0, True)
    flag.feed(0.005, False)
    assert not flag.on
