"""What real cars do beside the schema, done by the rig's car: each as firmware/bridges/secc/quirks.py names it, and two
that the schemas permit and the package refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from firmware.bridges.secc.car import name_and_body

PHASES = "ChargingProfileEntryMaxNumberOfPhasesInUse"
Change = Callable[[str, dict[str, Any], dict[str, Any]], None]  # name, body and the whole message, changed in place


def _remaining_time_in_minutes(name: str, body: dict[str, Any], message: dict[str, Any]) -> None:
    if name == "CurrentDemandReq":
        body["RemainingTimeToFullSoC"] = {"Multiplier": 0, "Unit": "m", "Value": 45}
        body["RemainingTimeToBulkSoC"] = {"Multiplier": 0, "Unit": "m", "Value": 20}


def _empty_session_id(name: str, body: dict[str, Any], message: dict[str, Any]) -> None:
    if name == "SessionSetupReq":
        message["V2G_Message"]["Header"]["SessionID"] = ""


def _phases_of_a_dc_profile(name: str, body: dict[str, Any], message: dict[str, Any]) -> None:
    if name == "PowerDeliveryReq":
        entry = {
            "ChargingProfileEntryStart": 0,
            "ChargingProfileEntryMaxPower": {"Multiplier": 3, "Unit": "W", "Value": 22},
            PHASES: 3,  # becomes 4 in `encoded`
        }
        body["ChargingProfile"] = {"ProfileEntry": [entry]}


def _no_power_profile(name: str, body: dict[str, Any], message: dict[str, Any]) -> None:
    if name == "PowerDeliveryReq":
        body.pop("EVPowerProfile", None)


def _negative_discharge_limits(name: str, body: dict[str, Any], message: dict[str, Any]) -> None:
    for value in body.values():
        if isinstance(value, dict):
            for key in ("EVMaximumDischargePower", "EVMaximumDischargeCurrent"):
                if key in value:
                    value[key] = {**value[key], "Value": -abs(value[key]["Value"])}


QUIRKS: Mapping[str, Change] = {
    "remaining_time_in_minutes": _remaining_time_in_minutes,
    "empty_session_id": _empty_session_id,
    "phases_of_a_dc_profile": _phases_of_a_dc_profile,
    "no_power_profile": _no_power_profile,  # two foreign -20 cars
    "negative_discharge_limits": _negative_discharge_limits,  # EVerest issue 1473
}


def encoded(message: str, quirk: str, encode: Callable[[str], bytes]) -> tuple[bytes, bool]:
    """The bytes of a message with that quirk, and whether it made a difference."""
    value = json.loads(message)
    name, body = name_and_body(value)
    if isinstance(body, dict):
        QUIRKS[quirk](name, body, value)
    odd = json.dumps(value)
    data = encode(odd)
    if quirk == "phases_of_a_dc_profile":
        # No encoder writes what the type (1 to 3, two bits) does not have. 2 and 3 are 01 and 10: together 11, a 4.
        other = encode(odd.replace(f'"{PHASES}": 3', f'"{PHASES}": 2'))
        data = bytes(a | b for a, b in zip(data, other, strict=True))
    return data, odd != json.dumps(json.loads(message))
