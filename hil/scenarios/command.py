"""`quadrant hil ...`: registered with the command line through the entry-point group `quadrant.commands`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def _jobs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r}: a number of processes from 1 to 256")
    return int(text)


def register(subparsers: Any) -> None:
    """Add `hil` and its actions."""
    hil = subparsers.add_parser("hil", help="scenarios on a bench, simulated or real", example="quadrant hil run all")
    actions = hil.add_subparsers(dest="action", metavar="ACTION", required=True)
    run = actions.add_parser(
        "run",
        help="play scenarios and judge them",
        description="Plays scenarios on a bench and judges what was recorded. Without --bench all of it is simulated.\n"
        "Exit code: 0 all PASS; 1 at least one FAIL; 2 a file or option is wrong; 4 none failed, but one is an ERROR\n"
        "of the rig; 3 none of these, but one is INCONCLUSIVE.",
        example="quadrant hil run all -j 2 --html report.html",
    )
    run.add_argument("files", nargs="+", metavar="FILE", help="scenario file, directory, name in the library, or all")
    run.add_argument("--bench", type=Path, metavar="FILE", help="bench.toml; without it everything is simulated")
    run.add_argument("-j", dest="jobs", type=_jobs, default=1, metavar="N", help="simulated benches at a time")
    run.add_argument("--tag", action="append", default=[], help="only scenarios with this tag; may be repeated")
    run.add_argument("--seed", type=int, default=1, help="seed of the simulated devices (default: 1)")
    run.add_argument("--json", type=Path, metavar="OUT", help="results as JSON")
    run.add_argument("--junit", type=Path, metavar="OUT", help="results as JUnit XML")
    run.add_argument("--html", type=Path, metavar="OUT", help="one page with a plot per scenario")
    run.add_argument("--captures", type=Path, metavar="DIR", help="every recording as JSON and CSV")
    run.set_defaults(run=_run)
    show = actions.add_parser("list", help="the scenarios of the library", example="quadrant hil list")
    show.set_defaults(run=_list)
    check = actions.add_parser("check", help="is this bench.toml good?", example="quadrant hil check bench.toml")
    check.add_argument("file", type=Path, metavar="BENCH.TOML")
    check.set_defaults(run=_check)


def _run(args: argparse.Namespace) -> int:
    from hil.scenarios.main import main_run  # heavy imports only when asked for

    return main_run(args)


def _list(args: argparse.Namespace) -> int:
    from hil.scenarios.main import main_list

    return main_list()


def _check(args: argparse.Namespace) -> int:
    from hil.scenarios.main import main_check

    return main_check(args.file)
