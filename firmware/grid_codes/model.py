"""A grid code as data: frozen, every number with its unit, clause, sources, confidence and permitted range."""

from __future__ import annotations

import enum
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass


class GridCodeError(ValueError):
    """A grid code, or what was asked of it, is wrong. The text is one sentence: where, what, and what is allowed."""


class Confidence(enum.IntEnum):
    """How far a number may be believed. LOW: remembered only. MEDIUM: one good source. HIGH: two independent ones."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2


@dataclass(frozen=True, slots=True)
class Setting:
    """One number of a grid code.

    min, max: the range an operator may move it in; None = the code gives no range, it may not be moved.
    range_conf: how far that range may be believed, which can be less than the number itself.
    written: the number as the code writes it, where it writes volts ("265 V"); value is then the share of nominal.
    """

    value: float  # nan = the code has such a number and no source for it was found
    unit: str  # "pu", "Hz", "Hz/s", "s", "pu/min"; others in support sections
    clause: str
    src: tuple[str, ...]
    conf: Confidence
    min: float | None = None
    max: float | None = None
    note: str = ""
    range_conf: Confidence | None = None
    written: str = ""

    @property
    def known(self) -> bool:
        return not math.isnan(self.value)


class Quantity(enum.Enum):
    VOLTAGE = "voltage"  # per phase, phase to neutral; the worst phase counts
    VOLTAGE_10MIN = "voltage_10min"  # per phase, sliding 10-minute mean; the worst phase counts
    FREQUENCY = "frequency"
    ROCOF = "rocof"  # rate of change of frequency, either sign


class Side(enum.Enum):
    OVER = "over"
    UNDER = "under"


@dataclass(frozen=True, slots=True)
class ClearingMax:
    """Start of the abnormal condition to ceased, the whole chain of the charger included (IEEE 1547)."""

    limit: Setting


@dataclass(frozen=True, slots=True)
class RelaySetting:
    """The delay that is set on a relay; the reaction of the chain comes on top (VDE-AR-N 4105)."""

    delay: Setting


@dataclass(frozen=True, slots=True)
class DelayMinAndDisconnectMax:
    """Must not operate before `delay_min` (None: no such limit), must be off by `disconnect_max` (AS/NZS 4777).

    Both run from the start of the abnormal condition to the disconnection.
    """

    delay_min: Setting | None
    disconnect_max: Setting


TripTime = ClearingMax | RelaySetting | DelayMinAndDisconnectMax


@dataclass(frozen=True, slots=True)
class TripSetting:
    """One trip element. A value exactly at the threshold is inside; see docs/protection.md."""

    id: str
    quantity: Quantity
    side: Side
    threshold: Setting
    time: TripTime

    def numbers(self) -> Iterator[tuple[str, Setting]]:
        """(key as used by `adjust`, number)."""
        yield "threshold", self.threshold
        match self.time:
            case ClearingMax(limit):
                yield "time_s", limit
            case RelaySetting(delay):
                yield "time_s", delay
            case DelayMinAndDisconnectMax(delay_min, disconnect_max):
                if delay_min is not None:
                    yield "delay_min_s", delay_min
                yield "disconnect_max_s", disconnect_max

    @property
    def verified(self) -> bool:
        return all(s.conf is not Confidence.LOW for _, s in self.numbers())


class RideThroughMode(enum.Enum):
    CONTINUOUS = "continuous_operation"
    MANDATORY = "mandatory_operation"  # must go on exchanging power
    PERMISSIVE = "permissive_operation"  # may go on or cease
    RESTRICTED = "restricted"  # must go down to a small current, stays connected
    MOMENTARY_CESSATION = "momentary_cessation"  # must cease, stays connected, restores by itself
    CEASE = "cease_to_energize"

    @property
    def ceases(self) -> bool:
        """No power in this mode. RESTRICTED counts: the converter cannot hold a small AC current on command, 0 can."""
        return self in (RideThroughMode.RESTRICTED, RideThroughMode.MOMENTARY_CESSATION, RideThroughMode.CEASE)


@dataclass(frozen=True, slots=True)
class RideThroughRow:
    """What to do while the quantity is between lo and hi (pu or Hz).

    min_time_s: stay connected at least this long (Category I and II: at `lo`, more above by min_time_slope_s_per_pu).
    max_response_s: a ceasing mode must have ceased by then.
    """

    quantity: Quantity
    lo: Setting
    hi: Setting
    mode: RideThroughMode
    min_time_s: Setting | None
    max_response_s: Setting | None
    min_time_slope_s_per_pu: Setting | None = None

    def min_time_at(self, value: float) -> float | None:
        """Seconds to stay connected at `value` (pu or Hz) inside the row; None = the row asks for no time."""
        if self.min_time_s is None:
            return None
        slope = 0.0 if self.min_time_slope_s_per_pu is None else self.min_time_slope_s_per_pu.value
        return self.min_time_s.value + slope * (value - self.lo.value)

    @property
    def verified(self) -> bool:
        return self.lo.conf is not Confidence.LOW and self.hi.conf is not Confidence.LOW


@dataclass(frozen=True, slots=True)
class EnterService:
    """Window (both ends inclusive), time inside it, and the ramp after it: a rate, a duration, or none.

    delay_s holds wherever none of the others does: first_delay_s at the first start, short_interruption_delay_s after
    a trip whose excursion lasted no longer than short_interruption_max_s.
    """

    v_min: Setting
    v_max: Setting
    f_min: Setting
    f_max: Setting
    delay_s: Setting
    ramp_pu_per_min: Setting | None
    ramp_duration_s: Setting | None
    random_delay_s: Setting | None  # the longest additional random delay the code provides for
    first_delay_s: Setting | None = None
    short_interruption_max_s: Setting | None = None
    short_interruption_delay_s: Setting | None = None


class MeanMethod(enum.Enum):
    ARITHMETIC = "arithmetic"  # VDE-AR-N 4105
    RMS = "rms"  # CEI 0-21 and EN 50549-1: root of the mean of the squares, EN 61000-4-30


@dataclass(frozen=True, slots=True)
class Mean10Min:
    window_s: Setting
    interval_s: Setting
    method: MeanMethod = MeanMethod.ARITHMETIC


@dataclass(frozen=True, slots=True)
class MomentaryCessation:
    restore_max_s: Setting  # power must be back this long after the voltage is


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a support function, in the order of the code; x, y: what they are and in which unit."""

    points: tuple[tuple[float, float], ...]
    x: str
    y: str
    clause: str
    src: tuple[str, ...]
    conf: Confidence
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Numbers of a code that protection does not act on (volt-var, droop, ...): checked and cited, nothing more."""

    name: str
    enabled: bool | None  # None = the code says nothing of on and off
    numbers: tuple[tuple[str, Setting], ...]
    curves: tuple[tuple[str, Curve], ...]
    texts: tuple[tuple[str, str], ...]

    def number(self, key: str) -> Setting:
        for name, setting in self.numbers:
            if name == key:
                return setting
        raise GridCodeError(f"{self.name} has no number {key}; it has {', '.join(n for n, _ in self.numbers)}")

    def curve(self, key: str = "curve") -> Curve:
        for name, curve in self.curves:
            if name == key:
                return curve
        raise GridCodeError(f"{self.name} has no curve {key}; it has {', '.join(n for n, _ in self.curves)}")


@dataclass(frozen=True, slots=True)
class GridCode:
    """A profile for one nominal voltage. Made by `load`, `inspect` and `adjust` only; `load` gives complete ones."""

    name: str
    title: str
    standard: str
    jurisdiction: str
    nominal_v: float  # phase to neutral
    nominal_f_hz: float
    clause: str  # where the source gives none
    trips: tuple[TripSetting, ...]
    ride_through: tuple[RideThroughRow, ...]
    enter_service: EnterService
    mean_10min: Mean10Min | None
    momentary_cessation: MomentaryCessation | None
    allow_unverified: bool  # low-confidence trips were accepted, and low-confidence ride-through rows are applied
    adjusted: tuple[tuple[str, float, float], ...] = ()  # (key, from, to)
    unverified_range: bool = False  # an adjustment relied on a range that is only remembered
    support: tuple[Section, ...] = ()
    remarks: tuple[str, ...] = ()  # what one must know before using the profile
    refused: str = ""  # why the profile must not be used at all; "" = it may

    @property
    def verified(self) -> bool:
        """False when a trip rests on a remembered number, or was moved inside a range that is only remembered."""
        return not self.unverified_range and all(t.verified for t in self.trips)

    @property
    def unverified(self) -> tuple[str, ...]:
        """Keys of all numbers, trips or not, that are only remembered."""
        return tuple(key for key, s in self.numbers() if s.conf is Confidence.LOW)

    @property
    def unverified_trips(self) -> tuple[str, ...]:
        """Trips that rest on a remembered number."""
        return tuple(t.id for t in self.trips if not t.verified)

    @property
    def missing(self) -> tuple[str, ...]:
        """What keeps this code from running here: numbers that nobody found."""
        unknown = [k for k, s in self.numbers() if not s.known]
        return (f"no source for {', '.join(unknown)}",) if unknown else ()

    @property
    def caution(self) -> str:
        """A sentence for wherever the profile is named, when it rests on numbers nobody verified; else ''."""
        if self.verified:
            return ""
        trips = ", ".join(self.unverified_trips)
        what = (
            f"trips {trips} rest on numbers that are only remembered"
            if trips
            else "an adjustment uses a range that is only remembered"
        )
        return f"{self.name} is NOT VERIFIED: {what}. For a desk only."

    def section(self, name: str) -> Section | None:
        """A support section, or None when the code's profile has none of that name."""
        return next((s for s in self.support if s.name == name), None)

    def trip(self, element: str) -> TripSetting:
        for trip in self.trips:
            if trip.id == element:
                return trip
        raise GridCodeError(f"{self.name} has no trip {element}; it has {', '.join(t.id for t in self.trips)}")

    def numbers(self) -> Iterator[tuple[str, Setting]]:
        """Every number of the profile under its dotted key, in the order of the profile."""
        for trip in self.trips:
            for key, setting in trip.numbers():
                yield f"trip.{trip.id}.{key}", setting
        for i, row in enumerate(self.ride_through):
            for key in ("lo", "hi", "min_time_s", "min_time_slope_s_per_pu", "max_response_s"):
                if (setting := getattr(row, key)) is not None:
                    yield f"ride_through.{i}.{key}", setting
        for name in ("enter_service", "mean_10min", "momentary_cessation"):
            section = getattr(self, name)
            for key in section.__slots__ if section is not None else ():
                if isinstance(setting := getattr(section, key), Setting):
                    yield f"{name}.{key}", setting
        for carried in self.support:
            for key, setting in carried.numbers:
                yield f"{carried.name}.{key}", setting

    @property
    def profile_hash(self) -> str:
        """SHA-256 over everything that protection acts on, adjustments and nominal voltage included."""
        plain = json.dumps(asdict(self), sort_keys=True, default=lambda e: e.value)
        return hashlib.sha256(plain.encode()).hexdigest()

    @property
    def identity(self) -> str:
        """Name, nominal voltage, hash and adjustments, for the log."""
        moved = ", ".join(f"{key} {before:g} -> {now:g}" for key, before, now in self.adjusted)
        return (
            f"{self.name} at {self.nominal_v:g} V, sha256 {self.profile_hash}, "
            f"{f'adjusted: {moved}' if moved else 'not adjusted'}"
        )

    def cite(self, clause: str) -> str:
        """Standard and clause in one, for people."""
        return f"{self.standard}, {clause}"
