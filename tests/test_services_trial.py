"""Changes of the controls on trial: confirmed, taken back, overtaken, and what crashes and clocks do to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boards
from firmware.grid_support.controls import ControlRefused
from firmware.services.grid_controls import FILE, Controls

NOW = 1.8e9
HALF = {"id": "half", "kind": "power_limit", "default": True, "charge_pu": 0.5, "discharge_pu": 0.5}
Q = {"id": "q", "kind": "fixed_var", "default": True, "q_pu": 0.1}


def controls(run_dir: Path, now_s: float = NOW) -> Controls:
    return Controls(run_dir, boards.load("desk_can", run_dir), now_s)


def ids(found: Controls) -> list[str]:
    return sorted(found.book.controls)


def test_what_is_confirmed_stays_after_its_time_and_after_a_restart(tmp_path: Path) -> None:
    found = controls(tmp_path)
    found.set([HALF], NOW, "screen", confirm_s=60.0)
    assert found.show(NOW + 20.0)["trial"]["remaining_s"] == 40.0
    told = found.confirm()
    assert told == ["confirmed: set half: power_limit, default, by screen"]
    assert not found.overdue(NOW + 1000.0)
    assert ids(controls(tmp_path, NOW + 1000.0)) == ["half"]


def test_what_nobody_confirms_is_due_at_its_time_and_leaves_no_trace(tmp_path: Path) -> None:
    found = controls(tmp_path)
    found.set([Q], NOW, "csms")
    found.set([HALF], NOW, "screen", replace=["q"], confirm_s=60.0)
    assert ids(found) == ["half"]
    assert not found.overdue(NOW + 59.9)
    assert found.overdue(NOW + 60.0)
    told = found.revert(NOW + 60.0, "nobody confirmed it in time")
    assert told[0] == "taken back (nobody confirmed it in time): cleared q: fixed_var, by screen"
    assert ids(found) == ids(controls(tmp_path)) == ["q"]
    assert found.show(NOW)["trial"] is None
    assert "trial" not in json.loads((tmp_path / FILE).read_text())


def test_a_trial_outlives_a_crash_and_ends_by_its_own_time(tmp_path: Path) -> None:
    controls(tmp_path).set([HALF], NOW, "screen", confirm_s=60.0)
    again = controls(tmp_path, NOW + 30.0)
    assert ids(again) == ["half"]
    assert not again.overdue(NOW + 30.0)
    late = controls(tmp_path, NOW + 3600.0)
    assert late.overdue(NOW + 3600.0)
    late.revert(NOW + 3600.0, "late")
    assert ids(late) == []


def test_a_clock_that_was_set_back_does_not_make_a_trial_endless(tmp_path: Path) -> None:
    found = controls(tmp_path)
    found.set([HALF], NOW, "screen", confirm_s=60.0)
    assert not found.overdue(NOW - 0.5)
    assert found.overdue(NOW - 3600.0)


def test_whoever_sets_something_else_ends_the_trial_and_it_is_told(tmp_path: Path) -> None:
    found = controls(tmp_path)
    found.set([HALF], NOW, "screen", confirm_s=60.0)
    told = found.set([Q], NOW + 1.0, "csms")
    assert told[0] == "taken back (csms sets something else): set half: power_limit, default, by screen"
    assert ids(found) == ["q"]
    assert found.trial is None
    found.set([HALF], NOW + 2.0, "screen", confirm_s=60.0)
    found.clear("q", NOW + 3.0, "csms")
    assert ids(found) == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"controls": [{"id": "x", "kind": "warp"}]}, "no kind 'warp'"),
        ({"controls": [], "replace": ["nobody"]}, "no control 'nobody'"),
        ({"controls": []}, "no control to set"),
        ({"controls": [Q], "confirm_s": 4.9}, "confirm_s is 4.9; allowed: 5 to 3600 s"),
        ({"controls": [Q], "confirm_s": float("nan")}, "confirm_s is nan"),
    ],
)
def test_a_set_that_is_refused_does_not_touch_the_trial(tmp_path: Path, wrong: dict[str, Any], sentence: str) -> None:
    found = controls(tmp_path)
    found.set([HALF], NOW, "screen", confirm_s=60.0)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(ControlRefused, match=sentence):
        found.set(wrong["controls"], NOW + 1.0, "csms", wrong.get("replace", ()), wrong.get("confirm_s"))
    assert ids(found) == ["half"]
    assert found.trial is not None
    assert (tmp_path / FILE).read_bytes() == before


def test_without_a_trial_there_is_nothing_to_confirm_or_to_take_back(tmp_path: Path) -> None:
    found = controls(tmp_path)
    for act in (found.confirm, lambda: found.revert(NOW, "x")):
        with pytest.raises(ControlRefused, match="no change is on trial"):
            act()


def test_a_disk_that_refuses_keeps_the_trial_and_says_so(tmp_path: Path) -> None:
    found = controls(tmp_path)
    found.set([HALF], NOW, "screen", confirm_s=60.0)
    (tmp_path / "grid_controls.part").mkdir()  # whatever is written now fails
    for act in (found.confirm, lambda: found.revert(NOW + 61.0, "x")):
        with pytest.raises(ControlRefused, match="cannot be written"):
            act()
    assert found.overdue(NOW + 61.0)
    assert ids(found) == ["half"]


def test_a_schedule_that_ends_during_a_trial_does_not_come_back_with_it(tmp_path: Path) -> None:
    found = controls(tmp_path)
    found.set([{**Q, "default": False, "duration_s": 10.0}], NOW, "csms")
    found.set([HALF], NOW + 1.0, "screen", confirm_s=60.0)
    found.advance(NOW + 20.0)
    found.revert(NOW + 61.0, "late")
    assert ids(found) == []


@pytest.mark.parametrize(
    "damage", [{}, {"until_s": 1}, {"until_s": "x", "wait_s": 1, "before": {}, "told": [], "by": ""}]
)
def test_a_trial_that_cannot_be_read_is_set_aside_with_its_book(tmp_path: Path, damage: dict[str, Any]) -> None:
    found = controls(tmp_path)
    found.set([HALF], NOW, "screen", confirm_s=60.0)
    plain = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps({**plain, "trial": damage}))
    again = controls(tmp_path)
    assert "cannot be read" in again.problem
    assert ids(again) == []


steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from(["a", "b", "c"]), st.sampled_from([None, 5.0, 50.0])),
        st.tuples(st.just("clear"), st.sampled_from(["a", "b", "c"]), st.none()),
        st.tuples(st.just("confirm"), st.none(), st.none()),
        st.tuples(st.just("revert"), st.none(), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([1.0, 10.0, 100.0]), st.none()),
        st.tuples(st.just("crash"), st.none(), st.none()),
    ),
    max_size=14,
)


@settings(max_examples=30, deadline=None)
@given(steps)
def test_what_is_there_is_always_what_was_confirmed_plus_what_is_on_trial(
    tmp_path_factory: pytest.TempPathFactory, story: list[Any]
) -> None:
    run_dir = tmp_path_factory.mktemp("t")
    found, now = controls(run_dir), NOW
    kept: set[str] = set()  # the model: confirmed, and on trial until when
    trial: tuple[set[str], float] | None = None
    for step, arg, confirm_s in story:
        if trial is not None and now >= trial[1]:
            assert found.overdue(now)
            found.revert(now, "late")
            trial = None
        there = trial[0] if trial is not None else kept
        try:
            match step:
                case "set":
                    found.set([{**Q, "id": arg, "priority": "abc".index(arg)}], now, "x", confirm_s=confirm_s)
                    new = kept | {arg}
                    kept, trial = (new, None) if confirm_s is None else (kept, (new, now + confirm_s))
                case "clear":
                    found.clear(arg, now, "x")
                    kept, trial = kept - {arg}, None
                case "confirm":
                    found.confirm()
                    assert trial is not None
                    kept, trial = trial[0], None
                case "revert":
                    found.revert(now, "x")
                    trial = None
                case "wait":
                    now += arg
                case "crash":
                    found = controls(run_dir, now)
        except ControlRefused:
            assert set(ids(found)) == there
        assert set(ids(found)) == (trial[0] if trial is not None else kept)
        assert (found.trial is not None) == (trial is not None)
