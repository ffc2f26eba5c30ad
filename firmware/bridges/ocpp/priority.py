"""Somebody at the charger wants priority charging, or no longer (K21); the back end is told when it came to be."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from firmware.bridges.ocpp.charging import SmartCharging
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json
from firmware.bridges.ocpp.rpc import DISCONNECTED, NO_ANSWER

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

MAX_WAITING = 20  # policy value


class PriorityCharging(Function):
    """NotifyPriorityCharging; of 2.1 only."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self._tell: deque[Json] = deque()

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"NotifyPriorityCharging"}) if dialect.name == "2.1" else frozenset()

    def want(self, now: float, on: bool) -> None:
        """A person at the charger wants it on or off. Without a PriorityCharging profile or a transaction nothing
        happens, and the log says why."""
        smart = next(f for f in self.station.functions if isinstance(f, SmartCharging))
        tx = self.station.transactions.id
        if tx is None:
            self.station.say("Priority charging needs a transaction, and none runs.")
        elif not smart.use_priority(now, on):
            self.station.say("The back end has set no PriorityCharging profile.")
        else:
            self._tell.append({"transactionId": tx, "activated": on})
            if len(self._tell) > MAX_WAITING:
                del self._tell[1]  # not the head: it may be on its way

    def next(self, now: float) -> tuple[str, Json] | None:
        dialect = self.station.dialect
        if dialect is not None and dialect.name != "2.1":
            self._tell.clear()  # they have no word for it
        return ("NotifyPriorityCharging", self._tell[0]) if self._tell else None

    def answered(self, now: float, action: str, request: Json, payload: Json) -> None:
        self._tell.popleft()

    def failed(self, now: float, action: str, request: Json, code: str) -> None:
        if self._tell and code not in (NO_ANSWER, DISCONNECTED):
            self._tell.popleft()
