"""The bit stream below EXI: big-endian bit fields without alignment, and EXI's unsigned integers (EXI 1.0, 7.1.6)."""

from firmware.bridges.secc.exi.errors import ExiError

# Octets of seven bits that one integer may take. 64-bit types need ten; an X.509 serial number has up to 20 octets
# (RFC 5280, 4.1.2.2) and needs 23.
MAX_INTEGER_OCTETS = 24


class BitWriter:
    """Collects bit fields; `finish` pads the last byte with zeros."""

    __slots__ = ("_bits", "_out", "_value")

    def __init__(self) -> None:
        self._out = bytearray()
        self._value = 0
        self._bits = 0

    def write(self, value: int, width: int) -> None:
        """Appends `value` in `width` bits; the caller has checked that it fits."""
        self._value = self._value << width | value
        self._bits += width
        if self._bits >= 256:  # a short accumulator keeps shifting cheap
            self._flush()

    def write_unsigned(self, value: int) -> None:
        """An integer >= 0 in groups of seven bits, least significant first, each with a continuation bit."""
        while value > 127:
            self.write(value & 127 | 128, 8)
            value >>= 7
        self.write(value, 8)

    def write_bytes(self, data: bytes) -> None:
        """Appends whole bytes, not aligned."""
        self.write(int.from_bytes(data, "big"), 8 * len(data))

    def __len__(self) -> int:
        """Bytes begun so far."""
        return len(self._out) + (self._bits + 7) // 8

    def finish(self) -> bytes:
        """All bytes, the last one padded with zero bits."""
        pad = -self._bits % 8
        self._value <<= pad
        self._bits += pad
        self._flush()
        return bytes(self._out)

    def _flush(self) -> None:
        rest = self._bits % 8
        self._out += (self._value >> rest).to_bytes(self._bits // 8, "big")
        self._value &= (1 << rest) - 1
        self._bits = rest


class BitReader:
    """Reads bit fields; reading past the end is an `ExiError`."""

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self._end = 8 * len(data)

    def read(self, width: int) -> int:
        """The next `width` bits as an integer."""
        start = self._position
        end = start + width
        if end > self._end:
            raise ExiError(f"the stream ends after {self._end // 8} bytes in the middle of a value")
        self._position = end
        field = int.from_bytes(self._data[start >> 3 : (end + 7) >> 3], "big")
        return field >> (-end & 7) & ((1 << width) - 1)

    def read_unsigned(self) -> int:
        """An integer in groups of seven bits; more than `MAX_INTEGER_OCTETS` groups are refused."""
        octet = self.read(8)
        value = octet & 127
        shift = 7
        while octet & 128:
            if shift >= 7 * MAX_INTEGER_OCTETS:
                raise ExiError(f"an integer has more than {MAX_INTEGER_OCTETS} octets")
            octet = self.read(8)
            value |= (octet & 127) << shift
            shift += 7
        return value

    def read_bytes(self, count: int) -> bytes:
        """The next `count` whole bytes, not aligned."""
        return self.read(8 * count).to_bytes(count, "big")

    @property
    def left(self) -> int:
        """Bits not read yet."""
        return self._end - self._position

    def rest(self) -> bytes:
        """The whole bytes after the one in which reading stopped."""
        return self._data[(self._position + 7) >> 3 :]
