"""Plans over time: what the charger tells a car of the hours to come, and what the car makes of it. Pure; needs nothing
of the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from firmware.bridges.secc.messages import LAST_EPOCH_S, MAX_ENTRIES, Entry, Part

# A day: ISO 15118-2, V2G2-304. After its last part a plan goes on as that says; a car that comes to its end asks again.
SPAN_S = 86_400
_FAR = 1e9  # as messages.Magnitude
T = TypeVar("T", int, float)
Number = Callable[[object], float | None]


def whole(plan: Sequence[Part], most: int, charge_w: float, discharge_w: float) -> list[tuple[int, float, float]]:
    """(start in whole s, W charging, W discharging), the first from 0 on, at most `most` of them, all before SPAN_S.

    Without a plan the ratings charge_w and discharge_w hold; they also bound it. What does not fit is told as the least
    of what it would have been: a car may be given more than it was promised, never less.
    """
    parts = [(int(p.start_s), min(p.charge_w, charge_w), min(p.discharge_w, discharge_w)) for p in plan]
    parts = [part for part in parts if part[0] < SPAN_S]
    if not parts or parts[0][0] > 0:
        parts.insert(0, (0, charge_w, discharge_w))
    # A second is the finest that can be told: a part holds from its beginning on, and of several the least of each.
    merged: list[tuple[int, float, float]] = []
    for start_s, up_w, down_w in parts:
        if merged and start_s <= merged[-1][0]:
            last = merged.pop()
            up_w, down_w, start_s = min(last[1], up_w), min(last[2], down_w), last[0]
        merged.append((start_s, up_w, down_w))
    return fitted(merged, max(most, 1))


def fitted(parts: Sequence[tuple[T, float, float]], most: int) -> list[tuple[T, float, float]]:
    """At most `most` parts (start, W charging, W discharging); the last one is the least of those it stands for."""
    if len(parts) <= most:
        return list(parts)
    rest = parts[most - 1 :]
    found = list(parts[: most - 1])
    found.append((rest[0][0], min(part[1] for part in rest), min(part[2] for part in rest)))
    return found


def durations(parts: Sequence[tuple[int, float, float]]) -> list[int]:
    """How long each part holds (s); together SPAN_S."""
    ends = [start_s for start_s, _, _ in parts[1:]] + [SPAN_S]
    return [end - start_s for (start_s, _, _), end in zip(parts, ends, strict=True)]


def within(profile: Sequence[tuple[float, float]], schedule: Sequence[tuple[float, float]]) -> bool:
    """Whether a car's profile of (start s, W) never exceeds a schedule of (start s, W): V2G2-225. Both hold from each
    start to the next, their last to the end; before its first start a profile says nothing.

    The package's own check compares a profile's last entry with every entry of the schedule, also with those that are
    over when it begins: a car that takes more later, as it was told it may, would be ended.
    """
    starts = sorted({start for start, _ in profile} | {start for start, _ in schedule})
    return all(_at(profile, t, -math.inf) <= _at(schedule, t, math.inf) for t in starts)


def _at(steps: Sequence[tuple[float, float]], t: float, before: float) -> float:
    return next((value for start, value in reversed(steps) if start <= t), before)


def profile_of(body: Mapping[str, Any], now: float, number: Number) -> dict[str, Any]:
    """What a PowerDeliveryReq of ISO 15118-2 or -20 says of the car's plan, as fields of CarState; a request without a
    plan, or with one that cannot be read, tells none. number: reads the protocol's numbers."""
    told: dict[str, Any] = {"profile": (), "profile_t": 0.0, "profile_s": None}
    told |= {"anchor_s": None, "schedule_id": None, "tolerance": None}
    chosen = body.get("SAScheduleTupleID")
    entries: list[tuple[float, float]] | None = None
    if isinstance(old := body.get("ChargingProfile"), Mapping):
        entries = _entries_2(old.get("ProfileEntry"), number)
    elif isinstance(new := body.get("EVPowerProfile"), Mapping):
        scheduled = new.get("Scheduled_EVPPTControlMode")
        if isinstance(scheduled, Mapping):
            chosen = scheduled.get("SelectedScheduleTupleID")
            accepted = scheduled.get("PowerToleranceAcceptance")
            told["tolerance"] = None if accepted is None else accepted == "PowerToleranceConfirmed"
        listed = new.get("EVPowerProfileEntries")
        entries, end_s = _entries_20(listed.get("EVPowerProfileEntry") if isinstance(listed, Mapping) else None, number)
        told["profile_s"] = end_s if entries else None
        anchor = number(new.get("TimeAnchor"))
        told["anchor_s"] = anchor if anchor is not None and 0.0 <= anchor <= LAST_EPOCH_S else None
    if isinstance(chosen, int) and not isinstance(chosen, bool):
        told["schedule_id"] = chosen
    if entries:
        told["profile"] = tuple(Entry(start_s, power_w) for start_s, power_w in entries[:MAX_ENTRIES])
        told["profile_t"] = now
    return told


def _entries_2(listed: object, number: Number) -> list[tuple[float, float]] | None:
    found: list[tuple[float, float]] = []
    for entry in listed if isinstance(listed, list) else ():
        if not isinstance(entry, Mapping):
            return None
        start_s = number(entry.get("ChargingProfileEntryStart"))
        power_w = number(entry.get("ChargingProfileEntryMaxPower"))
        if start_s is None or power_w is None or not _tellable(start_s, power_w):
            return None
        if found and start_s <= found[-1][0]:
            return None
        found.append((start_s, power_w))
    return found


def _entries_20(listed: object, number: Number) -> tuple[list[tuple[float, float]] | None, float]:
    """The entries, None when one cannot be read; and when the last one ends (s)."""
    found: list[tuple[float, float]] = []
    start_s = 0.0
    for entry in listed if isinstance(listed, list) else ():
        if not isinstance(entry, Mapping):
            return None, 0.0
        duration_s, power_w = number(entry.get("Duration")), number(entry.get("Power"))
        if duration_s is None or power_w is None or duration_s < 0.0 or not _tellable(start_s, power_w):
            return None, 0.0
        found.append((start_s, power_w))
        start_s += duration_s
    return found, min(start_s, _FAR)


def _tellable(start_s: float, power_w: float) -> bool:
    return 0.0 <= start_s <= _FAR and abs(power_w) <= _FAR
