"""Reads a profile from TOML, strictly: whatever is not understood, out of range or without confidence is refused.

How a profile is written is in docs/protection.md. Every error is a GridCodeError of one sentence: file, key, what is
allowed.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
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

DIRECTORY = Path(__file__).parent
SCHEMA = 1
_CONF = {"low": Confidence.LOW, "medium": Confidence.MEDIUM, "high": Confidence.HIGH}
_SOURCE_KINDS = ("code", "page", "issue", "law", "recall")
_META = ("conf", "src", "clause", "note")
# What a number may be at all (unit, lowest, highest): wide, it catches a slipped decimal point or a wrong unit.
_PU = ("pu", 0.0, 2.0)
_HZ = ("Hz", 40.0, 70.0)
_S = ("s", 0.0, 3600.0)
_KINDS = {
    "v_min": _PU,
    "v_max": _PU,
    "f_min": _HZ,
    "f_max": _HZ,
    "delay_s": _S,
    "ramp_pu_per_min": ("pu/min", 0.001, 60.0),
    "ramp_duration_s": ("s", 1.0, 3600.0),
    "random_delay_s": _S,
    "relay_setting_s": _S,
    "clearing_max_s": _S,
    "delay_min_s": _S,
    "disconnect_max_s": _S,
    "min_time_s": _S,
    "max_response_s": _S,
    "restore_max_s": _S,
    "window_s": ("s", 1.0, 3600.0),
    "interval_s": ("s", 0.1, 60.0),
}
_BAND = {Quantity.VOLTAGE: ("pu", 0.0, 9.99), Quantity.VOLTAGE_10MIN: _PU, Quantity.FREQUENCY: _HZ}
_THRESHOLD = {Quantity.VOLTAGE: _PU, Quantity.VOLTAGE_10MIN: _PU, Quantity.FREQUENCY: _HZ}


class _Table:
    """A TOML table being read: remembers what was taken, so that the rest can be refused."""

    def __init__(self, file: str, key: str, raw: object, sources: Mapping[str, Any], clause: str = "") -> None:
        if not isinstance(raw, dict):
            raise GridCodeError(f"{file}: {key} must be a table")
        self.file, self.key, self.raw, self.sources = file, key, dict(raw), sources
        self.defaults: dict[str, Any] = {k: self.raw.pop(k) for k in _META if k in self.raw}
        if clause:
            self.defaults.setdefault("clause", clause)

    def fail(self, key: str, what: str) -> GridCodeError:
        return GridCodeError(f"{self.file}: {self.key + '.' if self.key else ''}{key} {what}")

    def text(self, key: str, default: str | None = None) -> str:
        value = self.raw.pop(key, default)
        if value is None:
            raise self.fail(key, "is missing")
        if not isinstance(value, str) or not value:
            raise self.fail(key, f"must be a text, not {value!r}")
        return value

    def choice(self, key: str, names: Mapping[str, Any]) -> Any:
        value = self.text(key)
        if value not in names:
            raise self.fail(key, f"is {value!r}; allowed: {', '.join(names)}")
        return names[value]

    def flag(self, key: str) -> bool:
        value = self.raw.pop(key, False)
        if not isinstance(value, bool):
            raise self.fail(key, f"must be true or false, not {value!r}")
        return value

    def plain(self, key: str, low: float, high: float, unit: str, default: float | None = None) -> float:
        """A number that names the profile rather than being a requirement (nominal values)."""
        value = self.raw.pop(key, default)
        if value is None:
            raise self.fail(key, "is missing")
        return self._number(key, value, low, high, unit)

    def _number(self, key: str, value: object, low: float, high: float, unit: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fail(key, f"must be a number ({low:g}..{high:g} {unit}), not {value!r}")
        if not (math.isfinite(value) and low <= value <= high):
            raise self.fail(key, f"is {value}; allowed: {low:g}..{high:g} {unit}")
        return float(value)

    def has(self, key: str) -> bool:
        return key in self.raw

    def optional(self, key: str) -> Setting | None:
        return self.number(key) if key in self.raw else None

    def number(self, key: str, kind: tuple[str, float, float] | None = None) -> Setting:
        """A bare number with the section's conf, src and clause, or a table that overrides them."""
        unit, low, high = kind or _KINDS[key]
        if key not in self.raw:
            raise self.fail(key, f"is missing ({low:g}..{high:g} {unit})")
        raw = self.raw.pop(key)
        own: dict[str, Any] = dict(raw) if isinstance(raw, dict) else {"v": raw}
        meta = {k: own.pop(k, self.defaults.get(k)) for k in _META}
        if "v" not in own:
            raise self.fail(key, f"has no v ({low:g}..{high:g} {unit})")
        value = self._number(key, own.pop("v"), low, high, unit)
        if ("min" in own) != ("max" in own):
            raise self.fail(key, "has only one end of a range; give min and max, or neither")
        lo = self._number(f"{key}.min", own.pop("min"), low, high, unit) if "min" in own else None
        hi = self._number(f"{key}.max", own.pop("max"), low, high, unit) if "max" in own else None
        if lo is not None and hi is not None and not lo <= value <= hi:
            raise self.fail(key, f"is {value:g}, outside of its own range {lo:g}..{hi:g} {unit}")
        range_conf = self._confidence(f"{key}.range_conf", own.pop("range_conf", None), optional=True)
        if own:
            raise self.fail(
                key, f"has unknown keys: {', '.join(own)}; allowed: v, min, max, range_conf, {', '.join(_META)}"
            )
        if range_conf is not None and lo is None:
            raise self.fail(key, "has range_conf but no range")
        conf = self._confidence(f"{key}.conf", meta["conf"])
        src = self._supported(key, meta["src"], conf)
        if not isinstance(meta["clause"], str) or not meta["clause"]:
            raise self.fail(key, "has no clause; where the source gives none, say so")
        if not isinstance(meta["note"], str | None):
            raise self.fail(key, f"has a note that is no text: {meta['note']!r}")
        return Setting(value, unit, meta["clause"], src, conf, lo, hi, meta["note"] or "", range_conf)

    def _confidence(self, key: str, value: object, optional: bool = False) -> Any:
        if value is None and optional:
            return None
        if not isinstance(value, str) or value not in _CONF:
            what = "is missing" if value is None else f"is {value!r}"
            raise self.fail(key, f"{what}; allowed: {', '.join(_CONF)}")
        return _CONF[value]

    def _supported(self, key: str, src: object, conf: Confidence) -> tuple[str, ...]:
        """The rule of confidence: high needs two independent sources or a legal text, medium needs one."""
        if not isinstance(src, list) or not src or not all(isinstance(s, str) for s in src):
            raise self.fail(key, "has no src: a list of keys of _sources.toml")
        for s in src:
            if s not in self.sources:
                raise self.fail(key, f"cites {s!r}, which _sources.toml does not have")
        best = supported([self.sources[s] | {"key": s} for s in src])
        if conf > best:
            raise self.fail(key, f"claims {conf.name.lower()} confidence; its sources support {best.name.lower()}")
        return tuple(src)

    def done(self) -> None:
        if self.raw:
            keys = ", ".join(f"{self.key}.{k}" if self.key else k for k in self.raw)
            raise GridCodeError(f"{self.file}: unknown keys: {keys}")


