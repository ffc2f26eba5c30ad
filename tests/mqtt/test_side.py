"""Services' side of MQTT, with a broker that only remembers: what goes out when, and what a command becomes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from boards.peers import Mqtt
from firmware.bridges.mqtt.homeassistant import Identity
from firmware.services.control import Refused
from firmware.services.mqtt import FILE, HEARTBEAT_S, MAX_WAITING, SOURCE, STALE_S, MqttSide
from tests.view_snapshot import snapshot

ME = Identity("garage", "Emulated charger", "0.1.0", 22_000.0, 11_000.0, commands=True)
AVAILABLE, STATE = ME.availability_topic, ME.state_topic


class FakeBroker:
    def __init__(self) -> None:
        self.problem = ""
        self.said: list[tuple[str, str, bool]] = []

    def start(self) -> None: ...

    def publish(self, topic: str, text: str, *, retain: bool = False) -> bool:
        if not self.problem:
            self.said.append((topic, text, retain))
        return not self.problem

    def close(self, timeout_s: float = 2.0) -> None: ...

    def take(self, topic: str) -> list[str]:
        found = [text for t, text, _ in self.said if t == topic]
        self.said = [item for item in self.said if item[0] != topic]
        return found


class FakePort:
    """Services: they remember one request, and refuse when stopped."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, float, str, str]] = []
        self.live = False
        self.stopped = False
        self.bounds: list[str] = []

    def power(self, power_w: float, for_s: float, reason: str, source: str) -> dict[str, Any]:
        if self.stopped:
            raise Refused("the operator stopped the charger.")
        self.asked.append((power_w, for_s, reason, source))
        self.live = True
        return {}

    def withdraw(self, source: str) -> None:
        self.live = False

    def asks(self, source: str) -> bool:
        return self.live

    def bound_discharge(self, source: str, reason: str, for_s: float) -> None:
        self.bounds.append(reason)


class World:
    def __init__(self, run_dir: Path, identity: Identity = ME) -> None:
        self.loop = asyncio.new_event_loop()
        self.broker, self.port, self.said = FakeBroker(), FakePort(), list[str]()
        self.side = MqttSide(Mqtt("broker"), identity, run_dir, self.said.append)
        self.side.attach(self.loop, self.port, self.broker)
        self.now = 100.0

    def tick(self, age_s: float | None = 0.05, **changes: Any) -> None:
        self.settle()
        self.now += 1.0
        shown = None if age_s is None else snapshot(**changes)
        energy = {"charged_wh": 1000.0, "discharged_wh": 0.0}
        self.side.tick(self.now, {"snapshot": shown, "age_s": age_s, "energy": energy, "problems": []})

    def settle(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0))

    def command(self, name: str, payload: str, retained: bool = False) -> None:
        self.side.heard(ME.command_topic(name), payload.encode(), retained)
        self.settle()

    def state(self, **changes: Any) -> dict[str, Any]:
        self.broker.take(STATE)
        self.side.up()
        self.tick(**changes)
        state: dict[str, Any] = json.loads(self.broker.take(STATE)[-1])
        return state


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_entities_come_first_then_that_we_are_there_then_the_state(world: World) -> None:
    world.tick()
    topics = [topic for topic, _, _ in world.broker.said]
    assert all(topic.startswith("homeassistant/") for topic in topics[:-2])
    assert topics[-2:] == [AVAILABLE, STATE]
    retained = {topic: retain for topic, _, retain in world.broker.said}
    assert not retained.pop(STATE)  # an old state must not be taken for the present
    assert all(retained.values())


def test_the_state_is_sent_when_it_changes_and_now_and_then(world: World) -> None:
    world.tick()
    world.broker.take(STATE)
    for _ in range(5):
        world.tick()
    assert world.broker.take(STATE) == []
    world.tick(measured_w=-2000.0)
    assert len(world.broker.take(STATE)) == 1
    for _ in range(int(2 * HEARTBEAT_S)):
        world.tick(measured_w=-2000.0)
    assert len(world.broker.take(STATE)) == 2


@pytest.mark.parametrize("again", ["connection", "birth"])
def test_a_new_connection_and_a_home_assistant_that_starts_are_told_everything(world: World, again: str) -> None:
    world.tick()
    world.broker.said.clear()
    if again == "connection":
        world.side.up()
    else:
        world.side.heard(ME.birth_topic, b"online", False)
    world.tick()
    topics = {topic for topic, _, _ in world.broker.said}
    assert {AVAILABLE, STATE} < topics
    assert len(topics) > 10
    world.broker.said.clear()
    world.side.heard(ME.birth_topic, b"offline", False)
    world.tick()
    assert world.broker.said == []


