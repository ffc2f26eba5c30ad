"""Services' side of MQTT: once a second the state goes out, and what was commanded becomes a request with a lease."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
from collections import deque
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from boards import Board
from boards.peers import Mqtt
from firmware.bridges.mqtt import homeassistant as ha
from firmware.bridges.mqtt.commands import Ask, CommandRefused, Wishes
from firmware.services.control import Refused
from firmware.services.in_force import software

SOURCE = "mqtt"
FILE = "mqtt.json"  # in the run directory: the minimum state of charge
HEARTBEAT_S = 30.0  # the state is sent at least so often, for whoever has just subscribed; policy value
STALE_S = 2.0  # older snapshots are not sent: the charger is then unavailable
BOUND_S = 5.0  # the reserve is told anew every second
MAX_WAITING = 16  # commands that wait for services' loop: of more at once, the newest count


class BrokerLike(Protocol):
    """What is used of firmware.bridges.mqtt.client.Broker."""

    problem: str

    def start(self) -> None: ...
    def publish(self, topic: str, text: str, *, retain: bool = False) -> bool: ...
    def close(self, timeout_s: float = 2.0) -> None: ...


class Port(Protocol):
    """What services do for it. Only in services' loop."""

    def power(self, power_w: float, for_s: float, reason: str, source: str) -> dict[str, Any]: ...
    def withdraw(self, source: str) -> None: ...
    def asks(self, source: str) -> bool: ...
    def bound_discharge(self, source: str, reason: str, for_s: float) -> None: ...


