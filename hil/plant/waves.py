"""Three phases with unbalance and harmonics: what a source adds to a balanced sine, as a space vector.

In the frame that rotates at 2 pi 50 rad/s a balanced 50 Hz voltage stands still; a negative sequence turns backwards at
100 Hz in it, a harmonic of order n at (n - 1) or -(n + 1) times 50 Hz. So the plant's one complex equation carries all
three phases, with steps of STEP_S while they differ by more than their magnitudes. The zero sequence drives no current
(a converter with three wires; loads between a phase and the neutral are not there) and is added at the instruments.
"""

from __future__ import annotations

import cmath
import math
from collections import deque
from typing import NamedTuple

from hil.plant.ac import W0, AcSide
from hil.plant.grid_source import Shape, Volts

STEP_S = 50e-6  # of the integration while the phases are unbalanced or distorted
A = cmath.exp(2j * math.pi / 3.0)
_BASE = (0.0, -2.0 * math.pi / 3.0, 2.0 * math.pi / 3.0)
_TURN = (1.0 + 0j, A.conjugate(), A)  # of a phase against the first


class Seen(NamedTuple):
    """What an instrument that follows the frequency sees at the PCC: mean squares of the phases (V^2) and the positive
    sequence, both over the last half cycle."""

    a2: float
    b2: float
    c2: float
    phasor: complex


class HalfCycle:
    """The last half cycle in steps. Half a cycle of the source's own frequency has no ripple of unbalance or of odd
    harmonics; a window of another length would show one that the instrument's owner would never accept."""

    def __init__(self, a2: float, b2: float, c2: float) -> None:
        """a2, b2, c2: mean squares of before, for what the window still lacks."""
        self._before = (a2, b2, c2)
        self._steps: deque[tuple[float, float, float, float, complex]] = deque()

    def add(self, dt_s: float, a2: float, b2: float, c2: float, v: complex) -> None:
        self._steps.append((dt_s, a2, b2, c2, v))

    def seen(self, w_rad_s: float) -> Seen:
        left_s = window_s = math.pi / w_rad_s
        a2 = b2 = c2 = used = 0.0
        phasor, turned = 0j, 0.0
        turn = w_rad_s - W0
        for dt_s, a, b, c, v in reversed(self._steps):
            take = dt_s if dt_s < left_s else left_s
            a2, b2, c2 = a2 + take * a, b2 + take * b, c2 + take * c
            phasor += take * v * cmath.exp(1j * turn * turned)
            turned += dt_s
            used += take
            left_s -= take
            if left_s <= 1e-12:
                break
        while len(self._steps) * self._steps[-1][0] > 2.0 * window_s:  # more than any window needs
            self._steps.popleft()
        x, y, z = (p * left_s for p in self._before)
        return Seen((a2 + x) / window_s, (b2 + y) / window_s, (c2 + z) / window_s, phasor / used)


def phases(volts: Volts, shape: Shape, angle: float) -> tuple[float, float, float]:
    """Instantaneous voltages (V) of a source at the angle (rad) of its undistorted first phase. volts: RMS of the
    fundamental, phase to neutral."""
    found = []
    for v, base, apart in zip(volts, _BASE, shape.apart_rad, strict=True):
        own = angle + base + apart
        x = math.cos(own)
        for order, share, rad in shape.harmonics:
            x += share * math.cos(order * own + rad)
        found.append(math.sqrt(2.0) * v * x)
    return found[0], found[1], found[2]


def space_vector(a: float, b: float, c: float) -> complex:
    """Amplitude invariant, in the standing frame."""
    return (2.0 / 3.0) * (a + A * b + A.conjugate() * c)


def run(half: HalfCycle, ac: AcSide, span_s: float, t_s: float, volts: Volts, shape: Shape, w_rad_s: float, *,
        grid: bool, closed: bool,
        running: bool, dc_w: float, blocked: bool, tan_phi: float) -> Seen:  # fmt: skip
    """`AcSide.run` over span_s from t_s (s of the plant) on, with the source's real waveforms."""
    n = max(1, math.ceil(span_s / STEP_S - 1e-9))
    dt = span_s / n
    mean_v = math.sqrt(2.0) * (volts[0] + volts[1] + volts[2]) / 3.0
    angle, zeros, extra = ac.source_angle, [], []
    for k in range(n):
        # In the middle of the step: a value held from its beginning would lag by half of it.
        turned = angle + (w_rad_s - W0) * k * dt
        middle = 0.5 * dt
        frame = W0 * (t_s + k * dt)
        a, b, c = phases(volts, shape, turned + frame + w_rad_s * middle)
        zeros.append(sum(phases(volts, shape, turned + frame + w_rad_s * dt)) / 3.0)  # at the end, as the trace
        extra.append(space_vector(a, b, c) * cmath.exp(-1j * (frame + W0 * middle)) - cmath.rect(mean_v, turned))
    trace: list[complex] = []
    ac.run(n, mean_v, w_rad_s, grid=grid, closed=closed, running=running, dc_w=dc_w, blocked=blocked, tan_phi=tan_phi,
           dt_s=dt, extra=extra, trace=trace)  # fmt: skip
    for k, v in enumerate(trace):
        standing = v * cmath.exp(1j * W0 * (t_s + (k + 1) * dt))
        zero = zeros[k] if grid else 0.0
        a2, b2, c2 = (((standing * turn).real + zero) ** 2 for turn in _TURN)
        half.add(dt, a2, b2, c2, v)
    return half.seen(w_rad_s)
