"""The only part of the OCPP bridge that waits: connects, passes texts, waits, connects again; in a thread of its own.

A thread, because the queue waits for the disk and services' event loop has leases to renew. What services see of it is
`look` (never waits) and `problem`. Whatever happens in here is told and the bridge begins anew; nothing else notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from firmware.bridges.ocpp.certificates import BACK_END as BACK_END_ROOT
from firmware.bridges.ocpp.certificates import KEPT as CERTIFICATES
from firmware.bridges.ocpp.certificates import installed
from firmware.bridges.ocpp.client_keys import FOLDER as KEYS
from firmware.bridges.ocpp.client_keys import Keys, KeysError, organization_of
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.identity import Identity
from firmware.bridges.ocpp.jobs import Worker
from firmware.bridges.ocpp.network import Backoff, NetworkError, Profile, Ways
from firmware.bridges.ocpp.network_profiles import KEPT as SLOTS
from firmware.bridges.ocpp.network_profiles import ways_of
from firmware.bridges.ocpp.outbox import Outbox, OutboxError
from firmware.bridges.ocpp.priority import PriorityCharging
from firmware.bridges.ocpp.report import station_report
from firmware.bridges.ocpp.schemas import SchemasMissing
from firmware.bridges.ocpp.services_grid import ServicesGrid
from firmware.bridges.ocpp.station import Station
from firmware.bridges.ocpp.transaction import Transactions
from firmware.bridges.ocpp.transport import NoConnection, open_socket
from firmware.bridges.ocpp.tunables import Tunables
from firmware.bridges.ocpp.view import DESK, Ability, GridPort, Orders, View, Wanted

FILE = "ocpp.sqlite"
TICK_S = 0.1  # ten times a second, as guard's snapshots come
SEND_TIMEOUT_S = 10.0  # policy value: a back end that takes nothing for so long is not there
REPORT_S = 1.0
AGAIN_S = 10.0  # policy value: after a fault of the bridge itself
CLOSE_S = 1.0  # policy value: for so long the back end is waited for when the bridge ends
REPEATED_S = 3600.0  # the same sentence again at most once an hour: a week without a back end is no news
BECAME = {  # what Credentials.stood says -> for people
    "taken password": "The back end takes the new password; the old one is forgotten.",
    "dropped password": "The back end does not take the new password; the old one goes on, the new one comes second.",
    "taken certificate": "The back end takes our new certificate; the old one is forgotten.",
    "dropped certificate": "The back end does not take our new certificate; the old one goes on.",
}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the bridge is told. backoff: minimum, random range (s) and repeats of network.Backoff."""

    profiles: Sequence[Profile]
    dialects: Sequence[Dialect]
    identity: Identity
    meter_interval_s: float
    message_timeout_s: float
    follow_clock: bool
    backoff: tuple[float, float, int]
    boot_reason: str = "PowerUp"  # a BootReasonEnumType of 2.x
    ability: Ability = DESK
    restarts: bool = False  # what was shut down is started again by somebody


def new_id() -> str:
    """For messages and transactions: 36 characters, never twice."""
    return str(uuid.uuid4())


