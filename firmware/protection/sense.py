"""Two measurements of the grid: either trips (1oo2). This module watches the measurements themselves.

Age limits, thresholds and times here are policy values; no grid code sets them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from firmware.protection.element import PHASES
from firmware.protection.timers import PickupTimer
from firmware.protection.types import GridSample, Source, Trip

# A sample older than this is no measurement any more. The pilot MCU reports every few ms and is what the fast elements
# rest on; the converter is polled over a slow CAN bus.
MAX_AGE_S: Final = {Source.PILOT: 0.1, Source.CONVERTER: 0.5}
# How much later a source's sample may arrive than the board's chain says (which is the pilot MCU's): the converter is
# polled 20 times a second.
LATE_S: Final = {Source.PILOT: 0.0, Source.CONVERTER: 0.05}
DISAGREE_V_PU: Final = 0.05  # any phase
DISAGREE_F_HZ: Final = 0.2
DISAGREE_S: Final = 1.0  # and as long to agree again
# What two doubles may be apart without anybody having measured it: 1.05 is within 0.05 of 1.0.
_NOISE: Final = 1e-9


class Agreement:
    """Do the two sources say the same? Compared whenever the slower one (the converter) has a new sample."""

    __slots__ = ("_apart", "_together", "detail", "differs", "disagree")

    def __init__(self) -> None:
        self._apart = PickupTimer(DISAGREE_S)
        self._together = PickupTimer(DISAGREE_S)
        self.differs: bool  # in the last comparison
        self.disagree: bool  # for DISAGREE_S, until they agreed for as long
        self.detail = ""
        self.reset()

    def compare(self, pilot: GridSample, converter: GridSample) -> None:
        """Both samples are fresh; time is the converter's."""
        t = converter.t
        self.differs = differs = self._differ(pilot, converter)
        if differs:
            self._together.inside()
            if self._apart.outside(t):
                self.disagree = True
        else:
            self._apart.inside()
            if self.disagree and self._together.outside(t):
                self.disagree = False

    def _differ(self, pilot: GridSample, converter: GridSample) -> bool:
        (a1, a2, a3), (b1, b2, b3) = pilot.v_pu, converter.v_pu
        most = DISAGREE_V_PU + _NOISE
        alike = abs(a1 - b1) <= most and abs(a2 - b2) <= most and abs(a3 - b3) <= most
        for k, phase in enumerate(() if alike else PHASES):
            a, b = pilot.v_pu[k], converter.v_pu[k]
            if abs(a - b) > most:
                self.detail = f"{phase}: {a:.3f} pu by the pilot MCU, {b:.3f} pu by the converter"
                return True
        # A frequency that one of them lacks (nan) cannot differ; its lack is judged by the channel.
        if abs(pilot.f_hz - converter.f_hz) > DISAGREE_F_HZ + _NOISE:
            self.detail = f"{pilot.f_hz:.3f} Hz by the pilot MCU, {converter.f_hz:.3f} Hz by the converter"
            return True
        return False

    def reset(self) -> None:
        """There are no two sources to compare."""
        self._apart.inside()
        self._together.inside()
        self.differs = self.disagree = False


def blind(now: float, age_s: float, sources: Sequence[Source]) -> Trip:
    """The trip at `now` when none of `sources` measures; age_s: of the pilot MCU's last usable sample."""
    limit_s = MAX_AGE_S[Source.PILOT]
    who = " and ".join(source.value for source in sources)
    return Trip(
        element="SENSE",
        source=None,
        phase="",
        value=age_s,
        threshold=limit_s,
        unit="s",
        delay_s=limit_s,
        t_start=now - age_s,
        t=now,
        clause="own rule: no power without a measurement of the grid",
        text=f"Tripped by SENSE: no usable measurement of the grid by {who} for {age_s:.2f} s.",
    )
