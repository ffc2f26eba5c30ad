"""The array plant of hil/islanding against closed forms, and slices of the experiment; the whole is slow."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from firmware.protection.islanding_active import ActiveDetector
from firmware.protection.types import GridSample, Transfer
from hil.islanding.cases import disturbances, functions, islands, several, swings
from hil.islanding.experiment import NOISE_HZ, Setup, grids_of, quantised, run
from hil.plant.grid_source import TOLEDO_COLLAPSE_S, toledo


def settled_hz(setups: list[Setup], tan_phi: float = 0.0) -> list[float]:
    grids = grids_of(setups)
    grids.island[:] = True
    grids.q_var = tan_phi * np.abs(grids.p_w)
    for _ in range(200):
        grids.advance()
    found: list[float] = grids.f_hz().tolist()
    return found


def test_an_island_settles_at_its_resonance() -> None:
    dc = (-0.05, -0.02, 0.0, 0.01, 0.05)
    found = settled_hz([Setup((-10e3,), dc=x, island_at_s=0.0) for x in dc])
    assert found == pytest.approx([50.0 / math.sqrt(1.0 + x) for x in dc], abs=0.003)


@pytest.mark.parametrize("qf", [1.0, 2.5])
def test_absorbed_reactive_power_raises_the_frequency_by_f0_tan_over_2_qf(qf: float) -> None:
    tan = 0.01
    (found,) = settled_hz([Setup((-10e3,), qf, island_at_s=0.0)], tan)
    assert found - 50.0 == pytest.approx(50.0 * tan / (2.0 * qf), rel=0.02)


def test_island_voltage_is_the_root_of_power_over_conductance() -> None:
    grids = grids_of([Setup((-10e3,), dp=x, island_at_s=0.0) for x in (-0.2, 0.2)])
    grids.island[:] = True
    for _ in range(200):
        grids.advance()
    assert grids.v_v().tolist() == pytest.approx([230.0 / math.sqrt(0.8), 230.0 / math.sqrt(1.2)], abs=0.05)


def test_the_register_knows_thousandths_only() -> None:
    assert quantised(0.02) == 0.0
    assert quantised(-0.0447) == pytest.approx(-0.04475, abs=1e-4)


def worst_s(setups: list[Setup], seed: int) -> float:
    found, _row, _dead = run(setups, 5.5, seed)
    first = np.where(np.isnan(found), 99.0, found).min(axis=1) - [s.island_at_s for s in setups]
    assert first.min() > 0.0
    return float(first.max())


@pytest.mark.parametrize("qf", [1.0, 2.5])
def test_a_slice_of_the_sweep_is_found_in_time(qf: float) -> None:
    setups = [s for _n, s in islands(qf, 1, random.Random(qf))][::4]
    assert worst_s(setups, 2) <= 1.5


def test_a_slice_of_the_disturbances_is_no_island() -> None:
    setups = [s for _n, s in disturbances(2.0, 1, random.Random(3))][::2]
    found, _row, _dead = run(setups, 5.0, 3)
    assert np.isnan(found).all()


@pytest.mark.slow
@pytest.mark.parametrize("qf", [1.0, 2.5])
def test_the_whole_sweep_is_found_in_time(qf: float) -> None:
    assert worst_s([s for _n, s in islands(qf, 4, random.Random(211))], 211) <= 1.5


@pytest.mark.slow
@pytest.mark.parametrize("scr", [0.0, 2.0])
def test_no_disturbance_is_an_island(scr: float) -> None:
    setups = [s for _n, s in disturbances(scr, 3, random.Random(12))]
    found, _row, _dead = run(setups, 10.0, 12)
    assert np.isnan(found).all()


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("shares", [(0.5, 0.5), (1.0, 0.3), (1.0, -0.35), (0.34, 0.33, 0.33)])
def test_several_chargers_find_their_island(shares: tuple[float, ...], sign: float) -> None:
    setups = [s for qf in (1.0, 2.5) for s in several(shares, qf, 3, random.Random(213), sign)]
    found, _row, _dead = run(setups, 5.5, 213)
    first = np.where(np.isnan(found), 99.0, found).min(axis=1) - [s.island_at_s for s in setups]
    assert (first <= 2.0).mean() >= 0.98  # one that misses the common event is late: docs/anti-islanding.md
    assert first.max() <= 4.0


@pytest.mark.slow
def test_two_chargers_of_different_power_find_their_island() -> None:
    assert worst_s(list(several((1.0, 0.3), 2.5, 1, random.Random(214))), 214) <= 2.0


@pytest.mark.slow
def test_no_swing_is_an_island() -> None:
    found, _row, _dead = run([s for _n, s in swings(14, random.Random(215))], 10.0, 215)
    assert len(found) >= 200
    assert np.isnan(found).all()


# What acts as fast as the pattern itself is not always found: volt-var most aggressive (5A, 5B) and the droop.
FOUND_WITH_FUNCTIONS = ("6A", "7A", "8A", "9A", "9B", "10A")


@pytest.mark.slow
@pytest.mark.parametrize("qf", [1.0, 2.5])
def test_support_functions_at_work_do_not_hide_the_island(qf: float) -> None:
    setups = [s for name, s in functions(qf, 2, random.Random(216)) if name.split()[0] in FOUND_WITH_FUNCTIONS]
    assert worst_s(setups, 216) <= 1.5


@pytest.mark.slow
@pytest.mark.parametrize("answer_hz", [0.0, 1.0])
def test_the_recorded_iberian_morning_is_no_island_until_the_collapse(answer_hz: float) -> None:
    """The recorded frequency and voltage, with the pilot MCU's noise; the grid does not answer the probe, or weakly:
    Hz per unit of tan phi, a quarter of the threshold."""
    source, rng = toledo(), random.Random(5)
    detector, past = ActiveDetector(50.0, random.Random(6)), [0.0] * 8
    for k in range(round((TOLEDO_COLLAPSE_S - 10.0) * 100)):
        samples = []
        for t in (k / 100.0 + 0.005, k / 100.0 + 0.010):
            v, f = source.course(t)
            f += answer_hz * past[0] + rng.gauss(0.0, NOISE_HZ)
            samples.append(GridSample(t, (v[0] / 230.0, v[1] / 230.0, v[2] / 230.0), f))
        assert not detector.step(samples[1].t, samples, Transfer(-1.0, detector.tan_phi)), k
        past = [*past[1:], detector.tan_phi]
