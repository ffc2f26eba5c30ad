"""`make bench`: measures, prints each figure beside a yardstick of the same run, and says what was skipped and why.

`python -m tests.bench.run [ROW ...] [--seconds 20] [--json]`. Without rows all of them, in the order below.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from tests.bench import (
    charger,
    codec,
    compiled,
    conform,
    exi,
    lockstep,
    measurement,
    ocpp,
    opender,
    screen,
    secc,
    wakeup,
)
from tests.bench.harness import Row, as_json, as_text

# name -> function of the seconds that a timed measurement may take. A new row: a function beside these that returns
# `Row`s (harness.latency for samples, harness.compare against a yardstick), and one line here.
ROWS: dict[str, Callable[[float], list[Row]]] = {
    "codec": lambda seconds: codec.rows(),
    "tick": charger.tick_rows,
    "wakeup": wakeup.rows,
    "detection": charger.detection_rows,
    "measurement": measurement.rows,
    "lockstep": lambda seconds: lockstep.rows(seconds) + compiled.rows("lockstep", seconds),
    "conform": lambda seconds: conform.rows(),
    "opender": lambda seconds: compiled.deciding(opender.rows(seconds), compiled.rows("opender", seconds)),
    "exi": lambda seconds: exi.rows(),
    "secc": secc.rows,
    "screen": screen.rows,
    "ocpp": ocpp.rows,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"any of: {', '.join(ROWS)}; none = all")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each timed measurement (default 20)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.rows if name not in ROWS]
    if unknown:
        parser.error(f"no row {unknown[0]!r}; there are: {', '.join(ROWS)}")
    if not 1.0 <= options.seconds <= 3600.0:
        parser.error(f"--seconds is {options.seconds:g}; allowed: 1 to 3600")
    result: list[Row] = []
    for name in options.rows or ROWS:
        if not options.json:
            print(f"measuring: {name} ...", file=sys.stderr, flush=True)
        result += ROWS[name](options.seconds)
    print(as_json(result) if options.json else as_text(result))
    missed = [row.missed for row in result if row.missed]
    for sentence in missed:
        print(f"NOT MET: {sentence}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
