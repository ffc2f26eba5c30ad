"""A recording of a grid through protection and grid support, as the charger would have gone through it.

Pure: samples in, events and a series out. See docs/replay.md.

**How rows become samples.** A row holds until the next one: it is repeated every 10 ms, as the charger's own loop would
see it, so that protection's age limit of 0.1 s never strikes between two rows of a slow recording. Holding instead of
drawing a straight line means that no element starts before the first row that is outside. A row that is missing is not
held over: see `spans`.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from firmware.grid_codes import Chain, GridCode
from firmware.grid_support.compose import GridSupport, Permission
from firmware.grid_support.settings import SupportSettings, capability_of, settings_of
from firmware.protection.grid import GridProtection
from firmware.protection.islanding import ID as ISLAND
from firmware.protection.islanding import Islanding, Mode
from firmware.protection.ride_through import RideThrough
from firmware.protection.types import GridSample, GridState, GridStatus, Transfer, Trip

TICK_S = 0.010  # of the charger's own loop, board desk
MAX_ROW_S = 3.0  # the longest step of a recording; anything longer is a gap
# A shorter pause is a gap too when it is so many times longer than the steps on both of its sides, and longer than
# protection's age limit: a recorder of 10 ms that says nothing for a second has lost something.
GAP_RATIO = 5.0
GAP_MIN_S = 0.1
# A support function is an event when it moves the power by this share of rated power, and is over below half of it:
# a droop with a narrow dead band acts all day. Policy value.
SUPPORT_PU = 0.01
EDGE_S = 1e-6  # as protection's timers

_ON = (GridState.CONNECTED, GridState.RIDING_THROUGH, GridState.CEASED)


class Event(NamedTuple):
    """t_s: on the clock of the recording. element: of protection or support, or ''. value: what it acted on."""

    t_s: float
    kind: str
    element: str
    clause: str
    value: float | None
    text: str


class Point(NamedTuple):
    """One row of the series. P + = charging, Q + = absorbing."""

    t_s: float
    p_w: float
    q_var: float
    state: str
    permitted_min_w: float
    permitted_max_w: float


@dataclass
class Replay:
    """What came of it. first_trip: None = it did not trip."""

    events: list[Event] = field(default_factory=list)
    series: list[Point] = field(default_factory=list)
    first_trip: Trip | None = None
    final_state: str = ""
    final_reason: str = ""
    gaps: int = 0
    left_out: tuple[str, ...] = ()


def state_name(state: GridState) -> str:
    """waiting, connected, riding_through, ceased, tripped."""
    return state.name.lower()


def spans(samples: Sequence[GridSample]) -> Iterator[tuple[GridSample, float, float]]:
    """(row, until when it holds, length of the gap that follows or 0).

    A row holds until the next one. Before a gap, and at the end, it holds for as long as the row before it did, and
    at most MAX_ROW_S. Nothing happens in a gap: nobody knows what the grid did, so timers count neither way, the time
    to enter service starts anew, and no measurement counts as lost.
    """
    steps = [b.t - a.t for a, b in itertools.pairwise(samples)]
    for k, row in enumerate(samples):
        before = steps[k - 1] if k else steps[0]
        if k == len(steps):
            yield row, row.t + min(before, MAX_ROW_S), 0.0
            continue
        step = steps[k]
        after = steps[k + 1] if k + 1 < len(steps) else before
        beside = max(before, after) if k else after
        if step > MAX_ROW_S + EDGE_S or (step > GAP_MIN_S + EDGE_S and step > GAP_RATIO * beside):
            hold_s = min(before if k else TICK_S, MAX_ROW_S, step)
            yield row, row.t + hold_s, step
        else:
            yield row, row.t + step, 0.0


def _passive(nominal_hz: float) -> Islanding:
    """The passive part of anti-islanding; the active one needs a grid that answers, and a recording does not. It sees
    something only where rows are no more than 10 ms apart: a row that is merely held is no measurement."""
    return Islanding(Mode.PASSIVE, nominal_hz, random.Random(0))


def _begun(code: GridCode, chain: Chain, *, islanding: Islanding) -> GridProtection:
    """Protection of a charger that has been in service for long. Only for recordings: a charger has to wait."""
    protection = GridProtection(code, chain, islanding=islanding)
    protection.state = GridState.CONNECTED
    protection._t_entered = -math.inf  # its ramp is over
    return protection


def replay(
    samples: Sequence[GridSample],
    code: GridCode,
    chain: Chain,
    *,
    rated_w: float,
    p_set_w: float = 0.0,
    support: SupportSettings | None = None,
    in_service: bool = True,
) -> Replay:
    """Run `samples` (two or more, rising in time, V in pu of the code's nominal) through protection and support.

    rated_w: of the charger, both ways, and its VA. p_set_w: what is asked of it all the time. support: settings to
    use instead of the code's own. GridCodeError when a board with this chain cannot keep the code's times.
    """
    settings = settings_of(code, rated_w) if support is None else support
    run = _Run(
        code,
        (_begun if in_service else GridProtection)(code, chain, islanding=_passive(code.nominal_f_hz)),
        GridSupport(settings, capability_of(code, rated_w)),
        rated_w,
        p_set_w,
    )
    run.result.left_out = settings.left_out
    for row, until, gap_s in spans(samples):
        run.step(row, of_file=True)
        n = 1
        while row.t + n * TICK_S < until - EDGE_S:
            run.step(row._replace(t=row.t + n * TICK_S, held=True), of_file=False)
            n += 1
        if gap_s:
            run.gap(until, gap_s)
    return run.end()


class _Run:
    """One pass: protection, support, and what of it is worth telling."""

    def __init__(
        self, code: GridCode, protection: GridProtection, support: GridSupport, rated_w: float, p_set_w: float
    ) -> None:
        self.result = Replay()
        self._code, self._protection, self._support = code, protection, support
        self._rated_w, self._p_set_w = rated_w, p_set_w
        self._ride = RideThrough(code)  # judges nothing: it knows where continuous operation ends
        self._state = protection.state
        self._helping = self._clause = ""  # the support function that moves the power now
        self._flowing_w = p_set_w if protection.state in _ON else 0.0
        self._status: GridStatus | None = None

    def step(self, sample: GridSample, *, of_file: bool) -> None:
        before, events = self._state, len(self.result.events)
        transfer = Transfer(self._flowing_w / self._rated_w, 0.0) if self._flowing_w else None
        status = self._protection.step(sample.t, [sample], [], converter_expected=False, transfer=transfer)
        self._status, self._state = status, status.state
        for notice in status.notices:
            if notice.code.startswith("grid_sense"):
                self._tell(sample.t, "sense", "SENSE", "", None, notice.detail)
            elif notice.code == "grid_wait" and status.state not in _ON:
                self._tell(sample.t, "wait", "", status.clause, None, status.reason)
        if status.state is not before:
            self._changed(before, status, sample)
        permission = self._permitted(sample, status)
        self._flowing_w = 0.0 if permission is None else permission.p_w
        if of_file or len(self.result.events) != events:
            self._point(sample.t, status, permission)

    def _changed(self, before: GridState, status: GridStatus, sample: GridSample) -> None:
        t, state, trip = sample.t, status.state, status.last_trip
        element, value = self._excursion(sample)
        if state is GridState.TRIPPED and trip is not None:
            if self.result.first_trip is None:
                self.result.first_trip = trip
            kind = "island" if trip.element == ISLAND else "trip"
            self._tell(t, kind, trip.element, trip.clause, trip.value, trip.text)
        elif state is GridState.CEASED:
            self._tell(t, "cease", element, status.clause, value, status.reason)
        elif before is GridState.CEASED:
            self._tell(t, "restore", element, status.clause, value, status.reason)
        elif state is GridState.RIDING_THROUGH:
            self._tell(t, "ride_through", element, status.clause, value, status.reason)
        elif before is GridState.RIDING_THROUGH:
            self._tell(t, "continuous", element, status.clause, value, status.reason)
        elif before is GridState.WAITING:
            clause = self._code.cite(self._code.enter_service.delay_s.clause)
            self._tell(t, "enter_service", "", clause, None, status.reason)
        if before not in _ON and state in _ON:
            self._support.enter_service(t)

    def _excursion(self, sample: GridSample) -> tuple[str, float | None]:
        """Which ride-through it is (LVRT, HVRT, LFRT, HFRT) and on what value; ('', None) inside."""
        lo, hi, f = min(sample.v_pu), max(sample.v_pu), sample.f_hz
        band_v, band_f = self._ride.v, self._ride.f
        if lo < band_v.lo:
            return "LVRT", lo
        if hi > band_v.hi:
            return "HVRT", hi
        if f < band_f.lo:
            return "LFRT", f
        return ("HFRT", f) if f > band_f.hi else ("", None)

    def _permitted(self, sample: GridSample, status: GridStatus) -> Permission | None:
        """What support permits; None while no power may flow. Support goes on while ceased: the grid does too."""
        if status.state not in _ON:
            self._help(sample.t, None, "")
            return None
        permission = self._support.step(
            sample.t,
            sample.v_pu,
            sample.f_hz,
            self._p_set_w,
            service_pu=status.power_limit_pu,
            service_clause=self._code.cite(self._code.enter_service.delay_s.clause),
        )
        if not status.may_transfer:
            self._help(sample.t, None, "")
            return None
        moved_pu = abs(permission.p_w - self._p_set_w) / self._rated_w
        by = permission.limited_by
        functional = by and by not in ("rating", "enter_service")
        if functional and moved_pu >= (SUPPORT_PU if by != self._helping else SUPPORT_PU / 2.0):
            self._help(sample.t, permission, by)
        else:
            self._help(sample.t, None, "")
        return permission

    def _help(self, t: float, permission: Permission | None, by: str) -> None:
        if by == self._helping:
            return
        if self._helping:
            text = f"{self._helping} no longer moves the power."
            self._tell(t, "support_end", self._helping, self._clause, None, text)
        if permission is not None:
            self._clause = permission.clause
            self._tell(t, "support", by, permission.clause, permission.p_w, permission.reason)
        self._helping = by

    def gap(self, t: float, gap_s: float) -> None:
        self.result.gaps += 1
        self._tell(t, "gap", "", "", gap_s, f"No rows for {gap_s:g} s: what the grid did is not known.")

    def end(self) -> Replay:
        assert self._status is not None  # there are two samples or more
        self.result.final_state = state_name(self._state)
        self.result.final_reason = self._status.reason
        return self.result

    def _tell(self, t: float, kind: str, element: str, clause: str, value: float | None, text: str) -> None:
        self.result.events.append(Event(t, kind, element, clause, value, text))

    def _point(self, t: float, status: GridStatus, p: Permission | None) -> None:
        numbers = (0.0, 0.0, 0.0, 0.0) if p is None else (p.p_w, p.q_var, p.min_w, p.max_w)
        p_w, q_var, lo_w, hi_w = (x + 0.0 for x in numbers)
        self.result.series.append(Point(t, p_w, q_var, state_name(status.state), lo_w, hi_w))


def as_dict(result: Replay) -> dict[str, Any]:
    """What the JSON says of the run itself."""
    trip = result.first_trip
    return {
        "events": [event._asdict() for event in result.events],
        "first_trip": None
        if trip is None
        else {
            "element": trip.element,
            "t_s": trip.t,
            "t_start_s": trip.t_start,
            "phase": trip.phase,
            "value": trip.value,
            "threshold": trip.threshold,
            "unit": trip.unit,
            "delay_s": trip.delay_s,
            "clause": trip.clause,
            "text": trip.text,
        },
        "final_state": result.final_state,
        "final_reason": result.final_reason,
        "gaps": result.gaps,
        "support_left_out": list(result.left_out),
    }
