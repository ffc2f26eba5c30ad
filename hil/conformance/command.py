"""`quadrant conform`: registered with the command line through the entry-point group `quadrant.commands`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

SUITES = ("trips", "ride-through", "enter-service", "support", "phase-jump", "rocof", "islanding", "iec62116")


def _suites(text: str) -> tuple[str, ...]:
    chosen = tuple(word.strip() for word in text.split(",") if word.strip())
    unknown = [word for word in chosen if word not in SUITES]
    if unknown or not chosen:
        raise argparse.ArgumentTypeError(f"{text!r}: suites are {', '.join(SUITES)}, separated by commas")
    return chosen


def _jobs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r}: a number of processes from 1 to 256")
    return int(text)


def register(subparsers: Any) -> None:
    """Add `conform`."""
    conform = subparsers.add_parser(
        "conform",
        help="type-test procedures of a grid code, and a report",
        description="Plays the test matrix of a grid code on a bench and judges every run. Without --bench all of it\n"
        "is simulated. Writes report.html, report.json, junit.xml and every capture (COMTRADE) into --out; what is\n"
        "there already and still holds is not played again. No certificate: tested to procedures as transcribed.\n"
        "Exit code: 0 all PASS; 1 at least one FAIL; 2 an option is wrong; 4 none failed, but one is an ERROR of the\n"
        "rig; 3 none of these, but one is INCONCLUSIVE; 130 interrupted.",
        example="quadrant conform --code ieee1547_2018_cat3 --suite trips -j 2 --out out/cat3",
    )
    conform.add_argument("--code", required=True, metavar="NAME", help="grid code; quadrant codes list")
    conform.add_argument(
        "--suite", type=_suites, default=SUITES, metavar="LIST", help=f"of {', '.join(SUITES)}; all when not given"
    )
    conform.add_argument("--out", type=Path, required=True, metavar="DIR", help="report, captures and results")
    conform.add_argument("--bench", type=Path, metavar="FILE", help="bench.toml; without it everything is simulated")
    conform.add_argument("-j", dest="jobs", type=_jobs, default=1, metavar="N", help="processes (simulated benches)")
    conform.add_argument(
        "--dask", default="", metavar="ADDRESS",
        help="Dask scheduler, such as tcp://192.0.2.1:8786, whose workers play (simulated benches, extra `cluster`)",
    )  # fmt: skip
    conform.add_argument("--only", default="", metavar="TEXT", help="only cases with this in their name")
    conform.add_argument("--longest", type=float, metavar="S", help="only cases that play no longer than this")
    conform.add_argument("--seed", type=int, default=1, help="seed of the simulated devices (default: 1)")
    conform.add_argument("--wrong", default="", metavar="NAME", help="a wrong charger, to see it fail; docs/conform.md")
    conform.add_argument("--list", action="store_true", dest="show", help="say what would be played, and end")
    conform.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from hil.conformance.main import main  # heavy imports only when asked for

    return main(args)
