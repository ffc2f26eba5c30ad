"""Scenario files: strict loading of the TOML that docs/scenarios.md describes.

A file is one scenario, or several cases of one: `[case.NAME]` gives values for the names written as "$name" elsewhere
in the file (a whole value) or as "{name}" inside of a text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from hil.bench.profile import SHAPES
from hil.bench.strict import Table, TableError, read_toml
from hil.scenarios import kept
from hil.scenarios.follow import Follow
from hil.scenarios.verdict import KINDS, START, Band, Instant, Must

# Channels that the rig moves, not the charger: only they may tell when something began (design rule 10).
REFERENCES = (
    "grid_va_pu", "grid_vb_pu", "grid_vc_pu", "grid_vmin_pu", "grid_vmax_pu", "grid_f_hz", "grid_turned_deg",
    "grid_apart_deg", "grid_thd_pu", "island", "plugged", "k_ev", "faults", "asked_w",
)  # fmt: skip
STARTS = ("cold", "idle", "holding", "transfer")


@dataclass(frozen=True, slots=True)
class UnitUnderTest:
    board: str
    code: str
    adjust: Mapping[str, float]
    nominal_v: float
    nominal_hz: float
    services: bool = False  # the real services in lockstep
    neighbour_w: float | None = None  # of a second charger at the same point of connection


@dataclass(frozen=True, slots=True)
class Start:
    at: str  # one of STARTS
    power_w: float = 0.0
    soc: float = 0.6


@dataclass(frozen=True, slots=True)
class GridSegment:
    """As hil.bench.profile.Segment, with the voltage as a share of nominal; it and a jump only on the phases named."""

    dt_s: float
    shape: str
    v_pu: float | None = None
    phases: str = "abc"
    f_hz: float | None = None
    jump_deg: float = 0.0
    harmonics: tuple[tuple[int, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """An excerpt of a recording (hil/data) as a course: ramps between its rows."""

    file: str
    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done: at a time of the story, or when the charger is in a state."""

    at_s: float | None = None
    when: str = ""
    within_s: float = 60.0
    grid: tuple[GridSegment, ...] = ()
    recording: Recording | None = None
    fault: tuple[tuple[str, Any], ...] = ()
    mend: bool = False
    car: tuple[tuple[str, Any], ...] = ()
    plug: bool | None = None
    ask_w: float | None = None
    lease: bool | None = None
    operator: str = ""
    controls: tuple[Mapping[str, Any], ...] | None = None  # of grid support, as docs/controls.md has them
    island: tuple[tuple[str, float], ...] = ()
    switch: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str  # file stem, with [case] behind it
    title: str
    story: str
    tags: tuple[str, ...]
    duration_s: float
    record_hz: float
    unit: UnitUnderTest
    start: Start
    steps: tuple[Step, ...]
    instants: tuple[Instant, ...]
    musts: tuple[Must, ...]
    health: bool = True  # the charger must be healthy when all is mended
    path: str = ""


def load(path: Path) -> list[Scenario]:
    """The scenarios of a file. Raises TableError with a sentence."""
    return parse(read_toml(path), path.stem, str(path))


def parse(data: Mapping[str, Any], stem: str, path: str) -> list[Scenario]:
    cases = data.get("case")
    if cases is None:
        return [_scenario(dict(data), stem, path)]
    if not isinstance(cases, Mapping) or not all(isinstance(case, Mapping) and case for case in cases.values()):
        raise TableError(f"{path}: cases are tables with at least one value each ([case.NAME])")
    body = {key: value for key, value in data.items() if key != "case"}
    names = {frozenset(case) for case in cases.values()}
    if len(names) != 1:
        raise TableError(f"{path}: every case must give the same names")
    unused = set(next(iter(names)))
    found = []
    for name, case in cases.items():
        used: set[str] = set()
        filled = _fill(body, case, used, f"{path} [case.{name}]")
        unused -= used
        found.append(_scenario(filled, f"{stem}[{name}]", path))
    if unused:
        raise TableError(f"{path}: the cases give {sorted(unused)[0]!r}, which the scenario does not use")
    return found


