"""The bridge against the desk's back end on the loopback: real sockets, a thread, links that end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.ocpp.bridge import FILE, Bridge, BridgeThread, Settings
from firmware.bridges.ocpp.client_keys import Keys
from firmware.bridges.ocpp.dialect import DIALECTS, V16, V21, Dialect
from firmware.bridges.ocpp.jobs import Worker
from firmware.bridges.ocpp.network import Profile
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.view import GridPort, Orders, Phase, View
from hil.csms.server import CallRefused, Csms
from tests.ocpp.back_end import WHO, view
from tests.ocpp.wire import ALL
from tests.waiting import LIMIT_S, until, wait


def settings(*ports: int, dialects: Any = DIALECTS, **more: Any) -> Settings:
    ways = [Profile(f"ws://127.0.0.1:{port}", "CP-1", 0) for port in ports]
    return Settings(ways, dialects, WHO, 0.05, 60.0, False, (0.01, 0.0, 0), **more)


def unsupported(dialect: Dialect) -> tuple[str, dict[str, Any]]:
    """A call of this version that no charger of ours carries out."""
    if dialect.two:
        return "CostUpdated", {"totalCost": 1.0, "transactionId": "x"}
    return "UpdateFirmware", {"location": "http://x/fw", "retrieveDate": "2026-01-01T00:00:00Z"}


class Desk:
    """A bridge, what it sees, and what it said."""

    def __init__(
        self,
        chosen: Settings,
        grid: GridPort | None = None,
        worker: Worker | None = None,
        keys: Keys | None = None,
    ) -> None:
        self.view: View | None = None
        self.said: list[str] = []
        self.outbox = Outbox(":memory:")
        self.bridge = Bridge(
            chosen, self.outbox, lambda: self.view, self.said.append, grid=grid, worker=worker, keys=keys
        )

    def see(self, phase: Phase, wh: tuple[float, float] = (0.0, 0.0), **more: Any) -> None:
        self.view = view(time.monotonic(), phase, wh=wh, **more)

    async def seen(self, phase: Phase, wh: tuple[float, float] = (0.0, 0.0), **more: Any) -> None:
        """See it, and wait until the bridge has."""
        self.see(phase, wh, **more)
        await until(lambda: self.bridge.station.view is self.view, "a look at the charger")

    async def __aenter__(self) -> Desk:
        self.task = asyncio.create_task(self.bridge.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)
def test_a_session_with_discharge_in_every_version(dialect: Dialect) -> None:
    async def main() -> None:
        csms = Csms()
        async with csms.listen(versions=(dialect,)) as port, Desk(settings(port)) as desk:
            desk.see(Phase.FREE)
            charger = await until(lambda: csms.chargers.get("CP-1"), "the charger")
            assert charger.dialect is dialect
            await until(lambda: desk.bridge.station.online, "registration")
            for phase, exported_wh in ((Phase.CHARGING, 0.0), (Phase.DISCHARGING, 4.0), (Phase.FREE, 5.0)):
                await desk.seen(phase, (10.0, exported_wh))
            last = "TransactionEvent" if dialect.two else "StopTransaction"
            await until(lambda: any(a == last and p.get("seqNo") != 0 for a, p in charger.told), "the end")
            await until(lambda: len(desk.outbox) == 0, "an empty queue")
            answer = await charger.call("TriggerMessage", {"requestedMessage": "Heartbeat"})
            assert answer == {"status": "Accepted"}
            with pytest.raises(CallRefused, match="NotSupported"):
                await charger.call(*unsupported(dialect))
            await until(lambda: any(action == "Heartbeat" for action, _ in charger.told), "the heartbeat")

    asyncio.run(main())


def test_a_back_end_that_goes_away_and_comes_back_gets_all_of_it() -> None:
    async def main() -> None:
        csms = Csms()
        told: list[tuple[str, dict[str, Any]]] = []
        async with csms.listen() as port:
            desk = Desk(settings(port))
            async with desk:
                desk.see(Phase.CHARGING, (1.0, 0.0))
                charger = await until(lambda: csms.chargers.get("CP-1"), "the charger")
                await until(lambda: any(action == "TransactionEvent" for action, _ in charger.told), "the start")
        told += charger.told
        # Nobody listens now; the charger goes on.
        async with desk:
            for n in range(5):
                await desk.seen(Phase.CHARGING, (2.0 + n, 0.0))
                await asyncio.sleep(0.06)  # longer than the interval of meter values
            assert len(desk.outbox) > 0
            async with csms.listen(port):
                charger = await until(lambda: csms.chargers.get("CP-1"), "the charger again")
                await until(lambda: len(desk.outbox) == 0, "an empty queue")
        told += charger.told
        events = {p["seqNo"]: p for a, p in told if a == "TransactionEvent"}
        assert sorted(events) == list(range(len(events)))
        assert any(event.get("offline") for event in events.values())

    asyncio.run(main())


def test_the_second_address_is_used_when_the_first_does_not_answer() -> None:
    async def main() -> None:
        csms = Csms()
        async with csms.listen() as port, Desk(settings(9, port)) as desk:
            desk.see(Phase.FREE)
            await until(lambda: desk.bridge.station.online, "registration")
            assert sum("cannot be reached" in sentence for sentence in desk.said) == 3

    asyncio.run(main())


def test_a_back_end_of_another_version_is_left_and_tried_again() -> None:
    async def main() -> None:
        csms = Csms()
        async with csms.listen(versions=(V16,)) as port, Desk(settings(port, dialects=[V21])) as desk:
            await until(lambda: len(desk.said) >= 2, "two tries")
            assert not desk.bridge.station.online

    asyncio.run(main())


def test_the_thread_tells_what_is_wrong_and_goes_on_and_ends_when_asked(tmp_path: Path) -> None:
    said: list[str] = []
    thread = BridgeThread(settings(9), tmp_path, said.append)
    thread.look(view(phase=Phase.PLUGGED))
    assert "not connected" in thread.problem
    thread.start()
    wait(lambda: said, "its words")
    assert sum("cannot be reached" in sentence for sentence in said) == 1  # tried often, said once
    thread.close(LIMIT_S)
    assert not thread._thread.is_alive()
    box = Outbox(tmp_path / FILE)
    assert len(box) >= 1  # the car was plugged in: that waits
    box.close()


def test_a_queue_that_cannot_be_used_is_told_and_nothing_is_raised(tmp_path: Path) -> None:
    said: list[str] = []
    thread = BridgeThread(settings(9), tmp_path / "missing", said.append)
    thread.start()
    wait(lambda: said, "its words")
    assert "cannot be used" in thread.problem
    thread.look(view())
    thread.close(LIMIT_S)
    assert not thread._thread.is_alive()


def test_what_the_back_end_orders_and_sets_is_there_again_after_a_restart(tmp_path: Path) -> None:
    async def life(port: int, csms: Csms, calls: tuple[tuple[str, dict[str, Any]], ...]) -> Orders:
        thread = BridgeThread(settings(port), tmp_path, lambda sentence: None)
        assert thread.orders is None  # it has not seen the charger yet
        thread.look(view(time.monotonic()))
        thread.start()
        try:
            orders = await until(lambda: thread.orders, "the first word")
            if calls:
                charger = await until(lambda: thread._online and csms.chargers.get("CP-1"), "the charger")
                for action, payload in calls:
                    await charger.call(action, payload)
                orders = await until(lambda: thread.orders if thread.orders != orders else None, "the order")
            return orders
        finally:
            await asyncio.to_thread(thread.close, LIMIT_S)

    async def main() -> None:
        csms = Csms()
        wait = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "RetryBackOffWaitMinimum"}}
        async with csms.listen(versions=(V21,)) as port:
            first = await life(
                port,
                csms,
                (
                    ("SetVariables", {"setVariableData": [wait | {"attributeValue": "7"}]}),
                    ("ChangeAvailability", {"operationalStatus": "Inoperative"}),
                ),
            )
            assert "out of operation" in first.hold
            assert await life(port, csms, ()) == first
        box = Outbox(tmp_path / FILE)
        bridge = Bridge(settings(9), box, lambda: None, lambda sentence: None)
        assert 7.0 <= bridge._backoff.next_s() < 8.0  # not the board's 0.01 s
        box.close()

    asyncio.run(main())
