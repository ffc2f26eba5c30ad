"""Numbers that change while protection runs: times go on, nothing is forgotten, nothing is half changed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.grid_codes import GridCode, GridCodeError, RideThroughMode, Side, adjust
from firmware.protection.types import GridState
from tests.protection.bench import IEEE_AT_ONCE as IEEE
from tests.protection.bench import VDE_AT_ONCE as VDE
from tests.protection.bench import Bench


def tight(**changes: float) -> GridCode:
    return adjust(IEEE, {key.replace("__", "."): value for key, value in changes.items()})


def running(code: GridCode = IEEE, *, expected: bool = False) -> Bench:
    return Bench(code, expected=expected).enter()


def retune(bench: Bench, code: GridCode) -> None:
    bench.protection.retune(bench.now, code)


def until_trip(bench: Bench, v: float, f: float, within_s: float) -> tuple[str, float] | None:
    """(element, seconds from now)."""
    begin = bench.now
    while bench.now - begin < within_s:
        if bench.see(v, f).state is GridState.TRIPPED:
            trip = bench.protection.last_trip
            assert trip is not None
            return trip.element, bench.now - begin
    return None


@pytest.mark.parametrize("expected", [False, True])
def test_a_quantity_that_a_tighter_threshold_leaves_outside_begins_to_count_at_the_change(expected: bool) -> None:
    bench = running(expected=expected)
    bench.hold(400.0, 1.0, 58.7, tick_ms=50)  # outside of nothing: UF1 is at 58.5 Hz
    assert bench.status is not None
    retune(bench, tight(trip__UF1__threshold=58.8, trip__UF1__time_s=180.0))
    found = until_trip(bench, 1.0, 58.7, 200.0)
    assert found is not None
    element, after_s = found
    assert element == "UF1"
    delay = bench.protection.last_trip
    assert delay is not None
    assert after_s == pytest.approx(delay.delay_s, abs=0.006)


def test_a_time_that_runs_goes_on_when_its_threshold_is_tightened() -> None:
    bench = running()
    bench.hold(100.0, 1.0, 58.4, tick_ms=50)
    retune(bench, tight(trip__UF1__threshold=58.8))
    found = until_trip(bench, 1.0, 58.4, 300.0)
    assert found is not None
    assert found[1] == pytest.approx(200.0, abs=0.2)  # 300 s in all, less the chain


def test_a_shorter_delay_counts_the_time_that_has_run_and_may_operate_at_once() -> None:
    bench = running()
    bench.hold(190.0, 1.0, 58.4, tick_ms=50)
    retune(bench, tight(trip__UF1__time_s=180.0))
    found = until_trip(bench, 1.0, 58.4, 10.0)
    assert found is not None
    assert found[1] <= 0.006


def test_the_times_of_other_elements_are_not_touched() -> None:
    left, right = running(), running()
    for bench in (left, right):
        bench.hold(1.0, 0.45)  # UV1 and UV2 run
    retune(left, tight(trip__UF2__threshold=57.0))
    assert until_trip(left, 0.45, 60.0, 5.0) == until_trip(right, 0.45, 60.0, 5.0) is not None


def test_a_looser_threshold_does_not_forget_how_long_the_profiles_own_has_been_passed() -> None:
    bench = running(tight(trip__UF1__threshold=58.8))
    bench.hold(100.0, 1.0, 58.4, tick_ms=50)
    retune(bench, IEEE)
    found = until_trip(bench, 1.0, 58.4, 300.0)
    assert found is not None
    assert found[1] <= 200.2  # never later than if 58.5 Hz had been in force all the time


def test_a_looser_threshold_that_holds_the_value_ends_the_count() -> None:
    bench = running(tight(trip__UF1__threshold=58.8, trip__UF1__time_s=180.0))
    bench.hold(100.0, 1.0, 58.7, tick_ms=50)
    retune(bench, IEEE)
    assert until_trip(bench, 1.0, 58.7, 400.0) is None


def test_state_trip_and_enter_service_time_stay() -> None:
    bench = running()
    assert until_trip(bench, 1.0, 63.0, 1.0) is not None
    trip = bench.protection.last_trip
    retune(bench, tight(trip__UF1__time_s=200.0))
    assert bench.protection.last_trip is trip
    assert bench.protection.state is GridState.TRIPPED
    waits = Bench(adjust(IEEE, {"enter_service.delay_s": 100.0}))
    waits.hold(60.0, tick_ms=50)
    waits.protection.retune(waits.now, adjust(IEEE, {"enter_service.delay_s": 80.0}))
    assert waits.see().remaining_s == pytest.approx(20.0, abs=0.1)


def test_a_cessation_that_begins_with_the_new_rows_is_explained_and_one_that_lasts_goes_on() -> None:
    bench = running()
    assert bench.hold(0.2, 0.4).state is GridState.CEASED
    retune(bench, tight(trip__UF1__time_s=200.0))
    status = bench.see(0.4)
    assert status.state is GridState.CEASED
    assert "0.400 pu" in status.reason
    status = bench.see(1.0)  # the hold after the return
    assert status.state is GridState.CEASED
    assert "0.400 pu" in status.reason
    rows = tuple(
        replace(r, mode=RideThroughMode.MOMENTARY_CESSATION) if r.lo.value == 0.5 else r for r in IEEE.ride_through
    )
    bench.hold(1.0)
    bench.hold(0.3, 0.6)
    retune(bench, replace(IEEE, ride_through=rows))
    status = bench.see(0.6)
    assert (status.state, "0.600 pu" in status.reason) == (GridState.CEASED, True)


def test_another_code_and_a_time_that_the_board_cannot_keep_are_refused_and_change_nothing() -> None:
    bench = running()
    uf2 = IEEE.trip("UF2")
    short = replace(uf2, time=replace(uf2.time, limit=replace(uf2.time.limit, value=0.05)))  # type: ignore[union-attr]
    slow = replace(IEEE, trips=tuple(short if t.id == "UF2" else replace(t, threshold=t.threshold) for t in IEEE.trips))
    for code in (VDE, slow):
        with pytest.raises(GridCodeError):
            retune(bench, code)
        assert bench.protection.code is IEEE
        assert [e.threshold for e in bench.protection.elements()] == [t.threshold.value for t in IEEE.trips]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.3, 1.3), st.floats(56.0, 63.0), st.integers(1, 60)), min_size=1, max_size=6),
    st.lists(st.sampled_from([58.5, 58.8, 59.0]), min_size=1, max_size=6),
    st.lists(st.sampled_from([300.0, 200.0]), min_size=1, max_size=6),
)
def test_controls_that_come_and_go_never_make_a_trip_later_than_the_profile_alone(
    course: list[tuple[float, float, int]], thresholds: list[float], times: list[float]
) -> None:
    plain, tuned = running(), running()
    for k, (v, f, n) in enumerate(course * 3):
        changed = tight(trip__UF1__threshold=thresholds[k % len(thresholds)], trip__UF1__time_s=times[k % len(times)])
        retune(tuned, changed)
        for _ in range(n):
            a, b = plain.see(v, f, tick_ms=90), tuned.see(v, f, tick_ms=90)
            if b.state is GridState.TRIPPED:
                return
            assert a.state is not GridState.TRIPPED


def test_a_source_that_is_silent_starts_no_time_at_the_change() -> None:
    bench = running(expected=True)
    bench.hold(1.0, 1.0, 58.7)
    for _ in range(100):  # the converter goes on alone
        bench.step(None, ((1.0, 1.0, 1.0), 58.7))
    retune(bench, tight(trip__UF1__threshold=58.8))
    timing = {e.source.name for e in bench.protection.elements() if e.element == "UF1" and e.timer_s >= 0.0 and
              e.margin < 0.0}  # fmt: skip
    bench.step(None, ((1.0, 1.0, 1.0), 58.7))
    started = {e.source.name for e in bench.protection.elements() if e.element == "UF1" and e.timer_s > 0.0}
    assert timing >= started == {"CONVERTER"}
    assert IEEE.trip("UF1").side is Side.UNDER


def test_a_row_that_the_board_cannot_cease_in_time_for_is_refused_while_it_runs_too() -> None:
    bench = Bench(IEEE).enter()
    quick = tuple(
        replace(r, max_response_s=replace(r.max_response_s, value=0.01)) if r.max_response_s and r.verified else r
        for r in IEEE.ride_through
    )
    with pytest.raises(GridCodeError, match=r"ceases after .* the code allows 0\.01 s"):
        bench.protection.retune(bench.now, replace(IEEE, ride_through=quick))
    assert bench.protection.code is IEEE
