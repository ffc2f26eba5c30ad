"""The DC side: DC/DC stage, output capacitor, contactor pair with precharge, cable, battery.

Two nodes - the converter's DC terminals (v1) and the cable behind the contactor (v2) - joined by the contactor, by the
precharge resistor, or by nothing; the car's contactor joins v2 to the battery. With the DC/DC's current and the
battery's inner voltage held over a step the network is linear, so each topology is stepped by its exact matrix
exponential: microsecond time constants (60 uF behind 100 mohm) need no microsecond steps, and nothing rings or
diverges when a contactor closes on the wrong voltage. The current peak of such a closing is seen as its mean over a
step, with the right charge.

The DC/DC is a current source: set-point through a first-order lag, a fast voltage loop that limits it (CV while
charging, cut-off while discharging), a soft start of the voltage reference, a power limit, and comparators that block
it when its voltage leaves the range faster than the loop can follow (load dump).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field

# Open-circuit voltage of one NMC cell over its state of charge: the usual shape of the data sheets, no single maker's.
# Beyond 0 and 1 it goes on steeply, so that an over-charged or over-discharged battery shows it.
CELL_OCV = (
    (-0.05, 2.30), (0.0, 3.00), (0.05, 3.35), (0.1, 3.47), (0.2, 3.56), (0.3, 3.61), (0.4, 3.65), (0.5, 3.70),
    (0.6, 3.79), (0.7, 3.89), (0.8, 3.99), (0.9, 4.08), (1.0, 4.18), (1.05, 4.40),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BatteryParams:
    """A 400 V class car: 96 cells in series, 156 Ah, about 57 kWh."""

    cells: int = 96
    capacity_ah: float = 156.0
    r0_ohm: float = 0.060
    r1_ohm: float = 0.020
    c1_f: float = 5000.0  # R1*C1 = 100 s
    ocv: tuple[tuple[float, float], ...] = CELL_OCV  # (soc, volts of one cell), rising


class Battery:
    """OCV(SoC) - R0 - R1||C1. Current positive = charging."""

    def __init__(self, params: BatteryParams, soc: float) -> None:
        if not 0.0 <= soc <= 1.0:
            raise ValueError(f"soc {soc} is not between 0 and 1")
        self.params = params
        self.soc = soc
        self.v1_v = 0.0  # across R1||C1
        self._soc = [point[0] for point in params.ocv]
        self._cell_v = [point[1] for point in params.ocv]

    def ocv_v(self) -> float:
        """Open-circuit voltage at the present state of charge, V."""
        s, v = self._soc, self._cell_v
        k = min(max(bisect_right(s, self.soc), 1), len(s) - 1)
        cell = v[k - 1] + (v[k] - v[k - 1]) * (self.soc - s[k - 1]) / (s[k] - s[k - 1])
        return self.params.cells * cell

    def inner_v(self) -> float:
        """The voltage behind R0."""
        return self.ocv_v() + self.v1_v

    def step(self, i_a: float, dt_s: float) -> None:
        """The mean current of dt_s passed."""
        p = self.params
        self.soc += i_a * dt_s / (p.capacity_ah * 3600.0)
        self.v1_v += (i_a * p.r1_ohm - self.v1_v) * -math.expm1(-dt_s / (p.r1_ohm * p.c1_f))


@dataclass(frozen=True, slots=True)
class DcParams:
    """Converter's DC side (ratings of the BEG1K075G: 22 kW, 1000 V, 73.3 A) and what is behind it."""

    output_f: float = 60e-6  # output capacitor
    bleed_ohm: float = 10e3  # 60 uF * 10 kohm: 1000 V falls below 60 V in 1.7 s, 400 V in 1.1 s
    cable_f: float = 0.5e-6  # cable and the car's inlet filter
    cable_leak_ohm: float = 1e6  # DC+ to DC-: the coupling of the insulation monitor
    contactor_ohm: float = 0.001
    precharge_ohm: float = 100.0
    cable_ohm: float = 0.020  # both conductors, lumped; its inductance (uH) is faster than a step
    p_max_w: float = 22000.0
    i_max_a: float = 80.0  # what the stage can carry whatever is commanded
    v_max_v: float = 1050.0  # hardware over-voltage comparator
    efficiency: float = 0.97  # of the DC/DC and its transformer
    setpoint_lag_s: float = 0.003  # current set-point to current
    inner_lag_s: float = 0.0002
    voltage_loop_s: float = 0.001
    feedforward_s: float = 0.0005  # filter on the measured load current
    soft_start_v_s: float = 1000.0  # rise of the voltage reference
    off_lag_s: float = 0.001  # switched off by command
    block_lag_s: float = 0.0001  # gates blocked by the hardware enable or for want of supply
    battery: BatteryParams = field(default_factory=BatteryParams)


