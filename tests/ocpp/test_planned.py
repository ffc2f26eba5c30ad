"""The plan of a transaction: the profiles' power over the hours to come, and of those that went by."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.bridges.ocpp.planned import AHEAD_S, BACK_S, planned
from firmware.bridges.ocpp.profiles import Profile
from tests.ocpp.back_end import WALL_S
from tests.ocpp.test_stack import HERE, profile

SETPOINT = {"operationMode": "CentralSetpoint"}


def plan(*profiles: Profile, at_s: float = 0.0, **situation: Any) -> list[dict[str, Any]]:
    return planned(profiles, replace(HERE, wall_s=WALL_S + at_s, **situation), 22_000.0, 11_000.0)


def test_a_profile_of_two_set_points_is_a_plan_of_two_periods() -> None:
    evening = profile(
        1, "TxProfile", (0, {**SETPOINT, "setpoint": -7000.0}), (3600, {**SETPOINT, "setpoint": 4000.0}),
        transactionId="t", schedule={"duration": 7200},
    )  # fmt: skip
    found = plan(evening, at_s=1800.0)
    shown = [(p["from_s"] - WALL_S, p["to_s"] - WALL_S, p["power_w"]) for p in found]
    assert shown == [(0.0, 3600.0, -7000.0), (3600.0, 7200.0, 4000.0)]


def test_the_past_is_told_from_the_beginning_of_the_transaction_and_no_further_than_six_hours() -> None:
    assert plan(profile(1), at_s=600.0)[0]["from_s"] == WALL_S
    assert plan(profile(1), at_s=10 * BACK_S)[0]["from_s"] == WALL_S + 9 * BACK_S
    assert plan(profile(1), tx_start_s=WALL_S + 99.0)[0]["from_s"] == WALL_S  # a clock that was set back


def test_what_follows_a_measurement_has_limits_and_no_power() -> None:
    outside = (0, {"operationMode": "ExternalSetpoint", "limit": 5000.0})
    (found,) = plan(profile(1, "TxProfile", outside, transactionId="t"))
    assert (found["mode"], found["power_w"]) == ("ExternalSetpoint", None)
    assert (found["low_w"], found["high_w"]) == (-11_000.0, 5000.0)


def test_the_stations_limit_alone_is_a_plan_of_limits() -> None:
    (found,) = plan(profile(4, "ChargingStationMaxProfile"))
    assert (found["mode"], found["power_w"], found["low_w"], found["high_w"]) == ("", None, -11_000.0, 4000.0)


@pytest.mark.parametrize("profiles", [[], [profile(4)]])
def test_without_a_transaction_or_without_a_word_there_is_no_plan(profiles: list[Profile]) -> None:
    assert plan(*profiles, tx=None, tx_start_s=None) == []
    assert plan() == []


PURPOSES = st.sampled_from(["TxProfile", "ChargingStationMaxProfile"])


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 90_000), PURPOSES), max_size=5), st.floats(0.0, 90_000.0))
def test_a_plan_has_no_gaps_and_stays_inside_of_its_time_and_of_the_ratings(
    parts: list[tuple[int, int, str]], at_s: float
) -> None:
    known = [
        profile(i, purpose, (0, {"limit": 1000.0 * kw}), (begin + 1, {"limit": 500.0 * kw}), stack=i)
        for i, (kw, begin, purpose) in enumerate(parts, 1)
    ]
    found = plan(*known, at_s=at_s)
    assert all(a["to_s"] == b["from_s"] for a, b in itertools.pairwise(found))
    assert all(p["from_s"] < p["to_s"] for p in found)
    for p in found:
        assert -11_000.0 <= p["low_w"] <= p["high_w"] <= 22_000.0
        assert p["power_w"] is None or p["low_w"] <= p["power_w"] <= p["high_w"]
    if found:
        assert found[0]["from_s"] >= WALL_S
        assert found[-1]["to_s"] <= WALL_S + at_s + AHEAD_S
        for end in (found[0], found[-1]):
            assert end["mode"] or (end["low_w"], end["high_w"]) != (-11_000.0, 22_000.0)
