"""What the disk keeps for a function may be of another release: it is told and forgotten, and OCPP runs."""

from __future__ import annotations

from typing import Any

import pytest

from firmware.bridges.ocpp import (
    certificates,
    client_certificate,
    credentials,
    firmware_update,
    monitors,
    needs,
    network_profiles,
    reservation,
    security,
)
from firmware.bridges.ocpp.dialect import V21
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.report import station_report
from tests.ocpp.back_end import BackEnd, Hands, station, view
from tests.ocpp.test_network_profiles import BOARD

MODULES = (
    certificates,
    client_certificate,
    credentials,
    firmware_update,
    monitors,
    needs,
    network_profiles,
    reservation,
    security,
)
NAMES = [m.KEPT for m in MODULES]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value",
    [7, "x", [], {}, {"a": 1}, {"3": 1}, {"3": {"url": 5}}, {"monitors": [1], "level": 3}, {"tx": 1, "allowed": 5}],
)
def test_what_cannot_be_understood_stops_nothing(name: str, value: Any) -> None:
    box = Outbox(":memory:")
    box.keep(name, value)
    charger, _, _ = station(box, worker=Hands())
    peer = BackEnd(V21)
    charger.observe(view(1.0))
    charger.connected(1.0, V21)
    peer.settle(charger, 1.0)
    charger.observe(view(2.0))
    peer.settle(charger, 2.0)
    assert charger.online
    assert station_report(charger, 2.0)["online"]
    assert network_profiles.ways_of([BOARD], box.state(network_profiles.KEPT), "3") == [BOARD]
    assert certificates.installed(box.state(certificates.KEPT), certificates.BACK_END) == ""
