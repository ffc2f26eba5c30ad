"""Anti-islanding, active part: does the frequency follow our reactive power?

A stiff grid keeps its frequency whatever one charger does. On an island a change of tan(phi) = Q/|P| by d moves the
frequency by about f0*d/(2*Qf) (resonant load of quality factor Qf; IEEE 1547.1 and IEC 62116 test with 1.0, some
utilities with 2.5): 0.9 Hz at 50 Hz for Qf 2.5 between the two power factors 0.999. So the charger's reactive power
is -PROBE_TAN_PHI or +PROBE_TAN_PHI in slots of about 0.2 s, and the verdict is the gain

    g = (change of frequency) / (change of tan phi)                                                   [Hz per unit]

of several slots in a row, every one of them of the same sign and of similar size. Over- and under-frequency play no
part in it, nor does the sign convention of a power-factor register, which nobody has verified. The frequency of a slot
is the median of its last samples, after command, module, island and two-cycle window have settled: a phase jump or a
fault stays in such a window for 40 ms, which a median of 85 ms does not see. A slot is compared with the straight line
between its two neighbours: a steady rate of change of any size cancels. What counts is the whole reactive power that
was told, with what a support function makes of it: an island follows that too, whatever moves it.

Two ways of choosing the slots:

- calm: the sign alternates, slots of random length. Independent patterns of several chargers would dilute each other,
  but on a grid that does not move there is nothing to be found.
- trial: the frequency has moved by EVENT_HZ within EVENT_S. Every charger on the same island sees that at the same
  time, its own doing or not, and all begin the same PATTERN together: what they do then adds up. The pattern has no
  period, so a grid that swings by itself does not keep step with it; and it does not depend on anything that the
  frequency does later, so no disturbance can lead it.
  One thing can move its beginning, once, by 0.13 s: an event below SURE_HZ may have been missed by others, which would
  run the pattern later. If the frequency has come to rest since, and nothing of the own pattern can have come back yet,
  the next event of SURE_HZ begins the trial again. (Without SURE_HZ chargers that are in step would lose it.)

A trial that proves nothing ends in a pause until the frequency is calm: chargers that began at different times come
together at the next event.

All numbers here are policy values, chosen with `python -m hil.islanding` (docs/anti-islanding.md).
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from firmware.protection.recent import Recent
from firmware.protection.types import GridSample, Transfer

PROBE_TAN_PHI = math.tan(math.acos(0.999))  # 0.0447: the smallest step of a power factor in thousandths
CALM_SLOT_S = (0.190, 0.245)
SETTLE_S = 0.100  # of a slot: command 20..50 ms, island about 30 ms, two-cycle frequency
WINDOW_S = 0.085  # median at the end of a slot
MIN_WINDOW_SAMPLES = 8  # of 17: samples may be lost
MIN_EVENT_SAMPLES = 4  # of 8
MIN_POWER_PU = 0.02  # below it a share of the active power is nothing that an island would feel
GAIN_SHARE = 0.45  # of the gain that an island of QF_MAX shows
QF_MAX = 2.5
# Over so many slots, at least so much of the frequency's variance is explained by the reactive power, at a gain of at
# least so much (Hz per unit; 0: the threshold), within a window the frequency moves by no more than so much of the
# answer, and against their neighbours the slots' reactive power moved by so many PROBE_TAN_PHI r.m.s. (less was not
# carried out, and says nothing; 0.999 is 1 but for the rounding of sums). FAST_HZ is what no swing reaches; it is not
# asked how still the frequency is.
FAST_HZ = 12.0  # 3 Hz/s, the most that codes want ridden through, makes 0.6 Hz a slot, 6.7 Hz per unit
VERDICTS = ((3, 0.95, FAST_HZ, math.inf, 0.999), (4, 0.95, 0.0, 0.15, 0.7), (5, 0.85, 0.0, 0.15, 0.7))
ROW, LEAST_SHARE, _, _, LEAST_STEPS = VERDICTS[-1]
EXCUSE = 0.5  # where volt-var moves the reactive power in a window, the frequency may be off by so much of its answer
FAULT_PU = 0.5  # lowest to highest voltage of any phase within a slot: unbalance, and a fault or its end
MIN_V_PU = 0.3
LAG_S = 0.060  # from the converter's reactive power to the frequency that is measured
SMEAR_S = 0.020  # either way: a two-cycle frequency holds 40 ms
EVENT_HZ = 0.05
EVENT_S = 0.080
EVENT_WINDOW_S = 0.040  # means at both ends
SURE_HZ = 2.0 * EVENT_HZ  # an event that every charger has seen: the means differ by 1 mHz or so
OWN_S = 0.030  # after the pattern's first change: what comes back sooner is not its effect
BEGIN_S = 0.095  # from the event to the pattern: an own change that made the event keeps its slot
# Found by trying all patterns of no three equal signs on swings of 0.1 to 4 Hz and up to 3 Hz/s: of those that let an
# own change before the event count, the one that the fewest swings fit.
PATTERN = (1, -1, 1, 1, -1, -1, 1, -1)
TRIAL_SLOT_S = 0.200
APART_S = 0.5  # no straight line joins slots so far apart: what swings would be joined at any place
PAUSE_CALM_S = 0.150
PAUSE_S = 1.0  # at most
KEEP_S = 0.5  # of samples


class Slot(NamedTuple):
    """The window at the end of one stretch: when it ended; median frequency and mean reactive power that was told; how
    both changed from its first half to the second; lowest to highest that was told. Only the probe holds still: a
    support function moves the reactive power all the time, in steps of the converter's register."""

    t: float
    f_hz: float
    tan_phi: float
    df_hz: float
    dtan_phi: float
    spread_tan: float


