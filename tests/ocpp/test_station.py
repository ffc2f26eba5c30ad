"""What a charger tells its back end, in three versions, connected and not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.bridges.ocpp import status_doc, times
from firmware.bridges.ocpp.dialect import V16, V21, V201, Dialect
from firmware.bridges.ocpp.identity import Registration
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.view import Phase
from tests.ocpp.back_end import WALL_S, BackEnd, registered, station, view
from tests.ocpp.wire import ALL

DOC = Path(__file__).parents[2] / "docs" / "ocpp-status.md"
all_versions = pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)
TWO = pytest.mark.parametrize("dialect", [V201, V21], ids=lambda dialect: dialect.name)


def boot(status: str, interval: int) -> dict[str, Any]:
    return {"currentTime": times.show(WALL_S), "interval": interval, "status": status}


# --------------------------------------------------------------------------------------------------------------- boot
@all_versions
def test_registration_comes_first_then_status_then_heartbeats(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    assert [action for action, _ in peer.calls] == ["BootNotification", "StatusNotification"]
    peer.settle(charger, 299.0)
    assert len(peer.calls) == 2
    peer.settle(charger, 300.0)
    assert peer.calls[-1][0] == "Heartbeat"


@all_versions
@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_until_it_is_accepted_it_says_nothing_else_and_waits_as_told(dialect: Dialect, status: str) -> None:
    charger, _, _ = station()
    peer = BackEnd(dialect, BootNotification=boot(status, 20))
    charger.observe(view(0.0, Phase.PLUGGED))
    charger.connected(0.0, dialect)
    for now in (0.0, 19.9, 20.0, 39.9):
        peer.settle(charger, now)
    assert [action for action, _ in peer.calls] == ["BootNotification"] * 2
    peer.answers["BootNotification"] = boot(status, 0)  # no interval: our own
    peer.settle(charger, 40.0)
    peer.settle(charger, 99.9)
    assert len(peer.calls) == 3
    peer.answers["BootNotification"] = boot("Accepted", 0)
    peer.settle(charger, 100.0)
    assert [action for action, _ in peer.calls[3:5]] == ["BootNotification", "StatusNotification"]
    assert len(peer.calls) == 6  # and the transaction that began while it waited


@all_versions
def test_a_rejected_charger_answers_no_call_and_a_pending_one_does(dialect: Dialect) -> None:
    charger, _, _ = station()
    peer = BackEnd(dialect, BootNotification=boot("Rejected", 20))
    charger.observe(view())
    charger.connected(0.0, dialect)
    assert peer.ask(charger, "DataTransfer", {"vendorId": "v"}) == "SecurityError"
    peer.settle(charger, 0.0)
    assert peer.ask(charger, "DataTransfer", {"vendorId": "v"}) == "SecurityError"
    peer.answers["BootNotification"] = boot("Pending", 20)
    peer.settle(charger, 20.0)
    assert peer.ask(charger, "DataTransfer", {"vendorId": "v"}) == {"status": "UnknownVendorId"}


@all_versions
@pytest.mark.parametrize("answer", [None, "InternalError", {"status": "Accepted"}])
def test_a_registration_that_fails_is_tried_again_after_a_minute(dialect: Dialect, answer: Any) -> None:
    charger, _, _ = station()
    peer = BackEnd(dialect, BootNotification=answer)
    charger.observe(view())
    charger.connected(0.0, dialect)
    peer.settle(charger, 0.0)
    peer.settle(charger, 31.0)
    assert charger.registration is Registration.NONE
    peer.answers["BootNotification"] = boot("Accepted", 300)
    peer.settle(charger, 89.0 if answer is None else 59.0)
    assert charger.registration is Registration.NONE
    peer.settle(charger, 91.0)
    assert charger.registration is Registration.ACCEPTED


@all_versions
@pytest.mark.parametrize("interval", [-5, 0, 10**30, 10**400])
def test_an_absurd_interval_does_no_harm(dialect: Dialect, interval: int) -> None:
    charger, _, _ = station()
    peer = BackEnd(dialect, BootNotification=boot("Accepted", interval))
    charger.observe(view())
    charger.connected(0.0, dialect)
    peer.settle(charger, 0.0)
    peer.settle(charger, 86_400.0)
    assert peer.calls[-1][0] == "Heartbeat"


@all_versions
def test_after_a_reconnect_it_is_not_registered_again_and_tells_its_status(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    charger.disconnected(10.0)
    assert not charger.online
    charger.connected(20.0, dialect)
    peer.settle(charger, 20.0)
    assert [action for action, _ in peer.calls] == ["BootNotification", "StatusNotification", "StatusNotification"]


@all_versions
def test_two_calls_without_an_answer_and_the_connection_is_held_for_dead(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    peer.answers["Heartbeat"] = None
    for now in (300.0, 330.0):
        peer.settle(charger, now)
    assert not charger.dead
    peer.settle(charger, 700.0)
    peer.settle(charger, 730.0)
    assert charger.dead
    charger.disconnected(731.0)
    assert not charger.dead


# ----------------------------------------------------------------------------------------------------------- sessions
SESSION = [
    (10.0, Phase.PLUGGED, (100.0, 50.0)),
    (20.0, Phase.STARTING, (100.0, 50.0)),
    (30.0, Phase.CHARGING, (100.0, 50.0)),
    (95.0, Phase.CHARGING, (350.0, 50.0)),
    (96.0, Phase.HOLDING, (350.0, 50.0)),
    (100.0, Phase.DISCHARGING, (350.0, 50.0)),
    (160.0, Phase.DISCHARGING, (350.0, 250.0)),
    (170.0, Phase.ENDED, (350.0, 260.4)),
    (180.0, Phase.FREE, (350.0, 260.4)),
]


def play(charger: Any, peer: BackEnd | None) -> None:
    for now, phase, wh in SESSION:
        power = {Phase.CHARGING: 11_000.0, Phase.DISCHARGING: -7_000.0}.get(phase, 0.0)
        charger.observe(view(now, phase, wh=wh, power_w=power, frequency_hz=50.01, soc_pct=float("nan")))
        if peer is not None:
            peer.settle(charger, now)


def registers(payload: dict[str, Any]) -> tuple[float, float]:
    values = {item["measurand"]: float(item["value"]) for item in payload["meterValue"][0]["sampledValue"]}
    assert "SoC" not in values  # it was not known
    return values["Energy.Active.Import.Register"], values["Energy.Active.Export.Register"]


@TWO
def test_a_session_that_charges_and_discharges(dialect: Dialect) -> None:
    charger, box, peer = registered(dialect)
    play(charger, peer)
    events = peer.told("TransactionEvent")
    assert [event["seqNo"] for event in events] == list(range(len(events)))
    assert len({event["transactionInfo"]["transactionId"] for event in events}) == 1
    assert [event["eventType"] for event in events] == ["Started", *["Updated"] * (len(events) - 2), "Ended"]
    states = [event["transactionInfo"]["chargingState"] for event in events]
    assert states == ["EVConnected", "Charging", "Charging", "SuspendedEVSE", "Charging", "Charging", "Idle", "Idle"]
    assert [registers(event) for event in events] == [
        (100.0, 50.0), (100.0, 50.0), (350.0, 50.0), (350.0, 50.0), (350.0, 50.0), (350.0, 250.0), (350.0, 260.4),
        (350.0, 260.4),
    ]  # fmt: skip
    exported = {i["measurand"]: i["value"] for i in events[4]["meterValue"][0]["sampledValue"]}
    assert (exported["Power.Active.Import"], exported["Power.Active.Export"]) == (0.0, 7000.0)
    assert events[-1]["transactionInfo"]["stoppedReason"] == "EVDisconnected"
    assert not any("offline" in event for event in events)
    assert len(box) == 0
    assert [s["connectorStatus"] for s in peer.told("StatusNotification")] == ["Available", "Occupied", "Available"]


def test_a_session_in_1_6() -> None:
    charger, box, peer = registered(V16)
    play(charger, peer)
    (start,), (stop,) = peer.told("StartTransaction"), peer.told("StopTransaction")
    assert (start["meterStart"], stop["meterStop"], stop["transactionId"]) == (100, 350, 17)
    meters = peer.told("MeterValues")
    assert [registers(meter) for meter in meters] == [(350.0, 50.0), (350.0, 250.0)]
    assert {meter["transactionId"] for meter in meters} == {17}
    assert registers({"meterValue": stop["transactionData"]}) == (350.0, 260.4)
    words = [status["status"] for status in peer.told("StatusNotification")]
    assert words == ["Available", "Preparing", "Charging", "SuspendedEVSE", "Charging", "Finishing", "Available"]
    assert len(box) == 0
    assert box.number(charger.transactions.id or "") is None


@all_versions
def test_a_session_without_the_back_end_arrives_later_whole_in_order_and_marked(dialect: Dialect) -> None:
    charger, box, peer = registered(dialect)
    charger.disconnected(1.0)
    play(charger, None)
    charger.connected(1000.0, dialect)
    peer.settle(charger, 1000.0)
    if dialect.two:
        events = peer.told("TransactionEvent")
        assert [event["seqNo"] for event in events] == list(range(8))
        assert all(event["offline"] for event in events)
    else:
        sent = [action for action, _ in peer.calls if action != "StatusNotification"]
        assert sent == ["BootNotification", "StartTransaction", "MeterValues", "MeterValues", "StopTransaction"]
        assert peer.told("StopTransaction")[0]["transactionId"] == 17
    assert len(box) == 0


def test_what_was_queued_under_one_version_is_told_in_the_words_of_another() -> None:
    charger, _, _ = registered(V21)
    charger.disconnected(1.0)
    play(charger, None)
    peer = BackEnd(V16)
    charger.connected(1000.0, V16)
    peer.settle(charger, 1000.0)
    assert peer.told("StartTransaction")
    assert peer.told("StopTransaction")


@all_versions
def test_the_same_record_is_sent_again_when_no_answer_came_and_never_given_up(dialect: Dialect) -> None:
    charger, box, peer = registered(dialect)
    first = "TransactionEvent" if dialect.two else "StartTransaction"
    answer, peer.answers[first] = peer.answers.get(first, {}), None
    charger.observe(view(10.0, Phase.PLUGGED))
    now = 10.0
    for _ in range(5):
        peer.settle(charger, now)
        charger.disconnected(now + 1.0)
        charger.connected(now + 5.0, dialect)
        now += 10.0
    assert len(peer.told(first)) >= 4
    peer.answers[first] = answer
    peer.settle(charger, now)
    assert len(box) == 0
    assert all(payload == peer.told(first)[0] for payload in peer.told(first))


@all_versions
def test_a_record_that_the_back_end_refuses_is_given_up_after_three_times_and_told(dialect: Dialect) -> None:
    charger, box, said = station()
    peer = BackEnd(dialect)
    first = "TransactionEvent" if dialect.two else "StartTransaction"
    peer.answers[first] = "InternalError"
    charger.observe(view(0.0, Phase.PLUGGED))
    charger.connected(0.0, dialect)
    for now in (0.0, 29.9, 30.0, 89.9):
        peer.settle(charger, now)
    assert len(peer.told(first)) == 2
    peer.settle(charger, 90.0)
    assert len(peer.told(first)) == 3
    assert len(box) == 0
    assert any("Given up after 3 refusals" in sentence for sentence in said)
    if not dialect.two:
        charger.observe(view(100.0, Phase.FREE))
        peer.settle(charger, 100.0)
        assert peer.told("StopTransaction")[0]["transactionId"] == -1


def test_a_transaction_number_that_no_data_base_takes_is_not_believed() -> None:
    charger, _, peer = registered(V16)
    peer.answers["StartTransaction"] = {"transactionId": 10**30, "idTagInfo": {"status": "Accepted"}}
    play(charger, peer)
    assert peer.told("StopTransaction")[0]["transactionId"] == -1


@TWO
@pytest.mark.parametrize("plugged", [True, False])
def test_after_a_restart_an_open_transaction_goes_on_or_ends(dialect: Dialect, plugged: bool) -> None:
    box = Outbox(":memory:")
    charger, _, _ = station(box)
    charger.observe(view(0.0, Phase.CHARGING, wh=(5.0, 0.0)))
    again, _, _ = station(box)
    again.observe(view(1.0, Phase.FREE, plugged=None))  # nothing is known of the cable yet
    assert len(box) == 1
    again.observe(view(2.0, Phase.PLUGGED if plugged else Phase.FREE, wh=(7.0, 1.0)))
    peer = BackEnd(dialect)
    again.connected(3.0, dialect)
    peer.settle(again, 3.0)
    started, then = peer.told("TransactionEvent")
    assert then["transactionInfo"]["transactionId"] == started["transactionInfo"]["transactionId"]
    assert then["seqNo"] == 1
    assert registers(then) == (7.0, 1.0)
    if plugged:
        assert then["triggerReason"] == ("TxResumed" if dialect is V21 else "Trigger")
    else:
        assert then["transactionInfo"]["stoppedReason"] == "PowerLoss"


@all_versions
def test_a_fault_is_told_as_a_status(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    charger.observe(view(5.0, Phase.FAULT, plugged=False, faults=("insulation below 100 kohm " * 5,)))
    peer.settle(charger, 5.0)
    assert "Faulted" in peer.told("StatusNotification")[-1].values()


@all_versions
def test_a_status_that_flutters_does_not_hold_up_the_records(dialect: Dialect) -> None:
    charger, box, peer = registered(dialect)
    for tick in range(1, 101):
        charger.observe(view(10.0 + tick / 10, Phase.PLUGGED, faults=("loose",) if tick % 2 else ()))
        peer.settle(charger, 10.0 + tick / 10)
    assert len(peer.told("StatusNotification")) <= 12
    assert len(box) == 0
    charger.observe(view(22.0, Phase.PLUGGED))
    peer.settle(charger, 22.0)
    assert "Faulted" not in peer.told("StatusNotification")[-1].values()  # the last word is the right one


# ------------------------------------------------------------------------------------------------------- what is asked
@all_versions
def test_triggers(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    cases = [("Heartbeat", "Accepted", "Heartbeat"), ("StatusNotification", "Accepted", "StatusNotification")]
    if dialect.two:
        cases += [("BootNotification", "Rejected", ""), ("SignV2GCertificate", "NotImplemented", "")]
        cases += [
            (f"{name}Notification", "Accepted", f"{name}Notification") for name in ("LogStatus", "FirmwareStatus")
        ]
        cases += [("MeterValues", "Accepted", "MeterValues")]
        cases += [("TransactionEvent", "Rejected", "")]
    else:
        cases += [("BootNotification", "Accepted", "BootNotification"), ("MeterValues", "Rejected", "")]
        cases += [("DiagnosticsStatusNotification", "Accepted", "DiagnosticsStatusNotification")]
        assert peer.ask(charger, "ExtendedTriggerMessage", {"requestedMessage": "Heartbeat"}) == {"status": "Accepted"}
        peer.settle(charger, 1.0)
    for asked, status, message in cases:
        before = len(peer.calls)
        assert peer.ask(charger, "TriggerMessage", {"requestedMessage": asked}) == {"status": status}
        peer.settle(charger, 1.0)
        assert [action for action, _ in peer.calls[before:]] == ([message] if message else [])
    charger.observe(view(2.0, Phase.CHARGING, wh=(1.0, 2.0)))
    peer.settle(charger, 2.0)
    asked = "TransactionEvent" if dialect.two else "MeterValues"
    assert peer.ask(charger, "TriggerMessage", {"requestedMessage": asked}) == {"status": "Accepted"}
    peer.settle(charger, 2.0)
    assert registers(peer.calls[-1][1]) == (1.0, 2.0)
    elsewhere = {"evse": {"id": 7}} if dialect.two else {"connectorId": 7}
    asked = {"requestedMessage": "Heartbeat", **elsewhere}
    assert peer.ask(charger, "TriggerMessage", asked) == {"status": "Rejected"}


@TWO
def test_the_state_of_a_transaction_can_be_asked(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    assert peer.ask(charger, "GetTransactionStatus", {}) == {"messagesInQueue": False}
    charger.observe(view(1.0, Phase.PLUGGED))
    assert peer.ask(charger, "GetTransactionStatus", {}) == {"messagesInQueue": True}
    peer.settle(charger, 1.0)
    tx = peer.told("TransactionEvent")[0]["transactionInfo"]["transactionId"]
    assert peer.ask(charger, "GetTransactionStatus", {"transactionId": tx}) == {
        "ongoingIndicator": True,
        "messagesInQueue": False,
    }
    assert peer.ask(charger, "GetTransactionStatus", {"transactionId": "x"})["ongoingIndicator"] is False


# --------------------------------------------------------------------------------------------------------------- clock
@all_versions
@pytest.mark.parametrize("follow", [False, True])
def test_a_clock_that_differs_is_told_once_and_followed_only_when_asked_to(dialect: Dialect, follow: bool) -> None:
    charger, _, said = station(follow_clock=follow)
    peer = BackEnd(dialect, BootNotification=boot("Accepted", 300))
    charger.observe(view(3600.0))  # ours is an hour ahead
    charger.connected(3600.0, dialect)
    peer.settle(charger, 3600.0)
    peer.settle(charger, 3900.0)
    assert sum("clock" in sentence for sentence in said) == 1
    stamp = times.parse(peer.told("StatusNotification")[0]["timestamp"])
    assert stamp == pytest.approx(WALL_S + (0.0 if follow else 3600.0), abs=0.01)


@all_versions
def test_the_page_of_messages_is_current_and_says_what_is_really_sent(dialect: Dialect) -> None:
    assert status_doc.document() == DOC.read_text(), "run: python -m firmware.bridges.ocpp.status_doc"
    charger, _, peer = registered(dialect)
    play(charger, peer)
    peer.settle(charger, 1000.0)
    told = {action for action, _ in peer.calls}
    assert status_doc.session(dialect) <= told <= status_doc.sent(dialect)  # the rest is for each function's own tests


# ---------------------------------------------------------------------------------------------------------- properties
@settings(max_examples=30, deadline=None)
@given(st.sampled_from(ALL), st.lists(st.tuples(st.sampled_from(list(Phase)), st.sampled_from("-cdrn")), max_size=40))
def test_whatever_happens_every_register_reading_arrives_exactly_once_in_order(
    dialect: Dialect, steps: list[tuple[Phase, str]]
) -> None:
    box = Outbox(":memory:")
    charger, _, _ = station(box, interval_s=1.0)
    peer = BackEnd(dialect)
    made, now = 0, 0.0
    for phase, what in steps:
        now += 31.0
        before = len(box)
        charger.observe(view(now, phase, wh=(now, 0.0)))
        made += len(box) - before
        if what == "c" and charger.dialect is None:
            charger.connected(now, dialect)
        elif what == "d":
            charger.disconnected(now)
        elif what == "r":  # killed and started again
            charger, _, _ = station(box, interval_s=1.0)
        elif what == "n":
            continue
        peer.settle(charger, now)
    if charger.dialect is None:
        charger.connected(now + 31.0, dialect)
    for later in range(1, 6):
        peer.settle(charger, now + 31.0 * later)
    assert len(box) == 0
    if dialect.two:
        events = peer.told("TransactionEvent")
        assert len(events) == made
        stamps = [event["timestamp"] for event in events]
        assert stamps == sorted(stamps)
        open_seq = -1
        for event in events:
            assert event["seqNo"] == (0 if event["eventType"] == "Started" else open_seq + 1)
            open_seq = event["seqNo"]
    else:
        starts, stops = peer.told("StartTransaction"), peer.told("StopTransaction")
        assert 0 <= len(starts) - len(stops) <= 1
