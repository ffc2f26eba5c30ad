"""A bench of real instruments: roles from bench.toml, one lock and one watchdog around them all.

The recorder here polls what the source measures and what the charger says. That is honest for slow things and far too
coarse for clearing times: with a sample every 0.1 s such a limit comes out INCONCLUSIVE, as it should. A rig that
proves clearing times needs a fast recorder driver; none is written yet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from firmware.control_client import ControlClient, ControlError
from hil.bench.capture import Capture, Channel, Event, Kept
from hil.bench.config import BenchConfig, RoleConfig
from hil.bench.manual import ManualEv, ManualFaults, ManualGrid, ManualLoad, Operator
from hil.bench.profile import GridCaps, GridPoint
from hil.bench.roles import BenchError, EvEmulator, GridEmulator, UnitStatus
from hil.bench.scpi import instrument
from hil.bench.scpi_grid import ScpiDc, ScpiGrid
from hil.bench.strict import TableError
from hil.bench.watch import LimitedEv, LimitedGrid, Watchdog, WatchdogThread

POLL_S = 0.1
LEASE_S = 5  # a request ends by itself when the host dies
REST_STATES = ("idle", "connected", "finished")


class RealClock:
    simulated = False

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick

    def now(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        self.wait_until(lambda: False, seconds)

    def wait_until(self, condition: Callable[[], bool], within_s: float) -> bool:
        end = time.monotonic() + within_s
        while True:
            self._tick()
            if condition():
                return True
            left = end - time.monotonic()
            if left <= 0.0:
                return False
            time.sleep(min(POLL_S, left))


class ChargerUnit:
    """A charger over its control socket. Times of its events are wall time and are moved to the bench's clock."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._asked: float | None = None
        self._renewed_s = 0.0
        self._controls: list[str] = []  # set from here and not cleared
        answer = self._call("status")
        self.identity = {"unit": str(directory), "board": str(answer.get("board", ""))}

    def _call(self, command: str, **fields: object) -> dict[str, object]:
        try:
            with ControlClient(self._directory) as client:
                return dict(client.call(command, **fields))
        except ControlError as error:
            raise BenchError(f"unit: {error}") from None

    def _snapshot(self) -> dict[str, object]:
        snapshot = self._call("status").get("snapshot")
        return dict(snapshot) if isinstance(snapshot, dict) else {}

    def status(self) -> UnitStatus:
        s = self._snapshot()
        if not s:
            return UnitStatus("starting", "", False, (), False)
        faults = s["faults"]
        assert isinstance(faults, list)
        ready = bool(s["converter_ready"]) and s["grid_state"] == "connected"
        is_open = not s["contactor_dc"] and not s["contactor_precharge"]
        return UnitStatus(str(s["state"]), str(s["why"]), ready, tuple(faults), is_open)

    def measured_w(self) -> float:
        value = self._snapshot().get("measured_w")
        return float(value) if isinstance(value, int | float) else 0.0

    def ask(self, power_w: float) -> None:
        self._asked = power_w
        self._renew()

    def _renew(self) -> None:
        if self._asked is not None:
            self._call("power", power_w=self._asked, for_s=LEASE_S, reason="bench")
            self._renewed_s = time.monotonic()

    def tick(self) -> None:
        if self._asked is not None and time.monotonic() - self._renewed_s > LEASE_S / 3.0:
            self._renew()

    def let_lease_end(self) -> None:
        self._asked = None

    def operator(self, action: str) -> None:
        if action not in ("stop", "start", "clear"):
            raise BenchError(f"unit: an operator may stop, start or clear, not {action!r}")
        self._call(action)

    def set_controls(self, tables: Sequence[Mapping[str, Any]]) -> None:
        mine = self._controls
        if tables:
            wanted = [{"default": True, **table} for table in tables]
            self._call("controls_set", controls=wanted, source="bench", replace=mine)
            self._controls = [str(table["id"]) for table in wanted]
            return
        for name in mine:
            self._call("controls_clear", control=name, source="bench")
        self._controls = []

    def events(self, since_s: float) -> list[Event]:
        offset = time.time() - time.monotonic()
        found = self._call("events", since=since_s + offset, limit=1000)["events"]
        assert isinstance(found, list)
        return [
            Event(float(e["wall_s"]) - offset, str(e["code"]), str(e.get("detail", "")), bool(e.get("cleared")))
            for e in found
        ]

    def kept(self) -> Kept:
        energy = self._call("status")["energy"]
        assert isinstance(energy, dict)
        return Kept(self.events(0.0), float(energy["charged_wh"]), float(energy["discharged_wh"]))

    def health(self) -> list[str]:
        status, wrong = self.status(), []
        if status.faults:
            wrong.append(f"faults stay: {', '.join(status.faults)}")
        if not status.contactors_open:
            wrong.append("the DC contactor or the precharge relay is closed")
        if status.state not in REST_STATES:
            wrong.append(f"the state is {status.state!r}: {status.why}")
        return wrong


