"""Local time of the charger, for charging schedules with useLocalTime (OCPP 2.1): the same hour in summer and winter.

The zone is the back end's variable ClockCtrlr.TimeZone, a name of the IANA time zone database as this system has it.
What OCPP leaves open is decided as RFC 5545 (section 3.3.5) decides it for calendars: a time that a change to summer
time leaves out is read with the offset of before, so it comes an hour later by the clock; one that comes twice is the
first of the two.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAY_S = 86_400.0


@lru_cache(maxsize=8)
def zone_of(name: str) -> ZoneInfo:
    """Raises ValueError when this system knows no such zone."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; a name that is a path; a directory of zones
        raise ValueError(f"must be a time zone such as Europe/Berlin that is known here, not {name[:40]!r}") from None


def unqualified(text: str) -> datetime:
    """The local time that a date-time names, whatever offset it has. Raises ValueError; `text` as times.parse."""
    return datetime.fromisoformat(text.upper()).replace(tzinfo=None)


def moment(local: datetime, zone: ZoneInfo) -> float:
    """Seconds since the epoch of a local time."""
    return local.replace(tzinfo=zone).timestamp()


def recurred(local: datetime, zone: ZoneInfo, days: int, wall_s: float) -> tuple[float, float]:
    """(begin of the recurrence that wall_s lies in, begin of the next), s since the epoch: every `days` days at the
    same local time. wall_s: not before the first, which begins at `local`."""
    number = max(int((wall_s - moment(local, zone)) // (days * DAY_S)) - 1, 0)

    def begin(n: int) -> float:
        return moment(local + timedelta(days=days * n), zone)

    while begin(number + 1) <= wall_s:
        number += 1
    return begin(number), begin(number + 1)


def offset(zone: ZoneInfo, wall_s: float) -> str:
    """The offset from UTC at a moment, as '+02:00'."""
    return datetime.fromtimestamp(wall_s, zone).isoformat()[-6:]
