"""The one sentence: what the charger does and why, composed from the same facts that decided."""

from __future__ import annotations

from firmware.guard.events import Severity
from firmware.guard.machine import CABLE_CHECK, TRANSFER
from firmware.guard.machine import ChargerState as S
from firmware.guard.session import Session
from firmware.guard.view import View
from firmware.protection.types import GridState


def why(session: Session, v: View, fault_sentence: str, asked: str, limited: str) -> str:
    """The one sentence: what the charger does and why."""
    state = session.machine.state
    if fault_sentence and v.severity >= Severity.SOFT_STOP:
        return fault_sentence
    if v.grid.state is not GridState.CONNECTED and state not in (S.FAULT, S.FINISHED):
        return v.grid.reason
    if state is S.IDLE:
        return f"No car is connected; {'ready' if v.converter.ready else 'the converter is not ready'}."
    if state is S.CONNECTED:
        return _waiting(v, fault_sentence)
    if state in CABLE_CHECK:
        return f"Proving cable and insulation before power ({state.value})."
    if state is S.PRECHARGE:
        return "Matching the car's voltage before it closes its contactors."
    if state in TRANSFER:
        return f"{asked}{'; ' + limited if limited else ''}."
    if state is S.FINISHED:
        causes = {
            "car": "the car ended it",
            "operator": "the operator stopped it",
            "lease": "nobody held a power lease any more",
            "grid": "the grid was lost",
            "converter": "the converter restarted",
            "restart": "guard was started again in the middle of it",
            "fault": "a fault ended it",
        }
        return f"The session is over: {causes.get(session.cause, session.cause)}. {v.grid.reason}"
    return f"Ending the session: {state.value} ({session.cause})."


def _waiting(v: View, fault_sentence: str) -> str:
    if not v.lease:
        return "A car is connected, but nobody holds a power lease."
    if v.stopped:
        return "A car is connected; stopped by the operator until `quadrant start`."
    if v.severity >= Severity.NO_ENTRY:
        return f"A car is connected, but no session may start. {fault_sentence}"
    if not v.converter.ready:
        return "A car is connected; the converter is not ready yet."
    if v.insulation_ohm is None:
        return "A car is connected, but there is no fresh insulation measurement: no energy without it."
    return "A car is connected; waiting for it to ask for the cable check."
