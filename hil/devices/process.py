"""How an emulated device runs as a process of its own in the real-time rig.

The rig starts `python -m hil.devices.<name> --shm NAME ...` and keeps the write end of its standard input: one JSON
object a line is a command for the device (faults, the operator's actions), and end of file means that the rig is
gone, so the device ends too and no orphan keeps a bus alive.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import sys
import time
from collections.abc import Callable
from multiprocessing import resource_tracker, shared_memory
from typing import Any, Protocol

from hil.plant.link import PlantLink


class Device(Protocol):
    """What `run` drives."""

    def step(self, now: float) -> None:
        """Move bytes in and out and advance the device to `now` (monotonic seconds)."""

    def handle(self, command: dict[str, Any]) -> None:
        """Obey a command of the rig; unknown ones raise ValueError with a sentence."""

    def close(self) -> None: ...


class SharedLink:
    """The plant's array in shared memory that somebody else created."""

    def __init__(self, name: str) -> None:
        self._memory = shared_memory.SharedMemory(name=name)
        # Python 3.11 would remove the segment when this process ends though it is not ours (3.13 has track=False).
        resource_tracker.unregister(self._memory._name, "shared_memory")  # type: ignore[attr-defined]
        assert self._memory.buf is not None
        self.link = PlantLink(self._memory.buf)

    def close(self) -> None:
        self.link.release()
        self._memory.close()


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--shm", required=True, help="name of the plant's shared memory")
    parser.add_argument("--seed", type=int, default=1, help="seed of the device's randomness")
    return parser


def run(device: Device, period_s: float, on_error: Callable[[str], None] | None = None) -> int:
    """Step the device on absolute deadlines until standard input ends. Missed periods are skipped.

    Standard output says {"ready": true} once and then answers each command, in order, with {"ok": true} or
    {"error": SENTENCE}; a refusal also goes to `on_error` (standard error).
    """
    say = on_error or (lambda text: print(text, file=sys.stderr, flush=True))

    def answer(reply: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # nobody reads any more: standard input will end too
            os.write(1, json.dumps(reply).encode() + b"\n")

    os.set_blocking(0, False)
    pending = b""
    deadline = time.monotonic()
    answer({"ready": True})
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        try:
            while True:
                now = time.monotonic()
                device.step(now)
                deadline += period_s
                now = time.monotonic()
                if deadline <= now:  # late: skip, never catch up
                    deadline = now
                if selector.select(max(0.0, deadline - now)):
                    chunk = os.read(0, 65536)
                    if not chunk:
                        return 0
                    *lines, pending = (pending + chunk).split(b"\n")
                    for line in filter(None, lines):
                        try:
                            command = json.loads(line)
                            if not isinstance(command, dict):
                                raise ValueError("a command is a JSON object")
                            device.handle(command)
                        except (ValueError, KeyError, TypeError) as error:
                            say(f"command refused: {line.decode(errors='replace')}: {error}")
                            answer({"error": str(error)})
                        else:
                            answer({"ok": True})
        except KeyboardInterrupt:
            return 0
        finally:
            device.close()
