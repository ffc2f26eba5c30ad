"""Waiting for a condition of real sockets, processes and threads: with a limit that only a hang misses.

A test asks for the condition itself and goes on at once when it holds, so the limit costs nothing. It is no claim about
speed: what must be quick is measured by `make bench` and by the tests that run alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

LIMIT_S = 60.0  # of a machine that has something else to do
PERIOD_S = 0.01


async def until(condition: Callable[[], Any], what: str = "", within_s: float = LIMIT_S) -> Any:
    """The condition's first true value; AssertionError with `what` when it does not come within the time."""
    end = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < end, f"{what or condition}: not within {within_s:g} s"
        await asyncio.sleep(PERIOD_S)
    return found


def wait(condition: Callable[[], Any], what: str = "", within_s: float = LIMIT_S, every_s: float = PERIOD_S) -> Any:
    """As `until`, outside of a loop."""
    end = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < end, f"{what or condition}: not within {within_s:g} s"
        time.sleep(every_s)
    return found