def test_a_silent_guard_makes_the_charger_unavailable_and_no_old_state_is_sent(world: World) -> None:
    world.tick(age_s=None)
    assert world.broker.take(AVAILABLE) == ["offline"]
    world.tick()
    assert world.broker.take(AVAILABLE) == ["online"]
    world.broker.take(STATE)
    world.tick(age_s=STALE_S + 0.1, measured_w=1.0)
    assert world.broker.take(AVAILABLE) == ["offline"]
    assert world.broker.take(STATE) == []


def test_without_a_connection_nothing_is_lost_but_time(world: World) -> None:
    world.broker.problem = "not connected"
    world.tick()
    assert world.broker.said == []
    assert world.side.problem == "not connected"
    world.broker.problem = ""
    world.tick()
    assert world.broker.take(STATE)


def test_a_command_becomes_a_request_with_a_lease_and_the_mode_says_so(world: World) -> None:
    world.command("set_point", "-5000")
    assert world.port.asked == [(-5000.0, 900.0, "mode set-point", SOURCE)]
    shown = world.state()
    assert (shown["mode"], shown["set_point"]) == ("set-point", -5000.0)
    world.port.live = False  # the lease has ended
    assert world.state()["mode"] == "auto"


def test_mode_auto_withdraws(world: World) -> None:
    world.command("mode", "charge")
    assert world.port.live
    world.command("mode", "auto")
    assert not world.port.live


def test_what_the_charger_refuses_is_told_and_the_mode_goes_back(world: World) -> None:
    world.port.stopped = True
    world.command("mode", "discharge")
    shown = world.state()
    assert (shown["mode"], shown["refusal"]) == ("auto", "the operator stopped the charger.")
    assert world.said == ["MQTT: the operator stopped the charger."]


def test_a_retained_command_and_nonsense_move_nothing_and_are_told(world: World) -> None:
    world.command("mode", "charge", retained=True)
    world.command("set_point", "lots")
    assert world.port.asked == []
    assert "must be a number" in world.state()["refusal"]
    assert len(world.said) == 2


def test_a_storm_of_commands_is_bounded_and_the_newest_count(world: World) -> None:
    for k in range(1000):
        world.side.heard(ME.command_topic("set_point"), str(k).encode(), False)
    world.settle()
    assert [int(asked[0]) for asked in world.port.asked] == list(range(1000 - MAX_WAITING, 1000))


def test_the_reserve_binds_everybody_while_it_is_reached_and_survives_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.command("min_soc", "30")
    assert world.port.asked == []
    world.tick(soc_pct=50.0)
    assert world.port.bounds[-1] == ""
    again = World(tmp_path)
    again.tick(soc_pct=29.0)
    assert again.port.bounds[-1] == "state of charge 29.0 %, reserve 30 %"
    assert again.state(soc_pct=29.0)["min_soc"] == 30.0
    again.broker.problem = "not connected"  # the reserve does not depend on a broker
    again.tick(soc_pct=29.0)
    assert again.port.bounds[-1] != ""
    again.tick(age_s=None)
    assert "unknown" in again.port.bounds[-1]


@pytest.mark.parametrize("text", ["", "[]", '{"min_soc_pct": "30"}', '{"min_soc_pct": 101}', '{"min_soc_pct": true}'])
def test_a_reserve_that_cannot_be_read_gives_nothing_away(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    world = World(tmp_path)
    world.tick(soc_pct=99.0)
    assert world.port.bounds[-1] != ""
    assert "nobody discharges until" in world.side.problem
    world.command("min_soc", "0")
    world.tick(soc_pct=99.0)
    assert world.port.bounds[-1] == ""
    assert world.side.problem == ""
    assert json.loads((tmp_path / FILE).read_text()) == {"min_soc_pct": 0.0}


def test_without_leave_no_command_is_listened_for_and_nobody_is_bound(tmp_path: Path) -> None:
    quiet = Identity("garage", "Emulated charger", "0.1.0", 22_000.0, 11_000.0)
    world = World(tmp_path, quiet)
    assert world.side.topics == ["homeassistant/status"]
    world.tick(soc_pct=None)
    assert world.port.bounds == []
    emptied = [topic for topic, text, retain in world.broker.said if text == "" and retain]
    assert len(emptied) == 3


def test_a_loop_that_is_gone_does_not_break_the_connections_thread(world: World) -> None:
    world.loop.close()
    world.side.up()
    world.side.heard(ME.command_topic("mode"), b"hold", False)
