"""The package around our parts: codec, controller, one-frame reader, TLS and addresses. Everything from outside.

Runs only in the SECC's own environment. The names that are replaced in the package's modules are those of 0.31.2; a
name that is not there any more is an error at start, never a silent return to the package's own behaviour.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from iso15118 import __version__ as package_version
from iso15118.secc import SECCHandler, comm_session_handler
from iso15118.secc.controller.interface import EVSEControllerInterface
from iso15118.secc.secc_settings import Config
from iso15118.secc.states import iso15118_2_states, iso15118_20_states
from iso15118.secc.transport import tcp_server, udp_server
from iso15118.shared import network
from iso15118.shared.iexi_codec import IEXICodec
from iso15118.shared.messages.enums import AuthEnum
from iso15118.shared.messages.enums import Protocol as Spoken
from iso15118.shared.messages.iso15118_20 import common_messages
from iso15118.shared.notifications import TCPClientNotification
from iso15118.shared.settings import SettingKey, shared_settings

from firmware.bridges.secc import quirks
from firmware.bridges.secc.car import name_and_body
from firmware.bridges.secc.framing import FramedReader
from firmware.bridges.secc.session import PowerDelivery2, PowerDelivery20, Session
from firmware.bridges.secc.tap import Tap
from firmware.bridges.secc.tls import admit

PACKAGE_VERSION = "0.31.2"
PROTOCOLS = {"iso20": Spoken.ISO_15118_20_DC, "iso2": Spoken.ISO_15118_2, "din": Spoken.DIN_SPEC_70121}
# Names that the package's models of -20 have not as the schema has them: without this a car that asks for meter values
# would be ended with the answer.
MISSPELT = {f'"BPT{name}"': f'"BPT_{name}"' for name in ("DischargedEnergyReadingWh", "InductiveEnergyReadingVARh")}
NO_SCHEDULE = '"SAScheduleTuple": []'
Heard = Callable[[str, dict[str, Any]], None]


class Codec(Protocol):
    """What the engine needs of an EXI codec; `ExiCodec` is one. Namespaces are plain text."""

    def encode(self, message: str, namespace: str) -> bytes: ...

    def decode_message(self, data: bytes, namespace: str) -> dict[str, Any]: ...

    def get_version(self) -> str: ...


class EngineError(Exception):
    """The SECC cannot start. One sentence."""


def schemas() -> Path:
    """Where the package has its XSD files."""
    return Path(network.__file__).parent / "schemas"


class TappedCodec(IEXICodec):
    """Our codec as the package wants it. What was decoded is put right by the quirks, passed to `heard`, handed on."""

    def __init__(self, codec: Codec, heard: Heard) -> None:
        self._codec = codec
        self._heard = heard

    def encode(self, message: str, namespace: str) -> bytes:
        for wrong, right in MISSPELT.items():
            message = message.replace(wrong, right)
        if NO_SCHEDULE in message:  # of a car that is kept waiting; by the schema the list is left out or not empty
            whole = json.loads(message)
            name_and_body(whole)[1].pop("SAScheduleList")  # type: ignore[attr-defined]  # a dict: json made it
            message = json.dumps(whole)
        return self._codec.encode(message, _plain(namespace))

    def decode(self, stream: bytes, namespace: str) -> str:
        name = _plain(namespace)
        message = self._codec.decode_message(bytes(stream), name)
        if quirks.is_request(message):
            for quirk in quirks.put_right(name, message):
                logging.getLogger(__name__).info("quirk: %s", quirk)
        self._heard(name, message)
        return json.dumps(message)

    def get_version(self) -> str:
        return self._codec.get_version()


def _plain(namespace: str) -> str:
    """The package passes members of an enumeration, whose text is not their value."""
    return str(getattr(namespace, "value", namespace))


class FramedServer(tcp_server.TCPServer):
    """The package's TCP server with a reader that yields one frame at a time, and without Nagle's delay.

    One connection at a time: the messages of a second one would hide that the first car is silent.
    """

    _present: asyncio.StreamWriter | None = None
    tap: Tap | None = None

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken = self._present is not None and not self._present.is_closing()
        if taken or not admit(writer.get_extra_info("ssl_object")):
            writer.close()
            return
        self._present = writer
        connection = writer.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ends = (FramedReader(reader), writer) if self.tap is None else self.tap.connection(reader, writer)
        self._session_handler_queue.put_nowait(TCPClientNotification(*ends))


class TappedUdp(udp_server.UDPServer):
    """The package's SDP server; what it hears and says goes to the tap."""

    tap: Tap | None = None

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.tap is not None and not self.pause_server:
            self.tap.discovery("car", addr, data)
        super().datagram_received(data, addr)

    def send(self, message: Any, addr: tuple[str, int]) -> None:
        if self.tap is not None:
            self.tap.discovery("charger", addr, message.to_bytes())
        super().send(message, addr)


