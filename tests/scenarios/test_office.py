"""The real services in lockstep: what their records must hold, and chargers that keep them wrongly."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from firmware.guard.messages import PowerRequest
from firmware.recorder.store import Store
from firmware.services import wishes
from hil.bench.capture import Capture, CaptureError, Channel, Event, Kept
from hil.bench.roles import BenchError
from hil.bench.sim import SimBench, SimSpec
from hil.bench.strict import TableError
from hil.office import LockstepLoop
from hil.scenarios.schema import parse
from hil.scenarios.verdict import Must, Verdict, judge
from hil.sim import Sim
from tests.scenarios.test_library import ALL, complaint, play

Bend = Callable[[Sim], None]
TRIP = Event(2.0, "grid_trip", "OV2")
LOST = Event(3.0, "records_unwritable", "", True)


def capture(*events: Event, wh: tuple[float, float] = (0.0, 0.0), power_w: float = 0.0) -> Capture:
    """4 s of this power; the registers moved by wh."""
    t = [0.0, 1.0, 2.0, 3.0, 4.0]
    kept = (Kept([], 100.0, 50.0), Kept(list(events), 100.0 + wh[0], 50.0 + wh[1]))
    return Capture({"dc_w": Channel("dc_w", "W")}, t, {"dc_w": [power_w] * 5}, period_s=1.0, kept=kept)


def verdict(of: Capture, must: Must) -> Verdict:
    (outcome,) = judge(of, [must], [])
    return outcome.verdict


@pytest.mark.parametrize(
    ("must", "expected"),
    [
        (Must("recorded", "x", code="grid_trip"), Verdict.PASS),
        (Must("recorded", "x", code="grid_trip", detail="UV"), Verdict.FAIL),
        (Must("recorded", "x", code="grid_trip", at_least=2), Verdict.FAIL),
        (Must("recorded", "x", code="grid_trip", at_least=0, at_most=0), Verdict.FAIL),
        (Must("recorded", "x", code="grid_trip", from_s=2.5), Verdict.FAIL),
        (Must("recorded", "x", code="grid_trip", until_s=1.5), Verdict.FAIL),
        (Must("recorded", "x", code="records_unwritable"), Verdict.FAIL),  # its end alone is no beginning
        (Must("recorded", "x", code="records_unwritable", cleared=True), Verdict.PASS),
    ],
)
def test_an_event_is_looked_for_in_the_records(must: Must, expected: Verdict) -> None:
    assert verdict(capture(TRIP, LOST), must) is expected


@pytest.mark.parametrize(
    ("power_w", "wh", "expected"),
    [
        (9_000.0, (10.0, 0.0), Verdict.PASS),
        (9_000.0, (10.15, 0.0), Verdict.PASS),
        (9_000.0, (9.0, 0.0), Verdict.FAIL),  # lost
        (9_000.0, (20.0, 0.0), Verdict.FAIL),  # twice
        (9_000.0, (10.0, 1.0), Verdict.FAIL),  # in the other register too
        (-9_000.0, (0.0, 10.0), Verdict.PASS),
        (-9_000.0, (10.0, 0.0), Verdict.FAIL),  # in the wrong one
    ],
)
def test_the_registers_hold_what_flowed(power_w: float, wh: tuple[float, float], expected: Verdict) -> None:
    assert verdict(capture(wh=wh, power_w=power_w), Must("booked", "x", share=0.02)) is expected


def test_records_that_nobody_read_are_an_error_of_the_rig() -> None:
    assert verdict(replace(capture(), kept=None), Must("booked", "x")) is Verdict.ERROR
    assert verdict(replace(capture(), kept=None), Must("recorded", "x", code="grid_trip")) is Verdict.ERROR


def test_a_capture_with_records_comes_back_from_json() -> None:
    taken = capture(TRIP, LOST, wh=(1.0, 2.0))
    assert Capture.from_json(json.loads(json.dumps(taken.to_json()))) == taken
    with pytest.raises(CaptureError):
        Capture.from_json({**taken.to_json(), "kept": [{}]})


def test_records_can_only_be_asked_of_a_charger_that_keeps_them() -> None:
    about: dict[str, Any] = {"scenario": {"title": "x", "duration_s": 1.0}}
    must = [{"kind": "booked", "share": 0.1, "because": "x"}]
    with pytest.raises(TableError, match="services = true"):
        parse({**about, "must": must}, "x", "x.toml")
    assert parse({**about, "unit": {"services": True}, "must": must}, "x", "x.toml")[0].unit.services
    with pytest.raises(BenchError, match="keeps no records"):
        SimBench(SimSpec()).unit.kept()


@pytest.mark.parametrize(
    ("name", "value"), [("clock.jump_s", 5.0), ("disk.full", True), ("manager.gone", True)], ids=lambda x: str(x)
)
def test_what_only_real_services_have_cannot_be_broken_without_them(name: str, value: object) -> None:
    bench = SimBench(SimSpec())
    with pytest.raises(BenchError, match=r"needs the charger's real services"):
        bench.fault.insert(name, value)
    assert not bench.fault.inserted


@pytest.mark.parametrize("wrong", [0.0, True, "soon", 1e12, float("nan")])
def test_a_jump_that_is_none_is_refused(wrong: object) -> None:
    bench = SimBench(SimSpec(services=True))
    office = bench.sim.services.office
    assert office is not None
    before = office.wall_s()
    with pytest.raises(BenchError, match=r"clock.jump_s must be a number"):
        bench.fault.insert("clock.jump_s", wrong)
    assert office.wall_s() == before
    bench.close()


def test_the_lockstep_loop_goes_on_only_by_the_time_that_it_is_given() -> None:
    now, done = [0.0], []
    loop = LockstepLoop(lambda: now[0])

    async def work() -> None:
        import asyncio

        done.append(await asyncio.to_thread(lambda: "thread"))
        await asyncio.sleep(1.0)
        done.append("slept")

    task = loop.create_task(work())
    for _ in range(50):
        loop.turn()
    assert done == ["thread"]
    now[0] = 1.0
    loop.turn()
    loop.turn()
    assert done == ["thread", "slept"]
    assert task.done()
    loop.close()


def test_a_bench_with_services_gives_back_its_files_and_sockets() -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    bench = SimBench(SimSpec(services=True))
    office = bench.sim.services.office
    assert office is not None
    bench.clock.wait(0.5)
    bench.fault.insert("services.killed", 0.2)
    bench.clock.wait(0.5)
    assert (office.dir / "records.sqlite").exists()
    bench.close()
    assert not office.dir.exists()
    assert open_files() == before


def test_a_stop_that_a_full_disk_refused_is_kept_when_there_is_room_again_and_told_once() -> None:
    bench = SimBench(SimSpec(services=True))
    office = bench.sim.services.office
    assert office is not None
    bench.clock.wait(0.1)
    bench.fault.insert("disk.full")
    bench.unit.ask(-3_000.0)
    bench.clock.wait(0.1)
    bench.unit.operator("stop")
    bench.clock.wait(3.0)
    said = [sentence for sentence in office.said if "could not be kept" in sentence]
    assert said == ["What was asked for could not be kept for a restart of services: File too large."]
    assert office.services is not None
    assert said[0] in office.services.status()["problems"]
    bench.fault.clear()
    bench.clock.wait(1.2)
    known = wishes.load(office.dir)
    assert known is not None
    assert known.stopped
    assert said[0] not in office.services.status()["problems"]
    bench.close()


# ---------------------------------------------------------------------------------------------- chargers that are wrong
def forgets(sim: Sim) -> None:
    """What the disk refuses is gone."""
    office = sim.services.office
    assert office is not None
    assert office.process is not None
    store: Store = office.process.records.store
    refused = store._refused

    def lose(error: Any, now: float | None) -> None:
        store._in_flight.clear()
        refused(error, now)

    store._refused = lose  # type: ignore[method-assign]


def lives_by_the_wall_clock(sim: Sim) -> None:
    """Guard's timers jump with the clock on the wall."""
    office, tick = sim.services.office, sim.loop.tick
    assert office is not None
    begin_s = office.wall_s() - sim.now

    def wrong(now: float, *args: Any) -> None:
        tick(office.wall_s() - begin_s, *args)

    sim.loop.tick = wrong  # type: ignore[method-assign,assignment]


