"""Monitors: what is watched, what is told of it, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.bridges.ocpp.dialect import V21, V201, Dialect
from firmware.bridges.ocpp.monitors import MAX_EVENTS, MAX_MONITORS
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.station import Station
from firmware.bridges.ocpp.view import Phase
from tests.ocpp.back_end import BackEnd, registered, station, view

two = pytest.mark.parametrize("dialect", [V201, V21], ids=lambda dialect: dialect.name)
POWER = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Power"}}
STATE = {"component": {"name": "Connector", "evse": {"id": 1, "connectorId": 1}},
         "variable": {"name": "AvailabilityState"}}  # fmt: skip


def monitor(kind: str, value: float, place: dict[str, Any] = POWER, **more: Any) -> dict[str, Any]:
    return {**place, "type": kind, "value": value, "severity": 4, **more}


def set_(charger: Station, peer: BackEnd, *items: dict[str, Any]) -> list[dict[str, Any]]:
    answer = peer.ask(charger, "SetVariableMonitoring", {"setMonitoringData": list(items)})
    return list(answer["setMonitoringResult"])


def powers(charger: Station, peer: BackEnd, course: list[tuple[float, float]]) -> list[tuple[str, bool | None, str]]:
    """Let the power take its course [(t, W)]; what was told of it: (trigger, cleared, value)."""
    for t, power_w in course:
        charger.observe(view(t, power_w=power_w))
        peer.settle(charger, t)
    events = [e for call in peer.told("NotifyEvent") for e in call["eventData"]]
    return [(e["trigger"], e.get("cleared"), e["actualValue"]) for e in events]


@two
def test_a_threshold_is_told_when_it_is_exceeded_and_when_it_is_over(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    (answer,) = set_(charger, peer, monitor("UpperThreshold", 7_000))
    assert answer["status"] == "Accepted"
    course = [(2.0, 6_999.0), (4.0, 7_000.0), (6.0, -7_001.0), (8.0, 9_000.0), (10.0, 7_000.0)]
    assert powers(charger, peer, course) == [("Alerting", False, "7001"), ("Alerting", True, "7000")]
    events = [e for call in peer.told("NotifyEvent") for e in call["eventData"]]
    assert {e["variableMonitoringId"] for e in events} == {answer["id"]}
    assert [e["eventId"] for e in events] == [1, 2]
    assert {e["eventNotificationType"] for e in events} == {"CustomMonitor"}


def test_a_lower_threshold_a_delta_and_a_period() -> None:
    charger, _, peer = registered(V21)
    set_(charger, peer, monitor("LowerThreshold", 100))
    assert powers(charger, peer, [(2.0, 100.0), (4.0, 99.0), (6.0, 101.0)]) == [
        ("Alerting", False, "99"), ("Alerting", True, "101"),
    ]  # fmt: skip
    charger, _, peer = registered(V21)
    set_(charger, peer, monitor("Delta", 500))
    course = [(2.0, 0.0), (4.0, 499.0), (6.0, 500.0), (8.0, 900.0), (10.0, 0.0)]
    assert powers(charger, peer, course) == [("Delta", None, "500"), ("Delta", None, "0")]
    charger, _, peer = registered(V21)
    set_(charger, peer, monitor("Periodic", 60))
    told = powers(charger, peer, [(float(t), float(t)) for t in range(2, 200, 10)])
    assert told == [("Periodic", None, value) for value in ("62", "122", "182")]


def test_a_period_by_the_clock_falls_on_its_multiples() -> None:
    charger, _, peer = registered(V21)  # the wall clock is at 11:00:00 when t is 0
    set_(charger, peer, monitor("PeriodicClockAligned", 900))
    told = powers(charger, peer, [(t, t) for t in (10.0, 880.0, 900.0, 1_000.0, 1_799.0, 1_801.0)])
    assert [value for _, _, value in told] == ["900", "1801"]


def test_a_change_of_what_is_no_number_and_only_in_a_transaction() -> None:
    charger, _, peer = registered(V21)
    set_(charger, peer, monitor("Delta", 1, STATE, transaction=True))
    for t, phase in ((2.0, Phase.FREE), (4.0, Phase.PLUGGED), (6.0, Phase.CHARGING)):
        charger.observe(view(t, phase))
    charger.observe(view(8.0, Phase.CHARGING, faults=("OVERHEATED",)))
    peer.settle(charger, 8.0)
    events = [e for call in peer.told("NotifyEvent") for e in call["eventData"]]
    assert [(e["component"]["name"], e["actualValue"]) for e in events] == [
        ("Connector", "Faulted"), ("ChargingStation", "true"),
    ]  # fmt: skip
    assert events[1]["techInfo"] == "OVERHEATED"
    assert events[0]["transactionId"] == charger.transactions.id


@two
def test_a_fault_is_told_with_its_words_and_its_end(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    for t, faults in ((1.0, ("A", "B")), (2.0, ("A", "B")), (3.0, ())):
        charger.observe(view(t, faults=faults))
    peer.settle(charger, 3.0)
    (call,) = peer.told("NotifyEvent")
    assert [(e["cleared"], e.get("techInfo"), e["eventNotificationType"]) for e in call["eventData"]] == [
        (False, "A; B", "HardWiredNotification"), (True, None, "HardWiredNotification"),
    ]  # fmt: skip


def test_the_level_keeps_lesser_events_back_and_is_kept_over_power() -> None:
    box = Outbox(":memory:")
    charger, _, peer = registered(V21, outbox=box)
    set_(charger, peer, monitor("UpperThreshold", 100), monitor("UpperThreshold", 200, severity=7))
    assert peer.ask(charger, "SetMonitoringLevel", {"severity": 5}) == {"status": "Accepted"}
    assert peer.ask(charger, "SetMonitoringLevel", {"severity": 10})["status"] == "Rejected"
    again, _, peer = registered(V21, outbox=box)
    assert len(powers(again, peer, [(2.0, 0.0), (4.0, 300.0)])) == 1
    (left,) = set_(again, peer, monitor("LowerThreshold", 10))
    assert left["id"] == 3  # no id is given twice


@two
def test_monitors_are_reported_replaced_and_cleared(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    first, second = set_(charger, peer, monitor("UpperThreshold", 100), monitor("Delta", 1, STATE))
    (again,) = set_(charger, peer, monitor("UpperThreshold", 900, id=first["id"]))
    assert (again["status"], again["id"]) == ("Accepted", first["id"])
    assert peer.ask(charger, "GetMonitoringReport", {"requestId": 8}) == {"status": "Accepted"}
    only = {"requestId": 9, "monitoringCriteria": ["DeltaMonitoring"]}
    assert peer.ask(charger, "GetMonitoringReport", only) == {"status": "Accepted"}
    peer.settle(charger, 1.0)
    whole, part = peer.told("NotifyMonitoringReport")
    assert [m["variableMonitoring"][0]["value"] for m in whole["monitor"]] == [900, 1]
    assert [m["variableMonitoring"][0]["id"] for m in part["monitor"]] == [second["id"]]
    answer = peer.ask(charger, "ClearVariableMonitoring", {"id": [first["id"], 77]})
    assert [r["status"] for r in answer["clearMonitoringResult"]] == ["Accepted", "NotFound"]
    peer.ask(charger, "SetMonitoringBase", {"monitoringBase": "FactoryDefault"})
    assert peer.ask(charger, "GetMonitoringReport", {"requestId": 8}) == {"status": "EmptyResultSet"}


@pytest.mark.parametrize(
    ("item", "status"),
    [
        (monitor("UpperThreshold", 1, {**POWER, "component": {"name": "Nothing"}}), "UnknownComponent"),
        (monitor("UpperThreshold", 1, {**POWER, "variable": {"name": "Nothing"}}), "UnknownVariable"),
        (monitor("TargetDelta", 1), "UnsupportedMonitorType"),
        (monitor("UpperThreshold", 1, STATE), "UnsupportedMonitorType"),
        (monitor("UpperThreshold", 1e9), "Rejected"),
        (monitor("UpperThreshold", -1), "Rejected"),
        (monitor("Periodic", 0), "Rejected"),
        (monitor("Delta", -1), "Rejected"),
        (monitor("Delta", 1, severity=10), "Rejected"),
        (monitor("Delta", 1, id=5), "Rejected"),
        (monitor("Delta", 1, periodicEventStream={}), "Rejected"),
        (monitor("LowerThreshold", 1), "Duplicate"),
    ],
)
def test_what_cannot_be_watched_has_its_status(item: dict[str, Any], status: str) -> None:
    charger, _, peer = registered(V21)
    set_(charger, peer, monitor("LowerThreshold", 5))
    (answer,) = set_(charger, peer, item)
    assert answer["status"] == status
    assert "id" not in answer


def test_there_are_at_most_so_many() -> None:
    charger, _, peer = registered(V21)
    kinds = ("UpperThreshold", "LowerThreshold", "Delta", "Periodic", "PeriodicClockAligned")
    for kind in kinds:
        answers = set_(charger, peer, *(monitor(kind, 5, severity=severity) for severity in range(10)))
        assert {answer["status"] for answer in answers} == {"Accepted"}
    assert len(kinds) * 10 == MAX_MONITORS
    (answer,) = set_(charger, peer, monitor("Delta", 5, STATE))
    assert answer["status"] == "Rejected"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.0, 20_000.0), max_size=30), st.booleans())
def test_alerts_alternate_and_an_offline_flood_stays_bounded(course: list[float], online: bool) -> None:
    charger, _, _ = station()
    peer = BackEnd(V21)
    charger.observe(view())
    charger.connected(0.0, V21)
    peer.settle(charger, 0.0)
    set_(charger, peer, monitor("UpperThreshold", 10_000), monitor("Periodic", 1))
    if not online:
        charger.disconnected(0.5)
    for n, power_w in enumerate(course * (1 if online else 20)):
        charger.observe(view(2.0 * n + 2.0, power_w=power_w))
        if online:
            peer.settle(charger, 2.0 * n + 2.0)
    if not online:
        charger.connected(5_000.0, V21)
        peer.settle(charger, 5_000.0)
    events = [e for call in peer.told("NotifyEvent") for e in call["eventData"]]
    ids = [e["eventId"] for e in events]
    assert ids == sorted(set(ids))
    assert len(events) <= (10_000 if online else MAX_EVENTS)
    if online:
        alerts = [e["cleared"] for e in events if e["trigger"] == "Alerting"]
        assert alerts == [bool(n % 2) for n in range(len(alerts))]
