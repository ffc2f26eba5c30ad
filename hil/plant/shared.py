"""Several chargers at one point of connection: plants that share their grid, its load and the voltage between them.

Every charger is a whole `Plant` (contactors, choke, DC link, DC/DC, cable, battery); what is common is solved together:
the Thevenin grid, the RLC load and the capacitors at the PCC, with every converter's choke in one linear network. So no
current lags behind another one's: a phase error of one sample between them would shift the frequency of an island
(hil/plant/ac.py). Positive sequence only: a source whose phases differ or that has harmonics is refused.
"""

from __future__ import annotations

import cmath
import math
import random
from collections.abc import Sequence
from operator import mul

from hil.plant.ac import OFF_A, PLL_FREEZE_V, W0, AcParams, AcSide, IslandLoad, rk4_matrices
from hil.plant.grid_source import GridSource
from hil.plant.link import PlantLink
from hil.plant.plant import BLOCK_STEPS, SWITCH_OPEN, Plant, PlantParams, Step
from hil.plant.watch import inside

_Rows = list[list[complex]]


class _Port(AcSide):
    """The AC side of one charger at a junction: its converter is its own, voltage and grid current are everybody's."""

    def __init__(self, junction: Junction, params: AcParams, load: IslandLoad, dt_s: float) -> None:
        self._junction = junction
        self._leads = not junction.plants
        self.asked: tuple[float, float, bool, bool, bool, float, bool, float] | None = None
        super().__init__(params, load, dt_s)

    @property
    def v(self) -> complex:
        return self._junction.v

    @v.setter
    def v(self, value: complex) -> None:
        if self._leads:
            self._junction.v = value

    @property
    def ig(self) -> complex:
        return self._junction.ig

    @ig.setter
    def ig(self, value: complex) -> None:
        if self._leads:
            self._junction.ig = value

    @property
    def il(self) -> complex:
        return self._junction.il

    @il.setter
    def il(self, value: complex) -> None:
        if self._leads:
            self._junction.il = value

    @property
    def source_angle(self) -> float:
        return self._junction.source_angle

    @source_angle.setter
    def source_angle(self, value: float) -> None:
        if self._leads:  # everybody sees the same source: it must not turn twice
            self._junction.source_angle = value

    def set_load(self, load: IslandLoad) -> None:
        self._junction.set_load(load)

    def run(self, n: int, v_peak: float, w_rad_s: float, *, grid: bool, closed: bool, running: bool, dc_w: float,
            blocked: bool, tan_phi: float = 0.0, dt_s: float | None = None, extra: object = None,
            trace: object = None) -> None:  # fmt: skip
        """Only says what this converter does in the block; the junction solves it for all of them."""
        if extra is not None or n != BLOCK_STEPS:
            raise ValueError("a shared point of connection knows balanced sines only")
        self.asked = (v_peak, w_rad_s, grid, closed, running, dc_w, blocked, tan_phi)


class SharedPlant(Plant):
    """A plant at a junction. `advance` takes all of its neighbours along, so their links must be up to date."""

    def __init__(
        self,
        junction: Junction,
        source: GridSource,
        params: PlantParams,
        rng: random.Random | None = None,
        link: PlantLink | None = None,
    ) -> None:
        """Made by `Junction.join` only."""
        if params.three_phase or params.fast_idle:
            raise ValueError("a shared point of connection needs three_phase and fast_idle off (it rests by itself)")
        super().__init__(link or PlantLink(), source, params, rng)
        alone = self.ac
        self.ac = port = _Port(junction, params.ac, params.load, params.dt_s)
        port.ig, port.v, port.il, port.source_angle = alone.ig, alone.v, alone.il, alone.source_angle
        port.pll_angle, port.pll_w, port.link_j = alone.pll_angle, alone.pll_w, alone.link_j
        self._junction = junction

    def advance(self, until_s: float, watched: bool = False, steps: Sequence[Step] = ()) -> bool:
        assert not steps  # it does not look ahead
        self._junction.advance(until_s)
        return watched and not inside(self.link.values, self.ranges)


