"""CAN frames in UDP multicast datagrams that cannot leave the machine: the desk's bus between processes.

The datagrams are python-can's udp_multicast format (MessagePack of a message's fields), so `can_viewer -i
udp_multicast` and any other python-can program can listen. The socket is our own, because three of python-can's
choices are wrong for a rig that stands beside real chargers:

* its default hop limit of 1 reaches other hosts; here it is 0, and the group is joined and sent on loopback only;
* it needs a default route, so it fails on a laptop without network;
* it gives a sender its own frames back, indistinguishable from a peer's. Here every port marks its datagrams with a
  random tag in the `channel` field, and drops what carries its own.
"""

from __future__ import annotations

import secrets
import socket

import msgpack
from can.interfaces.udp_multicast.utils import pack_message

from hal.can.bus import MAX_ERRORS, MAX_FRAMES, CanPort, message_of
from hal.ports import CanFrame, HalError

HOP_LIMIT = 0
LOOPBACK = socket.inet_aton("127.0.0.1")
IP_MULTICAST_ALL = 49  # linux/in.h; not in Python's socket module
MAX_DATAGRAM = 4096  # bytes; a classic frame takes about 200
# One datagram costs the kernel about 0.8 KiB, so its default buffer is full after 256 of them, and drops silently.
RECEIVE_BUFFER = 1 << 20


def _decode(datagram: bytes, now: float) -> tuple[object, CanFrame | None]:
    """The sender's tag and the frame; None for the frame when it is not a complete classic data or error frame.

    Not python-can's unpack_message: it fills what is missing, so that an empty map becomes a frame with id 0.
    """
    try:
        fields = msgpack.unpackb(datagram)
        identifier, data, dlc = fields["arbitration_id"], fields["data"], fields["dlc"]
        extended, error = fields["is_extended_id"], fields["is_error_frame"]
        sender = fields.get("channel")
        strange = fields["is_remote_frame"] or fields["is_fd"]
    except Exception:  # msgpack raises half a dozen types on a stranger's datagram
        return None, None
    if strange or not isinstance(data, bytes) or len(data) > 8 or dlc != len(data):
        return sender, None
    if not isinstance(identifier, int) or not isinstance(extended, bool) or not isinstance(error, bool):
        return sender, None
    if not 0 <= identifier <= (0x1FFFFFFF if extended else 0x7FF) and not error:
        return sender, None
    return sender, CanFrame(identifier, data, now, extended, error)


class UdpPort(CanPort):
    """One member of a multicast group on loopback. Raises HalError when the socket cannot be made."""

    def __init__(self, group: str, port: int) -> None:
        self.errors = 0
        self._to = (group, port)
        self._tag = f"quadrant-{secrets.token_hex(6)}"
        self._socket = sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        member = socket.inet_aton(group) + LOOPBACK
        try:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, HOP_LIMIT)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, LOOPBACK)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            # Without this Linux also delivers what other programs of this host joined on other interfaces.
            sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
            sock.bind((group, port))  # bound to the group: unicast datagrams to the port are not heard
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)  # the system may grant less
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            raise HalError(
                f"CAN bus udp_multicast:{group}:{port} cannot be opened ({error}); check that `lo` is up and that no "
                "other program holds the port exclusively."
            ) from error

    def recv(self, now: float) -> list[CanFrame]:
        frames: list[CanFrame] = []
        errors = 0
        for _ in range(2 * MAX_FRAMES):  # own frames are read too, and must not hide a peer's
            if len(frames) == MAX_FRAMES or errors == MAX_ERRORS:
                break
            try:
                datagram = self._socket.recv(MAX_DATAGRAM)
            except OSError as error:
                if not isinstance(error, BlockingIOError):
                    errors += 1
                break
            sender, frame = _decode(datagram, now)
            if sender == self._tag:
                continue
            if frame is None:
                errors += 1
            else:
                frames.append(frame)
        self.errors += errors
        return frames

    def send(self, frame: CanFrame) -> bool:
        try:
            message = message_of(frame)
            message.channel = self._tag
            self._socket.sendto(pack_message(message), self._to)
        except (OSError, ValueError):
            self.errors += 1
            return False
        return True

    def fileno(self) -> int | None:
        number = self._socket.fileno()
        return number if number >= 0 else None

    def close(self) -> None:
        self._socket.close()
