"""What every pilot board's driver must do with its emulated MCU, on simulated time. Inherit and fill in `make`.

The obligations' numbers are those of hal/ports.py PilotBoard.
"""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal.ports import COILS_OPEN, Coils, CpState, GridTelemetry, PilotBoard, PilotCommand, PilotStatus, Quality, Reading
from hil.plant.contactors import RELAY_DELAY_S, Contactor
from hil.plant.link import PlantLink

TICK_S = 0.010
STEP_S = 0.001
ALL_CLOSED = Coils(grid=True, dc=True, converter_enable=True)


class Bench:
    """Driver, line, MCU and contactors with their delays. The line's pacing is the emulated MCU's own."""

    def __init__(self, driver: PilotBoard, device: Any, link: PlantLink) -> None:
        self.driver, self.device, self.link = driver, device, link
        self.now = 100.0
        self.command = PilotCommand()
        self.host_alive = True
        self.status = PilotStatus()
        self.samples: list[Reading[GridTelemetry]] = []
        self.contactors = {
            "grid": Contactor(random.Random(5)),
            "dc": Contactor(random.Random(6)),
            "precharge": Contactor(delay_s=RELAY_DELAY_S),
        }
        self._ticks = 0
        link.pcc_va_v, link.pcc_vb_v, link.pcc_vc_v, link.pcc_f_hz = 231.0, 229.0, 233.0, 49.98
        link.ambient_c = 25.0
        link.ev_plugged, link.ev_cp_state = 1.0, 3.0

    def run(self, seconds: float) -> PilotStatus:
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            link, closed = self.link, self.contactors
            weld = {"grid": link.weld_grid, "dc": link.weld_dc, "precharge": 0.0}
            for name, contactor in closed.items():
                stuck = name == "dc" and bool(link.stuck_dc)
                position = contactor.update(
                    self.now, bool(getattr(link, f"coil_{name}")), welded=bool(weld[name]), stuck=stuck
                )
                setattr(link, f"k_{name}", float(position))
            self.driver.receive(self.now, self.device.step(self.now))
            self._ticks += 1
            if self._ticks % round(TICK_S / STEP_S) == 0 and self.host_alive:
                self.status = self.driver.poll(self.now)
                self.samples += self.status.grid
                self.device.receive(self.now, self.driver.command(self.now, self.command))
        return self.status

    def ask(self, coils: Coils, *, reset: bool = False, duty_pct: float | None = 5.0) -> None:
        self.command = PilotCommand(duty_pct, coils, reset)

    def closed(self) -> PilotStatus:
        """Everything closed and confirmed."""
        self.run(0.1)
        self.ask(ALL_CLOSED)
        status = self.run(0.3)
        assert status.mirrors is not None
        assert status.mirrors.value == ALL_CLOSED
        return status

    def contacts(self) -> tuple[bool, bool, bool]:
        return bool(self.link.k_grid), bool(self.link.k_dc), bool(self.link.k_precharge)


