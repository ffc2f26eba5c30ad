"""LFSM-O and LFSM-U: limited frequency sensitive mode, over- and under-frequency, as storage does it.

EN 50549-1:2019, clauses 4.6.1 and 4.6.2, and VDE-AR-N 4105:2018-11, clause 5.7.4.3 (clause numbers not verified). The
change is (f - f_start) / (f_n * droop) of the **maximum** power: with rising frequency discharging falls, and when it
is zero charging rises; with falling frequency charging falls, then discharging rises. `f_stop_hz` is where the change
ends to grow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from firmware.grid_support.frequency_power import FrequencyPower


@dataclass(frozen=True, slots=True)
class LfsmSide:
    """f_start_hz: where it begins. droop: pu of frequency a pu of power. f_stop_hz: None = no end."""

    f_start_hz: float
    droop: float
    f_stop_hz: float | None
    clause: str


@dataclass(frozen=True, slots=True)
class LfsmSettings:
    """A side that a code does not have is None. response_s: time to 90 % of the change.

    release_hold_s, release_pu_per_min: after the event the power does not go back beyond where it was until the
    frequency has been inside for so long, and then not faster than this (None: as fast as it likes).
    """

    nominal_f_hz: float
    over: LfsmSide | None
    under: LfsmSide | None
    response_s: float
    release_hold_s: float = 0.0
    release_pu_per_min: float | None = None


def lfsm_change_pu(s: LfsmSettings, f_hz: float) -> float:
    """Change of power at f_hz, in pu of rated power, + = towards charging."""
    if s.over is not None and f_hz > s.over.f_start_hz:
        f = f_hz if s.over.f_stop_hz is None else min(f_hz, s.over.f_stop_hz)
        return (f - s.over.f_start_hz) / (s.nominal_f_hz * s.over.droop)
    if s.under is not None and f_hz < s.under.f_start_hz:
        f = f_hz if s.under.f_stop_hz is None else max(f_hz, s.under.f_stop_hz)
        return (f - s.under.f_start_hz) / (s.nominal_f_hz * s.under.droop)
    return 0.0


def _change_w(s: LfsmSettings, rated_w: float, f_hz: float, _: float) -> float:
    return lfsm_change_pu(s, f_hz) * rated_w


def lfsm(s: LfsmSettings, rated_w: float) -> FrequencyPower:
    return FrequencyPower(
        "lfsm",
        partial(_change_w, s, rated_w),
        (
            -math.inf if s.under is None else s.under.f_start_hz,
            math.inf if s.over is None else s.over.f_start_hz,
        ),
        ("" if s.under is None else s.under.clause, "" if s.over is None else s.over.clause),
        rated_w,
        response_s=s.response_s,
        hold_s=s.release_hold_s,
        ramp_w_per_s=math.inf if s.release_pu_per_min is None else s.release_pu_per_min * rated_w / 60.0,
    )
