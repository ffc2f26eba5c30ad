"""Three phases with unbalance and harmonics: what a source adds to a balanced sine, as a space vector.

In the frame that rotates at 2 pi 50 rad/s a balanced 50 Hz voltage stands still; a negative sequence turns backwards at
100 Hz in it, a harmonic of order n at (n - 1) or -(n + 1) times 50 Hz. So the plant's one complex equation carries all
three phases, with steps of STEP_S while they differ by more than their magnitudes. The zero sequence drives no current
(a converter with three wires; loads between a phase and the neutral are not there) and is added at the instruments.
"""

from __future__ import annotations

import cmath
import math
from typing import NamedTuple

from hil.plant.ac import W0, AcSide
from hil.plant.grid_source import Shape, Volts

STEP_S = 50e-6  # of the integration while the phases are unbalanced or distorted
A = cmath.exp(2j * math.pi / 3.0)
_BASE = (0.0, -2.0 * math.pi / 3.0, 2.0 * math.pi / 3.0)
_TURN = (1.0 + 0j, A.conjugate(), A)  # of a phase against the first


class Span(NamedTuple):
    """The mean squares of the three phases at the PCC over a span of time, V^2."""

    a2: float
    b2: float
    c2: float


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


def run(ac: AcSide, span_s: float, t_s: float, volts: Volts, shape: Shape, w_rad_s: float, *, grid: bool, closed: bool,
        running: bool, dc_w: float, blocked: bool, tan_phi: float) -> Span:  # fmt: skip
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
    squares = [0.0, 0.0, 0.0]
    for k, v in enumerate(trace):
        standing = v * cmath.exp(1j * W0 * (t_s + (k + 1) * dt))
        zero = zeros[k] if grid else 0.0
        for phase, turn in enumerate(_TURN):
            squares[phase] += ((standing * turn).real + zero) ** 2
    return Span(squares[0] / n, squares[1] / n, squares[2] / n)
