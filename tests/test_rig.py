"""The real-time rig as a process: start, links, commands, recording, and an end that leaves nothing behind."""

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import pytest

import boards
from hil.rig import Rig, RigError
from tests.waiting import LIMIT_S, wait

DESK = Path(__file__).parent.parent / "boards" / "desk_can.toml"


def own_board(path: Path) -> Path:
    """The desk with UDP ports of its own, so that rigs beside this one are not heard."""
    base = 20000 + 2 * random.SystemRandom().randrange(5000)
    path.write_text(DESK.read_text().replace("43113", str(base)).replace("43114", str(base + 1)))
    return path


def started(board: Path, run_dir: Path, *more: str, **popen: Any) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "hil.rig", "--board", str(board), "--dir", str(run_dir), *more]
    rig = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen)
    assert rig.stdout is not None
    line = rig.stdout.readline()
    assert line, rig.communicate()[1]
    assert line.strip() in ("rig ready", '{"ready": true}')
    return rig


def children_of(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until_gone(pids: list[int], within_s: float = LIMIT_S) -> list[int]:
    end = time.monotonic() + within_s
    while (left := [pid for pid in pids if not gone(pid)]) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def memories() -> set[str]:
    return {name for name in os.listdir("/dev/shm") if name.startswith("psm_")}


def memory_of(pids: list[int]) -> str:
    """Name of the shared memory that these processes were given."""
    words = Path(f"/proc/{pids[0]}/cmdline").read_bytes().split(b"\0")
    for pid in pids:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"--shm" in words:
            return words[words.index(b"--shm") + 1].decode().lstrip("/")
    raise AssertionError("no process of the rig has --shm")


class Client:
    def __init__(self, run_dir: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(LIMIT_S)
        self._socket.connect(str(run_dir / "rig.sock"))
        self._file = self._socket.makefile("rw")

    def ask(self, command: Any) -> dict[str, Any]:
        return self.raw(json.dumps(command))

    def raw(self, line: str) -> dict[str, Any]:
        self._file.write(line + "\n")
        self._file.flush()
        answer = json.loads(self._file.readline())
        assert isinstance(answer, dict)
        return answer

    def read(self, *names: str) -> dict[str, float]:
        values = self.ask({"read": list(names)})["values"]
        assert isinstance(values, dict)
        return values

    def wait(self, name: str, predicate: Any, within_s: float = LIMIT_S) -> float:
        end = time.monotonic() + within_s
        while True:
            value = self.read(name)[name]
            if predicate(value):
                return value
            assert time.monotonic() < end, f"{name} is still {value}"
            time.sleep(0.005)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Path]]:
    root = tmp_path_factory.mktemp("rig")
    run_dir = root / "run"
    process = started(own_board(root / "desk.toml"), run_dir, "--json", "--soc", "0.6")
    client = Client(run_dir)
    children = children_of(process.pid)
    memory = memory_of(children)
    assert memory in memories()
    try:
        yield client, run_dir
    finally:
        client.close()
        process.send_signal(signal.SIGTERM)
        _, words = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, words
    assert wait_until_gone(children) == []
    assert memory not in memories()
    assert list(run_dir.glob("*.sock")) == []
    assert not any(path.is_symlink() for path in run_dir.iterdir())


