"""The short lines of `quadrant csms`: each makes a call that obeys the schema and that the charger takes."""

from __future__ import annotations

import pytest

from firmware.bridges.ocpp import checks
from firmware.bridges.ocpp.der_map import table_of
from firmware.bridges.ocpp.dialect import V16, V21, V201, Dialect
from firmware.bridges.ocpp.view import Ability
from hil.csms.calls import CannotExpand, expand
from tests.ocpp.back_end import WALL_S
from tests.ocpp.wire import schemas


def made(line: str, dialect: Dialect = V21) -> tuple[str, dict[str, object]]:
    found = expand(line, dialect, 17 if dialect is V16 else "t-1", WALL_S)
    assert found is not None
    assert schemas(dialect).request(*found) is None
    return found


@pytest.mark.parametrize(
    "line",
    [
        "set-profile CentralSetpoint setpoint=-7000 duration=600",
        "set-profile CentralSetpoint setpoint=-7000 limit=5000 discharge=-6000 id=4 stack=2",
        "set-profile LocalFrequency baseline=0 frequency=49.8:-5000,50.2:5000",
        "set-profile CentralFrequency setpoint=0 signals=-100:-8000,100:8000",
        "set-profile ChargingOnly limit=11000",
        "set-profile Idle",
    ],
)
def test_a_profile_of_a_line_is_good(line: str) -> None:
    action, payload = made(line)
    assert action == "SetChargingProfile"
    assert checks.charging_profile(payload["chargingProfile"]) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("dialect", [V16, V201], ids=lambda d: d.name)
def test_earlier_versions_have_limits_only(dialect: Dialect) -> None:
    made("set-profile ChargingOnly limit=11000", dialect)
    with pytest.raises(CannotExpand, match="has no CentralSetpoint"):
        made("set-profile CentralSetpoint setpoint=-7000", dialect)


@pytest.mark.parametrize(
    "line",
    [
        "der-control VoltVar id=evening curve=92:44,98:0,102:0,108:-44 response=5",
        "der-control LimitMaxDischarge id=cap percent=30 start=10 duration=600",
        "der-control FixedVar setpoint=-20",
        "der-control FixedPFInject pf=0.95 absorb=no",
        "der-control HVMustTrip curve=110:12.5,120:0.16",
        "der-control FreqWatt curve=50.2:-100,51.2:50 response=2",
        "der-control WattPF curve=-100:-0.95,0:1,100:0.9",
    ],
)
def test_a_control_of_a_line_is_good(line: str) -> None:
    action, payload = made(line)
    assert action == "SetDERControl"
    table_of(payload, Ability())


def test_a_signal_and_a_call_written_out() -> None:
    assert made("afrr -50")[1]["signal"] == -50
    assert expand('Reset {"type": "Immediate"}', V21, "t-1", WALL_S) is None


@pytest.mark.parametrize(
    ("line", "tx", "words"),
    [
        ("set-profile", "t", "needs an operation mode: Idle"),
        ("set-profile Idle", None, "no transaction"),
        ("set-profile CentralSetpoint setpoint=low", "t", "setpoint=low: a number"),
        ("set-profile CentralSetpoint power=1", "t", "'power=1' is not understood"),
        ("set-profile LocalFrequency frequency=50", "t", "pairs X:Y"),
        ("der-control", "t", "needs a type"),
        ("der-control VoltVar", "t", "needs curve="),
        ("der-control EnterService", "t", "no short form"),
        ("afrr", "t", "one whole number"),
    ],
)
def test_a_line_that_says_too_little_gets_a_sentence(line: str, tx: str | None, words: str) -> None:
    with pytest.raises(CannotExpand, match=words):
        expand(line, V21, tx, WALL_S)
