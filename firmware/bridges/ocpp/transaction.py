"""From looks at the charger to the records of transactions, sans I/O around the outbox.

A transaction lasts from plugging in to unplugging (TxStartPoint and TxStopPoint are EVConnected). Each record gets the
next seqNo, and both are on the disk before anything is sent. A record is in no version's words, because which version
the back end speaks shows only when it is sent.

After a restart a transaction that was open goes on when a car is plugged in, and ends at once when none is: whether it
is the same car nobody can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from firmware.bridges.ocpp.outbox import New, Outbox
from firmware.bridges.ocpp.telling import charging_state, samples
from firmware.bridges.ocpp.view import View

STATE = "transaction"  # under this name the outbox keeps it


class Transactions:
    """The transactions of one EVSE. Methods raise OutboxError when the disk refuses; then nothing changed."""

    def __init__(self, outbox: Outbox, interval_s: float, new_id: Callable[[], str]) -> None:
        """interval_s: between periodic meter values (TxUpdatedInterval). new_id: at most 36 characters, never twice."""
        self._outbox = outbox
        self._interval_s = interval_s
        self._new_id = new_id
        self._open: dict[str, Any] | None = outbox.state(STATE)  # {"id", "seq", "state", "start_s"}
        self._resumed = self._open is not None
        self._due = 0.0  # monotonic time of the next periodic record
        self._mode = ""  # operation mode, as the rules have it now
        self._limit_set = False  # another rule holds than before
        self._setpoint_w: float | None = None

    @property
    def id(self) -> str | None:
        """Our id of the running transaction."""
        return None if self._open is None else str(self._open["id"])

    @property
    def start_s(self) -> float | None:
        """Wall time at which the running transaction began (s since the epoch)."""
        return None if self._open is None else float(self._open.get("start_s", 0.0))

    def rule(self, mode: str, limit_set: bool, setpoint_w: float | None) -> None:
        """What the back end's rules say: the operation mode, whether another rule has begun, and the power (W)."""
        self._mode, self._setpoint_w = mode, setpoint_w
        self._limit_set = self._limit_set or limit_set

    def observe(self, view: View, wall_s: float, online: bool) -> None:
        """Take a look at the charger: begins, ends and continues the transaction. wall_s: the time to be told."""
        if view.plugged is None:
            return
        state = charging_state(view.phase)
        if self._open is None:
            if view.plugged:
                self._write(view, wall_s, online, "Started", "CablePluggedIn", "Transaction.Begin", state)
            return
        if not view.plugged:
            reason = "PowerLoss" if self._resumed else "EVDisconnected"
            self._write(view, wall_s, online, "Ended", "EVDeparted", "Transaction.End", "Idle", reason)
        elif self._resumed:
            self._write(view, wall_s, online, "Updated", "TxResumed", "Interruption.End", state)
        elif state != self._open["state"]:
            self._write(view, wall_s, online, "Updated", "ChargingStateChanged", "Other", state)
        elif self._mode != self._open.get("mode", ""):
            self._write(view, wall_s, online, "Updated", "OperationModeChanged", "Other", state)
        elif self._limit_set:
            self._write(view, wall_s, online, "Updated", "LimitSet", "Other", state)
        elif view.t >= self._due:
            self._write(view, wall_s, online, "Updated", "MeterValuePeriodic", "Sample.Periodic", state)
            self._due = view.t + self._interval_s
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
        known: dict[str, Any] = self._open or {"id": self._new_id(), "seq": 0, "start_s": wall_s}
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
        then = None if kind == "Ended" else {**known, "seq": known["seq"] + 1, "state": state, "mode": self._mode}
        self._outbox.put([New(known["id"], record, kind == "Updated")], STATE, then)
        self._open = then
        self._limit_set = False
        if kind == "Started":
            self._due = view.t + self._interval_s