class Junction:
    """The point of connection. `join` chargers at t = 0; the first one's load, source and island switch are those of
    all. Energies in J since the beginning: `source_j` given by the source, `grid_loss_j` in its impedance, `load_j` in
    the load."""

    def __init__(self) -> None:
        self.plants: list[SharedPlant] = []
        self.v = self.ig = self.il = 0j
        self.source_angle = 0.0
        self.source_j = self.grid_loss_j = self.load_j = 0.0
        self._blocks = 0
        self._load = IslandLoad()
        self._matrices: dict[tuple[bool, ...], _Rows] = {}

    def join(
        self, source: GridSource, params: PlantParams, rng: random.Random | None = None, link: PlantLink | None = None
    ) -> SharedPlant:
        """Raises ValueError when it does not fit those that are there."""
        if self.plants and (self._blocks or params.dt_s != self.plants[0].params.dt_s):
            raise ValueError("chargers join at the beginning, with one step for all of them")
        plant = SharedPlant(self, source, params, rng, link)
        if not self.plants:
            self._load = params.load
        self.plants.append(plant)
        return plant

    def set_load(self, load: IslandLoad) -> None:
        self._load = load
        self._matrices.clear()
        for plant in self.plants:
            plant.ac.load = load

    def advance(self, until_s: float) -> None:
        """All of them to the last whole block not after until_s."""
        first = self.plants[0]
        blocks = int(until_s / first.block_s + 1e-6) - self._blocks
        if blocks <= 0:
            return
        for plant in self.plants:
            plant.link.values[SWITCH_OPEN] = first.link.values[SWITCH_OPEN]
        for _ in range(blocks):
            given = [(plant, plant.link.values, plant._begin(plant.link.values)) for plant in self.plants]
            for plant, x, held in given:
                plant._solve(x, held)
            self._step(first.params.dt_s)
            for plant, x, held in given:
                plant._end(x, held, None)
            self._blocks += 1
        for plant in self.plants:
            plant._publish()

    def _matrix(self, grid: bool, running: list[bool], dt_s: float) -> _Rows:
        """A row each of (ig, v, il, i of every converter) after a step: factors of these before it, and then of the
        source, the bridge of every converter, and a current into the PCC."""
        key = (grid, *running)
        if key not in self._matrices:
            p, load, jw = self.plants[0].params.ac, self._load, 1j * W0
            s, c, m = float(grid), p.pcc_f + load.c_f, len(running)
            a: _Rows = [[0j] * (3 + m) for _ in range(3 + m)]
            b: _Rows = [[0j] * (2 + m) for _ in range(3 + m)]
            a[0][0], a[0][1], b[0][0] = s * (-p.grid_ohm / p.grid_h - jw), complex(-s / p.grid_h), complex(s / p.grid_h)
            a[1][0], a[1][1], a[1][2], b[1][1 + m] = complex(s / c), -load.g_s / c - jw, complex(-1.0 / c), 1.0 / c + 0j
            a[2][1], a[2][2] = complex(load.inv_l_per_h), -jw
            for k, plant in enumerate(self.plants):
                if running[k]:
                    own = plant.params.ac
                    a[1][3 + k] = complex(1.0 / c)
                    a[3 + k][1] = complex(-1.0 / own.choke_h)
                    a[3 + k][3 + k] = -own.choke_ohm / own.choke_h - jw
                    b[3 + k][1 + k] = complex(1.0 / own.choke_h)
            p_rows, q_rows = rk4_matrices(a, b, dt_s)
            self._matrices[key] = [[*p_row, *q_row] for p_row, q_row in zip(p_rows, q_rows, strict=True)]
        return self._matrices[key]

    def _step(self, dt: float) -> None:
        """BLOCK_STEPS steps of everything, each converter controlled as in `AcSide.run`."""
        n, converters = BLOCK_STEPS, []
        inject = 0j
        for plant in self.plants:
            port = plant.ac
            assert isinstance(port, _Port)
            assert port.asked is not None
            one = _Converter(port, dt)
            inject += one.supply
            converters.append(one)
        v_peak, w_rad_s, grid = converters[0].v_peak, converters[0].w_rad_s, converters[0].grid
        if grid and not any(one.running or one.i for one in converters):
            self._rest(converters, v_peak, w_rad_s, n * dt)
            return
        rows = self._matrix(grid, [one.running for one in converters], dt)
        if not grid:
            self.ig = 0j
        e, turn = cmath.rect(v_peak, self.source_angle), cmath.exp(1j * (w_rad_s - W0) * dt)
        has_coil, p = self._load.inv_l_per_h != 0.0, self.plants[0].params.ac
        ig, v, il = self.ig, self.v, self.il
        square, given_w, lost, taken = 0.0, 0.0, 0.0, 0.0
        for _ in range(n):
            injected = inject
            for one in converters:
                injected += one.control(v, dt)
            chokes = [one.i if one.running else 0j for one in converters]
            before = (ig, v, il, *chokes, e, *[one.u for one in converters], injected)
            new = [sum(map(mul, row, before), 0j) for row in rows]
            middle, through = 0.5 * (v + new[1]), 0.5 * (ig + new[0])
            ig, v, il = new[0], new[1], new[2] if has_coil else 0j
            for one, i in zip(converters, new[3:], strict=True):
                one.follow(i, v, dt)
            given_w += (e * through.conjugate()).real
            lost += through.real * through.real + through.imag * through.imag
            taken += middle.real * middle.real + middle.imag * middle.imag
            square += v.real * v.real + v.imag * v.imag
            e *= turn
        self.ig, self.v, self.il = ig, v, il
        self.source_angle = cmath.phase(e) if v_peak else self.source_angle + (w_rad_s - W0) * n * dt
        self.source_j += 1.5 * given_w * dt
        self.grid_loss_j += 1.5 * p.grid_ohm * lost * dt
        self.load_j += 1.5 * self._load.g_s * taken * dt
        for one in converters:
            one.home(v, square / (2 * n), n, dt)

    def _rest(self, converters: list[_Converter], v_peak: float, w: float, span_s: float) -> None:
        """The same while nobody's stage switches, as a stationary phasor (`AcSide.run_idle`)."""
        p, load = self.plants[0].params.ac, self._load
        inject = sum((one.supply for one in converters), 0j)
        self.source_angle += (w - W0) * span_s
        e = cmath.rect(v_peak, self.source_angle)
        yg = 1.0 / (p.grid_ohm + 1j * w * p.grid_h)
        y = load.g_s + 1j * w * (p.pcc_f + load.c_f) - 1j * load.inv_l_per_h / w
        self.v = v = (e * yg + inject) / (yg + y)
        self.ig = ig = (e - v) * yg
        self.il = v * load.inv_l_per_h / (1j * w)
        square = v.real * v.real + v.imag * v.imag
        self.source_j += 1.5 * (e * ig.conjugate()).real * span_s
        self.grid_loss_j += 1.5 * p.grid_ohm * abs(ig) ** 2 * span_s
        self.load_j += 1.5 * load.g_s * square * span_s
        for one in converters:
            port = one.port
            supply = 1.5 * (v * one.supply.conjugate())
            port.mean_square, port.p_w, port.q_var = 0.5 * square, -supply.real, -supply.imag
            port.i_rms_a = abs(one.supply) / math.sqrt(2.0)
            port.link_j = max(0.0, port.link_j - one.dc_w * span_s)
            if one.closed and v:
                port.pll_angle, port.pll_w = cmath.phase(v), min(max(w, 188.5), 439.8)


