"""IEC 62116: unintentional islanding at three powers and with a mismatched load, from `iec62116.toml` beside this."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from firmware.grid_codes import GridCode
from hil.bench.strict import Table, TableError, read_toml
from hil.conformance.case import Case, Subject
from hil.conformance.engine import Done, Job, job_like
from hil.conformance.matrix import CONFIDENCES, FOLDER, Number, number
from hil.conformance.others import Sweep, islands, run_on_s

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
    missing = {"qf", "pass_s", "extra_pct"} - set(numbers)
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
        "iec62116: input voltages of the three conditions (the car's battery is what it is), and a check of the "
        "standard's own tables, which nobody here has read"
    ]


def further(jobs: Sequence[Job], results: Mapping[str, Done]) -> list[Job]:
    """Condition A: when an island with a mismatch lasted longer than the balanced one, the points of `extra_pct` around
    them are played as well. [] when they are already among the jobs."""
    near = {point: job for job in jobs if (point := _point(job.case.id)) is not None}
    far = load().numbers["extra_pct"].value
    balanced = near.get((0.0, 0.0))
    if balanced is None or any(far in (abs(p), abs(c)) for p, c in near):
        return []
    limit_s = run_on_s(results[balanced.key])
    if all(run_on_s(results[job.key]) <= limit_s for job in near.values()):
        return []
    steps = sorted({*(p for p, _ in near), -far, far})
    return [moved(balanced, p, c) for p in steps for c in steps if far in (abs(p), abs(c))]


_A = re.compile(r"iec62116/A/P ([+-][0-9.]+) %, C ([+-][0-9.]+) %/1")


def _point(name: str) -> tuple[float, float] | None:
    """(active power, capacitance) of a case of condition A, %."""
    found = _A.fullmatch(name)
    return None if found is None else (float(found.group(1)), float(found.group(2)))


def moved(job: Job, dp: float, dq: float) -> Job:
    """The same island with another mismatch."""
    scenario = job.case.scenario
    first, *rest = scenario.steps
    island = {**dict(first.island), "dp": dp / 100.0, "dc": dq / 100.0}
    name = f"iec62116/A/P {dp:+g} %, C {dq:+g} %/1"
    title = scenario.title.replace("+0 % power, +0 % capacitance", f"{dp:+g} % power, {dq:+g} % capacitance")
    steps = (replace(first, island=tuple(island.items())), *rest)
    return job_like(job, replace(job.case, id=name, scenario=replace(scenario, name=name, title=title, steps=steps)))
