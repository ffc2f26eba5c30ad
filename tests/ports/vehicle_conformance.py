"""What every vehicle link's driver must do with its emulated car, on simulated time. Inherit and fill in `make`.

`Bench` stands in for guard, converter and plant with just enough physics: the charger's output follows what the car
asks for, the cable discharges, contactors follow their coils after a delay.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hal.ports import CanFrame, CarPhase, CarStatus, ChargerReport, Reading, VehicleLink
from hil.plant.contactors import Contactor
from hil.plant.link import PlantLink

STEP_S = 0.01
IDLE = ChargerReport(0.0, 0.0, 73.3, 73.3, 1000.0, 1e6, ready=True, stop=False)


class Bench:
    def __init__(self, driver: VehicleLink, car: Any, link: PlantLink) -> None:
        self.driver, self.car, self.link = driver, car, link
        self.now = 50.0
        self.report = IDLE
        self.reading: Reading[CarStatus] | None = None
        self.phases: list[CarPhase] = []
        self.charger_alive = True
        self.follow = True  # the charger makes the voltage that the car asks for
        self.forced_a: float | None = None  # current that flows whatever the car permits
        self.want_a = 0.0  # current that the charger would like to drive, clipped to the car's range
        self._contactor = Contactor(delay_s=0.02)
        link.cp_duty_pct = 5.0
        link.soc = 0.6
        link.batt_v_v = 365.0

    @property
    def status(self) -> CarStatus:
        assert self.reading is not None
        return self.reading.value

    def run(self, seconds: float) -> CarStatus | None:
        for _ in range(round(seconds / STEP_S)):
            self._step()
        return self.reading.value if self.reading else None

    def until(self, phase: CarPhase, within_s: float = 20.0) -> CarStatus:
        end = self.now + within_s
        while self.now < end:
            self._step()
            if self.reading is not None and self.status.phase is phase:
                return self.status
        raise AssertionError(f"no {phase} within {within_s} s, phases were {self.phases}; {self.car.reason}")

    def charging(self) -> CarStatus:
        self.car.plug_in()
        self.until(CarPhase.TRANSFER)
        self.run(0.2)
        return self.status

    def _step(self) -> None:
        self.now += STEP_S
        link = self.link
        self._physics()
        for frame in self.car.step(self.now):
            self.driver.receive(self.now, frame)
        self.reading = self.driver.poll(self.now)
        if self.reading is not None and self.status.phase not in self.phases[-1:]:
            self.phases.append(self.status.phase)
        if self.charger_alive:
            report = replace(self.report, v_v=link.cable_v_v, i_a=link.batt_i_a)
            for frame in self.driver.report(self.now, report):
                self.car.receive(self.now, frame)

    def _physics(self) -> None:
        link = self.link
        link.k_ev = float(self._contactor.update(self.now, bool(link.ev_contactor)))
        status = self.reading.value if self.reading else CarStatus()
        target = status.target_v if self.follow else 0.0
        transfer = status.phase is CarPhase.TRANSFER and bool(link.k_ev)
        if link.k_ev:
            link.cable_v_v = link.batt_v_v
        elif target > link.cable_v_v:
            link.cable_v_v = min(target, link.cable_v_v + 2000.0 * STEP_S)
        else:
            link.cable_v_v = max(target, link.cable_v_v * math.exp(-STEP_S / 0.5))
        link.batt_i_a = min(max(self.want_a, status.i_min_a), status.i_max_a) if transfer else 0.0
        if self.forced_a is not None:
            link.batt_i_a = self.forced_a if link.k_ev else 0.0
        link.soc += link.batt_i_a * STEP_S / (156.0 * 3600.0)


class VehicleConformance:
    def make(self, link: PlantLink) -> tuple[VehicleLink, Any]:
        """The driver and the emulated car over `link`."""
        raise NotImplementedError

    def bench(self) -> Bench:
        link = PlantLink()
        return Bench(*self.make(link), link)

    # ---------------------------------------------------------------------------------------------------- obligations
    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 0x1FFFFFFF), st.binary(max_size=8), st.booleans(), st.booleans())))
    def test_1_frames_of_others_never_raise_and_change_nothing(
        self, frames: list[tuple[int, bytes, bool, bool]]
    ) -> None:
        bench = self.bench()
        before = bench.charging()
        for ident, data, extended, error in frames:
            bench.driver.receive(bench.now, CanFrame(ident, data, extended=extended, error=error))
        reading = bench.driver.poll(bench.now)
        assert reading is not None
        assert reading.value == before

    def test_1_a_damaged_length_changes_nothing(self) -> None:
        bench = self.bench()
        before = bench.charging()
        bench.want_a = 0.0
        for frame in self.every_frame(bench):
            for data in (frame.data[:-1], frame.data + b"\0", b""):
                bench.driver.receive(bench.now, frame._replace(data=data))
        reading = bench.driver.poll(bench.now)
        assert reading is not None
        assert reading.value == before

    def every_frame(self, bench: Bench) -> list[CanFrame]:
        frames: list[CanFrame] = []
        now = bench.now
        while not frames:
            now += STEP_S
            frames = list(bench.car.step(now))
        assert len(frames) >= 5
        return frames

    def test_2_a_silent_secc_gives_none_after_its_time_and_not_before(self) -> None:
        bench = self.bench()
        bench.charging()
        bench.car.mute = True
        bench.run(bench.driver.offline_after_s - 0.12)
        assert bench.reading is not None
        bench.run(0.15)
        assert bench.reading is None
        bench.car.mute = False
        bench.run(0.15)
        assert bench.reading is not None

    def test_2_the_reading_carries_the_time_of_its_frames(self) -> None:
        bench = self.bench()
        bench.charging()
        for _ in range(50):
            bench.run(STEP_S)
            assert bench.reading is not None
            assert 0.0 <= bench.now - bench.reading.t <= 0.111

    def test_3_a_car_without_v2g_permits_no_discharge(self) -> None:
        bench = self.bench()
        bench.car.v2g = False
        status = bench.charging()
        assert status.i_min_a == 0.0
        assert status.i_max_a > 0.0

    # ------------------------------------------------------------------------------------------------------ a session
    def test_a_session_passes_every_phase_in_order(self) -> None:
        bench = self.bench()
        bench.run(0.2)
        bench.charging()
        bench.want_a = 20.0
        bench.run(1.0)
        bench.want_a = 0.0
        bench.run(0.2)
        bench.car.request_stop()
        bench.run(5.0)
        assert bench.phases == [
            CarPhase.NONE, CarPhase.WAIT, CarPhase.INSULATION, CarPhase.WAIT, CarPhase.PRECHARGE, CarPhase.TRANSFER,
            CarPhase.ENDING, CarPhase.WELDING, CarPhase.ENDING, CarPhase.NONE,
        ]  # fmt: skip

    def test_the_car_closes_its_contactor_only_near_its_own_voltage(self) -> None:
        bench = self.bench()
        bench.car.plug_in()
        bench.until(CarPhase.PRECHARGE)
        bench.follow = False
        for _ in range(900):
            bench.run(STEP_S)
            assert not bench.link.ev_contactor
        assert bench.status.phase in (CarPhase.ENDING, CarPhase.WELDING, CarPhase.NONE)
        assert "precharge" in bench.car.reason

    def test_the_car_waits_for_the_charger_to_be_ready(self) -> None:
        bench = self.bench()
        bench.report = replace(IDLE, ready=False)
        bench.car.plug_in()
        assert bench.run(30.0) is not None
        assert bench.status.phase is CarPhase.WAIT
        bench.report = IDLE
        bench.until(CarPhase.INSULATION, 1.0)

    @pytest.mark.parametrize("ohm", [None, 99_000.0])
    def test_without_proven_insulation_there_is_no_precharge(self, ohm: float | None) -> None:
        bench = self.bench()
        bench.report = replace(IDLE, insulation_ohm=ohm)
        bench.car.plug_in()
        bench.run(45.0)  # the cable check gives up after 40 s
        assert CarPhase.PRECHARGE not in bench.phases
        assert "cable check" in bench.car.reason

    def test_the_car_needs_the_five_percent_duty(self) -> None:
        bench = self.bench()
        for duty in (100.0, 0.0, 10.0):
            bench.link.cp_duty_pct = duty
            bench.car.plug_in()
            bench.run(5.0)
            assert bench.status.phase is CarPhase.NONE

    def test_a_stop_of_the_charger_ends_the_session(self) -> None:
        bench = self.bench()
        bench.charging()
        bench.report = replace(IDLE, stop=True)
        bench.until(CarPhase.ENDING, 0.3)
        bench.run(5.0)
        assert not bench.link.ev_contactor
        assert bench.link.ev_cp_state == 2.0

    def test_lowered_limits_are_told_within_two_frames(self) -> None:
        bench = self.bench()
        assert bench.charging().i_max_a > 100.0
        bench.car.handle({"limits": [10.0, 5.0]})
        bench.run(0.2)
        assert bench.status.i_max_a == pytest.approx(10.0)
        assert bench.status.i_min_a == pytest.approx(-5.0)

    def test_a_maximum_voltage_below_the_present_one_is_told(self) -> None:
        bench = self.bench()
        bench.charging()
        bench.car.handle({"v_max_v": 350.0})
        bench.run(0.2)
        assert bench.status.v_max_v == pytest.approx(350.0)
        assert bench.status.target_v == pytest.approx(350.0)

    def test_the_charge_limit_falls_above_eighty_percent(self) -> None:
        bench = self.bench()
        limits = []
        bench.charging()
        for soc in (0.5, 0.8, 0.85, 0.9, 0.95, 0.999, 1.0):
            bench.link.soc = soc
            bench.run(0.2)
            limits.append(bench.status.i_max_a)
        assert limits[0] == limits[1]
        assert all(a > b for a, b in itertools.pairwise(limits[1:]))
        assert limits[-1] == 0.0

    def test_the_discharge_limit_falls_to_zero_at_the_minimum(self) -> None:
        bench = self.bench()
        limits = []
        bench.charging()
        for soc in (0.6, 0.3, 0.25, 0.21, 0.2, 0.1):
            bench.link.soc = soc
            bench.run(0.2)
            limits.append(-bench.status.i_min_a)
        assert limits[0] == limits[1]
        assert limits[1] > limits[2] > limits[3] > 0.0
        assert limits[4] == limits[5] == 0.0

    # ---------------------------------------------------------------------------------------------- the car's faults
    def test_unplugging_under_load_opens_the_cars_contactor_at_once(self) -> None:
        bench = self.bench()
        bench.charging()
        bench.want_a = 50.0
        bench.run(0.5)
        bench.car.unplug()
        assert bench.link.ev_contactor == 0.0
        assert bench.link.ev_plugged == 0.0
        assert bench.car.opened_at_a == pytest.approx(50.0)
        bench.run(0.2)
        assert bench.status.phase is CarPhase.ENDING

    def test_a_silent_charger_makes_the_car_open(self) -> None:
        bench = self.bench()
        bench.charging()
        bench.charger_alive = False
        bench.run(0.9)
        assert bench.link.ev_contactor == 1.0
        bench.run(1.0)
        assert bench.link.ev_contactor == 0.0
        assert "silent" in bench.car.reason

    def test_a_lost_pilot_makes_the_car_open(self) -> None:
        bench = self.bench()
        bench.charging()
        bench.link.cp_duty_pct = 0.0
        bench.run(0.8)
        assert bench.link.ev_contactor == 0.0
        assert bench.status.phase in (CarPhase.ENDING, CarPhase.WELDING)

    def test_discharging_a_car_that_does_not_permit_it_makes_it_open(self) -> None:
        bench = self.bench()
        bench.car.v2g = False
        bench.charging()
        bench.forced_a = -10.0
        bench.run(1.9)
        assert bench.link.ev_contactor == 1.0
        bench.run(1.0)
        assert bench.link.ev_contactor == 0.0
        assert bench.car.opened_at_a == pytest.approx(-10.0)
        assert "-10.0 A" in bench.car.reason

    def test_a_welded_charger_contactor_is_suspected_by_the_car(self) -> None:
        bench = self.bench()
        bench.charging()
        bench.car.request_stop()
        for _ in range(1200):
            bench.run(STEP_S)
            bench.link.cable_v_v = 360.0
        assert bench.car.weld_suspected

    def test_the_soc_and_capacity_are_told(self) -> None:
        bench = self.bench()
        status = bench.charging()
        assert status.soc_pct == pytest.approx(60.0, abs=1.0)
        assert status.capacity_wh == pytest.approx(57_000.0)
