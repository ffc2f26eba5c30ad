"""Two sources of measurement: freshness, loss, disagreement, refusal of nonsense."""

from __future__ import annotations

import math

import pytest

from firmware.grid_codes import ClearingMax, GridCode, Quantity, inspect, internal_delay, names
from firmware.protection.channel import MAX_AHEAD_S, Channel, source_delay
from firmware.protection.enter_service import Window
from firmware.protection.sense import DISAGREE_F_HZ, DISAGREE_S, DISAGREE_V_PU, LATE_S, MAX_AGE_S, Agreement
from firmware.protection.types import GridSample, GridState, Source
from tests.protection.bench import CHAIN, IEEE_AT_ONCE, ON, VDE, VDE_AT_ONCE, Bench, all_phases, one_phase

GOOD = (all_phases(1.0), 60.0)


def connected(expected: bool = True) -> Bench:
    return Bench(IEEE_AT_ONCE, expected=expected).enter()


def test_the_limits_are_those_of_the_document() -> None:
    assert MAX_AGE_S == {Source.PILOT: 0.1, Source.CONVERTER: 0.5}
    assert (DISAGREE_V_PU, DISAGREE_F_HZ, DISAGREE_S) == (0.05, 0.2, 1.0)
    assert LATE_S == {Source.PILOT: 0.0, Source.CONVERTER: 0.05}


@pytest.mark.parametrize(
    ("source", "steps"), [(Source.PILOT, 100), (Source.CONVERTER, 500)], ids=lambda x: getattr(x, "name", None)
)
def test_one_lost_source_is_told_once_after_its_age_limit_and_power_goes_on(source: Source, steps: int) -> None:
    bench = connected()
    pair = (None, GOOD) if source is Source.PILOT else (GOOD, None)
    for _ in range(steps):
        bench.step(*pair, tick_ms=1)
        assert bench.codes() == []
    for _ in range(1000):
        status = bench.step(*pair, tick_ms=1)
        assert (status.state, status.may_transfer) == (GridState.CONNECTED, True)
    assert bench.codes() == ["grid_sense_lost"]
    assert bench.notices[0].detail.startswith(
        f"{source.value}: no sample for 0.{1 if source is Source.PILOT else 5}0 s"
    )
    assert bench.protection.conditions == {"grid_sense_lost"}
    bench.see()
    assert bench.protection.conditions == frozenset()
    bench.notices.clear()
    for _ in range(600):
        bench.step(*pair, tick_ms=1)
    assert bench.codes() == ["grid_sense_lost"]


def test_the_loss_of_both_trips_when_the_second_one_is_stale() -> None:
    bench = connected()
    took = bench.until_trip(1.0, lambda: bench.step(None, tick_ms=1))
    assert took == pytest.approx(0.5)  # the first silent step is 1 ms after the last sample
    assert bench.status is not None
    trip = bench.status.last_trip
    assert trip is not None
    assert (trip.element, trip.source, trip.unit) == ("SENSE", None, "s")
    assert trip.text.startswith("Tripped by SENSE: no usable measurement of the grid by pilot MCU grid sense and conv")
    assert trip.t - trip.t_start == pytest.approx(trip.value) == pytest.approx(0.501)
    assert (trip.threshold, trip.delay_s, trip.t) == (0.1, 0.1, bench.now)


def test_without_the_converter_the_loss_of_the_pilot_is_the_loss_of_both() -> None:
    bench = connected(expected=False)
    assert bench.until_trip(1.0, lambda: bench.step(None, GOOD, tick_ms=1)) == pytest.approx(0.1)


def test_a_converter_that_was_just_expected_and_has_not_spoken_is_no_second_source() -> None:
    bench = connected(expected=False)
    bench.expected = True
    assert bench.until_trip(1.0, lambda: bench.step(None, tick_ms=1)) == pytest.approx(0.1)


