"""All functions together: what the codes ask for, who wins, and the words for it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.grid_codes import inspect, names
from firmware.grid_support.capability import Capability, Priority
from firmware.grid_support.compose import GridSupport
from firmware.grid_support.curve import Curve
from firmware.grid_support.fcr import FCR_N, Reserve
from firmware.grid_support.fixed import FixedPf, FixedVar, PowerLimitSettings
from firmware.grid_support.freq_droop import FreqDroopSettings
from firmware.grid_support.freq_response_au import FreqResponseAuSettings
from firmware.grid_support.lfsm import LfsmSettings, LfsmSide
from firmware.grid_support.ramps import RampSettings
from firmware.grid_support.settings import SupportSettings, capability_of, settings_of
from firmware.grid_support.volt_var import VoltVarSettings
from firmware.grid_support.volt_watt import VoltWattSettings
from firmware.grid_support.watt_var import WattVarSettings

RATED_W = 22_000.0
ALL = Capability(RATED_W, RATED_W, RATED_W)
GOOD = (1.0, 1.0, 1.0)
LFSM = LfsmSettings(50.0, LfsmSide(50.2, 0.05, None, "over"), LfsmSide(49.8, 0.05, None, "under"), 0.0)
VOLT_WATT = VoltWattSettings(Curve([(1.06, 1.0), (1.10, 0.0)]), None, 0.0, "5.4.2")


def support(capability: Capability = ALL, reserve: Reserve | None = None, **parts: object) -> GridSupport:
    return GridSupport(SupportSettings(**parts), capability, reserve=reserve)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------------- composition
def test_without_functions_a_request_passes_inside_of_the_ratings() -> None:
    function = support(Capability(11_000.0, 7_000.0, 12_000.0))
    free = function.step(0.0, GOOD, 50.0, 5_000.0)
    assert (free.min_w, free.max_w, free.p_w, free.q_var) == (-7_000.0, 11_000.0, 5_000.0, 0.0)
    assert (free.limited_by, free.reason, free.clause, free.q_by, free.q_clause) == ("", "", "", "", "")
    capped = function.step(1.0, GOOD, 50.0, -9_000.0)
    assert (capped.p_w, capped.limited_by) == (-7_000.0, "rating")


def test_the_function_that_limits_is_named_with_its_clause_and_its_reason() -> None:
    function = support(frequency=LFSM)
    function.step(0.0, GOOD, 50.0, 5_000.0)
    low = function.step(1.0, GOOD, 49.3, 5_000.0)
    assert (low.p_w, low.limited_by, low.clause) == (pytest.approx(600.0), "lfsm", "under")
    assert low.reason == "lfsm permits -22000..600 W: f 49.300 Hz is below 49.8 Hz"


def test_voltage_stands_above_frequency() -> None:
    function = support(frequency=LFSM, volt_watt=VOLT_WATT)
    function.step(0.0, GOOD, 50.0, 0.0)
    both = function.step(1.0, (1.0, 1.0, 1.09), 48.8, 0.0)  # 40 % wanted, 25 % of discharging left
    assert both.p_w == pytest.approx(-5_500.0)
    assert both.min_w == both.max_w == pytest.approx(-5_500.0)


def test_a_power_limit_stands_above_a_frequency_that_wants_more_charging() -> None:
    function = support(frequency=LFSM, limit=PowerLimitSettings(0.1, 1.0, 0.0, "4.6.2"))
    function.step(0.0, GOOD, 50.0, 0.0)
    assert function.step(1.0, GOOD, 51.2, 0.0).p_w == pytest.approx(2_200.0)
    capped = function.step(2.0, GOOD, 50.0, 9_000.0)
    assert (capped.p_w, capped.limited_by, capped.clause) == (pytest.approx(2_200.0), "limit_active_power", "4.6.2")


@pytest.mark.parametrize(("f_hz", "end", "bound_w"), [(50.45, "min_w", 5_200.0), (49.55, "max_w", 800.0)])
def test_what_flows_is_the_reference_of_the_frequency_where_it_is_measured(
    f_hz: float, end: str, bound_w: float
) -> None:
    function = support(frequency=LFSM)
    for f in (50.0, f_hz):
        found = function.step(0.0, GOOD, f, 9_000.0, flowing_w=3_000.0)
    assert getattr(found, end) == pytest.approx(bound_w)


def test_the_ramp_after_entering_service_stands_above_all_that_asks_for_power() -> None:
    function = support(frequency=LFSM)
    function.step(0.0, GOOD, 50.0, 0.0)
    slow = function.step(1.0, GOOD, 51.2, 0.0, service_pu=0.05, service_clause="4.10.3")
    assert (slow.min_w, slow.max_w, slow.p_w) == (
        pytest.approx(1_100.0),
        pytest.approx(1_100.0),
        pytest.approx(1_100.0),
    )
    held = support().step(0.0, GOOD, 50.0, 9_000.0, service_pu=0.05, service_clause="4.10.3")
    assert (held.limited_by, held.clause) == ("enter_service", "4.10.3")


def test_entering_service_at_a_bad_frequency_takes_the_request_for_the_reference() -> None:
    function = support(frequency=LFSM)
    function.enter_service(0.0)
    assert function.step(0.0, GOOD, 49.7, 5_000.0).p_w == pytest.approx(5_000.0 - 880.0)


def test_who_is_at_nothing_when_the_frequency_falls_may_not_begin_to_charge_and_may_discharge() -> None:
    droop = FreqDroopSettings(60.0, 0.036, 0.036, 0.05, 0.05, 5.0, "6.5.2.7")
    function, low_hz = support(frequency=droop), 59.963  # a millihertz below the band
    function.step(0.0, GOOD, 60.0, 0.0)
    function.step(1.0, GOOD, low_hz, 0.0)
    assert function.step(60.0, GOOD, low_hz, 7_000.0).p_w == pytest.approx(-0.001 / 3.0 * RATED_W)
    assert function.step(61.0, GOOD, low_hz, -7_000.0).p_w == -7_000.0
    function.step(62.0, GOOD, 60.0, 7_000.0)
    assert function.step(70.0, GOOD, 60.0, 7_000.0).p_w == 7_000.0


def test_entering_service_begins_from_zero_with_the_soft_start_and_forgets_events() -> None:
    function = support(frequency=LFSM, ramps=RampSettings(soft_start_pu_per_s=0.1))
    function.step(0.0, GOOD, 50.0, 10_000.0)
    assert function.step(1.0, GOOD, 49.7, 10_000.0).p_w == pytest.approx(9_120.0)
    function.enter_service(2.0)
    assert function.step(2.0, GOOD, 50.0, 10_000.0).p_w == 0.0
    assert function.step(4.0, GOOD, 50.0, 10_000.0).p_w == pytest.approx(4_400.0)


def test_what_the_frequency_demands_is_not_slowed_by_a_ramp() -> None:
    function = support(frequency=LFSM, ramps=RampSettings(normal_pu_per_s=0.001))
    function.step(0.0, GOOD, 50.0, 0.0)
    assert function.step(1.0, GOOD, 48.8, 0.0).p_w == pytest.approx(-8_800.0)


def test_reactive_power_first_leaves_active_power_what_the_circle_leaves() -> None:
    function = support(reactive=FixedVar(0.6, 0.0, "5.3.5"))
    first = function.step(0.0, GOOD, 50.0, RATED_W)
    assert first.q_var == pytest.approx(0.6 * RATED_W)
    assert (first.p_w, first.max_w, first.min_w) == pytest.approx((0.8 * RATED_W, 0.8 * RATED_W, -0.8 * RATED_W))
    assert (first.limited_by, first.clause, first.q_by, first.q_clause) == ("capability", "5.3.5", "const_q", "5.3.5")


def test_active_power_first_leaves_reactive_power_what_the_circle_leaves() -> None:
    function = support(reactive=FixedVar(-1.0, 0.0, ""), priority=Priority.ACTIVE)
    first = function.step(0.0, GOOD, 50.0, 0.8 * RATED_W)
    assert (first.p_w, first.q_var, first.limited_by) == (0.8 * RATED_W, pytest.approx(-0.6 * RATED_W), "")


@pytest.mark.parametrize("asked_w", [RATED_W, -RATED_W])
def test_a_power_factor_at_full_power_keeps_its_angle(asked_w: float) -> None:
    function = support(reactive=FixedPf(0.9, True, 0.0, ""))
    p, q = (lambda r: (r.p_w, r.q_var))(function.step(0.0, GOOD, 50.0, asked_w))
    assert math.hypot(p, q) <= RATED_W * (1.0 + 1e-9)
    assert q > 0.0


def test_reactive_power_stays_inside_of_its_own_capability_and_takes_its_time() -> None:
    function = support(Capability(RATED_W, RATED_W, RATED_W, 0.44, 0.2), reactive=FixedVar(-1.0, 10.0, ""))
    assert function.step(0.0, GOOD, 50.0, 0.0).q_var == pytest.approx(-4_400.0)
    volt_var = support(reactive=VoltVarSettings(Curve([(0.9, -0.4), (1.0, 0.0)]), 10.0, ""))
    volt_var.step(0.0, GOOD, 50.0, 0.0)
    volt_var.step(1.0, (0.9, 0.9, 0.9), 50.0, 0.0)
    assert volt_var.step(11.0, (0.9, 0.9, 0.9), 50.0, 0.0).q_var == pytest.approx(-0.9 * 0.4 * RATED_W)


def test_volt_var_looks_at_the_mean_of_the_phases() -> None:
    function = support(reactive=VoltVarSettings(Curve([(0.9, -0.4), (1.0, 0.0)]), 0.0, ""))
    assert function.step(0.0, (0.85, 1.0, 1.0), 50.0, 0.0).q_var == pytest.approx(-0.2 * RATED_W)


def test_a_reserve_moves_the_request_and_not_the_limits() -> None:
    function = support(reserve=Reserve(FCR_N, 5_000.0), limit=PowerLimitSettings(0.5, 0.1, 0.0, ""))
    function.step(0.0, GOOD, 50.0, 0.0)
    function.step(1.0, GOOD, 49.9, 0.0)
    assert function.step(1e4, GOOD, 49.9, 0.0).p_w == pytest.approx(-2_200.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_request_that_is_no_number_asks_for_nothing(bad: float) -> None:
    assert support().step(0.0, GOOD, 50.0, bad).p_w == 0.0


def test_a_charger_without_power_permits_none() -> None:
    nothing = support(Capability(0.0, 0.0, 0.0), frequency=LFSM, reactive=FixedVar(0.5, 0.0, ""))
    r = nothing.step(0.0, GOOD, 49.0, 5_000.0)
    assert (r.min_w, r.max_w, r.p_w, r.q_var) == (0.0, 0.0, 0.0, 0.0)


PROFILES = {name: inspect(name, allow_unverified=True) for name in names()}
course = st.lists(
    st.tuples(
        st.floats(0.001, 20.0),
        st.tuples(*[st.floats(0.0, 1.4)] * 3),
        st.one_of(st.just(math.nan), st.floats(-3.0, 3.0)),
        st.floats(-40_000.0, 40_000.0),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200)
@given(st.sampled_from(sorted(PROFILES)), course, st.sampled_from(Priority))
def test_under_every_code_what_is_permitted_is_inside_of_ratings_and_circle(
    name: str, steps: list[tuple[float, tuple[float, float, float], float, float]], priority: Priority
) -> None:
    code = PROFILES[name]
    found = settings_of(code, RATED_W)
    function = GridSupport(
        SupportSettings(found.frequency, found.volt_watt, found.reactive, None, found.ramps, priority),
        capability_of(code, RATED_W),
    )
    t = 0.0
    for dt, v, df, asked in steps:
        t += dt
        r = function.step(t, v, code.nominal_f_hz + df, asked)
        assert -RATED_W <= r.min_w <= r.p_w <= r.max_w <= RATED_W
        assert math.hypot(r.p_w, r.q_var) <= RATED_W * (1.0 + 1e-9)
        assert bool(r.reason) == bool(r.limited_by)


@given(st.sampled_from(sorted(PROFILES)), st.floats(-20_000.0, 20_000.0), st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
def test_under_every_code_a_higher_frequency_never_makes_the_charger_take_less(
    name: str, asked_w: float, a: float, b: float
) -> None:
    code = PROFILES[name]

    def settled(df: float) -> float:
        function = GridSupport(settings_of(code, RATED_W), capability_of(code, RATED_W))
        for t, f in ((0.0, 0.0), (1.0, df), (600.0, df)):
            p_w = function.step(t, GOOD, code.nominal_f_hz + f, asked_w).p_w
        return p_w

    assert settled(min(a, b)) <= settled(max(a, b)) + 1e-6


# ------------------------------------------------------------------------------------------------------ from the codes
def test_the_droop_of_category_iii() -> None:
    code = inspect("ieee1547_2018_cat3_normB")
    found = settings_of(code, RATED_W)
    assert isinstance(found.frequency, FreqDroopSettings)
    assert (found.frequency.db_of_hz, found.frequency.k_uf, found.frequency.olrt_s) == (0.036, 0.05, 5.0)
    assert isinstance(found.reactive, FixedPf)  # the default mode is a power factor of 1
    assert found.reactive.pf == 1.0
    assert found.volt_watt is None  # off by default
    capability = capability_of(code, RATED_W)
    assert (capability.q_absorb_pu, capability.q_inject_pu) == (0.44, 0.44)
    assert found.left_out == ()


def test_the_german_lfsm_and_nothing_that_is_off() -> None:
    found = settings_of(inspect("de_vde_ar_n_4105_2018"), RATED_W)
    assert isinstance(found.frequency, LfsmSettings)
    assert found.frequency.over is not None
    assert found.frequency.under is not None
    assert (found.frequency.over.f_start_hz, found.frequency.over.droop, found.frequency.over.f_stop_hz) == (
        50.2,
        0.05,
        51.5,
    )
    assert found.frequency.under.f_stop_hz is None  # 47.5 Hz is only remembered
    assert (found.reactive, found.volt_watt) == (None, None)
    unverified = settings_of(inspect("de_vde_ar_n_4105_2018", allow_unverified=True), RATED_W).frequency
    assert isinstance(unverified, LfsmSettings)
    assert unverified.under is not None
    assert unverified.under.f_stop_hz == 47.5


def test_a_curve_that_is_only_remembered_is_left_out_and_said_so() -> None:
    careful, bold = (settings_of(inspect("us_ca_rule21", allow_unverified=a), RATED_W) for a in (False, True))
    assert careful.volt_watt is None
    assert "volt_watt: curve is only remembered" in careful.left_out
    assert careful.ramps == RampSettings()
    assert isinstance(bold.reactive, VoltVarSettings)
    assert bold.ramps == RampSettings(1.0, 0.02)
    assert bold.left_out == ()


def test_australian_curves_in_volts_become_shares_of_nominal_with_the_signs_of_this_package() -> None:
    found = settings_of(inspect("as4777_2_2020_au_a"), RATED_W)
    assert isinstance(found.frequency, FreqResponseAuSettings)
    assert found.volt_watt is not None
    assert found.volt_watt.discharge is not None
    assert found.volt_watt.discharge.at(252.9 / 230.0) == 1.0
    assert found.volt_watt.discharge.at(256.5 / 230.0) == pytest.approx(0.6)
    assert found.volt_watt.discharge.at(261.0 / 230.0) == 0.2
    assert isinstance(found.reactive, VoltVarSettings)
    assert found.reactive.curve.at(207.0 / 230.0) == -0.44  # low voltage: injects
    assert found.reactive.curve.at(258.0 / 230.0) == 0.6  # high voltage: absorbs


def test_watt_var_of_both_directions_becomes_one_curve() -> None:
    code = inspect("ieee1547_2018_cat3_normB")
    on = tuple(
        replace(s, enabled=s.name == "watt_var") if s.name in ("watt_var", "const_pf") else s for s in code.support
    )
    found = settings_of(replace(code, support=on), RATED_W).reactive
    assert isinstance(found, WattVarSettings)
    assert found.curve.points == ((-1.0, 0.44), (-0.5, 0.0), (-0.2, 0.0), (0.2, 0.0), (0.5, 0.0), (1.0, -0.44))
    assert found.response_s == 10.0


def test_a_time_constant_is_not_taken_for_the_time_to_ninety_per_cent() -> None:
    code = inspect("de_vde_ar_n_4105_2018")
    on = tuple(replace(s, enabled=True) if s.name == "volt_var" else s for s in code.support)
    found = settings_of(replace(code, support=on), RATED_W).reactive
    assert isinstance(found, VoltVarSettings)
    assert (found.response_s, round(found.share, 3)) == (10.0, 0.632)
    assert found.curve.at(1.07) == 0.436  # more than 4.6 kVA


def test_a_function_that_is_on_without_its_numbers_is_left_out_and_said_so() -> None:
    code = inspect("ieee1547_2018_cat3_normB")
    bare = tuple(replace(s, numbers=()) if s.name == "freq_droop" else s for s in code.support)
    found = settings_of(replace(code, support=bare), RATED_W)
    assert found.frequency is None
    assert found.left_out == ("freq_droop: the profile has no db_of_hz, db_uf_hz, k_of, k_uf",)


@pytest.mark.parametrize(("discharge_w", "p_w", "low_hz"), [(22_000.0, -17_600.0, 58.0), (7_000.0, -3_000.0, 58.8)])
def test_a_change_beyond_the_rating_does_not_delay_the_return(discharge_w: float, p_w: float, low_hz: float) -> None:
    droop = FreqDroopSettings(60.0, 0.036, 0.036, 0.05, 0.05, 5.0, "6.5.2.7")
    function = support(Capability(22_000.0, discharge_w, 22_000.0), frequency=droop)
    function.step(0.0, GOOD, 60.0, p_w)
    function.step(1.0, GOOD, low_hz, p_w)
    assert function.step(60.0, GOOD, low_hz, p_w).p_w == pytest.approx(-discharge_w)
    function.step(60.01, GOOD, 60.0, p_w)
    back = function.step(65.01, GOOD, 60.0, p_w)  # the open-loop response time later
    assert back.p_w == pytest.approx(p_w + 0.1 * (-discharge_w - p_w))
