"""Power decisions with a back end that nobody here wrote: npm `ocpp-rpc` in strict mode judges both directions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.dialect import V16, V21, V201, Dialect
from firmware.bridges.ocpp.view import External, Phase, Tripped
from tests.ocpp.back_end import WALL_S
from tests.ocpp.test_acceptance_q import AFRR, FREQUENCY, ISO20
from tests.ocpp.test_bridge import Desk, settings, until
from tests.ocpp.test_der import CONTROLS
from tests.ocpp.test_foreign import Foreign, package
from tests.ocpp.test_power_wire import Grid

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


def played(dialect: Dialect, package: Path, story: Any) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            "node", "server.js", dialect.subprotocol, cwd=package,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        foreign = Foreign(process)
        try:
            (_, port) = await until(lambda: next(iter(foreign.words("port")), None), "the port")
            async with Desk(settings(port), Grid()) as desk:
                desk.see(Phase.HOLDING, voltage_v=400.0)
                await until(lambda: desk.bridge.station.online, "registration")
                await until(lambda: len(desk.outbox) == 0 and desk.bridge.station.transactions.id, "a transaction")
                await story(desk, foreign)
                assert foreign.words("invalid") == foreign.words("bad") == []
                assert [sentence for sentence in desk.said if "failed" in sentence or "schema" in sentence] == []
        finally:
            await foreign.end()

    asyncio.run(main())


async def good(foreign: Foreign, action: str, payload: dict[str, Any]) -> dict[str, Any]:
    kind, _, answer = await foreign.call(action, payload)
    assert (kind, answer["status"]) == ("answer", "Accepted"), (action, answer)
    return dict(answer)


def told(foreign: Foreign, action: str) -> list[Any]:
    return [word[2] for word in foreign.words("told") if word[1] == action]


def test_smart_charging_and_all_calls_of_block_q_in_2_1(package: Path) -> None:
    async def story(desk: Desk, foreign: Foreign) -> None:
        station = desk.bridge.station
        tx = station.transactions.id or ""
        for id, period in (
            (1, {"limit": 9_000}),
            (2, {"operationMode": "CentralSetpoint", "setpoint": -7_000, "dischargeLimit": -8_000}),
            (3, FREQUENCY),
            (4, {"operationMode": "ExternalSetpoint", "limit": 8_000, "dischargeLimit": -6_000}),
            (5, {"operationMode": "Idle"}),
            (6, AFRR),
        ):
            await good(foreign, "SetChargingProfile", profile(tx, id, **period))
        await good(foreign, "AFRRSignal", {"timestamp": times.show(WALL_S), "signal": 50})
        dynamic = profile(tx, 7, kind="Dynamic", operationMode="CentralSetpoint", setpoint=0)
        dynamic["chargingProfile"]["dynUpdateInterval"] = 1
        await good(foreign, "SetChargingProfile", dynamic)
        update = {"chargingProfileId": 7, "scheduleUpdate": {"setpoint": -2_000, "limit": 5_000}}
        await good(foreign, "UpdateDynamicSchedule", update)
        await good(foreign, "GetCompositeSchedule", {"duration": 600, "evseId": 1})
        await good(foreign, "GetChargingProfiles", {"requestId": 1, "chargingProfile": {}})
        _, _, answer = await foreign.call("UsePriorityCharging", {"transactionId": tx, "activate": True})
        assert answer["status"] == "NoProfile"
        desk.see(Phase.DISCHARGING, (0.0, 1.0), car=ISO20, external=External(charge_w=4_000.0, source="ems"))
        await until(lambda: len(told(foreign, "ReportChargingProfiles")) == 7, "the reports")
        await until(lambda: told(foreign, "NotifyEVChargingNeeds"), "the needs")
        await good(foreign, "NotifyAllowedEnergyTransfer", {"transactionId": tx, "allowedEnergyTransfer": ["DC_BPT"]})
        await until(lambda: told(foreign, "NotifyChargingLimit"), "the limit")
        await until(lambda: told(foreign, "PullDynamicScheduleUpdate"), "the pull")
        await good(foreign, "ClearChargingProfile", {"chargingProfileId": 7})
        _, _, answer = await foreign.call("SetChargingProfile", profile(tx, 8, operationMode="LocalLoadBalancing"))
        assert answer["status"] == "Rejected"

    played(V21, package, story)


def test_der_set_get_clear_and_notices_in_2_1(package: Path) -> None:
    async def story(desk: Desk, foreign: Foreign) -> None:
        for kind, (payload, body, _) in CONTROLS.items():
            request = {"isDefault": True, "controlId": f"c-{kind}", "controlType": kind}
            if kind == "FreqDroop":
                body = {**body, "overFreq": 50.2, "underFreq": 49.8}
            if kind == "EnterService":
                body = {**body, "highFreq": 50.1, "lowFreq": 49.9}
            await good(foreign, "SetDERControl", {**request, payload: {"priority": 1, **body}})
        await good(foreign, "GetDERControl", {"requestId": 3})
        await until(lambda: len(told(foreign, "ReportDERControl")) == len(CONTROLS), "the reports")
        trip = Tripped("UF1", desk.view.t if desk.view else 0.0, 47.4, 47.5, "Hz", "Tripped by UF1", False)
        there = tuple((f"c-{kind}", True) for kind in CONTROLS)
        desk.see(Phase.HOLDING, trip=trip, controls=there)
        await until(lambda: told(foreign, "NotifyDERAlarm"), "the alarm")
        await good(foreign, "ClearDERControl", {"isDefault": True})
        _, _, answer = await foreign.call("GetDERControl", {"requestId": 4})
        assert answer["status"] == "NotFound"

    played(V21, package, story)


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
        await good(foreign, "SetChargingProfile", request)
        where = {"connectorId": 1} if dialect is V16 else {"evseId": 1}
        await good(foreign, "GetCompositeSchedule", {"duration": 600, **where})
        if dialect is V201:
            await good(foreign, "GetChargingProfiles", {"requestId": 1, "chargingProfile": {"stackLevel": 1}})
            await until(lambda: told(foreign, "ReportChargingProfiles"), "the report")
        await good(foreign, "ClearChargingProfile", {"id": 1} if dialect is V16 else {"chargingProfileId": 1})

    played(dialect, package, story)
