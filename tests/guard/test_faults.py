"""The book of faults: told once, held, latched, acknowledged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.guard.events import EVENTS, Severity, severity
from firmware.guard.faults import Faults
from firmware.guard.numbers import FAULT_HOLD_S, REPEAT_COUNT, REPEAT_WINDOW_S

CODES = sorted(EVENTS)
LATCHING = sorted(c for c in CODES if severity(c) is Severity.LATCH)
STOPPING = sorted(c for c in CODES if severity(c) in (Severity.SOFT_STOP, Severity.TRIP))
TICK_S = 0.01


class Book:
    """Faults with a clock; `run` lets time pass with the same conditions, as guard's ticks do."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.now = 100.0
        self.events: list[tuple[str, bool]] = []

    def run(self, seconds: float, *present: str) -> None:
        for _ in range(max(1, round(seconds / TICK_S))):
            self.now += TICK_S
            found = self.faults.update(self.now, dict.fromkeys(present, "detail"))
            self.events += [(e.code, e.cleared) for e in found]


def test_a_condition_is_told_when_it_begins_and_when_it_is_over_and_not_in_between() -> None:
    book = Book()
    book.run(3.0, "converter_fan")
    book.run(1.0)
    assert book.events == [("converter_fan", False), ("converter_fan", True)]
    assert book.faults.worst is Severity.INFO
    assert book.faults.codes == []


@pytest.mark.parametrize("code", STOPPING)
def test_a_stopping_fault_is_held_long_enough_that_contactors_do_not_chatter(code: str) -> None:
    book = Book()
    book.run(TICK_S, code)
    book.run(FAULT_HOLD_S - 2 * TICK_S)
    assert book.faults.codes == [code]
    book.run(3 * TICK_S)
    assert book.faults.codes == []


def test_a_fault_that_flickers_is_one_fault() -> None:
    book = Book()
    for _ in range(20):
        book.run(0.05, "converter_fault")
        book.run(0.4)
    assert book.events == [("converter_fault", False)]


def test_a_long_fault_ends_a_second_after_its_cause() -> None:
    book = Book()
    book.run(60.0, "converter_fault")
    book.run(0.95)
    assert book.faults.worst is Severity.TRIP
    book.run(0.1)
    assert book.faults.worst is Severity.INFO


@pytest.mark.parametrize("code", LATCHING)
def test_a_latching_fault_stays_until_it_is_cleared(code: str) -> None:
    book = Book()
    book.run(TICK_S, code)
    book.run(100.0)
    assert book.faults.latched == [code]
    assert book.faults.worst is Severity.LATCH
    book.faults.clear(book.now)
    book.run(TICK_S)
    assert book.faults.codes == []


def test_acknowledging_an_emergency_stop_that_is_still_pressed_does_not_let_it_go_by_itself_later() -> None:
    book = Book()
    book.run(1.0, "pilot_estop")
    book.faults.clear(book.now)
    book.run(5.0, "pilot_estop")
    book.run(100.0)
    assert book.faults.latched == ["pilot_estop"]
    book.faults.clear(book.now)
    book.run(TICK_S)
    assert book.faults.codes == []


def test_the_third_time_within_the_window_latches_and_says_so() -> None:
    book = Book()
    for _ in range(REPEAT_COUNT):
        assert book.faults.latched == []
        book.run(TICK_S, "converter_fault")
        book.run(FAULT_HOLD_S + 1.0)
    assert book.faults.latched == ["converter_fault"]
    assert "latched" in book.faults.sentence()
    book.run(2 * REPEAT_WINDOW_S)
    assert book.faults.latched == ["converter_fault"]


def test_three_times_in_more_than_the_window_do_not_latch() -> None:
    book = Book()
    for _ in range(6):
        book.run(TICK_S, "converter_fault")
        book.run(REPEAT_WINDOW_S / (REPEAT_COUNT - 1) + 1.0)
    assert book.faults.latched == []


def test_clearing_begins_the_count_anew() -> None:
    book = Book()
    for _ in range(REPEAT_COUNT):
        book.run(TICK_S, "converter_fault")
        book.run(FAULT_HOLD_S + 1.0)
    book.faults.clear(book.now)
    book.run(TICK_S)
    book.run(TICK_S, "converter_fault")
    assert book.faults.latched == []


def test_a_momentary_cause_counts_with_the_next_update() -> None:
    book = Book()
    book.faults.report("ramp_test_failed", "12 V of 500 V")
    assert book.faults.worst is Severity.INFO
    book.run(TICK_S)
    assert book.faults.worst is Severity.SOFT_STOP
    assert "12 V of 500 V" in book.faults.sentence()


@pytest.mark.parametrize("code", ["", "no such code", "late_tick", "state"])
def test_only_a_known_stopping_fault_can_be_latched_again_after_a_restart(code: str) -> None:
    faults = Faults()
    assert faults.latch(0.0, code) is None
    assert faults.codes == []


def test_a_fault_of_an_earlier_guard_is_latched_again_once() -> None:
    faults = Faults()
    assert faults.latch(0.0, "contactor_welded") is not None
    assert faults.latch(0.1, "contactor_welded") is None
    assert faults.worst is Severity.LATCH
    assert faults.update(1000.0, {}) == []
    assert faults.latched == ["contactor_welded"]


def test_the_worst_comes_first_and_is_the_one_that_is_said() -> None:
    book = Book()
    book.run(TICK_S, "converter_fan", "insulation_low", "pilot_estop")
    assert book.faults.codes == ["pilot_estop", "insulation_low", "converter_fan"]
    assert book.faults.sentence().startswith(EVENTS["pilot_estop"].sentence.rstrip("."))


@given(st.lists(st.tuples(st.sets(st.sampled_from(CODES), max_size=3), st.floats(0.01, 700.0), st.integers(0, 9))))
def test_begin_and_end_alternate_and_a_latch_never_goes_without_a_clear(
    steps: list[tuple[set[str], float, int]],
) -> None:
    faults, now = Faults(), 0.0
    active: set[str] = set()
    latched: set[str] = set()
    for present, pause_s, dice in steps:
        now += pause_s
        if dice == 0:
            faults.clear(now)
            latched.clear()
        for event in faults.update(now, dict.fromkeys(present, "")):
            assert (event.code in active) is event.cleared
            active ^= {event.code}
        assert present <= active
        assert latched <= set(faults.latched)
        assert set(faults.codes) == active
        assert faults.worst == max((severity(c) for c in active), default=Severity.INFO)
        latched = set(faults.latched)
