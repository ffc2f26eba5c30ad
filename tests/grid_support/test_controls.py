"""Controls: what is refused, who wins until when, and what comes of them over a profile."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from firmware.grid_codes import Chain, GridCode, RideThroughMode, Side, inspect, internal_delay, load, names
from firmware.grid_support.controls import (
    MAX_CONTROLS,
    MAX_DURATION_S,
    MUST_TRIP,
    Book,
    Control,
    ControlRefused,
    Kind,
    control_of,
    hash_of,
)
from firmware.grid_support.effective import Effective, compose, latest_s, stages
from firmware.grid_support.fixed import FixedPf, FixedVar
from firmware.grid_support.lfsm import LfsmSettings
from firmware.grid_support.settings import settings_of
from firmware.grid_support.volt_var import VoltVarSettings

CHAIN = Chain(0.010, 0.005, 0.010, 0.020, 0.030)
NOW = 1_800_000_000.0
IEEE = load("ieee1547_2018_cat3_normB", nominal_v=120.0)
CAT2 = load("ieee1547_2018_cat2_normB", nominal_v=120.0)
VDE = load("de_vde_ar_n_4105_2018", nominal_v=230.0)


def every_profile() -> list[GridCode]:
    shown = [inspect(name) for name in names()]
    return [load(c.name, nominal_v=c.nominal_v, allow_unverified=True) for c in shown if not c.missing]


PROFILES = every_profile()


def control(kind: str, name: str = "c", now: float = NOW, **more: Any) -> Control:
    return control_of({"id": name, "kind": kind, **more}, now, "test")


SUPPORT = {code.name: settings_of(code, 22_000.0) for code in (*PROFILES, IEEE, CAT2, VDE)}


def over(code: GridCode, *controls: Control) -> Effective:
    return compose(code, SUPPORT[code.name], CHAIN, controls)


# ---------------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({}, "id must be 1 to 36"),
        ({"id": "x" * 37}, "id must be 1 to 36"),
        ({"id": "a", "kind": "warp"}, "there is no kind 'warp'; kinds: volt_var"),
        ({"id": "a", "kind": "fixed_var"}, "q_pu is missing"),
        ({"id": "a", "kind": "fixed_var", "q_pu": 1.5}, "q_pu is 1.5; allowed: -1 to 1 pu"),
        ({"id": "a", "kind": "fixed_var", "q_pu": math.nan}, "q_pu is nan"),
        ({"id": "a", "kind": "fixed_var", "q_pu": True}, "q_pu is True"),
        ({"id": "a", "kind": "fixed_var", "q_pu": 0.1, "speed": 3}, "unknown keys: speed; a fixed_var has"),
        ({"id": "a", "kind": "fixed_var", "q_pu": 0.1, "points": [[1, 1]]}, "this kind has no points"),
        ({"id": "a", "kind": "fixed_var", "q_pu": 0.1, "priority": -1}, "priority is -1"),
        ({"id": "a", "kind": "fixed_var", "q_pu": 0.1, "default": True, "duration_s": 3}, "a default has neither"),
        ({"id": "a", "kind": "fixed_var", "q_pu": 0.1, "start_s": NOW - 10, "duration_s": 5}, "it is over already"),
        ({"id": "a", "kind": "fixed_var", "q_pu": 0.1, "duration_s": MAX_DURATION_S + 1}, "duration_s is"),
        ({"id": "a", "kind": "fixed_pf", "pf": 0.9, "absorbing": 0.5}, "absorbing must be 1"),
        ({"id": "a", "kind": "ramps", "normal_pu_per_s": 0.1}, "ramps can only be a default"),
        ({"id": "a", "kind": "ramps", "default": True}, "it sets nothing"),
        ({"id": "a", "kind": "volt_var"}, "points must be 1 to 10 pairs"),
        ({"id": "a", "kind": "volt_var", "points": [[1.0, 0.0]] * 11}, "points must be 1 to 10 pairs"),
        ({"id": "a", "kind": "volt_var", "points": [[1.0]]}, "points.0 must be a pair [V pu, Q pu]"),
        ({"id": "a", "kind": "volt_var", "points": [[230.0, 0.0]]}, "points.0 x is 230.0; allowed: 0 to 2 V pu"),
    ],
)
def test_a_control_that_is_wrong_is_one_sentence(raw: dict[str, Any], words: str) -> None:
    with pytest.raises(ControlRefused) as refusal:
        control_of(raw, NOW, "test")
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_tightened_trip_outside_of_the_range_is_refused() -> None:
    with pytest.raises(ControlRefused, match=r"control c: .*trip.UF2.threshold cannot be 57.5; allowed: 50..57 Hz"):
        over(IEEE, control("lf_must_trip", points=[[58.5, 300.0], [57.5, 0.16]]))


def test_a_must_trip_with_the_wrong_number_of_stages_is_refused() -> None:
    with pytest.raises(ControlRefused, match=r"has 2 stages for hv_must_trip \(OV1, OV2\)"):
        over(IEEE, control("hv_must_trip", points=[[1.1, 13.0]]))


def test_a_trip_that_is_tightened_below_what_the_board_can_do_is_refused() -> None:
    """OV1 may be set to 1 s; a board with a very slow contactor keeps the code's 13 s, and not that."""
    slow = replace(CHAIN, contactor_open_s=1.2)
    alone = replace(IEEE, trips=tuple(t for t in IEEE.trips if t.id == "OV1"))
    with pytest.raises(ControlRefused, match=r"control c: trip.OV1: this board takes 1.245 s .* allows 1 s"):
        compose(alone, SUPPORT[IEEE.name], slow, [control("hv_must_trip", points=[[1.1, 1.0]])])


