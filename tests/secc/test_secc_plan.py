"""Plans over time: what the charger tells a car of the hours to come, and what the car makes of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.bridges.secc.car import number, read
from firmware.bridges.secc.exi.codec import ISO_2, ISO_20_COMMON, ISO_20_DC
from firmware.bridges.secc.messages import MAX_ENTRIES, CarState, Entry, FromSecc, Lines, Part, encode
from firmware.bridges.secc.plan import SPAN_S, durations, fitted, profile_of, whole, within
from tests.secc.test_secc_car import NOBODY, loop, rational, v2

RATED = (22_000.0, 11_000.0)
POWERS = st.floats(0.0, 1e6)
PLANS = st.lists(st.tuples(st.integers(0, 200_000).map(float), POWERS, POWERS), max_size=12).map(
    lambda parts: tuple(Part(*part) for part in sorted(parts))
)


def at(parts: list[tuple[int, float, float]], t: float) -> tuple[float, float]:
    return next((up, down) for start, up, down in reversed(parts) if start <= t)


@given(PLANS, st.integers(0, 40))
def test_a_car_is_told_whole_seconds_of_a_day_and_never_more_than_is_meant(plan: tuple[Part, ...], most: int) -> None:
    told = whole(plan, most, *RATED)
    starts = [start for start, _, _ in told]
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert 1 <= len(told) <= max(most, 1)
    assert sum(durations(told)) == SPAN_S
    assert min(durations(told)) > 0
    for t in {*starts, *(part.start_s for part in plan if part.start_s < SPAN_S)}:
        up_w, down_w = at(told, t)
        meant = next((part for part in reversed(plan) if part.start_s <= t), Part(0.0, *RATED))
        assert up_w <= min(meant.charge_w, RATED[0])
        assert down_w <= min(meant.discharge_w, RATED[1])


def test_without_a_plan_a_car_is_told_the_ratings() -> None:
    assert whole((), 12, *RATED) == [(0, *RATED)]
    assert whole((Part(SPAN_S + 1.0, 0.0, 0.0),), 12, *RATED) == [(0, *RATED)]


def test_what_does_not_fit_is_told_as_the_least_of_it() -> None:
    parts = [(0, 9.0, 1.0), (1, 8.0, 2.0), (2, 3.0, 5.0), (3, 7.0, 4.0)]
    assert fitted(parts, 2) == [(0, 9.0, 1.0), (1, 3.0, 2.0)]
    assert fitted(parts, 4) == parts


POINTS = st.dictionaries(st.integers(0, 100), st.integers(0, 20), min_size=1, max_size=6)
STEPS = POINTS.map(lambda points: sorted(points.items()))


def power_at(steps: list[tuple[int, int]], t: float, before: float) -> float:
    return next((power for start, power in reversed(steps) if start <= t), before)


@given(STEPS, STEPS)
def test_a_profile_is_within_a_schedule_when_it_is_at_every_second(profile: Any, schedule: Any) -> None:
    everywhere = all(power_at(profile, t, -1e9) <= power_at(schedule, t, 1e9) for t in range(101))
    assert within(profile, schedule) is everywhere


def test_a_profile_that_rises_with_its_schedule_is_within_it() -> None:
    """The package compares a profile's last entry with the whole schedule."""
    rises = [(0, 5_000.0), (1000, 11_000.0)]
    assert within(rises, rises)
    assert not within(rises, [(0, 5_000.0), (1001, 11_000.0)])


# ---------------------------------------------------------------------------------------------------- the car's own
def watts(value: int) -> dict[str, Any]:
    return {"Multiplier": 1, "Unit": "W", "Value": value}


def start_2(*entries: tuple[int, int]) -> dict[str, Any]:
    listed = [{"ChargingProfileEntryStart": s, "ChargingProfileEntryMaxPower": watts(w)} for s, w in entries]
    more = {"ChargingProfile": {"ProfileEntry": listed}} if entries else {}
    return v2("PowerDeliveryReq", ChargeProgress="Start", SAScheduleTupleID=1, **more)


def start_20(progress: str = "Start", **more: Any) -> dict[str, Any]:
    entries = [{"Duration": 600, "Power": rational(8, 3)}, {"Duration": 60, "Power": rational(-3, 3)}]
    profile = {"TimeAnchor": 1_795_172_400, "EVPowerProfileEntries": {"EVPowerProfileEntry": entries}, **more}
    return {"PowerDeliveryReq": {"EVProcessing": "Finished", "ChargeProgress": progress, "EVPowerProfile": profile}}


def test_the_plan_of_a_car_of_15118_2() -> None:
    car = read(NOBODY, ISO_2, start_2((0, 1100), (600, 0)), 7.0)
    assert car.profile == (Entry(0.0, 11_000.0), Entry(600.0, 0.0))
    assert (car.profile_t, car.profile_s, car.anchor_s, car.schedule_id) == (7.0, None, None, 1)


