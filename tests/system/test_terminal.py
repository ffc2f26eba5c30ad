"""`make run` as a person sees it: a terminal, the live view, a car that comes by itself, and Ctrl-C."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import can
import pytest

from firmware.control_client import ControlClient, ControlError
from tests.system import charger as c
from tests.system.charger import Record, RigClient, board_file, tell_end, wait_for
from tests.system.terminal import Terminal
from tests.waiting import LIMIT_S


@pytest.fixture
def terminal(home: Path) -> Iterator[Terminal]:
    board = board_file(home / "board.toml", own_rig=True)
    argv = [*c.QUADRANT, "run", "--board", str(board), "--dir", str(home), "--can-log", str(home / "frames.blf")]
    terminal = Terminal(argv, c.ROOT)
    yield terminal
    if terminal.process.poll() is None:
        terminal.process.terminate()
        terminal.process.wait(LIMIT_S)
    terminal.close()


def state_of(run_dir: Path) -> str:
    try:
        with ControlClient(run_dir) as client:
            return str((client.call("status")["snapshot"] or {}).get("state"))
    except ControlError:
        return ""


def test_the_live_view_shows_a_session_and_ctrl_c_ends_it_in_order(terminal: Terminal, home: Path) -> None:
    wait_for("transfer", lambda: state_of(home) == "transfer: charging", every_s=0.1)
    c.note_memory(home)
    rig = RigClient(home)
    wait_for("11 kW", lambda: rig.read("ac_p_w") > 10_000.0)
    time.sleep(0.5)  # four pictures a second
    screen = terminal.screen
    picture = "\n".join(screen.lines)
    print(f"\n{picture}")
    assert screen.alternate
    assert screen.lines[0].startswith(" transfer: charging")
    assert "grid connected" in screen.lines[0]
    for title in ("why", "grid", "power", "converter", "DC and car", "contactors", "events"):
        assert title in picture, f"there is no {title!r} on the screen"
    assert "Asked to charge 11.0 kW" in picture
    assert "● DC contactors" in picture
    assert "60.0" in picture, "no grid frequency"
    assert "+11.0 kW" in picture

    path = home / "ctrl_c.csv"
    rig.ask(record=True, fields=list(c.FIELDS), file=str(path))
    time.sleep(0.3)
    t = time.monotonic()
    terminal.type(b"\x03")
    code = terminal.process.wait(LIMIT_S)
    took_s = time.monotonic() - t
    rig.close()
    record = Record(path)  # the rig ended with the charger and closed it
    tell_end(f"Ctrl-C (exit after {took_s:.1f} s)", record, t)
    assert code == 0
    wait_for("the old screen", lambda: not screen.alternate and screen.cursor_shown)
    assert terminal.attributes() == list(terminal.before), "the terminal is not as it was"
    assert "Traceback" not in "\n".join(screen.lines)

    frames = list(can.BLFReader(home / "frames.blf"))
    assert {frame.channel for frame in frames} == {0, 1}
    assert len(frames) > 1000
    assert all(b.timestamp >= a.timestamp - 1.0 for a, b in itertools.pairwise(frames))
