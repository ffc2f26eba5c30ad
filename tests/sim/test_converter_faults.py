"""A converter that lies, hangs, restarts or ignores: what reaches the car and the grid, and what is told."""

from __future__ import annotations

import pytest

from firmware.guard import numbers as n
from hal.can import infy_codec as codec
from hil.sim import Sim
from tests.sim.rig import (
    CURRENT,
    MODE,
    MODE_READ,
    ON_OFF,
    STILL_A,
    Scope,
    answered,
    ask,
    dc_w,
    events,
    faults,
    first,
    idle,
    sent,
    states,
    transfer,
)


def broken(sim: Sim, for_s: float = 4.0, **fault: object) -> tuple[float, Scope]:
    t0 = sim.now
    sim.converter.handle(fault)
    return t0, Scope(sim, for_s)


def opened_within(scope: Scope, limit_s: float, *, grid: bool = True) -> None:
    t0 = scope.samples[0].t
    assert scope.first(lambda s: not s.k_dc) - t0 < limit_s
    if grid:
        assert scope.first(lambda s: not s.k_grid) - t0 < limit_s
    assert all(abs(s.dc_a) < STILL_A for s in scope.samples if s.t > t0 + limit_s)


# -------------------------------------------------------------------------------------------------- echoes and silence
def test_one_lost_echo_is_written_again_and_nobody_notices() -> None:
    sim = transfer(-10_000.0)
    t0 = sim.now
    sim.converter.handle({"drop_echoes": 1})
    ask(sim, -6_000.0)
    sim.run(sim.now + 2.0)
    assert dc_w(sim) == pytest.approx(-6_000.0, rel=0.03)
    assert [e.code for e in sim.services.events if e.t > t0] == ["request"]
    assert sim.converter.faults.drop_echoes == 0


def test_echoes_that_stay_away_are_a_fault_after_the_retries_and_the_session_ramps_down() -> None:
    sim = transfer(-10_000.0)
    ask(sim, -6_000.0)
    t0, scope = broken(sim, drop_echoes=10_000)
    fault = first(sim, "converter_no_echo", t0)
    assert 0.4 < fault.t - t0 < 1.2
    assert states(sim, t0)[0] == "ramp down"
    opened_within(scope, 1.5, grid=False)
    assert first(sim, "session_ended", t0).detail == "fault"


def test_a_mute_converter_is_lost_and_its_supply_is_cut() -> None:
    sim = transfer(-10_000.0)
    t0, scope = broken(sim, mute=True)
    assert first(sim, "converter_lost", t0).t - t0 < 0.55
    opened_within(scope, 0.6)
    assert faults(sim) == ["converter_lost"]  # and not also a missing echo: it had no supply to confirm the off with


def test_a_deaf_converter_is_stopped_by_its_enable_line() -> None:
    sim = transfer(10_000.0)
    t0, scope = broken(sim, deaf=True)
    assert first(sim, "converter_lost", t0)
    opened_within(scope, 0.6)


def test_a_converter_that_ignores_off_is_stopped_by_its_enable_line() -> None:
    sim = transfer(-10_000.0)
    sim.converter.handle({"ignore_off": True})
    t0 = sim.now
    sim.pilot.handle({"diode_fault": True})
    opened_within(Scope(sim, 1.0), 0.1)
    assert first(sim, "pilot_diode_fault", t0)


def test_answers_that_take_100_ms_end_the_session() -> None:
    sim = transfer(-10_000.0)
    t0, scope = broken(sim, delay_s=0.1)
    assert first(sim, "converter_no_echo", t0)
    opened_within(scope, 2.0, grid=False)


def test_a_fifth_of_all_frames_lost_is_borne() -> None:
    sim = transfer(-10_000.0)
    t0, scope = broken(sim, drop_share=0.2)
    assert min(abs(s.dc_a) for s in scope.samples) > 25.0
    assert not [e for e in sim.services.events if e.t > t0 and not e.code.startswith("grid_sense")]


def test_an_id_with_error_bits_is_no_answer() -> None:
    sim = transfer(-10_000.0)
    t0, scope = broken(sim, error_code=2)
    assert {"converter_no_echo", "converter_lost"} & {e.code for e in sim.services.events if e.t > t0}
    assert all(abs(s.dc_a) < STILL_A for s in scope.samples if s.t > t0 + 1.5)
    assert not scope.samples[-1].k_dc


@pytest.mark.slow
def test_a_babbling_bus_changes_nothing() -> None:
    sim = transfer(-10_000.0)
    t0, scope = broken(sim, babble_hz=200.0)
    assert min(abs(s.dc_a) for s in scope.samples) > 25.0
    assert not [e for e in sim.services.events if e.t > t0]


# --------------------------------------------------------------------------------------------------------- status bits
@pytest.mark.parametrize(
    ("bit", "code"),
    [
        ("St_Fault", "converter_fault"),
        ("St_OverTemperature", "converter_over_temperature"),
        ("St_InputPhaseLost", "converter_input"),
        ("St_OutputShort", "converter_output_short"),
    ],
)
def test_a_fault_bit_opens_everything_within_100_ms(bit: str, code: str) -> None:
    sim = transfer(-10_000.0)
    t0, scope = broken(sim, 1.0, status_bits=[bit])
    assert first(sim, code, t0)
    opened_within(scope, 0.1)


def test_a_warning_bit_is_told_and_power_goes_on() -> None:
    sim = transfer(-10_000.0)
    t0, scope = broken(sim, 1.0, status_bits=["St_FanFault"])
    assert first(sim, "converter_fan", t0)
    assert min(abs(s.dc_a) for s in scope.samples) > 25.0


