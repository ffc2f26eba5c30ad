"""What the checks of the plant against closed forms share: a row of the table, a plant under power, its energies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hil.plant.ac import AcParams
from hil.plant.grid_source import GridSource, ProgrammableSource
from hil.plant.link import PlantLink
from hil.plant.plant import Plant, PlantParams

BARE = AcParams(aux_w=0.0)  # the formulas know no auxiliary supply


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    formula: str
    unit: str
    theory: float
    plant: float
    tolerance: float  # absolute, in the unit

    @property
    def ok(self) -> bool:
        return abs(self.plant - self.theory) <= self.tolerance


def powered(params: PlantParams, current_a: float, direction: int, tan_phi: float = 0.0,
            source: GridSource | None = None) -> Plant:  # fmt: skip
    """A plant at t = 1.5 s with everything closed and the converter at a steady DC current."""
    plant = Plant(PlantLink(), source or ProgrammableSource(), params)
    link = plant.link
    link.coil_grid = link.converter_enable = link.ev_plugged = link.ev_contactor = link.coil_dc = 1.0
    plant.advance(1.0)  # the DC link has charged through the diodes
    link.conv_v_v, link.conv_cutoff_v = 1000.0, 0.0
    link.conv_dir, link.conv_i_a, link.conv_on = float(direction), current_a, 1.0
    link.conv_tan_phi = tan_phi
    plant.advance(1.5)
    return plant


def energy_error_share(plant: Plant, ac_j: float, loss_j: float, out_j: float, stored_j: float) -> float:
    """|AC in - losses - taken by the DC/DC - gain of the stores| since the given values, as a share of what moved."""
    drawn, lost, out = plant.ac_in_j - ac_j, plant.ac_loss_j - loss_j, plant.dc_out_j - out_j
    error = drawn - lost - out - (stores_j(plant) - stored_j)
    return abs(error) / max(abs(drawn) + abs(out), 1000.0)


def stores_j(plant: Plant) -> float:
    """Energy in the DC link and the chokes, J."""
    i = plant.ac.i
    return plant.ac.link_j + 0.75 * plant.params.ac.choke_h * (i.real * i.real + i.imag * i.imag)


Rows = dict[str, Callable[[], Row | tuple[Row, ...]]]
