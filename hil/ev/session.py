"""One session of the rig's EV, from SDP to the end of the connection. Runs only in the SECC's own environment.

The package's own session handler tries again without end; here a session is an attempt with a result.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from iso15118.evcc import evcc_settings
from iso15118.evcc.comm_session_handler import EVCCCommunicationSession
from iso15118.evcc.evcc_config import EVCCConfig
from iso15118.shared.exi_codec import EXI
from iso15118.shared.messages.timeouts import Timeouts

from firmware.bridges.secc.car import name_and_body, number
from firmware.bridges.secc.engine import TappedCodec
from firmware.bridges.secc.exi import ExiCodec
from firmware.bridges.secc.framing import FramedReader
from hil.ev.body import Wishes
from hil.ev.controller import RigEv
from hil.ev.quirks import encoded

SDP_PORT = 15118
SDP_GROUP = "ff02::1"
SDP_WAIT_S = 0.25  # ISO 15118-2, V2G2-161; 50 requests at most
SDP_REQUESTS = 50
_SDP_HEADER = bytes.fromhex("01fe900000000002")
_SDP_RESPONSE = bytes.fromhex("01fe900100000014")


class NoSession(Exception):
    """There was nobody to speak to. One sentence."""


async def discover(interface: str, *, tls: bool) -> tuple[str, int, bool]:
    """Address, port and whether the charger speaks TLS there. Raises NoSession."""
    loop = asyncio.get_running_loop()
    index = socket.if_nametoindex(interface)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
        # The loopback has neither a link-local address nor multicast.
        target = ("::1", SDP_PORT) if interface == "lo" else (SDP_GROUP, SDP_PORT, 0, index)
        for _ in range(SDP_REQUESTS):
            try:
                await loop.sock_sendto(sock, _SDP_HEADER + bytes([0x00 if tls else 0x10, 0x00]), target)
                async with asyncio.timeout(SDP_WAIT_S):
                    answer, _ = await loop.sock_recvfrom(sock, 256)
            except TimeoutError:
                continue
            except OSError:  # the port is closed, or the interface is not up yet
                await asyncio.sleep(SDP_WAIT_S)
                continue
            if answer[:8] == _SDP_RESPONSE and len(answer) == 28:
                host = socket.inet_ntop(socket.AF_INET6, answer[8:24])
                return host, int.from_bytes(answer[24:26], "big"), answer[26] == 0x00
    raise NoSession(f"No SECC answered {SDP_REQUESTS} requests on {interface}.")


@dataclass
class Log:
    """What the car saw of the charger. Round trips are from before a request was written to the decoded response."""

    sent: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    notifications: list[str] = field(default_factory=list)
    round_trips_s: list[float] = field(default_factory=list)
    amps: list[float] = field(default_factory=list)
    limits_a: list[float] = field(default_factory=list)  # EVSEMaximumCurrentLimit of ISO 15118-2 and DIN
    parameters: set[str] = field(default_factory=set)  # names in the parameter sets of the services of -20
    sent_t: float = 0.0
    odd: int = 0  # messages that the car's quirk changed

    def response(self, namespace: str, message: dict[str, Any]) -> None:
        name, body = name_and_body(message)
        code = body.get("ResponseCode")
        if isinstance(code, str) and code.upper().startswith("FAILED"):
            self.failed.append(f"{name}: {code}")
        status = body.get("EVSEStatus") or body.get("DC_EVSEStatus")
        notification = status.get("EVSENotification") if isinstance(status, dict) else None
        if notification not in (None, "None"):
            self.notifications.append(str(notification))
        limit_a = number(body.get("EVSEMaximumCurrentLimit"))
        if limit_a is not None:
            self.limits_a.append(limit_a)
        sets = body.get("ServiceParameterList", {}).get("ParameterSet", []) if name == "ServiceDetailRes" else []
        self.parameters.update(str(parameter.get("Name")) for one in sets for parameter in one.get("Parameter", []))
        if name in ("CurrentDemandRes", "DC_ChargeLoopRes"):
            self.round_trips_s.append(time.monotonic() - self.sent_t)
            amps = number(body.get("EVSEPresentCurrent"))
            if amps is not None:
                self.amps.append(amps)


class EvSession(EVCCCommunicationSession):
    """The package's session with a car's pace; it polls hundreds of times a second by itself."""

    log: Log
    pause_s: float
    byte_by_byte: bool
    patience: float

    async def stop(self, reason: str) -> None:
        """The session is over: the car closes its connection. (The package's own one waits for five seconds first, in
        which a charger may already offer the next session.)"""
        await self.ev_controller.enable_charging(False)
        self.writer.close()

    async def send(self, message: Any) -> None:
        name = str(self.current_state.message)
        if name in ("V2GMessage", "V2G_Message"):
            name = str(self.current_state.message.body.get_message_name())
        self.log.sent[name] += 1
        if "CableCheck" in name:
            self.ev_controller.body.state_c(True)
        self.current_state.next_msg_timeout *= self.patience  # this state's, set anew with every message
        await asyncio.sleep(self.pause_s)
        self.log.sent_t = time.monotonic()
        if not self.byte_by_byte:
            await super().send(message)
            return
        for byte in message.to_bytes():
            self.writer.write(bytes([byte]))
            await self.writer.drain()
            await asyncio.sleep(0)
        self.last_message_sent = message


class CarCodec(TappedCodec):
    """What leaves the car has a quirk, or says Pause where the package's EV only knows Terminate."""

    def __init__(self, codec: ExiCodec, log: Log, quirk: str, wishes: Wishes) -> None:
        super().__init__(codec, log.response)
        self._log, self._quirk, self._wishes = log, quirk, wishes

    def encode(self, message: str, namespace: str) -> bytes:
        if self._wishes.pause and "SessionStopReq" in message:
            message = message.replace('"ChargingSession": "Terminate"', '"ChargingSession": "Pause"')
        if not self._quirk:
            return super().encode(message, namespace)
        data, changed = encoded(message, self._quirk, lambda text: super(CarCodec, self).encode(text, namespace))
        self._log.odd += changed
        return data


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended. `reason`: the package's own sentence. session_id: what the charger called it."""

    successful: bool
    reason: str
    tls: str  # the version, or "" without
    session_id: str = ""


