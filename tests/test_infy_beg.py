"""The BEG1K075G driver against its emulated module: the port's obligations, then what is special to this protocol."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from firmware.guard.events import EVENTS, Severity
from hal.can import infy_codec as codec
from hal.can import infy_status
from hal.can.infy_beg import InfyBeg
from hal.can.infy_plan import PollGroup, PollPlan, default_plan, worst_frame_bits
from hal.can.infy_power_factor import POWER_FACTOR, payload_of, tan_phi_of
from hal.can.infy_registers import Outstanding, Register
from hal.ports import CONVERTER_OFF, CanFrame, ConverterCommand, Direction
from tests.ports.converter_conformance import ConverterConformance
from tests.ports.converter_pair import CHARGE, DISCHARGE, Pair, beg_pair


class TestBegConformance(ConverterConformance):
    def pair(self, seed: int = 1) -> Pair:
        return beg_pair(seed)


def test_a_module_with_an_address_lives_the_same_life() -> None:
    class Addressed(ConverterConformance):
        def pair(self, seed: int = 1) -> Pair:
            pair = beg_pair(seed, InfyBeg(controller_address=0xF3, module_address=0x05))
            pair.device.address = 0x05
            return pair

    Addressed().test_a_full_life_ends_where_it_began()
    Addressed().test_frames_of_others_are_ignored()


# --------------------------------------------------------------------------------------- power factor
def test_every_power_factor_comes_back_as_the_tan_phi_nearest_to_what_was_asked() -> None:
    tans = [math.copysign(math.sqrt((1000 / pf) ** 2 - 1), s) for pf in range(800, 1001) for s in (1.0, -1.0)]
    for n in range(-900, 901):
        asked = n / 1000.0
        given = tan_phi_of(payload_of(asked, None))
        bounded = max(-0.75, min(0.75, asked))
        assert abs(given - bounded) == pytest.approx(min(abs(tan - bounded) for tan in tans), abs=1e-12)
        assert given == pytest.approx(0.0) or math.copysign(1.0, given) == math.copysign(1.0, asked)


def test_a_probe_of_five_percent_is_the_first_thousandth_and_two_percent_is_none() -> None:
    assert codec.decode_write(payload_of(0.05, None)) == (POWER_FACTOR, 0.999)
    assert codec.decode_write(payload_of(-0.05, None)) == (POWER_FACTOR, -0.999)
    assert codec.decode_write(payload_of(0.02, None)) == (POWER_FACTOR, 1.0)
    assert codec.decode_write(payload_of(-0.02, None)) == (POWER_FACTOR, 1.0)
    assert tan_phi_of(payload_of(math.nan, None)) == 0.0


@given(st.floats(-0.75, 0.75), st.randoms(use_true_random=False))
def test_a_noisy_set_point_settles_on_one_power_factor(tan_phi: float, rng: random.Random) -> None:
    held: bytes | None = None
    seen = []
    for _ in range(50):
        noise = rng.uniform(-5e-5, 5e-5)  # less than a tenth of the finest step (0.0008 at 0.8... 0.75)
        held = payload_of(tan_phi + noise, held)
        seen.append(held)
    assert len(set(seen[1:])) == 1


def test_a_change_of_reactive_power_is_on_its_way_in_two_ticks_while_the_current_ramps_down() -> None:
    pair = beg_pair().running(CHARGE)
    amps, worst = 10.0, 0
    for n in range(40):
        tan_phi, waited = (0.05 if n % 2 else -0.05), 0
        for k in range(10):
            amps = max(amps - 0.02, 0.0)
            frames = pair.tick(replace(CHARGE, current_a=amps, tan_phi=tan_phi))
            if any(pair.write(f, "Wr_PowerFactor") is not None for f in frames):
                worst = max(worst, k)
                waited = 1
        assert waited, "it never left"
    assert worst <= 2
    assert pair.status.faults == ()
    assert pair.device.overruns == 0


def test_a_module_that_refuses_a_power_factor_still_charges_and_says_so() -> None:
    pair = beg_pair().ready()
    pair.device.handle({"refuse_power_factor": True})
    command = replace(CHARGE, tan_phi=0.3)
    pair.until(lambda: pair.link.conv_i_a > 9.9, command, within_s=3.0)
    assert pair.status.limits is not None
    assert pair.status.limits.tan_phi_max == 0.0
    assert pair.status.tan_phi is None
    assert pair.status.warnings == ("converter_no_power_factor",)
    assert pair.status.faults == ()
    assert EVENTS["converter_no_power_factor"].severity is Severity.WARNING
    writes = sum(pair.write(f, "Wr_PowerFactor") is not None for _, f in pair.sent)
    pair.run(2.0, command)
    assert sum(pair.write(f, "Wr_PowerFactor") is not None for _, f in pair.sent) == writes  # it is left in peace
    pair.device.handle({"refuse_power_factor": False})
    pair.run(0.5)
    assert pair.status.limits.tan_phi_max > 0.7  # the next start tries again
    pair.until(lambda: abs(pair.link.conv_tan_phi - 0.3) < 0.01, command)
    assert pair.status.warnings == ()


def test_a_power_factor_that_was_taken_and_is_not_confirmed_any_more_is_a_fault() -> None:
    pair = beg_pair().running(CHARGE)
    pair.device.handle({"refuse_power_factor": True})
    pair.run(1.0, replace(CHARGE, tan_phi=0.3))
    assert pair.status.faults == ("converter_no_echo",)


# --------------------------------------------------------------------------------------- configuration
@pytest.mark.parametrize("arguments", [(0xEF, 0), (0xF9, 0), (0xF0, 0x3F), (0xF0, -1), (0xF0, 0xF0)])
def test_an_address_outside_the_protocol_is_refused(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="address"):
        InfyBeg(*arguments)


def test_the_bus_load_is_what_the_worst_stuffed_frames_take() -> None:
    assert worst_frame_bits(8) == 160  # 131 bits and 29 stuff bits
    plan = default_plan()
    assert plan.reads_hz == 158.0
    assert plan.bus_load == pytest.approx(2 * (158 + 50) * 160 / 125_000)
    assert plan.bus_load <= 0.60


def test_a_poll_plan_that_would_fill_the_bus_is_refused_with_its_numbers() -> None:
    with pytest.raises(ValueError, match=r"would take \d+% of 125000 bit/s, at most 60%"):
        PollPlan((PollGroup("all", (0x1101, 0x1102, 0x1110, 0x1111), 50.0),), write_rate_hz=50.0)
    with pytest.raises(ValueError, match="rate_hz"):
        PollPlan((PollGroup("never", (0x1101,), 0.0),), write_rate_hz=50.0)
    with pytest.raises(ValueError, match="50000 bit/s"):
        InfyBeg(bitrate=50_000)


def test_what_really_goes_over_the_bus_stays_inside_the_computed_load() -> None:
    pair = beg_pair().ready()
    begin, sent, answers = pair.now, len(pair.sent), len(pair.answers)
    step = 0
    while pair.now < begin + 5.0:  # a set-point that changes in every tick is the worst that can be asked for
        step += 1
        pair.tick(replace(CHARGE, current_a=10.0 + step % 7, voltage_v=450.0 + step % 5))
    frames = len(pair.sent) - sent + len(pair.answers) - answers
    assert frames * 160 / 125_000 / 5.0 <= pair.status.bus_load + 0.01
    assert pair.device.overruns == 0
    assert pair.status.faults == ()


def test_every_selector_that_is_polled_gets_its_rate() -> None:
    pair = beg_pair().ready()
    pair.run(1.0)
    begin = len(pair.sent)
    pair.run(10.0)
    asked: dict[int, int] = {}
    for _, frame in pair.sent[begin:]:
        assert codec.split_id(frame.id).command == codec.READ
        selector = int.from_bytes(frame.data[:2], "big")
        asked[selector] = asked.get(selector, 0) + 1
    for group in default_plan().groups:
        for selector in group.selectors:
            assert asked.pop(selector) == pytest.approx(10 * group.rate_hz, abs=2)
    assert asked == {}


def test_the_grid_arrives_twenty_times_a_second_with_the_time_of_its_oldest_answer() -> None:
    pair = beg_pair().ready()
    times: set[float] = set()

    def look() -> None:
        if pair.status.grid is not None:
            times.add(pair.status.grid.t)
            assert pair.now - pair.status.grid.t < 0.11

    pair.run(0.5)
    pair.seen.append(look)
    begin = pair.now
    pair.run(2.0)
    assert len(times) == pytest.approx(40, abs=2)
    assert min(times) >= begin - 0.1
    pair.grid_v, pair.grid_hz = 115.0, 48.5
    pair.run(0.15)
    assert pair.status.grid is not None
    assert pair.status.grid.value.v_v == pytest.approx((115.0, 115.0, 115.0), rel=0.01)
    assert pair.status.grid.value.f_hz == pytest.approx(48.5, abs=0.02)


def test_a_grid_sample_is_one_set_of_answers_even_when_one_was_lost() -> None:
    pair = beg_pair().ready()
    lost = iter([False] * 9 + [True] + [False] * 9 + [True] * 2)

    def cable(frame: CanFrame) -> CanFrame | None:
        return None if frame.data[:2] in (b"\x21\x02", b"\x21\x07") and next(lost, False) else frame

    pair.run(0.3)
    pair.cable = cable
    spans: list[float] = []

    def look() -> None:
        grid = pair.driver.poll(pair.now).grid
        assert grid is not None
        last = {f.data[:2]: t for t, f in pair.answers[-40:] if f.data[0] == 0x21 and f.data[1] in (1, 2, 3, 7)}
        if grid.t in last.values() and grid.t == min(last.values()):
            spans.append(max(last.values()) - grid.t)

    pair.seen.append(look)
    pair.run(2.0)
    assert len(set(spans)) > 3
    assert 0.0 < max(spans) < 0.04  # four questions within two ticks


def test_a_frequency_that_the_module_cannot_measure_is_not_a_number() -> None:
    pair = beg_pair().ready()
    pair.grid_hz = 0.0
    pair.run(0.2)
    assert pair.status.grid is not None
    assert pair.status.grid.value.f_hz != pair.status.grid.value.f_hz


# ------------------------------------------------------------------------------------------- sequences
def names(pair: Pair, since: float) -> list[str]:
    """What was written since, by DBC name and value, repetitions dropped."""
    found: list[str] = []
    for t, frame in pair.sent:
        decoded = codec.decode_write(frame.data)
        if t >= since and decoded is not None and codec.split_id(frame.id).command == codec.WRITE:
            text = f"{codec.WRITE_FIELDS[decoded[0]].name.removeprefix('Wr_')} {decoded[1]:g}"
            if text not in found:
                found.append(text)
    return found


def test_a_charge_starts_in_the_order_of_the_fact_sheet() -> None:
    pair = beg_pair().ready()
    begin = pair.now
    pair.until(lambda: pair.link.conv_i_a > 9.9, CHARGE)
    assert names(pair, begin) == [
        "WorkingMode 160", "SystemVoltage 450", "OverVoltagePoint 480", "ModuleCurrent 0",
        "PowerFactor 1", "OnOff 160",
        "ModuleCurrent 10",
    ]  # fmt: skip


def test_a_discharge_starts_in_the_order_of_the_fact_sheet() -> None:
    pair = beg_pair().ready()
    begin = pair.now
    pair.until(lambda: pair.link.conv_i_a > 11.9, DISCHARGE)
    assert names(pair, begin) == [
        "WorkingMode 161", "DischargeCutoffVoltage 330", "OverVoltagePoint 480", "ModuleCurrent 0",
        "PowerFactor 1", "OnOff 160",
        "ModuleCurrent 12",
    ]  # fmt: skip


def test_a_restart_in_the_same_direction_takes_less_than_the_time_of_a_restore() -> None:
    """IEEE 1547-2018 asks for 80 % after 0.4 s; the module's own start is in it."""
    pair = beg_pair().running(CHARGE)
    pair.run(0.3)
    assert pair.until(lambda: pair.link.conv_on > 0.0, CHARGE) < 0.35


