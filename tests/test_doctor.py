"""`quadrant doctor`: every check is shown a good and a broken machine."""

from __future__ import annotations

import io
import json
import os
import resource
import socket
from collections.abc import Iterable
from pathlib import Path

import pytest

import boards
from firmware import cli, doctor
from firmware.doctor import Line, Verdict, links, machine, vehicle
from tests.fake_charger import served
from tests.view_snapshot import snapshot

IP_UP = """3: can0: <NOARP,UP,LOWER_UP,ECHO> mtu 16 qdisc pfifo_fast state UP mode DEFAULT group default qlen 10
    link/can  promiscuity 0
    can state ERROR-ACTIVE restart-ms 100
          bitrate 125000 sample-point 0.875"""


def verdicts(lines: Iterable[Line]) -> list[str]:
    return [line.verdict.value for line in lines]


# ------------------------------------------------------------------------------------------------------------- machine
@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        (machine.check_python((3, 10)), Verdict.FAIL),
        (machine.check_python((3, 11)), Verdict.OK),
        (machine.check_sqlite((3, 7, 15)), Verdict.FAIL),
        (machine.check_sqlite((3, 40, 1)), Verdict.OK),
        (machine.check_optional("no_such_module", "x", "use", "remedy"), Verdict.WARN),
        (machine.check_optional("no_such_package.module", "x", "use", "remedy"), Verdict.WARN),
        (machine.check_optional("json", "x", "use", "remedy"), Verdict.OK),
        (machine.check_mlock((65536, 65536), privileged=False), Verdict.WARN),
        (machine.check_mlock((65536, 65536), privileged=True), Verdict.OK),
        (machine.check_mlock((resource.RLIM_INFINITY, resource.RLIM_INFINITY), privileged=False), Verdict.OK),
        (machine.check_preempt_rt(Path("/nonexistent"), "#1 SMP PREEMPT_DYNAMIC"), Verdict.WARN),
        (machine.check_preempt_rt(Path("/nonexistent"), "#1 SMP PREEMPT_RT"), Verdict.OK),
        (machine.check_clock((0, 0, 2_000)), Verdict.OK),
        (machine.check_clock((0, 0, 5_000_000)), Verdict.WARN),
        (machine.check_clock((5, 0, 2_000)), Verdict.WARN),
        (machine.check_clock((0, machine.STA_UNSYNC, 2_000)), Verdict.WARN),
        (machine.check_disk(Path("/tmp"), 1_000_000), Verdict.FAIL),
        (machine.check_disk(Path("/tmp"), 100_000_000), Verdict.WARN),
        (machine.check_disk(Path("/tmp/not/made/yet"), 10**12), Verdict.OK),
        (machine.check_disk(Path("/proc/nothing")), Verdict.FAIL),
    ],
)
def test_a_machine_is_judged_as_it_is(line: Line, verdict: Verdict) -> None:
    assert line.verdict is verdict, line


def test_missing_packages_are_named_with_the_command_that_installs_them() -> None:
    lines = list(machine.check_packages(["rich>=13", "no-such-package>=1,<2", 'matplotlib; extra == "plot"']))
    assert verdicts(lines) == ["fail", "ok"]
    assert lines[0].text == "no-such-package is not installed"
    assert lines[0].remedy == "pip install 'no-such-package>=1,<2'"
    assert "rich " in lines[1].text
    assert "matplotlib" not in lines[1].text


