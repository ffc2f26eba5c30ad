"""What must reach the back end, in order, over kill -9, power cuts and weeks without it: one SQLite file.

Messages of transactions wait here, first in, first out, each until the back end has taken it. A message and the state
of the transaction that it belongs to (its next seqNo above all) are stored in one commit that the disk has confirmed
before anything is sent; so no number is used twice, and none is lost.

A message leaves when it was answered. Killed between the answer and the commit, it is sent again: the back end sees
the same transactionId and seqNo and knows it (OCPP 2.x part 2, E04). A message that the back end *refuses* (CALLERROR)
is tried `attempts` times, the waits growing, and then given up, because one bad message may not hold up all that
follow. A message that got no answer is tried for ever.

When there are more than `keep` messages, every second Updated goes, the first and the last of a transaction never
(OCPP 2.x part 2, E04.FR.09 allows to drop intermediate ones; dropping every second is what libocpp does).

The time is given; nothing here waits except for the disk. Times in the file are wall time (s since the epoch).
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = 1
KEEP = 20_000  # policy value: a week of Updated every 60 s with room, about 20 MB
ATTEMPTS = 3  # libocpp's default of MessageAttempts for transaction messages
INTERVAL_S = 30.0  # libocpp's default of MessageAttemptInterval: the wait is this times the attempts so far

_TABLES = """
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tx TEXT NOT NULL,        -- our id of the transaction
    payload TEXT NOT NULL,   -- JSON, in no version's words: which one is spoken shows when it is sent
    droppable INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0   -- refusals by the back end so far
);
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE numbers (tx TEXT PRIMARY KEY, number INTEGER NOT NULL);  -- 1.6: the back end's transactionId
"""


class OutboxError(Exception):
    """The file cannot be used, or the disk refused. One sentence."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message that waits. attempts: how often the back end refused it."""

    id: int
    tx: str
    payload: dict[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True)
class New:
    """A message to be queued. droppable: an intermediate one that may go when there are too many."""

    tx: str
    payload: dict[str, Any]
    droppable: bool


