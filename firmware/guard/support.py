"""Grid support at work: what the functions of the grid code permit becomes limits, reactive power and sentences.

`firmware/grid_support` speaks of the grid terminals, guard's set-points of the DC side: the measured loss lies between
them. A function only bounds the power that somebody asked for. More than that, or the other direction, it may ask for
with `beyond_request` (board key `[grid] support_beyond_request`), and the other limits still win.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from firmware.grid_support.capability import Capability
from firmware.grid_support.compose import CIRCLE, ENTER_SERVICE, RATING, GridSupport, Permission
from firmware.grid_support.settings import SupportSettings
from firmware.guard.conditions import usable
from firmware.guard.messages import EventMessage
from firmware.power.arbiter import Limit
from firmware.protection.frequency_trip import measurable
from firmware.protection.sense import MAX_AGE_S
from firmware.protection.types import GridSample, GridState, GridStatus, Source
from hal.ports import ConverterStatus

LOSS_PU = 0.03  # of the power, before it was measured; policy value
LOSS_MAX_PU = 0.10  # a larger one is a wrong measurement; policy value
LOSS_TAU_S = 2.0
LOSS_MIN_PU = 0.05  # of rated power: below it the stand-by power would be taken for a loss in proportion
STEADY_PU = 0.01  # of rated power: AC and DC power are not of one instant, so the loss is taken while neither moves,
STEADY_S = 0.5  # and has not for so long
IDLE_PU = 0.01  # of rated power: a converter that takes a power factor makes no reactive power without active power
PROBE_TAN_PHI = 0.1  # what support leaves of the converter's range to the probe of anti-islanding
JUMP_PU = 0.05  # of any phase between two ticks: a step of the voltage; policy value
JUMP_S = 0.08  # two cycles of the frequency's window, half a cycle of the voltage's, two ticks; policy value
# After a cessation or another request the power is there: 0.4 s by IEEE 1547-2018, and time to measure it; policy value
RESTORE_S = 1.0
# A function is an event when it moves the power by this share of rated power. A droop with a narrow band acts all day:
# its end is told when it has been quiet for CALM_S, and two events are at least APART_S from each other. Policy values.
TOLD_PU = 0.01
CALM_S = 60.0
APART_S = 10.0
_PILOT_AGE_S, _CONVERTER_AGE_S = MAX_AGE_S[Source.PILOT], MAX_AGE_S[Source.CONVERTER]
_IN_THE_STACK = (RATING, ENTER_SERVICE)  # guard has these limits itself


class Loss:
    """The converter's loss as a share of its DC power, each direction for itself."""

    def __init__(self, rated_w: float) -> None:
        self._rated_w = rated_w
        self._share = {True: LOSS_PU, False: LOSS_PU}  # charging, discharging
        self._t = self.moved_t = -math.inf
        self._slow_w = 0.0

    def measure(self, t: float, ac_w: float, dc_w: float) -> None:
        """A measurement of the AC power at `t` (s) and the DC power beside it; what cannot be used changes nothing."""
        dt, self._t = min(max(t - self._t, 0.0), LOSS_TAU_S), t
        moved_w = abs(dc_w - self._slow_w)
        if dt:  # the AC power is measured less often than this is asked
            self._slow_w += (dc_w - self._slow_w) * dt / (dt + 0.25 * LOSS_TAU_S)
        if moved_w > STEADY_PU * self._rated_w:
            self.moved_t = t
        if not dt or t - self.moved_t < STEADY_S or abs(dc_w) < LOSS_MIN_PU * self._rated_w:
            return
        share = min(max((ac_w - dc_w) / abs(dc_w), 0.0), LOSS_MAX_PU)
        charging = dc_w > 0.0
        self._share[charging] += (share - self._share[charging]) * dt / (dt + LOSS_TAU_S)

    def to_ac(self, dc_w: float) -> float:
        return dc_w * (1.0 + self._share[True]) if dc_w > 0.0 else dc_w * (1.0 - self._share[False])

    def to_dc(self, ac_w: float) -> float:
        return ac_w / (1.0 + self._share[True]) if ac_w > 0.0 else ac_w / (1.0 - self._share[False])


class Supported(NamedTuple):
    """One tick of grid support. limits: for the arbiter, W at the DC side. asked_w: the request, with what a function
    asked for beyond it. tan_phi: reactive power to be made, share of the active power, + = absorbing."""

    limits: tuple[Limit, ...]
    asked_w: float
    tan_phi: float


