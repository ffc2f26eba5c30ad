"""What services tell may be late, forged or no number: it never keeps a charger closed, and never leaves guard."""

from __future__ import annotations

import math
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import fields

from firmware.guard import numbers as n
from firmware.guard.messages import CarReport, InsulationReport, MeterReport, PowerRequest, SelfTestReport, ToGuard
from firmware.guard.reports import MAX_AHEAD_S, Report, car_status, problem
from hal.ports import CarPhase
from hil.frozen import Frozen
from tests.guard.puppet import TICK_S, Puppet

GOOD: list[Report] = [
    CarReport(10.0, "transfer", 400.0, 100.0, -100.0, 450.0, 300.0, 50.0, 60e3),
    InsulationReport(10.0, 1e6, "none"),
    MeterReport(10.0, 400.0, 5.0, 2000.0, None, 50.0),
    SelfTestReport(1, True, 10.0),
]
NONSENSE = (math.nan, math.inf, -math.inf)
CLOSED_STATES = ("CHARGING", "HOLDING", "DISCHARGING", "THROUGH_ZERO")


def charging(power_w: float = 10_000.0) -> Puppet:
    return _charging(power_w).thaw()


@cache
def _charging(power_w: float) -> Frozen[Puppet]:
    world = Puppet(power_w=power_w)
    world.until("CHARGING" if power_w > 0 else "DISCHARGING")
    world.tick(100)
    return Frozen(world)


def car(world: Puppet, t: float | None = None, **changes: float) -> CarReport:
    report = CarReport(world.now + TICK_S, "transfer", 400.0, 100.0, -100.0, 450.0, 300.0)
    if t is not None:
        changes["t"] = t
    return CarReport(**{**{f: getattr(report, f) for f in report.__struct_fields__}, **changes})  # type: ignore[arg-type]


def codes(world: Puppet) -> list[str]:
    return world.guard.faults.codes


def assert_opened(world: Puppet) -> None:
    assert world.last is not None
    coils = world.last.outputs.pilot.coils
    assert not coils.dc
    assert not coils.precharge
    assert not world.last.outputs.converter.on


# ------------------------------------------------------------------------------------------------- pure judgement
@pytest.mark.parametrize("report", GOOD)
def test_a_sound_report_is_believed(report: Report) -> None:
    assert problem(10.0, report) == ""
    assert problem(1e6, report) == "", "an old report is sound; whoever uses it looks at its age"


@pytest.mark.parametrize("report", GOOD)
@pytest.mark.parametrize("value", NONSENSE)
def test_a_number_that_is_none_spoils_a_report(report: Report, value: float) -> None:
    for field in report.__struct_fields__:
        if isinstance(getattr(report, field), float):
            bent = type(report)(**{**{f: getattr(report, f) for f in report.__struct_fields__}, field: value})
            assert problem(10.0, bent), field


@pytest.mark.parametrize("report", GOOD)
def test_a_time_ahead_of_our_own_clock_spoils_a_report(report: Report) -> None:
    assert problem(10.0 - MAX_AHEAD_S, report) == ""
    assert problem(10.0 - MAX_AHEAD_S - 0.001, report)


@given(
    st.builds(CarReport, *[st.floats()] * 1, st.text(), *[st.floats()] * 5, st.none() | st.floats()), st.floats(0, 1e6)
)
def test_a_car_report_is_judged_without_raising_and_only_finite_numbers_pass(report: CarReport, now: float) -> None:
    if problem(now, report):
        return
    status = car_status(report)
    for field in fields(status):
        value = getattr(status, field.name)
        assert not isinstance(value, float) or math.isfinite(value)
    assert min(status.target_v, status.v_max_v, status.v_min_v) >= 0.0
    assert report.t <= now + MAX_AHEAD_S


def test_a_phase_that_nobody_knows_is_no_phase() -> None:
    assert car_status(CarReport(0.0, "launch", 0.0, 0.0, 0.0, 0.0, 0.0)).phase is CarPhase.NONE


# ------------------------------------------------------------------------------------------------- in a running session
def test_a_car_report_from_the_future_does_not_outlive_a_silent_car() -> None:
    world = charging()
    world.inbox.append(car(world, t=world.now + 1e6))
    world.tick()
    assert "report_refused" in codes(world)
    world.car_alive = False
    world.tick(int((n.CAR_SILENT_S + n.OPEN_WAIT_S) / TICK_S) + 20)
    assert_opened(world)
    assert "car_lost" in codes(world)


def test_a_car_report_from_the_future_does_not_shut_out_the_real_ones() -> None:
    world = charging()
    world.inbox.append(car(world, t=world.now + 1e6, i_max_a=0.0))
    world.tick(200)
    assert world.state == "CHARGING"
    assert world.i_dc > 5.0
    assert "report_refused" not in codes(world), "told while it lasts, and a second longer"


