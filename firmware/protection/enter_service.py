"""Entering service: a window for voltage and frequency, a time inside it, and a ramp of power afterwards.

Each sample of the grid is judged: one phase outside of the window, or a frequency outside or not measured, restarts the
time from zero. Both ends of the window are inside. Permission comes from the samples' own times alone: a value that is
merely held does not count towards the delay.
"""

from __future__ import annotations

import random

from firmware.grid_codes import EnterService, GridCodeError
from firmware.protection.element import PHASES
from firmware.protection.timers import TIME_LSB_S

MAX_RANDOM_S = 1000.0  # where the code names no longest random delay (policy value; waiting longer breaks no code)


def plain(value: float) -> str:
    """Two decimals, three where they are needed."""
    return f"{value:.2f}" if round(value, 2) == value else f"{value:.3f}"


class Window:
    """The window of one code."""

    __slots__ = ("f_max", "f_min", "v_max", "v_min")

    def __init__(self, setting: EnterService) -> None:
        self.v_min, self.v_max = setting.v_min.value, setting.v_max.value
        self.f_min, self.f_max = setting.f_min.value, setting.f_max.value

    def holds(self, lo: float, hi: float, f_hz: float) -> bool:
        """False for a frequency that was not measured (nan)."""
        return lo >= self.v_min and hi <= self.v_max and self.f_min <= f_hz <= self.f_max

    @property
    def v_text(self) -> str:
        return f"{plain(self.v_min)}..{plain(self.v_max)} pu"

    @property
    def f_text(self) -> str:
        return f"{plain(self.f_min)}..{plain(self.f_max)} Hz"

    def problem(self, v_pu: tuple[float, float, float], f_hz: float) -> str:
        """'L1 0.001 pu is outside 0.85..1.10 pu', for a sample that the window does not hold."""
        for phase, v in zip(PHASES, v_pu, strict=True):
            if not self.v_min <= v <= self.v_max:
                return f"{phase} {v:.3f} pu is outside {self.v_text}"
        if f_hz != f_hz:
            return "the frequency cannot be measured"
        return f"{f_hz:.3f} Hz is outside {self.f_text}"


class EnterServiceTimer:
    """Counts the time inside the window. `random_s` > 0 adds up to that much, drawn anew by `draw`."""

    __slots__ = ("_last", "_random_s", "_rng", "_setting", "_t_good", "delay_s")

    def __init__(self, setting: EnterService, random_s: float, rng: random.Random | None) -> None:
        """GridCodeError when random_s is out of range or comes without a random source."""
        limit = MAX_RANDOM_S
        if setting.random_delay_s is not None:
            limit = setting.random_delay_s.max or setting.random_delay_s.value
        if not 0.0 <= random_s <= limit:
            raise GridCodeError(f"enter_service_random_s is {random_s}; allowed: 0..{limit:g} s")
        if random_s > 0.0 and rng is None:
            raise GridCodeError("enter_service_random_s needs a random source; give rng, or 0 s")
        self._setting, self._random_s, self._rng = setting, random_s, rng
        self._t_good: float | None = None
        self._last = 0.0
        self.delay_s = setting.delay_s.value
        self.draw()

    def draw(self) -> None:
        """A new wait begins: draw its random part."""
        extra = self._rng.uniform(0.0, self._random_s) if self._rng is not None else 0.0
        self.delay_s = self._setting.delay_s.value + extra

    def sample(self, t: float, inside: bool) -> None:
        """One sample of the grid."""
        if not inside:
            self._t_good = None
            return
        if self._t_good is None:
            self._t_good = t
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
        return max(0.0, self.delay_s - (self._last - self._t_good))

    @property
    def ready(self) -> bool:
        return self._t_good is not None and self._last - self._t_good >= self.delay_s - TIME_LSB_S


def ramp_limit(setting: EnterService, since_s: float) -> float:
    """Share of rated power (0..1) permitted `since_s` seconds after entering service."""
    if setting.ramp_pu_per_min is not None:
        limit = setting.ramp_pu_per_min.value * since_s / 60.0
    elif setting.ramp_duration_s is not None:
        limit = since_s / setting.ramp_duration_s.value
    else:
        return 1.0
    return min(1.0, limit)
