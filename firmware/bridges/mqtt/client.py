"""The connection to the broker: paho-mqtt in its own thread, which connects again by itself.

A clean session: what others said while we were away is not obeyed afterwards. The broker says `offline` for us (last
will) when the connection is lost.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

KEEPALIVE_S = 30  # the broker takes us for gone after 1.5 of these without a packet (MQTT 3.1.1, 3.1.2.10)
FIRST_WAIT_S, LONGEST_WAIT_S = 1, 60  # between two attempts, doubling; policy values
CONNECT_S = 5.0

OnMessage = Callable[[str, bytes, bool], None]  # topic, payload, retained


@dataclass(frozen=True, slots=True)
class Address:
    """Where the broker is and how to log in. ca_file: roots of its certificate; None with tls: the system's."""

    host: str
    port: int
    client_id: str
    tls: bool = False
    ca_file: Path | None = None
    username: str | None = None
    password: str = ""


class Broker:
    """Callbacks come from the connection's thread. `problem`: one sentence while there is no connection."""

    def __init__(
        self,
        address: Address,
        topics: Sequence[str],
        will: tuple[str, str] | None,
        on_up: Callable[[], None],
        heard: OnMessage,
    ) -> None:
        """topics: subscribed to at every connection. will: topic and payload, retained; None: none. Raises OSError,
        ssl.SSLError (an OSError) when the file of roots cannot be used."""
        self._address, self._topics, self._on_up = address, list(topics), on_up
        self.problem = f"The MQTT broker at {address.host}:{address.port} is not connected."
        client = self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=address.client_id, clean_session=True, protocol=paho.MQTTv311
        )
        client.connect_timeout = CONNECT_S
        client.reconnect_delay_set(FIRST_WAIT_S, LONGEST_WAIT_S)
        if address.tls:
            client.tls_set(ca_certs=None if address.ca_file is None else str(address.ca_file))
        if address.username is not None:
            client.username_pw_set(address.username, address.password)
        if will is not None:
            client.will_set(*will, qos=1, retain=True)
        self._last_word = will
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = lambda _client, _data, message: heard(message.topic, bytes(message.payload), message.retain)

    def start(self) -> None:
        """Begin; returns at once, whether the broker is there or not."""
        self._client.connect_async(self._address.host, self._address.port, KEEPALIVE_S)
        self._client.loop_start()

    def publish(self, topic: str, text: str, *, retain: bool = False) -> bool:
        """Never waits. False when there is no connection: nothing is kept for later."""
        if self.problem:
            return False
        done = self._client.publish(topic, text, qos=1 if retain else 0, retain=retain)
        return done.rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    def close(self, timeout_s: float = 2.0) -> None:
        """Say the last word and end; waits at most `timeout_s` for the thread."""
        if not self.problem and self._last_word is not None:
            topic, word = self._last_word
            done = self._client.publish(topic, word, qos=1, retain=True)
            with contextlib.suppress(ValueError, RuntimeError):
                done.wait_for_publish(timeout_s / 2)
        self._client.disconnect()
        end = threading.Thread(target=self._client.loop_stop, daemon=True)
        end.start()
        end.join(timeout_s / 2)

    def _connected(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.problem = f"The MQTT broker at {self._address.host}:{self._address.port} refuses us: {reason}."
            return
        self.problem = ""
        for topic in self._topics:
            client.subscribe(topic, qos=1)
        self._on_up()

    def _disconnected(self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not self.problem or not reason.is_failure:
            self.problem = f"The MQTT broker at {self._address.host}:{self._address.port} is not connected ({reason})."
