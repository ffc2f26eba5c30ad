"""The active part of anti-islanding in its parts: numbers, slots, pattern, verdicts at their edges."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence

import pytest

from firmware.protection import islanding_active as m
from firmware.protection.islanding_active import PATTERN, PROBE_TAN_PHI, ActiveDetector, Slot
from firmware.protection.types import GridSample, Transfer

V = (1.0, 1.0, 1.0)
D = PROBE_TAN_PHI


def fresh(seed: int = 1, hz: float = 50.0) -> ActiveDetector:
    return ActiveDetector(hz, random.Random(seed))


def drive(
    detector: ActiveDetector,
    f: Callable[[float], float],
    from_s: float,
    to_s: float,
    v: Callable[[float], tuple[float, float, float]] = lambda _t: V,
    told: Callable[[float, float], float] = lambda _t, asked: asked,
) -> list[tuple[float, float]]:
    """Ticks of 10 ms with two samples each, 2 ms late; every tan phi that is asked for, with when it began. told: what
    the converter confirms at a time, given what the probe asks for."""
    changes: list[tuple[float, float]] = []
    for k in range(round(from_s * 100), round(to_s * 100)):
        t, before = k / 100.0, detector.tan_phi
        samples = [GridSample(x, v(x), f(x)) for x in (t - 0.007, t - 0.002)]
        assert not detector.step(t, samples, Transfer(-1.0, told(t, detector.tan_phi)))
        if detector.tan_phi != before:
            changes.append((t, detector.tan_phi))
    return changes


def test_the_numbers_are_those_of_the_document() -> None:
    assert pytest.approx(0.0447, abs=1e-4) == D
    assert (m.CALM_SLOT_S, m.TRIAL_SLOT_S, m.BEGIN_S) == ((0.190, 0.245), 0.200, 0.095)
    assert (m.SETTLE_S, m.WINDOW_S, m.MIN_WINDOW_SAMPLES, m.LAG_S, m.SMEAR_S) == (0.100, 0.085, 8, 0.060, 0.020)
    assert (m.EVENT_HZ, m.EVENT_S, m.EVENT_WINDOW_S, m.MIN_EVENT_SAMPLES) == (0.05, 0.080, 0.040, 4)
    assert (m.SURE_HZ, m.OWN_S) == (0.10, 0.030)
    assert (m.MIN_POWER_PU, m.GAIN_SHARE, m.QF_MAX, m.FAST_HZ) == (0.02, 0.45, 2.5, 12.0)
    assert (m.FAULT_PU, m.MIN_V_PU, m.EXCUSE, m.PAUSE_CALM_S, m.PAUSE_S, m.KEEP_S) == (0.5, 0.3, 0.5, 0.150, 1.0, 0.5)
    assert (
        (3, 0.95, 12.0, math.inf, 0.999),
        (4, 0.95, 0.0, 0.15, 0.7),
        (5, 0.85, 0.0, 0.15, 0.7),
    ) == m.VERDICTS
    assert m.ROW == 5
    assert PATTERN == (1, -1, 1, 1, -1, -1, 1, -1)


@pytest.mark.parametrize("hz", [50.0, 60.0])
def test_the_threshold_is_45_percent_of_what_an_island_of_qf_2_5_answers(hz: float) -> None:
    assert fresh(hz=hz).threshold_hz == pytest.approx(0.45 * hz / (2.0 * 2.5))


def test_a_new_detector_knows_nothing_and_asks_for_nothing() -> None:
    detector = fresh()
    assert (detector.tan_phi, detector.gain_hz, detector.row, detector.t_row) == (0.0, 0.0, 0, math.inf)
    assert not detector.on_trial


def test_on_a_calm_grid_the_sign_alternates_in_slots_of_random_length() -> None:
    """A tick is up to 10 ms late."""
    changes = drive(fresh(), lambda _t: 50.0, 0.0, 40.0)
    assert {abs(tan) for _t, tan in changes} == {D}
    assert all(a * b < 0.0 for (_, a), (_, b) in itertools.pairwise(changes))
    lengths = [b - a for (a, _), (b, _) in itertools.pairwise(changes)]
    assert min(lengths) >= 0.190 - 1e-9
    assert max(lengths) <= 0.256
    assert max(lengths) - min(lengths) > 0.04


def test_first_signs_are_both_drawn() -> None:
    first = {drive(fresh(seed), lambda _t: 50.0, 0.0, 0.05)[0][1] for seed in range(20)}
    assert first == {D, -D}


@pytest.mark.parametrize(("moved_hz", "event"), [(0.045, False), (0.055, True), (-0.055, True)])
def test_the_pattern_begins_95_ms_after_the_frequency_has_moved_by_a_twentieth_of_a_hertz(
    moved_hz: float, event: bool
) -> None:
    detector = fresh()
    drive(detector, lambda _t: 50.0, 0.0, 2.0)
    f = lambda t: 50.0 + (moved_hz if t > 2.0 else 0.0)  # noqa: E731
    changes, begun = [], math.nan
    for k in range(200, 420):
        changes += drive(detector, f, k / 100.0, (k + 1) / 100.0)
        if detector.on_trial and begun != begun:
            begun = k / 100.0
    assert (begun == begun) is event
    if not event:
        return
    assert begun == pytest.approx(2.04, abs=0.011)  # the later window is full of the new frequency
    pattern_s = begun + 0.095
    slots = [pattern_s + 0.2 * k for k in range(len(PATTERN))]
    expected, held = [], dict(enumerate(PATTERN))
    for k, t in enumerate(slots):
        if k == 0 or held[k] != held[k - 1]:
            expected.append((t, held[k] * D))
    seen = [(t, tan) for t, tan in changes if pattern_s - 0.02 <= t <= slots[-1] + 0.02]
    if seen and len(seen) < len(expected):  # its first sign was there already
        expected = expected[1:]
    assert [tan for _t, tan in seen] == pytest.approx([tan for _t, tan in expected])
    assert all(0.0 <= a - b <= 0.0201 for (a, _), (b, _) in zip(seen, expected, strict=True))


def test_after_a_trial_without_a_verdict_it_waits_for_calm_and_goes_on_alternating() -> None:
    detector = fresh()
    drive(detector, lambda _t: 50.0, 0.0, 2.0)
    changes = drive(detector, lambda t: 50.0 + (0.1 if t > 2.0 else 0.0), 2.0, 6.0)
    assert not detector.on_trial
    last = [t for t, _tan in changes if t < 3.75][-1]  # the last slot of the pattern begins about 3.54 s
    after = [t for t, _tan in changes if t > last]
    assert after[0] - last == pytest.approx(0.2, abs=0.03)  # calm long since: no pause is left
    assert all(0.19 - 1e-9 <= b - a <= 0.256 for a, b in itertools.pairwise(after))


def test_a_frequency_that_does_not_come_to_rest_is_waited_for_one_second_at_most() -> None:
    detector = fresh()
    drive(detector, lambda _t: 50.0, 0.0, 2.0)
    changes = drive(detector, lambda t: 50.0 + 1.5 * max(0.0, t - 2.0), 2.0, 6.0)
    gaps = [b - a for (a, _), (b, _) in itertools.pairwise(changes)]
    assert max(gaps) == pytest.approx(1.2, abs=0.03)


# ------------------------------------------------------------------------------------------------------- the verdicts
def judged(
    gain: float, tans: Sequence[float], *, noise: Sequence[float] = (), df: float = 0.0, dtan: float = 0.0,
    spread: float = 0.0, step_s: float = 0.2,
) -> tuple[bool, ActiveDetector]:  # fmt: skip
    """The verdict on slots whose frequency is gain * tan phi on a ramp of 2 Hz/s, with `noise` on it; df, dtan, spread
    of the last slot but one."""
    detector = fresh()
    for k, tan in enumerate(tans):
        f = 50.0 + 2.0 * step_s * k + gain * tan + (noise[k] if noise else 0.0)
        moved = (df, dtan, spread) if k == len(tans) - 2 else (0.0, 0.0, 0.0)
        detector._slots.append(Slot(10.0 + step_s * k, f, tan, *moved))
    return detector._judge(), detector


ALTERNATING = tuple(D * (-1) ** k for k in range(7))


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("gain", "slots", "island"),
    [(4.49, 7, False), (4.51, 6, True), (4.51, 5, False), (11.9, 5, False), (12.1, 5, True), (12.1, 4, False)],
)
def test_three_changes_prove_a_large_gain_and_four_the_threshold(
    gain: float, slots: int, island: bool, sign: float
) -> None:
    found, detector = judged(sign * gain, ALTERNATING[:slots])
    assert found is island
    seen = gain >= detector.threshold_hz
    assert detector.row == (slots - 2 if seen else 0)
    assert detector.gain_hz == pytest.approx(gain if seen else 0.0)
    assert detector.t_row == (10.0 if seen else math.inf)


def test_slots_of_unequal_length_are_compared_at_their_own_times() -> None:
    detector = fresh()
    for t, tan in zip((0.0, 0.19, 0.43, 0.62, 0.86, 1.05), ALTERNATING, strict=False):
        detector._slots.append(Slot(t, 50.0 + 3.0 * t + 5.0 * tan, tan, 0.0, 0.0, 0.0))
    assert detector._judge()
    assert detector.gain_hz == pytest.approx(5.0)


def explained(noise: Sequence[float], gain: float, tans: Sequence[float]) -> float:
    """What the reactive power explains of the frequency, from first principles."""
    t = [b - 0.5 * (a + c) for a, b, c in zip(tans, tans[1:], tans[2:], strict=False)]
    n = [b - 0.5 * (a + c) for a, b, c in zip(noise, noise[1:], noise[2:], strict=False)]
    f = [gain * x + y for x, y in zip(t, n, strict=True)]
    ft = sum(x * y for x, y in zip(t, f, strict=True))
    return ft * ft / (sum(x * x for x in t) * sum(y * y for y in f))


@pytest.mark.parametrize(("changes", "share"), [(3, 0.95), (4, 0.95), (5, 0.85)])
def test_so_much_must_be_explained(changes: int, share: float) -> None:
    """Noise on the last slot but one, as large as the share just permits, and a little more."""
    tans, gain = ALTERNATING[: changes + 2], 13.0 if changes == 3 else 5.5

    def noise(size: float) -> list[float]:
        return [math.copysign(size, tans[k]) if k == changes else 0.0 for k in range(len(tans))]

    lo, hi = 0.0, 20.0 * gain * D
    for _ in range(50):
        middle = 0.5 * (lo + hi)
        lo, hi = (middle, hi) if explained(noise(middle), gain, tans) > share else (lo, middle)
    inside, _ = judged(gain, tans, noise=noise(0.99 * lo))
    outside, detector = judged(gain, tans, noise=noise(1.01 * lo))
    assert inside
    assert not outside
    assert (detector.row < changes) is (share < 0.95)


@pytest.mark.parametrize(("share", "island"), [(0.99, False), (1.01, True)])
@pytest.mark.parametrize(("slots", "steps"), [(5, 1.0), (6, 0.7)])
def test_the_reactive_power_must_have_moved(slots: int, steps: float, share: float, island: bool) -> None:
    """Alternating slots move by twice their size against their neighbours."""
    size = 0.5 * steps * share
    found, _ = judged(15.0 if slots == 5 else 6.0, [size * x for x in ALTERNATING[:slots]])
    assert found is island


@pytest.mark.parametrize(
    ("df", "dtan", "spread", "island"),
    [
        (0.149, 0.0, 0.0, True),  # of the answer, 2 * D * gain
        (0.151, 0.0, 0.0, False),
        (-0.151, 0.0, 0.0, False),
        (0.60, 0.5, 0.0, True),  # what was told moved: the frequency had to
        (0.60, -0.5, 0.0, False),
        (0.66, 0.5, 0.0, False),
        (0.39, 0.0, 0.5, True),  # and may be off by half of that, because nobody knows when
        (0.41, 0.0, 0.5, False),
    ],
)
def test_the_frequency_must_rest_but_for_what_the_reactive_power_did(
    df: float, dtan: float, spread: float, island: bool
) -> None:
    unit = 2.0 * D
    found, _ = judged(6.0, ALTERNATING[:6], df=df * unit * 6.0, dtan=dtan * unit, spread=spread * unit)
    assert found is island


def test_three_large_answers_need_no_rest() -> None:
    found, _ = judged(15.0, ALTERNATING[:5], df=1.0)
    assert found


# ---------------------------------------------------------------------------------------------------------- the slots
def with_slots(seed: int = 1) -> ActiveDetector:
    detector = fresh(seed)
    drive(detector, lambda _t: 50.0, 0.0, 3.0)
    assert len(detector._slots) == m.ROW + 2
    return detector


@pytest.mark.parametrize(("low", "high", "kept"), [(0.31, 0.8, True), (0.29, 0.78, False), (0.55, 1.04, True),
                                                   (0.55, 1.06, False)])  # fmt: skip
def test_a_fault_forgets_every_slot(low: float, high: float, kept: bool) -> None:
    """Any phase, for one sample, anywhere within a slot: below 0.3 pu, or lowest and highest 0.5 pu apart."""
    detector = fresh()
    drive(detector, lambda _t: 50.0, 0.0, 3.0, v=lambda _t: (high, high, high))
    drive(detector, lambda _t: 50.0, 3.0, 3.02, v=lambda _t: (high, low, high))
    drive(detector, lambda _t: 50.0, 3.02, 3.27, v=lambda _t: (high, high, high))
    assert (len(detector._slots) == m.ROW + 2) is kept


def test_samples_that_are_lost_forget_every_slot() -> None:
    detector = with_slots()
    for k in range(300, 326):
        detector.step(k / 100.0, [GridSample(k / 100.0, V, 50.0)] if k % 2 else [], Transfer(-1.0, detector.tan_phi))
    assert not detector._slots


def test_a_slot_that_an_event_cuts_short_costs_itself_only() -> None:
    """The frequency moves just after a change of sign: nothing can be measured until the pattern begins."""
    detector = fresh()
    (*_, (changed, _tan)) = drive(detector, lambda _t: 50.0, 0.0, 3.0)
    kept = list(detector._slots)
    now = 3.0
    while detector.tan_phi == _tan:  # up to the next change
        (changed, _tan), now = (drive(detector, lambda _t: 50.0, now, now + 0.01) or [(changed, _tan)])[-1], now + 0.01
        if changed >= 3.0:
            break
    kept = list(detector._slots)
    drive(detector, lambda t, c=changed: 50.0 + (0.5 if t > c - 0.03 else 0.0), now, changed + 0.13)
    assert detector.on_trial
    assert list(detector._slots) == kept


@pytest.mark.parametrize(("power", "probes"), [(0.019, False), (-0.019, False), (0.021, True), (-0.021, True)])
def test_below_two_percent_of_power_there_is_no_probe(power: float, probes: bool) -> None:
    detector = fresh()
    for k in range(30):
        detector.step(k / 100.0, [GridSample(k / 100.0, V, 50.0)], Transfer(power, 0.0))
    assert bool(detector.tan_phi) is probes


def test_power_that_goes_ends_the_probe_and_forgets() -> None:
    detector = with_slots()
    assert not detector.step(3.0, [], Transfer(0.0, 0.0))
    assert (detector.tan_phi, len(detector._slots)) == (0.0, 0)


def test_a_slot_holds_the_median_frequency_and_what_was_told_60_ms_before() -> None:
    """The frequency rises within the last slot, and what is told changes in the middle of the window as the frequency
    sees it: 60 ms earlier."""
    detector = with_slots()
    end = math.ceil(detector._t_next * 100.0) / 100.0
    change = end - 0.0425 - 0.060
    drive(detector, lambda t: 50.0 + (0.02 if t > end - 0.0425 else 0.0), 3.0, end + 0.01,
          told=lambda t, asked: asked if t < change else asked + 0.02)  # fmt: skip
    slot = detector._slots[-1]
    assert slot.t == pytest.approx(end, abs=0.011)
    assert slot.df_hz == pytest.approx(0.02)
    assert slot.spread_tan == pytest.approx(0.02)
    assert 0.008 < slot.dtan_phi < 0.016  # smeared by 20 ms either way
    assert abs(slot.tan_phi) == pytest.approx(D, abs=0.0151)


# ------------------------------------------------------------------------------- functions that move reactive power
def followed(detector: ActiveDetector, gain: float, extra: Callable[[float], float], until_s: float) -> float:
    """Time of the verdict when the frequency is gain * (probe + extra) of 60 ms ago through a lag of 20 ms."""
    past, f = [0.0] * 6, 50.0
    for k in range(1, round(until_s * 100)):
        t = k / 100.0
        f += (50.0 + gain * past[-6] - f) * 0.4
        total = detector.tan_phi + extra(t)
        if detector.step(t, [GridSample(t - 0.005, V, f), GridSample(t, V, f)], Transfer(-1.0, total)):
            return t
        past.append(detector.tan_phi + extra(t))
    return math.nan


@pytest.mark.parametrize("gain", [10.0, -10.0, 25.0])
def test_a_function_that_moves_the_reactive_power_all_the_time_does_not_hide_the_island(gain: float) -> None:
    """Volt-var on an island: some per cent within half a second, in steps of the register."""

    def extra(t: float) -> float:
        return 0.0158 * round(3.0 * math.sin(2.0 * math.pi * t / 0.9 + 1.0))

    assert all(followed(fresh(seed), gain, extra, 5.0) < 2.5 for seed in range(10))


def test_a_frequency_that_only_follows_what_is_not_told_is_no_island() -> None:
    def f(t: float) -> float:
        return 50.0 + 0.3 * math.sin(2.0 * math.pi * t / 0.9)

    for seed in range(10):
        detector = fresh(seed)
        drive(detector, f, 0.0, 8.0, told=lambda t, asked: asked + 0.02 * math.sin(2.0 * math.pi * t / 0.7))


def test_slots_before_a_long_pause_are_not_joined_to_those_after_it() -> None:
    """A frequency that never comes to rest: swings were taken for an answer across the pause."""
    assert m.APART_S == 0.5
    detector = fresh()
    drive(detector, lambda _t: 50.0, 0.0, 2.0)
    most, least = 0, 99
    for k in range(200, 500):
        drive(detector, lambda t: 50.0 + 1.5 * max(0.0, t - 2.0), k / 100.0, (k + 1) / 100.0)
        if k > 360:
            most, least = max(most, len(detector._slots)), min(least, len(detector._slots))
    assert (most, least) == (m.ROW + 2, 1)


def begun_s(first_hz: float, second_hz: float, second_s: float) -> float:
    """When the trial began whose event is the last of two steps of the frequency, at 2.0 s and at second_s."""
    detector = fresh()
    drive(detector, lambda t: 50.0 + (first_hz if t > 2.0 else 0.0) + (second_hz if t > second_s else 0.0), 0.0, 2.2)
    assert detector._trial in (0, 1)
    return detector._t_next - detector._trial * m.TRIAL_SLOT_S - m.BEGIN_S


@pytest.mark.parametrize("second_s", [2.10, 2.12, 2.15])
def test_an_event_that_others_may_have_missed_gives_way_to_one_that_nobody_misses(second_s: float) -> None:
    """Otherwise a charger alone has begun, and runs the pattern in other slots than all others on the island."""
    assert begun_s(0.06, 0.5, second_s) == pytest.approx(second_s + 0.01, abs=0.002)  # the first tick that can know


@pytest.mark.parametrize(
    ("first_hz", "second_hz", "second_s"),
    [
        (0.11, 0.5, 2.115),  # nobody has missed the first
        (0.06, 0.03, 2.115),  # no event
        (0.06, 0.07, 2.115),  # others may have missed this one too
        (0.06, 0.5, 2.07),  # the same event: the frequency was not at rest between
        (0.06, 0.5, 2.17),  # it may be the answer to the own pattern
    ],
)
def test_a_trial_does_not_begin_again_otherwise(first_hz: float, second_hz: float, second_s: float) -> None:
    assert begun_s(first_hz, second_hz, second_s) == pytest.approx(2.03, abs=0.016)


# --------------------------------------------------------------------------------------------------------- very edges
class Drawn(random.Random):
    """Draws what it is told to: of the sign, and of the length of a slot."""

    def __init__(self, sign: float, slot_s: float = 26 / 128) -> None:
        super().__init__(0)
        self.sign, self.slot_s = sign, slot_s

    def random(self) -> float:
        return self.sign

    def uniform(self, a: float, b: float) -> float:
        assert (a, b) == m.CALM_SLOT_S
        return self.slot_s


@pytest.mark.parametrize(("drawn", "sign"), [(0.0, -1.0), (0.4999, -1.0), (0.5, 1.0), (0.5001, 1.0), (0.9999, 1.0)])
def test_half_of_the_first_signs_are_positive(drawn: float, sign: float) -> None:
    detector = ActiveDetector(50.0, Drawn(drawn))
    assert not detector.step(1.0, [GridSample(1.0, V, 50.0)], Transfer(-1.0, 0.0))
    assert detector.tan_phi == sign * D


def test_a_slot_ends_with_the_tick_at_its_end() -> None:
    """In steps of 1/128 s, which are exact."""
    detector, changes, before = ActiveDetector(50.0, Drawn(0.0)), [], 0.0
    for k in range(1, 300):
        t = k / 128.0
        detector.step(t, [GridSample(t, V, 50.0)], Transfer(-1.0, detector.tan_phi))
        if detector.tan_phi != before:
            changes.append(k)
        before = detector.tan_phi
    assert [b - a for a, b in itertools.pairwise(changes)] == [26] * (len(changes) - 1)
    assert changes[0] == 1


@pytest.mark.parametrize("power", [0.02, -0.02])
def test_at_two_percent_of_power_there_is_a_probe(power: float) -> None:
    detector = fresh()
    detector.step(1.0, [GridSample(1.0, V, 50.0)], Transfer(power, 0.0))
    assert detector.tan_phi != 0.0


def test_no_more_is_remembered_than_may_be_looked_at_however_late_the_clock() -> None:
    detector = fresh()
    drive(detector, lambda _t: 50.0, 1000.0, 1002.0)
    now = 1001.99
    oldest, oldest_told = detector._samples.t[0], detector._told[0][0]
    assert 0.0 <= oldest - (now - m.KEEP_S) < 0.006
    assert 0.0 <= oldest_told - (now - m.WINDOW_S - m.LAG_S - m.SMEAR_S) < 0.011
    assert len(detector._samples.t) == pytest.approx(m.KEEP_S / 0.005, abs=1)


@pytest.mark.parametrize(("early", "late", "event"), [(4, 4, True), (3, 4, False), (4, 3, False)])
def test_an_event_needs_four_samples_before_and_four_after(early: int, late: int, event: bool) -> None:
    detector = fresh()
    detector.step(1.0, [GridSample(1.0, V, 50.0)], Transfer(-1.0, 0.0))
    samples = [GridSample(1.055 - 0.005 * k, V, 50.0) for k in range(early)][::-1]
    samples += [GridSample(1.14 - 0.005 * k, V, 50.2) for k in range(late)][::-1]
    detector.step(1.14, samples, Transfer(-1.0, detector.tan_phi))
    assert detector.on_trial is event


def judged_at_the_limit(monkeypatch: pytest.MonkeyPatch, **limits: float) -> tuple[bool, ActiveDetector]:
    """The verdict on five slots whose numbers are exact in binary: gain 8, all of it explained, 2 probes of movement,
    and a drift of a quarter of the answer of 4 Hz. limits: moved by that much from exactly these."""
    more = {"gain": 0.0, "share": 0.0, "still": 0.0, "steps": 0.0, "threshold": 0.0, **limits}
    verdict = (3, 1.0 + more["share"], 8.0 + more["gain"], 0.25 + more["still"], 2.0 + more["steps"])
    for name, value in (
        ("PROBE_TAN_PHI", 0.25), ("VERDICTS", (verdict,)),
        ("LEAST_SHARE", verdict[1]), ("LEAST_STEPS", verdict[4]),
    ):  # fmt: skip
        monkeypatch.setattr(m, name, value)
    detector = fresh()
    detector.threshold_hz = 8.0 + more["threshold"]
    for k in range(5):
        tan = 0.25 * (-1) ** k
        detector._slots.append(Slot(float(k), 50.0 + 8.0 * tan, tan, 1.0 if k == 2 else 0.0, 0.0, 0.0))
    return detector._judge(), detector


def test_what_is_exactly_at_every_limit_proves_an_island(monkeypatch: pytest.MonkeyPatch) -> None:
    found, detector = judged_at_the_limit(monkeypatch)
    assert found
    assert (detector.row, detector.gain_hz, detector.t_row) == (3, 8.0, 0.0)


TINY = 2.0**-40


@pytest.mark.parametrize(("beyond", "row"), [("gain", 3), ("share", 0), ("steps", 0), ("threshold", 0), ("still", 3)])
def test_a_hair_beyond_any_limit_it_does_not(beyond: str, row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found, detector = judged_at_the_limit(monkeypatch, **{beyond: -TINY if beyond == "still" else TINY})
    assert not found
    assert detector.row == row


def remember(detector: ActiveDetector, samples: Sequence[tuple[float, float]]) -> None:
    """As if these (time, frequency) had been measured."""
    detector._samples.take(math.inf, [GridSample(t, V, f) for t, f in samples], -math.inf)


def test_both_ends_of_a_time_are_told_apart() -> None:
    """Behind its beginning, up to its end."""
    detector = fresh()
    remember(detector, [(x, x) for x in (1.0, 1.25, 2.0, 2.25)])
    assert detector._samples.between(1.0, 2.0) == [1.25, 2.0]
    begin, end = 1.0 - m.LAG_S - m.SMEAR_S, 2.0 - m.LAG_S + m.SMEAR_S
    told = (begin, math.nextafter(begin, 9.0), end, math.nextafter(end, 9.0))
    detector._told.extend((x, k) for k, x in enumerate(told))
    assert detector._told_between(1.0, 2.0) == [1, 2]


def moved(steps: Sequence[tuple[float, float]], until_s: float, monkeypatch: pytest.MonkeyPatch) -> ActiveDetector:
    """In steps of 1/128 s: from each time on the frequency is that much higher, where 1/16 Hz is just an event, 1/8 Hz
    just a sure one, means are over 1/32 s and 1/16 s apart, and an own change counts as own for 1/32 s."""
    for name, value in (
        ("EVENT_HZ", 0.0625), ("SURE_HZ", 0.125), ("EVENT_S", 0.0625), ("EVENT_WINDOW_S", 0.03125), ("OWN_S", 0.03125),
        ("BEGIN_S", 0.09375), ("TRIAL_SLOT_S", 0.1875), ("PAUSE_CALM_S", 0.125), ("PAUSE_S", 1.0),
    ):  # fmt: skip
        monkeypatch.setattr(m, name, value)
    detector = ActiveDetector(50.0, Drawn(0.0))
    for k in range(1, round(until_s * 128) + 1):
        t = k / 128.0
        f_hz = 50.0 + sum(more for from_s, more in steps if t > from_s)
        assert not detector.step(t, [GridSample(t, V, f_hz)], Transfer(-1.0, detector.tan_phi))
    return detector


@pytest.mark.parametrize(("hz", "event", "sure"), [(0.0625, True, False), (0.0625 - TINY, False, False),
                                                   (0.125, True, True), (0.125 - TINY, True, False)])  # fmt: skip
def test_a_movement_of_exactly_the_limit_is_an_event(
    hz: float, event: bool, sure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = moved([(2.0, hz)], 2.0625, monkeypatch)
    assert (detector.on_trial, detector._sure) == (event, sure)


@pytest.mark.parametrize(("v", "fault"), [((1.0, 0.5, 1.0), False), ((1.0, 0.5 - TINY, 1.0), True),
                                          ((0.3, 0.3, 0.3), False), ((0.3 - TINY, 0.3, 0.3), True)])  # fmt: skip
def test_a_voltage_exactly_at_the_limit_is_no_fault(v: tuple[float, float, float], fault: bool) -> None:
    detector = fresh()
    drive(detector, lambda _t: 50.0, 0.0, 3.0, v=lambda _t: v)
    assert (len(detector._slots) == 0) is fault


@pytest.mark.parametrize(("kept", "slots"), [(8, 1), (7, 0)])
def test_a_slot_needs_eight_samples_and_the_one_at_its_end_is_one_of_them(kept: int, slots: int) -> None:
    """In steps of 1/128 s; 26 of them are a slot, of whose last eleven some get no sample."""
    detector = ActiveDetector(50.0, Drawn(0.0))
    for k in range(1, 28):
        t = k / 128.0
        lost = k <= 27 - kept
        detector.step(t, [] if lost else [GridSample(t, V, 50.0)], Transfer(-1.0, detector.tan_phi))
    assert len(detector._slots) == slots


@pytest.mark.parametrize(("later_s", "slots"), [(0.5, 2), (0.5 + TINY, 1)])
def test_slots_half_a_second_apart_are_joined_and_no_further(later_s: float, slots: int) -> None:
    detector = fresh()
    for now in (1.0, 1.0 + later_s):
        detector._t_change, detector._v_lo, detector._v_hi = now - 0.2, 1.0, 1.0
        remember(detector, [(now - 0.005 * k, 50.0) for k in reversed(range(17))])
        detector._told.extend((now - 0.01 * k, D) for k in reversed(range(17)))
        detector._end_slot(now)
    assert len(detector._slots) == slots


def ended(
    samples: Sequence[tuple[float, float]], told: Sequence[tuple[float, float]], changed_s: float, now: float
) -> ActiveDetector:
    """A detector whose slot, begun at changed_s, has ended now, with these frequencies and reactive powers."""
    detector = fresh()
    remember(detector, samples)
    detector._told.extend(told)
    detector._t_change, detector._v_lo, detector._v_hi = changed_s, 1.0, 1.0
    detector._end_slot(now)
    return detector


def test_a_slot_is_halved_by_the_number_of_its_samples_and_told_is_as_late_as_the_frequency() -> None:
    """In steps of 1/128 s; whatever is squared shows which samples were taken."""
    ticks = range(64, 129)
    (slot,) = ended([(k / 128, float(k * k)) for k in ticks], [(k / 128, float(k * k)) for k in ticks], 0.5, 1.0)._slots
    window = [k * k for k in range(118, 129)]  # from 0.915 s on: eleven, the middle after the fifth, at 122/128
    assert slot.f_hz == window[5]
    assert slot.df_hz == (window[7] + window[8]) / 2 - window[2]
    early, late = ([k * k for k in part] for part in (range(107, 117), range(112, 123)))  # 60 ms before, 20 ms around
    assert slot.dtan_phi == pytest.approx(sum(late) / len(late) - sum(early) / len(early))
    assert slot.spread_tan == 122**2 - 107**2


def test_eight_samples_after_the_settling_are_a_slot_and_one_at_its_very_end_is_none_of_them() -> None:
    settled = 0.9 + m.SETTLE_S
    samples = [(settled, 90.0), *((settled + 0.005 * k, 50.0 + k) for k in range(1, 9))]
    told = [(0.9 + 0.01 * k, 0.0) for k in range(12)]
    (slot,) = ended(samples, told, 0.9, samples[-1][0])._slots
    assert slot.f_hz == 54.5
    assert not ended(samples[:-1], told, 0.9, samples[-1][0])._slots