def test_every_serial_device_has_a_link_to_a_raw_terminal_that_can_be_opened_twice(rig: tuple[Client, Path]) -> None:
    _, run_dir = rig
    for name in ("pilot", "ac_meter", "dc_meter", "insulation"):
        for _ in range(2):  # a restarted guard opens it again
            fd = os.open(run_dir / name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            assert os.isatty(fd)
            lflag = termios.tcgetattr(fd)[3]
            assert not lflag & (termios.ECHO | termios.ICANON)
            os.close(fd)


def test_the_pilot_mcu_sends_on_its_line(rig: tuple[Client, Path]) -> None:
    _, run_dir = rig
    fd = os.open(run_dir / "pilot", os.O_RDWR | os.O_NOCTTY)
    try:
        data = b""
        while len(data) < 24:
            data += os.read(fd, 4096)
    finally:
        os.close(fd)
    assert b"\xa5" in data


def test_the_plant_runs_in_real_time(rig: tuple[Client, Path]) -> None:
    client, _ = rig
    assert client.read("soc")["soc"] == pytest.approx(0.6)

    def in_step() -> bool:
        """Over 0.3 s: a machine that holds it up shows that now and then."""
        first = client.ask({"read": ["t_s"]})
        time.sleep(0.3)
        second = client.ask({"read": ["t_s"]})
        passed = second["t"] - first["t"]
        return abs(second["values"]["t_s"] - first["values"]["t_s"] - passed) < 0.1

    wait(in_step, "plant time as fast as the clock")


def test_a_sag_reaches_the_plant_and_ends(rig: tuple[Client, Path]) -> None:
    client, run_dir = rig
    client.wait("pcc_va_v", lambda v: v > 225.0)
    assert client.ask({"record": True, "fields": ["pcc_va_v"], "file": str(run_dir / "sag.csv")}) == {"ok": True}
    assert client.ask({"plant": {"sag": 0.2, "duration_s": 0.2}}) == {"ok": True}
    begun_s = client.read("t_s")["t_s"]
    client.wait("t_s", lambda t: t > begun_s + 0.3)
    assert client.ask({"record": False}) == {"ok": True}
    _, *rows = (run_dir / "sag.csv").read_text().splitlines()
    volts = [float(row.split(",")[1]) for row in rows]
    assert 150 <= sum(v < 50.0 for v in volts) <= 250
    assert volts[-1] > 225.0


def test_operator_fields_are_set_and_others_are_refused(rig: tuple[Client, Path]) -> None:
    client, _ = rig
    assert client.ask({"plant": {"field": "leak_ohm", "value": 50000}}) == {"ok": True}
    client.wait("insulation_ohm", lambda r: r < 50001.0)
    assert client.ask({"plant": {"field": "leak_ohm", "value": 0}}) == {"ok": True}
    assert "must be one of" in client.ask({"plant": {"field": "k_dc", "value": 1}})["error"]
    assert "must be 0 to 1" in client.ask({"plant": {"field": "estop", "value": 7}})["error"]
    assert client.read("estop", "k_dc") == {"estop": 0.0, "k_dc": 0.0}


def test_a_command_reaches_the_device_and_its_refusal_comes_back(rig: tuple[Client, Path]) -> None:
    client, _ = rig
    assert client.ask({"device": "car", "plug_in": True}) == {"ok": True}
    client.wait("ev_plugged", lambda v: v == 1.0)
    assert client.ask({"device": "car", "unplug": True}) == {"ok": True}
    assert "knows no command 'explode'" in client.ask({"device": "car", "explode": 1})["error"]
    assert "there is no device 'toaster'" in client.ask({"device": "toaster"})["error"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "not a line of JSON"),
        ("[]", "a command is a JSON object"),
        ('{"hello": 1}', "unknown command"),
        ('{"read": ["nothing"]}', "list of fields is needed"),
        ('{"plant": 3}', "a JSON object is needed"),
        ('{"plant": {}}', "one command at a time"),
        ('{"plant": {"sag": 9}}', "must be 0 to 1.5"),
        ('{"plant": {"duration_s": 1}}', "alone is no command"),
        ('{"plant": {"source": "heaven"}}', "VOLTS,HERTZ"),
        ('{"plant": {"sag": 0.5, "jump_deg": 3}}', "one command at a time"),
        ('{"record": true, "file": "/nowhere/at/all.csv"}', "cannot be written"),
    ],
)
def test_a_bad_line_gets_one_sentence_and_the_connection_lives_on(
    rig: tuple[Client, Path], line: str, sentence: str
) -> None:
    client, _ = rig
    assert sentence in client.raw(line)["error"]
    assert client.read("t_s")["t_s"] > 0.0


