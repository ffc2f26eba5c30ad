"""The V-t and the f-t plane of a grid code: where it trips, where it must ride through, where it ceases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.patches import Patch

from firmware.grid_codes import (
    ClearingMax,
    DelayMinAndDisconnectMax,
    GridCode,
    Quantity,
    RelaySetting,
    RideThroughMode,
    RideThroughRow,
    Side,
    TripSetting,
)
from firmware.grid_codes import words as w

T_MIN_S, T_MAX_S = 0.01, 10_000.0
COLOURS = {
    RideThroughMode.CONTINUOUS: ("#c8e6c9", "continuous operation"),
    RideThroughMode.MANDATORY: ("#e6f2b8", "mandatory operation"),
    RideThroughMode.PERMISSIVE: ("#fff3c4", "permissive operation"),
    RideThroughMode.RESTRICTED: ("#d7ccc8", "restricted"),
    RideThroughMode.MOMENTARY_CESSATION: ("#bbdefb", "momentary cessation"),
    RideThroughMode.CEASE: ("#cfd8dc", "cease to energize"),
}
TRIP = "#c62828"


def draw(code: GridCode, path: Path) -> None:
    """Write the picture; its format follows the suffix (.png, .svg). OSError when it cannot be written."""
    figure, axes = plt.subplots(1, 2, figsize=(14, 6.5), constrained_layout=True)
    nominal = code.nominal_f_hz
    _plane(axes[0], code, (Quantity.VOLTAGE, Quantity.VOLTAGE_10MIN), (0.0, 1.4), "voltage, pu of nominal")
    spread = [t.threshold.value for t in code.trips if t.quantity is Quantity.FREQUENCY]
    low, high = min([*spread, nominal - 2.0]) - 0.7, max([*spread, nominal + 2.0]) + 0.7
    _plane(axes[1], code, (Quantity.FREQUENCY,), (low, high), "frequency, Hz")
    modes = {r.mode for r in code.ride_through}
    patches = [Patch(color=colour, label=name) for mode, (colour, name) in COLOURS.items() if mode in modes]
    if not all(r.verified for r in code.ride_through):
        patches.append(Patch(facecolor="#dddddd", edgecolor="white", hatch="//", label="only remembered, not applied"))
    patches.append(Patch(color=TRIP, alpha=0.35, label="trip (by the end of its time)"))
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
    rates = [f"{t.id} {t.threshold.value:g} Hz/s {w.time(t)}" for t in code.trips if t.quantity is Quantity.ROCOF]
    lines = [code.title, *([f"not shown: {', '.join(rates)}"] if rates else []), code.caution]
    figure.suptitle("\n".join(line for line in lines if line), fontsize=11)
    # Without a date in it the same profile gives the same file.
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
    try:
        figure.savefig(path, dpi=110, metadata=metadata)
    finally:
        plt.close(figure)


def _plane(axis: Any, code: GridCode, quantities: tuple[Quantity, ...], ends: tuple[float, float], name: str) -> None:
    axis.set_xscale("log")
    axis.set_xlim(T_MIN_S, T_MAX_S)
    axis.set_ylim(*ends)
    axis.set_xlabel("time since the beginning, s")
    axis.set_ylabel(name)
    axis.grid(True, which="major", color="#eeeeee")
    for row in code.ride_through:
        if row.quantity in quantities:
            _row(axis, row, ends)
    for trip in code.trips:
        if trip.quantity in quantities:
            _trip(axis, trip, ends)


def _row(axis: Any, row: RideThroughRow, ends: tuple[float, float]) -> None:
    """From the beginning to the least time of operation; to the end where the row asks for no time."""
    lo, hi = max(row.lo.value, ends[0]), min(row.hi.value, ends[1])
    if lo >= hi:
        return
    at_lo, at_hi = row.min_time_at(lo), row.min_time_at(hi)
    until = (T_MAX_S if at_lo is None else at_lo, T_MAX_S if at_hi is None else at_hi)
    style = {"hatch": "//", "edgecolor": "white"} if not row.verified else {}
    axis.fill_betweenx((lo, hi), T_MIN_S, until, facecolor=COLOURS[row.mode][0], linewidth=0.0, zorder=1, **style)


def _times(trip: TripSetting) -> tuple[float, float]:
    """(first moment at which it may operate, moment by which it has)."""
    match trip.time:
        case RelaySetting(delay):
            return delay.value, delay.value
        case ClearingMax(limit):
            return limit.value, limit.value
        case DelayMinAndDisconnectMax(first, last):
            return (T_MIN_S if first is None else first.value), last.value


def _trip(axis: Any, trip: TripSetting, ends: tuple[float, float]) -> None:
    limit, (first, last) = trip.threshold.value, _times(trip)
    outer = ends[1] if trip.side is Side.OVER else ends[0]
    mean = trip.quantity is Quantity.VOLTAGE_10MIN
    style = "--" if trip.verified else ":"
    if mean:  # it runs on the mean, not on the voltage: a line, no region
        axis.axhline(limit, color=TRIP, linestyle="-.", linewidth=1.0, zorder=4)
        axis.text(T_MAX_S, limit, f" {trip.id} ", color=TRIP, ha="right", va="bottom", fontsize=8, zorder=5)
        return
    if first < last and isinstance(trip.time, DelayMinAndDisconnectMax) and trip.time.delay_min is not None:
        axis.fill_betweenx((limit, outer), first, last, color=TRIP, alpha=0.12, linewidth=0.0, zorder=2)
    axis.fill_betweenx((limit, outer), last, T_MAX_S, color=TRIP, alpha=0.25, linewidth=0.0, zorder=2)
    axis.plot((last, last, T_MAX_S), (outer, limit, limit), color=TRIP, linestyle=style, linewidth=1.2, zorder=4)
    text = f"{trip.id}  {limit:.4g} {trip.threshold.unit}, {w.time(trip)}" + ("" if trip.verified else "  (unverified)")
    over, late = trip.side is Side.OVER, last > 60.0
    axis.annotate(
        text, (last, limit), (-4 if late else 4, 3 if over else -3), textcoords="offset points", color="#7f0000",
        fontsize=8, ha="right" if late else "left", va="bottom" if over else "top", zorder=5,
    )  # fmt: skip