class MqttSide:
    """Nothing of it waits or raises into services, but `close`, which waits for a bounded time."""

    def __init__(self, settings: Mqtt, identity: ha.Identity, run_dir: Path, say: Callable[[str], None]) -> None:
        self._settings, self._identity, self._say = settings, identity, say
        self._path = run_dir / FILE
        self._loop: asyncio.AbstractEventLoop | None = None
        self._port: Port | None = None
        self._broker: BrokerLike | None = None
        self._file_problem = ""
        self.wishes = Wishes(identity.charge_w, identity.discharge_w, self._load())
        self._due = True  # everything must be sent again
        self._available = ""
        self._sent = ""
        self._sent_at = -math.inf
        self._inbox: deque[tuple[str, bytes, bool]] = deque(maxlen=MAX_WAITING)

    @property
    def topics(self) -> list[str]:
        """What the broker must bring us."""
        commands = [self._identity.command_topic("+")] if self._identity.commands else []
        return [self._identity.birth_topic, *commands]

    @property
    def will(self) -> tuple[str, str]:
        return self._identity.availability_topic, ha.OFFLINE

    @property
    def problem(self) -> str:
        return self._file_problem or ("" if self._broker is None else self._broker.problem)

    def attach(self, loop: asyncio.AbstractEventLoop, port: Port, broker: BrokerLike) -> None:
        """Begin. port: services; what is heard is obeyed in `loop`."""
        self._loop, self._port, self._broker = loop, port, broker
        broker.start()

    async def close(self) -> None:
        if self._broker is not None:
            await asyncio.to_thread(self._broker.close)

    # --------------------------------------------------------------------------------- from the connection's thread
    def up(self) -> None:
        """There is a connection again."""
        self._call(self._all_again)

    def heard(self, topic: str, payload: bytes, retained: bool) -> None:
        if topic == self._identity.birth_topic:
            if payload.strip() == ha.ONLINE.encode():
                self._call(self._all_again)
        else:
            self._inbox.append((topic.rpartition("/")[2], payload, retained))
            self._call(self._obey_all)

    def _call(self, what: Callable[[], None]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # services have just ended
                self._loop.call_soon_threadsafe(what)

    # ------------------------------------------------------------------------------------------ in services' loop
    def _all_again(self) -> None:
        self._due = True

    def _obey_all(self) -> None:
        while self._inbox:
            self._obey(*self._inbox.popleft())

    def _obey(self, name: str, payload: bytes, retained: bool) -> None:
        assert self._port is not None
        before = self.wishes.min_soc_pct
        try:
            asked = self.wishes.obey(name, payload, retained)
        except CommandRefused as refusal:
            self._say(f"MQTT: {refusal}")
            return
        if self.wishes.min_soc_pct != before:
            self._store()
        if asked is not None:
            self._ask(self._port, asked)

    def _ask(self, port: Port, asked: Ask) -> None:
        if asked.power_w is None:
            port.withdraw(SOURCE)
            return
        try:
            port.power(asked.power_w, self._settings.lease_s, asked.reason, SOURCE)
        except Refused as refusal:
            self.wishes.not_taken(str(refusal))
            self._say(f"MQTT: {refusal}")

    def tick(self, now: float, status: Mapping[str, Any]) -> None:
        """Once a second. status: the body of the control socket's `status`."""
        port, broker = self._port, self._broker
        if port is None or broker is None:
            return
        snapshot, age_s = status["snapshot"], status["age_s"]
        present = snapshot is not None and age_s is not None and age_s <= STALE_S
        if self._identity.commands:
            if not port.asks(SOURCE):
                self.wishes.ended()
            port.bound_discharge(SOURCE, self.wishes.reserve(snapshot["soc_pct"] if present else None), BOUND_S)
        if broker.problem:
            return
        if self._due:
            self._due = not self._announce(broker)
        available = ha.ONLINE if present else ha.OFFLINE
        if available != self._available and broker.publish(self._identity.availability_topic, available, retain=True):
            self._available = available
        if present:
            text = json.dumps(ha.state_of(status, self.wishes), allow_nan=False)
            if (text != self._sent or now - self._sent_at >= HEARTBEAT_S) and broker.publish(
                self._identity.state_topic, text
            ):
                self._sent, self._sent_at = text, now

    def _announce(self, broker: BrokerLike) -> bool:
        self._available = self._sent = ""  # all of it again, after the entities are known
        told = [
            broker.publish(topic, json.dumps(payload), retain=True)
            for topic, payload in ha.discovery(self._identity).items()
        ]
        told += [broker.publish(topic, "", retain=True) for topic in ha.forgotten(self._identity)]
        return all(told)

    # ------------------------------------------------------------------------------------------------ what is kept
    def _load(self) -> float:
        try:
            value = json.loads(self._path.read_bytes())["min_soc_pct"]
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 100.0:
                raise ValueError("min_soc_pct is no number from 0 to 100")
        except FileNotFoundError:
            return 0.0
        except (OSError, ValueError, KeyError, TypeError) as error:
            # Somebody wanted a reserve and nobody knows which: none of it is given away.
            self._file_problem = f"{self._path} cannot be read ({error}): nobody discharges until MQTT sets min_soc."
            self._say(self._file_problem)
            return 100.0
        return float(value)

    def _store(self) -> None:
        part = self._path.with_suffix(".part")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump({"min_soc_pct": self.wishes.min_soc_pct}, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
            self._file_problem = ""
        except OSError as error:
            self._file_problem = f"{self._path} cannot be written ({error.strerror}): min_soc ends with this process."
            self._say(self._file_problem)


def identity_of(board: Board, settings: Mqtt) -> ha.Identity:
    ratings = board.ratings
    return ha.Identity(
        settings.node or board.name, board.title, software(), ratings.charge_w, ratings.discharge_w, settings.topic,
        settings.discovery_prefix, settings.commands,
    )  # fmt: skip


def start(
    board: Board, run_dir: Path, say: Callable[[str], None], loop: asyncio.AbstractEventLoop, port: Port
) -> tuple[MqttSide | None, str]:
    """The running bridge, or None with a sentence why there is none; None and "" when the board has no [mqtt]."""
    settings = board.mqtt
    if settings is None:
        return None, ""
    if find_spec("paho") is None:
        return None, "MQTT does not run: paho-mqtt is not installed; pip install 'quadrant[mqtt]'."
    from firmware.bridges.mqtt.client import Address, Broker  # only where it is configured

    identity = identity_of(board, settings)
    try:
        password = "" if settings.password_file is None else Path(settings.password_file).read_text().rstrip("\r\n")
        address = Address(
            settings.host, settings.port, f"quadrant-{identity.node}", settings.tls,
            None if settings.ca_file is None else Path(settings.ca_file), settings.username, password,
        )  # fmt: skip
        side = MqttSide(settings, identity, run_dir, say)
        broker = Broker(address, side.topics, side.will, side.up, side.heard)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        return None, f"MQTT does not run: {error}."
    side.attach(loop, port, broker)
    return side, ""
