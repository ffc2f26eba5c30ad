"""The passive part of anti-islanding: its rate, how long it must last, and what is no rate."""

from __future__ import annotations

import copy
import itertools
import math
import statistics
from collections.abc import Callable

import pytest

from firmware.protection import islanding_passive
from firmware.protection.islanding_passive import PassiveDetector
from firmware.protection.types import GridSample

V = (1.0, 1.0, 1.0)
LATE_S = 0.002  # of a sample when it is judged: no sample lies at the very end of a window


def watch(f: Callable[[float], float], until_s: float, detector: PassiveDetector | None = None) -> list[float]:
    """Times at which it says that the frequency runs away; a sample every 5 ms."""
    detector, found = detector or PassiveDetector(), []
    for k in range(1, round(until_s * 200) + 1):
        t = k / 200.0
        if detector.step(t + LATE_S, [GridSample(t, V, f(t))]):
            found.append(t + LATE_S)
    return found


def windows(early: int, late: int, rate_hz_s: float = 8.0) -> PassiveDetector:
    """A detector that has seen so many samples at either end of its span, and none between."""
    detector, now = PassiveDetector(), 10.0
    samples = [GridSample(now - 0.28 + k / 100.0, V, 50.0) for k in range(early)]
    samples += [GridSample(now - 0.08 + k / 100.0, V, 50.0 + 0.2 * rate_hz_s) for k in range(late)]
    assert not detector.step(now, samples)
    return detector


def test_the_numbers_are_those_of_the_document() -> None:
    m = islanding_passive
    assert (m.RATE_HZ_S, m.SPAN_S, m.WINDOW_S, m.HOLD_S, m.MIN_SAMPLES) == (6.0, 0.2, 0.085, 0.2, 8)


@pytest.mark.parametrize("rate", [-9.0, -1.0, 0.0, 0.3, 6.5])
def test_the_rate_of_a_ramp_is_its_rate(rate: float) -> None:
    detector = PassiveDetector()
    watch(lambda t: 50.0 + rate * t, 1.0, detector)
    assert detector.rate_hz_s == pytest.approx(rate, abs=1e-6)


@pytest.mark.parametrize(("rate", "found"), [(5.99, False), (-5.99, False), (6.01, True), (-6.01, True)])
def test_the_limit_is_six_hertz_a_second_either_way(rate: float, found: bool) -> None:
    assert bool(watch(lambda t: 50.0 + rate * t, 1.0)) is found


@pytest.mark.parametrize(("early", "late", "enough"), [(8, 8, True), (7, 8, False), (8, 7, False)])
def test_either_window_needs_eight_samples(early: int, late: int, enough: bool) -> None:
    detector = windows(early, late)
    assert (detector.rate_hz_s == pytest.approx(8.0)) is enough
    assert math.isnan(detector.rate_hz_s) is not enough
    assert detector.since == (10.0 if enough else math.inf)


def test_it_says_so_once_the_rate_has_lasted_and_not_a_sample_before() -> None:
    detector = PassiveDetector()
    since = math.inf
    for k in range(1, 300):
        t = k / 200.0
        told = detector.step(t + LATE_S, [GridSample(t, V, 50.0 + 8.0 * t)])
        if since == math.inf and abs(detector.rate_hz_s) > 6.0:
            since = t + LATE_S
        assert told is (t + LATE_S - since >= 0.2 - 1e-9)
        assert detector.since == since


def test_a_rate_that_turns_round_begins_anew() -> None:
    """A triangle that turns every 0.2 s, steep enough that the rate leaps from one side to the other."""

    def f(t: float) -> float:
        return 50.0 + 400.0 * abs(((t + 0.0012) / 0.4) % 1.0 - 0.5)

    detector, seen = PassiveDetector(), []
    for k in range(1, 400):
        t = k / 200.0
        detector.step(t + LATE_S, [GridSample(t, V, f(t))])
        seen.append((t + LATE_S, detector.rate_hz_s, detector.since))
    leaps = [
        (now, since)
        for (_, before, _), (now, rate, since) in itertools.pairwise(seen)
        if min(abs(before), abs(rate)) > 6.0 and before * rate < 0.0
    ]
    assert leaps
    assert all(now == since for now, since in leaps)


def test_a_frequency_that_was_not_measured_is_no_sample() -> None:
    detector = windows(8, 8)
    rate = detector.rate_hz_s
    detector.step(10.0, [GridSample(9.999, V, math.nan)])
    assert detector.rate_hz_s == rate


def test_a_reset_forgets_everything() -> None:
    detector = windows(8, 8)
    detector.reset()
    assert math.isnan(detector.rate_hz_s)
    assert detector.since == math.inf
    assert not detector.step(10.3, [])
    assert math.isnan(detector.rate_hz_s)


@pytest.mark.parametrize("late_s", [0.0, 0.001, 0.0049])
@pytest.mark.parametrize("rate", [-8.0, 2.0])
def test_a_sample_at_the_very_end_of_a_window_does_not_make_the_rate_larger(rate: float, late_s: float) -> None:
    detector = PassiveDetector()
    for k in range(1, 201):
        t = k / 200.0
        detector.step(t + late_s, [GridSample(t, V, 50.0 + rate * t)])
        assert math.isnan(detector.rate_hz_s) or detector.rate_hz_s == pytest.approx(rate, rel=1e-6)
    assert detector.rate_hz_s == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("rate", [5.97, -5.97])
def test_a_rate_just_inside_of_the_limit_is_none_however_the_samples_fall(rate: float) -> None:
    for late_s in (0.0, 0.0005, 0.002, 0.0049):
        detector = PassiveDetector()
        for k in range(1, 301):
            t = k / 200.0
            assert not detector.step(t + late_s, [GridSample(t, V, 50.0 + rate * t)])


