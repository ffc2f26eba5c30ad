"""The supervisor with small stand-ins for rig, guard and services: who dies, who is started again, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import boards
from firmware import supervisor
from firmware.children import Backoff, Log
from firmware.supervisor import Commands, Supervisor, SupervisorError, claim, commands_for, drain, socket_pair
from tests.waiting import until, wait

CHILD = Path(__file__).parent / "dummy_child.py"
ROOT = CHILD.parent.parent


class Bench:
    """One supervisor in a directory of its own, and what its children left there."""

    def __init__(self, directory: Path, **does: str) -> None:
        self.dir = directory
        self.said: list[str] = []
        (directory / "log").mkdir()
        roles = {"guard": "run", "services": "run"} | does
        for role, do in roles.items():
            (directory / f"{role}.do").write_text(do)

        def child(role: str) -> tuple[str, ...]:
            return (sys.executable, "-m", "tests.dummy_child", role, str(directory))

        rig = child("rig") if "rig" in roles else None
        web = child("web") if "web" in roles else None
        self.commands = Commands(child("guard"), child("services"), rig, web)

    def run(self, script: Callable[[Supervisor], Awaitable[None]] | None = None, **settings: float) -> int:
        """The exit code. `script` runs beside the supervisor; it is stopped when the script ends."""

        async def main() -> int:
            supervisor = Supervisor(self.commands, self.dir, self.said.append, **settings)  # type: ignore[arg-type]

            async def act() -> None:
                try:
                    if script is not None:
                        await script(supervisor)
                finally:
                    supervisor.stop()

            actor = asyncio.create_task(act()) if script is not None else None
            async with asyncio.timeout(120.0):
                code = await supervisor.run()
            if actor is not None:
                await actor
            assert not any(
                child.running for child in (supervisor.rig, supervisor.guard, supervisor.services, supervisor.web)
            )
            return code

        old = os.getcwd()
        os.chdir(ROOT)
        try:
            return asyncio.run(main())
        finally:
            os.chdir(old)

    def starts(self, role: str) -> list[str]:
        path = self.dir / f"{role}.starts"
        return [line.split()[1] for line in path.read_text().splitlines()] if path.exists() else []

    def read(self, name: str) -> str:
        path = self.dir / name
        return path.read_text() if path.exists() else ""

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition)

    async def talking(self, supervisor: Supervisor) -> None:
        """Until the services that run now have reached the guard that runs now."""
        await self.until(lambda: supervisor.services.running and supervisor.guard.running)
        await self.until(lambda: self.read("guard.request_of") == str(supervisor.services.pid))


def test_a_clean_stop_asks_guard_through_services_and_ends_with_zero(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.run(bench.talking) == 0
    assert bench.read("guard.asked_by") == "services"
    assert bench.said == []


def test_a_killed_services_process_is_started_again_on_the_same_pair_while_guard_lives_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script(supervisor: Supervisor) -> None:
        await bench.talking(supervisor)
        guard = supervisor.guard.pid
        supervisor.services.send_signal(signal.SIGKILL)
        await bench.until(lambda: len(bench.starts("services")) == 2)
        await bench.talking(supervisor)
        assert supervisor.guard.pid == guard

    assert bench.run(script) == 0
    assert bench.starts("services") == ["first", "restarted"]
    assert bench.starts("guard") == ["first"]
    assert "services was killed by SIGKILL; it is started again in 0.1 s." in bench.said[0]


def waits(end: socket.socket) -> bool:
    """Is there a packet that nobody has taken?"""
    with contextlib.suppress(BlockingIOError):
        return bool(end.recv(1, socket.MSG_PEEK))
    return False


def test_services_that_were_started_again_hear_what_guard_said_while_nobody_listened(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script(supervisor: Supervisor) -> None:
        await bench.talking(supervisor)
        await bench.until(lambda: bool(bench.read("services.first_t")))
        supervisor.services.send_signal(signal.SIGSTOP)
        drain(supervisor._services_end)
        await bench.until(lambda: waits(supervisor._services_end))  # guard's messages pile up
        piled_t = time.monotonic()
        await asyncio.sleep(0.1)
        (tmp_path / "services.first_t").unlink()
        supervisor.services.send_signal(signal.SIGKILL)
        await bench.until(lambda: bool(bench.read("services.first_t")))
        # Events and records among them must not be lost; services judge a snapshot by its age themselves.
        assert float(bench.read("services.first_t")) <= piled_t

    assert bench.run(script) == 0


def test_a_killed_guard_is_started_again_and_told_so_while_services_live_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script(supervisor: Supervisor) -> None:
        await bench.talking(supervisor)
        services = supervisor.services.pid
        (tmp_path / "guard.request_of").unlink()
        supervisor.guard.send_signal(signal.SIGKILL)
        await bench.until(lambda: len(bench.starts("guard")) == 2)
        await bench.talking(supervisor)
        assert supervisor.services.pid == services

    assert bench.run(script) == 0
    assert bench.starts("guard") == ["first", "restarted"]
    assert bench.starts("services") == ["first"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_screen_that_dies_or_hangs_touches_nothing(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "ENDING_GRACE_S", 0.3)  # what hangs is waited for so long
    bench = Bench(tmp_path, web="hang")

    async def script(supervisor: Supervisor) -> None:
        await bench.talking(supervisor)
        await bench.until(lambda: len(bench.starts("web")) == 1)
        guard, services = supervisor.guard.pid, supervisor.services.pid
        supervisor.web.send_signal(number)
        if number == signal.SIGKILL:
            await bench.until(lambda: len(bench.starts("web")) == 2)
        else:
            await asyncio.sleep(0.3)
        assert (supervisor.guard.pid, supervisor.services.pid) == (guard, services)

    assert bench.run(script) == 0  # and it does not hold up the end
    assert len(bench.starts("guard")) == len(bench.starts("services")) == 1
    if number == signal.SIGKILL:
        assert "The service screen was killed by SIGKILL; it is started again in 0.1 s." in bench.said[0]


def test_a_screen_that_cannot_be_served_is_told_once_and_the_charger_runs_without_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, web="config")

    async def script(supervisor: Supervisor) -> None:
        await bench.until(lambda: bool(bench.said))
        await bench.talking(supervisor)
        await asyncio.sleep(0.5)

    assert bench.run(script) == 0
    assert len(bench.starts("web")) == 1
    assert len(bench.said) == 1
    assert bench.said[0].startswith("There is no service screen.")


def test_a_screen_that_is_not_installed_at_all_does_not_keep_the_charger_from_running(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.commands = Commands(bench.commands.guard, bench.commands.services, None, ("/nowhere/python",))
    assert bench.run(bench.talking) == 0
    assert bench.said == [
        "The service screen cannot be started (No such file or directory); the charger goes on without it."
    ]


def test_a_crash_is_told_with_the_last_lines_of_its_log(tmp_path: Path) -> None:
    bench = Bench(tmp_path, guard="crash")
    assert bench.run(bench.talking) == 0
    assert "guard ended with exit code 1; it is started again in 0.1 s." in bench.said[0]
    assert "guard: something broke" in bench.said[0]
    assert "something broke" in bench.read("log/guard.log")


def test_a_wrong_configuration_ends_everything_instead_of_starting_again_and_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, guard="config")
    began = time.monotonic()
    assert bench.run(down_timeout_s=100.0) == 1
    assert time.monotonic() - began < 100.0  # nobody waits for a guard that is dead
    assert bench.starts("guard") == ["first"]
    assert "guard cannot start." in bench.said[0]
    assert "this board is wrong" in bench.said[0]


def test_services_that_hang_are_killed_and_started_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script(supervisor: Supervisor) -> None:
        await bench.talking(supervisor)
        supervisor.services.send_signal(signal.SIGSTOP)
        await bench.until(lambda: len(bench.starts("services")) == 2)
        await bench.talking(supervisor)

    assert bench.run(script, silent_s=1.0) == 0
    assert "Services hang and are killed." in bench.said


@pytest.mark.slow
def test_services_that_hang_from_the_start_are_given_more_time_and_then_killed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, services="hang")

    async def script(supervisor: Supervisor) -> None:
        await bench.until(lambda: len(bench.starts("services")) == 1)
        (tmp_path / "services.do").write_text("run")
        await bench.until(lambda: len(bench.starts("services")) == 2)

    began = time.monotonic()
    bench.run(script, silent_s=0.2, start_grace_s=1.0)
    assert time.monotonic() - began > 1.0


def test_a_shutdown_asked_over_the_control_socket_ends_everything_with_zero(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (tmp_path / "shutdown.please").touch()
    assert bench.run() == 0
    assert bench.read("guard.asked_by") == "services"


def test_without_services_the_supervisor_asks_guard_itself(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script(supervisor: Supervisor) -> None:
        await bench.talking(supervisor)
        (tmp_path / "services.do").write_text("hang")
        supervisor.services.send_signal(signal.SIGKILL)
        await supervisor.services.wait()

    assert bench.run(script) == 0
    assert bench.read("guard.asked_by") == "supervisor"


def test_services_that_cannot_end_after_guard_is_down_are_no_failure(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (tmp_path / "services.stuck").touch()
    assert bench.run(bench.talking, down_timeout_s=0.8) == 0
    assert bench.said == []


def test_a_guard_that_never_comes_down_is_ended_after_the_time_limit_and_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (tmp_path / "guard.stuck").touch()
    assert bench.run(bench.talking, down_timeout_s=0.8) == 1
    assert "did not say within 0.8 s that it is down" in bench.said[-1]


def test_guard_and_services_start_only_when_the_rig_is_ready(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rig="run")
    assert bench.run(bench.talking) == 0
    assert bench.starts("rig") == ["first"]


def test_a_rig_that_fails_is_told_and_nothing_else_is_started(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rig="config")
    assert bench.run() == 1
    assert "The emulated rig ended while it started." in bench.said[0]
    assert bench.starts("guard") == []


def test_the_end_of_the_rig_ends_everything(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rig="run")

    async def script(supervisor: Supervisor) -> None:
        await bench.talking(supervisor)
        supervisor.rig.send_signal(signal.SIGKILL)
        await bench.until(lambda: any("rig was killed" in text for text in bench.said))

    assert bench.run(script) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_at_once(tmp_path: Path, number: signal.Signals, code: int) -> None:
    bench = Bench(tmp_path)
    (tmp_path / "guard.stuck").touch()

    async def script(supervisor: Supervisor) -> None:
        await bench.talking(supervisor)
        os.kill(os.getpid(), number)
        await bench.until(lambda: bool(bench.read("guard.asked_by")))
        os.kill(os.getpid(), number)

    began = time.monotonic()
    assert bench.run(script, down_timeout_s=100.0) == code
    assert time.monotonic() - began < 100.0
    assert any("Ended at once" in text for text in bench.said)


def test_children_have_a_session_of_their_own_so_a_ctrl_c_of_the_terminal_is_not_for_them(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script(supervisor: Supervisor) -> None:
        await bench.talking(supervisor)
        for child in (supervisor.guard, supervisor.services):
            assert child.pid is not None
            assert os.getsid(child.pid) == child.pid

    assert bench.run(script) == 0


def test_one_signal_is_a_clean_stop(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script(supervisor: Supervisor) -> None:
        await bench.talking(supervisor)
        os.kill(os.getpid(), signal.SIGINT)
        await bench.until(lambda: not supervisor.guard.running)

    assert bench.run(script) == 0


def test_children_do_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rig="run")
    program = (
        "import asyncio, sys; from pathlib import Path; from firmware.supervisor import *\n"
        f"c = Commands({bench.commands.guard!r}, {bench.commands.services!r}, {bench.commands.rig!r})\n"
        f"d = Path({str(tmp_path)!r})\n"
        "async def main(): return await Supervisor(c, d, print, lock=claim(d)).run()\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    try:
        wait(lambda: bench.read("guard.request_of"), "services that talk to guard")
        pids = [int(bench.read(f"{role}.starts").split()[0]) for role in ("rig", "guard", "services")]
        assert all(Path("/proc", str(pid)).exists() for pid in pids)
    finally:
        parent.kill()
        parent.wait()
    wait(lambda: not any(_lives(pid) for pid in pids), "the end of all children")
    os.close(claim(tmp_path))  # and the directory is free again


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


# ----------------------------------------------------------------------------------------------------- the small parts
def test_a_run_directory_belongs_to_one_charger(tmp_path: Path) -> None:
    lock = claim(tmp_path / "run")
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    with pytest.raises(SupervisorError, match=rf"already runs in .*run \(process {os.getpid()}\)"):
        claim(tmp_path / "run")
    os.close(lock)
    os.close(claim(tmp_path / "run"))


def test_a_run_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SupervisorError, match=r"cannot be used: Not a directory\."):
        claim(tmp_path / "file" / "run")


def test_the_real_commands_name_module_board_and_directory() -> None:
    commands = commands_for(boards.load("desk", "/run/q"), Path("/run/q"))
    desk = str(Path(boards.find("desk")).resolve())
    assert commands.guard[1:] == ("-m", "firmware.guard", "--board", desk, "--dir", "/run/q")
    assert commands.services[2] == "firmware.services"
    assert commands.rig is not None
    assert commands.rig[2] == "hil.rig"
    assert commands.rig[7:9] == ("--source", "230,50")
    assert commands_for(boards.load("beg22", "/run/q"), Path("/run/q")).rig is None
    assert commands.web is not None
    assert commands.web[1:] == ("-m", "firmware.web", "--board", desk, "--dir", "/run/q")


def test_draining_leaves_nothing_behind() -> None:
    one, other = socket_pair()
    with one, other:
        for _ in range(5):
            one.send(b"old")
        assert drain(other) == 5
        one.send(b"new")
        assert other.recv(10) == b"new"


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=30))
def test_the_pause_before_a_restart_is_bounded_and_short_after_a_good_run(runs: list[float]) -> None:
    backoff = Backoff(0.1, 10.0, 30.0)
    last = 0.05
    for ran_s in runs:
        pause_s = backoff.after(ran_s)
        assert 0.1 <= pause_s <= 10.0
        assert pause_s == (0.1 if ran_s >= 30.0 else min(last * 2.0, 10.0))
        last = pause_s


def test_a_log_is_bounded_and_keeps_its_newest_lines(tmp_path: Path) -> None:
    log = Log(tmp_path / "x.log", max_bytes=1000)
    for number in range(200):
        log.write(f"line {number}\n".encode())
    log.close()
    assert (tmp_path / "x.log").stat().st_size <= 1000
    assert (tmp_path / "x.log.1").stat().st_size <= 1000
    assert log.tail[-1] == "line 199"
    assert (tmp_path / "x.log").read_text().endswith("line 199\n")


def test_a_log_puts_lines_together_that_arrive_in_pieces(tmp_path: Path) -> None:
    log = Log(tmp_path / "x.log")
    assert log.write(b"rig re") == []
    assert log.write(b"ady\nmore") == ["rig ready"]
    log.close()


def test_a_desk_whose_car_cannot_speak_here_becomes_the_one_with_a_car_on_can_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    assert supervisor.board_for("desk_can", tmp_path, said.append).name == "desk_can"
    assert said == []
    monkeypatch.setattr(supervisor, "missing", lambda board: "There is no car.")
    assert supervisor.board_for("desk", tmp_path, said.append).name == "desk_can"
    assert said == ["There is no car. Until then the car speaks no ISO 15118; this is the board desk_can."]
    mine = tmp_path / "mine.toml"
    mine.write_text(boards.find("desk").read_text())
    with pytest.raises(supervisor.SupervisorError, match=r"The board desk cannot speak to a car: There is no car\."):
        supervisor.board_for(str(mine), tmp_path, said.append)
