"""The envelope plant's block, compiled by numba: the twin of `Plant._block` with what it calls.

The same formulas in the same order as ac.py, dc.py and instruments.py, which stay the reference; the state lies in flat
arrays (hil/plant/fast.py). `tests/test_plant_fast.py` holds the two together.

Numbers, positions in the link and constants of the reference all come in as parameters, none is imported: numba keeps
the compiled code in a file that it renews only when this very file changes.
"""

from __future__ import annotations

import cmath
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:

    def njit(**_: Any) -> Any: ...

else:
    from numba import njit

# Places in the float state. After FIRST_RING: per instrument three rings of squares, one of turns.
(
    SOURCE_ANGLE, PLL_ANGLE, PLL_W, LINK_J, MEAN_SQUARE, P_W, Q_VAR, I_RMS, AC_LOSS_W, V1, V2, STAGE_A, CABLE_A,
    BATT_A, PRECHARGE_J, LINK_W, DC_LOSS_W, SETPOINT_A, REFERENCE_V, FEEDFORWARD_A, SOC, V1_RC, TEMPERATURE_C,
    AC_IN_J, AC_LOSS_J, DC_OUT_J,
) = range(26)  # fmt: skip
# What holds while `blocks` runs: switches (0 or 1), conductances (see `DcSide.matrix`), the source.
GRID, CLOSED, K_DC, K_PRECHARGE, K_EV, G12, GB, VA, VB, VC, SOURCE_HZ = range(26, 37)
INSTRUMENT = 37  # per instrument: three sums, turned, k, j, live
INSTRUMENT_SIZE = 7
FIRST_RING = INSTRUMENT + 2 * INSTRUMENT_SIZE
# Places in the complex state. After FIRST_PHASOR: one ring of phasors per instrument.
IG, V, IL, CHOKE_I, XI = range(5)
FILTERED = 5  # per instrument: filtered, last
FIRST_PHASOR = 9
# Places in the parameters; after OCV the battery's table: charges, then volts.
(
    DT, GRID_OHM, GRID_H, PCC_F, CHOKE_OHM, CHOKE_H, I_MAX, LINK_F, LINK_REF_J, K_LINK, SOFT_OHM, AUX_W, BLEED_DECAY,
    OFF_DECAY, BLOCK_DECAY, KPP, KPI, KP, KI, LOAD_G, LOAD_C, LOAD_INV_L, LOCKOUT_J, OUTPUT_F, BLEED_G, CABLE_F,
    LEAK_G, DC_I_MAX, DC_P_MAX, DC_V_MAX, LAG, FF_LAG, GAIN, SLEW, INNER, DC_OFF_DECAY, DC_BLOCK_DECAY, EFFICIENCY,
    CELLS, CAPACITY_AS, R0, R1, RC_STEP, THERMAL_K, THERMAL_S, BLOCK_S, FLOOR2, FAST_IDLE, F0, INSULATION_S,
    EV_INSULATION_S, TWO, W0, OFF_A, PLL_FREEZE_V, LINK_EMPTY_V, LINK_FULL_V, LINK_BAND_V,
) = range(58)  # fmt: skip
OCV = 58
# Places in the list of the link's positions.
(
    CONV_ON, CONV_DIR, CONV_I, CONV_V, CONV_CUTOFF, CONV_TAN_PHI, ENABLE, LEAK, AMBIENT, FIRST_OUTPUT, BLOCK_STEPS,
) = range(11)  # fmt: skip
_TWO_PI = 2.0 * math.pi
# numba ships no types, so its decorator is untyped to the checker wherever it stands below.
# p[TWO] is the exponent 2.0: CPython squares with the library's pow, which a constant exponent would not call here.


