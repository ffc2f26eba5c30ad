"""Every stop and every trip ends with open contactors within a bound, whatever is broken besides."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import pytest
from msgspec.structs import replace

from firmware.guard import numbers as n
from firmware.guard.events import EVENTS
from firmware.guard.known import Readings
from firmware.guard.machine import AT_REST, ENERGIZED, ChargerState
from firmware.guard.messages import MeterReport, Operator
from firmware.guard.stack import LimitStack
from hal.can.infy_status import FAULTS, WARNINGS
from hal.ports import CarPhase, CpState, Reading
from hal.uart.pilot_mcu import MIRRORED
from hil.frozen import Frozen
from tests.guard.puppet import TICK_S, Puppet

REACHABLE = [state.name for state in ENERGIZED if state is not ChargerState.THROUGH_ZERO]


def drive_to(state: str) -> Puppet:
    return _driven_to(state).thaw()


@cache
def _driven_to(state: str) -> Frozen[Puppet]:
    """The way is the same each time: it is driven once, and every test goes on from a copy of its end."""
    world = Puppet(power_w=-10_000.0 if state == "DISCHARGING" else 10_000.0)
    if state == "HOLDING":
        world.until("CHARGING")
        world.power_w = 0.0
    world.until(state)
    return Frozen(world)


def stale_dc(world: Puppet) -> Callable[[Readings], Readings]:
    """From now on the converter answers, but its DC readings only grow old."""
    since, v, i = world.now, world.v_dc, world.i_dc

    def bend(readings: Readings) -> Readings:
        old = replace(readings.converter, v_dc_v=Reading(v, since), i_dc_a=Reading(i, since))
        return replace(readings, converter=old)

    return bend


def bent(**changes: object) -> Callable[[Readings], Readings]:
    return lambda readings: replace(readings, converter=replace(readings.converter, **changes))  # type: ignore[arg-type]


def dc_open(world: Puppet) -> bool:
    assert world.last is not None
    coils = world.last.outputs.pilot.coils
    return not (coils.dc or coils.precharge) and not world.last.outputs.converter.on


def seconds_to_open(world: Puppet, within_s: float) -> float:
    for tick in range(int(within_s / TICK_S) + 1):
        world.tick()
        if dc_open(world):
            return tick * TICK_S
    raise AssertionError(f"still closed after {within_s} s in {world.state}: {world.guard.faults.codes}")


def breaks(**knobs: object) -> Callable[[Puppet], None]:
    def apply(world: Puppet) -> None:
        for name, value in knobs.items():
            assert hasattr(world, name)
            setattr(world, name, value)

    return apply


def operator(action: str) -> Callable[[Puppet], None]:
    return lambda world: world.inbox.append(Operator(action))


# What happens, and how long it may take until the DC side is open: its own delay plus at most OPEN_WAIT_S of ramp.
SOFT = n.OPEN_WAIT_S + 0.05
ENDINGS: dict[str, tuple[Callable[[Puppet], None], float]] = {
    "the operator stops": (operator("stop"), SOFT),
    "shutdown": (operator("shutdown"), SOFT),
    "services die": (breaks(renew=False, car_alive=False), n.CAR_SILENT_S + SOFT),
    "the lease ends": (breaks(renew=False), 2.0 + n.LEASE_GRACE_S + SOFT),
    "the car falls silent": (breaks(car_alive=False), n.CAR_SILENT_S + SOFT),
    "the car ends": (breaks(phase=CarPhase.ENDING), SOFT),
    "the car is unplugged": (breaks(cp=CpState.A), 0.02),
    "emergency stop": (breaks(estop=True), 0.02),
    "the converter reports a fault": (breaks(converter_faults=("converter_fault",)), 0.02),
    "the converter falls silent": (breaks(converter_alive=False), n.DC_MAX_AGE_S + 0.1),
    "the converter is not ready": (breaks(converter_ready=False), SOFT),
    "the grid fails": (breaks(v_pu=(0.3, 0.3, 0.3)), 2.2),
    "both grid measurements fail": (breaks(grid_alive=False, converter_grid_alive=False), 0.7),
    "the pilot board falls silent": (breaks(pilot_alive=False), 1.1),
}


@pytest.mark.parametrize("state", REACHABLE)
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_dc_side_is_open_in_time(ending: str, state: str) -> None:
    world = drive_to(state)
    apply, within_s = ENDINGS[ending]
    apply(world)
    end = world.now + within_s
    while world.now < end and world.guard.session.machine.state in (*ENERGIZED, ChargerState.RAMP_DOWN):
        world.tick()
    world.tick()  # the coil falls with the decision after the one that the current is gone
    for _ in range(int((n.CLOSE_TIMEOUT_S + n.WELD_TIMEOUT_S) / TICK_S) + 10):
        assert dc_open(world)
        world.tick()
        if world.guard.session.machine.state in AT_REST:
            return
    raise AssertionError(f"not at rest: {world.state}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_current_that_does_not_fall_is_not_waited_for(ending: str) -> None:
    world = drive_to("CHARGING")
    world.tick(50)
    world.stuck_current_a = 12.0
    apply, within_s = ENDINGS[ending]
    apply(world)
    seconds_to_open(world, within_s + n.NOT_OFF_S)


@pytest.mark.parametrize("state", ["CABLE_RAMP", "PRECHARGE", "HOLDING", "CHARGING", "DISCHARGING"])
def test_a_converter_that_answers_without_telling_its_dc_side_is_a_lost_one(state: str) -> None:
    world = drive_to(state)
    world.bend = stale_dc(world)
    seconds_to_open(world, n.DC_MAX_AGE_S + 0.02)
    assert "converter_lost" in world.guard.faults.codes


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("field", ["v_dc_v", "i_dc_a"])
def test_a_dc_reading_that_is_no_number_is_a_missing_one(field: str, value: float) -> None:
    world = drive_to("CHARGING")
    world.bend = lambda readings: bent(**{field: Reading(value, world.now)})(readings)
    seconds_to_open(world, n.DC_MAX_AGE_S + 0.02)
    guard = world.guard
    assert math.isfinite(guard.charged_wh + guard.discharged_wh)


def test_over_voltage_trips_also_while_the_current_is_unknown() -> None:
    world = drive_to("CHARGING")
    old = Reading(world.i_dc, world.now - 10.0)
    world.bend = lambda readings: bent(i_dc_a=old, v_dc_v=Reading(551.0, world.now))(readings)
    seconds_to_open(world, 0.02)
    assert "dc_over_voltage" in world.guard.faults.codes


def test_an_old_over_voltage_is_no_over_voltage() -> None:
    world = drive_to("CHARGING")
    old = Reading(551.0, world.now - 10.0)
    world.bend = bent(v_dc_v=old)
    world.tick()
    assert "dc_over_voltage" not in world.guard.faults.codes


def test_a_contactor_that_stays_closed_is_told_even_when_the_pilot_board_does_not() -> None:
    world = drive_to("CHARGING")
    world.tick(50)
    world.weld = True
    world.inbox.append(Operator("stop"))
    world.until("OPENING")
    world.tick(int((n.CLOSE_TIMEOUT_S + n.WELD_TIMEOUT_S) / TICK_S) + 20)
    assert world.state == "FAULT"
    assert "contactor_dc_fault" in world.guard.faults.latched
    assert world.last is not None
    assert not world.last.outputs.pilot.coils.grid


def test_a_trip_during_the_weld_check_opens_the_grid_contactor_and_still_ends() -> None:
    world = drive_to("CHARGING")
    world.tick(50)
    world.v_dc = 400.0
    world.inbox.append(Operator("stop"))
    world.until("WELD_CHECK")
    world.estop = True
    commands = world.tick()
    assert not commands.outputs.pilot.coils.grid
    world.tick(int(n.WELD_TIMEOUT_S / TICK_S) + 10)
    assert world.state == "FAULT"


def test_a_reversal_that_never_comes_about_ends_the_session() -> None:
    world = drive_to("CHARGING")
    world.tick(50)
    world.stuck_current_a = 3.0  # below what counts as too much, above what counts as none
    world.power_w = -10_000.0
    world.until("THROUGH_ZERO")
    world.stuck_current_a = 3.0
    seconds_to_open(world, n.REVERSE_TIMEOUT_S + SOFT)
    assert "converter_mode_unconfirmed" in world.guard.faults.codes


@pytest.mark.parametrize("phase", [CarPhase.WAIT, CarPhase.INSULATION])
@pytest.mark.parametrize("state", ["CHARGING", "DISCHARGING", "HOLDING"])
def test_a_car_that_begins_anew_does_not_find_the_old_session_closed(state: str, phase: CarPhase) -> None:
    world = drive_to(state)
    world.phase = phase
    seconds_to_open(world, SOFT)
    assert world.guard.session.cause == "car"


def test_a_car_that_never_named_a_voltage_is_never_connected() -> None:
    """Straight from the cable check to transfer: the cable is at 0 V, and 0 V was "asked" for."""
    world = drive_to("PRECHARGE")
    world.phase = CarPhase.TRANSFER
    world.bend = lambda readings: bent(v_dc_v=Reading(0.0, world.now))(readings)
    world.tick(int(n.PRECHARGE_TIMEOUT_S / TICK_S) + 1300)
    assert "precharge_timeout" in world.guard.faults.codes
    assert dc_open(world)


def test_a_precharge_target_beyond_the_cars_own_limit_is_not_followed() -> None:
    world = drive_to("PRECHARGE")
    world.phase = CarPhase.PRECHARGE
    original = world.messages
    world.messages = lambda: [  # type: ignore[method-assign]
        type(m)(**{**{f: getattr(m, f) for f in m.__struct_fields__}, "target_v": 990.0})
        if hasattr(m, "v_max_v")
        else m
        for m in original()
    ]
    for _ in range(200):
        out = world.tick().outputs.converter
        assert out.voltage_v <= 450.0


def test_a_cable_with_a_negative_voltage_is_not_a_dead_cable() -> None:
    world = drive_to("CABLE_DISCHARGE")
    world.meter_alive = False
    for _ in range(int(n.DISCHARGE_TIMEOUT_S / TICK_S) + 2):
        world.inbox.append(MeterReport(world.now, dc_v=-350.0))
        world.tick()
        assert world.state in ("CABLE_DISCHARGE", "RAMP_DOWN", "OPENING", "WELD_CHECK", "FAULT")
        assert world.last is not None
        assert not world.last.outputs.pilot.coils.dc


# ------------------------------------------------------------------------------------------------------------- ramps
def test_power_cut_by_momentary_cessation_comes_back_fast_and_only_then() -> None:
    world = drive_to("CHARGING")
    world.tick(300)
    before = world.i_dc
    assert before == pytest.approx(25.0)
    world.v_pu = (0.45, 0.45, 0.45)
    world.tick(20)
    assert world.i_dc == 0.0
    world.v_pu = (1.0, 1.0, 1.0)
    world.tick(40)
    assert world.i_dc == pytest.approx(before), "restored within 0.4 s"


def test_the_fast_return_after_a_cessation_is_forgotten_when_the_power_goes_elsewhere() -> None:
    world = drive_to("CHARGING")
    world.tick(300)
    world.v_pu = (0.45, 0.45, 0.45)
    world.tick(5)
    world.power_w = -10_000.0
    world.tick(15)
    world.v_pu = (1.0, 1.0, 1.0)
    world.until("DISCHARGING")
    rises = []
    for _ in range(50):
        before = abs(world.i_dc)
        world.tick()
        rises.append(abs(world.i_dc) - before)
    assert max(rises) <= n.RAMP_UP_A_PER_S * TICK_S + 1e-9
    assert max(rises) > 0.0


def test_a_ramp_does_not_catch_up_after_guard_was_held_up() -> None:
    world = drive_to("CHARGING")
    world.tick(10)
    before = world.i_dc
    world.now += 0.25  # inside of every age limit
    world.tick()
    assert before < world.i_dc <= before + n.RAMP_UP_A_PER_S * n.RAMP_UP_STEP_S + 1e-9


def test_while_ceased_nothing_is_permitted_even_during_the_ramp_after_entering_service() -> None:
    world = drive_to("CHARGING")
    grid = world.guard.grid
    assert grid is not None
    ceased = grid._replace(may_transfer=False, ramping=True, power_limit_pu=0.7)
    guard, readings = world.guard, world.guard.readings
    assert readings is not None
    limits = LimitStack(guard.settings).limits(world.now, readings.converter, guard.known, ceased, guard.faults)
    assert [limit.charge_w for limit in limits if limit.source == "grid"] == [0.0]


# ------------------------------------------------------------------------------------------------- recovery, chatter
def closings(world: Puppet, seconds: float, each: Callable[[Puppet], None] | None = None) -> int:
    """How often the grid contactor closes."""
    count, closed = 0, world.mirrors.grid
    for _ in range(int(seconds / TICK_S)):
        if each is not None:
            each(world)
        world.drive_on()
        world.tick()
        count += world.mirrors.grid and not closed
        closed = world.mirrors.grid
    return count


def test_a_fault_that_only_shows_with_supply_does_not_make_the_grid_contactor_chatter() -> None:
    world = Puppet(converter_faults=("converter_fault",))
    assert closings(world, 60.0) == 3, "the third trip within ten minutes latches"
    assert "converter_fault" in world.guard.faults.latched
    assert not world.mirrors.grid


def test_a_missing_converter_is_waited_for_with_the_contactor_closed_and_no_session() -> None:
    world = Puppet(converter_alive=False)
    assert closings(world, 30.0) == 1
    assert world.mirrors.grid
    assert world.guard.faults.codes == ["converter_missing"]
    assert world.state == "CONNECTED"
    world.converter_alive = True
    world.until("CHARGING")


def test_a_session_that_fails_again_and_again_latches() -> None:
    world = Puppet(self_test_ok=False)
    closings(world, 60.0)
    assert world.guard.faults.latched == ["insulation_self_test_failed"]
    assert world.state == "FAULT"


def test_a_pilot_state_that_flickers_does_not_close_dc_contactors_without_a_new_cable_check() -> None:
    world = drive_to("CHARGING")
    closed_in = set()
    for turn in range(600):
        world.cp = CpState.C if turn // 7 % 2 else CpState.B
        world.drive_on()
        was = world.mirrors.dc
        world.tick()
        if world.mirrors.dc and not was:
            closed_in.add(world.state)
    assert closed_in <= {"CABLE_CLOSE"}


def test_whatever_code_a_driver_reports_is_in_the_table() -> None:
    codes = {*FAULTS, *WARNINGS, "converter_mode_unconfirmed", "converter_no_echo"}
    codes |= {f"contactor_{name}_fault" for name in MIRRORED}
    codes |= {"pilot_diode_fault", "pilot_short", "pilot_temperature"}
    assert codes <= set(EVENTS)


def test_a_session_that_an_earlier_guard_left_behind_is_ended_and_a_new_one_begins() -> None:
    """Guard was started again so soon that the pilot MCU had not opened: the car still believes in its transfer."""
    world = Puppet(phase=CarPhase.TRANSFER)
    world.tick(50)
    assert world.state == "FINISHED"
    assert world.guard.session.cause == "restart"
    assert not world.tick().outputs.pilot.coils.dc
    world.phase = CarPhase.NONE  # it has ended
    world.tick(2)
    assert world.state == "CONNECTED"
    assert world.tick().outputs.pilot.duty_pct is None  # the pilot toggle that wakes it
    world.until("CHARGING")


def test_a_car_that_goes_on_speaking_after_its_session_keeps_its_pilot() -> None:
    """It paused and resumes, or renegotiates with its contactors open: the pilot toggle would end what it says."""
    for between in (CarPhase.PAUSE, CarPhase.ENDING):
        world = drive_to("CHARGING")
        world.phase = between
        world.until("FINISHED")
        assert duties(world, 5.0) == {n.PILOT_DUTY_PCT}
        assert world.state == "FINISHED"
        world.phase = CarPhase.WAIT
        assert duties(world, 2.0 * n.WAKE_S) == {n.PILOT_DUTY_PCT}
        assert world.state == "CONNECTED"
        world.until("CHARGING")


@pytest.mark.parametrize("waits_s", [0.01, 0.05, 0.3])
def test_a_car_that_renegotiates_faster_than_the_contactors_open_has_its_next_cable_check(waits_s: float) -> None:
    """It asks for the cable check 0.1 s after its last words of the old session, and then only waits for that."""
    world = drive_to("CHARGING")
    seen: set[float | None] = set()
    for phase, seconds in ((CarPhase.ENDING, 0.02), (CarPhase.WAIT, waits_s), (CarPhase.INSULATION, 2.0)):
        world.phase = phase
        seen |= duties(world, seconds)
        assert "FAULT" not in world.state
    assert seen == {n.PILOT_DUTY_PCT}
    assert world.state in ("CABLE_SELF_TEST", "CABLE_INSULATION", "PRECHARGE")
    world.until("CHARGING")


@pytest.mark.parametrize(("state", "power_w"), [("CHARGING", 20_000.0), ("DISCHARGING", -20_000.0)])
def test_a_car_that_permits_nothing_any_more_is_without_current_within_a_fifth_of_a_second(
    state: str, power_w: float
) -> None:
    world = drive_to(state)
    world.power_w = power_w
    world.tick(400)
    assert abs(world.i_dc) > 45.0
    world.i_max_a, world.i_min_a = (0.0, -100.0) if power_w > 0.0 else (100.0, 0.0)
    world.tick(20)
    assert world.i_dc == 0.0
    assert world.state in ("HOLDING", "CHARGING", "DISCHARGING")


def duties(world: Puppet, seconds: float) -> set[float | None]:
    return {world.tick().outputs.pilot.duty_pct for _ in range(round(seconds / TICK_S))}


def waiting_for_the_grid(phase: CarPhase) -> Puppet:
    """A car is plugged in and says `phase`, and the grid is not there yet."""
    world = Puppet(phase=phase, cp=CpState.B, v_pu=(0.5, 0.5, 0.5))
    world.tick(200)
    assert world.state == "CONNECTED"
    return world


def test_a_car_that_gave_up_waiting_is_woken_once_when_nothing_is_missing_any_more() -> None:
    world = waiting_for_the_grid(CarPhase.WAIT)
    world.phase = CarPhase.NONE
    assert duties(world, 20.0) == {n.PILOT_DUTY_PCT}  # waking it now would only make it wait again
    world.v_pu = (1.0, 1.0, 1.0)
    assert None in duties(world, 2.0)
    world.tick(round(n.WAKE_S / TICK_S))
    assert duties(world, 60.0) == {n.PILOT_DUTY_PCT}


def test_a_car_that_goes_while_nothing_is_missing_is_not_woken() -> None:
    world = waiting_for_the_grid(CarPhase.WAIT)
    world.v_pu = (1.0, 1.0, 1.0)
    world.tick(round((n.GAVE_UP_S + 2.0) / TICK_S))
    world.phase = CarPhase.NONE
    assert duties(world, 20.0) == {n.PILOT_DUTY_PCT}


def test_a_car_whose_patience_ended_just_as_nothing_was_missing_any_more_is_woken_once() -> None:
    """A minute is the patience of ISO 15118 and the waiting time of many grid codes: they end in the same second."""
    world = waiting_for_the_grid(CarPhase.WAIT)
    world.v_pu = (1.0, 1.0, 1.0)
    world.tick(200)
    world.phase = CarPhase.NONE
    assert None in duties(world, 2.0)
    world.phase = CarPhase.WAIT
    world.tick(round((n.WAKE_S + n.GAVE_UP_S) / TICK_S))
    world.phase = CarPhase.NONE  # it had its own reason
    assert duties(world, 20.0) == {n.PILOT_DUTY_PCT}


def test_a_car_that_waits_on_or_never_spoke_is_not_woken() -> None:
    for phase in (CarPhase.WAIT, CarPhase.NONE):
        world = waiting_for_the_grid(phase)
        world.v_pu = (1.0, 1.0, 1.0)
        assert duties(world, 20.0) == {n.PILOT_DUTY_PCT}
