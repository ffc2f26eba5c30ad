"""SDM630 and DJSF1352: drivers, register vectors, and what the emulated meters owe to real ones."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.modbus import djsf1352, sdm630
from hal.modbus.client import float32, float32_registers, int16, int32, uint32
from hal.modbus.djsf1352 import Djsf1352
from hal.modbus.sdm630 import Sdm630
from hil.devices.meters import EmulatedAcMeter, EmulatedDcMeter, four_digits
from hil.devices.modbus_server import READ_HOLDING, READ_INPUT, Refused
from hil.plant.link import PlantLink
from tests.ports.meter_conformance import ADDRESS, MeterConformance
from tests.ports.modbus_line import Line, on_line


class TestSdm630(MeterConformance):
    driver: ClassVar = Sdm630
    model: ClassVar = EmulatedAcMeter

    def test_values_come_through_within_their_class(self) -> None:
        async def work(line: Line) -> None:
            v = (await Sdm630(line.client, ADDRESS, line.clock).read()).value
            assert v.v_v == pytest.approx((231.0, 229.0, 233.0), rel=0.005)
            assert v.i_a == pytest.approx((15.0, 15.5, 14.5), rel=0.005)
            assert v.p_w == pytest.approx(10_000.0, rel=0.01)
            assert v.q_var == pytest.approx(500.0, rel=0.01)
            assert v.f_hz == pytest.approx(49.98, abs=1e-4)
            # A meter without any error would be kinder than a real one.
            assert v.p_w != pytest.approx(10_000.0, rel=1e-5)

        on_line(self.make(self.plant()), ADDRESS, work)


class TestDjsf1352(MeterConformance):
    driver: ClassVar = Djsf1352
    model: ClassVar = EmulatedDcMeter

    @pytest.mark.parametrize("i_a", [24.0, -24.0])
    def test_values_and_sign_come_through_within_class_and_four_digits(self, i_a: float) -> None:
        link = self.plant()
        link.cable_i_a = i_a

        async def work(line: Line) -> None:
            v = (await Djsf1352(line.client, ADDRESS, line.clock).read()).value
            assert v.v_v == pytest.approx(400.0, rel=0.005, abs=0.1)
            assert v.i_a == pytest.approx(i_a, rel=0.005, abs=0.01)
            assert v.p_w == pytest.approx(400.0 * i_a, rel=0.011)

        on_line(self.make(link), ADDRESS, work)


# ------------------------------------------------------------------------------------------------------------- decoding
def test_float_registers_have_the_high_word_first() -> None:
    # 230.0 = 0x43660000 (IEEE 754), as the SDM630 manual's own example writes 230.2 = 0x43663333.
    assert float32([0x4366, 0x3333], 0) == pytest.approx(230.2, rel=1e-6)
    assert float32_registers(230.0) == (0x4366, 0x0000)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_every_float_survives_its_registers(value: float) -> None:
    assert struct.pack(">f", float32([0, *float32_registers(value)], 1)) == struct.pack(">f", value)


@given(st.integers(-(2**31), 2**31 - 1))
def test_every_signed_32_bit_number_survives_its_registers(value: int) -> None:
    high, low = (value & 0xFFFFFFFF) >> 16, value & 0xFFFF
    assert int32([high, low], 0) == value
    assert uint32([high, low], 0) == value % 2**32


@pytest.mark.parametrize("registers", [(0x7F80, 0), (0xFF80, 0), (0x7FC0, 0)])
def test_infinity_and_nan_are_no_values(registers: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="not a number"):
        float32(registers, 0)


def test_the_sdm630_block_is_decoded_at_the_manuals_addresses() -> None:
    registers = [0] * sdm630.COUNT
    # Register numbers of the manual, not the driver's constants.
    for number, value in {
        30001: 230.5, 30003: 231.5, 30005: 232.5, 30007: 1.5, 30009: 2.5, 30011: 3.5,
        30053: -4500.0, 30061: -120.0, 30071: 50.02, 30073: 12.5, 30075: 3.25,
    }.items():  # fmt: skip
        registers[number - 30001 : number - 30001 + 2] = float32_registers(value)
    v = sdm630.decode(registers)
    assert (v.v_v, v.i_a) == ((230.5, 231.5, 232.5), (1.5, 2.5, 3.5))
    assert (v.p_w, v.q_var, v.import_wh, v.export_wh) == (-4500.0, -120.0, 12_500.0, 3_250.0)
    assert v.f_hz == pytest.approx(50.02, abs=1e-5)


@pytest.mark.parametrize(
    ("number", "value", "match"),
    [
        (30001, 1e30, "voltage"),
        (30053, float("nan"), "register 52"),
        (30073, -1.0, "negative"),
        (30071, 1e3, "frequency"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_name(number: int, value: float, match: str) -> None:
    registers = [0] * sdm630.COUNT
    registers[number - 30001 : number - 30001 + 2] = float32_registers(value)
    with pytest.raises(ValueError, match=match):
        sdm630.decode(registers)


def test_frames_recorded_from_a_real_djsf1352_are_decoded() -> None:
    # Answers to 01 03 00 00 00 06, 01 03 00 08 00 02 and 01 03 00 0C 00 08 of a meter on a bench without load, quoted
    # in a public driver of a charger maker (2022).
    registers = [0x0003, 0, 0x0002, 0, 0, 0x014D, 0, 0, 0x0005, 0, 0, 0, 0, 0x521A, 0, 0, 1, 0x00FA, 0, 0]
    v = djsf1352.decode(registers)
    assert (v.v_v, v.i_a, v.p_w) == (0.003, 0.002, 0.005)
    assert (v.charge_wh, v.discharge_wh) == (21018.0, 0.0)
    assert djsf1352.decode(registers, energy_step_wh=0.1).charge_wh == pytest.approx(2101.8)


def test_the_djsf1352_scales_by_its_decimal_points_and_keeps_signs() -> None:
    registers = [0] * djsf1352.COUNT
    registers[0:4] = [4003, 2, 0x10000 - 7330, 1]
    registers[8:10] = [0x10000 - 2934, 4]
    registers[12:16] = [1, 2, 0, 7]
    v = djsf1352.decode(registers)
    assert (v.v_v, v.i_a, v.p_w) == (400.3, -73.30, -29340.0)
    assert (v.charge_wh, v.discharge_wh) == (65538.0, 7.0)


def test_a_decimal_point_that_cannot_be_is_refused() -> None:
    registers = [0] * djsf1352.COUNT
    registers[3] = 9
    with pytest.raises(ValueError, match="decimal point 9 of the current"):
        djsf1352.decode(registers)


@given(st.floats(-1e6, 1e6))
def test_four_digits_keep_a_value_within_half_a_step(value: float) -> None:
    register, point = four_digits(value)
    step = 10.0 ** (point - 3)
    assert int16(register) * step == pytest.approx(value, abs=0.51 * step)
    assert point == 0 or abs(value) / step >= 999.0  # no more decimals are given away than needed


# ------------------------------------------------------------------------------------------------------- real behaviour
def run_ac(steps: int, dt: float, meter: EmulatedAcMeter, t: float = 100.0) -> float:
    for _ in range(steps):
        meter.step(t)
        t += dt
    return t


def live(link: PlantLink) -> PlantLink:
    link.pcc_va_v = link.pcc_vb_v = link.pcc_vc_v = 230.0
    link.pcc_f_hz = 50.0
    return link


def test_the_ac_meter_refreshes_at_its_own_pace() -> None:
    link = live(PlantLink())
    meter = EmulatedAcMeter(link, random.Random(1), boot_s=0.0)
    meter.step(10.0)
    before = meter.read_registers(READ_INPUT, 0, 2)
    link.pcc_va_v = 200.0
    meter.step(10.9)
    assert meter.read_registers(READ_INPUT, 0, 2) == before
    meter.step(11.0)
    assert float32(meter.read_registers(READ_INPUT, 0, 2), 0) == pytest.approx(200.0, rel=0.005)


def test_the_dc_meter_refreshes_twice_a_second() -> None:
    link = PlantLink()
    meter = EmulatedDcMeter(link, random.Random(1))
    meter.step(10.0)
    link.cable_v_v = 500.0
    meter.step(10.4)
    assert djsf1352.decode(meter.read_registers(READ_HOLDING, 0, 20)).v_v == 0.0
    meter.step(10.5)
    assert djsf1352.decode(meter.read_registers(READ_HOLDING, 0, 20)).v_v == pytest.approx(500.0, rel=0.005)


def test_an_hour_of_charging_and_an_hour_of_discharging_are_both_kept_and_never_netted() -> None:
    link = live(PlantLink())
    link.ac_ia_a = link.ac_ib_a = link.ac_ic_a = 15.0
    meter = EmulatedAcMeter(link, random.Random(1), boot_s=0.0)
    link.ac_p_w = 10_000.0
    t = run_ac(360, 10.0, meter)
    link.ac_p_w = -10_000.0
    run_ac(360, 10.0, meter, t)
    v = sdm630.decode(meter.read_registers(READ_INPUT, 0, 76))
    assert v.import_wh == pytest.approx(10_000.0, rel=0.011)
    assert v.export_wh == pytest.approx(10_000.0, rel=0.011)
    assert v.import_wh == pytest.approx(10.0 * round(v.import_wh / 10.0), abs=1e-3)  # resolution 0.01 kWh


def test_below_its_starting_current_the_meter_counts_nothing() -> None:
    link = live(PlantLink())
    link.ac_ia_a, link.ac_p_w = 0.039, 9.0
    meter = EmulatedAcMeter(link, random.Random(1), boot_s=0.0, energy_step_wh=0.001)
    run_ac(360, 10.0, meter)
    assert sdm630.decode(meter.read_registers(READ_INPUT, 0, 76)).import_wh == 0.0


def test_the_ac_meter_dies_with_the_grid_and_keeps_its_registers() -> None:
    link = live(PlantLink())
    link.ac_ia_a, link.ac_p_w = 15.0, 900_000.0
    meter = EmulatedAcMeter(link, random.Random(1), energy_step_wh=1.0)
    t = run_ac(100, 0.1, meter)
    assert meter.answering
    counted = sdm630.decode(meter.read_registers(READ_INPUT, 0, 76)).import_wh
    assert counted > 0.0
    link.pcc_va_v = link.pcc_vb_v = link.pcc_vc_v = link.ac_p_w = link.ac_ia_a = 0.0
    t = run_ac(2, 0.1, meter, t)
    assert meter.answering  # a short dip is bridged
    t = run_ac(10, 0.1, meter, t)
    assert not meter.answering
    live(link)
    t = run_ac(10, 0.1, meter, t)
    assert not meter.answering  # it boots
    run_ac(30, 0.1, meter, t)
    assert meter.answering
    assert sdm630.decode(meter.read_registers(READ_INPUT, 0, 76)).import_wh >= counted


@given(
    st.lists(st.tuples(st.floats(-30_000, 30_000), st.floats(0.0, 30.0), st.booleans()), max_size=30),
    st.integers(0, 2**32),
)
def test_energy_registers_never_go_back(profile: list[tuple[float, float, bool]], seed: int) -> None:
    link = live(PlantLink())
    ac, dc = (
        EmulatedAcMeter(link, random.Random(seed), boot_s=0.1, energy_step_wh=0.1),
        EmulatedDcMeter(link, random.Random(seed)),
    )
    t, last = 0.0, (0.0, 0.0, 0.0, 0.0)
    for power_w, dt, supply in profile:
        link.ac_p_w, link.ac_ia_a = power_w, power_w / 690.0
        link.cable_v_v, link.cable_i_a = 400.0, power_w / 400.0
        ac.supply = dc.supply = supply
        t += dt
        ac.step(t)
        dc.step(t)
        a = sdm630.decode(ac.read_registers(READ_INPUT, 0, 76))
        d = djsf1352.decode(dc.read_registers(READ_HOLDING, 0, 20))
        now = (a.import_wh, a.export_wh, d.charge_wh, d.discharge_wh)
        assert all(x >= y for x, y in zip(now, last, strict=True))
        last = now


def test_registers_survive_a_restart_through_the_state_file(tmp_path: Path) -> None:
    link = PlantLink()
    link.cable_v_v, link.cable_i_a = 400.0, 50.0
    state = str(tmp_path / "dc.json")
    first = EmulatedDcMeter(link, random.Random(1), state_file=state)
    for second in range(601):
        first.step(float(second))
    shown = djsf1352.decode(first.read_registers(READ_HOLDING, 0, 20)).charge_wh
    first.close()
    link.cable_i_a = 0.0
    again = EmulatedDcMeter(link, random.Random(1), state_file=state)
    again.step(0.0)
    assert djsf1352.decode(again.read_registers(READ_HOLDING, 0, 20)).charge_wh == shown > 3000.0


def test_a_damaged_state_file_is_told_and_nothing_is_invented(tmp_path: Path) -> None:
    state = tmp_path / "dc.json"
    state.write_text("{")
    with pytest.raises(ValueError, match=r"dc\.json: no meter state .*delete it"):
        EmulatedDcMeter(PlantLink(), random.Random(1), state_file=str(state))


def test_the_emulated_sdm630_refuses_what_the_real_one_refuses() -> None:
    meter = EmulatedAcMeter(PlantLink(), random.Random(1))
    for function, start, count in ((READ_HOLDING, 0, 2), (READ_INPUT, 1, 2), (READ_INPUT, 0, 82), (READ_INPUT, 0, 3)):
        with pytest.raises(Refused):
            meter.read_registers(function, start, count)


def test_an_unknown_command_to_a_meter_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="knows no command 'explode'"):
        EmulatedDcMeter(PlantLink(), random.Random(1)).handle({"explode": True})