def _fill(value: Any, case: Mapping[str, Any], used: set[str], where: str) -> Any:
    if isinstance(value, Mapping):
        return {_fill(key, case, used, where): _fill(item, case, used, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, case, used, where) for item in value]
    if isinstance(value, str) and value.startswith("$"):
        if value[1:] not in case:
            raise TableError(f"{where}: there is no value {value[1:]!r}; there are {', '.join(case)}")
        used.add(value[1:])
        return case[value[1:]]
    if isinstance(value, str):
        for name, item in case.items():
            if "{" + name + "}" in value:
                used.add(name)
                value = value.replace("{" + name + "}", str(item))
    return value


def _scenario(data: dict[str, Any], name: str, path: str) -> Scenario:
    root = Table(path if name in path else f"{path} ({name})", data)
    about = root.table("scenario")
    unit = _unit(root.table("unit", optional=True))
    start = _start(root.table("start", optional=True))
    steps = tuple(_step(table) for table in root.tables("step"))
    instants = _instants(root.named("instant"))
    known = (START, *(instant.name for instant in instants))
    musts = tuple(_must(table, known) for table in root.tables("must"))
    if not unit.services and any(must.kind in kept.KINDS for must in musts):
        raise TableError(f"{path}: {' and '.join(kept.KINDS)} read the records that only [unit] services = true keeps")
    if not musts:
        raise TableError(f"{path}: a scenario without [[must]] proves nothing")
    scenario = Scenario(
        name=name,
        title=about.text("title"),
        story=about.text("story", ""),
        tags=about.texts("tags", ()),
        duration_s=about.number("duration_s", 0.1, 3600.0, unit="s"),
        record_hz=about.number("record_hz", 10.0, 1000.0, 1000.0, unit="Hz"),
        unit=unit,
        start=start,
        steps=steps,
        instants=instants,
        musts=musts,
        health=about.flag("health", True),
        path=path,
    )
    about.done(None)
    at = 0.0
    for n, step in enumerate(steps, 1):
        if step.at_s is not None and not at <= step.at_s <= scenario.duration_s:
            raise TableError(
                f"{path}: step {n} is at {step.at_s:g} s; steps are in order, none after {scenario.duration_s:g} s"
            )
        at = at if step.at_s is None else step.at_s
    return root.done(scenario)


def _unit(table: Table) -> UnitUnderTest:
    adjust = table.table("adjust", optional=True)
    values = adjust.rest()
    for key, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise adjust.refuse(key, value, "a number")
    code = table.text("code", "ieee1547_2018_cat3")
    return table.done(
        UnitUnderTest(
            board=table.text("board", "desk"),
            code=code,
            adjust=values,
            nominal_v=table.number("nominal_v", 100.0, 300.0, 230.0, unit="V"),
            nominal_hz=table.number("nominal_hz", 50.0, 60.0, 60.0 if code.startswith("ieee") else 50.0, unit="Hz"),
            services=table.flag("services", False),
            neighbour_w=table.number("neighbour_w", -30_000.0, 30_000.0, None, unit="W"),
        )
    )


def _start(table: Table) -> Start:
    return table.done(
        Start(
            at=table.text("at", "transfer", STARTS),
            power_w=table.number("power_w", -400_000.0, 400_000.0, 0.0, unit="W"),
            soc=table.number("soc", 0.0, 1.0, 0.6),
        )
    )


