"""Volt-watt, P(U), both directions: a high voltage limits discharging, a low one charging.

IEEE 1547-2018, clause 5.4.2; EN 50549-1:2019, clause 4.7.3; AS/NZS 4777.2:2020, clause 3.3.2.2 (clause numbers of the
last two not verified). The highest phase limits discharging and the lowest phase charging: both are the tighter choice
where a code leaves the phase open. Where the curve falls below zero, the charger must take power.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from firmware.grid_support.bounds import FREE, Bounds
from firmware.grid_support.curve import Curve
from firmware.grid_support.response import OPEN_LOOP_SHARE, Response

_NOWHERE = (math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class VoltWattSettings:
    """discharge, charge: V pu -> most power in that direction, pu of rated power; None = not limited by voltage."""

    discharge: Curve | None
    charge: Curve | None
    olrt_s: float
    clause: str
    share: float = OPEN_LOOP_SHARE


class VoltWatt:
    name: Final = "volt_watt"

    def __init__(self, s: VoltWattSettings, rated_w: float) -> None:
        self._s, self._rated_w = s, rated_w
        self._discharge, self._charge = Response(s.olrt_s, s.share), Response(s.olrt_s, s.share)
        self.clause = s.clause
        self._v_pu = (1.0, 1.0, 1.0)
        self._bounds = FREE
        # With all phases between these (V pu) the curves are level: each lag has the same target as in the step before.
        self._level = _NOWHERE
        self._discharge_pu = self._charge_pu = math.nan  # these targets
        self._settled = False  # the lags have arrived there: the next bounds are these again

    def take_over(self, other: VoltWatt) -> None:
        """Go on from the limits of another one."""
        self._discharge.take_over(other._discharge)
        self._charge.take_over(other._charge)
        self._level = _NOWHERE

    @property
    def why(self) -> str:
        return f"V {min(self._v_pu):.3f}..{max(self._v_pu):.3f} pu"

    def step(self, t: float, v_pu: tuple[float, float, float]) -> Bounds:
        """The bounds at `t` (s) for the three phase voltages (pu)."""
        a, b, c = self._v_pu = v_pu
        begin, end = self._level
        if not (begin <= a < end and begin <= b < end and begin <= c < end):
            self._aim(min(v_pu), max(v_pu))
        elif self._settled:
            return self._bounds
        s = self._s
        lo_w, hi_w = -math.inf, math.inf
        settled = True
        if s.discharge is not None:
            lo_w = -self._discharge.step(t, self._discharge_pu) * self._rated_w
            settled = self._discharge.settled
        if s.charge is not None:
            hi_w = self._charge.step(t, self._charge_pu) * self._rated_w
            settled = settled and self._charge.settled
        self._settled = settled
        if lo_w > hi_w:  # wide unbalance may ask for both at once; neither direction is then right
            lo_w = hi_w = 0.0
        if lo_w != self._bounds.lo_w or hi_w != self._bounds.hi_w:
            self._bounds = tuple.__new__(Bounds, (lo_w, hi_w))  # half the time
        return self._bounds

    def _aim(self, lo_pu: float, hi_pu: float) -> None:
        """Where the curves want the lags for the lowest and the highest phase, and how far around that is so."""
        begin, end = -math.inf, math.inf
        s = self._s
        if s.discharge is not None:
            self._discharge_pu = s.discharge.at(hi_pu)
            begin, end = s.discharge.plateau(hi_pu)
        if s.charge is not None:
            self._charge_pu = s.charge.at(lo_pu)
            low, high = s.charge.plateau(lo_pu)
            begin, end = max(begin, low), min(end, high)
        self._level = begin, end
