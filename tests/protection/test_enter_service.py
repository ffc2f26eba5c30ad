"""Entering service: window, delay, restart, ramp, random part."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.grid_codes import Confidence, GridCode, GridCodeError, adjust, load
from firmware.grid_codes.consistency import check
from firmware.protection.enter_service import EnterServiceTimer, Window, ramp_limit
from firmware.protection.grid import MIN_TRIPPED_S, GridProtection
from firmware.protection.types import GridSample, GridState, Source
from tests.protection.bench import CHAIN, CODES, IEEE, IEEE_AT_ONCE, ON, VDE, Bench, Volts, all_phases, name, one_phase

SHORT = adjust(IEEE, {"enter_service.delay_s": 1.0})


def window_edges(code: GridCode) -> list[tuple[float, float, bool]]:
    es = code.enter_service
    f0 = code.nominal_f_hz
    edges = []
    for low, high, at in ((es.v_min, es.v_max, lambda x: (x, f0)), (es.f_min, es.f_max, lambda x: (1.0, x))):
        edges += [
            (*at(low.value), True), (*at(math.nextafter(low.value, 0.0)), False),
            (*at(high.value), True), (*at(math.nextafter(high.value, math.inf)), False),
        ]  # fmt: skip
    return edges


EDGES = [(code, *edge) for code in CODES for edge in window_edges(code)]


@pytest.mark.parametrize(("code", "v", "f", "inside"), EDGES, ids=name)
def test_both_ends_of_the_window_are_inside_and_the_next_number_is_not(
    code: GridCode, v: float, f: float, inside: bool
) -> None:
    assert Window(code.enter_service).holds((v, v, v), f) is inside
    for phase in range(3):
        bench = Bench(code)
        assert bench.see(one_phase(phase, v), f).remaining_s == (code.enter_service.delay_s.value if inside else 0.0)


def test_a_phase_at_the_end_of_the_window_is_not_what_is_complained_of() -> None:
    window = Window(VDE.enter_service)
    assert window.problem((0.85, 1.1, 1.0), 51.0) == "51.000 Hz is outside 47.50..50.10 Hz"
    assert window.problem((0.85, 1.1, 1.11), 51.0) == "L3 1.110 pu is outside 0.85..1.10 pu"


def test_a_time_that_does_not_run_is_never_over() -> None:
    timer = EnterServiceTimer(SHORT.enter_service, 0.0, None)
    assert not timer.ready
    timer.sample(0.0, True)
    timer.sample(1e6, True)
    assert timer.ready
    timer.restart()
    assert not timer.ready
    timer.sample(1e6 + 1.0, False)
    assert not timer.ready


def test_nothing_remains_once_the_delay_is_over() -> None:
    timer = EnterServiceTimer(SHORT.enter_service, 0.0, None)
    assert not timer.running
    assert timer.remaining_s == 0.0
    for t, left in ((10.0, 1.0), (10.999, 0.001), (11.0, 0.0), (12.0, 0.0)):
        timer.sample(t, True)
        assert timer.remaining_s == pytest.approx(left)
        assert timer.ready is (t >= 11.0)


def test_a_delay_that_is_a_microsecond_short_is_over() -> None:
    """Times are compared to the microsecond, and that microsecond belongs to them."""
    timer = EnterServiceTimer(SHORT.enter_service, 0.0, None)
    for t, ready in ((0.0, False), (1.0 - 1.1e-6, False), (1.0 - 1e-6, True)):
        timer.sample(t, True)
        assert timer.ready is ready


@pytest.mark.parametrize(("beyond_s", "short"), [(1e-6, True), (1.1e-6, False)])
def test_an_interruption_that_is_a_microsecond_too_long_is_short(beyond_s: float, short: bool) -> None:
    timer = EnterServiceTimer(REMEMBERED.enter_service, 0.0, None, unverified=True)
    timer.tripped(0.0)
    timer.sample(3.0 + beyond_s, True)
    assert (timer.why == "short interruption") is short


def test_a_frequency_that_cannot_be_measured_is_outside_of_the_window() -> None:
    bench = Bench(IEEE_AT_ONCE)
    status = bench.see(1.0, math.nan)
    assert status.state is GridState.WAITING
    assert status.reason == "Will not connect: the frequency cannot be measured."


@pytest.mark.parametrize("code", CODES, ids=name)
def test_service_is_entered_when_the_delay_is_met_and_not_a_sample_before(code: GridCode) -> None:
    bench, delay = Bench(code), code.enter_service.delay_s.value
    bench.see(tick_ms=50)
    start = bench.now
    while bench.now - start < delay - 0.051:
        status = bench.see(tick_ms=50)
        assert (status.state, status.may_connect, status.may_transfer) == (GridState.WAITING, False, False)
        assert status.remaining_s == pytest.approx(delay - (bench.now - start))
    status = bench.see(tick_ms=50)
    assert bench.now - start == pytest.approx(delay)
    assert (status.state, status.may_connect, status.may_transfer) == (GridState.CONNECTED, True, True)
    assert status.remaining_s == 0.0
    assert bench.codes() == ["grid_wait", "grid_enter_service"]


SEEN = st.lists(
    st.tuples(
        st.tuples(*[st.floats(0.85, 1.1)] * 3),
        st.floats(58.5, 61.2) | st.just(math.nan),
        st.integers(1, 140),
    )
    | st.tuples(st.just((1.0, 1.0, 1.0)), st.just(60.0), st.integers(1, 100)),
    min_size=1,
    max_size=120,
)


@settings(max_examples=40, deadline=None)
@given(SEEN)
def test_service_is_never_entered_before_the_delay_inside_of_the_window_without_a_gap(
    seen: list[tuple[Volts, float, int]],
) -> None:
    bench, es = Bench(SHORT), SHORT.enter_service
    good_since: int | None = None
    for v, f, gap_ms in seen:
        status = bench.see(v, f, tick_ms=gap_ms)
        inside = es.v_min.value <= min(v) and max(v) <= es.v_max.value and es.f_min.value <= f <= es.f_max.value
        if not inside:
            good_since = None
        elif good_since is None or gap_ms > 100:
            good_since = bench.ms
        may = good_since is not None and bench.ms - good_since >= 1000
        assert status.may_connect is may
        if may:
            return


def test_an_excursion_between_two_steps_restarts_the_time() -> None:
    bench = Bench(SHORT)
    bench.hold(0.9)
    t = bench.now
    bench.ms += 15
    good, bad = all_phases(1.0), one_phase(2, 1.06)
    bench.give(
        [GridSample(t + 0.005, good, 60.0), GridSample(t + 0.010, bad, 60.0), GridSample(t + 0.015, good, 60.0)], []
    )
    assert bench.status is not None
    assert bench.status.remaining_s == pytest.approx(1.0)
    assert bench.hold(0.995).state is GridState.WAITING
    assert bench.see().state is GridState.CONNECTED


def test_a_held_value_does_not_count_towards_the_delay() -> None:
    bench = Bench(SHORT)
    bench.hold(0.98)
    for _ in range(15):
        status = bench.step(None)
        assert status.state is GridState.WAITING
        assert status.remaining_s == pytest.approx(0.025)
    bench.see()
    assert bench.see().state is not GridState.TRIPPED


@pytest.mark.parametrize(("gap_ms", "restarts"), [(100, False), (101, True)])
def test_a_gap_longer_than_the_age_limit_restarts_the_time_even_inside_of_one_late_step(
    gap_ms: int, restarts: bool
) -> None:
    bench = Bench(SHORT)
    bench.hold(0.5)
    t = bench.now
    bench.ms += gap_ms + 5
    late = [GridSample(t + gap_ms / 1000.0, all_phases(1.0), 60.0), GridSample(bench.now, all_phases(1.0), 60.0)]
    status = bench.give(late, [])
    assert status.remaining_s == pytest.approx(0.995 if restarts else 0.505 - 0.005 - gap_ms / 1000.0, abs=1e-6)


# --------------------------------------------------------------------------------------------------------- two sources
def test_the_converter_is_not_needed_while_it_has_no_supply() -> None:
    assert Bench(IEEE_AT_ONCE, expected=False).see().state is GridState.CONNECTED


def test_both_sources_are_needed_where_both_are_expected() -> None:
    good = (all_phases(1.0), 60.0)
    for pilot, converter, missing in ((good, None, Source.CONVERTER), (None, good, Source.PILOT)):
        bench = Bench(SHORT, expected=True)
        for _ in range(300):
            status = bench.step(pilot, converter)
            assert status.state is GridState.WAITING
        assert status.reason == f"Will not connect: there is no fresh sample from the {missing.value}."


def test_a_converter_that_sees_one_excursion_restarts_the_time() -> None:
    bench = Bench(SHORT, expected=True)
    bench.hold(0.9)
    good, bad = (all_phases(1.0), 60.0), (one_phase(0, 0.91), 60.0)
    status = bench.step(good, bad)
    assert status.reason == "Will not connect: L1 0.910 pu is outside 0.917..1.05 pu."
    assert status.remaining_s == 0.0
    assert bench.hold(1.0).state is GridState.WAITING
    assert bench.see().state is GridState.CONNECTED


def test_an_excursion_of_the_converter_between_two_steps_restarts_the_time() -> None:
    bench = Bench(SHORT, expected=True)
    bench.hold(0.9)
    t = bench.now
    bench.ms += 10
    good, bad = all_phases(1.0), all_phases(0.9)
    seen = [GridSample(t + 0.005, bad, 60.0), GridSample(t + 0.010, good, 60.0)]
    bench.give([GridSample(t + 0.010, good, 60.0)], seen)
    assert bench.hold(1.0).state is GridState.WAITING
    assert bench.see().state is GridState.CONNECTED


def test_sources_that_disagree_do_not_let_it_enter_service() -> None:
    bench = Bench(IEEE_AT_ONCE, expected=True)
    a, b = (all_phases(0.94), 60.0), (all_phases(1.0), 60.0)
    for _ in range(100):
        status = bench.step(a, b)
        assert status.state is GridState.WAITING
    assert status.reason.startswith("Will not connect: the two grid measurements disagree (L1: 0.940 pu by the pilot")


def test_sources_that_disagreed_must_agree_for_a_second_before_it_enters_service() -> None:
    bench = Bench(IEEE_AT_ONCE, expected=True)
    good, low = (all_phases(1.0), 60.0), (all_phases(0.94), 60.0)
    for _ in range(300):
        bench.step(low, good)
    for _ in range(190):
        assert bench.step(good, good).state is GridState.WAITING
    for _ in range(20):
        status = bench.step(good, good)
    assert status.state is GridState.CONNECTED


# ------------------------------------------------------------------------------------------------ after a trip, ramp
def test_after_a_trip_the_whole_delay_passes_again_and_the_trip_stays_in_sight_until_the_grid_is_back() -> None:
    bench = Bench(SHORT).enter()
    assert bench.until_trip(1.0, lambda: bench.see(f=50.0)) is not None
    status = bench.hold(3.0, 0.001, 50.0)
    assert status.state is GridState.TRIPPED
    assert status.reason.startswith("Tripped by UF2: 50.000 Hz is below 56.500 Hz for 0.06 s (pilot MCU grid sense).")
    assert status.reason.endswith("Will not connect: L1 0.001 pu is outside 0.917..1.05 pu.")
    bench.notices.clear()
    status = bench.see()
    assert (status.state, status.remaining_s) == (GridState.WAITING, 1.0)
    assert bench.codes() == ["grid_wait"]
    assert bench.hold(0.5, 0.5).state is GridState.WAITING
    assert bench.hold(1.0).state is GridState.WAITING
    assert bench.see().state is GridState.CONNECTED
    assert status.last_trip is not None


def test_a_trip_lasts_a_second_even_where_the_code_asks_for_no_delay() -> None:
    """In steps of 1/128 s, which are exact: back in service a second after the trip, not a step before."""
    protection, step = GridProtection(IEEE_AT_ONCE, CHAIN), 0

    def look(f: float) -> GridState:
        nonlocal step
        step += 1
        t = step / 128
        return protection.step(t, [GridSample(t, all_phases(1.0), f)], [], converter_expected=False).state

    assert look(60.0) is GridState.CONNECTED
    while look(50.0) is not GridState.TRIPPED:
        pass
    tripped = step
    while look(60.0) is not GridState.CONNECTED:
        pass
    assert MIN_TRIPPED_S == 1.0
    assert step - tripped == 128


def test_the_waiting_sentence_counts_down_and_names_the_window() -> None:
    bench = Bench(VDE)
    status = bench.hold(18.3, tick_ms=50)
    assert status.reason == (
        "Waiting to enter service: 42 s of 60 s left (V 0.85..1.10 pu, f 47.50..50.10 Hz; VDE-AR-N 4105:2018-11)."
    )
    assert status.clause == "VDE-AR-N 4105:2018-11, clause not given in the source"


@pytest.mark.parametrize(("code", "full_s"), [(VDE, 600.0), (IEEE, 300.0)], ids=name)
def test_power_rises_in_a_straight_line_after_entering_service(code: GridCode, full_s: float) -> None:
    bench = Bench(code)
    while bench.see(tick_ms=50).state is not GridState.CONNECTED:
        pass
    t0 = bench.now
    assert bench.status is not None
    assert (bench.status.power_limit_pu, bench.status.ramping) == (0.0, True)
    for _ in range(1000):
        status = bench.see(tick_ms=50)
        assert status.power_limit_pu == pytest.approx((bench.now - t0) / full_s)
        assert status.ramping
    assert ramp_limit(code.enter_service, full_s * 0.999) < 1.0
    assert ramp_limit(code.enter_service, full_s) == 1.0
    assert ramp_limit(code.enter_service, full_s * 9) == 1.0


def test_a_finished_ramp_limits_nothing_and_a_trip_starts_it_anew() -> None:
    bench = Bench(adjust(SHORT, {"enter_service.ramp_duration_s": 1.0})).enter()
    status = bench.hold(2.0)
    assert (status.power_limit_pu, status.ramping) == (1.0, False)
    bench = Bench(adjust(SHORT, {"enter_service.ramp_duration_s": 1.0})).enter()
    while not 0.99 < bench.see().power_limit_pu < 1.0:
        pass
    assert bench.status is not None
    assert bench.status.ramping
    bench.hold(2.0)
    assert bench.until_trip(1.0, lambda: bench.see(f=50.0)) is not None
    while bench.see().state is not GridState.CONNECTED:
        pass
    assert bench.see().power_limit_pu == pytest.approx(0.005)


def test_a_code_without_a_ramp_permits_full_power_at_once() -> None:
    assert ramp_limit(replace(IEEE.enter_service, ramp_duration_s=None), 0.0) == 1.0


# -------------------------------------------------------------------------------------------------------- random delay
def test_there_is_no_random_delay_unless_asked_for() -> None:
    bench = Bench(SHORT, rng=random.Random(1))
    bench.hold(1.0)
    assert bench.see().state is GridState.CONNECTED


def test_the_random_part_is_added_and_drawn_anew_for_each_wait() -> None:
    bench, twin = Bench(SHORT, enter_service_random_s=5.0, rng=random.Random(7)), random.Random(7)
    for _ in range(3):
        delay = 1.0 + twin.uniform(0.0, 5.0)
        bench.see()
        start = bench.now
        while bench.see().state is not GridState.CONNECTED:
            pass
        assert delay <= bench.now - start + 1e-6 <= delay + 0.006
        assert bench.until_trip(1.0, lambda: bench.see(f=50.0)) is not None


def test_the_random_part_is_in_the_delay_that_is_told_and_in_the_time_that_is_left() -> None:
    timer, twin = EnterServiceTimer(SHORT.enter_service, 5.0, random.Random(7)), random.Random(7)
    whole_s = 1.0 + twin.uniform(0.0, 5.0)
    for t in (100.0, 100.5):
        timer.sample(t, True)
        assert timer.delay_s == pytest.approx(whole_s)
        assert timer.remaining_s == pytest.approx(whole_s - (t - 100.0))


def test_a_random_delay_without_a_random_source_or_out_of_range_is_refused() -> None:
    with pytest.raises(GridCodeError, match="needs a random source"):
        Bench(IEEE, enter_service_random_s=0.005)
    for bad in (-0.005, 1000.1, math.nan):
        for code in CODES:
            with pytest.raises(GridCodeError, match=r"allowed: 0\.\.1000 s"):
                Bench(code, enter_service_random_s=bad, rng=random.Random(1))
    for code in CODES:
        Bench(code, enter_service_random_s=1000.0, rng=random.Random(1))


def test_entering_service_is_the_only_way_into_service() -> None:
    bench = Bench(VDE)
    for i in range(100):
        assert bench.see(0.3 if i % 3 else 1.0, tick_ms=50).state not in ON


# ------------------------------------------------------------------------------------- first start, short interruption
REMEMBERED = load(VDE.name, nominal_v=230.0, allow_unverified=True)
CEI = load("it_cei_0_21", nominal_v=230.0, allow_unverified=True)


def seconds_to_service(bench: Bench, limit_s: float = 400.0) -> float:
    """From now on a healthy grid until it is in service."""
    start = bench.now
    while bench.now - start < limit_s:
        if bench.see(tick_ms=50).state in ON:
            return bench.now - start
    raise AssertionError("did not enter service")


def interrupted(bench: Bench, seconds: float, v: float = 0.0) -> Bench:
    """In service, then an excursion of that length, which trips on the way."""
    bench.hold(1.0)
    bench.hold(seconds, v)
    assert bench.status is not None
    assert bench.status.state is GridState.TRIPPED
    return bench


@pytest.mark.parametrize("code", [VDE, REMEMBERED, IEEE_AT_ONCE, CEI], ids=lambda c: f"{c.name}-{c.allow_unverified}")
def test_the_first_start_waits_its_own_time_where_the_code_has_one(code: GridCode) -> None:
    es = code.enter_service
    wait_s = (es.first_delay_s or es.delay_s).value
    assert seconds_to_service(Bench(code)) == pytest.approx(wait_s + 0.05, abs=0.051)


def test_a_guard_that_was_started_again_waits_as_after_a_trip() -> None:
    assert seconds_to_service(Bench(CEI, restarted=True)) == pytest.approx(300.05, abs=0.051)


def test_after_any_trip_the_first_start_is_over_for_good() -> None:
    bench = Bench(CEI)
    first_s = seconds_to_service(bench)
    assert first_s == pytest.approx(30.05, abs=0.051)
    assert "(first start)" not in interrupted(bench, 2.0, 0.3).see().reason
    assert seconds_to_service(bench) == pytest.approx(300.05, abs=0.051)


def test_an_excursion_during_the_first_wait_leaves_it_a_first_start() -> None:
    bench = Bench(CEI)
    assert bench.hold(10.0, tick_ms=50).reason.startswith("Waiting to enter service (first start): 2")
    bench.hold(20.0, 0.5, tick_ms=50)
    assert seconds_to_service(bench) == pytest.approx(30.05, abs=0.051)


@pytest.mark.parametrize(
    ("seconds", "short"), [(0.32, True), (1.5, True), (2.995, True), (3.0, True), (3.005, False), (60.0, False)]
)
@pytest.mark.parametrize("v", [0.0, 0.3, 1.3])
def test_an_interruption_of_up_to_three_seconds_is_followed_by_five(seconds: float, short: bool, v: float) -> None:
    bench = Bench(REMEMBERED).enter()
    interrupted(bench, seconds, v)
    waiting = bench.see()
    assert ("short interruption" in waiting.reason) is short
    assert waiting.remaining_s == (5.0 if short else 60.0)
    assert seconds_to_service(bench) == pytest.approx(5.05 if short else 60.05, abs=0.06)


def test_the_shorter_wait_is_not_applied_while_it_is_only_remembered() -> None:
    bench = interrupted(Bench(VDE).enter(), 1.0)
    assert bench.see().remaining_s == 60.0


def test_a_second_excursion_after_the_short_time_makes_it_a_long_interruption() -> None:
    bench = interrupted(Bench(REMEMBERED).enter(), 1.0)
    assert bench.hold(1.0).remaining_s == pytest.approx(4.0, abs=0.01)
    bench.hold(0.5, 0.5)
    assert bench.see().remaining_s == 5.0  # 2.5 s after the beginning: still one short interruption
    bench.hold(2.0)
    bench.see(0.5)
    assert bench.see().remaining_s == 60.0


def test_the_interruption_begins_with_the_first_limit_that_was_left() -> None:
    """0.7 pu for 2.9 s, where UV1 waits its 3 s, then 0.3 pu until UV2 trips: 3.2 s are no short interruption."""
    bench = Bench(REMEMBERED).enter()
    bench.hold(1.0)
    bench.hold(2.6, 0.7)
    interrupted_s = 2.6
    while bench.see(0.3).state is not GridState.TRIPPED:
        interrupted_s += 0.005
    assert bench.status is not None
    assert bench.status.last_trip is not None
    assert bench.status.last_trip.element == "UV2"
    bench.hold(3.1 - interrupted_s, 0.3)
    assert bench.see().remaining_s == 60.0


def test_a_lost_measurement_is_no_interruption_of_the_grid() -> None:
    bench = Bench(REMEMBERED).enter()
    bench.hold(1.0)
    while bench.step(None).state is not GridState.TRIPPED:
        pass
    assert bench.see().remaining_s == 60.0


def test_half_of_the_rule_of_short_interruptions_is_refused() -> None:
    half = replace(VDE.enter_service, short_interruption_max_s=None)
    with pytest.raises(GridCodeError, match="short_interruption_max_s and short_interruption_delay_s, or neither"):
        check(replace(VDE, enter_service=half))


# ----------------------------------------------------------------------------------------------------- the timer alone
def test_a_timer_that_is_told_nothing_makes_a_first_start_by_verified_delays_only() -> None:
    es = IEEE.enter_service
    first = replace(es.delay_s, value=7.0, conf=Confidence.HIGH)
    timer = EnterServiceTimer(replace(es, first_delay_s=first), 0.0, None)
    assert (timer.rule, timer.why) == (first, "first start")
    timer = EnterServiceTimer(replace(es, first_delay_s=replace(first, conf=Confidence.LOW)), 0.0, None)
    assert (timer.rule, timer.why) == (es.delay_s, "")


@pytest.mark.parametrize("remembered", ["short_interruption_max_s", "short_interruption_delay_s"])
def test_a_rule_of_short_interruptions_of_which_half_is_only_remembered_is_not_applied(remembered: str) -> None:
    es = REMEMBERED.enter_service
    assert es.short_interruption_max_s is not None
    assert es.short_interruption_delay_s is not None
    known = {
        "short_interruption_max_s": replace(es.short_interruption_max_s, conf=Confidence.HIGH),
        "short_interruption_delay_s": replace(es.short_interruption_delay_s, conf=Confidence.HIGH),
    }
    for half, wait_s in ((False, 5.0), (True, 60.0)):
        if half:
            known[remembered] = replace(known[remembered], conf=Confidence.LOW)
        timer = EnterServiceTimer(replace(es, **known), 0.0, None)
        timer.tripped(10.0)
        timer.sample(11.0, True)
        assert timer.delay_s == wait_s


def test_another_delay_holds_at_once_where_the_wait_is_by_it_and_from_the_next_wait_on_elsewhere() -> None:
    es = IEEE.enter_service
    longer = replace(es, delay_s=replace(es.delay_s, value=es.delay_s.value + 100.0))
    timer = EnterServiceTimer(es, 0.0, None)
    timer.sample(1.0, True)
    timer.retune(longer)
    assert timer.rule is longer.delay_s
    first = replace(es.delay_s, value=7.0)
    timer = EnterServiceTimer(replace(es, first_delay_s=first), 0.0, None, unverified=True)
    timer.sample(1.0, True)
    timer.retune(replace(longer, first_delay_s=first))
    assert timer.rule is first
    timer.tripped(None)
    timer.sample(2.0, True)
    assert timer.rule is longer.delay_s
