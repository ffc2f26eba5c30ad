"""The RPC engine of OCPP-J, sans I/O: it is given text, time and ids and returns text and events.

One outgoing CALL at a time (OCPP-J 1.6 section 4.1.1, 2.x part 4 section 4.1.1). A peer that does not keep to that is
still answered, up to `MAX_OPEN` of its calls. The engine knows nothing of what messages mean: what it is told to
support it hands over, everything else it answers as the specification says.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Set
from dataclasses import dataclass

from firmware.bridges.ocpp.dialect import Code, Dialect
from firmware.bridges.ocpp.frames import Call, Fault, Json, Malformed, Result, decode, encode
from firmware.bridges.ocpp.schemas import Problem, Schemas

MAX_OPEN = 16  # policy value: calls of the peer that wait for our answer
REMEMBERED = 64  # policy value: answered ids of this connection, against calls that come twice

NO_ANSWER = "NoAnswer"  # `Failed.code` of a call that timed out
DISCONNECTED = "Disconnected"  # `Failed.code` of a call whose connection ended


@dataclass(frozen=True, slots=True)
class Asked:
    """The peer calls (or sends): answer it with `reply` or `refuse`, unless `wants_answer` is False."""

    id: str
    action: str
    payload: Json
    wants_answer: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """Our call was answered, and the answer is good. round_trip_s: from our call to it (s)."""

    id: str
    action: str
    request: Json
    payload: Json
    round_trip_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """Our call was refused (`code` is the peer's), its answer was bad, or none came."""

    id: str
    action: str
    request: Json
    code: str
    description: str


@dataclass(frozen=True, slots=True)
class ResultRefused:
    """The peer found our answer `id` bad (CALLRESULTERROR)."""

    id: str
    code: str
    description: str


@dataclass(frozen=True, slots=True)
class Noise:
    """Something arrived that changes nothing. For the log."""

    sentence: str


Event = Asked | Answered | Failed | ResultRefused | Noise


class Busy(Exception):
    """A call is still open: only one at a time."""


class InvalidOwnMessage(Exception):
    """What we wanted to say breaks the schema; it was not said. `instead`: what the peer must get, if anything."""

    def __init__(self, action: str, problem: Problem, instead: str | None = None) -> None:
        super().__init__(f"{action}: {problem.sentence}")
        self.instead = instead


@dataclass(frozen=True, slots=True)
class _Open:
    call: Call
    since_s: float
    until_s: float


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


class Rpc:
    """One end of one connection. `reset` before it is used for another."""

    def __init__(
        self,
        dialect: Dialect,
        schemas: Schemas,
        *,
        supported: Set[str],
        timeout_s: float,
        new_id: Callable[[], str],
    ) -> None:
        """supported: the actions that `Asked` is wanted for. timeout_s: for how long an answer is awaited."""
        self.dialect = dialect
        self._schemas = schemas
        self._supported = supported
        self._timeout_s = timeout_s
        self._new_id = new_id
        self._open: _Open | None = None
        # Of frames only a digest is kept: a peer may send 64 of the longest.
        self._asked: dict[str, tuple[str, bytes]] = {}  # id -> (action, digest of the frame)
        self._done: OrderedDict[str, tuple[bytes, str]] = OrderedDict()  # id -> (digest of the frame, our answer)

    @property
    def busy(self) -> bool:
        """Whether one of our calls waits for its answer."""
        return self._open is not None

    def reset(self) -> list[Event]:
        """The connection ended: what was open gets no answer any more."""
        events: list[Event] = []
        if self._open is not None:
            call = self._open.call
            events.append(Failed(call.id, call.action, call.payload, DISCONNECTED, "the connection ended"))
        self._open = None
        self._asked.clear()
        self._done.clear()
        return events

    # --------------------------------------------------------------------------------------------------------- ours
    def call(self, now: float, action: str, payload: Json) -> str:
        """The text of a new call. Raises Busy, InvalidOwnMessage; then nothing changed."""
        if self._open is not None:
            raise Busy
        call = Call(self._new_id(), action, payload)
        text = self._own(call)
        self._open = _Open(call, now, now + self._timeout_s)
        return text

    def send(self, action: str, payload: Json) -> str:
        """The text of a SEND, which gets no answer (2.1). Raises InvalidOwnMessage."""
        return self._own(Call(self._new_id(), action, payload, send=True))

    def _own(self, call: Call) -> str:
        if call.action not in self._schemas.actions or (call.action in self._schemas.sends) is not call.send:
            raise InvalidOwnMessage(
                call.action, Problem(Code.NOT_IMPLEMENTED, f"no such message in OCPP {self.dialect.name}")
            )
        problem = self._schemas.request(call.action, call.payload)
        if problem is not None:
            raise InvalidOwnMessage(call.action, problem)
        return encode(call)

    def reply(self, id: str, payload: Json) -> str | None:
        """Our answer to `Asked.id`; None when nobody waits for it any more (the connection is another one).

        Raises InvalidOwnMessage, with the CALLERROR that must go out instead.
        """
        if id not in self._asked:
            return None
        action, _ = self._asked[id]
        problem = self._schemas.response(action, payload)
        if problem is not None:
            raise InvalidOwnMessage(action, problem, self.refuse(id, Code.INTERNAL, "the answer could not be made"))
        return self._close(id, encode(Result(id, payload)))

    def refuse(self, id: str, code: Code, description: str) -> str | None:
        """Our CALLERROR to `Asked.id`; None when nobody waits for it any more."""
        return None if id not in self._asked else self._close(id, self._fault(id, code, description))

    def _close(self, id: str, answer: str) -> str:
        _, frame = self._asked.pop(id)
        self._remember(id, frame, answer)
        return answer

    def _remember(self, id: str, frame: bytes, answer: str) -> None:
        self._done[id] = (frame, answer)
        while len(self._done) > REMEMBERED:
            self._done.popitem(last=False)

    def _fault(self, id: str, code: Code, description: str, of_result: bool = False) -> str:
        return encode(Fault(id, self.dialect.code(code), description, {}, of_result))

    def tick(self, now: float) -> list[Event]:
        """A call that waited too long failed."""
        if self._open is None or now < self._open.until_s:
            return []
        call, self._open = self._open.call, None
        return [Failed(call.id, call.action, call.payload, NO_ANSWER, f"no answer within {self._timeout_s:g} s")]

    # ------------------------------------------------------------------------------------------------------- theirs
    def receive(self, now: float, text: str) -> tuple[list[str], list[Event]]:
        """What arrived -> (texts to send at once, events)."""
        try:
            frame = decode(text, self.dialect)
        except Malformed as bad:
            id = bad.id if bad.id is not None else self.dialect.unreadable_id
            out = [self._fault(id, bad.code, bad.sentence)] if bad.answer and id is not None else []
            return out, [*self._unanswerable(bad), Noise(f"Malformed: {bad.sentence}.")]
        match frame:
            case Call():
                return self._called(frame, text)
            case Result():
                return self._answered(now, frame)
            case Fault(of_result=True):
                return [], [ResultRefused(frame.id, frame.code, frame.description)]
            case Fault():
                return [], self._refused(frame)

    def _unanswerable(self, bad: Malformed) -> list[Event]:
        """A malformed answer to our call ends the call: no better one will come."""
        if bad.answer or self._open is None or bad.id != self._open.call.id:
            return []
        call, self._open = self._open.call, None
        return [Failed(call.id, call.action, call.payload, self.dialect.code(bad.code), bad.sentence)]

    def _called(self, call: Call, text: str) -> tuple[list[str], list[Event]]:
        if call.send:
            return [], self._sent(call)
        before = self._done.get(call.id)
        if before is not None or call.id in self._asked:
            known = before[0] if before is not None else self._asked[call.id][1]
            if _digest(text) == known:
                # The same call again: the same answer again, and it is carried out once.
                return ([before[1]] if before else []), [Noise(f"{call.action} came twice under one id.")]
            sentence = "the message id was used before on this connection"
            return [self._fault(call.id, Code.RPC, sentence)], [Noise(f"{call.action}: {sentence}.")]
        code, sentence = self._objection(call)
        if code is not None:
            answer = self._fault(call.id, code, sentence)
            self._remember(call.id, _digest(text), answer)
            return [answer], [Noise(f"{call.action[:40]} refused: {sentence}.")]
        self._asked[call.id] = (call.action, _digest(text))
        return [], [Asked(call.id, call.action, call.payload, True)]

    def _objection(self, call: Call) -> tuple[Code | None, str]:
        if call.action not in self._schemas.actions:
            return Code.NOT_IMPLEMENTED, f"OCPP {self.dialect.name} has no such message"
        if call.action not in self._supported or call.action in self._schemas.sends:
            return Code.NOT_SUPPORTED, "not supported here"
        if len(self._asked) >= MAX_OPEN:
            return Code.GENERIC, f"{MAX_OPEN} calls wait for an answer already"
        problem = self._schemas.request(call.action, call.payload)
        return (None, "") if problem is None else (problem.code, problem.sentence)

    def _sent(self, call: Call) -> list[Event]:
        if call.action not in self._schemas.sends or call.action not in self._supported:
            return [Noise(f"SEND {call.action[:40]} is not supported here.")]
        problem = self._schemas.request(call.action, call.payload)
        if problem is not None:
            return [Noise(f"SEND {call.action}: {problem.sentence}.")]
        return [Asked(call.id, call.action, call.payload, False)]

    def _answered(self, now: float, result: Result) -> tuple[list[str], list[Event]]:
        if self._open is None or self._open.call.id != result.id:
            return [], [Noise("An answer came to a call that is not open; it may be late.")]
        opened, self._open = self._open, None
        call = opened.call
        problem = self._schemas.response(call.action, result.payload)
        if problem is None:
            return [], [Answered(call.id, call.action, call.payload, result.payload, now - opened.since_s)]
        # OCPP 2.1 part 2, FR.06: an invalid response is answered by a CALLRESULTERROR; earlier versions have none.
        out = []
        if len(self.dialect.kinds) > 3:
            out.append(self._fault(call.id, problem.code, problem.sentence, of_result=True))
        return out, [Failed(call.id, call.action, call.payload, self.dialect.code(problem.code), problem.sentence)]

    def _refused(self, fault: Fault) -> list[Event]:
        if self._open is None or self._open.call.id != fault.id:
            return [Noise(f"A refusal ({fault.code[:40]}) came to a call that is not open.")]
        call, self._open = self._open.call, None
        return [Failed(call.id, call.action, call.payload, fault.code, fault.description)]
