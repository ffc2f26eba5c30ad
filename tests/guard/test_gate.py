"""The gate alone: whatever the decision, nothing leaves without permission."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from firmware.guard.gate import Decision, Outputs, Permission, gate
from firmware.guard.numbers import TEST_CURRENT_A, ZERO_CURRENT_A
from hal.ports import COILS_OPEN, CONVERTER_OFF, Coils, ConverterLimits, ConverterStatus, Direction, Quality, Reading

coils = st.builds(Coils, st.booleans(), st.booleans(), st.booleans(), st.booleans())
directions = st.sampled_from(Direction)
numbers = st.floats(-2000.0, 2000.0) | st.sampled_from([math.nan, math.inf, -math.inf])
decisions = st.builds(
    Decision,
    on=st.booleans(),
    test=st.booleans(),
    direction=directions,
    voltage_v=numbers,
    current_a=numbers,
    cutoff_v=numbers,
    ovp_v=numbers,
    coils=coils,
    duty_pct=st.none() | st.floats(0, 100),
    reset_pilot=st.booleans(),
)
permissions = st.builds(Permission, *[st.booleans() for _ in fields(Permission)])
currents = st.none() | st.builds(Reading, numbers, st.floats(90.0, 100.0), st.sampled_from(Quality))
converters = st.builds(
    ConverterStatus,
    direction=st.none() | directions,
    limits=st.none()
    | st.just(ConverterLimits(200.0, 1000.0, 73.3, 22_000.0))
    | st.builds(ConverterLimits, numbers, numbers, numbers, numbers, numbers),
    i_dc_a=currents,
)
ALL = Permission(lease=True, connect=True, energize=True, transfer=True, car=True, tripped=False)
RUN = Decision(
    on=True, direction=Direction.DISCHARGE, voltage_v=400.0, current_a=20.0, coils=Coils(True, True, False, True)
)
READY = ConverterStatus(
    direction=Direction.DISCHARGE,
    limits=ConverterLimits(200.0, 1000.0, 73.3, 22_000.0),
    i_dc_a=Reading(0.0, 100.0),
)


def through(decision: Decision, permission: Permission, converter: ConverterStatus, tan_phi: float = 0.0) -> Outputs:
    return gate(decision, permission, converter, 100.0, 0.5, tan_phi)


def test_with_every_permission_the_decision_passes() -> None:
    out = through(RUN, ALL, READY)
    assert out.converter.on
    assert out.converter.current_a == 20.0
    assert out.pilot.coils == RUN.coils


@pytest.mark.parametrize("missing", ["lease", "connect"])
def test_without_lease_or_grid_nothing_is_closed_and_nothing_runs(missing: str) -> None:
    out = through(RUN, replace(ALL, **{missing: False}), READY)
    assert out.converter == CONVERTER_OFF
    assert not out.pilot.coils.grid
    assert not out.pilot.coils.converter_enable


def test_a_trip_opens_everything_in_the_same_call() -> None:
    out = through(RUN, replace(ALL, tripped=True), READY)
    assert out.converter == CONVERTER_OFF
    assert out.pilot.coils == COILS_OPEN


@given(decisions, permissions, converters)
@example(RUN, Permission(), READY)
def test_power_never_leaves_without_every_permission(d: Decision, p: Permission, c: ConverterStatus) -> None:
    out = through(d, p, c)
    if out.converter.on:
        assert p.lease
        assert p.connect
        assert p.energize or p.idle
        assert not p.tripped
        assert out.pilot.coils.converter_enable
        assert out.pilot.coils.grid
    if out.converter.current_a > TEST_CURRENT_A or (
        out.converter.current_a > 0 and out.converter.direction is Direction.DISCHARGE
    ):
        assert p.transfer
        assert out.pilot.coils.dc


@given(decisions, permissions, converters)
@example(RUN, replace(ALL, energize=False, idle=True), READY)
@example(RUN, replace(ALL, energize=False, idle=True), replace(READY, i_dc_a=Reading(ZERO_CURRENT_A, 100.0)))
@example(RUN, replace(ALL, energize=False, idle=True), replace(READY, i_dc_a=Reading(0.0, 90.0)))
def test_a_ceased_converter_idles_without_any_power_and_is_off_once_current_is_seen(
    d: Decision, p: Permission, c: ConverterStatus
) -> None:
    out = through(d, p, c, 0.3).converter
    if not p.energize:
        assert out.current_a == 0.0
        assert out.tan_phi == 0.0
        gone = c.i_dc_a is not None and c.i_dc_a.fresh(100.0, 0.5) and abs(c.i_dc_a.value) < ZERO_CURRENT_A
        assert not out.on or (p.idle and gone)


def test_a_ceased_converter_does_idle_when_the_current_is_gone() -> None:
    assert through(RUN, replace(ALL, energize=False, idle=True), READY).converter.on
    assert not through(RUN, replace(ALL, energize=False), READY).converter.on


@given(decisions, permissions, converters)
def test_current_flows_only_in_the_confirmed_direction_and_within_live_limits(
    d: Decision, p: Permission, c: ConverterStatus
) -> None:
    out = through(d, p, c).converter
    assert out.current_a >= 0.0
    if out.current_a > 0.0:
        assert out.direction is c.direction
        assert c.limits is not None
        assert out.current_a <= c.limits.i_max_a


@given(decisions, permissions, converters)
def test_the_direction_changes_only_while_the_current_is_known_to_be_gone(
    d: Decision, p: Permission, c: ConverterStatus
) -> None:
    out = through(d, p, c).converter
    if out.on and c.direction is not None and out.direction is not c.direction:
        assert c.i_dc_a is not None
        assert c.i_dc_a.fresh(100.0, 0.5)
        assert abs(c.i_dc_a.value) < ZERO_CURRENT_A
        assert out.current_a == 0.0


@given(decisions, permissions, converters)
def test_no_coil_closes_without_a_lease_or_with_a_trip(d: Decision, p: Permission, c: ConverterStatus) -> None:
    closed = through(d, p, c).pilot.coils
    if p.tripped or not p.lease:
        assert closed == COILS_OPEN
    if not p.car:
        assert not closed.dc
        assert not closed.precharge


@given(decisions, permissions, converters)
def test_the_pilot_is_reset_only_with_all_coils_open(d: Decision, p: Permission, c: ConverterStatus) -> None:
    out = through(d, p, c).pilot
    if out.reset:
        assert out.coils == COILS_OPEN


@given(decisions, permissions, converters)
@example(replace(RUN, voltage_v=math.nan), ALL, READY)
@example(replace(RUN, ovp_v=math.inf), ALL, READY)
@example(replace(RUN, cutoff_v=-1.0), ALL, READY)
@example(replace(RUN, current_a=math.nan), ALL, READY)
def test_what_is_no_number_never_leaves_and_no_current_leaves_beside_it(
    d: Decision, p: Permission, c: ConverterStatus
) -> None:
    out = through(d, p, c).converter
    for number in (out.voltage_v, out.current_a, out.cutoff_v, out.ovp_v):
        assert math.isfinite(number)
        assert number >= 0.0
    if not all(math.isfinite(x) and x >= 0.0 for x in (d.voltage_v, d.current_a, d.cutoff_v, d.ovp_v)):
        assert out.current_a == 0.0


@pytest.mark.parametrize("i_max_a", [math.nan, math.inf, -5.0, 0.0])
def test_a_live_limit_that_is_no_limit_permits_nothing(i_max_a: float) -> None:
    limits = ConverterLimits(200.0, 1000.0, i_max_a, 22_000.0)
    assert through(RUN, ALL, replace(READY, limits=limits)).converter.current_a == 0.0


REACTIVE = replace(READY, limits=ConverterLimits(200.0, 1000.0, 73.3, 22_000.0, 0.75))


def test_reactive_power_passes_beside_transfer_up_to_what_the_converter_takes() -> None:
    for asked, given_ in ((0.3, 0.3), (-0.3, -0.3), (2.0, 0.75), (-2.0, -0.75), (0.0, 0.0)):
        assert through(RUN, ALL, REACTIVE, asked).converter.tan_phi == given_


@given(decisions, permissions, converters, numbers)
@example(RUN, ALL, REACTIVE, math.nan)
@example(RUN, ALL, REACTIVE, math.inf)
@example(RUN, replace(ALL, transfer=False), REACTIVE, 0.3)
@example(replace(RUN, coils=replace(RUN.coils, dc=False)), ALL, REACTIVE, 0.3)
@example(RUN, ALL, replace(READY, limits=None), 0.3)
def test_no_reactive_power_without_transfer_nor_beyond_the_converters_limit(
    d: Decision, p: Permission, c: ConverterStatus, tan_phi: float
) -> None:
    out = through(d, p, c, tan_phi)
    assert math.isfinite(out.converter.tan_phi)
    if out.converter.tan_phi != 0.0:
        assert math.isfinite(tan_phi)
        assert p.transfer
        assert out.converter.on
        assert out.pilot.coils.dc
        assert c.limits is not None
        assert abs(out.converter.tan_phi) <= c.limits.tan_phi_max
        assert out.converter.tan_phi * tan_phi > 0.0
    assert through(d, p, c, tan_phi).pilot == through(d, p, c).pilot
