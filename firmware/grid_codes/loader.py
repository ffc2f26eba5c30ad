"""Reads a profile from TOML, strictly: whatever is not understood, out of range or without confidence is refused.

How a profile is written is in docs/protection.md. Every error is a GridCodeError of one sentence: file, key, what is
allowed.
"""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from firmware.grid_codes.consistency import check
from firmware.grid_codes.model import (
    ClearingMax,
    Confidence,
    DelayMinAndDisconnectMax,
    EnterService,
    GridCode,
    GridCodeError,
    Mean10Min,
    MeanMethod,
    MomentaryCessation,
    Quantity,
    RelaySetting,
    RideThroughMode,
    RideThroughRow,
    Setting,
    Side,
    TripSetting,
    TripTime,
)
from firmware.grid_codes.support import SECTIONS, over, read_section
from firmware.grid_codes.table import HZ, KINDS, PU, SOURCE_KINDS, Table

DIRECTORY = Path(__file__).parent
SCHEMA = 1
# What enter_service cannot do without; the rest of it is None where the code has nothing of the kind.
_NEEDED = ("v_min", "v_max", "f_min", "f_max", "delay_s")
_BAND = {Quantity.VOLTAGE: ("pu", 0.0, 9.99), Quantity.FREQUENCY: HZ}
_THRESHOLD = {
    Quantity.VOLTAGE: PU,
    Quantity.VOLTAGE_10MIN: PU,
    Quantity.FREQUENCY: HZ,
    Quantity.ROCOF: ("Hz/s", 0.01, 20.0),
}


# By its text, so a file that was changed is parsed again. Most profiles share most of their files, and parsing is nine
# tenths of loading one. Nobody changes what comes out: `Table` reads from a copy.
_parsed = functools.lru_cache(maxsize=128)(tomllib.loads)


