"""`quadrant`: the command line. Parses, asks, prints; decides nothing. See docs/cli.md.

Commands that are not firmware (the demo) come through the entry-point group `quadrant.commands`: a callable
`register(subparsers)` that adds parsers with `set_defaults(run=callable(args) -> exit code)`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import boards
from firmware import codes_command, controls_command, records_command
from firmware.arguments import Handler, Parser, build_parser, guard_negative_values
from firmware.control_client import ControlClient, ControlError, NoCharger, Refused
from firmware.grid_codes import GridCodeError
from firmware.quantities import show_duration, show_power

OK = 0
FAILED = 1  # refused by the charger, or something does not work
USAGE = 2  # the command line is wrong (argparse's own code)
NO_CHARGER = 3
FAULTED = 4  # the charger runs and is in a fault

PLUGIN_GROUP = "quadrant.commands"


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
    from firmware.lines import closest_text, limiter

    for problem in answer.get("problems", []):
        print(problem)
    print(snapshot["why"])
    rows = [
        ("board", answer.get("board") or ""),
        ("state", snapshot["state"]),
        ("grid", f"{snapshot['grid_state']}: {snapshot['grid_reason']}"),
        ("closest", closest_text(snapshot)),
        ("asked", f"{show_power(snapshot['asked_w'])} by {snapshot['asked_by'] or 'nobody'}"),
        ("permitted", show_power(snapshot["permitted_w"])),
        ("measured", show_power(snapshot["measured_w"])),
        ("limited by", limiter(snapshot) or "nothing"),
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


def cmd_metrics(args: argparse.Namespace) -> int:
    from firmware.metrics import render

    with ControlClient(args.dir) as client:
        answer = client.call("status")
    sys.stdout.write(render(answer))
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


def cmd_systemd(args: argparse.Namespace) -> int:
    from pathlib import Path

    from firmware.systemd_units import units

    beside = Path(sys.executable).with_name("quadrant")
    try:
        files = units(boards.load(args.board), str(beside), args.user)
        for path, text in files.items():
            if args.out is None:
                print(f"# {path}\n{text}")
                continue
            target = args.out / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            print(target)
    except ValueError as error:
        return _say(f"{error}.")
    except OSError as error:
        return _say(f"{error.filename} cannot be written: {error.strerror}.")
    return OK


def cmd_doctor(args: argparse.Namespace) -> int:
    from firmware import doctor

    lines = doctor.examine(boards.load(args.board, args.dir), args.dir)
    if args.json:
        print(json.dumps(doctor.as_dicts(lines)))
    else:
        doctor.show(lines, sys.stdout)
    return FAILED if any(line.verdict is doctor.Verdict.FAIL for line in lines) else OK


def cmd_replay(args: argparse.Namespace) -> int:
    from firmware import replay_command  # only this command needs them
    from firmware.recording import RecordingError

    try:
        return replay_command.run(args)
    except RecordingError as error:
        return _say(str(error))


HANDLERS: dict[str, Handler] = {
    "run": cmd_run,
    "status": cmd_status,
    "power": cmd_power,
    "stop": cmd_stop,
    "start": cmd_start,
    "events": cmd_events,
    "metrics": cmd_metrics,
    "board list": cmd_board_list,
    "board show": cmd_board_show,
    "board check": cmd_board_check,
    "doctor": cmd_doctor,
    "systemd": cmd_systemd,
    "replay": cmd_replay,
}
GROUPS = {
    "codes": codes_command.register,
    "controls": controls_command.register,
    "records": records_command.register,
}
BUILT_IN = (*dict.fromkeys(name.split()[0] for name in HANDLERS), *GROUPS)


def built_in() -> tuple[Parser, Any]:
    """The parser of all commands that are no plugin, and the object that takes further ones."""
    return build_parser(HANDLERS, GROUPS.values())


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


# --------------------------------------------------------------------------------------------------------------- main
def _say(sentence: str, code: int = FAILED) -> int:
    print(sentence, file=sys.stderr)
    return code


def main(argv: Sequence[str] | None = None, plugins: Sequence[importlib.metadata.EntryPoint] | None = None) -> int:
    """Run one command; returns its exit code. A user's mistake is one sentence on standard error."""
    words = guard_negative_values(list(sys.argv[1:] if argv is None else argv))
    if plugins is None:
        # Loading them costs time and may fail: not on the way of `quadrant stop`.
        plugins = [] if words and words[0] in BUILT_IN else find_plugins()
    if words and not words[0].startswith("-") and words[0] not in BUILT_IN:
        names = [plugin.name for plugin in plugins]
        if words[0] not in names:
            known = ", ".join((*BUILT_IN, *names))
            return _say(f"There is no command {words[0]!r}; commands: {known}. Others come with packages.", USAGE)
    parser, commands = built_in()
    for plugin in plugins:
        _add_plugin(commands, plugin)
    args = parser.parse_args(words)
    try:
        return int(args.run(args))
    except NoCharger as error:
        return _say(str(error), NO_CHARGER)
    except Refused as error:
        return _say(f"Refused: {error}")
    except (ControlError, boards.BoardError, GridCodeError) as error:
        return _say(str(error))
    except KeyboardInterrupt:
        return OK  # Ctrl-C is how --watch and --follow end
    except BrokenPipeError:
        # `quadrant events | head`: nobody reads on. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


if __name__ == "__main__":
    sys.exit(main())
