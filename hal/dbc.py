"""One message of a DBC file, reduced at start to a shift, a mask and a scale a signal.

cantools reads the data base and remains the judge: a message that this codec does not take (a value out of its range,
a missing or an unknown field) is handed to it, and its exception is what the caller gets. `tests/test_dbc.py` proves
that both say the same for every message of ours. The reason is time: a frame of 18 signals costs cantools forty
microseconds, a tenth of a millisecond on a charger's computer, and guard codes some in every tick.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import NamedTuple

import cantools.database
from cantools.database.can import Database, Message
from cantools.database.can.signal import Signal

SLACK = 1e-6  # raw value times scale is not exact in binary (16383 * 0.05 > 819.15); far below every step


class _Field(NamedTuple):
    name: str
    shift: int
    mask: int
    sign: int  # the sign bit; 0: unsigned
    scale: float | None  # None: the raw value is the value
    offset: float
    low: float
    high: float
    judged: bool  # not every raw value lies inside low..high and among the choices
    choices: frozenset[int] | None


def _field(signal: Signal, bits: int) -> _Field:
    assert not signal.is_multiplexer, signal.name
    assert not signal.multiplexer_ids, signal.name
    assert not signal.is_float, signal.name
    if signal.byte_order == "big_endian":
        shift = bits - (8 * (signal.start // 8) + 7 - signal.start % 8) - signal.length
    else:
        shift = signal.start
    mask = (1 << signal.length) - 1
    sign = 1 << signal.length - 1 if signal.is_signed else 0
    plain = signal.scale == 1 and signal.offset == 0
    raw_low, raw_high = -sign, mask >> 1 if sign else mask
    low = -float("inf") if signal.minimum is None else float(signal.minimum)
    high = float("inf") if signal.maximum is None else float(signal.maximum)
    choices = frozenset(int(c) for c in signal.choices) if signal.choices else None
    ends = (raw_low * signal.scale + signal.offset, raw_high * signal.scale + signal.offset)
    outside = min(ends) < low - SLACK or max(ends) > high + SLACK
    judged = outside or (choices is not None and not choices.issuperset(range(raw_low, raw_high + 1)))
    return _Field(
        signal.name, shift, mask, sign, None if plain else signal.scale, signal.offset, low, high, judged, choices
    )


def load(package: str, file: str) -> Database:
    """The data base that lies beside the modules of a package."""
    text = resources.files(package).joinpath(file).read_text(encoding="utf-8")
    found = cantools.database.load_string(text, database_format="dbc", strict=True)
    assert isinstance(found, Database)
    return found


class Codec:
    """Encodes and decodes one message. AssertionError for a message with multiplexed or float signals."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.length = message.length
        orders = {signal.byte_order for signal in message.signals}
        assert len(orders) == 1, message.name
        self._big = orders == {"big_endian"}
        self._fields = tuple(_field(signal, 8 * message.length) for signal in message.signals)

    def encode(self, fields: Mapping[str, float]) -> bytes:
        """The payload of physical values. Raises cantools' EncodeError on a missing or out-of-range field."""
        bits = 0
        if len(fields) != len(self._fields):
            return self._slowly(fields)
        for name, shift, mask, _, scale, offset, low, high, _, _ in self._fields:
            value = fields.get(name)
            if value is None or not low <= value <= high:
                return self._slowly(fields)
            raw = round(value if scale is None else (value - offset) / scale)
            bits |= (raw & mask) << shift
        return bits.to_bytes(self.length, "big" if self._big else "little")

    def _slowly(self, fields: Mapping[str, float]) -> bytes:
        return bytes(self.message.encode(dict(fields), strict=True))

    def decode(self, payload: bytes) -> dict[str, float] | None:
        """Physical values by signal name; None for a wrong length and when any value is out of its range."""
        if len(payload) != self.length:
            return None
        bits = int.from_bytes(payload, "big" if self._big else "little")
        values: dict[str, float] = {}
        for name, shift, mask, sign, scale, offset, low, high, judged, choices in self._fields:
            raw = bits >> shift & mask
            if sign and raw >= sign:
                raw -= mask + 1
            value: int | float = raw
            if scale is not None:
                value = raw * scale + offset
            if judged and (not low - SLACK <= value <= high + SLACK or (choices is not None and value not in choices)):
                return None
            values[name] = value
        return values
