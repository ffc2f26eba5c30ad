"""The records file: what is committed stays, registers never go back, a bad file or a full disk is told."""

from __future__ import annotations

import math
import resource
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from firmware.energy.ledger import Ledger, LedgerState
from firmware.guard.events import EVENTS, Severity
from firmware.guard.messages import TripRecord
from firmware.recorder import store as store_module
from firmware.recorder.reader import TRIP, Reader, mark_record_read
from firmware.recorder.retention import Retention
from firmware.recorder.schema import APPLICATION_ID, MIGRATIONS, RecorderError
from firmware.recorder.store import Store
from firmware.recorder.trip_record import pack
from tests.waiting import wait

T0 = 1_800_000_000.0
INFO = int(Severity.INFO)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store.open(path)
    yield opened
    opened.close()


def state(charged_wh: float, discharged_wh: float = 0.0, t_wall: float = T0) -> LedgerState:
    return LedgerState("boot-1", 0.0, 0.0, charged_wh, discharged_wh, t_wall)


def event(store: Store, i: int = 0, severity: int = INFO, code: str = "state", t_wall: float = T0) -> int:
    return store.event(t_wall + i, 100.0 + i, "boot-1", code, severity, f"detail {i}")


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def test_the_trip_severity_and_the_stores_own_events_are_those_of_the_event_table() -> None:
    assert int(Severity.TRIP) == TRIP
    for code in ("records_lost", "records_unwritable"):
        assert EVENTS[code].severity is Severity.WARNING


def test_every_commit_waits_for_the_disk(store: Store, path: Path) -> None:
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert query(path, "PRAGMA journal_mode") == [("wal",)]


def test_things_are_committed_together_and_not_more_often_than_the_interval(store: Store) -> None:
    commits = 0
    for i in range(1000):  # ten seconds at 100 Hz of simulated time
        event(store, i)
        store.flush(now=i * 0.01)
        commits = store.health().commits
    assert 38 <= commits <= 42  # four a second
    store.flush(now=10.0, force=True)
    assert len(store.events(limit=2000)) == 1000
    assert store.health().waiting == 0


def test_an_event_that_trips_is_on_the_disk_when_the_call_returns(store: Store, path: Path) -> None:
    store.flush(now=0.0)
    event(store, 1)
    number = event(store, 2, TRIP, "grid_trip")
    assert store.committed == number
    other = Reader(path)
    assert [e.detail for e in other.events()] == ["detail 1", "detail 2"]
    other.close()


def test_events_are_found_by_time_and_severity_and_keep_every_field(store: Store) -> None:
    for i in range(10):
        event(store, i, severity=i % 3)
    store.event(T0 + 20, 120.0, "boot-2", "late_tick", 1, "12 ms", cleared=True)
    store.flush(0.0, force=True)
    assert [e.t_wall - T0 for e in store.events(severity=2)] == [2.0, 5.0, 8.0]
    assert [e.t_wall - T0 for e in store.events(limit=3)] == [8.0, 9.0, 20.0]
    assert [e.t_wall - T0 for e in store.events(since_wall=T0 + 9)] == [9.0, 20.0]
    last = store.events(limit=1)[0]
    assert (last.t_mono, last.boot, last.code, last.severity, last.detail, last.cleared, last.read) == (
        120.0,
        "boot-2",
        "late_tick",
        1,
        "12 ms",
        True,
        False,
    )


def test_the_registers_and_an_open_session_survive_a_restart_and_go_on_with_the_difference(path: Path) -> None:
    store = Store.open(path)
    ledger = Ledger(22_000.0)
    ledger.apply("guard-1", 10.0, 1.0, T0)
    session = ledger.start_session(T0, soc_pct=40.0)
    store.session_start(session, ledger.state)
    ledger.apply("guard-1", 11.0, 1.0, T0 + 1)
    store.registers(ledger.state)
    store.close()

    store = Store.open(path)  # services again; guard ran on meanwhile and is the same process
    again = Ledger(22_000.0, store.ledger_state(), store.open_session())
    assert again.state == ledger.state
    again.apply("guard-1", 15.0, 2.5, T0 + 30)
    assert (again.charged_wh, again.discharged_wh) == (15.0, 2.5)
    store.session_end(again.end_session(T0 + 31, "the car ended it", 41.0), again.state)
    store.close()

    reader = Reader(path)
    ended = reader.sessions()[-1]
    assert (ended.charged_wh, ended.discharged_wh, ended.start_soc_pct, ended.end_soc_pct) == (5.0, 1.5, 40.0, 41.0)
    assert reader.open_session() is None
    assert [(c, d) for _, c, d in reader.registers_history()] == [(10.0, 1.0), (15.0, 2.5)]
    reader.close()


