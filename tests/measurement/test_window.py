"""Means over a fractional number of samples, against the exact integral."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firmware.measurement.window import sliding_mean, weights

lengths = st.floats(1.0, 60.0)


@given(lengths, st.floats(-5.0, 5.0), st.floats(-5.0, 5.0))
@example(1.0, 1.0, 1.0)
@example(1.5, 0.0, 1.0)
@example(2.0, 0.0, 1.0)
def test_the_mean_of_a_straight_line_is_its_middle(length: float, offset: float, slope: float) -> None:
    """The trapezoid is exact for a line, also in the shared interval at the older end."""
    w = weights(length)
    t = np.arange(1 - len(w), 1)
    assert w @ (offset + slope * t) == pytest.approx(offset - slope * length / 2.0, abs=1e-9)
    assert w.sum() == pytest.approx(1.0)
    assert (w >= 0.0).all()


@given(lengths, st.integers(0, 1000))
@example(1.0, 0)
@example(7.0, 1)
def test_the_sliding_mean_is_the_weighted_mean_at_every_place(length: float, seed: int) -> None:
    z = np.random.default_rng(seed).standard_normal(100) + 1j
    w = weights(length)
    at = np.arange(int(length) + 1, 100)
    expected = [w @ z[k - len(w) + 1 : k + 1] for k in at]
    assert sliding_mean(z, length, at) == pytest.approx(np.array(expected), abs=1e-9)


@pytest.mark.parametrize("length", [0.99, 0.0, -1.0, float("nan")])
def test_a_window_shorter_than_a_sample_is_refused(length: float) -> None:
    with pytest.raises(ValueError, match="at least 1 sample"):
        weights(length)
