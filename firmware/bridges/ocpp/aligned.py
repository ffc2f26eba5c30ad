"""Meter values by the clock (J01, J02): every so often, counted from midnight UTC, whatever the charger does.

In a transaction they are records of it: kept while the back end is away, in their order. Outside of one they are told
while the connection is there; what could not be told is not kept (OCPPCommCtrlr.QueueAllMessages is false).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware.bridges.ocpp import telling
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json
from firmware.bridges.ocpp.view import View

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

DAY_S = 86_400.0


def slot_of(wall_s: float, interval_s: float) -> tuple[float, float]:
    """(day, number in it) of the interval in which a moment lies; a day begins with a new one."""
    day, second = divmod(wall_s, DAY_S)
    return day, second // interval_s


class AlignedValues(Function):
    """MeterValues outside of a transaction; in one it has the transaction write a record."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self._slot: tuple[float, float, float] | None = None  # (interval, *slot_of) of the last look
        self._due: tuple[float, list[telling.Sample]] | None = None  # (wall time, values) that wait to be told

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"MeterValues"})

    def observe(self, view: View) -> None:
        station = self.station
        interval_s, wall_s = station.tune.aligned_s, station.wall_s(view.t)
        before, self._slot = self._slot, None
        if interval_s <= 0.0:
            self._due = None
            return
        self._slot = (interval_s, *slot_of(wall_s, interval_s))
        # A clock that was set back begins its intervals without a word; one that jumps ahead has passed into another.
        if before is None or before[0] != interval_s or self._slot <= before:
            return
        if station.transactions.id is None:
            self._due = (wall_s, telling.samples(view)) if station.online else None
        elif not station.tune.aligned_idle:
            station.transactions.by_the_clock()

    def next(self, now: float) -> tuple[str, Json] | None:
        dialect = self.station.dialect
        if self._due is None or dialect is None:
            return None
        value = telling.meter_value(dialect, self._due[0], "Sample.Clock", self._due[1])
        place = "evseId" if dialect.two else "connectorId"
        return "MeterValues", {place: telling.CONNECTOR, "meterValue": [value]}

    def answered(self, now: float, action: str, request: Json, payload: Json) -> None:
        self._due = None

    def failed(self, now: float, action: str, request: Json, code: str) -> None:
        self._due = None

    def disconnected(self, now: float) -> None:
        self._due = None
