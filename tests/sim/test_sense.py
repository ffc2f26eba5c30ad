"""Two measurements of one grid: either one trips, both are watched, none is believed for long."""

from __future__ import annotations

import pytest

from tests.sim.rig import NOMINAL_V, Scope, events, faults, first, idle, snap, transfer

CLEARING_UV2_S = 2.0


def test_a_frozen_converter_measurement_is_told_as_disagreement() -> None:
    sim = idle()
    t0 = sim.now
    sim.converter.handle({"freeze": True})
    sim.source.set_voltage(0.93 * NOMINAL_V)
    sim.run(sim.now + 3.0)
    told = first(sim, "grid_sense_disagree", t0)
    assert told.t - t0 < 1.5
    assert "0.93" in told.detail
    assert not events(sim, "grid_trip", t0)
    sim.converter.handle({"freeze": False})
    sim.run(sim.now + 2.0)
    assert "grid_sense_disagree" not in faults(sim)


def test_a_frozen_converter_measurement_does_not_delay_the_pilots_trip() -> None:
    sim = transfer(-10_000.0)
    t0 = sim.now
    sim.converter.handle({"freeze": True})
    sim.source.sag(1.25)
    scope = Scope(sim, 1.0)
    assert "OV2" in first(sim, "grid_trip", t0).detail
    assert scope.gone(t0) - scope.left(0.9, 1.1) < 0.16
    assert scope.first(lambda s: not s.k_grid) - scope.left(0.9, 1.1) < 0.16


def test_over_voltage_seen_by_the_converter_alone_still_opens_inside_the_clearing_time() -> None:
    sim = transfer(-10_000.0)
    sim.pilot.handle({"freeze_grid": True})
    sim.run(sim.now + 0.2)
    t0 = sim.now
    sim.source.sag(1.25)
    scope = Scope(sim, 1.0)
    trip = first(sim, "grid_trip", t0)
    assert "OV2" in trip.detail
    assert "converter telemetry" in trip.detail
    assert scope.first(lambda s: not s.k_grid) - scope.left(0.9, 1.1) < 0.16


@pytest.mark.parametrize("fault", [{"freeze_grid": True}, {"stop_sequence": True}])
def test_with_the_pilots_grid_sense_frozen_the_converter_ceases_and_trips_alone(fault: dict[str, bool]) -> None:
    """The slower source: its samples come every 50 ms or so, so momentary cessation is later than from the pilot."""
    sim = transfer(-10_000.0)
    sim.pilot.handle(fault)
    sim.run(sim.now + 0.2)
    t0 = sim.now
    sim.source.sag(0.3)
    scope = Scope(sim, 3.0, lambda s: not s.k_grid)
    left = scope.left(0.9, 1.1)
    scope.samples += Scope(sim, 0.2).samples
    assert scope.gone(left) - left < 0.15
    trip = first(sim, "grid_trip", t0)
    assert "UV2" in trip.detail
    assert "converter telemetry" in trip.detail
    assert scope.first(lambda s: not s.k_grid) - left < CLEARING_UV2_S
    assert first(sim, "grid_sense_lost", t0 - 0.2).t < trip.t
    assert ("freeze_grid" in fault) == bool(events(sim, "pilot_grid_stuck", t0))


def test_one_lost_source_lets_the_power_go_on_but_no_new_session_start() -> None:
    sim = transfer(-5_000.0)
    sim.pilot.handle({"stop_sequence": True})
    t0 = sim.now
    scope = Scope(sim, 3.0)
    assert first(sim, "grid_sense_lost", t0).t - t0 < 0.15
    assert min(abs(s.dc_a) for s in scope.samples) > 12.0
    sim.car.request_stop()
    sim.until(lambda: sim.state in ("finished", "connected"), 5.0)
    sim.run(sim.now + 2.0)
    sim.car.plug_in()
    sim.run(sim.now + 6.0)
    assert not events(sim, "session_started", t0)
    sim.pilot.handle({"stop_sequence": False})
    sim.until(lambda: sim.state.startswith("cable check"), 8.0)


def test_both_sources_lost_trips_within_half_a_second_by_sense() -> None:
    sim = transfer(-10_000.0)
    t0 = sim.now
    sim.pilot.handle({"stop_sequence": True})
    sim.converter.handle({"mute": True})
    scope = Scope(sim, 1.0)
    trip = first(sim, "grid_trip", t0)
    assert "SENSE" in trip.detail
    assert scope.gone(t0) - t0 < 0.55
    assert scope.first(lambda s: not s.k_grid) - t0 < 0.6
    assert not scope.samples[-1].k_dc


def test_a_pilot_that_lost_samples_for_less_than_its_age_limit_changes_nothing() -> None:
    sim = transfer(-10_000.0)
    t0 = sim.now
    sim.pilot.handle({"corrupt_next": 10})
    scope = Scope(sim, 2.0)
    assert not [e for e in sim.services.events if e.t > t0]
    assert min(abs(s.dc_a) for s in scope.samples) > 25.0
    assert sim.loop.pilot.poll(sim.now).bad_frames >= 10
    assert snap(sim).grid_state == "connected"