@njit(cache=True)  # type: ignore[untyped-decorator]
def _supply(s: Any, z: Any, p: Any, closed: bool, running: bool) -> Any:
    if not running:
        s[LINK_J] *= p[BLEED_DECAY]
    if not closed:
        return 0j
    v = z[V]
    peak = abs(v)
    drawn_w = p[AUX_W] if peak > 100.0 else 0.0
    s[AC_LOSS_W] += drawn_w
    link_v = math.sqrt(2.0 * s[LINK_J] / p[LINK_F])
    rectified_v = math.sqrt(3.0) * peak
    if rectified_v > link_v and not running:
        charge_a = (rectified_v - link_v) / p[SOFT_OHM]
        s[LINK_J] = 0.5 * p[LINK_F] * (link_v + charge_a * p[BLOCK_S] / p[LINK_F]) ** p[TWO]
        drawn_w += charge_a * rectified_v
        s[AC_LOSS_W] += charge_a * (rectified_v - link_v)
    if drawn_w == 0.0:
        return 0j
    return -drawn_w / (1.5 * peak) * (v / peak)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _ac(
    s: Any, z: Any, p: Any, a: Any, n: int, v_peak: float, w: float, grid: bool, closed: bool, running: bool,
    blocked: bool, tan_phi: float,
) -> None:  # fmt: skip
    dt, w0 = p[DT], p[W0]
    dc_w = s[LINK_W]
    s[AC_LOSS_W] = 0.0
    inject = _supply(s, z, p, closed, running)
    if not grid:
        z[IG] = 0j
    m = a[1] if running else a[0]
    gg, gv, gl, gi, ge, gu, gj = m[0], m[1], m[2], m[3], m[4], m[5], m[6]
    vg, vv, vl, vi, ve, vu, vj = m[7], m[8], m[9], m[10], m[11], m[12], m[13]
    lg, lv, ll, li, le, lu, lj = m[14], m[15], m[16], m[17], m[18], m[19], m[20]
    ig_, iv, il_, ii, ie, iu, ij = m[21], m[22], m[23], m[24], m[25], m[26], m[27]
    ig, v, il, i = z[IG], z[V], z[IL], z[CHOKE_I]
    e = cmath.rect(v_peak, s[SOURCE_ANGLE])
    turn = cmath.exp(1j * (w - w0) * dt)
    theta, wi, xi = s[PLL_ANGLE], s[PLL_W], z[XI]
    kpp, kpi, kp, ki = p[KPP], p[KPI], p[KP], p[KI]
    link_j, i_max, link_ref_j, k_link = s[LINK_J], p[I_MAX], p[LINK_REF_J], p[K_LINK]
    has_coil = p[LOAD_INV_L] != 0.0
    decay = p[BLOCK_DECAY] if blocked or not closed else p[OFF_DECAY]
    bridge_max = 0.577 * math.sqrt(2.0 * link_j / p[LINK_F])
    kj = 1j * p[CHOKE_H]
    if not running:
        gi, vi, li = gj, vj, lj
    g0, v0, l0, i0 = gj * inject, vj * inject, lj * inject, ij * inject
    u = 0j
    square = 0j
    power = 0j
    heat = 0j
    back = 0j
    vdq = 0j
    for _ in range(n):
        i_was = i
        if closed:
            back = cmath.exp(-1j * theta)
            vdq = v * back
            error = cmath.phase(vdq) if abs(vdq) > p[PLL_FREEZE_V] else 0.0
            wi += kpi * error * dt
            wi = 188.5 if wi < 188.5 else 439.8 if wi > 439.8 else wi
            theta += (wi + kpp * error - w0) * dt
        if running:
            vd = vdq.real if vdq.real > 20.0 else 20.0
            idq = i * back
            i_ref = -(dc_w + k_link * (link_ref_j - link_j)) / (1.5 * vd)
            i_ref = i_max if i_ref > i_max else -i_max if i_ref < -i_max else i_ref
            ei = i_ref - idq
            if tan_phi != 0.0:
                q_ref, q_max = tan_phi * abs(i_ref), math.sqrt(i_max * i_max - i_ref * i_ref)
                ei += 1j * (q_max if q_ref > q_max else -q_max if q_ref < -q_max else q_ref)
            u = kp * ei + xi + vdq + kj * wi * idq
            um = abs(u)
            if um > bridge_max:
                u *= bridge_max / um
            else:
                xi += ki * ei
            u *= back.conjugate()
        else:
            i *= decay
        ig_new = gg * ig + gv * v + gl * il + gi * i + ge * e + gu * u + g0
        v_new = vg * ig + vv * v + vl * il + vi * i + ve * e + vu * u + v0
        il_new = (lg * ig + lv * v + ll * il + li * i + le * e + lu * u + l0) if has_coil else 0j
        i_new = (ig_ * ig + iv * v + il_ * il + ii * i + ie * e + iu * u + i0) if running else i
        ig, v, il, i = ig_new, v_new, il_new, i_new
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
    if not running:
        link_j = max(0.0, link_j - dc_w * n * dt)
        xi = 0j
    if not running and abs(i) < p[OFF_A]:
        i = 0j
    z[IG], z[V], z[IL], z[CHOKE_I], z[XI] = ig, v, il, i, xi
    s[SOURCE_ANGLE] = cmath.phase(e) if v_peak != 0.0 else s[SOURCE_ANGLE] + (w - w0) * n * dt
    s[PLL_ANGLE], s[PLL_W], s[LINK_J] = theta, wi, link_j
    s[MEAN_SQUARE] = square.real / (2 * n)
    drawn = -1.5 * (power / n + v * inject.conjugate())
    s[P_W], s[Q_VAR] = drawn.real, drawn.imag
    s[I_RMS] = abs(i + inject) / math.sqrt(2.0) if closed else 0.0
    s[AC_LOSS_W] += 1.5 * p[CHOKE_OHM] * heat.real / n


