"""`quadrant controls`: what somebody has set over the grid code, set more of it, clear it."""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any

from firmware.arguments import add_dir, add_json
from firmware.control_client import ControlClient, ControlError

OK = 0


def read(path: Path) -> list[dict[str, Any]]:
    """The tables [[control]] of a file, with `start` (a TOML date and time) as seconds since the epoch. Raises
    ControlError with one sentence; the numbers themselves are judged by the charger."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ControlError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ControlError(f"{path}: not valid TOML: {error}") from None
    tables = raw.pop("control", None)
    if raw or not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise ControlError(f"{path}: holds tables [[control]] and nothing else; docs/controls.md shows one")
    return [_timed(path, table) for table in tables]


def _timed(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    start = table.pop("start", None)
    if start is None:
        return table
    if not isinstance(start, datetime) or "start_s" in table:
        raise ControlError(f"{path}: start must be a date and time (2026-12-24T18:00:00Z), without start_s beside it")
    return {**table, "start_s": start.timestamp()}  # without a zone: local time


def cmd_list(args: argparse.Namespace) -> int:
    with ControlClient(args.dir) as client:
        answer = client.call("controls")
    if args.json:
        print(json.dumps(answer))
    else:
        sys.stdout.write(text(answer))
    return OK


def cmd_set(args: argparse.Namespace) -> int:
    controls = read(args.file)
    with ControlClient(args.dir) as client:
        answer = client.call("controls_set", controls=controls)
    print(json.dumps(answer) if args.json else "\n".join(answer["told"]))
    return OK


def cmd_clear(args: argparse.Namespace) -> int:
    with ControlClient(args.dir) as client:
        answer = client.call("controls_clear", control=args.id)
    print(json.dumps(answer) if args.json else "\n".join(answer["told"]))
    return OK


def text(answer: dict[str, Any]) -> str:
    """For people: the controls, then what is in force and from whom."""
    lines = [] if answer["controls"] else ["No controls are set: the profile alone is in force."]
    for c in answer["controls"]:
        kind = "default" if c["is_default"] else f"scheduled {_when(c['start_s'], c['end_s'])}"
        numbers = [f"{key} {value:g}" for key, value in c["numbers"]] + [f"({x:g}, {y:g})" for x, y in c["points"]]
        lines.append(
            f"{c['id']:<12} {c['kind']:<24} {c['state']:<8} {kind}, priority {c['priority']}, by {c['by']}: "
            + " ".join(numbers)
        )
    if answer["refused"]:
        lines.append(f"NOT IN FORCE: {answer['refused']}")
    lines.append("In force:")
    sources = answer["sources"]
    for trip in answer["trips"]:
        numbers = []
        for key, value in trip.items():
            if key in ("id", "unit"):
                continue
            by = sources.get(f"trip.{trip['id']}.{key}")
            unit = trip["unit"] if key == "threshold" else "s"
            numbers.append(f"{key} {value:g} {unit}" + (f" [{by}]" if by else ""))
        lines.append(f"  {trip['id']:<10} {', '.join(numbers)}")
    for function in answer["functions"]:
        lines.append(f"  {function['name']:<20} {function['clause']}")
    lines += [f"  {key}: [{by}]" for key, by in sources.items() if not key.startswith("trip.")]
    return "\n".join(lines) + "\n"


def _when(start_s: float | None, end_s: float | None) -> str:
    def stamp(at_s: float | None) -> str:
        return "" if at_s is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))

    return f"{stamp(start_s)} .. {stamp(end_s) or 'until cleared'}"


def register(commands: Any) -> None:
    """Add `controls`."""
    controls = commands.add_parser(
        "controls",
        help="what is set over the grid code: list, set, clear",
        description="Controls over the grid code: curves, limits, tightened trips. docs/controls.md explains them.",
        example="quadrant controls list",
    )
    actions = controls.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="all controls, and what is in force",
        description="All controls with who set them and until when, and the numbers that are in force.",
        example="quadrant controls list --json",
    )
    setting = actions.add_parser(
        "set",
        help="take the controls of a file",
        description="Takes the tables [[control]] of a TOML file, all or none.",
        example="quadrant controls set evening.toml",
    )
    setting.add_argument("file", type=Path, metavar="FILE", help="TOML")
    clear = actions.add_parser(
        "clear",
        help="forget a control",
        description="Forgets a control; what stood below it is in force again.",
        example="quadrant controls clear evening-peak",
    )
    clear.add_argument("id", metavar="ID", help="`quadrant controls list` names them")
    for action in (listing, setting, clear):
        add_json(action)
        add_dir(action)
    for action, run in ((listing, cmd_list), (setting, cmd_set), (clear, cmd_clear)):
        action.set_defaults(run=run)