def test_set_points_are_written_on_change_and_refreshed_every_second() -> None:
    pair = beg_pair().running(CHARGE)
    pair.run(1.0, CHARGE)
    begin = pair.now
    pair.run(10.0, CHARGE)
    writes = [f.data for t, f in pair.sent if t >= begin and pair.is_write(f)]
    values = ((0x1001, 450.0), (0x1131, 480.0), (0x1102, 10.0), (0x2105, 1.0))
    held = [codec.encode_write(*value) for value in values]
    assert set(writes) == set(held)
    assert all(9 <= writes.count(data) <= 10 for data in held)
    begin = pair.now
    pair.tick(replace(CHARGE, current_a=4.0))
    assert [pair.current(f) for t, f in pair.sent if t >= begin and pair.is_write(f)] == [4.0]


def test_less_current_goes_out_before_a_changed_voltage_and_more_after_it() -> None:
    pair = beg_pair().running(CHARGE)
    pair.run(0.1, CHARGE)
    less = pair.tick(replace(CHARGE, current_a=5.0, voltage_v=440.0))
    assert pair.current(less[0]) == 5.0
    pair.run(0.1, replace(CHARGE, current_a=5.0, voltage_v=440.0))
    more = [frame for frame in pair.tick(CHARGE) if pair.is_write(frame)]
    assert pair.current(more[-1]) == 10.0


