"""DER controls: what is set is executed or refused with a reason, ranked, reported, told, and kept over power."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.der_map import KINDS, NotMapped, alarm_of, table_of
from firmware.bridges.ocpp.dialect import V21
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.view import Ability, Phase, Tripped
from firmware.grid_support.controls import control_of
from firmware.services.back_end import ControlsPort, controls_of
from firmware.services.grid_controls import Controls
from tests.ocpp.back_end import WALL_S, BackEnd, station, view
from tests.sim.rig import board

VOLT_VAR = {"curveData": [{"x": 92, "y": 44}, {"x": 108, "y": -44}], "yUnit": "PctMaxVar", "priority": 1}


def at(seconds: float) -> str:
    return times.show(WALL_S + seconds)


class Book:
    """A station with services' own book of controls; time is moved by `look`."""

    def __init__(self, run_dir: Path, box: Outbox | None = None, now: float = 0.0) -> None:
        self.now = now
        self.controls = Controls(run_dir, board(), WALL_S + now)
        ability = Ability(nominal_f_hz=60.0, entry_ramp="ramp_duration_s")
        grid = ControlsPort(self.controls, lambda change: change(WALL_S + self.now))
        self.charger, self.box, self.said = station(box, ability=ability, grid=grid)
        self.peer = BackEnd(V21)
        self.trip: Tripped | None = None
        self.look(now)
        self.charger.connected(now, V21)
        self.look(now)

    def look(self, now: float) -> None:
        self.now = now
        self.controls.advance(WALL_S + now)
        self.charger.observe(view(now, Phase.FREE, controls=controls_of(self.controls, WALL_S + now), trip=self.trip))
        self.peer.settle(self.charger, now)

    def ask(self, action: str, **payload: Any) -> Any:
        answer = self.peer.ask(self.charger, action, payload, self.now)
        self.peer.settle(self.charger, self.now)
        return answer

    def set(self, id: str, kind: str = "VoltVar", *, default: bool = False, **body: Any) -> Any:
        payload = body.pop("payload", "curve")
        content = {**(VOLT_VAR if payload == "curve" else {}), **body}
        return self.ask("SetDERControl", isDefault=default, controlId=id, controlType=kind, **{payload: content})

    def reports(self, **asked: Any) -> dict[str, Any]:
        """id -> entry of what is reported."""
        before = len(self.peer.told("ReportDERControl"))
        assert self.ask("GetDERControl", requestId=5, **asked) == {"status": "Accepted"}
        found = self.peer.told("ReportDERControl")[before:]
        assert [report["tbc"] for report in found] == [True] * (len(found) - 1) + [False]
        entries = [entry for report in found for value in report.values() if isinstance(value, list) for entry in value]
        return {entry["id"]: entry for entry in entries}

    def starts(self) -> list[dict[str, Any]]:
        return self.peer.told("NotifyDERStartStop")


