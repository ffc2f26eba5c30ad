"""Between the package and its connections: every frame in and out goes to the recorder too. Standard library only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from firmware.bridges.secc.framing import FramedReader
from firmware.bridges.secc.recording import Recorder

SDP_KEPT_S = 30.0  # a discovery so long before a connection belongs to it (own choice; cars connect within seconds)


class TappedReader(FramedReader):
    """Passes on whole frames, and tells `heard` each."""

    def __init__(self, reader: asyncio.StreamReader, heard: Callable[[bytes], None]) -> None:
        super().__init__(reader)
        self._heard = heard

    async def read(self, n: int = -1) -> bytes:
        frame = await super().read(n)
        if frame:
            self._heard(frame)
        return frame


class TappedWriter:
    """A StreamWriter that tells `said` what is written; the package writes one frame at a time."""

    def __init__(self, writer: asyncio.StreamWriter, said: Callable[[bytes], None]) -> None:
        self._writer = writer
        self._said = said

    def write(self, data: bytes) -> None:
        self._said(bytes(data))
        self._writer.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


class Tap:
    """What the engine tells the recorder. Keeps the last discovery until its connection stands."""

    def __init__(self, recorder: Recorder, interface: str) -> None:
        self._recorder = recorder
        self._interface = interface
        self._sdp: list[dict[str, Any]] = []

    def discovery(self, sender: str, address: tuple[Any, ...], data: bytes) -> None:
        """A datagram of the car, or the answer to it; address: the car's."""
        now = time.monotonic()
        self._sdp = [one for one in self._sdp if now - one["t"] < SDP_KEPT_S][-7:]
        self._sdp.append({"t": now, "from": sender, "car": list(address[:2]), "frame": data.hex()})

    def connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[FramedReader, TappedWriter]:
        """Reader and writer for the package."""
        now = time.monotonic()
        secure = writer.get_extra_info("ssl_object")
        self._recorder.begin(
            interface=self._interface,
            tls=secure.version() if secure is not None else "",
            car=list((writer.get_extra_info("peername") or ("::", 0))[:2]),
            charger=list((writer.get_extra_info("sockname") or ("::", 0))[:2]),
            sdp=[one for one in self._sdp if now - one["t"] < SDP_KEPT_S],
        )
        self._sdp = []
        return (
            TappedReader(reader, lambda frame: self._recorder.frame("car", frame)),
            TappedWriter(writer, lambda frame: self._recorder.frame("charger", frame)),
        )
