"""One table of a profile being read: every key is taken once, with its bounds, and what is left over is refused.

Every error is a GridCodeError of one sentence: file, key, what is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from firmware.grid_codes.model import Confidence, GridCodeError, Setting

_CONF = {"low": Confidence.LOW, "medium": Confidence.MEDIUM, "high": Confidence.HIGH}
SOURCE_KINDS = ("code", "page", "issue", "law", "recall")
META = ("conf", "src", "clause", "note")
# What a number may be at all (unit, lowest, highest): wide, it catches a slipped decimal point or a wrong unit.
PU = ("pu", 0.0, 2.0)
HZ = ("Hz", 40.0, 70.0)
S = ("s", 0.0, 3600.0)
VOLTS = ("V", 10.0, 1000.0)
KINDS = {
    "v_min": PU,
    "v_max": PU,
    "f_min": HZ,
    "f_max": HZ,
    "delay_s": S,
    "ramp_pu_per_min": ("pu/min", 0.001, 60.0),
    "ramp_duration_s": ("s", 1.0, 3600.0),
    "random_delay_s": S,
    "first_delay_s": S,
    "short_interruption_max_s": S,
    "short_interruption_delay_s": S,
    "relay_setting_s": S,
    "clearing_max_s": S,
    "delay_min_s": S,
    "disconnect_max_s": S,
    "min_time_s": ("s", 0.0, 7200.0),  # up to 90 minutes off nominal in Great Britain
    "min_time_slope_s_per_pu": ("s/pu", -100.0, 100.0),
    "max_response_s": S,
    "restore_max_s": S,
    "window_s": ("s", 1.0, 3600.0),
    "interval_s": ("s", 0.1, 60.0),
}


class Table:
    """A TOML table being read: remembers what was taken, so that the rest can be refused."""

    def __init__(
        self, file: str, key: str, raw: object, sources: Mapping[str, Any], clause: str = "", standard: str = ""
    ) -> None:
        """clause: where the table gives none. standard: what the table belongs to, when the profile is of another."""
        if not isinstance(raw, dict):
            raise GridCodeError(f"{file}: {key} must be a table")
        self.file, self.key, self.raw, self.sources = file, key, dict(raw), sources
        self._standard = standard
        self.defaults: dict[str, Any] = {k: self.raw.pop(k) for k in META if k in self.raw}
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
        unit, low, high = kind or KINDS[key]
        if key not in self.raw:
            raise self.fail(key, f"is missing ({low:g}..{high:g} {unit})")
        raw = self.raw.pop(key)
        own: dict[str, Any] = dict(raw) if isinstance(raw, dict) else {"v": raw}
        if unit == "pu" and "u" in own:  # some codes are written in volts; `load` turns them into shares of nominal
            if own.pop("u") != "V":
                raise self.fail(key, 'may say u = "V" and nothing else; without u it is pu')
            unit, low, high = VOLTS
        meta = {k: own.pop(k, self.defaults.get(k)) for k in META}
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
                key, f"has unknown keys: {', '.join(own)}; allowed: v, min, max, range_conf, {', '.join(META)}"
            )
        if range_conf is not None and lo is None:
            raise self.fail(key, "has range_conf but no range")
        conf, src, clause, note = self.evidence(key, meta)
        return Setting(value, unit, clause, src, conf, lo, hi, note, range_conf)

    def evidence(self, key: str, meta: Mapping[str, Any]) -> tuple[Confidence, tuple[str, ...], str, str]:
        """(conf, src, clause, note), checked against each other and the registry of sources."""
        conf = self._confidence(f"{key}.conf", meta["conf"])
        src = self._supported(key, meta["src"], conf)
        if not isinstance(meta["clause"], str) or not meta["clause"]:
            raise self.fail(key, "has no clause; where the source gives none, say so")
        if not isinstance(meta["note"], str | None):
            raise self.fail(key, f"has a note that is no text: {meta['note']!r}")
        clause = f"as in {self._standard}, {meta['clause']}" if self._standard else meta["clause"]
        return conf, src, clause, meta["note"] or ""

    def finite(self, key: str, value: object) -> float:
        """A number of a curve."""
        return self._number(key, value, -1000.0, 1000.0, "")

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

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; none when the key is missing."""
        value = self.raw.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            raise self.fail(key, f"must be a list of texts, not {value!r}")
        return tuple(value)

    def done(self) -> None:
        if self.raw:
            keys = ", ".join(f"{self.key}.{k}" if self.key else k for k in self.raw)
            raise GridCodeError(f"{self.file}: unknown keys: {keys}")


def supported(sources: list[dict[str, Any]]) -> Confidence:
    """The highest confidence that these sources (entries of _sources.toml with their `key`) can carry."""
    external = {s.get("group", s["key"]) for s in sources if s["kind"] != "recall" and not s.get("weak", False)}
    if len(external) >= 2 or any(s["kind"] == "law" for s in sources):
        return Confidence.HIGH
    return Confidence.MEDIUM if external else Confidence.LOW