def test_a_must_trip_may_not_cut_into_what_must_be_ridden_through() -> None:
    # The range of OV1 reaches down to 1 s, but Category III rides through 1.1..1.2 pu for 12 s.
    with pytest.raises(ControlRefused, match=r"trip.OV1 .* would cut into momentary_cessation at 1.1..1.2 pu.*12 s"):
        over(IEEE, control("hv_must_trip", points=[[1.1, 2.0], [1.2, 0.16]]))
    assert over(IEEE, control("hv_must_trip", points=[[1.1, 12.5], [1.2, 0.16]])).code.trip("OV1") != IEEE.trip("OV1")


def test_a_may_trip_beyond_the_must_trip_is_refused_and_names_who_set_the_trip() -> None:
    ride = control("hv_may_trip", "ride", points=[[1.15, 12.7]])
    assert over(IEEE, ride).source("hv_may_trip") == "ride"
    tight = control("hv_must_trip", "tight", points=[[1.1, 12.5], [1.2, 0.16]])
    with pytest.raises(ControlRefused, match=r"control ride: riding through .* contradicts trip.OV1.*set by: tight"):
        over(IEEE, ride, tight)
    with pytest.raises(ControlRefused, match="set by: profile"):
        over(IEEE, control("hv_may_trip", points=[[1.15, 13.5]]))


def test_ceasing_where_power_must_go_on_is_refused() -> None:
    with pytest.raises(ControlRefused, match=r"contradicts mandatory_operation at 0.65..0.88 pu"):
        over(CAT2, control("lv_momentary_cessation", threshold_pu=0.7))
    with pytest.raises(ControlRefused, match="contradicts continuous_operation"):
        over(CAT2, control("hv_momentary_cessation", threshold_pu=1.05))


def test_permissive_operation_may_become_cessation_from_the_threshold_outwards() -> None:
    rows = over(CAT2, control("lv_momentary_cessation", threshold_pu=0.5)).code.ride_through
    modes = {(r.lo.value, r.hi.value): r.mode for r in rows if r.quantity.value == "voltage"}
    assert modes[0.45, 0.5] is RideThroughMode.MOMENTARY_CESSATION
    assert modes[0.5, 0.65] is RideThroughMode.PERMISSIVE
    assert modes[0.65, 0.88] is RideThroughMode.MANDATORY


def test_a_droop_outside_of_the_profiles_range_is_refused() -> None:
    with pytest.raises(ControlRefused, match=r"k_of is 0.2; ieee1547_2018_cat3_normB allows 0.02..0.05"):
        over(IEEE, control("freq_droop", db_of_hz=0.036, db_uf_hz=0.036, k_of=0.2, k_uf=0.05))


