"""Runs of the real detector on many small grids at once, behind a command link as slow as the real one.

Between detector and converter lie: the pilot MCU's samples every 5 ms, 3 ms late, with 2 mHz of noise; a tick of 10 ms;
a power-factor register in thousandths; and 20 to 50 ms, drawn for each command, until the power stage does it. No grid
protection takes part: over- and under-frequency, voltage and rates help nobody here.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from firmware.protection.islanding_active import ActiveDetector
from firmware.protection.types import GridSample, Transfer
from hil.islanding.grid import SAMPLE_S, V_V, Grids, Reals
from hil.islanding.support import Functions, Support

RATED_W = 22_000.0
NOISE_HZ = 0.002
NOISE_PU = 0.05 / V_V
LATENCY_S = (0.020, 0.050)
REPORT_LATE_S = 0.003
PCC_F = 40e-6
STIFF = (0.1, 0.3e-3)  # ohm, H
DEAD_PU = 0.05  # IEEE 1547.1-2020 (as published test scripts have it): an island that has ceased to be one


@dataclass(frozen=True)
class Setup:
    """One small grid. powers_w: of each charger, + = charging. island_at_s: inf = never.

    dp, dc: mismatch of the load, as IslandLoad.tuned has them. base_tan_phi: reactive power that the chargers make all
    the time; the load is tuned for it. sign: -1 when the module's power factor means the opposite of what is thought.
    disturb(grids, run, t_s): called before every sample.
    """

    powers_w: tuple[float, ...]
    qf: float = 1.0
    dp: float = 0.0
    dc: float = 0.0
    base_tan_phi: float = 0.0
    island_at_s: float = math.inf
    sign: float = 1.0
    negative: float = 0.0
    scr: float = 0.0  # of the grid on the charger's rating, X/R 3.2; 0 = STIFF
    nominal_hz: float = 50.0
    support: Support | None = None  # functions that change P and Q while the island lasts
    other_w: float = 0.0  # fed in by something that does not probe, as a constant current in phase
    disturb: Callable[[Grids, int, float], None] | None = field(default=None, compare=False)


class Outcome(NamedTuple):
    """What became of the runs. found (runs, chargers): when each charger said "island", s, nan = never. longest: row of
    gains seen before any island. dead (runs): when the island's voltage fell below DEAD_PU for good, nan = it lives."""

    found: Reals
    longest: int
    dead: Reals


def quantised(tan_phi: float) -> float:
    """What a power factor in thousandths makes of it."""
    power_factor = round(math.cos(math.atan(tan_phi)), 3)
    return math.copysign(math.tan(math.acos(power_factor)), tan_phi)


def grids_of(setups: list[Setup]) -> Grids:
    """The physics of all setups; all must have the same number of chargers and the same nominal frequency."""
    p_w = np.array([s.powers_w for s in setups])
    load_w = np.array([max(-sum(s.powers_w) + s.other_w, 300.0) if math.isfinite(s.island_at_s) else 300.0
                       for s in setups])  # fmt: skip
    g = load_w / (3.0 * V_V**2)
    resonant = np.array([s.qf if math.isfinite(s.island_at_s) else 0.0 for s in setups])
    w0 = 2.0 * math.pi * np.array([s.nominal_hz for s in setups])
    inv_l = w0 * resonant * g
    absorbed_w = np.array([s.sign * s.base_tan_phi * sum(abs(p) for p in s.powers_w) for s in setups])
    c = resonant * g / w0 + absorbed_w / (3.0 * V_V**2 * w0)
    c = np.where(resonant > 0.0, np.maximum(c * (1.0 + np.array([s.dc for s in setups])), 1e-6), PCC_F)
    z = np.array([3.0 * V_V**2 / (s.scr * RATED_W) if s.scr else 0.0 for s in setups])
    ohm = np.where(z > 0.0, 0.3 * z, STIFF[0])
    henry = np.where(z > 0.0, math.sqrt(0.91) * z / w0, STIFF[1])
    (nominal_hz,) = {s.nominal_hz for s in setups}  # one frame for all of them
    grids = Grids(p_w, g * (1.0 + np.array([s.dp for s in setups])), inv_l, c, ohm, henry, nominal_hz=nominal_hz)
    grids.negative[:] = [s.negative for s in setups]
    grids.extra_s[:] = [-s.other_w / (3.0 * V_V**2) for s in setups]
    return grids


