"""How much of the records is kept, and the statements that remove the rest."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from firmware.recorder.reader import TRIP

# Of the trips, those that somebody has read; of the others, all. Beyond the newest few, beyond number, age or size.
_PRUNE_RECORDS = (
    "DELETE FROM trip_records WHERE (severity < ? OR read = 1) "
    "AND id NOT IN (SELECT id FROM trip_records ORDER BY id DESC LIMIT ?) "
    "AND (id NOT IN (SELECT id FROM trip_records ORDER BY id DESC LIMIT ?) OR t_wall < ? OR id IN (SELECT id FROM "
    "(SELECT id, sum(length(data)) OVER (ORDER BY id DESC) AS total FROM trip_records) WHERE total > ?)) RETURNING id"
)


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept. What has severity TRIP or above and nobody has read, is kept beyond every limit: events and
    disturbance records alike."""

    events: int = 100_000  # about 15 MB
    event_age_s: float = 2 * 365 * 86400.0
    events_min: int = 1000  # kept whatever their age: a wall clock that jumps must not empty the log
    records: int = 200  # disturbance records
    record_bytes: int = 64_000_000  # of their samples, compressed: about 60 kB each
    record_age_s: float = 2 * 365 * 86400.0
    records_min: int = 10  # as events_min
    requests: int = 20_000
    sessions: int = 50_000
    history: int = 200_000  # more than five years of quarter hours


def prune(db: sqlite3.Connection, keep: Retention, now_wall: float) -> list[int]:
    """Remove what is too much or too old at `now_wall` (s since the epoch), inside of the caller's transaction.

    Returns the numbers of the disturbance records that are gone. Raises sqlite3.Error.
    """
    db.execute(
        "DELETE FROM events WHERE (severity < ? OR read = 1) AND (id <= (SELECT max(id) FROM events) - ? OR "
        "(id <= (SELECT max(id) FROM events) - ? AND t_wall < ?))",
        (TRIP, keep.events, keep.events_min, now_wall - keep.event_age_s),
    )
    for table, key, count in (
        ("requests", "id", keep.requests),
        ("sessions", "number", keep.sessions),
        ("registers_history", "id", keep.history),
    ):
        db.execute(f"DELETE FROM {table} WHERE {key} <= (SELECT max({key}) FROM {table}) - ?", (count,))
    limits = (TRIP, keep.records_min, keep.records, now_wall - keep.record_age_s, keep.record_bytes)
    return [row[0] for row in db.execute(_PRUNE_RECORDS, limits).fetchall()]
