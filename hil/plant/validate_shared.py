"""Two chargers at one point of connection against closed forms, and the energy of all of it."""

from __future__ import annotations

import math
from dataclasses import replace

from hil.plant.ac import IslandLoad
from hil.plant.grid_source import ProgrammableSource
from hil.plant.plant import PlantParams
from hil.plant.shared import Junction, SharedPlant
from hil.plant.validation import BARE, Row, Rows, stores_j

AMPS = (-28.0, -14.0)  # DC current of the two, below zero discharging


def pair(amps: tuple[float, ...] = AMPS, load: IslandLoad | None = None) -> tuple[Junction, list[SharedPlant]]:
    """At 1.5 s, everything closed and every converter at its steady DC current (A, + charges)."""
    params = PlantParams(ac=BARE, contactor_delay_s=0.02, fast_idle=False)
    if load is not None:
        params = replace(params, load=load)
    junction, source = Junction(), ProgrammableSource()
    plants = [junction.join(source, params) for _ in amps]
    for plant in plants:
        link = plant.link
        link.coil_grid = link.converter_enable = link.ev_plugged = link.ev_contactor = link.coil_dc = 1.0
    junction.advance(1.0)
    for plant, current_a in zip(plants, amps, strict=True):
        link = plant.link
        link.conv_v_v, link.conv_cutoff_v = 1000.0, 0.0
        link.conv_dir, link.conv_i_a, link.conv_on = math.copysign(1.0, current_a), abs(current_a), 1.0
    junction.advance(1.5)
    return junction, plants


def fed_in_w(plants: list[SharedPlant]) -> float:
    return -sum(plant.link.ac_p_w for plant in plants)


def island(dc: float) -> list[SharedPlant]:
    """Both into one load, tuned to what they feed in together; the grid is taken away, 1.5 s later all is settled."""
    junction, plants = pair()
    load = IslandLoad.tuned(fed_in_w(plants), 1.0, dc=dc)
    plants[0].ac.set_load(replace(load, c_f=load.c_f - BARE.pcc_f))
    plants[0].link.grid_switch_open = 1.0
    junction.advance(3.0)
    return plants


def islands(dc: float) -> tuple[Row, Row]:
    plants = island(dc)
    g = plants[0].ac.load.g_s
    what = f"two chargers on one island, dC {dc:+.0%}"
    return (
        Row(f"{what}: frequency", "f = f0 / sqrt(1 + dC)", "Hz",
            50.0 / math.sqrt(1.0 + dc), plants[0].link.pcc_f_hz, 0.003),
        Row(f"{what}: voltage", "V = sqrt((P1 + P2) R / 3)", "V",
            math.sqrt(fed_in_w(plants) / (3.0 * g)), plants[1].link.pcc_va_v, 0.05),
    )  # fmt: skip


def lifted() -> Row:
    """The voltage is that of one converter with the power of both, behind the grid's impedance."""
    _, plants = pair()
    grid = plants[0].params.ac
    w = 2.0 * math.pi * 50.0
    g, b = plants[0].ac.load.g_s, w * grid.pcc_f
    p_w = fed_in_w(plants)
    v = 230.0
    for _ in range(50):  # V = |E + Z (S/V)*|, with what the load and the capacitors take
        current = p_w / (3.0 * v) - (g + 1j * b) * v
        z = grid.grid_ohm + 1j * w * grid.grid_h
        drop = z * current
        v = math.sqrt(230.0**2 - drop.imag**2) + drop.real
    return Row("two chargers feed in: voltage", "one with the power of both", "V", v, plants[0].link.pcc_va_v, 0.01)


def energy(amps: tuple[float, float]) -> Row:
    """All that the source gives is found again: in the grid's impedance, the load, and both chargers' insides."""
    junction, plants = pair(amps)

    def moved() -> tuple[float, float]:
        inside = sum(p.ac_loss_j + p.dc_out_j + stores_j(p) for p in plants)
        return junction.source_j, junction.grid_loss_j + junction.load_j + inside

    given, found = moved()
    turned = sum(abs(p.link.ac_p_w) for p in plants)
    began = plants[0].t_s
    for k, plant in enumerate(plants):  # something must happen: one down, the other up
        plant.link.conv_i_a *= 0.5 if k else 1.3
    junction.advance(began + 0.5)
    plants[0].link.grid_switch_open = 1.0
    junction.advance(began + 0.52)
    plants[0].link.grid_switch_open = 0.0
    junction.advance(began + 1.5)
    given, found = (now - before for now, before in zip(moved(), (given, found), strict=True))
    share = 100.0 * abs(given - found) / (turned * 1.5)
    says = " and ".join(f"{a:+g} A" for a in amps)
    return Row(f"energy of two chargers at one PCC, {says}", "error / energy moved", "%", 0.0, share, 0.2)


def rows() -> Rows:
    table: Rows = {"shared lifted": lifted}
    for dc in (-0.02, 0.0, 0.02):
        table[f"shared island {dc:+g}"] = lambda dc=dc: islands(dc)  # type: ignore[misc]
    for amps in (AMPS, (28.0, -20.0)):
        table[f"shared energy {amps[0]:+g} {amps[1]:+g}"] = lambda amps=amps: energy(amps)  # type: ignore[misc]
    return table
