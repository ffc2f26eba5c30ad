"""A record of a transaction, or a status, in the words of each version. Pure; what differs is a table.

Registers: Energy.Active.Import.Register is what went from the charger into the car, Energy.Active.Export.Register what
came back. They are two measurands in every version and are never netted. A discharging car is in chargingState
Charging: OCPP 2.1 has no other word for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.signs import import_export
from firmware.bridges.ocpp.view import Phase, View

Json = dict[str, Any]
Sample = tuple[str, float]

NO_NUMBER = -1  # 1.6: transactionId where the back end never gave one (the start was given up)
CONNECTOR = 1

# measurand -> (unit, unit in 1.6, location). 1.6 has Hertz in MeterValues only, by erratum: there it goes unnamed.
MEASURANDS: Mapping[str, tuple[str, str | None, str]] = {
    "Energy.Active.Import.Register": ("Wh", "Wh", "Outlet"),
    "Energy.Active.Export.Register": ("Wh", "Wh", "Outlet"),
    "Power.Active.Import": ("W", "W", "Outlet"),
    "Power.Active.Export": ("W", "W", "Outlet"),
    "Current.Import": ("A", "A", "Outlet"),
    "Current.Export": ("A", "A", "Outlet"),
    "Voltage": ("V", "V", "Outlet"),
    "Frequency": ("Hz", None, "Inlet"),
    "SoC": ("Percent", "Percent", "EV"),
    "Power.Active.Setpoint": ("W", None, "Outlet"),  # + = charging, as the set-points of block Q
    "EnergyRequest.Target": ("Wh", None, "EV"),
    "EnergyRequest.Minimum": ("Wh", None, "EV"),
    "EnergyRequest.Maximum": ("Wh", None, "EV"),
    "EnergyRequest.Minimum.V2X": ("Wh", None, "EV"),
    "EnergyRequest.Maximum.V2X": ("Wh", None, "EV"),
}
# protocol -> as ISO15118Ctrlr and ConnectedEV name it: its namespace and version, as car and charger agree on them.
PROTOCOLS: Mapping[str, str] = {
    "iso20": "urn:iso:std:iso:15118:-20:DC,1,0",
    "iso2": "urn:iso:15118:2:2013:MsgDef,2,0",
    "din": "urn:din:70121:2012:MsgDef,2,0",
}
ONLY_21 = frozenset(name for name in MEASURANDS if name.startswith(("EnergyRequest", "Power.Active.Setpoint")))
# Trigger reasons that only 2.1 has -> what 2.0.1 says for them.
_TRIGGERS_201 = {
    "TxResumed": "Trigger",
    "OperationModeChanged": "ChargingRateChanged",
    "LimitSet": "ChargingRateChanged",
    "SoCLimitReached": "EnergyLimitReached",
}

_REASONS_16 = {"ImmediateReset": "HardReset", "Reboot": "SoftReset"}


def samples(view: View, setpoint_w: float | None = None) -> list[Sample]:
    """What a look at the charger has to tell; what is not known, or is no number, is left out. setpoint_w: what the
    back end's rules want."""
    found: list[tuple[str, float | None]] = [
        ("Energy.Active.Import.Register", view.charged_wh),
        ("Energy.Active.Export.Register", view.discharged_wh),
    ]
    for name, signed in (("Power.Active", view.power_w), ("Current", view.current_a)):
        if signed is not None:
            imported, exported = import_export(signed)
            found += [(f"{name}.Import", imported), (f"{name}.Export", exported)]
    found += [("Voltage", view.voltage_v), ("Frequency", view.frequency_hz), ("SoC", view.soc_pct)]
    found.append(("Power.Active.Setpoint", setpoint_w))
    if (car := view.car) is not None:
        found += [("EnergyRequest.Target", car.target_wh), ("EnergyRequest.Minimum", car.min_energy_wh)]
        found += [("EnergyRequest.Maximum", car.max_energy_wh), ("EnergyRequest.Minimum.V2X", car.min_v2x_wh)]
        found.append(("EnergyRequest.Maximum.V2X", car.max_v2x_wh))
    return [(name, round(value, 3)) for name, value in found if value is not None and math.isfinite(value)]


def meter_value(dialect: Dialect, wall_s: float, context: str, values: Sequence[Sample]) -> Json:
    """A MeterValue of any version."""
    sampled = []
    for name, value in values:
        if name in ONLY_21 and dialect.name != "2.1":
            continue
        unit, unit_16, location = MEASURANDS[name]
        item: Json = {"measurand": name, "context": context, "location": location}
        if dialect.two:
            item |= {"value": value, "unitOfMeasure": {"unit": unit}}
        else:
            item |= {"value": f"{value:.3f}".rstrip("0").rstrip(".")} | ({"unit": unit_16} if unit_16 else {})
        sampled.append(item)
    return {"timestamp": times.show(wall_s), "sampledValue": sampled}


# ------------------------------------------------------------------------------------------------------- transactions
_STATES = {
    Phase.PLUGGED: "EVConnected",
    Phase.STARTING: "EVConnected",
    Phase.CHARGING: "Charging",
    Phase.DISCHARGING: "Charging",
    Phase.HOLDING: "SuspendedEVSE",
    Phase.ENDED: "Idle",
    Phase.FAULT: "SuspendedEVSE",
    Phase.FREE: "Idle",
}


