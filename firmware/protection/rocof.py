"""Rate of change of frequency (ROCOF), either sign: loss of mains as EREC G98/G99 and the Nordic rules want it.

The rate is the difference of two frequencies at least `ROCOF_WINDOW_S` apart, divided by the time between them, so any
spacing of samples will do. It counts only as far as all windows of the last `ROCOF_CONFIRM_S` agree on it: the value is
the smallest of their rates, and zero where they differ in sign. A phase jump stands in a two-cycle frequency as a pulse
of 40 ms, what goes up comes down, and no pulse shorter than `ROCOF_CONFIRM_S` leaves anything of itself in that value.

The delay that follows is a definite time: it starts when the rate exceeds the threshold, and any sample in which it
does not starts it anew (G59/3-1 and its successors as a relay's maker tells it: comap-control.co.uk, "G59/3-1
updates"; a delay set in measuring cycles is not accepted there). A rate of exactly the threshold is inside.

Without a measurable frequency (frequency_trip.py) the element is blind and begins to measure anew, as after a gap. A
held value (GridSample.held) is no new measurement: it is passed over, and the timer runs on as for any value that is
the newest there is.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from firmware.grid_codes import TripSetting
from firmware.grid_codes.chain import ROCOF_CONFIRM_S, ROCOF_WINDOW_S
from firmware.protection.element import Element, Operation
from firmware.protection.timers import TIME_LSB_S
from firmware.protection.types import Source

_DIGITS: Final = 6  # rounding of the rate, far below any meter: a ramp of exactly the threshold is inside


class RocofTrip(Element):
    __slots__ = ("_direction", "_frequencies", "_rates", "_unsettled")

    def __init__(self, setting: TripSetting, delay_s: float, source: Source) -> None:
        super().__init__(setting, delay_s, source)
        self._frequencies: deque[tuple[float, float]] = deque()  # (t, Hz); the first is a window old, or the oldest
        self._rates: deque[tuple[float, float]] = deque()  # (t, Hz/s); likewise for the confirmation
        self._direction = ""  # "rising" or "falling", of the last rates that were judged
        self._unsettled = False  # the value is that of an earlier sample; the last one is inside all the same

    def feed(self, t: float, f_hz: float, known: bool) -> bool:
        """One sample that is not merely held (known: `measurable` of it). True when the element operates.

        `value` follows with `settle`: while the newest rate is inside, so is the smallest, and nobody asks for it.
        """
        if not known:
            return self.blind(t)
        if not _keep(self._frequencies, t, f_hz, ROCOF_WINDOW_S):
            return self._unfilled(t)
        t0, f0_hz = self._frequencies[0]
        newest = (f_hz - f0_hz) / (t - t0)
        if not _keep(self._rates, t, newest, ROCOF_CONFIRM_S):
            return self._unfilled(t)
        threshold = self.threshold
        if -threshold <= newest <= threshold:  # the smallest of the rates is not above this one
            self._unsettled = True
            self.timer.t_start = None
            return False
        return self._judge(t)

    def settle(self) -> None:
        """Bring `value` up to the last sample."""
        if self._unsettled:
            self._judge(self._rates[-1][0])

    def _judge(self, t: float) -> bool:
        self._unsettled = False
        rates = [rate for _, rate in self._rates]
        rising, falling = min(rates), -max(rates)  # by how much at least
        self._direction = "rising" if rising > falling else "falling"
        return self.judge(t, round(max(rising, falling, 0.0), _DIGITS))

    def _unfilled(self, t: float) -> bool:
        """There is a frequency and not yet a rate."""
        return super().blind(t)

    def blind(self, t: float) -> bool:
        self.forget()
        return super().blind(t)

    def reset(self) -> None:
        self.forget()
        super().reset()

    def forget(self) -> None:
        """What was measured belongs to another time: a rate across the hole would be made up."""
        self.settle()
        self._frequencies.clear()
        self._rates.clear()

    def operation(self) -> Operation:
        return super().operation()._replace(phase=self._direction)


def _keep(values: deque[tuple[float, float]], t: float, value: float, window_s: float) -> bool:
    """Append, and drop what is not needed to reach `window_s` back. True when it reaches that far."""
    values.append((t, value))
    begin = t - window_s + TIME_LSB_S
    while len(values) > 1 and values[1][0] <= begin:
        values.popleft()
    return values[0][0] <= begin
