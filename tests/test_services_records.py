"""What services write down about their own records."""

from __future__ import annotations

from pathlib import Path

import msgspec

from firmware.services.records import FILE, Records
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
