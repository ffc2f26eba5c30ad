"""The set-point stack: the smallest limit wins, towards zero, and says who it was."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.power.arbiter import Limit, Permitted, magnitude, permit

watts = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-50e3, 50e3)
limits = st.lists(st.builds(Limit, st.sampled_from(["car", "grid", "rating"]), st.just(""), watts, watts), max_size=6)


def limit(source: str, charge_w: float, discharge_w: float | None = None) -> Limit:
    return Limit(source, "because", charge_w, charge_w if discharge_w is None else discharge_w)


@given(watts, limits)
def test_the_result_is_a_number_within_every_limit_and_never_turns_the_direction(
    asked_w: float, all_limits: list[Limit]
) -> None:
    power_w = permit(asked_w, all_limits).power_w
    assert math.isfinite(power_w)
    assert power_w == 0.0 or math.copysign(1.0, power_w) == math.copysign(1.0, asked_w)
    assert abs(power_w) <= abs(asked_w) or math.isnan(asked_w)
    for x in all_limits:
        assert abs(power_w) <= magnitude(x.charge_w if power_w > 0 else x.discharge_w) or power_w == 0.0
    assert all_limits or power_w == 0.0


@given(watts, limits)
def test_what_is_refused_has_a_reason_among_the_limits(asked_w: float, all_limits: list[Limit]) -> None:
    got = permit(asked_w, all_limits)
    if got.limit is not None:
        assert got.limit in all_limits
        assert abs(got.power_w) < abs(asked_w)
    elif all_limits and math.isfinite(asked_w):
        assert got.power_w == asked_w


@given(watts, limits, watts, watts)
def test_one_more_limit_never_gives_more_power(
    asked_w: float, all_limits: list[Limit], charge_w: float, discharge_w: float
) -> None:
    if all_limits:
        more = [*all_limits, limit("one more", charge_w, discharge_w)]
        assert abs(permit(asked_w, more).power_w) <= abs(permit(asked_w, all_limits).power_w)


@given(watts, limits)
def test_the_order_of_the_limits_makes_no_difference(asked_w: float, all_limits: list[Limit]) -> None:
    assert permit(asked_w, all_limits).power_w == permit(asked_w, all_limits[::-1]).power_w


def test_the_smallest_limit_of_the_asked_direction_wins() -> None:
    stack = [limit("rating", 22e3), limit("car", 7e3, 1e3), limit("grid", 11e3)]
    assert permit(10e3, stack) == Permitted(7e3, stack[1])
    assert permit(-10e3, stack) == Permitted(-1e3, stack[1])
    assert permit(5e3, stack) == Permitted(5e3, None)


@pytest.mark.parametrize("nothing", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_a_limit_that_is_zero_or_no_number_permits_nothing(nothing: float) -> None:
    stack = [limit("rating", 22e3), limit("unknown", nothing)]
    for asked_w in (10e3, -10e3):
        got = permit(asked_w, stack)
        assert got == Permitted(0.0, stack[1])
        assert math.copysign(1.0, got.power_w) == 1.0, "no minus zero"


def test_no_limits_at_all_permit_nothing() -> None:
    assert permit(5e3, []) == Permitted(0.0, None)


@pytest.mark.parametrize("asked_w", [math.nan, math.inf, -math.inf, 0.0, -0.0])
def test_a_request_that_is_no_number_is_nothing(asked_w: float) -> None:
    assert permit(asked_w, [limit("rating", 22e3)]) == Permitted(0.0, None)
