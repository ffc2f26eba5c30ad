"""Trip tests: every stage at the extremes of its threshold and time, each phase alone and all, repeated.

The charger feeds in, the grid stands just inside of the setting, then steps outside and stays there for the clearing
time and more. Other stages of the same side are moved out of the way where their ranges permit. Judged are the current
(gone in time) and the grid contactor (open in time, and not before the time where the code has a least one).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from firmware.grid_codes import (
    ClearingMax,
    DelayMinAndDisconnectMax,
    GridCodeError,
    Quantity,
    RelaySetting,
    Side,
    TripSetting,
    adjust,
    internal_delay,
)
from hil.conformance.case import CLOSED, OPEN, PHASES, Case, Subject, movable, quick, row_at
from hil.scenarios.schema import GridSegment, Start, Step
from hil.scenarios.verdict import Band, Instant, Must

BEFORE_S = 0.5  # of story before anything moves, and at the point just inside
PHASE_S = 0.0037  # each repeat begins so much later against the charger's clock (10 ms ticks, 5 ms samples)


@dataclass(frozen=True, slots=True)
class Window:
    """When a stage must have opened: not before (None: no such limit) and within, s after the step."""

    not_before_s: float | None
    within_s: float
    why: str


def window_of(subject: Subject, trip: TripSetting) -> Window:
    """What the code demands of the whole charger. A relay's time is compared with what the board declares on top."""
    m = subject.matrix
    tolerance_s = m("general.mra_t_cycles") / subject.code.nominal_f_hz
    match trip.time:
        case ClearingMax(limit):
            return Window(None, limit.value, f"cleared by {limit.value:g} s")
        case RelaySetting(delay):
            late = delay.value + subject.chain.until_open_s(trip.quantity) + 2.0 * subject.chain.tick_s
            early = max(0.0, delay.value - max(tolerance_s, m("general.mra_t_share") * delay.value))
            return Window(
                early, late, f"relay {delay.value:g} s, and the board's reaction of {late - delay.value:.3g} s"
            )
        case DelayMinAndDisconnectMax(least, most):
            early_s = None if least is None else least.value
            return Window(early_s, most.value, f"off by {most.value:g} s")


def beyond(trip: TripSetting, value: float) -> bool:
    return value > trip.threshold.value if trip.side is Side.OVER else value < trip.threshold.value


def _extremes(subject: Subject, trip: TripSetting) -> Iterator[tuple[str, dict[str, float]]]:
    """(name, adjustment) of every corner of a stage's ranges; {} where it has none."""
    keys: list[list[tuple[str, str, float]]] = []
    for key, s in trip.numbers():
        if not movable(s):
            continue
        assert s.min is not None
        assert s.max is not None
        lo, hi = s.min, s.max
        if key == "threshold":
            lo, hi = _playable(subject, trip, lo, hi)
        short = "threshold" if key == "threshold" else "time"
        keys.append([(f"{short} {x:g}", f"trip.{trip.id}.{key}", x) for x in dict.fromkeys((hi, lo))])
    corners: list[list[tuple[str, str, float]]] = [[]]
    for choices in keys:
        corners = [[*corner, choice] for corner in corners for choice in choices]
    for corner in corners:
        yield ", ".join(name for name, _, _ in corner), {key: x for _, key, x in corner}


def _playable(subject: Subject, trip: TripSetting, lo: float, hi: float) -> tuple[float, float]:
    """A range of thresholds, cut to what the source can step beyond."""
    m, caps = subject.matrix, subject.caps
    if trip.quantity is Quantity.FREQUENCY:
        share = m("trips.step_f_pu")
        top = caps.f_range_hz[1] / (1.0 + share)
        bottom = caps.f_range_hz[0] / (1.0 - share)
        return max(lo, round(bottom + 0.05, 1)), min(hi, round(top - 0.05, 1))
    return max(lo, m("trips.v_lowest_pu") if trip.side is Side.UNDER else lo), hi


def _offsets(subject: Subject, trip: TripSetting, edge: bool) -> tuple[float, float]:
    """How far inside and how far outside of the threshold, in its unit."""
    m, threshold = subject.matrix, trip.threshold.value
    if trip.quantity is Quantity.FREQUENCY:
        near = m("trips.edge_mra") * m("general.mra_f_transient_hz")
        return (near, near) if edge else (2.0 * m("general.mra_f_transient_hz"), m("trips.step_f_pu") * threshold)
    near = m("trips.edge_mra") * m("general.mra_v_transient_pu")
    far = m("trips.step_v_mra") * m("general.mra_v_pu")
    return (near, near) if edge else (far, far)


