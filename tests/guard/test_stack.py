"""The set-point stack: each limit is of now, whatever it was of in the tick before."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.guard import numbers as n
from firmware.guard.faults import Faults
from firmware.guard.known import Known
from firmware.guard.messages import CarReport
from firmware.guard.stack import LimitStack
from firmware.protection.types import GridState, GridStatus
from hal.ports import CarPhase, CarStatus, ConverterLimits, ConverterStatus, Reading
from tests.guard.puppet import make_guard

SETTINGS = make_guard().settings
GRID = GridStatus(GridState.CONNECTED, True, True, 1.0, False, 0.0, "", "", None, ())
levels = st.sampled_from([0.0, 300.0, 400.0])
# The same objects again and again, as from a driver and a report that stand for some ticks.
LIVE = [ConverterLimits(200.0, 1000.0, amps, 22_000.0) for amps in (10.0, 73.3)]
CARS = [
    CarStatus(CarPhase.TRANSFER, 400.0, i_max_a, i_min_a, v_max_v, v_min_v)
    for i_max_a, i_min_a, v_max_v, v_min_v in (
        (50.0, -50.0, 450.0, 300.0), (50.0, -50.0, 0.0, 300.0), (50.0, -50.0, 450.0, 0.0), (0.0, 0.0, 450.0, 300.0),
    )
]  # fmt: skip
ticks = st.tuples(
    st.none() | levels,  # DC voltage
    st.none() | st.sampled_from(LIVE),
    st.none() | st.sampled_from(CARS),
    st.sampled_from([0.0, n.CAR_SILENT_S, n.CAR_SILENT_S + 0.01]),  # how old that is
    st.sampled_from([GRID, GRID._replace(may_transfer=False), GRID._replace(ramping=True, power_limit_pu=0.5)]),
    st.booleans(),  # a fault stands
)


@settings(max_examples=50)
@given(st.lists(ticks, min_size=1, max_size=8))
def test_a_stack_that_remembers_says_what_a_new_one_says(story: list[tuple]) -> None:  # type: ignore[type-arg]
    stack, now = LimitStack(SETTINGS), 100.0
    for v, live, car, age_s, grid, broken in story:
        now += 0.01
        known, faults = Known(), Faults()
        if car is not None:
            known.car, known.car_status = CarReport(now - age_s, "transfer", 400.0, 0.0, 0.0, 0.0, 0.0), car
        if broken:
            faults.update(now, {"pilot_estop": ""})
        status = ConverterStatus(limits=live, v_dc_v=None if v is None else Reading(v, now))
        limits = stack.limits(now, status, known, grid, faults)
        assert limits == LimitStack(SETTINGS).limits(now, status, known, grid, faults)
        by = {limit.source: limit for limit in limits}
        told = car is not None and now - known.car.t <= n.CAR_SILENT_S
        assert ("fault" in by) == broken
        assert ("grid" in by) == (grid is not GRID)
        if v is not None and told:
            assert by["car"].charge_w == (v * car.i_max_a if car.v_max_v else 0.0)
            assert by["car"].discharge_w == (-v * car.i_min_a if car.v_min_v else 0.0)
        elif not told:
            assert (by["car"].charge_w, by["car"].discharge_w) == (0.0, 0.0)
        if v is None or live is None:
            assert by["converter"].charge_w == 0.0
        else:
            assert by["converter"].charge_w == min(22_000.0, v * live.i_max_a)
