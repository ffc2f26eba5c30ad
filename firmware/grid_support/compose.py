"""All support functions of one charger in one step: from the grid and a request to what is permitted, and why.

The order in which the range of active power is carved, the first is the strongest:

    ratings > enter-service ramp > power limit > volt-watt > frequency > freq-watt > the circle of P and Q

A limit never yields to a function that wants more power, and voltage stands above frequency: it is the charger's own
street that has too much of it. Trips stand above all of this and are not here (firmware/protection).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from firmware.grid_support.bounds import FREE, Bounds, Range
from firmware.grid_support.capability import Capability, Priority
from firmware.grid_support.fcr import Reserve
from firmware.grid_support.fixed import FixedPf, FixedVar, PowerLimit
from firmware.grid_support.freq_droop import FreqDroopSettings, freq_droop
from firmware.grid_support.freq_response_au import FreqResponseAuSettings, freq_response_au
from firmware.grid_support.freq_watt import FreqWatt
from firmware.grid_support.frequency_power import FrequencyPower
from firmware.grid_support.lfsm import LfsmSettings, lfsm
from firmware.grid_support.ramps import Ramp
from firmware.grid_support.reactive import Reactive
from firmware.grid_support.response import Response
from firmware.grid_support.settings import FrequencySettings, ReactiveSettings, SupportSettings
from firmware.grid_support.volt_var import VoltVar, VoltVarSettings
from firmware.grid_support.volt_watt import VoltWatt
from firmware.grid_support.watt_var import WattPf, WattPfSettings, WattVar, WattVarSettings

RATING: Final = "rating"
ENTER_SERVICE: Final = "enter_service"
CIRCLE: Final = "capability"
_CONSTANT: Final = ("", RATING, ENTER_SERVICE, PowerLimit.name)  # who limits with the same words in every step


class Permission(NamedTuple):
    """One step's result. W and var at the grid terminals, P + = charging, Q + = absorbing.

    p_w: the asked power, ramped and brought inside of [min_w, max_w]. limited_by: the function that moved it, '' when
    it passed whole; why, reason and clause are of that function. q_by, q_clause: of the reactive function. min_by and
    max_by set the ends (`GridSupport.why` says why). ramped_w: the asked power as far as the ramp is.
    """

    min_w: float
    max_w: float
    p_w: float
    q_var: float
    limited_by: str
    why: str
    clause: str
    q_by: str
    q_clause: str
    min_by: str
    max_by: str
    ramped_w: float

    @property
    def reason(self) -> str:
        by = self.limited_by
        return f"{by} permits {self.min_w:.0f}..{self.max_w:.0f} W: {self.why}" if by else ""


class GridSupport:
    """Feed it with `step`, in service only; `enter_service` when service begins (again)."""

    def __init__(self, settings: SupportSettings, capability: Capability, *, reserve: Reserve | None = None) -> None:
        self.settings, self.capability = settings, capability
        self._reserve = reserve
        self._rated_w = max(capability.charge_w, capability.discharge_w)
        self._s_va = capability.s_va
        self._q_limits = capability.reactive(-math.inf), capability.reactive(math.inf)
        self._start()

    def _start(self) -> None:
        s, rated_w = self.settings, self._rated_w
        self._reactive_first = s.priority is Priority.REACTIVE
        self._frequency = None if s.frequency is None else _frequency(s.frequency, rated_w)
        limits_w = (-self.capability.discharge_w, self.capability.charge_w)
        if self._frequency is not None:
            self._frequency.limits_w = limits_w
        self._freq_watt = None if s.freq_watt is None else FreqWatt(s.freq_watt, rated_w, limits_w)
        self._volt_watt = None if s.volt_watt is None else VoltWatt(s.volt_watt, rated_w)
        self.limit = None if s.limit is None else PowerLimit(s.limit, rated_w)
        self._ramp = Ramp(s.ramps, rated_w)
        self._reactive = None if s.reactive is None else _reactive(s.reactive)
        self._q = None if self._reactive is None else Response(self._reactive.response_s, self._reactive.share)
        self._q_name = "" if self._reactive is None else self._reactive.name
        self._q_clause = "" if self._reactive is None else self._reactive.clause
        self._p_w: float | None = None
        self._planned_var = math.nan
        self._service_clause = ""
        # Composed anew when one of its facts has changed; None = nothing to come back to.
        self._facts: tuple[object, ...] | None = None
        self._range = Range(math.nan, math.nan, RATING)
        self._fixed: tuple[object, ...] | None = None  # what `_firm` is of
        self._firm = self._range  # of rating, enter-service ramp and power limit: they move seldom
        self._wanted = (math.nan, "")
        self._last: Permission | None = None

    def retune(self, settings: SupportSettings) -> None:
        """Other settings from now on. What runs goes on from where it is: no limit and no reactive power jumps, each
        comes to its new value along its own response; only a limit that was not there before holds at once."""
        old = self.settings, self._frequency, self._volt_watt, self.limit, self._ramp, self._q, self._p_w
        before, frequency, volt_watt, limit, ramp, q, p_w = old
        freq_watt = self._freq_watt
        self.settings = settings
        self._start()
        if settings.frequency is before.frequency:
            self._frequency = frequency
        elif frequency is not None and self._frequency is not None:
            self._frequency.take_over(frequency)
        if freq_watt is not None and self._freq_watt is not None:
            self._freq_watt.take_over(freq_watt)
        if volt_watt is not None and self._volt_watt is not None:
            self._volt_watt.take_over(volt_watt)
        if limit is not None and settings.limit is not None:
            limit.settings = settings.limit
            self.limit = limit
        self._ramp.take_over(ramp)
        if q is not None and self._q is not None:
            self._q.take_over(q)
        self._p_w = p_w

    def enter_service(self, t: float) -> None:
        """Service begins at `t` (s): from zero power, with the soft start; nothing of before counts."""
        self._start()
        self._ramp.enter_service(t)

    def step(
        self,
        t: float,
        v_pu: tuple[float, float, float],
        f_hz: float,
        asked_w: float,
        *,
        service_pu: float = 1.0,
        service_clause: str = "",
        flowing_w: float | None = None,
        reactive: bool = True,
    ) -> Permission:
        """What holds at `t` (s). f_hz: nan = not measured. asked_w: no number counts as 0.

        service_pu: share of rated power that the ramp after entering service permits. flowing_w: the power that is
        measured, where a charger may carry less than asked: then it is the reference of the frequency functions and
        what the reactive ones follow; None = what was permitted flows. reactive: False = the converter cannot make
        reactive power on command, none is planned.
        """
        if not math.isfinite(asked_w):
            asked_w = 0.0
        limit = FREE if self.limit is None else self.limit.step(t)
        watt = FREE if self._volt_watt is None else self._volt_watt.step(t, v_pu)
        if self._reserve is not None:
            asked_w += self._reserve.step(t, f_hz)
        ramped_w = self._ramp.step(t, asked_w)
        facts = (asked_w, ramped_w, service_pu, service_clause, limit, watt, flowing_w is None)
        quiet = self._frequency is None or self._frequency.rests(f_hz)
        if self._freq_watt is not None:
            quiet = self._freq_watt.rests(f_hz) and quiet
        if not quiet or facts != self._facts:
            # A range that only stands until the next step is nothing to come back to.
            self._facts = facts if quiet else None
            self._last = None
            self._service_clause = service_clause
            self._range = span = self._carve(service_pu, limit, watt)
            if not quiet:
                self._answer(span, t, f_hz, asked_w, flowing_w)
            self._wanted = span.clamp(ramped_w)
        p_w, by = self._wanted
        q_var = self._q_var(t, v_pu, p_w if flowing_w is None else flowing_w) if reactive else 0.0
        last = self._last
        if last is not None and q_var == last.q_var:
            return last
        span = self._range
        lo_w, hi_w, lo_by, hi_by = span.lo_w, span.hi_w, span.lo_by, span.hi_by
        c = self.capability
        if self._reactive_first:
            room_w = c.other(q_var)
            # Less active power may need less reactive power, as with a power factor.
            if abs(p_w) > room_w and flowing_w is None:
                q_var = self._q_var(t, v_pu, math.copysign(room_w, p_w))
                room_w = c.other(q_var)
            if abs(lo_w) > room_w:
                lo_w, lo_by = math.copysign(room_w, lo_w), CIRCLE
            if abs(hi_w) > room_w:
                hi_w, hi_by = math.copysign(room_w, hi_w), CIRCLE
            if p_w < lo_w:
                p_w, by = lo_w, lo_by
            elif p_w > hi_w:
                p_w, by = hi_w, hi_by
        else:
            room_var = c.other(p_w)
            q_var = min(max(q_var, -room_var), room_var)
        self._p_w, self._planned_var = p_w, q_var
        why = clause = ""
        if by:
            why, clause = self.why(by)
        fields = (lo_w, hi_w, p_w, q_var, by, why, clause, self._q_name, self._q_clause, lo_by, hi_by, ramped_w)
        permission = tuple.__new__(Permission, fields)  # a third of the time
        self._last = permission if by in _CONSTANT else None
        return permission

    def _carve(self, service_pu: float, limit: Bounds, watt: Bounds) -> Range:
        """The range of active power that the limits leave to the function of frequency."""
        fixed = service_pu, limit
        if fixed != self._fixed:
            self._fixed = fixed
            self._firm = firm = Range(-self.capability.discharge_w, self.capability.charge_w, RATING)
            most_w = service_pu * self._rated_w
            firm.carve((-most_w, most_w), ENTER_SERVICE)
            if limit is not FREE:
                firm.carve(limit, PowerLimit.name)
        span = self._firm.copy()
        if watt is not FREE:
            span.carve(watt, VoltWatt.name)
        return span

    def _answer(self, span: Range, t: float, f_hz: float, asked_w: float, flowing_w: float | None) -> None:
        """The functions of frequency take their part of the range."""
        # Without a past, the reference is what the charger would do if the frequency were good.
        now_w = flowing_w
        if now_w is None:
            now_w = span.clamp(asked_w)[0] if self._p_w is None else self._p_w
        for function in (self._frequency, self._freq_watt):
            if function is not None:
                bounds = function.step(t, f_hz, now_w)
                if bounds is not FREE:
                    span.carve(bounds, function.name)

    def why(self, by: str) -> tuple[str, str]:
        """(why `by` bounds the power, its clause), as of the last step: sentences are made only for who asks."""
        if by == RATING:
            return "the rating of the charger", ""
        if by == ENTER_SERVICE:
            return "the ramp after entering service", self._service_clause
        if by == CIRCLE:
            return f"{self._planned_var:.0f} var come first", "" if self._reactive is None else self._reactive.clause
        if self.limit is not None and by == self.limit.name:
            return self.limit.why, self.limit.settings.clause
        if self._volt_watt is not None and by == self._volt_watt.name:
            return self._volt_watt.why, self._volt_watt.clause
        if self._freq_watt is not None and by == self._freq_watt.name:
            return self._freq_watt.why, self._freq_watt.clause
        assert self._frequency is not None  # nobody else carves
        return self._frequency.why, self._frequency.clause

    def _q_var(self, t: float, v_pu: tuple[float, float, float], p_w: float) -> float:
        s_va = self._s_va
        if self._reactive is None or self._q is None or s_va == 0.0:
            return 0.0
        a, b, c = v_pu
        q_var = self._reactive.target_pu(t, (a + b + c) / 3.0, p_w / s_va) * s_va
        lo_var, hi_var = self._q_limits  # as Capability.reactive
        return self._q.step(t, min(max(q_var, lo_var), hi_var))


def _frequency(s: FrequencySettings, rated_w: float) -> FrequencyPower:
    match s:
        case FreqDroopSettings():
            return freq_droop(s, rated_w)
        case LfsmSettings():
            return lfsm(s, rated_w)
        case FreqResponseAuSettings():
            return freq_response_au(s, rated_w)


def _reactive(s: ReactiveSettings) -> Reactive:
    match s:
        case VoltVarSettings():
            return VoltVar(s)
        case WattVarSettings():
            return WattVar(s)
        case WattPfSettings():
            return WattPf(s)
        case FixedPf() | FixedVar():
            return s
