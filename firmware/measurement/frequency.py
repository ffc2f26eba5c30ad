"""Frequency and phase jump from the space vector of three voltages.

Method: the space vector (zero sequence is gone) is turned back at the expected frequency and averaged over exactly one
cycle. In that frame the negative sequence, DC and every harmonic turn a whole number of times per cycle, so the
average removes them; unbalance, a lost phase and distortion do not reach the result. What remains is the phasor of the
positive sequence; the slope of its angle over three further cycles, by least squares, is the deviation from the
expected frequency. When that was far off, the step is repeated with the new frequency.

A phase jump bends that line, and a plain slope would show a jump of 20 degrees as 1.4 Hz. So the residue of the line is
compared with what a jump at any instant would leave and with what a change of frequency at any instant would leave.
Where a jump explains it, and better than a change of frequency, the jump is reported and taken out of the slope. A
short fault makes two jumps inside one window, there and back; they are looked for together, because taking out one of
them alone would make the slope worse, not better.

The estimate depends on the last four cycles only; the previous estimate is merely where the search starts.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from firmware.measurement.window import Complexes, Floats, sliding_mean

# Measurable range, Hz. Wider than any trip window of the grid codes here (45..66), so that an element sees by how much
# its limit is passed; beyond it nan is the honest answer.
F_MIN_HZ = 40.0
F_MAX_HZ = 72.0
SPAN_CYCLES = 3.0  # of the line, beside the one cycle of the average: four in all
POINTS_PER_CYCLE = 32  # of the averaged angle; more of them carry nothing new
TOLERANCE_HZ = 0.02  # the average's zeros are this close to the harmonics: what leaks is below 0.1 % of them
MAX_PASSES = 5
JUMP_MIN_RAD = math.radians(2.0)  # smaller ones disturb the frequency by less than 0.15 Hz and are not worth a verdict
QUIET_RAD = math.radians(0.15)  # r.m.s. residue below which nothing has happened; noise of 0.5 % leaves 0.04 degrees
JUMP_SHARE = 0.8  # of the residue's energy that a jump must explain
CLEAR_SHARE = 0.99  # when one jump explains this much, no second one is looked for
PAIR_GAIN = 0.3  # two jumps must leave at most this share of what one jump, and what a change of frequency, leaves
PAIR_APART_CYCLES = 0.25  # closer together they cancel, and their sizes would be made of noise


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


class _Shapes(NamedTuple):
    """One row for each instant at which something may have happened inside the window."""

    ramp: Floats  # 0 to 1 while the jump passes through the averaged cycle
    settled: NDArray[np.intp]  # the point at which it has passed
    bend: Floats  # unit vectors: what a line leaves of a change of frequency
    apart: NDArray[np.bool_]  # of every second row and every second row: the latter is PAIR_APART_CYCLES later, or more


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
        self._shapes_of: dict[int, _Shapes] = {}

    def _shapes(self, f_hz: float) -> _Shapes:
        """What a jump or a bend leaves when the average is one cycle of about f_hz; made once for each whole Hz."""
        key = round(f_hz)
        found = self._shapes_of.get(key)
        if found is None:
            found = self._shapes_of[key] = self._make_shapes(1.0 / key)
        return found

    def _make_shapes(self, width_s: float) -> _Shapes:
        # The average turns a jump at tau into a ramp of one cycle, and a change of frequency at tau into a parabola of
        # one cycle followed by a line. With less than 0.4 of a cycle at either end the two cannot be told apart.
        t = self._t
        tau = np.arange(t[0] - 0.6 * width_s, t[-1] - 0.4 * width_s, self._step / self.fs_hz)
        x = np.maximum(t[None, :] - tau[:, None], 0.0) / width_s
        ramp: Floats = np.minimum(x, 1.0)
        bend: Floats = np.where(x < 1.0, x * x / 2.0, x - 0.5)
        bend = self._rest(bend)
        bend /= np.sqrt((bend * bend).sum(axis=1, keepdims=True))
        settled = np.minimum(np.searchsorted(t, tau + width_s), len(t) - 1)
        apart = tau[None, ::2] - tau[::2, None] >= PAIR_APART_CYCLES * width_s
        return _Shapes(ramp, settled, bend, apart)

    def _rest(self, shapes: Floats) -> Floats:
        """What a straight line leaves of each shape (a row)."""
        mean: Floats = shapes.mean(axis=1, keepdims=True)
        return shapes - mean - np.outer(shapes @ self._slope, self._t)

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
            slope, jump_deg = self._line(y, f_hz)
            before, f_hz = f_hz, f_hz + slope / (2.0 * math.pi)
            if not F_MIN_HZ <= f_hz <= F_MAX_HZ:
                return None
            if abs(f_hz - before) < TOLERANCE_HZ:
                break
        return Estimate(f_hz, jump_deg)

    def _line(self, y: Complexes, f_hz: float) -> tuple[float, float]:
        """Slope (rad/s) of the angle with jumps taken out, and the largest of them (degrees; 0 = none)."""
        angle = np.unwrap(np.angle(y))
        slope = float(self._slope @ angle)
        rest = angle - angle.mean() - slope * self._t
        energy = float(rest @ rest)
        if energy < len(rest) * QUIET_RAD**2:
            return slope, 0.0
        shapes = self._shapes(f_hz)
        # Where the voltage changes with the angle, the average turns as the new vector outweighs the old one.
        size_v = np.abs(y)
        ramp = np.where(
            shapes.ramp < 1.0, shapes.ramp * (size_v[shapes.settled][:, None] / size_v[None, :]), shapes.ramp
        )
        unit = self._rest(ramp)
        norm: Floats = np.sqrt((unit * unit).sum(axis=1))
        unit /= norm[:, None]
        jump: Floats = unit @ rest
        best = int(np.abs(jump).argmax())
        after_jump = energy - float(jump[best] ** 2)
        after_bend = energy - float(((shapes.bend @ rest) ** 2).max())
        at, sizes = np.array([best]), np.array([jump[best] / norm[best]])
        pair = None
        if after_jump > (1.0 - CLEAR_SHARE) * energy:
            pair = self._pair(jump[::2], unit[::2], norm[::2], shapes.apart)
        if pair is not None and energy - pair[0] < PAIR_GAIN * min(after_jump, after_bend):
            at, sizes = 2 * pair[1], pair[2]
        elif after_jump > (1.0 - JUMP_SHARE) * energy or after_jump > after_bend or abs(sizes[0]) < JUMP_MIN_RAD:
            return slope, 0.0
        slope -= float(sizes @ (ramp[at] @ self._slope))
        return slope, math.degrees(float(sizes[np.abs(sizes).argmax()]))

    def _pair(
        self, jump: Floats, unit: Floats, norm: Floats, apart: NDArray[np.bool_]
    ) -> tuple[float, NDArray[np.intp], Floats] | None:
        """The two jumps of opposite sign that explain most: (energy explained, their two rows, their sizes in rad).

        Of one sign they are not looked for: two such jumps a cycle apart are the same as a change of frequency.
        """
        product = unit @ unit.T
        scale = np.where(apart, 1.0 / np.maximum(1.0 - product * product, 1e-9), 0.0)
        first = (jump[:, None] - product * jump[None, :]) * scale
        second = (jump[None, :] - product * jump[:, None]) * scale
        explained = np.where(first * second < 0.0, first * jump[:, None] + second * jump[None, :], 0.0)
        i, j = divmod(int(explained.argmax()), len(jump))
        if explained[i, j] == 0.0:
            return None
        at = np.array([i, j])
        sizes: Floats = np.array([first[i, j], second[i, j]]) / norm[at]
        return (float(explained[i, j]), at, sizes) if np.abs(sizes).min() >= JUMP_MIN_RAD else None
