"""Anti-islanding: what guard's protection uses. Active and passive detection in one element, ISLAND.

It judges the pilot MCU's samples only: the converter is polled 20 times a second, too seldom for slots of 0.2 s. The
verdict is a trip like any other; enter service afterwards is the grid code's. IEEE 1547-2018 8.1.1 and IEC 62116 want
the island left within 2 s. Method, numbers and blind spots: docs/anti-islanding.md.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Sequence

from firmware.protection.islanding_active import ROW, ActiveDetector
from firmware.protection.islanding_passive import HOLD_S, RATE_HZ_S, PassiveDetector
from firmware.protection.types import ElementStatus, GridSample, Source, Transfer, Trip

ID = "ISLAND"
CLAUSE = "IEEE 1547-2018 8.1.1; IEC 62116 (within 2 s); method and thresholds: own choice"


class Mode(enum.Enum):
    """ACTIVE probes and judges the answer, and watches the rate; PASSIVE only watches the rate."""

    ACTIVE = "active"
    PASSIVE = "passive"
    OFF = "off"


class Islanding:
    """One charger's anti-islanding. `probe_tan_phi`: reactive power to add, share of the active power's magnitude."""

    def __init__(self, mode: Mode, nominal_hz: float, rng: random.Random) -> None:
        self._active = ActiveDetector(nominal_hz, rng) if mode is Mode.ACTIVE else None
        self._passive = PassiveDetector() if mode is not Mode.OFF else None
        self.probe_tan_phi = 0.0

    def step(self, now: float, samples: Sequence[GridSample], transfer: Transfer | None) -> Trip | None:
        """The trip, if the grid is gone. transfer None: the charger transfers nothing, so it can hold up no island."""
        running_away = self._passive is not None and self._passive.step(now, samples)
        answered = self._active is not None and self._active.step(now, samples, transfer)
        self.probe_tan_phi = self._active.tan_phi if self._active else 0.0
        if self._active and answered:
            value, threshold, unit = self._active.gain_hz, self._active.threshold_hz, "Hz"
            t_start = self._active.t_row
            what = (
                f"the frequency followed the charger's reactive power by {value:.1f} Hz per unit, {ROW} times in a row"
            )
        elif self._passive and running_away and transfer is not None:
            value, threshold, unit = self._passive.rate_hz_s, RATE_HZ_S, "Hz/s"
            t_start = self._passive.since
            what = f"the frequency ran away with {value:+.1f} Hz/s for {HOLD_S:g} s"
        else:
            return None
        self.rest()
        return Trip(
            element=ID,
            source=Source.PILOT,
            phase="",
            value=value,
            threshold=threshold,
            unit=unit,
            delay_s=0.0,
            t_start=t_start,
            t=now,
            clause=CLAUSE,
            text=f"Tripped by ISLAND: {what} (limit {threshold:g}); the grid is gone.",
        )

    def rest(self) -> None:
        """Out of service: no probe, nothing remembered."""
        if self._active:
            self._active.rest()
        if self._passive:
            self._passive.reset()
        self.probe_tan_phi = 0.0

    def elements(self) -> tuple[ElementStatus, ...]:
        """Gain of the frequency on reactive power, Hz per unit of tan phi. Its timer counts gains in a row, of ROW."""
        if not self._active:
            return ()
        gain, limit = self._active.gain_hz, self._active.threshold_hz
        row = float(self._active.row)
        return (ElementStatus(ID, Source.PILOT, gain, limit, "Hz", limit - gain, row, float(ROW), CLAUSE),)
