"""The passive part of anti-islanding: its rate, how long it must last, and what is no rate."""

from __future__ import annotations

import itertools
import math
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
