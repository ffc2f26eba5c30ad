"""Over- and under-voltage: OV1, OV2, UV1, UV2.

The quantity is the worst of the three phase-to-neutral RMS voltages, so any phase alone trips. All phases share one
timer: a fault that wanders from phase to phase is one abnormal condition, not three short ones.

One sample may trip: a value that is the newest there is goes on counting. With the pilot MCU's, every few milliseconds,
none does alone. The converter is polled every 50 ms, and where a code wants the voltage cleared within 0.16 s there is
no time for a second one (window 0.01 s, two polls 0.1 s, step 0.01 s, off and open 0.05 s); every longer stage of every
profile waits for at least two.
"""

from __future__ import annotations

from firmware.protection.element import Element


class VoltageTrip(Element):
    __slots__ = ()

    def feed(self, t: float, v_pu: tuple[float, float, float], lo: float, hi: float) -> bool:
        """One sample (lo, hi: its lowest and highest phase). True when the element operates."""
        self.phases = v_pu
        return self.judge(t, hi if self.over else lo)
