"""What services write down about their own records."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import msgspec

from firmware.guard.events import Severity
from firmware.guard.messages import EventMessage, TripRecord
from firmware.recorder.reader import Reader
from firmware.services.records import FILE, RECORDS_AT_ONCE, Allowance, Records
from tests.view_snapshot import BASE


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def records(run_dir: Path, clock: Clock, said: list[str]) -> Records:
    return Records(run_dir, 22_000.0, clock=clock, wall=lambda: 1.7e9 + clock.now, say=said.append, background=False)


def test_an_unusable_file_is_set_aside_with_an_event_and_kept(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no data base at all" * 100)
    said: list[str] = []
    book = records(tmp_path, Clock(), said)
    book.store.flush(1001.0, force=True)
    assert [event.code for event in book.store.events()] == ["records_set_aside"]
    assert said
    assert len(list(tmp_path.glob(f"{FILE}*"))) > 1


def test_energy_that_cannot_be_true_is_not_booked_and_told_once(tmp_path: Path) -> None:
    clock, said = Clock(), []
    book = records(tmp_path, clock, said)
    for tick in range(3):
        clock.now = 1000.0 + tick
        lie = msgspec.structs.replace(BASE, t=clock.now, boot="b", charged_wh=0.0 if tick == 0 else 1e9)
        book.snapshot(lie)
    book.store.flush(1010.0, force=True)
    assert [event.code for event in book.store.events()].count("energy_refused") == 1
    assert book.energy()["charged_wh"] == 0.0


async def _kept(book: Records, *records: TripRecord) -> list[EventMessage]:
    held_back = [event for record in records if (event := book.trip(record)) is not None]
    await book.close()
    return held_back


def trip_record(number: int, code: str = "grid_trip") -> TripRecord:
    return TripRecord(1000.0 + number, code, f"UF{number}", ["t_s", "f_hz"], [[999.0, 50.0], [1000.0 + number, 47.0]])


def test_a_storm_of_trips_leaves_the_first_ones_says_so_once_and_leaves_room_for_others(tmp_path: Path) -> None:
    clock, said = Clock(), []
    book = records(tmp_path, clock, said)
    storm = [trip_record(k) for k in range(RECORDS_AT_ONCE + 5)]
    (held_back,) = asyncio.run(_kept(book, *storm, trip_record(99, "grid_cease")))
    assert (held_back.code, held_back.detail) == ("records_held_back", f"grid_trip: UF{RECORDS_AT_ONCE}")
    with contextlib.closing(Reader(tmp_path / FILE)) as reader:
        kept = reader.records()
    assert [r.detail for r in kept] == [f"UF{k}" for k in range(RECORDS_AT_ONCE)] + ["UF99"]
    assert [r.severity for r in kept] == [Severity.TRIP] * RECORDS_AT_ONCE + [Severity.INFO]
    assert len(list((tmp_path / "trips").glob("*.cff"))) == len(kept)


def test_there_is_room_again_after_a_while_and_never_for_more_than_at_first() -> None:
    allowance = Allowance(3, 60.0)
    assert [allowance.take(1000.0) for _ in range(4)] == [True, True, True, False]
    assert not allowance.take(1059.0)
    assert allowance.take(1061.0)
    assert not allowance.take(1062.0)
    assert [allowance.take(1e6) for _ in range(4)] == [True, True, True, False]


def test_a_lost_data_base_does_not_make_new_records_overwrite_old_files(tmp_path: Path) -> None:
    clock = Clock()
    asyncio.run(_kept(records(tmp_path, clock, []), trip_record(1)))
    for path in tmp_path.glob(f"{FILE}*"):
        path.unlink()
    asyncio.run(_kept(records(tmp_path, clock, []), trip_record(2)))
    assert {p.name for p in (tmp_path / "trips").glob("*.cff")} == {
        "trip-000001-grid_trip.cff", "trip-000002-grid_trip.cff"
    }  # fmt: skip


def test_a_record_that_is_none_is_told_and_costs_nothing_else(tmp_path: Path) -> None:
    said: list[str] = []
    book = records(tmp_path, Clock(), said)
    broken = TripRecord(1000.0, "grid_trip", "UF1", ["t_s", "f_hz"], [[999.0]])
    asyncio.run(_kept(book, broken, trip_record(1)))
    assert "row 0 has 1 values" in said[0]
    with contextlib.closing(Reader(tmp_path / FILE)) as reader:
        assert [r.detail for r in reader.records()] == ["UF1"]
