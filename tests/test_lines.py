"""The view without a terminal: a line on every change, and no line without one."""

from __future__ import annotations

import io
import json

from firmware.lines import Changes, change_line, event_line, follow
from tests.view_snapshot import TRIP, snapshot


def told(*snapshots: dict[str, object]) -> list[list[str]]:
    changes = Changes()
    return [changes.of(snapshot) for snapshot in snapshots]


def test_the_first_snapshot_is_always_told() -> None:
    assert told(snapshot()) == [["start"]]


def test_nothing_is_told_twice() -> None:
    assert told(snapshot(), snapshot(t=100.1, tick=10_010, measured_w=7_000.0)) == [["start"], []]


def test_state_grid_state_and_faults_are_told_at_once() -> None:
    assert told(
        snapshot(),
        snapshot(t=100.1, state="ramp down"),
        snapshot(t=100.2, state="ramp down", grid_state="tripped", trip=TRIP),
        snapshot(t=100.3, state="ramp down", grid_state="tripped", trip=TRIP, faults=["grid_trip"]),
    ) == [["start"], ["state"], ["grid_state", "trip"], ["faults"]]


def test_a_countdown_in_the_sentence_is_not_a_change_but_other_words_are() -> None:
    assert told(
        snapshot(why="Waits 59.8 s."), snapshot(t=101.1, why="Waits 58.7 s."), snapshot(t=102.2, why="Holds 58.7 s.")
    ) == [["start"], [], ["why"]]


def test_power_is_told_when_it_moved_by_more_than_200_w() -> None:
    assert told(
        snapshot(permitted_w=7_400.0),
        snapshot(t=101.5, permitted_w=7_590.0),
        snapshot(t=103.0, permitted_w=7_610.0),
        snapshot(t=104.5, permitted_w=7_610.0, asked_w=-3_000.0),
    ) == [["start"], [], ["permitted"], ["asked"]]


def test_a_ramp_gets_one_line_a_second_and_its_end_is_told() -> None:
    ramp = [snapshot(t=100.0 + 0.1 * i, permitted_w=1_000.0 * min(i, 15)) for i in range(40)]
    lines = [(i, changed) for i, changed in enumerate(told(*ramp)) if changed]
    assert len(lines) <= 4
    assert lines[-1] == (20, ["permitted"])


def test_a_new_trip_is_told_and_an_old_one_is_not_told_again() -> None:
    assert told(snapshot(trip=TRIP), snapshot(t=102.0, trip=TRIP), snapshot(t=104.0, trip=None)) == [["start"], [], []]


def test_a_restarted_guard_whose_clock_is_the_same_machine_clock_is_told_without_delay() -> None:
    assert told(snapshot(t=100.0), snapshot(t=5.0, permitted_w=0.0)) == [["start"], ["permitted"]]


def test_the_line_has_state_grid_power_and_why() -> None:
    line = change_line(snapshot(), ["start"], "12:00:00")
    assert line == (
        "12:00:00 transfer: charging | grid connected | asked +11.0 kW, permitted +7.4 kW, measured +7.3 kW"
        " | Charges with 7.4 kW: the car permits no more."
    )


def test_a_problem_of_services_is_told_when_it_comes_and_when_it_goes() -> None:
    changes = Changes()
    now = snapshot()
    silent = ["Guard is silent for 3 s."]
    later = ["Guard is silent for 4 s."]
    assert [changes.of(now), changes.of(now, silent), changes.of(now, later), changes.of(now)] == [
        ["start"],
        ["problems"],
        [],
        ["problems"],
    ]
    assert change_line(now, ["problems"], "12:00:00", silent).endswith("| Guard is silent for 3 s.")


def test_events_are_explained_by_the_table_and_unknown_codes_do_not_break_the_line() -> None:
    line = event_line({"code": "grid_trip", "detail": "UF1", "wall_s": None})
    assert line == "--:--:-- TRIP      grid_trip: Grid protection tripped. UF1"
    assert "of_tomorrow" in event_line({"code": "of_tomorrow", "detail": ""})
    assert "over: " in event_line({"code": "converter_lost", "detail": "", "cleared": True})


def test_json_lines_are_one_object_each_with_the_trip_where_it_happened() -> None:
    out = io.StringIO()
    messages = [
        {"snapshot": snapshot()},
        {"event": {"code": "grid_trip", "detail": "UF1"}},
        {"snapshot": snapshot(t=101.0, grid_state="tripped", trip=TRIP)},
        {"snapshot": snapshot(t=101.1, grid_state="tripped", trip=TRIP)},
    ]
    follow(messages, out, as_json=True)
    objects = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [o["type"] for o in objects] == ["change", "event", "change"]
    assert objects[0]["changed"] == ["start"]
    assert objects[0]["trip"] is None
    assert objects[2]["trip"]["element"] == "UF1"
    assert objects[2]["permitted_w"] == 7_400.0


def test_a_message_without_a_snapshot_yet_prints_nothing() -> None:
    out = io.StringIO()
    follow([{"ok": True, "snapshot": None}, {"ok": True}], out, as_json=False)
    assert out.getvalue() == ""
