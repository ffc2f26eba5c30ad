"""Ways that the back end adds: never less secure, never in the place of the board's, used when it is said so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.ocpp.dialect import V21, V201
from firmware.bridges.ocpp.network import Profile
from firmware.bridges.ocpp.network_profiles import KEPT, ways_of
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.view import Phase
from hil.csms.server import Csms
from tests.ocpp.back_end import registered, view
from tests.ocpp.test_bridge import Desk, settings
from tests.waiting import until

SECRET = "0123456789abcdef-new"
BOARD = Profile("wss://one.example", "CP-1", 2, "0123456789abcdef", Path("ca.pem"))


def data(**more: Any) -> dict[str, Any]:
    return {
        "configurationSlot": more.pop("slot", 3),
        "connectionData": {
            "ocppCsmsUrl": "wss://two.example",
            "ocppInterface": "Any",
            "ocppTransport": "JSON",
            "messageTimeout": 20,
            "securityProfile": 2,
            "basicAuthPassword": SECRET,
            **more,
        },
    }


def priority(text: str) -> dict[str, Any]:
    place = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "NetworkConfigurationPriority"}}
    return {"setVariableData": [place | {"attributeValue": text}]}


def test_a_good_profile_is_kept_without_showing_its_password_and_used_in_its_order() -> None:
    charger, box, peer = registered(V21, way=BOARD)
    assert peer.ask(charger, "SetNetworkProfile", data()) == {"status": "Accepted"}
    charger.observe(view(1.0))
    peer.settle(charger, 1.0)
    (event,) = peer.told("SecurityEventNotification")
    assert event["type"] == "ReconfigurationOfSecurityParameters"
    shown = [str(function.report(1.0)) for function in charger.functions]
    assert not any(SECRET in text for text in shown)
    assert SECRET not in str(event)
    answer = peer.ask(charger, "SetVariables", priority("3,1"))
    assert answer["setVariableResult"][0]["attributeStatus"] == "RebootRequired"
    first, second = ways_of([BOARD], box.state(KEPT), charger.tune.priority)
    assert (first.url, first.password, first.ca_file, first.message_timeout_s) == (
        "wss://two.example", SECRET, BOARD.ca_file, 20.0,
    )  # fmt: skip
    assert second == BOARD


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"securityProfile": 1, "ocppCsmsUrl": "ws://two.example"}, "NoSecurityDowngrade"),
        ({"securityProfile": 0, "ocppCsmsUrl": "ws://127.0.0.1"}, "NoSecurityDowngrade"),
        ({"securityProfile": 3}, "InvalidNetworkConf"),  # the board has no client certificate
        ({"securityProfile": 7}, "InvalidNetworkConf"),
        ({"slot": 1}, "InvalidConfSlot"),
        ({"slot": 9}, "InvalidConfSlot"),
        ({"ocppTransport": "SOAP"}, "InvalidNetworkConf"),
        ({"ocppVersion": "OCPP15"}, "InvalidNetworkConf"),
        ({"ocppCsmsUrl": "ws://two.example"}, "InvalidNetworkConf"),
        ({"ocppCsmsUrl": "http://two.example"}, "InvalidNetworkConf"),
        ({"ocppCsmsUrl": "wss://two.example:99999"}, "InvalidNetworkConf"),
        ({"ocppCsmsUrl": "wss://[::1"}, "InvalidNetworkConf"),
        ({"ocppCsmsUrl": "wss://two.example/a b"}, "InvalidNetworkConf"),
        ({"basicAuthPassword": "short"}, "InvalidNetworkConf"),
        ({"messageTimeout": 0}, "InvalidNetworkConf"),
        ({"apn": {"apn": "x", "apnAuthentication": "NONE"}}, "UnsupportedParam"),
    ],
)
def test_a_bad_profile_is_refused_with_its_reason_and_changes_nothing(wrong: dict[str, Any], reason: str) -> None:
    charger, box, peer = registered(V21, way=BOARD)
    answer = peer.ask(charger, "SetNetworkProfile", data(**wrong))
    assert (answer["status"], answer["statusInfo"]["reasonCode"]) == ("Rejected", reason)
    assert box.state(KEPT) is None


def test_below_the_way_that_is_in_use_nothing_is_taken_though_the_board_itself_is_lower() -> None:
    charger, _, peer = registered(V21, way=BOARD)
    charger.credentials.of(Profile("wss://three.example", "CP-1", 3, "", *[Path("x")] * 3))
    answer = peer.ask(charger, "SetNetworkProfile", data())
    assert answer["statusInfo"]["reasonCode"] == "NoSecurityDowngrade"
    place = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "SecurityProfile"}}
    (found,) = peer.ask(charger, "GetVariables", {"getVariableData": [place]})["getVariableResult"]
    assert found["attributeValue"] == "3"


def test_a_priority_names_different_slots_and_those_without_a_profile_are_left_out() -> None:
    charger, _, peer = registered(V201, way=BOARD)
    for text in ("", "0", "6", "1,1", "a", "1;2", "1,"):
        (result,) = peer.ask(charger, "SetVariables", priority(text))["setVariableResult"]
        assert result["attributeStatus"] == "Rejected", text
    assert ways_of([BOARD], {}, "4,3") == [BOARD]
    damaged = {"3": {"url": "wss://x"}, "4": 7, "5": {"url": "ws://y", "identity": "CP-1", "security": 1,
                                                      "password": SECRET, "timeout_s": 9}}  # fmt: skip
    assert ways_of([BOARD], damaged, "3,4,5") == [BOARD]


def test_the_bridge_goes_where_the_new_priority_says_and_back_to_the_board_when_nobody_is_there() -> None:
    async def main() -> None:
        old, new = Csms(), Csms()
        async with old.listen() as port, new.listen() as other, Desk(settings(port)) as desk:
            desk.see(Phase.FREE)
            charger = await until(lambda: desk.bridge.station.online and old.chargers.get("CP-1"), "the first")
            for slot, there in ((3, other), (4, 9)):  # nobody is at port 9
                way = {"ocppCsmsUrl": f"ws://127.0.0.1:{there}", "securityProfile": 0, "ocppVersion": "OCPP21"}
                more = data(slot=slot, **way)
                del more["connectionData"]["basicAuthPassword"]
                assert await charger.call("SetNetworkProfile", more) == {"status": "Accepted"}
            await charger.call("SetVariables", priority("4,3"))
            await charger._socket.close()
            charger = await until(lambda: new.chargers.get("CP-1"), "the second, after three failures at the first")
            # The server is done with the handshake before the charger is: what the charger took over shows only then.
            await until(lambda: desk.bridge.station.online, "registration there")
            assert desk.bridge.station.timeout_s == 20.0
            await charger.call("SetVariables", priority("4"))
            assert not old.chargers
            await charger._socket.close()
            await until(lambda: old.chargers.get("CP-1"), "the board's own")

    asyncio.run(main())


def test_stored_slots_survive_a_restart(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "q")
    charger, _, peer = registered(V21, way=BOARD, outbox=box)
    peer.ask(charger, "SetNetworkProfile", data())
    peer.ask(charger, "SetVariables", priority("3"))
    again, _, _ = registered(V21, way=BOARD, outbox=box)
    assert [way.url for way in ways_of([BOARD], box.state(KEPT), again.tune.priority)] == [
        "wss://two.example", "wss://one.example",
    ]  # fmt: skip
    box.close()
