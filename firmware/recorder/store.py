"""The charger's durable memory: events, energy registers, sessions, requests and disturbance records in SQLite.

Services hand things over in microseconds; they are committed together, at most four times a second, because a commit
waits for the disk (measured on a virtual disk: 0.2 ms, 8 ms at worst; an eMMC that collects garbage is expected to take
far longer now and then, which was not measured). For the same reason services use `background=True`: commits run in one
thread of the store, so that a slow disk can never hold up the lease renewals on services' event loop. SQLite lets go of
the interpreter while it waits. Without `background` the caller commits by `flush(now)`; tests and tools use that.

An event that trips the charger does not wait for its turn: it is committed at once.

When the disk refuses, nothing is dropped: what waits is kept in memory, up to a bound, and tried again every second.
Above the bound the oldest thing that is no trip goes first, and the number lost is written into the log when the disk
takes things again.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from firmware.energy.ledger import LedgerState, Session
from firmware.recorder.reader import SESSION_COLUMNS, TRIP, Reader
from firmware.recorder.retention import Retention, prune
from firmware.recorder.schema import RecorderError, open_file, reason, write_registers
from firmware.recorder.trip_record import StoredRecord, TripRecordLike, check, pack

INTERVAL_S = 0.25  # between commits; nothing is written while nothing happens
RETRY_S = 1.0  # after the disk refused
QUEUE_MAX = 10_000  # things kept in memory while the disk refuses: minutes of a bad day, about 5 MB
PENDING_RECORDS_MAX = 16  # disturbance records among them: each may hold 1 MB of samples
BATCH_MAX = 1000  # things in one commit
HISTORY_S = 900.0  # a row of registers_history at least so often while they move: the quarter hour of meters
PRUNE_EVERY = 200  # commits between two rounds of retention

_EVENT = "INSERT INTO events (t_wall, t_mono, boot, code, severity, detail, cleared) VALUES (?, ?, ?, ?, ?, ?, ?)"
_REQUEST = "INSERT INTO requests (t_wall, source, power_w, duration_s, reason, answer) VALUES (?, ?, ?, ?, ?, ?)"
_SESSION = (
    f"INSERT OR REPLACE INTO sessions ({', '.join(SESSION_COLUMNS)}) VALUES (?{', ?' * (len(SESSION_COLUMNS) - 1)})"
)
_HISTORY = "INSERT INTO registers_history (t_wall, charged_wh, discharged_wh) VALUES (?, ?, ?)"
_RECORD = (
    "INSERT INTO trip_records (id, t_wall, t_mono, boot, code, detail, settings_hash, columns, rows, severity, header, "
    "size, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class Health:
    """How the store is doing. `problem` is one sentence while the disk refuses, else empty."""

    problem: str
    waiting: int  # things not committed yet
    lost: int  # things given up since start because too many waited
    commits: int


@dataclass(slots=True)
class _Item:
    number: int
    severity: int
    sql: str
    values: Sequence[object] | Callable[[], Sequence[object]]  # a callable: work that is left to the writer


def _values(item: _Item) -> Sequence[object]:
    return item.values() if callable(item.values) else item.values


class Store(Reader):
    """The one writer of a records file. All methods may be called from any thread; none of them waits for the disk
    but `flush`, `mark_read`, `close`, and, without `background`, `event` for a trip."""

    def __init__(
        self, path: Path, retention: Retention, background: bool, interval_s: float, records_after: int
    ) -> None:
        opened = open_file(path)
        self.notice = opened.notice  # one sentence when an unusable file was set aside, for the caller to tell
        self.set_aside = opened.set_aside
        self._db = opened.db
        super().__init__(path)
        self._retention = retention
        self._interval_s = interval_s
        self._write_lock = threading.Lock()  # held during a commit; taken before _wake
        self._wake = threading.Condition()  # guards everything below; never held while the disk is waited for
        self._queue: deque[_Item] = deque()
        self._in_flight: list[_Item] = []
        self._registers: LedgerState | None = None  # the newest, waiting
        self._stored = self.ledger_state() or LedgerState()
        newest = self.registers_history(1)
        self._history = newest[0] if newest else None  # the newest row of registers_history
        used = self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'trip_records'")
        self._record_id = max(records_after, used[0][0] if used else 0)
        self._pruned: list[int] = []  # disturbance records that retention has removed
        self._number = 0
        self._committed = 0
        self._commits = 0
        self._lost = self._lost_told = 0
        self._lost_why = ""
        self._urgent = False
        self._closing = False
        self._problem = ""
        self._problem_since: float | None = None
        self._told = False
        self._next_flush = -math.inf
        self._last_wall = self._stored.t_wall or 0.0
        self._thread: threading.Thread | None = None
        if background:
            self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
            self._thread.start()

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        retention: Retention | None = None,
        background: bool = False,
        interval_s: float = INTERVAL_S,
        records_after: int = 0,
    ) -> Store:
        """Open or make the records file. Raises RecorderError (firmware/recorder/schema.py: open_file).

        records_after: the highest number of a disturbance record that is known from elsewhere (its files); a new file
        does not give that number a second time.
        """
        return cls(Path(path), retention or Retention(), background, interval_s, records_after)

    # --------------------------------------------------------------------------------------------- handing over
    def event(
        self, t_wall: float, t_mono: float, boot: str, code: str, severity: int, detail: str = "", cleared: bool = False
    ) -> int:
        """Log an event. Returns its number: it is on the disk when `committed` has reached that number.

        Severity is that of firmware/guard/events.py; TRIP and above are committed at once.
        """
        values = (t_wall, t_mono, boot, code, int(severity), detail, int(cleared))
        number = self._add(_EVENT, values, int(severity), t_wall, urgent=severity >= TRIP)
        if severity >= TRIP and self._thread is None:
            self._flush(None, tell=False)  # a refusal is told by the next flush and by `health`
        return number

    def registers(self, state: LedgerState) -> None:
        """Hand over the ledger's state; only the newest one is written. Raises RecorderError when a register would go
        back: nothing changes then."""
        with self._wake:
            last = self._registers or self._stored
            if replace(state, t_wall=last.t_wall) == last:
                return  # an idle charger writes nothing
            if state.charged_wh < last.charged_wh or state.discharged_wh < last.discharged_wh:
                raise RecorderError(
                    f"energy registers must not go back: charged {last.charged_wh:.3f} -> {state.charged_wh:.3f} Wh, "
                    f"discharged {last.discharged_wh:.3f} -> {state.discharged_wh:.3f} Wh"
                )
            self._registers = state
            if state.t_wall is not None:
                self._last_wall = state.t_wall

    def session_start(self, session: Session, state: LedgerState) -> int:
        """Write a session and the registers it starts with, in one commit."""
        return self._session(session, state, session.t_start_wall)

    def session_end(self, session: Session, state: LedgerState) -> int:
        """Write a session's end and the registers at it, in one commit. Raises RecorderError while it is open."""
        if session.t_end_wall is None:
            raise RecorderError(f"session {session.number} has not ended")
        return self._session(session, state, session.t_end_wall)

    def _session(self, session: Session, state: LedgerState, t_wall: float) -> int:
        with self._wake:  # one lock around all three: a commit takes all or none
            self.registers(state)
            self._history = (t_wall, state.charged_wh, state.discharged_wh)
            self._add(_HISTORY, self._history, TRIP, t_wall)
            return self._add(_SESSION, astuple(session), TRIP, t_wall)  # an account: never dropped for room

    def request(
        self, t_wall: float, source: str, power_w: float, duration_s: float, reason: str = "", answer: str = ""
    ) -> int:
        """Log who asked for what power (+ charges). `answer`: empty when it was taken, else why not."""
        return self._add(_REQUEST, (t_wall, source, power_w, duration_s, reason, answer), 0, t_wall)

    def record(
        self,
        t_wall: float,
        boot: str,
        record: TripRecordLike,
        settings_hash: str = "",
        severity: int = TRIP,
        header: Mapping[str, object] | None = None,
    ) -> StoredRecord:
        """Keep a disturbance record; returns what it is kept as. Raises RecorderError when its rows do not fit its
        columns. header: what was in force, as JSON takes it."""
        check(record)
        with self._wake:
            self._record_id += 1
            stored = StoredRecord(
                self._record_id, t_wall, record.t, boot, record.code, record.detail, settings_hash,
                tuple(record.columns), len(record.rows), int(severity), header=dict(header or {}),
            )  # fmt: skip

        def values() -> Sequence[object]:  # packing takes milliseconds: the writer does it
            size, data = pack(record.columns, record.rows)
            x, columns = stored, json.dumps(record.columns)
            return (x.id, x.t_wall, x.t_mono, x.boot, x.code, x.detail, x.settings_hash, columns, x.rows, x.severity,
                    json.dumps(x.header), size, data)  # fmt: skip

        with self._wake:
            waiting = [item for item in self._queue if item.sql is _RECORD]
            if len(waiting) >= PENDING_RECORDS_MAX:  # the first records of a storm are worth most: the newest goes
                self._queue.remove(waiting[-1])
                self._give_up("the disk refused them for too long")
            self._add(_RECORD, values, TRIP, t_wall)
        return stored

    def pruned_records(self) -> list[int]:
        """The disturbance records that retention has removed since the last call: their files may go too."""
        with self._wake:
            pruned, self._pruned = self._pruned, []
            return pruned

    def _add(
        self,
        sql: str,
        values: Sequence[object] | Callable[[], Sequence[object]],
        severity: int,
        t_wall: float,
        urgent: bool = False,
    ) -> int:
        with self._wake:
            self._number += 1
            if math.isfinite(t_wall):
                self._last_wall = t_wall
            self._queue.append(_Item(self._number, severity, sql, values))
            self._make_room()
            if urgent:
                self._urgent = True
                self._wake.notify()
            return self._number

    def _make_room(self) -> None:
        while len(self._queue) > QUEUE_MAX:
            victim = next((i for i, item in enumerate(self._queue) if item.severity < TRIP), 0)
            del self._queue[victim]
            self._give_up("the disk refused them for too long")

    def _give_up(self, why: str) -> None:
        self._lost += 1
        self._lost_why = why

    # ------------------------------------------------------------------------------------------------- committing
    @property
    def committed(self) -> int:
        """The number of the newest thing on the disk; all before it are there too, but for those counted as lost."""
        return self._committed

    def health(self) -> Health:
        with self._wake:
            waiting = len(self._queue) + len(self._in_flight) + (self._registers is not None)
            return Health(self._problem, waiting, self._lost, self._commits)

    def flush(self, now: float, force: bool = False) -> bool:
        """Commit what waits, if it is time (monotonic `now`), if a trip waits or if forced. True when nothing waits.

        Raises RecorderError once when the disk begins to refuse; after that it returns False until it takes again.
        """
        with self._wake:
            if not (force or self._urgent or now >= self._next_flush):
                return not self._waiting()
        return self._flush(now, tell=True)

    def _waiting(self) -> bool:
        return bool(self._queue or self._in_flight or self._registers is not None)

    def _flush(self, now: float | None, tell: bool) -> bool:
        """`now` None: a trip committed in passing, or the end; the interval does not begin anew."""
        with self._write_lock:
            more = True
            while more:
                with self._wake:
                    self._urgent = False
                    if now is not None:
                        self._next_flush = now + self._interval_s
                    if not self._waiting():
                        return True
                    while self._queue and len(self._in_flight) < BATCH_MAX:
                        self._in_flight.append(self._queue.popleft())
                    batch, registers = self._in_flight, self._registers
                    more = bool(self._queue)
                try:
                    self._commit(batch, registers)
                except sqlite3.Error as error:
                    self._refused(error, now)
                    if tell and not self._told:
                        self._told = True
                        raise RecorderError(self._problem) from None
                    return False
                self._done(batch, registers, now)
            with self._wake:
                return not self._waiting()

    def _commit(self, batch: list[_Item], registers: LedgerState | None) -> None:
        """One transaction. Raises sqlite3.Error when the disk refuses; the file is as before then."""
        history = None if registers is None else self._history_row(registers)
        unfit: list[str] = []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for item in batch:
                # A lambda with a default, so that it keeps this item; mypy infers no type for such a one.
                self._write(unfit, lambda item=item: self._db.execute(item.sql, _values(item)))  # type: ignore[misc]
            if registers is not None:
                state = registers
                self._write(unfit, lambda: write_registers(self._db, state))
                if history is not None and not unfit:
                    self._db.execute(_HISTORY, history)
            with self._wake:
                lost = self._lost - self._lost_told + len(unfit)
                why = unfit[0] if unfit else self._lost_why
            if lost:
                self._db.execute(_EVENT, (self._last_wall, 0.0, "", "records_lost", 1, f"{lost} records: {why}", 0))
            due = self._commits % PRUNE_EVERY == 0
            pruned = prune(self._db, self._retention, self._last_wall) if due else []
            self._db.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
                self._db.execute("ROLLBACK")
            raise
        with self._wake:
            self._pruned += pruned
            self._lost += len(unfit)
            self._lost_told += lost
            self._history = history or self._history

    def _write(self, unfit: list[str], write: Callable[[], object]) -> None:
        """One statement. What can never be written (a value of the wrong kind, a register that another writer has
        brought further) must not keep everything else from the disk: it is counted and left out."""
        try:
            write()
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError) as error:
            unfit.append(reason(error))
        except (ValueError, TypeError, OverflowError) as error:
            unfit.append(str(error))

    def _history_row(self, state: LedgerState) -> tuple[float, float, float] | None:
        """The row of registers_history that is due with this state, if any."""
        if state.t_wall is None:
            return None
        row = (state.t_wall, state.charged_wh, state.discharged_wh)
        with self._wake:
            last = self._history
        # Back in time as well: after the wall clock was set back a row says so.
        due = last is None or (row[1:] != last[1:] and not 0.0 <= row[0] - last[0] < HISTORY_S)
        return row if due else None

    def _done(self, batch: list[_Item], registers: LedgerState | None, now: float | None) -> None:
        with self._wake:
            self._commits += 1
            if batch:
                self._committed = batch[-1].number
            self._in_flight = []
            if registers is not None:
                self._stored = registers
                if self._registers is registers:
                    self._registers = None
            problem, self._problem = self._problem, ""
            if problem:
                began = self._problem_since
                since = "" if now is None or began is None else f" for {now - began:.1f} s"
                detail = f"records could not be written{since}: {problem}"
                self._add(
                    _EVENT, (self._last_wall, now or 0.0, "", "records_unwritable", 1, detail, 1), 1, self._last_wall
                )

    def _refused(self, error: sqlite3.Error, now: float | None) -> None:
        with self._wake:
            self._queue.extendleft(reversed(self._in_flight))
            self._in_flight = []
            self._make_room()
            if now is not None:
                self._next_flush = now + RETRY_S
            if not self._problem:
                self._problem_since = now
                self._told = False
            self._problem = f"records file {self.path}: {reason(error)}; free space or replace the disk"

    def mark_read(self, up_to_id: int) -> None:
        """Somebody has seen all events up to this id: retention may remove them in their time."""
        try:
            with self._write_lock:
                self._db.execute("UPDATE events SET read = 1 WHERE id <= ? AND read = 0", (up_to_id,))
        except sqlite3.Error as error:
            raise RecorderError(f"records file {self.path}: {reason(error)}") from None

    def _run(self) -> None:
        while True:
            with self._wake:
                pause = self._interval_s if not self._problem else RETRY_S
                self._wake.wait_for(lambda: self._closing or (self._urgent and not self._problem), timeout=pause)
                closing = self._closing
            if closing:
                return
            with contextlib.suppress(RecorderError):  # seen by `health`
                self.flush(time.monotonic(), force=True)

    def close(self) -> None:
        """Commit what waits and close. Raises RecorderError when something could not be committed."""
        if self._thread is not None:
            with self._wake:
                self._closing = True
                self._wake.notify()
            self._thread.join()
        with contextlib.suppress(RecorderError):
            self._flush(None, tell=True)
        health = self.health()
        super().close()
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        if health.waiting:
            raise RecorderError(f"{health.waiting} records were not written: {health.problem}")
