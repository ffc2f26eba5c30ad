"""What the car means to take, told to the back end (K15 to K20), and what the back end says to it.

A car of ISO 15118-2, or of -20 in control mode Scheduled, chooses a schedule and says its own profile within it. The
back end may reject that: then the car is asked for another one. What the charging profiles permit holds in any case.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from firmware.bridges.ocpp import telling, times
from firmware.bridges.ocpp.charging import SmartCharging
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json
from firmware.bridges.ocpp.rpc import DISCONNECTED, NO_ANSWER
from firmware.bridges.ocpp.signs import theirs
from firmware.bridges.ocpp.view import Car, CarWish, View

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

AGAIN_S = 60.0  # policy value: after a plan that was not answered
# Policy value: a car whose plans were rejected so often in one transaction is not asked for another one; in -2 each
# costs a quarter of a minute without power.
MOST = 3
CLOCK_S = 3600.0  # policy value: a car's clock that is further from ours is not set, and its plan begins when it came


class CarPlan(Function):
    """NotifyEVChargingSchedule."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self.status = ""  # the back end's answer to the last plan of this transaction
        self._told: tuple[str, float] | None = None  # (transaction, when the plan came) that it knows
        self._asked: tuple[str, float] = ("", 0.0)
        self._due = 0.0
        self._replans = 0
        self._rejected = 0  # in this transaction

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"NotifyEVChargingSchedule"}) if dialect.two else frozenset()

    def observe(self, view: View) -> None:
        if self._told is not None and self._told[0] != self.station.transactions.id:
            self._told, self.status, self._rejected = None, "", 0

    def connected(self, now: float) -> None:
        self._due = now

    def next(self, now: float) -> tuple[str, Json] | None:
        dialect, view, tx = self.station.dialect, self.station.view, self.station.transactions.id
        if dialect is None or not dialect.two or view is None or tx is None or now < self._due:
            return None
        car = view.car
        if car is None or not car.profile or self._told == (tx, car.profile_t):
            return None
        self._asked = tx, car.profile_t
        return "NotifyEVChargingSchedule", schedule_of(dialect, car, self.station.wall_s(car.profile_t), self._schedule)

    @property
    def _schedule(self) -> int | None:
        """Id of the back end's schedule that the charger's plan was made from; None: of none, or of several."""
        for function in self.station.functions:
            if isinstance(function, SmartCharging) and function.composite is not None:
                lead = function.composite.lead
                return None if lead is None else int(lead.raw["chargingSchedule"][0]["id"])
        return None

    def answered(self, now: float, action: str, request: Json, payload: Json) -> None:
        self._told, self.status = self._asked, payload["status"]
        if self.status != "Rejected":
            return
        view = self.station.view
        self._rejected += 1
        if view is None or view.car is None or not plans(view.car):
            self.station.say("The back end rejected the car's plan, and the car cannot be asked for another one.")
        elif self._rejected > MOST:
            self.station.say(f"The back end rejected the car's plan {self._rejected} times; it is not asked again.")
        else:
            self._replans += 1
            self.station.say("The back end rejected the car's plan; the car is asked for another one.")

    def failed(self, now: float, action: str, request: Json, code: str) -> None:
        self._due = now + AGAIN_S
        if code not in (NO_ANSWER, DISCONNECTED):  # it has no use for it: that plan is not told again
            self._told = self._asked

    def car_wish(self, now: float, wish: CarWish) -> CarWish:
        return replace(wish, replan=self._replans)

    def report(self, now: float) -> Json:
        return {"car_plan": self.status}


def plans(car: Car) -> bool:
    """Whether the car keeps to a schedule, so that it can be asked for another one."""
    return car.protocol == "iso2" or (car.protocol == "iso20" and car.control == "scheduled")


def schedule_of(dialect: Dialect, car: Car, heard_s: float, schedule_id: int | None) -> Json:
    """NotifyEVChargingScheduleRequest of a car that has said its profile. heard_s: wall time at which that came.
    schedule_id: id of the back end's schedule that it chose from."""
    base_s = heard_s if car.anchor_s is None or abs(car.anchor_s - heard_s) > CLOCK_S else car.anchor_s
    new = dialect.name == "2.1"
    periods: dict[int, Json] = {}
    for start_s, power_w in car.profile:
        periods[int(start_s)] = {"startPeriod": int(start_s), **_power(new, power_w)}
    # By the schema only duration and periods are relevant here, and the unit must be W.
    schedule: Json = {
        "id": 1 if car.schedule_id is None else car.schedule_id,
        "chargingRateUnit": "W",
        "chargingSchedulePeriod": list(periods.values()),
    }
    if car.profile_s is not None:
        schedule["duration"] = int(car.profile_s)
    told: Json = {"timeBase": times.show(base_s), "evseId": telling.CONNECTOR, "chargingSchedule": schedule}
    if new and schedule_id is not None and car.schedule_id is not None:
        told["selectedChargingScheduleId"] = schedule_id
    if new and car.tolerance is not None:
        told["powerToleranceAcceptance"] = car.tolerance
    return told


def _power(new: bool, power_w: float) -> Json:
    """2.1 has a field for discharging, 2.0.1 a negative limit."""
    if new and power_w < 0.0:
        return {"limit": 0.0, "dischargeLimit": round(theirs("dischargeLimit", power_w), 1)}
    return {"limit": round(theirs("limit", power_w), 1)}
