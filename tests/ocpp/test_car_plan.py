"""What the car plans goes to the back end, and what the back end plans and allows goes to the car (K15 to K20, Q01)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.car_plan import AGAIN_S, MOST, schedule_of
from firmware.bridges.ocpp.charging import PLAN_S
from firmware.bridges.ocpp.dialect import V21, V201
from firmware.bridges.ocpp.needs import ANSWER_S, PROCESSING_S
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.view import Car, CarWish, Phase
from tests.ocpp.back_end import WALL_S, BackEnd, station, view
from tests.ocpp.test_acceptance_q import CHARGE, FREQUENCY, ISO20, SETPOINT, Point
from tests.ocpp.wire import schemas

PLANNED = replace(
    ISO20,
    profile=((0.0, 11_000.0), (600.0, -3_000.0)),
    profile_t=1.0,
    profile_s=7200.0,
    schedule_id=1,
    tolerance=True,
)
OLD = Car(protocol="iso2", charge_max_w=50_000.0, charge_max_a=100.0, max_v=450.0, soc_pct=40.0)
OLD_PLANNED = replace(OLD, profile=((0.0, 11_000.0), (600.0, 0.0)), profile_t=1.0, schedule_id=1)


def told(point: Point) -> list[dict[str, Any]]:
    return point.peer.told("NotifyEVChargingSchedule")


def wish(point: Point) -> CarWish:
    return point.charger.orders(point.now).car


# ---------------------------------------------------------------------------------------------------- the car's plan
def test_the_plan_of_a_car_of_15118_20_is_told_once() -> None:
    point = Point()
    point.peer.answers["NotifyEVChargingSchedule"] = {"status": "Accepted"}
    point.accept(CHARGE)
    point.look(1.0, car=PLANNED)
    (plan,) = told(point)
    assert plan["timeBase"] == times.show(WALL_S + 1.0)
    assert plan["chargingSchedule"] == {
        "id": 1,
        "chargingRateUnit": "W",
        "duration": 7200,
        "chargingSchedulePeriod": [
            {"startPeriod": 0, "limit": 11_000.0},
            {"startPeriod": 600, "limit": 0.0, "dischargeLimit": -3_000.0},
        ],
    }
    assert plan["powerToleranceAcceptance"] is True
    assert plan["selectedChargingScheduleId"] == 1  # of the TxProfile that leads
    point.look(2.0)
    point.look(100.0)
    assert len(told(point)) == 1
    assert wish(point).replan == 0
    point.look(101.0, car=replace(PLANNED, profile_t=101.0))  # renegotiated
    assert len(told(point)) == 2


def test_a_car_without_a_plan_tells_none() -> None:
    point = Point()
    point.look(1.0, car=ISO20)
    assert told(point) == []


@pytest.mark.parametrize(("off_s", "base_s"), [(-5.0, -4.0), (7200.0, 1.0), (-WALL_S, 1.0)])
def test_a_plan_begins_by_the_cars_own_clock_unless_that_is_not_set(off_s: float, base_s: float) -> None:
    car = replace(PLANNED, anchor_s=WALL_S + 1.0 + off_s)
    plan = schedule_of(V21, car, WALL_S + 1.0, None)
    assert plan["timeBase"] == times.show(WALL_S + base_s)


def test_2_0_1_has_a_negative_limit_for_discharging_and_no_words_for_the_choice() -> None:
    plan = schedule_of(V201, PLANNED, WALL_S, 7)
    assert schemas(V201).request("NotifyEVChargingSchedule", plan) is None
    assert [p["limit"] for p in plan["chargingSchedule"]["chargingSchedulePeriod"]] == [11_000.0, -3_000.0]
    assert plan.keys() == {"timeBase", "evseId", "chargingSchedule"}


@pytest.mark.parametrize("car", [OLD_PLANNED, replace(PLANNED, control="scheduled")])
def test_a_rejected_plan_makes_the_car_plan_anew_and_not_for_ever(car: Car) -> None:
    point = Point()
    point.peer.answers["NotifyEVChargingSchedule"] = {"status": "Rejected"}
    for n in range(1, MOST + 2):
        point.look(float(n), car=replace(car, profile_t=float(n)))
        assert wish(point).replan == min(n, MOST)
    assert point.said[-1] == f"The back end rejected the car's plan {MOST + 1} times; it is not asked again."
    point.peer.answers["NotifyEVChargingSchedule"] = {"status": "Accepted"}
    point.look(10.0, car=replace(car, profile_t=10.0))
    assert wish(point).replan == MOST


def test_a_car_that_keeps_to_no_schedule_is_not_asked_for_another_one() -> None:
    point = Point()
    point.peer.answers["NotifyEVChargingSchedule"] = {"status": "Rejected"}
    point.look(1.0, car=replace(PLANNED, control="dynamic"))
    assert wish(point).replan == 0
    assert "cannot be asked" in point.said[-1]


def test_a_plan_that_was_not_answered_is_told_again_and_one_that_was_refused_is_not() -> None:
    point = Point()
    point.peer.answers["NotifyEVChargingSchedule"] = "NotSupported"
    point.look(1.0, car=PLANNED)
    point.look(1.0 + 2 * AGAIN_S)
    assert len(told(point)) == 1
    point = Point()
    point.peer.answers["NotifyEVChargingSchedule"] = None
    point.look(1.0, car=PLANNED)
    point.cut()
    point.peer.answers["NotifyEVChargingSchedule"] = {"status": "Accepted"}
    point.connect()
    assert len(told(point)) == 2


# ---------------------------------------------------------------------------------------------------- the plan for it
def plan(point: Point) -> list[tuple[float, float, float]]:
    """(s from the beginning of the tests, W charging, W discharging)."""
    return [(round(at_s - WALL_S, 3), up_w, down_w) for at_s, up_w, down_w in wish(point).plan]


RATED_W = 22_000.0


def test_without_profiles_the_car_is_told_no_plan() -> None:
    point = Point()
    point.look(1.0, car=ISO20)
    assert wish(point) == CarWish()


def test_the_profile_of_the_transaction_is_the_plan_until_it_ends() -> None:
    point = Point()
    point.look(1.0, car=ISO20)
    periods = [
        {"startPeriod": 0, "operationMode": "ChargingOnly", "limit": 11_000.0},
        {"startPeriod": 600, **SETPOINT},
        {"startPeriod": 1200, "operationMode": "Idle"},
    ]
    schedule = {"chargingSchedulePeriod": periods, "duration": 1800, "startSchedule": times.show(WALL_S)}
    point.accept(periods[0], schedule=schedule)
    start = plan(point)[0][0]
    assert plan(point) == [
        (start, 11_000.0, 0.0),
        (600.0, 0.0, 7_000.0),
        (1200.0, 0.0, 0.0),
        (1800.0, RATED_W, RATED_W),
    ]


def test_a_mode_that_follows_what_is_measured_leaves_what_the_limits_leave() -> None:
    point = Point()
    point.look(1.0, car=ISO20)
    point.accept(FREQUENCY)
    assert wish(point).plan == ()  # all of the rating: there is nothing to plan
    limits = {"evseId": 0, "chargingProfile": station_limit(9_000.0)}
    assert point.ask("SetChargingProfile", limits) == {"status": "Accepted"}
    assert [part[1:] for part in plan(point)] == [(9_000.0, RATED_W)]


def station_limit(limit_w: float) -> dict[str, Any]:
    period = {"startPeriod": 0, "limit": limit_w}
    return {
        "id": 9,
        "stackLevel": 0,
        "chargingProfilePurpose": "ChargingStationMaxProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": [
            {
                "id": 9,
                "chargingRateUnit": "W",
                "startSchedule": times.show(WALL_S),
                "chargingSchedulePeriod": [period],
            }
        ],
    }


def test_a_plan_that_says_the_same_later_is_the_same_object_so_that_nobody_compares_it() -> None:
    point = Point()
    point.look(1.0, car=ISO20)
    point.accept(CHARGE)
    before = wish(point).plan
    point.look(1.0 + 2 * PLAN_S)
    assert wish(point).plan is before
    point.accept({"limit": 4_000.0})
    assert [part[1] for part in wish(point).plan] == [4_000.0]


# ----------------------------------------------------------------------------------------------- the car's schedule
def test_a_car_waits_for_its_schedule_until_the_back_end_has_answered_its_needs() -> None:
    point = Point()
    assert wish(point).wait_s == ANSWER_S
    point.look(1.0, car=ISO20)
    assert wish(point).wait_s == 0.0  # accepted


def test_a_back_end_that_makes_a_profile_has_the_car_wait_for_it() -> None:
    point = Point()
    point.peer.answers["NotifyEVChargingNeeds"] = {"status": "Processing"}
    point.look(1.0, car=ISO20)
    assert wish(point).wait_s == PROCESSING_S
    point.accept(CHARGE)
    assert wish(point).wait_s == 0.0


@pytest.mark.parametrize("answer", ["NotSupported", {"status": "Rejected"}, {"status": "NoChargingProfile"}])
def test_a_back_end_that_makes_none_is_not_waited_for(answer: Any) -> None:
    point = Point()
    point.peer.answers["NotifyEVChargingNeeds"] = answer
    point.look(1.0, car=ISO20)
    assert wish(point).wait_s == 0.0


def test_without_a_back_end_nobody_waits() -> None:
    point = Point()
    point.cut()
    point.look(1.0, car=ISO20)
    assert wish(point).wait_s == 0.0


# ------------------------------------------------------------------------------------------------ allowed transfers
def allow(point: Point, *transfers: str) -> Any:
    return point.ask(
        "NotifyAllowedEnergyTransfer", {"transactionId": point.tx, "allowedEnergyTransfer": list(transfers)}
    )


def test_discharging_that_is_not_allowed_any_more_ends_at_once_and_the_car_is_to_choose_anew() -> None:
    point = Point()
    point.look(1.0, car=replace(ISO20, discharge_offered=True))
    point.accept(SETPOINT)
    assert point.power_w == -7_000.0
    assert allow(point, "DC") == {"status": "Accepted"}
    assert point.power_w == 0.0
    assert point.wanted.discharge_w == 0.0
    assert "allows no discharging" in point.wanted.reason
    assert wish(point).charge_only
    assert allow(point, "DC", "DC_BPT") == {"status": "Accepted"}
    assert point.power_w == -7_000.0
    assert not wish(point).charge_only


def test_discharging_is_allowed_to_a_car_that_was_not_offered_it_before() -> None:
    """Q02: first only charging, then V2X."""
    point = Point()
    point.look(1.0, car=replace(ISO20, bidirectional=False, discharge_offered=False))
    assert allow(point, "DC") == {"status": "Accepted"}
    assert wish(point).charge_only
    assert allow(point, "DC_BPT") == {"status": "Accepted"}
    assert not wish(point).charge_only


@pytest.mark.parametrize(
    ("ability", "transfers"), [({}, ["AC_three_phase", "WPT"]), ({"discharge_w": 0.0}, ["DC_BPT"])]
)
def test_a_transfer_that_this_outlet_has_not_is_refused(ability: dict[str, Any], transfers: list[str]) -> None:
    point = Point(**ability)
    point.look(1.0, car=ISO20)
    answer = allow(point, *transfers)
    assert answer["status"] == "Rejected"
    assert "this outlet has DC" in answer["statusInfo"]["additionalInfo"]
    assert not wish(point).charge_only


def test_what_is_allowed_is_kept_over_a_restart_and_ends_with_the_transaction() -> None:
    box = Outbox(":memory:")
    point = Point(box)
    point.look(1.0, car=ISO20)
    allow(point, "DC")
    again, _, _ = station(box)
    again.observe(view(2.0, Phase.HOLDING))
    assert again.orders(2.0).car.charge_only
    for t in (3.0, 5.0):  # the second station of a test begins with the first one's id again
        again.observe(view(t, Phase.FREE))
        again.observe(view(t + 1.0, Phase.PLUGGED))
    assert not again.orders(6.0).car.charge_only


def test_who_is_authorized_for_charging_only_is_offered_no_discharging() -> None:
    """Q01: the answer to Authorize says it, before the car has chosen its service."""
    charger, _, _ = station()
    charger.tune.authorize = True
    token = {"idToken": "AA12", "type": "Central"}
    peer = BackEnd(
        V21,
        Authorize={"idTokenInfo": {"status": "Accepted"}, "allowedEnergyTransfer": ["DC"]},
        NotifyEVChargingNeeds={"status": "Accepted"},
    )
    charger.observe(view())
    charger.connected(0.0, V21)
    peer.settle(charger, 0.0)
    charger.tune.authorize_remote = True
    start = {"idToken": token, "remoteStartId": 1, "evseId": 1}
    assert peer.ask(charger, "RequestStartTransaction", start)["status"] == "Accepted"
    peer.settle(charger, 0.1)
    assert peer.told("Authorize")
    charger.observe(view(0.2, Phase.PLUGGED))
    assert charger.transactions.id is not None
    assert charger.orders(0.2).car.charge_only
    charger.observe(view(0.3, Phase.FREE))
    charger.observe(view(0.4, Phase.FREE))
    assert not charger.orders(0.4).car.charge_only
