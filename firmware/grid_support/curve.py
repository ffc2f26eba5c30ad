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
        if y0 == y1:
            return y0
        y = y0 + (y1 - y0) * ((x - x0) / (x1 - x0))
        # Rounding may leave the interval by a last digit, and then a curve that is monotone would not be.
        if y0 > y1:
            y0, y1 = y1, y0
        return y0 if y < y0 else y1 if y > y1 else y

    def plateau(self, x: float) -> tuple[float, float]:
        """(begin, end) around x in which the curve has the value it has at x: begin <= any such x < end. Where it
        slopes at x there is no such stretch, and end is not above begin."""
        xs, ys = self._x, self._y
        low = high = bisect_right(xs, x)
        if 0 < low < len(xs) and ys[low - 1] != ys[low]:
            return x, x
        y = ys[low] if low < len(ys) else ys[-1]
        while low > 0 and ys[low - 1] == y:
            low -= 1
        while high < len(ys) and ys[high] == y:
            high += 1
        begin = -math.inf if low == 0 else xs[low]
        return begin, (math.inf if high == len(xs) else xs[high - 1])
