"""Over- and under-frequency: OF1, OF2, UF1, UF2.

A frequency needs a voltage to be measured on. Below `BLOCK_V_PU` on all phases, or when the source itself says that it
could not measure (nan), the sample says nothing: it does not reset a running timer (that would count as inside), and
its time is not added to it (that would count as outside, and a dead bus that free-runs at 47 Hz would be believed).
The voltage elements judge the same sample all the same, so a frequency that is missing never hides a voltage that is.
One sample alone trips nothing: a converter that is heard 20 times a second measures over the beginning of a fault too,
and what it then tells once (62.5 Hz, half a voltage) would count for the 50 ms until it is heard again.

A source that goes on without a frequency at a healthy voltage counts as lost (sense.py): protection is not blind in
silence.
"""

from __future__ import annotations

import math
from typing import Final

from firmware.grid_codes import TripSetting
from firmware.protection.element import Element
from firmware.protection.timers import ConfirmedTimer
from firmware.protection.types import Source

# Policy value: frequency is not believed below a fifth of nominal voltage; there the under-voltage elements decide.
BLOCK_V_PU: Final = 0.2


def measurable(f_hz: float, hi: float) -> bool:
    """Is f_hz to be believed in a sample whose highest phase is `hi` pu?"""
    return hi >= BLOCK_V_PU and math.isfinite(f_hz)


class FrequencyTrip(Element):
    __slots__ = ()

    def __init__(self, setting: TripSetting, delay_s: float, source: Source) -> None:
        super().__init__(setting, delay_s, source)
        self.timer = ConfirmedTimer(delay_s)

    def feed(self, t: float, f_hz: float, known: bool) -> bool:
        """One sample (known: `measurable` of it). True when the element operates."""
        return self.judge(t, f_hz) if known else self.blind(t)
