"""Reads a section [support.NAME]: what a code says of functions that protection does not perform.

A number is `{ v = ..., u = ..., min = ..., max = ... }`, a curve `{ points = [[x, y], ...], x = ..., y = ... }`, both
with conf, src, clause and note of their own or of the section; anything else is a text or `enabled`.
"""

from __future__ import annotations

from typing import Any

from firmware.grid_codes.model import Curve, Section, Setting
from firmware.grid_codes.table import META, Table

SECTIONS = (
    "anti_islanding", "cease_to_energize", "consecutive_disturbances", "const_pf", "const_q", "cosphi_p",
    "fault_ride_through", "freq_droop", "freq_response", "hv_settings", "lfsm_o", "lfsm_u", "limit_active_power",
    "measurement_accuracy", "microgeneration", "momentary_cessation_limits", "phase_jump", "power_quality", "q_modes",
    "range_change", "ramp_rates", "reactive_capability", "reconnection", "rocof_ride_through", "rocof_trip",
    "sb_generation", "self_test", "single_phase", "unit_size", "vector_shift", "volt_var", "volt_watt", "watt_var",
)  # fmt: skip
# Wide bounds by unit: they catch a slipped decimal point, the meaning is the section's.
_UNITS = {
    "pu": (-10.0, 10.0), "pu/s": (0.0, 10.0), "pu/min": (0.0, 60.0), "pu/pu": (0.0, 1.0), "Hz": (0.0, 70.0),
    "Hz/s": (0.0, 20.0), "s": (0.0, 7200.0), "deg": (0.0, 180.0), "V": (0.0, 1000.0), "A": (0.0, 1000.0),
    "VA": (0.0, 1e6), "kW": (0.0, 1e6), "1": (0.0, 100.0), "cycles": (0.0, 100.0), "%/V": (0.0, 100.0),
}  # fmt: skip


def read_section(t: Table, name: str) -> Section:
    """Raises GridCodeError for a name, a unit or a shape that is not known."""
    if name not in SECTIONS:
        raise t.fail("name", f"is not known; allowed: {', '.join(SECTIONS)}")
    enabled = t.flag("enabled") if t.has("enabled") else None
    numbers: list[tuple[str, Setting]] = []
    curves: list[tuple[str, Curve]] = []
    texts: list[tuple[str, str]] = []
    for key, raw in list(t.raw.items()):
        if isinstance(raw, str):
            texts.append((key, t.text(key)))
        elif isinstance(raw, dict) and "points" in raw:
            curves.append((key, _curve(t, key, dict(t.raw.pop(key)))))
        elif isinstance(raw, dict):
            own = dict(raw)
            unit = own.pop("u", None)
            if unit not in _UNITS:
                raise t.fail(f"{key}.u", f"is {unit!r}; allowed: {', '.join(_UNITS)}")
            t.raw[key] = own
            numbers.append((key, t.number(key, (unit, *_UNITS[unit]))))
        else:
            raise t.fail(key, f"must be a number with a unit, a curve or a text, not {raw!r}")
    t.done()
    return Section(name, enabled, tuple(numbers), tuple(curves), tuple(texts))


def over(child: Section, parent: Section | None) -> Section:
    """What `child` says, and the rest of `parent`."""
    if parent is None:
        return child
    return Section(
        child.name,
        parent.enabled if child.enabled is None else child.enabled,
        tuple((dict(parent.numbers) | dict(child.numbers)).items()),
        tuple((dict(parent.curves) | dict(child.curves)).items()),
        tuple((dict(parent.texts) | dict(child.texts)).items()),
    )


def _curve(t: Table, key: str, raw: dict[str, Any]) -> Curve:
    points, x, y = raw.pop("points"), raw.pop("x", None), raw.pop("y", None)
    meta = {k: raw.pop(k, t.defaults.get(k)) for k in META}
    if raw:
        raise t.fail(key, f"has unknown keys: {', '.join(raw)}; allowed: points, x, y, {', '.join(META)}")
    for end, value in (("x", x), ("y", y)):
        if not isinstance(value, str) or not value:
            raise t.fail(f"{key}.{end}", "must say what it is and in which unit")
    if not isinstance(points, list) or len(points) < 2:
        raise t.fail(f"{key}.points", "must be two or more points [x, y]")
    read: list[tuple[float, float]] = []
    for i, point in enumerate(points):
        if not isinstance(point, list) or len(point) != 2:
            raise t.fail(f"{key}.points.{i}", f"must be [x, y], not {point!r}")
        at, value = (t.finite(f"{key}.points.{i}", p) for p in point)
        read.append((at, value))
    conf, src, clause, note = t.evidence(key, meta)
    return Curve(tuple(read), str(x), str(y), clause, src, conf, note)
