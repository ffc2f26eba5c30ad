"""`/metrics`: the status for Prometheus. Whoever may see the screen may read it; with passwords, a scraper logs in by
HTTP Basic with a role as the user name (RFC 7617)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from firmware import metrics
from firmware.control_client import ControlError
from firmware.web.access import ROLES, Hash, Role
from firmware.web.feed import ask
from firmware.web.gate import Denied, Gate

MAX_HEADER = 2000


class Scrape:
    """The route's endpoint. The last good login is remembered by its digest: a password's hash takes 0.1 s to check,
    and a scraper comes four times a minute."""

    def __init__(self, run_dir: Path, gate: Gate, clock: Callable[[], float]) -> None:
        self._run_dir, self._gate, self._clock = run_dir, gate, clock
        self._good: tuple[Hash, bytes] | None = None

    async def answer(self, request: Request) -> Response:
        headers: dict[str, str] = {}
        try:
            if self._gate.caller(request).role is None:
                await self._login(request.headers.get("authorization", ""))
            text = metrics.render(await ask(self._run_dir, "status"))
            return Response(text, headers={"content-type": metrics.CONTENT_TYPE, "cache-control": "no-store"})
        except Denied as denied:
            if denied.status == 401:
                headers["www-authenticate"] = 'Basic realm="quadrant", charset="UTF-8"'
            return Response(f"{denied}\n", denied.status, headers, "text/plain")
        except ControlError as error:  # Prometheus then says that the target is down
            return Response(f"{error}\n", 503, headers, "text/plain")

    async def _login(self, header: str) -> None:
        """Raises Denied."""
        role, password = credentials(header)
        kept = self._gate.passwords.get(role) if role is not None else None
        if kept is None:
            raise Denied(401, "Log in with a role and its password.")
        digest = hashlib.sha256(header.encode()).digest()
        if self._good is not None and self._good[0] is kept and hmac.compare_digest(self._good[1], digest):
            return
        wait_s = self._gate.patience.wait_s(self._clock())
        if wait_s > 0.0:
            raise Denied(429, f"Too many wrong passwords; try again in {wait_s:.0f} s.")
        self._gate.patience.wrong(self._clock())  # reserved before the hash is computed, as for the page
        if not await asyncio.to_thread(kept.fits, password):
            raise Denied(401, "That is not the password.")
        self._gate.patience.right()
        self._good = (kept, digest)


def credentials(header: str) -> tuple[Role | None, str]:
    """Role and password of a Basic header; no role for anything else."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic" or len(header) > MAX_HEADER:
        return None, ""
    try:
        name, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None, ""
    return ROLES.get(name), password
