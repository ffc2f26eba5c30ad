"""`quadrant run` around a supervisor that only waits: time limit, exit code, sentences, the terminal afterwards."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from firmware import cli, runner
from firmware.supervisor import Supervisor, SupervisorError, claim
from tests.waiting import LIMIT_S


class WaitingSupervisor:
    """Stands in for the processes of a charger."""

    code = 0

    def __init__(
        self, commands: object, run_dir: Path, say: Callable[[str], None], lock: int, notifier: object, heard: object
    ) -> None:
        self._stop = asyncio.Event()
        self._say = say

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> int:
        self._say("The charger was started.")
        await self._stop.wait()
        return self.code


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> type[WaitingSupervisor]:
    monkeypatch.setattr(runner, "Supervisor", WaitingSupervisor)
    monkeypatch.setattr(WaitingSupervisor, "code", 0)
    return WaitingSupervisor


def run(run_dir: Path, **changes: Any) -> int:
    options: dict[str, Any] = {"headless": True, "for_s": 0.05, "as_json": False, "can_log": None}
    return runner.run_charger("desk", run_dir, **(options | changes))


def test_the_stand_in_has_the_supervisor_s_interface() -> None:
    for name in ("run", "stop"):
        assert callable(getattr(Supervisor, name))


def test_run_ends_by_itself_after_its_time_with_the_supervisor_s_code(
    waiting: type[WaitingSupervisor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path) == 0
    waiting.code = 1
    assert run(tmp_path) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith(f"Quadrant, board desk, in {tmp_path}.")
    assert captured.err == "The charger was started.\n" * 2


def test_json_output_has_no_line_that_is_not_json(
    waiting: type[WaitingSupervisor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, as_json=True) == 0
    assert capsys.readouterr().out == ""


def test_a_second_charger_in_the_same_directory_is_refused_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = claim(tmp_path)
    try:
        with pytest.raises(SupervisorError, match="already runs"):
            run(tmp_path)
        assert cli.main(["run", "--headless", "--for", "1", "--dir", str(tmp_path)]) == 1
    finally:
        os.close(lock)
    assert "already runs" in capsys.readouterr().err


def test_an_unknown_board_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--board", "nowhere", "--dir", str(tmp_path)]) == 1
    assert "There is no board 'nowhere'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_the_view_is_told_and_does_not_end_the_charger(
    waiting: type[WaitingSupervisor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*arguments: object) -> None:
        raise KeyError("state")

    monkeypatch.setattr(runner, "follow", broken)
    assert run(tmp_path) == 0
    assert "The view ended (KeyError: 'state'); the charger goes on." in capsys.readouterr().err


LIVE = """
import sys
from pathlib import Path
from firmware import runner
from tests.test_runner import WaitingSupervisor
runner.Supervisor = WaitingSupervisor
sys.exit(runner.run_charger("desk", Path(sys.argv[1]), False, 0.8, False, None))
"""


def test_in_a_terminal_the_live_view_is_drawn_and_the_terminal_given_back(tmp_path: Path) -> None:
    primary, secondary = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(
        [sys.executable, "-c", LIVE, str(tmp_path)],
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        env=environment,
        cwd=Path(__file__).parent.parent,
    )
    os.close(secondary)
    screen = b""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if select.select([primary], [], [], 0.1)[0]:
            try:
                chunk = os.read(primary, 65536)
            except OSError:  # EIO: the other end is closed
                break
            screen += chunk
    os.close(primary)
    assert process.wait(LIMIT_S) == 0
    text = screen.decode(errors="replace")
    assert "\x1b[?1049h" in text  # alternate screen on
    assert "no measurement yet" in text
    after = text.rsplit("\x1b[?1049l", 1)[1]  # ... and off again
    assert "The charger was started." in after  # sentences wait until the screen is free
