"""The two timers that carry all timing of protection. Both know time only from the samples they are given.

There is no hysteresis: an element picks up and drops out at the very threshold the code gives. A drop-out further
inside would trip on values that are inside, one further outside would let an excursion pass.
"""

from __future__ import annotations

import math
from typing import Final

# Times are compared to the microsecond: below what any clock here resolves, above the rounding of a double that counts
# seconds since boot. Without it a delay that is met exactly would wait for one sample more.
TIME_LSB_S: Final = 1e-6


class PickupTimer:
    """How long a quantity has been outside, from the time of the first sample outside.

    It starts stopped, so a first sample that is outside starts it and does not operate it (unless the delay is zero).
    """

    __slots__ = ("_counting", "_from", "_last", "_need", "delay_s", "t_start")

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.t_start: float | None = None  # time of the first sample outside; None = inside
        self._need = delay_s - TIME_LSB_S
        self._from = math.nan  # t_start plus all time that must not count; set with t_start, like what follows
        self._last = math.nan
        self._counting = False  # the last sample was outside

    def retune(self, delay_s: float) -> None:
        """Another delay from now on; the time that has run counts towards it."""
        self.delay_s = delay_s
        self._need = delay_s - TIME_LSB_S

    def outside(self, t: float) -> bool:
        """A sample at t was outside. True when that has lasted for the delay."""
        if self.t_start is None:
            self.t_start = self._from = t
        self._last = t
        self._counting = True
        return t - self._from >= self._need

    def inside(self) -> None:
        """A sample was inside, or the timer shall forget."""
        self.t_start = None

    def unknown(self, t: float) -> None:
        """At t it is not known whether the quantity is outside: the time since the last sample counts neither way."""
        if self.t_start is not None:
            self._from += t - self._last
            self._last = t
            self._counting = False

    def due(self, t: float) -> bool:
        """Would the delay have run out at t if the last sample, being outside, still held?"""
        return self.t_start is not None and self._counting and t - self._from >= self._need

    @property
    def t_due(self) -> float:
        """When the delay ran or runs out; only meaningful while running."""
        return self._from + self.delay_s

    def elapsed(self, t: float) -> float:
        """Seconds outside that count, up to t; 0 when inside."""
        if self.t_start is None:
            return 0.0
        return (t if self._counting else self._last) - self._from


class ConfirmedTimer(PickupTimer):
    """A pickup timer that one sample alone never runs out: what it says is held, but it takes a second one to act on.

    For what is measured over a window: the window that holds the beginning of a fault shows what never was.
    """

    __slots__ = ()

    def due(self, t: float) -> bool:
        return self._last != self.t_start and super().due(t)


class HoldFlag:
    """Set by the first sample that says so; cleared only after samples have denied it for `hold_s`."""

    __slots__ = ("_need", "_t_clear", "on")

    def __init__(self, hold_s: float) -> None:
        self._need = hold_s - TIME_LSB_S
        self._t_clear: float | None = None
        self.on = False

    def feed(self, t: float, condition: bool) -> None:
        if condition:
            self.on = True
            self._t_clear = None
        elif self.on:
            if self._t_clear is None:
                self._t_clear = t
            if t - self._t_clear >= self._need:
                self.on = False

    def reset(self) -> None:
        self.on = False
        self._t_clear = None