def test_a_recording_has_a_sample_per_millisecond_on_the_monotonic_clock(rig: tuple[Client, Path]) -> None:
    client, run_dir = rig
    before = time.monotonic()
    begun_s = client.read("t_s")["t_s"]
    assert client.ask({"record": True, "fields": ["pcc_va_v", "cable_i_a"]}) == {"ok": True}
    client.wait("t_s", lambda t: t > begun_s + 0.3)
    assert client.ask({"record": False}) == {"ok": True}
    head, *rows = (run_dir / "record.csv").read_text().splitlines()
    assert head == "t_monotonic_s,pcc_va_v,cable_i_a"
    times = [float(row.split(",")[0]) for row in rows]
    assert len(times) >= 200
    assert before - 0.01 <= times[0]
    assert times[-1] <= time.monotonic() + 0.001
    steps = [b - a for a, b in itertools.pairwise(times)]
    assert sum(0.0008 < step < 0.0012 for step in steps) > 0.95 * len(steps)


@pytest.mark.slow
def test_a_killed_rig_leaves_no_process_and_no_memory_behind(tmp_path: Path) -> None:
    process = started(own_board(tmp_path / "desk.toml"), tmp_path / "run")
    children = children_of(process.pid)
    assert len(children) >= 7
    memory = memory_of(children)
    process.kill()
    process.communicate(timeout=LIMIT_S)
    assert wait_until_gone(children) == []
    wait(lambda: memory not in memories(), "memory given back")


@pytest.mark.slow
def test_the_rig_ends_with_its_parent_with_its_input_and_with_any_of_its_processes(tmp_path: Path) -> None:
    board = own_board(tmp_path / "desk.toml")
    process = started(board, tmp_path / "a", "--with-stdin", stdin=subprocess.PIPE)
    process.communicate(timeout=LIMIT_S)  # closes its standard input
    assert process.returncode == 0

    process = started(board, tmp_path / "b")
    victim = next(p for p in children_of(process.pid) if b"hil.devices.imd" in Path(f"/proc/{p}/cmdline").read_bytes())
    others = children_of(process.pid)
    os.kill(victim, signal.SIGKILL)
    _, words = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert "The insulation ended by itself" in words
    assert wait_until_gone(others) == []

    script = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-m', 'hil.rig', *sys.argv[1:]], stdout=subprocess.PIPE)\n"
        "p.stdout.readline(); print(p.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, "--board", str(board), "--dir", str(tmp_path / "c")], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    rig_pid = int(parent.stdout.readline())
    pids = [rig_pid, *children_of(rig_pid)]
    memory = memory_of(pids[1:])
    parent.kill()
    parent.communicate()
    assert wait_until_gone(pids) == []
    wait(lambda: memory not in memories(), "memory given back")
    assert not (tmp_path / "c" / "rig.sock").exists()


def test_a_rig_that_cannot_start_says_why_and_leaves_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = boards.load(DESK, tmp_path)
    made: list[str] = []

    class Spy(shared_memory.SharedMemory):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            made.append(self.name)

    monkeypatch.setattr("hil.rig.shared_memory.SharedMemory", Spy)
    with pytest.raises(RigError, match="VOLTS,HERTZ"):
        Rig(board, tmp_path, source="230")
    with pytest.raises(RigError, match="0 to 1"):
        Rig(board, tmp_path, soc=60.0)
    with pytest.raises(RigError, match="too long"):
        Rig(board, tmp_path / ("x" * 120))
    with pytest.raises(RigError, match="real devices"):
        Rig(boards.load("beg22", tmp_path), tmp_path)
    assert made  # the last refusal comes after the memory was made
    assert not memories() & set(made)
