"""The serial port on real pseudo-terminals, and the emulated MCU as a process behind one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from multiprocessing import shared_memory
from pathlib import Path

import pytest

from hal.ports import Coils, HalError, PilotCommand, PilotStatus
from hal.uart.pilot_mcu import PilotMcu
from hal.uart.serial_port import SerialPort, open_serial
from hil.plant.link import SIZE_BYTES, PlantLink
from tests.waiting import LIMIT_S


@pytest.fixture
def pty() -> Iterator[tuple[int, str]]:
    """(the far end's descriptor, the path to open)"""
    far, near = os.openpty()
    tty.setraw(far)
    path = os.ttyname(near)
    os.set_blocking(far, False)
    try:
        yield far, path
    finally:
        for fd in (far, near):
            os.close(fd)


def until(condition: Callable[[], bool], within_s: float = LIMIT_S) -> bool:
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def test_bytes_pass_in_both_directions_unchanged(pty: tuple[int, str]) -> None:
    far, path = pty
    port = open_serial(path, 115200)
    everything = bytes(range(256))
    assert port.send(everything)
    sent = b""

    def out() -> bool:
        nonlocal sent
        with contextlib.suppress(BlockingIOError):
            sent += os.read(far, 4096)
        return sent == everything

    assert until(out)
    os.write(far, everything)
    received = b""

    def whole() -> bool:
        nonlocal received
        received += port.recv()
        return received == everything

    assert until(whole)
    port.close()


def test_reading_an_idle_line_returns_nothing_at_once(pty: tuple[int, str]) -> None:
    port = open_serial(pty[1], 115200)
    assert [port.recv() for _ in range(100)] == [b""] * 100  # one that waited would hang here
    assert port.errors == 0
    port.close()


def test_a_full_line_refuses_bytes_and_never_blocks(pty: tuple[int, str]) -> None:
    port = open_serial(pty[1], 115200)
    taken = [port.send(bytes(4096)) for _ in range(100)]  # nobody reads at the far end: a blocking one would hang
    assert taken[0]
    assert not taken[-1]
    assert port.errors == 0
    port.close()


def test_a_vanished_line_gives_no_bytes_and_counts_errors() -> None:
    far, near = os.openpty()
    port = open_serial(os.ttyname(near), 115200)
    os.close(near)
    os.close(far)
    assert port.recv() == b""
    assert not port.send(b"x")
    assert port.errors >= 1
    port.close()


def test_a_missing_port_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(HalError, match=r"serial port .*nowhere could not be opened: there is no such device; check"):
        open_serial(str(tmp_path / "nowhere"), 115200)


def test_a_file_that_is_no_serial_device_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises(HalError, match=r"could not be opened: it is not a serial device"):
        open_serial(str(path), 115200)


def test_a_port_in_use_is_not_shared(pty: tuple[int, str]) -> None:
    port = open_serial(pty[1], 115200)
    with pytest.raises(HalError, match="another program holds it"):
        open_serial(pty[1], 115200)
    port.close()


@pytest.mark.parametrize(("baud", "parity", "words"), [(0, "N", "baud rate is 0"), (9600, "X", "parity is 'X'")])
def test_impossible_settings_are_refused(pty: tuple[int, str], baud: int, parity: str, words: str) -> None:
    with pytest.raises(HalError, match=words):
        open_serial(pty[1], baud, parity)


class Rig:
    """The emulated MCU as its own process on a pseudo-terminal, and the driver at the host's end."""

    def __init__(self, run_dir: Path) -> None:
        self.memory = shared_memory.SharedMemory(create=True, size=SIZE_BYTES)
        assert self.memory.buf is not None
        self.link = PlantLink(self.memory.buf)
        self.link.ev_plugged, self.link.ev_cp_state = 1.0, 3.0
        self.link.pcc_va_v = self.link.pcc_vb_v = self.link.pcc_vc_v = 230.0
        self.link.pcc_f_hz = 50.0
        path = run_dir / "pilot"
        arguments = ["--shm", self.memory.name, "--port", str(path)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hil.devices.pilot", *arguments],
            stdin=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
        )
        assert until(path.exists), "the emulated MCU did not make its line"
        self.port: SerialPort = open_serial(str(path), 115200)
        self.driver = PilotMcu()

    def talk(self, command: PilotCommand, done: Callable[[PilotStatus, int], bool]) -> tuple[PilotStatus, int]:
        """Until the last status and the number of grid samples that came are as wanted; both."""
        end = time.monotonic() + LIMIT_S
        samples = 0
        status = PilotStatus()
        while not done(status, samples):
            assert time.monotonic() < end, status
            now = time.monotonic()
            self.driver.receive(now, self.port.recv())
            status = self.driver.poll(now)
            samples += len(status.grid)
            self.port.send(self.driver.command(now, command))
            for name in ("grid", "dc", "precharge"):  # contactors without delay
                setattr(self.link, f"k_{name}", getattr(self.link, f"coil_{name}"))
            time.sleep(0.010)
        return status, samples

    def close(self) -> None:
        self.port.close()
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(LIMIT_S) == 0
        self.link.release()
        self.memory.close()
        self.memory.unlink()


def test_driver_and_mcu_process_meet_on_a_real_serial_line(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    try:
        command = PilotCommand(5.0, Coils(grid=True, dc=True, converter_enable=True))
        rig.talk(PilotCommand(5.0), lambda status, _: status.online)
        status, _ = rig.talk(
            command,
            lambda status, samples: (
                samples + status.grid_lost > 50
                and bool(status.version)
                and status.mirrors is not None
                and status.mirrors.value == command.coils
            ),
        )
        assert status.online
        assert status.bad_frames == 0
        silent_since = time.monotonic()
        assert until(lambda: not rig.link.coil_dc)
        assert time.monotonic() - silent_since > 0.2  # not at once; the exact time is shown on simulated time
        assert not rig.link.converter_enable
    finally:
        rig.close()


def test_the_mcu_process_says_in_a_sentence_why_it_cannot_start(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    result = subprocess.run(
        [sys.executable, "-m", "hil.devices.pilot", "--shm", "none", "--port", str(path)],
        capture_output=True, text=True, cwd=Path(__file__).parent.parent, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "not a serial device" in result.stderr
    assert "Traceback" not in result.stderr
