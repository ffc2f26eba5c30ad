"""What the grid code wants at this voltage and frequency: go on, ride through, or cease (IEEE 1547 Category III table).

Rows whose confidence is low are not applied, unless the code was loaded with allow_unverified: a limit that nobody
checked must not make the charger stop when it has to stay. In place of such a row the next row towards nominal holds,
so that a worse value never gets a milder answer; where that is continuous operation, the charger rides through.

Both ends belong to continuous operation; outside of it a boundary belongs to the row nearer to nominal. Beyond the
outermost row that row goes on. Minimum times of ride-through are kept by the trip delays, not here.
"""

from __future__ import annotations

from firmware.grid_codes import GridCode, Quantity, RideThroughMode, RideThroughRow
from firmware.protection.frequency_trip import measurable


class Band:
    """The rows of one quantity, from the continuous row outwards."""

    __slots__ = ("clause", "hi", "high", "lo", "low", "unit")

    def __init__(self, code: GridCode, quantity: Quantity) -> None:
        rows = [r for r in code.ride_through if r.quantity is quantity]
        middle = [r for r in rows if r.mode is RideThroughMode.CONTINUOUS]
        self.unit = "Hz" if quantity is Quantity.FREQUENCY else "pu"
        self.clause = middle[0].lo.clause if middle else code.clause
        # A code without rows for a quantity knows no ride-through for it: everything is continuous.
        self.lo = middle[0].lo.value if middle else float("-inf")
        self.hi = middle[0].hi.value if middle else float("inf")
        above = sorted((r for r in rows if r.lo.value >= self.hi), key=lambda r: r.lo.value)
        below = sorted((r for r in rows if r.hi.value <= self.lo), key=lambda r: -r.hi.value)
        self.high = self._outwards(above, code.allow_unverified)
        self.low = self._outwards(below, code.allow_unverified)

    @staticmethod
    def _outwards(
        rows: list[RideThroughRow], unverified: bool
    ) -> tuple[tuple[float, float, RideThroughMode, str], ...]:
        """(lo, hi, mode that is applied, clause) per row."""
        mode, found = RideThroughMode.MANDATORY, []
        for row in rows:
            if row.verified or unverified:
                mode = row.mode
            found.append((row.lo.value, row.hi.value, mode, row.lo.clause))
        return tuple(found)

    def above(self, value: float) -> tuple[RideThroughMode, str]:
        """Mode and clause for a value above continuous operation."""
        for _, hi, mode, clause in self.high:
            if value <= hi:
                return mode, clause
        return (self.high[-1][2], self.high[-1][3]) if self.high else (RideThroughMode.MANDATORY, self.clause)

    def below(self, value: float) -> tuple[RideThroughMode, str]:
        """Mode and clause for a value below continuous operation."""
        for lo, _, mode, clause in self.low:
            if value >= lo:
                return mode, clause
        return (self.low[-1][2], self.low[-1][3]) if self.low else (RideThroughMode.MANDATORY, self.clause)


class RideThrough:
    """Judges one sample after the other; `why` and `clause` explain the last sample that was not continuous."""

    __slots__ = ("_excursion", "clause", "f", "v")

    def __init__(self, code: GridCode) -> None:
        self.v = Band(code, Quantity.VOLTAGE)
        self.f = Band(code, Quantity.FREQUENCY)
        self.clause = ""
        self._excursion: tuple[float, Band] = (1.0, self.v)

    def judge(self, lo: float, hi: float, f_hz: float) -> RideThroughMode:
        """The mode for a sample's lowest and highest phase (pu) and frequency (Hz; ignored where not measurable)."""
        v, f = self.v, self.f
        known = measurable(f_hz, hi)
        if lo >= v.lo and hi <= v.hi and (not known or f.lo <= f_hz <= f.hi):
            return RideThroughMode.CONTINUOUS
        found: list[tuple[RideThroughMode, str, float, Band]] = []
        if lo < v.lo:
            found.append((*v.below(lo), lo, v))
        if hi > v.hi:
            found.append((*v.above(hi), hi, v))
        if known and not f.lo <= f_hz <= f.hi:
            found.append((*(f.below(f_hz) if f_hz < f.lo else f.above(f_hz)), f_hz, f))
        mode, self.clause, value, band = next((x for x in found if x[0].ceases), found[0])
        self._excursion = (value, band)
        return mode

    @property
    def why(self) -> str:
        """'0.780 pu is outside of 0.88..1.1 pu': of the last excursion."""
        value, band = self._excursion
        return f"{value:.3f} {band.unit} is outside of {band.lo:g}..{band.hi:g} {band.unit}"
