"""Acrel DJSF1352-RN DC meter.

Registers (function 3, one block of 20 from 0), as two independent public drivers have them: EVerest module
Acrel_DJSF1352_RN (Apache-2.0) and a charger maker's driver that quotes frames recorded from a real meter (2022):

    0 voltage            1 its decimal point     2 current           3 its decimal point
    4 broken wire        5 inner temperature     6, 7 reserved
    8 power              9 its decimal point     10, 11 reserved
    12, 13 forward energy (high word first)      14, 15 reverse energy
    16 voltage ratio     17 rated current        18 switch inputs/outputs   19 alarms

value = register * 10^(decimal point - 3); current and power are two's complement. Power comes out in W (EVerest, and
a third public driver that divides by 1000 for kW).

Not verified on a device:
- the unit of the energy registers. EVerest takes them as Wh; another public tool as 0.1 Wh. `energy_step_wh` sets it;
  compare with the display before the first real session.
- whether voltage is signed (one driver of three reads it so). Read as signed here: a reversed connection then shows.
- which direction of current the meter calls forward: it follows the wiring. `forward` = into the car is assumed.
- the meter also holds single-precision floats at 50, 52, 54 (V, A, kW); they are not used.
"""

from __future__ import annotations

from collections.abc import Callable

from hal.modbus.client import ModbusRtu, int16, uint32
from hal.ports import DcMeterValues, HalError, Quality, Reading

START = 0
COUNT = 20
VOLTAGE, CURRENT, POWER = 0, 2, 8  # each followed by its decimal point
BROKEN_WIRE, TEMPERATURE = 4, 5
FORWARD, REVERSE = 12, 14
VOLTAGE_RATIO, RATED_CURRENT, SWITCHES, ALARMS = 16, 17, 18, 19
MAX_POINT = 7  # 32767 * 10^4 is far above any meter; more is garbage

NAME = "DC meter DJSF1352"


class Djsf1352:
    """ports.DcMeter. client: the serial line. clock: gives monotonic seconds. energy_step_wh: Wh a count of the energy
    registers. Raises HalError from `read`."""

    def __init__(
        self, client: ModbusRtu, address: int, clock: Callable[[], float], *, energy_step_wh: float = 1.0
    ) -> None:
        if not 1 <= address <= 247:
            raise ValueError(f"{NAME}: address {address} is outside 1 to 247")
        if not 0.0 < energy_step_wh <= 1e6:
            raise ValueError(f"{NAME}: energy step {energy_step_wh} Wh is outside 0 to 1000000 Wh")
        self._client = client
        self.address = address
        self._clock = clock
        self._energy_step_wh = energy_step_wh

    async def read(self) -> Reading[DcMeterValues]:
        """All values of one transaction. The time is that of the request: no value can be younger than it says."""
        t = self._clock()
        registers = await self._client.read_holding(NAME, self.address, START, COUNT)
        try:
            return Reading(decode(registers, self._energy_step_wh), t, Quality.GOOD)
        except ValueError as error:
            raise HalError(
                f"{NAME}, address {self.address} on {self._client.port}, answered nonsense: {error}. "
                f"Check that the device at this address is a DJSF1352."
            ) from None


def decode(registers: list[int], energy_step_wh: float = 1.0) -> DcMeterValues:
    """The block of COUNT registers from START. Raises ValueError with the register that cannot be."""

    def scaled(index: int, what: str) -> float:
        point = registers[index + 1]
        if point > MAX_POINT:
            raise ValueError(f"decimal point {point} of the {what} is outside 0 to {MAX_POINT}")
        # Divide by a whole power of ten: 4003 / 10 is the nearest double to 400.3, 4003 * 0.1 is not.
        raw = int16(registers[index])
        return float(raw * 10 ** (point - 3)) if point >= 3 else raw / 10 ** (3 - point)

    return DcMeterValues(
        v_v=scaled(VOLTAGE, "voltage"),
        i_a=scaled(CURRENT, "current"),
        p_w=scaled(POWER, "power"),
        charge_wh=uint32(registers, FORWARD) * energy_step_wh,
        discharge_wh=uint32(registers, REVERSE) * energy_step_wh,
    )
