"""A Modbus RTU device on a serial line: framing without I/O, and a thin wrapper for a pseudo-terminal.

The slave behaves as one on a real line does (Modbus over serial line V1.02, 2.5.1): a frame ends with a silence of 3.5
characters, a frame for another address or with a wrong CRC is not answered at all, an answer starts after a turnaround
time and its bytes arrive at the speed of the line. Line faults are plain attributes.

pymodbus's own server is not used: it wants its own event loop and port, has no notion of the line's speed, and testing
our pymodbus client against pymodbus would prove its framing against itself.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import random
import termios
import tty
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hil.devices import commands, process

READ_HOLDING, READ_INPUT, WRITE_SINGLE, WRITE_MULTIPLE = 3, 4, 6, 16
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
MAX_READ = 125  # Modbus application protocol V1.1b3, 6.3
MAX_WRITE = 123  # 6.12
MAX_FRAME = 256  # Modbus over serial line V1.02, 2.5.1


LINE_RULES: Mapping[str, commands.Rule] = {
    "mute": commands.FLAG,
    "noise": commands.FLAG,
    "turnaround_s": commands.number(0.0, 60.0, "s"),
    "wrong_crc": commands.whole(0, 1_000_000),
    "wrong_address": commands.whole(0, 1_000_000),
    "cut": commands.whole(0, 1_000_000),
    "baud": commands.whole(1200, 921_600),
}


class Refused(Exception):
    """The device answers with this exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


class Registers(Protocol):
    """What a register model offers. Both raise Refused."""

    def read_registers(self, function: int, start: int, count: int) -> list[int]:
        """`count` registers from `start`; function is READ_HOLDING or READ_INPUT."""

    def write_registers(self, start: int, values: Sequence[int]) -> None:
        """Take `values` from `start` on, all or none."""


class Device(Registers, Protocol):
    """A register model that lives in plant time. rules: the attributes that the rig may set, as faults."""

    name: str
    rules: Mapping[str, commands.Rule]

    @property
    def answering(self) -> bool:
        """False while the device cannot answer at all (no supply, booting)."""

    def step(self, now: float) -> None: ...

    def close(self) -> None: ...


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS (polynomial 0xA001 reflected, start 0xFFFF); sent low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def framed(body: bytes) -> bytes:
    return body + crc16(body).to_bytes(2, "little")


