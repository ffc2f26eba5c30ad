"""Mutants that no test can tell from the original, each with the reason (see tests/mutate.py)."""

from __future__ import annotations

# (module, source of the line, change): why no test can tell it from the original.
_FIRST = "a value to begin with that is always written before it is read"
_TOLERANCE = "the limit carries a tolerance of a microsecond; whether its very end belongs to it cannot be seen"
_ROUNDING = "rounding far below any meter, only to take away the noise of doubles; a digit more or less is the same"
_THREE = "there are always three phases; the linter asks for the word"
_P = "firmware.protection."
EQUIVALENT: dict[tuple[str, str, str], str] = {
    (_P + module, line, change): reason
    for reason, module, line, changes in (
        (_FIRST, "timers", "self._from = 0.0  # t_start plus all time that must not count", ("0.0 + 1 %", "0.0 - 1 %")),
        (_FIRST, "timers", "self._last = 0.0", ("0.0 + 1 %", "0.0 - 1 %")),
        (_FIRST, "timers", "self._counting = False  # the last sample was outside", ("False -> True",)),
        (_FIRST, "enter_service", "self._last = 0.0", ("0.0 + 1 %", "0.0 - 1 %")),
        (_FIRST, "grid", "self._t_entered = 0.0", ("0.0 + 1 %", "0.0 - 1 %")),
        (_FIRST, "mean_10min", "self._index = 0", ("0 -> 1", "0 -> -1")),
        (_FIRST, "sense", "self.differs = False  # in the last comparison", ("False -> True",)),
        (_TOLERANCE, "timers", "return t - self._from >= self._need", ("GtE -> Gt",)),
        (
            _TOLERANCE,
            "timers",
            "return self.t_start is not None and self._counting and t - self._from >= self._need",
            ("GtE -> Gt",),
        ),
        (_TOLERANCE, "timers", "if t - self._t_clear >= self._need:", ("GtE -> Gt",)),
        (_TOLERANCE, "channel", "if t - self._t_last > self._max_age_s:", ("Gt -> GtE",)),
        (_TOLERANCE, "channel", "return now - self._t_last <= self._max_age_s", ("LtE -> Lt",)),
        (_TOLERANCE, "channel", "return now - self._t_ok > self._max_age_s", ("Gt -> GtE",)),
        (
            _TOLERANCE,
            "enter_service",
            "return self._t_good is not None and self._last - self._t_good >= self.delay_s - TIME_LSB_S",
            ("GtE -> Gt",),
        ),
        (
            _TOLERANCE,
            "mean_10min",
            "if self._weight >= MIN_FILL * self._interval_s - TIME_LSB_S:",
            ("GtE -> Gt",),
        ),
        (_ROUNDING, "sense", "if round(abs(a - b), 9) > DISAGREE_V_PU:", ("9 -> 8", "9 -> 10")),
        (
            _ROUNDING,
            "sense",
            "if round(abs(pilot.f_hz - converter.f_hz), 9) > DISAGREE_F_HZ:",
            ("9 -> 8", "9 -> 10"),
        ),
        (
            _ROUNDING,
            "mean_10min",
            "_DIGITS = 9  # rounding of the mean, far below any meter, so that a constant 1.10 has the mean 1.10",
            ("9 -> 8", "9 -> 10"),
        ),
        (
            _THREE,
            "sense",
            "for phase, (a, b) in enumerate(zip(pilot.v_pu, converter.v_pu, strict=True), 1):",
            ("True -> False",),
        ),
        (_THREE, "enter_service", "for phase, v in zip(PHASES, v_pu, strict=True):", ("True -> False",)),
        (
            "a frequency at the very end is continuous and never gets here",
            "ride_through",
            "found.append((f.below(f_hz) if f_hz < f.lo else f.above(f_hz), f_hz, f))",
            ("Lt -> LtE",),
        ),
    )
    for change in changes
}
