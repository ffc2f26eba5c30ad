"""The real services of a simulated charger, in lockstep: `firmware.services.app.Services`, its own event loop and all.

Its loop runs on simulated time and is turned once a tick; its records are a real file of SQLite, its wishes, controls
and latched faults real files, its link to guard the real socket pair. Stand-ins are: the serial line of the meters and
the SECC (`hil.sim` does their part with the drivers' codecs), the threads that write disturbance files (written at
once), and the energy manager, who asks for power over and over as one on the control socket would.

Processes are killed here by never being turned again: what they had not given to the system is lost, as by kill -9.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boards import Board
from firmware.guard.loop import ServicesLink
from firmware.guard.messages import EventMessage, Snapshot
from firmware.recorder.reader import FILE, Reader
from firmware.recorder.schema import RecorderError
from firmware.services.app import Services
from firmware.services.control import Refused
from firmware.services.link import GuardLink
from firmware.services.records import Records
from firmware.supervisor import socket_pair
from hal.ports import AcMeterValues, CanFrame, Reading
from hil.bench.capture import Event, Kept

if TYPE_CHECKING:
    from hil.sim import Sim

WALL_S = 1_795_172_400.0  # 2026-11-20 11:00 UTC: the wall clock at the beginning of every simulation
TURNS = 2  # rounds of the loop in a tick: what a timer or a message sets off is done in the same tick
MANAGER = "manager"
ASK_FOR_S, ASK_AGAIN_S = 10.0, 3.0  # the manager's request and how often it is renewed
EVENTS = 10_000


class LockstepLoop(asyncio.SelectorEventLoop):
    """An event loop on given time, which goes on only by `turn`.

    The two overrides name their arguments more loosely than the base does; services call both with positions only."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        super().__init__()

    def time(self) -> float:
        return self._clock()

    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        """A simulated process gets no signals; those of the simulator are not its business."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """What a thread would do is done at once: two runs are the same to the last bit."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # it belongs to whoever waits for the thread
            future.set_exception(error)
        return future

    def turn(self) -> None:
        for _ in range(TURNS):
            self.call_soon(self.stop)
            self.run_forever()


class _Meters:
    """In the place of services' MeterSide: `hil.sim` reads the emulated registers and tells guard."""

    def __init__(self) -> None:
        self.health: dict[str, Any] = {}
        self.ac: Reading[AcMeterValues] | None = None

    def snapshot(self, snapshot: Snapshot, in_self_test: bool) -> None:
        """Guard's wishes for a self-test are seen by `hil.sim`."""

    async def run(self) -> None:
        await asyncio.Event().wait()


class _Vehicle:
    """In the place of the SECC's side, in the same way."""

    def __init__(self) -> None:
        self.on_frames: Callable[[Sequence[CanFrame], bool], None] = lambda frames, sent: None

    def snapshot(self, snapshot: Snapshot) -> None:
        """The car hears of guard by `hil.sim`."""

    async def run(self) -> None:
        await asyncio.Event().wait()


class _Told(Records):
    """Records that also tell the bench of every event."""

    def __init__(self, *args: Any, hears: Callable[[EventMessage], None], **more: Any) -> None:
        self._hears = hears
        super().__init__(*args, **more)

    def event(self, event: EventMessage) -> dict[str, Any]:
        self._hears(event)
        return super().event(event)


class _Process:
    """One life of services."""

    def __init__(self, office: Office, restarted: bool) -> None:
        """Raises RecorderError when the records cannot be opened, as the process would end then."""
        sim, board = office.sim, office.board
        highest_w = max(board.ratings.charge_w, board.ratings.discharge_w)

        def clock() -> float:
            return sim.now

        self.loop = LockstepLoop(clock)
        try:
            self.records = _Told(
                office.dir, highest_w, clock, office.wall_s, office.said.append, background=False, hears=office.heard
            )
        except RecorderError:
            self.loop.close()
            raise
        # The stand-ins for meters and car have what services use of them, and are no subclasses of the real sides.
        self.services = Services(
            board, office.dir, GuardLink(office.ends[1]), self.records, _Meters(), _Vehicle(),  # type: ignore[arg-type]
            clock=clock, say=office.said.append, restarted=restarted,
        )  # fmt: skip
        self.task = self.loop.create_task(self.services.run())

    def turn(self, now: float) -> None:
        self.loop.turn()
        with contextlib.suppress(RecorderError):  # seen by `health`, as in the store's own thread
            self.records.store.flush(now)
        if self.task.done():
            self.task.result()  # services ended by an error: that ends the simulation too
            raise RuntimeError("the simulated services ended by themselves")

    def close(self) -> None:
        """When nothing counts any more: ends its tasks and gives files and sockets back."""
        self.task.cancel()
        with contextlib.suppress(BaseException):
            self.loop.run_until_complete(self.task)
        with contextlib.suppress(Exception):  # services that never had a turn have not closed it
            self.records.store.close()
        self.loop.close()


