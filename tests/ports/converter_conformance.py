"""What every converter driver must do, as tests: inherit the class and say how to build a driver and its module.

The numbers are the obligations of hal.ports.Converter. Each test runs the driver against an emulated module in
simulated time, and looks only at frames and status.
"""

from __future__ import annotations

import itertools
import math
import random

import pytest
from msgspec.structs import astuple, replace

from hal.ports import CONVERTER_OFF, CanFrame, ConverterCommand, Direction
from tests.ports.converter_pair import CHARGE, DISCHARGE, Pair

STARTS = pytest.mark.parametrize("command", [CHARGE, DISCHARGE], ids=["charge", "discharge"])


class ConverterConformance:
    """Inherit, and implement `pair`."""

    def pair(self, seed: int = 1) -> Pair:
        """A new driver and a new module without any history."""
        raise NotImplementedError

    # ----------------------------------------------------------------------------------------------- obligation 1, 2
    def test_garbage_frames_never_raise_and_change_nothing(self) -> None:
        pair = self.pair().running(CHARGE)
        rng = random.Random(3)
        before = pair.driver.poll(pair.now)
        for _ in range(2000):
            extended = rng.random() < 0.5
            noise = CanFrame(
                rng.getrandbits(29 if extended else 11), rng.randbytes(rng.randrange(8)), pair.now, extended
            )
            pair.driver.receive(pair.now, noise)
        assert pair.driver.poll(pair.now) == before

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -5.0, 1e9])
    @STARTS
    def test_no_command_makes_it_raise_or_exceed_its_limits(self, command: ConverterCommand, value: float) -> None:
        pair = self.pair().running(command)
        for name in ("voltage_v", "current_a", "cutoff_v", "ovp_v", "tan_phi"):
            pair.run(0.05, replace(command, **{name: value}))
        limits = pair.status.limits
        assert limits is not None
        currents = [pair.current(frame) or 0.0 for _, frame in pair.sent]
        assert max(currents) <= limits.i_max_a
        assert all(math.isfinite(amps) for amps in currents)

    def test_a_tick_sends_a_bounded_number_of_frames(self) -> None:
        pair = self.pair()
        most = 0
        for command in (CONVERTER_OFF, CHARGE, DISCHARGE, CONVERTER_OFF):
            for _ in range(200):
                most = max(most, len(pair.tick(command)))
        assert 0 < most <= 5

    def test_frames_of_others_are_ignored(self) -> None:
        pair = self.pair().ready()
        before = pair.driver.poll(pair.now)
        for _, answer in list(pair.answers[-40:]):
            for bit in range(16):  # every address field with one bit wrong
                pair.driver.receive(pair.now, answer._replace(id=answer.id ^ 1 << bit, data=bytes(answer.data)))
        assert pair.driver.poll(pair.now) == before

    # -------------------------------------------------------------------------------------------------- obligation 3
    @STARTS
    def test_no_current_is_asked_for_before_the_direction_is_confirmed(self, command: ConverterCommand) -> None:
        pair = self.pair().ready()
        assert pair.status.direction is None
        while pair.status.direction is None:
            for frame in pair.tick(command):
                if pair.status.direction is None:
                    assert not pair.current(frame)
            assert pair.now < 120.0
        assert pair.status.direction is command.direction
        pair.until(lambda: abs(pair.link.dc_i_a) > command.current_a - 0.1, command)
        assert math.copysign(1.0, pair.link.dc_i_a) == (1.0 if command.direction is Direction.CHARGE else -1.0)

    def test_a_direction_that_is_never_confirmed_carries_no_current_and_is_a_fault(self) -> None:
        pair = self.pair().ready()
        pair.device.handle({"ignore_mode": "echo"})
        pair.run(5.0, DISCHARGE)
        assert pair.status.direction is None
        assert pair.status.faults
        assert not pair.status.ready
        assert not any(pair.current(frame) for _, frame in pair.sent)
        assert pair.link.dc_i_a == 0.0

    def test_a_mode_that_changes_without_an_echo_is_not_confirmed(self) -> None:
        pair = self.pair().ready()
        pair.device.handle({"ignore_mode": "silent"})
        pair.run(5.0, DISCHARGE)
        assert pair.status.direction is None
        assert pair.status.faults
        assert not any(pair.current(frame) for _, frame in pair.sent)

    # -------------------------------------------------------------------------------------------------- obligation 4
    def test_a_direction_change_waits_for_the_current_to_be_gone(self) -> None:
        pair = self.pair().running(CHARGE)
        begin = len(pair.sent)
        measured: list[float] = []

        def look() -> None:
            measured.append(abs(pair.link.dc_i_a))

        pair.seen.append(look)
        while not any(pair.is_mode(frame) for _, frame in pair.sent[begin:]):
            flowing = pair.status.i_dc_a
            assert flowing is not None
            frames = pair.tick(DISCHARGE)
            if any(pair.is_mode(frame) for frame in frames):
                known = pair.status.i_dc_a
                assert known is not None
                assert known.fresh(pair.now, 0.5)
                assert abs(known.value) < pair.driver.zero_current_a
                assert measured[-2] < pair.driver.zero_current_a
            assert pair.now < 120.0

    def test_a_direction_change_is_not_sent_on_a_stale_current(self) -> None:
        pair = self.pair().running(CHARGE)
        pair.run(0.3, replace(CHARGE, current_a=0.0))
        pair.device.faults.mute = True
        begin = len(pair.sent)
        pair.run(0.2, replace(CHARGE, current_a=0.0))
        pair.run(3.0, DISCHARGE)
        late = [frame for t, frame in pair.sent[begin:] if pair.is_mode(frame) and t > pair.now - 2.9]
        assert late == []

    # ----------------------------------------------------------------------------------------------- obligation 5, 6
    @STARTS
    def test_off_leaves_in_the_same_call_before_every_other_frame(self, command: ConverterCommand) -> None:
        for wait in range(0, 30, 2):  # at every second phase of the poll plan
            pair = self.pair(seed=wait).running(command)
            pair.run(0.01 * wait, command)
            frames = pair.tick(CONVERTER_OFF)
            assert pair.is_off(frames[0])
            assert not any(pair.current(frame) or pair.is_on(frame) for frame in frames)

    @STARTS
    def test_off_leaves_at_every_instant_of_a_start(self, command: ConverterCommand) -> None:
        for ticks in range(1, 40, 4):
            pair = self.pair(seed=ticks).ready()
            for _ in range(ticks):
                pair.tick(command)
            assert pair.is_off(pair.tick(CONVERTER_OFF)[0])
            pair.run(1.0)
            assert pair.link.conv_on == 0.0

    def test_off_is_repeated_until_the_module_confirms_and_then_no_more(self) -> None:
        pair = self.pair().running(CHARGE)
        pair.device.faults.mute = True
        begin = pair.now
        pair.run(2.0)
        times = [t for t, frame in pair.sent if t >= begin and pair.is_off(frame)]
        assert times[0] == begin
        assert max(b - a for a, b in itertools.pairwise(times)) <= 0.1 + 1e-9
        assert times[-1] > pair.now - 0.1
        pair.device.faults.mute = False
        pair.run(1.0)
        quiet = pair.now
        pair.run(1.0)
        assert not any(pair.is_off(frame) for t, frame in pair.sent if t > quiet)

    def test_a_module_that_runs_again_without_being_asked_is_switched_off_again(self) -> None:
        pair = self.pair().running(CHARGE)
        pair.device.faults.ignore_off = True
        pair.run(1.0)
        assert pair.status.faults  # it says that it still runs, and that nobody obeyed
        pair.device.faults.ignore_off = False
        pair.until(lambda: pair.link.conv_on == 0.0, within_s=0.2)

    @STARTS
    def test_off_invalidates_every_set_point(self, command: ConverterCommand) -> None:
        pair = self.pair().running(command)

        def set_points(since: float) -> set[bytes]:
            return {f.data[:2] for t, f in pair.sent if t >= since and pair.is_write(f)}

        first = set_points(0.0)
        pair.run(0.5)
        again = pair.now
        pair.until(lambda: any(pair.is_on(f) for t, f in pair.sent if t >= again), command)
        on_t = next(t for t, f in pair.sent if t >= again and pair.is_on(f))
        before_on = {f.data[:2] for t, f in pair.sent if again <= t <= on_t and pair.is_write(f)}
        mode = {f.data[:2] for _, f in pair.sent if pair.is_mode(f)}
        assert before_on | mode >= first - {f.data[:2] for _, f in pair.sent if pair.is_off(f)}

    # -------------------------------------------------------------------------------------------------- obligation 7
    def test_limits_are_read_before_ready_and_again_after_a_reset(self) -> None:
        pair = self.pair()
        pair.cable = lambda frame: None if pair.is_limit_read(frame) else frame
        pair.run(pair.boot_s + 2.0)
        assert pair.status.online
        assert not pair.status.ready
        assert pair.status.limits is None
        pair.run(1.0, CHARGE)
        assert not any(pair.is_on(frame) for _, frame in pair.sent)
        pair.cable = lambda frame: frame
        pair.until(lambda: pair.status.ready)
        asked = sum(pair.is_limit_read(frame) for _, frame in pair.sent)
        pair.device.reset(0.05)
        pair.run(1.0)
        pair.device.reset(1.0)
        pair.run(2.0)
        assert sum(pair.is_limit_read(frame) for _, frame in pair.sent) >= asked + 4

    # -------------------------------------------------------------------------------------------------- obligation 8
    def test_every_value_carries_the_time_of_its_own_frame_and_grows_old(self) -> None:
        pair = self.pair().running(CHARGE)
        pair.run(0.5, CHARGE)
        pair.device.faults.mute = True
        stop = pair.now
        pair.run(0.1, CHARGE)
        kept = pair.status
        pair.run(3.0, CHARGE)
        for name in ("on", "v_dc_v", "i_dc_a", "grid"):
            before, after = getattr(kept, name), getattr(pair.status, name)
            assert before.t <= stop + 0.02
            assert after == before
            assert not after.fresh(pair.now, 2.0)
            assert any(abs(before.t - t) < 1e-9 for t, _ in pair.answers)

    # -------------------------------------------------------------------------------------------------- obligation 9
    def test_polling_and_receiving_send_nothing(self) -> None:
        pair = self.pair().ready()
        for _, frame in pair.answers[-50:]:
            assert pair.driver.receive(pair.now, frame) is None  # type: ignore[func-returns-value]
        status = pair.driver.poll(pair.now)
        assert not any(isinstance(value, CanFrame) for value in astuple(status))

    def test_the_module_never_hears_a_second_of_silence(self) -> None:
        pair = self.pair()
        pair.link.k_grid = 0.0
        pair.run(3.0)
        pair.link.k_grid = 1.0
        pair.ready()
        for command in (CONVERTER_OFF, CHARGE, DISCHARGE):
            pair.run(3.0, command)
        pair.device.faults.mute = True
        pair.run(3.0, CHARGE)
        times = [t for t, _ in pair.sent]
        assert max(b - a for a, b in itertools.pairwise(times)) < 1.0

    # ------------------------------------------------------------------------------------------------- obligation 10
    @STARTS
    def test_a_silent_module_is_offline_and_comes_back_only_through_a_read_out(self, command: ConverterCommand) -> None:
        pair = self.pair().running(command)
        pair.device.faults.mute = True
        took = pair.until(lambda: not pair.status.online, command)
        assert pair.driver.offline_after_s - 0.1 <= took <= pair.driver.offline_after_s + 0.1
        assert not pair.status.ready
        assert pair.status.direction is None
        pair.device.faults.mute = False
        back = pair.now
        pair.until(lambda: pair.status.online, command)
        assert not pair.status.ready
        assert pair.status.limits is None
        pair.run(3.0, command)
        assert sum(pair.is_limit_read(f) for t, f in pair.sent if t >= back) >= 4
        assert pair.link.conv_on == 0.0  # power does not come back by itself
        assert not any(pair.is_on(f) for t, f in pair.sent if t >= back)
        pair.run(0.2)
        assert pair.status.ready
        pair.until(lambda: abs(pair.link.dc_i_a) > 1.0, command)

    def test_a_module_that_lost_its_supply_is_read_out_again_and_counted(self) -> None:
        pair = self.pair().ready()
        resets = pair.status.resets
        pair.link.k_grid = 0.0
        pair.until(lambda: not pair.status.online)
        pair.link.k_grid = 1.0
        pair.ready()
        assert pair.status.resets == resets + 1

    # ------------------------------------------------------------------------------------------------- obligation 11
    @STARTS
    def test_reactive_power_is_confirmed_follows_within_a_tenth_of_a_second_and_ends_with_off(
        self, command: ConverterCommand
    ) -> None:
        pair = self.pair().running(command)
        limits = pair.status.limits
        assert limits is not None
        assert limits.tan_phi_max > 0.3
        for tan_phi in (0.3, -0.3, 0.05, -0.05, 0.0):
            asked = replace(command, tan_phi=tan_phi)
            begin = pair.now
            pair.until(lambda t=tan_phi: abs(pair.status.tan_phi.value - t) < 0.01, asked, 0.1)  # type: ignore[misc]
            confirmed = pair.status.tan_phi
            assert confirmed is not None
            assert confirmed.t > begin
            pair.run(0.5, asked)
            assert pair.link.conv_tan_phi == pytest.approx(confirmed.value, abs=1e-6)
            assert pair.status.q_ac_var is not None
        pair.run(0.2, replace(command, tan_phi=0.3))
        pair.run(0.5)
        assert pair.status.tan_phi is None

    def test_reactive_power_beyond_its_limit_is_bounded(self) -> None:
        pair = self.pair().running(CHARGE)
        assert pair.status.limits is not None
        pair.run(1.0, replace(CHARGE, tan_phi=5.0))
        assert pair.link.conv_tan_phi == pytest.approx(pair.status.limits.tan_phi_max, abs=0.01)
        assert pair.status.faults == ()

    def test_the_reactive_power_that_flows_is_reported(self) -> None:
        pair = self.pair().running(DISCHARGE)
        pair.run(1.5, replace(DISCHARGE, tan_phi=-0.4))
        assert pair.status.q_ac_var is not None
        assert pair.status.q_ac_var.value == pytest.approx(-0.4 * 12.0 * 400.0, rel=0.02)

    # ------------------------------------------------------------------------------------------------- whole way
    def test_a_full_life_ends_where_it_began(self) -> None:
        pair = self.pair()
        for command in (CHARGE, DISCHARGE, CHARGE):
            pair.running(command)
            assert pair.status.faults == ()
            assert pair.status.direction is command.direction
            current = pair.status.i_dc_a
            assert current is not None
            sign = 1.0 if command.direction is Direction.CHARGE else -1.0
            pair.run(0.3, command)
            assert pair.status.i_dc_a is not None
            assert pair.status.i_dc_a.value == pytest.approx(sign * command.current_a, abs=0.2)
            assert pair.status.p_ac_w is not None
            assert math.copysign(1.0, pair.status.p_ac_w.value) == sign
            pair.run(0.5)
            assert pair.link.conv_on == 0.0
            assert pair.status.on is not None
            assert not pair.status.on.value
