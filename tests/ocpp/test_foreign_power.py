"""Power decisions with a back end that nobody here wrote: npm `ocpp-rpc` in strict mode judges both directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.dialect import V16, V21, V201, Dialect
from firmware.bridges.ocpp.view import External, Phase, Tripped
from tests.ocpp.back_end import WALL_S
from tests.ocpp.foreign_peer import Foreign, Story, package, played
from tests.ocpp.test_acceptance_q import AFRR, FREQUENCY
from tests.ocpp.test_bridge import Desk
from tests.ocpp.test_car_plan import PLANNED
from tests.ocpp.test_der import CONTROLS
from tests.ocpp.test_power_wire import Grid
from tests.waiting import until

__all__ = ["package"]  # the fixture
pytestmark = pytest.mark.slow
START = "2026-01-01T00:00:00Z"
ACCEPTED = {"status": "Accepted"}


def profile(tx: str, id: int, *, kind: str = "Absolute", **period: Any) -> dict[str, Any]:
    plan: dict[str, Any] = {"id": 1, "chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, **period}]}
    if kind == "Absolute":
        plan["startSchedule"] = START
    body = {"id": id, "stackLevel": id, "chargingProfilePurpose": "TxProfile", "chargingProfileKind": kind}
    return {"evseId": 1, "chargingProfile": {**body, "transactionId": tx, "chargingSchedule": [plan]}}


def with_a_car(story: Story) -> Story:
    """The story begins when the transaction of a plugged-in car is told."""

    async def begun(desk: Desk, foreign: Foreign) -> None:
        desk.see(Phase.HOLDING, voltage_v=400.0)
        await until(lambda: desk.bridge.station.online, "registration")
        await until(lambda: len(desk.outbox) == 0 and desk.bridge.station.transactions.id, "a transaction")
        await story(desk, foreign)

    return begun


def test_smart_charging_and_all_calls_of_block_q_in_2_1(package: Path) -> None:
    async def story(desk: Desk, foreign: Foreign) -> None:
        station = desk.bridge.station
        tx = station.transactions.id or ""
        for id, period in (
            (1, {"limit": 9_000}),
            (2, {"operationMode": "CentralSetpoint", "setpoint": -7_000, "dischargeLimit": -8_000}),
            (3, FREQUENCY),
            (4, {"operationMode": "ExternalSetpoint", "limit": 8_000, "dischargeLimit": -6_000}),
            (5, {"operationMode": "Idle", "evseSleep": True}),
            (6, AFRR),
        ):
            await foreign.good("SetChargingProfile", profile(tx, id, **period))
            await foreign.good("GetCompositeSchedule", {"duration": 600, "evseId": 1})
        await foreign.good("AFRRSignal", {"timestamp": times.show(WALL_S), "signal": 50})
        dynamic = profile(tx, 7, kind="Dynamic", operationMode="CentralSetpoint", setpoint=0)
        dynamic["chargingProfile"]["dynUpdateInterval"] = 1
        await foreign.good("SetChargingProfile", dynamic)
        update = {"chargingProfileId": 7, "scheduleUpdate": {"setpoint": -2_000, "limit": 5_000}}
        await foreign.good("UpdateDynamicSchedule", update)
        zone = {
            "component": {"name": "ClockCtrlr"},
            "variable": {"name": "TimeZone"},
            "attributeValue": "Europe/Berlin",
        }
        _, _, answer = await foreign.call("SetVariables", {"setVariableData": [zone]})
        assert answer["setVariableResult"][0]["attributeStatus"] == "Accepted"
        night = profile(tx, 9, limit=7_000)
        night["chargingProfile"] |= {"chargingProfileKind": "Recurring", "recurrencyKind": "Daily"}
        night["chargingProfile"]["chargingSchedule"][0]["useLocalTime"] = True
        await foreign.good("SetChargingProfile", night)
        await foreign.good("GetCompositeSchedule", {"duration": 600, "evseId": 1})
        await foreign.good("ClearChargingProfile", {"chargingProfileId": 9})
        await foreign.good("GetChargingProfiles", {"requestId": 1, "chargingProfile": {}})
        _, _, answer = await foreign.call("UsePriorityCharging", {"transactionId": tx, "activate": True})
        assert answer["status"] == "NoProfile"
        desk.see(Phase.DISCHARGING, (0.0, 1.0), car=PLANNED, external=External(charge_w=4_000.0, source="ems"))
        await until(lambda: len(foreign.told("ReportChargingProfiles")) == 7, "the reports")
        await until(lambda: foreign.told("NotifyEVChargingNeeds"), "the needs")
        await foreign.good("NotifyAllowedEnergyTransfer", {"transactionId": tx, "allowedEnergyTransfer": ["DC_BPT"]})
        await foreign.good("NotifyAllowedEnergyTransfer", {"transactionId": tx, "allowedEnergyTransfer": ["DC"]})
        assert station.orders(0.0).car.charge_only
        _, _, answer = await foreign.call(
            "NotifyAllowedEnergyTransfer", {"transactionId": tx, "allowedEnergyTransfer": ["AC_BPT"]}
        )
        assert answer["status"] == "Rejected"
        await until(lambda: foreign.told("NotifyEVChargingSchedule"), "the car's plan")
        await until(lambda: station.orders(0.0).car.replan == 1, "its rejection")
        await until(lambda: foreign.told("NotifyChargingLimit"), "the limit")
        await until(lambda: foreign.told("PullDynamicScheduleUpdate"), "the pull")
        await foreign.good("ClearChargingProfile", {"chargingProfileId": 7})
        _, _, answer = await foreign.call("SetChargingProfile", profile(tx, 8, operationMode="LocalLoadBalancing"))
        assert answer["status"] == "Rejected"

    played(V21, package, with_a_car(story), Grid())


def test_der_set_get_clear_and_notices_in_2_1(package: Path) -> None:
    async def story(desk: Desk, foreign: Foreign) -> None:
        for kind, (payload, body, _) in CONTROLS.items():
            request = {"isDefault": True, "controlId": f"c-{kind}", "controlType": kind}
            if kind == "FreqDroop":
                body = {**body, "overFreq": 50.2, "underFreq": 49.8}
            if kind == "EnterService":
                body = {**body, "highFreq": 50.1, "lowFreq": 49.9}
            await foreign.good("SetDERControl", {**request, payload: {"priority": 1, **body}})
        await foreign.good("GetDERControl", {"requestId": 3})
        await until(lambda: len(foreign.told("ReportDERControl")) == len(CONTROLS), "the reports")
        trip = Tripped("UF1", desk.view.t if desk.view else 0.0, 47.4, 47.5, "Hz", "Tripped by UF1", False)
        there = tuple((f"c-{kind}", True) for kind in CONTROLS)
        desk.see(Phase.HOLDING, trip=trip, controls=there)
        await until(lambda: foreign.told("NotifyDERAlarm"), "the alarm")
        await foreign.good("ClearDERControl", {"isDefault": True})
        _, _, answer = await foreign.call("GetDERControl", {"requestId": 4})
        assert answer["status"] == "NotFound"

    played(V21, package, with_a_car(story), Grid())


@pytest.mark.parametrize("dialect", [V16, V201], ids=lambda d: d.name)
def test_charging_profiles_in_earlier_versions(dialect: Dialect, package: Path) -> None:
    async def story(desk: Desk, foreign: Foreign) -> None:
        request = profile(desk.bridge.station.transactions.id or "", 1, limit=9_000)
        if dialect is V16:
            body = request["chargingProfile"]
            plan = {key: value for key, value in body["chargingSchedule"][0].items() if key != "id"}
            old = {key: value for key, value in body.items() if key not in ("id", "transactionId")}
            old |= {"chargingProfileId": 1, "chargingSchedule": plan, "chargingProfilePurpose": "TxDefaultProfile"}
            request = {"connectorId": 1, "csChargingProfiles": old}
        await foreign.good("SetChargingProfile", request)
        where = {"connectorId": 1} if dialect is V16 else {"evseId": 1}
        await foreign.good("GetCompositeSchedule", {"duration": 600, **where})
        if dialect is V201:
            await foreign.good("GetChargingProfiles", {"requestId": 1, "chargingProfile": {"stackLevel": 1}})
            await until(lambda: foreign.told("ReportChargingProfiles"), "the report")
            desk.see(Phase.CHARGING, (1.0, 0.0), car=PLANNED)
            await until(lambda: foreign.told("NotifyEVChargingSchedule"), "the car's plan")
        await foreign.good("ClearChargingProfile", {"id": 1} if dialect is V16 else {"chargingProfileId": 1})

    played(dialect, package, with_a_car(story), Grid())
