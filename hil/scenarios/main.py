"""What `quadrant hil` does once it is asked."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hil.bench import config
from hil.bench.strict import TableError
from hil.scenarios import report
from hil.scenarios.campaign import EXIT_USAGE, exit_code, run_all, run_simulated
from hil.scenarios.play import Result, run
from hil.scenarios.schema import Scenario, find, library, load


def main_run(args: argparse.Namespace) -> int:
    try:
        scenarios = chosen(args.files, args.tag)
        bench = config.load(args.bench) if args.bench else config.BenchConfig()
    except TableError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    if not scenarios:
        print("No scenario has all of these tags.", file=sys.stderr)
        return EXIT_USAGE
    if not bench.simulated and args.jobs > 1:
        print("A real bench plays one scenario at a time: -j is for simulated ones.", file=sys.stderr)
        return EXIT_USAGE
    begun = time.monotonic()
    results: dict[int, Result] = {}
    for place, result in run_all(scenarios, _player(bench, args.seed), args.jobs):
        results[place] = result
        print(report.line(result), flush=True)
        if args.captures and result.capture:
            result.capture.save(args.captures / result.scenario.replace("/", "_"))
    ordered = [results[place] for place in sorted(results)]
    print(report.summary(ordered, time.monotonic() - begun))
    outputs: tuple[tuple[Path | None, Callable[[], str]], ...] = (
        (args.json, lambda: json.dumps([report.as_dict(r) for r in ordered], indent=1) + "\n"),
        (args.junit, lambda: report.junit(ordered)),
        (args.html, lambda: report.page(ordered, f"Scenarios on bench {bench.name}")),
    )
    try:
        for path, text in outputs:
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text(), encoding="utf-8")
    except OSError as error:
        print(f"The report could not be written: {error}", file=sys.stderr)
        return EXIT_USAGE
    return exit_code(ordered)


def _player(bench: config.BenchConfig, seed: int) -> partial[Result]:
    if bench.simulated:
        return partial(run_simulated, seed=seed)
    from hil.bench.real import open_bench

    return partial(run, open_bench=lambda scenario: open_bench(bench))


def chosen(words: list[str], tags: list[str]) -> list[Scenario]:
    """The scenarios of all words that have all tags, each once. Raises TableError."""
    paths = dict.fromkeys(path for word in words for path in find(word))
    found = [scenario for path in paths for scenario in load(path)]
    return [scenario for scenario in found if set(tags) <= set(scenario.tags)]


def main_list() -> int:
    for path in library():
        for scenario in load(path):
            print(f"{scenario.name:<44}{scenario.title}")
    return 0


def main_check(path: Path) -> int:
    try:
        bench = config.load(path)
    except TableError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    roles = ", ".join(f"{name}: {role.driver}" for name, role in bench.roles.items())
    print(f"{path}: good ({bench.name}; {roles})")
    return 0
