"""The control socket: JSON lines over a Unix socket, one request, one answer. docs/control-socket.md is its manual.

The protocol is here; what the commands do is the `Charger`'s business. A client can neither block the others nor
make the process grow: lines, clients and unread output are bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

PROTOCOL = 1
MAX_LINE_BYTES = 16 * 1024  # of a request; the longest meaningful one is below 1 kB
MAX_CLIENTS = 16
MAX_UNREAD_EVENTS = 1000  # of a watcher that does not read; then it is disconnected
WRITE_TIMEOUT_S = 10.0  # a client that does not read its answer for so long is disconnected
UNIX_PATH_MAX = 107  # sockaddr_un.sun_path holds 108 bytes with the final zero (man 7 unix)
MAX_EVENTS = 10_000
MAX_WHO_CHARS = 80  # of a note: a role and an address
MAX_NOTE_CHARS = 1000  # of a note: the numbers of one curve before and after


class Refused(Exception):
    """A command that cannot be obeyed. The text is the sentence that the client gets."""


class CannotServe(Exception):
    """The socket cannot be opened. One sentence."""


class _Command(msgspec.Struct, tag_field="command", forbid_unknown_fields=True, kw_only=True):
    """Every command may carry an `id` that comes back in the answer."""

    id: int | str | None = None


class Hello(_Command, tag="hello"):
    pass


class Version(_Command, tag="version"):
    pass


class Status(_Command, tag="status"):
    pass


class Watch(_Command, tag="watch"):
    pass


class Power(_Command, tag="power"):
    power_w: float
    for_s: float
    reason: str = ""
    source: str = "operator"


class Stop(_Command, tag="stop"):
    pass


class Start(_Command, tag="start"):
    pass


class Clear(_Command, tag="clear"):
    pass


class Events(_Command, tag="events"):
    since: float = 0.0
    limit: int = 100


class CanLogTo(_Command, tag="can_log"):
    path: str | None = None
    off: bool = False


class TakeRecord(_Command, tag="record"):
    pass


class ControlsList(_Command, tag="controls"):
    pass


class ControlsSet(_Command, tag="controls_set"):
    controls: list[dict[str, Any]]
    source: str = "operator"
    replace: list[str] = []
    confirm_s: float | None = None


class ControlsClear(_Command, tag="controls_clear"):
    control: str
    source: str = "operator"


class ControlsConfirm(_Command, tag="controls_confirm"):
    pass


class ControlsRevert(_Command, tag="controls_revert"):
    pass


class OcppReport(_Command, tag="ocpp"):
    priority: bool | None = None


class Pause(_Command, tag="pause"):
    pass


class Note(_Command, tag="note"):
    who: str
    text: str


class Shutdown(_Command, tag="shutdown"):
    pass


Command = (
    Hello | Version | Status | Watch | Power | Stop | Start | Clear | Events | CanLogTo | TakeRecord
    | ControlsList | ControlsSet | ControlsClear | ControlsConfirm | ControlsRevert | OcppReport | Pause | Note
    | Shutdown
)  # fmt: skip
COMMANDS = (
    "hello", "version", "status", "watch", "power", "stop", "start", "clear", "events", "can_log", "record", "controls",
    "controls_set", "controls_clear", "controls_confirm", "controls_revert", "ocpp", "pause", "note",
    "shutdown",
)  # fmt: skip


class GridCommands(Protocol):
    """What the socket commands about the controls of the grid functions. Answers and refuses as Charger does."""

    def show(self) -> dict[str, Any]: ...

    def set(
        self, controls: list[dict[str, Any]], source: str, replace: list[str], confirm_s: float | None
    ) -> dict[str, Any]: ...

    def clear(self, control: str, source: str) -> dict[str, Any]: ...

    def confirm(self) -> dict[str, Any]: ...

    def revert(self) -> dict[str, Any]: ...


class Charger(Protocol):
    """What the socket commands. Each method returns the fields of its answer or raises Refused."""

    @property
    def grid(self) -> GridCommands: ...

    def hello(self) -> dict[str, Any]: ...

    def status(self) -> dict[str, Any]: ...

    def power(self, power_w: float, for_s: float, reason: str, source: str) -> dict[str, Any]: ...

    def operator(self, action: str) -> dict[str, Any]: ...

    def events(self, since: float, limit: int) -> dict[str, Any]: ...

    def can_log(self, path: str | None) -> dict[str, Any]: ...

    def record(self) -> dict[str, Any]: ...

    def ocpp(self, priority: bool | None) -> dict[str, Any]: ...

    def pause(self) -> dict[str, Any]: ...

    def note(self, who: str, text: str) -> dict[str, Any]: ...

    def shutdown(self) -> dict[str, Any]: ...


class Watcher:
    """One client of `watch`: every event in order, and the newest snapshot only."""

    def __init__(self) -> None:
        self._events: deque[dict[str, Any]] = deque()
        self._snapshot: dict[str, Any] | None = None
        self._wake = asyncio.Event()
        self.lost = False

    def event(self, event: dict[str, Any]) -> None:
        if len(self._events) >= MAX_UNREAD_EVENTS:
            self.lost = True
        else:
            self._events.append({"event": event})
        self._wake.set()

    def snapshot(self, message: dict[str, Any]) -> None:
        self._snapshot = message
        self._wake.set()

    def close(self) -> None:
        self.lost = True
        self._wake.set()

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._events:
                yield self._events.popleft()
            if self.lost:
                return
            if self._snapshot is not None:
                message, self._snapshot = self._snapshot, None
                yield message


class ControlServer:
    """Serves RUNDIR/control.sock for this user only (mode 0600)."""

    def __init__(self, path: Path, charger: Charger) -> None:
        self._path = path
        self._charger = charger
        self._server: asyncio.AbstractServer | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._watchers: set[Watcher] = set()
        self._decoder = msgspec.json.Decoder(Command)
        self._encoder = msgspec.json.Encoder()  # writes nan and inf as null: strict JSON for every client

    async def start(self) -> None:
        """Open the socket. Raises CannotServe with a sentence when the path cannot be used."""
        if len(os.fsencode(self._path)) > UNIX_PATH_MAX:
            raise CannotServe(f"the path {self._path} is too long for a Unix socket: at most {UNIX_PATH_MAX} bytes")
        try:
            end = self._bind()
        except OSError as error:
            raise CannotServe(f"the control socket {self._path} cannot be opened: {error.strerror}") from None
        self._server = await asyncio.start_unix_server(self._client, sock=end, limit=MAX_LINE_BYTES)

    def _bind(self) -> socket.socket:
        # A socket left by a killed process; the supervisor's lock says that nobody else serves this directory.
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        mask = os.umask(0o177)  # the socket is born 0600: there is no moment in which others could connect
        try:
            end.bind(str(self._path))
        except OSError:
            end.close()
            raise
        finally:
            os.umask(mask)
        return end

    async def close(self) -> None:
        """Stop serving; clients that are being answered get their answer first."""
        if self._server is not None:
            self._server.close()
        for watcher in self._watchers:
            watcher.close()
        for writer in self._clients.values():
            writer.close()  # sends what is written already; the client's task then sees the end
        if self._clients:
            await asyncio.wait(list(self._clients), timeout=0.5)
        for writer in self._clients.values():
            writer.transport.abort()  # a client that does not read gets no more time
        if self._clients:
            await asyncio.wait(list(self._clients), timeout=0.5)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    @property
    def clients(self) -> int:
        """Connections that are served now, watchers among them."""
        return len(self._clients)

    def publish_event(self, event: dict[str, Any]) -> None:
        for watcher in self._watchers:
            watcher.event(event)

    def publish_snapshot(self, make: Callable[[], dict[str, Any]]) -> None:
        """`make` is only called when somebody watches."""
        if self._watchers:
            message = make()
            for watcher in self._watchers:
                watcher.snapshot(message)

    # ----------------------------------------------------------------------------------------------- one connection
    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients[task] = writer
        try:
            if len(self._clients) > MAX_CLIENTS:
                await self._write(writer, _error(f"too many clients: at most {MAX_CLIENTS}; try again later."))
            else:
                await self._serve(reader, writer)
        except (ConnectionError, BrokenPipeError, TimeoutError):
            pass  # the client went away; nothing is owed to it
        finally:
            self._clients.pop(task, None)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                line = error.partial  # a client may close its sending side instead of ending the last line
                if not line.strip():
                    return
            except asyncio.LimitOverrunError:
                await self._write(writer, _error(f"the line is too long: at most {MAX_LINE_BYTES} bytes."))
                return
            if not line.strip():
                continue
            command, answer = self._obey(line)
            await self._write(writer, answer)
            if isinstance(command, Watch):
                await self._watch(reader, writer)
                return

    def _obey(self, line: bytes) -> tuple[Command | None, dict[str, Any]]:
        command: Command | None = None
        try:
            command = self._decode(line)
            answer = {"ok": True, **self._answer(command)}
        except Refused as refusal:
            answer = _error(str(refusal))
        if command is not None and command.id is not None:
            answer["id"] = command.id
        return command, answer

    def _decode(self, line: bytes) -> Command:
        try:
            command: Command = self._decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Refused(_sentence(line, error)) from None
        return command

    def _answer(self, command: Command) -> dict[str, Any]:
        charger = self._charger
        match command:
            case Hello() | Version():
                return {"protocol": PROTOCOL, **charger.hello()}
            case Status() | Watch():
                return charger.status()
            case Power(power_w=power_w, for_s=for_s, reason=reason, source=source):
                return charger.power(power_w, for_s, reason, source)
            case Stop():
                return charger.operator("stop")
            case Start():
                return charger.operator("start")
            case Clear():
                return charger.operator("clear")
            case Events(since=since, limit=limit):
                if not 1 <= limit <= MAX_EVENTS:
                    raise Refused(f"limit = {limit} is out of range: 1 to {MAX_EVENTS}.")
                return charger.events(since, limit)
            case CanLogTo(path=path, off=off):
                if (path is None) != off:
                    raise Refused("can_log takes either `path` (an absolute path) or `off`: true.")
                return charger.can_log(path)
            case TakeRecord():
                return charger.record()
            case ControlsList():
                return charger.grid.show()
            case ControlsSet(controls=controls, source=source, replace=replace, confirm_s=confirm_s):
                return charger.grid.set(controls, source, replace, confirm_s)
            case ControlsClear(control=control, source=source):
                return charger.grid.clear(control, source)
            case ControlsConfirm():
                return charger.grid.confirm()
            case ControlsRevert():
                return charger.grid.revert()
            case OcppReport(priority=priority):
                return charger.ocpp(priority)
            case Pause():
                return charger.pause()
            case Note(who=who, text=text):
                for name, value, most in (("who", who, MAX_WHO_CHARS), ("text", text, MAX_NOTE_CHARS)):
                    if not (1 <= len(value) <= most and value.isprintable()):
                        raise Refused(f"{name} must be 1 to {most} printable characters.")
                return charger.note(who, text)
            case Shutdown():
                return charger.shutdown()

    async def _watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        watcher = Watcher()
        self._watchers.add(watcher)
        # A watcher has nothing more to say: whatever it sends is dropped, and its end ends the watch.
        gone = asyncio.create_task(_drain(reader))
        gone.add_done_callback(lambda _: watcher.close())
        try:
            async for message in watcher.messages():
                await self._write(writer, message)
        finally:
            self._watchers.discard(watcher)
            gone.cancel()

    async def _write(self, writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
        writer.write(self._encoder.encode(message) + b"\n")
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await writer.drain()


async def _drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(4096):
        pass


def _error(sentence: str) -> dict[str, Any]:
    return {"ok": False, "error": sentence}


def _sentence(line: bytes, error: Exception) -> str:
    """What was wrong with the line, for people."""
    try:
        raw = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as why:
        return f'the line is not JSON ({why}); send one object a line, such as {{"command": "status"}}.'
    if not isinstance(raw, dict):
        return 'a command is a JSON object, such as {"command": "status"}.'
    name = raw.get("command")
    if name not in COMMANDS:
        given = "`command` is missing" if name is None else f"unknown command {str(name)[:40]!r}"
        return f"{given}; commands: {', '.join(COMMANDS)}."
    text = str(error).replace("Object missing", "missing").replace("Object contains", "contains")
    return f"{name}: {text}."
