"""A change of the controls on trial: taken back by itself unless somebody confirms it in time.

Whoever changes a grid function over the network may lock himself out, or go home: what he did then ends by itself. The
book as it was before is kept in the same file as the book, so no crash and no power cut comes between the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from firmware.grid_support.controls import Book, ControlRefused

CONFIRM_S = (5.0, 3600.0)  # how long a trial may last; policy value


@dataclass(frozen=True, slots=True)
class Trial:
    """until_s: wall time. wait_s: how long it was to last. before: the book that comes back. told: what is on trial, in
    words. by: whose it is."""

    until_s: float
    wait_s: float
    before: Book
    told: tuple[str, ...]
    by: str

    def over(self, now_s: float) -> bool:
        """A clock that was set back must not make it endless."""
        return now_s >= self.until_s or self.until_s - now_s > self.wait_s + 1.0

    def shown(self, now_s: float) -> dict[str, Any]:
        return {"remaining_s": max(0.0, self.until_s - now_s), "told": list(self.told), "by": self.by}

    def as_dict(self) -> dict[str, Any]:
        return {
            "until_s": self.until_s, "wait_s": self.wait_s, "before": self.before.as_dict(), "told": list(self.told),
            "by": self.by,
        }  # fmt: skip


def begin(now_s: float, confirm_s: float, before: Book, told: tuple[str, ...], by: str) -> Trial:
    """Raises ControlRefused when it would be too short or too long."""
    if not CONFIRM_S[0] <= confirm_s <= CONFIRM_S[1]:
        raise ControlRefused(f"confirm_s is {confirm_s:g}; allowed: {CONFIRM_S[0]:g} to {CONFIRM_S[1]:g} s")
    return Trial(now_s + confirm_s, confirm_s, before, told, by)


def from_dict(raw: Mapping[str, Any]) -> Trial:
    """As `as_dict` wrote it. Raises ControlRefused."""
    try:
        return Trial(
            float(raw["until_s"]), float(raw["wait_s"]), Book.from_dict(raw["before"]),
            tuple(str(t) for t in raw["told"]), str(raw["by"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise ControlRefused(f"the change on trial cannot be understood ({error})") from None
