"""isoCHA425HV: driver, register vectors, and what the emulated device owes to the real one."""

from __future__ import annotations

import math
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.modbus import isocha425hv as iso
from hal.modbus.client import float32_registers
from hal.modbus.isocha425hv import Channel, IsoCha425Hv, channel, channel_registers, decode
from hal.ports import HalError, InsulationAlarm, Quality
from hil.devices.imd import EmulatedImd
from hil.devices.modbus_server import READ_HOLDING, Refused
from hil.plant.link import PlantLink
from tests.ports.insulation_conformance import ADDRESS, InsulationConformance
from tests.ports.modbus_line import Line, on_line


class TestIsoCha425Hv(InsulationConformance):
    def make_driver(self, line: Line) -> IsoCha425Hv:
        return IsoCha425Hv(line.client, ADDRESS, line.clock, poll_s=0.01, self_test_max_s=5.0)

    def make_model(self, link: PlantLink) -> EmulatedImd:
        return EmulatedImd(link, random.Random(5), cycle_s=0.005, settle_s=0.01, self_test_s=(0.05, 0.08), start_s=0.0)

    def test_thresholds_are_set_where_they_differ_and_not_written_again(self) -> None:
        class Counting(EmulatedImd):
            written: list[tuple[int, int]]

            def write_registers(self, start: int, values: Any) -> None:
                super().write_registers(start, values)
                self.written.append((start, values[0]))

        model = Counting(self.plant(), random.Random(5), start_s=0.0)
        model.written = []

        async def work(line: Line) -> None:
            await self.make_driver(line).read()
            # A new device holds 600 and 120; the alarm goes down first, else the device would refuse the prewarning.
            assert model.written == [(3005, 250), (3007, 100), (3021, 3)]
            again = self.make_driver(line)
            await again.read()
            assert len(model.written) == 3
            assert again.version == 502
            lower = IsoCha425Hv(line.client, ADDRESS, line.clock, prewarning_kohm=50, alarm_kohm=40)
            await lower.read()
            assert model.written[3:] == [(3007, 40), (3005, 50)]
            higher = IsoCha425Hv(line.client, ADDRESS, line.clock, prewarning_kohm=600, alarm_kohm=500)
            await higher.read()
            assert model.written[5:] == [(3005, 600), (3007, 500)]

        on_line(model, ADDRESS, work)

    def test_settings_are_checked_again_after_the_device_was_lost(self) -> None:
        async def work(line: Line) -> None:
            imd = self.make_driver(line)
            await imd.read()
            line.device.slave.mute = True
            with pytest.raises(HalError):
                await imd.read()
            line.device.slave.mute = False
            line.device.device.write_registers(3007, [1])
            await imd.read()
            assert line.device.device.read_registers(READ_HOLDING, 3007, 1) == [100]

        on_line(self.make_model(self.plant()), ADDRESS, work)

    def test_a_measurement_that_stands_still_becomes_bad(self) -> None:
        async def work(line: Line) -> None:
            now = [100.0]
            imd = IsoCha425Hv(line.client, ADDRESS, lambda: now[0])
            await imd.read()
            for _ in range(100):
                if (await imd.read()).quality is Quality.GOOD:
                    break
            line.device.device.frozen = True
            await imd.read()
            now[0] += 29.0
            assert (await imd.read()).quality is Quality.GOOD
            now[0] += 2.0
            assert (await imd.read()).quality is Quality.BAD

        on_line(self.make_model(self.plant()), ADDRESS, work)

    @pytest.mark.parametrize(("prewarning", "alarm"), [(100, 250), (601, 100), (100, 0)])
    def test_thresholds_that_make_no_sense_are_refused_with_the_range(self, prewarning: int, alarm: int) -> None:
        with pytest.raises(ValueError, match="1 <= alarm <= prewarning <= 600"):
            IsoCha425Hv(None, 3, time.monotonic, prewarning_kohm=prewarning, alarm_kohm=alarm)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------- decoding
