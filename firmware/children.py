"""Child processes of the supervisor: started so that they cannot outlive it, with bounded logs and patient restarts."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

LOG_MAX_BYTES = 1_000_000  # of a log file; the one before it is kept as NAME.log.1
TAIL_LINES = 20
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_prctl = ctypes.CDLL(None).prctl  # looked up here: between fork and exec nothing may be loaded


class Backoff:
    """How long to wait before a process is started again. Pure: the time is given.

    Doubles from `first_s` to `most_s` with every failure and begins anew when the process ran for `good_s`.
    """

    def __init__(self, first_s: float = 0.1, most_s: float = 10.0, good_s: float = 30.0) -> None:
        self._first_s, self._most_s, self._good_s = first_s, most_s, good_s
        self._next_s = first_s

    def after(self, ran_s: float) -> float:
        """The pause (s) after a process that ran for `ran_s` has ended."""
        if ran_s >= self._good_s:
            self._next_s = self._first_s
        pause, self._next_s = self._next_s, min(self._next_s * 2.0, self._most_s)
        return pause


class Log:
    """One log file of bounded size, and its last lines in memory."""

    def __init__(self, path: Path, max_bytes: int = LOG_MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._file = path.open("ab")
        self._partial = b""
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.failed = ""  # why the log could not be written, when it could not

    def write(self, chunk: bytes) -> list[str]:
        """Append; returns the lines that `chunk` completed. A full disk must not stop a charger: it is only told."""
        try:
            if self._file.tell() + len(chunk) > self._max_bytes:
                self._file.close()
                self._path.replace(self._path.with_suffix(".log.1"))
                self._file = self._path.open("ab")
            self._file.write(chunk)
            self._file.flush()
        except (OSError, ValueError) as error:
            self.failed = str(error)
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        self._partial = self._partial[-self._max_bytes :]
        text = [line.decode(errors="replace").rstrip("\r") for line in lines]
        self.tail.extend(text)
        return text

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._file.close()


class Child:
    """One process at a time under one name."""

    def __init__(self, name: str, log: Log, on_line: Callable[[str], None] | None = None) -> None:
        self.name = name
        self.log = log
        self._on_line = on_line or (lambda line: None)
        self._process: asyncio.subprocess.Process | None = None
        self._pump: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self.running and self._process is not None else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def exit_code(self) -> int | None:
        """Of the last process; None while it runs or before the first."""
        return None if self._process is None else self._process.returncode

    async def start(
        self, argv: Sequence[str], pass_fds: Sequence[int] = (), death_signal: signal.Signals = signal.SIGKILL
    ) -> None:
        """Start it: own session (a Ctrl-C of the terminal is for the supervisor alone) and bound to our life.

        death_signal: what the kernel sends it when we die, however we die.
        """
        parent = os.getpid()

        def bind_to_parent() -> None:
            # Runs between fork and exec. When we have ended already, nobody would ever send that signal.
            _prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

        self._process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=bind_to_parent,
        )
        assert self._process.stdout is not None
        self._pump = asyncio.create_task(self._read(self._process.stdout))

    async def wait(self) -> int:
        """Its exit code (negative: killed by that signal), once its last output is in the log."""
        assert self._process is not None
        code = await self._process.wait()
        if self._pump is not None:
            # A grandchild may hold the pipe open: its output is not waited for.
            await asyncio.wait([self._pump], timeout=0.5)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def end(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL when it is still there after `grace_s`."""
        if not self.running:
            return
        self.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await self.wait()
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            await self.wait()

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(65536):
            for line in self.log.write(chunk):
                self._on_line(line)


def ended_how(code: int) -> str:
    """An exit code in words."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"
    return f"ended with exit code {code}"
