"""slcan: CAN frames as lines of text over a serial port (LAWICEL's protocol; most USB adapters speak it).

python-can's own reader is not used: it raises on garbage and then keeps the bytes it failed on, reads one byte per
call, gives a truncated line as 8 announced but 2 real bytes, and waits in tcdrain() after every frame it sends.
"""

from __future__ import annotations

import contextlib
import os
import re
import time

import serial

from hal.can.bus import MAX_FRAMES, CanPort
from hal.ports import CanFrame, HalError

# LAWICEL CANUSB manual, command Sn.
BITRATE_COMMANDS = {
    10_000: b"S0",
    20_000: b"S1",
    50_000: b"S2",
    100_000: b"S3",
    125_000: b"S4",
    250_000: b"S5",
    500_000: b"S6",
    800_000: b"S7",
    1_000_000: b"S8",
}
TTY_BAUD = 115_200  # a USB adapter ignores it
MAX_LINE = 64  # the longest line is 27 bytes; a longer run without an end is garbage
READ_BYTES = 8192
_FRAME = re.compile(rb"(?:T([0-9A-Fa-f]{8})|t([0-9A-Fa-f]{3}))([0-8])((?:[0-9A-Fa-f]{2})*)\Z")
_NO_FRAME = re.compile(rb"(?:[zZ]|[rR][0-9A-Fa-f]{4,9}|[FVNS][0-9A-Fa-f]{0,8})?\Z")  # confirmations, remote, answers


def parse_line(line: bytes, now: float) -> CanFrame | None:
    """The data frame in one line without its end; None when it is not exactly one."""
    match = _FRAME.match(line)
    if match is None:
        return None
    long_id, short_id, dlc, digits = match.groups()
    identifier = int(long_id or short_id, 16)
    if identifier > 0x1FFFFFFF or len(digits) != 2 * int(dlc):
        return None
    return CanFrame(identifier, bytes.fromhex(digits.decode()), now, extended=long_id is not None)


def format_line(frame: CanFrame) -> bytes:
    """The line of a frame, with its end. Raises ValueError for an impossible id or more than 8 bytes."""
    if len(frame.data) > 8 or not 0 <= frame.id <= (0x1FFFFFFF if frame.extended else 0x7FF):
        raise ValueError(f"no classic CAN frame: id {frame.id:#x}, {len(frame.data)} bytes")
    head = f"T{frame.id:08X}" if frame.extended else f"t{frame.id:03X}"
    return f"{head}{len(frame.data)}{frame.data.hex().upper()}\r".encode()


class SlcanPort(CanPort):
    """One adapter. Raises HalError when it cannot be opened. Blocks `settle_s` once, while opening."""

    def __init__(self, device: str, bitrate: int, settle_s: float) -> None:
        self.errors = 0
        self._in = bytearray()
        self._out = b""  # the rest of a line that the system took only in part
        command = BITRATE_COMMANDS.get(bitrate)
        if command is None:
            raise HalError(f"slcan adapter {device} cannot do {bitrate} bit/s, only {sorted(BITRATE_COMMANDS)}.")
        try:
            self._serial = serial.Serial(device, TTY_BAUD, timeout=0)  # pyserial opens it non-blocking
            time.sleep(settle_s)
            self._serial.reset_input_buffer()
            # The empty line ends whatever a program before us left half-written in the adapter.
            self._fd = self._serial.fileno()
            os.write(self._fd, b"\rC\r" + command + b"\rO\r")
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise HalError(
                f"slcan adapter {device} cannot be opened ({error}); check the cable and the name."
            ) from error

    def recv(self, now: float) -> list[CanFrame]:
        self._flush()
        if len(self._in) < READ_BYTES:
            try:
                self._in += os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                pass
            except OSError:  # unplugged, or closed
                self.errors += 1
        frames: list[CanFrame] = []
        start = 0
        while len(frames) < MAX_FRAMES:
            end = self._in.find(b"\r", start)
            if end < 0:
                if len(self._in) - start > MAX_LINE:
                    self.errors += 1
                    start = len(self._in)
                break
            # BEL is the adapter's "refused"; it has no line end of its own and stands before the next line.
            answer = bytes(self._in[start:end])
            line = answer.lstrip(b"\a")
            self.errors += len(answer) - len(line)
            frame = parse_line(line, now)
            if frame is not None:
                frames.append(frame)
            elif not _NO_FRAME.match(line):
                self.errors += 1
            start = end + 1
        del self._in[:start]
        return frames

    def send(self, frame: CanFrame) -> bool:
        try:
            line = format_line(frame)
        except ValueError:
            self.errors += 1
            return False
        if not self._flush():
            return False
        try:
            taken = os.write(self._fd, line)
        except BlockingIOError:
            return False
        except OSError:
            self.errors += 1
            return False
        self._out = line[taken:]
        return taken > 0

    def _flush(self) -> bool:
        """Write what is left over. True when nothing is."""
        if self._out:
            try:
                self._out = self._out[os.write(self._fd, self._out) :]
            except BlockingIOError:
                pass
            except OSError:
                self.errors += 1
                self._out = b""
                return False
        return not self._out

    def fileno(self) -> int | None:
        return self._fd if self._serial.is_open else None

    def close(self) -> None:
        if self._serial.is_open:
            with contextlib.suppress(OSError):  # it may be gone already
                os.write(self._fd, b"C\r")
            self._serial.close()
            self._fd = -1
