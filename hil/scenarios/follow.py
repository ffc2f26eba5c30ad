"""A demand on one channel as a function of another: reactive power over voltage, power over frequency.

The value is a mean over a window, so that what swings around the curve by itself (an anti-islanding pattern, noise)
decides nothing. Tolerances count as IEEE 1547.1-2020 clause 4.2 counts them, as transcribed in
hil/conformance/ieee1547_1.toml: y must lie in curve(x - x_off .. x + x_off), widened by y_off on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Follow:
    """x, y: channels. points: the curve in their units, x never falling, level beyond its ends (one point: a
    constant). share: how much of the way from the mean of `before_s` before the instant must have been made (1: all
    of it; 0.9 at an open-loop response time)."""

    x: str
    y: str
    points: tuple[tuple[float, float], ...]
    x_off: float
    y_off: float
    share: float = 1.0
    before_s: float = 1.0

    def __post_init__(self) -> None:
        xs = [x for x, _ in self.points]
        if not xs or xs != sorted(xs):
            raise ValueError(f"the points {self.points} are no curve: their x must not fall, and there must be one")
        if not (self.x_off >= 0.0 and self.y_off >= 0.0 and 0.0 < self.share <= 1.0 and self.before_s > 0.0):
            raise ValueError("tolerances must not be negative, the share lies above 0 to 1, before_s above 0")

    def __str__(self) -> str:
        made = "" if self.share == 1.0 else f" {self.share:.0%} of the way to"
        course = ", ".join(f"{x:g}: {y:g}" for x, y in self.points)
        return f"{self.y} has made{made} its curve over {self.x} ({course}), {self.x_off:g} and {self.y_off:g} off"


def at(points: Sequence[tuple[float, float]], x: float) -> tuple[float, float]:
    """Lowest and highest y of the curve at x: two values where it steps."""
    here = [y for p, y in points if p == x]
    if here:
        return min(here), max(here)
    below = [(p, y) for p, y in points if p < x]
    above = [(p, y) for p, y in points if p > x]
    if not below or not above:
        y = above[0][1] if above else below[-1][1]
        return y, y
    (x0, y0), (x1, y1) = below[-1], above[0]
    y = y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return y, y


def span(points: Sequence[tuple[float, float]], low: float, high: float) -> tuple[float, float]:
    """Lowest and highest y of the curve between two x."""
    ends = [*at(points, low), *at(points, high), *(y for x, y in points if low <= x <= high)]
    return min(ends), max(ends)


def band(f: Follow, x: float, before: float, x_slack: float = 0.0, y_slack: float = 0.0) -> tuple[float, float]:
    """Where y must be at a measured x, wider by the slacks (negative: narrower), having stood at `before`."""
    off = max(0.0, f.x_off + x_slack)
    low, high = span(f.points, x - off, x + off)
    low, high = (before + f.share * (y - before) for y in (low, high))
    return low - f.y_off - y_slack, high + f.y_off + y_slack
