"""`quadrant records`: the disturbance records of a charger, whether it runs or not."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from firmware.arguments import add_dir, add_json
from firmware.control_client import ControlClient, ControlError
from firmware.guard.events import EVENTS
from firmware.recorder import record_files
from firmware.recorder.reader import FILE, TRIP, Reader, mark_record_read
from firmware.recorder.schema import RecorderError
from firmware.recorder.trip_record import StoredRecord

OK = 0
MOST = 10_000  # more than retention keeps, but for unread trips
PLOTS = (".png", ".svg")
FORMATS = {"cff": (".cff",), "comtrade": (".dat", ".hdr", ".cfg"), "csv": ()}


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """What the records say is wrong, as the command line shows it."""
    try:
        yield
    except RecorderError as error:
        raise ControlError(f"{error}.") from None
    except OSError as error:
        raise ControlError(f"{error.filename or 'the file'} cannot be written: {error.strerror}.") from None


def _shown(stored: StoredRecord) -> dict[str, Any]:
    return {
        "id": stored.id, "wall_s": stored.t_wall, "code": stored.code, "detail": stored.detail,
        "severity": stored.severity, "read": stored.read, "rows": stored.rows, "bytes": stored.bytes,
        "settings_hash": stored.settings_hash, "files": record_files.name_of(stored),
    }  # fmt: skip


def _find(reader: Reader, args: argparse.Namespace) -> StoredRecord:
    """The record that was named, or the newest."""
    if args.id is not None:
        return reader.find_record(args.id)
    newest = reader.records(1)
    if not newest:
        raise RecorderError(f"there is no disturbance record in {reader.path}")
    return newest[-1]


def _read(args: argparse.Namespace) -> tuple[StoredRecord, list[list[float]]]:
    with contextlib.closing(Reader(args.dir / FILE)) as reader:
        stored = _find(reader, args)
        return stored, reader.record_rows(stored.id)


def _seen(args: argparse.Namespace, stored: StoredRecord) -> None:
    if not stored.read and not args.keep_unread:
        mark_record_read(args.dir / FILE, stored.id)


def cmd_list(args: argparse.Namespace) -> int:
    with _sentences(), contextlib.closing(Reader(args.dir / FILE)) as reader:
        found = reader.records(MOST)
    if args.json:
        print(json.dumps([_shown(stored) for stored in found]))
        return OK
    for stored in found:
        unread = "unread" if stored.severity >= TRIP and not stored.read else ""
        print(f"{stored.id:>6}  {_when(stored.t_wall)}  {stored.code:<24} {unread:<7} {stored.detail}".rstrip())
    if not found:
        print("There is no disturbance record.")
    return OK


def _when(t_wall: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(t_wall)) + f".{int(t_wall % 1 * 1000):03d}"


def cmd_show(args: argparse.Namespace) -> int:
    with _sentences():
        stored, rows = _read(args)
        record_files.comtrade_of(stored, rows)  # a record that is none is said before it counts as read
        summary = summary_of(stored, rows)
        header = json.loads(record_files.header_of(stored))
        _seen(args, stored)
    if args.json:
        print(json.dumps({**_shown(stored), "header": header, "channels": summary}))
        return OK
    event = EVENTS.get(stored.code)
    sentence = event.sentence if event else stored.code
    print(f"Record {stored.id}, {_when(stored.t_wall)}: {sentence} {stored.detail}".rstrip())
    print(f"  grid code     {header.get('grid_code', 'unknown')}, settings sha256 {stored.settings_hash or 'unknown'}")
    controls = header.get("controls", {}).get("sources", {})
    print(f"  controls      {', '.join(f'{key} by {who}' for key, who in controls.items()) or 'none'}")
    print(f"  samples       {stored.rows}")
    print(f"  {'':<24}{'before':>12}{'at event':>12}{'at the end':>12}{'lowest':>12}{'highest':>12}")
    for name, values in summary.items():
        cells = "".join(f"{_cell(values[key])[:11]:>12}" for key in ("before", "event", "end", "min", "max"))
        print(f"  {name:<24}{cells}")
    return OK


def _cell(value: float | str | None) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:.6g}"


def summary_of(stored: StoredRecord, rows: Sequence[Sequence[float]]) -> dict[str, dict[str, float | str | None]]:
    """Each channel at its first sample, at the event and at the last sample, and its extremes; None = not known.
    States are in words, without extremes. Times are left out."""
    codes = stored.header.get("codes", {})
    at = min(range(len(rows)), key=lambda k: abs(rows[k][0] - stored.t_mono))
    found: dict[str, dict[str, float | str | None]] = {}
    for number, name in enumerate(stored.columns[1:], 1):
        values = [row[number] for row in rows]
        known = [value for value in values if math.isfinite(value)]
        if not known:
            continue
        words = codes.get(name)

        def told(value: float, words: list[str] | None = words) -> float | str | None:
            if not math.isfinite(value):
                return None
            return words[int(value)] if words and 0 <= value < len(words) else value

        found[name] = {
            "before": told(values[0]), "event": told(values[at]), "end": told(values[-1]),
            "min": None if words else min(known), "max": None if words else max(known),
        }  # fmt: skip
    return found


def cmd_plot(args: argparse.Namespace) -> int:
    """A picture of a record."""
    if args.out is not None and args.out.suffix.lower() not in PLOTS:
        raise ControlError(f"--out {args.out}: the name must end in .png or .svg.")
    if importlib.util.find_spec("matplotlib") is None:
        raise ControlError("a plot needs matplotlib, which is not installed: pip install 'quadrant[plot]'.")
    from firmware.records_plot import draw

    with _sentences():
        stored, rows = _read(args)
        out = args.out or Path(f"{record_files.name_of(stored)}.png")
        draw(record_files.comtrade_of(stored, rows), f"{stored.code} {stored.detail}".strip(), out)
        _seen(args, stored)
    print(json.dumps({"files": [str(out)]}) if args.json else out)
    return OK


def cmd_export(args: argparse.Namespace) -> int:
    with _sentences():
        stored, rows = _read(args)
        if args.format == "csv":
            args.out.mkdir(parents=True, exist_ok=True)
            path = args.out / f"{record_files.name_of(stored)}.csv"
            path.write_text(record_files.as_csv(stored, rows), encoding="ascii", newline="")
            written = [path]
        else:
            written = record_files.write(args.out, stored, rows, FORMATS[args.format])
        _seen(args, stored)
    if args.json:
        print(json.dumps({"files": [str(path) for path in written]}))
    else:
        print("\n".join(map(str, written)))
    return OK


def cmd_trigger(args: argparse.Namespace) -> int:
    with ControlClient(args.dir) as client:
        answer = client.call("record")
    if args.json:
        print(json.dumps(answer))
    else:
        print("A record of the last seconds is made; `quadrant records list` shows it in about 3 seconds.")
    return OK


def register(commands: Any) -> None:
    """Add `records`."""
    records = commands.add_parser(
        "records",
        help="disturbance records: list, show, plot, export, trigger",
        description="What the charger read, decided and commanded around a trip. docs/records.md explains the channels."
        "\nA trip's record is kept until somebody has looked at it with show, plot or export.",
        example="quadrant records show",
    )
    actions = records.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list", help="all records", description="All records, oldest first.", example="quadrant records list"
    )
    show = actions.add_parser(
        "show",
        help="one record in numbers",
        description="The event, what was in force, and each channel before, at and after the event.",
        example="quadrant records show 12",
    )
    plot = actions.add_parser(
        "plot",
        help="one record as a picture",
        description="A record as PNG or SVG (needs matplotlib: quadrant[plot]).",
        example="quadrant records plot 12 --out trip.svg",
    )
    export = actions.add_parser(
        "export",
        help="one record as COMTRADE or CSV",
        description="Writes a record as COMTRADE 2013: one file (cff) or three (comtrade), or as CSV.",
        example="quadrant records export 12 --format comtrade --out records/",
    )
    trigger = actions.add_parser(
        "trigger",
        help="make a record now",
        description="Asks the running charger for a record of the last seconds.",
        example="quadrant records trigger",
    )
    for action in (show, plot, export):
        action.add_argument("id", nargs="?", type=int, metavar="ID", help="which (default: the newest)")
        action.add_argument("--keep-unread", action="store_true", help="the record does not count as read by this")
    plot.add_argument("--out", type=Path, metavar="FILE", help=".png or .svg (default: named after the record)")
    export.add_argument(
        "--format", choices=("cff", "comtrade", "csv"), default="cff", help="cff (default), comtrade or csv"
    )
    export.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="into this directory (default: here)")
    for action in (listing, show, plot, export, trigger):
        add_json(action)
        add_dir(action)
    runs = {listing: cmd_list, show: cmd_show, plot: cmd_plot, export: cmd_export, trigger: cmd_trigger}
    for action, run in runs.items():
        action.set_defaults(run=run)
