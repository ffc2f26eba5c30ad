"""The emulated BEG1K075G: no kinder than a module, and every fault does what it says."""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
import sys
import time
from multiprocessing import shared_memory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal.can import infy_codec as codec
from hal.can.bus import BusSpec, open_bus
from hal.ports import CanFrame
from hil.devices.beg_module import RATED_A, SILENCE_OFF_S
from hil.devices.converter import EmulatedBeg
from hil.plant.link import SIZE_BYTES, PlantLink
from tests.test_can_bus import udp_port_number

READ_ID, WRITE_ID = 0x02A300F0, 0x02A400F0
FRAME_S = 160 / 125_000


class Bench:
    """A module with a battery of 400 V behind it, driven frame by frame."""

    def __init__(self, seed: int = 1, boot: bool = True) -> None:
        self.link = PlantLink()
        self.device = EmulatedBeg(self.link, random.Random(seed))
        self.now = 50.0
        self.link.ac_va_v = self.link.ac_vb_v = self.link.ac_vc_v = 230.0
        self.link.ac_f_hz = 50.0
        self.link.dc_v_v = 400.0
        self.link.converter_enable = 1.0
        self.heard: list[tuple[float, CanFrame]] = []
        if boot:
            self.link.k_grid = 1.0
            self.run(3.5)

    def run(self, seconds: float) -> list[CanFrame]:
        begin = len(self.heard)
        for _ in range(round(seconds * 1000)):
            self.now += 0.001
            self.link.dc_i_a = self.link.conv_dir * self.link.conv_i_a
            self.heard += [(self.now, frame) for frame in self.device.step(self.now)]
        return [frame for _, frame in self.heard[begin:]]

    def read(self, selector: int) -> float | None:
        self.device.receive(self.now, CanFrame(READ_ID, codec.encode_read(selector)))
        answers = self.run(0.02)
        decoded = codec.decode_reply(answers[-1].data) if answers else None
        return decoded[1] if decoded else None

    def write(self, selector: int, value: float) -> int | None:
        """The error code of the echo; None without one."""
        self.device.receive(self.now, CanFrame(WRITE_ID, codec.encode_write(selector, value)))
        answers = self.run(0.02)
        return codec.split_id(answers[-1].id).error if answers else None

    def status(self, name: str) -> bool:
        bits = self.read(0x1110)
        assert bits is not None
        return bool(int(bits) & codec.STATUS_BITS[name])

    def on(self, mode: int = codec.MODE_RECTIFIER, amps: float = 10.0) -> Bench:
        for selector, value in ((0x2110, mode), (0x1001, 450.0), (0x1132, 330.0), (0x1131, 480.0), (0x1102, amps)):
            assert self.write(selector, value) == 0
        assert self.write(0x1110, codec.ON) == 0
        self.run(0.6)
        return self


# ---------------------------------------------------------------------------------------------- supply
def test_a_module_without_supply_is_silent_and_boots_for_about_three_seconds() -> None:
    bench = Bench(boot=False)
    assert bench.read(0x1110) is None
    bench.link.k_grid = 1.0
    bench.run(2.6)
    assert bench.read(0x1110) is None
    bench.run(0.8)
    assert bench.status("St_DcSideOff")


def test_losing_its_supply_makes_it_forget_everything_and_stop_at_once() -> None:
    bench = Bench().on(codec.MODE_INVERTER)
    assert bench.link.conv_dir == -1.0
    bench.link.k_grid = 0.0
    bench.run(0.001)
    assert (bench.link.conv_on, bench.link.conv_i_a) == (0.0, 0.0)
    bench.link.k_grid = 1.0
    bench.run(3.5)
    assert bench.read(0x1111) == 0.0
    assert bench.write(0x1110, codec.ON) == codec.ERROR_COMMAND  # its set-points are gone too


