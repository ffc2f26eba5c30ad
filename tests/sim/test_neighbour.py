"""Two whole chargers at one point of connection, in turns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hil.bench.roles import BenchError
from hil.bench.sim import SimBench, SimSpec
from hil.conformance.wrong import WRONG
from hil.scenarios.verdict import Verdict
from tests.scenarios.test_library import ALL, complaint, play

QUICK = {"enter_service.delay_s": 0.0, "enter_service.ramp_duration_s": 1.0}


def bench() -> SimBench:
    return SimBench(SimSpec(adjust=QUICK, neighbour_w=-5_000.0))


def test_both_live_on_one_clock_and_one_voltage_and_are_not_one_charger() -> None:
    two = bench()
    assert two.neighbour is not None
    other = two.neighbour.other
    two.unit.ask(0.0)
    two.clock.wait(0.2345)
    assert two.sim.now == other.now
    assert two.sim.link.pcc_va_v == other.link.pcc_va_v > 200.0
    assert two.sim.loop.boot != other.loop.boot
    assert two.sim.plant.t_s == other.plant.t_s
    assert set(two.recorder.channels()) >= {"n_ac_w", "n_k_grid"}
    assert two.recorder.latest("n_k_grid") == other.link.k_grid


def test_without_a_second_charger_there_is_no_channel_of_it() -> None:
    with pytest.raises(BenchError, match="no channel 'n_ac_w'"):
        SimBench(SimSpec()).recorder.latest("n_ac_w")


def test_two_runs_are_the_same_to_the_last_bit_however_time_is_cut() -> None:
    def course(cuts: int) -> list[list[float]]:
        two = bench()
        two.unit.ask(0.0)
        for _ in range(cuts):
            two.clock.wait(0.28 / cuts)
        assert two.neighbour is not None
        return [list(two.sim.link.values), list(two.neighbour.other.link.values)]

    assert course(1) == course(1)
    assert course(4) == course(1)


@pytest.mark.slow
def test_two_chargers_that_look_for_no_island_stay_on_it() -> None:
    """So the load is really balanced to both of them, and the library's scenario can fail."""
    result = play(replace(ALL["two_chargers_island[equal]"], health=False), WRONG["no-anti-islanding"].bend)
    assert result.verdict is Verdict.FAIL, complaint(result)
    assert all("current still flows" in o.found or "not reached" in o.found for o in result.outcomes[2:])
