"""The same seed plays the same story, byte for byte; and a copied rig goes on exactly as its original."""

from __future__ import annotations

from typing import Any

from firmware.guard.messages import EventMessage
from hil.sim import Sim
from tests.sim.rig import Tap, ask, build, duplicate, idle, transfer


def play(sim: Sim) -> None:
    """A few seconds with a bit of everything in them."""
    ask(sim, -8_000.0)
    sim.run(sim.now + 1.5)
    sim.source.sag(0.3, 0.2)
    sim.pilot.handle({"corrupt_next": 5})
    sim.converter.handle({"drop_share": 0.1})
    sim.run(sim.now + 1.5)
    sim.source.jump(15.0)
    sim.car.request_stop()
    sim.run(sim.now + 2.0)


def story(sim: Sim) -> tuple[list[tuple[float, int, bytes, bool]], list[EventMessage], dict[str, Any]]:
    """Every frame with its time, every event, and the plant at the end."""
    assert isinstance(sim.can, Tap)
    return [(t, f.id, f.data, ours) for t, f, ours in sim.can.log], list(sim.services.events), sim.link.as_dict()


def test_two_runs_with_one_seed_give_the_same_events_and_the_same_bytes() -> None:
    stories = []
    for _ in range(2):
        sim = build(seed=7)
        sim.car.plug_in()
        sim.run(7.0)
        play(sim)
        stories.append(story(sim))
    frames, events, plant = stories[0]
    assert len(frames) > 1000
    assert len(events) > 5
    assert (frames, events, plant) == stories[1]


def test_another_seed_gives_other_delays() -> None:
    logs = []
    for seed in (7, 8):
        sim = build(seed=seed)
        sim.run(5.0)
        logs.append(story(sim)[0])
    assert logs[0] != logs[1]


def test_a_copied_rig_goes_on_as_its_original_and_neither_disturbs_the_other() -> None:
    original = transfer(5_000.0)
    copied, untouched = duplicate(original), duplicate(original)
    before = story(untouched)
    play(original)
    assert story(untouched) == before
    play(copied)
    assert story(copied) == story(original)


def test_how_time_is_cut_into_calls_of_run_makes_no_difference() -> None:
    whole, pieces = idle(), idle()
    for sim in (whole, pieces):
        ask(sim, 4_000.0)
        sim.car.plug_in()
    whole.run(whole.now + 6.0)
    end = pieces.now + 6.0
    while pieces.now < end - 1e-9:
        pieces.run(min(end, pieces.now + 0.0137))
    assert story(pieces) == story(whole)
