"""Who this charger is towards the back end, and what the back end made of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from firmware.bridges.ocpp.dialect import Dialect


class Registration(enum.Enum):
    """What the back end said to our boot notification."""

    NONE = "not yet registered"
    PENDING = "pending"
    REJECTED = "rejected"
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this charger is; each within the shortest limit of the three versions' schemas."""

    vendor: str  # <= 20 characters
    model: str  # <= 20
    serial: str  # <= 25
    firmware: str  # <= 50
    id_tag: str = "unknown"  # <= 20; 1.6 only: who is named where nobody was asked
    name: str = ""  # the charger's name at the back end
    security: int = 0  # the security profile in use


def boot(dialect: Dialect, who: Identity, reason: str) -> dict[str, Any]:
    """The payload of a BootNotification. reason: a BootReasonEnumType of 2.x."""
    if not dialect.two:
        return {
            "chargePointVendor": who.vendor,
            "chargePointModel": who.model,
            "chargePointSerialNumber": who.serial,
            "firmwareVersion": who.firmware,
        }
    station = {
        "vendorName": who.vendor,
        "model": who.model,
        "serialNumber": who.serial,
        "firmwareVersion": who.firmware,
    }
    return {"reason": reason, "chargingStation": station}
