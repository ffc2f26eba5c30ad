"""The plant in real time as a process of its own, with every contactor closed and a car's battery behind it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from hil.devices import process
from hil.plant.grid_source import ProgrammableSource
from hil.plant.plant import Plant


class LivePlant:
    def __init__(self, shared: process.SharedLink) -> None:
        self._shared = shared
        link = shared.link
        link.coil_grid = link.coil_dc = link.converter_enable = link.ev_plugged = link.ev_contactor = 1.0
        self._plant = Plant(link, ProgrammableSource())
        self._begin: float | None = None

    def step(self, now: float) -> None:
        if self._begin is None:
            self._begin = now
        self._plant.advance(now - self._begin)

    def handle(self, command: dict[str, Any]) -> None:
        raise ValueError(f"unknown command {command}")

    def close(self) -> None:
        self._shared.close()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shm", required=True)
    return process.run(LivePlant(process.SharedLink(parser.parse_args().shm)), 0.005)


if __name__ == "__main__":
    sys.exit(main())