@pytest.mark.parametrize(
    "command",
    [
        replace(CHARGE, voltage_v=0.0),
        replace(CHARGE, voltage_v=150.0),  # below what the module can regulate
        replace(CHARGE, voltage_v=float("nan")),
        replace(CHARGE, ovp_v=0.0),
        replace(DISCHARGE, cutoff_v=0.0),
        replace(DISCHARGE, cutoff_v=float("nan")),
        replace(DISCHARGE, ovp_v=float("inf")),
    ],
)
def test_a_missing_limit_never_becomes_a_default(command: ConverterCommand) -> None:
    pair = beg_pair().ready()
    pair.run(1.0, command)
    assert not any(pair.is_on(frame) for _, frame in pair.sent)
    good = CHARGE if command.direction is Direction.CHARGE else DISCHARGE
    pair.running(good)
    pair.run(0.5, command)
    assert pair.link.conv_i_a == 0.0


def test_set_points_are_clamped_to_what_the_module_said_it_can() -> None:
    pair = beg_pair().ready()
    begin = pair.now
    pair.run(1.0, ConverterCommand(True, Direction.CHARGE, voltage_v=1400.0, current_a=500.0, ovp_v=2000.0))
    written = names(pair, begin)
    assert "SystemVoltage 1000" in written
    assert "OverVoltagePoint 1100" in written
    assert "ModuleCurrent 73.3" in written
    assert pair.status.warnings == ("converter_limited",)  # 22 kW are 55 A at 400 V