def test_a_volt_watt_curve_that_gives_more_at_a_higher_voltage_is_refused() -> None:
    with pytest.raises(ControlRefused, match="must not permit more power at a higher voltage"):
        over(IEEE, control("volt_watt", points=[[1.06, 0.2], [1.1, 1.0]]))


# -------------------------------------------------------------------------------------------------------- who wins
def test_scheduled_stands_over_default_and_default_over_profile() -> None:
    default = control("fixed_var", "d", q_pu=0.1, default=True)
    scheduled = control("fixed_pf", "s", pf=0.9, absorbing=1, priority=7)
    assert over(IEEE, default).support.reactive == FixedVar(0.1, 10.0, "control d of test")
    both = over(IEEE, default, scheduled)
    assert isinstance(both.support.reactive, FixedPf)
    assert (both.source("reactive"), both.source("volt_watt")) == ("s", "profile")


def test_a_volt_var_curve_turns_no_sign() -> None:
    found = over(IEEE, control("volt_var", points=[[0.92, -0.44], [1.08, 0.44]])).support.reactive
    assert isinstance(found, VoltVarSettings)
    assert found.curve.at(1.08) == 0.44  # a high voltage absorbs


def test_a_droop_for_a_code_with_lfsm_becomes_its_lfsm() -> None:
    found = over(VDE, control("freq_droop", db_of_hz=0.3, db_uf_hz=0.3, k_of=0.05, k_uf=0.05)).support.frequency
    assert isinstance(found, LfsmSettings)
    assert found.over is not None
    assert found.under is not None
    assert (found.over.f_start_hz, found.under.f_start_hz) == (50.3, 49.7)


def test_the_tightest_trip_of_default_scheduled_and_profile_holds_stage_by_stage() -> None:
    default = control("lf_must_trip", "d", points=[[58.6, 300.0], [56.5, 0.16]], default=True)
    scheduled = control("lf_must_trip", "s", points=[[58.5, 299.5], [56.8, 0.16]])
    found = over(IEEE, default, scheduled)
    assert found.code.trip("UF1").threshold.value == 58.6
    assert latest_s(found.code.trip("UF1"))[1].value == 299.5
    assert found.code.trip("UF2").threshold.value == 56.8
    assert [found.source(f"trip.{key}") for key in ("UF1.threshold", "UF1.time_s", "UF2.threshold", "UF2.time_s")] == [
        "d", "s", "s", "profile",
    ]  # fmt: skip


def test_a_looser_trip_leaves_the_profile_as_it_is() -> None:
    assert over(IEEE, control("lf_must_trip", points=[[57.0, 900.0], [52.0, 900.0]])).code == IEEE


# ------------------------------------------------------------------------------------------------------- the book
def filled(*controls: Control, now: float = NOW) -> Book:
    book = Book()
    for c in controls:
        book.advance(now)
        book.set(c, now)
    return book


def test_a_control_runs_from_its_start_until_its_end() -> None:
    book = filled(control("fixed_var", q_pu=0.1, start_s=NOW + 10, duration_s=20))
    seen = []
    for dt in (0.0, 9.9, 10.0, 29.9, 30.0):
        book.advance(NOW + dt)
        seen.append([c.id for c in book.active(NOW + dt)])
    assert seen == [[], [], ["c"], ["c"], []]
    assert book.controls == {}


def test_the_lower_priority_number_supersedes_for_good() -> None:
    book = filled(control("fixed_var", "old", q_pu=0.1, priority=5))
    assert book.set(control("fixed_var", "new", q_pu=0.2, priority=1, start_s=NOW + 10, duration_s=5), NOW) == ("old",)
    book.advance(NOW)
    assert [c.id for c in book.active(NOW)] == ["old"]  # deferred until the start
    changes = book.advance(NOW + 100.0)
    assert [(c.at_s - NOW, c.id, c.what, c.other) for c in changes] == [
        (10.0, "new", "started", ""),
        (10.0, "old", "superseded", "new"),
        (15.0, "new", "ended", ""),
    ]
    assert book.active(NOW + 100.0) == ()


