"""A second whole charger at the same point of connection: its own guard, module, pilot, car; grid and load in common.

Both are simulated in turns, from one step of the devices to the next: what acts on the plant changes only there, so
each sees the other as it is (hil/plant/shared.py solves the network for both together).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from boards import Board
from hil.plant.grid_source import GridSource
from hil.plant.plant import PlantParams
from hil.plant.shared import Junction
from hil.sim import Sim

_EPS_S = 1e-9


class Neighbour:
    """`sim` and another one like it. `run` runs both; the other one charges or discharges all the time."""

    def __init__(
        self, sim: Sim, board: Board, source: GridSource, power_w: float, *, seed: int, soc: float, device_step_s: float
    ) -> None:
        """sim: at its beginning, with a plant of the reference (not compiled), which is replaced. power_w: what the
        other one's user asks for (+ charges)."""
        dt_s = sim.plant.params.dt_s
        self.sim = sim
        self.other = Sim(board, source, seed=seed + 1_000_003, soc=soc, device_step_s=device_step_s, plant_step_s=dt_s)
        self._step_s = device_step_s
        junction = Junction()
        for one, drawn in ((sim, f"{seed} plant"), (self.other, f"{seed} neighbour's plant")):
            ranges = one.plant.ranges
            one.plant = junction.join(
                source, PlantParams(dt_s=dt_s, soc=soc, fast_idle=False), random.Random(drawn), one.link
            )
            one.plant.ranges = ranges
        self.other.wish.power_w, self.other.wish.source = power_w, "neighbour"
        self.other.car.plug_in()

    def run(self, until_s: float, stop: Callable[[], bool] | None = None) -> None:
        """As `Sim.run`; `stop` is asked after every step of the devices."""
        sim, other, step_s = self.sim, self.other, self._step_s
        while sim.now < until_s - _EPS_S:
            due_s = min((int(sim.now / step_s + 1e-6) + 1) * step_s, until_s)
            sim.run(due_s)
            other.run(due_s)
            if stop is not None and stop():
                return
