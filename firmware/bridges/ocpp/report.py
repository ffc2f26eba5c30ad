"""What `quadrant ocpp` shows: plain JSON, made by the bridge's own thread once a second."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from firmware.bridges.ocpp.profiles import Profile
from firmware.bridges.ocpp.v2x import Decision
from firmware.bridges.ocpp.view import Wanted

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

Json = dict[str, Any]


def station_report(station: Station, now: float) -> Json:
    """The connection, the queue, and what each function has to show."""
    found: Json = {
        "version": None if station.dialect is None else station.dialect.name,
        "registration": station.registration.value,
        "online": station.online,
        "transaction": station.transactions.id,
        "queue": station.outbox.report(),
    }
    for function in station.functions:
        found |= function.report(now)
    return found


def report_of(profiles: Iterable[Profile], decision: Decision | None, wanted: Wanted | None) -> Json:
    """The charging profiles, and the rule that they come to."""
    lead = None if decision is None else decision.profile
    shown = [
        {
            "id": p.id,
            "purpose": p.purpose,
            "stack": p.stack,
            "kind": p.kind,
            "evse": p.evse,
            "leads": p.id == lead,
            "profile": p.raw,
        }
        for p in profiles
    ]
    rule = None
    said = wanted is not None and (wanted.power_w, wanted.charge_w, wanted.discharge_w) != (None, None, None)
    if decision is not None and wanted is not None and said:
        power = {"power_w": wanted.power_w, "charge_w": wanted.charge_w, "discharge_w": wanted.discharge_w}
        rule = {"mode": decision.mode, "profile": lead, **power, "reason": wanted.reason}
    return {"profiles": shown, "rule": rule}
