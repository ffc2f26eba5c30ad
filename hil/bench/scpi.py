"""SCPI instruments: the line protocol, the error queue, and the command tables that name each maker's spellings.

After every command the instrument's error queue is read; an error there is an exception here, so that a set-point
that was refused is never taken for one that is in force. A connection that broke stays broken until it is opened anew:
nothing is answered from memory.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from hil.bench.config import parse_address
from hil.bench.roles import BenchError
from hil.bench.strict import Table, TableError, read_toml

MAX_ERRORS = 20  # errors read out of one queue; a device that never says "no error" is broken
MAX_LINE_BYTES = 1_000_000

AC_COMMANDS = (
    "identify", "clear", "error", "limit_current", "output_on", "output_off", "output_state", "frequency", "voltage",
    "abort", "list_phase", "list_dwell", "list_frequency", "list_frequency_slew", "list_voltage",
    "list_voltage_slew", "arm", "fire", "running", "measure_voltage", "measure_current", "measure_frequency",
    "measure_power",
)  # fmt: skip
DC_COMMANDS = (
    "identify", "clear", "error", "output_on", "output_off", "output_state", "voltage", "current_source",
    "current_sink", "measure_voltage", "measure_current",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Instrument:
    """A command table: what an instrument can do, and how it wants to be told."""

    title: str
    kind: str
    verified: str
    caps: Mapping[str, Any]
    commands: Mapping[str, str]
    prepare: tuple[str, ...]
    list_begin: tuple[str, ...]
    running_mask: int
    settle_s: float
    timeout_s: float


def instrument(name: str, kind: str) -> Instrument:
    """The table of that name (hil/bench/instruments) or file. Raises TableError."""
    path = Path(name)
    if path.suffix != ".toml":
        path = Path(str(files("hil") / "bench" / "instruments" / f"{name}.toml"))
        if not path.is_file():
            known = ", ".join(sorted(entry.stem for entry in path.parent.glob("*.toml")))
            raise TableError(f"there is no command table {name!r}; there are {known}, or name a .toml file")
    root = Table(str(path), read_toml(path))
    about, timing, words = root.table("instrument"), root.table("timing"), root.table("commands")
    ac = kind == "ac_source"
    commands = {word: words.text(word) for word in (AC_COMMANDS if ac else DC_COMMANDS)}
    table = Instrument(
        title=about.text("title"),
        kind=about.text("kind", choices=(kind,)),
        verified=about.text("verified"),
        caps=_ac_caps(root.table("caps")) if ac else _dc_caps(root.table("caps")),
        commands=commands,
        prepare=words.texts("prepare", ()),
        list_begin=words.texts("list_begin", ()) if ac else (),
        running_mask=words.whole("running_mask", 1, 0xFFFF) if ac else 0,
        settle_s=timing.number("settle_s", 0.0, 10.0, unit="s"),
        timeout_s=timing.number("timeout_s", 0.1, 60.0, unit="s"),
    )
    for part in (about, timing, words):
        part.done(None)
    return root.done(table)


def _ac_caps(t: Table) -> dict[str, Any]:
    caps = {
        name: t.number(name, low, high)
        for name, low, high in (
            ("v_max_v", 1.0, 1000.0), ("v_slew_v_s", 1.0, 1e7), ("f_slew_hz_s", 0.01, 1e6), ("v_step_v", 1e-4, 10.0),
            ("f_step_hz", 1e-5, 1.0), ("t_step_s", 1e-6, 1.0), ("t_min_s", 1e-6, 10.0),
        )
    }  # fmt: skip
    caps["f_range_hz"] = t.numbers("f_range_hz", 2)
    caps["points_max"] = t.whole("points_max", 1, 1_000_000)
    for name in ("per_phase", "phase_jump", "ramps"):
        caps[name] = t.flag(name)
    return t.done(caps)


def _dc_caps(t: Table) -> dict[str, Any]:
    limits = (("v_max_v", 1500.0), ("i_max_a", 2000.0), ("p_max_w", 1e6))
    return t.done({name: t.number(name, 0.1, high) for name, high in limits})


class Line:
    """One TCP connection to an instrument, lines ending in a newline both ways."""

    def __init__(self, name: str, address: str, table: Instrument) -> None:
        """Connects. Raises BenchError when nobody is there."""
        self.name, self.table = name, table
        self._pending = b""
        self._broken = ""
        host, port = parse_address(address)
        try:
            self._socket = socket.create_connection((host, port), timeout=table.timeout_s)
            # A command and the question for its errors are two small packets: the second would wait for the first
            # one's acknowledgement, 40 ms each time.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise BenchError(f"{name}: no instrument at {address}: {error.strerror or error}") from None

    def close(self) -> None:
        self._socket.close()

    def _fail(self, what: str) -> BenchError:
        # What is still under way would be taken for the answer to the next question.
        self._broken = what
        self._socket.close()
        return BenchError(f"{self.name}: {what}")

    def _write(self, text: str) -> None:
        if self._broken:
            raise BenchError(f"{self.name}: the connection is lost ({self._broken}); open the bench again")
        try:
            self._socket.sendall(text.encode("ascii") + b"\n")
        except (OSError, UnicodeEncodeError) as error:
            raise self._fail(f"cannot send {text!r}: {error}") from None

    def _read(self, question: str) -> str:
        while b"\n" not in self._pending:
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                raise self._fail(f"no answer to {question!r} within {self.table.timeout_s:g} s") from None
            except OSError as error:
                raise self._fail(f"no answer to {question!r}: {error}") from None
            if not data:
                raise self._fail(f"the instrument closed the connection at {question!r}")
            self._pending += data
            if len(self._pending) > MAX_LINE_BYTES:
                raise self._fail(f"the answer to {question!r} has no end")
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode("ascii", "replace").strip()

    def ask(self, question: str) -> str:
        """One question, one line, and no error in the queue afterwards."""
        self._write(question)
        answer = self._read(question)
        self._check(question)
        return answer

    def number(self, question: str) -> float:
        answer = self.ask(question)
        try:
            value = float(answer)
        except ValueError:
            raise BenchError(f"{self.name}: {question!r} was answered with {answer!r}, which is no number") from None
        if not abs(value) < 9e37:  # SCPI's 9.9E37 and 9.91E37: overflow and not a number
            raise BenchError(f"{self.name}: {question!r} was answered with {answer!r}: no measurement")
        return value

    def tell(self, command: str) -> None:
        """A command; raises BenchError with the instrument's own words when it was refused."""
        self._write(command)
        self._check(command)

    def _check(self, command: str) -> None:
        found = []
        for _ in range(MAX_ERRORS):
            self._write(self.table.commands["error"])
            answer = self._read(self.table.commands["error"])
            code = answer.partition(",")[0].strip()
            if code.lstrip("+-") == "0":
                break
            found.append(answer)
        if found:
            raise BenchError(f"{self.name}: {command!r} was refused: {'; '.join(found)}")
