"""`quadrant`: the command line. Parses, asks, prints; decides nothing. See docs/cli.md.

Commands that are not firmware (the demo) come through the entry-point group `quadrant.commands`: a callable
`register(subparsers)` that adds parsers with `set_defaults(run=callable(args) -> exit code)`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import boards
from firmware.control_client import ControlClient, ControlError, NoCharger, Refused, default_run_dir
from firmware.quantities import QuantityError, duration_s, power_w, show_duration, show_power

OK = 0
FAILED = 1  # refused by the charger, or something does not work
USAGE = 2  # the command line is wrong (argparse's own code)
NO_CHARGER = 3
FAULTED = 4  # the charger runs and is in a fault

PLUGIN_GROUP = "quadrant.commands"
# A value, not an option: -7kW. Options of this program never start with a digit.
_NEGATIVE_VALUE = re.compile(r"-(\d|\.\d)")


class Parser(argparse.ArgumentParser):
    """An argument parser that shows examples as written and takes `-7kW` as a value."""

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
    if not text.strip().isdigit() or not 1 <= int(text) <= 1000:
        raise QuantityError(f"{text.strip()!r} is not a number of events from 1 to 1000")
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


# ----------------------------------------------------------------------------------------------------------- commands
def cmd_run(args: argparse.Namespace) -> int:
    from firmware.runner import run_charger  # only this command needs the whole charger
    from firmware.supervisor import SupervisorError

    try:
        return run_charger(
            board_name=args.board,
            run_dir=args.dir,
            headless=args.headless,
            for_s=args.for_s,
            as_json=args.json,
            can_log=args.can_log,
        )
    except SupervisorError as error:
        return _say(str(error))


def cmd_status(args: argparse.Namespace) -> int:
    with ControlClient(args.dir) as client:
        if args.watch:
            from firmware.lines import follow

            follow(client.watch(), sys.stdout, as_json=args.json)
            return OK
        answer = client.call("status")
    snapshot = answer.get("snapshot")
    if args.json:
        print(json.dumps(answer))
    elif snapshot is None:
        print("The charger starts; guard has not reported yet.")
    else:
        _print_status(answer, snapshot)
    return FAULTED if snapshot is not None and (snapshot["faults"] or snapshot["state"] == "fault") else OK


def _print_status(answer: dict[str, Any], snapshot: dict[str, Any]) -> None:
    print(snapshot["why"])
    rows = [
        ("board", answer.get("board") or ""),
        ("state", snapshot["state"]),
        ("grid", f"{snapshot['grid_state']}: {snapshot['grid_reason']}"),
        ("asked", f"{show_power(snapshot['asked_w'])} by {snapshot['asked_by'] or 'nobody'}"),
        ("permitted", show_power(snapshot["permitted_w"])),
        ("measured", show_power(snapshot["measured_w"])),
        ("limited by", snapshot["limited_by"] or "nothing"),
        ("car", snapshot["car_phase"] + ("" if snapshot["soc_pct"] is None else f", {snapshot['soc_pct']:.1f} %")),
    ]
    if snapshot["faults"]:
        rows.append(("faults", ", ".join(snapshot["faults"])))
    if snapshot["trip"]:
        rows.append(("last trip", snapshot["trip"]["text"]))
    for label, value in rows:
        if value:
            print(f"  {label:<11}{value}")


def cmd_power(args: argparse.Namespace) -> int:
    with ControlClient(args.dir) as client:
        answer = client.call("power", power_w=args.power, for_s=args.for_s, reason=args.reason)
    if args.json:
        print(json.dumps(answer))
    else:
        verb = "charge" if args.power > 0 else "discharge" if args.power < 0 else "hold"
        print(f"Asked to {verb} at {show_power(args.power)} for {show_duration(args.for_s)}.")
    return OK


def cmd_stop(args: argparse.Namespace) -> int:
    with ControlClient(args.dir) as client:
        client.call("stop")
        if args.clear:
            client.call("clear")
    print(
        "Stopped" + (" and latched faults cleared" if args.clear else "") + ". `quadrant start` allows sessions again."
    )
    return OK


def cmd_start(args: argparse.Namespace) -> int:
    with ControlClient(args.dir) as client:
        client.call("start")
    print("Sessions are allowed again.")
    return OK


def cmd_events(args: argparse.Namespace) -> int:
    from firmware.lines import event_line

    def show(events: Iterable[dict[str, Any]]) -> None:
        for event in events:
            print(json.dumps(event) if args.json else event_line(event), flush=True)

    fields = {"limit": args.limit} | ({} if args.since is None else {"since": args.since})
    with ControlClient(args.dir) as client:
        show(client.call("events", **fields)["events"])
        if args.follow:
            show(message["event"] for message in client.watch() if "event" in message)
    return OK


def cmd_board_list(args: argparse.Namespace) -> int:
    found = [boards.load(name) for name in boards.names()]
    if args.json:
        print(json.dumps([{"name": b.name, "title": b.title, "emulated": b.emulated} for b in found]))
    else:
        for board in found:
            print(f"{board.name:<10}{board.title}")
    return OK


def cmd_board_show(args: argparse.Namespace) -> int:
    board = boards.load(args.board)
    print(json.dumps(boards.effective(board)) if args.json else boards.describe(board), end="\n" if args.json else "")
    return OK


def cmd_board_check(args: argparse.Namespace) -> int:
    board = boards.load(args.board)
    print(json.dumps({"ok": True, "name": board.name}) if args.json else f"{args.board}: good ({board.title})")
    return OK


def cmd_doctor(args: argparse.Namespace) -> int:
    from firmware import doctor

    lines = doctor.examine(boards.load(args.board, args.dir), args.dir)
    if args.json:
        print(json.dumps(doctor.as_dicts(lines)))
    else:
        doctor.show(lines, sys.stdout)
    return FAILED if any(line.verdict is doctor.Verdict.FAIL for line in lines) else OK


# ------------------------------------------------------------------------------------------------------------- parser
def build_parser(plugins: Iterable[importlib.metadata.EntryPoint] = ()) -> Parser:
    parser = Parser(
        prog="quadrant",
        description="Bidirectional DC charger: run it, ask it for power, see what it does and why.",
        example="quadrant run",
    )
    parser.add_argument("--version", action="version", version=f"quadrant {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_requests(commands)
    _add_reports(commands)
    _add_board(commands)
    for plugin in plugins:
        _add_plugin(commands, plugin)
    return parser


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
    run.set_defaults(run=cmd_run)
    run.add_argument("--can-log", type=Path, metavar="FILE", help="log CAN frames; .log is candump text, .blf binary")
    _add_dir(run)


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
    power.add_argument("--reason", default="", help="why; shown on the screen and kept in the records")
    _add_json(power)
    _add_dir(power)
    stop = commands.add_parser(
        "stop",
        help="end the session",
        description="Ends the session: ramp to zero, open the contactors. No new one starts until `quadrant start`.",
        example="quadrant stop --clear",
    )
    stop.add_argument("--clear", action="store_true", help="also acknowledge latched faults (find their cause first)")
    _add_dir(stop)
    start = commands.add_parser(
        "start",
        help="allow sessions again after a stop",
        description="Allows sessions again after `quadrant stop`.",
        example="quadrant start",
    )
    _add_dir(start)
    for command, function in ((power, cmd_power), (stop, cmd_stop), (start, cmd_start)):
        command.set_defaults(run=function)


def _add_reports(commands: Any) -> None:
    status = commands.add_parser(
        "status",
        help="what the charger does and why",
        description="What the charger does and why. Exit code 4 when it is in a fault.",
        example="quadrant status --watch",
    )
    status.add_argument("--watch", action="store_true", help="go on: a line on every change")
    _add_json(status)
    _add_dir(status)
    events = commands.add_parser(
        "events",
        help="what happened",
        description="The latest events, oldest first. docs/events.md says what each means and what to do.",
        example="quadrant events --since 2h --follow",
    )
    events.add_argument("--limit", type=_argument(_count), default=20, metavar="N", help="at most N (default 20)")
    events.add_argument("--since", type=_argument(_since), metavar="TIME", help="2h (ago) or 2026-03-01T08:00")
    events.add_argument("--follow", action="store_true", help="go on with what happens from now")
    _add_json(events)
    _add_dir(events)
    doctor = commands.add_parser(
        "doctor",
        help="what is installed, reachable, permitted",
        description="Examines this machine for a board; each finding with its remedy. Exit code 1 when one fails.",
        example="quadrant doctor --board beg22",
    )
    doctor.add_argument("--board", default="desk", metavar="FILE|NAME", help="for which board (default: desk)")
    _add_json(doctor)
    _add_dir(doctor)
    for command, function in ((status, cmd_status), (events, cmd_events), (doctor, cmd_doctor)):
        command.set_defaults(run=function)


def _add_board(commands: Any) -> None:
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
    for command, function in ((listing, cmd_board_list), (show, cmd_board_show), (check, cmd_board_check)):
        _add_json(command)
        command.set_defaults(run=function)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON instead of text")


def _add_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dir",
        type=Path,
        default=default_run_dir(),
        metavar="DIR",
        help="where the charger keeps its socket and records",
    )


# ------------------------------------------------------------------------------------------------------------ plugins
def find_plugins() -> list[importlib.metadata.EntryPoint]:
    return sorted(importlib.metadata.entry_points(group=PLUGIN_GROUP), key=lambda plugin: plugin.name)


def _add_plugin(commands: Any, plugin: importlib.metadata.EntryPoint) -> None:
    """Add a plugin's commands; a plugin that cannot be loaded becomes a command that says why."""
    try:
        plugin.load()(commands)
    except Exception as error:  # a broken plugin must not take `quadrant stop` with it
        reason = f"{type(error).__name__}: {error}"
        broken = commands.add_parser(
            plugin.name,
            help="not available",
            description=f"This command could not be loaded ({reason}).",
            example=f"quadrant {plugin.name}",
        )
        broken.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
        broken.set_defaults(run=lambda args: _say(f"`quadrant {plugin.name}` cannot be loaded: {reason}."))


