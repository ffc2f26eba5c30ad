"""Queries on the records file: what `quadrant events`, the screen and the tests read.

Readers never wait for the writer and never stop it (WAL). What was handed to the store but not yet committed is not
seen here: it shows up within a quarter of a second.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from firmware.energy.ledger import LedgerError, LedgerState, Session
from firmware.recorder.schema import APPLICATION_ID, RecorderError, connect, read_registers, reason
from firmware.recorder.trip_record import StoredRecord, unpack

FILE = "records.sqlite"  # in the run directory
TRIP = 4  # firmware.guard.events.Severity.TRIP; recorder and guard do not import each other, a test compares
SESSION_COLUMNS = tuple(field.name for field in fields(Session))


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One row of the event log. Fields as in the table `events` of firmware/recorder/schema.py."""

    id: int
    t_wall: float
    t_mono: float
    boot: str
    code: str
    severity: int
    detail: str
    cleared: bool
    read: bool


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """Who asked for what power (+ charges the car). `answer` is empty when the request was taken."""

    t_wall: float
    source: str
    power_w: float
    duration_s: float
    reason: str
    answer: str


class Reader:
    """Read access to a records file. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Raises RecorderError when there is no such records file."""
        self.path = path
        if not path.is_file():
            raise RecorderError(f"records file {path} does not exist; it is made when the charger first runs")
        try:
            with contextlib.ExitStack() as stack:
                self._reader = stack.enter_context(contextlib.closing(connect(path)))
                self._reader.execute("PRAGMA query_only=1")
                if self._reader.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                    raise RecorderError(f"{path} is not a records file of this charger")
                stack.pop_all()
        except sqlite3.Error as error:
            raise RecorderError(f"records file {path} cannot be read: {reason(error)}") from None
        self._reader_lock = threading.Lock()

    def _rows(self, sql: str, *values: object) -> list[Any]:
        try:
            with self._reader_lock:
                return self._reader.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise RecorderError(f"records file {self.path} cannot be read: {reason(error)}") from None

    def events(self, limit: int = 100, since_wall: float = 0.0, severity: int = 0) -> list[StoredEvent]:
        """The newest `limit` events at or after `since_wall` and of at least `severity`, oldest first."""
        rows = self._rows(
            "SELECT id, t_wall, t_mono, boot, code, severity, detail, cleared <> 0, read <> 0 FROM events "
            "WHERE t_wall >= ? AND severity >= ? ORDER BY id DESC LIMIT ?",
            since_wall,
            severity,
            limit,
        )
        return [StoredEvent(*[*row[:7], bool(row[7]), bool(row[8])]) for row in reversed(rows)]

    def ledger_state(self) -> LedgerState | None:
        """The energy registers as last committed; None on a new file."""
        try:
            with self._reader_lock:
                return read_registers(self._reader)
        except (sqlite3.Error, LedgerError) as error:
            raise RecorderError(f"records file {self.path}: {error}") from None

    def registers_history(self, limit: int = 100) -> list[tuple[float, float, float]]:
        """(t_wall, charged_wh, discharged_wh), the newest `limit`, oldest first."""
        rows = self._rows(
            "SELECT t_wall, charged_wh, discharged_wh FROM registers_history ORDER BY id DESC LIMIT ?", limit
        )
        return [tuple(row) for row in reversed(rows)]

    def sessions(self, limit: int = 100) -> list[Session]:
        """The newest `limit` sessions, oldest first."""
        names = ", ".join(SESSION_COLUMNS)
        rows = self._rows(f"SELECT {names} FROM sessions ORDER BY number DESC LIMIT ?", limit)
        return [Session(*row) for row in reversed(rows)]

    def open_session(self) -> Session | None:
        """The newest session if it has no end: it runs, or a power cut left it open."""
        newest = self.sessions(1)
        return newest[0] if newest and newest[0].open else None

    def requests(self, limit: int = 100) -> list[StoredRequest]:
        """The newest `limit` requests for power, oldest first."""
        rows = self._rows(
            "SELECT t_wall, source, power_w, duration_s, reason, answer FROM requests ORDER BY id DESC LIMIT ?", limit
        )
        return [StoredRequest(*row) for row in reversed(rows)]

    def records(self, limit: int = 100) -> list[StoredRecord]:
        """The newest `limit` disturbance records without their samples, oldest first."""
        return [_record(row) for row in reversed(self._rows(f"{_RECORDS} ORDER BY id DESC LIMIT ?", limit))]

    def find_record(self, record_id: int) -> StoredRecord:
        """One of them. Raises RecorderError when there is no such record."""
        found = self._rows(f"{_RECORDS} WHERE id = ?", record_id)
        if not found:
            raise RecorderError(f"there is no disturbance record {record_id}")
        return _record(found[0])

    def unread_trips(self) -> int:
        """Disturbance records of a trip that nobody has read: they are kept beyond every limit."""
        return int(self._rows("SELECT count(*) FROM trip_records WHERE read = 0 AND severity >= ?", TRIP)[0][0])

    def record_rows(self, record_id: int) -> list[list[float]]:
        """The samples of a disturbance record, one row a tick. Raises RecorderError when there is no such record."""
        found = self._rows("SELECT columns, data FROM trip_records WHERE id = ?", record_id)
        if not found:
            raise RecorderError(f"there is no disturbance record {record_id}")
        columns, data = found[0]
        return unpack(json.loads(columns), data)

    def close(self) -> None:
        self._reader.close()


_RECORDS = (
    "SELECT id, t_wall, t_mono, boot, code, detail, settings_hash, columns, rows, severity, read <> 0, length(data), "
    "header FROM trip_records"
)


def _record(row: tuple[Any, ...]) -> StoredRecord:
    columns, rows, severity, read, size, header = row[7:]
    return StoredRecord(
        *[*row[:7], tuple(json.loads(columns)), rows, severity, bool(read), size, json.loads(header)],
    )


def mark_record_read(path: Path, record_id: int) -> None:
    """Somebody has read a disturbance record: from now on retention may remove it and its event. For tools, while a
    charger runs or not. Raises RecorderError."""
    try:
        with contextlib.closing(connect(path)) as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("UPDATE trip_records SET read = 1 WHERE id = ?", (record_id,))
            db.execute(
                "UPDATE events SET read = 1 WHERE (boot, t_mono, code) IN "
                "(SELECT boot, t_mono, code FROM trip_records WHERE id = ?)",
                (record_id,),
            )
            db.execute("COMMIT")
    except sqlite3.Error as error:
        raise RecorderError(f"records file {path} cannot be written: {reason(error)}") from None
