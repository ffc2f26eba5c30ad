"""What the charging profiles plan for the open transaction: power over time. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from firmware.bridges.ocpp.profiles import Profile
from firmware.bridges.ocpp.stack import Situation, schedule
from firmware.bridges.ocpp.v2x import Sense, decide

BACK_S = 6 * 3600.0  # policy value: so much of the past is told, at most from the transaction's beginning
AHEAD_S = 12 * 3600.0  # policy value: a night
# Modes whose power nobody knows before: what an external system asks for, and what the site draws.
FOLLOW = frozenset({"ExternalSetpoint", "ExternalLimits", "LocalLoadBalancing"})


def planned(profiles: Iterable[Profile], s: Situation, charge_w: float, discharge_w: float) -> list[dict[str, Any]]:
    """Periods without gaps, in order: {from_s, to_s, mode, power_w, low_w, high_w}; from the first in which a profile
    says anything to the last. Empty without a transaction. charge_w, discharge_w: ratings (magnitudes).

    Times are wall time (s since the epoch). Powers are + = charging; power_w is None where no profile gives one or the
    mode follows a measurement; with the frequency modes it is the power of the nominal frequency (the baseline). low_w
    and high_w are what all profiles leave. The past is told as the profiles are now, not as they were.
    """
    if s.tx is None:
        return []
    start_s = max(s.wall_s - BACK_S, s.wall_s if s.tx_start_s is None else min(s.tx_start_s, s.wall_s))
    parts, told_s = schedule(profiles, replace(s, wall_s=start_s), s.wall_s + AHEAD_S - start_s)
    quiet = Sense(charge_w, discharge_w)
    found: list[dict[str, Any]] = []
    ends = [at_s for at_s, _ in parts[1:]] + [told_s]
    for (at_s, part), end_s in zip(parts, ends, strict=True):
        decision = decide(part, quiet)
        low_w, high_w = part.all.discharge_limit_w, part.all.limit_w
        found.append(
            {
                "from_s": start_s + at_s,
                "to_s": start_s + end_s,
                "mode": part.mode if part.lead is not None else "",
                "power_w": None if decision.mode in FOLLOW else decision.power_w,
                "low_w": -discharge_w if low_w is None else max(low_w, -discharge_w),
                "high_w": charge_w if high_w is None else max(min(high_w, charge_w), -discharge_w),
            }
        )
    said = [i for i, p in enumerate(found) if p["mode"] or (p["low_w"], p["high_w"]) != (-discharge_w, charge_w)]
    return found[said[0] : said[-1] + 1] if said else []
