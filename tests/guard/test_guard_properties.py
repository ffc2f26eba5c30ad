"""Hypothesis drives guard through any sequence of readings, requests, faults and time and watches what leaves.

The oracle below keeps its own books from what the puppet fed in; it never asks guard what is permitted.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from firmware.guard import numbers as n
from hal.ports import CarPhase, CpState, Direction
from tests.guard.puppet import TICK_S, Puppet

PHASES = st.sampled_from(CarPhase)


class AnyWorld(RuleBasedStateMachine):
    """Rules bend the world and let time pass; invariants look at the last commands."""

    def __init__(self) -> None:
        super().__init__()
        self.world = Puppet()
        self.was = Direction.CHARGE
        self.was_current = 0.0
        self.good_grid_t = -math.inf
        self.any_grid_t = -math.inf
        self.insulated_t = -math.inf
        self.estop_seen = False
        self.violations: list[str] = []

    # ------------------------------------------------------------------------------------------------ the world
    def pass_time(self, ticks: int) -> None:
        world = self.world
        for _ in range(ticks):
            readings_i = world.i_dc
            world.tick()
            if (world.pilot_alive and world.grid_alive) or (world.converter_grid_alive and world.converter_alive):
                self.any_grid_t = world.now
                if min(world.v_pu) > 0.5 and max(world.v_pu) < 1.2 and 0.94 < world.f_pu < 1.04:
                    self.good_grid_t = world.now
            if world.insulation_ohm is not None and world.insulation_ohm >= 100_000.0:
                self.insulated_t = world.now
            if world.estop and world.pilot_alive:
                self.estop_seen = True
            self.watch(readings_i)

    def watch(self, i_seen_a: float) -> None:
        world = self.world
        assert world.last is not None
        out, coils = world.last.outputs.converter, world.last.outputs.pilot.coils
        now, state = world.now, world.state
        closed = coils.grid or coils.dc or coils.precharge or coils.converter_enable
        if closed:
            assert now <= world.last_lease_end + n.WIND_DOWN_S + TICK_S, f"closed without a lease in {state}"
            assert not self.estop_seen, f"closed after the emergency stop in {state}"
        if coils.dc or coils.precharge:
            assert world.cp in (CpState.C, CpState.D) or not world.pilot_alive, f"DC contactor without a car in {state}"
        if out.on:
            assert coils.grid
            assert coils.converter_enable
            assert now - self.any_grid_t <= 0.7, f"running on no grid measurement for {now - self.any_grid_t:.2f} s"
            assert now - self.good_grid_t <= 2.2, f"running on a bad grid for {now - self.good_grid_t:.2f} s"
        if out.current_a > 0.0:
            assert out.direction is world.direction or world.direction is None, "current in an unconfirmed direction"
        if out.current_a > n.TEST_CURRENT_A or (out.current_a > 0.0 and out.direction is Direction.DISCHARGE):
            ramping = state == "RAMP_DOWN"
            assert coils.dc, f"current into open contactors in {state}"
            assert ramping or now - self.insulated_t <= n.INSULATION_MAX_AGE_S + TICK_S, f"not insulated in {state}"
            assert not ramping or out.current_a <= self.was_current + 1e-9, "current rises while ramping down"
        if out.on and out.direction is not self.was and self.was_current > 0.0:
            assert abs(i_seen_a) < n.ZERO_CURRENT_A, f"direction changed at {i_seen_a:.1f} A"
            assert out.current_a == 0.0
        if out.on:
            self.was = out.direction
        self.was_current = out.current_a

    # --------------------------------------------------------------------------------------------------- rules
    @initialize(power_w=st.sampled_from([-9e3, 9e3]), session=st.sampled_from([True, True, True, False]))
    def begins(self, power_w: float, session: bool) -> None:
        self.world.power_w = power_w
        if session:
            self.everything_is_fine_for_a_session()

    @rule()
    def power_is_reversed(self) -> None:
        self.world.power_w = -self.world.power_w
        self.pass_time(30)

    @rule(ticks=st.integers(1, 60))
    def time_passes(self, ticks: int) -> None:
        self.pass_time(ticks)

    @rule(ticks=st.integers(100, 700))
    def much_time_passes(self, ticks: int) -> None:
        self.pass_time(ticks)

    @rule(gap_s=st.floats(0.02, 10.0))
    def guard_hangs(self, gap_s: float) -> None:
        self.world.now += gap_s
        self.world.late = int(gap_s / TICK_S)
        self.good_grid_t += gap_s  # nobody measured in that time; the pilot MCU has opened by itself after 0.3 s of it
        self.pass_time(1)

    @rule()
    @precondition(lambda self: not self.estop_seen)
    def everything_is_fine_for_a_session(self) -> None:
        """Straight into power transfer, so that the other rules have something to break."""
        world = self.world
        fresh = Puppet(guard=world.guard, now=world.now, power_w=world.power_w)
        for name in ("mirrors", "direction", "v_dc", "i_dc", "last_lease_end", "last", "_supply_t"):
            setattr(fresh, name, getattr(world, name))
        self.world = fresh
        for _ in range(3000):
            fresh.drive_on()
            if fresh.state in ("CHARGING", "DISCHARGING") and abs(fresh.i_dc) > 5.0:
                break
            self.pass_time(1)

    @rule(power_w=st.sampled_from([-30e3, -7e3, -60.0, 0.0, 60.0, 7e3, 30e3]))
    def power_is_asked(self, power_w: float) -> None:
        self.world.power_w = power_w

    @rule(alive=st.booleans(), lease_s=st.floats(0.0, 100.0))
    def services_live_or_die(self, alive: bool, lease_s: float) -> None:
        self.world.renew, self.world.lease_s = alive, lease_s

    @rule(alive=st.booleans(), phase=PHASES, i_max=st.floats(-10, 200), i_min=st.floats(-200, 10))
    def the_car_says(self, alive: bool, phase: CarPhase, i_max: float, i_min: float) -> None:
        self.world.car_alive, self.world.phase = alive, phase
        self.world.i_max_a, self.world.i_min_a = i_max, i_min

    @rule(r_ohm=st.sampled_from([None, 0.0, 99_999.0, 100_000.0, 1e6]))
    def insulation_is(self, r_ohm: float | None) -> None:
        self.world.insulation_ohm = r_ohm

    @rule(cp=st.sampled_from(CpState))
    def the_pilot_shows(self, cp: CpState) -> None:
        self.world.cp = cp

    @rule(v=st.sampled_from([0.0, 0.2, 0.49, 0.6, 0.9, 1.0, 1.15, 1.3]), phase=st.integers(0, 2))
    def one_phase_is(self, v: float, phase: int) -> None:
        volts = list(self.world.v_pu)
        volts[phase] = v
        self.world.v_pu = (volts[0], volts[1], volts[2])

    @rule(
        v=st.sampled_from([0.0, 0.001, 0.2, 1.0, 1.0, 1.25]), f=st.sampled_from([0.8, 0.95, 1.0, 1.0, 1.05, math.nan])
    )
    def the_grid_is(self, v: float, f: float) -> None:
        self.world.v_pu, self.world.f_pu = (v, v, v), f

    @rule(pilot=st.booleans(), grid=st.booleans(), converter=st.booleans(), converter_grid=st.booleans())
    def devices_answer(self, pilot: bool, grid: bool, converter: bool, converter_grid: bool) -> None:
        self.world.pilot_alive, self.world.grid_alive = pilot, grid
        self.world.converter_alive, self.world.converter_grid_alive = converter, converter_grid

    @rule(ready=st.booleans(), confirms=st.booleans(), direction=st.sampled_from([None, *Direction]))
    def the_converter_is(self, ready: bool, confirms: bool, direction: Direction | None) -> None:
        self.world.converter_ready, self.world.confirms = ready, confirms
        if abs(self.world.i_dc) < 1.0:
            self.world.direction = direction

    @rule(stuck=st.sampled_from([None, None, 0.0, -40.0, 40.0]))
    def the_current_is_stuck(self, stuck: float | None) -> None:
        self.world.stuck_current_a = stuck

    @rule(codes=st.sampled_from([(), (), ("converter_fault",), ("converter_output_short",)]))
    def the_converter_reports(self, codes: tuple[str, ...]) -> None:
        self.world.converter_faults = codes

    @rule()
    def emergency_stop(self) -> None:
        self.world.estop = True
        self.pass_time(1)
        self.world.estop = False

    @invariant()
    def books_are_sane(self) -> None:
        guard = self.world.guard
        assert guard.charged_wh >= 0.0
        assert guard.discharged_wh >= 0.0


RELAXED = [HealthCheck.too_slow, HealthCheck.filter_too_much]
AnyWorld.TestCase.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=RELAXED
)
TestNothingMakesGuardUnsafe = AnyWorld.TestCase


class LongWorld(AnyWorld):
    """The same, for longer."""


LongWorld.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=RELAXED
)


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestNothingMakesGuardUnsafeForLong(LongWorld.TestCase):  # type: ignore[misc,name-defined]
    pass
