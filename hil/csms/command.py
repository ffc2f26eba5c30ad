"""`quadrant csms`: registered with the command line through the entry-point group `quadrant.commands`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any


def _port(text: str) -> int:
    if not text.isdecimal() or not 1024 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: a port is a number from 1024 to 65535")
    return int(text)


def register(subparsers: Any) -> None:
    """Add `csms`."""
    csms = subparsers.add_parser(
        "csms",
        help="a back end (OCPP) for the desk, on the loopback",
        description="Registers every charger that connects, answers what it tells and prints each message. A line on\n"
        "standard input is sent as a call to every charger that is connected: ACTION, then its payload as JSON, or\n"
        "one of the short forms set-profile, der-control and afrr (docs/ocpp.md). What breaks the schema of the\n"
        "version in use is not sent, and the line says why. Ctrl-C ends it.",
        example='echo \'TriggerMessage {"requestedMessage": "Heartbeat"}\' | quadrant csms --port 9000',
    )
    csms.add_argument("--port", type=_port, default=9000, help="port on 127.0.0.1 (default: 9000)")
    csms.set_defaults(run=_run)


def parse(line: str) -> tuple[str, dict[str, Any]]:
    """Action and payload of a line. Raises ValueError with a sentence."""
    action, _, rest = line.strip().partition(" ")
    try:
        payload = json.loads(rest or "{}")
    except ValueError as error:
        raise ValueError(f"The payload of {action} is no JSON: {error}.") from None
    if not isinstance(payload, dict):
        raise ValueError(f"The payload of {action} must be a JSON object, such as {{}}.")
    return action, payload


def _run(args: argparse.Namespace) -> int:
    try:
        from hil.csms.server import Csms
    except ImportError as error:
        print(f"{error.name} is not installed: pip install 'quadrant[ocpp]'.", file=sys.stderr)
        return 1

    async def main() -> None:
        csms = Csms(lambda line: print(line, flush=True))
        async with csms.listen(args.port) as port:
            print(f"Back end at ws://127.0.0.1:{port}/ (OCPP 2.1, 2.0.1, 1.6). Ctrl-C ends it.", flush=True)
            await _read(csms)
            await asyncio.Event().wait()  # what was piped in is said; chargers go on

    try:
        asyncio.run(main())
    except OSError as error:
        print(f"The back end cannot listen on port {args.port}: {error.strerror}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


async def _read(csms: Any) -> None:
    from hil.csms.calls import CannotExpand, expand
    from hil.csms.server import CallRefused

    reader = asyncio.StreamReader()
    try:
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    except (ValueError, OSError):
        return  # a file or nothing: there is nobody to type
    while line := (await reader.readline()).decode(errors="replace"):
        if not line.strip():
            continue
        if not csms.chargers:
            print("Waiting for a charger ...", flush=True)
            csms.arrived.clear()
            await csms.arrived.wait()
        for charger in list(csms.chargers.values()):
            try:
                short = expand(line, charger.dialect, charger.transaction, time.time())
                await charger.call(*(short or parse(line)))
            except (CallRefused, CannotExpand, ValueError) as error:
                print(f"{charger.identity}: {error}", flush=True)