def test_a_dead_grid_behind_a_closed_contactor_takes_its_supply_after_a_while() -> None:
    bench = Bench()
    bench.link.ac_va_v = bench.link.ac_vb_v = bench.link.ac_vc_v = 0.0
    bench.run(1.0)
    assert bench.read(0x1110) is not None
    bench.run(0.6)
    assert bench.read(0x1110) is None


# -------------------------------------------------------------------------------------------- the wire
def test_frames_take_their_time_on_the_bus_and_answers_queue() -> None:
    bench = Bench()
    begin = bench.now
    for _ in range(8):
        bench.device.receive(bench.now, CanFrame(READ_ID, codec.encode_read(0x1101)))
    bench.run(0.1)
    times = [t for t, _ in bench.heard if t > begin]
    assert len(times) == 8
    assert times[0] >= begin + 2 * FRAME_S  # the request and its answer
    assert times[-1] >= begin + 16 * FRAME_S - 0.001
    assert all(b - a >= FRAME_S - 0.0011 for a, b in itertools.pairwise(times))


def test_what_its_buffers_do_not_hold_is_lost_and_counted() -> None:
    bench = Bench()
    for _ in range(40):
        bench.device.receive(bench.now, CanFrame(READ_ID, codec.encode_read(0x1101)))
    answers = bench.run(0.3)
    assert len(answers) == 16
    assert bench.device.overruns == 24


def test_it_answers_its_own_address_and_broadcasts_and_nothing_else() -> None:
    bench = Bench()
    for destination, answered in ((0x00, True), (0x3F, True), (0x01, False), (0xF0, False)):
        bench.device.receive(
            bench.now, CanFrame(codec.make_id(codec.READ, destination, 0xF1), bytes.fromhex("1101" + 12 * "0"))
        )
        answers = bench.run(0.02)
        assert [frame.id for frame in answers] == ([0x02A3F100] if answered else [])


@pytest.mark.parametrize(
    "frame",
    [
        CanFrame(READ_ID, b"\x11\x01"),
        CanFrame(READ_ID & 0x7FF, codec.encode_read(0x1101), 0.0, extended=False),
        CanFrame(READ_ID, codec.encode_read(0x1101), 0.0, error=True),
        CanFrame(READ_ID | 2 << 26, codec.encode_read(0x1101)),
        CanFrame(codec.make_id(0x22, 0, 0xF0), codec.encode_read(0x1101)),
    ],
)
def test_what_is_no_request_gets_no_answer(frame: CanFrame) -> None:
    bench = Bench()
    bench.device.receive(bench.now, frame)
    assert bench.run(0.05) == []


@given(st.integers(0, (1 << 29) - 1), st.binary(max_size=8), st.booleans())
@settings(max_examples=200)
def test_no_frame_makes_it_raise(identifier: int, data: bytes, mine: bool) -> None:
    bench = Bench(boot=False)
    bench.link.k_grid = 1.0
    bench.device.step(0.0)
    bench.device.step(60.0)
    bench.device.receive(60.0, CanFrame(READ_ID | identifier & 0x70000 if mine else identifier, data))
    bench.device.step(60.1)


def test_every_selector_of_the_data_base_is_answered() -> None:
    bench = Bench().on()
    bench.link.ac_ia_a = float("nan")
    values = {entry.name: bench.read(selector) for selector, entry in codec.READ_FIELDS.items()}
    assert None not in values.values()
    assert values["Rd_ModuleVoltage"] == pytest.approx(400.0, rel=0.01)
    assert values["Rd_ModuleCurrent"] == pytest.approx(10.0, rel=0.01)
    assert values["Rd_AcVoltageAB"] == pytest.approx(398.4, rel=0.01)
    assert values["Rd_AcFrequency"] == pytest.approx(50.0, abs=0.02)
    assert values["Rd_CapRatedPower"] == 22_000.0
    assert values["Rd_AcPhaseCurrentA"] == 0.0


