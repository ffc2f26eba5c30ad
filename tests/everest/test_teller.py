"""What EVerest is told: topics, payloads and rhythm of its API documents."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.bridges.everest.teller import AGAIN_S, Charger, Ratings, Teller
from firmware.bridges.everest.topics import BSP, IMD, METER, PSU
from tests.everest.test_peer import MODULES, Everest

RATINGS = Ratings(22_000.0, 22_000.0, 73.3, 1000.0, 230.0)
REST = Charger(
    v_v=0.0, i_a=0.0, pilot="A", closed=False, on=False, charging=True, in_session=False, in_transfer=False, stop=False,
    broken="", estop=False, contactor_fault=False, charge_max_a=73.3, charge_max_w=22_000.0, discharge_max_a=73.3,
    discharge_max_w=22_000.0, v_max_v=1000.0, insulation_ohm=1e6, self_test="failed", charged_wh=1234.56,
    discharged_wh=78.9,
)  # fmt: skip
FLOWING = replace(
    REST, v_v=350.0, i_a=-20.0, pilot="C", closed=True, on=True, charging=False, in_session=True, in_transfer=True,
    self_test="passed",
)  # fmt: skip


class Ear:
    """Hears what a Teller says; time moves by `later`."""

    def __init__(self) -> None:
        self.everest = Everest()
        self.teller = Teller(MODULES, RATINGS, "desk", lambda: "2026-11-20T12:00:00.000Z")
        self.now = 0.0

    def hears(self, charger: Charger, later_s: float = 0.0) -> dict[str, Any]:
        self.now += later_s
        said = self.teller.messages(self.now, charger, self.everest.peer)
        prefix = "everest_api/1/"
        assert all(topic.startswith(prefix) for topic, _ in said)
        return {topic.removeprefix(prefix): json.loads(text) for topic, text in said}


def name(kind: str, what: str) -> str:
    return MODULES.to_everest(kind, what).removeprefix("everest_api/1/")


def test_the_first_words_say_everything_under_the_documented_topics() -> None:
    said = Ear().hears(REST)
    assert said["power_supply_DC/psu/m2e/mode"] == "Off"
    assert said["power_supply_DC/psu/m2e/voltage_current"] == {"voltage_V": 0.0, "current_A": 0.0}
    assert said["evse_board_support/bsp/m2e/event"] == {"event": "PowerOff"}  # after {"event": "A"}
    assert said["powermeter/meter/m2e/powermeter_values"]["energy_Wh_import"] == {"total": 1234.6}
    assert said["powermeter/meter/m2e/powermeter_values"]["timestamp"] == "2026-11-20T12:00:00.000Z"
    for kind in (PSU, BSP, IMD, METER):
        assert said[name(kind, "communication_check")] is True
    caps = said["power_supply_DC/psu/m2e/capabilities"]
    assert caps["bidirectional"] is True
    assert (caps["max_export_power_W"], caps["max_import_current_A"]) == (22_000.0, 73.3)
    assert caps["min_export_current_A"] == caps["min_import_current_A"] == 0.0  # or EVerest would raise 0 A to it
    hardware = said["evse_board_support/bsp/m2e/capabilities"]
    assert hardware["max_current_A_import"] * 230.0 * 3.0 >= 22_000.0  # else the DC power would be cut


def test_discharge_is_import_with_a_negative_current_and_energy_to_the_grid() -> None:
    said = Ear().hears(FLOWING)
    assert said[name(PSU, "mode")] == "Import"
    assert said[name(PSU, "voltage_current")]["current_A"] == -20.0
    assert said[name(METER, "powermeter_values")]["power_W"]["total"] == -7000.0
    assert said[name(METER, "powermeter_values")]["energy_Wh_export"] == {"total": 78.9}


def test_limits_of_the_moment_are_told_at_once_and_never_too_high() -> None:
    ear = Ear()
    ear.hears(FLOWING)
    said = ear.hears(replace(FLOWING, charge_max_a=10.04, charge_max_w=3_561.0, discharge_max_a=0.0), 0.01)
    caps = said[name(PSU, "capabilities")]
    assert (caps["max_export_current_A"], caps["max_export_power_W"], caps["max_import_current_A"]) == (
        10.0,
        3500.0,
        0.0,
    )
    assert caps["nominal_max_export_current_A"] == 73.3
    assert name(PSU, "capabilities") not in ear.hears(replace(FLOWING, charge_max_a=10.0, discharge_max_a=0.0,
                                                              charge_max_w=3_561.0), 0.01)  # fmt: skip


def test_before_power_transfer_the_ratings_are_told_or_the_cable_check_had_no_current() -> None:
    caps = Ear().hears(replace(REST, charge_max_a=0.0, charge_max_w=0.0))[name(PSU, "capabilities")]
    assert (caps["max_export_current_A"], caps["max_export_power_W"]) == (73.3, 22_000.0)


@given(*[st.floats(allow_nan=True, allow_infinity=True)] * 5)
def test_no_value_of_the_charger_makes_a_payload_that_is_no_json(
    a: float, b: float, c: float, d: float, e: float
) -> None:
    """What services pass on is finite, but limits and insulation may be anything."""
    charger = replace(FLOWING, charge_max_a=a, charge_max_w=b, discharge_max_a=c, discharge_max_w=d, insulation_ohm=e)
    ear = Ear()
    ear.everest.says(IMD, "start")
    said = ear.hears(charger)
    caps = said[name(PSU, "capabilities")]
    for key, limit in (("max_export_current_A", a), ("max_import_power_W", d)):
        assert 0.0 <= caps[key] <= (max(0.0, limit) + 1e-6 if math.isfinite(limit) else 0.0)
    assert 0.0 <= said[name(IMD, "isolation_measurement")]["resistance_F_Ohm"] <= 1e7


def test_pilot_and_contactor_are_told_when_they_change_and_only_then() -> None:
    ear = Ear()
    ear.hears(REST)
    assert ear.hears(replace(REST, pilot="B"), 0.1)[name(BSP, "event")] == {"event": "B"}
    assert name(BSP, "event") not in ear.hears(replace(REST, pilot="B"), 0.1)
    assert name(BSP, "event") not in ear.hears(replace(REST, pilot="UNKNOWN"), 0.1)
    assert ear.hears(replace(REST, pilot="B", closed=True), 0.1)[name(BSP, "event")] == {"event": "PowerOn"}


def test_an_everest_that_began_anew_is_told_everything_again() -> None:
    ear = Ear()
    first = ear.hears(replace(REST, broken="A fault."))
    ear.teller.again()
    assert ear.hears(replace(REST, broken="A fault.")) == first


def test_values_come_four_times_a_second_and_the_sign_of_life_within_its_second() -> None:
    ear = Ear()
    heard: dict[str, int] = {}
    for _ in range(100):  # 10 s in services' steps
        for topic in ear.hears(FLOWING, 0.1):
            heard[topic] = heard.get(topic, 0) + 1
    assert heard[name(PSU, "voltage_current")] >= 40
    assert heard[name(PSU, "communication_check")] >= 20
    assert heard[name(METER, "powermeter_values")] == 10
    assert heard[name(PSU, "capabilities")] == 10.0 // AGAIN_S


@pytest.mark.parametrize(("outcome", "told"), [("passed", True), ("failed", False)])
def test_the_self_test_is_guards_and_its_result_is_told_once(outcome: Any, told: bool) -> None:
    ear = Ear()
    ear.everest.says(IMD, "start_self_test", "500.0")
    assert name(IMD, "self_test_result") not in ear.hears(replace(REST, in_session=True, self_test="running"))
    assert ear.hears(replace(REST, in_session=True, self_test=outcome), 0.1)[name(IMD, "self_test_result")] is told
    assert name(IMD, "self_test_result") not in ear.hears(replace(REST, self_test=outcome), 0.1)


def test_insulation_is_told_between_start_and_stop_and_never_invented() -> None:
    ear = Ear()
    assert name(IMD, "isolation_measurement") not in ear.hears(FLOWING)
    ear.everest.says(IMD, "start")
    assert ear.hears(FLOWING, 1.0)[name(IMD, "isolation_measurement")]["resistance_F_Ohm"] == 1e6
    assert name(IMD, "isolation_measurement") not in ear.hears(replace(FLOWING, insulation_ohm=None), 1.0)
    ear.everest.says(IMD, "stop")
    assert name(IMD, "isolation_measurement") not in ear.hears(FLOWING, 1.0)


def test_an_error_is_raised_once_and_cleared_when_it_is_over() -> None:
    ear = Ear()
    broken = replace(REST, broken="The grid tripped.", estop=True)
    said = ear.hears(broken)
    assert said[name(PSU, "raise_error")] == {"type": "VendorError", "message": "The grid tripped."}
    assert said[name(BSP, "raise_error")]["type"] == "MREC8EmergencyStop"
    assert name(PSU, "raise_error") not in ear.hears(replace(broken, broken="Still tripped."), 0.1)
    said = ear.hears(REST, 0.1)
    assert said[name(PSU, "clear_error")]["type"] == "VendorError"
    assert said[name(BSP, "clear_error")]["type"] == "MREC8EmergencyStop"


def test_the_chargers_stop_is_asked_for_once_a_session_and_not_when_everest_ends_it() -> None:
    ear = Ear()
    stopping = replace(FLOWING, stop=True)
    ear.everest.allow(False)
    assert name(BSP, "request_stop_transaction") not in ear.hears(stopping)  # EVerest does not permit power any more
    ear.everest.allow()
    assert ear.hears(stopping, 0.1)[name(BSP, "request_stop_transaction")] == {"reason": "Local"}
    assert name(BSP, "request_stop_transaction") not in ear.hears(stopping, 0.1)
    ear.everest.allow(False)
    ear.hears(stopping, 0.1)
    ear.everest.allow()
    assert name(BSP, "request_stop_transaction") in ear.hears(stopping, 0.1)


def test_after_a_lost_connection_an_everest_that_believes_in_its_session_is_asked_to_end_it() -> None:
    ear = Ear()
    ear.everest.charge()
    ear.hears(FLOWING)
    ear.everest.peer.forget()
    ear.teller.again()
    assert ear.hears(replace(FLOWING, stop=True), 0.1)[name(BSP, "request_stop_transaction")] == {"reason": "Local"}
