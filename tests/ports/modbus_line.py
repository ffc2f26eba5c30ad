"""An emulated Modbus device and the real client on the two ends of a pseudo-terminal, in one loop in simulated time."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from hal.modbus.client import ModbusRtu
from hil.devices.modbus_server import Device, ModbusDevice
from tests.simulated_loop import Clock, run

T = TypeVar("T")
BAUD = 115200  # the line is paced by the emulation, so a test wants a fast one
TIMEOUT_S = 0.3
STEP_S = 0.001
PATIENCE_S = 0.0002  # in real time, for every step: the kernel passes a terminal's bytes on a little later


class Line:
    """`client` is the host's side; `device` is the emulated side with its line faults in `device.slave`."""

    def __init__(self, model: Device, address: int, baud: int = BAUD) -> None:
        self.clock = Clock()
        self._fd, self._host_fd = os.openpty()
        self.path = os.ttyname(self._host_fd)
        self.device = ModbusDevice(
            model, address, BAUD, self._fd, random.Random(1), turnaround_s=0.001, host_fd=self._host_fd
        )
        self.client = ModbusRtu(self.path, baud, timeout_s=TIMEOUT_S, gap_s=0.0, settle_s=0.05)

    async def pump(self) -> None:
        while True:
            self.device.step(self.clock())
            await asyncio.sleep(STEP_S)


def on_line(model: Device, address: int, work: Callable[[Line], Awaitable[T]], baud: int = BAUD) -> T:
    """Run `work` against the device; everything is closed afterwards."""

    line = Line(model, address, baud)

    async def scene() -> T:
        pump = asyncio.create_task(line.pump())
        try:
            await asyncio.sleep(0.005)  # the device shows its first values
            return await work(line)
        finally:
            await line.client.close()
            pump.cancel()
            line.device.close()

    return run(line.clock, scene(), PATIENCE_S)
