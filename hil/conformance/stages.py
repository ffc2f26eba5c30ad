"""Every trip stage of a profile measured at its edges, and the verdict on what was measured.

`measure` finds the threshold by bisection on each phase alone and on all together, holds the grid just inside of it
for twice the delay, and times the trip just outside of it, for several positions of the samples against guard's ticks.
`problems` compares that with what the code says; it is pure and knows nothing of how the result came about.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from firmware.grid_codes import (
    Chain,
    ClearingMax,
    DelayMinAndDisconnectMax,
    GridCode,
    Quantity,
    RelaySetting,
    TripSetting,
    internal_delay,
)
from firmware.protection.channel import source_delay
from firmware.protection.grid import GridProtection
from firmware.protection.sense import LATE_S
from firmware.protection.types import GridSample, GridState, GridStatus, Source
from hil.conformance import edges
from hil.conformance.edges import CONVERTER, FINE, PHASES, RESOLUTION, SPARSE_S, Edge, Pace, Stand, Stimulus

_ON = (GridState.CONNECTED, GridState.RIDING_THROUGH, GridState.CEASED)
# Stages that wait longer are not driven with samples every 5 ms all the way: 300 s are 60 000 of them.
LONG_S = 5.0
AROUND_S = 1.0  # but so long after the quantity has left its limit, and so long before the trip is due
# Where one run lasts this long, the search begins where the edge is said to be, and widens tenfold until it is found.
NEAR_S = 60.0
SEARCH_SAMPLES = 16  # in the delay, while the threshold is looked for
# How late a trip may be seen by what drives it: rounding of sample times.
_SLACK_S = 1e-4
# ROCOF stages measure over windows of their own (firmware/protection/rocof.py), on top of their delay.
ROCOF_WINDOWS_S = 0.150


@dataclass(frozen=True, slots=True)
class Measured:
    """One stage by one source. `edge`: of each phase alone and of all ("rising", "falling" for a rate of change).

    took_s: shortest and longest time from the first sample outside to the decision. in_vain: where it tripped although
    the grid was just inside. wrong: what tripped in its place, with where.
    """

    trip: TripSetting
    source: Source
    delay_s: float
    edge: dict[str, Edge | None]
    took_s: tuple[float, float] | None
    in_vain: tuple[str, ...]
    wrong: tuple[str, ...]
    whole_s: float  # begin of the condition to contactor open, at worst
    tick_s: float  # how far apart the steps were when it was timed


def connected(code: GridCode, chain: Chain) -> Stand:
    """Protections of `code` in service after a good grid, with ten minutes of it where the code has a mean."""
    original = GridProtection(code, chain)
    good = (1.0, 1.0, 1.0)
    k = 0
    period_s = SPARSE_S
    least = 0.0 if code.mean_10min is None else code.mean_10min.window_s.value
    while True:
        k += 1
        # Never at the very end of a 3-s value, neither here nor with the fine samples that follow.
        t = k * period_s - 0.048
        status = original.step(t, [GridSample(t, good, code.nominal_f_hz)], [], converter_expected=False)
        if status.state in _ON and t > least:
            break
        if t > 3600.0:
            raise ValueError(f"{code.name} does not enter service on a good grid: {status.reason}")
    shared = {id(x): x for x in (code, chain, *code.trips, code.enter_service, code.mean_10min)}

    def make() -> Callable[..., GridStatus]:
        return copy.deepcopy(original, dict(shared)).step

    return Stand(make, t)


def _stimuli(code: GridCode, trip: TripSetting, stand: Stand) -> dict[str, Callable[[float], Stimulus]]:
    """What is done to the grid, by name: a function of the value."""
    match trip.quantity:
        case Quantity.VOLTAGE:
            return {n: functools.partial(_voltage, code, trip, phases) for n, phases in PHASES.items()}
        case Quantity.VOLTAGE_10MIN:
            return {n: functools.partial(_mean, code, stand.t0, phases) for n, phases in PHASES.items()}
        case Quantity.FREQUENCY:
            return {"": lambda value: edges.frequency(code, trip, value)}
        case Quantity.ROCOF:
            return {
                "rising": lambda value: edges.rocof(code, trip, value, True),
                "falling": lambda value: edges.rocof(code, trip, value, False),
            }


def _voltage(code: GridCode, trip: TripSetting, phases: tuple[int, ...], value: float) -> Stimulus:
    return edges.voltage(code, trip, value, phases)


def _mean(code: GridCode, t0: float, phases: tuple[int, ...], value: float) -> Stimulus:
    return edges.mean(code, value, phases, t0)


def _lead_in_s(code: GridCode, trip: TripSetting, value: float) -> float:
    """From the beginning of a stimulus until the quantity stands at `value`, or has passed through all of its band."""
    match trip.quantity:
        case Quantity.VOLTAGE:
            return 0.0
        case Quantity.VOLTAGE_10MIN:
            assert code.mean_10min is not None
            return code.mean_10min.window_s.value + 2.0 * code.mean_10min.interval_s.value
        case Quantity.FREQUENCY:
            return edges.way_s(code, value)
        case Quantity.ROCOF:
            lo, hi = edges.frequency_band(code)
            return max(edges.way_s(code, f) for f in (lo, hi)) + 1.0 + (hi - lo) / value


def _paces(code: GridCode, trip: TripSetting, delay_s: float, source: Source, fine: bool) -> tuple[Pace, list[Pace]]:
    """(how to look for the threshold, how to time the trip: all positions against the ticks, or one)."""
    timing = list(CONVERTER if source is Source.CONVERTER else FINE)
    if trip.quantity is Quantity.VOLTAGE_10MIN:
        assert code.mean_10min is not None
        end = code.mean_10min.window_s.value - AROUND_S
        return Pace(SPARSE_S, SPARSE_S), [replace(timing[0], sparse_from_s=0.0, sparse_to_s=end)]
    if delay_s > LONG_S and not fine:
        timing = [replace(timing[0], sparse_from_s=AROUND_S, sparse_to_s=delay_s - AROUND_S)]
    if trip.quantity is Quantity.ROCOF:
        return timing[0], timing
    period_s = min(max(delay_s / SEARCH_SAMPLES, timing[0].sample_s), 0.9 * SPARSE_S)
    return Pace(period_s, period_s), timing


def measure(
    code: GridCode, trip: TripSetting, chain: Chain, stand: Stand, source: Source, *, fine: bool = False
) -> Measured:
    """fine: drive also the stages that wait for long with samples every 5 ms, everywhere (slow)."""
    delay_s = source_delay(trip, internal_delay(trip, chain), source)
    search, timing = _paces(code, trip, delay_s, source, fine)
    stimuli = _stimuli(code, trip, stand)
    if source is Source.CONVERTER and "all" in stimuli:
        stimuli = {"all": stimuli["all"]}

    def outcome(at: Callable[[float], Stimulus], value: float, pace: Pace, times: float) -> edges.Outcome:
        for_s = _lead_in_s(code, trip, value) + times * delay_s + 0.3
        return edges.run(stand, at(value), pace, for_s=for_s, nominal_f_hz=code.nominal_f_hz, source=source)

    found: dict[str, Edge | None] = {}
    took: list[float] = []
    in_vain: list[str] = []
    wrong: list[str] = []
    for name, at in stimuli.items():
        inside, outside = edges.span(code, trip)

        @functools.cache
        def trips(value: float, at: Callable[[float], Stimulus] = at) -> bool:
            return outcome(at, value, search, 1.0).element == trip.id

        if trip.quantity is Quantity.VOLTAGE_10MIN or delay_s > NEAR_S:
            inside, outside = _bracket(trips, trip) or (inside, outside)
        found[name] = edge = edges.find_edge(trips, inside, outside)
        if edge is None:
            seen = outcome(at, outside, search, 1.0)
            wrong.append(f"{name} {seen.element or 'nothing'} trips in its place".strip())
            continue
        held = outcome(at, edge.inside, timing[0] if fine else search, 2.0)
        if held.element is not None and (held.element == trip.id or not _excused(code, trip, held.element)):
            in_vain.append(f"{name}: {held.element}")
        for pace in timing if name not in PHASES or name == "all" else timing[:1]:
            done = outcome(at, edge.outside, pace, 1.0)
            if done.element != trip.id or done.source is not source or not _right_phase(name, done.phase):
                wrong.append(f"{name} {done.element or 'nothing'} {done.phase} trips in its place".strip())
            else:
                took.append(done.took_s)
    before = (chain.measure_window_s if "voltage" in trip.quantity.value else chain.frequency_window_s) + LATE_S[source]
    after = chain.converter_off_s + chain.contactor_open_s
    whole = before + chain.report_period_s + max(took, default=float("nan")) + after
    span = (min(took), max(took)) if took else None
    tick_s = max(pace.tick_s for pace in timing)
    return Measured(trip, source, delay_s, found, span, tuple(in_vain), tuple(wrong), whole, tick_s)


def _bracket(trips: Callable[[float], bool], trip: TripSetting) -> tuple[float, float] | None:
    """Two values around the limit, one that does not trip and one that does, as near to it as they come."""
    limit, sign = trip.threshold.value, 1.0 if trip.side.value == "over" else -1.0
    width = RESOLUTION / 2.0
    while width < 0.05:
        if not trips(limit - sign * width) and trips(limit + sign * width):
            return limit - sign * width, limit + sign * width
        width *= 10.0
    return None


def _right_phase(name: str, phase: str) -> bool:
    return phase == name if name not in ("all", "") else True


def _excused(code: GridCode, trip: TripSetting, element: str) -> bool:
    """Just inside of one stage a milder one of the same quantity may trip, once its own time is over."""
    other = code.trip(element)
    return other.quantity is trip.quantity and other.side is trip.side and edges.beyond(other, trip.threshold.value)


def problems(measured: Measured) -> tuple[str, ...]:
    """What is not as the code says, one phrase each; () = all of it is."""
    trip = measured.trip
    limit = trip.threshold.value
    found = [*measured.wrong, *(f"trips just inside ({where})" for where in measured.in_vain)]
    for name, edge in measured.edge.items():
        if edge is not None and not min(edge) - 2 * RESOLUTION <= limit <= max(edge) + 2 * RESOLUTION:
            found.append(f"{name} trips from {edge.outside:.6f}, the code says {limit:.6f}".strip())
    if measured.took_s is None:
        return (*found, "never trips")
    first, last = measured.took_s
    match trip.time:
        case RelaySetting(delay):
            own = ROCOF_WINDOWS_S if trip.quantity is Quantity.ROCOF else 0.0
            if first < delay.value - _SLACK_S:
                found.append(f"trips after {first:.3f} s, the relay is set to {delay.value:g} s")
            if last > delay.value + own + measured.tick_s + _SLACK_S:
                found.append(f"trips after {last:.3f} s, more than a tick later than {delay.value:g} s")
        case ClearingMax(maximum):
            if measured.whole_s > maximum.value + _SLACK_S:
                found.append(f"open after {measured.whole_s:.3f} s, to be cleared by {maximum.value:g} s")
        case DelayMinAndDisconnectMax(minimum, maximum):
            if minimum is not None and first < minimum.value - _SLACK_S:
                found.append(f"trips after {first:.3f} s, not before {minimum.value:g} s")
            if measured.whole_s > maximum.value + _SLACK_S:
                found.append(f"open after {measured.whole_s:.3f} s, to be off by {maximum.value:g} s")
    return tuple(found)


def sources_of(trip: TripSetting, chain: Chain) -> Iterable[Source]:
    """The pilot MCU always; the converter where it waits differently."""
    yield Source.PILOT
    delay_s = internal_delay(trip, chain)
    if source_delay(trip, delay_s, Source.CONVERTER) != delay_s:
        yield Source.CONVERTER
