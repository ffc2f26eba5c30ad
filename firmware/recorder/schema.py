"""The records file: its tables, its migrations, and what happens to a file that is none.

One SQLite file in WAL mode with synchronous=FULL: every commit is on the disk before it is called committed, and a
power cut at any write leaves the last commit or the one before it, never something between. (Needs a disk that does
not lie about its flushes.)
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from firmware.energy.ledger import LedgerError, LedgerState

APPLICATION_ID = 0x51445254  # "QDRT": how SQLite files of this project are told from others
BUSY_TIMEOUT_MS = 2000
# The fields of firmware/energy/ledger.LedgerState, as columns.
LEDGER_COLUMNS = (
    "boot, base_charged_wh, base_discharged_wh, seen_charged_wh, seen_discharged_wh, t_wall, ended, sessions"
)

# Each entry brings the file from version i to i + 1 and is never edited after a release: add another one instead.
MIGRATIONS: tuple[tuple[str, str], ...] = (
    (
        "first version",
        """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE migrations (version INTEGER PRIMARY KEY, what TEXT NOT NULL);

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    t_wall REAL NOT NULL,             -- seconds since the epoch, UTC
    t_mono REAL NOT NULL,             -- CLOCK_MONOTONIC of this boot of the machine, seconds
    boot TEXT NOT NULL,               -- the guard process
    code TEXT NOT NULL,               -- key of the event table
    severity INTEGER NOT NULL,        -- 0 info, 1 warning, 2 no entry, 3 soft stop, 4 trip, 5 latch
    detail TEXT NOT NULL,
    cleared INTEGER NOT NULL,         -- 1: the condition is over
    read INTEGER NOT NULL DEFAULT 0   -- 1: somebody has seen it; an unread trip is never removed
);
CREATE INDEX events_by_severity ON events (severity, id);

-- The energy registers: always exactly one row. register = base + seen; see firmware/energy/ledger.py.
CREATE TABLE registers (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    charged_wh REAL NOT NULL,
    discharged_wh REAL NOT NULL,
    boot TEXT NOT NULL,
    base_charged_wh REAL NOT NULL,
    base_discharged_wh REAL NOT NULL,
    seen_charged_wh REAL NOT NULL,
    seen_discharged_wh REAL NOT NULL,
    t_wall REAL,
    ended TEXT NOT NULL,              -- JSON list of guard processes that ended
    sessions INTEGER NOT NULL
);
CREATE TRIGGER registers_only_rise BEFORE UPDATE ON registers
WHEN NEW.charged_wh < OLD.charged_wh OR NEW.discharged_wh < OLD.discharged_wh
BEGIN SELECT RAISE(ABORT, 'an energy register must never go back'); END;
CREATE TRIGGER registers_stay BEFORE DELETE ON registers
BEGIN SELECT RAISE(ABORT, 'the energy registers must never be removed'); END;

-- The registers now and then: every quarter of an hour while they move, and at both ends of a session.
CREATE TABLE registers_history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    t_wall REAL,
    charged_wh REAL NOT NULL,
    discharged_wh REAL NOT NULL
);

CREATE TABLE sessions (
    number INTEGER PRIMARY KEY,
    t_start_wall REAL NOT NULL,
    start_charged_wh REAL NOT NULL,
    start_discharged_wh REAL NOT NULL,
    start_soc_pct REAL,
    t_end_wall REAL,                  -- NULL while the session runs
    end_charged_wh REAL,
    end_discharged_wh REAL,
    end_soc_pct REAL,
    reason TEXT NOT NULL
);

-- Who asked for what power.
CREATE TABLE requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    t_wall REAL NOT NULL,
    source TEXT NOT NULL,
    power_w REAL NOT NULL,            -- + charges the car, - discharges it
    duration_s REAL NOT NULL,
    reason TEXT NOT NULL,
    answer TEXT NOT NULL              -- empty = taken, else why it was refused
);

-- Disturbance records. data: zlib of a JSON object {"column": [values]}; size: bytes before compression.
CREATE TABLE trip_records (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    t_wall REAL NOT NULL,
    t_mono REAL NOT NULL,
    boot TEXT NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    settings_hash TEXT NOT NULL,      -- of the grid-code settings that were in force
    columns TEXT NOT NULL,            -- JSON list of names, in order
    rows INTEGER NOT NULL,
    size INTEGER NOT NULL,
    data BLOB NOT NULL
);
""",
    ),
    (
        "disturbance records: what was in force, and whether somebody has read them",
        """
ALTER TABLE trip_records ADD COLUMN severity INTEGER NOT NULL DEFAULT 4;  -- of the event, as in `events`
ALTER TABLE trip_records ADD COLUMN header TEXT NOT NULL DEFAULT '{}';    -- JSON: settings, kinds of columns
ALTER TABLE trip_records ADD COLUMN read INTEGER NOT NULL DEFAULT 0;      -- 1: retention may remove it in its time
CREATE INDEX trip_records_read ON trip_records (read, severity);          -- without reading the samples
""",
    ),
)


class RecorderError(Exception):
    """Records cannot be opened or written. One sentence: what, where, and what to do."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection with this project's settings. Raises sqlite3.Error."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1000)
    db.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    return db


def reason(error: sqlite3.Error) -> str:
    """SQLite's own words for people."""
    return f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"


