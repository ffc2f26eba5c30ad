"""What protection takes and what it says. Pure data; no clause lives here."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple


class GridSample(NamedTuple):
    """One measurement of the grid by one source.

    t: monotonic seconds of the measurement; v_pu: per phase, of the configured nominal phase-neutral voltage;
    f_hz: frequency, nan when the source could not measure one; held: the values of an earlier measurement, repeated
    because nothing newer is there (a recording with long steps): they say nothing of a rate of change.
    """

    t: float
    v_pu: tuple[float, float, float]
    f_hz: float
    held: bool = False


class Transfer(NamedTuple):
    """What the charger does to the grid now, for anti-islanding.

    power_pu: active power, share of rated, + = charging; tan_phi: reactive power that the converter has been told to
    make, as a share of the active power's magnitude, + = absorbing.
    """

    power_pu: float
    tan_phi: float


class GridState(enum.Enum):
    """The charger's relation to the grid, beside the state of the session."""

    WAITING = "waiting to enter service"
    CONNECTED = "connected"
    RIDING_THROUGH = "riding through"
    CEASED = "ceased"
    TRIPPED = "tripped"


class Source(enum.Enum):
    """The two independent measurements of the grid."""

    PILOT = "pilot MCU grid sense"
    CONVERTER = "converter telemetry"


@dataclass(frozen=True, slots=True)
class Trip:
    """One trip: which element, by which source, on what.

    t_start: when the quantity left the limit (time of the first bad sample); t: when the element operated.
    """

    element: str  # "UF1", "OV2", "OV1_10MIN", ...; "SENSE" for the loss of both sources
    source: Source | None
    phase: str  # "L1", "L2", "L3"; "rising" or "falling" of a rate of change; "" where there is nothing of the kind
    value: float
    threshold: float
    unit: str  # "pu", "Hz" or "Hz/s"
    delay_s: float  # the internal delay that ran out
    t_start: float
    t: float
    clause: str
    text: str  # one sentence for people


class ElementStatus(NamedTuple):
    """How close an element is to operating. margin > 0: inside by that much; timer_s: how long it has been outside."""

    element: str
    source: Source
    value: float
    threshold: float
    unit: str
    margin: float
    timer_s: float
    delay_s: float
    clause: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something protection wants in the event log: a code of the event table and its facts."""

    code: str
    detail: str


class Told(NamedTuple):
    """A sentence about an excursion, made when somebody reads it: in a disturbance each step has another one, and most
    of them nobody reads. (It looks like its text; a tuple of numbers, so that nothing can change it afterwards.)"""

    before: str
    value: float
    unit: str
    lo: float  # the range that the value is outside of
    hi: float
    after: str

    def __str__(self) -> str:
        value, unit = self.value, self.unit
        return f"{self.before}{value:.3f} {unit} is outside of {self.lo:g}..{self.hi:g} {unit}{self.after}"

    def __repr__(self) -> str:
        return repr(str(self))


class GridStatus(NamedTuple):
    """The verdict of one step of grid protection. How close each element is: `GridProtection.elements`, for who asks.
    (A tuple: four times as fast to make as a frozen dataclass.)"""

    state: GridState
    may_connect: bool  # the grid contactor may be closed
    may_transfer: bool  # power may flow (False while waiting, ceased or tripped)
    power_limit_pu: float  # share of rated power permitted now by the enter-service ramp, 0..1
    ramping: bool  # the enter-service ramp is what limits
    remaining_s: float  # of the enter-service delay; 0 when it does not run
    said: str | Told  # `reason`, or what it is made of
    clause: str
    last_trip: Trip | None
    notices: tuple[Notice, ...]
    # What anti-islanding wants added to the reactive power: share of the active power's magnitude, + = absorbing.
    probe_tan_phi: float = 0.0
    may_idle: bool = False  # ceased, and the voltage is just back: the converter may get ready, without power

    @property
    def reason(self) -> str:
        """One sentence: why this state."""
        return str(self.said)
