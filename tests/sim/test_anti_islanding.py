"""An island through the whole chain: pilot MCU's bytes, guard, power-factor register, emulated module, plant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firmware.protection.types import GridState
from hil.plant.ac import IslandLoad
from tests.sim.rig import ask, dc_w, events, idle, transfer


def test_a_module_that_refuses_a_power_factor_leaves_anti_islanding_passive_and_that_is_told() -> None:
    sim = idle()
    sim.converter._module.faults.refuse_power_factor = True
    sim.car.plug_in()
    ask(sim, -10_000.0)
    sim.until(lambda: dc_w(sim) < -9_500.0, 120.0)
    assert not events(sim, "anti_islanding_passive")
    sim.run(sim.now + 5.0)
    assert events(sim, "anti_islanding_passive")
    assert sim.guard.protection.passive_only
    (element,) = [e for e in sim.guard.protection.elements() if e.element == "ISLAND"]
    assert "passive only" in element.clause
    assert sim.guard.grid is not None
    assert sim.guard.grid.state is GridState.CONNECTED


@pytest.mark.slow
@pytest.mark.parametrize("qf", [1.0, 2.5])
@pytest.mark.parametrize("phase_s", [0.5, 0.7])
def test_a_discharging_charger_leaves_a_balanced_island_by_the_answer_of_its_frequency(
    qf: float, phase_s: float
) -> None:
    sim = transfer(-10_000.0)
    link, ac = sim.link, sim.plant.ac
    load = IslandLoad.tuned(-link.ac_p_w, qf, link.pcc_va_v, link.pcc_f_hz)
    ac.set_load(replace(load, c_f=load.c_f - ac.params.pcc_f))
    sim.run(sim.now + phase_s)
    assert sim.guard.grid.state is GridState.CONNECTED
    island_at = sim.now
    link.grid_switch_open = 1.0
    sim.until(lambda: sim.guard.grid.state is GridState.TRIPPED, 3.0)
    trip = sim.guard.grid.last_trip
    assert trip is not None
    assert trip.element == "ISLAND"
    assert trip.t - island_at <= 1.5
    sim.run(sim.now + 0.2)
    assert link.k_grid == 0.0
