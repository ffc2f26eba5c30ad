"""Volt-var, Q(U): IEEE 1547-2018, clause 5.3.3; VDE-AR-N 4105:2018-11, clause 5.7.2 (number not verified).

Low voltage: inject; high voltage: absorb. `autonomous_s` is IEEE's autonomously adjusting reference: the curve slides
with the slow mean of the voltage, inside 0.95..1.05 pu (Table 8, footnote; range as in OpenDER's setter checks).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from firmware.grid_support.curve import Curve
from firmware.grid_support.response import OPEN_LOOP_SHARE, TIME_CONSTANT_SHARE, Response

VREF_MIN_PU: Final = 0.95
VREF_MAX_PU: Final = 1.05


@dataclass(frozen=True, slots=True)
class VoltVarSettings:
    """curve: V pu -> Q pu, + = absorbing; vref_pu moves it sideways. autonomous_s: time constant, None = vref fixed."""

    curve: Curve
    response_s: float
    clause: str
    share: float = OPEN_LOOP_SHARE
    vref_pu: float = 1.0
    autonomous_s: float | None = None

    def __post_init__(self) -> None:
        if not VREF_MIN_PU <= self.vref_pu <= VREF_MAX_PU:
            raise ValueError(f"vref is {self.vref_pu} pu; allowed: {VREF_MIN_PU}..{VREF_MAX_PU} pu")


class VoltVar:
    name: Final = "volt_var"

    def __init__(self, s: VoltVarSettings) -> None:
        self._curve, self._shift_pu = s.curve, s.vref_pu - 1.0
        # From, to, Q: a level stretch of the curve, as the dead band is one.
        self._flat = (math.inf, math.inf, math.nan)
        self.clause, self.response_s, self.share = s.clause, s.response_s, s.share
        self._vref = None if s.autonomous_s is None else Response(s.autonomous_s, TIME_CONSTANT_SHARE, start=s.vref_pu)

    def target_pu(self, t: float, v_pu: float, p_pu: float) -> float:
        x = v_pu - self._shift_pu
        if self._vref is not None:
            x = v_pu - (min(max(self._vref.step(t, v_pu), VREF_MIN_PU), VREF_MAX_PU) - 1.0)
        begin, end, q_pu = self._flat
        if begin <= x < end:
            return q_pu
        q_pu = self._curve.at(x)
        self._flat = (*self._curve.plateau(x), q_pu)
        return q_pu