def charging_state(phase: Phase) -> str:
    """chargingState of 2.0.1 and 2.1."""
    return _STATES[phase]


def told(dialect: Dialect, record: Json, number: int | None, id_tag: str) -> tuple[str, Json] | None:
    """Action and payload of a record of firmware/bridges/ocpp/transaction.py; None: this version has no word for it.

    number: the back end's transactionId (1.6 only). id_tag: who pays (1.6 only, where the start must name somebody).
    """
    return _told_2(dialect, record) if dialect.two else _told_16(dialect, record, number, id_tag)


def _told_2(dialect: Dialect, record: Json) -> tuple[str, Json]:
    info: Json = {"transactionId": record["tx"], "chargingState": record["state"]}
    payload: Json = {
        "eventType": record["kind"],
        "timestamp": times.show(record["wall_s"]),
        "triggerReason": record["trigger"],
        "seqNo": record["seq"],
        "transactionInfo": info,
        "evse": {"id": CONNECTOR, "connectorId": CONNECTOR},
        "meterValue": [meter_value(dialect, record["wall_s"], record["context"], record["samples"])],
    }
    if dialect.name == "2.0.1":
        payload["triggerReason"] = _TRIGGERS_201.get(record["trigger"], record["trigger"])
    else:
        if record.get("mode"):  # a record of an earlier release has none
            info["operationMode"] = record["mode"]
        if record.get("limit"):
            info["transactionLimit"] = record["limit"]
    if record["offline"]:
        payload["offline"] = True
    if record["kind"] == "Started":
        payload["idToken"] = _token(dialect, record) or {"idToken": "", "type": "NoAuthorization"}
    elif record.get("token"):  # once, in the record of the event that it came with
        payload["idToken"] = _token(dialect, record)
    if record.get("reservation") is not None:
        payload["reservationId"] = record["reservation"]
    if record.get("remote") is not None:
        info["remoteStartId"] = record["remote"]
    if record["kind"] == "Ended":
        info["stoppedReason"] = record["reason"]
    return "TransactionEvent", payload


_TYPES_201 = frozenset({"Central", "eMAID", "ISO14443", "ISO15693", "KeyCode", "Local", "MacAddress"})


def _token(dialect: Dialect, record: Json) -> Json | None:
    """The token of a record as this version can say it: it may have come under another one."""
    token: Json | None = record.get("token")
    if token is None or dialect.name == "2.1":
        return token
    kind = token["type"] if token["type"] in _TYPES_201 else "Central"
    return {"idToken": token["idToken"][:36], "type": kind}


def _told_16(dialect: Dialect, record: Json, number: int | None, id_tag: str) -> tuple[str, Json] | None:
    stamp = times.show(record["wall_s"])
    meter = [meter_value(dialect, record["wall_s"], record["context"], record["samples"])]
    imported_wh = round(dict(record["samples"])["Energy.Active.Import.Register"])
    transaction = {"transactionId": NO_NUMBER if number is None else number}
    if record["kind"] == "Started":
        tag = record["token"]["idToken"][:20] if record.get("token") else id_tag
        start = {"connectorId": CONNECTOR, "idTag": tag, "meterStart": imported_wh, "timestamp": stamp}
        if record.get("reservation") is not None:
            start["reservationId"] = record["reservation"]
        return "StartTransaction", start
    if record["kind"] == "Ended":
        stop = {
            "meterStop": imported_wh,
            "timestamp": stamp,
            "reason": _REASONS_16.get(record["reason"], record["reason"]),
            "transactionData": meter,
        }
        return "StopTransaction", transaction | stop
    if record["context"] == "Other":  # only the state changed: that goes out as a StatusNotification
        return None
    return "MeterValues", {"connectorId": CONNECTOR, **transaction, "meterValue": meter}


# -------------------------------------------------------------------------------------------------------------- status
_STATUS_16 = {
    Phase.FREE: "Available",
    Phase.PLUGGED: "Preparing",
    Phase.STARTING: "Preparing",
    Phase.CHARGING: "Charging",
    Phase.DISCHARGING: "Charging",
    Phase.HOLDING: "SuspendedEVSE",
    Phase.ENDED: "Finishing",
    Phase.FAULT: "Faulted",
}


def status(dialect: Dialect, view: View, available: bool = True, reserved: bool = False) -> Json:
    """What a StatusNotification says of the connector, without its time. available: as the back end has set it.
    reserved: it is kept free for somebody."""
    faulted = bool(view.faults) or view.phase is Phase.FAULT
    if dialect.two:
        free = "Reserved" if reserved else "Available"
        word = "Faulted" if faulted else "Occupied" if view.plugged else free
        word = word if available or faulted else "Unavailable"
        return {"evseId": CONNECTOR, "connectorId": CONNECTOR, "connectorStatus": word}
    now = "Reserved" if reserved and view.phase is Phase.FREE else _STATUS_16[view.phase]
    word = "Faulted" if faulted else now if available else "Unavailable"
    found: Json = {"connectorId": CONNECTOR, "status": word, "errorCode": "OtherError" if faulted else "NoError"}
    return found | ({"info": view.faults[0][:50]} if view.faults else {})