class RtuSlave:
    """Feed it bytes with `receive`, fetch what the line carries back with `step`. Times are monotonic seconds.

    Faults: `mute` (never answers), `turnaround_s` (slow answers), `wrong_crc` (number of answers to come with a broken
    checksum), `wrong_address` (number of answers that come from another slave), `cut` (number of answers that stop
    half-way), `noise` (garbage before every answer).
    """

    def __init__(
        self, registers: Registers, address: int, baud: int, rng: random.Random, *, turnaround_s: float = 0.02
    ) -> None:
        self.registers = registers
        self.address = address
        self.baud = baud
        self.turnaround_s = turnaround_s
        self.mute = False
        self.wrong_crc = 0
        self.wrong_address = 0
        self.cut = 0
        self.noise = False
        self.frames = 0  # whole frames with our address and a right CRC
        self._rng = rng
        self._in = bytearray()
        self._last_in = 0.0
        self._out = b""
        self._out_t = 0.0  # when the first byte of _out starts

    @property
    def char_s(self) -> float:
        """Wire time of a character: 11 bits (start, 8 data, parity or second stop, stop)."""
        return 11.0 / self.baud

    @property
    def silence_s(self) -> float:
        """End of a frame: 3.5 characters, but 1.75 ms above 19200 baud."""
        return 1.75e-3 if self.baud > 19200 else 3.5 * self.char_s

    def receive(self, now: float, data: bytes) -> None:
        """Bytes from the line. A pseudo-terminal delivers them at once, so their wire time is added here.

        A device that still works on an answer does not listen: it sends that answer late, whatever was asked since.
        """
        if not data:
            return
        self._last_in = max(self._last_in, now) + len(data) * self.char_s
        if self._out:
            if now >= self._out_t:
                self._out = b""  # both talk at once: neither is understood
            return
        self._in += data
        if len(self._in) > MAX_FRAME:
            # No frame is that long: keep the tail, so that a silence ends it as a bad one.
            del self._in[:-MAX_FRAME]

    def step(self, now: float) -> bytes:
        """The bytes that have left the device up to now."""
        if self._in and now >= self._last_in + self.silence_s:
            frame = bytes(self._in)
            self._in.clear()
            answer = self._answer(frame)
            if answer:
                self._out = answer
                self._out_t = max(now, self._last_in + self.turnaround_s)
        if not self._out:
            return b""
        due = int((now - self._out_t) / self.char_s)
        if due <= 0:
            return b""
        gone, self._out = self._out[:due], self._out[due:]
        self._out_t += len(gone) * self.char_s
        return gone

    def _answer(self, frame: bytes) -> bytes:
        if len(frame) < 4 or crc16(frame[:-2]) != int.from_bytes(frame[-2:], "little"):
            return b""
        if frame[0] not in (self.address, 0):
            return b""
        self.frames += 1
        body = self._execute(frame[1:-2])
        if self.mute or frame[0] == 0:  # a broadcast is obeyed and never answered
            return b""
        source = self.address
        if self.wrong_address > 0:
            self.wrong_address -= 1
            source = self.address % 247 + 1
        answer = framed(bytes([source]) + body)
        if self.wrong_crc > 0:
            self.wrong_crc -= 1
            answer = answer[:-1] + bytes([answer[-1] ^ 0x5A])
        if self.cut > 0:
            self.cut -= 1
            answer = answer[: len(answer) // 2]
        if self.noise:
            answer = self._rng.randbytes(3) + answer
        return answer

    def _execute(self, pdu: bytes) -> bytes:
        function = pdu[0]
        try:
            if function in (READ_HOLDING, READ_INPUT) and len(pdu) == 5:
                start, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
                if not 1 <= count <= MAX_READ:
                    raise Refused(ILLEGAL_VALUE)
                values = self.registers.read_registers(function, start, count)
                return bytes([function, 2 * count]) + b"".join(v.to_bytes(2, "big") for v in values)
            if function == WRITE_SINGLE and len(pdu) == 5:
                self.registers.write_registers(int.from_bytes(pdu[1:3], "big"), [int.from_bytes(pdu[3:5], "big")])
                return pdu
            if function == WRITE_MULTIPLE and len(pdu) >= 6:
                start, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
                if not 1 <= count <= MAX_WRITE or pdu[5] != 2 * count or len(pdu) != 6 + 2 * count:
                    raise Refused(ILLEGAL_VALUE)
                words = [int.from_bytes(pdu[i : i + 2], "big") for i in range(6, len(pdu), 2)]
                self.registers.write_registers(start, words)
                return pdu[:5]
            raise Refused(ILLEGAL_FUNCTION)
        except Refused as refusal:
            return bytes([function | 0x80, refusal.code])


class ModbusDevice:
    """A register model on a pseudo-terminal: what `hil.devices.process.run` drives.

    fd: the device's end of the line (the master side of a pseudo-terminal, or an opened port). On a master side the
    baud rate that the host has set can be seen and is compared with the device's: on a wrong one both hear garbage, as
    on a real line. link_path: symbolic link to the host's end, removed by `close`.
    """

    def __init__(
        self,
        device: Device,
        address: int,
        baud: int,
        fd: int,
        rng: random.Random,
        *,
        turnaround_s: float = 0.02,
        link_path: str | None = None,
        shared: process.SharedLink | None = None,
        host_fd: int | None = None,
    ) -> None:
        self.device = device
        self.slave = RtuSlave(device, address, baud, rng, turnaround_s=turnaround_s)
        self._fd = fd
        self._rng = rng
        self._link_path = link_path
        self._shared = shared
        self._host_fd = host_fd
        self._sees_host = _is_master(fd)
        os.set_blocking(fd, False)

    def step(self, now: float) -> None:
        self.device.step(now)
        while True:
            try:
                data = os.read(self._fd, 4096)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.EIO:  # EIO: nobody has the host's end open
                    raise
                break
            if not data:
                break
            self.slave.receive(now, data if self._same_baud() else self._rng.randbytes(len(data)))
        out = self.slave.step(now)
        if out and self.device.answering:
            # Bytes sent while the host has no buffer left are lost, as on a line that nobody reads.
            with contextlib.suppress(BlockingIOError):
                os.write(self._fd, out if self._same_baud() else self._rng.randbytes(len(out)))

    def handle(self, command: dict[str, Any]) -> None:
        """Faults of LINE_RULES and of the device's `rules`; all is checked before any takes effect."""
        values = commands.checked(self.device.name, {**LINE_RULES, **self.device.rules}, command)
        for name, value in values.items():
            setattr(self.slave if name in LINE_RULES else self.device, name, value)

    def close(self) -> None:
        if self._link_path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._link_path)
        for fd in (self._fd, self._host_fd):
            if fd is not None:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self.device.close()
        if self._shared is not None:
            self._shared.close()

    def _same_baud(self) -> bool:
        if not self._sees_host:
            return True
        speed = termios.tcgetattr(self._fd)[4]
        return bool(speed == getattr(termios, f"B{self.slave.baud}", speed))


def _is_master(fd: int) -> bool:
    """True for the master side of a pseudo-terminal: it is an open /dev/ptmx, device 5:2 (Linux, devices.txt)."""
    return os.fstat(fd).st_rdev == os.makedev(5, 2)


def open_line(path: str) -> tuple[int, int | None, str | None]:
    """The device's end of a line that the host reaches under `path`: (fd, host's fd kept open, link to remove).

    An existing terminal is opened as it is (its other end belongs to the host). Otherwise a pseudo-terminal is made
    and `path` becomes a link to the host's end.
    """
    if os.path.exists(path):
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(fd)
        return fd, None, None
    fd, host_fd = os.openpty()
    tty.setraw(fd)
    # The host's end stays open here, so that the line survives a host that closes and opens it again.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    os.symlink(os.ttyname(host_fd), path)
    return fd, host_fd, path


def arguments(description: str, baud: int, address: int) -> argparse.ArgumentParser:
    """The arguments that every Modbus device process takes."""
    parser = process.arguments(description)
    parser.add_argument("--port", required=True, help="the line: a terminal, or the name of the link to make")
    parser.add_argument("--baud", type=int, default=baud, help="the device's own setting")
    parser.add_argument("--address", type=int, default=address)
    parser.add_argument("--turnaround", type=float, default=0.02, help="seconds from request to answer")
    return parser


def serve(device: Device, shared: process.SharedLink, options: argparse.Namespace, rng: random.Random) -> int:
    """Run the register model as a process until the rig ends."""
    fd, host_fd, link_path = open_line(options.port)
    wrapped = ModbusDevice(
        device,
        options.address,
        options.baud,
        fd,
        rng,
        turnaround_s=options.turnaround,
        link_path=link_path,
        shared=shared,
        host_fd=host_fd,
    )
    return process.run(wrapped, 0.002)
