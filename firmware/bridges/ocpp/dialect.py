"""What differs between OCPP 1.6, 2.0.1 and 2.1 on the wire, as tables.

Message types and error codes: OCPP-J 1.6 section 4; OCPP 2.0.1 and 2.1 part 4 section 4 (2.1 adds CALLRESULTERROR and
SEND). The part 4 texts were not at hand: names were compared with the public sources of npm `ocpp-rpc` and libocpp.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class Kind(enum.IntEnum):
    """Message types of the RPC layer."""

    CALL = 2
    CALL_RESULT = 3
    CALL_ERROR = 4
    CALL_RESULT_ERROR = 5
    SEND = 6


class Code(enum.Enum):
    """Error codes; the value is the spelling of 2.0.1 and 2.1."""

    FORMAT = "FormatViolation"
    GENERIC = "GenericError"
    INTERNAL = "InternalError"
    MESSAGE_TYPE = "MessageTypeNotSupported"
    NOT_IMPLEMENTED = "NotImplemented"
    NOT_SUPPORTED = "NotSupported"
    OCCURRENCE = "OccurrenceConstraintViolation"
    PROPERTY = "PropertyConstraintViolation"
    PROTOCOL = "ProtocolError"
    RPC = "RpcFrameworkError"
    SECURITY = "SecurityError"
    TYPE = "TypeConstraintViolation"


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """One version of OCPP on the wire."""

    name: str
    subprotocol: str  # RFC 6455 subprotocol, as registered
    schema_folder: str  # in the PyPI package `ocpp`
    request_suffix: str  # of a request's schema file
    kinds: frozenset[Kind]
    codes: Mapping[Code, str]  # spellings that are not those of 2.x; a code the version lacks maps to its nearest
    unreadable_id: str | None  # message id of the CALLERROR to a call whose own cannot be read; None: no answer

    def code(self, code: Code) -> str:
        """The code as this version spells it."""
        return self.codes.get(code, code.value)

    @property
    def two(self) -> bool:
        """Whether this is 2.0.1 or 2.1, which tell transactions by TransactionEvent."""
        return self.schema_folder != "v16"


_CLASSIC = frozenset({Kind.CALL, Kind.CALL_RESULT, Kind.CALL_ERROR})
V16 = Dialect(
    "1.6",
    "ocpp1.6",
    "v16",
    "",
    _CLASSIC,
    {
        Code.FORMAT: "FormationViolation",  # spelled so in OCPP-J 1.6
        Code.OCCURRENCE: "OccurenceConstraintViolation",  # spelled so in OCPP-J 1.6
        Code.MESSAGE_TYPE: "ProtocolError",
        Code.RPC: "FormationViolation",
    },
    None,
)
V201 = Dialect("2.0.1", "ocpp2.0.1", "v201", "Request", _CLASSIC, {}, "-1")
V21 = Dialect("2.1", "ocpp2.1", "v21", "Request", frozenset(Kind), {}, "-1")
DIALECTS: tuple[Dialect, ...] = (V21, V201, V16)  # by preference
BY_NAME: Mapping[str, Dialect] = {dialect.name: dialect for dialect in DIALECTS}
BY_SUBPROTOCOL: Mapping[str, Dialect] = {dialect.subprotocol: dialect for dialect in DIALECTS}
