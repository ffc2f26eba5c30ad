"""The matrices of the test procedures: numbers with source and confidence, read strictly from TOML beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from firmware.grid_codes import GridCode
from hil.bench.strict import Table, TableError, read_toml

CONFIDENCES = ("high", "medium", "low", "own")
SECTIONS = ("general", "trips", "ride_through", "enter_service", "phase_jump", "rocof", "islanding", "support")
FOLDER = Path(str(files("hil") / "conformance"))
PROCEDURES = ("en50549_10", "ieee1547_1")  # iec62116.toml has a shape of its own (iec62116.py)
# What a section may hold beside numbers.
_LISTS = {
    "enter_service": ("rows",),
    "phase_jump": ("rows",),
    "islanding": ("powers_pu", "mismatch_pct", "reactive", "reactive_pct"),
}


@dataclass(frozen=True, slots=True)
class Number:
    """value in unit; conf: one of CONFIDENCES ("own": our own choice, see note)."""

    value: float
    unit: str
    conf: str
    src: tuple[str, ...] = ()
    clause: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Course:
    """Disturbances one after another: rows by letter (at least s, lowest pu, highest pu), and orders of letters."""

    name: str
    title: str
    side: str
    rows: Mapping[str, tuple[float, float, float]]
    order: tuple[str, ...]
    conf: str
    src: tuple[str, ...]


FUNCTIONS = ("volt_var", "volt_watt", "watt_var", "fixed_pf", "fixed_var", "freq_droop")


@dataclass(frozen=True, slots=True)
class Characteristic:
    """One setting of a support function and where its input is stepped to. points, Q and P as the codes write them (+Q
    injects, +P feeds in), None: the code's own. only: ending of the titles of the codes it is for; "" = of all."""

    name: str
    function: str
    at: tuple[float, ...]
    power_pu: Number
    points: tuple[tuple[float, float], ...] | None
    q_of_rated: bool
    response_s: float | None  # open-loop response time; None: the code's own
    numbers: Mapping[str, float]
    only: str
    conf: str
    src: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    name: str
    title: str
    standards: tuple[str, ...]
    also: tuple[str, ...]
    numbers: Mapping[str, Number]  # "section.key"
    lists: Mapping[str, tuple[Any, ...]]  # "section.key"
    origin: Mapping[str, str]  # section of a list -> "conf: sources"
    sequences: tuple[Course, ...]
    characteristics: tuple[Characteristic, ...] = ()

    def __call__(self, key: str) -> float:
        """The value of "section.key". Raises TableError when this matrix has no such number."""
        if key not in self.numbers:
            raise TableError(f"{self.name}: there is no number {key}")
        return self.numbers[key].value

    def because(self, *keys: str) -> str:
        """Where the numbers come from, for a verdict's `because`."""
        parts = []
        for key in keys:
            n = self.numbers[key]
            who = ", ".join(n.src) or "own choice"
            parts.append(f"{key} {n.value:g} {n.unit}".strip() + f" ({n.conf}: {who})")
        return f"{self.name}: " + "; ".join(parts)

    def covers(self, code: GridCode) -> bool:
        return code.name in self.also or code.standard.startswith(self.standards)


def number(where: str, data: Any) -> Number:
    table = Table(where, data)
    return table.done(
        Number(
            value=table.number("v", -1e9, 1e9),
            unit=str(table.anything("u", "")),
            conf=table.text("conf", choices=CONFIDENCES),
            src=tuple(table.anything("src", [])),
            clause=table.text("clause", ""),
            note=table.text("note", ""),
        )
    )


def _sequence(name: str, table: Table) -> Course:
    rows = {}
    for letter, row in table.anything("rows").items():
        if len(letter) != 1 or len(row) != 3 or not row[0] > 0.0 or not 0.0 <= row[1] < row[2]:
            raise TableError(f"{table.where}: row {letter} = {row} must be [s, lowest pu, highest pu]")
        rows[letter] = (float(row[0]), float(row[1]), float(row[2]))
    order = table.texts("order")
    unknown = {letter for text in order for letter in text} - set(rows)
    if unknown:
        raise TableError(f"{table.where}: order names {sorted(unknown)[0]!r}, which is no row")
    return table.done(
        Course(
            name, table.text("title"), table.text("side", choices=("low", "high")), rows, order,
            table.text("conf", choices=CONFIDENCES), table.texts("src"),
        )
    )  # fmt: skip


def _floats(where: str, values: Any) -> tuple[float, ...]:
    if not isinstance(values, list) or not values or not all(type(x) in (int, float) for x in values):
        raise TableError(f"{where} must be a list of numbers, not {values!r}")
    return tuple(float(x) for x in values)


def _characteristic(name: str, table: Table) -> Characteristic:
    pairs, numbers = table.anything("points", None), table.table("numbers", optional=True).rest()
    points = None
    if pairs is not None:
        points = tuple((x, y) for x, y in (_floats(f"{table.where} points", pair) for pair in pairs))
    table.anything("note", "")
    return table.done(
        Characteristic(
            name=name,
            function=table.text("function", choices=FUNCTIONS),
            at=_floats(f"{table.where} at", table.anything("at")),
            power_pu=number(f"{table.where} power_pu", table.anything("power_pu")),
            points=points,
            q_of_rated=table.flag("q_of_rated", False),
            response_s=table.number("response_s", 0.0, 1000.0, None, unit="s"),
            numbers={key: float(x) for key, x in numbers.items()},
            only=table.text("only", ""),
            conf=table.text("conf", choices=CONFIDENCES),
            src=table.texts("src"),
        )
    )


def parse(name: str, data: Mapping[str, Any], where: str) -> Matrix:
    """Raises TableError with a sentence."""
    root = Table(where, data)
    title, standards, also = root.text("title"), root.texts("standards"), root.texts("also", ())
    numbers: dict[str, Number] = {}
    lists: dict[str, tuple[Any, ...]] = {}
    origin: dict[str, str] = {}
    for section in SECTIONS:
        table = root.table(section, optional=True)
        for key in _LISTS.get(section, ()):
            if (value := table.anything(key, None)) is not None:
                lists[f"{section}.{key}"] = tuple(tuple(x) if isinstance(x, list) else x for x in value)
        prefix = "rows_" if "rows_conf" in table else ""
        if f"{prefix}conf" in table:
            conf = table.text(f"{prefix}conf", choices=CONFIDENCES)
            origin[section] = f"{conf}: {', '.join(table.texts(f'{prefix}src', ()))}"
        elif f"{section}.rows" in lists:
            raise TableError(f"{table.where}: the rows need rows_conf and rows_src")
        for key, value in table.rest().items():
            numbers[f"{section}.{key}"] = number(f"{table.where} {key}", value)
    sequences = tuple(_sequence(key, table) for key, table in root.named("sequences").items())
    shapes = tuple(_characteristic(key, table) for key, table in root.named("characteristics").items())
    return root.done(Matrix(name, title, standards, also, numbers, lists, origin, sequences, shapes))


def load(path: Path) -> Matrix:
    return parse(path.stem, read_toml(path), str(path))


def matrices() -> list[Matrix]:
    """All of them, by name."""
    return [load(FOLDER / f"{name}.toml") for name in PROCEDURES]


def matrix_of(code: GridCode) -> Matrix:
    """The procedures that a code is tested to. Raises TableError when there are none."""
    for matrix in matrices():
        if matrix.covers(code):
            return matrix
    raise TableError(f"{code.name} ({code.standard}): there are no test procedures for this standard")
