"""The matrices: what must be found, and what must not be mistaken for an island. Data and small generators."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from hil.islanding.experiment import RATED_W, Setup
from hil.islanding.grid import V_V, Grids
from hil.islanding.support import (
    Support,
    constant_var,
    volt_var_default,
    volt_var_most,
    watt_var_default,
    watt_var_most,
)

ISLAND_FROM_S = 1.5  # the pattern has settled on the grid
SWEEP_PCT = range(-5, 6)  # reactive element 95..105 % in 1 % steps (IEEE 1547.1-2020 as published test scripts have it)
# Power share, base tan phi: cases 1A..4A and 3B of the same scripts (power factor 0.96 and 0.9 either way), and the
# power levels A, B, C of IEC 62116 as far as they are known (recalled, low confidence).
POWER_CASES = {
    "1A full power": (1.0, 0.0),
    "2A half power": (0.5, 0.0),
    "3A 0.9, absorbing 0.25": (0.9, 0.25 / 0.9),
    "3B 0.9, absorbing 0.44": (0.9, 0.44 / 0.9),
    "4A 0.9, injecting 0.44": (0.9, -0.44 / 0.9),
    "IEC 62116 B 0.5": (0.5, 0.0),
    "IEC 62116 C 0.25": (0.25, 0.0),
}
MISMATCH_A = ((-5, -5), (-5, 0), (-5, 5), (0, -5), (0, 5), (5, -5), (5, 0), (5, 5))


def islands(qf: float, seeds: int, rng: random.Random, hz: float = 50.0) -> Iterator[tuple[str, Setup]]:
    """The sweep for one charger: every case, every step of the reactive element, IEC 62116 condition A; alternately
    with the module's sign as documented and reversed; up to 3 % negative sequence."""
    for name, setup in _islands(qf, seeds, rng):
        yield name, replace(setup, nominal_hz=hz)


def _islands(qf: float, seeds: int, rng: random.Random) -> Iterator[tuple[str, Setup]]:
    for seed in range(seeds):
        for name, (share, tan_phi) in POWER_CASES.items():
            for pct in SWEEP_PCT:
                yield name, _setup((share,), qf, 0.0, pct / 100.0, tan_phi, 1.0 - 2.0 * (seed % 2), rng)
        for dp, dq in MISMATCH_A:
            yield "IEC 62116 A", _setup((1.0,), qf, dp / 100.0, dq / 100.0, 0.0, 1.0 - 2.0 * (seed % 2), rng)


# Cases 5A..10A and 9B, 10B: power share, reactive power that the load is tuned for, function.
FUNCTION_CASES: dict[str, tuple[float, float, Callable[[], Support]]] = {
    "5A volt-var most aggressive": (1.0, 0.0, lambda: Support(volt_var_most())),
    "5B volt-var most aggressive": (0.9, 0.0, lambda: Support(volt_var_most(0.44))),
    "6A volt-var default": (0.5, 0.0, lambda: Support(volt_var_default())),
    "7A watt-var default": (0.5, 0.0, lambda: Support(watt_var_default())),
    "8A watt-var most aggressive": (0.9, 0.352, lambda: Support(watt_var_most())),
    "9A constant Q, absorbing 0.25": (0.9, 0.25, lambda: Support(constant_var(0.25))),
    "9B constant Q, absorbing 0.44": (0.9, 0.44, lambda: Support(constant_var(0.44))),
    "10A constant Q, injecting 0.44": (0.9, -0.44, lambda: Support(constant_var(-0.44))),
    "1A with droop": (1.0, 0.0, lambda: Support(droop=True)),
    "5A with droop": (1.0, 0.0, lambda: Support(volt_var_most(), droop=True)),
}


def functions(qf: float, seeds: int, rng: random.Random, hz: float = 50.0) -> Iterator[tuple[str, Setup]]:
    """Islands with the grid support functions at work, which move P and Q themselves."""
    for _ in range(seeds):
        for name, (share, q_pu, make) in FUNCTION_CASES.items():
            for pct in SWEEP_PCT:
                plain = _setup((share,), qf, 0.0, pct / 100.0, q_pu / share, 1.0, rng)
                yield name, replace(plain, support=make(), nominal_hz=hz)


