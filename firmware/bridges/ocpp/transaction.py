"""From looks at the charger to the records of transactions, sans I/O around the outbox.

A transaction lasts from plugging in (TxStartPoint EVConnected), or from the grant of whoever authorizes where that is
demanded (PowerPathClosed), to unplugging, or until somebody ends it and the power is gone. After that the car that is
still there begins no other by itself. Each record gets the next seqNo, and both are on the disk before anything is
sent. A record is in no version's words, because which version the back end speaks shows only when it is sent.

After a restart a transaction that was open goes on when a car is plugged in, and ends at once when none is: whether it
is the same car nobody can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from firmware.bridges.ocpp.outbox import New, Outbox
from firmware.bridges.ocpp.telling import charging_state, samples
from firmware.bridges.ocpp.view import Phase, View

STATE = "transaction"  # under this name the outbox keeps it
REACHED_S = 10.0  # policy value: a limit that is reached is told after that though power flows (it may discharge)
SPENT = "session ended"  # the transaction of the car that is still there was ended

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Grant:
    """Somebody may charge. token: an IdTokenType; trigger: Authorized or RemoteStart; remote: remoteStartId;
    reservation: the one that it makes use of."""

    token: Json
    trigger: str
    remote: int | None = None
    reservation: int | None = None


class Transactions:
    """The transactions of one EVSE. Methods raise OutboxError when the disk refuses; then nothing changed."""

    def __init__(self, outbox: Outbox, interval_s: float, new_id: Callable[[], str]) -> None:
        """interval_s: between periodic meter values (TxUpdatedInterval). new_id: at most 36 characters, never twice."""
        self._outbox = outbox
        self.interval_s = interval_s
        self.mode_interval_s: dict[str, float] = {}  # instead of it while this operation mode leads; 0: not
        self._new_id = new_id
        # {"id", "seq", "state", "start_s", "start_wh", "granted", "ending"}, and what tx_limits.py keeps with it
        self._open: Json | None = outbox.state(STATE)
        self.spent = bool(outbox.state(SPENT))
        self.required = False  # none begins without a grant
        self.closed = False  # none begins at all
        self.granted: Grant | None = None  # for the transaction that begins next, or the open one
        self._resumed = self._open is not None
        self._last = 0.0  # monotonic time of the last periodic record
        self._mode = ""  # operation mode, as the rules have it now
        self._limit_set = False  # another rule holds than before
        self._clock_due = False  # the clock says that a record is due
        self._setpoint_w: float | None = None

    @property
    def id(self) -> str | None:
        """Our id of the running transaction."""
        return None if self._open is None else str(self._open["id"])

    @property
    def start_s(self) -> float | None:
        """Wall time at which the running transaction began (s since the epoch)."""
        return None if self._open is None else float(self._open.get("start_s", 0.0))

    @property
    def authorized(self) -> bool:
        """The running transaction is somebody's."""
        return self._open is not None and bool(self._open.get("granted"))

    @property
    def ending(self) -> bool:
        """The running transaction ends as soon as no power flows."""
        return self._open is not None and self._open.get("ending") is not None

    def end(self, trigger: str, reason: str) -> None:
        """End the running transaction once no power flows; the words are those of 2.1."""
        if self._open is not None:
            new = {**self._open, "ending": [trigger, reason]}
            self._outbox.keep(STATE, new)
            self._open = new

    def remember(self, **fields: object) -> None:
        """Keep something with the running transaction, until its end."""
        if self._open is not None:
            new = {**self._open, **fields}
            self._outbox.keep(STATE, new)
            self._open = new

    def recall(self, name: str) -> Any:
        """What was kept with the running transaction; None: nothing."""
        return None if self._open is None else self._open.get(name)

    def grant(self, grant: Grant | None) -> None:
        """Somebody may charge (None: no longer): a transaction that waits begins, the open one becomes theirs."""
        self.granted = grant
        if grant is not None:
            self._spend(False)

    def _spend(self, spent: bool) -> None:
        if spent is not self.spent:
            self._outbox.keep(SPENT, spent or None)
            self.spent = spent

    def rule(self, mode: str, limit_set: bool, setpoint_w: float | None) -> None:
        """What the back end's rules say: the operation mode, whether another rule has begun, and the power (W)."""
        self._mode, self._setpoint_w = mode, setpoint_w
        self._limit_set = self._limit_set or limit_set

    def by_the_clock(self) -> None:
        """Values by the clock are to be written down with the next look at the charger."""
        self._clock_due = self._open is not None

    def observe(self, view: View, wall_s: float, online: bool) -> None:
        """Take a look at the charger: begins, ends and continues the transaction. wall_s: the time to be told."""
        if view.plugged is None:
            return
        state = charging_state(view.phase)
        if self._open is None:
            if not view.plugged:
                self._spend(False)
            elif not (self.spent or self.closed or (self.required and self.granted is None)):
                trigger = "CablePluggedIn" if self.granted is None else self.granted.trigger
                self._write(view, wall_s, online, "Started", trigger, "Transaction.Begin", state)
            return
        ending = self._open.get("ending")
        if not view.plugged:
            reason = "PowerLoss" if self._resumed else "EVDisconnected"
            reason = reason if ending is None else ending[1]
            self._write(view, wall_s, online, "Ended", "EVDeparted", "Transaction.End", "Idle", reason)
        elif ending is not None and view.phase in (Phase.PLUGGED, Phase.ENDED, Phase.FAULT):
            self._write(view, wall_s, online, "Ended", ending[0], "Transaction.End", state, ending[1])
            self._spend(ending[0] != "ResetCommand")  # started anew, the charger is free for the car again
        elif self._resumed:
            self._write(view, wall_s, online, "Updated", "TxResumed", "Interruption.End", state)
        elif self.granted is not None and not self.authorized:
            self._write(view, wall_s, online, "Updated", self.granted.trigger, "Other", state)
        elif self._open.get("reach") and (state != "Charging" or wall_s >= self._open["reach_s"] + REACHED_S):
            self._write(view, wall_s, online, "Updated", self._open["reach"], "Other", state)
        elif state != self._open["state"]:
            self._write(view, wall_s, online, "Updated", "ChargingStateChanged", "Other", state)
        elif self._mode != self._open.get("mode", ""):
            self._write(view, wall_s, online, "Updated", "OperationModeChanged", "Other", state)
        elif self._limit_set or self._open.get("limit_told") is False:
            self._write(view, wall_s, online, "Updated", "LimitSet", "Other", state)
        elif self._clock_due:
            self._write(view, wall_s, online, "Updated", "MeterValueClock", "Sample.Clock", state)
            self._clock_due = False
        elif view.t >= self._last + (self.mode_interval_s.get(self._mode) or self.interval_s):
            self._write(view, wall_s, online, "Updated", "MeterValuePeriodic", "Sample.Periodic", state)
            self._last = view.t
        self._resumed = False

    def trigger(self, view: View, wall_s: float, online: bool) -> bool:
        """The back end wants to know now. False when there is no transaction."""
        if self._open is None:
            return False
        self._write(view, wall_s, online, "Updated", "Trigger", "Trigger", charging_state(view.phase))
        return True

    def _write(
        self,
        view: View,
        wall_s: float,
        online: bool,
        kind: str,
        trigger: str,
        context: str,
        state: str,
        reason: str = "",
    ) -> None:
        known: Json = self._open or {
            "id": self._new_id(),
            "seq": 0,
            "start_s": wall_s,
            "start_wh": view.charged_wh,
        }
        record = {
            "kind": kind,
            "tx": known["id"],
            "seq": known["seq"],
            "wall_s": wall_s,
            "trigger": trigger,
            "context": context,
            "state": state,
            "reason": reason,
            "offline": not online,
            "samples": samples(view, self._setpoint_w),
            "mode": self._mode,
        }
        changed: Json = {"seq": known["seq"] + 1, "state": state, "mode": self._mode}
        if trigger == "LimitSet" and known.get("limit"):
            record["limit"] = known["limit"]
            changed["limit_told"] = True
        if trigger == known.get("reach"):
            changed["reach"] = ""
        grant = self.granted if self.granted is not None and trigger == self.granted.trigger else None
        if grant is not None:
            record |= {"token": grant.token, "remote": grant.remote, "reservation": grant.reservation}
            changed["granted"] = True
        then = None if kind == "Ended" else {**known, **changed}
        self._outbox.put([New(known["id"], record, kind == "Updated" and grant is None)], STATE, then)
        self._open = then
        self._limit_set = False
        if kind != "Updated":
            self._clock_due = False  # the values of that moment were told with it
        if grant is not None or kind == "Ended":
            self.granted = None
        if kind == "Started":
            self._last = view.t
