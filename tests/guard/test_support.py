"""Grid support inside guard: limits at the DC side, the measured loss, reactive power, and few events."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.grid_codes import GridCodeError, load
from firmware.grid_support.capability import Capability
from firmware.grid_support.fixed import FixedVar, PowerLimitSettings
from firmware.grid_support.lfsm import LfsmSettings, LfsmSide
from firmware.grid_support.ramps import RampSettings
from firmware.grid_support.settings import SupportSettings, settings_of, switched
from firmware.guard.support import APART_S, CALM_S, LOSS_MAX_PU, LOSS_PU, Loss, Support, Supported
from firmware.protection.types import GridSample, GridState, GridStatus
from hal.ports import ConverterLimits, ConverterStatus, Reading

RATED_W = 22_000.0
CAPABILITY = Capability(RATED_W, RATED_W, RATED_W, 0.44, 0.44)
LFSM = LfsmSettings(50.0, LfsmSide(50.2, 0.05, None, "over"), LfsmSide(49.8, 0.05, None, "under"), 0.1)
IN_SERVICE = GridStatus(GridState.CONNECTED, True, True, 1.0, False, 0.0, "", "", None, ())
CEASED = IN_SERVICE._replace(may_transfer=False, state=GridState.CEASED)
OUT = IN_SERVICE._replace(may_connect=False, may_transfer=False, state=GridState.TRIPPED)


class Bench:
    """Support fed by hand: a converter with 3 % of loss that carries what it is told."""

    def __init__(self, settings: SupportSettings, *, beyond: bool = False, tan_phi_max: float = 0.75) -> None:
        self.support = Support(settings, CAPABILITY, beyond_request=beyond)
        self.now, self.f_hz, self.v = 100.0, 50.0, (1.0, 1.0, 1.0)
        self.dc_w, self.grid, self.tan_phi_max = 0.0, IN_SERVICE, tan_phi_max
        self.notes: list[tuple[float, str, bool]] = []

    def step(self, asked_w: float) -> Supported:
        self.now += 0.01
        amps = self.dc_w / 400.0
        ac_w = self.dc_w + 0.03 * abs(self.dc_w)
        status = ConverterStatus(
            online=True,
            limits=ConverterLimits(200.0, 1000.0, 73.3, RATED_W, self.tan_phi_max),
            v_dc_v=Reading(400.0, self.now),
            i_dc_a=Reading(amps, self.now),
            p_ac_w=Reading(ac_w, self.now),
        )
        self.support.hear([GridSample(self.now, self.v, self.f_hz)], [])
        result = self.support.step(self.now, self.grid, status, asked_w, asked_w, abs(amps))
        self.notes += [(n.t, n.detail, n.cleared) for n in self.support.notes]
        return result

    def run(self, seconds: float, asked_w: float) -> Supported:
        for _ in range(round(seconds * 100)):
            result = self.step(asked_w)
        return result


# ------------------------------------------------------------------------------------------------------------ the loss
@given(st.floats(-30_000.0, 30_000.0))
def test_there_and_back_is_the_same_power(w: float) -> None:
    loss = Loss(RATED_W)
    assert loss.to_dc(loss.to_ac(w)) == pytest.approx(w)
    assert abs(loss.to_ac(w)) >= abs(w) if w > 0.0 else abs(loss.to_ac(w)) <= abs(w)


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(-50e3, 50e3), st.floats(-50e3, 50e3)), max_size=50))
def test_no_measurement_makes_the_loss_negative_or_larger_than_a_loss_is(
    values: list[tuple[float, float, float]],
) -> None:
    loss, t = Loss(RATED_W), 0.0
    for dt, ac_w, dc_w in values:
        t += dt
        loss.measure(t, ac_w, dc_w)
    assert 1000.0 <= loss.to_ac(1000.0) <= 1000.0 * (1.0 + LOSS_MAX_PU)
    assert -1000.0 <= loss.to_ac(-1000.0) <= -1000.0 * (1.0 - LOSS_MAX_PU)


def test_each_direction_learns_its_own_loss_while_the_power_is_steady() -> None:
    loss = Loss(RATED_W)
    for n in range(300):
        loss.measure(0.1 * n, 10_500.0, 10_000.0)
    assert loss.to_ac(10_000.0) == pytest.approx(10_500.0, rel=0.001)
    assert loss.to_ac(-10_000.0) == pytest.approx(-10_000.0 * (1.0 - LOSS_PU))
    for n in range(300):  # a ramp: AC and DC power are not of one instant
        loss.measure(30.0 + 0.1 * n, 12_000.0, 5_000.0 + 500.0 * (n % 20))
    assert loss.to_ac(10_000.0) == pytest.approx(10_500.0, rel=0.01)


# ---------------------------------------------------------------------------------------------------------- the limits
def test_nothing_that_acts_is_no_limit_and_no_reactive_power() -> None:
    bench = Bench(SupportSettings(frequency=LFSM))
    bench.dc_w = 10_000.0
    assert bench.run(1.0, 10_000.0) == Supported((), 10_000.0, 0.0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_limit_at_the_terminals_is_told_for_the_dc_side(sign: float) -> None:
    bench = Bench(SupportSettings(limit=PowerLimitSettings(0.4, 0.3, 0.0, "clause 1")))
    bench.dc_w = 6_000.0 * sign
    (limit,) = bench.run(20.0, 20_000.0 * sign).limits
    assert (limit.source, limit.clause) == ("limit_active_power", "clause 1")
    if sign > 0.0:
        assert limit.charge_w == pytest.approx(0.4 * RATED_W / 1.03, rel=0.002)
    else:
        assert limit.discharge_w == pytest.approx(0.3 * RATED_W / 0.97, rel=0.002)


def test_a_charger_that_should_discharge_only_stops_charging_unless_the_board_says_otherwise() -> None:
    for beyond in (False, True):
        bench = Bench(SupportSettings(frequency=LFSM), beyond=beyond)
        bench.dc_w = 2_000.0
        bench.run(1.0, 2_000.0)
        bench.f_hz = 49.0
        result = bench.run(3.0, 2_000.0)
        (limit,) = result.limits
        assert limit.charge_w == 0.0
        assert limit.discharge_w == RATED_W
        if beyond:
            assert result.asked_w == pytest.approx((2_060.0 - 0.8 * 0.4 * RATED_W) / 0.97, rel=0.03)
            assert bench.support.raised_by.startswith("lfsm (under): f 49.000 Hz is below 49.8 Hz")
        else:
            assert result.asked_w == 2_000.0
            assert bench.support.raised_by == ""


def test_out_of_service_and_without_a_measurement_support_says_nothing() -> None:
    bench = Bench(SupportSettings(frequency=LFSM, reactive=FixedVar(0.4, 0.0, "q")))
    bench.dc_w, bench.f_hz = 10_000.0, 49.0
    assert bench.run(1.0, 10_000.0).limits
    bench.grid = OUT
    assert bench.run(0.1, 10_000.0) == Supported((), 10_000.0, 0.0)
    bench.grid, bench.v = IN_SERVICE, (math.nan, 1.0, 1.0)
    assert bench.run(0.1, 10_000.0) == Supported((), 10_000.0, 0.0)


# ------------------------------------------------------------------------------------------------------ reactive power
@pytest.mark.parametrize("f_hz", [50.5, 49.5])
def test_while_power_has_ceased_no_function_acts_and_none_remembers_the_zero(f_hz: float) -> None:
    """What an instrument says of the frequency while the voltage falls is no frequency."""
    bench = Bench(SupportSettings(frequency=LFSM, ramps=RampSettings(0.01, 0.01)))
    bench.run(120.0, -10_000.0)
    bench.dc_w, bench.grid, bench.f_hz, bench.v = 0.0, CEASED, f_hz, (0.3, 0.3, 0.3)
    for _ in range(50):
        assert bench.step(0.0) == ((), 0.0, 0.0)
    assert bench.support.permission is None
    bench.dc_w, bench.grid, bench.f_hz, bench.v = -10_000.0, IN_SERVICE, 50.0, (1.0, 1.0, 1.0)
    back = bench.step(-10_000.0)
    assert all(limit.discharge_w >= 10_000.0 for limit in back.limits)  # the ramp does not begin at zero again
    assert bench.notes == []


@pytest.mark.parametrize(("f_hz", "asked_w"), [(49.6, 10_000.0), (50.4, -10_000.0)])
def test_a_frequency_that_leaves_while_power_returns_moves_the_power_of_before(f_hz: float, asked_w: float) -> None:
    """Not that of the moment, which is still nothing: the charger would stay at nothing."""
    bench = Bench(SupportSettings(frequency=LFSM))
    bench.dc_w = asked_w
    bench.run(5.0, asked_w)
    bench.dc_w, bench.grid, bench.v = 0.0, CEASED, (0.3, 0.3, 0.3)
    bench.run(0.3, 0.0)
    bench.grid, bench.v, bench.f_hz = IN_SERVICE, (1.0, 1.0, 1.0), f_hz
    bench.run(0.3, asked_w)  # the converter starts
    bench.dc_w = asked_w
    permission = bench.run(5.0, asked_w) and bench.support.permission
    assert permission is not None
    # 0.2 Hz beyond the band at a droop of 5 % are 8 % of the reference's, which is rated power here.
    before_w = abs(asked_w + 0.03 * abs(asked_w))  # at the terminals
    assert abs(permission.p_w) == pytest.approx(before_w - 0.08 * RATED_W, rel=0.01)


@pytest.mark.parametrize(("asked_w", "f_hz"), [(10_000.0, 49.79), (-10_000.0, 50.21)])
def test_a_frequency_just_outside_does_not_hold_power_that_is_on_its_way(asked_w: float, f_hz: float) -> None:
    bench = Bench(SupportSettings(frequency=LFSM))
    bench.run(5.0, 0.0)
    bench.step(asked_w)
    bench.f_hz = f_hz  # 10 mHz beyond the band: 0.4 % of rated power
    bench.run(0.5, asked_w)
    for share in range(1, 51):
        bench.dc_w = asked_w * share / 50.0
        bench.step(asked_w)
    bench.run(3.0, asked_w)
    permission = bench.support.permission
    assert permission is not None
    assert abs(permission.p_w) > 0.98 * 0.97 * abs(asked_w)
    assert bench.notes == []


def test_a_frequency_without_a_voltage_to_measure_it_on_moves_nothing() -> None:
    """As protection has it: below a fifth of nominal voltage on all phases a frequency is not believed."""
    bench = Bench(SupportSettings(frequency=LFSM))
    bench.dc_w = 10_000.0
    bench.run(1.0, 10_000.0)
    bench.f_hz, bench.v = 49.0, (0.19, 0.1, 0.0)
    assert not any("lfsm" in limit.source for limit in bench.run(3.0, 10_000.0).limits)
    bench.v = (0.2, 0.1, 0.0)
    assert any("lfsm" in limit.source for limit in bench.run(3.0, 10_000.0).limits)


def test_the_frequency_that_a_step_of_the_voltage_feigns_moves_nothing_and_a_real_one_does() -> None:
    bench = Bench(SupportSettings(frequency=LFSM))
    bench.dc_w = 10_000.0
    bench.run(1.0, 10_000.0)
    bench.f_hz, bench.v = 49.0, (1.0, 0.94, 1.0)
    assert not any("lfsm" in limit.source for limit in bench.run(0.07, 10_000.0).limits)
    bench.f_hz = 50.0
    assert not any("lfsm" in limit.source for limit in bench.run(1.0, 10_000.0).limits)
    bench.f_hz, bench.v = 49.0, (1.0, 0.98, 1.0)  # as much as a tap changer does, and it stays
    assert any("lfsm" in limit.source for limit in bench.run(0.05, 10_000.0).limits)
    bench.v = (0.6, 0.6, 0.6)
    assert any("lfsm" in limit.source for limit in bench.run(0.5, 10_000.0).limits)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_reactive_power_is_a_share_of_the_power_at_the_terminals_and_leaves_room_for_the_probe(sign: float) -> None:
    bench = Bench(SupportSettings(reactive=FixedVar(0.2, 0.0, "q")))
    bench.dc_w = 10_000.0 * sign
    ac_w = 10_000.0 + 300.0 * sign
    assert bench.run(20.0, 10_000.0 * sign).tan_phi == pytest.approx(0.2 * RATED_W / ac_w, rel=0.002)
    bench.dc_w = 1_000.0 * sign
    assert bench.run(1.0, 1_000.0 * sign).tan_phi == pytest.approx(0.65)
    bench.dc_w = 100.0 * sign
    assert bench.run(1.0, 100.0 * sign).tan_phi == 0.0


def test_a_converter_without_a_power_factor_plans_none_and_keeps_its_active_power() -> None:
    bench = Bench(SupportSettings(reactive=FixedVar(0.44, 0.0, "q")), tan_phi_max=0.0)
    bench.dc_w = 21_000.0
    assert bench.run(5.0, 21_000.0) == Supported((), 21_000.0, 0.0)


# -------------------------------------------------------------------------------------------------------------- events
def test_an_event_begins_at_once_ends_after_calm_and_a_restless_frequency_floods_nobody() -> None:
    bench = Bench(SupportSettings(frequency=LFSM))
    bench.dc_w = 10_000.0
    bench.run(1.0, 10_000.0)
    bench.f_hz = 49.6
    bench.run(2.0, 10_000.0)
    assert [(detail, over) for _, detail, over in bench.notes] == [
        ("lfsm (under): f 49.600 Hz is below 49.8 Hz", False)
    ]
    for n in range(60):
        bench.f_hz = 49.6 if n % 2 else 50.0
        bench.run(1.0, 10_000.0)
    assert len(bench.notes) == 1
    bench.f_hz = 50.0
    bench.run(CALM_S - 1.0, 10_000.0)
    assert len(bench.notes) == 1
    bench.run(APART_S, 10_000.0)
    assert bench.notes[1][1:] == ("lfsm", True)


# ------------------------------------------------------------------------------------------------------------ switches
def test_a_reactive_function_that_is_switched_on_puts_the_others_out() -> None:
    code = load("ieee1547_2018_cat3_normB", nominal_v=230.0)
    assert dict(settings_of(code, 22_000.0).functions()).keys() == {"freq_droop", "const_pf"}
    on = settings_of(switched(code, ["volt_var", "volt_watt"]), 22_000.0)
    assert dict(on.functions()).keys() == {"freq_droop", "volt_var", "volt_watt"}
    assert switched(code, ["volt_var"]).profile_hash != code.profile_hash
    assert switched(code, []) == code


@pytest.mark.parametrize(
    ("names", "said"),
    [(["volt_warp"], "has no function volt_warp; it can switch on: "), (["volt_var", "const_q"], "only one may be")],
)
def test_a_function_that_is_not_there_is_refused_with_those_that_are(names: list[str], said: str) -> None:
    with pytest.raises(GridCodeError, match=said):
        switched(load("ieee1547_2018_cat3_normB", nominal_v=230.0), names)