def test_a_converter_has_its_age_limit_to_send_its_first_sample() -> None:
    bench = connected(expected=False)
    bench.expected = True
    for _ in range(501):
        bench.step(GOOD, None, tick_ms=1)
        assert bench.codes() == []
    bench.step(GOOD, None, tick_ms=1)
    assert bench.codes() == ["grid_sense_lost"]


@pytest.mark.parametrize(("beyond_s", "old"), [(0.0, False), (1e-6, False), (1.1e-6, True)])
def test_a_sample_is_old_a_microsecond_after_its_age_limit(beyond_s: float, old: bool) -> None:
    """Times are compared to the microsecond, and that microsecond belongs to them."""
    channel = Channel(Source.PILOT, VDE, CHAIN, Window(VDE.enter_service))
    channel.begin(0.0)
    channel.take(0.0, [GridSample(0.0, all_phases(0.5), 50.0)], None)
    later = MAX_AGE_S[Source.PILOT] + beyond_s
    assert (channel.fresh(later), channel.lost(later)) == (not old, old)
    channel.take(later, [GridSample(later, all_phases(0.5), 50.0)], None)
    assert {e.timer.elapsed(later) for e in channel.timing()} == {0.0 if old else later}


def test_what_a_converter_without_supply_says_is_ignored() -> None:
    bench = connected(expected=False)
    dead = (all_phases(0.0), 0.0)
    for _ in range(1000):
        assert bench.step(GOOD, dead).state is GridState.CONNECTED
    assert {e.source for e in bench.protection.elements()} == {Source.PILOT}


@pytest.mark.parametrize(
    ("stage", "delay_s", "left_s"),
    [
        ("OV2", 0.085, 0.035), ("OV2", 0.055, 0.005), ("OV2", 0.03, 0.0), ("OV2", 0.0, 0.0),
        ("OF2", 0.2, 0.15), ("OF2", 0.1, 0.05), ("OF2", 0.06, 0.05), ("OF2", 0.05, 0.05), ("OF2", 0.04, 0.04),
    ],
)  # fmt: skip
def test_the_converter_waits_less_by_its_poll_but_never_less_than_nothing_or_what_a_phase_jump_needs(
    stage: str, delay_s: float, left_s: float
) -> None:
    trip = next(t for t in IEEE_AT_ONCE.trips if t.id == stage)
    assert source_delay(trip, delay_s, Source.CONVERTER) == pytest.approx(left_s, abs=1e-12)
    assert source_delay(trip, delay_s, Source.PILOT) == delay_s


POLL_S = LATE_S[Source.CONVERTER]  # it is asked as often


def test_the_converter_trips_on_one_sample_only_where_two_do_not_fit_into_the_codes_time() -> None:
    two_s = CHAIN.until_open_s(Quantity.VOLTAGE) - CHAIN.report_period_s + 2 * POLL_S
    single = set()
    for name in names():
        code = inspect(name, allow_unverified=True)
        for trip in code.trips:
            delay_s = source_delay(trip, internal_delay(trip, CHAIN), Source.CONVERTER)
            if trip.quantity is Quantity.VOLTAGE and delay_s < 2 * POLL_S:
                single.add(trip.id)
                assert isinstance(trip.time, ClearingMax)
                assert trip.time.limit.value < two_s == pytest.approx(0.17)
    assert single == {"OV2", "UV2"}


@pytest.mark.parametrize(("code", "tripped"), [(IEEE_AT_ONCE, "OV2"), (VDE_AT_ONCE, "")], ids=lambda x: str(x)[:9])
def test_one_wild_voltage_of_the_converter_trips_the_stages_of_160_ms_and_no_others(
    code: GridCode, tripped: str
) -> None:
    bench = Bench(code, expected=True).enter()
    f = code.nominal_f_hz
    good, wild = (all_phases(1.0), f), (one_phase(1, 1.3), f)
    for k in range(60):  # steps of 5 ms
        bench.step(good, wild if k == 20 else good if k % 10 == 0 else None)
    assert bench.status is not None
    trip = bench.status.last_trip
    assert (trip.element if trip else "") == tripped


