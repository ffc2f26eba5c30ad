"""Boards, sources and ready-made starts for the tests of the whole charger in lockstep (`hil.sim.Sim`).

A session takes about 20 simulated seconds to start. It is played once per kind and process; every test gets a copy of
that moment (`transfer`, `idle`), which goes on exactly as the original would
(test_determinism.py shows it). Times that a test measures come from the plant: `Scope`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import boards
from boards import Board
from firmware.guard.messages import EventMessage, Snapshot
from hal.can import infy_codec as codec
from hal.ports import CanFrame
from hil.bench.sim import COMPILED
from hil.frozen import Frozen
from hil.plant.grid_source import ProgrammableSource
from hil.sim import CanWire, Sim

IEEE, VDE, ALP = "ieee1547_2018_cat3", "de_vde_ar_n_4105_2018", "se_alp_50549"
F_HZ = {IEEE: 60.0, VDE: 50.0, ALP: 50.0}
NOMINAL_V = 230.0
DEVICE_STEP_S, PLANT_STEP_S = 0.0025, 2e-4  # twice as fast as the rig's own; the plant's blocks are 1 ms
SCOPE_S = 0.001  # resolution of everything measured at the plant
CHARGE_W = 22_000.0
STILL_A = 0.5  # below it a current of the plant is gone
MODE, CURRENT, ON_OFF = (codec.selector_of(f"Wr_{name}") for name in ("WorkingMode", "ModuleCurrent", "OnOff"))
MODE_READ = codec.selector_of("Rd_InverterMode")


def board(code: str = IEEE, **adjust: float) -> Board:
    """The desk under `code`. Under IEEE 1547 it enters service without delay and ramps within 1 s, unless `adjust`
    says otherwise (keys with __ for the point: enter_service__delay_s)."""
    quick = {"enter_service.delay_s": 0.0, "enter_service.ramp_duration_s": 1.0} if code == IEEE else {}
    changes = {**quick, **{name.replace("__", "."): value for name, value in adjust.items()}}
    desk = boards.load("desk", "unused")
    return replace(desk, grid=replace(desk.grid, code=code, nominal_v=NOMINAL_V, adjust=changes))


class Tap(CanWire):
    """The converter bus with a record of both directions: (t, frame, sent by guard)."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[float, CanFrame, bool]] = []
        self.now = 0.0

    def recv(self, now: float) -> list[CanFrame]:
        self.now = now
        frames = super().recv(now)
        self.log += [(frame.t, frame, False) for frame in frames]
        return frames

    def send(self, frame: CanFrame) -> bool:
        self.log.append((self.now, frame, True))
        return super().send(frame)


def build(code: str = IEEE, *, seed: int = 1, soc: float = 0.6, fine: bool = False, **adjust: float) -> Sim:
    """A new rig at t = 0: nothing plugged, nobody asks for power. fine: the rig's own, smaller steps."""
    steps = {} if fine else {"device_step_s": DEVICE_STEP_S, "plant_step_s": PLANT_STEP_S}
    sim = Sim(
        board(code, **adjust), ProgrammableSource(NOMINAL_V, F_HZ[code]), seed=seed, soc=soc, compiled=COMPILED, **steps
    )
    sim.can = Tap()
    sim.loop.can = sim.can
    return sim


def duplicate(sim: Sim) -> Sim:
    """An independent copy of the whole rig as it is now; `on_event` and `on_frames` must not be set."""
    return Frozen(sim).thaw()


@functools.cache
def _idle(code: str, seed: int, adjust: tuple[tuple[str, float], ...]) -> Frozen[Sim]:
    sim = build(code, seed=seed, **dict(adjust))
    sim.until(lambda: sim.guard.readings is not None and sim.guard.readings.converter.ready, 80.0)
    sim.run(sim.now + 1.0)
    return Frozen(sim)


def idle(code: str = IEEE, *, seed: int = 1, **adjust: float) -> Sim:
    """In service, converter ready, no car, nobody asks for power (VDE: after its 60 s)."""
    return _idle(code, seed, tuple(sorted(adjust.items()))).thaw()


@functools.cache
def _holding(code: str, seed: int, adjust: tuple[tuple[str, float], ...]) -> Frozen[Sim]:
    sim = idle(code, seed=seed, **dict(adjust))
    sim.car.plug_in()
    sim.until(lambda: sim.state == "transfer: holding", 60.0)
    sim.run(sim.now + 1.0)
    return Frozen(sim)


def transfer(power_w: float = 0.0, code: str = IEEE, *, seed: int = 1, **adjust: float) -> Sim:
    """In transfer, with `power_w` flowing (+ charge, - discharge; 0: holding)."""
    return _transfer(power_w, code, seed, tuple(sorted(adjust.items()))).thaw()


@functools.cache
def _transfer(power_w: float, code: str, seed: int, adjust: tuple[tuple[str, float], ...]) -> Frozen[Sim]:
    sim = _holding(code, seed, adjust).thaw()
    if power_w:
        ask(sim, power_w)
        sim.until(lambda: abs(dc_w(sim) - power_w) < 0.03 * abs(power_w), 120.0)
        sim.run(sim.now + 0.5)
    return Frozen(sim)