def test_an_equal_priority_does_not_supersede_and_the_loser_is_told_its_own_id() -> None:
    book = filled(control("fixed_var", "old", q_pu=0.1))
    assert book.set(control("fixed_var", "new", q_pu=0.2), NOW) == ("new",)
    book.advance(NOW)
    assert list(book.controls) == ["old"]


def test_kinds_and_classes_do_not_supersede_each_other() -> None:
    book = filled(
        control("fixed_var", "a", q_pu=0.1, default=True, priority=3),
        control("fixed_var", "b", q_pu=0.2, priority=9),
        control("power_limit", "c", charge_pu=0.5, discharge_pu=0.5, priority=0),
    )
    book.advance(NOW + 1.0)
    assert {c.id for c in book.active(NOW + 1.0)} == {"a", "b", "c"}


def test_an_id_in_use_a_full_book_and_an_unknown_id_are_refused_and_change_nothing() -> None:
    book = filled(*(control("fixed_var", f"c{i}", q_pu=0.1, start_s=NOW + 10 * i + 5, duration_s=5)
                    for i in range(MAX_CONTROLS)))  # fmt: skip
    before = book.as_dict()
    for refused in (control("ramps", "c0", normal_pu_per_s=1, default=True), control("fixed_var", "z", q_pu=0.1)):
        with pytest.raises(ControlRefused):
            book.set(refused, NOW)
    with pytest.raises(ControlRefused, match="there is no control 'nobody'"):
        book.clear("nobody")
    assert book.as_dict() == before


def test_a_clock_that_is_set_back_undoes_nothing() -> None:
    book = filled(control("fixed_var", "old", q_pu=0.1, priority=5), control("fixed_var", "new", q_pu=0.2, priority=1))
    book.advance(NOW + 5)
    assert book.advance(NOW - 500) == ()
    assert list(book.controls) == ["new"]


def test_what_had_begun_goes_on_when_the_clock_is_set_back_before_its_start_and_ends_by_the_new_clock() -> None:
    table = {
        "id": "cap",
        "kind": "power_limit",
        "charge_pu": 0.5,
        "discharge_pu": 0.5,
        "start_s": NOW,
        "duration_s": 600.0,
    }
    later = {"id": "later", "kind": "fixed_var", "q_pu": 0.1, "start_s": NOW + 100, "duration_s": 600.0}
    book = Book()
    book.advance(NOW - 1)
    for each in (table, later):
        book.set(control_of(each, NOW - 1, "csms"), NOW - 1)
    assert [c.what for c in book.advance(NOW)] == ["started"]  # at its very start
    assert book.advance(NOW - 60) == ()  # not told a second time, and not ended
    kept = Book.from_dict(book.as_dict())
    for there in (book, kept):
        assert [c.id for c in there.active(NOW - 60)] == ["cap"]
        assert [c.what for c in there.advance(NOW)] == []
        assert [(c.id, c.what) for c in there.advance(NOW + 100)] == [("later", "started")]
        assert [c.id for c in there.active(NOW + 599)] == ["later", "cap"]
        assert [(c.id, c.what) for c in there.advance(NOW + 600)] == [("cap", "ended")]


def test_what_is_set_after_a_clock_was_far_ahead_begins_by_the_clock_that_was_put_right() -> None:
    book = Book()
    book.advance(NOW)
    book.advance(NOW + 1e6)
    book.advance(NOW + 1)
    table = {
        "id": "cap",
        "kind": "power_limit",
        "charge_pu": 0.5,
        "discharge_pu": 0.5,
        "start_s": NOW + 10,
        "duration_s": 600.0,
    }
    book.set(control_of(table, NOW + 1, "csms"), NOW + 1)
    assert book.active(NOW + 1) == ()
    assert [c.what for c in book.advance(NOW + 10)] == ["started"]
    assert [c.id for c in book.active(NOW + 10)] == ["cap"]


