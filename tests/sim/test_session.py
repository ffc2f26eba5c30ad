"""A charging session from plug to unplug, seen at the plant: order of the steps, currents, voltages, contactors."""

from __future__ import annotations

import itertools

import pytest

from firmware.guard import numbers as n
from hal.can import infy_codec as codec
from hil.sim import Sim
from tests.sim.rig import (
    CURRENT,
    MODE,
    MODE_READ,
    ON_OFF,
    STILL_A,
    Scope,
    answered,
    ask,
    dc_w,
    duplicate,
    events,
    faults,
    first,
    idle,
    sent,
    snap,
    states,
    transfer,
)

CABLE_CHECK = [
    "cable check: discharge",
    "cable check: close contactors",
    "cable check: ramp test",
    "cable check: insulation monitor self-test",
    "cable check: insulation",
]
ENDING = ["ramp down", "open contactors", "weld check"]


def openings(scope: Scope) -> list[float]:
    """Current through the DC contactor (A) just before each time it opened."""
    pairs = itertools.pairwise(scope.samples)
    return [abs(before.cable_a) for before, after in pairs if before.k_dc and not after.k_dc]


@pytest.fixture(scope="module")
def whole() -> tuple[Sim, Scope]:
    """Plug, charge 10 kW for 2 s, the car stops, unplug: recorded from beginning to end."""
    sim = idle()
    sim.services.events.clear()
    ask(sim, 10_000.0)
    sim.car.plug_in()
    scope = Scope(sim, 60.0, lambda s: abs(dc_w(sim) - 10_000.0) < 300.0)
    scope.samples += Scope(sim, 2.0).samples
    sim.car.request_stop()
    scope.samples += Scope(sim, 5.0, lambda s: sim.state == "finished").samples
    sim.car.unplug()
    scope.samples += Scope(sim, 1.0).samples
    return sim, scope


# --------------------------------------------------------------------------------------------------- a whole session
def test_a_session_goes_through_every_step_in_order_and_back_to_idle(whole: tuple[Sim, Scope]) -> None:
    sim, _ = whole
    transfer_part = ["precharge", "transfer: holding", "transfer: charging"]
    assert states(sim) == ["connected", *CABLE_CHECK, *transfer_part, *ENDING, "finished", "idle"]
    assert not [e for e in sim.services.events if e.code.startswith(("converter", "contactor", "insulation", "grid"))]


def test_the_car_gets_what_was_asked_for_and_the_snapshot_says_what_the_plant_has(whole: tuple[Sim, Scope]) -> None:
    _, scope = whole
    stop = next(k for k, s in enumerate(scope.samples) if k > 5000 and s.cable_a < 1.0 < scope.samples[k - 1].cable_a)
    steady = scope.samples[stop - 1500]
    assert steady.cable_a * steady.v_dc_v == pytest.approx(10_000.0, rel=0.02)
    sim = transfer(10_000.0)
    assert snap(sim).measured_w == pytest.approx(dc_w(sim), rel=0.02)
    assert snap(sim).p_ac_w == pytest.approx(sim.link.ac_p_w, rel=0.02)


def test_the_contactors_open_and_the_car_is_released_without_current(whole: tuple[Sim, Scope]) -> None:
    sim, scope = whole
    assert openings(scope)
    assert max(openings(scope)) < STILL_A  # asked for: below 5 A; a car that ends in peace gets none at all
    assert abs(sim.car.opened_at_a) < 1.0


def test_no_current_flows_before_the_insulation_is_proven(whole: tuple[Sim, Scope]) -> None:
    sim, scope = whole
    proven = first(sim, "state").t
    proven = next(e.t for e in events(sim, "state") if e.detail == "precharge")
    before = [s for s in scope.samples if s.t < proven]
    assert max(abs(s.batt_a) for s in before) == 0.0
    assert not any(s.k_ev for s in before)


def test_the_cable_is_tested_at_the_voltage_of_formula_cc_1_and_dead_before_precharge(
    whole: tuple[Sim, Scope],
) -> None:
    """min(500, car's maximum + 50): IEC 61851-23:2023 CC.4.1.2 as cited by EVerest."""
    sim, scope = whole
    at = {e.detail: e.t for e in events(sim, "state")}
    tested = [s.v_dc_v for s in scope.samples if at["cable check: insulation"] < s.t < at["precharge"]]
    assert min(tested) == pytest.approx(sim.car.v_max_v + 50.0, abs=2.0)
    assert max(tested) == pytest.approx(sim.car.v_max_v + 50.0, abs=2.0)
    matching = [s.v_dc_v for s in scope.samples if at["precharge"] < s.t < at["transfer: holding"]]
    assert min(matching) < n.SAFE_V


