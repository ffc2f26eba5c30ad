"""The WebSocket to the back end: TLS as the security profile demands, one of our subprotocols or none at all.

TLS 1.2 or newer, ephemeral ECDHE with AEAD only, OpenSSL security level 2 (no SHA-1 signatures, keys of 112 bits and
more), the server's name checked, and no root is believed but those of `ca_file` (OCPP 2.x part 2, A00.FR.3xx).
With profile 3 a server that never asks for our certificate is left. Certificates that were revoked are refused when
`ca_file` holds a revocation list of their issuer.
Redirects are not followed: they would carry the password to another host. Proxies of the environment are not used.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from firmware.bridges.ocpp.dialect import BY_SUBPROTOCOL, Dialect
from firmware.bridges.ocpp.frames import MAX_FRAME_CHARS
from firmware.bridges.ocpp.network import CIPHERS, NetworkError, Profile

OPEN_TIMEOUT_S = 30.0  # policy value: name, TCP, TLS and upgrade together
PING_S = 60.0  # WebSocketPingInterval, policy value: below the five minutes of common NAT boxes
CLOSE_TIMEOUT_S = 5.0
# Part of OpenSSL's reason -> security event of OCPP. What is neither is told as a failure only.
TLS_EVENTS = {
    "PROTOCOL_VERSION": "InvalidTLSVersion",
    "UNSUPPORTED_PROTOCOL": "InvalidTLSVersion",
    "WRONG_VERSION": "InvalidTLSVersion",
    "HANDSHAKE_FAILURE": "InvalidTLSCipherSuite",
    "INSUFFICIENT_SECURITY": "InvalidTLSCipherSuite",
    "NO_SHARED_CIPHER": "InvalidTLSCipherSuite",
}


class NoConnection(Exception):
    """The back end could not be reached. `event`: the security event it is, by OCPP's name; empty: none. `refused`:
    somebody was there, and it may be that he does not believe who we are."""

    def __init__(self, sentence: str, event: str = "", refused: bool = False) -> None:
        super().__init__(sentence)
        self.event = event
        self.refused = refused


# In a TLS handshake, RFC 8446 section 4 and RFC 5246 section 7.4: type of the message CertificateRequest.
_CERTIFICATE_REQUEST = 13


class _Asked:
    """Whether the server asked for our certificate: Python's TLS tells it only to those who watch the handshake."""

    def __init__(self, context: ssl.SSLContext) -> None:
        """Raises NetworkError where this Python cannot watch: then nothing may be taken for granted."""
        self.seen = False
        if not hasattr(context, "_msg_callback"):
            raise NetworkError("This Python cannot tell whether a server asks for a certificate; profile 3 needs it.")
        context._msg_callback = self._watch

    def _watch(self, conn: object, direction: str, version: object, kind: object, message: object, data: bytes) -> None:
        self.seen = self.seen or (direction == "read" and message == _CERTIFICATE_REQUEST)


class _Connect(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def tls(profile: Profile) -> ssl.SSLContext | None:
    """What TLS must be for this profile; None for profiles without. Raises NetworkError: a file is no such file."""
    if profile.security < 2:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks name and chain
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    try:
        context.load_verify_locations(cafile=str(profile.ca_file))
        if profile.more_roots:
            context.load_verify_locations(cadata=profile.more_roots)
        if context.cert_store_stats()["crl"]:
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        if profile.security == 3:
            context.load_cert_chain(str(profile.cert_file), str(profile.key_file), password=_no_password)
    except (OSError, ssl.SSLError) as error:
        what = getattr(error, "strerror", None) or error
        raise NetworkError(f"A certificate or key of the back end's profile cannot be used: {what}.") from None
    return context


def _no_password() -> str:
    raise ssl.SSLError("the key is encrypted, and nobody is there to type a password")


async def open_socket(profile: Profile, dialects: Sequence[Dialect]) -> tuple[ClientConnection, Dialect]:
    """A connection and the version that the back end chose of those offered. Raises NoConnection, NetworkError."""
    context = tls(profile)
    asked = None if context is None or profile.security != 3 else _Asked(context)
    try:
        socket = await _Connect(
            profile.uri,
            subprotocols=[Subprotocol(dialect.subprotocol) for dialect in dialects],
            additional_headers=profile.headers(),
            ssl=context,
            proxy=None,
            compression=None,
            user_agent_header=None,
            open_timeout=OPEN_TIMEOUT_S,
            ping_interval=PING_S,
            ping_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=4 * MAX_FRAME_CHARS,
        )
    except ssl.SSLCertVerificationError as error:
        raise NoConnection(
            f"The back end's certificate is refused: {error.verify_message}.", "InvalidCsmsCertificate"
        ) from None
    except ssl.SSLError as error:
        event = next((event for word, event in TLS_EVENTS.items() if word in (error.reason or "")), "")
        # A server that does not like our certificate sends alerts of many names, and some none at all.
        sentence = f"TLS with the back end failed: {error.reason or error}."
        raise NoConnection(sentence, event, refused=event != "InvalidTLSVersion") from None
    except InvalidStatus as error:
        code = error.response.status_code
        event = "FailedToAuthenticateAtCsms" if code in (401, 403) else ""
        raise NoConnection(f"The back end answered with HTTP status {code}.", event, refused=bool(event)) from None
    except TimeoutError:
        raise NoConnection(f"The back end did not answer within {OPEN_TIMEOUT_S:g} s.") from None
    except InvalidHandshake as error:
        raise NoConnection(f"The back end is no OCPP WebSocket: {error}.", refused=True) from None
    except (OSError, WebSocketException) as error:
        what = getattr(error, "strerror", None) or str(error) or "it closed the connection"
        cut = isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError | WebSocketException)
        raise NoConnection(f"The back end cannot be reached: {what}.", refused=cut) from None
    if asked is not None and not asked.seen:
        await socket.close(1008, "no client certificate was asked for")
        sentence = "The back end never asked for our certificate: who is connected it cannot know (security profile 3)."
        raise NoConnection(sentence, "CsmsFailedToAuthenticate")
    dialect = _chosen(socket, dialects)
    if dialect is None:
        await socket.close(1002, "no subprotocol of OCPP")
        raise NoConnection("The back end chose none of the OCPP versions offered; the connection was closed.")
    return socket, dialect


def _chosen(socket: Any, dialects: Sequence[Dialect]) -> Dialect | None:
    """websockets connects although the server chose nothing: then every call would run into its time-out."""
    dialect = BY_SUBPROTOCOL.get(socket.subprotocol or "")
    return dialect if dialect in dialects else None
