"""What every insulation monitor driver must do, against its emulated device on a real serial line. Inherit and fill in
`make_driver` and `make_model`; see hal/ports.py for the obligations. Faults are the emulated device's attributes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hal.ports import HalError, InsulationAlarm, Quality
from hil.plant.link import PlantLink
from tests.ports.modbus_line import TIMEOUT_S, Line, on_line

ADDRESS = 3
SETTLED_S = 0.12  # emulated cycles are 5 ms here


async def settle(line: Line, seconds: float = SETTLED_S) -> None:
    await asyncio.sleep(seconds)


class InsulationConformance:
    def make_driver(self, line: Line) -> Any:
        raise NotImplementedError

    def make_model(self, link: PlantLink) -> Any:
        """An emulated device with cycles of 5 ms and a self-test of some 50 ms."""
        raise NotImplementedError

    def plant(self, r_ohm: float = 500e3) -> PlantLink:
        link = PlantLink()
        link.insulation_ohm, link.cable_v_v = r_ohm, 400.0
        return link

    def test_a_settled_measurement_is_good_and_carries_the_time_of_its_request(self) -> None:
        async def work(line: Line) -> None:
            imd = self.make_driver(line)
            await imd.read()
            await settle(line)
            before = line.clock()
            reading = await imd.read()
            assert reading.quality is Quality.GOOD
            assert before <= reading.t < line.clock()
            assert reading.value.r_ohm == pytest.approx(500e3, rel=0.15)
            assert reading.value.u_v == pytest.approx(400.0, rel=0.02)
            assert reading.value.alarm is InsulationAlarm.NONE
            assert not reading.value.self_test_running

        on_line(self.make_model(self.plant()), ADDRESS, work)

    def test_one_reading_is_one_transaction_once_the_device_is_set_up(self) -> None:
        async def work(line: Line) -> None:
            imd = self.make_driver(line)
            await imd.read()
            before = line.client.transactions
            await imd.read()
            assert line.client.transactions == before + 1

        on_line(self.make_model(self.plant()), ADDRESS, work)

    @pytest.mark.parametrize(
        ("r_ohm", "alarm"),
        [(150e3, InsulationAlarm.WARNING), (50e3, InsulationAlarm.ALARM), (0.0, InsulationAlarm.ALARM)],
    )
    def test_low_insulation_raises_the_alarm_and_is_still_a_good_measurement(
        self, r_ohm: float, alarm: InsulationAlarm
    ) -> None:
        async def work(line: Line) -> None:
            imd = self.make_driver(line)
            await imd.read()
            await settle(line)
            reading = await imd.read()
            assert reading.quality is Quality.GOOD
            assert reading.value.alarm is alarm
            assert reading.value.r_ohm == pytest.approx(r_ohm, rel=0.15, abs=10.0)

        on_line(self.make_model(self.plant(r_ohm)), ADDRESS, work)

    def test_a_value_above_the_range_is_reported_as_the_end_of_the_range(self) -> None:
        async def work(line: Line) -> None:
            imd = self.make_driver(line)
            await imd.read()
            await settle(line)
            reading = await imd.read()
            assert reading.quality is Quality.GOOD
            assert reading.value.r_ohm == 1e6

        on_line(self.make_model(self.plant(float("inf"))), ADDRESS, work)

    @pytest.mark.parametrize("fault", ["invalid", "device_fault"])
    def test_an_invalid_measurement_is_bad_and_shows_no_number_to_believe(self, fault: str) -> None:
        async def work(line: Line) -> None:
            imd = self.make_driver(line)
            await imd.read()
            await settle(line)
            setattr(line.device.device, fault, True)
            await settle(line, 0.01)
            reading = await imd.read()
            assert reading.quality is Quality.BAD
            assert reading.value.r_ohm == 0.0
            assert (reading.value.alarm is InsulationAlarm.DEVICE_FAULT) == (fault == "device_fault")

        on_line(self.make_model(self.plant()), ADDRESS, work)

    def test_a_self_test_that_passes_is_true_and_the_measurement_is_doubtful_meanwhile(self) -> None:
        async def work(line: Line) -> None:
            imd = self.make_driver(line)
            await imd.read()
            await settle(line)
            test = asyncio.create_task(imd.self_test())
            await asyncio.sleep(0.02)
            reading = await imd.read()
            assert reading.value.self_test_running
            assert reading.quality is not Quality.GOOD
            assert await test is True
            assert line.device.device.self_tests == 1
            await settle(line)
            assert (await imd.read()).quality is Quality.GOOD

        on_line(self.make_model(self.plant()), ADDRESS, work)

    def test_a_failed_self_test_is_false_and_stays_a_device_fault(self) -> None:
        async def work(line: Line) -> None:
            line.device.device.fail_self_test = True
            imd = self.make_driver(line)
            assert await imd.self_test() is False
            await settle(line)
            reading = await imd.read()
            assert (reading.quality, reading.value.alarm) == (Quality.BAD, InsulationAlarm.DEVICE_FAULT)
            line.device.device.fail_self_test = False
            assert await imd.self_test() is True
            await settle(line)
            assert (await imd.read()).quality is Quality.GOOD

        on_line(self.make_model(self.plant()), ADDRESS, work)

    def test_a_self_test_that_never_starts_is_false_within_its_time(self) -> None:
        async def work(line: Line) -> None:
            imd = self.make_driver(line)
            imd.self_test_max_s = 0.1
            line.device.device._start_test = lambda: None
            t = line.clock()
            assert await imd.self_test() is False
            assert line.clock() - t < 0.15

        on_line(self.make_model(self.plant()), ADDRESS, work)

    def test_a_self_test_that_never_ends_is_false_within_its_time(self) -> None:
        async def work(line: Line) -> None:
            imd = self.make_driver(line)
            imd.self_test_max_s = 0.1
            line.device.device._self_test_s = (60.0, 60.0)
            t = line.clock()
            assert await imd.self_test() is False
            assert line.clock() - t < 0.15

        on_line(self.make_model(self.plant()), ADDRESS, work)

    def test_a_device_that_dies_in_its_self_test_is_an_error_not_a_pass(self) -> None:
        async def work(line: Line) -> None:
            imd = self.make_driver(line)
            await imd.read()
            test = asyncio.create_task(imd.self_test())
            await asyncio.sleep(0.02)
            line.device.device.supply = False
            with pytest.raises(HalError, match="did not answer"):
                await test

        on_line(self.make_model(self.plant()), ADDRESS, work)

    def test_silence_is_an_error_with_a_sentence_within_the_time_out_and_no_reading(self) -> None:
        async def work(line: Line) -> None:
            imd = self.make_driver(line)
            await imd.read()
            line.device.slave.mute = True
            t = line.clock()
            with pytest.raises(HalError) as error:
                await imd.read()
            assert line.clock() - t == pytest.approx(TIMEOUT_S, abs=0.05)
            assert f"address {ADDRESS} on {line.path} did not answer" in str(error.value).replace(",", "")
            line.device.slave.mute = False
            await imd.read()

        on_line(self.make_model(self.plant()), ADDRESS, work)

    def test_a_wrong_checksum_gives_no_reading(self) -> None:
        async def work(line: Line) -> None:
            imd = self.make_driver(line)
            await imd.read()
            line.device.slave.wrong_crc = 1
            with pytest.raises(HalError, match="no valid answer"):
                await imd.read()

        on_line(self.make_model(self.plant()), ADDRESS, work)

    def test_a_wrong_address_or_baud_is_an_error_that_names_the_setting(self) -> None:
        async def work(line: Line) -> None:
            with pytest.raises(HalError, match="9600 baud"):
                await self.make_driver(line).read()

        on_line(self.make_model(self.plant()), ADDRESS, work, baud=9600)

    def test_an_answer_slower_than_the_time_out_is_never_taken_for_the_next_ones(self) -> None:
        async def work(line: Line) -> None:
            imd = self.make_driver(line)
            await imd.read()
            await settle(line)
            line.device.slave.turnaround_s = TIMEOUT_S + 0.03
            with pytest.raises(HalError, match="did not answer"):
                await imd.read()
            line.device.slave.turnaround_s = 0.001
            line.device.device._link.insulation_ohm = 20e3
            await settle(line)
            reading = await imd.read()
            assert reading.value.r_ohm == pytest.approx(20e3, rel=0.15)

        on_line(self.make_model(self.plant()), ADDRESS, work)
