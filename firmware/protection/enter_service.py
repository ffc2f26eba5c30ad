"""Entering service: a window for voltage and frequency, a time inside it, and a ramp of power afterwards.

Each sample of the grid is judged: one phase outside of the window, or a frequency outside or not measured, restarts the
time from zero. Both ends of the window are inside. Permission comes from the samples' own times alone: a value that is
merely held does not count towards the delay.

How long, by the first of these that applies (a delay that is only remembered applies with allow_unverified):

1. First start, from power-up to the first entry: `first_delay_s`, where the code has one (CEI 0-21). A guard that was
   started again in the middle of things does not know of a trip before it: that is no first start.
2. After a short interruption: a trip by voltage or frequency, and from the first sample outside of that element's limit
   to the first sample inside the window passed no more than `short_interruption_max_s`: `short_interruption_delay_s`
   (VDE-AR-N 4105). A later excursion out of the window is measured from the same beginning, so it soon is none.
3. Always else, so after any other trip: `delay_s`.
"""

from __future__ import annotations

import math
import random

from firmware.grid_codes import Confidence, EnterService, GridCodeError, Setting
from firmware.protection.element import PHASES
from firmware.protection.timers import TIME_LSB_S

MAX_RANDOM_S = 1000.0  # where the code names no longest random delay (policy value; waiting longer breaks no code)


def plain(value: float) -> str:
    """Two decimals, three where they are needed."""
    return f"{value:.2f}" if round(value, 2) == value else f"{value:.3f}"


class Window:
    """The window of one code."""

    __slots__ = ("f_max", "f_min", "f_text", "v_max", "v_min", "v_text")

    def __init__(self, setting: EnterService) -> None:
        self.v_min, self.v_max = setting.v_min.value, setting.v_max.value
        self.f_min, self.f_max = setting.f_min.value, setting.f_max.value
        self.v_text = f"{plain(self.v_min)}..{plain(self.v_max)} pu"
        self.f_text = f"{plain(self.f_min)}..{plain(self.f_max)} Hz"

    def holds(self, v_pu: tuple[float, float, float], f_hz: float) -> bool:
        """False for a frequency that was not measured (nan)."""
        a, b, c = v_pu
        lo, hi = self.v_min, self.v_max
        return lo <= a <= hi and lo <= b <= hi and lo <= c <= hi and self.f_min <= f_hz <= self.f_max

    def problem(self, v_pu: tuple[float, float, float], f_hz: float) -> str:
        """'L1 0.001 pu is outside 0.85..1.10 pu', for a sample that the window does not hold."""
        for k, phase in enumerate(PHASES):
            if not self.v_min <= v_pu[k] <= self.v_max:
                return f"{phase} {v_pu[k]:.3f} pu is outside {self.v_text}"
        if f_hz != f_hz:
            return "the frequency cannot be measured"
        return f"{f_hz:.3f} Hz is outside {self.f_text}"


def _usable(setting: Setting | None, unverified: bool) -> Setting | None:
    return setting if setting is not None and (unverified or setting.conf is not Confidence.LOW) else None


class EnterServiceTimer:
    """Counts the time inside the window. `random_s` > 0 adds up to that much, drawn anew by `draw`.

    `rule`: the number of the code that the delay is, `why`: in which case; both settle with the first good sample.
    """

    __slots__ = (
        "_extra_s", "_first", "_last", "_random_s", "_rng", "_setting", "_short", "_t_good", "_t_out", "rule", "why",
    )  # fmt: skip

    def __init__(
        self,
        setting: EnterService,
        random_s: float,
        rng: random.Random | None,
        *,
        unverified: bool = False,
        restarted: bool = False,
    ) -> None:
        """unverified: apply delays that are only remembered. restarted: this is no first start.

        GridCodeError when random_s is out of range or comes without a random source.
        """
        limit = MAX_RANDOM_S
        if setting.random_delay_s is not None:
            limit = setting.random_delay_s.max or setting.random_delay_s.value
        if not 0.0 <= random_s <= limit:
            raise GridCodeError(f"enter_service_random_s is {random_s}; allowed: 0..{limit:g} s")
        if random_s > 0.0 and rng is None:
            raise GridCodeError("enter_service_random_s needs a random source; give rng, or 0 s")
        self._setting, self._random_s, self._rng = setting, random_s, rng
        self._first = None if restarted else _usable(setting.first_delay_s, unverified)
        longest = _usable(setting.short_interruption_max_s, unverified)
        delay = _usable(setting.short_interruption_delay_s, unverified)
        self._short = (longest.value, delay) if longest is not None and delay is not None else None
        self._t_out: float | None = None  # begin of the excursion that tripped; None = whatever it was, it is not short
        self._t_good: float | None = None
        self._last = math.nan  # the newest good sample
        self.rule: Setting
        self.why: str
        self._settle(math.nan)  # no trip was before, so no time is compared
        self._extra_s: float
        self.draw()

    def retune(self, setting: EnterService) -> None:
        """Another delay from now on; the time inside the window that has run counts towards it."""
        if self.rule is self._setting.delay_s:
            self.rule = setting.delay_s
        self._setting = setting

    def draw(self) -> None:
        """A new wait begins: draw its random part."""
        self._extra_s = self._rng.uniform(0.0, self._random_s) if self._rng is not None else 0.0

    @property
    def delay_s(self) -> float:
        """Of the wait that runs or comes, the random part included."""
        return self.rule.value + self._extra_s

    def tripped(self, t_out: float | None) -> None:
        """A trip. t_out: when voltage or frequency left the limit; None for a trip by anything else."""
        self._first = None
        self._t_out = t_out
        self.restart()

    def _settle(self, t: float) -> None:
        """Which delay holds for a wait that begins at t."""
        if self._first is not None:
            self.rule, self.why = self._first, "first start"
        elif self._short is not None and self._t_out is not None and t - self._t_out <= self._short[0] + TIME_LSB_S:
            self.rule, self.why = self._short[1], "short interruption"
        else:
            self.rule, self.why = self._setting.delay_s, ""

    def sample(self, t: float, inside: bool) -> None:
        """One sample of the grid."""
        if not inside:
            self._t_good = None
            return
        if self._t_good is None:
            self._t_good = t
            self._settle(t)
        self._last = t

    def restart(self) -> None:
        """Anything else that forbids entering: the time begins again with the next good sample."""
        self._t_good = None

    @property
    def running(self) -> bool:
        return self._t_good is not None

    @property
    def remaining_s(self) -> float:
        """Seconds left; 0 when the time does not run."""
        if self._t_good is None:
            return 0.0
        return max(0.0, self.rule.value + self._extra_s - (self._last - self._t_good))

    @property
    def ready(self) -> bool:
        if self._t_good is None:
            return False
        return self._last - self._t_good >= self.rule.value + self._extra_s - TIME_LSB_S


def ramp_limit(setting: EnterService, since_s: float) -> float:
    """Share of rated power (0..1) permitted `since_s` seconds after entering service."""
    if setting.ramp_pu_per_min is not None:
        limit = setting.ramp_pu_per_min.value * since_s / 60.0
    elif setting.ramp_duration_s is not None:
        limit = since_s / setting.ramp_duration_s.value
    else:
        return 1.0
    return min(1.0, limit)
