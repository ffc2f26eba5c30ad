"""The plant: grid, island, converter, contactors, cable, car's battery. Physics only, no protocol.

`Plant.advance(until_s)` reads the switches and set-points from the link once, steps, and writes the measurements back.
Time goes in blocks of BLOCK_STEPS steps (0.5 ms at 100 us): contactors and the source act on block boundaries, AC and
DC side exchange their power once a block. So an event is timed to 0.5 ms, and the result does not depend on how the
time was cut into calls of `advance`, as long as the link's inputs change at the same instants.

While the source's phases are not 120 degrees apart or no sines, the block is stepped with waveforms (waves.py); so is
all of it with `three_phase`. Otherwise the AC side is the positive sequence and per-phase magnitudes take the source's
ratios.

Not modelled: currents of the phases apart (the link has their mean), the poles of a contactor pair apart, cable
inductance, the car's own limits (the emulated car has them), the module's boot time and ramps (the emulated module has
them).
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass, field

from hil.plant import waves
from hil.plant.ac import HOUSE, LINK_LOCKOUT_V, AcParams, AcSide, IslandLoad
from hil.plant.contactors import RELAY_DELAY_S, Contactor
from hil.plant.dc import DcParams, DcSide
from hil.plant.grid_source import GridSource, Shape
from hil.plant.instruments import GridInstrument
from hil.plant.link import INDEX, PLANT, PlantLink
from hil.plant.watch import inside

BLOCK_STEPS = 5
SQRT2 = math.sqrt(2.0)
TWO_PI = 2.0 * math.pi
# The DC/DC backs off linearly over LINK_BAND_V when its link leaves the range (typical of an 800 V link with 1000 V
# parts): below LINK_EMPTY_V it charges nothing, above LINK_FULL_V it takes nothing from the battery.
LINK_EMPTY_V = 600.0
LINK_FULL_V = 900.0
LINK_BAND_V = 50.0
(
    CONV_ON, CONV_DIR, CONV_I, CONV_V, CONV_CUTOFF, CONV_TAN_PHI, COIL_GRID, COIL_DC, COIL_PRECHARGE, ENABLE,
    EV_PLUGGED, EV_CONTACTOR, SWITCH_OPEN, WELD_GRID, WELD_DC, STUCK_DC, OPEN_PRECHARGE, LEAK, AMBIENT,
) = (
    INDEX[name]
    for name in (
        "conv_on", "conv_dir", "conv_i_a", "conv_v_v", "conv_cutoff_v", "conv_tan_phi", "coil_grid", "coil_dc",
        "coil_precharge", "converter_enable", "ev_plugged", "ev_contactor", "grid_switch_open", "weld_grid", "weld_dc",
        "stuck_dc", "open_precharge", "leak_ohm", "ambient_c",
    )
)  # fmt: skip
FIRST_OUTPUT = INDEX[PLANT[0]]
# What holds for a block: its time, the grid contactor before and now, the other contactors, the source's volts and
# hertz, the island switch, and whether the stage is blocked and runs.
_Given = tuple[float, bool, bool, bool, bool, bool, tuple[float, float, float], float, bool, bool, bool]
Step = tuple[float, float, float]  # at plant time (s) the converter's current (A) and tan phi become these


@dataclass(frozen=True, slots=True)
class PlantParams:
    """Everything that a plant is made of. Defaults: the desk's charger on a normal house connection, a 400 V car."""

    dt_s: float = 100e-6
    soc: float = 0.5
    ac: AcParams = field(default_factory=AcParams)
    dc: DcParams = field(default_factory=DcParams)
    load: IslandLoad = HOUSE
    insulation_ohm: float = 5e6  # charger and cable to PE
    ev_insulation_ohm: float = 3e6  # the car's, in parallel while its contactor is closed
    ambient_c: float = 25.0
    thermal_k_per_w: float = 0.040  # 22 kW at 97 % and choke losses: about 900 W, +36 K
    thermal_s: float = 120.0
    contactor_bounce_s: float = 0.0  # of all power contactors when they close, see contactors.py
    contactor_delay_s: float | None = None  # fixed delay of all power contactors; None: drawn, see contactors.py
    three_phase: bool = False  # waveforms of all three phases always, not only while they differ in angle or shape
    fast_idle: bool = True  # stationary phasor while nothing switches (see AcSide.run_idle)

    def __post_init__(self) -> None:
        if not 10e-6 <= self.dt_s <= 200e-6:
            raise ValueError(f"dt_s is {self.dt_s}: the plant's step must lie between 10 and 200 microseconds")
        if not 0.0 <= self.contactor_bounce_s <= 0.1:
            raise ValueError(f"contactor_bounce_s is {self.contactor_bounce_s}: 0 to 0.1 s are possible")


