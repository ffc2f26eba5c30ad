"""The short cuts of the lockstep rig change nothing: a device that rests sends and does what it would have done."""

from __future__ import annotations

import math

import pytest

from hil.sim import SerialWire, Sim
from tests.sim.rig import IEEE, VDE, Tap, ask, build, idle, transfer


class SerialTap(SerialWire):
    """The pilot's line with a record of both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[bool, bytes]] = []

    def recv(self) -> bytes:
        data = super().recv()
        self.log.append((False, data))
        return data

    def send(self, data: bytes) -> bool:
        self.log.append((True, data))
        return super().send(data)


def tapped(sim: Sim) -> Sim:
    sim.serial = sim.loop.serial = SerialTap()
    return sim


def thorough(sim: Sim) -> Sim:
    """The same rig, whose devices look at everything at every step."""
    devices = sim._devices

    def every(now: float) -> None:
        sim.converter._due = sim.pilot._due = -math.inf
        devices(now)

    sim._devices = every  # type: ignore[method-assign]
    return sim


def capture(sim: Sim) -> str:
    """Everything that left either side, with its times, and the plant at the end: equal to the last bit or not."""
    assert isinstance(sim.can, Tap)
    assert isinstance(sim.serial, SerialTap)
    return repr((sim.can.log, sim.serial.log, sim.services.events, sim.link.as_dict(), sim.services.snapshot))


def from_cold(sim: Sim) -> None:
    """Boot, session, ramp to the module's power limit, back through zero."""
    sim.car.plug_in()
    ask(sim, 22_000.0)
    sim.run(24.0)
    ask(sim, -9_000.0)
    sim.run(26.0)


def wire_faults(sim: Sim) -> None:
    sim.pilot.handle({"corrupt_next": 5})
    sim.converter.handle({"drop_share": 0.1})
    sim.run(sim.now + 1.0)
    sim.converter.faults.babble_hz = 50.0
    sim.run(sim.now + 0.5)
    sim.converter.handle({"clear": True})
    sim.pilot.mute = True
    sim.run(sim.now + 0.2)
    sim.pilot.mute = False
    sim.converter.faults.current_gain = 1.2
    sim.run(sim.now + 2.0)


def safety(sim: Sim) -> None:
    sim.link.estop = 1.0
    sim.run(sim.now + 0.5)
    sim.link.estop = 0.0
    sim.pilot.cp_short = True
    sim.run(sim.now + 0.3)
    sim.pilot.cp_short = False
    sim.converter.handle({"reset": True})
    sim.run(sim.now + 4.0)


def silence(sim: Sim) -> None:
    """Guard dies for longer than the MCU and the module wait for it."""
    sim.guard_alive = False
    sim.run(sim.now + 11.0)
    sim.guard_alive = True
    sim.run(sim.now + 2.0)
    sim.pilot.reboot()
    sim.run(sim.now + 2.0)


def grid(sim: Sim) -> None:
    sim.source.sag(0.3, 0.2)
    sim.run(sim.now + 1.0)
    sim.source.sag(0.0, 2.0)  # longer than the module's hold-up
    sim.run(sim.now + 3.0)
    sim.source.sag(1.35, 6.0)  # longer than the module's own over-voltage delay
    sim.run(sim.now + 6.5)


@pytest.mark.slow
@pytest.mark.parametrize("story", [wire_faults, safety, silence, grid])
def test_a_resting_device_does_what_it_would_have_done(story: object) -> None:
    captures = []
    for kind in (thorough, lambda sim: sim):
        sim = kind(tapped(transfer(-9_000.0)))
        story(sim)  # type: ignore[operator]
        captures.append(capture(sim))
    assert captures[0] == captures[1]


@pytest.mark.slow
@pytest.mark.parametrize("code", [IEEE, VDE])
def test_a_resting_device_does_what_it_would_have_done_from_the_first_instant_on(code: str) -> None:
    captures = []
    for kind in (thorough, lambda sim: sim):
        sim = kind(tapped(build(code, fine=True)))
        from_cold(sim)
        captures.append(capture(sim))
    assert captures[0] == captures[1]


def test_the_devices_do_rest() -> None:
    """Otherwise the equality above would say nothing."""
    sim = idle()
    looked = rested = 0
    step, rests = sim.converter._supply, sim.converter._rests

    def count_step(now: float) -> None:
        nonlocal looked
        looked += 1
        step(now)

    def count_rest(now: float, dt: float) -> bool:
        nonlocal rested
        found = rests(now, dt)
        rested += found
        return found

    sim.converter._supply, sim.converter._rests = count_step, count_rest  # type: ignore[method-assign]
    sim.run(sim.now + 2.0)
    assert rested > 0.3 * looked  # at the tests' device step of 2.5 ms; a frame is due in most of the others
