"""What is wrong now, since when, and whether it may go away by itself.

Conditions are recomputed every tick; this book turns them into events (once, at the edge), holds them long enough
that contactors do not chatter, latches what the event table says and what comes back again and again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from firmware.guard.events import EVENTS, Severity, severity
from firmware.guard.messages import EventMessage
from firmware.guard.numbers import FAULT_HOLD_S, REPEAT_COUNT, REPEAT_WINDOW_S


@dataclass(slots=True)
class _Active:
    severity: Severity
    detail: str
    until: float  # held at least so long
    latched: bool


class Faults:
    """The book of active faults and warnings. Pure: it is given the time."""

    def __init__(self) -> None:
        self._active: dict[str, _Active] = {}
        self._seen: dict[str, deque[float]] = {}
        self._pending: dict[str, str] = {}
        self._worst = Severity.INFO

    def report(self, code: str, detail: str = "") -> None:
        """A momentary cause (a time-out, a failed test): counts as present in the next `update`."""
        self._pending.setdefault(code, detail)

    def update(self, now: float, conditions: Mapping[str, str]) -> list[EventMessage]:
        """Take this tick's conditions (code -> detail); returns the events at their edges."""
        if not self._active and not conditions and not self._pending:
            return []
        present = {**conditions, **self._pending}
        self._pending.clear()
        events = []
        for code, detail in present.items():
            active = self._active.get(code)
            if active is None:
                events.append(self._enter(now, code, detail))
            elif active.severity >= Severity.SOFT_STOP:
                active.until = max(active.until, now + 1.0)
                # Acknowledged while its cause was still there: going away by itself later needs a word of its own.
                active.latched = active.latched or active.severity is Severity.LATCH
        for code in [c for c, a in self._active.items() if c not in present and not a.latched and now >= a.until]:
            del self._active[code]
            events.append(EventMessage(now, code, cleared=True))
        self._worst = max((a.severity for a in self._active.values()), default=Severity.INFO)
        return events

    def _enter(self, now: float, code: str, detail: str) -> EventMessage:
        level = severity(code)
        latched = level is Severity.LATCH
        hold = 0.0
        if level >= Severity.SOFT_STOP:
            hold = FAULT_HOLD_S
            seen = self._seen.setdefault(code, deque(maxlen=REPEAT_COUNT))
            seen.append(now)
            if len(seen) == REPEAT_COUNT and now - seen[0] <= REPEAT_WINDOW_S and not latched:
                latched = True
                minutes = REPEAT_WINDOW_S / 60
                detail = f"{detail} ({REPEAT_COUNT} times within {minutes:.0f} min: latched)".strip()
        self._active[code] = _Active(level, detail, now + hold, latched)
        return EventMessage(now, code, detail)

    def latch(self, now: float, code: str) -> EventMessage | None:
        """A latched fault of an earlier guard that nobody has cleared. None for a code that is unknown or active."""
        if code not in EVENTS or severity(code) < Severity.SOFT_STOP or code in self._active:
            return None
        self._active[code] = _Active(severity(code), "latched before guard was started again", now, True)
        self._worst = max(self._worst, severity(code))
        return EventMessage(now, code, self._active[code].detail)

    def clear(self, now: float) -> None:
        """The operator's acknowledgement: unlatches; what is still present latches again with the next update."""
        for active in self._active.values():
            active.latched = False
            active.until = now
        self._seen.clear()

    @property
    def worst(self) -> Severity:
        return self._worst

    @property
    def codes(self) -> list[str]:
        """Active codes, worst first."""
        return sorted(self._active, key=lambda c: -self._active[c].severity)

    @property
    def latched(self) -> list[str]:
        """Codes that stay until an operator clears them, worst first."""
        return [code for code in self.codes if self._active[code].latched]

    def sentence(self) -> str:
        """The worst active fault in words, with its remedy."""
        code = self.codes[0]
        detail = self._active[code].detail
        event = EVENTS[code]
        return f"{event.sentence.rstrip('.')}{': ' + detail if detail else ''}. {event.remedy}"
