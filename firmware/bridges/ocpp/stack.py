"""Which profile leads at a moment, and what all of them together permit. Pure.

Of one purpose the valid profile with the highest stack level leads; where it has no period, the next lower one. On the
level of the transaction PriorityCharging (while it is switched on) stands over TxProfile and that over
TxDefaultProfile; the one that leads gives the operation mode. ChargingStationMaxProfile and
ChargingStationExternalConstraints only bound: the tightest limit wins, in each direction. LocalGeneration is added to
the transaction's limit before it is bounded, so it never widens what the station or an external actor permits (how they
combine was not to be read anywhere; own choice, the cautious one).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from firmware.bridges.ocpp.profiles import Period, Profile

MAX_PERIODS = 1024  # OCPP 2.1: chargingSchedulePeriod
MAX_STEPS = 2048  # policy value: of a schedule; so the answer takes a fraction of a second whatever is stacked
BOUNDS = ("ChargingStationMaxProfile", "ChargingStationExternalConstraints")
TX = ("TxProfile", "TxDefaultProfile")


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides which profiles count. tx, tx_start_s: the open transaction. offline_s: how long the back end has
    been away, None while it is there. volts: at the outlet, for profiles in A. soc_pct: None while it is not known.
    zone: of schedules in local time, None while it is not known. ignored_offline: purposes whose profiles do not hold
    while the back end is away."""

    wall_s: float
    tx: str | None
    tx_start_s: float | None
    offline_s: float | None
    priority: bool
    volts: float
    soc_pct: float | None
    zone: ZoneInfo | None = None
    ignored_offline: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Limits:
    """W, + = charging; None: free. limit_by, discharge_by: ids of the profiles that they come from."""

    limit_w: float | None
    limit_by: int | None
    discharge_limit_w: float | None
    discharge_by: int | None


@dataclass(frozen=True, slots=True)
class Composite:
    """What holds at a moment. lead, period: the transaction's profile and its period; None: there is none.

    all: the tightest of all profiles. station: of the station's purposes alone, which bind whoever asks for power.
    until_s: wall time until which nothing changes by the profiles alone.
    """

    lead: Profile | None
    period: Period | None
    all: Limits
    station: Limits
    until_s: float
    volts: float

    @property
    def mode(self) -> str:
        return "ChargingOnly" if self.period is None else self.period.mode

    @property
    def sleep(self) -> bool:
        """Idle, and the power electronics are to be off."""
        return self.period is not None and self.period.sleep and self.mode == "Idle"

    def watts(self, number: float | None) -> float | None:
        """A number of the leading period in W."""
        if number is None or self.lead is None:
            return None
        return number * (self.volts if self.lead.unit == "A" else 1.0)


def leading(profiles: Iterable[Profile], purpose: str, s: Situation) -> tuple[Profile | None, Period | None, float]:
    """(profile, its period, until when that is so). (None, None, until) when none of the purpose holds."""
    until_s = math.inf
    if s.offline_s is not None and purpose in s.ignored_offline:
        return None, None, until_s
    for profile in sorted(profiles, key=lambda p: (-p.stack, -p.set_no)):
        if profile.purpose != purpose or not profile.holds_offline(s.offline_s):
            continue
        if profile.tx is not None and profile.tx != s.tx:
            continue
        period, end_s = profile.at(s.wall_s, s.tx_start_s, s.zone)
        until_s = min(until_s, end_s)
        if period is not None:
            return profile, period, until_s
    return None, None, until_s


def compose(profiles: Iterable[Profile], s: Situation) -> Composite:
    """What all profiles together say at a moment."""
    known = list(profiles)
    lead: Profile | None = None
    period: Period | None = None
    until_s = math.inf
    for purpose in (("PriorityCharging",) if s.priority else ()) + TX:
        lead, period, end_s = leading(known, purpose, s)
        until_s = min(until_s, end_s)
        if lead is not None:
            break
    limits: list[tuple[float, int]] = []
    discharges: list[tuple[float, int]] = []

    def take(profile: Profile, part: Period, extra_w: float = 0.0) -> None:
        factor = s.volts if profile.unit == "A" else 1.0
        if part.limit is not None:
            limits.append((part.limit * factor + extra_w, profile.id))
        if profile.soc_limit is not None and s.soc_pct is not None and s.soc_pct >= profile.soc_limit[0]:
            limits.append((profile.soc_limit[1] * factor, profile.id))
        if part.discharge_limit is not None:
            discharges.append((part.discharge_limit * factor, profile.id))

    for purpose in BOUNDS:
        bound, part, end_s = leading(known, purpose, s)
        until_s = min(until_s, end_s)
        if bound is not None and part is not None:
            take(bound, part)
    station = _tightest(limits, discharges)
    if lead is not None and period is not None:
        sun, part, end_s = leading(known, "LocalGeneration", s)
        until_s = min(until_s, end_s)
        extra_w = 0.0
        if sun is not None and part is not None and part.limit is not None:
            extra_w = part.limit * (s.volts if sun.unit == "A" else 1.0)
        take(lead, period, extra_w)
    return Composite(lead, period, _tightest(limits, discharges), station, until_s, s.volts)


def _tightest(limits: list[tuple[float, int]], discharges: list[tuple[float, int]]) -> Limits:
    none = (None, None)
    return Limits(*min(limits, default=none), *max(discharges, default=none))


def schedule(
    profiles: Iterable[Profile], s: Situation, duration_s: float, until: int = MAX_PERIODS
) -> tuple[list[tuple[float, Composite]], float]:
    """The composites of the time from s.wall_s on: (seconds from it, what holds from then on), equal ones joined; and
    for how long (s) that is all: shorter than duration_s where more changes than fits."""
    known = list(profiles)
    found: list[tuple[float, Composite]] = []
    at_s = s.wall_s
    for _ in range(MAX_STEPS):
        if at_s >= s.wall_s + duration_s or len(found) >= until:
            break
        part = compose(known, replace(s, wall_s=at_s))
        if not found or _says(found[-1][1]) != _says(part):
            found.append((at_s - s.wall_s, part))
        at_s = max(part.until_s, math.nextafter(at_s, math.inf))
    return found, min(at_s - s.wall_s, duration_s)


def _says(c: Composite) -> tuple[object, ...]:
    p = c.period
    told = () if p is None else (c.watts(p.setpoint), p.baseline, p.frequency_curve, p.signal_curve, c.sleep)
    return c.mode, c.all.limit_w, c.all.discharge_limit_w, told
