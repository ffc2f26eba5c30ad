"""The car by the process `secc`: its wishes to guard, guard's state to the car. The second user of the vehicle seam.

Services listen on RUNDIR/secc.sock and keep one `secc` running in its own environment. What crosses the socket is
mirrored, not decided; here it is translated, as hal/can/secc_bridge.py does it for an external SECC on CAN.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import firmware
from boards import Board
from firmware.bridges.secc.messages import (
    CarState,
    ChargerState,
    FromSecc,
    Lines,
    Ready,
    SessionEnded,
    encode,
    finite,
)
from firmware.bridges.secc.recording import FOLDER as RECORDINGS
from firmware.guard.machine import CABLE_CHECK, ENERGIZED
from firmware.guard.messages import Snapshot
from firmware.guard.numbers import SAFE_V
from firmware.services.devices import GUARD_SILENT_S, Clock, Health, Say, Send, car_report
from firmware.services.negotiation import NOTHING_TOLD, CarOrders, Negotiation, Told
from hal.ports import CanFrame, CarPhase, CarStatus, Reading

SOCKET = "secc.sock"  # in the run directory
PERIOD_S = 0.1
SECC_SILENT_S = 0.5  # five of its heartbeats
MIN_V = 150.0  # V, told to the car as the charger's lowest; the module's own limit holds in guard
RESTART_S = (0.5, 1.0, 2.0, 5.0)  # pauses before secc is started again
END_S = 3.0
HUNG_S = 20.0  # a secc that says nothing for so long, its start included, is killed and started again (own choice)
_BACKLOG_BYTES = 65536  # half a minute of what it is told
# How much longer than guard's 0.5 s the car may be silent, by protocol: -20 has a sequence timeout of 0.5 s in the
# loop; recorded cars of -2 and DIN ask every 0.12 to 0.46 s and were once silent for 0.75 s (policy value).
GRACE_TRANSFER_S = {"iso20": 0.0, "iso2": 1.0, "din": 1.0, "": 0.0}
# A car of -20 that has said nothing for so long is given no power any more, though its session goes on until 0.5 s: so
# the current is gone by then. Half of the sequence timeout of its charge loop (policy value).
QUIET_S = 0.25
# In cable check and precharge nothing of the car's is at stake but 2 A, and no current flows while it asks for a new
# schedule (policy value).
GRACE_BEFORE_S = 4.5
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_prctl = ctypes.CDLL(None).prctl


def car_status(car: CarState, silent_s: float = 0.0) -> CarStatus:
    """What the car's wishes permit, `silent_s` after its last message. A missing limit is zero; zero always lies inside
    the range.

    Dynamic: the charger chooses inside the car's limits. Scheduled, ISO 15118-2 and DIN: the car's target is one end
    of the range. Discharge needs the service DC_BPT, its limits and a lowest voltage.
    """
    phase = CarPhase(car.phase)
    target_v = 0.0
    if phase in (CarPhase.PRECHARGE, CarPhase.TRANSFER):
        target_v = car.target_v or 0.0
    low_a = high_a = 0.0
    quiet = car.protocol == "iso20" and silent_s > QUIET_S
    if phase is CarPhase.TRANSFER and car.max_v and not quiet and not car.replans:
        v = car.present_v or car.target_v or car.max_v
        high_a = _amps(car.charge_max_a, car.charge_max_w, v, power_optional=car.protocol != "iso20")
        if car.bidirectional and car.min_v:
            low_a = -_amps(car.discharge_max_a, car.discharge_max_w, v, power_optional=False)
        if car.control != "dynamic":
            target_a = car.target_a or 0.0
            high_a, low_a = max(0.0, min(high_a, target_a)), min(0.0, max(low_a, target_a))
    return CarStatus(
        phase=phase,
        target_v=target_v,
        i_max_a=high_a,
        i_min_a=low_a,
        v_max_v=car.max_v or 0.0,
        v_min_v=car.min_v or 0.0,
        soc_pct=car.soc_pct,
        capacity_wh=car.capacity_wh or None,
    )


def _amps(most_a: float | None, most_w: float | None, v: float, *, power_optional: bool) -> float:
    """ISO 15118-2 and DIN let a car leave out its power limit; its current limit never."""
    if not most_a or v <= 0.0:
        return 0.0
    if most_w is None:
        return most_a if power_optional else 0.0
    return min(most_a, most_w / v)


def report_t(car: CarState) -> float:
    """The time (s) that guard judges the car's silence by: it ends a session 0.5 s after it."""
    if car.phase == "transfer" and not car.replans:
        grace_s = GRACE_TRANSFER_S[car.protocol]
    elif car.phase in ("insulation", "precharge", "transfer"):
        grace_s = GRACE_BEFORE_S
    else:
        return car.sent_t  # nothing is energized: that the SECC lives is enough
    return min(car.sent_t, car.t + grace_s)


@dataclass(frozen=True, slots=True)
class Rated:
    """What the board can at best; told to a car while it negotiates."""

    charge_w: float
    discharge_w: float
    current_a: float


