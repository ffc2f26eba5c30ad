"""Anti-islanding: what guard's protection uses. Active and passive detection in one element, ISLAND.

It judges the pilot MCU's samples only: the converter is polled 20 times a second, too seldom for slots of 0.2 s. The
verdict is a trip like any other; enter service afterwards is the grid code's. IEEE 1547-2018 8.1.1 and IEC 62116 want
the island left within 2 s. Method, numbers and blind spots: docs/anti-islanding.md.
"""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Sequence

from firmware.protection.islanding_active import PROBE_TAN_PHI, ROW, ActiveDetector
from firmware.protection.islanding_passive import HOLD_S, RATE_HZ_S, PassiveDetector
from firmware.protection.types import ElementStatus, GridSample, Source, Transfer, Trip

ID = "ISLAND"
CLAUSE = "IEEE 1547-2018 8.1.1; IEC 62116 (within 2 s); method and thresholds: own choice"
PASSIVE_ONLY = f"anti-islanding passive only, the converter does not carry out the probe; {CLAUSE}"
NOT_CARRIED_S = 3.0  # longer than a slot and any pause of the pattern. Policy value


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
        self.passive_only = False  # the probe is asked for and not carried out: only the rate is watched
        self._t_carried = math.inf  # when the probe was last seen carried out; inf: nothing has been asked
        self._told = math.nan  # what was told then

    def step(self, now: float, samples: Sequence[GridSample], transfer: Transfer | None) -> Trip | None:
        """The trip, if the grid is gone. transfer None: the charger transfers nothing, so it can hold up no island."""
        # A value that is merely held is no measurement: a staircase of them would look like a frequency that runs away.
        running_away = self._passive is not None and self._passive.step(now, [s for s in samples if not s.held])
        answered = self._active is not None and self._active.step(now, samples, transfer)
        self.probe_tan_phi = self._active.tan_phi if self._active else 0.0
        self._watch_probe(now, transfer)
        if self._active and answered:
            value, threshold, unit = self._active.gain_hz, self._active.threshold_hz, "Hz"
            t_start = self._active.t_row
            what = (
                f"the frequency followed the charger's reactive power by {value:.1f} Hz per unit, "
                f"{self._active.row} times in a row"
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

    def _watch_probe(self, now: float, transfer: Transfer | None) -> None:
        """Does the converter carry the probe out? Its confirmed reactive power must move as the pattern does."""
        if transfer is None or not self.probe_tan_phi:
            self._t_carried = math.inf
            self.passive_only = False
            return
        if self._t_carried == math.inf or abs(transfer.tan_phi - self._told) >= PROBE_TAN_PHI:
            self._t_carried, self._told = now, transfer.tan_phi
        self.passive_only = now - self._t_carried > NOT_CARRIED_S

    def rest(self) -> None:
        """Out of service: no probe, nothing remembered."""
        self._t_carried = math.inf
        self.passive_only = False
        if self._active:
            self._active.rest()
        if self._passive:
            self._passive.reset()
        self.probe_tan_phi = 0.0

    def elements(self) -> tuple[ElementStatus, ...]:
        """ISLAND: gain of the frequency on reactive power, Hz per unit of tan phi (its timer counts slots in a row, of
        ROW). ISLAND_RATE: the rate of change that trips; its clause tells the phase jump and the change of voltage of
        the last second, which only an island or a fault makes and which trip nothing."""
        found: list[ElementStatus] = []
        if self._active:
            gain, limit = self._active.gain_hz, self._active.threshold_hz
            row = float(self._active.row)
            clause = PASSIVE_ONLY if self.passive_only else CLAUSE
            found.append(ElementStatus(ID, Source.PILOT, gain, limit, "Hz", limit - gain, row, float(ROW), clause))
        if self._passive:
            passive = self._passive
            rate = abs(passive.rate_hz_s) if passive.rate_hz_s == passive.rate_hz_s else 0.0
            clause = (
                f"{CLAUSE}; last second: phase jump {passive.jump_deg:.0f} degrees, voltage change "
                f"{passive.v_change_pu:.2f} pu (ridden through, IEEE 1547-2018 6.5.2.6; neither trips here)"
            )
            margin, held_s = RATE_HZ_S - rate, passive.held_s
            found.append(
                ElementStatus(f"{ID}_RATE", Source.PILOT, rate, RATE_HZ_S, "Hz/s", margin, held_s, HOLD_S, clause)
            )
        return tuple(found)
