"""The back end starts and stops sessions (block F).

A remote start counts for the car that is there, or for the next one within EVConnectionTimeOut. Where nobody needs to
be authorized a session runs anyway: then a remote start says whose it is. A remote stop takes the power away, tells the
end of the transaction, and the car that stays plugged in gets none until it leaves or is started again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware.bridges.ocpp import telling
from firmware.bridges.ocpp.accept import accept
from firmware.bridges.ocpp.authorization import Authorization
from firmware.bridges.ocpp.charging import SmartCharging
from firmware.bridges.ocpp.checks import Objection, rejected
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json
from firmware.bridges.ocpp.id_tokens import token_16
from firmware.bridges.ocpp.outbox import OutboxError
from firmware.bridges.ocpp.profiles import from_16
from firmware.bridges.ocpp.reservation import reserved_for_another
from firmware.bridges.ocpp.transaction import Grant
from firmware.bridges.ocpp.view import View

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

_TWO = frozenset({"RequestStartTransaction", "RequestStopTransaction", "UnlockConnector"})
_ONE = frozenset({"RemoteStartTransaction", "RemoteStopTransaction", "UnlockConnector"})


class RemoteControl(Function):
    """RequestStartTransaction, RequestStopTransaction, and what 1.6 has for them; UnlockConnector."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self._until: float | None = None  # monotonic time until which a remote start waits for its car
        self._profile: tuple[str, Json] | None = None  # of a remote start: (version, profile), set with the transaction

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        return _TWO if dialect.two else _ONE

    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        two = self._dialect.two
        match action:
            case "UnlockConnector":
                return self._unlock(payload)
            case "RequestStopTransaction" | "RemoteStopTransaction":
                objection = self._stop(payload["transactionId"])
            case _:
                objection = self._start(now, payload)
        if objection is not None:
            self.station.say(f"{action} was refused: {objection.sentence}.")
            return rejected(objection) if two else {"status": "Rejected"}
        tx = self.station.transactions.id
        known = {"transactionId": tx} if two and tx is not None and action == "RequestStartTransaction" else {}
        return {"status": "Accepted"} | known

    def _unlock(self, payload: Json) -> Json:
        """The plug is locked by the car's inlet or by the pilot MCU with the session; nothing here can release it."""
        if not self._dialect.two:
            return {"status": "NotSupported"}
        if (payload["evseId"], payload["connectorId"]) != (telling.CONNECTOR, telling.CONNECTOR):
            return {"status": "UnknownConnector"}
        if self.station.transactions.authorized:
            return {"status": "OngoingAuthorizedTransaction"}
        sentence = "this connector cannot be unlocked from afar"
        return {"status": "UnlockFailed", "statusInfo": {"reasonCode": "NotSupported", "additionalInfo": sentence}}

    # -------------------------------------------------------------------------------------------------------- start
    def _start(self, now: float, payload: Json) -> Objection | None:
        two, transactions, view = self._dialect.two, self.station.transactions, self.station.view
        assert view is not None
        evse = payload.get("evseId" if two else "connectorId", telling.CONNECTOR)
        if evse != telling.CONNECTOR:
            return Objection("UnknownEvse", f"there is no EVSE {evse}; there is 1")
        if view.stopped:
            return Objection("NotEnabled", "a person stopped the charger; only a person can start it again")
        if not self.station.available or transactions.closed:
            return Objection("NotEnabled", "the charger is out of operation")
        if view.faults:
            return Objection("InternalError", "the charger has a fault")
        if transactions.id is not None and (transactions.authorized or transactions.ending or not two):
            return Objection("TxInProgress", "a transaction is running")
        if transactions.granted is not None or self._authorization.busy:
            return Objection("TxStarted", "an earlier remote start waits for its car")
        profile = payload.get("chargingProfile")
        if profile is not None and (objection := self._unfit(now, profile)) is not None:
            return objection
        token = payload["idToken"] if two else token_16(payload["idTag"])
        reservation = self.station.reservation
        ours = reservation is not None and self._authorization.of_group(now, token, reservation["group"])
        if not ours and reserved_for_another(reservation, token, payload.get("groupIdToken")):
            return Objection("NotEnabled", "the charger is reserved for somebody else")
        grant = Grant(
            token, "RemoteStart", payload.get("remoteStartId"), None if reservation is None else reservation["id"]
        )
        if self.station.tune.authorize_remote:
            self._authorization.ask(now, grant)
        else:
            transactions.grant(grant)
        self._until = now + self.station.tune.connect_timeout_s
        self._profile = None if profile is None else (self._dialect.name, profile)
        return None

    def _unfit(self, now: float, profile: Json) -> Objection | None:
        """K05: only a TxProfile, and without a transaction, which it cannot know."""
        if profile["chargingProfilePurpose"] != "TxProfile" or "transactionId" in profile:
            return Objection("InvalidProfile", "a remote start has a TxProfile without a transactionId")
        two = self._dialect.two
        raw = {**profile, "transactionId": "new"} if two else from_16(profile, "new")
        found = accept(raw, telling.CONNECTOR, "new", (), self.station.ability, self.station.wall_s(now), not two)
        return found if isinstance(found, Objection) else None

    def observe(self, view: View) -> None:
        transactions = self.station.transactions
        if self._until is not None and view.t >= self._until and not self._authorization.busy:
            self._until = None
            if transactions.granted is not None:
                transactions.grant(None)
                self._profile = None
                self.station.say("A remote start found no car in time.")
        dialect = self.station.dialect
        if self._profile is None or not transactions.authorized or dialect is None:
            return
        (version, raw), self._profile = self._profile, None
        if dialect.name != version:
            return
        raw = {**raw, "transactionId": transactions.id} if dialect.two else raw
        try:
            objection = self._smart.set_profile(view.t, raw, telling.CONNECTOR)
        except OutboxError as error:
            self.station.say(str(error))
        else:
            if objection is not None:
                self.station.say(f"The charging profile of a remote start was refused: {objection.sentence}.")

    # --------------------------------------------------------------------------------------------------------- stop
    def _stop(self, asked: object) -> Objection | None:
        transactions = self.station.transactions
        tx = transactions.id
        if tx is None or asked != (tx if self._dialect.two else self.station.outbox.number(tx)):
            return Objection("TxNotFound", f"there is no transaction {asked}")
        if not transactions.ending:
            transactions.end("RemoteStop", "Remote")
        return None

    def hold(self, now: float) -> str:
        transactions = self.station.transactions
        if transactions.ending:
            return "the session is being ended for the back end"
        if transactions.spent:
            return "the back end ended the session of the car that is still plugged in"
        return ""

    # ------------------------------------------------------------------------------------------------------ helpers
    @property
    def _dialect(self) -> Dialect:
        dialect = self.station.dialect
        assert dialect is not None
        return dialect

    @property
    def _authorization(self) -> Authorization:
        return next(f for f in self.station.functions if isinstance(f, Authorization))

    @property
    def _smart(self) -> SmartCharging:
        return next(f for f in self.station.functions if isinstance(f, SmartCharging))
