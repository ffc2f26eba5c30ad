"""Rows: OCPP 2.1 end to end over a WebSocket of the loopback, both ends validating, and memory after 100 000 messages,
beside the PyPI library `ocpp` (whose schema files we use, and none of whose code).

Each side is a process of its own with both ends in it, so that memory is its own: `python -m tests.bench.ocpp own`.
Ours is the station as it runs on a charger, its queue in a file included (a commit that the disk confirms before the
message is sent, and one after its answer); the row without is our engine alone, which is what the library has.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.bench.harness import Row, quantile

MESSAGES = 100_000
WARM = 200  # schemas are built, pages are touched
LONGEST_S = 900.0  # about a minute and a half on an idle machine
MOST_GROWTH_MB = 5.0  # from the end of the warm-up to the end: more is a leak (50 bytes a message)
STAMP = "2026-11-20T11:00:00.000Z"
NAMES = ("Energy.Active.Import.Register", "Energy.Active.Export.Register", "Power.Active.Import", "Voltage")
VALUES = [
    {"measurand": NAMES[n % 4], "value": 1234.5 + n, "context": "Sample.Periodic", "location": "Outlet",
     "unitOfMeasure": {"unit": ("Wh", "Wh", "W", "V")[n % 4]}}
    for n in range(20)
]  # fmt: skip


def event(seq: int) -> dict[str, Any]:
    """A TransactionEvent with 20 values."""
    return {
        "eventType": "Updated",
        "timestamp": STAMP,
        "triggerReason": "MeterValuePeriodic",
        "seqNo": seq,
        "transactionInfo": {"transactionId": "4f1c7b9e-0000-4000-8000-000000000001", "chargingState": "Charging"},
        "evse": {"id": 1, "connectorId": 1},
        "meterValue": [{"timestamp": STAMP, "sampledValue": VALUES}],
    }


def rss_mb() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def measure(say: Callable[[int], Awaitable[None]], most: int, seconds: float) -> dict[str, float]:
    """Say messages until there were `most` or the time is over; rates, latencies and memory."""
    for n in range(WARM):
        await say(n)
    gc.collect()
    before_mb, times = rss_mb(), []
    start = last = time.perf_counter()
    while len(times) < most and last - start < seconds:
        await say(WARM + len(times))
        now = time.perf_counter()
        times.append(now - last)
        last = now
    gc.collect()
    p50, p99 = (quantile(times, q) * 1e6 for q in (0.5, 0.99))
    figures = {"msg/s": len(times) / (last - start), "p50": p50, "p99": p99}
    kept = len(times) * 32 / 1e6  # the list above: a float and its place
    return {**figures, "n": float(len(times)), "before_mb": before_mb, "growth_mb": rss_mb() - before_mb - kept}


async def own(most: int, seconds: float, stored: bool) -> dict[str, float]:
    """Our engine at both ends; with `stored` every message goes through the queue in a file."""
    from websockets.asyncio.client import connect
    from websockets.typing import Subprotocol

    from firmware.bridges.ocpp.dialect import V21
    from firmware.bridges.ocpp.outbox import New, Outbox
    from firmware.bridges.ocpp.rpc import Answered, Rpc
    from firmware.bridges.ocpp.schemas import Schemas
    from hil.csms.server import Csms

    csms = Csms()
    ids = (f"m{n}" for n in itertools.count())
    with tempfile.TemporaryDirectory(prefix="q") as there:
        box = Outbox(Path(there) / "ocpp.sqlite")
        async with csms.listen() as port:
            url = f"ws://127.0.0.1:{port}/CP-1"
            async with connect(url, subprotocols=[Subprotocol(V21.subprotocol)], compression=None) as socket:
                rpc = Rpc(V21, Schemas(V21), supported=frozenset(), timeout_s=30.0, new_id=lambda: next(ids))

                async def say(seq: int) -> None:
                    if stored:
                        box.put([New("tx", event(seq), True)], "transaction", {"id": "tx", "seq": seq})
                    message = box.head()
                    payload = event(seq) if message is None else message.payload
                    await socket.send(rpc.call(time.monotonic(), "TransactionEvent", payload))
                    _, (heard,) = rpc.receive(time.monotonic(), str(await socket.recv()))
                    assert isinstance(heard, Answered), heard
                    if message is not None:
                        box.taken(message.id)
                    for charger in csms.chargers.values():
                        charger.told.clear()  # the desk's back end keeps all that it is told

                found = await measure(say, most, seconds)
        box.close()
    return found


async def library(most: int, seconds: float) -> dict[str, float]:
    """The package `ocpp` at both ends, as its own examples use it."""
    from ocpp.routing import on
    from ocpp.v21 import ChargePoint, call, call_result
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed
    from websockets.typing import Subprotocol

    class Central(ChargePoint):
        @on("TransactionEvent")
        async def taken(self, **payload: Any) -> Any:
            return call_result.TransactionEvent()

    async def serve_one(socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await Central("CP-1", socket).start()

    def snake(value: Any) -> Any:
        if isinstance(value, list):
            return [snake(item) for item in value]
        if not isinstance(value, dict):
            return value
        words = {key: "".join(f"_{c.lower()}" if c.isupper() else c for c in key) for key in value}
        return {words[key]: snake(item) for key, item in value.items()}

    protocol = [Subprotocol("ocpp2.1")]
    async with serve(serve_one, "127.0.0.1", 0, subprotocols=protocol, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}/CP-1", subprotocols=protocol, compression=None) as socket:
            station = ChargePoint("CP-1", socket)
            reading = asyncio.create_task(station.start())

            async def say(seq: int) -> None:
                answer = await station.call(call.TransactionEvent(**snake(event(seq))))
                assert answer is not None, "the library refused its own message"

            found = await measure(say, most, seconds)
            reading.cancel()
    return found


def child(side: str, most: int, seconds: float) -> dict[str, float]:
    """One side in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.ocpp", side, str(most), str(seconds)],
        capture_output=True, text=True, check=False, timeout=2.0 * LONGEST_S,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{side}: {done.stderr.strip().splitlines()[-1] if done.stderr else done.returncode}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def rows(seconds: float) -> list[Row]:
    sides = ("own", "library", "stored")
    try:
        turns = [{side: child(side, MESSAGES, seconds / 4) for side in sides} for _ in range(2)]
        long = child("own", MESSAGES, LONGEST_S)
    except RuntimeError as error:
        return [Row("OCPP 2.1 end to end", skipped=str(error))]
    shown = ("msg/s", "p50", "p99")
    mean = {side: {key: sum(turn[side][key] for turn in turns) / 2 for key in shown} for side in sides}
    said = sum(turn["library"]["n"] for turn in turns)
    grown = max(turn["library"]["growth_mb"] for turn in turns)
    problem = ""
    if long["growth_mb"] > MOST_GROWTH_MB:
        problem = f"OCPP: memory grew by {long['growth_mb']:.1f} MB over {long['n']:.0f} messages"
    elif long["n"] < MESSAGES:
        problem = f"OCPP: only {long['n']:.0f} of {MESSAGES} messages in {LONGEST_S:g} s"
    memory = {"after": long["before_mb"] + long["growth_mb"], "growth": long["growth_mb"], "n": long["n"]}
    theirs = turns[-1]["library"]
    name, unit = "OCPP 2.1, TransactionEvent of 20 values, both ends validate", "msg/s; us a message"
    return [
        Row(f"{name}: engine", unit, mean["own"], "PyPI ocpp", mean["library"], ratio_of="msg/s",
            note=f"two turns each, one call open at a time; the library said {said:.0f} messages."),
        Row(f"{name}: with the queue on the disk", unit, mean["stored"], "PyPI ocpp, without any queue",
            mean["library"], ratio_of="msg/s", note="Two commits a message that the disk confirms."),
        Row(f"OCPP 2.1, memory after {MESSAGES} messages", "MB", memory, "PyPI ocpp",
            {"after": theirs["before_mb"] + grown, "growth": grown, "n": theirs["n"]}, ratio_of="after",
            note="Both ends in one process. The library is given the time above, not so many messages.",
            missed=problem),
    ]  # fmt: skip


def main() -> None:
    side, most, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    work = library(most, seconds) if side == "library" else own(most, seconds, side == "stored")
    print(json.dumps(asyncio.run(work)))


if __name__ == "__main__":
    main()