def approach_hz_s(subject: Subject) -> float:
    """How fast a frequency is approached: what the code rides through, else 1 Hz/s (own choice)."""
    section = subject.code.section("rocof_ride_through")
    if section is not None:
        for key, number in section.numbers:
            if key == "limit_hz_s" and number.known:
                return number.value
    return 1.0


def _rivals(subject: Subject, code_trips: tuple[TripSetting, ...], trip: TripSetting, at: float) -> list[TripSetting]:
    """Stages that would be timing too when the quantity stands at `at`."""
    same = {Quantity.VOLTAGE, Quantity.VOLTAGE_10MIN} if "voltage" in trip.quantity.value else {trip.quantity}
    return [t for t in code_trips if t.id != trip.id and t.quantity in same and t.side is trip.side and beyond(t, at)]


def _aside(trips: tuple[TripSetting, ...], trip: TripSetting) -> dict[str, float]:
    """Move the other stages of this side as far out and as late as their ranges permit."""
    found = {}
    for other in trips:
        if other.id == trip.id or other.quantity is not trip.quantity or other.side is not trip.side:
            continue
        for key, s in other.numbers():
            if movable(s) and s.min is not None and s.max is not None:
                out = s.max if key != "threshold" or trip.side is Side.OVER else s.min
                found[f"trip.{other.id}.{key}"] = out
    return found


def cases(subject: Subject) -> tuple[list[Case], list[str]]:
    """(cases, what cannot be tested and why)."""
    found: list[Case] = []
    left_out: list[str] = []
    for trip in subject.code.trips:
        if trip.quantity is Quantity.ROCOF:
            left_out.append(
                f"trips {trip.id}: no procedure for a rate of change in this matrix; see docs/conformance.md"
            )
            continue
        aside = _aside(subject.code.trips, trip)
        corners = [(name, {**aside, **changes}) for name, changes in _extremes(subject, trip) if changes]
        for name, changes in [("as it is", {}), *corners]:
            try:
                made = list(_stage(subject, trip, name, changes, latest=_latest(trip, changes)))
            except GridCodeError as error:
                left_out.append(f"trips {trip.id} ({name}): {error}")
                continue
            if made:
                found += made
                whole_s = max(case.scenario.duration_s for case in made)
                edge = any(case.id.endswith("/edge") for case in made)
                if not edge and _latest(trip, changes) and whole_s > subject.matrix("trips.long_s"):
                    left_out.append(
                        f"trips {trip.id} ({name}): the edge run; the threshold's edge is stepped over at the shortest "
                        "time (own choice: no stage waits differently because of where its threshold is)"
                    )
            else:
                left_out.append(f"trips {trip.id} ({name}): another stage trips before it and has no range to be moved")
    return found, left_out


def _latest(trip: TripSetting, changes: dict[str, float]) -> bool:
    """Is a corner at the far end of the stage's range of times, and not at the near one?"""
    times = [(changes.get(f"trip.{trip.id}.{key}"), s) for key, s in trip.numbers() if key != "threshold"]
    return any(x is not None and x == s.max != s.min for x, s in times)


