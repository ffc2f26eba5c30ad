"""CAN ports: nothing that arrives makes them raise or wait, and a desk's bus stays on the desk."""

from __future__ import annotations

import os
import random
import select
import socket
import subprocess
import sys
import time
import tty
from collections.abc import Iterator

import can
import pytest
from can.interfaces.slcan import slcanBus
from can.interfaces.udp_multicast.utils import pack_message
from hypothesis import given
from hypothesis import strategies as st

from hal.can.bus import MAX_FRAMES, BusSpec, CanPort, open_bus
from hal.can.slcan import SlcanPort, format_line, parse_line
from hal.can.udp import UdpPort
from hal.ports import CanFrame, HalError
from tests.waiting import LIMIT_S
from tests.waiting import wait as patiently

FRAME = CanFrame(0x02A300F0, bytes.fromhex("1110000000000000"))


def wait(port: CanPort, now: float = 5.0, wanted: int = 1) -> list[CanFrame]:
    """Receive until `wanted` frames are there; gives up after a long time."""
    frames: list[CanFrame] = []
    end = time.monotonic() + LIMIT_S
    while len(frames) < wanted and time.monotonic() < end:
        number = port.fileno()
        if number is not None:
            select.select([number], [], [], 0.05)
        frames += port.recv(now)
    return frames


def read(fd: int, ending: bytes) -> bytes:
    """What a terminal brings, up to an ending; in pieces as they come."""
    text = b""
    while not text.endswith(ending):
        assert select.select([fd], [], [], LIMIT_S)[0], text
        text += os.read(fd, 100)
    return text


# ------------------------------------------------------------------------------------------------------------- BusSpec
@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("udp_multicast:ff15:7079:7468:6f6e:6465:6d6f:6d63:6173", "IPv4 group"),
        ("udp_multicast:ff15::1:43113", "IPv4 group"),
        ("udp_multicast:192.168.1.5:43113", "IPv4 group"),
        ("udp_multicast:224.0.0.1:43113", "239.0.0.0/8"),
        ("udp_multicast:charger.example:43113", "IPv4 group"),
        ("udp_multicast:239.74.163.2:80", "1024 to 65535"),
        ("udp_multicast:239.74.163.2:http", "not a port number"),
        ("kvaser:0", "unknown"),
        ("socketcan:", "needs a channel"),
    ],
)
def test_a_bus_that_could_leave_the_desk_or_makes_no_sense_is_refused_with_a_sentence(text: str, part: str) -> None:
    with pytest.raises(HalError, match=part) as caught:
        BusSpec.parse(text)
    assert str(caught.value).endswith(".")


def test_a_bus_written_as_text_reads_back_the_same() -> None:
    for text in ("socketcan:can0", "slcan:/dev/ttyACM0", "udp_multicast:239.74.163.2:43113", "virtual:desk"):
        assert str(BusSpec.parse(text)) == text


def test_a_bus_that_does_not_exist_is_refused_with_a_sentence() -> None:
    with pytest.raises(HalError, match="cannot be opened"):
        open_bus(BusSpec("socketcan", "can77"))
    with pytest.raises(HalError, match="cannot be opened"):
        open_bus(BusSpec("slcan", "/dev/no-such-adapter", settle_s=0.0))
    with pytest.raises(HalError, match="cannot do 33333"):
        open_bus(BusSpec("slcan", "/dev/no-such-adapter", 33_333, settle_s=0.0))


# ------------------------------------------------------------------------------------------------------- udp_multicast
def udp_port_number() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def udp_pair() -> Iterator[tuple[UdpPort, UdpPort, int]]:
    number = udp_port_number()
    a, b = UdpPort("239.74.163.77", number), UdpPort("239.74.163.77", number)
    yield a, b, number
    a.close()
    b.close()


def test_a_udp_frame_reaches_the_peer_with_the_receivers_time_and_never_its_own_sender(
    udp_pair: tuple[UdpPort, UdpPort, int],
) -> None:
    a, b, _ = udp_pair
    assert a.send(FRAME)
    assert wait(b, now=7.5) == [FRAME._replace(t=7.5)]
    assert a.recv(7.5) == []
    assert a.errors == b.errors == 0


def test_a_udp_bus_cannot_leave_the_machine(udp_pair: tuple[UdpPort, UdpPort, int]) -> None:
    with socket.socket(fileno=os.dup(udp_pair[0].fileno() or -1)) as sock:
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 0
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, 4) == socket.inet_aton("127.0.0.1")


def test_garbage_datagrams_are_counted_and_hide_no_frame(udp_pair: tuple[UdpPort, UdpPort, int]) -> None:
    a, b, number = udp_pair
    bad = can.Message(arbitration_id=1, data=b"\1\2", is_extended_id=True)
    bad.dlc = 8  # announces 8 bytes, carries 2
    remote = can.Message(arbitration_id=1, is_remote_frame=True)
    flexible = can.Message(arbitration_id=1, is_fd=True, data=bytes(12))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        stranger.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        for datagram in (b"", b"\xff\xff", b"\x80", b"\x93\1\2\3", *map(pack_message, (bad, remote, flexible))):
            stranger.sendto(datagram, ("239.74.163.77", number))
    assert a.send(FRAME)
    assert [frame.id for frame in wait(b)] == [FRAME.id]
    assert b.errors == 7


