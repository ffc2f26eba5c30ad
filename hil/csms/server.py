"""A back end on the loopback: registers every charger, answers all that chargers tell, keeps it, and sends calls.

It stands on the charger's own engine and schemas, so it proves nothing about how they read the specification; that
takes a peer that somebody else wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.dialect import BY_SUBPROTOCOL, DIALECTS, Dialect
from firmware.bridges.ocpp.rpc import Answered, Asked, Busy, Event, Failed, InvalidOwnMessage, Rpc
from firmware.bridges.ocpp.schemas import schemas_of

TICK_S = 0.1
TIMEOUT_S = 30.0
HEARTBEAT_S = 60

Json = dict[str, Any]


class CallRefused(Exception):
    """A call could not be made, or the charger refused it. One sentence."""


class Charger:
    """One connected charger. told: (action, payload) of all that it said, oldest first."""

    def __init__(self, identity: str, dialect: Dialect, socket: ServerConnection, csms: Csms) -> None:
        self.identity = identity
        self.dialect = dialect
        self.told: list[tuple[str, Json]] = []
        self._socket = socket
        self._csms = csms
        self._schemas = schemas_of(dialect)
        ids = (f"csms-{number}" for number in itertools.count(1))
        self._rpc = Rpc(
            dialect,
            self._schemas,
            supported=self._schemas.actions,
            timeout_s=TIMEOUT_S,
            new_id=lambda: next(ids),
        )
        self.transaction: str | int | None = None  # the one that it last told of, while it goes on
        self._waiting: asyncio.Future[Json] | None = None
        self._turn = asyncio.Lock()

    async def call(self, action: str, payload: Json) -> Json:
        """Call the charger and return its answer. Raises CallRefused."""
        async with self._turn:
            try:
                text = self._rpc.call(time.monotonic(), action, payload)
            except (Busy, InvalidOwnMessage) as error:
                raise CallRefused(f"Not sent: {error}.") from None
            self._waiting = asyncio.get_running_loop().create_future()
            self._csms.show(f"{self.identity} <- {action} {json.dumps(payload)}")
            try:
                await self._socket.send(text)
                return await self._waiting
            except ConnectionClosed:
                raise CallRefused("The charger is gone.") from None
            finally:
                self._waiting = None

    async def serve(self) -> None:
        """Until the connection ends."""
        ticking = asyncio.create_task(self._tick())
        try:
            async for frame in self._socket:
                if isinstance(frame, str):
                    out, events = self._rpc.receive(time.monotonic(), frame)
                    for event in events:
                        out += self._take(event)
                    for text in out:
                        await self._socket.send(text)
        except ConnectionClosed:
            pass
        finally:
            ticking.cancel()
            for event in self._rpc.reset():
                self._take(event)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for event in self._rpc.tick(time.monotonic()):
                self._take(event)

    def _take(self, event: Event) -> list[str]:
        match event:
            case Asked():
                self._csms.show(f"{self.identity} -> {event.action} {json.dumps(event.payload)}")
                self.told.append((event.action, event.payload))
                self._follow(event)
                return self._answer(event) if event.wants_answer else []
            case Answered():
                self._csms.show(f"{self.identity} -> answer {json.dumps(event.payload)}")
                if self._waiting is not None and not self._waiting.done():
                    self._waiting.set_result(event.payload)
            case Failed():
                if self._waiting is not None and not self._waiting.done():
                    self._waiting.set_exception(CallRefused(f"{event.action}: {event.code}: {event.description}"))
            case _:
                self._csms.show(f"{self.identity}: {event}")
        return []

    def _follow(self, asked: Asked) -> None:
        """Which transaction goes on."""
        if asked.action == "TransactionEvent":
            ended = asked.payload["eventType"] == "Ended"
            self.transaction = None if ended else asked.payload["transactionInfo"]["transactionId"]
        elif asked.action == "StopTransaction":
            self.transaction = None

    def _answer(self, asked: Asked) -> list[str]:
        now = times.show(time.time())
        match asked.action:
            case "BootNotification":
                payload: Json = {"currentTime": now, "interval": HEARTBEAT_S, "status": "Accepted"}
            case "Heartbeat":
                payload = {"currentTime": now}
            case "StartTransaction":
                self.transaction = self._csms.next_transaction()
                payload = {"transactionId": self.transaction, "idTagInfo": {"status": "Accepted"}}
            case "Authorize":
                known = {"status": "Accepted"}
                payload = {"idTokenInfo": known} if self.dialect.two else {"idTagInfo": known}
            case "NotifyEVChargingNeeds" | "NotifyEVChargingSchedule" | "PullDynamicScheduleUpdate" | "SignCertificate":
                payload = {"status": "Accepted"}
            case "DataTransfer":
                payload = {"status": "UnknownVendorId"}
            case _:
                payload = {}
        try:
            answer = self._rpc.reply(asked.id, payload)
        except InvalidOwnMessage as error:  # a message whose answer cannot be empty
            answer = error.instead
        return [] if answer is None else [answer]


class Csms:
    """The server. chargers: those connected, by identity."""

    def __init__(self, show: Callable[[str], None] = lambda line: None) -> None:
        self.show = show
        self.chargers: dict[str, Charger] = {}
        self.arrived = asyncio.Event()
        self._transactions = itertools.count(1)

    def next_transaction(self) -> int:
        """A transactionId of 1.6."""
        return next(self._transactions)

    @contextlib.asynccontextmanager
    async def listen(self, port: int = 0, versions: tuple[Dialect, ...] = DIALECTS) -> AsyncIterator[int]:
        """Serve on the loopback; yields the port. The address is fixed: nobody but this machine reaches it."""
        subprotocols = [Subprotocol(dialect.subprotocol) for dialect in versions]
        async with serve(self._connected, "127.0.0.1", port, subprotocols=subprotocols) as server:
            yield port_of(server)

    async def _connected(self, socket: ServerConnection) -> None:
        identity = socket.request.path.rpartition("/")[2] if socket.request is not None else ""
        dialect = BY_SUBPROTOCOL.get(socket.subprotocol or "")
        if dialect is None or not identity:
            await socket.close(1002, "an identity and a subprotocol of OCPP are needed")
            return
        charger = self.chargers[identity] = Charger(identity, dialect, socket, self)
        self.show(f"{identity} connected, OCPP {dialect.name}")
        self.arrived.set()
        try:
            await charger.serve()
        finally:
            if self.chargers.get(identity) is charger:
                del self.chargers[identity]
            self.show(f"{identity} is gone")


def port_of(server: Server) -> int:
    """The port that a server listens on."""
    return int(next(iter(server.sockets)).getsockname()[1])
