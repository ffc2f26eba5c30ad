"""The converter's driver, the emulated converter and candump on a real kernel's SocketCAN, inside User-Mode Linux."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hal.can import infy_codec as codec
from hal.can.infy_beg import CURRENT, WORKING_MODE
from tests.slow.uml import boot
from tests.slow.uml.guest import CHARGE, DISCHARGE, LESS

pytestmark = pytest.mark.slow
LINE = re.compile(r"\((\d+\.\d+)\) vcan0 ([0-9A-F]{8})#([0-9A-F]*)(?: [RT])?$")


class Line(NamedTuple):
    t: float
    id: int
    data: bytes


def needs_uml() -> None:
    """In CI a missing guest is a failure; on somebody's machine a loud skip with the command that cures it."""
    reason = boot.missing()
    if reason is not None:
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def lines(path: Path) -> list[Line]:
    found = []
    for text in path.read_text().splitlines():
        match = LINE.match(text)
        assert match, f"{path.name}: {text!r} is no candump line"
        found.append(Line(float(match[1]), int(match[2], 16), bytes.fromhex(match[3])))
    return found


class Run(NamedTuple):
    result: dict[str, Any]
    candump: list[Line]
    ours: list[Line]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    needs_uml()
    out = tmp_path_factory.mktemp("uml")
    ended = boot.run(boot.python_job("tests.slow.uml.guest", "/run/out"), out)
    assert ended.exit == 0, f"guest: exit {ended.exit}\n{ended.log}\n{ended.console}"
    return Run(json.loads((out / "result.json").read_text()), lines(out / "candump.log"), lines(out / "driver.log"))


def step(run: Run, what: str) -> dict[str, Any]:
    (found,) = [s for s in run.result["steps"] if s["what"] == what]
    assert found["reached"], f"{what} was not reached: {found}"
    return found


def echoed(run: Run, selector: int, payload: bytes) -> bool:
    """True when candump saw this write from the driver and, later, the same payload back from the module."""
    ask = [n for n, line in enumerate(run.candump) if line.data == payload and sent_by_driver(line)]
    back = [n for n, line in enumerate(run.candump) if line.data == payload and not sent_by_driver(line)]
    return bool(ask) and any(n > ask[0] for n in back)


def sent_by_driver(line: Line) -> bool:
    _error, _device, _command, destination, source = codec.split_id(line.id)
    assert {destination, source} == {0xF0, 0x00}, f"a frame of somebody else: {line}"
    return source == 0xF0


def test_the_guest_returns_the_exit_code_of_its_job(tmp_path: Path) -> None:
    needs_uml()
    ended = boot.run("echo a word; ip -br link show vcan0; touch /etc/written; exit 7", tmp_path)
    assert (ended.exit, "a word" in ended.log, "vcan0" in ended.log) == (7, True, True), ended.console
    assert not Path("/etc/written").exists()  # the machine's own files are out of its reach


def test_the_driver_becomes_ready_with_live_limits(run: Run) -> None:
    ready = step(run, "ready")
    v_min, v_max, i_max, p_rated = ready["limits"]
    assert 0.0 <= v_min < 400.0 < v_max <= 1000.0
    assert i_max > CHARGE.current_a
    assert p_rated == pytest.approx(22_000.0, rel=0.1)
    assert ready["faults"] == []


def test_current_flows_both_ways_and_off_is_off(run: Run) -> None:
    charging, off = step(run, "charging"), step(run, "off")
    discharging, again = step(run, "discharging"), step(run, "off again")
    assert (charging["direction"], charging["on"]) == ("charge", True)
    assert charging["plant_i_a"] == pytest.approx(CHARGE.current_a, abs=0.7)
    assert step(run, "held")["i_dc_a"] == pytest.approx(CHARGE.current_a, abs=0.5)
    assert step(run, "charging less")["plant_i_a"] == pytest.approx(LESS.current_a, abs=0.7)
    assert (discharging["direction"], discharging["on"]) == ("discharge", True)
    assert discharging["plant_i_a"] == pytest.approx(-DISCHARGE.current_a, abs=0.7)
    for end in (off, again):
        assert (end["on"], end["plant_on"]) == (False, 0.0)
        assert abs(end["plant_i_a"]) < 0.5
        assert end["after_s"] < 1.0


def test_set_points_and_modes_are_echoed_on_the_wire(run: Run) -> None:
    for command in (CHARGE, LESS, DISCHARGE):
        assert echoed(run, CURRENT, codec.encode_write(CURRENT, command.current_a))
    assert echoed(run, WORKING_MODE, codec.encode_write(WORKING_MODE, codec.MODE_RECTIFIER))
    assert echoed(run, WORKING_MODE, codec.encode_write(WORKING_MODE, codec.MODE_INVERTER))


def test_candump_holds_exactly_the_frames_of_our_own_log(run: Run) -> None:
    assert run.result["logged"] == len(run.ours)
    for ours in (True, False):
        mine = [(line.id, line.data) for line in run.ours if sent_by_driver(line) is ours]
        theirs = [(line.id, line.data) for line in run.candump if sent_by_driver(line) is ours]
        assert mine == theirs, f"{'sent' if ours else 'received'}: {len(mine)} logged, {len(theirs)} on the bus"
        assert len(mine) > 100


def test_nothing_was_refused_lost_or_left_behind(run: Run) -> None:
    assert (run.result["refused"], run.result["port_errors"], run.result["resets"]) == (0, 0, 0)
    assert run.result["process_exits"] == [0, 0]


def test_the_traffic_stays_inside_the_bus_load_that_the_driver_states(run: Run) -> None:
    # vcan has no bit rate: the share is computed from the frames, at the driver's own 125 kbit/s.
    span_s = run.candump[-1].t - run.candump[0].t
    frame_bits = 67 + 64 + (54 + 64 - 1) // 4  # extended data frame, 8 bytes, worst stuffing, with inter-frame space
    share = len(run.candump) * frame_bits / span_s / 125_000.0
    assert 0.05 < share <= run.result["load"] * 1.05
