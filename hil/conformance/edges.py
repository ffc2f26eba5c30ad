"""Edges of trip stages, found by bisection through the real step function of grid protection.

A `Stand` is a protection that is in service; `run` gives it samples as the charger would get them and says which
element tripped, and how long after the first sample outside. `find_edge` looks for the value at which a stage begins
to trip, without being told the threshold. Pure: time is made here, nothing sleeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from firmware.grid_codes import GridCode, MeanMethod, Quantity, Side, TripSetting
from firmware.protection.types import GridSample, GridState, GridStatus, Source

Volts = tuple[float, float, float]
PHASES: dict[str, tuple[int, ...]] = {"L1": (0,), "L2": (1,), "L3": (2,), "all": (0, 1, 2)}

# How closely an edge is looked for, in the unit of the threshold: far below what any meter resolves.
RESOLUTION = 1e-6
# A short dip back to nominal in every 3-s value, so that a plain stage at the same threshold never times out and the
# stage of the 10-minute mean is alone. Two coarse samples.
MEAN_DIP_S = 0.2
# ROCOF stages must not be woken by the way to a frequency: it is approached at this share of their threshold.
APPROACH_SHARE = 0.4


class Step(Protocol):
    """`GridProtection.step`, or anything that behaves like it."""

    def __call__(
        self, now: float, pilot: Sequence[GridSample], converter: Sequence[GridSample], *, converter_expected: bool
    ) -> GridStatus: ...


class Stand(NamedTuple):
    """Makes equal protections, each in service at time t0 (s) on a good grid, and gives their step function."""

    make: Callable[[], Step]
    t0: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How samples and ticks come: every sample_s, every tick_s; the first bad sample lead_s before a tick.

    Between sparse_from_s and sparse_to_s after the beginning nothing is going to happen but that time passes: samples
    and ticks come there as seldom as the age limit of the pilot MCU's samples allows.
    """

    sample_s: float
    tick_s: float
    lead_s: float = 0.0
    sparse_from_s: float = math.inf
    sparse_to_s: float = math.inf

    def after(self, since_s: float, period_s: float) -> float:
        """How long until the next sample or tick of this period."""
        sparse = self.sparse_from_s <= since_s and since_s + SPARSE_S <= self.sparse_to_s
        return SPARSE_S if sparse else period_s


SPARSE_S = 0.1
# The pilot MCU reports every 5 ms, guard runs at 100 Hz and knows nothing of the MCU's phase.
LEADS_S = (0.001, 0.004, 0.007, 0.010)
FINE = tuple(Pace(0.005, 0.010, lead_s) for lead_s in LEADS_S)
CONVERTER = tuple(Pace(0.050, 0.010, lead_s) for lead_s in LEADS_S)


class Stress(NamedTuple):
    """What the grid does at one moment, and whether it has left the stage's limit."""

    volts: Volts
    f_hz: float
    outside: bool


Stimulus = Callable[[float], Stress]  # of seconds since the last good sample


class Outcome(NamedTuple):
    """The trip (None: there was none) and its time after the first sample outside (nan: there was none)."""

    element: str | None
    source: Source | None
    phase: str
    took_s: float


def _samples(pace: Pace, stimulus: Stimulus, t0: float) -> Iterator[tuple[float, Stress]]:
    since = 0.0
    while True:
        since = round(since + pace.after(since, pace.sample_s), 9)  # no drift that moves a sample over an edge
        yield t0 + since, stimulus(since)


def run(stand: Stand, stimulus: Stimulus, pace: Pace, *, for_s: float, nominal_f_hz: float, source: Source) -> Outcome:
    """Play `stimulus` for `for_s` seconds, or until the first trip.

    source: who sees it. CONVERTER: the pilot MCU goes on to report a good grid, twice a tick.
    """
    step = stand.make()
    by_converter = source is Source.CONVERTER
    coming = _samples(pace, stimulus, stand.t0)
    t, stress = next(coming)
    since = t - stand.t0 + pace.lead_s - pace.after(0.0, pace.tick_s)
    t_pilot, first = stand.t0, math.nan
    while since < for_s:
        period = pace.after(since, pace.tick_s)
        since = round(since + period, 9)
        now = stand.t0 + since
        seen = []
        while t <= now + 1e-9:
            seen.append(GridSample(t, stress.volts, stress.f_hz))
            if stress.outside and math.isnan(first):
                first = t
            t, stress = next(coming)
        good = []
        while by_converter and t_pilot + period / 2.0 <= now + 1e-9:
            t_pilot += period / 2.0
            good.append(GridSample(t_pilot, (1.0, 1.0, 1.0), nominal_f_hz))
        pilot, converter = (good, seen) if by_converter else (seen, [])
        status = step(now, pilot, converter, converter_expected=by_converter)
        if status.state is GridState.TRIPPED:
            trip = status.last_trip
            assert trip is not None
            return Outcome(trip.element, trip.source, trip.phase, now - first)
    return Outcome(None, None, "", math.nan)


# ----------------------------------------------------------------------------------------------------------- stimuli
def beyond(trip: TripSetting, value: float) -> bool:
    """Is `value` outside of the limit that the code states?"""
    limit = trip.threshold.value
    return value > limit if trip.side is Side.OVER else value < limit


def _on(phases: tuple[int, ...], value: float) -> Volts:
    a, b, c = (value if k in phases else 1.0 for k in range(3))
    return a, b, c


