"""The loop around `Guard.step`: it moves bytes and keeps the beat, nothing else.

It is the only holder of the converter bus's send side. Every read is non-blocking, every write is dropped and counted
when the other side does not take it: neither disk nor network nor services can hold the loop up.
"""

from __future__ import annotations

import socket
import time
import uuid
from collections import deque
from typing import Protocol

import msgspec

from firmware.guard.known import Readings
from firmware.guard.machine import AT_REST
from firmware.guard.messages import CanLog, EventMessage, FromGuard, Operator, ToGuard
from firmware.guard.realtime import Deadline, Lateness
from firmware.guard.snapshot import snapshot
from firmware.guard.step import Guard
from hal.ports import CanFrame, Converter, HalError, PilotBoard

SNAPSHOT_PERIOD_S = 0.1
MAX_MESSAGES_PER_TICK = 32
RECORDS_KEPT = 4  # disturbance records that services did not take; the oldest goes
GONE_S = 1.0
GONE_MAX_S = 10.0
_PACKET = 262_144


class CanSide(Protocol):
    errors: int  # rises with every call that the system refused

    def recv(self, now: float) -> list[CanFrame]: ...
    def send(self, frame: CanFrame) -> bool: ...


class SerialSide(Protocol):
    errors: int

    def recv(self) -> bytes: ...
    def send(self, data: bytes) -> bool: ...


class Gone:
    """Tells when a device's node is gone for good (an adapter that was pulled out): errors in every tick for a while.

    An open descriptor never comes back when the adapter does; only a new guard process opens the new node.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._errors = 0
        self._since: float | None = None

    def check(self, now: float, errors: int, at_rest: bool) -> None:
        """Raises HalError after GONE_S of errors, as soon as the charger is at rest (or GONE_MAX_S later)."""
        if errors == self._errors:
            self._since = None
            return
        self._errors = errors
        if self._since is None:
            self._since = now
        if now - self._since > (GONE_S if at_rest else GONE_S + GONE_MAX_S):
            raise HalError(f"{self.what} is gone; check the cable and the adapter")


class ServicesSide(Protocol):
    dropped: int

    def recv(self) -> list[ToGuard]: ...
    def send(self, message: FromGuard) -> bool: ...


class ServicesLink:
    """Guard's end of the socket pair to services: typed messages, never blocking."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(ToGuard).decode
        self.dropped = 0
        self.bad = 0

    def recv(self) -> list[ToGuard]:
        """The messages that wait, oldest first. At most MAX_MESSAGES_PER_TICK packets are looked at, so that a flood
        costs a bounded time, whatever is in it; what cannot be decoded is counted."""
        messages: list[ToGuard] = []
        for _ in range(MAX_MESSAGES_PER_TICK):
            try:
                packet = self._sock.recv(_PACKET)
            except OSError:
                break
            if not packet:
                break
            try:
                messages.append(self._decode(packet))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # the decoder lets the last two through
                self.bad += 1
        return messages

    def send(self, message: FromGuard) -> bool:
        try:
            self._sock.send(self._encode(message))
        except OSError:
            self.dropped += 1
            return False
        return True


