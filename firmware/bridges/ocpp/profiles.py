"""Charging profiles of all versions: understood once, kept over power, valid or not at a moment. Pure.

A profile is kept as OCPP 2.1 has it; 2.0.1's is a subset, 1.6's is rewritten (`from_16`). Times are wall time (s since
the epoch). Numbers stay in the profile's own unit (W, or A at the outlet) and have our sign (signs.py).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from firmware.bridges.ocpp import local_time, times
from firmware.bridges.ocpp.signs import ours

Json = dict[str, Any]
Curve = tuple[tuple[float, float], ...]

RECURRENCE_S = {"Daily": 86_400.0, "Weekly": 604_800.0}  # of a schedule without useLocalTime: in UTC
VALUES = ("limit", "dischargeLimit", "setpoint")  # what an update of a dynamic profile may set here


@dataclass(frozen=True, slots=True)
class Period:
    """What holds from start_s of its schedule on. limit, discharge_limit (<= 0), setpoint, baseline: in its unit."""

    start_s: float
    mode: str
    limit: float | None
    discharge_limit: float | None
    setpoint: float | None
    baseline: float | None = None
    frequency_curve: Curve = ()  # (Hz, W), by rising frequency
    signal_curve: Curve = ()  # (signal, W), by rising signal
    sleep: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """One charging profile. `raw`: as it is reported. set_no: the order in which they were taken.

    start_s: of the schedule, where it has one; local_start: the same, where it is in local time; delay_s: the random
    delay that was drawn for it. offline_s: for how long it holds without the back end (None: for ever); dies_offline:
    for good after that. updated_s: of a dynamic one, when its values last came.
    """

    raw: Json
    evse: int
    set_no: int
    updated_s: float
    delay_s: float
    id: int
    purpose: str
    stack: int
    kind: str
    tx: str | None
    recurrence_s: float
    valid_from_s: float
    valid_to_s: float
    offline_s: float | None
    dies_offline: bool
    pull_s: float
    unit: str
    start_s: float | None
    duration_s: float
    soc_limit: tuple[float, float] | None
    periods: tuple[Period, ...]
    local_start: datetime | None = None

    def at(self, wall_s: float, tx_start_s: float | None, zone: ZoneInfo | None = None) -> tuple[Period | None, float]:
        """The period that holds at a moment (None: none does), and the moment at which that may change. zone: of local
        times; None: it is not known, and a schedule in local time says nothing."""
        if wall_s < self.valid_from_s:
            return None, self.valid_from_s
        if wall_s >= self.valid_to_s:
            return None, math.inf
        period, until_s = self._scheduled(wall_s, tx_start_s, zone)
        return period, min(until_s, self.valid_to_s)

    def _scheduled(self, wall_s: float, tx_start_s: float | None, zone: ZoneInfo | None) -> tuple[Period | None, float]:
        begin_s = self.start_s
        if self.local_start is not None:
            if zone is None:
                return None, math.inf
            begin_s = local_time.moment(self.local_start, zone)
        match self.kind:
            case "Relative":
                start_s = tx_start_s
            case "Dynamic":
                start_s = max(self.updated_s, -math.inf if begin_s is None else begin_s)
            case _:
                start_s = begin_s
        if start_s is None:
            return None, math.inf
        again_s = math.inf
        if self.kind == "Recurring" and wall_s > start_s:
            if self.local_start is not None and zone is not None:
                days = round(self.recurrence_s / local_time.DAY_S)
                start_s, again_s = local_time.recurred(self.local_start, zone, days, wall_s)
            else:
                start_s += (wall_s - start_s) // self.recurrence_s * self.recurrence_s
                again_s = start_s + self.recurrence_s
        end_s = min(start_s + self.duration_s, again_s)
        if self.duration_s >= self.recurrence_s and again_s < math.inf:
            end_s = again_s  # the whole of a day, which in local time may have 25 hours
        start_s += self.delay_s
        if wall_s < start_s:
            return None, start_s
        if wall_s >= end_s:
            return None, again_s if again_s < math.inf else math.inf
        number = bisect_right(self.periods, wall_s - start_s, key=lambda period: period.start_s) - 1
        period = self.periods[number]
        following = self.periods[number + 1].start_s + start_s if number + 1 < len(self.periods) else math.inf
        return (period if _complete(period) else None), min(following, end_s)

    def holds_offline(self, offline_s: float | None) -> bool:
        """Whether it still holds after so long without the back end; None: it is there."""
        return offline_s is None or self.offline_s is None or offline_s < self.offline_s


def _complete(period: Period) -> bool:
    """A dynamic period whose values have not come yet says nothing."""
    needed = {"ChargingOnly": period.limit, "CentralSetpoint": period.setpoint, "CentralFrequency": period.setpoint}
    return needed.get(period.mode, 0.0) is not None


def understand(raw: Json, evse: int, set_no: int, updated_s: float, delay_s: float = 0.0) -> Profile:
    """A profile of OCPP 2.1 or 2.0.1 that its schema and checks.charging_profile found good. Raises ValueError,
    OverflowError: a time that is none."""
    schedule = raw["chargingSchedule"][0]

    def moment(holder: Mapping[str, Any], key: str, default: float) -> float:
        return times.parse(holder[key]) if key in holder else default

    start_s = times.parse(schedule["startSchedule"]) if "startSchedule" in schedule else None
    at_soc = schedule.get("limitAtSoC")
    return Profile(
        raw=raw,
        evse=evse,
        set_no=set_no,
        updated_s=updated_s,
        delay_s=delay_s,
        id=raw["id"],
        purpose=raw["chargingProfilePurpose"],
        stack=raw["stackLevel"],
        kind=raw["chargingProfileKind"],
        tx=raw.get("transactionId"),
        recurrence_s=RECURRENCE_S[raw.get("recurrencyKind", "Daily")],
        valid_from_s=moment(raw, "validFrom", -math.inf),
        valid_to_s=moment(raw, "validTo", math.inf),
        offline_s=float(raw["maxOfflineDuration"]) if "maxOfflineDuration" in raw else None,
        dies_offline=raw.get("invalidAfterOfflineDuration", False),
        pull_s=float(raw.get("dynUpdateInterval", 0)) if raw["chargingProfileKind"] == "Dynamic" else 0.0,
        unit=schedule["chargingRateUnit"],
        start_s=start_s,
        duration_s=float(schedule.get("duration", math.inf)),
        soc_limit=None if at_soc is None else (float(at_soc["soc"]), ours("limit", at_soc["limit"])),
        periods=tuple(_period(period) for period in schedule["chargingSchedulePeriod"]),
        local_start=(
            local_time.unqualified(schedule["startSchedule"])
            if schedule.get("useLocalTime") and "startSchedule" in schedule
            else None
        ),
    )


def _period(raw: Mapping[str, Any]) -> Period:
    def number(key: str) -> float | None:
        return ours(key, raw[key]) if key in raw else None

    def curve(key: str, x: str) -> Curve:
        return tuple(sorted((float(p[x]), ours(f"{key}.power", p["power"])) for p in raw.get(key, [])))

    return Period(
        float(raw["startPeriod"]),
        raw.get("operationMode", "ChargingOnly"),
        number("limit"),
        number("dischargeLimit"),
        number("setpoint"),
        number("v2xBaseline"),
        curve("v2xFreqWattCurve", "frequency"),
        curve("v2xSignalWattCurve", "signal"),
        raw.get("evseSleep", False),
    )


def updated(profile: Profile, values: Mapping[str, Any], wall_s: float) -> Profile:
    """A dynamic profile with the values of a ChargingScheduleUpdateType, which came at wall_s."""
    schedule = profile.raw["chargingSchedule"][0]
    period = {**schedule["chargingSchedulePeriod"][0], **{key: values[key] for key in VALUES if key in values}}
    raw = {
        **profile.raw,
        "dynUpdateTime": times.show(wall_s),
        "chargingSchedule": [{**schedule, "chargingSchedulePeriod": [period]}],
    }
    return replace(profile, raw=raw, updated_s=wall_s, periods=(_period(period),))


PURPOSE_16 = {"ChargePointMaxProfile": "ChargingStationMaxProfile"}


def from_16(old: Json, tx: str | None) -> Json:
    """A csChargingProfiles of 1.6 in the words of 2.1. tx: our id of the transaction that a TxProfile is for."""
    schedule = dict(old["chargingSchedule"])
    found: Json = {
        "id": old["chargingProfileId"],
        "stackLevel": old["stackLevel"],
        "chargingProfilePurpose": PURPOSE_16.get(old["chargingProfilePurpose"], old["chargingProfilePurpose"]),
        "chargingProfileKind": old["chargingProfileKind"],
        "chargingSchedule": [{"id": 0, **schedule}],
    }
    found |= {key: old[key] for key in ("recurrencyKind", "validFrom", "validTo") if key in old}
    return found if tx is None else {**found, "transactionId": tx}


def for_201(raw: Json) -> Json:
    """A profile that was set under 2.1 in the words of 2.0.1, as far as it has them."""
    periods = [
        {key: p[key] for key in ("startPeriod", "limit", "numberPhases") if key in p} | {"limit": p.get("limit", 0.0)}
        for p in raw["chargingSchedule"][0]["chargingSchedulePeriod"]
    ]
    known = ("id", "startSchedule", "duration", "chargingRateUnit", "minChargingRate", "salesTariff")
    schedule = {key: raw["chargingSchedule"][0][key] for key in known if key in raw["chargingSchedule"][0]}
    keys = ("id", "stackLevel", "chargingProfilePurpose", "recurrencyKind", "validFrom", "validTo", "transactionId")
    found = {key: raw[key] for key in keys if key in raw}
    found["chargingProfileKind"] = "Absolute" if raw["chargingProfileKind"] == "Dynamic" else raw["chargingProfileKind"]
    return {**found, "chargingSchedule": [{**schedule, "chargingSchedulePeriod": periods}]}


def as_kept(profile: Profile) -> Json:
    """Plain JSON for the disk; `of_kept` is its inverse."""
    return {
        "raw": profile.raw,
        "evse": profile.evse,
        "set_no": profile.set_no,
        "updated_s": profile.updated_s,
        "delay_s": profile.delay_s,
    }


def of_kept(kept: Mapping[str, Any]) -> Profile:
    """Raises ValueError, KeyError, TypeError when it is none."""
    return understand(kept["raw"], kept["evse"], kept["set_no"], kept["updated_s"], kept["delay_s"])