class Outbox:
    """The queue of one charger. Every method that changes something has committed when it returns."""

    def __init__(self, path: Path | str, keep: int = KEEP) -> None:
        """Raises OutboxError. Only one process may hold a file."""
        self._keep = keep
        self.dropped = 0  # messages given up since the start, for whoever watches
        if str(path) != ":memory:":
            # Passwords of ways to the back end are in it; SQLite gives its other files the same permissions.
            with contextlib.suppress(OSError):  # what is wrong with the file says SQLite
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
                os.chmod(path, 0o600)
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            if found == 0:
                self._db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
            elif found != SCHEMA:
                raise OutboxError(f"{path} has version {found} of the queue; this program knows {SCHEMA}.")
        except sqlite3.Error as error:
            raise OutboxError(f"The queue {path} cannot be used: {error}.") from None

    @classmethod
    def open(cls, path: Path, keep: int = KEEP) -> tuple[Outbox, str]:
        """The queue, and a sentence when a damaged file had to be set aside for a new one. Raises OutboxError."""
        try:
            return cls(path, keep), ""
        except OutboxError as error:
            if not isinstance(error.__context__, sqlite3.DatabaseError) or isinstance(
                error.__context__, sqlite3.OperationalError
            ):
                raise  # locked, no disk, no permission: another file would not help
        aside = path.with_name(f"{path.name}.damaged")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).replace(aside.with_name(aside.name + suffix))
        return cls(path, keep), f"The queue {path.name} was damaged and is kept as {aside.name}; a new one was begun."

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    # ------------------------------------------------------------------------------------------------------- writing
    def put(self, messages: Sequence[New], name: str = "", state: object = None) -> None:
        """Queue messages and store `state` under `name`, all or nothing. Raises OutboxError; then nothing changed."""
        rows = [(m.tx, json.dumps(m.payload, allow_nan=False), int(m.droppable)) for m in messages]
        with self._commit() as db:
            db.executemany("INSERT INTO messages (tx, payload, droppable) VALUES (?, ?, ?)", rows)
            if name:
                db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, json.dumps(state, allow_nan=False)))
            self._thin(db)

    def keep(self, name: str, value: object) -> None:
        """Store what a function must not forget; None forgets it. Raises OutboxError; then nothing changed."""
        with self._commit() as db:
            if value is None:
                db.execute("DELETE FROM state WHERE name = ?", (name,))
            else:
                db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, json.dumps(value, allow_nan=False)))

    def taken(self, id: int, number: int | None = None) -> None:
        """The back end took a message. number: the transactionId it gave (1.6). Raises OutboxError."""
        with self._commit() as db:
            if number is not None:
                row = db.execute("SELECT tx FROM messages WHERE id = ?", (id,)).fetchone()
                if row is not None:
                    db.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?)", (row[0], number))
            self._delete(db, id)

    def refused(self, id: int, attempts: int = ATTEMPTS) -> Message | None:
        """The back end refused a message; returned when that was once too often and it is given up."""
        with self._commit() as db:
            db.execute("UPDATE messages SET attempts = attempts + 1 WHERE id = ?", (id,))
            message = self._first(db, "WHERE id = ?", (id,))
            if message is None or message.attempts < attempts:
                return None
            self._delete(db, id)
        self.dropped += 1
        return message

    def _delete(self, db: sqlite3.Connection, id: int) -> None:
        db.execute("DELETE FROM messages WHERE id = ?", (id,))
        # A transaction that has nothing left to tell and is not the running one needs no number any more.
        db.execute(
            "DELETE FROM numbers WHERE tx NOT IN (SELECT tx FROM messages) AND tx NOT IN "
            "(SELECT json_extract(value, '$.id') FROM state WHERE json_extract(value, '$.id') IS NOT NULL)"
        )

    def _thin(self, db: sqlite3.Connection) -> None:
        if db.execute("SELECT count(*) FROM messages").fetchone()[0] <= self._keep:
            return
        # Not the head: it may be on its way.
        ids = [row[0] for row in db.execute("SELECT id FROM messages WHERE droppable ORDER BY id LIMIT -1 OFFSET 1")]
        db.executemany("DELETE FROM messages WHERE id = ?", [(id,) for id in ids[::2]])
        self.dropped += len(ids[::2])

    # ------------------------------------------------------------------------------------------------------- reading
    def head(self) -> Message | None:
        """The message whose turn it is. Raises OutboxError."""
        try:
            return self._first(self._db, "", ())
        except sqlite3.Error as error:
            raise OutboxError(f"The queue cannot be read: {error}.") from None

    def _first(self, db: sqlite3.Connection, where: str, values: tuple[object, ...]) -> Message | None:
        row = db.execute(
            f"SELECT id, tx, payload, attempts FROM messages {where} ORDER BY id LIMIT 1", values
        ).fetchone()
        return None if row is None else Message(row[0], row[1], json.loads(row[2]), row[3])

    def number(self, tx: str) -> int | None:
        """The transactionId that the back end gave to our transaction (1.6)."""
        row = self._db.execute("SELECT number FROM numbers WHERE tx = ?", (tx,)).fetchone()
        return None if row is None else int(row[0])

    def state(self, name: str) -> Any:
        """What was stored under `name`; None when nothing was."""
        row = self._db.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM messages").fetchone()[0])

    def waiting_for(self, tx: str) -> int:
        """Messages of one transaction that wait."""
        return int(self._db.execute("SELECT count(*) FROM messages WHERE tx = ?", (tx,)).fetchone()[0])

    def report(self, most: int = 20) -> dict[str, Any]:
        """What waits: how many, how many were given up since the start, and the first ones."""
        rows = self._db.execute("SELECT payload, attempts FROM messages ORDER BY id LIMIT ?", (most,)).fetchall()
        first = [(json.loads(payload), attempts) for payload, attempts in rows]
        shown = [
            {key: m[key] for key in ("tx", "seq", "kind", "trigger", "wall_s", "offline")} | {"refused": attempts}
            for m, attempts in first
        ]
        return {"waiting": len(self), "given_up": self.dropped, "first": shown}

    def _commit(self) -> _Commit:
        return _Commit(self._db)


class _Commit:
    """BEGIN ... COMMIT; on any fault ROLLBACK, and what SQLite says becomes an OutboxError."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise OutboxError(f"The queue cannot be written: {error}.") from None
        return self._db

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                self._db.execute("COMMIT")
                return
        except sqlite3.Error as refusal:
            kind, error = type(refusal), refusal
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise OutboxError(f"The queue cannot be written: {error}.") from None


def wait_s(attempts: int, interval_s: float = INTERVAL_S) -> float:
    """How long a message that was refused `attempts` times waits for the next try (s)."""
    return interval_s * attempts
