"""Whether this charger takes a charging profile, beyond what schema and checks.charging_profile say. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

from firmware.bridges.ocpp import telling
from firmware.bridges.ocpp.checks import Objection, charging_profile
from firmware.bridges.ocpp.profiles import Profile, understand
from firmware.bridges.ocpp.stack import BOUNDS
from firmware.bridges.ocpp.view import Ability

FAR = 1e7  # policy value: 10 MW
MAX_DELAY_S = 86_400  # policy value: a day


def accept(
    raw: dict[str, Any],
    evse: int,
    tx: str | None,
    known: Iterable[Profile],
    ability: Ability,
    wall_s: float,
    replaces: bool,
    zone: ZoneInfo | None = None,
) -> Objection | set[int]:
    """An Objection, or the ids of the profiles that the new one takes the place of. tx: the open transaction.

    replaces: a profile of the same purpose and stack level is replaced (1.6) instead of being in the way (2.x).
    zone: the charger's, None while nobody has set it.
    """
    objection = charging_profile(raw) or _far(raw) or _place(raw, evse, tx) or _unsupported(raw, ability, zone)
    if objection is not None:
        return objection
    try:
        new = understand(raw, evse, 0, wall_s)
    except (ValueError, OverflowError) as error:
        return Objection("InvalidValue", str(error))
    if new.valid_to_s <= max(new.valid_from_s, wall_s):
        return Objection("InvalidSchedule", "validTo is over already, or before validFrom")
    rivals = {
        p.id
        for p in known
        if p.id != new.id
        and (p.purpose, p.stack, p.evse, p.tx) == (new.purpose, new.stack, new.evse, new.tx)
        and p.valid_from_s < new.valid_to_s
        and new.valid_from_s < p.valid_to_s
    }
    if rivals and not replaces:
        # K01.FR.06 and K01.FR.39: two of one purpose and stack level must not be valid at the same time.
        return Objection(
            "DuplicateProfile", f"profile {min(rivals)} has the same purpose and stackLevel at the same time"
        )
    return rivals | {new.id}


def _far(raw: dict[str, Any]) -> Objection | None:
    """Numbers that no charger has: sums of them would be no numbers any more."""
    for schedule in raw["chargingSchedule"]:
        if schedule.get("randomizedDelay", 0) > MAX_DELAY_S:
            return Objection("InvalidValue", f"randomizedDelay is more than {MAX_DELAY_S} s")
        holders = [schedule.get("limitAtSoC", {}), *schedule["chargingSchedulePeriod"]]
        for period in schedule["chargingSchedulePeriod"]:
            holders += period.get("v2xFreqWattCurve", []) + period.get("v2xSignalWattCurve", [])
        for holder in holders:
            for key in ("limit", "dischargeLimit", "setpoint", "v2xBaseline", "power", "frequency", "signal"):
                if key in holder and abs(holder[key]) > FAR:
                    return Objection("InvalidValue", f"{key} is beyond {FAR:g}")
    return None


def _place(raw: dict[str, Any], evse: int, tx: str | None) -> Objection | None:
    purpose = raw["chargingProfilePurpose"]
    if evse not in (0, telling.CONNECTOR):
        return Objection("UnknownEvse", f"there is no EVSE {evse}; there is 1")
    if purpose == "ChargingStationExternalConstraints":
        # K01.FR.22: it is what an external actor demands; the back end is none.
        return Objection("UnsupportedPurpose", f"{purpose} does not come from the back end")
    if purpose == "TxProfile":
        if evse == 0:
            return Objection("InvalidValue", "a TxProfile is for one EVSE; evseId is 0")
        if tx is None or raw.get("transactionId") != tx:
            return Objection("TxNotFound", f"there is no transaction {raw.get('transactionId', 'at all')}")
    elif "transactionId" in raw:
        return Objection("InvalidValue", f"a {purpose} has no transactionId")
    if purpose in (*BOUNDS, "LocalGeneration") and raw["chargingProfileKind"] == "Relative":
        # K01.FR.38: a limit of the station begins with no transaction.
        return Objection("InvalidSchedule", f"a {purpose} cannot be Relative")
    return None


def _unsupported(raw: dict[str, Any], ability: Ability, zone: ZoneInfo | None) -> Objection | None:
    purpose, schedules = raw["chargingProfilePurpose"], raw["chargingSchedule"]
    if raw["chargingProfileKind"] == "Recurring" and "recurrencyKind" not in raw:
        return Objection("InvalidSchedule", "a profile of kind Recurring needs recurrencyKind")
    if len(schedules) > 1 and purpose != "TxProfile":
        return Objection("TooManyElements", f"a {purpose} has one chargingSchedule, not {len(schedules)}")
    if raw["chargingProfileKind"] == "Dynamic" and (
        len(schedules) > 1 or len(schedules[0]["chargingSchedulePeriod"]) > 1
    ):
        return Objection("InvalidSchedule", "a profile of kind Dynamic has one schedule with one period")
    for schedule in schedules:
        if schedule.get("useLocalTime") and zone is None:
            return Objection("UnsupportedParam", "useLocalTime needs the charger's time zone: set ClockCtrlr.TimeZone")
        if schedule.get("duration", 1) <= 0:
            return Objection("InvalidSchedule", f"duration = {schedule['duration']} s must be positive")
        if schedule.get("randomizedDelay") and purpose not in ("TxProfile", "TxDefaultProfile"):
            return Objection("InvalidSchedule", f"a {purpose} has no randomizedDelay")
        for number, period in enumerate(schedule["chargingSchedulePeriod"]):
            objection = _period(f"chargingSchedulePeriod[{number}]", period, ability)
            if objection is not None:
                return objection
    return None


def _period(where: str, period: dict[str, Any], ability: Ability) -> Objection | None:
    mode = period.get("operationMode", "ChargingOnly")
    if period.get("limit", 0.0) < 0.0 and not ability.negative_limits:
        return Objection(
            "InvalidValue", f"{where}: limit = {period['limit']:g} must not be negative (negative_limits is off)"
        )
    if mode == "LocalLoadBalancing" and not ability.site_meter:
        return Objection("UnsupportedParam", f"{where}: LocalLoadBalancing needs a meter at the site's connection")
    for key in period:
        if key == "phaseToUse":
            return Objection("NoPhaseForDC", f"{where}: a DC outlet has no phase to use")
        if key.startswith("setpointReactive"):
            return Objection("UnsupportedParam", f"{where}: reactive power is set by DER controls, not by {key}")
        if key.endswith(("_L2", "_L3")):
            return Objection("PhaseConflict", f"{where}: a DC outlet has no {key}")
    return None
