"""What the grid code wants at this voltage and frequency: go on, ride through, or cease (IEEE 1547 Category III table).

Rows whose confidence is low are not applied, unless the code was loaded with allow_unverified: a limit that nobody
checked must not make the charger stop when it has to stay. In place of such a row the next row towards nominal holds,
so that a worse value never gets a milder answer; where that is continuous operation, the charger rides through.

Both ends belong to continuous operation; outside of it a boundary belongs to the row nearer to nominal. Beyond the
outermost row that row goes on. Minimum times of ride-through are kept by the trip delays, not here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from firmware.grid_codes import GridCode, Quantity, RideThroughMode, RideThroughRow
from firmware.protection.frequency_trip import measurable
from firmware.protection.types import Told


class _Answer(NamedTuple):
    limit: float  # outer end of the row
    mode: RideThroughMode  # that is applied
    clause: str
    ceases: bool  # of the mode


class Band:
    """The rows of one quantity, from the continuous row outwards."""

    __slots__ = ("_high", "_low", "clause", "hi", "lo", "unit")

    def __init__(self, code: GridCode, quantity: Quantity) -> None:
        rows = sorted((r for r in code.ride_through if r.quantity is quantity), key=lambda r: r.lo.value)
        middle = next((r for r in rows if r.mode is RideThroughMode.CONTINUOUS), None)
        self.unit = "Hz" if quantity is Quantity.FREQUENCY else "pu"
        self.clause = middle.lo.clause if middle else code.clause
        # A code without rows for a quantity knows no ride-through for it: everything is continuous.
        self.lo = middle.lo.value if middle else -math.inf
        self.hi = middle.hi.value if middle else math.inf
        self._high = self._outwards([(r.hi.value, r) for r in rows if r.lo.value >= self.hi], math.inf, code)
        self._low = self._outwards([(r.lo.value, r) for r in reversed(rows) if r.hi.value <= self.lo], -math.inf, code)

    def _outwards(self, rows: list[tuple[float, RideThroughRow]], end: float, code: GridCode) -> list[_Answer]:
        """The outermost answer goes on to `end`."""
        mode, clause, found = RideThroughMode.MANDATORY, self.clause, []
        for limit, row in rows:
            if row.verified or code.allow_unverified:
                mode = row.mode
            clause = row.lo.clause
            found.append(_Answer(limit, mode, clause, mode.ceases))
        return [*found, _Answer(end, mode, clause, mode.ceases)]

    def above(self, value: float) -> _Answer:
        """What holds for a value above continuous operation."""
        k = 0
        while value > self._high[k].limit:
            k += 1
        return self._high[k]

    def below(self, value: float) -> _Answer:
        """What holds for a value below continuous operation."""
        k = 0
        while value < self._low[k].limit:
            k += 1
        return self._low[k]


class Excursion(NamedTuple):
    """A sample outside of continuous operation: what it was, and by which clause it is judged."""

    value: float
    band: Band
    clause: str

    @property
    def why(self) -> str:
        """'0.780 pu is outside of 0.88..1.1 pu'"""
        return str(self.told("", ""))

    def told(self, before: str, after: str) -> Told:
        """The same inside of a sentence."""
        band = self.band
        return tuple.__new__(Told, (before, self.value, band.unit, band.lo, band.hi, after))


_Found = tuple[_Answer, float, Band]


class RideThrough:
    """Judges one sample after the other. Two of them it remembers, for people: `last`, that was not continuous, and
    `ceasing`, the last in a ceasing row, because cessation outlasts its sample."""

    __slots__ = ("ceasing", "f", "last", "v")

    def __init__(self, code: GridCode) -> None:
        self.v = Band(code, Quantity.VOLTAGE)
        self.f = Band(code, Quantity.FREQUENCY)
        self.last = self.ceasing = Excursion(math.nan, self.v, "")

    def judge(self, lo: float, hi: float, f_hz: float) -> RideThroughMode:
        """The mode for a sample's lowest and highest phase (pu) and frequency (Hz; ignored where not measurable)."""
        v, f = self.v, self.f
        found: _Found | None = None
        if lo < v.lo:
            found = v.below(lo), lo, v
        if hi > v.hi:
            found = _stricter(found, (v.above(hi), hi, v))
        if not f.lo <= f_hz <= f.hi and measurable(f_hz, hi):
            answer = f.below(f_hz) if f_hz < f.lo else f.above(f_hz)
            found = _stricter(found, (answer, f_hz, f))
        if found is None:
            return RideThroughMode.CONTINUOUS
        answer, value, band = found
        self.last = tuple.__new__(Excursion, (value, band, answer.clause))
        if answer.ceases:
            self.ceasing = self.last
        return answer.mode

    def remember(self, other: RideThrough) -> None:
        """Take over what explains the last excursions: the rows have changed, what happened has not."""
        self.last, self.ceasing = other.last, other.ceasing


def _stricter(one: _Found | None, other: _Found) -> _Found:
    """Ceasing is the stricter answer whoever asks for it; else the first holds."""
    return other if one is None or (other[0].ceases and not one[0].ceases) else one
