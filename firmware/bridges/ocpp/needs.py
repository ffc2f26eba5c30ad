"""What the car needs, told to the back end, and which kinds of energy transfer the back end allows (blocks K and Q).

A car of ISO 15118-20 can be asked to choose its service anew (services do that, see CarWish). What the back end does
not allow ends at once, whatever the car does; what it allows and this outlet or this car has not is refused.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from firmware.bridges.ocpp import telling, times
from firmware.bridges.ocpp.charging import SmartCharging
from firmware.bridges.ocpp.checks import Objection
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json
from firmware.bridges.ocpp.outbox import OutboxError
from firmware.bridges.ocpp.rpc import DISCONNECTED, NO_ANSWER
from firmware.bridges.ocpp.view import Car, CarWish, View

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

DC, DC_BPT = "DC", "DC_BPT"  # of EnergyTransferModeEnumType, what a CCS outlet has
DEPARTURE_S = 120.0  # policy value: a departure that moves by more is told again
AGAIN_S = 60.0  # policy value: after needs that were not answered
# Policy values: a car that asks for its schedule waits so long for the back end's answer to its needs, and so long for
# the profile that a back end announces with Processing. Cars bear 60 s of Ongoing (the package's own ones).
ANSWER_S = 5.0
PROCESSING_S = 30.0
KEPT = "allowed transfer"  # name in the outbox: {"tx", "allowed"}


class EnergyTransfer(Function):
    """NotifyEVChargingNeeds and NotifyAllowedEnergyTransfer."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self.status = ""  # the back end's last answer to the needs of this transaction
        self._told: tuple[str, str, str] | None = None  # (transaction, transfer, control) that it knows
        self._departure_s: float | None = None  # wall time, as it knows it
        self._due = 0.0
        self._silent_for = ""  # a transaction in which it does not answer
        self._known: object = None  # the profiles as they were when it answered
        self._asked: tuple[tuple[str, str, str], float | None] = (("", "", ""), None)  # what the open call tells
        kept = station.outbox.state(KEPT)
        self._allowed: tuple[str, tuple[str, ...]] = ("", ())  # (transaction; empty: the next one, transfers)
        if _whole(kept):
            self._allowed = kept["tx"], tuple(kept["allowed"])
        elif kept is not None:
            station.say("The stored kinds of energy transfer that are allowed cannot be understood and are not used.")

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"NotifyAllowedEnergyTransfer"}) if dialect.name == "2.1" else frozenset()

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"NotifyEVChargingNeeds"}) if dialect.two else frozenset()

    # -------------------------------------------------------------------------------------------- the back end asks
    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        view, tx = self.station.view, payload["transactionId"]
        car = None if view is None else view.car
        if tx != self.station.transactions.id:
            objection = Objection("TxNotFound", f"there is no transaction {tx}")
        elif car is None or car.protocol != "iso20":
            objection = Objection("UnsupportedRequest", "the car does not speak ISO 15118-20")
        elif (sentence := self._cannot(car, payload["allowedEnergyTransfer"])) != "":
            objection = Objection("UnsupportedRequest", sentence)
        else:
            self._allow(now, tx, payload["allowedEnergyTransfer"])
            return {"status": "Accepted"}
        info = {"reasonCode": objection.reason, "additionalInfo": objection.sentence}
        return {"status": "Rejected", "statusInfo": info}

    def allowed(self, now: float, transfers: list[str]) -> None:
        """Of the open transaction, or of the next one."""
        self._allow(now, self.station.transactions.id or "", transfers)

    def _allow(self, now: float, tx: str, transfers: list[str]) -> None:
        """Raises OutboxError."""
        self.station.outbox.keep(KEPT, {"tx": tx, "allowed": transfers})
        self._allowed = tx, tuple(transfers)
        self._hold(now)

    def _cannot(self, car: Car, allowed: list[str]) -> str:
        """Why the car's session cannot become one of the allowed kind; empty: it is one, or the car can be asked."""
        there = [DC, DC_BPT] if self.station.ability.discharge_w else [DC]
        wanted = [transfer for transfer in there if transfer in allowed]
        if not wanted:
            return f"this outlet has {' and '.join(there)} and nothing else"
        if wanted == [DC_BPT] and not car.bidirectional and car.discharge_offered:
            return "the car has chosen DC where DC_BPT was offered, and nothing else is allowed"
        return ""

    @property
    def charge_only(self) -> bool:
        """The back end has allowed a set of transfers for this transaction, or the next, without discharging."""
        tx, allowed = self._allowed
        return bool(allowed) and tx == (self.station.transactions.id or "") and DC_BPT not in allowed

    def car_wish(self, now: float, wish: CarWish) -> CarWish:
        return replace(wish, charge_only=self.charge_only, wait_s=self._wait_s())

    def _wait_s(self) -> float:
        """A car that got its schedule before the back end has seen its needs would have to be asked for another one."""
        station = self.station
        if not station.online or station.dialect is None or not station.dialect.two or station.transactions.id is None:
            return 0.0
        if self.status == "Processing":
            return PROCESSING_S if self._profiles() is self._known else 0.0
        return 0.0 if self.status or self._silent_for == station.transactions.id else ANSWER_S

    def _profiles(self) -> object:
        """Another object each time that a profile comes, changes or goes."""
        return next((f.profiles for f in self.station.functions if isinstance(f, SmartCharging)), None)

    # --------------------------------------------------------------------------------------------------------- ours
    def observe(self, view: View) -> None:
        tx = self.station.transactions.id
        if self._told is not None and self._told[0] != tx:
            self._told, self._departure_s, self.status = None, None, ""
        if tx is not None and self._allowed[1] and not self._allowed[0]:
            # Of a token that nobody used nothing is left for a car that comes without one.
            ours = self._allowed[1] if self.station.transactions.authorized else ()
            with contextlib.suppress(OutboxError):  # the station has said it; it is tried at the next look
                self._allow(view.t, tx, list(ours))
        self._hold(view.t)

    def _hold(self, now: float) -> None:
        why = "the back end rejected what the car needs" if self.status == "Rejected" else ""
        one_way = "the back end allows no discharging" if self.charge_only else ""
        for function in self.station.functions:
            if isinstance(function, SmartCharging):
                function.give_nothing(now, why)
                function.take_nothing(now, one_way)

    def next(self, now: float) -> tuple[str, Json] | None:
        dialect, view = self.station.dialect, self.station.view
        tx = self.station.transactions.id
        if dialect is None or not dialect.two or view is None or view.car is None or tx is None or now < self._due:
            return None
        car = view.car
        known = (tx, transfer_of(car), car.control)
        departure_s = None if car.departure_s is None else self.station.wall_s(now) + car.departure_s
        if known == self._told and not _moved(self._departure_s, departure_s):
            return None
        needs = charging_needs(dialect, car, departure_s)
        if needs is None:
            return None
        self._asked = known, departure_s
        return "NotifyEVChargingNeeds", {"evseId": telling.CONNECTOR, "chargingNeeds": needs}

    def answered(self, now: float, action: str, request: Json, payload: Json) -> None:
        self._told, self._departure_s = self._asked
        self.status = payload["status"]
        self._known = self._profiles()
        self._hold(now)
        if self.status == "Rejected":
            self.station.say(
                "The back end rejected what the car needs; it gets no power until other needs are accepted."
            )

    def failed(self, now: float, action: str, request: Json, code: str) -> None:
        self._due = now + AGAIN_S
        if code not in (NO_ANSWER, DISCONNECTED):  # it has no use for them: not told again in this transaction
            self._told, self._departure_s = self._asked
        self._silent_for = self._asked[0][0]

    def connected(self, now: float) -> None:
        self._due = now