# Properties of the book: random controls of few kinds.
scheduled = st.builds(
    lambda i, kind, start, length, priority, default: control_of(
        {"id": str(i), "kind": kind, "priority": priority,
         **({"q_pu": 0.1} if kind == "fixed_var" else {"charge_pu": 0.5, "discharge_pu": 0.5}),
         **({"default": True} if default else {"start_s": NOW + start, "duration_s": length})}, NOW - 1.0, "t"),
    st.integers(0, 10_000), st.sampled_from(["fixed_var", "power_limit"]), st.integers(0, 50), st.integers(1, 50),
    st.integers(0, 1000), st.booleans(),
)  # fmt: skip
distinct = st.lists(scheduled, max_size=7, unique_by=(lambda c: c.id, lambda c: c.priority))


@given(distinct, st.randoms(use_true_random=False), st.lists(st.integers(0, 120), max_size=6))
def test_where_priorities_differ_the_order_of_setting_makes_no_difference(
    controls: list[Control], shuffle: Any, moments: list[int]
) -> None:
    other = list(controls)
    shuffle.shuffle(other)
    books = [filled(*controls, now=NOW - 1.0), filled(*other, now=NOW - 1.0)]
    for moment in sorted(moments):
        for book in books:
            book.advance(NOW + moment)
        assert [c.id for c in books[0].active(NOW + moment)] == [c.id for c in books[1].active(NOW + moment)]
        assert set(books[0].controls) == set(books[1].controls)


@given(distinct, st.lists(st.integers(0, 120), max_size=8), st.integers(0, 120))
def test_how_often_the_book_is_asked_makes_no_difference(controls: list[Control], asked: list[int], end: int) -> None:
    often, once = filled(*controls, now=NOW - 1.0), filled(*controls, now=NOW - 1.0)
    changes = [c for moment in sorted(m for m in asked if m <= end) for c in often.advance(NOW + moment)]
    changes += often.advance(NOW + end)
    assert tuple(changes) == once.advance(NOW + end)
    assert often.controls == once.controls


@given(distinct, st.integers(0, 60))
def test_a_book_comes_back_from_json_as_it_was(controls: list[Control], moment: int) -> None:
    book = filled(*controls, now=NOW - 1.0)
    book.advance(NOW + moment)
    again = Book.from_dict(json.loads(json.dumps(book.as_dict())))
    assert again == book
    assert hash_of(again.controls.values()) == hash_of(reversed(list(book.controls.values())))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, st.data())
def test_a_file_that_was_touched_is_refused_or_understood_and_nothing_else(garbage: Any, data: Any) -> None:
    plain: dict[str, Any] = filled(control("volt_var", points=[[1.0, 0.0]]), now=NOW).as_dict()
    where = data.draw(st.sampled_from([plain, plain["controls"][0]]))
    where[data.draw(st.sampled_from([*where, "new"]))] = garbage
    for candidate in (garbage, plain):
        try:
            book = Book.from_dict(candidate)
        except ControlRefused:
            continue
        book.advance(NOW)
        json.dumps(book.as_dict(), allow_nan=False)


# ------------------------------------------------------------------------------------------------- over any profile
def trips_in_time(code: GridCode) -> dict[str, tuple[float, float]]:
    return {t.id: (t.threshold.value, latest_s(t)[1].value) for t in code.trips}


@st.composite
def must_trips(draw: Any, code: GridCode) -> Control | None:
    kind = draw(st.sampled_from(MUST_TRIP))
    known = stages(code, kind)
    assume(known)
    points = []
    for trip in known:
        threshold, latest = trip.threshold, latest_s(trip)[1]
        near = st.sampled_from([threshold.value, threshold.min or threshold.value, threshold.max or threshold.value])
        wide = st.floats(0.0, 2.0) if threshold.unit == "pu" else st.floats(40.0, 70.0)
        seconds = st.sampled_from([latest.value, latest.min or latest.value, 0.9 * latest.value]) | st.floats(0.0, 3600)
        points.append([draw(near | wide), draw(seconds)])
    raw = {"id": str(draw(st.integers(0, 999))), "kind": kind.value, "points": points, "default": draw(st.booleans())}
    return control_of(raw, NOW, "t")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_set_of_controls_ever_makes_a_trip_looser_or_takes_it_out_of_its_range(data: Any) -> None:
    code = data.draw(st.sampled_from(PROFILES))
    controls = data.draw(st.lists(must_trips(code), min_size=1, max_size=4, unique_by=lambda c: (c.kind, c.is_default)))
    try:
        found = over(code, *controls)
    except ControlRefused:
        return
    before, after = trips_in_time(code), trips_in_time(found.code)
    for trip in found.code.trips:
        (old, old_s), (new, new_s) = before[trip.id], after[trip.id]
        assert new <= old if trip.side is Side.OVER else new >= old
        assert new_s <= old_s
        for (_, a), (_, b) in zip(code.trip(trip.id).numbers(), trip.numbers(), strict=True):
            if a.value != b.value:
                assert a.min is not None
                assert a.max is not None
                assert a.min <= b.value <= a.max
        internal_delay(trip, CHAIN)  # the board can keep it
    for order in itertools.islice(itertools.permutations(controls), 6):
        assert over(code, *order) == found


