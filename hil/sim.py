"""The whole charger in one process on simulated time: guard, drivers, codecs, emulated devices and plant.

Every CAN frame and every UART byte is really encoded by one side and decoded by the other, with the devices' own
delays, pacing and time-outs; only the clock and the wires are simulated. What services do at run time (renew the
lease, pass on the car and the insulation monitor) is done here by `_Services` with the same drivers' codecs.
Deterministic for a given seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boards import Board
from firmware.guard.assemble import build_guard
from firmware.guard.loop import GuardLoop
from firmware.guard.machine import ChargerState
from firmware.guard.messages import (
    CarReport,
    EventMessage,
    FromGuard,
    InsulationReport,
    MeterReport,
    Operator,
    PowerRequest,
    SelfTestReport,
    Snapshot,
    ToGuard,
    TripRecord,
)
from firmware.supervisor import drain
from hal.can.infy_beg import InfyBeg
from hal.can.secc_bridge import SeccBridge
from hal.modbus import isocha425hv
from hal.ports import CanFrame, ChargerReport, InsulationAlarm, Quality
from hal.uart.pilot_mcu import PilotMcu
from hil.devices.car import EmulatedCar
from hil.devices.converter import EmulatedBeg
from hil.devices.imd import EmulatedImd
from hil.devices.modbus_server import READ_HOLDING, Refused
from hil.devices.pilot import EmulatedPilot
from hil.plant.grid_source import GridSource
from hil.plant.link import PlantLink
from hil.plant.plant import Plant, PlantParams
from hil.plant.watch import join

EARLY_S = 1e-9  # two instants nearer than this are one: sums of steps are not exact

if TYPE_CHECKING:
    from hil.office import Office


class CanWire:
    """Guard's end of the simulated converter bus; `sent` goes to the device in the same instant."""

    def __init__(self) -> None:
        self.errors = 0
        self.to_guard: list[CanFrame] = []
        self.from_guard: list[CanFrame] = []

    def recv(self, now: float) -> list[CanFrame]:
        frames, self.to_guard = self.to_guard, []
        return frames

    def send(self, frame: CanFrame) -> bool:
        self.from_guard.append(frame)
        return True


class SerialWire:
    """Guard's end of the simulated UART."""

    def __init__(self) -> None:
        self.errors = 0
        self.to_guard = b""
        self.from_guard = b""

    def recv(self) -> bytes:
        data, self.to_guard = self.to_guard, b""
        return data

    def send(self, data: bytes) -> bool:
        self.from_guard += data
        return True


@dataclass
class Wish:
    """What the user of the simulated charger asks for: + charge, - discharge (W); renewed while `alive`."""

    power_w: float = 0.0
    source: str = "sim"
    reason: str = ""
    alive: bool = True
    lease_s: float = 2.0
    sleep: bool = False  # the converter may be off while no power flows