def run(setups: list[Setup], until_s: float, seed: int) -> Outcome:
    """All setups from 0 s to until_s; one tick of every charger each 10 ms."""
    rng = random.Random(seed)
    noise = np.random.default_rng(seed)
    grids = grids_of(setups)
    runs, chargers = grids.p_w.shape
    detectors = [[ActiveDetector(s.nominal_hz, random.Random(rng.random())) for _ in range(chargers)] for s in setups]
    found = np.full((runs, chargers), math.nan)
    told = [[s.base_tan_phi] * chargers for s in setups]
    acting = np.array([[quantised(s.base_tan_phi)] * chargers for s in setups])
    functions = [[Functions(s.support, p, s.base_tan_phi, RATED_W, s.nominal_hz) if s.support else None
                  for p in s.powers_w] for s in setups]  # fmt: skip
    asked = [list(s.powers_w) for s in setups]
    way: list[list[list[tuple[float, float, float]]]] = [[[] for _ in range(chargers)] for _ in setups]
    batch: list[list[list[GridSample]]] = [[[] for _ in range(chargers)] for _ in setups]
    unbalance = np.outer([s.negative for s in setups], (1.0, -0.5, -0.5))
    island_at = np.array([s.island_at_s for s in setups])
    sign = np.array([[s.sign] for s in setups])
    dead = np.full(runs, math.nan)
    longest = 0
    for k in range(round(until_s / SAMPLE_S)):
        t = k * SAMPLE_S
        grids.island = t >= island_at
        for r, s in enumerate(setups):
            if s.disturb:
                s.disturb(grids, r, t)
        grids.q_var = sign * acting * np.abs(grids.p_w)
        grids.advance()
        now = t + SAMPLE_S
        f = grids.f_hz()[:, None] + noise.normal(0.0, NOISE_HZ, (runs, chargers))
        level = grids.v_v() / V_V
        dead = np.where(grids.island & (level < DEAD_PU), np.where(np.isnan(dead), now, dead), math.nan)
        v = level[:, None] + noise.normal(0.0, NOISE_PU, (runs, 3))
        v *= 1.0 + unbalance
        v = np.maximum(v, 0.0)
        for r in range(runs):
            v_pu = (float(v[r, 0]), float(v[r, 1]), float(v[r, 2]))
            for n in range(chargers):
                batch[r][n].append(GridSample(now, v_pu, float(f[r, n])))
                if (k + n) % 2 and found[r, n] != found[r, n]:  # the chargers' ticks are not the same
                    detector = detectors[r][n]
                    transfer = Transfer(grids.p_w[r, n] / RATED_W, quantised(told[r][n]))  # what it confirms
                    *seen, late = batch[r][n]
                    batch[r][n] = [late]
                    if detector.step(now + REPORT_LATE_S, seen, transfer):
                        found[r, n] = now + REPORT_LATE_S
                    if now < island_at[r]:
                        longest = max(longest, detector.row)
                    power_w, tan_phi = asked[r][n], setups[r].base_tan_phi
                    if (acts := functions[r][n]) is not None:
                        power_w, tan_phi = acts.step(now, seen[-1], float(grids.p_w[r, n]))
                    tan_phi += detector.tan_phi
                    if tan_phi != told[r][n] or power_w != asked[r][n]:
                        way[r][n].append((now + REPORT_LATE_S + rng.uniform(*LATENCY_S), tan_phi, power_w))
                        told[r][n], asked[r][n] = tan_phi, power_w
                while way[r][n] and way[r][n][0][0] <= now:
                    _t, tan_phi, power_w = way[r][n].pop(0)
                    acting[r, n] = quantised(tan_phi)
                    if functions[r][n] is not None:
                        grids.p_w[r, n] = power_w
    return Outcome(found, longest, dead)
