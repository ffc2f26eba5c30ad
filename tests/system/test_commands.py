"""The commands of `quadrant` beside a running charger, and what its processes are made of."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import can
import pytest

from tests.system.charger import FIELDS, QUADRANT, ROOT, Charger, Record, RigClient, board_file, tell_end, wait_for


@pytest.fixture(scope="module")
def charger(home: Path) -> Iterator[Charger]:
    """A charger that charges a car at 11 kW, and logs its frames."""
    board = board_file(home / "board.toml", own_rig=True)
    charger = Charger(board, home, "--can-log", str(home / "frames.log"))
    try:
        charger.wait_power(11_000.0)
        yield charger
    finally:
        charger.end()


def kind_of(process: Path, target: str) -> str:
    """What a descriptor is: a socket by its family, a terminal without its number, a file by its path."""
    if target.startswith("socket:["):
        tables = ("udp", "tcp", "udp6", "tcp6", "raw", "unix", "netlink", "packet")
        inode = target[8:-1]
        return next((table for table in tables if inode in (process / "net" / table).read_text().split()), target)
    return "/dev/pts" if target.startswith("/dev/pts/") else target


@pytest.fixture(scope="module")
def rig(charger: Charger) -> Iterator[RigClient]:
    client = RigClient(charger.dir)
    yield client
    client.close()


@pytest.fixture(autouse=True)
def charges(charger: Charger, rig: RigClient) -> None:
    """Each test begins with a charger that charges at 11 kW: also one that is tried again, and one after a trip that a
    machine without time for the emulated devices made."""
    if charger.fresh()["state"] == "transfer: charging":
        return
    charger.ask("clear")
    charger.ask("start")

    def begun() -> bool:
        rig.ask(device="car", plug_in=True)
        return str(charger.snapshot().get("state", "")).startswith(("cable check", "transfer"))

    wait_for("a session", begun, every_s=0.3)
    charger.wait_power(11_000.0)


def test_status_says_what_and_why_and_how_punctual_guard_is(charger: Charger) -> None:
    text = charger.cli("status")
    assert text.returncode == 0, text.stderr
    assert text.stdout.startswith("Asked to charge 11.0 kW (board: nobody asks for anything else).")
    assert "state      transfer: charging" in text.stdout

    answer = json.loads(charger.cli("status", "--json").stdout)
    snapshot = answer["snapshot"]
    assert answer["emulated"] is True
    assert answer["age_s"] < 0.5
    assert snapshot["grid_f_hz"] == pytest.approx(60.0, abs=0.1)
    assert snapshot["grid_v"] == pytest.approx([230.0] * 3, abs=5.0)
    # A woken process is never exactly on time: a zero here would be a value that nobody measures.
    assert 0.0 < snapshot["late_p99_us"] <= snapshot["late_max_us"]
    ticks, missed = snapshot["tick"], snapshot["missed"]
    time.sleep(2.0)
    later = charger.fresh()
    print(
        f"\nguard: {later['tick']} ticks, late p99 {later['late_p99_us']:.0f} us, max {later['late_max_us']:.0f} us, "
        f"missed {later['missed']}; {later['realtime']}"
    )
    # Every period is either a tick or a missed one.
    periods = later["tick"] - ticks + later["missed"] - missed
    assert periods == pytest.approx(100.0 * (later["t"] - snapshot["t"]), abs=2.0)


def test_a_hold_up_of_guard_is_counted_and_told(charger: Charger) -> None:
    """50 ms: not long enough for anybody's time-out, but periods are missed and that is published."""
    before = charger.fresh()
    os.kill(charger.guard, signal.SIGSTOP)
    time.sleep(0.05)
    os.kill(charger.guard, signal.SIGCONT)
    time.sleep(0.3)
    after = charger.fresh()
    assert 4 <= after["missed"] - before["missed"] <= 20
    assert after["late_max_us"] > 35_000.0
    (event, *_) = wait_for("the event", lambda: charger.events("late_tick", before["t"]))
    assert "periods missed" in event["detail"]
    assert after["state"] == "transfer: charging"


