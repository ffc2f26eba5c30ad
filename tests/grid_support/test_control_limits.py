"""Controls: every number at the ends of what it may be, and what a stored book must be to be believed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest

from firmware.grid_support.controls import Book, Control, ControlRefused, Kind, as_dict, control_of, from_dict

NOW = 1_800_000_000.0
YEAR_S = 366 * 86_400.0

# The least that each kind takes.
LEAST: dict[str, dict[str, Any]] = {
    "volt_var": {"points": [[1.0, 0.0]]},
    "volt_watt": {"points": [[1.0, 0.0]]},
    "watt_var": {"points": [[1.0, 0.0]]},
    "watt_pf": {"points": [[1.0, 1.0]]},
    "freq_watt": {"points": [[50.0, 0.0]]},
    "freq_droop": {"db_of_hz": 0.2, "db_uf_hz": 0.2, "k_of": 0.05, "k_uf": 0.05},
    "fixed_pf": {"pf": 0.9, "absorbing": 1},
    "fixed_pf_charging": {"pf": 0.9, "absorbing": 1},
    "fixed_pf_discharging": {"pf": 0.9, "absorbing": 0},
    "fixed_var": {"q_pu": 0.1},
    "power_limit": {"charge_pu": 0.5, "discharge_pu": 0.5},
    "ramps": {"normal_pu_per_s": 0.1},
    "enter_service": {"delay_s": 60.0},
    **{f"{side}{what}_{word}_trip": {"points": [[50.0 if what == "f" else 1.0, 1.0]]}
       for side in "hl" for what in "vf" for word in ("must", "may")},
    "hv_momentary_cessation": {"threshold_pu": 1.2},
    "lv_momentary_cessation": {"threshold_pu": 0.5},
}  # fmt: skip
DEFAULT_ONLY = ("ramps", "enter_service")

# (kind, number, lowest, highest, needed): policy of what a control may be at all; a profile may allow less.
NUMBERS = [
    *((kind, "response_s", 0.0, 1000.0, False)
      for kind in ("volt_var", "volt_watt", "watt_var", "watt_pf", "freq_watt", "freq_droop",
                   "fixed_pf", "fixed_var", "power_limit")),
    ("volt_var", "vref_pu", 0.95, 1.05, False),  # IEEE 1547-2018, table 8: VRef
    ("volt_var", "autonomous_s", 300.0, 5000.0, False),  # IEEE 1547-2018, 5.3.3
    ("freq_droop", "db_of_hz", 0.0, 5.0, True),
    ("freq_droop", "db_uf_hz", 0.0, 5.0, True),
    ("freq_droop", "k_of", 0.002, 1.0, True),
    ("freq_droop", "k_uf", 0.002, 1.0, True),
    ("fixed_pf", "pf", 0.1, 1.0, True),
    ("fixed_pf", "absorbing", 0.0, 1.0, True),
    *((f"fixed_pf_{way}", name, low, high, needed) for way in ("charging", "discharging")
      for name, low, high, needed in (("pf", 0.7072, 1.0, True), ("absorbing", 0.0, 1.0, True),
                                      ("response_s", 0.0, 1000.0, False))),
    ("fixed_var", "q_pu", -1.0, 1.0, True),
    ("power_limit", "charge_pu", 0.0, 1.0, True),
    ("power_limit", "discharge_pu", 0.0, 1.0, True),
    ("ramps", "normal_pu_per_s", 0.0001, 100.0, False),
    ("ramps", "soft_start_pu_per_s", 0.0001, 100.0, False),
    ("enter_service", "v_min", 0.0, 1.0, False),
    ("enter_service", "v_max", 1.0, 2.0, False),
    ("enter_service", "f_min", 40.0, 70.0, False),
    ("enter_service", "f_max", 40.0, 70.0, False),
    ("enter_service", "delay_s", 0.0, 3600.0, False),
    ("enter_service", "ramp_duration_s", 1.0, 3600.0, False),
    ("enter_service", "ramp_pu_per_min", 0.001, 60.0, False),
    ("hv_momentary_cessation", "threshold_pu", 1.0, 2.0, True),
    ("lv_momentary_cessation", "threshold_pu", 0.0, 1.0, True),
]  # fmt: skip
# kind -> ends of x, ends of y
AXES = {
    "volt_var": (0.0, 2.0, -1.0, 1.0),
    "volt_watt": (0.0, 2.0, 0.0, 1.0),
    "watt_var": (-1.0, 1.0, -1.0, 1.0),
    "watt_pf": (-1.0, 1.0, -1.0, 1.0),
    "freq_watt": (40.0, 70.0, -1.0, 1.0),
    **{f"{side}v_{word}_trip": (0.0, 2.0, 0.0, 3600.0) for side in "hl" for word in ("must", "may")},
    **{f"{side}f_{word}_trip": (40.0, 70.0, 0.0, 3600.0) for side in "hl" for word in ("must", "may")},
}


def raw(kind: str, **more: Any) -> dict[str, Any]:
    default = {"default": True} if kind in DEFAULT_ONLY else {}
    return {"id": "a", "kind": kind, **LEAST[kind], **default, **more}


def made(kind: str, **more: Any) -> Control:
    return control_of(raw(kind, **more), NOW, "test")


def refused(make: Callable[[], object], words: str = "") -> None:
    with pytest.raises(ControlRefused) as refusal:
        make()
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def just_outside(low: float, high: float) -> tuple[float, float]:
    return math.nextafter(low, -math.inf), math.nextafter(high, math.inf)


# ------------------------------------------------------------------------------------------------------- numbers
def test_every_number_and_axis_of_every_kind_is_here() -> None:
    assert set(LEAST) == {kind.value for kind in Kind}
    for kind in LEAST:
        with pytest.raises(ControlRefused) as refusal:
            made(kind, nothing=1)
        told = str(refusal.value).partition(" has ")[2].split(", ")[6:]
        assert sorted(told) == sorted([key for k, key, *_ in NUMBERS if k == kind] + ["points"] * (kind in AXES))


@pytest.mark.parametrize(("kind", "key", "low", "high", "needed"), NUMBERS, ids=lambda x: x if type(x) is str else None)
def test_a_number_is_taken_exactly_within_its_ends(kind: str, key: str, low: float, high: float, needed: bool) -> None:
    for end in (low, high):
        assert made(kind, **{key: end}).number(key) == end
    for beyond in just_outside(low, high):
        refused(lambda beyond=beyond: made(kind, **{key: beyond}), f"{key} is {beyond!r}; allowed: {low:g} to {high:g}")
    table = raw(kind)
    table.pop(key, None)
    if needed:
        refused(lambda: control_of(table, NOW, "test"), f"{key} is missing ({low:g} to {high:g}")
    elif len(LEAST[kind]) > 1 or key not in LEAST[kind]:
        found = control_of(table, NOW, "test")
        assert (found.number(key), found.number(key, 7.0)) == (None, 7.0)


@pytest.mark.parametrize("kind", AXES)
def test_points_are_taken_exactly_within_the_ends_of_their_axes(kind: str) -> None:
    x0, x1, y0, y1 = AXES[kind]
    corners = ((x0, y0), (x0, y1), (x1, y0), (x1, y1))
    assert made(kind, points=[list(p) for p in corners]).points == corners
    for x in just_outside(x0, x1):
        refused(lambda x=x: made(kind, points=[[x0, y0], [x, y0]]), f"points.1 x is {x!r}; allowed: {x0:g} to {x1:g}")
    for y in just_outside(y0, y1):
        refused(lambda y=y: made(kind, points=[[x0, y]]), f"points.0 y is {y!r}; allowed: {y0:g} to {y1:g}")


@pytest.mark.parametrize("points", [5, "ab", [], [5], ["ab"], [[1.0, 0.0, 0.0]], [[]], {}])
def test_what_is_no_list_of_pairs_is_refused(points: Any) -> None:
    refused(lambda: made("volt_var", points=points), "points")


def test_the_most_of_an_id_of_points_and_of_a_time_are_taken_and_one_more_is_not() -> None:
    assert made("fixed_var", id="x" * 36).id == "x" * 36
    for wrong in ("x" * 37, "", "a\nb", 5, None, ["a"]):
        refused(lambda wrong=wrong: made("fixed_var", id=wrong), "id must be 1 to 36 printable characters")
    assert len(made("volt_var", points=[[1.0, 0.0]] * 10).points) == 10
    refused(lambda: made("volt_var", points=[[1.0, 0.0]] * 11), "1 to 10 pairs")
    for length in (1.0, YEAR_S):
        assert made("fixed_var", duration_s=length).end_s == NOW + length
    for length in just_outside(1.0, YEAR_S):
        refused(lambda length=length: made("fixed_var", duration_s=length), "duration_s is")
    for start in (NOW - YEAR_S, NOW + YEAR_S):
        assert made("fixed_var", start_s=start).start_s == start
    for start in just_outside(NOW - YEAR_S, NOW + YEAR_S):
        refused(lambda start=start: made("fixed_var", start_s=start), "start_s is")


def test_what_is_not_given_has_its_default() -> None:
    found = made("fixed_var")
    assert (found.priority, found.is_default, found.start_s, found.end_s) == (0, False, NOW, math.inf)
    assert found.set_no == 0  # no book has taken it
    default = made("fixed_var", default=True)
    assert (default.is_default, default.start_s, default.end_s) == (True, -math.inf, math.inf)


@pytest.mark.parametrize("priority", [-1, 1_000_001, True, 1.0, "1", None])
def test_a_priority_is_a_whole_number_up_to_a_million(priority: Any) -> None:
    refused(lambda: made("fixed_var", priority=priority), "priority is")
    assert [made("fixed_var", priority=p).priority for p in (0, 1_000_000)] == [0, 1_000_000]


def test_a_control_that_ends_this_very_moment_is_over() -> None:
    refused(lambda: made("fixed_var", start_s=NOW - 5.0, duration_s=5.0), "it is over already")
    assert made("fixed_var", start_s=NOW - 5.0, duration_s=5.5).end_s == NOW + 0.5


@pytest.mark.parametrize("more", [{"start_s": NOW}, {"duration_s": 5}, {"start_s": NOW, "duration_s": 5}])
def test_a_default_has_no_times(more: dict[str, float]) -> None:
    refused(lambda: made("fixed_var", default=True, **more), "a default has neither start_s nor duration_s")


@pytest.mark.parametrize("kind", DEFAULT_ONLY)
def test_ramps_and_entering_service_are_defaults_only(kind: str) -> None:
    assert made(kind).is_default
    refused(lambda: made(kind, default=False), "can only be a default")
    refused(lambda: control_of({"id": "a", "kind": kind, "default": True}, NOW, "test"), "it sets nothing")


@pytest.mark.parametrize("value", [1, 0, "yes", None])
def test_default_is_true_or_false(value: Any) -> None:
    refused(lambda: made("fixed_var", default=value), "default must be true or false")


@pytest.mark.parametrize("kind", [None, 5, "", "VOLT_VAR"])
def test_a_kind_that_there_is_not_is_refused(kind: Any) -> None:
    refused(lambda: control_of({"id": "a", "kind": kind}, NOW, "test"), "there is no kind")


def test_a_control_runs_at_its_start_and_no_longer_at_its_end() -> None:
    control = made("fixed_var", start_s=NOW + 1.0, duration_s=5.0)
    assert [control.runs(NOW + t) for t in (0.999, 1.0, 5.999, 6.0)] == [False, True, True, False]


def test_two_that_only_touch_do_not_overlap() -> None:
    first = made("fixed_var", start_s=NOW, duration_s=10)
    for start, overlaps in ((NOW + 10, False), (NOW + 9.5, True), (NOW - 10, False), (NOW - 9.5, True)):
        other = control_of(raw("fixed_var", start_s=start, duration_s=10), NOW - 100, "test")
        assert (first.overlaps(other), other.overlaps(first)) == (overlaps, overlaps)


# ------------------------------------------------------------------------------------------------- stored controls
STORED = as_dict(control_of(raw("fixed_var", start_s=NOW, duration_s=5.0), NOW, "test"))
DEFAULT = as_dict(control_of(raw("fixed_var", default=True), NOW, "test"))


def test_what_was_stored_comes_back() -> None:
    for stored in (STORED, DEFAULT):
        assert as_dict(from_dict(copy.deepcopy(stored))) == stored
    assert (STORED["start_s"], STORED["end_s"], DEFAULT["start_s"], DEFAULT["end_s"]) == (NOW, NOW + 5.0, None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1}, {"by": 5}, {"by": None}, {"set_no": True}, {"set_no": 1.5}, {"set_no": None}, {"start_s": True},
        {"start_s": "now"}, {"start_s": None}, {"end_s": NOW}, {"end_s": NOW - 1.0}, {"end_s": 1e12}, {"end_s": "x"},
        {"start_s": -1e12}, {"points": [[1.0, 1.0]]}, {"numbers": [["q_pu", 2.0]]}, {"numbers": 5}, {"kind": "warp"},
    ],
    ids=str,
)  # fmt: skip
def test_a_stored_control_that_was_touched_is_refused(change: dict[str, Any]) -> None:
    refused(lambda: from_dict({**STORED, **change}))


def test_a_stored_control_with_a_wrong_field_names_it() -> None:
    refused(lambda: from_dict({**STORED, "more": 1}), "unknown fields: more")
    refused(lambda: from_dict({**STORED, "by": 5}), "unknown fields: by, set_no")


@pytest.mark.parametrize("change", [{"start_s": NOW}, {"end_s": NOW}, {"start_s": NOW, "end_s": NOW + 5.0}], ids=str)
def test_a_stored_default_has_no_times(change: dict[str, Any]) -> None:
    refused(lambda: from_dict({**DEFAULT, **change}), "its stored times do not fit together")


@pytest.mark.parametrize("key", STORED)
def test_a_stored_control_that_lacks_anything_is_refused(key: str) -> None:
    refused(lambda: from_dict({k: v for k, v in STORED.items() if k != key}), "is not complete")


def test_times_may_be_as_far_as_a_million_million_seconds() -> None:
    assert from_dict({**STORED, "end_s": math.nextafter(1e12, 0.0)}).end_s < 1e12
    assert from_dict({**STORED, "end_s": None}).end_s == math.inf


# ------------------------------------------------------------------------------------------------------ stored books
def book_of(*controls: Control) -> Book:
    book = Book()
    for control in controls:
        book.set(control, NOW)
    return book


def test_a_book_that_is_new_and_one_with_a_control_are_stored_as_told() -> None:
    assert Book().as_dict() == {"schema": 1, "next_no": 1, "now_s": None, "controls": []}
    plain = book_of(made("fixed_var", id="b"), made("power_limit", id="a")).as_dict()
    assert (plain["schema"], plain["next_no"], plain["now_s"]) == (1, 3, NOW)
    assert [(c["id"], c["set_no"]) for c in plain["controls"]] == [("b", 1), ("a", 2)]
    assert Book.from_dict(plain).as_dict() == plain
    assert Book.from_dict(Book().as_dict()) == Book()


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2}, {"schema": 0}, {"more": 1}, {"next_no": True}, {"next_no": 1.0}, {"next_no": None},
        {"now_s": "x"}, {"now_s": True}, {"now_s": 1e12}, {"controls": {}}, {"controls": None}, {"controls": [5]},
        {"next_no": 1}, {"controls": [{**STORED, "set_no": 1}] * 2},
    ],
    ids=str,
)  # fmt: skip
def test_a_stored_book_that_was_touched_is_refused(change: dict[str, Any]) -> None:
    plain = book_of(made("fixed_var")).as_dict()
    assert len(Book.from_dict(plain).controls) == 1
    refused(lambda: Book.from_dict({**plain, **change}))
    for key in plain:
        refused(lambda key=key: Book.from_dict({k: v for k, v in plain.items() if k != key}), "no book of controls")


@pytest.mark.parametrize("raw_book", [None, [], 5, "book"])
def test_what_is_no_table_is_no_book(raw_book: Any) -> None:
    refused(lambda: Book.from_dict(raw_book), "this is no book of controls of schema 1")


def test_a_book_holds_a_hundred_controls_and_not_one_more() -> None:
    many = [made("fixed_var", id=str(i), start_s=NOW + 10 * i, duration_s=5) for i in range(101)]
    book = book_of(*many[:100])
    refused(lambda: book.set(many[100], NOW), "there are 100 controls already")
    plain = book.as_dict()
    assert len(Book.from_dict(plain).controls) == 100
    extra = {**plain["controls"][0], "id": "100"}
    refused(lambda: Book.from_dict({**plain, "controls": [*plain["controls"], extra]}), "one too many")


# ------------------------------------------------------------------------------------------------------ time of a book
def test_the_moments_of_a_book_are_its_starts_and_ends_that_are_still_to_come() -> None:
    book = book_of(
        made("fixed_var", id="a", start_s=NOW + 10, duration_s=5),
        made("power_limit", id="b", default=True),
        made("fixed_pf", id="c", start_s=NOW + 15, duration_s=5),
    )
    assert book.instants(NOW) == (NOW, NOW + 10, NOW + 15, NOW + 20)
    assert book.instants(NOW + 10) == (NOW + 10, NOW + 15, NOW + 20)
    assert book.instants(NOW + 20) == (NOW + 20,)


def test_a_start_and_an_end_are_told_once_at_their_own_time() -> None:
    book = book_of(made("fixed_var", start_s=NOW + 10, duration_s=5))
    told = [(at, [(c.at_s - NOW, c.what) for c in book.advance(NOW + at)]) for at in (0, 10, 10, 12, 15, 15, 20)]
    assert told == [(0, []), (10, [(10.0, "started")]), (10, []), (12, []), (15, [(15.0, "ended")]), (15, []), (20, [])]
    assert book.now_s == NOW + 20


def test_the_first_moment_a_book_knows_stays() -> None:
    book = book_of(made("fixed_var", id="a", start_s=NOW + 1, duration_s=5))
    book.set(made("power_limit", id="b"), NOW + 100.0)
    assert book.now_s == NOW


def test_of_two_that_count_before_the_book_is_advanced_the_lower_rank_does() -> None:
    for order in ((3, 1, 2), (1, 2, 3), (2, 3, 1)):
        book = book_of(*(made("fixed_var", id=str(p), priority=p) for p in order))
        assert [c.id for c in book.active(NOW)] == ["1"]
    assert [c.id for c in book_of(made("fixed_var", id="x"), made("fixed_var", id="y")).active(NOW)] == ["x"]


def test_who_is_superseded_is_told() -> None:
    book = book_of(made("fixed_var", id="b", priority=5), made("fixed_var", id="a", priority=6))
    assert book.set(made("fixed_var", id="c", priority=1), NOW) == ("a", "b")
    assert book.set(made("fixed_var", id="d", priority=1), NOW) == ("d",)
    assert book.set(made("fixed_var", id="e", priority=0, start_s=NOW + 5), NOW) == ("a", "b", "c", "d")
    assert book.set(made("fixed_var", id="f", priority=0, default=True), NOW) == ()


def test_what_is_due_at_either_end_of_an_advance_has_happened_after_it() -> None:
    book = book_of(made("fixed_var", id="old", priority=5))
    book.advance(NOW)
    book.set(made("fixed_var", id="new", priority=1), NOW)
    book.set(made("power_limit", id="a", start_s=NOW + 10, duration_s=5), NOW)
    book.set(made("power_limit", id="b", start_s=NOW + 20, duration_s=5), NOW)
    assert [(c.at_s - NOW, c.id, c.what) for c in book.advance(NOW + 20)] == [
        (0.0, "old", "superseded"),
        (10.0, "a", "started"),
        (15.0, "a", "ended"),
        (20.0, "b", "started"),
    ]


def test_who_asks_for_a_control_that_there_is_not_is_told_those_there_are() -> None:
    refused(lambda: Book().clear("x"), "there is no control 'x'; there are: none")
    book = book_of(made("fixed_var", id="b"), made("power_limit", id="a"))
    refused(lambda: book.clear("x"), "there are: a, b")
    assert book.clear("a").id == "a"
    assert list(book.controls) == ["b"]
