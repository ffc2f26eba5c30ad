"""What is known of a token is told, and what is the charger's own to forget is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from firmware.bridges.ocpp.dialect import V21, V201, Dialect
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.tunables import Tunables
from firmware.bridges.ocpp.view import Phase
from tests.ocpp.back_end import registered, view

ALICE = {"idToken": "Alice", "type": "Central"}
BOB = {"idToken": "Bob", "type": "Central"}
two = pytest.mark.parametrize("dialect", [V201, V21], ids=lambda dialect: dialect.name)


def ask(token: dict[str, str] | None = ALICE, **more: Any) -> dict[str, Any]:
    return {"requestId": 3, "report": True, "clear": False} | ({} if token is None else {"idToken": token}) | more


@two
def test_the_entries_of_a_token_are_told_and_only_the_cache_is_forgotten(dialect: Dialect) -> None:
    box = Outbox(":memory:")
    info = {"idTokenInfo": {"status": "Accepted"}}
    charger, _, peer = registered(dialect, outbox=box, tune=Tunables(authorize_remote=True, local_pre=False))
    peer.answers["Authorize"] = info
    entry = {"idToken": ALICE, "idTokenInfo": {"status": "Blocked"}}
    peer.ask(charger, "SendLocalList", {"versionNumber": 1, "updateType": "Full", "localAuthorizationList": [entry]})
    peer.ask(charger, "RequestStartTransaction", {"idToken": ALICE, "remoteStartId": 1})
    peer.settle(charger, 1.0)
    for t, phase in ((2.0, Phase.PLUGGED), (3.0, Phase.FREE)):
        charger.observe(view(t, phase))
    peer.settle(charger, 3.0)
    for request in (ask(), ask(clear=True), ask(), ask(BOB)):
        assert peer.ask(charger, "CustomerInformation", request, 4.0) == {"status": "Accepted"}
        peer.settle(charger, 4.0)
    told = [p["data"] for p in peer.told("NotifyCustomerInformation")]
    both = "local list: Blocked; cache: Accepted"
    assert told == [both, both, "local list: Blocked", "nothing is known"]
    again, _, peer = registered(dialect, outbox=box)
    peer.ask(again, "CustomerInformation", ask())
    peer.settle(again, 1.0)
    assert peer.told("NotifyCustomerInformation")[0]["data"] == "local list: Blocked"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (ask(None), "Invalid"),
        (ask(customerIdentifier="x"), "Invalid"),
        (ask(report=False), "Rejected"),
        (ask(None, customerIdentifier="x"), "Accepted"),
    ],
)
def test_a_request_names_one_customer_and_wants_something(request_: dict[str, Any], status: str) -> None:
    charger, _, peer = registered(V21)
    assert peer.ask(charger, "CustomerInformation", request_)["status"] == status
    peer.settle(charger, 1.0)
    assert [p["data"] for p in peer.told("NotifyCustomerInformation")] == ["nothing is known"] * (status == "Accepted")
