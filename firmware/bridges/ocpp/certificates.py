"""The back end adds roots (M03 to M05): of itself, and of those who sign firmware.

They are believed beside the board's own (`ca_file`, `firmware_ca_file`), which stay as they are and are not listed. A
root of the back end counts from the next connection. Roots of vehicles and contracts belong to the SECC: refused. A
root is one PEM certificate of an authority that may sign, valid now, RSA of 2048 bits or a curve of 256 at least.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware.bridges.ocpp.checks import Objection, rejected
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json
from firmware.bridges.ocpp.signature import hash_data, named_by, root_objection

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

KEPT = "certificates"  # name in the outbox
MAX_ROOTS = 10  # policy value
BACK_END, MANUFACTURER = "CSMSRootCertificate", "ManufacturerRootCertificate"
_OF_16 = {"CentralSystemRootCertificate": BACK_END, MANUFACTURER: MANUFACTURER}


class Certificates(Function):
    """InstallCertificate, GetInstalledCertificateIds, DeleteCertificate."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self.roots: list[Json] = roots_kept(station.outbox.state(KEPT))  # {"type", "pem"}, the oldest first

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"InstallCertificate", "GetInstalledCertificateIds", "DeleteCertificate"})

    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        match action:
            case "InstallCertificate":
                return self._install(now, payload)
            case "DeleteCertificate":
                return self._delete(payload["certificateHashData"])
            case _:
                return self._list(payload.get("certificateType"))

    def _install(self, now: float, payload: Json) -> Json:
        kind, pem = _OF_16.get(payload["certificateType"], payload["certificateType"]), payload["certificate"]
        if kind not in (BACK_END, MANUFACTURER):
            objection: Objection | None = Objection("UnsupportedParam", f"a {kind} is none of this program's business")
        elif len(self.roots) >= MAX_ROOTS:
            objection = Objection("TooManyElements", f"there are {MAX_ROOTS} certificates of the back end already")
        elif why := root_objection(pem, self.station.wall_s(now)):
            objection = Objection("InvalidCertificate", why)
        else:
            objection = None
        if objection is not None:
            self.station.say(f"A certificate of the back end was refused: {objection.sentence}.")
            return rejected(objection) if self._two else {"status": "Rejected"}
        root = {"type": kind, "pem": pem}
        if root not in self.roots:
            self._keep([*self.roots, root])
            self.station.security("ReconfigurationOfSecurityParameters", f"a {kind} was installed")
        return {"status": "Accepted"}

    def _delete(self, wanted: Json) -> Json:
        keys = self.station.credentials.keys
        ours = None if keys is None else keys.certificate
        if ours is not None and named_by(ours, wanted):
            return {"status": "Failed"}  # M04.FR.06: our own certificate is not deleted
        left = [root for root in self.roots if not _is(root, wanted)]
        if len(left) == len(self.roots):
            return {"status": "NotFound"}
        self._keep(left)
        self.station.security("ReconfigurationOfSecurityParameters", "a root certificate was deleted")
        return {"status": "Accepted"}

    def _list(self, asked: list[str] | str | None) -> Json:
        if isinstance(asked, str):  # 1.6 asks for one kind
            kind = _OF_16[asked]
            data = [hash_data(root["pem"], "SHA256") for root in self.roots if root["type"] == kind]
            return {"status": "Accepted", "certificateHashData": data} if data else {"status": "NotFound"}
        chosen = [root for root in self.roots if asked is None or root["type"] in asked]
        chains = [{"certificateType": r["type"], "certificateHashData": hash_data(r["pem"], "SHA256")} for r in chosen]
        return {"status": "Accepted", "certificateHashDataChain": chains} if chains else {"status": "NotFound"}

    def _keep(self, roots: list[Json]) -> None:
        self.station.outbox.keep(KEPT, roots or None)
        self.roots = roots

    def report(self, now: float) -> Json:
        return {"certificates": [{"type": r["type"], **hash_data(r["pem"], "SHA256")} for r in self.roots]}

    @property
    def _two(self) -> bool:
        return self.station.dialect is not None and self.station.dialect.two


def _is(root: Json, wanted: Json) -> bool:
    ours = hash_data(root["pem"], wanted["hashAlgorithm"])
    return all(ours[key].lower().lstrip("0") == wanted[key].lower().lstrip("0") for key in ours)


def roots_kept(kept: object) -> list[Json]:
    """The roots in what the outbox keeps under KEPT, the oldest first."""
    return [r for r in kept if isinstance(r, dict) and set(r) == {"type", "pem"}] if isinstance(kept, list) else []


def installed(kept: object, kind: str) -> str:
    """PEM of the roots of a kind in what the outbox keeps under KEPT; empty: none."""
    return "".join(root["pem"].strip() + "\n" for root in roots_kept(kept) if root["type"] == kind)
