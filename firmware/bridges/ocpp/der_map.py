"""From DER controls of OCPP 2.1, block R, to those of firmware/grid_support, and back from trips to alarms. Pure.

Percent of voltage is of nominal, percent of W and var is of the charger's rated power (MaxW, MaxVA and MaxVar are the
same here; own choice). Signs are those of signs.py. What a DC EVSE cannot do is not in KINDS; what of a control it
cannot do is refused, never left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.checks import DER_SHAPES, Objection, der_control
from firmware.bridges.ocpp.signs import EXCITATION_ABSORBS, ours
from firmware.bridges.ocpp.view import Ability, Tripped

Json = dict[str, Any]

# controlType -> kind of control of firmware/grid_support/controls.py. PowerMonitoringMustTrip has no element in
# protection: it is answered NotSupported.
KINDS: Mapping[str, str] = {
    "EnterService": "enter_service",
    "Gradients": "ramps",
    "FreqDroop": "freq_droop",
    "FreqWatt": "freq_watt",
    "VoltWatt": "volt_watt",
    "VoltVar": "volt_var",
    "WattVar": "watt_var",
    "WattPF": "watt_pf",
    "FixedPFAbsorb": "fixed_pf_charging",
    "FixedPFInject": "fixed_pf_discharging",
    "FixedVar": "fixed_var",
    "LimitMaxDischarge": "power_limit",
    "HVMustTrip": "hv_must_trip",
    "LVMustTrip": "lv_must_trip",
    "HFMustTrip": "hf_must_trip",
    "LFMustTrip": "lf_must_trip",
    "HVMayTrip": "hv_may_trip",
    "LVMayTrip": "lv_may_trip",
    "HFMayTrip": "hf_may_trip",
    "HVMomCess": "hv_momentary_cessation",
    "LVMomCess": "lv_momentary_cessation",
}


class NotMapped(Exception):
    """The control is refused: an Objection."""

    def __init__(self, objection: Objection) -> None:
        super().__init__(objection.sentence)
        self.objection = objection


def table_of(request: Json, ability: Ability) -> Json:
    """The table that firmware/grid_support/controls.py makes a control of. Raises NotMapped; `controlType` must be one
    of KINDS."""
    objection = der_control(request)
    if objection is not None:
        raise NotMapped(objection)
    kind = request["controlType"]
    body: Json = request[DER_SHAPES[kind].payload]
    table: Json = {"id": request["controlId"], "kind": KINDS[kind], "priority": min(body["priority"], 1_000_000)}
    if request["isDefault"]:
        table["default"] = True
    else:
        missing = [key for key in ("startTime", "duration") if key not in body]
        if missing:
            raise _bad(f"a control that is no default needs {' and '.join(missing)}")
        table |= {"start_s": times.parse(body["startTime"]), "duration_s": float(body["duration"])}
    if DER_SHAPES[kind].payload == "curve":
        _plain(body)
    table |= _NUMBERS[kind](body, ability)
    if "responseTime" in body:
        table["response_s"] = float(body["responseTime"])
    return table


def _bad(sentence: str, reason: str = "InvalidValue") -> NotMapped:
    return NotMapped(Objection(reason, sentence))


def _unsupported(sentence: str) -> NotMapped:
    return _bad(sentence, "UnsupportedParam")


def _plain(curve: Json) -> None:
    if "hysteresis" in curve:
        raise _unsupported("hysteresis is not supported")
    if curve["yUnit"] in ("PctWAvail", "PctVarAvail"):
        raise _unsupported(f"yUnit {curve['yUnit']} is not supported: of rated power only (PctMaxW, PctMaxVar)")
    extra = curve.get("voltageParams", {})
    strange = [key for key in ("hv10MinMeanValue", "hv10MinMeanTripDelay", "powerDuringCessation") if key in extra]
    if strange:
        raise _unsupported(f"voltageParams.{strange[0]} is not supported")


def _points(curve: Json, x: Callable[[float], float], y: Callable[[float], float]) -> list[list[float]]:
    found = [[x(point["x"]), y(point["y"])] for point in curve["curveData"]]
    # As the schema has it the x of a curve rise; where our sign is the other one, so does the order.
    return found[::-1] if len(found) > 1 and found[0][0] > found[-1][0] else found


def _share(percent: float) -> float:
    return percent / 100.0


def _number(value: float) -> float:
    return float(value)


def _volt_var(curve: Json, ability: Ability) -> Json:
    found: Json = {"points": _points(curve, _share, lambda y: ours("VoltVar.y", y))}
    more = curve.get("reactivePowerParams", {})
    if "vRef" in more:
        found["vref_pu"] = _share(more["vRef"])
    if more.get("autonomousVRefEnable"):
        if "autonomousVRefTimeConstant" not in more:
            raise _bad("autonomousVRefEnable needs autonomousVRefTimeConstant")
        found["autonomous_s"] = float(more["autonomousVRefTimeConstant"])
    return found


def _volt_watt(curve: Json, ability: Ability) -> Json:
    return {"points": _points(curve, _share, lambda y: ours("VoltWatt.y", y))}


def _watt_var(curve: Json, ability: Ability) -> Json:
    return {"points": _points(curve, lambda x: ours("WattVar.x", x), lambda y: ours("WattVar.y", y))}


def _freq_watt(curve: Json, ability: Ability) -> Json:
    return {"points": _points(curve, _number, lambda y: ours("FreqWatt.y", y))}


def _watt_pf(curve: Json, ability: Ability) -> Json:
    return {"points": _points(curve, lambda x: ours("WattPF.x", x), lambda y: ours("WattPF.y", y))}


def _freq_droop(body: Json, ability: Ability) -> Json:
    f_n = ability.nominal_f_hz
    over, under = body["overFreq"] - f_n, f_n - body["underFreq"]
    if over < 0.0 or under < 0.0:
        raise _bad(
            f"overFreq = {body['overFreq']:g}, underFreq = {body['underFreq']:g}; {f_n:g} Hz must lie between them"
        )
    droops = {"k_of": float(body["overDroop"]), "k_uf": float(body["underDroop"])}
    return {"db_of_hz": over, "db_uf_hz": under, **droops}


def _fixed_pf(body: Json, ability: Ability) -> Json:
    return {"pf": float(body["displacement"]), "absorbing": 1 if body["excitation"] is EXCITATION_ABSORBS else 0}


def _fixed_var(body: Json, ability: Ability) -> Json:
    if body["unit"] == "PctVarAvail":
        raise _unsupported("unit PctVarAvail is not supported: of rated power only (PctMaxVar, PctMaxW)")
    return {"q_pu": ours("fixedVar.setpoint", body["setpoint"]) + 0.0}


def _limit(body: Json, ability: Ability) -> Json:
    if "powerMonitoringMustTrip" in body:
        raise _unsupported("powerMonitoringMustTrip is not supported")
    if "pctMaxDischargePower" not in body:
        raise _bad("limitMaxDischarge needs pctMaxDischargePower")
    share = ours("limitMaxDischarge.pctMaxDischargePower", body["pctMaxDischargePower"])
    return {"charge_pu": 1.0, "discharge_pu": share}


def _gradients(body: Json, ability: Ability) -> Json:
    """Seconds for the whole of the rated power; 0: not applicable."""
    found = {"normal_pu_per_s": body["gradient"], "soft_start_pu_per_s": body["softGradient"]}
    for key, seconds in found.items():
        if seconds < 0.0:
            raise _bad(f"{'gradient' if key.startswith('normal') else 'softGradient'} = {seconds:g} s is negative")
    return {key: 1.0 / seconds for key, seconds in found.items() if seconds > 0.0}


def _enter_service(body: Json, ability: Ability) -> Json:
    if body.get("randomDelay"):
        raise _unsupported("randomDelay is not supported; it must be 0")
    for key, low, high in (
        ("highVoltage", 100.0, 200.0),
        ("lowVoltage", 0.0, 100.0),
        ("highFreq", 40.0, 70.0),
        ("lowFreq", 40.0, 70.0),
    ):
        if not low <= body[key] <= high:  # percent of nominal: volts are caught here
            raise _bad(f"{key} = {body[key]:g}; allowed: {low:g} to {high:g} {'Hz' if 'Freq' in key else '%'}")
    found: Json = {
        "v_max": _share(body["highVoltage"]),
        "v_min": _share(body["lowVoltage"]),
        "f_max": float(body["highFreq"]),
        "f_min": float(body["lowFreq"]),
    }
    if "delay" in body:
        found["delay_s"] = float(body["delay"])
    if body.get("rampRate"):
        if not ability.entry_ramp:
            raise _unsupported("rampRate is not supported: the grid code has no ramp at the entry into service")
        per_min = ability.entry_ramp == "ramp_pu_per_min"
        found[ability.entry_ramp] = 60.0 / body["rampRate"] if per_min else float(body["rampRate"])
    return found


def _voltage_trip(curve: Json, ability: Ability) -> Json:
    return {"points": _points(curve, _share, _number)}


def _frequency_trip(curve: Json, ability: Ability) -> Json:
    return {"points": _points(curve, _number, _number)}


def _cessation(curve: Json, ability: Ability) -> Json:
    """The charger ceases where the curve's region begins, at its point closest to nominal, and for as long as the grid
    is beyond it."""
    closest = min((point["x"] for point in curve["curveData"]), key=lambda x: abs(x - 100.0))
    return {"threshold_pu": _share(closest)}


_NUMBERS: Mapping[str, Callable[[Json, Ability], Json]] = {
    "EnterService": _enter_service,
    "Gradients": _gradients,
    "FreqDroop": _freq_droop,
    "FreqWatt": _freq_watt,
    "VoltWatt": _volt_watt,
    "VoltVar": _volt_var,
    "WattVar": _watt_var,
    "WattPF": _watt_pf,
    "FixedPFAbsorb": _fixed_pf,
    "FixedPFInject": _fixed_pf,
    "FixedVar": _fixed_var,
    "LimitMaxDischarge": _limit,
    **dict.fromkeys(("HVMustTrip", "LVMustTrip", "HVMayTrip", "LVMayTrip"), _voltage_trip),
    **dict.fromkeys(("HFMustTrip", "LFMustTrip", "HFMayTrip"), _frequency_trip),
    **dict.fromkeys(("HVMomCess", "LVMomCess"), _cessation),
}


ISLAND = "ISLAND"  # the trip of firmware/protection/islanding.py, whose numbers are no frequency


def alarm_of(trip: Tripped) -> tuple[str, str]:
    """(controlType, gridEventFault) of a trip. The fault is empty where OCPP has no word for it: a wrong one would be
    worse than none, and extraInfo says what it was.

    What tripped shows in its numbers, so that every grid code's names of elements are right. A rate of change goes
    under the frequency trip of its direction. An island and a lost measurement have no control of their own: they are
    told under EnterService, the control that decides from then on when the charger comes back (own choice).
    """
    if trip.element == ISLAND:
        return "EnterService", ""
    over = trip.value > trip.threshold
    match trip.unit:
        case "pu" | "V":
            return ("HVMustTrip", "OverVoltage") if over else ("LVMustTrip", "UnderVoltage")
        case "Hz":
            return ("HFMustTrip", "OverFrequency") if over else ("LFMustTrip", "UnderFrequency")
        case "Hz/s" if trip.direction:
            return ("HFMustTrip" if trip.direction == "rising" else "LFMustTrip"), ""
        case _:
            return "EnterService", ""


def cessation_of(under: bool) -> tuple[str, str]:
    """(controlType, gridEventFault) of a momentary cessation."""
    return ("LVMomCess", "UnderVoltage") if under else ("HVMomCess", "OverVoltage")


# In a ReportDERControl: the list, and the name of the payload in its entries.
_REPORTED = {"fixedPFAbsorb": "fixedPF", "fixedPFInject": "fixedPF"}


def reported(request: Json, superseded: bool) -> Json:
    """One control as an entry of ReportDERControl."""
    payload = DER_SHAPES[request["controlType"]].payload
    entry: Json = {"id": request["controlId"], _REPORTED.get(payload, payload): request[payload]}
    if payload not in ("enterService", "gradient"):
        entry |= {"isDefault": request["isDefault"], "isSuperseded": superseded}
    if payload == "curve":
        entry["curveType"] = request["controlType"]
    return {payload: [entry]}
