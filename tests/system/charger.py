"""A whole charger under test: its rig and `quadrant run` as real processes, and the witnesses that look at them.

The plant's recording is the witness of what happened electrically: 1 kHz, on CLOCK_MONOTONIC, which this process
shares. Nothing here reads the charger's own opinion of when the current was gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from firmware.control_client import ControlClient
from firmware.lines import event_line
from tests.waiting import LIMIT_S, wait

ROOT = Path(__file__).parents[2]
QUADRANT = (sys.executable, "-m", "firmware.cli")
FIELDS = ("cable_i_a", "dc_i_a", "dc_v_v", "conv_on", "coil_dc", "k_dc", "k_grid", "pcc_va_v", "ac_p_w")
ZERO_A = 1.0  # below it there is no current: noise of the plant's cable is a tenth of it


def wait_for(what: str, condition: Callable[[], Any], every_s: float = 0.02) -> Any:
    """The condition's first true value; fails with `what` when it does not come for a long time."""
    return wait(condition, what, every_s=every_s)


def free_port() -> int:
    """An even UDP port that nobody listens to, nor to the next one: the rig's two buses."""
    while True:
        port = 20000 + 2 * random.SystemRandom().randrange(5000)
        with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as a:
            a.bind(("", port))
            with socket.socket(type=socket.SOCK_DGRAM) as b:
                b.bind(("", port + 1))
                return port


def board_file(
    path: Path, *, own_rig: bool, plug_in: bool = True, speaking: bool = False, web_port: int | None = None
) -> Path:
    """The desk on a 60 Hz grid, entering service at once, on buses and a veth of its own.

    own_rig: the supervisor starts one. speaking: the car speaks ISO 15118; otherwise it is the one on CAN.
    web_port: of the service screen; None: there is none.
    """
    name = "desk.toml" if speaking else "desk_can.toml"
    text = (ROOT / "boards" / name).read_text()
    port = free_port()
    fast = '\n[grid.adjust]\n"enter_service.delay_s" = 0.0\n"enter_service.ramp_duration_s" = 1.0\n\n[ratings]'
    for old, new in (
        ("43113", str(port)),
        ("v2g-desk", f"v2g{port}") if speaking else ("43114", str(port + 1)),
        ("de_vde_ar_n_4105_2018", "ieee1547_2018_cat3"),
        ("\n[ratings]", fast),
        ('"230,50"', '"230,60"'),
        ("plug_in_after_s = 3.0", "plug_in_after_s = 0.5" if plug_in else ""),
    ):
        assert old in text, f"boards/{name} has changed: {old!r} is gone"
        text = text.replace(old, new)
    web = "enabled = false" if web_port is None else f"port = {web_port}"
    text = text.replace("[rig]", f"[web]\n{web}\n\n[rig]")
    if not own_rig:
        text = text[: text.index("[rig]")]
    path.write_text(text)
    return path


def processes_of(run_dir: Path) -> dict[int, str]:
    """Every living process that names the run directory, or shared memory of one that does, in its command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace")
                if str(run_dir) in words:
                    found[int(entry.name)] = words.replace("\0", " ").strip()
    return found


def children_of(pid: int) -> dict[str, int]:
    """Children by the module that they run: `firmware.guard`, `hil.devices.converter` ... (a meter by its kind)."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended between the list and the look
        if "-m" in words:
            name = words[words.index("-m") + 1]
            if "--kind" in words:
                name += f":{words[words.index('--kind') + 1]}"
            found[name] = int(child)
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


_memories: set[str] = set()  # names of shared memory of rigs that these tests ran


def note_memory(run_dir: Path) -> None:
    """Remember the shared memory of the rig that runs in a directory, to look for it when the rig is gone."""
    for words in processes_of(run_dir).values():
        _memories.update(name.lstrip("/") for name in re.findall(r"--shm (\S+)", words))


def memory_left() -> set[str]:
    return _memories & set(os.listdir("/dev/shm"))