class Support:
    """The support functions of one charger under one code, from its readings."""

    def __init__(self, settings: SupportSettings, capability: Capability, *, beyond_request: bool = False) -> None:
        self.settings = settings
        self.notes: list[EventMessage] = []
        self.raised_by = ""  # the function that asks for more than was asked, with its reason
        self.permission: Permission | None = None  # of the last step; None = not in service, or nothing is measured
        self._functions = GridSupport(settings, capability)
        self._rated_w = max(capability.charge_w, capability.discharge_w)
        self._charge_w, self._discharge_w = capability.charge_w, capability.discharge_w
        self._loss = Loss(self._rated_w)
        self._beyond = beyond_request
        self._in_service = False
        # The newest sample of each source.
        self._pilot: GridSample | None = None
        self._converter: GridSample | None = None
        self._ceased_t = self._asked_t = -math.inf  # when power had last ceased, and another one was asked for
        self._available_w = 0.0
        self._v_pu, self._jump_t = (math.nan, math.nan, math.nan), -math.inf
        self._told, self._told_t, self._busy_t = "", -math.inf, -math.inf

    def retune(self, settings: SupportSettings) -> None:
        """Other functions from now on; what runs goes on from where it is."""
        self.settings = settings
        self._functions.retune(settings)

    def active(self) -> str:
        """The functions in force, for people: 'freq_droop (IEEE 1547-2018 6.5.2.7), const_pf (...)'."""
        found = (f"{name} ({clause})" if clause else name for name, clause in self.settings.functions())
        return ", ".join(found) or "none"

    @property
    def reactive_by(self) -> str:
        """The function that plans reactive power, with its clause; '' without one."""
        p = self.permission
        return f"{p.q_by} ({p.q_clause})" if p is not None and p.q_by else ""

    def hear(self, pilot: Sequence[GridSample], converter: Sequence[GridSample]) -> None:
        """The grid samples of this tick."""
        if pilot:
            self._pilot = pilot[-1]
        if converter:
            self._converter = converter[-1]

    def step(
        self,
        now: float,
        grid: GridStatus,
        converter: ConverterStatus,
        asked_w: float,
        available_w: float,
        sent_a: float,
    ) -> Supported:
        """asked_w: by the lease, available_w: what of it all other limits permit (W at the DC side). sent_a: the
        current that the gate let out last."""
        self.notes.clear()
        self.raised_by = ""
        v, i, p_ac_w = usable(converter.v_dc_v, now), usable(converter.i_dc_a, now), usable(converter.p_ac_w, now)
        if p_ac_w is not None and v is not None and i is not None and converter.p_ac_w is not None:
            self._loss.measure(converter.p_ac_w.t, p_ac_w, v * i)
        sample = self._sample(now)
        # While power has ceased there is nothing to move, and no function may take the zero for what the charger did
        # before: the power has to return to that at once. Nor while it returns (RESTORE_S).
        if grid.state is GridState.CEASED:
            self._ceased_t = now
        if not grid.may_connect or sample is None or grid.state is GridState.CEASED:
            self._in_service = self._in_service and grid.may_connect
            self.permission = None
            self._tell(now, "", "")
            return Supported((), asked_w, 0.0)
        if not self._in_service:
            self._in_service = True
            self._functions.enter_service(now)
        limits = converter.limits
        tan_phi_max = limits.tan_phi_max if limits is not None else 0.0
        available_ac_w = self._loss.to_ac(available_w)
        # What flows is the reference of the frequency functions, where a car takes less than it is offered. While the
        # power is on its way to what was asked, the reference is that: 4 mHz would else hold it where it just passes.
        if abs(available_ac_w - self._available_w) > STEADY_PU * self._rated_w:
            self._asked_t = now
        self._available_w = available_ac_w
        moving = now - max(self._ceased_t, self._asked_t) <= RESTORE_S or now - self._loss.moved_t < STEADY_S
        self.permission = p = self._functions.step(
            now,
            sample.v_pu,
            self._frequency_hz(sample),
            available_ac_w,
            flowing_w=None if moving else p_ac_w,
            reactive=tan_phi_max > 0.0,
        )
        found = self._limits(p, available_ac_w)
        by = p.limited_by if p.limited_by not in _IN_THE_STACK else ""
        if self._beyond and by and by != CIRCLE:
            wanted_w = self._loss.to_dc(p.p_w)
            if wanted_w < min(asked_w, 0.0) or wanted_w > max(asked_w, 0.0):
                asked_w, self.raised_by = wanted_w, f"{by} ({p.clause}): {self._functions.why(by)[0]}"
        moved_pu = abs(p.p_w - available_ac_w) / self._rated_w if by else 0.0
        acts = moved_pu >= TOLD_PU * (0.5 if by == self._told else 1.0)
        self._tell(now, by if acts else "", p.clause)
        return Supported(found, asked_w, self._tan_phi(p.q_var, p_ac_w, (v or 0.0) * sent_a, tan_phi_max))

    def _sample(self, now: float) -> GridSample | None:
        """The pilot's view of the grid, or the converter's when that is too old; None = nobody's is fresh."""
        for sample, age_s in ((self._pilot, _PILOT_AGE_S), (self._converter, _CONVERTER_AGE_S)):
            if sample is not None and now - sample.t <= age_s:
                a, b, c = sample.v_pu
                if -math.inf < a < math.inf and -math.inf < b < math.inf and -math.inf < c < math.inf:
                    return sample
        return None

    def _frequency_hz(self, sample: GridSample) -> float:
        """Hz for the functions; nan = not to be believed, they go on with the last one. Protection's rule (there must
        be a voltage to measure it on), and one more, because a single wrong value makes the power of that moment the
        reference: the phase jumps with a step of the voltage, and a frequency over two cycles has the jump in it."""
        t, v_pu, f_hz, _ = sample
        a, b, c = v_pu
        before_a, before_b, before_c = self._v_pu
        if abs(a - before_a) > JUMP_PU or abs(b - before_b) > JUMP_PU or abs(c - before_c) > JUMP_PU:
            self._jump_t = t
        self._v_pu = v_pu
        known = t - self._jump_t >= JUMP_S and measurable(f_hz, max(v_pu))
        return f_hz if known else math.nan

    def _limits(self, p: Permission, asked_ac_w: float) -> tuple[Limit, ...]:
        """The ends of the range as limits at the DC side. Those of the rating and the grid stand in the stack."""
        found = []
        for by in (p.max_by,) if p.max_by == p.min_by else (p.max_by, p.min_by):
            if by in _IN_THE_STACK:
                continue
            why, clause = self._functions.why(by)
            charge_w = self._loss.to_dc(max(0.0, p.max_w)) if by == p.max_by else self._charge_w
            discharge_w = abs(self._loss.to_dc(min(0.0, p.min_w))) if by == p.min_by else self._discharge_w
            found.append(Limit(by, why, charge_w, discharge_w, clause=clause))
        if abs(p.ramped_w) < abs(asked_ac_w) - 1.0:
            w = abs(self._loss.to_dc(p.ramped_w))
            charging = asked_ac_w > 0.0
            found.append(
                Limit("ramp", "so fast may it rise", w if charging else self._charge_w,
                      self._discharge_w if charging else w)
            )  # fmt: skip
        return tuple(found)

    def _tan_phi(self, q_var: float, p_ac_w: float | None, sent_w: float, tan_phi_max: float) -> float:
        """Reactive power as a share of the active power. While that rises, what was measured lags behind: the larger of
        measured and commanded power is taken, so that the reactive power comes late and not too large."""
        if p_ac_w is None or abs(p_ac_w) < IDLE_PU * self._rated_w or q_var == 0.0:
            return 0.0
        most = max(0.0, tan_phi_max - PROBE_TAN_PHI)
        sent_ac_w = abs(self._loss.to_ac(math.copysign(sent_w, p_ac_w)))
        return min(max(q_var / max(abs(p_ac_w), sent_ac_w), -most), most)

    def _tell(self, now: float, by: str, clause: str) -> None:
        """Events of a function that begins and ends to move the power, few enough to be read."""
        if by and by == self._told:
            self._busy_t = now
        if by == self._told or now - self._told_t < APART_S or (not by and now - self._busy_t < CALM_S):
            return
        if self._told:
            self.notes.append(EventMessage(now, "grid_support", self._told, cleared=True))
        if by:
            why = self._functions.why(by)[0]
            self.notes.append(EventMessage(now, "grid_support", f"{by} ({clause}): {why}"))
            self._busy_t = now
        self._told, self._told_t = by, now
