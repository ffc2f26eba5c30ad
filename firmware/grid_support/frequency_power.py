"""What all answers to frequency have in common: a reference power, a change with a lag, and an orderly end.

When the frequency leaves the band, the power at that moment becomes the reference. The function then bounds the power
on the side that would hurt: above the band the charger must take at least `reference + change`, below it at most that.
More help than asked for stays free (a driver may stop charging while the frequency is low).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from firmware.grid_support.bounds import FREE, Bounds
from firmware.grid_support.response import Response

# A change smaller than this share of rated power has died away: a lag never becomes exactly zero. Policy value.
DONE_PU: Final = 0.001
# An excursion that begins anew so soon is the same one: a frequency that creeps over the end of the band crosses it
# many times, and the power that is still on its way back, as a reference, would be lower each time. Policy value.
AGAIN_S: Final = 1.0


class FrequencyPower:
    """One function of frequency. Feed it with `step`.

    change_w(f_hz, reference_w): what the frequency asks for, in W relative to the reference, + = towards charging.
    band: (lowest, highest) Hz in which nothing is asked; -inf or inf where the function has no such side.
    clauses: of the side below the band, of the side above.
    release: the band in which it lets go, equal to `band` or inside of it.
    hold_s: how long the frequency must stay inside `release` before the bound goes; ramp_w_per_s: how fast it goes.
    """

    __slots__ = (
        "_band", "_change_w", "_clauses", "_done_w", "_f_hz", "_hold_s", "_left_t", "_left_w", "_over",
        "_ramp_w_per_s", "_rated_w", "_release", "_response", "_t_back", "limits_w", "name", "reference_w",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        change_w: Callable[[float, float], float],
        band: tuple[float, float],
        clauses: tuple[str, str],
        rated_w: float,
        *,
        response_s: float,
        release: tuple[float, float] | None = None,
        hold_s: float = 0.0,
        ramp_w_per_s: float = math.inf,
    ) -> None:
        self.name = name
        self.reference_w: float | None = None  # None = the function does not act
        # What the charger can do at all. A change beyond it is not asked for: the response would first have to come
        # back from where the power never was, and the power would return late.
        self.limits_w = (-rated_w, rated_w)
        self._change_w, self._band, self._clauses, self._rated_w = change_w, band, clauses, rated_w
        self._release = band if release is None else release
        self._done_w = DONE_PU * rated_w
        self._response = Response(response_s, start=0.0)
        self._hold_s, self._ramp_w_per_s = hold_s, ramp_w_per_s
        self._over = False  # the last excursion was above the band
        self._t_back: float | None = None  # since when frequency and change are back; the hold begins there
        self._f_hz = math.nan
        self._left_w, self._left_t = math.nan, -math.inf  # reference of the last excursion, and when it let go

    def rests(self, f_hz: float) -> bool:
        """True inside of the band with no excursion to come back from: there is no need of `step` then."""
        if self.reference_w is None and self._band[0] <= f_hz <= self._band[1]:
            self._f_hz = f_hz
            return True
        return False

    def step(self, t: float, f_hz: float, p_w: float) -> Bounds:
        """The bounds at `t` (s). f_hz: nan = not measured, then the last one goes on. p_w: the power that flows now."""
        if f_hz == f_hz:
            self._f_hz = f_hz
        f = self._f_hz
        if f != f:
            return FREE
        over = f > self._band[1]
        outside = over or f < self._band[0]
        if outside:
            if self.reference_w is None:
                self.reference_w = self._left_w if t - self._left_t < AGAIN_S else p_w
            elif self._let_go_w(t) > 0.0:
                self.reference_w = p_w
            self._over = over
        reference_w = self.reference_w
        if reference_w is None:
            return FREE
        change_w = self._response.step(t, self._asked_w(f, reference_w) if outside else 0.0)
        died = abs(change_w) <= self._done_w
        if outside or not (died and self._release[0] <= f <= self._release[1]):
            self._t_back = None
        elif self._t_back is None:
            self._t_back = t
        let_go_w = 0.0 if self._t_back is None else self._let_go_w(t)
        if let_go_w >= 2.0 * self._rated_w:  # from one end of the rating to the other: nothing is bound any more
            self._left_w, self._left_t = reference_w, t
            self.reference_w = self._t_back = None
            self._response.reset()
            return FREE
        level_w = reference_w + change_w
        # After a swing from one side to the other the change decides which side hurts, until it has died away.
        least = self._over if died else change_w > 0.0
        return Bounds(level_w - let_go_w, math.inf) if least else Bounds(-math.inf, level_w + let_go_w)

    def take_over(self, other: FrequencyPower) -> None:
        """Go on with another one's excursion: its reference, how far the power has come, and the way back."""
        self.reference_w, self._over, self._t_back = other.reference_w, other._over, other._t_back
        self._f_hz, self._left_w, self._left_t = other._f_hz, other._left_w, other._left_t
        self._response.take_over(other._response)

    def _asked_w(self, f_hz: float, reference_w: float) -> float:
        """The change that the frequency asks for, as far as the charger can go (W)."""
        asked_w, (lo_w, hi_w) = self._change_w(f_hz, reference_w), self.limits_w
        if asked_w > 0.0:
            return min(asked_w, max(0.0, hi_w - reference_w))
        return max(asked_w, min(0.0, lo_w - reference_w))

    def _let_go_w(self, t: float) -> float:
        """How far the bound has moved out of the way."""
        if self._t_back is None or t - self._t_back < self._hold_s:
            return 0.0
        if self._ramp_w_per_s == math.inf:
            return math.inf
        return self._ramp_w_per_s * (t - self._t_back - self._hold_s)

    @property
    def clause(self) -> str:
        return self._clauses[self._over]

    @property
    def why(self) -> str:
        """'f 49.620 Hz is below 49.8 Hz', or what is left of it."""
        lo, hi = self._band
        if self._f_hz > hi:
            return f"f {self._f_hz:.3f} Hz is above {hi:g} Hz"
        if self._f_hz < lo:
            return f"f {self._f_hz:.3f} Hz is below {lo:g} Hz"
        return f"f {self._f_hz:.3f} Hz is back, the power follows"
