"""The charger is kept free for somebody (block H). It has one EVSE: a reservation is one of the whole charger.

While it stands a session begins only with its token (or one of its group, as far as a remote start names that, or list
and cache know it), and the connector says Reserved. It ends with that session, with its time, when it is cancelled, or
when the charger fails or is set out of operation; the last two are told. Kept over power.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware.bridges.ocpp import telling, times
from firmware.bridges.ocpp.checks import Objection, rejected
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Json, Notifier
from firmware.bridges.ocpp.id_tokens import token_16
from firmware.bridges.ocpp.outbox import OutboxError
from firmware.bridges.ocpp.view import View

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

KEPT = "reservation"  # name in the outbox
FAR_S = 366 * 86_400.0  # policy value: nobody reserves for longer


class Reservation(Notifier):
    """ReserveNow, CancelReservation, ReservationStatusUpdate."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        kept = station.outbox.state(KEPT)
        if isinstance(kept, dict) and set(kept) == {"id", "token", "group", "until_s"}:
            station.reservation = kept
        elif kept is not None:
            station.say("The stored reservation cannot be understood and is forgotten.")

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"ReserveNow", "CancelReservation"})

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"ReservationStatusUpdate"}) if dialect.two else frozenset()

    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        known = self.station.reservation
        if action == "CancelReservation":
            if known is None or known["id"] != payload["reservationId"]:
                return self._answer("Rejected", "NotFound", f"there is no reservation {payload['reservationId']}")
            self._keep(None)
            return {"status": "Accepted"}
        return self._reserve(now, payload)

    def _reserve(self, now: float, payload: Json) -> Json:
        two, station, view = self._two, self.station, self.station.view
        assert view is not None
        if two:
            id, until_s, token = payload["id"], times.parse(payload["expiryDateTime"]), payload["idToken"]
            group, evse = payload.get("groupIdToken"), payload.get("evseId", telling.CONNECTOR)
        else:
            id, until_s, token = (
                payload["reservationId"],
                times.parse(payload["expiryDate"]),
                token_16(payload["idTag"]),
            )
            parent, evse = payload.get("parentIdTag"), payload["connectorId"]
            group = None if parent is None else token_16(parent)
        wall_s, known = station.wall_s(now), station.reservation
        if evse != telling.CONNECTOR:
            return self._answer("Rejected", "UnknownEvse", f"there is no EVSE {evse} to be reserved; there is 1")
        if not wall_s < until_s <= wall_s + FAR_S:
            return self._answer("Rejected", "InvalidValue", "the reservation ends in the past, or in more than a year")
        if view.faults:
            return {"status": "Faulted"}
        if not station.available or station.transactions.closed or view.stopped:
            return {"status": "Unavailable"}
        if view.plugged or station.transactions.id is not None or (known is not None and known["id"] != id):
            return {"status": "Occupied"}
        self._keep({"id": id, "token": token, "group": group, "until_s": until_s})
        return {"status": "Accepted"}

    def _answer(self, status: str, code: str, sentence: str) -> Json:
        self.station.say(f"The back end's call about a reservation was refused: {sentence}.")
        return {**rejected(Objection(code, sentence)), "status": status} if self._two else {"status": status}

    def _keep(self, reservation: Json | None) -> None:
        self.station.outbox.keep(KEPT, reservation)
        self.station.reservation = reservation

    # ----------------------------------------------------------------------------------------------------- its end
    def observe(self, view: View) -> None:
        reservation, transactions = self.station.reservation, self.station.transactions
        if reservation is None:
            return
        try:
            if transactions.authorized:  # nobody else's token is taken while it stands
                self._keep(None)
            elif self.station.wall_s(view.t) >= reservation["until_s"]:
                self._over(reservation["id"], "Expired")
            elif view.faults or not self.station.available:
                self._over(reservation["id"], "Removed")
        except OutboxError as error:
            self.station.say(str(error))

    def _over(self, id: int, status: str) -> None:
        self._keep(None)
        self._push({"reservationId": id, "reservationUpdateStatus": status})

    def hold(self, now: float) -> str:
        free = self.station.transactions.id is None
        return "the charger is reserved for somebody" if self.station.reservation is not None and free else ""

    # --------------------------------------------------------------------------------------------------------- told
    def next(self, now: float) -> tuple[str, Json] | None:
        if not self._two:
            self._tell.clear()  # 1.6 has no word for it: the status of the connector says it
        return ("ReservationStatusUpdate", self._tell[0]) if self._tell else None

    def report(self, now: float) -> Json:
        reservation = self.station.reservation
        return {"reservation": None if reservation is None else {k: reservation[k] for k in ("id", "until_s")}}

    @property
    def _two(self) -> bool:
        dialect = self.station.dialect
        return dialect is not None and dialect.two


def reserved_for_another(reservation: Json | None, token: Json, group: Json | None) -> bool:
    """Whether the charger is kept free for somebody else than this token. Without case, as OCPP compares tokens."""
    if reservation is None or _same(reservation["token"], token):
        return False
    return group is None or reservation["group"] is None or not _same(reservation["group"], group)


def _same(one: Json, other: Json) -> bool:
    return bool(one["idToken"].lower() == other["idToken"].lower() and one["type"] == other["type"])
