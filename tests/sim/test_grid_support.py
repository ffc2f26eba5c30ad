"""Grid support in the whole charger: the plant's terminals against the curves of the code, with their times.

What is measured is measured at the plant. The reference values are worked out here from the curve or the droop and the
voltage or frequency that the plant had, not by the code under test.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from firmware.grid_codes import load
from firmware.grid_support.capability import Capability, Priority
from firmware.grid_support.fixed import FixedPf, FixedVar, PowerLimitSettings
from firmware.grid_support.freq_droop import FreqDroopSettings
from firmware.grid_support.freq_response_au import FreqResponseAuSettings
from firmware.grid_support.lfsm import LfsmSettings
from firmware.grid_support.ramps import RampSettings
from firmware.grid_support.settings import SupportSettings, settings_of, switched
from firmware.guard.support import Support
from hil.plant.grid_source import Segment, toledo
from hil.sim import Sim
from tests.sim.rig import VDE, dc_w, events, faults, snap, transfer

T = TypeVar("T")
RATED_W = 22_000.0
NORM_B = load("ieee1547_2018_cat3_normB", nominal_v=230.0)
AU = load("as4777_2_2020_au_a", nominal_v=230.0, allow_unverified=True)


def lfsm_at_60_hz() -> SupportSettings:
    """VDE-AR-N 4105's LFSM moved by 10 Hz: the rig under IEEE 1547 is in full service after seconds, VDE's after ten
    minutes, and its frequency range is wide enough."""
    lfsm = settings_of(load(VDE, nominal_v=230.0), 22_000.0).frequency
    assert isinstance(lfsm, LfsmSettings)
    assert lfsm.over is not None
    assert lfsm.under is not None
    return SupportSettings(
        frequency=replace(
            lfsm,
            over=replace(lfsm.over, f_start_hz=lfsm.over.f_start_hz + 10.0, f_stop_hz=None),
            under=replace(lfsm.under, f_start_hz=lfsm.under.f_start_hz + 10.0, f_stop_hz=None),
        )
    )


def supported(sim: Sim, settings: SupportSettings, *, q_pu: float = 0.44, beyond: bool = False) -> Sim:
    """The rig with these functions in force from now on."""
    capability = Capability(RATED_W, RATED_W, RATED_W, q_pu, q_pu)
    sim.guard.support = Support(settings, capability, beyond_request=beyond)
    sim.run(sim.now + 0.1)
    return sim


def v_pu(sim: Sim) -> float:
    return (sim.link.pcc_va_v + sim.link.pcc_vb_v + sim.link.pcc_vc_v) / 3.0 / 230.0


def mean_pq(sim: Sim) -> tuple[float, float]:
    """P and Q at the terminals, mean of 4 s: the probe of anti-islanding is no part of what support asks for."""
    values = [x for _, x in course(sim, 4.0, lambda: complex(sim.link.ac_p_w, sim.link.ac_q_var))]
    mean = sum(values) / len(values)
    return mean.real, mean.imag


def planned_var(sim: Sim) -> float:
    permission = sim.guard.support.permission
    return math.nan if permission is None else permission.q_var


def set_pu(sim: Sim, pu: float) -> None:
    sim.source.set_voltage(230.0 * pu)  # type: ignore[attr-defined]


def set_hz(sim: Sim, hz: float) -> None:
    sim.source.set_frequency(hz)  # type: ignore[attr-defined]


def course(sim: Sim, for_s: float, value: Callable[[], T], every_s: float = 0.05) -> list[tuple[float, T]]:
    start, found = sim.now, []
    while sim.now < start + for_s - 1e-9:
        sim.run(sim.now + every_s)
        found.append((sim.now - start, value()))
    return found


def _pairs(sim: Sim, for_s: float, value: Callable[[], tuple[float, float]]) -> list[tuple[float, tuple[float, float]]]:
    start, found = sim.now, []
    while sim.now < start + for_s:
        sim.run(sim.now + 0.5)
        found.append((sim.now - start, value()))
    return found


def time_to(share: float, values: list[tuple[float, float]], begin: float) -> float:
    """When `share` of the way from `begin` to the last value was made for good."""
    end = values[-1][1]
    return next(t for t, x in reversed(values) if abs(x - begin) < share * abs(end - begin))


# ------------------------------------------------------------------------------------------------------ reactive power
def test_a_charger_as_it_comes_makes_no_reactive_power_and_says_what_is_in_force() -> None:
    sim = transfer(10_000.0)
    assert abs(planned_var(sim)) < 20.0
    (told,) = events(sim, "grid_support_functions")
    assert told.detail.startswith("freq_droop (IEEE 1547-2018")
    assert "const_pf" in told.detail


@pytest.mark.slow
@pytest.mark.parametrize("power_w", [10_000.0, -10_000.0])
@pytest.mark.parametrize("pu", [0.95, 1.05])
def test_volt_var_moves_the_measured_reactive_power_along_the_curve_in_its_time(power_w: float, pu: float) -> None:
    """IEEE 1547-2018 Category B, Table 8: 0.44 pu from 0.98 to 0.92 and from 1.02 to 1.08 pu, OLRT 5 s."""
    sim = supported(transfer(power_w), settings_of(switched(NORM_B, ["volt_var"]), 22_000.0))
    begin = sim.link.ac_q_var
    set_pu(sim, pu)
    both = course(sim, 20.0, lambda: complex(sim.link.ac_q_var, v_pu(sim)))
    # The probe of anti-islanding adds and takes 5 % of the active power, five times a second: means of a second.
    values = [
        (t, sum(x.real for _, x in both[max(0, k - 19) : k + 1]) / min(k + 1, 20)) for k, (t, x) in enumerate(both)
    ]
    late = [x for t, x in both if t > 16.0]
    q_var, u = (sum(late) / len(late)).real, (sum(late) / len(late)).imag
    curve_pu = 0.44 * ((u - 1.02) / 0.06 if u > 1.02 else (u - 0.98) / 0.06 if u < 0.98 else 0.0)
    assert abs(curve_pu) > 0.1
    assert q_var == pytest.approx(curve_pu * RATED_W, abs=0.02 * RATED_W)  # the code allows 5 %
    assert 0.7 * 5.0 < time_to(0.9, [*values[:-1], (20.0, q_var)], begin) < 1.3 * 5.0  # the mean is half a second late
    assert dc_w(sim) == pytest.approx(power_w, rel=0.03)
    assert snap(sim).reactive_by.startswith("volt_var (IEEE 1547-2018")
    assert snap(sim).q_ac_var == pytest.approx(q_var, abs=0.1 * abs(power_w))
    assert faults(sim) == []


@pytest.mark.parametrize("power_w", [10_000.0, -10_000.0])
@pytest.mark.parametrize("absorbing", [True, False])
def test_a_fixed_power_factor_is_at_the_terminals_in_all_four_quadrants(power_w: float, absorbing: bool) -> None:
    pf = FixedPf(0.9, absorbing, 1.0, "test")
    sim = supported(transfer(power_w), SupportSettings(reactive=pf))
    sim.run(sim.now + 4.0)
    p, q = mean_pq(sim)
    assert abs(p) / math.hypot(p, q) == pytest.approx(0.9, abs=0.01)
    assert (q > 0.0) is absorbing
    assert p * power_w > 0.0


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_reactive_power_comes_first_inside_the_circle_or_active_power_does(sign: float) -> None:
    """21 kW and 0.44 pu: more than 22 kVA together. 9.68 kvar leave 19.76 kW."""
    q = FixedVar(0.44, 1.0, "test")
    sim = supported(transfer(21_000.0 * sign), SupportSettings(reactive=q, priority=Priority.REACTIVE))
    sim.run(sim.now + 8.0)
    p, q_var = mean_pq(sim)
    assert abs(p) == pytest.approx(math.sqrt(22e3**2 - 9680.0**2), rel=0.015)
    assert q_var == pytest.approx(9680.0, rel=0.03)
    assert "capability" in snap(sim).limited_by
    sim = supported(transfer(21_000.0 * sign), SupportSettings(reactive=q, priority=Priority.ACTIVE))
    sim.run(sim.now + 8.0)
    p, q_var = mean_pq(sim)
    assert dc_w(sim) == pytest.approx(21_000.0 * sign, rel=0.02)
    assert q_var == pytest.approx(math.sqrt(22e3**2 - p**2), rel=0.1)


@pytest.mark.slow
def test_without_active_power_there_is_no_reactive_power_to_be_had() -> None:
    sim = supported(transfer(), SupportSettings(reactive=FixedVar(0.4, 1.0, "test")))
    sim.run(sim.now + 3.0)
    assert abs(sim.link.ac_q_var) < 50.0
    assert snap(sim).tan_phi == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(("power_w", "ratio", "pu"), [(-10_000.0, 3.0, 1.03), (10_000.0, 20.0, 0.93)])
def test_volt_var_comes_to_rest_on_a_weak_grid(power_w: float, ratio: float, pu: float) -> None:
    """Short-circuit ratio 3, X/R 5: the reactive power moves the voltage that it answers to. Charging, the plant's own
    converter swings at a ratio of 10 already, with or without support: it is a constant-power load."""
    sim = transfer(power_w)
    z = 3.0 * 230.0**2 / RATED_W / ratio
    x = z * 5.0 / math.sqrt(26.0)
    ac = sim.plant.ac
    ac.params = replace(ac.params, grid_ohm=x / 5.0, grid_h=x / (2.0 * math.pi * 60.0))
    ac._matrices.clear()
    supported(sim, settings_of(switched(NORM_B, ["volt_var"]), 22_000.0))
    set_pu(sim, pu)
    sim.run(sim.now + 40.0)
    assert abs(sim.link.ac_q_var) > 0.02 * RATED_W
    # What volt-var plans: at the terminals the probe of anti-islanding adds its own 5 % of the active power.
    values = [q for _, q in course(sim, 30.0, lambda: planned_var(sim), 0.1)]
    late = [abs(b - a) for a, b in itertools.pairwise(values)]
    assert max(values) - min(values) < 0.03 * RATED_W, (min(values), max(values))
    assert sum(step > 0.005 * RATED_W for step in late) <= 3  # one change in ten seconds at most
    assert faults(sim) == []


# ------------------------------------------------------------------------------------------------- active power: volts
def test_volt_watt_limits_the_discharge_at_the_terminals_and_says_so() -> None:
    """IEEE 1547-2018 Category B, Table 10: 1 pu at 1.06, 0 at 1.1 pu, OLRT 10 s (1 s here)."""
    settings = settings_of(switched(NORM_B, ["volt_watt"]), 22_000.0)
    assert settings.volt_watt is not None
    settings = replace(settings, volt_watt=replace(settings.volt_watt, olrt_s=1.0))
    sim = supported(transfer(-15_000.0), settings)
    set_pu(sim, 1.085)
    sim.run(sim.now + 10.0)
    limit_w = RATED_W * (1.1 - v_pu(sim)) / 0.04
    assert limit_w < 9_000.0
    assert -sim.link.ac_p_w == pytest.approx(limit_w, abs=0.01 * RATED_W)
    said = snap(sim)
    assert "by volt_watt (IEEE 1547-2018" in said.why
    assert "V 1.0" in said.why
    assert [x.source for x in said.limits if x.clause] == ["volt_watt"]
    assert len(events(sim, "grid_support")) == 1
    set_pu(sim, 1.0)
    sim.run(sim.now + 8.0)
    assert dc_w(sim) == pytest.approx(-15_000.0, rel=0.03)


# --------------------------------------------------------------------------------------------- active power: frequency
@pytest.mark.slow
@pytest.mark.parametrize(("power_w", "hz"), [(-15_000.0, 60.8), (15_000.0, 59.2)])
def test_lfsm_takes_power_away_on_the_side_that_hurts(power_w: float, hz: float) -> None:
    """VDE-AR-N 4105: 40 % of the rated power a hertz from 0.2 Hz beside the nominal frequency on."""
    sim = supported(transfer(power_w), lfsm_at_60_hz())
    before_w = sim.link.ac_p_w
    set_hz(sim, hz)
    sim.run(sim.now + 8.0)
    change_w = 0.6 * 0.4 * RATED_W * (1.0 if hz > 60.0 else -1.0)
    assert sim.link.ac_p_w == pytest.approx(before_w + change_w, abs=0.01 * RATED_W)
    assert "by lfsm (" in snap(sim).limited_by
    assert len(events(sim, "grid_support")) == 1
    set_hz(sim, 60.0)
    sim.run(sim.now + 12.0)
    assert dc_w(sim) == pytest.approx(power_w, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("power_w", "hz"), [(5_000.0, 58.7), (-5_000.0, 61.1)])
def test_a_function_takes_power_away_down_to_zero_and_never_turns_it_round_by_itself(power_w: float, hz: float) -> None:
    sim = supported(transfer(power_w), lfsm_at_60_hz())
    set_hz(sim, hz)
    lowest = min(x * math.copysign(1.0, power_w) for _, x in course(sim, 10.0, lambda: sim.link.cable_i_a))
    assert lowest > -0.5
    assert abs(sim.link.cable_i_a) < 0.5
    assert sim.state.startswith("transfer")


@pytest.mark.slow
@pytest.mark.parametrize(("power_w", "hz"), [(5_000.0, 58.7), (-5_000.0, 61.1)])
def test_with_the_boards_leave_it_turns_round_while_somebody_holds_a_lease(power_w: float, hz: float) -> None:
    sim = supported(transfer(power_w), lfsm_at_60_hz(), beyond=True)
    before_w = sim.link.ac_p_w
    set_hz(sim, hz)
    sim.run(sim.now + 12.0)
    change_w = 0.4 * RATED_W * (hz - 60.2 if hz > 60.2 else hz - 59.8)
    assert sim.link.ac_p_w == pytest.approx(before_w + change_w, abs=0.015 * RATED_W)
    assert sim.link.ac_p_w * power_w < 0.0
    assert "asked for by lfsm (" in snap(sim).limited_by
    sim.wish.alive = False  # nobody holds a lease any more: nothing is asked for, by nobody
    sim.run(sim.now + 6.0)
    assert abs(sim.link.cable_i_a) < 0.5


def test_a_car_that_permits_no_discharge_is_not_discharged_by_a_function() -> None:
    sim = supported(transfer(5_000.0), lfsm_at_60_hz(), beyond=True)
    sim.car.handle({"v2g": False})
    set_hz(sim, 58.7)
    lowest = min(x for _, x in course(sim, 8.0, lambda: sim.link.cable_i_a))
    assert lowest > -0.5
    assert abs(sim.link.cable_i_a) < 0.5


@pytest.mark.slow
def test_the_iberian_morning_moves_a_droop_as_its_formula_says_and_floods_nobody() -> None:
    """Five minutes before the collapse, discharging, IEEE 1547's droop with its narrowest band (17 mHz) at 50 Hz: the
    frequency is up to 42 mHz too high."""
    sim = transfer(-5_000.0, VDE)
    droop = FreqDroopSettings(50.0, 0.017, 0.017, 0.05, 0.05, 1.0, "test")
    supported(sim, SupportSettings(frequency=droop))
    sim.run(sim.now + 10.0)  # VDE's ramp after entering service is slow
    before_w = sim.link.ac_p_w
    source = toledo(start_s=900.0 - sim.now)
    sim.source = source  # type: ignore[assignment]
    sim.plant.set_source(source)
    seen = [(f, p) for _, (f, p) in _pairs(sim, 100.0, lambda: (source.course(sim.now)[1], sim.link.ac_p_w))]
    asked_w = [max(0.0, f - 50.017) / (50.0 * 0.05) * RATED_W for f, _ in seen]
    assert max(asked_w) > 200.0
    # The lag moves nothing in the mean; the reference is measured anew at each excursion (0.1 % of the rating).
    assert sum(p for _, p in seen) / len(seen) - before_w == pytest.approx(sum(asked_w) / len(asked_w), abs=60.0)
    assert len(events(sim, "grid_support")) <= 2
    assert faults(sim) == []


@pytest.mark.slow
def test_in_the_iberian_collapse_a_charging_car_gives_way_before_protection_acts() -> None:
    sim = transfer(5_000.0, VDE)
    source = toledo(start_s=1185.0 - sim.now)
    sim.source = source  # type: ignore[assignment]
    sim.plant.set_source(source)
    start = sim.now
    sim.until(lambda: snap(sim).grid_state == "tripped", 20.0)
    told = next(e for e in sim.services.events if e.code == "grid_support")
    tripped = next(e for e in sim.services.events if e.code == "grid_trip" and e.t > start)
    assert "lfsm" in told.detail
    assert "49." in told.detail
    assert told.t < tripped.t - 1.0
    assert sim.guard.charged_wh > 0.0


@pytest.mark.slow
@pytest.mark.parametrize(("power_w", "hz"), [(10_000.0, 59.5), (-10_000.0, 60.4)])
def test_the_australian_response_gives_way_along_its_line(power_w: float, hz: float) -> None:
    """AS/NZS 4777.2:2020, region A, moved by 10 Hz: in straight lines from the edge of the band to zero."""
    s = settings_of(AU, 22_000.0).frequency
    assert isinstance(s, FreqResponseAuSettings)
    names = ("f_pmax_hz", "f_stop_charge_hz", "f_llco_hz", "f_ulco_hz", "f_transition_hz", "f_pmin_hz")
    s = replace(s, **{name: getattr(s, name) + 10.0 for name in names})
    sim = supported(transfer(power_w), SupportSettings(frequency=s))
    before_w = sim.link.ac_p_w
    set_hz(sim, hz)
    sim.run(sim.now + 12.0)
    edge, end = (s.f_llco_hz, s.f_stop_charge_hz) if power_w > 0 else (s.f_ulco_hz, s.f_transition_hz)
    share = max(0.0, 1.0 - (hz - edge) / (end - edge))
    assert share < 0.9
    assert sim.link.ac_p_w == pytest.approx(before_w * share, abs=0.012 * RATED_W)


# -------------------------------------------------------------------------------------------------------------- ramps
@pytest.mark.slow
def test_after_entering_service_power_rises_with_the_soft_start() -> None:
    sim = transfer()
    supported(sim, SupportSettings(ramps=RampSettings(None, 0.05)))
    sim.wish.power_w = 10_000.0
    values = course(sim, 12.0, lambda: sim.link.ac_p_w)
    at = {share: next(t for t, p in values if p > share * 10_000.0) for share in (0.2, 0.8)}
    assert (0.6 * 10_000.0) / (at[0.8] - at[0.2]) == pytest.approx(0.05 * RATED_W, rel=0.1)
    assert dc_w(sim) == pytest.approx(10_000.0, rel=0.03)


@pytest.mark.parametrize("pu", [0.15, 0.3, 0.45])
@pytest.mark.parametrize("power_w", [15_000.0, -15_000.0])
def test_a_sag_that_is_ridden_through_is_no_event_of_frequency_and_the_power_returns(power_w: float, pu: float) -> None:
    """The instruments' frequency is wrong by half a hertz while the voltage falls and while it returns."""
    sim = transfer(power_w)
    before_w, start = sim.link.ac_p_w, sim.now
    sim.source.schedule([Segment(0.2, 230.0 * pu), Segment(5.0, 230.0)])  # type: ignore[attr-defined]
    sim.run(start + 0.15)
    assert snap(sim).grid_state == "ceased"
    sim.run(start + 2.0)
    told = [e for e in sim.services.events if e.t > start and e.code in ("grid_support", "grid_trip")]
    assert told == []
    assert sim.link.ac_p_w == pytest.approx(before_w, rel=0.05)


