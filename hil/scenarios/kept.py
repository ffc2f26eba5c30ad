"""What the charger's durable records must hold at the end of a story. Pure functions of a capture."""

from __future__ import annotations

import itertools

from hil.bench.capture import Capture, CaptureError, Event, Kept

Found = tuple[bool, str]
POWER = "dc_w"  # into the car, W
KINDS = ("recorded", "booked")


def recorded(
    capture: Capture,
    code: str,
    detail: str,
    cleared: bool,
    times: tuple[int, int | None],
    span_s: tuple[float, float],
) -> Found:
    """Does the log hold this event so many times (at least, at most), of what happened in the span? Events are looked
    for by their monotonic time, so that a wall clock that jumps changes nothing."""
    hits = [
        e
        for e in _kept(capture)[1].events
        if e.code == code and e.cleared is cleared and detail in e.detail and span_s[0] - 1e-9 <= e.t <= span_s[1]
    ]
    at_least, at_most = times
    good = len(hits) >= at_least and (at_most is None or len(hits) <= at_most)
    return good, f"{len(hits)} x in the records" + ("" if good else f", which hold {_shown(_kept(capture)[1].events)}")


def _shown(events: list[Event]) -> str:
    codes = dict.fromkeys(f"{e.code}{' (over)' if e.cleared else ''}" for e in events if e.code != "state")
    return ", ".join(codes) or "no events"


def booked(capture: Capture, share: float, off_wh: float) -> Found:
    """Do the registers of both directions move by what flowed in the recording, within share of it and off_wh?"""
    before, after = _kept(capture)
    column = capture.column(POWER)
    charged = discharged = 0.0
    for (t0, t1), (p0, p1) in zip(itertools.pairwise(capture.t), itertools.pairwise(column), strict=True):
        wh = 0.5 * (p0 + p1) * (t1 - t0) / 3600.0
        charged, discharged = charged + max(wh, 0.0), discharged - min(wh, 0.0)
    rows = (
        ("charged", charged, after.charged_wh - before.charged_wh),
        ("discharged", discharged, after.discharged_wh - before.discharged_wh),
    )
    good = all(abs(booked_wh - wh) <= share * wh + off_wh for _, wh, booked_wh in rows)
    return good, "; ".join(f"{name} {wh:.2f} Wh, booked {booked_wh:.2f} Wh" for name, wh, booked_wh in rows)


def _kept(capture: Capture) -> tuple[Kept, Kept]:
    if capture.kept is None:
        raise CaptureError("the charger's records were not read")
    return capture.kept
