"""How `quadrant run` ends by itself: at its time, and when the rig of an emulated board is gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.system.charger import Charger, Record, RigClient, children_of, note_memory, tell_end, wait_for


def test_for_ends_in_the_middle_of_a_cable_check_with_open_contactors(
    start: Callable[..., Charger], home: Path
) -> None:
    began = time.monotonic()
    charger = start("--for", "12")
    wait_for("the control socket", charger.snapshot, every_s=0.05)
    note_memory(home)
    rig = RigClient(home)
    wait_for("closed contactors", lambda: rig.read("k_dc") == 1.0)
    path = home / "for.csv"
    rig.ask(record=True, fields=["cable_i_a", "k_dc", "k_grid", "conv_on", "dc_v_v"], file=str(path))
    assert charger.wait_end() == 0, charger.words
    took_s = time.monotonic() - began
    rig.close()
    record = Record(path)
    print(f"\n--for 12: exit after {took_s:.1f} s")
    assert 12.0 < took_s < 12.0 + 15.0
    assert record["k_dc"][0] == 1.0
    tell_end("--for in a cable check", record, record.t[0])
    assert charger.words == ""


def test_a_killed_device_of_the_rig_ends_the_charger_with_a_sentence(start: Callable[..., Charger], home: Path) -> None:
    charger = start(plug_in=False)
    wait_for("guard is heard", charger.snapshot, every_s=0.05)
    note_memory(home)
    (rig,) = [pid for name, pid in children_of(charger.process.pid).items() if name == "hil.rig"]
    os.kill(children_of(rig)["hil.devices.converter"], signal.SIGKILL)
    assert charger.wait_end() == 1
    assert "The emulated rig ended with exit code 1: without it there is nothing to control." in charger.words
    assert "The converter ended by itself (exit -9)." in charger.words
    assert "Traceback" not in charger.words + charger.log("guard") + charger.log("services")