def supported(sources: list[dict[str, Any]]) -> Confidence:
    """The highest confidence that these sources (entries of _sources.toml with their `key`) can carry."""
    external = {s.get("group", s["key"]) for s in sources if s["kind"] != "recall"}
    if len(external) >= 2 or any(s["kind"] == "law" for s in sources):
        return Confidence.HIGH
    return Confidence.MEDIUM if external else Confidence.LOW


def _read(directory: Path, name: str) -> dict[str, Any]:
    path = directory / f"{name}.toml"
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise GridCodeError(f"there is no grid code {name!r}; there are: {', '.join(names(directory))}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GridCodeError(f"{path.name}: not valid TOML: {error}") from None


def names(directory: Path = DIRECTORY) -> tuple[str, ...]:
    """Profiles that `load` takes (parts that others extend are left out)."""
    found = []
    for path in sorted(directory.glob("*.toml")):
        if not path.name.startswith("_"):
            profile = _read(directory, path.stem).get("profile")
            if not (isinstance(profile, dict) and profile.get("part") is True):
                found.append(path.stem)
    return tuple(found)


def _trip(t: _Table, element: str) -> TripSetting:
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
        case ["delay_min_s", "disconnect_max_s"]:
            time = DelayMinAndDisconnectMax(t.number("delay_min_s"), t.number("disconnect_max_s"))
        case _:
            raise t.fail(
                "time", "must be one of relay_setting_s, clearing_max_s, or delay_min_s with disconnect_max_s, "
                f"not {', '.join(given) or 'nothing'}"
            )  # fmt: skip
    t.done()
    return TripSetting(element, quantity, side, threshold, time)


def _row(t: _Table) -> RideThroughRow:
    voltage_or_frequency = {q.value: q for q in (Quantity.VOLTAGE, Quantity.FREQUENCY)}
    quantity: Quantity = t.choice("quantity", voltage_or_frequency)
    mode: RideThroughMode = t.choice("mode", {m.value: m for m in RideThroughMode})
    lo, hi = t.number("lo", _BAND[quantity]), t.number("hi", _BAND[quantity])
    if not lo.value < hi.value:
        raise t.fail("lo", f"is {lo.value:g}; it must be below hi = {hi.value:g}")
    row = RideThroughRow(quantity, lo, hi, mode, t.optional("min_time_s"), t.optional("max_response_s"))
    t.done()
    return row


def _enter_service(t: _Table) -> EnterService:
    if t.has("ramp_pu_per_min") and t.has("ramp_duration_s"):
        raise t.fail("ramp_duration_s", "stands beside ramp_pu_per_min; give one of them")
    section = EnterService(
        v_min=t.number("v_min"),
        v_max=t.number("v_max"),
        f_min=t.number("f_min"),
        f_max=t.number("f_max"),
        delay_s=t.number("delay_s"),
        ramp_pu_per_min=t.optional("ramp_pu_per_min"),
        ramp_duration_s=t.optional("ramp_duration_s"),
        random_delay_s=t.optional("random_delay_s"),
    )
    t.done()
    return section


def _merge(
    directory: Path, sources: Mapping[str, Any], name: str, into: dict[str, Any], chain: tuple[str, ...]
) -> None:
    """Read `name` after what it extends: trips replace by name, ride-through rows by quantity, sections as a whole."""
    if name in chain:
        raise GridCodeError(f"{name}.toml: extends itself by way of {' -> '.join(chain)}")
    file = f"{name}.toml"
    root = _Table(file, "", _read(directory, name), sources)
    root.plain("schema", SCHEMA, SCHEMA, "(the version of the way a profile is written)")
    profile = _Table(file, "profile", root.raw.pop("profile", None), sources)
    extends = profile.raw.pop("extends", [])
    if not isinstance(extends, list) or not all(isinstance(e, str) for e in extends):
        raise profile.fail("extends", "must be a list of profile names")
    for other in extends:
        _merge(directory, sources, other, into, (*chain, name))
    clause = profile.defaults.pop("clause", "")
    for key in ("title", "standard", "jurisdiction"):
        into[key] = profile.text(key)
    into["clause"] = clause
    into["nominal_f_hz"] = profile.plain("nominal_f_hz", 50.0, 60.0, "Hz")
    into["nominal_v"] = profile.plain("nominal_v", 50.0, 1000.0, "V") if profile.has("nominal_v") else None
    into["part"] = profile.flag("part")
    profile.done()
    if profile.defaults:
        raise profile.fail(next(iter(profile.defaults)), "belongs to a section, not to the profile")
    trips = root.raw.pop("trip", {})
    if not isinstance(trips, dict):
        raise root.fail("trip", "must be tables [trip.NAME]")
    for element, raw in trips.items():
        into["trips"][element] = _trip(_Table(file, f"trip.{element}", raw, sources, clause), element)
    rows = root.raw.pop("ride_through", [])
    if not isinstance(rows, list):
        raise root.fail("ride_through", "must be rows [[ride_through]]")
    read = [_row(_Table(file, f"ride_through.{i}", raw, sources, clause)) for i, raw in enumerate(rows)]
    replaced = {r.quantity for r in read}
    into["rows"] = [r for r in into["rows"] if r.quantity not in replaced] + read
    if "enter_service" in root.raw:
        raw = root.raw.pop("enter_service")
        into["enter_service"] = _enter_service(_Table(file, "enter_service", raw, sources, clause))
    if "mean_10min" in root.raw:
        t = _Table(file, "mean_10min", root.raw.pop("mean_10min"), sources, clause)
        into["mean_10min"] = Mean10Min(t.number("window_s"), t.number("interval_s"))
        t.done()
    if "momentary_cessation" in root.raw:
        t = _Table(file, "momentary_cessation", root.raw.pop("momentary_cessation"), sources, clause)
        into["momentary_cessation"] = MomentaryCessation(t.number("restore_max_s"))
        t.done()
    root.done()
    if root.defaults:
        raise root.fail(next(iter(root.defaults)), "belongs to a section, not to the file")


def load(name: str, *, nominal_v: float, allow_unverified: bool = False, directory: Path = DIRECTORY) -> GridCode:
    """The profile `name` for a nominal phase-to-neutral voltage (V).

    allow_unverified: accept trips that are only remembered, and apply ride-through rows that are only remembered.
    Without it such a trip is refused (nobody would know that it protects), and such a row changes
    nothing: ceasing on a number nobody checked could make the charger leave the grid when it must stay.
    Raises GridCodeError.
    """
    if not isinstance(name, str) or "/" in name or "\\" in name or name.startswith(("_", ".")) or not name:
        raise GridCodeError(f"there is no grid code {name!r}; there are: {', '.join(names(directory))}")
    sources = _read(directory, "_sources")
    for key, source in sources.items():
        if not isinstance(source, dict) or source.get("kind") not in _SOURCE_KINDS or not source.get("ref"):
            raise GridCodeError(f"_sources.toml: {key} needs a ref and a kind among {', '.join(_SOURCE_KINDS)}")
    into: dict[str, Any] = {"trips": {}, "rows": []}
    _merge(directory, sources, name, into, ())
    if into["part"]:
        raise GridCodeError(f"{name} is a part of other profiles; there are: {', '.join(names(directory))}")
    if "enter_service" not in into:
        raise GridCodeError(f"{name}.toml: the section enter_service is missing")
    code = GridCode(
        name=name,
        title=into["title"],
        standard=into["standard"],
        jurisdiction=into["jurisdiction"],
        nominal_v=_nominal_v(name, nominal_v, into["nominal_v"]),
        nominal_f_hz=into["nominal_f_hz"],
        clause=into["clause"],
        trips=tuple(into["trips"].values()),
        ride_through=tuple(into["rows"]),
        enter_service=into["enter_service"],
        mean_10min=into.get("mean_10min"),
        momentary_cessation=into.get("momentary_cessation"),
        allow_unverified=allow_unverified,
    )
    check(code)
    if not code.verified and not allow_unverified:
        keys = ", ".join(f"trip.{t.id}" for t in code.trips if not t.verified)
        raise GridCodeError(
            f"{name}: {keys} rests on numbers that are only remembered; check them against the standard, "
            "or load with allow_unverified"
        )
    return code


def _nominal_v(name: str, nominal_v: float, of_code: float | None) -> float:
    low, high = (of_code * 0.99, of_code * 1.01) if of_code is not None else (50.0, 1000.0)
    number = isinstance(nominal_v, int | float) and not isinstance(nominal_v, bool)
    if not number or not low <= nominal_v <= high:  # also refuses nan: every trip would be blind
        raise GridCodeError(f"{name}: nominal_v is {nominal_v}; allowed: {low:g}..{high:g} V, phase to neutral")
    return float(nominal_v)
