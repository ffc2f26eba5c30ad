"""The whole charger with a car that speaks: real processes from the plug to the plant's power, session after session.

The car is the package's EV in a process of its own: as root in a network namespace joined by a veth, otherwise on the
loopback. What is measured, the plant says.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.secc.environment import SECC_PYTHON, needs_schemas
from tests.system.charger import Charger, Rig, board_file, processes_of, tell_end, wait_for

pytestmark = needs_schemas
AT_REST = ("connected", "finished", "fault", "idle")
SESSION = ("cable check", "precharge", "transfer")


@pytest.fixture(scope="module")
def speaking(home: Path) -> Iterator[tuple[Charger, Rig]]:
    """A charger and a rig whose car speaks."""
    assert SECC_PYTHON.exists()
    board = board_file(home / "board.toml", own_rig=False, speaking=True)
    rig = Rig(board, home)
    try:
        charger = Charger(board, home)
        try:
            wait_for("guard is heard", charger.snapshot, every_s=0.05)
            wait_for("secc listens", lambda: "secc listens for a car" in charger.log("services"), every_s=0.05)
            yield charger, rig
        finally:
            charger.end()
    finally:
        rig.end()


def process(home: Path, script: str) -> int:
    found = [pid for pid, words in processes_of(home).items() if script in words]
    assert len(found) == 1, found
    return found[0]


def car_of(rig: Rig) -> dict[str, Any]:
    return dict(rig.client.ask(device="car", state=True)["car"])


def plug(charger: Charger, rig: Rig, power_w: float, **settings: Any) -> float:
    """Plug the car in with these settings; returns the seconds from the plug to the first tenth of the power."""
    wait_for("the car has no session", lambda: not car_of(rig)["session"], every_s=0.1)
    charger.ask("power", power_w=power_w, for_s=600.0, reason="test")
    charger.ask("clear")
    began = time.monotonic()
    rig.client.ask(device="car", plug_in=True, **settings)
    wait_for("a session begins", lambda: str(charger.snapshot().get("state", "")).startswith(SESSION), every_s=0.05)
    # Not the grid side: a capacitor that is charged takes kilowatts there for a moment.
    wait_for("power", lambda: abs(rig.client.read("cable_i_a")) > 0.1 * abs(power_w) / 400.0, every_s=0.02)
    return time.monotonic() - began


def at_the_meter(charger: Charger, rig: Rig, low_w: float, high_w: float) -> None:
    """The plant's grid side comes into this range and stays there, and the board's own meter says the same."""

    def inside() -> bool:
        for _ in range(5):
            if not low_w < rig.client.read("ac_p_w") < high_w:
                return False
            time.sleep(0.05)
        measured_w = charger.snapshot().get("measured_w")
        return measured_w is not None and low_w < measured_w < high_w

    wait_for(f"{low_w:g}..{high_w:g} W", inside, every_s=0.05)


def stop_in_order(charger: Charger, rig: Rig, tls: str) -> None:
    """The car ends its session, and both say that it was in order."""
    said = "The car's session has ended in SessionStop"
    before = charger.log("services").count(said)
    rig.client.ask(device="car", stop=True)
    wait_for("the car's own end", lambda: not car_of(rig)["session"], every_s=0.1)
    assert car_of(rig)["last"] == f"its session has ended well{tls}; failed: nothing"
    wait_for("the end in order", lambda: charger.log("services").count(said) > before, every_s=0.1)
    charger.wait_state(*AT_REST)
    assert rig.client.read("k_dc") == rig.client.read("ev_contactor") == 0.0


def test_20_bidirectional_dynamic_over_mutual_tls(speaking: tuple[Charger, Rig]) -> None:
    charger, rig = speaking
    took_s = plug(charger, rig, 10_000.0, protocol="iso20", mode="dynamic", v2g=True, tls=True)
    print(f"\nplug to power: {took_s:.1f} s on {car_of(rig)['interface']}")
    at_the_meter(charger, rig, 9_000.0, 11_000.0)
    snapshot = charger.fresh()
    assert snapshot["car_phase"] == "transfer"
    assert snapshot["soc_pct"] is not None
    charger.ask("power", power_w=-8_000.0, for_s=600.0, reason="peak")
    at_the_meter(charger, rig, -8_800.0, -7_200.0)
    charger.ask("power", power_w=0.0, for_s=600.0, reason="enough")
    at_the_meter(charger, rig, -300.0, 300.0)
    stop_in_order(charger, rig, " (TLSv1.3)")


def test_20_scheduled_follows_the_cars_target_in_both_directions(speaking: tuple[Charger, Rig]) -> None:
    charger, rig = speaking
    plug(charger, rig, 10_000.0, protocol="iso20", mode="scheduled", v2g=True, tls=False, target_a=15.0)
    at_the_meter(charger, rig, 5_000.0, 7_000.0)  # 15 A at 390 V and the losses
    assert charger.fresh()["limited_by"]
    rig.client.ask(device="car", target_a=-12.0)
    charger.ask("power", power_w=-8_000.0, for_s=600.0, reason="peak")
    at_the_meter(charger, rig, -5_200.0, -3_600.0)
    stop_in_order(charger, rig, "")


def test_iso_15118_2_over_tls_1_2(speaking: tuple[Charger, Rig]) -> None:
    charger, rig = speaking
    plug(charger, rig, 10_000.0, protocol="iso2", tls=True, target_a=20.0)
    at_the_meter(charger, rig, 7_000.0, 9_000.0)
    rig.client.ask(device="car", target_a=10.0)
    at_the_meter(charger, rig, 3_000.0, 4_600.0)
    stop_in_order(charger, rig, " (TLSv1.2)")


def test_din_70121_driven_by_the_command_line_and_what_was_said(speaking: tuple[Charger, Rig]) -> None:
    charger, rig = speaking
    wait_for("the car has no session", lambda: not car_of(rig)["session"], every_s=0.1)
    charger.ask("power", power_w=10_000.0, for_s=600.0, reason="test")
    driven = charger.cli("ev", "--protocol", "din", "--target-a", "20", "--soc", "45", "--json")
    assert driven.returncode == 0, driven.stderr
    assert json.loads(driven.stdout)["protocol"] == "din"
    at_the_meter(charger, rig, 7_000.0, 9_000.0)
    assert charger.fresh()["soc_pct"] == pytest.approx(45.0, abs=1.5)
    stop_in_order(charger, rig, "")
    listed = json.loads(charger.cli("session", "list", "--json").stdout)
    newest = listed[-1]
    assert newest["end"].startswith("SessionStop: ")
    shown = charger.cli("session", "show", newest["id"], "--json", timeout_s=60.0)
    told = [json.loads(line) for line in shown.stdout.splitlines()]
    assert not [one for one in told if "problem" in one]
    assert {one["namespace"] for one in told[2:]} == {"urn:din:70121:2012:MsgDef"}
    names = [one["name"] for one in told]
    assert names[0] == "supportedAppProtocolReq"
    assert names[-1] == "SessionStopRes"
    assert names.count("CurrentDemandReq") == names.count("CurrentDemandRes") > 10
    assert [one["from"] for one in told[:2]] == ["car", "charger"]


def test_a_car_of_20_that_hangs_is_without_power_within_half_a_second(
    speaking: tuple[Charger, Rig], home: Path
) -> None:
    charger, rig = speaking
    plug(charger, rig, -8_000.0, protocol="iso20", mode="dynamic", v2g=True, tls=True)
    at_the_meter(charger, rig, -8_800.0, -7_200.0)
    car = process(home, "hil/ev/device.py")
    with rig.client.recording("hang") as finish:
        time.sleep(0.5)
        os.kill(car, signal.SIGSTOP)
        t = time.monotonic()
        try:
            charger.wait_state(*AT_REST)
            time.sleep(0.2)
            record = finish()
        finally:
            os.kill(car, signal.SIGCONT)
    zero_s, _ = tell_end("SIGSTOP of the car while discharging", record, t)
    assert zero_s < 0.5
    wait_for("the event", lambda: charger.events("car_lost", t))


def test_a_grid_trip_while_discharging_is_told_to_the_car_and_its_session_ends_in_order(
    speaking: tuple[Charger, Rig],
) -> None:
    charger, rig = speaking
    plug(charger, rig, -8_000.0)
    at_the_meter(charger, rig, -8_800.0, -7_200.0)
    said = "The car's session has ended in SessionStop"
    ended = charger.log("services").count(said)
    with rig.client.recording("trip") as finish:
        time.sleep(0.5)
        t = time.monotonic()
        rig.client.ask(plant={"f_hz": 63.0})
        try:
            charger.wait_state(*AT_REST)
            time.sleep(0.2)
            record = finish()
        finally:
            rig.client.ask(plant={"f_hz": 60.0})
    zero_s, dc_s = tell_end("63 Hz while discharging", record, t)
    # IEEE 1547-2018 table 18, OF2: 62.0 Hz, clearing time 0.16 s; the DC contactor follows without current.
    assert zero_s < 0.16
    assert dc_s < 0.16
    # The car was told (Terminate) and went through PowerDelivery, welding detection and SessionStop by itself.
    wait_for("the end of the session in order", lambda: charger.log("services").count(said) > ended, every_s=0.2)
    wait_for("the car's own end", lambda: not car_of(rig)["session"], every_s=0.1)
    assert car_of(rig)["last"] == "its session has ended well (TLSv1.3); failed: nothing"
