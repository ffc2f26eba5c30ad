"""Frequency and phase jump from the space vector of three voltages.

Method: the space vector (zero sequence is gone) is turned back at the expected frequency and averaged over exactly one
cycle. In that frame the negative sequence, DC and every harmonic turn a whole number of times per cycle, so the
average removes them; unbalance, a lost phase and distortion do not reach the result. What remains is the phasor of the
positive sequence; the slope of its angle over three further cycles, by least squares, is the deviation from the
expected frequency. When that was far off, the step is repeated with the new frequency.

A phase jump bends that line, and a plain slope would show a jump of 20 degrees as 1.4 Hz. So the residue of the line is
compared with what a jump at any instant would leave and with what a change of frequency at any instant would leave.
Where a jump explains it, and better than a change of frequency, the jump is reported and taken out of the slope.

The estimate depends on the last four cycles only; the previous estimate is merely where the search starts.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from firmware.measurement.window import Complexes, Floats, sliding_mean

# Measurable range, Hz. Wider than any trip window of the grid codes here (45..66), so that an element sees by how much
# its limit is passed; beyond it nan is the honest answer.
F_MIN_HZ = 40.0
F_MAX_HZ = 72.0
SPAN_CYCLES = 3.0  # of the line, beside the one cycle of the average: four in all
POINTS_PER_CYCLE = 32  # of the averaged angle; more of them carry nothing new
TOLERANCE_HZ = 0.02  # the average's zeros are this close to the harmonics: what leaks is below 0.1 % of them
MAX_PASSES = 5
JUMP_MIN_DEG = 2.0  # smaller ones disturb the frequency by less than 0.15 Hz and are not worth a verdict
JUMP_SHARE = 0.8  # of the residue's energy that a jump must explain


class Estimate(NamedTuple):
    """f_hz: frequency (Hz); jump_deg: phase jump inside the window, 0 = none."""

    f_hz: float
    jump_deg: float


def space_vector(v_v: Floats) -> Complexes:
    """n x 3 phase-to-neutral volts -> n complex volts; the length is the peak of a balanced phase voltage."""
    # Column by column: a matrix product of this size would start BLAS threads, which cost more than they bring.
    u: Complexes = np.empty(len(v_v), dtype=np.complex128)
    u.real = (2.0 * v_v[:, 0] - v_v[:, 1] - v_v[:, 2]) / 3.0
    u.imag = (v_v[:, 1] - v_v[:, 2]) / math.sqrt(3.0)
    return u


class FrequencyEstimator:
    """Frequency of the newest samples. fs_hz: samples per second; floor_v: peak volts of the space vector below which
    there is no frequency; span_cycles: nominal cycles of the line beside the averaged one."""

    def __init__(self, fs_hz: float, nominal_hz: float, floor_v: float, span_cycles: float = SPAN_CYCLES) -> None:
        self.fs_hz = fs_hz
        self.nominal_hz = nominal_hz
        self._floor_v = floor_v
        cycle = fs_hz / nominal_hz
        self._step = max(1, int(cycle / POINTS_PER_CYCLE))
        points = round(span_cycles * cycle / self._step) + 1
        self._span = (points - 1) * self._step
        self._at = np.arange(points) * self._step
        self.samples = self._span + int(fs_hz / F_MIN_HZ) + 2  # that `estimate` may use at most
        t = self._at / fs_hz
        self._t: Floats = t - t.mean()
        self._slope: Floats = self._t / (self._t @ self._t)
        # Shapes that a jump and a change of frequency at tau leave in the averaged angle: a ramp of one cycle, and a
        # parabola of one cycle followed by a line. 0.4 of a cycle at either end is too little to tell.
        width = 1.0 / nominal_hz
        tau = np.arange(t[0] - 0.6 * width, t[-1] - 0.4 * width, self._step / fs_hz)
        x = np.maximum(t[None, :] - tau[:, None], 0.0) / width
        ramp = np.minimum(x, 1.0)
        bend = np.where(x < 1.0, x * x / 2.0, x - 0.5)
        self._ramp_slope: Floats = ramp @ self._slope
        self._ramp, self._ramp_norm = self._residue(ramp)
        self._bend, _ = self._residue(bend)

    def _residue(self, shapes: Floats) -> tuple[Floats, Floats]:
        """What a straight line leaves of each shape, as unit vectors, and how long they were."""
        rest = shapes - shapes.mean(axis=1, keepdims=True) - np.outer(shapes @ self._slope, self._t)
        norm: Floats = np.sqrt((rest * rest).sum(axis=1))
        return rest / norm[:, None], norm

    def estimate(self, u: Complexes, start_hz: float) -> Estimate | None:
        """The frequency of the window that ends with u[-1]; None = not measurable.

        u: at least `samples` values of the space vector. start_hz: the expected frequency, any in the range.
        """
        found = self._of(u, start_hz)
        if found is None:  # phases in the order L1, L3, L2: the vector turns the other way, at the same speed
            found = self._of(np.conj(u), start_hz)
        return found

    def _of(self, u: Complexes, f_hz: float) -> Estimate | None:
        for _ in range(MAX_PASSES):
            length = self.fs_hz / f_hz
            first = int(length) + 1
            count = first + self._span + 1
            turn = np.exp(np.arange(count) * (-2j * math.pi * f_hz / self.fs_hz))
            y = sliding_mean(u[len(u) - count :] * turn, length, self._at + first)
            if np.abs(y).min() < self._floor_v:
                return None
            slope, jump_deg = self._line(np.unwrap(np.angle(y)))
            before, f_hz = f_hz, f_hz + slope / (2.0 * math.pi)
            if not F_MIN_HZ <= f_hz <= F_MAX_HZ:
                return None
            if abs(f_hz - before) < TOLERANCE_HZ:
                break
        return Estimate(f_hz, jump_deg)

    def _line(self, angle: Floats) -> tuple[float, float]:
        """Slope (rad/s) with a jump taken out, and that jump (degrees; 0 = none)."""
        slope = float(self._slope @ angle)
        rest = angle - angle.mean() - slope * self._t
        jump = self._ramp @ rest
        bend = self._bend @ rest
        best = int(np.abs(jump).argmax())
        explained = float(jump[best] ** 2)
        size = float(jump[best] / self._ramp_norm[best])
        if (
            abs(size) < math.radians(JUMP_MIN_DEG)
            or explained < JUMP_SHARE * float(rest @ rest)
            or explained < float((bend * bend).max())
        ):
            return slope, 0.0
        return slope - size * float(self._ramp_slope[best]), math.degrees(size)
