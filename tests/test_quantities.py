"""Numbers with units as people type them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.quantities import QuantityError, duration_s, power_w, show_duration, show_power


@pytest.mark.parametrize(
    ("text", "watts"),
    [
        ("-7kW", -7_000.0),
        ("7kW", 7_000.0),
        ("+7.5 kw", 7_500.0),
        ("3500W", 3_500.0),
        ("-.5kW", -500.0),
        ("0W", 0.0),
        (" -7kW", -7_000.0),
    ],
)
def test_power_is_read_with_its_unit_and_sign(text: str, watts: float) -> None:
    assert power_w(text) == watts


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("7", "no unit"),
        ("-7", "no unit"),
        ("7MW", "unknown unit 'MW'"),
        ("7kWh", "unknown unit 'kWh'"),
        ("seven", "not a number"),
        ("", "not a number"),
        ("nankW", "not a number"),
        ("infkW", "not a number"),
        ("--7kW", "not a number"),
        ("1e3kW", "not a number"),
        ("7,5kW", "not a number"),
    ],
)
def test_a_power_that_is_not_clear_is_refused_with_a_sentence(text: str, says: str) -> None:
    with pytest.raises(QuantityError, match=says):
        power_w(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90.0), ("30m", 1_800.0), ("2h", 7_200.0), ("1h30m", 5_400.0), ("1.5h", 5_400.0), ("500ms", 0.5)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["30", "", "m", "-5m", "0s", "5 parsecs", "1h x", "nan", "1h-5m", "1e3s"])
def test_a_duration_that_is_not_clear_is_refused(text: str) -> None:
    with pytest.raises(QuantityError):
        duration_s(text)


def test_a_bare_number_counts_only_where_its_unit_is_agreed() -> None:
    assert duration_s("60", bare_unit_s=1.0) == 60.0
    with pytest.raises(QuantityError, match="longer than zero"):
        duration_s("0", bare_unit_s=1.0)


@given(st.floats(-400_000.0, 400_000.0))
def test_what_is_shown_as_power_reads_back_to_the_shown_precision(watts: float) -> None:
    assert math.isclose(power_w(show_power(watts)), watts, abs_tol=50.001)


def test_a_power_that_is_not_known_is_a_dash_and_zero_has_no_sign() -> None:
    assert show_power(None) == "–"
    assert show_power(math.nan) == "–"
    assert show_power(-3.0) == "0.0 kW"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.0, "0.0 s"),
        (4.24, "4.2 s"),
        (59.6, "1 min"),
        (125.0, "2 min 5 s"),
        (1_800.0, "30 min"),
        (3_600.0, "1 h"),
        (7_380.0, "2 h 3 min"),
        (86_399.9, "24 h"),
    ],
)
def test_durations_are_shown_as_people_say_them(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text
