"""The short cuts of the lockstep rig change nothing: a device that rests sends and does what it would have done."""

from __future__ import annotations

import random

import pytest

from hil.sim import SerialWire, Sim
from tests.sim.rig import IEEE, VDE, Tap, ask, build, transfer


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
    """The same rig, whose devices look at everything at every step, and no step is left out."""
    devices = sim._devices

    def every(now: float, moved: bool) -> None:
        sim.wake()
        devices(now, moved)
        sim.wake()

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


def bend(sim: Sim, rng: random.Random) -> None:
    """Something happens, anywhere."""
    kind = rng.randrange(12)
    if kind == 0:
        sim.pilot.handle(
            {rng.choice(("corrupt_next", "swap_next")): rng.randrange(4), "garbage_next": rng.randrange(9)}
        )
    elif kind == 1:
        name = rng.choice(("mute", "freeze_grid", "cp_short", "diode_fault", "deaf"))
        sim.pilot.handle({name: rng.random() < 0.2})
    elif kind == 2:
        sim.converter.faults.drop_share, sim.converter.faults.corrupt_share = rng.choice(((0.0, 0.0), (0.1, 0.05)))
    elif kind == 3:
        sim.converter.faults.babble_hz = rng.choice((0.0, 0.0, 80.0))
        sim.converter.faults.delay_s = rng.choice((0.0, 0.003))
    elif kind == 4:
        sim.converter.faults.current_gain = rng.choice((1.0, 1.05))
        sim.converter.faults.freeze = rng.random() < 0.2
    elif kind == 5:
        sim.source.sag(rng.uniform(0.0, 1.3), rng.uniform(0.001, 0.1))
    elif kind == 6:
        sim.source.ramp(rng.uniform(0.01, 0.2), rng.uniform(225.0, 235.0), rng.uniform(59.7, 60.3))
    elif kind == 7:
        sim.link.estop = float(rng.random() < 0.1)
        sim.link.leak_ohm = rng.choice((0.0, 0.0, 50e3))
    elif kind == 8:
        ask(sim, rng.uniform(-22e3, 22e3))
    elif kind == 9:
        sim.kill_guard(rng.uniform(0.01, 0.6)) if rng.random() < 0.2 else sim.source.jump(rng.uniform(-20.0, 20.0))
    elif kind == 10:
        sim.guard_alive = rng.random() < 0.8
    elif rng.random() < 0.1:
        rng.choice((sim.pilot.reboot, lambda: sim.converter.handle({"reset": 0.2}), sim.car.request_stop))()


@pytest.mark.parametrize("seed", range(4))
def test_steps_that_are_left_out_would_have_done_nothing(seed: int) -> None:
    captures = []
    for kind in (thorough, lambda sim: sim):
        sim = kind(tapped(transfer(-9_000.0)))
        rng = random.Random(seed)
        for _ in range(25):
            bend(sim, rng)
            sim.run(sim.now + rng.choice((0.0007, 0.01, rng.uniform(0.0, 0.3))))
        captures.append(capture(sim))
    assert captures[0] == captures[1]


def test_steps_are_left_out() -> None:
    """Otherwise the equality above would say nothing. A charger in transfer at the rig's own step."""
    sim = build(fine=True)
    sim.car.plug_in()
    ask(sim, -5_000.0)
    sim.until(lambda: sim.link.dc_v_v * sim.link.dc_i_a < -4_900.0, 30.0)
    sim.run(sim.now + 0.2)
    stepped = 0
    devices = sim._devices

    def counted(now: float, moved: bool) -> None:
        nonlocal stepped
        stepped += 1
        devices(now, moved)

    sim._devices = counted  # type: ignore[method-assign]
    sim.run(sim.now + 1.0)
    if sim.plant.looks_ahead:
        assert stepped < 600  # of 1000
