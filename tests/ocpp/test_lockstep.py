"""What the back end asks for, seen at the terminals of the simulated charger."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.ocpp import times
from hil.plant.ac import IslandLoad
from hil.plant.grid_source import toledo
from tests.ocpp.back_end import WALL_S
from tests.ocpp.lockstep import Charger, tx_profile
from tests.sim.rig import ALP, IEEE, NOMINAL_V, VDE, ask, dc_w, events, faults, idle, snap, transfer

pytestmark = pytest.mark.slow


def test_a_central_setpoint_of_minus_7_kw_is_at_the_meter_within_one_second() -> None:
    charger = Charger(transfer(0.0, IEEE))
    asked = charger.ask(
        "SetChargingProfile",
        tx_profile(charger.tx, {"operationMode": "CentralSetpoint", "setpoint": -7000}, id=7),
    )
    assert asked == {"status": "Accepted"}
    charger.run(1.0)
    assert dc_w(charger.sim) == pytest.approx(-7_000.0, rel=0.02)
    assert "profile 7 (TxProfile, CentralSetpoint)" in snap(charger.sim).asked_reason
    assert snap(charger.sim).asked_by == "back end"


def mean_var(charger: Charger) -> float:
    """Measured reactive power over two seconds: anti-islanding alternates it by 4.5 % of the active power."""
    found = []
    for _ in range(20):
        charger.run(0.1)
        q_var = snap(charger.sim).q_ac_var
        assert q_var is not None
        found.append(q_var)
    return sum(found) / len(found)


def test_a_volt_var_curve_by_ocpp_changes_the_measured_reactive_power(tmp_path: Path) -> None:
    charger = Charger(transfer(-15_000.0, IEEE), run_dir=tmp_path)
    charger.requests.ask(charger.sim.now, "operator", -15_000.0, 600.0)
    charger.run(3.0)
    assert abs(mean_var(charger)) < 700.0
    curve = {
        "curveData": [{"x": 80, "y": -20}, {"x": 120, "y": -20}],  # absorbs 20 % at every voltage
        "yUnit": "PctMaxVar",
        "priority": 0,
        "responseTime": 2,
    }
    request = {"isDefault": True, "controlId": "vv", "controlType": "VoltVar", "curve": curve}
    assert charger.ask("SetDERControl", request) == {"status": "Accepted"}
    charger.run(8.0)
    assert mean_var(charger) == pytest.approx(0.2 * 22_000.0, abs=700.0)  # + = absorbing
    assert charger.ask("ClearDERControl", {"isDefault": True, "controlId": "vv"}) == {"status": "Accepted"}
    charger.run(20.0)
    assert abs(mean_var(charger)) < 700.0


@pytest.mark.parametrize("power_w", [-15_000.0, 15_000.0])
def test_a_watt_pf_curve_by_ocpp_absorbs_when_it_discharges_and_injects_when_it_charges(
    tmp_path: Path, power_w: float
) -> None:
    charger = Charger(transfer(power_w, IEEE), run_dir=tmp_path)
    charger.requests.ask(charger.sim.now, "operator", power_w, 600.0)
    charger.run(3.0)
    assert abs(mean_var(charger)) < 700.0
    points = [{"x": -100, "y": -0.88}, {"x": 0, "y": 1}, {"x": 100, "y": 0.88}]  # x: + discharges, y: + absorbs
    curve = {"curveData": points, "yUnit": "Not_Applicable", "priority": 0, "responseTime": 2}
    request = {"isDefault": True, "controlId": "pf", "controlType": "WattPF", "curve": curve}
    assert charger.ask("SetDERControl", request) == {"status": "Accepted"}
    charger.run(8.0)
    q_var, p_w = mean_var(charger), abs(charger.sim.link.ac_p_w)
    wanted = p_w * math.tan(math.acos(1.0 - 0.12 * p_w / 22_000.0))
    assert wanted > 5_000.0
    assert q_var == pytest.approx(-math.copysign(wanted, power_w), abs=700.0)


@pytest.mark.parametrize(
    ("power_w", "f_hz", "level_w"),
    [(-12_000.0, 60.5, -2_200.0), (12_000.0, 59.6, 1_100.0)],
    ids=["discharging gives way", "charging gives way"],
)
def test_a_freq_watt_curve_by_ocpp_moves_the_measured_power_in_its_time_and_gives_it_back(
    tmp_path: Path, power_w: float, f_hz: float, level_w: float
) -> None:
    """More than the droop of IEEE 1547, which is in force beside it, would take: 3.4 kW at 60.5 Hz, 2.7 at 59.6."""
    charger = Charger(transfer(power_w, IEEE), run_dir=tmp_path)
    sim = charger.sim
    charger.requests.ask(sim.now, "operator", power_w, 600.0)
    curve = {
        "curveData": [{"x": 59.6, "y": 5}, {"x": 59.9, "y": 100}, {"x": 60.1, "y": -100}, {"x": 60.5, "y": -10}],
        "yUnit": "PctMaxW",
        "priority": 0,
        "responseTime": 4,
    }
    request = {"isDefault": True, "controlId": "fw", "controlType": "FreqWatt", "curve": curve}
    assert charger.ask("SetDERControl", request) == {"status": "Accepted"}
    charger.run(2.0)
    begin_w = sim.link.ac_p_w
    assert begin_w == pytest.approx(power_w, rel=0.05)
    sim.source.set_frequency(f_hz)  # type: ignore[attr-defined]
    charger.run(4.3)  # 0.3 s: measurement, look, ramp
    assert sim.link.ac_p_w == pytest.approx(begin_w + 0.9 * (level_w - begin_w), abs=400.0)
    assert "by freq_watt (control fw of back end)" in snap(sim).limited_by
    charger.run(12.0)
    assert sim.link.ac_p_w == pytest.approx(level_w, abs=250.0)
    sim.source.set_frequency(60.0)  # type: ignore[attr-defined]
    charger.run(15.0)
    assert sim.link.ac_p_w == pytest.approx(begin_w, rel=0.05)


def hv_must_trip(first_s: float, second_s: float = 0.16) -> dict[str, Any]:
    curve = {
        "curveData": [{"x": 110, "y": first_s}, {"x": 120, "y": second_s}],
        "yUnit": "Not_Applicable",
        "priority": 0,
    }
    return {"isDefault": True, "controlId": "ov", "controlType": "HVMustTrip", "curve": curve}


@pytest.mark.parametrize(("seconds", "trips_at_s"), [(None, 13.0), (12.5, 12.5)])
def test_a_hv_must_trip_curve_moves_the_trip_and_the_alarm_comes_with_its_fault(
    tmp_path: Path, seconds: float | None, trips_at_s: float
) -> None:
    charger = Charger(transfer(-5_000.0, IEEE), run_dir=tmp_path)
    if seconds is not None:
        assert charger.ask("SetDERControl", hv_must_trip(seconds)) == {"status": "Accepted"}
    charger.run(1.0)
    since_s = charger.sim.now
    charger.sim.source.set_voltage(1.15 * NOMINAL_V)
    charger.run(16.0)
    (trip,) = events(charger.sim, "grid_trip", since_s)
    assert trip.t - since_s == pytest.approx(trips_at_s, abs=0.12)
    ceased, over, alarm = charger.peer.told("NotifyDERAlarm")
    assert (ceased["controlType"], over["controlType"]) == ("HVMomCess", "HVMomCess")  # 1.15 pu is above 1.1 pu
    assert over["alarmEnded"] is True
    assert (alarm["controlType"], alarm["gridEventFault"]) == ("HVMustTrip", "OverVoltage")
    assert times.parse(alarm["timestamp"]) - WALL_S == pytest.approx(trip.t, abs=0.02)
    charger.sim.source.set_voltage(NOMINAL_V)
    charger.run(30.0)
    trips = [a for a in charger.peer.told("NotifyDERAlarm") if a["controlType"] == "HVMustTrip"]
    assert [a.get("alarmEnded", False) for a in trips] == [False, True]


@pytest.mark.parametrize(
    ("curve", "words"),
    [(hv_must_trip(2.0), "must be ridden through"), (hv_must_trip(13.0, 0.01), "0.16")],
)
def test_a_trip_outside_of_its_range_is_refused_with_a_reason(
    tmp_path: Path, curve: dict[str, Any], words: str
) -> None:
    charger = Charger(idle(IEEE), run_dir=tmp_path)
    answer = charger.ask("SetDERControl", curve)
    assert answer["status"] == "Rejected"
    assert words in answer["statusInfo"]["additionalInfo"]
    assert charger.controls is not None
    assert not charger.controls.book.controls


def test_local_frequency_follows_the_iberian_frequency_into_the_collapse_without_the_back_end() -> None:
    """28 April 2025, the last minute before the trip; the connection ends two seconds after the profile was set."""
    charger = Charger(transfer(0.0, VDE), code=VDE)
    sim = charger.sim
    ask(sim, -3_000.0)
    sim.run(sim.now + 90.0)  # VDE-AR-N 4105 lets power rise by 10 % of rated a minute after entering service
    sim.plant.set_source(toledo(1141.0 - sim.now))
    curve = [{"frequency": 49.8, "power": -1_200}, {"frequency": 50.2, "power": 1_200}]
    period = {"operationMode": "LocalFrequency", "v2xBaseline": -1_600, "v2xFreqWattCurve": curve}
    assert charger.ask("SetChargingProfile", tx_profile(charger.tx, period)) == {"status": "Accepted"}
    charger.run(2.0)
    charger.disconnect()
    errors, span = [], []
    while snap(sim).grid_state == "connected" and len(span) < 60:
        charger.run(1.0)
        f_hz = sim.plant.source.course(sim.now - 0.2)[1]  # 0.2 s: measurement, look, ramp
        wanted_w = -1_600.0 + max(min(f_hz - 50.0, 0.2), -0.2) * 6_000.0
        errors.append(abs(dc_w(sim) - wanted_w))
        span.append(dc_w(sim))
    assert max(errors[:30]) < 80.0  # 30 W: 5 mHz of the measurement
    assert min(span) == pytest.approx(-2_800.0, abs=50.0)
    assert max(span) - min(span) > 1_000.0
    assert "profile 7 (TxProfile, LocalFrequency)" in snap(sim).asked_reason
    assert "the back end has been away for" in snap(sim).asked_reason


def test_a_cessation_is_told_with_its_fault_when_it_begins_and_when_power_is_back(tmp_path: Path) -> None:
    charger = Charger(transfer(-5_000.0, IEEE), run_dir=tmp_path)
    charger.sim.source.set_voltage(0.4 * NOMINAL_V)
    charger.run(0.5)
    charger.sim.source.set_voltage(NOMINAL_V)
    charger.run(1.0)
    begun, over = charger.peer.told("NotifyDERAlarm")
    assert (begun["controlType"], begun["gridEventFault"]) == ("LVMomCess", "UnderVoltage")
    assert "alarmEnded" not in begun
    assert (over["controlType"], over["alarmEnded"]) == ("LVMomCess", True)
    assert 0.4 <= times.parse(over["timestamp"]) - times.parse(begun["timestamp"]) <= 0.8


def alarms(charger: Charger) -> list[dict[str, Any]]:
    return charger.peer.told("NotifyDERAlarm")


def test_an_island_is_told_without_a_fault_of_the_grid_and_its_end_when_the_charger_is_connected_again(
    tmp_path: Path,
) -> None:
    """A balanced island with a quality factor of 1: anti-islanding finds it, no frequency or voltage limit does."""
    charger = Charger(transfer(-10_000.0, IEEE), run_dir=tmp_path)
    sim = charger.sim
    charger.requests.ask(sim.now, "operator", -10_000.0, 600.0)
    charger.run(4.0)  # until that power flows again
    link, ac = sim.link, sim.plant.ac
    before, load = ac.load, IslandLoad.tuned(-link.ac_p_w, 1.0, link.pcc_va_v, link.pcc_f_hz)
    ac.set_load(replace(load, c_f=load.c_f - ac.params.pcc_f))
    charger.run(0.5)
    assert alarms(charger) == []
    since_s = sim.now
    link.grid_switch_open = 1.0
    charger.run(2.5)
    (trip,) = events(sim, "grid_trip", since_s)
    (alarm,) = alarms(charger)
    assert (alarm["controlType"], "gridEventFault" in alarm, "alarmEnded" in alarm) == ("EnterService", False, False)
    assert "ISLAND" in alarm["extraInfo"]
    assert times.parse(alarm["timestamp"]) - WALL_S == pytest.approx(trip.t, abs=0.02)
    assert trip.t - since_s <= 2.0  # IEEE 1547-2018, clause 8.1.2
    ac.set_load(before)
    link.grid_switch_open = 0.0
    charger.run(30.0)
    told = [a.get("alarmEnded", False) for a in alarms(charger) if a["controlType"] == "EnterService"]
    assert told == [False, True]
    assert snap(sim).grid_state == "connected"


@pytest.mark.parametrize(
    ("from_hz", "to_hz", "kind"), [(50.0, 47.6, "LFMustTrip"), (49.0, 51.4, "HFMustTrip")], ids=["falling", "rising"]
)
def test_a_rate_of_change_is_told_under_the_trip_of_its_direction_without_a_fault(
    tmp_path: Path, from_hz: float, to_hz: float, kind: str
) -> None:
    """3.2 Hz/s against the 2.5 Hz/s for 0.5 s of the Swedish profile, and no frequency beyond its trips."""
    charger = Charger(transfer(0.0, ALP), run_dir=tmp_path, code=ALP)
    sim = charger.sim
    sim.source.ramp(2.0, f_hz=from_hz)  # type: ignore[attr-defined]
    charger.run(2.5)
    assert alarms(charger) == []
    since_s = sim.now
    sim.source.ramp(0.75, f_hz=to_hz)  # type: ignore[attr-defined]
    charger.run(2.0)
    (trip,) = events(sim, "grid_trip", since_s)
    assert trip.t - since_s == pytest.approx(0.65, abs=0.15)  # 0.5 s, and the window of the measurement
    (alarm,) = alarms(charger)
    assert (alarm["controlType"], "gridEventFault" in alarm, "alarmEnded" in alarm) == (kind, False, False)
    assert "Hz/s" in alarm["extraInfo"]
    assert times.parse(alarm["timestamp"]) - WALL_S == pytest.approx(trip.t, abs=0.02)


def test_evse_sleep_switches_the_converter_off_behind_closed_contactors_and_the_next_set_point_wakes_it() -> None:
    charger = Charger(transfer(-5_000.0, IEEE))
    sim = charger.sim

    asked = charger.ask("SetChargingProfile", tx_profile(charger.tx, {"operationMode": "Idle", "evseSleep": True}))
    assert asked == {"status": "Accepted"}
    charger.run(4.0)
    assert abs(dc_w(sim)) < 50.0
    assert sim.link.conv_on == 1.0, "it was switched off before it was known that nobody wants power"
    charger.run(6.0)
    assert (sim.link.conv_on, sim.link.k_dc, sim.link.k_grid) == (0.0, 1.0, 1.0)
    charger.run(15.0)
    assert (snap(sim).state, faults(sim)) == ("transfer: holding", [])
    asked = charger.ask(
        "SetChargingProfile",
        tx_profile(charger.tx, {"operationMode": "CentralSetpoint", "setpoint": 7_000}, id=8, stack=1),
    )
    assert asked == {"status": "Accepted"}
    charger.run(2.0)
    assert dc_w(sim) == pytest.approx(7_000.0, rel=0.02)
    assert faults(sim) == []


def test_a_remote_start_lets_the_whole_charger_run_and_a_remote_stop_ends_it_until_it_is_started_again() -> None:
    """From the free outlet to power at the plant and back to open contactors, by the back end's word alone."""
    charger = Charger(idle(IEEE))
    sim = charger.sim
    enabled = {"component": {"name": "AuthCtrlr"}, "variable": {"name": "Enabled"}, "attributeValue": "true"}
    charger.ask("SetVariables", {"setVariableData": [enabled]})
    sim.car.plug_in()
    charger.run(5.0)
    assert sim.link.k_dc == 0.0, "a car got contactors without anybody's leave"
    assert charger.peer.told("TransactionEvent") == []
    profile = tx_profile("", {"operationMode": "CentralSetpoint", "setpoint": -7000})["chargingProfile"]
    del profile["transactionId"]
    start = {"idToken": {"idToken": "Alice", "type": "Central"}, "remoteStartId": 1, "chargingProfile": profile}
    assert charger.ask("RequestStartTransaction", start)["status"] == "Accepted"
    for _ in range(45):
        charger.run(1.0)
        if dc_w(sim) == pytest.approx(-7_000.0, rel=0.02):
            break
    else:
        pytest.fail(snap(sim).why)
    charger.run(3.0)
    tx = charger.tx
    assert charger.ask("RequestStopTransaction", {"transactionId": tx}) == {"status": "Accepted"}
    charger.run(5.0)
    assert sim.link.k_dc == 0.0
    charger.run(5.0)
    assert sim.link.k_dc == 0.0, "the car that stayed was let in again"
    events = charger.peer.told("TransactionEvent")
    assert {event["transactionInfo"]["transactionId"] for event in events} == {tx}
    assert (events[0]["eventType"], events[0]["transactionInfo"]["remoteStartId"]) == ("Started", 1)
    assert (events[-1]["eventType"], events[-1]["triggerReason"]) == ("Ended", "RemoteStop")
    assert events[-1]["transactionInfo"]["stoppedReason"] == "Remote"
    assert [event["seqNo"] for event in events] == list(range(len(events)))
    values = {v["measurand"]: v["value"] for v in events[-1]["meterValue"][0]["sampledValue"]}
    assert values["Energy.Active.Export.Register"] > 5.0
    assert charger.ask("RequestStartTransaction", start | {"remoteStartId": 2})["status"] == "Accepted"
    charger.run(8.0)
    assert sim.link.k_dc == 1.0, "the second start led to nothing"