def test_a_capability_is_read_from_the_effective_set(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nCapEff:\t0000000000004000\n")
    assert machine.has_capability(14, status)
    assert not machine.has_capability(23, status)
    assert not machine.has_capability(14, tmp_path / "missing")


def test_the_clock_of_this_machine_can_be_read() -> None:
    result, status, error_us = machine.read_clock()
    assert result in range(6)
    assert status >= 0
    assert error_us >= 0


def test_fifo_is_tried_in_a_child_and_this_process_stays_as_it_is() -> None:
    before = os.sched_getscheduler(0)
    line = machine.check_fifo(10)
    assert os.sched_getscheduler(0) == before
    assert line.verdict in (Verdict.OK, Verdict.WARN)
    assert machine.check_fifo(1000).verdict is Verdict.WARN  # no such priority: refused for everybody


# --------------------------------------------------------------------------------------------------------------- links
def can_device(root: Path, kind: str = "280", flags: str = "0x400c1") -> Path:
    device = root / "can0"
    device.mkdir(parents=True)
    (device / "type").write_text(f"{kind}\n")
    (device / "flags").write_text(f"{flags}\n")
    return root


def test_a_missing_can_interface_a_wrong_kind_and_one_that_is_down_fail(tmp_path: Path) -> None:
    assert verdicts(links.check_can_interface("can0", 125_000, tmp_path)) == ["fail"]
    ethernet = can_device(tmp_path / "a", kind="1")
    assert "not a CAN interface" in next(iter(links.check_can_interface("can0", 125_000, ethernet))).text
    down = can_device(tmp_path / "b", flags="0x40080")
    line = next(iter(links.check_can_interface("can0", 125_000, down)))
    assert line.text == "can0 is down"
    assert line.remedy == "sudo ip link set can0 up type can bitrate 125000 restart-ms 100"


def test_an_interface_that_is_up_is_asked_for_its_bit_rate(tmp_path: Path) -> None:
    up = can_device(tmp_path)
    assert verdicts(links.check_can_interface("can0", 125_000, up))[0] == "ok"


@pytest.mark.parametrize(
    ("details", "verdict", "says"),
    [
        (IP_UP, Verdict.OK, "125000 bit/s"),
        (IP_UP.replace("125000", "500000"), Verdict.FAIL, "runs at 500000 bit/s, the board says 125000"),
        (IP_UP.replace("restart-ms 100", "restart-ms 0"), Verdict.WARN, "stays off after a bus-off"),
        (IP_UP.replace("ERROR-ACTIVE", "BUS-OFF"), Verdict.FAIL, "error state"),
        (IP_UP.replace("ERROR-ACTIVE", "ERROR-PASSIVE"), Verdict.FAIL, "error state"),
        ("4: can0: <NOARP,UP> link/can\n    vcan numtxqueues 1", Verdict.OK, "virtual"),
        ("3: can0: link/can", Verdict.WARN, "does not say"),
        (None, Verdict.WARN, "could not be read"),
    ],
)
def test_bit_rate_bus_state_and_restart_are_read(details: str | None, verdict: Verdict, says: str) -> None:
    line = links.check_can_bitrate("can0", 125_000, details)
    assert line.verdict is verdict
    assert says in line.text


def test_a_serial_port_must_be_there_and_be_a_device(tmp_path: Path) -> None:
    plain = tmp_path / "ttyS9"
    plain.write_text("")
    assert links.check_serial(str(plain), "pilot").text == "pilot: this is not a serial device"
    assert links.check_serial(str(tmp_path / "missing"), "pilot").verdict is Verdict.FAIL
    primary, secondary = os.openpty()
    try:
        assert links.check_serial(os.ttyname(secondary), "pilot").verdict is Verdict.OK
    finally:
        os.close(primary)
        os.close(secondary)


def test_multicast_is_really_tried_and_a_bad_group_fails() -> None:
    assert links.check_multicast("10.0.0.1", wait_s=0.1).verdict is Verdict.FAIL  # not a group of this machine


# ----------------------------------------------------------------------------------------------------- board, charger
def test_each_serial_port_of_a_board_is_listed_once_with_all_its_users() -> None:
    assert list(doctor.board_ports(boards.load("beg22"))) == [
        ("/dev/ttyAMA1", "pilot"),
        ("/dev/ttyAMA2", "insulation, ac meter, dc meter"),
    ]


def test_a_running_charger_is_found_and_a_missing_one_is_a_warning(tmp_path: Path) -> None:
    assert doctor.check_charger(tmp_path).verdict is Verdict.WARN
    with served(tmp_path, snapshot()):
        assert doctor.check_charger(tmp_path).verdict is Verdict.OK


def test_every_finding_that_is_not_ok_has_a_remedy_and_only_those(tmp_path: Path) -> None:
    for name in boards.names():
        for line in doctor.examine(boards.load(name, tmp_path), tmp_path):
            assert bool(line.remedy) == (line.verdict is not Verdict.OK), line


def test_findings_are_shown_with_their_remedies_and_counted() -> None:
    out = io.StringIO()
    doctor.show([Line("a", Verdict.OK, "good"), Line("b", Verdict.FAIL, "bad", "repair it")], out)
    assert out.getvalue() == "ok   a: good\nfail b: bad\n     -> repair it\n1 ok, 1 fail\n"


def test_the_command_fails_when_one_finding_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    findings = [Line("a", Verdict.WARN, "so so", "mend it")]
    monkeypatch.setattr(doctor, "examine", lambda board, run_dir: findings)
    assert cli.main(["doctor", "--json", "--dir", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"check": "a", "verdict": "warn", "text": "so so", "remedy": "mend it"}
    ]
    findings.append(Line("b", Verdict.FAIL, "bad", "repair it"))
    assert cli.main(["doctor", "--dir", str(tmp_path)]) == 1


# --------------------------------------------------------------------------------------------------------- vehicle side
IF_INET6 = "fe800000000000000000000000000001 03 40 20 {flags} {name}\n00000000000000000000000000000001 01 80 10 80 lo\n"


def secc_board(path: Path, pki: str = "") -> boards.Board:
    """The real board with the process secc in the place of an external one."""
    text = (boards.find("beg22")).read_text()
    before, _, after = text.partition("[vehicle]")
    rest = after.partition("\n[")[2]
    text = before + '[vehicle]\ndriver = "iso15118"\ninterface = "eth1"\n' + pki + "\n[" + rest
    head, _, tail = text.partition("[bus.vehicle]")
    path.write_text(head + "[" + tail.partition("\n[")[2])
    return boards.load(str(path))


@pytest.mark.parametrize(
    ("name", "flags", "verdict", "words"),
    [
        ("eth1", "80", Verdict.OK, "has a link-local IPv6 address"),
        ("eth1", "c0", Verdict.WARN, "still being tried"),
        ("eth0", "80", Verdict.FAIL, "no car can find the charger"),
    ],
)
def test_the_modems_interface_needs_an_address_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, flags: str, verdict: Verdict, words: str
) -> None:
    monkeypatch.setattr(vehicle, "missing", lambda board: "")
    table = tmp_path / "if_inet6"
    table.write_text(IF_INET6.format(name=name, flags=flags))
    environment, modem = vehicle.check_secc(secc_board(tmp_path / "mine.toml"), table)
    assert (environment.verdict, modem.verdict) == (Verdict.OK, verdict)
    assert words in modem.text


