"""What the back end asks for, seen at the terminals of the simulated charger."""

from __future__ import annotations

import pytest

from tests.ocpp.lockstep import Charger, tx_profile
from tests.sim.rig import IEEE, dc_w, snap, transfer

pytestmark = pytest.mark.slow


def test_a_central_setpoint_of_minus_7_kw_is_at_the_meter_within_one_second() -> None:
    charger = Charger(transfer(0.0, IEEE))
    asked = charger.ask(
        "SetChargingProfile",
        tx_profile(charger.tx, {"operationMode": "CentralSetpoint", "setpoint": -7000}, id=7),
    )
    assert asked == {"status": "Accepted"}
    charger.run(1.0)
    assert dc_w(charger.sim) == pytest.approx(-7_000.0, rel=0.02)
    assert "profile 7 (TxProfile, CentralSetpoint)" in snap(charger.sim).asked_reason
    assert snap(charger.sim).asked_by == "back end"
