"""The AC side: Thevenin grid - PCC with an RLC island load - filter choke - averaged converter - DC link.

Complex envelope in the frame that rotates at 2 pi 50 rad/s, peak values, positive sequence. In this frame a 50 Hz
voltage stands still, so a step of 100 us resolves it; in the stationary frame the same step gives every island a
frequency error of delta_f = f0*w0*dt/(2*Qf) (0.79 Hz at 100 us, Qf 1), because a set-point held for a step lags by
part of a sample, and an island turns a phase error into a frequency. Such a plant "proves" anti-islanding for the
wrong reason. `hil/plant/validate.py` checks that this one does not.

Network integration: classical RK4 with the sources held over a step. The network is linear, so a step of RK4 is a
fixed matrix (the polynomial 1 + Ah + (Ah)^2/2 + (Ah)^3/6 + (Ah)^4/24); it is built once per topology from SUBSTEPS
substeps. That keeps the resonance of an unloaded PCC (about 1.5 kHz) stable and accurate up to steps of 200 us, and
is cheaper than evaluating the four stages each time.

Unbalance and harmonics are further vectors in the same frame that turn in it (waves.py). Limits: the converter's filter
capacitor is drawn on the grid side of the grid contactor, so it stays with the PCC when the contactor opens; the
island switch opens all phases at once, without waiting for current zeros.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass

W0 = 2.0 * math.pi * 50.0
SUBSTEPS = 4
LINK_LOCKOUT_V = 400.0  # below this the stage does not switch: its gate drivers' supply comes from the link
PLL_FREEZE_V = 33.0  # peak, 10 % of 230 V RMS: a PLL that follows its own current through a dead grid runs away
OFF_A = 1e-3  # a choke current below this is none


@dataclass(frozen=True, slots=True)
class IslandLoad:
    """Parallel R, L, C per phase (star) at the PCC. Zero siemens, 1/H and F: that branch is absent."""

    g_s: float = 0.0
    inv_l_per_h: float = 0.0
    c_f: float = 0.0

    @classmethod
    def tuned(
        cls,
        p_w: float,
        qf: float,
        v_v: float = 230.0,
        f_hz: float = 50.0,
        *,
        dp: float = 0.0,
        dc: float = 0.0,
        q_var: float = 0.0,
    ) -> IslandLoad:
        """A load of p_w (three phases, at v_v phase to neutral) and quality factor qf = R*sqrt(C/L), resonant but for
        q_var, which it gives at f_hz (what a converter beside it absorbs; negative: takes what that injects);
        dp, dc: relative change of the active power and of the capacitance afterwards (IEC 62116, 6.1 style)."""
        if p_w <= 0.0 or qf <= 0.0:
            raise ValueError(f"an island load needs power and a quality factor above zero, not {p_w} W and {qf}")
        w = 2.0 * math.pi * f_hz
        g = p_w / (3.0 * v_v * v_v)
        if not q_var:
            return cls(g * (1.0 + dp), w * qf * g, qf * g / w * (1.0 + dc))
        more = 0.5 * q_var / p_w  # susceptances as shares of g: their product is qf^2, their difference 2 more
        mean = math.hypot(more, qf)
        return cls(g * (1.0 + dp), w * (mean - more) * g, (mean + more) * g / w * (1.0 + dc))


HOUSE = IslandLoad(g_s=300.0 / (3.0 * 230.0**2))  # 300 W of base load: the least that any PCC has


@dataclass(frozen=True, slots=True)
class AcParams:
    grid_ohm: float = 0.1
    grid_h: float = 0.3e-3
    pcc_f: float = 40e-6  # filter and interference capacitors per phase, with those of the neighbours
    choke_ohm: float = 0.05
    choke_h: float = 2e-3
    i_max_a: float = 50.0  # peak: 22 kW at 230 V is 45 A
    current_loop_hz: float = 500.0
    pll_rad_s: float = 89.0  # natural frequency; critically damped
    link_f: float = 2e-3
    link_v: float = 800.0
    link_loop_per_s: float = 100.0
    link_bleed_s: float = 20.0  # time constant of the link's voltage without supply
    soft_charge_ohm: float = 50.0  # resistor through which the rectifier charges the empty link
    aux_w: float = 40.0  # fans and control, from the grid side while there is one
    off_lag_s: float = 0.001  # choke current after a commanded stop
    block_lag_s: float = 0.0001  # after the gates are blocked: the link's voltage drives the choke to zero

    @property
    def pll_gains(self) -> tuple[float, float]:
        """Proportional (1/s) and integral (1/s^2) gain on the phase error."""
        return 2.0 * self.pll_rad_s, self.pll_rad_s**2


_Vector = list[complex]
_Rows = list[_Vector]


def _product(a: _Rows, b: _Rows) -> _Rows:
    columns = list(zip(*b, strict=True))
    return [[sum((x * y for x, y in zip(row, column, strict=True)), 0j) for column in columns] for row in a]


def _sum(a: _Rows, b: _Rows, factor: complex = 1.0) -> _Rows:
    return [[x + factor * y for x, y in zip(p, q, strict=True)] for p, q in zip(a, b, strict=True)]


def rk4_matrices(a: _Rows, b: _Rows, dt_s: float, substeps: int = SUBSTEPS) -> tuple[_Rows, _Rows]:
    """(P, Q) such that `substeps` RK4 steps of x' = A x + B u with u held over dt_s are exactly x -> P x + Q u."""
    h = dt_s / substeps
    one: _Rows = [[1.0 + 0j if r == c else 0j for c in range(len(a))] for r in range(len(a))]
    zero: _Rows = [[0j] * len(a) for _ in a]
    p, q, term = one, _sum(zero, one, h), one
    for k in (1, 2, 3, 4):
        term = _product(term, [[x * h / k for x in row] for row in a])  # (A h)^k / k!
        p = _sum(p, term)
        if k < 4:
            q = _sum(q, term, h / (k + 1))
    step_p, step_q = p, _product(q, b)
    p, q_total = step_p, step_q
    for _ in range(substeps - 1):
        q_total = _sum(_product(step_p, q_total), step_q)
        p = _product(step_p, p)
    return p, q_total