class _Services:
    """What the services process does for guard, in lockstep. It is the loop's services link."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self.secc = SeccBridge()
        self.wish = Wish()
        self.dropped = 0
        self.events: list[EventMessage] = []
        self.records: list[TripRecord] = []
        self.snapshot: Snapshot | None = None
        self.outbox: list[ToGuard] = []
        self._next_lease = self._next_car = self._next_imd = 0.0
        self._test_serial = 0
        self._test_started = 0
        self._tests_before = 0
        self._boot = ""
        self.office: Office | None = None  # the real services beside this; `wish` is then what their manager asks for
        self._secc_back_s = -math.inf

    # ------------------------------------------------------------------------------ the link as guard's loop sees it
    def recv(self) -> list[ToGuard]:
        messages, self.outbox = self.outbox, []
        return messages if self.office is None else [*messages, *self.office.link.recv()]

    def send(self, message: FromGuard) -> bool:
        if isinstance(message, Snapshot):
            self.snapshot = message
        elif isinstance(message, EventMessage):
            self.events.append(message)
            self._sim.on_event(message)
            self._sim.wake()
        elif isinstance(message, TripRecord):
            self.records.append(message)
        if self.office is None:
            return True
        taken = self.office.link.send(message)
        self.dropped = self.office.link.dropped
        return taken

    # ----------------------------------------------------------------------------------------------- once a tick
    def step(self, now: float) -> None:
        sim, out, office = self._sim, self.outbox, self.office
        if not self.alive:
            if now >= self._back_s:
                self.revive()
            return
        if office is not None:
            office.manage(now, self.wish.power_w if self.wish.alive else None)
            office.turn(now)
        elif self.wish.alive and now >= self._next_lease:
            self._next_lease = now + 0.5
            w = self.wish
            out.append(PowerRequest(w.source, w.power_w, now + w.lease_s, w.reason, sleep=w.sleep))
        if now >= self._next_car and now >= self._secc_back_s:
            self._next_car = now + 0.1
            self._car(now)
        if now >= self._next_imd:
            self._next_imd = now + 1.0
            self._insulation(now)
            link = sim.link
            out.append(MeterReport(now, link.cable_v_v, link.cable_i_a, link.cable_v_v * link.cable_i_a, link.ac_p_w))

    alive = True
    _back_s = math.inf

    def kill(self, for_s: float) -> None:
        """As by kill -9: gone for `for_s`; then new ones, of which nobody has asked anything yet."""
        self.alive, self._back_s = False, self._sim.now + for_s
        if self.office is not None:
            self.office.kill()

    def kill_secc(self, for_s: float) -> None:
        """The car's side alone is gone for `for_s`: nobody hears it or speaks to it; then a new one knows nothing."""
        self.secc, self._secc_back_s = SeccBridge(), self._sim.now + for_s

    def revive_secc(self) -> None:
        self._secc_back_s = min(self._secc_back_s, self._sim.now)

    def hears_car(self, now: float) -> bool:
        return now >= self._secc_back_s

    def revive(self) -> None:
        """Services that were only stopped go on; killed ones are replaced now."""
        if self._back_s < math.inf:
            self._back_s = math.inf
            self.secc, self.snapshot = SeccBridge(), None
            if self.office is None:
                self.wish = Wish(alive=False)
            else:
                self.office.revive()
            self._test_started, self._boot = 0, ""
        self.alive = True

    def _car(self, now: float) -> None:
        reading, snap = self.secc.poll(now), self.snapshot
        if reading is not None:
            car = reading.value
            self.outbox.append(
                CarReport(
                    reading.t, car.phase.value, car.target_v, car.i_max_a, car.i_min_a, car.v_max_v, car.v_min_v,
                    car.soc_pct, car.capacity_wh,
                )
            )  # fmt: skip
        if snap is not None:
            report = ChargerReport(
                snap.v_dc_v or 0.0, snap.i_dc_a or 0.0, snap.i_charge_max_a, snap.i_discharge_max_a, snap.v_max_v,
                snap.insulation_ohm, snap.ready, snap.stop,
            )  # fmt: skip
            for frame in self.secc.report(now, report):
                self._sim.car.receive(now, frame)

    def _insulation(self, now: float) -> None:
        """The driver's own register decoding on the device's registers; the serial line is what is left out."""
        imd, snap = self._sim.imd, self.snapshot
        if not imd.answering:
            return
        try:
            registers = imd.read_registers(READ_HOLDING, isocha425hv.VALUES, isocha425hv.VALUES_COUNT)
        except Refused:
            return
        values, quality = isocha425hv.decode(registers)
        usable = quality is Quality.GOOD or values.alarm is InsulationAlarm.DEVICE_FAULT
        if usable and not values.self_test_running:
            self.outbox.append(InsulationReport(now, values.r_ohm, values.alarm.value))
        if snap is None:
            return
        if snap.boot != self._boot:  # as MeterSide does: an old wish of a guard that we do not know is no new one
            self._boot = snap.boot
            self._test_serial = snap.self_test_serial - (snap.state == ChargerState.CABLE_SELF_TEST.value)
        if snap.self_test_serial > self._test_serial:
            self._test_serial = snap.self_test_serial
            self._tests_before = imd.self_tests
            imd.write_registers(isocha425hv.START_TEST, [isocha425hv.START_TEST_VALUE])
            self._test_started = self._test_serial
        elif self._test_started and imd.self_tests > self._tests_before:
            passed = values.alarm is not InsulationAlarm.DEVICE_FAULT
            self.outbox.append(SelfTestReport(self._test_started, passed, now))
            self._test_started = 0


