"""Bender ISOMETER isoCHA425HV insulation monitor.

Registers (functions 3 and 16): manual isoCHA425HV_D00404 (10.2023) part 5.3, and EVerest module Bender_isoCHA425HV
(Apache-2.0). A measured value is a channel of four registers from 1000 on:

    0, 1  value, IEEE 754 single, high word first
    2     high byte AT&T: bits 0..2 alarm (0 none, 1 prewarning, 2 device error, 4 warning, 5 alarm), bits 6..7 test
          (0 none, 1 internal, 2 external = ours); low byte R&U: bits 0..4 unit (0 invalid, 1 none, 2 ohm, 4 V),
          bits 6..7 validity (0 actual value, 1 true value is lower, 2 true value is higher, 3 invalid)
    3     channel description

    1000 R_F   1008 U_n   1012 C_e   1016 U_L1e   1020 U_L2e   1024 fault location   1028 R_FU   1032 update counter

Settings: 3005 prewarning R1 and 3007 alarm R2 (kilo-ohm), 3021 self-test mode (3 = fast, from firmware 5.00 on),
3026 run (0 = stopped); 8005 <- 0x5445 starts the self-test; 9820.. software number, version (500 = 5.00), date.
Default setting 19200 8E1, address 3 (EVerest; another vendor's controller uses 9600 8E1). 20 ms between writes.

Not verified on a device: that one read may span the reserved channel 1004 (two drivers read each channel by itself;
the manual lists 1000 to 1035 as one table); that every firmware counts in 1032 (it is only used where it is valid);
the shape of the version number. The self-test takes about 22 s with firmware below 5.00, and has up to 30 s.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Callable
from typing import NamedTuple

from hal.modbus.client import ModbusRtu
from hal.ports import HalError, InsulationAlarm, InsulationValues, Quality, Reading

# Blocks. Each has its own length: a late answer cannot pass for another block's (see client.py).
VALUES, VALUES_COUNT = 1000, 36
SETTINGS, SETTINGS_COUNT = 3005, 22
VERSION, VERSION_COUNT = 9820, 6
# Channels, as index in VALUES
R_F, U_N, UPDATES = 0, 8, 32
# Settings, as register
PREWARNING_KOHM, ALARM_KOHM, TEST_MODE, RUN = 3005, 3007, 3021, 3026
FAST_TEST = 3
START_TEST, START_TEST_VALUE = 8005, 0x5445
FAST_TEST_VERSION = 500

ALARM_DEVICE_ERROR = 2
TEST_NONE, TEST_INTERNAL, TEST_EXTERNAL = 0, 1, 2
UNIT_INVALID, UNIT_NONE, UNIT_OHM, UNIT_V = 0, 1, 2, 4
ACTUAL, LOWER, HIGHER, INVALID = 0, 1, 2, 3

MAX_KOHM = 600  # of the settings R1 and R2 (EVerest: largest threshold)
FROZEN_AFTER_S = 30.0  # update counter: three times the response time of 10 s (EVerest's summary of the data sheet)
_ALARMS = {
    0: InsulationAlarm.NONE,
    1: InsulationAlarm.WARNING,
    2: InsulationAlarm.DEVICE_FAULT,
    4: InsulationAlarm.WARNING,
    5: InsulationAlarm.ALARM,
}

NAME = "Insulation monitor isoCHA425HV"


class Channel(NamedTuple):
    """One measured value of the device with everything that it says about it."""

    value: float  # may be nan
    alarm: int
    test: int
    unit: int
    validity: int
    description: int

    def holds(self, unit: int) -> bool:
        """True when this is a measurement in that unit."""
        return self.unit == unit and self.validity != INVALID and math.isfinite(self.value)


def channel(registers: list[int], index: int) -> Channel:
    """The channel whose first register is registers[index]."""
    (value,) = struct.unpack(">f", struct.pack(">HH", registers[index], registers[index + 1]))
    state, kind = registers[index + 2].to_bytes(2, "big")
    return Channel(value, state & 0x07, state >> 6, kind & 0x1F, kind >> 6, registers[index + 3])


def channel_registers(c: Channel) -> list[int]:
    """The four registers of a channel: the inverse of `channel`."""
    high, low = struct.unpack(">HH", struct.pack(">f", c.value))
    return [high, low, (c.alarm | c.test << 6) << 8 | c.unit | c.validity << 6, c.description]


def decode(registers: list[int]) -> tuple[InsulationValues, Quality]:
    """The block VALUES. An invalid measurement is BAD and its number 0 (the worst one), never the register's number."""
    r, u = channel(registers, R_F), channel(registers, U_N)
    alarm = _ALARMS.get(r.alarm, InsulationAlarm.DEVICE_FAULT)  # a reserved code is not "no alarm"
    running = r.test != TEST_NONE
    valid = r.holds(UNIT_OHM) and r.value >= 0.0 and alarm is not InsulationAlarm.DEVICE_FAULT
    voltage = u.holds(UNIT_V)
    # "True value is lower" is the end of the range from below: the number would be an over-estimate.
    r_ohm = 0.0 if not valid or r.validity == LOWER else r.value
    values = InsulationValues(r_ohm=r_ohm, u_v=u.value if voltage else 0.0, alarm=alarm, self_test_running=running)
    if not (valid and voltage):
        return values, Quality.BAD
    return values, Quality.SUSPECT if running else Quality.GOOD  # the self-test interrupts the measurement