def test_two_processes_meet_on_a_udp_bus() -> None:
    number = udp_port_number()
    spec = f"udp_multicast:239.74.163.78:{number}"
    echo = (
        "import sys, select; from hal.can.bus import BusSpec, open_bus\n"
        "port = open_bus(BusSpec.parse(sys.argv[1])); print('up', flush=True)\n"
        "while True:\n"
        "    select.select([port.fileno(), 0], [], [])\n"
        "    if select.select([0], [], [], 0)[0]: break\n"
        "    [port.send(f._replace(id=f.id + 1)) for f in port.recv(0.0)]\n"
    )
    port = open_bus(BusSpec.parse(spec))
    with subprocess.Popen([sys.executable, "-c", echo, spec], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        assert port.send(FRAME)
        assert [frame.id for frame in wait(port)] == [FRAME.id + 1]
        other.stdin.close()
        assert other.wait(LIMIT_S) == 0
    port.close()


def test_python_can_programs_can_listen_on_a_udp_bus(udp_pair: tuple[UdpPort, UdpPort, int]) -> None:
    a, _, _ = udp_pair
    assert a.send(FRAME)  # the datagram format is python-can's: read it back with its own function
    from can.interfaces.udp_multicast.utils import unpack_message

    with socket.socket(fileno=os.dup(udp_pair[1].fileno() or -1)) as sock:
        select.select([sock], [], [], LIMIT_S)
        message = unpack_message(sock.recv(4096), check=True)
    assert (message.arbitration_id, bytes(message.data)) == (FRAME.id, FRAME.data)


def test_a_burst_of_a_busy_second_is_not_lost(udp_pair: tuple[UdpPort, UdpPort, int]) -> None:
    """The kernel's buffer must hold what a hanging reader misses in a third of a second at 125 kbit/s."""
    a, b, _ = udp_pair
    assert sum(a.send(FRAME) for _ in range(300)) == 300
    assert len(wait(b, wanted=300)) == 300


def test_a_closed_port_receives_nothing_and_takes_nothing() -> None:
    port = UdpPort("239.74.163.79", udp_port_number())
    port.close()
    assert port.recv(0.0) == []
    assert not port.send(FRAME)
    assert port.fileno() is None


# ------------------------------------------------------------------------------------------------------------- virtual
def test_virtual_buses_of_one_name_meet_and_do_not_hear_themselves() -> None:
    a, b = open_bus(BusSpec("virtual", "test-meet")), open_bus(BusSpec("virtual", "test-meet"))
    assert a.send(FRAME)
    assert b.recv(3.0) == [FRAME._replace(t=3.0)]
    assert a.recv(3.0) == []
    assert a.fileno() is None
    assert not a.send(FRAME._replace(id=1 << 29))
    assert not a.send(FRAME._replace(data=bytes(9)))
    a.close()
    b.close()
    assert a.recv(4.0) == []
    assert not a.send(FRAME)


def test_one_tick_takes_a_bounded_number_of_frames_and_leaves_the_rest() -> None:
    a, b = open_bus(BusSpec("virtual", "test-bound")), open_bus(BusSpec("virtual", "test-bound"))
    for n in range(MAX_FRAMES + 20):
        assert a.send(FRAME._replace(data=n.to_bytes(8, "big")))
    first = b.recv(1.0)
    assert len(first) == MAX_FRAMES
    assert [int.from_bytes(frame.data, "big") for frame in first + b.recv(2.0)] == list(range(MAX_FRAMES + 20))
    a.close()
    b.close()


def test_a_reader_that_never_reads_does_not_block_or_fill_the_memory() -> None:
    a, b = open_bus(BusSpec("virtual", "test-full")), open_bus(BusSpec("virtual", "test-full"))
    taken = sum(a.send(FRAME) for _ in range(4200))
    assert taken == 4096
    a.close()
    b.close()


# --------------------------------------------------------------------------------------------------------------- slcan
@pytest.fixture
def adapter() -> Iterator[tuple[SlcanPort, int]]:
    """A port and the master side of the pty it sits on."""
    master, slave = os.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    port = open_bus(BusSpec("slcan", os.ttyname(slave), settle_s=0.0))
    assert isinstance(port, SlcanPort)
    yield port, master
    port.close()
    os.close(master)
    os.close(slave)


def test_opening_an_slcan_adapter_closes_sets_the_bit_rate_and_opens(adapter: tuple[SlcanPort, int]) -> None:
    assert read(adapter[1], b"O\r") == b"\rC\rS4\rO\r"


def test_slcan_frames_go_both_ways(adapter: tuple[SlcanPort, int]) -> None:
    port, master = adapter
    read(master, b"O\r")
    assert port.send(FRAME)
    assert read(master, b"\r") == b"T02A300F081110000000000000\r"
    os.write(master, b"T02A3F00081110000000010081\rt12320A0b\r")
    assert wait(port, 2.0, 2) == [
        CanFrame(0x02A3F000, bytes.fromhex("1110000000010081"), 2.0),
        CanFrame(0x123, b"\x0a\x0b", 2.0, extended=False),
    ]
    assert port.errors == 0


def test_an_slcan_port_and_python_cans_slcan_bus_understand_each_other(adapter: tuple[SlcanPort, int]) -> None:
    port, master = adapter
    other_master, other_slave = os.openpty()
    tty.setraw(other_master)
    tty.setraw(other_slave)
    bus = slcanBus(os.ttyname(other_slave), sleep_after_open=0.0)
    try:
        read(master, b"O\r")
        assert port.send(FRAME)
        os.write(other_master, read(master, b"\r"))
        message = bus.recv(LIMIT_S)
        assert message is not None
        assert (message.arbitration_id, bytes(message.data)) == (FRAME.id, FRAME.data)
        read(other_master, b"O\r")  # its commands
        bus.send(message)
        os.write(master, read(other_master, b"0000\r"))
        assert [frame.data for frame in wait(port)] == [FRAME.data]
    finally:
        bus.shutdown()
        os.close(other_master)
        os.close(other_slave)


def test_garbage_on_slcan_is_counted_and_the_next_good_line_is_read(adapter: tuple[SlcanPort, int]) -> None:
    port, master = adapter
    good = format_line(FRAME)
    os.write(master, b"\xff\xfe\x80garbage\r" + good + b"T02A3F0008111\r" + good + b"T02A3F0009" + b"00" * 9 + b"\r")
    os.write(master, b"\a\a" + good + b"z\rZ\r\r" + good + b"T+2A3F00001\rT3FFFFFFF0\rT02_3F0000\r" + good)
    assert [frame.id for frame in wait(port, wanted=5)] == [FRAME.id] * 5
    assert port.errors == 8  # 6 bad lines and two refusals


def test_a_truncated_slcan_line_is_no_frame() -> None:
    line = format_line(FRAME)[:-1]
    assert parse_line(line, 0.0) == FRAME
    assert [cut for cut in range(len(line)) if parse_line(line[:cut], 0.0) is not None] == []


def test_an_endless_line_does_not_fill_the_memory(adapter: tuple[SlcanPort, int]) -> None:
    port, master = adapter
    for _ in range(20):
        os.write(master, b"T" * 1000)
        port.recv(0.0)
    assert len(port._in) <= 64
    os.write(master, b"\r" + format_line(FRAME))
    assert [frame.id for frame in wait(port)] == [FRAME.id]


def test_sending_into_an_adapter_that_does_not_read_refuses_instead_of_waiting(
    adapter: tuple[SlcanPort, int],
) -> None:
    port, master = adapter
    taken = refused = 0
    while refused < 5 and taken < 100_000:  # one that waited would hang here
        if port.send(FRAME):
            taken += 1
        else:  # the kernel may make a little more room by itself
            refused += 1
            time.sleep(0.01)
    assert 0 < taken < 100_000
    os.set_blocking(master, False)
    stream = b""

    def whole() -> list[bytes]:
        """Every frame that was taken leaves whole, the refused ones not at all."""
        nonlocal stream
        try:
            stream += os.read(master, 65536)
        except BlockingIOError:
            port.recv(0.0)
        *lines, rest = stream.removeprefix(b"\rC\rS4\rO\r").split(b"\r")
        return lines if not rest and len(lines) >= taken else []

    lines = patiently(whole, "all frames", every_s=0.0)
    assert set(lines) == {format_line(FRAME)[:-1]}
    assert len(lines) <= taken + refused


@given(
    st.builds(
        lambda ext, number, data: CanFrame(number if ext else number & 0x7FF, data, 0.0, ext),
        st.booleans(),
        st.integers(0, 0x1FFFFFFF),
        st.binary(max_size=8),
    )
)
def test_every_classic_frame_survives_slcan(frame: CanFrame) -> None:
    assert parse_line(format_line(frame)[:-1], 0.0) == frame


@given(st.binary(max_size=40))
def test_no_bytes_make_the_slcan_reader_raise(line: bytes) -> None:
    frame = parse_line(line, 0.0)
    if frame is not None:
        assert format_line(frame)[:-1].lower() == line.lower()


def test_random_bytes_on_slcan_never_raise(adapter: tuple[SlcanPort, int]) -> None:
    port, master = adapter
    rng = random.Random(7)
    for _ in range(50):
        os.write(master, rng.randbytes(200))
        port.recv(0.0)
    os.write(master, b"\r" + format_line(FRAME))
    assert wait(port)[-1].id == FRAME.id
    assert port.errors > 0