# ----------------------------------------------------------------------------------------- supervision
def test_a_few_lost_echoes_are_repeated_and_no_fault() -> None:
    pair = beg_pair().ready()
    pair.device.faults.drop_echoes = 3
    pair.until(lambda: pair.link.conv_i_a > 9.9, CHARGE)
    assert pair.status.faults == ()


def test_a_set_point_that_is_never_echoed_is_a_fault_that_clears_with_its_echo() -> None:
    pair = beg_pair().running(CHARGE)
    pair.device.faults.drop_echoes = 10_000
    lower = replace(CHARGE, current_a=6.0)
    pair.until(lambda: "converter_no_echo" in pair.status.faults, lower, within_s=1.0)
    assert not pair.status.ready
    pair.device.faults.drop_echoes = 0
    pair.until(lambda: pair.status.faults == (), lower, within_s=0.5)


def test_a_refused_write_is_a_write_without_echo() -> None:
    pair = beg_pair().running(CHARGE)

    def refuse(frame: CanFrame) -> CanFrame:
        written = codec.split_id(frame.id).command == codec.WRITE
        return frame._replace(id=frame.id | codec.ERROR_DATA << 26) if written else frame

    pair.cable = refuse
    lower = replace(CHARGE, current_a=6.0)
    pair.until(lambda: "converter_no_echo" in pair.status.faults, lower, within_s=1.0)
    pair.cable = lambda frame: frame
    pair.run(0.5)
    assert pair.status.ready


def without(pair: Pair, command: int, selector: int) -> None:
    """Lose the module's answers to reads or writes of one selector."""
    pair.cable = lambda frame: (
        None if codec.split_id(frame.id).command == command and frame.data[:2] == selector.to_bytes(2, "big") else frame
    )


def test_no_mode_is_written_when_the_current_is_not_known() -> None:
    pair = beg_pair().ready()
    without(pair, codec.READ, 0x1102)
    pair.run(0.5)
    pair.run(2.9, DISCHARGE)
    assert not any(pair.is_mode(frame) for _, frame in pair.sent)
    pair.run(0.3, DISCHARGE)
    assert "converter_mode_unconfirmed" in pair.status.faults


def test_a_mode_write_is_not_repeated_when_the_current_gets_unknown() -> None:
    pair = beg_pair().ready()
    pair.cable = lambda frame: None if frame.data[:2] in (b"\x21\x10", b"\x11\x02") else frame
    pair.run(2.0, DISCHARGE)
    times = [t for t, frame in pair.sent if pair.is_mode(frame)]
    assert times
    assert times[-1] - times[0] < 0.3