# What moves reactive power or power with the grid, and so might be taken for the answer of an island.
DISTURBED_FUNCTIONS: dict[str, Callable[[], Support]] = {
    "volt-var most aggressive": lambda: Support(volt_var_most(0.44)),
    "volt-var and droop": lambda: Support(volt_var_most(), droop=True),
    "constant Q 0.1 and droop": lambda: Support(constant_var(0.1), droop=True),
    "constant Q -0.44 and droop": lambda: Support(constant_var(-0.44), droop=True),
}


def disturbed_functions(scr: float, seeds: int, rng: random.Random) -> Iterator[tuple[str, Setup]]:
    """Disturbances and swings while functions act: a droop that lowers the power at constant reactive power moves
    tan phi in step with the frequency, volt-var with the voltage."""
    for name, make in DISTURBED_FUNCTIONS.items():
        for what, setup in (*disturbances(scr, seeds, rng), *swings(2 * seeds, rng)):
            if "reversals" not in what:
                yield f"{what}, {name}", replace(setup, support=make())


def several(shares: tuple[float, ...], qf: float, seeds: int, rng: random.Random, sign: float = 1.0) -> Iterator[Setup]:
    """Chargers on one island, shares of rated power, + = discharging."""
    for _ in range(seeds):
        for pct in SWEEP_PCT:
            yield _setup(shares, qf, 0.0, pct / 100.0, 0.0, sign, rng)


def _setup(
    shares: tuple[float, ...], qf: float, dp: float, dc: float, tan_phi: float, sign: float, rng: random.Random
) -> Setup:
    return Setup(
        tuple(-RATED_W * s for s in shares), qf, dp, dc, tan_phi,
        ISLAND_FROM_S + rng.uniform(0.0, 0.5), sign, rng.uniform(0.0, 0.03),
    )  # fmt: skip


Disturb = Callable[[Grids, int, float], None]


def _every(period_s: float, phase_s: float, act: Callable[[Grids, int, bool], None]) -> Disturb:
    """act(grids, run, there or back) every period_s."""
    state = {"k": 0}

    def disturb(grids: Grids, run: int, t: float) -> None:
        k = max(0, int((t - 1.0 + phase_s) / period_s))
        if k != state["k"]:
            state["k"] = k
            act(grids, run, k % 2 == 1)

    return disturb


def jump(degrees: float, period_s: float, phase_s: float, measured_deg: float = 0.0) -> Disturb:
    """All phases jump by `degrees` of positive sequence; the phase whose frequency is measured by measured_deg more."""

    def act(grids: Grids, run: int, there: bool) -> None:
        grids.jump(run, math.radians(degrees if there else -degrees))
        grids.measured_turn[run] = math.radians(measured_deg) if there else 0.0

    return _every(period_s, phase_s, act)


def sag(v_pu: float, degrees: float, period_s: float, phase_s: float) -> Disturb:
    def act(grids: Grids, run: int, there: bool) -> None:
        grids.source_v[run] = V_V * (v_pu if there else 1.0)
        grids.jump(run, math.radians(degrees if there else -degrees))

    return _every(period_s, phase_s, act)


def load_step(power_w: float, period_s: float, phase_s: float) -> Disturb:
    def act(grids: Grids, run: int, there: bool) -> None:
        grids.extra_s[run] = power_w / (3.0 * V_V**2) if there else 0.0

    return _every(period_s, phase_s, act)


def ramp(rate_hz_s: float, span_hz: float, phase_s: float) -> Disturb:
    """There and back at rate_hz_s, with a rest of one second at both ends (so the rate begins and ends too)."""
    run_s = span_hz / abs(rate_hz_s)

    def disturb(grids: Grids, run: int, t: float) -> None:
        x = (t + phase_s) % (2.0 * run_s + 2.0)
        there = min(x, run_s) if x < run_s + 1.0 else max(0.0, run_s - (x - run_s - 1.0))
        grids.source_hz[run] = grids.nominal_hz + rate_hz_s * there

    return disturb


