"""Limits that a local system sets (K12, K13): the back end is told when one begins, changes and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json
from firmware.bridges.ocpp.signs import theirs
from firmware.bridges.ocpp.view import View

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

AGAIN_S = 10.0  # policy value: told at most so often
SOURCE = "EMS"  # ChargingLimitSource: an energy manager

Limit = tuple[float | None, float | None]  # (charging, discharging), W, magnitudes


class LocalLimits(Function):
    """NotifyChargingLimit and ClearedChargingLimit."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self._now: Limit = (None, None)
        self._told: Limit = (None, None)
        self._telling: Limit = (None, None)
        self._due = 0.0

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"NotifyChargingLimit", "ClearedChargingLimit"}) if dialect.two else frozenset()

    def observe(self, view: View) -> None:
        self._now = (view.external.charge_w, view.external.discharge_w)

    def next(self, now: float) -> tuple[str, Json] | None:
        dialect = self.station.dialect
        if dialect is None or not dialect.two or now < self._due or not self._differs():
            return None
        self._telling = self._now
        if self._now == (None, None):
            return "ClearedChargingLimit", {"chargingLimitSource": SOURCE, "evseId": 0}
        charge_w, discharge_w = self._now
        rated_w = self.station.ability.charge_w
        period: Json = {"startPeriod": 0, "limit": theirs("limit", rated_w if charge_w is None else charge_w)}
        if discharge_w is not None and dialect.name == "2.1":
            period |= {"operationMode": "ExternalLimits", "dischargeLimit": theirs("dischargeLimit", -discharge_w)}
        limit: Json = {"chargingLimitSource": SOURCE}
        if not self.station.tune.limit_schedules:
            return "NotifyChargingLimit", {"evseId": 0, "chargingLimit": limit}
        schedule = {"id": 0, "chargingRateUnit": "W", "chargingSchedulePeriod": [period]}
        return "NotifyChargingLimit", {"evseId": 0, "chargingLimit": limit, "chargingSchedule": [schedule]}

    def _differs(self) -> bool:
        least_w = self.station.tune.limit_significance_pct / 100.0 * self.station.ability.rated_w

        def far(one: float | None, other: float | None) -> bool:
            return one is not other if one is None or other is None else abs(one - other) > least_w

        return any(far(one, other) for one, other in zip(self._now, self._told, strict=True))

    def answered(self, now: float, action: str, request: Json, payload: Json) -> None:
        self._told = self._telling
        self._due = now + AGAIN_S

    def failed(self, now: float, action: str, request: Json, code: str) -> None:
        self._due = now + AGAIN_S