def test_a_register_that_would_go_back_is_refused_before_and_by_the_file_itself(store: Store, path: Path) -> None:
    store.registers(state(10.0, 5.0))
    with pytest.raises(RecorderError, match=r"charged 10\.000 -> 9\.000"):
        store.registers(state(9.0, 5.0))
    store.flush(0.0, force=True)
    db = sqlite3.connect(path)
    for sql in (
        "UPDATE registers SET charged_wh = 9",
        "UPDATE registers SET discharged_wh = 4.9",
        "DELETE FROM registers",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="must never"):
            db.execute(sql)
    db.close()
    assert store.ledger_state() == state(10.0, 5.0)


def test_registers_that_another_writer_brought_further_are_given_up_and_told_and_the_rest_is_written(
    store: Store, path: Path
) -> None:
    store.registers(state(10.0))
    store.flush(0.0, force=True)
    db = sqlite3.connect(path)
    db.execute("UPDATE registers SET charged_wh = 50, seen_charged_wh = 50")
    db.commit()
    db.close()
    store.registers(state(11.0))
    event(store)
    store.flush(1.0, force=True)
    assert store.ledger_state() == state(50.0)
    assert [e.code for e in store.events()] == ["state", "records_lost"]
    assert "must never go back" in store.events()[-1].detail
    assert store.health().lost == 1


def test_an_idle_charger_writes_nothing(store: Store) -> None:
    for i in range(100):
        store.registers(state(10.0, t_wall=T0 + i))
        store.flush(now=float(i))
    assert store.health().commits == 1


def test_the_history_has_a_row_a_quarter_hour_while_energy_flows(store: Store) -> None:
    for minute in range(121):
        store.registers(state(float(minute + 1), t_wall=T0 + 60.0 * minute))
        store.flush(now=60.0 * minute)
    assert [round((t - T0) / 60) for t, _, _ in store.registers_history()] == [0, 15, 30, 45, 60, 75, 90, 105, 120]


def test_requests_keep_who_asked_for_what_and_the_answer(store: Store) -> None:
    store.request(T0, "cli", -7000.0, 1800.0, "peak")
    store.request(T0 + 1, "ocpp", 50_000.0, 60.0, "profile", answer="power_w is 50000; allowed: -22000 to 22000 W")
    store.flush(0.0, force=True)
    first, second = store.requests()
    assert (first.source, first.power_w, first.duration_s, first.reason, first.answer) == (
        "cli",
        -7000.0,
        1800.0,
        "peak",
        "",
    )
    assert second.answer.startswith("power_w is 50000")


def trip(rows: list[list[float]] | None = None) -> TripRecord:
    return TripRecord(12.5, "grid_trip", "UV2 at 0.30 pu", ["t", "l1_v", "f_hz"], rows or [[12.4, 230.0, math.nan]])


def test_a_disturbance_record_comes_back_as_it_was_given_and_nan_stays_missing(store: Store) -> None:
    rows = [[12.0 + i / 100, 230.0 - i, 50.0 if i % 2 else math.nan] for i in range(300)]
    store.record(T0, "boot-1", trip(rows), settings_hash="abc123")
    store.flush(0.0, force=True)
    stored = store.records()[0]
    assert (stored.code, stored.settings_hash, stored.columns, stored.rows) == (
        "grid_trip",
        "abc123",
        ("t", "l1_v", "f_hz"),
        300,
    )
    assert repr(store.record_rows(stored.id)) == repr(rows)
    with pytest.raises(RecorderError, match="no disturbance record 99"):
        store.record_rows(99)


