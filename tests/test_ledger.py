"""The ledger: registers that only rise, from counters that start at zero with every guard process."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.energy.ledger import BURST_S, PLAUSIBLE_RATIO, Ledger, LedgerError, LedgerState

MAX_W = 22_000.0
T0 = 1_800_000_000.0


def ledger(state: LedgerState | None = None) -> Ledger:
    return Ledger(MAX_W, state)


def test_the_first_report_is_taken_whole_and_the_next_ones_by_their_difference() -> None:
    book = ledger()
    assert book.apply("a", 5.0, 2.0, T0).refused == ""
    applied = book.apply("a", 5.5, 2.25, T0 + 1.0)
    assert (applied.charged_wh, applied.discharged_wh) == (0.5, 0.25)
    assert (book.charged_wh, book.discharged_wh) == (5.5, 2.25)


def test_charged_and_discharged_energy_are_never_netted() -> None:
    book = ledger()
    for i in range(1, 11):
        book.apply("a", float(i), float(i), T0 + i)
    assert (book.charged_wh, book.discharged_wh) == (10.0, 10.0)


def test_a_new_guard_process_adds_its_whole_counter_to_the_old_registers() -> None:
    book = ledger()
    book.apply("a", 40.0, 7.0, T0)
    applied = book.apply("b", 0.5, 0.0, T0 + 5.0)
    assert applied.charged_wh == 0.5
    assert (book.charged_wh, book.discharged_wh) == (40.5, 7.0)


def test_a_late_report_of_a_guard_process_that_ended_is_not_counted_twice() -> None:
    book = ledger()
    book.apply("a", 40.0, 0.0, T0)
    book.apply("b", 0.1, 0.0, T0 + 1.0)
    assert "a, which has ended" in book.apply("a", 40.0, 0.0, T0 + 1.1).refused
    assert book.charged_wh == 40.1


@pytest.mark.parametrize(
    ("charged_wh", "discharged_wh", "part"),
    [
        (math.nan, 0.0, "nan"),
        (0.0, math.inf, "inf"),
        (-0.001, 0.0, "-0.001"),
        (9.99, 3.0, "went back"),
        (10.0, 2.99, "went back"),
        (10_000.0, 3.0, "jumped"),
        (10.0, 10_000.0, "jumped"),
    ],
)
def test_a_report_that_cannot_be_true_changes_nothing_and_says_why(
    charged_wh: float, discharged_wh: float, part: str
) -> None:
    book = ledger()
    book.apply("a", 10.0, 3.0, T0)
    before = book.state
    assert part in book.apply("a", charged_wh, discharged_wh, T0 + 0.1).refused
    assert book.state == before
    assert book.refused == 1
    # and the next sound report brings everything that was missed
    book.apply("a", 10.5, 3.0, T0 + 1.0)
    assert book.charged_wh == 10.5


def test_only_the_first_of_a_run_of_refusals_is_marked_for_the_log() -> None:
    book = ledger()
    book.apply("a", 10.0, 0.0, T0)
    assert [book.apply("a", 1.0, 0.0, T0 + i).first for i in (1, 2, 3)] == [True, False, False]
    book.apply("a", 10.1, 0.0, T0 + 4)
    assert book.apply("a", 1.0, 0.0, T0 + 5).first


def test_a_counter_with_the_wrong_unit_is_refused_within_the_burst_allowance() -> None:
    """A counter in watt-seconds (x 3600) and one ten times too fast must not get through report by report."""
    for factor in (3600.0, 10.0):
        book = ledger()
        book.apply("a", 0.0, 0.0, T0)
        for i in range(1, 601):  # a minute at ten reports a second
            book.apply("a", factor * MAX_W / 3600.0 * 0.1 * i, 0.0, T0 + 0.1 * i)
        assert book.refused > 0
        assert book.charged_wh <= PLAUSIBLE_RATIO * MAX_W / 3600.0 * (60.0 + BURST_S) + 1e-6


def test_reports_that_waited_in_a_queue_are_all_believed() -> None:
    book = ledger()
    book.apply("a", 0.0, 0.0, T0)
    for i in range(1, 61):  # six seconds of full power, read at one instant
        assert book.apply("a", MAX_W / 3600.0 * 0.1 * i, 0.0, T0 + 6.0).refused == ""


def test_energy_that_flowed_while_services_were_away_is_believed_by_the_time_away() -> None:
    book = ledger()
    book.apply("a", 1.0, 0.0, T0)
    again = ledger(LedgerState.from_dict(book.state.as_dict()))
    assert again.apply("a", 1.0 + MAX_W / 6.0, 0.0, T0 + 600.0).refused == ""
    assert again.charged_wh == pytest.approx(1.0 + MAX_W / 6.0)


def test_a_wall_clock_set_back_does_not_stop_the_registers() -> None:
    book = ledger()
    book.apply("a", 1.0, 0.0, T0)
    step = MAX_W / 3600.0 * 0.1
    for i in range(1, 100):
        book.apply("a", 1.0 + step * i, 0.0, T0 - 3600.0 + 0.1 * i)
    assert book.refused == 0
    assert book.charged_wh == pytest.approx(1.0 + step * 99)


def test_a_session_takes_the_registers_at_both_ends() -> None:
    book = ledger()
    book.apply("a", 100.0, 50.0, T0)
    started = book.start_session(T0 + 1.0, soc_pct=40.0)
    assert started.open
    assert started.charged_wh is None
    book.apply("a", 110.0, 50.0, T0 + 10.0)
    book.apply("a", 110.0, 53.0, T0 + 20.0)
    assert book.session_energy_wh() == (10.0, 3.0)
    ended = book.end_session(T0 + 21.0, "the car ended it", soc_pct=45.0)
    assert (ended.number, ended.charged_wh, ended.discharged_wh, ended.reason) == (1, 10.0, 3.0, "the car ended it")
    assert (ended.start_soc_pct, ended.end_soc_pct) == (40.0, 45.0)
    assert book.session is None
    assert book.start_session(T0 + 30.0).number == 2


def test_an_open_session_goes_on_after_a_restart_of_services() -> None:
    book = ledger()
    book.apply("a", 100.0, 0.0, T0)
    session = book.start_session(T0)
    again = Ledger(MAX_W, book.state, session)
    again.apply("a", 101.0, 0.0, T0 + 5.0)
    assert again.end_session(T0 + 6.0, "done").charged_wh == 1.0


def test_sessions_refuse_to_overlap_or_to_end_twice() -> None:
    book = ledger()
    with pytest.raises(LedgerError, match="no session is open"):
        book.end_session(T0, "x")
    session = book.start_session(T0)
    with pytest.raises(LedgerError, match="session 1 is still open"):
        book.start_session(T0)
    ended = book.end_session(T0 + 1, "x")
    with pytest.raises(LedgerError, match="session 1 has ended"):
        Ledger(MAX_W, book.state, ended)
    assert session.number == ended.number


def test_a_stored_state_with_impossible_values_is_refused_with_a_sentence() -> None:
    good = LedgerState("a", 1.0, 2.0, 3.0, 4.0, T0, ("x",), 5).as_dict()
    assert LedgerState.from_dict(good).charged_wh == 4.0
    with pytest.raises(LedgerError, match="base_charged_wh is nan"):
        LedgerState.from_dict({**good, "base_charged_wh": math.nan})
    with pytest.raises(LedgerError, match="expected the fields"):
        LedgerState.from_dict({"boot": "a"})
    with pytest.raises(LedgerError, match="max_power_w is 0"):
        Ledger(0)


# ------------------------------------------------------------------------------------------------------- properties
wild = st.one_of(st.floats(), st.floats(0.0, 1e6), st.sampled_from([math.nan, math.inf, -1.0, 0.0]))
reports = st.lists(
    st.tuples(st.sampled_from(["", "a", "b", "c"]), wild, wild, st.one_of(st.floats(T0, T0 + 1e6), st.floats())),
    max_size=60,
)


@given(reports)
def test_whatever_is_reported_no_register_ever_goes_back_or_stops_being_a_number(
    rows: list[tuple[str, float, float, float]],
) -> None:
    book = ledger()
    for row in rows:
        before = book.state
        applied = book.apply(*row)
        assert math.isfinite(book.charged_wh)
        assert math.isfinite(book.discharged_wh)
        assert book.charged_wh >= before.charged_wh
        assert book.discharged_wh >= before.discharged_wh
        if applied.refused:
            assert (book.charged_wh, book.discharged_wh) == (before.charged_wh, before.discharged_wh)
        assert LedgerState.from_dict(book.state.as_dict()) == book.state


@given(
    st.lists(
        st.tuples(
            st.floats(0.05, 100.0),  # seconds to the next report
            st.floats(-1.0, 1.0),  # power, share of the highest; + charges
            st.sampled_from(["go", "go", "go", "glitch", "services restart", "guard restart"]),
        ),
        max_size=80,
    )
)
def test_with_an_honest_guard_the_registers_are_the_true_energy_whatever_restarts_and_glitches_happen(
    rows: list[tuple[float, float, str]],
) -> None:
    book, t, boot = ledger(), T0, 0
    true = [0.0, 0.0]  # over all guard processes
    counters = [0.0, 0.0]
    book.apply("0", 0.0, 0.0, t)
    for dt_s, share, what in rows:
        if what == "guard restart":
            boot += 1
            counters = [0.0, 0.0]
        elif what == "services restart":
            book = ledger(LedgerState.from_dict(book.state.as_dict()))
        elif what == "glitch":
            assert book.apply(str(boot), counters[0] + 1e9, counters[1], t).refused
        t += dt_s
        energy = abs(share) * MAX_W * dt_s / 3600.0
        side = 0 if share >= 0 else 1
        counters[side] += energy
        true[side] += energy
        assert book.apply(str(boot), counters[0], counters[1], t).refused == ""
    assert book.charged_wh == pytest.approx(true[0], abs=1e-6)
    assert book.discharged_wh == pytest.approx(true[1], abs=1e-6)


@given(reports)
def test_no_sequence_of_reports_outruns_the_highest_plausible_power(
    rows: list[tuple[str, float, float, float]],
) -> None:
    book, t = ledger(), T0
    book.apply("a", 0.0, 0.0, t)
    for boot, charged, discharged, when in rows:
        if math.isfinite(when) and when >= t:  # time only moves on here; the clock set back has its own test
            t = min(when, t + 100.0)
        book.apply(boot, charged, discharged, t)
    limit = PLAUSIBLE_RATIO * MAX_W / 3600.0 * (t - T0 + BURST_S)
    assert book.charged_wh + book.discharged_wh <= limit * (1 + 1e-9) + 1e-6
