"""Rows of the SECC: how fast it answers in the charge loop, its memory and its times, with our codec and with the jar.

Real processes as in tests/secc: `secc`, the rig's EV and a scripted charger. Times are read from what the SECC recorded
of its own connection, so an answer counts from the car's whole request to the charger's bytes on their way.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from firmware.bridges.secc.recording import read, sessions
from firmware.bridges.secc.story import Told, messages
from tests.bench.harness import Row, latency
from tests.secc.environment import ROOT, codec, schemas
from tests.secc.stand import SECC, Script, Stand, loopback, stand

PROTOCOLS = {"-20 DC_BPT": ("--bidirectional",), "-2 DC": ("--protocol", "iso2"), "DIN": ("--protocol", "din")}
LOOP = ("DC_ChargeLoopReq", "CurrentDemandReq")
TRIES = 2
# The car waits so many times as long for an answer as its protocol says: a cold JVM on a busy machine is late at the
# first message of every protocol (the package's EV waits 2 s there), and then there would be nothing to compare.
PATIENCE = 30.0
START_S = 180.0  # a JVM that compiles its schemas beside other work
WAITS_S = 2.0  # for most answers (the package's timeouts of -2 and -20); PowerDelivery of -2 has more
LEAST, ENOUGH_S = 30, 120.0  # answers that are judged at least; how long they are waited for
COLD = 10  # loops at the beginning that are left out: caches, and the JVM's compiler


@dataclass
class Figures:
    """What one codec did. answers_s: by protocol. memory_mb: of the process and its children. late: by protocol, the
    longest answer of the whole session where a car of ordinary patience would have given up."""

    ready_s: float = 0.0
    answers_s: dict[str, list[float]] = field(default_factory=dict)
    power_s: dict[str, float] = field(default_factory=dict)
    memory_mb: float = 0.0
    late: dict[str, float] = field(default_factory=dict)


def rows(seconds: float) -> list[Row]:
    """Sessions of the three protocols with each codec, `seconds` of loop each."""
    if schemas() is None:
        return [Row("SECC", skipped="no .venv-secc (make setup, needs a package index)")]
    ours = asyncio.run(_measure(SECC, seconds))
    if shutil.which("java") is None:
        return _rows(ours, None)
    return _rows(ours, asyncio.run(_measure(ROOT / "tests/bench/secc_java.py", seconds)))


def _rows(ours: Figures, jar: Figures | None) -> list[Row]:
    other = "" if jar is None else "the package's Java codec"
    note = "" if jar is not None else "no Java runtime here to compare with"
    found = [
        Row(
            f"SECC, answer in the loop of {name}",
            unit="ms",
            values=latency(ours.answers_s[name], 1e3),
            yardstick_name=other,
            yardstick=latency(jar.answers_s[name], 1e3) if jar is not None and name in jar.answers_s else {},
            ratio_of="p50",
            note=note if jar is None or name in jar.answers_s else f"{other}: no session in {TRIES} tries",
        )
        for name in PROTOCOLS
        if name in ours.answers_s
    ]
    for name in ours.power_s:
        found.append(
            _single(
                f"SECC, discovery to power of {name}",
                "s",
                ours.power_s[name],
                None if jar is None else jar.power_s.get(name),
                "0.3 s of it are the scripted insulation test, 0.2 s the precharge ramp",
            )
        )
    found.append(_single("SECC, start to ready", "s", ours.ready_s, None if jar is None else jar.ready_s, ""))
    for whose, figures in (("ours", ours), (other, jar)):
        if figures is not None and figures.late:
            told = ", ".join(f"{name}: {wait_s:.1f} s" for name, wait_s in figures.late.items())
            note = (
                f"{whose}: longest answer of the whole session, later than the {WAITS_S:g} s that a car waits: {told}"
            )
            found[0] = replace(found[0], note="; ".join(filter(None, (found[0].note, note))))
    memory = None if jar is None else jar.memory_mb
    found.append(_single("SECC, memory with children", "MB", ours.memory_mb, memory, "resident, after the last loop"))
    return found


def _single(name: str, unit: str, own: float, other: float | None, note: str) -> Row:
    yardstick = {} if other is None else {"value": other}
    return Row(
        name,
        unit=unit,
        values={"value": own},
        yardstick_name="the package's Java codec" if yardstick else "",
        yardstick=yardstick,
        ratio_of="value",
        note=note,
    )


async def _measure(program: Path, seconds: float) -> Figures:
    figures = Figures()
    with tempfile.TemporaryDirectory() as name, loopback() as wires:
        folder = Path(name)
        began = time.monotonic()
        script = Script(amps=lambda t, car: 25.0 if t % 2.0 < 1.0 else -20.0)
        record = ("--record", str(folder / "v2g"))
        async with stand(folder, wires, script, *record, program=program, start_s=START_S) as bench:
            figures.ready_s = time.monotonic() - began
            for protocol, arguments in PROTOCOLS.items():
                if not await _session(bench, arguments, seconds, figures):
                    continue
                about, lines = read(folder / "v2g", sessions(folder / "v2g")[-1])
                told = list(messages(about, lines, codec()))
                if not (answers := answers_s(told)[COLD:]):
                    continue
                figures.answers_s[protocol] = answers
                longest_s = max(answers_s(told, None))
                if longest_s > WAITS_S:
                    figures.late[protocol] = longest_s
                first = next(one.t for one in told if one.name in LOOP)
                figures.power_s[protocol] = first - float(about["sdp"][0]["t"])
    return figures


async def _session(bench: Stand, arguments: tuple[str, ...], seconds: float, figures: Figures) -> bool:
    """One with `seconds` of loop; begun anew when the car gives up before its end. False: it always did."""
    for _ in range(TRIES):
        bench.charger.phases.clear()
        bench.charger.cars.clear()
        bench.charger.ended.clear()
        ev = await bench.ev(*arguments, "--patience", str(PATIENCE))
        finish = asyncio.create_task(ev.finish(seconds + 180.0))
        while "transfer" not in bench.charger.phases and not finish.done():
            await asyncio.sleep(0.02)
        if not finish.done():
            await asyncio.sleep(seconds)
            await _enough(bench, finish)
            figures.memory_mb = max(figures.memory_mb, memory_mb(bench.secc.pid))
            with contextlib.suppress(ConnectionError):  # it has given up in the loop
                await ev.say(stop=True)
        report = await finish
        await asyncio.sleep(6.0)  # the package serves nobody for 5 s after a session, and its record is written
        if report["successful"]:
            return True
    return False


async def _enough(bench: Stand, finish: asyncio.Task[dict[str, Any]]) -> None:
    """Waits until there is something to judge, however slow the answers are."""
    until = time.monotonic() + ENOUGH_S
    while time.monotonic() < until and not finish.done():
        if len({car.t for car in bench.charger.cars if car.phase == "transfer"}) >= COLD + LEAST:
            return
        await asyncio.sleep(0.1)


def answers_s(told: list[Told], names: tuple[str, ...] | None = LOOP) -> list[float]:
    """From each request of the loop to its answer; names None: from every request."""
    return [
        answer.t - request.t
        for request, answer in itertools.pairwise(told)
        if request.sender == "car" and (names is None or request.name in names) and answer.sender == "charger"
    ]


def memory_mb(pid: int) -> float:
    """Resident memory of a process and of all below it."""
    total_kb = 0
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        try:
            status = Path(f"/proc/{one}/status").read_text()
            waiting += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
        except OSError:
            continue
        total_kb += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
    return total_kb / 1024.0
