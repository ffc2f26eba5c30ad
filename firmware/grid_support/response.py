"""How fast a function acts: a first-order lag that has made a given share of a step after a given time.

IEEE 1547-2018 calls the time to 90 % of the change the open-loop response time; European codes give time constants or
step-response times, the Nordic reserve markets 86 % at 7.5 s. All of them are this lag with another `share`.
"""

from __future__ import annotations

import math
from math import expm1  # in every step
from typing import Final

OPEN_LOOP_SHARE: Final = 0.9  # IEEE 1547-2018, clause 3.1 (definition of the open-loop response time)
TIME_CONSTANT_SHARE: Final = -math.expm1(-1.0)  # 63.2 %: a time constant is the time to this share


class Response:
    """A lag that is exact for inputs that hold between samples, so its result does not depend on the sampling."""

    __slots__ = ("_start", "_t", "_target", "_tau_s", "value")

    def __init__(self, reach_s: float, share: float = OPEN_LOOP_SHARE, start: float | None = None) -> None:
        """After `reach_s` (s; 0 = at once) it has made `share` (0..1, ends excluded) of a step.

        start: the value before the first sample; None = whatever the first sample asks (it has settled before).
        ValueError for a time that is negative or not finite, or a share outside.
        """
        if not (math.isfinite(reach_s) and reach_s >= 0.0):
            raise ValueError(f"the response time is {reach_s} s; it must be 0 s or more")
        if not 0.0 < share < 1.0:
            raise ValueError(f"the share reached in the response time is {share}; allowed: above 0, below 1")
        self._tau_s = reach_s / -math.log1p(-share)
        self._start = math.nan if start is None else start
        self.reset()

    def reset(self) -> None:
        """As before the first sample."""
        self._t = self._target = math.nan
        self.value = self._start

    def take_over(self, other: Response) -> None:
        """Go on from where another lag is: its value is not a jump of this one."""
        self._t, self._target, self.value = other._t, other._target, other.value

    @property
    def settled(self) -> bool:
        """At its target exactly: the next step gives that again as long as the target stays, whatever its time."""
        return self._target == self.value

    def step(self, t: float, target: float) -> float:
        """The value at `t` (s); `target` holds from `t` on. A time that runs backwards counts as no time at all."""
        if target == self._target == self.value:  # settled: nothing moves
            self._t = t
            return target
        value, tau_s = self.value, self._tau_s
        if tau_s == 0.0:
            value = target
        elif self._t == self._t:
            dt = t - self._t
            if dt > 0.0:
                value += (self._target - value) * -expm1(-dt / tau_s)
        elif value != value:
            value = target
        self._t, self._target, self.value = t, target, value
        return value
