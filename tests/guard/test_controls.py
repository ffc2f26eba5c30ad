"""Guard lays controls over its profile between two ticks: trips and functions follow, state and times stay."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.grid_support.controls import as_dict, control_of, hash_of
from firmware.grid_support.fixed import FixedVar
from firmware.guard.known import Commands
from firmware.guard.messages import GridControls
from firmware.guard.step import Guard
from firmware.protection.types import GridState
from tests.guard.puppet import Puppet, make_guard

NOW = 1_800_000_000.0


def message(*raw: dict[str, Any]) -> GridControls:
    found = [control_of(r, NOW, "csms") for r in raw]
    return GridControls(hash_of(found), [as_dict(c) for c in found])


def tell(puppet: Puppet, *messages: Any) -> list[tuple[str, str]]:
    """One tick with these messages; the events about controls."""
    guard = puppet.guard
    step = guard.step
    got: list[Commands] = []

    def with_messages(now: float, readings: Any, request: Any = ()) -> Commands:
        got.append(step(now, readings, [*request, *messages]))
        return got[-1]

    guard.step = with_messages  # type: ignore[method-assign]
    try:
        puppet.tick()
    finally:
        guard.step = step  # type: ignore[method-assign]
    return [(e.code, e.detail) for e in got[0].events if e.code.startswith("grid_controls")]


TIGHT = {"id": "t", "kind": "lf_must_trip", "points": [[58.7, 300.0], [56.8, 0.16]]}
FIXED = {"id": "q", "kind": "fixed_var", "q_pu": 0.2}


def thresholds(guard: Guard) -> dict[str, float]:
    return {t.id: t.threshold.value for t in guard.protection.code.trips}


def connected() -> Puppet:
    puppet = Puppet(make_guard())
    for _ in range(200):
        puppet.tick()
    assert puppet.guard.protection.state is GridState.CONNECTED
    return puppet


def test_trips_and_functions_follow_at_once_and_the_profile_comes_back() -> None:
    puppet = connected()
    profile = thresholds(puppet.guard)
    ((code, detail),) = tell(puppet, message(TIGHT, FIXED))
    assert code == "grid_controls"
    assert "trip.UF2.threshold by t" in detail
    assert "reactive by q" in detail
    assert "sha256" in detail
    assert thresholds(puppet.guard) == profile | {"UF1": 58.7, "UF2": 56.8}
    assert puppet.guard.support.settings.reactive == FixedVar(0.2, 10.0, "control q of csms")
    assert puppet.guard.protection.state is GridState.CONNECTED
    assert tell(puppet, message(TIGHT, FIXED)) == []  # told again without a change
    ((_, detail),) = tell(puppet, message())
    assert "the profile alone" in detail
    assert thresholds(puppet.guard) == profile


def test_controls_that_guard_cannot_accept_are_refused_and_what_was_in_force_stays() -> None:
    puppet = connected()
    tell(puppet, message(TIGHT))
    before = thresholds(puppet.guard)
    bad = {"id": "b", "kind": "lf_must_trip", "points": [[58.7, 300.0], [59.9, 0.16]]}
    ((code, detail),) = tell(puppet, message(bad))
    assert code == "grid_controls_refused"
    assert "trip.UF1.threshold cannot be 59.9" in detail
    assert thresholds(puppet.guard) == before
    garbage = GridControls("x", [{"id": 3}])
    ((code, detail),) = tell(puppet, garbage)
    assert (code, "not complete" in detail) == ("grid_controls_refused", True)


def test_a_tightened_trip_trips_the_charger() -> None:
    puppet = connected()
    puppet.f_pu = 56.7 / 60.0
    tell(puppet, message(TIGHT))
    for _ in range(30):
        puppet.tick()
    trip = puppet.guard.protection.last_trip
    assert trip is not None
    assert (trip.element, trip.threshold) == ("UF2", 56.8)


leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=6)
junk = st.recursive(
    leaves, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=6), x, max_size=3), max_leaves=6
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_message_of_services_stops_guard(data: Any) -> None:
    puppet = Puppet(make_guard())
    plain = as_dict(control_of(data.draw(st.sampled_from([TIGHT, FIXED])), NOW, "csms"))
    plain[data.draw(st.sampled_from([*plain, "new"]))] = data.draw(junk)
    found = tell(
        puppet, GridControls("x", [plain, *data.draw(st.lists(st.dictionaries(st.text(max_size=4), junk), max_size=1))])
    )
    assert len(found) == 1
