"""Cars that break the schema, or only the package's idea of it. Each quirk is named after what was seen.

The package's models are stricter than the schemas: they end a session over messages that are harmless. Here a decoded
request is put right before the models see it. What a car says about limits, targets or energy is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from firmware.bridges.secc.car import name_and_body
from firmware.bridges.secc.exi.codec import DIN, ISO_2

_TIMES = ("RemainingTimeToFullSoC", "RemainingTimeToBulkSoC")


def remaining_time_in_minutes(namespace: str, name: str, body: dict[str, Any], message: dict[str, Any]) -> bool:
    """BYD Atto 3, MG4, XPENG P7: `RemainingTimeTo*SoC` in `m`, where the package takes `s` only. Becomes seconds."""
    done = False
    for key in _TIMES:
        value = body.get(key)
        if isinstance(value, dict) and value.get("Unit") == "m" and isinstance(value.get("Value"), int):
            seconds, multiplier = value["Value"] * 60, value.get("Multiplier", 0)
            while not -32768 <= seconds <= 32767:  # the type's range; the car's estimate is coarser than this rounding
                seconds, multiplier = int(seconds / 10), multiplier + 1
            if multiplier > 3:  # the type's largest: told as the largest that can be told
                seconds, multiplier = 32767, 3
            body[key] = {**value, "Unit": "s", "Multiplier": multiplier, "Value": seconds}
            done = True
    return done


def empty_session_id(namespace: str, name: str, body: dict[str, Any], message: dict[str, Any]) -> bool:
    """Subaru Solterra: SessionSetupReq with an empty SessionID, which means what eight zero bytes mean: a new one."""
    wrapped = message.get("V2G_Message")
    header = wrapped.get("Header") if isinstance(wrapped, dict) else None
    if namespace not in (ISO_2, DIN) or name != "SessionSetupReq" or not isinstance(header, dict):
        return False
    if header.get("SessionID") != "":
        return False
    header["SessionID"] = "00"
    return True


def phases_of_a_dc_profile(namespace: str, name: str, body: dict[str, Any], message: dict[str, Any]) -> bool:
    """Seres 3: four phases in the charging profile of a DC session, where three are the most. Left out: DC has none."""
    profile = body.get("ChargingProfile")
    entries = profile.get("ProfileEntry") if isinstance(profile, dict) else None
    done = False
    for entry in entries if isinstance(entries, list) else ():
        phases = entry.get("ChargingProfileEntryMaxNumberOfPhasesInUse") if isinstance(entry, dict) else None
        if isinstance(phases, int) and not 1 <= phases <= 3:
            del entry["ChargingProfileEntryMaxNumberOfPhasesInUse"]
            done = True
    return done


QUIRKS: tuple[Callable[[str, str, dict[str, Any], dict[str, Any]], bool], ...] = (
    remaining_time_in_minutes,
    empty_session_id,
    phases_of_a_dc_profile,
)


def put_right(namespace: str, message: dict[str, Any]) -> list[str]:
    """Change `message` in place; returns the names of the quirks that were met."""
    name, body = name_and_body(message)
    if not isinstance(body, dict):
        return []
    return [quirk.__name__ for quirk in QUIRKS if quirk(namespace, name, body, message)]


def is_request(message: Mapping[str, Any]) -> bool:
    return name_and_body(message)[0].endswith("Req")