class Bridge:
    """One charger's connection to its back end, in an asyncio loop. Not thread-safe."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        look: Callable[[], View | None],
        say: Say,
        want: Callable[[Wanted | None], None] = lambda wanted: None,
        grid: GridPort | None = None,
        worker: Worker | None = None,
        keys: Keys | None = None,
    ) -> None:
        """look: the newest look at the charger, None before the first. want: gets what the back end's rules come to.
        grid: services' controls over the grid code. worker: does what takes long. keys: the files of our certificates.
        Raises NetworkError."""
        self._want = want
        self._settings = settings
        self._look = look
        self._say = say
        self._outbox = outbox
        self._ways = Ways(settings.profiles)
        self._seen: View | None = None
        minimum_s, random_s, repeat = settings.backoff
        tune = Tunables(
            meter_interval_s=settings.meter_interval_s,
            retry_minimum_s=minimum_s,
            retry_random_s=random_s,
            retry_repeat=repeat,
            organization="" if keys is None else organization_of(keys.certificate),
        )
        self.station = Station(
            settings.identity,
            outbox,
            Transactions(outbox, settings.meter_interval_s, new_id),
            message_timeout_s=settings.message_timeout_s,
            new_id=new_id,
            say=say,
            follow_clock=settings.follow_clock,
            boot_reason=settings.boot_reason,
            ability=settings.ability,
            grid=grid,
            tune=tune,
            restarts=settings.restarts,
            worker=worker,
            way=settings.profiles[0],
            keys=keys,
        )
        self.station.security("StartupOfTheDevice", settings.boot_reason)
        # What the back end wrote earlier counts over the board, from this start on; ways from the next connection on.
        self._backoff = Backoff(random.Random(), tune.retry_minimum_s, tune.retry_random_s, tune.retry_repeat)

    @property
    def url(self) -> str:
        """The address that is tried or in use."""
        return self._ways.current.url

    async def run(self) -> None:
        """Until cancelled. Raises SchemasMissing, NetworkError."""
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                await self._once()
                await asyncio.sleep(self._backoff.next_s())
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    async def _watch(self) -> None:
        """What the charger does is written down whether somebody is connected or not."""
        while True:
            self._observe()
            await asyncio.sleep(TICK_S)

    def _observe(self) -> None:
        view = self._look()
        if view is not None and view is not self._seen:
            self._seen = view
            self.station.observe(view)
            self._want(self.station.wanted(time.monotonic()))

    async def _once(self) -> None:
        self._ways = self._ways_now()
        roots = installed(self._outbox.state(CERTIFICATES), BACK_END_ROOT)
        profile = self.station.credentials.of(replace(self._ways.current, more_roots=roots))
        try:
            socket, dialect = await open_socket(profile, self._settings.dialects)
        except NoConnection as error:
            self._say(f"{error} ({profile.url})" + (f" Security event: {error.event}." if error.event else ""))
            if error.event:
                self.station.security(error.event, f"{error} ({profile.url})")
            self.station.credentials.failed(error.refused, self._ways.failed())
            return
        self._say(f"Connected to {profile.url} as {profile.identity}, OCPP {dialect.name}.")
        self._ways.stood()
        self._known_by()
        self.station.timeout_s = profile.message_timeout_s or self._settings.message_timeout_s
        self.station.connected(time.monotonic(), dialect)
        try:
            await self._talk(socket)
        finally:
            self.station.disconnected(time.monotonic())
            with contextlib.suppress(ConnectionClosed, OSError):
                await socket.close()
        self._say(f"The connection to {profile.url} ended.")

    def _known_by(self) -> None:
        """The connection stands: what it was made with counts."""
        try:
            became = self.station.credentials.stood()
        except (KeysError, OutboxError) as error:
            self._say(str(error))
            return
        sentence = BECAME.get(became, "")
        if sentence:
            self._say(sentence)
        if became == "dropped certificate":
            self.station.security("DiscardedRenewedClientCertificate", sentence)  # A02.FR.29
        elif became == "dropped password":
            self.station.security("ReconfigurationOfSecurityParameters", sentence)

    def _ways_now(self) -> Ways:
        """What the back end has added since counts from this connection on."""
        tune, board = self.station.tune, self._settings.profiles
        own = self.station.credentials.certified(board[0])
        wanted = tuple(ways_of(board, self._outbox.state(SLOTS), tune.priority, own))
        same = (wanted, tune.connection_attempts) == (self._ways.profiles, self._ways.attempts)
        return self._ways if same else Ways(wanted, tune.connection_attempts, floor=self._settings.profiles[0].security)

    async def _talk(self, socket: ClientConnection) -> None:
        texts: asyncio.Queue[str] = asyncio.Queue(maxsize=64)
        reading = asyncio.create_task(self._read(socket, texts))
        try:
            while not self.station.dead:
                received = None
                # Not wait_for: in Python 3.11 it loses a cancellation that comes together with a text.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        received = await texts.get()
                now = time.monotonic()
                out = [] if received is None else self.station.receive(now, received)
                if received is not None:
                    self._want(self.station.wanted(now))  # a new set-point waits for no look at the charger
                for text in [*out, *self.station.tick(now)]:
                    async with asyncio.timeout(SEND_TIMEOUT_S):
                        await socket.send(text)
                if self.station.done:
                    return
                if self.station.online:
                    self._backoff.reset()
                if reading.done() and texts.empty():
                    return
        except (ConnectionClosed, OSError, TimeoutError):
            return
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

    async def _read(self, socket: ClientConnection, texts: asyncio.Queue[str]) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame = await socket.recv()
                if isinstance(frame, str):  # OCPP-J is text; what is binary is dropped
                    await texts.put(frame)


class BridgeThread:
    """The bridge beside services. Nothing here raises into the caller."""

    def __init__(self, settings: Settings, run_dir: Path, say: Say, worker: Worker | None = None) -> None:
        self._settings = settings
        self._run_dir = run_dir
        self._worker = worker
        self._tell = say
        self._told: dict[str, float] = {}
        self._view: View | None = None
        self._wanted: Wanted | None = None
        self._orders: Orders | None = None
        self._grid = ServicesGrid()
        self._report: dict[str, Any] = {}
        self._priority: bool | None = None  # asked for and not yet passed on
        self._online = False
        self._fault = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._live, name="ocpp", daemon=True)

    def attach(self, loop: asyncio.AbstractEventLoop, grid: GridPort) -> None:
        """The controls over the grid code, to be asked in `loop`."""
        self._grid.attach(loop, grid)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def look(self, view: View) -> None:
        """The newest look at the charger. Never waits."""
        self._view = view

    @property
    def wanted(self) -> Wanted | None:
        """What the back end's rules come to, with the time at which that was decided. Never waits."""
        return self._wanted

    @property
    def orders(self) -> Orders | None:
        """What it orders beside power, at most TICK_S old; None before it has seen the charger. What was last ordered
        goes on while the bridge has a fault. Never waits."""
        return self._orders

    def _want(self, wanted: Wanted | None) -> None:
        self._wanted = wanted

    def want_priority(self, on: bool) -> None:
        """Somebody at the charger wants priority charging, or no longer. Never waits."""
        self._priority = on

    @property
    def report(self) -> dict[str, Any]:
        """What `quadrant ocpp` shows, at most a second old. Never waits."""
        return self._report

    @property
    def problem(self) -> str:
        """One sentence while the back end is not there, else empty."""
        return self._fault or ("" if self._online else "The back end (OCPP) is not connected; what it must know waits.")

    def close(self, timeout_s: float = 2.0) -> None:
        """End; what is in the queue stays there."""
        self._ending.set()
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                loop.call_soon_threadsafe(self._cancel)
        self._thread.join(timeout_s)

    def _cancel(self) -> None:
        if self._main is not None:
            self._main.cancel()

    def _live(self) -> None:
        while not self._ending.is_set():
            try:
                asyncio.run(self._run())
            except asyncio.CancelledError:
                return
            except (NetworkError, OutboxError, SchemasMissing) as error:
                self._fault = f"OCPP does not run: {error}"
            except Exception as error:  # a defect of the bridge must not become one of the charger
                self._fault = f"OCPP does not run: {type(error).__name__}: {error}."
            finally:
                self._online = False
                self._loop = None
            self._say(self._fault)
            self._ending.wait(AGAIN_S)

    async def _run(self) -> None:
        self._main = asyncio.current_task()
        outbox, notice = Outbox.open(self._run_dir / FILE)
        running: asyncio.Task[None] | None = None
        try:
            if notice:
                self._say(notice)
            keys = Keys(self._run_dir / KEYS, self._settings.profiles[0].cert_file)
            bridge = Bridge(
                self._settings, outbox, lambda: self._view, self._say, self._want, self._grid, self._worker, keys
            )
            self._loop = asyncio.get_running_loop()
            if self._ending.is_set():
                return
            self._fault = ""
            running = asyncio.create_task(bridge.run())
            due = 0.0
            while not running.done():
                self._online = bridge.station.online
                if bridge.station.view is not None:
                    self._orders = bridge.station.orders(time.monotonic())
                    if (wanted := self._priority) is not None:
                        self._priority = None
                        next(f for f in bridge.station.functions if isinstance(f, PriorityCharging)).want(
                            time.monotonic(), wanted
                        )
                if (now := time.monotonic()) >= due:
                    due = now + REPORT_S
                    self._report = {"url": bridge.url, **station_report(bridge.station, now)}
                await asyncio.wait([running], timeout=TICK_S)
            await running
        finally:
            if running is not None:  # it closes its socket before it ends: or the back end waits for that in vain
                running.cancel()
                await asyncio.wait([running], timeout=CLOSE_S)
            outbox.close()

    def _say(self, sentence: str) -> None:
        now = time.monotonic()
        if now - self._told.get(sentence, -REPEATED_S) >= REPEATED_S:
            if len(self._told) > 100:
                self._told.clear()
            self._told[sentence] = now
            self._tell(f"OCPP: {sentence}")