class _Converter:
    """One converter within a block: `AcSide.run` without the network."""

    def __init__(self, port: _Port, dt: float) -> None:
        assert port.asked is not None
        self.v_peak, self.w_rad_s, self.grid, self.closed, self.running, self.dc_w, blocked, self.tan_phi = port.asked
        p = self.p = port.params
        self.port, port.asked = port, None
        port.loss_w = 0.0
        self.supply = port._supply(self.closed, self.running, BLOCK_STEPS * dt)
        self.i, self.theta, self.wi, self.xi, self.link_j = port.i, port.pll_angle, port.pll_w, port._xi, port.link_j
        self.kp, self.ki = p.choke_h * math.tau * p.current_loop_hz, p.choke_ohm * math.tau * p.current_loop_hz * dt
        self.decay = math.exp(-dt / (p.block_lag_s if blocked or not self.closed else p.off_lag_s))
        self.bridge_max = 0.577 * port.link_v
        self.u = self.power = 0j
        self.heat = 0.0

    def control(self, v: complex, dt: float) -> complex:
        """Sets the bridge's voltage `u` for the next step; returns what a stage that is off still pushes out."""
        p, back, vdq = self.p, 0j, 0j
        if self.closed:
            kpp, kpi = p.pll_gains
            back = cmath.exp(-1j * self.theta)
            vdq = v * back
            error = cmath.phase(vdq) if abs(vdq) > PLL_FREEZE_V else 0.0
            self.wi = min(max(self.wi + kpi * error * dt, 188.5), 439.8)  # 30..70 Hz
            self.theta += (self.wi + kpp * error - W0) * dt
        if not self.running:
            self.i *= self.decay
            self.u = 0j
            return self.i
        idq = self.i * back
        link_ref_j = 0.5 * p.link_f * p.link_v**2
        wanted = -(self.dc_w + p.link_loop_per_s * (link_ref_j - self.link_j)) / (1.5 * max(vdq.real, 20.0))
        i_ref = min(max(wanted, -p.i_max_a), p.i_max_a)
        ei = i_ref - idq
        if self.tan_phi:
            q_ref, q_max = self.tan_phi * abs(i_ref), math.sqrt(p.i_max_a * p.i_max_a - i_ref * i_ref)
            ei += 1j * min(max(q_ref, -q_max), q_max)
        u = self.kp * ei + self.xi + vdq + 1j * p.choke_h * self.wi * idq
        size = abs(u)
        if size > self.bridge_max:
            u *= self.bridge_max / size
        else:  # integrate only while the bridge can follow
            self.xi += self.ki * ei
        self.u = u * back.conjugate()
        return 0j

    def follow(self, i: complex, v: complex, dt: float) -> None:
        """The network has made a step: the choke's current and the voltage behind it."""
        if self.running:
            mean = 0.5 * (i + self.i)
            self.link_j = max(0.0, self.link_j - (1.5 * (self.u * mean.conjugate()).real + self.dc_w) * dt)
            self.heat += mean.real * mean.real + mean.imag * mean.imag
            self.i = i
        self.power += v * self.i.conjugate()

    def home(self, v: complex, mean_square: float, n: int, dt: float) -> None:
        """Everything back into the port, as `AcSide.run` leaves it."""
        port = self.port
        if not self.running:
            self.link_j = max(0.0, self.link_j - self.dc_w * n * dt)
            self.xi = 0j
        port.i = 0j if not self.running and abs(self.i) < OFF_A else self.i
        port.pll_angle, port.pll_w, port._xi, port.link_j = self.theta, self.wi, self.xi, self.link_j
        port.mean_square = mean_square
        drawn = -1.5 * (self.power / n + v * self.supply.conjugate())
        port.p_w, port.q_var = drawn.real, drawn.imag
        port.i_rms_a = abs(port.i + self.supply) / math.sqrt(2.0) if self.closed else 0.0
        port.loss_w += 1.5 * port.params.choke_ohm * self.heat / n
