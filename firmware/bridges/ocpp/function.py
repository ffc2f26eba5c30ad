"""What one function of OCPP (smart charging, DER control, authorization, ...) is to the station: a class of its own.

To add one: write a module with a subclass of `Function`, override what it needs, and name the class in `functions.py`
(one line). The station asks every function in that order and knows none of them by name:

- `answers` and `carry_out`: the back end's calls that it carries out. No two functions may answer the same.
- `says` and `next`, then `answered` or `failed`: the calls that it makes, one at a time among all functions. A call is
  offered again by `next` until the function has seen its outcome; records of transactions take turns with it.
- `observe`: every look at the charger, connected or not. `connected`, `disconnected`: the connection.
- `trigger`: what a TriggerMessage may ask of it.

What must outlive power goes into `station.outbox.keep(name, value)` before it is answered. Everything is given the
monotonic time `now`; `station.wall_s(now)` is the time to be told to the back end. Nothing here waits.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from firmware.bridges.ocpp.dialect import Code, Dialect
from firmware.bridges.ocpp.rpc import DISCONNECTED, NO_ANSWER

if TYPE_CHECKING:
    from firmware.bridges.ocpp.outbox import Message
    from firmware.bridges.ocpp.station import Station
    from firmware.bridges.ocpp.view import CarWish, View, Wanted

Json = dict[str, Any]


class Refusal(Exception):
    """A call that is answered with a CALLERROR; most refusals are a status in the answer instead."""

    def __init__(self, code: Code, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Function:
    """One function of one station.

    `carry_out`, `next`, `answered` and `allowed` may raise OutboxError; the back end then gets InternalError. The
    others may not.
    """

    def __init__(self, station: Station) -> None:
        self.station = station

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        """The back end's calls that this function carries out in this version."""
        return frozenset()

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        """The calls that it makes in this version. For the page of messages; a test compares with what is sent."""
        return frozenset()

    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        """Carry out a call of the back end that obeys its schema; returns the answer. Raises Refusal."""
        raise Refusal(Code.NOT_SUPPORTED, f"{action} is not supported here")

    def trigger(self, now: float, message: str, payload: Json) -> str | None:
        """The status for a TriggerMessage that wants `message`; None: it is none of this function's."""
        return None

    def observe(self, view: View) -> None:
        """A look at the charger."""

    def connected(self, now: float) -> None:
        """A connection is up; which version is spoken says `station.dialect`."""

    def disconnected(self, now: float) -> None:
        """The connection ended."""

    def taken(self, now: float, message: Message, payload: Json) -> None:
        """The back end took a record of a transaction and answered `payload`."""

    def allowed(self, now: float, transfers: list[str]) -> None:
        """Whoever has just been authorized may transfer energy in these ways only (EnergyTransferModeEnumType)."""

    def hold(self, now: float) -> str:
        """Why no session may run now; empty: it may."""
        return ""

    def reset_due(self, now: float) -> bool:
        """Whether the charger is to shut down and start anew now."""
        return False

    def car_wish(self, now: float, wish: CarWish) -> CarWish:
        """What the car is to be told beside limits: `wish` with this function's part of it."""
        return wish

    def report(self, now: float) -> Json:
        """What `quadrant ocpp` shows of this function: named lists and numbers, plain JSON."""
        return {}

    def wanted(self, now: float) -> Wanted | None:
        """The power that this function wants; the first function that wants any has its way."""
        return None

    def leaves(self, now: float, wanted: Wanted | None) -> Wanted | None:
        """What this function leaves of the power that is wanted."""
        return wanted

    def next(self, now: float) -> tuple[str, Json] | None:
        """The call that is to be made now. Only asked while the charger is registered."""
        return None

    def next_while_pending(self, now: float) -> tuple[str, Json] | None:
        """The call that the back end has triggered, to be made while it keeps our registration pending (B02)."""
        return None

    def answered(self, now: float, action: str, request: Json, payload: Json) -> None:
        """The back end answered a call of `next`."""

    def failed(self, now: float, action: str, request: Json, code: str) -> None:
        """It refused a call of `next` (`code`), gave no answer (rpc.NO_ANSWER) or went away (rpc.DISCONNECTED).

        What breaks the schema comes back under the code "InvalidOwnMessage": offered again it would for ever.
        """


class Notifier(Function):
    """A function that tells the back end short notices in their order, and asks for nothing: the head of `_tell` is on
    its way or the next. `MOST` of them wait; the oldest behind the head goes first."""

    MOST: ClassVar[int] = 50  # policy value

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self._tell: deque[Json] = deque()

    def _push(self, notice: Json) -> None:
        self._tell.append(notice)
        if len(self._tell) > self.MOST:
            del self._tell[1]  # not the head: it may be on its way

    def answered(self, now: float, action: str, request: Json, payload: Json) -> None:
        self._tell.popleft()

    def failed(self, now: float, action: str, request: Json, code: str) -> None:
        if self._tell and code not in (NO_ANSWER, DISCONNECTED):
            self._tell.popleft()
