"""The search for edges finds what is there, and its verdict notices protection that is a little wrong."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import boards
from firmware.grid_codes import GridCode, TripSetting, load, names
from firmware.guard.assemble import chain_of
from firmware.protection.grid import GridProtection
from firmware.protection.types import GridSample, GridState, GridStatus, Source
from hil.conformance import document, edges
from hil.conformance.edges import FINE, Edge, Pace, Stand, find_edge, run
from hil.conformance.stages import Measured, connected, measure, problems, sources_of
from tests.test_docs import ROOT

CHAIN = chain_of(boards.load("desk"))
SPAIN = load("es_rd1699", nominal_v=230.0)
IEEE = load("ieee1547_2018_cat3", nominal_v=277.0)
AUSTRALIA = load("as4777_2_2020_au_a", nominal_v=230.0, allow_unverified=True)


def changed(code: GridCode, element: str, *, by: float = 0.0, delay_by_s: float = 0.0) -> Stand:
    """A protection whose `element` is off by so much: what a fault in it would look like."""
    moved = tuple(
        replace(t, threshold=replace(t.threshold, value=t.threshold.value + by)) if t.id == element else t
        for t in code.trips
    )
    stand = connected(replace(code, trips=moved), CHAIN)

    def make() -> Callable[..., GridStatus]:
        step = stand.make()
        protection = step.__self__
        assert isinstance(protection, GridProtection)
        for channel in (protection._pilot, protection._converter):
            for e in channel._all:
                if e.setting.id == element:
                    e.timer._need += delay_by_s
        return step

    return Stand(make, stand.t0)


def pilot(code: GridCode, element: str, stand: Stand | None = None) -> Measured:
    return measure(code, code.trip(element), CHAIN, stand or connected(code, CHAIN), Source.PILOT)


# -------------------------------------------------------------------------------------------------------------- search
@given(st.floats(0.0, 2.0), st.booleans())
def test_the_edge_is_found_wherever_it_is_and_from_either_side(limit: float, over: bool) -> None:
    edge = find_edge(lambda x: x > limit if over else x < limit, -0.1 if over else 2.1, 2.1 if over else -0.1)
    assert edge is not None
    assert abs(edge.outside - edge.inside) <= edges.RESOLUTION
    assert min(edge) - 1e-12 <= limit <= max(edge) + 1e-12


@pytest.mark.parametrize("always", [True, False])
def test_no_edge_is_found_where_there_is_none(always: bool) -> None:
    assert find_edge(lambda _: always, 0.0, 1.0) is None


def test_samples_come_at_their_pace_and_steps_so_long_after_the_first_bad_one() -> None:
    seen: list[tuple[float, list[float]]] = []

    def step(
        now: float, pilot: Sequence[GridSample], converter: Sequence[GridSample], *, converter_expected: bool
    ) -> GridStatus:
        seen.append((round(now, 6), [round(s.t, 6) for s in pilot]))
        return GridStatus(GridState.CONNECTED, True, True, 1.0, False, 0.0, "", "", None, ())

    stress = edges.Stress((1.0, 1.0, 1.0), 50.0, False)
    pace = Pace(0.005, 0.010, 0.004, sparse_from_s=0.018, sparse_to_s=0.25)
    done = run(Stand(lambda: step, 10.0), lambda _: stress, pace, for_s=0.25, nominal_f_hz=50.0, source=Source.PILOT)
    assert done.element is None
    assert math.isnan(done.took_s)
    assert seen[:3] == [(10.009, [10.005]), (10.019, [10.01, 10.015]), (10.119, [10.02])]
    times = [t for _, ts in seen for t in ts]
    assert all(b - a <= 0.1 + 1e-9 for a, b in itertools.pairwise(times))
    assert seen[-1][0] >= 10.25


# ------------------------------------------------------------------------------------------------------------- verdict
def test_every_stage_of_a_code_is_as_the_code_says_by_voltage_and_by_frequency() -> None:
    stand = connected(SPAIN, CHAIN)
    for trip in SPAIN.trips:
        assert list(sources_of(trip, CHAIN)) == [Source.PILOT]  # a relay setting waits alike for both
        found = measure(SPAIN, trip, CHAIN, stand, Source.PILOT)
        assert problems(found) == ()
        assert set(found.edge) == ({"L1", "L2", "L3", "all"} if trip.threshold.unit == "pu" else {""})
        for edge in found.edge.values():
            assert edge is not None
            assert min(edge) - 1e-9 <= trip.threshold.value <= max(edge) + 1e-9


@pytest.mark.parametrize("element", ["OV2", "OF1", "UV1"])
@pytest.mark.parametrize("by", [1e-5, -1e-5])
def test_a_threshold_that_is_off_by_a_hundredth_of_a_thousandth_is_noticed(element: str, by: float) -> None:
    found = pilot(SPAIN, element, changed(SPAIN, element, by=by))
    assert any("trips from" in p for p in problems(found)), found


@pytest.mark.parametrize(("delay_by_s", "words"), [(-0.011, "the relay is set to"), (0.011, "a tick later than")])
def test_a_delay_that_is_off_by_a_step_is_noticed(delay_by_s: float, words: str) -> None:
    found = pilot(SPAIN, "OV2", changed(SPAIN, "OV2", delay_by_s=delay_by_s))
    assert any(words in p for p in problems(found)), found


def test_a_clearing_time_that_is_missed_and_one_that_is_too_short_are_noticed() -> None:
    late = pilot(IEEE, "OV2", changed(IEEE, "OV2", delay_by_s=0.010))
    assert any("to be cleared by 0.16 s" in p for p in problems(late))
    early = pilot(AUSTRALIA, "OV1", changed(AUSTRALIA, "OV1", delay_by_s=-0.1))
    assert any("not before 1 s" in p for p in problems(early))
    off_late = pilot(AUSTRALIA, "OF1", changed(AUSTRALIA, "OF1", delay_by_s=0.010))
    assert any("to be off by 0.2 s" in p for p in problems(off_late))


def test_an_element_that_never_operates_or_is_hidden_by_another_is_noticed() -> None:
    found = pilot(SPAIN, "OV2", changed(SPAIN, "OV2", by=1.0))
    assert found.took_s is None
    assert {"never trips", "L1 OV1 trips in its place"} & set(problems(found))


def test_a_trip_just_inside_is_noticed() -> None:
    trip = SPAIN.trip("OV1")
    found = Measured(trip, Source.PILOT, 1.2, {"all": Edge(1.1, 1.1000005)}, (1.2, 1.207), ("all: OV1",), (), 1.3, 0.01)
    assert problems(found) == ("trips just inside (all: OV1)",)
    assert problems(replace(found, in_vain=())) == ()


def test_the_converter_alone_is_measured_where_it_waits_less_and_is_as_late_as_documented() -> None:
    stand = connected(IEEE, CHAIN)
    ov2, of2 = (measure(IEEE, IEEE.trip(e), CHAIN, stand, Source.CONVERTER) for e in ("OV2", "OF2"))
    assert Source.CONVERTER in sources_of(IEEE.trip("OV2"), CHAIN)
    assert problems(ov2) == ()
    assert problems(of2) == ("open after 0.202 s, to be cleared by 0.16 s",)


# ----------------------------------------------------------------------------------------------------------- stimuli
@pytest.mark.parametrize("name", ["de_vde_ar_n_4105_2018", "en50549_1_2019"])
def test_the_stimulus_of_the_mean_makes_the_mean_and_leaves_plain_stages_alone(name: str) -> None:
    code = load(name, nominal_v=230.0)
    at = edges.mean(code, 1.12, (0, 1, 2), 0.052)
    assert code.mean_10min is not None
    values = [at(0.1 * k).volts[0] for k in range(30 * 10)]
    square = code.mean_10min.method.value == "rms"
    mean = sum(v * v if square else v for v in values) / len(values)
    assert (math.sqrt(mean) if square else mean) == pytest.approx(1.12, abs=1e-9)
    assert values.count(1.0) == 2 * 10  # a dip in every 3-s value


@pytest.mark.parametrize("rising", [True, False])
def test_a_ramp_has_its_rate_and_stays_inside_of_the_frequency_stages(rising: bool) -> None:
    code = load("uk_g99_type_a", nominal_v=230.0, allow_unverified=True)
    trip = next(t for t in code.trips if t.quantity.value == "rocof")
    at = edges.rocof(code, trip, 2.0, rising)
    lo, hi = edges.frequency_band(code)
    course = [at(k / 1000.0) for k in range(20_000)]
    assert all(lo < s.f_hz < hi for s in course)
    rates = {round((b.f_hz - a.f_hz) * 1000.0, 6) for a, b in itertools.pairwise(course) if a.outside}
    assert max(rates, key=abs) == (2.0 if rising else -2.0)
    calm = [abs(b.f_hz - a.f_hz) * 1000.0 for a, b in itertools.pairwise(course) if not b.outside]
    assert max(calm) < 0.5 * trip.threshold.value


def test_stages_are_measured_for_both_ways_of_a_rate_of_change() -> None:
    code = load("se_alp_50549", nominal_v=230.0, allow_unverified=True)
    trip = next(t for t in code.trips if t.quantity.value == "rocof")
    found = measure(code, trip, CHAIN, connected(code, CHAIN), Source.PILOT)
    assert set(found.edge) == {"rising", "falling"}
    assert problems(found) == ()


# ------------------------------------------------------------------------------------------------------------ document
WRITTEN = (ROOT / "docs" / "conformance.md").read_text()


@pytest.mark.parametrize("name", ["es_rd1699", "no_lv"])
def test_a_slice_of_the_document_is_current(name: str) -> None:
    assert document.head(CHAIN) in WRITTEN, "run `make docs`"
    assert "\n".join(document.section(name, CHAIN, {})) + "\n" in WRITTEN, "run `make docs`"


def test_the_document_has_every_profile_and_nothing_that_is_not_as_the_code_says() -> None:
    for name in names(refused=True):
        assert f"\n### {name}\n" in WRITTEN
    assert "NOT as the code says" not in WRITTEN


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_document_is_current() -> None:
    assert document.render() == WRITTEN, "run `make docs`"


def _long_stages() -> list[tuple[GridCode, list[TripSetting]]]:
    """Codes with their stages that wait for more than 5 s, each stage at the first code that has it."""
    found, seen = [], set()
    for name in names():
        code, _ = document.profile_of(name)
        if code is None:
            continue
        own = []
        for trip in code.trips:
            numbers = tuple((key, setting.value) for key, setting in trip.numbers())
            stage = (code.nominal_f_hz, trip.quantity, trip.side, numbers)
            if stage not in seen and max(value for key, value in numbers if key != "threshold") > 5.0:
                seen.add(stage)
                own.append(trip)
        if own:
            found.append((code, own))
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("code", "trips"), [pytest.param(*entry, id=entry[0].name) for entry in _long_stages()])
def test_stages_that_wait_for_long_give_the_same_with_samples_every_five_milliseconds(
    code: GridCode, trips: list[TripSetting]
) -> None:
    stand = connected(code, CHAIN)
    for trip in trips:
        fine = measure(code, trip, CHAIN, stand, Source.PILOT, fine=True)
        assert problems(fine) == ()


def test_all_paces_of_the_fine_kind_are_those_of_the_board() -> None:
    assert {(p.sample_s, p.tick_s) for p in FINE} == {(CHAIN.report_period_s, CHAIN.tick_s)}
