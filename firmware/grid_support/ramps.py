"""How fast the power that somebody asks for may rise: soft start after entering service, normal ramp afterwards.

California Rule 21, section Hh.2.k (number not verified). Only a rise of |P| is slowed: going to zero is always free,
and what protection or a function of frequency or voltage demands does not pass through here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RampSettings:
    """pu of rated power a second; None = not limited."""

    normal_pu_per_s: float | None = None
    soft_start_pu_per_s: float | None = None

    def __post_init__(self) -> None:
        for what, rate in (("normal", self.normal_pu_per_s), ("soft-start", self.soft_start_pu_per_s)):
            if rate is not None and not (math.isfinite(rate) and rate > 0.0):
                raise ValueError(f"the {what} ramp is {rate} pu/s; it must be above 0")


class Ramp:
    """Follows what is asked. Settled at the first request, unless `enter_service` was called before."""

    __slots__ = ("_normal_w_per_s", "_soft", "_soft_w_per_s", "_t", "value_w")

    def __init__(self, s: RampSettings, rated_w: float) -> None:
        self._normal_w_per_s = math.inf if s.normal_pu_per_s is None else s.normal_pu_per_s * rated_w
        self._soft_w_per_s = math.inf if s.soft_start_pu_per_s is None else s.soft_start_pu_per_s * rated_w
        self._t = math.nan
        self._soft = False
        self.value_w = math.nan

    def take_over(self, other: Ramp) -> None:
        """Go on from where another ramp is."""
        self._t, self._soft, self.value_w = other._t, other._soft, other.value_w

    def enter_service(self, t: float) -> None:
        """From zero, with the soft start, until the request is reached for the first time."""
        self._t, self._soft, self.value_w = t, True, 0.0

    def step(self, t: float, asked_w: float) -> float:
        """The part of `asked_w` (W) that may flow at `t` (s)."""
        if asked_w == self.value_w != 0.0:  # there already
            self._t, self._soft = t, False
            return asked_w
        if self._t != self._t:
            self._t, self.value_w = t, asked_w
        rate = min(self._soft_w_per_s, self._normal_w_per_s) if self._soft else self._normal_w_per_s
        dt = max(0.0, t - self._t)
        self._t = t
        if self.value_w * asked_w < 0.0:
            self.value_w = 0.0
        # Without a limit all at once, even where no time has passed.
        most_w = math.inf if rate == math.inf else abs(self.value_w) + rate * dt
        self.value_w = math.copysign(min(abs(asked_w), most_w), asked_w)
        if self.value_w == asked_w and asked_w != 0.0:
            self._soft = False
        return self.value_w
