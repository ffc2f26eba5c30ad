"""The car's wishes out of its decoded messages. Pure: dictionaries in, `CarState` out; needs nothing of the package.

The package keeps the car's values in objects of its own, drops legal zeros on the way (departure time 0, state of
charge 0) and keeps values of the car before. So the messages are read here, as the codec decoded them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from firmware.bridges.secc.exi.codec import APP_PROTOCOL, DIN, ISO_2
from firmware.bridges.secc.messages import CarState, Phase
from firmware.bridges.secc.plan import profile_of

Message = Mapping[str, Any]

DC_BPT = 6  # service ID, ISO 15118-20 table 204 as the package names it
# What a request means for the power side. A message that is not named here leaves the phase as it is.
_PHASES: Mapping[str, Phase] = {
    "SessionSetupReq": "wait",
    "ServiceDiscoveryReq": "wait",  # in -20 also after a session that goes on with other services
    "ChargeParameterDiscoveryReq": "wait",
    "DC_ChargeParameterDiscoveryReq": "wait",
    "ScheduleExchangeReq": "wait",
    "CableCheckReq": "insulation",
    "DC_CableCheckReq": "insulation",
    "PreChargeReq": "precharge",
    "DC_PreChargeReq": "precharge",
    "CurrentDemandReq": "transfer",
    "DC_ChargeLoopReq": "transfer",
    "WeldingDetectionReq": "welding",
    "DC_WeldingDetectionReq": "welding",
    "SessionStopReq": "ending",
}
_MODES = {  # of the schedule exchange and of the loop
    "Scheduled_SEReqControlMode": "scheduled",
    "Dynamic_SEReqControlMode": "dynamic",
    "Scheduled_DC_CLReqControlMode": "scheduled",
    "BPT_Scheduled_DC_CLReqControlMode": "scheduled",
    "Dynamic_DC_CLReqControlMode": "dynamic",
    "BPT_Dynamic_DC_CLReqControlMode": "dynamic",
}
# Names of ISO 15118-20 (charge parameters, schedule exchange and charge loop use the same ones).
_NUMBERS_20 = {
    "EVTargetCurrent": "target_a",
    "EVTargetVoltage": "target_v",
    "EVPresentVoltage": "present_v",
    "EVMaximumVoltage": "max_v",
    "EVMinimumVoltage": "min_v",
    "EVMaximumChargeCurrent": "charge_max_a",
    "EVMaximumChargePower": "charge_max_w",
    "EVMaximumDischargeCurrent": "discharge_max_a",
    "EVMaximumDischargePower": "discharge_max_w",
    "EVTargetEnergyRequest": "target_energy_wh",
    "EVMaximumEnergyRequest": "max_energy_wh",
    "EVMinimumEnergyRequest": "min_energy_wh",
    "EVMaximumV2XEnergyRequest": "max_v2x_wh",
    "EVMinimumV2XEnergyRequest": "min_v2x_wh",
    "BatteryEnergyCapacity": "capacity_wh",
}
# Names of ISO 15118-2 and DIN 70121.
_NUMBERS_2 = {
    "EVTargetCurrent": "target_a",
    "EVTargetVoltage": "target_v",
    "EVMaximumVoltageLimit": "max_v",
    "EVMaximumCurrentLimit": "charge_max_a",
    "EVMaximumPowerLimit": "charge_max_w",
    "EVEnergyCapacity": "capacity_wh",
    "EVEnergyRequest": "target_energy_wh",
}
_COUNTS = {  # plain integers, in all protocols
    "DepartureTime": "departure_s",
    "PresentSOC": "soc_pct",
    "EVRESSSOC": "soc_pct",
    "MinimumSOC": "min_soc_pct",
    "TargetSOC": "target_soc_pct",
    "MaximumSOC": "max_soc_pct",
    "FullSOC": "max_soc_pct",
}
# With one of these a car of -20 asks for a new schedule and goes back into the loop, its contactors closed.
_REPLANNING = ("PowerDeliveryReq", "ScheduleExchangeReq")
_MAGNITUDES = {"discharge_max_a", "discharge_max_w"}  # some cars send them negative (EVerest issue 1473)
_SIGNED = {"target_a", "target_energy_wh", "max_energy_wh", "min_energy_wh", "max_v2x_wh", "min_v2x_wh"}
_PERCENT = {"soc_pct", "min_soc_pct", "target_soc_pct", "max_soc_pct"}
_LARGEST = 1e9


def name_and_body(message: Message) -> tuple[str, Message]:
    """The message's name and content. ISO 15118-2 and DIN wrap them, ISO 15118-20 does not."""
    wrapped = message.get("V2G_Message")
    inner = wrapped.get("Body") if isinstance(wrapped, Mapping) else message
    if not isinstance(inner, Mapping):
        return "", {}
    for name, body in inner.items():
        return name, body if isinstance(body, Mapping) else {}
    return "", {}