def test_a_new_detector_shows_nothing() -> None:
    detector = PassiveDetector()
    assert math.isnan(detector.rate_hz_s)
    assert (detector.since, detector.held_s, detector.jump_deg, detector.v_change_pu) == (math.inf, 0.0, 0.0, 0.0)
    assert islanding_passive.F_WINDOW_S == 0.040
    assert islanding_passive.SHOW_S == 1.0
    assert islanding_passive.V_SLOW_SHARE == 0.02


def shown(course: Callable[[float], tuple[float, float]], until_s: float) -> list[tuple[float, float, float]]:
    """(t, jump_deg, v_change_pu) at every sample; course(t): frequency and voltage of all phases."""
    detector, found = PassiveDetector(), []
    for k in range(1, round(until_s * 200) + 1):
        t = k / 200.0
        f, v = course(t)
        detector.step(t + LATE_S, [GridSample(t, (v, v, v), f)])
        found.append((t, detector.jump_deg, detector.v_change_pu))
    return found


@pytest.mark.parametrize("degrees", [-20.0, 7.0, 60.0])
def test_a_phase_jump_is_shown_as_its_angle_for_a_second_and_the_larger_one_stays(degrees: float) -> None:
    excess = degrees / 360.0 / 0.040

    def course(t: float) -> tuple[float, float]:
        small = 0.5 * excess if 1.5 < t <= 1.54 else 0.0
        return 50.0 + (excess if 1.0 < t <= 1.04 else small), 1.0

    seen = shown(course, 3.0)
    assert all(jump == pytest.approx(0.0, abs=1e-9) for t, jump, _v in seen if t <= 1.0)
    assert all(jump == pytest.approx(abs(degrees)) for t, jump, _v in seen if 1.01 < t < 2.0)
    assert seen[-1][1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("v", [0.9, 1.15])
def test_a_change_of_voltage_is_told_against_the_slow_mean_for_a_second(v: float) -> None:
    seen = shown(lambda t: (50.0, v if t > 1.0 else 1.0), 4.0)
    assert all(change == 0.0 for t, _j, change in seen if t <= 1.0)
    assert all(change == pytest.approx(abs(v - 1.0), abs=1e-9) for t, _j, change in seen if 1.001 < t < 2.0)
    assert 0.0 < seen[-1][2] < 0.5 * abs(v - 1.0)


# ------------------------------------------------------------------------------- very edges, in numbers that are exact
@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of eight samples at 128 a second, half a second from one end to the other."""
    for name, value in (("SPAN_S", 0.5), ("WINDOW_S", 0.0625), ("MIN_SAMPLES", 8), ("HOLD_S", 0.25)):
        monkeypatch.setattr(islanding_passive, name, value)


def exactly(f: Callable[[float], float], until_s: float) -> list[tuple[float, bool, PassiveDetector]]:
    found, detector = [], PassiveDetector()
    for k in range(1, round(until_s * 128) + 1):
        t = k / 128.0
        told = detector.step(t, [GridSample(t, V, f(t))])
        found.append((t, told, copy.copy(detector)))
    return found


@pytest.mark.usefixtures("exact")
def test_a_window_holds_the_sample_at_its_end_and_not_the_one_at_its_beginning() -> None:
    """On a curve, so that one sample more or less is another rate."""

    def f(t: float) -> float:
        return 50.0 + t * t * t

    for now, _, detector in exactly(f, 1.0):
        early = [now - 0.5 - k / 128.0 for k in range(8)]
        late = [now - k / 128.0 for k in range(8)]
        if min(early) <= 0.0:
            assert math.isnan(detector.rate_hz_s)
            continue
        span_s = statistics.median(late) - statistics.median(early)
        rate = (statistics.median(map(f, late)) - statistics.median(map(f, early))) / span_s
        assert detector.rate_hz_s == rate


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_rate_of_exactly_the_limit_is_inside(sign: float) -> None:
    seen = exactly(lambda t: 50.0 + sign * 6.0 * t, 1.0)
    assert seen[-1][2].rate_hz_s == sign * 6.0
    assert all((d.since, d.held_s) == (math.inf, 0.0) for _, _, d in seen)


@pytest.mark.usefixtures("exact")
def test_it_runs_away_once_it_has_lasted_for_exactly_the_hold() -> None:
    seen = exactly(lambda t: 50.0 + 8.0 * t, 1.0)
    since = next(t for t, _, d in seen if d.since < math.inf)
    assert next(t for t, told, _ in seen if told) == since + 0.25


@pytest.mark.parametrize("what", ["jump_deg", "v_change_pu"])
def test_what_is_shown_stays_for_a_second_after_the_last_one_as_large(what: str) -> None:
    detector, shown_at = PassiveDetector(), []
    for k in range(1, 4 * 128):
        t = k / 128.0
        disturbed = k in (128, 192)  # at 1.0 s and, no larger, at 1.5 s
        f, v = (51.0, 1.0) if disturbed and what == "jump_deg" else (50.0, 1.0)
        if disturbed and what == "v_change_pu":
            v = 1.25
        if k in (129, 193):
            detector._v_pu = 1.0  # or the slow mean would still hold a little of it
        detector.step(t, [] if k == 192 + 129 else [GridSample(t, (v, v, v), f)])  # forgotten without a sample too
        if getattr(detector, what) != 0.0:
            shown_at.append(k)
    assert (shown_at[0], shown_at[-1]) == (128, 192 + 128)
