"""Half-cycle RMS and two-cycle frequency, measured on the envelope.

RMS: the mean of |v|^2 over a true sliding window of half a nominal cycle, per phase (window of IEC 61000-4-30 Urms(1/2)
is a full cycle; the pilot MCU's is half of one). Working on the envelope leaves out the point-on-wave scatter that an
instrument on the waveform shows for about half a cycle after a step.

Frequency: how far the phasor, averaged over half a cycle (the instrument's input filter), turned within the last one
and a half: two nominal cycles of data. An instrument does not know that there is nothing to
measure: below `floor_v` its input is noise, and it free-runs on whatever frequency it is told, as the analyser near
Toledo did for hours after the collapse (32 V of 26 558 V, "47 Hz"). It is not kindly silenced.
"""

from __future__ import annotations

import cmath
import math

FLOOR_V = 2.3  # 1 % of 230 V: below this a zero-crossing or PLL instrument has lost its input


class GridInstrument:
    """A three-phase voltage and frequency instrument, fed once per block of plant time."""

    def __init__(self, block_s: float, nominal_hz: float = 50.0, floor_v: float = FLOOR_V) -> None:
        self._block_s = block_s
        self._f0_hz = nominal_hz
        self._floor2 = floor_v * floor_v
        self._n = round(0.5 / nominal_hz / block_s)
        self._m = round(1.5 / nominal_hz / block_s)
        if self._n < 2 or abs(self._n * block_s * 2.0 * nominal_hz - 1.0) > 1e-6:
            raise ValueError(f"half a cycle of {nominal_hz} Hz is not a whole number of blocks of {block_s} s")
        self.reset()

    def reset(self) -> None:
        """Nothing is connected: the windows are emptied (a later connection fills them again, block by block)."""
        self._squares = [[0.0] * self._n for _ in range(3)]
        self._sums = [0.0, 0.0, 0.0]
        self._phasors = [0j] * self._n
        self._phasor = 0j
        self._turns = [0.0] * self._m
        self._turned = 0.0
        self._k = self._j = 0
        self._last = 0j
        self.live = False  # the last block was above the floor

    def update(self, a2: float, b2: float, c2: float, phasor: complex, free_hz: float) -> None:
        """One block: mean squares of the three phases (V^2), the phasor at its end, the frequency to free-run on."""
        k = self._k
        ra, rb, rc = self._squares
        sums = self._sums
        sums[0] += a2 - ra[k]
        sums[1] += b2 - rb[k]
        sums[2] += c2 - rc[k]
        ra[k], rb[k], rc[k] = a2, b2, c2
        self._phasor = filtered = self._phasor + phasor - self._phasors[k]
        self._phasors[k] = phasor
        self._k = k = k + 1
        if k == self._n:  # once a window: sum again, so that rounding never accumulates
            self._k = 0
            sums[0], sums[1], sums[2] = math.fsum(ra), math.fsum(rb), math.fsum(rc)
            self._phasor = sum(self._phasors)
        last = self._last
        self.live = (a2 + b2 + c2) > 3.0 * self._floor2
        if self.live and last:
            turn = cmath.phase(filtered * last.conjugate())
        else:
            turn = 2.0 * math.pi * (free_hz - self._f0_hz) * self._block_s
        self._last = filtered if self.live else 0j
        j = self._j
        self._turned += turn - self._turns[j]
        self._turns[j] = turn
        self._j = j = j + 1
        if j == self._m:
            self._j = 0
            self._turned = math.fsum(self._turns)

    def hold(self, a2: float, b2: float, c2: float) -> None:
        """The window's means are known (V^2): as if every block of it had been these."""
        n = self._n
        self._squares = [[a2] * n, [b2] * n, [c2] * n]
        self._sums = [n * a2, n * b2, n * c2]

    def rms_v(self) -> tuple[float, float, float]:
        """Half-cycle RMS of the three phases, V."""
        a, b, c = self._sums
        n = self._n
        return math.sqrt(max(a, 0.0) / n), math.sqrt(max(b, 0.0) / n), math.sqrt(max(c, 0.0) / n)

    def f_hz(self) -> float:
        """Mean frequency of the last two nominal cycles, Hz."""
        return self._f0_hz + self._turned / (2.0 * math.pi * self._m * self._block_s)
