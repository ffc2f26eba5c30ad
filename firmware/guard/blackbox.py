"""The ring buffer around a disturbance: what guard read, decided and commanded, one row a tick.

A tick costs one tuple of references to what is frozen anyway. Rows of numbers are made only after something happened,
a few a tick, so that no tick after a trip takes longer than the others by more than about 0.1 ms.
"""

from __future__ import annotations

import math
from collections import deque

from firmware.guard.conditions import usable
from firmware.guard.events import Severity, severity
from firmware.guard.gate import Outputs
from firmware.guard.known import Readings
from firmware.guard.machine import ENERGIZED, ChargerState
from firmware.guard.messages import EventMessage, TripRecord
from firmware.protection.types import GridState
from hal.ports import COILS_OPEN, Direction, GridTelemetry, Reading

PRE_S = 5.0  # s before the event; with POST_S 180 kB as a message, which the socket to services must hold: own choice
POST_S = 2.0  # s after it: off, contactors open and mirrors seen take below 0.3 s; own choice
ROWS_PER_TICK = 20  # made into numbers in one tick, about 0.1 ms on the machine of `make bench`
_NAN3 = (math.nan, math.nan, math.nan)
_MIRRORS_MAX_AGE_S = 0.5  # as for the session (firmware/guard/step.py)
STATES, GRID_STATES = list(ChargerState), list(GridState)
_STATE_NO = {state: float(number) for number, state in enumerate(STATES)}
_GRID_NO = {state: float(number) for number, state in enumerate(GRID_STATES)}

# l1_v..f_hz: the pilot MCU's newest half-cycle r.m.s. values, phase to neutral, held until the next, nan while it is
# silent; grid_age_s: how old it is. earlier_*: the one before it when several came in one tick (the MCU reports every
# 5 ms), else nan. i_set_a: the session's ramp; i_command_a: what left through the gate; both + = charge.
ANALOG = (
    "t_s", "l1_v", "l2_v", "l3_v", "f_hz", "grid_age_s", "earlier_l1_v", "earlier_l2_v", "earlier_l3_v", "earlier_f_hz",
    "converter_l1_v", "converter_l2_v", "converter_l3_v", "converter_f_hz", "converter_grid_age_s", "v_dc_v", "i_dc_a",
    "p_ac_w", "q_ac_var", "asked_w", "permitted_w", "i_set_a", "i_command_a", "tan_phi", "state", "grid_state",
)  # fmt: skip
# Yes and no. command_* leave through the gate, k_* are mirror contacts (0 with mirrors_known 0: nobody knows).
DIGITAL = (
    "command_on", "command_discharge", "command_enable", "command_k_grid", "command_k_dc", "command_k_precharge",
    "mirrors_known", "k_grid", "k_dc", "k_precharge", "converter_online", "converter_on", "pilot_online", "estop",
    "lease", "may_connect", "may_transfer", "stopping_fault", "missed_tick",
)  # fmt: skip
CODES = {"state": [state.value for state in STATES], "grid_state": [state.value for state in GRID_STATES]}

# now, readings, outputs, state, grid state, may_connect, may_transfer, i_set_a, asked_w, permitted_w, lease, worst
_Moment = tuple[
    float, Readings, Outputs, ChargerState, GridState, bool, bool, float, float, float, bool, Severity
]  # fmt: skip


