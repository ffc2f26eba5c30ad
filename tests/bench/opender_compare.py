"""Both sides over every case, and the judgement of each difference by the reasons that the case allows."""

from __future__ import annotations

from dataclasses import dataclass

from firmware.protection.ride_through import RideThrough
from firmware.replay import Replay, replay
from tests.bench import opender_model
from tests.bench.opender_cases import HOLD_S, IDEAL, RATED_W, Case
from tests.bench.opender_model import Result

PQ_LSB = 1e-3  # pu of rated: below it two numbers are the same for this comparison
LAG_PU = 4e-3  # what 'lag' predicts: 0.05 % of a step of 1 pu, and half a sample of 20 ms of a lag of 2 s
_ON = ("connected", "riding_through")


@dataclass(frozen=True)
class Verdict:
    """Differences of one case. None = no trip. apart_s: how long exactly one of the two exchanged power.

    unexplained: sentences, empty when every difference has a reason of the case; used: those reasons.
    """

    case: Case
    ours_trip: tuple[str, float] | None
    their_trip: tuple[str, float] | None
    apart_s: float
    dp_pu: float
    dq_pu: float
    used: tuple[str, ...]
    unexplained: tuple[str, ...]


def compare(case: Case) -> Verdict:
    samples = case.samples()
    support = case.support
    assert support is not None
    ours = replay(
        samples, case.code, IDEAL, rated_w=RATED_W, p_set_w=case.p_set_pu * RATED_W, support=support,
        in_service=case.in_service,
    )  # fmt: skip
    model = opender_model.build(case.code, support, RATED_W, in_service=case.in_service)
    theirs = opender_model.run(model, samples, case.dt_s, case.p_set_pu, settle=case.settle)
    return judge(case, ours, theirs)


def judge(case: Case, ours: Replay, theirs: list[Result]) -> Verdict:
    points = {round(p.t_s, 6): p for p in ours.series}
    apart = 0
    dp = dq = 0.0
    for row in theirs:
        own = points[round(row.t, 6)]
        on = own.state in _ON
        if on != row.on:
            apart += 1
        elif on:
            dp = max(dp, abs(own.p_w / RATED_W - row.p_pu))
            dq = max(dq, abs(own.q_var / RATED_W - row.q_pu))
    trip = ours.first_trip
    own_trip = None if trip is None else (trip.element, trip.t)
    their_trip = None
    served = case.in_service
    for row in theirs:  # a trip is what ends service; out of service OpenDER says "trip" all the time
        if served and row.tripped:
            their_trip = (row.element, row.t)
            break
        served = not row.tripped
    last = points[round(theirs[-1].t, 6)]
    end_pu = max(abs(last.p_w / RATED_W - theirs[-1].p_pu), abs(last.q_var / RATED_W - theirs[-1].q_pu))
    return _explain(case, own_trip, their_trip, apart * case.dt_s, dp, dq, end_pu)


def _explain(
    case: Case,
    own: tuple[str, float] | None,
    their: tuple[str, float] | None,
    apart_s: float,
    dp: float,
    dq: float,
    end_pu: float,
) -> Verdict:
    used: list[str] = []
    wrong: list[str] = []
    dt = case.dt_s

    def because(*reasons: str) -> bool:
        found = next((r for r in reasons if r in case.allowed), None)
        if found and found not in used:
            used.append(found)
        return found is not None

    other = False  # one trips and the other does not, or by another element: power differs for the rest of the case
    if (own is None) != (their is None):
        other = True
        if not because("blind", "first", "edge"):
            wrong.append(f"ours trips: {own}, OpenDER trips: {their}")
    elif own is not None and their is not None:
        early = own[1] - their[1]
        if own[0] != their[0]:
            other = True
            if not because("blind"):
                wrong.append(f"ours trips by {own[0]}, OpenDER by {their[0]}")
        # The sum of a thousand steps is off by rounding: one step early, or in the very same step.
        elif not -1e-6 <= early <= dt + 1e-6:
            wrong.append(f"ours trips {early:g} s after OpenDER")
        elif early > 1e-6 and not because("step"):
            wrong.append("OpenDER trips one step early")
    if not other:
        allowed_s = 2.0 * dt + 1e-6 if "step" in case.allowed else 1e-6
        if apart_s > allowed_s and "reopen" in case.allowed:
            because("reopen")
            allowed_s += 1.0
        if apart_s > allowed_s and "hold" in case.allowed:
            because("hold")
            allowed_s += (HOLD_S + dt) * _returns(case)
        if apart_s > allowed_s:
            wrong.append(f"exactly one of the two exchanges power for {apart_s:g} s, {allowed_s:g} s are explained")
    for what, d in (("P", dp), ("Q", dq)):
        if d <= PQ_LSB:
            continue
        if d <= LAG_PU and because("lag"):
            continue
        predicted = case.predicts.get(what)
        if predicted is not None and not abs(d - predicted) <= LAG_PU:
            wrong.append(f"{what} differs by {d:.4f} pu, {predicted:.4f} pu are predicted")
            continue
        reasons = ["pickup", "phase", "excitation"] if predicted is not None else []
        if end_pu <= LAG_PU:  # what these change passes
            reasons += ["pickup", "circle", "reopen"]
        if not because(*reasons):
            wrong.append(f"{what} differs by {d:.4f} pu")
    return Verdict(case, own, their, apart_s, dp, dq, tuple(used), tuple(wrong))


def _returns(case: Case) -> int:
    """How often the voltage leaves a ceasing row of the case."""
    ride = RideThrough(case.code)
    count, ceased = 0, False
    for _, v, f, *_ in case.samples():
        now = ride.judge(min(v), max(v), f).ceases
        count += ceased and not now
        ceased = now
    return count
