"""Frames of the pilot and contactor MCU: framing, check sum and payloads. Used by the driver and by the emulated MCU.

A frame is 12 bytes: 0xA5, identifier, 8 payload bytes, CRC-8, 0x03. Payloads are described in `pilot_mcu.dbc`; field
names below are its signal names. docs/drivers/pilot_mcu.md is the prose.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import NamedTuple

from hal.dbc import Codec, load

START, END = 0xA5, 0x03
FRAME_BYTES = 12
BAUD = 115_200
BITS_PER_BYTE = 10  # 8N1: start bit, 8 data bits, stop bit
RESET_MAGIC = 0x52455354  # "REST"; the second half of the frame is its complement
NO_SENSOR_C = 819.1  # raw 0x1FFF: no sensor fitted at this input
TEMPERATURE_C = (-100.0, 300.0)  # what a fitted PT1000 may report


class Id(enum.IntEnum):
    CONTROL = 0x06
    STATE = 0x07
    TEMPERATURES = 0x08
    GRID_SENSE = 0x09
    VERSION = 0x0A
    ERROR = 0x0E
    RESET = 0x10
    INQUIRY = 0xFF


_database = load("hal.uart", "pilot_mcu.dbc")
_CODECS = {Id(message.frame_id): Codec(message) for message in _database.messages}


def _crc_table() -> bytes:
    table = bytearray()
    for value in range(256):
        for _ in range(8):
            value = (value << 1) ^ 0x1D if value & 0x80 else value << 1
        table.append(value & 0xFF)
    return bytes(table)


_TABLE = _crc_table()


def crc8(data: bytes) -> int:
    """CRC-8/SAE-J1850: polynomial 0x1D, start 0xFF, final exclusive-or 0xFF. crc8(b"123456789") == 0x4B."""
    crc = 0xFF
    for byte in data:
        crc = _TABLE[crc ^ byte]
    return crc ^ 0xFF


def frame(ident: int, payload: bytes) -> bytes:
    """The 12 bytes on the line."""
    body = bytes((ident,)) + payload
    return bytes((START,)) + body + bytes((crc8(body), END))


def encode(ident: Id, fields: Mapping[str, float]) -> bytes:
    """A whole frame from physical values. Raises cantools' EncodeError on a missing or out-of-range field."""
    return frame(ident, _CODECS[ident].encode(fields))


def decode(ident: int, payload: bytes) -> dict[str, float] | None:
    """Physical values by signal name; None when the identifier is unknown or a value is out of its range."""
    codec = _CODECS.get(ident)  # type: ignore[call-overload]  # any int may come; an Id is one
    return None if codec is None else codec.decode(payload)


class Counted:
    """A frame that leaves again and again with one change, a counter in the last byte of its payload: all but that and
    the end of the check sum is made once."""

    __slots__ = ("_crc", "_head")

    def __init__(self, ident: Id, fields: Mapping[str, float]) -> None:
        """fields: as for `encode`; the counter's value there does not matter."""
        self._head = encode(ident, fields)[: FRAME_BYTES - 3]
        self._crc = crc8(self._head[1:]) ^ 0xFF

    def frame(self, counter: int) -> bytes:
        """The 12 bytes on the line. counter: 0..255."""
        return self._head + bytes((counter, _TABLE[self._crc ^ counter] ^ 0xFF, END))


class GridSense(NamedTuple):
    v_v: tuple[float, float, float]
    f_hz: float  # nan: not measurable
    sequence: int


def decode_grid_sense(payload: bytes) -> GridSense:
    """The frequent one by bit arithmetic; equal to the DBC for every payload (tests/test_pilot_frames.py)."""
    bits = int.from_bytes(payload, "big")
    raw_f = bits >> 8 & 0x3FFF
    fields = (
        ((bits >> 50) * 0.05, (bits >> 36 & 0x3FFF) * 0.05, (bits >> 22 & 0x3FFF) * 0.05),
        raw_f * 0.005 if raw_f else math.nan,
        bits & 0xFF,
    )
    return tuple.__new__(GridSense, fields)  # half the time that it takes by name


_GRID_SENSE = int(Id.GRID_SENSE)


def encode_grid_sense(v_v: tuple[float, float, float], f_hz: float, sequence: int) -> bytes:
    """A whole frame. Values are rounded to the field's step and limited to its range; a frequency of nan becomes 0."""
    a, b, c = v_v
    bits = (_raw(a, 0.05) << 28 | _raw(b, 0.05) << 14 | _raw(c, 0.05)) << 14 | _raw(f_hz, 0.005)
    return frame(_GRID_SENSE, (bits << 8 | sequence & 0xFF).to_bytes(8, "big"))


def _raw(value: float, step: float) -> int:
    if value != value:
        return 0
    raw = round(value / step)
    return 0 if raw < 0 else 0x3FFF if raw > 0x3FFF else raw


class FrameReader:
    """Finds frames in a stream of bytes, whatever stands around them.

    It looks for start byte, end byte and check sum 12 bytes apart; where one is wrong it goes on one byte later, so a
    false start byte in garbage cannot hide the frame behind it. It never holds more than 11 bytes between two calls.
    `bad` counts every started dozen of bytes that belonged to no frame: one damaged frame counts once.
    """

    def __init__(self) -> None:
        self.bad = 0
        self._buffer = b""
        self._skipped = 0  # bytes since the last whole frame

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The (identifier, payload) of every whole frame, in order."""
        buffer = self._buffer + data
        frames: list[tuple[int, bytes]] = []
        at, end = 0, len(buffer) - FRAME_BYTES
        while True:
            while (  # as a rule one follows the other
                at <= end
                and buffer[at] == START
                and buffer[at + 11] == END
                and buffer[at + 10] == crc8(buffer[at + 1 : at + 10])
            ):
                frames.append((buffer[at + 1], buffer[at + 2 : at + 10]))
                at += FRAME_BYTES
                self._skipped = 0
            start = buffer.find(START, at)
            if start < 0:
                self._skip(len(buffer) - at)
                at = len(buffer)
                break
            if start == at:
                if at > end:
                    break
                self._skip(1)
                at += 1
            else:
                self._skip(start - at)
                at = start
        self._buffer = buffer[at:]
        return frames

    def _skip(self, count: int) -> None:
        if count:
            before = -(-self._skipped // FRAME_BYTES)
            self._skipped += count
            self.bad += -(-self._skipped // FRAME_BYTES) - before
