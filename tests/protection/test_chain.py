"""The arithmetic from a code's time to the delay inside, at its very ends: binary fractions, so that sums are exact."""

from __future__ import annotations

import math

import pytest

from firmware.grid_codes.chain import (
    EARLY_S,
    MIN_FREQUENCY_DELAY_S,
    ROCOF_CONFIRM_S,
    ROCOF_WINDOW_S,
    Chain,
    check_response,
    internal_delay,
)
from firmware.grid_codes.model import (
    ClearingMax,
    Confidence,
    DelayMinAndDisconnectMax,
    GridCodeError,
    Quantity,
    RelaySetting,
    RideThroughMode,
    RideThroughRow,
    Setting,
    Side,
    TripSetting,
    TripTime,
)

LINKS = ("measure_window_s", "report_period_s", "tick_s", "converter_off_s", "contactor_open_s", "frequency_window_s")
TAKES = Chain(0.5, 0.25, 0.125, 0.0625, 0.03125, 1.0)
OPEN_S = 0.5 + 0.25 + 0.125 + 0.0625 + 0.03125


def s(value: float) -> Setting:
    return Setting(value, "s", "clause", (), Confidence.HIGH)


def trip(time: TripTime, quantity: Quantity = Quantity.VOLTAGE) -> TripSetting:
    return TripSetting("OV1", quantity, Side.OVER, s(1.1), time)


def test_the_numbers_are_those_of_the_document() -> None:
    assert (MIN_FREQUENCY_DELAY_S, ROCOF_WINDOW_S, ROCOF_CONFIRM_S, EARLY_S) == (0.05, 0.1, 0.05, 0.05)
    assert Chain(0.0, 0.0, 0.0, 0.0, 0.0).frequency_window_s == 0.04


@pytest.mark.parametrize("link", LINKS)
def test_each_link_may_take_from_nothing_to_ten_seconds(link: str) -> None:
    parts = dict.fromkeys(LINKS, 0.0)
    for end in (0.0, 10.0):
        assert getattr(Chain(**{**parts, link: end}), link) == end
    for beyond in (math.nextafter(0.0, -1.0), math.nextafter(10.0, 11.0), math.nan, math.inf):
        with pytest.raises(GridCodeError, match=rf"chain\.{link} is {beyond}; allowed: 0\.\.10 s"):
            Chain(**{**parts, link: beyond})


@pytest.mark.parametrize(
    ("quantity", "window_s"),
    [
        (Quantity.VOLTAGE, 0.5), (Quantity.VOLTAGE_10MIN, 0.5), (Quantity.FREQUENCY, 1.0),
        (Quantity.ROCOF, 1.0 + ROCOF_WINDOW_S + ROCOF_CONFIRM_S),
    ],
)  # fmt: skip
def test_the_chain_is_the_sum_of_its_links(quantity: Quantity, window_s: float) -> None:
    assert TAKES.window_s(quantity) == pytest.approx(window_s)
    assert TAKES.until_ceased_s(quantity) == pytest.approx(window_s + 0.25 + 0.125 + 0.0625)
    assert TAKES.until_open_s(quantity) == pytest.approx(window_s + 0.25 + 0.125 + 0.0625 + 0.03125)


def test_a_relay_waits_its_setting() -> None:
    assert internal_delay(trip(RelaySetting(s(0.0))), TAKES) == 0.0
    assert internal_delay(trip(RelaySetting(s(0.01)), Quantity.ROCOF), TAKES) == 0.01  # only frequency has a least


@pytest.mark.parametrize("words", ["the code allows", "the code wants it disconnected by"])
def test_a_limit_leaves_what_the_chain_does_not_take_down_to_nothing(words: str) -> None:
    def of(limit_s: float) -> TripTime:
        return ClearingMax(s(limit_s)) if "allows" in words else DelayMinAndDisconnectMax(None, s(limit_s))

    assert internal_delay(trip(of(OPEN_S + 0.5)), TAKES) == 0.5
    for left_s in (0.0, 2.0**-8):
        assert internal_delay(trip(of(OPEN_S + left_s)), TAKES) == left_s
    for short_s in (2.0**-8, 0.5):
        with pytest.raises(GridCodeError, match=words):
            internal_delay(trip(of(OPEN_S - short_s)), TAKES)


@pytest.mark.parametrize(
    ("spare_s", "more_s"), [(0.0, 0.0), (2.0**-8, 2.0**-9), (0.0625, 0.03125), (0.1, 0.05), (0.125, 0.05), (3.0, 0.05)]
)
def test_between_two_ends_the_delay_is_later_than_the_minimum_by_half_of_what_is_to_spare(
    spare_s: float, more_s: float
) -> None:
    both = DelayMinAndDisconnectMax(s(0.25), s(0.25 + OPEN_S + spare_s))
    assert internal_delay(trip(both), TAKES) == pytest.approx(0.25 + more_s, abs=1e-12)


@pytest.mark.parametrize("short_s", [2.0**-8, 0.125])
def test_between_two_ends_without_room_is_refused(short_s: float) -> None:
    both = DelayMinAndDisconnectMax(s(0.25), s(0.25 + OPEN_S - short_s))
    with pytest.raises(GridCodeError, match=r"waiting 0\.25 s and 0\.96875 s of this board's chain end after"):
        internal_delay(trip(both), TAKES)


def test_a_frequency_waits_at_least_fifty_milliseconds_and_nothing_else_has_to() -> None:
    assert internal_delay(trip(RelaySetting(s(0.05)), Quantity.FREQUENCY), TAKES) == 0.05
    with pytest.raises(GridCodeError, match="a phase jump would trip it"):
        internal_delay(trip(RelaySetting(s(math.nextafter(0.05, 0.0))), Quantity.FREQUENCY), TAKES)
    assert internal_delay(trip(RelaySetting(s(0.049))), TAKES) == 0.049


def row(mode: RideThroughMode, max_response_s: float | None) -> RideThroughRow:
    response = None if max_response_s is None else s(max_response_s)
    return RideThroughRow(Quantity.VOLTAGE, s(0.0), s(0.5), mode, s(1.0), max_response_s=response)


def test_a_board_that_ceases_just_in_time_is_fast_enough() -> None:
    takes_s = OPEN_S - 0.03125
    cease, stay = RideThroughMode.MOMENTARY_CESSATION, RideThroughMode.MANDATORY
    for fine in (row(cease, takes_s), row(cease, 5.0), row(cease, None), row(stay, None), row(stay, 0.01)):
        check_response(fine, TAKES)
    with pytest.raises(GridCodeError, match=r"ceases after 0\.9375 s; the code allows 0\.93 s"):
        check_response(row(cease, 0.93), TAKES)
