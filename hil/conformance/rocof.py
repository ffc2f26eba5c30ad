"""Ride-through of rates of change of frequency: the code's own limits, both directions, between its frequency stages.

Each case goes up, through the whole band down, and back to nominal, every transition at the limit. The grid contactor
must stay closed all the way, and the current must be back afterwards; in between a droop may take power away.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from firmware.grid_codes import Section, Setting
from hil.conformance.case import CLOSED, Case, Subject, quick
from hil.conformance.edges import frequency_band
from hil.scenarios.schema import GridSegment, Start, Step
from hil.scenarios.verdict import Band, Instant, Must

BEFORE_S, AFTER_S = 0.5, 9.0
PHASE_S = 0.0037  # each repeat begins so much later against the charger's clock
# Key of a profile -> for how long the rate is meant (s); None: for as long as the frequency may go.
_KEYS = {
    "limit_hz_s": None,
    "non_synchronous_hz_s": None,
    "limit_0_5_s": 0.5,
    "limit_1_0_s": 1.0,
    "limit_2_0_s": 2.0,
}


class Limit(NamedTuple):
    """A rate (Hz/s) that must be ridden through, for at most window_s; None: without an end."""

    key: str
    number: Setting
    window_s: float | None


def limits(section: Section) -> Iterator[Limit]:
    for key, number in section.numbers:
        if key in _KEYS and number.known:
            yield Limit(key, number, _KEYS[key])


def cases(subject: Subject) -> tuple[list[Case], list[str]]:
    """(cases, what cannot be tested and why)."""
    m, section = subject.matrix, subject.code.section("rocof_ride_through")
    if section is None or "rocof.share" not in m.numbers:
        return [], ["rocof: the code has no limit, or this matrix no procedure"]
    found = [_case(subject, limit, n) for limit in limits(section) for n in range(1, int(m("rocof.repeats")) + 1)]
    if not found:
        return [], ["rocof: the code's section rocof_ride_through has no limit that is known here"]
    return found, ["rocof: the averaging window of the code (ramps are straight)"]


def _case(subject: Subject, limit: Limit, n: int) -> Case:
    m, code, nominal = subject.matrix, subject.code, subject.code.nominal_f_hz
    rate = m("rocof.share") * limit.number.value
    margin_hz, hold_s = m("rocof.margin_hz"), m("rocof.hold_s")
    lo, hi = frequency_band(code)
    reach = 0.5 * rate * limit.window_s if limit.window_s is not None else float("inf")
    low, high = max(lo + margin_hz, nominal - reach), min(hi - margin_hz, nominal + reach)
    power_w = -subject.rated_w * m("rocof.power_pu")
    segments: list[GridSegment] = []
    was = nominal
    for target in (high, low, nominal):
        target = round(target, 2)
        segments += [
            GridSegment(round(abs(target - was) / rate, 3), "ramp", f_hz=target),
            GridSegment(AFTER_S if target == nominal else hold_s, "hold"),
        ]
        was = target
    begin_s = round(BEFORE_S + (n - 1) * PHASE_S, 4)
    moving_s = sum(s.dt_s for s in segments) - AFTER_S
    amps = m("ride_through.current_min_pu") * 0.95 * abs(power_w) / (3.0 * subject.nominal_v)
    says = (
        f"{code.cite(limit.number.clause)}: {limit.key} {limit.number.value:g} Hz/s ({limit.number.conf.value}: "
        f"{', '.join(limit.number.src) or 'no source'})"
    )
    return subject.case(
        "rocof",
        f"rocof/{limit.key}/{n}",
        f"{rate:g} Hz/s between {low:.2f} and {high:.2f} Hz",
        limit.number.clause,
        start=Start("transfer", power_w),
        steps=(Step(at_s=begin_s, grid=tuple(segments)),),
        instants=(Instant("ramp", Band("grid_f_hz", low=nominal + 0.1)),),
        musts=(
            Must("always", says + "; stays connected", band=CLOSED),
            Must("always", "the power is back; " + m.because("ride_through.current_min_pu"), "ramp",
                 band=Band("ac_a", low=amps), from_s=moving_s + AFTER_S - 1.5, until_s=moving_s + AFTER_S - 0.5),
        ),
        duration_s=begin_s + moving_s + AFTER_S,
        adjust=quick(code),
        record_hz=200.0,
    )  # fmt: skip