class Record:
    """A recording of the plant: `t` (CLOCK_MONOTONIC s) and one list of values per field."""

    def __init__(self, path: Path) -> None:
        head, *rows = path.read_text().splitlines()
        columns = list(zip(*(map(float, row.split(",")) for row in rows), strict=True))
        self.t: tuple[float, ...] = columns[0]
        self._fields = dict(zip(head.split(",")[1:], columns[1:], strict=True))

    def __getitem__(self, name: str) -> tuple[float, ...]:
        return self._fields[name]

    def first(self, name: str, condition: Callable[[float], bool], since: float = 0.0) -> float:
        """Time of the first sample from `since` on that meets the condition; fails when there is none."""
        for t, value in zip(self.t, self[name], strict=True):
            if t >= since and condition(value):
                return t
        raise AssertionError(f"the plant's {name} never did from {since:.3f} to {self.t[-1]:.3f} s")

    def gone(self, name: str, since: float, below: float = ZERO_A) -> float:
        """Time from which |value| stays below the limit to the end of the recording."""
        last = since
        for t, value in zip(self.t, self[name], strict=True):
            if t >= since and abs(value) >= below:
                last = t
        assert last < self.t[-1] - 0.005, f"the plant's {name} is still {self[name][-1]:g}"
        return last

    def at(self, name: str, t: float) -> float:
        """The last value before or at `t`."""
        return next(v for s, v in zip(reversed(self.t), reversed(self[name]), strict=True) if s <= t)


def tell_end(what: str, record: Record, t: float) -> tuple[float, float]:
    """An end in order: the current is gone when the DC contactor opens, and at the end everything is open and off.

    Returns and prints (no current, DC contactor open) in seconds after `t`.
    """
    zero_s = record.gone("cable_i_a", t) - t
    dc_s = record.first("k_dc", lambda k: k == 0.0, t) - t
    at_open = record.at("cable_i_a", t + dc_s - 0.002)
    print(
        f"\n{what}: {record.at('cable_i_a', t):+.1f} A; no current after {zero_s:.3f} s, "
        f"DC contactor open after {dc_s:.3f} s (at {at_open:+.2f} A)"
    )
    assert abs(at_open) < ZERO_A, "the contactor broke a current"
    assert record["k_dc"][-1] == record["conv_on"][-1] == 0.0
    return zero_s, dc_s


