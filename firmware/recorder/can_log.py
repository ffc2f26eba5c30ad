"""The CAN log: every frame of guard's bus, both ways, in a file that the usual tools read.

`.log` is candump text, one line a frame with R or T for received or sent, as `candump -L -x` writes it:
`(1700000000.123456) can0 02A43FF0#1101000000000000 T`. `.blf` is Vector's binary log. Both are written by python-can.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from can import BLFWriter, CanutilsLogWriter, Message

from firmware.recorder.schema import RecorderError

SUFFIXES = (".log", ".blf")
STANDARD_ID_MAX = 0x7FF


class CanLogWriter:
    """Writes batches of `firmware.guard.messages.CanLog.frames`. Not for the real-time process: it touches the disk."""

    def __init__(self, path: Path | str, wall_offset_s: float) -> None:
        """Open a new log; an existing file is refused, never overwritten.

        wall_offset_s: wall time minus monotonic time (s), taken once: a log has one time scale from end to end, even
        when the wall clock is set meanwhile. Raises RecorderError.
        """
        self.path = Path(path)
        self.frames = 0  # written so far
        self._offset_s = wall_offset_s
        self._channels: dict[str, int] = {}
        suffix = self.path.suffix.lower()
        if suffix not in SUFFIXES:
            raise RecorderError(f"CAN log {path}: the name must end in {' or '.join(SUFFIXES)}, not in {suffix!r}")
        try:
            self.path.touch(exist_ok=False)
            self._blf = suffix == ".blf"
            self._writer: BLFWriter | CanutilsLogWriter = (
                BLFWriter(str(self.path)) if self._blf else CanutilsLogWriter(str(self.path))
            )
        except FileExistsError:
            raise RecorderError(f"CAN log {path}: the file exists already; give a new name") from None
        except OSError as error:
            raise RecorderError(f"CAN log {path} cannot be written: {error.strerror or error}") from None

    def write(self, frames: Iterable[tuple[float, str, int, bytes, bool]]) -> None:
        """Write frames (t, channel, id, data, sent); t is monotonic seconds. Raises RecorderError when the disk
        refuses: the log is useless from then on and is closed.

        An identifier above 0x7FF is an extended one. (The message carries no such flag, and none of this charger's
        buses has an extended identifier below that.)
        """
        try:
            for t, channel, identifier, data, sent in frames:
                self._writer.on_message_received(
                    Message(
                        timestamp=t + self._offset_s,
                        arbitration_id=identifier,
                        is_extended_id=identifier > STANDARD_ID_MAX,
                        data=data,
                        is_rx=not sent,
                        channel=self._channel(channel),
                    )
                )
                self.frames += 1
            if not self._blf:
                self._writer.file.flush()  # whole lines reach the kernel: a killed process loses none
        except (OSError, ValueError) as error:
            with contextlib.suppress(RecorderError):
                self.close()
            raise RecorderError(f"CAN log {self.path} stops after {self.frames} frames: {error}") from None

    def _channel(self, name: str) -> str | int:
        """Text has names without blanks; BLF has numbers, in the order in which the names appear."""
        if self._blf:
            return self._channels.setdefault(name, len(self._channels))
        return "_".join(name.split()) or "can"

    def close(self) -> None:
        """Finish the file. A BLF that was not closed lacks its last block (up to 128 kB of frames)."""
        try:
            self._writer.stop()
        except (OSError, ValueError) as error:
            raise RecorderError(f"CAN log {self.path} cannot be finished: {error}") from None
