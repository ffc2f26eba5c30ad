"""The very ends of ranges, bands and lines: where one digit or one sign more would change what the charger does."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firmware.grid_codes import GridCode, inspect, names
from firmware.grid_support.bounds import FREE, Bounds, Range
from firmware.grid_support.capability import Capability, Priority
from firmware.grid_support.compose import GridSupport
from firmware.grid_support.curve import Curve
from firmware.grid_support.fcr import DYNAMIC_CONTAINMENT, FCR_CE, FCR_D_DOWN, FCR_D_UP, FCR_N, Product, Reserve
from firmware.grid_support.fixed import FixedPf, FixedVar, PowerLimit, PowerLimitSettings
from firmware.grid_support.freq_droop import FreqDroopSettings, droop_change_pu, freq_droop
from firmware.grid_support.freq_response_au import FreqResponseAuSettings, freq_response_au
from firmware.grid_support.frequency_power import FrequencyPower
from firmware.grid_support.lfsm import LfsmSettings, LfsmSide, lfsm
from firmware.grid_support.ramps import Ramp, RampSettings
from firmware.grid_support.response import Response
from firmware.grid_support.settings import ReactiveSettings, SupportSettings, capability_of, settings_of
from firmware.grid_support.volt_var import VoltVar, VoltVarSettings
from firmware.grid_support.volt_watt import VoltWatt, VoltWattSettings
from firmware.grid_support.watt_var import WattPfSettings, WattVarSettings

RATED_W = 22_000.0
GOOD = (1.0, 1.0, 1.0)
DROOP = FreqDroopSettings(60.0, 0.036, 0.036, 0.05, 0.05, 0.0, "")
AU = FreqResponseAuSettings(48.0, 49.0, 49.75, 50.25, 50.75, 52.0, 0.1, 0.0, "")
OVER, UNDER = LfsmSide(50.2, 0.05, None, "over"), LfsmSide(49.8, 0.05, None, "under")


def support(capability: Capability, **parts: object) -> GridSupport:
    return GridSupport(SupportSettings(**parts), capability)  # type: ignore[arg-type]


def answer(
    change_w: float = 1000.0, *, response_s: float = 0.0, rated_w: float = RATED_W, **more: float
) -> FrequencyPower:
    """A function that asks for a constant change outside of 49.8..50.2 Hz."""
    return FrequencyPower(
        "f", lambda _f, _p: change_w, (49.8, 50.2), ("under", "over"), rated_w, response_s=response_s, **more
    )


# --------------------------------------------------------------------------------------------------------------- range
def test_who_says_nothing_moves_nothing() -> None:
    span = Range(-5_000.0, 5_000.0, "rating")
    span.carve(FREE, "idle")
    assert (span.lo_w, span.hi_w, span.lo_by, span.hi_by) == (-5_000.0, 5_000.0, "rating", "rating")


def test_the_same_limit_once_more_keeps_the_name_of_who_was_there_before() -> None:
    span = Range(-5_000.0, 5_000.0, "rating")
    span.carve(Bounds(-5_000.0, 5_000.0), "again")
    assert (span.lo_by, span.hi_by) == ("rating", "rating")


@pytest.mark.parametrize("p_w", [-5_000.0, 2_000.0])
def test_where_no_choice_is_left_the_names_of_those_who_left_none_stay(p_w: float) -> None:
    span = Range(-5_000.0, 5_000.0, "rating")
    span.carve(Bounds(p_w, p_w), "only this")
    before = span.lo_by, span.hi_by
    span.carve(Bounds(4_000.0, math.inf), "must charge")
    span.carve(Bounds(-math.inf, -5_000.0), "must discharge")
    assert (span.lo_w, span.hi_w, span.lo_by, span.hi_by) == (p_w, p_w, *before)


# ------------------------------------------------------------------------------------------------------------- ratings
def test_without_more_words_all_of_the_apparent_power_may_be_reactive() -> None:
    c = Capability(10.0, 10.0, 10.0)
    assert (c.reactive(20.0), c.reactive(-20.0)) == (10.0, -10.0)


def test_a_power_a_little_beyond_the_apparent_power_leaves_nothing_of_the_other_kind() -> None:
    c = Capability(1.0, 1.0, 1.0)
    assert (c.other(1.001), c.other(1.0), c.other(0.6)) == (0.0, 0.0, pytest.approx(0.8))


@pytest.mark.parametrize("k", range(3))
def test_a_rating_a_little_below_zero_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match="rating"):
        Capability(*(-0.005 if i == k else 1.0 for i in range(3)))


@pytest.mark.parametrize("both", [(-0.005, 1.0), (1.0, -0.005), (1.005, 1.0), (1.0, 1.005)])
def test_a_reactive_capability_a_little_outside_of_its_range_is_refused(both: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="reactive capability"):
        Capability(1.0, 1.0, 1.0, *both)


def test_the_ramp_after_entering_service_counts_from_the_larger_rating_in_both_directions() -> None:
    function = support(Capability(11_000.0, 7_000.0, 11_000.0))
    half = function.step(0.0, GOOD, 50.0, -9_000.0, service_pu=0.5)
    assert (half.min_w, half.max_w, half.p_w, half.limited_by) == (-5_500.0, 5_500.0, -5_500.0, "enter_service")
    nearly = function.step(1.0, GOOD, 50.0, 11_000.0, service_pu=0.995)
    assert nearly.max_w == pytest.approx(0.995 * 11_000.0)
    assert (nearly.min_w, nearly.limited_by) == (-7_000.0, "enter_service")


# ------------------------------------------------------------------------------------------------- power and its circle
THREE_VAR = FixedVar(0.6, 0.0, "5.3.5")  # of 5 VA: 4 W are left, exactly


@pytest.mark.parametrize(
    ("charge_w", "discharge_w", "ends"),
    [
        (5.0, 5.0, (-4.0, "capability", 4.0, "capability")),
        (5.0, 4.0, (-4.0, "rating", 4.0, "capability")),
        (4.0, 5.0, (-4.0, "capability", 4.0, "rating")),
        (4.0, 3.0, (-3.0, "rating", 4.0, "rating")),
    ],
)
def test_an_end_of_the_range_that_lies_on_the_circle_is_not_moved_by_it(
    charge_w: float, discharge_w: float, ends: tuple[float, str, float, str]
) -> None:
    function = support(Capability(charge_w, discharge_w, 5.0), reactive=THREE_VAR)
    for t, asked_w in enumerate((0.0, charge_w, -discharge_w)):
        r = function.step(float(t), GOOD, 50.0, asked_w)
        assert r.q_var == 3.0
        assert (r.min_w, r.min_by, r.max_w, r.max_by) == ends
        assert r.p_w == max(-4.0, min(asked_w, 4.0))
        assert r.limited_by == ("capability" if abs(asked_w) > 4.0 else "")


@pytest.mark.parametrize("p_w", [4.0, -4.0])
def test_a_power_that_must_flow_is_no_more_than_the_circle_leaves(p_w: float) -> None:
    must = FreqDroopSettings(50.0, 0.1, 0.1, 0.01, 0.01, 0.0, "droop")
    function = support(Capability(5.0, 5.0, 5.0), reactive=THREE_VAR, frequency=must)
    function.step(0.0, GOOD, 50.0, 0.0)
    r = function.step(1.0, GOOD, 50.0 + p_w, 0.0)  # wants 5 W
    assert (r.min_w, r.max_w, r.p_w) == (p_w, p_w, p_w)


@pytest.mark.parametrize("asked_w", [4.0, -4.0, 2.0])
def test_a_step_like_the_one_before_gives_the_same_permission_again(asked_w: float) -> None:
    for priority in Priority:
        function = support(Capability(5.0, 5.0, 5.0), reactive=THREE_VAR, priority=priority)
        first = function.step(0.0, GOOD, 50.0, asked_w)
        assert function.step(1.0, (1.05, 1.0, 0.95), 50.0, asked_w) is first
        assert function.step(2.0, GOOD, 50.0, asked_w / 2.0) is not first


@pytest.mark.parametrize("asked_w", [5_000.0, -5_000.0])
def test_a_power_factor_well_inside_of_the_circle_is_that_of_the_power_that_flows(asked_w: float) -> None:
    r = support(Capability(RATED_W, RATED_W, RATED_W), reactive=FixedPf(0.9, True, 0.0, "")).step(
        0.0, GOOD, 50.0, asked_w
    )
    assert (r.p_w, r.q_var) == (asked_w, pytest.approx(5_000.0 * math.tan(math.acos(0.9))))


def test_at_the_circle_the_reactive_function_is_asked_again_for_the_power_that_is_left_in_its_own_direction() -> None:
    only_discharging = WattPfSettings(Curve([(-1.0, 0.9), (-0.5, 0.95), (0.0, 1.0)]), 0.0, "")
    function = support(Capability(RATED_W, RATED_W, RATED_W), reactive=only_discharging)
    full = function.step(0.0, GOOD, 50.0, -RATED_W)
    first_q = RATED_W * math.tan(math.acos(0.9))
    room = math.sqrt(RATED_W**2 - first_q**2)
    pf = Curve([(-1.0, 0.9), (-0.5, 0.95)]).at(-room / RATED_W)
    assert full.q_var == pytest.approx(room * math.tan(math.acos(pf)))
    assert full.p_w == pytest.approx(-math.sqrt(RATED_W**2 - full.q_var**2))
    charging = function.step(1.0, GOOD, 50.0, RATED_W)
    assert (charging.p_w, charging.q_var) == (RATED_W, 0.0)


def test_watt_var_follows_the_power_that_flows_in_both_directions() -> None:
    curve = Curve([(-1.0, 0.44), (-0.5, 0.0), (0.5, 0.0), (1.0, -0.44)])
    function = support(Capability(RATED_W, RATED_W, RATED_W), reactive=WattVarSettings(curve, 0.0, "5.3.4"))
    assert function.step(0.0, GOOD, 50.0, -0.75 * RATED_W).q_var == pytest.approx(0.22 * RATED_W)
    charging = function.step(1.0, GOOD, 50.0, 0.75 * RATED_W)
    assert (charging.q_var, charging.q_by) == (pytest.approx(-0.22 * RATED_W), "watt_var")


def switched_on(name: str, section: str, rated_w: float = RATED_W) -> ReactiveSettings | None:
    """What becomes of a profile in which only this reactive function is on."""
    code = inspect(name, allow_unverified=True)
    reactive = ("volt_var", "watt_var", "cosphi_p", "const_q", "const_pf")
    support = tuple(replace(s, enabled=s.name == section) if s.name in reactive else s for s in code.support)
    return settings_of(replace(code, support=support), rated_w).reactive


def test_a_power_factor_over_power_comes_from_the_code_with_discharging_on_the_left() -> None:
    found = switched_on("de_vde_ar_n_4105_2018", "cosphi_p")
    assert isinstance(found, WattPfSettings)
    assert found.curve.at(-1.0) == 0.9
    assert found.curve.at(0.0) == found.curve.at(1.0) == 1.0
    assert found.response_s == 10.0


@pytest.mark.parametrize(("rated_w", "pf", "q_pu"), [(4600.0, 0.95, 0.329), (4600.1, 0.9, 0.436)])
def test_a_charger_of_up_to_4600_w_has_the_narrower_curves_of_vde(rated_w: float, pf: float, q_pu: float) -> None:
    factor = switched_on("de_vde_ar_n_4105_2018", "cosphi_p", rated_w)
    assert isinstance(factor, WattPfSettings)
    assert (factor.curve.at(-1.0), factor.curve.at(-0.5)) == (pf, 1.0)
    volt_var = switched_on("de_vde_ar_n_4105_2018", "volt_var", rated_w)
    assert isinstance(volt_var, VoltVarSettings)
    assert (volt_var.curve.at(1.07), volt_var.curve.at(0.93)) == (q_pu, -q_pu)


def test_a_fixed_reactive_power_comes_from_the_code_with_its_sign_turned() -> None:
    names_with = [n for n in names() if (s := inspect(n).section("const_q")) and "q_pu" in dict(s.numbers)]
    assert names_with
    for name in names_with:
        section = inspect(name).section("const_q")
        assert section is not None
        found = switched_on(name, "const_q")
        assert isinstance(found, FixedVar)
        assert found.q_pu == -section.number("q_pu").value
        assert math.copysign(1.0, found.q_pu) > 0.0 or found.q_pu < 0.0  # a turned zero is no negative one


def renumbered(name: str, section: str, *gone: str, **values: float) -> GridCode:
    """A profile with numbers of one section taken away, and others (Setting of f_start_hz's kind) put in."""
    code = inspect(name, allow_unverified=True)
    found = code.section(section)
    assert found is not None
    kept = [(k, n) for k, n in found.numbers if k not in gone and k not in values]
    some = found.numbers[0][1]
    new = replace(found, numbers=(*kept, *((k, replace(some, value=v)) for k, v in values.items())))
    return replace(code, support=tuple(new if s.name == section else s for s in code.support))


TIMES = ("olrt_s", "response_max_s", "step_response_s", "tau_s")


def test_without_a_time_in_the_code_frequency_functions_take_two_seconds() -> None:
    droop = settings_of(renumbered("ieee1547_2018_cat3_normB", "freq_droop", *TIMES), RATED_W).frequency
    assert isinstance(droop, FreqDroopSettings)
    assert droop.olrt_s == 2.0
    australia = settings_of(
        renumbered("as4777_2_2020_au_a", "freq_response", "hysteresis_hz", *TIMES), RATED_W
    ).frequency
    assert isinstance(australia, FreqResponseAuSettings)
    assert (australia.response_s, australia.hysteresis_hz) == (2.0, 0.0)


def test_the_quicker_time_of_the_two_sides_holds_for_both_and_one_side_alone_is_enough() -> None:
    code = renumbered("de_vde_ar_n_4105_2018", "lfsm_o", *TIMES, step_response_s=7.0)
    both = settings_of(code, RATED_W).frequency
    assert isinstance(both, LfsmSettings)
    under_s = both.response_s
    assert under_s < 7.0
    alone = replace(code, support=tuple(s for s in code.support if s.name != "lfsm_u"))
    over = settings_of(alone, RATED_W).frequency
    assert isinstance(over, LfsmSettings)
    assert (over.under, over.response_s) == (None, 7.0)
    neither = replace(alone, support=tuple(s for s in alone.support if s.name != "lfsm_o"))
    assert settings_of(neither, RATED_W).frequency is None


def test_a_code_that_asks_for_no_reactive_capability_leaves_all_of_it() -> None:
    code = inspect("ieee1547_2018_cat3_normB")
    bare = replace(code, support=tuple(s for s in code.support if s.name != "reactive_capability"))
    c = capability_of(bare, RATED_W)
    assert (c.q_absorb_pu, c.q_inject_pu) == (1.0, 1.0)


# ----------------------------------------------------------------------------------------------------------- reserves
@pytest.mark.parametrize(
    ("product", "f_hz", "after_s", "share"),
    [
        (FCR_N, 50.1, 60.0, 0.63),
        (FCR_D_UP, 49.5, 7.5, -0.86),
        (FCR_D_DOWN, 50.5, 7.5, 0.86),
        (FCR_CE, 49.8, 30.0, -0.99),
        (DYNAMIC_CONTAINMENT, 50.5, 1.0, 0.99),
    ],
)
def test_a_reserve_has_made_its_share_at_the_time_of_its_product(
    product: Product, f_hz: float, after_s: float, share: float
) -> None:
    reserve = Reserve(product, 1_000.0)
    reserve.step(0.0, 50.0)
    reserve.step(10.0, f_hz)
    assert reserve.step(10.0 + after_s, f_hz) == pytest.approx(share * 1_000.0)


@pytest.mark.parametrize(
    ("df_hz", "share"), [(0.015, 0.0), (0.0151, 0.05 * 0.0001 / 0.185), (0.2, 0.05), (0.497, 0.9905), (0.5, 1.0)]
)
def test_the_corners_of_dynamic_containment(df_hz: float, share: float) -> None:
    assert DYNAMIC_CONTAINMENT.curve.at(50.0 + df_hz) == pytest.approx(share, abs=1e-9)
    assert DYNAMIC_CONTAINMENT.curve.at(50.0 - df_hz) == pytest.approx(-share, abs=1e-9)


def test_a_reserve_gives_nothing_before_the_first_frequency_and_takes_the_smallest_bid() -> None:
    reserve = Reserve(FCR_N, 0.005)
    assert reserve.step(0.0, math.nan) == 0.0
    assert reserve.step(1000.0, math.nan) == 0.0


# -------------------------------------------------------------------------------------------------------- fixed values
def test_the_smallest_power_factor_is_above_zero() -> None:
    assert FixedPf(0.005, True, 0.0, "").target_pu(0.0, 1.0, 0.001) == pytest.approx(0.2, rel=1e-3)


@pytest.mark.parametrize("q_pu", [-1.0, 1.0])
def test_fixed_reactive_power_may_be_all_of_the_rating_and_not_a_little_more(q_pu: float) -> None:
    assert FixedVar(q_pu, 0.0, "").target_pu(0.0, 1.0, 0.0) == q_pu
    with pytest.raises(ValueError, match="reactive power"):
        FixedVar(1.005 * q_pu, 0.0, "")


@pytest.mark.parametrize("both", [(-0.005, 1.0), (1.0, -0.005), (1.005, 1.0), (1.0, 1.005)])
def test_a_power_limit_a_little_outside_of_its_range_is_refused(both: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="limit of"):
        PowerLimitSettings(*both, 0.0, "")


@pytest.mark.parametrize("changed", [{"charge_pu": 0.5}, {"discharge_pu": 0.5}])
def test_a_power_limit_that_is_changed_in_one_direction_follows_in_that_one(changed: dict[str, float]) -> None:
    before = PowerLimitSettings(0.75, 0.75, 0.0, "")
    limit = PowerLimit(before, RATED_W)
    assert limit.step(0.0) == Bounds(-16_500.0, 16_500.0)
    limit.settings = after = replace(before, **changed)
    assert limit.step(1.0) == Bounds(-after.discharge_pu * RATED_W, after.charge_pu * RATED_W)


@pytest.mark.parametrize(("reach_s", "share"), [(-0.005, 0.9), (1.0, -0.005), (1.0, 1.005)])
def test_a_lag_a_little_outside_of_its_range_is_refused(reach_s: float, share: float) -> None:
    with pytest.raises(ValueError, match="response time"):
        Response(reach_s, share)


def test_a_lag_of_a_few_milliseconds_is_no_jump() -> None:
    lag = Response(0.004, start=0.0)
    lag.step(0.0, 1.0)
    assert lag.step(0.004, 1.0) == pytest.approx(0.9)


def test_a_time_that_runs_backwards_by_milliseconds_takes_nothing_back() -> None:
    lag = Response(1.0, start=0.0)
    lag.step(0.0, 1.0)
    reached = lag.step(0.5, 1.0)
    assert lag.step(0.495, 1.0) == reached


def test_a_lag_may_make_a_small_share() -> None:
    lag = Response(1.0, 0.005, start=0.0)
    lag.step(0.0, 1.0)
    assert lag.step(1.0, 1.0) == pytest.approx(0.005)


# ----------------------------------------------------------------------------------------------------------- frequency
@pytest.mark.parametrize(
    ("f_hz", "change_pu"),
    [(60.036 + 0.005, 0.005 / 3.0), (60.030, 0.0), (59.970, 0.0), (59.964 - 0.005, -0.005 / 3.0)],
)
def test_the_droop_begins_right_at_the_dead_band(f_hz: float, change_pu: float) -> None:
    assert droop_change_pu(DROOP, f_hz) == pytest.approx(change_pu, abs=1e-12)


@pytest.mark.parametrize("f_hz", [60.0, 60.030, 59.970])
def test_inside_of_the_dead_band_the_droop_binds_nothing(f_hz: float) -> None:
    assert freq_droop(DROOP, RATED_W).step(0.0, f_hz, 5_000.0) == FREE


def test_two_equal_frequencies_of_the_australian_response_are_refused() -> None:
    with pytest.raises(ValueError, match="must rise"):
        FreqResponseAuSettings(48.0, 49.0, 49.75, 50.25, 50.25, 52.0, 0.1, 0.0, "")


def test_the_australian_response_lets_go_of_over_frequency_inside_of_its_hysteresis() -> None:
    function = freq_response_au(AU, RATED_W)
    function.step(0.0, 50.0, -10_000.0)
    function.step(1.0, 50.5, -10_000.0)
    assert function.step(2.0, 50.16, -5_000.0) == Bounds(-10_000.0, math.inf)
    assert function.step(3.0, 50.15, -10_000.0) == FREE


@pytest.mark.parametrize("f_hz", [49.8, 50.2])
def test_the_ends_of_the_band_are_inside_of_it(f_hz: float) -> None:
    function = answer()
    assert function.step(0.0, f_hz, 3_000.0) == FREE
    assert function.reference_w is None
    function.step(1.0, 51.0, 3_000.0)
    function.step(2.0, f_hz, 3_000.0)
    assert "is back" in function.why


@pytest.mark.parametrize(("left_pu", "over"), [(0.001005, False), (0.000995, True)])
def test_a_change_has_died_away_at_a_thousandth_of_rated_power(left_pu: float, over: bool) -> None:
    function = answer(RATED_W, response_s=1.0)
    function.step(0.0, 51.0, 0.0)
    function.step(100.0, 51.0, 0.0)
    function.step(200.0, 50.0, 0.0)
    decay_s = -math.log(left_pu) / math.log(10.0)  # 90 % in each second
    assert (function.step(200.0 + decay_s, 50.0, 0.0) == FREE) is over


def test_a_change_that_has_just_died_away_no_longer_says_which_side_is_bound() -> None:
    exactly = answer(1.0, rated_w=1_000.0)  # a thousandth; it asks for charging, although the frequency is low
    assert exactly.step(0.0, 49.0, 0.0) == Bounds(-math.inf, 1.0)
    more = answer(1.1, rated_w=1_000.0)
    assert more.step(0.0, 49.0, 0.0) == Bounds(1.1, math.inf)


@pytest.mark.parametrize(("change_w", "bounds"), [(0.005, (0.005, math.inf)), (-0.005, (-math.inf, -0.005))])
def test_the_sign_of_the_change_decides_however_small_the_charger(change_w: float, bounds: tuple[float, float]) -> None:
    f_hz = 49.0 if change_w > 0.0 else 51.0  # against the side, as after a swing
    assert answer(change_w, rated_w=1.0).step(0.0, f_hz, 0.0) == bounds


@pytest.mark.parametrize("reference_w", [RATED_W, RATED_W + 1_000.0])
@pytest.mark.parametrize("change_w", [0.005, 1_000.0])
def test_where_the_rating_is_reached_not_a_hundredth_of_a_watt_more_is_asked_for(
    reference_w: float, change_w: float
) -> None:
    assert answer(change_w).step(0.0, 51.0, reference_w) == (reference_w, math.inf)
    assert answer(-change_w).step(0.0, 49.0, -reference_w) == (-math.inf, -reference_w)


@pytest.mark.parametrize(("after_s", "least_w"), [(0.995, 6_000.0), (1.0, 4_500.0)])
@pytest.mark.parametrize("retuned", [False, True])
def test_an_excursion_that_comes_again_within_a_second_is_the_same_one(
    after_s: float, least_w: float, retuned: bool
) -> None:
    function = answer(1000.0)
    assert function.step(0.0, 51.0, 5_000.0) == (6_000.0, math.inf)
    assert function.step(2.0, 50.0, 6_000.0) == FREE
    if retuned:
        before, function = function, answer(1000.0)
        function.take_over(before)
    assert function.step(2.0 + after_s, 51.0, 3_500.0) == (least_w, math.inf)


@pytest.mark.parametrize(("f_hz", "sign"), [(51.0, -1.0), (49.0, 1.0)])
def test_the_bound_goes_back_on_its_ramp_from_the_moment_the_frequency_is_back(f_hz: float, sign: float) -> None:
    function = answer(0.0, ramp_w_per_s=1_000.0)

    def bound(t: float) -> float:
        found = function.step(t, 50.0, 0.0)
        return found.lo_w if sign < 0.0 else found.hi_w

    function.step(0.0, f_hz, 4_000.0)
    assert bound(10.0) == 4_000.0
    assert bound(11.0) == 4_000.0 + sign * 1_000.0
    assert bound(53.9) == pytest.approx(4_000.0 + sign * 43_900.0)
    assert function.step(54.0, 50.0, 0.0) == FREE  # from one end of the rating to the other


def test_without_a_hold_the_ramp_of_lfsm_begins_when_the_frequency_is_back() -> None:
    function = lfsm(LfsmSettings(50.0, OVER, UNDER, 0.0, release_pu_per_min=1.0), RATED_W)
    function.step(0.0, 50.7, -10_000.0)
    assert function.step(1.0, 50.0, -5_600.0).lo_w == -10_000.0


def test_an_excursion_at_the_very_beginning_of_the_ramp_takes_a_new_reference() -> None:
    function = answer(ramp_w_per_s=1.0)
    function.step(0.0, 51.0, 0.0)
    function.step(10.0, 50.0, 500.0)
    function.step(10.005, 50.0, 500.0)
    function.step(10.006, 51.0, 500.0)
    assert function.reference_w == 500.0


# --------------------------------------------------------------------------------------------------------------- ramps
def test_the_soft_start_is_for_entering_service_only() -> None:
    ramp = Ramp(RampSettings(normal_pu_per_s=1.0, soft_start_pu_per_s=0.02), RATED_W)
    ramp.step(0.0, 0.0)
    assert ramp.step(1.0, RATED_W) == RATED_W


def test_service_begins_from_exactly_zero() -> None:
    for asked_w in (5_000.0, -5_000.0):
        ramp = Ramp(RampSettings(soft_start_pu_per_s=0.1), RATED_W)
        ramp.enter_service(0.0)
        assert ramp.step(0.0, asked_w) == 0.0


@pytest.mark.parametrize("course", [(0.1, 0.2, 0.9), (0.9, -0.9, -0.2), (-0.1, 0.0, -0.5), (-0.5, 0.5, 0.5)])
def test_a_ramp_is_the_same_for_a_charger_a_million_times_as_small(course: tuple[float, ...]) -> None:
    scale = 2.0**-20  # a power of two: nothing is rounded
    large, small = (Ramp(RampSettings(normal_pu_per_s=0.1), RATED_W * k) for k in (1.0, scale))
    for t, asked_pu in enumerate(course):
        asked_w = asked_pu * RATED_W
        assert small.step(float(t), asked_w * scale) == large.step(float(t), asked_w) * scale


# ------------------------------------------------------------------------------------------------------------ volt-var
@pytest.mark.parametrize("phase", range(3))
def test_a_phase_at_a_step_of_volt_watt_is_beyond_it(phase: int) -> None:
    curve = Curve([(1.0, 1.0), (1.06, 1.0), (1.06, 0.25), (1.1, 0.25)])
    function = VoltWatt(VoltWattSettings(curve, None, 0.0, ""), RATED_W)
    good, high = (1.0, 1.0, 1.0), tuple(1.06 if k == phase else 1.0 for k in range(3))
    found = [function.step(float(t), v).lo_w for t, v in enumerate((good, good, high, high, good))]  # type: ignore[arg-type]
    assert found == [-RATED_W, -RATED_W, -0.25 * RATED_W, -0.25 * RATED_W, -RATED_W]


@example([(1, 100, 100, 100), (1, 112, 112, 112), (1, 112, 112, 112), (1, 112, 112, 112)])
@example([(1, 100, 100, 100), (1, 86, 86, 86), (1, 86, 86, 86), (1, 86, 86, 86)])
@given(st.lists(st.tuples(st.integers(1, 30), *[st.integers(86, 112)] * 3), max_size=30))
def test_volt_watt_that_remembers_its_targets_is_that_which_looks_at_its_curves_in_every_step(
    course: list[tuple[int, int, int, int]],
) -> None:
    settings = VoltWattSettings(Curve([(1.06, 1.0), (1.1, 0.0)]), Curve([(0.88, 0.0), (0.92, 1.0)]), 0.5, "")
    plain, looking = VoltWatt(settings, RATED_W), VoltWatt(settings, RATED_W)
    t = 0.0
    for tenths, *percent in course:
        t += tenths / 10.0
        a, b, c = (p / 100.0 for p in percent)
        looking._level = (math.inf, -math.inf)
        assert plain.step(t, (a, b, c)) == looking.step(t, (a, b, c))


def test_where_a_level_stretch_ends_in_a_step_the_later_point_holds() -> None:
    function = VoltVar(VoltVarSettings(Curve([(0.9, 0.4), (1.0, 0.4), (1.0, -0.4), (1.1, -0.4)]), 0.0, ""))
    assert [function.target_pu(0.0, v, 0.0) for v in (0.95, 1.0, 0.95)] == [0.4, -0.4, 0.4]


QU = Curve([(0.92, -0.44), (0.98, 0.0), (1.02, 0.0), (1.08, 0.44)])


@pytest.mark.parametrize("vref_pu", [0.95, 1.05])
def test_the_ends_of_the_reference_voltage_are_allowed_and_a_little_more_is_not(vref_pu: float) -> None:
    assert VoltVar(VoltVarSettings(QU, 0.0, "", vref_pu=vref_pu)).target_pu(0.0, vref_pu, 0.0) == 0.0
    with pytest.raises(ValueError, match="vref"):
        VoltVarSettings(QU, 0.0, "", vref_pu=vref_pu + math.copysign(0.001, vref_pu - 1.0))


@pytest.mark.parametrize(("v_pu", "vref_pu"), [(0.90, 0.95), (1.10, 1.05)])
def test_the_autonomous_reference_stops_at_the_ends_of_its_range(v_pu: float, vref_pu: float) -> None:
    function = VoltVar(VoltVarSettings(QU, 0.0, "", autonomous_s=300.0))
    function.target_pu(0.0, v_pu, 0.0)
    assert function.target_pu(1e6, v_pu, 0.0) == pytest.approx(QU.at(v_pu - (vref_pu - 1.0)))


def test_a_power_factor_over_power_may_be_small_and_not_above_one() -> None:
    assert WattPfSettings(Curve([(0.0, 0.005)]), 0.0, "").curve.at(0.0) == 0.005
    with pytest.raises(ValueError, match="power factor"):
        WattPfSettings(Curve([(0.0, 1.005)]), 0.0, "")
