"""Do the numbers of a grid code fit together? Asked after loading and after every adjustment."""

from __future__ import annotations

import itertools

from firmware.grid_codes.model import (
    DelayMinAndDisconnectMax,
    GridCode,
    GridCodeError,
    Quantity,
    RideThroughMode,
    Setting,
    Side,
)


def check(code: GridCode) -> None:
    """Do the numbers fit together? Raises GridCodeError with the first that does not."""
    es = code.enter_service
    for low, high in ((es.v_min, es.v_max), (es.f_min, es.f_max)):
        if not (low.known and high.known):
            continue  # such a code does not run (GridCode.missing)
        nominal = 1.0 if low.unit == "pu" else code.nominal_f_hz
        if not low.value < nominal < high.value:
            raise GridCodeError(
                f"{code.name}: the enter_service window {low.value:g}..{high.value:g} {low.unit} does not hold "
                f"the nominal value {nominal:g} {low.unit}"
            )
    if (es.short_interruption_max_s is None) is not (es.short_interruption_delay_s is None):
        raise GridCodeError(
            f"{code.name}: enter_service needs short_interruption_max_s and short_interruption_delay_s, or neither"
        )
    if not code.trips:
        raise GridCodeError(f"{code.name}: there is no trip")
    for trip in code.trips:
        match trip.time:
            case DelayMinAndDisconnectMax(Setting() as first, last) if not first.value < last.value:
                raise GridCodeError(
                    f"{code.name}: trip.{trip.id} must not operate before {first.value:g} s and must be off by "
                    f"{last.value:g} s"
                )
        if trip.quantity is Quantity.ROCOF:
            if trip.side is Side.UNDER:
                raise GridCodeError(
                    f"{code.name}: trip.{trip.id} is an under-trip; a rate of change trips when it is over"
                )
            continue  # a rate has no nominal value; either sign counts
        nominal = code.nominal_f_hz if trip.quantity is Quantity.FREQUENCY else 1.0
        inside = trip.threshold.value > nominal if trip.side is Side.OVER else trip.threshold.value < nominal
        if not inside:
            raise GridCodeError(
                f"{code.name}: trip.{trip.id}.threshold is {trip.threshold.value:g} {trip.threshold.unit}; an "
                f"{trip.side.value}-trip must lie {trip.side.value} the nominal value {nominal:g}"
            )
        if trip.quantity is Quantity.VOLTAGE_10MIN and code.mean_10min is None:
            raise GridCodeError(f"{code.name}: trip.{trip.id} needs the section mean_10min")
    mean = code.mean_10min
    if mean is not None and mean.window_s.value % mean.interval_s.value != 0.0:
        raise GridCodeError(
            f"{code.name}: mean_10min.window_s is {mean.window_s.value:g} s; it must be a whole number of intervals "
            f"of {mean.interval_s.value:g} s"
        )
    for quantity in (Quantity.VOLTAGE, Quantity.FREQUENCY):
        rows = sorted((r for r in code.ride_through if r.quantity is quantity), key=lambda r: r.lo.value)
        for a, b in itertools.pairwise(rows):
            if a.hi.value != b.lo.value:
                raise GridCodeError(
                    f"{code.name}: ride_through {quantity.value} has a gap or an overlap at "
                    f"{a.hi.value:g}..{b.lo.value:g}"
                )
        if rows and sum(r.mode is RideThroughMode.CONTINUOUS for r in rows) != 1:
            raise GridCodeError(f"{code.name}: ride_through {quantity.value} must have one continuous_operation row")
