"""Harmonics over windows of ten or twelve cycles of whatever the frequency is."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware.measurement.harmonics import HarmonicMeter, Harmonics, resample
from tests.measurement.signals import HARMONICS_8_PCT, Signal, constant

FS_HZ = 10_000.0


def meter(nominal_hz: float = 50.0, fs_hz: float = FS_HZ) -> HarmonicMeter:
    return HarmonicMeter(fs_hz, nominal_hz, 230.0)


@settings(max_examples=25, deadline=None)
@given(st.floats(45.0, 66.0), st.integers(2, 40), st.floats(0.001, 0.1), st.sampled_from([50.0, 60.0]))
@example(50.0, 40, 0.05, 50.0)
@example(66.0, 2, 0.05, 50.0)
def test_one_harmonic_is_found_in_its_place_and_nowhere_else(
    f_hz: float, order: int, share: float, nominal_hz: float
) -> None:
    signal = Signal(constant(f_hz), harmonics={order: share}, dc_pu=(0.01, -0.02, 0.0))
    windows = meter(nominal_hz).feed(signal.samples(FS_HZ, 0.5))
    assert windows
    for window in windows:
        assert window.f_hz == pytest.approx(f_hz, abs=1e-3)
        assert window.thd == pytest.approx((share,) * 3, abs=1e-4)
        assert window.dc_v == pytest.approx((2.3, -4.6, 0.0), abs=0.01)
        for phase in window.order_v:
            expected = [230.0 if h == 1 else 230.0 * share * (h == order) for h in range(41)]
            assert phase[1:] == pytest.approx(expected[1:], abs=0.02)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 8000), max_size=20))
@example(list(range(0, 8000, 250)))
def test_the_cut_of_the_stream_into_blocks_changes_no_bit(cuts: list[int]) -> None:
    v = Signal(constant(48.7), harmonics=HARMONICS_8_PCT, noise_pu=0.01).samples(FS_HZ, 0.8)
    expected = meter().feed(v)
    parts = meter()
    found: list[Harmonics] = []
    edges = [0, *sorted(cuts), len(v)]
    for start, end in itertools.pairwise(edges):
        found += parts.feed(v[start:end])
    assert repr(found) == repr(expected)
    assert len(expected) >= 2


def test_windows_follow_one_another_without_gap() -> None:
    for nominal_hz, f_hz, cycles in ((50.0, 49.1, 10), (60.0, 61.3, 12)):
        windows = meter(nominal_hz).feed(Signal(constant(f_hz)).samples(FS_HZ, 1.5))
        assert len(windows) >= 5
        for a, b in itertools.pairwise(windows):
            assert b.t_s - a.t_s == pytest.approx(cycles / f_hz, rel=1e-5)


def test_orders_that_the_sampling_rate_cannot_carry_are_not_reported() -> None:
    assert [len(w.order_v[0]) - 1 for w in meter(fs_hz=3200.0).feed(Signal(constant(50.0)).samples(3200.0, 0.3))] == [
        26
    ]
    (window,) = meter(fs_hz=FS_HZ).feed(Signal(constant(50.0)).samples(FS_HZ, 0.3))
    assert window.highest == 40


def test_a_dead_grid_gives_no_window_and_the_next_live_one_does() -> None:
    dead = np.random.default_rng(3).standard_normal((20_000, 3))
    live = Signal(constant(50.0), harmonics={5: 0.05}).samples(FS_HZ, 1.0)
    used = meter()
    assert used.feed(dead) == []
    windows = used.feed(live)
    assert windows[-1].thd == pytest.approx((0.05,) * 3, abs=1e-3)
    assert windows[-1].t_s == pytest.approx(3.0, abs=0.3)


def test_each_phase_has_its_own_distortion() -> None:
    v = Signal(constant(50.2), harmonics={7: 0.04}).samples(FS_HZ, 0.4)
    v[:, 1] = replace(Signal(constant(50.2)), harmonics={3: 0.02}).samples(FS_HZ, 0.4)[:, 1]
    window = meter().feed(v)[-1]
    assert window.thd == pytest.approx((0.04, 0.02, 0.04), abs=1e-3)
    assert window.order_v[1][3] == pytest.approx(4.6, abs=0.05)
    assert window.order_v[0][3] == pytest.approx(0.0, abs=0.05)


def test_bad_input_is_refused_and_changes_nothing() -> None:
    v = Signal(constant(50.0)).samples(FS_HZ, 0.4)
    used = meter()
    found = used.feed(v[:1000])
    with pytest.raises(ValueError, match="n x 3"):
        used.feed(np.zeros((3, 1)))
    with pytest.raises(ValueError, match="no finite numbers"):
        used.feed(np.full((3, 3), math.nan))
    found += used.feed(v[1000:])
    assert repr(found) == repr(meter().feed(v))
    with pytest.raises(ValueError, match="nominal_hz is 40"):
        HarmonicMeter(FS_HZ, 40.0, 230.0)


@given(st.floats(20.0, 70.0), st.floats(0.0, 0.4))
def test_interpolation_is_right_up_to_the_usable_share_of_the_sampling_rate(at: float, share: float) -> None:
    k = np.arange(100.0)
    samples = np.stack([np.cos(2 * math.pi * share * k), np.sin(2 * math.pi * share * k), np.ones(100)], axis=1)
    found = resample(samples, np.array([at]))[0]
    x = 2 * math.pi * share * at
    assert found == pytest.approx((math.cos(x), math.sin(x), 1.0), abs=2e-3)
