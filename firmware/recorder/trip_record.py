"""A disturbance record: what guard gave, what is kept of it, and how its samples are packed for the data base.

As files it is COMTRADE: firmware/recorder/record_files.py.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from firmware.recorder.schema import RecorderError

UNITS = {
    "v": "V", "a": "A", "w": "W", "hz": "Hz", "s": "s", "wh": "Wh", "pu": "pu", "ohm": "ohm", "c": "degC",
    "pct": "%", "var": "var", "us": "us",
}  # fmt: skip
TIMES = ("t_s", "t")  # names that the column of the times may have


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


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A disturbance record without its samples.

    t_mono: of the event, on the clock of the samples; t_wall: the same moment in s since the epoch. severity: of the
    event. header: what was in force (services/records.py), and which columns are `digital` or count in `codes`.
    bytes: what the samples take in the data base; 0 before they are there.
    """

    id: int
    t_wall: float
    t_mono: float
    boot: str
    code: str
    detail: str
    settings_hash: str
    columns: tuple[str, ...]
    rows: int
    severity: int
    read: bool = False
    bytes: int = 0
    header: Mapping[str, Any] = field(default_factory=dict)


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
