"""Plan against actual: what the back end's charging profiles plan, beside what the energy registers say came of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
Register = tuple[float, float, float]  # wall time (s since the epoch), charged_wh, discharged_wh


def against_actual(plan: Sequence[Json], registers: Sequence[Register], now_s: float) -> Json:
    """{plan, actual, planned_wh, actual_wh}, since the plan's beginning. Powers and energies: + = charging.

    plan: periods of firmware/bridges/ocpp/planned.py. registers: in order of time, the newest as of now. actual: mean
    power between two rows, DC side, {from_s, to_s, power_w}. planned_wh: up to now, of the periods whose power is
    planned; actual_wh: in those periods alone, so that the two may be compared; both None when there is none.
    """
    actual = [
        {"from_s": a[0], "to_s": b[0], "power_w": 3600.0 * (_net_wh(b) - _net_wh(a)) / (b[0] - a[0])}
        for a, b in itertools.pairwise(registers)
        if b[0] > a[0]
    ]
    planned_wh = actual_wh = 0.0
    compared = False
    for period in plan:
        begin_s, end_s = period["from_s"], min(period["to_s"], now_s)
        if period["power_w"] is None or end_s <= begin_s:
            continue
        compared = True
        planned_wh += period["power_w"] * (end_s - begin_s) / 3600.0
        for mean in actual:
            common_s = min(end_s, mean["to_s"]) - max(begin_s, mean["from_s"])
            actual_wh += mean["power_w"] * max(common_s, 0.0) / 3600.0
    since_s = plan[0]["from_s"] if plan else now_s
    return {
        "plan": list(plan),
        "actual": [mean for mean in actual if mean["to_s"] > since_s],
        "planned_wh": planned_wh if compared else None,
        "actual_wh": actual_wh if compared else None,
    }


def _net_wh(register: Register) -> float:
    return register[1] - register[2]