# --------------------------------------------------------------------------------------------------------------- loss
@pytest.mark.slow
@pytest.mark.parametrize("power_w", [18_000.0, -18_000.0])
def test_a_limit_holds_at_the_terminals_not_at_the_dc_side(power_w: float) -> None:
    settings = SupportSettings(limit=PowerLimitSettings(0.4, 0.4, 0.5, "test"))
    sim = supported(transfer(power_w), settings)
    sim.run(sim.now + 10.0)
    assert abs(sim.link.ac_p_w) == pytest.approx(0.4 * RATED_W, rel=0.01)
    assert "limit_active_power" in snap(sim).limited_by


def test_a_segment_of_low_voltage_does_not_leave_the_reactive_power_behind() -> None:
    sim = supported(transfer(10_000.0), SupportSettings(reactive=FixedPf(0.95, True, 0.5, "test")))
    sim.run(sim.now + 2.0)
    sim.source.schedule([Segment(0.3, 230.0 * 0.3), Segment(1.0, 230.0)])  # type: ignore[attr-defined]
    sim.run(sim.now + 0.25)
    assert not sim.link.conv_on
    assert sim.link.conv_tan_phi == 0.0
    sim.run(sim.now + 6.0)
    p, q_var = mean_pq(sim)
    assert q_var == pytest.approx(math.sqrt(1 / 0.95**2 - 1) * p, rel=0.1)
