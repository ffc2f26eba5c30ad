"""The queue of what must reach the back end: order, exactly once, overflow, damage."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.bridges.ocpp.outbox import New, Outbox, OutboxError, wait_s


def new(number: int, droppable: bool = True, tx: str = "t") -> New:
    return New(tx, {"seqNo": number}, droppable)


def drain(box: Outbox) -> list[int]:
    found = []
    while (message := box.head()) is not None:
        found.append(message.payload["seqNo"])
        box.taken(message.id)
    return found


def test_messages_and_state_are_still_there_after_the_process_was_gone(tmp_path: Path) -> None:
    path = tmp_path / "ocpp.sqlite"
    box = Outbox(path)
    box.put([new(0, False), new(1)], "transaction", {"id": "t", "seqNo": 2})
    box._db.close()
    box = Outbox(path)
    assert box.state("transaction") == {"id": "t", "seqNo": 2}
    assert len(box) == box.waiting_for("t") == 2
    assert drain(box) == [0, 1]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["put", "take", "reopen"]), max_size=40))
def test_first_in_is_first_out_over_any_interleaving(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    path = tmp_path_factory.mktemp("box") / "q"
    box, put, taken = Outbox(path), 0, []
    for step in steps:
        if step == "put":
            box.put([new(put)])
            put += 1
        elif step == "reopen":
            box.close()
            box = Outbox(path)
        elif (message := box.head()) is not None:
            taken.append(message.payload["seqNo"])
            box.taken(message.id)
    assert taken + drain(box) == list(range(put))
    box.close()


def test_a_put_that_fails_changes_nothing() -> None:
    box = Outbox(":memory:")
    box.put([], "transaction", 1)
    with pytest.raises(ValueError, match="JSON"):
        box.put([new(0)], "transaction", float("nan"))
    assert len(box) == 0
    assert box.state("transaction") == 1
    box._db.execute("CREATE TRIGGER full BEFORE INSERT ON messages BEGIN SELECT raise(ABORT, 'disk'); END")
    with pytest.raises(OutboxError, match="disk"):
        box.put([new(0)], "transaction", 2)
    assert box.state("transaction") == 1


def test_a_refused_message_is_tried_three_times_with_growing_waits_and_then_given_up() -> None:
    box = Outbox(":memory:")
    box.put([new(0), new(1)])
    head = box.head()
    assert head is not None
    assert box.refused(head.id) is None
    assert box.refused(head.id) is None
    again = box.head()
    assert again is not None
    assert again.attempts == 2
    assert [wait_s(attempts) for attempts in range(3)] == [0.0, 30.0, 60.0]
    gone = box.refused(head.id)
    assert gone is not None
    assert gone.payload == {"seqNo": 0}
    assert box.dropped == 1
    assert drain(box) == [1]


def test_above_the_limit_every_second_updated_goes_and_no_first_or_last_message() -> None:
    box = Outbox(":memory:", keep=10)
    box.put([new(0, droppable=False)])
    for number in range(1, 200):
        box.put([new(number, droppable=number % 20 != 0)])
    rest = drain(box)
    assert [number for number in range(200) if number % 20 == 0] == [n for n in rest if n % 20 == 0]
    assert rest == sorted(rest)
    assert len(rest) < 30
    assert box.dropped == 200 - len(rest)


def test_the_back_ends_number_is_kept_as_long_as_the_transaction_has_something_to_tell() -> None:
    box = Outbox(":memory:")
    box.put([new(0, False, "a")], "transaction", {"id": "a"})
    start = box.head()
    assert start is not None
    box.taken(start.id, number=17)
    assert box.number("a") == 17
    box.put([new(1, False, "a")], "transaction", None)
    stop = box.head()
    assert stop is not None
    assert box.number("a") == 17
    box.taken(stop.id)
    assert box.number("a") is None


def test_a_damaged_file_is_set_aside_and_a_locked_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "q"
    path.write_bytes(b"this is no data base at all" * 100)
    box, notice = Outbox.open(path)
    assert "damaged" in notice
    assert (tmp_path / "q.damaged").exists()
    box.put([new(0)])
    with pytest.raises(OutboxError, match="locked"):
        Outbox.open(path)
    box.close()
    box, notice = Outbox.open(path)
    assert notice == ""
    box.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(OutboxError, match="version 99"):
        Outbox.open(path)
