"""Discovery payloads against the keys that Home Assistant documents, and the state document that they read."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from firmware.bridges.mqtt.commands import MODES, Wishes
from firmware.bridges.mqtt.homeassistant import MAX_STATE_CHARS, Identity, discovery, forgotten, state_of
from tests.view_snapshot import snapshot

ME = Identity("garage-1", "Emulated charger", "0.1.0", 22_000.0, 11_000.0, commands=True)

# The configuration variables of www.home-assistant.io/integrations/{mqtt,sensor.mqtt,binary_sensor.mqtt,number.mqtt,
# select.mqtt} that are used or might be; a key beyond them would be refused or ignored.
COMMON = {
    "unique_id", "default_entity_id", "name", "icon", "device", "origin", "availability", "availability_topic",
    "availability_mode", "payload_available", "payload_not_available", "enabled_by_default", "entity_category",
    "json_attributes_topic", "json_attributes_template", "qos", "encoding", "state_topic", "value_template",
    "device_class",
}  # fmt: skip
KEYS = {
    "sensor": COMMON | {"unit_of_measurement", "state_class", "expire_after", "force_update", "options",
                        "suggested_display_precision", "last_reset_value_template"},
    "binary_sensor": COMMON | {"payload_on", "payload_off", "off_delay", "expire_after", "force_update"},
    "number": COMMON | {"command_topic", "command_template", "min", "max", "step", "mode", "optimistic", "retain",
                        "unit_of_measurement", "payload_reset"},
    "select": COMMON | {"command_topic", "command_template", "options", "optimistic", "retain"},
}  # fmt: skip
NEEDED = {"sensor": {"state_topic"}, "binary_sensor": {"state_topic"}, "number": {"command_topic"},
          "select": {"command_topic", "options"}}  # fmt: skip
DEVICE = {"identifiers", "name", "manufacturer", "model", "model_id", "sw_version", "hw_version", "serial_number",
          "configuration_url", "suggested_area", "via_device", "connections"}  # fmt: skip
UNITS = {"power": {"W", "kW", "mW", "MW"}, "energy": {"Wh", "kWh", "MWh", "J", "MJ"}, "battery": {"%"}}
SENSOR_CLASSES = {"power", "energy", "battery"}
BINARY_CLASSES = {"plug", "problem"}


def entities(identity: Identity = ME) -> dict[str, tuple[str, dict[str, Any]]]:
    found = {}
    for topic, payload in discovery(identity).items():
        match = re.fullmatch(r"homeassistant/(\w+)/([A-Za-z0-9_-]+)/([A-Za-z0-9_-]+)/config", topic)
        assert match is not None, topic
        assert match[2] == identity.node
        found[match[3]] = (match[1], payload)
    return found


def status(**changes: Any) -> dict[str, Any]:
    return {"snapshot": snapshot(**changes), "energy": {"charged_wh": 12_345.6, "discharged_wh": 56.0}, "problems": []}


@pytest.mark.parametrize("name", entities())
def test_an_entity_has_what_home_assistant_needs_and_nothing_that_it_does_not_know(name: str) -> None:
    component, payload = entities()[name]
    assert set(payload) <= KEYS[component]
    assert set(payload) >= NEEDED[component]
    assert set(payload["device"]) <= DEVICE
    assert payload["origin"]["name"]
    assert payload["availability_topic"] == "quadrant/garage-1/availability"
    if component == "sensor" and "device_class" in payload:
        assert payload["device_class"] in SENSOR_CLASSES
    if component == "binary_sensor":
        assert payload["device_class"] in BINARY_CLASSES
    if "unit_of_measurement" in payload and "device_class" in payload:
        assert payload["unit_of_measurement"] in UNITS[payload["device_class"]]
    if payload.get("state_class") == "total_increasing":
        assert payload["device_class"] == "energy"
    # What the template reads is in the document.
    field = re.fullmatch(r"\{\{ value_json\.(\w+) \}\}", payload["value_template"])
    assert field is not None
    assert field[1] in state_of(status(), Wishes(1.0, 1.0))
    assert re.fullmatch(rf"{component}\.[a-z0-9_]+", payload["default_entity_id"])
    json.dumps(payload, allow_nan=False)


def test_every_entity_has_an_identity_of_its_own_and_all_are_one_device() -> None:
    found = entities()
    assert len({payload["unique_id"] for _, payload in found.values()}) == len(found)
    assert len({json.dumps(payload["device"]) for _, payload in found.values()}) == 1
    other = {p["unique_id"] for _, p in entities(replace(ME, node="garage-2")).values()}
    assert not other & {p["unique_id"] for _, p in found.values()}


def test_import_and_export_are_two_registers_that_only_rise_and_power_has_a_sign() -> None:
    found = entities()
    for name in ("energy_charged", "energy_discharged"):
        component, payload = found[name]
        assert component == "sensor"
        assert (payload["state_class"], payload["unit_of_measurement"]) == ("total_increasing", "kWh")
    assert state_of(status(measured_w=-4_200.4), Wishes(1.0, 1.0))["power"] == -4200.0


def test_the_set_point_has_the_ratings_as_its_range_and_the_modes_are_those_that_are_obeyed() -> None:
    found = entities()
    number, select = found["set_point"][1], found["mode"][1]
    assert (number["min"], number["max"]) == (-11_000.0, 22_000.0)
    assert number["command_topic"] == "quadrant/garage-1/set/set_point"
    assert select["options"] == list(MODES)
    assert not any(found[name][1]["retain"] for name in ("set_point", "mode", "min_soc"))


def test_without_commands_nothing_that_commands_is_announced_and_what_was_is_taken_away() -> None:
    quiet = replace(ME, commands=False)
    assert {component for component, _ in entities(quiet).values()} == {"sensor", "binary_sensor"}
    assert set(forgotten(quiet)) == set(discovery(ME)) - set(discovery(quiet))
    assert forgotten(ME) == []


def test_the_state_says_what_is_not_known_as_null() -> None:
    unknown = state_of(status(measured_w=None, soc_pct=None, cp="E"), Wishes(1.0, 1.0))
    assert (unknown["power"], unknown["soc"], unknown["plugged"]) == (None, None, None)


def test_a_long_sentence_is_cut_to_what_home_assistant_takes() -> None:
    document = state_of(status(why="a" * 300), Wishes(1.0, 1.0))
    assert len(document["reason"]) == MAX_STATE_CHARS
    assert document["reason"].endswith("...")


@pytest.mark.parametrize(("faults", "problems"), [(["pilot_lost"], []), ([], ["The meter is silent."])])
def test_a_fault_and_what_services_miss_are_problems(faults: list[str], problems: list[str]) -> None:
    told = {**status(faults=faults), "problems": problems}
    assert state_of(told, Wishes(1.0, 1.0))["problem"] == "ON"
    assert state_of(status(), Wishes(1.0, 1.0))["problem"] == "OFF"


def test_what_was_refused_is_an_entity_of_its_own() -> None:
    wishes = Wishes(1.0, 1.0)
    assert state_of(status(), wishes)["refusal"] == "none"
    wishes.not_taken("the operator stopped the charger.")
    assert state_of(status(), wishes)["refusal"] == "the operator stopped the charger."