def test_nothing_is_switched_on_without_a_fresh_read_of_the_mode() -> None:
    pair = beg_pair().running(CHARGE)
    pair.run(0.5)
    without(pair, codec.READ, 0x1111)
    begin = pair.now
    pair.run(2.0, CHARGE)
    assert not any(pair.is_on(f) for t, f in pair.sent if t >= begin)


def test_off_is_not_confirmed_by_a_status_without_an_echo() -> None:
    pair = beg_pair().running(CHARGE)
    without(pair, codec.WRITE, 0x1110)
    pair.run(1.0)
    assert pair.status.on is not None
    assert not pair.status.on.value
    assert any(pair.is_off(f) for t, f in pair.sent if t > pair.now - 0.1)
    assert "converter_no_echo" in pair.status.faults


def test_nothing_is_started_while_an_off_is_not_confirmed() -> None:
    pair = beg_pair().running(CHARGE)
    without(pair, codec.WRITE, 0x1110)
    pair.run(0.1)
    begin = pair.now
    pair.run(1.0, CHARGE)
    assert not any(pair.is_on(f) for t, f in pair.sent if t >= begin)
    pair.cable = lambda frame: frame
    pair.until(lambda: pair.link.conv_i_a > 9.9, CHARGE)


def test_a_module_that_gets_its_supply_late_is_no_fault() -> None:
    pair = beg_pair()
    pair.link.k_grid = 0.0
    faults: set[str] = set()
    pair.seen.append(lambda: faults.update(pair.driver.poll(pair.now).faults))
    pair.run(3.0)
    pair.link.k_grid = 1.0
    pair.ready()
    assert faults == set()
    assert pair.status.resets == 0


@pytest.mark.parametrize("wrong", [{"extended": False}, {"error": True}, {"data": bytes.fromhex("11110000000000")}])
def test_a_frame_that_only_looks_like_an_answer_changes_nothing(wrong: dict[str, Any]) -> None:
    pair = beg_pair().running(DISCHARGE)
    before = pair.driver.poll(pair.now)
    answer = CanFrame(0x02A3F000, codec.encode_reply(0x1111, 0.0))  # "rectifier": would end the discharge
    pair.driver.receive(pair.now, answer._replace(**wrong))
    assert pair.driver.poll(pair.now) == before
    pair.driver.receive(pair.now, answer)
    assert pair.driver.poll(pair.now) != before


def test_an_unconfirmed_mode_is_named_as_such() -> None:
    for kind in ("echo", "silent"):
        pair = beg_pair().ready()
        pair.device.handle({"ignore_mode": kind})
        pair.until(lambda p=pair: "converter_mode_unconfirmed" in p.status.faults, DISCHARGE, within_s=2.0)  # type: ignore[misc]
        pair.device.handle({"ignore_mode": ""})
        pair.until(lambda p=pair: p.link.dc_i_a < -11.9, DISCHARGE, within_s=2.0)  # type: ignore[misc]
        assert pair.status.faults == ()


def test_a_read_back_from_before_the_echo_confirms_nothing() -> None:
    pair = beg_pair().ready()
    right = CanFrame(0x02A3F000, codec.encode_reply(0x1111, 1.0))  # inverter, sent by nobody who was asked
    pair.cable = lambda frame: None if frame.data[:2] == b"\x21\x10" else frame  # the mode's echo is lost
    for _ in range(200):
        pair.tick(DISCHARGE)
        pair.driver.receive(pair.now, right)
        assert pair.driver.poll(pair.now).direction is None


def test_a_mode_that_goes_back_by_itself_ends_the_power_at_once() -> None:
    pair = beg_pair().running(DISCHARGE)
    pair.device._module._state.inverter = False
    pair.until(lambda: pair.status.direction is None, DISCHARGE, within_s=0.3)
    pair.run(2.0, DISCHARGE)
    assert pair.link.conv_on == 0.0
    assert pair.status.resets == 1


@pytest.mark.parametrize("command", [CHARGE, DISCHARGE], ids=["charge", "discharge"])
def test_a_quick_restart_under_power_is_noticed_and_power_does_not_come_back(command: ConverterCommand) -> None:
    pair = beg_pair().running(command)
    pair.device.reset(0.02)  # far quicker than any time-out
    begin = pair.now
    pair.run(3.0, command)
    assert pair.status.resets == 1
    assert not pair.status.ready
    assert not any(pair.is_on(f) for t, f in pair.sent if t >= begin)
    pair.run(0.3)
    assert pair.status.ready
    pair.until(lambda: pair.link.conv_i_a > 9.9, command)