class Office:
    """The services of one simulated charger, whatever becomes of their processes. `said`: sentences of their log."""

    def __init__(self, sim: Sim, board: Board) -> None:
        self.sim, self.board = sim, board
        self._home = tempfile.TemporaryDirectory(prefix="quadrant-")
        self.dir = Path(self._home.name)
        self.ends = socket_pair()  # guard's and services'
        self.link = ServicesLink(self.ends[0])
        self.said: list[str] = []
        self.disk_full = False
        self.manager_gone = False
        self._jumped_s = 0.0
        self._next_ask = 0.0
        self._dead: list[_Process] = []
        self.process: _Process | None = None
        self._start(restarted=False)

    # ------------------------------------------------------------------------------------------------------ processes
    def _start(self, restarted: bool) -> None:
        try:
            with self.disk():
                self.process = _Process(self, restarted)
        except RecorderError as error:  # the supervisor tries again
            self.said.append(f"services cannot start: {error}")

    def kill(self) -> None:
        """As by kill -9; `turn` must not be called until `revive`."""
        if self.process is not None:
            self._dead.append(self.process)  # kept: an object that is thrown away would tidy up
            self.process = None

    def revive(self) -> None:
        """New services, told that they are not the first; those that only hung go on."""
        if self.process is None:
            self._start(restarted=True)

    @property
    def services(self) -> Services | None:
        """None while there are none."""
        return None if self.process is None else self.process.services

    def turn(self, now: float) -> None:
        """Once a tick, while the process lives."""
        if self.process is None:
            self._start(restarted=True)
        if self.process is not None:
            with self.disk():
                self.process.turn(now)

    # --------------------------------------------------------------------------------------------------- what is broken
    def wall_s(self) -> float:
        """The wall clock."""
        return WALL_S + self.sim.now + self._jumped_s

    def jump(self, by_s: float) -> None:
        """Somebody sets the wall clock."""
        self._jumped_s += by_s

    @contextlib.contextmanager
    def disk(self) -> Iterator[None]:
        """While the disk is full the kernel takes not one more byte of a file from services (EFBIG, as by a quota; of
        this whole process, but only while services have their turn)."""
        if not self.disk_full:
            yield
            return
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    # ----------------------------------------------------------------------------------------------------- the manager
    def manage(self, now: float, power_w: float | None) -> None:
        """Once a tick: whoever manages the house asks for power (W, None: nothing) as long as the network is there."""
        services = self.services
        if power_w is None or self.manager_gone or services is None or now < self._next_ask:
            return
        self._next_ask = now + ASK_AGAIN_S
        with self.disk(), contextlib.suppress(Refused):  # a stopped charger: asked again
            services.power(power_w, ASK_FOR_S, "", MANAGER)

    def ask_at_once(self) -> None:
        """The manager has changed its mind."""
        self._next_ask = 0.0

    # ------------------------------------------------------------------------------------------------- what is told
    def heard(self, event: EventMessage) -> None:
        """What services tell: their own events reach the bench beside guard's."""
        if event not in self.sim.services.events[-100:]:
            self.sim.services.events.append(event)

    def kept(self) -> Kept:
        """What stands in the records file now, read from the disk as another program would."""
        reader = Reader(self.dir / FILE)
        try:
            state = reader.ledger_state()
            rows = reader.events(EVENTS)
        finally:
            reader.close()
        here = str(self.dir)  # another one in every run
        events = [Event(row.t_mono, row.code, row.detail.replace(here, "RUNDIR"), row.cleared) for row in rows]
        charged_wh, discharged_wh = (0.0, 0.0) if state is None else (state.charged_wh, state.discharged_wh)
        return Kept(events, charged_wh, discharged_wh)

    def close(self) -> None:
        """Ends everything and removes the files."""
        self.disk_full = False
        for process in (*self._dead, *([] if self.process is None else [self.process])):
            process.close()
        self._dead, self.process = [], None
        for end in self.ends:
            end.close()
        self._home.cleanup()
