"""Guard's end of the socket to services, and the loop around it: nothing that arrives can stop or hold up guard."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from firmware.guard.loop import GONE_MAX_S, GONE_S, MAX_MESSAGES_PER_TICK, Gone, GuardLoop, ServicesLink
from firmware.guard.messages import (
    CanLog,
    EventMessage,
    FromGuard,
    Operator,
    PowerRequest,
    Snapshot,
    ToGuard,
    TripRecord,
)
from hal.can.infy_beg import InfyBeg
from hal.ports import CanFrame, HalError
from hal.uart.pilot_mcu import PilotMcu
from tests.guard.puppet import TICK_S, make_guard

STOP = msgspec.msgpack.encode(Operator("stop"))
DEEP = b"\x82" + msgspec.msgpack.encode("type") + msgspec.msgpack.encode("operator") + msgspec.msgpack.encode("x")


@pytest.fixture
def ends() -> Iterator[tuple[ServicesLink, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    yield ServicesLink(ours), theirs
    ours.close()
    theirs.close()


Ends = tuple[ServicesLink, socket.socket]


def test_messages_come_in_order_and_whole(ends: Ends) -> None:
    link, theirs = ends
    sent = [Operator("stop"), PowerRequest("me", 1.0, 2.0, "why"), Operator("start")]
    for message in sent:
        theirs.send(msgspec.msgpack.encode(message))
    assert link.recv() == sent
    assert link.recv() == []


@pytest.mark.parametrize(
    "packet",
    [
        b"\xc1",
        b"\x80",
        STOP[:-1],
        STOP.replace(b"stop", b"\xff\xfe\xfd\xfc"),  # a string that is no UTF-8
        DEEP + b"\x91" * 100_000 + b"\xc0",  # deeper than any recursion
        b"\x00" * 200_000,
        msgspec.msgpack.encode({"type": "power", "source": "x", "power_w": "much", "until_s": 1.0}),
        msgspec.msgpack.encode({"type": "snapshot"}),
        msgspec.msgpack.encode(EventMessage(0.0, "state")),  # the other direction's
    ],
)
def test_garbage_is_counted_and_what_follows_is_heard(packet: bytes, ends: Ends) -> None:
    link, theirs = ends
    theirs.send(packet)
    theirs.send(STOP)
    assert link.recv() == [Operator("stop")]
    assert link.bad == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=8))
@example([b"\x82\xa4type\xa5power"])
def test_any_bytes_leave_the_link_alive(ends: Ends, packets: list[bytes]) -> None:
    link, theirs = ends
    for packet in packets:
        theirs.send(packet)
    for _ in range(len(packets) + 1):
        link.recv()
    theirs.send(STOP)
    assert Operator("stop") in link.recv()


@pytest.mark.parametrize("packet", [STOP, b"\xc1"])
def test_a_flood_costs_one_tick_a_bounded_number_of_packets(packet: bytes, ends: Ends) -> None:
    link, theirs = ends
    count = 0
    while count < 3 * MAX_MESSAGES_PER_TICK:
        try:
            theirs.send(packet)
        except BlockingIOError:
            break
        count += 1
    assert count > MAX_MESSAGES_PER_TICK
    good = len(link.recv())
    assert good + link.bad == MAX_MESSAGES_PER_TICK
    for _ in range(3):
        good += len(link.recv())
    assert good + link.bad == count, "none is lost"


def test_a_full_socket_drops_and_counts_and_never_waits(ends: Ends) -> None:
    link, theirs = ends
    event = EventMessage(1.0, "state", "x" * 1000)
    for _ in range(5000):  # nobody reads: one that waited would hang here
        link.send(event)
    assert link.dropped > 0
    dropped = link.dropped
    while True:
        try:
            theirs.recv(65536)
        except BlockingIOError:
            break
    assert link.send(event)
    assert link.dropped == dropped


def test_a_message_larger_than_the_socket_is_dropped(ends: Ends) -> None:
    link, _ = ends
    assert not link.send(EventMessage(1.0, "state", "x" * 50_000_000))
    assert link.dropped == 1


def test_services_that_are_gone_are_silence_and_not_an_error() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link = ServicesLink(ours)
    theirs.close()
    assert link.recv() == []
    assert not link.send(EventMessage(1.0, "state"))
    assert link.dropped == 1
    ours.close()


# --------------------------------------------------------------------------------------------------------- the loop
class Wire:
    """Both hardware sides of the loop: they hand over what a test put in, and may refuse what is sent."""

    def __init__(self, incoming: object, takes: bool = True) -> None:
        self.incoming, self.takes = incoming, takes
        self.sent = 0
        self.errors = 0

    def recv(self, *_: float) -> object:
        return self.incoming

    def send(self, _: object) -> bool:
        self.sent += 1
        return self.takes


class Services:
    def __init__(self) -> None:
        self.inbox: list[ToGuard] = []
        self.outbox: list[FromGuard] = []
        self.dropped = 0

    def recv(self) -> list[ToGuard]:
        messages, self.inbox = self.inbox, []
        return messages

    def send(self, message: FromGuard) -> bool:
        self.outbox.append(message)
        return True


def make_loop(can: Wire, serial: Wire, services: Services) -> GuardLoop:
    return GuardLoop(make_guard(), InfyBeg(), PilotMcu(), can, serial, services)  # type: ignore[arg-type]


@given(
    st.lists(st.builds(CanFrame, st.integers(0, 2**29 - 1), st.binary(max_size=8)), max_size=5), st.binary(max_size=40)
)
@settings(max_examples=30, deadline=None)
def test_any_frames_and_bytes_leave_the_loop_running_and_nothing_closed(frames: list[CanFrame], data: bytes) -> None:
    services = Services()
    loop = make_loop(Wire(frames), Wire(data), services)
    for n in range(20):
        loop.tick(100.0 + n * TICK_S)
    outputs = loop.guard.outputs
    assert outputs is not None
    assert not outputs.converter.on
    assert not outputs.pilot.coils.dc
    assert not outputs.pilot.coils.grid


def test_lines_that_take_nothing_do_not_stop_the_loop() -> None:
    can, serial, services = Wire([], takes=False), Wire(b"", takes=False), Services()
    loop = make_loop(can, serial, services)
    for n in range(100):
        loop.tick(100.0 + n * TICK_S)
    assert can.sent > 0
    assert serial.sent == 100


def test_snapshots_go_out_ten_times_a_second_and_at_every_change_of_state() -> None:
    services = Services()
    loop = make_loop(Wire([]), Wire(b""), services)
    for n in range(90):  # before the silent pilot board counts as lost
        loop.tick(100.0 + n * TICK_S)
    snapshots = [m for m in services.outbox if isinstance(m, Snapshot)]
    assert len(snapshots) == pytest.approx(9, abs=1)
    services.outbox.clear()
    for n in range(90, 130):
        loop.tick(100.0 + n * TICK_S)
        if loop.guard.session.machine.state.value == "fault":
            break
    last = services.outbox[-1]
    assert isinstance(last, Snapshot)
    assert last.state == "fault", "told in the tick of the change"


def test_services_that_read_again_are_told_how_much_they_missed() -> None:
    services = Services()
    loop = make_loop(Wire([]), Wire(b""), services)
    loop.tick(100.0)
    services.dropped += 7
    for n in range(1, 50):
        loop.tick(100.0 + n * TICK_S)
    told = [m for m in services.outbox if isinstance(m, EventMessage) and m.code == "messages_dropped"]
    assert [m.detail for m in told] == ["7 since the last time"]


class Full(Services):
    """A queue with room for nothing, or for all but disturbance records, until `full` is over."""

    full: type | tuple[type, ...] | None = None

    def send(self, message: FromGuard) -> bool:
        if self.full is not None and isinstance(message, self.full):
            self.dropped += 1
            return False
        return super().send(message)

    @property
    def records(self) -> list[TripRecord]:
        return [m for m in self.outbox if isinstance(m, TripRecord)]


@pytest.mark.parametrize("full", [TripRecord, (TripRecord, Snapshot, EventMessage)])
def test_a_disturbance_record_that_services_do_not_take_is_offered_until_they_do(full: type) -> None:
    services = Full()
    loop = make_loop(Wire([]), Wire(b""), services)
    services.inbox.append(Operator("record"))
    services.full = full
    for n in range(400):
        loop.tick(100.0 + n * TICK_S)
    assert services.records == []
    services.full = None
    for n in range(400, 430):
        loop.tick(100.0 + n * TICK_S)
    assert [record.code for record in services.records] == ["pilot_lost"]  # it took the place of the one asked for


def test_the_can_log_runs_while_it_is_asked_for() -> None:
    services = Services()
    loop = make_loop(Wire([CanFrame(0x1234, b"\x01\x02")]), Wire(b""), services)
    loop.tick(100.0)
    assert not any(isinstance(m, CanLog) for m in services.outbox)
    services.inbox.append(Operator("can_log", "on"))
    loop.tick(100.01)
    (log,) = [m for m in services.outbox if isinstance(m, CanLog)]
    assert (100.01, "can0", 0x1234, b"\x01\x02", False) in [tuple(frame) for frame in log.frames]
    services.outbox.clear()
    services.inbox.append(Operator("can_log", "off"))
    loop.tick(100.02)
    assert not any(isinstance(m, CanLog) for m in services.outbox)


def test_the_deciding_part_of_guard_brings_no_network_disk_or_event_loop_with_it() -> None:
    """`firmware.guard.step` and all it imports; the loop adds the one socket that it was given."""
    code = (
        "import sys; import firmware.guard.step, firmware.guard.snapshot; "
        "bad = {'asyncio', 'socket', 'selectors', 'sqlite3', 'subprocess', 'ssl', 'can', 'serial'} & set(sys.modules); "
        "assert not bad, bad; "
        "import firmware.guard.__main__; "
        "bad = {'asyncio', 'sqlite3', 'subprocess', 'ssl', 'http', 'concurrent.futures'} & set(sys.modules); "
        "assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_adapter_that_was_pulled_out_ends_guard_at_rest_so_that_a_new_one_opens_the_new_node() -> None:
    gone = Gone("the line")
    ticks = int(GONE_S / TICK_S)
    for tick in range(ticks):
        gone.check(tick * TICK_S, tick + 1, at_rest=True)
    with pytest.raises(HalError, match="the line is gone"):
        gone.check(GONE_S + 2 * TICK_S, ticks + 1, at_rest=True)


def test_single_errors_are_no_pulled_adapter() -> None:
    gone = Gone("the line")
    for tick in range(10_000):
        gone.check(tick * TICK_S, tick // 2, at_rest=True)


def test_a_pulled_adapter_does_not_end_guard_before_it_has_opened_unless_that_takes_too_long() -> None:
    gone = Gone("the line")
    for tick in range(int((GONE_S + GONE_MAX_S) / TICK_S)):
        gone.check(tick * TICK_S, tick + 1, at_rest=False)
    with pytest.raises(HalError):
        gone.check(GONE_S + GONE_MAX_S + 1.0, 10**6, at_rest=False)
