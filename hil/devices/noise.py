"""Noise of measurements: two draws of random.Random.gauss(0, 1) at the price of one."""

from __future__ import annotations

import random
from math import cos, log, pi, sin, sqrt

_TWO_PI = 2.0 * pi


def two(rng: random.Random) -> tuple[float, float]:
    """What rng.gauss(0.0, 1.0) would give now and the time after, to the last bit; the generator moves on as by them.

    The same formula as the standard library's (Box and Muller: two uniform numbers make two normal ones, of which it
    keeps the second for the next call)."""
    # The stubs leave `gauss_next` out; it is what the generator keeps for the next call, and part of its state.
    if rng.gauss_next is not None:  # type: ignore[attr-defined]
        return rng.gauss(0.0, 1.0), rng.gauss(0.0, 1.0)
    uniform = rng.random
    angle = uniform() * _TWO_PI
    size = sqrt(-2.0 * log(1.0 - uniform()))
    return cos(angle) * size, sin(angle) * size
