"""What a resting device relies on: ranges of the link's fields. While every field stays in its range, nothing that the
device sees would make it do anything, so nobody has to ask it; the plant says when one leaves."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from hil.plant.link import INDEX

FREE = (-math.inf, math.inf)


class Watch:
    """The ranges of one device. Both ends belong to a range; a value that is no number is in none."""

    __slots__ = ("_first", "_kept", "_ranges", "fields")

    def __init__(self, names: Sequence[str]) -> None:
        """names: fields of the link. Until `keep`, every value is in range."""
        self.fields = tuple(INDEX[name] for name in names)
        self._kept = FREE * len(self.fields)
        self._ranges: array[float] | None = None  # shared with the plant, see `join`
        self._first = 0

    def keep(self, ends: tuple[float, ...]) -> None:
        """Lowest and highest value of each field, in the order of the fields."""
        if ends != self._kept:
            self._kept = ends
            if self._ranges is not None:
                self._ranges[self._first : self._first + len(ends)] = array("d", ends)

    def holds(self, values: Sequence[float]) -> bool:
        """values: all of the link's."""
        k = 0
        kept = self._kept
        for field in self.fields:
            if not kept[k] <= values[field] <= kept[k + 1]:
                return False
            k += 2
        return True


def join(*watches: Watch) -> array[float]:
    """One array of all of them for the plant: first every field's place, then the lowest and highest value of each. A
    watch keeps its part of it up to date."""
    fields = [field for watch in watches for field in watch.fields]
    ranges = array("d", [*fields, *(end for watch in watches for end in watch._kept)])
    first = len(fields)
    for watch in watches:
        watch._ranges, watch._first = ranges, first
        first += 2 * len(watch.fields)
    return ranges


def inside(values: Sequence[float], ranges: Sequence[float]) -> bool:
    """True when every field is in every range of a joined array."""
    k = count = len(ranges) // 3
    for place in range(count):
        if not ranges[k] <= values[int(ranges[place])] <= ranges[k + 1]:
            return False
        k += 2
    return True
