"""Mutants that no test can tell from the original, each with the reason (see tests/mutate.py)."""

from __future__ import annotations

# (module, source of the line, change): why no test can tell it from the original.
_FIRST = "a value to begin with that is always written before it is read"
_PAIRS = "both are always as long; the linter asks for the word"
_AT_ZERO = "where the line begins its value is zero, and so is that of the other way out"
_SHORTCUT = "a shortcut: what it does not catch goes the long way to the same end"
_NANO = "a nanosecond against the rounding of sums; no code says a time that finely"
_TICKS = "the difference of two ticks' times is exactly that policy value in no run, and a tick later is as good"
_F = "firmware."
EQUIVALENT: dict[tuple[str, str, str], str] = {
    (_F + module, line, change): reason
    for reason, module, line, changes in (
        (_FIRST, "protection.timers", "self._counting = False  # the last sample was outside", ("False -> True",)),
        (
            "a share of one and more is no ramp",
            "grid_support.compose",
            "service_pu: float = 1.0,",
            ("1.0 + 1 %",),
        ),
        (
            _AT_ZERO,
            "grid_support.lfsm",
            "if s.over is not None and f_hz > s.over.f_start_hz:",
            ("Gt -> GtE",),
        ),
        (
            _AT_ZERO,
            "grid_support.lfsm",
            "if s.under is not None and f_hz < s.under.f_start_hz:",
            ("Lt -> LtE",),
        ),
        (
            "those two lines rise, so they are none that falls",
            "grid_support.freq_watt",
            "if p1 < p0 and not under < k < over:",
            ("Lt -> LtE #2", "Lt -> LtE #3"),
        ),
        (
            "a lag comes to that very number in no run, and a step later is as good",
            "grid_support.freq_watt",
            "if abs(level.value - want_w) <= DONE_PU * self._rated_w:",
            ("LtE -> Lt",),
        ),
        (
            "any number below zero says that there is no such line",
            "grid_support.freq_watt",
            "under = max((k for k in rising if lines[k][0][0] < f_n or lines[k][1][0] <= f_n), default=-1)",
            ("1 -> 2 #2",),
        ),
        (
            "from or to zero nothing is passed through",
            "grid_support.ramps",
            "if self.value_w * asked_w < 0.0:",
            ("Lt -> LtE",),
        ),
        (
            "the time is the start of a control that names none, and the stored start replaces it",
            "grid_support.controls",
            "found = control_of(table, 0.0, by)",
            ("0.0 + 1 %", "0.0 - 1 %"),
        ),
        (
            "no two controls of a book have the same rank",
            "grid_support.controls",
            "if any(c.rank < taken.rank for c in rivals):",
            ("Lt -> LtE",),
        ),
        (
            "no two controls of a book have the same rank",
            "grid_support.controls",
            "if rival.rank > control.rank and rival.overlaps(control):",
            ("Gt -> GtE",),
        ),
        (
            "no two controls of a book have the same rank",
            "grid_support.controls",
            "if control.runs(now_s) and (key not in best or control.rank < best[key].rank):",
            ("Lt -> LtE",),
        ),
        (
            "with an equal clock nothing has begun later than now, and the mark stays as it is",
            "grid_support.controls",
            "if now_s < self.now_s:",
            ("Lt -> LtE",),
        ),
        (
            "a start that is now is put to now",
            "grid_support.controls",
            "if now_s < control.start_s <= self.now_s:",
            ("Lt -> LtE",),
        ),
        (
            "the fields of a control always come in one order; sorting keeps the hash if they are ever moved",
            "grid_support.controls",
            "return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()",
            ("True -> False",),
        ),
        (
            "the sign is plus or minus one",
            "grid_support.settings",
            "y * y_sign + 0.0,  # a turned zero shall not be a negative one",
            ("Mult -> Div",),
        ),
        (
            _PAIRS,
            "grid_support.effective",
            "for trip, (threshold, seconds) in zip(known, points, strict=True):",
            ("True -> False",),
        ),
        (
            _NANO,
            "grid_support.effective",
            "if must_s is not None and delay_s < must_s - 1e-9:",
            ("Lt -> LtE", "1e-09 + 1 %", "1e-09 - 1 %"),
        ),
        (
            _NANO,
            "grid_support.effective",
            "if judges and delay_s < y - 1e-9:",
            ("Lt -> LtE", "1e-09 + 1 %", "1e-09 - 1 %"),
        ),
        (
            "the second of two values is the newest, and that is never a window old",
            "protection.rocof",
            "while len(values) > 1 and values[1][0] <= begin:",
            ("1 -> 2",),
        ),
        (
            _SHORTCUT,
            "protection.rocof",
            "if -threshold <= newest <= threshold:  # the smallest of the rates is not above this one",
            ("LtE -> Lt", "LtE -> Lt #2", "USub dropped"),
        ),
        (
            "they are only as large where both are below zero, and then nothing operates",
            "protection.rocof",
            'self._direction = "rising" if rising > falling else "falling"',
            ("Gt -> GtE",),
        ),
        (
            "asked only of a function that acts, and that has been outside of its band",
            "grid_support.frequency_power",
            "self._over = False  # the last excursion was above the band",
            ("False -> True",),
        ),
        (
            "a change of zero has died away",
            "grid_support.frequency_power",
            "least = self._over if died else change_w > 0.0",
            ("Gt -> GtE",),
        ),
        (
            "at the very end both are the same",
            "grid_support.bounds",
            "self.lo_w, self.lo_by = (lo_w if lo_w < hi else hi), by",
            ("Lt -> LtE",),
        ),
        (
            "at the very end both are the same",
            "grid_support.bounds",
            "self.hi_w, self.hi_by = (hi_w if hi_w > lo else lo), by",
            ("Gt -> GtE",),
        ),
        (
            _SHORTCUT,
            "protection.sense",
            "alike = abs(a1 - b1) <= most and abs(a2 - b2) <= most and abs(a3 - b3) <= most",
            ("LtE -> Lt", "LtE -> Lt #2", "LtE -> Lt #3", "Sub -> Add", "Sub -> Add #2", "Sub -> Add #3"),
        ),
        (
            "a frequency at the very end is continuous and never gets here",
            "protection.ride_through",
            "answer = f.below(f_hz) if f_hz < f.lo else f.above(f_hz)",
            ("Lt -> LtE",),
        ),
        (
            _PAIRS,
            "protection.mean_10min",
            "for values, phase in zip(self._values, sums, strict=True):",
            ("True -> False",),
        ),
        (
            _PAIRS,
            "protection.channel",
            "for element, setting, delay_s in zip(self._all, code.trips, delays, strict=True):",
            ("True -> False",),
        ),
        (
            _PAIRS,
            "protection.grid",
            "for channel, found in zip(channels, delays, strict=True):",
            ("True -> False",),
        ),
        (_SHORTCUT, "grid_support.volt_var", "if begin <= x < end:", ("LtE -> Lt",)),
        (
            _FIRST,
            "grid_support.volt_watt",
            "self._settled = False  # the lags have arrived there: the next bounds are these again",
            ("False -> True",),
        ),
        ("in no time nothing changes", "grid_support.response", "if dt > 0.0:", ("Gt -> GtE",)),
        (
            _SHORTCUT,
            "grid_support.volt_watt",
            "if not (begin <= a < end and begin <= b < end and begin <= c < end):",
            ("LtE -> Lt", "Lt -> Gt", "LtE -> Lt #2", "LtE -> GtE #2", "LtE -> Lt #3", "LtE -> GtE #3"),
        ),
        (_SHORTCUT, "grid_support.volt_watt", "settled = True", ("True -> False",)),
        (
            "two equal ends have been answered before",
            "grid_support.curve",
            "if y0 > y1:",
            ("Gt -> GtE",),
        ),
        (
            "at the very end both are the same",
            "grid_support.curve",
            "return y0 if y < y0 else y1 if y > y1 else y",
            ("Lt -> LtE", "Gt -> GtE"),
        ),
        (_SHORTCUT, "grid_support.volt_watt", "begin, end = -math.inf, math.inf", ("USub dropped",)),
        (
            _SHORTCUT,
            "grid_support.frequency_power",
            "if self.reference_w is None and self._band[0] <= f_hz <= self._band[1]:",
            ("LtE -> Lt", "LtE -> Lt #2", "0 -> 1", "0 -> -1", "1 -> 0"),
        ),
        (_SHORTCUT, "grid_support.frequency_power", "return True", ("True -> False",)),
        (
            "nothing asked for is nothing either way",
            "grid_support.frequency_power",
            "if asked_w > 0.0:",
            ("Gt -> GtE",),
        ),
        (
            "the sign is plus or minus one",
            "grid_support.effective",
            'ends[c.kind] = tan_phi(n["pf"]) * (1.0 if n["absorbing"] == 1.0 else -1.0)',
            ("Mult -> Div",),
        ),
        (
            "a fact and its opposite change at the same moments",
            "grid_support.compose",
            "facts = (asked_w, ramped_w, service_pu, service_clause, limit, watt, flowing_w is None)",
            ("Is -> IsNot",),
        ),
        (
            _SHORTCUT,
            "protection.channel",
            "_FINITE: Final = 1e6  # end of a box where a code has none: three times as much is still a number",
            ("1000000.0 + 1 %", "1000000.0 - 1 %"),
        ),
        (
            "only where nobody judges the frequency does this end count, and then it makes no difference",
            "protection.channel",
            "return *ends(self._voltage, self.ride.v, BLOCK_V_PU), *ends(self._frequency, self.ride.f, 0.0)",
            ("0.0 + 1 %", "0.0 - 1 %"),
        ),
        (
            "two millionths of a second before the end, and beyond it goes the long way to the same words",
            "protection.grid",
            "left_s <= 2.0 * TIME_LSB_S or math.ceil(left_s) != left",
            ("LtE -> Lt", "2.0 + 1 %", "2.0 - 1 %"),
        ),
        (
            "outside of the window the time does not run, and the next line sends it the long way",
            "protection.grid",
            "inside = self._pilot.inside and (self._converter.inside or not self._expected)",
            ("And -> Or",),
        ),
        (
            "with another rule the time that is left is another, and with a disagreement no verdict is kept",
            "protection.grid",
            "if not inside or timer.rule is not rule or timer.why != why or self._agreement.disagree:",
            ("Or -> And",),
        ),
        (
            _SHORTCUT,
            "protection.grid",
            "self._expected and self._converter.lost(now)",
            ("And -> Or",),
        ),
        (
            _SHORTCUT,
            "protection.grid",
            "inside = idle and self._pilot.inside and (self._converter.inside or not self._expected)",
            ("Or -> And",),
        ),
        (
            "a mean that no stage asks for is only kept for nothing",
            "protection.channel",
            "means = any(t.quantity is Quantity.VOLTAGE_10MIN for t in code.trips) and code.mean_10min",
            ("Is -> IsNot",),
        ),
        (
            "at the very end both are the same",
            "grid_support.compose",
            "if abs(p_w) > room_w and flowing_w is None:",
            ("Gt -> GtE",),
        ),
        (_FIRST, "protection.channel", "self.inside = False", ("False -> True",)),
        (
            _FIRST,
            "protection.islanding_active",
            "self._sure = False  # the trial's event was one that every charger has seen",
            ("False -> True",),
        ),
        (
            _FIRST,
            "protection.islanding_active",
            "self._rested = False  # the frequency came to rest after an event that was not",
            ("False -> True",),
        ),
        (
            "every place below zero is none",
            "protection.islanding_active",
            "self._trial = -1  # place in PATTERN, -1 while calm",
            ("1 -> 2",),
        ),
        (
            "one that is equal to the extreme so far is the extreme",
            "protection.islanding_active",
            "if lo < self._v_lo:",
            ("Lt -> LtE",),
        ),
        (
            "one that is equal to the extreme so far is the extreme",
            "protection.islanding_active",
            "if hi > self._v_hi:",
            ("Gt -> GtE",),
        ),
        (
            "what is exactly so old is outside of the window that it is kept for",
            "protection.islanding_active",
            "while self._told[0][0] < now - WINDOW_S - LAG_S - SMEAR_S:",
            ("Lt -> LtE",),
        ),
        (
            _TICKS,
            "protection.islanding_active",
            "if pausing and now - self._t_moved < PAUSE_CALM_S and now - self._t_change < PAUSE_S + TRIAL_SLOT_S:",
            ("Lt -> LtE", "Lt -> LtE #2"),
        ),
        (
            _TICKS,
            "protection.islanding_active",
            "waiting = self._trial == 0 or (self._trial == 1 and now - self._t_change < OWN_S)",
            ("Lt -> LtE",),
        ),
        (
            "two means of eight measured frequencies differ by exactly that much in no grid",
            "protection.islanding_active",
            "if self._trial < 0 or (waiting and not self._sure and self._rested and moved_hz >= SURE_HZ):",
            ("GtE -> Gt",),
        ),
        ("every place below zero is none", "protection.islanding_active", "self._trial = -1", ("1 -> 2",)),
        (
            "a rate of before so near to zero was inside of the limit, and then no time runs yet",
            "protection.islanding_passive",
            "elif self.since == math.inf or before * self.rate_hz_s < 0.0:",
            ("Lt -> LtE", "Mult -> Div", "0.0 + 1 %", "0.0 - 1 %"),
        ),
        (
            _NANO,
            "protection.islanding_passive",
            "return self.held_s >= HOLD_S - 1e-9",
            ("GtE -> Gt", "1e-09 + 1 %", "1e-09 - 1 %"),
        ),
        (
            "a cache: how much it remembers changes no answer",
            "grid_support.freq_response_au",
            "_levels_w = lru_cache(maxsize=4)(au_levels_w)",
            ("4 -> 5", "4 -> 3"),
        ),
        (
            "the value is inside, and then no time is looked at",
            "protection.rocof",
            "self._judge(self._rates[-1][0])",
            ("USub dropped", "1 -> 2", "1 -> 0", "0 -> 1", "0 -> -1"),
        ),
    )
    for change in changes
}