class ActiveDetector:
    """One charger's probe. Time comes with `step`. Attributes for the screen: `gain_hz`, `row`."""

    def __init__(self, nominal_hz: float, rng: random.Random) -> None:
        self.threshold_hz = GAIN_SHARE * nominal_hz / (2.0 * QF_MAX)
        self._rng = rng
        self._samples = Recent()
        self._told: deque[tuple[float, float]] = deque()
        self.rest()

    def rest(self) -> None:
        """No probe, nothing remembered."""
        self.tan_phi = 0.0
        self.gain_hz = 0.0  # magnitude of the smallest gain of the row, Hz per unit tan phi
        self.row = 0  # gains in a row that look like an island
        self.t_row = math.inf  # end of the slot before the first of them
        self._t_change = self._t_next = math.nan
        self._t_moved = math.nan  # when the frequency moved last
        self._trial = -1  # place in PATTERN, -1 while calm
        self._sure = False  # the trial's event was one that every charger has seen
        self._rested = False  # the frequency came to rest after an event that was not
        self._v_lo = self._v_hi = math.nan
        self._slots: deque[Slot] = deque(maxlen=ROW + 2)

    @property
    def on_trial(self) -> bool:
        """The frequency has moved, and the charger looks whether it was an island."""
        return self._trial >= 0

    def step(self, now: float, samples: Sequence[GridSample], transfer: Transfer | None) -> bool:
        """True when the grid has answered like an island. Afterwards `tan_phi` is what to ask for."""
        for sample in samples:
            lo, hi = min(sample.v_pu), max(sample.v_pu)
            if lo < self._v_lo:
                self._v_lo = lo
            if hi > self._v_hi:
                self._v_hi = hi
        self._samples.take(now, samples, now - KEEP_S)
        if transfer is None or abs(transfer.power_pu) < MIN_POWER_PU:
            if self.tan_phi:
                self.rest()
            return False
        self._told.append((now, transfer.tan_phi))
        while self._told[0][0] < now - WINDOW_S - LAG_S - SMEAR_S:
            self._told.popleft()
        if not self.tan_phi:
            self._t_next = now
            self._change(now, math.copysign(PROBE_TAN_PHI, self._rng.random() - 0.5))
            return False
        self._watch(now)
        if now < self._t_next:
            return False
        pausing = self._trial >= len(PATTERN)
        if pausing and now - self._t_moved < PAUSE_CALM_S and now - self._t_change < PAUSE_S + TRIAL_SLOT_S:
            return False
        self._end_slot(now)
        island = self._judge()
        if pausing:
            self._trial = -1
        self._change(now, -self.tan_phi if self._trial < 0 else PATTERN[self._trial] * PROBE_TAN_PHI)
        return island

    def _change(self, now: float, tan_phi: float) -> None:
        self.tan_phi = tan_phi
        self._v_lo, self._v_hi = math.inf, -math.inf
        self._t_change = now
        if self._trial < 0:
            self._t_next = now + self._rng.uniform(*CALM_SLOT_S)
        else:
            self._t_next += TRIAL_SLOT_S  # not from now: ticks of several chargers are not the same
            self._trial += 1

    def _watch(self, now: float) -> None:
        """Begin a trial when the frequency moves; again when only a second event is one that nobody has missed."""
        early = self._samples.between(now - EVENT_S - EVENT_WINDOW_S, now - EVENT_S)
        late = self._samples.between(now - EVENT_WINDOW_S, now)
        if min(len(late), len(early)) < MIN_EVENT_SAMPLES:
            return
        moved_hz = abs(sum(late) / len(late) - sum(early) / len(early))
        waiting = self._trial == 0 or (self._trial == 1 and now - self._t_change < OWN_S)
        if moved_hz < EVENT_HZ:
            self._rested = True  # of no consequence unless a trial waits
            return
        self._t_moved = now
        if self._trial < 0 or (waiting and not self._sure and self._rested and moved_hz >= SURE_HZ):
            self._trial = 0
            self._t_next = now + BEGIN_S
            self._sure = self._rested = False
        self._sure |= moved_hz >= SURE_HZ

    def _end_slot(self, now: float) -> None:
        fault = self._v_hi - self._v_lo > FAULT_PU or self._v_lo < MIN_V_PU
        start = max(now - WINDOW_S, self._t_change + SETTLE_S)
        f_hz = self._samples.between(start, now)
        if not fault and len(f_hz) < MIN_WINDOW_SAMPLES and start > now - WINDOW_S:
            return  # an event cut the slot short: the ones before still count
        half = len(f_hz) // 2
        middle = self._samples.t[bisect_right(self._samples.t, start) + half - 1] if half else now
        told, early, late = (self._told_between(x, y) for x, y in ((start, now), (start, middle), (middle, now)))
        if fault or not early or not late or len(f_hz) < MIN_WINDOW_SAMPLES:
            self._slots.clear()  # nothing that was measured connects before and after
            return
        if self._slots and now - self._slots[-1].t > APART_S:
            self._slots.clear()
        self._slots.append(
            Slot(
                now,
                median(f_hz),
                sum(told) / len(told),
                median(f_hz[half:]) - median(f_hz[:half]),
                sum(late) / len(late) - sum(early) / len(early),
                max(told) - min(told),
            )
        )

    def _told_between(self, from_s: float, to_s: float) -> list[float]:
        """What was told, as far as the frequency between these times can have followed it; none after a tick that came
        very late."""
        return [x for t, x in self._told if from_s - LAG_S - SMEAR_S < t <= to_s - LAG_S + SMEAR_S]

    def _judge(self) -> bool:
        """Regression of the frequency on the reactive power over the last slots, each against the straight line
        between its neighbours."""
        slots = list(self._slots)
        self.row, self.gain_hz, self.t_row = 0, 0.0, math.inf
        n, tt, ft, ff = 0, 0.0, 0.0, 0.0
        used: list[Slot] = []
        for before, here, after in reversed(list(zip(slots, slots[1:], slots[2:], strict=False))):
            share = (here.t - before.t) / (after.t - before.t)
            tan_phi = here.tan_phi - before.tan_phi - share * (after.tan_phi - before.tan_phi)
            f_hz = here.f_hz - before.f_hz - share * (after.f_hz - before.f_hz)
            n, tt, ft, ff = n + 1, tt + tan_phi * tan_phi, ft + f_hz * tan_phi, ff + f_hz * f_hz
            used.append(here)
            steps = math.sqrt(tt / n) / PROBE_TAN_PHI
            if steps < LEAST_STEPS or ff == 0.0:
                continue
            gain_hz, explained = abs(ft) / tt, ft * ft / (tt * ff)
            drift_hz = max(abs(s.df_hz - ft / tt * s.dtan_phi) - EXCUSE * gain_hz * s.spread_tan for s in used)
            if gain_hz < self.threshold_hz or explained < LEAST_SHARE:
                continue
            self.row, self.gain_hz, self.t_row = n, gain_hz, before.t
            for slots_needed, share_needed, gain_needed, still, steps_needed in VERDICTS:
                good = explained >= share_needed and gain_hz >= gain_needed and steps >= steps_needed
                if n == slots_needed and good and drift_hz <= still * 2.0 * PROBE_TAN_PHI * gain_hz:
                    return True
        return False
