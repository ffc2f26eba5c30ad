"""An island through the whole chain: pilot MCU's bytes, guard, power-factor register, emulated module, plant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from firmware.grid_support.capability import Capability
from firmware.grid_support.curve import Curve
from firmware.grid_support.settings import SupportSettings
from firmware.grid_support.volt_var import VoltVarSettings
from firmware.guard.support import Support
from firmware.protection.types import GridState
from hil.plant.ac import IslandLoad
from hil.plant.grid_source import ProgrammableSource
from tests.sim.rig import ask, dc_w, events, idle, transfer


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("qf", [1.0, 2.5])
@pytest.mark.parametrize("phase_s", [0.5, 0.6])
def test_volt_var_at_its_fastest_does_not_hide_the_island_from_the_whole_charger(qf: float, phase_s: float) -> None:
    """Cases 5A and 5B of IEEE 1547.1-2020 (0.98/1.00/1.00/1.02 pu, Q 0.44, 1 s), as published test scripts have it."""
    sim = transfer(-10_000.0)
    fastest = VoltVarSettings(Curve([(0.98, -0.44), (1.0, 0.0), (1.02, 0.44)]), 1.0, "IEEE 1547.1-2020")
    sim.guard.support = Support(SupportSettings(reactive=fastest), Capability(22e3, 22e3, 22e3, 0.44, 0.44))
    sim.run(sim.now + 3.0)
    link, ac = sim.link, sim.plant.ac
    load = IslandLoad.tuned(-link.ac_p_w, qf, link.pcc_va_v, link.pcc_f_hz)
    ac.set_load(replace(load, c_f=load.c_f - ac.params.pcc_f + link.ac_q_var / (3.0 * link.pcc_va_v**2 * 377.0)))
    sim.run(sim.now + phase_s)
    assert sim.guard.grid.state is GridState.CONNECTED
    assert "volt_var" in sim.guard.support.active()
    island_at = sim.now
    link.grid_switch_open = 1.0
    sim.until(lambda: sim.guard.grid.state is GridState.TRIPPED, 3.0)
    trip = sim.guard.grid.last_trip
    assert trip is not None
    assert trip.t - island_at <= 1.5


# What IEEE 1547-2018 category III wants ridden through (tables 16, 18, 6.5.2.5, 6.5.2.6), each twice in a row, so that
# it falls on different places of the pattern.
RIDDEN: dict[str, tuple[Callable[[ProgrammableSource], None], float]] = {
    "phase jump of 20 degrees and back": (lambda s: s.jump(20.0), 0.7),
    "sag to 0.4 pu with a jump, momentary cessation": (lambda s: (s.sag(0.4, 0.5), s.jump(-15.0))[1], 2.5),
    "sag to 0.75 pu": (lambda s: s.sag(0.75, 0.6), 1.5),
    "one phase at 0.6 pu": (lambda s: s.sag(0.6, 0.4, "a"), 1.5),
    "1.5 Hz up at 3 Hz/s": (lambda s: s.ramp(0.5, f_hz=61.5), 1.2),
    "and 3 Hz down": (lambda s: s.ramp(1.0, f_hz=58.5), 1.6),
}


@pytest.mark.slow
@pytest.mark.parametrize("power_w", [-10_000.0, 10_000.0])
def test_the_whole_charger_rides_through_and_takes_none_of_it_for_an_island(power_w: float) -> None:
    sim = transfer(power_w)
    source, states = sim.source, set()
    assert isinstance(source, ProgrammableSource)
    for _ in range(2):
        for what, (act, for_s) in RIDDEN.items():
            act(source)
            end = sim.now + for_s
            while sim.now < end:
                sim.run(sim.now + 0.02)
                assert sim.guard.grid is not None
                states.add(sim.guard.grid.state)
                assert sim.guard.grid.state is not GridState.TRIPPED, (what, sim.guard.grid.last_trip)
        source.ramp(1.0, f_hz=60.0)
        source.jump(-10.0)
    sim.run(sim.now + 6.0)  # the droop's open loop has made 90 % of its way back after 5 s
    assert GridState.CEASED in states  # momentary cessation was part of it
    assert sim.guard.grid.state is GridState.CONNECTED
    assert sim.guard.grid.probe_tan_phi != 0.0  # and it probes on
    assert abs(dc_w(sim) - power_w) < 0.1 * abs(power_w)
    assert not events(sim, "anti_islanding_passive")
