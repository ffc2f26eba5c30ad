"""Power over frequency by a curve: the least above nominal, the most below it, and nothing around it."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firmware.grid_support.bounds import FREE, Bounds
from firmware.grid_support.capability import Capability
from firmware.grid_support.compose import GridSupport
from firmware.grid_support.controls import ControlRefused, control_of
from firmware.grid_support.curve import Curve
from firmware.grid_support.effective import Effective, compose
from firmware.grid_support.freq_response_au import FreqResponseAuSettings
from firmware.grid_support.freq_watt import FreqWatt, FreqWattSettings
from firmware.grid_support.lfsm import LfsmSettings, LfsmSide
from firmware.grid_support.settings import SupportSettings
from firmware.grid_support.volt_watt import VoltWattSettings
from tests.grid_support.test_controls import IEEE
from tests.protection.bench import CHAIN

RATED_W = 20_000.0
ENDS = (-RATED_W, RATED_W)
GOOD = (1.0, 1.0, 1.0)
# Below 49.8 Hz the most falls from all charging to all discharging, above 50.2 Hz the least rises the same way.
FULL = ((49.0, -1.0), (49.8, 1.0), (50.2, -1.0), (51.0, 1.0))


def settings(*points: tuple[float, float], response_s: float = 0.0, nominal: float = 50.0) -> FreqWattSettings:
    return FreqWattSettings(nominal, Curve(points), response_s, "a control")


def function(*points: tuple[float, float], response_s: float = 0.0) -> FreqWatt:
    return FreqWatt(settings(*points, response_s=response_s), RATED_W, ENDS)


# ------------------------------------------------------------------------------------------------------------ the curve
@pytest.mark.parametrize(
    ("points", "band"),
    [
        (FULL, (49.8, 50.2)),
        (((50.2, -1.0), (51.0, 1.0)), (-math.inf, 50.2)),
        (((49.0, -1.0), (49.8, 1.0)), (49.8, math.inf)),
        (((49.0, -1.0), (49.8, 0.0), (50.2, 0.0), (51.0, 1.0)), (49.8, 50.2)),
        (((49.0, -1.0), (51.0, 1.0)), (50.0, 50.0)),
        (((50.0, -1.0), (50.0, 1.0)), (50.0, 50.0)),
        (((49.0, -1.0), (50.0, 0.0)), (50.0, math.inf)),
        (((50.0, 0.0), (51.0, 1.0)), (-math.inf, 50.0)),
        (((48.0, -1.0), (49.0, -0.5), (49.5, 0.5), (50.5, 0.1), (51.0, 0.2), (52.0, 1.0)), (49.5, 50.5)),
        (((48.0, -1.0), (49.0, -0.5), (49.2, -0.5), (49.5, 0.5), (50.5, 0.1), (51.0, 0.2), (51.5, 0.2)), (49.5, 50.5)),
        (((49.0, 1.0), (49.0, -1.0), (49.5, 0.0)), None),
        (((50.2, 1.0), (50.2, -1.0), (51.0, 1.0)), (-math.inf, 50.2)),
        (((49.0, -1.0), (49.8, 1.0), (49.8, -1.0)), (49.8, math.inf)),
    ],
)
def test_around_nominal_where_the_curve_is_level_or_falls_nothing_is_asked(
    points: tuple[tuple[float, float], ...], band: tuple[float, float] | None
) -> None:
    if band is None:
        with pytest.raises(ValueError, match="falls from 1 to -1 pu between 49 and 49 Hz"):
            settings(*points)
    else:
        assert settings(*points).band == band


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (((50.2, 1.0), (51.5, 0.0)), "asks for nothing"),  # with the sign of a generator
        (((59.0, 1.0), (59.5, 0.8), (60.5, 0.8), (62.0, 0.0)), "asks for nothing"),
        (((50.0, 0.5),), "asks for nothing"),
        (((49.0, 1.0), (49.8, -1.0), (50.2, 1.0), (51.0, -1.0)), "falls from 1 to -1 pu between 49 and 49.8 Hz"),
        (((50.0, -1.0), (51.0, 0.0), (52.0, -0.1)), "falls from 0 to -0.1 pu between 51 and 52 Hz"),
        (((48.0, 0.0), (49.0, -0.1), (50.0, 1.0)), "falls from 0 to -0.1 pu between 48 and 49 Hz"),
        (((50.0, -1.0), (51.0, 1.01)), "at 51 Hz is 1.01 pu"),
        (((49.0, -1.01), (50.0, 1.0)), "at 49 Hz is -1.01 pu"),
    ],
)
def test_a_curve_that_does_not_rise_away_from_nominal_is_refused(
    points: tuple[tuple[float, float], ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        settings(*points)


# ----------------------------------------------------------------------------------------------------------- the bounds
@pytest.mark.parametrize("p_w", [-8_000.0, 0.0, 8_000.0])
@pytest.mark.parametrize(
    ("f_hz", "bounds"),
    [
        (50.0, FREE),
        (49.8, FREE),
        (50.2, FREE),
        (49.6, (-math.inf, 0.5)),  # charging gives way
        (49.4, (-math.inf, 0.0)),
        (49.2, (-math.inf, -0.5)),  # and beyond zero it discharges
        (49.0, (-math.inf, -1.0)),
        (45.0, (-math.inf, -1.0)),
        (50.4, (-0.5, math.inf)),  # discharging gives way
        (50.6, (0.0, math.inf)),
        (50.8, (0.5, math.inf)),  # and beyond zero it charges
        (51.0, (1.0, math.inf)),
        (65.0, (1.0, math.inf)),
    ],
)
def test_the_curve_is_the_most_below_nominal_and_the_least_above_it_whatever_flows(
    f_hz: float, bounds: tuple[float, float], p_w: float
) -> None:
    found = function(*FULL).step(0.0, f_hz, p_w)
    assert found == pytest.approx((bounds[0] * RATED_W, bounds[1] * RATED_W))


def test_power_between_two_points_lies_on_the_line_however_far_they_are_from_each_other() -> None:
    """A known fault of an interpolation in the field: right for points 1 Hz apart only (EVerest, Market.cpp)."""
    near = function((50.0, 0.0), (50.2, 1.0)).step(0.0, 50.1, 0.0)
    far = function((50.0, 0.0), (53.0, 1.0)).step(0.0, 51.5, 0.0)
    low = function((47.0, -1.0), (50.0, 0.0)).step(0.0, 48.5, 0.0)
    assert near.lo_w == far.lo_w == pytest.approx(0.5 * RATED_W)
    assert low == (-math.inf, pytest.approx(-0.5 * RATED_W))


@st.composite
def curves(draw: st.DrawFn) -> tuple[tuple[float, float], ...]:
    """Rises on both sides, falls between them or not, any spacing."""
    low = sorted(draw(st.lists(st.floats(45.0, 49.9), min_size=2, max_size=4, unique=True)))
    high = sorted(draw(st.lists(st.floats(50.1, 55.0), min_size=2, max_size=4, unique=True)))
    some = st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=4, unique=True).map(sorted)
    return (*zip(low, draw(some), strict=False), *zip(high, draw(some), strict=False))


@given(curves(), st.floats(45.0, 55.0), st.floats(45.0, 55.0))
@example(FULL, 49.9, 50.1)
def test_a_bound_lies_between_the_points_around_and_a_higher_frequency_never_permits_less_charging(
    points: tuple[tuple[float, float], ...], a: float, b: float
) -> None:
    a, b = sorted((a, b))
    one, other = (function(*points).step(0.0, f, 0.0) for f in (a, b))
    assert one.lo_w <= other.lo_w
    assert one.hi_w <= other.hi_w
    for f, bounds in ((a, one), (b, other)):
        p = [w / RATED_W for w in bounds if math.isfinite(w)]
        before = [y for x, y in points if x <= f][-1:]
        after = [y for x, y in points if x >= f][:1]
        for level in p:
            assert min(before + after) - 1e-9 <= level <= max(before + after) + 1e-9


@given(curves(), st.lists(st.tuples(st.floats(45.0, 55.0), st.floats(-1.0, 1.0)), max_size=12), st.floats(0.0, 5.0))
def test_only_one_side_is_ever_bound_and_never_beyond_what_can_be(
    points: tuple[tuple[float, float], ...], course: list[tuple[float, float]], response_s: float
) -> None:
    f = function(*points, response_s=response_s)
    for k, (f_hz, p_pu) in enumerate(course):
        lo_w, hi_w = f.step(k * 0.5, f_hz, p_pu * RATED_W)
        assert lo_w == -math.inf or hi_w == math.inf
        assert not (f_hz > 50.1 and hi_w < math.inf and lo_w == -math.inf and f._end_hz < f_hz)
        assert lo_w <= RATED_W * (1 + 1e-9)
        assert hi_w >= -RATED_W * (1 + 1e-9)


# --------------------------------------------------------------------------------------------------------- the response
@pytest.mark.parametrize(("f_hz", "begin_w", "want_w"), [(50.8, -6_000.0, 10_000.0), (49.2, 6_000.0, -10_000.0)])
def test_ninety_per_cent_of_the_change_of_power_are_made_after_the_response_time(
    f_hz: float, begin_w: float, want_w: float
) -> None:
    f = function(*FULL, response_s=4.0)
    assert f.step(0.0, 50.0, begin_w) == FREE
    p_w = begin_w
    for k in range(10, 51):  # power follows the bound at once
        lo_w, hi_w = f.step(k * 0.1, f_hz, p_w)
        p_w = min(max(p_w, lo_w), hi_w)
        if k == 10:
            assert p_w == begin_w
    assert p_w == pytest.approx(begin_w + 0.9 * (want_w - begin_w))


@pytest.mark.parametrize(("f_hz", "further_hz"), [(50.6, 50.9), (49.4, 49.1)])
def test_a_further_step_counts_from_the_power_that_flows_and_not_from_the_bound_beyond_it(
    f_hz: float, further_hz: float
) -> None:
    sign = 1.0 if f_hz > 50.0 else -1.0
    f = function(*FULL, response_s=4.0)
    for k in range(200):
        f.step(k * 0.1, f_hz, sign * 5_000.0)  # the bound is 0 W
    p_w = sign * 5_000.0
    for k in range(200, 241):
        lo_w, hi_w = f.step(k * 0.1, further_hz, p_w)
        p_w = min(max(p_w, lo_w), hi_w)
    assert p_w == pytest.approx(sign * (5_000.0 + 0.9 * 10_000.0))


@pytest.mark.parametrize(("f_hz", "p_w", "want_w"), [(50.6, 5_000.0, 0.0), (49.4, -5_000.0, 0.0)])
def test_power_on_the_helping_side_already_is_bound_at_once_and_not_moved(
    f_hz: float, p_w: float, want_w: float
) -> None:
    f = function(*FULL, response_s=4.0)
    found = f.step(0.0, f_hz, p_w)
    assert found == (Bounds(want_w, math.inf) if p_w > 0.0 else Bounds(-math.inf, want_w))


@pytest.mark.parametrize(("f_hz", "free_w"), [(50.8, -RATED_W), (49.2, RATED_W)])
def test_when_the_frequency_is_back_the_bound_goes_as_slowly_as_it_came_and_then_is_gone(
    f_hz: float, free_w: float
) -> None:
    f = function(*FULL, response_s=2.0)
    for k in range(100):
        f.step(k * 0.1, f_hz, 0.0)
    assert not f.rests(50.0)
    level_w = -free_w / 2.0
    f.step(10.0, 50.0, 0.0)
    back = f.step(12.0, 50.0, 0.0)
    side = 0 if f_hz > 50.0 else 1
    assert back[side] == pytest.approx(level_w + 0.9 * (free_w - level_w), rel=1e-4)
    assert math.isinf(back[1 - side])
    assert not f.rests(50.0)
    # One part in a thousand of the rating is left after 6.3 time constants of 0.87 s, 3.17 decades.
    done_s = 2.0 * math.log10(1.5 * RATED_W / (0.001 * RATED_W))
    assert f.step(10.0 + done_s - 0.01, 50.0, 0.0) != FREE
    assert f.step(10.0 + done_s + 0.01, 50.0, 0.0) != FREE  # the lag has come to its end, and is looked at
    assert f.step(10.0 + done_s + 0.02, 50.0, 0.0) == FREE
    assert f.rests(50.0)


def test_an_excursion_while_the_bound_lets_go_begins_where_that_is() -> None:
    f = function(*FULL, response_s=2.0)
    for k in range(100):
        f.step(k * 0.1, 50.8, 10_000.0)
    assert f.step(10.5, 50.0, 10_000.0).lo_w == pytest.approx(10_000.0)
    going_w = -RATED_W + 30_000.0 * 10.0**-0.05  # a tenth of a second of two
    assert f.step(10.6, 50.8, -9_000.0).lo_w == pytest.approx(going_w)
    assert f.step(12.6, 50.8, -9_000.0).lo_w == pytest.approx(10_000.0 - 0.1 * (10_000.0 - going_w))


def test_a_swing_to_the_other_side_begins_anew_at_the_power_that_flows() -> None:
    f = function(*FULL, response_s=2.0)
    for k in range(100):
        f.step(k * 0.1, 50.8, 10_000.0)
    assert f.step(10.0, 49.2, 9_000.0) == Bounds(-math.inf, 9_000.0)
    assert f.why == "f 49.200 Hz is below 49.8 Hz"
    assert f.step(12.0, 49.2, 9_000.0).hi_w == pytest.approx(9_000.0 - 0.9 * 19_000.0)
    assert f.step(12.1, 50.8, -9_000.0) == Bounds(-9_000.0, math.inf)


def test_a_frequency_that_is_not_measured_leaves_the_last_one_in_force() -> None:
    f = function(*FULL)
    assert f.step(0.0, math.nan, 0.0) == FREE
    assert not f.rests(math.nan)
    held = f.step(1.0, 50.8, 0.0)
    assert f.step(2.0, math.nan, 0.0) == held == Bounds(pytest.approx(10_000.0), math.inf)
    assert f.why == "f 50.800 Hz is above 50.2 Hz"
    f.step(3.0, 50.1, 0.0)
    assert f.why == "f 50.100 Hz is back, the power follows"


def test_more_than_the_charger_can_do_is_not_asked_for() -> None:
    f = FreqWatt(settings(*FULL), RATED_W, (-7_000.0, 11_000.0))
    assert f.step(0.0, 51.0, 0.0).lo_w == 11_000.0
    assert f.step(1.0, 49.0, 0.0).hi_w == -7_000.0
    assert f.step(2.0, 50.0, 0.0).hi_w == 11_000.0
    assert f.step(3.0, 50.0, 0.0) == FREE


def test_inside_of_the_band_it_rests_and_at_its_edges_too() -> None:
    f = function(*FULL)
    assert all(f.rests(f_hz) for f_hz in (49.8, 50.0, 50.2))
    assert not any(f.rests(f_hz) for f_hz in (49.799, 50.201))
    for f_hz in (49.8, 50.2):
        assert f.rests(f_hz)
        assert f.why == f"f {f_hz:.3f} Hz is back, the power follows"
    f.rests(50.1)
    assert f.why == "f 50.100 Hz is back, the power follows"


# ------------------------------------------------------------------------------------------------ among other functions
ALL = Capability(RATED_W, RATED_W, RATED_W)
LFSM = LfsmSettings(50.0, LfsmSide(50.2, 0.05, None, "over"), LfsmSide(49.8, 0.05, None, "under"), 0.0)
AU = FreqResponseAuSettings(48.0, 49.0, 49.75, 50.25, 50.75, 52.0, 0.1, 0.0, "au")


def support(**parts: object) -> GridSupport:
    return GridSupport(SupportSettings(**parts), ALL)  # type: ignore[arg-type]


def test_a_charger_gives_way_and_says_why() -> None:
    s = support(freq_watt=settings(*FULL))
    assert s.step(0.0, GOOD, 50.0, 8_000.0).p_w == 8_000.0
    low = s.step(1.0, GOOD, 49.4, 8_000.0)
    assert (low.p_w, low.limited_by, low.clause) == (pytest.approx(0.0), "freq_watt", "a control")
    assert low.reason == "freq_watt permits -20000..0 W: f 49.400 Hz is below 49.8 Hz"
    assert s.step(2.0, GOOD, 50.8, -8_000.0).p_w == pytest.approx(10_000.0)


@given(st.floats(48.0, 52.0), st.floats(-RATED_W, RATED_W), st.sampled_from([LFSM, AU]))
@example(50.7, -10_000.0, LFSM)
@example(49.3, 10_000.0, LFSM)
def test_beside_the_function_of_the_profile_the_tighter_holds_and_nothing_is_loosened(
    f_hz: float, asked_w: float, of_profile: LfsmSettings | FreqResponseAuSettings
) -> None:
    both = support(frequency=of_profile, freq_watt=settings(*FULL))
    only, curve = support(frequency=of_profile), support(freq_watt=settings(*FULL))
    for s in (both, only, curve):
        s.step(0.0, GOOD, 50.0, asked_w)
    found, profile, own = (s.step(1.0, GOOD, f_hz, asked_w) for s in (both, only, curve))
    assert found.min_w == pytest.approx(max(profile.min_w, own.min_w))
    assert found.max_w == pytest.approx(min(profile.max_w, own.max_w))
    quick = (found.min_w, found.max_w)
    assert (both.step(2.0, GOOD, f_hz, asked_w).min_w, both.step(3.0, GOOD, f_hz, asked_w).max_w) == quick


def test_voltage_stands_above_it_too() -> None:
    curve = VoltWattSettings(Curve([(1.06, 1.0), (1.10, 0.0)]), None, 0.0, "5.4.2")
    s = support(freq_watt=settings(*FULL), volt_watt=curve)
    s.step(0.0, GOOD, 50.0, 0.0)
    assert s.step(1.0, (1.0, 1.0, 1.09), 49.0, 0.0).p_w == pytest.approx(-0.25 * RATED_W)


def test_new_settings_go_on_from_the_bound_and_a_new_function_from_the_power() -> None:
    s = support()
    s.step(0.0, GOOD, 50.8, -8_000.0)
    s.retune(SupportSettings(freq_watt=settings(*FULL, response_s=2.0)))
    assert s.step(1.0, GOOD, 50.8, -8_000.0).p_w == -8_000.0
    assert s.step(3.0, GOOD, 50.8, -8_000.0).p_w == pytest.approx(-8_000.0 + 0.9 * 18_000.0)
    other = ((49.0, -1.0), (49.8, 1.0), (50.2, -1.0), (51.8, 1.0))
    s.retune(SupportSettings(freq_watt=settings(*other, response_s=2.0)))
    last_w = s.step(3.1, GOOD, 50.8, -8_000.0).p_w
    assert last_w == pytest.approx(8_200.0, abs=200.0)
    assert s.step(5.1, GOOD, 50.8, -8_000.0).p_w == pytest.approx(-5_000.0 + 0.1 * (last_w + 5_000.0))
    s.retune(SupportSettings())
    assert s.step(5.2, GOOD, 50.8, -8_000.0).p_w == -8_000.0


def test_a_bound_that_lets_go_under_other_settings_still_knows_its_side() -> None:
    s = support(freq_watt=settings(*FULL, response_s=2.0))
    s.step(0.0, GOOD, 50.0, -8_000.0)
    s.step(1.0, GOOD, 50.8, -8_000.0)
    s.step(9.0, GOOD, 50.8, -8_000.0)
    s.retune(SupportSettings(freq_watt=settings(*FULL, response_s=3.0)))
    back = s.step(9.1, GOOD, math.nan, -8_000.0)
    assert back.min_w == pytest.approx(10_000.0, rel=0.01)
    assert s.step(9.2, GOOD, 50.0, -8_000.0).min_w == pytest.approx(10_000.0, rel=0.01)


# ------------------------------------------------------------------------------------------------------------ a control
def composed(support_: SupportSettings, **raw: object) -> Effective:
    table = {"id": "c", "kind": "freq_watt", "points": [[59.0, -1.0], [59.8, 1.0]], **raw}
    return compose(IEEE, support_, CHAIN, [control_of(table, 0.0, "test")])


def test_a_control_lies_beside_the_droop_of_the_profile_and_has_a_time_of_its_own() -> None:
    old = SupportSettings(frequency=LFSM)
    found = composed(old)
    assert found.support.frequency is LFSM
    assert found.support.functions() == (("lfsm (over)", "over"), ("lfsm (under)", "under"),
                                         ("freq_watt", "control c of test"))  # fmt: skip
    assert found.source("freq_watt") == "c"
    assert found.support.freq_watt is not None
    assert (found.support.freq_watt.response_s, found.support.freq_watt.nominal_f_hz) == (2.0, 60.0)
    assert found.support.freq_watt.curve.points == ((59.0, -1.0), (59.8, 1.0))
    with_time = composed(old, response_s=7.0).support.freq_watt
    assert with_time is not None
    assert with_time.response_s == 7.0


def test_a_scheduled_control_stands_over_a_default() -> None:
    raw = {"kind": "freq_watt", "points": [[60.2, 0.0], [61.0, 1.0]]}
    default = control_of({"id": "d", "default": True, "priority": 0, **raw}, 0.0, "test")
    scheduled = control_of({"id": "s", "priority": 9, "duration_s": 60.0, **raw}, 0.0, "test")
    assert compose(IEEE, SupportSettings(), CHAIN, [default, scheduled]).source("freq_watt") == "s"
    assert compose(IEEE, SupportSettings(), CHAIN, [default]).source("freq_watt") == "d"


def test_a_curve_that_cannot_be_executed_is_refused_with_its_name() -> None:
    with pytest.raises(ControlRefused, match=r"^control c: the curve asks for nothing"):
        composed(SupportSettings(), points=[[60.2, 1.0], [61.5, 0.0]])
    with pytest.raises(ControlRefused, match=r"^control c: the x of its points must not fall"):
        composed(SupportSettings(), points=[[61.5, 0.0], [60.2, 1.0]])


class LongFreqWatt(FreqWatt):
    def rests(self, f_hz: float) -> bool:
        return False


@given(
    st.lists(
        st.tuples(st.sampled_from([50.0, 49.8, 50.2, 50.1, 50.6, 49.3, math.nan]), st.floats(-1.0, 1.0)), max_size=20
    )
)
def test_that_it_is_not_asked_while_it_rests_changes_nothing(course: list[tuple[float, float]]) -> None:
    quick, long = (support(frequency=LFSM, freq_watt=settings(*FULL, response_s=0.5)) for _ in range(2))
    assert long._freq_watt is not None
    long._freq_watt.__class__ = LongFreqWatt
    for k, (f_hz, asked_pu) in enumerate(course):
        for t in (k * 0.4, k * 0.4 + 0.01):  # the second step may come back to the first
            asked_w = asked_pu * RATED_W
            assert quick.step(t, GOOD, f_hz, asked_w) == long.step(t, GOOD, f_hz, asked_w)