@njit(cache=True)  # type: ignore[untyped-decorator]
def _idle(s: Any, z: Any, p: Any, n: int, v_peak: float, w: float, closed: bool) -> None:
    span = n * p[DT]
    s[AC_LOSS_W] = 0.0
    inject = _supply(s, z, p, closed, False)
    s[SOURCE_ANGLE] += (w - p[W0]) * span
    e = cmath.rect(v_peak, s[SOURCE_ANGLE])
    yg = 1.0 / (p[GRID_OHM] + 1j * w * p[GRID_H])
    y = p[LOAD_G] + 1j * w * (p[PCC_F] + p[LOAD_C]) - 1j * p[LOAD_INV_L] / w
    v = (e * yg + inject) / (yg + y)
    z[V] = v
    z[IG] = (e - v) * yg
    z[IL] = v * p[LOAD_INV_L] / (1j * w)
    s[MEAN_SQUARE] = 0.5 * (v.real * v.real + v.imag * v.imag)
    supply = 1.5 * (v * inject.conjugate())
    s[P_W], s[Q_VAR] = -supply.real, -supply.imag
    s[I_RMS] = abs(inject) / math.sqrt(2.0)
    if closed and v != 0j:
        s[PLL_ANGLE] = cmath.phase(v)
        s[PLL_W] = min(max(w, 188.5), 439.8)


