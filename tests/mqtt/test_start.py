"""The bridge from the board file: what is missing is one sentence, and the charger goes on."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import Any

import pytest

import boards
from boards.loader import parse
from firmware.services import mqtt
from tests.mqtt.test_side import FakePort

DESK = tomllib.loads((Path(boards.__file__).parent / "desk.toml").read_text())
REAL = tomllib.loads((Path(boards.__file__).parent / "beg22.toml").read_text())


def board(document: dict[str, Any] = DESK, **keys: Any) -> boards.Board:
    return parse({**document, "mqtt": {"host": "127.0.0.1", "port": 1, **keys}}, "file.toml", "/run/q")


def started(made: boards.Board, run_dir: Path) -> tuple[mqtt.MqttSide | None, str]:
    loop = asyncio.new_event_loop()
    try:
        side, problem = mqtt.start(made, run_dir, lambda sentence: None, loop, FakePort())
        if side is not None:
            loop.run_until_complete(side.close())
        return side, problem
    finally:
        loop.close()


def test_a_board_without_the_section_tells_nobody(tmp_path: Path) -> None:
    assert started(boards.load("desk", tmp_path), tmp_path) == (None, "")


def test_a_broker_that_is_not_there_is_no_reason_not_to_start(tmp_path: Path) -> None:
    pytest.importorskip("paho.mqtt.client")
    side, problem = started(board(), tmp_path)
    assert side is not None
    assert problem == ""
    assert "127.0.0.1:1 is not connected" in side.problem


def test_without_the_package_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "find_spec", lambda name: None)
    assert "pip install 'quadrant[mqtt]'" in started(board(), tmp_path)[1]


@pytest.mark.parametrize("keys", [{"username": "a", "password_file": "/no/such"}, {"tls": True, "ca_file": "/no/such"}])
def test_a_file_that_is_missing_is_said(tmp_path: Path, keys: dict[str, Any]) -> None:
    pytest.importorskip("paho.mqtt.client")
    side, problem = started(board(**keys), tmp_path)
    assert side is None
    assert "No such file" in problem


def test_the_ratings_and_names_of_the_board_are_those_of_the_entities() -> None:
    made = board(node="garage-1", commands=True)
    assert made.mqtt is not None
    identity = mqtt.identity_of(made, made.mqtt)
    assert (identity.node, identity.charge_w, identity.commands) == ("garage-1", made.ratings.charge_w, True)
    unnamed = board()
    assert unnamed.mqtt is not None
    assert mqtt.identity_of(unnamed, unnamed.mqtt).node == "desk"


@pytest.mark.parametrize(
    ("document", "keys", "sentence"),
    [
        (DESK, {"ca_file": "/x"}, "ca_file is not used without tls"),
        (DESK, {"password_file": "/x"}, "password_file needs a username"),
        (REAL, {"commands": True}, "commands = true needs username and password_file"),
        (DESK, {"node": "a/b"}, "node = 'a/b' must be letters"),
        (DESK, {"topic": "a/#"}, "topic = 'a/#' must be letters"),
        (DESK, {"lease_s": 5}, "lease_s = 5 is out of range"),
    ],
)
def test_what_contradicts_itself_is_refused(document: dict[str, Any], keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(boards.BoardError, match=sentence):
        board(document, **keys)