class IsoCha425Hv:
    """ports.InsulationMonitor.

    client: the serial line. clock: gives monotonic seconds. prewarning_kohm and alarm_kohm: thresholds R1 and R2 that
    are written to the device when it holds others (1 to 600; default 250 and 100, EVerest's). self_test_max_s: how
    long the self-test may take. poll_s: how often it is looked at meanwhile.
    """

    def __init__(
        self,
        client: ModbusRtu,
        address: int,
        clock: Callable[[], float],
        *,
        prewarning_kohm: int = 250,
        alarm_kohm: int = 100,
        self_test_max_s: float = 30.0,
        poll_s: float = 0.5,
    ) -> None:
        if not 1 <= address <= 247:
            raise ValueError(f"{NAME}: address {address} is outside 1 to 247")
        if not 1 <= alarm_kohm <= prewarning_kohm <= MAX_KOHM:
            raise ValueError(
                f"{NAME}: thresholds must satisfy 1 <= alarm <= prewarning <= {MAX_KOHM} kohm, "
                f"not alarm {alarm_kohm} and prewarning {prewarning_kohm}"
            )
        self._client = client
        self.address = address
        self._clock = clock
        self._settings = {PREWARNING_KOHM: prewarning_kohm, ALARM_KOHM: alarm_kohm, RUN: 1}
        self.self_test_max_s = self_test_max_s
        self._poll_s = poll_s
        self._configured = False
        self._updates: float | None = None
        self._updated_t = -math.inf
        self.version = 0  # 500 = 5.00; 0 = not read yet

    async def read(self) -> Reading[InsulationValues]:
        """Values of one transaction; the time is that of the request. BAD when the device calls the measurement
        invalid, reports a fault of its own, or has not measured for FROZEN_AFTER_S. Raises HalError."""
        await self._configure()
        t, registers = await self._read_values()
        values, quality = decode(registers)
        if self._frozen(t, registers):
            quality = Quality.BAD
        return Reading(values, t, quality)

    async def self_test(self) -> bool:
        """Start the device's self-test and wait for its end. True only when the device was seen testing, has ended
        the test within `self_test_max_s` and reports no fault. Raises HalError when it does not answer."""
        await self._configure()
        deadline = self._clock() + self.self_test_max_s
        await self._write(START_TEST, START_TEST_VALUE)
        seen = False
        missed = 0
        while self._clock() < deadline:
            await asyncio.sleep(self._poll_s)
            try:
                _, registers = await self._read_values()
            except HalError:
                # The device is known to be slow to answer while it tests; one lost answer is no result.
                missed += 1
                if missed >= 3:
                    raise
                continue
            missed = 0
            r = channel(registers, R_F)
            if r.test == TEST_EXTERNAL:
                seen = True
            elif seen and r.test == TEST_NONE:
                return r.alarm in _ALARMS and r.alarm != ALARM_DEVICE_ERROR
        return False

    # ------------------------------------------------------------------------------------------------------ internal
    async def _read_values(self) -> tuple[float, list[int]]:
        t = self._clock()
        return t, await self._read(VALUES, VALUES_COUNT)

    async def _read(self, start: int, count: int) -> list[int]:
        try:
            return await self._client.read_holding(NAME, self.address, start, count)
        except HalError:
            self._configured = False  # it may have been without supply, or another one may have been put in its place
            raise

    async def _write(self, register: int, value: int) -> None:
        try:
            await self._client.write(NAME, self.address, register, [value])
        except HalError:
            self._configured = False
            raise

    async def _configure(self) -> None:
        """Bring the settings that matter to the values that are wanted; what is right already is not written (the
        device keeps its settings in non-volatile memory)."""
        if self._configured:
            return
        self.version = (await self._read(VERSION, VERSION_COUNT))[1]
        present = await self._read(SETTINGS, SETTINGS_COUNT)
        wanted = dict(self._settings)
        if self.version >= FAST_TEST_VERSION:
            wanted[TEST_MODE] = FAST_TEST
        # The device refuses a prewarning below the alarm, so the order depends on the way the thresholds move.
        rising = wanted[PREWARNING_KOHM] >= present[ALARM_KOHM - SETTINGS]
        for register in sorted(wanted, key=lambda r: r if rising else -r):
            if present[register - SETTINGS] != wanted[register]:
                await self._write(register, wanted[register])
        self._configured = True
        self._updates = None

    def _frozen(self, t: float, registers: list[int]) -> bool:
        counter = channel(registers, UPDATES)
        if not counter.holds(UNIT_NONE):
            return False  # this firmware does not count
        if counter.value != self._updates:
            self._updates, self._updated_t = counter.value, t
        return t - self._updated_t > FROZEN_AFTER_S
