"""Freq-watt, P(f): a curve of active power over frequency, in all four quadrants.

The function that IEEE 2030.5 calls opModFreqWatt and OCPP 2.1 FreqWatt: where IEEE 1547-2018, clause 6.5.2.7, gives a
slope from the power that flows (freq_droop), the curve gives the power itself. Neither text says what it means for a
charger, so this is our own choice, the one that only takes away: above nominal frequency the curve is the least that
must be taken, below it the most that may be. Around nominal, where the curve is level or falls, nothing is asked; from
there outwards it must rise with the frequency. A curve with the sign of a generator falls, and is refused: it would
move the power the wrong way. Beyond its ends the values of the ends hold, between its points straight lines.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

from firmware.grid_support.bounds import FREE, Bounds
from firmware.grid_support.curve import Curve
from firmware.grid_support.frequency_power import DONE_PU
from firmware.grid_support.response import Response


@dataclass(frozen=True, slots=True)
class FreqWattSettings:
    """curve: Hz -> pu of rated power, + = charging, -1..1. response_s: time to 90 % of a change of the power."""

    nominal_f_hz: float
    curve: Curve
    response_s: float
    clause: str

    def __post_init__(self) -> None:
        for f_hz, p_pu in self.curve.points:
            if not -1.0 <= p_pu <= 1.0:
                raise ValueError(f"the power at {f_hz:g} Hz is {p_pu:g} pu; allowed: -1..1 pu")
        pairs = tuple(itertools.pairwise(self.curve.points))
        under, over = self._rises()
        if under < 0 and over == len(pairs):
            raise ValueError("the curve asks for nothing: its power must rise with the frequency (+ = charging)")
        for k, ((f0, p0), (f1, p1)) in enumerate(pairs):
            if p1 < p0 and not under < k < over:
                raise ValueError(
                    f"the power falls from {p0:g} to {p1:g} pu between {f0:g} and {f1:g} Hz; away from nominal it must "
                    "rise with the frequency (+ = charging)"
                )

    def _rises(self) -> tuple[int, int]:
        """Which of the lines between two points are the last that rises to nominal, and the first that rises from it.
        Between them nothing is asked; -1, or the number of lines: there is no such line."""
        lines = tuple(itertools.pairwise(self.curve.points))
        rising = [k for k, ((_, p0), (_, p1)) in enumerate(lines) if p1 > p0]
        f_n = self.nominal_f_hz
        under = max((k for k in rising if lines[k][0][0] < f_n or lines[k][1][0] <= f_n), default=-1)
        over = min((k for k in rising if lines[k][1][0] > f_n or lines[k][0][0] >= f_n), default=len(lines))
        return under, over

    @property
    def band(self) -> tuple[float, float]:
        """(lowest, highest) Hz around nominal in which nothing is asked; -inf or inf: that side never asks."""
        points, (under, over) = self.curve.points, self._rises()
        begin = -math.inf if under < 0 else min(points[under + 1][0], self.nominal_f_hz)
        end = math.inf if over == len(points) - 1 else max(points[over][0], self.nominal_f_hz)
        return begin, end


class FreqWatt:
    """Feed it with `step`; where it `rests` there is no need to."""

    name: Final = "freq_watt"

    def __init__(self, s: FreqWattSettings, rated_w: float, limits_w: tuple[float, float]) -> None:
        """limits_w: the most that can be discharged (negative) and charged. More is not asked for: the response would
        first have to come back from where the power never was."""
        self._curve, self.clause, self._rated_w, self._limits_w = s.curve, s.clause, rated_w, limits_w
        self._begin_hz, self._end_hz = s.band
        self._level = Response(s.response_s)  # the bound, W
        self._acts = self._over = False
        self._f_hz = math.nan

    def take_over(self, other: FreqWatt) -> None:
        """Go on from the bound of another one."""
        self._acts, self._over, self._f_hz = other._acts, other._over, other._f_hz
        self._level.take_over(other._level)

    def rests(self, f_hz: float) -> bool:
        """True inside of the band with no bound left to let go."""
        if not self._acts and self._begin_hz <= f_hz <= self._end_hz:
            self._f_hz = f_hz
            return True
        return False

    def step(self, t: float, f_hz: float, p_w: float) -> Bounds:
        """The bounds at `t` (s). f_hz: nan = not measured, then the last one goes on. p_w: the power that flows now:
        the bound moves from there, so that the power has made 90 % of its way after the response time."""
        if f_hz == f_hz:
            self._f_hz = f_hz
        f = self._f_hz
        over = f > self._end_hz
        level, (least_w, most_w) = self._level, self._limits_w
        if over or f < self._begin_hz:
            want_w = min(max(self._curve.at(f) * self._rated_w, least_w), most_w)
            # What flows already is no change to wait for.
            near_w = min(p_w, want_w) if over else max(p_w, want_w)
            if not self._acts or over is not self._over:
                self._acts, self._over = True, over
                level.reset()
                level.value = near_w
            else:
                level.value = max(level.value, near_w) if over else min(level.value, near_w)
        elif self._acts:  # the frequency is back: out of the way, as slowly as it came
            over = self._over
            want_w = least_w if over else most_w
            if abs(level.value - want_w) <= DONE_PU * self._rated_w:
                self._acts = False
                return FREE
        else:
            return FREE
        bound_w = level.step(t, want_w)
        return Bounds(bound_w, math.inf) if over else Bounds(-math.inf, bound_w)

    @property
    def why(self) -> str:
        """'f 49.620 Hz is below 49.8 Hz', or what is left of it."""
        if self._f_hz > self._end_hz:
            return f"f {self._f_hz:.3f} Hz is above {self._end_hz:g} Hz"
        if self._f_hz < self._begin_hz:
            return f"f {self._f_hz:.3f} Hz is below {self._begin_hz:g} Hz"
        return f"f {self._f_hz:.3f} Hz is back, the power follows"
