"""From a grid code's time to the delay used inside, given how long the rest of the charger's chain takes.

Three meanings of "time" are kept apart by their types. The chain runs: abnormal condition begins -> a sample whose
window it fills -> the sample is reported -> **internal delay** -> the tick that notices -> converter off -> contactor
open. The two switching times are added although both orders leave in the same tick: the delay is then still right when
the contactor waits for the current to fall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from firmware.grid_codes.model import (
    ClearingMax,
    DelayMinAndDisconnectMax,
    GridCodeError,
    Quantity,
    RelaySetting,
    RideThroughRow,
    Setting,
    TripSetting,
)

# A frequency element must not operate on a phase jump: a jump of 20 degrees looks like 51.8 Hz for about 20 ms to a
# PLL, and stays in a two-cycle measurement for 40 ms. Policy value: two cycles and half a cycle to spare.
MIN_FREQUENCY_DELAY_S = 0.050

# What a ROCOF element measures over (firmware/protection/rocof.py). Policy values, no profile's trip names any:
# IEEE 1547 is remembered to average over 0.1 s or more, relays for G99 measure over 3 cycles and more. A rate counts
# once it has stood in every window of the last two and a half cycles: a phase jump stands in a two-cycle frequency for
# two.
ROCOF_WINDOW_S = 0.100
ROCOF_CONFIRM_S = 0.050

# A sample's own time may be ahead by as much (channel.MAX_AHEAD_S), so a delay counted on those times may end as much
# too early. Where a code says "not before", the delay is longer by it, or by half of what the board has to spare.
EARLY_S = 0.050


@dataclass(frozen=True, slots=True)
class Chain:
    """The reaction chain of a board, in seconds, each the worst case. Any of them outside 0..10 s: GridCodeError.

    frequency_window_s: frequency takes longer to measure than voltage; two cycles of 50 Hz unless told otherwise.
    """

    measure_window_s: float
    report_period_s: float
    tick_s: float
    converter_off_s: float
    contactor_open_s: float
    frequency_window_s: float = 0.040

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and 0.0 <= value <= 10.0):
                raise GridCodeError(f"chain.{field.name} is {value}; allowed: 0..10 s")

    def window_s(self, quantity: Quantity) -> float:
        """From a quantity's leaving its limit to the first measurement that shows it, at worst."""
        match quantity:
            case Quantity.FREQUENCY:
                return self.frequency_window_s
            case Quantity.ROCOF:
                return self.frequency_window_s + ROCOF_WINDOW_S + ROCOF_CONFIRM_S
            case Quantity.VOLTAGE | Quantity.VOLTAGE_10MIN:
                return self.measure_window_s

    def until_ceased_s(self, quantity: Quantity) -> float:
        """Begin of the condition to converter off, without any intentional delay and without the contactor."""
        return self.window_s(quantity) + self.report_period_s + self.tick_s + self.converter_off_s

    def until_open_s(self, quantity: Quantity) -> float:
        """Begin of the condition to contactor open, without any intentional delay."""
        return self.until_ceased_s(quantity) + self.contactor_open_s


def internal_delay(trip: TripSetting, chain: Chain) -> float:
    """The delay (s) between the first sample outside and the operation of `trip` on a board with `chain`.

    ClearingMax: what the chain leaves of the limit. RelaySetting: the setting as it stands. DelayMinAndDisconnectMax:
    the chain may take no time at all (then the charger is off right after the delay, which must be after the minimum)
    or all of its worst case (then it must still be off by the maximum): the minimum and up to EARLY_S, or what the
    chain leaves of the maximum where the code gives no minimum. Raises GridCodeError when the board is too slow.
    """
    open_s = chain.until_open_s(trip.quantity)
    match trip.time:
        case RelaySetting(setting):
            delay = setting.value
        case ClearingMax(limit):
            delay = limit.value - open_s
            if delay < 0.0:
                raise GridCodeError(
                    f"trip.{trip.id}: this board takes {open_s:g} s to measure, report and open; "
                    f"the code allows {limit.value:g} s in all"
                )
        case DelayMinAndDisconnectMax(None, disconnect_max):
            delay = disconnect_max.value - open_s
            if delay < 0.0:
                raise GridCodeError(
                    f"trip.{trip.id}: this board takes {open_s:g} s to measure, report and open; "
                    f"the code wants it disconnected by {disconnect_max.value:g} s"
                )
        case DelayMinAndDisconnectMax(Setting() as delay_min, disconnect_max):
            spare = disconnect_max.value - open_s - delay_min.value
            if spare < 0.0:
                raise GridCodeError(
                    f"trip.{trip.id}: waiting {delay_min.value:g} s and {open_s:g} s of this board's chain end after "
                    f"the {disconnect_max.value:g} s by which the code wants it disconnected"
                )
            delay = delay_min.value + min(EARLY_S, spare / 2.0)
    if trip.quantity is Quantity.FREQUENCY and delay < MIN_FREQUENCY_DELAY_S:
        raise GridCodeError(
            f"trip.{trip.id}: {delay:g} s are left to wait on this board; below {MIN_FREQUENCY_DELAY_S:g} s a phase "
            "jump would trip it as if it were a change of frequency"
        )
    return delay


def check_response(row: RideThroughRow, chain: Chain) -> None:
    """GridCodeError when this board cannot cease as fast as a ceasing ride-through row demands."""
    if row.mode.ceases and row.max_response_s is not None:
        takes = chain.until_ceased_s(row.quantity)
        if takes > row.max_response_s.value:
            raise GridCodeError(
                f"ride_through {row.quantity.value} {row.lo.value:g}..{row.hi.value:g}: this board ceases after "
                f"{takes:g} s; the code allows {row.max_response_s.value:g} s"
            )