class Sim:
    """One simulated charger with its grid and car.

    `run(until_s)` advances simulated time (it starts at 0). Everything inside may be looked at and bent: `link`,
    `source`, `converter`, `pilot`, `car`, `imd`, `wish`, `guard`.
    """

    def __init__(
        self,
        board: Board,
        source: GridSource,
        *,
        seed: int = 1,
        soc: float = 0.6,
        device_step_s: float = 0.001,
        plant_step_s: float = 1e-4,
        compiled: bool = False,
    ) -> None:
        """compiled: the plant by numba (extra `hil`; ImportError without), with the same results (hil/plant/fast.py).
        device_step_s: how often the emulated devices may act. plant_step_s: of the integration, 10 to 200 us."""
        self.now = 0.0
        self.source = source
        self.link = PlantLink()
        params, rng = PlantParams(dt_s=plant_step_s, soc=soc), random.Random(f"{seed} plant")
        if compiled:
            from hil.plant.fast import FastPlant  # numba takes a second to import and is an extra

            self.plant: Plant = FastPlant(self.link, source, params, rng)
        else:
            self.plant = Plant(self.link, source, params, rng)
        self.converter = EmulatedBeg(self.link, random.Random(f"{seed} converter"))
        self.pilot = EmulatedPilot(self.link, random.Random(f"{seed} pilot"))
        self.car = EmulatedCar(self.link, random.Random(f"{seed} car"))
        self.imd = EmulatedImd(self.link, random.Random(f"{seed} imd"))
        for register, value in (
            (isocha425hv.ALARM_KOHM, 100),
            (isocha425hv.PREWARNING_KOHM, 250),
            (isocha425hv.TEST_MODE, isocha425hv.FAST_TEST),
        ):  # what the driver writes into a new device
            self.imd.write_registers(register, [value])
        self.can, self.serial = CanWire(), SerialWire()
        self.services = _Services(self)
        self.board, self._seed, self._starts = board, seed, 0
        self._start_guard()
        self.on_event: Callable[[EventMessage], None] = lambda event: None
        self.on_frames: Callable[[float, list[CanFrame]], None] | None = None  # frames that guard sent
        self.on_sample: Callable[[float], None] = lambda now: None  # who records: called at `sample_at_s`, moves it on
        self.sample_at_s = math.inf
        self._tick_s = 1.0 / board.guard.rate_hz
        self._device_step_s = device_step_s
        self._next_tick = self._tick_s
        self._next_device = device_step_s
        self._next_slow = 0.0
        self._moved = False  # something that is watched has, since the last step of the devices
        self._passed: list[float] = []  # steps of the devices since the last that was made up for or done
        self.plant.ranges = join(self.converter.watch, self.pilot.watch)

    def _start_guard(self) -> None:
        """A new guard process with new drivers; what was on its way to the one before is gone with its sockets."""
        again = f" {self._starts}" if self._starts else ""
        self.guard = build_guard(
            self.board, restarted=self._starts > 0, rng=random.Random(f"{self._seed} anti-islanding{again}")
        )
        self._starts += 1
        self.can.to_guard, self.serial.to_guard = [], b""
        self.services.outbox.clear()
        if self.services.office is not None:
            drain(self.services.office.ends[0])  # as the supervisor does
        self.loop = GuardLoop(self.guard, InfyBeg(), PilotMcu(), self.can, self.serial, self.services)
        boot = random.Random(f"{self._seed} boot{again}")
        self.loop.boot = f"{boot.getrandbits(128):032x}"  # in every snapshot, so from the seed
        self.guard_alive, self._guard_back_s = True, math.inf

    def kill_guard(self, for_s: float) -> None:
        """As by kill -9: guard is gone for `for_s`; then the supervisor has a new one that knows nothing of before."""
        self.guard_alive, self._guard_back_s = False, self.now + for_s

    def revive_guard(self) -> None:
        """A guard that was only stopped goes on; one that was killed is replaced now."""
        if self._guard_back_s < math.inf:
            self._start_guard()
        self.guard_alive = True

    @property
    def wish(self) -> Wish:
        return self.services.wish

    @property
    def state(self) -> str:
        return self.guard.session.machine.state.value

    def operator(self, action: str) -> None:
        self.services.outbox.append(Operator(action, "sim"))

    def wake(self) -> None:
        """Something inside was bent: the devices look at everything in their next step."""
        self.converter.wake()
        self.pilot.wake()

    def run(self, until_s: float, stop: Callable[[], bool] | None = None) -> None:
        """Advance to `until_s` (s of simulated time), or until `stop()` is true after a tick. `stop`, `on_frames` and
        `on_sample` only look; who bends something between two calls of `run` is seen by everybody.

        Time goes from one step of the devices to the next in which one of them has something to do, by its own clock
        or because the plant says that something that it watches has moved."""
        self.wake()
        plant, converter, pilot, step_s = self.plant, self.converter, self.pilot, self._device_step_s
        # Steps are left out only where the plant can say that nothing moved between any two of them.
        ahead = plant.looks_ahead and step_s >= plant.block_s - EARLY_S
        while self.now < until_s - 1e-9:
            tick, sample, device, moved, ramps = (
                self._next_tick, self.sample_at_s, self._next_device, self._moved, converter.ramps,
            )  # fmt: skip
            if ramps:
                self._make_up()
            passed = self._passed
            first = len(passed)
            wake = -math.inf if moved else min(self._next_slow - EARLY_S, converter.due, pilot.due)
            if ahead:
                end = min(wake, min(tick, sample, until_s) - EARLY_S)
                while device < end:
                    passed.append(device)
                    device += step_s
            due = device if device < tick else tick
            if sample < due - EARLY_S:
                due = sample
            now = due if due <= until_s + EARLY_S else until_s  # the same instant, to the last bit, however cut
            if plant.advance(now, True, converter.ahead(passed) if ramps and passed else ()):
                moved = True
                # The first of the steps that were to be left out, and that sees it, is done.
                early = self._sees(first)
                if early < len(passed):
                    device = now = passed[early]
                    del passed[early:]
                plant.advance(now)
            self.now = now
            if now >= device - EARLY_S:
                self._next_device = device + step_s  # on its own grid, however time is cut into calls
                if moved or device >= wake:
                    self._devices(now, moved)
                    moved = False
                else:
                    passed.append(now)
            else:
                self._next_device = device
            self._moved = moved
            ticks = now >= tick - EARLY_S
            if ticks:
                self._next_tick += self._tick_s
                self._make_up()
                self.services.step(now)
                self.serial.to_guard += pilot.carry(now)
                if self.guard_alive:
                    self.loop.tick(now)
                elif now >= self._guard_back_s:
                    self._start_guard()
                self._deliver(now)
            if now >= self.sample_at_s - 1e-9:
                if ramps:
                    self._make_up()
                self.on_sample(now)
            if ticks and stop is not None and stop():
                return
        # Who bends something between two calls finds it all up to date.
        self._make_up()
        self.serial.to_guard += self.pilot.carry(self.now)

    def _sees(self, first: int) -> int:
        """The place of the first step, from `first` on, that is not before where the plant has stopped."""
        blocks, block_s = round(self.plant.t_s / self.plant.block_s), self.plant.block_s
        while first < len(self._passed) and int(self._passed[first] / block_s + 1e-6) < blocks:
            first += 1
        return first

    def _make_up(self) -> None:
        """The devices go through the steps that were left out: what was only under way on a wire arrives."""
        if self._passed:
            self.can.to_guard += self.converter.rest(self._passed)
            self.pilot.rest(self._passed)
            self._passed = []

    def until(self, condition: Callable[[], bool], within_s: float) -> float:
        """Run until `condition()` holds; returns the time. AssertionError with the state when it does not in time."""
        self.run(self.now + within_s, condition)
        snap = self.services.snapshot
        assert condition(), f"not reached within {within_s} s: in {self.state}: {snap.why if snap else ''}"
        return self.now

    def _devices(self, now: float, moved: bool) -> None:
        """One step of those that have something to do. moved: of what the plant watches for them, something has."""
        self._make_up()
        converter, pilot = self.converter, self.pilot
        if moved or now >= converter.due:
            self.can.to_guard += converter.step(now, moved)
        else:
            self.can.to_guard += converter.rest((now,))
        if moved or now >= pilot.due:
            pilot.step(now, False, moved)
        else:
            pilot.rest((now,))
        if now >= self._next_slow - 1e-9:
            self._next_slow += 0.01
            for frame in self.car.step(now):
                if self.services.hears_car(now):
                    self.services.secc.receive(now, frame._replace(t=now))
            self.imd.step(now)

    def _deliver(self, now: float) -> None:
        if self.can.from_guard:
            frames, self.can.from_guard = self.can.from_guard, []
            if self.on_frames is not None:
                self.on_frames(now, frames)
            for frame in frames:
                self.converter.receive(now, frame)
        if self.serial.from_guard:
            data, self.serial.from_guard = self.serial.from_guard, b""
            self.pilot.receive(now, data)
