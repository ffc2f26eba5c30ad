"""The pilot and contactor MCU: silence in both directions, damaged frames, emergency stop, temperatures."""

from __future__ import annotations

import pytest

from firmware.guard import numbers as n
from hil.sim import Sim
from tests.sim.rig import STILL_A, Scope, dc_w, events, faults, first, idle, snap, transfer

HOST_TIMEOUT_S = 0.3  # of the MCU


def everything_open(scope: Scope, within_s: float) -> None:
    t0 = scope.samples[0].t
    assert max((s.t for s in scope.samples if abs(s.dc_a) > STILL_A), default=t0) - t0 < within_s
    assert scope.first(lambda s: not s.k_dc) - t0 < within_s
    assert scope.first(lambda s: not s.k_grid) - t0 < within_s
    assert not scope.samples[-1].k_grid
    assert not scope.samples[-1].k_dc


def session_again(sim: Sim, *, whole: bool = False) -> None:
    """The car comes again: the contactors close and voltage comes to the cable; `whole`: until power flows."""
    sim.until(lambda: sim.state == "connected", 25.0)
    t0 = sim.now
    sim.car.plug_in()
    sim.until(lambda: sim.state == "cable check: ramp test" and sim.link.cable_v_v > 400.0, 12.0)
    if whole:
        sim.until(lambda: abs(dc_w(sim)) > 9_500.0, 40.0)
    assert first(sim, "session_started", t0)


def test_damaged_frames_for_less_than_the_time_out_change_nothing() -> None:
    sim = transfer(-10_000.0)
    t0 = sim.now
    sim.pilot.handle({"corrupt_next": 12, "garbage_next": 40})
    scope = Scope(sim, 1.0)
    assert not [e for e in sim.services.events if e.t > t0]
    assert min(abs(s.dc_a) for s in scope.samples) > 25.0
    assert sim.guard.readings is not None
    assert sim.guard.readings.pilot.bad_frames > 0


@pytest.mark.parametrize("fault", [{"mute": True}, {"corrupt_next": 2000}])
def test_a_pilot_that_says_nothing_usable_is_lost_and_everything_opens(fault: dict[str, object]) -> None:
    sim = transfer(-10_000.0)
    t0 = sim.now
    sim.pilot.handle(fault)
    scope = Scope(sim, 2.0)
    assert first(sim, "pilot_lost", t0).t - t0 < 0.15
    everything_open(scope, 0.2)


@pytest.mark.slow
def test_after_the_pilot_was_lost_the_next_session_runs() -> None:
    sim = transfer(-10_000.0)
    t0 = sim.now
    sim.pilot.handle({"mute": True})
    sim.run(sim.now + 1.0)
    sim.pilot.handle({"mute": False})
    session_again(sim, whole=True)
    assert faults(sim) == []
    assert first(sim, "session_ended", t0)


def test_an_mcu_that_hears_nothing_opens_by_its_own_time_out_and_guard_says_why() -> None:
    sim = transfer(-10_000.0)
    t0 = sim.now
    sim.pilot.handle({"deaf": True})
    scope = Scope(sim, 1.0)
    everything_open(scope, HOST_TIMEOUT_S + 0.1)
    assert scope.first(lambda s: not s.k_grid) - t0 > HOST_TIMEOUT_S - 0.02
    assert first(sim, "pilot_safe_state", t0)


def test_when_guard_falls_silent_the_mcu_opens_and_stops_the_converter_and_guard_comes_back_safely() -> None:
    sim = transfer(-10_000.0)
    t0 = sim.now
    sim.guard_alive = False
    scope = Scope(sim, 1.0)
    everything_open(scope, HOST_TIMEOUT_S + 0.1)
    assert sim.pilot.com_timeout
    sim.guard_alive = True
    scope = Scope(sim, 2.0)
    assert not any(s.k_grid or s.k_dc for s in scope.samples if s.t < scope.samples[0].t + 0.1)
    assert first(sim, "pilot_safe_state", t0)
    session_again(sim)
    assert not sim.pilot.com_timeout
    assert faults(sim) == []


def test_a_silence_of_guard_shorter_than_the_time_out_is_survived() -> None:
    sim = transfer(-10_000.0)
    t0 = sim.now
    sim.guard_alive = False
    scope = Scope(sim, 0.2)
    sim.guard_alive = True
    scope.samples += Scope(sim, 2.0).samples
    assert all(s.k_dc for s in scope.samples)
    assert not [e for e in sim.services.events if e.t > t0 + 0.2]


def test_the_emergency_stop_opens_at_once_and_latches_until_released_and_cleared() -> None:
    sim = transfer(10_000.0)
    t0 = sim.now
    sim.link.estop = 1.0
    scope = Scope(sim, 2.0)
    everything_open(scope, 0.06)
    assert first(sim, "pilot_estop", t0)
    sim.link.estop = 0.0
    sim.run(sim.now + n.FAULT_HOLD_S + 2.0)
    assert "pilot_estop" in faults(sim)
    assert not sim.link.k_grid
    assert "emergency stop" in snap(sim).why
    sim.operator("clear")
    session_again(sim)


def test_clearing_while_the_emergency_stop_is_still_pressed_changes_nothing() -> None:
    sim = idle()
    sim.link.estop = 1.0
    sim.run(sim.now + 1.0)
    sim.operator("clear")
    scope = Scope(sim, 3.0)
    assert "pilot_estop" in faults(sim)
    assert not any(s.k_grid for s in scope.samples[200:])


def test_an_mcu_that_reboots_has_opened_everything_before_anybody_asks() -> None:
    sim = transfer(-10_000.0)
    t0 = sim.now
    sim.pilot.handle({"reboot": True})
    scope = Scope(sim, 3.0)
    assert max(s.t for s in scope.samples if abs(s.dc_a) > STILL_A) - t0 < 0.05
    assert scope.first(lambda s: not s.k_grid) - t0 < 0.05
    assert scope.first(lambda s: not s.k_dc) - t0 < 0.05
    assert first(sim, "pilot_lost", t0)
    assert not scope.samples[-1].k_dc


def test_a_hot_connector_ramps_down_and_a_hotter_one_is_cut_by_the_mcu_itself() -> None:
    sim = transfer(10_000.0)
    t0 = sim.now
    sim.pilot.handle({"temperatures_c": [95.0, None, None, None]})
    scope = Scope(sim, 2.0)
    assert first(sim, "pilot_temperature", t0)
    assert scope.first(lambda s: abs(s.dc_a) < STILL_A) - t0 < 0.6
    assert not scope.samples[-1].k_dc
    sim = transfer(10_000.0)
    sim.pilot.handle({"temperatures_c": [101.0, None, None, None]})
    assert Scope(sim, 0.5).first(lambda s: not s.k_dc) - t0 < 0.2


@pytest.mark.parametrize(("fault", "code"), [("cp_short", "pilot_short"), ("diode_fault", "pilot_diode_fault")])
def test_a_broken_control_pilot_opens_the_vehicle_side_within_60_ms(fault: str, code: str) -> None:
    sim = transfer(10_000.0)
    t0 = sim.now
    sim.pilot.handle({fault: True})
    everything_open(Scope(sim, 1.0), 0.06)
    assert first(sim, code, t0)
    assert not events(sim, "converter_no_echo", t0)