def _step(table: Table) -> Step:
    at_s = table.number("at_s", 0.0, 3600.0, None, unit="s")
    when = table.text("when", "")
    if (at_s is None) == (not when):
        raise TableError(f"{table.where}: either at_s or when (a state) says when it is done")
    island = _island(table.table("island")) if "island" in table else ()
    recording = _recording(table.table("recording")) if "recording" in table else None
    step = Step(
        at_s=at_s,
        when=when,
        within_s=table.number("within_s", 0.0, 600.0, 60.0, unit="s"),
        grid=tuple(_segment(entry) for entry in table.tables("grid")),
        recording=recording,
        fault=tuple(table.table("fault", optional=True).rest().items()),
        mend=table.flag("mend", False),
        car=tuple(table.table("car", optional=True).rest().items()),
        plug=table.flag("plug", None),
        ask_w=table.number("ask_w", -400_000.0, 400_000.0, None, unit="W"),
        lease=table.flag("lease", None),
        operator=table.text("operator", "", ("stop", "start", "clear")),
        controls=_controls(table),
        island=island,
        switch=table.text("switch", "", ("open", "close")),
    )
    if step.lease is True:
        raise TableError(f"{table.where}: lease = false lets it end; ask_w asks again")
    if step.grid and step.recording:
        raise TableError(f"{table.where}: grid and recording exclude each other")
    if step == Step(at_s=at_s, when=when, within_s=step.within_s):
        raise TableError(f"{table.where}: nothing is done")
    return table.done(step)


def _controls(table: Table) -> tuple[Mapping[str, Any], ...] | None:
    found = table.anything("controls", None)
    if found is not None and not (isinstance(found, list) and all(isinstance(x, Mapping) for x in found)):
        raise table.refuse("controls", found, "a list of tables as in docs/controls.md; an empty one ends them")
    return None if found is None else tuple(found)


def _segment(table: Table) -> GridSegment:
    phases = table.text("phases", "abc")
    if not set(phases) <= set("abc"):
        raise table.refuse("phases", phases, "letters among a, b, c")
    harmonics = []
    for entry in table.tables("harmonics"):
        order = entry.whole("order", 2, 50)
        harmonics.append((order, entry.number("share", 0.0, 1.0), entry.number("deg", -180.0, 180.0, 0.0)))
        entry.done(None)
    return table.done(
        GridSegment(
            dt_s=table.number("dt_s", 0.0, 3600.0, unit="s"),
            shape=table.text("shape", "step", SHAPES),
            v_pu=table.number("v_pu", 0.0, 2.0, None),
            phases=phases,
            f_hz=table.number("f_hz", 30.0, 70.0, None, unit="Hz"),
            jump_deg=table.number("jump_deg", -180.0, 180.0, 0.0, unit="degrees"),
            harmonics=tuple(harmonics),
        )
    )


def _recording(table: Table) -> Recording:
    recording = Recording(
        table.text("file", "toledo", ("toledo",)),
        table.number("from_s", 0.0, 1474.0, unit="s"),
        table.number("to_s", 0.0, 1474.0, unit="s"),
    )
    if recording.to_s <= recording.from_s:
        raise TableError(f"{table.where}: to_s must lie after from_s")
    return table.done(recording)


def _island(table: Table) -> tuple[tuple[str, float], ...]:
    values = {
        "qf": table.number("qf", 0.1, 3.0, 1.0),
        "dp": table.number("dp", -0.9, 5.0, 0.0),
        "dc": table.number("dc", -0.5, 0.5, 0.0),
        "reactive": float(table.flag("reactive", False)),
    }
    return table.done(tuple(values.items()))


def _band(table: Table) -> Band:
    channel = table.text("channel")
    low, high = table.number("above", -1e9, 1e9, -math.inf), table.number("below", -1e9, 1e9, math.inf)
    if math.isinf(low) and math.isinf(high):
        raise TableError(f"{table.where}: above, below or both must bound the channel")
    if low > high:
        raise TableError(f"{table.where}: above = {low:g} is higher than below = {high:g}")
    return Band(channel, low, high, table.flag("magnitude", False))


def _follow(table: Table) -> Follow:
    points = table.anything("points")
    if not isinstance(points, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in points):
        raise table.refuse("points", points, "a list of pairs [x, y]")
    try:
        return Follow(
            x=table.text("x"),
            y=table.text("y"),
            points=tuple((float(x), float(y)) for x, y in points),
            x_off=table.number("x_off", 0.0, 1e9, 0.0),
            y_off=table.number("y_off", 0.0, 1e9),
            share=table.number("share", 0.0, 1.0, 1.0),
            before_s=table.number("before_s", 0.0, 60.0, 1.0, unit="s"),
        )
    except (TypeError, ValueError) as error:  # no number in a pair; no curve
        raise TableError(f"{table.where}: {error}") from None


