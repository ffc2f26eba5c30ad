"""`quadrant ev` against a rig that only listens: what it sends, in which order, and what it refuses."""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from firmware import cli
from hil.ev.command import departure_s

PLUGIN = EntryPoint("ev", "hil.ev.command:register", cli.PLUGIN_GROUP)
CAR: dict[str, Any] = {
    "plugged": True, "session": False, "charging": False, "protocol": "iso20", "mode": "dynamic", "v2g": True,
    "tls": True, "soc": 0.5, "soc_target": 0.8, "soc_min": 0.3, "departure_s": 7200, "target_a": 20.0,
    "limits": [125.0, 60.0], "interface": "lo", "last": "no session yet",
}  # fmt: skip


class FakeRig:
    """rig.sock with a car that obeys; `asked`: every command that was no question."""

    def __init__(self, run_dir: Path) -> None:
        self.car = dict(CAR)
        self.asked: list[dict[str, Any]] = []
        self.on_can = False
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(run_dir / "rig.sock"))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                with self._server.accept()[0].makefile("rw") as file:
                    for line in file:
                        file.write(json.dumps(self._answer(json.loads(line))) + "\n")
                        file.flush()

    def _answer(self, command: dict[str, Any]) -> dict[str, Any]:
        if self.on_can and command.get("device") == "car":
            return {"error": "there is no such command"}
        if command == {"device": "car", "state": True}:
            return {"ok": True, "car": self.car}
        self.asked.append(command)
        if command.get("stop"):
            self.car["session"] = False
        return {"ok": True}

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[FakeRig]:
    rig = FakeRig(tmp_path)
    yield rig
    rig.close()


def ev(run_dir: Path, *words: str) -> int:
    return cli.main(["ev", *words, "--dir", str(run_dir)], [PLUGIN])


def test_settings_arrive_and_the_car_is_plugged_in_last(
    rig: FakeRig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--protocol 20-bpt --mode scheduled --soc 40 --departure 8h --min-soc 25% --target-a -15 --no-tls --json"
    assert ev(tmp_path, *words.split()) == 0
    assert rig.asked == [
        {
            "device": "car", "protocol": "iso20", "v2g": True, "mode": "scheduled", "tls": False, "soc_min": 0.25,
            "target_a": -15.0, "departure_s": 28_800.0,
        },
        {"plant": {"soc": 0.4}},
        {"device": "car", "plug_in": True},
    ]  # fmt: skip
    assert json.loads(capsys.readouterr().out) == CAR


def test_a_session_that_was_begun_with_other_settings_ends_in_order_first(rig: FakeRig, tmp_path: Path) -> None:
    rig.car["session"] = True
    assert ev(tmp_path, "--protocol", "din") == 0
    assert [list(command)[-1] for command in rig.asked] == ["stop", "protocol", "plug_in"]


def test_what_may_change_while_power_flows_ends_no_session(rig: FakeRig, tmp_path: Path) -> None:
    rig.car["session"] = True
    assert ev(tmp_path, "--protocol", "20-bpt", "--target-soc", "90", "--charge-a", "40") == 0
    assert rig.asked[0] == {
        "device": "car", "protocol": "iso20", "v2g": True, "soc_target": 0.9, "limits": [40.0, 60.0],
    }  # fmt: skip
    assert len(rig.asked) == 2


@pytest.mark.parametrize("action", ["stop", "pause", "unplug"])
def test_stop_pause_and_unplug_are_passed_on(rig: FakeRig, tmp_path: Path, action: str) -> None:
    assert ev(tmp_path, action) == 0
    assert rig.asked == [{"device": "car", action: True}]


def test_show_changes_nothing_and_says_it_in_one_line(
    rig: FakeRig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ev(tmp_path, "show") == 0
    assert rig.asked == []
    assert capsys.readouterr().out == (
        "The car is plugged in and waits: ISO 15118-20 DC_BPT, Dynamic, TLS, 50% charged (wants 80%, not below 30%), "
        "leaves in 2 h. Last session: no session yet.\n"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--protocol din --tls", "DIN 70121 knows no TLS"),
        ("--protocol 2 --mode dynamic", "only ISO 15118-20 has control modes"),
        ("--min-soc 90", "--min-soc 90% lies above --target-soc 80%"),
        ("stop --soc 20", "Settings go with `quadrant ev`"),
    ],
)
def test_a_contradiction_is_refused_and_changes_nothing(
    rig: FakeRig, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, sentence: str
) -> None:
    assert ev(tmp_path, *words.split()) == 1
    assert sentence in capsys.readouterr().err
    assert rig.asked == []


def test_a_car_on_can_and_a_missing_rig_are_told_apart(
    rig: FakeRig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.on_can = True
    assert ev(tmp_path, "--soc", "40") == 1
    assert "speaks no ISO 15118" in capsys.readouterr().err
    assert rig.asked == []
    assert ev(tmp_path / "nowhere", "show") == cli.NO_CHARGER
    assert "No emulated rig runs in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"), [("07:30", 34_200.0), ("22:00", 86_400.0), ("22:01", 60.0), ("8h", 28_800.0), ("90s", 90.0)]
)
def test_a_departure_is_the_next_such_time_or_so_far_away(text: str, seconds: float) -> None:
    assert departure_s(text, datetime(2026, 11, 20, 22, 0, 0)) == seconds  # noqa: DTZ001


@pytest.mark.parametrize("text", ["24:00", "7:60", "soon", "400h"])
def test_a_departure_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        departure_s(text, datetime(2026, 11, 20, 22, 0, 0))  # noqa: DTZ001
