"""What the charger knows of a customer is told and forgotten (N09, N10).

It knows tokens: their entries in the local list and in the cache, and the one of a running or waiting transaction.
Forgotten is the cache's entry; the list is the back end's own (SendLocalList), and a transaction must still be told.
Certificates and other identifiers of customers it does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.authorization import CACHE, Authorization
from firmware.bridges.ocpp.checks import Objection, rejected
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Json, Notifier

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

MAX_WAITING = 20  # policy value


class CustomerInformation(Notifier):
    """CustomerInformation and NotifyCustomerInformation; of 2.x only."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"CustomerInformation"}) if dialect.two else frozenset()

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"NotifyCustomerInformation"}) if dialect.two else frozenset()

    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        given = [key for key in ("idToken", "customerIdentifier", "customerCertificate") if key in payload]
        if len(given) != 1:
            words = "exactly one of idToken, customerIdentifier and customerCertificate is needed"
            return {**rejected(Objection("MissingParam", words)), "status": "Invalid"}
        if not payload["report"] and not payload["clear"]:
            return rejected(Objection("InvalidValue", "neither a report nor a clearing is asked for"))
        if len(self._tell) >= MAX_WAITING:
            return rejected(Objection("TooManyElements", "earlier reports are still being told"))
        token = payload.get("idToken")
        words = "" if token is None else self._known(token)
        if payload["clear"] and token is not None:
            self._forget(token)
        if payload["report"]:
            body = {"data": (words or "nothing is known")[:512], "seqNo": 0, "requestId": payload["requestId"]}
            self._tell.append(body | {"generatedAt": times.show(self.station.wall_s(now))})
        return {"status": "Accepted"}

    def _known(self, token: Json) -> str:
        known, digest = self._authorization.known, self._authorization.known.digest(token)
        found = []
        for place, entries in (("local list", known.listed), ("cache", known.cache)):
            if (entry := entries.get(digest)) is not None:
                until = "" if entry["expiry_s"] is None else f", expires {times.show(entry['expiry_s'])}"
                found.append(f"{place}: {entry['status']}{until}")
        granted = self.station.transactions.granted
        if granted is not None and known.digest(granted.token) == digest:
            found.append("may charge now")
        return "; ".join(found)

    def _forget(self, token: Json) -> None:
        known = self._authorization.known
        digest = known.digest(token)
        if digest in known.cache:
            left = {key: entry for key, entry in known.cache.items() if key != digest}
            self.station.outbox.keep(CACHE, left)
            known.cache = left

    def next(self, now: float) -> tuple[str, Json] | None:
        return ("NotifyCustomerInformation", self._tell[0]) if self._tell else None

    def connected(self, now: float) -> None:
        dialect = self.station.dialect
        if dialect is not None and not dialect.two:
            self._tell.clear()  # 1.6 has no word for it

    @property
    def _authorization(self) -> Authorization:
        return next(f for f in self.station.functions if isinstance(f, Authorization))
