"""The DC side and the car: insulation, contactors, precharge; cars that leave, fall silent or change their minds."""

from __future__ import annotations

import itertools

import pytest

from firmware.guard import numbers as n
from hil.devices import car as car_module
from hil.sim import Sim
from tests.sim.rig import STILL_A, Scope, ask, dc_w, events, faults, first, idle, snap, states, transfer

V_ABOVE_CAR_V = 25.0  # over-voltage point above the car's maximum


def coming(power_w: float = 5_000.0) -> Sim:
    """A car has just been plugged in and the charger is asked for power."""
    sim = idle()
    ask(sim, power_w)
    sim.car.plug_in()
    return sim


def ended_by(sim: Sim, code: str, for_s: float) -> Scope:
    """Run until the charger is in fault because of `code`; no current may have flowed, the DC contactor is open."""
    t0 = sim.now
    scope = Scope(sim, for_s, lambda s: sim.state == "fault")
    assert first(sim, code, t0)
    assert sim.state == "fault", sim.state
    assert first(sim, "session_ended", t0).detail == "fault"
    return scope


# --------------------------------------------------------------------------------------------------------- insulation
def test_a_leak_of_50_kohm_during_transfer_ramps_down_and_opens() -> None:
    sim = transfer(10_000.0)
    t0 = sim.now
    sim.link.leak_ohm = 50e3
    scope = Scope(sim, 12.0, lambda s: sim.state == "fault")
    low = first(sim, "insulation_low", t0)
    assert low.t - t0 < 10.0  # IEC 61557-8: an insulation monitor answers within 10 s
    assert states(sim, t0)[0] == "ramp down"
    steps = [abs(b.dc_a - a.dc_a) for a, b in itertools.pairwise(scope.samples)]
    assert max(steps) < 3.0
    assert scope.first(lambda s: not s.k_dc) - low.t < 1.0
    assert snap(sim).insulation_ohm is not None
    assert snap(sim).insulation_ohm < 100_000.0  # type: ignore[operator]


def test_a_leak_is_found_by_the_cable_check_before_the_car_is_touched() -> None:
    sim = coming()
    sim.link.leak_ohm = 50e3
    scope = ended_by(sim, "insulation_low", 25.0)
    assert not any(s.k_ev for s in scope.samples)
    assert not any(s.k_dc for s in scope.samples[-100:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "code"),
    [
        pytest.param("supply", "insulation_lost", marks=pytest.mark.slow),
        pytest.param("invalid", "insulation_lost", marks=pytest.mark.slow),
        ("device_fault", "insulation_device"),
    ],
)
def test_without_a_working_insulation_monitor_the_session_ends_and_no_new_one_starts(how: str, code: str) -> None:
    sim = transfer(10_000.0)
    t0 = sim.now
    sim.imd.handle({how: how != "supply"})
    scope = Scope(sim, 6.0, lambda s: sim.state == "fault")
    assert first(sim, code, t0).t - t0 < n.INSULATION_MAX_AGE_S + 0.2
    assert not scope.samples[-1].k_dc
    sim.run(sim.now + n.FAULT_HOLD_S + 1.0)
    t1 = sim.now
    sim.car.plug_in()
    scope = Scope(sim, 6.0)
    assert not events(sim, "session_started", t1)
    assert max(s.v_dc_v for s in scope.samples) < n.SAFE_V
    assert "no fresh insulation measurement: no energy without it" in snap(sim).why


@pytest.mark.slow
def test_a_failed_self_test_ends_the_cable_check() -> None:
    sim = coming()
    sim.imd.handle({"fail_self_test": True})
    scope = ended_by(sim, "insulation_self_test_failed", 25.0)
    assert not any(s.k_ev for s in scope.samples)


# --------------------------------------------------------------------------------------------------------- contactors
@pytest.mark.slow
def test_a_dc_contactor_that_welded_under_way_is_found_when_it_should_open_and_latches() -> None:
    sim = transfer(10_000.0)
    t0 = sim.now
    sim.link.weld_dc = 1.0
    sim.operator("stop")
    scope = Scope(sim, 10.0, lambda s: sim.state == "fault")
    assert first(sim, "contactor_dc_fault", t0)
    assert scope.samples[-1].k_dc
    assert not scope.samples[-1].k_ev  # the car's own contactor separates it
    assert not scope.samples[-1].k_grid
    assert all(abs(s.dc_a) < STILL_A for s in scope.samples[1000:])
    sim.operator("start")
    sim.run(sim.now + n.FAULT_HOLD_S + 2.0)
    assert "contactor_dc_fault" in faults(sim)
    assert sim.state == "fault"
    sim.operator("clear")  # still welded: comes back
    sim.run(sim.now + 2.0)
    assert "contactor_dc_fault" in faults(sim)


