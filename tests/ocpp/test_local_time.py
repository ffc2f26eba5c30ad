"""Schedules in local time: the same hour in summer and in winter, and a day of 23 or 25 hours between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firmware.bridges.ocpp import local_time, times
from firmware.bridges.ocpp.dialect import V21
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.profiles import Profile, as_kept, of_kept, understand
from firmware.bridges.ocpp.stack import Situation, schedule
from firmware.bridges.ocpp.tunables import Tunables
from firmware.bridges.ocpp.view import Phase
from tests.ocpp.back_end import WALL_S, BackEnd, station, view

BERLIN = ZoneInfo("Europe/Berlin")  # summer time from 2026-03-29 02:00 to 2026-10-25 03:00
ADELAIDE = ZoneInfo("Australia/Adelaide")  # half an hour beside the full one; summer time ends on 2026-04-05


def wall(text: str) -> float:
    return times.parse(text)


def local(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def night(start: str = "2026-01-05T22:00:00Z", kind: str = "Daily", **more: Any) -> Profile:
    """From 22:00 at most 11 kW, from 06:00 at most 1 kW."""
    plan = {
        "id": 1,
        "chargingRateUnit": "W",
        "startSchedule": start,
        "useLocalTime": True,
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 11_000}, {"startPeriod": 28_800, "limit": 1_000}],
        **more,
    }
    recurring = {"chargingProfileKind": "Recurring", "recurrencyKind": kind}
    if kind == "Absolute":
        recurring = {"chargingProfileKind": "Absolute"}
    raw = {"id": 1, "stackLevel": 0, "chargingProfilePurpose": "TxDefaultProfile", "chargingSchedule": [plan]}
    return understand({**raw, **recurring}, 1, 1, WALL_S)


def limit(profile: Profile, at_s: float, zone: ZoneInfo | None = BERLIN) -> float | None:
    period, _ = profile.at(at_s, None, zone)
    return None if period is None else period.limit


# ------------------------------------------------------------------------------------------------------- summer, winter
@pytest.mark.parametrize("day", ["2026-01-20", "2026-03-28", "2026-03-29", "2026-07-01", "2026-10-25", "2026-12-31"])
@pytest.mark.parametrize("offset", ["Z", "+05:00", "-11:30"])
def test_a_daily_schedule_begins_at_the_same_local_hour_all_year_and_its_offset_does_not_count(
    day: str, offset: str
) -> None:
    profile = night(f"2026-01-05T22:00:00{offset}")
    ten = local(f"{day}T22:00:00")
    assert limit(profile, ten - 1.0) == 1_000.0
    assert limit(profile, ten) == 11_000.0
    assert limit(profile, ten + 28_799.0) == 11_000.0
    assert limit(profile, ten + 28_800.0) == 1_000.0


def test_without_local_time_the_same_schedule_is_an_hour_late_in_summer() -> None:
    profile = night("2026-01-05T22:00:00+01:00", useLocalTime=False)
    assert limit(profile, local("2026-01-20T22:00:00")) == 11_000.0
    assert limit(profile, local("2026-07-01T22:00:00")) == 1_000.0
    assert limit(profile, local("2026-07-01T23:00:00")) == 11_000.0


@pytest.mark.parametrize(
    ("evening", "six"), [("2026-03-28", "07:00"), ("2026-10-24", "05:00"), ("2026-06-01", "06:00")]
)
def test_periods_count_in_real_seconds_from_the_begin_so_that_night_is_eight_hours_long(evening: str, six: str) -> None:
    profile = night()
    morning = (datetime.fromisoformat(evening) + timedelta(days=1)).date()
    at_s = local(f"{morning}T{six}:00")
    assert at_s - local(f"{evening}T22:00:00") == 28_800.0
    assert (limit(profile, at_s - 1.0), limit(profile, at_s)) == (11_000.0, 1_000.0)


@pytest.mark.parametrize("more", [{}, {"duration": 86_400}])
@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-05-05", 24)])
def test_a_day_of_the_change_is_covered_without_a_gap(day: str, hours: int, more: dict[str, int]) -> None:
    profile = night("2026-01-05T00:00:00Z", **more)
    begin = local(f"{day}T00:00:00")
    _, until_s = profile.at(begin + 30_000.0, None, BERLIN)
    assert until_s == begin + hours * 3600.0
    assert limit(profile, until_s - 1.0) == 1_000.0
    assert limit(profile, until_s) == 11_000.0


def test_a_shorter_duration_ends_after_its_seconds_on_every_day() -> None:
    profile = night("2026-01-05T00:00:00Z", duration=40_000)
    for day in ("2026-03-29", "2026-10-25", "2026-05-05"):
        begin = local(f"{day}T00:00:00")
        assert limit(profile, begin + 39_999.0) == 1_000.0
        assert limit(profile, begin + 40_000.0) is None


def test_a_week_keeps_its_day_and_its_hour() -> None:
    profile = night("2026-01-05T18:00:00Z", "Weekly")  # a Monday
    for day in ("2026-01-12", "2026-03-30", "2026-06-01", "2026-10-26"):
        assert limit(profile, local(f"{day}T18:00:00")) == 11_000.0
        assert limit(profile, local(f"{day}T17:59:59")) == 1_000.0


def test_an_hour_that_is_left_out_comes_an_hour_later_and_one_that_comes_twice_counts_once() -> None:
    profile = night("2026-01-05T02:30:00Z")
    assert limit(profile, wall("2026-03-29T01:29:59Z")) == 1_000.0  # 03:29:59 in summer time
    assert limit(profile, wall("2026-03-29T01:30:00Z")) == 11_000.0
    begins = [wall(f"2026-10-25T0{hour}:30:00Z") for hour in (0, 1)]  # 02:30 summer time, and once more
    assert [limit(profile, s - 1.0) for s in begins] == [1_000.0, 11_000.0]
    assert limit(profile, begins[0]) == 11_000.0
    assert profile.at(begins[0] - 1.0, None, BERLIN)[1] == begins[0]
    assert profile.at(begins[0], None, BERLIN)[1] == begins[0] + 28_800.0


def test_an_absolute_schedule_in_local_time_begins_once() -> None:
    profile = night("2026-07-01T22:00:00Z", "Absolute")
    begin = wall("2026-07-01T20:00:00Z")
    assert profile.at(begin - 1.0, None, BERLIN) == (None, begin)
    assert limit(profile, begin) == 11_000.0
    assert limit(profile, begin + 90_000.0) == 1_000.0


def test_before_its_first_day_it_says_nothing() -> None:
    profile = night("2026-07-01T22:00:00Z")
    assert profile.at(wall("2026-06-30T20:00:00Z"), None, BERLIN) == (None, wall("2026-07-01T20:00:00Z"))


@given(
    st.datetimes(datetime.fromisoformat("2025-01-01"), datetime.fromisoformat("2026-12-31")),
    st.floats(0.0, 800 * 86_400.0),
    st.sampled_from([1, 7]),
    st.sampled_from([BERLIN, ADELAIDE, ZoneInfo("UTC"), ZoneInfo("America/New_York")]),
)
@example(datetime.fromisoformat("2026-01-05T02:30:00"), 83 * 86_400.0, 1, BERLIN)
def test_each_moment_lies_in_one_recurrence_that_begins_at_its_local_time(
    start: datetime, after_s: float, days: int, zone: ZoneInfo
) -> None:
    now_s = local_time.moment(start, zone) + after_s
    begin_s, next_s = local_time.recurred(start, zone, days, now_s)
    assert begin_s <= now_s < next_s
    assert abs(next_s - begin_s - days * 86_400.0) <= 3600.0
    begun = datetime.fromtimestamp(begin_s, zone)
    there = datetime.fromtimestamp(begin_s, UTC).astimezone(zone).replace(tzinfo=None)
    number = round((there - start) / timedelta(days=days))
    wanted = start + timedelta(days=days * number)
    left_out = begun.replace(tzinfo=None) != wanted
    assert not left_out or there - wanted == timedelta(hours=1)  # the hour that does not exist
    assert (begin_s, next_s) == local_time.recurred(start, zone, days, begin_s)
    assert local_time.recurred(start, zone, days, next_s)[0] == next_s


def test_a_composite_schedule_of_the_night_of_the_change_is_nine_hours_of_the_clock() -> None:
    s = Situation(local("2026-10-24T20:00:00"), None, None, None, False, 400.0, None, BERLIN)
    parts, _ = schedule([night()], s, 14 * 3600.0)
    assert [(at_s, c.all.limit_w) for at_s, c in parts] == [(0.0, 1_000.0), (7_200.0, 11_000.0), (36_000.0, 1_000.0)]


def test_without_a_zone_a_schedule_in_local_time_says_nothing_and_one_in_utc_goes_on() -> None:
    assert limit(night(), local("2026-06-01T23:00:00"), None) is None
    assert limit(night(useLocalTime=False), wall("2026-06-01T23:00:00Z"), None) == 11_000.0


def test_a_relative_schedule_has_no_time_that_could_be_local() -> None:
    raw = night().raw
    plan = {key: value for key, value in raw["chargingSchedule"][0].items() if key != "startSchedule"}
    relative = understand({**raw, "chargingProfileKind": "Relative", "chargingSchedule": [plan]}, 1, 1, WALL_S)
    period, _ = relative.at(WALL_S + 5.0, WALL_S, None)
    assert period is not None
    assert period.limit == 11_000.0


def test_it_is_kept_as_it_was_set() -> None:
    assert of_kept(as_kept(night())) == night()


# --------------------------------------------------------------------------------------------------------- the variable
@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "Europe", "../etc/passwd", "/etc/passwd", "", "Europe/Berlin\x00", "x" * 999]
)
def test_what_is_no_zone_is_refused_and_changes_nothing(name: str) -> None:
    tune = Tunables(time_zone="Europe/Berlin")
    with pytest.raises(ValueError, match="must be a time zone such as Europe/Berlin"):
        tune.set("time_zone", name, 0.0, 0.0)
    assert tune.zone == BERLIN


def zone_item(value: str) -> dict[str, Any]:
    where = {"component": {"name": "ClockCtrlr"}, "variable": {"name": "TimeZone"}}
    return {"setVariableData": [{**where, "attributeValue": value}]}


def read(peer: BackEnd, charger: Any, name: str) -> str:
    asked = {"component": {"name": "ClockCtrlr"}, "variable": {"name": name}}
    (found,) = peer.ask(charger, "GetVariables", {"getVariableData": [asked]}, 0.0)["getVariableResult"]
    return str(found["attributeValue"])


def test_the_back_end_sets_the_zone_and_then_a_profile_in_local_time_and_both_outlive_a_restart() -> None:
    box = Outbox(":memory:")
    charger, _, _ = station(box)
    peer = BackEnd(V21)
    charger.observe(view(0.0, Phase.FREE))
    charger.connected(0.0, V21)
    peer.settle(charger, 0.0)
    profile = {"evseId": 0, "chargingProfile": night().raw}
    refused = peer.ask(charger, "SetChargingProfile", profile, 0.0)
    assert refused["status"] == "Rejected"
    assert "set ClockCtrlr.TimeZone" in refused["statusInfo"]["additionalInfo"]
    assert (read(peer, charger, "TimeZone"), read(peer, charger, "TimeOffset")) == ("", "")
    (wrong,) = peer.ask(charger, "SetVariables", zone_item("Mars/Olympus"), 0.0)["setVariableResult"]
    assert wrong["attributeStatus"] == "Rejected"
    (right,) = peer.ask(charger, "SetVariables", zone_item("Europe/Berlin"), 0.0)["setVariableResult"]
    assert right["attributeStatus"] == "Accepted"
    offset = datetime.fromtimestamp(WALL_S, BERLIN).isoformat()[-6:]
    assert (read(peer, charger, "TimeZone"), read(peer, charger, "TimeOffset")) == ("Europe/Berlin", offset)
    assert peer.ask(charger, "SetChargingProfile", profile, 0.0) == {"status": "Accepted"}

    again, _, _ = station(box)
    again.observe(view(0.0, Phase.FREE))
    again.connected(0.0, V21)
    peer.settle(again, 0.0)
    asked = {"duration": 86_400, "evseId": 1}
    parts = peer.ask(again, "GetCompositeSchedule", asked, 0.0)["schedule"]["chargingSchedulePeriod"]
    begins = {datetime.fromtimestamp(WALL_S + p["startPeriod"], BERLIN).hour for p in parts if p["startPeriod"]}
    assert begins == {22, 6}
