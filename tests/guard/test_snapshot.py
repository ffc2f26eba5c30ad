"""The snapshot: everything in it survives the way to services, in every state and with everything unknown."""

from __future__ import annotations

import math

import msgspec
import pytest

from firmware.guard.known import Readings
from firmware.guard.machine import ChargerState
from firmware.guard.messages import (
    CarReport,
    EventMessage,
    FromGuard,
    InsulationReport,
    MeterReport,
    Operator,
    PowerRequest,
    SelfTestReport,
    Snapshot,
    ToGuard,
    TripRecord,
)
from firmware.guard.realtime import Lateness
from firmware.guard.snapshot import snapshot
from hal.ports import CarPhase, ConverterStatus, PilotStatus
from tests.guard.puppet import Puppet, make_guard

encode = msgspec.msgpack.encode
from_guard = msgspec.msgpack.Decoder(FromGuard).decode
to_guard = msgspec.msgpack.Decoder(ToGuard).decode


def seen(world: Puppet) -> Snapshot:
    """The snapshot as services get it."""
    there = snapshot(world.guard, world.now, "boot", Lateness(10), 0, 0)
    back = from_guard(encode(there))
    assert isinstance(back, Snapshot)
    return back


@pytest.mark.parametrize(
    "message",
    [
        PowerRequest("me", -7000.0, 12.5, "peak"),
        CarReport(1.0, "transfer", 400.0, 100.0, -100.0, 450.0, 300.0, None, 60e3),
        InsulationReport(1.0, 1e6, "none"),
        SelfTestReport(3, False, 1.0),
        MeterReport(1.0, None, -5.0),
        Operator("latch", "contactor_welded"),
    ],
)
def test_what_services_say_arrives_as_it_was_said(message: ToGuard) -> None:
    assert to_guard(encode(message)) == message


def test_what_guard_says_arrives_as_it_was_said() -> None:
    for message in (
        EventMessage(1.0, "state", "idle"),
        EventMessage(1.0, "pilot_lost", cleared=True),
        TripRecord(1.0, "grid_trip", "UV1", ["t_s", "l1_v"], [[0.0, 1.5], [1.0, math.inf]]),
    ):
        assert from_guard(encode(message)) == message


@pytest.mark.parametrize("state", [s.name for s in ChargerState if s not in (ChargerState.FAULT,)])
def test_there_is_a_snapshot_and_a_sentence_in_every_state(state: str) -> None:
    world = Puppet(power_w=-9_000.0 if state == "DISCHARGING" else 9_000.0)
    if state in ("HOLDING", "THROUGH_ZERO", "RAMP_DOWN", "OPENING", "WELD_CHECK", "FINISHED"):
        world.until("CHARGING")
        world.tick(50)
    if state == "HOLDING":
        world.power_w = 0.0
    elif state == "THROUGH_ZERO":
        world.power_w = -9_000.0
    elif state in ("RAMP_DOWN", "OPENING", "WELD_CHECK", "FINISHED"):
        if state in ("OPENING", "WELD_CHECK"):
            world.v_dc = 400.0
        world.phase = CarPhase.ENDING
    for _ in range(2000):
        if world.state == state:
            break
        if state != "IDLE" and world.phase is not CarPhase.ENDING:
            world.drive_on()
        world.tick()
    assert world.state == state
    if world.guard.outputs is None:
        world.tick()
    got = seen(world)
    assert len(got.why) > 10
    assert got.why.endswith(".")
    assert got.boot == "boot"
    assert got.tick == world.guard.tick


def test_a_charger_that_knows_nothing_says_so_with_none_and_not_with_zero() -> None:
    guard = make_guard()
    guard.step(5.0, Readings(ConverterStatus(), PilotStatus()))
    got = snapshot(guard, 5.0, "boot", Lateness(10), 0, 0)
    assert from_guard(encode(got)) == got
    unknown = (
        got.v_dc_v, got.i_dc_a, got.measured_w, got.p_ac_w, got.grid_v, got.grid_f_hz, got.converter_grid_v,
        got.converter_temp_c, got.insulation_ohm, got.soc_pct, got.trip,
    )  # fmt: skip
    assert all(value is None for value in unknown)
    assert (got.permitted_w, got.i_charge_max_a, got.i_discharge_max_a, got.v_max_v) == (0.0, 0.0, 0.0, 0.0)
    assert (got.ready, got.converter_online, got.down) == (False, False, False)


def test_a_fault_is_told_with_its_code_its_latch_and_its_remedy() -> None:
    world = Puppet()
    world.until("CHARGING")
    world.estop = True
    world.tick(100)
    got = seen(world)
    assert got.state == "fault"
    assert got.faults == got.latched == ["pilot_estop"]
    assert got.why.startswith("The emergency stop was pressed")
    assert got.stop
    assert not got.ready


def test_the_lease_and_who_holds_it_are_told_until_it_ends() -> None:
    world = Puppet(lease_s=1.0)
    world.until("CHARGING")
    world.tick()
    got = seen(world)
    assert got.asked_by == "test"
    assert got.lease_s == pytest.approx(1.0)
    assert got.asked_w == 10_000.0
    world.renew = False
    world.tick(110)
    got = seen(world)
    assert (got.asked_by, got.asked_w, got.lease_s) == ("", 0.0, 0.0)


def test_every_value_carries_the_age_of_its_own_source() -> None:
    world = Puppet()
    world.until("CHARGING")
    world.tick()
    young = seen(world).ages_s
    assert {"grid", "converter_grid", "dc", "pilot", "insulation", "car"} <= young.keys()
    assert all(0.0 <= age < 0.5 for age in young.values())
    world.insulation_ohm = None  # the monitor falls silent
    world.tick(50)
    old = seen(world).ages_s
    assert old["insulation"] == pytest.approx(0.5, abs=0.1)
    assert old["grid"] < 0.1
    unknown = make_guard()
    unknown.step(5.0, Readings(ConverterStatus(), PilotStatus()))
    assert snapshot(unknown, 5.0, "boot", Lateness(10), 0, 0).ages_s == {}


def test_a_car_that_has_begun_anew_is_not_asked_to_end_while_its_old_session_runs_out() -> None:
    world = Puppet()
    world.until("CHARGING")
    world.phase = CarPhase.ENDING
    world.tick()
    assert seen(world).stop  # it ends: nobody keeps it
    for phase in (CarPhase.WAIT, CarPhase.INSULATION):
        world.phase = phase
        world.tick()
        assert world.state in ("RAMP_DOWN", "OPENING", "WELD_CHECK")
        assert not seen(world).stop
    world.inbox.append(Operator("stop"))
    world.tick()
    assert seen(world).stop


def test_a_car_that_the_charger_ended_is_asked_to_end_whatever_it_begins() -> None:
    world = Puppet()
    world.until("CHARGING")
    world.renew = False  # services are gone
    world.until("OPENING")
    world.phase = CarPhase.WAIT
    world.tick()
    assert seen(world).stop
