"""Which element is closest to operating, and how that is said: for the screen, `quadrant status` and the event log."""

from __future__ import annotations

from collections.abc import Iterable

from firmware.protection.types import ElementStatus


def rank(timer_s: float, delay_s: float, margin: float, threshold: float) -> tuple[int, float]:
    """To sort by, closest first: elements whose delay runs, by the share of it that is over; then the smallest margin,
    as a share of the threshold so that volts and hertz compare."""
    if timer_s > 0.0 and delay_s > 0.0:
        return 0, -timer_s / delay_s
    return 1, margin / (abs(threshold) or 1.0)


def nearness(status: ElementStatus) -> tuple[int, float]:
    """`rank` of a status."""
    return rank(status.timer_s, status.delay_s, status.margin, status.threshold)


def sentence(status: ElementStatus) -> str:
    """'UF1 47.5 Hz: margin 2.48 Hz, timer 0.0 of 0.1 s, VDE-AR-N 4105:2018-11, ...'; the timer first when it runs."""
    digits = 2 if status.unit == "Hz" else 3
    margin = f"{round(status.margin, digits) + 0.0:.{digits}f} {status.unit}"
    timer = f"timer {status.timer_s:.{1 if status.delay_s < 100.0 else 0}f} of {status.delay_s:.3g} s"
    first, second = (timer, f"margin {margin}") if status.timer_s > 0.0 else (f"margin {margin}", timer)
    return f"{status.element} {status.threshold:.4g} {status.unit}: {first}, {second}, {status.clause}"


def closest(statuses: Iterable[ElementStatus]) -> ElementStatus | None:
    """None when nothing can be measured."""
    return min(statuses, key=nearness, default=None)
