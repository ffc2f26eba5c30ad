"""The whole charger with EVerest in lockstep, measured at the plant: a session both ways, and what ends one."""

from __future__ import annotations

import json

import pytest

from hil.devices.car_frames import Secc
from hil.plant.grid_source import ProgrammableSource
from tests.everest.rig import Charger

pytestmark = pytest.mark.slow  # a session takes 20 simulated seconds to begin; about 2 s each


def test_a_session_charges_discharges_and_ends_in_order_with_everests_own_cable_check() -> None:
    charger = Charger()
    sim, everest = charger.sim, charger.everest
    charger.to_transfer()
    assert everest.failed == ""
    assert charger.car.check_passed  # 60 V, closed, test voltage, self-test, sample, 60 V again: by what we told
    sim.run(sim.now + 4.0)
    assert sim.link.cable_v_v * sim.link.cable_i_a == pytest.approx(11_000.0, rel=0.06)
    everest.power_w, sim.wish.power_w = -8_000.0, -8_000.0
    sim.run(sim.now + 6.0)
    assert sim.link.cable_v_v * sim.link.cable_i_a == pytest.approx(-8_000.0, rel=0.06)
    assert json.loads(charger.said_by("voltage_current")[-1])["current_A"] < -20.0
    assert sim.link.ac_p_w < -7_000.0
    everest.power_w, sim.wish.power_w = 3_000.0, 11_000.0  # its set-point is a limit
    sim.run(sim.now + 5.0)
    assert sim.link.cable_v_v * sim.link.cable_i_a == pytest.approx(3_000.0, rel=0.1)
    sim.wish.power_w = -8_000.0  # what it did not ask for: nothing flows the other way
    sim.run(sim.now + 3.0)
    assert sim.state == "transfer: holding"
    assert abs(sim.link.cable_i_a) < 0.5
    charger.car.request_stop()
    sim.until(lambda: charger.car.state is Secc.WAITING, 10.0)
    assert charger.car.reason == "the driver stopped it"
    assert charger.car.opened_at_a < 5.0
    assert not charger.car.weld_suspected
    assert everest.modes == ["Off", "Export", "Off", "Export", "Off", "Import", "Off", "Export", "Off"]
    assert charger.side.peer.bad == 0
    assert everest.replies == [{"status": "NOT_SUPPORTED", "error": "this meter signs nothing"}]
    sim.run(sim.now + 3.0)
    assert everest.operative


@pytest.mark.parametrize("how", ["everest hangs", "the broker is lost"])
def test_without_everest_the_power_is_gone_and_the_contactors_open(how: str) -> None:
    charger = Charger()
    charger.to_transfer()
    sim = charger.sim
    sim.run(sim.now + 3.0)
    lost = sim.now
    if how == "everest hangs":
        charger.everest.mute, limit_s = True, 1.5 * 0.2 + 0.2 + 0.5
    else:
        charger.wire.problem, limit_s = "The MQTT broker at 127.0.0.1:1883 is not connected.", 0.6
    sim.until(lambda: abs(sim.link.cable_i_a) < 0.5, 3.0)
    assert sim.now - lost <= limit_s + 0.75  # and the ramp
    sim.until(lambda: not sim.link.k_dc, 3.0)
    assert any(sentence.startswith("The vehicle side (EVerest): ") for sentence in charger.said)


def test_a_grid_trip_is_an_error_of_the_supply_and_the_session_ends() -> None:
    charger = Charger()
    charger.to_transfer()
    sim = charger.sim
    charger.everest.power_w, sim.wish.power_w = -8_000.0, -8_000.0
    sim.run(sim.now + 5.0)
    assert isinstance(sim.source, ProgrammableSource)
    sim.source.set_frequency(63.0)
    sim.until(lambda: not sim.link.k_dc, 3.0)
    sim.run(sim.now + 1.0)
    assert ("power_supply_DC", "VendorError") in charger.everest.errors
    assert charger.everest.failed == "an error ended the session"
    assert json.loads(charger.said_by("raise_error")[-1])["message"]
    assert {"event": "PowerOff"} in [json.loads(text) for text in charger.said_by("event")][-2:]


def test_the_operators_stop_is_a_request_to_end_and_no_error() -> None:
    charger = Charger()
    charger.to_transfer()
    sim = charger.sim
    sim.operator("stop")
    sim.until(lambda: charger.car.state is Secc.ENDING, 3.0)
    assert charger.said_by("request_stop_transaction") == ['{"reason": "Local"}']
    sim.until(lambda: charger.car.state is Secc.WAITING, 10.0)
    assert charger.car.reason == "the charger ended it"


def test_a_failed_self_test_fails_everests_cable_check_too() -> None:
    charger = Charger()
    charger.sim.wish.power_w = 11_000.0
    charger.sim.run(1.0)
    charger.sim.imd.fail_self_test = True
    charger.car.plug_in()
    charger.sim.until(lambda: charger.everest.failed != "", 40.0)
    charger.sim.run(charger.sim.now + 1.0)
    assert charger.said_by("self_test_result") == ["false"]
    assert ("power_supply_DC", "VendorError") in charger.everest.errors
    assert not charger.sim.link.k_ev
