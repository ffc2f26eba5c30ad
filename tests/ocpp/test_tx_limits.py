"""Limits of a transaction that the back end sets: confirmed, obeyed, told once, lifted by higher ones, kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.bridges.ocpp.dialect import V16, V21, V201
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.report import station_report
from firmware.bridges.ocpp.station import Station
from firmware.bridges.ocpp.view import Phase, View
from tests.ocpp.back_end import BackEnd, registered, station, view
from tests.ocpp.test_priority import profile

START_WH = 1000.0


class Session:
    """A charging car at a back end of 2.1, with a profile of 9 kW. Time goes by one second a look."""

    def __init__(self, box: Outbox | None = None, limit: dict[str, Any] | None = None) -> None:
        self.charger, self.box, self.peer = registered(V21, **({} if box is None else {"outbox": box}))
        self.peer.ask(self.charger, "SetChargingProfile", profile("TxDefaultProfile", 1, 9_000.0))
        self.t = 0.0
        if limit is not None:
            self.give(limit)
        self.see(0.0)

    def give(self, limit: dict[str, Any] | None) -> None:
        self.peer.answers["TransactionEvent"] = {} if limit is None else {"transactionLimit": limit}

    def see(self, wh: float, phase: Phase = Phase.CHARGING, after_s: float = 1.0, **more: Any) -> View:
        self.t += after_s
        look = view(self.t, phase, wh=(START_WH + wh, 0.0), voltage_v=400.0, **more)
        self.charger.observe(look)
        self.peer.settle(self.charger, self.t)
        return look

    def told(self, trigger: str) -> list[dict[str, Any]]:
        return [event for event in self.peer.told("TransactionEvent") if event["triggerReason"] == trigger]

    def power(self) -> tuple[float | None, float | None, float | None]:
        wanted = self.charger.wanted(self.t)
        assert wanted is not None
        return wanted.power_w, wanted.charge_w, wanted.discharge_w


def test_it_is_confirmed_once_and_by_the_limits_that_are_kept() -> None:
    session = Session(limit={"maxEnergy": 500.0, "maxCost": 3.0, "maxTime": 600})
    for _ in range(5):
        session.see(1.0)
    (event,) = [e for e in session.told("LimitSet") if "transactionLimit" in e["transactionInfo"]]
    assert event["transactionInfo"]["transactionLimit"] == {"maxEnergy": 500.0, "maxTime": 600}
    session.give({"maxCost": 1.0})  # only what is not kept: nothing changes, nothing is confirmed
    session.see(1.0, Phase.HOLDING)
    before = len(session.told("LimitSet"))
    session.see(1.0)
    session.see(1.0)
    assert len(session.told("LimitSet")) == before
    assert session.charger.transactions.recall("limit") == {"maxEnergy": 500.0, "maxTime": 600}


@pytest.mark.parametrize(
    ("limit", "before", "after", "trigger"),
    [
        ({"maxEnergy": 500.0}, {"wh": 499.9}, {"wh": 500.0}, "EnergyLimitReached"),
        ({"maxTime": 60}, {"wh": 1.0, "after_s": 50.0}, {"wh": 1.0, "after_s": 15.0}, "TimeLimitReached"),
        ({"maxSoC": 80}, {"wh": 1.0, "soc_pct": 79.9}, {"wh": 1.0, "soc_pct": 80.0}, "SoCLimitReached"),
        ({"maxSoC": 80}, {"wh": 1.0, "soc_pct": None}, {"wh": 1.0, "soc_pct": 95.0}, "SoCLimitReached"),
    ],
)
def test_what_is_reached_takes_the_power_and_is_told_when_none_flows(
    limit: dict[str, Any], before: dict[str, Any], after: dict[str, Any], trigger: str
) -> None:
    session = Session(limit=limit)
    session.see(0.0)
    session.see(**before)
    assert session.power()[0] == 9_000.0
    assert session.charger.transactions.recall("reached") == []
    session.see(**after)
    power_w, charge_w, discharge_w = session.power()
    assert (power_w, charge_w) == (0.0, 0.0)
    assert (discharge_w == 0.0) is (trigger == "TimeLimitReached")
    assert session.told(trigger) == []  # the power is still going down
    session.see(**{**after, "after_s": 1.0}, phase=Phase.HOLDING)
    (event,) = session.told(trigger)
    assert event["transactionInfo"]["chargingState"] == "SuspendedEVSE"
    for _ in range(3):
        session.see(**{**after, "after_s": 20.0}, phase=Phase.HOLDING)
    assert len(session.told(trigger)) == 1
    assert session.charger.transactions.id is not None  # it goes on until the car leaves
    wanted = session.charger.wanted(session.t)
    assert wanted is not None
    assert "transaction limit" in wanted.bound_reason
    assert station_report(session.charger, session.t)["transaction_limit"]["reached"] == list(limit)


def test_power_that_does_not_end_because_it_discharges_is_told_all_the_same() -> None:
    session = Session(limit={"maxEnergy": 500.0})
    session.see(0.0)
    session.see(500.0)
    session.see(500.0, Phase.DISCHARGING)
    assert session.told("EnergyLimitReached") == []
    session.see(500.0, Phase.DISCHARGING, after_s=10.0)
    assert len(session.told("EnergyLimitReached")) == 1


def test_a_higher_limit_goes_on_and_a_lower_one_counts_at_once_and_the_next_car_has_none() -> None:
    session = Session(limit={"maxEnergy": 500.0})
    session.see(0.0)
    session.see(600.0)
    assert session.power()[0] == 0.0
    session.give({"maxEnergy": 800.0})
    session.see(600.0, Phase.HOLDING)
    session.see(600.0, Phase.HOLDING)
    assert session.power()[0] == 9_000.0
    session.give({"maxEnergy": 100.0})
    session.see(610.0)
    session.see(610.0)
    assert session.power()[0] == 0.0
    session.give(None)
    session.see(610.0, Phase.FREE)
    session.see(610.0)
    assert session.charger.transactions.id is not None
    assert session.power()[0] == 9_000.0


def test_it_outlives_a_restart_reached_or_not(tmp_path: Path) -> None:
    for reached in (False, True):
        box = Outbox(tmp_path / str(reached))
        session = Session(box, {"maxEnergy": 500.0})
        session.see(0.0)
        session.see(500.0 if reached else 400.0)
        again, _, _ = station(box)
        again.observe(view(session.t + 1.0, Phase.CHARGING, wh=(START_WH + 501.0, 0.0)))
        wanted = again.wanted(session.t + 1.0)
        assert wanted is not None
        assert wanted.charge_w == 0.0
        box.close()


@pytest.mark.parametrize("dialect", [V16, V201], ids=lambda dialect: dialect.name)
def test_what_was_reached_is_told_in_the_words_of_an_earlier_version(dialect: Any) -> None:
    session = Session(limit={"maxSoC": 80})
    session.see(0.0)
    session.charger.disconnected(session.t)
    session.charger.observe(view(session.t + 1.0, Phase.CHARGING, wh=(START_WH, 0.0), soc_pct=81.0))
    session.charger.observe(view(session.t + 2.0, Phase.HOLDING, wh=(START_WH, 0.0), soc_pct=81.0))
    peer = BackEnd(dialect)
    session.charger.connected(session.t + 3.0, dialect)
    for step in range(5):
        peer.settle(session.charger, session.t + 3.0 + 40.0 * step)
    if dialect.two:
        assert "EnergyLimitReached" in [event["triggerReason"] for event in peer.told("TransactionEvent")]
    assert len(session.box) == 0


def test_a_limit_in_the_answer_to_another_transactions_record_is_not_this_ones() -> None:
    charger, _, peer = registered(V21)
    charger.disconnected(1.0)
    for t, phase in ((2.0, Phase.CHARGING), (3.0, Phase.FREE), (4.0, Phase.CHARGING)):
        charger.observe(view(t, phase))
    charger.connected(5.0, V21)
    limits = []
    for number in range(1, 4):  # the first car's two records, then the second's
        peer.answers["TransactionEvent"] = {"transactionLimit": {"maxTime": number}}
        while len(peer.told("TransactionEvent")) < number:
            for text in charger.tick(5.0):
                peer.hear(charger, 5.0, text)
        limits.append(charger.transactions.recall("limit"))
    assert limits == [None, None, {"maxTime": 3}]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["charge", "give", "kill"]), st.floats(0.0, 300.0)), max_size=10))
def test_whatever_happens_no_power_is_wanted_beyond_the_limit_in_force(steps: list[tuple[str, float]]) -> None:
    session = Session(Outbox(":memory:"))
    wh, limit = 0.0, None
    for what, value in steps:
        if what == "give":
            limit = round(value, 1)
            session.give({"maxEnergy": limit})
            session.see(wh, Phase.HOLDING)  # a change of state is told, and its answer brings the limit
            session.see(wh)
        elif what == "kill":
            charger: Station
            charger, _, _ = station(session.box)
            session.charger = charger
            session.see(wh)
            session.charger.connected(session.t, V21)
            session.peer.settle(charger, session.t)
        else:
            wh += value
        session.see(wh)
        session.see(wh)
        wanted = session.charger.wanted(session.t)
        assert wanted is not None
        over = limit is not None and wh >= limit
        assert (wanted.charge_w == 0.0) is over


def fill(box: Outbox) -> None:
    """The disk takes no state any more."""
    box._db.execute("CREATE TRIGGER full BEFORE INSERT ON state BEGIN SELECT raise(ABORT, 'disk is full'); END")


def empty(box: Outbox) -> None:
    box._db.execute("DROP TRIGGER full")


def test_a_limit_that_is_reached_takes_the_power_though_the_disk_is_full_and_is_told_when_there_is_room() -> None:
    session = Session(limit={"maxEnergy": 500.0})
    session.see(1.0)
    fill(session.box)
    for wh in (600.0, 601.0):
        session.see(wh)
        assert session.power()[:2] == (0.0, 0.0)
    empty(session.box)
    for _ in range(3):
        session.see(601.0, Phase.HOLDING)
    assert len(session.told("EnergyLimitReached")) == 1
    assert session.charger.transactions.recall("reached") == ["maxEnergy"]


def test_a_limit_that_comes_while_the_disk_is_full_holds_for_that_transaction_and_is_confirmed_when_there_is_room() -> (
    None
):
    session = Session()
    session.see(1.0, Phase.HOLDING)
    session.charger.disconnected(session.t)
    session.see(2.0)  # a record that waits
    session.charger.connected(session.t, V21)
    session.give({"maxEnergy": 500.0})
    fill(session.box)
    session.see(400.0)
    assert session.power()[0] == 9_000.0
    session.see(500.0)
    assert session.power()[:2] == (0.0, 0.0)
    assert session.told("LimitSet") == []
    empty(session.box)
    for _ in range(4):
        session.see(500.0, Phase.HOLDING)
    (event,) = [e for e in session.told("LimitSet") if "transactionLimit" in e["transactionInfo"]]
    assert event["transactionInfo"]["transactionLimit"] == {"maxEnergy": 500.0}
    session.give(None)
    session.see(500.0, Phase.FREE)
    session.see(500.0)
    assert session.power()[0] == 9_000.0  # the next car has none
