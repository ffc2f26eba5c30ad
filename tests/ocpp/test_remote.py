"""Remote start and stop, out of operation, reset: what the back end may do to sessions, and what it is then told."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from firmware.bridges.ocpp.charging import SmartCharging
from firmware.bridges.ocpp.dialect import V16, V21, V201, Dialect
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.station import Station
from firmware.bridges.ocpp.view import Phase
from tests.ocpp.back_end import BackEnd, registered, station, view
from tests.ocpp.wire import ALL

TWO = pytest.mark.parametrize("dialect", [V201, V21], ids=lambda dialect: dialect.name)
all_versions = pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)
TOKEN = {"idToken": "Alice-1", "type": "Central"}


class Desk:
    def __init__(self, dialect: Dialect, **settings: Any) -> None:
        self.dialect = dialect
        self.charger, self.box, self.peer = registered(dialect, **settings)
        self.now = 1.0
        self._numbers = itertools.count(1)

    def see(self, phase: Phase, **more: Any) -> None:
        self.now += 1.0
        self.charger.observe(view(self.now, phase, **more))
        self.peer.settle(self.charger, self.now)

    def ask(self, action: str, payload: dict[str, Any]) -> Any:
        return self.peer.ask(self.charger, action, payload, self.now)

    def start(self, **more: Any) -> str:
        if self.dialect.two:
            payload = {"idToken": TOKEN, "remoteStartId": 7, **more}
            return str(self.ask("RequestStartTransaction", payload)["status"])
        return str(self.ask("RemoteStartTransaction", {"idTag": TOKEN["idToken"], **more})["status"])

    def stop(self, tx: Any = None) -> str:
        if self.dialect.two:
            asked = self.charger.transactions.id if tx is None else tx
            return str(self.ask("RequestStopTransaction", {"transactionId": asked})["status"])
        return str(self.ask("RemoteStopTransaction", {"transactionId": 17 if tx is None else tx})["status"])

    def held(self) -> str:
        return self.charger.orders(self.now).hold

    def events(self) -> list[dict[str, Any]]:
        return self.peer.told("TransactionEvent")


# -------------------------------------------------------------------------------------------------------- remote start
@TWO
def test_a_remote_start_makes_the_running_session_somebodys(dialect: Dialect) -> None:
    desk = Desk(dialect)
    desk.see(Phase.PLUGGED)
    assert desk.start() == "Accepted"
    desk.see(Phase.PLUGGED)
    event = desk.events()[-1]
    assert (event["triggerReason"], event["idToken"]) == ("RemoteStart", TOKEN)
    assert event["transactionInfo"]["remoteStartId"] == 7
    desk.see(Phase.CHARGING)
    assert "idToken" not in desk.events()[-1]  # said once
    assert desk.start() == "Rejected"  # it is somebody's


@all_versions
def test_a_remote_start_waits_for_its_car(dialect: Dialect) -> None:
    desk = Desk(dialect)
    assert desk.start() == "Accepted"
    assert desk.start() == "Rejected"  # one waits already
    desk.see(Phase.PLUGGED)
    if dialect.two:
        event = desk.events()[0]
        assert (event["eventType"], event["triggerReason"], event["idToken"]) == ("Started", "RemoteStart", TOKEN)
        assert event["transactionInfo"]["remoteStartId"] == 7
    else:
        assert desk.peer.told("StartTransaction")[0]["idTag"] == TOKEN["idToken"]


@all_versions
def test_a_remote_start_that_finds_no_car_in_time_is_forgotten(dialect: Dialect) -> None:
    desk = Desk(dialect)
    desk.charger.tune.connect_timeout_s = 10.0
    desk.start()
    desk.now += 10.0
    desk.see(Phase.FREE)
    desk.see(Phase.PLUGGED)
    if dialect.two:
        assert desk.events()[0]["idToken"]["type"] == "NoAuthorization"
    else:
        assert desk.peer.told("StartTransaction")[0]["idTag"] == "unknown"
    assert desk.charger.transactions.granted is None


@all_versions
@pytest.mark.parametrize("why", ["stopped", "fault", "elsewhere", "inoperative"])
def test_a_remote_start_that_could_not_be_kept_is_rejected(dialect: Dialect, why: str) -> None:
    desk = Desk(dialect)
    more: dict[str, Any] = {}
    if why == "stopped":
        desk.see(Phase.FREE, stopped=True)
    elif why == "fault":
        desk.see(Phase.FAULT, plugged=False, faults=("no insulation",))
    elif why == "elsewhere":
        more = {"evseId" if dialect.two else "connectorId": 2}
    else:
        change(desk, operative=False)
    assert desk.start(**more) == "Rejected"
    assert desk.charger.transactions.granted is None


def profile(dialect: Dialect, **more: Any) -> dict[str, Any]:
    schedule = {"chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 5000.0}]}
    raw = {"stackLevel": 0, "chargingProfilePurpose": "TxProfile", "chargingProfileKind": "Relative", **more}
    if dialect.two:
        return {"id": 5, **raw, "chargingSchedule": [{"id": 1, **schedule}]}
    return {"chargingProfileId": 5, **raw, "chargingSchedule": schedule}


@all_versions
def test_the_profile_of_a_remote_start_holds_for_its_transaction(dialect: Dialect) -> None:
    desk = Desk(dialect)
    assert desk.start(chargingProfile=profile(dialect)) == "Accepted"
    desk.see(Phase.PLUGGED)
    desk.see(Phase.CHARGING)
    smart = next(f for f in desk.charger.functions if isinstance(f, SmartCharging))
    (kept,) = smart.profiles.values()
    assert (kept.id, kept.tx) == (5, desk.charger.transactions.id)


@all_versions
def test_a_remote_start_with_a_profile_that_is_none_of_a_transaction_starts_nothing(dialect: Dialect) -> None:
    desk = Desk(dialect)
    assert desk.start(chargingProfile=profile(dialect, chargingProfilePurpose="TxDefaultProfile")) == "Rejected"
    assert desk.charger.transactions.granted is None


# --------------------------------------------------------------------------------------------------------- remote stop
@all_versions
def test_a_remote_stop_takes_the_power_and_the_end_is_told_when_it_is_gone(dialect: Dialect) -> None:
    desk = Desk(dialect)
    desk.see(Phase.CHARGING, wh=(10.0, 0.0))
    assert desk.held() == ""
    assert desk.stop() == "Accepted"
    assert "ended" in desk.held()
    desk.see(Phase.HOLDING, wh=(12.0, 0.0))  # ramps down
    ended = "TransactionEvent" if dialect.two else "StopTransaction"
    assert not [p for p in desk.peer.told(ended) if p.get("eventType", "Ended") == "Ended"]
    desk.see(Phase.ENDED, wh=(13.0, 0.0))
    last = desk.peer.told(ended)[-1]
    if dialect.two:
        assert (last["eventType"], last["triggerReason"]) == ("Ended", "RemoteStop")
        assert last["transactionInfo"]["stoppedReason"] == "Remote"
    else:
        assert (last["reason"], last["meterStop"]) == ("Remote", 13)
    for phase in (Phase.PLUGGED, Phase.PLUGGED):
        desk.see(phase)
    assert desk.charger.transactions.id is None  # the same car begins no other
    assert "still plugged in" in desk.held()
    desk.see(Phase.FREE)
    assert desk.held() == ""
    desk.see(Phase.PLUGGED)
    assert desk.charger.transactions.id is not None


@all_versions
def test_after_a_remote_stop_a_remote_start_gives_the_same_car_power_again(dialect: Dialect) -> None:
    desk = Desk(dialect)
    desk.see(Phase.CHARGING)
    desk.stop()
    desk.see(Phase.ENDED)
    assert desk.start() == "Accepted"
    assert desk.held() == ""
    desk.see(Phase.PLUGGED)
    assert desk.charger.transactions.authorized


@all_versions
def test_only_the_running_transaction_can_be_stopped(dialect: Dialect) -> None:
    desk = Desk(dialect)
    assert desk.stop(tx="none" if dialect.two else 3) == "Rejected"
    desk.see(Phase.CHARGING)
    assert desk.stop(tx="none" if dialect.two else 3) == "Rejected"
    assert desk.held() == ""


@all_versions
def test_a_stop_outlives_power_before_and_after_its_end_is_told(dialect: Dialect) -> None:
    box = Outbox(":memory:")
    desk = Desk(dialect, outbox=box)
    desk.see(Phase.CHARGING)
    desk.stop()
    again, _, _ = station(box)
    again.observe(view(20.0, Phase.CHARGING))
    assert "ended" in again.orders(20.0).hold
    again.observe(view(21.0, Phase.ENDED))
    third, _, _ = station(box)
    third.observe(view(22.0, Phase.PLUGGED))
    assert third.transactions.id is None
    assert "still plugged in" in third.orders(22.0).hold


@TWO
def test_a_car_that_leaves_while_the_session_ends_ends_it_with_the_back_ends_reason(dialect: Dialect) -> None:
    desk = Desk(dialect)
    desk.see(Phase.CHARGING)
    desk.stop()
    desk.see(Phase.FREE)
    assert desk.events()[-1]["transactionInfo"]["stoppedReason"] == "Remote"
    desk.see(Phase.PLUGGED)
    assert desk.events()[-1]["eventType"] == "Started"


@TWO
def test_unlocking_is_not_claimed(dialect: Dialect) -> None:
    desk = Desk(dialect)
    one = {"evseId": 1, "connectorId": 1}
    assert desk.ask("UnlockConnector", one)["status"] == "UnlockFailed"
    assert desk.ask("UnlockConnector", {"evseId": 1, "connectorId": 2})["status"] == "UnknownConnector"
    desk.start()
    desk.see(Phase.CHARGING)
    assert desk.ask("UnlockConnector", one)["status"] == "OngoingAuthorizedTransaction"


def test_unlocking_in_1_6_is_not_supported() -> None:
    assert Desk(V16).ask("UnlockConnector", {"connectorId": 1}) == {"status": "NotSupported"}


# -------------------------------------------------------------------------------------------------------- availability
def change(desk: Desk, *, operative: bool, place: dict[str, Any] | None = None) -> str:
    word = "Operative" if operative else "Inoperative"
    if desk.dialect.two:
        payload: dict[str, Any] = {"operationalStatus": word} | ({} if place is None else {"evse": place})
    else:
        payload = {"connectorId": (place or {"id": 0})["id"], "type": word}
    return str(desk.ask("ChangeAvailability", payload)["status"])


def word_told(desk: Desk) -> str:
    status = desk.peer.told("StatusNotification")[-1]
    return str(status["connectorStatus" if desk.dialect.two else "status"])


@all_versions
def test_out_of_operation_is_told_holds_sessions_back_and_outlives_power(dialect: Dialect) -> None:
    box = Outbox(":memory:")
    desk = Desk(dialect, outbox=box)
    assert change(desk, operative=False) == "Accepted"
    desk.see(Phase.FREE)
    assert word_told(desk) == "Unavailable"
    assert "out of operation" in desk.held()
    desk.see(Phase.PLUGGED)
    assert desk.charger.transactions.id is None
    again, _, _ = station(box)
    again.observe(view(50.0, Phase.PLUGGED))
    assert "out of operation" in again.orders(50.0).hold
    assert again.transactions.id is None
    assert change(desk, operative=True) == "Accepted"
    desk.see(Phase.PLUGGED)
    desk.see(Phase.PLUGGED)
    assert word_told(desk) in ("Occupied", "Preparing")
    assert desk.held() == ""
    assert desk.charger.transactions.id is not None


@all_versions
def test_a_running_session_is_finished_first(dialect: Dialect) -> None:
    desk = Desk(dialect)
    desk.see(Phase.CHARGING)
    assert change(desk, operative=False) == "Scheduled"
    desk.see(Phase.CHARGING)
    assert desk.held() == ""
    assert word_told(desk) != "Unavailable"
    desk.see(Phase.FREE)
    desk.see(Phase.FREE)
    assert word_told(desk) == "Unavailable"
    assert desk.held()


@TWO
def test_the_station_and_its_connector_are_set_apart(dialect: Dialect) -> None:
    desk = Desk(dialect)
    change(desk, operative=False)
    change(desk, operative=False, place={"id": 1, "connectorId": 1})
    change(desk, operative=True)
    assert "out of operation" in desk.held()  # the connector still is
    change(desk, operative=True, place={"id": 1, "connectorId": 1})
    assert desk.held() == ""
    assert change(desk, operative=False, place={"id": 2}) == "Rejected"


# --------------------------------------------------------------------------------------------------------------- reset
def reset(desk: Desk, kind: str) -> str:
    return str(desk.ask("Reset", {"type": kind})["status"])


@all_versions
def test_without_anybody_who_would_start_it_again_a_reset_is_rejected(dialect: Dialect) -> None:
    desk = Desk(dialect)
    assert reset(desk, "Immediate" if dialect.two else "Hard") == "Rejected"
    assert not desk.charger.orders(1000.0).reset


@pytest.mark.parametrize(
    ("dialect", "kind", "reason"),
    [(V21, "Immediate", "ImmediateReset"), (V201, "Immediate", "ImmediateReset"), (V16, "Hard", "HardReset"),
     (V16, "Soft", "SoftReset")],
)  # fmt: skip
def test_an_immediate_reset_ends_the_session_tells_it_and_then_starts_anew(
    dialect: Dialect, kind: str, reason: str
) -> None:
    box = Outbox(":memory:")
    desk = Desk(dialect, outbox=box, restarts=True)
    desk.see(Phase.CHARGING)
    assert reset(desk, kind) == "Accepted"
    assert "resets" in desk.held() or "ended" in desk.held()
    desk.see(Phase.HOLDING)
    desk.see(Phase.HOLDING)
    assert not desk.charger.orders(desk.now).reset
    desk.see(Phase.ENDED)
    assert desk.charger.orders(desk.now).reset
    if dialect.two:
        last = desk.events()[-1]
        assert (last["triggerReason"], last["transactionInfo"]["stoppedReason"]) == ("ResetCommand", reason)
    else:
        assert desk.peer.told("StopTransaction")[0]["reason"] == reason
    again, _, _ = station(box, restarts=True)
    peer = BackEnd(dialect)
    again.observe(view(100.0, Phase.PLUGGED))
    assert again.orders(200.0).hold == ""
    assert not again.orders(200.0).reset
    assert again.transactions.id is not None  # the car that is still there is served again
    again.connected(100.0, dialect)
    peer.settle(again, 100.0)
    if dialect.two:
        assert peer.told("BootNotification")[0]["reason"] == "RemoteReset"
    again.observe(view(101.0, Phase.PLUGGED))
    assert box.state("boot reason") is None


@TWO
def test_power_that_does_not_go_does_not_hold_up_a_reset_for_ever(dialect: Dialect) -> None:
    desk = Desk(dialect, restarts=True)
    desk.see(Phase.CHARGING)
    reset(desk, "Immediate")
    assert not desk.charger.orders(desk.now + 29.9).reset
    assert desk.charger.orders(desk.now + 30.0).reset


@TWO
def test_a_gentle_reset_waits_for_the_car_to_leave(dialect: Dialect) -> None:
    desk = Desk(dialect, restarts=True)
    desk.see(Phase.CHARGING)
    assert reset(desk, "OnIdle") == "Scheduled"
    assert desk.held() == ""
    assert not desk.charger.orders(desk.now + 3600.0).reset
    desk.see(Phase.FREE)
    assert desk.charger.orders(desk.now).reset
    desk.see(Phase.PLUGGED)
    assert desk.charger.transactions.id is None  # nothing begins any more


def test_the_answer_to_a_reset_leaves_before_the_charger_does() -> None:
    desk = Desk(V21, restarts=True)
    assert reset(desk, "Immediate") == "Accepted"
    assert not desk.charger.orders(desk.now + 0.9).reset
    assert desk.charger.orders(desk.now + 1.0).reset


def test_a_reset_that_resumes_keeps_the_transaction() -> None:
    box = Outbox(":memory:")
    desk = Desk(V21, outbox=box, restarts=True)
    desk.see(Phase.CHARGING)
    tx = desk.charger.transactions.id
    assert reset(desk, "ImmediateAndResume") == "Accepted"
    assert desk.charger.orders(desk.now + 1.0).reset
    again: Station = station(box)[0]
    again.observe(view(50.0, Phase.PLUGGED))
    assert again.transactions.id == tx
