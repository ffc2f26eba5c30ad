"""Support functions of a charger on an island, as IEEE 1547.1-2020 wants them set there ("most aggressive").

The points are those of published test scripts (medium confidence); reactive power of a function never exceeds what
guard leaves to functions beside the probe. Positive = charging, absorbing, as everywhere inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from firmware.grid_support.curve import Curve
from firmware.grid_support.fixed import FixedVar
from firmware.grid_support.freq_droop import FreqDroopSettings, freq_droop
from firmware.grid_support.reactive import Reactive
from firmware.grid_support.response import Response
from firmware.grid_support.volt_var import VoltVar, VoltVarSettings
from firmware.grid_support.watt_var import WattVar, WattVarSettings
from firmware.guard.support import JUMP_PU, JUMP_S
from firmware.protection.frequency_trip import measurable
from firmware.protection.types import GridSample

# IEEE 1547-2018, 6.4.2.7.3 and table 16: category III ceases below 0.5 pu, within 0.083 s. The command takes up to
# 0.05 s of that.
CEASE_PU = 0.5
CEASE_S = 0.03
_CLAUSE = "IEEE 1547.1-2020, unintentional islanding, as published test scripts have it"


def volt_var_most(q_pu: float = 0.25) -> VoltVar:
    """0.98/1.00/1.00/1.02 pu, Q +-0.25 (A) or +-0.44 (B), 1 s."""
    curve = Curve([(0.98, -q_pu), (1.0, 0.0), (1.02, q_pu)])
    return VoltVar(VoltVarSettings(curve, 1.0, _CLAUSE))


def volt_var_default() -> VoltVar:
    """Category B, IEEE 1547-2018 table 8: 0.92/0.98/1.02/1.08 pu, Q +-0.44, 5 s."""
    curve = Curve([(0.92, -0.44), (0.98, 0.0), (1.02, 0.0), (1.08, 0.44)])
    return VoltVar(VoltVarSettings(curve, 5.0, _CLAUSE))


def watt_var_most() -> WattVar:
    """Absorbing 0.44 at full discharge, from nothing at half (own reading: the scripts name no points)."""
    return WattVar(WattVarSettings(Curve([(-1.0, 0.44), (-0.5, 0.0)]), 1.0, _CLAUSE))


def watt_var_default() -> WattVar:
    """IEEE 1547-2018 table 9, category B: nothing up to half, absorbing 0.44 at full discharge; 10 s here."""
    return WattVar(WattVarSettings(Curve([(-1.0, 0.44), (-0.5, 0.0)]), 10.0, _CLAUSE))


def constant_var(q_pu: float) -> FixedVar:
    return FixedVar(q_pu, 1.0, _CLAUSE)


@dataclass(frozen=True)
class Support:
    """What acts: one function of reactive power or none, and the most aggressive droop (0.017 Hz, k 0.02, 0.2 s). That
    droop is one of category III, and so is momentary cessation below 0.5 pu, which comes with it."""

    reactive: Reactive | None = None
    droop: bool = False


class Functions:
    """The functions of one charger at work, with guard's rules: what was asked for is never exceeded nor reversed, and
    the frequency of a grid without voltage, or within two cycles of a step of it, is not believed."""

    def __init__(self, support: Support, power_w: float, base_tan_phi: float, rated_w: float, hz: float) -> None:
        self._reactive = support.reactive
        self._power_w, self._base, self._rated_w = power_w, base_tan_phi, rated_w
        self._q = Response(support.reactive.response_s, support.reactive.share) if support.reactive else None
        droop = FreqDroopSettings(hz, 0.017, 0.017, 0.02, 0.02, 0.2, _CLAUSE)
        self._droop = freq_droop(droop, rated_w) if support.droop else None
        self._v_pu, self._jump_t = (math.nan,) * 3, -math.inf
        self._low_t = math.inf

    def step(self, t: float, sample: GridSample, p_w: float) -> tuple[float, float]:
        """(power to set, W; tan phi to set) given the grid and the power that flows."""
        power_w, tan_phi = self._power_w, self._base
        if any(abs(a - b) > JUMP_PU for a, b in zip(sample.v_pu, self._v_pu, strict=True)):
            self._jump_t = sample.t
        self._v_pu = sample.v_pu
        known = measurable(sample.f_hz, max(sample.v_pu)) and sample.t - self._jump_t >= JUMP_S
        if self._droop is not None:
            bounds = self._droop.step(t, sample.f_hz if known else math.nan, p_w)
            power_w = min(max(power_w, bounds.lo_w), bounds.hi_w)
            power_w = min(max(power_w, min(self._power_w, 0.0)), max(self._power_w, 0.0))
            self._low_t = min(self._low_t, t) if min(sample.v_pu) < CEASE_PU else math.inf
            if t - self._low_t >= CEASE_S:
                power_w = 0.0
        if self._reactive is not None and self._q is not None:
            v_pu = sum(sample.v_pu) / 3.0
            q_pu = self._q.step(t, self._reactive.target_pu(t, v_pu, p_w / self._rated_w))
            tan_phi = q_pu * self._rated_w / max(abs(p_w), 0.02 * self._rated_w)
        return power_w, max(-0.6, min(0.6, tan_phi))
