"""Harmonics to the 40th, total distortion and DC over windows of 10 cycles (50 Hz) or 12 (60 Hz), about 200 ms.

After IEC 61000-4-7 (window 10/12 cycles, harmonic subgroups of the spectral line and its two neighbours) and
IEC 61000-4-30 (consecutive windows without gap or overlap). Both are cited from memory of their published summaries;
the texts were not at hand, so this is not a claim of class A or class I.

The window must hold whole cycles or every line leaks into the next ones. Sampling is not locked to the grid, so the
frequency of the window is measured first and the samples are interpolated (windowed sinc) to 256 a cycle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from firmware.measurement.frequency import F_MIN_HZ, FrequencyEstimator, space_vector
from firmware.measurement.record import Three
from firmware.measurement.waveform import FLOOR_PU, checked_block, checked_rates
from firmware.measurement.window import Floats

ORDERS = 40
PER_CYCLE = 256  # resampled; more than twice the 40th order, and above the order of anything 20 kS/s can hold at 60 Hz
# Interpolation: a sinc of this many taps on each side under a Kaiser window. Flat within 0.1 % up to USABLE of the
# sampling rate; orders above it are not reported, because what they would say is the interpolation's.
TAPS = 16
USABLE = 0.42
# The kernel by distance in samples, symmetrical. With 512 points a sample a straight line between them is 5e-6 off.
_DISTANCE: Floats = np.linspace(0.0, TAPS, TAPS * 512 + 1)
_KERNEL: Floats = np.sinc(_DISTANCE) * np.i0(8.0 * np.sqrt(1.0 - (_DISTANCE / TAPS) ** 2)) / np.i0(8.0)


@dataclass(frozen=True, slots=True)
class Harmonics:
    """One window of three phase voltages that ends at t_s.

    order_v: per phase, order_v[phase][h] = r.m.s. volts of the harmonic subgroup h (index 0: see dc_v, always 0.0);
    it ends with `highest`, the last order that the sampling rate allows, 40 at most. thd: per phase, the subgroups 2
    and up over that of order 1, as a share (0.08 = 8 %). dc_v: mean. f_hz: over the window.
    """

    t_s: float
    f_hz: float
    highest: int
    order_v: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
    thd: Three
    dc_v: Three


class HarmonicMeter:
    """Fed samples in blocks of any length, returns a `Harmonics` for each window; windows follow one another.

    fs_hz, nominal_hz, nominal_v, t0_s: as WaveformMeter. A window without a measurable frequency gives no record: its
    samples are passed over in steps of the nominal window.
    """

    def __init__(self, fs_hz: float, nominal_hz: float, nominal_v: float, *, t0_s: float = 0.0) -> None:
        checked_rates(fs_hz, nominal_hz, nominal_v)
        self.fs_hz = float(fs_hz)
        self.nominal_hz = float(nominal_hz)
        self._cycles = 10 if nominal_hz == 50.0 else 12
        # The line spans all but the averaged cycle of the window, so the frequency is that of the window itself.
        floor_v = FLOOR_PU * nominal_v * math.sqrt(2.0)
        self._frequency = FrequencyEstimator(self.fs_hz, self.nominal_hz, floor_v, span_cycles=self._cycles - 1.5)
        self._longest = int(self._cycles * self.fs_hz / F_MIN_HZ) + 2 * TAPS + 2
        self._t0_s = t0_s
        self._dropped = 0  # samples since t0_s that are no longer kept
        self._start = float(TAPS)  # of the next window, in samples since t0_s; taps of the past must be there
        self._samples = np.zeros((0, 3))

    def feed(self, v_v: ArrayLike) -> list[Harmonics]:
        """v_v: n x 3 phase-to-neutral volts. Raises ValueError as WaveformMeter.feed; then nothing has changed."""
        self._samples = np.concatenate((self._samples, checked_block(v_v, "v_v")))
        found: list[Harmonics] = []
        while True:
            first = int(self._start) - TAPS
            if self._dropped + len(self._samples) - first < self._longest:
                return found
            self._samples = self._samples[first - self._dropped :]
            self._dropped = first
            window = self._samples[: self._longest]
            nominal = self._cycles * self.fs_hz / self.nominal_hz
            # Measured on the nominal length from the start: at 40 Hz a part of the window, at 72 Hz a bit beyond it.
            part = window[: max(self._frequency.samples, TAPS + int(nominal))]
            estimate = self._frequency.estimate(space_vector(part), self.nominal_hz)
            if estimate is None:
                self._start += nominal
                continue
            length = self._cycles * self.fs_hz / estimate.f_hz
            end_s = self._t0_s + (self._start + length) / self.fs_hz
            found.append(self._analyse(window, self._start - first, length, end_s))
            self._start += length

    def _analyse(self, samples: Floats, start: float, length: float, end_s: float) -> Harmonics:
        f_hz = self._cycles * self.fs_hz / length
        count = self._cycles * PER_CYCLE
        at: Floats = start + np.arange(count, dtype=np.float64) * (length / count)
        even = resample(samples, at)
        lines = np.abs(np.fft.rfft(even, axis=0)) * (math.sqrt(2.0) / count)
        power = lines * lines
        highest = min(ORDERS, int(USABLE * self.fs_hz / f_hz))
        line = np.arange(1, highest + 1) * self._cycles
        order = np.zeros((highest + 1, 3))
        order[1:] = np.sqrt(power[line - 1] + power[line] + power[line + 1])
        thd = np.sqrt((order[2:] ** 2).sum(axis=0)) / order[1]
        columns = [tuple(column) for column in order.T.tolist()]
        return Harmonics(
            t_s=end_s,
            f_hz=f_hz,
            highest=highest,
            order_v=(columns[0], columns[1], columns[2]),
            thd=(float(thd[0]), float(thd[1]), float(thd[2])),
            dc_v=(float(even[:, 0].mean()), float(even[:, 1].mean()), float(even[:, 2].mean())),
        )


def resample(samples: Floats, at: Floats) -> Floats:
    """The columns of `samples` at the fractional indices `at`; TAPS samples must exist on both sides of each."""
    base = np.floor(at).astype(np.intp)
    offset = np.arange(1 - TAPS, TAPS + 1)
    distance = np.abs((at - base)[:, None] - offset[None, :])
    kernel: Floats = np.interp(distance, _DISTANCE, _KERNEL)
    kernel /= kernel.sum(axis=1, keepdims=True)  # a constant stays that constant
    result: Floats = np.einsum("ij,ijk->ik", kernel, samples[base[:, None] + offset[None, :]])
    return result