def block(r: tuple[float, int, int], u: tuple[float, int, int] = (400.0, 0x00, 0x04)) -> list[int]:
    """Registers 1000 to 1035 with R_F and U_n as (value, AT&T byte, R&U byte): written by hand from the manual."""
    registers = [0] * 36
    registers[0:4] = [*float32_registers(r[0]), r[1] << 8 | r[2], 71]
    registers[8:12] = [*float32_registers(u[0]), u[1] << 8 | u[2], 76]
    return registers


@pytest.mark.parametrize(
    ("state", "kind", "r_ohm", "alarm", "running", "quality"),
    [
        (0x00, 0x02, 5e5, InsulationAlarm.NONE, False, Quality.GOOD),
        (0x01, 0x02, 5e5, InsulationAlarm.WARNING, False, Quality.GOOD),
        (0x04, 0x02, 5e5, InsulationAlarm.WARNING, False, Quality.GOOD),
        (0x05, 0x02, 5e5, InsulationAlarm.ALARM, False, Quality.GOOD),
        (0x02, 0x02, 0.0, InsulationAlarm.DEVICE_FAULT, False, Quality.BAD),
        (0x03, 0x02, 0.0, InsulationAlarm.DEVICE_FAULT, False, Quality.BAD),  # reserved: not "no alarm"
        (0x07, 0x02, 0.0, InsulationAlarm.DEVICE_FAULT, False, Quality.BAD),
        (0x00, 0x82, 5e5, InsulationAlarm.NONE, False, Quality.GOOD),  # true value is higher
        (0x00, 0x42, 0.0, InsulationAlarm.NONE, False, Quality.GOOD),  # true value is lower: the worst
        (0x00, 0xC2, 0.0, InsulationAlarm.NONE, False, Quality.BAD),  # invalid
        (0x00, 0x00, 0.0, InsulationAlarm.NONE, False, Quality.BAD),  # unit "invalid (init)"
        (0x00, 0x04, 0.0, InsulationAlarm.NONE, False, Quality.BAD),  # volts are no resistance
        (0x80, 0x02, 5e5, InsulationAlarm.NONE, True, Quality.SUSPECT),  # external test runs
        (0x40, 0x02, 5e5, InsulationAlarm.NONE, True, Quality.SUSPECT),  # internal test runs
    ],
)
def test_every_state_of_a_channel_is_decoded(
    state: int, kind: int, r_ohm: float, alarm: InsulationAlarm, running: bool, quality: Quality
) -> None:
    values, got = decode(block((5e5, state, kind)))
    assert (values.r_ohm, values.alarm, values.self_test_running, got) == (r_ohm, alarm, running, quality)
    assert values.u_v == 400.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_a_resistance_that_is_no_number_is_bad(value: float) -> None:
    values, quality = decode(block((value, 0, 2)))
    assert (values.r_ohm, quality) == (0.0, Quality.BAD)


def test_without_a_voltage_the_measurement_is_bad() -> None:
    values, quality = decode(block((5e5, 0, 2), (400.0, 0x00, 0xC4)))
    assert (values.u_v, quality) == (0.0, Quality.BAD)


@given(st.lists(st.integers(0, 0xFFFF), min_size=36, max_size=36))
def test_no_36_registers_make_a_good_reading_out_of_an_invalid_channel(registers: list[int]) -> None:
    values, quality = decode(registers)
    c = channel(registers, 0)
    assert math.isfinite(values.r_ohm)
    assert values.r_ohm >= 0.0
    if quality is Quality.GOOD:
        assert (c.unit, c.test) == (iso.UNIT_OHM, 0)
        assert c.validity != iso.INVALID
        assert values.r_ohm <= c.value
    else:
        assert quality is Quality.SUSPECT or values.r_ohm == 0.0 or not channel(registers, 8).holds(iso.UNIT_V)


@given(
    st.floats(width=32, allow_nan=False), st.integers(0, 7), st.integers(0, 3), st.integers(0, 31), st.integers(0, 3),
    st.integers(0, 0xFFFF),
)  # fmt: skip
def test_a_channel_survives_its_registers(
    value: float, alarm: int, test: int, unit: int, validity: int, description: int
) -> None:
    c = Channel(value, alarm, test, unit, validity, description)
    assert channel(channel_registers(c), 0) == c


