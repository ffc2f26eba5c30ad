"""Verdicts as pure functions: every demand can pass, fail and be undecided; a fault of the rig is not the unit's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.bench.capture import Capture, CaptureError, Channel, Event
from hil.scenarios.follow import Follow
from hil.scenarios.verdict import (
    KINDS,
    START,
    Band,
    Instant,
    Must,
    Outcome,
    Verdict,
    describe,
    instants,
    judge,
    worst,
)

LINE = Follow("v", "q", ((0.0, 1.0),), 0.0, 0.0)
P, F, U, E = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.ERROR
PERIOD_S = 0.001
T0 = Instant("t0", Band("grid_vmin_pu", high=0.5))


def capture(
    gone_s: float = 0.3,
    *,
    sag_s: float = 0.2,
    length_s: float = 1.0,
    accuracy: float = 0.0,
    events: Sequence[Event] = (),
) -> Capture:
    """A sag at sag_s; 30 A of AC and DC current until gone_s."""
    names = {"grid_vmin_pu": 0.0, "ac_a": accuracy, "dc_a": accuracy, "k_dc": 0.0}
    made = Capture({name: Channel(name, "", a) for name, a in names.items()}, period_s=PERIOD_S, events=list(events))
    for k in range(round(length_s / PERIOD_S) + 1):
        t = k * PERIOD_S
        amps = 30.0 if t <= gone_s + 1e-9 else 0.0
        low = 0.2 if t >= sag_s - 1e-9 else 1.0
        made.add(t, {"grid_vmin_pu": low, "ac_a": amps, "dc_a": -amps, "k_dc": float(amps > 0.0)})
    return made


def verdict(made: Capture, must: Must, defined: tuple[Instant, ...] = (T0,)) -> Verdict:
    (outcome,) = judge(made, [must], defined)
    return outcome.verdict


def ceases(within_s: float, **more: float) -> Must:
    return Must("ceases", "test", "t0", within_s=within_s, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("limit_s", "wanted"), [(0.16, P), (0.1015, P), (0.1005, U), (0.1, U), (0.0985, F), (0.05, F)])
def test_a_clearing_time_near_its_limit_decides_nothing(limit_s: float, wanted: Verdict) -> None:
    assert verdict(capture(0.3), ceases(limit_s)) is wanted  # 0.1 s, known to one sample


def test_current_that_never_ceases_fails_and_a_recording_too_short_decides_nothing() -> None:
    assert verdict(capture(9.0), ceases(0.16)) is F
    assert verdict(capture(9.0, length_s=0.3), ceases(0.16)) is U


def test_current_that_comes_back_has_not_ceased() -> None:
    made = capture(0.25)
    made.series["dc_a"][800] = 3.0
    assert verdict(made, ceases(0.16)) is F
    assert verdict(made, ceases(0.16, until_s=0.5)) is P


def test_a_current_on_one_side_only_is_a_current() -> None:
    made = capture(0.25)
    made.series["ac_a"] = [30.0] * len(made.t)
    assert verdict(made, ceases(0.16)) is F


def test_ceasing_too_early_fails_when_a_ride_through_is_demanded() -> None:
    assert verdict(capture(0.3), ceases(0.5, not_before_s=0.2)) is F
    assert verdict(capture(0.3), ceases(0.5, not_before_s=0.05)) is P


@given(gone_s=st.floats(0.21, 0.9), limit_s=st.floats(0.0, 0.7))
def test_a_verdict_on_time_is_never_wrong_by_more_than_the_uncertainty(gone_s: float, limit_s: float) -> None:
    found = verdict(capture(gone_s), ceases(limit_s))
    true_s = gone_s - 0.2
    if found is P:
        assert true_s <= limit_s + 2 * PERIOD_S
    elif found is F:
        assert true_s >= limit_s - 2 * PERIOD_S
    else:
        assert abs(true_s - limit_s) <= 3 * PERIOD_S


def test_time_runs_from_the_recorded_disturbance_not_from_the_beginning() -> None:
    assert instants(capture(sag_s=0.2), (T0,)) == {START: 0.0, "t0": pytest.approx(0.2)}
    assert verdict(capture(0.7, sag_s=0.6), ceases(0.16)) is P
    assert verdict(capture(0.7, sag_s=0.2), ceases(0.16)) is F


def test_a_disturbance_that_is_not_in_the_recording_is_an_error_of_the_rig() -> None:
    (outcome,) = judge(capture(sag_s=9.0), [ceases(0.16)], (T0,))
    assert outcome.verdict is E
    assert "the rig did not play" in outcome.found


def test_a_channel_that_was_not_recorded_is_an_error() -> None:
    assert verdict(capture(), Must("always", "x", band=Band("dc_w", high=1.0))) is E
    assert verdict(Capture({}), ceases(0.16), ()) is E


@pytest.mark.parametrize(
    ("high", "always", "never"), [(31.0, P, F), (30.1, U, F), (30.0, U, F), (29.9, U, U), (29.0, F, U), (-1.0, F, P)]
)
def test_a_value_nearer_to_its_limit_than_the_accuracy_decides_nothing(
    high: float, always: Verdict, never: Verdict
) -> None:
    """30 A, then none, known to 0.3 A. `never x <= high` looks at the smallest."""
    made = capture(0.3, accuracy=0.3)
    assert verdict(made, Must("always", "x", band=Band("ac_a", high=high))) is always
    if high != 29.9 and high != 29.0:
        assert verdict(made, Must("never", "x", band=Band("ac_a", high=high))) is never


def test_a_window_beyond_the_recording_decides_nothing_but_a_violation_inside_of_it_fails() -> None:
    made = capture(0.3)
    later = Must("always", "x", "t0", Band("ac_a", high=1.0), from_s=0.3, until_s=5.0)
    assert verdict(made, later) is U
    assert verdict(made, Must("always", "x", "t0", Band("ac_a", high=1.0), until_s=5.0)) is F
    assert verdict(made, Must("never", "x", "t0", Band("k_dc", low=0.5), from_s=0.3, until_s=5.0)) is U
    assert verdict(made, Must("never", "x", "t0", Band("k_dc", low=0.5), until_s=0.5)) is F


@pytest.mark.parametrize(("within_s", "wanted"), [(0.2, P), (0.1015, U), (0.05, F)])
def test_reaches_is_timed(within_s: float, wanted: Verdict) -> None:
    assert verdict(capture(0.3), Must("reaches", "x", "t0", Band("k_dc", high=0.5), within_s=within_s)) is wanted


def test_reaching_for_a_moment_is_not_staying() -> None:
    made = capture(0.3)
    made.series["k_dc"][700] = 1.0
    must = Must("reaches", "x", "t0", Band("k_dc", high=0.5), within_s=0.2)
    assert verdict(made, must) is P
    assert verdict(made, Must("reaches", "x", "t0", Band("k_dc", high=0.5), within_s=0.2, stays=True)) is F


def test_magnitude_looks_at_both_signs() -> None:
    made = capture(9.0)
    assert verdict(made, Must("always", "x", band=Band("dc_a", high=1.0))) is P
    assert verdict(made, Must("always", "x", band=Band("dc_a", high=1.0, magnitude=True))) is F


def trip(t: float, detail: str = "Tripped by UV2", *, cleared: bool = False) -> Event:
    return Event(t, "grid_trip", detail, cleared)


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        ([], F),
        ([trip(0.4)], P),
        ([trip(0.1)], F),  # before the disturbance: not because of it
        ([trip(0.4), trip(0.6)], F),
        ([trip(0.4), trip(0.6, cleared=True)], P),  # its end is not a second one
        ([trip(0.4, "Tripped by OV2")], F),
    ],
)
def test_an_event_exactly_once_after_the_disturbance(events: list[Event], wanted: Verdict) -> None:
    must = Must("event", "x", "t0", code="grid_trip", detail="UV2", at_most=1)
    assert verdict(capture(events=events), must) is wanted


def test_no_event_and_events_in_time_and_order() -> None:
    made = capture(events=[trip(0.4), Event(0.5, "state", "open contactors"), Event(0.6, "session_ended", "grid")])
    assert verdict(made, Must("event", "x", "t0", code="fault", at_least=0, at_most=0)) is P
    assert verdict(made, Must("event", "x", "t0", code="grid_trip", at_least=0, at_most=0)) is F
    assert verdict(made, Must("event", "x", "t0", code="grid_trip", within_s=0.3)) is P
    assert verdict(made, Must("event", "x", "t0", code="grid_trip", within_s=0.1)) is F
    assert verdict(made, Must("event", "x", "t0", code="grid_trip", within_s=0.2)) is U
    assert verdict(made, Must("event", "x", "t0", code="late", within_s=5.0)) is U
    assert verdict(made, Must("order", "x", codes=("grid_trip", "state:open contactors", "session_ended"))) is P
    assert verdict(made, Must("order", "x", codes=("session_ended", "grid_trip"))) is F


def test_states_are_entered_in_time_or_never() -> None:
    made = capture(events=[Event(0.5, "state", "fault")])
    assert verdict(made, Must("state", "x", "t0", state="fault", within_s=0.4)) is P
    assert verdict(made, Must("state", "x", "t0", state="fault", within_s=0.2)) is F
    assert verdict(made, Must("state", "x", "t0", state="idle", within_s=0.4)) is F
    assert verdict(made, Must("state", "x", "t0", state="idle", within_s=9.0)) is U
    assert verdict(made, Must("never_state", "x", "t0", state="fault")) is F
    assert verdict(made, Must("never_state", "x", "t0", state="fault", until_s=0.2)) is P
    assert verdict(made, Must("never_state", "x", "t0", state="idle", until_s=9.0)) is U


def test_the_worst_of_many_and_nothing_to_judge_is_an_error() -> None:
    assert worst([P, P]) is P
    assert worst([P, U]) is U
    assert worst([P, F, U]) is F
    assert worst([F, E]) is E
    assert worst([]) is E


def test_every_kind_has_its_sentence() -> None:
    for kind in KINDS:
        band = Band("ac_a", 0.0, 1.0)
        text = describe(
            Must(kind, "x", "t0", band, within_s=1.0, state="idle", code="grid_trip", codes=("a", "b"), follow=LINE)
        )
        assert "None" not in text
        assert text


def test_a_capture_comes_back_from_json_as_it_was_and_a_damaged_one_is_refused() -> None:
    made = capture(events=[trip(0.4)])
    again = Capture.from_json(made.to_json())
    assert again == made
    data = made.to_json()
    data["series"]["ac_a"] = [1.0]
    with pytest.raises(CaptureError, match="not as many values"):
        Capture.from_json(data)
    with pytest.raises(CaptureError, match="no capture"):
        Capture.from_json({})


def test_an_outcome_says_what_was_demanded_and_found() -> None:
    (outcome,) = judge(capture(0.3), [ceases(0.16)], (T0,))
    assert outcome == Outcome(P, "current ceases within 0.16 s of t0", outcome.found, "test")
    assert math.isclose(float(outcome.found.split()[0]), 0.1, abs_tol=1e-3)
