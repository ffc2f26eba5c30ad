"""`quadrant demo ...`: registered with the command line through the entry-point group `quadrant.commands`."""

from __future__ import annotations

import argparse
from typing import Any


def _speed(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.1 <= value <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r}: a speed is a number from 0.1 to 10000 (1 = real time)")
    return value


def register(subparsers: Any) -> None:
    """Add `demo` and its stories."""
    demo = subparsers.add_parser("demo", help="stories on recorded grid data", example="quadrant demo blackout")
    stories = demo.add_subparsers(dest="story", metavar="STORY", required=True)
    blackout = stories.add_parser(
        "blackout",
        help="the Iberian blackout of 28 April 2025, seen by a discharging charger",
        description="The charger discharges 10 kW into the grid that an analyser recorded near Toledo, under "
        "VDE-AR-N 4105, in simulated time with real protocol bytes. Prints the story, writes blackout.png, the "
        "disturbance records (COMTRADE) and events.jsonl into the output directory. Exit code 0 when the charger did "
        "all that the story demands, 1 when not.",
        example="quadrant demo blackout --out out/",
    )
    blackout.add_argument("--speed", type=_speed, help="times real time; as fast as it can when not given")
    blackout.add_argument("--json", action="store_true", help="one JSON document instead of the story")
    blackout.add_argument("--out", default="out", metavar="DIR", help="where the files go (default: out)")
    blackout.add_argument("--minutes", type=float, default=None, help=argparse.SUPPRESS)
    blackout.add_argument("--seed", type=int, default=1, help="seed of the devices' noise and delays (default: 1)")
    blackout.set_defaults(run=_blackout)


def _blackout(args: argparse.Namespace) -> int:
    from hil.demo.blackout import main  # heavy imports only when asked for

    return main(args)
