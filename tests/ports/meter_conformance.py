"""What every meter driver must do, against its emulated device on a real serial line. Inherit and fill in `driver`,
`model`, `other` and `setting`; see hal/ports.py for the obligations."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, ClassVar

import pytest

from hal.ports import HalError, Quality
from hil.plant.link import PlantLink
from tests.ports.modbus_line import TIMEOUT_S, Line, on_line

ADDRESS = 17


class MeterConformance:
    driver: ClassVar[Any]
    model: ClassVar[Any]

    def plant(self) -> PlantLink:
        """A plant in which every value that the meter shows differs from zero."""
        link = PlantLink()
        link.pcc_va_v, link.pcc_vb_v, link.pcc_vc_v, link.pcc_f_hz = 231.0, 229.0, 233.0, 49.98
        link.ac_ia_a, link.ac_ib_a, link.ac_ic_a = 15.0, 15.5, 14.5
        link.ac_p_w, link.ac_q_var = 10_000.0, 500.0
        link.cable_v_v, link.cable_i_a = 400.0, 24.0
        return link

    def make(self, link: PlantLink, **options: Any) -> Any:
        return self.model(link, random.Random(3), refresh_s=0.0, boot_s=0.0, **options)

    def test_a_reading_carries_the_time_of_its_request_and_is_good(self) -> None:
        async def work(line: Line) -> None:
            meter = self.driver(line.client, ADDRESS, line.clock)
            before = line.clock()
            reading = await meter.read()
            assert reading.quality is Quality.GOOD
            assert before <= reading.t <= before + 0.02
            assert reading.t < line.clock()

        on_line(self.make(self.plant()), ADDRESS, work)

    def test_one_reading_is_one_transaction(self) -> None:
        async def work(line: Line) -> None:
            meter = self.driver(line.client, ADDRESS, line.clock)
            await meter.read()
            await meter.read()
            assert line.client.transactions == 2
            assert line.device.slave.frames == 2

        on_line(self.make(self.plant()), ADDRESS, work)

    def test_silence_is_an_error_with_a_sentence_within_the_time_out_and_no_reading(self) -> None:
        async def work(line: Line) -> None:
            meter = self.driver(line.client, ADDRESS, line.clock)
            await meter.read()
            line.device.slave.mute = True
            t = line.clock()
            with pytest.raises(HalError) as error:
                await meter.read()
            assert line.clock() - t == pytest.approx(TIMEOUT_S, abs=0.05)
            text = str(error.value)
            assert f"address {ADDRESS} on {line.path}" in text
            assert "did not answer" in text
            assert "115200 baud 8N1" in text
            line.device.slave.mute = False
            assert (await meter.read()).quality is Quality.GOOD

        on_line(self.make(self.plant()), ADDRESS, work)

    def test_a_wrong_checksum_gives_no_reading(self) -> None:
        async def work(line: Line) -> None:
            meter = self.driver(line.client, ADDRESS, line.clock)
            line.device.slave.wrong_crc = 1
            with pytest.raises(HalError, match="no valid answer"):
                await meter.read()
            await meter.read()

        on_line(self.make(self.plant()), ADDRESS, work)

    def test_half_an_answer_gives_no_reading(self) -> None:
        async def work(line: Line) -> None:
            meter = self.driver(line.client, ADDRESS, line.clock)
            line.device.slave.cut = 1
            with pytest.raises(HalError, match="no valid answer"):
                await meter.read()
            await meter.read()

        on_line(self.make(self.plant()), ADDRESS, work)

    def test_an_answer_of_another_device_gives_no_reading(self) -> None:
        async def work(line: Line) -> None:
            meter = self.driver(line.client, ADDRESS, line.clock)
            line.device.slave.wrong_address = 1
            with pytest.raises(HalError):
                await meter.read()
            await meter.read()

        on_line(self.make(self.plant()), ADDRESS, work)

    def test_a_wrong_address_setting_is_an_error_that_names_it(self) -> None:
        async def work(line: Line) -> None:
            with pytest.raises(HalError, match=f"address {ADDRESS + 1} on"):
                await self.driver(line.client, ADDRESS + 1, time.monotonic).read()

        on_line(self.make(self.plant()), ADDRESS, work)

    def test_a_wrong_baud_rate_is_an_error_that_names_the_setting(self) -> None:
        async def work(line: Line) -> None:
            with pytest.raises(HalError, match="9600 baud 8N1"):
                await self.driver(line.client, ADDRESS, line.clock).read()

        on_line(self.make(self.plant()), ADDRESS, work, baud=9600)

    def test_another_device_at_the_address_is_refused_with_a_sentence(self) -> None:
        class Strange:
            name = "strange"
            rules: ClassVar[dict[str, Any]] = {}
            answering = True

            def read_registers(self, function: int, start: int, count: int) -> list[int]:
                return [0xFFFF] * count

            def write_registers(self, start: int, values: Any) -> None: ...

            def step(self, now: float) -> None: ...

            def close(self) -> None: ...

        async def work(line: Line) -> None:
            with pytest.raises(HalError, match="nonsense"):
                await self.driver(line.client, ADDRESS, line.clock).read()

        on_line(Strange(), ADDRESS, work)

    def test_two_readers_of_one_line_do_not_disturb_each_other(self) -> None:
        async def work(line: Line) -> None:
            first = self.driver(line.client, ADDRESS, line.clock)
            second = self.driver(line.client, ADDRESS, line.clock)
            readings = await asyncio.gather(*(m.read() for m in (first, second) * 4))
            assert all(r.quality is Quality.GOOD for r in readings)
            assert line.client.failures == 0

        on_line(self.make(self.plant()), ADDRESS, work)

    def test_a_cancelled_reading_does_not_leave_its_answer_to_the_next_one(self) -> None:
        async def work(line: Line) -> None:
            meter = self.driver(line.client, ADDRESS, line.clock)
            await meter.read()
            frames = line.device.slave.frames
            line.device.slave.turnaround_s = 0.02
            task = asyncio.create_task(meter.read())
            while line.device.slave.frames == frames:  # until the device has been asked
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            line.device.slave.turnaround_s = 0.001
            frames = line.device.slave.frames
            await meter.read()
            assert line.device.slave.frames == frames + 1

        on_line(self.make(self.plant()), ADDRESS, work)

    def test_the_line_is_opened_again_after_it_was_lost(self) -> None:
        async def work(line: Line) -> None:
            meter = self.driver(line.client, ADDRESS, line.clock)
            path, line.client.port = line.path, "/dev/pts/does-not-exist"
            with pytest.raises(HalError, match="no such port"):
                await meter.read()
            line.client.port = path
            assert (await meter.read()).quality is Quality.GOOD

        on_line(self.make(self.plant()), ADDRESS, work)

    def test_an_address_out_of_range_is_refused_at_construction(self) -> None:
        with pytest.raises(ValueError, match="address 0 is outside 1 to 247"):
            self.driver(None, 0, time.monotonic)
