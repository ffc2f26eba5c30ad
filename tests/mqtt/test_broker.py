"""The real client against a real mosquitto: discovery, commands, last will, a broker that is killed and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("paho.mqtt.client", reason="the extra `mqtt` is not installed")
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from boards.peers import Mqtt
from firmware.bridges.mqtt.client import Address, Broker
from firmware.bridges.mqtt.homeassistant import Identity, discovery
from firmware.services.mqtt import MqttSide
from tests.mqtt.test_side import FakePort
from tests.view_snapshot import snapshot
from tests.waiting import wait

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed"),
]
ME = Identity("garage", "Emulated charger", "0.1.0", 22_000.0, 11_000.0, commands=True)


def free_port() -> int:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        return int(end.getsockname()[1])


class Mosquitto:
    """A broker on the loopback that knows one user, or takes everybody."""

    def __init__(self, directory: Path, port: int, *, anonymous: bool = False) -> None:
        self.port = port
        passwords = directory / "passwords"
        if not passwords.exists():
            words = ["mosquitto_passwd", "-b", "-c", str(passwords), "charger", "secret"]
            subprocess.run(words, check=True, capture_output=True)
        passwords.chmod(0o644)  # mosquitto gives up root's rights before it reads it
        config = directory / "mosquitto.conf"
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous {str(anonymous).lower()}\npassword_file {passwords}\n"
            "persistence false\nuser root\n"
        )
        self._process = subprocess.Popen([str(MOSQUITTO), "-c", str(config)], stderr=subprocess.PIPE)
        wait(self._serves, "mosquitto", every_s=0.05)

    def _serves(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5.0):
            return True
        assert self._process.poll() is None, self._process.stderr.read() if self._process.stderr else ""
        return False

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()


class HomeAssistant:
    """Another client: hears everything, says what it is told."""

    def __init__(self, port: int) -> None:
        self.heard: dict[str, list[tuple[str, bool]]] = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="ha")
        self._client.username_pw_set("charger", "secret")
        self._client.on_message = self._message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        granted = threading.Event()
        self._client.on_subscribe = lambda *_: granted.set()
        self._client.subscribe("#", qos=1)
        assert granted.wait(60.0)  # what is said from here on is heard

    def _message(self, _client: Any, _data: Any, message: Any) -> None:
        self.heard.setdefault(message.topic, []).append((message.payload.decode(), message.retain))

    def last(self, topic: str) -> str:
        return self.heard.get(topic, [("", False)])[-1][0]

    def say(self, topic: str, text: str, retain: bool = False) -> None:
        self._client.publish(topic, text, qos=1, retain=retain).wait_for_publish(60.0)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Charger:
    """Services' side with its own loop, ticking twenty times a second instead of once."""

    def __init__(self, run_dir: Path, port: int, password: str = "secret") -> None:
        self.port, self.said = FakePort(), list[str]()
        self.loop = asyncio.new_event_loop()
        self.side = MqttSide(Mqtt("127.0.0.1", port), ME, run_dir, self.said.append)
        address = Address("127.0.0.1", port, "quadrant-garage", username="charger", password=password)
        self.broker = Broker(address, self.side.topics, self.side.will, self.side.up, self.side.heard)
        self._run = threading.Thread(target=self.loop.run_until_complete, args=(self._live(),), daemon=True)
        self._ending = threading.Event()
        self.power_w = -1000.0
        self._run.start()

    async def _live(self) -> None:
        self.side.attach(self.loop, self.port, self.broker)
        while not self._ending.is_set():
            energy = {"charged_wh": 1000.0, "discharged_wh": 0.0}
            shown = snapshot(measured_w=self.power_w)
            self.side.tick(time.monotonic(), {"snapshot": shown, "age_s": 0.0, "energy": energy, "problems": []})
            await asyncio.sleep(0.05)
        await self.side.close()

    def end(self) -> None:
        self._ending.set()
        self._run.join(60.0)
        self.loop.close()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def mosquitto(tmp_path: Path, port: int) -> Iterator[list[Mosquitto]]:
    """The running broker is the last one of the list."""
    brokers = [Mosquitto(tmp_path, port)]
    yield brokers
    brokers[-1].kill()


@pytest.fixture
def charger(tmp_path: Path, port: int, mosquitto: list[Mosquitto]) -> Iterator[Charger]:
    made = Charger(tmp_path, port)
    yield made
    made.end()


