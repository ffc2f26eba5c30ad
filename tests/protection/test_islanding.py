"""Anti-islanding without a plant: what the detector does with frequencies that are written down."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.grid_codes import load
from firmware.protection.grid import GridProtection
from firmware.protection.islanding import Islanding, Mode
from firmware.protection.islanding_active import PROBE_TAN_PHI, ActiveDetector
from firmware.protection.islanding_passive import PassiveDetector
from firmware.protection.types import GridSample, GridState, Transfer
from tests.protection.bench import CHAIN, IEEE

FULL = Transfer(-1.0, 0.0)
V = (1.0, 1.0, 1.0)


def follow(answer: Callable[[float, float], float], until_s: float, seed: int = 1, power: float = -1.0) -> float:
    """Time of the verdict (nan: none) when the frequency is answer(t, tan phi of 80 ms ago)."""
    detector, past = ActiveDetector(50.0, random.Random(seed)), [0.0] * 8
    for k in range(1, round(until_s * 100)):
        t = k / 100.0
        f = answer(t, past[-8])
        samples = [GridSample(t - 0.005, V, f), GridSample(t, V, f)]
        if detector.step(t, samples, Transfer(power, detector.tan_phi)):
            return t
        past.append(detector.tan_phi)
    return math.nan


@pytest.mark.parametrize("gain", [10.0, 25.0, -10.0, -25.0])
def test_a_frequency_that_follows_the_reactive_power_is_an_island_whichever_way_it_goes(gain: float) -> None:
    assert all(follow(lambda _t, tan: 50.0 + gain * tan, 4.0, seed) < 1.9 for seed in range(10))


@pytest.mark.parametrize("power", [1.0, -1.0, 0.03])
def test_charging_and_little_power_are_probed_too(power: float) -> None:
    assert follow(lambda _t, tan: 50.0 + 10.0 * tan, 4.0, power=power) < 1.9


def test_without_power_there_is_no_probe_and_no_verdict() -> None:
    detector = ActiveDetector(50.0, random.Random(1))
    for k in range(300):
        transfer = None if k % 2 else Transfer(0.01, 0.0)
        assert not detector.step(k / 100.0, [GridSample(k / 100.0, V, 50.0 + k % 40 / 20.0)], transfer)
        assert detector.tan_phi == 0.0


@pytest.mark.parametrize("rate", [-3.0, -1.0, 0.0, 0.5, 3.0])
def test_a_grid_that_drifts_by_itself_is_none(rate: float) -> None:
    assert all(math.isnan(follow(lambda t, _tan: 50.0 + rate * max(0.0, t - 1.0), 4.0, s)) for s in range(10))


def test_an_answer_below_the_threshold_is_none() -> None:
    detector = ActiveDetector(50.0, random.Random(1))
    gain = 0.95 * detector.threshold_hz
    assert all(math.isnan(follow(lambda _t, tan: 50.0 + gain * tan, 6.0, s)) for s in range(5))


def test_a_probe_that_is_not_carried_out_proves_nothing() -> None:
    """Told tan phi stays 0: a frequency that moves in step with the wish is then not the charger's doing."""
    detector, past = ActiveDetector(50.0, random.Random(1)), [0.0] * 8
    for k in range(1, 500):
        t = k / 100.0
        f = 50.0 + 20.0 * past[-8]
        assert not detector.step(t, [GridSample(t - 0.005, V, f), GridSample(t, V, f)], FULL)
        past.append(detector.tan_phi)


def test_the_probe_costs_one_thousandth_of_power_factor() -> None:
    assert math.cos(math.atan(PROBE_TAN_PHI)) == pytest.approx(0.999)


@pytest.mark.parametrize(("rate", "found"), [(3.0, False), (-5.5, False), (6.5, True), (-8.0, True)])
def test_passive_trips_only_on_a_rate_that_no_code_asks_to_ride_through(rate: float, found: bool) -> None:
    detector = PassiveDetector()
    hits = [detector.step(k / 200.0, [GridSample(k / 200.0, V, 50.0 + rate * k / 200.0)]) for k in range(200)]
    assert any(hits) is found


def test_passive_does_not_see_a_phase_jump() -> None:
    detector = PassiveDetector()
    for k in range(300):
        f = 50.0 + (4.2 if k % 60 < 8 else 0.0)  # 60 degrees in a two-cycle window, again and again
        assert not detector.step(k / 200.0, [GridSample(k / 200.0, V, f)])