def test_a_module_that_falls_asleep_is_read_out_again() -> None:
    pair = beg_pair().ready()
    pair.device.handle({"status_bits": ["St_Sleeping"]})
    pair.run(1.0)
    assert pair.status.resets == 1
    assert pair.status.ready


def test_a_stop_with_a_fault_bit_is_a_fault_and_no_restart() -> None:
    pair = beg_pair().running(CHARGE)
    pair.battery_v = 481.0  # above the over-voltage point
    pair.until(lambda: "converter_output_over_voltage" in pair.status.faults, CHARGE, within_s=0.3)
    assert pair.link.conv_on == 0.0
    assert pair.status.resets == 0
    pair.battery_v = 400.0
    pair.run(0.5)
    assert pair.status.faults == ()
    assert pair.status.ready


@pytest.mark.parametrize(
    ("code", "bit"),
    [(c, b) for table in (infy_status.FAULTS, infy_status.WARNINGS) for c, bits in table.items() for b in bits],
)
def test_a_status_bit_becomes_its_event_and_goes_with_it(code: str, bit: str) -> None:
    pair = beg_pair().ready()
    pair.device.handle({"status_bits": [bit]})
    pair.run(0.1)
    is_fault = code in infy_status.FAULTS
    assert (code in pair.status.faults) is is_fault
    assert (code in pair.status.warnings) is not is_fault
    assert pair.status.ready is not is_fault
    pair.device.handle({"status_bits": []})
    pair.run(0.1)
    assert pair.status.ready
    assert pair.status.warnings == ()


def test_every_status_bit_of_the_data_base_is_an_event_or_a_state_and_every_code_is_in_the_event_table() -> None:
    used = [b for table in (infy_status.FAULTS, infy_status.WARNINGS) for bits in table.values() for b in bits]
    assert sorted([*used, *infy_status.STATES]) == sorted(codec.STATUS_BITS)
    assert all(EVENTS[code].severity >= Severity.SOFT_STOP for code in infy_status.FAULTS)
    assert all(EVENTS[code].severity <= Severity.WARNING for code in infy_status.WARNINGS)
    for code in ("converter_no_echo", "converter_mode_unconfirmed"):
        assert EVENTS[code].severity >= Severity.SOFT_STOP


def test_two_modules_under_one_address_are_noticed() -> None:
    pair = beg_pair().ready()
    pair.device.faults.id_clash = True
    pair.until(lambda: "converter_id_clash" in pair.status.faults, within_s=1.0)


@pytest.mark.parametrize("fault", [{"delay_s": 0.2}, {"drop_share": 0.3}, {"delay_s": 0.08, "drop_share": 0.2}])
def test_late_and_lost_answers_are_no_id_clash_and_no_reset(fault: dict[str, Any]) -> None:
    pair = beg_pair(5).ready()
    pair.device.handle(fault)
    pair.run(10.0)
    assert pair.status.online
    assert pair.status.resets == 0
    assert "converter_id_clash" not in pair.status.faults


def test_a_charge_goes_on_over_a_bus_that_loses_one_frame_in_twenty() -> None:
    pair = beg_pair(6).running(CHARGE)
    pair.device.faults.drop_share = 0.05
    pair.run(20.0, CHARGE)
    assert pair.link.dc_i_a == pytest.approx(10.0, abs=0.1)
    assert pair.status.faults == ()


def test_frozen_values_keep_coming_and_only_the_plausibility_of_others_can_tell() -> None:
    """Nothing on this bus shows a frozen measurement; guard compares with the pilot MCU and the DC meter."""
    pair = beg_pair().running(CHARGE)
    pair.device.faults.freeze = True
    pair.grid_v = 100.0
    pair.run(0.5, CHARGE)
    assert pair.status.grid is not None
    assert pair.status.grid.fresh(pair.now, 0.2)
    assert pair.status.grid.value.v_v[0] > 200.0


@pytest.mark.parametrize("fault", [{"corrupt_share": 0.3}, {"babble_hz": 300.0}])
def test_corrupt_answers_and_babble_never_carry_power_the_wrong_way(fault: dict[str, Any]) -> None:
    for command in (CHARGE, DISCHARGE):
        pair = beg_pair(8).ready()
        pair.device.handle(fault)
        sign = 1.0 if command is CHARGE else -1.0
        pair.seen.append(lambda p=pair, s=sign: _never_against(p, s))  # type: ignore[misc]
        pair.run(5.0, command)
        pair.device.handle({"clear": True})
        pair.run(1.0)
        assert pair.link.conv_on == 0.0


