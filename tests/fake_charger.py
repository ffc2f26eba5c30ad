"""The real control socket with a charger behind it that only remembers what it was asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from firmware.control_client import SOCKET_NAME
from firmware.services.control import ControlServer, Refused
from tests.waiting import until

OCPP: dict[str, Any] = {
    "client_certificate": {"subject": "O=Grid Co,CN=7", "until_s": 1.8e9, "tried": False, "asked_for": True},
    "security_events": [{"type": "InvalidTLSVersion", "wall_s": 1795195730.0, "info": "too old", "told": False}],
    "monitors": [{"variable": "EVSE.1.Power", "id": 3, "type": "UpperThreshold", "value": 7000, "severity": 4,
                  "transaction": False, "alert": True}],
    "reservation": {"id": 5, "until_s": 1795195730.0},
    "firmware_update": "Downloading",
    "url": "ws://127.0.0.1:9000", "version": "2.1", "registration": "accepted", "online": True, "transaction": "t-1",
    "queue": {"waiting": 1, "given_up": 0, "first": [
        {"tx": "t-1", "seq": 3, "kind": "Updated", "trigger": "LimitSet", "wall_s": 1_700_000_000.0, "offline": True,
         "refused": 0}]},
    "profiles": [{"id": 7, "purpose": "TxProfile", "stack": 0, "kind": "Absolute", "evse": 1, "leads": True,
                  "profile": {"id": 7}}],
    "rule": {"mode": "CentralSetpoint", "profile": 7, "power_w": -7000.0, "charge_w": None, "discharge_w": None,
             "reason": "OCPP profile 7"},
    "offline_s": None,
    "der": [{"id": "vv", "type": "VoltVar", "default": True, "state": "active", "payload": {"priority": 0}}],
    "der_notices": 0, "alarm": None,
    "variables": [{"name": "OCPPCommCtrlr.HeartbeatInterval", "key": "HeartbeatInterval", "value": "20", "unit": "s",
                   "writable": True, "set": True}],
}  # fmt: skip


class FakeGrid:
    def __init__(self, calls: list[tuple[Any, ...]]) -> None:
        self.calls = calls

    def show(self) -> dict[str, Any]:
        shown = {"id": "q", "kind": "fixed_var", "is_default": False, "priority": 0, "start_s": 0.0, "end_s": None,
                 "by": "csms", "points": [], "numbers": [["q_pu", 0.2]], "set_no": 1, "state": "active"}  # fmt: skip
        trips = [{"id": "UF1", "threshold": 47.5, "unit": "Hz", "time_s": 0.1}]
        functions = [{"name": "const_q", "clause": "control q of csms"}]
        return {"controls": [shown], "sources": {"trip.UF1.threshold": "tight", "reactive": "q"}, "refused": "",
                "functions": functions, "trips": trips, "hash": "0"}  # fmt: skip

    def set(
        self, controls: list[dict[str, Any]], source: str, replace: list[str], confirm_s: float | None
    ) -> dict[str, Any]:
        self.calls.append(("controls_set", controls))
        return {"told": [f"set {c['id']}" for c in controls], **self.show()}

    def clear(self, control: str, source: str) -> dict[str, Any]:
        if control != "q":
            raise Refused(f"there is no control {control!r}; there are: q.")
        self.calls.append(("controls_clear", control))
        return {"told": [f"cleared {control}"], **self.show()}

    def confirm(self) -> dict[str, Any]:
        self.calls.append(("controls_confirm",))
        return {"told": [], **self.show()}

    def revert(self) -> dict[str, Any]:
        self.calls.append(("controls_revert",))
        return {"told": [], **self.show()}


class FakeCharger:
    def __init__(self, snapshot: dict[str, Any] | None) -> None:
        self.snapshot = snapshot
        self.calls: list[tuple[Any, ...]] = []
        self.grid = FakeGrid(self.calls)

    def hello(self) -> dict[str, Any]:
        return {"name": "quadrant"}

    def status(self) -> dict[str, Any]:
        return {"board": "desk", "snapshot": self.snapshot, "problems": [], "can_log": None}

    def power(self, power_w: float, for_s: float, reason: str, source: str) -> dict[str, Any]:
        if abs(power_w) > 22_000.0:
            raise Refused(f"power_w = {power_w:g} is outside this charger's ratings: -22000 W to 22000 W.")
        self.calls.append(("power", power_w, for_s, reason))
        return {}

    def operator(self, action: str) -> dict[str, Any]:
        self.calls.append((action,))
        return {}

    def events(self, since: float, limit: int) -> dict[str, Any]:
        self.calls.append(("events", since, limit))
        return {"events": [{"code": "grid_trip", "detail": "UF1", "wall_s": 1_700_000_000.0, "cleared": False}]}

    def can_log(self, path: str | None) -> dict[str, Any]:
        if path is not None and not path.endswith((".log", ".blf")):
            raise Refused("path must end with .log or .blf.")
        self.calls.append(("can_log", path))
        return {}

    def record(self) -> dict[str, Any]:
        self.calls.append(("record",))
        return {}

    def note(self, who: str, text: str) -> dict[str, Any]:
        self.calls.append(("note", who, text))
        return {}

    def ocpp(self, priority: bool | None) -> dict[str, Any]:
        return {"ocpp": OCPP, "problem": ""}

    def shutdown(self) -> dict[str, Any]:
        self.calls.append(("shutdown",))
        return {}


class Served:
    """A served charger; methods are for the test's thread."""

    def __init__(self, charger: FakeCharger, server: ControlServer, loop: asyncio.AbstractEventLoop) -> None:
        self.charger = charger
        self._server = server
        self._loop = loop

    def event(self, event: dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._server.publish_event, event)

    def publish(self, message: dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._server.publish_snapshot, lambda: message)

    @property
    def watchers(self) -> int:
        return len(self._server._watchers)

    def sent(self) -> None:
        """Wait until all that was published is on its way."""

        async def quiet() -> None:
            await until(lambda: not any(w._events or w._snapshot for w in self._server._watchers), "watchers that read")

        asyncio.run_coroutine_threadsafe(quiet(), self._loop).result(60.0)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result(60.0)


@contextmanager
def served(run_dir: Path, snapshot: dict[str, Any] | None) -> Iterator[Served]:
    charger = FakeCharger(snapshot)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = ControlServer(run_dir / SOCKET_NAME, charger)
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(60.0)
    charge = Served(charger, server, loop)
    try:
        yield charge
    finally:
        charge.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60.0)
        loop.close()
