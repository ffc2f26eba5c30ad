"""A meter for three-phase samples: blocks of any length in, the records that are due out.

Every record is computed from the samples that precede its time and from the previous frequency, never from the way the
stream was cut into blocks. Nothing is accumulated over more than a window, so nothing drifts.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firmware.measurement.frequency import F_MIN_HZ, FrequencyEstimator, space_vector
from firmware.measurement.record import Measured, Quality, Sequences, Three
from firmware.measurement.window import Complexes, Floats, weights

FS_MIN_HZ = 3200.0  # 64 samples a cycle at 50 Hz, the lowest rate of digital interfaces for protection
FS_MAX_HZ = 20_000.0
# Share of nominal below which the positive sequence carries no frequency. Policy: a third of it remains when two phases
# are lost (0.33), and 0.1 in the deepest sag that the grid codes want ridden through with a frequency.
FLOOR_PU = 0.05
ROCOF_WINDOW_S = 0.5
ROCOF_FAST_WINDOW_S = 0.1

_A = np.exp(2j * np.pi / 3.0)
_SYMMETRICAL = np.array([[1.0, _A, _A * _A], [1.0, _A * _A, _A], [1.0, 1.0, 1.0]]) / 3.0


class WaveformMeter:
    """Turns samples into `Measured` records.

    fs_hz: samples per second, 3200 to 20 000. nominal_hz: 50 or 60. nominal_v: phase to neutral, r.m.s.
    update_s: time between records, 1 ms to 1 s; None = half a cycle of the measured frequency. t0_s: time of the first
    sample. The first record comes when one cycle is there; f_hz follows after four. Raises ValueError for a value
    outside these ranges.
    """

    def __init__(
        self, fs_hz: float, nominal_hz: float, nominal_v: float, *, update_s: float | None = None, t0_s: float = 0.0
    ) -> None:
        checked_rates(fs_hz, nominal_hz, nominal_v)
        if update_s is not None and not 0.001 <= update_s <= 1.0:
            raise ValueError(f"update_s is {update_s:g}; allowed: 0.001 to 1 s, or None for half a cycle")
        self.fs_hz = float(fs_hz)
        self.nominal_hz = float(nominal_hz)
        self._update_s = update_s
        self._frequency = FrequencyEstimator(self.fs_hz, self.nominal_hz, FLOOR_PU * nominal_v * math.sqrt(2.0))
        # One cycle at the lowest frequency, or the frequency's window, whichever is longer; and the sample of the edge.
        self._keep = max(self._frequency.samples, int(self.fs_hz / F_MIN_HZ) + 2)
        self._with_currents: bool | None = None  # the first block decides
        self.restart(t0_s)

    def restart(self, t0_s: float) -> None:
        """Forget all samples: the next one is of time t0_s. For a gap in the stream, or a change of its clock."""
        if not math.isfinite(t0_s):
            raise ValueError(f"t0_s is {t0_s}; it must be a time in seconds")
        self._t0_s = t0_s
        self._samples = np.zeros((0, 6 if self._with_currents else 3))
        self._taken = 0  # samples since t0_s, those in self._samples being the newest
        self._f_hz = self.nominal_hz  # last frequency that was measurable: what the windows follow
        self._reports = 0
        self._due = int(self.fs_hz / self.nominal_hz) + 2  # how many samples the next record needs
        self._history: deque[tuple[float, float]] = deque()  # (t_s, f_hz) of the last ROCOF_WINDOW_S, without a gap

    def feed(self, v_v: ArrayLike, i_a: ArrayLike | None = None) -> list[Measured]:
        """Take the next samples and return the records that became due, oldest first.

        v_v: n x 3 phase-to-neutral volts; i_a: n x 3 amperes, + = into the charger, in every block or in none.
        Raises ValueError for another shape, for values that are no numbers, and for currents that come or go; then
        nothing has changed.
        """
        block = checked_block(v_v, "v_v")
        if self._with_currents is not None and self._with_currents is not (i_a is not None):
            raise ValueError("i_a must come with every block or with none; the first block decided otherwise")
        if i_a is not None:
            currents = checked_block(i_a, "i_a")
            if len(currents) != len(block):
                raise ValueError(
                    f"i_a has {len(currents)} samples, v_v has {len(block)}; they must be the same samples"
                )
            block = np.hstack((block, currents))
        if self._with_currents is None:
            self._with_currents = i_a is not None
            self._samples = self._samples[:, :1].repeat(block.shape[1], axis=1)
        self._samples = np.concatenate((self._samples[-self._keep :], block))
        self._taken += len(block)
        records = []
        while self._due <= self._taken:
            end = len(self._samples) - (self._taken - self._due)
            records.append(self._record(self._samples[max(0, end - self._keep) : end]))
            self._schedule()
        return records

    def _schedule(self) -> None:
        self._reports += 1
        if self._update_s is None:  # rounded down, so that two half-cycle windows leave nothing between them
            self._due += int(0.5 * self.fs_hz / self._f_hz)
        else:  # counted from the first record, so that rounding to samples does not add up
            first = int(self.fs_hz / self.nominal_hz) + 2
            self._due = first + round(self._reports * self._update_s * self.fs_hz)

    def _record(self, samples: Floats) -> Measured:
        """The record at the last of `samples`."""
        t_s = self._t0_s + (self._due - 1) / self.fs_hz
        v = samples[:, :3]
        quality = Quality.GOOD
        f_hz = jump_deg = math.nan
        if len(samples) < self._frequency.samples:
            quality |= Quality.FILLING
        else:
            estimate = self._frequency.estimate(space_vector(v), self._f_hz)
            if estimate is None:
                quality |= Quality.NO_FREQUENCY
            else:
                self._f_hz, jump_deg = f_hz, _ = estimate
                if jump_deg:
                    quality |= Quality.JUMP
        cycle = min(self.fs_hz / self._f_hz, len(samples) - 1.0)
        w = weights(cycle)
        v = v[-len(w) :]
        half = weights(cycle / 2.0)
        turn = np.exp(np.arange(1 - len(w), 1) * (-2j * math.pi / cycle)) * w
        phasors: Complexes = math.sqrt(2.0) * (turn @ v)
        v_cycle = np.sqrt(w @ (v * v))
        pp = v - np.roll(v, -1, axis=1)
        p = q = s = None
        if self._with_currents:
            i = samples[-len(w) :, 3:]
            p = _three(w @ (v * i))
            q = _three((phasors * np.conj(math.sqrt(2.0) * (turn @ i))).imag)
            s = _three(v_cycle * np.sqrt(w @ (i * i)))
        rocof, rocof_fast = self._rocof(t_s, f_hz)
        return Measured(
            t_s=t_s,
            v_half_v=_three(np.sqrt(half @ (v[-len(half) :] ** 2))),
            v_cycle_v=_three(v_cycle),
            v_pp_v=_three(np.sqrt(w @ (pp * pp))),
            f_hz=f_hz,
            rocof_hz_s=rocof,
            rocof_fast_hz_s=rocof_fast,
            jump_deg=jump_deg,
            seq_v=Sequences(*_three(np.abs(_SYMMETRICAL @ phasors))),
            dc_v=_three(w @ v),
            p_w=p,
            q_var=q,
            s_va=s,
            quality=quality,
        )

    def _rocof(self, t_s: float, f_hz: float) -> tuple[float, float]:
        """Hz/s over both windows; nan until a window is filled with frequencies without a gap."""
        if math.isnan(f_hz):
            self._history.clear()
            return math.nan, math.nan
        self._history.append((t_s, f_hz))
        while self._history[0][0] < t_s - ROCOF_WINDOW_S - 1e-6:
            self._history.popleft()
        points = np.array(self._history)
        return _trend(points, ROCOF_WINDOW_S), _trend(points, ROCOF_FAST_WINDOW_S)


def _trend(points: Floats, window_s: float) -> float:
    """Slope by least squares over the newest `window_s`; nan when the points cover less than 0.9 of it."""
    t, f = points[points[:, 0] >= points[-1, 0] - window_s - 1e-6].T
    if len(t) < 3 or t[-1] - t[0] < 0.9 * window_s - 1e-6:
        return math.nan
    t = t - t.mean()
    return float(t @ (f - f[0]) / (t @ t))


def _three(values: Floats) -> Three:
    a, b, c = values.tolist()
    return a, b, c


def checked_rates(fs_hz: float, nominal_hz: float, nominal_v: float) -> None:
    """Raises ValueError with one sentence for a value outside its range."""
    if not FS_MIN_HZ <= fs_hz <= FS_MAX_HZ:
        raise ValueError(f"fs_hz is {fs_hz:g}; allowed: {FS_MIN_HZ:g} to {FS_MAX_HZ:g} samples per second")
    if nominal_hz not in (50.0, 60.0):
        raise ValueError(f"nominal_hz is {nominal_hz:g}; allowed: 50 or 60")
    if not 50.0 <= nominal_v <= 1000.0:
        raise ValueError(f"nominal_v is {nominal_v:g}; allowed: 50 to 1000 V, phase to neutral")


def checked_block(values: ArrayLike, name: str) -> Floats:
    """The block as n x 3 doubles. Raises ValueError with one sentence for anything else."""
    try:
        block: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be n x 3 numbers, one column a phase") from None
    if block.ndim != 2 or block.shape[1] != 3:
        raise ValueError(f"{name} has the shape {block.shape}; it must be n x 3, one column a phase")
    if not np.isfinite(block).all():
        raise ValueError(f"{name} contains values that are no finite numbers; cut the gap out and call restart")
    return block