@pytest.mark.parametrize("f_hz", [63.0, 55.0])
@pytest.mark.parametrize("after", [(all_phases(0.05), 62.5), (all_phases(0.05), math.nan), (all_phases(0.3), 60.1)])
def test_a_single_frequency_of_the_slow_source_is_no_change_of_frequency(
    f_hz: float, after: tuple[tuple[float, float, float], float]
) -> None:
    """The converter is polled 20 times a second: a sag's phase jump may be in one of its samples, and that is the
    newest one for as long as IEEE 1547's OF2 and UF2 wait."""
    bench = connected()
    low, good = (all_phases(0.3), 60.0), (all_phases(1.0), 60.0)
    bench.step(good, good)
    bench.step(low, (all_phases(0.3), f_hz))
    for _ in range(11):  # 55 ms: the next poll comes a little late
        assert bench.step(low).state in ON
    for _ in range(10):
        bench.step(low, after)
        for _ in range(9):
            assert bench.step(low).state in ON


def test_two_frequencies_of_the_slow_source_are_one() -> None:
    bench = connected()
    good = (all_phases(1.0), 60.0)
    bench.step(good, (all_phases(1.0), 63.0))
    for _ in range(9):
        bench.step(good)
    assert bench.step(good, (all_phases(1.0), 63.0)).state is GridState.TRIPPED


def test_a_dip_before_the_converter_lost_its_supply_is_forgotten_when_it_is_back() -> None:
    bench = connected()
    dead = (all_phases(0.0), math.nan)
    for _ in range(300):
        bench.step(GOOD, dead)
    bench.expected = False
    for _ in range(300):
        bench.step(GOOD)
    bench.expected = True
    assert bench.step(GOOD).state is GridState.CONNECTED
    for _ in range(300):
        assert bench.step(GOOD, dead).state in ON  # 1.5 s, of 1.925 s


def test_a_source_without_a_frequency_at_a_healthy_voltage_is_lost() -> None:
    blind = (all_phases(1.0), math.nan)
    bench = connected(expected=False)
    took = bench.until_trip(1.0, lambda: bench.step(blind, tick_ms=1))
    assert took == pytest.approx(0.1)
    assert bench.status is not None
    assert bench.status.last_trip is not None
    assert bench.status.last_trip.element == "SENSE"
    bench = connected()
    for _ in range(400):
        assert bench.step(blind, GOOD).state is GridState.CONNECTED
    assert bench.notices[0].detail == "pilot MCU grid sense: measures no frequency for 0.11 s"


def test_a_source_without_a_frequency_is_excused_while_under_voltage_times_the_fault() -> None:
    bench = connected(expected=False)
    took = bench.until_trip(3.0, lambda: bench.see(0.45, math.nan))
    assert took == pytest.approx(1.925)
    assert bench.status is not None
    assert bench.status.last_trip is not None
    assert bench.status.last_trip.element == "UV2"


def test_over_voltage_excuses_no_missing_frequency() -> None:
    bench = connected(expected=False)
    bench.until_trip(3.0, lambda: bench.see(1.15, math.nan, tick_ms=1))
    assert bench.status is not None
    assert bench.status.last_trip is not None
    assert bench.status.last_trip.element == "SENSE"


def test_service_is_not_entered_with_a_source_that_measures_no_frequency() -> None:
    bench = Bench(IEEE_AT_ONCE, expected=True)
    for _ in range(300):
        status = bench.step(GOOD, (all_phases(1.0), math.nan))
        assert status.state is GridState.WAITING
    assert status.reason == "Will not connect: the converter telemetry measures no frequency."


# ------------------------------------------------------------------------------------------------------------- refusal
@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.001])
@pytest.mark.parametrize("phase", range(3))
def test_a_sample_that_is_no_measurement_is_as_if_it_had_not_come(phase: int, bad: float) -> None:
    bench = connected(expected=False)
    took = bench.until_trip(1.0, lambda: bench.step((one_phase(phase, bad), 60.0), tick_ms=1))
    assert took == pytest.approx(0.1)
    assert bench.status is not None
    assert bench.status.last_trip is not None
    assert bench.status.last_trip.element == "SENSE"


