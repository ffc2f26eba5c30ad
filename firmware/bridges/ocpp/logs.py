"""The back end fetches logs: diagnostics and the security log (block N; GetDiagnostics in 1.6).

Pure: the upload is a job (jobs.py); here is when it begins, how often it is tried, and what is told of it. A new
request takes the place of one that goes on, whose end is told as AcceptedCanceled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.checks import Objection, rejected
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Json, Notifier
from firmware.bridges.ocpp.jobs import Upload, unusable
from firmware.bridges.ocpp.security import SecurityEvents
from firmware.bridges.ocpp.view import View

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

JOB = "log"
AGAIN_S = 60.0  # policy value: where the back end gives no retryInterval
MAX_AGAIN_S = 86_400  # policy value
MAX_RETRIES = 20  # policy value

_KINDS = {"DiagnosticsLog": "diagnostics", "SecurityLog": "security"}
# HTTP status -> UploadLogStatus of 2.x; everything else is an UploadFailure.
_STATUSES: Mapping[str, str] = {
    "400": "BadMessage",
    "401": "PermissionDenied",
    "403": "PermissionDenied",
    "405": "NotSupportedOperation",
    "501": "NotSupportedOperation",
}
_OF_16 = {"Uploading": "Uploading", "Uploaded": "Uploaded"}  # DiagnosticsStatus; everything else is UploadFailed


@dataclass(slots=True)
class Request:
    """An upload that was asked for. id: requestId; None: a GetDiagnostics of 1.6. due_s: monotonic time of the next
    try; None while one goes on."""

    id: int | None
    job: Upload
    retries: int
    again_s: float
    due_s: float | None


class Logs(Notifier):
    """GetLog and LogStatusNotification; in 1.6 also GetDiagnostics and DiagnosticsStatusNotification."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self.request: Request | None = None
        self._last: Json = {"status": "Idle", "id": None}

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"GetLog"}) if dialect.two else frozenset({"GetLog", "GetDiagnostics"})

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        new = frozenset({"LogStatusNotification"})
        return new if dialect.two else new | {"DiagnosticsStatusNotification"}

    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        worker = self.station.worker
        log = payload["log"] if action == "GetLog" else {"remoteLocation": payload["location"]}
        kind = _KINDS.get(payload.get("logType", "DiagnosticsLog"))
        try:
            bounds = _bounds(log if action == "GetLog" else payload, action)
        except ValueError as error:
            return self._refused(action, Objection("InvalidValue", str(error)))
        url = log["remoteLocation"]
        if worker is None or kind is None:
            return self._refused(action, Objection("UnsupportedParam", "this charger keeps no such log"))
        if sentence := unusable(url):
            return self._refused(action, Objection("InvalidURL", sentence))
        name = f"{kind}-{times.show(self.station.wall_s(now)).replace(':', '')}.jsonl"
        body = b""
        if kind == "security":
            body = self._security.log(*bounds)
        job = Upload(_place(url, name), kind, body, *bounds)
        retries = min(max(payload.get("retries", 0), 0), MAX_RETRIES)
        again_s = float(min(max(payload.get("retryInterval", AGAIN_S), 1), MAX_AGAIN_S))
        before, self.request = self.request, Request(payload.get("requestId"), job, retries, again_s, now)
        if before is not None:
            worker.cancel(JOB)
            self._say("AcceptedCanceled", before)
        if action == "GetDiagnostics":
            return {"fileName": name}
        return {"status": "Accepted" if before is None else "AcceptedCanceled", "filename": name}

    def _refused(self, action: str, objection: Objection) -> Json:
        self.station.say(f"{action} was refused: {objection.sentence}.")
        if action == "GetDiagnostics":
            return {}  # OCPP 1.6 section 6.24: no file name, nothing is uploaded
        dialect = self.station.dialect
        return rejected(objection) if dialect is not None and dialect.two else {"status": "Rejected"}

    # ---------------------------------------------------------------------------------------------------- the upload
    def observe(self, view: View) -> None:
        worker, request = self.station.worker, self.request
        if worker is None or request is None:
            return
        if request.due_s is not None:
            if view.t >= request.due_s:
                request.due_s = None
                if self._last != {"status": "Uploading", "id": request.id}:
                    self._say("Uploading", request)
                worker.begin(JOB, request.job)
            return
        outcome = worker.outcome(JOB)
        if outcome is None:
            return
        if not outcome.code:
            self._end("Uploaded", request)
            return
        self.station.say(f"A log was not uploaded: {outcome.sentence}.")
        if request.retries == 0:
            self._end(_STATUSES.get(outcome.code, "UploadFailure"), request)
        else:
            request.retries -= 1
            request.due_s = view.t + request.again_s

    def _end(self, status: str, request: Request) -> None:
        self.request = None
        self._say(status, request)

    def _say(self, status: str, request: Request) -> None:
        self._last = {"status": status, "id": request.id}
        self._push(self._last)

    # ---------------------------------------------------------------------------------------------------------- told
    def trigger(self, now: float, message: str, payload: Json) -> str | None:
        if message not in ("LogStatusNotification", "DiagnosticsStatusNotification"):
            return None
        going_on = self.request is not None
        known = self._last if going_on else {"status": "Idle", "id": None}  # N01.FR.13: Idle has no requestId
        self._push({**known, "old": message == "DiagnosticsStatusNotification"})
        return "Accepted"

    def next(self, now: float) -> tuple[str, Json] | None:
        if not self._tell:
            return None
        dialect, first = self.station.dialect, self._tell[0]
        assert dialect is not None
        status, id = first["status"], first["id"]
        if not dialect.two and first.get("old", id is None):
            return "DiagnosticsStatusNotification", {"status": _OF_16.get(status, _failed_16(status))}
        if not dialect.two and status == "AcceptedCanceled":
            status = "UploadFailure"  # 1.6 has no other word for it
        return "LogStatusNotification", {"status": status} | ({} if id is None else {"requestId": id})

    def report(self, now: float) -> Json:
        return {"log_upload": self._last["status"]}

    @property
    def _security(self) -> SecurityEvents:
        return next(f for f in self.station.functions if isinstance(f, SecurityEvents))


def _failed_16(status: str) -> str:
    return "Idle" if status == "Idle" else "UploadFailed"


def _bounds(payload: Json, action: str) -> tuple[float | None, float | None]:
    names = ("oldestTimestamp", "latestTimestamp") if action == "GetLog" else ("startTime", "stopTime")
    oldest_s, latest_s = (times.parse(payload[name]) if name in payload else None for name in names)
    if oldest_s is not None and latest_s is not None and oldest_s > latest_s:
        raise ValueError(f"{names[0]} is after {names[1]}")
    return oldest_s, latest_s


def _place(url: str, name: str) -> str:
    """Where the file goes: into the folder `url`; a place with a query names itself (own choice: the texts say of HTTP
    no more than that it is to be used)."""
    return url if "?" in url else f"{url.rstrip('/')}/{name}"