def test_a_welded_contactor_whose_mirror_lies_is_found_by_the_weld_check() -> None:
    """The voltage behind the open contactor does not fall, because the welded pair still joins cable and car. The
    car's contactor is held closed by the same kind of fault, else nothing would be there to see."""
    sim = transfer(10_000.0)
    t0 = sim.now
    sim.operator("stop")
    sim.until(lambda: sim.state == "open contactors", 2.0)
    sim.converter.handle({"freeze": True})  # what the converter sees at its terminals stays the battery's voltage
    sim.run(sim.now + n.WELD_TIMEOUT_S + 1.0)
    assert "behind the open contactor" in first(sim, "contactor_welded", t0).detail
    assert sim.state == "fault"
    sim.run(sim.now + n.FAULT_HOLD_S + 2.0)
    assert "contactor_welded" in faults(sim)


def test_a_stuck_dc_contactor_ends_the_cable_check_without_voltage() -> None:
    sim = coming()
    sim.link.stuck_dc = 1.0
    scope = ended_by(sim, "contactor_dc_fault", 10.0)
    assert not any(s.k_dc for s in scope.samples)
    assert max(s.v_dc_v for s in scope.samples) < n.SAFE_V


@pytest.mark.slow
def test_a_welded_grid_contactor_is_told_when_the_lease_has_ended() -> None:
    sim = transfer(10_000.0)
    t0 = sim.now
    sim.link.weld_grid = 1.0
    sim.wish.alive = False
    scope = Scope(sim, 10.0, lambda s: sim.state == "fault")
    assert first(sim, "contactor_grid_fault", t0)
    assert scope.samples[-1].k_grid
    assert not scope.samples[-1].k_dc
    assert sim.link.converter_enable == 0.0


# ------------------------------------------------------------------------------------------- ramp test and precharge
@pytest.mark.slow
def test_a_cable_check_that_reaches_no_voltage_ends() -> None:
    sim = coming()
    sim.converter.handle({"current_gain": 0.0})
    ended_by(sim, "ramp_test_failed", 16.0)


@pytest.mark.slow
def test_precharge_that_does_not_reach_the_cars_voltage_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patient car: the usual one gives up at 7 s by itself, a little before the charger does."""
    monkeypatch.setattr(car_module, "PRECHARGE_TIMEOUT_S", 60.0)
    sim = coming()
    sim.until(lambda: sim.state == "precharge", 30.0)
    sim.converter.handle({"current_gain": 0.0})
    scope = ended_by(sim, "precharge_timeout", 20.0)
    assert not any(s.k_ev for s in scope.samples)


@pytest.mark.slow
def test_a_car_that_gives_up_precharge_ends_the_session_without_a_fault() -> None:
    sim = coming()
    sim.until(lambda: sim.state == "precharge", 30.0)
    t0 = sim.now
    sim.converter.handle({"current_gain": 0.0})
    sim.until(lambda: sim.state in ("finished", "connected"), 20.0)
    assert first(sim, "session_ended", t0).detail == "car"
    assert sim.car.reason == "precharge took too long"


# ------------------------------------------------------------------------------------------------------------ the car
def over_voltage(scope: Scope, v_max_v: float) -> float:
    """Highest converter voltage above the car's maximum + 25 V while the car's contactor was closed (V, <= 0: none)."""
    return max(s.v_dc_v for s in scope.samples if s.k_ev and s.k_dc) - v_max_v - V_ABOVE_CAR_V


def test_a_car_that_opens_its_contactor_while_charging_gets_a_bounded_load_dump() -> None:
    sim = transfer(20_000.0)
    t0 = sim.now
    sim.car._open_contactor()  # without a word, as in a crash
    scope = Scope(sim, 1.0)
    assert max(s.v_dc_v for s in scope.samples) < n.over_voltage_limit(sim.car.v_max_v, 1000.0)  # 550 V
    assert over_voltage(scope, sim.car.v_max_v) <= 0.0
    assert first(sim, "converter_output_over_voltage", t0)
    assert scope.first(lambda s: not s.k_dc) - t0 < 0.3
    assert all(abs(s.dc_a) < STILL_A for s in scope.samples[200:])


def test_a_car_that_opens_its_contactor_while_discharging_and_closes_it_again_meets_an_open_charger() -> None:
    """Without the battery the cable's voltage falls, and the current for the same power would rise without end."""
    sim = transfer(-3_000.0)
    t0 = sim.now
    sim.car._open_contactor()  # without a word to the SECC
    scope = Scope(sim, 1.5)
    opened = scope.first(lambda s: not s.k_ev)
    assert all(abs(s.dc_a) < 1.0 for s in scope.samples if s.t > opened + 0.02)
    assert first(sim, "car_disconnected", t0).t - opened < 0.5
    assert scope.samples[-1].v_dc_v < n.SAFE_V
    assert not scope.samples[-1].k_dc
    sim.link.ev_contactor = 1.0
    scope = Scope(sim, 1.0)
    assert max(abs(s.batt_a) for s in scope.samples) < 1.0
    assert first(sim, "session_ended", t0).detail == "fault"