def test_zero_volts_are_a_measurement() -> None:
    bench = connected(expected=False)
    bench.until_trip(3.0, lambda: bench.see(0.0, math.nan))
    assert bench.status is not None
    assert bench.status.last_trip is not None
    assert bench.status.last_trip.element == "UV2"


@pytest.mark.parametrize("back_s", [0.0, 0.05])
def test_a_sample_that_comes_twice_or_late_does_not_make_the_source_fresh(back_s: float) -> None:
    bench = connected(expected=False)
    stale = GridSample(bench.now - back_s, *GOOD)
    start = bench.now
    while bench.now - start < 0.0995:
        bench.ms += 1
        assert bench.give([stale], []).state is GridState.CONNECTED
    bench.ms += 1
    assert bench.give([stale], []).state is GridState.TRIPPED


def test_refused_samples_are_counted_and_the_limits_are_exact() -> None:
    channel = Channel(Source.PILOT, IEEE_AT_ONCE, CHAIN, Window(IEEE_AT_ONCE.enter_service))
    judged: list[float] = []

    def take(*times: float) -> int:
        channel.take(
            0.95, [GridSample(t, *GOOD) for t in times], lambda t, inside: judged.append(t) if inside else None
        )
        return channel.refused

    channel.begin(0.95)
    assert take(0.9, 0.94) == 0
    assert take(0.94) == 1  # the same again
    assert take(0.93, 0.92) == 3
    assert take(1.0) == 3  # 0.95 + 0.05 is 1.0 exactly
    assert take(math.nextafter(1.0, 2.0)) == 4
    assert take(math.nan) == 5
    assert judged == [0.9, 0.94, 1.0]


def test_a_converter_that_is_expected_from_the_start_has_its_age_limit_too() -> None:
    bench = Bench(IEEE_AT_ONCE, expected=True)
    for _ in range(500):
        bench.step(GOOD, None, tick_ms=1)
        assert bench.codes() == ["grid_wait"]
    bench.hold(0.002, tick_ms=1)
    assert "grid_sense_lost" not in bench.codes()


@pytest.mark.parametrize(("ahead_ms", "taken"), [(49, True), (51, False), (1000, False)])
def test_a_sample_from_the_future_is_refused(ahead_ms: int, taken: bool) -> None:
    assert MAX_AHEAD_S == 0.05
    bench = connected(expected=False)
    bench.ms += 5
    bench.give([GridSample((bench.ms + ahead_ms) / 1000.0, all_phases(0.4), 60.0)], [])
    assert bench.status is not None
    assert (bench.status.state is GridState.CEASED) is taken


def test_time_without_samples_counts_neither_way_for_a_running_element() -> None:
    bench = Bench(VDE, expected=True).enter()
    sag, good = (all_phases(0.75), 50.0), (all_phases(1.0), 50.0)
    for _ in range(201):
        bench.step(sag, good)  # the pilot alone sees 1 s of the 3 s of UV1
    for _ in range(1000):
        assert bench.step(None, good).state in ON
    steps = 0
    while bench.step(sag, good).state in ON:
        steps += 1
    assert 398 <= steps <= 401


# -------------------------------------------------------------------------------------------------------- disagreement
@pytest.mark.parametrize("phase", range(3))
@pytest.mark.parametrize(("dv", "apart"), [(0.05, False), (0.0501, True), (-0.05, False), (-0.0501, True)])
def test_a_phase_that_differs_for_a_second_is_told_once(phase: int, dv: float, apart: bool) -> None:
    bench = connected()
    other = (one_phase(phase, 1.0 + dv), 60.0)
    for _ in range(200):
        bench.step(GOOD, other)
        assert bench.codes() == []
    bench.step(GOOD, other)
    assert bench.codes() == (["grid_sense_disagree"] if apart else [])
    for _ in range(300):
        assert bench.step(GOOD, other).state is GridState.CONNECTED
    assert bench.codes() == (["grid_sense_disagree"] if apart else [])
    if apart:
        assert bench.notices[0].detail == f"L{phase + 1}: 1.000 pu by the pilot MCU, {1.0 + dv:.3f} pu by the converter"


