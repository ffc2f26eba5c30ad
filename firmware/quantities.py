"""Numbers with units as people type them: `-7kW`, `30m`, `1h30m`.

Pure. A unit is required wherever forgetting it would be dangerous or ambiguous: `7` may mean 7 W or 7 kW.
"""

from __future__ import annotations

import math
import re

_POWER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*([A-Za-z]*)\s*")
_POWER_UNITS = {"w": 1.0, "kw": 1_000.0}
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)\s*(ms|s|min|m|h)")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class QuantityError(ValueError):
    """The text is not such a quantity. The message is one sentence that says what is expected."""


def power_w(text: str) -> float:
    """Power in W from `-7kW`, `3500W`, `0W`. Negative discharges. Raises QuantityError."""
    match = _POWER.fullmatch(text)
    if match is None:
        raise QuantityError(f"power {text.strip()!r} is not a number with a unit: write 7kW, -7kW or 3500W")
    number, unit = match.groups()
    if not unit:
        raise QuantityError(f"power {text.strip()!r} has no unit: write {number}kW or {number}W")
    if unit.lower() not in _POWER_UNITS:
        raise QuantityError(f"power {text.strip()!r} has the unknown unit {unit!r}: kW or W are known")
    return float(number) * _POWER_UNITS[unit.lower()]


def duration_s(text: str, bare_unit_s: float | None = None) -> float:
    """Duration in s from `90s`, `30m`, `1h30m`, `500ms`; always above zero. Raises QuantityError.

    bare_unit_s: what a bare number counts (1.0: seconds); None refuses bare numbers.
    """
    stripped = text.strip()
    if bare_unit_s is not None and re.fullmatch(r"\d+\.?\d*|\.\d+", stripped):
        seconds = float(stripped) * bare_unit_s
    else:
        parts = _DURATION_PART.findall(stripped)
        if not parts or _DURATION_PART.sub("", stripped).strip():
            hint = "" if bare_unit_s is None else ", or a bare number of seconds"
            raise QuantityError(f"duration {stripped!r} is not understood: write 90s, 30m, 2h or 1h30m{hint}")
        seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)
    if not math.isfinite(seconds) or seconds <= 0.0:
        raise QuantityError(f"duration {stripped!r} must be longer than zero")
    return seconds


def show_power(watts: float | None) -> str:
    """`+11.0 kW`, `-0.4 kW`; a dash for an unknown value. Never shows a negative zero."""
    if watts is None or not math.isfinite(watts):
        return "–"
    kilowatts = round(watts / 1000.0, 1) + 0.0
    return f"{kilowatts:+.1f} kW" if kilowatts else "0.0 kW"


def show_duration(seconds: float) -> str:
    """`4.2 s`, `58 s`, `12 min 5 s`, `2 h 3 min`."""
    if seconds < 10.0:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(whole, 3600)
    return f"{hours} h {rest // 60} min" if rest >= 60 else f"{hours} h"