class PilotConformance:
    def make(self, link: PlantLink) -> tuple[PilotBoard, Any]:
        """The driver and the emulated MCU over `link`."""
        raise NotImplementedError

    def bench(self) -> Bench:
        link = PlantLink()
        return Bench(*self.make(link), link)

    # ------------------------------------------------------------------------------------------- obligations 1 and 2
    @settings(max_examples=20, deadline=None)
    @given(noise=st.lists(st.binary(max_size=60), max_size=20))
    def test_1_garbage_never_raises_and_the_driver_finds_back(self, noise: list[bytes]) -> None:
        bench = self.bench()
        bench.closed()
        for data in noise:
            bench.driver.receive(bench.now, data)
        samples = len(bench.samples)
        status = bench.run(0.2)
        assert status.online
        assert status.mirrors is not None
        assert status.mirrors.value == ALL_CLOSED
        assert len(bench.samples) - samples >= 30  # 40 less what the garbage tore

    def test_1_nothing_grows_without_bound_when_nobody_polls(self) -> None:
        bench = self.bench()
        bench.run(0.1)
        bench.host_alive = False
        bench.run(5.0)
        assert len(bench.driver.poll(bench.now).grid) <= 100  # of 1000

    def test_2_damaged_frames_change_nothing_and_are_counted(self) -> None:
        bench = self.bench()
        before = bench.closed()
        bench.device.corrupt_next = 10_000
        bench.link.pcc_va_v = 100.0
        bench.link.ev_cp_state = 2.0
        samples = len(bench.samples)
        after = bench.run(0.09)
        assert len(bench.samples) - samples <= 2  # what was on the line before
        assert after.cp is not None
        assert before.cp is not None
        assert after.cp.value is before.cp.value
        assert after.bad_frames >= before.bad_frames + 15
        assert not bench.run(0.1).online

    def test_2_swapped_bytes_change_nothing_and_are_counted(self) -> None:
        bench = self.bench()
        before = bench.closed()
        bench.device.swap_next = 10_000
        bench.link.ev_cp_state = 2.0
        samples = len(bench.samples)
        after = bench.run(0.09)
        assert len(bench.samples) - samples <= 2
        assert after.bad_frames > before.bad_frames
        assert after.cp is not None
        assert after.cp.value is CpState.C

    def test_2_noise_on_the_line_costs_at_most_a_frame_or_two(self) -> None:
        bench = self.bench()
        bench.closed()
        samples, lost = len(bench.samples), bench.status.grid_lost
        bench.device.garbage_next = 200  # 17 ms of line
        bench.run(0.5)
        assert len(bench.samples) - samples >= 94
        assert bench.status.grid_lost - lost <= 3
        assert bench.status.bad_frames > 0

    # ------------------------------------------------------------------------------------------------ obligation 3
    def test_3_a_standing_counter_gives_no_new_samples(self) -> None:
        bench = self.bench()
        bench.run(0.2)
        bench.device.stop_sequence = True
        bench.run(0.02)
        samples = len(bench.samples)
        bench.run(1.0)
        assert len(bench.samples) == samples
        bench.device.stop_sequence = False
        bench.run(0.1)
        assert len(bench.samples) >= samples + 18

    def test_3_missing_samples_are_counted(self) -> None:
        bench = self.bench()
        bench.run(0.2)
        assert bench.status.grid_lost == 0
        samples = len(bench.samples)
        bench.device.mute = True
        bench.run(0.1)
        bench.device.mute = False
        bench.run(0.2)
        assert len(bench.samples) - samples + bench.status.grid_lost == pytest.approx(60, abs=2)
        assert bench.status.grid_lost >= 18

    # ------------------------------------------------------------------------------------------------ obligation 4
    def test_4_an_opening_coil_leaves_in_the_same_call(self) -> None:
        bench = self.bench()
        bench.closed()
        bench.host_alive = False  # from here on only this one call speaks
        sent_at = bench.now
        bench.device.receive(bench.now, bench.driver.command(bench.now, PilotCommand(5.0, COILS_OPEN)))
        while any(bench.contacts()) and bench.now < sent_at + 0.2:
            bench.run(STEP_S)
        # 1.04 ms of line, one step of the MCU, and the slowest contactor: far from the silence time-out.
        assert bench.now - sent_at <= 0.035

    def test_4_the_default_command_closes_nothing(self) -> None:
        bench = self.bench()
        bench.run(1.0)
        assert not any(bench.contacts())
        assert bench.link.converter_enable == 0.0

    def test_4_polling_alone_does_not_keep_the_contactors_closed(self) -> None:
        bench = self.bench()
        bench.closed()
        bench.host_alive = False
        for _ in range(100):
            bench.run(0.010)
            bench.driver.poll(bench.now)
        assert not any(bench.contacts())

    # ------------------------------------------------------------------------------------------------ obligation 5
    def test_5_each_sample_comes_once_with_the_time_it_arrived(self) -> None:
        bench = self.bench()
        bench.run(1.0)
        assert len(bench.samples) == pytest.approx(200, abs=3)
        assert bench.driver.poll(bench.now).grid == ()
        times = [sample.t for sample in bench.samples]
        assert times == sorted(times)
        assert max(b - a for a, b in itertools.pairwise(times)) < 0.012
        for sample in bench.samples:
            assert sample.value.v_v == pytest.approx((231.0, 229.0, 233.0), abs=0.4)
            assert sample.value.f_hz == pytest.approx(49.98, abs=0.02)

    def test_5_a_dead_grid_has_voltages_and_no_frequency(self) -> None:
        bench = self.bench()
        link = bench.link
        link.pcc_va_v = link.pcc_vb_v = link.pcc_vc_v = 1.0
        bench.run(0.1)
        assert max(bench.samples[-1].value.v_v) < 2.0
        assert math.isnan(bench.samples[-1].value.f_hz)

    def test_5_values_do_not_live_on_when_the_mcu_falls_silent(self) -> None:
        bench = self.bench()
        before = bench.closed()
        bench.device.mute = True
        samples = len(bench.samples)
        after = bench.run(0.5)
        assert not after.online
        assert len(bench.samples) - samples <= 1
        assert after.cp is not None
        assert before.cp is not None
        assert after.cp.t <= before.cp.t + 0.03  # it just grew old

    # ------------------------------------------------------------------------------------------------ obligation 6
    def test_6_a_silent_host_opens_everything_within_its_time_out(self) -> None:
        bench = self.bench()
        bench.closed()
        bench.host_alive = False
        bench.run(bench.driver.host_timeout_s - 0.02)
        assert bench.contacts() == (True, True, False)
        bench.run(0.02 + 0.035)  # the rest of the time-out, and the slowest contactor
        assert bench.contacts() == (False, False, False)
        assert bench.link.converter_enable == 0.0

    def test_6_the_safe_state_is_reported_and_lasts_until_a_reset_is_asked_for(self) -> None:
        bench = self.bench()
        bench.closed()
        bench.host_alive = False
        bench.run(1.0)
        bench.host_alive = True
        status = bench.run(0.5)
        assert status.com_timeout
        assert status.mirror_faults == ()  # held open on purpose
        assert not any(bench.contacts())
        bench.ask(COILS_OPEN)  # asking for open alone clears nothing
        assert bench.run(2.0).com_timeout
        bench.ask(COILS_OPEN, reset=True)
        assert not bench.run(0.2).com_timeout
        bench.ask(ALL_CLOSED)
        bench.run(0.2)
        assert bench.contacts() == (True, True, False)

    def test_6_a_reset_is_not_sent_while_a_coil_is_asked_closed(self) -> None:
        bench = self.bench()
        bench.closed()
        bench.host_alive = False
        bench.run(1.0)
        bench.host_alive = True
        bench.ask(Coils(grid=True), reset=True)
        assert bench.run(1.0).com_timeout
        assert not any(bench.contacts())

    # --------------------------------------------------------------------------------------------- faults and reports
    def test_emergency_stop_opens_at_once_and_is_reported(self) -> None:
        bench = self.bench()
        bench.closed()
        bench.link.estop = 1.0
        status = bench.run(0.04)
        assert not any(bench.contacts())
        assert bench.link.converter_enable == 0.0
        assert status.estop
        bench.link.estop = 0.0
        status = bench.run(1.0)
        assert not status.estop
        assert not any(bench.contacts())  # the host has not asked for open in between
        bench.ask(COILS_OPEN)
        bench.run(0.1)
        bench.ask(ALL_CLOSED)
        bench.run(0.2)
        assert bench.contacts() == (True, True, False)

    @pytest.mark.parametrize("name", ["grid", "dc"])
    def test_a_welded_contactor_is_reported(self, name: str) -> None:
        bench = self.bench()
        assert bench.closed().mirror_faults == ()
        setattr(bench.link, f"weld_{name}", 1.0)
        bench.ask(COILS_OPEN)
        status = bench.run(0.5)
        assert status.mirror_faults == (name,)
        assert status.mirrors is not None
        assert getattr(status.mirrors.value, name)

    def test_a_stuck_contactor_is_reported(self) -> None:
        bench = self.bench()
        bench.run(0.1)
        bench.link.stuck_dc = 1.0
        bench.ask(ALL_CLOSED)
        assert bench.run(0.5).mirror_faults == ("dc",)

    def test_switching_within_the_contactors_delays_is_no_fault(self) -> None:
        bench = self.bench()
        bench.run(0.1)
        for n in range(20):
            bench.ask(ALL_CLOSED if n % 2 else COILS_OPEN)
            assert bench.run(0.1).mirror_faults == ()

    def test_the_precharge_relay_follows_its_own_coil(self) -> None:
        bench = self.bench()
        bench.run(0.1)
        bench.ask(Coils(grid=True, precharge=True))
        status = bench.run(0.1)
        assert bench.contacts() == (True, False, True)
        assert status.mirrors is not None
        assert status.mirrors.value.precharge

    @pytest.mark.parametrize(
        ("plugged", "resistor", "state"),
        [(0.0, 1.0, CpState.A), (1.0, 2.0, CpState.B), (1.0, 3.0, CpState.C)],
    )
    def test_the_pilot_state_is_the_cars(self, plugged: float, resistor: float, state: CpState) -> None:
        bench = self.bench()
        bench.link.ev_plugged, bench.link.ev_cp_state = plugged, resistor
        bench.ask(COILS_OPEN)
        status = bench.run(0.1)
        assert status.cp is not None
        assert status.cp.value is state

    def test_pulling_the_plug_opens_the_vehicle_side_without_the_host(self) -> None:
        bench = self.bench()
        bench.closed()
        bench.link.ev_plugged, bench.link.ev_cp_state = 0.0, 1.0
        status = bench.run(0.05)
        assert bench.contacts() == (True, False, False)
        assert bench.link.converter_enable == 0.0
        assert bench.run(1.0).mirror_faults == ()  # refused, not stuck
        bench.link.ev_plugged, bench.link.ev_cp_state = 1.0, 3.0
        status = bench.run(1.0)
        assert bench.contacts() == (True, False, False)  # and it does not close by itself
        assert status.online

    def test_a_reading_of_temperature_is_the_contacts(self) -> None:
        bench = self.bench()
        status = bench.run(0.3)
        assert status.temperatures_c is not None
        assert status.temperatures_c.quality is Quality.GOOD
        assert status.temperatures_c.value == pytest.approx((25.0, 25.0), abs=0.5)
        assert status.faults == ()

    def test_a_hot_contact_is_a_fault(self) -> None:
        bench = self.bench()
        bench.run(0.3)
        bench.device.temperatures_c[1] = 91.0
        assert "pilot_temperature" in bench.run(0.3).faults
        bench.device.temperatures_c[1] = 60.0
        assert bench.run(0.3).faults == ()

    def test_a_sensor_that_failed_its_self_test_is_a_fault_and_has_no_value(self) -> None:
        bench = self.bench()
        bench.device.self_test_failed = {1}
        status = bench.run(0.3)
        assert "pilot_temperature" in status.faults
        assert status.temperatures_c is not None
        assert status.temperatures_c.quality is Quality.SUSPECT
        assert math.isnan(status.temperatures_c.value[0])

    def test_diode_fault_and_short_are_reported_and_open_the_vehicle_side(self) -> None:
        for attribute, code in (("diode_fault", "pilot_diode_fault"), ("cp_short", "pilot_short")):
            bench = self.bench()
            bench.closed()
            setattr(bench.device, attribute, True)
            assert code in bench.run(0.06).faults
            assert not bench.link.k_dc
            assert bench.link.converter_enable == 0.0

    def test_the_version_is_asked_for_and_told(self) -> None:
        bench = self.bench()
        bench.device.version = (2, 7, 1)
        assert bench.run(0.2).version == "2.7.1"

    def test_a_rebooted_mcu_is_offline_open_and_comes_back_with_its_samples(self) -> None:
        bench = self.bench()
        bench.closed()
        bench.ask(COILS_OPEN)
        bench.run(0.1)
        bench.device.version = (9, 9, 9)
        bench.device.reboot()
        assert not bench.run(0.2).online
        assert not any(bench.contacts())
        samples = len(bench.samples)
        status = bench.run(0.6)
        assert status.online
        assert status.version == "9.9.9"
        assert len(bench.samples) - samples >= 80  # its counter began anew and was believed
