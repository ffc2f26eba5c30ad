"""Processes that are killed, in lockstep: the new ones know nothing of before, and one seed still gives one course."""

from __future__ import annotations

import math

import pytest

from hil.bench.roles import BenchError
from hil.bench.sim import SimBench, SimSpec
from tests.sim.rig import dc_w, duplicate, events, snap, transfer


@pytest.mark.slow
def test_a_killed_guard_is_a_new_one_with_new_drivers_and_the_mcu_has_opened_before() -> None:
    sim = transfer(-10_000.0)
    before, boot = sim.guard, sim.loop.boot
    sim.kill_guard(1.0)
    sim.run(sim.now + 0.5)
    assert sim.guard is before  # nobody ticks it any more
    assert sim.link.k_dc == sim.link.k_grid == 0.0
    killed_s = sim.now
    sim.run(sim.now + 0.6)
    assert sim.guard is not before
    assert sim.loop.boot != boot
    sim.run(sim.now + 3.0)
    assert not events(sim, "state", killed_s) or sim.state in ("idle", "connected", "fault", "finished")
    assert sim.link.k_dc == 0.0


@pytest.mark.slow
def test_two_runs_with_a_killed_guard_are_the_same_to_the_last_bit() -> None:
    def course() -> list[tuple[float, float, float]]:
        sim = transfer(-10_000.0)
        sim.kill_guard(0.4)
        found = []
        for _ in range(40):
            sim.run(sim.now + 0.05)
            found.append((dc_w(sim), sim.link.pcc_va_v, sim.link.k_grid))
        return found

    assert course() == course()


@pytest.mark.slow
def test_killed_services_hold_no_lease_and_a_copy_in_the_middle_goes_on_the_same() -> None:
    sim = transfer(-10_000.0)
    sim.services.kill(0.3)
    sim.run(sim.now + 0.1)
    other = duplicate(sim)
    for one in (sim, other):
        one.run(one.now + 5.0)
        assert one.services.alive
        assert not one.wish.alive
        assert events(one, "lease_ended")
        assert abs(dc_w(one)) < 50.0
    assert sim.link.as_dict() == other.link.as_dict()
    assert snap(sim).why == snap(other).why


def test_a_time_that_is_none_is_refused_and_mending_brings_the_processes_back() -> None:
    bench = SimBench(SimSpec())
    for wrong in (True, 0.0, -1.0, 1e6, "soon", math.nan):
        with pytest.raises(BenchError, match=r"guard.killed must be above 0 to 600 s"):
            bench.fault.insert("guard.killed", wrong)
    assert bench.sim.guard_alive
    before = bench.sim.guard
    bench.fault.insert("guard.killed", 60.0)
    bench.fault.insert("services.killed", 60.0)
    assert not bench.sim.guard_alive
    assert not bench.sim.services.alive
    bench.fault.clear()
    assert bench.sim.guard_alive
    assert bench.sim.services.alive
    assert bench.sim.guard is not before
