"""The CAN log on request: candump text (`.log`) for people and replay, `.blf` for archives.

A thread writes, so that a slow disk delays neither the leases nor the car. What the disk does not take in time is
dropped and counted, and a log ends by itself at its size limit.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import can

SUFFIXES = (".log", ".blf")
BATCHES_MAX = 4_000  # that wait for the disk: half a minute of 100 ticks a second and the vehicle bus
FRAMES_MAX = 20_000_000  # about 1 GB of candump text


class LoggedFrame(NamedTuple):
    """wall_s: seconds since the epoch. bus: 0 = converter, 1 = vehicle; written as can0 and can1."""

    wall_s: float
    bus: int
    id: int
    data: bytes
    extended: bool
    sent: bool


class CanLogError(Exception):
    """The log cannot be written there. One sentence."""


class CanLogWriter:
    """Writes one file until closed. `dropped`: frames that were lost; `problem`: why writing ended, when it did."""

    def __init__(self, path: Path) -> None:
        """Raises CanLogError; an existing file is never overwritten."""
        if not path.is_absolute():
            raise CanLogError(f"the CAN log needs an absolute path, not {str(path)!r}.")
        if path.suffix not in SUFFIXES:
            raise CanLogError(f"the CAN log {path} must end in .log (candump text) or .blf.")
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise CanLogError(f"{path} exists already; a CAN log never overwrites a file.") from None
        except OSError as error:
            raise CanLogError(f"the CAN log {path} cannot be written: {error.strerror}.") from None
        self.path = path
        self.written = 0
        self.dropped = 0
        self.problem = ""
        self._queue: queue.Queue[Sequence[LoggedFrame]] = queue.Queue(BATCHES_MAX)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="can-log", daemon=True)
        self._thread.start()

    def write(self, frames: Sequence[LoggedFrame]) -> None:
        """Hand frames over; never waits."""
        try:
            if not self.problem:
                self._queue.put_nowait(frames)
                return
        except queue.Full:
            pass
        self.dropped += len(frames)

    def close(self) -> None:
        """Write what waits and close the file."""
        self._ending.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        try:
            # python-can's own buffers are used; each batch of frames ends in the file as it comes.
            writer: Any = can.BLFWriter(str(self.path)) if self.path.suffix == ".blf" else _text_writer(self.path)
            try:
                while True:
                    try:
                        frames = self._queue.get(timeout=0.1)
                    except queue.Empty:
                        if self._ending.is_set():
                            return
                        continue
                    for frame in frames:
                        writer.on_message_received(_message(frame))
                    self.written += len(frames)
                    if self.written > FRAMES_MAX:
                        self.problem = f"the CAN log {self.path} reached its limit of {FRAMES_MAX} frames and ended."
                        return
            finally:
                writer.stop()
        except OSError as error:
            self.problem = f"the CAN log {self.path} ended: {error.strerror or error}."


def _text_writer(path: Path) -> Any:
    # Line-buffered: a log that is being looked at, or that a power cut ends, is whole up to its last line.
    return can.CanutilsLogWriter(path.open("w", buffering=1))


def _message(frame: LoggedFrame) -> can.Message:
    return can.Message(
        timestamp=frame.wall_s,
        arbitration_id=frame.id,
        is_extended_id=frame.extended,
        data=frame.data,
        channel=f"can{frame.bus}",
        is_rx=not frame.sent,
    )
