"""Smart charging: the back end's calls about charging profiles, and what they come to as power.

The profiles and their arithmetic are in profiles.py and stack.py, the operation modes in v2x.py. Whatever the back end
does, the decision is made anew at every look at the charger; without the back end the last valid rule goes on.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from firmware.bridges.ocpp import telling, times
from firmware.bridges.ocpp.accept import FAR, accept
from firmware.bridges.ocpp.checks import Objection, rejected
from firmware.bridges.ocpp.composite import composite_schedule
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json
from firmware.bridges.ocpp.outbox import OutboxError
from firmware.bridges.ocpp.planned import for_the_car, planned
from firmware.bridges.ocpp.profiles import (
    PURPOSE_16,
    VALUES,
    Profile,
    as_kept,
    for_201,
    from_16,
    of_kept,
    understand,
    updated,
)
from firmware.bridges.ocpp.report import report_of
from firmware.bridges.ocpp.stack import Composite, Situation, compose
from firmware.bridges.ocpp.v2x import Decision, Sense, charging_only, decide
from firmware.bridges.ocpp.view import CarWish, View, Wanted

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

MAX_PROFILES = 50  # policy value: far above what is set for one EVSE, small on the disk
SIGNAL_OFFLINE_S = 60.0  # policy value: an aFRR signal outlives the connection by so much, whatever the profile does
KEEP_S = 60.0  # policy value: values of dynamic profiles are on the disk at most so late; each time wears it
PLAN_S = 10.0  # policy value: what `report` says of the hours to come is at most so old; it takes milliseconds to make
PULL_AGAIN_S = 30.0  # policy value: after an update of a dynamic profile that failed
KEPT, LOST = "profiles", "offline since"  # names in the outbox

_ANSWERS = frozenset({"SetChargingProfile", "ClearChargingProfile", "GetCompositeSchedule"})
_ANSWERS_2 = _ANSWERS | {"GetChargingProfiles"}
_ANSWERS_21 = _ANSWERS_2 | {"UpdateDynamicSchedule", "UsePriorityCharging", "AFRRSignal"}


class SmartCharging(Function):
    """Charging profiles of one EVSE, and the power that they come to. `rng`: for random delays."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self.rng = random.Random()
        self.profiles: dict[int, Profile] = {}
        self.decision: Decision | None = None
        self.composite: Composite | None = None
        self._held = ""  # why no power is given whatever the profiles say
        self._no_discharge = ""  # why none is taken, whatever they say
        # The plan for the car, and what of: profiles, transaction, limits.
        self._told_car: tuple[object, float, tuple[tuple[float, float, float], ...]] = (None, -math.inf, ())
        self._set_no = 0
        self._priority = ""  # the transaction that charges with priority
        self._signal: tuple[float, int] | None = None  # (its own time, aFRR signal)
        self._kept_t = -KEEP_S  # monotonic time at which values of dynamic profiles were last kept
        self._was_online = False  # since the start
        self._lost_s: float | None = None  # monotonic time since which the back end is away
        self._reports: deque[Json] = deque()
        self._pull_due: dict[int, float] = {}
        self._told_profile: int | None = None
        self._plan: list[Json] = []
        self._planned_t = -math.inf
        try:
            for kept in station.outbox.state(KEPT) or []:
                profile = of_kept(kept)
                self.profiles[profile.id] = profile
                self._set_no = max(self._set_no, profile.set_no)
        except (ValueError, KeyError, TypeError) as error:
            station.say(f"The stored charging profiles cannot be understood and are forgotten: {error!r}.")
            self.profiles = {}

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        return {"1.6": _ANSWERS, "2.0.1": _ANSWERS_2, "2.1": _ANSWERS_21}[dialect.name]

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        reports = frozenset({"ReportChargingProfiles"}) if dialect.two else frozenset()
        return reports | {"PullDynamicScheduleUpdate"} if dialect.name == "2.1" else reports

    # ------------------------------------------------------------------------------------------------------- calls
    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        match action:
            case "SetChargingProfile":
                return self._set(now, payload)
            case "ClearChargingProfile":
                return self._clear(now, payload)
            case "GetChargingProfiles":
                return self._get(payload)
            case "GetCompositeSchedule":
                return self._composite(now, payload)
            case "UpdateDynamicSchedule":
                return self._update(now, payload["chargingProfileId"], payload["scheduleUpdate"])
            case "UsePriorityCharging":
                return self._use_priority(now, payload)
            case _:
                return self._afrr(now, payload)

    def _set(self, now: float, payload: Json) -> Json:
        two = self._dialect.two
        raw = payload["chargingProfile"] if two else payload["csChargingProfiles"]
        evse = payload["evseId"] if two else payload["connectorId"]
        objection = self.set_profile(now, raw, evse)
        if objection is None:
            return {"status": "Accepted"}
        self.station.say(f"A charging profile was refused: {objection.sentence}.")
        return rejected(objection) if two else {"status": "Rejected"}

    def set_profile(self, now: float, raw: Json, evse: int) -> Objection | None:
        """Take a profile of the version in use; an Objection, and nothing changed, when it cannot be taken. Raises
        OutboxError."""
        station = self.station
        tx = station.transactions.id
        replaces = not self._dialect.two
        if not self._dialect.two:
            given = raw.get("transactionId")
            if given is not None and (tx is None or given != station.outbox.number(tx)):
                return Objection("TxNotFound", f"there is no transaction {given}")
            raw = from_16(raw, tx if raw["chargingProfilePurpose"] == "TxProfile" else None)
        wall_s = station.wall_s(now)
        taken = accept(raw, evse, tx, self.profiles.values(), station.ability, wall_s, replaces, station.tune.zone)
        if isinstance(taken, Objection):
            return taken
        if len(self.profiles) >= MAX_PROFILES and raw["id"] not in self.profiles:
            return Objection("TooManyElements", f"there are {MAX_PROFILES} charging profiles already")
        delay_s = self.rng.uniform(0.0, raw["chargingSchedule"][0].get("randomizedDelay", 0))
        new = understand(raw, evse, self._set_no + 1, wall_s, delay_s)
        kept = {id: p for id, p in self.profiles.items() if id not in taken}
        self._keep({**kept, new.id: new})
        self._set_no += 1
        self._pull_due[new.id] = now + new.pull_s
        self._decide(now)
        return None

    def _clear(self, now: float, payload: Json) -> Json:
        two = self._dialect.two
        wanted = payload.get("chargingProfileId" if two else "id")
        by = payload.get("chargingProfileCriteria", {}) if two else payload
        evse = by.get("evseId" if two else "connectorId")
        purpose = by.get("chargingProfilePurpose", "")
        purpose = PURPOSE_16.get(purpose, purpose)

        def meant(p: Profile) -> bool:
            if wanted is not None:
                return bool(p.id == wanted)
            return evse in (None, p.evse) and purpose in ("", p.purpose) and by.get("stackLevel", p.stack) == p.stack

        left = {id: p for id, p in self.profiles.items() if not meant(p)}
        if len(left) == len(self.profiles):
            return {"status": "Unknown"}
        self._keep(left)
        self._decide(now)
        return {"status": "Accepted"}

    def _get(self, payload: Json) -> Json:
        by = payload["chargingProfile"]
        ids, sources = by.get("chargingProfileId"), by.get("chargingLimitSource")
        evse = payload.get("evseId")
        found = [
            p
            for p in self.profiles.values()
            if (ids is None or p.id in ids)
            and evse in (None, p.evse)
            and by.get("chargingProfilePurpose", p.purpose) == p.purpose
            and by.get("stackLevel", p.stack) == p.stack
            and (sources is None or "CSO" in sources)
        ]
        if not found:
            return {"status": "NoProfiles"}
        old = self._dialect.name == "2.0.1"
        for number, p in enumerate(found):
            self._reports.append(
                {
                    "requestId": payload["requestId"],
                    "chargingLimitSource": "CSO",
                    "evseId": p.evse,
                    "chargingProfile": [for_201(p.raw) if old else p.raw],
                    "tbc": number + 1 < len(found),
                }
            )
        return {"status": "Accepted"}

    def _composite(self, now: float, payload: Json) -> Json:
        dialect = self._dialect
        evse = payload["evseId"] if dialect.two else payload["connectorId"]
        if evse not in (0, telling.CONNECTOR):
            objection = Objection("UnknownEvse", f"there is no EVSE {evse}")
            return rejected(objection) if dialect.two else {"status": "Rejected"}
        ability, volts = self.station.ability, self._volts()
        return composite_schedule(
            dialect, payload, evse, self.profiles.values(), self._situation(now), ability.charge_w, volts
        )

    def _update(self, now: float, id: int, values: Json) -> Json:
        profile = self.profiles.get(id)
        if profile is None or profile.kind != "Dynamic":
            return rejected(Objection("NotFound", f"there is no dynamic profile {id}"))
        strange = sorted(values.keys() - set(VALUES) - {"customData"})
        if strange:
            return rejected(Objection("UnsupportedParam", f"a DC outlet takes no {' and no '.join(strange)}"))
        if values.get("limit", 0.0) < 0.0 and not self.station.ability.negative_limits:
            return rejected(Objection("InvalidValue", f"limit = {values['limit']:g} must not be negative"))
        far = [key for key in VALUES if abs(values.get(key, 0.0)) > FAR]
        if far:
            return rejected(Objection("InvalidValue", f"{far[0]} = {values[far[0]]:g} is beyond {FAR:g}"))
        new = {**self.profiles, id: updated(profile, values, self.station.wall_s(now))}
        if now - self._kept_t >= KEEP_S:
            self._keep(new)
            self._kept_t = now
        self.profiles = new
        self._pull_due[id] = now + profile.pull_s
        self._decide(now)
        return {"status": "Accepted"}

    def _use_priority(self, now: float, payload: Json) -> Json:
        if payload["transactionId"] != self.station.transactions.id:
            return rejected(Objection("TxNotFound", f"there is no transaction {payload['transactionId']}"))
        return {"status": "Accepted" if self.use_priority(now, payload["activate"]) else "NoProfile"}

    def use_priority(self, now: float, on: bool) -> bool:
        """Charge the running transaction with priority from now on, or no longer; False: there is no profile for it."""
        if on and not any(p.purpose == "PriorityCharging" for p in self.profiles.values()):
            return False
        self._priority = (self.station.transactions.id or "") if on else ""
        self._decide(now)
        return True

    def _afrr(self, now: float, payload: Json) -> Json:
        period = None if self.composite is None else self.composite.period
        if period is None or not period.signal_curve:
            return rejected(Objection("NoSignalWattCurve", "no profile that holds now has a v2xSignalWattCurve"))
        sent_s = times.parse(payload["timestamp"])
        if self._signal is not None and sent_s < self._signal[0]:
            return rejected(Objection("InvalidValue", "a later signal has come already"))
        self._signal = sent_s, payload["signal"]
        self._decide(now)
        return {"status": "Accepted"}

    # -------------------------------------------------------------------------------------------------------- ours
    def next(self, now: float) -> tuple[str, Json] | None:
        dialect = self._dialect
        if not dialect.two:
            self._reports.clear()
        if self._reports:
            return "ReportChargingProfiles", self._reports[0]
        if dialect.name == "2.1":
            for profile in self.profiles.values():
                if profile.pull_s > 0.0 and now >= self._pull_due.setdefault(profile.id, now + profile.pull_s):
                    return "PullDynamicScheduleUpdate", {"chargingProfileId": profile.id}
        return None

    def answered(self, now: float, action: str, request: Json, payload: Json) -> None:
        if action == "ReportChargingProfiles":
            self._reports.popleft()
            return
        id = request["chargingProfileId"]
        self._pull_due[id] = now + PULL_AGAIN_S
        if payload["status"] == "Accepted" and "scheduleUpdate" in payload and id in self.profiles:
            answer = self._update(now, id, payload["scheduleUpdate"])
            if answer["status"] != "Accepted":
                self.station.say(f"An update of profile {id} was not taken: {answer['statusInfo']['additionalInfo']}.")

    def failed(self, now: float, action: str, request: Json, code: str) -> None:
        if action == "ReportChargingProfiles":
            self._reports.popleft()
        else:
            self._pull_due[request["chargingProfileId"]] = now + PULL_AGAIN_S

    def disconnected(self, now: float) -> None:
        self._reports.clear()
        if self.station.online:  # it was until now, whenever the last look was
            self._was_online, self._lost_s = True, None

    def give_nothing(self, now: float, why: str) -> None:
        """No power in this transaction, whoever asks, because of `why`; empty: as the profiles say."""
        if why != self._held:
            self._held = why
            self._decide(now)

    def take_nothing(self, now: float, why: str) -> None:
        """No discharging in this transaction because of `why`; empty: as the profiles say."""
        if why != self._no_discharge:
            self._no_discharge = why
            self._decide(now)

    # ------------------------------------------------------------------------------------------------------- power
    def observe(self, view: View) -> None:
        station = self.station
        try:
            self._watch_link(view.t)
            self._forget(view.t)
        except OutboxError as error:
            station.say(str(error))
        self._decide(view.t)

    def _watch_link(self, now: float) -> None:
        outbox = self.station.outbox
        if self.station.online:
            self._was_online = True
            if self._lost_s is not None:
                self._lost_s = None
                outbox.keep(LOST, None)
        elif self._lost_s is None:
            wall_s = self.station.wall_s(now)
            known_s = None if self._was_online else outbox.state(LOST)  # of before a restart
            away_s = 0.0 if known_s is None else max(wall_s - known_s, 0.0)
            self._lost_s = now - away_s
            if known_s is None:
                outbox.keep(LOST, wall_s)  # so that a restart does not begin the time anew

    def _forget(self, now: float) -> None:
        """What can never hold again: profiles of a transaction that is over, and those that died offline."""
        tx, offline_s = self.station.transactions.id, self._offline_s(now)
        if self._priority and self._priority != tx:
            self._priority = ""
        left = {
            id: p
            for id, p in self.profiles.items()
            if p.tx in (None, tx) and not (p.dies_offline and not p.holds_offline(offline_s))
        }
        if len(left) != len(self.profiles):
            self._keep(left)
        if tx is None or (offline_s is not None and offline_s >= SIGNAL_OFFLINE_S):
            self._signal = None

    def _offline_s(self, now: float) -> float | None:
        return None if self._lost_s is None else now - self._lost_s

    def _situation(self, now: float) -> Situation:
        view, transactions = self.station.view, self.station.transactions
        return Situation(
            self.station.wall_s(now),
            transactions.id,
            transactions.start_s,
            self._offline_s(now),
            bool(self._priority),
            self._volts(),
            None if view is None else view.soc_pct,
            self.station.tune.zone,
            frozenset(filter(None, self.station.tune.ignored_offline.split(","))),
        )

    def _volts(self) -> float:
        view = self.station.view
        present_v = view.voltage_v if view is not None else None
        return max(present_v or 0.0, self.station.ability.min_v)

    def _decide(self, now: float) -> None:
        view, ability = self.station.view, self.station.ability
        if view is None:
            return
        self.composite = compose(self.profiles.values(), self._situation(now))
        sense = Sense(
            ability.charge_w,
            ability.discharge_w,
            frequency_hz=view.frequency_hz,
            signal=None if self._signal is None else self._signal[1],
            external=view.external,
            site_w=view.site_w,
            own_w=view.ac_w,
            balance_upper_w=self.station.tune.balance_upper_w,
            # The back end sets one after the other: between the two calls there is no band, and never a turned one.
            balance_lower_w=min(self.station.tune.balance_lower_w, self.station.tune.balance_upper_w),
            car=view.car,
        )
        self.decision = decide(self.composite, sense)
        if self._held and self.station.transactions.id is not None:
            mode, profile = self.decision.mode, self.decision.profile
            self.decision = Decision(0.0, 0.0, 0.0, mode, profile, self._held, self._held)
        elif self._no_discharge:
            self.decision = charging_only(self.decision, self._no_discharge)
        self._tell_transaction()

    def _tell_transaction(self) -> None:
        d = self.decision
        assert d is not None
        limit = d.profile != self._told_profile
        self._told_profile = d.profile
        self.station.transactions.rule("" if d.profile is None else d.mode, limit, d.power_w)

    def wanted(self, now: float) -> Wanted | None:
        """What the rules come to now; None before the first look at the charger."""
        d = self.decision
        if d is None or self.station.view is None:
            return None
        offline_s = self._offline_s(now)
        away = "" if offline_s is None else f"; the back end has been away for {offline_s:.0f} s"
        with_tx = self.station.transactions.id is not None
        power_w = d.power_w if with_tx else None
        known = self.profiles.get(d.profile) if d.profile is not None else None
        rule = f"{d.profile}/{0 if known is None else known.set_no}/{self._held}"
        reason = f"OCPP {d.why}{away}"
        return Wanted(
            self.station.view.t, rule, power_w, d.charge_w, d.discharge_w, reason, f"OCPP {d.bound_why}{away}", d.sleep
        )

    def car_wish(self, now: float, wish: CarWish) -> CarWish:
        of, made_t, plan = self._told_car
        latest = (self.profiles, self.station.transactions.id, bool(self._priority))
        if self.station.view is not None and (latest != of or now - made_t >= PLAN_S):
            ability = self.station.ability
            new = for_the_car(self.profiles.values(), self._situation(now), ability.charge_w, ability.discharge_w)
            plan = plan if _as_before(plan, new) else new
            self._told_car = latest, now, plan
        return replace(wish, plan=plan)

    def report(self, now: float) -> Json:
        shown = report_of(self.profiles.values(), self.decision, self.wanted(now))
        if self.station.view is not None and now - self._planned_t >= PLAN_S:
            ability, s = self.station.ability, self._situation(now)
            self._plan = planned(self.profiles.values(), s, ability.charge_w, ability.discharge_w)
            self._planned_t = now
        return shown | {"offline_s": self._offline_s(now), "plan": self._plan}

    # ----------------------------------------------------------------------------------------------------- helpers
    @property
    def _dialect(self) -> Dialect:
        dialect = self.station.dialect
        assert dialect is not None
        return dialect

    def _keep(self, profiles: dict[int, Profile]) -> None:
        self.station.outbox.keep(KEPT, [as_kept(p) for p in profiles.values()])
        self.profiles = profiles


def _as_before(old: tuple[tuple[float, float, float], ...], new: tuple[tuple[float, float, float], ...]) -> bool:
    """Whether a plan that was made later says the same of the time that both speak of."""
    if not old or not new:
        return old == new
    begun = [part for part in old if part[0] <= new[0][0]]
    return bool(begun) and [begun[-1][1:], *(p for p in old if p[0] > new[0][0])] == [new[0][1:], *new[1:]]
