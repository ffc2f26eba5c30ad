"""Over-voltage of the 10-minute mean, per phase.

Arithmetic mean of 3-s values (VDE-AR-N 4105), or r.m.s. mean (CEI 0-21 and EN 50549-1, after EN 61000-4-30: the root
of the mean of the squares), sliding, new every 3 s; both as described in the manual of a Bender VMD460-NA, clause not
given in the source. A 3-s value is the mean (of the squares) of its samples weighted by the time each stands for, so a
change of the sampling rate does not shift it. The r.m.s. mean is never below the arithmetic one.

What was not measured is left out, never taken as zero: a sample stands for at most the source's age limit, a 3-s value
needs `MIN_FILL` of its time measured, and a mean needs `MIN_COVERAGE` of its 3-s values. With less there is no mean and
the element is blind. In the first ten minutes the mean is therefore over what was measured so far, from five minutes
on.
"""

from __future__ import annotations

import math
from collections import deque

from firmware.grid_codes import Mean10Min, MeanMethod, TripSetting
from firmware.protection.element import Element
from firmware.protection.timers import TIME_LSB_S
from firmware.protection.types import Source

MIN_FILL = 0.5  # policy value
MIN_COVERAGE = 0.5  # policy value
_DIGITS = 9  # rounding of the mean, far below any meter, so that a constant 1.10 has the mean 1.10

Phases = tuple[float, float, float]


class SlidingMean:
    """Feed it samples in order; `mean` is per phase, or None while too little was measured."""

    def __init__(self, setting: Mean10Min, max_hold_s: float) -> None:
        self._interval_s = setting.interval_s.value
        self._count = round(setting.window_s.value / self._interval_s)
        self._max_hold_s = max_hold_s
        self._rms = setting.method is MeanMethod.RMS
        # 3-s values of each phase, squared where the mean is r.m.s., and the intervals that they are of.
        self._values: tuple[deque[float], ...] = (deque(), deque(), deque())
        self._indices: deque[float] = deque()
        self._index = math.nan  # of the interval that runs
        self._samples: list[tuple[float, Phases]] = []  # of the interval that runs; summed when it is over
        self._t_last: float | None = None  # of the last sample of the interval before
        self.mean: Phases | None = None

    def add(self, t: float, v_pu: Phases) -> bool:
        """True when an interval is over, so that the mean may be another."""
        index = t // self._interval_s
        over = index != self._index
        if over:
            self._close(index)
        self._samples.append((t, v_pu))
        return over

    def _sums(self) -> tuple[float, Phases]:
        """Of the interval's samples: the time that they stand for, and each phase (squared for r.m.s.) times it."""
        weight = a_sum = b_sum = c_sum = 0.0
        t_last, longest, rms = self._t_last, self._max_hold_s, self._rms
        for t, (a, b, c) in self._samples:
            if t_last is not None:
                dt = min(t - t_last, longest)
                weight += dt
                if rms:
                    a, b, c = a * a, b * b, c * c
                a_sum += a * dt
                b_sum += b * dt
                c_sum += c * dt
            t_last = t
        self._t_last = t_last
        self._samples.clear()
        return weight, (a_sum, b_sum, c_sum)

    def _close(self, index: float) -> None:
        """The interval is over: keep its value if it was measured enough, drop what left the window."""
        weight, sums = self._sums()
        indices = self._indices
        if weight >= MIN_FILL * self._interval_s - TIME_LSB_S:
            indices.append(self._index)
            for values, phase in zip(self._values, sums, strict=True):
                values.append(phase / weight)
        while indices and indices[0] < index - self._count:
            indices.popleft()
            for values in self._values:
                values.popleft()
        self._index = index
        n = len(indices)
        if n >= MIN_COVERAGE * self._count:
            # Summed anew each time: 200 numbers every 3 s cost nothing, and no rounding error piles up over months.
            a, b, c = (math.fsum(values) / n for values in self._values)
            if self._rms:
                a, b, c = math.sqrt(a), math.sqrt(b), math.sqrt(c)
            self.mean = (round(a, _DIGITS), round(b, _DIGITS), round(c, _DIGITS))
        else:
            self.mean = None


class MeanVoltageTrip(Element):
    """Over- or under-voltage of the mean; see the module."""

    __slots__ = ("mean",)

    def __init__(self, setting: TripSetting, delay_s: float, source: Source, mean: SlidingMean) -> None:
        """mean: fed by the caller, before `feed`."""
        super().__init__(setting, delay_s, source)
        self.mean = mean

    def feed(self, t: float) -> bool:
        """After each sample. True when the element operates."""
        mean = self.mean.mean
        if mean is None:
            return self.blind(t)
        self.phases = mean
        return self.judge(t, max(mean) if self.over else min(mean))
