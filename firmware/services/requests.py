"""Who asks for power, until when, and whose word counts. Pure: the time is given.

Every source (operator, back end, energy manager) holds at most one request; a new one replaces its own older one. The
newest live request counts. When it ends, the newest of those still live counts again, and when there is none, what
the board wants by itself (`policy.idle_power_w`). A request ends by itself at its time: nobody has to remember.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

IDLE_SOURCE = "board"  # under this name guard and the screen see the board's own wish
MIN_FOR_S = 1.0  # shorter than two renewals to guard (0.5 s each) would be noise
MAX_FOR_S = 86_400.0  # one day: a wish that is older than that is forgotten, not meant
MAX_SOURCES = 16
MAX_SOURCE_CHARS = 40
MAX_REASON_CHARS = 200


class RequestRefused(Exception):
    """A request that cannot be granted. The text is a sentence with the allowed range."""


@dataclass(frozen=True, slots=True)
class Request:
    """power_w: + charges the car, - discharges it. until_s: monotonic seconds at which it ends."""

    id: int
    source: str
    power_w: float
    until_s: float
    reason: str


class Requests:
    """The live requests of one charger."""

    def __init__(self, charge_w: float, discharge_w: float, idle_power_w: float) -> None:
        """charge_w, discharge_w: ratings (W, magnitudes). idle_power_w: the board's own wish (W, signed)."""
        self._charge_w = charge_w
        self._discharge_w = discharge_w
        self._idle_power_w = idle_power_w
        self._requests: dict[str, Request] = {}
        self._last_id = 0

    def ask(self, now: float, source: str, power_w: float, for_s: float, reason: str = "") -> Request:
        """Take a request for `for_s` seconds from `now`. Raises RequestRefused and changes nothing when it is not
        possible."""
        if not math.isfinite(power_w) or not -self._discharge_w <= power_w <= self._charge_w:
            raise RequestRefused(
                f"power_w = {power_w:g} is outside this charger's ratings: "
                f"{-self._discharge_w:g} W (discharge) to {self._charge_w:g} W (charge)."
            )
        if not math.isfinite(for_s) or not MIN_FOR_S <= for_s <= MAX_FOR_S:
            raise RequestRefused(f"for_s = {for_s:g} is out of range: {MIN_FOR_S:g} to {MAX_FOR_S:g} seconds.")
        if not _printable(source, 1, MAX_SOURCE_CHARS) or source == IDLE_SOURCE:
            raise RequestRefused(
                f"source must be 1 to {MAX_SOURCE_CHARS} printable characters and not {IDLE_SOURCE!r}."
            )
        if not _printable(reason, 0, MAX_REASON_CHARS):
            raise RequestRefused(f"reason must be at most {MAX_REASON_CHARS} printable characters.")
        self._forget_ended(now)
        if source not in self._requests and len(self._requests) >= MAX_SOURCES:
            raise RequestRefused(f"{MAX_SOURCES} sources already hold a request; end one of them first.")
        self._last_id += 1
        self._requests[source] = Request(self._last_id, source, power_w, now + for_s, reason)
        return self._requests[source]

    def cancel_all(self) -> int:
        """Forget every request; returns how many there were."""
        count = len(self._requests)
        self._requests.clear()
        return count

    def live(self, now: float) -> list[Request]:
        """The requests that have not ended, the one that counts first."""
        self._forget_ended(now)
        return sorted(self._requests.values(), key=lambda request: -request.id)

    def current(self, now: float) -> Request | None:
        """The request that counts at `now`; None when the board's own wish counts."""
        return next(iter(self.live(now)), None)

    def restore(self, now: float, requests: Iterable[Request]) -> None:
        """Take over the requests of services that ended unexpectedly; what is out of range or over is left out."""
        for request in sorted(requests, key=lambda request: request.id):
            with contextlib.suppress(RequestRefused):
                self.ask(now, request.source, request.power_w, request.until_s - now, request.reason)

    def for_guard(self, now: float, lease_s: float) -> Request:
        """What to tell guard at `now`: a lease of at most `lease_s`, never beyond the request's own end."""
        request = self.current(now)
        if request is None:
            return Request(0, IDLE_SOURCE, self._idle_power_w, now + lease_s, "nobody asks for anything else")
        until_s = min(request.until_s, now + lease_s)
        return Request(request.id, request.source, request.power_w, until_s, request.reason)

    def _forget_ended(self, now: float) -> None:
        self._requests = {source: request for source, request in self._requests.items() if request.until_s > now}


def _printable(text: str, least: int, most: int) -> bool:
    return least <= len(text) <= most and text.isprintable()
