"""What guard is given, what it remembers of others, and what it returns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from msgspec import Struct

from firmware.guard import numbers as n
from firmware.guard.gate import Outputs
from firmware.guard.messages import (
    CarReport,
    EventMessage,
    InsulationReport,
    MeterReport,
    PowerRequest,
    SelfTestReport,
    TripRecord,
)
from hal.ports import CarStatus, ConverterStatus, PilotStatus


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """What guard must know of its board. Ratings are magnitudes; ramp in A/s; see boards/ for sources."""

    charge_w: float
    discharge_w: float
    current_a: float
    voltage_v: float
    nominal_v: float  # phase to neutral
    insulation_min_ohm: float = 100_000.0
    ramp_a_per_s: float = n.RAMP_UP_A_PER_S
    tick_s: float = 0.010
    support_beyond_request: bool = False  # support may ask for more than was asked, or for the other direction


class Readings(Struct, frozen=True, gc=False):
    """All that came in from the hardware in this tick, plus what the loop knows of its own punctuality."""

    converter: ConverterStatus
    pilot: PilotStatus
    late_s: float = 0.0
    missed: int = 0  # whole periods skipped before this tick
    realtime_refused: tuple[str, ...] = ()


class Commands(Struct, frozen=True, gc=False):
    """What leaves: the gate's outputs for the drivers, events and records for services."""

    outputs: Outputs
    events: tuple[EventMessage, ...] = ()
    record: TripRecord | None = None


@dataclass(slots=True)
class Known:
    """The latest of everything that services reported. Each carries its own time; nothing is believed when old."""

    request: PowerRequest | None = None
    car: CarReport | None = None
    car_status: CarStatus | None = None
    insulation: InsulationReport | None = None
    self_test: SelfTestReport | None = None
    meter: MeterReport | None = None
    services_t: float = -math.inf
    refused: str = ""  # the last report that could not be believed, and when
    refused_t: float = -math.inf
    stopped: bool = False
    shutdown: bool = False
    lease_until_s: float = -math.inf
    asked_w: float = 0.0
    events: list[EventMessage] = field(default_factory=list)
