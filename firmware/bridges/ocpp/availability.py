"""Out of operation and back (G03, G04), and starting anew (B11, B12): what the back end may do to the whole charger.

Out of operation is kept over power. With a transaction it waits for its end, and so does a reset that is to be gentle;
an immediate one ends the transaction first, tells so, and waits at most END_S for the power to be gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware.bridges.ocpp import telling
from firmware.bridges.ocpp.checks import Objection, rejected
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json
from firmware.bridges.ocpp.identity import Registration
from firmware.bridges.ocpp.outbox import OutboxError
from firmware.bridges.ocpp.view import View

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

KEPT, REASON = "out of operation", "boot reason"  # names in the outbox
END_S = 30.0  # policy value: longer than any ramp of ours
ANSWER_S = 1.0  # policy value: the answer leaves before the charger does


class Availability(Function):
    """ChangeAvailability and Reset."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        found = station.outbox.state(KEPT)
        self._off: frozenset[str] = frozenset(found if isinstance(found, list) else ())  # station, evse, connector
        self._reset = ""  # its type; empty: none is asked for
        self._earliest = 0.0
        self._latest: float | None = None
        self._told_reason = not station.resume_boot_reason(station.outbox.state(REASON))
        self._apply()

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"ChangeAvailability", "Reset"})

    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        return self._change(payload) if action == "ChangeAvailability" else self._start_anew(now, payload)

    # ------------------------------------------------------------------------------------------------- availability
    def _change(self, payload: Json) -> Json:
        if self._two:
            place = payload.get("evse", {})
            evse, connector = place.get("id", 0), place.get("connectorId", telling.CONNECTOR)
            levels = {"station" if evse == 0 else "connector" if "connectorId" in place else "evse"}
            operative = payload["operationalStatus"] == "Operative"
        else:  # there the charger and its only connector are the same, section 5.2
            evse, connector = payload["connectorId"], telling.CONNECTOR
            levels = {"station", "evse", "connector"}
            operative = payload["type"] == "Operative"
        if evse not in (0, telling.CONNECTOR) or connector != telling.CONNECTOR:
            objection = Objection("UnknownEvse", f"there is no EVSE {evse} with a connector {connector}")
            return rejected(objection) if self._two else {"status": "Rejected"}
        off = self._off - levels if operative else self._off | levels
        self.station.outbox.keep(KEPT, sorted(off) or None)
        self._off = off
        self._apply()
        waits = not operative and self.station.transactions.id is not None
        return {"status": "Scheduled" if waits else "Accepted"}

    def _apply(self) -> None:
        transactions = self.station.transactions
        transactions.closed = bool(self._off) or bool(self._reset)
        self.station.available = not self._off or transactions.id is not None

    # -------------------------------------------------------------------------------------------------------- reset
    def _start_anew(self, now: float, payload: Json) -> Json:
        transactions, kind = self.station.transactions, payload["type"]
        if not self.station.restarts:
            return self._refused("NotEnabled", "nobody would start this charger again (no service manager)")
        if payload.get("evseId") is not None:
            return self._refused("NotSupported", "only the whole charger can be reset")
        gentle = kind in ("OnIdle",)
        reason = "ScheduledReset" if gentle else "RemoteReset"
        self.station.outbox.keep(REASON, reason)
        if transactions.id is not None and kind in ("Immediate", "Hard"):
            transactions.end("ResetCommand", "ImmediateReset")
        elif transactions.id is not None and kind == "Soft":
            transactions.end("ResetCommand", "Reboot")
        self._reset = kind
        self._earliest = now + ANSWER_S
        self._latest = None if gentle else now + END_S
        self._apply()
        self.station.say(f"The back end resets the charger: {kind}.")
        self.station.security("ResetOrReboot", f"by the back end: {kind}")
        return {"status": "Scheduled" if gentle and transactions.id is not None else "Accepted"}

    def _refused(self, code: str, sentence: str) -> Json:
        self.station.say(f"A reset was refused: {sentence}.")
        return rejected(Objection(code, sentence)) if self._two else {"status": "Rejected"}

    def reset_due(self, now: float) -> bool:
        if not self._reset or now < self._earliest:
            return False
        over = self.station.transactions.id is None or self._reset == "ImmediateAndResume"
        return over or (self._latest is not None and now >= self._latest)

    def observe(self, view: View) -> None:
        self._apply()
        if not self._told_reason and self.station.registration is Registration.ACCEPTED:
            try:
                self.station.outbox.keep(REASON, None)
                self._told_reason = True
            except OutboxError as error:
                self.station.say(str(error))

    def hold(self, now: float) -> str:
        if self._reset and self._reset != "OnIdle":
            return "the back end resets the charger"
        return "" if self.station.available else "the back end has set the charger out of operation"

    def report(self, now: float) -> Json:
        return {"out_of_operation": sorted(self._off), "reset": self._reset}

    @property
    def _two(self) -> bool:
        dialect = self.station.dialect
        return dialect is not None and dialect.two
