"""What services write down: events, energy, sessions, requests, disturbance records.

Guard speaks in monotonic seconds; the records are in wall time. The translation is made here, once, with the clocks
that were given. Nothing here waits for the disk: the store has a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from firmware.energy.ledger import Ledger, Session
from firmware.guard.events import EVENTS, Severity
from firmware.guard.machine import AT_REST
from firmware.guard.messages import EventMessage, Snapshot, TripRecord
from firmware.recorder import reader, record_files
from firmware.recorder.reader import StoredEvent
from firmware.recorder.schema import RecorderError
from firmware.recorder.store import Store
from firmware.recorder.trip_record import StoredRecord

FILE = reader.FILE
TRIP_DIR = "trips"
CLOCK_STEP_S = 1.0  # the wall clock moved by this much against the monotonic one: told, because all times shift
RECORDS_AT_ONCE = 10  # disturbance records that may follow each other, trips and all others apart; own choice
RECORD_EVERY_S = 600.0  # and then one: unread trips are kept for ever, about 9 MB a day at worst; own choice
_AT_REST = {state.value for state in AT_REST}

Clock = Callable[[], float]


class Allowance:
    """`at_once` of something, and after that one every `every_s`. Pure: the time is given."""

    def __init__(self, at_once: int, every_s: float) -> None:
        self._at_once, self._every_s = at_once, every_s
        self._left, self._since = float(at_once), 0.0

    def take(self, now: float) -> bool:
        """Is there one left at `now` (s, monotonic)?"""
        self._left = min(float(self._at_once), self._left + max(0.0, now - self._since) / self._every_s)
        self._since = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Records:
    """The charger's memory, as services keep it."""

    def __init__(
        self,
        run_dir: Path,
        max_power_w: float,
        clock: Clock,
        wall: Clock,
        say: Callable[[str], None],
        settings_hash: str = "",
        background: bool = True,
    ) -> None:
        """max_power_w: highest power in either direction (magnitude), for the ledger's plausibility check.
        settings_hash: of the grid code's numbers.

        Raises RecorderError when the records file cannot be used.
        """
        self._trips = run_dir / TRIP_DIR
        try:
            known = record_files.numbers(self._trips)
        except OSError:  # it is told when a file is written
            known = []
        self.store = Store.open(run_dir / FILE, background=background, records_after=max(known, default=0))
        self.in_force: Callable[[], Mapping[str, Any]] = dict  # what stands in the header of disturbance records
        self._allowances = {trips: Allowance(RECORDS_AT_ONCE, RECORD_EVERY_S) for trips in (True, False)}
        self._held_back = False
        self._clock, self._wall, self._say = clock, wall, say
        self._settings_hash = settings_hash
        self._offset_s = wall() - clock()
        self._boot = ""
        self._problem = ""
        self._writing: set[asyncio.Task[None]] = set()
        self.ledger = Ledger(max_power_w, self.store.ledger_state(), self.store.open_session())
        if self.store.notice:
            say(self.store.notice)
            self.event(EventMessage(clock(), "records_set_aside", self.store.notice))

    def wall_of(self, t: float) -> float:
        """Wall time (s since the epoch) of a monotonic time, as the clocks stand now."""
        return self._wall() - (self._clock() - t)

    def event(self, event: EventMessage) -> dict[str, Any]:
        """Log an event; returns it as clients see it."""
        wall_s = self.wall_of(event.t)
        known = EVENTS.get(event.code)
        severity = known.severity if known is not None else Severity.WARNING
        self.store.event(wall_s, event.t, self._boot, event.code, severity, event.detail, event.cleared)
        return {
            "wall_s": wall_s,
            "t": event.t,
            "code": event.code,
            "severity": severity.name.lower(),
            "sentence": known.sentence if known is not None else event.code,
            "remedy": known.remedy if known is not None else "",
            "detail": event.detail,
            "cleared": event.cleared,
        }

    def snapshot(self, snapshot: Snapshot) -> None:
        """Book guard's energy counters and the beginnings and ends of sessions."""
        t_wall = self.wall_of(snapshot.t)
        at_rest = snapshot.state in _AT_REST
        if snapshot.boot != self._boot:
            self._boot = snapshot.boot
            if self.ledger.session is not None and snapshot.boot != self.ledger.state.boot:
                # Its guard is gone: no later energy belongs to that session.
                self._end_session(t_wall, "guard ended during the session", None)
        applied = self.ledger.apply(snapshot.boot, snapshot.charged_wh, snapshot.discharged_wh, t_wall)
        if applied.refused and applied.first:
            self._say(f"Energy not booked: {applied.refused}.")
            self.event(EventMessage(snapshot.t, "energy_refused", applied.refused))
        if not at_rest and self.ledger.session is None:
            session = self.ledger.start_session(t_wall, snapshot.soc_pct)
            self._stored(lambda: self.store.session_start(session, self.ledger.state))
        elif at_rest and self.ledger.session is not None:
            self._end_session(t_wall, snapshot.why, snapshot.soc_pct)
        else:
            self._stored(lambda: self.store.registers(self.ledger.state))

    def _end_session(self, t_wall: float, reason: str, soc_pct: float | None) -> None:
        session: Session = self.ledger.end_session(t_wall, reason, soc_pct)
        self._stored(lambda: self.store.session_end(session, self.ledger.state))

    def _stored(self, call: Callable[[], object]) -> None:
        try:
            call()
        except RecorderError as error:
            self._say(str(error))

    def request(self, source: str, power_w: float, for_s: float, reason: str, answer: str) -> None:
        """Log who asked for what; `answer` is empty when it was taken."""
        self.store.request(self._wall(), source, power_w, for_s, reason, answer)

    def trip(self, record: TripRecord) -> EventMessage | None:
        """Keep a disturbance record: in the data base, and as files that any tool opens.

        When they come too often it is not kept, and the first time that is so comes back as an event.
        """
        known = EVENTS.get(record.code)
        severity = known.severity if known is not None else Severity.TRIP
        if not self._allowances[severity >= Severity.TRIP].take(self._clock()):
            told, self._held_back = self._held_back, True
            return None if told else EventMessage(self._clock(), "records_held_back", f"{record.code}: {record.detail}")
        self._held_back = False
        t_wall = self.wall_of(record.t)
        header = {**self.in_force(), "digital": record.digital, "codes": record.codes}
        try:
            stored = self.store.record(t_wall, self._boot, record, self._settings_hash, severity, header)
        except RecorderError as error:
            self._say(str(error))
            return None
        task = asyncio.get_running_loop().create_task(self._write_files(stored, record.rows))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return None

    async def _write_files(self, stored: StoredRecord, rows: list[list[float]]) -> None:
        def work() -> None:
            record_files.write(self._trips, stored, rows)
            record_files.remove(self._trips, self.store.pruned_records())

        try:
            await asyncio.to_thread(work)
        except (RecorderError, OSError, ValueError) as error:
            self._say(f"The disturbance record could not be written as files: {error}")

    def check(self) -> EventMessage | None:
        """Once a second: has the disk refused, has the wall clock jumped? A jump comes back as an event."""
        problem = self.store.health().problem
        if problem and not self._problem:
            self._say(problem)
        self._problem = problem
        offset_s = self._wall() - self._clock()
        step_s, self._offset_s = offset_s - self._offset_s, offset_s
        if abs(step_s) < CLOCK_STEP_S:
            return None
        return EventMessage(self._clock(), "clock_step", f"by {step_s:+.1f} s")

    def energy(self) -> dict[str, Any]:
        """The registers and the running session, for clients."""
        charged_wh, discharged_wh = self.ledger.session_energy_wh()
        session = self.ledger.session
        return {
            "charged_wh": self.ledger.charged_wh,
            "discharged_wh": self.ledger.discharged_wh,
            "session": None
            if session is None
            else {
                "number": session.number,
                "started_wall_s": session.t_start_wall,
                "charged_wh": charged_wh,
                "discharged_wh": discharged_wh,
            },
        }

    def problem(self) -> str:
        """One sentence while records cannot be written, else empty."""
        return self._problem

    def unread_trips(self) -> int | None:
        """Disturbance records of trips that nobody has read; None while the file cannot be read."""
        try:
            return self.store.unread_trips()
        except RecorderError:
            return None

    def events(self, since_wall: float, limit: int) -> list[dict[str, Any]]:
        """The newest events, oldest first, as clients see them. Raises RecorderError."""
        return [_shown(row) for row in self.store.events(limit, since_wall)]

    async def close(self) -> None:
        """Commit and close; says so when something could not be written."""
        if self._writing:
            await asyncio.wait(self._writing, timeout=2.0)
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await asyncio.to_thread(self.store.close)
            except RecorderError as error:
                self._say(str(error))


def _shown(row: StoredEvent) -> dict[str, Any]:
    known = EVENTS.get(row.code)
    return {
        "id": row.id,
        "wall_s": row.t_wall,
        "t": row.t_mono,
        "code": row.code,
        "severity": Severity(row.severity).name.lower(),
        "sentence": known.sentence if known is not None else row.code,
        "remedy": known.remedy if known is not None else "",
        "detail": row.detail,
        "cleared": row.cleared,
    }
