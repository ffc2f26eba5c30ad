"""What may be typed after `quadrant`: the argument parser, its help texts and their examples."""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from firmware.build import how
from firmware.control_client import default_run_dir
from firmware.quantities import QuantityError, duration_s, power_w

Handler = Callable[[argparse.Namespace], int]


MAX_EVENTS = 10_000  # of one `events` answer; firmware/services/control.py refuses more
_NEGATIVE_VALUE = re.compile(r"-(\d|\.\d)")


def guard_negative_values(words: list[str]) -> list[str]:
    """argparse takes `-7kW` for an option. No option here starts with a digit, and with a space before it argparse
    takes anything for a value; whoever reads the value strips the space."""
    return [f" {word}" if _NEGATIVE_VALUE.match(word) else word for word in words]


class Parser(argparse.ArgumentParser):
    """An argument parser that shows its example as written and knows no abbreviated options."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        if example:
            kwargs["epilog"] = f"example:\n  {example}"
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)


def _argument(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parsing function whose sentence argparse prints as it is."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except QuantityError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _count(text: str) -> int:
    if not text.strip().isdecimal() or not 1 <= int(text) <= MAX_EVENTS:
        raise QuantityError(f"{text.strip()!r} is not a number of events from 1 to {MAX_EVENTS}")
    return int(text)


def _since(text: str) -> float:
    """Wall time in s since the epoch, from `2h` (ago) or an ISO date and time (local unless it names a zone)."""
    try:
        return time.time() - duration_s(text)
    except QuantityError:
        pass
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        raise QuantityError(
            f"{text.strip()!r} is neither an age (30m, 2h) nor a date and time (2026-03-01T08:00)"
        ) from None


def build_parser(handlers: Mapping[str, Handler], groups: Iterable[Callable[[Any], None]]) -> tuple[Parser, Any]:
    """The parser, and the object that takes further commands (plugins). `handlers`: command -> what runs it; a
    command with actions is named `board list`. `groups`: what adds commands with their own handlers."""
    parser = Parser(
        prog="quadrant",
        description="Bidirectional DC charger: run it, ask it for power, see what it does and why.",
        example="quadrant run",
    )
    parser.add_argument("--version", action="version", version=f"quadrant {_version()} ({how()})")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_requests(commands)
    _add_reports(commands)
    _add_replay(commands)
    _add_systemd(commands)
    actions = _add_board(commands)
    for name, command in commands.choices.items():
        if name != "board":
            command.set_defaults(run=handlers[name])
    for name, action in actions.choices.items():
        action.set_defaults(run=handlers[f"board {name}"])
    for add in groups:
        add(commands)
    return parser, commands


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="run the charger in the foreground",
        description="Runs the charger until Ctrl-C (or SIGTERM); then the power ramps to zero and the contactors open."
        "\nIn a terminal it shows the live view, otherwise it prints a line on every change.",
        example="quadrant run --board desk --for 10m",
    )
    run.add_argument("--board", default="desk", metavar="FILE|NAME", help="which board (default: desk, all emulated)")
    run.add_argument("--headless", action="store_true", help="no live view: a line on every change")
    run.add_argument("--json", action="store_true", help="one JSON object on every change; implies --headless")
    run.add_argument(
        "--for",
        dest="for_s",
        type=_argument(lambda text: duration_s(text, bare_unit_s=1.0)),
        metavar="SECONDS",
        help="stop by itself after so long (also 10m, 1h)",
    )
    run.add_argument("--can-log", type=Path, metavar="FILE", help="log CAN frames; .log is candump text, .blf binary")
    add_dir(run)


def _add_requests(commands: Any) -> None:
    power = commands.add_parser(
        "power",
        help="ask for power: + charges, - discharges",
        description="Asks for power for a while. The request is a lease: it ends by itself. What flows is at most what"
        "\nprotection, the car and the ratings permit; `quadrant status` says which of them limits.",
        example='quadrant power -7kW --for 30m --reason "peak"',
    )
    power.add_argument("power", type=_argument(power_w), metavar="POWER", help="7kW charges, -7kW discharges, 0W holds")
    power.add_argument(
        "--for", dest="for_s", required=True, type=_argument(duration_s), metavar="TIME", help="how long: 90s, 30m, 2h"
    )
    power.add_argument(
        "--reason", default="", type=str.strip, metavar="TEXT", help="why; shown on the screen and kept in the records"
    )
    add_json(power)
    add_dir(power)
    stop = commands.add_parser(
        "stop",
        help="end the session",
        description="Ends the session: ramp to zero, open the contactors. No new one starts until `quadrant start`.",
        example="quadrant stop --clear",
    )
    stop.add_argument("--clear", action="store_true", help="also acknowledge latched faults (find their cause first)")
    add_dir(stop)
    start = commands.add_parser(
        "start",
        help="allow sessions again after a stop",
        description="Allows sessions again after `quadrant stop`.",
        example="quadrant start",
    )
    add_dir(start)


def _add_reports(commands: Any) -> None:
    status = commands.add_parser(
        "status",
        help="what the charger does and why",
        description="What the charger does and why. Exit code 4 when it is in a fault.",
        example="quadrant status --watch",
    )
    status.add_argument("--watch", action="store_true", help="go on: a line on every change")
    add_json(status)
    add_dir(status)
    events = commands.add_parser(
        "events",
        help="what happened",
        description="The latest events, oldest first. docs/events.md says what each means and what to do.",
        example="quadrant events --since 2h --follow",
    )
    events.add_argument("--limit", type=_argument(_count), default=20, metavar="N", help="at most N (default 20)")
    events.add_argument("--since", type=_argument(_since), metavar="TIME", help="2h (ago) or 2026-03-01T08:00")
    events.add_argument("--follow", action="store_true", help="go on with what happens from now")
    add_json(events)
    add_dir(events)
    metrics = commands.add_parser(
        "metrics",
        help="the status as Prometheus metrics",
        description="The status of the running charger in Prometheus' text format, once. docs/metrics.md lists them.",
        example="quadrant metrics",
    )
    add_dir(metrics)
    doctor = commands.add_parser(
        "doctor",
        help="what is installed, reachable, permitted",
        description="Examines this machine for a board; each finding with its remedy. Exit code 1 when one fails.",
        example="quadrant doctor --board beg22",
    )
    doctor.add_argument("--board", default="desk", metavar="FILE|NAME", help="for which board (default: desk)")
    add_json(doctor)
    add_dir(doctor)


def _add_systemd(commands: Any) -> None:
    systemd = commands.add_parser(
        "systemd",
        help="the files that make a charger a service of its machine",
        description="Prints a systemd unit for a board, and a .network file for each of its CAN interfaces."
        "\ndocs/systemd.md says what to do with them.",
        example="quadrant systemd --board beg22 --out /tmp/units",
    )
    systemd.add_argument("--board", default="desk", metavar="FILE|NAME", help="for which board (default: desk)")
    systemd.add_argument("--user", default="quadrant", metavar="NAME", help="account of the service (quadrant)")
    systemd.add_argument("--out", type=Path, metavar="DIR", help="write them below this directory instead of printing")


def _add_board(commands: Any) -> Any:
    board = commands.add_parser(
        "board",
        help="list, show and check boards",
        description="What a charger is made of. docs/boards.md explains every key.",
        example="quadrant board check ./mine.toml",
    )
    actions = board.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="the boards of this package",
        description="The boards of this package.",
        example="quadrant board list",
    )
    show = actions.add_parser(
        "show",
        help="a board with all values in force",
        description="A board as TOML with every value in force, defaults included.",
        example="quadrant board show desk",
    )
    check = actions.add_parser(
        "check",
        help="check a board file",
        description="Checks a board file; says what is wrong and what is allowed. Exit code 1 when it is not good.",
        example="quadrant board check ./mine.toml",
    )
    for command in (show, check):
        command.add_argument("board", metavar="FILE|NAME")
    for command in (listing, show, check):
        add_json(command)
    return actions


def _add_replay(commands: Any) -> None:
    replay = commands.add_parser(
        "replay",
        help="what protection and grid support make of a recording of the grid",
        description="Runs protection and grid support over a recording: what trips, when, by which clause, and which"
        "\npower is permitted. P: + charges, - discharges; Q: + absorbs, - injects. docs/replay.md has the columns.",
        example="quadrant replay --code de_vde_ar_n_4105_2018 --csv grid.csv --p-set-w -10000 --json result.json",
    )
    replay.add_argument("--code", required=True, metavar="NAME", help="grid code; `quadrant codes list` names them")
    source = replay.add_mutually_exclusive_group(required=True)
    source.add_argument("--csv", type=Path, metavar="FILE", help="t_s, va_pu, vb_pu, vc_pu, f_hz (or va_v, vb_v, vc_v)")
    source.add_argument("--comtrade", type=Path, metavar="FILE.cfg", help="samples; needs quadrant[comtrade,waveform]")
    source.add_argument("--wav", type=Path, metavar="FILE", help="samples, L1, L2, L3; needs quadrant[waveform]")
    replay.add_argument("--rated-w", type=float, default=22_000.0, metavar="W", help="of the charger (default: 22000)")
    replay.add_argument("--p-set-w", type=float, default=0.0, metavar="W", help="asked all the time (default: 0)")
    replay.add_argument("--q-set-var", type=float, metavar="VAR", help="fixed (default: as the code says)")
    replay.add_argument(
        "--start", choices=("in-service", "waiting"), default="in-service", help="state at the first row (in-service)"
    )
    replay.add_argument(
        "--nominal-v", type=float, metavar="VOLTS", help="of the recording, phase to neutral (default: the code's)"
    )
    replay.add_argument("--full-scale-v", type=float, metavar="VOLTS", help="of integer samples in a WAV")
    replay.add_argument("--board", default="desk", metavar="FILE|NAME", help="whose reaction chain (default: desk)")
    replay.add_argument("--adjust", type=Path, metavar="FILE", help="with the adjustments of this TOML file")
    replay.add_argument(
        "--allow-unverified", action="store_true", help="accept and apply numbers that are only remembered"
    )
    replay.add_argument("--json", type=Path, metavar="OUT", help="the result; - for standard output")
    replay.add_argument("--series", type=Path, metavar="OUT.csv", help="power, state and permitted range over time")
    replay.add_argument("--plot", type=Path, metavar="OUT.png", help="a picture (.png or .svg; needs quadrant[plot])")


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json of a command that prints."""
    parser.add_argument("--json", action="store_true", help="JSON instead of text")


def add_dir(parser: argparse.ArgumentParser) -> None:
    """--dir of a command about a charger."""
    parser.add_argument(
        "--dir",
        type=Path,
        default=default_run_dir(),
        metavar="DIR",
        help="where the charger keeps its socket and records",
    )


def _version() -> str:
    try:
        return importlib.metadata.version("quadrant")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
