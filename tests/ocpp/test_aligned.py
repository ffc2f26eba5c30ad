"""Meter values by the clock: at every full interval since midnight, in a transaction and outside of one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.aligned import DAY_S, slot_of
from firmware.bridges.ocpp.dialect import V16, V21, V201, Dialect
from firmware.bridges.ocpp.view import Phase
from tests.ocpp.back_end import WALL_S, BackEnd, registered, station, view

ALL = pytest.mark.parametrize("dialect", [V16, V201, V21], ids=lambda dialect: dialect.name)
FULL_S = 900.0 - WALL_S % 900.0  # from the beginning to the next full quarter of an hour


def by_clock(peer: BackEnd, action: str = "MeterValues") -> list[tuple[float, dict[str, Any]]]:
    """(time, call) of every call with values by the clock."""
    found = []
    for call in peer.told(action):
        for value in call.get("meterValue", ()):
            if all(s.get("context") == "Sample.Clock" for s in value["sampledValue"]):
                found.append((times.parse(value["timestamp"]) - WALL_S, call))
    return found


def look(charger: Any, peer: BackEnd | None, until_s: float, phase: Phase = Phase.FREE, start_s: float = 0.0) -> float:
    """Looks at the charger every 10 s."""
    t = start_s
    while t < until_s:
        t = min(t + 10.0, until_s)
        charger.observe(view(t, phase, power_w=-7_000.0 if phase is Phase.DISCHARGING else 0.0))
        if peer is not None:
            peer.settle(charger, t)
    return t


@ALL
def test_outside_of_a_transaction_they_come_at_every_full_interval_and_by_default_never(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    t = look(charger, peer, FULL_S + 1_000.0)
    assert by_clock(peer) == []
    charger.tune.aligned_s = 900.0
    look(charger, peer, FULL_S + 3_700.0, start_s=t)
    found = by_clock(peer)
    assert [t for t, _ in found] == pytest.approx([FULL_S + n * 900.0 for n in (2, 3, 4)], abs=10.0)
    for _, call in found:
        assert "transactionId" not in call
        assert call["evseId" if dialect.two else "connectorId"] == 1
        names = {s["measurand"] for s in call["meterValue"][0]["sampledValue"]}
        assert names >= {"Energy.Active.Import.Register", "Energy.Active.Export.Register"}


@ALL
def test_in_a_transaction_they_are_records_of_it_in_their_order(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    charger.tune.aligned_s = 900.0
    charger.transactions.interval_s = 1e9
    look(charger, peer, FULL_S + 1_000.0, Phase.DISCHARGING)
    found = by_clock(peer, "TransactionEvent" if dialect.two else "MeterValues")
    assert [t for t, _ in found] == pytest.approx([FULL_S, FULL_S + 900.0], abs=20.0)
    for _, call in found:
        if dialect.two:
            assert (call["eventType"], call["triggerReason"]) == ("Updated", "MeterValueClock")
        else:
            assert "transactionId" in call
    if dialect.two:
        assert by_clock(peer) == []
        assert [e["seqNo"] for e in peer.told("TransactionEvent")] == list(range(len(peer.told("TransactionEvent"))))


def test_those_of_a_transaction_outlive_a_connection_that_is_gone_and_others_do_not() -> None:
    charger, _, peer = registered(V21)
    charger.tune.aligned_s = 900.0
    charger.disconnected(0.0)
    t = look(charger, None, FULL_S + 100.0)
    t = look(charger, None, FULL_S + 1_000.0, Phase.DISCHARGING, t)
    charger.connected(t, V21)
    peer.settle(charger, t)
    assert by_clock(peer) == []
    ((at_s, event),) = by_clock(peer, "TransactionEvent")
    assert at_s == pytest.approx(FULL_S + 900.0, abs=20.0)
    assert event["offline"] is True


def test_with_send_during_idle_a_transaction_has_none() -> None:
    charger, _, peer = registered(V21)
    charger.tune.aligned_s, charger.tune.aligned_idle = 900.0, True
    t = look(charger, peer, FULL_S + 100.0)
    look(charger, peer, FULL_S + 1_900.0, Phase.DISCHARGING, t)
    assert len(by_clock(peer)) == 1
    assert by_clock(peer, "TransactionEvent") == []


def test_a_transaction_that_ends_at_the_full_interval_leaves_nothing_to_the_next() -> None:
    charger, _, peer = registered(V21)
    charger.tune.aligned_s = 900.0
    look(charger, peer, FULL_S, Phase.DISCHARGING)
    charger.observe(view(FULL_S + 0.1, Phase.FREE))
    peer.settle(charger, FULL_S + 0.1)
    look(charger, peer, FULL_S + 500.0, Phase.DISCHARGING, FULL_S + 0.1)
    assert by_clock(peer, "TransactionEvent") == []


def test_a_clock_that_is_set_back_tells_no_interval_twice_and_a_new_interval_begins_without_a_word() -> None:
    charger, _, peer = registered(V21)
    charger.tune.aligned_s = 900.0
    t = look(charger, peer, FULL_S + 20.0)
    assert len(by_clock(peer)) == 1
    charger._correction_s, charger.follows_clock = -40.0, True
    charger.observe(view(t + 1.0))
    charger.tune.aligned_s = 60.0
    charger.observe(view(t + 2.0))
    peer.settle(charger, t + 2.0)
    assert len(by_clock(peer)) == 1
    charger.tune.aligned_s = 0.0
    look(charger, peer, t + 300.0, start_s=t + 2.0)
    assert len(by_clock(peer)) == 1


@given(st.floats(0.0, 4e9), st.integers(1, 86_400))
def test_intervals_begin_at_midnight_whatever_their_length(wall_s: float, interval_s: int) -> None:
    day, number = slot_of(wall_s, float(interval_s))
    assert day * DAY_S + number * interval_s <= wall_s + 1e-6
    assert wall_s < min(day * DAY_S + (number + 1) * interval_s, (day + 1) * DAY_S) + 1e-6
    assert slot_of((day + 1) * DAY_S, float(interval_s)) == (day + 1, 0)


def test_the_back_end_sets_the_interval_by_its_variable_and_in_1_6_by_its_key() -> None:
    charger, _, peer = registered(V21)
    item = {"component": {"name": "AlignedDataCtrlr"}, "variable": {"name": "Interval"}, "attributeValue": "300"}
    (answer,) = peer.ask(charger, "SetVariables", {"setVariableData": [item]})["setVariableResult"]
    assert (answer["attributeStatus"], charger.tune.aligned_s) == ("Accepted", 300.0)
    old, _, old_peer = registered(V16)
    change = {"key": "ClockAlignedDataInterval", "value": "60"}
    assert old_peer.ask(old, "ChangeConfiguration", change) == {"status": "Accepted"}
    assert old.tune.aligned_s == 60.0


def test_before_the_first_connection_nothing_waits() -> None:
    charger, _, _ = station()
    charger.tune.aligned_s = 900.0
    look(charger, None, FULL_S + 100.0)
    peer = BackEnd(V21)
    charger.connected(FULL_S + 100.0, V21)
    peer.settle(charger, FULL_S + 100.0)
    assert by_clock(peer) == []
