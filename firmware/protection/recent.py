"""The frequencies of the last moments, in the order of their times, so that a window of them is two bisections."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from firmware.protection.channel import MAX_AHEAD_S
from firmware.protection.types import GridSample


class Recent:
    """Feed it with `take`. `t` (s) and `f_hz` belong together, oldest first."""

    __slots__ = ("f_hz", "t")

    def __init__(self) -> None:
        self.t: list[float] = []
        self.f_hz: list[float] = []

    def clear(self) -> None:
        self.t.clear()
        self.f_hz.clear()

    def take(self, now: float, samples: Sequence[GridSample], from_s: float) -> None:
        """Add new samples, and forget what is not after `from_s`. Left out is a sample without a frequency, one from
        before the newest, and one from ahead of `now` by more than MAX_AHEAD_S: every later one would lie before it.
        """
        times, f_hz = self.t, self.f_hz
        for t, _, f, _ in samples:
            if f == f and t <= now + MAX_AHEAD_S and not (times and t < times[-1]):
                times.append(t)
                f_hz.append(f)
        gone = bisect_right(times, from_s)
        if gone:
            del times[:gone]
            del f_hz[:gone]

    def between(self, from_s: float, to_s: float) -> list[float]:
        """The frequencies after `from_s` and not after `to_s`."""
        times = self.t
        return self.f_hz[bisect_right(times, from_s) : bisect_right(times, to_s)]


def middle(ordered: Sequence[float], begin: int, end: int) -> float:
    """The median of ordered[begin:end], which is in order and not empty."""
    count = end - begin
    half = begin + count // 2
    return ordered[half] if count % 2 else (ordered[half - 1] + ordered[half]) / 2.0
