"""One measurement of the grid, whatever it came from. Standard library only."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import NamedTuple

Three = tuple[float, float, float]


class Quality(enum.Flag):
    """What is doubtful in a record. GOOD (no flag) = every quantity that the source can give is there and settled."""

    GOOD = 0
    FILLING = enum.auto()  # the frequency's window has not been filled since the start or the last restart
    NO_FREQUENCY = enum.auto()  # too little voltage, or outside the measurable range: f_hz is nan
    JUMP = enum.auto()  # a phase jump lies inside the frequency's window: see jump_deg; f_hz has it taken out


class Sequences(NamedTuple):
    """Magnitudes (V r.m.s., fundamental) of the symmetrical components of the phase-to-neutral voltages."""

    positive_v: float
    negative_v: float
    zero_v: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The grid at `t_s`, the end of every window below. nan or None = this source does not give it, or not yet.

    v_half_v, v_cycle_v: r.m.s. phase to neutral over the last half and the last whole cycle (refreshed each half
    cycle, the latter is U_rms(1/2) of IEC 61000-4-30, without its synchronisation to zero crossings);
    v_pp_v: L1-L2, L2-L3, L3-L1 over one cycle; f_hz: over four cycles; rocof_hz_s: regression of f_hz over 0.5 s,
    rocof_fast_hz_s: over 0.1 s; jump_deg: phase jump of the positive sequence inside the frequency's window, + = the
    voltage leads its own past, 0 = none; seq_v, dc_v: over one cycle; p_w, q_var, s_va per phase over one cycle,
    + = into the charger. q_var is of the fundamental, + = the charger takes inductive reactive power.
    """

    t_s: float
    v_half_v: Three
    v_cycle_v: Three
    v_pp_v: Three | None = None
    f_hz: float = math.nan
    rocof_hz_s: float = math.nan
    rocof_fast_hz_s: float = math.nan
    jump_deg: float = math.nan
    seq_v: Sequences | None = None
    dc_v: Three | None = None
    p_w: Three | None = None
    q_var: Three | None = None
    s_va: Three | None = None
    quality: Quality = Quality.GOOD


def from_telemetry(t_s: float, v_v: Three, f_hz: float) -> Measured:
    """The record of a device that reports r.m.s. voltages (V, phase to neutral) and a frequency (Hz, nan = none).

    The device's windows are its own: both r.m.s. fields carry the one value it gives. Phase-to-phase voltages are not
    derived from it, because without angles they cannot be.
    """
    quality = Quality.NO_FREQUENCY if math.isnan(f_hz) else Quality.GOOD
    return Measured(t_s=t_s, v_half_v=v_v, v_cycle_v=v_v, f_hz=f_hz, quality=quality)
