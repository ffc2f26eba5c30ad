"""Enter-service tests: no power before the delay has run inside of the window, none too early on the ramp, power then.

The charger is started on a grid outside of its window with a car plugged in and power asked for. It must stay without
power; the grid steps inside, after a share of the delay it leaves the window for a moment (the time must begin anew),
comes back, and from that instant on delay and ramp are judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hil.conformance.case import CLOSED, Case, Subject, quick
from hil.scenarios.schema import GridSegment, Start, Step
from hil.scenarios.verdict import Band, Instant, Must


@dataclass(frozen=True, slots=True)
class Row:
    """One case: settings of the code, and volts (pu) and hertz before and after."""

    name: str
    adjust: dict[str, float]
    delay_s: float
    ramp_s: float  # from nothing to rated power
    v: tuple[float, float]
    f: tuple[float, float]


def _table(subject: Subject) -> Iterator[Row]:
    keys = ("delay_s", "ramp_duration_s", "v_max", "v_min", "f_max", "f_min")
    known = dict(subject.code.numbers())
    for n, *values in subject.matrix.lists["enter_service.rows"]:
        settings = {f"enter_service.{key}": float(x) for key, x in zip(keys, values[:6], strict=True)}
        kept = {key: x for key, x in settings.items() if abs(known[key].value - x) > 1e-9}
        yield Row(f"case {n:g}", kept, values[0], values[1], (values[6], values[7]), (values[8], values[9]))


def _own(subject: Subject) -> Iterator[Row]:
    """Codes without a table: their own window, left by voltage and by frequency on either side."""
    es, m = subject.code.enter_service, subject.matrix
    nominal = subject.code.nominal_f_hz
    by_v, by_f = 2.0 * m("general.mra_v_pu"), 0.1
    settings = {k: x for k, x in quick(subject.code).items() if "ramp" in k}
    rate = settings.get("enter_service.ramp_pu_per_min") or (es.ramp_pu_per_min.value if es.ramp_pu_per_min else 0.0)
    ramp_s = 60.0 / rate if rate else es.ramp_duration_s.value if es.ramp_duration_s else 0.0
    ramp_s = settings.get("enter_service.ramp_duration_s", ramp_s)
    delay = es.delay_s.value
    yield Row(
        "voltage low", settings, delay, ramp_s, (es.v_min.value - by_v, es.v_min.value + by_v), (nominal, nominal)
    )
    yield Row(
        "voltage high", settings, delay, ramp_s, (es.v_max.value + by_v, es.v_max.value - by_v), (nominal, nominal)
    )
    low, high = es.f_min.value, es.f_max.value
    near = 0.5 * min(by_f, high - nominal, nominal - low)
    yield Row("frequency low", settings, delay, ramp_s, (1.0, 1.0), (low - by_f, low + near))
    yield Row("frequency high", settings, delay, ramp_s, (1.0, 1.0), (high + by_f, high - near))


def cases(subject: Subject) -> tuple[list[Case], list[str]]:
    """(cases, what cannot be tested and why)."""
    left_out: list[str] = []
    if "enter_service.rows" not in subject.matrix.lists:
        return [_case(subject, row) for row in _own(subject)], left_out
    known = dict(subject.code.numbers())
    found = []
    for row in _table(subject):
        fixed = [key for key, x in row.adjust.items() if not _in_range(known[key], x)]
        number = known["enter_service.delay_s"]
        if number.min is None and number.value != row.delay_s:
            fixed.append("enter_service.delay_s")
        if fixed:
            left_out.append(f"enter-service {row.name}: {', '.join(fixed)} cannot be set so in this code")
        else:
            found.append(_case(subject, row))
    return found, left_out


def _in_range(setting: object, x: float) -> bool:
    lo, hi = getattr(setting, "min", None), getattr(setting, "max", None)
    return lo is not None and hi is not None and lo <= x <= hi


def _case(subject: Subject, row: Row) -> Case:
    m, f_nominal = subject.matrix, subject.code.nominal_f_hz
    wait_s = max(m("enter_service.wait_s"), m("enter_service.wait_delays") * row.delay_s)
    inside_s = m("enter_service.excursion_share") * row.delay_s
    away_s = m("enter_service.excursion_s")
    power_w = -subject.rated_w * m("enter_service.power_pu")
    share = m("enter_service.power_pu")
    quiet = Band("dc_w", low=-m("enter_service.quiet_w"), high=m("enter_service.quiet_w"))
    begin_s = wait_s + (inside_s + away_s if row.delay_s else 0.0)
    timing, margin = m("enter_service.timing"), m("enter_service.ramp_margin_pu")
    by_voltage = row.v[0] != row.v[1]
    channel = ("grid_vmin_pu" if row.v[0] < row.v[1] else "grid_vmax_pu") if by_voltage else "grid_f_hz"
    outside, inside = row.v if by_voltage else row.f
    half = 0.5 * (outside + inside)
    there = Band(channel, low=half) if inside > outside else Band(channel, high=half)
    good = GridSegment(1.0, "step", row.v[1], f_hz=row.f[1])
    bad = GridSegment(away_s, "step", row.v[0], f_hz=row.f[0])
    late_s = row.delay_s + m("enter_service.session_s") + row.ramp_s * share * 1.05
    segments: list[GridSegment] = []
    if row.delay_s:
        segments = [GridSegment(inside_s, "step", row.v[1], f_hz=row.f[1]), bad]
    segments.append(good)
    clause = subject.code.enter_service.delay_s.clause
    says = f"{subject.code.cite(clause)}: "
    origin = subject.matrix.origin.get("enter_service", "own choice")
    # Inside again: from a moment before the second step, so that the first one does not count.
    t0 = Instant("inside", there, not_before_s=begin_s - 0.5 * away_s)
    musts = [
        Must("always", says + "no power outside of the window and before the delay; "
             + m.because("enter_service.quiet_w", "enter_service.timing"), band=quiet,
             until_s=begin_s + timing * row.delay_s),
        Must("reaches", says + f"power after {row.delay_s:g} s and a ramp of {row.ramp_s:g} s; "
             + m.because("enter_service.session_s"), "inside", band=Band("dc_w", high=0.95 * power_w),
             within_s=late_s, not_before_s=timing * (row.delay_s + (0.95 * share - margin) * row.ramp_s)),
    ]  # fmt: skip
    if row.delay_s:
        # Before power comes the session's own preparation, which would hide a time that began too early.
        musts.append(
            Must(
                "reaches",
                says + "not connected before the delay (own demand); " + m.because("enter_service.timing"),
                "inside",
                band=CLOSED,
                within_s=late_s,
                not_before_s=timing * row.delay_s,
            )
        )
    if row.ramp_s >= 20.0:
        musts.append(
            Must(
                "reaches",
                says + "half of it not before half of the ramp",
                "inside",
                band=Band("dc_w", high=0.5 * power_w),
                within_s=late_s,
                not_before_s=timing * (row.delay_s + (0.5 * share - margin) * row.ramp_s),
            )
        )
    v, f = row.v, row.f
    return subject.case(
        "enter-service",
        f"enter-service/{row.name}",
        f"{v[0]:g} pu and {f[0]:g} Hz, then {v[1]:g} pu and {f[1]:g} Hz; delay {row.delay_s:g} s, "
        f"ramp {row.ramp_s:g} s ({origin}); nominal {f_nominal:g} Hz",
        clause,
        start=Start("cold", soc=0.6),
        steps=(
            Step(at_s=0.0, grid=(GridSegment(0.5, "step", v[0], f_hz=f[0]),)),
            Step(at_s=1.0, plug=True, ask_w=power_w),
            Step(at_s=wait_s, grid=tuple(segments)),
        ),
        instants=(t0,),
        musts=tuple(musts),
        duration_s=begin_s + late_s + 5.0,
        adjust=row.adjust,
    )
