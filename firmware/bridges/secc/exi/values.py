"""How the value of one simple type is written: EXI 1.0, chapter 7, for the built-in types that the V2G schemas use.

In JSON a value is a bool, an int or a str: hexBinary as upper-case hex digits, base64Binary as base64.
Facets that do not change the bits (maxLength, pattern of the application) are not checked here: that is the business
of whoever reads the message, and a quirk layer must be able to see what a car really said. What cannot be represented,
or is an integer outside the range of its type, is refused when writing.
"""

import base64
import binascii
from typing import Any, Protocol

from firmware.bridges.secc.exi.bits import BitReader, BitWriter
from firmware.bridges.secc.exi.errors import ExiError, SchemaError

Value = bool | int | str
# Characters or bytes of one value. Policy: the longest value of the schemas is a certificate of 1600 bytes (-20).
MAX_VALUE_LENGTH = 8192
# A bounded integer with at most this many values is written in as few bits as hold them (EXI 1.0, 7.1.5).
SMALL_RANGE = 4096


class Leaf(Protocol):
    """One simple type."""

    def write(self, out: BitWriter, value: Any) -> None:
        """Appends `value`, or raises `ExiError` with what is wrong with it."""

    def read(self, source: BitReader) -> Value:
        """The next value, or `ExiError`."""

    def record(self) -> list[Any]:
        """What the table cache stores; `leaf_from_record` is the way back."""


class Boolean:
    """xs:boolean: one bit."""

    def write(self, out: BitWriter, value: Any) -> None:
        if type(value) is not bool:
            raise ExiError(f"true or false expected, not {_shown(value)}")
        out.write(value, 1)

    def read(self, source: BitReader) -> Value:
        return source.read(1) == 1

    def record(self) -> list[Any]:
        return ["boolean"]


class Enumeration:
    """A string with xs:enumeration facets: the index in schema order."""

    def __init__(self, values: tuple[str, ...]) -> None:
        self.values = values
        self._index = {value: index for index, value in enumerate(values)}
        self._width = (len(values) - 1).bit_length()

    def write(self, out: BitWriter, value: Any) -> None:
        index = self._index.get(value) if isinstance(value, str) else None
        if index is None:
            raise ExiError(f"{_shown(value)} is not one of {', '.join(self.values)}")
        out.write(index, self._width)

    def read(self, source: BitReader) -> Value:
        index = source.read(self._width)
        if index >= len(self.values):
            raise ExiError(f"value number {index} of an enumeration that has {len(self.values)}")
        return self.values[index]

    def record(self) -> list[Any]:
        return ["enumeration", *self.values]


class Integer:
    """Every integer type. `low` and `high` are inclusive; None: unbounded.

    Small ranges take a fixed number of bits counted from `low`, types without negative numbers an unsigned integer,
    all others a sign bit and the magnitude (EXI 1.0, 7.1.5 and 7.1.9).
    """

    def __init__(self, low: int | None, high: int | None) -> None:
        self.low = low
        self.high = high
        self._unsigned = low is not None and low >= 0
        small = low is not None and high is not None and high - low < SMALL_RANGE
        self._width = (high - low).bit_length() if small and low is not None and high is not None else None

    def write(self, out: BitWriter, value: Any) -> None:
        if type(value) is not int:
            raise ExiError(f"a whole number expected, not {_shown(value)}")
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            raise ExiError(f"{_shown(value)} is outside {self._range()}")
        if self._width is not None:
            assert self.low is not None
            out.write(value - self.low, self._width)
            return
        if not self._unsigned:
            out.write(value < 0, 1)
            value = -value - 1 if value < 0 else value
        if value.bit_length() > 160:  # what read_unsigned accepts, with room
            raise ExiError("a whole number of at most 160 bits expected")
        out.write_unsigned(value)

    def read(self, source: BitReader) -> Value:
        if self._width is not None:
            assert self.low is not None
            return source.read(self._width) + self.low
        if self._unsigned:
            return source.read_unsigned()
        negative = source.read(1)
        value = source.read_unsigned()
        return -value - 1 if negative else value

    def record(self) -> list[Any]:
        return ["integer", self.low, self.high]

    def _range(self) -> str:
        low = "-infinity" if self.low is None else self.low
        return f"{low}..{'infinity' if self.high is None else self.high}"