def _damaged(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _why_not_ours(db: sqlite3.Connection) -> str:
    """Why this file cannot go on as the records file; empty when it can. Raises sqlite3.Error when it cannot be read
    for another reason than its content (locked, no permission)."""
    try:
        application = db.execute("PRAGMA application_id").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application != APPLICATION_ID:
            return "it is a database of another program" if tables or application else ""
        found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            return f"it is damaged ({found})"
        if db.execute("PRAGMA user_version").fetchone()[0] <= len(MIGRATIONS):
            read_registers(db)
    except LedgerError as error:
        return f"it is damaged ({error})"
    except sqlite3.DatabaseError as error:
        if not _damaged(error):
            raise
        return f"it is damaged or no database at all ({error})"
    return ""


def _set_aside(path: Path) -> Path:
    """Rename the file and its journals so that nothing of it is lost. Returns the new name of the file."""
    n = 1
    while any(Path(f"{path}.aside-{n}{end}").exists() for end in ("", "-wal", "-shm")):
        n += 1
    # Journals first: a journal left behind would be replayed into the new file.
    for end in ("-wal", "-shm", ""):
        part = Path(f"{path}{end}")
        if part.exists():
            part.rename(f"{path}.aside-{n}{end}")
    return Path(f"{path}.aside-{n}")


def read_registers(db: sqlite3.Connection) -> LedgerState | None:
    """The stored ledger state, or None when nothing was stored yet. Raises sqlite3.Error, LedgerError."""
    row = db.execute(f"SELECT {LEDGER_COLUMNS} FROM registers").fetchone()
    if row is None:
        return None
    stored = dict(zip(LEDGER_COLUMNS.split(", "), row, strict=True))
    try:
        return LedgerState.from_dict({**stored, "ended": json.loads(stored["ended"])})
    except (TypeError, ValueError) as error:  # LedgerError is a ValueError
        raise LedgerError(f"the stored energy registers are unreadable: {error}") from None


@dataclass(frozen=True, slots=True)
class Opened:
    """A records file ready for use. `notice` is one sentence when an unusable file had to make way, else empty."""

    db: sqlite3.Connection
    notice: str = ""
    set_aside: Path | None = None


def open_file(path: Path) -> Opened:
    """Open, check and migrate the records file, or make it.

    A file that is damaged or of another program is renamed (never deleted) and a new one is begun. The energy
    registers of a damaged file are carried over when they can still be read. Raises RecorderError when there is no way
    to write here, or when the file is of a newer version: that one is left as it is.
    """
    if path.is_dir():
        raise RecorderError(f"records file {path}: this is a directory; give the name of a file")
    try:
        with contextlib.ExitStack() as stack:
            db = stack.enter_context(contextlib.closing(connect(path)))
            why = _why_not_ours(db)
            if not why:
                _prepare(db, path)
                stack.pop_all()
                return Opened(db)
            state = None
            with contextlib.suppress(sqlite3.Error, LedgerError):
                state = read_registers(db)
        aside = _set_aside(path)
        with contextlib.ExitStack() as stack:
            db = stack.enter_context(contextlib.closing(connect(path)))
            _prepare(db, path)
            if state is not None:
                write_registers(db, state)
            stack.pop_all()
    except (sqlite3.Error, OSError) as error:
        text = reason(error) if isinstance(error, sqlite3.Error) else str(error)
        raise RecorderError(
            f"records file {path} cannot be opened: {text}; check that its directory exists, its owner and free space"
        ) from None
    kept = "its energy registers were carried over" if state is not None else "the energy registers begin at zero"
    return Opened(db, f"records file {path}: {why}; it was set aside as {aside.name} and {kept}.", aside)


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Journal, durability and tables. Raises sqlite3.Error, RecorderError."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise RecorderError(
            f"records file {path} is of version {version} and this software knows up to {len(MIGRATIONS)}: "
            "install the newer software again, or move the file away"
        )
    journal = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if journal != "wal":
        raise RecorderError(f"records file {path}: this file system does not support SQLite's WAL; use a local disk")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA journal_size_limit=4194304")  # the WAL file shrinks again after a burst
    for number, (what, sql) in enumerate(MIGRATIONS[version:], start=version + 1):
        # One transaction a step: a power cut leaves the old version or the new one.
        db.executescript(
            f"BEGIN IMMEDIATE;{sql}INSERT INTO migrations VALUES ({number}, '{what}');"
            f"PRAGMA application_id={APPLICATION_ID};PRAGMA user_version={number};COMMIT;"
        )


def write_registers(db: sqlite3.Connection, state: LedgerState) -> None:
    """Replace the registers row. Raises sqlite3.IntegrityError when a register would go back."""
    values = {**state.as_dict(), "ended": json.dumps(state.ended)}
    row = [state.charged_wh, state.discharged_wh, *(values[name] for name in LEDGER_COLUMNS.split(", "))]
    names = f"charged_wh, discharged_wh, {LEDGER_COLUMNS}"
    update = ", ".join(f"{name} = excluded.{name}" for name in names.split(", "))
    db.execute(
        f"INSERT INTO registers (id, {names}) VALUES (1{', ?' * len(row)}) ON CONFLICT (id) DO UPDATE SET {update}", row
    )
