"""The charger's state machine: which step of a session it is in.

Plain `transitions.Machine` (its hierarchical and async variants cost ten times more), driven by events and never by
raw signals: `firmware/guard/session.py` turns readings into these events. `open_now` and `wind_down` lead out of
every state in which power or voltage may be on the cable, so no state can forget to be stoppable.
"""

from __future__ import annotations

import enum

from transitions import Machine


class ChargerState(enum.Enum):
    __hash__ = object.__hash__  # as for all that is compared by identity; an enum's own is Python code

    IDLE = "idle"
    CONNECTED = "connected"
    CABLE_DISCHARGE = "cable check: discharge"
    CABLE_CLOSE = "cable check: close contactors"
    CABLE_RAMP = "cable check: ramp test"
    CABLE_SELF_TEST = "cable check: insulation monitor self-test"
    CABLE_INSULATION = "cable check: insulation"
    PRECHARGE = "precharge"
    HOLDING = "transfer: holding"
    CHARGING = "transfer: charging"
    DISCHARGING = "transfer: discharging"
    THROUGH_ZERO = "transfer: through zero"
    RAMP_DOWN = "ramp down"
    OPENING = "open contactors"
    WELD_CHECK = "weld check"
    FINISHED = "finished"
    FAULT = "fault"


S = ChargerState
# Kinds of state, in order; a dictionary without values, for it is asked ten times a tick whether it holds one.
CABLE_CHECK = dict.fromkeys((S.CABLE_DISCHARGE, S.CABLE_CLOSE, S.CABLE_RAMP, S.CABLE_SELF_TEST, S.CABLE_INSULATION))
TRANSFER = dict.fromkeys((S.HOLDING, S.CHARGING, S.DISCHARGING, S.THROUGH_ZERO))
ENERGIZED = dict.fromkeys((*CABLE_CHECK, S.PRECHARGE, *TRANSFER))  # voltage or current may be on the cable
AT_REST = dict.fromkeys((S.IDLE, S.CONNECTED, S.FINISHED, S.FAULT))

TRANSITIONS: list[tuple[str, object, ChargerState]] = [
    ("plugged", S.IDLE, S.CONNECTED),
    ("unplugged", [S.CONNECTED, S.FINISHED], S.IDLE),
    ("begin", S.CONNECTED, S.CABLE_DISCHARGE),
    ("cable_dead", S.CABLE_DISCHARGE, S.CABLE_CLOSE),
    ("closed", S.CABLE_CLOSE, S.CABLE_RAMP),
    ("ramp_passed", S.CABLE_RAMP, S.CABLE_SELF_TEST),
    ("self_test_passed", S.CABLE_SELF_TEST, S.CABLE_INSULATION),
    ("insulation_good", S.CABLE_INSULATION, S.PRECHARGE),
    ("transfer", S.PRECHARGE, S.HOLDING),
    ("charge", S.HOLDING, S.CHARGING),
    ("discharge", S.HOLDING, S.DISCHARGING),
    ("hold", [S.CHARGING, S.DISCHARGING, S.THROUGH_ZERO], S.HOLDING),
    ("reverse", [S.HOLDING, S.CHARGING, S.DISCHARGING], S.THROUGH_ZERO),
    ("wind_down", list(ENERGIZED), S.RAMP_DOWN),
    ("current_gone", S.RAMP_DOWN, S.OPENING),
    ("open_now", [*ENERGIZED, S.RAMP_DOWN], S.OPENING),
    ("opened", S.OPENING, S.WELD_CHECK),
    ("not_welded", S.WELD_CHECK, S.FINISHED),
    ("fail", [S.IDLE, S.CONNECTED, S.FINISHED, S.OPENING, S.WELD_CHECK], S.FAULT),
    ("orphan", S.CONNECTED, S.FINISHED),
    ("again", S.FINISHED, S.CONNECTED),
    ("recover", S.FAULT, S.IDLE),
]


class ChargerMachine:
    """The model: `state` is a ChargerState; each transition is a method. `since` is the time of the last one."""

    state: ChargerState

    def __init__(self) -> None:
        self.since = 0.0
        self.previous = S.IDLE
        self._machine = Machine(
            model=self,
            states=ChargerState,
            initial=S.IDLE,
            auto_transitions=False,
            transitions=[{"trigger": t, "source": s, "dest": d} for t, s, d in TRANSITIONS],
        )

    def fire(self, event: str, now: float) -> bool:
        """Fire an event at `now`; False (and nothing happens) where the state does not know it."""
        source = self.state
        if not self._machine.get_transitions(event, source):
            return False
        getattr(self, event)()
        self.previous, self.since = source, now
        return True
