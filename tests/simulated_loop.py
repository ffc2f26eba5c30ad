"""An asyncio loop in simulated time, for tests whose sockets both have their ends in this process.

Nothing waits: when no socket is ready and no thread works, the clock goes on to the next timer at once. So a test says
exactly what happens when, takes no longer than its work, and does the same on a loaded machine. It is for pairs of Unix
sockets and servers on them, where the kernel has delivered what was written before the writer goes on. Pseudo-terminals
deliver a little later: `patience_s` of real time before each step of the clock leaves them time. Other processes, and
threads that nobody awaits, are not seen: they need real time (tests/waiting.py).
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Clock:
    """Seconds, as time.monotonic gives them."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class _Selector(selectors.DefaultSelector):
    """Looks, and waits for threads only, and for its patience."""

    def __init__(self, clock: Clock, patience_s: float) -> None:
        super().__init__()
        self._clock = clock
        self._patience_s = patience_s
        self.threads = 0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.threads or timeout is None:  # no timer at all: then only a thread can go on with it
            return super().select(60.0)
        if self._patience_s and (ready := super().select(self._patience_s)):
            return ready
        self._clock.now += timeout
        return []


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Clock, patience_s: float) -> None:
        self._simulated = clock
        self._looking = _Selector(clock, patience_s)
        super().__init__(self._looking)
        self._clock_resolution = 1e-9  # a timer is never found a little early, again and again

    def time(self) -> float:
        return self._simulated.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """What is done in a thread takes no time of this loop."""
        future = super().run_in_executor(executor, func, *args)
        self._looking.threads += 1

        def done(_: object) -> None:
            self._looking.threads -= 1

        future.add_done_callback(done)
        return future


def run(clock: Clock, main: Coroutine[Any, Any, T], patience_s: float = 0.0) -> T:
    """As asyncio.run, in simulated time; `clock` shows it inside and goes on from where it stands."""
    with asyncio.Runner(loop_factory=lambda: _Loop(clock, patience_s)) as runner:
        return runner.run(main)
