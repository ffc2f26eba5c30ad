"""Waveforms as an instrument shows them to protection: half-cycle r.m.s. per phase and a two-cycle frequency.

The instrument is simpler and so less kind than firmware/measurement: it knows nothing of phase jumps. Its r.m.s. value
scatters while a jump passes its window, its frequency shows the jump as a pulse of two cycles.
"""

from __future__ import annotations

import math

import numpy as np

from firmware.measurement.frequency import space_vector
from firmware.measurement.waveform import WaveformMeter
from firmware.protection.types import GridSample
from tests.measurement.signals import Signal

FS_HZ = {50.0: 6000.0, 60.0: 6000.0}  # whole samples in a half cycle and in 5 ms
REPORT_S = 0.005
NOMINAL_V = 230.0


def two_cycle(signal: Signal, nominal_hz: float, length_s: float) -> list[GridSample]:
    """Samples every 5 ms; the frequency is nan until its two cycles are filled."""
    fs_hz = FS_HZ[nominal_hz]
    v = signal.samples(fs_hz, length_s)
    half, turn = round(fs_hz / nominal_hz / 2.0), round(1.5 * fs_hz / nominal_hz)
    squares = np.vstack([np.zeros(3), np.cumsum(v * v, axis=0)])
    t = np.arange(len(v)) / fs_hz
    vector = space_vector(v) * np.exp(-2j * math.pi * nominal_hz * t)
    sums = np.concatenate([[0.0], np.cumsum(vector)])
    samples = []
    for end in range(half, len(v) + 1, round(REPORT_S * fs_hz)):
        rms = np.sqrt((squares[end] - squares[end - half]) / half) / NOMINAL_V
        f_hz = math.nan
        if end >= half + turn:
            new, old = sums[end] - sums[end - half], sums[end - turn] - sums[end - turn - half]
            f_hz = nominal_hz + float(np.angle(new * np.conj(old))) * fs_hz / (2.0 * math.pi * turn)
        samples.append(GridSample(end / fs_hz, (float(rms[0]), float(rms[1]), float(rms[2])), f_hz))
    return samples


def four_cycle(signal: Signal, nominal_hz: float, length_s: float) -> list[GridSample]:
    """The same by firmware/measurement: four cycles, jumps taken out."""
    fs_hz = FS_HZ[nominal_hz]
    meter = WaveformMeter(fs_hz, nominal_hz, NOMINAL_V, update_s=REPORT_S)
    a = NOMINAL_V
    return [
        GridSample(m.t_s, (m.v_half_v[0] / a, m.v_half_v[1] / a, m.v_half_v[2] / a), m.f_hz)
        for m in meter.feed(signal.samples(fs_hz, length_s))
    ]