def test_an_energy_limit_of_the_transaction_ends_the_power_and_a_higher_one_lets_it_go_on() -> None:
    charger = Charger(transfer(0.0, IEEE))
    sim, peer = charger.sim, charger.peer

    def charged_wh() -> float:
        snapshot = sim.services.snapshot
        assert snapshot is not None
        return float(snapshot.charged_wh)

    start_wh = charger.station.transactions.recall("start_wh")
    peer.answers["TransactionEvent"] = {"transactionLimit": {"maxEnergy": 10.0}}
    charger.ask("SetChargingProfile", tx_profile(charger.tx, {"limit": 15_000.0}))
    charger.run(2.0)
    assert dc_w(sim) == pytest.approx(15_000.0, rel=0.05)
    charger.run(2.5)
    assert abs(dc_w(sim)) < 100.0
    assert 10.0 <= charged_wh() - start_wh < 12.0  # a look, and the way down from 15 kW
    charger.run(0.5)
    (event,) = [e for e in peer.told("TransactionEvent") if e["triggerReason"] == "EnergyLimitReached"]
    assert event["transactionInfo"]["chargingState"] == "SuspendedEVSE"
    charger.requests.ask(sim.now, "operator", 10_000.0, 600.0)
    charger.run(1.0)
    assert abs(dc_w(sim)) < 100.0  # it is a bound for whoever asks
    charger.requests.withdraw("operator")
    peer.answers["TransactionEvent"] = {"transactionLimit": {"maxEnergy": 10_000.0}}
    charger.ask("TriggerMessage", {"requestedMessage": "TransactionEvent"})
    charger.run(2.0)
    assert dc_w(sim) == pytest.approx(15_000.0, rel=0.05)
    assert charger.station.transactions.recall("limit") == {"maxEnergy": 10_000.0}
