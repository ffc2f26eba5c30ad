"""Who is asking, and may he? Everything between a request of the network and a view of the screen.

- Without any password: an emulated board obeys everybody who reaches its loopback; a real one shows itself there and
  obeys nobody. The name in `Host` must then be one of the loopback's, so that no page of the internet can reach it
  through a name of its own that points here (DNS rebinding).
- With passwords: a session's cookie (HttpOnly, SameSite=Strict).
- Every POST carries JSON, comes from a page of our own origin, and shows the session's token in a header.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from firmware.web.access import FILE, Hash, PasswordError, Patience, Role, Session, Sessions, load_passwords

MAX_BODY_BYTES = 16 * 1024
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
TOKEN_HEADER = "x-quadrant-token"
HEADERS = (
    # Nothing of others, nothing inline, nobody's frame. uPlot and preact set styles by the CSSOM, which this permits.
    (b"content-security-policy", b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
     b"object-src 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)  # fmt: skip


class Denied(Exception):
    """The request is refused; the sentence goes to the client."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: what he may, and how he is called in the records."""

    role: Role | None  # None: nobody who is known
    token: str
    who: str

    def must(self, role: Role) -> None:
        """Raises Denied."""
        if self.role is None:
            raise Denied(401, "Log in first.")
        if self.role < role:
            raise Denied(
                403, f"This needs the role {role.name.lower()}; you are logged in as {self.role.name.lower()}."
            )


class Gate:
    """Passwords, sessions and the rules above."""

    def __init__(self, run_dir: Path, emulated: bool, port: int, clock: Callable[[], float]) -> None:
        self._run_dir = run_dir
        self._emulated = emulated
        self.cookie = f"quadrant-{port}"  # cookies do not know ports: two chargers on one machine keep apart
        self._clock = clock
        self._stamp: tuple[int, int] | None = None
        self._open_token = secrets.token_urlsafe(32)
        self.passwords: dict[Role, Hash] = {}
        self.problem = ""
        self.locked = False  # the password file is there and cannot be used
        self.sessions = Sessions()
        self.patience = Patience()
        self.look()

    @property
    def has_password(self) -> bool:
        return bool(self.passwords) or self.locked

    def look(self) -> bool:
        """Read the password file again when it has changed; then everybody logs in again. True: it has."""
        try:
            stat = (self._run_dir / FILE).stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
        except OSError:
            stamp = None
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self.sessions.end_all()
        try:
            self.passwords, self.problem, self.locked = load_passwords(self._run_dir), "", False
        except PasswordError as error:
            self.passwords, self.problem, self.locked = {}, str(error), True
        return True

    def caller(self, request: Request, *, use: bool = True) -> Caller:
        """Raises Denied when the request cannot come from a page of this screen."""
        address = request.client.host if request.client is not None else "?"
        if self.has_password:
            session: Session | None = self.sessions.find(request.cookies.get(self.cookie), self._clock(), use=use)
            if session is None:
                return Caller(None, "", address)
            return Caller(session.role, session.token, f"{session.role.name.lower()} at {address}")
        if not _is_loopback(address):  # a socket that is about to move to the loopback may still be reached
            raise Denied(403, "Without a password this screen answers on its own machine only.")
        host = request.headers.get("host", "").rsplit(":", 1)
        name = host[0] if len(host) == 1 or host[1].isdigit() else ":".join(host)
        if name not in LOOPBACK_NAMES:
            raise Denied(403, f"Without a password this screen answers as {', '.join(LOOPBACK_NAMES)} only.")
        role = Role.SERVICE if self._emulated else Role.VIEWER
        return Caller(role, self._open_token, f"{'anybody' if self._emulated else 'viewer'} at {address}")

    async def command(self, request: Request, role: Role) -> tuple[Caller, dict[str, Any]]:
        """The caller and the body of a POST. Raises Denied."""
        caller = self.caller(request)
        own_origin(request)
        caller.must(role)
        if not secrets.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), caller.token.encode()):
            raise Denied(403, "The command does not carry this session's token; load the page again.")
        return caller, await body_of(request)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def own_origin(request: Request) -> None:
    """A browser says where a request comes from; whoever is no browser has no cookie to abuse. Raises Denied."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    host = request.headers.get("host", "")
    own = (f"http://{host}", f"https://{host}")  # a proxy may have taken the TLS off
    if (origin is not None and origin not in own) or (site is not None and site != "same-origin"):
        raise Denied(403, "Commands are taken from this screen's own pages only.")


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body. Raises Denied."""
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise Denied(415, "A command is JSON: send content-type application/json.")
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            raise Denied(413, f"The command is too long: at most {MAX_BODY_BYTES} bytes.")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise Denied(400, "The command is not JSON.") from None
    if not isinstance(body, dict):
        raise Denied(400, "A command is a JSON object.")
    return body


class SecurityHeaders:
    """Puts HEADERS on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *HEADERS]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-cache"))
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
