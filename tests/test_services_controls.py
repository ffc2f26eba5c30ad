"""Controls over the socket: taken whole or refused, told to guard, stored, and there again after a restart."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

import boards
from firmware.grid_support.controls import MAX_CONTROLS, ControlRefused, from_dict
from firmware.guard.messages import GridControls
from firmware.recorder.reader import Reader
from firmware.services.grid_controls import FILE, Controls
from firmware.services.records import FILE as RECORDS
from tests.test_services_app import Bench

NOW = 1_800_000_000.0
Q = {"id": "q", "kind": "fixed_var", "q_pu": 0.2}


def controls(directory: Path, now_s: float = NOW) -> Controls:
    return Controls(directory, boards.load("desk", directory), now_s)


def events(directory: Path) -> list[tuple[str, str]]:
    return [(e.code, e.detail) for e in Reader(directory / RECORDS).events(1000) if e.code.startswith("grid_control")]


# -------------------------------------------------------------------------------------------------------- the socket
def test_a_control_reaches_guard_is_listed_and_its_changes_are_events_with_id_owner_and_hash(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        bench.report()
        answer = await bench.ask(command="controls_set", controls=[Q], source="csms")
        assert answer["ok"], answer
        told = await bench.heard(GridControls)
        assert [from_dict(c).id for c in told.controls] == ["q"]
        assert told.hash == answer["hash"]
        listed = await bench.ask(command="controls")
        assert [(c["id"], c["state"], c["by"]) for c in listed["controls"]] == [("q", "active", "csms")]
        assert listed["sources"] == {"reactive": "q"}
        assert (await bench.ask(command="controls_clear", control="q"))["controls"] == []
        assert (await bench.heard(GridControls)).controls == []

    assert bench.run(script) == 0
    (first, set_), (second, cleared) = events(tmp_path)
    assert (first, second) == ("grid_control", "grid_control")
    assert "set q: fixed_var, scheduled, by csms" in set_
    assert "sha256" in set_
    assert cleared.startswith("cleared q: fixed_var, by operator")


def test_a_guard_that_has_just_started_is_told_what_is_in_force(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        bench.report()
        await bench.ask(command="controls_set", controls=[Q])
        await bench.heard(GridControls)
        bench.report(boot="boot-2")
        assert [c["id"] for c in (await bench.heard(GridControls)).controls] == ["q"]

    assert bench.run(script) == 0


def test_a_schedule_that_ends_is_told_and_is_an_event(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        bench.report()
        await bench.ask(command="controls_set", controls=[{**Q, "duration_s": 1.0}])
        assert len((await bench.heard(GridControls)).controls) == 1
        assert (await bench.heard(GridControls)).controls == []

    assert bench.run(script) == 0
    assert any(detail.startswith("q, set by operator: ended; active now: sha256 ") for _, detail in events(tmp_path))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ({"command": "controls_set", "controls": []}, "there is no control to set"),
        ({"command": "controls_set", "controls": [{"id": "a", "kind": "warp"}]}, "there is no kind 'warp'"),
        ({"command": "controls_set", "controls": [Q, {**Q, "q_pu": 9}]}, "q_pu is 9"),
        ({"command": "controls_set", "controls": [Q], "source": ""}, "source must be 1 to 40"),
        ({"command": "controls_clear", "control": "nobody"}, "there is no control 'nobody'; there are: none"),
        ({"command": "controls_set", "controls": 3}, "controls_set: Expected `array`"),
        ({"command": "controls_set", "controls": [{**Q, "points": {"a": [1]}}]}, "this kind has no points"),
    ],
)
def test_a_refusal_is_a_sentence_and_changes_nothing(tmp_path: Path, command: dict[str, Any], words: str) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        answer = await bench.ask(**command)
        assert answer["ok"] is False
        assert words in answer["error"]
        assert (await bench.ask(command="controls"))["controls"] == []
        assert not (tmp_path / FILE).exists()

    assert bench.run(script) == 0


# ----------------------------------------------------------------------------------------------------------- the file
def test_controls_are_there_again_after_a_restart_and_what_ended_meanwhile_is_told(tmp_path: Path) -> None:
    before = controls(tmp_path)
    before.set([Q, {"id": "d", "kind": "power_limit", "charge_pu": 0.5, "discharge_pu": 0.5, "default": True},
                {"id": "short", "kind": "volt_watt", "points": [[1.06, 1.0], [1.1, 0.0]], "duration_s": 60}],
               NOW, "test")  # fmt: skip
    after = controls(tmp_path, NOW + 3600.0)
    assert after.book == before.book
    assert [(c.id, c.what) for c in after.advance(NOW + 3600.0)] == [("short", "ended")]
    assert {c.id for c in controls(tmp_path).book.active(NOW + 3600.0)} == {"q", "d"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1}', "\x00\xff", '{"schema": 99, "controls": []}'])
def test_a_file_that_cannot_be_read_is_set_aside_and_said(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_bytes(content.encode("latin-1"))
    found = controls(tmp_path)
    assert found.book.controls == {}
    assert "no control is set" in found.problem
    assert (tmp_path / FILE).with_suffix(".bad").read_bytes() == content.encode("latin-1")
    found.set([Q], NOW, "test")
    assert found.problem == ""


def test_a_control_that_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    found = controls(tmp_path)
    (tmp_path / FILE).with_suffix(".part").mkdir()
    with pytest.raises(ControlRefused, match="cannot be written"):
        found.set([Q], NOW, "test")
    assert found.book.controls == {}
    assert found.message(NOW) is None


def test_a_contradiction_that_only_begins_later_is_refused_now(tmp_path: Path) -> None:
    board = boards.load("desk", tmp_path)
    stages = {"under": [t for t in controls(tmp_path).show(NOW)["trips"] if t["id"].startswith("UF")]}
    assert board.grid.code.startswith("de_vde")
    assert stages["under"]
    later = {"id": "later", "kind": "hv_momentary_cessation", "threshold_pu": 1.0, "start_s": NOW + 3600.0}
    with pytest.raises(ControlRefused, match="contradicts"):
        controls(tmp_path).set([later], NOW, "test")


def test_a_book_that_no_longer_fits_the_grid_code_can_be_seen_and_cleared(tmp_path: Path) -> None:
    found = controls(tmp_path)
    found.set([Q], NOW, "test")
    plain = json.loads((tmp_path / FILE).read_text())
    plain["controls"][0] |= {"kind": "hv_must_trip", "numbers": [], "points": [[1.1, 1.0]] * 7}
    (tmp_path / FILE).write_text(json.dumps(plain))
    again = controls(tmp_path)
    shown = again.show(NOW)
    assert "stages for hv_must_trip" in shown["refused"]
    assert shown["sources"] == {}
    again.clear("q", NOW, "test")
    assert again.show(NOW)["refused"] == ""


def test_a_full_book_is_checked_and_told_in_good_time(tmp_path: Path) -> None:
    found = controls(tmp_path)
    many = [{**Q, "id": f"c{i}", "start_s": NOW + 10 * i + 5, "duration_s": 5} for i in range(MAX_CONTROLS)]
    began = time.process_time()
    found.set(many, NOW, "test")
    assert time.process_time() - began < 2.0
    with pytest.raises(ControlRefused, match="there are 100 controls already"):
        found.set([{**Q, "id": "more"}], NOW, "test")


def test_the_socket_stays_usable_while_many_ask(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        sets = [bench.ask(command="controls_set", controls=[{**Q, "id": f"c{i}", "priority": i}]) for i in range(8)]
        answers = await asyncio.gather(*sets)
        assert all(a["ok"] for a in answers)

    assert bench.run(script) == 0