def test_an_insulation_report_from_the_future_does_not_outlive_a_silent_monitor() -> None:
    world = charging()
    world.inbox.append(InsulationReport(world.now + 1e6, 1e6, "none"))
    world.tick()
    world.insulation_ohm = None
    world.tick(int((n.INSULATION_MAX_AGE_S + n.OPEN_WAIT_S) / TICK_S) + 20)
    assert_opened(world)
    assert "insulation_lost" in codes(world)


@pytest.mark.parametrize("r_ohm", NONSENSE)
def test_an_insulation_that_is_no_number_is_a_missing_one(r_ohm: float) -> None:
    world = charging()
    world.insulation_ohm = r_ohm
    world.tick(int((n.INSULATION_MAX_AGE_S + n.OPEN_WAIT_S) / TICK_S) + 20)
    assert_opened(world)
    assert "insulation_lost" in codes(world)


@pytest.mark.parametrize(("alarm", "code"), [("alarm", "insulation_low"), ("device_fault", "insulation_device")])
def test_the_monitors_own_alarm_ends_a_session_whatever_its_number_says(alarm: str, code: str) -> None:
    world = charging()
    world.insulation_ohm = None
    for _ in range(300):
        world.inbox.append(InsulationReport(world.now, 1e6, alarm))
        world.tick()
        if code in codes(world):
            break
    assert code in codes(world)
    world.tick(int(n.OPEN_WAIT_S / TICK_S))
    assert_opened(world)


def test_the_monitors_own_alarm_fails_the_cable_check() -> None:
    world = Puppet()
    world.until("CABLE_INSULATION")
    world.insulation_ohm = None
    for _ in range(1200):
        world.inbox.append(InsulationReport(world.now, 1e6, "alarm"))
        world.tick()
        assert world.state != "PRECHARGE"
    assert "insulation_low" in codes(world)


@pytest.mark.parametrize("field", ["target_v", "v_max_v", "v_min_v", "i_max_a", "i_min_a"])
@pytest.mark.parametrize("value", [*NONSENSE, -450.0])
@pytest.mark.parametrize("power_w", [10_000.0, -10_000.0])
def test_an_impossible_wish_of_the_car_never_leaves(field: str, value: float, power_w: float) -> None:
    """Every message but the first is impossible: for half a second the last good one counts, then the car is lost."""
    world = charging(power_w)
    world.car_alive = False
    for _ in range(int((n.CAR_SILENT_S + 0.5) / TICK_S)):  # half a second, and a ramp from 25 A
        world.inbox.append(car(world, **{field: value}))
        world.tick()
        assert world.last is not None
        out = world.last.outputs.converter
        for number in (out.voltage_v, out.current_a, out.cutoff_v, out.ovp_v):
            assert math.isfinite(number)
            assert number >= 0.0
        if out.on:
            assert out.voltage_v <= 450.0
            assert out.cutoff_v >= 300.0
    if (field, value) not in (("i_max_a", -450.0), ("i_min_a", -450.0)):  # negative currents are a wish, and possible
        assert_opened(world)


@pytest.mark.parametrize("i_max_a", [-1e9, 0.0, 1e300])
@pytest.mark.parametrize("i_min_a", [-1e300, 0.0, 1e9])
def test_a_limit_of_current_never_turns_the_direction(i_max_a: float, i_min_a: float) -> None:
    world = charging()
    world.i_max_a, world.i_min_a = i_max_a, i_min_a
    for _ in range(300):
        world.tick()
        assert world.i_dc >= 0.0
    world.power_w = -10_000.0
    world.tick(300)
    assert (world.i_dc < 0.0) == (math.isfinite(i_min_a * 400.0) and i_min_a < 0.0)


@pytest.mark.parametrize(("missing", "power_w"), [("v_max_v", 10_000.0), ("v_min_v", -10_000.0)])
def test_a_voltage_limit_that_the_car_does_not_tell_is_not_the_chargers_own(missing: str, power_w: float) -> None:
    world = charging(power_w)
    world.car_alive = False
    for _ in range(200):
        world.inbox.append(car(world, **{missing: 0.0}))
        world.tick()
    assert world.state in CLOSED_STATES
    assert world.i_dc == 0.0


def test_a_self_test_result_from_before_it_was_asked_for_proves_nothing() -> None:
    world = Puppet()
    world.until("CABLE_RAMP")
    world.inbox.append(SelfTestReport(1, True, world.now))
    original = Puppet.messages
    world.messages = lambda: [m for m in original(world) if not isinstance(m, SelfTestReport) or m.t < world.now]  # type: ignore[method-assign]
    world.until("CABLE_SELF_TEST")
    world.tick(100)
    assert world.state == "CABLE_SELF_TEST"
    world.inbox.append(SelfTestReport(1, True, world.now))
    world.tick(2)
    assert world.state in ("CABLE_INSULATION", "PRECHARGE")