def _instants(tables: Mapping[str, Table]) -> tuple[Instant, ...]:
    found: list[Instant] = []
    for name, table in tables.items():
        after = table.text("after", START, (START, *(instant.name for instant in found)))
        instant = Instant(name, _band(table), after, table.number("not_before_s", 0.0, 3600.0, 0.0, unit="s"))
        if instant.band.channel not in REFERENCES:
            raise TableError(
                f"{table.where}: {instant.band.channel} is what the charger does; an instant is read from what the "
                f"rig does: {', '.join(REFERENCES)}"
            )
        found.append(table.done(instant))
    return tuple(found)


_WITH_BAND = ("reaches", "always", "never")
_WITH_TIME = ("ceases", "reaches", "state", "event")
_WITH_WINDOW = ("ceases", "reaches", "always", "never", "never_state", "event", "follows", "recorded")
_COUNTED = ("event", "recorded")


def _must(table: Table, known: Sequence[str]) -> Must:
    kind = table.text("kind", choices=KINDS)
    times = None
    if kind in _COUNTED:
        times = table.whole("times", 0, 1000, None)
        at_least = table.whole("at_least", 0, 1000, 1 if times is None else times)
        at_most = table.whole("at_most", 0, 1000, times)
        if at_most is not None and at_least > at_most:
            raise TableError(f"{table.where}: at_least is more than at_most")
    else:
        at_least, at_most = 1, None
    timed, windowed = kind in _WITH_TIME, kind in _WITH_WINDOW
    must = Must(
        kind=kind,
        because=table.text("because"),
        after=table.text("after", "t0" if "t0" in known else START, known),
        band=_band(table) if kind in _WITH_BAND else None,
        within_s=table.number("within_s", 0.0, 3600.0, None, unit="s") if timed else None,
        not_before_s=table.number("not_before_s", 0.0, 3600.0, None, unit="s") if timed else None,
        from_s=table.number("from_s", 0.0, 3600.0, 0.0, unit="s") if windowed else 0.0,
        until_s=table.number("until_s", 0.0, 3600.0, None, unit="s") if windowed else None,
        stays=table.flag("stays", False) if kind == "reaches" else False,
        state=table.text("is") if kind in ("state", "never_state") else "",
        code=table.text("code") if kind in _COUNTED else "",
        detail=table.text("detail", "") if kind in _COUNTED else "",
        at_least=at_least,
        at_most=at_most,
        codes=table.texts("codes") if kind == "order" else (),
        follow=_follow(table) if kind == "follows" else None,
        cleared=table.flag("cleared", False) if kind == "recorded" else False,
        share=table.number("share", 0.0, 1.0) if kind == "booked" else 0.0,
        off_wh=table.number("off_wh", 0.0, 1e6, 0.0, unit="Wh") if kind == "booked" else 0.0,
    )
    if kind in ("ceases", "state", "reaches") and must.within_s is None:
        raise TableError(f"{table.where}: within_s is missing: in which time?")
    return table.done(must)


# ------------------------------------------------------------------------------------------------------------ library
def library() -> list[Path]:
    """The files of the library that comes with the rig, in order of their names."""
    folder = Path(str(files("hil") / "scenarios" / "library"))
    return sorted(folder.glob("*.toml"))


def find(word: str) -> list[Path]:
    """What a word on the command line means: a file, a directory, `all`, a name in the library. Raises TableError."""
    path = Path(word)
    if path.is_dir():
        found = sorted(path.glob("*.toml"))
        if not found:
            raise TableError(f"{word}: there is no .toml file in this directory")
        return found
    if path.is_file():
        return [path]
    known = library()
    if word == "all":
        return known
    named = [entry for entry in known if entry.stem == word]
    if not named:
        raise TableError(f"{word}: there is no such file, and the library has no scenario of this name")
    return named