@njit(cache=True)  # type: ignore[untyped-decorator]
def inner_v(s: Any, p: Any) -> Any:
    """The battery's voltage behind R0, V."""
    count = (p.size - OCV) // 2
    soc = s[SOC]
    k = 0
    while k < count and p[OCV + k] <= soc:
        k += 1
    k = min(max(k, 1), count - 1)
    s0, s1, v0, v1 = p[OCV + k - 1], p[OCV + k], p[OCV + count + k - 1], p[OCV + count + k]
    cell = v0 + (v1 - v0) * (soc - s0) / (s1 - s0)
    return p[CELLS] * cell + s[V1_RC]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _dc(
    s: Any, p: Any, d: Any, n: int, running: bool, blocked: bool, charging: bool, current_a: float, voltage_v: float,
    cutoff_v: float, share: float, g12: float, gb: float, heats: bool,
) -> None:  # fmt: skip
    dt = p[DT]
    inner = inner_v(s, p)
    v1, v2, i = s[V1], s[V2], s[STAGE_A]
    c1, g1, c2, g2 = p[OUTPUT_F], p[BLEED_G], p[CABLE_F], p[LEAK_G]
    power_j = 0.0
    heat_j = 0.0
    charge_c = 0.0
    cable_a = s[CABLE_A]
    row = d[0]
    if not running and abs(i) < 1e-3:
        i, n, dt = 0.0, 1, n * dt
        row = d[1]
    p11, p12, p21, p22 = row[0], row[1], row[2], row[3]
    q1i, q1e, q2i, q2e = row[4], row[5] * inner, row[6], row[7] * inner
    setpoint, reference, ff = s[SETPOINT_A], s[REFERENCE_V], s[FEEDFORWARD_A]
    target = min(current_a, p[DC_I_MAX])
    p_max = p[DC_P_MAX] * share
    lag, ff_lag, gain, slew = p[LAG], p[FF_LAG], p[GAIN], p[SLEW]
    over_v = min(p[DC_V_MAX], voltage_v * 1.05 + 10.0) if charging else p[DC_V_MAX]
    under_v = -1.0 if charging else max(5.0, cutoff_v * 0.95 - 10.0)
    decay = p[DC_BLOCK_DECAY] if blocked else p[DC_OFF_DECAY]
    for _ in range(n):
        if running:
            limit = p_max / v1 if v1 > 50.0 else p_max / 50.0
            ff += ff_lag * (cable_a + g1 * v1 - ff)
            if charging:
                setpoint += lag * (target - setpoint)
                reference = min(voltage_v, (reference if reference > v1 else v1) + slew)
                want = ff + gain * (reference - v1)
                high = setpoint if setpoint < limit else limit
                want = 0.0 if want < 0.0 else high if want > high else want
            else:
                setpoint += lag * (-target - setpoint)
                want = ff + gain * (cutoff_v - v1)
                low = setpoint if setpoint > -limit else -limit
                want = 0.0 if want > 0.0 else low if want < low else want
            i += p[INNER] * (want - i)
            if (v1 > over_v and i > 0.0) or (v1 < under_v and i < 0.0):
                i = 0.0
        else:
            i *= decay
        v1_was, v2_was = v1, v2
        v1 = p11 * v1_was + p12 * v2_was + q1i * i + q1e
        v2 = p21 * v1_was + p22 * v2_was + q2i * i + q2e
        if v1 < 0.0:
            v1 = 0.0
        mean_v1 = 0.5 * (v1 + v1_was)
        cable_a = i - g1 * mean_v1 - c1 * (v1 - v1_was) / dt if g12 != 0.0 else 0.0
        if gb != 0.0:
            charge_c += (cable_a - g2 * 0.5 * (v2 + v2_was)) * dt - c2 * (v2 - v2_was)
        power_j += i * mean_v1 * dt
        if heats:
            heat_j += 0.5 * g12 * ((v1 - v2) ** p[TWO] + (v1_was - v2_was) ** p[TWO]) * dt
    span = n * dt
    if not running:
        setpoint = reference = ff = 0.0
    s[SETPOINT_A], s[REFERENCE_V], s[FEEDFORWARD_A] = setpoint, reference, ff
    s[V1], s[V2], s[STAGE_A], s[CABLE_A] = v1, v2, i, cable_a
    s[PRECHARGE_J] += heat_j
    batt_a = charge_c / span
    s[BATT_A] = batt_a
    s[SOC] += batt_a * span / p[CAPACITY_AS]
    s[V1_RC] += (batt_a * p[R1] - s[V1_RC]) * p[RC_STEP]
    dc_w = power_j / span
    s[LINK_W] = dc_w / p[EFFICIENCY] if dc_w > 0.0 else dc_w * p[EFFICIENCY]
    s[DC_LOSS_W] = s[LINK_W] - dc_w


@njit(cache=True)  # type: ignore[untyped-decorator]
def _sum(s: Any, first: int, count: int) -> float:
    """The exact sum, rounded once (Neumaier's compensation stands for math.fsum)."""
    total = 0.0
    rest = 0.0
    for k in range(first, first + count):
        x = s[k]
        t = total + x
        rest += (total - t) + x if abs(total) >= abs(x) else (x - t) + total
        total = t
    return total + rest


