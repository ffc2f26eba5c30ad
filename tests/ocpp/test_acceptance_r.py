"""Block R, by the 8 titles of the OCTT's DER cases. Only the titles are public: what each demands is how we read the
title and the rules of R04 as public software has them, so passing here is no OCTT result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.ocpp.dialect import V16, V201
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.power_variables import power_variables
from firmware.bridges.ocpp.view import Ability, Tripped
from tests.ocpp.back_end import WALL_S
from tests.ocpp.test_der import CONTROLS, Book, at


def test_r_100_controls_outlive_a_restart_with_what_became_of_them(tmp_path: Path) -> None:
    book = Book(tmp_path, Outbox(tmp_path / "q.sqlite"))
    assert book.set("old", default=True, priority=5) == {"status": "Accepted"}
    assert book.set("new", default=True, priority=1) == {"status": "Accepted", "supersededIds": ["old"]}
    assert book.set("later", startTime=at(100), duration=50) == {"status": "Accepted"}
    before = book.reports()
    book.box.close()
    again = Book(tmp_path, Outbox(tmp_path / "q.sqlite"), now=90.0)
    assert again.reports() == before
    again.look(100.5)
    assert [(s["controlId"], s["started"]) for s in again.starts()] == [("later", True)]
    again.look(150.5)
    assert again.reports().keys() == {"old", "new"}
    assert {c.id for c in again.controls.book.active(WALL_S + 151.0)} == {"new"}


def test_r_101_the_device_model_says_what_the_dc_inverter_can_do() -> None:
    found = {
        (v.component, v.name): v
        for v in power_variables(Ability(charge_w=22_000.0, discharge_w=10_000.0), ("Q", "Desk 22", "0.1"))
    }
    assert found["DCDERCtrlr", "Available"].value == "true"
    assert set(found["DCDERCtrlr", "ModesSupported"].value.split(",")) == set(CONTROLS)
    assert (found["DCDERCtrlr", "MaxW"].value, found["DCDERCtrlr", "MaxW"].unit) == ("10000", "W")
    assert found["DCDERCtrlr", "MaxChargeRateW"].value == "22000"
    assert found["DCDERCtrlr", "MaxVar"].unit == "Var"
    assert all(v.evse == 1 for v in found.values() if v.component == "DCDERCtrlr")
    assert "LocalLoadBalancing" not in found["V2XChargingCtrlr", "SupportedOperationModes"].value


def test_r_102_clearing_by_id_type_and_all(tmp_path: Path) -> None:
    book = Book(tmp_path)
    assert book.ask("ClearDERControl", isDefault=True) == {"status": "Accepted"}  # all of none
    assert book.ask("ClearDERControl", isDefault=True, controlId="a") == {"status": "NotFound"}
    for id, kind in (("a", "VoltVar"), ("w", "LimitMaxDischarge")):
        payload, body, _ = CONTROLS[kind]
        assert book.set(id, kind, default=True, payload=payload, **{**body, "priority": 0})["status"] == "Accepted"
    assert book.set("s", startTime=at(0), duration=900)["status"] == "Accepted"
    assert book.ask("ClearDERControl", isDefault=False, controlId="a") == {"status": "NotFound"}  # it is a default
    assert book.ask("ClearDERControl", isDefault=True, controlType="PowerMonitoringMustTrip") == {
        "status": "NotSupported"
    }
    assert book.ask("ClearDERControl", isDefault=True, controlType="VoltVar") == {"status": "Accepted"}
    assert book.reports().keys() == {"w", "s"}
    assert book.ask("ClearDERControl", isDefault=True, controlId="w") == {"status": "Accepted"}
    assert book.ask("ClearDERControl", isDefault=False) == {"status": "Accepted"}
    assert book.ask("GetDERControl", requestId=1) == {"status": "NotFound"}
    assert book.controls.book.controls == {}


@pytest.mark.parametrize(
    ("kind", "default", "payload", "body", "expected"),
    [
        ("PowerMonitoringMustTrip", True, "curve", {"yUnit": "Not_Applicable"}, "NotSupported"),
        # With the sign of a generator: it would take power away where there is too little of it.
        (
            "FreqWatt",
            True,
            "curve",
            {"yUnit": "PctMaxW", "curveData": [{"x": 60.2, "y": 100}, {"x": 62, "y": 0}]},
            "Rejected",
        ),
        ("VoltVar", True, "fixedVar", {"setpoint": 1, "unit": "PctMaxVar"}, "Rejected"),  # the payload of another type
        ("VoltVar", True, "curve", {"yUnit": "PctMaxW"}, "Rejected"),
        ("VoltVar", True, "curve", {"startTime": at(1), "duration": 5}, "Rejected"),  # a default has no time
        ("VoltVar", False, "curve", {}, "Rejected"),  # and what is none needs both
        ("VoltVar", False, "curve", {"startTime": at(-100), "duration": 5}, "Rejected"),  # it is over already
        ("Gradients", False, "gradient", {"gradient": 1, "softGradient": 1}, "Rejected"),
        ("HVMustTrip", True, "curve", {"curveData": [{"x": 110, "y": 2}, {"x": 120, "y": 0.16}]}, "Rejected"),
        ("HVMayTrip", True, "curve", {"curveData": [{"x": 130, "y": 20}]}, "Rejected"),  # a must-trip comes sooner
        ("LVMomCess", True, "curve", {"curveData": [{"x": 85, "y": 1}]}, "Rejected"),  # power must go on there
    ],
)
def test_r_103_validations(
    tmp_path: Path, kind: str, default: bool, payload: str, body: dict[str, Any], expected: str
) -> None:
    book = Book(tmp_path)
    body = {"priority": 0, **body}
    if "Trip" in kind or "Cess" in kind:
        body["yUnit"] = "Not_Applicable"
    answer = book.set("c", kind, default=default, payload=payload, **body)
    assert answer["status"] == expected
    if expected == "Rejected":
        assert answer["statusInfo"]["additionalInfo"]
    assert book.ask("GetDERControl", requestId=1) == {"status": "NotFound"}
    assert book.controls.book.controls == {}


def test_r_104_a_control_that_begins_later_supersedes_when_it_begins(tmp_path: Path) -> None:
    book = Book(tmp_path)
    assert book.set("low", startTime=at(0), duration=1000, priority=5) == {"status": "Accepted"}
    book.look(2.0)
    answer = book.set("high", startTime=at(100), duration=100, priority=1)
    assert answer == {"status": "Accepted", "supersededIds": ["low"]}
    book.look(99.0)
    assert book.reports()["low"]["isSuperseded"] is False
    book.look(100.5)
    assert book.reports()["low"]["isSuperseded"] is True
    assert [(s["controlId"], s["started"], s.get("supersededIds")) for s in book.starts()] == [
        ("low", True, None),
        ("high", True, ["low"]),
    ]
    book.look(200.5)
    assert (book.starts()[-1]["controlId"], book.starts()[-1]["started"]) == ("high", False)
    assert not book.controls.book.active(WALL_S + 201.0)  # what was superseded does not return


def test_r_105_a_control_of_higher_priority_supersedes_the_active_one_at_once(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.set("low", startTime=at(0), duration=1000, priority=5)
    book.look(2.0)
    answer = book.set("high", startTime=at(2), duration=100, priority=1)
    assert answer == {"status": "Accepted", "supersededIds": ["low"]}
    book.look(4.0)
    assert book.starts()[-1]["supersededIds"] == ["low"]
    assert {c.id for c in book.controls.book.active(WALL_S + 4.0)} == {"high"}


@pytest.mark.parametrize("priority", [5, 6])
def test_r_106_the_active_control_wins_over_a_new_one_of_lower_or_equal_priority(tmp_path: Path, priority: int) -> None:
    book = Book(tmp_path)
    book.set("first", startTime=at(0), duration=1000, priority=5)
    book.look(2.0)
    answer = book.set("second", startTime=at(2), duration=100, priority=priority)
    assert answer == {"status": "Accepted", "supersededIds": ["second"]}
    book.look(4.0)
    assert book.reports()["second"]["isSuperseded"] is True
    assert {c.id for c in book.controls.book.active(WALL_S + 4.0)} == {"first"}


def test_r_108_a_trip_is_an_alarm_that_waits_for_the_back_end_and_ends_with_the_trip(tmp_path: Path) -> None:
    book = Book(tmp_path, Outbox(tmp_path / "q.sqlite"))
    book.charger.disconnected(0.0)
    trip = Tripped("UF1", 50.0, 47.4, 47.5, "Hz", "Tripped by UF1", over=False)
    book.trip = trip
    book.look(51.0)
    assert book.peer.told("NotifyDERAlarm") == []
    book.box.close()
    again = Book(tmp_path, Outbox(tmp_path / "q.sqlite"), now=60.0)
    (alarm,) = again.peer.told("NotifyDERAlarm")
    assert alarm == {
        "controlType": "LFMustTrip",
        "gridEventFault": "UnderFrequency",
        "timestamp": at(50),
        "extraInfo": "Tripped by UF1",
    }
    again.trip = trip
    again.look(61.0)
    assert len(again.peer.told("NotifyDERAlarm")) == 1  # the same trip, seen again
    again.trip = Tripped(**{f: getattr(trip, f) for f in trip.__dataclass_fields__} | {"over": True})
    again.look(400.0)
    assert again.peer.told("NotifyDERAlarm")[-1] == {**alarm, "timestamp": at(400), "alarmEnded": True}


@pytest.mark.parametrize("dialect", [V16, V201], ids=lambda d: d.name)
def test_earlier_versions_have_no_der_control(tmp_path: Path, dialect: Any) -> None:
    book = Book(tmp_path)
    book.charger.disconnected(1.0)
    book.peer.dialect = dialect
    book.charger.connected(1.0, dialect)
    book.look(1.0)
    assert book.peer.ask(book.charger, "SetDERControl", {}) in ("NotImplemented", "NotSupported")


def test_r_106_what_has_lost_does_not_come_into_force_when_the_winner_is_cleared(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.set("first", default=True, priority=1)
    assert book.set("second", default=True, priority=5) == {"status": "Accepted", "supersededIds": ["second"]}
    book.look(2.0)
    assert book.ask("ClearDERControl", isDefault=True, controlId="first") == {"status": "Accepted"}
    assert not book.controls.book.active(WALL_S + 3.0)
    assert book.set("second", default=True, priority=5) == {"status": "Accepted"}  # set again, it holds
    assert {c.id for c in book.controls.book.active(WALL_S + 3.0)} == {"second"}
