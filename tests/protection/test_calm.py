"""What is not done on a calm grid: the step is only fast enough because nobody judges what nothing can come of."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from firmware.protection.channel import MAX_AHEAD_S, Channel
from firmware.protection.enter_service import Window
from firmware.protection.frequency_trip import FrequencyTrip
from firmware.protection.grid import GridProtection
from firmware.protection.islanding import Islanding, Mode
from firmware.protection.ride_through import RideThrough
from firmware.protection.types import GridSample, GridState, Source, Transfer
from firmware.protection.voltage_trip import VoltageTrip
from tests.protection.bench import CHAIN, IEEE_AT_ONCE, VDE, Bench, Volts, all_phases, one_phase

STEP_S = 0.0078125  # 1/128 s: sums of it are exact


def calm(source: Source = Source.PILOT) -> Channel:
    """After a good sample at 0 s."""
    channel = Channel(source, VDE, CHAIN, Window(VDE.enter_service))
    channel.begin(0.0)
    channel.take(0.0, [GridSample(0.0, all_phases(1.0), 50.0)], None)
    assert channel.idle
    return channel


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Times at which a channel went the long way."""
    found: list[float] = []
    real = Channel._judge
    monkeypatch.setattr(Channel, "_judge", lambda self, now, *rest: [found.append(now), *real(self, now, *rest)][1:])
    return found


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the elements that judged something."""
    found: list[str] = []

    def recorded(real):  # type: ignore[no-untyped-def]
        return lambda self, *args: (found.append(self.id), real(self, *args))[1]

    for kind in (VoltageTrip, FrequencyTrip):
        monkeypatch.setattr(kind, "feed", recorded(kind.feed))
    return found


def corners() -> Iterator[tuple[Volts, float]]:
    v_min, v_max, f_min, f_max = calm()._box
    yield all_phases(1.0), 50.0
    for phase in range(3):
        yield one_phase(phase, v_min), f_min
        yield one_phase(phase, v_max), f_max
    yield all_phases(v_min), f_max
    yield all_phases(v_max), f_min


def test_at_the_very_ends_of_what_everybody_allows_nobody_judges(judged: list[float]) -> None:
    channel, seen = calm(), list(corners())
    del judged[:]
    for k, (v, f) in enumerate(seen, 1):
        assert channel.take(k * STEP_S, [GridSample(k * STEP_S, v, f)], None) == ()
        assert channel.idle
    assert judged == []


def test_at_the_ends_of_continuous_operation_nobody_asks_for_the_rows_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float, float]] = []
    monkeypatch.setattr(RideThrough, "judge", lambda _self, *values: asked.append(values))
    for v, f in corners():
        channel = Channel(Source.PILOT, VDE, CHAIN, Window(VDE.enter_service))
        channel.begin(0.0)
        channel.take(0.0, [GridSample(0.0, v, f)], None)
    assert asked == []


def test_a_sample_as_late_or_as_early_as_may_be_is_calm_too(judged: list[float]) -> None:
    channel = calm()
    del judged[:]
    latest = channel._max_age_s
    channel.take(latest, [], None)
    channel.take(latest, [GridSample(latest, all_phases(1.0), 50.0)], None)
    t = latest + STEP_S
    channel.take(t, [GridSample(t + MAX_AHEAD_S, all_phases(1.0), 50.0)], None)
    assert judged == []
    assert channel.refused == 0


@pytest.mark.parametrize("t", [1.0, 1.0 - STEP_S])
def test_a_sample_that_is_not_newer_is_refused_on_a_calm_grid_too(t: float) -> None:
    channel = calm()
    for k in range(1, 129):
        channel.take(k * STEP_S, [GridSample(k * STEP_S, all_phases(1.0), 50.0)], None)
    kept = channel.last
    channel.take(1.0, [GridSample(t, all_phases(1.01), 50.0)], None)
    assert channel.refused == 1
    assert channel.last is kept


# (side, a voltage and frequency outside on it, the same back at its end); everything else is at its own end.
V_MIN, V_MAX, F_MIN, F_MAX = calm()._box
SIDES = [
    ("UV", (0.79, V_MAX, 1.0), (V_MIN, V_MAX, 1.0), F_MIN, F_MIN),
    ("UV", (0.79, V_MAX, 1.0), (V_MIN, V_MAX, 1.0), F_MAX, F_MAX),
    ("OV", (V_MIN, 1.16, 1.0), (V_MIN, V_MAX, 1.0), F_MIN, F_MIN),
    ("OV", (V_MIN, 1.16, 1.0), (V_MIN, V_MAX, 1.0), F_MAX, F_MAX),
    ("UF", (V_MIN, V_MAX, 1.0), (V_MIN, V_MAX, 1.0), 48.9, F_MIN),
    ("OF", (V_MIN, V_MAX, 1.0), (V_MIN, V_MAX, 1.0), 51.1, F_MAX),
]


@pytest.mark.parametrize(("side", "bad_v", "back_v", "bad_f", "back_f"), SIDES)
def test_only_the_elements_of_the_side_that_is_outside_judge_and_once_more_when_it_is_back(
    side: str, bad_v: Volts, back_v: Volts, bad_f: float, back_f: float, fed: list[str]
) -> None:
    channel = calm()
    mine = {e.id for e in (*channel._voltage, *channel._frequency) if e.id.startswith(side)}
    for k, (v, f, who) in enumerate(((bad_v, bad_f, mine), (back_v, back_f, mine), (back_v, back_f, set())), 1):
        del fed[:]
        channel.take(k * STEP_S, [GridSample(k * STEP_S, v, f)], None)
        assert set(fed) == who
        assert len(fed) == len(who)


def test_who_waits_on_a_calm_grid_is_given_other_words_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []
    real = GridProtection._explain_waiting
    monkeypatch.setattr(
        GridProtection,
        "_explain_waiting",
        lambda self, problem, left_s: (made.append(left_s), real(self, problem, left_s))[1],
    )
    bench = Bench(VDE)
    for _ in range(200):
        assert bench.see(tick_ms=50).state is GridState.WAITING
    # The first sample makes the channel idle, the second one the words; then with each whole second.
    assert made == pytest.approx([60.0, 59.95, *(59.0 - k for k in range(9))])


@pytest.mark.parametrize("expected", [False, True])
def test_in_full_service_on_a_calm_grid_the_verdict_is_the_one_of_before(expected: bool) -> None:
    bench = Bench(IEEE_AT_ONCE, expected=expected).enter()
    status = bench.hold(310.0, tick_ms=50)
    assert (status.power_limit_pu, status.ramping) == (1.0, False)
    assert bench.see() is status
    assert bench.see(0.95) is status
    assert bench.see(0.8) is not status


@pytest.mark.parametrize("mode", Mode)
def test_in_service_on_a_calm_grid_nobody_looks_for_trips_excursions_or_lost_sources(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With anti-islanding too, which has something new to say in each step."""
    islanding = Islanding(mode, IEEE_AT_ONCE.nominal_f_hz, random.Random(1))
    bench = Bench(IEEE_AT_ONCE, expected=True, islanding=islanding).enter()
    bench.hold(0.1)
    for name in ("_trip", "_ride", "_watch_sense", "_wait"):
        monkeypatch.setattr(GridProtection, name, None)
    assert bench.hold(1.0, 1.04).state is GridState.CONNECTED
    with pytest.raises(TypeError):
        bench.see(0.8)