@njit(cache=True)  # type: ignore[untyped-decorator]
def f_hz(s: Any, p: Any, which: int, m: int) -> Any:
    """Mean frequency of an instrument's last two nominal cycles, Hz."""
    return p[F0] + s[INSTRUMENT + which * INSTRUMENT_SIZE + 3] / (_TWO_PI * m * p[BLOCK_S])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _measure(
    s: Any, z: Any, p: Any, which: int, n: int, m: int, a2: float, b2: float, c2: float, free_hz: float
) -> None:
    base = INSTRUMENT + which * INSTRUMENT_SIZE
    rings = FIRST_RING + which * (3 * n + m)
    turns = rings + 3 * n
    phasors = FIRST_PHASOR + which * n
    k = int(s[base + 4])
    j = int(s[base + 5])
    s[base] += a2 - s[rings + k]
    s[base + 1] += b2 - s[rings + n + k]
    s[base + 2] += c2 - s[rings + 2 * n + k]
    s[rings + k], s[rings + n + k], s[rings + 2 * n + k] = a2, b2, c2
    phasor = z[V]
    filtered = z[FILTERED + 2 * which] + phasor - z[phasors + k]
    stored = filtered
    z[phasors + k] = phasor
    k += 1
    if k == n:
        k = 0
        for q in range(3):
            s[base + q] = _sum(s, rings + q * n, n)
        stored = 0j
        for q in range(n):
            stored += z[phasors + q]
    z[FILTERED + 2 * which] = stored
    last = z[FILTERED + 2 * which + 1]
    live = (a2 + b2 + c2) > 3.0 * p[FLOOR2]
    if live and last != 0j:
        turn = cmath.phase(filtered * last.conjugate())
    else:
        turn = _TWO_PI * (free_hz - p[F0]) * p[BLOCK_S]
    z[FILTERED + 2 * which + 1] = filtered if live else 0j
    s[base + 3] += turn - s[turns + j]
    s[turns + j] = turn
    j += 1
    if j == m:
        j = 0
        s[base + 3] = _sum(s, turns, m)
    s[base + 4], s[base + 5], s[base + 6] = float(k), float(j), 1.0 if live else 0.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def _publish(t_s: float, s: Any, p: Any, x: Any, at: Any, n: int, m: int) -> None:
    closed, k_ev = s[CLOSED] != 0.0, s[K_EV] != 0.0
    conductance = p[INSULATION_S]
    if k_ev:
        conductance += p[EV_INSULATION_S]
    if x[at[LEAK]] > 0.0:
        conductance += 1.0 / x[at[LEAK]]
    o = at[FIRST_OUTPUT]
    x[o] = t_s
    for q in range(3):
        x[o + 1 + q] = math.sqrt(max(s[INSTRUMENT + q], 0.0) / n)
        x[o + 5 + q] = math.sqrt(max(s[INSTRUMENT + INSTRUMENT_SIZE + q], 0.0) / n) if closed else 0.0
        x[o + 9 + q] = s[I_RMS]
    x[o + 4] = f_hz(s, p, 0, m)
    x[o + 8] = f_hz(s, p, 1, m) if closed else 0.0
    x[o + 12], x[o + 13] = (s[P_W], s[Q_VAR]) if closed else (0.0, 0.0)
    x[o + 14], x[o + 15], x[o + 16], x[o + 17] = s[V1], s[STAGE_A], s[V2], s[CABLE_A]
    x[o + 18] = inner_v(s, p) + p[R0] * s[BATT_A]
    x[o + 19], x[o + 20] = s[BATT_A], s[SOC]
    x[o + 21], x[o + 22] = 1.0 if closed else 0.0, 1.0 if s[K_DC] != 0.0 else 0.0
    x[o + 23], x[o + 24] = 1.0 if s[K_PRECHARGE] != 0.0 else 0.0, 1.0 if k_ev else 0.0
    x[o + 25], x[o + 26] = 1.0 / conductance, s[TEMPERATURE_C]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _leaves(x: Any, ranges: Any) -> bool:
    """True when a field of the link is outside its range (`watch.inside`)."""
    count = ranges.size // 3
    for q in range(count):  # noqa: SIM110  # compiled: no generators
        if not ranges[count + 2 * q] <= x[int(ranges[q])] <= ranges[count + 2 * q + 1]:
            return True
    return False