def _read(directory: Path, name: str) -> Mapping[str, Any]:
    path = directory / f"{name}.toml"
    try:
        return _parsed(path.read_text("utf-8"))
    except FileNotFoundError:
        raise GridCodeError(f"there is no grid code {name!r}; there are: {', '.join(names(directory))}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GridCodeError(f"{path.name}: not valid TOML: {error}") from None


def sources(directory: Path = DIRECTORY) -> dict[str, str]:
    """What each key of a number's `src` stands for, with its kind."""
    return {
        key: f"{source['ref']} [{source['kind']}{', weak' if source.get('weak') else ''}]"
        for key, source in _read(directory, "_sources").items()
    }


def names(directory: Path = DIRECTORY, *, refused: bool = False) -> tuple[str, ...]:
    """Names of the profiles (parts that others extend are left out); with `refused`, also of those never to be used."""
    found = []
    for path in sorted(directory.glob("*.toml")):
        if not path.name.startswith("_"):
            profile = _read(directory, path.stem).get("profile")
            is_profile = not (isinstance(profile, dict) and profile.get("part") is True)
            if is_profile and (refused or not (isinstance(profile, dict) and "refused" in profile)):
                found.append(path.stem)
    return tuple(found)


def _trip(t: Table, element: str) -> TripSetting:
    quantity: Quantity = t.choice("quantity", {q.value: q for q in Quantity})
    side: Side = t.choice("direction", {s.value: s for s in Side})
    threshold = t.number("threshold", _THRESHOLD[quantity])
    given = [k for k in ("relay_setting_s", "clearing_max_s", "delay_min_s", "disconnect_max_s") if t.has(k)]
    time: TripTime
    match given:
        case ["relay_setting_s"]:
            time = RelaySetting(t.number("relay_setting_s"))
        case ["clearing_max_s"]:
            time = ClearingMax(t.number("clearing_max_s"))
        case ["disconnect_max_s"] | ["delay_min_s", "disconnect_max_s"]:
            time = DelayMinAndDisconnectMax(t.optional("delay_min_s"), t.number("disconnect_max_s"))
        case _:
            raise t.fail(
                "time", "must be one of relay_setting_s, clearing_max_s, or delay_min_s with disconnect_max_s, "
                f"not {', '.join(given) or 'nothing'}"
            )  # fmt: skip
    t.done()
    return TripSetting(element, quantity, side, threshold, time)


def _row(t: Table) -> RideThroughRow:
    voltage_or_frequency = {q.value: q for q in (Quantity.VOLTAGE, Quantity.FREQUENCY)}
    quantity: Quantity = t.choice("quantity", voltage_or_frequency)
    mode: RideThroughMode = t.choice("mode", {m.value: m for m in RideThroughMode})
    lo, hi = t.number("lo", _BAND[quantity]), t.number("hi", _BAND[quantity])
    if not lo.value < hi.value:
        raise t.fail("lo", f"is {lo.value:g}; it must be below hi = {hi.value:g}")
    slope = t.optional("min_time_slope_s_per_pu")
    if slope is not None and (quantity is not Quantity.VOLTAGE or not t.has("min_time_s")):
        raise t.fail("min_time_slope_s_per_pu", "needs a voltage row with min_time_s, the time at lo")
    row = RideThroughRow(quantity, lo, hi, mode, t.optional("min_time_s"), t.optional("max_response_s"), slope)
    t.done()
    return row


def _enter_service(t: Table, inherited: dict[str, Setting]) -> dict[str, Setting]:
    """The section's numbers over the inherited ones. `unknown`: numbers that the code has and nobody found."""
    if t.has("ramp_pu_per_min") and t.has("ramp_duration_s"):
        raise t.fail("ramp_duration_s", "stands beside ramp_pu_per_min; give one of them")
    if t.has("ramp_pu_per_min") or t.has("ramp_duration_s"):
        inherited = {k: s for k, s in inherited.items() if not k.startswith("ramp_")}
    found = dict(inherited)
    for key in t.texts("unknown"):
        if key not in _NEEDED:
            raise t.fail("unknown", f"lists {key!r}; allowed: {', '.join(_NEEDED)}")
        found[key] = Setting(math.nan, KINDS[key][0], "no source found", (), Confidence.LOW)
    for field in fields(EnterService):
        setting = t.optional(field.name)
        if setting is not None:
            found[field.name] = setting
    t.done()
    return found


def _merge(
    directory: Path,
    registry: Mapping[str, Any],
    name: str,
    into: dict[str, Any],
    standard: str = "",
    chain: tuple[str, ...] = (),
) -> None:
    """Read `name` after what it extends. `standard`: of the profile that is being made, "" when that is `name` itself.

    Trips replace by name, ride-through rows by quantity, numbers of enter_service and of support sections one by one,
    other sections as a whole.
    """
    if name in chain:
        raise GridCodeError(f"{name}.toml: extends itself by way of {' -> '.join(chain)}")
    file = f"{name}.toml"
    root = Table(file, "", _read(directory, name), registry)
    root.plain("schema", SCHEMA, SCHEMA, "(the version of the way a profile is written)")
    profile = Table(file, "profile", root.raw.pop("profile", None), registry)
    extends = profile.raw.pop("extends", [])
    if not isinstance(extends, list) or not all(isinstance(e, str) for e in extends):
        raise profile.fail("extends", "must be a list of profile names")
    own = profile.text("standard")
    for other in extends:
        _merge(directory, registry, other, into, standard or own, (*chain, name))
    into["standard"] = own
    clause = profile.defaults.pop("clause", "")
    for key in ("title", "jurisdiction"):
        into[key] = profile.text(key)
    into["clause"] = clause
    into["nominal_f_hz"] = profile.plain("nominal_f_hz", 50.0, 60.0, "Hz")
    into["nominal_v"] = profile.plain("nominal_v", 50.0, 1000.0, "V") if profile.has("nominal_v") else None
    into["part"] = profile.flag("part")
    into["refused"] = profile.text("refused") if profile.has("refused") else ""
    if profile.flag("replace_trips"):
        into["trips"], into["remarks"] = {}, ()  # what was said of the trips is gone with them
    into["remarks"] += profile.texts("remarks")
    profile.done()
    if profile.defaults:
        raise profile.fail(next(iter(profile.defaults)), "belongs to a section, not to the profile")
    other_standard = own if standard and standard != own else ""

    def table(key: str, raw: object) -> Table:
        return Table(file, key, raw, registry, clause, other_standard)

    trips = root.raw.pop("trip", {})
    if not isinstance(trips, dict):
        raise root.fail("trip", "must be tables [trip.NAME]")
    for element, raw in trips.items():
        into["trips"][element] = _trip(table(f"trip.{element}", raw), element)
    rows = root.raw.pop("ride_through", [])
    if not isinstance(rows, list):
        raise root.fail("ride_through", "must be rows [[ride_through]]")
    read = [_row(table(f"ride_through.{i}", raw)) for i, raw in enumerate(rows)]
    replaced = {r.quantity for r in read}
    into["rows"] = [r for r in into["rows"] if r.quantity not in replaced] + read
    if "enter_service" in root.raw:
        raw = root.raw.pop("enter_service")
        into["enter_service"] = _enter_service(table("enter_service", raw), into.get("enter_service", {}))
    if "mean_10min" in root.raw:
        t = table("mean_10min", root.raw.pop("mean_10min"))
        method: MeanMethod = t.choice("method", {m.value: m for m in MeanMethod})
        into["mean_10min"] = Mean10Min(t.number("window_s"), t.number("interval_s"), method)
        t.done()
    if "momentary_cessation" in root.raw:
        t = table("momentary_cessation", root.raw.pop("momentary_cessation"))
        into["momentary_cessation"] = MomentaryCessation(t.number("restore_max_s"))
        t.done()
    support = root.raw.pop("support", {})
    if not isinstance(support, dict):
        raise root.fail("support", f"must be tables [support.NAME]; names: {', '.join(SECTIONS)}")
    for section, raw in support.items():
        read_now = read_section(table(f"support.{section}", raw), section)
        into["support"][section] = over(read_now, into["support"].get(section))
    root.done()
    if root.defaults:
        raise root.fail(next(iter(root.defaults)), "belongs to a section, not to the file")


def load(name: str, *, nominal_v: float, allow_unverified: bool = False, directory: Path = DIRECTORY) -> GridCode:
    """The profile `name`, complete and fit to run, for a nominal phase-to-neutral voltage (V).

    allow_unverified: accept trips that are only remembered, and apply ride-through rows that are only remembered.
    Without it such a trip is refused (nobody would know that it protects), and such a row changes
    nothing: ceasing on a number nobody checked could make the charger leave the grid when it must stay.
    Raises GridCodeError; also for a profile with a number that nobody found.
    """
    code = inspect(name, nominal_v=nominal_v, allow_unverified=allow_unverified, directory=directory)
    if code.refused:
        raise GridCodeError(f"{name}: {code.refused}")
    if code.missing:
        raise GridCodeError(
            f"{name} cannot run here: there is {'; there is '.join(code.missing)} "
            f"(`quadrant codes show {name}` shows what there is)"
        )
    if not code.verified and not allow_unverified:
        keys = ", ".join(f"trip.{element}" for element in code.unverified_trips)
        raise GridCodeError(
            f"{name}: {keys} rests on numbers that are only remembered; check them against the standard, "
            "or load with allow_unverified"
        )
    return code


def inspect(
    name: str, *, nominal_v: float | None = None, allow_unverified: bool = False, directory: Path = DIRECTORY
) -> GridCode:
    """The profile `name` to be looked at, incomplete, unverified or refused as it may be. Never run what this returns.

    nominal_v: None = the code's own, or where it has none 230 V at 50 Hz and 120 V at 60 Hz. Raises GridCodeError.
    """
    if not isinstance(name, str) or "/" in name or "\\" in name or name.startswith(("_", ".")) or not name:
        raise GridCodeError(f"there is no grid code {name!r}; there are: {', '.join(names(directory))}")
    registry = _read(directory, "_sources")
    for key, source in registry.items():
        if not isinstance(source, dict) or source.get("kind") not in SOURCE_KINDS or not source.get("ref"):
            raise GridCodeError(f"_sources.toml: {key} needs a ref and a kind among {', '.join(SOURCE_KINDS)}")
    into: dict[str, Any] = {"trips": {}, "rows": [], "support": {}, "remarks": ()}
    _merge(directory, registry, name, into)
    if into["part"]:
        raise GridCodeError(f"{name} is a part of other profiles; there are: {', '.join(names(directory))}")
    if "enter_service" not in into:
        raise GridCodeError(f"{name}.toml: the section enter_service is missing")
    for key in _NEEDED:
        if key not in into["enter_service"]:
            unit, low, high = KINDS[key]
            raise GridCodeError(f"{name}.toml: enter_service.{key} is missing ({low:g}..{high:g} {unit})")
    if nominal_v is None:
        nominal_v = into["nominal_v"] or (230.0 if into["nominal_f_hz"] < 55.0 else 120.0)
    nominal_v = _nominal_v(name, nominal_v, into["nominal_v"])
    settings: dict[str, Any] = {f.name: None for f in fields(EnterService) if f.name not in _NEEDED}
    settings |= {key: _in_pu(s, nominal_v) for key, s in into["enter_service"].items()}
    code = GridCode(
        name=name,
        title=into["title"],
        standard=into["standard"],
        jurisdiction=into["jurisdiction"],
        nominal_v=nominal_v,
        nominal_f_hz=into["nominal_f_hz"],
        clause=into["clause"],
        trips=tuple(replace(t, threshold=_in_pu(t.threshold, nominal_v)) for t in into["trips"].values()),
        ride_through=tuple(replace(r, lo=_in_pu(r.lo, nominal_v), hi=_in_pu(r.hi, nominal_v)) for r in into["rows"]),
        enter_service=EnterService(**settings),
        mean_10min=into.get("mean_10min"),
        momentary_cessation=into.get("momentary_cessation"),
        allow_unverified=allow_unverified,
        support=tuple(into["support"].values()),
        remarks=into["remarks"],
        refused=into["refused"],
    )
    check(code)
    return code


def _in_pu(setting: Setting, nominal_v: float) -> Setting:
    """A number written in volts as a share of nominal; any other as it is."""
    if setting.unit != "V":
        return setting
    ends = [None if end is None else end / nominal_v for end in (setting.min, setting.max)]
    return replace(
        setting, value=setting.value / nominal_v, unit="pu", min=ends[0], max=ends[1], written=f"{setting.value:g} V"
    )


def _nominal_v(name: str, nominal_v: float, of_code: float | None) -> float:
    low, high = (of_code * 0.99, of_code * 1.01) if of_code is not None else (50.0, 1000.0)
    number = isinstance(nominal_v, int | float) and not isinstance(nominal_v, bool)
    if not number or not low <= nominal_v <= high:  # also refuses nan: every trip would be blind
        raise GridCodeError(f"{name}: nominal_v is {nominal_v}; allowed: {low:g}..{high:g} V, phase to neutral")
    return float(nominal_v)
