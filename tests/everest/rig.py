"""The whole charger in lockstep with an emulated EVerest: guard, drivers, devices and plant of `hil.sim.Sim`; between
them the real bridge and the real services' side of it. Only the broker is left out."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace
from typing import Any

from boards import Board
from boards.peers import Everest
from firmware.guard.messages import FromGuard, Snapshot, ToGuard
from firmware.services.everest import EverestSide, modules_of
from hal.ports import CanFrame
from hil.bench.sim import COMPILED
from hil.devices.everest import EmulatedEverest
from hil.plant.grid_source import ProgrammableSource
from hil.sim import Sim
from tests.sim.rig import DEVICE_STEP_S, F_HZ, IEEE, NOMINAL_V, PLANT_STEP_S
from tests.sim.rig import board as desk

SETTINGS = Everest(
    host="127.0.0.1",
    power_supply="psu",
    board_support="bsp",
    insulation="imd",
    power_meter="meter",
    manager="evse",
    heartbeat_s=0.2,
)


def board(**changes: Any) -> Board:
    on_can = desk(IEEE)
    vehicle = replace(on_can.vehicle, driver="everest", interface=None, pki=None)
    return replace(on_can, vehicle=vehicle, everest=replace(SETTINGS, **changes))


class Wire:
    """Instead of a broker: what one side publishes the other has at once."""

    def __init__(self) -> None:
        self.problem = ""
        self.log: list[tuple[float, str, str]] = []  # both ways
        self.to_everest: deque[tuple[str, str]] = deque()
        self.now = 0.0

    def start(self) -> None: ...

    def publish(self, topic: str, text: str, *, retain: bool = False) -> bool:
        assert not retain
        self.log.append((self.now, topic, text))
        self.to_everest.append((topic, text))
        return True

    def close(self, timeout_s: float = 2.0) -> None: ...


class Charger:
    """`sim` with an EVerest. `said`: sentences of services."""

    def __init__(self, *, soc: float = 0.6, **changes: Any) -> None:
        made = board(**changes)
        assert made.everest is not None
        sim = self.sim = Sim(
            made, ProgrammableSource(NOMINAL_V, F_HZ[IEEE]), seed=3, soc=soc,
            compiled=COMPILED, device_step_s=DEVICE_STEP_S, plant_step_s=PLANT_STEP_S,
        )  # fmt: skip
        self.everest = EmulatedEverest(sim.link, random.Random(5), modules_of(made), made.everest.heartbeat_s)
        self.car = self.everest.car
        self.wire, self.said = Wire(), list[str]()
        self.energy_wh = (1000.0, 200.0)
        self.side = EverestSide(
            made, lambda up, heard: self.wire, lambda: self.energy_wh, self._to_guard, lambda: sim.now, self.said.append
        )
        self.side.connect()
        sim.car = self  # type: ignore[assignment]  # it steps EVerest and the car behind it
        sim.services._car = lambda now: self.side.step()  # type: ignore[method-assign]
        self._send = sim.services.send
        sim.services.send = self._from_guard  # type: ignore[method-assign]

    def _to_guard(self, message: ToGuard) -> None:
        self.sim.services.outbox.append(message)

    def _from_guard(self, message: FromGuard) -> bool:
        if isinstance(message, Snapshot):
            self.side.snapshot(message)
        return self._send(message)

    def step(self, now: float) -> list[CanFrame]:
        """As the simulated rig calls its car."""
        self.wire.now = now
        while self.wire.to_everest:
            topic, text = self.wire.to_everest.popleft()
            self.everest.receive(now, topic, text.encode())
        for topic, text in self.everest.step(now):
            self.wire.log.append((now, topic, text))
            self.side.heard(topic, text.encode(), False)
        return []

    def receive(self, now: float, frame: CanFrame) -> None: ...

    def to_transfer(self, power_w: float = 11_000.0) -> None:
        """Plug in and run until current flows as asked for."""
        self.sim.wish.power_w = power_w
        self.sim.run(1.0)
        self.car.plug_in()
        self.sim.until(lambda: self.sim.state == "transfer: charging", 60.0)

    def said_by(self, name: str) -> list[str]:
        """Payloads under topics that end with `name`, in order."""
        return [text for _, topic, text in self.wire.log if topic.endswith(f"/{name}")]
