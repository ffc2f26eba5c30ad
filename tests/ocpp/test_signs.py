"""The table of signs is frozen: a change here must be meant, and told in docs/ocpp.md."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.bridges.ocpp import signs

# OCPP's number -> ours. Ours: + charging, + absorbing, per unit where OCPP has percent.
FROZEN = {
    "setpoint": (-7000.0, -7000.0),
    "limit": (7000.0, 7000.0),
    "dischargeLimit": (-7000.0, -7000.0),
    "v2xBaseline": (-100.0, -100.0),
    "v2xFreqWattCurve.power": (-3000.0, -3000.0),
    "v2xSignalWattCurve.power": (500.0, 500.0),
    "setpointReactive": (200.0, 200.0),
    "maxDischargePower": (10000.0, -10000.0),
    "maxChargePower": (10000.0, 10000.0),
    "evEnergyOffer.power": (-5.0, -5.0),
    "FreqWatt.y": (50.0, 0.5),
    "VoltVar.y": (44.0, -0.44),
    "WattVar.y": (44.0, -0.44),
    "WattVar.x": (100.0, -1.0),
    "VoltWatt.y": (60.0, 0.6),
    "fixedVar.setpoint": (-30.0, 0.3),
    "WattPF.x": (100.0, -1.0),
    "WattPF.y": (0.95, 0.95),
    "limitMaxDischarge.pctMaxDischargePower": (60.0, 0.6),
}


def test_every_sign_is_frozen_here() -> None:
    assert FROZEN.keys() == signs.SIGNS.keys()
    for field, (theirs, ours) in FROZEN.items():
        assert signs.ours(field, theirs) == pytest.approx(ours), field
        assert signs.theirs(field, ours) == pytest.approx(theirs), field
    assert signs.EXCITATION_ABSORBS is True


@given(st.floats(-1e6, 1e6))
def test_import_and_export_are_magnitudes_and_never_both(power: float) -> None:
    imported, exported = signs.import_export(power)
    assert imported >= 0.0
    assert exported >= 0.0
    assert imported - exported == power
    assert imported == 0.0 or exported == 0.0
