"""The simulated bench: every role played by one lockstep charger (`hil.sim.Sim`) and its plant.

The simulated source has declared limits like a real one and plays what was compiled for them. The recorder samples
what the source gave to the plant and what the plant did, as instruments at those places would, with an accuracy that
a good bench has: a limit nearer than that decides nothing here either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import boards
from boards import Board
from hil.bench.capture import Capture, Channel, Event
from hil.bench.profile import (
    Compiled,
    GridCaps,
    GridPoint,
    ProfileError,
    Segment,
    Volts,
    check_point,
    compile_profile,
)
from hil.bench.roles import BenchError, EvCaps, GridReading, LoadCaps, UnitStatus
from hil.bench.sim_faults import FaultyWire, SimFaults
from hil.plant.ac import HOUSE
from hil.plant.ac import IslandLoad as TunedLoad
from hil.plant.grid_source import GridSource
from hil.sim import Sim

# The simulated source: a regenerative source of the usual kind, not a better one. Own choice of numbers, on the slow
# side of what such instruments' list modes do (1 ms dwell, 100 points; see hil/bench/instruments).
SIM_GRID = GridCaps(
    v_max_v=300.0, f_range_hz=(45.0, 66.0), v_slew_v_s=200_000.0, f_slew_hz_s=1000.0, v_step_v=0.1, f_step_hz=0.01,
    t_step_s=0.001, t_min_s=0.001, phase_jump=True, phase_step_deg=0.1, points_max=100, regen_w=30_000.0,
)  # fmt: skip
COMPILED = find_spec("numba") is not None
DEVICE_STEP_S, PLANT_STEP_S = 0.0025, 2e-4  # the steps of tests/sim: twice as fast as the rig's own
DC_OPEN_STATES = ("idle", "connected", "finished", "fault")
STILL_A = 0.5
SETTLE_S = 40.0  # a fault's hold time, a restart of the module and a car that says goodbye, with margin

_GRID = ("grid_va_pu", "grid_vb_pu", "grid_vc_pu", "grid_vmin_pu", "grid_vmax_pu")
_LINK = {  # channel: (field of the plant's link, unit, accuracy)
    "pcc_va_v": ("pcc_va_v", "V", 0.5),
    "pcc_vb_v": ("pcc_vb_v", "V", 0.5),
    "pcc_vc_v": ("pcc_vc_v", "V", 0.5),
    "pcc_f_hz": ("pcc_f_hz", "Hz", 0.005),
    "ac_a": ("ac_ia_a", "A", 0.2),
    "ac_w": ("ac_p_w", "W", 50.0),
    "ac_var": ("ac_q_var", "var", 50.0),
    "dc_v": ("dc_v_v", "V", 0.5),
    "dc_a": ("dc_i_a", "A", 0.2),
    "cable_v": ("cable_v_v", "V", 0.5),
    "cable_a": ("cable_i_a", "A", 0.2),
    "batt_v": ("batt_v_v", "V", 0.5),
    "batt_a": ("batt_i_a", "A", 0.2),
    "soc": ("soc", "1", 0.001),
    "k_grid": ("k_grid", "", 0.0),
    "k_dc": ("k_dc", "", 0.0),
    "k_precharge": ("k_precharge", "", 0.0),
    "k_ev": ("k_ev", "", 0.0),
    "island": ("grid_switch_open", "", 0.0),
    "plugged": ("ev_plugged", "", 0.0),
    "enable": ("converter_enable", "", 0.0),
}
CHANNELS = {
    **{name: Channel(name, "pu", 0.002, "sim: source") for name in _GRID},
    "grid_f_hz": Channel("grid_f_hz", "Hz", 0.005, "sim: source"),
    "grid_turned_deg": Channel("grid_turned_deg", "deg", 0.1, "sim: source"),
    **{name: Channel(name, unit, accuracy, "sim: plant") for name, (_, unit, accuracy) in _LINK.items()},
    "dc_w": Channel("dc_w", "W", 100.0, "sim: plant"),  # into the car
    "faults": Channel("faults", "", 0.0, "sim: fault box"),
    "asked_w": Channel("asked_w", "W", 0.0, "sim: user"),  # what the user asks for; 0 without a lease
}


@dataclass(frozen=True, slots=True)
class SimSpec:
    """What charger stands on the simulated bench."""

    board: str = "desk"
    code: str = "ieee1547_2018_cat3"
    adjust: Mapping[str, float] = field(default_factory=dict)
    nominal_v: float = 230.0
    nominal_hz: float = 60.0
    soc: float = 0.6
    seed: int = 1
    bend: Callable[[Sim], None] | None = None  # makes a broken charger of it: for the tests of the tests
    compiled: bool = COMPILED  # the plant by numba; the capture is the same either way (docs/lockstep.md)


def board_of(spec: SimSpec) -> Board:
    """Raises boards.BoardError for a board that does not exist."""
    desk = boards.load(spec.board, "unused")
    return replace(desk, grid=replace(desk.grid, code=spec.code, nominal_v=spec.nominal_v, adjust=dict(spec.adjust)))


class PlayedSource(GridSource):
    """Plays compiled profiles, and keeps what it gave last: the record that t0 is read from."""

    def __init__(self, point: GridPoint) -> None:
        super().__init__()
        self.steady = point
        self.playing: Compiled | None = None
        self.fired_s = 0.0
        self.live = True
        self.turned_deg = 0.0
        self.given: tuple[Volts, float, float] = (point.v_v, point.f_hz, 0.0)

    def course(self, t_s: float) -> tuple[Volts, float]:
        if not self.live:
            return (0.0, 0.0, 0.0), self.steady.f_hz
        if self.playing is None:
            return self.steady.v_v, self.steady.f_hz
        v, f_hz, _ = self.playing.at(t_s - self.fired_s)
        return v, f_hz

    def still(self, t_s: float) -> bool:
        return self.playing is None

    def sample(self, t_s: float) -> tuple[Volts, float, float]:
        self.t_s = t_s
        v, f_hz = self.course(t_s)
        turned = self.turned_deg + (self.playing.at(t_s - self.fired_s)[2] if self.playing else 0.0)
        self.given = v, f_hz, turned
        return v, f_hz, math.radians(turned)

    def settle(self, point: GridPoint | None = None) -> None:
        """End the profile where it is (or at `point`)."""
        if self.playing is not None:
            v, f_hz, turned = self.playing.at(self.t_s - self.fired_s)
            self.steady, self.turned_deg, self.playing = GridPoint(v, f_hz), self.turned_deg + turned, None
        if point is not None:
            self.steady = point


class SimClock:
    simulated = True

    def __init__(self, sim: Sim, recorder: SimRecorder) -> None:
        self._sim, self._recorder = sim, recorder

    def now(self) -> float:
        return self._sim.now

    def wait(self, seconds: float) -> None:
        self._advance(seconds, None)

    def wait_until(self, condition: Callable[[], bool], within_s: float) -> bool:
        return condition() or self._advance(within_s, condition)

    def _advance(self, seconds: float, condition: Callable[[], bool] | None) -> bool:
        sim, recorder = self._sim, self._recorder
        end = sim.now + seconds
        if recorder.period_s is None:
            sim.run(end, condition)
            return condition is not None and condition()
        while sim.now < end - 1e-9:
            sim.run(min(end, recorder.next_s))
            recorder.take(sim.now)
            if condition is not None and condition():
                return True
        return False


class SimGrid:
    def __init__(self, sim: Sim, source: PlayedSource, caps: GridCaps) -> None:
        self.caps = caps
        self._sim, self._source = sim, source
        self._loaded: Compiled | None = None
        self._armed = False

    def output(self, on: bool) -> None:
        self.abort()
        self._source.live = on

    def steady(self, point: GridPoint) -> None:
        try:
            check_point(point, self.caps)
        except ProfileError as error:
            raise BenchError(f"grid: {error}") from None
        self.abort()
        self._source.settle(point)

    def load(self, profile: Sequence[Segment]) -> Compiled:
        self.abort()
        try:
            self._loaded = compile_profile(profile, self.caps, self._source.steady)
        except ProfileError as error:
            raise BenchError(f"grid: {error}") from None
        return self._loaded

    def arm(self) -> None:
        if self._loaded is None:
            raise BenchError("grid: there is no profile to arm; load one first")
        self._armed = True

    def fire(self) -> None:
        if not self._armed or self._loaded is None:
            raise BenchError("grid: the profile is not armed")
        source = self._source
        source.settle()
        source.playing, source.fired_s = self._loaded, self._sim.now
        self._loaded, self._armed = None, False

    def abort(self) -> None:
        self._source.settle()
        self._loaded, self._armed = None, False

    def playing(self) -> bool:
        playing = self._source.playing
        return playing is not None and self._sim.now - self._source.fired_s < playing.length_s

    def read(self) -> GridReading:
        v, f_hz, _ = self._source.given
        return GridReading(v, f_hz, None, -self._sim.link.ac_p_w)

    def off(self) -> None:
        self.output(False)


class SimLoad:
    caps = LoadCaps(p_max_w=30_000.0, qf_max=3.0)

    def __init__(self, sim: Sim) -> None:
        self._sim = sim

    def tune(self, p_w: float, qf: float, v_v: float, f_hz: float, dp: float = 0.0, dc: float = 0.0) -> None:
        if not (0.0 < p_w * (1.0 + dp) <= self.caps.p_max_w and 0.0 < qf <= self.caps.qf_max):
            raise BenchError(
                f"load: {p_w * (1.0 + dp):g} W at a quality factor of {qf:g} is asked for; above 0 to "
                f"{self.caps.p_max_w:g} W and above 0 to {self.caps.qf_max:g} are possible"
            )
        load = TunedLoad.tuned(p_w, qf, v_v, f_hz, dp=dp, dc=dc)
        ac = self._sim.plant.ac
        # The capacitors that already hang at the point of connection are part of the tuned capacitance.
        ac.set_load(TunedLoad(load.g_s, load.inv_l_per_h, load.c_f - self._sim.plant.params.ac.pcc_f))

    def open_switch(self) -> None:
        self._sim.link.grid_switch_open = 1.0

    def close_switch(self) -> None:
        self._sim.link.grid_switch_open = 0.0

    def off(self) -> None:
        self.close_switch()
        self._sim.plant.ac.set_load(HOUSE)


class SimEv:
    caps = EvCaps(v_max_v=408.0, i_max_a=125.0, p_max_w=50_000.0, protocol=True)

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        car = sim.car
        self._usual = (car.charge_max_a, car.discharge_max_a, car.v_max_v, car.v_min_v, car.soc_target, car.soc_min)

    def plug_in(self) -> None:
        self._sim.car.plug_in()

    def unplug(self) -> None:
        self._sim.car.unplug()

    def say(self, command: dict[str, Any]) -> None:
        rest = dict(command)
        contactor = rest.pop("contactor", None)
        state = rest.pop("cp_state", None)
        if contactor not in (None, "open", "closed") or state not in (None, "B", "C"):
            raise BenchError('car: contactor must be "open" or "closed", cp_state "B" or "C"')
        try:
            self._sim.car.handle(rest)
        except ValueError as error:
            raise BenchError(str(error)) from None
        if contactor is not None:
            self._sim.link.ev_contactor = float(contactor == "closed")
        if state is not None:
            self._sim.link.ev_cp_state = 2.0 if state == "B" else 3.0

    def soc(self) -> float:
        return self._sim.link.soc

    def off(self) -> None:
        car = self._sim.car
        car.mute, car.v2g = False, True
        car.charge_max_a, car.discharge_max_a, car.v_max_v, car.v_min_v, car.soc_target, car.soc_min = self._usual
        car.unplug()


class SimRecorder:
    def __init__(self, sim: Sim, source: PlayedSource, faults: SimFaults, nominal_v: float) -> None:
        self._sim, self._source, self._faults, self._nominal_v = sim, source, faults, nominal_v
        self.period_s: float | None = None
        self.next_s = 0.0
        self._capture: Capture | None = None
        self._from_s = 0.0

    def channels(self) -> tuple[str, ...]:
        return tuple(CHANNELS)

    def start(self, rate_hz: float) -> None:
        if not 1.0 <= rate_hz <= 1000.0:
            raise BenchError(f"recorder: {rate_hz:g} samples a second are asked for; 1 to 1000 are possible")
        self.period_s = 1.0 / rate_hz
        self._from_s = self._sim.now
        self._capture = Capture(dict(CHANNELS), period_s=self.period_s)
        self.take(self._sim.now)

    def take(self, now: float) -> None:
        if self._capture is not None and self.period_s is not None:
            self._capture.add(now, self.sample())
            self.next_s = now + self.period_s

    def stop(self) -> Capture:
        if self._capture is None:
            raise BenchError("recorder: it does not run")
        capture, self._capture, self.period_s = self._capture, None, None
        capture.events = unit_events(self._sim, self._from_s)
        return capture

    def latest(self, channel: str) -> float:
        try:
            return self.sample()[channel]
        except KeyError:
            raise BenchError(f"recorder: there is no channel {channel!r}; there are {', '.join(CHANNELS)}") from None

    def sample(self) -> dict[str, float]:
        sim, link = self._sim, self._sim.link
        (a, b, c), f_hz, turned = self._source.given
        nominal = self._nominal_v
        values = {name: getattr(link, field) for name, (field, _, _) in _LINK.items()}
        values.update(
            grid_va_pu=a / nominal, grid_vb_pu=b / nominal, grid_vc_pu=c / nominal,
            grid_vmin_pu=min(a, b, c) / nominal, grid_vmax_pu=max(a, b, c) / nominal,
            grid_f_hz=f_hz, grid_turned_deg=turned,
            dc_w=link.cable_v_v * link.cable_i_a, faults=float(len(self._faults.inserted)),
            asked_w=sim.wish.power_w if sim.wish.alive else 0.0,
        )  # fmt: skip
        return values


def unit_events(sim: Sim, since_s: float) -> list[Event]:
    found = [Event(e.t, e.code, e.detail, e.cleared) for e in sim.services.events]
    return [event for event in found if event.t >= since_s]


class SimUnit:
    def __init__(self, sim: Sim, spec: SimSpec) -> None:
        self._sim, self._spec = sim, spec
        self.identity = {"unit": "simulated charger", "board": spec.board, "code": spec.code, "seed": str(spec.seed)}
        sim.wish.alive = False

    def status(self) -> UnitStatus:
        snap, link = self._sim.services.snapshot, self._sim.link
        is_open = link.k_dc < 0.5 and link.k_precharge < 0.5
        if snap is None:
            return UnitStatus("starting", "", False, (), is_open)
        ready = snap.converter_ready and snap.grid_state == "connected"
        return UnitStatus(self._sim.state, snap.why, ready, tuple(snap.faults), is_open)

    def ask(self, power_w: float) -> None:
        self._sim.wish.power_w, self._sim.wish.alive = power_w, True

    def let_lease_end(self) -> None:
        self._sim.wish.alive = False

    def operator(self, action: str) -> None:
        if action not in ("stop", "start", "clear"):
            raise BenchError(f"unit: an operator may stop, start or clear, not {action!r}")
        self._sim.operator(action)

    def events(self, since_s: float) -> list[Event]:
        return unit_events(self._sim, since_s)

    def health(self) -> list[str]:
        status, link, wrong = self.status(), self._sim.link, []
        if status.faults:
            wrong.append(f"faults stay: {', '.join(status.faults)}")
        if not status.contactors_open:
            wrong.append("the DC contactor or the precharge relay is closed")
        if abs(link.dc_i_a) > STILL_A:
            wrong.append(f"{link.dc_i_a:.1f} A flow at the DC terminals")
        if status.state not in DC_OPEN_STATES or status.state == "fault":
            wrong.append(f"the state is {status.state!r}: {status.why}")
        if self._sim.services.dropped:
            wrong.append(f"{self._sim.services.dropped} messages to services were dropped")
        return wrong


class SimBench:
    """All roles on one simulated charger. A new one for every test: it costs nothing and remembers nothing."""

    simulated = True

    def __init__(self, spec: SimSpec, grid_caps: GridCaps = SIM_GRID) -> None:
        nominal = GridPoint((spec.nominal_v,) * 3, spec.nominal_hz)
        source = PlayedSource(nominal)
        self.spec, self.nominal = spec, nominal
        self.sim = sim = Sim(
            board_of(spec), source, seed=spec.seed, soc=spec.soc,
            device_step_s=DEVICE_STEP_S, plant_step_s=PLANT_STEP_S, compiled=spec.compiled,
        )  # fmt: skip
        wire = FaultyWire()
        sim.can = sim.loop.can = wire
        if spec.bend is not None:
            spec.bend(sim)
        self.grid = SimGrid(sim, source, grid_caps)
        self.load = SimLoad(sim)
        self.ev = SimEv(sim)
        self.fault = SimFaults(sim, wire)
        self.recorder = SimRecorder(sim, source, self.fault, spec.nominal_v)
        self.unit = SimUnit(sim, spec)
        self.clock = SimClock(sim, self.recorder)

    def close(self) -> None:
        """Nothing to give back."""
