"""The arithmetic of charging profiles: stacks, kinds, validity, limits; and what each version may set."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.dialect import V16, V201, Dialect
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.profiles import Profile, as_kept, of_kept, understand
from firmware.bridges.ocpp.stack import Situation, compose, schedule
from firmware.bridges.ocpp.view import Ability, Phase
from tests.ocpp.back_end import WALL_S, BackEnd, station, view
from tests.ocpp.lockstep import tx_profile
from tests.ocpp.test_acceptance_q import CHARGE, SETPOINT, Point

DAY_S = 86_400.0
HERE = Situation(WALL_S, "t", WALL_S, None, False, 400.0, 50.0)


def profile(
    id: int,
    purpose: str = "TxDefaultProfile",
    *periods: tuple[int, dict[str, Any]],
    stack: int = 0,
    kind: str = "Absolute",
    start: float | None = 0.0,
    unit: str = "W",
    schedule: dict[str, Any] | None = None,
    **more: Any,
) -> Profile:
    found = [{"startPeriod": at, **period} for at, period in periods] or [{"startPeriod": 0, "limit": 1000.0 * id}]
    body: dict[str, Any] = {"id": id, "chargingRateUnit": unit, "chargingSchedulePeriod": found, **(schedule or {})}
    if start is not None and kind != "Relative":
        body["startSchedule"] = times.show(WALL_S + start)
    raw = {
        "id": id,
        "stackLevel": stack,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": [body],
        **more,
    }
    return understand(raw, 1, id, WALL_S)


def limit(*profiles: Profile, at: float = 0.0, **situation: Any) -> float | None:
    changes = {name: getattr(HERE, name) for name in HERE.__dataclass_fields__} | situation
    return compose(profiles, Situation(**{**changes, "wall_s": WALL_S + at})).all.limit_w


# ------------------------------------------------------------------------------------------------------------- stacks
def test_the_highest_stack_level_leads_and_where_it_says_nothing_the_next() -> None:
    low, high = profile(1), profile(2, stack=5, schedule={"duration": 60})
    assert limit(low, high) == 2000.0
    assert limit(low, high, at=60.0) == 1000.0
    assert limit(low, high, at=-1.0) is None


def test_a_profile_of_the_transaction_stands_over_the_default_whatever_its_level() -> None:
    default, own = profile(1, stack=9), profile(2, "TxProfile", transactionId="t")
    assert limit(default, own) == 2000.0
    assert limit(default, own, tx="other") == 1000.0


def test_priority_charging_stands_over_both_while_it_is_on() -> None:
    both = profile(3, "TxProfile", transactionId="t"), profile(9, "PriorityCharging")
    assert limit(*both) == 3000.0
    assert limit(*both, priority=True) == 9000.0


@pytest.mark.parametrize("purpose", ["ChargingStationMaxProfile", "ChargingStationExternalConstraints"])
def test_the_stations_limits_bind_whatever_the_transaction_may(purpose: str) -> None:
    assert limit(profile(9), profile(4, purpose)) == 4000.0
    assert limit(profile(2), profile(4, purpose)) == 2000.0
    alone = compose([profile(4, purpose)], HERE)
    assert (alone.lead, alone.station.limit_w, alone.station.limit_by) == (None, 4000.0, 4)


def test_local_generation_adds_to_the_transaction_and_never_to_the_station() -> None:
    sun = profile(3, "LocalGeneration")
    assert limit(profile(2), sun) == 5000.0
    assert limit(profile(2), sun, profile(4, "ChargingStationMaxProfile")) == 4000.0
    assert limit(sun) is None


def test_a_discharge_limit_is_the_one_closest_to_zero() -> None:
    own = profile(1, "TxDefaultProfile", (0, {**SETPOINT, "dischargeLimit": -6000.0}))
    station_ = profile(2, "ChargingStationMaxProfile", (0, {"limit": 9000.0, "dischargeLimit": -2000.0}))
    found = compose([own, station_], HERE)
    assert (found.all.discharge_limit_w, found.all.discharge_by) == (-2000.0, 2)


def test_beyond_a_state_of_charge_the_other_limit_holds() -> None:
    tapered = profile(9, schedule={"limitAtSoC": {"soc": 80, "limit": 3000.0}})
    assert [limit(tapered, soc_pct=soc) for soc in (79.9, 80.0, None)] == [9000.0, 3000.0, 9000.0]


def test_amperes_are_of_the_outlet_and_turn_into_watts_by_its_voltage() -> None:
    assert limit(profile(1, "TxDefaultProfile", (0, {"limit": 16.0}), unit="A")) == 6400.0


# -------------------------------------------------------------------------------------------------------------- kinds
def test_a_daily_profile_comes_again_each_day_and_a_weekly_one_each_week() -> None:
    day = profile(1, kind="Recurring", recurrencyKind="Daily", schedule={"duration": 3600})
    week = profile(2, kind="Recurring", recurrencyKind="Weekly", schedule={"duration": 3600})
    for kind, period_s in ((day, DAY_S), (week, 7 * DAY_S)):
        for n in (0, 1, 5):
            begin = n * period_s
            assert [limit(kind, at=begin + t) is not None for t in (-1.0, 0.0, 3599.0, 3600.0)] == [
                False, True, True, False,
            ]  # fmt: skip


def test_a_relative_profile_begins_with_the_transaction() -> None:
    relative = profile(1, "TxDefaultProfile", (0, {"limit": 100.0}), (600, {"limit": 200.0}), kind="Relative")
    assert [limit(relative, at=t, tx_start_s=WALL_S + 50.0) for t in (49.0, 50.0, 649.0, 650.0)] == [
        None, 100.0, 100.0, 200.0,
    ]  # fmt: skip
    assert limit(relative, tx_start_s=None) is None


def test_validity_bounds_every_kind() -> None:
    short = profile(1, validFrom=times.show(WALL_S + 10.0), validTo=times.show(WALL_S + 20.0), start=-1e6)
    assert [limit(short, at=t) is not None for t in (9.9, 10.0, 19.9, 20.0)] == [False, True, True, False]


# --------------------------------------------------------------------------------------------------------- properties
def numbers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


@st.composite
def profiles(draw: st.DrawFn) -> list[Profile]:
    found = []
    for id in range(1, draw(numbers(1, 6)) + 1):
        starts = sorted({0, *draw(st.lists(numbers(1, 400), max_size=4))})
        kind = draw(st.sampled_from(["Absolute", "Recurring", "Relative"]))
        purpose = draw(
            st.sampled_from(["TxDefaultProfile", "TxProfile", "ChargingStationMaxProfile", "LocalGeneration"])
        )
        more: dict[str, Any] = {"transactionId": "t"} if purpose == "TxProfile" else {}
        if draw(st.booleans()):
            more["validTo"] = times.show(WALL_S + draw(numbers(1, 500)))
        plan = {"duration": draw(numbers(1, 600))} if draw(st.booleans()) else {}
        periods = [(at, {"limit": float(draw(numbers(0, 50)) * 100)}) for at in starts]
        start = float(draw(numbers(-300, 300)))
        stack = draw(numbers(0, 3))
        found.append(profile(id, purpose, *periods, stack=stack, kind=kind, start=start, schedule=plan, **more))
    return found


@settings(max_examples=60, deadline=None)
@given(profiles())
def test_the_composite_schedule_says_at_every_second_what_holds_then(known: list[Profile]) -> None:
    found, told_s = schedule(known, HERE, 500.0)
    assert told_s == 500.0
    assert [at for at, _ in found] == sorted({at for at, _ in found})
    for second in range(0, 500, 7):
        told = [part for at, part in found if at <= second][-1]
        assert told.all.limit_w == limit(*known, at=float(second))


@settings(max_examples=60, deadline=None)
@given(profiles(), numbers(-400, 800))
def test_until_the_moment_that_is_named_nothing_changes(known: list[Profile], at: int) -> None:
    situation = Situation(WALL_S + at, "t", WALL_S, None, False, 400.0, 50.0)
    part = compose(known, situation)
    assert part.until_s > WALL_S + at
    last = min(part.until_s, WALL_S + at + 1000.0)
    for share in (0.25, 0.5, 0.999):
        between = limit(*known, at=at + (last - WALL_S - at) * share)
        assert between == part.all.limit_w
    assert part.all.limit_w is None or (part.station.limit_w or math.inf) >= part.all.limit_w


@given(profiles())
def test_what_is_kept_on_the_disk_is_the_same_profile(known: list[Profile]) -> None:
    assert [of_kept(as_kept(p)) for p in known] == known


# ------------------------------------------------------------------------------------------------------ over the wire
def test_profiles_are_reported_one_by_one_and_cleared_by_id_purpose_and_level() -> None:
    point = Point()
    for id, stack in ((1, 0), (2, 1), (3, 2)):
        point.accept(CHARGE, id=id, stack=stack)
    assert point.ask("GetChargingProfiles", {"requestId": 9, "chargingProfile": {"chargingProfileId": [1, 3]}}) == {
        "status": "Accepted"
    }
    told = point.peer.told("ReportChargingProfiles")
    assert [(r["chargingProfile"][0]["id"], r["tbc"]) for r in told] == [(1, True), (3, False)]
    assert point.ask("ClearChargingProfile", {"chargingProfileId": 4}) == {"status": "Unknown"}
    by_level = {"chargingProfileCriteria": {"stackLevel": 1, "chargingProfilePurpose": "TxProfile"}}
    assert point.ask("ClearChargingProfile", by_level) == {"status": "Accepted"}
    assert point.ask("ClearChargingProfile", {"chargingProfileId": 1}) == {"status": "Accepted"}
    assert point.ask("ClearChargingProfile", {}) == {"status": "Accepted"}
    assert point.ask("GetChargingProfiles", {"requestId": 9, "chargingProfile": {}}) == {"status": "NoProfiles"}
    assert point.power_w is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"chargingProfilePurpose": "ChargingStationExternalConstraints"}, "UnsupportedPurpose"),
        ({"transactionId": "nobody"}, "TxNotFound"),
        ({"validTo": "2020-01-01T00:00:00Z"}, "InvalidSchedule"),
        ({"schedule": {"useLocalTime": True}}, "UnsupportedParam"),  # nobody has set the time zone
        ({"schedule": {"duration": 0}}, "InvalidSchedule"),
        ({"chargingProfileKind": "Recurring"}, "InvalidSchedule"),
    ],
)
def test_a_profile_that_cannot_be_executed_is_refused(change: dict[str, Any], reason: str) -> None:
    assert Point().refused(CHARGE, **change) == reason


@pytest.mark.parametrize(
    ("period", "reason"),
    [
        ({"limit": -100.0}, "InvalidValue"),
        ({"limit": 100.0, "phaseToUse": 1}, "NoPhaseForDC"),
        ({**SETPOINT, "setpoint_L2": 1.0}, "PhaseConflict"),
        ({**SETPOINT, "setpointReactive": 5.0}, "UnsupportedParam"),
    ],
)
def test_a_period_that_a_dc_outlet_cannot_do_is_refused(period: dict[str, Any], reason: str) -> None:
    assert Point().refused(period) == reason


def test_two_profiles_of_one_level_at_one_time_are_refused_and_the_same_id_replaces() -> None:
    point = Point()
    point.accept(CHARGE, id=1)
    assert point.refused(CHARGE, id=2) == "DuplicateProfile"
    point.accept({"limit": 4_000.0}, id=1)
    assert point.power_w == 4_000.0


def test_profiles_of_a_transaction_end_with_it_and_defaults_stay(tmp_path: Path) -> None:
    point = Point(Outbox(tmp_path / "q"))
    point.accept(CHARGE, id=1)
    default = tx_profile("", {"limit": 6_000.0}, id=2)
    default["chargingProfile"] |= {"chargingProfilePurpose": "TxDefaultProfile"}
    del default["chargingProfile"]["transactionId"]
    assert point.ask("SetChargingProfile", default) == {"status": "Accepted"}
    point.box.close()
    again = Point(Outbox(tmp_path / "q"))
    assert again.power_w == 9_000.0  # the transaction goes on after a restart, and so does its profile
    again.phase = Phase.FREE
    again.look(5.0)
    again.phase = Phase.HOLDING
    again.look(6.0)
    again.look(6.1)
    assert again.power_w == 6_000.0


def test_the_time_without_the_back_end_counts_on_over_a_restart(tmp_path: Path) -> None:
    point = Point(Outbox(tmp_path / "q"))
    point.accept(CHARGE, id=1, maxOfflineDuration=100)
    point.cut()
    point.box.close()
    later, _, _ = station(Outbox(tmp_path / "q"))
    for now, expected in ((60.0, 9_000.0), (99.0, 9_000.0), (101.0, None)):
        later.observe(view(now, Phase.HOLDING))
        found = later.wanted(now)
        assert (None if found is None else found.power_w) == expected


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("dialect", [V16, V201], ids=lambda d: d.name)
def test_a_negative_limit_discharges_in_earlier_versions_only_where_the_board_says_so(
    dialect: Dialect, negative: bool
) -> None:
    charger, box, _ = station(ability=Ability(negative_limits=negative))
    peer = BackEnd(dialect)
    charger.observe(view(0.0, Phase.HOLDING, voltage_v=400.0))
    charger.connected(0.0, dialect)
    charger.observe(view(0.1, Phase.HOLDING, voltage_v=400.0))
    peer.settle(charger, 0.1)
    tx = charger.transactions.id or ""
    request = tx_profile(tx, {"limit": -7_000.0})
    if dialect is V16:
        body = request["chargingProfile"]
        plan = {key: value for key, value in body["chargingSchedule"][0].items() if key != "id"}
        old = {key: value for key, value in body.items() if key not in ("id", "chargingSchedule", "transactionId")}
        old |= {"chargingProfileId": 7, "transactionId": box.number(tx), "chargingSchedule": plan}
        request = {"connectorId": 1, "csChargingProfiles": old}
    answer = peer.ask(charger, "SetChargingProfile", request, 0.2)
    assert answer["status"] == ("Accepted" if negative else "Rejected")
    found = charger.wanted(0.2)
    assert (None if found is None else found.power_w) == (-7_000.0 if negative else None)
    where = {"connectorId": 1} if dialect is V16 else {"evseId": 1}
    composite = peer.ask(charger, "GetCompositeSchedule", {"duration": 60, **where}, 0.2)
    plan = composite["chargingSchedule"] if dialect is V16 else composite["schedule"]
    assert plan["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": -7_000.0 if negative else 22_000.0}]


def test_the_composite_schedule_of_2_1_has_the_setpoints_and_the_changes() -> None:
    point = Point()
    periods = [{"startPeriod": 0, "limit": 5_000.0}, {"startPeriod": 100, **SETPOINT}]
    point.accept({}, start=times.show(WALL_S), schedule={"chargingSchedulePeriod": periods, "duration": 200})
    answer = point.ask("GetCompositeSchedule", {"duration": 300, "evseId": 1, "chargingRateUnit": "A"})
    assert answer["schedule"]["chargingSchedulePeriod"] == [
        {"startPeriod": 0, "operationMode": "ChargingOnly", "limit": 12.5},
        {"startPeriod": 99, "operationMode": "CentralSetpoint", "setpoint": -17.5},
        {"startPeriod": 199, "operationMode": "ChargingOnly", "limit": 55.0},
    ]
    unknown = point.ask("GetCompositeSchedule", {"duration": 300, "evseId": 2})
    assert unknown["statusInfo"]["reasonCode"] == "UnknownEvse"


def test_priority_charging_needs_a_profile_and_the_right_transaction() -> None:
    point = Point()
    use = {"transactionId": point.tx, "activate": True}
    assert point.ask("UsePriorityCharging", use) == {"status": "NoProfile"}
    assert point.ask("UsePriorityCharging", {**use, "transactionId": "x"})["status"] == "Rejected"
    point.accept({"limit": 3_000.0}, id=1)
    fast = tx_profile("", {"limit": 20_000.0}, id=2)
    fast["chargingProfile"] |= {"chargingProfilePurpose": "PriorityCharging"}
    del fast["chargingProfile"]["transactionId"]
    assert point.ask("SetChargingProfile", fast) == {"status": "Accepted"}
    assert point.power_w == 3_000.0
    assert point.ask("UsePriorityCharging", use) == {"status": "Accepted"}
    assert point.power_w == 20_000.0
    assert point.ask("UsePriorityCharging", {**use, "activate": False}) == {"status": "Accepted"}
    assert point.power_w == 3_000.0


# --------------------------------------------------------------------------------------------- what must do no harm
@pytest.mark.parametrize(
    "period",
    [
        {"limit": 1e308},
        {**SETPOINT, "setpoint": -1e308},
        {
            "operationMode": "LocalFrequency",
            "v2xBaseline": 0.0,
            "v2xFreqWattCurve": [{"frequency": 49.0, "power": -1e308}, {"frequency": 51.0, "power": 1e308}],
        },
    ],
)
def test_numbers_that_no_charger_has_are_refused(period: dict[str, Any]) -> None:
    assert Point().refused(period) == "InvalidValue"


@pytest.mark.parametrize("change", [{"duration": 10**400}, {"randomizedDelay": 10**400}])
def test_integers_of_any_length_are_refused(change: dict[str, Any]) -> None:
    point = Point()
    assert point.refused(CHARGE, schedule=change) == "InvalidValue"
    assert point.power_w is None


def test_before_the_first_look_a_call_is_answered_and_nothing_happens() -> None:
    charger, _, _ = station()
    peer = BackEnd(V201)
    charger.connected(0.0, V201)
    peer.settle(charger, 0.0)
    assert peer.ask(charger, "SetChargingProfile", tx_profile("t", CHARGE)) == "InternalError"
    assert charger.wanted(0.0) is None


def test_a_defect_in_one_function_is_told_and_takes_nothing_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    point = Point()
    point.accept(CHARGE)
    monkeypatch.setattr("firmware.bridges.ocpp.charging.composite_schedule", lambda *_: 1 / 0)
    answer = point.ask("GetCompositeSchedule", {"duration": 5, "evseId": 1})
    assert answer == "InternalError"
    assert any("ZeroDivisionError" in sentence for sentence in point.said)
    assert point.power_w == 9_000.0


def test_a_schedule_of_many_changes_is_told_as_far_as_it_fits() -> None:
    many = [(at, {"limit": float(at)}) for at in range(1024)]
    stacked = [profile(id, "TxDefaultProfile", *many, stack=id, start=id * 10.0) for id in range(1, 30)]
    found, told_s = schedule(stacked, HERE, 1e9)
    assert len(found) <= 1024
    assert found[-1][0] < told_s < 1e9


def test_values_of_dynamic_profiles_wear_the_disk_at_most_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    point = Point()
    kept = []
    monkeypatch.setattr(point.box, "keep", lambda name, value: kept.append(name))
    request = tx_profile(point.tx, {"operationMode": "CentralSetpoint"}, chargingProfileKind="Dynamic")
    del request["chargingProfile"]["chargingSchedule"][0]["startSchedule"]
    assert point.ask("SetChargingProfile", request) == {"status": "Accepted"}
    for n in range(100):
        point.look(1.0 + n)
        payload = {"chargingProfileId": 7, "scheduleUpdate": {"setpoint": -10.0 * n}}
        assert point.ask("UpdateDynamicSchedule", payload) == {"status": "Accepted"}
        assert point.power_w == -10.0 * n
    assert kept.count("profiles") == 3
