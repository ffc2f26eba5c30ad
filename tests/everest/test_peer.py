"""What EVerest's messages mean, byte for byte as its API documents show them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.bridges.everest.peer import GRACE_HEARTBEATS, Peer
from firmware.bridges.everest.topics import BSP, IMD, MANAGER, METER, PSU, Modules
from hal.ports import CarPhase, CarStatus

MODULES = Modules("psu", "bsp", "imd", "meter", "evse")
HEARTBEAT_S = 0.2


class Everest:
    """Says things to a peer; `now` moves only when told."""

    def __init__(self, heartbeat: bool = True) -> None:
        self.now, self.said = 100.0, list[str]()
        self.peer = Peer(MODULES, HEARTBEAT_S, self.said.append)
        self.count = 0
        if heartbeat:
            self.beat()

    def says(self, kind: str, name: str, payload: bytes | str = b"") -> None:
        data = payload.encode() if isinstance(payload, str) else payload
        self.peer.take(self.now, MODULES.from_everest(kind, name), data)

    def beat(self) -> None:
        self.count += 1
        for kind in MODULES.names:
            self.says(kind, "heartbeat", str(self.count))

    def status(self, plugged: bool = True, closed: bool = True) -> CarStatus:
        reading = self.peer.status(self.now, plugged=plugged, closed=closed)
        assert reading is not None
        return reading.value

    def allow(self, allowed: bool = True) -> None:
        reason = "DCCableCheck" if allowed else "PowerOff"
        self.says(BSP, "allow_power_on", json.dumps({"allow_power_on": allowed, "reason": reason}))

    def mode(self, mode: str, phase: str) -> None:
        self.says(PSU, "mode", f'{{"mode":"{mode}","charging_phase":"{phase}"}}')

    def charge(self, volts: float = 400.0, amps: float = 30.0) -> None:
        self.allow()
        self.mode("Export", "Charging")
        self.says(PSU, "export_voltage_current", f'{{"voltage_V":{volts},"current_A":{amps}}}')

    def discharge(self, volts: float = 300.0, amps: float = 20.0) -> None:
        self.allow()
        self.mode("Import", "Charging")
        self.says(PSU, "import_voltage_current", f'{{"voltage_V":{volts},"current_A":{amps}}}')


def test_a_session_goes_through_its_phases_as_everest_commands_them() -> None:
    e = Everest()
    assert e.status(closed=False).phase is CarPhase.NONE
    e.says(BSP, "pwm_on", "5.0")
    assert e.status(closed=False).phase is CarPhase.WAIT
    assert e.status(plugged=False, closed=False).phase is CarPhase.NONE
    e.allow()
    assert e.status(closed=False).phase is CarPhase.INSULATION
    e.says(PSU, "export_voltage_current", '{"voltage_V":500.0,"current_A":2.0}')
    e.mode("Export", "CableCheck")
    assert e.status() == CarStatus(CarPhase.INSULATION)  # its cable check is guard's: no set-point of EVerest's in it
    e.mode("Off", "CableCheck")
    e.says(PSU, "export_voltage_current", '{"voltage_V":350.0,"current_A":2.0}')
    assert e.status().phase is CarPhase.INSULATION
    e.mode("Export", "PreCharge")
    assert (e.status().phase, e.status().target_v) == (CarPhase.PRECHARGE, 350.0)
    e.charge(408.0, 31.5)
    assert e.status() == CarStatus(CarPhase.TRANSFER, target_v=408.0, i_max_a=31.5, v_max_v=408.0)
    e.mode("Off", "Charging")
    assert e.status() == CarStatus(CarPhase.TRANSFER)
    e.allow(False)
    assert e.status().phase is CarPhase.ENDING
    assert e.status(closed=False).phase is CarPhase.NONE  # the next session begins with a new offer
    e.says(BSP, "pwm_on", "5.0")
    assert e.status(closed=False).phase is CarPhase.WAIT
    e.says(BSP, "cp_state_X1")
    assert e.status(closed=False).phase is CarPhase.NONE


def test_import_discharges_and_export_charges_and_neither_does_both() -> None:
    e = Everest()
    e.charge(400.0, 30.0)
    e.discharge(310.0, 20.0)
    status = e.status()
    assert (status.i_max_a, status.i_min_a, status.v_min_v, status.target_v) == (0.0, -20.0, 310.0, 0.0)
    e.charge(400.0, 10.0)
    status = e.status()
    assert (status.i_max_a, status.i_min_a, status.v_min_v) == (10.0, 0.0, 0.0)


def test_another_direction_has_no_set_point_until_a_new_one_comes() -> None:
    e = Everest()
    e.discharge()
    e.charge()
    e.mode("Import", "Charging")
    assert (e.status().i_max_a, e.status().i_min_a) == (0.0, 0.0)


def test_off_forgets_every_set_point() -> None:
    e = Everest()
    e.charge()
    e.mode("Off", "Charging")
    e.mode("Export", "Charging")
    assert (e.status().i_max_a, e.status().target_v) == (0.0, 0.0)


def test_the_voltage_of_the_cable_check_is_no_target_of_precharge() -> None:
    e = Everest()
    e.allow()
    e.says(PSU, "export_voltage_current", '{"voltage_V":500.0,"current_A":2.0}')
    e.mode("Export", "CableCheck")
    e.mode("Export", "PreCharge")
    assert e.status() == CarStatus(CarPhase.INSULATION)


def test_a_current_of_the_wrong_sign_never_turns_the_direction() -> None:
    e = Everest()
    e.charge(400.0, -30.0)
    assert (e.status().i_max_a, e.status().i_min_a) == (0.0, 0.0)
    e.discharge(300.0, -20.0)  # some say it negative: a magnitude
    assert (e.status().i_max_a, e.status().i_min_a) == (0.0, -20.0)


def test_what_the_manager_tells_of_the_car_is_its_limit() -> None:
    e = Everest()
    e.says(MANAGER, "ev_info", '{"soc":55.5,"maximum_voltage_limit":820.0,"battery_capacity":57000.0,"other":[1]}')
    e.charge(800.0)
    status = e.status()
    assert (status.v_max_v, status.soc_pct, status.capacity_wh) == (820.0, 55.5, 57_000.0)


def test_what_was_told_of_a_car_is_forgotten_with_its_plug() -> None:
    """The next one may be a car of 400 V: its cable check must not be that of the car before."""
    e = Everest()
    e.says(MANAGER, "ev_info", '{"soc":55.5,"maximum_voltage_limit":820.0,"battery_capacity":57000.0}')
    e.status(plugged=False, closed=False)
    e.allow()
    assert (e.status().v_max_v, e.status().soc_pct, e.status().capacity_wh) == (0.0, None, None)


def test_a_disabled_connector_ends_its_session_and_begins_none() -> None:
    e = Everest()
    e.charge()
    e.says(BSP, "enable", "false")
    assert e.status().phase is CarPhase.ENDING
    assert e.status(closed=False).phase is CarPhase.NONE


BAD = [
    (PSU, "mode", "Export"),
    (PSU, "mode", '{"mode":"Sideways"}'),
    (PSU, "mode", '{"mode":"Export","charging_phase":"Later"}'),
    (PSU, "mode", "[]"),
    (PSU, "export_voltage_current", '{"voltage_V":400.0}'),
    (PSU, "export_voltage_current", '{"voltage_V":NaN,"current_A":1}'),
    (PSU, "export_voltage_current", '{"voltage_V":1e999,"current_A":1}'),
    (PSU, "export_voltage_current", '{"voltage_V":-1,"current_A":1}'),
    (PSU, "export_voltage_current", '{"voltage_V":"400","current_A":1}'),
    (PSU, "export_voltage_current", '{"voltage_V":400,"current_A":20000}'),
    (BSP, "allow_power_on", "true"),
    (BSP, "allow_power_on", '{"allow_power_on":1,"reason":"DCCableCheck"}'),
    (BSP, "allow_power_on", '{"allow_power_on":true,"reason":"Fun"}'),
    (BSP, "pwm_on", "101"),
    (BSP, "enable", '"true"'),
    (IMD, "start_self_test", ""),
    (MANAGER, "ev_info", '{"soc":101}'),
    (PSU, "mode", "[" * 100_000),
    (PSU, "mode", " " * 70_000 + "{}"),
    (PSU, "mode", b"\xff\xfe"),
]


@pytest.mark.parametrize(("kind", "name", "payload"), BAD)
def test_what_is_not_understood_changes_nothing_and_is_said_once(kind: str, name: str, payload: Any) -> None:
    e = Everest()
    e.charge()
    before = e.status()
    e.says(kind, name, payload)
    e.says(kind, name, payload)
    assert e.status() == before
    assert e.peer.bad == 2
    assert len(e.said) == 1
    assert f"{kind}/{name}" in e.said[0]
    assert e.said[0].endswith(".")
    assert "\n" not in e.said[0]


@given(
    st.sampled_from([PSU, BSP, IMD, METER, MANAGER]),
    st.sampled_from(["mode", "export_voltage_current", "allow_power_on", "heartbeat", "start_transaction", "nothing"]),
    st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.floats().map(lambda x: json.dumps(x).encode()),
)
def test_no_bytes_let_power_flow_that_no_command_permitted(kind: str, name: str, payload: bytes) -> None:
    e = Everest()
    e.says(kind, name, payload)
    status = e.status()
    assert (status.i_max_a, status.i_min_a, status.target_v) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    "topic",
    [
        "everest_api/1/power_supply_DC/other/e2m/mode",
        "everest_api/1/power_supply_DC/psu/m2e/mode",
        "everest_api/2/power_supply_DC/psu/e2m/mode",
        "everest_api/1/power_supply_DC/psu/e2m/mode/more",
        "everest_api/1/power_supply_DC/psu/e2m/",
        "everest_api/1/power_supply_DC/psu",
    ],
)
def test_topics_of_others_are_not_ours(topic: str) -> None:
    e = Everest(heartbeat=False)
    e.peer.take(e.now, topic, b'{"mode":"Export","charging_phase":"Charging"}')
    assert e.peer.mode.mode == "Off"
    assert e.peer.heard_t is None
    assert e.peer.bad == 0


def test_the_time_of_the_report_stands_still_when_one_module_falls_silent() -> None:
    e = Everest()
    e.charge()
    for _ in range(20):
        e.now += HEARTBEAT_S
        e.count += 1
        for kind in (PSU, IMD):  # the board support hangs
            e.says(kind, "heartbeat", str(e.count))
    reading = e.peer.status(e.now, plugged=True, closed=True)
    assert reading is not None
    assert reading.t == pytest.approx(100.0 + GRACE_HEARTBEATS * HEARTBEAT_S)


def test_nothing_is_reported_before_every_module_was_heard() -> None:
    e = Everest(heartbeat=False)
    for kind in (PSU, BSP):
        e.says(kind, "heartbeat", "1")
    assert e.peer.status(e.now, plugged=True, closed=False) is None
    e.says(IMD, "heartbeat", "1")
    assert e.status(closed=False) == CarStatus()


@pytest.mark.parametrize(("kind", "phase"), [(PSU, CarPhase.INSULATION), (BSP, CarPhase.ENDING)])
def test_a_module_that_was_started_again_commands_nothing_any_more(kind: str, phase: CarPhase) -> None:
    e = Everest()
    e.beat()
    e.charge()
    e.peer.restarted = False
    e.says(kind, "heartbeat", "1")
    assert e.peer.restarted
    assert (e.status().phase, e.status().i_max_a) == (phase, 0.0)


def test_a_new_connection_forgets_what_was_commanded_before() -> None:
    e = Everest()
    e.charge()
    e.peer.forget()
    assert e.peer.heard_t is None
    e.beat()
    assert e.status().phase is CarPhase.ENDING


def test_a_meter_that_signs_nothing_says_so_to_whoever_asks() -> None:
    e = Everest()
    e.says(METER, "start_transaction", '{"headers":{"replyTo":"answer/here"},"payload":{"evse_id":"1"}}')
    e.says(METER, "stop_transaction", '{"payload":{"transaction_id":"1"}}')  # without a place for the answer: none
    ((topic, text),) = e.peer.replies
    assert topic == "answer/here"
    assert json.loads(text)["status"] == "NOT_SUPPORTED"


@pytest.mark.parametrize("kind", [PSU, BSP, IMD])
def test_a_module_that_is_heard_for_the_first_time_is_told_everything(kind: str) -> None:
    """What was told while it was not on the broker yet reached nobody: the plug of a car, for instance."""
    e = Everest(heartbeat=False)
    for _ in range(2):
        e.peer.restarted = False
        e.says(kind, "heartbeat", "7")
        assert e.peer.restarted
        e.peer.restarted = False
        e.says(kind, "heartbeat", "8")
        assert not e.peer.restarted
        e.peer.forget()  # the connection is lost