# ------------------------------------------------------------------------------------------------------- real behaviour
def shown(device: EmulatedImd) -> Channel:
    return channel(device.read_registers(READ_HOLDING, 1000, 36), 0)


def run(device: EmulatedImd, t: float, seconds: float) -> float:
    end = t + seconds
    while t < end:
        t += 0.05
        device.step(t)
    return t


def healthy(**options: Any) -> tuple[PlantLink, EmulatedImd, float]:
    link = PlantLink()
    link.insulation_ohm, link.cable_v_v = 800e3, 400.0
    device = EmulatedImd(link, random.Random(2), **options)
    device.write_registers(3007, [100])
    device.write_registers(3005, [250])
    device.step(0.0)
    return link, device, run(device, 0.0, 20.0)


def test_the_first_result_after_power_up_takes_seconds() -> None:
    link = PlantLink()
    link.insulation_ohm = 800e3
    device = EmulatedImd(link, random.Random(2))
    device.step(0.0)
    t = run(device, 0.0, 1.9)
    assert not device.answering
    t = run(device, t, 2.0)
    assert device.answering
    assert shown(device).validity == iso.INVALID
    run(device, t, 2.0)
    assert shown(device).validity == iso.ACTUAL


def test_an_insulation_fault_is_seen_after_seconds_and_within_ten() -> None:
    link, device, t = healthy()
    link.insulation_ohm = 50e3
    t = run(device, t, 1.0)
    assert shown(device).alarm != 5
    run(device, t, 9.0)
    assert shown(device).alarm == 5
    assert shown(device).value == pytest.approx(50e3, rel=0.1)


def test_the_alarm_clears_only_above_its_hysteresis() -> None:
    link, device, t = healthy()
    link.insulation_ohm = 50e3
    t = run(device, t, 10.0)
    link.insulation_ohm = 115e3
    t = run(device, t, 15.0)
    assert shown(device).alarm == 5
    link.insulation_ohm = 180e3
    t = run(device, t, 15.0)
    assert shown(device).alarm == 1
    link.insulation_ohm = 800e3
    run(device, t, 15.0)
    assert shown(device).alarm == 0


@pytest.mark.parametrize(
    ("mode", "version", "low", "high"), [(3, 502, 5.0, 8.1), (0, 502, 15.0, 24.1), (3, 480, 15.0, 24.1)]
)
def test_the_self_test_takes_its_time_and_voids_the_measurement(
    mode: int, version: int, low: float, high: float
) -> None:
    _, device, t = healthy(version=version)
    device.write_registers(3021, [mode])
    device.write_registers(8005, [0x5445])
    begin = t
    while shown(device).test == 2:
        assert shown(device).validity == iso.INVALID
        t = run(device, t, 0.05)
    assert low <= t - begin <= high
    assert shown(device).validity == iso.INVALID  # and still for its first cycles
    run(device, t, 5.0)
    assert (shown(device).validity, shown(device).alarm) == (iso.ACTUAL, 0)


def test_a_stopped_device_measures_nothing() -> None:
    _, device, t = healthy()
    device.write_registers(3026, [0])
    t = run(device, t, 1.0)
    assert shown(device).validity == iso.INVALID
    device.write_registers(3026, [1])
    run(device, t, 5.0)
    assert shown(device).validity == iso.ACTUAL


@pytest.mark.parametrize(
    ("start", "values"),
    [(8005, [1]), (3005, [99]), (3007, [251]), (3026, [2]), (1000, [1]), (3005, [250, 0])],
)
def test_settings_out_of_range_are_refused_and_change_nothing(start: int, values: list[int]) -> None:
    _, device, _ = healthy()
    before = device.read_registers(READ_HOLDING, 3005, 22)
    with pytest.raises(Refused):
        device.write_registers(start, values)
    assert device.read_registers(READ_HOLDING, 3005, 22) == before
    assert shown(device).test == 0


def test_an_unknown_command_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="knows no command 'explode'"):
        EmulatedImd(PlantLink(), random.Random(1)).handle({"explode": True})
