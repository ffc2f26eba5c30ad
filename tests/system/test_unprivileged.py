"""`quadrant run` without root: no namespaces, no veth, no real-time priority, and the car that speaks still charges.

Where the tests run as root the charger is `nobody`'s; where that user cannot reach the interpreter, it has root's name
and none of its capabilities, which is what the kernel asks for.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.secc.environment import SECC_PYTHON, needs_schemas
from tests.system import charger as system
from tests.system.charger import ROOT, Charger, board_file, clean_up, memory_left, processes_of
from tests.waiting import wait

pytestmark = needs_schemas
USER = "nobody"
MINE = ("hil.rig", "hil/ev/device.py", "firmware.guard", "firmware.services", "bridges/secc/__main__.py")


# Begins what the charger will begin too: the interpreters of both environments, the second one from the first.
TRY = "import subprocess, sys, firmware.cli; sys.exit(subprocess.run(sys.argv[1:]).returncode)"


def lower() -> tuple[list[str], int]:
    """What is put before a command so that it runs without root, and whose it is then (uid). Skips where that cannot
    be, with the reasons."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as end:
            end.bind(("::1", 15118))  # the discovery of ISO 15118; its port is one
    except OSError as error:
        pytest.skip(f"the car and its charger need port 15118 of ::1: {error}")
    if os.geteuid() != 0:
        return [], os.geteuid()
    if shutil.which("setpriv") is None:
        pytest.skip("the tests run as root, and setpriv (util-linux) is not there to put that down")
    ways = [(["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"], 0)]
    with contextlib.suppress(KeyError):  # better, where root's home does not hide the interpreter from others
        user = pwd.getpwnam(USER)
        ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        ways.insert(0, (["setpriv", *ids, "--no-new-privs"], user.pw_uid))
    refusals = []
    for words, uid in ways:
        first, second = [*words, sys.executable, "-c", TRY], [str(SECC_PYTHON), "-P", "-c", "import iso15118"]
        tried = subprocess.run([*first, *second], capture_output=True, text=True, cwd=ROOT)
        if tried.returncode == 0:
            print(f"\nthe charger runs as uid {uid} without capabilities; {'; '.join(refusals) or 'nothing refused'}")
            return words, uid
        refusals.append(f"uid {uid}: {tried.stderr.strip()[-200:]}")
    pytest.skip(f"the interpreters cannot be run without root: {'; '.join(refusals)}")


@pytest.fixture
def directory() -> Iterator[Path]:
    """A run directory of whoever runs the charger; nothing of it is left behind."""
    with tempfile.TemporaryDirectory(prefix="q", dir="/tmp") as name:  # pytest's own are root's alone
        path = Path(name)
        yield path
        left = clean_up(path)
        assert not left, f"processes left behind: {left}"
        assert not memory_left(), f"shared memory left behind: {memory_left()}"


def capabilities(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("CapEff")).split()[1], 16)


def test_without_root_the_car_is_on_the_loopback_and_charges(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, uid = lower()
    board = board_file(directory / "board.toml", own_rig=True, speaking=True)
    os.chown(directory, uid, -1)
    monkeypatch.setattr(system, "QUADRANT", (*words, *system.QUADRANT))
    monkeypatch.setenv("HOME", str(directory))
    charger = Charger(board, directory)
    try:
        charger.wait_power(11_000.0)  # what the board wants by itself
        processes = processes_of(directory)
        for module in MINE:
            assert [pid for pid, line in processes.items() if module in line], (module, processes)
        for pid, line in processes.items():
            assert (os.stat(f"/proc/{pid}").st_uid, capabilities(pid)) == (uid, 0), line
        wait(lambda: "the car is on the loopback: " in charger.log("rig"), "the reason")
        assert "secc listens for a car on lo." in charger.log("services")
        told = [line for line in charger.told if line["type"] == "event" and line.get("severity") == "fault"]
        assert told == []
        charger.signal(signal.SIGINT)
        assert charger.wait_end() == 0, charger.words
    finally:
        charger.end()
