"""What runs inside the guest: `python -m tests.slow.uml.guest RESULT_DIR`.

Four processes on one kernel: plant, emulated converter (on socketcan), candump, and this one with the driver, stepped
at 100 Hz as guard does. It leaves result.json, driver.log (our own CAN log) and candump.log in RESULT_DIR. It decides
nothing: the test outside judges.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

from firmware.recorder.can_log import CanLogWriter
from hal.can.bus import BusSpec, open_bus
from hal.can.infy_beg import InfyBeg
from hal.ports import CONVERTER_OFF, ConverterCommand, ConverterStatus, Direction
from hil.plant.link import SIZE_BYTES, PlantLink

CHANNEL = "vcan0"
TICK_S = 0.01
CHARGE = ConverterCommand(True, Direction.CHARGE, voltage_v=450.0, current_a=12.0, ovp_v=500.0)
LESS = ConverterCommand(True, Direction.CHARGE, voltage_v=450.0, current_a=5.0, ovp_v=500.0)
DISCHARGE = ConverterCommand(True, Direction.DISCHARGE, current_a=8.0, cutoff_v=250.0, ovp_v=500.0)


class Scene:
    """The driver on the bus, stepped in real time, with everything it sends and receives in the CAN log."""

    def __init__(self, link: PlantLink, log: CanLogWriter) -> None:
        self.link = link
        self.port = open_bus(BusSpec("socketcan", CHANNEL, 125_000))
        self.driver = InfyBeg()
        self.status = ConverterStatus()
        self.refused = 0  # frames that the kernel did not take
        self.steps: list[dict[str, Any]] = []
        self._log = log
        self._deadline = time.monotonic()

    def tick(self, command: ConverterCommand) -> None:
        now = time.monotonic()
        received = self.port.recv(now)
        for frame in received:
            self.driver.receive(now, frame)
        self.status = self.driver.poll(now)
        sent = []
        for frame in self.driver.command(now, command):
            if self.port.send(frame):
                sent.append(frame)
            else:
                self.refused += 1
        self._log.write((now, CHANNEL, f.id, f.data, False) for f in received)
        self._log.write((now, CHANNEL, f.id, f.data, True) for f in sent)
        self._deadline += TICK_S
        time.sleep(max(0.0, self._deadline - time.monotonic()))
        self._deadline = max(self._deadline, time.monotonic() - TICK_S)

    def until(
        self, what: str, command: ConverterCommand, reached: Callable[[ConverterStatus], bool], limit_s: float
    ) -> None:
        """Tick until the status is as wanted or the time is over; both are left in `steps`."""
        begin = time.monotonic()
        done = False
        while not done and time.monotonic() - begin < limit_s:
            self.tick(command)
            done = reached(self.status)
        s = self.status
        self.steps.append(
            {
                "what": what,
                "reached": done,
                "after_s": round(time.monotonic() - begin, 3),
                "direction": s.direction.value if s.direction else None,
                "on": s.on.value if s.on else None,
                "v_dc_v": s.v_dc_v.value if s.v_dc_v else None,
                "i_dc_a": s.i_dc_a.value if s.i_dc_a else None,
                "limits": s.limits and [s.limits.v_min_v, s.limits.v_max_v, s.limits.i_max_a, s.limits.p_rated_w],
                "faults": s.faults,
                "plant_on": self.link.conv_on,
                "plant_i_a": self.link.cable_i_a,
            }
        )

    def play(self) -> None:
        def current(s: ConverterStatus) -> float:
            return s.i_dc_a.value if s.i_dc_a is not None else 0.0

        def off(s: ConverterStatus) -> bool:
            return s.on is not None and not s.on.value and abs(current(s)) < 0.5 and self.link.conv_on == 0.0

        self.until("ready", CONVERTER_OFF, lambda s: s.ready, 20.0)
        self.until("charging", CHARGE, lambda s: abs(current(s) - CHARGE.current_a) < 0.5, 20.0)
        hold_until = time.monotonic() + 3.0  # a stretch of steady traffic
        self.until("held", CHARGE, lambda s: time.monotonic() > hold_until, 5.0)
        self.until("charging less", LESS, lambda s: abs(current(s) - LESS.current_a) < 0.5, 5.0)
        self.until("off", CONVERTER_OFF, off, 5.0)
        self.until("discharging", DISCHARGE, lambda s: abs(current(s) + DISCHARGE.current_a) < 0.5, 20.0)
        self.until("off again", CONVERTER_OFF, off, 5.0)

    def drain(self) -> None:
        """Take what the other side still sent, without asking for more."""
        now = time.monotonic()
        received = self.port.recv(now)
        self._log.write((now, CHANNEL, f.id, f.data, False) for f in received)


def start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE)


def main() -> int:
    out = Path(sys.argv[1])
    memory = shared_memory.SharedMemory(create=True, size=SIZE_BYTES)
    assert memory.buf is not None
    link = PlantLink(memory.buf)
    log = CanLogWriter(out / "driver.log", time.time() - time.monotonic())
    with (out / "candump.log").open("wb") as text:
        candump = subprocess.Popen(["candump", "-L", CHANNEL], stdout=text)
        time.sleep(0.3)  # candump must listen before the first frame
        scene = Scene(link, log)
        plant = start("tests.slow.uml.plant", "--shm", memory.name)
        converter = start("hil.devices.converter", "--shm", memory.name, "--bus", f"socketcan:{CHANNEL}")
        try:
            scene.play()
        finally:
            ends = [process.communicate(timeout=10) and process.returncode for process in (converter, plant)]
            time.sleep(0.2)
            scene.drain()
            candump.terminate()
            candump.wait(timeout=10)
    result = {
        "steps": scene.steps,
        "refused": scene.refused,
        "port_errors": scene.port.errors,
        "process_exits": ends,
        "logged": log.frames,
        "resets": scene.status.resets,
        "load": scene.status.bus_load,
    }
    (out / "result.json").write_text(json.dumps(result, indent=1))
    log.close()
    scene.port.close()
    link.release()
    memory.close()
    memory.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