class RigClient:
    """A connection to rig.sock."""

    def __init__(self, run_dir: Path) -> None:
        self._dir = run_dir
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(LIMIT_S)
        self._socket.connect(str(run_dir / "rig.sock"))
        self._file = self._socket.makefile("rw")

    def ask(self, **command: Any) -> dict[str, Any]:
        self._file.write(json.dumps(command) + "\n")
        self._file.flush()
        answer = json.loads(self._file.readline())
        assert "error" not in answer, answer
        return dict(answer)

    def read(self, name: str) -> float:
        return float(self.ask(read=[name])["values"][name])

    @contextlib.contextmanager
    def recording(self, name: str, fields: Sequence[str] = FIELDS) -> Iterator[Callable[[], Record]]:
        """Record the plant; what is yielded ends the recording and reads it."""
        path = self._dir / f"{name}.csv"
        self.ask(record=True, fields=list(fields), file=str(path))

        def finish() -> Record:
            self.ask(record=False)
            return Record(path)

        yield finish

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Rig:
    """The rig alone: it outlives chargers, so the plant can tell what became of one that was killed."""

    def __init__(self, board: Path, run_dir: Path) -> None:
        argv = [sys.executable, "-m", "hil.rig", "--board", str(board), "--dir", str(run_dir), "--source", "230,60"]
        self.process = subprocess.Popen(
            [*argv, "--with-stdin"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True, cwd=ROOT,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "rig ready\n", self.process.communicate()[1]
        self.devices = children_of(self.process.pid)
        note_memory(run_dir)
        self.client = RigClient(run_dir)

    def end(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.communicate(timeout=LIMIT_S)


class Charger:
    """`quadrant run --headless --json` in a process group of its own, its output as objects, its control socket."""

    def __init__(self, board: Path, run_dir: Path, *more: str) -> None:
        self.dir = run_dir
        self.told: list[dict[str, Any]] = []  # every line that it printed
        self.process = subprocess.Popen(
            [*QUADRANT, "run", "--board", str(board), "--dir", str(run_dir), "--headless", "--json", *more],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT,
        )  # fmt: skip
        self.words = ""
        self._readers = [threading.Thread(target=self._read), threading.Thread(target=self._hear)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(json.loads(line))

    def _hear(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.words += line

    # ---------------------------------------------------------------------------------------------------- witnesses
    @property
    def guard(self) -> int:
        wait_for("guard runs", lambda: self.running("firmware.guard"))
        return children_of(self.process.pid)["firmware.guard"]

    @property
    def services(self) -> int:
        return children_of(self.process.pid)["firmware.services"]

    def running(self, module: str) -> int | None:
        return children_of(self.process.pid).get(module)

    def ask(self, command: str, **fields: Any) -> dict[str, Any]:
        with ControlClient(self.dir) as client:
            return client.call(command, **fields)

    def snapshot(self) -> dict[str, Any]:
        """The newest snapshot; empty while services or guard are not there or not heard."""
        with contextlib.suppress(OSError, Exception):
            answer = self.ask("status")
            if answer["snapshot"] is not None and answer["age_s"] < 0.5:
                return dict(answer["snapshot"])
        return {}

    def fresh(self) -> dict[str, Any]:
        """A snapshot of now, waited for: a machine may keep guard or services waiting for half a second."""
        return dict(wait_for("guard is heard", self.snapshot))

    def events(self, code: str, since_t: float = 0.0) -> list[dict[str, Any]]:
        """What the records say: events of a code since a monotonic time."""
        return [e for e in self.ask("events", limit=1000)["events"] if e["code"] == code and e["t"] >= since_t]

    def story(self) -> str:
        """For a failed test: what the charger says now, said before, and what its supervisor said."""
        said = "\n  ".join(event_line(line) for line in self.told[-30:] if line["type"] == "event")
        return f"now: {self.snapshot().get('why')}\n{self.words}\n  {said}"

    def wait_state(self, *states: str) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            assert self.process.poll() is None, f"the charger ended: {self.words}"
            snapshot = self.snapshot()
            return snapshot if snapshot.get("state") in states else None

        try:
            found = wait_for(f"state {' or '.join(states)}", there, every_s=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.story()}") from None
        return dict(found)

    def wait_power(self, power_w: float) -> dict[str, Any]:
        """Until the measured power is within 5 % of this, in transfer."""

        def there() -> dict[str, Any] | None:
            assert self.process.poll() is None, f"the charger ended: {self.words}"
            now = self.snapshot()
            measured = now.get("measured_w")
            near = measured is not None and abs(measured - power_w) < 0.05 * abs(power_w)
            return now if near and now["state"].startswith("transfer") else None

        try:
            return dict(wait_for(f"{power_w:g} W", there, every_s=0.05))
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.story()}") from None

    def cli(self, *words: str, timeout_s: float = LIMIT_S) -> subprocess.CompletedProcess[str]:
        """A command of `quadrant` beside the running charger."""
        argv = [*QUADRANT, *words, "--dir", str(self.dir)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, cwd=ROOT, check=False)

    def log(self, name: str) -> str:
        return (self.dir / "log" / f"{name}.log").read_text()

    # ---------------------------------------------------------------------------------------------------------- end
    def signal(self, number: signal.Signals) -> None:
        note_memory(self.dir)
        self.process.send_signal(number)

    def wait_end(self) -> int:
        """Its exit code, when all that it said was read."""
        code = self.process.wait(LIMIT_S)
        for reader in self._readers:
            reader.join(LIMIT_S)
        return code

    def end(self) -> int:
        """The clean stop, if it still runs."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait_end()


def clean_up(run_dir: Path) -> dict[int, str]:
    """What is left of a run directory's processes some time after its end. They are killed, one by one."""
    end = time.monotonic() + 20.0
    while (left := processes_of(run_dir)) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGKILL)
    return left
