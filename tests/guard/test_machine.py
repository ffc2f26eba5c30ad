"""The charger's states: which event leads where, and that nothing else leads anywhere."""

from __future__ import annotations

import pytest

from firmware.guard.machine import AT_REST, CABLE_CHECK, ENERGIZED, TRANSFER, TRANSITIONS, ChargerMachine
from firmware.guard.machine import ChargerState as S

EVENTS = sorted({event for event, _, _ in TRANSITIONS})

# Written out by hand from the sequence of a session, not from the table in machine.py.
ALLOWED: dict[S, dict[str, S]] = {
    S.IDLE: {"plugged": S.CONNECTED, "fail": S.FAULT},
    S.CONNECTED: {"unplugged": S.IDLE, "begin": S.CABLE_DISCHARGE, "fail": S.FAULT, "orphan": S.FINISHED},
    S.CABLE_DISCHARGE: {"cable_dead": S.CABLE_CLOSE},
    S.CABLE_CLOSE: {"closed": S.CABLE_RAMP},
    S.CABLE_RAMP: {"ramp_passed": S.CABLE_SELF_TEST},
    S.CABLE_SELF_TEST: {"self_test_passed": S.CABLE_INSULATION},
    S.CABLE_INSULATION: {"insulation_good": S.PRECHARGE},
    S.PRECHARGE: {"transfer": S.HOLDING},
    S.HOLDING: {"charge": S.CHARGING, "discharge": S.DISCHARGING, "reverse": S.THROUGH_ZERO},
    S.CHARGING: {"hold": S.HOLDING, "reverse": S.THROUGH_ZERO},
    S.DISCHARGING: {"hold": S.HOLDING, "reverse": S.THROUGH_ZERO},
    S.THROUGH_ZERO: {"hold": S.HOLDING},
    S.RAMP_DOWN: {"current_gone": S.OPENING, "open_now": S.OPENING},
    S.OPENING: {"opened": S.WELD_CHECK, "fail": S.FAULT},
    S.WELD_CHECK: {"not_welded": S.FINISHED, "fail": S.FAULT},
    S.FINISHED: {"again": S.CONNECTED, "unplugged": S.IDLE, "fail": S.FAULT},
    S.FAULT: {"recover": S.IDLE},
}
for energized in (*CABLE_CHECK, S.PRECHARGE, *TRANSFER):
    ALLOWED[energized] |= {"wind_down": S.RAMP_DOWN, "open_now": S.OPENING}


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("event", EVENTS)
def test_each_event_in_each_state_does_what_the_sequence_says_and_nothing_else(event: str, state: S) -> None:
    machine = ChargerMachine()
    machine.state = state
    machine.since, machine.previous = 1.0, S.IDLE
    to = ALLOWED[state].get(event)
    assert machine.fire(event, 7.0) is (to is not None)
    if to is None:
        assert (machine.state, machine.since) == (state, 1.0)
    else:
        assert (machine.state, machine.since, machine.previous) == (to, 7.0, state)


@pytest.mark.parametrize("state", ENERGIZED)
def test_every_state_with_voltage_or_current_can_be_stopped_softly_and_at_once(state: S) -> None:
    assert {"wind_down", "open_now"} <= set(ALLOWED[state])


def test_every_state_is_at_rest_energized_or_ending() -> None:
    ending = (S.RAMP_DOWN, S.OPENING, S.WELD_CHECK)
    assert sorted([*AT_REST, *ENERGIZED, *ending], key=str) == sorted(S, key=str)


def test_a_new_charger_is_idle_and_an_unknown_event_changes_nothing() -> None:
    machine = ChargerMachine()
    assert machine.state is S.IDLE
    assert not machine.fire("no such event", 1.0)
    assert machine.state is S.IDLE


def test_power_can_only_be_reached_through_cable_check_and_precharge() -> None:
    """Every way from idle to a transfer state leads through each step of the proof."""
    for step in (*CABLE_CHECK, S.PRECHARGE):
        reached, todo = {S.IDLE}, [S.IDLE]
        while todo:
            for to in ALLOWED[todo.pop()].values():
                if to is not step and to not in reached:
                    reached.add(to)
                    todo.append(to)
        assert not reached & set(TRANSFER), f"there is a way around {step.value}"
