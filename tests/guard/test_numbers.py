"""Formulas and relations among the numbers of the charging sequence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.guard import numbers as n
from firmware.guard.messages import MAX_LEASE_S
from firmware.services.app import RENEW_S
from hal.can.infy_beg import InfyBeg
from hal.uart.pilot_mcu import PilotMcu

volts = st.floats(0.0, 2000.0)


@pytest.mark.parametrize(
    ("ev_max_v", "evse_max_v", "test_v"),
    [
        (0.0, 1000.0, 500.0),  # unknown: 500 V
        (420.0, 1000.0, 470.0),  # EV max + 50
        (450.0, 1000.0, 500.0),
        (480.0, 1000.0, 500.0),  # but at most 500 V
        (500.0, 1000.0, 500.0),
        (500.1, 1000.0, 550.11),  # above 500 V: 1.1 x EV max
        (800.0, 1000.0, 880.0),
        (950.0, 1000.0, 1000.0),  # but at most what the charger can
        (450.0, 400.0, 400.0),
        (math.nan, 1000.0, 500.0),
    ],
)
def test_cable_check_voltage_follows_formula_cc_1(ev_max_v: float, evse_max_v: float, test_v: float) -> None:
    assert n.test_voltage(ev_max_v, evse_max_v) == pytest.approx(test_v)


@given(volts, volts)
def test_the_cable_check_voltage_is_never_above_the_charger_nor_far_above_the_car(ev: float, evse: float) -> None:
    assert n.test_voltage(ev, evse) <= evse
    if ev > 0.0:
        assert n.test_voltage(ev, evse) <= max(ev + 50.0, 1.1 * ev) + 1e-9


@pytest.mark.parametrize(
    ("ev_max_v", "limit_v"),
    [(400.0, 550.0), (500.0, 550.0), (500.1, 825.0), (750.0, 825.0), (750.1, 935.0), (850.0, 935.0), (850.1, 1100.0)],
)
def test_the_over_voltage_limit_follows_table_103(ev_max_v: float, limit_v: float) -> None:
    assert n.over_voltage_limit(ev_max_v, 1000.0) == limit_v


@pytest.mark.parametrize("unknown", [0.0, math.nan])
def test_without_a_limit_of_the_car_the_charger_decides_over_voltage(unknown: float) -> None:
    assert n.over_voltage_limit(unknown, 500.0) == 550.0
    assert n.over_voltage_limit(unknown, 1250.0) == 1375.0


@given(volts, volts, volts)
def test_the_over_voltage_limit_rises_with_the_voltage_and_lies_above_it(a: float, b: float, evse: float) -> None:
    low, high = sorted((a, b))
    if low > 0.0:
        assert n.over_voltage_limit(low, evse) <= n.over_voltage_limit(high, evse)
        if min(low, evse) <= 1250.0:
            assert n.over_voltage_limit(low, evse) >= 1.1 * min(low, evse) - 1e-9


def test_times_fit_each_other() -> None:
    ramp_s = 73.3 / n.RAMP_DOWN_A_PER_S
    assert ramp_s < n.OPEN_WAIT_S, "the whole current is gone before contactors are opened under it"
    assert n.LEASE_GRACE_S + n.OPEN_WAIT_S < n.WIND_DOWN_S
    assert n.RAMP_UP_A_PER_S >= 20.0, "the standard's minimum"
    assert 73.3 / n.RESTORE_A_PER_S < 0.4, "IEEE 1547-2018 category III restores within 0.4 s"
    assert min(n.SERVICES_SILENT_S, MAX_LEASE_S) >= RENEW_S * 2, "one lost renewal does not count as silence"
    assert InfyBeg.zero_current_a >= n.ZERO_CURRENT_A
    assert n.OPEN_CURRENT_A < n.OVER_CURRENT_A + n.TEST_CURRENT_A * 1.1
    assert PilotMcu().host_timeout_s < InfyBeg.silence_off_s, "the safety MCU is the faster last line"
    assert n.WELD_TIMEOUT_S + n.CLOSE_TIMEOUT_S + n.OPEN_WAIT_S < 15.0, "the supervisor waits so long for a shutdown"
