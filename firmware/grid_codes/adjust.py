"""Settings of the operator, inside the range that the grid code gives for each number and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from firmware.grid_codes.consistency import check
from firmware.grid_codes.model import (
    ClearingMax,
    Confidence,
    DelayMinAndDisconnectMax,
    GridCode,
    GridCodeError,
    RelaySetting,
    Setting,
    TripSetting,
    TripTime,
)


def adjust(code: GridCode, changes: Mapping[str, float]) -> GridCode:
    """`code` with numbers changed, e.g. {"enter_service.delay_s": 0.0, "trip.OV1.time_s": 2.0}. All or nothing.

    Keys are those of `GridCode.numbers()` for trips and enter_service. GridCodeError when the key is unknown, the code
    gives no range, the value is outside of it, the range itself is only remembered (unless the code was loaded with
    allow_unverified; `verified` is then False), or the numbers no longer fit together.
    """
    known = dict(code.numbers())
    new: dict[str, Setting] = {}
    unverified_range = code.unverified_range
    for key, value in changes.items():
        setting = known.get(key)
        if setting is None or not key.startswith(("trip.", "enter_service.")):
            allowed = ", ".join(k for k, s in known.items() if s.min is not None)
            raise GridCodeError(f"{code.name} has no setting {key}; adjustable are: {allowed or 'none'}")
        if setting.min is None or setting.max is None:
            raise GridCodeError(
                f"{code.name}: {key} is fixed at {setting.value:g} {setting.unit}: the code gives no range"
            )
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or not setting.min <= value <= setting.max:
            raise GridCodeError(
                f"{code.name}: {key} cannot be {value}; allowed: {setting.min:g}..{setting.max:g} {setting.unit}"
            )
        range_conf = setting.conf if setting.range_conf is None else setting.range_conf
        if range_conf is Confidence.LOW and value != setting.value:
            if not code.allow_unverified:
                raise GridCodeError(
                    f"{code.name}: the range of {key} ({setting.min:g}..{setting.max:g} {setting.unit}) is only "
                    "remembered; check it against the standard, or load with allow_unverified"
                )
            unverified_range = True
        new[key] = replace(setting, value=float(value), written="")
    adjusted = replace(
        code,
        trips=tuple(_trip(trip, new) for trip in code.trips),
        enter_service=replace(
            code.enter_service, **{k.partition(".")[2]: s for k, s in new.items() if k.startswith("enter_service.")}
        ),
        adjusted=code.adjusted + tuple((k, known[k].value, s.value) for k, s in new.items()),
        unverified_range=unverified_range,
    )
    check(adjusted)
    return adjusted


def _trip(trip: TripSetting, new: Mapping[str, Setting]) -> TripSetting:
    mine: dict[str, Any] = {k: new.get(f"trip.{trip.id}.{k}", s) for k, s in trip.numbers()}
    time: TripTime
    match trip.time:
        case ClearingMax():
            time = ClearingMax(mine["time_s"])
        case RelaySetting():
            time = RelaySetting(mine["time_s"])
        case DelayMinAndDisconnectMax():
            time = DelayMinAndDisconnectMax(mine.get("delay_min_s"), mine["disconnect_max_s"])
    return replace(trip, threshold=mine["threshold"], time=time)
