"""Roles played by a person: the bench says what to do and waits until it was done. For a rig without a relay box, an
island load or a car emulator, so that a small laboratory can run the same scenarios.

A person's moments are not exact; the instant of an event comes from the recording in any case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from hil.bench.profile import Compiled, GridCaps, GridPoint, ProfileError, Segment, check_point
from hil.bench.roles import BenchError, EvCaps, GridReading, LoadCaps

Ask = Callable[[str], str]


class Operator:
    """Asks a person. `ask` shows a sentence and returns what was typed."""

    def __init__(self, ask: Ask = input) -> None:
        self._ask = ask

    def do(self, what: str) -> None:
        """Raises BenchError when the answer is not yes."""
        try:
            answer = self._ask(f"{what} Done? [y/n] ")
        except EOFError:
            raise BenchError(f"operator: nobody is there to do this: {what}") from None
        if answer.strip().lower() not in ("y", "yes"):
            raise BenchError(f"operator: this was not done: {what}")

    def value(self, what: str, unit: str) -> float:
        """A number that the person reads; asked again once when it is none."""
        for _ in range(2):
            try:
                answer = self._ask(f"{what} [{unit}] ")
            except EOFError:
                break
            try:
                return float(answer.strip().replace(",", "."))
            except ValueError:
                continue
        raise BenchError(f"operator: no reading for: {what}")


class ManualGrid:
    """A source with a front panel: it can stand somewhere, it cannot play a profile."""

    def __init__(self, operator: Operator, caps: GridCaps) -> None:
        self.caps = caps
        self._operator = operator

    def output(self, on: bool) -> None:
        self._operator.do(f"Switch the output of the AC source {'on' if on else 'off'}.")

    def steady(self, point: GridPoint) -> None:
        try:
            check_point(point, self.caps)
        except ProfileError as error:
            raise BenchError(f"grid: {error}") from None
        a, b, c = point.v_v
        self._operator.do(f"Set the AC source to {a:g}, {b:g}, {c:g} V (phase to neutral) and {point.f_hz:g} Hz.")

    def load(self, profile: Sequence[Segment]) -> Compiled:
        raise BenchError("grid: a source that is set by hand plays no profile; this needs a source with a list mode")

    def arm(self) -> None:
        raise BenchError("grid: there is no profile to arm; a source that is set by hand plays none")

    def fire(self) -> None:
        raise BenchError("grid: the profile is not armed; a source that is set by hand plays none")

    def abort(self) -> None:
        """Nothing plays."""

    def playing(self) -> bool:
        return False

    def read(self) -> GridReading:
        value = self._operator.value
        v = [value(f"Voltage of phase {phase} at the AC source?", "V") for phase in "abc"]
        return GridReading((v[0], v[1], v[2]), value("Frequency?", "Hz"))

    def off(self) -> None:
        self.output(False)


class ManualLoad:
    def __init__(self, operator: Operator, caps: LoadCaps | None = None) -> None:
        self.caps = caps or LoadCaps(p_max_w=25_000.0, qf_max=2.5)
        self._operator = operator

    def tune(
        self, p_w: float, qf: float, v_v: float, f_hz: float, dp: float = 0.0, dc: float = 0.0, q_var: float = 0.0
    ) -> None:
        w = p_w * (1.0 + dp)
        if not (0.0 < w <= self.caps.p_max_w and 0.0 < qf <= self.caps.qf_max):
            raise BenchError(
                f"load: {w:g} W at {qf:g}; up to {self.caps.p_max_w:g} W and {self.caps.qf_max:g} are possible"
            )
        mean, more = math.hypot(0.5 * q_var, p_w * qf), 0.5 * q_var  # as hil.plant.ac.IslandLoad.tuned
        self._operator.do(
            f"At {v_v:g} V and {f_hz:g} Hz set the load to {w:.0f} W, {mean - more:.0f} var inductive and "
            f"{(mean + more) * (1.0 + dc):.0f} var capacitive."
        )

    def open_switch(self) -> None:
        self._operator.do("Open the island switch S3.")

    def close_switch(self) -> None:
        self._operator.do("Close the island switch S3.")

    def off(self) -> None:
        self._operator.do("Switch the island load off and close the switch S3.")


class ManualEv:
    """A real car and a person."""

    def __init__(self, operator: Operator, caps: EvCaps | None = None) -> None:
        self.caps = caps or EvCaps(v_max_v=500.0, i_max_a=80.0, p_max_w=30_000.0, protocol=True)
        self._operator = operator

    def plug_in(self) -> None:
        self._operator.do("Plug the car in.")

    def unplug(self) -> None:
        self._operator.do("Unplug the car.")

    def say(self, command: dict[str, Any]) -> None:
        told = ", ".join(f"{name} = {value}" for name, value in command.items())
        self._operator.do(f"Make the car do this: {told}.")

    def soc(self) -> float:
        percent = self._operator.value("State of charge of the car?", "%")
        if not 0.0 <= percent <= 100.0:
            raise BenchError(f"ev: {percent:g} % is no state of charge")
        return percent / 100.0

    def off(self) -> None:
        self.unplug()


class ManualFaults:
    catalogue = ("plant.estop", "plant.leak_ohm", "converter.mute", "pilot.mute", "insulation.supply")

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self.inserted: dict[str, Any] = {}

    def insert(self, name: str, value: Any = True) -> None:
        if name not in self.catalogue:
            raise BenchError(f"fault box: by hand there is no {name!r}; there are {', '.join(self.catalogue)}")
        self._operator.do(f"Make this fault: {name} = {value}.")
        self.inserted[name] = value

    def clear(self) -> None:
        if self.inserted:
            self._operator.do(f"Mend all faults: {', '.join(self.inserted)}.")
            self.inserted.clear()
