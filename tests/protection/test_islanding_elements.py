"""What anti-islanding shows and says: margins, timers, clauses, the trip; and when it calls itself passive."""

from __future__ import annotations

import math
import random

import pytest

from firmware.protection import islanding as module
from firmware.protection.islanding import CLAUSE, PASSIVE_ONLY, Islanding, Mode
from firmware.protection.islanding_active import PROBE_TAN_PHI
from firmware.protection.types import ElementStatus, GridSample, Source, Transfer, Trip

V = (1.0, 1.0, 1.0)


def element(islanding: Islanding, name: str) -> ElementStatus:
    (found,) = [e for e in islanding.elements() if e.element == name]
    return found


def ramp(islanding: Islanding, rate: float, until_s: float, transfer: Transfer | None) -> Trip | None:
    for k in range(1, round(until_s * 100) + 1):
        t = k / 100.0
        two = [GridSample(x, V, 50.0 + rate * x) for x in (t - 0.007, t - 0.002)]
        trip = islanding.step(t, two, transfer)
        if trip is not None:
            return trip
    return None


def answer(islanding: Islanding, gain: float, until_s: float, from_s: float = 0.0) -> tuple[Trip | None, float]:
    """(trip, when) of a frequency that follows the probe of 80 ms ago."""
    past = [0.0] * 8
    for k in range(round(from_s * 100) + 1, round((from_s + until_s) * 100) + 1):
        t = k / 100.0
        f = 50.0 + gain * past[-8]
        two = [GridSample(t - 0.005, V, f), GridSample(t, V, f)]
        trip = islanding.step(t, two, Transfer(-1.0, islanding.probe_tan_phi))
        if trip is not None:
            return trip, t
        past.append(islanding.probe_tan_phi)
    return None, math.nan


def test_the_modes_are_the_words_of_the_board_file() -> None:
    assert {mode.value for mode in Mode} == {"active", "passive", "off"}
    assert module.NOT_CARRIED_S == 3.0


def test_a_new_one_asks_for_nothing_and_is_not_passive() -> None:
    for mode in Mode:
        islanding = Islanding(mode, 50.0, random.Random(1))
        assert (islanding.probe_tan_phi, islanding.passive_only) == (0.0, False)
    assert Islanding(Mode.OFF, 50.0, random.Random(1)).elements() == ()


def test_the_margin_of_the_gain_is_what_is_left_to_the_threshold() -> None:
    """Just below the threshold a row is seen: gain and timer show it; above it the margin is negative."""
    islanding = Islanding(Mode.ACTIVE, 50.0, random.Random(1))
    quiet = element(islanding, "ISLAND")
    assert (quiet.value, quiet.margin, quiet.timer_s, quiet.delay_s) == (0.0, 4.5, 0.0, 5.0)
    assert (quiet.unit, quiet.clause, quiet.source) == ("Hz", CLAUSE, Source.PILOT)
    seen = []
    past = [0.0] * 8
    for k in range(1, 400):
        t = k / 100.0
        f = 50.0 + 10.0 * past[-8]
        two = [GridSample(t - 0.005, V, f), GridSample(t, V, f)]
        if islanding.step(t, two, Transfer(-1.0, islanding.probe_tan_phi)):
            break
        past.append(islanding.probe_tan_phi)
        seen.append(element(islanding, "ISLAND"))
    row = [e for e in seen if e.timer_s == 3.0]
    assert row
    assert all(e.margin == pytest.approx(4.5 - e.value) for e in seen)
    assert all(e.value == pytest.approx(10.0, rel=0.1) for e in row)
    assert all(e.margin < -4.0 for e in row)


def test_the_trip_tells_the_gain_the_row_and_when_it_began_and_the_probe_rests() -> None:
    islanding = Islanding(Mode.ACTIVE, 50.0, random.Random(1))
    trip, t = answer(islanding, 10.0, 4.0)
    assert trip is not None
    assert (trip.element, trip.source, trip.phase, trip.unit) == ("ISLAND", Source.PILOT, "", "Hz")
    assert (trip.t, trip.delay_s, trip.threshold) == (t, 0.0, 4.5)
    assert trip.value == pytest.approx(10.0, rel=0.1)
    assert 0.6 < t - trip.t_start < 1.6
    assert trip.clause == CLAUSE
    assert "10.0 Hz per unit" in trip.text or "9." in trip.text
    assert "times in a row (limit 4.5); the grid is gone." in trip.text
    assert islanding.probe_tan_phi == 0.0
    assert element(islanding, "ISLAND").value == 0.0


@pytest.mark.parametrize("mode", [Mode.ACTIVE, Mode.PASSIVE])
@pytest.mark.parametrize("rate", [8.0, -8.0])
def test_a_rate_that_no_code_asks_for_trips_with_its_sign(mode: Mode, rate: float) -> None:
    trip = ramp(Islanding(mode, 50.0, random.Random(1)), rate, 2.0, Transfer(-1.0, 0.0))
    assert trip is not None
    assert (trip.element, trip.unit, trip.threshold, trip.source) == ("ISLAND", "Hz/s", 6.0, Source.PILOT)
    assert trip.value == pytest.approx(rate)
    assert trip.t - trip.t_start == pytest.approx(0.2, abs=0.011)
    assert trip.t == pytest.approx(0.44, abs=0.011)  # eight samples at either end of the span, then 0.2 s
    assert f"{rate:+.1f} Hz/s for 0.2 s (limit 6)" in trip.text


def test_without_power_a_rate_trips_nothing_and_off_means_off() -> None:
    assert ramp(Islanding(Mode.PASSIVE, 50.0, random.Random(1)), 8.0, 1.0, None) is None
    assert ramp(Islanding(Mode.OFF, 50.0, random.Random(1)), 8.0, 1.0, Transfer(-1.0, 0.0)) is None


