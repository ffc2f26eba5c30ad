"""Against a back end that nobody here wrote: npm `ocpp-rpc` in strict mode, whose AJV judges both directions."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.client_keys import Keys
from firmware.bridges.ocpp.dialect import V21, Dialect
from firmware.bridges.ocpp.priority import PriorityCharging
from firmware.bridges.ocpp.view import Phase
from tests.ocpp.back_end import Hands
from tests.ocpp.certificates import Authority
from tests.ocpp.foreign_peer import Foreign, package, played
from tests.ocpp.test_bridge import Desk, unsupported
from tests.ocpp.test_priority import profile as priority_profile
from tests.ocpp.wire import ALL
from tests.waiting import until

__all__ = ["package"]  # the fixture
pytestmark = pytest.mark.slow
all_versions = pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)

_TOKEN = {"idToken": "Alice-1", "type": "Central"}
_BEAT = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
_POWER = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Power"}}
_FIRMWARE = {"location": "http://x/fw", "retrieveDateTime": "2026-01-01T00:00:00Z", "signingCertificate": "c",
             "signature": "s"}  # fmt: skip
_LOG = {"log": {"remoteLocation": "http://x/in"}, "logType": "SecurityLog", "requestId": 3}
_LATER = times.show(time.time() + 1e6)
# Whether it is 2.x -> calls to the device that are accepted.
DEVICE: dict[bool, tuple[tuple[str, dict[str, Any]], ...]] = {
    True: (
        ("GetVariables", {"getVariableData": [_BEAT]}),
        ("SetVariables", {"setVariableData": [_BEAT | {"attributeValue": "60"}]}),
        ("GetBaseReport", {"requestId": 1, "reportBase": "FullInventory"}),
        ("SendLocalList", {"versionNumber": 1, "updateType": "Full",
                           "localAuthorizationList": [{"idToken": _TOKEN, "idTokenInfo": {"status": "Accepted"}}]}),
        ("GetLocalListVersion", {}),
        ("ClearCache", {}),
        ("ChangeAvailability", {"operationalStatus": "Inoperative"}),
        ("ChangeAvailability", {"operationalStatus": "Operative"}),
        ("RequestStartTransaction", {"idToken": _TOKEN, "remoteStartId": 1}),
    ),
    False: (
        ("GetConfiguration", {}),
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"}),
        ("SendLocalList", {"listVersion": 1, "updateType": "Full",
                           "localAuthorizationList": [{"idTag": "Alice-1", "idTagInfo": {"status": "Accepted"}}]}),
        ("GetLocalListVersion", {}),
        ("ClearCache", {}),
        ("ChangeAvailability", {"connectorId": 0, "type": "Inoperative"}),
        ("ChangeAvailability", {"connectorId": 0, "type": "Operative"}),
        ("RemoteStartTransaction", {"idTag": "Alice-1"}),
    ),
}  # fmt: skip


def _report_is_whole(foreign: Foreign) -> bool:
    return len(foreign.told("NotifyReport")) >= 4


@all_versions
def test_a_session_with_discharge_without_a_schema_error_in_either_direction(dialect: Dialect, package: Path) -> None:
    async def story(desk: Desk, foreign: Foreign) -> None:
        desk.see(Phase.FREE)
        await until(lambda: desk.bridge.station.online, "registration")
        for phase, exported_wh in ((Phase.CHARGING, 0.0), (Phase.DISCHARGING, 40.5)):
            await desk.seen(phase, (10.0, exported_wh))

        def metered() -> bool:
            desk.see(Phase.DISCHARGING, (10.0, 41.0))
            contexts = {v["context"] for word in foreign.words("told") for m in word[2].get("meterValue", ())
                        for v in m["sampledValue"]}  # fmt: skip
            return "Sample.Periodic" in contexts

        await until(metered, "meter values by the interval")
        if dialect is V21:  # the server limits each transaction

            def confirmed() -> list[Any]:
                desk.see(Phase.DISCHARGING, (10.0, 41.0))
                infos = [event["transactionInfo"] for event in foreign.told("TransactionEvent")]
                return [info["transactionLimit"] for info in infos if "transactionLimit" in info]

            assert await until(confirmed, "the limit, confirmed") == [{"maxTime": 100_000}]
        await desk.seen(Phase.FREE, (10.0, 50.0))
        await until(lambda: len(desk.outbox) == 0, "an empty queue")
        for action, payload, expected in (
            ("TriggerMessage", {"requestedMessage": "Heartbeat"}, ["answer", {"status": "Accepted"}]),
            ("DataTransfer", {"vendorId": "v"}, ["answer", {"status": "UnknownVendorId"}]),
            (*unsupported(dialect), ["refused", "NotSupported"]),
        ):
            kind, _, what = await foreign.call(action, payload)
            assert [kind, what] == expected, action
        for action, payload in DEVICE[dialect.two]:
            kind, _, what = await foreign.call(action, payload)
            assert kind == "answer", (action, what)
            assert what.get("status", "Accepted") == "Accepted", (action, what)
        if dialect.two:
            await until(lambda: _report_is_whole(foreign), "the report")
        await until(lambda: foreign.told("Heartbeat"), "the heartbeat")
        told = [word[1] for word in foreign.words("told")]
        assert told[:2] == ["BootNotification", "StatusNotification"]
        needed = {"TransactionEvent"} if dialect.two else {"StartTransaction", "MeterValues", "StopTransaction"}
        assert needed <= set(told)

    played(dialect, package, story)


@all_versions
def test_a_session_that_the_back_end_authorizes_starts_stops_and_reserves(dialect: Dialect, package: Path) -> None:
    """Authorize, remote start and stop, UnlockConnector, ReserveNow and CancelReservation, Reset."""

    async def story(desk: Desk, foreign: Foreign) -> None:
        station = desk.bridge.station
        desk.see(Phase.FREE)
        await until(lambda: station.online, "registration")
        if dialect.two:
            place = {"component": {"name": "AuthCtrlr"}, "variable": {"name": "AuthorizeRemoteStart"}}
            await foreign.call("SetVariables", {"setVariableData": [place | {"attributeValue": "true"}]})
            reserve: dict[str, Any] = {"id": 4, "expiryDateTime": _LATER, "idToken": _TOKEN}
            start = ("RequestStartTransaction", {"idToken": _TOKEN, "remoteStartId": 1})
        else:
            await foreign.good("ChangeConfiguration", {"key": "AuthorizeRemoteTxRequests", "value": "true"})
            reserve = {"connectorId": 1, "expiryDate": _LATER, "idTag": "Alice-1", "reservationId": 4}
            start = ("RemoteStartTransaction", {"idTag": "Alice-1"})
        await foreign.good("ReserveNow", reserve)
        await foreign.good("CancelReservation", {"reservationId": 4})
        await foreign.good("ReserveNow", reserve)
        await foreign.good(*start)
        await until(lambda: foreign.told("Authorize"), "the question")
        await until(lambda: station.transactions.granted, "the grant")
        desk.see(Phase.PLUGGED)
        await until(lambda: station.transactions.authorized, "the transaction")
        desk.see(Phase.CHARGING, (5.0, 0.0))
        begun = "TransactionEvent" if dialect.two else "StartTransaction"
        await until(lambda: any(p.get("reservationId") == 4 for p in foreign.told(begun)), "the start")
        await until(lambda: len(desk.outbox) == 0, "an empty queue")
        if dialect.two:
            answer = await foreign.good(
                "UnlockConnector", {"evseId": 1, "connectorId": 1}, "OngoingAuthorizedTransaction"
            )
            stop: tuple[str, dict[str, Any]] = ("RequestStopTransaction", {"transactionId": station.transactions.id})
        else:
            answer = await foreign.good("UnlockConnector", {"connectorId": 1}, "NotSupported")
            stop = ("RemoteStopTransaction", {"transactionId": 1})
        assert answer
        await foreign.good(*stop)
        desk.see(Phase.ENDED, (6.0, 0.0))
        await until(lambda: station.transactions.id is None, "the end")
        desk.see(Phase.FREE, (6.0, 0.0))
        await foreign.good("Reset", {"type": "OnIdle" if dialect.two else "Soft"})
        await until(lambda: len(desk.outbox) == 0, "an empty queue")

    played(dialect, package, story, settings={"restarts": True})


@all_versions
def test_logs_firmware_roots_security_events_and_triggers(dialect: Dialect, package: Path, tmp_path: Path) -> None:
    hands = Hands()

    async def story(desk: Desk, foreign: Foreign) -> None:
        async def looking(count: Callable[[], int], wanted: int, what: str) -> None:
            """Until it has come to so many, the charger being looked at meanwhile."""

            def there() -> bool:
                desk.see(Phase.FREE)
                return count() == wanted

            await until(there, what)

        desk.see(Phase.FREE)
        await until(lambda: desk.bridge.station.online, "registration")
        await until(lambda: foreign.told("SecurityEventNotification"), "the event of the start")
        kind, old = "DiagnosticsStatusNotification", not dialect.two
        update = "SignedUpdateFirmware" if old else "UpdateFirmware"
        status = "SignedFirmwareStatusNotification" if old else "FirmwareStatusNotification"
        await foreign.good("GetLog", _LOG)
        await looking(lambda: len(hands.jobs), 1, "the upload")
        hands.end("log")
        await looking(lambda: len(foreign.told("LogStatusNotification")), 2, "the statuses")
        await foreign.good(update, {"requestId": 5, "firmware": _FIRMWARE})
        for n in range(2, 5):
            await looking(lambda: len(hands.jobs), n, "the job")
            hands.end("firmware")
        await looking(lambda: len(foreign.told(status)), 5, "the statuses")
        root = Authority(tmp_path, "root", now_s=desk.bridge.station.wall_s(time.monotonic())).file.read_text()
        type_ = "CentralSystemRootCertificate" if old else "CSMSRootCertificate"
        await foreign.good("InstallCertificate", {"certificateType": type_, "certificate": root})
        found = await foreign.good("GetInstalledCertificateIds", {"certificateType": type_ if old else [type_]})
        (data,) = found["certificateHashData" if old else "certificateHashDataChain"]
        await foreign.good("DeleteCertificate", {"certificateHashData": data.get("certificateHashData", data)})
        if old:
            assert (await foreign.call("GetDiagnostics", {"location": "http://x/in"}))[0] == "answer"
            await looking(lambda: len(foreign.told(kind)), 1, "its status")
            for asked in ("LogStatusNotification", "FirmwareStatusNotification", "Heartbeat"):
                await foreign.good("ExtendedTriggerMessage", {"requestedMessage": asked})
            await foreign.good("TriggerMessage", {"requestedMessage": kind})
        else:
            for asked in ("LogStatusNotification", "FirmwareStatusNotification", "MeterValues", "StatusNotification"):
                await foreign.good("TriggerMessage", {"requestedMessage": asked})
            await until(lambda: foreign.told("MeterValues"), "the meter values")
        await until(lambda: len(foreign.told(status)) == 6, "the status that was asked for")

    played(dialect, package, story, worker=hands)


@pytest.mark.parametrize("dialect", [d for d in ALL if d.two], ids=lambda dialect: dialect.name)
def test_monitors_events_reservations_that_end_and_network_profiles(dialect: Dialect, package: Path) -> None:
    async def story(desk: Desk, foreign: Foreign) -> None:
        desk.see(Phase.FREE)
        await until(lambda: desk.bridge.station.online, "registration")
        watch = {**_POWER, "type": "UpperThreshold", "value": 5000, "severity": 3}
        _, _, answer = await foreign.call("SetVariableMonitoring", {"setMonitoringData": [watch]})
        (result,) = answer["setMonitoringResult"]
        assert result["status"] == "Accepted"
        await foreign.good("SetMonitoringLevel", {"severity": 5})
        await foreign.good("GetMonitoringReport", {"requestId": 7})
        await until(lambda: foreign.told("NotifyMonitoringReport"), "the report")
        desk.see(Phase.FREE, power_w=7000.0)
        await until(lambda: foreign.told("NotifyEvent"), "the event")
        await foreign.good("SetMonitoringBase", {"monitoringBase": "All"})
        assert (await foreign.call("ClearVariableMonitoring", {"id": [result["id"]]}))[0] == "answer"
        until_s = times.show(desk.bridge.station.wall_s(time.monotonic()) + 0.2)
        await foreign.good("ReserveNow", {"id": 4, "expiryDateTime": until_s, "idToken": _TOKEN})

        def over() -> bool:
            desk.see(Phase.FREE)
            return bool(foreign.told("ReservationStatusUpdate"))

        await until(over, "its end")
        desk.see(Phase.FREE, faults=("OVERHEATED",))
        await until(lambda: len(foreign.told("NotifyEvent")) >= 2, "the fault")
        await foreign.good("CustomerInformation", {"requestId": 1, "report": True, "clear": True, "idToken": _TOKEN})
        await until(lambda: foreign.told("NotifyCustomerInformation"), "what is known")
        way = {"ocppCsmsUrl": "ws://127.0.0.1:9", "ocppInterface": "Wired0", "ocppTransport": "JSON",
               "messageTimeout": 30, "securityProfile": 0,
               "ocppVersion": "OCPP21" if dialect is V21 else "OCPP20"}  # fmt: skip
        await foreign.good("SetNetworkProfile", {"configurationSlot": 3, "connectionData": way})

    played(dialect, package, story)


@all_versions
def test_a_new_certificate_of_ours_and_settings_of_security(dialect: Dialect, package: Path, tmp_path: Path) -> None:
    async def story(desk: Desk, foreign: Foreign) -> None:
        two = dialect.two
        desk.see(Phase.FREE)
        await until(lambda: desk.bridge.station.online, "registration")
        root = Authority(tmp_path, "root")
        kind = "CSMSRootCertificate" if two else "CentralSystemRootCertificate"
        await foreign.good("InstallCertificate", {"certificateType": kind, "certificate": root.file.read_text()})
        if two:
            place = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "OrganizationName"}}
            secret = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
            written = [place | {"attributeValue": "Grid Co"}, secret | {"attributeValue": "x" * 20}]
            _, _, answer = await foreign.call("SetVariables", {"setVariableData": written})
            assert [r["attributeStatus"] for r in answer["setVariableResult"]] == ["Accepted", "Rejected"]
            _, _, answer = await foreign.call("GetVariables", {"getVariableData": [secret]})
            assert [r["attributeStatus"] for r in answer["getVariableResult"]] == ["Rejected"]
            await foreign.good("TriggerMessage", {"requestedMessage": "SignChargingStationCertificate"})
        else:
            await foreign.good("ChangeConfiguration", {"key": "CpoName", "value": "Grid Co"})
            await foreign.good("ChangeConfiguration", {"key": "AuthorizationKey", "value": "ab" * 20}, "Rejected")
            _, _, answer = await foreign.call("GetConfiguration", {"key": ["AuthorizationKey"]})
            assert answer["configurationKey"] == [{"key": "AuthorizationKey", "readonly": False}]
            await foreign.good("ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"})
        (request,) = await until(lambda: foreign.told("SignCertificate"), "the request")
        more = {key: request[key] for key in ("certificateType", "requestId") if key in request}
        await foreign.good("CertificateSigned", {"certificateChain": "x", **more}, "Rejected")
        await foreign.good("CertificateSigned", {"certificateChain": root.sign(request["csr"]), **more})

        def told() -> bool:
            desk.see(Phase.FREE)
            types = {event["type"] for event in foreign.told("SecurityEventNotification")}
            name = "InvalidChargingStationCertificate" if two else "InvalidChargePointCertificate"
            return types >= {name, "ReconfigurationOfSecurityParameters"}

        await until(told, "the events")

    played(dialect, package, story, keys=Keys(tmp_path / "keys"))


def test_priority_charging_that_is_wanted_at_the_charger(package: Path) -> None:
    async def story(desk: Desk, foreign: Foreign) -> None:
        station = desk.bridge.station
        desk.see(Phase.CHARGING, voltage_v=400.0)
        await until(lambda: station.online and station.transactions.id, "a transaction")
        await foreign.good("SetChargingProfile", priority_profile("PriorityCharging", 2, 20_000.0))
        priority = next(f for f in station.functions if isinstance(f, PriorityCharging))
        for on in (True, False):
            priority.want(time.monotonic(), on)
        await until(lambda: len(foreign.told("NotifyPriorityCharging")) == 2, "both notices")
        assert [notice["activated"] for notice in foreign.told("NotifyPriorityCharging")] == [True, False]
        tx = station.transactions.id
        await foreign.good("UsePriorityCharging", {"transactionId": tx, "activate": True})

    played(V21, package, story)