class AcSide:
    """State of the AC side. Currents: `ig` from the grid into the PCC, `i` from the converter into the PCC."""

    def __init__(self, params: AcParams, load: IslandLoad, dt_s: float) -> None:
        self.params = params
        self.load = load
        self._dt_s = dt_s
        self._matrices: dict[tuple[bool, bool, float], tuple[complex, ...]] = {}
        self.ig = self.v = self.il = self.i = 0j
        self.source_angle = 0.0  # of the grid source, in the rotating frame
        self.pll_angle = 0.0
        self.pll_w = W0  # the integrator: what the converter believes the frequency is
        self._xi = 0j  # current controller's integrator
        self.link_j = 0.0  # energy in the DC link capacitor
        # Results of the last block:
        self.mean_square = 0.0  # of the PCC voltage, phase RMS squared, V^2
        self.p_w = 0.0  # at the converter's terminals, + drawn from the grid
        self.q_var = 0.0  # + inductive (lagging current drawn)
        self.i_rms_a = 0.0
        self.loss_w = 0.0

    def set_load(self, load: IslandLoad) -> None:
        self.load = load
        self._matrices.clear()

    @property
    def link_v(self) -> float:
        return math.sqrt(2.0 * self.link_j / self.params.link_f)

    def equations(self, grid: bool, running: bool) -> tuple[_Rows, _Rows]:
        """x' = A x + B u with x = (ig, v, il, i) and u = (grid and bridge voltage, current injected at PCC)."""
        p, load = self.params, self.load
        c = p.pcc_f + load.c_f
        jw = 1j * W0
        s, r = (1.0 if grid else 0.0), (1.0 if running else 0.0)
        a: _Rows = [
            [s * (-p.grid_ohm / p.grid_h - jw), -s / p.grid_h + 0j, 0j, 0j],
            [s / c + 0j, -load.g_s / c - jw, -1.0 / c + 0j, r / c + 0j],
            [0j, load.inv_l_per_h + 0j, -jw, 0j],
            [0j, -r / p.choke_h + 0j, 0j, r * (-p.choke_ohm / p.choke_h - jw)],
        ]
        b: _Rows = [
            [s / p.grid_h + 0j, 0j, 0j],
            [0j, 0j, 1.0 / c + 0j],
            [0j, 0j, 0j],
            [0j, r / p.choke_h + 0j, 0j],
        ]
        return a, b

    def _step_matrix(self, grid: bool, running: bool, dt_s: float | None = None) -> tuple[complex, ...]:
        key = (grid, running, dt_s or self._dt_s)
        if key not in self._matrices:
            p, q = rk4_matrices(*self.equations(grid, running), key[2])
            self._matrices[key] = tuple(x for p_row, q_row in zip(p, q, strict=True) for x in (*p_row, *q_row))
        return self._matrices[key]

    def _supply(self, closed: bool, running: bool, span_s: float) -> complex:
        """What the converter draws beside its power stage, as a current into the PCC (so mostly negative): auxiliary
        supply, and the diodes charging an empty link. Updates the link's energy."""
        p = self.params
        if not running:
            self.link_j *= math.exp(-2.0 * span_s / p.link_bleed_s)
        if not closed:
            return 0j
        peak = abs(self.v)
        drawn_w = p.aux_w if peak > 100.0 else 0.0  # the auxiliary supply has an under-voltage lock-out
        self.loss_w += drawn_w
        link_v = self.link_v
        rectified_v = math.sqrt(3.0) * peak
        if rectified_v > link_v and not running:
            charge_a = (rectified_v - link_v) / p.soft_charge_ohm
            self.link_j = 0.5 * p.link_f * (link_v + charge_a * span_s / p.link_f) ** 2
            drawn_w += charge_a * rectified_v
            self.loss_w += charge_a * (rectified_v - link_v)
        return -drawn_w / (1.5 * peak) * (self.v / peak) if drawn_w else 0j

    def run(self, n: int, v_peak: float, w_rad_s: float, *, grid: bool, closed: bool, running: bool, dc_w: float,
            blocked: bool, tan_phi: float = 0.0, dt_s: float | None = None, extra: Sequence[complex] | None = None,
            trace: list[complex] | None = None) -> None:  # fmt: skip
        """n steps with the source held at v_peak, w_rad_s. grid: island switch closed. closed: grid contactor.
        running: the stage switches; otherwise its current dies away, faster when blocked. dc_w: what the DC/DC takes
        from the link (negative: gives). tan_phi: reactive power as a share of the active power's magnitude, + absorbed;
        what does not fit beside the active current inside of i_max_a is left out: without the active current the link
        would run away. dt_s: of a step, where it is not the usual one. extra: what the source adds to its balanced sine
        in each step (waves.py); trace: takes the PCC voltage at the end of each."""
        p, dt = self.params, dt_s or self._dt_s
        self.loss_w = 0.0
        inject = self._supply(closed, running, n * dt)
        if not grid:
            self.ig = 0j
        (gg, gv, gl, gi, ge, gu, gj, vg, vv, vl, vi, ve, vu, vj,
         lg, lv, ll, li, le, lu, lj, ig_, iv, il_, ii, ie, iu, ij) = self._step_matrix(grid, running, dt)  # fmt: skip
        ig, v, il, i = self.ig, self.v, self.il, self.i
        e = cmath.rect(v_peak, self.source_angle)
        turn = cmath.exp(1j * (w_rad_s - W0) * dt)
        theta, wi, xi = self.pll_angle, self.pll_w, self._xi
        kpp, kpi = p.pll_gains
        lf, kp = p.choke_h, p.choke_h * 2.0 * math.pi * p.current_loop_hz
        ki = p.choke_ohm * 2.0 * math.pi * p.current_loop_hz * dt
        link_j, link_f, i_max = self.link_j, p.link_f, p.i_max_a
        link_ref_j = 0.5 * link_f * p.link_v**2
        k_link, has_coil = p.link_loop_per_s, self.load.inv_l_per_h != 0.0
        decay = math.exp(-dt / (p.block_lag_s if blocked or not closed else p.off_lag_s))
        bridge_max = 0.577 * self.link_v
        kj = 1j * lf
        if not running:  # the dying choke current is a source at the PCC
            gi, vi, li = gj, vj, lj
        g0, v0, l0, i0 = gj * inject, vj * inject, lj * inject, ij * inject
        u = square = power = heat = 0j
        for k in range(n):
            i_was = i
            es = e if extra is None else e + extra[k]
            if closed:  # PLL: a phase detector that is linear in the angle; it coasts below PLL_FREEZE_V
                back = cmath.exp(-1j * theta)
                vdq = v * back
                error = cmath.phase(vdq) if abs(vdq) > PLL_FREEZE_V else 0.0
                wi += kpi * error * dt
                wi = 188.5 if wi < 188.5 else 439.8 if wi > 439.8 else wi  # 30..70 Hz
                theta += (wi + kpp * error - W0) * dt
            if running:
                vd = vdq.real if vdq.real > 20.0 else 20.0
                idq = i * back
                i_ref = -(dc_w + k_link * (link_ref_j - link_j)) / (1.5 * vd)
                i_ref = i_max if i_ref > i_max else -i_max if i_ref < -i_max else i_ref
                ei = i_ref - idq
                if tan_phi:
                    q_ref, q_max = tan_phi * abs(i_ref), math.sqrt(i_max * i_max - i_ref * i_ref)
                    ei += 1j * (q_max if q_ref > q_max else -q_max if q_ref < -q_max else q_ref)
                u = kp * ei + xi + vdq + kj * wi * idq
                um = abs(u)
                if um > bridge_max:
                    u *= bridge_max / um
                else:  # integrate only while the bridge can follow
                    xi += ki * ei
                u *= back.conjugate()
            else:
                i *= decay
            ig, v, il, i = (
                gg * ig + gv * v + gl * il + gi * i + ge * es + gu * u + g0,
                vg * ig + vv * v + vl * il + vi * i + ve * es + vu * u + v0,
                (lg * ig + lv * v + ll * il + li * i + le * es + lu * u + l0) if has_coil else 0j,
                (ig_ * ig + iv * v + il_ * il + ii * i + ie * es + iu * u + i0) if running else i,
            )
            e *= turn
            ic = i.conjugate()
            if running:
                mean_i = 0.5 * (i + i_was)
                mean_ic = mean_i.conjugate()
                link_j -= (1.5 * (u * mean_ic).real + dc_w) * dt
                if link_j < 0.0:
                    link_j = 0.0
                heat += mean_i * mean_ic
            square += v * v.conjugate()
            power += v * ic
            if trace is not None:
                trace.append(v)
        if not running:
            link_j = max(0.0, link_j - dc_w * n * dt)  # what still flows while the stage dies away
            xi = 0j
        self.ig, self.v, self.il, self.i = ig, v, il, (0j if not running and abs(i) < OFF_A else i)
        self.source_angle = cmath.phase(e) if v_peak else self.source_angle + (w_rad_s - W0) * n * dt
        self.pll_angle, self.pll_w, self._xi, self.link_j = theta, wi, xi, link_j
        self.mean_square = square.real / (2 * n)
        drawn = -1.5 * (power / n + v * inject.conjugate())
        self.p_w, self.q_var = drawn.real, drawn.imag
        self.i_rms_a = abs(self.i + inject) / math.sqrt(2.0) if closed else 0.0
        self.loss_w += 1.5 * p.choke_ohm * heat.real / n

    def run_idle(self, n: int, v_peak: float, w_rad_s: float, *, closed: bool) -> None:
        """The same with nothing switching and the grid switch closed, as a stationary phasor: the PCC follows the
        source without the network's own transients (below 5 ms). Needs `self.i` to be zero."""
        p, load = self.params, self.load
        span = n * self._dt_s
        self.loss_w = 0.0
        inject = self._supply(closed, False, span)
        self.source_angle += (w_rad_s - W0) * span
        e = cmath.rect(v_peak, self.source_angle)
        yg = 1.0 / (p.grid_ohm + 1j * w_rad_s * p.grid_h)
        y = load.g_s + 1j * w_rad_s * (p.pcc_f + load.c_f) - 1j * load.inv_l_per_h / w_rad_s
        self.v = v = (e * yg + inject) / (yg + y)
        self.ig = (e - v) * yg
        self.il = v * load.inv_l_per_h / (1j * w_rad_s)
        self.mean_square = 0.5 * (v.real * v.real + v.imag * v.imag)
        supply = 1.5 * (v * inject.conjugate())
        self.p_w, self.q_var = -supply.real, -supply.imag
        self.i_rms_a = abs(inject) / math.sqrt(2.0)
        if closed and v:
            self.pll_angle = cmath.phase(v)
            self.pll_w = min(max(w_rad_s, 188.5), 439.8)
