"""Profiles compiled for a source: what it cannot play is refused, what it plays differently is reported."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.bench.profile import GridCaps, GridPoint, ProfileError, Segment, compile_profile

CAPS = GridCaps()
START = GridPoint((230.0, 230.0, 230.0), 50.0)


def compiled(*profile: Segment, caps: GridCaps = CAPS):  # type: ignore[no-untyped-def]
    return compile_profile(profile, caps, START)


@pytest.mark.parametrize(
    ("segment", "caps", "sentence"),
    [
        (Segment(0.5, "step", 301.0), CAPS, "0 to 300 V"),
        (Segment(0.5, "step", None, 70.0), CAPS, "45 to 66 Hz"),
        (Segment(0.0005, "hold"), CAPS, "shorter than"),
        (Segment(0.5, "wobble"), CAPS, "must be one of"),
        (Segment(0.5, "hold", 100.0), CAPS, "changes nothing"),
        (Segment(0.5, "jump"), CAPS, "needs jump_deg"),
        (Segment(0.5, "jump", jump_deg=200.0), CAPS, "-180 to 180"),
        (Segment(0.5, "jump", jump_deg=20.0), replace(CAPS, phase_jump=False), "cannot jump"),
        (Segment(0.5, "step", (230.0, 0.0, 230.0)), replace(CAPS, per_phase=False), "phases differ"),
        (Segment(0.5, "step", harmonics=((5, 0.1, 0.0),)), CAPS, "only a sine"),
        (Segment(0.01, "step", 0.0), replace(CAPS, v_slew_v_s=1000.0), "230 ms for the step"),
        (Segment(0.1, "ramp", 0.0), replace(CAPS, v_slew_v_s=1000.0), "0.23 s for the ramp"),
        (Segment(0.1, "step", None, 51.0), replace(CAPS, f_slew_hz_s=5.0), "200 ms for the step"),
    ],
)
def test_what_a_source_cannot_play_is_refused_with_the_segment_and_the_reason(
    segment: Segment, caps: GridCaps, sentence: str
) -> None:
    with pytest.raises(ProfileError, match="segment 2.*" + sentence):
        compiled(Segment(0.1, "hold"), segment, caps=caps)


def test_an_empty_profile_and_too_many_points_are_refused() -> None:
    with pytest.raises(ProfileError, match="at least one"):
        compiled()
    with pytest.raises(ProfileError, match="needs 101 points; this source has 100"):
        compiled(*[Segment(0.1, "hold")] * 101)


def test_a_slow_source_makes_a_step_into_a_ramp_and_says_so() -> None:
    plan = compiled(Segment(0.5, "step", 130.0), caps=replace(CAPS, v_slew_v_s=1000.0))
    assert plan.at(0.05)[0] == pytest.approx((180.0,) * 3)
    assert plan.at(0.2)[0] == (130.0,) * 3
    assert any("takes 100 ms" in text for text in plan.deviations)


def test_what_a_source_rounds_is_reported() -> None:
    plan = compiled(Segment(0.10049, "step", 230.04, 50.004))
    assert plan.points[0].dt_s == pytest.approx(0.1)
    assert plan.points[0].v_v == pytest.approx((230.0,) * 3)
    assert plan.points[0].f_hz == pytest.approx(50.0)
    assert len(plan.deviations) == 2
    assert not compiled(Segment(0.1, "hold")).deviations


def test_a_source_without_ramps_plays_a_staircase_and_says_so() -> None:
    plan = compiled(Segment(1.0, "ramp", 200.0), caps=replace(CAPS, ramps=False, points_max=31))
    assert len(plan.points) == 31
    assert plan.length_s == pytest.approx(1.0)
    assert plan.points[-1].v_v == pytest.approx((200.0,) * 3)
    assert any("staircase of 31" in text for text in plan.deviations)
    ideal = compiled(Segment(1.0, "ramp", 200.0))
    assert all(abs(plan.at(t / 50)[0][0] - ideal.at(t / 50)[0][0]) < 1.2 for t in range(50))


def test_jumps_add_up_and_act_at_the_start_of_their_segment() -> None:
    plan = compiled(
        Segment(0.1, "jump", jump_deg=20.0), Segment(0.1, "hold"), Segment(0.1, "step", 100.0, jump_deg=-50.0)
    )
    assert [plan.at(t)[2] for t in (-0.1, 0.0, 0.15, 0.2, 9.0)] == [0.0, 20.0, 20.0, -30.0, -30.0]


segments = st.lists(
    st.builds(
        Segment,
        dt_s=st.floats(0.001, 3.0),
        shape=st.sampled_from(("step", "ramp")),
        v_v=st.none() | st.floats(0.0, 300.0),
        f_hz=st.none() | st.floats(45.0, 66.0),
    ),
    min_size=1,
    max_size=12,
)


@given(profile=segments, slew=st.floats(100.0, 1e6))
def test_nothing_that_compiles_moves_faster_than_the_source_can(profile: list[Segment], slew: float) -> None:
    caps = replace(CAPS, v_slew_v_s=slew)
    try:
        plan = compile_profile(profile, caps, START)
    except ProfileError:
        return
    assert len(plan.points) <= caps.points_max
    t, h = 0.0, 0.0005
    for k, point in enumerate(plan.points):
        assert point.t_s == pytest.approx(t)
        assert point.dt_s >= caps.t_min_s - 1e-12
        assert point.move_s <= point.dt_s + 1e-9
        t += point.dt_s
        was = plan.points[k - 1].v_v if k else START.v_v
        if point.move_s > 0.0:
            assert abs(point.v_v[0] - was[0]) / point.move_s <= slew * 1.001
        else:
            assert abs(point.v_v[0] - was[0]) < 1e-9 or point.move_s >= 0.0
        middle = plan.at(point.t_s + 0.5 * point.dt_s)[0][0]
        low, high = sorted((was[0], point.v_v[0]))
        assert low - 1e-9 <= middle <= high + 1e-9
        assert plan.at(point.t_s + point.dt_s - h * 1e-3)[1] <= 66.0


@given(profile=segments)
def test_the_course_ends_at_the_last_values_asked_for(profile: list[Segment]) -> None:
    try:
        plan = compile_profile(profile, CAPS, START)
    except ProfileError:
        return
    volts = next((s.v_v for s in reversed(profile) if s.v_v is not None), 230.0)
    assert plan.at(plan.length_s + 1.0)[0] == pytest.approx((volts,) * 3, abs=CAPS.v_step_v)


@given(profile=segments, times=st.lists(st.floats(-0.1, 12.0), min_size=3, max_size=3))
def test_a_source_that_rests_gives_the_same_all_the_while(profile: list[Segment], times: list[float]) -> None:
    try:
        course = compile_profile(profile, CAPS, START)
    except ProfileError:
        return
    begin, middle, end = sorted(times)
    if course.rests(begin, end):
        assert course.at(begin) == course.at(middle) == course.at(end)


def test_a_hold_rests_from_the_end_of_its_step_to_the_next() -> None:
    course = compiled(Segment(1.0, "step", 200.0), Segment(5.0, "hold"), Segment(1.0, "ramp", 220.0))
    assert course.rests(0.1, 0.9)
    assert course.rests(1.0, 5.99)
    assert not course.rests(0.9, 1.1)  # a point of its own, though nothing moves there
    assert not course.rests(5.0, 6.0)
    assert not course.rests(6.2, 6.4)
    assert course.rests(7.0, 1000.0)
    assert not course.rests(-0.1, 0.0)


# ------------------------------------------------------------------------------------ phases apart, and harmonics
EACH = replace(CAPS, phase_each=True, harmonics_max=13)


def test_one_phase_jumps_alone_where_the_source_can_and_stays_apart_until_it_jumps_back() -> None:
    profile = (
        Segment(0.1, "hold"), Segment(0.1, "jump", jump_deg=60.0, jump_phases="b"), Segment(0.1, "hold"),
        Segment(0.1, "jump", jump_deg=-60.0, jump_phases="b"),
    )  # fmt: skip
    with pytest.raises(ProfileError, match="turns all phases together"):
        compile_profile(profile, CAPS, START)
    played = compile_profile(profile, EACH, START)
    assert [played.shape_at(t)[0] for t in (0.05, 0.15, 0.25, 0.35)] == [
        (0.0, 0.0, 0.0), (0.0, 60.0, 0.0), (0.0, 60.0, 0.0), (0.0, 0.0, 0.0),
    ]  # fmt: skip
    assert all(played.at(t)[2] == 0.0 for t in (0.05, 0.15, 0.35))  # as a whole it has not turned
    with pytest.raises(ProfileError, match="letters among a, b, c"):
        compile_profile([Segment(0.1, "jump", jump_deg=5.0, jump_phases="x")], EACH, START)


def test_harmonics_are_there_in_their_segment_and_end_with_it() -> None:
    profile = (Segment(0.1, "step", harmonics=((5, 0.06, 0.0), (7, 0.05, 0.0))), Segment(0.1, "hold"))
    played = compile_profile(profile, EACH, START)
    assert played.shape_at(0.05)[1] == ((5, 0.06, 0.0), (7, 0.05, 0.0))
    assert played.shape_at(0.15)[1] == ()
    last = compile_profile(profile[:1], EACH, START)
    assert last.shape_at(0.1)[1] == ()
    assert not last.rests(0.05, 0.15)
    with pytest.raises(ProfileError, match="up to order 13"):
        compile_profile([Segment(0.1, "step", harmonics=((17, 0.01, 0.0),))], EACH, START)
