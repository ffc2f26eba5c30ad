"""Services' side of the OCPP bridge: the look at the charger, and a board that asks for what is not there."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import boards
from boards.loader import parse
from firmware.bridges.ocpp.bridge import BridgeThread
from firmware.bridges.ocpp.view import Phase, Wanted
from firmware.guard.machine import ChargerState
from firmware.services import back_end
from firmware.services.back_end import SOURCE, Absent, obey, view_of
from firmware.services.requests import Requests
from tests.test_boards import BACK_END, DESK
from tests.view_snapshot import BASE

ENERGY = {"charged_wh": 1234.0, "discharged_wh": 56.0}


@pytest.mark.parametrize("state", ChargerState)
@pytest.mark.parametrize(("cp", "plugged"), [("A", False), ("B", True), ("C", True), ("E", None), ("UNKNOWN", None)])
def test_every_state_of_the_charger_is_a_phase(state: ChargerState, cp: str, plugged: bool | None) -> None:
    view = view_of(msgspec.structs.replace(BASE, state=state.value, cp=cp), ENERGY, 5.0)
    assert view.plugged is plugged
    at_rest = Phase.PLUGGED if plugged else Phase.FREE
    assert view.phase is back_end.PHASES.get(state, at_rest)
    assert (view.charged_wh, view.discharged_wh, view.wall_s) == (1234.0, 56.0, 5.0)


def test_power_has_the_sign_of_the_current_and_is_unknown_where_one_of_both_is() -> None:
    discharging = msgspec.structs.replace(BASE, v_dc_v=400.0, i_dc_a=-10.0)
    assert view_of(discharging, ENERGY, 0.0).power_w == -4000.0
    for unknown in ({"v_dc_v": None}, {"i_dc_a": None}):
        assert view_of(msgspec.structs.replace(discharging, **unknown), ENERGY, 0.0).power_w is None
    assert math.isfinite(view_of(discharging, ENERGY, 0.0).charged_wh)


def board(**changes: Any) -> boards.Board:
    return parse(DESK | {"ocpp": BACK_END | changes}, "file.toml", "/run/q")


def test_a_board_without_a_back_end_starts_none(tmp_path: Path) -> None:
    assert back_end.start(boards.load("desk", tmp_path), tmp_path, print) is None


def test_a_board_with_a_back_end_starts_the_bridge(tmp_path: Path) -> None:
    said: list[str] = []
    started = back_end.start(board(url="ws://127.0.0.1:9", versions="1.6,2.1"), tmp_path, said.append)
    assert isinstance(started, BridgeThread)
    assert [dialect.name for dialect in started._settings.dialects] == ["1.6", "2.1"]
    assert started._settings.boot_reason == "PowerUp"
    started.close()
    again = back_end.start(board(url="ws://127.0.0.1:9"), tmp_path, said.append, restarted=True)
    assert isinstance(again, BridgeThread)
    assert again._settings.boot_reason == "ApplicationReset"
    again.close()


def test_a_password_that_is_missing_or_too_short_is_told_and_the_charger_works_without(tmp_path: Path) -> None:
    file = tmp_path / "password"
    for content in (None, "short\n"):
        if content is not None:
            file.write_text(content)
        said: list[str] = []
        found = back_end.start(board(security=1, password_file=str(file)), tmp_path, said.append)
        assert isinstance(found, Absent)
        assert said == [found.problem]
        assert "short" not in found.problem.replace(str(file), "")


def test_services_start_without_the_packages_of_ocpp_and_say_what_is_missing(tmp_path: Path) -> None:
    program = f"""
import sys
for name in ("websockets", "jsonschema_rs", "ocpp"):
    sys.modules[name] = None
import firmware.services.app
from pathlib import Path
from boards.loader import parse
from firmware.services import back_end
from tests.test_boards import BACK_END, DESK
found = back_end.start(parse(DESK | {{"ocpp": BACK_END}}, "file.toml", "/run/q"), Path({str(tmp_path)!r}), print)
assert isinstance(found, back_end.Absent)
"""
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "is not installed; pip install 'quadrant[ocpp]'." in done.stdout


def test_a_bridge_that_says_nothing_any_more_has_no_request_after_3_s_and_its_limits_hold_until_it_is_back() -> None:
    requests = Requests(22e3, 22e3, 0.0)
    requests.ask(0.0, "operator", -9000.0, 600.0, "")
    wanted = Wanted(1.0, "p", -5000.0, None, 2000.0, "profile 7", "profile 3")
    assert obey(requests, 1.0, wanted)
    assert requests.for_guard(1.1, 3.0).source == SOURCE
    obey(requests, 4.1, wanted)
    assert requests.for_guard(4.2, 3.0).source == "operator"
    obey(requests, 15.0, wanted)  # its thread begins anew after 10 s
    assert [b.discharge_w for b in requests.bounds(15.1)] == [2000.0]
    assert requests.for_guard(15.1, 3.0).power_w == -2000.0
    obey(requests, 22.0, wanted)
    assert requests.bounds(22.1) == []
    obey(requests, 22.2, Wanted(22.2, "", None, None, None, "", ""))
    assert requests.for_guard(22.3, 3.0).power_w == -9000.0
