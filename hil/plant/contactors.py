"""Contactors and relays: a coil, a delay, a real position, and the ways they fail.

Not modelled: contact bounce, arc voltage, and the two poles of a pair apart from one another (a welded pair keeps the
circuit closed; one welded pole alone would leave it open).
"""

from __future__ import annotations

import random

DELAY_RANGE_S = (0.015, 0.030)  # power contactors of this size (AC grid contactor, HV DC contactor with economiser)
NOMINAL_DELAY_S = 0.0225  # used when no randomness is given: the middle of that range
RELAY_DELAY_S = 0.008  # small precharge relay


class Contactor:
    """One contactor. `closed` is where the contacts really are, which is what a mirror contact shows."""

    def __init__(self, rng: random.Random | None = None, delay_s: float | None = None) -> None:
        """rng draws every delay from DELAY_RANGE_S; delay_s fixes it; neither: NOMINAL_DELAY_S."""
        self.closed = False
        self._rng = rng
        self._delay_s = delay_s
        self._target = False
        self._due_s = 0.0

    @property
    def target(self) -> bool:
        """Where the coil last sent it."""
        return self._target

    def _delay(self) -> float:
        if self._delay_s is not None:
            return self._delay_s
        return NOMINAL_DELAY_S if self._rng is None else self._rng.uniform(*DELAY_RANGE_S)

    def update(self, now: float, coil: bool, *, welded: bool = False, stuck: bool = False) -> bool:
        """Advance to `now` (s) with the coil as it is; returns the position.

        welded: once closed, it stays closed. stuck: once open, it stays open.
        """
        if coil != self._target:
            self._target = coil
            self._due_s = now + self._delay()
        if self.closed != self._target and now >= self._due_s - 1e-9:
            if self._target and not stuck:
                self.closed = True
            elif not self._target and not welded:
                self.closed = False
        return self.closed