class Binary:
    """xs:hexBinary and xs:base64Binary: the number of bytes, then the bytes."""

    def __init__(self, base64: bool) -> None:
        self.base64 = base64

    def write(self, out: BitWriter, value: Any) -> None:
        if not isinstance(value, str):
            raise ExiError(f"{'base64' if self.base64 else 'hex digits'} expected, not {_shown(value)}")
        try:
            data = base64.b64decode(value, validate=True) if self.base64 else binascii.unhexlify(value)
        except ValueError as fault:
            raise ExiError(f"{_shown(value)} is not {'base64' if self.base64 else 'hex digits'}: {fault}") from None
        if len(data) > MAX_VALUE_LENGTH:
            raise ExiError(f"{len(data)} bytes; at most {MAX_VALUE_LENGTH} are allowed")
        out.write_unsigned(len(data))
        out.write_bytes(data)

    def read(self, source: BitReader) -> Value:
        data = source.read_bytes(_length(source, source.read_unsigned(), "bytes"))
        return base64.b64encode(data).decode("ascii") if self.base64 else data.hex().upper()

    def record(self) -> list[Any]:
        return ["binary", self.base64]


class String:
    """xs:string and what derives from it: length + 2, then code points.

    Lengths 0 and 1 stand for a string-table hit. ISO 15118-2 and -20 and DIN 70121 set the table's capacity to zero
    (EXI option valuePartitionCapacity), so a hit cannot be valid.
    """

    def write(self, out: BitWriter, value: Any) -> None:
        if not isinstance(value, str):
            raise ExiError(f"a string expected, not {_shown(value)}")
        if len(value) > MAX_VALUE_LENGTH:
            raise ExiError(f"{len(value)} characters; at most {MAX_VALUE_LENGTH} are allowed")
        out.write_unsigned(len(value) + 2)
        for character in value:
            point = ord(character)
            if 0xD800 <= point <= 0xDFFF:
                raise ExiError("half of a surrogate pair is not a character")
            out.write_unsigned(point)

    def read(self, source: BitReader) -> Value:
        length = source.read_unsigned()
        if length < 2:
            raise ExiError("a reference into the string table, which has no entries in this protocol")
        points = [source.read_unsigned() for _ in range(_length(source, length - 2, "characters"))]
        for point in points:
            if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
                raise ExiError(f"{point} is not the number of a character")
        return "".join(map(chr, points))

    def record(self) -> list[Any]:
        return ["string"]


def leaf_from_record(record: list[Any]) -> Leaf:
    """The leaf that `record()` described."""
    match record:
        case ["boolean"]:
            return Boolean()
        case ["enumeration", *values]:
            return Enumeration(tuple(values))
        case ["integer", low, high]:
            return Integer(low, high)
        case ["binary", bool(is_base64)]:
            return Binary(base64=is_base64)
        case ["string"]:
            return String()
    raise SchemaError(f"unknown leaf {record!r}")


_UNSIGNED_BITS = {"unsignedByte": 8, "unsignedShort": 16, "unsignedInt": 32, "unsignedLong": 64}
_SIGNED_BITS = {"byte": 8, "short": 16, "int": 32, "long": 64}
_STRINGS = {"string", "normalizedString", "token", "anyURI", "ID", "IDREF", "NCName", "Name", "NMTOKEN", "language"}


def built_in(name: str) -> Leaf:
    """The leaf of the built-in type xs:`name`; a type that no V2G schema uses is a `SchemaError`."""
    if name in _UNSIGNED_BITS:
        return Integer(0, (1 << _UNSIGNED_BITS[name]) - 1)
    if name in _SIGNED_BITS:
        half = 1 << (_SIGNED_BITS[name] - 1)
        return Integer(-half, half - 1)
    if name in _STRINGS:
        return String()
    match name:
        case "boolean":
            return Boolean()
        case "hexBinary":
            return Binary(base64=False)
        case "base64Binary":
            return Binary(base64=True)
        case "integer":
            return Integer(None, None)
        case "nonNegativeInteger":
            return Integer(0, None)
        case "positiveInteger":
            return Integer(1, None)
    raise SchemaError(f"xs:{name} is not a type that this codec knows")


def _length(source: BitReader, length: int, what: str) -> int:
    """`length`, refused before anything is allocated if it cannot be."""
    if length > MAX_VALUE_LENGTH:
        raise ExiError(f"{length} {what}; at most {MAX_VALUE_LENGTH} are allowed")
    if 8 * length > source.left:
        raise ExiError(f"{length} {what} announced, but only {source.left // 8} bytes follow")
    return length


def _shown(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return "a very large number"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
