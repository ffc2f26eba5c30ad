"""One finding of `quadrant doctor`."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(enum.StrEnum):
    OK = "ok"
    WARN = "warn"  # works, but not as well as it should
    FAIL = "fail"  # the charger cannot work like this


@dataclass(frozen=True, slots=True)
class Line:
    """One finding. `remedy` is empty exactly when there is nothing to do."""

    check: str
    verdict: Verdict
    text: str
    remedy: str = ""


def ok(check: str, text: str) -> Line:
    return Line(check, Verdict.OK, text)


def warn(check: str, text: str, remedy: str) -> Line:
    return Line(check, Verdict.WARN, text, remedy)


def fail(check: str, text: str, remedy: str) -> Line:
    return Line(check, Verdict.FAIL, text, remedy)
