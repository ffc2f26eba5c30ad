"""A serial port that never blocks: pyserial opens and configures it, reads and writes go straight to the descriptor."""

from __future__ import annotations

import errno
import os

import serial

from hal.ports import HalError

MAX_READ = 4096  # bytes a call: 0.35 s of a full line at 115200 baud, so one call can never take long
PARITIES = ("N", "E", "O")
MAX_BAUD = 4_000_000  # what the fastest USB bridges take

_REMEDIES = {
    errno.ENOENT: "there is no such device; check the cable, the adapter and the board's `port`",
    errno.EACCES: "permission denied; add the user to the group that owns it (often `dialout`)",
    errno.EBUSY: "another program holds it; end that program",
    errno.EAGAIN: "another program holds it; end that program",
    errno.ENOTTY: "it is not a serial device; check the board's `port`",
    errno.ENODEV: "the device is gone; check the cable and the adapter",
    errno.ENXIO: "the device is gone; check the cable and the adapter",
    errno.EIO: "the device is gone; check the cable and the adapter",
}


class SerialPort:
    """An open serial line, owned by one process. `errors` counts reads and writes that the system refused."""

    def __init__(self, device: serial.Serial) -> None:
        self._device = device
        self.errors = 0

    def fileno(self) -> int:
        return int(self._device.fileno())

    def recv(self) -> bytes:
        """What has arrived, at most MAX_READ bytes; b"" when nothing has. `errors` rises when it is gone."""
        try:
            return os.read(self._device.fileno(), MAX_READ)
        except BlockingIOError:
            return b""
        except (OSError, serial.SerialException):
            self.errors += 1
            return b""

    def send(self, data: bytes) -> bool:
        """Hand `data` to the system. False when it was not taken whole; then the peer sees a torn frame or none.

        The rest of a torn frame is not sent later: the next frame carries newer commands, and its receiver drops the
        torn one by its check sum.
        """
        try:
            return os.write(self._device.fileno(), data) == len(data)
        except BlockingIOError:
            return False
        except (OSError, serial.SerialException):
            self.errors += 1
            return False

    def close(self) -> None:
        self._device.close()


def open_serial(port: str, baud: int, parity: str = "N") -> SerialPort:
    """Open `port` with 8 data bits, `parity` ("N", "E", "O") and one stop bit; nobody else may open it meanwhile.

    Raises HalError with one sentence (which port, why, what to do) for a missing, busy or forbidden port and for
    settings out of range.
    """
    if parity not in PARITIES:
        raise HalError(f"serial port {port}: parity is {parity!r}, must be one of N, E, O")
    if not 50 <= baud <= MAX_BAUD:
        raise HalError(f"serial port {port}: baud rate is {baud}, must be 50 to {MAX_BAUD}")
    try:
        device = serial.Serial(port, baud, parity=parity, timeout=0, write_timeout=0, exclusive=True)
    except (serial.SerialException, OSError, ValueError) as error:
        raise HalError(f"serial port {port} could not be opened: {_remedy(port, error)}") from error
    os.set_blocking(device.fileno(), False)  # pyserial opens it so; made sure of because a tick depends on it
    return SerialPort(device)


def _remedy(port: str, error: Exception) -> str:
    if not os.path.exists(port):  # pyserial does not keep the number of every error
        return _REMEDIES[errno.ENOENT]
    number = getattr(error, "errno", None)
    cause = error.__context__
    if number is None and cause is not None and cause.args:
        number = cause.args[0]  # OSError and termios.error both put it first
    return _REMEDIES[number] if number in _REMEDIES else str(error)
