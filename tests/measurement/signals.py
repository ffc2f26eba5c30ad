"""Three-phase signals whose true values are known, for the tests and the accuracy study of measurement."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# 8.1 % distortion with orders and shares like those of a low-voltage grid full of rectifiers (EN 50160 allows 6, 5,
# 3.5, 3 and 8 % in total): order -> share of the fundamental.
HARMONICS_8_PCT = {3: 0.03, 5: 0.055, 7: 0.045, 11: 0.02, 13: 0.015}
THREE_ONES = (1.0, 1.0, 1.0)


def constant(f_hz: float) -> Callable[[Floats], Floats]:
    """Cycles since t = 0 of a constant frequency."""
    return lambda t: f_hz * t


def step(f_hz: float, to_hz: float, at_s: float) -> Callable[[Floats], Floats]:
    """Cycles since t = 0 of a frequency that steps at at_s."""
    return lambda t: f_hz * t + (to_hz - f_hz) * np.maximum(t - at_s, 0.0)


def ramp(f_hz: float, hz_s: float, at_s: float) -> Callable[[Floats], Floats]:
    """Cycles since t = 0 of a frequency that rises by hz_s from at_s on."""
    return lambda t: f_hz * t + 0.5 * hz_s * np.maximum(t - at_s, 0.0) ** 2


@dataclass(frozen=True)
class Signal:
    """cycles: of the fundamental up to each time; amplitude, angle_deg: per phase; then_...: the same from at_s to
    until_s; harmonics: order -> share of the fundamental; dc_pu: per phase; noise_pu: white, r.m.s., of nominal."""

    cycles: Callable[[Floats], Floats]
    nominal_v: float = 230.0
    amplitude: tuple[float, float, float] = THREE_ONES
    then_amplitude: tuple[float, float, float] | None = None
    angle_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    then_angle_deg: tuple[float, float, float] | None = None
    at_s: float = math.inf
    until_s: float = math.inf
    harmonics: dict[int, float] = field(default_factory=dict)
    dc_pu: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise_pu: float = 0.0

    def samples(self, fs_hz: float, length_s: float, seed: int = 1) -> Floats:
        """n x 3 volts; the noise is that of the seed."""
        t = np.arange(round(fs_hz * length_s)) / fs_hz
        after = (t >= self.at_s) & (t < self.until_s)
        cycles = self.cycles(t)
        v = np.empty((len(t), 3))
        for phase in range(3):
            then = self.then_angle_deg or self.angle_deg
            shift = np.where(after, then[phase], self.angle_deg[phase]) / 360.0
            angle = 2.0 * math.pi * (cycles + shift - phase / 3.0)
            wave = np.sin(angle)
            for order, share in self.harmonics.items():
                wave += share * np.sin(order * angle + 0.7 * order)
            size = np.where(after, (self.then_amplitude or self.amplitude)[phase], self.amplitude[phase])
            v[:, phase] = (math.sqrt(2.0) * size * wave + self.dc_pu[phase]) * self.nominal_v
        if self.noise_pu:
            v += self.noise_pu * self.nominal_v * np.random.default_rng(seed).standard_normal(v.shape)
        return v

    def true_v(self, phase: int, after: bool) -> float:
        """r.m.s. volts of a phase, harmonics, DC and noise included."""
        size = ((self.then_amplitude or self.amplitude) if after else self.amplitude)[phase]
        ac = size * size * (1.0 + sum(share * share for share in self.harmonics.values()))
        return self.nominal_v * math.sqrt(ac + self.dc_pu[phase] ** 2 + self.noise_pu**2)