# ---------------------------------------------------------------------------------------------- writes
@pytest.mark.parametrize(
    ("selector", "value"),
    [(0x1001, 150.0), (0x1102, 100.0), (0x1131, 100.0), (0x1132, 120.0), (0x2110, 0xA2)],
)
def test_an_impossible_value_is_refused_and_changes_nothing(selector: int, value: float) -> None:
    bench = Bench().on()
    before = bench.link.as_dict()
    assert bench.write(selector, value) == codec.ERROR_DATA
    assert bench.link.as_dict() == before


def test_a_selector_that_does_not_exist_is_answered_with_command_invalid() -> None:
    bench = Bench()
    for identifier in (READ_ID, WRITE_ID):
        bench.device.receive(bench.now, CanFrame(identifier, b"\x7f\x7f" + bytes(6)))
        (answer,) = bench.run(0.02)
        assert codec.split_id(answer.id).error == codec.ERROR_COMMAND


def test_a_mode_change_at_current_is_refused_and_at_rest_accepted() -> None:
    bench = Bench().on()
    assert bench.write(0x2110, codec.MODE_INVERTER) == codec.ERROR_COMMAND
    assert bench.read(0x1111) == 0.0
    assert bench.write(0x1102, 0.0) == 0
    bench.run(0.2)
    assert bench.write(0x2110, codec.MODE_INVERTER) == 0
    assert bench.read(0x1111) == 1.0


def test_starting_takes_time_and_says_so() -> None:
    bench = Bench()
    for selector, value in ((0x1001, 450.0), (0x1131, 480.0), (0x1102, 5.0)):
        bench.write(selector, value)
    assert bench.write(0x1110, codec.ON) == 0
    assert bench.write(0x1110, codec.ON) == codec.ERROR_STARTING
    assert bench.link.conv_on == 0.0
    bench.run(0.2)
    assert bench.link.conv_on == 1.0
    assert not bench.status("St_DcSideOff")


def test_the_current_follows_its_own_ramp() -> None:
    bench = Bench().on(amps=0.0)
    assert bench.write(0x1102, 50.0) == 0
    before = bench.link.conv_i_a
    bench.run(0.1)
    assert bench.link.conv_i_a - before == pytest.approx(20.0, abs=0.5)


def test_the_power_limit_cuts_the_current_and_is_told() -> None:
    bench = Bench().on(amps=RATED_A)
    assert bench.link.conv_i_a == pytest.approx(22_000.0 / 400.0)
    assert bench.status("St_PowerLimited")


def test_ten_seconds_of_silence_switch_it_off() -> None:
    bench = Bench().on()
    bench.run(SILENCE_OFF_S - 1.0)
    assert bench.link.conv_on == 1.0
    bench.run(1.1)
    assert bench.link.conv_on == 0.0
    assert bench.status("St_CommInterrupt")


def test_the_enable_line_stops_it_at_once_and_does_not_start_it_again() -> None:
    bench = Bench().on()
    bench.link.converter_enable = 0.0
    bench.run(0.001)
    assert (bench.link.conv_on, bench.link.conv_i_a) == (0.0, 0.0)
    assert bench.write(0x1110, codec.ON) == codec.ERROR_COMMAND
    bench.link.converter_enable = 1.0
    bench.run(1.0)
    assert bench.link.conv_on == 0.0
    assert bench.write(0x1110, codec.ON) == 0


def test_its_own_over_voltage_point_trips_and_stays_until_off() -> None:
    bench = Bench().on()
    bench.link.dc_v_v = 481.0
    bench.run(0.01)
    assert bench.link.conv_on == 0.0
    bench.link.dc_v_v = 400.0
    assert bench.status("St_OutputOverVoltage")
    assert bench.write(0x1110, codec.ON) == codec.ERROR_COMMAND
    bench.write(0x1110, codec.OFF)
    assert not bench.status("St_OutputOverVoltage")


