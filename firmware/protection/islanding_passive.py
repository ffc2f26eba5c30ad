"""Anti-islanding, passive part: changes that only the loss of the grid makes.

Rate of change of frequency, phase jump and voltage change are what a passive relay looks at, and what every grid code
here wants ridden through (IEEE 1547-2018 6.4.2.6, 6.5.2.6; EN 50549-1 4.5): up to 3 Hz/s, 20 degrees in all phases, 60
in one. So none of them proves an island. What trips here is only a rate that no code asks to ride through: RATE_HZ_S,
twice the strictest limit, kept up for HOLD_S between medians that a phase jump does not reach. Phase jump and voltage
change have no threshold: a jump stays in the two-cycle frequency for 40 ms (angle = excess * 40 ms * 360 degrees), and
beyond the must-ride-through of voltage its own elements trip. Harmonic change is not judged: no source measures it.

The numbers are policy values.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from statistics import median

from firmware.protection.types import GridSample

RATE_HZ_S = 6.0
SPAN_S = 0.200  # the rate is the change within this
WINDOW_S = 0.085  # medians at both ends: a jump stays in a two-cycle frequency for 40 ms
HOLD_S = 0.200
MIN_SAMPLES = 8  # of 17 in a window


class PassiveDetector:
    """Feed it with `step`. Attribute `rate_hz_s`: the last rate, nan while there is none."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()
        self.reset()

    def reset(self) -> None:
        self.rate_hz_s = math.nan
        self.since = math.inf  # the rate has been beyond RATE_HZ_S in one direction
        self._samples.clear()

    def step(self, now: float, samples: Sequence[GridSample]) -> bool:
        """True when the frequency has run away for HOLD_S."""
        self._samples.extend((s.t, s.f_hz) for s in samples if s.f_hz == s.f_hz)
        start = now - SPAN_S - WINDOW_S
        while self._samples and self._samples[0][0] < start:
            self._samples.popleft()
        early = [f for t, f in self._samples if t <= start + WINDOW_S]
        late = [f for t, f in self._samples if t > now - WINDOW_S]
        before = self.rate_hz_s
        if min(len(early), len(late)) < MIN_SAMPLES:
            self.rate_hz_s = math.nan
        else:
            self.rate_hz_s = (median(late) - median(early)) / SPAN_S
        if not abs(self.rate_hz_s) > RATE_HZ_S:
            self.since = math.inf
        elif self.since == math.inf or before * self.rate_hz_s < 0.0:
            self.since = now
        return now - self.since >= HOLD_S - 1e-9
