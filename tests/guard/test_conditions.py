"""What counts as wrong, at its edges; and a guard that starts beside a pilot board in its safe state."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from firmware.guard import numbers as n
from firmware.guard.conditions import Conditions, usable
from firmware.guard.gate import Outputs
from firmware.guard.known import Readings
from firmware.guard.messages import MeterReport
from hal.ports import (
    COILS_OPEN,
    CONVERTER_OFF,
    Coils,
    ConverterStatus,
    GridTelemetry,
    PilotCommand,
    PilotStatus,
    Quality,
    Reading,
)
from tests.guard.puppet import TICK_S, Puppet, make_guard

GRID = GridTelemetry((230.0, 230.0, 230.0), 50.0)
CLOSED = Outputs(CONVERTER_OFF, PilotCommand(coils=Coils(grid=True)))
OPEN = Outputs(CONVERTER_OFF, PilotCommand())


class Supply:
    """Calls `converter_expected` as guard does, tick by tick."""

    def __init__(self) -> None:
        self.conditions = Conditions(make_guard().settings)
        self.now = 10.0

    def expected(self, seconds: float, *, mirror: bool = True, coil: bool = True, spoke_t: float | None = None) -> bool:
        """Asked for `seconds`; spoke_t: time of the converter's newest grid reading, inf = always now."""
        result = False
        for _ in range(max(1, round(seconds / TICK_S))):
            self.now += TICK_S
            t = self.now if spoke_t == math.inf else spoke_t
            grid = Reading(GRID, t) if t is not None else None
            readings = Readings(
                ConverterStatus(online=t is not None, grid=grid),
                PilotStatus(mirrors=Reading(Coils(grid=mirror), self.now)),
            )
            result = self.conditions.converter_expected(self.now, readings, CLOSED if coil else OPEN)
        return result


def test_a_converter_is_expected_half_a_second_after_it_first_spoke_with_supply() -> None:
    supply = Supply()
    assert not supply.expected(5.0)
    assert not supply.expected(n.CONVERTER_SETTLE_S - 0.02, spoke_t=math.inf)
    assert supply.expected(0.05, spoke_t=math.inf)


def test_once_expected_it_stays_expected_when_it_falls_silent() -> None:
    supply = Supply()
    assert supply.expected(1.0, spoke_t=math.inf)
    assert supply.expected(100.0, spoke_t=None)


def test_a_reading_from_before_the_supply_was_closed_is_no_sign_of_life() -> None:
    supply = Supply()
    assert not supply.expected(5.0, spoke_t=supply.now - 1.0)


@pytest.mark.parametrize("part", ["mirror", "coil"])
def test_without_supply_its_silence_is_normal_and_its_boot_begins_anew(part: str) -> None:
    supply = Supply()
    assert supply.expected(1.0, spoke_t=math.inf)
    assert not supply.expected(TICK_S, spoke_t=math.inf, **{part: False})
    assert not supply.expected(0.2, spoke_t=math.inf)
    assert supply.expected(0.5, spoke_t=math.inf)


@pytest.mark.parametrize(
    "reading",
    [
        None,
        Reading(math.nan, 100.0),
        Reading(math.inf, 100.0),
        Reading(400.0, 100.0, Quality.SUSPECT),
        Reading(400.0, 100.0 - n.DC_MAX_AGE_S - 0.01),
        Reading(400.0, math.nan),
    ],
)
def test_what_is_old_doubted_or_no_number_is_not_usable(reading: Reading[float] | None) -> None:
    assert usable(reading, 100.0) is None


def test_a_fresh_number_is_usable() -> None:
    assert usable(Reading(400.0, 100.0 - n.DC_MAX_AGE_S), 100.0) == 400.0


# ------------------------------------------------------------------------------------------- the meter against the mode
def test_current_against_the_confirmed_direction_latches() -> None:
    world = Puppet()
    world.until("CHARGING")
    world.tick(250)
    world.meter_alive = False
    world.inbox.append(MeterReport(world.now, 400.0, -20.0))
    world.tick()
    assert world.guard.faults.latched == ["converter_wrong_direction"]
    assert world.last is not None
    assert world.last.outputs.pilot.coils == COILS_OPEN