def test_a_missing_environment_fails_a_charger_and_only_warns_on_the_desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vehicle, "missing", lambda board: "There is none.")
    assert verdicts(vehicle.check_secc(boards.load("desk"))) == ["warn"]
    pki = f'pki = "{tmp_path}"\n'
    found = list(vehicle.check_secc(secc_board(tmp_path / "mine.toml", pki), tmp_path / "nothing"))
    assert verdicts(found) == ["fail", "fail", "fail"]
    assert [line.check for line in found] == ["SECC", "modem", "certificates"]
    assert list(vehicle.check_secc(boards.load("desk_can"))) == []


def test_everests_broker_is_looked_for_and_a_board_without_it_is_left_alone(tmp_path: Path) -> None:
    assert list(vehicle.check_everest(boards.load("desk_can"))) == []
    with socket.create_server(("127.0.0.1", 0)) as broker:
        port = broker.getsockname()[1]
        text = boards.find("desk_everest").read_text().replace("[everest]  ", f"[everest]\nport = {port}  ")
        path = tmp_path / "mine.toml"
        path.write_text(text)
        board = boards.load(path)
        assert verdicts(vehicle.check_everest(board)) == ["ok"]
    (line,) = vehicle.check_everest(board)
    assert line.verdict.value == "fail"
    assert f"no broker answers at 127.0.0.1:{port}" in line.text
