"""Requests for power: the newest live one counts, each ends by itself, and what is out of range changes nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.services.requests import IDLE_SOURCE, MAX_SOURCES, RequestRefused, Requests


def requests(idle_power_w: float = 11_000.0) -> Requests:
    return Requests(charge_w=22_000.0, discharge_w=10_000.0, idle_power_w=idle_power_w)


def test_without_a_request_the_boards_own_wish_counts_and_is_renewed_for_one_lease() -> None:
    told = requests().for_guard(100.0, lease_s=2.0)
    assert (told.source, told.power_w, told.until_s) == (IDLE_SOURCE, 11_000.0, 102.0)


def test_a_request_wins_over_the_boards_wish_and_ends_by_itself() -> None:
    r = requests()
    r.ask(100.0, "operator", -7000.0, 60.0, "peak")
    assert r.for_guard(159.9, 2.0).power_w == -7000.0
    assert r.for_guard(160.0, 2.0).source == IDLE_SOURCE


def test_the_lease_to_guard_never_outlives_the_request() -> None:
    r = requests()
    r.ask(100.0, "operator", -7000.0, 60.0)
    assert r.for_guard(110.0, 2.0).until_s == 112.0
    assert r.for_guard(159.0, 2.0).until_s == 160.0


def test_the_newest_request_counts_and_the_older_one_comes_back_after_it() -> None:
    r = requests()
    r.ask(0.0, "ems", 5000.0, 100.0)
    r.ask(10.0, "operator", 0.0, 20.0)
    assert r.for_guard(20.0, 2.0).power_w == 0.0
    assert r.for_guard(30.0, 2.0).power_w == 5000.0


def test_a_source_holds_one_request_its_newest() -> None:
    r = requests()
    r.ask(0.0, "ems", 5000.0, 100.0)
    r.ask(1.0, "ems", 3000.0, 10.0)
    assert [request.power_w for request in r.live(2.0)] == [3000.0]
    assert r.for_guard(12.0, 2.0).source == IDLE_SOURCE


def test_a_stop_forgets_every_request() -> None:
    r = requests()
    r.ask(0.0, "a", 1.0, 100.0)
    r.ask(0.0, "b", 2.0, 100.0)
    assert r.cancel_all() == 2
    assert r.current(1.0) is None


@pytest.mark.parametrize(
    ("source", "power_w", "for_s", "reason", "words"),
    [
        ("x", 22_001.0, 60.0, "", "-10000 W (discharge) to 22000 W (charge)"),
        ("x", -10_001.0, 60.0, "", "outside this charger's ratings"),
        ("x", math.nan, 60.0, "", "outside this charger's ratings"),
        ("x", 0.0, 0.5, "", "1 to 86400 seconds"),
        ("x", 0.0, math.inf, "", "1 to 86400 seconds"),
        ("x", 0.0, math.nan, "", "1 to 86400 seconds"),
        ("", 0.0, 60.0, "", "1 to 40 printable characters"),
        (IDLE_SOURCE, 0.0, 60.0, "", "printable"),
        ("x" * 41, 0.0, 60.0, "", "printable"),
        ("x", 0.0, 60.0, "a\nb", "200 printable characters"),
    ],
)
def test_what_is_out_of_range_is_refused_with_a_sentence_and_changes_nothing(
    source: str, power_w: float, for_s: float, reason: str, words: str
) -> None:
    r = requests()
    r.ask(0.0, "x", 5000.0, 100.0)
    before = r.live(1.0)
    with pytest.raises(RequestRefused) as caught:
        r.ask(1.0, source, power_w, for_s, reason)
    assert words in str(caught.value)
    assert str(caught.value).endswith(".")
    assert r.live(1.0) == before


def test_the_number_of_sources_is_bounded_and_ended_ones_make_room() -> None:
    r = requests()
    for i in range(MAX_SOURCES):
        r.ask(0.0, f"source {i}", 1.0, 10.0)
    with pytest.raises(RequestRefused, match="16 sources"):
        r.ask(1.0, "one more", 1.0, 10.0)
    r.ask(1.0, "source 0", 2.0, 10.0)  # its own place
    r.ask(10.5, "one more", 1.0, 10.0)


_ASK = st.tuples(
    st.floats(0.0, 50.0),
    st.sampled_from(["operator", "ems", "ocpp"]),
    st.floats(-30_000.0, 30_000.0),
    st.floats(0.0, 200.0),
)


@given(st.lists(_ASK, max_size=20), st.floats(0.0, 500.0), st.floats(0.5, 5.0))
def test_guard_is_never_told_more_than_the_ratings_nor_longer_than_a_lease(
    asks: list[tuple[float, str, float, float]], look_s: float, lease_s: float
) -> None:
    r = requests()
    now = 0.0
    newest: tuple[float, float] | None = None
    for pause_s, source, power_w, for_s in asks:
        now += pause_s
        try:
            r.ask(now, source, power_w, for_s)
        except RequestRefused:
            continue
        newest = (power_w, now + for_s)
    now += look_s
    told = r.for_guard(now, lease_s)
    assert -10_000.0 <= told.power_w <= 22_000.0
    assert now < told.until_s <= now + lease_s
    if newest is not None and newest[1] > now:
        assert told.power_w == newest[0]