def _never_against(pair: Pair, sign: float) -> None:
    assert sign * pair.link.dc_i_a >= 0.0


# ----------------------------------------------------------------------------------------- bookkeepers
A, B = codec.encode_write(0x1102, 1.0), codec.encode_write(0x1102, 2.0)


def test_a_register_holds_only_what_was_echoed_and_not_written_over() -> None:
    register = Register()
    register.sent(0.0, A)
    assert not register.holds(A)
    assert not register.echo(0.01, B)
    assert register.echo(0.02, A)
    assert register.holds(A)
    register.sent(0.03, B)
    assert not register.holds(A)
    assert not register.holds(B)
    register.sent(0.05, A)
    assert register.echo(0.06, B)
    assert not register.holds(B)
    assert register.echo(0.07, A)
    assert register.holds(A)
    assert not register.echo(0.08, A)  # one echo for one write
    register.forget()
    assert not register.holds(A)


def test_a_register_counts_writes_in_vain_and_an_echo_ends_the_count() -> None:
    register, now = Register(), 0.0
    while not register.unconfirmed:
        if register.due(now, A):
            register.sent(now, A)
        now += 0.01
    assert 0.5 <= now < 0.7
    register.sent(now, A)
    assert register.echo(now, A)
    assert not register.unconfirmed


def test_one_frame_seen_twice_is_no_second_module() -> None:
    outstanding = Outstanding()
    for n in range(20):
        outstanding.ask(n * 0.05, 0x1101)
        outstanding.answer(n * 0.05 + 0.01, 0x1101, bytes([n]))
        outstanding.answer(n * 0.05 + 0.02, 0x1101, bytes([n]))
        assert not outstanding.clash(n * 0.05 + 0.02)


# ------------------------------------------------------------------------------------------ properties
@given(st.integers(0, (1 << 29) - 1), st.binary(max_size=12), st.booleans(), st.booleans(), st.integers(0, 2))
@settings(max_examples=300)
def test_a_frame_that_is_not_an_answer_to_us_changes_nothing(
    identifier: int, data: bytes, extended: bool, error: bool, near: int
) -> None:
    if near:  # almost ours: one field of the identifier is another's
        identifier = 0x02A3F000 ^ 1 << identifier % 29
    pair = _shared()
    before = pair.driver.poll(pair.now)
    pair.driver.receive(pair.now, CanFrame(identifier, data, pair.now, extended, error))
    parts = codec.split_id(identifier)
    ours = extended and not error and len(data) == 8 and parts.destination == 0xF0
    ours = ours and parts.source in (0x00, 0x3F) and parts.command in (codec.READ, codec.WRITE)
    if not ours:
        assert pair.driver.poll(pair.now) == before


_SHARED: list[Pair] = []


def _shared() -> Pair:
    """One running pair for all examples; a frame that changes nothing leaves it as it was."""
    if not _SHARED:
        _SHARED.append(beg_pair().running(DISCHARGE))
    return _SHARED[0]


class Witness:
    """Watches the wire and knows, independently of the driver, whether the direction is proven.

    Proven: a mode write, later its echo without error, later a request for 1111, later the answer that shows the mode.
    Lost again: by any mode write, and by any answer to 1111 that shows another mode.
    """

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._wanted: int | None = None
        self._stage = 0  # 1 written, 2 echoed, 3 asked, 4 proven
        self._sent = self._answered = 0
        pair.seen.append(self.look)

    def look(self) -> None:
        pair = self._pair
        events = [(t, 0, f) for t, f in pair.sent[self._sent :]] + [
            (t, 1, f) for t, f in pair.answers[self._answered :]
        ]
        self._sent, self._answered = len(pair.sent), len(pair.answers)
        for _, kind, frame in sorted(events, key=lambda event: (event[0], -event[1])):
            if kind == 0:
                self._request(frame)
            else:
                self._answer(frame)

    def _request(self, frame: CanFrame) -> None:
        mode = self._pair.write(frame, "Wr_WorkingMode")
        amps = self._pair.current(frame)
        if mode is not None:
            self._wanted, self._stage = int(mode), 1
        elif frame.data[:2] == b"\x11\x11" and self._stage == 2:
            self._stage = 3
        elif amps:
            assert self._stage == 4, "current without a proven direction"

    def _answer(self, frame: CanFrame) -> None:
        parts = codec.split_id(frame.id)
        if not frame.extended or parts.error or parts.source or parts.destination != 0xF0 or len(frame.data) != 8:
            return
        if parts.command == codec.WRITE and frame.data[:2] == b"\x21\x10":
            if self._stage == 1 and frame.data[7] == self._wanted and codec.decode_write(frame.data):
                self._stage = 2
        elif parts.command == codec.READ and frame.data[:2] == b"\x11\x11":
            inverter = bool(frame.data[7] & 1)
            if inverter is not (self._wanted == codec.MODE_INVERTER):
                self._stage = min(self._stage, 1)
            elif self._stage == 3:
                self._stage = 4


