"""What guard believes of the reports of services. They may be wrong, late, twice, or lie; guard judges by itself.

A report with an impossible number, an unknown word or a time ahead of guard's own clock changes nothing (it is told
once, as `report_refused`); then what it was about grows old, and what is old is not believed either.
"""

from __future__ import annotations

import math

from firmware.guard.messages import CarReport, InsulationReport, MeterReport, SelfTestReport
from hal.ports import CarPhase, CarStatus, InsulationAlarm

Report = CarReport | InsulationReport | MeterReport | SelfTestReport

# Both processes read the same clock, so a time from further ahead is a broken or forged one: it would stay fresh for
# ever. The margin is for a report made while guard's tick, whose time is that of its beginning, was already running.
MAX_AHEAD_S = 0.05
_ALARMS = frozenset(alarm.value for alarm in InsulationAlarm)


def problem(now: float, report: Report) -> str:
    """Why this report cannot be believed at `now` (s); "" when it can."""
    if not report.t <= now + MAX_AHEAD_S:  # also a time that is no number
        return f"{_name(report)}: time {report.t:.3f} s at {now:.3f} s"
    for field in report.__struct_fields__:
        value = getattr(report, field)
        if isinstance(value, float) and not math.isfinite(value):
            return f"{_name(report)}: {field} is {value}"
    if isinstance(report, CarReport) and min(report.target_v, report.v_max_v, report.v_min_v) < 0.0:
        return f"{_name(report)}: a voltage is negative"
    if isinstance(report, InsulationReport) and report.alarm not in _ALARMS:
        return f"{_name(report)}: alarm {report.alarm[:20]!r} is unknown"
    return ""


def car_status(report: CarReport) -> CarStatus:
    """A believable report as the port's type; a phase that nobody knows is no phase, and ends a session."""
    try:
        phase = CarPhase(report.phase)
    except ValueError:
        phase = CarPhase.NONE
    return CarStatus(
        phase, report.target_v, report.i_max_a, report.i_min_a, report.v_max_v, report.v_min_v,
        report.soc_pct, report.capacity_wh,
    )  # fmt: skip


def _name(report: Report) -> str:
    return type(report).__name__
