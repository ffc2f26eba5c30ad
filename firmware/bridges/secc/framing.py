"""One V2GTP frame per read: what TCP cut or joined on the way makes no difference.

The package reads up to 7000 bytes and takes them for exactly one message. `FramedReader` stands in front of its
`asyncio.StreamReader` and has the two methods and the end-of-file behaviour that the package uses.
"""

from __future__ import annotations

import asyncio

HEADER_BYTES = 8  # version, inverted version, payload type (2), payload length (4): ISO 15118-2, 7.8.3
MAX_PAYLOAD_BYTES = 65_536  # the codec's own limit (policy value); the standard permits 4 GiB
_VERSION = b"\x01\xfe"


class FramedReader:
    """Stands in front of a StreamReader.

    A header that is none, or one that announces more than MAX_PAYLOAD_BYTES, is handed on alone: the package refuses
    it and ends the session, for nothing behind it can be found again.
    """

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def read(self, n: int = -1) -> bytes:
        """The next whole frame, whatever `n`; b"" at the end of the stream, also of one that ends inside a frame."""
        try:
            header = await self._reader.readexactly(HEADER_BYTES)
            length = int.from_bytes(header[4:8], "big")
            if header[:2] != _VERSION or length > MAX_PAYLOAD_BYTES:
                return header
            return header + await self._reader.readexactly(length)
        except asyncio.IncompleteReadError:
            return b""

    def at_eof(self) -> bool:
        return self._reader.at_eof()

    def feed_eof(self) -> None:
        """End the session as if the car had closed the connection."""
        self._reader.feed_eof()
