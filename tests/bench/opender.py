"""Rows: what a step of protection and support costs for every profile, beside OpenDER on the same series.

Ours is stepped as guard does it: one sample of the pilot MCU a tick, one of the converter every fifth. The series is a
day in short: a voltage and a frequency that wander, with sags, swells, frequency events and trips in between. OpenDER
knows 60 Hz only: for a profile of 50 Hz it gets the same deviations around its own nominal. It runs with the functions
that the profile switches on, as far as it has them.
"""

from __future__ import annotations

import gc
import math
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
ROUNDS = 5
_ON = (GridState.CONNECTED, GridState.RIDING_THROUGH, GridState.CEASED)

Point = tuple[float, tuple[float, float, float], float]  # t, V pu, deviation of frequency in Hz


# In every twelve seconds: (from s, to s, V pu, deviation of Hz), 1.6 s in all.
EVENTS = ((3.0, 3.4, 0.7, 0.0), (6.0, 6.2, 1.13, 0.0), (8.0, 8.5, 1.0, -1.3), (10.0, 10.5, 1.0, 0.9))


def event(k: int) -> tuple[float, float] | None:
    """(V pu, deviation of Hz) of the disturbance at tick k; None between them."""
    phase = (k * TICK_S) % 12.0
    return next(((v, df) for begin, end, v, df in EVENTS if begin <= phase < end), None)


def series(count: int, seed: int = 1) -> list[Point]:
    """`count` ticks of a voltage and a frequency that wander, with a sag, a swell and two excursions of frequency."""
    rng = random.Random(seed)
    v0 = f0 = 0.0
    found = []
    for k in range(count):
        v0 += 0.05 * (rng.gauss(0.0, 0.004) - 0.02 * v0)
        f0 += 0.05 * (rng.gauss(0.0, 0.008) - 0.02 * f0)
        v, df = event(k) or (1.0, 0.0)
        found.append((k * TICK_S, (v + v0, v + v0 + 0.002, v + v0 - 0.002), df + f0))
    return found


def ready(code: GridCode) -> tuple[GridProtection, GridSupport]:
    """In service, and the ramp after entering it is over, as OpenDER begins (STATUS_INIT): both at full power."""
    protection = GridProtection(code, CHAIN)
    support = GridSupport(settings_of(code, RATED_W), capability_of(code, RATED_W))
    step_s = 0.09  # inside of both age limits
    count = int((code.enter_service.delay_s.value + opender_model.ramp_s(code) + 2.0) / step_s)
    served = False
    for k in range(-count, 0):
        t = k * step_s
        sample = GridSample(t, (1.0, 1.0, 1.0), code.nominal_f_hz)
        status = protection.step(t, [sample], [sample], converter_expected=True)
        if status.state in _ON:
            if not served:
                support.enter_service(t)
                served = True
            support.step(t, sample.v_pu, sample.f_hz, P_SET_W, service_pu=status.power_limit_pu)
    if status.state not in _ON or status.power_limit_pu < 1.0:
        raise ValueError(
            f"{code.name}: still {status.state.value} at {status.power_limit_pu:g} pu after delay and ramp"
        )
    return protection, support


def ours(code: GridCode, points: Sequence[Point], pilot_samples: int = 1) -> list[float]:
    """Seconds of each step, both parts. pilot_samples: 2 = one 5 ms before, as the charger's pilot MCU reports."""
    protection, support = ready(code)
    spent = []
    for k, (t, v, df) in enumerate(points):
        sample = GridSample(t, v, code.nominal_f_hz + df)
        pilot = [sample._replace(t=t - TICK_S / 2.0), sample] if pilot_samples == 2 else [sample]
        converter = [sample] if k % 5 == 0 else []
        start = time.perf_counter()
        status = protection.step(t, pilot, converter, converter_expected=True)
        if status.state in _ON:
            support.step(t, v, sample.f_hz, P_SET_W, service_pu=status.power_limit_pu)
        spent.append(time.perf_counter() - start)
    return spent


def theirs(code: GridCode, points: Sequence[Point]) -> list[float]:
    model = opender_model.build(code, settings_of(code, RATED_W), RATED_W, chain=CHAIN)
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
    """Both take turns over the same series. A step does the same work in every round, so the fastest of its rounds is
    what its code costs; the others also say how busy the machine was, and the longer step is interrupted more often."""
    never = [math.inf] * len(points)
    own, two, their = never, never, never
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()  # as in guard
    try:
        for _ in range(ROUNDS):
            own = list(map(min, own, ours(code, points)))
            their = list(map(min, their, theirs(code, points)))
            two = list(map(min, two, ours(code, points, 2)))
    finally:
        if enabled:
            gc.enable()
    disturbed = [event(k) is not None for k in range(len(points))]
    figures, yardstick = _figures(own), _figures(their)
    times = yardstick["mean"] / figures["mean"]
    parts = []
    for name, part in (("calm", False), ("disturbed", True)):
        a, b = (_figures([s for s, d in zip(x, disturbed, strict=True) if d is part]) for x in (their, own))
        parts.append(f"{name} {a['mean'] / b['mean']:.1f}")
    parts.append(f"median {yardstick['median'] / figures['median']:.1f}")
    parts.append(f"two pilot samples a tick {yardstick['mean'] / _figures(two)['mean']:.1f}")
    met = times >= AT_LEAST
    return Row(
        f"step of {code.name}",
        "us a step; steps/s",
        figures,
        "OpenDER, same series",
        yardstick,
        ratio_of="mean",
        note=f"{times:.1f} times as many steps per second ({', '.join(parts)}); at least {AT_LEAST:g} times: "
        f"{'met' if met else 'NOT met'}.",
        missed="" if met else f"{code.name}: {times:.1f} times OpenDER, not {AT_LEAST:g}",
    )


def _figures(spent: list[float]) -> dict[str, float]:
    mean = sum(spent) / len(spent)
    return {
        "median": quantile(spent, 0.5) * 1e6,
        "p99": quantile(spent, 0.99) * 1e6,
        "mean": mean * 1e6,
        "per_s": 1.0 / mean,
    }