def test_the_car_closes_its_contactor_within_20_v_of_its_battery(whole: tuple[Sim, Scope]) -> None:
    _, scope = whole
    before = next(a for a, b in itertools.pairwise(scope.samples) if b.k_ev and not a.k_ev)
    assert abs(before.v_dc_v - before.batt_v) < 20.0


def test_precharge_and_contact_of_the_car_never_draw_more_than_the_test_current(whole: tuple[Sim, Scope]) -> None:
    sim, scope = whole
    holding = next(e.t for e in events(sim, "state") if e.detail == "transfer: holding")
    assert max(s.dc_a for s in scope.samples if s.t < holding) < n.TEST_CURRENT_A + 0.1


def test_the_current_rises_by_the_ramp_and_falls_before_opening(whole: tuple[Sim, Scope]) -> None:
    sim, scope = whole
    at = {e.detail: e.t for e in events(sim, "state")}
    rising = [s for s in scope.samples if at["transfer: charging"] + 0.5 < s.t and s.dc_a < 26.0][:400]
    slope = (rising[-1].dc_a - rising[0].dc_a) / (rising[-1].t - rising[0].t)
    assert slope == pytest.approx(n.RAMP_UP_A_PER_S, rel=0.1)
    fall = at["open contactors"] - at["ramp down"]
    assert fall < 27.3 / n.RAMP_DOWN_A_PER_S + 0.1
    assert scope.first(lambda s: not s.k_dc, at["ramp down"]) < at["ramp down"] + n.OPEN_WAIT_S


def test_a_discharging_session_feeds_the_grid_what_was_asked(whole: tuple[Sim, Scope]) -> None:
    sim = transfer(-10_000.0)
    assert sim.state == "transfer: discharging"
    assert dc_w(sim) == pytest.approx(-10_000.0, rel=0.02)
    assert -10_000.0 < sim.link.ac_p_w < -9_000.0  # the losses stay here
    assert sim.link.batt_i_a < -20.0
    t0 = sim.now
    sim.car.request_stop()
    scope = Scope(sim, 5.0, lambda s: sim.state == "finished")
    assert states(sim, t0) == [*ENDING, "finished"]
    assert max(openings(scope)) < STILL_A
    assert first(sim, "session_ended", t0).detail == "car"


@pytest.mark.slow
def test_a_second_session_starts_with_the_same_plug(whole: tuple[Sim, Scope]) -> None:
    sim = transfer(5_000.0)
    sim.car.request_stop()
    sim.until(lambda: sim.state == "connected", 6.0)
    t0 = sim.now + 0.01
    sim.car.plug_in()
    sim.until(lambda: sim.state == "transfer: charging", 30.0)
    assert states(sim, t0)[:5] == CABLE_CHECK


# ------------------------------------------------------------------------------------------------------ through zero
def reversal(sim: Sim, power_w: float) -> float:
    """Ask for the other direction and check what is true of every reversal. Returns the time without current."""
    t0 = sim.now
    was = 1.0 if sim.link.cable_i_a > 0.0 else -1.0
    ask(sim, power_w)
    scope = Scope(sim, 6.0, lambda s: abs(dc_w(sim) - power_w) < 500.0)
    assert abs(dc_w(sim) - power_w) < 500.0, sim.state
    last_old = max(s.t for s in scope.samples if was * s.dc_a > STILL_A)
    first_new = scope.first(lambda s: was * s.dc_a < -STILL_A)
    assert last_old < first_new
    assert all(abs(s.dc_a) <= STILL_A for s in scope.samples if last_old < s.t < first_new)

    mode = codec.MODE_INVERTER if power_w < 0.0 else codec.MODE_RECTIFIER
    writes = sent(sim, MODE, t0)
    assert writes
    assert {value for _, value in writes} == {mode}
    assert writes[0][0] > last_old - 0.005  # nothing flows any more when the mode is written
    confirmed = next(t for t, v in answered(sim, MODE_READ, writes[-1][0]) if v == float(power_w < 0.0))
    ons = [t for t, v in sent(sim, ON_OFF, writes[0][0]) if v == codec.ON]
    amps = [t for t, v in sent(sim, CURRENT, writes[0][0]) if v > 0.0]
    assert min(ons) > confirmed
    assert min(amps) > confirmed
    assert not [v for t, v in sent(sim, CURRENT, last_old + 0.02) if t <= confirmed and v > 0.0]
    assert not [e for e in sim.services.events if e.t > t0 and e.code not in ("request", "state")]
    assert states(sim, t0)[:2] == ["transfer: through zero", "transfer: holding"]
    return first_new - last_old


def test_charge_to_discharge_and_back_passes_through_zero_and_confirms_each_mode_before_current() -> None:
    sim = transfer(10_000.0)
    there = reversal(sim, -10_000.0)
    back = reversal(sim, 10_000.0)
    assert 0.1 < there < 1.0
    assert 0.1 < back < 1.0


