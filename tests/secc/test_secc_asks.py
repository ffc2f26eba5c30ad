"""The charger asks a car to negotiate anew or to pause; real process `secc`, and a car that does as it is asked."""

from __future__ import annotations

import asyncio

import pytest

from firmware.bridges.secc.messages import Entry
from tests.secc.environment import needs_schemas
from tests.secc.tales import Told, tell

pytestmark = [needs_schemas, pytest.mark.slow, pytest.mark.waits, pytest.mark.timeout(170)]
STORIES = (
    "asked_for_a_schedule_2",
    "beyond_its_schedule_2",
    "asked_for_a_schedule_20",
    "asked_for_services_20",
    "asked_for_a_pause_20",
)
CHARGED = ["insulation", "precharge", "transfer", "ending"]
RATED_W = 22_000.0


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    return asyncio.run(tell(tmp_path_factory.mktemp("secc"), STORIES))


def notified(tale: Told) -> set[tuple[str, str]]:
    """What was asked for, in the answers to what. (The script goes on asking when the car is in the loop again.)"""
    return {(a["asked"], a["notification"]) for a in tale.answers if a["notification"] != "None"}


def test_a_car_of_15118_2_is_asked_for_a_new_schedule_and_is_told_the_new_plan(told: dict[str, Told]) -> None:
    tale = told["asked_for_a_schedule_2"]
    assert notified(tale) == {("CurrentDemandReq", "ReNegotiation")}
    first, second = tale.of("ChargeParameterDiscoveryReq")
    assert first["plan"] == [[0, RATED_W], [86_400]]
    assert second["plan"] == [[0, 6_000.0], [600, 9_000.0], [86_400]]
    assert tale.codes("PowerDeliveryReq") == ["OK"] * 4
    assert [phase for phase in tale.phases if phase in CHARGED] == CHARGED * 2
    profiles = list(dict.fromkeys(car.profile for car in tale.cars if car.profile))
    assert profiles == [(Entry(0.0, 11_000.0),), (Entry(0.0, 6_000.0), Entry(600.0, 9_000.0))]
    assert list(dict.fromkeys(car.told_plan for car in tale.cars)) == [None, 0, 7]


def test_a_profile_beyond_the_schedule_is_refused(told: dict[str, Told]) -> None:
    assert told["beyond_its_schedule_2"].codes("PowerDeliveryReq") == ["FAILED_ChargingProfileInvalid"]


def test_a_car_of_15118_20_is_asked_for_a_new_schedule_and_keeps_its_contactors_closed(told: dict[str, Told]) -> None:
    tale = told["asked_for_a_schedule_20"]
    assert notified(tale) == {("DC_ChargeLoopReq", "ScheduleRenegotiation")}
    first, second = (answer["plan"] for answer in tale.of("ScheduleExchangeReq") if answer["plan"])
    assert first == [[0, RATED_W, RATED_W], [86_400]]
    assert second == [[0, 6_000.0, 0.0], [600, 9_000.0, 4_000.0], [86_400]]
    assert [phase for phase in tale.phases if phase in CHARGED] == CHARGED
    chosen = [car for car in tale.cars if car.profile]
    assert chosen[-1].profile == (Entry(0.0, 8_000.0), Entry(600.0, -3_000.0))
    assert (chosen[-1].profile_s, chosen[-1].schedule_id, chosen[-1].told_plan) == (86_400.0, 1, 8)
    assert chosen[-1].anchor_s is not None


def test_a_car_of_15118_20_is_asked_for_its_services_and_finds_no_discharging_any_more(told: dict[str, Told]) -> None:
    tale = told["asked_for_services_20"]
    assert notified(tale) == {("DC_ChargeLoopReq", "ServiceRenegotiation")}
    assert tale.codes("ServiceSelectionReq") == ["OK", "OK"]
    assert list(dict.fromkeys(car.discharge_offered for car in tale.cars)) == [None, True, False]
    loops = [car.bidirectional for car in tale.cars if car.message == "DC_ChargeLoopReq"]
    assert list(dict.fromkeys(loops)) == [True, False]
    assert [phase for phase in tale.phases if phase in CHARGED] == CHARGED * 2


def test_a_car_of_15118_20_is_asked_for_a_pause_and_resumes_its_session(told: dict[str, Told]) -> None:
    tale = told["asked_for_a_pause_20"]
    assert notified(tale) == {("DC_ChargeLoopReq", "Pause")}
    assert tale.codes("SessionSetupReq") == ["OK_NewSessionEstablished", "OK_OldSessionJoined"]
    assert "pause" in tale.phases