def swing(swing_hz: float, period_s: float, phase_s: float, *, triangle: bool = False) -> Disturb:
    """The grid's frequency swings by +-swing_hz: areas of an interconnected grid against each other, 0.1 to 2.5 Hz."""

    def disturb(grids: Grids, run: int, t: float) -> None:
        x = (t + phase_s) / period_s % 1.0
        wave = 4.0 * abs(x - 0.5) - 1.0 if triangle else math.cos(2.0 * math.pi * x)
        grids.source_hz[run] = grids.nominal_hz + swing_hz * wave

    return disturb


def swings(seeds: int, rng: random.Random) -> Iterator[tuple[str, Setup]]:
    """Swings as fast as a code's rate of change lets them be (3 Hz/s, at most +-0.5 Hz), and one of them in every
    place between the slots; a house connection and SCR 2."""
    for seed in range(seeds):
        scr = 2.0 * (seed % 2)
        kinds = [(f"swing {hz:g} Hz", min(0.5, 3.0 / (2.0 * math.pi * hz)), hz, False)
                 for hz in (0.1, 0.25, 0.5, 0.8, 1.0, 1.25, 1.5, 1.667, 2.0, 2.5)]  # fmt: skip
        kinds += [(f"triangle {hz:g} Hz", min(0.5, 3.0 / (4.0 * hz)), hz, True) for hz in (0.5, 1.0, 1.25, 1.667, 2.5)]
        for name, swing_hz, hz, triangle in kinds:
            disturb = swing(swing_hz, 1.0 / hz, rng.uniform(0.0, 10.0), triangle=triangle)
            yield name, Setup((0.5 * RATED_W if seed % 2 else -RATED_W,), scr=scr, disturb=disturb)


def reversal(power: float, period_s: float, phase_s: float) -> Disturb:
    """The charger itself ramps between full charge and full discharge."""

    def disturb(grids: Grids, run: int, t: float) -> None:
        grids.p_w[run, :] = RATED_W * power * math.sin(2.0 * math.pi * (t + phase_s) / period_s)

    return disturb


def disturbances(scr: float, seeds: int, rng: random.Random) -> Iterator[tuple[str, Setup]]:
    """What must not be taken for an island. Everything repeats, more often than any grid does it."""
    for seed in range(seeds):
        p = rng.uniform(0.0, 4.0)
        # To charge with more than 0.77 of the rating at SCR 2 is beyond what such a grid can carry: its voltage falls.
        power = -RATED_W if seed % 2 else RATED_W * (0.5 if scr else 1.0)
        kinds: dict[str, Disturb | None] = {"nothing": None}
        for rate in (1.0, 2.0, 3.0, -3.0):
            kinds[f"rate {rate:+g} Hz/s, 4 Hz"] = ramp(rate, 4.0, p)
        for period_s in (0.5, 1.0, 1.7):
            kinds[f"jump 20 deg every {period_s} s"] = jump(20.0, period_s, p)
            kinds[f"jump 60 deg one phase every {period_s} s"] = jump(19.1, period_s, p, 40.9)
            kinds[f"sag 0.88 pu every {period_s} s"] = sag(0.88, 10.0, period_s, p)
        for v_pu in (0.0, 0.05, 0.3, 0.5, 0.7, 1.2):
            kinds[f"voltage {v_pu} pu every 0.6 s"] = sag(v_pu, 15.0, 0.6, p)
        for period_s in (0.25, 0.4, 1.0):
            kinds[f"load step 11 kW every {period_s} s"] = load_step(11_000.0, period_s, p)
        kinds["charger's own reversals"] = reversal(1.0, 2.0, p)
        for name, disturb in kinds.items():
            yield name, Setup((power,), scr=scr, negative=rng.uniform(0.0, 0.03), disturb=disturb)
