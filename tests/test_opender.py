"""Held against OpenDER: every difference has a reason, the reasons are used, and the judge can say no."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firmware.grid_codes import inspect, load, names
from firmware.grid_support.settings import settings_of
from firmware.protection.types import GridSample
from firmware.replay import replay
from tests.bench import opender, opender_model
from tests.bench.opender_cases import IDEAL, RATED_W, REASONS, Case, cases
from tests.bench.opender_compare import Verdict, compare, judge
from tests.bench.opender_document import DOCUMENT, render
from tests.bench.opender_model import Result

needed = pytest.mark.skipif(not opender_model.installed(), reason=opender_model.MISSING)


def case(name: str) -> Case:
    (found,) = [c for c in cases() if c.name == name]
    return found


# ------------------------------------------------------------------------------------------------- without OpenDER
def test_the_names_of_cases_differ_and_every_reason_is_allowed_somewhere() -> None:
    titles = [c.name for c in cases()]
    assert len(set(titles)) == len(titles) > 100
    assert {reason for c in cases() for reason in c.allowed} == set(REASONS)


def judged(like: str, **changes: object) -> Verdict:
    """What the judge says when the other side does what ours did, with something changed in its rows."""
    c = case(like)
    own = replay(
        c.samples(), c.code, IDEAL, rated_w=RATED_W, p_set_w=c.p_set_pu * RATED_W, support=c.support,
        in_service=c.in_service,
    )  # fmt: skip
    rows = []
    for p in own.series:
        on = p.state in ("connected", "riding_through")
        tripped = p.state in ("tripped", "waiting")
        element = own.first_trip.element if own.first_trip and tripped else ""
        rows.append(Result(p.t_s, p.p_w / RATED_W, p.q_var / RATED_W, on, tripped, element)._replace(**changes))
    return judge(c, own, rows)


def test_two_that_do_the_same_need_no_reason() -> None:
    for name in ("one phase (L1): sag to 0.3 pu", "droop: +0.3 pu, 60 -> 60.5 Hz and back"):
        verdict = judged(name)
        assert (verdict.used, verdict.unexplained) == ((), ())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tripped": False, "on": True}, "OpenDER trips: None"),
        ({"element": "UV1"}, "OpenDER by UV1"),
        ({"p_pu": 0.3}, "P differs by"),
        ({"q_pu": -0.2}, "Q differs by"),
        ({"on": False}, "exactly one of the two"),
    ],
)
def test_a_difference_that_no_reason_of_the_case_predicts_is_told(changes: dict[str, object], words: str) -> None:
    assert any(words in sentence for sentence in judged("one phase (L1): sag to 0.3 pu", **changes).unexplained)


# ---------------------------------------------------------------------------------------------------- with OpenDER
@pytest.mark.slow
@needed
@pytest.mark.timeout(600)
def test_every_difference_from_opender_is_explained_and_the_document_is_current() -> None:
    verdicts = [compare(c) for c in cases()]
    assert [(v.case.name, v.unexplained) for v in verdicts if v.unexplained] == []
    assert DOCUMENT.read_text() == render(verdicts), "run `make docs`"
    assert {reason for v in verdicts for reason in v.used} == set(REASONS)


@pytest.mark.slow
@needed
@pytest.mark.parametrize("name", [name for name in names() if not inspect(name).missing])
def test_in_the_bench_both_are_out_of_service_in_the_same_steps(name: str) -> None:
    """Else they would not do the same work. OpenDER's delays end a step early (reason "step")."""
    code = load(name, nominal_v=inspect(name).nominal_v, allow_unverified=True)
    points = opender.series(1200)
    model = opender_model.build(code, settings_of(code, RATED_W), RATED_W, chain=opender.CHAIN)
    samples = [GridSample(t, v, opender_model.MODEL_HZ + df) for t, v, df in points]
    rows = opender_model.run(model, samples, opender.TICK_S, opender.P_SET_W / RATED_W)
    protection, _ = opender.ready(code)
    apart = 0
    for k, ((t, v, df), row) in enumerate(zip(points, rows, strict=True)):
        sample = GridSample(t, v, code.nominal_f_hz + df)
        status = protection.step(t, [sample], [sample] if k % 5 == 0 else [], converter_expected=True)
        apart += status.may_connect is row.tripped
    assert apart <= 1


@pytest.mark.slow
@needed
def test_a_charger_that_trips_late_is_found_against_opender() -> None:
    late = case("one phase (L1): sag to 0.3 pu")
    uv2 = late.code.trip("UV2")
    slow = replace(uv2.time, limit=replace(uv2.time.limit, value=2.1))  # type: ignore[union-attr]
    trips = tuple(replace(t, time=slow) if t.id == "UV2" else t for t in late.code.trips)
    ours = replace(late, code=replace(late.code, trips=trips))
    # OpenDER keeps the right time: it is set from the untouched case.
    verdict = _against(ours, late)
    assert any("after OpenDER" in sentence for sentence in verdict.unexplained)


def _against(ours: Case, theirs: Case) -> Verdict:
    support = ours.support
    assert support is not None
    own = replay(
        ours.samples(), ours.code, IDEAL, rated_w=RATED_W, p_set_w=ours.p_set_pu * RATED_W, support=support,
        in_service=ours.in_service,
    )  # fmt: skip
    model = opender_model.build(theirs.code, support, RATED_W)
    return judge(ours, own, opender_model.run(model, theirs.samples(), theirs.dt_s, theirs.p_set_pu))


@pytest.mark.slow
@needed
def test_the_class_wide_time_step_of_opender_is_put_back() -> None:
    from opender.der import DER

    before = DER.t_s
    compare(case("power factor 0.95 absorbing, -0.6 pu"))
    assert DER.t_s == before