def _stage(
    subject: Subject, trip: TripSetting, corner: str, changes: dict[str, float], *, latest: bool
) -> Iterator[Case]:
    m = subject.matrix
    settings = {**quick(subject.code), **changes}
    code = adjust(subject.code, settings)
    stage = code.trip(trip.id)
    window = window_of(subject, stage)
    mean = stage.quantity is Quantity.VOLTAGE_10MIN
    if mean:
        assert code.mean_10min is not None
        window = Window(None, code.mean_10min.window_s.value + 2.0 * code.mean_10min.interval_s.value + window.within_s,
                        f"the mean's own window, and {window.why}")  # fmt: skip
    internal_delay(stage, subject.chain)  # GridCodeError: this board is too slow for it
    by_phase = "voltage" in stage.quantity.value
    long = window.within_s > m("trips.long_s")
    repeats = int(m("trips.repeats_long" if long else "trips.repeats"))
    runs: list[tuple[str, str, bool, int]] = []
    for who in PHASES if by_phase and not long else ("all",):
        runs += [(f"{who} {k + 1}", who, False, k) for k in range(repeats)]
    if not mean and not (long and latest):  # its edge twice over the longest time: the same threshold, minutes later
        runs.append(("edge", "all", True, 0))
    for label, who, edge, k in runs:
        inside_by, outside_by = _offsets(subject, stage, edge)
        sign = 1.0 if stage.side is Side.OVER else -1.0
        inside, outside = stage.threshold.value - sign * inside_by, stage.threshold.value + sign * outside_by
        rivals = _rivals(subject, code.trips, stage, outside)
        limit_s = window_of(subject, stage).within_s if not mean else window.within_s
        th_s = limit_s + max(2.0 * m("general.mra_t_share") * limit_s, 0.2)
        delays = {r.id: internal_delay(r, subject.chain) for r in rivals if r.quantity is stage.quantity}
        if any(delay < internal_delay(stage, subject.chain) + BEFORE_S for delay in delays.values()) or (
            mean and rivals
        ):
            return
        timing_inside = [t for t in _rivals(subject, code.trips, stage, inside) if t.quantity is stage.quantity]
        spare_s = min((internal_delay(t, subject.chain) for t in timing_inside), default=1e9) - limit_s - 0.2
        hold_s = min(th_s, spare_s, stay_s(subject, stage, inside)) if edge else BEFORE_S
        if hold_s < 0.1:
            return
        yield _run(subject, stage, corner, label, who, settings, window, (inside, outside, hold_s, th_s, k), not delays)


def stay_s(subject: Subject, stage: TripSetting, value: float) -> float:
    """How long the code itself asks the charger to stay at a value; it may leave later than that."""
    row = row_at(subject, value, stage.quantity)
    if row is None:
        return 1e9
    asked = row.min_time_at(value)
    return 1e9 if asked is None else asked


def _run(
    subject: Subject,
    stage: TripSetting,
    corner: str,
    label: str,
    who: str,
    settings: dict[str, float],
    window: Window,
    course: tuple[float, float, float, float, int],
    alone: bool,
) -> Case:
    m, sign = subject.matrix, 1.0 if stage.side is Side.OVER else -1.0
    inside, outside, hold_s, th_s, k = course
    way_s = 0.0
    segments: tuple[GridSegment, ...]
    if stage.quantity is Quantity.FREQUENCY:
        # Slowly to the point inside: a step of several hertz is an island's doing, and taken for one.
        way_s = round(abs(inside - subject.code.nominal_f_hz) / approach_hz_s(subject), 3)
        segments = (
            GridSegment(max(way_s, 0.01), "ramp", f_hz=round(inside, 2)),
            GridSegment(hold_s, "hold"),
            GridSegment(th_s, "step", f_hz=round(outside, 2)),
        )
        channel = "grid_f_hz"
        because = m.because("trips.step_f_pu") if label != "edge" else m.because("trips.edge_mra")
    else:
        phases = PHASES[who]
        segments = (GridSegment(hold_s, "step", inside, phases), GridSegment(th_s, "step", outside, phases))
        channel = f"grid_v{phases[0]}_pu"
        because = m.because("trips.step_v_mra") if label != "edge" else m.because("trips.edge_mra")
    half = 0.5 * (inside + outside)
    t0 = Instant("step", Band(channel, low=half) if sign > 0.0 else Band(channel, high=half))
    clause = stage.threshold.clause
    says = f"{subject.code.cite(clause)}: {stage.id} {stage.threshold.value:g} {stage.threshold.unit}, {window.why}"
    at_s = round(BEFORE_S + k * PHASE_S, 4)
    musts = [
        Must("always", f"{stage.id}: not inside of its limit; {because}", band=CLOSED, until_s=at_s + way_s + hold_s),
        Must("ceases", says, "step", within_s=window.within_s),
        Must(
            "reaches", says, "step", band=OPEN, within_s=window.within_s, not_before_s=window.not_before_s, stays=True
        ),
    ]
    if alone:
        musts.append(
            Must(
                "event",
                "the stage that was provoked is the one that trips (own demand)",
                "step",
                code="grid_trip",
                detail=f"Tripped by {stage.id}:",
            )
        )
    start = Start("transfer", m("trips.power_w"))
    return subject.case(
        "trips",
        f"trips/{stage.id}/{corner}/{label}",
        f"{stage.id} {stage.side.value} {stage.quantity.value}: {inside:.5g}, then {outside:.5g} ({who}); {corner}",
        clause,
        start=start,
        steps=(Step(at_s=at_s, grid=segments),),
        instants=(t0,),
        musts=tuple(musts),
        duration_s=at_s + way_s + hold_s + th_s,
        adjust=settings,
    )
