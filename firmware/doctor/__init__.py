"""`quadrant doctor`: what is installed, reachable and permitted on this machine; each line with its remedy.

Every check is a function that returns `Line`s and changes nothing that lasts. Checks that look into the system take
the place to look at as an argument, so that a test can show them a broken one. Safe beside a running charger: no bus
and no serial port is opened, it is only asked whether they could be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from boards import Board
from firmware.control_client import ControlClient, ControlError, NoCharger
from firmware.doctor import links, machine, vehicle
from firmware.doctor.finding import Line, Verdict, fail, ok, warn

__all__ = ["Line", "Verdict", "as_dicts", "board_ports", "check_board", "check_charger", "examine", "show"]


def check_charger(run_dir: Path) -> Line:
    """Whether a charger runs in this directory and answers. That none runs is no fault of the machine."""
    try:
        with ControlClient(run_dir, timeout_s=2.0) as client:
            client.call("status")
    except NoCharger:
        return warn("control socket", f"no charger runs in {run_dir}", "start one with `quadrant run`")
    except ControlError as error:
        return fail("control socket", str(error), "read the log of services in the run directory; restart the charger")
    return ok("control socket", f"a charger answers in {run_dir}")


def board_ports(board: Board) -> Iterator[tuple[str, str]]:
    """(serial port, who uses it) of a board, each port once."""
    users: dict[str, list[str]] = {}
    for name in ("pilot", "insulation", "ac_meter", "dc_meter"):
        device = getattr(board, name)
        if device is not None:
            users.setdefault(device.port, []).append(name.replace("_", " "))
    for port, names in users.items():
        yield port, ", ".join(names)


def check_board(board: Board) -> Iterator[Line]:
    """The links that a board needs. An emulated board's serial links are made by the rig at its start."""
    yield ok("board", f"{board.name}: {board.title}")
    interfaces = {bus.interface for bus in board.bus.values()}
    if "socketcan" in interfaces:
        yield links.check_kernel_can()
    for bus in board.bus.values():
        if bus.interface == "socketcan":
            yield from links.check_can_interface(bus.channel, bus.bitrate)
        elif bus.interface == "slcan":
            yield links.check_serial(bus.channel, "slcan adapter")
    if "udp_multicast" in interfaces:
        yield links.check_multicast()
    if board.rig is not None:
        package = board.rig.module.split(".")[0]
        yield machine.check_optional(
            package, "rig", "the emulated rig cannot start", "install the whole package, not firmware alone"
        )
    else:
        for port, user in board_ports(board):
            yield links.check_serial(port, user)
    yield from vehicle.check_secc(board)
    yield from vehicle.check_everest(board)


def examine(board: Board, run_dir: Path) -> list[Line]:
    """All checks, in the order in which a person would repair them."""
    return [
        machine.check_python(),
        *machine.check_packages(),
        machine.check_sqlite(),
        machine.check_optional(
            "matplotlib", "plots", "`quadrant demo` draws no picture", "pip install 'quadrant[plot]'"
        ),
        *check_board(board),
        machine.check_fifo(board.guard.priority),
        machine.check_mlock(),
        machine.check_timer_slack(),
        machine.check_preempt_rt(),
        machine.check_clock(),
        machine.check_disk(run_dir),
        check_charger(run_dir),
    ]


def as_dicts(lines: list[Line]) -> list[dict[str, Any]]:
    return [asdict(line) for line in lines]


def show(lines: list[Line], out: TextIO) -> None:
    """Print findings for people: verdict, what was found, and below it what to do."""
    for line in lines:
        print(f"{line.verdict:<5}{line.check}: {line.text}", file=out)
        if line.remedy:
            print(f"     -> {line.remedy}", file=out)
    counts = {verdict: sum(line.verdict is verdict for line in lines) for verdict in Verdict}
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count), file=out)
