"""Contactors and relays: a coil, a delay, a real position, and the ways they fail.

Bounce: a contact that closes may part again a few times before it stays. Not modelled: arc voltage, and the two poles
of a pair apart from one another (a welded pair keeps the circuit closed; one welded pole alone would leave it open).
"""

from __future__ import annotations

import random

DELAY_RANGE_S = (0.015, 0.030)  # power contactors of this size (AC grid contactor, HV DC contactor with economiser)
NOMINAL_DELAY_S = 0.0225  # used when no randomness is given: the middle of that range
RELAY_DELAY_S = 0.008  # small precharge relay
BOUNCES = 3  # times that a bouncing contact parts after it has closed; own choice


class Contactor:
    """One contactor. `closed` is where the contacts really are, which is what a mirror contact shows."""

    def __init__(self, rng: random.Random | None = None, delay_s: float | None = None, bounce_s: float = 0.0) -> None:
        """rng draws every delay from DELAY_RANGE_S; delay_s fixes it; neither: NOMINAL_DELAY_S.

        bounce_s: the contact parts BOUNCES times within so long after its first touch (0: never). With rng the parts
        lie at random in their thirds of it, without they fill the second half of each."""
        self.closed = False
        self._rng = rng
        self._delay_s = delay_s
        self._target = False
        self._due_s = 0.0
        self._bounce_s = bounce_s
        self._apart: list[tuple[float, float]] = []  # from, until: still to come in this bouncing

    def rests(self, coil: bool) -> bool:
        """True when the contact is where `coil` wants it and stays there."""
        return self.closed is self._target is coil and not self._apart

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
            self._apart = []
        if self._apart:
            self._bounce(now, welded)
        elif self.closed != self._target and now >= self._due_s - 1e-9:
            if self._target and not stuck:
                self.closed = True
                self._apart = self._bounces(now)
            elif not self._target and not welded:
                self.closed = False
        return self.closed

    def _bounce(self, now: float, welded: bool) -> None:
        """A contact that welds while it bounces stays closed."""
        while self._apart and now >= self._apart[0][1] - 1e-9:
            del self._apart[0]
        self.closed = welded or not self._apart or now < self._apart[0][0] - 1e-9
        if welded:
            self._apart = []

    def _bounces(self, now: float) -> list[tuple[float, float]]:
        """When the contact that has just touched will be apart."""
        if not self._bounce_s:
            return []
        third_s = self._bounce_s / BOUNCES
        spans = []
        for n in range(BOUNCES):
            first, last = (0.5, 1.0) if self._rng is None else sorted((self._rng.random(), self._rng.random()))
            spans.append((now + (n + first) * third_s, now + (n + last) * third_s))
        return spans
