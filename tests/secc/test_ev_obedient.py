"""The rig's car does as its charger asks, against the real process `secc`: what the package's own EV cannot."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.secc.messages import CarState, Entry, Part
from tests.secc.environment import needs_schemas
from tests.secc.stand import Script, Stand, loopback, stand

pytestmark = [needs_schemas, pytest.mark.slow, pytest.mark.waits, pytest.mark.real]
PLAN = (Part(0.0, 6_000.0, 0.0), Part(600.0, 9_000.0, 0.0))
LOOPS = ("CurrentDemandReq", "DC_ChargeLoopReq")


@dataclass
class Heard:
    """What the car said from the moment on at which it was asked, its last words, and the session's phases."""

    cars: list[CarState]
    report: dict[str, Any]
    phases: list[str]


async def play(bench: Stand, *arguments: str, ask: str, **charger: Any) -> Heard:
    """A session in whose loop the charger asks until the car is in its loop again."""
    begin = len(bench.charger.phases)
    ev = await bench.ev(*arguments)
    await bench.until(lambda: "transfer" in bench.charger.phases[begin:], "car in its loop")
    first = len(bench.charger.cars)
    bench.charger.set(ask=ask, **charger)
    await bench.until(lambda: left(bench, first), "car that does as it was asked")
    bench.charger.set(ask="")
    await bench.until(lambda: bench.charger.cars[-1].message in LOOPS, "car in its loop again")
    await ev.say(stop=True)
    report = await ev.finish()
    return Heard(bench.charger.cars[first:], report, bench.charger.phases[begin:])


Three = tuple[Heard, Heard, Heard]


async def three(folder: Path) -> Three:
    words = ("--protocol", "iso20", "--bidirectional")
    with loopback() as wires:
        async with stand(folder, wires, Script()) as bench:
            planned = await play(bench, *words, "--mode", "scheduled", ask="schedule", plan=PLAN, plan_no=3)
            chosen = await play(bench, *words, ask="services", charge_only=True)
            return planned, chosen, await play(bench, "--protocol", "iso2", ask="schedule", plan=PLAN[:1], plan_no=4)


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Three:
    return asyncio.run(three(tmp_path_factory.mktemp("secc")))


def left(bench: Stand, first: int) -> bool:
    """The car is out of its loop."""
    return any(car.message not in LOOPS for car in bench.charger.cars[first:])


def in_order(report: dict[str, Any], notification: str) -> None:
    assert report["successful"], report
    assert report["failed"] == []
    assert report["notifications"] == [notification]


def test_a_new_schedule_in_15118_20_with_closed_contactors(heard: Three) -> None:
    planned, _, _ = heard
    in_order(planned.report, "ScheduleRenegotiation")
    assert planned.phases.count("insulation") == planned.phases.count("transfer") == 1
    last = [car for car in planned.cars if car.message == "DC_ChargeLoopReq"][-1]
    assert (last.told_plan, last.schedule_id) == (3, 1)
    assert last.profile == (Entry(0.0, 6_000.0), Entry(600.0, 9_000.0))


def test_other_services_in_15118_20(heard: Three) -> None:
    _, chosen, _ = heard
    in_order(chosen.report, "ServiceRenegotiation")
    assert chosen.phases.count("insulation") == chosen.phases.count("transfer") == 2
    loops = [car.bidirectional for car in chosen.cars if car.message == "DC_ChargeLoopReq"]
    assert list(dict.fromkeys(loops)) == [True, False]


def test_a_new_schedule_in_15118_2_and_what_the_car_takes_of_it(heard: Three) -> None:
    _, _, old = heard
    in_order(old.report, "ReNegotiation")
    assert old.phases.count("insulation") == old.phases.count("transfer") == 2
    last = [car for car in old.cars if car.message == "CurrentDemandReq"][-1]
    assert last.told_plan == 4
    assert last.profile == (Entry(0.0, 6_000.0), Entry(86_400.0, 0.0))