_Matrix = tuple[float, float, float, float, float, float, float, float]


class DcSide:
    def __init__(self, params: DcParams, dt_s: float, soc: float) -> None:
        self.params = params
        self.battery = Battery(params.battery, soc)
        self._dt_s = dt_s
        self._matrices: dict[tuple[float, float, float], _Matrix] = {}
        self.v1_v = 0.0  # converter's terminals
        self.v2_v = 0.0  # cable
        self.stage_a = 0.0  # DC/DC current
        self.cable_a = 0.0  # through contactor or precharge resistor, mean of the last step
        self.batt_a = 0.0
        self.precharge_j = 0.0  # heat in the precharge resistor since start
        self.link_w = 0.0  # mean power taken from the DC link in the last block (negative: delivered)
        self.loss_w = 0.0
        self._setpoint_a = 0.0  # signed, after the lag
        self._reference_v = 0.0
        self._feedforward_a = 0.0

    def matrix(self, g12: float, gb: float, dt_s: float) -> _Matrix:
        """Exact step of the two nodes: (p11 p12 p21 p22) for the voltages, (q1i q1e q2i q2e) for the held current
        into node 1 and the battery's inner voltage. g12: between the nodes, gb: to the battery (siemens)."""
        key = (g12, gb, dt_s)
        known = self._matrices.get(key)
        if known is not None:
            return known
        p = self.params
        c1, c2, g1, g2 = p.output_f, p.cable_f, 1.0 / p.bleed_ohm, 1.0 / p.cable_leak_ohm
        a, b, c, d = -(g1 + g12) / c1, g12 / c1, g12 / c2, -(g2 + g12 + gb) / c2
        # All terms positive: no cancellation however far apart the two eigenvalues are.
        det = (g1 * (g2 + g12 + gb) + g12 * (g2 + gb)) / (c1 * c2)
        fast = 0.5 * (a + d) - math.sqrt(0.25 * (a - d) ** 2 + b * c)
        slow = det / fast
        if abs(fast - slow) < 1e-9 * abs(fast):  # equal: separate them by less than matters
            fast *= 1.0 + 1e-7
        ef, es, w = math.exp(fast * dt_s), math.exp(slow * dt_s), slow - fast
        p11, p12 = (es * (a - fast) - ef * (a - slow)) / w, (es - ef) * b / w
        p21, p22 = (es - ef) * c / w, (es * (d - fast) - ef * (d - slow)) / w
        # inverse(A) (P - 1) applied to (1/c1, 0) and (0, gb/c2)
        i11, i12, i21, i22 = d / det, -b / det, -c / det, a / det
        m11, m12, m21, m22 = p11 - 1.0, p12, p21, p22 - 1.0
        result = (
            p11, p12, p21, p22,
            (i11 * m11 + i12 * m21) / c1, (i11 * m12 + i12 * m22) * gb / c2,
            (i21 * m11 + i22 * m21) / c1, (i21 * m12 + i22 * m22) * gb / c2,
        )  # fmt: skip
        self._matrices[key] = result
        return result

    def run(
        self,
        n: int,
        *,
        running: bool,
        blocked: bool,
        direction: int,
        current_a: float,
        voltage_v: float,
        cutoff_v: float,
        link_share: float,
        k_dc: bool,
        k_precharge: bool,
        k_ev: bool,
    ) -> None:
        """n steps. running: the stage may switch; blocked: it stopped hard. direction +1 charges, -1 discharges;
        current_a is a magnitude. link_share (0..1): how much power the DC link can give or take now."""
        p = self.params
        dt, battery = self._dt_s, self.battery
        g12 = 1.0 / p.contactor_ohm if k_dc else 1.0 / p.precharge_ohm if k_precharge else 0.0
        gb = 1.0 / (p.cable_ohm + p.battery.r0_ohm) if k_ev else 0.0
        inner_v = battery.inner_v()
        v1, v2, i = self.v1_v, self.v2_v, self.stage_a
        c1, g1, c2, g2 = p.output_f, 1.0 / p.bleed_ohm, p.cable_f, 1.0 / p.cable_leak_ohm
        power_j = heat_j = charge_c = 0.0
        cable_a = self.cable_a
        if not running and abs(i) < 1e-3:  # nothing switches: one exact step for the whole block
            i, n, dt = 0.0, 1, n * dt
        p11, p12, p21, p22, q1i, q1e, q2i, q2e = self.matrix(g12, gb, dt)
        q1e *= inner_v
        q2e *= inner_v
        if running:
            charging = direction > 0
            setpoint, reference, ff = self._setpoint_a, self._reference_v, self._feedforward_a
            target = min(current_a, p.i_max_a)
            p_max = p.p_max_w * link_share
            lag = -math.expm1(-dt / p.setpoint_lag_s)
            ff_lag = -math.expm1(-dt / p.feedforward_s)
            gain = c1 / p.voltage_loop_s
            slew = p.soft_start_v_s * dt
            over_v = min(p.v_max_v, voltage_v * 1.05 + 10.0) if charging else p.v_max_v
            under_v = -1.0 if charging else max(5.0, cutoff_v * 0.95 - 10.0)
        decay = math.exp(-dt / (p.block_lag_s if blocked else p.off_lag_s))
        inner = -math.expm1(-dt / p.inner_lag_s)
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
                i += inner * (want - i)
                if (v1 > over_v and i > 0.0) or (v1 < under_v and i < 0.0):
                    i = 0.0  # comparator, at once
            else:
                i *= decay
            v1_was, v2_was = v1, v2
            v1 = p11 * v1_was + p12 * v2_was + q1i * i + q1e
            v2 = p21 * v1_was + p22 * v2_was + q2i * i + q2e
            if v1 < 0.0:
                v1 = 0.0  # the output diodes carry what is left of a load dump while discharging
            # Mean currents of the step from the charge balance of each node: right even when a peak is shorter.
            mean_v1 = 0.5 * (v1 + v1_was)
            cable_a = i - g1 * mean_v1 - c1 * (v1 - v1_was) / dt if g12 else 0.0
            if gb:
                charge_c += (cable_a - g2 * 0.5 * (v2 + v2_was)) * dt - c2 * (v2 - v2_was)
            power_j += i * mean_v1 * dt
            if k_precharge and not k_dc:
                heat_j += 0.5 * g12 * ((v1 - v2) ** 2 + (v1_was - v2_was) ** 2) * dt
        span = n * dt
        if running:
            self._setpoint_a, self._reference_v, self._feedforward_a = setpoint, reference, ff
        else:
            self._setpoint_a = self._reference_v = self._feedforward_a = 0.0
        self.v1_v, self.v2_v, self.stage_a, self.cable_a = v1, v2, i, cable_a
        self.precharge_j += heat_j
        self.batt_a = charge_c / span
        battery.step(self.batt_a, span)
        dc_w = power_j / span
        self.link_w = dc_w / p.efficiency if dc_w > 0.0 else dc_w * p.efficiency
        self.loss_w = self.link_w - dc_w

    def batt_v(self) -> float:
        """At the battery's terminals, V."""
        return self.battery.inner_v() + self.params.battery.r0_ohm * self.batt_a