def number(value: object) -> float | None:
    """A RationalNumber (Exponent, Value), a PhysicalValue (Multiplier, Value) or a plain number; None for all else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        power, mantissa = value.get("Exponent", value.get("Multiplier", 0)), value.get("Value")
        if isinstance(power, int) and isinstance(mantissa, int) and -128 <= power <= 127:
            return float(mantissa) * 10.0**power
    return None


def read(car: CarState, namespace: str, message: Message, now: float) -> CarState:
    """`car` after one more message of it at `now` (s). Values that the message does not name stay as they were."""
    name, body = name_and_body(message)
    if namespace == APP_PROTOCOL:
        return CarState(t=now, sent_t=now, phase="wait", message=name)  # a new car: nothing of the one before
    protocol: Literal["din", "iso2", "iso20"] = "din" if namespace == DIN else "iso2" if namespace == ISO_2 else "iso20"
    found: dict[str, Any] = {}
    modes = _collect(body, _NUMBERS_20 if protocol == "iso20" else _NUMBERS_2, found)
    if name in ("ChargeParameterDiscoveryReq", "DC_ChargeParameterDiscoveryReq"):
        # Negotiated anew: what is not said any more holds no more.
        fresh = dict.fromkeys((*_NUMBERS_20.values(), *_COUNTS.values()))
        found = {**fresh, **found}
    if modes:
        found["control"] = _MODES[modes[-1]]
        if found["control"] == "dynamic":
            found["target_a"] = found["target_v"] = None  # there is none in this mode
    if name == "ServiceSelectionReq":
        selected = body.get("SelectedEnergyTransferService")
        found["bidirectional"] = isinstance(selected, Mapping) and selected.get("ServiceID") == DC_BPT
    if isinstance(evcc := body.get("EVCCID"), str):
        found["evcc_id"] = evcc
    phase = _PHASES.get(name, car.phase)
    replans = car.replans
    if name == "PowerDeliveryReq":
        anew = body.get("ChargeProgress") == "ScheduleRenegotiation"
        replans = replans or (anew and car.phase == "transfer")
        if _stops(body) or (anew and not replans):
            phase, replans = "ending", False
        elif not anew and body.get("EVProcessing") != "Ongoing":
            found |= profile_of(body, now, number)
    replans = replans and name in _REPLANNING
    if replans:
        phase = "transfer"
    elif name == "SessionStopReq" and body.get("ChargingSession") == "Pause":
        phase = "pause"
    return msgspec.structs.replace(
        car, t=now, sent_t=now, protocol=protocol, message=name, phase=phase, replans=replans, **found
    )


def _stops(body: Message) -> bool:
    """ISO 15118-2 and -20 name the progress, DIN 70121 says whether the car is ready. A car of -20 that wants a new
    schedule keeps its contactors closed."""
    return body.get("ChargeProgress") in ("Stop", "Renegotiate", "Standby") or (body.get("ReadyToChargeState") is False)


def _collect(body: Message, numbers: Mapping[str, str], found: dict[str, Any]) -> list[str]:
    """Fill `found` with the values that `body` and the tables inside it name; returns the control modes met."""
    modes = []
    for key, value in body.items():
        if key in _MODES:
            modes.append(key)
        field = numbers.get(key) or _COUNTS.get(key)
        if field is not None:
            amount = number(value)
            if amount is not None:
                found[field] = _in_range(field, amount)
        elif isinstance(value, Mapping) and key != "Header" and not key.startswith("EVPowerProfile"):
            modes += _collect(value, numbers, found)
    return modes


def _in_range(field: str, amount: float) -> float:
    """What the message to services can carry. A negative maximum of the car permits nothing."""
    if field in _MAGNITUDES:
        amount = abs(amount)
    low = -_LARGEST if field in _SIGNED else 0.0
    return min(max(amount, low), 100.0 if field in _PERCENT else _LARGEST)
