"""Writes docs/events.md from the table of events: `python -m firmware.guard.events_doc > docs/events.md`."""

from __future__ import annotations

import sys

from firmware.guard.events import EVENTS, Event, Severity

_MEANING = {
    Severity.INFO: "recorded, nothing more",
    Severity.WARNING: "told; power goes on",
    Severity.NO_ENTRY: "no new transfer starts while it lasts; a running one goes on",
    Severity.SOFT_STOP: "ramp to zero, open the contactors, end the session",
    Severity.TRIP: "power off and contactors open now",
    Severity.LATCH: "as TRIP, and stays until an operator clears it with `quadrant stop --clear`",
}

_HEAD = """# Events

Generated from `firmware/guard/events.py` by `python -m firmware.guard.events_doc > docs/events.md`; do not edit.

An event has a code, a severity that decides what the charger does, a sentence, a remedy and a way to clear.
`quadrant events` shows the latest ones; `detail` there holds the facts of that one occurrence (which phase, which
value).
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def render() -> str:
    """The whole document, ending with a newline."""
    lines = [_HEAD, "| severity | what it does |", "|---|---|"]
    lines += [f"| {severity.name} | {_MEANING[severity]} |" for severity in Severity]
    for severity in sorted(Severity, reverse=True):
        rows: list[Event] = [event for event in EVENTS.values() if event.severity is severity]
        if not rows:
            continue
        lines += ["", f"## {severity.name}", "", "| code | what happened | what to do | clears |", "|---|---|---|---|"]
        lines += [
            f"| `{event.code}` | {_cell(event.sentence)} | {_cell(event.remedy)} | {_cell(event.clears)} |"
            for event in rows
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