async def run(
    interface: str,
    config: EVCCConfig,
    controller: RigEv,
    codec: ExiCodec,
    log: Log,
    *,
    tls: Any = None,
    pause_s: float = 0.05,
    byte_by_byte: bool = False,
    quirk: str = "",
    patience: float = 1.0,
    resume: str = "",
) -> Result:
    """One session. tls: the client's context; None: no TLS. quirk: of QUIRKS. patience: the car waits so many times as
    long for each answer as the protocol says. resume: number of the paused session that goes on. Raises NoSession."""
    EXI().set_exi_codec(CarCodec(codec, log, quirk, controller.wishes))
    evcc_settings.RESUME_SESSION_ID = resume or None
    host, port, speaks_tls = await discover(interface, tls=tls is not None)
    if tls is not None and not speaks_tls:
        raise NoSession("The SECC does not speak TLS.")
    try:
        reader, writer = await asyncio.open_connection(
            host if interface == "lo" else f"{host}%{interface}",
            port,
            family=socket.AF_INET6,
            ssl=tls,
            server_hostname="" if tls is not None else None,
        )
    except OSError as error:
        raise NoSession(f"The SECC at {host} refused the connection: {error}") from None
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ssl_object = writer.get_extra_info("ssl_object")
    version = ssl_object.version() if ssl_object is not None else ""
    results: asyncio.Queue[Any] = asyncio.Queue()
    session = EvSession((FramedReader(reader), writer), results, config, interface, controller)
    session.log, session.pause_s, session.byte_by_byte, session.patience = log, pause_s, byte_by_byte, patience
    session.is_tls = tls is not None
    try:
        await session.send_sap()
        await session.start(Timeouts.SUPPORTED_APP_PROTOCOL_REQ * patience)
        stop = results.get_nowait()
        return Result(bool(stop.successful), str(stop.reason), version, str(session.session_id))
    except asyncio.QueueEmpty:
        return Result(False, "the package ended the session without a word", version)
    finally:
        controller.open()
        controller.body.state_c(False)
        writer.close()
