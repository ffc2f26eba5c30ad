"""Transactions with a fixed energy, time or state of charge (E16, F07), of 2.1: the back end limits the running one.

The limit comes in its answer to a record of the transaction and is confirmed by a record with the reason LimitSet. What
is reached takes the power away, and is told with its reason once no power flows; the transaction itself goes on until
the car leaves. Another limit counts from now on whatever was reached before (E16.FR.14), one below what has passed at
once (E16.FR.10). Energy and state of charge stop the charging only: discharging goes on as the rules say (own choice).
A limit of cost is neither kept nor confirmed (E16.FR.13): nothing here knows a price.

A limit holds whether the disk takes it or not; what it refused is tried again with every look at the charger.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from firmware.bridges.ocpp.function import Function, Json
from firmware.bridges.ocpp.outbox import Message, OutboxError
from firmware.bridges.ocpp.view import View, Wanted

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

# TxCtrlr.SupportedLimits -> (trigger reason, words for people)
SUPPORTED = {
    "maxEnergy": ("EnergyLimitReached", "{:g} Wh have been charged"),
    "maxTime": ("TimeLimitReached", "{:g} s have passed"),
    "maxSoC": ("SoCLimitReached", "{:g} % state of charge are reached"),
}


class TransactionLimits(Function):
    """transactionLimit in the answer to TransactionEvent."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self._tx = station.transactions
        self._unkept: tuple[str | None, Json] = (None, {})  # (transaction, what the disk has not taken of it)

    def taken(self, now: float, message: Message, payload: Json) -> None:
        given = payload.get("transactionLimit")
        if given is None or message.tx != self._tx.id or self.station.view is None:
            return
        limit = {name: given[name] for name in SUPPORTED if name in given}
        if not limit or limit == self._recall("limit"):
            return
        begun_wh = self._tx.recall("start_wh")  # none in a transaction of an earlier release
        start_wh = self.station.view.charged_wh if begun_wh is None else begun_wh
        self._keep(limit=limit, limit_told=False, reached=[], reach="", start_wh=start_wh)

    def observe(self, view: View) -> None:
        if self._unkept[1]:
            self._keep()
        limit, reached = self._recall("limit"), self._recall("reached")
        if not limit or view.plugged is None:
            return
        wall_s = self.station.wall_s(view.t)
        now = {
            "maxEnergy": view.charged_wh - self._recall("start_wh"),
            "maxTime": wall_s - (self._tx.start_s or wall_s),
            "maxSoC": view.soc_pct,
        }
        new = [n for n, most in limit.items() if n not in reached and (value := now[n]) is not None and value >= most]
        if new:
            self._keep(reached=[*reached, *new], reach=SUPPORTED[new[0]][0], reach_s=wall_s)
            self.station.say(f"The transaction's limit is reached: {self._words(new)}.")

    def leaves(self, now: float, wanted: Wanted | None) -> Wanted | None:
        reached = self._recall("reached")
        if wanted is None or not reached:
            return wanted
        why = f"OCPP transaction limit: {self._words(reached)}"
        power_w = None if wanted.power_w is None else min(wanted.power_w, 0.0)
        if "maxTime" not in reached:
            return replace(wanted, power_w=power_w, charge_w=0.0, bound_reason=why)
        power_w = None if power_w is None else 0.0
        return replace(wanted, power_w=power_w, charge_w=0.0, discharge_w=0.0, bound_reason=why)

    def report(self, now: float) -> Json:
        limit = self._recall("limit")
        return {"transaction_limit": {"limit": limit, "reached": self._recall("reached")} if limit else None}

    def _words(self, names: list[str]) -> str:
        return ", ".join(SUPPORTED[name][1].format(self._recall("limit")[name]) for name in names)

    def _recall(self, name: str) -> Any:
        tx, unkept = self._unkept
        return unkept[name] if tx == self._tx.id and name in unkept else self._tx.recall(name)

    def _keep(self, **fields: object) -> None:
        tx, unkept = self._unkept
        told = bool(unkept)
        fields = {**(unkept if tx == self._tx.id else {}), **fields}
        try:
            self._tx.remember(**fields)
            self._unkept = (None, {})
        except OutboxError as error:
            self._unkept = (self._tx.id, fields)
            if not told:
                self.station.say(str(error))