def charger_state(
    snapshot: Snapshot | None,
    rated: Rated,
    plugged: bool,
    asks_cable_check: bool,
    told: Told = NOTHING_TOLD,
) -> ChargerState:
    """What the SECC mirrors. Without a fresh snapshot nothing is known and nothing is available; `plugged` then is
    what was true before, for a silent guard has not pulled the plug.

    asks_cable_check: the car waits for the result. It is told when the cable is dead again: a car that saw the test
    voltage fall past its battery's would take that for precharge and close its contactors on it.
    """
    if snapshot is None:
        return ChargerState(plugged=plugged)
    energized = snapshot.state in _ENERGIZED
    limits = [limit for limit in snapshot.limits if limit.source not in ("car", "fault")]
    accepted = energized or snapshot.ready
    check = "idle"
    live = snapshot.v_dc_v is None or snapshot.v_dc_v >= SAFE_V
    if snapshot.state in _CABLE_CHECK or (energized and asks_cable_check and live):
        check = "running"
    elif energized:
        check = "passed"
    elif snapshot.state == "fault":
        check = "failed"
    return ChargerState(
        present_v=finite(snapshot.v_dc_v or 0.0),
        present_a=finite(snapshot.i_dc_a or 0.0),
        max_v=max(0.0, finite(snapshot.v_max_v)),
        min_v=MIN_V,
        charge_max_a=max(0.0, finite(snapshot.i_charge_max_a)),
        charge_max_w=max(0.0, min((finite(limit.charge_w) for limit in limits), default=0.0)),
        discharge_max_a=max(0.0, finite(snapshot.i_discharge_max_a)),
        discharge_max_w=max(0.0, min((finite(limit.discharge_w) for limit in limits), default=0.0)),
        rated_charge_a=rated.current_a,
        rated_charge_w=rated.charge_w,
        rated_discharge_a=rated.current_a if rated.discharge_w else 0.0,
        rated_discharge_w=rated.discharge_w,
        cable_check=check,  # type: ignore[arg-type]  # one of the Literal's words, by the lines above
        contactors="closed" if snapshot.contactor_dc else "open",
        plugged=snapshot.cp in ("B", "C", "D"),
        state_c=snapshot.cp in ("C", "D"),
        authorization="accepted" if accepted else "ongoing",
        ready=accepted,
        stop=snapshot.stop,
        emergency=snapshot.stop and (bool(snapshot.faults) or snapshot.grid_state in ("ceased", "tripped")),
        charged_wh=max(0.0, finite(snapshot.charged_wh)),
        discharged_wh=max(0.0, finite(snapshot.discharged_wh)),
        plan=told.plan,
        plan_no=told.plan_no,
        planning=told.planning,
        ask=told.ask,
        charge_only=told.charge_only,
    )


_ENERGIZED = frozenset(state.value for state in ENERGIZED)
_CABLE_CHECK = frozenset(state.value for state in CABLE_CHECK)


def interface_of(board: Board) -> str:
    """The interface that the SECC serves. An emulated board's veth is there when its rig could make it; otherwise the
    rig's car is on the loopback, and so is the SECC."""
    name = str(board.vehicle.interface)
    if board.emulated:
        try:
            socket.if_nametoindex(name)
        except OSError:
            return "lo"
    return name


def python_of(board: Board) -> Path:
    """The Python of the SECC's own environment."""
    return Path(firmware.__path__[0]).parent / board.vehicle.python