@njit(cache=True)  # type: ignore[untyped-decorator]
def blocks(
    count: int, first: int, s: Any, z: Any, p: Any, a: Any, d: Any, x: Any, at: Any, plan: Any, ranges: Any, n: int,
    m: int,
) -> Any:  # fmt: skip
    """At most `count` blocks with the contactors and the source as they are, and what they come to; how many they were.

    It ends early after the block with which a field of the link leaves its range; then the number is negative.
    first: blocks before these. a: the AC step matrices for a stage that rests and one that runs; d: the DC step
    matrices for a step and for a block; x: the plant's link, at: positions in it; plan: from which block on the
    converter's current and tan phi are which, in order; ranges: see watch.py, empty when nobody watches. n, m: the
    instruments' windows in blocks."""
    grid, closed, k_dc = s[GRID] != 0.0, s[CLOSED] != 0.0, s[K_DC] != 0.0
    k_precharge, g12, gb = s[K_PRECHARGE] != 0.0, s[G12], s[GB]
    va, vb, vc, source_hz = s[VA], s[VB], s[VC], s[SOURCE_HZ]
    heats = k_precharge and not k_dc
    span = p[BLOCK_S]
    mean_v = (va + vb + vc) / 3.0
    v_peak = math.sqrt(2.0) * mean_v
    w = _TWO_PI * source_hz
    steps = at[BLOCK_STEPS]
    next_step = 0
    for done in range(count):
        while next_step < plan.size and plan[next_step] <= first + done:
            x[at[CONV_I]], x[at[CONV_TAN_PHI]] = plan[next_step + 1], plan[next_step + 2]
            next_step += 3
        blocked = x[at[ENABLE]] < 0.5 or not closed or s[LINK_J] < p[LOCKOUT_J]
        running = x[at[CONV_ON]] > 0.5 and not blocked
        if running or z[CHOKE_I] != 0j or not grid or p[FAST_IDLE] == 0.0:
            _ac(s, z, p, a, steps, v_peak, w, grid, closed, running, blocked, x[at[CONV_TAN_PHI]])
        else:
            _idle(s, z, p, steps, v_peak, w, closed)
            s[LINK_J] = max(0.0, s[LINK_J] - s[LINK_W] * span)
        s[AC_IN_J] += s[P_W] * span
        s[AC_LOSS_J] += s[AC_LOSS_W] * span
        s[DC_OUT_J] += s[LINK_W] * span
        charging = x[at[CONV_DIR]] >= 0.0
        link_v = math.sqrt(2.0 * s[LINK_J] / p[LINK_F])
        share = (link_v - p[LINK_EMPTY_V]) / p[LINK_BAND_V] if charging else (p[LINK_FULL_V] - link_v) / p[LINK_BAND_V]
        share = 0.0 if share < 0.0 else 1.0 if share > 1.0 else share
        current_a = x[at[CONV_I]] if x[at[CONV_I]] > 0.0 else 0.0
        _dc(
            s,
            p,
            d,
            steps,
            running,
            blocked,
            charging,
            current_a,
            x[at[CONV_V]],
            x[at[CONV_CUTOFF]],
            share,
            g12,
            gb,
            heats,
        )
        rise = p[THERMAL_K] * (s[AC_LOSS_W] + s[DC_LOSS_W])
        s[TEMPERATURE_C] += (x[at[AMBIENT]] + rise - s[TEMPERATURE_C]) * span / p[THERMAL_S]
        square = s[MEAN_SQUARE]
        if grid and mean_v > 0.0:
            k = square / (mean_v * mean_v)
            a2, b2, c2 = k * va * va, k * vb * vb, k * vc * vc
        else:
            a2 = b2 = c2 = square
        _measure(s, z, p, 0, n, m, a2, b2, c2, source_hz if grid else f_hz(s, p, 0, m))
        if closed:
            _measure(s, z, p, 1, n, m, a2, b2, c2, source_hz if grid else f_hz(s, p, 1, m))
        if ranges.size:
            _publish((first + done + 1) * span, s, p, x, at, n, m)
            if _leaves(x, ranges):
                return -(done + 1)
    if not ranges.size:
        _publish((first + count) * span, s, p, x, at, n, m)
    return count