def test_a_request_that_changes_sign_every_100_ms_never_makes_current_of_both_signs_meet() -> None:
    sim = transfer(3_000.0)
    samples = []
    for k in range(60):
        ask(sim, 3_000.0 if k % 2 else -3_000.0)
        samples += Scope(sim, 0.1).samples
    assert not faults(sim)
    signs = [(s.t, s.dc_a > 0.0) for s in samples if abs(s.dc_a) > STILL_A]
    for (t1, a), (t2, b) in itertools.pairwise(signs):
        assert a == b or t2 - t1 > 0.1


# ------------------------------------------------------------------------------------------------------------ limits
def limited(sim: Sim) -> str:
    return snap(sim).limited_by


def test_a_car_that_lowers_its_limit_gets_less_within_half_a_second_and_the_screen_says_why() -> None:
    sim = transfer(10_000.0)
    sim.car.handle({"limits": [10.0, 10.0]})
    scope = Scope(sim, 2.0)
    t0 = scope.samples[0].t
    assert scope.first(lambda s: s.batt_a < 10.1) - t0 < 0.5
    assert scope.samples[-1].batt_a == pytest.approx(10.0, abs=0.3)
    assert "limited to 3.6 kW by car: its own limits" in limited(sim)
    assert sim.car.state.name == "CHARGING"
    sim.car.handle({"limits": [125.0, 80.0]})
    sim.run(sim.now + 2.0)
    assert dc_w(sim) == pytest.approx(10_000.0, rel=0.02)
    assert not limited(sim)


def test_the_rating_limits_what_was_asked_for() -> None:
    sim = transfer(10_000.0)
    ask(sim, 40_000.0)
    sim.run(sim.now + 4.0)
    assert dc_w(sim) == pytest.approx(22_000.0, rel=0.02)
    assert "limited to 22.0 kW by rating" in limited(sim)


@pytest.mark.parametrize("power_w", [8_000.0, -8_000.0])
def test_a_limit_of_zero_stops_the_power_and_never_turns_it_round(power_w: float) -> None:
    sim = transfer(power_w)
    sim.car.handle({"limits": [0.0, 80.0] if power_w > 0.0 else [125.0, 0.0]})
    scope = Scope(sim, 3.0)
    sign = 1.0 if power_w > 0.0 else -1.0
    assert min(sign * s.dc_a for s in scope.samples) > -STILL_A
    assert abs(scope.samples[-1].dc_a) < STILL_A
    assert sim.state == "transfer: holding"
    assert "limited to 0.0 kW by car" in limited(sim)
    assert not sent(sim, MODE, scope.samples[0].t)


def test_a_car_that_permits_no_discharge_is_not_discharged() -> None:
    sim = duplicate(transfer())
    sim.car.v2g = False
    ask(sim, -5_000.0)
    scope = Scope(sim, 3.0)
    assert max(abs(s.dc_a) for s in scope.samples) < STILL_A
    assert snap(sim).permitted_w == 0.0
    assert "by car" in limited(sim)


@pytest.mark.slow
def test_the_enter_service_ramp_limits_power_and_says_so() -> None:
    sim = transfer(0.0, enter_service__ramp_duration_s=60.0)
    ask(sim, 20_000.0)
    scope = Scope(sim, 4.0)
    entered = first(sim, "grid_enter_service").t
    for s in scope.samples[2500::100]:
        ramp_w = 22_000.0 * (s.t - entered) / 60.0
        assert s.v_dc_v * s.dc_a == pytest.approx(ramp_w, rel=0.03)
    assert "by grid: ramp after entering service (IEEE 1547-2018)" in limited(sim)
    assert dc_w(sim) > 5_000.0


# ---------------------------------------------------------------------------------------------- leases, the operator
def wound_down(sim: Sim, scope: Scope, begin_s: float) -> None:
    """Ramped (never cut), opened without current, within the bound."""
    down = [s for s in scope.samples if s.t >= begin_s]
    steps = [abs(b.dc_a - a.dc_a) for a, b in itertools.pairwise(down)]
    assert max(steps) < 3.0, "cut, not ramped"  # a tick of the ramp is 1 A, two may fall together
    assert max(openings(scope)) < STILL_A
    opened = scope.first(lambda s: not s.k_dc)
    assert opened - begin_s < n.WIND_DOWN_S
    assert scope.first(lambda s: not s.k_grid) - begin_s < n.WIND_DOWN_S


