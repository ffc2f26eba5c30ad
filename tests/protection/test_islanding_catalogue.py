"""What each profile wants ridden through is never taken for an island, with the probe at work on a grid that answers it
weakly. Only the element ISLAND is looked at here; what the other elements do there is tests/protection/test_trips.py.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from firmware.grid_codes import GridCode, Quantity, inspect, names
from firmware.protection.islanding import Islanding, Mode
from firmware.protection.types import GridSample, Transfer

ANSWER_HZ = 1.0  # per unit of tan phi: a weak grid, 4 times below the threshold
RATE_HZ_S = 3.0  # the most that a code here wants ridden through (IEEE 1547-2018 6.5.2.5, category III)
JUMP_HZ = {20.0: 20.0 / 360.0 / 0.040, 60.0: 60.0 / 360.0 / 0.040}  # in a two-cycle frequency, for 40 ms

Point = tuple[float, tuple[float, float, float], float]  # s, pu, Hz away from nominal


def excursions(code: GridCode) -> Iterator[tuple[float, float]]:
    """(voltage, frequency away from nominal): of every row just inside both ends and the middle; and, because not every
    profile has rows, close to every trip threshold from inside."""
    for trip in code.trips:
        value = trip.threshold.value
        if trip.quantity is Quantity.VOLTAGE:
            yield 1.0 + 0.97 * (value - 1.0), 0.0
        elif trip.quantity is Quantity.FREQUENCY:
            yield 1.0, 0.97 * (value - code.nominal_f_hz)
    for row in code.ride_through:
        lo, hi = row.lo.value, row.hi.value
        for share in (0.02, 0.5, 0.98):
            if row.quantity is Quantity.VOLTAGE:
                yield min(max(lo, 0.0) + share * (min(hi, 1.4) - max(lo, 0.0)), 1.4), 0.0
            elif row.quantity is Quantity.FREQUENCY:
                lo_hz, hi_hz = max(lo, code.nominal_f_hz - 5.0), min(hi, code.nominal_f_hz + 5.0)
                yield 1.0, lo_hz + share * (hi_hz - lo_hz) - code.nominal_f_hz


def course(code: GridCode, hold_s: float) -> Iterator[Point]:
    """Every excursion there and back; voltage as a step with a jump of 20 degrees in all phases, or of 60 in one with
    only one phase low; frequency at RATE_HZ_S."""
    t = 0.0
    for k, (v, df) in enumerate(excursions(code)):
        jump = JUMP_HZ[60.0 if k % 2 else 20.0]
        ramp_s = abs(df) / RATE_HZ_S
        end_s = 2.0 * (hold_s + ramp_s)
        for n in range(round(end_s * 200)):
            x = n / 200.0
            out = x < hold_s + ramp_s
            since = x if out else x - hold_s - ramp_s
            share = min(1.0, since / ramp_s) if ramp_s else 1.0
            f = df * (share if out else 1.0 - share)
            if not df and since < 0.040:
                f += jump if out else -jump
            low = v if out and not df else 1.0
            t += 0.005
            yield t, ((low, 1.0, 1.0) if k % 2 else (low, low, low)), f


def _alike() -> list[GridCode]:
    """One profile of all that want the same ridden through: the course is the same to the last bit."""
    found = {(code.nominal_f_hz, tuple(excursions(code))): code for code in map(inspect, names())}
    return list(found.values())


@pytest.mark.parametrize("code", _alike(), ids=lambda code: code.name)
def test_nothing_that_a_profile_wants_ridden_through_is_an_island(code: GridCode) -> None:
    f0, noise = code.nominal_f_hz, random.Random(3)
    for hold_s in (0.21, 0.5):
        islanding, past, samples = Islanding(Mode.ACTIVE, f0, random.Random(4)), [0.0] * 8, []
        for t, v, df in course(code, hold_s):
            f = f0 + df + ANSWER_HZ * past[-8] + noise.gauss(0.0, 0.002)
            samples.append(GridSample(t, v, f))
            if len(samples) < 2:
                continue
            trip = islanding.step(t, samples, Transfer(-1.0, past[-1]))
            assert trip is None, (hold_s, t, v, df, trip)
            past.append(islanding.probe_tan_phi)
            samples = []
        assert past[-1]
