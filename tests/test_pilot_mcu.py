"""The pilot MCU's driver and its emulated peer: the port's obligations, and what only this pair does."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.ports import COILS_OPEN, Coils, PilotBoard, PilotCommand, PilotStatus
from hal.uart.pilot_frames import (
    BAUD,
    BITS_PER_BYTE,
    FRAME_BYTES,
    RESET_MAGIC,
    FrameReader,
    Id,
    decode,
    encode,
    encode_grid_sense,
    frame,
)
from hal.uart.pilot_mcu import MAX_SAMPLES, RESYNC_RUN, PilotMcu
from hil.devices.pilot import EmulatedPilot
from hil.plant.link import PlantLink
from tests.ports.pilot_conformance import ALL_CLOSED, PilotConformance

STATE = {
    **dict.fromkeys(
        (
            "Sta_PwmActive", "Sta_Duty", "Sta_CpShort", "Sta_DiodeFault", "Sta_PpState", "Sta_Contactor1",
            "Sta_Contactor1Error", "Sta_Contactor2", "Sta_Contactor2Error", "Sta_HvReady", "Sta_Estop1",
            "Sta_Precharge", "Sta_PrechargeError", "Sta_ConverterEnable", "Sta_ComTimeout", "Sta_HostSequence",
        ),
        0.0,
    ),
    "Sta_CpState": 3.0,
    "Sta_Estop2": 3.0,
    "Sta_Estop3": 3.0,
}  # fmt: skip


class TestEmulatedPair(PilotConformance):
    def make(self, link: PlantLink) -> tuple[PilotBoard, EmulatedPilot]:
        return PilotMcu(), EmulatedPilot(link, random.Random(11))

    def test_a_repeated_control_frame_does_not_keep_a_hung_host_alive(self) -> None:
        bench = self.bench()
        bench.closed()
        bench.host_alive = False
        last = bench.driver.command(bench.now + 0.010, bench.command)
        assert control(last)["Ctl_Contactor1"] == 1  # a real frame, and it asks for closed
        for _ in range(60):
            bench.device.receive(bench.now, last)
            bench.run(0.010)
        assert not any(bench.contacts())
        assert bench.device.com_timeout

    def test_the_mcu_itself_refuses_a_reset_while_a_coil_is_asked_closed(self) -> None:
        bench = self.bench()
        bench.closed()
        bench.host_alive = False
        bench.run(1.0)
        bench.host_alive = True
        reset = encode(Id.RESET, {"Rst_Magic": RESET_MAGIC, "Rst_Complement": RESET_MAGIC ^ 0xFFFFFFFF})
        for _ in range(20):  # a host that breaks the rule which our driver keeps
            bench.device.receive(bench.now, reset)
            assert bench.run(0.02).com_timeout
        bench.ask(COILS_OPEN)
        bench.run(0.05)
        bench.device.receive(bench.now, reset)
        assert not bench.run(0.05).com_timeout

    def test_an_mcu_that_hears_nothing_opens_though_the_host_talks(self) -> None:
        bench = self.bench()
        bench.closed()
        bench.device.deaf = True
        status = bench.run(0.5)
        assert not any(bench.contacts())
        assert status.com_timeout

    def test_the_watchdog_starts_with_the_first_control_frame(self) -> None:
        bench = self.bench()
        bench.host_alive = False
        bench.run(2.0)
        assert not bench.device.com_timeout

    def test_frozen_grid_values_look_alive_at_first(self) -> None:
        """Within its second the driver cannot know; the second measurement must."""
        bench = self.bench()
        bench.run(0.1)
        bench.device.freeze_grid = True
        bench.run(0.05)
        bench.link.pcc_va_v = 50.0
        samples = len(bench.samples)
        bench.run(0.1)
        assert len(bench.samples) > samples + 15
        assert bench.samples[-1].value.v_v[0] == pytest.approx(231.0, abs=0.4)

    def test_grid_values_that_repeat_to_the_last_bit_for_a_second_are_stuck_until_they_move(self) -> None:
        bench = self.bench()
        bench.run(3.0)
        assert "pilot_grid_stuck" not in bench.run(0.02).faults
        bench.device.freeze_grid = True
        assert "pilot_grid_stuck" not in bench.run(0.9).faults
        assert "pilot_grid_stuck" in bench.run(0.2).faults
        samples = len(bench.samples)
        bench.run(0.5)
        assert len(bench.samples) == samples
        bench.device.freeze_grid = False
        assert "pilot_grid_stuck" not in bench.run(0.05).faults
        assert len(bench.samples) > samples + 5

    def test_the_line_carries_what_the_documentation_computes(self) -> None:
        bench = self.bench()
        bench.closed()
        counts: dict[int, int] = {}
        reader = FrameReader()
        sent = bench.device.step

        def counting(now: float) -> bytes:
            data: bytes = sent(now)
            for ident, _ in reader.feed(data):
                counts[ident] = counts.get(ident, 0) + 1
            return data

        bench.device.step = counting
        bench.run(10.0)
        rates = {ident: count / 10.0 for ident, count in counts.items()}
        assert rates[Id.GRID_SENSE] == pytest.approx(200.0, abs=0.3)
        assert rates[Id.STATE] == pytest.approx(50.0, abs=0.3)
        assert rates[Id.TEMPERATURES] == pytest.approx(10.0, abs=0.3)
        load = sum(rates.values()) * FRAME_BYTES * BITS_PER_BYTE / BAUD
        assert load == pytest.approx(0.271, abs=0.002)
        assert bench.device.overruns == 0

    def test_a_change_of_state_does_not_wait_for_the_period(self) -> None:
        bench = self.bench()
        bench.run(0.105)
        bench.link.ev_cp_state = 2.0
        changed = bench.now
        seen: list[float] = []
        take = bench.driver.receive

        def receive(now: float, data: bytes) -> None:
            take(now, data)
            cp = bench.driver.poll(now).cp
            if not seen and cp is not None and cp.value.name == "B":
                seen.append(now)

        bench.driver.receive = receive  # type: ignore[method-assign]
        bench.run(0.05)
        assert seen[0] - changed <= 0.006  # own frame, and at most three queued before it

    def test_the_mcus_own_temperature_limit_opens_the_vehicle_side(self) -> None:
        bench = self.bench()
        bench.closed()
        bench.device.temperatures_c = [101.0, 40.0, None, None]
        status = bench.run(0.3)
        assert bench.contacts() == (True, False, False)
        assert status.mirror_faults == ()
        assert "pilot_temperature" in status.faults

    def test_lost_temperature_frames_count_as_too_hot(self) -> None:
        driver = PilotMcu()
        for n in range(300):
            driver.receive(1.0 + n * 0.01, encode(Id.STATE, STATE))
            faults = driver.poll(1.0 + n * 0.01).faults
            assert ("pilot_temperature" in faults) == (n * 0.01 > 2.0)

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            ({"nonsense": 1}, "nonsense"),
            ({"mute": 1}, "true or false"),
            ({"corrupt_next": -1}, "whole number"),
            ({"temperatures_c": [1, 2, 3]}, "four values"),
            ({"self_test_failed": [5]}, "inputs from 1 to 4"),
            ({"self_test_failed": [[1]]}, "inputs from 1 to 4"),
            ({"version": [1, 2, 999]}, "three whole numbers"),
        ],
    )
    def test_a_bad_command_of_the_rig_is_refused_with_a_sentence_and_changes_nothing(
        self, command: dict[str, object], words: str
    ) -> None:
        device = EmulatedPilot(PlantLink(), random.Random(1))
        with pytest.raises(ValueError, match=words):
            device.handle({"deaf": True, **command})
        assert not device.deaf


def control(data: bytes) -> dict[str, float]:
    [(ident, payload), *_] = FrameReader().feed(data)
    assert ident == Id.CONTROL
    fields = decode(ident, payload)
    assert fields is not None
    return fields


@given(
    st.builds(Coils, *[st.booleans()] * 4),
    st.one_of(st.none(), st.integers(0, 1000).map(lambda n: n / 10)),
)
def test_the_control_frame_carries_exactly_the_command(coils: Coils, duty_pct: float | None) -> None:
    fields = control(PilotMcu().command(1.0, PilotCommand(duty_pct, coils)))
    assert fields["Ctl_Contactor1"] == coils.dc
    assert fields["Ctl_Contactor2"] == coils.grid
    assert fields["Ctl_Precharge"] == coils.precharge
    assert fields["Ctl_ConverterEnable"] == coils.converter_enable
    assert fields["Ctl_PwmActive"] == (duty_pct is not None)
    assert fields["Ctl_TargetDuty"] == pytest.approx(duty_pct or 0.0)


@given(
    st.lists(
        st.tuples(
            st.builds(Coils, *[st.booleans()] * 4),
            st.one_of(st.none(), st.integers(0, 1000).map(lambda n: n / 10), st.sampled_from([math.nan, -1.0, 101.0])),
            st.integers(1, 3),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_control_frames_count_and_are_those_of_the_dbc_whatever_was_sent_before(
    commands: list[tuple[Coils, float | None, int]],
) -> None:
    driver, k = PilotMcu(), 0
    for coils, duty_pct, times in commands:
        for _ in range(times):
            k += 1
            active = duty_pct is not None and 0.0 <= duty_pct <= 100.0
            fields = {
                "Ctl_PwmActive": active,
                "Ctl_TargetDuty": duty_pct if duty_pct is not None and active else 0.0,
                "Ctl_Contactor1": coils.dc,
                "Ctl_Contactor2": coils.grid,
                "Ctl_Precharge": coils.precharge,
                "Ctl_ConverterEnable": coils.converter_enable,
                "Ctl_Sequence": k & 0xFF,
            }
            sent = driver.command(1.0 + 0.01 * k, PilotCommand(duty_pct, coils))
            assert sent[:FRAME_BYTES] == encode(Id.CONTROL, fields)


def test_a_state_that_repeats_is_news_each_time_and_one_that_differs_in_any_bit_is_another() -> None:
    driver = PilotMcu()
    for k, changes in enumerate(
        (
            {}, {}, {"Sta_HostSequence": 7.0}, {"Sta_Contactor1": 1.0},
            {"Sta_Contactor1": 1.0, "Sta_HostSequence": 8.0}, {"Sta_CpState": 2.0}, {"Sta_Estop1": 1.0},
            {"Sta_ComTimeout": 1.0}, {"Sta_DiodeFault": 1.0}, {}, {"Sta_CpShort": 1.0}, {"Sta_PrechargeError": 1.0},
            {"Sta_ConverterEnable": 1.0}, {},
        )
    ):  # fmt: skip
        now, f = 5.0 + 0.02 * k, {**STATE, **changes}
        driver.receive(now, encode(Id.STATE, f))
        status = driver.poll(now)
        assert status.cp is not None
        assert status.mirrors is not None
        assert (status.cp.t, status.mirrors.t) == (now, now)
        assert status.cp.value.value == f["Sta_CpState"]
        assert status.mirrors.value.dc == (f["Sta_Contactor1"] == 1)
        assert status.mirrors.value.converter_enable == bool(f["Sta_ConverterEnable"])
        assert (status.estop, status.com_timeout) == (f["Sta_Estop1"] == 1, bool(f["Sta_ComTimeout"]))
        assert ("pilot_diode_fault" in status.faults) == bool(f["Sta_DiodeFault"])
        assert ("pilot_short" in status.faults) == bool(f["Sta_CpShort"])
        assert ("precharge" in status.mirror_faults) == bool(f["Sta_PrechargeError"])


@given(st.builds(Coils, *[st.booleans()] * 4), st.booleans())
def test_a_reset_leaves_only_when_asked_for_and_with_all_coils_open(coils: Coils, reset: bool) -> None:
    frames = FrameReader().feed(PilotMcu().command(1.0, PilotCommand(5.0, coils, reset)))
    assert (Id.RESET in [ident for ident, _ in frames]) == (reset and coils == COILS_OPEN)


@pytest.mark.parametrize("duty_pct", [-0.1, 100.1, math.nan, math.inf])
def test_an_impossible_duty_switches_the_pwm_off(duty_pct: float) -> None:
    assert control(PilotMcu().command(1.0, PilotCommand(duty_pct)))["Ctl_PwmActive"] == 0


def test_an_unchanged_command_does_not_flood_the_line() -> None:
    driver = PilotMcu()
    sent = [driver.command(1.0 + n * 0.001, PilotCommand()) for n in range(1000)]
    frames = FrameReader().feed(b"".join(sent))
    assert len([ident for ident, _ in frames if ident == Id.CONTROL]) <= 201


def test_a_burst_of_old_samples_is_not_taken_for_a_restart() -> None:
    driver = PilotMcu()
    v = (230.0, 230.0, 230.0)
    for n in range(20):
        driver.receive(1.0 + n * 0.005, encode_grid_sense(v, 50.0, n))
    assert len(driver.poll(1.1).grid) == 20
    for n in (10, 12, 11, 19, 18, 3):
        driver.receive(1.2, encode_grid_sense(v, 50.0, n))
    assert driver.poll(1.2).grid == ()
    assert driver.poll(1.2).grid_lost == 0


@given(st.integers(0, 255), st.integers(1, 127))
def test_a_gap_in_the_counter_is_counted_and_the_sample_taken(start: int, step: int) -> None:
    driver = PilotMcu()
    v = (230.0, 230.0, 230.0)
    driver.receive(1.0, encode_grid_sense(v, 50.0, start))
    driver.receive(1.1, encode_grid_sense(v, 50.0, start + step))
    status = driver.poll(1.1)
    assert [sample.t for sample in status.grid] == [1.0, 1.1]
    assert status.grid_lost == step - 1


def test_samples_that_arrive_together_have_their_own_times() -> None:
    driver = PilotMcu()
    v = (230.0, 230.0, 230.0)
    times = []
    for tick in range(1, 4):
        together = encode_grid_sense(v, 50.0, 2 * tick) + encode_grid_sense(v, 49.0, 2 * tick + 1)
        driver.receive(tick * 0.01, together)
        times += [sample.t for sample in driver.poll(tick * 0.01).grid]
    assert times == pytest.approx([0.005, 0.010, 0.015, 0.020, 0.025, 0.030])


@given(st.lists(st.tuples(st.floats(0.0, 0.3), st.integers(1, 40), st.integers(1, 3)), min_size=1, max_size=20))
def test_times_of_samples_rise_and_never_lie_ahead_however_the_bytes_arrive(
    reads: list[tuple[float, int, int]],
) -> None:
    """Each read: seconds since the one before, how many samples came, and how far their numbers are apart."""
    driver = PilotMcu()
    now, number, last = 100.0, 0, -1.0
    for pause_s, count, step in reads:
        now += pause_s
        data = b""
        for k in range(count):
            number += step
            data += encode_grid_sense((230.0, 230.0, 230.0 + k % 2), 50.0, number)  # a value that repeats is stuck
        driver.receive(now, data)
        samples = driver.poll(now).grid
        assert len(samples) == count
        times = [last, *(sample.t for sample in samples)]
        assert times == sorted(times)
        assert pause_s < 1e-6 or len(set(times)) == count + 1
        assert times[-1] == now
        last = now


def test_a_counter_that_begins_anew_is_believed_after_a_few_samples() -> None:
    driver = PilotMcu()
    v = (230.0, 230.0, 230.0)
    driver.receive(1.0, encode_grid_sense(v, 50.0, 100))
    driver.poll(1.0)
    for n in range(10):
        driver.receive(2.0 + n * 0.005, encode_grid_sense(v, 50.0, n))
    assert len(driver.poll(2.1).grid) == 10 - RESYNC_RUN + 1


def test_samples_that_nobody_fetched_are_counted_as_lost() -> None:
    driver = PilotMcu()
    for n in range(MAX_SAMPLES + 10):
        driver.receive(1.0, encode_grid_sense((230.0, 230.0, 230.0), 50.0, n))
    status = driver.poll(1.0)
    assert len(status.grid) == MAX_SAMPLES
    assert status.grid_lost == 10


@given(st.integers(0, 255).filter(lambda i: i not in (7, 8, 9, 10, 14)), st.binary(min_size=8, max_size=8))
def test_frames_that_an_mcu_does_not_send_are_counted_and_change_nothing(ident: int, payload: bytes) -> None:
    driver = PilotMcu()
    driver.receive(1.0, frame(ident, payload))
    assert driver.poll(1.0) == PilotStatus(bad_frames=1)


def test_the_driver_sees_a_contactor_fault_that_the_mcu_does_not_report() -> None:
    driver = PilotMcu()
    for n in range(100):
        now = 1.0 + n * 0.01
        driver.receive(now, encode(Id.STATE, {**STATE, "Sta_Contactor1": 1.0}))  # closed, no error bit
        faults = driver.poll(now).mirror_faults
        driver.command(now, PilotCommand(5.0, COILS_OPEN))
    assert faults == ("dc",)


def test_a_contactor_without_mirror_contact_is_a_fault_once_it_is_closed() -> None:
    driver = PilotMcu()
    for n in range(100):
        now = 1.0 + n * 0.01
        driver.receive(now, encode(Id.STATE, {**STATE, "Sta_Contactor1": 1.0, "Sta_Contactor2": 3.0}))
        faults = driver.poll(now).mirror_faults
        driver.command(now, PilotCommand(5.0, ALL_CLOSED))
    assert faults == ("grid",)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature_limit_c": 400.0}, "temperature_limit_c is 400"),
        ({"offline_after_s": 0.0}, "offline_after_s is 0"),
        ({"host_timeout_s": math.nan}, "host_timeout_s is nan"),
    ],
)
def test_an_impossible_setting_is_refused_with_a_sentence(options: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PilotMcu(**options)
