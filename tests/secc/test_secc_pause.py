"""A car that pauses, resumes, renegotiates or asks for what is not offered, against the real process `secc`; and one
that does as its charger asks.

All stories of `talker.py` are told once, to one SECC; each test looks at its own.
"""

from __future__ import annotations

import asyncio

import pytest

from firmware.bridges.secc.messages import Entry
from tests.secc.environment import needs_schemas
from tests.secc.tales import Told, tell

pytestmark = [needs_schemas, pytest.mark.slow, pytest.mark.timeout(300)]
STORIES = (
    "pause_2",
    "pause_20",
    "pause_and_unplug",
    "renegotiate_2",
    "renegotiate_services_20",
    "renegotiate_schedule_20",
    "misplaced_schedule_20",
    "asked_for_a_schedule_2",
    "beyond_its_schedule_2",
    "asked_for_a_schedule_20",
    "asked_for_a_pause_20",
    "waits_for_its_schedule_2",
    "waits_for_its_schedule_20",
    "standby_20",
    "certificate_20",
    "metering_20",
    "sequence_2",
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    return asyncio.run(tell(tmp_path_factory.mktemp("secc"), STORIES))


CHARGED = ["insulation", "precharge", "transfer", "ending"]


@pytest.mark.parametrize("story", ["pause_2", "pause_20"])
def test_a_car_that_paused_comes_back_under_its_number_and_charges_again(told: dict[str, Told], story: str) -> None:
    tale = told[story]
    new, joined, afterwards = tale.of("SessionSetupReq")
    assert (new["code"], joined["code"]) == ("OK_NewSessionEstablished", "OK_OldSessionJoined")
    assert new["session"] == joined["session"]
    # After it has terminated the number is worth nothing.
    assert afterwards["code"] == "OK_NewSessionEstablished"
    assert afterwards["session"] != new["session"]
    assert set(tale.codes("PowerDeliveryReq")) == {"OK"}
    pause = tale.phases.index("pause")
    assert [phase for phase in tale.phases[:pause] if phase in CHARGED][:4] == CHARGED
    assert [phase for phase in tale.phases[pause:] if phase in CHARGED][:4] == CHARGED
    assert tale.phases[pause + 1] == "wait"  # from the pause straight into the next session


def test_a_paused_session_ends_with_the_plug(told: dict[str, Told]) -> None:
    first, second = told["pause_and_unplug"].of("SessionSetupReq")
    assert second["code"] == "OK_NewSessionEstablished"
    assert second["session"] != first["session"]


def test_a_car_of_15118_2_negotiates_its_parameters_anew_with_open_contactors(told: dict[str, Told]) -> None:
    tale = told["renegotiate_2"]
    assert tale.codes("PowerDeliveryReq") == ["OK", "OK", "OK", "OK"]  # start, renegotiate, start, stop
    assert tale.of("PowerDeliveryReq")[1]["after_s"] > 0.15  # the script's contactors take 0.2 s to open
    assert len({answer["session"] for answer in tale.answers[1:]}) == 1
    assert [phase for phase in tale.phases if phase in CHARGED] == CHARGED * 2


def test_a_car_of_15118_20_chooses_its_services_anew_in_the_same_session(told: dict[str, Told]) -> None:
    tale = told["renegotiate_services_20"]
    assert tale.codes("SessionStopReq") == ["OK", "OK"]
    assert tale.codes("ServiceSelectionReq") == ["OK", "OK"]
    assert len({answer["session"] for answer in tale.answers[1:]}) == 1
    assert [phase for phase in tale.phases if phase in CHARGED] == CHARGED * 2


def test_a_car_of_15118_20_asks_for_a_new_schedule_and_keeps_its_contactors_closed(told: dict[str, Told]) -> None:
    tale = told["renegotiate_schedule_20"]
    assert tale.codes("PowerDeliveryReq") == ["OK"] * 4  # start, new schedule, start, stop
    assert tale.codes("ScheduleExchangeReq")[-1] == "OK"
    assert [phase for phase in tale.phases if phase in CHARGED] == CHARGED
    between = [car for car in tale.cars if car.replans]
    assert {car.phase for car in between} == {"transfer"}
    assert {car.message for car in between} >= {"PowerDeliveryReq", "ScheduleExchangeReq"}
    assert not any(car.replans for car in tale.cars if car.message == "DC_ChargeLoopReq")


@pytest.mark.parametrize(
    ("story", "last"),
    [
        ("misplaced_schedule_20", ("PowerDeliveryReq", "PowerDeliveryRes", "FAILED")),
        ("standby_20", ("PowerDeliveryReq", "PowerDeliveryRes", "WARNING_StandbyNotAllowed")),
        ("certificate_20", ("CertificateInstallationReq", "CertificateInstallationRes", "FAILED")),
        ("metering_20", ("MeteringConfirmationReq", "MeteringConfirmationRes", "FAILED")),
        ("sequence_2", ("PowerDeliveryReq", "PowerDeliveryRes", "FAILED_SequenceError")),
    ],
)
def test_what_is_not_offered_is_refused_with_an_answer_and_without_power(
    told: dict[str, Told], story: str, last: tuple[str, str, str]
) -> None:
    """The certificate's refusal is an exception inside the package: whatever goes wrong, the car gets an answer."""
    tale = told[story]
    assert tale.last == last
    assert tale.answers[-1]["after_s"] < 1.0
    assert tale.phases[-2:] == ["ending", "none"]


def test_meter_values_are_told_to_a_car_that_asks_for_them(told: dict[str, Told]) -> None:
    """The package's name of one of them is not the schema's: the session ended there."""
    assert told["pause_20"].codes("DC_ChargeLoopReq") == ["OK"] * 10


# ------------------------------------------------------------------------------------------------- the charger asks
RATED_W = 22_000.0


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


def test_a_car_of_15118_20_is_asked_for_a_pause_and_resumes_its_session(told: dict[str, Told]) -> None:
    tale = told["asked_for_a_pause_20"]
    assert notified(tale) == {("DC_ChargeLoopReq", "Pause")}
    assert tale.codes("SessionSetupReq") == ["OK_NewSessionEstablished", "OK_OldSessionJoined"]
    assert "pause" in tale.phases


@pytest.mark.parametrize(
    ("story", "request_name", "planned"),
    [
        ("waits_for_its_schedule_2", "ChargeParameterDiscoveryReq", [[0, 6_000.0], [600, 9_000.0], [86_400]]),
        ("waits_for_its_schedule_20", "ScheduleExchangeReq", [[0, 6_000.0, 0.0], [600, 9_000.0, 4_000.0], [86_400]]),
    ],
)
def test_a_car_waits_for_the_schedule_that_is_being_made(
    told: dict[str, Told], story: str, request_name: str, planned: list[list[float]]
) -> None:
    *waiting, last = told[story].of(request_name)
    assert len(waiting) >= 5
    assert {answer["code"] for answer in waiting} == {"OK"}
    assert last["plan"] == planned
    if story.endswith("_2"):
        assert not any(answer["plan"] for answer in waiting)