def test_watch_prints_a_line_at_once_and_ends_with_ctrl_c(charger: Charger) -> None:
    watch = subprocess.Popen(
        [*QUADRANT, "status", "--watch", "--json", "--dir", str(charger.dir)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        # Whoever runs the tests in the background has them ignore it, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert watch.stdout is not None
    first = json.loads(watch.stdout.readline())
    watch.send_signal(signal.SIGINT)
    _, words = watch.communicate(timeout=60.0)
    assert first["type"] == "change"
    assert first["state"] == "transfer: charging"
    assert (watch.returncode, words) == (0, "")


def test_a_request_out_of_range_is_refused_and_changes_nothing(charger: Charger) -> None:
    for words, sentence in (
        (("power", "-99kW", "--for", "10s"), "-22000 W (discharge) to 22000 W (charge)"),
        (("power", "7kW", "--for", "2000h"), "1 to 86400 seconds"),
    ):
        refused = charger.cli(*words)
        assert refused.returncode == 1
        assert refused.stderr.startswith("Refused: ")
        assert sentence in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert charger.ask("status")["request"] is None
    assert charger.fresh()["asked_w"] == 11_000.0
    wrong = charger.cli("power", "7", "--for", "10s")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


def test_stop_ends_the_session_and_start_allows_the_next(charger: Charger, rig: RigClient) -> None:
    began = time.monotonic()
    stopped = charger.cli("stop")
    assert stopped.returncode == 0
    wait_for("open contactors", lambda: rig.read("k_dc") == 0.0)
    assert abs(rig.read("batt_i_a")) < 1.0
    charger.wait_state("finished")
    wait_for("the event of the stop", lambda: charger.events("operator_stop", began))
    (ended,) = wait_for("the event of the end", lambda: charger.events("session_ended", began))
    assert ended["detail"] == "operator"
    rig.ask(device="car", plug_in=True)
    time.sleep(2.0)
    assert charger.fresh()["ready"] is False
    assert rig.read("k_dc") == 0.0
    assert charger.cli("start").returncode == 0
    wait_for("readiness", lambda: charger.fresh()["ready"])

    def begun() -> bool:
        rig.ask(device="car", plug_in=True)
        return str(charger.snapshot().get("state", "")).startswith("cable check")

    wait_for("the next session", begun, every_s=0.3)
    charger.wait_power(11_000.0)


def test_a_request_for_discharge_really_discharges_and_ends_by_itself(charger: Charger, rig: RigClient) -> None:
    began = time.monotonic()
    asked = charger.cli("power", "-7kW", "--for", "10s", "--reason", "peak")
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout == "Asked to discharge at -7.0 kW for 10 s.\n"
    wait_for("discharge in the plant", lambda: rig.read("ac_p_w") < -6_000.0)
    reached_s = time.monotonic() - began
    assert rig.read("batt_i_a") < -15.0
    wait_for("discharge in the status", lambda: charger.snapshot().get("state") == "transfer: discharging")
    status = charger.ask("status")
    assert status["request"]["reason"] == "peak"
    assert 0.0 < status["request"]["remaining_s"] < 10.0
    assert "Asked to discharge 7.0 kW (operator: peak)" in status["snapshot"]["why"]
    wait_for("the end of the request", lambda: charger.ask("status")["request"] is None, every_s=0.05)
    wait_for("charge in the plant again", lambda: rig.read("ac_p_w") > 10_000.0)
    time.sleep(1.0)  # records are written a few times a second
    requests = charger.events("request", began)
    begun_t = next(e["t"] for e in requests if "operator: -7.00 kW peak" in e["detail"])
    assert "board: +11.00 kW" in requests[-1]["detail"]
    lasted_s = requests[-1]["t"] - begun_t  # the charger's own clock: how long the command took to start is no matter
    print(f"\n-7 kW reached after {reached_s:.2f} s, asked for during {lasted_s:.2f} s")
    assert lasted_s == pytest.approx(10.0, abs=0.5)
    states = [e["detail"] for e in charger.events("state", began)]
    assert states == [
        "transfer: through zero", "transfer: holding", "transfer: discharging",
        "transfer: through zero", "transfer: holding", "transfer: charging",
    ]  # fmt: skip


def test_events_are_printed_newest_last_and_as_json(charger: Charger) -> None:
    text = charger.cli("events", "--limit", "5")
    assert text.returncode == 0
    assert len(text.stdout.splitlines()) == 5
    objects = [json.loads(line) for line in charger.cli("events", "--json", "--limit", "1000").stdout.splitlines()]
    assert [o["id"] for o in objects] == sorted(o["id"] for o in objects)
    codes = {o["code"] for o in objects}
    assert {"guard_started", "grid_enter_service", "car_plugged", "session_started", "state"} <= codes


def test_doctor_looks_at_the_running_charger(charger: Charger) -> None:
    found = charger.cli("doctor", "--board", str(charger.dir / "board.toml"), "--json")
    lines = json.loads(found.stdout)
    print("\n" + "\n".join(f"{line['verdict']:<5}{line['check']}: {line['text']}" for line in lines))
    assert {line["verdict"] for line in lines} <= {"ok", "warn", "fail"}
    assert all(line["text"] for line in lines)
    assert all(line["remedy"] for line in lines if line["verdict"] != "ok")
    assert found.returncode == (1 if any(line["verdict"] == "fail" for line in lines) else 0)
    (answers,) = [line for line in lines if line["check"] == "control socket"]
    assert (answers["verdict"], "answers" in answers["text"]) == ("ok", True)


def test_a_second_charger_in_the_same_directory_is_refused(charger: Charger) -> None:
    second = charger.cli("run", "--board", str(charger.dir / "board.toml"), "--headless")
    assert second.returncode == 1
    assert f"A charger already runs in {charger.dir} (process {charger.process.pid})" in second.stderr
    assert "Traceback" not in second.stderr
    assert charger.fresh()["state"] == "transfer: charging"


def test_guard_has_one_thread_and_no_file_no_network_and_no_event_loop(charger: Charger) -> None:
    """Its log, one UDP socket (the CAN bus of this board), one serial line, one socket to services, and the
    supervisor's lock, which it holds against a second charger but never reads. No epoll: nothing runs a loop of events.
    """
    guard = Path(f"/proc/{charger.guard}")
    assert len(list((guard / "task").iterdir())) == 1
    links = {int(link.name): os.readlink(link) for link in (guard / "fd").iterdir()}
    print(f"\n{links}")
    log = links[1]
    assert log.startswith("pipe:")
    assert links.pop(2) == links.pop(1) == log
    assert links.pop(0) == "/dev/null"
    # pyserial keeps two pipes to wake itself with: both ends are here, so nobody else is at the other side.
    own = [target for target in links.values() if target.startswith("pipe:")]
    assert all(own.count(target) == 2 for target in own), "a pipe to somebody else"
    kinds = sorted(kind_of(guard, target) for target in links.values() if target not in own)
    assert kinds == sorted(["udp", "unix", "/dev/pts", str(charger.dir / "lock")])

    refused = charger.fresh()["realtime"]
    policy = os.sched_getscheduler(charger.guard)
    if "SCHED_FIFO priority" in refused:
        assert policy == os.SCHED_OTHER  # and said so
        assert charger.events("guard_not_realtime")
    else:
        assert policy == os.SCHED_FIFO
        assert os.sched_getparam(charger.guard).sched_priority == 50
    locked = next(line for line in (guard / "status").read_text().splitlines() if line.startswith("VmLck"))
    assert ("mlockall refused" in refused) == (locked.split()[1] == "0"), locked


def test_the_can_log_is_candump_text_of_both_buses(charger: Charger) -> None:
    path = charger.dir / "frames.log"
    frames = list(can.CanutilsLogReader(path))
    assert {frame.channel for frame in frames} == {"can0", "can1"}
    assert len(frames) > 1000
    # Both directions of the converter's bus: requests of the controller 0xF0, answers of the module 0x00.
    first = [line for line in path.read_text().splitlines()[:400] if " can0 " in line]
    assert any("#" in line for line in first)
    assert 0.0 <= time.time() - frames[-1].timestamp < 2.0
    if shutil.which("log2asc"):
        with path.open() as log:
            done = subprocess.run(["log2asc", "can0", "can1"], stdin=log, capture_output=True, text=True, check=True)
        assert len(done.stdout.splitlines()) >= len(frames)


def test_sigterm_ramps_to_zero_before_it_opens_and_ends_with_zero(charger: Charger, rig: RigClient) -> None:
    path = charger.dir / "sigterm.csv"
    rig.ask(record=True, fields=list(FIELDS), file=str(path))
    time.sleep(0.3)
    t = time.monotonic()
    charger.signal(signal.SIGTERM)
    assert charger.wait_end() == 0, charger.words
    took_s = time.monotonic() - t
    tell_end(f"SIGTERM (exit after {took_s:.1f} s)", Record(path), t)  # the rig ended with the charger and closed it
    assert charger.words == ""
    changes = [line for line in charger.told if line["type"] == "change"]
    assert changes[0]["changed"] == ["start"]
    assert changes[-1]["state"] == "finished"
    events = [line["code"] for line in charger.told if line["type"] == "event" and line["t"] > t]
    assert events.count("shutdown") == 1
    assert "request" not in events, "an old request is told again while the charger shuts down"
    assert "Traceback" not in charger.log("guard") + charger.log("services") + charger.log("rig")
