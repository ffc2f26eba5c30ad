"""Absolute deadlines and real-time privileges for guard's process.

An asyncio timer is 1 ms late by design and a thread that computes costs 5 ms per wake-up, so guard has neither: one
thread, clock_nanosleep on absolute deadlines, SCHED_FIFO, locked memory and a frozen garbage collector where the
machine permits. What it does not permit is said, never hidden.
"""

from __future__ import annotations

import ctypes
import gc
import math
import os
import time

_CLOCK_MONOTONIC = 1
_TIMER_ABSTIME = 1
_MCL_CURRENT_FUTURE = 3
_PR_SET_TIMERSLACK = 29
_EINTR = 4


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


_libc = ctypes.CDLL(None, use_errno=True)
_nanosleep = _libc.clock_nanosleep
_nanosleep.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Timespec), ctypes.c_void_p)


def sleep_until(deadline_s: float) -> None:
    """Sleep to an absolute CLOCK_MONOTONIC time (s); a signal in between ends the sleep early only to handle it."""
    whole = math.floor(deadline_s)
    spec = _Timespec(whole, min(999_999_999, int((deadline_s - whole) * 1e9)))
    while _nanosleep(_CLOCK_MONOTONIC, _TIMER_ABSTIME, ctypes.byref(spec), None) == _EINTR:
        pass


class Deadline:
    """A periodic absolute deadline. Missed periods are skipped and counted, never caught up."""

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self.missed = 0  # whole periods skipped since start
        self._next = time.monotonic() + period_s

    def wait(self) -> float:
        """Sleep to the next deadline; returns the lateness in seconds (0.0002 = woke 200 us after it)."""
        now = time.monotonic()
        if now < self._next:
            sleep_until(self._next)
            now = time.monotonic()
        late = now - self._next
        skipped = int(late / self.period_s)
        self.missed += skipped
        self._next += (skipped + 1) * self.period_s
        return late


def become_realtime(priority: int) -> tuple[str, ...]:
    """Ask for SCHED_FIFO at `priority`, locked memory, 1 ns timer slack; freeze the garbage collector.

    Returns a sentence for each thing that the machine refused; empty when all was granted.
    """
    refused = []
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        refused.append(f"SCHED_FIFO priority {priority} refused ({error.strerror})")
    if _libc.mlockall(_MCL_CURRENT_FUTURE) != 0:
        refused.append(f"mlockall refused ({os.strerror(ctypes.get_errno())})")
    _libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    gc.collect()
    gc.freeze()
    gc.disable()
    return tuple(refused)


class Lateness:
    """Percentiles of lateness over a sliding window, without allocation in the loop."""

    def __init__(self, size: int) -> None:
        self._ring = [0.0] * size
        self._count = 0
        self.max_s = 0.0

    def add(self, late_s: float) -> None:
        self._ring[self._count % len(self._ring)] = late_s
        self._count += 1
        if late_s > self.max_s:
            self.max_s = late_s

    def percentile(self, q: float) -> float:
        """The q-quantile (0..1) of the window in seconds; 0.0 before the first sample."""
        seen = sorted(self._ring[: min(self._count, len(self._ring))])
        return seen[min(len(seen) - 1, int(q * len(seen)))] if seen else 0.0
