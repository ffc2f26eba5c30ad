"""The supervisor: reads a board, starts rig, guard and services, and keeps guard and services alive.

    rig        (emulated boards only) first; without it there is nothing to control, so its end ends everything
    guard      the real-time process: `python -m firmware.guard --board FILE --dir RUNDIR --fd N [--restarted]`
    services   everything else: `python -m firmware.services --board FILE --dir RUNDIR --fd N --alive N [--restarted]`
    web        the service screen, a client of the control socket like any other: its end ends nothing

Guard and services talk over one socket pair. The supervisor keeps both ends open, so a process that is started again
gets the same pair and the other one never notices more than silence.

The supervisor is no part of the safety chain. When it is killed, the kernel kills rig and services and asks guard to
shut down (SIGTERM): it ramps to zero, opens and ends by itself, and until then its copy of the lock keeps a second
charger from starting. When guard is killed too, the pilot MCU's and the converter's own time-outs open and stop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

import boards
from firmware.children import Backoff, Child, Log, ended_how
from firmware.control_client import SOCKET_NAME, default_run_dir
from firmware.guard.messages import FromGuard, Operator, Snapshot
from firmware.services.secc import missing
from firmware.systemd import Notifier, Priority, entry, is_journal

DOWN_TIMEOUT_S = 15.0  # for ramp, opening and weld check: guard's own bounds add up to less (firmware/guard/numbers.py)
ASK_S = 1.0  # for a guard that is down to say so itself: ten of its snapshots
RIG_READY_S = 30.0
ENDING_GRACE_S = 2.0
SILENT_S = 10.0  # services write a byte a second; so long without one they, or guard behind them, hang
START_GRACE_S = 20.0  # a starting process may be silent for so long: imports on a busy small machine
EXIT_SHUT_DOWN = 0  # services' exit code for "guard is down as asked"
EXIT_CONFIG = 2  # a child's exit code for "my configuration is wrong": starting it again would not help
SOCKET_BUFFER_BYTES = 1024 * 1024  # the kernel gives less without CAP_NET_ADMIN; a disturbance record should fit


class SupervisorError(Exception):
    """The charger cannot be started. One sentence."""


@dataclass(frozen=True, slots=True)
class Commands:
    """How the processes are started; tests put their own here. `--fd N` and `--alive N` are appended."""

    guard: tuple[str, ...]
    services: tuple[str, ...]
    rig: tuple[str, ...] | None = None
    web: tuple[str, ...] | None = None


def board_for(name: str, run_dir: Path, say: Callable[[str], None]) -> boards.Board:
    """The board to run. The desk whose car cannot speak on this machine becomes the one with a car on CAN, and that is
    said. Raises boards.BoardError and SupervisorError."""
    board = boards.load(name, run_dir)
    problem = missing(board)
    if not problem:
        return board
    if Path(board.path).resolve() != boards.find("desk").resolve():
        raise SupervisorError(f"The board {board.name} cannot speak to a car: {problem}")
    say(f"{problem} Until then the car speaks no ISO 15118; this is the board desk_can.")
    return boards.load("desk_can", run_dir)


def commands_for(board: boards.Board, run_dir: Path) -> Commands:
    """The real processes of a board."""

    def python(module: str) -> tuple[str, ...]:
        return (sys.executable, "-m", module, "--board", str(Path(board.path).resolve()), "--dir", str(run_dir))

    rig: tuple[str, ...] | None = None
    if board.emulated and board.rig is not None:
        rig = (*python(board.rig.module), "--source", board.rig.source)
        if board.rig.plug_in_after_s is not None:
            rig += ("--plug-in-after", str(board.rig.plug_in_after_s))
    web = python("firmware.web") if board.web.enabled else None
    return Commands(python("firmware.guard"), python("firmware.services"), rig, web)


def claim(run_dir: Path) -> int:
    """Make the run directory ours alone and return the descriptor of its lock. Raises SupervisorError."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        (run_dir / "log").mkdir(exist_ok=True, mode=0o700)
        lock = os.open(run_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SupervisorError(f"The run directory {run_dir} cannot be used: {error.strerror}.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 32).decode(errors="replace").strip()
        os.close(lock)
        if owner.isdigit() and not _lives(int(owner)):
            raise SupervisorError(
                f"The charger in {run_dir} was killed and its guard still winds down; try again in 10 seconds."
            ) from None
        raise SupervisorError(
            f"A charger already runs in {run_dir} (process {owner or 'unknown'}); stop it first, or give another --dir."
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _lives(pid: int) -> bool:
    """Whether a process is there and is more than an entry that its parent has not yet taken note of (a zombie)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Guard's end and services' end. Packets keep their borders; neither end blocks."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        with contextlib.suppress(OSError):  # SO_SNDBUFFORCE = 32: beyond net.core.wmem_max, for the privileged
            end.setsockopt(socket.SOL_SOCKET, 32, SOCKET_BUFFER_BYTES)
    return ends


def drain(end: socket.socket) -> int:
    """Throw away what waits at this end; returns how many packets. They were for a process that is gone."""
    count = 0
    with contextlib.suppress(OSError):
        while end.recv(65536):
            count += 1
    return count


class Supervisor:
    """Runs one charger until it is asked to stop. `say` gets sentences for people."""

    def __init__(
        self,
        commands: Commands,
        run_dir: Path,
        say: Callable[[str], None],
        down_timeout_s: float = DOWN_TIMEOUT_S,
        silent_s: float = SILENT_S,
        start_grace_s: float = START_GRACE_S,
        lock: int | None = None,
        notifier: Notifier | None = None,
        heard: Callable[[str, str], None] | None = None,
    ) -> None:
        """lock: descriptor of the run directory's lock, for guard to inherit. heard: gets every line that a process
        says, after its name."""
        self._commands = commands
        self._say = say
        self._down_timeout_s = down_timeout_s
        self._silent_s = silent_s
        self._start_grace_s = start_grace_s
        self._lock = lock
        self._notifier = notifier or Notifier()
        self._ready = False
        self._guard_end, self._services_end = socket_pair()
        self._alive_read, self._alive_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        log_dir = run_dir / "log"
        self._control_socket = run_dir / SOCKET_NAME
        self._rig_ready = asyncio.Event()
        self._line = heard or (lambda name, line: None)

        def child(name: str, on_line: Callable[[str], None] | None = None) -> Child:
            return Child(name, Log(log_dir / f"{name}.log"), on_line or (lambda line: self._line(name, line)))

        self.rig = child("rig", self._rig_line)
        self.guard = child("guard")
        self.services = child("services")
        self.web = child("web")
        self._stop = asyncio.Event()
        self._signals = 0
        self._at_once: int | None = None  # exit code after a second signal
        self._services_due = self._guard_due = float("inf")  # when silence becomes a hang

    # ------------------------------------------------------------------------------------------------------- life
    async def run(self) -> int:
        """Start everything, keep it running, stop it. Exit code: 0 = stopped with contactors open, 1 = something
        failed (said), 128 + N = ended at once by a second signal N."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._signal, number)
        loop.add_reader(self._alive_read, self._heard)
        pulse = asyncio.create_task(self._pulse())
        try:
            code = await self._run()
            return code if self._at_once is None else self._at_once
        finally:
            pulse.cancel()
            loop.remove_reader(self._alive_read)
            for child in (self.web, self.services, self.guard, self.rig):
                child.send_signal(signal.SIGKILL)
                if child.running:
                    await child.wait()
                child.log.close()
            self._guard_end.close()
            self._services_end.close()
            os.close(self._alive_read)
            os.close(self._alive_write)
            self._control_socket.unlink(missing_ok=True)  # services that were killed could not

    def stop(self) -> None:
        """Ask for a clean stop, as SIGTERM does."""
        self._stop.set()

    async def _run(self) -> int:
        if not await self._start_rig():
            return 0 if self._stop.is_set() else 1
        stop = asyncio.create_task(self._stop.wait())
        # Each of these ends only with a reason to stop everything: 0 = shut down as asked, else a failure (said).
        keepers = [
            asyncio.create_task(self._keep(self.guard, self._start_guard)),
            asyncio.create_task(self._keep(self.services, self._start_services)),
            asyncio.create_task(self._watch_for_hangs()),
        ]
        if self.rig.running:
            keepers.append(asyncio.create_task(self._watch_rig()))
        screen = asyncio.create_task(self._keep_web())
        await asyncio.wait([stop, *keepers], return_when=asyncio.FIRST_COMPLETED)
        code = max((task.result() for task in keepers if task.done()), default=0)
        for task in (stop, screen, *keepers):
            task.cancel()
        await asyncio.gather(stop, screen, *keepers, return_exceptions=True)
        self._notifier.stopping()
        down = await self._shut_down()
        await self.web.end(ENDING_GRACE_S)
        await self.services.end(ENDING_GRACE_S)
        await self.guard.end(ENDING_GRACE_S)
        await self.rig.end(ENDING_GRACE_S)
        return code if down else 1

    def _signal(self, number: signal.Signals) -> None:
        self._signals += 1
        self._stop.set()
        if self._signals == 2:
            self._at_once = 128 + number
            self._say("Ended at once; the pilot MCU opens the contactors by itself.")
            for child in (self.web, self.services, self.guard, self.rig):
                child.send_signal(signal.SIGKILL)

    # --------------------------------------------------------------------------------------------------------- rig
    async def _start_rig(self) -> bool:
        if self._commands.rig is None:
            return True
        await self.rig.start(self._commands.rig)
        waits = [asyncio.create_task(w) for w in (self._rig_ready.wait(), self._stop.wait(), self.rig.wait())]
        await asyncio.wait(waits, timeout=RIG_READY_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        if self._stop.is_set() or (self._rig_ready.is_set() and self.rig.running):
            return not self._stop.is_set()
        what = f"was not ready after {RIG_READY_S:g} s" if self.rig.running else "ended while it started"
        self._complain(self.rig, f"The emulated rig {what}.")
        return False

    def _rig_line(self, line: str) -> None:
        self._line("rig", line)
        if line.startswith("rig ready"):
            self._rig_ready.set()

    async def _watch_rig(self) -> int:
        code = await self.rig.wait()
        self._complain(self.rig, f"The emulated rig {ended_how(code)}: without it there is nothing to control.")
        return 1

    # -------------------------------------------------------------------------------------------- guard and services
    async def _start_guard(self, restarted: bool) -> None:
        self._guard_due = time.monotonic() + self._start_grace_s
        argv = [*self._commands.guard, "--fd", str(self._guard_end.fileno())]
        fds = [self._guard_end.fileno(), *([] if self._lock is None else [self._lock])]
        await self.guard.start([*argv, *(["--restarted"] if restarted else [])], fds, signal.SIGTERM)

    async def _start_services(self, restarted: bool) -> None:
        # What guard said while nobody listened stays in the pair: its events and records are for the new services.
        self._services_due = time.monotonic() + self._start_grace_s
        fds = (self._services_end.fileno(), self._alive_write)
        argv = [*self._commands.services, "--fd", str(fds[0]), "--alive", str(fds[1])]
        await self.services.start([*argv, *(["--restarted"] if restarted else [])], fds)

    async def _keep(self, child: Child, start: Callable[[bool], Awaitable[None]]) -> int:
        backoff = Backoff()
        restarted = False
        while True:
            started = time.monotonic()
            await start(restarted)
            code = await child.wait()
            if child is self.services and code == EXIT_SHUT_DOWN:
                return 0
            if code == EXIT_CONFIG and not restarted:  # later it may be a device that comes back
                self._complain(child, f"{child.name} cannot start.")
                return 1
            pause_s = backoff.after(time.monotonic() - started)
            self._complain(child, f"{child.name} {ended_how(code)}; it is started again in {pause_s:g} s.")
            await asyncio.sleep(pause_s)
            restarted = True

    async def _keep_web(self) -> None:
        """The screen may come and go: whatever becomes of it, and of its start, the charger goes on."""
        if self._commands.web is None:
            return
        backoff = Backoff()
        while True:
            started = time.monotonic()
            try:
                await self.web.start(self._commands.web)
                code = await self.web.wait()
            except OSError as error:
                self._say(f"The service screen cannot be started ({error.strerror}); the charger goes on without it.")
                return
            if code == EXIT_CONFIG:
                self._complain(self.web, "There is no service screen.")
                return
            pause_s = backoff.after(time.monotonic() - started)
            self._complain(self.web, f"The service screen {ended_how(code)}; it is started again in {pause_s:g} s.")
            await asyncio.sleep(pause_s)

    def _heard(self) -> None:
        """Services write `.` while guard talks to them and `!` while it is silent."""
        with contextlib.suppress(BlockingIOError):
            beats = os.read(self._alive_read, 4096)
            self._services_due = time.monotonic() + self._silent_s
            if b"." in beats:
                if not self._ready:
                    self._ready = True
                    self._notifier.ready("guard reports")
                self._guard_due = max(self._guard_due, time.monotonic() + self._silent_s)

    async def _pulse(self) -> None:
        """The service manager watches us; we watch the others. A pulse says that this loop turns, not that the charger
        is well: starting everything anew does not mend a converter that is not there."""
        while self._notifier.pulse_s is not None:
            self._notifier.pulse()
            await asyncio.sleep(self._notifier.pulse_s)

    async def _watch_for_hangs(self) -> int:
        """A process that runs and says nothing hangs: it is killed, and then started again like any that died."""
        while True:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            if self.services.running and now > self._services_due:
                self._say("Services hang and are killed.")
                self.services.send_signal(signal.SIGKILL)
                self._services_due = float("inf")
            # Guard is only heard through services: while they are silent nothing is known of it.
            if self.guard.running and self.services.running and now > self._guard_due and now < self._services_due:
                self._say("Guard hangs and is killed; the pilot MCU opened the contactors when it fell silent.")
                self.guard.send_signal(signal.SIGKILL)
                self._guard_due = float("inf")

    # -------------------------------------------------------------------------------------------------------- the end
    async def _shut_down(self) -> bool:
        """Ramp to zero and open. True when guard said that it is down; everything is still bounded in time."""
        if self.services.exit_code == EXIT_SHUT_DOWN:
            return True  # somebody asked over the control socket
        deadline = time.monotonic() + self._down_timeout_s
        if self.services.running and self.guard.running:
            # Services ask guard, and go on telling the car what happens until guard is down.
            self.services.send_signal(signal.SIGTERM)
            ends = [asyncio.create_task(child.wait()) for child in (self.services, self.guard)]
            await asyncio.wait(ends, timeout=self._down_timeout_s, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
            if self.services.exit_code == EXIT_SHUT_DOWN:
                return True
        await self.services.end(0.0)  # whatever it still does, it is no longer needed
        # Guard may be down for long while services had no end, waiting for a disk: it is heard in any case.
        deadline = max(deadline, time.monotonic() + ASK_S)
        if self._at_once is None and self.guard.running and await self._ask_guard(deadline):
            return True
        if self._at_once is None:
            state = (
                f"did not say within {self._down_timeout_s:g} s that it is down" if self.guard.running else "is dead"
            )
            self._complain(self.guard, f"Guard {state}; the pilot MCU opens the contactors by itself.")
        return False

    async def _ask_guard(self, deadline: float) -> bool:
        """Services are dead: use their end."""
        drain(self._services_end)
        with contextlib.suppress(OSError):
            self._services_end.send(msgspec.msgpack.encode(Operator("shutdown", "supervisor")))
        decoder = msgspec.msgpack.Decoder(FromGuard)
        while time.monotonic() < deadline and self.guard.running:
            with contextlib.suppress(BlockingIOError):
                while packet := self._services_end.recv(SOCKET_BUFFER_BYTES):
                    message = decoder.decode(packet)
                    if isinstance(message, Snapshot) and message.down:
                        return True
            await asyncio.sleep(0.05)
        return False

    def _complain(self, child: Child, sentence: str) -> None:
        """A sentence, and the last lines of that process's log."""
        lines = "".join(f"\n  {child.name}: {line}" for line in child.log.tail)
        child.log.tail.clear()  # the next complaint shows what came after
        self._notifier.status(sentence)
        self._say(sentence + lines)


def told(process: str, line: str) -> None:
    """A line of a process as an entry of the journal."""
    print(entry(Priority.NOTICE, line, process=process), file=sys.stderr, flush=True)


def run(board_name: str, run_dir: Path | None = None, say: Callable[[str], None] | None = None) -> int:
    """Run a board until SIGINT or SIGTERM; returns the exit code. Sentences go to `say` (default: standard error)."""
    notifier = Notifier.from_environment(os.environ)
    journal = is_journal(sys.stderr, os.environ)

    def plain(text: str) -> None:
        print(entry(Priority.WARNING, text, process="supervisor") if journal else text, file=sys.stderr, flush=True)

    tell = say or plain
    directory = (run_dir or default_run_dir()).absolute()
    try:
        board = board_for(board_name, directory, tell)
        lock = claim(directory)
    except (boards.BoardError, SupervisorError) as error:
        tell(str(error))
        return 1

    async def main() -> int:
        commands = commands_for(board, directory)
        heard = told if journal else None
        return await Supervisor(commands, directory, tell, lock=lock, notifier=notifier, heard=heard).run()

    try:
        return asyncio.run(main())
    finally:
        os.close(lock)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m firmware.supervisor", description="Runs one charger.")
    parser.add_argument("--board", default="desk", help="name or file of the board")
    parser.add_argument("--dir", type=Path, default=None, help="run directory (default: as for `quadrant`)")
    args = parser.parse_args(argv)
    return run(args.board, args.dir)


if __name__ == "__main__":
    sys.exit(main())
