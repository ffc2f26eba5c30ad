"""Short lines for the calls that matter: a charging profile, a DER control, an aFRR signal. Pure.

set-profile CentralSetpoint setpoint=-7000 duration=600
set-profile LocalFrequency baseline=0 frequency=49.8:-5000,50.2:5000
set-profile CentralFrequency setpoint=0 signals=-100:-8000,100:8000
der-control VoltVar id=evening curve=92:44,98:0,102:0,108:-44
der-control LimitMaxDischarge id=cap percent=30 start=10 duration=600
afrr 50
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.checks import DER_SHAPES, MODES
from firmware.bridges.ocpp.dialect import Dialect

Json = dict[str, Any]
DAY_S = 86_400


class CannotExpand(Exception):
    """A short line that says too little or too much. One sentence."""


def expand(line: str, dialect: Dialect, tx: str | int | None, now_s: float) -> tuple[str, Json] | None:
    """(action, payload) of a short line; None when it is none. tx: the charger's transaction; now_s: wall time. Raises
    CannotExpand."""
    word, *rest = line.split()
    make = {"set-profile": _profile, "der-control": _der, "afrr": _afrr}.get(word)
    return None if make is None else make(rest, dialect, tx, now_s)


def _options(words: list[str], known: str) -> dict[str, str]:
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in known.split():
            raise CannotExpand(f"{word!r} is not understood; there are: {', '.join(f'{k}=' for k in known.split())}.")
        found[key] = value
    return found


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise CannotExpand(f"{key}={text}: a number is needed.") from None


def _points(key: str, text: str, x: str, y: str, kind: Callable[[float], float] = float) -> list[Json]:
    found = []
    for pair in text.split(","):
        left, colon, right = pair.partition(":")
        if not colon:
            raise CannotExpand(f"{key}={text}: pairs X:Y with commas are needed, such as 49.8:-5000,50.2:5000.")
        found.append({x: kind(_number(key, left)), y: _number(key, right)})
    return found


_PERIOD = {"limit": "limit", "discharge": "dischargeLimit", "setpoint": "setpoint", "baseline": "v2xBaseline"}


def _profile(words: list[str], dialect: Dialect, tx: str | int | None, now_s: float) -> tuple[str, Json]:
    if not words or words[0] not in MODES:
        raise CannotExpand(f"set-profile needs an operation mode: {', '.join(MODES)}.")
    if tx is None:
        raise CannotExpand("There is no transaction; plug in a car first.")
    mode = words[0]
    given = _options(words[1:], "id stack duration limit discharge setpoint baseline frequency signals")
    period: Json = {"startPeriod": 0}
    period |= {name: _number(key, given[key]) for key, name in _PERIOD.items() if key in given}
    if "frequency" in given:
        period["v2xFreqWattCurve"] = _points("frequency", given["frequency"], "frequency", "power")
    if "signals" in given:
        period["v2xSignalWattCurve"] = _points("signals", given["signals"], "signal", "power", round)
    schedule: Json = {
        "startSchedule": times.show(now_s - 1.0),  # the charger's clock may be a little behind
        "chargingRateUnit": "W",
        "chargingSchedulePeriod": [period],
    }
    if "duration" in given:
        schedule["duration"] = round(_number("duration", given["duration"]))
    id, stack = round(_number("id", given.get("id", "1"))), round(_number("stack", given.get("stack", "0")))
    common: Json = {"stackLevel": stack, "chargingProfilePurpose": "TxProfile", "chargingProfileKind": "Absolute"}
    common["transactionId"] = tx
    if not dialect.two:
        if mode != "ChargingOnly":
            raise CannotExpand(f"OCPP {dialect.name} has no {mode}; ChargingOnly limit=... is there.")
        profile = {"chargingProfileId": id, **common, "chargingSchedule": schedule}
        return "SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile}
    if dialect.name == "2.1":
        period["operationMode"] = mode
    elif mode != "ChargingOnly":
        raise CannotExpand(f"OCPP {dialect.name} has no {mode}; ChargingOnly limit=... is there.")
    profile = {"id": id, **common, "chargingSchedule": [{"id": 1, **schedule}]}
    return "SetChargingProfile", {"evseId": 1, "chargingProfile": profile}


def _der(words: list[str], dialect: Dialect, tx: str | int | None, now_s: float) -> tuple[str, Json]:
    if not words or words[0] not in DER_SHAPES:
        raise CannotExpand(f"der-control needs a type: {', '.join(DER_SHAPES)}.")
    kind = words[0]
    given = _options(words[1:], "id priority start duration curve unit percent setpoint pf absorb response")
    shape = DER_SHAPES[kind]
    body: Json = {"priority": round(_number("priority", given.get("priority", "0")))}
    if shape.payload == "curve":
        if "curve" not in given:
            raise CannotExpand(f"{kind} needs curve=X:Y,X:Y.")
        unit = given.get("unit", sorted(shape.y_units)[0])
        body |= {"curveData": _points("curve", given["curve"], "x", "y"), "yUnit": unit}
        if "response" in given:
            body["responseTime"] = _number("response", given["response"])
    elif shape.payload == "limitMaxDischarge":
        body["pctMaxDischargePower"] = _number("percent", given.get("percent", ""))
    elif shape.payload == "fixedVar":
        body |= {"setpoint": _number("setpoint", given.get("setpoint", "")), "unit": given.get("unit", "PctMaxVar")}
    elif shape.payload.startswith("fixedPF"):
        body |= {"displacement": _number("pf", given.get("pf", "")), "excitation": given.get("absorb", "yes") == "yes"}
    else:
        raise CannotExpand(f"{kind} has no short form; write SetDERControl and its payload.")
    default = "start" not in given and "duration" not in given
    if not default:
        body["startTime"] = times.show(now_s + _number("start", given.get("start", "0")))
        body["duration"] = _number("duration", given.get("duration", str(DAY_S)))
    request = {"isDefault": default, "controlId": given.get("id", kind), "controlType": kind, shape.payload: body}
    return "SetDERControl", request


def _afrr(words: list[str], dialect: Dialect, tx: str | int | None, now_s: float) -> tuple[str, Json]:
    if len(words) != 1:
        raise CannotExpand("afrr needs one whole number: the signal.")
    return "AFRRSignal", {"timestamp": times.show(now_s), "signal": round(_number("signal", words[0]))}
