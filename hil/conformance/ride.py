"""Ride-through tests: the sequences of the procedure where it has them, else every row of the code for its time.

Never may the grid contactor open; where a row is to be operated through, the current stays at a share of what it was,
and after the sequence the power is back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from firmware.grid_codes import (
    GridCodeError,
    Quantity,
    RideThroughMode,
    RideThroughRow,
    Side,
    adjust,
    internal_delay,
)
from hil.conformance.case import CLOSED, FLOW, Case, Subject, movable, quick, row_at
from hil.conformance.matrix import Course
from hil.conformance.rows import contradictions, must_stay
from hil.conformance.trips import approach_hz_s
from hil.scenarios.schema import GridSegment, Start, Step
from hil.scenarios.verdict import Band, Instant, Must

BEFORE_S = 0.5
AFTER_S = 3.0
_V = (Quantity.VOLTAGE, Quantity.VOLTAGE_10MIN)


def latest(subject: Subject) -> dict[str, float]:
    """Trip stages as late as their ranges permit, so that they do not end a sequence (they are tested elsewhere)."""
    found = {}
    for trip in subject.code.trips:
        if trip.quantity in _V:
            for key, s in trip.numbers():
                if key == "time_s" and movable(s) and s.max is not None:
                    found[f"trip.{trip.id}.{key}"] = s.max
    return found


def cases(subject: Subject) -> tuple[list[Case], list[str]]:
    """(cases, what cannot be tested and why)."""
    found: list[Case] = []
    left_out: list[str] = []
    courses = [c for c in subject.matrix.sequences if subject.code.title.rstrip("AB ").endswith(c.title)
               or f"{c.title}," in subject.code.title]  # fmt: skip
    settings = {**quick(subject.code), **latest(subject)}
    for course in courses:
        for n, letters in enumerate(course.order, 1):
            for power in ("high", "low"):
                found.append(_sequence(subject, course, n, letters, power, settings))
    if not courses:
        left_out.append("ride-through: no sequence for this code in the matrix; every row is held for its own time")
        found += _rows(subject, settings, left_out, Quantity.VOLTAGE)
    if "ride_through.f_hold_s" in subject.matrix.numbers:
        found += _frequency(subject, settings)
    else:
        found += _rows(subject, settings, left_out, Quantity.FREQUENCY)
    return found, left_out


def _power(subject: Subject, which: str) -> float:
    return -subject.rated_w * subject.matrix(f"ride_through.{which}_power_pu")


def _flows(subject: Subject, power_w: float) -> Band:
    """The current of a mandatory row. What flows before is a little less than what is asked for divided by the voltage
    (the converter's losses), so this asks for a little more than the procedure."""
    amps = abs(power_w) / (3.0 * subject.nominal_v)
    return Band("ac_a", low=subject.matrix("ride_through.current_min_pu") * amps * 0.95, magnitude=True)


def _course(
    subject: Subject, segments: list[tuple[float, float]], power_w: float
) -> tuple[tuple[GridSegment, ...], list[Must]]:
    """Steps of the voltage [(s, pu)], and what must hold in each."""
    m = subject.matrix
    settle_s, at_s, musts, played = m("ride_through.settle_s"), BEFORE_S, [], []
    before_ceased = False
    for dt_s, v_pu in segments:
        played.append(GridSegment(dt_s, "step", v_pu))
        row = row_at(subject, v_pu)
        # After a cessation the power has the code's time to come back.
        restore_s = 0.4 if subject.code.momentary_cessation is None else (
            subject.code.momentary_cessation.restore_max_s.value)  # fmt: skip
        wait_s = settle_s + (restore_s if before_ceased else 0.0)
        if row is not None and row.mode in FLOW and dt_s > wait_s + 0.1:
            says = f"{subject.code.cite(row.lo.clause)}: {row.mode.value} at {v_pu:g} pu; "
            musts.append(
                Must(
                    "always",
                    says + m.because("ride_through.current_min_pu"),
                    band=_flows(subject, power_w),
                    from_s=at_s + wait_s,
                    until_s=at_s + dt_s,
                )
            )
        before_ceased = row is None or row.mode not in FLOW
        at_s += dt_s
    played.append(GridSegment(AFTER_S, "step", 1.0))
    musts.append(
        Must(
            "always",
            "power is back after the sequence; " + m.because("ride_through.current_min_pu"),
            band=_flows(subject, power_w),
            from_s=at_s + settle_s + 0.5,
            until_s=at_s + AFTER_S,
        )
    )
    says = "the charger stays connected"
    musts.insert(0, Must("always", f"{subject.code.standard}: {says}", band=CLOSED, until_s=at_s + AFTER_S))
    return tuple(played), musts


def level(subject: Subject, course: Course, letter: str) -> float:
    """At which voltage (pu) a row is played: its far end, where the code itself asks the charger to stay for so long;
    else its near end (the procedure leaves the choice, and the far end would ask for more than the code)."""
    m = subject.matrix
    least_s, lo, hi = course.rows[letter]
    # The charger's own feed-in lifts its terminals by a percent and more above what the source gives: a narrow row is
    # played at its near end, so that both lie inside of it.
    by = min(m("ride_through.trim_mra") * m("general.mra_v_pu"), hi - lo)
    far, near = (lo + by, hi - by) if course.side == "low" else (hi - by, lo + by)
    row = row_at(subject, far)
    if row is None:
        return near
    asked_s = row.min_time_at(far)
    stays = row.mode is RideThroughMode.CONTINUOUS if asked_s is None else asked_s + 0.02 >= least_s
    return far if stays else near


def _sequence(
    subject: Subject, course: Course, n: int, letters: str, power: str, settings: Mapping[str, float]
) -> Case:
    segments = [(course.rows[letter][0] + 0.01, level(subject, course, letter)) for letter in letters]
    power_w = _power(subject, power)
    played, musts = _course(subject, segments, power_w)
    origin = f"{course.conf}: {', '.join(course.src)}"
    first = segments[1][1]
    t0 = Instant("sequence", Band("grid_vmin_pu", high=0.5 * (first + segments[0][1]))
                 if course.side == "low" else Band("grid_vmax_pu", low=0.5 * (first + segments[0][1])))  # fmt: skip
    total_s = BEFORE_S + sum(dt for dt, _ in segments) + AFTER_S
    return subject.case(
        "ride-through",
        f"ride-through/{course.name}/{n} {letters}/{power} power",
        f"{course.side} voltage, sequence {letters} ({origin}) at {power} power",
        "voltage ride-through",
        start=Start("transfer", power_w),
        steps=(Step(at_s=BEFORE_S, grid=played),),
        instants=(t0,),
        musts=tuple(musts),
        duration_s=total_s,
        adjust=settings,
        record_hz=500.0 if total_s < 80.0 else 100.0,
    )


def _rows(subject: Subject, settings: Mapping[str, float], left_out: list[str], quantity: Quantity) -> Iterator[Case]:
    m = subject.matrix
    clash = {id(c.row): c for c in contradictions(subject.code, subject.chain)}
    for row in must_stay(subject.code):
        if row.quantity is not quantity:
            continue
        name = f"{row.quantity.value} {row.lo.value:g} to {row.hi.value:g}"
        if id(row) in clash:
            c = clash[id(row)]
            left_out.append(f"ride-through {name}: {c.trip.id} of the same code trips before (contradiction)")
            continue
        over = _over(subject, row)
        power_w = _power(subject, "low")
        unit_step = m("ride_through.trim_mra") * m("general.mra_v_pu") if quantity is Quantity.VOLTAGE else 0.05
        by = min(unit_step, 0.5 * (row.hi.value - row.lo.value))
        value = row.hi.value - by if over else row.lo.value + by
        least_s = row.min_time_at(value)
        hold_s = min(m("ride_through.row_hold_s"), least_s if least_s is not None else 30.0)
        asked = "ever" if least_s is None else f"{least_s:g} s"
        title = f"{name}: {value:.4g} held for {hold_s:g} s ({row.mode.value}; the code asks for {asked})"
        if quantity is Quantity.VOLTAGE:
            played, musts = _course(subject, [(hold_s, value)], power_w)
            channel = "grid_vmax_pu" if over else "grid_vmin_pu"
            middle = 0.5 * (1.0 + value)
        else:
            nominal = subject.code.nominal_f_hz
            way_s = max(0.1, abs(value - nominal))
            played = (GridSegment(way_s, "ramp", f_hz=round(value, 2)), GridSegment(hold_s, "hold"),
                      GridSegment(way_s, "ramp", f_hz=nominal), GridSegment(AFTER_S, "hold"))  # fmt: skip
            until_s = BEFORE_S + 2.0 * way_s + hold_s + AFTER_S
            musts = [Must("always", f"{subject.code.standard}: stays connected", band=CLOSED, until_s=until_s)]
            channel, middle = "grid_f_hz", 0.5 * (nominal + value)
        band = Band(channel, low=middle) if over else Band(channel, high=middle)
        yield subject.case(
            "ride-through",
            f"ride-through/{name}",
            title,
            row.lo.clause,
            start=Start("transfer", power_w),
            steps=(Step(at_s=BEFORE_S, grid=played),),
            instants=(Instant("disturbance", band),),
            musts=tuple(musts),
            duration_s=BEFORE_S + sum(s.dt_s for s in played),
            adjust=settings if _loads(subject, settings) else quick(subject.code),
        )


def _over(subject: Subject, row: RideThroughRow) -> bool:
    nominal = 1.0 if row.quantity is Quantity.VOLTAGE else subject.code.nominal_f_hz
    return abs(row.hi.value - nominal) > abs(row.lo.value - nominal) if math.isfinite(row.hi.value) else True


def _loads(subject: Subject, settings: Mapping[str, float]) -> bool:
    try:
        for trip in adjust(subject.code, dict(settings)).trips:
            internal_delay(trip, subject.chain)
    except GridCodeError:
        return False
    return True


def _frequency(subject: Subject, settings: Mapping[str, float]) -> Iterator[Case]:
    """Both ends of the mandatory range, at the rate of change that the code's category rides through."""
    m, code = subject.matrix, subject.code
    rate = approach_hz_s(subject)
    hold_s, power_w = m("ride_through.f_hold_s"), _power(subject, "low")
    for side, key in ((Side.UNDER, "f_low_hz"), (Side.OVER, "f_high_hz")):
        target = m(f"ride_through.{key}")
        if any(t.quantity is Quantity.FREQUENCY and t.side is side and internal_delay(t, subject.chain) < hold_s
               and (t.threshold.value >= target if side is Side.UNDER else t.threshold.value <= target)
               for t in code.trips):  # fmt: skip
            continue
        way_s = round(abs(target - code.nominal_f_hz) / rate, 3)
        for n in range(int(m("ride_through.f_repeats"))):
            played = (GridSegment(way_s, "ramp", f_hz=target), GridSegment(hold_s, "hold"),
                      GridSegment(way_s, "ramp", f_hz=code.nominal_f_hz), GridSegment(AFTER_S, "hold"))  # fmt: skip
            total_s = BEFORE_S + 2.0 * way_s + hold_s + AFTER_S
            at = 0.5 * (target + code.nominal_f_hz)
            band = Band("grid_f_hz", low=at) if side is Side.OVER else Band("grid_f_hz", high=at)
            says = f"{code.standard} frequency ride-through; " + m.because(
                f"ride_through.{key}", "ride_through.f_hold_s"
            )
            yield subject.case(
                "ride-through",
                f"ride-through/frequency {target:g}/{n + 1}",
                f"{target:g} Hz held for {hold_s:g} s, reached and left with {rate:g} Hz/s",
                "frequency ride-through",
                start=Start("transfer", power_w),
                steps=(Step(at_s=round(BEFORE_S + n * 0.0037, 4), grid=played),),
                instants=(Instant("disturbance", band),),
                musts=(Must("always", says, band=CLOSED, until_s=total_s - 0.5),),
                duration_s=total_s,
                adjust=settings,
            )
