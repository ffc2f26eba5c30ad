"""A converter driver and an emulated module on one simulated bus, with the least of a plant behind them.

Simulated time: the bus and the module advance by 1 ms, the driver by its tick. Nothing here waits.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from hal.can import infy_codec as codec
from hal.can.infy_beg import InfyBeg
from hal.ports import CONVERTER_OFF, CanFrame, Converter, ConverterCommand, ConverterStatus, Direction
from hil.devices.converter import EmulatedBeg
from hil.plant.link import PlantLink

CHARGE = ConverterCommand(True, Direction.CHARGE, voltage_v=450.0, current_a=10.0, ovp_v=480.0)
DISCHARGE = ConverterCommand(True, Direction.DISCHARGE, current_a=12.0, cutoff_v=330.0, ovp_v=480.0)


class Pair:
    """The driver under test and the module's emulator. A bench for another driver overrides what reads its frames."""

    tick_s = 0.01
    boot_s = 0.1  # longest time from supply to the first answer; shortened from about 3 s, which nothing depends on

    def __init__(self, driver: Converter, device: EmulatedBeg, link: PlantLink) -> None:
        self.driver, self.device, self.link = driver, device, link
        self.now = 100.0
        self.sent: list[tuple[float, CanFrame]] = []  # from the driver
        self.answers: list[tuple[float, CanFrame]] = []  # from the module, as the driver receives them
        self.status = ConverterStatus()
        self.cable: Callable[[CanFrame], CanFrame | None] = lambda frame: frame  # module -> driver
        self.seen: list[Callable[[], None]] = []  # called after every tick
        self.battery_v = 400.0
        self.grid_v, self.grid_hz = 230.0, 50.0
        link.k_grid = link.converter_enable = 1.0
        link.ambient_c, link.module_temp_c = 25.0, 40.0

    # ----------------------------------------------------------------------- reading the driver's frames
    @staticmethod
    def write(frame: CanFrame, name: str) -> float | None:
        """The value that `frame` writes to the DBC's signal `name`; None when it does not."""
        if codec.split_id(frame.id).command != codec.WRITE:
            return None
        decoded = codec.decode_write(frame.data)
        return decoded[1] if decoded and codec.WRITE_FIELDS[decoded[0]].name == name else None

    def current(self, frame: CanFrame) -> float | None:
        """The current set-point (A) in a frame; None when it carries none."""
        return self.write(frame, "Wr_ModuleCurrent") or self.write(frame, "Wr_SystemCurrent")

    def is_off(self, frame: CanFrame) -> bool:
        return self.write(frame, "Wr_OnOff") == codec.OFF

    def is_on(self, frame: CanFrame) -> bool:
        return self.write(frame, "Wr_OnOff") == codec.ON

    def is_mode(self, frame: CanFrame) -> bool:
        return self.write(frame, "Wr_WorkingMode") is not None

    def is_write(self, frame: CanFrame) -> bool:
        return codec.split_id(frame.id).command == codec.WRITE

    def is_limit_read(self, frame: CanFrame) -> bool:
        return codec.split_id(frame.id).command == codec.READ and 0x1130 <= frame.data[0] << 8 | frame.data[1] <= 0x1133

    # ---------------------------------------------------------------------------------------------- time
    def physics(self) -> None:
        link = self.link
        live = self.grid_v if link.k_grid else 0.0
        link.ac_va_v = link.ac_vb_v = link.ac_vc_v = live
        link.ac_f_hz = self.grid_hz if live else 0.0
        link.dc_v_v = self.battery_v
        link.dc_i_a = link.conv_dir * link.conv_i_a if link.conv_on else 0.0
        link.ac_p_w = link.dc_v_v * link.dc_i_a
        link.ac_q_var = link.conv_tan_phi * abs(link.ac_p_w)

    def tick(self, command: ConverterCommand = CONVERTER_OFF) -> list[CanFrame]:
        """One tick of the driver, then the bus until the next. Returns what the driver sent."""
        self.status = self.driver.poll(self.now)
        frames = list(self.driver.command(self.now, command))
        for frame in frames:
            self.sent.append((self.now, frame))
            self.device.receive(self.now, frame)
        end = self.now + self.tick_s
        while self.now < end - 1e-9:
            self.now = min(end, self.now + 0.001)
            self.physics()
            for frame in self.device.step(self.now):
                arrived = self.cable(frame._replace(t=self.now))
                if arrived is not None:
                    self.answers.append((self.now, arrived))
                    self.driver.receive(self.now, arrived)
        for look in self.seen:
            look()
        return frames

    def run(self, seconds: float, command: ConverterCommand = CONVERTER_OFF) -> ConverterStatus:
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.tick(command)
        return self.status

    def until(
        self, condition: Callable[[], bool], command: ConverterCommand = CONVERTER_OFF, within_s: float = 2.0
    ) -> float:
        """Tick until the condition holds; how long it took. AssertionError when it takes longer than `within_s`."""
        begin = self.now
        while not condition():
            assert self.now - begin <= within_s, f"not within {within_s} s; {self.status}"
            self.tick(command)
        return self.now - begin

    def ready(self) -> Pair:
        """Boot and read out."""
        self.until(lambda: self.status.ready, within_s=self.boot_s + 1.0)
        return self

    def running(self, command: ConverterCommand) -> Pair:
        """Ready, on, and carrying the commanded current."""
        self.ready()
        self.until(lambda: abs(abs(self.link.dc_i_a) - command.current_a) < 0.1, command, 2.0)
        return self


def beg_pair(seed: int = 1, driver: InfyBeg | None = None, boot_s: tuple[float, float] = (0.05, 0.1)) -> Pair:
    link = PlantLink()
    return Pair(driver or InfyBeg(), EmulatedBeg(link, random.Random(seed), boot_s=boot_s), link)
