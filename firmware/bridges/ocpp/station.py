"""The charging station's side of OCPP, sans I/O: looks at the charger and texts in, texts out.

What is sent next, by rank: the boot notification (before it is accepted nothing else), a status that changed, the
oldest record of a transaction in turns with the calls of the functions, a heartbeat. What the back end may ask for, and
what else the charger says, are functions (function.py), each in a module of its own. Everything here is given the
monotonic time; wall time is that of the looks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from firmware.bridges.ocpp import telling, times
from firmware.bridges.ocpp.client_keys import Keys
from firmware.bridges.ocpp.credentials import Credentials
from firmware.bridges.ocpp.dialect import Code, Dialect
from firmware.bridges.ocpp.function import Function, Refusal
from firmware.bridges.ocpp.functions import FUNCTIONS
from firmware.bridges.ocpp.identity import Identity, Registration, boot
from firmware.bridges.ocpp.jobs import Worker
from firmware.bridges.ocpp.network import Profile
from firmware.bridges.ocpp.outbox import Message, Outbox, OutboxError, wait_s
from firmware.bridges.ocpp.rpc import (
    DISCONNECTED,
    NO_ANSWER,
    Answered,
    Asked,
    Event,
    Failed,
    InvalidOwnMessage,
    Noise,
    ResultRefused,
    Rpc,
)
from firmware.bridges.ocpp.schemas import schemas_of
from firmware.bridges.ocpp.transaction import Transactions
from firmware.bridges.ocpp.tunables import Tunables
from firmware.bridges.ocpp.view import DESK, Ability, CarWish, GridPort, Orders, View, Wanted

BOOT_RETRY_S = 60.0  # where the back end gives no interval, or does not answer; libocpp's default
HEARTBEAT_S = 300.0  # where the back end gives no interval; policy value
INTERVAL_MAX_S = 86_400.0  # policy value: a back end that says "a year" is asked again after a day
SILENT_CALLS = 2  # policy value: so many calls in a row without an answer, and the connection is held for dead
STATUS_S = 1.0  # policy value: a status that flutters is told at most once a second, or records would never be sent
CLOCK_TOLERANCE_S = 10.0  # policy value: the back end's clock and ours differ by more: told

Json = dict[str, Any]


class Station:
    """One charger towards one back end. `say` gets sentences for the log."""

    def __init__(
        self,
        identity: Identity,
        outbox: Outbox,
        transactions: Transactions,
        *,
        message_timeout_s: float,
        new_id: Callable[[], str],
        say: Callable[[str], None],
        follow_clock: bool = False,
        boot_reason: str = "PowerUp",
        ability: Ability = DESK,
        grid: GridPort | None = None,
        tune: Tunables | None = None,
        restarts: bool = False,
        worker: Worker | None = None,
        way: Profile | None = None,
        keys: Keys | None = None,
        functions: Sequence[Callable[[Station], Function]] = FUNCTIONS,
    ) -> None:
        """message_timeout_s: for how long an answer is awaited. follow_clock: tell the back end's time, not ours. grid:
        services' controls over the grid code; None: nothing of block R is supported. tune: the board's values of what
        the back end may set. restarts: what was shut down is started again by somebody. worker: does what takes long;
        None: no files are moved. way: the board's first way to the back end. keys: the files of our certificates; None:
        none can be made."""
        self.identity = identity
        self.outbox = outbox
        self.transactions = transactions
        self.timeout_s = message_timeout_s
        self.tune = Tunables(meter_interval_s=transactions.interval_s) if tune is None else tune
        self.tune.balance_upper_w, self.tune.balance_lower_w = ability.balance_upper_w, ability.balance_lower_w
        self.restarts = restarts
        self.worker = worker
        self.way = way
        self.credentials = Credentials(outbox, keys)
        self.reconnect = False  # what we are known by has changed: the connection is to be made anew
        self.noted: list[tuple[str, str]] = []  # security events that are not yet written down
        self.reservation: Json | None = None  # for whom the charger is kept free; a function changes it
        self.available = True  # as the back end has set it; a function changes it
        self.new_id = new_id
        self.say = say
        self.follows_clock = follow_clock
        self._boot_reason = boot_reason
        self._rpc: Rpc | None = None
        self.registration = Registration.NONE
        self._boot_due = 0.0
        self._boot_wanted = False  # by a TriggerMessage
        self._quiet_since = 0.0  # monotonic time at which something was last said
        self._record_due = 0.0
        self._status_due = 0.0
        self._silent = 0
        self.view: View | None = None
        self._correction_s = 0.0  # the back end's clock minus ours
        self._clock_told = False
        self._status: Json | None = None  # as the back end knows it
        self._sending: Message | None = None  # the record that waits for its answer
        self._telling: Json | None = None  # the status that waits for its answer
        self._asking: Function | None = None  # whose call waits for its answer
        self._asked_for: tuple[str, Json] = ("", {})
        self._records_first = True  # functions and records take turns
        self._problem = ""
        self.ability = ability
        self.grid = grid
        self.functions = tuple(make(self) for make in functions)

    # -------------------------------------------------------------------------------------------------- connection
    @property
    def online(self) -> bool:
        """Connected and registered."""
        return self._rpc is not None and self.registration is Registration.ACCEPTED

    @property
    def dead(self) -> bool:
        """The connection is there and nobody answers: close it."""
        return self._silent >= SILENT_CALLS

    @property
    def done(self) -> bool:
        """What we are known by has changed, and no call of ours is open: the connection is to be made anew. (In 1.6 a
        StartTransaction without its answer would be told again, and begin a second one.)"""
        return self.reconnect and self._rpc is not None and not self._rpc.busy

    @property
    def dialect(self) -> Dialect | None:
        """The version spoken now."""
        return None if self._rpc is None else self._rpc.dialect

    def connected(self, now: float, dialect: Dialect) -> None:
        """A connection is up. Raises SchemasMissing."""
        supported = frozenset().union(*(function.answers(dialect) for function in self.functions))
        self._rpc = Rpc(dialect, schemas_of(dialect), supported=supported, timeout_s=self.timeout_s, new_id=self.new_id)
        self._silent = 0
        self.reconnect = False
        self._status = None  # what changed meanwhile, and in which words it was told, is not worth remembering
        self._record_due = self._status_due = now
        self._quiet_since = now
        if self.registration is not Registration.ACCEPTED:
            self._boot_due = now
        for function in self.functions:
            function.connected(now)

    def disconnected(self, now: float) -> None:
        """The connection ended. A back end that was once satisfied with our boot is not told of it again."""
        if self._rpc is not None:
            for event in self._rpc.reset():
                self._take(now, event)
            for function in self.functions:
                function.disconnected(now)
        self._rpc = None
        self._silent = 0

    # ------------------------------------------------------------------------------------------------------ charger
    def orders(self, now: float) -> Orders:
        """What the charger must do beside power: whether sessions are held back and why, whether to start anew, and
        what the car is to be told."""
        held = next((why for f in self.functions if (why := f.hold(now))), "")
        wish = CarWish()
        for f in self.functions:
            wish = f.car_wish(now, wish)
        return Orders(held, any(f.reset_due(now) for f in self.functions), wish)

    def wanted(self, now: float) -> Wanted | None:
        """The power that the back end's rules come to now; None: none of them says anything."""
        wanted = next((w for f in self.functions if (w := f.wanted(now)) is not None), None)
        for f in self.functions:
            wanted = f.leaves(now, wanted)
        return wanted

    def observe(self, view: View) -> None:
        """Take a look at the charger; what must not be lost is on the disk when this returns."""
        self.view = view
        # Before the transactions look: what was set a moment ago counts for the car that has just come.
        self.transactions.required = self.tune.authorize or self.reservation is not None
        try:
            self.transactions.observe(view, self._told_wall(view), self.online)
            self._problem = ""
        except OutboxError as error:
            if str(error) != self._problem:  # once, not ten times a second
                self._problem = str(error)
                self.say(str(error))
        for function in self.functions:  # whatever the disk does: power follows from what they see
            function.observe(view)

    def _told_wall(self, view: View) -> float:
        return view.wall_s + (self._correction_s if self.follows_clock else 0.0)

    def resume_boot_reason(self, reason: object) -> bool:
        """The reason of this start is one that was written down before it; whether there was any."""
        if isinstance(reason, str) and reason:
            self._boot_reason = reason
            return True
        return False

    def security(self, kind: str, info: str) -> None:
        """A security event. kind: OCPP's name of it; info: a sentence without secrets. It is written down with the next
        look at the charger."""
        self.noted.append((kind, info))
        del self.noted[:-100]

    # ------------------------------------------------------------------------------------------------------ sending
    def tick(self, now: float) -> list[str]:
        """What is to be sent now."""
        rpc = self._rpc
        if rpc is None:
            return []
        for event in rpc.tick(now):
            self._take(now, event)
        if rpc.busy or self.dead or self.reconnect:
            return []
        try:
            text = self._next(now, rpc)
        except InvalidOwnMessage as error:
            self.say(f"Not sent, because it breaks the schema: {error}.")
            self._give_up(now)
            return []
        except OutboxError as error:
            self.say(str(error))
            return []
        if text is None:
            return []
        self._quiet_since = now
        return [text]

    def _next(self, now: float, rpc: Rpc) -> str | None:
        if self.registration is not Registration.ACCEPTED or self._boot_wanted:
            if now < self._boot_due:
                call = self._next_of_functions(now, rpc.dialect) if self.registration is Registration.PENDING else None
                return None if call is None else rpc.call(now, *call)
            self._boot_wanted = False
            return rpc.call(now, "BootNotification", boot(rpc.dialect, self.identity, self._boot_reason))
        if now >= self._status_due and (status := self._new_status(rpc.dialect)) is not None:
            self._telling = status
            self._status_due = now + STATUS_S
            return rpc.call(now, "StatusNotification", status | {"timestamp": times.show(self.wall_s(now))})
        turns = (self._next_record, self._next_of_functions)
        for turn in turns if self._records_first else reversed(turns):
            if (call := turn(now, rpc.dialect)) is not None:
                self._records_first = turn == self._next_of_functions
                return rpc.call(now, *call)
        if now >= self._quiet_since + self.tune.heartbeat_s:
            return rpc.call(now, "Heartbeat", {})
        return None

    def _next_record(self, now: float, dialect: Dialect) -> tuple[str, Json] | None:
        if now < self._record_due:
            return None
        while (message := self.outbox.head()) is not None:
            number = self.outbox.number(message.tx)
            told = telling.told(dialect, message.payload, number, self.identity.id_tag)
            if told is not None:
                self._sending = message
                return told
            self.outbox.taken(message.id)
        return None

    def _next_of_functions(self, now: float, dialect: Dialect) -> tuple[str, Json] | None:
        for function in self.functions:
            if (call := function.next(now) if self.online else function.next_while_pending(now)) is not None:
                self._asking = function
                self._asked_for = call
                return call
        return None

    def _new_status(self, dialect: Dialect) -> Json | None:
        if self.view is None or self.view.plugged is None:
            return None
        status = telling.status(dialect, self.view, self.available, self.reservation is not None)
        return None if status == self._status else status

    def wall_s(self, now: float) -> float:
        """The wall time that is told to the back end (s since the epoch). Only after the first look."""
        assert self.view is not None
        return self._told_wall(self.view) + now - self.view.t

    def _give_up(self, now: float) -> None:
        """What we made ourselves and may not send would hold up the rest for ever."""
        if self._sending is not None:
            self.outbox.taken(self._sending.id)
            self.outbox.dropped += 1
        if self._telling is not None:
            self._status = self._telling
        self._sending = self._telling = None
        if self._asking is not None:
            asking, self._asking = self._asking, None
            asking.failed(now, *self._asked_for, "InvalidOwnMessage")

    # ---------------------------------------------------------------------------------------------------- receiving
    def receive(self, now: float, text: str) -> list[str]:
        """What arrived -> what is to be sent at once."""
        rpc = self._rpc
        if rpc is None:
            return []
        out, events = rpc.receive(now, text)
        for event in events:
            if isinstance(event, Asked):
                out += self._answer(now, rpc, event)
            else:
                self._take(now, event)
        return out

    def _answer(self, now: float, rpc: Rpc, asked: Asked) -> list[str]:
        if not asked.wants_answer:
            return []
        if self.registration in (Registration.NONE, Registration.REJECTED):
            # OCPP 2.x part 2, B03: a station that was rejected answers no call.
            answer = rpc.refuse(asked.id, Code.SECURITY, "this charger is not registered")
            return [] if answer is None else [answer]
        if self.view is None:
            answer = rpc.refuse(asked.id, Code.INTERNAL, "the charger is just starting")
            return [] if answer is None else [answer]
        try:
            function = next(f for f in self.functions if asked.action in f.answers(rpc.dialect))
            answer = rpc.reply(asked.id, function.carry_out(now, asked.action, asked.payload))
        except Refusal as refusal:
            answer = rpc.refuse(asked.id, refusal.code, str(refusal))
        except InvalidOwnMessage as error:
            self.say(f"Our answer breaks the schema: {error}.")
            answer = error.instead
        except OutboxError as error:
            self.say(str(error))
            answer = rpc.refuse(asked.id, Code.INTERNAL, "the charger's memory does not answer")
        except Exception as error:  # a defect in one function must not take the others, and the power, with it
            self.say(f"{asked.action} could not be carried out: {type(error).__name__}: {error}.")
            answer = rpc.refuse(asked.id, Code.INTERNAL, "the charger could not carry it out")
        return [] if answer is None else [answer]

    def _take(self, now: float, event: Event) -> None:
        match event:
            case Answered():
                self._silent = 0
                self._answered(now, event)
            case Failed():
                self._silent = self._silent + 1 if event.code == NO_ANSWER else 0
                self._failed(now, event)
            case ResultRefused():
                self.say(f"The back end refused an answer of ours: {event.code[:40]}: {event.description[:200]}")
            case Noise():
                self.say(event.sentence)

    def _answered(self, now: float, event: Answered) -> None:
        if self._asking is not None:
            asking, self._asking = self._asking, None
            try:
                asking.answered(now, event.action, event.request, event.payload)
            except OutboxError as error:
                self.say(str(error))
            return
        match event.action:
            case "BootNotification":
                self._registered(now, event.payload)
                self._compare_clocks(now, event)
            case "Heartbeat":
                self._compare_clocks(now, event)
            case "StatusNotification":
                self._status, self._telling = self._telling, None
            case _ if self._sending is not None:
                number = event.payload["transactionId"] if event.action == "StartTransaction" else None
                # The schema bounds it by nothing; what no data base takes is no number we could give back.
                if number is not None:
                    number = int(number) if abs(number) < 2**63 else None
                sent = self._sending
                self._taken(sent, number)
                for function in self.functions:
                    function.taken(now, sent, event.payload)

    def _registered(self, now: float, payload: Json) -> None:
        self.registration = Registration[payload["status"].upper()]
        interval_s = float(min(payload["interval"], INTERVAL_MAX_S))  # a whole number of any length
        if self.registration is Registration.ACCEPTED:
            self.tune.heartbeat_s = interval_s if interval_s > 0 else HEARTBEAT_S
            self._quiet_since = now
        else:
            self._boot_due = now + (interval_s if interval_s > 0 else BOOT_RETRY_S)
            self.say(f"The back end's answer to our registration: {self.registration.value}.")

    def _compare_clocks(self, now: float, event: Answered) -> None:
        if self.view is None:
            return
        # The answer was written about half a round trip ago.
        theirs_s = times.parse(event.payload["currentTime"]) + event.round_trip_s / 2
        self._correction_s = theirs_s - (self.view.wall_s + now - self.view.t)
        far = abs(self._correction_s) > CLOCK_TOLERANCE_S
        if far and not self._clock_told:
            used = "the back end's" if self.follows_clock else "ours"
            self.say(f"The back end's clock is {self._correction_s:+.1f} s from ours; {used} is told.")
        self._clock_told = far

    def _taken(self, message: Message, number: int | None) -> None:
        self._sending = None
        try:
            self.outbox.taken(message.id, number)
        except OutboxError as error:
            self.say(str(error))  # it will be sent once more; the back end knows its seqNo

    def _failed(self, now: float, event: Failed) -> None:
        sending, self._sending = self._sending, None
        telling_, self._telling = self._telling, None
        if event.code != DISCONNECTED:
            self.say(f"{event.action} failed: {event.code[:40]}: {event.description[:200]}")
        if self._asking is not None:
            asking, self._asking = self._asking, None
            asking.failed(now, event.action, event.request, event.code)
        elif event.action == "BootNotification":
            self._boot_due = now + BOOT_RETRY_S
        elif telling_ is not None and event.code not in (NO_ANSWER, DISCONNECTED):
            self._status = telling_  # refused: said again only when it changes
        elif sending is not None:
            self._unsent(now, sending, event.code not in (NO_ANSWER, DISCONNECTED))

    def _unsent(self, now: float, message: Message, refused: bool) -> None:
        again_s = self.tune.attempt_interval_s
        self._record_due = now + (wait_s(message.attempts + 1, again_s) if refused else again_s)
        if not refused:
            return
        try:
            gone = self.outbox.refused(message.id, self.tune.attempts)
        except OutboxError as error:
            self.say(str(error))
            return
        if gone is not None:
            self._record_due = now
            what = f"{gone.payload['kind']} of transaction {gone.tx}, seqNo {gone.payload['seq']}"
            self.say(f"Given up after {gone.attempts} refusals by the back end: {what}.")

    def triggered(self, now: float, asked: str) -> str | None:
        """The status for a TriggerMessage of what the station itself says; None: it is a function's."""
        two = self.dialect is not None and self.dialect.two
        match asked:
            case "BootNotification":
                if self.registration is Registration.ACCEPTED and two:
                    return "Rejected"  # F06.FR.17
                self._boot_wanted, self._boot_due = True, now
            case "Heartbeat":
                self._quiet_since = -math.inf
            case "StatusNotification":
                self._status = None
            case "TransactionEvent" | "MeterValues" if two is (asked == "TransactionEvent"):
                if self.view is None or not self.transactions.trigger(
                    self.view, self._told_wall(self.view), self.online
                ):
                    return "Rejected"
            case _:
                return None
        return "Accepted"
