"""Anti-islanding, passive part: changes that only the loss of the grid makes.

Rate of change of frequency, phase jump and voltage change are what a passive relay looks at, and what every grid code
here wants ridden through (IEEE 1547-2018 6.4.2.6, 6.5.2.6; EN 50549-1 4.5): up to 3 Hz/s, 20 degrees in all phases, 60
in one. So none of them proves an island. What trips here is only a rate that no code asks to ride through: RATE_HZ_S,
twice the strictest limit, kept up for HOLD_S between medians that a phase jump does not reach. Phase jump and voltage
change have no threshold: a jump stays in the two-cycle frequency for 40 ms (angle = excess * 40 ms * 360 degrees), and
beyond the must-ride-through of voltage its own elements trip. Both are measured and shown. Harmonic change is not
judged: guard's sources (the pilot MCU's block and the converter's telemetry) measure no harmonics.

The numbers are policy values.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from firmware.protection.recent import Recent, middle
from firmware.protection.types import GridSample

RATE_HZ_S = 6.0
SPAN_S = 0.200  # the rate is the change within this
WINDOW_S = 0.085  # medians at both ends: a jump stays in a two-cycle frequency for 40 ms
HOLD_S = 0.200
F_WINDOW_S = 0.040  # two cycles: a jump of x degrees is x/360/F_WINDOW_S Hz for so long
SHOW_S = 1.0  # what is shown stays so long
V_SLOW_SHARE = 0.02  # of each sample: a mean of about 50 samples, 0.25 s, that a change is told against
MIN_SAMPLES = 8  # of 17 in a window


class PassiveDetector:
    """Feed it with `step`. Attributes `rate_hz_s`: the last rate, nan while there is none; `held_s`: for how long it
    has been beyond the limit. `jump_deg`, `v_change_pu`: phase jump and change of the mean voltage within SHOW_S."""

    def __init__(self) -> None:
        self._samples = Recent()
        self.reset()

    def reset(self) -> None:
        self.rate_hz_s = math.nan
        self.since = math.inf  # the rate has been beyond RATE_HZ_S in one direction
        self.held_s = 0.0
        self.jump_deg = self.v_change_pu = 0.0
        self._t_jump = self._t_v = math.nan
        self._v_pu = math.nan
        self._samples.clear()

    def step(self, now: float, samples: Sequence[GridSample]) -> bool:
        """True when the frequency has run away for HOLD_S."""
        start = now - SPAN_S - WINDOW_S
        self._samples.take(now, samples, start)
        t, f_hz = self._samples.t, self._samples.f_hz
        early, late, end = bisect_right(t, start + WINDOW_S), bisect_right(t, now - WINDOW_S), len(t)
        before, early_hz = self.rate_hz_s, math.nan
        if early < MIN_SAMPLES or end - late < MIN_SAMPLES:
            self.rate_hz_s = math.nan
        else:
            early_hz = middle(sorted(f_hz[:early]), 0, early)
            late_hz = middle(sorted(f_hz[late:]), 0, end - late)
            # Over the time between the samples: a sample at the very end of a window lies in one of the two only.
            self.rate_hz_s = (late_hz - early_hz) / (middle(t, late, end) - middle(t, 0, early))
        if not abs(self.rate_hz_s) > RATE_HZ_S:
            self.since = math.inf
        elif self.since == math.inf or before * self.rate_hz_s < 0.0:
            self.since = now
        self.held_s = now - self.since if self.since < math.inf else 0.0
        self._show(now, samples, early_hz)
        return self.held_s >= HOLD_S - 1e-9

    def _show(self, now: float, samples: Sequence[GridSample], early_hz: float) -> None:
        """The largest jump and change of voltage; forgotten SHOW_S after they were made."""
        if now - self._t_jump > SHOW_S:
            self.jump_deg = 0.0
        if now - self._t_v > SHOW_S:
            self.v_change_pu = 0.0
        for sample in samples:
            _, (a, b, c), f_hz, _ = sample
            jump_deg = abs(f_hz - early_hz) * F_WINDOW_S * 360.0
            if jump_deg >= self.jump_deg:  # never true of nan: no frequency, or none before
                self.jump_deg, self._t_jump = jump_deg, now
            v_pu = (a + b + c) / 3.0
            slow = v_pu if self._v_pu != self._v_pu else self._v_pu
            if abs(v_pu - slow) >= self.v_change_pu:
                self.v_change_pu, self._t_v = abs(v_pu - slow), now
            self._v_pu = slow + (v_pu - slow) * V_SLOW_SHARE
