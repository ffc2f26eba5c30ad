"""What a car is to negotiate, and when it is asked to do so anew. Pure: the times are given.

A plan says what the charger means to give in the hours to come. A car of ISO 15118-2, or of -20 in control mode
Scheduled, is told it when it negotiates; where the plan has changed since, it is asked for a new schedule. What holds
at a moment is in every answer of the loop in any case, so a car that does not follow gets no more than it may.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from firmware.bridges.secc.messages import MAX_PARTS, Ask, CarState, Part
from firmware.bridges.secc.plan import SPAN_S, fitted

Moment = tuple[float, float, float]  # (wall time in s, W charging, W discharging): from then on at most

DIFFERS_SHARE = 0.05  # policy value, of the rating: a plan that differs by less for less than...
DIFFERS_S = 60.0  # ...this long is no other plan
ASK_FOR_S = 60.0  # policy value: a car that has not followed for so long is not asked again for the same
# Between two requests for a new schedule (policy values). In -2 it costs a cable check with contactors open, a quarter
# of a minute without power; in -20 a second.
EVERY_S = {"iso2": 300.0, "iso20": 30.0}
WORDS = {"schedule": "a new schedule", "services": "another service", "pause": "a pause"}


@dataclass(frozen=True, slots=True)
class CarOrders:
    """plan: in order, empty where nobody plans: then the ratings. charge_only: discharging must not be offered. replan:
    a count; each time that it rises the car is to plan anew, though the plan is the same. wait_s: so long a car that
    asks for its schedule may be kept waiting, for a better plan is being made; 0: it is there."""

    plan: tuple[Moment, ...] = ()
    charge_only: bool = False
    replan: int = 0
    wait_s: float = 0.0


NO_ORDERS = CarOrders()


@dataclass(frozen=True, slots=True)
class Told:
    """What the SECC is told."""

    plan: tuple[Part, ...]
    plan_no: int
    planning: bool
    ask: Ask
    charge_only: bool


NOTHING_TOLD = Told((), 0, False, "", False)
_SCHEDULING = ("ChargeParameterDiscoveryReq", "ScheduleExchangeReq")  # with these a car asks for its schedule


class Negotiation:
    """Of one charger with its cars, one after the other."""

    def __init__(self, charge_w: float, discharge_w: float, say: Callable[[str], None]) -> None:
        """charge_w, discharge_w: ratings (W, magnitudes). say: gets sentences for people."""
        self._charge_w, self._discharge_w = charge_w, discharge_w
        self._say = say
        self._orders = NO_ORDERS
        self._plan: tuple[Moment, ...] = ()
        self._no = 0
        self._until_s: float | None = None  # wall time at which the numbered plan has been told to its end
        self._pause = False
        self._asked: tuple[Ask, int] = ("", 0)  # what the car is asked for, and for which plan
        self._asked_t = 0.0
        self._gone: set[tuple[Ask, int]] = set()  # what it did not follow
        self._last_t = float("-inf")  # when it was last asked for a new schedule
        self._waits_t: float | None = None  # since when it asks for its schedule

    def order(self, wall_s: float, orders: CarOrders) -> None:
        """What holds from now on."""
        # A count that is lower belongs to a bridge that was started again.
        anew, same = orders.replan > self._orders.replan, orders.plan is self._orders.plan
        self._orders = orders
        if self._until_s is None:
            self._until_s = wall_s + SPAN_S  # until now the ratings were the plan
        elif same and not anew and wall_s < self._until_s:
            return
        end_s = min(self._until_s, wall_s + SPAN_S)
        if anew or wall_s >= self._until_s or self._differs(orders.plan, wall_s, end_s):
            self._plan, self._until_s = orders.plan, wall_s + SPAN_S
            self._no += 1

    def pause(self, car: CarState | None) -> str:
        """Ask the car to pause; returns why it cannot be asked, empty: it is."""
        if car is None or car.phase != "transfer":
            return "No car is in its charge loop, so none can be asked to pause."
        if car.protocol != "iso20":
            return "ISO 15118-2 and DIN 70121 have no word by which a charger asks for a pause; the car or a stop can."
        self._gone.discard(("pause", 0))
        self._pause = True
        return ""

    def told(self, now: float, wall_s: float, car: CarState | None) -> Told:
        """What the SECC is told at `now` (monotonic; wall_s: the same moment)."""
        ahead = [moment for moment in self._plan if moment[0] > wall_s]
        begun = [moment for moment in self._plan if moment[0] <= wall_s]
        # A plan that begins later leaves the time before to the ratings.
        present = begun[-1] if begun else (wall_s, self._charge_w, self._discharge_w)
        plan = [(max(at_s - wall_s, 0.0), up_w, down_w) for at_s, up_w, down_w in ([present, *ahead])]
        parts = tuple(Part(*part) for part in fitted(plan, MAX_PARTS)) if self._plan else ()
        return Told(parts, self._no, self._planning(now, car), self._ask(now, car), self._orders.charge_only)

    def _planning(self, now: float, car: CarState | None) -> bool:
        """Whether a car that asks for its schedule, now or in a moment, is kept waiting."""
        if car is None or car.message not in _SCHEDULING:
            self._waits_t = None
        elif self._waits_t is None:
            self._waits_t = now
        waited_s = 0.0 if self._waits_t is None else now - self._waits_t
        return waited_s < self._orders.wait_s

    def _ask(self, now: float, car: CarState | None) -> Ask:
        if car is None or car.phase != "transfer":
            self._asked, self._pause = ("", 0), False
            if car is None or car.phase == "none":
                self._gone.clear()
                self._last_t = float("-inf")
            return ""
        if car.replans:
            self._asked = ("", 0)
            return ""
        key = self._wish(now, car)
        if key != self._asked:
            self._asked, self._asked_t = key, now
            if key[0]:
                self._say(f"The car is asked for {WORDS[key[0]]}.")
            if key[0] == "schedule":
                self._last_t = now
        elif key[0] and now - self._asked_t > ASK_FOR_S:
            self._gone.add(key)
            self._pause = False
            self._say(f"The car was asked for {WORDS[key[0]]} and did not follow in {ASK_FOR_S:g} s.")
            self._asked = ("", 0)
        return self._asked[0]

    def _wish(self, now: float, car: CarState) -> tuple[Ask, int]:
        if self._pause:
            return "pause", 0
        new = car.protocol == "iso20"
        wrong = car.bidirectional if self._orders.charge_only else car.discharge_offered is False and self._discharge_w
        services: tuple[Ask, int] = ("services", int(self._orders.charge_only))
        if new and wrong and services not in self._gone:
            return services
        schedule: tuple[Ask, int] = ("schedule", self._no)
        planned = car.protocol == "iso2" or (new and car.control == "scheduled")
        if not planned or car.told_plan in (None, self._no) or schedule in self._gone:
            return "", 0
        due = now - self._last_t >= EVERY_S[car.protocol]
        return schedule if due or self._asked[0] == "schedule" else ("", 0)

    def _differs(self, plan: Sequence[Moment], from_s: float, to_s: float) -> bool:
        """Whether `plan` is another one than that which has a number, for long enough between the two wall times."""
        if plan == self._plan:
            return False
        starts = sorted({from_s, *(m[0] for m in (*plan, *self._plan) if from_s < m[0] < to_s)})
        for start_s, end_s in zip(starts, [*starts[1:], to_s], strict=True):
            if end_s - start_s < DIFFERS_S:
                continue
            new, old = self._at(plan, start_s), self._at(self._plan, start_s)
            for value, known, rated in zip(new, old, (self._charge_w, self._discharge_w), strict=True):
                if abs(value - known) > DIFFERS_SHARE * rated:
                    return True
        return False

    def _at(self, plan: Sequence[Moment], wall_s: float) -> tuple[float, float]:
        found = next((m for m in reversed(plan) if m[0] <= wall_s), (0.0, self._charge_w, self._discharge_w))
        return min(found[1], self._charge_w), min(found[2], self._discharge_w)
