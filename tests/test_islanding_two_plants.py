"""The array plant of hil/islanding beside hil/plant/ac.py: the same island, the same detector, noise and command
delays, drawn in the same order. hil/plant/ac.py has the filter choke, the DC link and the instrument of the rig."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from firmware.protection.islanding_active import ActiveDetector
from firmware.protection.types import GridSample, Transfer
from hil.islanding.experiment import LATENCY_S, NOISE_HZ, NOISE_PU, RATED_W, REPORT_LATE_S, Setup, quantised, run
from hil.islanding.grid import DT_S, SAMPLE_S, V_V
from hil.plant.ac import AcParams, AcSide, IslandLoad
from hil.plant.instruments import GridInstrument

ISLAND_AT_S = 1.6
SETTLED_S = 0.5
BLOCK = 5  # steps: 1 ms
SAME_S = 0.02  # two ticks: the tick of a slot's end may differ by one, and the event's by one more


def of_ac_side(setup: Setup, until_s: float, seed: int) -> tuple[float, list[float], list[float]]:
    """(time of the verdict, frequency and voltage at every sample) of one charger on hil/plant/ac.py."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    params = AcParams(aux_w=0.0)
    (power_w,) = setup.powers_w
    ideal = IslandLoad.tuned(-power_w, setup.qf, V_V, dp=setup.dp)
    c = setup.qf * -power_w / (3.0 * V_V**2) / (2.0 * math.pi * 50.0) * (1.0 + setup.dc)
    ac = AcSide(params, IslandLoad(ideal.g_s, ideal.inv_l_per_h, c - params.pcc_f), DT_S)
    ac.link_j = 0.5 * params.link_f * params.link_v**2
    peak, w = V_V * math.sqrt(2.0), 2.0 * math.pi * 50.0
    ac.run_idle(1, peak, w, closed=True)
    meter = GridInstrument(BLOCK * DT_S)
    detector = ActiveDetector(50.0, random.Random(rng.random()))
    told = acting = 0.0
    way: list[tuple[float, float]] = []
    batch: list[GridSample] = []
    f_seen, v_seen = [], []
    loss_w = 3.0 * params.choke_ohm * (power_w / (3.0 * V_V)) ** 2
    for k in range(-round(SETTLED_S / SAMPLE_S), round(until_s / SAMPLE_S)):
        t = k * SAMPLE_S
        for _ in range(round(SAMPLE_S / DT_S) // BLOCK):
            ac.run(BLOCK, peak, w, grid=t < ISLAND_AT_S, closed=True, running=True, dc_w=power_w - loss_w,
                   blocked=False, tan_phi=acting)  # fmt: skip
            square = ac.mean_square
            meter.update(square, square, square, ac.v, 50.0)
        if k < 0:  # the stage starts here, the array's converters run already
            continue
        now = t + SAMPLE_S
        f_seen.append(meter.f_hz())
        v_seen.append(meter.rms_v()[0])
        f = meter.f_hz() + float(noise.normal(0.0, NOISE_HZ, (1, 1))[0, 0])
        va, vb, vc = (meter.rms_v()[0] / V_V + noise.normal(0.0, NOISE_PU, (1, 3)))[0].tolist()
        batch.append(GridSample(now, (va, vb, vc), f))
        if k % 2:
            *seen, late = batch
            batch = [late]
            if detector.step(now + REPORT_LATE_S, seen, Transfer(power_w / RATED_W, quantised(told))):
                return now + REPORT_LATE_S, f_seen, v_seen
            if detector.tan_phi != told:
                told = detector.tan_phi
                way.append((now + REPORT_LATE_S + rng.uniform(*LATENCY_S), told))
        while way and way[0][0] <= now:
            acting = quantised(way.pop(0)[1])
    return math.nan, f_seen, v_seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("power_w", "qf", "dp", "dc"),
    [
        (-22_000.0, 1.0, 0.0, 0.0),
        (-22_000.0, 1.0, 0.05, -0.05),
        (-22_000.0, 2.5, 0.0, 0.0),
        (-22_000.0, 2.5, -0.05, 0.03),
        (-11_000.0, 2.5, 0.0, -0.02),
        (-5_500.0, 1.0, 0.0, 0.05),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_both_plants_let_the_detector_find_the_island_at_the_same_time(
    power_w: float, qf: float, dp: float, dc: float, seed: int
) -> None:
    setup = Setup((power_w,), qf, dp, dc, island_at_s=ISLAND_AT_S)
    arrays = float(run([setup], 5.0, seed).found[0, 0])
    ac, f_hz, v_v = of_ac_side(setup, 5.0, seed)
    assert arrays == pytest.approx(ac, abs=SAME_S)
    assert 0.3 < ac - ISLAND_AT_S <= 1.5
    assert max(f_hz) - min(f_hz) > 0.7  # it was an island
    assert v_v[-1] / V_V == pytest.approx(1.0 / math.sqrt(1.0 + dp), abs=0.02)
