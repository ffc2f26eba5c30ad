"""One OCPP-J frame: text to a typed value and back. Pure.

A number that JSON does not know (NaN, Infinity, 1e999), text that is no Unicode and a frame of the wrong shape are
refused here, so that nothing behind this module meets them.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from firmware.bridges.ocpp.dialect import Code, Dialect, Kind

MAX_ID_CHARS = 36  # OCPP-J 1.6 section 4.1.4, OCPP 2.x part 4 section 4.1.4: room for a GUID
MAX_FRAME_CHARS = 1_000_000  # policy value; the largest message of OCPP 2.1 that a charger gets is a local list
MAX_DESCRIPTION_CHARS = 255  # errorDescription, all versions
MAX_DEPTH = 32  # policy value; the deepest payload of OCPP 2.1 has nine levels

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A request that wants an answer (CALL), or one that gets none (SEND, 2.1)."""

    id: str
    action: str
    payload: Json
    send: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a call."""

    id: str
    payload: Json


@dataclass(frozen=True, slots=True)
class Fault:
    """CALLERROR, the refusal of a call, or (of_result) CALLRESULTERROR, the refusal of an answer (2.1)."""

    id: str
    code: str
    description: str
    details: Json
    of_result: bool = False


class Malformed(Exception):
    """A frame that is none. `id` is the sender's where it could be read; `answer`: whether a CALLERROR is due."""

    def __init__(self, code: Code, sentence: str, id: str | None = None, answer: bool = False) -> None:
        super().__init__(sentence)
        self.code, self.sentence, self.id, self.answer = code, sentence, id, answer


def decode(text: str, dialect: Dialect) -> Call | Result | Fault:
    """The frame in `text`. Raises Malformed."""
    frame = _json(text)
    if not isinstance(frame, list) or not frame:
        raise Malformed(Code.RPC, "the frame is no JSON array", answer=True)
    number = frame[0]
    if isinstance(number, bool) or not isinstance(number, int):
        raise Malformed(Code.RPC, "the message type is no whole number", answer=True)
    id = frame[1] if len(frame) > 1 and isinstance(frame[1], str) and frame[1] else None
    if number not in {kind.value for kind in dialect.kinds}:
        # An unknown kind is refused only where its id can be told: it may as well be a kind that gets no answer.
        sentence = f"message type {number} is not known in OCPP {dialect.name}"
        raise Malformed(Code.MESSAGE_TYPE, sentence, id, answer=id is not None and dialect.two)
    kind = Kind(number)
    answer = kind is Kind.CALL
    if id is None:
        raise Malformed(Code.RPC, "the message id cannot be read", answer=answer)
    if len(id) > MAX_ID_CHARS:
        sentence = f"the message id has {len(id)} characters; at most {MAX_ID_CHARS} are allowed"
        raise Malformed(Code.RPC, sentence, id, answer)
    if kind in (Kind.CALL, Kind.SEND):
        if len(frame) != 4 or not isinstance(frame[2], str) or not frame[2]:
            raise Malformed(Code.RPC, f"a {kind.name} is [{number}, id, action, payload]", id, answer)
        return Call(id, frame[2], _object(frame[3], id, answer), kind is Kind.SEND)
    if kind is Kind.CALL_RESULT:
        if len(frame) != 3:
            raise Malformed(Code.RPC, "a CALLRESULT is [3, id, payload]", id)
        return Result(id, _object(frame[2], id, False))
    # Peers leave out the description or the details; what matters is that the call was refused.
    code = frame[2] if len(frame) > 2 and isinstance(frame[2], str) else Code.GENERIC.value
    description = frame[3] if len(frame) > 3 and isinstance(frame[3], str) else ""
    details = frame[4] if len(frame) > 4 and isinstance(frame[4], dict) else {}
    return Fault(id, code, description, details, kind is Kind.CALL_RESULT_ERROR)


def encode(frame: Call | Result | Fault) -> str:
    """The frame as text. Raises ValueError on a number that JSON does not know."""
    body: list[Any]
    match frame:
        case Call():
            body = [Kind.SEND if frame.send else Kind.CALL, frame.id, frame.action, frame.payload]
        case Result():
            body = [Kind.CALL_RESULT, frame.id, frame.payload]
        case Fault():
            kind = Kind.CALL_RESULT_ERROR if frame.of_result else Kind.CALL_ERROR
            body = [kind, frame.id, frame.code, frame.description[:MAX_DESCRIPTION_CHARS], frame.details]
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _json(text: str) -> Any:
    if len(text) > MAX_FRAME_CHARS:
        sentence = f"the frame has {len(text)} characters; at most {MAX_FRAME_CHARS} are allowed"
        raise Malformed(Code.RPC, sentence, answer=False)
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise Malformed(Code.RPC, f"the frame is nested deeper than {MAX_DEPTH} levels", answer=False) from None
    except ValueError as error:
        raise Malformed(Code.RPC, f"the frame is no JSON: {str(error)[:100]}", answer=True) from None
    _check(value, 0)
    return value


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Malformed(Code.RPC, f"the frame is nested deeper than {MAX_DEPTH} levels", answer=False)
    if isinstance(value, dict):
        for name, item in value.items():
            _check(name, depth)
            _check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Malformed(Code.RPC, "the frame has half a surrogate pair in a text", answer=True) from None


def _object(value: Any, id: str, answer: bool) -> Json:
    if value is None:  # OCPP-J 1.6 section 4.2.1: no payload may be null or {}
        return {}
    if not isinstance(value, dict):
        raise Malformed(Code.FORMAT, "the payload is no JSON object", id, answer)
    return value
