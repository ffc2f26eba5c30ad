"""Reactive over active power: watt-var, Q(P), of IEEE 1547-2018, clause 5.3.4, and cos phi (P) of VDE-AR-N 4105."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from firmware.grid_support.curve import Curve
from firmware.grid_support.reactive import tan_phi
from firmware.grid_support.response import OPEN_LOOP_SHARE


@dataclass(frozen=True, slots=True)
class WattVarSettings:
    """curve: P pu (+ = charging) -> Q pu (+ = absorbing), both directions in one."""

    curve: Curve
    response_s: float
    clause: str
    share: float = OPEN_LOOP_SHARE


class WattVar:
    name: Final = "watt_var"

    def __init__(self, s: WattVarSettings) -> None:
        self._curve = s.curve
        self.clause, self.response_s, self.share = s.clause, s.response_s, s.share

    def target_pu(self, t: float, v_pu: float, p_pu: float) -> float:
        return self._curve.at(p_pu)


@dataclass(frozen=True, slots=True)
class WattPfSettings:
    """curve: P pu (+ = charging) -> power factor, + = absorbing, - = injecting, 0 excluded.

    VDE-AR-N 4105:2018-11, clause 5.7.2 (number not verified): absorbing, only discharging counts, charging is left at
    1. EN 50549-1:2019, clause 4.7.2.3 (number not verified), has it as well. Between a point that absorbs and one
    that injects the power factor goes over 1, not over 0, where the reactive power would be without end.
    """

    curve: Curve
    response_s: float
    clause: str
    share: float = OPEN_LOOP_SHARE

    def __post_init__(self) -> None:
        for _, pf in self.curve.points:
            if not 0.0 < abs(pf) <= 1.0:
                raise ValueError(f"a power factor is {pf}; allowed: -1 to 1, and not 0")


class WattPf:
    name: Final = "cosphi_p"

    def __init__(self, s: WattPfSettings) -> None:
        # How far from 1, with the sign of the reactive power: straight lines of it are straight lines of the factor.
        self._short = Curve((p, math.copysign(1.0 - abs(pf), pf)) for p, pf in s.curve.points)
        self.clause, self.response_s, self.share = s.clause, s.response_s, s.share

    def target_pu(self, t: float, v_pu: float, p_pu: float) -> float:
        short = self._short.at(p_pu)
        return math.copysign(abs(p_pu) * tan_phi(1.0 - abs(short)), short) + 0.0  # no negative zero
