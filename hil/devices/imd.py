"""Emulated insulation monitor isoCHA425HV.

`python -m hil.devices.imd --port PATH --shm NAME`

It measures in cycles (a pulse of measuring voltage that has to settle), so its value follows the plant's resistance
with a delay: each cycle brings the shown conductance a step nearer, and the response to a sudden fault takes seconds
(data sheet: up to 10 s). After power-up, after a stop and after a self-test the first cycles have no result and the
value is invalid. Faults are plain attributes, and `handle` sets them.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hal.modbus.isocha425hv import (
    ACTUAL,
    ALARM_DEVICE_ERROR,
    ALARM_KOHM,
    FAST_TEST,
    HIGHER,
    INVALID,
    MAX_KOHM,
    PREWARNING_KOHM,
    R_F,
    RUN,
    SETTINGS,
    SETTINGS_COUNT,
    START_TEST,
    START_TEST_VALUE,
    TEST_EXTERNAL,
    TEST_MODE,
    TEST_NONE,
    U_N,
    UNIT_INVALID,
    UNIT_NONE,
    UNIT_OHM,
    UNIT_V,
    UPDATES,
    VALUES,
    VALUES_COUNT,
    VERSION,
    VERSION_COUNT,
    Channel,
    channel_registers,
)
from hil.devices import commands, modbus_server, process
from hil.devices.modbus_server import (
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    READ_HOLDING,
    READ_INPUT,
    Refused,
)
from hil.plant.link import PlantLink

NAME_REGISTERS, NAME_COUNT = 9800, 10
R_MAX_OHM = 1.0e6  # end of the range; above it the device says "true value is higher"
HYSTERESIS = 1.25  # a response value is left 25 % above it (Bender's 425 family)
# Channel descriptions, manual part 5.3.1
_INSULATION_FAULT, _INSULATION_ALARM, _VOLTAGE, _COUNTER, _DEVICE_ERROR = 71, 1, 76, 1022, 115
_NO_ALARM, _PREWARNING, _ALARM = 0, 1, 5


class EmulatedImd:
    """Register model of the isoCHA425HV.

    cycle_s: time of a measuring cycle. settle_s: time constant with which the value follows. first_cycles: cycles until
    the first result after a start. self_test_s: range of the
    self-test's duration with the fast mode (5 to 8 s); without it the test takes three times as long (data sheet
    before 5.00: about 22 s). start_s: from power-up to the first answer.

    Faults: `fail_self_test`, `device_fault`, `invalid` (measurement invalid for as long as it is set), `frozen` (shows
    the last measurement for ever), `supply`.
    """

    name = "insulation monitor"
    rules: Mapping[str, commands.Rule] = dict.fromkeys(
        ("fail_self_test", "device_fault", "invalid", "frozen", "supply"), commands.FLAG
    )

    def __init__(
        self,
        link: PlantLink,
        rng: random.Random,
        *,
        cycle_s: float = 1.0,
        settle_s: float = 1.5,
        first_cycles: int = 3,
        self_test_s: tuple[float, float] = (5.0, 8.0),
        start_s: float = 2.0,
        version: int = 502,
    ) -> None:
        self._link = link
        self._rng = rng
        self._cycle_s = cycle_s
        self._settle_s = settle_s
        self._first_cycles = first_cycles
        self._self_test_s = self_test_s
        self._start_s = start_s
        self._version = version
        self._gain_r = 1.0 + rng.uniform(-0.05, 0.05)  # well inside the 15 % that IEC 61557-8 allows
        self._gain_u = 1.0 + rng.uniform(-0.01, 0.01)
        # 100 as alarm and 250 as prewarning are what EVerest writes; a new device holds others, so that a driver that
        # forgets to set them is found.
        self._settings = dict.fromkeys(range(SETTINGS, SETTINGS + SETTINGS_COUNT), 0)
        self._settings |= {PREWARNING_KOHM: 600, ALARM_KOHM: 120, RUN: 1}
        self.fail_self_test = False
        self.device_fault = False
        self.invalid = False
        self.frozen = False
        self.supply = True
        self.answering = False
        self.self_tests = 0  # finished since power-up
        self._now: float | None = None
        self._boot_t = 0.0
        self._power_up = True
        self._g_s = 0.0  # settled conductance
        self._cycles = 0  # cycles since the start; no result before first_cycles
        self._cycle_t = math.inf  # end of the running cycle
        self._test_t = math.inf  # end of the running self-test
        self._error = False
        self._alarm = _NO_ALARM
        self._updates = 0
        self._u_v = 0.0

    # ---------------------------------------------------------------------------------------------------------- life
    def step(self, now: float) -> None:
        """Advance to now (monotonic seconds)."""
        self._now = now
        if not self.supply:
            self.answering = False
            self._power_up = True
            return
        if self._power_up:
            self._power_up = False
            self._boot_t = now + self._start_s
            self._test_t = math.inf
            self._error = False
            self.self_tests = 0
        if now < self._boot_t:
            return
        if not self.answering:
            self.answering = True
            self._restart(now)
        self._u_v = self._link.cable_v_v * self._gain_u
        if now >= self._test_t:
            self._test_t = math.inf
            self.self_tests += 1
            self._error = self.fail_self_test
            self._restart(now)
        if self._stopped or self._testing:
            return
        while now >= self._cycle_t:
            self._cycle_t += self._cycle_s
            if self._cycle_t <= now - 10.0 * self._cycle_s:  # the process slept: those cycles never happened
                self._cycle_t = now + self._cycle_s
            if not self.frozen:
                self._measure()

    def handle(self, command: dict[str, Any]) -> None:
        """Obey the rig: see `rules`. Raises ValueError with a sentence."""
        for name, value in commands.checked(self.name, self.rules, command).items():
            setattr(self, name, value)

    def close(self) -> None:
        """Nothing outlives this device: it forgets its settings with its process."""

    @property
    def _testing(self) -> bool:
        return self._test_t < math.inf

    @property
    def _stopped(self) -> bool:
        return self._settings[RUN] == 0

    def _restart(self, now: float) -> None:
        """What was measured before is void."""
        self._g_s = 0.0  # the coupling starts from its own, healthy state
        self._cycles = 0
        self._alarm = _NO_ALARM
        self._cycle_t = now + self._cycle_s

    def _measure(self) -> None:
        r_ohm = self._link.insulation_ohm
        g = 1.0 / max(r_ohm, 1.0) if math.isfinite(r_ohm) else 0.0
        self._g_s += (g - self._g_s) * (1.0 - math.exp(-self._cycle_s / self._settle_s))
        self._cycles += 1
        if self._cycles < self._first_cycles:
            return
        self._updates = (self._updates + 1) % 100
        shown = self._shown_ohm()
        alarm, prewarning = 1e3 * self._settings[ALARM_KOHM], 1e3 * self._settings[PREWARNING_KOHM]
        if shown < alarm or (self._alarm == _ALARM and shown < HYSTERESIS * alarm):
            self._alarm = _ALARM
        elif shown < prewarning or (self._alarm != _NO_ALARM and shown < HYSTERESIS * prewarning):
            self._alarm = _PREWARNING
        else:
            self._alarm = _NO_ALARM

    def _shown_ohm(self) -> float:
        return min(R_MAX_OHM, self._gain_r / max(self._g_s, 1e-12))

    # ----------------------------------------------------------------------------------------------------- registers
    def read_registers(self, function: int, start: int, count: int) -> list[int]:
        """Values 1000 to 1035, settings 3005 to 3026, name, version. Raises Refused."""
        if function not in (READ_HOLDING, READ_INPUT):
            raise Refused(ILLEGAL_FUNCTION)
        name = "isoCHA425HV-D4-4".ljust(2 * NAME_COUNT, "\0").encode()
        for first, length, values in (
            (VALUES, VALUES_COUNT, self._values),
            (SETTINGS, SETTINGS_COUNT, lambda: list(self._settings.values())),
            (NAME_REGISTERS, NAME_COUNT, lambda: [name[i] << 8 | name[i + 1] for i in range(0, len(name), 2)]),
            (VERSION, VERSION_COUNT, lambda: [602, self._version, 2025, 2, 17, 101]),
        ):
            if first <= start and start + count <= first + length:
                return values()[start - first : start - first + count]
        raise Refused(ILLEGAL_ADDRESS)

    def write_registers(self, start: int, values: Sequence[int]) -> None:
        """Settings and the start of the self-test, one register at a time (as the manual shows it). Raises Refused."""
        if len(values) != 1:
            raise Refused(ILLEGAL_VALUE)
        (value,) = values
        if start == START_TEST:
            if value != START_TEST_VALUE:
                raise Refused(ILLEGAL_VALUE)
            self._start_test()
        elif start in self._settings:
            low, high = 0, 0xFFFF
            if start == PREWARNING_KOHM:
                low, high = self._settings[ALARM_KOHM], MAX_KOHM
            elif start == ALARM_KOHM:
                low, high = 1, self._settings[PREWARNING_KOHM]
            elif start == RUN:
                low, high = 0, 1
            if not low <= value <= high:
                raise Refused(ILLEGAL_VALUE)
            started = start == RUN and value == 1 and self._stopped
            self._settings[start] = value
            if started and self._now is not None:
                self._restart(self._now)
        else:
            raise Refused(ILLEGAL_ADDRESS)

    def _start_test(self) -> None:
        if self._testing or self._now is None or self._stopped:
            return  # accepted and without effect, like the button
        duration_s = self._rng.uniform(*self._self_test_s)
        if self._version < 500 or self._settings[TEST_MODE] != FAST_TEST:
            duration_s *= 3.0
        self._test_t = self._now + duration_s

    def _values(self) -> list[int]:
        test = TEST_EXTERNAL if self._testing else TEST_NONE
        error = (self._error or self.device_fault) and not self._testing
        alarm = ALARM_DEVICE_ERROR if error else self._alarm
        registers = [0] * VALUES_COUNT
        if self._cycles < self._first_cycles or self._stopped or self._testing:
            r = Channel(0.0, alarm, test, UNIT_INVALID, INVALID, _DEVICE_ERROR if error else _INSULATION_FAULT)
        else:
            shown = self._shown_ohm()
            validity = INVALID if self.invalid or error else HIGHER if shown >= R_MAX_OHM else ACTUAL
            what = _DEVICE_ERROR if error else _INSULATION_ALARM if alarm else _INSULATION_FAULT
            r = Channel(shown, alarm, test, UNIT_OHM, validity, what)
        u_valid = INVALID if self.invalid or self._stopped else ACTUAL
        u = Channel(self._u_v, _NO_ALARM, test, UNIT_V, u_valid, _VOLTAGE)
        n = Channel(float(self._updates), _NO_ALARM, test, UNIT_NONE, ACTUAL, _COUNTER)
        for index, c in ((R_F, r), (U_N, u), (UPDATES, n)):
            registers[index : index + 4] = channel_registers(c)
        return registers


def main() -> int:
    options = modbus_server.arguments("Emulated insulation monitor", baud=19200, address=3).parse_args()
    rng = random.Random(options.seed)
    shared = process.SharedLink(options.shm)
    return modbus_server.serve(EmulatedImd(shared.link, rng), shared, options, rng)


if __name__ == "__main__":
    sys.exit(main())
