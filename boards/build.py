"""From a board to its drivers and open transports. The imports stand inside: a process loads only what it drives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boards.loader import modbus_devices
from boards.schema import Board
from hal.ports import AcMeter, Converter, DcMeter, InsulationMonitor, PilotBoard, VehicleLink

if TYPE_CHECKING:
    from hal.can.bus import CanPort
    from hal.modbus.client import ModbusRtu
    from hal.uart.serial_port import SerialPort


def build_converter(board: Board) -> Converter:
    """The converter's driver. Sans I/O: frames go over `open_can(board, board.converter.bus)`."""
    from hal.can.infy_beg import InfyBeg

    return InfyBeg(
        controller_address=board.converter.controller_address,
        module_address=board.converter.module_address,
        bitrate=board.bus[board.converter.bus].bitrate,
    )


def build_pilot(board: Board) -> PilotBoard:
    """The pilot MCU's driver. Sans I/O: bytes go over `open_pilot_port(board)`."""
    from hal.uart.pilot_mcu import PilotMcu

    return PilotMcu()


def build_vehicle(board: Board) -> VehicleLink:
    """The driver of the SECC link. Sans I/O: frames go over `open_can(board, board.vehicle.bus)`."""
    from hal.can.secc_bridge import SeccBridge

    if board.vehicle.bus is None:
        raise ValueError("this board's vehicle side is not on CAN")
    return SeccBridge()


def open_can(board: Board, bus: str) -> CanPort:
    """Open one of the board's CAN buses. Raises HalError with a sentence when the system refuses."""
    from hal.can.bus import BusSpec, open_bus

    spec = board.bus[bus]
    return open_bus(BusSpec(spec.interface, spec.channel, spec.bitrate, spec.port))


def open_pilot_port(board: Board) -> SerialPort:
    """Open the pilot MCU's serial line. Raises HalError with a sentence when the system refuses."""
    from hal.uart.serial_port import open_serial

    return open_serial(board.pilot.port, board.pilot.baud)


@dataclass(frozen=True, slots=True)
class Meters:
    """The Modbus devices of a board and the lines they hang on. `lines` must be closed by the owner."""

    insulation: InsulationMonitor
    ac_meter: AcMeter | None
    dc_meter: DcMeter | None
    lines: tuple[ModbusRtu, ...]


def build_meters(board: Board, clock: Callable[[], float]) -> Meters:
    """The meters and the insulation monitor; devices with the same port share one line. `clock`: monotonic seconds.

    Opens nothing: a line connects with its first transaction, and again after it was lost.
    """
    from hal.modbus.client import ModbusRtu
    from hal.modbus.djsf1352 import Djsf1352
    from hal.modbus.isocha425hv import IsoCha425Hv
    from hal.modbus.sdm630 import Sdm630

    lines: dict[str, ModbusRtu] = {}
    for device in modbus_devices(board).values():
        if device.port not in lines:
            lines[device.port] = ModbusRtu(device.port, device.baud, device.parity)
    ac, dc, insulation = board.ac_meter, board.dc_meter, board.insulation
    alarm_kohm = math.ceil(board.limits.insulation_min_ohm / 1000.0)  # the device must not be laxer than guard
    return Meters(
        insulation=IsoCha425Hv(
            lines[insulation.port],
            insulation.address,
            clock,
            prewarning_kohm=max(250, alarm_kohm),  # the device's usual prewarning
            alarm_kohm=alarm_kohm,
        ),
        ac_meter=Sdm630(lines[ac.port], ac.address, clock) if ac else None,
        dc_meter=Djsf1352(lines[dc.port], dc.address, clock) if dc else None,
        lines=tuple(lines.values()),
    )