def replace(module: ModuleType, name: str, value: object) -> None:
    """Replace what the package's module uses under `name`. Raises EngineError where there is no such name."""
    if not hasattr(module, name):
        raise EngineError(f"iso15118 {package_version} has no {module.__name__}.{name}; {PACKAGE_VERSION} is needed.")
    setattr(module, name, value)


async def local_address(port: int, interface: str) -> tuple[str, int, int, int]:
    """The address to serve: link-local as the standards demand; ::1 on the loopback, which has no other one."""
    if interface == "lo":
        return ("::1", port, 0, 0)
    found: tuple[str, int, int, int] = await network.get_link_local_full_addr(port, interface)
    return found


@dataclass(frozen=True, slots=True)
class Settings:
    """protocols: keys of PROTOCOLS, the most wanted first. tls: makes the server's context; None: no TLS. tap: hears
    every frame."""

    interface: str
    protocols: tuple[str, ...] = ("iso20", "iso2", "din")
    tls: Callable[[], Any] | None = None
    tls_only: bool = False
    tap: Tap | None = None


class Engine:
    """One SECC on one interface."""

    def __init__(self, settings: Settings, codec: Codec, controller: EVSEControllerInterface, heard: Heard) -> None:
        """Raises EngineError."""
        if package_version != PACKAGE_VERSION:
            raise EngineError(f"iso15118 {package_version} is installed; {PACKAGE_VERSION} is needed.")
        if settings.interface != "lo":
            try:
                network.validate_nic(settings.interface)
            except Exception as error:  # the package raises what it likes here; the user gets one sentence
                raise EngineError(f"The interface {settings.interface} cannot be used: {error}") from None
        self._settings, self._heard = settings, heard
        # Read by the package from a dictionary that its own start-up code fills from the environment.
        shared_settings.update(
            {
                SettingKey.PKI_PATH: "/nonexistent/",
                SettingKey.MESSAGE_LOG_JSON: False,
                SettingKey.MESSAGE_LOG_EXI: False,
                SettingKey.ENABLE_TLS_1_3: True,
            }
        )
        FramedServer.tap = TappedUdp.tap = settings.tap
        replace(comm_session_handler, "TCPServer", FramedServer)
        replace(comm_session_handler, "UDPServer", TappedUdp)
        replace(comm_session_handler, "SECCCommunicationSession", Session)
        replace(iso15118_2_states, "PowerDelivery", PowerDelivery2)
        replace(iso15118_20_states, "PowerDelivery", PowerDelivery20)
        replace(tcp_server, "get_link_local_full_addr", local_address)
        replace(tcp_server, "get_ssl_context", lambda server_side: settings.tls() if settings.tls else None)
        allow_omissions()
        config = Config(
            iface=settings.interface,
            enforce_tls=settings.tls_only,
            free_charging_service=False,
            allow_cert_install_service=False,
            supported_protocols=[PROTOCOLS[name] for name in settings.protocols],
            supported_auth_options=[AuthEnum.EIM],
        )
        self._handler = SECCHandler(
            exi_codec=TappedCodec(codec, self._decoded), evse_controller=controller, config=config
        )

    def _decoded(self, namespace: str, message: dict[str, Any]) -> None:
        Session.decoded = name_and_body(message)[0]
        self._heard(namespace, message)

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._handler.start(self._settings.interface)

    def close_sessions(self) -> None:
        """The car is unplugged or its pilot is gone: as if it had closed its connections. One that had paused cannot
        resume: the next plug is a new session.

        The package's own `close_session` looks for the session under a key that it never has.
        """
        sessions = self._handler.comm_sessions
        for peer, (session, task) in list(sessions.items()):
            if task.done():
                del sessions[peer]
            else:
                with contextlib.suppress(Exception):
                    session.reader.feed_eof()


def allow_omissions() -> None:
    """What the schemas permit to be absent and the models demand: EVPowerProfile in PowerDeliveryReq (two foreign -20
    cars omit it), PowerToleranceAcceptance in that, and prices in a schedule (ours has none)."""
    for name in ("PowerDeliveryReq", "ChargingSchedule", "DischargingSchedule"):
        model = getattr(common_messages, name, None)
        if model is None:
            raise EngineError(f"iso15118 {package_version} has no model {name}; {PACKAGE_VERSION} is needed.")
        model.__pre_root_validators__ = []
    fields: Any = common_messages.ScheduledEVPowerProfile.__fields__
    if "power_tolerance_acceptance" not in fields:
        raise EngineError(f"iso15118 {package_version} has another EVPowerProfile; {PACKAGE_VERSION} is needed.")
    fields["power_tolerance_acceptance"].required = False
