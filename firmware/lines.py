"""One line on every change: what a charger says where there is no terminal to draw on.

`Changes` decides what is worth a line and is pure; `follow` moves lines. The text is for people and logs, the JSON
form (docs/cli.md) for programs.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from firmware.guard.events import EVENTS, Severity
from firmware.protection.closest import sentence
from firmware.protection.types import ElementStatus, Source
from firmware.quantities import show_power
from firmware.systemd import Priority, entry

POWER_STEP_W = 200.0  # smaller changes of asked or permitted power are not worth a line
RAMP_PERIOD_S = 1.0  # a ramp changes the power ten times a second: one line a second shows it
_NUMBER = re.compile(r"\d+([.,]\d+)*")

_LIMITED_TO = re.compile(r"^limited to \S+ kW by ")  # how firmware/guard/snapshot.py begins its sentence


def _shape(sentence: str) -> str:
    """A sentence without its numbers: a countdown in it is the same sentence."""
    return _NUMBER.sub("#", sentence)


def limiter(snapshot: dict[str, Any]) -> str:
    """What limits, without the power that stands beside it anyway: "car: the car's maximum current"; "" = nothing."""
    return _LIMITED_TO.sub("", snapshot["limited_by"])


def element_text(element: dict[str, Any]) -> str:
    """'UF1 47.5 Hz: margin 2.48 Hz, timer 0.0 of 0.1 s, clause': one of a snapshot's `elements`."""
    fields: dict[str, Any] = {key: math.nan if value is None else value for key, value in element.items()}
    fields["source"] = Source(element["source"])
    return sentence(ElementStatus(**fields))


def closest_text(snapshot: dict[str, Any]) -> str:
    """The protection element that is closest to operating; "" when nothing can be measured."""
    return element_text(snapshot["elements"][0]) if snapshot["elements"] else ""


class Changes:
    """Compares each snapshot with the last one that got a line."""

    def __init__(self) -> None:
        self._told: dict[str, Any] | None = None
        self._problems: list[str] = []

    def of(self, snapshot: dict[str, Any], problems: Sequence[str] = ()) -> list[str]:
        """What changed: some of "start", "state", "grid_state", "faults", "why", "problems", "trip", "asked",
        "permitted". problems: what services themselves miss."""
        told = self._told
        if told is None:
            changed = ["start"]
        else:
            changed = [name for name in ("state", "grid_state", "faults") if snapshot[name] != told[name]]
            if _shape(snapshot["why"]) != _shape(told["why"]):
                changed.append("why")
            if [_shape(problem) for problem in problems] != self._problems:
                changed.append("problems")
            if snapshot["trip"] is not None and snapshot["trip"] != told["trip"]:
                changed.append("trip")
            moved = [
                name
                for name in ("asked", "permitted")
                if abs((snapshot[f"{name}_w"] or 0.0) - (told[f"{name}_w"] or 0.0)) > POWER_STEP_W
            ]
            if changed or not 0.0 <= snapshot["t"] - told["t"] < RAMP_PERIOD_S:
                changed += moved
        if changed:
            self._told = snapshot
            self._problems = [_shape(problem) for problem in problems]
        return changed


def change_line(snapshot: dict[str, Any], changed: list[str], clock: str, problems: Sequence[str] = ()) -> str:
    """One line of text for a change."""
    power = (
        f"asked {show_power(snapshot['asked_w'])}, permitted {show_power(snapshot['permitted_w'])},"
        f" measured {show_power(snapshot['measured_w'])}"
    )
    line = f"{clock} {snapshot['state']} | grid {snapshot['grid_state']} | {power} | {snapshot['why']}"
    if "grid_state" in changed and (near := closest_text(snapshot)):
        line += f" | closest {near}"
    if "trip" in changed:
        line += f" | trip {snapshot['trip']['element']}: {snapshot['trip']['text']}"
    return " | ".join((line, *problems))


def change_object(
    snapshot: dict[str, Any], changed: list[str], wall_s: float, problems: Sequence[str] = ()
) -> dict[str, Any]:
    """The same for programs."""
    keys = ("state", "grid_state", "why", "asked_w", "asked_by", "permitted_w", "limited_by", "measured_w", "faults")
    trip = snapshot["trip"] if "trip" in changed else None
    shown = {key: snapshot[key] for key in keys}
    head = {"type": "change", "wall_s": wall_s, "t": snapshot["t"], "changed": changed}
    near = snapshot["elements"][0] if snapshot["elements"] else None
    return {**head, **shown, "trip": trip, "closest": near, "problems": list(problems)}


def event_clock(event: dict[str, Any]) -> str:
    """Local date and time of an event; dashes when it carries none."""
    wall = event.get("wall_s")
    return time.strftime("%H:%M:%S", time.localtime(wall)) if isinstance(wall, int | float) else "--:--:--"


def event_text(event: dict[str, Any]) -> str:
    """The table's sentence and the facts of this occurrence."""
    known = EVENTS.get(event["code"])
    text = known.sentence if known else event["code"]
    if event.get("cleared"):
        text = f"over: {text}"
    return f"{text} {event['detail']}" if event.get("detail") else text


def event_line(event: dict[str, Any]) -> str:
    """One line of text for an event."""
    known = EVENTS.get(event["code"])
    severity = known.severity.name if known else "?"
    return f"{event_clock(event)} {severity:<9} {event['code']}: {event_text(event)}"


_PRIORITIES = {
    Severity.INFO: Priority.INFO,
    Severity.WARNING: Priority.WARNING,
    Severity.NO_ENTRY: Priority.WARNING,
    Severity.SOFT_STOP: Priority.ERROR,
    Severity.TRIP: Priority.CRITICAL,
    Severity.LATCH: Priority.CRITICAL,
}


def event_entry(event: dict[str, Any]) -> str:
    """An event for the journal; its end is no alarm."""
    known = EVENTS.get(event["code"])
    priority = _PRIORITIES[known.severity] if known else Priority.WARNING
    if event.get("cleared"):
        priority = max(priority, Priority.NOTICE)
    severity = known.severity.name.lower() if known else None
    return entry(priority, event_text(event), event=event["code"], severity=severity, t=event.get("t"))


def change_entry(snapshot: dict[str, Any], problems: Sequence[str] = ()) -> str:
    """A change of state for the journal."""
    keys = ("state", "grid_state", "asked_w", "asked_by", "permitted_w", "measured_w", "faults")
    shown = {key: snapshot[key] for key in keys}
    return entry(Priority.INFO, " ".join([snapshot["why"], *problems]), **shown)


def follow(messages: Iterable[dict[str, Any]], out: TextIO, as_json: bool, journal: bool = False) -> None:
    """Print a line for every change and every event until `messages` end. journal: as entries of systemd's journal."""
    changes = Changes()
    for message in messages:
        event = message.get("event")
        if event is not None:
            if as_json:
                line = json.dumps({"type": "event", **event})
            else:
                line = event_entry(event) if journal else event_line(event)
            print(line, file=out, flush=True)
        snapshot = message.get("snapshot")
        if snapshot is None:
            continue
        problems = message.get("problems", [])
        changed = changes.of(snapshot, problems)
        if changed:
            now = time.time()
            if as_json:
                line = json.dumps(change_object(snapshot, changed, now, problems))
            elif journal:
                line = change_entry(snapshot, problems)
            else:
                line = change_line(snapshot, changed, time.strftime("%H:%M:%S", time.localtime(now)), problems)
            print(line, file=out, flush=True)