@pytest.mark.parametrize("power_w", [20_000.0, -20_000.0])
def test_a_car_unplugged_under_load_loses_current_and_contactors_within_100_ms(power_w: float) -> None:
    sim = transfer(power_w)
    t0 = sim.now
    sim.car.unplug()
    scope = Scope(sim, 2.0)
    assert scope.first(lambda s: not s.k_dc) - t0 < 0.1
    assert all(abs(s.dc_a) < STILL_A for s in scope.samples if s.t > t0 + 0.1)
    assert max(s.v_dc_v for s in scope.samples) < n.over_voltage_limit(sim.car.v_max_v, 1000.0)
    told = {e.code for e in sim.services.events if e.t > t0}
    assert "car_left_c" in told or "converter_output_over_voltage" in told  # whichever is seen first
    assert scope.samples[-1].v_dc_v < 300.0


def test_an_open_cable_is_safe_to_touch_a_second_and_a_half_after_unplugging() -> None:
    sim = transfer(10_000.0)
    sim.car.unplug()
    scope = Scope(sim, 3.0)
    assert scope.first(lambda s: s.v_dc_v < n.SAFE_V) - scope.samples[0].t < 1.5
    assert sim.link.cable_v_v < n.SAFE_V


def test_a_car_that_leaves_state_c_in_transfer_opens_and_says_so() -> None:
    sim = transfer(-10_000.0)
    t0 = sim.now
    sim.link.ev_cp_state = 2.0
    scope = Scope(sim, 1.0)
    assert "transfer: discharging" in first(sim, "car_left_c", t0).detail
    assert scope.first(lambda s: not s.k_dc) - t0 < 0.1  # IEC 61851-1 Table A.6 sequence 8.1 via EVerest: 100 ms


def test_a_silent_car_ends_the_session_within_a_second() -> None:
    sim = transfer(10_000.0)
    t0 = sim.now
    sim.car.handle({"mute": True})
    scope = Scope(sim, 3.0)
    assert first(sim, "car_lost", t0).t - t0 < n.CAR_SILENT_S + 0.2
    assert scope.first(lambda s: abs(s.dc_a) < STILL_A) - t0 < 1.2
    assert not scope.samples[-1].k_dc


def test_a_cars_emergency_is_a_stop() -> None:
    sim = transfer(10_000.0)
    t0 = sim.now
    sim.car.emergency("test")
    scope = Scope(sim, 2.0)
    assert scope.first(lambda s: abs(s.dc_a) < STILL_A) - t0 < 0.5
    assert abs(sim.car.opened_at_a) < 5.0
    assert first(sim, "car_stop", t0)


@pytest.mark.slow
def test_three_sessions_that_end_by_the_same_fault_latch() -> None:
    sim = transfer(5_000.0)
    for count in (1, 2, 3):
        sim.link.ev_cp_state = 2.0
        sim.until(lambda: sim.state == "fault", 4.0)
        assert len(events(sim, "car_left_c")) == count
        sim.car.unplug()
        sim.run(sim.now + n.FAULT_HOLD_S + 2.0)
        if count < 3:
            assert sim.state == "idle"
            sim.car.plug_in()
            sim.until(lambda: dc_w(sim) > 1_000.0, 40.0)
    assert faults(sim) == ["car_left_c"]
    assert sim.state == "fault"
    sim.operator("clear")
    sim.run(sim.now + 1.0)
    assert sim.state == "idle"


def test_the_voltage_on_the_car_never_exceeds_its_maximum_when_the_battery_is_nearly_full() -> None:
    """CV: the car's own maximum is the charger's voltage limit."""
    sim = transfer(20_000.0)
    sim.car.v_max_v = 366.0  # just above the battery's voltage now
    scope = Scope(sim, 3.0)
    settled = scope.samples[1500:]
    assert max(s.v_dc_v for s in settled) < 366.5
    assert all(s.dc_a < 54.0 for s in settled)
    assert sim.state == "transfer: charging"
