"""Anti-islanding, active part: does the frequency follow our reactive power?

A stiff grid keeps its frequency whatever one charger does. On an island a change of tan(phi) = Q/|P| by d moves the
frequency by about f0*d/(2*Qf) (resonant load of quality factor Qf; IEEE 1547.1 and IEC 62116 test with 1.0, some
utilities with 2.5): 0.9 Hz at 50 Hz for Qf 2.5 between the two power factors 0.999. So the charger's reactive power
alternates between -PROBE_TAN_PHI and +PROBE_TAN_PHI in slots of random length, and the verdict is the gain

    g = (change of frequency) / (change of tan phi)                                                   [Hz per unit]

of several slots in a row, every one of them of the same sign and of similar size. Over- and under-frequency play no
part in it. The frequency of a slot is the median of its last samples, after command, module, island and two-cycle
window have settled: a phase jump or a fault stays in such a window for 40 ms, which a median of 85 ms does not see. A
slot is compared with the straight line between its two neighbours: a steady rate of change of any size cancels.

Several chargers on one island would dilute each other with independent patterns. So a charger whose next change is
still to come takes part in a step of the frequency that it has not made itself (`_follow`): it changes over at once
when that pushes the same way, else it waits with the others. That is positive frequency feedback in bang-bang form;
its amplitude is bounded by PROBE_TAN_PHI, so on a grid it can do nothing but shift when a slot ends. Which way is "the
same way" is not taken from the sign convention of a power-factor register, which nobody has verified, but from what
the frequency did after changes that the charger made by itself; until something answered, + (absorbing) counts as
raising the frequency, as it does on a resonant load. Changes that follow the frequency prove nothing about who
leads: a verdict needs OWN_CHANGES that were made by the clock.

All numbers here are policy values, chosen with `python -m hil.islanding` (docs/anti-islanding.md).
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from firmware.protection.types import GridSample, Transfer

PROBE_TAN_PHI = math.tan(math.acos(0.999))  # 0.0447: the smallest step of a power factor in thousandths
SLOT_S = (0.190, 0.235)
SETTLE_S = 0.100  # of a slot: command 20..50 ms, island about 30 ms, two-cycle frequency
WINDOW_S = 0.085  # median at the end of a slot
MIN_WINDOW_SAMPLES = 8  # of 17: samples may be lost
MIN_POWER_PU = 0.02  # below it a share of the active power is nothing that an island would feel
GAIN_SHARE = 0.45  # of the gain that an island of QF_MAX shows
QF_MAX = 2.5
SPREAD = 4.0  # largest over smallest gain in a row
ROW = 3  # gains in a row
OWN_CHANGES = 3  # the last so many
BLIND_ROW = 2  # from here on nothing is followed, so that the verdict rests on a pattern that the grid had no part in
MIN_STEP_TAN = PROBE_TAN_PHI  # half of what the pattern asks for: less was not carried out, and says nothing
FAULT_PU = 0.25  # lowest to highest voltage of any phase within a slot: unbalance, and a fault or its end
MIN_V_PU = 0.5
STEADY_SLOT_S = (0.190, 0.210)  # while a verdict ripens: several chargers keep together
FOLLOW_HZ = 0.12
FOLLOW_S = 0.10  # a foreign step is the change of the frequency within this
FOLLOW_WINDOW_S = 0.085  # medians at both ends: a phase jump does not reach them
MIN_SLOT_S = 0.185  # the own response must have come before a foreign one can be told from it
MAX_SLOT_S = 0.650
CALM_HZ = 0.06  # before the own change, else the answer may be somebody else's
CONTRARY = 1  # answers the wrong way round until the direction is turned
RESTLESS = 5  # slots of a moving frequency without a verdict, until the direction is turned
MAX_FOLLOWED = 2  # changes in a row; then one by the clock, from which the direction is learnt
UNANSWERED_S = (0.0, 0.300)  # longer, while nothing answers: two chargers in opposition come apart
KEEP_S = 0.5  # of samples


class Slot(NamedTuple):
    """One stretch of constant reactive power. own: it began by the clock, not by following the frequency."""

    t: float
    f_hz: float
    tan_phi: float
    own: bool


class ActiveDetector:
    """One charger's probe. Time comes with `step`. Attributes for the screen: `gain_hz`, `row`."""

    def __init__(self, nominal_hz: float, rng: random.Random) -> None:
        self.threshold_hz = GAIN_SHARE * nominal_hz / (2.0 * QF_MAX)
        self._rng = rng
        self._samples: deque[tuple[float, float]] = deque()
        self._contrary = self._restless = 0
        self._learnt = self._mine = False
        self._direction = 1.0  # of the frequency's answer to more absorbed reactive power
        self.rest()

    def rest(self) -> None:
        """No probe, nothing remembered but the direction."""
        self.tan_phi = 0.0
        self.gain_hz = 0.0  # magnitude of the smallest gain of the row, Hz per unit tan phi
        self.row = 0  # gains in a row that look like an island
        self.t_row = math.inf  # end of the slot before the first of them
        self._t_change = self._t_next = -math.inf
        self._own = False
        self._v_lo, self._v_hi = math.inf, 0.0
        self._followed = 0
        self._slots: deque[Slot] = deque(maxlen=ROW + 2)

    def step(self, now: float, samples: Sequence[GridSample], transfer: Transfer | None) -> bool:
        """True when the grid has answered like an island. Afterwards `tan_phi` is what to ask for."""
        for sample in samples:
            self._v_lo, self._v_hi = min(self._v_lo, min(sample.v_pu)), max(self._v_hi, max(sample.v_pu))
            if sample.f_hz == sample.f_hz:
                self._samples.append((sample.t, sample.f_hz))
        while self._samples and self._samples[0][0] < now - KEEP_S:
            self._samples.popleft()
        if transfer is None or abs(transfer.power_pu) < MIN_POWER_PU:
            if self.tan_phi:
                self.rest()
            return False
        if not self.tan_phi:
            self._change(now, own=True)
            return False
        due = now >= self._t_next
        if not due and not self._follow(now):
            return False
        self._end_slot(now, transfer.tan_phi)
        island = self._judge()
        self._change(now, own=due)
        return island

    def _change(self, now: float, *, own: bool) -> None:
        self.tan_phi = math.copysign(PROBE_TAN_PHI, -self.tan_phi if self.tan_phi else self._rng.random() - 0.5)
        self._own = own
        self._v_lo, self._v_hi = math.inf, 0.0
        self._followed = 0 if own else self._followed + 1
        self._learnt = self._mine = False
        self._t_change = now
        self._t_next = now + self._rng.uniform(*(STEADY_SLOT_S if self.row >= BLIND_ROW else SLOT_S))

    def _between(self, from_s: float, to_s: float) -> list[float]:
        return [f for t, f in self._samples if from_s < t <= to_s]

    def _end_slot(self, now: float, tan_phi: float) -> None:
        fault = self._v_hi - self._v_lo > FAULT_PU or self._v_lo < MIN_V_PU
        window = self._between(max(now - WINDOW_S, self._t_change + SETTLE_S), now)
        if fault or len(window) < MIN_WINDOW_SAMPLES:
            self._slots.clear()  # nothing that was measured connects before and after
            return
        f_hz = median(window)
        restless = bool(self._slots) and (abs(f_hz - self._slots[-1].f_hz) >= FOLLOW_HZ or not self._own)
        self._restless = self._restless + 1 if restless else 0
        if self._restless >= RESTLESS:  # an island, and still no verdict: they work against each other
            self._turn_round()
        self._slots.append(Slot(now, f_hz, tan_phi, self._own))

    def _judge(self) -> bool:
        slots = list(self._slots)
        gains: list[float] = []
        for before, here, after in reversed(list(zip(slots, slots[1:], slots[2:], strict=False))):
            share = (here.t - before.t) / (after.t - before.t)
            step = here.tan_phi - before.tan_phi - share * (after.tan_phi - before.tan_phi)
            if abs(step) < MIN_STEP_TAN:
                break
            gain = (here.f_hz - before.f_hz - share * (after.f_hz - before.f_hz)) / step
            row = [abs(g) for g in (*gains, gain)]
            if min(row) < self.threshold_hz or max(row) > SPREAD * min(row) or (gains and gain * gains[0] < 0.0):
                break
            gains.append(gain)
        self.row = len(gains)
        self.t_row = slots[-self.row - 2].t if gains else math.inf
        self.gain_hz = min((abs(g) for g in gains), default=0.0)
        return self.row >= ROW and all(s.own for s in slots[-OWN_CHANGES:])

    def _follow(self, now: float) -> bool:
        """Change over now, because the frequency has just moved the way that the change pushes? A step that went the
        way of the present state means that others have just changed: the next change waits for them instead."""
        age = now - self._t_change
        if age < MIN_SLOT_S:
            return False
        if not self._learnt:
            self._learn(now)
        if self.row >= BLIND_ROW or self._mine:
            return False
        step_hz = self._direction * self._moved(now - FOLLOW_S, now)
        if abs(step_hz) < FOLLOW_HZ:
            return False
        if step_hz * self.tan_phi < 0.0 and self._followed < MAX_FOLLOWED:
            return True
        if age >= FOLLOW_S + FOLLOW_WINDOW_S + SETTLE_S:  # before, it is the own change that is seen
            self._t_next = max(self._t_next, min(now + SLOT_S[0] - FOLLOW_S, self._t_change + MAX_SLOT_S))
        return False

    def _moved(self, from_s: float, to_s: float) -> float:
        """Change of the frequency between medians that end at these times; 0 without samples there."""
        early = self._between(from_s - FOLLOW_WINDOW_S, from_s)
        late = self._between(to_s - FOLLOW_WINDOW_S, to_s)
        if min(len(late), len(early)) < MIN_WINDOW_SAMPLES // 2:
            return 0.0
        return median(late) - median(early)

    def _learn(self, now: float) -> None:
        """Which way did the frequency go after the own change? Asked once a slot, before others can have followed."""
        self._learnt = True
        moved_hz = self._moved(self._t_change + 0.02, now)
        if abs(moved_hz) < FOLLOW_HZ:
            self._t_next += self._rng.uniform(*UNANSWERED_S)
        elif self._own and abs(self._moved(self._t_change - 0.03, self._t_change + 0.02)) < CALM_HZ:
            self._mine = moved_hz * self.tan_phi * self._direction < 0.0  # the wrong way, and not somebody else
            self._contrary = self._contrary + 1 if self._mine else 0
            if self._contrary >= CONTRARY:
                self._turn_round()

    def _turn_round(self) -> None:
        self._direction = -self._direction
        self._contrary = self._restless = 0
