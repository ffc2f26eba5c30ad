"""Client of the charger's control socket: one JSON object a line, as docs/control-socket.md says.

Synchronous, with a time-out on every answer. Used by the command line and the live view; anything that speaks JSON
over a Unix socket may do the same.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

SOCKET_NAME = "control.sock"
ANSWER_TIMEOUT_S = 5.0  # services answer from memory; the slowest is an event query on a slow flash
MAX_LINE_BYTES = 4_000_000  # far above 1000 events in one answer; more is not our server
UNIX_PATH_MAX = 107  # sockaddr_un.sun_path holds 108 bytes with the final zero (man 7 unix)


class ControlError(Exception):
    """The charger cannot be reached, or answered nonsense. The text is a sentence for people."""


class NoCharger(ControlError):
    """Nobody serves this control socket: the charger does not run, or runs in another directory."""


class Refused(ControlError):
    """The charger understood and refused. The text is its reason."""


def default_run_dir() -> Path:
    """Where a charger keeps its socket and records: $QUADRANT_DIR, else $XDG_STATE_HOME/quadrant, else
    ~/.local/state/quadrant. A durable place, because the energy registers live there."""
    chosen = os.environ.get("QUADRANT_DIR")
    if chosen:
        return Path(chosen)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "quadrant"


class ControlClient:
    """One connection. Not for use by two threads at a time."""

    def __init__(self, run_dir: Path, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Connect to the charger of `run_dir`. Raises NoCharger or ControlError."""
        self._timeout_s = timeout_s
        self._pending = b""
        path = run_dir / SOCKET_NAME
        if len(os.fsencode(path)) > UNIX_PATH_MAX:
            raise ControlError(f"the directory {run_dir} is too long for a Unix socket: at most {UNIX_PATH_MAX} bytes")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            self._socket.close()
            raise NoCharger(
                f"No charger runs in {run_dir}. Start one with `quadrant run`, or name its directory with --dir."
            ) from error
        except OSError as error:
            self._socket.close()
            raise ControlError(f"cannot reach the charger at {path}: {error.strerror or error}") from error

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def call(self, command: str, **fields: Any) -> dict[str, Any]:
        """Send one command and return its answer (with "ok": true). Raises Refused or ControlError."""
        self._send({"command": command, **fields})
        return self._checked(self._line(self._timeout_s))

    def watch(self, silence_s: float | None = None) -> Iterator[dict[str, Any]]:
        """Messages of `watch` until the charger closes the connection; then it just ends.

        silence_s: raise ControlError when nothing comes for so long; None uses the answer time-out.
        """
        self._send({"command": "watch"})
        limit = self._timeout_s if silence_s is None else silence_s
        while True:
            try:
                line = self._line(limit)
            except _Closed:
                return
            yield self._checked(line)

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise _Closed(f"the charger closed the connection: {error.strerror or error}") from error

    def _line(self, limit_s: float) -> bytes:
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._pending:
            if len(self._pending) > MAX_LINE_BYTES:
                raise ControlError("the charger's answer is endless: is this really its control socket?")
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                chunk = self._socket.recv(65536)
            except TimeoutError as error:
                raise ControlError(f"the charger did not answer within {limit_s:g} s") from error
            except OSError as error:
                raise _Closed(f"the charger closed the connection: {error.strerror or error}") from error
            if not chunk:
                raise _Closed("the charger closed the connection")
            self._pending += chunk
        line, self._pending = self._pending.split(b"\n", 1)
        return line

    @staticmethod
    def _checked(line: bytes) -> dict[str, Any]:
        try:
            message = json.loads(line)
        except ValueError as error:
            raise ControlError(f"the charger's answer is not JSON: {line[:80]!r}") from error
        if not isinstance(message, dict):
            raise ControlError(f"the charger's answer is not a JSON object: {line[:80]!r}")
        if message.get("ok") is False:
            raise Refused(str(message.get("error", "refused without a reason")))
        return message


class _Closed(ControlError):
    """The other side went away."""
