"""A SCPI AC source as GridEmulator, its battery's counterpart as EvEmulator. Commands come from the tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from hil.bench.profile import (
    Compiled,
    GridCaps,
    GridPoint,
    ProfileError,
    Segment,
    check_point,
    compile_profile,
)
from hil.bench.roles import BenchError, EvCaps, GridReading
from hil.bench.scpi import Instrument, Line

READ_BACK = 0.02  # a set-point must read back within 2 % of range after the settling time


class ScpiGrid:
    """`i_max_a`: current limit that is set before the output may go on. `wait` is for the settling time."""

    def __init__(
        self, address: str, table: Instrument, i_max_a: float, wait: Callable[[float], None] = time.sleep
    ) -> None:
        self.caps = GridCaps(**table.caps)
        self.table = table
        self._line = Line("grid", address, table)
        self._wait = wait
        self._at = GridPoint((0.0, 0.0, 0.0), self.caps.f_range_hz[0])
        self._loaded: Compiled | None = None
        self._armed = False
        c = table.commands
        self._line.tell(c["clear"])
        self.identity = self._line.ask(c["identify"])
        self._line.tell(c["output_off"])  # whatever it was doing
        for command in table.prepare:
            self._line.tell(command)
        self._line.tell(c["limit_current"].format(i_a=i_max_a))

    def output(self, on: bool) -> None:
        c = self.table.commands
        self.abort()
        self._line.tell(c["output_on" if on else "output_off"])
        self._wait(self.table.settle_s)
        state = self._line.ask(c["output_state"]).upper()
        if (state in ("1", "ON")) is not on:
            raise BenchError(f"grid: the output was switched {'on' if on else 'off'} and says {state!r}")

    def steady(self, point: GridPoint) -> None:
        try:
            check_point(point, self.caps)
        except ProfileError as error:
            raise BenchError(f"grid: {error}") from None
        self.abort()
        c = self.table.commands
        self._line.tell(c["frequency"].format(f_hz=point.f_hz))
        for phase, v_v in enumerate(point.v_v, 1):
            self._line.tell(c["voltage"].format(phase=phase, v_v=v_v))
        self._at = point
        self._wait(self.table.settle_s)

    def load(self, profile: Sequence[Segment]) -> Compiled:
        self.abort()
        try:
            compiled = compile_profile(profile, self.caps, self._at)
        except ProfileError as error:
            raise BenchError(f"grid: {error}") from None
        self._send(compiled)
        self._loaded = compiled
        return compiled

    def _send(self, compiled: Compiled) -> None:
        """The list: values, dwell times and the slew rates that make a move take its time."""
        c, tell, points = self.table.commands, self._line.tell, compiled.points

        def joined(values: Sequence[float], digits: int) -> str:
            return ",".join(f"{value:.{digits}f}" for value in values)

        for command in self.table.list_begin:
            tell(command)
        for phase in (1, 2, 3):
            tell(c["list_phase"].format(phase=phase))
        tell(c["list_dwell"].format(values=joined([p.dt_s for p in points], 3)))
        tell(c["list_frequency"].format(values=joined([p.f_hz for p in points], 3)))
        was_f = [compiled.start.f_hz, *(p.f_hz for p in points)]
        f_slews = [
            self._slew(abs(p.f_hz - f), p.move_s, self.caps.f_slew_hz_s) for f, p in zip(was_f, points, strict=False)
        ]
        tell(c["list_frequency_slew"].format(values=joined(f_slews, 3)))
        for k in range(3):
            was_v = [compiled.start.v_v[k], *(p.v_v[k] for p in points)]
            slews = [
                self._slew(abs(p.v_v[k] - v), p.move_s, self.caps.v_slew_v_s)
                for v, p in zip(was_v, points, strict=False)
            ]
            tell(c["list_voltage"].format(phase=k + 1, values=joined([p.v_v[k] for p in points], 3)))
            tell(c["list_voltage_slew"].format(phase=k + 1, values=joined(slews, 3)))

    @staticmethod
    def _slew(distance: float, move_s: float, fastest: float) -> float:
        return fastest if move_s <= 0.0 or distance <= 0.0 else min(fastest, distance / move_s)

    def arm(self) -> None:
        if self._loaded is None:
            raise BenchError("grid: there is no profile to arm; load one first")
        self._line.tell(self.table.commands["arm"])
        self._armed = True

    def fire(self) -> None:
        if not self._armed or self._loaded is None:
            raise BenchError("grid: the profile is not armed")
        self._line.tell(self.table.commands["fire"])
        end = self._loaded.points[-1]
        self._at = GridPoint(end.v_v, end.f_hz)
        self._loaded, self._armed = None, False

    def abort(self) -> None:
        self._loaded, self._armed = None, False
        self._line.tell(self.table.commands["abort"])

    def playing(self) -> bool:
        state = self._line.number(self.table.commands["running"])
        return bool(int(state) & self.table.running_mask) and not self._armed

    def read(self) -> GridReading:
        c, number = self.table.commands, self._line.number
        v, i, p = (
            [number(c[f"measure_{what}"].format(phase=phase)) for phase in (1, 2, 3)]
            for what in ("voltage", "current", "power")
        )
        return GridReading((v[0], v[1], v[2]), number(c["measure_frequency"]), (i[0], i[1], i[2]), sum(p))

    def off(self) -> None:
        self.output(False)

    def close(self) -> None:
        self._line.close()


class ScpiDc:
    """A bidirectional DC supply that plays the battery. It speaks no charging protocol: who plugs in is a person or
    another device."""

    def __init__(self, address: str, table: Instrument, wait: Callable[[float], None] = time.sleep) -> None:
        caps = table.caps
        self.caps = EvCaps(caps["v_max_v"], caps["i_max_a"], caps["p_max_w"], protocol=False)
        self.table = table
        self._line = Line("ev", address, table)
        self._wait = wait
        self._line.tell(table.commands["clear"])
        self.identity = self._line.ask(table.commands["identify"])
        for command in table.prepare:  # such supplies take no command before the host has locked them
            self._line.tell(command)
        self._line.tell(table.commands["output_off"])

    def plug_in(self) -> None:
        """The battery's terminals become live."""
        self._switch(True)

    def unplug(self) -> None:
        self._switch(False)

    def _switch(self, on: bool) -> None:
        c = self.table.commands
        self._line.tell(c["output_on" if on else "output_off"])
        self._wait(self.table.settle_s)
        state = self._line.ask(c["output_state"]).upper()
        if (state in ("1", "ON")) is not on:
            raise BenchError(f"ev: the output was switched {'on' if on else 'off'} and says {state!r}")

    def say(self, command: dict[str, Any]) -> None:
        """voltage_v, limits: [charge A, discharge A]. All is checked before anything is sent."""
        lines = []
        for name, value in command.items():
            if name == "voltage_v" and self._good(value, self.caps.v_max_v):
                lines.append(self.table.commands["voltage"].format(v_v=value))
            elif name == "limits" and isinstance(value, list) and len(value) == 2:
                if not all(self._good(a, self.caps.i_max_a) for a in value):
                    raise BenchError(f"ev: limits {value}: 0 to {self.caps.i_max_a:g} A are possible")
                # The battery sinks what charges it.
                lines.append(self.table.commands["current_sink"].format(i_a=value[0]))
                lines.append(self.table.commands["current_source"].format(i_a=value[1]))
            else:
                raise BenchError(
                    f"ev: a DC supply cannot do {name} = {value!r}; it can do voltage_v (0 to {self.caps.v_max_v:g}) "
                    "and limits"
                )
        for line in lines:
            self._line.tell(line)

    @staticmethod
    def _good(value: object, high: float) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value <= high

    def soc(self) -> float:
        raise BenchError("ev: a DC supply has no state of charge")

    def read(self) -> tuple[float, float]:
        """Volts and amperes at its terminals; + into the battery."""
        c = self.table.commands
        return self._line.number(c["measure_voltage"]), -self._line.number(c["measure_current"])

    def off(self) -> None:
        self._switch(False)

    def close(self) -> None:
        self._line.close()
