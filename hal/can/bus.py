"""CAN buses for code that may neither wait nor fail: one port over SocketCAN, slcan, UDP multicast or memory.

Reading never waits and never raises, whatever arrives: what cannot be a frame is dropped and counted. Sending never
waits: what the system does not take at once is refused, and the caller's next frame is fresher anyway. There is no
periodic sender of any kind here, because one would go on commanding while its program hangs.
"""

from __future__ import annotations

import ipaddress
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import can

from hal.ports import CanFrame, HalError

INTERFACES = ("socketcan", "slcan", "udp_multicast", "virtual")
MAX_FRAMES = 256  # a tick takes at most this many; the rest waits in the system's buffer
MAX_ERRORS = 16  # a broken interface must not be asked again and again within one tick
UDP_GROUPS = ipaddress.IPv4Network("239.0.0.0/8")  # administratively scoped multicast, RFC 2365
UDP_PORT = 43113  # python-can's own default


@dataclass(frozen=True, slots=True)
class BusSpec:
    """Which bus. `channel`: can0 (socketcan), /dev/ttyACM0 (slcan), 239.74.163.2 (udp_multicast), any name (virtual).

    bitrate in bit/s: set on an slcan adapter; on SocketCAN it belongs to `ip link`, on the others it means nothing.
    port: UDP port, only for udp_multicast. settle_s: how long opening an slcan adapter waits before it sends the
    first command, since boards with a boot loader restart when their port is opened (python-can waits 2 s too).

    Raises HalError with a sentence when a value is impossible.
    """

    interface: str
    channel: str
    bitrate: int = 125_000
    port: int | None = None
    settle_s: float = 2.0

    def __post_init__(self) -> None:
        if self.interface not in INTERFACES:
            raise HalError(f"CAN interface {self.interface!r} is unknown; known are {', '.join(INTERFACES)}.")
        if not self.channel:
            raise HalError(f"CAN interface {self.interface} needs a channel.")
        if not 10_000 <= self.bitrate <= 1_000_000:
            raise HalError(f"CAN bit rate {self.bitrate} of {self.channel} must be 10000 to 1000000 bit/s.")
        if not 0.0 <= self.settle_s <= 10.0:
            raise HalError(f"settle_s {self.settle_s} of {self.channel} must be 0 to 10 s.")
        if self.port is not None and (self.interface != "udp_multicast" or not 1024 <= self.port <= 65535):
            raise HalError(f"port {self.port} of {self.channel}: only udp_multicast has one, from 1024 to 65535.")
        if self.interface == "udp_multicast":
            try:
                inside = ipaddress.IPv4Address(self.channel) in UDP_GROUPS
            except ValueError:
                inside = False
            if not inside:
                # IPv6 groups and public IPv4 groups may leave the machine, and a desk must never reach a charger.
                raise HalError(f"udp_multicast channel {self.channel!r} must be an IPv4 group inside {UDP_GROUPS}.")

    @classmethod
    def parse(cls, text: str, bitrate: int = 125_000, settle_s: float = 2.0) -> BusSpec:
        """`socketcan:can0`, `slcan:/dev/ttyACM0`, `udp_multicast:239.74.163.2:43113`, `virtual:desk`."""
        interface, _, channel = text.partition(":")
        port: int | None = None
        if interface == "udp_multicast" and ":" in channel:
            channel, _, number = channel.rpartition(":")
            if not number.isascii() or not number.isdigit():
                raise HalError(f"CAN bus {text!r}: {number!r} is not a port number.")
            port = int(number)
        return cls(interface, channel, bitrate, port, settle_s)

    def __str__(self) -> str:
        return f"{self.interface}:{self.channel}" + (f":{self.port}" if self.port is not None else "")


class CanPort(ABC):
    """An open bus. `errors` counts what was received and could not be a frame, and what the system failed to do."""

    errors: int = 0

    @abstractmethod
    def recv(self, now: float) -> list[CanFrame]:
        """All waiting frames, oldest first, at most MAX_FRAMES, stamped with `now` (monotonic seconds).

        Never waits, never raises. Frames this port sent itself are not among them.
        """

    @abstractmethod
    def send(self, frame: CanFrame) -> bool:
        """Hand one frame to the system. False: it was not taken (queue full, interface down). Never waits."""

    @abstractmethod
    def fileno(self) -> int | None:
        """A descriptor that becomes readable when frames wait; None where there is none (virtual)."""

    @abstractmethod
    def close(self) -> None:
        """Give the bus back. Afterwards nothing is received and nothing is taken."""


def open_bus(spec: BusSpec) -> CanPort:
    """Open a bus. Raises HalError with one sentence when the system refuses."""
    # Imported here: a charger on SocketCAN needs neither msgpack nor pyserial in its real-time process.
    if spec.interface == "udp_multicast":
        from hal.can.udp import UdpPort

        return UdpPort(spec.channel, UDP_PORT if spec.port is None else spec.port)
    if spec.interface == "slcan":
        from hal.can.slcan import SlcanPort

        return SlcanPort(spec.channel, spec.bitrate, spec.settle_s)
    options: dict[str, Any] = {"rx_queue_size": 4096} if spec.interface == "virtual" else {}
    try:
        bus = can.Bus(interface=spec.interface, channel=spec.channel, receive_own_messages=False, **options)
    except Exception as error:  # python-can lets OSError, ValueError and its own errors through
        raise HalError(
            f"CAN bus {spec} cannot be opened ({error}); check that the interface exists and is up: "
            f"`ip link set {spec.channel} up type can bitrate {spec.bitrate}`."
        ) from error
    return PythonCanPort(bus)


def frame_of(message: can.Message, now: float) -> CanFrame | None:
    """The frame in a python-can message; None when it is no classic data frame (remote, FD, or its DLC is a lie)."""
    if message.is_remote_frame or message.is_fd or message.dlc > 8 or message.dlc != len(message.data):
        return None
    top = 0x1FFFFFFF if message.is_extended_id else 0x7FF
    if not message.is_error_frame and not 0 <= message.arbitration_id <= top:
        return None
    data = bytes(message.data)
    return CanFrame(message.arbitration_id, data, now, bool(message.is_extended_id), bool(message.is_error_frame))


def message_of(frame: CanFrame) -> can.Message:
    """The python-can message of a frame. Raises ValueError for an impossible id or more than 8 bytes."""
    return can.Message(arbitration_id=frame.id, data=frame.data, is_extended_id=frame.extended, check=True)


class PythonCanPort(CanPort):
    """Any python-can bus whose `recv(0)` and `send(timeout=0)` do not wait: socketcan and virtual."""

    def __init__(self, bus: can.BusABC) -> None:
        self._bus = bus
        self.errors = 0

    def recv(self, now: float) -> list[CanFrame]:
        frames: list[CanFrame] = []
        errors = 0
        while len(frames) < MAX_FRAMES and errors < MAX_ERRORS:
            try:
                message = self._bus.recv(timeout=0.0)
            except Exception:  # a back end's parser may raise anything on what it did not expect
                errors += 1
                continue
            if message is None:
                break
            frame = frame_of(message, now)
            if frame is None:
                errors += 1
            else:
                frames.append(frame)
        self.errors += errors
        return frames

    def send(self, frame: CanFrame) -> bool:
        try:
            self._bus.send(message_of(frame), timeout=0.0)
        except (can.CanError, OSError, ValueError):
            self.errors += 1
            return False
        return True

    def fileno(self) -> int | None:
        try:
            number = self._bus.fileno()
        except (NotImplementedError, AttributeError):
            return None
        return number if number >= 0 else None

    def close(self) -> None:
        self._bus.shutdown()