class BlackBox:
    """Remembers the last PRE_S + POST_S and makes a record of them when something happened."""

    def __init__(self, tick_s: float) -> None:
        self._ring: deque[_Moment] = deque(maxlen=math.ceil((PRE_S + POST_S) / tick_s) + 1)
        self._waiting: tuple[float, int, EventMessage] | None = None  # complete at, rank, what triggered
        self._making: EventMessage | None = None
        self._left: list[_Moment] = []  # newest first
        self._rows: list[list[float]] = []
        self._held: Reading[GridTelemetry] | None = None  # newest grid sample of the rows made so far

    def note(self, moment: _Moment) -> None:
        """Once a tick."""
        self._ring.append(moment)

    def take(self, now: float, events: list[EventMessage], before: ChargerState, hurry: bool) -> TripRecord | None:
        """Look at this tick's events, go on with a record that is due, return it when it is complete.

        events: gets a `record` event when a record begins. before: the charger's state before this tick. hurry: guard
        is about to end, so what waits is completed now.
        """
        for event in tuple(events) if events else ():
            rank = _rank(event, before)
            if rank and (self._waiting is None or rank > self._waiting[1]):
                self._waiting = (now + POST_S, rank, event)
                events.append(EventMessage(now, "record", event.code))
        if self._waiting is not None and (now >= self._waiting[0] or hurry) and self._making is None:
            self._making, self._waiting = self._waiting[2], None
            self._left = list(self._ring)
            self._left.reverse()
            self._held = None
        if self._making is None:
            return None
        for _ in range(len(self._left) if hurry else min(ROWS_PER_TICK, len(self._left))):
            moment = self._left.pop()
            pilot = moment[1].pilot
            self._held = pilot.grid[-1] if pilot.grid else self._held if pilot.online else None
            self._rows.append(_row(*moment, self._held))
        if self._left:
            return None
        event, rows = self._making, self._rows
        self._making, self._rows = None, []
        return TripRecord(event.t, event.code, event.detail, [*ANALOG, *DIGITAL], rows, list(DIGITAL), CODES)


def _rank(event: EventMessage, before: ChargerState) -> int:
    """0: no record. A trip that comes while a cessation's record waits takes its place, with its own time after it."""
    if event.cleared:
        return 0
    if event.code == "grid_trip" or severity(event.code) >= Severity.TRIP:
        return 3
    if event.code == "grid_cease" or (before in ENERGIZED and severity(event.code) >= Severity.SOFT_STOP):
        return 2
    return 1 if event.code == "record_asked" else 0


def _row(
    now: float,
    readings: Readings,
    outputs: Outputs,
    state: ChargerState,
    grid_state: GridState,
    may_connect: bool,
    may_transfer: bool,
    i_set_a: float,
    asked_w: float,
    permitted_w: float,
    lease: bool,
    worst: Severity,
    newest: Reading[GridTelemetry] | None,
) -> list[float]:
    """The numbers of a tick: ANALOG, then DIGITAL as 0 and 1; nan is what was not known then."""
    pilot, converter = readings.pilot, readings.converter
    samples = pilot.grid
    earlier = samples[-2].value if len(samples) > 1 else None
    theirs = converter.grid.value if converter.grid is not None else None
    command, coils = outputs.converter, outputs.pilot.coils
    known = pilot.mirrors is not None and pilot.mirrors.fresh(now, _MIRRORS_MAX_AGE_S)
    mirrors = pilot.mirrors.value if known and pilot.mirrors is not None else COILS_OPEN
    discharge = command.on and command.direction is Direction.DISCHARGE
    return [
        now,
        *(newest.value.v_v if newest is not None else _NAN3),
        newest.value.f_hz if newest is not None else math.nan,
        now - newest.t if newest is not None else math.nan,
        *(earlier.v_v if earlier is not None else _NAN3),
        earlier.f_hz if earlier is not None else math.nan,
        *(theirs.v_v if theirs is not None else _NAN3),
        theirs.f_hz if theirs is not None else math.nan,
        now - converter.grid.t if converter.grid is not None else math.nan,
        _value(converter.v_dc_v, now),
        _value(converter.i_dc_a, now),
        _value(converter.p_ac_w, now),
        _value(converter.q_ac_var, now),
        asked_w,
        permitted_w,
        i_set_a,
        -command.current_a if discharge else command.current_a,
        command.tan_phi,
        _STATE_NO[state],
        _GRID_NO[grid_state],
        # Whole numbers: a byte each on the way to services instead of nine.
        int(command.on),
        int(discharge),
        int(coils.converter_enable),
        int(coils.grid),
        int(coils.dc),
        int(coils.precharge),
        int(known),
        int(mirrors.grid),
        int(mirrors.dc),
        int(mirrors.precharge),
        int(converter.online),
        int(converter.online and converter.on is not None and converter.on.value),
        int(pilot.online),
        int(pilot.estop),
        int(lease),
        int(may_connect),
        int(may_transfer),
        int(worst >= Severity.SOFT_STOP),
        int(readings.missed > 0),
    ]


def _value(reading: Reading[float] | None, now: float) -> float:
    value = usable(reading, now)
    return math.nan if value is None else value