# --------------------------------------------------------------------------------------------------- what a user does
def ask(sim: Sim, power_w: float, reason: str = "") -> None:
    sim.wish.power_w, sim.wish.reason = power_w, reason


# ------------------------------------------------------------------------------------------------------ what one sees
def dc_w(sim: Sim) -> float:
    """Power into the car at the plant, W."""
    return sim.link.cable_v_v * sim.link.cable_i_a


def snap(sim: Sim) -> Snapshot:
    assert sim.services.snapshot is not None
    return sim.services.snapshot


def events(sim: Sim, code: str, since_s: float = 0.0) -> list[EventMessage]:
    """Beginnings of `code` since then."""
    return [e for e in sim.services.events if e.code == code and not e.cleared and e.t >= since_s]


def first(sim: Sim, code: str, since_s: float = 0.0) -> EventMessage:
    found = events(sim, code, since_s)
    assert found, f"no {code} among {[e.code for e in sim.services.events if e.t >= since_s]}"
    return found[0]


def states(sim: Sim, since_s: float = 0.0) -> list[str]:
    """The charger's states in order, as the event log tells them."""
    return [e.detail for e in events(sim, "state", since_s)]


def faults(sim: Sim) -> list[str]:
    return list(sim.guard.faults.codes)


def sent(sim: Sim, selector: int, since_s: float = 0.0) -> list[tuple[float, float]]:
    """(t, value) of guard's writes of `selector` to the module."""
    assert isinstance(sim.can, Tap)
    found = []
    for t, frame, ours in sim.can.log:
        if ours and t >= since_s and codec.split_id(frame.id)[2] == codec.WRITE:
            decoded = codec.decode_write(frame.data)
            if decoded is not None and decoded[0] == selector:
                found.append((t, decoded[1]))
    return found


def answered(sim: Sim, selector: int, since_s: float = 0.0) -> list[tuple[float, float]]:
    """(t, value) of the module's answers to reads of `selector`."""
    assert isinstance(sim.can, Tap)
    found = []
    for t, frame, ours in sim.can.log:
        if not ours and t >= since_s and codec.split_id(frame.id)[2] == codec.READ:
            decoded = codec.decode_reply(frame.data)
            if decoded is not None and decoded[0] == selector:
                found.append((t, decoded[1]))
    return found


@dataclass(frozen=True, slots=True)
class Sample:
    """The plant at one instant: what an oscilloscope on its terminals would show."""

    t: float
    v_pu: float  # mean phase voltage at the PCC, instantaneous amplitude
    f_hz: float  # of the source
    ac_a: float  # converter's current at the PCC, RMS, auxiliary supply not counted
    dc_a: float  # converter's DC current
    cable_a: float
    batt_a: float
    v_dc_v: float
    batt_v: float
    k_grid: bool
    k_dc: bool
    k_ev: bool


def look(sim: Sim) -> Sample:
    plant, link = sim.plant, sim.link
    v, i = plant.envelope()
    return Sample(
        sim.now, abs(v) / math.sqrt(2.0) / NOMINAL_V, sim.source.course(sim.now)[1], abs(i) / math.sqrt(2.0),
        link.dc_i_a, link.cable_i_a, link.batt_i_a, link.dc_v_v, link.batt_v_v, plant.grid_contactor.closed,
        plant.dc_contactor.closed, bool(link.k_ev),
    )  # fmt: skip


class Scope:
    """Records the plant every SCOPE_S while it drives the rig. Runs until `until_s`, or until `stop(sample)`."""

    def __init__(self, sim: Sim, for_s: float, stop: Callable[[Sample], bool] | None = None) -> None:
        self.samples = [look(sim)]
        end = sim.now + for_s
        while sim.now < end - 1e-9:
            sim.run(min(end, sim.now + SCOPE_S))
            self.samples.append(look(sim))
            if stop is not None and stop(self.samples[-1]):
                break

    def first(self, condition: Callable[[Sample], bool], after_s: float = -math.inf) -> float:
        """Time of the first sample from `after_s` on for which it holds."""
        for sample in self.samples:
            if sample.t >= after_s and condition(sample):
                return sample.t
        raise AssertionError(f"it never held until {self.samples[-1]}")

    def gone(self, after_s: float) -> float:
        """From when on there is no current at the PCC any more, to the end of the record."""
        last = max((s.t for s in self.samples if s.t >= after_s and s.ac_a > STILL_A), default=None)
        assert last is not None, "there was no current to begin with"
        assert last < self.samples[-1].t - SCOPE_S, f"{self.samples[-1].ac_a:.1f} A still flow"
        return last

    def left(self, lo_pu: float, hi_pu: float) -> float:
        """When the voltage left lo_pu..hi_pu at the plant."""
        return self.first(lambda s: not lo_pu <= s.v_pu <= hi_pu)
