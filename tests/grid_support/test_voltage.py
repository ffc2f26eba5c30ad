"""Power and reactive power over voltage and power, fixed values, ramps and the circle."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.grid_support.capability import Capability
from firmware.grid_support.curve import Curve
from firmware.grid_support.fixed import FixedPf, FixedVar, PowerLimit, PowerLimitSettings
from firmware.grid_support.ramps import Ramp, RampSettings
from firmware.grid_support.volt_var import VoltVar, VoltVarSettings
from firmware.grid_support.volt_watt import VoltWatt, VoltWattSettings
from firmware.grid_support.watt_var import WattPf, WattPfSettings, WattVar, WattVarSettings

RATED_W = 22_000.0
DISCHARGE = Curve([(1.06, 1.0), (1.10, 0.0)])
CHARGE = Curve([(0.90, 0.0), (0.94, 1.0)])
QU = Curve([(0.92, -0.44), (0.98, 0.0), (1.02, 0.0), (1.08, 0.44)])


# ---------------------------------------------------------------------------------------------------------- volt-watt
def test_a_high_phase_limits_discharging_and_a_low_phase_limits_charging() -> None:
    function = VoltWatt(VoltWattSettings(DISCHARGE, CHARGE, 0.0, ""), RATED_W)
    assert function.step(0.0, (1.0, 1.0, 1.0)) == (-RATED_W, RATED_W)
    assert function.step(1.0, (1.0, 1.08, 1.0)) == (pytest.approx(-0.5 * RATED_W), RATED_W)
    assert function.step(2.0, (0.92, 1.0, 1.0)) == (-RATED_W, pytest.approx(0.5 * RATED_W))
    assert function.why == "V 0.920..1.000 pu"


def test_a_direction_without_a_curve_is_free() -> None:
    assert VoltWatt(VoltWattSettings(DISCHARGE, None, 0.0, ""), RATED_W).step(0.0, (0.5,) * 3).hi_w == math.inf
    assert VoltWatt(VoltWattSettings(None, CHARGE, 0.0, ""), RATED_W).step(0.0, (1.5,) * 3).lo_w == -math.inf


def test_a_curve_that_falls_below_zero_makes_the_charger_take_power() -> None:
    absorbing = Curve([(1.06, 1.0), (1.10, -1.0)])
    function = VoltWatt(VoltWattSettings(absorbing, None, 0.0, ""), RATED_W)
    assert function.step(0.0, (1.10,) * 3).lo_w == RATED_W


def test_unbalance_that_asks_for_both_directions_at_once_permits_neither() -> None:
    function = VoltWatt(VoltWattSettings(Curve([(1.06, 1.0), (1.1, -1.0)]), CHARGE, 0.0, ""), RATED_W)
    assert function.step(0.0, (0.9, 1.0, 1.1)) == (0.0, 0.0)


def test_the_two_ends_of_volt_watt_may_meet_and_either_moves_alone() -> None:
    function = VoltWatt(VoltWattSettings(Curve([(1.06, 1.0), (1.1, -1.0)]), CHARGE, 0.0, ""), RATED_W)
    assert function.why == "V 1.000..1.000 pu"
    assert function.step(0.0, (1.1,) * 3) == (RATED_W, RATED_W)
    assert function.step(1.0, (1.0,) * 3) == (-RATED_W, RATED_W)
    assert function.step(2.0, (0.92, 1.0, 1.0)) == (-RATED_W, pytest.approx(0.5 * RATED_W))
    assert function.step(3.0, (0.92, 1.0, 1.08)) == (0.0, pytest.approx(0.5 * RATED_W))


def test_volt_watt_takes_its_response_time() -> None:
    function = VoltWatt(VoltWattSettings(DISCHARGE, None, 10.0, ""), RATED_W)
    function.step(0.0, (1.0,) * 3)
    assert function.step(1.0, (1.1,) * 3).lo_w == -RATED_W
    assert function.step(11.0, (1.1,) * 3).lo_w == pytest.approx(-0.1 * RATED_W)


@given(st.floats(0.8, 1.3), st.floats(0.8, 1.3))
def test_a_higher_voltage_never_permits_more_discharging(a: float, b: float) -> None:
    def most(v: float) -> float:
        return VoltWatt(VoltWattSettings(DISCHARGE, None, 1.0, ""), RATED_W).step(0.0, (v, v, v)).lo_w

    assert most(min(a, b)) <= most(max(a, b))


# ----------------------------------------------------------------------------------------------------- reactive power
@pytest.mark.parametrize(("v_pu", "q_pu"), [(0.9, -0.44), (0.95, -0.22), (1.0, 0.0), (1.05, 0.22), (1.2, 0.44)])
def test_volt_var_injects_at_low_voltage_and_absorbs_at_high_voltage(v_pu: float, q_pu: float) -> None:
    assert VoltVar(VoltVarSettings(QU, 5.0, "")).target_pu(0.0, v_pu, 1.0) == pytest.approx(q_pu)


def test_the_reference_voltage_moves_the_curve_sideways() -> None:
    assert VoltVar(VoltVarSettings(QU, 5.0, "", vref_pu=1.03)).target_pu(0.0, 1.03, 0.0) == 0.0
    assert VoltVar(VoltVarSettings(QU, 5.0, "", vref_pu=1.03)).target_pu(0.0, 1.08, 0.0) == pytest.approx(0.22)
    with pytest.raises(ValueError, match="vref"):
        VoltVarSettings(QU, 5.0, "", vref_pu=1.06)


def test_the_autonomous_reference_follows_the_slow_mean_inside_its_range() -> None:
    function = VoltVar(VoltVarSettings(QU, 5.0, "", autonomous_s=300.0))
    assert function.target_pu(0.0, 1.05, 0.0) == pytest.approx(0.22)
    tau_later = 1.05 - 0.05 * math.exp(-1.0)
    assert function.target_pu(300.0, 1.05, 0.0) == pytest.approx(QU.at(1.05 - (tau_later - 1.0)))
    assert function.target_pu(1e5, 1.2, 0.0) == 0.44
    assert function.target_pu(1e6, 1.2, 0.0) == 0.44  # the reference has stopped at 1.05
    assert function.target_pu(1e7, 1.06, 0.0) == 0.0


def test_watt_var_absorbs_when_discharging_and_injects_when_charging() -> None:
    curve = Curve([(-1.0, 0.44), (-0.5, 0.0), (0.5, 0.0), (1.0, -0.44)])
    function = WattVar(WattVarSettings(curve, 10.0, ""))
    assert [function.target_pu(0.0, 1.0, p) for p in (-1.0, -0.75, 0.0, 0.75, 1.0)] == pytest.approx(
        [0.44, 0.22, 0.0, -0.22, -0.44]
    )


def test_cos_phi_of_p_absorbs_as_much_as_its_power_factor_says() -> None:
    function = WattPf(WattPfSettings(Curve([(-1.0, 0.9), (-0.5, 1.0)]), 10.0, ""))
    assert function.target_pu(0.0, 1.0, -1.0) == pytest.approx(math.tan(math.acos(0.9)))
    assert function.target_pu(0.0, 1.0, -0.5) == function.target_pu(0.0, 1.0, 0.8) == 0.0
    with pytest.raises(ValueError, match="power factor"):
        WattPfSettings(Curve([(0.0, 1.0), (1.0, 0.0)]), 10.0, "")


@given(st.floats(0.05, 1.0), st.floats(-1.0, 1.0), st.booleans())
def test_a_fixed_power_factor_holds_in_both_directions(pf: float, p_pu: float, absorbing: bool) -> None:
    q = FixedPf(pf, absorbing, 10.0, "").target_pu(0.0, 1.0, p_pu)
    assert abs(p_pu) == pytest.approx(pf * math.hypot(p_pu, q), abs=1e-9)
    assert q >= 0.0 if absorbing else q <= 0.0


@pytest.mark.parametrize("pf", [0.0, -0.9, 1.01, math.nan])
def test_a_power_factor_that_cannot_be_is_refused(pf: float) -> None:
    with pytest.raises(ValueError, match="power factor"):
        FixedPf(pf, True, 10.0, "")


def test_fixed_reactive_power_is_what_was_set() -> None:
    assert FixedVar(-0.3, 10.0, "").target_pu(0.0, 1.1, 0.7) == -0.3
    with pytest.raises(ValueError, match="reactive power"):
        FixedVar(1.1, 10.0, "")


# ----------------------------------------------------------------------------------------------------- limit and ramps
def test_a_power_limit_holds_from_the_start_and_a_new_one_within_its_time() -> None:
    limit = PowerLimit(PowerLimitSettings(0.5, 0.25, 30.0, ""), RATED_W)
    assert limit.step(0.0) == (-5_500.0, 11_000.0)
    limit.settings = PowerLimitSettings(1.0, 0.0, 30.0, "")
    assert limit.step(10.0) == (-5_500.0, 11_000.0)
    assert limit.step(40.0) == pytest.approx((-550.0, 20_900.0))


@pytest.mark.parametrize("both", [(-0.1, 1.0), (1.0, 1.1)])
def test_a_power_limit_outside_of_the_rating_is_refused(both: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="limit of"):
        PowerLimitSettings(*both, 30.0, "")


def test_a_rise_is_slowed_and_a_fall_is_not() -> None:
    ramp = Ramp(RampSettings(normal_pu_per_s=0.1), RATED_W)
    assert ramp.step(0.0, 1_000.0) == 1_000.0  # settled before
    assert ramp.step(1.0, 9_000.0) == 3_200.0
    assert ramp.step(2.0, 500.0) == 500.0
    assert ramp.step(3.0, -9_000.0) == -2_200.0  # through zero, and up on the other side
    assert ramp.step(3.0, 0.0) == 0.0


def test_the_soft_start_holds_until_the_request_is_reached_once() -> None:
    ramp = Ramp(RampSettings(normal_pu_per_s=1.0, soft_start_pu_per_s=0.02), RATED_W)
    ramp.enter_service(0.0)
    assert ramp.step(5.0, 0.0) == 0.0  # a request of nothing is not a start that is over
    assert ramp.step(10.0, 4_400.0) == pytest.approx(2_200.0)
    assert ramp.step(20.0, 4_400.0) == 4_400.0
    assert ramp.step(20.5, 22_000.0) == pytest.approx(15_400.0)


def test_without_rates_the_request_passes_at_once_and_a_clock_that_runs_backwards_gives_nothing() -> None:
    free = Ramp(RampSettings(), RATED_W)
    free.enter_service(0.0)
    assert free.step(0.0, 5_000.0) == 5_000.0
    ramp = Ramp(RampSettings(soft_start_pu_per_s=0.1), RATED_W)
    ramp.enter_service(10.0)
    assert ramp.step(9.0, 5_000.0) == 0.0


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="ramp"):
        RampSettings(normal_pu_per_s=rate)


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(-22_000.0, 22_000.0)), min_size=1, max_size=8))
def test_a_ramp_does_not_depend_on_how_often_it_is_asked(course: list[tuple[int, float]]) -> None:
    coarse, fine = (Ramp(RampSettings(0.05, 0.01), RATED_W) for _ in range(2))
    for ramp in (coarse, fine):
        ramp.enter_service(0.0)
    t = 0
    for ticks, asked in course:
        coarse.step(t / 10, asked)
        fine.step(t / 10, asked)
        for k in range(1, ticks):
            fine.step((t + k) / 10, asked)
        t += ticks
        a, b = coarse.step(t / 10, asked), fine.step(t / 10, asked)
        # The soft start ends at a sample: the finer one sees that up to one tick of the coarse one earlier.
        assert abs(a) <= abs(b) + 1e-6


# ------------------------------------------------------------------------------------------------------------- circle
@given(st.floats(0.0, 3e4), st.floats(-3e4, 3e4), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_nothing_leaves_the_circle(s_va: float, q_var: float, absorb: float, inject: float) -> None:
    c = Capability(s_va, s_va, s_va, absorb, inject)
    q = c.reactive(q_var)
    assert -inject * s_va <= q <= absorb * s_va
    assert math.hypot(q, c.other(q)) == pytest.approx(s_va, abs=1e-6)
    assert c.other(2.0 * s_va + 1.0) == 0.0


@pytest.mark.parametrize("bad", [(-1.0, 1.0, 1.0), (1.0, math.nan, 1.0), (1.0, 1.0, math.inf)])
def test_ratings_that_cannot_be_are_refused(bad: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="rating"):
        Capability(*bad)
    with pytest.raises(ValueError, match="reactive capability"):
        Capability(1.0, 1.0, 1.0, 1.1, 0.0)