def test_the_margin_of_the_rate_is_what_is_left_to_the_limit_either_way() -> None:
    for rate in (-4.0, 4.0):
        islanding = Islanding(Mode.PASSIVE, 50.0, random.Random(1))
        assert element(islanding, "ISLAND_RATE").value == 0.0
        ramp(islanding, rate, 0.6, Transfer(-1.0, 0.0))
        shown = element(islanding, "ISLAND_RATE")
        assert shown.value == pytest.approx(4.0)
        assert shown.margin == pytest.approx(2.0)
        assert (shown.threshold, shown.unit, shown.timer_s, shown.delay_s) == (6.0, "Hz/s", 0.0, 0.2)
    islanding = Islanding(Mode.PASSIVE, 50.0, random.Random(1))
    ramp(islanding, 8.0, 0.38, Transfer(-1.0, 0.0))
    shown = element(islanding, "ISLAND_RATE")
    assert shown.margin == pytest.approx(-2.0)
    assert 0.0 < shown.timer_s < 0.2


# ----------------------------------------------------------------------------------------------------- passive only
def held(islanding: Islanding, from_s: float, to_s: float, tan: float | None, power: float = -1.0) -> list[float]:
    """Times at which it called itself passive; the converter confirms `tan`, or what is asked (None)."""
    found = []
    for k in range(round(from_s * 100) + 1, round(to_s * 100) + 1):
        t = k / 100.0
        two = [GridSample(t - 0.005, V, 50.0), GridSample(t, V, 50.0)]
        confirmed = islanding.probe_tan_phi if tan is None else tan
        assert islanding.step(t, two, Transfer(power, confirmed)) is None
        if islanding.passive_only:
            found.append(t)
    return found


def test_a_probe_that_is_carried_out_is_never_passive() -> None:
    islanding = Islanding(Mode.ACTIVE, 50.0, random.Random(1))
    assert held(islanding, 0.0, 10.0, None) == []
    assert element(islanding, "ISLAND").clause == CLAUSE


def test_it_is_passive_three_seconds_after_the_last_change_that_was_confirmed() -> None:
    islanding = Islanding(Mode.ACTIVE, 50.0, random.Random(1))
    found = held(islanding, 0.0, 5.0, 0.0)
    assert found[0] == pytest.approx(3.02, abs=0.021)  # from when the probe was first asked for
    assert element(islanding, "ISLAND").clause == PASSIVE_ONLY
    assert "passive only" in PASSIVE_ONLY
    assert CLAUSE in PASSIVE_ONLY


def test_at_three_seconds_themselves_it_is_not_yet_passive() -> None:
    """In steps of 1/128 s, which are exact."""
    islanding, asked, passive = Islanding(Mode.ACTIVE, 50.0, random.Random(1)), [], []
    for k in range(1, 5 * 128):
        assert islanding.step(k / 128.0, [GridSample(k / 128.0, V, 50.0)], Transfer(-1.0, 0.0)) is None
        asked += [k] if islanding.probe_tan_phi else []
        passive += [k] if islanding.passive_only else []
    assert passive[0] - asked[0] == 3 * 128 + 1


@pytest.mark.parametrize(("change", "carried"), [(1.01, True), (0.99, False)])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_confirmed_change_as_large_as_the_probe_ends_it_at_once(change: float, carried: bool, sign: float) -> None:
    islanding = Islanding(Mode.ACTIVE, 50.0, random.Random(1))
    assert held(islanding, 0.0, 4.0, 0.3)[-1] == pytest.approx(4.0)
    found = held(islanding, 4.0, 4.5, 0.3 + sign * change * PROBE_TAN_PHI)
    assert (found == []) is carried


def test_a_register_that_creeps_is_no_probe_unless_it_adds_up_to_one() -> None:
    """Steps of a tenth of the probe: every tenth of them completes a change."""
    islanding = Islanding(Mode.ACTIVE, 50.0, random.Random(1))
    found = []
    for k in range(40):  # a step each 0.25 s: 2.5 s for a whole change
        found += held(islanding, 0.25 * k, 0.25 * (k + 1), 0.101 * PROBE_TAN_PHI * k)
    assert found == []
    slow = Islanding(Mode.ACTIVE, 50.0, random.Random(1))
    for k in range(20):  # 3.5 s for a whole change
        found += held(slow, 0.35 * k, 0.35 * (k + 1), 0.101 * PROBE_TAN_PHI * k)
    assert found


@pytest.mark.parametrize("power", [0.0, 0.019])
def test_without_power_nothing_is_asked_and_so_nothing_is_refused(power: float) -> None:
    islanding = Islanding(Mode.ACTIVE, 50.0, random.Random(1))
    assert held(islanding, 0.0, 5.0, 0.0, power) == []
    assert held(islanding, 5.0, 7.9, 0.0) == []  # the three seconds begin with the probe
    assert held(islanding, 7.9, 8.1, 0.0) != []


def test_rest_forgets_that_it_was_passive() -> None:
    islanding = Islanding(Mode.ACTIVE, 50.0, random.Random(1))
    assert held(islanding, 0.0, 4.0, 0.0)
    islanding.rest()
    assert (islanding.passive_only, islanding.probe_tan_phi) == (False, 0.0)
    assert held(islanding, 4.0, 6.9, 0.0) == []


@pytest.mark.parametrize("mode", [Mode.PASSIVE, Mode.OFF])
def test_what_does_not_probe_is_never_called_a_refused_probe(mode: Mode) -> None:
    assert held(Islanding(mode, 50.0, random.Random(1)), 0.0, 5.0, 0.0) == []