def test_a_record_whose_rows_do_not_fit_is_refused_and_changes_nothing(store: Store) -> None:
    with pytest.raises(RecorderError, match="row 0 has 2 values, not 3"):
        store.record(T0, "boot-1", trip([[1.0, 2.0]]))
    assert store.health().waiting == 0


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the sqlite3 command is not installed")
def test_the_recipes_for_the_sqlite3_command_in_the_documentation_work(store: Store, path: Path) -> None:
    import subprocess

    event(store, 1, TRIP, "grid_trip")
    store.record(T0, "boot-1", trip())
    store.registers(state(10.0))
    store.flush(0.0, force=True)
    text = (Path(__file__).parent.parent / "docs" / "records.md").read_text()
    recipes = [part.split("```")[0] for part in text.split("```sql\n")[1:]]
    assert len(recipes) >= 4
    for recipe in recipes:
        done = subprocess.run(["sqlite3", "-readonly", str(path), recipe], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{recipe}\n{done.stderr}"
    unpacked = "SELECT sqlar_uncompress(data, size) FROM trip_records"
    done = subprocess.run(["sqlite3", "-readonly", str(path), unpacked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '{"t":[12.4],"l1_v":[230.0],"f_hz":[null]}'


# ------------------------------------------------------------------------------------------------- files that are none
def aside(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir() if ".aside-" in p.name)


def test_a_file_that_is_no_database_is_set_aside_and_kept(path: Path) -> None:
    path.write_bytes(b"my shopping list\n" * 100)
    store = Store.open(path)
    assert "records.db.aside-1" in store.notice
    assert "begin at zero" in store.notice
    assert store.set_aside == path.with_name("records.db.aside-1")
    assert store.set_aside.read_bytes() == b"my shopping list\n" * 100
    event(store)
    store.close()
    assert len(query(path, "SELECT * FROM events")) == 1


def test_a_database_of_another_program_is_set_aside_and_kept(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE recipes (name)")
    db.execute("INSERT INTO recipes VALUES ('soup')")
    db.commit()
    db.close()
    store = Store.open(path)
    assert "database of another program" in store.notice
    assert store.set_aside is not None
    assert query(store.set_aside, "SELECT name FROM recipes") == [("soup",)]
    store.close()


def test_a_second_unusable_file_does_not_overwrite_the_first_one_set_aside(path: Path) -> None:
    for text in ("one", "two"):
        for part in path.parent.iterdir():
            if ".aside-" not in part.name:
                part.unlink()
        path.write_text(text * 1000)
        Store.open(path).close()
    assert aside(path) == ["records.db.aside-1", "records.db.aside-2"]
    assert path.with_name("records.db.aside-1").read_text() == "one" * 1000


def test_a_damaged_file_is_set_aside_and_its_registers_are_carried_over(path: Path) -> None:
    store = Store.open(path)
    for i in range(3000):
        event(store, i)
    store.registers(state(1234.5, 67.0))
    store.close()
    data = bytearray(path.read_bytes())
    page = 4096
    for start in range(len(data) - 20 * page, len(data) - 2 * page, page):  # event pages, far from the registers
        data[start : start + 100] = b"\xff" * 100
    path.write_bytes(data)
    store = Store.open(path)
    assert "it is damaged" in store.notice
    assert "registers were carried over" in store.notice
    assert store.ledger_state() == state(1234.5, 67.0)
    store.registers(state(1235.0, 67.0))
    store.close()
    assert aside(path) == ["records.db.aside-1"]


def test_registers_that_are_no_numbers_make_the_file_damaged(path: Path) -> None:
    store = Store.open(path)
    store.registers(state(10.0))
    store.close()
    db = sqlite3.connect(path)
    db.execute("UPDATE registers SET seen_charged_wh = -5")
    db.commit()
    db.close()
    store = Store.open(path)
    assert "seen_charged_wh is -5" in store.notice
    store.close()


def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(path: Path) -> None:
    Store.open(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(RecorderError, match=f"version {len(MIGRATIONS) + 1} and this software knows up to"):
        Store.open(path)
    assert path.read_bytes() == before
    assert aside(path) == []


def test_a_migration_brings_an_older_file_up_and_keeps_its_content(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(path)
    event(store)
    store.close()
    newer = (*MIGRATIONS, ("notes", "ALTER TABLE events ADD COLUMN note TEXT NOT NULL DEFAULT 'old';"))
    monkeypatch.setattr("firmware.recorder.schema.MIGRATIONS", newer)
    store = Store.open(path)
    event(store, 1)
    store.close()
    assert query(path, "SELECT detail, note FROM events") == [("detail 0", "old"), ("detail 1", "old")]
    assert query(path, "SELECT what FROM migrations ORDER BY version") == [(what,) for what, _ in newer]


def test_a_migration_that_fails_half_way_leaves_the_old_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(path).close()
    broken = (*MIGRATIONS, ("broken", "CREATE TABLE half (a); CREATE TABLE events (a);"))
    monkeypatch.setattr("firmware.recorder.schema.MIGRATIONS", broken)
    with pytest.raises(RecorderError, match="table events already exists"):
        Store.open(path)
    monkeypatch.undo()
    Store.open(path).close()
    assert query(path, "SELECT count(*) FROM sqlite_master WHERE name = 'half'") == [(0,)]


@pytest.mark.parametrize("kind", ["missing directory", "a directory"])
def test_a_place_where_no_file_can_be_is_refused_with_one_sentence(tmp_path: Path, kind: str) -> None:
    bad = tmp_path if kind == "a directory" else tmp_path / "no" / "records.db"
    with pytest.raises(RecorderError, match="records file"):
        Store.open(bad)
    assert not (tmp_path / "no").exists()


def test_a_reader_refuses_what_is_no_records_file(tmp_path: Path) -> None:
    with pytest.raises(RecorderError, match="does not exist"):
        Reader(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("hello" * 1000)
    with pytest.raises(RecorderError, match="cannot be read"):
        Reader(tmp_path / "text.db")


# -------------------------------------------------------------------------------------------------- a disk that refuses
def fill(store: Store) -> None:
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count={pages}")  # SQLite's own "disk is full", SQLITE_FULL


def test_a_full_disk_is_told_once_and_everything_is_written_when_there_is_room_again(store: Store) -> None:
    store.flush(0.0, force=True)
    fill(store)
    store.registers(state(10.0))
    for i in range(2000):
        event(store, i)
    with pytest.raises(RecorderError, match=r"SQLITE_FULL.*free space"):
        store.flush(1.0)
    assert store.flush(1.5) is False  # not before the retry is due, and not a second exception
    assert store.flush(2.5) is False
    health = store.health()
    assert (health.waiting, health.lost) == (2001, 0)
    assert "SQLITE_FULL" in health.problem
    store._db.execute("PRAGMA max_page_count=1000000")
    store.flush(4.0)
    assert store.flush(5.0) is True  # with its own notice of the failure
    assert store.health().problem == ""
    events = store.events(limit=5000)
    assert [e.detail for e in events[:2000]] == [f"detail {i}" for i in range(2000)]
    assert events[-1].code == "records_unwritable"
    assert "for 3.0 s" in events[-1].detail
    assert store.ledger_state() == state(10.0)


def test_a_trip_during_a_full_disk_does_not_raise_in_the_caller_but_the_next_flush_tells(store: Store) -> None:
    store.flush(0.0, force=True)
    fill(store)
    for _ in range(50):
        store.event(T0, 1.0, "b", "grid_trip", TRIP, "x" * 4000)
    assert store.health().problem
    with pytest.raises(RecorderError, match="SQLITE_FULL"):
        store.flush(1.0)
    store._db.execute("PRAGMA max_page_count=1000000")
    store.flush(3.0)
    store.flush(4.0)
    assert sum(e.code == "grid_trip" for e in store.events()) == 50


def test_a_write_error_of_the_file_system_loses_nothing(store: Store, path: Path) -> None:
    """A real one: the kernel refuses to let the journal grow (EFBIG), as it would with a quota."""
    store.registers(state(5.0))
    store.flush(0.0, force=True)
    size = path.with_name("records.db-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for i in range(500):
        event(store, i)
    store.registers(state(6.0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, hard))
    try:
        with pytest.raises(RecorderError, match="SQLITE_"):
            store.flush(1.0)
        assert store.ledger_state() == state(5.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.flush(3.0)
    assert len(store.events(limit=1000)) == 500
    assert store.ledger_state() == state(6.0)


def test_above_the_bound_the_oldest_that_is_no_trip_goes_and_the_number_is_written_down(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "QUEUE_MAX", 100)
    store.flush(0.0, force=True)
    fill(store)
    store.event(T0, 1.0, "b", "grid_trip", TRIP, "x" * 50_000)  # too big for what is left
    for i in range(150):
        event(store, i)
    assert store.health().waiting == 100
    assert store.health().lost == 51
    store._db.execute("PRAGMA max_page_count=1000000")
    store.flush(10.0, force=True)
    events = store.events(limit=1000)
    assert events[0].code == "grid_trip"
    assert [e.detail for e in events[1:100]] == [f"detail {i}" for i in range(51, 150)]
    assert events[100].code == "records_lost"
    assert events[100].detail.startswith("51 records")


def test_a_value_that_can_never_be_written_does_not_keep_the_others_from_the_disk(store: Store) -> None:
    event(store, 1)
    store.event(math.nan, 1.0, "b", "state", INFO, "no time")  # SQLite stores nan as NULL: refused by the table
    store.event(T0, 1.0, "b", "state", INFO, {"not": "text"})  # type: ignore[arg-type]
    event(store, 2)
    assert store.flush(0.0, force=True)
    assert [e.detail for e in store.events() if e.code == "state"] == ["detail 1", "detail 2"]
    assert store.events()[-1].code == "records_lost"
    assert store.health().lost == 2


def test_a_locked_file_is_a_problem_that_passes(store: Store, path: Path) -> None:
    store._db.execute("PRAGMA busy_timeout=10")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    event(store)
    with pytest.raises(RecorderError, match="locked"):
        store.flush(0.0)
    other.execute("ROLLBACK")
    other.close()
    store.flush(2.0)
    assert store.events()[0].detail == "detail 0"


def test_closing_with_things_that_cannot_be_written_says_how_many(path: Path) -> None:
    store = Store.open(path)
    store.flush(0.0, force=True)
    fill(store)
    for i in range(2000):
        event(store, i)
    with pytest.raises(RecorderError, match=r"2000 records were not written.*SQLITE_FULL"):
        store.close()


# ------------------------------------------------------------------------------------------------------------ retention
def test_retention_removes_old_events_but_never_an_unread_trip(path: Path) -> None:
    store = Store.open(path, retention=Retention(events=50, events_min=10, requests=5, records=1, records_min=1))
    event(store, 0, TRIP, "grid_trip")
    for i in range(1, 500):
        event(store, i)
        store.request(T0, "cli", 1.0, 1.0)
    for k in range(4):
        store.record(T0 + k, "b", trip(), severity=INFO if k % 2 else TRIP)
    for i in range(store_module.PRUNE_EVERY + 2):
        event(store, 500 + i)
        store.flush(float(i), force=True)
    events = store.events(limit=10_000)
    assert events[0].code == "grid_trip"
    assert len(events) <= 55
    assert events[-1].detail == f"detail {500 + store_module.PRUNE_EVERY + 1}"
    assert len(store.requests()) == 5
    assert [r.id for r in store.records()] == [1, 3, 4]  # two unread trips and the newest
    assert store.unread_trips() == 2
    assert store.pruned_records() == [2]
    assert store.pruned_records() == []
    store.mark_read(events[0].id)
    for i in range(store_module.PRUNE_EVERY + 2):
        event(store, 900 + i)
        store.flush(1e6 + i, force=True)
    assert all(e.code != "grid_trip" for e in store.events(limit=10_000))
    store.close()


def prune_now(store: Store, n: int = 0) -> None:
    for i in range(store_module.PRUNE_EVERY + 1):
        event(store, i)
        store.flush(1e6 * n + i, force=True)


def test_disturbance_records_go_by_size_and_by_age_once_they_are_read_and_the_newest_stay(path: Path) -> None:
    store = Store.open(path, retention=Retention(record_bytes=1, record_age_s=1000.0, records_min=2))
    for k in range(5):
        store.record(T0 - 5000.0 + k, "b", trip())
    prune_now(store)
    assert [r.id for r in store.records()] == [1, 2, 3, 4, 5]  # nobody has read them
    for number in (1, 2, 4, 5):
        mark_record_read(path, number)
    prune_now(store, 1)
    assert [r.id for r in store.records()] == [3, 4, 5]
    store.close()
    store = Store.open(path, retention=Retention(record_age_s=1000.0, records_min=1))
    mark_record_read(path, 3)
    prune_now(store, 2)
    assert [r.id for r in store.records()] == [5]
    assert store.record(T0, "b", trip()).id == 6
    store.close()


def test_who_reads_a_record_has_read_its_event(store: Store, path: Path) -> None:
    store.event(T0, 12.5, "boot-1", "grid_trip", TRIP, "UV2")
    store.event(T0, 13.5, "boot-1", "grid_trip", TRIP, "UV2")
    record = store.record(T0, "boot-1", trip())
    store.flush(0.0, force=True)
    mark_record_read(path, record.id)
    assert [e.read for e in store.events()] == [True, False]
    assert store.find_record(record.id).read
    with pytest.raises(RecorderError, match="no disturbance record 7"):
        store.find_record(7)


def test_a_file_of_the_first_version_keeps_its_records_as_unread_trips(path: Path) -> None:
    with sqlite3.connect(path) as db:
        first = MIGRATIONS[0]
        db.executescript(f"{first[1]}PRAGMA application_id={APPLICATION_ID};PRAGMA user_version=1;")
        size, data = pack(["t", "v"], [[1.0, 2.0]])
        db.execute(
            "INSERT INTO trip_records (t_wall, t_mono, boot, code, detail, settings_hash, columns, rows, size, data) "
            "VALUES (1.0, 1.0, 'b', 'grid_trip', '', '', '[\"t\", \"v\"]', 1, ?, ?)", (size, data),
        )  # fmt: skip
    db.close()
    store = Store.open(path)
    (record,) = store.records()
    assert (record.severity, record.read, record.header) == (TRIP, False, {})
    assert store.record_rows(record.id) == [[1.0, 2.0]]
    assert store.record(T0, "b", trip()).id == 2
    store.close()


def test_a_new_data_base_gives_no_number_that_files_already_have(path: Path) -> None:
    store = Store.open(path, records_after=41)
    assert store.record(T0, "b", trip()).id == 42
    store.flush(0.0, force=True)
    store.close()
    store = Store.open(path, records_after=7)
    assert store.record(T0, "b", trip()).id == 43
    store.close()


def test_a_wall_clock_that_jumps_into_the_future_does_not_empty_the_log(path: Path) -> None:
    store = Store.open(path, retention=Retention(events_min=20))
    for i in range(100):
        event(store, i)
    store.flush(0.0, force=True)
    for i in range(store_module.PRUNE_EVERY + 1):
        event(store, i, t_wall=T0 + 30 * 365 * 86400.0)
        store.flush(float(i), force=True)
    assert len(store.events(limit=10_000)) >= 20
    store.close()


# ----------------------------------------------------------------------------------------------- the store's own thread
def wait_for(store: Store, number: int) -> None:
    wait(lambda: store.committed >= number, "a commit", every_s=0.001)


def test_in_the_background_a_trip_is_committed_at_once_and_the_rest_within_the_interval(path: Path) -> None:
    store = Store.open(path, background=True, interval_s=0.05)
    wait_for(store, event(store, 1))
    store.close()
    store = Store.open(path, background=True, interval_s=3600.0)
    wait_for(store, event(store, 2, TRIP, "grid_trip"))  # it does not wait an hour
    store.registers(state(3.0))
    store.close()
    reader = Reader(path)
    assert len(reader.events()) == 2
    assert reader.ledger_state() == state(3.0)
    reader.close()


def test_in_the_background_nobody_waits_while_the_disk_does(path: Path) -> None:
    store = Store.open(path, background=True, interval_s=0.02)
    wait_for(store, event(store))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # the writer thread now waits, up to its busy time-out
    try:
        event(store)
        time.sleep(0.05)
        start = time.monotonic()
        for i in range(200):
            last = event(store, i, TRIP, "grid_trip")
            store.registers(state(float(i)))
            store.health()
        assert len(store.events()) == 1  # reading does not wait either
        # 200 calls that waited for the lock's 5 s time-out each would take a quarter of an hour.
        assert time.monotonic() - start < 60.0
    finally:
        other.execute("ROLLBACK")
        other.close()
    wait_for(store, last)
    store.close()
    assert query(path, "SELECT count(*) FROM events") == [(202,)]


def test_the_newest_registers_win_when_handed_over_during_a_commit(store: Store) -> None:
    store.registers(state(1.0))
    store.registers(replace(state(2.0), boot="boot-2"))
    store.flush(0.0, force=True)
    assert store.ledger_state() == replace(state(2.0), boot="boot-2")
