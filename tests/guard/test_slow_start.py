"""A converter that starts while power is wanted already: what the ramp has gone on meanwhile comes as one step."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from firmware.guard import numbers as n
from hal.ports import Reading
from tests.guard.puppet import TICK_S
from tests.guard.test_endings import drive_to


@pytest.mark.parametrize("power_w", [10_000.0, 60_000.0])
def test_a_converter_that_is_slow_to_start_comes_with_a_small_step_and_then_along_the_ramp(power_w: float) -> None:
    world = drive_to("HOLDING")
    world.power_w = power_w
    world.bend = lambda readings: replace(
        readings,
        converter=replace(readings.converter, on=Reading(False, world.now), i_dc_a=Reading(0.0, world.now)),
    )
    world.tick(300)  # it is off, as when it may sleep, and takes three seconds to start
    assert world.state == "CHARGING"
    assert world.last is not None
    ahead_a = world.last.outputs.converter.current_a
    assert 0.0 < ahead_a <= n.RAMP_UP_A_PER_S * n.START_AHEAD_S + 1e-9
    world.bend = None
    before_a = ahead_a
    for _ in range(300):
        now_a = world.tick().outputs.converter.current_a
        assert now_a - before_a <= n.RAMP_UP_A_PER_S * TICK_S + 1e-6
        before_a = now_a
    assert before_a == pytest.approx(min(power_w, 22_000.0) / 400.0, rel=0.01)
