"""Power over frequency in four quadrants: IEEE droop, LFSM of storage, AS/NZS, reserves."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firmware.grid_support.bounds import FREE, Bounds, Range
from firmware.grid_support.fcr import DYNAMIC_CONTAINMENT, FCR_CE, FCR_D_DOWN, FCR_D_UP, FCR_N, PRODUCTS, Reserve
from firmware.grid_support.freq_droop import FreqDroopSettings, droop_change_pu, freq_droop
from firmware.grid_support.freq_response_au import FreqResponseAuSettings, au_levels_w, freq_response_au
from firmware.grid_support.frequency_power import DONE_PU, FrequencyPower
from firmware.grid_support.lfsm import LfsmSettings, LfsmSide, lfsm, lfsm_change_pu

RATED_W = 22_000.0
DROOP = FreqDroopSettings(60.0, 0.036, 0.036, 0.05, 0.05, 5.0, "6.5.2.7")
OVER, UNDER = LfsmSide(50.2, 0.05, 51.5, "over"), LfsmSide(49.8, 0.05, 47.5, "under")
LFSM = LfsmSettings(50.0, OVER, UNDER, 2.0)
AU = FreqResponseAuSettings(48.0, 49.0, 49.75, 50.25, 50.75, 52.0, 0.1, 0.0, "au")
frequency = st.floats(45.0, 65.0)


def settle(function: FrequencyPower, f_hz: float, p_w: float, t: float = 0.0, good_hz: float = 50.0) -> Bounds:
    """The bounds a minute after a step from a good frequency to f_hz, with p_w flowing before."""
    function.step(t, good_hz, p_w)
    function.step(t + 1.0, f_hz, p_w)
    return function.step(t + 61.0, f_hz, p_w)


# ------------------------------------------------------------------------------------------------------------- IEEE
@pytest.mark.parametrize(
    ("f_hz", "change_pu"),
    [(60.0, 0.0), (60.036, 0.0), (59.964, 0.0), (60.036 + 3.0, 1.0), (59.964 - 3.0, -1.0), (60.036 + 0.3, 0.1)],
)
def test_the_droop_of_ieee_1547(f_hz: float, change_pu: float) -> None:
    assert droop_change_pu(DROOP, f_hz) == pytest.approx(change_pu)


@pytest.mark.parametrize("p_w", [-10_000.0, 0.0, 5_000.0])
def test_a_low_frequency_takes_power_from_the_charger_in_every_quadrant(p_w: float) -> None:
    bounds = settle(freq_droop(DROOP, RATED_W), 59.964 - 0.6, p_w, good_hz=60.0)
    assert bounds.lo_w == -math.inf
    assert bounds.hi_w == pytest.approx(p_w - 0.2 * RATED_W)


@pytest.mark.parametrize("p_w", [-10_000.0, 0.0, 5_000.0])
def test_a_high_frequency_makes_the_charger_take_more_in_every_quadrant(p_w: float) -> None:
    bounds = settle(freq_droop(DROOP, RATED_W), 60.036 + 0.6, p_w, good_hz=60.0)
    assert bounds.hi_w == math.inf
    assert bounds.lo_w == pytest.approx(p_w + 0.2 * RATED_W)


def test_ninety_per_cent_of_the_change_are_made_after_the_open_loop_response_time() -> None:
    function = freq_droop(DROOP, RATED_W)
    function.step(0.0, 60.0, 0.0)
    assert function.step(1.0, 59.364, 0.0).hi_w == 0.0
    assert function.step(6.0, 59.364, 0.0).hi_w == pytest.approx(-0.9 * 0.2 * RATED_W)


@given(frequency, frequency)
def test_the_higher_the_frequency_the_more_the_charger_takes(a: float, b: float) -> None:
    lo, hi = min(a, b), max(a, b)
    assert droop_change_pu(DROOP, lo) <= droop_change_pu(DROOP, hi)
    assert lfsm_change_pu(LFSM, lo) <= lfsm_change_pu(LFSM, hi)


# ------------------------------------------------------------------------------------------------------------- LFSM
@pytest.mark.parametrize(
    ("f_hz", "change_pu"),
    [(50.2, 0.0), (49.8, 0.0), (50.7, 0.2), (51.5, 0.52), (52.5, 0.52), (49.3, -0.2), (47.5, -0.92), (46.0, -0.92)],
)
def test_lfsm_is_forty_per_cent_of_rated_power_per_hertz_until_its_stop(f_hz: float, change_pu: float) -> None:
    assert lfsm_change_pu(LFSM, f_hz) == pytest.approx(change_pu)


def test_discharging_falls_and_then_charging_rises_as_the_frequency_rises() -> None:
    levels = [settle(lfsm(LFSM, RATED_W), f, -4_400.0).lo_w for f in (50.3, 50.7, 51.2)]
    assert levels == pytest.approx([-3_520.0, 0.0, 4_400.0])


def test_charging_gives_way_and_then_discharging_rises_as_the_frequency_falls() -> None:
    levels = [settle(lfsm(LFSM, RATED_W), f, 4_400.0).hi_w for f in (49.7, 49.3, 48.8)]
    assert levels == pytest.approx([3_520.0, 0.0, -4_400.0])


def test_a_side_that_the_code_does_not_have_asks_for_nothing() -> None:
    only_over = LfsmSettings(50.0, OVER, None, 2.0)
    only_under = LfsmSettings(50.0, None, LfsmSide(49.8, 0.05, None, ""), 2.0)
    assert settle(lfsm(only_over, RATED_W), 48.0, 5_000.0) == FREE
    assert settle(lfsm(only_under, RATED_W), 51.0, -5_000.0) == FREE
    assert lfsm_change_pu(only_under, 40.0) == pytest.approx(-3.92)
    assert lfsm_change_pu(LfsmSettings(50.0, LfsmSide(50.2, 0.05, None, ""), None, 2.0), 60.0) == pytest.approx(3.92)


def test_the_reference_is_the_power_when_the_frequency_left_and_not_what_flows_later() -> None:
    function = lfsm(LFSM, RATED_W)
    function.step(0.0, 50.0, -10_000.0)
    function.step(1.0, 50.7, -10_000.0)
    assert function.reference_w == -10_000.0
    assert function.step(61.0, 50.7, 3_000.0).lo_w == pytest.approx(-5_600.0)


def test_the_bound_is_gone_when_the_change_has_died_away() -> None:
    function = lfsm(LFSM, RATED_W)
    settle(function, 50.7, -10_000.0)
    still = function.step(62.0, 50.0, -5_600.0)
    assert still.lo_w == pytest.approx(-5_600.0)
    assert function.step(63.0, 50.0, -6_000.0).lo_w < -6_000.0
    assert function.step(90.0, 50.0, -9_990.0) == FREE
    assert function.reference_w is None


def test_after_an_event_with_a_hold_power_stays_and_then_goes_back_on_the_ramp() -> None:
    function = lfsm(LfsmSettings(50.0, OVER, UNDER, 0.0, release_hold_s=600.0, release_pu_per_min=0.1), RATED_W)
    function.step(0.0, 50.0, -10_000.0)
    function.step(1.0, 50.7, -10_000.0)
    assert function.step(2.0, 50.7, -5_600.0).lo_w == pytest.approx(-5_600.0)
    assert function.step(3.0, 50.1, -5_600.0).lo_w == pytest.approx(-10_000.0)
    assert function.step(602.9, 50.1, -10_000.0).lo_w == pytest.approx(-10_000.0)
    assert function.step(603.0 + 60.0, 50.1, -10_000.0).lo_w == pytest.approx(-12_200.0)
    assert function.step(603.0 + 1199.0, 50.1, 0.0).lo_w < -50_000.0
    assert function.step(603.0 + 1201.0, 50.1, 0.0) == FREE


def test_an_excursion_restarts_the_hold_and_one_on_the_ramp_takes_a_new_reference() -> None:
    function = lfsm(LfsmSettings(50.0, OVER, UNDER, 0.0, release_hold_s=100.0, release_pu_per_min=0.1), RATED_W)
    for t, f in ((0.0, 50.0), (1.0, 50.7), (2.0, 50.0), (90.0, 50.3), (91.0, 50.0)):
        function.step(t, f, -10_000.0)
    assert function.step(190.9, 50.0, -10_000.0).lo_w == pytest.approx(-10_000.0)
    assert function.reference_w == -10_000.0
    function.step(251.0, 50.0, -12_000.0)
    function.step(252.0, 50.3, -12_000.0)
    assert function.reference_w == -12_000.0


def test_a_swing_from_one_side_to_the_other_changes_the_side_of_the_bound() -> None:
    function = lfsm(LFSM, RATED_W)
    assert settle(function, 50.7, 0.0).hi_w == math.inf
    function.step(62.0, 49.3, 4_400.0)
    bounds = function.step(90.0, 49.3, 0.0)
    assert (bounds.lo_w, bounds.hi_w) == (-math.inf, pytest.approx(-4_400.0))
    assert (function.why, function.clause) == ("f 49.300 Hz is below 49.8 Hz", "under")


def test_a_frequency_that_is_not_measured_leaves_the_last_one_in_force() -> None:
    function = lfsm(LFSM, RATED_W)
    assert function.step(0.0, math.nan, 0.0) == FREE
    function.step(1.0, 50.7, 0.0)
    assert function.step(61.0, math.nan, 0.0).lo_w == pytest.approx(4_400.0)
    assert (function.why, function.clause) == ("f 50.700 Hz is above 50.2 Hz", "over")
    function.step(62.0, 50.0, 0.0)
    assert "is back" in function.why


@given(st.lists(st.tuples(st.floats(0.01, 5.0), st.floats(49.0, 51.0)), min_size=1, max_size=20), st.floats(-2e4, 2e4))
@example([(0.25, 50.21875), (1.0, 50.0), (0.01, 49.5), (1.0, 51.0)], 0.0)
def test_more_samples_of_the_same_frequency_change_nothing(course: list[tuple[float, float]], p_w: float) -> None:
    coarse, fine, t, near_w = lfsm(LFSM, RATED_W), lfsm(LFSM, RATED_W), 0.0, 0.002 * RATED_W
    for dt, f in course:
        a, b = coarse.step(t, f, p_w), fine.step(t, f, p_w)
        # The end of an event is seen at a sample, so one sampled more often may already be over.
        if coarse.reference_w is not None and fine.reference_w is not None:
            (level, least), (fine_level, fine_least) = (
                (x.lo_w, True) if x.hi_w == math.inf else (x.hi_w, False) for x in (a, b)
            )
            assert level == pytest.approx(fine_level, abs=near_w)
            # After a swing of some milliseconds from one side to the other, a change that has nearly died away (the
            # one of the last event, that the fine one has already ended) decides which side is bound.
            assert least is fine_least or abs(level - p_w) <= DONE_PU * RATED_W + near_w
        for k in (0.25, 0.5, 0.75):
            fine.step(t + k * dt, f, p_w)
        t += dt


# ------------------------------------------------------------------------------------------------------------ AS/NZS
@pytest.mark.parametrize(
    ("f_hz", "p_w", "level_w"),
    [
        (49.75, 10_000.0, 10_000.0),
        (49.375, 10_000.0, 5_000.0),
        (49.0, 10_000.0, 0.0),
        (48.5, 10_000.0, -11_000.0),
        (48.0, 10_000.0, -22_000.0),
        (47.5, 10_000.0, -22_000.0),
        (49.0, -6_000.0, -6_000.0),
        (48.5, -6_000.0, -14_000.0),
        (50.25, -10_000.0, -10_000.0),
        (50.5, -10_000.0, -5_000.0),
        (50.75, -10_000.0, 0.0),
        (51.375, -10_000.0, 11_000.0),
        (52.0, -10_000.0, 22_000.0),
        (50.75, 6_000.0, 6_000.0),
        (51.375, 6_000.0, 14_000.0),
    ],
)
def test_the_lines_of_as_4777(f_hz: float, p_w: float, level_w: float) -> None:
    assert au_levels_w(AU, p_w, RATED_W).at(f_hz) == pytest.approx(level_w)


def test_the_australian_response_lets_go_only_inside_of_its_hysteresis() -> None:
    function = freq_response_au(AU, RATED_W)
    function.step(0.0, 50.0, 10_000.0)
    assert function.step(1.0, 49.375, 10_000.0).hi_w == pytest.approx(5_000.0)
    assert function.step(2.0, 49.84, 5_000.0).hi_w == pytest.approx(10_000.0)
    assert function.step(3.0, 49.85, 10_000.0) == FREE
    assert function.step(4.0, 49.84, 10_000.0) == FREE


def test_a_discharging_charger_in_australia_may_not_discharge_less_on_the_first_line() -> None:
    bounds = settle(freq_response_au(AU, RATED_W), 49.4, -6_000.0)
    assert bounds.hi_w == pytest.approx(-6_000.0)


def test_australian_frequencies_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="must rise"):
        FreqResponseAuSettings(48.0, 49.9, 49.75, 50.25, 50.75, 52.0, 0.1, 0.0, "")


# ----------------------------------------------------------------------------------------------------------- reserves
@pytest.mark.parametrize(
    ("product", "f_hz", "share"),
    [
        (FCR_N, 49.95, -0.5),
        (FCR_N, 50.2, 1.0),
        (FCR_D_UP, 49.9, 0.0),
        (FCR_D_UP, 49.7, -0.5),
        (FCR_D_UP, 50.4, 0.0),
        (FCR_D_DOWN, 50.3, 0.5),
        (FCR_D_DOWN, 49.6, 0.0),
        (FCR_CE, 49.9, -0.5),
        (DYNAMIC_CONTAINMENT, 50.015, 0.0),
        (DYNAMIC_CONTAINMENT, 49.8, -0.05),
        (DYNAMIC_CONTAINMENT, 50.5, 1.0),
    ],
)
def test_the_curves_of_the_reserve_markets(product: object, f_hz: float, share: float) -> None:
    reserve = Reserve(product, 10_000.0)  # type: ignore[arg-type]
    reserve.step(0.0, 50.0)
    reserve.step(1.0, f_hz)
    assert reserve.step(2000.0, f_hz) == pytest.approx(share * 10_000.0, abs=1e-3)


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda p: p.name)
@given(f=st.floats(48.0, 52.0), g=st.floats(48.0, 52.0))
def test_a_reserve_never_hurts_and_never_exceeds_its_bid(product: object, f: float, g: float) -> None:
    curve = product.curve  # type: ignore[attr-defined]
    assert -1.0 <= curve.at(f) <= 1.0
    assert curve.at(min(f, g)) <= curve.at(max(f, g))
    assert curve.at(f) * (f - 50.0) >= -1e-9


def test_fcr_d_has_delivered_its_share_after_seven_and_a_half_seconds() -> None:
    reserve = Reserve(FCR_D_UP, 1_000.0)
    reserve.step(0.0, 50.0)
    reserve.step(1.0, 49.5)
    assert reserve.step(8.5, math.nan) == pytest.approx(-860.0)


@pytest.mark.parametrize("bid_w", [0.0, -1.0, math.inf, math.nan])
def test_a_bid_that_is_none_is_refused(bid_w: float) -> None:
    with pytest.raises(ValueError, match="bid"):
        Reserve(FCR_N, bid_w)


# -------------------------------------------------------------------------------------------------------------- range
ends = st.tuples(st.floats(-3e4, 3e4), st.floats(-3e4, 3e4)).map(lambda p: Bounds(min(p), max(p)))


@given(st.lists(ends, max_size=6), st.floats(-3e4, 3e4))
def test_a_range_only_shrinks_and_is_never_empty(carvings: list[Bounds], p_w: float) -> None:
    span = Range(-22_000.0, 22_000.0, "rating")
    for k, bounds in enumerate(carvings):
        lo, hi = span.lo_w, span.hi_w
        span.carve(bounds, str(k))
        assert lo <= span.lo_w <= span.hi_w <= hi
        for end, by in ((span.lo_w, span.lo_by), (span.hi_w, span.hi_by)):
            if end not in (lo, hi):
                assert by == str(k)
    moved, who = span.clamp(p_w)
    assert span.lo_w <= moved <= span.hi_w
    assert (who == "") == (moved == p_w)


def test_what_lies_outside_of_what_is_left_gets_the_nearest_end() -> None:
    span = Range(-5_000.0, 5_000.0, "rating")
    span.carve(Bounds(8_000.0, math.inf), "frequency")
    assert (span.lo_w, span.hi_w, span.lo_by, span.hi_by) == (5_000.0, 5_000.0, "frequency", "rating")
    span = Range(-5_000.0, 5_000.0, "rating")
    span.carve(Bounds(-math.inf, -8_000.0), "frequency")
    assert (span.lo_w, span.hi_w, span.lo_by, span.hi_by) == (-5_000.0, -5_000.0, "rating", "frequency")


def test_a_frequency_that_crosses_the_end_of_the_band_again_and_again_does_not_wear_the_reference_down() -> None:
    function = freq_droop(DROOP, RATED_W)
    references = set()
    for k in range(200):
        function.step(k * 0.05, 60.037 if k % 2 else 60.035, -5_000.0 + 20.0 * k)  # the power of now is less and less
        references.add(function.reference_w)
    assert references == {None, -4_980.0}


@pytest.mark.parametrize(("pause_s", "reference_w"), [(0.9, -5_000.0), (1.1, -3_000.0)])
def test_a_second_after_an_excursion_the_next_one_takes_the_power_of_now(pause_s: float, reference_w: float) -> None:
    function = freq_droop(DROOP, RATED_W)
    function.step(0.0, 60.037, -5_000.0)
    function.step(0.01, 60.0, -5_000.0)
    assert function.reference_w is None
    function.step(0.01 + pause_s, 60.037, -3_000.0)
    assert function.reference_w == reference_w