def test_a_short_circuit_bit_latches_until_the_operator_clears_it() -> None:
    sim = idle()
    sim.converter.handle({"status_bits": ["St_OutputShort"]})
    sim.run(sim.now + 0.5)
    sim.converter.handle({"clear": True})
    sim.run(sim.now + n.FAULT_HOLD_S + 5.0)
    assert faults(sim) == ["converter_output_short"]
    assert sim.state == "fault"
    sim.operator("clear")
    sim.run(sim.now + 1.0)
    assert faults(sim) == []
    assert sim.state == "idle"


@pytest.mark.slow
def test_the_third_fault_of_one_kind_within_ten_minutes_latches() -> None:
    sim = idle()
    for count in (1, 2, 3):
        sim.until(lambda: sim.guard.readings is not None and sim.guard.readings.converter.ready, 20.0)
        sim.converter.handle({"status_bits": ["St_Fault"]})
        sim.run(sim.now + 0.3)
        sim.converter.handle({"clear": True})
        assert len(events(sim, "converter_fault")) == count
        sim.run(sim.now + n.FAULT_HOLD_S + 3.0)
        assert faults(sim) == ([] if count < 3 else ["converter_fault"])
    assert "3 times within 10 min: latched" in events(sim, "converter_fault")[-1].detail
    sim.operator("clear")
    sim.run(sim.now + 1.0)
    assert faults(sim) == []


@pytest.mark.slow
def test_two_modules_under_one_address_latch() -> None:
    sim = transfer(-10_000.0)
    t0, scope = broken(sim, id_clash=True)
    assert first(sim, "converter_id_clash", t0)
    opened_within(scope, 0.2)
    sim.converter.handle({"clear": True})
    sim.run(sim.now + 12.0)
    assert "converter_id_clash" in faults(sim)


# -------------------------------------------------------------------------------------------------------------- resets
def test_a_module_that_restarts_under_power_ends_the_session_and_gets_no_set_point_back() -> None:
    sim = transfer(-10_000.0)
    t0, scope = broken(sim, reset=0.05)
    seen = first(sim, "converter_reset", t0).t
    assert seen - t0 < 0.3
    assert all(abs(s.dc_a) < STILL_A for s in scope.samples if s.t > t0 + 0.02)
    assert not [t for t, v in sent(sim, ON_OFF, t0) if v == codec.ON]
    assert not [t for t, v in sent(sim, CURRENT, seen) if v > 0.0]
    opened_within(scope, 0.5, grid=False)
    assert first(sim, "session_ended", t0).detail == "converter"
    sim.car.plug_in()
    sim.until(lambda: sim.state == "cable check: ramp test" and sim.link.cable_v_v > 400.0, 12.0)


def test_a_module_that_boots_for_three_seconds_is_lost() -> None:
    sim = transfer(10_000.0)
    t0, scope = broken(sim, reset=True)
    assert first(sim, "converter_lost", t0)
    opened_within(scope, 0.6)


# --------------------------------------------------------------------------------------------------- mode and direction
@pytest.mark.slow
@pytest.mark.parametrize("how", ["echo", "silent"])
@pytest.mark.parametrize("power_w", [10_000.0, -10_000.0])
def test_an_ignored_mode_write_never_gives_current(how: str, power_w: float) -> None:
    sim = transfer(-power_w)
    ask(sim, power_w)
    t0, scope = broken(sim, 5.0, ignore_mode=how)
    assert first(sim, "converter_mode_unconfirmed", t0)
    gone = max(s.t for s in scope.samples if abs(s.dc_a) > STILL_A)
    written = sent(sim, MODE, t0)
    assert written
    assert gone < written[0][0] + 0.005
    assert not [v for t, v in sent(sim, CURRENT, written[0][0]) if v > 0.0]
    if how == "echo":  # it says yes and stays what it was: only the read-back tells
        assert {v for _, v in answered(sim, MODE_READ, written[0][0])} == {float(power_w > 0.0)}
    assert not scope.samples[-1].k_dc
    assert first(sim, "session_ended", t0).detail == "fault"


def test_a_power_stage_that_runs_against_its_mode_latches() -> None:
    """The module believes itself; the DC meter, read once a second, does not."""
    sim = transfer(-10_000.0)
    t0, scope = broken(sim, reverse=True)
    assert first(sim, "converter_wrong_direction", t0)
    opened_within(scope, n.WRONG_DIRECTION_S + 1.5)
    sim.run(sim.now + 12.0)
    assert "converter_wrong_direction" in faults(sim)


def test_a_current_far_above_its_set_point_trips() -> None:
    sim = transfer(10_000.0)
    t0, scope = broken(sim, current_gain=1.6)
    assert first(sim, "converter_current", t0)
    opened_within(scope, n.OVER_CURRENT_S + 0.3)


@pytest.mark.slow
def test_a_converter_that_never_answers_is_missing_and_starts_no_session() -> None:
    sim = idle()
    sim.converter.handle({"mute": True})
    sim.run(sim.now + 1.0)
    assert "converter_lost" in faults(sim)
    sim.run(sim.now + n.FAULT_HOLD_S + n.CONVERTER_BOOT_S + 2.0)
    assert "converter_missing" in faults(sim)
    ask(sim, 5_000.0)
    sim.car.plug_in()
    scope = Scope(sim, 8.0)
    assert not any(s.k_dc for s in scope.samples)
    assert sim.state == "connected"
