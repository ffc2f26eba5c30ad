"""What the schemas let pass is refused all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from firmware.bridges.ocpp import checks
from firmware.bridges.ocpp.dialect import V16, V21, Dialect
from firmware.bridges.ocpp.schemas import Schemas
from tests.ocpp.wire import ALL, TIME, schemas

BODIES: dict[str, dict[str, Any]] = {
    "enterService": {
        "priority": 0, "highVoltage": 105.0, "lowVoltage": 95.0, "highFreq": 50.2, "lowFreq": 49.5,
    },
    "gradient": {"priority": 0, "gradient": 10.0, "softGradient": 0.0},
    "freqDroop": {
        "priority": 0, "overFreq": 50.2, "underFreq": 49.8, "overDroop": 0.05, "underDroop": 0.05, "responseTime": 1.0,
    },
    "fixedPFAbsorb": {"priority": 0, "displacement": 0.95, "excitation": True},
    "fixedPFInject": {"priority": 0, "displacement": 0.95, "excitation": False},
    "fixedVar": {"priority": 0, "setpoint": -30.0, "unit": "PctMaxVar"},
    "limitMaxDischarge": {"priority": 0, "pctMaxDischargePower": 60.0},
}  # fmt: skip


def body(kind: str) -> dict[str, Any]:
    shape = checks.DER_SHAPES[kind]
    if shape.payload != "curve":
        return dict(BODIES[shape.payload])
    assert shape.x is not None
    point = {"x": (shape.x.low + shape.x.high) / 2, "y": 0.0}
    return {"priority": 0, "yUnit": min(shape.y_units), "curveData": [point]}


def control(kind: str, **changes: Any) -> dict[str, Any]:
    return {
        "isDefault": True, "controlId": "c", "controlType": kind, checks.DER_SHAPES[kind].payload: body(kind), **changes
    }  # fmt: skip


def judged(request: dict[str, Any]) -> str:
    assert schemas(V21).request("SetDERControl", request) is None, "the schema lets it pass"
    objection = checks.der_control(request)
    return "" if objection is None else objection.sentence


def test_the_table_has_every_control_type_of_the_schema() -> None:
    found = schemas(V21).request("SetDERControl", {"isDefault": True, "controlId": "c", "controlType": "?"})
    assert found is not None
    document = json.loads((schemas(V21)._folder / "SetDERControlRequest.json").read_text("utf-8-sig"))
    assert set(document["definitions"]["DERControlEnumType"]["enum"]) == checks.DER_SHAPES.keys()


@pytest.mark.parametrize("kind", checks.DER_SHAPES)
def test_every_control_passes_with_its_own_payload_and_with_no_other(kind: str) -> None:
    assert judged(control(kind)) == ""
    own = checks.DER_SHAPES[kind].payload
    for other in set(BODIES) - {own}:
        assert "nothing else" in judged(control(kind, **{other: BODIES[other]}))
    bare = control(kind)
    del bare[own]
    assert "given: nothing" in judged(bare)


@pytest.mark.parametrize("kind", [kind for kind, shape in checks.DER_SHAPES.items() if shape.payload == "curve"])
def test_a_curve_in_the_wrong_unit_is_refused(kind: str) -> None:
    shape = checks.DER_SHAPES[kind]
    for unit in {"Not_Applicable", "PctMaxW", "PctMaxVar", "PctWAvail", "PctVarAvail", "PctEffectiveV"} - shape.y_units:
        assert "yUnit" in judged(control(kind, curve={**body(kind), "yUnit": unit}))
    assert shape.x is not None
    far = {**body(kind), "curveData": [{"x": shape.x.high + 0.1, "y": 0.0}]}
    assert "curveData[0].x" in judged(control(kind, curve=far))


def test_volts_for_percent_and_a_default_with_a_start_are_refused() -> None:
    assert "% of nominal" in judged(
        control("HVMustTrip", curve={**body("HVMustTrip"), "curveData": [{"x": 264.0, "y": 0.2}]})
    )
    assert "no startTime" in judged(control("VoltVar", curve={**body("VoltVar"), "startTime": TIME}))
    assert "scheduled" in judged(control("EnterService", isDefault=False))
    assert "displacement" in judged(
        control("FixedPFAbsorb", fixedPFAbsorb={**body("FixedPFAbsorb"), "displacement": 95.0})
    )
    assert "fixedVar.unit" in judged(control("FixedVar", fixedVar={**body("FixedVar"), "unit": "PctEffectiveV"}))


def profile(mode: str, purpose: str = "TxProfile", unit: str = "W", **fields: Any) -> dict[str, Any]:
    return {
        "id": 1, "stackLevel": 0, "chargingProfilePurpose": purpose, "chargingProfileKind": "Absolute",
        "chargingSchedule": [
            {"id": 1, "chargingRateUnit": unit, "startSchedule": TIME,
             "chargingSchedulePeriod": [{"startPeriod": 0, "operationMode": mode, **fields}]}
        ],
    }  # fmt: skip


CURVE = [{"frequency": 49.8, "power": -3000.0}, {"frequency": 50.2, "power": 3000.0}]
GOOD: dict[str, dict[str, Any]] = {
    "Idle": {"evseSleep": True},
    "ChargingOnly": {"limit": 7000.0},
    "CentralSetpoint": {"setpoint": -7000.0, "dischargeLimit": -9000.0},
    "CentralFrequency": {"setpoint": 0.0},
    "LocalFrequency": {"v2xBaseline": 0.0, "v2xFreqWattCurve": CURVE},
    "ExternalSetpoint": {"limit": 7000.0},
    "ExternalLimits": {},
    "LocalLoadBalancing": {},
}


def objection(candidate: dict[str, Any]) -> str:
    assert schemas(V21).request("SetChargingProfile", {"evseId": 1, "chargingProfile": candidate}) is None
    found = checks.charging_profile(candidate)
    return "" if found is None else found.reason


@pytest.mark.parametrize("mode", checks.MODES)
def test_every_mode_passes_with_what_it_needs_and_only_under_its_purposes(mode: str) -> None:
    assert objection(profile(mode, **GOOD[mode])) == ""
    for purpose in checks.PURPOSES:
        expected = "" if purpose in checks.MODES[mode].purposes else "InvalidOperationMode"
        assert objection(profile(mode, purpose, **GOOD[mode])) == expected
    for name in checks.MODES[mode].needed:
        short = {key: value for key, value in GOOD[mode].items() if key != name}
        assert objection(profile(mode, **short)) == "InvalidSchedule"


def test_a_field_of_another_mode_is_refused_and_so_are_single_phases_and_amperes_of_local_frequency() -> None:
    assert objection(profile("ChargingOnly", limit=1.0, setpoint=-1.0)) == "InvalidSchedule"
    assert objection(profile("ChargingOnly", limit=1.0, evseSleep=True)) == "InvalidSchedule"
    assert objection(profile("ChargingOnly", "TxDefaultProfile", limit=1.0, limit_L2=1.0)) == "PhaseConflict"
    assert objection(profile("LocalFrequency", unit="A", **GOOD["LocalFrequency"])) == "UnsupportedRateUnit"
    assert objection(profile("LocalFrequency", v2xBaseline=0.0, v2xFreqWattCurve=CURVE[:1])) == "InvalidSchedule"


def test_a_schedule_begins_at_zero_rises_and_has_a_start_where_its_kind_needs_one() -> None:
    candidate = profile("ChargingOnly", limit=1.0)
    schedule = candidate["chargingSchedule"][0]
    for starts, reason in (([0, 60], ""), ([1], "InvalidSchedule"), ([0, 0], "InvalidSchedule")):
        schedule["chargingSchedulePeriod"] = [{"startPeriod": start, "limit": 1.0} for start in starts]
        assert objection(candidate) == reason
    candidate["chargingProfileKind"] = "Relative"
    assert objection(candidate) == "InvalidSchedule"
    del schedule["startSchedule"]
    schedule["chargingSchedulePeriod"] = [{"startPeriod": 0, "limit": 1.0}]
    assert objection(candidate) == ""
    candidate["chargingProfileKind"] = "Absolute"
    assert objection(candidate) == "InvalidSchedule"
    candidate["chargingProfileKind"] = "Dynamic"
    schedule["chargingSchedulePeriod"] = [{"startPeriod": 0}]
    assert objection(candidate) == ""


@pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(
    "time", ["yesterday", "2026-02-30T00:00:00Z", "2026-11-20", "2026-11-20T25:00:00Z", "20261120T110000Z"]
)
def test_a_date_time_that_is_none_is_refused_in_every_version(dialect: Dialect, time: str) -> None:
    found = schemas(dialect).response("Heartbeat", {"currentTime": time})
    assert found is not None
    assert schemas(dialect).response("Heartbeat", {"currentTime": "2026-11-20T12:00:00.123+01:00"}) is None


def test_decimal_limits_of_1_6_are_multiples_of_a_tenth() -> None:
    def limit(value: float) -> dict[str, Any]:
        schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": value}]}
        return {"connectorId": 1, "csChargingProfiles": {
            "chargingProfileId": 1, "stackLevel": 0, "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Relative", "chargingSchedule": schedule,
        }}  # fmt: skip

    for tenths in range(-400, 400):
        assert schemas(V16).request("SetChargingProfile", limit(tenths / 10)) is None
    assert schemas(V16).request("SetChargingProfile", limit(0.05)) is not None


def every_schema() -> Iterator[tuple[Schemas, str]]:
    for dialect in ALL:
        for action in sorted(schemas(dialect).actions):
            yield schemas(dialect), action


def test_every_schema_of_every_version_can_be_built() -> None:
    count = 0
    for known, action in every_schema():
        known.request(action, {})
        count += 1
        if action not in known.sends:
            known.response(action, {})
            count += 1
    assert count == 78 + 128 + 181  # files in the package
