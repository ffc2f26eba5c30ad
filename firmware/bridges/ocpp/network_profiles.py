"""The back end adds ways to itself (B09, B10): SetNetworkProfile, and the order in which they are tried.

The board's addresses are slots 1 and 2 and stay as they are. Slots 3 to 5 are the back end's. Which are tried, and in
which order, says OCPPCommCtrlr.NetworkConfigurationPriority; what the board has comes after them in any case, so that a
wrong profile cannot cut the charger off (own choice). It counts from the next connection.

A profile of lower security than the board's, or the one in use, is refused: none that is tried is ever below the
board's. Roots are always the board's; the certificate is the board's or the one that the back end has had made
(client_certificate.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from firmware.bridges.ocpp.checks import Objection, rejected
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json
from firmware.bridges.ocpp.network import NetworkError, Profile, check, downgrade

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

KEPT = "network profiles"  # name in the outbox
SLOTS = (3, 4, 5)  # policy value
_VERSIONS = ("OCPP16", "OCPP20", "OCPP201", "OCPP21")  # a hint only: which version is spoken is agreed on each time


class NetworkProfiles(Function):
    """SetNetworkProfile; of 2.x only."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        kept = station.outbox.state(KEPT)
        # "3" -> the fields of profile_of
        self.slots: Json = kept if isinstance(kept, dict) and all(_whole(k) for k in kept.values()) else {}
        if kept is not None and not self.slots:
            station.say("The stored ways to the back end cannot be understood and are not used.")

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"SetNetworkProfile"}) if dialect.two else frozenset()

    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        slot, data, own = payload["configurationSlot"], payload["connectionData"], self.station.way
        own = None if own is None else self.station.credentials.certified(own)
        if own is None:
            objection: Objection | None = Objection("NotEnabled", "this charger has one fixed way to the back end")
        else:
            active = max(own.security, self.station.credentials.security or 0)
            objection = _objection(slot, data, active)
        if objection is None and own is not None:
            kept = {
                "url": data["ocppCsmsUrl"],
                "identity": data.get("identity", own.identity),
                "security": data["securityProfile"],
                "password": data.get("basicAuthPassword"),
                "timeout_s": data["messageTimeout"],
            }
            try:
                check(profile_of(kept, own))
            except NetworkError as error:
                objection = Objection("InvalidNetworkConf", str(error).rstrip("."))
        if objection is not None:
            self.station.say(f"A network profile was refused: {objection.sentence}.")
            return rejected(objection)
        slots = {**self.slots, str(slot): kept}
        self.station.outbox.keep(KEPT, slots)
        self.slots = slots
        self.station.security("ReconfigurationOfSecurityParameters", f"network profile in slot {slot}")
        return {"status": "Accepted"}

    def report(self, now: float) -> Json:
        shown = {slot: {k: kept[k] for k in ("url", "identity", "security")} for slot, kept in self.slots.items()}
        return {"network_profiles": shown}  # never the password


def _whole(kept: object) -> bool:
    return isinstance(kept, dict) and set(kept) == {"url", "identity", "security", "password", "timeout_s"}


def _objection(slot: int, data: Json, active: int) -> Objection | None:
    if slot not in SLOTS:
        return Objection("InvalidConfSlot", f"configurationSlot = {slot}; allowed: {SLOTS[0]} to {SLOTS[-1]}")
    if data["ocppTransport"] != "JSON" or data.get("ocppVersion", "OCPP21") not in _VERSIONS:
        return Objection("InvalidNetworkConf", "only OCPP 1.6, 2.0.1 and 2.1 over JSON are spoken")
    strange = [key for key in ("apn", "vpn") if key in data]
    if strange:
        return Objection("UnsupportedParam", f"{strange[0]} is none of this program's business")
    if not 1 <= data["messageTimeout"] <= 300:
        return Objection("InvalidNetworkConf", f"messageTimeout = {data['messageTimeout']} s; allowed: 1 to 300")
    if not 0 <= data["securityProfile"] <= 3:
        return Objection("InvalidNetworkConf", f"securityProfile = {data['securityProfile']}; allowed: 0 to 3")
    if downgrade(active, data["securityProfile"]):
        words = f"security profile {data['securityProfile']} is below {active}, that of the board or the one in use"
        return Objection("NoSecurityDowngrade", words)
    return None


def profile_of(kept: Json, own: Profile) -> Profile:
    """The way of a slot. own: the board's first, whose certificates and, where none was given, password it has."""
    security = kept["security"]
    password = (own.password if kept["password"] is None else kept["password"]) if security in (1, 2) else ""
    return Profile(
        kept["url"],
        kept["identity"],
        security,
        password,
        own.ca_file if security >= 2 else None,
        own.cert_file if security == 3 else None,
        own.key_file if security == 3 else None,
        message_timeout_s=float(kept["timeout_s"]),
        own_password=security in (1, 2) and kept["password"] is not None,
    )


def ways_of(board: Sequence[Profile], slots: Any, priority: str, own: Profile | None = None) -> list[Profile]:
    """The profiles in the order in which they are tried: as the priority says, then what the board has beside them.
    A slot that cannot be used (any more) is left out, and so is one below the board's security. own: what a slot takes
    the files from; None: the board's first."""
    by_slot = {str(number): profile for number, profile in enumerate(board, 1)}
    for slot, kept in slots.items() if isinstance(slots, dict) else ():
        try:
            profile = profile_of(kept, board[0] if own is None else own)
            check(profile)
        except (NetworkError, KeyError, TypeError, ValueError):
            continue
        if not downgrade(board[0].security, profile.security):
            by_slot[slot] = profile
    chosen = [by_slot[slot] for slot in dict.fromkeys(priority.split(",")) if slot in by_slot]
    return chosen + [profile for profile in board if profile not in chosen]
