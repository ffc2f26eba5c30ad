"""Calls that every charger answers: data transfer, the state of a transaction, triggers."""

from __future__ import annotations

from firmware.bridges.ocpp import telling
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json


class Basics(Function):
    """DataTransfer, GetTransactionStatus, TriggerMessage."""

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        common = frozenset({"DataTransfer", "TriggerMessage"})
        return common | {"GetTransactionStatus"} if dialect.two else common

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
