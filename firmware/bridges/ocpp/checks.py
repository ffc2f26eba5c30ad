"""What the published schemas let pass and the text of OCPP 2.1 does not: DER controls and periods of charging profiles.

The rules are those of the requirements named beside them, as libocpp (EVerest) implements them: the text of OCPP 2.1
part 2 was not at hand. Ranges that catch a wrong unit (volts for percent) are policy values.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a request is answered Rejected: the reasonCode (<= 20 characters) and a sentence for additionalInfo."""

    reason: str
    sentence: str


def rejected(objection: Objection) -> dict[str, Any]:
    """The answer of OCPP 2.x to what was objected to."""
    info = {"reasonCode": objection.reason, "additionalInfo": objection.sentence[:1024]}
    return {"status": "Rejected", "statusInfo": info}


# -------------------------------------------------------------------------------------------------------- DER control
@dataclass(frozen=True, slots=True)
class Axis:
    unit: str
    low: float
    high: float


_PERCENT_V = Axis("% of nominal voltage", 0.0, 200.0)  # policy range: 230 (volts) is caught
_HERTZ = Axis("Hz", 40.0, 70.0)  # policy range: 0.5 (deviation) and 5000 (centihertz) are caught
_SECONDS = Axis("s", 0.0, 3600.0)  # policy range: milliseconds are mostly caught
_PERCENT = Axis("%", -100.0, 100.0)
_FACTOR = Axis("power factor", -1.0, 1.0)
_WATT = frozenset({"PctMaxW", "PctWAvail"})
_VAR = frozenset({"PctMaxVar", "PctVarAvail"})
_NONE = frozenset({"Not_Applicable"})


@dataclass(frozen=True, slots=True)
class DerShape:
    """What a control type must carry: its one payload, and of a curve the y unit (R04.FR.50-56) and the axes."""

    payload: str
    y_units: frozenset[str] = frozenset()
    x: Axis | None = None
    y: Axis | None = None
    default_only: bool = False  # EnterService and Gradients cannot be scheduled


def _curve(y_units: frozenset[str], x: Axis, y: Axis) -> DerShape:
    return DerShape("curve", y_units, x, y)


_V_TRIP, _F_TRIP = _curve(_NONE, _PERCENT_V, _SECONDS), _curve(_NONE, _HERTZ, _SECONDS)
# Trip curves: x is the threshold and y the time (ISO 15118-20 Annex M has them the other way round).
DER_SHAPES: Mapping[str, DerShape] = {
    "EnterService": DerShape("enterService", default_only=True),
    "Gradients": DerShape("gradient", default_only=True),
    "FreqDroop": DerShape("freqDroop"),
    "FreqWatt": _curve(_WATT, _HERTZ, _PERCENT),
    "VoltWatt": _curve(_WATT, _PERCENT_V, _PERCENT),
    "VoltVar": _curve(_VAR, _PERCENT_V, _PERCENT),
    "WattVar": _curve(_VAR, _PERCENT, _PERCENT),
    "WattPF": _curve(_NONE, _PERCENT, _FACTOR),
    "FixedPFAbsorb": DerShape("fixedPFAbsorb"),
    "FixedPFInject": DerShape("fixedPFInject"),
    "FixedVar": DerShape("fixedVar"),
    "LimitMaxDischarge": DerShape("limitMaxDischarge"),
    "HVMustTrip": _V_TRIP,
    "LVMustTrip": _V_TRIP,
    "HVMayTrip": _V_TRIP,
    "LVMayTrip": _V_TRIP,
    "HVMomCess": _V_TRIP,
    "LVMomCess": _V_TRIP,
    "HFMustTrip": _F_TRIP,
    "LFMustTrip": _F_TRIP,
    "HFMayTrip": _F_TRIP,
    "PowerMonitoringMustTrip": _curve(_NONE, _PERCENT, _SECONDS),
}
PAYLOADS = tuple(dict.fromkeys(shape.payload for shape in DER_SHAPES.values()))


