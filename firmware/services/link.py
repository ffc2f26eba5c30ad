"""Services' end of the socket pair to guard: typed messages, never blocking, nothing trusted."""

from __future__ import annotations

import socket

import msgspec

from firmware.guard.messages import FromGuard, ToGuard

MAX_PACKET_BYTES = 4 * 1024 * 1024  # a disturbance record is the largest; the kernel's own limit is lower
MAX_PER_CALL = 64  # so that a flood cannot starve the rest of the event loop


class GuardLink:
    """One packet is one message. `bad`: packets that were no message; `not_sent`: what guard's queue did not take."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(FromGuard)
        self._buffer = bytearray(MAX_PACKET_BYTES)
        self.bad = 0
        self.not_sent = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[FromGuard]:
        """What arrived, oldest first, at most MAX_PER_CALL messages."""
        messages: list[FromGuard] = []
        for _ in range(MAX_PER_CALL):
            try:
                size = self._socket.recv_into(self._buffer)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # the peer was killed with unread data: the next one gets the same pair
                break
            if size == 0:
                break
            try:
                messages.append(self._decoder.decode(memoryview(self._buffer)[:size]))
            except msgspec.MsgspecError:
                self.bad += 1
        return messages

    def send(self, message: ToGuard) -> bool:
        """False when guard's queue is full (it is dead or restarting): the next renewal says it again."""
        try:
            self._socket.send(self._encoder.encode(message))
        except OSError:
            self.not_sent += 1
            return False
        return True

    def close(self) -> None:
        self._socket.close()