def _version() -> str:
    try:
        return importlib.metadata.version("quadrant")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


# --------------------------------------------------------------------------------------------------------------- main
def _say(sentence: str, code: int = FAILED) -> int:
    print(sentence, file=sys.stderr)
    return code


def main(argv: Sequence[str] | None = None, plugins: Sequence[importlib.metadata.EntryPoint] | None = None) -> int:
    """Run one command; returns its exit code. A user's mistake is one sentence on standard error."""
    words = list(sys.argv[1:] if argv is None else argv)
    # argparse takes "-7kW" for an option; with a space before it, it is a value (no option contains a space).
    words = [f" {word}" if _NEGATIVE_VALUE.match(word) else word for word in words]
    parser = build_parser(find_plugins() if plugins is None else plugins)
    args = parser.parse_args(words)
    try:
        return int(args.run(args))
    except NoCharger as error:
        return _say(str(error), NO_CHARGER)
    except Refused as error:
        return _say(f"Refused: {error}")
    except (ControlError, boards.BoardError) as error:
        return _say(str(error))
    except KeyboardInterrupt:
        return OK  # Ctrl-C is how --watch and --follow end
    except BrokenPipeError:
        # `quadrant events | head`: nobody reads on. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


if __name__ == "__main__":
    sys.exit(main())
