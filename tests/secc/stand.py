"""A charger that is only a script, the real process `secc`, the rig's EV in a process of its own, and wires between.

As root: two network namespaces joined by a veth, link-local addresses and multicast, as with a real modem. Otherwise
the IPv6 loopback. Every wait is bounded, and nothing outlives the `async with`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from firmware.bridges.secc.messages import CarState, ChargerState, FromSecc, Lines, Ready, SessionEnded, encode
from tests.secc.environment import ROOT, SECC_PYTHON

START_S = 40.0  # two interpreters and the package's imports on a machine with other work
SESSION_S = 60.0
SECC = ROOT / "firmware/bridges/secc/__main__.py"
_numbers = itertools.count()


@dataclass(frozen=True)
class Wires:
    """Command prefixes and interfaces of both ends."""

    secc: tuple[str, ...] = ()
    ev: tuple[str, ...] = ()
    secc_interface: str = "lo"
    ev_interface: str = "lo"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@contextlib.contextmanager
def loopback() -> Iterator[Wires]:
    """The loopback; as root that of a namespace of its own, for port 15118 is one."""
    if os.geteuid() != 0:
        yield Wires()
        return
    name = f"qlo{os.getpid()}x{next(_numbers)}"
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        inside = ("ip", "netns", "exec", name)
        yield Wires(inside, inside)
    finally:
        _ip("netns", "del", name)


@contextlib.contextmanager
def modem() -> Iterator[Wires]:
    """Two namespaces joined by a veth. Needs root."""
    tag = f"{os.getpid()}x{next(_numbers)}"
    a, b = f"qs{tag}", f"qe{tag}"
    _ip("netns", "add", a)
    try:
        _ip("netns", "add", b)
        try:
            _ip("link", "add", "v2gs", "netns", a, "type", "veth", "peer", "name", "v2ge", "netns", b)
            for name, interface in ((a, "v2gs"), (b, "v2ge")):
                sysctl = f"/proc/sys/net/ipv6/conf/{interface}/accept_dad"
                subprocess.run(["ip", "netns", "exec", name, "sh", "-c", f"echo 0 > {sysctl}"], check=True, timeout=20)
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "link", "set", interface, "up")
            yield Wires(("ip", "netns", "exec", a), ("ip", "netns", "exec", b), "v2gs", "v2ge")
        finally:
            _ip("netns", "del", b)
    finally:
        _ip("netns", "del", a)


async def end(process: asyncio.subprocess.Process) -> None:
    """Ends this process only: first kindly."""
    for push in (process.terminate, process.kill):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            push()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 5.0)


SetPoint = Callable[[float, CarState], float]  # (seconds in transfer, the car) -> amperes


@dataclass
class Script:
    """What the charger does; `amps` inside the car's limits is the test's business."""

    amps: SetPoint = lambda t, car: 10.0
    insulation_s: float = 0.3
    ramp_v_per_s: float = 2000.0
    rated: dict[str, float] = field(
        default_factory=lambda: {
            "rated_charge_a": 73.3,
            "rated_charge_w": 22_000.0,
            "rated_discharge_a": 73.3,
            "rated_discharge_w": 22_000.0,
        }
    )


class ScriptedCharger:
    """Services' end of the socket. `cars`: every CarState that came, `ended`: every session's end."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.state = ChargerState(
            max_v=1000.0,
            min_v=150.0,
            charge_max_a=73.3,
            charge_max_w=22_000.0,
            discharge_max_a=73.3,
            discharge_max_w=22_000.0,
            plugged=True,
            authorization="accepted",
            ready=True,
            stop=False,
            **script.rated,
        )
        self.cars: list[CarState] = []
        self.ended: list[SessionEnded] = []
        self.phases: list[str] = []
        self.ready = asyncio.Event()
        self.silent = False  # services hang: they send nothing any more
        self.bad = 0
        self._since: dict[str, float] = {}
        self._writer: asyncio.StreamWriter | None = None

    @property
    def car(self) -> CarState | None:
        return self.cars[-1] if self.cars else None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        lines = Lines(FromSecc)
        send = asyncio.create_task(self._send())
        try:
            while chunk := await reader.read(65536):
                for message in lines.feed(chunk):
                    self._take(message)
                self.bad = lines.bad
        except OSError:
            pass
        finally:
            send.cancel()
            writer.close()

    def _take(self, message: object) -> None:
        if isinstance(message, CarState):
            self.cars.append(message)
            if not self.phases or self.phases[-1] != message.phase:
                self.phases.append(message.phase)
                self._since[message.phase] = time.monotonic()
                self._advance()
        elif isinstance(message, SessionEnded):
            self.ended.append(message)
        elif isinstance(message, Ready):
            self.ready.set()

    def set(self, **values: Any) -> None:
        self.state = msgspec.structs.replace(self.state, **values)

    async def _send(self) -> None:
        while True:
            self._advance()
            if self._writer is not None and not self.silent:
                self._writer.write(encode(self.state))
            await asyncio.sleep(0.02)

    def _advance(self) -> None:
        car = self.car
        if car is None:
            return
        elapsed = time.monotonic() - self._since.get(car.phase, time.monotonic())
        if car.phase in ("none", "wait"):
            self.set(cable_check="idle", present_v=0.0, present_a=0.0, contactors="open", state_c=False)
        elif car.phase == "insulation":
            passed = elapsed >= self.script.insulation_s
            self.set(cable_check="passed" if passed else "running", contactors="closed", state_c=True)
        elif car.phase == "precharge":
            volts = min(car.target_v or 0.0, elapsed * self.script.ramp_v_per_s)
            self.set(present_v=volts, present_a=0.0)
        elif car.phase == "transfer":
            amps = 0.0 if self.state.stop else self.script.amps(elapsed, car)
            self.set(present_a=amps)
        else:
            self.set(present_a=0.0, contactors="closed" if elapsed < 0.2 else "open", present_v=0.0)


