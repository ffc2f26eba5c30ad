"""What all trip elements have in common: one quantity, one threshold, one timer, and the words for people."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from firmware.grid_codes import Side, TripSetting
from firmware.protection.closest import rank
from firmware.protection.timers import PickupTimer
from firmware.protection.types import ElementStatus, Source, Trip

PHASES: Final = ("L1", "L2", "L3")


class Element:
    """Base of the trip elements. A value exactly at the threshold is inside, for over and under alike."""

    __slots__ = ("clause", "id", "over", "phases", "setting", "source", "threshold", "timer", "unit", "value")

    def __init__(self, setting: TripSetting, delay_s: float, source: Source) -> None:
        """delay_s: the internal delay (`grid_codes.internal_delay`). source: whose samples it judges."""
        self.setting = setting
        self.source = source
        self.clause = setting.threshold.clause  # of the threshold; whoever knows the standard puts it before
        self.threshold = setting.threshold.value
        self.id, self.unit = setting.id, setting.threshold.unit
        self.over = setting.side is Side.OVER
        self.timer = PickupTimer(delay_s)
        self.value = math.nan  # last judged; nan = none yet, or not measurable now
        self.phases: tuple[float, ...] = ()  # that the value is the worst of

    def judge(self, t: float, value: float) -> bool:
        """One sample. True when the element operates on it."""
        self.value = value
        if value > self.threshold if self.over else value < self.threshold:
            return self.timer.outside(t)
        self.timer.t_start = None
        return False

    def blind(self, t: float) -> bool:
        """One sample in which the quantity could not be measured: neither inside nor outside."""
        self.value = math.nan
        self.timer.unknown(t)
        return False

    def retune(self, now: float, setting: TripSetting, delay_s: float, *, fresh: bool) -> None:
        """Another threshold or delay from now on. A time that runs goes on running: the quantity has been outside.

        fresh: the last value is no older than its age limit. When it lies outside of the new threshold and lay inside
        of the old one, its time begins now.
        """
        self.setting, self.threshold = setting, setting.threshold.value
        self.timer.retune(delay_s)
        outside = self.value > self.threshold if self.over else self.value < self.threshold  # False for nan
        if fresh and outside and self.timer.t_start is None:
            self.timer.outside(now)

    def reset(self) -> None:
        self.value = math.nan
        self.timer.inside()

    def operation(self) -> Operation:
        phase = PHASES[self.phases.index(self.value)] if self.phases else ""
        timer = self.timer
        assert timer.t_start is not None  # only a running timer operates
        return Operation(timer.t_due, self, self.value, phase, timer.t_start)

    def status(self, t: float) -> ElementStatus:
        value, threshold, timer = self.value, self.threshold, self.timer
        fields = (
            self.id,
            self.source,
            value,
            threshold,
            self.unit,
            threshold - value if self.over else value - threshold,
            0.0 if timer.t_start is None else timer.elapsed(t),
            timer.delay_s,
            self.clause,
        )
        return tuple.__new__(ElementStatus, fields)  # a third of the time, and there are 20 of them ten times a second

    def nearness(self, t: float) -> tuple[int, float]:
        """That of `status`, without making one."""
        margin = self.threshold - self.value if self.over else self.value - self.threshold
        return rank(self.timer.elapsed(t), self.timer.delay_s, margin, self.threshold)

    def excess(self, value: float, phase: str) -> str:
        """'L2 0.440 pu is below 0.450 pu': with as many digits as it takes to see the difference."""
        unit = self.setting.threshold.unit
        digits = next((n for n in (3, 6, 9) if round(value, n) != round(self.threshold, n)), 12)
        side = "above" if self.over else "below"
        who = f"{phase} " if phase else ""
        return f"{who}{value:.{digits}f} {unit} is {side} {self.threshold:.{digits}f} {unit}"


class Operation(NamedTuple):
    """An element has operated: when its delay ran out, and on what."""

    t_due: float
    element: Element
    value: float
    phase: str
    t_start: float


def trip_of(operation: Operation, now: float) -> Trip:
    """The trip that follows from an operation, decided at `now`."""
    element, setting, source = operation.element, operation.element.setting, operation.element.source
    words = element.excess(operation.value, operation.phase)
    text = f"Tripped by {setting.id}: {words} for {now - operation.t_start:.2f} s ({source.value})."
    return Trip(
        setting.id,
        source,
        operation.phase,
        operation.value,
        element.threshold,
        setting.threshold.unit,
        element.timer.delay_s,
        operation.t_start,
        now,
        element.clause,
        text,
    )
