"""What Home Assistant is told: the discovery payloads of every entity, and the one state document they read. Pure.

Keys and device classes as in Home Assistant's documentation of MQTT discovery, sensor, binary sensor, number and select
(www.home-assistant.io/integrations/mqtt). Power is signed, + charges the car; energies are two sensors that only rise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from firmware.bridges.mqtt.commands import MODES, Wishes

MAX_STATE_CHARS = 255  # of an entity's state in Home Assistant; a longer one is refused as a whole
HIGHEST_MIN_SOC_PCT = 100.0
ONLINE, OFFLINE = "online", "offline"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the charger is on the broker. charge_w, discharge_w: ratings (magnitudes). commands: it takes any."""

    node: str
    title: str
    version: str
    charge_w: float
    discharge_w: float
    base: str = "quadrant"
    prefix: str = "homeassistant"
    commands: bool = False

    @property
    def root(self) -> str:
        return f"{self.base}/{self.node}"

    @property
    def state_topic(self) -> str:
        return f"{self.root}/state"

    @property
    def availability_topic(self) -> str:
        return f"{self.root}/availability"

    @property
    def birth_topic(self) -> str:
        """Where Home Assistant says that it has started."""
        return f"{self.prefix}/status"

    def command_topic(self, name: str) -> str:
        return f"{self.root}/set/{name}"


_MEASURED = {"state_class": "measurement"}
_RISING = {"device_class": "energy", "state_class": "total_increasing", "unit_of_measurement": "kWh",
           "suggested_display_precision": 2}  # fmt: skip
_WATTS: dict[str, Any] = {"device_class": "power", "unit_of_measurement": "W", "suggested_display_precision": 0}
# object id -> (component, what Home Assistant must know of it). Its value is the state document's field of that name.
_SENSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "power": ("sensor", {"name": "Power", **_WATTS, **_MEASURED}),
    "permitted_power": ("sensor", {"name": "Permitted power", **_WATTS, **_MEASURED}),
    "soc": ("sensor", {"name": "State of charge", "device_class": "battery", "unit_of_measurement": "%", **_MEASURED}),
    "energy_charged": ("sensor", {"name": "Energy charged", **_RISING}),
    "energy_discharged": ("sensor", {"name": "Energy discharged", **_RISING}),
    "state": ("sensor", {"name": "State", "icon": "mdi:ev-station"}),
    "grid_state": ("sensor", {"name": "Grid state", "icon": "mdi:transmission-tower"}),
    "reason": ("sensor", {"name": "Reason", "icon": "mdi:comment-question-outline"}),
    "limited_by": ("sensor", {"name": "Limited by", "icon": "mdi:speedometer-slow"}),
    "asked_by": ("sensor", {"name": "Asked by", "icon": "mdi:account-arrow-right"}),
    "refusal": ("sensor", {"name": "Last refusal", "icon": "mdi:cancel", "entity_category": "diagnostic"}),
    "plugged": ("binary_sensor", {"name": "Plugged in", "device_class": "plug"}),
    "problem": ("binary_sensor", {"name": "Problem", "device_class": "problem"}),
}


def discovery(identity: Identity) -> dict[str, dict[str, Any]]:
    """Topic -> payload of every entity. What takes commands is announced only when commands are taken."""
    found: dict[str, dict[str, Any]] = {}
    for name, (component, keys) in _SENSORS.items():
        found[_topic(identity, component, name)] = {**_common(identity, component, name), **keys}
    if not identity.commands:
        return found
    numbers: dict[str, dict[str, Any]] = {
        "set_point": {"name": "Set-point", "min": -identity.discharge_w, "max": identity.charge_w, "step": 100,
                      "mode": "box", "device_class": "power", "unit_of_measurement": "W"},
        "min_soc": {"name": "Minimum state of charge", "min": 0, "max": HIGHEST_MIN_SOC_PCT, "step": 1,
                    "mode": "slider", "device_class": "battery", "unit_of_measurement": "%",
                    "entity_category": "config"},
    }  # fmt: skip
    for name, keys in numbers.items():
        command = {"command_topic": identity.command_topic(name), "qos": 1, "retain": False}
        found[_topic(identity, "number", name)] = {**_common(identity, "number", name), **keys, **command}
    mode = {"name": "Mode", "options": list(MODES), "command_topic": identity.command_topic("mode"), "qos": 1,
            "retain": False, "icon": "mdi:tune"}  # fmt: skip
    found[_topic(identity, "select", "mode")] = {**_common(identity, "select", "mode"), **mode}
    return found


def forgotten(identity: Identity) -> list[str]:
    """Topics of entities that an earlier start may have announced and this one does not: an empty retained message
    takes them away."""
    all_of_them = discovery(Identity(**{**{n: getattr(identity, n) for n in identity.__slots__}, "commands": True}))
    return sorted(set(all_of_them) - set(discovery(identity)))


def _topic(identity: Identity, component: str, name: str) -> str:
    return f"{identity.prefix}/{component}/{identity.node}/{name}/config"


def _common(identity: Identity, component: str, name: str) -> dict[str, Any]:
    return {
        "unique_id": f"quadrant_{identity.node}_{name}",
        # (Home Assistant 2026.4 ended `object_id`.)
        "default_entity_id": f"{component}.{identity.node.lower().replace('-', '_')}_{name}",
        "state_topic": identity.state_topic,
        "value_template": f"{{{{ value_json.{name} }}}}",
        "availability_topic": identity.availability_topic,
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
        "device": {
            "identifiers": [f"quadrant_{identity.node}"],
            "name": identity.node,
            "manufacturer": "Quadrant",
            "model": identity.title,
            "sw_version": identity.version,
        },
        "origin": {"name": "quadrant", "sw_version": identity.version},
    }


def state_of(status: Mapping[str, Any], wishes: Wishes) -> dict[str, Any]:
    """The state document. status: as the control socket's; its snapshot is there. null is what is not known."""
    s, energy = status["snapshot"], status["energy"]
    problems = [*s["faults"], *status["problems"]]
    return {
        "power": _rounded(s["measured_w"], 0),
        "permitted_power": _rounded(s["permitted_w"], 0),
        "soc": _rounded(s["soc_pct"], 1),
        "energy_charged": _rounded(energy["charged_wh"] / 1000.0, 3),
        "energy_discharged": _rounded(energy["discharged_wh"] / 1000.0, 3),
        "state": s["state"],
        "grid_state": s["grid_state"],
        "reason": _short(s["why"]),
        "limited_by": _short(s["limited_by"]) or "nothing",
        "asked_by": s["asked_by"] or "nobody",
        "refusal": _short(wishes.refusal) or "none",
        "plugged": {"A": "OFF", "B": "ON", "C": "ON", "D": "ON"}.get(s["cp"]),
        "problem": "ON" if problems else "OFF",
        "problems": problems,
        "mode": wishes.mode,
        "set_point": wishes.set_point_w,
        "min_soc": wishes.min_soc_pct,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    """Rounded, so that a value that only flutters is not sent."""
    return None if value is None or not math.isfinite(value) else round(value, digits) + 0.0


def _short(text: str) -> str:
    return text if len(text) <= MAX_STATE_CHARS else text[: MAX_STATE_CHARS - 3] + "..."