@pytest.mark.parametrize(
    ("f", "apart"), [(60.2, False), (60.201, True), (59.8, False), (59.799, True), (math.nan, False)]
)
def test_a_frequency_that_differs_for_a_second_is_told(f: float, apart: bool) -> None:
    watch = Agreement()
    for i in range(201):
        watch.compare(GridSample(i * 0.005, *GOOD), GridSample(i * 0.005, all_phases(1.0), f))
        assert watch.disagree is (apart and i == 200)
    if apart:
        assert watch.detail == f"60.000 Hz by the pilot MCU, {f:.3f} Hz by the converter"


@pytest.mark.parametrize(("beyond", "apart"), [(0.0, False), (1e-9, False), (1.005e-9, True)])
def test_what_only_rounding_makes_of_a_difference_is_none(beyond: float, apart: bool) -> None:
    for a, b in (
        (GridSample(0.0, (DISAGREE_V_PU + beyond, 0.0, 0.0), 0.0), GridSample(0.0, (0.0, 0.0, 0.0), 0.0)),
        (GridSample(0.0, (1.0, 1.0, 1.0), 0.0), GridSample(0.0, (1.0, 1.0, 1.0), DISAGREE_F_HZ + beyond)),
    ):
        found = Agreement()
        assert (found.differs, found.disagree) == (False, False)
        found.compare(a, b)
        assert found.differs is apart


def test_the_phase_that_differs_is_named_and_not_one_at_the_limit() -> None:
    found = Agreement()
    limit = DISAGREE_V_PU + 1e-9
    found.compare(GridSample(0.0, (limit, 2.0 * limit, 0.0), 50.0), GridSample(0.0, (0.0, 0.0, 0.0), 50.0))
    assert found.detail.startswith("L2: 0.100 pu by the pilot MCU")


def test_disagreement_ends_after_a_second_of_agreement() -> None:
    bench = connected()
    other = (one_phase(0, 1.08), 60.0)
    for _ in range(201):
        bench.step(GOOD, other)
    assert bench.protection.conditions == {"grid_sense_disagree"}
    for _ in range(200):
        bench.see()
        assert bench.protection.conditions == {"grid_sense_disagree"}
    bench.see()
    assert bench.protection.conditions == frozenset()
    for _ in range(200):
        bench.step(GOOD, other)
    assert bench.protection.conditions == frozenset()


def test_one_agreeing_sample_starts_the_second_anew() -> None:
    bench = connected()
    other = (one_phase(0, 1.08), 60.0)
    for _ in range(3):
        for _ in range(200):
            bench.step(GOOD, other)
        bench.see()
    assert bench.codes() == []
    for _ in range(201):
        bench.step(GOOD, other)
    for _ in range(3):
        for _ in range(200):
            bench.see()
        bench.step(GOOD, other)
    assert bench.protection.conditions == {"grid_sense_disagree"}


def test_a_lost_source_cannot_disagree() -> None:
    bench = connected()
    other = (one_phase(0, 1.08), 60.0)
    for _ in range(201):
        bench.step(GOOD, other)
    for _ in range(101):
        bench.step(GOOD, None)
    assert bench.protection.conditions == {"grid_sense_lost"}
    bench.expected = False
    bench.step(GOOD, None)
    assert bench.protection.conditions == frozenset()


def test_a_converter_that_reports_seldom_is_compared_when_it_reports() -> None:
    bench = connected()
    for i in range(400):
        # The grid moves by 0.06 pu between two telemetry frames, but both are right when they speak.
        v = 1.0 + 0.06 * ((i % 40) / 40)
        seen = (all_phases(v), 60.0)
        bench.step(seen, seen if i % 40 == 39 else None)
    assert bench.codes() == []
