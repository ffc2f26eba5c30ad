"""The limits of the grid code, and no others, take the whole of guard off the grid: at the value and in the time."""

from __future__ import annotations

from functools import cache

import pytest

from firmware.grid_codes import Quantity, Side, TripSetting, internal_delay
from firmware.protection.channel import source_delay
from firmware.protection.types import Source
from hal.ports import Direction
from hil.frozen import Frozen
from tests.guard.puppet import CHAIN, TICK_S, Puppet, make_guard

CODES = ("ieee1547_2018_cat3", "de_vde_ar_n_4105_2018")
NEAR = 0.0005  # of nominal: this far beyond the limit trips, this far inside does not
CASES = [
    (code, setting)
    for code in CODES
    for setting in make_guard(code).protection.code.trips
    if setting.quantity is not Quantity.VOLTAGE_10MIN
]
SLOW_S = 30.0  # of simulated time
TIMED = [
    pytest.param(code, setting, marks=[pytest.mark.slow] if internal_delay(setting, CHAIN) > SLOW_S else [])
    for code, setting in CASES
]
NAMES = [f"{code}-{setting.id}" for code, setting in CASES]


@cache
def _discharging(code: str) -> Frozen[Puppet]:
    world = Puppet(guard=make_guard(code), power_w=-10_000.0)
    world.until("DISCHARGING", ticks=9000)
    world.tick(50)
    assert world.last is not None
    assert world.last.outputs.converter.current_a > 0.0
    assert world.last.outputs.converter.direction is Direction.DISCHARGE
    return Frozen(world)


def in_transfer(code: str) -> Puppet:
    """Discharging under `code`; a copy of one start for all tests, since VDE waits a minute before it."""
    return _discharging(code).thaw()


def push(world: Puppet, setting: TripSetting, beyond: float, phase: int = 0) -> None:
    """Bring the element's quantity to `beyond` (of nominal) outside of its limit; negative = inside."""
    sign = 1.0 if setting.side is Side.OVER else -1.0
    if setting.quantity is Quantity.FREQUENCY:
        nominal_hz = 60.0 if world.guard.settings.nominal_v == 277.0 else 50.0
        world.f_pu = setting.threshold.value / nominal_hz + sign * beyond
    else:
        volts = [1.0, 1.0, 1.0]
        volts[phase] = setting.threshold.value + sign * beyond
        world.v_pu = (volts[0], volts[1], volts[2])


@pytest.mark.parametrize(("code", "setting"), TIMED, ids=NAMES)
def test_a_value_just_beyond_the_limit_trips_by_that_element_in_its_time(code: str, setting: TripSetting) -> None:
    world = in_transfer(code)
    delay_s = min(source_delay(setting, internal_delay(setting, CHAIN), source) for source in Source)
    push(world, setting, NEAR)
    began = world.now
    out = world.tick().outputs
    while out.pilot.coils.grid and world.now - began < delay_s + 1.0:
        out = world.tick().outputs
    trip = world.guard.protection.last_trip
    assert trip is not None
    assert trip.element == setting.id
    assert world.now - began == pytest.approx(delay_s, abs=2.5 * TICK_S)
    assert not out.converter.on
    assert not out.pilot.coils.dc
    assert not out.pilot.coils.converter_enable


@pytest.mark.parametrize(("code", "setting"), CASES, ids=NAMES)
def test_a_value_just_inside_the_limit_does_not_trip(code: str, setting: TripSetting) -> None:
    world = in_transfer(code)
    push(world, setting, -NEAR, phase=1)
    for _ in range(int((min(internal_delay(setting, CHAIN), 5.0) + 0.1) / TICK_S)):
        world.tick()
        trip = world.guard.protection.last_trip
        assert trip is None or trip.element != setting.id
