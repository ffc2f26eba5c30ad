"""What may be commanded over MQTT, and what follows from it. Pure: the time is given.

A mode or a set-point is a wish with a lease: it ends by itself, and the mode goes back to `auto`, unless it is said
again. The minimum state of charge is no wish but a bound on everybody's discharge, and stays until it is changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

AUTO, HOLD, SET_POINT, CHARGE, DISCHARGE = MODES = ("auto", "hold", "set-point", "charge", "discharge")
NAMES = ("mode", "set_point", "min_soc")
MAX_PAYLOAD = 64  # bytes
HYSTERESIS_PCT = 2.0  # policy value: a car at its reserve is not asked for a little energy again and again


class CommandRefused(Exception):
    """A command that is not obeyed. One sentence."""


@dataclass(frozen=True, slots=True)
class Ask:
    """power_w: + charges; None: nothing is asked for any more."""

    power_w: float | None
    reason: str = ""


class Wishes:
    """What was commanded. Attributes are what the state document shows."""

    def __init__(self, charge_w: float, discharge_w: float, min_soc_pct: float = 0.0) -> None:
        """charge_w, discharge_w: ratings (W, magnitudes)."""
        self._charge_w, self._discharge_w = charge_w, discharge_w
        self.mode = AUTO
        self.set_point_w = 0.0
        self.min_soc_pct = min_soc_pct
        self.refusal = ""
        self._below = False  # the reserve is reached, and the hysteresis not yet left

    def obey(self, name: str, payload: bytes, retained: bool) -> Ask | None:
        """Take a command; returns what is to be asked for, None when nothing about power changes.

        Raises CommandRefused and changes nothing (but `refusal`) when it cannot be obeyed.
        """
        try:
            asked = self._obey(name, payload, retained)
        except CommandRefused as refusal:
            self.refusal = str(refusal)
            raise
        self.refusal = ""
        return asked

    def _obey(self, name: str, payload: bytes, retained: bool) -> Ask | None:
        if retained:
            raise CommandRefused(f"{name}: a retained command is not obeyed, as nobody knows how old it is.")
        if len(payload) > MAX_PAYLOAD:
            raise CommandRefused(f"{name}: the command has {len(payload)} bytes; at most {MAX_PAYLOAD} are allowed.")
        text = payload.decode("utf-8", "replace").strip()
        match name:
            case "mode":
                return self._take_mode(text)
            case "set_point":
                self.set_point_w = _number(name, text, -self._discharge_w, self._charge_w, "W")
                return self._take_mode(SET_POINT)
            case "min_soc":
                self.min_soc_pct = _number(name, text, 0.0, 100.0, "%")
                return None
        raise CommandRefused(f"there is no command {name[:40]!r}; commands: {', '.join(NAMES)}.")

    def _take_mode(self, mode: str) -> Ask:
        powers = {AUTO: None, HOLD: 0.0, SET_POINT: self.set_point_w, CHARGE: self._charge_w,
                  DISCHARGE: -self._discharge_w}  # fmt: skip
        if mode not in powers:
            raise CommandRefused(f"mode = {mode[:40]!r} is not known; allowed: {', '.join(MODES)}.")
        self.mode = mode
        return Ask(powers[mode], f"mode {mode}")

    def not_taken(self, sentence: str) -> None:
        """What was asked for was refused by the charger."""
        self.mode, self.refusal = AUTO, sentence

    def ended(self) -> None:
        """The lease is over, or somebody stopped the charger."""
        self.mode = AUTO

    def reserve(self, soc_pct: float | None) -> str:
        """Why nobody may discharge now, in words; empty when everybody may. An unknown state of charge is not one
        above the reserve."""
        if self.min_soc_pct <= 0.0:
            self._below = False
            return ""
        if soc_pct is None or not math.isfinite(soc_pct):
            return f"the state of charge is unknown and the reserve is {self.min_soc_pct:g} %"
        if soc_pct <= self.min_soc_pct:
            self._below = True
        elif soc_pct >= min(100.0, self.min_soc_pct + HYSTERESIS_PCT):
            self._below = False
        return f"state of charge {soc_pct:.1f} %, reserve {self.min_soc_pct:g} %" if self._below else ""


def _number(name: str, text: str, low: float, high: float, unit: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise CommandRefused(f"{name} = {text[:20]!r} must be a number from {low:g} to {high:g} {unit}.")
    return value + 0.0
