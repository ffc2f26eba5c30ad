"""Rows: what a step of protection and support costs for every profile, beside OpenDER on the same series.

Ours is stepped as guard does it: one sample of the pilot MCU a tick, one of the converter every fifth. The series is a
day in short: a voltage and a frequency that wander, with sags, swells, frequency events and trips in between. OpenDER
knows 60 Hz only: for a profile of 50 Hz it gets the same deviations around its own nominal. It runs with the functions
that the profile switches on, as far as it has them.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Sequence

from firmware.grid_codes import Chain, GridCode, inspect, load, names
from firmware.grid_support.compose import GridSupport
from firmware.grid_support.settings import capability_of, settings_of
from firmware.protection.grid import GridProtection
from firmware.protection.types import GridSample, GridState
from tests.bench import opender_model
from tests.bench.harness import Row, quantile

CHAIN = Chain(0.010, 0.005, 0.010, 0.020, 0.030)  # a fast board: every profile can keep its times
RATED_W = 22_000.0
P_SET_W = -10_000.0
TICK_S = 0.01
AT_LEAST = 20.0  # times faster
_ON = (GridState.CONNECTED, GridState.RIDING_THROUGH, GridState.CEASED)

Point = tuple[float, tuple[float, float, float], float]  # t, V pu, deviation of frequency in Hz


def series(count: int, seed: int = 1) -> list[Point]:
    """`count` ticks; in every twelve seconds a sag, a swell and two excursions of frequency, 1.6 s in all."""
    rng = random.Random(seed)
    v0 = f0 = 0.0
    found = []
    for k in range(count):
        v0 += 0.05 * (rng.gauss(0.0, 0.004) - 0.02 * v0)
        f0 += 0.05 * (rng.gauss(0.0, 0.008) - 0.02 * f0)
        phase = (k * TICK_S) % 12.0
        v = 0.7 if 3.0 <= phase < 3.4 else 1.13 if 6.0 <= phase < 6.2 else 1.0
        df = -1.3 if 8.0 <= phase < 8.5 else 0.9 if 10.0 <= phase < 10.5 else 0.0
        found.append((k * TICK_S, (v + v0, v + v0 + 0.002, v + v0 - 0.002), df + f0))
    return found


def ready(code: GridCode) -> tuple[GridProtection, GridSupport]:
    """In service: the wait is over, so that power flows and every function works."""
    protection = GridProtection(code, CHAIN)
    support = GridSupport(settings_of(code, RATED_W), capability_of(code, RATED_W))
    t = -2.0 - code.enter_service.delay_s.value
    while protection.state not in _ON:
        sample = GridSample(t, (1.0, 1.0, 1.0), code.nominal_f_hz)
        protection.step(t, [sample], [sample], converter_expected=True)
        t += 0.09
        if t > 0.0:
            raise ValueError(f"{code.name}: still {protection.state.value} after its delay")
    support.enter_service(t)
    return protection, support


def ours(code: GridCode, points: Sequence[Point]) -> list[float]:
    """Seconds of each step, both parts."""
    protection, support = ready(code)
    spent = []
    for k, (t, v, df) in enumerate(points):
        sample = GridSample(t, v, code.nominal_f_hz + df)
        pilot, converter = [sample], [sample] if k % 5 == 0 else []
        start = time.perf_counter()
        status = protection.step(t, pilot, converter, converter_expected=True)
        if status.state in _ON:
            support.step(t, v, sample.f_hz, P_SET_W, service_pu=status.power_limit_pu)
        spent.append(time.perf_counter() - start)
    return spent


def theirs(code: GridCode, points: Sequence[Point]) -> list[float]:
    model = opender_model.build(code, settings_of(code, RATED_W), RATED_W)
    spent = []
    with opender_model.time_step(TICK_S):
        opender_model.step(model, (1.0, 1.0, 1.0), 60.0, P_SET_W / RATED_W)
        for _, v, df in points:
            volts, f_hz = list(v), 60.0 + df
            start = time.perf_counter()
            model.update_der_input(p_dem_pu=-P_SET_W / RATED_W, v_pu=volts, f=f_hz)
            model.run()
            spent.append(time.perf_counter() - start)
    return spent


def rows(seconds: float) -> list[Row]:
    if not opender_model.installed():
        return [Row("protection and support against OpenDER", skipped=opender_model.MISSING)]
    profiles = []
    for name in names():
        shown = inspect(name)
        if not shown.missing:
            profiles.append(load(name, nominal_v=shown.nominal_v, allow_unverified=True))
    ticks = max(1200, min(6000, int(1200 * seconds / 5.0)))
    points = series(ticks)
    return [_row(code, points) for code in profiles]


def _row(code: GridCode, points: Sequence[Point]) -> Row:
    """Both take turns over blocks of the series' own length; the first round warms up and is not counted."""
    own: list[float] = []
    their: list[float] = []
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()  # as in guard
    try:
        ours(code, points[:200]), theirs(code, points[:200])
        for _ in range(3):
            own += ours(code, points)
            their += theirs(code, points[: len(points) // 2])
    finally:
        if enabled:
            gc.enable()
    figures, yardstick = _figures(own), _figures(their)
    times = yardstick["mean"] / figures["mean"]
    median, p99 = yardstick["median"] / figures["median"], yardstick["p99"] / figures["p99"]
    verdict = "met" if median >= AT_LEAST else "NOT met"
    return Row(
        f"step of {code.name}",
        "us a step; steps/s",
        figures,
        "OpenDER, same series",
        yardstick,
        ratio_of="median",
        note=f"{median:.1f} times faster by the median ({times:.1f} by the mean, {p99:.1f} by the 99th percentile); "
        f"at least {AT_LEAST:g} times: {verdict}.",
    )


def _figures(spent: list[float]) -> dict[str, float]:
    mean = sum(spent) / len(spent)
    return {
        "median": quantile(spent, 0.5) * 1e6,
        "p99": quantile(spent, 0.99) * 1e6,
        "mean": mean * 1e6,
        "per_s": 1.0 / mean,
    }