def der_control(request: Json) -> Objection | None:
    """What is wrong with a SetDERControlRequest that obeys its schema; None when nothing is."""
    return next(_der(request), None)


def _der(request: Json) -> Iterator[Objection]:
    kind = request["controlType"]
    shape = DER_SHAPES[kind]
    given = [name for name in PAYLOADS if name in request]
    if given != [shape.payload]:
        yield _bad(f"{kind} takes {shape.payload} and nothing else; given: {', '.join(given) or 'nothing'}")
        return
    body = request[shape.payload]
    scheduled = sorted({"startTime", "duration"} & body.keys())
    if request["isDefault"] and scheduled:
        yield _bad(f"a default control has no {' and no '.join(scheduled)}")
    if shape.default_only and not request["isDefault"]:
        yield _bad(f"{kind} cannot be scheduled")
    if shape.payload == "curve":
        yield from _curve_faults(kind, shape, body)
    elif shape.payload in ("fixedPFAbsorb", "fixedPFInject"):
        yield from _outside(f"{shape.payload}.displacement", body["displacement"], Axis("", 0.0, 1.0))
    elif shape.payload == "fixedVar":
        yield from _outside("fixedVar.setpoint", body["setpoint"], _PERCENT)
        if body["unit"] not in _VAR | {"PctMaxW"}:
            yield _bad(f"fixedVar.unit is {body['unit']}; allowed: PctMaxVar, PctMaxW, PctVarAvail")
    elif shape.payload == "limitMaxDischarge" and "pctMaxDischargePower" in body:
        yield from _outside(
            "limitMaxDischarge.pctMaxDischargePower", body["pctMaxDischargePower"], Axis("%", 0.0, 100.0)
        )


def _curve_faults(kind: str, shape: DerShape, curve: Json) -> Iterator[Objection]:
    if curve["yUnit"] not in shape.y_units:
        yield _bad(f"{kind} has yUnit {curve['yUnit']}; allowed: {', '.join(sorted(shape.y_units))}")
    assert shape.x is not None
    assert shape.y is not None
    for number, point in enumerate(curve["curveData"]):
        yield from _outside(f"curveData[{number}].x", point["x"], shape.x)
        yield from _outside(f"curveData[{number}].y", point["y"], shape.y)


def _outside(name: str, value: float, axis: Axis) -> Iterator[Objection]:
    if not axis.low <= value <= axis.high:
        yield _bad(f"{name} = {value:g}; allowed: {axis.low:g} to {axis.high:g} {axis.unit}".rstrip())


def _bad(sentence: str) -> Objection:
    return Objection("InvalidValue", sentence)


# --------------------------------------------------------------------------------------------------- charging profile
@dataclass(frozen=True, slots=True)
class ModeShape:
    """Fields of a period that an operation mode needs and may have, and the purposes it may stand under."""

    needed: frozenset[str]
    optional: frozenset[str]
    purposes: frozenset[str]