def _whole(kept: object) -> bool:
    if not isinstance(kept, dict) or set(kept) != {"tx", "allowed"} or not isinstance(kept["allowed"], list):
        return False
    return all(isinstance(text, str) for text in (kept["tx"], *kept["allowed"]))


def _moved(told_s: float | None, now_s: float | None) -> bool:
    if told_s is None or now_s is None:
        return told_s is not now_s
    return abs(told_s - now_s) > DEPARTURE_S


def transfer_of(car: Car) -> str:
    """EnergyTransferModeEnumType of the service that was agreed."""
    return DC_BPT if car.bidirectional else DC


def charging_needs(dialect: Dialect, car: Car, departure_s: float | None) -> Json | None:
    """ChargingNeedsType; None while the car has not said what it must contain. departure_s: wall time."""
    new = dialect.name == "2.1"
    needs: Json = {"requestedEnergyTransfer": transfer_of(car) if new else "DC"}
    if departure_s is not None:
        needs["departureTime"] = times.show(departure_s)
    if new and car.control:
        needs["controlMode"] = "DynamicControl" if car.control == "dynamic" else "ScheduledControl"
        needs["mobilityNeedsMode"] = "EVCC"  # the one that the SECC offers: the car knows what it needs
    if car.protocol == "iso20" and car.charge_max_w is None:
        return None  # it has agreed on a service and not yet said what it needs
    if new and car.protocol == "iso20":
        needs["availableEnergyTransfer"] = [transfer_of(car)]
        needs["v2xChargingParameters"] = _given(
            maxChargePower=car.charge_max_w,
            maxDischargePower=car.discharge_max_w,
            maxChargeCurrent=car.charge_max_a,
            maxDischargeCurrent=car.discharge_max_a,
            maxVoltage=car.max_v,
            minVoltage=car.min_v,
            evTargetEnergyRequest=car.target_wh,
            evMinEnergyRequest=car.min_energy_wh,
            evMaxEnergyRequest=car.max_energy_wh,
            evMinV2XEnergyRequest=car.min_v2x_wh,
            evMaxV2XEnergyRequest=car.max_v2x_wh,
            targetSoC=None if car.target_soc_pct is None else round(car.target_soc_pct),
        )
        return needs
    if car.charge_max_a is None or car.max_v is None:
        return None
    numbers = _given(
        evMaxCurrent=car.charge_max_a,
        evMaxVoltage=car.max_v,
        evMaxPower=car.charge_max_w,
        evEnergyCapacity=car.capacity_wh,
        energyAmount=None if car.target_wh is None else max(car.target_wh, 0.0),
        stateOfCharge=None if car.soc_pct is None else round(car.soc_pct),
        fullSoC=None if car.target_soc_pct is None else round(car.target_soc_pct),
    )
    needs["dcChargingParameters"] = numbers if new else {key: int(value) for key, value in numbers.items()}
    return needs


def _given(**values: Any) -> Json:
    return {key: value for key, value in values.items() if value is not None}