def test_its_own_ac_protection_waits_for_its_delay_and_can_be_written() -> None:
    bench = Bench().on()
    bench.link.ac_va_v = bench.link.ac_vb_v = bench.link.ac_vc_v = 80.0
    bench.run(1.0)
    assert bench.link.conv_on == 1.0  # a grid code's ride-through is shorter than the module's delay
    assert bench.write(0x2125, 0.5) == 0  # Uv1 delay
    bench.run(0.1)
    assert bench.link.conv_on == 0.0
    assert bench.status("St_InputLowVoltage")


# ---------------------------------------------------------------------------------------------- faults
def test_mute_obeys_and_says_nothing() -> None:
    bench = Bench().on()
    bench.device.handle({"mute": True})
    assert bench.write(0x1110, codec.OFF) is None
    assert bench.link.conv_on == 0.0


def test_deaf_obeys_nothing() -> None:
    bench = Bench().on()
    bench.device.handle({"deaf": True})
    assert bench.write(0x1110, codec.OFF) is None
    assert bench.link.conv_on == 1.0


def test_dropped_echoes_are_the_next_ones_and_only_echoes() -> None:
    bench = Bench()
    bench.device.handle({"drop_echoes": 2})
    assert [bench.write(0x1102, 1.0), bench.read(0x1111), bench.write(0x1102, 1.0), bench.write(0x1102, 1.0)] == [
        None, 0.0, None, 0,
    ]  # fmt: skip


def test_a_mode_write_can_be_echoed_and_ignored_or_obeyed_and_not_echoed() -> None:
    bench = Bench()
    bench.device.handle({"ignore_mode": "echo"})
    assert bench.write(0x2110, codec.MODE_INVERTER) == 0
    assert bench.read(0x1111) == 0.0
    bench.device.handle({"ignore_mode": "silent"})
    assert bench.write(0x2110, codec.MODE_INVERTER) is None
    assert bench.read(0x1111) == 1.0


def test_reverse_and_gain_show_only_in_the_power_stage() -> None:
    bench = Bench().on()
    bench.device.handle({"reverse": True, "current_gain": 1.5})
    bench.run(0.01)
    assert (bench.link.conv_dir, bench.link.conv_i_a) == (-1.0, pytest.approx(15.0))
    assert bench.read(0x1111) == 0.0


def test_delay_error_bits_freeze_clash_babble_and_reset() -> None:
    bench = Bench()
    bench.device.handle({"delay_s": 0.1})
    assert bench.read(0x1101) is None
    assert len(bench.run(0.15)) == 1
    bench.device.handle({"clear": True, "error_code": 7})
    assert bench.write(0x1102, 1.0) == 7
    bench.device.handle({"clear": True, "freeze": True})
    bench.link.dc_v_v = 300.0
    bench.run(0.1)
    assert bench.read(0x1101) == pytest.approx(400.0, rel=0.01)
    bench.device.handle({"clear": True, "id_clash": True})
    bench.device.receive(bench.now, CanFrame(READ_ID, codec.encode_read(0x1101)))
    first, second = bench.run(0.03)
    assert first.id == second.id
    assert first.data != second.data
    bench.device.handle({"clear": True, "babble_hz": 100.0})
    assert len(bench.run(0.5)) == pytest.approx(50, abs=3)
    bench.device.handle({"clear": True, "reset": 0.5})
    assert bench.read(0x1101) is None
    bench.run(0.6)
    assert bench.read(0x1101) is not None


def test_corrupt_answers_are_wrong_in_ways_that_can_be_seen() -> None:
    bench = Bench()
    bench.device.handle({"corrupt_share": 1.0})
    for _ in range(60):
        bench.device.receive(bench.now, CanFrame(READ_ID, codec.encode_read(0x1101)))
        for frame in bench.run(0.02):
            parts = codec.split_id(frame.id)
            plausible = frame.extended and parts.source == 0 and parts.destination == 0xF0
            assert not plausible or codec.decode_reply(frame.data) is None


