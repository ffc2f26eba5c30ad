"""The roles of a bench. A test knows these and nothing behind them; `bench.toml` says which driver plays which role.

Every driver declares what it can do in a record (`caps`) and refuses the rest with a BenchError, whose text is a
sentence; what was refused has changed nothing. Signs as everywhere: + charges the car. Volts are RMS phase to neutral.

Numbered obligations of every driver (tests/bench_roles holds them against each of them):

1. What lies outside of `caps` is refused, and nothing has changed.
2. `off` makes the output dead and needs no other call before it; calling it twice is no error.
3. A driver that loses its instrument says so at the next call; it does not report old values.
4. A profile plays only between `load`, `arm` and `fire`, in this order; `abort` ends it from anywhere.
5. Nothing moves before `fire`. The instant of the event is read from the recording, never from the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hil.bench.capture import Capture, Event, Kept
from hil.bench.profile import Compiled, GridCaps, GridPoint, Segment


class BenchError(Exception):
    """A role cannot do what it was asked for. The text is a sentence: which role, what, what is possible."""


@dataclass(frozen=True, slots=True)
class GridReading:
    """What the source itself measures at its terminals; + delivered to the charger."""

    v_v: tuple[float, float, float]
    f_hz: float
    i_a: tuple[float, float, float] | None = None
    p_w: float | None = None


class GridEmulator(Protocol):
    """An AC source that takes power back."""

    @property
    def caps(self) -> GridCaps: ...
    def output(self, on: bool) -> None: ...
    def steady(self, point: GridPoint) -> None:
        """Stand there from now on; ends a profile that plays."""

    def load(self, profile: Sequence[Segment]) -> Compiled:
        """Compile for this source, starting from where it stands, and put it into the source's list."""

    def arm(self) -> None: ...
    def fire(self) -> None: ...
    def abort(self) -> None: ...
    def playing(self) -> bool: ...
    def read(self) -> GridReading: ...
    def off(self) -> None: ...


@dataclass(frozen=True, slots=True)
class LoadCaps:
    p_max_w: float
    qf_max: float  # highest quality factor of the tuned circuit at p_max_w
    p_step_w: float = 1.0


class IslandLoad(Protocol):
    """A resonant R-L-C load at the point of connection, and the switch between it and the grid source (S3)."""

    @property
    def caps(self) -> LoadCaps: ...
    def tune(
        self, p_w: float, qf: float, v_v: float, f_hz: float, dp: float = 0.0, dc: float = 0.0, q_var: float = 0.0
    ) -> None:
        """Quality factor qf, taking p_w and giving q_var (negative: taking it) at v_v and f_hz, resonant there without
        q_var; then dp more power and dc more capacitance."""

    def open_switch(self) -> None: ...
    def close_switch(self) -> None: ...
    def off(self) -> None:
        """No load, switch closed."""


@dataclass(frozen=True, slots=True)
class EvCaps:
    v_max_v: float
    i_max_a: float
    p_max_w: float
    protocol: bool  # speaks to the charger by itself; False: a bare DC supply


class EvEmulator(Protocol):
    """The car: DC port and what it says to the charger."""

    @property
    def caps(self) -> EvCaps: ...
    def plug_in(self) -> None: ...
    def unplug(self) -> None: ...
    def say(self, command: dict[str, Any]) -> None:
        """Anything else a car may do, by name: stop, emergency, limits, v_max_v, soc_target, mute, open_contactor."""

    def soc(self) -> float: ...
    def off(self) -> None: ...


class Recorder(Protocol):
    def channels(self) -> tuple[str, ...]: ...
    def start(self, rate_hz: float) -> None: ...
    def stop(self) -> Capture: ...
    def latest(self, channel: str) -> float:
        """The value now, recording or not."""


class FaultBox(Protocol):
    """Everything that can be broken on purpose, by name; its own channel `faults` counts what is broken now."""

    @property
    def catalogue(self) -> tuple[str, ...]: ...
    def insert(self, name: str, value: Any = True) -> None: ...
    def clear(self) -> None:
        """Mend everything that was inserted."""


@dataclass(frozen=True, slots=True)
class UnitStatus:
    state: str
    why: str
    ready: bool  # in service: the grid is accepted and the converter answers
    faults: tuple[str, ...]
    contactors_open: bool


class Unit(Protocol):
    """The charger under test, as its user sees it."""

    @property
    def identity(self) -> dict[str, str]: ...
    def status(self) -> UnitStatus: ...
    def ask(self, power_w: float) -> None:
        """Ask for power, renewed until something else is asked."""

    def let_lease_end(self) -> None: ...
    def operator(self, action: str) -> None: ...
    def set_controls(self, tables: Sequence[Mapping[str, Any]]) -> None:
        """Controls of grid support as defaults (docs/controls.md), in the place of those that were set here before; an
        empty list ends them. Raises BenchError for what is no control; what the charger refuses it tells as events."""

    def events(self, since_s: float) -> list[Event]:
        """What it told from then on (s on the bench's clock)."""

    def kept(self) -> Kept:
        """What its durable records hold now. Raises BenchError where nobody can tell."""

    def health(self) -> list[str]:
        """What is wrong with it now that all is mended and off, one sentence each; [] = healthy."""


class Clock(Protocol):
    simulated: bool

    def now(self) -> float: ...
    def wait(self, seconds: float) -> None: ...
    def wait_until(self, condition: Callable[[], bool], within_s: float) -> bool:
        """True as soon as it holds, False when it did not in time."""