@pytest.mark.slow
@pytest.mark.parametrize("power_w", [10_000.0, -10_000.0])
def test_a_lease_that_ends_by_itself_ramps_to_zero_and_opens_the_contactors(power_w: float) -> None:
    sim = transfer(power_w)
    t0 = sim.now
    sim.wish.alive = False
    scope = Scope(sim, 10.0)
    ended = first(sim, "lease_ended", t0).t
    assert ended - t0 <= sim.wish.lease_s + 0.01
    assert all(abs(s.dc_a) > 20.0 for s in scope.samples if s.t < ended)  # until then it is owed
    assert scope.first(lambda s: abs(s.dc_a) < STILL_A) - ended < 0.6
    wound_down(sim, scope, ended)
    assert first(sim, "session_ended", t0).detail == "lease"
    assert "nobody held a power lease" in snap(sim).why


def test_a_new_lease_soon_after_the_old_one_saves_the_session() -> None:
    sim = transfer(10_000.0)
    t0 = sim.now
    sim.wish.alive = False
    sim.until(lambda: bool(events(sim, "lease_ended", t0)), 3.0)
    sim.run(sim.now + 0.5)
    sim.wish.alive = True
    sim.run(sim.now + 3.0)
    assert sim.state == "transfer: charging"
    assert dc_w(sim) == pytest.approx(10_000.0, rel=0.02)


def test_a_request_without_power_holds_the_session_at_zero() -> None:
    sim = transfer(10_000.0)
    ask(sim, 0.0)
    sim.run(sim.now + 2.0)
    assert sim.state == "transfer: holding"
    assert abs(sim.link.dc_i_a) < STILL_A
    assert sim.link.k_dc == 1.0


def test_silent_services_end_the_session_by_themselves_and_the_contactors_open() -> None:
    sim = transfer(-10_000.0)
    t0 = sim.now
    sim.services.alive = False
    scope = Scope(sim, 10.0)
    assert first(sim, "car_lost", t0).t - t0 < n.CAR_SILENT_S + 0.1
    assert first(sim, "services_lost", t0).t - t0 < n.SERVICES_SILENT_S + 0.1
    wound_down(sim, scope, t0)
    assert not sim.link.k_grid


def test_protection_goes_on_while_services_are_silent() -> None:
    """A sag in the middle of the wind-down ceases within the code's 83 ms, long before the ramp would have ended."""
    sim = transfer(-20_000.0)
    t0 = sim.now
    sim.services.alive = False
    sim.until(lambda: sim.state == "ramp down", 1.0)
    sim.source.sag(0.2)
    scope = Scope(sim, 3.0)
    left = scope.left(0.5, 1.1)
    assert scope.samples[0].dc_a < -20.0
    assert scope.gone(left) - left < 0.083
    assert first(sim, "grid_cease", t0)
    trip = first(sim, "grid_trip", t0)
    assert "UV2" in trip.detail
    assert scope.first(lambda s: not s.k_grid) - left < 2.0


def test_the_operator_stops_the_session_and_nothing_starts_before_start() -> None:
    sim = transfer(10_000.0)
    t0 = sim.now
    sim.operator("stop")
    scope = Scope(sim, 4.0)
    wound = first(sim, "operator_stop", t0)
    assert scope.first(lambda s: abs(s.dc_a) < STILL_A) - wound.t < 0.6
    assert max(openings(scope)) < STILL_A
    assert first(sim, "session_ended", t0).detail == "operator"
    sim.car.plug_in()
    sim.run(sim.now + 8.0)
    assert not set(states(sim, t0)) & set(CABLE_CHECK)
    assert sim.link.k_dc == 0.0
    sim.operator("start")
    sim.until(lambda: sim.state == "cable check: ramp test", 8.0)


def test_a_shutdown_ramps_down_opens_everything_and_says_so() -> None:
    sim = transfer(10_000.0)
    sim.operator("shutdown")
    scope = Scope(sim, 6.0, lambda s: sim.guard.down)
    assert sim.guard.down
    assert max(openings(scope)) < STILL_A
    sim.run(sim.now + 0.3)
    assert snap(sim).down
    assert (sim.link.k_grid, sim.link.k_dc, sim.link.converter_enable) == (0.0, 0.0, 0.0)


# ------------------------------------------------------------------------------------------------------------ energy
@pytest.mark.slow
def test_the_energy_counters_equal_the_plants_energy_within_one_percent() -> None:
    sim = transfer()
    charged, discharged = sim.guard.charged_wh, sim.guard.discharged_wh
    into = out = 0.0
    for power_w in (12_000.0, -9_000.0, 4_000.0):
        ask(sim, power_w)
        for s in Scope(sim, 6.0).samples[1:]:
            wh = s.v_dc_v * s.cable_a * 0.001 / 3600.0
            into, out = into + max(wh, 0.0), out + max(-wh, 0.0)
    assert sim.guard.charged_wh - charged == pytest.approx(into, rel=0.01)
    assert sim.guard.discharged_wh - discharged == pytest.approx(out, rel=0.01)
    assert into > 15.0
    assert out > 8.0
