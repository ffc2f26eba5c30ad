"""The real services' side and the emulated EVerest at a real mosquitto, which is killed and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("paho.mqtt.client", reason="the extra `mqtt` is not installed")

from firmware.bridges.everest.topics import BSP
from firmware.bridges.mqtt.client import Address, Broker
from firmware.guard.messages import CarReport
from firmware.services.everest import EverestSide, broker_of, modules_of
from hil.devices.everest import EmulatedEverest
from hil.plant.link import PlantLink
from tests.everest.rig import board
from tests.mqtt.test_broker import MOSQUITTO, Mosquitto, free_port
from tests.view_snapshot import BASE
from tests.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed"),
]
REST = msgspec.structs.replace(
    BASE, state="connected", cp="B", contactor_dc=False, stop=False, ready=True, faults=[], converter_on=False
)


class Both:
    """Services' side and EVerest, each with its own connection; `heard`: what guard was told."""

    def __init__(self, port: int) -> None:
        made = board(port=port)
        modules = modules_of(made)
        self.heard: list[CarReport] = []
        self.said: list[str] = []
        self.side = EverestSide(
            made, broker_of(made), lambda: (0.0, 0.0), self.heard.append, time.monotonic, self.said.append
        )
        self.everest = EmulatedEverest(PlantLink(), random.Random(1), modules, 0.2)
        self._inbox: deque[tuple[str, bytes]] = deque()
        self._broker = Broker(
            Address("127.0.0.1", port, "everest"),
            [modules.to_everest(kind, "+") for kind in modules.names],
            None,
            lambda: None,
            lambda topic, payload, _: self._inbox.append((topic, payload)),
        )
        self._broker.start()

    async def run(self) -> None:
        """Both sides until cancelled."""
        task = asyncio.create_task(self.side.run())
        try:
            while True:
                now = time.monotonic()
                self.side.snapshot(msgspec.structs.replace(REST, t=now))
                while self._inbox:
                    self.everest.receive(now, *self._inbox.popleft())
                for topic, text in self.everest.step(now):
                    self._broker.publish(topic, text)
                await asyncio.sleep(0.05)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.to_thread(self._broker.close)

    def phase(self) -> str:
        """What guard believes: the last report, as long as it is not older than its own 0.5 s."""
        fresh = self.heard and time.monotonic() - self.heard[-1].t <= 0.5
        return self.heard[-1].phase if fresh else "silent"


def test_both_find_each_other_lose_each_other_with_the_broker_and_find_each_other_again(tmp_path: Path) -> None:
    async def story() -> None:
        port = free_port()
        broker = Mosquitto(tmp_path, port, anonymous=True)
        both = Both(port)
        task = asyncio.create_task(both.run())
        try:
            await until(lambda: both.everest.operative and both.phase() == "wait")  # it heard B and offers 5 %
            assert both.side.peer.bad == 0
            broker.kill()
            await until(lambda: both.phase() == "silent")
            await until(lambda: any("is not connected" in sentence for sentence in both.said))
            # EVerest may have been started anew meanwhile: without the pilot's event told again it knows of no car.
            events = modules_of(board()).to_everest(BSP, "event")
            both.everest.receive(time.monotonic(), events, b'{"event":"A"}')
            broker = Mosquitto(tmp_path, port, anonymous=True)
            await until(lambda: both.phase() == "wait")
            await until(lambda: both.said[-1] == "The vehicle side (EVerest) answers again.")
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            broker.kill()

    asyncio.run(story())
