"""The accuracy of measurement on signals whose true values are known: `python -m tests.measurement.accuracy` writes
the tables of docs/measurement.md again. Every row is held to its limits by tests/measurement/test_accuracy.py."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from firmware.measurement.harmonics import HarmonicMeter
from firmware.measurement.waveform import WaveformMeter
from tests.measurement.signals import HARMONICS_8_PCT, Signal, constant, ramp, step

STEADY_V_PCT = 1.0
STEADY_F_HZ = 0.010
TWO_LOST_F_HZ = 0.020
STEP_V_PCT = 2.0
STEP_F_HZ = 0.100
STEP_CYCLES = 5
AT_S = 0.0907  # a step comes here: the window is full, and it is no zero crossing
NOISE = 0.005
DOCUMENT = Path(__file__).parents[2] / "docs" / "measurement.md"
RATES_HZ = (3200.0, 10_000.0, 20_000.0)
# Where on the wave a step comes (half a cycle is all there is to try), at which rate.
POINTS_ON_WAVE = (*((3200.0, turn) for turn in (0.0, 45.0, 90.0, 135.0)), (10_000.0, 67.5), (20_000.0, 112.5))


@dataclass(frozen=True)
class Steady:
    """Worst errors of a signal that does not change, over all three sampling rates."""

    name: str
    noise_pu: float
    v_cycle_pct: float  # of nominal
    v_half_pct: float
    f_hz: float
    f_limit_hz: float

    @property
    def ok(self) -> bool:
        return max(self.v_cycle_pct, self.v_half_pct) <= STEADY_V_PCT and self.f_hz <= self.f_limit_hz


@dataclass(frozen=True)
class Step:
    """What follows a step, over all rates and points on wave, looked at every millisecond.

    v_ms, f_ms: time from the (last) step until the error stays within the limits; stray_hz: the farthest that f_hz went
    outside the span from the old to the new frequency; astray_ms: for how long by more than 0.1 Hz; jump_deg: the
    largest jump reported.
    """

    name: str
    noise_pu: float
    v_ms: float
    f_ms: float
    stray_hz: float
    astray_ms: float
    jump_deg: float
    limit_ms: float

    @property
    def ok(self) -> bool:
        return self.v_ms <= self.limit_ms and self.f_ms <= self.limit_ms


def steady_signals() -> list[tuple[str, float, Signal]]:
    """(name, nominal frequency, signal)"""
    noisy = Signal(constant(50.0), noise_pu=NOISE)
    full = replace(noisy, harmonics=HARMONICS_8_PCT)
    rows: list[tuple[str, float, Signal]] = [
        ("50 Hz, pure", 50.0, Signal(constant(50.0))),
        ("50 Hz, noise", 50.0, noisy),
        ("50 Hz, 8 % harmonics", 50.0, full),
    ]
    for f_hz in (45.0, 47.5, 49.02, 51.5, 55.0, 66.0):
        rows.append((f"{f_hz:g} Hz, 8 % harmonics", 50.0, replace(full, cycles=constant(f_hz))))
    for f_hz in (45.0, 57.0, 60.0, 61.2, 66.0):
        rows.append((f"{f_hz:g} Hz at 60 nominal, 8 % harmonics", 60.0, replace(full, cycles=constant(f_hz))))
    off = constant(50.37)
    rows += [
        (
            "unbalance: 1.00, 0.92, 0.85 pu, 0, -6, +5 degrees, 50.37 Hz",
            50.0,
            replace(full, cycles=off, amplitude=(1.0, 0.92, 0.85), angle_deg=(0.0, -6.0, 5.0)),
        ),
        ("DC: 0.5, -0.5, 0.2 % of nominal, 50.37 Hz", 50.0, replace(full, cycles=off, dc_pu=(0.005, -0.005, 0.002))),
        ("L3 lost, 50.37 Hz", 50.0, replace(full, cycles=off, amplitude=(1.0, 1.0, 0.0))),
        ("L2 and L3 lost, 50.37 Hz", 50.0, replace(full, cycles=off, amplitude=(1.0, 0.0, 0.0))),
        ("sag to 0.2 pu, 50.37 Hz", 50.0, replace(full, cycles=off, amplitude=(0.2, 0.2, 0.2), noise_pu=0.001)),
    ]
    return rows


def step_signals() -> list[tuple[str, float, float, float, Signal]]:
    """(name, nominal frequency, frequency before, frequency after, signal)"""
    base = Signal(constant(50.0), noise_pu=NOISE, harmonics=HARMONICS_8_PCT, at_s=AT_S)
    rows: list[tuple[str, float, float, float, Signal]] = []
    for name, before, after in (
        ("sag to 0.5 pu", (1.0,) * 3, (0.5,) * 3),
        ("sag to 0.15 pu", (1.0,) * 3, (0.15,) * 3),
        ("recovery from 0.2 pu", (0.2,) * 3, (1.0,) * 3),
        ("swell to 1.2 pu", (1.0,) * 3, (1.2,) * 3),
        ("L1 to 0.3 pu", (1.0,) * 3, (0.3, 1.0, 1.0)),
        ("L3 lost", (1.0,) * 3, (1.0, 1.0, 0.0)),
        ("L2 and L3 lost", (1.0,) * 3, (1.0, 0.0, 0.0)),
    ):
        signal = replace(base, amplitude=before, then_amplitude=after)  # type: ignore[arg-type]
        rows.append((name, 50.0, 50.0, 50.0, signal))
    for nominal, f_hz, to_hz in ((50.0, 50.0, 50.2), (50.0, 50.0, 51.0), (50.0, 50.0, 47.0), (60.0, 60.0, 62.0)):
        signal = replace(base, cycles=step(f_hz, to_hz, AT_S))
        rows.append((f"{f_hz:g} to {to_hz:g} Hz at {nominal:g} nominal", nominal, f_hz, to_hz, signal))
    for name, angle in (
        ("jump of +20 degrees, all phases", (20.0, 20.0, 20.0)),
        ("jump of -20 degrees, all phases", (-20.0, -20.0, -20.0)),
        ("jump of +60 degrees, all phases", (60.0, 60.0, 60.0)),
        ("jump of +60 degrees, L1", (60.0, 0.0, 0.0)),
        ("jump of -60 degrees, L2", (0.0, -60.0, 0.0)),
    ):
        rows.append((name, 50.0, 50.0, 50.0, replace(base, then_angle_deg=angle)))
    for to_hz in (51.0, 49.0):
        both = replace(base, cycles=step(50.0, to_hz, AT_S), then_angle_deg=(20.0, 20.0, 20.0))
        rows.append((f"jump of +20 degrees and 50 to {to_hz:g} Hz", 50.0, 50.0, to_hz, both))
    sag_and_jump = replace(base, then_amplitude=(0.4, 0.4, 1.0), then_angle_deg=(-20.0, 10.0, 0.0))
    rows.append(("fault L1-L2: 0.4 pu and -20, +10 degrees", 50.0, 50.0, 50.0, sag_and_jump))
    for name, lasts_s, size, angle in (
        ("20 ms", 0.020, (1.0,) * 3, (20.0,) * 3),
        ("30 ms at 0.5 pu", 0.030, (0.5,) * 3, (20.0,) * 3),
        ("50 ms at 0.5 pu", 0.050, (0.5,) * 3, (-20.0,) * 3),
        ("70 ms at 0.3 pu in L2", 0.070, (1.0, 0.3, 1.0), (0.0, 30.0, 0.0)),
    ):
        short = replace(base, then_amplitude=size, then_angle_deg=angle, until_s=AT_S + lasts_s)  # type: ignore[arg-type]
        row = f"fault of {name}, {max(angle, key=abs):+g} degrees and back"
        rows.append((row, 50.0, 50.0, 50.0, short))
    return rows


def steady(name: str, nominal_hz: float, signal: Signal) -> Steady:
    cycle = half = f = 0.0
    true_hz = float(signal.cycles(np.array([1.0]))[0])
    for fs_hz in RATES_HZ:
        records = WaveformMeter(fs_hz, nominal_hz, 230.0).feed(signal.samples(fs_hz, 1.0))
        for record in records:
            if math.isnan(record.f_hz):  # its window is still filling
                continue
            cycle = max(cycle, _v_error_pct(record.v_cycle_v, signal, False))
            half = max(half, _v_error_pct(record.v_half_v, signal, False))
            f = max(f, abs(record.f_hz - true_hz))
    # With two phases lost a third of the positive sequence is left, and the same noise weighs three times as much.
    f_limit_hz = TWO_LOST_F_HZ if signal.amplitude.count(0.0) == 2 else STEADY_F_HZ
    return Steady(name, signal.noise_pu, cycle, half, f, f_limit_hz)


def stepped(name: str, nominal_hz: float, before_hz: float, after_hz: float, signal: Signal) -> Step:
    v_ms = f_ms = stray = jump = 0.0
    longest = 0
    low, high = sorted((before_hz, after_hz))
    lasts = math.isfinite(signal.until_s)
    settle_from_s = signal.until_s if lasts else AT_S
    for fs_hz, turn_deg in POINTS_ON_WAVE:
        turned = _turned(signal, turn_deg)
        astray = 0
        meter = WaveformMeter(fs_hz, nominal_hz, 230.0, update_s=0.001)
        for record in meter.feed(turned.samples(fs_hz, settle_from_s + 0.12)):
            if record.t_s < AT_S:
                continue
            since_ms = (record.t_s - settle_from_s) * 1000.0
            if not _v_error_pct(record.v_cycle_v, turned, not lasts) <= STEP_V_PCT:
                v_ms = max(v_ms, since_ms)
            if not abs(record.f_hz - after_hz) <= STEP_F_HZ:  # so that nan counts as not settled
                f_ms = max(f_ms, since_ms)
            if not math.isnan(record.f_hz):
                outside = max(low - record.f_hz, record.f_hz - high)
                stray = max(stray, outside)
                astray += outside > STEP_F_HZ  # records, one a millisecond
                jump = record.jump_deg if abs(record.jump_deg) > abs(jump) else jump
        longest = max(longest, astray)
    limit_ms = STEP_CYCLES * 1000.0 / nominal_hz
    return Step(name, signal.noise_pu, v_ms, f_ms, stray, float(longest), jump, limit_ms)


def _turned(signal: Signal, turn_deg: float) -> Signal:
    """The same signal, the step at another point on the wave."""
    a, b, c = signal.angle_deg
    x, y, z = signal.then_angle_deg or signal.angle_deg
    before, after = (a + turn_deg, b + turn_deg, c + turn_deg), (x + turn_deg, y + turn_deg, z + turn_deg)
    return replace(signal, angle_deg=before, then_angle_deg=after)


def rocof_error_hz_s(hz_s: float) -> tuple[float, float]:
    """Worst error of the two windows while the frequency ramps, from the time on when the ramp fills them."""
    slow = fast = 0.0
    signal = Signal(ramp(50.0, hz_s, AT_S), noise_pu=NOISE, harmonics=HARMONICS_8_PCT)
    for fs_hz in RATES_HZ:
        for record in WaveformMeter(fs_hz, 50.0, 230.0).feed(signal.samples(fs_hz, 1.0)):
            if record.t_s >= AT_S + 0.6:
                slow = max(slow, abs(record.rocof_hz_s - hz_s))
            if record.t_s >= AT_S + 0.2:
                fast = max(fast, abs(record.rocof_fast_hz_s - hz_s))
    return slow, fast


def harmonic_errors(f_hz: float, fs_hz: float) -> tuple[float, float, int]:
    """(worst error of any order in % of the fundamental, worst error of THD in points of %, highest order)"""
    orders = {h: 0.01 + 0.001 * (h % 5) for h in (2, 3, 5, 7, 11, 13, 17, 19, 23, 25, 29, 31, 35, 37, 40)}
    worst = thd = 0.0
    highest = min(40, int(0.42 * fs_hz / f_hz))
    present = {h: share for h, share in orders.items() if h <= highest}
    signal = Signal(constant(f_hz), harmonics=present, noise_pu=0.001, dc_pu=(0.01, 0.0, -0.01))
    for window in HarmonicMeter(fs_hz, 50.0, 230.0).feed(signal.samples(fs_hz, 1.0)):
        for phase in range(3):
            true_thd = math.sqrt(sum(share * share for share in present.values()))
            thd = max(thd, 100.0 * abs(window.thd[phase] - true_thd))
            for h in range(1, window.highest + 1):
                true = 1.0 if h == 1 else present.get(h, 0.0)
                worst = max(worst, 100.0 * abs(window.order_v[phase][h] / 230.0 - true))
    return worst, thd, highest


def random_faults(count: int, rng: random.Random) -> list[float]:
    """How far (Hz) the frequency strayed in each of `count` faults with a jump of all phases there and back, sorted."""
    worst = []
    for _ in range(count):
        f_hz = rng.uniform(45.0, 66.0)
        signal = Signal(
            constant(f_hz),
            at_s=AT_S + 0.01,
            until_s=AT_S + 0.01 + rng.uniform(0.02, 0.1),
            then_angle_deg=(rng.choice((-1, 1)) * rng.uniform(5.0, 30.0),) * 3,
            then_amplitude=(rng.uniform(0.3, 1.0),) * 3,
            noise_pu=0.002,
        )
        records = WaveformMeter(6400.0, 50.0, 230.0, update_s=0.002).feed(signal.samples(6400.0, signal.until_s + 0.1))
        worst.append(max(abs(r.f_hz - f_hz) for r in records if not math.isnan(r.f_hz)))
    return sorted(worst)


@functools.cache
def steady_rows() -> tuple[Steady, ...]:
    return tuple(steady(*row) for row in steady_signals())


@functools.cache
def step_row(name: str) -> Step:
    """A quarter of a second of work for a row: who needs a few does not measure all."""
    (row,) = (row for row in step_signals() if row[0] == name)
    return stepped(*row)


def step_rows(*words: str) -> tuple[Step, ...]:
    """All rows whose name has every one of the words."""
    return tuple(step_row(name) for name, *_ in step_signals() if all(word in name for word in words))


@functools.cache
def rocof_rows() -> tuple[tuple[float, float, float], ...]:
    return tuple((hz_s, *rocof_error_hz_s(hz_s)) for hz_s in (0.0, 0.5, -1.0, 2.0, -4.0))


@functools.cache
def harmonic_rows() -> tuple[tuple[float, float, float, float, int], ...]:
    cases = ((50.0, 3200.0), (50.0, 10_000.0), (47.5, 10_000.0), (51.5, 10_000.0), (66.0, 20_000.0))
    return tuple((f_hz, fs_hz, *harmonic_errors(f_hz, fs_hz)) for f_hz, fs_hz in cases)


def steady_table() -> str:
    head = ("Signal", "noise", "v_cycle", "v_half", "frequency", "allowed", "")
    return _table(
        head,
        (
            (
                *(r.name, _noise(r.noise_pu), f"{r.v_cycle_pct:.1f} %", f"{r.v_half_pct:.1f} %"),
                *(f"{1000 * r.f_hz:.0f} mHz", f"{STEADY_V_PCT:g} %, {1000 * r.f_limit_hz:g} mHz", _ok(r.ok)),
            )
            for r in steady_rows()
        ),
    )


def step_table(rows: Iterable[Step] | None = None) -> str:
    head = ("Step", "noise", "V settles in", "f settles in", "allowed", "f strays by", "over 0.1 Hz for", "jump", "")
    return _table(
        head,
        (
            (
                *(r.name, _noise(r.noise_pu), f"{r.v_ms:.0f} ms", f"{r.f_ms:.0f} ms", f"{r.limit_ms:.0f} ms"),
                *(f"{r.stray_hz:.2f} Hz", f"{r.astray_ms:.0f} ms", f"{r.jump_deg:.0f} deg", _ok(r.ok)),
            )
            for r in (step_rows() if rows is None else rows)
        ),
    )


def rocof_table() -> str:
    return _table(
        ("Ramp", "error of rocof_hz_s (0.5 s)", "error of rocof_fast_hz_s (0.1 s)"),
        ((f"{hz_s:g} Hz/s", f"{slow:.3f} Hz/s", f"{fast:.2f} Hz/s") for hz_s, slow, fast in rocof_rows()),
    )


def harmonic_table() -> str:
    return _table(
        ("Frequency", "sampling", "highest order", "worst order, of the fundamental", "THD"),
        (
            (f"{f_hz:g} Hz", f"{fs_hz / 1000:g} kS/s", str(highest), f"{worst:.2f} %", f"{thd:.2f} points")
            for f_hz, fs_hz, worst, thd, highest in harmonic_rows()
        ),
    )


TABLES: dict[str, Callable[[], str]] = {
    "steady": steady_table,
    "steps": step_table,
    "rocof": rocof_table,
    "harmonics": harmonic_table,
}


def table_in(document: str, name: str) -> str:
    """What stands between `<!-- name -->` and `<!-- end -->`. Raises ValueError where there is no such place."""
    _, mark, rest = document.partition(f"<!-- {name} -->\n")
    table, end, _ = rest.partition("<!-- end -->\n")
    if not (mark and end):
        raise ValueError(f"the document has no place for a table between <!-- {name} --> and <!-- end -->")
    return table


def render(document: str) -> str:
    """The document with its tables measured again."""
    for name, measure in TABLES.items():
        mark, old = f"<!-- {name} -->\n", table_in(document, name)
        document = document.replace(mark + old, mark + measure(), 1)
    return document


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _noise(noise_pu: float) -> str:
    return f"{100.0 * noise_pu:g} %"


def _ok(ok: bool) -> str:
    return "ok" if ok else "FAILS"


def _v_error_pct(values: tuple[float, float, float], signal: Signal, after: bool) -> float:
    """Worst of three phases, % of nominal."""
    errors = (abs(v - signal.true_v(phase, after)) for phase, v in enumerate(values))
    return 100.0 * max(errors) / signal.nominal_v


if __name__ == "__main__":
    DOCUMENT.write_text(render(DOCUMENT.read_text()))
