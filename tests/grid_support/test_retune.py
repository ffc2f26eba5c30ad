"""Other settings while the functions run: nothing jumps, each comes to its new value along its own response."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firmware.grid_support.capability import Capability
from firmware.grid_support.compose import GridSupport
from firmware.grid_support.curve import Curve
from firmware.grid_support.fixed import FixedVar, PowerLimitSettings
from firmware.grid_support.freq_droop import FreqDroopSettings
from firmware.grid_support.ramps import RampSettings
from firmware.grid_support.settings import SupportSettings
from firmware.grid_support.volt_watt import VoltWattSettings

RATED_W = 22_000.0
ALL = Capability(RATED_W, RATED_W, RATED_W)
GOOD, HIGH = (1.0, 1.0, 1.0), (1.08, 1.08, 1.08)
DROOP = FreqDroopSettings(50.0, 0.036, 0.036, 0.05, 0.05, 5.0, "droop")
VOLT_WATT = VoltWattSettings(Curve([(1.06, 1.0), (1.1, 0.0)]), None, 10.0, "volt-watt")
LIMIT = PowerLimitSettings(1.0, 0.5, 1.0, "limit")
FIXED = FixedVar(0.2, 10.0, "fixed")


def running(settings: SupportSettings, v_pu: tuple[float, float, float], f_hz: float, asked_w: float) -> GridSupport:
    """After a minute of this."""
    found = GridSupport(settings, ALL)
    for k in range(601):
        found.step(k * 0.1, v_pu, f_hz, asked_w)
    return found


@pytest.mark.parametrize(
    ("before", "after", "v_pu", "f_hz", "end_w"),
    [
        # 0.264 Hz beyond the band are 10.56 % of the rating at a droop of 5 %, half of it at 10 %.
        (
            SupportSettings(frequency=DROOP),
            SupportSettings(frequency=replace(DROOP, k_of=0.1)),
            GOOD,
            50.3,
            -20_000.0 + 0.0528 * RATED_W,
        ),
        # 1.08 pu is half way down the first curve and at a quarter of the second.
        (
            SupportSettings(volt_watt=VOLT_WATT),
            SupportSettings(volt_watt=replace(VOLT_WATT, discharge=Curve([(1.05, 1.0), (1.09, 0.0)]))),
            HIGH,
            50.0,
            -0.25 * RATED_W,
        ),
        (
            SupportSettings(limit=LIMIT),
            SupportSettings(limit=replace(LIMIT, discharge_pu=0.25)),
            GOOD,
            50.0,
            -0.25 * RATED_W,
        ),
        (
            SupportSettings(ramps=RampSettings(0.01, None)),
            SupportSettings(ramps=RampSettings(0.02, None)),
            GOOD,
            50.0,
            -20_000.0,
        ),
    ],
    ids=["droop", "volt_watt", "limit", "ramps"],
)
def test_power_goes_on_from_where_it_is_and_comes_to_what_the_new_settings_want(
    before: SupportSettings,
    after: SupportSettings,
    v_pu: tuple[float, float, float],
    f_hz: float,
    end_w: float,
) -> None:
    function = running(before, v_pu, f_hz, -20_000.0)
    last_w = function.step(60.1, v_pu, f_hz, -20_000.0).p_w
    function.retune(after)
    assert function.step(60.11, v_pu, f_hz, -20_000.0).p_w == pytest.approx(last_w, abs=0.015 * RATED_W)
    for k in range(1200):
        end = function.step(60.2 + k * 0.1, v_pu, f_hz, -20_000.0)
    assert end.p_w == pytest.approx(end_w, rel=0.01)


def test_reactive_power_goes_on_from_where_it_is() -> None:
    function = running(SupportSettings(reactive=FIXED), GOOD, 50.0, 5_000.0)
    function.retune(SupportSettings(reactive=replace(FIXED, q_pu=-0.2)))
    assert function.step(60.11, GOOD, 50.0, 5_000.0).q_var == pytest.approx(0.2 * RATED_W, rel=0.05)
    assert function.step(160.0, GOOD, 50.0, 5_000.0).q_var == pytest.approx(-0.2 * RATED_W, rel=0.01)


def test_what_is_not_touched_goes_on_as_if_nothing_had_happened() -> None:
    settings = SupportSettings(frequency=DROOP, ramps=RampSettings(0.01, None))
    one, two = (running(settings, GOOD, 50.3, -20_000.0) for _ in range(2))
    two.retune(replace(settings, limit=PowerLimitSettings(1.0, 1.0, 1.0, "none")))
    for k in range(50):
        t, f_hz = 60.1 + k * 0.1, 50.3 if k < 20 else 50.0
        assert one.step(t, GOOD, f_hz, -15_000.0).p_w == two.step(t, GOOD, f_hz, -15_000.0).p_w


def test_a_function_that_comes_new_acts_from_now_on_and_one_that_goes_lets_go() -> None:
    function = running(SupportSettings(), GOOD, 50.3, -20_000.0)
    function.retune(SupportSettings(frequency=DROOP))
    for k in range(600):
        step = function.step(60.1 + k * 0.1, GOOD, 50.3, -20_000.0)
    assert step.p_w == pytest.approx(-20_000.0 + 0.1056 * RATED_W, rel=0.01)
    function.retune(SupportSettings())
    assert function.step(121.0, GOOD, 50.3, -20_000.0).p_w == -20_000.0


def test_another_ramp_goes_on_from_where_the_old_one_was_at_its_own_rate() -> None:
    function = GridSupport(SupportSettings(ramps=RampSettings(normal_pu_per_s=0.1)), ALL)
    function.step(0.0, GOOD, 50.0, 1_000.0)
    assert function.step(1.0, GOOD, 50.0, 20_000.0).p_w == pytest.approx(3_200.0)
    function.retune(SupportSettings(ramps=RampSettings(normal_pu_per_s=0.2)))
    assert function.step(2.0, GOOD, 50.0, 20_000.0).p_w == pytest.approx(7_600.0)


def test_a_volt_watt_that_was_not_there_before_may_come_and_go() -> None:
    function = running(SupportSettings(), HIGH, 50.0, -20_000.0)
    function.retune(SupportSettings(volt_watt=VOLT_WATT))
    assert function.step(60.1, HIGH, 50.0, -20_000.0).p_w == pytest.approx(-0.5 * RATED_W)
    function.retune(SupportSettings())
    assert function.step(60.2, HIGH, 50.0, -20_000.0).p_w == -20_000.0


def test_a_converter_that_makes_no_reactive_power_is_asked_for_none_at_all() -> None:
    function = GridSupport(SupportSettings(reactive=FIXED), ALL)
    assert function.step(0.0, GOOD, 50.0, 0.0, reactive=False).q_var == 0.0
