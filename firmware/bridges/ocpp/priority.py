"""Somebody at the charger wants priority charging, or no longer (K21); the back end is told when it came to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware.bridges.ocpp.charging import SmartCharging
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Json, Notifier

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station


class PriorityCharging(Notifier):
    """NotifyPriorityCharging; of 2.1 only."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)

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
            self._push({"transactionId": tx, "activated": on})

    def next(self, now: float) -> tuple[str, Json] | None:
        dialect = self.station.dialect
        if dialect is not None and dialect.name != "2.1":
            self._tell.clear()  # they have no word for it
        return ("NotifyPriorityCharging", self._tell[0]) if self._tell else None