def connected(mode: Mode) -> tuple[GridProtection, float]:
    code = load("ieee1547_2018_cat3_normB", nominal_v=230.0)
    code = replace(code, nominal_f_hz=50.0) if code.nominal_f_hz == 50.0 else code
    f0 = code.nominal_f_hz
    protection = GridProtection(code, CHAIN, islanding=Islanding(mode, f0, random.Random(1)))
    t = 0.0
    while protection.state is not GridState.CONNECTED:
        t += 0.05
        assert t < 400.0
        protection.step(t, [GridSample(t, V, f0)], [], converter_expected=False)
    return protection, t


def islanded(protection: GridProtection, t: float, until_s: float) -> float:
    """Time to the trip on an island of Qf 2.5, nan when there is none."""
    f0, past, start = protection.code.nominal_f_hz, [0.0] * 8, t
    while t < start + until_s:
        t += 0.01
        f = f0 + f0 / 5.0 * past[-8]
        two = [GridSample(t - 0.005, V, f), GridSample(t, V, f)]
        status = protection.step(t, two, [], converter_expected=False, transfer=Transfer(-1.0, past[-1]))
        if status.state is GridState.TRIPPED:
            assert status.probe_tan_phi == 0.0
            return t - start
        past.append(status.probe_tan_phi)
    return math.nan


def test_an_island_is_a_trip_like_any_other_and_the_grid_codes_wait_follows() -> None:
    protection, t = connected(Mode.ACTIVE)
    takes = islanded(protection, t, 3.0)
    assert takes < 1.9
    trip = protection.last_trip
    assert trip is not None
    assert (trip.element, trip.unit) == ("ISLAND", "Hz")
    assert trip.value > trip.threshold
    assert "ISLAND" in trip.text
    assert "IEC 62116" in trip.clause
    t += takes
    f0, delay_s, waited = protection.code.nominal_f_hz, protection.code.enter_service.delay_s.value, 0.0
    while protection.state is not GridState.CONNECTED:
        t, waited = t + 0.05, waited + 0.05
        protection.step(t, [GridSample(t, V, f0)], [], converter_expected=False)
        assert waited < delay_s + 2.0
    assert waited >= delay_s


@pytest.mark.parametrize("wave", ["triangle", "sine"])
def test_a_grid_that_swings_by_itself_is_none(wave: str) -> None:
    """Inter-area swings, 0.1 to 2.5 Hz, as fast as 3 Hz/s lets them be, in every place between the slots."""

    def f(hz: float, phase: float, t: float) -> float:
        x = (t * hz + phase) % 1.0
        if wave == "sine":
            return 50.0 + min(0.5, 3.0 / (2.0 * math.pi * hz)) * math.cos(2.0 * math.pi * x)
        return 50.0 + min(0.5, 3.0 / (4.0 * hz)) * (4.0 * abs(x - 0.5) - 1.0)

    for k in range(20):
        hz = 0.1 * 25.0 ** (k / 19.0)
        phase = 0.37 * k % 1.0
        assert math.isnan(follow(lambda t, _tan, hz=hz, phase=phase: f(hz, phase, t), 6.0, k)), (hz, phase)


def test_every_charger_that_sees_the_frequency_move_begins_the_same_pattern_at_the_same_time() -> None:
    """Their own patterns and ticks before that are not the same, nor is the noise."""
    detectors = [ActiveDetector(50.0, random.Random(seed)) for seed in range(4)]
    told: list[list[float]] = [[] for _ in detectors]
    noise = random.Random(7)
    for k in range(1, 500):
        for n, detector in enumerate(detectors):
            t = k / 100.0 + 0.002 * n
            f = 50.0 + 0.3 * min(1.0, max(0.0, (t - 3.0) / 0.06))
            samples = [GridSample(t - x, V, f + noise.gauss(0.0, 0.002)) for x in (0.005, 0.0)]
            detector.step(t, samples, Transfer(-1.0, detector.tan_phi))
            told[n].append(math.copysign(1.0, detector.tan_phi))
    begun = [[row[k] for k in range(320, 470)] for row in told]
    differ = sum(len(set(column)) > 1 for column in zip(*begun, strict=True))
    assert differ <= 16  # two ticks at each change of the pattern
    assert begun[0].count(1.0) not in (0, len(begun[0]))


def test_a_fault_in_between_connects_nothing() -> None:
    """The frequency follows, but every slot has a voltage dip in it."""
    detector, past = ActiveDetector(50.0, random.Random(1)), [0.0] * 8
    for k in range(1, 400):
        t = k / 100.0
        v = (0.4, 0.4, 0.4) if k % 15 == 0 else V
        f = 50.0 + 10.0 * past[-8]
        assert not detector.step(t, [GridSample(t - 0.005, v, f), GridSample(t, v, f)], Transfer(-1.0, past[-1]))
        past.append(detector.tan_phi)