commands = st.one_of(
    st.just(CONVERTER_OFF),
    st.builds(
        ConverterCommand,
        st.just(True),
        st.sampled_from(Direction),
        st.floats(0.0, 1100.0),
        st.floats(0.0, 100.0),
        st.floats(0.0, 1100.0),
        st.floats(0.0, 1200.0),
    ),
    st.sampled_from([CHARGE, DISCHARGE]),
    st.sampled_from([CHARGE, DISCHARGE]),
)
troubles = st.sampled_from(
    [
        {}, {}, {}, {"clear": True}, {"mute": True}, {"deaf": True}, {"drop_echoes": 3}, {"drop_share": 0.3},
        {"delay_s": 0.15}, {"corrupt_share": 0.4}, {"error_code": 3}, {"ignore_mode": "echo"},
        {"ignore_mode": "silent"}, {"ignore_off": True}, {"babble_hz": 200.0}, {"reset": 0.01}, {"reset": 0.7},
        {"status_bits": ["St_Fault"]}, {"id_clash": True}, {"reverse": True},
    ]
)  # fmt: skip


scripts = st.lists(st.tuples(commands, troubles, st.floats(0.01, 1.0)), min_size=1, max_size=8)


@given(st.integers(0, 1000), scripts)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_sequence_of_commands_and_faults_asks_for_current_in_an_unproven_direction(
    seed: int, script: list[tuple[ConverterCommand, dict[str, Any], float]]
) -> None:
    _live_through(seed, script)


@pytest.mark.slow
@given(st.integers(0, 1000), scripts)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_long_search_finds_a_sequence_that_asks_for_current_in_an_unproven_direction(
    seed: int, script: list[tuple[ConverterCommand, dict[str, Any], float]]
) -> None:
    _live_through(seed, script)


def _live_through(seed: int, script: list[tuple[ConverterCommand, dict[str, Any], float]]) -> None:
    pair = beg_pair(seed)
    Witness(pair)
    pair.ready()
    for command, trouble, seconds in script:
        pair.device.handle(trouble)
        pair.run(seconds, command)
        if not command.on:
            assert not any(pair.current(f) for t, f in pair.sent if t > pair.now - seconds + 0.001)
    pair.device.handle({"clear": True})
    pair.run(1.0)
    assert pair.link.conv_on == 0.0  # whatever happened, off is off


def test_the_witness_itself_sees_an_unproven_current() -> None:
    pair = beg_pair().ready()
    witness = Witness(pair)
    pair.sent.append((pair.now, CanFrame(0x02A400F0, codec.encode_write(0x1102, 5.0))))
    with pytest.raises(AssertionError, match="without a proven direction"):
        witness.look()


def test_random_answers_in_our_name_never_raise() -> None:
    rng = random.Random(11)
    driver = InfyBeg()
    for n in range(20_000):
        selector = rng.choice([*codec.READ_FIELDS, *codec.WRITE_FIELDS])
        identifier = codec.make_id(rng.choice((codec.READ, codec.WRITE)), 0xF0, 0, error=rng.choice((0, 0, 0, 2, 3, 7)))
        tail = rng.choice((rng.randbytes(4), (rng.randrange(1_000_000)).to_bytes(4, "big")))
        driver.receive(n * 0.001, CanFrame(identifier, selector.to_bytes(2, "big") + b"\0\0" + tail))
        if n % 10 == 0:
            driver.poll(n * 0.001)
            driver.command(n * 0.001, rng.choice((CHARGE, DISCHARGE, CONVERTER_OFF)))
