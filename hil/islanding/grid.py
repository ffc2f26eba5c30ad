"""Many small grids at once: `runs` independent PCCs with an RLC load, each with `chargers` converters, as numpy arrays.

The same physics as hil/plant/ac.py (complex envelope, positive sequence, the same PLL, current limit and constant
power), stepped for hundreds of runs in one go, because a worst case needs thousands of them. The frame rotates at the
nominal frequency, 50 or 60 Hz, the same for all runs. It leaves out what does not shape an island: each converter is a
current source behind a lag of its current loop (no choke, no DC link). `tests/test_islanding_plant.py` holds it to the
closed forms, and to hil/plant/ac.py with the real detector at both.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hil.plant.ac import AcParams

Reals = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Flags = npt.NDArray[np.bool_]

DT_S = 200e-6
SAMPLE_S = 0.005  # the pilot MCU's report
STEPS = round(SAMPLE_S / DT_S)
V_V = 230.0
_SUBSTEPS = 8


def _matrices(a: Complexes, b: Complexes) -> tuple[Complexes, Complexes]:
    """x -> P x + Q u over DT_S for x' = a x + b u with u held, a and b stacked per run (RK4, as in ac.py)."""
    h = DT_S / _SUBSTEPS
    one = np.broadcast_to(np.eye(a.shape[-1], dtype=complex), a.shape)
    ah = a * h
    ah2 = ah @ ah
    p = one + ah + ah2 / 2.0 + ah2 @ ah / 6.0 + ah2 @ ah2 / 24.0
    q = h * (one + ah / 2.0 + ah2 / 6.0 + ah2 @ ah / 24.0) @ b
    p_all, q_all = p, q
    for _ in range(_SUBSTEPS - 1):
        q_all = p @ q_all + q
        p_all = p @ p_all
    return p_all, q_all


