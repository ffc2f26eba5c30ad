"""Calls that every charger answers: data transfer, the state of a transaction, triggers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware.bridges.ocpp import telling
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station


class Basics(Function):
    """DataTransfer, GetTransactionStatus, TriggerMessage; ExtendedTriggerMessage of 1.6; MeterValues of 2.x."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self._meter_values: Json | None = None  # wanted by a TriggerMessage

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        common = frozenset({"DataTransfer", "TriggerMessage"})
        return common | ({"GetTransactionStatus"} if dialect.two else {"ExtendedTriggerMessage"})

    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        match action:
            case "DataTransfer":
                return {"status": "UnknownVendorId"}
            case "GetTransactionStatus":
                return self._transaction_status(payload)
            case _:
                return {"status": self._trigger(now, payload)}

    def _transaction_status(self, payload: Json) -> Json:
        tx = payload.get("transactionId")
        if tx is None:
            return {"messagesInQueue": len(self.station.outbox) > 0}
        waiting = self.station.outbox.waiting_for(tx) > 0
        return {"ongoingIndicator": tx == self.station.transactions.id, "messagesInQueue": waiting}

    def _trigger(self, now: float, payload: Json) -> str:
        evse = payload.get("evse", {}).get("id", payload.get("connectorId", telling.CONNECTOR))
        if evse not in (0, telling.CONNECTOR):
            return "Rejected"
        asked = payload["requestedMessage"]
        found = self.station.triggered(now, asked)
        for function in self.station.functions:
            found = function.trigger(now, asked, payload) if found is None else found
        return "NotImplemented" if found is None else found

    def trigger(self, now: float, message: str, payload: Json) -> str | None:
        """Meter values outside of a transaction (2.x); in 1.6 the station's own trigger has them."""
        view, dialect = self.station.view, self.station.dialect
        if message != "MeterValues" or view is None or dialect is None:
            return None
        value = telling.meter_value(dialect, self.station.wall_s(now), "Trigger", telling.samples(view))
        self._meter_values = {"evseId": telling.CONNECTOR, "meterValue": [value]}
        return "Accepted"

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"MeterValues"}) if dialect.two else frozenset()

    def next(self, now: float) -> tuple[str, Json] | None:
        return None if self._meter_values is None else ("MeterValues", self._meter_values)

    def answered(self, now: float, action: str, request: Json, payload: Json) -> None:
        self._meter_values = None

    def failed(self, now: float, action: str, request: Json, code: str) -> None:
        self._meter_values = None

    def disconnected(self, now: float) -> None:
        self._meter_values = None
