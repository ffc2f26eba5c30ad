"""Disturbance records as files: COMTRADE 2013, and CSV for whoever has nothing that reads it.

`trip-000042-grid_trip.cfg`, `.dat` and `.hdr` are the three files of old, `.cff` is all of it in one. The header is
JSON: the event, the profile's hash, and every setting that was in force. States are status channels, one a state, so
that a viewer shows them as bars.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from firmware.recorder import comtrade
from firmware.recorder.comtrade import Analog, Record, Status
from firmware.recorder.schema import RecorderError
from firmware.recorder.trip_record import TIMES, StoredRecord, unit

SUFFIXES = (".dat", ".hdr", ".cff", ".cfg")  # in the order of writing: without a .cfg the others were cut off
FORMAT = "quadrant disturbance record 2"
_NAME = re.compile(r"trip-(\d{6,})-[a-z0-9_]+\.(?:dat|hdr|cff|cfg)(?:\.part)?")
_PHASES = {"l1": "A", "l2": "B", "l3": "C"}
_NORMAL = {"mirrors_known", "converter_online", "pilot_online", "lease", "may_connect", "may_transfer"}


def name_of(stored: StoredRecord) -> str:
    """Of its files, without a suffix."""
    return f"trip-{stored.id:06d}-{re.sub(r'[^a-z0-9_]', '_', stored.code.lower()) or 'record'}"


def _rising(stored: StoredRecord, rows: Sequence[Sequence[float]]) -> tuple[list[float], list[Sequence[float]]]:
    """The times from the first row on (s) and their rows; a row that is not later than its predecessor is left out:
    one of those must not cost the record."""
    column = next((stored.columns.index(name) for name in TIMES if name in stored.columns), None)
    if column is None:
        raise RecorderError(f"disturbance record {stored.id} has no column of times")
    times: list[float] = []
    kept: list[Sequence[float]] = []
    for row in rows:
        if math.isfinite(row[column]) and (not kept or round((row[column] - kept[0][column] - times[-1]) * 1e6) > 0):
            times.append(row[column] - kept[0][column] if kept else 0.0)
            kept.append(row)
    if not kept:
        raise RecorderError(f"disturbance record {stored.id} has no samples")
    return times, kept


def comtrade_of(stored: StoredRecord, rows: Sequence[Sequence[float]]) -> Record:
    """The record in COMTRADE's terms. Columns without a single number are left out. Raises RecorderError."""
    times, rows = _rising(stored, rows)
    header = stored.header
    digital, codes = set(header.get("digital", ())), header.get("codes", {})
    analog: list[Analog] = []
    status: list[Status] = []
    for number, name in enumerate(stored.columns):
        values = [row[number] for row in rows]
        if name in TIMES:
            first = values[0]
        elif name in digital:
            status.append(Status(name, [value == 1.0 for value in values], name in _NORMAL))
        elif name in codes:
            status += [Status(f"{name}: {word}", [v == code for v in values]) for code, word in enumerate(codes[name])]
        elif any(map(math.isfinite, values)):
            phase = next((_PHASES[part] for part in name.split("_") if part in _PHASES), "")
            analog.append(Analog(name, unit(name), values, phase))
    before_s = stored.t_mono - first
    epoch = dt.datetime(1970, 1, 1)  # noqa: DTZ001 (UTC; the file format has no zone)
    return Record(
        station=_plain(str(header.get("board", "charger"))),
        device="quadrant",
        nominal_hz=float(header.get("nominal_hz", 50.0)),
        t_s=times,
        analog=analog,
        status=status,
        begin=epoch + dt.timedelta(seconds=stored.t_wall - before_s),
        trigger_s=before_s,
    )


def _plain(text: str) -> str:
    return re.sub(r"[^ -~]|,", "_", text)[:64] or "charger"


def header_of(stored: StoredRecord) -> str:
    """The .hdr: JSON, ASCII."""
    utc = dt.datetime.fromtimestamp(stored.t_wall, dt.UTC).isoformat(timespec="microseconds")
    document = {
        "format": FORMAT,
        "number": stored.id,
        "event": {
            "code": stored.code, "detail": stored.detail, "severity": stored.severity, "utc": utc,
            "t_wall": stored.t_wall, "t_mono": stored.t_mono,
        },
        "boot": stored.boot,
        "settings_hash": stored.settings_hash,
        "rows": stored.rows,
        "columns": [{"name": name, "unit": unit(name)} for name in stored.columns],
        **stored.header,
    }  # fmt: skip
    return json.dumps(document, indent=1) + "\n"


def as_csv(stored: StoredRecord, rows: Iterable[Sequence[float]]) -> str:
    """One line a tick; an empty cell is a value that was not available. The numbers read back exactly."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(stored.columns)
    writer.writerows([repr(value) if math.isfinite(value) else "" for value in row] for row in rows)
    return text.getvalue()


def files_of(stored: StoredRecord, rows: Sequence[Sequence[float]]) -> dict[str, bytes]:
    """Suffix -> content, in the order of SUFFIXES. Raises RecorderError."""
    record, header = comtrade_of(stored, rows), header_of(stored)
    cfg, dat = comtrade.cfg(record), comtrade.dat(record)
    contents = (dat, header.encode("ascii"), comtrade.cff(cfg, header, dat), cfg.encode("ascii"))
    return dict(zip(SUFFIXES, contents, strict=True))


def write(
    directory: Path, stored: StoredRecord, rows: Sequence[Sequence[float]], suffixes: Iterable[str] = SUFFIXES
) -> list[Path]:
    """Write the files and return their paths. Each appears whole or not at all. Raises RecorderError."""
    contents = files_of(stored, rows)
    written = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for suffix in suffixes:
            path = directory / f"{name_of(stored)}{suffix}"
            part = path.with_name(f"{path.name}.part")
            with part.open("wb") as file:
                file.write(contents[suffix])
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
            written.append(path)
    except OSError as error:
        raise RecorderError(f"disturbance record in {directory} cannot be written: {error.strerror}") from None
    return written


def numbers(directory: Path) -> list[int]:
    """Of the records whose files are there."""
    try:
        return sorted({int(match[1]) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))})
    except FileNotFoundError:
        return []


def remove(directory: Path, gone: Iterable[int]) -> None:
    """Remove the files of these records and no other file. Raises OSError."""
    which = set(gone)
    for path in directory.iterdir() if which and directory.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match and int(match[1]) in which:
            path.unlink(missing_ok=True)