@pytest.mark.parametrize(
    "command",
    [
        {"mut": True}, {"mute": 1}, {"drop_share": "much"}, {"drop_share": -0.1}, {"drop_echoes": True},
        {"error_code": 8}, {"ignore_mode": "maybe"}, {"status_bits": ["St_Nothing"]}, {"reset": -1}, {"clear": 0},
        {"mute": True, "nonsense": 1}, {"delay_s": float("nan")},
    ],
)  # fmt: skip
def test_a_command_it_does_not_understand_is_refused_with_a_sentence_and_changes_nothing(
    command: dict[str, Any],
) -> None:
    bench = Bench()
    with pytest.raises(ValueError, match=r"converter|status_bits"):
        bench.device.handle(command)
    assert bench.device.faults == type(bench.device.faults)()


# --------------------------------------------------------------------------------------------- process
def test_as_a_process_it_answers_on_a_udp_bus_and_ends_with_its_rig() -> None:
    bus = f"udp_multicast:239.74.163.80:{udp_port_number()}"
    memory = shared_memory.SharedMemory(create=True, size=SIZE_BYTES)
    assert memory.buf is not None
    link = PlantLink(memory.buf)
    link.k_grid, link.ac_va_v, link.ac_f_hz, link.dc_v_v = 1.0, 230.0, 50.0, 321.0
    arguments = [sys.executable, "-m", "hil.devices.converter", "--shm", memory.name, "--bus", bus]
    try:
        port = open_bus(BusSpec.parse(bus))
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as device:
            assert device.stdin is not None
            assert device.stderr is not None
            device.stdin.write(json.dumps({"reset": 0.0}).encode() + b"\n" + json.dumps({"mut": 1}).encode() + b"\n")
            device.stdin.flush()
            assert b"knows no command 'mut'" in device.stderr.readline()
            values: list[float] = []
            end = time.monotonic() + 60.0
            while not values and time.monotonic() < end:
                port.send(CanFrame(READ_ID, codec.encode_read(0x1101)))
                time.sleep(0.02)
                values = [decoded[1] for f in port.recv(0.0) if (decoded := codec.decode_reply(f.data)) is not None]
            device.stdin.close()
            assert device.wait(60.0) == 0
        port.close()
        assert values[0] == pytest.approx(321.0, rel=0.01)
    finally:
        link.release()
        memory.close()
        memory.unlink()


# ---------------------------------------------------------------------------------------------- power factor
def test_a_power_factor_slews_from_its_next_sample_on_and_is_forgotten_with_the_supply() -> None:
    bench = Bench().on()
    assert bench.link.conv_tan_phi == 0.0
    assert bench.write(0x2105, -0.8) == 0
    assert -0.1 < bench.link.conv_tan_phi < 0.0  # 2 per second, for less than 20 ms
    bench.run(0.5)
    assert bench.link.conv_tan_phi == pytest.approx(-0.75)
    bench.write(0x1110, codec.OFF)
    assert bench.link.conv_tan_phi == 0.0
    bench.on()
    assert bench.link.conv_tan_phi == pytest.approx(-0.75)  # an off is no restart
    bench.link.k_grid = 0.0
    bench.run(0.01)
    bench.link.k_grid = 1.0
    bench.run(3.5)
    bench.on()
    assert bench.link.conv_tan_phi == 0.0


@pytest.mark.parametrize("value", [0.0, 0.5, 0.799, -0.799])
def test_a_power_factor_below_its_range_is_refused_and_changes_nothing(value: float) -> None:
    bench = Bench().on()
    assert bench.write(0x2105, 0.9) == 0
    assert bench.write(0x2105, value) == codec.ERROR_DATA
    bench.run(0.5)
    assert bench.link.conv_tan_phi == pytest.approx(math.sqrt(1 / 0.81 - 1))


def test_the_selector_of_the_power_factor_reads_a_phase_current() -> None:
    bench = Bench().on()
    bench.link.ac_ib_a, bench.link.ac_ic_a = 21.0, 22.0
    bench.write(0x2105, 0.9)
    entry = codec.READ_FIELDS[0x2105]
    assert entry.name == "Rd_AcPhaseCurrentB"
    assert bench.read(0x2105) == 21.0
