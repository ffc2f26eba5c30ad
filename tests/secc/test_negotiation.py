"""What a car is told of the hours to come, and when it is asked to negotiate anew or to pause."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.bridges.secc.messages import MAX_PARTS, CarState, Part
from firmware.bridges.secc.plan import SPAN_S
from firmware.services.negotiation import (
    ASK_FOR_S,
    DIFFERS_S,
    EVERY_S,
    CarOrders,
    Moment,
    Negotiation,
    Told,
)

RATED_W = 22_000.0
WALL_S = 1_795_172_400.0
OLD = CarState(t=0.0, sent_t=0.0, phase="transfer", protocol="iso2", told_plan=0)
SCHEDULED = CarState(
    t=0.0,
    sent_t=0.0,
    phase="transfer",
    protocol="iso20",
    control="scheduled",
    bidirectional=True,
    discharge_offered=True,
    told_plan=0,
)


def but(car: CarState, **values: Any) -> CarState:
    return msgspec.structs.replace(car, **values)


def planned(*parts: tuple[float, float, float]) -> CarOrders:
    """(s from WALL_S, W charging, W discharging)."""
    return CarOrders(tuple((WALL_S + at_s, up_w, down_w) for at_s, up_w, down_w in parts))


class Desk:
    """A negotiation, its time, and what was said."""

    def __init__(self, discharge_w: float = RATED_W) -> None:
        self.said: list[str] = []
        self.now = 0.0
        self.negotiation = Negotiation(RATED_W, discharge_w, self.said.append)
        self.order(CarOrders())

    def order(self, orders: CarOrders) -> None:
        self.negotiation.order(WALL_S + self.now, orders)

    def told(self, car: CarState | None, now: float | None = None) -> Told:
        self.now = self.now if now is None else now
        return self.negotiation.told(self.now, WALL_S + self.now, car)


SLOW = planned((0.0, 6_000.0, 0.0))


@pytest.mark.parametrize("car", [OLD, SCHEDULED])
def test_a_car_that_was_told_another_plan_is_asked_for_a_new_schedule_until_it_was_told_this(car: CarState) -> None:
    desk = Desk()
    assert desk.told(car, 1.0).ask == ""
    desk.order(SLOW)
    told = desk.told(car)
    assert (told.ask, told.plan_no, told.plan) == ("schedule", 1, (Part(0.0, 6_000.0, 0.0),))
    assert desk.told(car, 5.0).ask == "schedule"
    assert desk.told(but(car, phase="wait"), 6.0).ask == ""
    assert desk.told(but(car, told_plan=1), 7.0).ask == ""
    assert desk.said == ["The car is asked for a new schedule."]


def test_a_car_that_has_left_the_loop_for_its_schedule_is_not_asked_meanwhile() -> None:
    desk = Desk()
    desk.order(SLOW)
    assert desk.told(SCHEDULED).ask == "schedule"
    assert desk.told(but(SCHEDULED, replans=True)).ask == ""
    assert desk.told(but(SCHEDULED, told_plan=1)).ask == ""


@pytest.mark.parametrize(
    "car",
    [
        None,
        but(OLD, protocol="din"),
        but(SCHEDULED, control="dynamic"),
        but(OLD, told_plan=None),
        but(OLD, phase="precharge"),
    ],
)
def test_who_keeps_to_no_schedule_is_never_asked_for_one(car: CarState | None) -> None:
    desk = Desk()
    desk.order(SLOW)
    assert desk.told(car).ask == ""


@pytest.mark.parametrize(
    ("orders", "other"),
    [
        (planned((0.0, RATED_W * 0.96, RATED_W)), False),
        (planned((0.0, RATED_W * 0.94, RATED_W)), True),
        (planned((0.0, RATED_W, RATED_W * 0.94)), True),
        (planned((100.0, 0.0, 0.0), (100.0 + DIFFERS_S - 1.0, RATED_W, RATED_W)), False),
        (planned((100.0, 0.0, 0.0), (100.0 + DIFFERS_S, RATED_W, RATED_W)), True),
        (planned((SPAN_S - 1000.0, 0.0, 0.0)), True),
        (planned((SPAN_S + 1.0, 0.0, 0.0)), False),  # nobody was told anything of tomorrow
        (planned((0.0, 1e6, 1e6)), False),  # above the ratings nothing is
    ],
)
def test_only_a_plan_that_differs_enough_for_long_enough_is_another_one(orders: CarOrders, other: bool) -> None:
    desk = Desk()
    desk.order(orders)
    assert (desk.told(OLD).ask == "schedule") is other


def test_small_steps_add_up() -> None:
    desk = Desk()
    for n in range(1, 10):
        desk.order(planned((0.0, RATED_W * (1.0 - 0.02 * n), RATED_W)))
    assert desk.told(OLD).plan_no == 3


@pytest.mark.parametrize("car", [OLD, SCHEDULED])
def test_a_car_is_not_asked_more_often_than_its_protocol_bears(car: CarState) -> None:
    desk = Desk()
    desk.order(SLOW)
    assert desk.told(car, 1.0).ask == "schedule"
    car = but(car, told_plan=1)
    assert desk.told(car, 2.0).ask == ""
    desk.order(planned((0.0, 3_000.0, 0.0)))
    every_s = EVERY_S[car.protocol]
    assert desk.told(car, 0.9 + every_s).ask == ""
    assert desk.told(car, 1.1 + every_s).ask == "schedule"


def test_a_car_that_does_not_follow_is_left_alone_until_there_is_another_plan() -> None:
    desk = Desk()
    desk.order(SLOW)
    assert desk.told(OLD, 1.0).ask == "schedule"
    assert desk.told(OLD, 1.0 + ASK_FOR_S).ask == "schedule"
    assert desk.told(OLD, 1.1 + ASK_FOR_S).ask == ""
    assert desk.told(OLD, 1e5).ask == ""
    assert "did not follow" in desk.said[-1]
    desk.order(planned((0.0, 3_000.0, 0.0)))
    assert desk.told(OLD).ask == "schedule"
    desk = Desk()
    desk.order(SLOW)
    desk.told(OLD, 1.0)
    desk.told(OLD, 2.0 + ASK_FOR_S)
    desk.told(CarState(t=0.0, sent_t=0.0))  # it has gone; the next one is asked as any other
    assert desk.told(OLD).ask == "schedule"


def test_a_back_end_that_rejects_the_cars_plan_has_it_planned_anew() -> None:
    desk = Desk()
    desk.order(SLOW)
    car = but(OLD, told_plan=1)
    assert desk.told(car).ask == ""
    desk.order(CarOrders(SLOW.plan, replan=1))
    assert desk.told(car).ask == "schedule"
    car = but(OLD, told_plan=2)
    desk.order(CarOrders(SLOW.plan, replan=0))  # a bridge that was started again counts from the beginning
    assert desk.told(car, 1e3).ask == ""


def test_a_plan_that_was_told_to_its_end_is_told_anew() -> None:
    desk = Desk()
    assert desk.told(OLD, SPAN_S - 1.0).ask == ""
    desk.now = SPAN_S + 1.0
    desk.order(CarOrders())
    assert desk.told(OLD).ask == "schedule"


# ----------------------------------------------------------------------------------------------------- services, pause
@pytest.mark.parametrize(
    ("charge_only", "car", "ask"),
    [
        (True, SCHEDULED, "services"),
        (True, but(SCHEDULED, bidirectional=False), ""),  # it has what is allowed
        (True, but(SCHEDULED, bidirectional=False, discharge_offered=False), ""),
        (False, but(SCHEDULED, bidirectional=False, discharge_offered=False), "services"),
        (False, but(SCHEDULED, bidirectional=False), ""),  # it could have, and would not
        (False, SCHEDULED, ""),
        (True, OLD, ""),
    ],
)
def test_a_car_is_asked_for_its_services_when_what_it_may_choose_is_not_what_it_was_offered(
    charge_only: bool, car: CarState, ask: str
) -> None:
    desk = Desk()
    desk.order(CarOrders(charge_only=charge_only))
    told = desk.told(car)
    assert (told.ask, told.charge_only) == (ask, charge_only)


def test_a_charger_that_cannot_discharge_asks_nobody_to_choose_that() -> None:
    desk = Desk(discharge_w=0.0)
    assert desk.told(but(SCHEDULED, bidirectional=False, discharge_offered=False)).ask == ""


def test_a_car_of_15118_20_in_its_loop_is_asked_to_pause_and_then_no_more() -> None:
    desk = Desk()
    assert desk.negotiation.pause(SCHEDULED) == ""
    assert desk.told(SCHEDULED).ask == "pause"
    assert desk.told(but(SCHEDULED, phase="ending")).ask == ""
    assert desk.told(SCHEDULED).ask == ""


def test_a_car_that_does_not_pause_is_told_about_and_can_be_asked_again() -> None:
    desk = Desk()
    for begin in (0.0, 1e3):
        assert desk.negotiation.pause(SCHEDULED) == ""
        assert desk.told(SCHEDULED, begin).ask == "pause"
        assert desk.told(SCHEDULED, begin + ASK_FOR_S + 1.0).ask == ""
        assert desk.said[-1] == f"The car was asked for a pause and did not follow in {ASK_FOR_S:g} s."


@pytest.mark.parametrize(
    ("car", "words"),
    [
        (None, "No car is in its charge loop"),
        (but(SCHEDULED, phase="precharge"), "No car is in its charge loop"),
        (OLD, "ISO 15118-2 and DIN 70121 have no word"),
        (but(OLD, protocol="din"), "ISO 15118-2 and DIN 70121 have no word"),
    ],
)
def test_who_cannot_be_asked_to_pause_is_said_with_the_reason(car: CarState | None, words: str) -> None:
    desk = Desk()
    assert desk.negotiation.pause(car).startswith(words)
    assert desk.told(car).ask == ""


# ----------------------------------------------------------------------------------------------------------- waiting
@pytest.mark.parametrize("message", ["ChargeParameterDiscoveryReq", "ScheduleExchangeReq"])
def test_a_car_that_asks_for_its_schedule_waits_for_a_better_one_and_not_for_ever(message: str) -> None:
    desk = Desk()
    asks = but(OLD, phase="wait", message=message)
    assert not desk.told(asks, 0.0).planning
    desk.order(CarOrders(wait_s=30.0))
    assert desk.told(but(asks, message="AuthorizationReq"), 50.0).planning  # it will ask in a moment
    assert desk.told(asks, 100.0).planning
    assert desk.told(asks, 129.9).planning
    assert not desk.told(asks, 130.1).planning
    assert desk.told(but(asks, message="CableCheckReq"), 131.0).planning  # whoever asks next waits again
    desk.order(CarOrders())
    assert not desk.told(asks, 140.0).planning


# ------------------------------------------------------------------------------------------------------------- parts
POWERS = st.floats(0.0, RATED_W)
STARTS = st.integers(-10_000, SPAN_S - 1).map(float)  # whole seconds: finer ones wall time cannot hold
PLANS = st.lists(st.tuples(STARTS, POWERS, POWERS), min_size=1, max_size=40).map(sorted)


@given(PLANS, st.integers(0, 10_000).map(float))
def test_what_is_told_begins_now_fits_and_never_promises_more_than_the_plan(
    parts: list[tuple[float, float, float]], later_s: float
) -> None:
    desk = Desk()
    desk.order(planned(*parts))
    told = desk.told(None, later_s)
    if told.plan_no == 0:
        return  # it differs from the ratings by nothing that counts
    assert len(told.plan) <= MAX_PARTS
    assert told.plan[0].start_s == 0.0
    plan: list[Moment] = list(planned(*parts).plan)
    for at_s in [later_s, *(at_s for at_s, _, _ in parts if at_s >= later_s)]:
        meant = next((m for m in reversed(plan) if m[0] <= WALL_S + at_s), (0.0, RATED_W, RATED_W))
        said = next(p for p in reversed(told.plan) if p.start_s <= at_s - later_s)
        assert said.charge_w <= meant[1]
        assert said.discharge_w <= meant[2]
