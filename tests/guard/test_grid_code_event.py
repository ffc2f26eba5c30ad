"""At its start guard says which grid code is in force, and whether anybody verified it."""

from __future__ import annotations

from firmware.grid_codes import adjust, load
from firmware.guard.events import EVENTS, Severity
from firmware.guard.step import Guard
from firmware.protection.grid import GridProtection
from tests.guard.puppet import CHAIN, Puppet, make_guard


def said(guard: Guard, ticks: int = 3) -> list[tuple[str, str]]:
    puppet = Puppet(guard)
    events = [event for _ in range(ticks) for event in puppet.tick().events]
    return [(event.code, event.detail) for event in events if event.code.startswith("grid_code")]


def with_code(name: str, **changes: float) -> Guard:
    code = load(name, nominal_v=230.0, allow_unverified=True)
    return Guard(make_guard().settings, GridProtection(adjust(code, changes), CHAIN))


def test_guard_says_profile_hash_and_adjustments_once_at_its_start() -> None:
    guard = with_code("ieee1547_2018_cat3", **{"trip.OV1.time_s": 2.0})
    ((code, detail),) = said(guard)
    assert code == "grid_code"
    assert detail == (
        f"ieee1547_2018_cat3 at 230 V, sha256 {guard.protection.code.profile_hash}, adjusted: trip.OV1.time_s 13 -> 2"
    )
    assert "not adjusted" in said(with_code("de_vde_ar_n_4105_2018"))[0][1]


def test_a_code_that_nobody_verified_is_a_warning_that_names_the_trips() -> None:
    events = said(with_code("us_hi_rule14h"))
    assert [code for code, _ in events] == ["grid_code", "grid_code_unverified"]
    assert "trips UF2, OV2, OV1, UV1, UV2 rest on numbers that are only remembered" in events[1][1]
    assert EVENTS["grid_code"].severity is Severity.INFO
    assert EVENTS["grid_code_unverified"].severity is Severity.WARNING


def test_an_adjustment_inside_a_range_that_is_only_remembered_is_said_too() -> None:
    events = said(with_code("de_vde_ar_n_4105_2018", **{"trip.OV1_10MIN.threshold": 1.12}))
    assert "an adjustment uses a range that is only remembered" in dict(events)["grid_code_unverified"]
