"""`quadrant ocpp`, against the real control socket with a made-up charger behind it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from firmware import cli
from tests.fake_charger import OCPP, served


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("status", "ws://127.0.0.1:9000: OCPP 2.1, accepted"),
        ("status", "CentralSetpoint: power -7.00 kW"),
        ("profiles", "*        7  TxProfile"),
        ("der", "vv                   VoltVar"),
        ("variables", "* OCPPCommCtrlr.HeartbeatInterval  rw  20 s"),
        ("status", "Reserved until 2026-11-20 17:28:50+00:00 (reservation 5)"),
        ("status", "Firmware update: Downloading"),
        ("monitors", "UpperThreshold        7000       severity 4 exceeded"),
        ("security", "waiting  InvalidTLSVersion                   too old"),
        ("security", "O=Grid Co,CN=7, until 2027-01-15 08:00:00+00:00; not yet tried; a new one is asked for."),
        ("queue", "t-1  seqNo 3     Updated  LimitSet offline"),
    ],
)
def test_it_shows_what_the_bridge_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, words: str
) -> None:
    with served(tmp_path, None):
        assert cli.main(["ocpp", what, "--dir", str(tmp_path)]) == 0
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("what", "keys"),
    [
        ("status", {*OCPP, "problem"}),
        ("profiles", {"profiles", "rule"}),
        ("der", {"der", "der_notices", "alarm"}),
        ("variables", {"variables"}),
        ("monitors", {"monitors"}),
        ("security", {"client_certificate", "security_events"}),
        ("queue", {"queue"}),
    ],
)
def test_as_json_it_is_what_the_socket_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, keys: set[str]
) -> None:
    with served(tmp_path, None):
        assert cli.main(["ocpp", what, "--json", "--dir", str(tmp_path)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown.keys() == keys
    assert all(shown[key] == OCPP[key] for key in keys & OCPP.keys())


def test_priority_is_asked_for_by_the_control_socket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(tmp_path, None):
        for switch in ("on", "off"):
            assert cli.main(["ocpp", "priority", switch, "--dir", str(tmp_path)]) == 0
            assert f"wanted {switch}" in capsys.readouterr().out


def test_without_a_running_charger_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ocpp", "status", "--dir", str(tmp_path)]) != 0
    assert "Traceback" not in capsys.readouterr().err
