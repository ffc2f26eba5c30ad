"""What the charger protects and supports the grid by at this moment, as the header of a disturbance record says it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from firmware.grid_codes import GridCode

SIGN = "+ charges the car, - discharges it; Q: + absorbs, - injects"


def software() -> str:
    """The installed version."""
    try:
        return version("quadrant")
    except PackageNotFoundError:
        return "unknown"


def in_force(
    code: GridCode,
    functions: Iterable[tuple[str, str]],
    sources: Mapping[str, str] | None = None,
    controls_hash: str = "",
) -> dict[str, Any]:
    """code: with adjustments and controls. functions: support functions with their clauses. sources: number or
    function -> the control that set it; controls_hash: over the controls. What has no known number is None."""
    return {
        "software": f"quadrant {software()}",
        "sign": SIGN,
        "grid_code": code.name,
        "grid_code_title": code.title,
        "nominal_v": code.nominal_v,
        "nominal_hz": code.nominal_f_hz,
        "settings": {
            key: {"value": x.value if math.isfinite(x.value) else None, "unit": x.unit, "clause": x.clause}
            for key, x in code.numbers()
        },
        "functions": [{"name": name, "clause": clause} for name, clause in functions],
        "controls": {"hash": controls_hash, "sources": dict(sources or {})},
    }