# -------------------------------------------------------------------------------------------------------- the mapping
CONTROLS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    # controlType: (payload's name, payload, what our control has)
    "EnterService": (
        "enterService",
        {"highVoltage": 105, "lowVoltage": 95, "highFreq": 60.1, "lowFreq": 59.9, "delay": 300, "rampRate": 200},
        {"v_max": 1.05, "v_min": 0.95, "f_max": 60.1, "f_min": 59.9, "delay_s": 300.0, "ramp_duration_s": 200.0},
    ),
    "Gradients": ("gradient", {"gradient": 20, "softGradient": 0}, {"normal_pu_per_s": 0.05}),
    "FreqDroop": (
        "freqDroop",
        {"overFreq": 60.036, "underFreq": 59.964, "overDroop": 0.05, "underDroop": 0.04, "responseTime": 5},
        {"db_of_hz": 0.036, "db_uf_hz": 0.036, "k_of": 0.05, "k_uf": 0.04, "response_s": 5.0},
    ),
    "VoltWatt": (
        "curve",
        {"curveData": [{"x": 106, "y": 100}, {"x": 110, "y": 0}], "yUnit": "PctMaxW", "responseTime": 10},
        {"points": [[1.06, 1.0], [1.1, 0.0]], "response_s": 10.0},
    ),
    # + is injecting there, + is absorbing here.
    "VoltVar": (
        "curve",
        {**VOLT_VAR, "reactivePowerParams": {"vRef": 101}},
        {"points": [[0.92, -0.44], [1.08, 0.44]], "vref_pu": 1.01},
    ),
    # + is discharging and injecting there; both turn, and so does the order of the points.
    "WattVar": (
        "curve",
        {"curveData": [{"x": 50, "y": 0}, {"x": 100, "y": -44}], "yUnit": "PctMaxVar"},
        {"points": [[-1.0, 0.44], [-0.5, 0.0]]},
    ),
    # x turns as that of WattVar, and so does the order of the points; y is + = absorbing on both sides.
    "WattPF": (
        "curve",
        {"curveData": [{"x": 50, "y": 1}, {"x": 100, "y": 0.9}], "yUnit": "Not_Applicable", "responseTime": 10},
        {"points": [[-1.0, 0.9], [-0.5, 1.0]], "response_s": 10.0},
    ),
    # + is charging on both sides.
    "FreqWatt": (
        "curve",
        {"curveData": [{"x": 60.2, "y": -100}, {"x": 61.2, "y": 50}], "yUnit": "PctMaxW", "responseTime": 0},
        {"points": [[60.2, -1.0], [61.2, 0.5]], "response_s": 0.0},
    ),
    "FixedPFAbsorb": ("fixedPFAbsorb", {"displacement": 0.95, "excitation": True}, {"pf": 0.95, "absorbing": 1}),
    "FixedPFInject": ("fixedPFInject", {"displacement": 0.9, "excitation": False}, {"pf": 0.9, "absorbing": 0}),
    "FixedVar": ("fixedVar", {"setpoint": -30, "unit": "PctMaxVar"}, {"q_pu": 0.3}),
    "LimitMaxDischarge": ("limitMaxDischarge", {"pctMaxDischargePower": 30}, {"charge_pu": 1.0, "discharge_pu": 0.3}),
    **{
        kind: (
            "curve",
            {"curveData": [{"x": x, "y": 0.16}], "yUnit": "Not_Applicable"},
            {"points": [[x / 100 if kind[1] == "V" else x, 0.16]]},
        )
        for kind, x in (
            ("HVMustTrip", 120.0),
            ("LVMustTrip", 50.0),
            ("HFMustTrip", 62.0),
            ("LFMustTrip", 56.5),
            ("HVMayTrip", 115.0),
            ("LVMayTrip", 60.0),
            ("HFMayTrip", 61.5),
        )
    },
    "HVMomCess": (
        "curve",
        {"curveData": [{"x": 115, "y": 1}, {"x": 110, "y": 12}], "yUnit": "Not_Applicable"},
        {"threshold_pu": 1.1},
    ),
    "LVMomCess": (
        "curve",
        {"curveData": [{"x": 30, "y": 1}, {"x": 50, "y": 12}], "yUnit": "Not_Applicable"},
        {"threshold_pu": 0.5},
    ),
}
ABILITY = Ability(nominal_f_hz=60.0, entry_ramp="ramp_duration_s")


def request(kind: str, payload: str, body: dict[str, Any], *, default: bool = True) -> dict[str, Any]:
    return {"isDefault": default, "controlId": "c", "controlType": kind, payload: {**body, "priority": 3}}


def test_every_type_that_is_supported_is_in_the_table_of_this_test() -> None:
    assert set(CONTROLS) == set(KINDS)


@pytest.mark.parametrize("kind", CONTROLS)
def test_a_control_becomes_ours_with_our_signs_and_units(kind: str) -> None:
    payload, body, ours = CONTROLS[kind]
    table = table_of(request(kind, payload, body), ABILITY)
    control = control_of(table, WALL_S, "csms")
    assert (control.kind.value, control.priority, control.is_default) == (KINDS[kind], 3, True)
    assert [list(p) for p in control.points] == [pytest.approx(p) for p in ours.get("points", [])]
    assert dict(control.numbers) == {k: pytest.approx(v) for k, v in ours.items() if k != "points"}