def loses_wishes(sim: Sim) -> None:
    """New services do not know what was asked for before; nobody asks again."""
    office = sim.services.office
    assert office is not None
    revive = office.revive

    def forgetful() -> None:
        (office.dir / "wishes.json").unlink()
        office.manager_gone = True
        revive()

    office.revive = forgetful  # type: ignore[method-assign]


def holds_on(sim: Sim) -> None:
    """Guard believes in a lease for ever."""
    recv = sim.services.recv

    def longer() -> list[Any]:
        return [
            PowerRequest(m.source, m.power_w, m.until_s + 1e6, m.reason, m.rule)
            if isinstance(m, PowerRequest) and m.power_w < 0.0
            else m
            for m in recv()
            if not (isinstance(m, PowerRequest) and m.power_w > 0.0)
        ]

    sim.services.recv = longer  # type: ignore[method-assign]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bend"),
    [
        ("disk_full_trip", forgets),
        ("clock_jump_enter_service[forward]", lives_by_the_wall_clock),
        ("services_killed_briefly", loses_wishes),
        ("manager_lost", holds_on),
    ],
    ids=lambda x: x if isinstance(x, str) else x.__name__,
)
def test_a_wrong_charger_fails(name: str, bend: Bend) -> None:
    result = play(replace(ALL[name], health=False), bend)
    assert result.verdict is Verdict.FAIL, complaint(result) or "it passed"


@pytest.mark.slow
def test_with_real_services_one_seed_still_gives_one_recording() -> None:
    def recorded() -> str:
        taken = play(replace(ALL["clock_jump_enter_service[back]"], health=False)).capture
        assert taken is not None
        return json.dumps({**taken.to_json(), "about": {}})

    assert recorded() == recorded()
