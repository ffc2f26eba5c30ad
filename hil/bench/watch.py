"""What stands between a test and the drivers of a rig: the rig's own limits, and a watchdog on the host.

The limits are those of the room, the cables and the people (`[limits]` in bench.toml), not of an instrument. They are
checked before any driver is asked. The watchdog switches every output off when the host has said nothing for a while:
a test that hangs must not leave a live grid behind. When the whole process dies, only what the instruments do by
themselves remains; docs/bench.md says so.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from hil.bench.config import RigLimits
from hil.bench.profile import Compiled, GridCaps, GridPoint, Segment, three
from hil.bench.roles import BenchError, EvCaps, EvEmulator, GridEmulator, GridReading


class Watchdog:
    """Pure part: whether the host has been silent for too long. `expired` stays true until `rearm`."""

    def __init__(self, silence_s: float, off: Sequence[Callable[[], None]]) -> None:
        self.silence_s = silence_s
        self.expired = False
        self._off = tuple(off)
        self._heard_s: float | None = None
        self.failures: list[str] = []

    def kick(self, now: float) -> None:
        """The host said something. Raises BenchError when that comes too late."""
        if self.expired:
            raise BenchError(
                f"bench: the host was silent for more than {self.silence_s:g} s and everything was switched off"
            )
        self._heard_s = now

    def poll(self, now: float) -> bool:
        """Switch everything off when the silence is too long. An output that refuses does not save the others."""
        if self.expired or self._heard_s is None or now - self._heard_s <= self.silence_s:
            return self.expired
        self.expired = True
        for off in self._off:
            try:
                off()
            except Exception as error:  # whatever it is, the next output must go off too
                self.failures.append(f"{type(error).__name__}: {error}")
        return True

    def rearm(self) -> None:
        self.expired, self._heard_s = False, None


class WatchdogThread:
    """Polls a watchdog in real time. A lock keeps it from talking to an instrument in the middle of another's line."""

    def __init__(self, watchdog: Watchdog, lock: threading.RLock) -> None:
        self._watchdog, self._lock = watchdog, lock
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bench watchdog", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(min(0.2, self._watchdog.silence_s / 4.0)):
            with self._lock:
                self._watchdog.poll(time.monotonic())

    def close(self) -> None:
        self._end.set()
        self._thread.join(5.0)


class LimitedGrid:
    """A GridEmulator behind the rig's limits. Every call feeds the watchdog."""

    def __init__(
        self,
        grid: GridEmulator,
        limits: RigLimits,
        alive: Callable[[], None] = lambda: None,
        lock: threading.RLock | None = None,
    ) -> None:
        self._grid, self._limits, self._alive = grid, limits, alive
        self._lock = lock or threading.RLock()

    @property
    def caps(self) -> GridCaps:
        return self._grid.caps

    def _check(self, v_v: Sequence[float], f_hz: float | None, where: str) -> None:
        limits = self._limits
        if max(v_v) > limits.v_max_v:
            raise BenchError(f"rig limit: {where}: {max(v_v):g} V is asked for; this rig takes {limits.v_max_v:g} V")
        low, high = limits.f_range_hz
        if f_hz is not None and not low <= f_hz <= high:
            raise BenchError(f"rig limit: {where}: {f_hz:g} Hz is asked for; this rig takes {low:g} to {high:g} Hz")

    def _say(self, call: Callable[[], Any]) -> Any:
        with self._lock:
            self._alive()
            return call()

    def output(self, on: bool) -> None:
        self._say(lambda: self._grid.output(on))

    def steady(self, point: GridPoint) -> None:
        self._check(point.v_v, point.f_hz, "steady")
        self._say(lambda: self._grid.steady(point))

    def load(self, profile: Sequence[Segment]) -> Compiled:
        for n, segment in enumerate(profile, 1):
            self._check(three(segment.v_v) if segment.v_v is not None else (0.0,), segment.f_hz, f"segment {n}")
        compiled: Compiled = self._say(lambda: self._grid.load(profile))
        return compiled

    def arm(self) -> None:
        self._say(self._grid.arm)

    def fire(self) -> None:
        self._say(self._grid.fire)

    def abort(self) -> None:
        self._say(self._grid.abort)

    def playing(self) -> bool:
        return bool(self._say(self._grid.playing))

    def read(self) -> GridReading:
        """Reads, and switches off when the reading is above the rig's current or power."""
        reading: GridReading = self._say(self._grid.read)
        limits = self._limits
        too_much = ""
        if reading.i_a is not None and max(reading.i_a) > limits.i_max_a:
            too_much = f"{max(reading.i_a):g} A flow; this rig takes {limits.i_max_a:g} A"
        elif reading.p_w is not None and abs(reading.p_w) > limits.p_max_w:
            too_much = f"{reading.p_w:g} W flow; this rig takes {limits.p_max_w:g} W"
        if too_much:
            self.off()
            raise BenchError(f"rig limit: {too_much}; the grid is off")
        return reading

    def off(self) -> None:
        """Always possible, also after the watchdog."""
        with self._lock:
            self._grid.off()


class LimitedEv:
    """An EvEmulator behind the rig's DC limits."""

    def __init__(
        self,
        ev: EvEmulator,
        limits: RigLimits,
        alive: Callable[[], None] = lambda: None,
        lock: threading.RLock | None = None,
    ) -> None:
        self._ev, self._limits, self._alive = ev, limits, alive
        self._lock = lock or threading.RLock()

    @property
    def caps(self) -> EvCaps:
        return self._ev.caps

    def plug_in(self) -> None:
        with self._lock:
            self._alive()
            self._ev.plug_in()

    def unplug(self) -> None:
        with self._lock:
            self._alive()
            self._ev.unplug()

    def say(self, command: dict[str, Any]) -> None:
        limits = self._limits
        for name in ("voltage_v", "v_max_v"):
            value = command.get(name)
            if isinstance(value, int | float) and value > limits.dc_v_max_v:
                raise BenchError(f"rig limit: {name} = {value:g}; this rig takes {limits.dc_v_max_v:g} V DC")
        amps = command.get("limits")
        if isinstance(amps, list):
            with contextlib.suppress(TypeError):  # no numbers: the driver has the sentence for that
                if max(amps) > limits.dc_i_max_a:
                    raise BenchError(f"rig limit: limits = {amps}; this rig takes {limits.dc_i_max_a:g} A DC")
        with self._lock:
            self._alive()
            self._ev.say(command)

    def soc(self) -> float:
        with self._lock:
            self._alive()
            return self._ev.soc()

    def off(self) -> None:
        with self._lock:
            self._ev.off()
