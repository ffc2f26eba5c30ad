"""The one gate: the only function that turns a decision into commands for the converter and the contactors.

It is pure and total: whatever the state machine decided, whatever the readings say, nothing leaves without permission.
Guard's loop sends what this returns and nothing else; nobody else holds the send side of the bus.
"""

from __future__ import annotations

import math

from msgspec import Struct

from firmware.guard.numbers import TEST_CURRENT_A, ZERO_CURRENT_A
from firmware.power.arbiter import magnitude
from hal.ports import (
    COILS_OPEN,
    CONVERTER_OFF,
    Coils,
    ConverterCommand,
    ConverterStatus,
    Direction,
    PilotCommand,
)


class Decision(Struct, frozen=True, gc=False):
    """What the state machine wants. current_a is a magnitude; `test` marks cable check and precharge."""

    on: bool = False
    test: bool = False
    direction: Direction = Direction.CHARGE
    voltage_v: float = 0.0
    current_a: float = 0.0
    cutoff_v: float = 0.0
    ovp_v: float = 0.0
    coils: Coils = COILS_OPEN
    duty_pct: float | None = None
    reset_pilot: bool = False


class Permission(Struct, frozen=True, gc=False):
    """What is permitted now. Every field defaults to no."""

    lease: bool = False  # a live lease, or the bounded wind-down after one
    connect: bool = False  # grid protection lets the grid contactor be closed
    energize: bool = False  # grid protection lets the converter run
    idle: bool = False  # ceased, the current is gone and the voltage is back: it may run, at zero current
    transfer: bool = False  # insulation is proven and fresh, and the car asks for transfer: power may flow
    car: bool = False  # the car is in pilot state C or D: DC contactors may be closed
    tripped: bool = True  # a trip or latched fault stands


class Outputs(Struct, frozen=True, gc=False):
    converter: ConverterCommand
    pilot: PilotCommand


def gate(
    decision: Decision,
    permission: Permission,
    converter: ConverterStatus,
    now: float,
    max_age_s: float,
    tan_phi: float = 0.0,
) -> Outputs:
    """Decision -> commands. `max_age_s` (s) is how old the converter's current may be to count for a direction change.
    tan_phi: reactive power wanted beside it, share of the active power, + = absorbing.

    - No coil closes without a lease or with a trip; the grid contactor needs `connect`, the DC side needs `car`.
    - The converter runs only with its hardware enable, the grid contactor's permission and `energize`. With `idle` in
      its place it runs at zero current, and only while |I| is fresh and below ZERO_CURRENT_A: else it is off.
    - Current flows only in a direction that the module has confirmed; without `transfer` at most TEST_CURRENT_A, and
      then only charging (cable check and precharge).
    - A number that is none (nan, infinite, negative) leaves as zero, and no current leaves beside it.
    - A direction that differs from the confirmed one is asked for only while |I| is fresh and below ZERO_CURRENT_A;
      until then the confirmed direction stays, at zero current.
    - Reactive power flows only beside transfer, inside of what the converter takes; a number that is none is zero.
    """
    p = permission
    alive = p.lease and not p.tripped
    wanted, connect, car = decision.coils, alive and p.connect, alive and p.car
    coils = Coils(
        wanted.grid and connect, wanted.dc and car, wanted.precharge and car, wanted.converter_enable and connect
    )
    pilot = PilotCommand(decision.duty_pct, coils, decision.reset_pilot and coils == COILS_OPEN)
    i = converter.i_dc_a
    still = i is not None and i.fresh(now, max_age_s) and abs(i.value) < ZERO_CURRENT_A
    if not (decision.on and coils.converter_enable and coils.grid and (p.energize or (p.idle and still))):
        return Outputs(CONVERTER_OFF, pilot)

    direction, current_a = decision.direction, magnitude(decision.current_a) if p.energize else 0.0
    if converter.direction is not direction:
        current_a = 0.0
        if converter.direction is not None and not still:
            direction = converter.direction
    if not p.transfer:
        allowed = decision.test and direction is Direction.CHARGE
        current_a = min(current_a, TEST_CURRENT_A) if allowed else 0.0
    elif not coils.dc:
        current_a = 0.0
    current_a = min(current_a, magnitude(converter.limits.i_max_a)) if converter.limits is not None else 0.0
    voltage_v, cutoff_v, ovp_v = magnitude(decision.voltage_v), magnitude(decision.cutoff_v), magnitude(decision.ovp_v)
    if voltage_v != decision.voltage_v or cutoff_v != decision.cutoff_v or ovp_v != decision.ovp_v:
        current_a = 0.0
    reactive = p.energize and p.transfer and coils.dc and converter.limits is not None and math.isfinite(tan_phi)
    most = magnitude(converter.limits.tan_phi_max) if reactive and converter.limits is not None else 0.0
    tan_phi = min(max(tan_phi, -most), most) if most else 0.0
    return Outputs(ConverterCommand(True, direction, voltage_v, current_a, cutoff_v, ovp_v, tan_phi), pilot)
