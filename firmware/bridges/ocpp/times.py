"""Date-times of OCPP: RFC 3339 text and seconds since the epoch. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_SHAPE = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})?", re.ASCII)


def parse(text: str) -> float:
    """Seconds since the epoch. Without an offset it is UTC: 1.6 back ends leave it out. Raises ValueError."""
    if not _SHAPE.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no date-time such as 2026-11-20T11:00:00Z")
    moment = datetime.fromisoformat(text.upper())
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def is_date_time(text: str) -> bool:
    """Whether `text` names a moment, with its offset or without."""
    try:
        parse(text)
    except (ValueError, OverflowError):
        return False
    return True


def show(wall_s: float) -> str:
    """UTC with milliseconds and a Z."""
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
