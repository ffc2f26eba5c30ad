"""Security events: written down, told in order and once, kept over power, never with a secret."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import serve

from firmware.bridges.ocpp.dialect import V21, Dialect
from firmware.bridges.ocpp.network import Profile
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.security import MAX_ENTRIES, SecurityEvents
from firmware.bridges.ocpp.view import Phase
from tests.ocpp.back_end import BackEnd, registered, station, view
from tests.ocpp.test_bridge import Desk, settings
from tests.ocpp.test_transport import PASSWORD, Pki, idle, port_of
from tests.ocpp.wire import ALL
from tests.waiting import until

all_versions = pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)


@all_versions
def test_events_are_told_in_order_once_and_repetitions_are_written_down_once_an_hour(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    for t in (1.0, 2.0, 3700.0):
        charger.security("InvalidTLSVersion", "the same words")
        charger.security("InvalidCsmsCertificate", "x" * 400)
        charger.observe(view(t))
        peer.settle(charger, t)
    told = peer.told("SecurityEventNotification")
    name = "InvalidCsmsCertificate" if dialect.two else "InvalidCentralSystemCertificate"
    assert [event["type"] for event in told] == ["InvalidTLSVersion", name] * 2
    assert max(len(event["techInfo"]) for event in told) == 255


def test_what_could_not_be_told_is_told_after_a_restart_and_a_refusal_ends_it(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "q")
    charger, _, _ = station(box)
    charger.security("InvalidTLSVersion", "")
    charger.observe(view(1.0))
    box.close()
    again, box, _ = station(Outbox(tmp_path / "q"))
    peer = BackEnd(V21, SecurityEventNotification="NotImplemented")
    again.observe(view(2.0))
    again.connected(2.0, V21)
    peer.settle(again, 2.0)
    assert len(peer.told("SecurityEventNotification")) == 1
    box.close()


def test_a_flood_of_events_stays_bounded_and_keeps_those_that_were_not_told() -> None:
    charger, _, _ = station()
    for n in range(MAX_ENTRIES + 50):
        charger.security("InvalidMessages", f"number {n}")
        charger.observe(view(float(n)))
    log = next(f for f in charger.functions if isinstance(f, SecurityEvents))
    assert len(log.entries) == MAX_ENTRIES
    assert log.entries[-1]["info"] == f"number {MAX_ENTRIES + 49}"


def test_a_wrong_server_first_and_a_right_one_then_hears_of_it(tmp_path: Path) -> None:
    """Over real sockets: the first way to the back end has a certificate of another name, the second is good."""
    pki = Pki(tmp_path)
    wrong, right = (pki.root.issue(name, host=host) for name, host in (("w", "other.example"), ("r", "localhost")))
    heard: list[tuple[str, dict[str, Any]]] = []

    async def main() -> None:
        bad = await serve(idle, "127.0.0.1", 0, ssl=pki.server(*wrong[:2]), subprotocols=["ocpp2.1"])
        from hil.csms.server import Csms

        csms = Csms()
        good = await serve(csms._connected, "127.0.0.1", 0, ssl=pki.server(*right[:2]), subprotocols=["ocpp2.1"])
        ways = [
            Profile(f"wss://localhost:{port_of(server)}", "CP-1", 2, PASSWORD, pki.root.file) for server in (bad, good)
        ]
        chosen = settings(9)
        async with Desk(type(chosen)(ways, *(getattr(chosen, f) for f in list(chosen.__slots__)[1:]))) as desk:
            desk.see(Phase.FREE)
            charger = await until(lambda: csms.chargers.get("CP-1"), "the charger")
            desk.see(Phase.FREE)
            await until(lambda: sum(a == "SecurityEventNotification" for a, _ in charger.told) >= 2, "the events")
            heard.extend(charger.told)
        bad.close()
        good.close()

    asyncio.run(main())
    events = [payload for action, payload in heard if action == "SecurityEventNotification"]
    assert [event["type"] for event in events] == ["StartupOfTheDevice", "InvalidCsmsCertificate"]
    assert PASSWORD not in str(events)
