"""Over- and under-voltage: OV1, OV2, UV1, UV2.

The quantity is the worst of the three phase-to-neutral RMS voltages, so any phase alone trips. All phases share one
timer: a fault that wanders from phase to phase is one abnormal condition, not three short ones.
"""

from __future__ import annotations

from firmware.protection.element import Element


class VoltageTrip(Element):
    __slots__ = ()

    def feed(self, t: float, v_pu: tuple[float, float, float], lo: float, hi: float) -> bool:
        """One sample (lo, hi: its lowest and highest phase). True when the element operates."""
        self.phases = v_pu
        return self.judge(t, hi if self.over else lo)
