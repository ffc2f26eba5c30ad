"""A new certificate of ours, made by the back end for a key that is made here (A02, A03).

The back end asks for it, or the one in use ends within a month. The request goes out with the charger's serial number
as CN and OrganizationName (1.6: CpoName) as O; without that there is none. Accepted and not followed by a certificate,
it is said again after CertSigningWaitMinimum, then after twice as long, CertSigningRepeatTimes times; after that only a
trigger, or the next day before the end of the old one, makes a new one. A certificate that comes late is taken all the
same: the key stays until there is another.

What comes is checked against the key, name and organization of the request, the roots of the back end (the board's and
those that it installed) and the time. It is used from the next connection on, which is made at once where our
certificate is what we are known by (A02.FR.08 in the errata of 2025-01); credentials.py falls back to the old one.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from firmware.bridges.ocpp.certificates import BACK_END, installed
from firmware.bridges.ocpp.certificates import KEPT as ROOTS
from firmware.bridges.ocpp.checks import Objection, rejected
from firmware.bridges.ocpp.client_keys import Keys, KeysError
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json
from firmware.bridges.ocpp.outbox import OutboxError
from firmware.bridges.ocpp.rpc import DISCONNECTED, NO_ANSWER
from firmware.bridges.ocpp.signature import client_objection, roots_of
from firmware.bridges.ocpp.view import View

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

KEPT = "certificate request"  # name in the outbox: {"csr", "id", "sent"}
TRIGGERS = frozenset({"SignChargingStationCertificate", "SignChargePointCertificate"})  # 2.x; 1.6
RENEW = timedelta(days=30)  # A03.FR.02: "will expire in one month"
RENEW_PART = 3  # policy value: one that lasts less than three months is renewed in its last third
LOOK_S = 3600.0  # policy value: so often it is looked whether the one in use ends soon
AGAIN_S = 86_400.0  # policy value: renewing that failed is begun anew after a day
UNANSWERED_S = 60.0  # policy value: a request that got no answer is sent again after that


class ClientCertificate(Function):
    """SignCertificate and CertificateSigned."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        kept, keys = station.outbox.state(KEPT), station.credentials.keys
        there = keys is not None and _whole(kept) and keys.waits(kept["csr"])
        self._open: Json | None = kept if there else None
        self._due: float | None = None  # monotonic time at which the request is to be sent
        self._look_at = self._renew_at = float("-inf")
        self._last_id = 0
        self._triggered = False  # the back end wants the request that is open

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"CertificateSigned"})

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"SignCertificate"})

    # ------------------------------------------------------------------------------------------------------ the request
    def trigger(self, now: float, message: str, payload: Json) -> str | None:
        if message not in TRIGGERS:
            return None
        why = self._begin(now)
        self._triggered = not why
        if why:
            self.station.say(f"The back end wants to give us a new certificate: {why}.")
        return "Rejected" if why else "Accepted"

    def _begin(self, now: float) -> str:
        """Ask with a fresh key; why not, or empty."""
        keys, who = self._keys, self.station.identity
        if keys is None:
            return "this charger keeps no keys"
        if not self.station.tune.organization:
            return "whose charger this is is not known: SecurityCtrlr.OrganizationName (1.6: CpoName) is not set"
        try:
            csr = keys.ask(who.serial, self.station.tune.organization)
            self._last_id = max(self._last_id + 1, int(self.station.wall_s(now)) % 2**31)
            self._keep({"csr": csr, "id": self._last_id, "sent": 0})
        except (KeysError, OutboxError) as error:
            return str(error).rstrip(".")
        self._due = now
        return ""

    def observe(self, view: View) -> None:
        if view.t < self._look_at:
            return
        self._look_at = view.t + LOOK_S
        leaf = None if self._keys is None else self._keys.certificate
        waiting = self._open is not None and self._open["sent"] <= self.station.tune.signing_repeats
        if leaf is None or waiting or view.t < self._renew_at:
            return
        begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        if self.station.wall_s(view.t) < (end - min(RENEW, (end - begin) / RENEW_PART)).timestamp():
            return
        self._renew_at = view.t + AGAIN_S
        self._triggered = False
        why = self._begin(view.t)
        sentence = f"Our certificate for the back end ends on {end:%Y-%m-%d %H:%M} UTC"
        self.station.say(f"{sentence}: {why}." if why else f"{sentence}; a new one is asked for.")

    def connected(self, now: float) -> None:
        if self._open is not None and self._due is None:  # after a restart
            self._due = self._next_due(now)

    def _next_due(self, now: float) -> float | None:
        """When the open request is said again; None: no more."""
        assert self._open is not None
        sent, tune = self._open["sent"], self.station.tune
        if sent == 0:
            return now
        return now + tune.signing_wait_s * 2 ** (sent - 1) if sent <= tune.signing_repeats else None

    def next(self, now: float) -> tuple[str, Json] | None:
        dialect = self.station.dialect
        if self._open is None or self._due is None or now < self._due or dialect is None:
            return None
        request: Json = {"csr": self._open["csr"]}
        if dialect.two:
            request["certificateType"] = "ChargingStationCertificate"
        if dialect.name == "2.1":
            request["requestId"] = self._open["id"]
        return "SignCertificate", request

    def next_while_pending(self, now: float) -> tuple[str, Json] | None:
        return self.next(now) if self._triggered else None  # A00.FR.806: credentials of the factory are changed first

    def answered(self, now: float, action: str, request: Json, payload: Json) -> None:
        if self._open is None or request["csr"] != self._open["csr"]:
            return  # another has been begun meanwhile
        if payload["status"] != "Accepted":
            self._give_up(now, "the back end does not take the request")
            return
        self._keep({**self._open, "sent": self._open["sent"] + 1})
        self._due = self._next_due(now)
        if self._due is None:
            self.station.say("The back end took our request for a certificate and never sent one.")
            self._renew_at = now + AGAIN_S

    def failed(self, now: float, action: str, request: Json, code: str) -> None:
        if self._open is None or request["csr"] != self._open["csr"]:
            return
        if code in (NO_ANSWER, DISCONNECTED):
            self._due = now + UNANSWERED_S
        else:
            self._give_up(now, f"the back end answered {code[:40]}")

    def _give_up(self, now: float, why: str) -> None:
        self.station.say(f"There is no new certificate of ours: {why}.")
        self._renew_at = now + AGAIN_S
        self._close()

    # -------------------------------------------------------------------------------------------------- the certificate
    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        objection, leaf = self._objection(now, payload), None
        if objection is None and self._keys is not None:
            try:
                self._keys.take(payload["certificateChain"])
                leaf = self._keys.certificate
            except KeysError as error:
                objection = Objection("InternalError", str(error).rstrip("."))
        if objection is not None:
            self.station.say(f"A certificate of ours was refused: {objection.sentence}.")
            self.station.security("InvalidChargingStationCertificate", objection.sentence)
            two = self.station.dialect is not None and self.station.dialect.two
            return rejected(objection) if two else {"status": "Rejected"}
        self._close()
        until = "" if leaf is None else f", until {leaf.not_valid_after_utc:%Y-%m-%d}"
        self.station.security("ReconfigurationOfSecurityParameters", f"a new certificate of ours{until}")
        if self.station.credentials.security == 3:
            self.station.reconnect = True
        return {"status": "Accepted"}

    def _objection(self, now: float, payload: Json) -> Objection | None:
        kind = payload.get("certificateType", "ChargingStationCertificate")
        if kind != "ChargingStationCertificate":
            return Objection("UnsupportedParam", f"a {kind} is none of this program's business")
        if self._open is None:
            return Objection("UnknownRequest", "no certificate was asked for")
        if payload.get("requestId", self._open["id"]) != self._open["id"]:
            return Objection("InvalidValue", f"requestId {payload['requestId']} is not that of our request")
        try:
            roots, wall_s = roots_of(self._roots()), self.station.wall_s(now)
        except ValueError:
            return Objection("InternalError", "the roots of the back end cannot be read")
        why = client_objection(payload["certificateChain"], roots, wall_s, self._open["csr"])
        return Objection("InvalidCertificate", why) if why else None

    def _roots(self) -> bytes:
        """PEM of those that the back end's own certificate may come from: it is one hierarchy (A00.FR.6xx)."""
        way = self.station.way
        added = installed(self.station.outbox.state(ROOTS), BACK_END).encode()
        try:
            return (way.ca_file.read_bytes() + b"\n" if way is not None and way.ca_file is not None else b"") + added
        except OSError as error:
            self.station.say(f"The roots of the back end cannot be read: {error.strerror or error}.")
            return added

    # ---------------------------------------------------------------------------------------------------------- helpers
    def _keep(self, request: Json) -> None:
        self.station.outbox.keep(KEPT, request)
        self._open = request

    def _close(self) -> None:
        """Nothing is asked for any more."""
        self._open = self._due = None
        try:
            if self._keys is not None:
                self._keys.drop()
            self.station.outbox.keep(KEPT, None)
        except (KeysError, OutboxError) as error:  # without its key the request is not taken up again
            self.station.say(str(error))

    @property
    def _keys(self) -> Keys | None:
        return self.station.credentials.keys

    def report(self, now: float) -> Json:
        leaf = None if self._keys is None else self._keys.certificate
        if leaf is None:
            return {"client_certificate": None}
        return {
            "client_certificate": {
                "subject": leaf.subject.rfc4514_string(),
                "until_s": leaf.not_valid_after_utc.timestamp(),
                "tried": self._keys is not None and self._keys.new is None,
                "asked_for": self._open is not None,
            }
        }


def _whole(kept: object) -> bool:
    if not isinstance(kept, dict) or set(kept) != {"csr", "id", "sent"} or not isinstance(kept["csr"], str):
        return False
    return all(isinstance(kept[key], int) and kept[key] >= 0 for key in ("id", "sent"))
