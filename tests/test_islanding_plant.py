"""The array plant of hil/islanding against closed forms, and slices of the experiment; the whole is slow."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from firmware.protection.islanding_active import ActiveDetector
from firmware.protection.types import GridSample, Transfer
from hil.islanding.cases import disturbances, disturbed_functions, functions, islands, several, swings
from hil.islanding.experiment import NOISE_HZ, Setup, grids_of, quantised, run
from hil.islanding.grid import Grids
from hil.islanding.support import Functions, Support
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


def test_an_island_of_60_hertz_settles_at_its_resonance_and_answers_by_its_own_frequency() -> None:
    found = settled_hz([Setup((-10e3,), dc=x, island_at_s=0.0, nominal_hz=60.0) for x in (-0.03, 0.0, 0.03)])
    assert found == pytest.approx([60.0 / math.sqrt(1.0 + x) for x in (-0.03, 0.0, 0.03)], abs=0.004)
    for qf in (1.0, 2.5):
        (found_hz,) = settled_hz([Setup((-10e3,), qf, island_at_s=0.0, nominal_hz=60.0)], 0.01)
        assert found_hz - 60.0 == pytest.approx(60.0 * 0.01 / (2.0 * qf), rel=0.02)


@pytest.mark.parametrize("hz", [50.0, 60.0])
def test_unbalance_is_no_ripple_of_the_measured_frequency(hz: float) -> None:
    setups = [Setup((-22e3,), negative=x, nominal_hz=hz) for x in (0.0, 0.03)]
    grids, seen = grids_of(setups), []
    for k in range(400):
        grids.advance()
        if k > 100:
            seen.append(grids.f_hz())
    assert np.abs(np.array(seen) - hz).max() < 0.002


def test_an_island_whose_charger_stops_is_dead_at_once() -> None:
    def stop(grids: Grids, run: int, t: float) -> None:
        if t >= 1.0:
            grids.p_w[run, :] = 0.0

    outcome = run([Setup((-22e3,), island_at_s=0.9, disturb=stop), Setup((-22e3,), island_at_s=0.9)], 1.2, 1)
    assert 1.0 < outcome.dead[0] < 1.15
    assert math.isnan(outcome.dead[1])


def test_guards_rules_hold_for_the_functions_of_an_experiment() -> None:
    """The droop lowers the power and never reverses it; a frequency within a step of the voltage is not believed; a
    voltage below half ceases."""

    def at(t: float, v: float, f: float) -> float:
        return functions_at.step(t, GridSample(t, (v, v, v), f), -22e3)[0]

    functions_at = Functions(Support(droop=True), -22e3, 0.0, 22e3, 50.0)
    assert [at(k / 100.0, 1.0, 50.0) for k in range(5)] == [-22e3] * 5
    assert all(-22e3 <= at(0.05 + k / 100.0, 1.0, 53.0) <= 0.0 for k in range(100))
    assert at(1.06, 1.0, 53.0) == 0.0
    functions_at = Functions(Support(droop=True), -22e3, 0.0, 22e3, 50.0)
    at(0.0, 1.0, 50.0)
    assert [at(k / 100.0, 0.9, 51.0) for k in range(1, 8)] == [-22e3] * 7
    at(0.10, 0.9, 51.0)
    assert at(0.15, 0.9, 51.0) > -22e3
    functions_at = Functions(Support(droop=True), -22e3, 0.0, 22e3, 50.0)
    powers = [at(k / 100.0, 0.49, 50.0) for k in range(8)]
    assert (powers[0], powers[-1]) == (-22e3, 0.0)
    assert at(0.09, 0.51, 50.0) == -22e3


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


def ends_s(setups: list[Setup], seed: int) -> list[float]:
    """How long each island lasted: to the first verdict, or to its collapse; 99: it still lasts."""
    outcome = run(setups, 5.5, seed)
    began = np.array([s.island_at_s for s in setups])
    first = np.where(np.isnan(outcome.found), 99.0, outcome.found).min(axis=1)
    assert (first > began).all()
    found: list[float] = (np.fmin(first, np.nan_to_num(outcome.dead, nan=99.0)) - began).tolist()
    return found


def worst_s(setups: list[Setup], seed: int) -> float:
    return max(ends_s(setups, seed))


def test_a_slice_of_the_sweep_is_found_in_time() -> None:
    setups = [s for qf in (1.0, 2.5) for _n, s in islands(qf, 1, random.Random(qf))][::4]  # many cost as much as one
    assert worst_s(setups, 2) <= 1.5


@pytest.mark.slow
@pytest.mark.parametrize("hz", [50.0, 60.0])
@pytest.mark.parametrize("qf", [1.0, 2.5])
def test_the_whole_sweep_is_found_in_time(qf: float, hz: float) -> None:
    assert worst_s([s for _n, s in islands(qf, 2, random.Random(211), hz)], 211) <= 1.5


@pytest.mark.slow
def test_no_disturbance_is_an_island_while_functions_act() -> None:
    setups = [s for _n, s in disturbed_functions(2.0, 1, random.Random(17))][::2]
    assert np.isnan(run(setups, 6.0, 17).found).all()


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
    assert worst_s(setups, 213) <= 2.0


@pytest.mark.slow
def test_two_chargers_of_different_power_find_their_island() -> None:
    assert worst_s(list(several((1.0, 0.3), 2.5, 1, random.Random(214))), 214) <= 2.0


@pytest.mark.slow
def test_no_swing_is_an_island() -> None:
    found, _row, _dead = run([s for _n, s in swings(14, random.Random(215))], 10.0, 215)
    assert len(found) >= 200
    assert np.isnan(found).all()


@pytest.mark.slow
@pytest.mark.parametrize("hz", [50.0, 60.0])
@pytest.mark.parametrize("qf", [1.0, 2.5])
def test_support_functions_at_work_do_not_hide_the_island(qf: float, hz: float) -> None:
    """With the fastest droop the island often collapses first: docs/anti-islanding.md."""
    named = list(functions(qf, 1, random.Random(216), hz))
    ends = ends_s([s for _n, s in named], 216)
    assert max(ends) <= 2.0
    assert max(end for (name, _s), end in zip(named, ends, strict=True) if "droop" not in name) <= 1.5


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
