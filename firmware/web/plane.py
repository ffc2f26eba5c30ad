"""The protection plane as data: what the loaded code wants at which voltage or frequency after which time. Pure.

Regions lie between two values of the quantity and end after a time that may differ at the two; trips begin at their
threshold after their time. The page draws them with a logarithmic time and moves the operating point over them.
"""

from __future__ import annotations

import math
from typing import Any

from firmware.grid_codes import (
    ClearingMax,
    DelayMinAndDisconnectMax,
    GridCode,
    Quantity,
    RelaySetting,
    RideThroughMode,
    RideThroughRow,
    Side,
    TripSetting,
)

_VOLTAGE = (Quantity.VOLTAGE, Quantity.VOLTAGE_10MIN)
V_ENDS = (0.0, 1.4)  # pu; what lies beyond is cut: the highest threshold of the profiles is 1.35 pu
SPARE_HZ = 0.7


def plane_of(code: GridCode, sources: dict[str, str]) -> dict[str, Any]:
    """Both planes and the window of entering service. sources: dotted name of a number -> control that set it."""
    nominal = code.nominal_f_hz
    frequencies = [t.threshold.value for t in code.trips if t.quantity is Quantity.FREQUENCY]
    f_ends = (min([*frequencies, nominal - 2.0]) - SPARE_HZ, max([*frequencies, nominal + 2.0]) + SPARE_HZ)
    window = code.enter_service
    return {
        "code": code.name,
        "title": code.title,
        "standard": code.standard,
        "caution": code.caution,
        "hash": code.profile_hash,
        "nominal_v": code.nominal_v,
        "nominal_f_hz": nominal,
        "voltage": _plane(code, _VOLTAGE, V_ENDS, "pu", sources),
        "frequency": _plane(code, (Quantity.FREQUENCY,), f_ends, "Hz", sources),
        "enter_service": {
            "v": [window.v_min.value, window.v_max.value],
            "f": [window.f_min.value, window.f_max.value],
            "delay_s": window.delay_s.value,
            "clause": code.cite(window.delay_s.clause),
        },
    }


def _plane(
    code: GridCode, quantities: tuple[Quantity, ...], ends: tuple[float, float], unit: str, sources: dict[str, str]
) -> dict[str, Any]:
    rows = [_region(code, row, ends) for row in code.ride_through if row.quantity in quantities]
    return {
        "unit": unit,
        "ends": list(ends),
        "regions": [row for row in rows if row is not None],
        "trips": [_trip(code, t, sources) for t in code.trips if t.quantity in quantities],
    }


def _region(code: GridCode, row: RideThroughRow, ends: tuple[float, float]) -> dict[str, Any] | None:
    low, high = max(row.lo.value, ends[0]), min(row.hi.value, ends[1])
    if not low < high:
        return None
    return {
        "mode": row.mode.value,
        "kind": "cease" if row.mode.ceases else "stay" if row.mode is not RideThroughMode.PERMISSIVE else "may",
        "lo": low,
        "hi": high,
        # None: the row asks for no time, so it is drawn to the end
        "until_lo_s": row.min_time_at(low),
        "until_hi_s": row.min_time_at(high),
        "verified": row.verified,
        "clause": code.cite(row.lo.clause),
    }


def _trip(code: GridCode, trip: TripSetting, sources: dict[str, str]) -> dict[str, Any]:
    match trip.time:
        case RelaySetting(delay):
            first_s, last_s = delay.value, delay.value
        case ClearingMax(limit):
            first_s, last_s = limit.value, limit.value
        case DelayMinAndDisconnectMax(first, last):
            first_s, last_s = (0.0 if first is None else first.value), last.value
    own = [by for key, by in sources.items() if key.startswith(f"trip.{trip.id}.")]
    return {
        "id": trip.id,
        "side": "over" if trip.side is Side.OVER else "under",
        "threshold": trip.threshold.value,
        "unit": trip.threshold.unit,
        "first_s": first_s,
        "last_s": last_s if math.isfinite(last_s) else None,
        "mean": trip.quantity is Quantity.VOLTAGE_10MIN,
        "verified": trip.verified,
        "clause": code.cite(trip.threshold.clause),
        "set_by": own[0] if own else "",
    }
