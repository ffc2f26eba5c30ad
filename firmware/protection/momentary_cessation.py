"""Momentary cessation: no power while the voltage is in a ceasing row, contactors stay closed, power returns by itself.

It begins with the first sample in such a row (the response must follow within 0.083 s under IEEE 1547, checked against
the board's chain when protection is built). Power is permitted again once the samples have been out of the ceasing
rows for `hold_s`, so that a voltage hovering at the boundary does not switch the converter every half cycle. The hold
is a policy value of at most 0.1 s and at most a quarter of the code's restore time, the rest is left to the converter.
"""

from __future__ import annotations

from firmware.grid_codes import GridCode
from firmware.protection.sense import LATE_S
from firmware.protection.timers import HoldFlag
from firmware.protection.types import Source

MAX_HOLD_S = 0.1  # policy value
RESTORE_SHARE = 0.25  # policy value


def hold_s(code: GridCode) -> float:
    """How long the grid must be back before power returns, and before an excursion counts as over (s)."""
    if code.momentary_cessation is None:
        return MAX_HOLD_S
    return min(MAX_HOLD_S, RESTORE_SHARE * code.momentary_cessation.restore_max_s.value)


class Cessation(HoldFlag):
    """`on` while power must cease."""

    __slots__ = ()

    def __init__(self, code: GridCode, source: Source) -> None:
        """A source whose samples come later has seen the return later, and waits less by that much."""
        super().__init__(hold_s(code) - LATE_S[source])