def slowest_rocof(code: GridCode) -> float | None:
    """Hz/s of the most sensitive ROCOF stage; None when the code has none."""
    return min((t.threshold.value for t in code.trips if t.quantity is Quantity.ROCOF), default=None)


def way_s(code: GridCode, value_hz: float) -> float:
    """How long the way from nominal to this frequency takes (s); 0 where it may be jumped."""
    rate = slowest_rocof(code)
    return 0.0 if rate is None else abs(value_hz - code.nominal_f_hz) / (APPROACH_SHARE * rate)


def voltage(code: GridCode, trip: TripSetting, value: float, phases: tuple[int, ...]) -> Stimulus:
    """The voltage jumps to `value` (pu) on `phases` and stays."""
    stress = Stress(_on(phases, value), code.nominal_f_hz, beyond(trip, value))
    return lambda _: stress


def frequency(code: GridCode, trip: TripSetting, value: float) -> Stimulus:
    """The frequency goes to `value` (Hz) and stays: in a jump, or slowly where the code has a ROCOF stage."""
    nominal, way = code.nominal_f_hz, way_s(code, value)

    def at(t: float) -> Stress:
        f = value if t >= way else nominal + (value - nominal) * t / way
        return Stress((1.0, 1.0, 1.0), f, beyond(trip, f))

    return at


def mean(code: GridCode, value: float, phases: tuple[int, ...], t0: float) -> Stimulus:
    """Every 3-s value is `value` (pu) on `phases`, with a dip to nominal at the beginning of each; t0: of the stand.

    Outside from the moment when the mean of a whole window has the value.
    """
    assert code.mean_10min is not None
    interval = code.mean_10min.interval_s.value
    up = interval - MEAN_DIP_S
    if code.mean_10min.method is MeanMethod.RMS:
        high = math.sqrt((value * value * interval - MEAN_DIP_S) / up)
    else:
        high = (value * interval - MEAN_DIP_S) / up
    # The first 3-s value that is wholly bad; one that had only its dip behind it counts.
    begin = (math.floor((t0 - MEAN_DIP_S) / interval) + 1.0) * interval
    full = begin + code.mean_10min.window_s.value - t0 - 1e-6
    bad, dip = _on(phases, high), (1.0, 1.0, 1.0)

    def at(t: float) -> Stress:
        return Stress(dip if (t0 + t + 1e-6) % interval < MEAN_DIP_S else bad, code.nominal_f_hz, t >= full)

    return at


def rocof(code: GridCode, trip: TripSetting, rate: float, rising: bool) -> Stimulus:
    """A ramp of `rate` (Hz/s, positive) through the whole band that the frequency stages leave, then it stays there.

    The band's other end is approached slowly, held for a second, and left with the ramp.
    """
    lo, hi = frequency_band(code)
    margin = 0.02
    start, end = (lo + margin, hi - margin) if rising else (hi - margin, lo + margin)
    t_ramp = round(way_s(code, start) + 1.0, 3)
    nominal = code.nominal_f_hz

    def at(t: float) -> Stress:
        if t <= t_ramp:
            f = start if t >= t_ramp - 1.0 else nominal + (start - nominal) * t / (t_ramp - 1.0)
            return Stress((1.0, 1.0, 1.0), f, False)
        moved = min(rate * (t - t_ramp), abs(end - start))
        return Stress((1.0, 1.0, 1.0), start + math.copysign(moved, end - start), True)

    return at


def frequency_band(code: GridCode) -> tuple[float, float]:
    """(lowest, highest) Hz that no frequency stage minds."""
    stages = [t for t in code.trips if t.quantity is Quantity.FREQUENCY]
    lo = max((t.threshold.value for t in stages if t.side is Side.UNDER), default=code.nominal_f_hz - 3.0)
    hi = min((t.threshold.value for t in stages if t.side is Side.OVER), default=code.nominal_f_hz + 3.0)
    return lo, hi


# ----------------------------------------------------------------------------------------------------------- bisection
class Edge(NamedTuple):
    """The last value that does not trip the stage, and the next that does, RESOLUTION or less apart."""

    inside: float
    outside: float


def find_edge(trips: Callable[[float], bool], inside: float, outside: float) -> Edge | None:
    """Where `trips` turns from False to True between two values; None when it does not do so at these two."""
    if trips(inside) or not trips(outside):
        return None
    while abs(outside - inside) > RESOLUTION:
        middle = (inside + outside) / 2.0
        if trips(middle):
            outside = middle
        else:
            inside = middle
    return Edge(inside, outside)


def span(code: GridCode, trip: TripSetting) -> tuple[float, float]:
    """(nominal, a value well outside of this stage and inside of the next): between them the edge is looked for."""
    over, limit = trip.side is Side.OVER, trip.threshold.value
    if trip.quantity is Quantity.ROCOF:
        return 0.05 * limit, 2.0 * limit
    further = [
        t.threshold.value
        for t in code.trips
        if t.quantity is trip.quantity and t.side is trip.side and beyond(trip, t.threshold.value)
    ]
    reach = 2.0 if trip.quantity is Quantity.FREQUENCY else 0.1
    far = limit + reach if over else limit - reach
    if further:
        nearest = min(further) if over else max(further)
        far = (limit + nearest) / 2.0
    nominal = code.nominal_f_hz if trip.quantity is Quantity.FREQUENCY else 1.0
    return nominal, max(far, 0.0)