@pytest.fixture
def home(port: int, mosquitto: list[Mosquitto]) -> Iterator[HomeAssistant]:
    made = HomeAssistant(port)
    yield made
    made.close()


def test_every_entity_arrives_retained_and_as_it_was_made(charger: Charger, port: int) -> None:
    wait(lambda: not charger.broker.problem, "a connection")
    first = HomeAssistant(port)
    wait(lambda: set(discovery(ME)) | {ME.availability_topic} <= set(first.heard), "all that is said once")
    first.close()
    late = HomeAssistant(port)  # comes after everything was said
    try:
        wait(lambda: set(discovery(ME)) <= set(late.heard), "all entities")
        for topic, payload in discovery(ME).items():
            assert [(json.loads(text), old) for text, old in late.heard[topic]] == [(payload, True)]
        wait(lambda: ME.availability_topic in late.heard, "its availability")
        assert late.heard[ME.availability_topic] == [("online", True)]
    finally:
        late.close()


def test_commands_arrive_retained_ones_are_refused_and_the_refusal_comes_back(
    charger: Charger, home: HomeAssistant
) -> None:
    wait(lambda: home.last(ME.state_topic), "the state")
    home.say(ME.command_topic("set_point"), "-3000")
    wait(lambda: charger.port.asked, "the request")
    assert charger.port.asked == [(-3000.0, 900.0, "mode set-point", "mqtt")]
    wait(lambda: json.loads(home.last(ME.state_topic))["mode"] == "set-point", "the new mode")
    home.say(ME.command_topic("set_point"), "1e9")
    wait(lambda: "from -11000 to 22000" in json.loads(home.last(ME.state_topic))["refusal"], "the refusal")


def test_a_command_that_the_broker_kept_is_not_obeyed(
    tmp_path: Path, port: int, mosquitto: list[Mosquitto], home: HomeAssistant
) -> None:
    home.say(ME.command_topic("mode"), "discharge", retain=True)
    charger = Charger(tmp_path, port)
    try:
        wait(lambda: home.last(ME.state_topic), "the state")
        wait(lambda: "retained" in json.loads(home.last(ME.state_topic))["refusal"], "the refusal")
        assert charger.port.asked == []
    finally:
        charger.end()


def test_a_broker_that_is_killed_is_found_again_and_told_everything_again(
    tmp_path: Path, charger: Charger, home: HomeAssistant, mosquitto: list[Mosquitto], port: int
) -> None:
    wait(lambda: home.last(ME.state_topic), "the state")
    mosquitto[-1].kill()
    wait(lambda: "is not connected" in charger.side.problem, "the loss")
    charger.power_w = -7000.0
    mosquitto.append(Mosquitto(tmp_path, port))  # knows nothing: it kept nothing on a disk
    wait(lambda: not charger.side.problem, "the connection")
    late = HomeAssistant(port)
    try:
        wait(lambda: set(discovery(ME)) <= set(late.heard), "all entities again")
        wait(lambda: late.last(ME.availability_topic) == "online", "its availability")
        charger.power_w = -8000.0
        wait(lambda: '"power": -8000.0' in late.last(ME.state_topic), "the state of now")
        late.say(ME.command_topic("mode"), "hold")
        wait(lambda: charger.port.asked, "a command over the new connection")
    finally:
        late.close()


def test_a_charger_that_ends_says_so_and_one_that_vanishes_has_it_said(
    tmp_path: Path, port: int, mosquitto: list[Mosquitto], home: HomeAssistant
) -> None:
    charger = Charger(tmp_path, port)
    wait(lambda: home.last(ME.availability_topic) == "online", "it is there")
    charger.end()
    wait(lambda: home.last(ME.availability_topic) == "offline", "its last word")
    charger = Charger(tmp_path, port)
    wait(lambda: home.last(ME.availability_topic) == "online", "it is there again")
    vanished = charger.broker._client.socket()
    charger.broker._client.reconnect_delay_set(30, 30)
    vanished.shutdown(socket.SHUT_RDWR)  # no word of goodbye
    wait(lambda: home.last(ME.availability_topic) == "offline", "its will")
    charger.end()


def test_a_wrong_password_is_said_and_nothing_waits(tmp_path: Path, port: int, mosquitto: list[Mosquitto]) -> None:
    charger = Charger(tmp_path, port, password="wrong")
    wait(lambda: "refuses us" in charger.side.problem, "the refusal")
    start = time.monotonic()
    charger.end()
    assert time.monotonic() - start < 15.0