_TX = frozenset({"TxProfile", "TxDefaultProfile"})
_EXTERNAL = "ChargingStationExternalConstraints"
PURPOSES = _TX | {_EXTERNAL, "ChargingStationMaxProfile", "PriorityCharging", "LocalGeneration"}
_LIMITS = frozenset({"limit", "dischargeLimit"})
_NO: frozenset[str] = frozenset()
# Q and V2X requirements of OCPP 2.1 part 2, as libocpp's smart_charging.cpp has them.
MODES: Mapping[str, ModeShape] = {
    "Idle": ModeShape(_NO, frozenset({"evseSleep"}), _TX),
    "ChargingOnly": ModeShape(frozenset({"limit"}), _NO, PURPOSES),
    "CentralSetpoint": ModeShape(frozenset({"setpoint"}), _LIMITS | {"setpointReactive"}, _TX),
    "CentralFrequency": ModeShape(frozenset({"setpoint"}), _LIMITS | {"v2xBaseline", "v2xSignalWattCurve"}, _TX),
    "LocalFrequency": ModeShape(frozenset({"v2xBaseline", "v2xFreqWattCurve"}), frozenset({"v2xSignalWattCurve"}), _TX),
    "ExternalSetpoint": ModeShape(_NO, _LIMITS, _TX | {_EXTERNAL}),
    "ExternalLimits": ModeShape(_NO, _NO, _TX | {_EXTERNAL, "LocalGeneration"}),
    "LocalLoadBalancing": ModeShape(_NO, _NO, _TX),
}
_JUDGED = frozenset({"limit", "dischargeLimit", "setpoint", "setpointReactive", "v2xBaseline"}) | {
    "v2xFreqWattCurve",
    "v2xSignalWattCurve",
    "evseSleep",
}


def charging_profile(profile: Json) -> Objection | None:
    """What is wrong with a ChargingProfile of OCPP 2.1 that obeys its schema; None when nothing is."""
    return next(_profile(profile), None)


def _profile(profile: Json) -> Iterator[Objection]:
    purpose, kind = profile["chargingProfilePurpose"], profile["chargingProfileKind"]
    for schedule in profile["chargingSchedule"]:
        # K01.FR.40 and K01.FR.41.
        if kind in ("Absolute", "Recurring") and "startSchedule" not in schedule:
            yield Objection("InvalidSchedule", f"a schedule of kind {kind} needs startSchedule")
        if kind == "Relative" and "startSchedule" in schedule:
            yield Objection("InvalidSchedule", "a schedule of kind Relative has no startSchedule")
        periods = schedule["chargingSchedulePeriod"]
        starts = [period["startPeriod"] for period in periods]
        if starts[0] != 0:
            yield Objection("InvalidSchedule", f"the first period starts at {starts[0]} s; it must start at 0")
        if any(later <= earlier for earlier, later in itertools.pairwise(starts)):
            yield Objection("InvalidSchedule", "the periods do not follow one another in time")
        for number, period in enumerate(periods):
            yield from _period(f"chargingSchedulePeriod[{number}]", period, purpose, kind, schedule["chargingRateUnit"])


def _period(where: str, period: Json, purpose: str, kind: str, unit: str) -> Iterator[Objection]:
    mode = period.get("operationMode", "ChargingOnly")
    shape = MODES[mode]
    if purpose not in shape.purposes:
        yield Objection("InvalidOperationMode", f"{where}: {mode} is not allowed in a profile of purpose {purpose}")
    missing = shape.needed - period.keys()
    if missing and kind != "Dynamic":  # a dynamic schedule may leave its values to the updates
        yield Objection("InvalidSchedule", f"{where}: {mode} needs {' and '.join(sorted(missing))}")
    surplus = (_JUDGED & period.keys()) - shape.needed - shape.optional
    if surplus:
        yield Objection("InvalidSchedule", f"{where}: {mode} takes no {' and no '.join(sorted(surplus))}")
    # V2X.09, V2X.10: values of single phases only in a TxProfile.
    if purpose != "TxProfile" and any(name.endswith(("_L2", "_L3")) for name in period):
        yield Objection("PhaseConflict", f"{where}: values of single phases are for a TxProfile only")
    if period.get("limit", 0.0) < 0.0 and mode != "ChargingOnly":
        yield Objection("InvalidSchedule", f"{where}: limit = {period['limit']:g} must not be negative")
    if mode == "LocalFrequency":
        if unit != "W":
            yield Objection("UnsupportedRateUnit", f"{where}: LocalFrequency is in W, not in {unit}")
        if len(period.get("v2xFreqWattCurve", [])) < 2:
            yield Objection("InvalidSchedule", f"{where}: v2xFreqWattCurve needs at least two points")
