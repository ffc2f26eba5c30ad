"""The second try of tests with real sockets and processes (tests/conftest.py) hides no failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import conftest

ROOT = Path(__file__).parent.parent


def test_what_fails_twice_fails_a_hang_and_simulated_time_get_one_try_and_a_second_try_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "tests/second_try_cases.py"]
    environment = {**os.environ, "QUADRANT_TEST_TRIES": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    tries = {path.name: len(path.read_text()) for path in tmp_path.iterdir()}
    assert tries == {"real_once": 2, "real_always": 2, "real_hangs": 1, "simulated_once": 1}
    assert "3 failed, 1 passed, 2 rerun" in done.stdout
    for name in ("real_once", "real_always"):
        assert f"RERUN tests/second_try_cases.py::test_{name}" in done.stdout


def test_every_place_that_the_lists_name_is_there() -> None:
    for place in (*conftest.ALONE, *conftest.WAITS, *conftest.REAL):
        assert list(conftest.HERE.glob(f"{place}*")), place
