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
TOLD_S = 24 * 3600.0  # of a plan that a car is told: ISO 15118-2, V2G2-304
TOLD_PARTS = 96  # policy value: a day by the quarter of an hour
# Modes whose power is known before, so that a car can be told it.
KNOWN = frozenset({"Idle", "ChargingOnly", "CentralSetpoint"})
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


def for_the_car(
    profiles: Iterable[Profile], s: Situation, charge_w: float, discharge_w: float
) -> tuple[tuple[float, float, float], ...]:
    """What a car is told of the day to come: (wall time, W charging, W discharging), from each on at most. Empty where
    no profile says anything. Where the power is known before, only its direction is open; a mode that follows what is
    measured or asked for then leaves what the limits leave. charge_w, discharge_w: ratings (magnitudes)."""
    parts, _ = schedule(profiles, s, TOLD_S, TOLD_PARTS)
    quiet = Sense(charge_w, discharge_w)
    found: list[tuple[float, float, float]] = []
    for at_s, part in parts:
        decision = decide(part, quiet)
        if part.lead is not None and decision.mode in KNOWN and decision.power_w is not None:
            up_w, down_w = max(decision.power_w, 0.0), max(-decision.power_w, 0.0)
        else:
            low_w, high_w = part.all.discharge_limit_w, part.all.limit_w
            up_w = charge_w if high_w is None else max(min(high_w, charge_w), 0.0)
            down_w = discharge_w if low_w is None else min(-low_w, discharge_w)
        if not found or found[-1][1:] != (up_w, down_w):
            found.append((s.wall_s + at_s, up_w, down_w))
    return () if all(part[1:] == (charge_w, discharge_w) for part in found) else tuple(found)
