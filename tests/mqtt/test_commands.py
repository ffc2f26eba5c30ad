"""What may be commanded over MQTT."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.bridges.mqtt.commands import HYSTERESIS_PCT, MODES, NAMES, Ask, CommandRefused, Wishes


def wishes(**changes: float) -> Wishes:
    return Wishes(11_000.0, 7_000.0, **changes)


@pytest.mark.parametrize(
    ("mode", "power_w"), [("auto", None), ("hold", 0.0), ("charge", 11_000.0), ("discharge", -7_000.0)]
)
def test_a_mode_asks_for_its_power(mode: str, power_w: float | None) -> None:
    made = wishes()
    assert made.obey("mode", mode.encode(), False) == Ask(power_w, f"mode {mode}")
    assert made.mode == mode


def test_a_set_point_is_asked_for_at_once_and_is_what_its_mode_means() -> None:
    made = wishes()
    assert made.obey("set_point", b" -3500 ", False) == Ask(-3500.0, "mode set-point")
    assert (made.mode, made.set_point_w) == ("set-point", -3500.0)
    made.obey("mode", b"auto", False)
    assert made.obey("mode", b"set-point", False) == Ask(-3500.0, "mode set-point")


@pytest.mark.parametrize(
    ("name", "payload", "retained", "sentence"),
    [
        ("mode", b"boost", False, "allowed: auto, hold, set-point, charge, discharge."),
        ("set_point", b"-7001", False, "must be a number from -7000 to 11000 W."),
        ("set_point", b"11000.1", False, "from -7000 to 11000"),
        ("set_point", b"nan", False, "must be a number"),
        ("set_point", b"inf", False, "must be a number"),
        ("set_point", b"", False, "must be a number"),
        ("set_point", b"\xff\xfe", False, "must be a number"),
        ("min_soc", b"101", False, "from 0 to 100 %"),
        ("min_soc", b"-1", False, "from 0 to 100 %"),
        ("reboot", b"now", False, "there is no command 'reboot'"),
        ("mode", b"charge", True, "a retained command is not obeyed"),
        ("mode", b"charge" + b" " * 64, False, "at most 64"),
    ],
)
def test_what_is_refused_changes_nothing_and_is_told(name: str, payload: bytes, retained: bool, sentence: str) -> None:
    made = wishes(min_soc_pct=20.0)
    made.obey("set_point", b"1000", False)
    with pytest.raises(CommandRefused) as refused:
        made.obey(name, payload, retained)
    assert sentence in str(refused.value)
    assert (made.mode, made.set_point_w, made.min_soc_pct) == ("set-point", 1000.0, 20.0)
    assert made.refusal == str(refused.value)
    made.obey("mode", b"hold", False)
    assert made.refusal == ""


@given(st.sampled_from([*NAMES, "x"]), st.binary(max_size=80), st.booleans())
def test_whatever_arrives_nothing_beyond_the_ratings_is_ever_asked_for(name: str, payload: bytes, old: bool) -> None:
    made = wishes()
    try:
        asked = made.obey(name, payload, old)
    except CommandRefused:
        return
    assert asked is None or asked.power_w is None or -7_000.0 <= asked.power_w <= 11_000.0
    assert made.mode in MODES
    assert 0.0 <= made.min_soc_pct <= 100.0


def test_at_the_reserve_nobody_discharges_until_the_car_is_clearly_above_it() -> None:
    made = wishes(min_soc_pct=30.0)
    assert made.reserve(31.0) == ""
    assert "reserve 30 %" in made.reserve(30.0)
    assert made.reserve(31.9) != ""
    assert made.reserve(30.0 + HYSTERESIS_PCT) == ""
    assert made.reserve(31.0) == ""


@pytest.mark.parametrize("soc_pct", [None, math.nan])
def test_a_state_of_charge_that_nobody_knows_is_not_above_the_reserve(soc_pct: float | None) -> None:
    assert "unknown" in wishes(min_soc_pct=1.0).reserve(soc_pct)
    assert wishes().reserve(soc_pct) == ""


def test_a_reserve_of_a_full_battery_can_be_left_by_a_full_battery() -> None:
    made = wishes(min_soc_pct=99.0)
    assert made.reserve(99.0) != ""
    assert made.reserve(100.0) == ""
    made.obey("min_soc", b"100", False)
    assert made.reserve(100.0) != ""


def test_a_reserve_that_is_taken_back_is_forgotten() -> None:
    made = wishes(min_soc_pct=50.0)
    assert made.reserve(40.0) != ""
    made.obey("min_soc", b"0", False)
    assert made.reserve(40.0) == ""
    made.obey("min_soc", b"39", False)
    assert made.reserve(40.0) == ""
