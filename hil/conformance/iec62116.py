"""IEC 62116: unintentional islanding at three powers and with a mismatched load, from `iec62116.toml` beside this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from firmware.grid_codes import GridCode
from hil.bench.strict import Table, TableError, read_toml
from hil.conformance.case import Case, Subject
from hil.conformance.matrix import CONFIDENCES, FOLDER, Number, number
from hil.conformance.others import Sweep, islands

FILE = FOLDER / "iec62116.toml"


@dataclass(frozen=True, slots=True)
class Condition:
    """One power (pu of rated) with its mismatches: active power of the load and its capacitance, %."""

    name: str
    power_pu: Number
    mismatch_pct: tuple[tuple[float, float], ...]
    conf: str
    src: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Procedure:
    title: str
    standards: tuple[str, ...]
    also: tuple[str, ...]
    numbers: Mapping[str, Number]
    conditions: tuple[Condition, ...]

    def covers(self, code: GridCode) -> bool:
        return code.name in self.also or code.standard.startswith(self.standards)


def parse(data: Mapping[str, Any], where: str) -> Procedure:
    """Raises TableError with a sentence."""
    root = Table(where, data)
    title, standards, also = root.text("title"), root.texts("standards"), root.texts("also", ())
    general = root.table("general").rest()
    numbers = {key: number(f"{where} [general] {key}", value) for key, value in general.items()}
    missing = {"qf", "pass_s"} - set(numbers)
    if missing:
        raise TableError(f"{where} [general]: {sorted(missing)[0]} is missing")
    found = tuple(_condition(name, table) for name, table in root.named("condition").items())
    return root.done(Procedure(title, standards, also, numbers, found))


def _condition(name: str, table: Table) -> Condition:
    pairs = table.anything("mismatch_pct")
    if not isinstance(pairs, list) or not all(isinstance(p, list) and len(p) == 2 for p in pairs):
        raise table.refuse("mismatch_pct", pairs, "a list of pairs [active power %, capacitance %]")
    return table.done(
        Condition(
            name,
            number(f"{table.where} power_pu", table.anything("power_pu")),
            tuple((float(p), float(q)) for p, q in pairs),
            table.text("conf", choices=CONFIDENCES),
            table.texts("src"),
        )
    )


def load() -> Procedure:
    return parse(read_toml(FILE), str(FILE))


def cases(subject: Subject) -> tuple[list[Case], list[str]]:
    """(cases, what cannot be tested and why)."""
    procedure = load()
    if not procedure.covers(subject.code):
        return [], ["iec62116: another procedure is this code's; see the suite islanding"]
    qf, pass_s = procedure.numbers["qf"], procedure.numbers["pass_s"]
    found = []
    for c in procedure.conditions:
        says = (
            f"{procedure.title}: run-on time {pass_s.value:g} s ({pass_s.conf}), quality factor {qf.value:g} "
            f"({qf.conf}); condition {c.name} ({c.conf}: {', '.join(c.src) or 'own choice'})"
        )
        prefix = f"iec62116/{c.name}"
        found += islands(
            subject, Sweep("iec62116", prefix, c.power_pu.value, c.mismatch_pct, qf.value, pass_s.value, says)
        )
    return found, [
        "iec62116: input voltages of the three conditions (the car's battery is what it is), the steps beyond 5 % of "
        "condition A, and a check of the standard's own tables, which nobody here has read"
    ]
