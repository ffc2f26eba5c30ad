"""The envelope plant with its blocks compiled by numba (extra `hil`): same parameters, same link, same results.

The state lives in arrays while the plant runs, and in the objects of the reference (`ac`, `dc`, `pcc`, `terminals`)
when somebody looks: reading one of them brings the arrays home, and whatever was changed there goes back with the next
block. So a scenario may set a load, a state of charge or a voltage as it does with the reference.

Bounds against the reference, held by tests/test_plant_fast.py: equal to the last bit on x86-64 with glibc, where both
call the same mathematical library; elsewhere 1e-9 of a value's range over 10 s is what may be relied on.
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import MutableSequence, Sequence
from typing import Any

import numpy as np

from hil.plant import kernel as k
from hil.plant.ac import OFF_A, PLL_FREEZE_V, W0
from hil.plant.grid_source import GridSource
from hil.plant.link import PlantLink
from hil.plant.plant import (
    AMBIENT,
    BLOCK_STEPS,
    COIL_DC,
    COIL_GRID,
    COIL_PRECHARGE,
    CONV_CUTOFF,
    CONV_DIR,
    CONV_I,
    CONV_ON,
    CONV_TAN_PHI,
    CONV_V,
    ENABLE,
    EV_CONTACTOR,
    EV_PLUGGED,
    FIRST_OUTPUT,
    LEAK,
    LINK_BAND_V,
    LINK_EMPTY_V,
    LINK_FULL_V,
    OPEN_PRECHARGE,
    STUCK_DC,
    SWITCH_OPEN,
    WELD_DC,
    WELD_GRID,
    Plant,
    PlantParams,
    Step,
)
from hil.plant.watch import inside

_FLOATS_AC = (
    "source_angle", "pll_angle", "pll_w", "link_j", "mean_square", "p_w", "q_var", "i_rms_a", "loss_w",
)  # fmt: skip
_FLOATS_DC = (
    "v1_v", "v2_v", "stage_a", "cable_a", "batt_a", "precharge_j", "link_w", "loss_w", "_setpoint_a", "_reference_v",
    "_feedforward_a",
)  # fmt: skip
_AT = np.array(
    [
        CONV_ON, CONV_DIR, CONV_I, CONV_V, CONV_CUTOFF, CONV_TAN_PHI, ENABLE, LEAK, AMBIENT, FIRST_OUTPUT, BLOCK_STEPS,
    ]
)  # fmt: skip
_NOTHING = np.array([], dtype=float)
_COMPLEX_AC = ("ig", "v", "il", "i", "_xi")
_ENERGIES = ("temperature_c", "ac_in_j", "ac_loss_j", "dc_out_j")


def _kept(name: str) -> Any:
    """An attribute of the reference that is brought home before anybody reads or replaces it."""

    def get(self: FastPlant) -> Any:
        self._home()
        return self.__dict__[name]

    def put(self: FastPlant, value: Any) -> None:
        self._home()
        self.__dict__[name] = value

    return property(get, put)


class FastPlant(Plant):
    """`Plant`, compiled. Raises ImportError without numba (`pip install 'quadrant[hil]'`)."""

    looks_ahead = True

    def __init__(
        self,
        link: PlantLink,
        source: GridSource,
        params: PlantParams | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._s: Any = None  # floats; None: the objects are what holds
        self._z: Any = None  # complex numbers
        self._p: Any = None  # parameters
        self._x: Any = None  # the link, as an array
        self._ranges: Any = None  # what is watched, as an array
        self._plan = array("d", [0.0]) * 48
        self._plan_x: Any = None  # the same, as an array of numpy
        self._n = self._m = 0  # the instruments' windows in blocks
        self._switches: tuple[float, ...] | None = None  # the coils that every contactor has followed
        self._key: tuple[bool, ...] = ()  # where everything that switches is
        self._now: tuple[Any, Any] = (None, None)  # the matrices of that
        self._volts: object = None  # the source's last sample
        self._hz = math.nan
        self._opened = False  # the grid contactor, in this block
        super().__init__(link, source, params, rng)

    ac, dc, pcc, terminals = (_kept(name) for name in ("ac", "dc", "pcc", "terminals"))
    temperature_c, ac_in_j, ac_loss_j, dc_out_j = (_kept(name) for name in _ENERGIES)

    def __getstate__(self) -> dict[str, Any]:
        self._home()
        return self.__dict__

    # ------------------------------------------------------------------------------------------------------ there, back
    def _away(self) -> None:
        """From the objects into arrays."""
        ac, dc, pcc, p = self.ac, self.dc, self.pcc, self.params
        battery = dc.battery
        n, m = len(pcc._phasors), len(pcc._turns)
        self._n, self._m = n, m
        numbers = [getattr(ac, name) for name in _FLOATS_AC] + [getattr(dc, name) for name in _FLOATS_DC]
        numbers += [battery.soc, battery.v1_v]
        numbers += [getattr(self, name) for name in _ENERGIES]
        rings: list[float] = []
        waves = [getattr(ac, name) for name in _COMPLEX_AC]
        phasors: list[complex] = []
        for tool in (pcc, self.terminals):
            numbers += [*tool._sums, tool._turned, tool._k, tool._j, tool.live]
            rings += [x for ring in tool._squares for x in ring] + tool._turns
            waves += [tool._phasor, tool._last]
            phasors += tool._phasors
        a, d, span = p.ac, p.dc, self.block_s
        dt = p.dt_s
        load, cells = ac.load, p.dc.battery
        self._z = np.array(waves + phasors, dtype=complex)
        self._p = np.array(
            [
                dt, a.grid_ohm, a.grid_h, a.pcc_f, a.choke_ohm, a.choke_h, a.i_max_a, a.link_f,
                0.5 * a.link_f * a.link_v**2, a.link_loop_per_s, a.soft_charge_ohm, a.aux_w,
                math.exp(-2.0 * span / a.link_bleed_s), math.exp(-dt / a.off_lag_s), math.exp(-dt / a.block_lag_s),
                *a.pll_gains, a.choke_h * 2.0 * math.pi * a.current_loop_hz,
                a.choke_ohm * 2.0 * math.pi * a.current_loop_hz * dt, load.g_s, load.c_f, load.inv_l_per_h,
                self._lockout_j, d.output_f, 1.0 / d.bleed_ohm, d.cable_f, 1.0 / d.cable_leak_ohm, d.i_max_a, d.p_max_w,
                d.v_max_v, -math.expm1(-dt / d.setpoint_lag_s), -math.expm1(-dt / d.feedforward_s),
                d.output_f / d.voltage_loop_s, d.soft_start_v_s * dt, -math.expm1(-dt / d.inner_lag_s),
                math.exp(-dt / d.off_lag_s), math.exp(-dt / d.block_lag_s), d.efficiency, cells.cells,
                cells.capacity_ah * 3600.0, cells.r0_ohm, cells.r1_ohm,
                -math.expm1(-span / (cells.r1_ohm * cells.c1_f)), p.thermal_k_per_w, p.thermal_s, span,
                pcc._floor2, p.fast_idle, pcc._f0_hz, 1.0 / p.insulation_ohm, 1.0 / p.ev_insulation_ohm, 2.0,
                W0, OFF_A, PLL_FREEZE_V, LINK_EMPTY_V, LINK_FULL_V, LINK_BAND_V,
                *battery._soc, *battery._cell_v,
            ]
        )  # fmt: skip
        # The link's values lie in one buffer (hil/plant/link.py), which its type does not say to numpy's stubs.
        self._x = np.frombuffer(self.link.values, dtype=np.float64)  # type: ignore[call-overload]
        self._ranges = np.frombuffer(self.ranges, dtype=np.float64) if self.ranges else _NOTHING
        self._plan_x = np.frombuffer(self._plan, dtype=np.float64)
        self._switches, self._key, self._volts = None, (), None
        numbers[k.GRID : k.GRID] = [0.0] * (k.INSTRUMENT - k.GRID)
        self._s = np.array(numbers + rings, dtype=float)

    def _home(self) -> None:
        """From the arrays into the objects, which hold from now on."""
        if self.__dict__.get("_s") is None:
            return
        s, z, n, m = self._s.tolist(), self._z.tolist(), self._n, self._m
        self._s = self._z = self._p = self._x = self._ranges = self._plan_x = None
        self._now = (None, None)
        ac, dc = self.ac, self.dc
        for place, name in enumerate(_FLOATS_AC):
            setattr(ac, name, s[place])
        for place, name in enumerate(_FLOATS_DC, k.V1):
            setattr(dc, name, s[place])
        dc.battery.soc, dc.battery.v1_v = s[k.SOC], s[k.V1_RC]
        for place, name in enumerate(_ENERGIES, k.TEMPERATURE_C):
            setattr(self, name, s[place])
        for place, name in enumerate(_COMPLEX_AC):
            setattr(ac, name, z[place])
        for which, tool in enumerate((self.pcc, self.terminals)):
            base, ring = k.INSTRUMENT + which * k.INSTRUMENT_SIZE, k.FIRST_RING + which * (3 * n + m)
            tool._sums, tool._turned = s[base : base + 3], s[base + 3]
            tool._k, tool._j, tool.live = int(s[base + 4]), int(s[base + 5]), bool(s[base + 6])
            tool._squares = [s[ring + q * n : ring + (q + 1) * n] for q in range(3)]
            tool._turns = s[ring + 3 * n : ring + 3 * n + m]
            tool._phasor, tool._last = z[k.FILTERED + 2 * which : k.FILTERED + 2 * which + 2]
            tool._phasors = z[k.FIRST_PHASOR + which * n : k.FIRST_PHASOR + (which + 1) * n]

    # ------------------------------------------------------------------------------------------------------------ time
    def advance(self, until_s: float, watched: bool = False, steps: Sequence[Step] = ()) -> bool:
        span = self.block_s
        count = int(until_s / span + 1e-6) - self._blocks
        if count <= 0:
            return False
        x = self.link.values
        while count > 0:
            if self.params.three_phase or self.source.shape((self._blocks + 0.5) * self.block_s) is not None:
                self._home()  # waveforms are the reference's
                for t_s, amps, tan_phi in steps:
                    if int(t_s / span + 1e-6) <= self._blocks:
                        x[CONV_I], x[CONV_TAN_PHI] = amps, tan_phi
                self._block(x)
                self._publish()
                count -= 1
                if watched and not inside(x, self.ranges):
                    return True
                continue
            if self._s is None:
                self._away()
            switches = x[COIL_GRID], x[COIL_DC], x[COIL_PRECHARGE], x[EV_CONTACTOR], x[EV_PLUGGED], x[SWITCH_OPEN]
            middle_s = (self._blocks + count - 0.5) * span
            # With every contactor where its coil wants it and a source that stands still, nothing happens in between.
            if switches != self._switches or not self.source.still(middle_s):
                self._switch(x)
                self._switches = switches if self._settled(x) else None
                most = 1
                middle_s = (self._blocks + 0.5) * span
            else:
                most = count
            volts, f_hz, jump_rad = self.source.sample(middle_s)
            if volts != self._volts or f_hz != self._hz:
                self._volts, self._hz = volts, f_hz
                self._s[k.VA : k.SOURCE_HZ + 1] = *volts, f_hz
            if jump_rad != self._jump_rad:
                self._s[k.SOURCE_ANGLE] += jump_rad - self._jump_rad
                self._jump_rad = jump_rad
            a, d = self._now
            plan = self._planned(steps) if steps else _NOTHING
            ranges = self._ranges if watched else _NOTHING
            done = k.blocks(
                most, self._blocks, self._s, self._z, self._p, a, d, self._x, _AT, plan, ranges, self._n, self._m
            )
            self._blocks += abs(done)
            if self._opened:
                self._forget_terminals()
                self._opened = False
            if done < 0:
                return True
            count -= done
        return False

    def _planned(self, steps: Sequence[Step]) -> Any:
        """The block from which on each step holds, and its values, one after the other."""
        span, numbers, place = self.block_s, self._plan, 0
        if 3 * len(steps) > len(numbers):
            numbers = self._plan = array("d", [0.0]) * (6 * len(steps))
            self._plan_x = np.frombuffer(numbers, dtype=np.float64)
        for t_s, amps, tan_phi in steps:
            numbers[place], numbers[place + 1], numbers[place + 2] = int(t_s / span + 1e-6), amps, tan_phi
            place += 3
        return self._plan_x[:place]

    def envelope(self) -> tuple[complex, complex]:
        """As the reference, and nothing is brought home for it: who records looks every millisecond."""
        if self._s is None:
            return super().envelope()
        return complex(self._z[_COMPLEX_AC.index("v")]), complex(self._z[_COMPLEX_AC.index("i")])

    def _settled(self, x: MutableSequence[float]) -> bool:
        """Every contactor is where its coil wants it."""
        return all(
            contactor.rests(coil > 0.5)
            for contactor, coil in (
                (self.grid_contactor, x[COIL_GRID]),
                (self.dc_contactor, x[COIL_DC]),
                (self.precharge_relay, x[COIL_PRECHARGE]),
                (self.ev_contactor, x[EV_CONTACTOR]),
            )
        )

    def _switch(self, x: MutableSequence[float]) -> None:
        """Move the contactors by one block."""
        now = self._blocks * self.block_s
        was_closed = self.grid_contactor.closed
        closed = self.grid_contactor.update(now, x[COIL_GRID] > 0.5, welded=x[WELD_GRID] > 0.5)
        k_dc = self.dc_contactor.update(now, x[COIL_DC] > 0.5, welded=x[WELD_DC] > 0.5, stuck=x[STUCK_DC] > 0.5)
        k_precharge = self.precharge_relay.update(now, x[COIL_PRECHARGE] > 0.5, stuck=x[OPEN_PRECHARGE] > 0.5)
        k_ev = self.ev_contactor.update(now, x[EV_CONTACTOR] > 0.5) and x[EV_PLUGGED] > 0.5
        key = (x[SWITCH_OPEN] < 0.5, closed, k_dc, k_precharge, k_ev)
        self._opened = was_closed and not closed
        if key != self._key:
            self._key = key
            a, d, g12, gb = self._matrices(key[0], k_dc, k_precharge, k_ev)
            self._now = a, d
            self._s[k.GRID : k.GB + 1] = *key, g12, gb

    def _matrices(self, grid: bool, k_dc: bool, k_precharge: bool, k_ev: bool) -> tuple[Any, Any, float, float]:
        """AC matrices (stage at rest, running), DC matrices (a step, a block), and the two conductances."""
        p, dt = self.params.dc, self.params.dt_s
        g12 = 1.0 / p.contactor_ohm if k_dc else 1.0 / p.precharge_ohm if k_precharge else 0.0
        gb = 1.0 / (p.cable_ohm + p.battery.r0_ohm) if k_ev else 0.0
        a = np.array([self.__dict__["ac"]._step_matrix(grid, running) for running in (False, True)])
        d = np.array([self.__dict__["dc"].matrix(g12, gb, step_s) for step_s in (dt, BLOCK_STEPS * dt)])
        return a, d, g12, gb

    def _forget_terminals(self) -> None:
        """`GridInstrument.reset` of the second instrument."""
        base, ring = k.INSTRUMENT + k.INSTRUMENT_SIZE, k.FIRST_RING + 3 * self._n + self._m
        self._s[base : base + k.INSTRUMENT_SIZE] = 0.0
        self._s[ring : ring + 3 * self._n + self._m] = 0.0
        self._z[k.FILTERED + 2 : k.FILTERED + 4] = 0.0
        self._z[k.FIRST_PHASOR + self._n : k.FIRST_PHASOR + 2 * self._n] = 0.0
