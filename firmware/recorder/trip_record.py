"""A disturbance record as files that any tool opens: a CSV of samples beside a JSON header that says what they are.

`trip-000042-grid_trip.csv` has one line a guard tick with the columns that guard named (unit as suffix of the name),
`trip-000042-grid_trip.json` the event, the times, the hash of the settings in force and the unit of every column.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import zlib
from pathlib import Path
from typing import Protocol

from firmware.recorder.schema import RecorderError

KEEP = 200  # records in the directory; about 60 kB each for ten seconds of 100 Hz
UNITS = {
    "v": "V", "a": "A", "w": "W", "hz": "Hz", "s": "s", "wh": "Wh", "pu": "pu", "ohm": "ohm", "c": "degC",
    "pct": "%", "var": "var", "us": "us",
}  # fmt: skip
_NAME = re.compile(r"trip-(\d{6,})-[a-z0-9_]+\.json")


class TripRecordLike(Protocol):
    """What is used of firmware.guard.messages.TripRecord (recorder and guard do not import each other)."""

    @property
    def t(self) -> float: ...
    @property
    def code(self) -> str: ...
    @property
    def detail(self) -> str: ...
    @property
    def columns(self) -> list[str]: ...
    @property
    def rows(self) -> list[list[float]]: ...


def check(record: TripRecordLike) -> None:
    """Raises RecorderError when a record's rows do not fit its columns."""
    if not record.columns or len(set(record.columns)) != len(record.columns):
        raise RecorderError(f"disturbance record {record.code}: its column names are missing or not unique")
    for number, row in enumerate(record.rows):
        if len(row) != len(record.columns):
            raise RecorderError(
                f"disturbance record {record.code}: row {number} has {len(row)} values, not {len(record.columns)}"
            )


def unit(column: str) -> str:
    """The unit of a column from the suffix of its name (`grid_l1_v` -> V; `t` is seconds); "" has none."""
    if column == "t":
        return "s"
    _, underscore, suffix = column.rpartition("_")
    return UNITS.get(suffix, "") if underscore else ""


def write(
    directory: Path,
    record: TripRecordLike,
    *,
    t_wall: float,
    boot: str = "",
    settings_hash: str = "",
    grid_code: str = "",
    keep: int = KEEP,
) -> Path:
    """Write a record and return the path of its CSV; the oldest beyond `keep` are removed, the newest never.

    t_wall: seconds since the epoch of the record's time `record.t` (monotonic). The header is written last: a CSV
    without a header was cut off. Raises RecorderError when a row does not fit, or with the reason of the disk.
    """
    check(record)
    if keep < 1:
        raise RecorderError(f"disturbance records: keep is {keep}; allowed: 1 or more")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        number = max(_numbers(directory), default=0) + 1
        name = f"trip-{number:06d}-{re.sub(r'[^a-z0-9_]', '_', record.code.lower()) or 'record'}"
        csv_path = directory / f"{name}.csv"
        with csv_path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(record.columns)
            writer.writerows([_text(value) for value in row] for row in record.rows)
            file.flush()
            os.fsync(file.fileno())
        header = {
            "format": "quadrant trip record 1",
            "code": record.code,
            "detail": record.detail,
            "t_wall": t_wall,
            "t_mono": record.t,
            "boot": boot,
            "grid_code": grid_code,
            "settings_hash": settings_hash,
            "sign": "+ charges the car, - discharges it",
            "rows": len(record.rows),
            "columns": [{"name": column, "unit": unit(column)} for column in record.columns],
            "samples": csv_path.name,
        }
        part = directory / f"{name}.json.part"
        with part.open("w", encoding="utf-8") as file:
            json.dump(header, file, indent=1, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        part.rename(directory / f"{name}.json")
        _remove_oldest(directory, keep)
    except (OSError, ValueError) as error:
        raise RecorderError(f"disturbance record in {directory} cannot be written: {error}") from None
    return csv_path


def _text(value: float) -> str:
    """Shortest text that reads back as the same number; a missing value is an empty cell."""
    return repr(value) if math.isfinite(value) else ""


def _numbers(directory: Path) -> list[int]:
    return [int(match[1]) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))]


def _remove_oldest(directory: Path, keep: int) -> None:
    headers = sorted(
        ((int(match[1]), path) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))),
    )
    for _, path in headers[:-keep]:
        path.with_suffix(".csv").unlink(missing_ok=True)  # samples first: a header never stands for a missing CSV long
        path.unlink(missing_ok=True)


def pack(columns: list[str], rows: list[list[float]]) -> tuple[int, bytes]:
    """(size before compression, data) of a table of samples for the data base: zlib of JSON, by column.

    JSON knows neither nan nor infinity: such a value is null and reads back as nan.
    """
    table = {name: [row[i] if math.isfinite(row[i]) else None for row in rows] for i, name in enumerate(columns)}
    text = json.dumps(table, separators=(",", ":"), allow_nan=False).encode()
    return len(text), zlib.compress(text, 6)


def unpack(columns: list[str], data: bytes) -> list[list[float]]:
    """The rows that `pack` was given."""
    table = json.loads(zlib.decompress(data))
    return [
        [math.nan if value is None else float(value) for value in row]
        for row in zip(*(table[name] for name in columns), strict=True)
    ]
