"""What somebody sets to a fixed value: power factor, reactive power, a limit of active power.

IEEE 1547-2018, clauses 5.3.2 (constant power factor), 5.3.5 (constant reactive power), 4.6.2 (limit of active power).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from firmware.grid_support.bounds import FREE, Bounds
from firmware.grid_support.reactive import tan_phi
from firmware.grid_support.response import OPEN_LOOP_SHARE, Response


@dataclass(frozen=True, slots=True)
class FixedPf:
    """Power factor 0..1 (0 excluded), the same charging and discharging; absorbing or injecting."""

    pf: float
    absorbing: bool
    response_s: float
    clause: str
    share: float = OPEN_LOOP_SHARE
    name: str = "const_pf"

    def __post_init__(self) -> None:
        if not 0.0 < self.pf <= 1.0:
            raise ValueError(f"the power factor is {self.pf}; allowed: above 0, up to 1")

    def target_pu(self, t: float, v_pu: float, p_pu: float) -> float:
        q = abs(p_pu) * tan_phi(self.pf)
        return q if self.absorbing else -q


@dataclass(frozen=True, slots=True)
class FixedVar:
    """Reactive power in pu of rated apparent power, -1..1, + = absorbing."""

    q_pu: float
    response_s: float
    clause: str
    share: float = OPEN_LOOP_SHARE
    name: str = "const_q"

    def __post_init__(self) -> None:
        if not -1.0 <= self.q_pu <= 1.0:
            raise ValueError(f"the reactive power is {self.q_pu} pu; allowed: -1..1 pu")

    def target_pu(self, t: float, v_pu: float, p_pu: float) -> float:
        return self.q_pu


@dataclass(frozen=True, slots=True)
class PowerLimitSettings:
    """Most power in each direction, pu of rated power, 0..1; response_s: time to 90 % of a change of the limit."""

    charge_pu: float
    discharge_pu: float
    response_s: float
    clause: str

    def __post_init__(self) -> None:
        for what, value in (("charging", self.charge_pu), ("discharging", self.discharge_pu)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"the limit of {what} is {value} pu; allowed: 0..1 pu")


class PowerLimit:
    name: Final = "limit_active_power"

    def __init__(self, s: PowerLimitSettings, rated_w: float) -> None:
        self._rated_w = rated_w
        self._lo, self._hi = Response(s.response_s), Response(s.response_s)
        self.settings = s  # may be replaced while running; the bounds follow within response_s
        self.why = "an operator limits active power"
        self._bounds = FREE

    def step(self, t: float) -> Bounds:
        s = self.settings
        lo_w = self._lo.step(t, -s.discharge_pu) * self._rated_w
        hi_w = self._hi.step(t, s.charge_pu) * self._rated_w
        if lo_w != self._bounds.lo_w or hi_w != self._bounds.hi_w:
            self._bounds = Bounds(lo_w, hi_w)
        return self._bounds
