"""Who asks for power, until when, and whose word counts. Pure: the time is given.

Every source (operator, back end, energy manager) holds at most one request; a new one replaces its own older one. The
newest live request counts. When it ends, the newest of those still live counts again, and when there is none, what
the board wants by itself (`policy.idle_power_w`). A request ends by itself at its time: nobody has to remember.

A source may also bound what whoever asks gets, in each direction, for a while: the tightest of all bounds holds, and
the board's own wish keeps to it too.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

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
    """power_w: + charges the car, - discharges it. until_s: monotonic seconds at which it ends. sleep: while no power
    flows the converter is to be off, with its contactors closed."""

    id: int
    source: str
    power_w: float
    until_s: float
    reason: str
    sleep: bool = False


@dataclass(frozen=True, slots=True)
class Bound:
    """charge_w, discharge_w: the most that anybody gets (magnitudes, W); None: free. until_s: when it ends."""

    source: str
    charge_w: float | None
    discharge_w: float | None
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
        self._rules: dict[str, str] = {}  # of a source's request, where it names one
        self._bounds: dict[str, Bound] = {}
        self._last_id = 0

    def ask(
        self,
        now: float,
        source: str,
        power_w: float,
        for_s: float,
        reason: str = "",
        *,
        rule: str = "",
        sleep: bool = False,
    ) -> Request:
        """Take a request for `for_s` seconds from `now`. Raises RequestRefused and changes nothing when it is not
        possible. rule: a request of the same rule as the source's live one continues it and is not the newest."""
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
        known = self._requests.get(source)
        if known is not None and rule and self._rules.get(source) == rule:
            id = known.id
        else:
            self._last_id += 1
            id = self._last_id
        self._rules[source] = rule
        self._requests[source] = Request(id, source, power_w, now + for_s, reason, sleep)
        return self._requests[source]

    def rule_of(self, source: str) -> str:
        """The rule that this source's request follows; empty: none."""
        return self._rules.get(source, "") if source in self._requests else ""

    def withdraw(self, source: str) -> None:
        """Forget what one source asks for, not its bound; nothing happens when there is none."""
        self._requests.pop(source, None)

    def bound(
        self, now: float, source: str, charge_w: float | None, discharge_w: float | None, for_s: float, reason: str
    ) -> None:
        """Bound everybody for `for_s` seconds from `now`; None and None: no longer. Raises RequestRefused."""
        for name, value in (("charge_w", charge_w), ("discharge_w", discharge_w)):
            if value is not None and not 0.0 <= value < math.inf:
                raise RequestRefused(f"{name} = {value:g} is out of range: 0 W or more.")
        self._bounds.pop(source, None)
        if charge_w is not None or discharge_w is not None:
            self._bounds[source] = Bound(source, charge_w, discharge_w, now + for_s, reason)

    def bounds(self, now: float) -> list[Bound]:
        """The bounds that have not ended."""
        self._bounds = {source: bound for source, bound in self._bounds.items() if bound.until_s > now}
        return list(self._bounds.values())

    def cancel_all(self) -> int:
        """Forget every request, not the bounds; returns how many requests there were."""
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
            request = Request(0, IDLE_SOURCE, self._idle_power_w, now + lease_s, "nobody asks for anything else")
        return self._bounded(now, replace(request, until_s=min(request.until_s, now + lease_s)))

    def _bounded(self, now: float, request: Request) -> Request:
        """Kept within all bounds; the lease ends with the bound that holds it, so that what is free then comes anew."""
        for bound in self.bounds(now):
            high_w = math.inf if bound.charge_w is None else bound.charge_w
            low_w = -math.inf if bound.discharge_w is None else -bound.discharge_w
            power_w = min(max(request.power_w, low_w), high_w)
            if power_w != request.power_w:
                reason = f"{bound.reason} ({bound.source}); asked: {request.power_w:g} W, {request.reason}"
                until_s = min(request.until_s, bound.until_s)
                request = replace(request, power_w=power_w, until_s=until_s, reason=reason[:MAX_REASON_CHARS])
        return request

    def _forget_ended(self, now: float) -> None:
        self._requests = {source: request for source, request in self._requests.items() if request.until_s > now}


def _printable(text: str, least: int, most: int) -> bool:
    return least <= len(text) <= most and text.isprintable()
