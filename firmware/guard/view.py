"""What the sequence of a session sees of the world in one tick."""

from __future__ import annotations

from msgspec import Struct

from firmware.guard.events import Severity
from firmware.protection.types import GridStatus
from hal.ports import CarStatus, Coils, ConverterStatus


class View(Struct, frozen=True, gc=False):
    """Made by `Guard.step`. Values are None where there is no fresh reading."""

    severity: Severity
    lease: bool
    held: bool  # the lease is live, or ended so shortly ago that the next asker may still be on the way
    stopped: bool  # by the operator
    plugged: bool  # pilot state B, C or D
    in_c: bool  # pilot state C or D
    car: CarStatus | None
    converter: ConverterStatus
    grid: GridStatus
    v_dc_v: float | None
    i_dc_a: float | None
    cable_v: float | None  # DC meter, behind the contactor
    mirrors: Coils | None
    insulation_ohm: float | None
    insulation_t: float
    insulated: bool  # that measurement is good enough for energy, by its value and by the device's own alarm
    self_test: tuple[int, bool] | None  # serial, passed
    permitted_w: float
    rate_a_per_s: float  # ramp upwards
    sent_a: float  # the current that the gate let out in the last tick
    sleep: bool = False  # who counts, or did last, lets the converter be off while no power flows
