"""Grid protection: two sources in, one verdict out. The state machine and its sentences; the clauses live beside it.

    WAITING -> CONNECTED <-> RIDING_THROUGH / CEASED -> TRIPPED -> WAITING

WAITING: the enter-service time runs, or something forbids it. TRIPPED: from a trip until the grid is back inside the
enter-service window, so that the trip stays in sight while its cause lasts. Contactors may be closed in the three
states between; power may flow in all of these but CEASED.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Final

from firmware.grid_codes import Chain, GridCode, Quantity, Setting, check_response
from firmware.protection.channel import Channel
from firmware.protection.closest import closest, sentence
from firmware.protection.element import Operation, trip_of
from firmware.protection.enter_service import EnterServiceTimer, Window, ramp_limit
from firmware.protection.islanding import Islanding
from firmware.protection.ride_through import Excursion
from firmware.protection.sense import Agreement, blind
from firmware.protection.timers import TIME_LSB_S
from firmware.protection.types import (
    ElementStatus,
    GridSample,
    GridState,
    GridStatus,
    Notice,
    Source,
    Told,
    Transfer,
    Trip,
)

# A trip lasts at least so long, also where the code lets a charger back without delay (IEEE 1547 from 0 s): contactors
# and converter need it to have really opened. Policy value.
MIN_TRIPPED_S: Final = 1.0
_CONNECTED: Final = GridState.CONNECTED
_RIDING: Final = GridState.RIDING_THROUGH
_CEASED: Final = GridState.CEASED
_WAITING: Final = GridState.WAITING
_TRIPPED: Final = GridState.TRIPPED
_ON: Final = (_CONNECTED, _RIDING, _CEASED)
_NOTHING_SAID: Final = ("", math.nan, math.nan, None, "")  # like no facts: a number that is none is equal to nothing


class GridProtection:
    """Protection of one charger under one grid code. Time comes with `step`; it must not run backwards.

    `conditions`: codes of the notices whose cause lasts (grid_sense_lost, grid_sense_disagree); a notice itself is
    given once, at the beginning.
    """

    def __init__(
        self,
        code: GridCode,
        chain: Chain,
        *,
        enter_service_random_s: float = 0.0,
        rng: random.Random | None = None,
        restarted: bool = False,
        islanding: Islanding | None = None,
    ) -> None:
        """GridCodeError when a board with this chain cannot keep the code's times.

        enter_service_random_s: with `rng`, up to so much is added to the enter-service delay, drawn for each wait.
        restarted: an earlier guard ended unexpectedly; this is not the first start that a code may let in sooner.
        islanding: None looks for no island.
        """
        window = Window(code.enter_service)
        for row in code.ride_through:
            if row.verified or code.allow_unverified:
                check_response(row, chain)
        self.code = code
        self.chain = chain
        self.state = GridState.WAITING
        self.last_trip: Trip | None = None
        self.conditions: frozenset[str] = frozenset()
        self._window = window
        self._timer = EnterServiceTimer(
            code.enter_service,
            enter_service_random_s,
            rng,
            unverified=code.allow_unverified,
            restarted=restarted,
        )
        self._pilot = Channel(Source.PILOT, code, chain, window)
        self._converter = Channel(Source.CONVERTER, code, chain, window)
        self._islanding = islanding
        self._agreement = Agreement()
        self._expected = False
        self._in_use: tuple[Channel, ...] = (self._pilot,)
        self._started = False
        self._t_entered = math.nan
        self._now = math.nan
        # The facts of the last sentence on waiting: problem, seconds left, delay, rule and case.
        self._facts: tuple[str, float, float, Setting | None, str] = _NOTHING_SAID
        self._waiting_words = ("", "")
        self._lost: frozenset[Source] = frozenset()
        # The last verdict, in full service or while the time to enter it runs, on a calm grid: the same in every step
        # until something is not idle. Only without anti-islanding, which has something new to say in each.
        self._steady: GridStatus | None = None
        self._why = self._pilot  # whose excursion explains RIDING_THROUGH or CEASED

    # ------------------------------------------------------------------------------------------------------ one step
    def step(
        self,
        now: float,
        pilot: Sequence[GridSample],
        converter: Sequence[GridSample],
        *,
        converter_expected: bool,
        transfer: Transfer | None = None,
    ) -> GridStatus:
        """The verdict as of `now` (s), given the samples since the last step, oldest first.

        converter_expected: False while the converter has no supply or boots; its silence is then normal and what it
        says is ignored. transfer: what the charger does to the grid at `now`; None when it transfers nothing or
        nobody knows, and anti-islanding then rests.
        """
        notices: list[Notice] = []
        self._now = now
        if not self._started:
            self._started = True
            self._pilot.begin(now)
            notices.append(Notice("grid_wait", f"{self.code.title}: {self._timer.delay_s:g} s"))
        if converter_expected is not self._expected:
            self._expect(now, converter_expected)
        serving = self.state in _ON  # then the time to enter service rests; it begins anew with a trip
        operations = self._pilot.take(now, pilot, None if serving else self._timer.sample)
        # Two idle sources that agree: nothing is lost, nothing operates, and a charger in service stays connected.
        idle = self._pilot.idle
        if converter_expected:
            more = self._converter.take(now, converter, None if serving else self._converter_sample)
            if more:
                operations = [*operations, *more]
            idle = idle and self._converter.idle
            if converter or not idle:
                self._compare(now, converter)
            idle = idle and not self._agreement.differs
        if idle and self._steady is not None:
            again = self._steady if serving else self._still_waiting(self._steady)
            if again is not None:
                return again
        if not idle or self.conditions:
            self._watch_sense(now, notices)
        if serving:
            trip = self._islanding.step(now, pilot, transfer) if self._islanding else None
            if not idle:
                trip = self._trip(now, operations) or trip
            if trip is not None:
                self.state = GridState.TRIPPED
                self.last_trip = trip
                self._timer.tripped(self._excursion_start(operations))
                self._pilot.inside = self._converter.inside = False  # of the window, which nobody asked for in service
                notices.append(Notice("grid_trip", f"{trip.text} {trip.clause}"))
                serving = False
            elif not idle or self.state is not _CONNECTED:
                self._ride(notices)
        problem = ""
        if not serving:
            if self._islanding:
                self._islanding.rest()
            problem = self._wait(now, notices, idle)
        state = self.state
        connect = state in _ON
        limit = ramp_limit(self.code.enter_service, now - self._t_entered) if connect else 0.0
        left_s = self._timer.remaining_s if state is _WAITING else 0.0
        if state is _WAITING:
            reason, clause = self._explain_waiting(problem, left_s)
        elif state is _CONNECTED:
            reason, clause = "Connected: the grid is inside its continuous range.", self.code.standard
        else:
            reason, clause = self._explain(state, problem)
        fields = (
            state,
            connect,
            connect and state is not _CEASED,
            limit,
            connect and limit < 1.0,
            left_s,
            reason,
            clause,
            self.last_trip,
            tuple(notices) if notices else (),
            self._islanding.probe_tan_phi if self._islanding else 0.0,
            state is _CEASED and all(c.carries(now) for c in self._in_use),
        )
        status = tuple.__new__(GridStatus, fields)  # half a microsecond less than by name
        same = (state is _CONNECTED and limit == 1.0) or (state is _WAITING and not problem)
        same = same and idle and not (notices or self.conditions or self._islanding)
        self._steady = status if same else None
        return status

    def _still_waiting(self, before: GridStatus) -> GridStatus | None:
        """The verdict before with the time that is left now, when nothing else has changed; else None."""
        timer, (_, left, _, rule, why) = self._timer, self._facts
        inside = self._pilot.inside and (self._converter.inside or not self._expected)
        if not inside or timer.rule is not rule or timer.why != why or self._agreement.disagree:
            return None
        left_s = timer.remaining_s
        if (
            left_s <= 2.0 * TIME_LSB_S or math.ceil(left_s) != left
        ):  # it is ready, does not run, or the words are others
            return None
        return tuple.__new__(GridStatus, (*before[:5], left_s, *before[6:]))

    def retune(self, now: float, code: GridCode) -> None:
        """Other numbers of the same code from now on: trips that somebody tightened, another enter-service window.

        State, last trip and every running time stay. An element whose quantity is outside of its new threshold begins
        to count now when it was not counting yet. GridCodeError (other elements; a time that this board cannot keep),
        and then nothing has changed.
        """
        for row in code.ride_through:
            if row.verified or code.allow_unverified:
                check_response(row, self.chain)
        window = Window(code.enter_service)
        channels = (self._pilot, self._converter)
        delays = [channel.delays(code, self.chain) for channel in channels]
        for channel, found in zip(channels, delays, strict=True):
            channel.retune(now, code, found, window)
        self.code = code
        self._window = window
        self._steady = None
        self._timer.retune(code.enter_service)
        self._facts = _NOTHING_SAID

    @property
    def passive_only(self) -> bool:
        """Anti-islanding probes and the converter does not carry it out: only the rate of change is watched."""
        return self._islanding is not None and self._islanding.passive_only

    def elements(self) -> tuple[ElementStatus, ...]:
        """How close each element is to operating, as of the last step. For people: they cost more than a step does."""
        found = self._pilot.elements(self._now)
        if self._expected:
            found += self._converter.elements(self._now)
        if self._islanding:
            found += self._islanding.elements()
        return tuple(found)

    def _expect(self, now: float, expected: bool) -> None:
        """The converter begins to be a source, or ceases to be one."""
        self._expected = expected
        self._in_use = (self._pilot, self._converter) if expected else (self._pilot,)
        if expected:
            self._converter.begin(now)
        else:
            self._agreement.reset()
        self._steady = None

    def _compare(self, now: float, converter: Sequence[GridSample]) -> None:
        """The two sources with one another, when the slower one has said something."""
        a, b = self._pilot.last, self._converter.last
        if not (a and b and self._pilot.fresh(now) and self._converter.fresh(now)):
            self._agreement.reset()
        elif converter:
            self._agreement.compare(a, b)

    def _converter_sample(self, t: float, inside: bool) -> None:
        if not inside:
            self._timer.restart()

    # ------------------------------------------------------------------------------------------------ the two sources
    def _watch_sense(self, now: float, notices: list[Notice]) -> None:
        """Notices of a lost source and of disagreement, once each time they begin."""
        if not (self.conditions or self._agreement.disagree or self._pilot.lost(now)) and not (
            self._expected and self._converter.lost(now)
        ):
            return
        lost = {c.source: c for c in self._in_use if c.lost(now)}
        for source, channel in lost.items():
            if source not in self._lost:
                what = "measures no frequency" if channel.fresh(now) else "no sample"
                notices.append(Notice("grid_sense_lost", f"{source.value}: {what} for {channel.age_s(now):.2f} s"))
        conditions = {"grid_sense_lost"} if lost else set()
        if self._agreement.disagree:
            conditions.add("grid_sense_disagree")
            if "grid_sense_disagree" not in self.conditions:
                notices.append(Notice("grid_sense_disagree", self._agreement.detail))
        self._lost = frozenset(lost)
        self.conditions = frozenset(conditions)

    # ------------------------------------------------------------------------------------------------------ in service
    def _trip(self, now: float, operations: Sequence[Operation]) -> Trip | None:
        if operations:
            first = min(operations, key=lambda o: o.t_due)
            return trip_of(first, now)
        # A converter that has just been given its supply and has not spoken yet is no measurement either.
        for channel in self._in_use:
            if channel.fresh(now) and not channel.lost(now):
                return None
        return blind(now, self._pilot.age_s(now), [channel.source for channel in self._in_use])

    def _excursion_start(self, operations: Sequence[Operation]) -> float | None:
        """When voltage or frequency left the first limit of what has just tripped; None when something else tripped."""
        grid = (Quantity.VOLTAGE, Quantity.FREQUENCY)
        if not any(o.element.setting.quantity in grid for o in operations):
            return None
        running = [e.timer.t_start for c in self._in_use for e in c.timing()]
        return min([t for t in running if t is not None] + [o.t_start for o in operations])

    def _ride(self, notices: list[Notice]) -> None:
        """CONNECTED, RIDING_THROUGH or CEASED, by the stricter of the sources that are fresh."""
        state = _CONNECTED
        for channel in self._in_use:
            if not channel.fresh(self._now):
                channel.forget_excursion()
            elif channel.cessation.on:
                state, self._why = _CEASED, channel
                break
            elif channel.riding.on and state is _CONNECTED:
                state, self._why = _RIDING, channel
        if state is not self.state:
            if state is _CEASED:
                notices.append(Notice("grid_cease", self._told(self._why.ride.ceasing)))
            elif state is _RIDING and self.state is _CONNECTED:
                notices.append(Notice("grid_ride_through", self._told(self._why.ride.last)))
            self.state = state

    def _told(self, excursion: Excursion) -> str:
        """An excursion for the event log, and which element it brings closest to a trip."""
        near = self._closest()
        text = f"{excursion.why} ({self.code.cite(excursion.clause)})"
        return text if near is None else f"{text}; closest: {sentence(near)}"

    def _closest(self) -> ElementStatus | None:
        """The closest of `elements`."""
        found = [status for channel in self._in_use if (status := channel.closest(self._now))]
        return closest([*found, *(self._islanding.elements() if self._islanding else ())])

    # -------------------------------------------------------------------------------------------------- out of service
    def _wait(self, now: float, notices: list[Notice], idle: bool) -> str:
        """Enter service when the time is over. Returns what forbids it, or ''. idle: the sources are, and agree."""
        timer = self._timer
        inside = idle and self._pilot.inside and (self._converter.inside or not self._expected)
        problem = "" if inside and not self._agreement.disagree else self._forbids(now)
        if problem:
            timer.restart()
        elif timer.running:
            if self.state is GridState.TRIPPED:
                self.state = GridState.WAITING
                timer.draw()
                notices.append(Notice("grid_wait", f"{self.code.title}: {timer.delay_s:g} s"))
            if timer.ready and (self.last_trip is None or now - self.last_trip.t >= MIN_TRIPPED_S):
                self.state = GridState.CONNECTED
                self._t_entered = now
                timer.restart()
                notices.append(Notice("grid_enter_service", f"after {timer.delay_s:g} s inside of the window"))
        return problem

    def _forbids(self, now: float) -> str:
        """What forbids entering service now, or ''. Every measurement there is must be fresh, agree and be inside."""
        for channel in self._in_use:
            if not channel.idle:
                if not channel.fresh(now):
                    return f"there is no fresh sample from the {channel.source.value}"
                if channel.lost(now):
                    return f"the {channel.source.value} measures no frequency"
            if problem := channel.problem():
                return problem
            # Beyond the window: a 10-minute mean that is still high would trip again at once.
            if timing := [e.setting for e in channel.timing()]:
                return " and ".join(f"{x.id} is outside of its limit ({x.threshold.value:g})" for x in timing)
        if self._agreement.differs or self._agreement.disagree:
            return f"the two grid measurements disagree ({self._agreement.detail})"
        return ""

    # ------------------------------------------------------------------------------------------------------- sentences
    def _explain(self, state: GridState, problem: str) -> tuple[str | Told, str]:
        """(reason, clause) of RIDING_THROUGH, CEASED and TRIPPED."""
        code = self.code
        if state is _RIDING:
            out = self._why.ride.last
            return out.told("Riding through: ", "."), code.cite(out.clause)
        if state is _CEASED:
            out = self._why.ride.ceasing
            why = out.told("Ceased, contactors closed: ", "; power returns when the grid does.")
            return why, code.cite(out.clause)
        trip = self.last_trip
        assert trip is not None  # nothing else leads here
        return f"{trip.text} Will not connect: {problem or 'the grid is not yet back'}.", trip.clause

    def _explain_waiting(self, problem: str, left_s: float) -> tuple[str | Told, str]:
        """Made anew only when it says something else: once a second, as a rule."""
        timer = self._timer
        left = math.ceil(left_s if timer.running else timer.delay_s)
        facts = (problem, left, timer.delay_s, timer.rule, timer.why)
        if facts != self._facts:
            self._facts = facts
            case = f" ({timer.why})" if timer.why else ""
            text = f"Will not connect: {problem}."
            if not problem:
                text = (
                    f"Waiting to enter service{case}: {left} s of {timer.delay_s:.0f} s left "
                    f"(V {self._window.v_text}, f {self._window.f_text}; {self.code.standard})."
                )
            self._waiting_words = text, self.code.cite(timer.rule.clause)
        return self._waiting_words
