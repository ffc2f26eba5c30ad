"""Stories of `talker.py`, told once each to one real process `secc`, and what came of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from firmware.bridges.secc.messages import CarState, ChargerState
from tests.secc.environment import ROOT, SECC_PYTHON
from tests.secc.stand import Script, loopback, stand

CHANGED = ("ask", "plan", "plan_no", "planning", "charge_only")  # what a story may change of the charger


@dataclass
class Told:
    """One story: the charger's answers, and the car's phases as services heard of them."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    cars: list[CarState] = field(default_factory=list)

    def of(self, name: str) -> list[dict[str, Any]]:
        return [answer for answer in self.answers if answer["asked"] == name]

    def codes(self, name: str) -> list[str]:
        return [answer["code"] for answer in self.of(name)]

    @property
    def last(self) -> tuple[str, str, str]:
        answer = self.answers[-1]
        return answer["asked"], answer["answer"], answer["code"]


async def tell(folder: Path, stories: Sequence[str]) -> dict[str, Told]:
    told: dict[str, Told] = {}
    with loopback() as wires:
        async with stand(folder, wires, Script()) as bench:
            words = [*wires.ev, str(SECC_PYTHON), "-P", str(ROOT / "tests/secc/talker.py"), *stories]
            process = await asyncio.create_subprocess_exec(
                *words, "--interface", wires.ev_interface, "--cache", str(folder), stdout=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            story, begin, first = Told(), 0, 0
            usual = bench.charger.state
            async with asyncio.timeout(120.0):
                while line := await process.stdout.readline():
                    try:
                        value = json.loads(line)
                    except ValueError:
                        odd = [answer for answer in story.answers if not str(answer["code"]).startswith("OK")]
                        raise AssertionError(f"the car says {line!r}, after {odd[:4]}") from None
                    if "story" in value:
                        story.phases = bench.charger.phases[begin:]
                        begin = len(bench.charger.phases)
                        story.cars, first = bench.charger.cars[first:], len(bench.charger.cars)
                        bench.charger.set(**{name: getattr(usual, name) for name in CHANGED})
                        story = told[value["story"]] = Told()
                    elif value.get("event") == "unplug":
                        bench.charger.set(plugged=False)
                        await asyncio.sleep(0.3)
                        bench.charger.set(plugged=True)
                    elif value.get("event") == "charger":
                        wanted = {"present_v": 0.0, **value["values"]}
                        told_to = msgspec.convert(wanted, ChargerState)
                        bench.charger.set(**{name: getattr(told_to, name) for name in value["values"]})
                    else:
                        story.answers.append(value)
                assert await process.wait() == 0
            await asyncio.sleep(0.3)
            story.phases, story.cars = bench.charger.phases[begin:], bench.charger.cars[first:]
            assert bench.charger.bad == 0
    return told
