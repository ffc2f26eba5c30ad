"""What a function permits of active power, and how several of them come to one range."""

from __future__ import annotations

import math
from typing import Final, NamedTuple


class Bounds(NamedTuple):
    """lo_w <= P <= hi_w (W, + = charging). lo_w above 0: must charge; hi_w below 0: must discharge."""

    lo_w: float
    hi_w: float


FREE: Final = Bounds(-math.inf, math.inf)


class Range:
    """The permitted range while functions carve it, the most important first; remembers who set which end.

    A later function can only choose among what the earlier ones left: where it wants something outside of that, it
    gets the nearest end. So the range is never empty, and a function that wants more power never lifts a limit.
    """

    __slots__ = ("hi_by", "hi_w", "lo_by", "lo_w")

    def __init__(self, lo_w: float, hi_w: float, by: str) -> None:
        self.lo_w, self.hi_w = lo_w, hi_w
        self.lo_by = self.hi_by = by

    def copy(self) -> Range:
        """Another range of the same ends."""
        other = Range(self.lo_w, self.hi_w, self.lo_by)
        other.hi_by = self.hi_by
        return other

    def carve(self, bounds: tuple[float, float], by: str) -> None:
        (lo_w, hi_w), lo, hi = bounds, self.lo_w, self.hi_w
        if lo < hi:
            if lo_w > lo:
                self.lo_w, self.lo_by = (lo_w if lo_w < hi else hi), by
            if hi_w < hi:
                self.hi_w, self.hi_by = (hi_w if hi_w > lo else lo), by

    def clamp(self, p_w: float) -> tuple[float, str]:
        """(p_w inside of the range, who moved it or '')."""
        if p_w < self.lo_w:
            return self.lo_w, self.lo_by
        if p_w > self.hi_w:
            return self.hi_w, self.hi_by
        return p_w, ""
