"""The simulated bench: every role played by one lockstep charger (`hil.sim.Sim`) and its plant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import boards
from boards import Board
from firmware.grid_support.controls import ControlRefused, as_dict, control_of, hash_of
from firmware.guard.messages import GridControls
from firmware.services.control import Refused
from hil.bench.capture import Event, Kept
from hil.bench.profile import (
    GridCaps,
    GridPoint,
)
from hil.bench.roles import BenchError, EvCaps, LoadCaps, UnitStatus
from hil.bench.sim_faults import FaultyWire, SimFaults
from hil.bench.sim_grid import SIM_GRID, PlayedSource, SimGrid
from hil.bench.sim_recorder import SimRecorder, unit_events
from hil.neighbour import Neighbour
from hil.office import Office
from hil.plant.ac import HOUSE
from hil.plant.ac import IslandLoad as TunedLoad
from hil.sim import Sim

COMPILED = find_spec("numba") is not None
DEVICE_STEP_S, PLANT_STEP_S = 0.0025, 2e-4  # the steps of tests/sim: twice as fast as the rig's own
DC_OPEN_STATES = ("idle", "connected", "finished", "fault")
STILL_A = 0.5
SETTLE_S = 40.0  # a fault's hold time, a restart of the module and a car that says goodbye, with margin


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
    services: bool = False  # the real services beside guard (hil/office.py); else a stand-in that renews the lease
    neighbour_w: float | None = None  # a second whole charger at the same point of connection, with this power
    compiled: bool = COMPILED  # the plant by numba; the capture is the same either way (docs/lockstep.md)


def board_of(spec: SimSpec) -> Board:
    """Raises boards.BoardError for a board that does not exist."""
    desk = boards.load(spec.board, "unused")
    return replace(desk, grid=replace(desk.grid, code=spec.code, nominal_v=spec.nominal_v, adjust=dict(spec.adjust)))


Run = Callable[[float, Callable[[], bool] | None], None]


class SimClock:
    simulated = True

    def __init__(self, sim: Sim, recorder: SimRecorder, run: Run) -> None:
        self._sim, self._recorder, self._run = sim, recorder, run

    def now(self) -> float:
        return self._sim.now

    def wait(self, seconds: float) -> None:
        self._advance(seconds, None)

    def wait_until(self, condition: Callable[[], bool], within_s: float) -> bool:
        return condition() or self._advance(within_s, condition)

    def _advance(self, seconds: float, condition: Callable[[], bool] | None) -> bool:
        sim = self._sim
        self._run(sim.now + seconds, condition)
        self._recorder.take(sim.now)  # where somebody is about to act
        return condition is not None and condition()


class SimLoad:
    caps = LoadCaps(p_max_w=30_000.0, qf_max=3.0)

    def __init__(self, sim: Sim) -> None:
        self._sim = sim

    def tune(
        self, p_w: float, qf: float, v_v: float, f_hz: float, dp: float = 0.0, dc: float = 0.0, q_var: float = 0.0
    ) -> None:
        if not (0.0 < p_w * (1.0 + dp) <= self.caps.p_max_w and 0.0 < qf <= self.caps.qf_max):
            raise BenchError(
                f"load: {p_w * (1.0 + dp):g} W at a quality factor of {qf:g} is asked for; above 0 to "
                f"{self.caps.p_max_w:g} W and above 0 to {self.caps.qf_max:g} are possible"
            )
        load = TunedLoad.tuned(p_w, qf, v_v, f_hz, dp=dp, dc=dc, q_var=q_var)
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


class SimUnit:
    def __init__(self, sim: Sim, spec: SimSpec) -> None:
        self._sim, self._spec = sim, spec
        self.identity = {"unit": "simulated charger", "board": spec.board, "code": spec.code, "seed": str(spec.seed)}
        self._controlled = False
        self._booked: list[str] = []  # ids of controls in services' book
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
        if self._sim.services.office is not None:
            self._sim.services.office.ask_at_once()

    def let_lease_end(self) -> None:
        self._sim.wish.alive = False

    def operator(self, action: str) -> None:
        if action not in ("stop", "start", "clear"):
            raise BenchError(f"unit: an operator may stop, start or clear, not {action!r}")
        office = self._sim.services.office
        if office is None:
            self._sim.operator(action)
        elif office.services is not None and self._sim.services.alive:
            try:
                with office.disk():
                    office.services.operator(action)
            except Refused as error:
                raise BenchError(f"unit: {error}") from None

    def set_controls(self, tables: Sequence[Mapping[str, Any]]) -> None:
        try:
            controls = [control_of({"default": True, **table}, 0.0, "bench") for table in tables]
        except ControlRefused as error:
            raise BenchError(f"unit: {error}") from None
        if self._sim.services.office is not None and self._sim.services.office.services is not None:
            self._set_book([control.id for control in controls], tables)
        elif controls or self._controlled:
            told = GridControls(hash_of(controls), [as_dict(control) for control in controls])
            self._sim.services.outbox.append(told)  # as services tell guard: what is active, all of it
        self._controlled = bool(controls)

    def _set_book(self, ids: list[str], tables: Sequence[Mapping[str, Any]]) -> None:
        """In the book that services keep."""
        office = self._sim.services.office
        assert office is not None
        assert office.services is not None
        if ids or self._booked:
            wanted = [{"default": True, **table} for table in tables]
            try:
                with office.disk():
                    office.services.grid.set(wanted, "bench", self._booked, None)
            except Refused as error:
                raise BenchError(f"unit: {error}") from None
        self._booked = ids

    def events(self, since_s: float) -> list[Event]:
        return unit_events(self._sim, since_s)

    def kept(self) -> Kept:
        office = self._sim.services.office
        if office is None:
            raise BenchError("unit: this charger keeps no records; [unit] services = true gives it those that do")
        return office.kept()

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
            device_step_s=DEVICE_STEP_S, plant_step_s=PLANT_STEP_S,
            compiled=spec.compiled and spec.neighbour_w is None,
        )  # fmt: skip
        self.neighbour: Neighbour | None = None
        if spec.neighbour_w is not None:
            self.neighbour = Neighbour(
                sim, sim.board, source, spec.neighbour_w, seed=spec.seed, soc=spec.soc, device_step_s=DEVICE_STEP_S
            )
        if spec.services:
            sim.services.office = Office(sim, sim.board)
        wire = FaultyWire()
        sim.can = sim.loop.can = wire
        if spec.bend is not None:
            spec.bend(sim)
            if self.neighbour is not None:
                spec.bend(self.neighbour.other)
        self.grid = SimGrid(sim, source, grid_caps)
        self.load = SimLoad(sim)
        self.ev = SimEv(sim)
        self.fault = SimFaults(sim, wire)
        other = None if self.neighbour is None else self.neighbour.other
        self.recorder = SimRecorder(sim, source, self.fault, spec.nominal_v, other)
        self.unit = SimUnit(sim, spec)
        self.clock = SimClock(sim, self.recorder, sim.run if self.neighbour is None else self.neighbour.run)

    def close(self) -> None:
        """Gives back the files of its services."""
        if self.sim.services.office is not None:
            self.sim.services.office.close()
