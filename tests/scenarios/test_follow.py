"""One channel as a function of another: the verdict of a mean against a curve with tolerances, by property too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.bench.capture import Capture, Channel
from hil.conformance.plot import _drawn
from hil.scenarios.follow import Follow, band, span
from hil.scenarios.verdict import KINDS, Band, Instant, Must, Verdict, describe, judge

P, F, U, E = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.ERROR
LINE = ((220.0, -1000.0), (240.0, 1000.0))  # 100 var for each volt
T0 = Instant("t0", Band("v", low=231.0))


def capture(q_before: float, q_after: float, *, v: float = 235.0, accuracy: float = 0.0, swing: float = 0.0) -> Capture:
    """Volts from 230 to `v` at 2 s; var from one value to the other at the same moment; 6 s of it."""
    made = Capture({"v": Channel("v", "V"), "q": Channel("q", "var", accuracy)}, period_s=0.01)
    for k in range(601):
        late = k >= 200
        q = (q_after if late else q_before) + swing * (1.0 if k % 20 < 10 else -1.0)
        made.add(k * 0.01, {"v": v if late else 230.0, "q": q})
    return made


def follows(share: float = 1.0, x_off: float = 0.0, y_off: float = 50.0, until_s: float = 3.0) -> Must:
    demand = Follow("v", "q", LINE, x_off, y_off, share)
    return Must("follows", "test", "t0", follow=demand, from_s=until_s - 1.0, until_s=until_s)


def verdict(made: Capture, must: Must) -> Verdict:
    (outcome,) = judge(made, [must], (T0,))
    return outcome.verdict


@pytest.mark.parametrize(("q", "wanted"), [(500.0, P), (549.0, P), (451.0, P), (551.0, F), (449.0, F), (-500.0, F)])
def test_the_mean_must_lie_on_the_curve_of_the_measured_input_within_the_tolerance(q: float, wanted: Verdict) -> None:
    assert verdict(capture(0.0, q), follows()) is wanted


@pytest.mark.parametrize(("q", "wanted"), [(749.0, P), (751.0, F), (249.0, F), (251.0, P)])
def test_the_tolerance_of_the_input_widens_the_band_by_the_slope(q: float, wanted: Verdict) -> None:
    assert verdict(capture(0.0, q), follows(x_off=2.0)) is wanted


@pytest.mark.parametrize(("q", "wanted"), [(450.0, P), (510.0, F), (390.0, F)])
def test_a_share_is_of_the_way_from_where_it_stood_before(q: float, wanted: Verdict) -> None:
    assert verdict(capture(0.0, q), follows(share=0.9)) is wanted


def test_what_swings_around_the_curve_decides_nothing() -> None:
    assert verdict(capture(0.0, 500.0, swing=300.0), follows()) is P


@pytest.mark.parametrize(("q", "wanted"), [(530.0, P), (545.0, U), (555.0, U), (565.0, F)])
def test_a_limit_inside_of_the_accuracy_decides_nothing(q: float, wanted: Verdict) -> None:
    assert verdict(capture(0.0, q, accuracy=10.0), follows()) is wanted


def test_a_recording_that_ends_too_early_is_undecided_and_one_without_the_channel_an_error() -> None:
    assert verdict(capture(0.0, 500.0), follows(until_s=9.0)) is U
    made = capture(0.0, 500.0)
    lacking = Must("follows", "test", "t0", follow=Follow("v", "w", LINE, 0.0, 1.0), until_s=1.0)
    assert verdict(made, lacking) is E


def test_the_demand_is_a_sentence_with_its_window() -> None:
    assert "follows" in KINDS
    text = describe(follows(share=0.9))
    assert "90% of the way" in text
    assert "from 2 s to 3 s after t0" in text


def test_a_curve_that_steps_permits_both_of_its_values_and_one_point_is_a_constant() -> None:
    step = ((1.0, 0.0), (1.0, 5.0))
    assert span(step, 1.0, 1.0) == (0.0, 5.0)
    assert span(step, 0.0, 0.5) == (0.0, 0.0)
    assert span(((1.0, 7.0),), -9.0, 9.0) == (7.0, 7.0)


@pytest.mark.parametrize("points", [(), ((2.0, 0.0), (1.0, 0.0))])
def test_what_is_no_curve_is_refused(points: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match="no curve"):
        Follow("v", "q", points, 0.0, 0.0)


xs = st.floats(0.0, 10.0)
ys = st.floats(-100.0, 100.0)


@given(st.lists(st.tuples(xs, ys), min_size=1, max_size=6), xs, st.floats(0.0, 3.0), ys, st.floats(0.01, 1.0))
def test_wider_tolerances_never_fail_what_narrower_ones_pass(
    points: list[tuple[float, float]], x: float, off: float, before: float, share: float
) -> None:
    f = Follow("v", "q", tuple(sorted(points)), off, 1.0, share)
    inner, outer = band(f, x, before, -0.1, -0.1), band(f, x, before, 0.1, 0.1)
    assert outer[0] <= inner[0]
    assert inner[1] <= outer[1]
    low, high = span(f.points, x, x)
    settled = band(Follow("v", "q", f.points, off, 1.0), x, before)
    assert settled[0] <= low <= high <= settled[1]


def test_the_plot_draws_the_band_that_the_curve_comes_to_in_its_window() -> None:
    drawn = _drawn(capture(0.0, 500.0), follows(), 2.0)
    assert drawn.band == Band("q", pytest.approx(450.0), pytest.approx(550.0))
    assert (drawn.kind, drawn.from_s, drawn.until_s) == ("always", 2.0, 3.0)
    plain = Must("always", "x", band=Band("q", 0.0, 1.0))
    assert _drawn(capture(0.0, 1.0), plain, 2.0) is plain
