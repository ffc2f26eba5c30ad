"""The SECC bridge's driver and the emulated car behind an external SECC."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import time
from multiprocessing import shared_memory
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.can import secc_bridge as b
from hal.can.bus import BusSpec, open_bus
from hal.can.secc_bridge import SeccBridge, decode, encode
from hal.ports import CanFrame, CarPhase, CarStatus, ChargerReport, VehicleLink
from hil.devices.car import EmulatedCar
from hil.plant.link import SIZE_BYTES, PlantLink
from tests.ports.vehicle_conformance import VehicleConformance
from tests.test_can_bus import udp_port_number

REPORT = ChargerReport(400.0, -20.0, 73.35, 60.0, 1000.0, 250_000.0, ready=True, stop=False)


class TestEmulatedPair(VehicleConformance):
    def make(self, link: PlantLink) -> tuple[VehicleLink, EmulatedCar]:
        return SeccBridge(), EmulatedCar(link, random.Random(4), negotiation_s=0.5)


def transfer(
    high_a: float = 100.0, low_a: float = -50.0, *, range_mode: bool = True, function: int = 8, state: int = 7
) -> list[CanFrame]:
    """Every frame of a car in power transfer at 400 V with 125 A and 50 kW both ways."""
    return [
        encode(b.SECC_STATUS, {"Secc_State": state}),
        encode(
            b.SECC_REQUEST,
            {
                "Req_Voltage": 408.0, "Req_CurrentMax": high_a, "Req_CurrentMin": low_a, "Req_Function": function,
                "Req_RangeMode": range_mode, "Req_ContactorsClosed": 1, "Req_LowerVoltage": 0,
            },
        ),
        encode(
            b.EV_BATTERY,
            {"Ev_Capacity": 57, "Ev_SocPresent": 60, "Ev_SocMin": 20, "Ev_SocTarget": 100, "Ev_SocMax": 100},
        ),
        encode(b.EV_VOLTAGES, {"Ev_VoltageMin": 300.0, "Ev_VoltageMax": 408.0, "Ev_VoltagePresent": 400.0}),
        encode(
            b.EV_CHARGE,
            {
                "Ev_ChargeCurrentMin": 0.0, "Ev_ChargeCurrentMax": 125.0, "Ev_ChargePowerMin": 0,
                "Ev_ChargePowerMax": 50,
            },
        ),
        encode(
            b.EV_DISCHARGE,
            {
                "Ev_DischargeCurrentMin": 0.0, "Ev_DischargeCurrentMax": 125.0, "Ev_DischargePowerMin": 0,
                "Ev_DischargePowerMax": 50,
            },
        ),
    ]  # fmt: skip


def status_of(frames: list[CanFrame], *, without: int | None = None) -> CarStatus:
    driver = SeccBridge()
    for frame in frames:
        if frame.id != without:
            driver.receive(1.0, frame)
    reading = driver.poll(1.0)
    assert reading is not None
    return reading.value


def test_the_range_of_the_car_is_told_signed() -> None:
    status = status_of(transfer())
    assert (status.phase, status.i_max_a, status.i_min_a) == (CarPhase.TRANSFER, 100.0, -50.0)
    assert (status.target_v, status.v_max_v, status.v_min_v) == (408.0, 408.0, 300.0)


@pytest.mark.parametrize("missing", [b.EV_CHARGE, b.EV_VOLTAGES])
def test_a_missing_charge_limit_is_zero(missing: int) -> None:
    assert status_of(transfer(), without=missing).i_max_a == 0.0


@pytest.mark.parametrize("missing", [b.EV_DISCHARGE, b.EV_VOLTAGES])
def test_a_missing_discharge_limit_is_zero(missing: int) -> None:
    assert status_of(transfer(), without=missing).i_min_a == 0.0


def test_a_missing_state_of_charge_is_unknown_not_zero() -> None:
    assert status_of(transfer(), without=b.EV_BATTERY).soc_pct is None


def test_a_limit_that_grew_old_is_missing() -> None:
    driver = SeccBridge(limits_age_s=2.0)
    for frame in transfer():
        driver.receive(1.0, frame)
    for n in range(30):
        now = 1.0 + n * 0.1
        for frame in transfer()[:2]:
            driver.receive(now, frame)
        reading = driver.poll(now)
        assert reading is not None
        assert (reading.value.i_max_a > 0.0) == (n <= 20)


def test_a_floor_of_zero_volts_permits_no_discharge() -> None:
    frames = transfer()
    frames[3] = encode(b.EV_VOLTAGES, {"Ev_VoltageMin": 0.0, "Ev_VoltageMax": 408.0, "Ev_VoltagePresent": 400.0})
    status = status_of(frames)
    assert status.i_min_a == 0.0
    assert status.i_max_a == 100.0


def test_the_cars_power_limit_narrows_the_current() -> None:
    frames = transfer()
    for n, name in ((4, "Charge"), (5, "Discharge")):
        fields = decode(frames[n])
        assert fields is not None
        frames[n] = encode(frames[n].id, {**fields, f"Ev_{name}PowerMax": 4})
    status = status_of(frames)
    assert status.i_max_a == pytest.approx(10.0)
    assert status.i_min_a == pytest.approx(-10.0)


currents = st.integers(-30000, 30000).map(lambda n: n / 10)


@given(currents, currents, st.booleans(), st.sampled_from([0, 1, 2, 4, 8]), st.integers(0, 13))
def test_the_range_always_contains_zero_and_is_zero_outside_precharge_and_transfer(
    a: float, c: float, range_mode: bool, function: int, state: int
) -> None:
    status = status_of(transfer(max(a, c), min(a, c), range_mode=range_mode, function=function, state=state))
    assert status.i_min_a <= 0.0 <= status.i_max_a
    asked = (status.phase is CarPhase.TRANSFER and function == 8) or status.phase is CarPhase.PRECHARGE
    if not asked:
        assert status.i_min_a == status.i_max_a == 0.0
    # The field's steps of 0.1 are not exact in binary.
    assert status.i_max_a <= min(125.0, max(0.0, max(a, c))) + 1e-6
    assert status.i_min_a >= -125.0 - 1e-6


@pytest.mark.parametrize(("target_a", "low", "high"), [(30.0, 0.0, 30.0), (-30.0, -30.0, 0.0), (0.0, 0.0, 0.0)])
def test_in_target_mode_the_target_is_one_end_of_the_range(target_a: float, low: float, high: float) -> None:
    status = status_of(transfer(target_a, 99.0, range_mode=False))
    assert (status.i_min_a, status.i_max_a) == (low, high)


def test_a_range_with_its_ends_swapped_changes_nothing_and_is_counted() -> None:
    driver = SeccBridge()
    driver.receive(1.0, transfer(-10.0, 10.0)[1])
    assert driver.bad_frames == 1
    driver.receive(1.0, transfer()[0])
    assert driver.poll(1.0) is None


@pytest.mark.parametrize(
    ("frame_id", "data"),
    [
        (b.SECC_STATUS, "0E"),  # state 14
        (b.SECC_REQUEST, "A00F 38FF 38FF 43"),  # function 3
        (b.SECC_REQUEST, "FFFF 38FF 38FF 48"),  # 6553.5 V
        (b.EV_BATTERY, "3900 65 14 64 64"),  # 101 %
        (b.EV_VOLTAGES, "B80B FFFF A00F"),
    ],
)
def test_a_value_out_of_range_changes_nothing_and_is_counted(frame_id: int, data: str) -> None:
    driver = SeccBridge()
    for frame in transfer():
        driver.receive(1.0, frame)
    before = driver.poll(1.0)
    driver.receive(1.0, CanFrame(frame_id, bytes.fromhex(data)))
    assert driver.poll(1.0) == before
    assert driver.bad_frames == 1


def test_the_fact_sheets_vectors_decode() -> None:
    request = decode(CanFrame(0x6B003, bytes.fromhex("A00F38FF38FF48")))
    assert request is not None
    assert (request["Req_Voltage"], request["Req_CurrentMax"]) == (400.0, -20.0)
    assert (request["Req_Function"], request["Req_ContactorsClosed"], request["Req_RangeMode"]) == (8, 1, 0)
    power = decode(CanFrame(0x63000, bytes.fromhex("A00F38FF50460132")))
    assert power is not None
    assert (power["Pw_Voltage"], power["Pw_Current"]) == (400.0, -20.0)
    assert (power["Pw_ModuleTemperature"], power["Pw_InsulationResistance"]) == (40, 100)


@pytest.mark.parametrize(
    ("state", "function", "phase"),
    [
        (0, 0, CarPhase.NONE), (1, 0, CarPhase.NONE), (2, 1, CarPhase.WAIT), (3, 1, CarPhase.WAIT),
        (4, 2, CarPhase.INSULATION), (4, 1, CarPhase.WAIT), (5, 4, CarPhase.PRECHARGE), (5, 8, CarPhase.WAIT),
        (6, 4, CarPhase.PRECHARGE), (6, 1, CarPhase.WAIT), (7, 8, CarPhase.TRANSFER), (7, 1, CarPhase.TRANSFER),
        (8, 1, CarPhase.ENDING), (9, 1, CarPhase.WELDING), (10, 0, CarPhase.ENDING), (11, 1, CarPhase.WAIT),
        (12, 0, CarPhase.NONE), (13, 1, CarPhase.PAUSE),
    ],
)  # fmt: skip
def test_state_and_function_together_make_the_phase(state: int, function: int, phase: CarPhase) -> None:
    assert status_of(transfer(state=state, function=function)).phase is phase


def test_an_emergency_of_the_secc_ends_the_session_whatever_the_state_says() -> None:
    status = status_of([*transfer(), encode(b.SECC_EMERGENCY, {"Es_Origin": 3})])
    assert status.phase is CarPhase.ENDING
    assert status.i_max_a == status.i_min_a == status.target_v == 0.0


def sent(report: ChargerReport) -> dict[int, dict[str, float]]:
    frames = {}
    for frame in SeccBridge().report(1.0, report):
        fields = decode(frame)
        assert fields is not None
        frames[frame.id] = fields
    return frames


def test_the_report_carries_the_power_side() -> None:
    frames = sent(REPORT)
    assert frames[b.POWER_STATUS]["Pw_Voltage"] == 400.0
    assert frames[b.POWER_STATUS]["Pw_Current"] == -20.0
    assert frames[b.POWER_STATUS]["Pw_SystemEnable"] == 1
    assert frames[b.POWER_STATUS]["Pw_InsulationResistance"] == 250
    assert frames[b.POWER_PARAMETERS]["Pw_MaxChargeCurrent"] == pytest.approx(73.3)  # a limit is rounded down
    assert frames[b.POWER_PARAMETERS]["Pw_MaxDischargeCurrent"] == 60.0
    assert frames[b.POWER_SEQUENCE]["Sq_UserStop"] == 0


@pytest.mark.parametrize(
    ("ohm", "kohm"),
    [(None, 0), (math.nan, 0), (-1.0, 0), (0.0, 0), (101_999.0, 100), (99_999.0, 98), (1e9, 510), (math.inf, 510)],
)
def test_insulation_is_never_reported_better_than_it_is(ohm: float | None, kohm: float) -> None:
    report = ChargerReport(0.0, 0.0, 0.0, 0.0, 0.0, ohm, ready=True, stop=False)
    assert sent(report)[b.POWER_STATUS]["Pw_InsulationResistance"] == kohm


anything = st.floats(allow_nan=True, allow_infinity=True)


@given(anything, anything, anything, anything, anything, st.one_of(st.none(), anything), st.booleans(), st.booleans())
def test_any_report_is_encoded_or_withheld_and_never_raises(
    v: float, i: float, charge: float, discharge: float, top: float, ohm: float | None, ready: bool, stop: bool
) -> None:
    frames = sent(ChargerReport(v, i, charge, discharge, top, ohm, ready, stop))
    assert (b.POWER_STATUS in frames) == (math.isfinite(v) and math.isfinite(i))
    if b.POWER_PARAMETERS in frames:
        assert frames[b.POWER_PARAMETERS]["Pw_MaxChargeCurrent"] <= max(0.0, charge) + 1e-3
    assert frames[b.POWER_SEQUENCE]["Sq_UserStop"] == stop


def test_reports_go_out_every_100_ms_and_a_stop_at_once() -> None:
    driver = SeccBridge()
    times = [n * 0.01 for n in range(1000) if driver.report(n * 0.01, REPORT)]
    assert len(times) == 100
    stop = ChargerReport(400.0, 0.0, 0.0, 0.0, 1000.0, None, ready=False, stop=True)
    assert driver.report(10.0, REPORT)
    assert driver.report(10.01, stop)
    assert not driver.report(10.02, stop)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ({"soc": 0.5}, "knows no command 'soc'"),
        ({"limits": [1]}, "charge A, discharge A"),
        ({"limits": [1, 900]}, "0 to 500"),
        ({"v_max_v": "high"}, "0 to 1000 V"),
        ({"plug_in": 1}, "must be true"),
        ({"soc_min": 20}, "0 to 1"),
    ],
)
def test_a_bad_command_of_the_rig_is_refused_with_a_sentence_and_changes_nothing(
    command: dict[str, object], words: str
) -> None:
    car = EmulatedCar(PlantLink(), random.Random(1))
    with pytest.raises(ValueError, match=words):
        car.handle({"v2g": False, **command})
    assert car.v2g


@pytest.mark.parametrize("options", [{"offline_after_s": 0.0}, {"limits_age_s": math.nan}])
def test_an_impossible_setting_is_refused_with_a_sentence(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        SeccBridge(**options)


def test_the_car_process_speaks_on_a_real_bus_and_ends_with_its_rig() -> None:
    memory = shared_memory.SharedMemory(create=True, size=SIZE_BYTES)
    assert memory.buf is not None
    link = PlantLink(memory.buf)
    link.batt_v_v, link.soc, link.cp_duty_pct = 365.0, 0.6, 5.0
    spec = f"udp_multicast:239.74.163.77:{udp_port_number()}"
    bus = open_bus(BusSpec.parse(spec, bitrate=500_000))
    process = subprocess.Popen(
        [sys.executable, "-m", "hil.devices.car", "--shm", memory.name, "--bus", spec],
        stdin=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    )
    assert process.stdin is not None
    try:
        process.stdin.write(b'{"plug_in": true}\n')
        process.stdin.flush()
        driver = SeccBridge()
        end = time.monotonic() + 60.0
        phase = None
        while phase is not CarPhase.WAIT and time.monotonic() < end:
            now = time.monotonic()
            for frame in bus.recv(now):
                driver.receive(now, frame)
            reading = driver.poll(now)
            phase = reading.value.phase if reading else None
            time.sleep(0.005)
        assert phase is CarPhase.WAIT
        assert link.ev_plugged == 1.0
    finally:
        process.stdin.close()
        assert process.wait(60.0) == 0
        bus.close()
        link.release()
        memory.close()
        memory.unlink()