def test_a_probe_that_the_converter_does_not_carry_out_is_told() -> None:
    islanding = Islanding(Mode.ACTIVE, 50.0, random.Random(1))
    protection = GridProtection(IEEE, CHAIN, islanding=islanding)
    told = []
    for k in range(1, 800):
        t = k / 100.0
        held = 0.0 if t > 3.0 else islanding.probe_tan_phi
        samples = [GridSample(t - 0.005, V, 50.0), GridSample(t, V, 50.0)]
        assert islanding.step(t, samples, Transfer(-1.0, held)) is None
        told.append((t, islanding.passive_only))
        assert protection.passive_only is islanding.passive_only
    assert min(t for t, passive in told if passive) == pytest.approx(6.0, abs=0.4)
    assert not GridProtection(IEEE, CHAIN).passive_only
    assert "passive only" in islanding.elements()[0].clause
    islanding.step(8.0, [], None)
    assert not islanding.passive_only
    assert "passive only" not in islanding.elements()[0].clause


def test_a_phase_jump_and_a_change_of_voltage_are_shown_for_a_second() -> None:
    islanding = Islanding(Mode.PASSIVE, 50.0, random.Random(1))
    seen = []
    for k in range(1, 600):
        t = k / 200.0
        jump = 20.0 / 360.0 / 0.040 if 1.0 < t <= 1.04 else 0.0
        v = (0.9, 0.9, 0.9) if t > 1.0 else V
        assert islanding.step(t, [GridSample(t, v, 50.0 + jump)], FULL) is None
        (element,) = islanding.elements()
        seen.append(element.clause)
    assert "phase jump 0 degrees, voltage change 0.00 pu" in seen[150]
    assert "phase jump 20 degrees, voltage change 0.10 pu" in seen[300]
    assert "phase jump 0 degrees" in seen[-1]


@pytest.mark.parametrize("mode", [Mode.PASSIVE, Mode.OFF])
def test_without_the_active_part_nothing_is_probed(mode: Mode) -> None:
    protection, t = connected(mode)
    assert math.isnan(islanded(protection, t, 3.0))
    assert not [e for e in protection.elements() if e.element == "ISLAND"]


def test_the_screen_shows_gain_threshold_margin_and_clause() -> None:
    protection, _t = connected(Mode.ACTIVE)
    (element,) = [e for e in protection.elements() if e.element == "ISLAND"]
    assert element.margin == element.threshold > 0.0
    assert element.unit == "Hz"
    assert element.clause


_STEP = st.tuples(
    st.one_of(st.just(0.01), st.floats(0.001, 2.0)),  # to the next tick: as a rule in time, at times very late
    st.lists(st.tuples(st.floats(0.0, 2.0), st.one_of(st.floats(40.0, 70.0), st.just(math.nan))), max_size=3),
    st.one_of(st.none(), st.builds(Transfer, st.floats(-1.2, 1.2), st.floats(-0.7, 0.7))),
    st.integers(1, 30),  # so often
)


@settings(max_examples=60)
@given(st.lists(_STEP, max_size=30), st.sampled_from([Mode.ACTIVE, Mode.PASSIVE]))
def test_nothing_that_comes_or_does_not_come_stops_it(
    story: list[tuple[float, list[tuple[float, float]], Transfer | None, int]], mode: Mode
) -> None:
    islanding, now = Islanding(mode, 50.0, random.Random(1)), 100.0
    for pause_s, samples, transfer, often in story:
        for _ in range(often):
            before, now = now, now + pause_s
            taken = [
                GridSample(before + (k + 1) / len(samples) * pause_s, (v, v, 1.0), f)
                for k, (v, f) in enumerate(samples)
            ]
            islanding.step(now, taken, transfer)
            assert abs(islanding.probe_tan_phi) <= PROBE_TAN_PHI
            assert all(math.isfinite(e.margin) for e in islanding.elements())


def test_a_tick_that_comes_a_quarter_of_a_second_late_stops_nothing_and_costs_the_slot() -> None:
    detector, past, t = ActiveDetector(50.0, random.Random(1)), [0.0] * 8, 0.0
    for k in range(1, 200):
        t += 0.26 if k % 40 == 0 else 0.01
        f = 50.0 + 25.0 * past[-8]
        detector.step(t, [GridSample(t - 0.005, V, f), GridSample(t, V, f)], Transfer(-1.0, detector.tan_phi))
        past.append(detector.tan_phi)
