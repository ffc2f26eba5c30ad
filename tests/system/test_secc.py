"""The whole charger with a car that speaks ISO 15118-20: real processes from the plug to the plant's power.

The car is the package's EV in a process of its own, on the loopback; what is measured, the plant says.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.secc.environment import SECC_PYTHON, needs_schemas
from tests.system.charger import Charger, Rig, board_file, processes_of, tell_end, wait_for

pytestmark = needs_schemas
AT_REST = ("connected", "finished", "fault", "idle")


def secc_board(path: Path) -> Path:
    """The desk whose vehicle side is the process secc."""
    board_file(path, own_rig=False)
    text = path.read_text()
    text = text[: text.index("[bus.vehicle]")] + text[text.index("[pilot]") :]
    on_can = 'driver = "secc_bridge_v3"\nbus = "vehicle"'
    assert on_can in text
    path.write_text(text.replace(on_can, 'driver = "iso15118"\ninterface = "lo"'))
    return path


@pytest.fixture(scope="module")
def speaking(home: Path) -> Iterator[tuple[Charger, Rig]]:
    """A charger and a rig whose car speaks."""
    assert SECC_PYTHON.exists()
    board = secc_board(home / "board.toml")
    rig = Rig(board, home)
    try:
        charger = Charger(board, home)
        try:
            yield charger, rig
        finally:
            charger.end()
    finally:
        rig.end()


def process(home: Path, script: str) -> int:
    found = [pid for pid, words in processes_of(home).items() if script in words]
    assert len(found) == 1, found
    return found[0]


def into_transfer(charger: Charger, rig: Rig, power_w: float) -> None:
    """The car wants a session; it listens only when it has ended its last one, so it is told until one begins."""

    def begun() -> bool:
        rig.client.ask(device="car", plug_in=True)
        return str(charger.snapshot().get("state", "")).startswith(("cable check", "precharge", "transfer"))

    wait_for("guard is heard", charger.snapshot, 30.0, 0.05)
    charger.ask("power", power_w=power_w, for_s=600.0, reason="test")
    charger.ask("clear")
    wait_for("a session begins", begun, 60.0, 0.5)
    charger.wait_power(power_w)


def test_plug_charge_discharge_and_a_car_that_hangs(speaking: tuple[Charger, Rig], home: Path) -> None:
    charger, rig = speaking
    into_transfer(charger, rig, 10_000.0)
    assert rig.client.read("ac_p_w") > 9_000.0
    snapshot = charger.snapshot()
    assert snapshot["car_phase"] == "transfer"
    assert snapshot["soc_pct"] is not None
    charger.ask("power", power_w=-8_000.0, for_s=600.0, reason="peak")
    charger.wait_power(-8_000.0, 30.0)
    assert rig.client.read("ac_p_w") < -7_000.0
    car = process(home, "hil/ev/device.py")
    with rig.client.recording("hang") as finish:
        time.sleep(0.5)
        os.kill(car, signal.SIGSTOP)
        t = time.monotonic()
        try:
            charger.wait_state(*AT_REST, within_s=20.0)
            time.sleep(0.2)
            record = finish()
        finally:
            os.kill(car, signal.SIGCONT)
    zero_s, _ = tell_end("SIGSTOP of the car while discharging", record, t)
    # 0.5 s of silence, the car's own pace before it (0.1 s), the tick and the ramp down.
    assert zero_s < 0.5 + 0.1 + 0.1 + 1.5
    wait_for("the event", lambda: charger.events("car_lost", t), 3.0)


def test_a_grid_trip_while_discharging_is_told_to_the_car_and_its_session_ends_in_order(
    speaking: tuple[Charger, Rig],
) -> None:
    charger, rig = speaking
    into_transfer(charger, rig, -8_000.0)
    ended = charger.log("services").count("The car's session has ended in SessionStop")
    with rig.client.recording("trip") as finish:
        time.sleep(0.5)
        t = time.monotonic()
        rig.client.ask(plant={"f_hz": 63.0})
        try:
            charger.wait_state(*AT_REST, within_s=20.0)
            time.sleep(0.2)
            record = finish()
        finally:
            rig.client.ask(plant={"f_hz": 60.0})
    zero_s, dc_s = tell_end("63 Hz while discharging", record, t)
    # IEEE 1547-2018 table 18, OF2: 62.0 Hz, clearing time 0.16 s; the DC contactor follows without current.
    assert zero_s < 0.16
    assert dc_s < 1.0
    # The car was told (Terminate) and went through PowerDelivery, welding detection and SessionStop by itself.
    said = "The car's session has ended in SessionStop"
    wait_for("the end of the session in order", lambda: charger.log("services").count(said) > ended, 20.0, 0.2)
