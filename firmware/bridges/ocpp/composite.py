"""The answer to GetCompositeSchedule in the words of each version. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.profiles import Profile
from firmware.bridges.ocpp.signs import theirs
from firmware.bridges.ocpp.stack import Composite, Situation, schedule

MAX_DURATION_S = 604_800  # policy value: a week; what was asked for beyond it is not told

Json = dict[str, Any]


def composite_schedule(
    dialect: Dialect, asked: Json, evse: int, profiles: Iterable[Profile], s: Situation, rated_w: float, volts: float
) -> Json:
    """What the profiles permit from now on. rated_w: the limit where no profile gives one."""
    duration_s = max(min(asked["duration"], MAX_DURATION_S), 1)
    unit = asked.get("chargingRateUnit", "W")
    factor = 1.0 if unit == "W" else 1.0 / volts
    periods: list[Json] = []
    parts, told_s = schedule(profiles, s, duration_s)
    for start_s, part in parts:
        period = {"startPeriod": int(start_s), **_words(dialect, part, rated_w, factor)}
        if periods and periods[-1]["startPeriod"] == period["startPeriod"]:
            periods[-1] = period  # two changes within one second: the later one is told
        else:
            periods.append(period)
    common: Json = {"chargingRateUnit": unit, "chargingSchedulePeriod": periods, "duration": max(int(told_s), 1)}
    start = times.show(s.wall_s)
    if dialect.two:
        return {"status": "Accepted", "schedule": {"evseId": evse, "scheduleStart": start, **common}}
    return {"status": "Accepted", "connectorId": evse, "scheduleStart": start, "chargingSchedule": common}


def _words(dialect: Dialect, c: Composite, rated_w: float, factor: float) -> Json:
    def number(name: str, watts: float) -> float:
        return round(theirs(name, watts * factor), 1)  # 1.6 has multiples of 0.1

    limit_w = rated_w if c.all.limit_w is None else min(c.all.limit_w, rated_w)
    if dialect.name != "2.1":
        setpoint_w = None if c.period is None else c.watts(c.period.setpoint)
        return {"limit": number("limit", limit_w if setpoint_w is None else min(setpoint_w, limit_w))}
    found: Json = {"operationMode": c.mode}
    if c.mode == "ChargingOnly" or c.all.limit_w is not None:
        found["limit"] = number("limit", limit_w)
    if c.all.discharge_limit_w is not None:
        found["dischargeLimit"] = number("dischargeLimit", c.all.discharge_limit_w)
    if c.sleep:
        found["evseSleep"] = True
    p = c.period
    if p is not None:
        setpoint_w, baseline_w = c.watts(p.setpoint), c.watts(p.baseline)
        if setpoint_w is not None:
            found["setpoint"] = number("setpoint", setpoint_w)
        if baseline_w is not None:
            found["v2xBaseline"] = number("v2xBaseline", baseline_w)
        if p.frequency_curve:
            found["v2xFreqWattCurve"] = [{"frequency": x, "power": y} for x, y in p.frequency_curve]
        if p.signal_curve:
            found["v2xSignalWattCurve"] = [{"signal": round(x), "power": y} for x, y in p.signal_curve]
    return found