class Grids:
    """State of all runs. Attributes `p_w`, `q_var` (runs, chargers): what each converter draws, + = charging and
    absorbing, set from outside; `island` (runs): the grid switch is open; `extra_s` (runs): a conductance switched on
    at the PCC; `source_v`, `source_hz` (runs): the source; `negative` (runs): negative sequence, share of nominal."""

    def __init__(
        self,
        p_w: Reals,
        g_s: Reals,
        inv_l_per_h: Reals,
        c_f: Reals,
        grid_ohm: Reals,
        grid_h: Reals,
        *,
        nominal_hz: float = 50.0,
    ) -> None:
        """p_w (runs, chargers); the rest (runs): load per phase with the PCC's own capacitance, grid impedance."""
        runs = len(g_s)
        self.nominal_hz, self._w0 = nominal_hz, 2.0 * math.pi * nominal_hz
        self._params = AcParams()
        self.p_w = p_w.astype(float)
        self.q_var = np.zeros_like(self.p_w)
        self.on = np.ones(self.p_w.shape, dtype=bool)
        self.island = np.zeros(runs, dtype=bool)
        self.extra_s = np.zeros(runs)
        self.source_v = np.full(runs, V_V)
        self.source_hz = np.full(runs, nominal_hz)
        self.negative = np.zeros(runs)
        self.measured_turn = np.zeros(runs)  # angle by which the measured phase is off the positive sequence, rad
        jw = 1j * self._w0
        zero = np.zeros(runs, dtype=complex)

        def stacked(s: float) -> tuple[Complexes, Complexes]:
            a = np.array(
                [
                    [s * (-grid_ohm / grid_h - jw), -s / grid_h + 0j, zero],
                    [s / c_f + 0j, -g_s / c_f - jw, -1.0 / c_f + 0j],
                    [zero, inv_l_per_h + 0j, zero - jw],
                ]
            ).transpose(2, 0, 1)
            b = np.array([[s / grid_h + 0j, zero], [zero, 1.0 / c_f + 0j], [zero, zero]]).transpose(2, 0, 1)
            return _matrices(a, b)

        self._with, self._without = stacked(1.0), stacked(0.0)
        self._angle = np.zeros(runs)
        peak = V_V * math.sqrt(2.0)
        self.v: Complexes = np.full(runs, peak, dtype=complex)
        self._ig: Complexes = np.zeros(runs, dtype=complex)
        self._il: Complexes = self.v * inv_l_per_h / jw
        shape = self.p_w.shape
        self._theta = np.zeros(shape)
        self._wi = np.full(shape, self._w0)
        self._idq: Complexes = np.zeros(shape, dtype=complex)
        self._t_s = 0.0
        # Two-cycle frequency as hil/plant/instruments.py measures it: a mean of half a cycle, turned within one and a
        # half. Half a cycle of 60 Hz is no whole number of steps: what is kept is the running sum, read in between.
        self._half = 0.5 / nominal_hz / DT_S
        self._turn_samples = round(1.5 / nominal_hz / SAMPLE_S)
        kept = math.ceil(self._half) + 1
        self._sums: Complexes = np.arange(-kept, 1)[:, None] * self.v
        self._filtered = [self.v * self._half] * (self._turn_samples + 1)
        self._square: Reals = np.full(runs, V_V * V_V)

    def jump(self, run: int, radians: float) -> None:
        """The source's phase of one run jumps."""
        self._angle[run] += radians

    def advance(self) -> None:
        """One sample period (SAMPLE_S) with all inputs held."""
        p, w0 = self._params, self._w0
        kpp, kpi = p.pll_gains
        lag = -math.expm1(-2.0 * math.pi * p.current_loop_hz * DT_S)
        island = self.island
        pm = np.where(island[:, None, None], self._without[0], self._with[0])
        qm = np.where(island[:, None, None], self._without[1], self._with[1])
        (p00, p01, p02), (p10, p11, p12), (p20, p21, p22) = pm.transpose(1, 2, 0)
        (q00, q01), (q10, q11), (q20, q21) = qm.transpose(1, 2, 0)
        ig, v, il, theta, wi, idq = self._ig, self.v, self._il, self._theta, self._wi, self._idq
        ig = np.where(island, 0.0, ig)
        e = self.source_v * math.sqrt(2.0) * np.exp(1j * self._angle)
        turn = np.exp(1j * (2.0 * math.pi * self.source_hz - w0) * DT_S)
        asked = np.where(self.on, -self.p_w + 1j * self.q_var, 0.0) / 1.5
        unbalanced = bool(self.negative.any())
        measured: Complexes = np.exp(1j * self.measured_turn)
        total = self._sums[-1]
        sums = []
        square = np.zeros(len(v))
        for k in range(STEPS):
            seen = v
            if unbalanced:  # the negative sequence turns backwards: at -2 w0 in this frame
                seen = v + self.negative * V_V * math.sqrt(2.0) * np.exp(-2j * w0 * (self._t_s + k * DT_S))
            vdq = seen[:, None] * np.exp(-1j * theta)
            error = np.where(np.abs(vdq) > 33.0, np.angle(vdq), 0.0)
            wi = np.clip(wi + kpi * error * DT_S, 188.5, 439.8)
            step = (wi + kpp * error - w0) * DT_S
            ref = asked / np.maximum(vdq.real, 20.0)
            size = np.abs(ref)
            ref = ref * np.minimum(1.0, p.i_max_a / np.maximum(size, 1e-9))
            idq = idq + lag * (ref - idq)
            i = (idq * np.exp(1j * (theta + 0.5 * step))).sum(axis=1) - self.extra_s * v
            theta = theta + step
            ig, v, il = (
                p00 * ig + p01 * v + p02 * il + q00 * e + q01 * i,
                p10 * ig + p11 * v + p12 * il + q10 * e + q11 * i,
                p20 * ig + p21 * v + p22 * il + q20 * e + q21 * i,
            )
            e = e * turn
            total = total + v * measured
            sums.append(total)
            square = square + v.real**2 + v.imag**2
        self._angle = np.angle(e)
        self._ig, self.v, self._il, self._theta, self._wi, self._idq = ig, v, il, theta, wi, idq
        self._t_s += SAMPLE_S
        self._sums = np.concatenate((self._sums[STEPS:], sums))
        last = len(self._sums) - 1
        before = last - self._half
        below = math.floor(before)
        share = before - below
        started = self._sums[below] * (1.0 - share) + self._sums[below + 1] * share
        self._filtered = [*self._filtered[1:], self._sums[last] - started]
        self._sums -= self._sums[last].copy()  # so that the sum never loses digits
        self._square = square / (2.0 * STEPS)

    def f_hz(self) -> Reals:
        """Two-cycle frequency at the PCC."""
        turned: Reals = np.angle(self._filtered[-1] * np.conj(self._filtered[0]))
        return self.nominal_hz + turned / (2.0 * math.pi * self._turn_samples * SAMPLE_S)

    def v_v(self) -> Reals:
        """Phase RMS over the last sample period."""
        result: Reals = np.sqrt(self._square)
        return result
