"""Security events: kept in a log of their own over power, and told to the back end in the order in which they came.

Names are those of the list of OCPP's security appendix as public software has it. An event that comes again and again
with the same words (a back end with a wrong certificate is tried every few minutes) is written down once in REPEATED_S.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json
from firmware.bridges.ocpp.outbox import OutboxError
from firmware.bridges.ocpp.rpc import DISCONNECTED, NO_ANSWER
from firmware.bridges.ocpp.view import View

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

KEPT = "security log"  # name in the outbox
MAX_ENTRIES = 300  # policy value: above it the oldest that were told go first, then the oldest
MAX_INFO_CHARS = 255  # techInfo, all versions
REPEATED_S = 3600.0  # policy value
NAMES_16 = {  # what the security whitepaper of 1.6 calls otherwise
    "FailedToAuthenticateAtCsms": "FailedToAuthenticateAtCentralSystem",
    "CsmsFailedToAuthenticate": "CentralSystemFailedToAuthenticate",
    "InvalidCsmsCertificate": "InvalidCentralSystemCertificate",
    "InvalidChargingStationCertificate": "InvalidChargePointCertificate",
}


class SecurityEvents(Function):
    """SecurityEventNotification, and the log that GetLog hands out."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        kept = station.outbox.state(KEPT)
        # {"type", "wall_s", "info", "told"}, the oldest first.
        self.entries: list[Json] = [e for e in kept if _whole(e)] if isinstance(kept, list) else []
        self._last: dict[tuple[str, str], float] = {}  # monotonic time at which it was last written down

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"SecurityEventNotification"})

    def observe(self, view: View) -> None:
        if not self.station.noted:
            return
        new = [(kind, info[:MAX_INFO_CHARS]) for kind, info in self.station.noted[-MAX_ENTRIES:]]
        self.station.noted.clear()
        fresh = [e for e in dict.fromkeys(new) if view.t - self._last.get(e, view.t - REPEATED_S) >= REPEATED_S]
        if not fresh:
            return
        wall_s = self.station.wall_s(view.t)
        entries = self.entries + [{"type": k, "wall_s": wall_s, "info": i, "told": False} for k, i in fresh]
        while len(entries) > MAX_ENTRIES:
            entries.pop(next((n for n, e in enumerate(entries) if e["told"]), 0))
        try:
            self.station.outbox.keep(KEPT, entries)
        except OutboxError as error:
            self.station.say(str(error))  # in memory it goes on: told it can be all the same
        self.entries = entries
        if len(self._last) > MAX_ENTRIES:
            self._last.clear()
        self._last |= dict.fromkeys(fresh, view.t)

    def next(self, now: float) -> tuple[str, Json] | None:
        entry = next((e for e in self.entries if not e["told"]), None)
        if entry is None:
            return None
        dialect = self.station.dialect
        old = {} if dialect is None or dialect.two else NAMES_16
        payload = {"type": old.get(entry["type"], entry["type"]), "timestamp": times.show(entry["wall_s"])}
        return "SecurityEventNotification", payload | ({"techInfo": entry["info"]} if entry["info"] else {})

    def answered(self, now: float, action: str, request: Json, payload: Json) -> None:
        self._told()

    def failed(self, now: float, action: str, request: Json, code: str) -> None:
        if code in (NO_ANSWER, DISCONNECTED):
            return
        try:  # a back end that has no use for it (1.6 without the security extension) is not asked for ever
            self._told()
        except OutboxError as error:
            self.station.say(str(error))

    def _told(self) -> None:
        entry = next((e for e in self.entries if not e["told"]), None)
        if entry is not None:
            entry["told"] = True
            self.station.outbox.keep(KEPT, self.entries)

    def log(self, oldest_s: float | None, latest_s: float | None) -> bytes:
        """The log as JSON lines, from oldest to latest (wall time, s; None: no bound)."""
        lines = [
            json.dumps({"timestamp": times.show(e["wall_s"]), "type": e["type"], "techInfo": e["info"]})
            for e in self.entries
            if (oldest_s is None or e["wall_s"] >= oldest_s) and (latest_s is None or e["wall_s"] <= latest_s)
        ]
        return "".join(line + "\n" for line in lines).encode()

    def report(self, now: float) -> Json:
        return {"security_events": [{k: e[k] for k in ("type", "wall_s", "info", "told")} for e in self.entries[-20:]]}


def _whole(entry: object) -> bool:
    return isinstance(entry, dict) and set(entry) == {"type", "wall_s", "info", "told"}
