"""Where a profile contradicts itself: it wants the charger to stay, and has a stage that trips before."""

from __future__ import annotations

from typing import NamedTuple

from firmware.grid_codes import (
    Chain,
    GridCode,
    Quantity,
    RideThroughMode,
    RideThroughRow,
    Side,
    TripSetting,
    internal_delay,
)


class Contradiction(NamedTuple):
    """stay_s: how long the row wants the charger to stay beyond the stage's threshold; None = for ever."""

    trip: TripSetting
    row: RideThroughRow
    delay_s: float
    stay_s: float | None


def must_stay(code: GridCode) -> list[RideThroughRow]:
    """Rows that are believed and ask the charger to stay connected, for a time or for ever."""
    return [
        r
        for r in code.ride_through
        if (r.verified or code.allow_unverified)
        and r.mode is not RideThroughMode.CEASE
        and (r.min_time_s is not None or r.mode is RideThroughMode.CONTINUOUS)
    ]


def contradictions(code: GridCode, chain: Chain) -> list[Contradiction]:
    """Every pair of stage and row that cannot both be kept on a board with `chain`. The stage wins."""
    found = []
    for row in must_stay(code):
        for trip in code.trips:
            if trip.quantity is not row.quantity or trip.quantity is Quantity.ROCOF:
                continue
            over, limit = trip.side is Side.OVER, trip.threshold.value
            end = row.hi.value if over else row.lo.value  # the row's worst value
            if not (end > limit if over else end < limit):
                continue
            mildest = max(row.lo.value, limit) if over else min(row.hi.value, limit)
            times = [row.min_time_at(value) for value in (mildest, end)]
            stay_s = None if None in times else max(t for t in times if t is not None)
            delay_s = internal_delay(trip, chain)
            if stay_s is None or delay_s < stay_s:
                found.append(Contradiction(trip, row, delay_s, stay_s))
    return found