class Plant:
    looks_ahead = False  # how far `advance` may be asked to go while somebody watches: one step of the devices

    def __init__(
        self,
        link: PlantLink,
        source: GridSource,
        params: PlantParams | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """rng draws the contactors' delays (15-30 ms); without it they are the middle of that range.

        The plant starts at t = 0 with the grid present, everything open and every capacitor empty. It writes the
        ambient temperature of the parameters into the link, for the operator to change."""
        self.link = link
        self.source = source
        self.params = p = params or PlantParams()
        self.block_s = BLOCK_STEPS * p.dt_s
        self.ac = AcSide(p.ac, p.load, p.dt_s)
        self.dc = DcSide(p.dc, p.dt_s, p.soc)
        self.grid_contactor = Contactor(rng, p.contactor_delay_s, p.contactor_bounce_s)
        self.dc_contactor = Contactor(rng, p.contactor_delay_s, p.contactor_bounce_s)
        self.precharge_relay = Contactor(None, RELAY_DELAY_S)
        self.ev_contactor = Contactor(rng, p.contactor_delay_s, p.contactor_bounce_s)
        self.pcc = GridInstrument(self.block_s)
        self.terminals = GridInstrument(self.block_s)
        self.temperature_c = p.ambient_c
        self._half: waves.HalfCycle | None = None  # while the phases differ
        # Energies since start, J (the energy balance of docs/plant-validation.md).
        self.ac_in_j = 0.0
        self.ac_loss_j = 0.0
        self.dc_out_j = 0.0  # taken from the link by the DC/DC
        self._lockout_j = 0.5 * p.ac.link_f * LINK_LOCKOUT_V**2
        self._blocks = 0
        self._jump_rad = 0.0
        self.ranges: array[float] = array("d")  # of the link's fields, that somebody watches (hil/plant/watch.py)
        link.ambient_c = p.ambient_c
        v, _f, self._jump_rad = source.sample(0.0)
        self.ac.source_angle = self._jump_rad
        self.ac.run_idle(1, SQRT2 * sum(v) / 3.0, 2.0 * math.pi * _f, closed=False)
        self._publish()

    def set_source(self, source: GridSource) -> None:
        """Hang the plant on another source from now on; its phase goes on where the old one's is."""
        _v, _f, self._jump_rad = source.sample(self.t_s)
        self.source = source

    @property
    def t_s(self) -> float:
        return self._blocks * self.block_s

    def advance(self, until_s: float, watched: bool = False, steps: Sequence[Step] = ()) -> bool:
        """Step to the last whole block not after until_s (absolute plant time). Going back does nothing.

        watched: True is returned when a field of the link is outside its range then. A plant that `looks_ahead` stops
        where that happens, after any block; and it takes `steps` of the converter's set-points on its way."""
        assert not steps
        blocks = int(until_s / self.block_s + 1e-6) - self._blocks
        x = self.link.values
        if blocks > 0:
            for _ in range(blocks):
                self._block(x)
            self._publish()
        return watched and not inside(x, self.ranges)

    def envelope(self) -> tuple[complex, complex]:
        """Voltage at the PCC (V) and the converter's current (A), positive sequence; their size is the amplitude."""
        return self.ac.v, self.ac.i

    def _block(self, x: MutableSequence[float]) -> None:
        """One block: contactors, source, AC side, DC side, instruments."""
        given = self._begin(x)
        self._end(x, given, self._solve(x, given))

    def _begin(self, x: MutableSequence[float]) -> _Given:
        """What holds for a block: contactors and source."""
        ac, now, span = self.ac, self._blocks * self.block_s, self.block_s
        was_closed = self.grid_contactor.closed
        closed = self.grid_contactor.update(now, x[COIL_GRID] > 0.5, welded=x[WELD_GRID] > 0.5)
        k_dc = self.dc_contactor.update(now, x[COIL_DC] > 0.5, welded=x[WELD_DC] > 0.5, stuck=x[STUCK_DC] > 0.5)
        k_precharge = self.precharge_relay.update(now, x[COIL_PRECHARGE] > 0.5, stuck=x[OPEN_PRECHARGE] > 0.5)
        k_ev = self.ev_contactor.update(now, x[EV_CONTACTOR] > 0.5) and x[EV_PLUGGED] > 0.5
        volts, f_hz, jump_rad = self.source.sample(now + 0.5 * span)
        ac.source_angle += jump_rad - self._jump_rad
        self._jump_rad = jump_rad
        blocked = x[ENABLE] < 0.5 or not closed or ac.link_j < self._lockout_j
        running = x[CONV_ON] > 0.5 and not blocked
        return now, was_closed, closed, k_dc, k_precharge, k_ev, volts, f_hz, x[SWITCH_OPEN] < 0.5, blocked, running

    def _solve(self, x: MutableSequence[float], given: _Given) -> waves.Seen | None:
        """The AC side over a block; what an instrument sees, where the phases differ."""
        now, _, closed, _, _, _, volts, f_hz, grid, blocked, running = given
        ac, dc, p, span = self.ac, self.dc, self.params, self.block_s
        mean_v = (volts[0] + volts[1] + volts[2]) / 3.0
        w = TWO_PI * f_hz
        shape = self.source.shape(now + 0.5 * span)
        if shape is None and p.three_phase:
            shape = Shape()
        seen = None
        if shape is None:
            self._half = None
        else:
            self._half = self._half or waves.HalfCycle(*(v * v for v in self.pcc.rms_v()))
            seen = waves.run(
                self._half, ac, span, now, volts, shape, w,
                grid=grid, closed=closed, running=running, dc_w=dc.link_w, blocked=blocked, tan_phi=x[CONV_TAN_PHI],
            )  # fmt: skip
        if seen is None and (running or ac.i or not grid or not p.fast_idle):
            ac.run(
                BLOCK_STEPS, SQRT2 * mean_v, w,
                grid=grid, closed=closed, running=running, dc_w=dc.link_w, blocked=blocked,
                tan_phi=x[CONV_TAN_PHI],
            )  # fmt: skip
        elif seen is None:
            ac.run_idle(BLOCK_STEPS, SQRT2 * mean_v, w, closed=closed)
            ac.link_j = max(0.0, ac.link_j - dc.link_w * span)
        return seen

    def _end(self, x: MutableSequence[float], given: _Given, seen: waves.Seen | None) -> None:
        """The DC side and the instruments over the same block."""
        _, was_closed, closed, k_dc, k_precharge, k_ev, (va, vb, vc), f_hz, grid, blocked, running = given
        ac, dc, p, span = self.ac, self.dc, self.params, self.block_s
        mean_v = (va + vb + vc) / 3.0
        self.ac_in_j += ac.p_w * span
        self.ac_loss_j += ac.loss_w * span
        self.dc_out_j += dc.link_w * span

        direction = 1 if x[CONV_DIR] >= 0.0 else -1
        link_v = ac.link_v
        if direction > 0:  # an empty link cannot give, a full one cannot take
            share = (link_v - LINK_EMPTY_V) / LINK_BAND_V
        else:
            share = (LINK_FULL_V - link_v) / LINK_BAND_V
        dc.run(
            BLOCK_STEPS,
            running=running,
            blocked=blocked,
            direction=direction,
            current_a=x[CONV_I] if x[CONV_I] > 0.0 else 0.0,
            voltage_v=x[CONV_V],
            cutoff_v=x[CONV_CUTOFF],
            link_share=0.0 if share < 0.0 else 1.0 if share > 1.0 else share,
            k_dc=k_dc,
            k_precharge=k_precharge,
            k_ev=k_ev,
        )
        rise = p.thermal_k_per_w * (ac.loss_w + dc.loss_w)
        self.temperature_c += (x[AMBIENT] + rise - self.temperature_c) * span / p.thermal_s

        # The envelope is the positive sequence; the phases differ as they do at the source. An island has no source.
        square = ac.mean_square
        phasor = ac.v
        if seen is not None:
            a2, b2, c2, phasor = seen
        elif grid and mean_v > 0.0:
            k = square / (mean_v * mean_v)
            a2, b2, c2 = k * va * va, k * vb * vb, k * vc * vc
        else:
            a2 = b2 = c2 = square
        # What an instrument without input runs on: the source where it can be seen, else its own last reading.
        self.pcc.update(a2, b2, c2, phasor, f_hz if grid else self.pcc.f_hz())
        if closed:
            self.terminals.update(a2, b2, c2, phasor, f_hz if grid else self.terminals.f_hz())
        elif was_closed:
            self.terminals.reset()
        if seen is not None:
            self.pcc.hold(a2, b2, c2)
            if closed:
                self.terminals.hold(a2, b2, c2)
        self._blocks += 1

    def _publish(self) -> None:
        ac, dc, p, x = self.ac, self.dc, self.params, self.link.values
        closed = self.grid_contactor.closed
        k_ev = self.ev_contactor.closed and x[EV_PLUGGED] > 0.5
        conductance = 1.0 / p.insulation_ohm
        if k_ev:
            conductance += 1.0 / p.ev_insulation_ohm
        if x[LEAK] > 0.0:
            conductance += 1.0 / x[LEAK]
        i_a = ac.i_rms_a
        x_out = (
            self.t_s,
            *self.pcc.rms_v(),
            self.pcc.f_hz(),
            *(self.terminals.rms_v() if closed else (0.0, 0.0, 0.0)),
            self.terminals.f_hz() if closed else 0.0,
            i_a,
            i_a,
            i_a,
            ac.p_w if closed else 0.0,
            ac.q_var if closed else 0.0,
            dc.v1_v,
            dc.stage_a,
            dc.v2_v,
            dc.cable_a,
            dc.batt_v(),
            dc.batt_a,
            dc.battery.soc,
            float(closed),
            float(self.dc_contactor.closed),
            float(self.precharge_relay.closed),
            float(k_ev),
            1.0 / conductance,
            self.temperature_c,
        )
        for index, value in enumerate(x_out, FIRST_OUTPUT):
            x[index] = value
