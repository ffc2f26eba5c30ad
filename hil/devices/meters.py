"""Emulated meters: SDM630 on the AC side, DJSF1352 on the DC side.

`python -m hil.devices.meters --kind ac|dc --port PATH --shm NAME`

They measure continuously and show the result at their own pace: all registers of one refresh belong together and do
not change in between, so a reading can be a whole refresh old although it was asked for just now. Both have the
accuracy of their class as a constant gain error drawn from the rng, a starting current below which no energy counts,
registers with a resolution, and import and export apart. The registers survive a restart when a state file is given.

Where they sit: the AC meter on the grid side of the grid contactor (it keeps its supply when the contactor opens and
loses it with the grid), the DC meter behind the DC contactor, at the cable (so it shows a welded contactor).
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hal.modbus import djsf1352, sdm630
from hal.modbus.client import float32_registers
from hil.devices import commands, modbus_server, process
from hil.devices.modbus_server import (
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    READ_HOLDING,
    READ_INPUT,
    Refused,
)
from hil.plant.link import PlantLink

# Class B (EN 50470-3 / -4, also called class 1): 1 % at and above the transitional current, at reference conditions.
CLASS_B = 0.01
# Voltage and current alone: 0.5 % (SDM630 data sheet, of range; taken of the value here).
VI_ERROR = 0.005
# Starting current class B direct connected: 0.04 of I_tr (EN 50470-3 table 1); 10(100) A meter: I_tr = 1 A.
AC_START_A = 0.04
# DC, EN 50470-4: same rule; shunt of 200 A nominal, I_tr 10 A.
DC_START_A = 0.4
AC_SUPPLY_MIN_V = 100.0  # an SDM630 lives on what it measures; data sheet: works down to 100 V phase to neutral
SUPPLY_HOLD_S = 0.3
BOOT_S = 2.0
SAVE_S = 5.0  # a real meter writes its registers at power-down; a killed process has no power-down


class EnergyRegisters:
    """Two energy registers (Wh) that only grow, with an optional file behind them."""

    def __init__(self, state_file: str | None) -> None:
        self._file = state_file
        self.import_wh = 0.0
        self.export_wh = 0.0
        if state_file is not None and os.path.exists(state_file):
            with open(state_file, encoding="utf-8") as handle:
                try:
                    state = json.load(handle)
                    self.import_wh, self.export_wh = float(state["import_wh"]), float(state["export_wh"])
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(f"{state_file}: no meter state ({error}); delete it to start from zero") from None
        self._saved = (self.import_wh, self.export_wh)

    def add(self, energy_wh: float) -> None:
        """+ counts as import, - as export; nothing is netted."""
        if energy_wh > 0.0:
            self.import_wh += energy_wh
        else:
            self.export_wh -= energy_wh

    def save(self) -> None:
        """Replace the state file as a whole, so that a kill at any instant leaves the old or the new one."""
        now = (self.import_wh, self.export_wh)
        if self._file is None or now == self._saved:
            return
        temporary = f"{self._file}.new"
        with open(temporary, "w", encoding="utf-8") as handle:
            json.dump({"import_wh": now[0], "export_wh": now[1]}, handle)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, self._file)
        self._saved = now


class _Meter:
    """What both meters share: pace, energy, supply. Fault: `supply` False takes the meter's supply away."""

    name = "meter"
    rules: Mapping[str, commands.Rule] = {"supply": commands.FLAG}

    def __init__(
        self,
        link: PlantLink,
        rng: random.Random,
        refresh_s: float,
        energy_step_wh: float,
        state_file: str | None,
        boot_s: float,
    ) -> None:
        self._link = link
        self._refresh_s = refresh_s
        self._step_wh = energy_step_wh
        self._boot_s = boot_s
        self._gain_v = 1.0 + rng.uniform(-VI_ERROR, VI_ERROR)
        self._gain_i = 1.0 + rng.uniform(-VI_ERROR, VI_ERROR)
        self._gain_p = 1.0 + rng.uniform(-CLASS_B, CLASS_B)
        self._energy = EnergyRegisters(state_file)
        self._t: float | None = None
        self._shown_t = -math.inf
        self._saved_t = -math.inf
        self._supply_t = -math.inf  # last time with supply
        self._boot_t = -math.inf
        self.answering = True
        self.supply = True

    def step(self, now: float) -> None:
        """Measure up to now (monotonic seconds)."""
        dt, self._t = (0.0 if self._t is None else now - self._t), now
        if self.supply and self._supplied():
            self._supply_t = now
        if now - self._supply_t > SUPPLY_HOLD_S:
            self.answering = False
            self._boot_t = now + self._boot_s
            self._energy.save()
            return
        if not self.answering:
            if now < self._boot_t:
                return
            self.answering = True
            self._shown_t = -math.inf
        self._energy.add(self._power_w() * self._gain_p * dt / 3600.0)
        if now - self._shown_t >= self._refresh_s:
            self._shown_t = now
            self._show()
        if now - self._saved_t >= SAVE_S:
            self._saved_t = now
            self._energy.save()

    def close(self) -> None:
        self._energy.save()

    def handle(self, command: dict[str, Any]) -> None:
        """Obey the rig: see `rules`. Raises ValueError with a sentence."""
        for name, value in commands.checked(self.name, self.rules, command).items():
            setattr(self, name, value)

    def _counts(self, energy_wh: float) -> int:
        """What the register shows: whole steps, never rounded up."""
        return int(energy_wh / self._step_wh)

    def _supplied(self) -> bool:
        return True

    def _power_w(self) -> float:
        raise NotImplementedError

    def _show(self) -> None:
        raise NotImplementedError


