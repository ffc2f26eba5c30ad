"""What every driver of a role but the grid must do (obligations in hil/bench/roles.py); the grid's are in
grid_conformance.py. A driver inherits the class of its role and supplies the fixture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from hil.bench.roles import BenchError, Clock, EvEmulator, FaultBox, IslandLoad, Recorder, Unit


class LoadConformance:
    @pytest.mark.parametrize(
        ("p_w", "qf", "dp"),
        [(0.0, 1.0, 0.0), (-5.0, 1.0, 0.0), (1e9, 1.0, 0.0), (1e4, 0.0, 0.0), (1e4, 99.0, 0.0), (2.4e4, 1.0, 5.0),
         (math.nan, 1.0, 0.0), (1e4, math.nan, 0.0)],
    )  # fmt: skip
    def test_1_a_load_outside_of_its_caps_is_refused_in_a_sentence(
        self, load: IslandLoad, p_w: float, qf: float, dp: float
    ) -> None:
        with pytest.raises(BenchError, match="load:"):
            load.tune(p_w, qf, 230.0, 50.0, dp)

    def test_2_off_may_be_said_at_any_time_and_twice(self, load: IslandLoad) -> None:
        load.off()
        load.tune(0.5 * load.caps.p_max_w, 1.0, 230.0, 50.0, 0.05, -0.05)
        load.open_switch()
        load.close_switch()
        load.off()
        load.off()


class EvConformance:
    any_command = False  # a person can be asked for anything
    knows_soc = True

    def test_1_a_command_that_it_does_not_know_is_refused_in_a_sentence(self, ev: EvEmulator) -> None:
        if self.any_command:
            ev.say({"fly": True})
            return
        with pytest.raises(BenchError, match="fly"):
            ev.say({"fly": True})

    def test_2_off_may_be_said_at_any_time_and_twice(self, ev: EvEmulator) -> None:
        ev.off()
        ev.plug_in()
        ev.unplug()
        ev.plug_in()
        ev.off()
        ev.off()

    def test_its_caps_are_numbers_to_plan_with(self, ev: EvEmulator) -> None:
        assert all(0.0 < x < 1e6 for x in (ev.caps.v_max_v, ev.caps.i_max_a, ev.caps.p_max_w))

    def test_a_state_of_charge_is_a_share_or_a_sentence(self, ev: EvEmulator) -> None:
        if self.knows_soc:
            assert 0.0 <= ev.soc() <= 1.0
        else:
            with pytest.raises(BenchError, match="state of charge"):
                ev.soc()


class FaultConformance:
    def test_1_what_is_not_in_the_catalogue_is_refused_in_a_sentence_that_names_what_there_is(
        self, fault: FaultBox
    ) -> None:
        with pytest.raises(BenchError) as refused:
            fault.insert("converter.fly")
        assert fault.catalogue[0] in str(refused.value)

    def test_a_fault_may_be_made_again_and_clear_may_be_said_at_any_time_and_twice(self, fault: FaultBox) -> None:
        fault.clear()
        fault.insert("plant.estop")
        fault.insert("plant.estop")
        fault.clear()
        fault.clear()

    def test_every_name_stands_in_the_catalogue_once(self, fault: FaultBox) -> None:
        assert len(set(fault.catalogue)) == len(fault.catalogue) > 0
        assert all("." in name for name in fault.catalogue)


@dataclass
class Recording:
    recorder: Recorder
    advance: Callable[[float], None]  # seconds


class RecorderConformance:
    def test_it_says_so_when_it_does_not_run(self, recording: Recording) -> None:
        with pytest.raises(BenchError, match="does not run"):
            recording.recorder.stop()

    def test_a_channel_that_is_not_there_is_refused_with_those_that_are(self, recording: Recording) -> None:
        with pytest.raises(BenchError) as refused:
            recording.recorder.latest("colour")
        assert "grid_va_pu" in str(refused.value)

    def test_a_capture_has_every_channel_with_unit_accuracy_and_source(self, recording: Recording) -> None:
        recorder = recording.recorder
        recorder.start(100.0)
        for _ in range(5):
            recording.advance(0.02)
        capture = recorder.stop()
        assert set(capture.channels) == set(capture.series) == set(recorder.channels())
        assert all(channel.source for channel in capture.channels.values())
        assert {"grid_va_pu", "grid_f_hz", "dc_w"} <= set(capture.channels)
        assert capture.channels["grid_f_hz"].unit == "Hz"
        assert capture.channels["grid_f_hz"].accuracy > 0.0
        assert len(capture.t) >= 5
        assert capture.t == sorted(capture.t)
        assert all(len(column) == len(capture.t) for column in capture.series.values())
        assert 0.0 < capture.period_s < 1.0
        with pytest.raises(BenchError, match="does not run"):
            recorder.stop()


class ClockConformance:
    def test_it_waits_at_least_as_long_as_asked_and_never_goes_back(self, clock: Clock) -> None:
        before = clock.now()
        clock.wait(0.05)
        assert before + 0.05 - 1e-6 <= clock.now()

    def test_a_condition_that_holds_needs_no_time_and_one_that_does_not_is_told(self, clock: Clock) -> None:
        assert clock.wait_until(lambda: True, 60.0)
        begun = clock.now()
        assert not clock.wait_until(lambda: False, 0.05)
        assert clock.now() >= begun + 0.05 - 1e-6

    def test_it_sees_a_condition_come_true_while_it_waits(self, clock: Clock) -> None:
        begun = clock.now()
        assert clock.wait_until(lambda: clock.now() > begun + 0.03, 60.0)
        assert clock.now() < begun + 30.0


class UnitConformance:
    def test_it_says_who_it_is_and_how_it_stands(self, unit: Unit) -> None:
        assert unit.identity["unit"]
        assert "board" in unit.identity
        status = unit.status()
        assert status.state
        assert isinstance(status.ready, bool)

    def test_1_an_action_that_no_operator_has_is_refused(self, unit: Unit) -> None:
        with pytest.raises(BenchError, match="may stop, start or clear"):
            unit.operator("explode")
        for action in ("stop", "start", "clear"):
            unit.operator(action)

    def test_power_is_asked_for_and_the_lease_may_end_at_any_time(self, unit: Unit) -> None:
        unit.let_lease_end()
        unit.ask(1000.0)
        unit.let_lease_end()
        unit.let_lease_end()

    def test_controls_are_set_replaced_and_ended(self, unit: Unit) -> None:
        unit.set_controls(())
        unit.set_controls([{"id": "a", "kind": "fixed_var", "q_pu": 0.1}])
        unit.set_controls([{"id": "b", "kind": "fixed_var", "q_pu": 0.2}])
        unit.set_controls(())
        unit.set_controls(())

    def test_1_what_is_no_control_is_refused(self, unit: Unit) -> None:
        with pytest.raises(BenchError, match="fixed_var"):
            unit.set_controls([{"id": "a", "kind": "fixed_var", "q_pu": 9.0, "colour": "red"}])

    def test_events_have_a_time_on_the_benchs_clock_and_a_code(self, unit: Unit) -> None:
        unit.operator("stop")
        for event in unit.events(0.0):
            assert isinstance(event.t, float)
            assert event.code

    def test_health_is_a_list_of_sentences(self, unit: Unit) -> None:
        assert all(isinstance(text, str) and text for text in unit.health())