def test_the_plan_of_a_car_of_15118_20() -> None:
    mode = {"SelectedScheduleTupleID": 3, "PowerToleranceAcceptance": "PowerToleranceNotConfirmed"}
    car = read(NOBODY, ISO_20_COMMON, start_20(Scheduled_EVPPTControlMode=mode), 7.0)
    assert car.profile == (Entry(0.0, 8_000.0), Entry(600.0, -3_000.0))
    assert (car.profile_s, car.anchor_s, car.schedule_id, car.tolerance) == (660.0, 1_795_172_400.0, 3, False)
    dynamic = read(car, ISO_20_COMMON, start_20(Dynamic_EVPPTControlMode={}), 9.0)
    assert (dynamic.profile_t, dynamic.schedule_id, dynamic.tolerance) == (9.0, None, None)


def test_a_car_that_starts_without_a_plan_has_none_any_more() -> None:
    car = read(NOBODY, ISO_2, start_2((0, 1100)), 7.0)
    assert read(car, ISO_2, v2("PowerDeliveryReq", ChargeProgress="Stop", SAScheduleTupleID=1), 8.0).profile
    assert read(car, ISO_2, start_2(), 8.0).profile == ()


def test_a_car_that_still_thinks_about_its_plan_has_said_nothing() -> None:
    car = read(NOBODY, ISO_20_COMMON, start_20(Dynamic_EVPPTControlMode={}), 7.0)
    thinking = {"PowerDeliveryReq": {"EVProcessing": "Ongoing", "ChargeProgress": "Start"}}
    assert read(car, ISO_20_COMMON, thinking, 8.0).profile_t == 7.0


@pytest.mark.parametrize("entries", [((600, 1), (0, 1)), ((0, 1), (0, 2))])
def test_a_plan_out_of_order_is_no_plan(entries: tuple[tuple[int, int], ...]) -> None:
    assert read(NOBODY, ISO_2, start_2(*entries), 7.0).profile == ()


KEYS = [
    *("ProfileEntry", "ChargingProfileEntryStart", "ChargingProfileEntryMaxPower", "EVPowerProfileEntries"),
    *("EVPowerProfileEntry", "Duration", "Power", "TimeAnchor", "Value", "Exponent", "Multiplier"),
    *("Scheduled_EVPPTControlMode", "SelectedScheduleTupleID"),
]
VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(["ChargingProfile", "EVPowerProfile"]), VALUES)
def test_whatever_a_car_says_of_its_plan_can_be_told_to_services(key: str, value: Any) -> None:
    told = CarState(t=0.0, sent_t=0.0, **profile_of({key: value}, 1.0, number))
    lines = Lines(FromSecc)
    assert lines.feed(encode(told)) == [told]


def test_a_plan_that_is_too_long_is_cut() -> None:
    car = read(NOBODY, ISO_2, start_2(*((s, 1) for s in range(MAX_ENTRIES + 5))), 7.0)
    assert len(car.profile) == MAX_ENTRIES


# ------------------------------------------------------------------------------------------------- a new schedule
def test_a_car_that_asks_for_a_new_schedule_in_the_loop_stays_in_transfer_until_the_next_loop() -> None:
    car = read(NOBODY, ISO_20_DC, loop("Scheduled_DC_CLReqControlMode"), 1.0)
    assert not car.replans
    seen = []
    exchange = {"ScheduleExchangeReq": {"Scheduled_SEReqControlMode": {}}}
    for message in (start_20("ScheduleRenegotiation"), exchange, exchange, start_20()):
        car = read(car, ISO_20_COMMON, message, 2.0)
        seen.append((car.phase, car.replans))
    assert seen == [("transfer", True)] * 4
    car = read(car, ISO_20_DC, loop("Scheduled_DC_CLReqControlMode"), 3.0)
    assert (car.phase, car.replans) == ("transfer", False)


@pytest.mark.parametrize(
    ("namespace", "message", "phase"),
    [
        (ISO_20_COMMON, {"PowerDeliveryReq": {"ChargeProgress": "Stop"}}, "ending"),
        (ISO_20_COMMON, {"SessionStopReq": {"ChargingSession": "Pause"}}, "pause"),
        (ISO_20_COMMON, {"SessionStopReq": {"ChargingSession": "Terminate"}}, "ending"),
        (ISO_20_DC, {"DC_CableCheckReq": {}}, "insulation"),
        (ISO_20_DC, {"DC_ChargeParameterDiscoveryReq": {}}, "wait"),
    ],
)
def test_a_car_that_does_something_else_instead_does_not_plan_any_more(
    namespace: str, message: dict[str, Any], phase: str
) -> None:
    car = read(NOBODY, ISO_20_DC, loop("Scheduled_DC_CLReqControlMode"), 1.0)
    car = read(car, ISO_20_COMMON, start_20("ScheduleRenegotiation"), 2.0)
    car = read(car, namespace, message, 3.0)
    assert (car.phase, car.replans) == (phase, False)


def test_outside_of_the_loop_there_is_nothing_to_plan_anew() -> None:
    car = read(NOBODY, ISO_20_DC, {"DC_PreChargeReq": {}}, 1.0)
    car = read(car, ISO_20_COMMON, start_20("ScheduleRenegotiation"), 2.0)
    assert (car.phase, car.replans) == ("ending", False)