def test_a_meter_value_from_just_after_a_reversal_is_not_held_against_the_converter() -> None:
    world = Puppet()
    world.until("CHARGING")
    world.tick(50)
    world.meter_alive = False
    world.inbox.append(MeterReport(world.now, 400.0, -20.0))
    world.tick(20)
    assert world.guard.faults.codes == []


def test_a_converter_that_delivers_far_more_than_asked_trips() -> None:
    world = Puppet(power_w=2_000.0)
    world.until("CHARGING")
    world.tick(100)
    world.stuck_current_a = 20.0
    world.tick(int(n.OVER_CURRENT_S / TICK_S) + 3)
    assert "converter_current" in world.guard.faults.codes


def test_current_after_off_trips_and_drops_the_hardware_enable() -> None:
    world = Puppet()
    world.until("CHARGING")
    world.tick(50)
    world.v_pu = (0.45, 0.45, 0.45)  # momentary cessation: off, and the enable line stays
    world.stuck_current_a = 20.0
    enable = world.tick(3).outputs.pilot.coils.converter_enable
    assert enable
    world.tick(int(n.NOT_OFF_S / TICK_S) + 3)
    assert "converter_not_off" in world.guard.faults.codes
    assert world.last is not None
    assert world.last.outputs.pilot.coils == COILS_OPEN


# ---------------------------------------------------------------------------------------------------------- punctuality
def test_late_ticks_are_told_and_ten_of_them_end_the_session() -> None:
    world = Puppet()
    world.until("CHARGING")
    for count in range(1, n.LATE_FAULT_COUNT + 1):
        world.late = 2
        events = world.tick().events
        assert "late_tick" in [e.code for e in events]
        assert ("late_repeated" in world.guard.faults.codes) is (count == n.LATE_FAULT_COUNT)
        world.tick(30)


def test_late_ticks_far_apart_do_not_add_up() -> None:
    world = Puppet()
    world.until("CHARGING")
    for _ in range(2 * n.LATE_FAULT_COUNT):
        world.late = 1
        world.tick()
        world.tick(int(1.2 * n.LATE_WINDOW_S / n.LATE_FAULT_COUNT / TICK_S))
    assert "late_repeated" not in world.guard.faults.codes


# --------------------------------------------------------------------------------- started beside a board in safe state
class SafeState:
    """A pilot board in its safe state: open and obeying nothing until it is reset."""

    def __init__(self, world: Puppet, obeys_reset: bool) -> None:
        self.active, self.obeys, self.resets = True, obeys_reset, 0
        self.world = world
        world.bend = self.bend

    def bend(self, readings: Readings) -> Readings:
        last = self.world.last
        if last is not None and last.outputs.pilot.reset:
            assert last.outputs.pilot.coils == COILS_OPEN
            self.resets += 1
            self.active = self.active and not self.obeys
        if not self.active:
            return readings
        self.world.mirrors = Coils()
        shown = replace(readings.pilot, com_timeout=True, mirrors=Reading(Coils(), self.world.now))
        return replace(readings, pilot=shown)


def test_a_guard_that_starts_beside_a_board_in_safe_state_resets_it_and_goes_on() -> None:
    world = Puppet()
    board = SafeState(world, obeys_reset=True)
    world.tick(3)
    assert board.resets > 0
    assert world.guard.faults.codes == ["pilot_safe_state"]
    world.until("CHARGING")


def test_a_board_that_does_not_leave_its_safe_state_keeps_everything_open_and_is_told_once() -> None:
    world = Puppet()
    SafeState(world, obeys_reset=False)
    codes: list[str] = []
    for _ in range(3000):
        commands = world.tick()
        codes += [e.code for e in commands.events]
        assert commands.outputs.pilot.coils == COILS_OPEN
        assert not commands.outputs.converter.on
    assert codes.count("pilot_safe_state") == 1
    assert world.state == "FAULT"


def test_a_board_that_goes_to_its_safe_state_under_power_ends_the_session_and_is_reset_when_all_is_open() -> None:
    world = Puppet()
    world.until("CHARGING")
    world.tick(50)
    board = SafeState(world, obeys_reset=True)
    commands = world.tick()
    assert commands.outputs.pilot.coils == COILS_OPEN
    assert not commands.outputs.pilot.reset, "first the session ends"
    world.until("CHARGING", ticks=4000)
    assert board.resets > 0
