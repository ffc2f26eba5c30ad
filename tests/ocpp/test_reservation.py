"""A reservation keeps the charger free for one token, over power, until it is used, cancelled or over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.authorization import Authorization
from firmware.bridges.ocpp.dialect import V16, V21, Dialect
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.view import Phase
from tests.ocpp.back_end import WALL_S, BackEnd, registered, station, view
from tests.ocpp.wire import ALL

all_versions = pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)
ALICE, BOB = ({"idToken": name, "type": "Central"} for name in ("Alice", "Bob"))


def reserve(dialect: Dialect, id: int = 3, until_s: float = 600.0, **more: Any) -> dict[str, Any]:
    until = times.show(WALL_S + until_s)
    if dialect.two:
        return {"id": id, "expiryDateTime": until, "idToken": ALICE, **more}
    return {"connectorId": 1, "expiryDate": until, "idTag": "Alice", "reservationId": id, **more}


def start(dialect: Dialect, token: dict[str, str], **more: Any) -> tuple[str, dict[str, Any]]:
    if dialect.two:
        return "RequestStartTransaction", {"idToken": token, "remoteStartId": 9, **more}
    return "RemoteStartTransaction", {"idTag": token["idToken"]}


def connector(peer: BackEnd) -> str:
    last = peer.told("StatusNotification")[-1]
    return str(last.get("connectorStatus", last.get("status")))


@all_versions
def test_only_who_reserved_gets_a_session_and_the_record_names_the_reservation(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    assert peer.ask(charger, "ReserveNow", reserve(dialect)) == {"status": "Accepted"}
    peer.settle(charger, 2.0)
    assert connector(peer) == "Reserved"
    assert "reserved" in charger.orders(2.0).hold
    for t in (3.0, 4.0):  # somebody plugs in without a word
        charger.observe(view(t, Phase.PLUGGED))
    assert charger.transactions.id is None
    assert peer.ask(charger, *start(dialect, BOB), 4.0)["status"] == "Rejected"
    assert peer.ask(charger, *start(dialect, {**ALICE, "idToken": "ALICE"}), 4.0)["status"] == "Accepted"
    charger.observe(view(5.0, Phase.PLUGGED))
    charger.observe(view(6.0, Phase.CHARGING))
    peer.settle(charger, 6.0)
    begun = peer.told("TransactionEvent" if dialect.two else "StartTransaction")[0]
    assert begun["reservationId"] == 3
    assert charger.reservation is None
    assert charger.orders(6.0).hold == ""
    charger.observe(view(7.0, Phase.FREE))
    peer.settle(charger, 9.0)
    assert connector(peer) == "Available"


def test_the_group_of_a_reservation_may_charge() -> None:
    charger, _, peer = registered(V21)
    group = {"idToken": "Fleet", "type": "Central"}
    assert peer.ask(charger, "ReserveNow", reserve(V21, groupIdToken=group))["status"] == "Accepted"
    assert peer.ask(charger, *start(V21, BOB, groupIdToken=ALICE))["status"] == "Rejected"
    assert peer.ask(charger, *start(V21, BOB, groupIdToken=group))["status"] == "Accepted"


@pytest.mark.parametrize(
    ("looks", "request_", "status"),
    [
        ([view(1.0, Phase.PLUGGED)], reserve(V21), "Occupied"),
        ([view(1.0, faults=("x",))], reserve(V21), "Faulted"),
        ([view(1.0, stopped=True)], reserve(V21), "Unavailable"),
        ([], reserve(V21, until_s=-1.0), "Rejected"),
        ([], reserve(V21, until_s=1e9), "Rejected"),
        ([], reserve(V21, evseId=2), "Rejected"),
    ],
)
def test_what_cannot_be_reserved_is_refused(looks: list[Any], request_: dict[str, Any], status: str) -> None:
    charger, _, peer = registered(V21)
    for one in looks:
        charger.observe(one)
    assert peer.ask(charger, "ReserveNow", request_, 1.0)["status"] == status
    assert charger.reservation is None


def test_connector_zero_of_1_6_is_refused_and_another_reservation_is_occupied() -> None:
    charger, _, peer = registered(V16)
    assert peer.ask(charger, "ReserveNow", reserve(V16) | {"connectorId": 0}) == {"status": "Rejected"}
    assert peer.ask(charger, "ReserveNow", reserve(V16)) == {"status": "Accepted"}
    assert peer.ask(charger, "ReserveNow", reserve(V16, until_s=900.0)) == {"status": "Accepted"}  # the same one again
    assert peer.ask(charger, "ReserveNow", reserve(V16, id=4)) == {"status": "Occupied"}


@pytest.mark.parametrize(
    ("end", "word"), [("time", "Expired"), ("fault", "Removed"), ("operation", "Removed"), ("cancel", None)]
)
def test_its_end_is_told_unless_the_back_end_asked_for_it(end: str, word: str | None) -> None:
    charger, _, peer = registered(V21)
    peer.ask(charger, "ReserveNow", reserve(V21))
    if end == "cancel":
        assert peer.ask(charger, "CancelReservation", {"reservationId": 4})["status"] == "Rejected"
        assert peer.ask(charger, "CancelReservation", {"reservationId": 3}) == {"status": "Accepted"}
    elif end == "operation":
        peer.ask(charger, "ChangeAvailability", {"operationalStatus": "Inoperative"})
    charger.observe(view(601.0 if end == "time" else 5.0, faults=("x",) if end == "fault" else ()))
    charger.observe(view(601.1 if end == "time" else 5.1))
    peer.settle(charger, 602.0)
    told = [p["reservationUpdateStatus"] for p in peer.told("ReservationStatusUpdate")]
    assert told == ([] if word is None else [word])
    assert charger.reservation is None


def test_it_is_there_again_after_a_restart(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "q")
    charger, _, peer = registered(V21, outbox=box)
    peer.ask(charger, "ReserveNow", reserve(V21))
    again, _, _ = station(box)
    again.observe(view(1.0, Phase.PLUGGED))
    again.observe(view(2.0, Phase.PLUGGED))
    assert again.transactions.id is None
    assert "reserved" in again.orders(2.0).hold
    box.close()


def listed(dialect: Dialect, version: int, **of: tuple[str, str]) -> tuple[str, dict[str, Any]]:
    """A full list: token -> (status, its group)."""
    entries: list[dict[str, Any]] = []
    for name, (status, group) in of.items():
        if dialect.two:
            info = {"status": status, "groupIdToken": {"idToken": group, "type": "Local"}}
            entries.append({"idToken": {"idToken": name, "type": "Central"}, "idTokenInfo": info})
        else:
            entries.append({"idTag": name, "idTagInfo": {"status": status, "parentIdTag": group}})
    number = {"versionNumber" if dialect.two else "listVersion": version}
    return "SendLocalList", {"updateType": "Full", "localAuthorizationList": entries, **number}


@all_versions
def test_a_token_that_the_list_or_the_cache_has_in_the_same_group_may_use_the_reservation(
    dialect: Dialect, tmp_path: Path
) -> None:
    box = Outbox(tmp_path / "q")
    charger, _, peer = registered(dialect, outbox=box)
    family = {"groupIdToken": {"idToken": "FAMILY", "type": "Central"}} if dialect.two else {"parentIdTag": "FAMILY"}
    assert peer.ask(charger, "ReserveNow", reserve(dialect, **family)) == {"status": "Accepted"}
    everybody = {"Bob": ("Accepted", "family"), "Carol": ("Accepted", "other"), "Dave": ("Blocked", "family")}
    assert peer.ask(charger, *listed(dialect, 1, **everybody)) == {"status": "Accepted"}

    def may(name: str) -> bool:
        asked, _, back_end = registered(dialect, outbox=box)
        answer = back_end.ask(asked, *start(dialect, {"idToken": name, "type": "Central"}))
        return bool(answer["status"] == "Accepted")

    assert [may(name) for name in ("Bob", "Carol", "Dave", "Eve")] == [True, False, False, False]
    charger.tune.local_list = False
    assert peer.ask(charger, *start(dialect, BOB))["status"] == "Rejected"
    group = {"idToken": "Family", "type": "Central"}
    info = {"status": "Accepted", **({"groupIdToken": group} if dialect.two else {"parentIdTag": "Family"})}
    known = next(f for f in charger.functions if isinstance(f, Authorization)).known
    known.remember(BOB, info, WALL_S)
    assert peer.ask(charger, *start(dialect, BOB))["status"] == "Accepted"
    box.close()
