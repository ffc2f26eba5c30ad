"""Frames of the InfyPower BEG/BEC protocol V1.04: identifier and payload.

All selectors, scales and ranges come from `infy_beg_v104.dbc`, loaded once through cantools. Since every value of this
protocol sits in the last four payload bytes, the data base is reduced at start to one shift, mask and scale a
selector, and a frame costs one `struct` call; `tests/test_infy_codec.py` proves that cantools says the same.

The same selector means different things in a read and in a write (0x1131 is the lowest voltage in one and the
over-voltage point in the other), so there are two tables, and no function that takes a selector without saying which.
"""

from __future__ import annotations

import functools
import struct
from importlib import resources
from typing import Any, Final, NamedTuple

import cantools.database

DBC_FILE = "infy_beg_v104.dbc"
ERROR_MASK: Final = 7 << 26  # the error field of the identifier
NO_ERROR_MASK: Final = (1 << 26) - 1  # all others
ID_MASK = 0x003F0000  # the command field; the rest of the identifier is addresses

READ: Final = 0x23
WRITE: Final = 0x24
BROADCAST: Final = 0x3F
DEVICE_MODULE: Final = 0x0A
DEVICE_GROUP: Final = 0x0B
ERROR_COMMAND: Final = 2  # error field of the identifier: command invalid
ERROR_DATA: Final = 3  # data invalid
ERROR_STARTING: Final = 7  # start in progress

ON: Final = 0xA0
OFF: Final = 0xA1
MODE_RECTIFIER: Final = 0xA0
MODE_INVERTER: Final = 0xA1  # grid-tied; 0xA2 would form a grid of its own

_PAYLOAD = struct.Struct(">HHI")


class Field(NamedTuple):
    """Where a selector's value sits in the last four payload bytes, and which physical values are possible."""

    name: str
    shift: int
    mask: int
    signed: bool
    scale: float
    minimum: float
    maximum: float


class Address(NamedTuple):
    """The parts of a 29-bit identifier."""

    error: int
    device: int
    command: int
    destination: int
    source: int


def _tables(message: Any) -> tuple[dict[int, Field], dict[str, int]]:
    """Selector -> field of one DBC message, and single bits by name for selectors that carry several."""
    by_selector: dict[int, list[Any]] = {}
    for signal in message.signals:
        for selector in signal.multiplexer_ids or ():
            by_selector.setdefault(selector, []).append(signal)
    fields: dict[int, Field] = {}
    bits: dict[str, int] = {}
    for selector, signals in by_selector.items():
        if len(signals) > 1:  # status: 32 bits, taken raw
            for signal in signals:
                assert signal.length == 1
                bits[signal.name] = 1 << _shift(signal)
            fields[selector] = Field("Status", 0, 0xFFFFFFFF, False, 1, 0.0, float(0xFFFFFFFF))
        else:
            (s,) = signals
            assert not s.offset
            # Whether a magnitude's sign shows on the wire is unverified for this module: accept either.
            low = -s.maximum if s.is_signed and s.minimum >= 0 else s.minimum
            fields[selector] = Field(
                s.name, _shift(s), (1 << s.length) - 1, s.is_signed, s.scale, float(low), float(s.maximum)
            )
    return fields, bits


def _shift(signal: Any) -> int:
    """Right shift of a big-endian signal within the 64-bit payload. DBC start bit = its most significant bit."""
    assert signal.byte_order == "big_endian"
    first = 8 * (signal.start // 8) + 7 - signal.start % 8
    shift: int = 64 - first - signal.length
    assert 0 <= shift <= 32 - signal.length
    return shift


def _load() -> tuple[dict[int, Field], dict[int, Field], dict[str, int]]:
    text = resources.files("hal.can").joinpath(DBC_FILE).read_text(encoding="utf-8")
    database: Any = cantools.database.load_string(text, database_format="dbc", frame_id_mask=ID_MASK, strict=True)
    read, bits = _tables(database.get_message_by_name("INFY_BEG_READ"))
    write, none = _tables(database.get_message_by_name("INFY_BEG_WRITE"))
    assert not none
    return read, write, bits


READ_FIELDS: dict[int, Field]
WRITE_FIELDS: dict[int, Field]
STATUS_BITS: dict[str, int]
READ_FIELDS, WRITE_FIELDS, STATUS_BITS = _load()
_REQUESTS = {selector: _PAYLOAD.pack(selector, 0, 0) for selector in READ_FIELDS}


def selector_of(name: str) -> int:
    """The selector of a DBC signal, such as `Rd_ModuleVoltage`. Raises KeyError for a name the data base lacks."""
    for table in (READ_FIELDS, WRITE_FIELDS):
        for selector, field in table.items():
            if field.name == name:
                return selector
    raise KeyError(name)


def make_id(command: int, destination: int, source: int, *, device: int = DEVICE_MODULE, error: int = 0) -> int:
    """The 29-bit identifier. Every part must fit its field."""
    return error << 26 | device << 22 | command << 16 | destination << 8 | source


def split_id(identifier: int) -> Address:
    """The parts of a 29-bit identifier."""
    return Address(
        identifier >> 26 & 7,
        identifier >> 22 & 15,
        identifier >> 16 & 63,
        identifier >> 8 & 255,
        identifier & 255,
    )


def encode_read(selector: int) -> bytes:
    """Payload of a read request: the selector and zeroes. Raises KeyError for a selector that cannot be read."""
    return _REQUESTS[selector]


@functools.lru_cache(maxsize=256)  # a set-point is the same in most ticks
def encode_write(selector: int, value: float) -> bytes:
    """Payload of a write. `value` in the unit of the DBC. Raises KeyError (selector), ValueError (range)."""
    return _encode(WRITE_FIELDS, selector, value)


def encode_reply(selector: int, value: float) -> bytes:
    """Payload of the answer to a read, for emulated modules. Raises KeyError (selector), ValueError (range)."""
    return _encode(READ_FIELDS, selector, value)


def _encode(fields: dict[int, Field], selector: int, value: float) -> bytes:
    field = fields[selector]
    if not field.minimum <= value <= field.maximum:  # also catches nan
        raise ValueError(f"{field.name} = {value} must be {field.minimum:g} to {field.maximum:g}")
    return _PAYLOAD.pack(selector, 0, (round(value / field.scale) & field.mask) << field.shift)


def decode_reply(data: bytes) -> tuple[int, float] | None:
    """(selector, value) of the answer to a read; the status is its 32 raw bits. None: changes nothing."""
    return _decode(READ_FIELDS, data)


def decode_write(data: bytes) -> tuple[int, float] | None:
    """(selector, value) of a write or of its echo. None: changes nothing."""
    return _decode(WRITE_FIELDS, data)


def _decode(fields: dict[int, Field], data: bytes) -> tuple[int, float] | None:
    """None for a wrong length, an unknown selector or an impossible value."""
    if len(data) != 8:
        return None
    selector, _, tail = _PAYLOAD.unpack(data)
    field = fields.get(selector)
    if field is None:
        return None
    _, shift, mask, signed, scale, minimum, maximum = field
    raw = tail >> shift & mask
    if signed and raw > mask >> 1:
        raw -= mask + 1
    value = raw * scale
    return (selector, value) if minimum <= value <= maximum else None