def test_an_island_outside_of_the_window_is_told_with_what_keeps_the_charger_out() -> None:
    """1.08 pu and a few tenths of a hertz are continuous operation: nobody looks at the window in service."""
    islanding = Islanding(Mode.ACTIVE, IEEE_AT_ONCE.nominal_f_hz, random.Random(1))
    protection, past = GridProtection(IEEE_AT_ONCE, CHAIN, islanding=islanding), [0.0] * 8
    for k in range(1, 400):
        t, v = k / 100.0, all_phases(1.0 if k < 50 else 1.08)
        two = [GridSample(x, v, 60.0 + 8.0 * past[-8]) for x in (t - 0.005, t)]
        status = protection.step(t, two, [], converter_expected=False, transfer=Transfer(-1.0, past[-1]))
        if status.state is GridState.TRIPPED:
            break
        past.append(status.probe_tan_phi)
    assert status.last_trip is not None
    assert status.last_trip.element == "ISLAND"
    assert status.reason.endswith("Will not connect: L1 1.080 pu is outside 0.917..1.05 pu.")


def test_who_looks_for_no_island_asks_for_no_probe() -> None:
    bench = Bench(IEEE_AT_ONCE).enter()
    assert {bench.see(v).probe_tan_phi for v in (1.0, 0.8, 0.4, 1.0)} == {0.0}


def test_a_sample_as_early_as_may_be_is_judged_too() -> None:
    channel = calm()
    channel.take(0.0, [GridSample(MAX_AHEAD_S, all_phases(0.5), 50.0)], None)
    assert (channel.refused, channel.idle) == (0, False)
    channel.take(0.0, [GridSample(MAX_AHEAD_S + 1e-6, all_phases(0.5), 50.0)], None)
    assert channel.refused == 1


@pytest.mark.parametrize("phase", range(3))
@pytest.mark.parametrize(("v_pu", "carries"), [(1.0, True), (0.5, False), (1.3, False)])
def test_one_phase_outside_of_continuous_operation_is_enough_not_to_carry(
    phase: int, v_pu: float, carries: bool
) -> None:
    channel = calm()
    channel.take(0.01, [GridSample(0.01, one_phase(phase, v_pu), 50.0)], None)
    assert channel.carries(0.01) is carries
