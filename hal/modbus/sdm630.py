"""Eastron SDM630 three-phase meter.

Register numbers: user manual "SDM630Modbus MID V2", part 1.2.1 (input registers 30001 and following, function 4, each
value an IEEE 754 single in two registers, high word first; the wire address is the register number minus 30001). The
meter gives at most 40 values, 80 registers, in a transaction (part 1.1), so everything up to 30075 is one block of 76.
Default setting 9600 8N1, address 1 (some lots are delivered with even parity).

Import is energy drawn from the grid when the meter is wired in the direction that its arrows show; then the sign of
power is + for drawn, which is this project's sign.
"""

from __future__ import annotations

from collections.abc import Callable

from hal.modbus.client import ModbusRtu, float32
from hal.ports import AcMeterValues, HalError, Quality, Reading

START = 0
COUNT = 76
# index in the block = register number - 30001
V1, V2, V3 = 0, 2, 4
I1, I2, I3 = 6, 8, 10
P1, P2, P3 = 12, 14, 16
P_SUM = 52  # 30053
Q_SUM = 60  # 30061
F = 70  # 30071
IMPORT_KWH = 72  # 30073
EXPORT_KWH = 74  # 30075
# Outside of these a value is no measurement of this meter but garbage with a right checksum or another meter's answer.
MAX_V = 1000.0
MAX_I = 1000.0
MAX_P = 1e6
MAX_F = 100.0

NAME = "AC meter SDM630"


class Sdm630:
    """ports.AcMeter. client: the serial line. clock: gives monotonic seconds. Raises HalError from `read`."""

    def __init__(self, client: ModbusRtu, address: int, clock: Callable[[], float]) -> None:
        if not 1 <= address <= 247:
            raise ValueError(f"{NAME}: address {address} is outside 1 to 247")
        self._client = client
        self.address = address
        self._clock = clock

    async def read(self) -> Reading[AcMeterValues]:
        """All values of one transaction. The time is that of the request: no value can be younger than it says."""
        t = self._clock()
        registers = await self._client.read_input(NAME, self.address, START, COUNT)
        try:
            return Reading(decode(registers), t, Quality.GOOD)
        except ValueError as error:
            raise HalError(
                f"{NAME}, address {self.address} on {self._client.port}, answered nonsense: {error}. "
                f"Check that the device at this address is an SDM630."
            ) from None


def decode(registers: list[int]) -> AcMeterValues:
    """The block of COUNT registers from START. Raises ValueError with the value that cannot be."""

    def value(index: int, limit: float, what: str) -> float:
        number = float32(registers, index)
        if abs(number) > limit:
            raise ValueError(f"{what} {number:g} is outside ±{limit:g}")
        return number

    def energy(index: int, what: str) -> float:
        number = float32(registers, index)
        if number < 0.0:
            raise ValueError(f"{what} {number:g} kWh is negative")
        return number * 1000.0

    return AcMeterValues(
        v_v=(value(V1, MAX_V, "voltage"), value(V2, MAX_V, "voltage"), value(V3, MAX_V, "voltage")),
        i_a=(value(I1, MAX_I, "current"), value(I2, MAX_I, "current"), value(I3, MAX_I, "current")),
        p_w=value(P_SUM, MAX_P, "power"),
        q_var=value(Q_SUM, MAX_P, "reactive power"),
        f_hz=value(F, MAX_F, "frequency"),
        import_wh=energy(IMPORT_KWH, "import"),
        export_wh=energy(EXPORT_KWH, "export"),
    )
