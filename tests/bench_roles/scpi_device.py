"""Simulated SCPI instruments on a TCP port, as unkind as real ones.

They understand only the exact spellings of their table, put a refusal into an error queue that overflows, ignore a
set-point out of range, need time to settle, answer in fragments, measure nothing while the output is off, accept a
list only as long as it fits, play it only after INIT and a trigger, and forget everything at power-up. Time is the
test's: `advance`.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

NOT_A_NUMBER = "9.91E37"
QUEUE = 8
SETTLE_S = 0.04


@dataclass
class AcState:
    now: float = 0.0
    output: bool = False
    selected: int = 1
    coupled: bool = False
    v_v: list[float] = field(default_factory=lambda: [0.0] * 3)
    was_v: list[float] = field(default_factory=lambda: [0.0] * 3)
    f_hz: float = 50.0
    was_f: float = 50.0
    changed_s: float = -9.0
    i_max_a: float = 0.0
    dwell: list[float] = field(default_factory=list)
    list_f: list[float] = field(default_factory=list)
    slew_f: list[float] = field(default_factory=list)
    list_v: list[list[float]] = field(default_factory=lambda: [[], [], []])
    slew_v: list[list[float]] = field(default_factory=lambda: [[], [], []])
    list_mode: set[int] = field(default_factory=set)
    armed: bool = False
    fired_s: float | None = None


class Device:
    """A line-oriented TCP server in a thread; one client after another."""

    identity = "none"

    def __init__(self) -> None:
        self.errors: deque[str] = deque()
        self.log: list[str] = []
        self.mute = False  # takes commands and answers nothing
        self.now = 0.0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp:127.0.0.1:{self._server.getsockname()[1]}"
        self._client: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def hang_up(self) -> None:
        """The network cable is pulled."""
        if self._client is not None:
            self._client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        # A close alone leaves the port open for as long as the thread waits in accept() or recv().
        for end in (self._server, self._client):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        self._thread.join(2.0)

    def _serve(self) -> None:
        while True:
            try:
                self._client, _ = self._server.accept()
            except OSError:
                return
            self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pending = b""
            while True:
                try:
                    data = self._client.recv(4096)
                except OSError:
                    break
                if not data:
                    break
                pending += data
                while b"\n" in pending:
                    line, _, pending = pending.partition(b"\n")
                    self._line(line.decode())

    def _line(self, line: str) -> None:
        self.log.append(line)
        answers = []
        for part in line.split(";:"):
            answer = self._obey(part.strip())
            if answer is not None:
                answers.append(answer)
        if answers and not self.mute and self._client is not None:
            data = ";".join(answers).encode() + b"\r\n"
            for k in range(0, len(data), 3):  # in fragments, as over a slow terminal server
                self._client.sendall(data[k : k + 3])

    def _obey(self, part: str) -> str | None:
        if part == "SYST:ERR?":
            return self.errors.popleft() if self.errors else '+0,"No error"'
        if part == "*CLS":
            self.errors.clear()
            return None
        if part == "*IDN?":
            return self.identity
        for pattern, act in self.words().items():
            match = re.fullmatch(pattern, part)
            if match:
                return act(*match.groups())
        self.error(-113, "Undefined header")
        return None

    def words(self) -> dict[str, Callable[..., str | None]]:
        raise NotImplementedError

    def error(self, number: int, text: str) -> None:
        if len(self.errors) >= QUEUE:
            self.errors[-1] = '-350,"Queue overflow"'
        else:
            self.errors.append(f'{number},"{text}"')


_N = r"(-?[0-9.]+)"
_LIST = r"(-?[0-9.]+(?:,-?[0-9.]+)*)"


class AcSource(Device):
    identity = "ACME,AC SOURCE 30,SN 0815,1.02"

    def __init__(self) -> None:
        self.s = AcState()
        super().__init__()

    def words(self) -> dict[str, Callable[..., str | None]]:
        return {
            "ABOR": self._abort,
            "REG:STAT (ON|OFF)": lambda _: None,
            "INST:COUP (ALL|NONE)": self._couple,
            "INST:NSEL ([123])": self._select,
            "VOLT:RANG (150|300)": lambda _: None,
            f"CURR {_N}": self._current,
            f"VOLT {_N}": self._voltage,
            f"FREQ {_N}": self._frequency,
            "OUTP (ON|OFF)": self._output,
            r"OUTP\?": lambda: "1" if self.s.output else "0",
            "TRIG:TRAN:SOUR BUS": lambda: None,
            "LIST:STEP AUTO": lambda: None,
            "LIST:COUN 1": lambda: None,
            "FREQ:MODE LIST": lambda: None,
            "FREQ:SLEW:MODE LIST": lambda: None,
            "VOLT:MODE LIST": self._list_mode,
            "VOLT:SLEW:MODE LIST": lambda: None,
            f"LIST:DWEL {_LIST}": self._dwell,
            f"LIST:FREQ {_LIST}": lambda t: self._values("list_f", t, 45.0, 66.0),
            f"LIST:FREQ:SLEW {_LIST}": lambda t: self._values("slew_f", t, 0.001, 1000.0),
            f"LIST:VOLT {_LIST}": lambda t: self._phase_values(self.s.list_v, t, 0.0, 300.0),
            f"LIST:VOLT:SLEW {_LIST}": lambda t: self._phase_values(self.s.slew_v, t, 0.001, 200_000.0),
            "INIT": self._init,
            r"\*TRG": self._trigger,
            r"STAT:OPER:COND\?": lambda: str(32 if self.s.armed or self._running() else 0),
            r"MEAS:VOLT\?": lambda: self._measured(lambda: self._volts()[self.s.selected - 1]),
            r"MEAS:CURR\?": lambda: self._measured(lambda: 0.0),
            r"MEAS:POW\?": lambda: self._measured(lambda: 0.0),
            r"MEAS:FREQ\?": lambda: self._measured(self._hertz),
        }

    # ------------------------------------------------------------------------------------------------------ set-points
    def _in_range(self, text: str, low: float, high: float) -> float | None:
        value = float(text)
        if low <= value <= high:
            return value
        self.error(-222, "Data out of range")
        return None

    def _couple(self, which: str) -> None:
        self.s.coupled = which == "ALL"

    def _select(self, phase: str) -> None:
        self.s.selected = int(phase)

    def _current(self, text: str) -> None:
        value = self._in_range(text, 0.0, 100.0)
        if value is not None:
            self.s.i_max_a = value

    def _voltage(self, text: str) -> None:
        value = self._in_range(text, 0.0, 300.0)
        if value is None:
            return
        if self._running():
            self.error(-221, "Settings conflict")
            return
        self.s.was_v, self.s.was_f, self.s.changed_s = self._volts(), self._hertz(), self.now
        if self.s.coupled:
            self.s.v_v = [value] * 3
        else:
            self.s.v_v[self.s.selected - 1] = value

    def _frequency(self, text: str) -> None:
        value = self._in_range(text, 45.0, 66.0)
        if value is not None:
            self.s.was_v, self.s.was_f, self.s.changed_s = self._volts(), self._hertz(), self.now
            self.s.f_hz = value

    def _output(self, state: str) -> None:
        if state == "ON" and self.s.i_max_a <= 0.0:
            self.error(-221, "Settings conflict")  # a source without a current limit does not switch on
            return
        self.s.output = state == "ON"

    # ------------------------------------------------------------------------------------------------------------ list
    def _abort(self) -> None:
        s = self.s
        if self._running():
            s.v_v, s.f_hz, s.changed_s = self._volts(), self._hertz(), -9.0
        elif s.fired_s is not None:
            s.v_v, s.f_hz, s.changed_s = [c[-1] for c in s.list_v], s.list_f[-1], -9.0
        s.armed, s.fired_s, s.list_mode = False, None, set()

    def _list_mode(self) -> None:
        self.s.list_mode.add(self.s.selected)

    def _values(self, name: str, text: str, low: float, high: float) -> None:
        values = [float(x) for x in text.split(",")]
        if len(values) > 100:
            self.error(-223, "Too much data")
        elif not all(low <= x <= high for x in values):
            self.error(-222, "Data out of range")
        else:
            setattr(self.s, name, values)

    def _dwell(self, text: str) -> None:
        self._values("dwell", text, 0.001, 900_000.0)

    def _phase_values(self, columns: list[list[float]], text: str, low: float, high: float) -> None:
        values = [float(x) for x in text.split(",")]
        if len(values) > 100:
            self.error(-223, "Too much data")
        elif not all(low <= x <= high for x in values):
            self.error(-222, "Data out of range")
        else:
            columns[self.s.selected - 1] = values

    def _init(self) -> None:
        s = self.s
        lengths = {len(s.dwell), len(s.list_f), len(s.slew_f), *map(len, s.list_v), *map(len, s.slew_v)}
        if len(lengths) != 1 or 0 in lengths or s.list_mode != {1, 2, 3}:
            self.error(-226, "Lists not same length")
        elif s.armed or self._running():
            self.error(-213, "Init ignored")
        else:
            s.armed = True

    def _trigger(self) -> None:
        if not self.s.armed:
            self.error(-211, "Trigger ignored")
            return
        self.s.was_v, self.s.was_f = self._volts(), self._hertz()
        self.s.armed, self.s.fired_s = False, self.now

    def _running(self) -> bool:
        s = self.s
        return s.fired_s is not None and self.now - s.fired_s < sum(s.dwell) - 1e-9

    # ------------------------------------------------------------------------------------------------------- the output
    def _settling(self, was: float, to: float) -> float:
        x = min(1.0, max(0.0, (self.now - self.s.changed_s) / SETTLE_S))
        return was + x * (to - was)

    def _played(self, start: float, column: list[float], slews: list[float]) -> float:
        assert self.s.fired_s is not None
        left, value = self.now - self.s.fired_s, start
        for dwell, target, slew in zip(self.s.dwell, column, slews, strict=True):
            reach = slew * min(left, dwell)
            value = target if abs(target - value) <= reach else value + (reach if target > value else -reach)
            left -= dwell
            if left <= 0.0:
                break
        return value

    def _volts(self) -> list[float]:
        s = self.s
        if s.fired_s is not None:
            return [self._played(s.was_v[k], s.list_v[k], s.slew_v[k]) for k in range(3)]
        return [self._settling(a, b) for a, b in zip(s.was_v, s.v_v, strict=True)]

    def _hertz(self) -> float:
        s = self.s
        if s.fired_s is not None:
            return self._played(s.was_f, s.list_f, s.slew_f)
        return self._settling(s.was_f, s.f_hz)

    def _measured(self, value: Callable[[], float]) -> str:
        return f"{value():.5E}" if self.s.output else NOT_A_NUMBER


class DcSupply(Device):
    identity = "ACME,DC 500-80,SN 4711,2.0"

    def __init__(self) -> None:
        self.output, self.v_v, self.source_a, self.sink_a, self.locked = False, 0.0, 0.0, 0.0, False
        super().__init__()

    def words(self) -> dict[str, Callable[..., str | None]]:
        return {
            "SYST:LOCK ON": self._lock,
            "OUTP (ON|OFF)": self._output,
            r"OUTP\?": lambda: "1" if self.output else "0",
            f"VOLT {_N}": lambda t: self._set("v_v", t, 500.0),
            f"CURR {_N}": lambda t: self._set("source_a", t, 80.0),
            f"SINK:CURR {_N}": lambda t: self._set("sink_a", t, 80.0),
            r"MEAS:VOLT\?": lambda: f"{self.v_v if self.output else 0.0:.4f}",
            r"MEAS:CURR\?": lambda: "-12.5" if self.output else "0",  # it sinks: the battery is being charged
        }

    def _lock(self) -> None:
        self.locked = True

    def _output(self, state: str) -> None:
        if not self.locked:
            self.error(-203, "Command protected")
        else:
            self.output = state == "ON"

    def _set(self, name: str, text: str, high: float) -> None:
        if not self.locked:
            self.error(-203, "Command protected")
        elif not 0.0 <= float(text) <= high:
            self.error(-222, "Data out of range")
        else:
            setattr(self, name, float(text))