@pytest.mark.parametrize("code", PROFILES, ids=lambda c: c.name)
def test_a_profiles_own_trips_as_controls_change_nothing(code: GridCode) -> None:
    for kind in MUST_TRIP:
        if known := stages(code, kind):
            points = [[t.threshold.value, latest_s(t)[1].value] for t in known]
            assert over(code, control(kind.value, points=points)).code == code


def test_every_kind_can_be_composed_over_ieee_1547() -> None:
    examples: dict[Kind, dict[str, Any]] = {
        Kind.VOLT_VAR: {"points": [[0.92, -0.44], [1.08, 0.44]]},
        Kind.VOLT_WATT: {"points": [[1.06, 1.0], [1.1, 0.0]]},
        Kind.FREQ_DROOP: {"db_of_hz": 0.1, "db_uf_hz": 0.1, "k_of": 0.04, "k_uf": 0.04},
        Kind.WATT_VAR: {"points": [[-1.0, 0.4], [0.0, 0.0]]},
        Kind.WATT_PF: {"points": [[-1.0, 0.9], [-0.5, 1.0]]},
        Kind.FREQ_WATT: {"points": [[59.0, -1.0], [59.8, 1.0]]},
        Kind.FIXED_PF: {"pf": 0.9, "absorbing": 0},
        Kind.FIXED_PF_CHARGING: {"pf": 0.9, "absorbing": 0},
        Kind.FIXED_PF_DISCHARGING: {"pf": 0.9, "absorbing": 1},
        Kind.FIXED_VAR: {"q_pu": -0.2},
        Kind.POWER_LIMIT: {"charge_pu": 1.0, "discharge_pu": 0.3},
        Kind.RAMPS: {"normal_pu_per_s": 0.1, "default": True},
        Kind.ENTER_SERVICE: {"delay_s": 400.0, "default": True},
        Kind.HV_MUST_TRIP: {"points": [[1.1, 12.8], [1.2, 0.16]]},
        Kind.LV_MUST_TRIP: {"points": [[0.88, 21.0], [0.5, 2.0]]},
        Kind.HF_MUST_TRIP: {"points": [[61.2, 299.5], [61.9, 0.16]]},
        Kind.LF_MUST_TRIP: {"points": [[58.6, 300.0], [56.8, 0.16]]},
        Kind.HV_MAY_TRIP: {"points": [[1.15, 12.5]]},
        Kind.LV_MAY_TRIP: {"points": [[0.6, 15.0]]},
        Kind.HF_MAY_TRIP: {"points": [[61.5, 299.0]]},
        Kind.LF_MAY_TRIP: {"points": [[58.0, 299.0]]},
        Kind.HV_MOMENTARY_CESSATION: {"threshold_pu": 1.1},
        Kind.LV_MOMENTARY_CESSATION: {"threshold_pu": 0.5},
    }
    assert set(examples) == set(Kind)
    code = replace(IEEE)
    for kind, raw in examples.items():
        over(code, control(kind.value, **raw))
    all_of_them = [control(kind.value, kind.value, **raw) for kind, raw in examples.items()]
    found = over(code, *all_of_them)
    assert found.source("reactive") == "fixed_pf"  # equal ranks: the first of an order that is always the same
    assert found.code.enter_service.delay_s.value == 400.0
