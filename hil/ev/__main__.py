"""The rig's EV: the package's EVCC in a process of its own, in the SECC's environment. One session, then it ends.

    .venv-secc/bin/python -P hil/ev/__main__.py --interface lo --protocol iso20 --mode dynamic --bidirectional

Standard output: JSON lines; at the end one with "event": "end". Standard input: JSON lines with the driver's wishes:
{"stop": true}, {"target_a": A}, {"charge_max_a": A}, {"discharge_max_a": A}; its end stops the car.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2]))

from iso15118.evcc.evcc_config import EVCCConfig
from iso15118.shared.settings import SettingKey, shared_settings

from firmware.bridges.secc.engine import PROTOCOLS, allow_omissions, schemas
from firmware.bridges.secc.exi import ExiCodec
from hil.ev import obedient
from hil.ev.body import LoneBody, Wishes
from hil.ev.controller import RigEv
from hil.ev.quirks import QUIRKS
from hil.ev.session import Log, NoSession, Result, run

_WISHES = {"stop": bool, "target_a": float, "charge_max_a": float, "discharge_max_a": float, "soc_target": float}


def say(**values: Any) -> None:
    print(json.dumps({"t": time.monotonic(), **values}), flush=True)


def wish(wishes: Wishes, line: bytes) -> None:
    """Obey one line; a bad one changes nothing and is answered with a sentence."""
    try:
        command = json.loads(line)
        values = {name: _WISHES[name](value) for name, value in command.items()}
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        say(event="refused", reason=f"{line.decode(errors='replace').strip()}: {error}; known: {', '.join(_WISHES)}")
        return
    for name, value in values.items():
        setattr(wishes, name, value)


async def listen(wishes: Wishes) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        wish(wishes, line)
    wishes.stop = True


def report(result: Result, log: Log, stopped_s: float) -> dict[str, Any]:
    trips = sorted(log.round_trips_s[20:] or log.round_trips_s)  # the first ones belong to cold caches
    return {
        "event": "end",
        "successful": result.successful,
        "reason": result.reason,
        "tls": result.tls,
        "failed": log.failed,
        "notifications": sorted(set(log.notifications)),
        "sent": dict(log.sent),
        "loops": len(log.round_trips_s),
        "round_trip_p50_ms": statistics.median(trips) * 1e3 if trips else None,
        "round_trip_p99_ms": trips[int(0.99 * (len(trips) - 1))] * 1e3 if trips else None,
        "highest_a": max(log.amps, default=None),
        "lowest_a": min(log.amps, default=None),
        "lowest_limit_a": min(log.limits_a, default=None),
        "parameters": sorted(log.parameters),
        "odd": log.odd,
        "seconds": stopped_s,
    }


async def drive(options: argparse.Namespace) -> int:
    shared_settings.update(
        {
            SettingKey.PKI_PATH: "/nonexistent/",
            SettingKey.MESSAGE_LOG_JSON: False,
            SettingKey.MESSAGE_LOG_EXI: False,
            SettingKey.ENABLE_TLS_1_3: True,
        }
    )
    allow_omissions()
    obedient.install()
    config = EVCCConfig(
        supportedProtocols=[PROTOCOLS[options.protocol].name],
        supportedEnergyServices=["DC_BPT", "DC"] if options.bidirectional else ["DC"],
        useTls=options.pki is not None,
        enforceTls=options.pki is not None,
        energyTransferMode="DC_extended",
    )
    config.load_raw_values()
    wishes = Wishes(target_a=options.target_a, charge_max_a=options.charge_max_a)
    controller = RigEv(
        config,
        LoneBody(options.soc, options.battery_v),
        wishes,
        dynamic=options.mode == "dynamic",
        bidirectional=options.bidirectional,
    )
    codec = ExiCodec(schemas(), cache_folder=options.cache)
    tls = None
    if options.pki is not None:
        from firmware.bridges.secc.tls import client_context

        tls = client_context(options.pki, options.tls_version)
    log = Log()
    began = time.monotonic()
    commands = asyncio.create_task(listen(wishes))
    say(event="ready")
    try:
        result = await run(
            options.interface,
            config,
            controller,
            codec,
            log,
            tls=tls,
            pause_s=options.pause,
            byte_by_byte=options.byte_by_byte,
            quirk=options.quirk,
            patience=options.patience,
        )
    except NoSession as error:
        say(event="end", successful=False, reason=str(error))
        return 1
    finally:
        commands.cancel()
    say(**report(result, log, time.monotonic() - began))
    return 0 if result.successful else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="ev", description="The rig's EV.")
    parser.add_argument("--interface", required=True)
    parser.add_argument("--protocol", choices=tuple(PROTOCOLS), default="iso20")
    parser.add_argument("--mode", choices=("dynamic", "scheduled"), default="dynamic")
    parser.add_argument("--bidirectional", action="store_true", help="take the service DC_BPT")
    parser.add_argument("--soc", type=float, default=0.5)
    parser.add_argument("--battery-v", type=float, default=400.0)
    parser.add_argument("--target-a", type=float, default=20.0)
    parser.add_argument("--charge-max-a", type=float, default=125.0)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds before each request")
    parser.add_argument("--patience", type=float, default=1.0, help="waits so many times as long for an answer")
    parser.add_argument("--byte-by-byte", action="store_true", help="send every byte in a segment of its own")
    parser.add_argument("--quirk", choices=("", *QUIRKS), default="", help="what real cars do beside the schema")
    parser.add_argument("--pki", type=Path, help="folder made by `quadrant pki`: demand TLS")
    parser.add_argument("--tls-version", choices=("1.2", "1.3"), default="1.3")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    if not options.verbose:
        logging.disable(logging.ERROR)
    return asyncio.run(drive(options))


if __name__ == "__main__":
    raise SystemExit(main())