class EmulatedAcMeter(_Meter):
    """SDM630. refresh_s: how often the registers change. energy_step_wh: resolution of the energy registers."""

    name = "AC meter"

    def __init__(
        self,
        link: PlantLink,
        rng: random.Random,
        *,
        refresh_s: float = 1.0,
        energy_step_wh: float = 10.0,
        state_file: str | None = None,
        boot_s: float = BOOT_S,
    ) -> None:
        super().__init__(link, rng, refresh_s, energy_step_wh, state_file, boot_s)
        self._registers = [0] * 80

    def read_registers(self, function: int, start: int, count: int) -> list[int]:
        """Input registers 0 to 79. Raises Refused."""
        if function != READ_INPUT:
            raise Refused(ILLEGAL_FUNCTION)
        # Values are pairs: an odd start or number is refused (user manual part 1.1), more than 80 as well.
        if start % 2 or count % 2 or start + count > len(self._registers):
            raise Refused(ILLEGAL_ADDRESS)
        return self._registers[start : start + count]

    def write_registers(self, start: int, values: Sequence[int]) -> None:
        raise Refused(ILLEGAL_ADDRESS)

    def _supplied(self) -> bool:
        link = self._link
        return max(link.pcc_va_v, link.pcc_vb_v, link.pcc_vc_v) >= AC_SUPPLY_MIN_V

    def _power_w(self) -> float:
        link = self._link
        if max(abs(link.ac_ia_a), abs(link.ac_ib_a), abs(link.ac_ic_a)) < AC_START_A:
            return 0.0
        return link.ac_p_w

    def _show(self) -> None:
        link = self._link
        v = [x * self._gain_v for x in (link.pcc_va_v, link.pcc_vb_v, link.pcc_vc_v)]
        i = [abs(x) * self._gain_i for x in (link.ac_ia_a, link.ac_ib_a, link.ac_ic_a)]
        p, q = self._power_w() * self._gain_p, link.ac_q_var * self._gain_p
        s = [a * b for a, b in zip(v, i, strict=True)]
        total = sum(s)
        share = [x / total if total > 0.0 else 0.0 for x in s]
        factor = p / total if total > 0.0 else 1.0
        # Below half the nominal voltage the frequency cannot be measured and shows zero.
        f = link.pcc_f_hz if max(v) > 0.5 * 230.0 and math.isfinite(link.pcc_f_hz) else 0.0
        shown = {
            0: v[0], 2: v[1], 4: v[2], 6: i[0], 8: i[1], 10: i[2],
            12: p * share[0], 14: p * share[1], 16: p * share[2], 18: s[0], 20: s[1], 22: s[2],
            24: q * share[0], 26: q * share[1], 28: q * share[2], 30: factor, 32: factor, 34: factor,
            42: sum(v) / 3.0, 46: sum(i) / 3.0, 48: sum(i),
            sdm630.P_SUM: p, 56: total, sdm630.Q_SUM: q, 62: factor, sdm630.F: f,
            sdm630.IMPORT_KWH: self._counts(self._energy.import_wh) * self._step_wh / 1000.0,
            sdm630.EXPORT_KWH: self._counts(self._energy.export_wh) * self._step_wh / 1000.0,
        }  # fmt: skip
        for index, value in shown.items():
            self._registers[index : index + 2] = float32_registers(value)


