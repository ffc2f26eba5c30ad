"""Integrals over windows that are not a whole number of samples long.

An r.m.s. value over a window that is not a whole number of (half) cycles ripples with twice the grid's frequency: at
47.5 Hz a window of 20 ms is 5 % too short and the value swings by 2.5 %. So windows follow the measured frequency, and
their older end lies between two samples. The signal is taken as straight between samples (trapezoidal rule).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]


def weights(length: float) -> Floats:
    """Weights of the mean over the last `length` samples (>= 1, any fraction). They apply to the newest len() samples.

    With length = m + r: the trapezoid over the m newest intervals, and the newer share r of the interval before.
    """
    if not length >= 1.0:
        raise ValueError(f"window of {length:g} samples; it must be at least 1 sample long")
    m = int(length)
    r = length - m
    w = np.ones(m + 2)
    w[0] = r * r / 2.0
    w[1] = 0.5 + r - r * r / 2.0
    w[-1] = 0.5
    if m == 1:
        w[1] = 0.5 + r - r * r / 2.0
    return w / length


def sliding_mean(z: Complexes, length: float, at: NDArray[np.intp]) -> Complexes:
    """The mean over `length` samples that end at each index in `at` (each at least int(length) + 1).

    The running sum starts at z[0], so no rounding is carried from one call to the next.
    """
    m = int(length)
    r = length - m
    total = np.cumsum(z)
    older = at - m
    whole = total[at] - total[older - 1] - 0.5 * z[at]
    edge = (r - r * r / 2.0 - 0.5) * z[older] + (r * r / 2.0) * z[older - 1]
    result: Complexes = (whole + edge) / length
    return result