def missing(board: Board) -> str:
    """Why this board's car cannot be spoken to on this machine, in one sentence; empty when it can."""
    if board.vehicle.driver != "iso15118":
        return ""
    python = python_of(board)
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('iso15118') is None)"
    try:
        found = subprocess.run([str(python), "-P", "-c", look], capture_output=True, timeout=20.0, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return f"There is no {python}; `make setup` makes the SECC's environment."
    if found.returncode != 0:
        return f"{python} has no package iso15118; `make setup` installs it, with a package index."
    return ""


def command(board: Board, run_dir: Path) -> list[str]:
    """How `secc` is started. -P: nothing of this environment or the working directory gets into its own."""
    vehicle = board.vehicle
    home = Path(firmware.__path__[0])
    words = [str(python_of(board)), "-P", str(home / "bridges" / "secc" / "__main__.py")]
    words += ["--socket", str(run_dir / SOCKET), "--interface", interface_of(board), "--cache", str(run_dir)]
    words += ["--record", str(run_dir / RECORDINGS)]
    if vehicle.pki is not None:
        words += ["--pki", vehicle.pki]
    if not board.ratings.discharge_w:
        words.append("--charge-only")
    return words


class SeccSide:
    """Carries the car's wishes to guard and guard's state to the car; keeps `secc` running."""

    def __init__(
        self,
        argv: Sequence[str],
        socket: Path,
        rated: Rated,
        send: Send,
        clock: Clock,
        say: Say,
        hung_s: float = HUNG_S,
        wall: Clock = time.time,
    ) -> None:
        self._argv = argv
        self._path = socket
        self._rated = rated
        self._send = send
        self._clock = clock
        self._say = say
        self._health = Health("The vehicle side (secc)", say)
        self._snapshot: Snapshot | None = None
        self._snapshot_t = float("-inf")
        self._plugged = False
        self._writer: asyncio.StreamWriter | None = None
        self._heard_t = float("-inf")
        self._hung_s = hung_s
        self._process: asyncio.subprocess.Process | None = None
        self._stop_told = False
        self._quiet: asyncio.TimerHandle | None = None
        self._wall = wall
        self._negotiation = Negotiation(rated.charge_w, rated.discharge_w, say)
        self.car: CarState | None = None  # for the screen
        self.on_frames: Callable[[Sequence[CanFrame], bool], None] = lambda frames, sent: None  # it has no bus

    # -------------------------------------------------------------------------------------------------- to the car
    def snapshot(self, snapshot: Snapshot) -> None:
        self._snapshot, self._snapshot_t = snapshot, self._clock()
        if snapshot.stop != self._stop_told:  # a stop must not wait for the next period
            self.report()

    def order(self, orders: CarOrders) -> None:
        self._negotiation.order(self._wall(), orders)

    def pause(self) -> str:
        return self._negotiation.pause(self.car)

    def report(self) -> None:
        now = self._clock()
        snapshot = self._snapshot if now - self._snapshot_t <= GUARD_SILENT_S else None
        asks = self.car is not None and self.car.phase == "insulation"
        told = self._negotiation.told(now, self._wall(), self.car)
        state = charger_state(snapshot, self._rated, self._plugged, asks, told)
        self._plugged, self._stop_told = state.plugged, state.stop
        if self._writer is not None and not self._writer.is_closing():
            if self._writer.transport.get_write_buffer_size() > _BACKLOG_BYTES:
                return  # it does not read; when it does again, the next state is newer
            self._writer.write(encode(state))

    # ------------------------------------------------------------------------------------------------ from the car
    def take(self, message: object) -> None:
        """A message of secc."""
        self._heard_t = self._clock()
        if isinstance(message, CarState):
            self._health.good()
            self.car = message
            self._tell_guard()
        elif isinstance(message, SessionEnded):
            self._say(f"The car's session has ended in {message.state}: {message.reason}")
        elif isinstance(message, Ready):
            self._say(f"secc listens for a car on {message.interface}.")

    def _tell_guard(self) -> None:
        """The car as it is now; once more when it has become quiet, which must not wait for the next heartbeat."""
        car = self.car
        assert car is not None
        silent_s = self._clock() - car.t
        self._send(car_report(Reading(car_status(car, silent_s), report_t(car))))
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        if car.protocol == "iso20" and car.phase == "transfer" and silent_s <= QUIET_S:
            loop = asyncio.get_running_loop()
            self._quiet = loop.call_later(QUIET_S - silent_s + 0.001, self._tell_guard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._writer is not None:
            writer.close()  # one at a time: the one that we started
            return
        self._writer = writer
        lines = Lines(FromSecc)
        try:
            while chunk := await reader.read(65536):
                for message in lines.feed(chunk):
                    self.take(message)
        except OSError:
            pass
        finally:
            self._writer = None
            writer.close()

    async def run(self) -> None:
        """Serve until cancelled; then secc ends too."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        mask = os.umask(0o177)  # who may write here may ask guard for power
        try:
            server = await asyncio.start_unix_server(self._serve, self._path)
        finally:
            os.umask(mask)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_running())
                group.create_task(self._periodic())
        finally:
            server.close()
            if self._quiet is not None:
                self._quiet.cancel()
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    async def _periodic(self) -> None:
        due = self._clock()
        while True:
            self.report()
            if self._clock() - self._heard_t > SECC_SILENT_S and self.car is not None:
                self._health.bad("it is silent.")
            if self._process is not None and self._clock() - self._heard_t > self._hung_s:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
            due = max(due + PERIOD_S, self._clock())
            await asyncio.sleep(due - self._clock())

    async def _keep_running(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            code = await self._one_life()
            self._health.bad(f"secc has ended (exit {code}).")
            failures = 0 if time.monotonic() - began > 60.0 else failures + 1
            await asyncio.sleep(RESTART_S[min(failures, len(RESTART_S) - 1)])

    async def _one_life(self) -> int | str:
        parent = os.getpid()

        def bind_to_parent() -> None:  # between fork and exec: however we die, the kernel ends it
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=bind_to_parent,
            )
        except OSError as error:
            return str(error)
        self._process, self._heard_t = process, self._clock()
        try:
            return await process.wait()
        finally:
            self._process = None
            if process.returncode is None:
                for push in (process.terminate, process.kill):
                    with contextlib.suppress(ProcessLookupError):
                        push()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(process.wait(), END_S)
                        break