@pytest.mark.parametrize(
    ("kind", "payload", "body", "words"),
    [
        ("VoltVar", "curve", {**VOLT_VAR, "hysteresis": {"hysteresisHigh": 1}}, "hysteresis is not supported"),
        ("VoltVar", "curve", {**VOLT_VAR, "yUnit": "PctVarAvail"}, "yUnit PctVarAvail is not supported"),
        ("VoltVar", "curve", {**VOLT_VAR, "yUnit": "PctMaxW"}, "VoltVar has yUnit PctMaxW"),
        (
            "VoltVar",
            "curve",
            {**VOLT_VAR, "reactivePowerParams": {"autonomousVRefEnable": True}},
            "needs autonomousVRefTimeConstant",
        ),
        ("VoltVar", "curve", {**VOLT_VAR, "curveData": [{"x": 230, "y": 0}]}, "x = 230; allowed: 0 to 200"),
        ("FreqDroop", "freqDroop", {**CONTROLS["FreqDroop"][1], "overFreq": 50.2}, "60 Hz must lie between"),
        ("EnterService", "enterService", {**CONTROLS["EnterService"][1], "randomDelay": 60}, "randomDelay"),
        ("EnterService", "enterService", {**CONTROLS["EnterService"][1], "highVoltage": 253}, "highVoltage = 253"),
        ("LimitMaxDischarge", "limitMaxDischarge", {}, "needs pctMaxDischargePower"),
        ("Gradients", "gradient", {"gradient": -1, "softGradient": 0}, "gradient = -1 s is negative"),
        ("FixedVar", "fixedVar", {"setpoint": 120, "unit": "PctMaxVar"}, "setpoint = 120"),
        ("FreqWatt", "curve", {**CONTROLS["FreqWatt"][1], "yUnit": "PctWAvail"}, "yUnit PctWAvail is not supported"),
        ("FreqWatt", "curve", {**CONTROLS["FreqWatt"][1], "yUnit": "PctMaxVar"}, "FreqWatt has yUnit PctMaxVar"),
        ("WattPF", "curve", {**CONTROLS["WattPF"][1], "curveData": [{"x": 0, "y": 95}]}, "y = 95; allowed: -1 to 1"),
        (
            "HVMustTrip",
            "curve",
            {**CONTROLS["HVMustTrip"][1], "voltageParams": {"hv10MinMeanValue": 110, "hv10MinMeanTripDelay": 3}},
            "hv10MinMeanValue is not supported",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_and_not_left_out(kind: str, payload: str, body: Any, words: str) -> None:
    with pytest.raises(NotMapped, match=words):
        table_of(request(kind, payload, body), ABILITY)


@pytest.mark.parametrize(
    ("trip", "expected"),
    [
        (Tripped("OV2", 0.0, 1.25, 1.2, "pu", "", False), ("HVMustTrip", "OverVoltage")),
        (Tripped("UV1", 0.0, 0.4, 0.5, "pu", "", False), ("LVMustTrip", "UnderVoltage")),
        (Tripped("OF1", 0.0, 52.0, 51.5, "Hz", "", False), ("HFMustTrip", "OverFrequency")),
        (Tripped("UF1", 0.0, 47.0, 47.5, "Hz", "", False), ("LFMustTrip", "UnderFrequency")),
        (Tripped("ROCOF", 0.0, 3.0, 2.0, "Hz/s", "", False, "rising"), ("HFMustTrip", "")),
        (Tripped("ROCOF", 0.0, 3.0, 2.0, "Hz/s", "", False, "falling"), ("LFMustTrip", "")),
        (Tripped("ISLAND", 0.0, 9.0, 2.0, "Hz", "", False), ("EnterService", "")),
        (Tripped("ISLAND", 0.0, 9.0, 5.0, "Hz/s", "", False), ("EnterService", "")),
        (Tripped("SENSE", 0.0, 0.12, 0.1, "s", "", False), ("EnterService", "")),
    ],
)
def test_a_trip_has_its_fault_by_its_numbers(trip: Tripped, expected: tuple[str, str]) -> None:
    assert alarm_of(trip) == expected
