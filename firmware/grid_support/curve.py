"""Piecewise-linear curves: points of any spacing, straight lines between them, the end values beyond them."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable


class Curve:
    """y over x. Two points with the same x are a step; at the step itself the later point holds."""

    __slots__ = ("_x", "_y", "points")

    def __init__(self, points: Iterable[tuple[float, float]]) -> None:
        """ValueError for no point, a number that is not finite, or x that falls."""
        found = tuple(points)
        if not found:
            raise ValueError("a curve needs at least one point")
        if not all(math.isfinite(x) and math.isfinite(y) for x, y in found):
            raise ValueError(f"the points of a curve must be finite numbers, not {found}")
        self.points = found
        self._x = tuple(x for x, _ in found)
        self._y = tuple(y for _, y in found)
        if any(b < a for a, b in itertools.pairwise(self._x)):
            raise ValueError(f"the x of a curve must not fall, but they are {self._x}")

    def at(self, x: float) -> float:
        """The value at x, always between those of the two points around it. ValueError for nan: nobody measured."""
        if x < self._x[0]:
            return self._y[0]
        if x >= self._x[-1]:
            return self._y[-1]
        if x != x:
            raise ValueError("a curve has no value at nan")
        k = bisect_right(self._x, x)
        x0, x1, y0, y1 = self._x[k - 1], self._x[k], self._y[k - 1], self._y[k]
        y = y0 + (y1 - y0) * ((x - x0) / (x1 - x0))
        # Rounding may leave the interval by a last digit, and then a curve that is monotone would not be.
        return min(max(y, min(y0, y1)), max(y0, y1))
