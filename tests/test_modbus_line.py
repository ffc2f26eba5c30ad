"""The RTU slave that the emulated devices use, the client's own sentences, and a device as a process of the rig."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.modbus.client import ModbusRtu
from hal.modbus.djsf1352 import Djsf1352
from hal.modbus.isocha425hv import IsoCha425Hv
from hal.modbus.sdm630 import Sdm630
from hal.ports import HalError, Quality
from hil.devices.meters import EmulatedDcMeter
from hil.devices.modbus_server import ILLEGAL_ADDRESS, Refused, RtuSlave, crc16, framed
from hil.plant.link import SIZE_BYTES, PlantLink
from tests.ports.modbus_line import TIMEOUT_S, Line, on_line

BAUD = 9600
CHAR_S = 11.0 / BAUD


class Memory:
    """Registers 0 to 199, with register n holding n; 13 cannot be written."""

    name = "memory"
    rules: ClassVar[dict[str, Any]] = {}
    answering = True

    def __init__(self) -> None:
        self.values = list(range(200))

    def read_registers(self, function: int, start: int, count: int) -> list[int]:
        if start + count > len(self.values):
            raise Refused(ILLEGAL_ADDRESS)
        return self.values[start : start + count]

    def write_registers(self, start: int, values: Sequence[int]) -> None:
        if start <= 13 < start + len(values):
            raise Refused(ILLEGAL_ADDRESS)
        self.values[start : start + len(values)] = values

    def step(self, now: float) -> None: ...

    def close(self) -> None: ...


def slave(baud: int = BAUD) -> tuple[Memory, RtuSlave]:
    memory = Memory()
    return memory, RtuSlave(memory, 7, baud, random.Random(1))


def answer(device: RtuSlave, t: float, seconds: float = 1.0) -> tuple[bytes, float, float]:
    """Everything that the device sends within `seconds`, and when its first and last byte came."""
    out, first, last = b"", 0.0, 0.0
    end = t + seconds
    while t < end:
        t += 0.0005
        if data := device.step(t):
            first, last = first or t, t
            out += data
    return out, first, last


READ_2 = framed(bytes([7, 3, 0, 5, 0, 2]))
READ_2_ANSWER = framed(bytes([7, 3, 4, 0, 5, 0, 6]))


def test_the_checksum_has_its_published_check_value() -> None:
    assert crc16(b"123456789") == 0x4B37  # CRC-16/MODBUS, catalogue of parametrised CRC algorithms
    assert framed(bytes.fromhex("010300000006")) == bytes.fromhex("010300000006c5c8")  # recorded from a DJSF1352


def test_a_request_is_answered_at_the_speed_of_the_line() -> None:
    _, device = slave()
    device.receive(10.0, READ_2)
    out, first, last = answer(device, 10.0)
    assert out == READ_2_ANSWER
    sent = 10.0 + len(READ_2) * CHAR_S
    assert first >= sent + 0.02 + CHAR_S - 1e-9  # turnaround, then the first character
    assert last - first == pytest.approx((len(out) - 1) * CHAR_S, abs=0.001)


def test_a_request_that_comes_byte_by_byte_is_one_frame() -> None:
    _, device = slave()
    t, out = 10.0, b""
    for byte in READ_2:
        device.receive(t, bytes([byte]))
        t += CHAR_S
        out += device.step(t)
    assert out == b""
    assert answer(device, t)[0] == READ_2_ANSWER


def test_a_pause_inside_a_request_breaks_it_in_two_bad_frames() -> None:
    _, device = slave()
    device.receive(10.0, READ_2[:4])
    assert answer(device, 10.0, 0.1)[0] == b""
    device.receive(10.1, READ_2[4:])
    assert answer(device, 10.1)[0] == b""


@pytest.mark.parametrize(
    "request_",
    [
        READ_2[:-1] + bytes([READ_2[-1] ^ 1]),  # checksum
        framed(bytes([8, 3, 0, 5, 0, 2])),  # somebody else
        READ_2 + READ_2,  # two without a pause
        b"\x07\x03",
    ],
)
def test_what_is_no_request_to_this_device_is_not_answered(request_: bytes) -> None:
    _, device = slave()
    device.receive(10.0, request_)
    assert answer(device, 10.0)[0] == b""


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([7, 1, 0, 0, 0, 1], 1),
        ([7, 3, 0, 199, 0, 2], 2),
        ([7, 3, 0, 0, 0, 126], 3),
        ([7, 3, 0, 0, 0, 0], 3),
        ([7, 6, 0, 13, 0, 1], 2),
        ([7, 16, 0, 20, 0, 2, 2, 0, 1], 3),
        ([7, 3], 1),
    ],
)
def test_a_request_that_cannot_be_obeyed_is_refused_with_its_code_and_changes_nothing(
    body: list[int], code: int
) -> None:
    memory, device = slave()
    device.receive(10.0, framed(bytes(body)))
    assert answer(device, 10.0)[0] == framed(bytes([7, body[1] | 0x80, code]))
    assert memory.values == list(range(200))


def test_a_busy_device_does_not_listen_and_sends_its_late_answer() -> None:
    _, device = slave()
    device.turnaround_s = 0.5
    device.receive(10.0, READ_2)
    assert answer(device, 10.0, 0.4)[0] == b""
    device.receive(10.4, framed(bytes([7, 3, 0, 9, 0, 1])))
    assert answer(device, 10.4)[0] == READ_2_ANSWER


def test_two_that_talk_at_once_destroy_each_other() -> None:
    _, device = slave()
    device.receive(10.0, READ_2)
    begun, _, _ = answer(device, 10.0, 0.035)
    assert 0 < len(begun) < len(READ_2_ANSWER)
    device.receive(10.035, READ_2)
    assert answer(device, 10.035)[0] == b""


def test_a_broadcast_is_obeyed_and_not_answered() -> None:
    memory, device = slave()
    device.receive(10.0, framed(bytes([0, 6, 0, 20, 1, 2])))
    assert answer(device, 10.0)[0] == b""
    assert memory.values[20] == 0x0102


@given(st.lists(st.tuples(st.binary(max_size=300), st.floats(0.0, 0.2)), max_size=8))
def test_no_garbage_is_answered_or_stops_the_device(pieces: list[tuple[bytes, float]]) -> None:
    _, device = slave()
    t = 10.0
    for data, pause in pieces:
        device.receive(t, data)
        t += pause
        device.step(t)
    t += 1.0
    answer(device, t, 0.01)  # the silence ends whatever came
    device.receive(t + 1.0, READ_2)
    assert answer(device, t + 1.0)[0] == READ_2_ANSWER


# ----------------------------------------------------------------------------------------------------------- the client
def test_an_exception_of_the_device_is_told_in_words() -> None:
    async def work(line: Line) -> None:
        with pytest.raises(HalError, match=r"Thing, address 7 on .* refused .*exception 2 \(illegal data address\)"):
            await line.client.read_holding("Thing", 7, 199, 2)
        assert await line.client.read_holding("Thing", 7, 10, 3) == [10, 11, 12]
        with pytest.raises(HalError, match="refused writing register 13"):
            await line.client.write("Thing", 7, 13, [1])
        await line.client.write("Thing", 7, 20, [1, 2])
        assert await line.client.read_input("Thing", 7, 19, 4) == [19, 1, 2, 22]

    on_line(Memory(), 7, work)


def test_an_answer_of_another_length_is_not_taken() -> None:
    class Late(Memory):
        def read_registers(self, function: int, start: int, count: int) -> list[int]:
            return super().read_registers(function, start, 4)

    async def work(line: Line) -> None:
        # The answer to an earlier, shorter request; its own framing is right.
        line.device.slave._execute = lambda pdu: bytes([3, 8, 0, 1, 0, 2, 0, 3, 0, 4])  # type: ignore[method-assign]
        with pytest.raises(HalError, match="answered with 4 registers instead of 6"):
            await line.client.read_holding("Thing", 7, 0, 6)
        with pytest.raises(HalError, match="answered function 3 instead"):
            await line.client.read_input("Thing", 7, 0, 4)

    on_line(Late(), 7, work)


def test_an_answer_that_comes_after_the_time_out_is_never_taken_for_the_next_one() -> None:
    memory = Memory()

    async def work(line: Line) -> None:
        line.device.slave.turnaround_s = TIMEOUT_S + 0.03
        with pytest.raises(HalError, match="did not answer"):
            await line.client.read_holding("Thing", 7, 20, 2)
        memory.values[20] = 77
        line.device.slave.turnaround_s = 0.001
        assert await line.client.read_holding("Thing", 7, 20, 2) == [77, 21]

    on_line(memory, 7, work)


def test_noise_before_an_answer_is_survived_or_told_but_never_decoded_wrongly() -> None:
    async def work(line: Line) -> None:
        line.device.slave.noise = True
        for _ in range(5):
            (got,) = await asyncio.gather(line.client.read_holding("Thing", 7, 0, 6), return_exceptions=True)
            assert got == [0, 1, 2, 3, 4, 5] or (isinstance(got, HalError) and "no valid answer" in str(got))

    on_line(Memory(), 7, work)


@pytest.mark.parametrize(
    ("baud", "parity", "timeout_s", "match"),
    [(9601, "N", 0.5, "baud rate 9601"), (9600, "X", 0.5, "parity 'X'"), (9600, "N", 0.0, "time-out 0.0 s")],
)
def test_a_wrong_setting_is_refused_with_a_sentence(baud: int, parity: str, timeout_s: float, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ModbusRtu("/dev/ttyS0", baud, parity, timeout_s=timeout_s)


def test_a_file_that_is_no_port_is_an_error_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "port"
    file.write_text("")
    with pytest.raises(HalError, match="the port does not open"):
        asyncio.run(ModbusRtu(str(file), 9600).read_holding("Thing", 7, 0, 1))


@pytest.mark.parametrize(
    ("command", "match"),
    [
        ({"mute": True, "explode": 1}, "knows no command 'explode'; it knows mute, noise"),
        ({"mute": True, "baud": 7}, "baud is 7, must be a whole number from 1200 to 921600"),
        ({"mute": True, "supply": 2}, "supply is 2, must be true or false"),
    ],
)
def test_a_wrong_command_of_the_rig_is_refused_and_changes_nothing(command: dict[str, Any], match: str) -> None:
    async def work(line: Line) -> None:
        with pytest.raises(ValueError, match=match):
            line.device.handle(command)
        assert not line.device.slave.mute
        line.device.handle({"mute": True, "supply": False})
        assert line.device.slave.mute
        assert line.device.device.supply is False  # type: ignore[attr-defined]

    on_line(EmulatedDcMeter(PlantLink(), random.Random(1)), 7, work)


# ------------------------------------------------------------------------------------------------- processes of the rig
@pytest.fixture
def plant() -> Iterator[tuple[str, PlantLink]]:
    memory = shared_memory.SharedMemory(create=True, size=SIZE_BYTES)
    assert memory.buf is not None
    link = PlantLink(memory.buf)
    link.pcc_va_v = link.pcc_vb_v = link.pcc_vc_v = 230.0
    link.pcc_f_hz = 50.0
    link.cable_v_v, link.insulation_ohm = 400.0, 500e3
    try:
        yield memory.name, link
    finally:
        link.release()
        memory.close()
        memory.unlink()


@pytest.mark.slow  # they boot as slowly as real ones
def test_the_three_devices_run_as_processes_take_faults_and_end_with_the_rig(
    plant: tuple[str, PlantLink], tmp_path: Path
) -> None:
    name, _ = plant
    started = {
        "ac": ["meters", "--kind", "ac"],
        "dc": ["meters", "--kind", "dc", "--state", str(tmp_path / "dc.json")],
        "imd": ["imd"],
    }
    processes = {
        key: subprocess.Popen(
            [sys.executable, "-m", f"hil.devices.{rest[0]}", "--shm", name, "--port", str(tmp_path / key), *rest[1:]],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for key, rest in started.items()
    }

    async def retry(read: Any) -> Any:
        for _ in range(50):
            try:
                return await read()
            except HalError:
                await asyncio.sleep(0.1)  # processes start, meters and monitor boot
        raise AssertionError("the device never answered")

    def tell(key: str, command: dict[str, Any]) -> None:
        stdin = processes[key].stdin
        assert stdin is not None
        stdin.write(json.dumps(command).encode() + b"\n")
        stdin.flush()

    async def scene() -> None:
        lines = {
            "ac": ModbusRtu(str(tmp_path / "ac"), 9600),
            "dc": ModbusRtu(str(tmp_path / "dc"), 9600),
            "imd": ModbusRtu(str(tmp_path / "imd"), 19200, "E"),  # a pseudo-terminal has no parity: must still open
        }
        ac, dc = Sdm630(lines["ac"], 1, time.monotonic), Djsf1352(lines["dc"], 2, time.monotonic)
        imd = IsoCha425Hv(lines["imd"], 3, time.monotonic)
        a, d, i = await asyncio.gather(retry(ac.read), retry(dc.read), retry(imd.read))
        assert a.value.v_v[0] == pytest.approx(230.0, rel=0.01)
        assert d.value.v_v == pytest.approx(400.0, rel=0.01)
        assert i.quality is Quality.BAD  # no result yet: the first measurement takes seconds
        tell("dc", {"mute": True})
        tell("ac", {"explode": 1})
        await asyncio.sleep(0.05)
        with pytest.raises(HalError, match="did not answer"):
            await dc.read()
        await ac.read()
        for line in lines.values():
            await line.close()

    try:
        asyncio.run(scene())
    finally:
        errors = {key: process.communicate(timeout=10)[1].decode() for key, process in processes.items()}
    assert {key: process.returncode for key, process in processes.items()} == {"ac": 0, "dc": 0, "imd": 0}
    assert "command refused" in errors["ac"]
    assert "knows no command 'explode'" in errors["ac"]
    assert errors["dc"] == errors["imd"] == ""
    assert not any(os.path.lexists(tmp_path / key) for key in started)
    assert (tmp_path / "dc.json").exists() is False  # nothing was counted, so nothing was written
