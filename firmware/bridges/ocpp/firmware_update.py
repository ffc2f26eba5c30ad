"""The back end replaces the firmware (block L; SignedUpdateFirmware of 1.6's security extension).

Pure: fetching, verifying and installing are jobs (jobs.py). Only what a signer vouches for is installed: an update
without certificate and signature is refused. The way, each step told:

    (DownloadScheduled) Downloading Downloaded SignatureVerified (InstallScheduled) Installing
        then InstallRebooting where a service manager starts the charger again, and Installed when the new version runs;
        else Installed at once.

Nothing is installed while a transaction runs; none begins while something is installed. The request is kept over power:
until the installation begins it is fetched anew, after that it has failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.availability import REASON
from firmware.bridges.ocpp.certificates import KEPT as CERTIFICATES
from firmware.bridges.ocpp.certificates import MANUFACTURER, installed
from firmware.bridges.ocpp.checks import Objection, rejected
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Json, Notifier
from firmware.bridges.ocpp.jobs import Download, Install, Job, Outcome, Verify, unusable
from firmware.bridges.ocpp.outbox import OutboxError
from firmware.bridges.ocpp.view import View

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

JOB, KEPT = "firmware", "firmware update"  # KEPT: name in the outbox
AGAIN_S = 60.0  # policy value: where the back end gives no retryInterval
MAX_AGAIN_S = 86_400  # policy value
MAX_RETRIES = 20  # policy value
RESET_S = 5.0  # policy value: the notice that the charger starts anew leaves before it does

# Stages of a request, in this order.
WAITING, FETCHING, VERIFYING, VERIFIED, INSTALLING, REBOOTING = (
    "waiting", "fetching", "verifying", "verified", "installing", "rebooting",
)  # fmt: skip
_FIELDS = {
    "id", "url", "retrieve_s", "install_s", "certificate", "signature", "retries", "again_s", "stage", "from",
}  # fmt: skip


class FirmwareUpdate(Notifier):
    """UpdateFirmware and FirmwareStatusNotification, and what 1.6 has for signed ones."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self.request: Json | None = None  # _FIELDS
        self._due_s = 0.0  # monotonic time of the next try of the download, or of the reset
        self._last: Json = {"status": "Idle", "id": None}
        kept = station.outbox.state(KEPT)
        if kept is None:
            return
        if isinstance(kept, dict) and set(kept) == _FIELDS:
            self._resume(kept)
        else:
            station.say("The stored firmware update cannot be understood and is forgotten.")

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"UpdateFirmware" if dialect.two else "SignedUpdateFirmware"})

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"FirmwareStatusNotification" if dialect.two else "SignedFirmwareStatusNotification"})

    def _resume(self, kept: Json) -> None:
        """What was going on when the power went."""
        self.request = kept
        if kept["stage"] == REBOOTING:
            if kept["from"] != self.station.identity.firmware:
                self._done()
            else:
                self._fail("InstallationFailed", f"after the restart {kept['from']} still runs")
        elif kept["stage"] == INSTALLING:
            self._fail("InstallationFailed", "the charger was started anew in the middle of the installation")
        else:
            self.request["stage"] = WAITING

    # --------------------------------------------------------------------------------------------------- the request
    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        firmware, worker = payload["firmware"], self.station.worker
        objection = self._objection(firmware)
        if objection is None and self.request is not None and self.request["stage"] in (INSTALLING, REBOOTING):
            objection = Objection("Busy", "another firmware is being installed")
        if objection is not None:
            self.station.say(f"A firmware update was refused: {objection.sentence}.")
            return self._refused("Rejected", objection)
        assert worker is not None
        if why := worker.signer(firmware["signingCertificate"], self.station.wall_s(now), self._more_roots):
            self.station.security("InvalidFirmwareSigningCertificate", why)
            self.station.say(f"A firmware update was refused: {why}.")
            return self._refused("InvalidCertificate", Objection("InvalidCertificate", why))
        new: Json = {
            "id": payload["requestId"],
            "url": firmware["location"],
            "retrieve_s": times.parse(firmware["retrieveDateTime"]),
            "install_s": times.parse(firmware["installDateTime"]) if "installDateTime" in firmware else None,
            "certificate": firmware["signingCertificate"],
            "signature": firmware["signature"],
            "retries": min(max(payload.get("retries", 0), 0), MAX_RETRIES),
            "again_s": float(min(max(payload.get("retryInterval", AGAIN_S), 1), MAX_AGAIN_S)),
            "stage": WAITING,
            "from": self.station.identity.firmware,
        }
        self.station.outbox.keep(KEPT, new)
        before, self.request, self._due_s = self.request, new, now
        if before is None:
            return {"status": "Accepted"}
        worker.cancel(JOB)
        return {"status": "AcceptedCanceled"}

    @property
    def _more_roots(self) -> str:
        return installed(self.station.outbox.state(CERTIFICATES), MANUFACTURER)

    def _objection(self, firmware: Json) -> Objection | None:
        worker = self.station.worker
        if worker is None or not worker.installs:
            return Objection("NotEnabled", "this charger has no installer, or no root that signers are held against")
        if sentence := unusable(firmware["location"]):
            return Objection("InvalidURL", sentence)
        missing = [key for key in ("signingCertificate", "signature") if not firmware.get(key)]
        if missing:
            return Objection("MissingParam", f"only signed firmware is installed; there is no {missing[0]}")
        return None

    def _refused(self, status: str, objection: Objection) -> Json:
        dialect = self.station.dialect
        two = dialect is not None and dialect.two
        return {**rejected(objection), "status": status} if two else {"status": status}

    # ------------------------------------------------------------------------------------------------------- the way
    def observe(self, view: View) -> None:
        try:
            self._step(view)
        except OutboxError as error:
            self.station.say(str(error))

    def _step(self, view: View) -> None:
        request, worker = self.request, self.station.worker
        if request is None or worker is None:
            return
        wall_s = self.station.wall_s(view.t)
        match request["stage"]:
            case "waiting":
                if wall_s < request["retrieve_s"]:
                    self._once("DownloadScheduled")
                elif view.t >= self._due_s:
                    self._go(FETCHING, "Downloading", Download(request["url"]))
            case "fetching":
                if (outcome := worker.outcome(JOB)) is not None:
                    self._fetched(view.t, request, outcome)
            case "verifying":
                if (outcome := worker.outcome(JOB)) is not None:
                    self._verified(outcome)
            case "verified":
                if request["install_s"] is not None and wall_s < request["install_s"]:
                    self._once("InstallScheduled")
                elif self.station.transactions.id is not None:
                    self._once("InstallScheduled")  # it waits for the end of the transaction
                else:
                    request["stage"] = INSTALLING
                    self.station.outbox.keep(KEPT, request)  # before it begins: half an installation is none
                    self._go(INSTALLING, "Installing", Install(request["certificate"], request["signature"]))
            case "installing":
                if (outcome := worker.outcome(JOB)) is not None:
                    self._installed(view.t, request, outcome)

    def _fetched(self, now: float, request: Json, outcome: Outcome) -> None:
        if not outcome.code:
            self._say("Downloaded")
            self._go(VERIFYING, "", Verify(request["certificate"], request["signature"]))
        elif request["retries"] > 0:
            self.station.say(f"A firmware was not fetched and is tried again: {outcome.sentence}.")
            request["retries"] -= 1
            request["stage"], self._due_s = WAITING, now + request["again_s"]
        else:
            self._fail("DownloadFailed", outcome.sentence)

    def _verified(self, outcome: Outcome) -> None:
        if outcome.code:
            self.station.security("InvalidFirmwareSignature", outcome.sentence)
            self._fail("InvalidSignature", outcome.sentence)
            return
        assert self.request is not None
        self._say("SignatureVerified")
        self.request["stage"] = VERIFIED

    def _installed(self, now: float, request: Json, outcome: Outcome) -> None:
        if outcome.code:
            self._fail("InstallationFailed", outcome.sentence)
        elif self.station.restarts:
            request["stage"] = REBOOTING
            self.station.outbox.keep(KEPT, request)
            self.station.outbox.keep(REASON, "FirmwareUpdate")
            self._due_s = now + RESET_S
            self._say("InstallRebooting")
        else:
            self._done()

    def _go(self, stage: str, status: str, job: Job) -> None:
        assert self.request is not None
        assert self.station.worker is not None
        self.request["stage"] = stage
        if status:
            self._once(status)
        self.station.worker.begin(JOB, job)

    def _done(self) -> None:
        self._say("Installed")
        assert self.request is not None
        self.station.security("FirmwareUpdated", f"firmware update {self.request['id']}")
        self._forget()

    def _fail(self, status: str, sentence: str) -> None:
        self.station.say(f"A firmware update ended with {status}: {sentence}.")
        self._say(status)
        self._forget()

    def _forget(self) -> None:
        self.request = None
        self.station.outbox.keep(KEPT, None)

    def hold(self, now: float) -> str:
        going_on = self.request is not None and self.request["stage"] in (INSTALLING, REBOOTING)
        return "new firmware is being installed" if going_on else ""

    def reset_due(self, now: float) -> bool:
        return self.request is not None and self.request["stage"] == REBOOTING and now >= self._due_s

    # ---------------------------------------------------------------------------------------------------------- told
    def _once(self, status: str) -> None:
        assert self.request is not None
        if self._last != {"status": status, "id": self.request["id"]}:
            self._say(status)

    def _say(self, status: str) -> None:
        assert self.request is not None
        self._last = {"status": status, "id": self.request["id"]}
        self._push(self._last)

    def trigger(self, now: float, message: str, payload: Json) -> str | None:
        if message != "FirmwareStatusNotification":
            return None
        self._push(self._last if self.request is not None else {"status": "Idle", "id": None})
        return "Accepted"

    def next(self, now: float) -> tuple[str, Json] | None:
        if not self._tell:
            return None
        dialect, first = self.station.dialect, self._tell[0]
        assert dialect is not None
        action = "FirmwareStatusNotification" if dialect.two else "SignedFirmwareStatusNotification"
        return action, {"status": first["status"]} | ({} if first["id"] is None else {"requestId": first["id"]})

    def report(self, now: float) -> Json:
        return {"firmware_update": "Idle" if self.request is None else self._last["status"]}