def test_an_older_insulation_report_does_not_replace_a_newer_one() -> None:
    world = charging()
    world.insulation_ohm = None
    world.inbox += [InsulationReport(world.now, 50_000.0, "none"), InsulationReport(world.now - 1.0, 1e6, "none")]
    world.tick(2)
    assert "insulation_low" in codes(world)


# ------------------------------------------------------------------------------------------------------------- leases
@pytest.mark.parametrize("until_s", [1e9, 1e300])
def test_a_very_long_lease_ends_after_the_longest_that_guard_grants(until_s: float) -> None:
    world = charging()
    world.renew = False
    world.inbox.append(PowerRequest("test", 10_000.0, until_s))
    told: list[str] = []
    for _ in range(int((5.0 + n.LEASE_GRACE_S + n.WIND_DOWN_S) / TICK_S) + 2):
        told += [e.code for e in world.tick().events]
    assert told.count("lease_ended") == told.count("no_lease") == 1
    assert_opened(world)
    assert world.last is not None
    assert not world.last.outputs.pilot.coils.grid


@pytest.mark.parametrize(("power_w", "until_s"), [(math.nan, 1e9), (math.inf, 1e9), (1e4, math.nan), (1e4, math.inf)])
def test_a_request_that_is_no_number_is_refused_and_changes_nothing(power_w: float, until_s: float) -> None:
    world = charging()
    before = world.guard.known.lease_until_s
    world.renew = False
    world.inbox.append(PowerRequest("liar", power_w, until_s))
    commands = world.tick()
    assert [e.code for e in commands.events] == ["request_refused"]
    assert world.guard.known.lease_until_s == before


def test_a_request_that_died_on_the_way_changes_nothing() -> None:
    world = charging()
    before = world.guard.known.lease_until_s
    world.renew = False
    world.inbox.append(PowerRequest("late", -10_000.0, world.now))
    assert world.tick().events == ()
    assert world.guard.known.asked_w == 10_000.0
    assert world.guard.known.lease_until_s == before


def test_the_same_request_twice_is_told_once() -> None:
    world = charging()
    request = PowerRequest("test", 10_000.0, world.now + 2.0)
    world.inbox += [request, request]
    assert world.tick().events == ()


messages = st.one_of(
    st.builds(PowerRequest, st.text(max_size=3), st.floats(), st.floats(990.0, 1100.0) | st.floats()),
    st.builds(CarReport, st.floats(990.0, 1100.0) | st.floats(), st.sampled_from([p.value for p in CarPhase]),
              *[st.floats() | st.floats(-500.0, 1000.0)] * 5),
    st.builds(InsulationReport, st.floats(990.0, 1100.0) | st.floats(), st.floats(),
              st.sampled_from(["none", "alarm", "x"])),
    st.builds(MeterReport, st.floats(990.0, 1100.0) | st.floats(), *[st.none() | st.floats()] * 5),
    st.builds(SelfTestReport, st.integers(0, 3), st.booleans(), st.floats()),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(messages, max_size=4), min_size=5, max_size=40), st.booleans())
def test_whatever_services_say_only_numbers_leave_and_energy_stays_a_number(
    told: list[list[ToGuard]], truth: bool
) -> None:
    world = charging()
    if not truth:
        world.car_alive = world.renew = world.meter_alive = False
        world.insulation_ohm = None
    for batch in told:
        world.inbox += batch
        out = world.tick(3).outputs.converter
        for number in (out.voltage_v, out.current_a, out.cutoff_v, out.ovp_v):
            assert math.isfinite(number)
            assert number >= 0.0
        assert out.voltage_v <= 1000.0
        assert out.current_a <= 73.3
    assert math.isfinite(world.guard.charged_wh + world.guard.discharged_wh)


def test_a_rule_whose_numbers_change_all_the_time_is_one_event_and_another_rule_is_another() -> None:
    """A charger that follows the frequency asks for another power ten times a second, for weeks."""
    world = charging()
    world.renew = False
    told: list[str] = []
    for number in range(20):
        until_s = world.now + 2.0
        rule = "7/1" if number < 10 else "8/1"
        world.inbox.append(PowerRequest("back end", -1_000.0 - number, until_s, f"at {number} mHz", rule))
        told += [e.detail for e in world.tick().events if e.code == "request"]
    assert [detail.split(" kW")[1] for detail in told] == [" at 0 mHz", " at 10 mHz"]
    for power_w in (5_000.0, 6_000.0):  # without a rule every change is told
        world.inbox.append(PowerRequest("operator", power_w, world.now + 2.0, "by hand"))
        told += [e.detail for e in world.tick().events if e.code == "request"]
    assert len(told) == 4