CHANNELS = ("grid_va_pu", "grid_vb_pu", "grid_vc_pu", "grid_vmin_pu", "grid_vmax_pu", "grid_f_hz", "dc_w")


class PollingRecorder:
    """Samples at most every POLL_S, as fast as the instruments answer; each row carries the time it was read."""

    def __init__(self, grid: GridEmulator, unit: ChargerUnit, nominal_v: float, role: RoleConfig) -> None:
        self._grid, self._unit, self._nominal_v = grid, unit, nominal_v
        source = " ".join(("polled", role.serial)).strip()
        units = {"grid_f_hz": ("Hz", 0.02), "dc_w": ("W", 200.0)}
        self._channels = {
            name: Channel(name, *units.get(name, ("pu", 0.005)), source, role.cal_due) for name in CHANNELS
        }
        self._capture: Capture | None = None
        self._begun_s = 0.0

    def channels(self) -> tuple[str, ...]:
        return CHANNELS

    def start(self, rate_hz: float) -> None:
        self._begun_s = time.monotonic()
        # A row is read over several questions: its time is not known better than that takes.
        self._capture = Capture(dict(self._channels), period_s=POLL_S, t_accuracy_s=POLL_S)
        self.tick()

    def tick(self) -> None:
        if self._capture is not None:
            self._capture.add(time.monotonic(), self._sample())

    def stop(self) -> Capture:
        if self._capture is None:
            raise BenchError("recorder: it does not run")
        capture, self._capture = self._capture, None
        steps = [b - a for a, b in zip(capture.t, capture.t[1:], strict=False)]
        capture.period_s = max([POLL_S, *steps])
        capture.events = self._unit.events(self._begun_s)
        return capture

    def latest(self, channel: str) -> float:
        try:
            return self._sample()[channel]
        except KeyError:
            raise BenchError(f"recorder: there is no channel {channel!r}; there are {', '.join(CHANNELS)}") from None

    def _sample(self) -> dict[str, float]:
        reading = self._grid.read()
        pu = [v / self._nominal_v for v in reading.v_v]
        values = (*pu, min(pu), max(pu), reading.f_hz, self._unit.measured_w())
        return dict(zip(CHANNELS, values, strict=True))


class RealBench:
    simulated = False

    def __init__(self, config: BenchConfig, operator: Operator | None = None) -> None:
        """Raises BenchError when an instrument or the charger is not there; nothing stays open then."""
        self.config = config
        self.nominal = GridPoint((config.nominal_v,) * 3, config.nominal_hz)
        person = operator or Operator()
        roles, limits, lock = config.roles, config.limits, threading.RLock()
        self._open: list[Callable[[], None]] = []
        try:
            grid = self._grid(roles["grid"], limits.i_max_a, person)
            ev = self._ev(roles["ev"], person)
            self.unit = ChargerUnit(Path(roles["unit"].directory))
        except (BenchError, TableError) as error:
            self.close()
            raise BenchError(str(error)) from None
        # A person is not switched off by a thread.
        outputs = [role.off for role in (grid, ev) if isinstance(role, ScpiGrid | ScpiDc)]
        watchdog = Watchdog(limits.silence_s, outputs)

        def alive() -> None:
            watchdog.kick(time.monotonic())

        self.grid = LimitedGrid(grid, limits, alive, lock)
        self.ev = LimitedEv(ev, limits, alive, lock)
        self.load = ManualLoad(person)
        self.fault = ManualFaults(person)
        self.recorder = PollingRecorder(self.grid, self.unit, config.nominal_v, roles["recorder"])

        def tick() -> None:
            alive()
            self.unit.tick()
            self.recorder.tick()

        self.clock = RealClock(tick)
        if outputs:
            self._open.append(WatchdogThread(watchdog, lock).close)

    def _grid(self, role: RoleConfig, i_max_a: float, person: Operator) -> ScpiGrid | ManualGrid:
        if role.driver == "manual":
            return ManualGrid(person, GridCaps())
        grid = ScpiGrid(role.address, instrument(role.instrument, "ac_source"), i_max_a)
        self._open.append(grid.close)
        return grid

    def _ev(self, role: RoleConfig, person: Operator) -> EvEmulator:
        if role.driver == "manual":
            return ManualEv(person)
        ev = ScpiDc(role.address, instrument(role.instrument, "dc_supply"))
        self._open.append(ev.close)
        return ev

    def close(self) -> None:
        while self._open:
            self._open.pop()()


def open_bench(config: BenchConfig) -> RealBench:
    return RealBench(config)