class EmulatedDcMeter(_Meter):
    """DJSF1352. It has a supply of its own (24 V). Values have four digits and a decimal point that moves."""

    name = "DC meter"

    def __init__(
        self,
        link: PlantLink,
        rng: random.Random,
        *,
        refresh_s: float = 0.5,
        energy_step_wh: float = 1.0,
        state_file: str | None = None,
        boot_s: float = BOOT_S,
    ) -> None:
        super().__init__(link, rng, refresh_s, energy_step_wh, state_file, boot_s)
        self._registers = [0] * djsf1352.COUNT

    def read_registers(self, function: int, start: int, count: int) -> list[int]:
        """Holding registers 0 to 19. Raises Refused."""
        if function != READ_HOLDING:
            raise Refused(ILLEGAL_FUNCTION)
        if start + count > len(self._registers):
            raise Refused(ILLEGAL_ADDRESS)
        return self._registers[start : start + count]

    def write_registers(self, start: int, values: Sequence[int]) -> None:
        raise Refused(ILLEGAL_ADDRESS)

    def _power_w(self) -> float:
        link = self._link
        return link.cable_v_v * link.cable_i_a if abs(link.cable_i_a) >= DC_START_A else 0.0

    def _show(self) -> None:
        link = self._link
        i_a = link.cable_i_a if abs(link.cable_i_a) >= DC_START_A else 0.0
        for index, value in (
            (djsf1352.VOLTAGE, link.cable_v_v * self._gain_v),
            (djsf1352.CURRENT, i_a * self._gain_i),
            (djsf1352.POWER, self._power_w() * self._gain_p),
        ):
            self._registers[index : index + 2] = four_digits(value)
        self._registers[djsf1352.TEMPERATURE] = int(10.0 * (link.ambient_c + 8.0)) & 0xFFFF
        self._registers[djsf1352.VOLTAGE_RATIO] = 1
        self._registers[djsf1352.RATED_CURRENT] = 200
        for index, energy_wh in (
            (djsf1352.FORWARD, self._energy.import_wh),
            (djsf1352.REVERSE, self._energy.export_wh),
        ):
            counts = self._counts(energy_wh) & 0xFFFFFFFF
            self._registers[index : index + 2] = counts >> 16, counts & 0xFFFF


def four_digits(value: float) -> tuple[int, int]:
    """(register, decimal point): value = register * 10^(point - 3), at most four digits, two's complement."""
    point = 0
    while point < djsf1352.MAX_POINT and abs(value) * 10.0 ** (3 - point) >= 9999.5:
        point += 1
    digits = max(-9999, min(9999, round(value * 10.0 ** (3 - point))))
    return digits & 0xFFFF, point


_KINDS: dict[str, tuple[Callable[..., EmulatedAcMeter | EmulatedDcMeter], int]] = {
    "ac": (EmulatedAcMeter, 1),
    "dc": (EmulatedDcMeter, 2),
}


def main() -> int:
    parser = modbus_server.arguments("Emulated AC or DC meter", baud=9600, address=0)
    parser.add_argument("--kind", choices=sorted(_KINDS), required=True)
    parser.add_argument("--state", help="file that keeps the energy registers over restarts")
    options = parser.parse_args()
    make, address = _KINDS[options.kind]
    options.address = options.address or address
    rng = random.Random(options.seed)
    shared = process.SharedLink(options.shm)
    try:
        device = make(shared.link, rng, state_file=options.state)
    except ValueError as error:
        shared.close()
        print(error, file=sys.stderr)
        return 2
    return modbus_server.serve(device, shared, options, rng)


if __name__ == "__main__":
    sys.exit(main())
