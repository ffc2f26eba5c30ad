"""The process `secc`: speaks to the car for services, decides nothing.

    .venv-secc/bin/python -P firmware/bridges/secc/__main__.py --socket RUNDIR/secc.sock --interface eth1

Started by services, or by hand. It connects to the socket, where services listen, and ends when that connection ends:
without services there is no charger. Runs in its own environment (`make setup` makes .venv-secc), whose packages come
first; of the firmware it needs the folder firmware/bridges/secc only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[3]))

from firmware.bridges.secc.controller import MirrorController
from firmware.bridges.secc.engine import PROTOCOLS, Codec, Engine, EngineError, Settings, schemas
from firmware.bridges.secc.exi import ExiCodec, ExiError
from firmware.bridges.secc.exi.codec import APP_PROTOCOL
from firmware.bridges.secc.messages import ChargerState, FromSecc, Lines, Ready, SessionEnded, ToSecc, encode
from firmware.bridges.secc.mirror import Mirror
from firmware.bridges.secc.recording import Recorder
from firmware.bridges.secc.tap import Tap

HEARTBEAT_S = 0.1
CONNECT_S = 5.0
_CHUNK = 65536
_QUEUE_BYTES = 1 << 20  # services that do not read for so long are not alive


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="secc", description="ISO 15118 and DIN 70121 for services.")
    parser.add_argument("--socket", required=True, type=Path, help="Unix socket where services listen")
    parser.add_argument("--interface", required=True, help="network interface of the modem; lo: the loopback (::1)")
    parser.add_argument(
        "--protocols", default="iso20,iso2,din", help="of iso20, iso2, din; the most wanted first (default: all)"
    )
    parser.add_argument("--evse-id", default="DE*QUA*E0001", help="the charger's ID, 7 to 37 characters")
    parser.add_argument("--scheduled-first", action="store_true", help="offer control mode Scheduled before Dynamic")
    parser.add_argument("--charge-only", action="store_true", help="do not offer the service DC_BPT")
    parser.add_argument("--pki", type=Path, help="folder made by `quadrant pki`; without it there is no TLS")
    parser.add_argument("--tls-only", action="store_true", help="refuse cars that ask for a connection without TLS")
    parser.add_argument("--cache", type=Path, help="folder for compiled schemas")
    parser.add_argument("--record", type=Path, help="folder for what car and charger say to each other")
    parser.add_argument("--verbose", action="store_true", help="log what the package logs")
    options = parser.parse_args()
    options.protocols = tuple(name.strip() for name in options.protocols.split(","))
    unknown = [name for name in options.protocols if name not in PROTOCOLS]
    if unknown or len(set(options.protocols)) != len(options.protocols):
        parser.error(f"--protocols: {', '.join(options.protocols)}; allowed are {', '.join(PROTOCOLS)}, each once.")
    if not 7 <= len(options.evse_id) <= 37:
        parser.error(f"--evse-id has {len(options.evse_id)} characters; allowed are 7 to 37.")
    if options.tls_only and options.pki is None:
        parser.error("--tls-only needs --pki.")
    return options


class Process:
    def __init__(self, options: argparse.Namespace, codec: Codec) -> None:
        self._options = options
        self._writer: asyncio.StreamWriter | None = None
        self._mirror = Mirror(time.monotonic, self._send)
        self._controller = MirrorController(
            self._mirror,
            options.evse_id,
            dynamic_first=not options.scheduled_first,
            bidirectional=not options.charge_only,
        )
        tls = None
        if options.pki is not None:
            from firmware.bridges.secc.tls import server_context

            tls = server_context(options.pki)
        self._recorder = Recorder(options.record) if options.record is not None else None
        settings = Settings(
            options.interface,
            options.protocols,
            (lambda: tls) if tls else None,
            options.tls_only,
            Tap(self._recorder, options.interface) if self._recorder is not None else None,
        )
        self._engine = Engine(settings, codec, self._controller, self._heard)
        self._was_plugged = False

    def _heard(self, namespace: str, message: dict[str, Any]) -> None:
        if namespace == APP_PROTOCOL:
            self._controller.new_session()
        self._mirror.request(namespace, message)

    def _send(self, message: FromSecc) -> None:
        if isinstance(message, SessionEnded) and self._recorder is not None:
            self._recorder.end(f"{message.state}: {message.reason}")
        writer = self._writer
        if writer is None or writer.is_closing():
            return
        if writer.transport.get_write_buffer_size() > _QUEUE_BYTES:
            writer.transport.abort()  # the reader sees the end, and we end with it
            return
        writer.write(encode(message))

    async def run(self) -> int:
        async with asyncio.timeout(CONNECT_S):
            reader, self._writer = await asyncio.open_unix_connection(str(self._options.socket))
        tasks = [asyncio.create_task(work) for work in (self._engine.run(), self._listen(reader), self._beat())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            return 0
        finally:
            for task in tasks:
                task.cancel()
            self._writer.close()
            if self._recorder is not None:
                self._recorder.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Returns when services are gone."""
        lines = Lines(ToSecc)
        while chunk := await reader.read(_CHUNK):
            for message in lines.feed(chunk):
                if isinstance(message, ChargerState):
                    self._mirror.take(message)
                    if self._was_plugged and not message.plugged:
                        self._engine.close_sessions()
                    self._was_plugged = message.plugged

    async def _beat(self) -> None:
        told = False
        while True:
            if self._controller.ready and not told:
                self._send(Ready(self._options.interface))
                told = True
            self._mirror.heartbeat()
            await asyncio.sleep(HEARTBEAT_S)


def own_codec(options: argparse.Namespace) -> Codec:
    """Ours, with every schema compiled: a car must not wait for that."""
    codec = ExiCodec(schemas(), cache_folder=options.cache)
    codec.preload()
    return codec


def main(codec: Callable[[argparse.Namespace], Codec] = own_codec) -> int:
    """codec: makes the EXI codec; `make bench` puts the package's own in its place."""
    options = arguments()
    logging.basicConfig(level=logging.INFO if options.verbose else logging.CRITICAL)
    logging.getLogger().setLevel(logging.INFO if options.verbose else logging.CRITICAL)
    if not options.verbose:
        logging.disable(logging.ERROR)
    try:
        return asyncio.run(Process(options, codec(options)).run())
    except (EngineError, ExiError, OSError, TimeoutError, ValueError) as error:
        print(f"secc: {error or 'services did not accept the connection'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        raise SystemExit(main())