class GuardLoop:
    """Drivers, transports and guard, one tick at a time."""

    def __init__(
        self,
        guard: Guard,
        converter: Converter,
        pilot: PilotBoard,
        can: CanSide,
        serial: SerialSide,
        services: ServicesSide,
        *,
        realtime_refused: tuple[str, ...] = (),
        channel: str = "can0",
    ) -> None:
        self.guard = guard
        self.converter = converter
        self.pilot = pilot
        self.can = can
        self.serial = serial
        self.services = services
        self.boot = uuid.uuid4().hex
        self.lateness = Lateness(1000)
        self.step_cost = Lateness(1000)
        self._refused = realtime_refused
        self._channel = channel
        self._can_log = False
        self._said: tuple[object, ...] = ()
        self._next_snapshot = 0.0
        self._missed = 0
        self._serial_gone = Gone("the pilot's serial line")
        self._can_gone = Gone("the converter's CAN bus")
        self._dropped_told = 0
        self._records: deque[FromGuard] = deque(maxlen=RECORDS_KEPT)

    def tick(self, now: float, late_s: float = 0.0, missed: int = 0, extra: tuple[ToGuard, ...] = ()) -> None:
        """One period: bytes in, step, bytes out."""
        self._missed += missed
        received = self.can.recv(now)
        for frame in received:
            self.converter.receive(now, frame)
        self.pilot.receive(now, self.serial.recv())
        messages = [*self.services.recv(), *extra]
        readings = Readings(self.converter.poll(now), self.pilot.poll(now), late_s, missed, self._refused)
        commands = self.guard.step(now, readings, messages)
        sent = self.converter.command(now, commands.outputs.converter)
        for frame in sent:
            self.can.send(frame)
        self.serial.send(self.pilot.command(now, commands.outputs.pilot))
        at_rest = self.guard.session.machine.state in AT_REST
        self._serial_gone.check(now, self.serial.errors, at_rest)
        self._can_gone.check(now, self.can.errors, at_rest)
        self._publish(now, commands.events, commands.record)
        self._log_can(now, messages, received, sent)

    def _publish(self, now: float, events: tuple[FromGuard, ...], record: FromGuard | None) -> None:
        for event in events:
            self.services.send(event)
        if record is not None:
            self._records.append(record)
            self._send_record()
        guard = self.guard
        assert guard.grid is not None
        key = (guard.session.machine.state, guard.grid.state, guard.down, guard.session.self_test_serial)
        if now >= self._next_snapshot or key != self._said:
            self._said = key
            self._next_snapshot = now + SNAPSHOT_PERIOD_S
            dropped = self.services.dropped
            sent = self.services.send(snapshot(guard, now, self.boot, self.lateness, self._missed, dropped))
            if sent and dropped > self._dropped_told:  # they read again: tell them what they missed
                lost = EventMessage(now, "messages_dropped", f"{dropped - self._dropped_told} since the last time")
                self._dropped_told = dropped if self.services.send(lost) else self._dropped_told
            if sent:
                self._send_record()

    def _send_record(self) -> None:
        """The oldest disturbance record that services have not got: one that finds no room is offered again later."""
        if self._records and self.services.send(self._records[0]):
            self._records.popleft()

    def _log_can(self, now: float, messages: list[ToGuard], received: list[CanFrame], sent: object) -> None:
        for message in messages:
            if isinstance(message, Operator) and message.action == "can_log":
                self._can_log = message.source == "on"
        if self._can_log:
            assert isinstance(sent, list | tuple)
            frames = [(f.t or now, self._channel, f.id, f.data, False) for f in received]
            frames += [(now, self._channel, f.id, f.data, True) for f in sent]
            if frames:
                self.services.send(CanLog(frames))

    def run(self, period_s: float, stop: StopFlag) -> None:
        """Tick on absolute deadlines until `stop` is set and the charger is down."""
        deadline = Deadline(period_s)
        missed = 0
        asked_at: float | None = None
        while True:
            late_s = deadline.wait()
            self.lateness.add(late_s)
            now = time.monotonic()
            extra: tuple[ToGuard, ...] = ()
            if stop.raised and asked_at is None:
                asked_at = now
                extra = (Operator("shutdown", "signal"),)
            self.tick(now, late_s, deadline.missed - missed, extra)
            missed = deadline.missed
            self.step_cost.add(time.monotonic() - now)
            if asked_at is not None and (self.guard.down or now - asked_at > 10.0):
                return


class StopFlag:
    """Set by a signal handler; looked at once a tick."""

    def __init__(self) -> None:
        self.raised = False

    def __call__(self, *_: object) -> None:
        self.raised = True