@dataclass
class Ev:
    """The rig's EV; `lines`: what it said."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return bool(self.lines) and self.lines[-1].get("event") == "end"

    async def say(self, **wish: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(wish).encode() + b"\n")
        await self.process.stdin.drain()

    async def finish(self, timeout_s: float = SESSION_S) -> dict[str, Any]:
        """What it said at its end."""
        assert self.process.stdout is not None
        async with asyncio.timeout(timeout_s):
            while line := await self.process.stdout.readline():
                with contextlib.suppress(ValueError):
                    self.lines.append(json.loads(line))
                    if self.lines[-1].get("event") == "end":
                        return self.lines[-1]
        raise AssertionError(f"The EV ended without a word; it said {self.lines}")


@dataclass
class Stand:
    charger: ScriptedCharger
    secc: asyncio.subprocess.Process
    wires: Wires
    errors: Path
    _evs: list[Ev] = field(default_factory=list)

    async def ev(self, *arguments: str) -> Ev:
        process = await asyncio.create_subprocess_exec(
            *self.wires.ev,
            str(SECC_PYTHON),
            "-P",
            str(ROOT / "hil/ev/__main__.py"),
            *("--interface", self.wires.ev_interface),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self.errors.with_name("ev.err").open("ab"),
        )
        self._evs.append(Ev(process))
        return self._evs[-1]

    async def until(self, wanted: Callable[[], bool], what: str, timeout_s: float = SESSION_S) -> None:
        """Wait for something; a timeout tells what for and how far it came."""
        until = time.monotonic() + timeout_s
        while not wanted():
            dead = [process.pid for process in self._processes() if process.returncode is not None]
            if time.monotonic() > until or dead:
                words = self.errors.read_text()[-2000:]
                raise AssertionError(
                    f"no {what} within {timeout_s:g} s; ended: {dead}; phases {self.charger.phases}; secc: {words}"
                )
            await asyncio.sleep(0.01)

    def _processes(self) -> list[asyncio.subprocess.Process]:
        """Those that must live. A car that has said its last word may go."""
        return [self.secc, *(ev.process for ev in self._evs[-1:] if not ev.ended)]

    async def phase(self, phase: str) -> None:
        await self.until(lambda: phase in self.charger.phases, f"phase {phase}")


@contextlib.asynccontextmanager
async def stand(
    folder: Path, wires: Wires, script: Script, *arguments: str, program: Path = SECC, start_s: float = START_S
) -> AsyncIterator[Stand]:
    """A SECC that is ready for a car, within `start_s`. program: what runs as `secc`."""
    charger = ScriptedCharger(script)
    path = folder / "secc.sock"
    errors = folder / "secc.err"
    server = await asyncio.start_unix_server(charger.serve, path)
    with errors.open("ab") as words:
        secc = await asyncio.create_subprocess_exec(
            *wires.secc,
            str(SECC_PYTHON),
            "-P",
            str(program),
            *("--socket", str(path), "--interface", wires.secc_interface, "--cache", str(folder)),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=words,
        )
    bench = Stand(charger, secc, wires, errors)
    try:
        ready = asyncio.create_task(charger.ready.wait())
        ended = asyncio.create_task(secc.wait())
        await asyncio.wait((ready, ended), timeout=start_s, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        ended.cancel()
        assert charger.ready.is_set(), f"secc is not ready: {errors.read_text()[-2000:]}"
        yield bench
    finally:
        for ev in bench._evs:
            await end(ev.process)
        await end(secc)
        server.close()
