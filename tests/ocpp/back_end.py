"""A back end in memory: answers with what the schema demands, and keeps what it was told."""

from __future__ import annotations

import itertools
import json
from typing import Any

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.identity import Identity
from firmware.bridges.ocpp.jobs import Job, Outcome
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.station import Station
from firmware.bridges.ocpp.transaction import Transactions
from firmware.bridges.ocpp.view import Phase, View
from tests.ocpp.wire import schemas

WALL_S = 1_795_172_400.0
WHO = Identity("Quadrant", "Desk 22", "1", "0.1.0")


def view(t: float = 0.0, phase: Phase = Phase.FREE, *, wh: tuple[float, float] = (0.0, 0.0), **more: Any) -> View:
    plugged = more.pop("plugged", phase is not Phase.FREE)
    return View(t, WALL_S + t, plugged, phase, *wh, **more)


def station(
    outbox: Outbox | None = None, *, interval_s: float = 60.0, **settings: Any
) -> tuple[Station, Outbox, list[str]]:
    box = Outbox(":memory:") if outbox is None else outbox
    said: list[str] = []
    ids = (f"id-{n}" for n in itertools.count(1))
    transactions = Transactions(box, interval_s, lambda: next(ids))
    made = Station(
        WHO, box, transactions, message_timeout_s=30.0, new_id=lambda: next(ids), say=said.append, **settings
    )
    return made, box, said


class BackEnd:
    """Answers every call of a station at once. `answers` replaces the payload of an action; None leaves it out; a
    text is the code of a CALLERROR."""

    def __init__(self, dialect: Dialect, **answers: Any) -> None:
        self.dialect = dialect
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.others: list[Any] = []  # answers of the station
        self.answers: dict[str, Any] = {
            "BootNotification": {"currentTime": times.show(WALL_S), "interval": 300, "status": "Accepted"},
            "Heartbeat": {"currentTime": times.show(WALL_S)},
            "StartTransaction": {"transactionId": 17, "idTagInfo": {"status": "Accepted"}},
            **answers,
        }

    def told(self, action: str) -> list[dict[str, Any]]:
        return [payload for name, payload in self.calls if name == action]

    def settle(self, charger: Station, now: float, steps: int = 200) -> None:
        """Let the station say all that it has to say at `now`."""
        for _ in range(steps):
            texts = charger.tick(now)
            if not texts:
                return
            for text in texts:
                self.hear(charger, now, text)
        raise AssertionError("it does not come to an end")

    def hear(self, charger: Station, now: float, text: str) -> None:
        kind, id, *rest = json.loads(text)
        if kind != 2:
            self.others.append([kind, id, *rest])
            return
        action, payload = rest
        problem = schemas(self.dialect).request(action, payload)
        assert problem is None, (action, problem)
        self.calls.append((action, payload))
        answer = self.answers.get(action, {})
        if answer is None:
            return
        frame = [4, id, answer, "no", {}] if isinstance(answer, str) else [3, id, answer]
        for reply in charger.receive(now, json.dumps(frame)):
            self.others.append(json.loads(reply))

    def ask(self, charger: Station, action: str, payload: dict[str, Any], now: float = 0.0) -> Any:
        (text,) = charger.receive(now, json.dumps([2, f"q{len(self.others)}-{action}", action, payload]))
        self.others.append(json.loads(text))
        return self.others[-1][2]


def registered(dialect: Dialect, **settings: Any) -> tuple[Station, Outbox, BackEnd]:
    """A station that is connected and accepted, with a free connector that was told."""
    charger, box, _ = station(**settings)
    peer = BackEnd(dialect)
    charger.observe(view())
    charger.connected(0.0, dialect)
    peer.settle(charger, 0.0)
    return charger, box, peer


class Hands:
    """A Worker of tests: does nothing by itself. jobs: what was begun, oldest first; `end` says how one ended."""

    def __init__(self, installs: bool = True, signer: str = "") -> None:
        self.installs = installs
        self.objection = signer
        self.jobs: list[Job] = []
        self.cancelled: list[str] = []
        self._open: dict[str, Outcome | None] = {}

    def signer(self, certificate: str, wall_s: float, more_roots: str) -> str:
        return self.objection

    def begin(self, name: str, job: Job) -> None:
        self.jobs.append(job)
        self._open[name] = None

    def cancel(self, name: str) -> None:
        if self._open.pop(name, self) is not self:
            self.cancelled.append(name)

    def outcome(self, name: str) -> Outcome | None:
        found = self._open.get(name)
        if found is not None:
            del self._open[name]
        return found

    def end(self, name: str, code: str = "", sentence: str = "") -> None:
        assert name in self._open, f"no job {name}"
        self._open[name] = Outcome(code, sentence)
