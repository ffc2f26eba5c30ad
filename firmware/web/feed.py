"""The one watch of the charger that all clients of the screen share, and what was seen in the last minutes.

The charger's own lines are passed on as they are: a client that reads slowly gets the newest state and misses those in
between, and every event in order. Nobody's reading can slow down anybody else's, or the charger.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from array import array
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from firmware.control_client import SOCKET_NAME, ControlError, NoCharger, Refused

PERIOD_S = 0.1  # a client gets at most ten states a second
RETRY_S = 0.5
SILENCE_S = 3.0  # services publish once a second even when guard is silent: longer is a dead connection
ANSWER_TIMEOUT_S = 5.0
MAX_LINE_BYTES = 4_000_000
MAX_UNREAD_EVENTS = 500
KEPT_S = 600.0  # of the scope
KEPT_ROWS = 6600  # ten a second, and some more on changes of state
MIN_STEP_S = 0.05

# Columns of the scope. Each is what it says in the snapshot; the three phases are taken apart.
COLUMNS = (
    "t", "v_l1_v", "v_l2_v", "v_l3_v", "f_hz", "measured_w", "asked_w", "permitted_w", "p_ac_w", "q_ac_var",
    "v_dc_v", "i_dc_a", "i_set_a", "soc_pct", "temp_c",
)  # fmt: skip


def row_of(snapshot: dict[str, Any]) -> tuple[float, ...]:
    """One row of the scope; what is unknown is nan."""

    def number(value: object) -> float:
        return float(value) if isinstance(value, int | float) else math.nan

    phases = (snapshot.get("grid_v") or [None] * 3)[:3]
    names = ("measured_w", "asked_w", "permitted_w", "p_ac_w", "q_ac_var", "v_dc_v", "i_dc_a", "i_set_a", "soc_pct")
    return (
        number(snapshot.get("t")),
        *(number(v) for v in phases),
        number(snapshot.get("grid_f_hz")),
        *(number(snapshot.get(name)) for name in names),
        number(snapshot.get("converter_temp_c")),
    )


class History:
    """A ring of rows, the oldest forgotten. Memory is taken once."""

    def __init__(self, rows: int = KEPT_ROWS) -> None:
        self._width = len(COLUMNS)
        self._data = array("d", bytes(8 * rows * self._width))
        self._rows = rows
        self._next = 0
        self._count = 0
        self._last_t = -math.inf

    def add(self, row: tuple[float, ...]) -> None:
        """A row that is not newer than the last one by MIN_STEP_S is left out. A time that goes back begins anew."""
        t = row[0]
        if not math.isfinite(t):
            return
        if t < self._last_t:
            self._next = self._count = 0
        elif t - self._last_t < MIN_STEP_S:
            return
        self._last_t = t
        at = self._next * self._width
        self._data[at : at + self._width] = array("d", row)
        self._next = (self._next + 1) % self._rows
        self._count = min(self._count + 1, self._rows)

    def rows(self, since_t: float = -math.inf, until_t: float = math.inf) -> Iterator[tuple[float, ...]]:
        """Oldest first."""
        first = (self._next - self._count) % self._rows
        oldest = self._last_t - KEPT_S
        for i in range(self._count):
            at = (first + i) % self._rows * self._width
            if max(since_t, oldest) <= self._data[at] <= until_t:
                yield tuple(self._data[at : at + self._width])


class Listener:
    """One client: every event in order, and the newest state only."""

    def __init__(self) -> None:
        self._events: deque[bytes] = deque(maxlen=MAX_UNREAD_EVENTS)
        self._state: bytes | None = None
        self._wake = asyncio.Event()
        self._closed = False

    def event(self, chunk: bytes) -> None:
        self._events.append(chunk)
        self._wake.set()

    def state(self, chunk: bytes) -> None:
        self._state = chunk
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """What to send, at most ten times a second; a comment when there is nothing for long."""
        while not self._closed:
            try:
                async with asyncio.timeout(SILENCE_S):
                    await self._wake.wait()
            except TimeoutError:
                yield b": still here\n\n"
                continue
            self._wake.clear()
            chunk = b"".join(self._events)
            self._events.clear()
            if self._state is not None:
                chunk, self._state = chunk + self._state, None
            if chunk:
                yield chunk
            await asyncio.sleep(PERIOD_S)


def _sse(kind: bytes, line: bytes) -> bytes:
    return b"event: " + kind + b"\ndata: " + line.strip() + b"\n\n"


class Feed:
    """Watches the charger of a run directory for as long as it runs; connects again whenever that ends."""

    def __init__(self, run_dir: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = run_dir / SOCKET_NAME
        self._clock = clock
        self._listeners: set[Listener] = set()
        self._last: bytes | None = None  # newest state, for whoever comes
        self.history = History()
        self.connected = False
        self.seen_t = -math.inf  # when the last message came

    @contextlib.contextmanager
    def listen(self) -> Iterator[Listener]:
        listener = Listener()
        listener.event(self._link())
        if self._last is not None:
            listener.state(self._last)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def close(self) -> None:
        for listener in tuple(self._listeners):
            listener.close()

    def take(self, line: bytes) -> None:
        """One line of the charger's watch."""
        message = msgspec.json.decode(line)
        if not isinstance(message, dict):
            return
        if "event" in message:
            for listener in self._listeners:
                listener.event(_sse(b"happened", msgspec.json.encode(message["event"])))
        elif "snapshot" in message:  # null until guard has reported: the problems beside it are news all the same
            if isinstance(message["snapshot"], dict):
                self.history.add(row_of(message["snapshot"]))
            self._last = _sse(b"state", line)
            for listener in self._listeners:
                listener.state(self._last)

    async def run(self) -> None:
        """Never ends by itself."""
        while True:
            with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
                await self._watch()
            self._tell(False)
            await asyncio.sleep(RETRY_S)

    async def _watch(self) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self._path), limit=MAX_LINE_BYTES)
        try:
            writer.write(b'{"command":"watch"}\n')
            while True:
                async with asyncio.timeout(SILENCE_S):
                    line = await reader.readuntil(b"\n")
                self.seen_t = self._clock()
                self._tell(True)
                self.take(line)
        finally:
            writer.close()

    def _tell(self, connected: bool) -> None:
        if connected is not self.connected:
            self.connected = connected
            for listener in self._listeners:
                listener.event(self._link())

    def _link(self) -> bytes:
        return _sse(b"link", b'{"connected":true}' if self.connected else b'{"connected":false}')


async def ask(run_dir: Path, command: str, **fields: Any) -> dict[str, Any]:
    """One command to the charger, its answer. Raises Refused with the charger's reason, or ControlError."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(str(run_dir / SOCKET_NAME), limit=MAX_LINE_BYTES)
            try:
                writer.write(msgspec.json.encode({"command": command, **fields}) + b"\n")
                line = await reader.readuntil(b"\n")
            finally:
                writer.close()
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoCharger("The charger does not answer: it starts, or it was stopped.") from error
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise ControlError("The charger did not answer; try again in a few seconds.") from error
    answer = msgspec.json.decode(line)
    if not isinstance(answer, dict):
        raise ControlError("The charger's answer is not a JSON object.")
    if answer.get("ok") is False:
        raise Refused(str(answer.get("error", "refused without a reason")))
    return answer
