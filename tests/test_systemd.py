"""Readiness, watchdog, journal lines and units, as systemd's manuals describe them."""

from __future__ import annotations

import asyncio
import configparser
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import boards
from firmware import cli
from firmware.lines import follow
from firmware.supervisor import DOWN_TIMEOUT_S, Supervisor, told
from firmware.systemd import Notifier, Priority, entry, is_journal
from firmware.systemd_units import WATCHDOG_S, units
from tests.test_supervisor import Bench
from tests.view_snapshot import snapshot
from tests.waiting import until


class Manager:
    """The service manager's end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        lines: list[str] = []
        while True:
            try:
                lines += self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return lines

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@quadrant-test-{os.getpid()}"
    made = Manager(address)
    yield made
    made.close()


def notifier(manager: Manager, **more: str) -> Notifier:
    return Notifier.from_environment({"NOTIFY_SOCKET": manager.address, **more})


# ------------------------------------------------------------------------------------------------------------ sd_notify
def test_what_is_told_arrives_in_the_words_of_the_protocol(manager: Manager) -> None:
    ours = notifier(manager)
    ours.ready("guard\nreports")
    ours.pulse()
    ours.status("x")
    ours.stopping()
    heard = manager.heard()
    assert heard[:4] == ["READY=1", "STATUS=guard", "WATCHDOG=1", "STATUS=x"]
    assert heard[4] == "STOPPING=1"


def test_a_child_does_not_inherit_the_right_to_speak(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "10", "WATCHDOG_PID": "1", "HOME": "/"}
    Notifier.from_environment(environ)
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    ("environ", "pulse_s"),
    [
        ({"WATCHDOG_USEC": "10000000"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "77"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "78"}, None),  # meant for another process
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_pulse_comes_twice_in_the_watchdogs_time(environ: dict[str, str], pulse_s: float | None) -> None:
    assert Notifier.from_environment({"NOTIFY_SOCKET": "/x", **environ}, pid=77).pulse_s == pulse_s
    assert Notifier.from_environment(environ, pid=77).pulse_s is None  # without a manager there is nobody to tell


def test_a_manager_that_is_gone_or_does_not_read_is_no_fault_of_ours(manager: Manager) -> None:
    Notifier("/nowhere/at/all").ready("x")
    Notifier("").pulse()
    ours = notifier(manager)
    for _ in range(5000):  # its queue holds a few of them
        ours.pulse()


def test_ready_is_said_when_guard_reports_and_stopping_when_it_ends(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    heard: list[str] = []

    def hear(line: str) -> int:
        heard.extend(manager.heard())
        return heard.count(line)

    async def script(supervisor: Supervisor) -> None:
        await until(lambda: hear("READY=1"), "readiness")
        await until(lambda: hear("WATCHDOG=1") >= 5, "pulses")

    ours = notifier(manager, WATCHDOG_USEC="100000")
    bench = Bench(tmp_path, services="crash")
    assert bench.run(script, notifier=ours) == 0  # type: ignore[arg-type]
    heard += manager.heard()
    manager.close()
    assert heard.count("READY=1") == 1
    assert heard.count("STOPPING=1") == 1
    assert heard.index("READY=1") < heard.index("STOPPING=1")
    assert any(line.startswith("STATUS=services ended with exit code 1") for line in heard)


def test_what_is_never_reported_is_never_ready(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))

    async def script(supervisor: Supervisor) -> None:
        await asyncio.sleep(0.5)

    Bench(tmp_path, services="hang").run(script, notifier=notifier(manager), down_timeout_s=0.2)  # type: ignore[arg-type]
    assert "READY=1" not in manager.heard()
    manager.close()


def test_what_the_processes_say_goes_on_with_their_names(tmp_path: Path) -> None:
    lines: list[tuple[str, str]] = []
    wanted = {("rig", "rig ready"), ("guard", "guard does run"), ("services", "services does run")}

    async def script(supervisor: Supervisor) -> None:
        await until(lambda: wanted <= set(lines), "what all of them say")

    def heard(name: str, line: str) -> None:
        lines.append((name, line))

    assert Bench(tmp_path, rig="run").run(script, heard=heard) == 0  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------------------- journal
def test_a_stream_is_the_journal_when_the_manager_says_that_it_is_this_one() -> None:
    read, write = os.pipe()
    with os.fdopen(read), os.fdopen(write, "w") as stream:
        stat = os.fstat(stream.fileno())
        assert is_journal(stream, {"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"})
        assert not is_journal(stream, {"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino + 1}"})  # redirected since
        for text in ("", "x", "1:2:3", "a:b"):
            assert not is_journal(stream, {"JOURNAL_STREAM": text})
        assert not is_journal(stream, {})


def test_an_entry_has_its_priority_and_its_fields_on_its_first_line() -> None:
    line = entry(
        Priority.ERROR, "It broke.\n  guard: why", process="guard", n=3, w=-1.5, text="a b", none=None, f=["x"]
    )
    assert line == '<3>It broke. process=guard n=3 w=-1.5 text="a b" f="[\\"x\\"]"\n<3>  guard: why'


@given(st.text(max_size=50), st.text(max_size=20))
def test_no_text_makes_a_line_without_a_priority_or_a_field_out_of_nothing(sentence: str, value: str) -> None:
    for line in entry(Priority.INFO, sentence, key=value).split("\n"):
        assert line.startswith("<6>")
    assert "\n" not in entry(Priority.INFO, "x", key=value)


def test_the_lines_of_run_are_journal_entries_with_the_severity_of_the_event() -> None:
    read, write = os.pipe()
    messages: list[dict[str, Any]] = [
        {"event": {"code": "grid_trip", "detail": "UF1", "t": 5.0, "cleared": False}},
        {"event": {"code": "pilot_lost", "detail": "", "t": 6.0, "cleared": True}},
        {"snapshot": snapshot(), "problems": ["The meter is silent."]},
    ]
    with os.fdopen(write, "w") as stream:
        follow(messages, stream, as_json=False, journal=True)
    with os.fdopen(read) as stream:
        trip, over, change = stream.read().splitlines()
    assert trip == "<2>Grid protection tripped. UF1 event=grid_trip severity=trip t=5.0"
    assert over.startswith("<5>over: ")
    assert change.startswith("<6>")
    assert "The meter is silent." in change
    assert 'state="transfer: charging"' in change


def test_a_childs_line_is_an_entry(capsys: pytest.CaptureFixture[str]) -> None:
    told("services", "MQTT: refused")
    assert capsys.readouterr().err == "<5>MQTT: refused process=services\n"


# ---------------------------------------------------------------------------------------------------------------- units
@pytest.mark.parametrize("name", boards.names())
def test_the_unit_gives_the_charger_time_to_open_and_what_guard_needs(name: str) -> None:
    files = units(boards.load(name), "/opt/quadrant/bin/quadrant", "quadrant")
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(files["/etc/systemd/system/quadrant.service"])
    service = parser["Service"]
    assert service["Type"] == "notify"
    assert float(service["TimeoutStopSec"]) > DOWN_TIMEOUT_S + 5.0
    assert service["KillMode"] == "mixed"  # the supervisor alone is asked: it lets guard ramp down
    assert int(service["WatchdogSec"]) == WATCHDOG_S
    assert {"CAP_SYS_NICE", "CAP_IPC_LOCK"} <= set(service["AmbientCapabilities"].split())
    assert "AF_CAN" in service["RestrictAddressFamilies"]
    assert "RestrictRealtime" not in service
    assert "MemoryDenyWriteExecute" not in service
    words = service["ExecStart"].split()
    parsed = cli.built_in()[0].parse_args(words[1:])
    assert (parsed.board, str(parsed.dir), parsed.headless) == (name, "/var/lib/quadrant", True)


def test_each_can_interface_of_a_real_board_gets_its_bit_rate() -> None:
    files = units(boards.load("beg22"), "/q", "quadrant")
    assert "BitRate=125000" in files["/etc/systemd/network/80-can0.network"]
    assert "BitRate=500000" in files["/etc/systemd/network/80-can1.network"]
    assert len(units(boards.load("desk"), "/q", "quadrant")) == 1


def test_the_command_prints_them_or_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["systemd", "--board", "beg22"]) == 0
    assert "# /etc/systemd/system/quadrant.service\n" in capsys.readouterr().out
    assert cli.main(["systemd", "--board", "beg22", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "etc/systemd/system/quadrant.service").read_text().startswith("# Quadrant on board beg22")
    assert cli.main(["systemd", "--user", "a b"]) == 1
    assert "user 'a b' must be" in capsys.readouterr().err
    assert cli.main(["systemd", "--out", "/proc/no"]) == 1


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_itself_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    for path, text in units(boards.load("beg22"), sys.executable, "root").items():
        (tmp_path / Path(path).name).write_text(text)
    unit = tmp_path / "quadrant.service"
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "quadrant.service" in line]
    assert complaints == []
