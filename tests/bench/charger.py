"""Rows about the whole charger in lockstep: what a guard tick costs, and how long from a fault to the off frame.

Detection-to-command: a bolted sag (0.2 pu) enters the plant at a random instant; IEEE 1547-2018 Category III demands
momentary cessation below 0.5 pu, so the off frame may leave as soon as the sag is measured, without a deliberate
delay. Time counts in the plant, from the instant of the fault to the last bit of the off frame on the 125 kbit/s bus:
half-cycle RMS window, MCU report, UART, wait for the tick, one frame that may occupy the bus, the frame itself. It is
simulated time: the machine's own scheduling is the row `wakeup`.
"""

from __future__ import annotations

import dataclasses
import random
import time

import boards
from hal.ports import CanFrame
from hil.bench.sim import COMPILED
from hil.plant.grid_source import ProgrammableSource
from hil.sim import Sim
from tests.bench.harness import Row, latency

EVENTS = 1000
FRAME_S = 160 / 125_000  # an extended frame of 8 bytes with the most stuff bits (docs/drivers/infy_beg.md)
OFF = (bytes.fromhex("1110"), 0xA1)  # write selector 1110, byte 7: off


def bench_board() -> boards.Board:
    """The desk under IEEE 1547-2018 Category III at 230 V, 60 Hz, entering service at once."""
    desk = boards.load("desk", "unused")
    adjust = {"enter_service.delay_s": 0.0, "enter_service.ramp_duration_s": 1.0}
    grid = dataclasses.replace(desk.grid, code="ieee1547_2018_cat3", adjust=adjust)
    return dataclasses.replace(desk, grid=grid)


def discharging(seed: int = 1, power_w: float = -10_000.0) -> Sim:
    """A simulated charger in full discharge."""
    sim = Sim(bench_board(), ProgrammableSource(230.0, 60.0), seed=seed, compiled=COMPILED)
    sim.wish.power_w = power_w
    sim.run(1.0)
    sim.car.plug_in()
    sim.until(lambda: sim.link.dc_v_v * sim.link.dc_i_a < 0.95 * power_w, within_s=60.0)
    return sim


def tick_rows(seconds: float) -> list[Row]:
    """Cost of `Guard.step` and of the loop's whole tick (drivers, codecs, step, snapshot), on real sessions' data."""
    sim = discharging()
    step, tick = sim.guard.step, sim.loop.tick
    steps: list[float] = []
    ticks: list[float] = []

    def timed_step(*args, **kwargs):  # type: ignore[no-untyped-def]
        start = time.perf_counter()
        result = step(*args, **kwargs)
        steps.append(time.perf_counter() - start)
        return result

    def timed_tick(*args, **kwargs):  # type: ignore[no-untyped-def]
        start = time.perf_counter()
        tick(*args, **kwargs)
        ticks.append(time.perf_counter() - start)

    sim.guard.step = timed_step  # type: ignore[method-assign]
    sim.loop.tick = timed_tick  # type: ignore[method-assign]
    sim.run(sim.now + min(60.0, 2.0 * seconds))
    yardstick = {name: value / 10.0 for name, value in _yardstick(len(steps)).items()}
    return [
        Row("Guard.step", "us", latency(steps), "1000 float additions in Python", yardstick, "p50"),
        Row("whole tick (drivers, step, snapshots)", "us", latency(ticks), "1000 float additions in Python", yardstick,
            "p50", note="The period is 10 000 us."),
    ]  # fmt: skip


def _yardstick(count: int) -> dict[str, float]:
    samples = []
    for _ in range(count):
        start = time.perf_counter()
        x = 0.0
        for _ in range(10_000):
            x += 1.5
        samples.append(time.perf_counter() - start)
    return latency(samples)


def detection_rows(seconds: float) -> list[Row]:
    """Fault in the plant -> off frame on the bus, over EVENTS sags at random instants (fewer for a short bench)."""
    events = EVENTS if seconds >= 20.0 else max(20, int(EVENTS * seconds / 20.0))
    rng = random.Random(7)
    sim = discharging()
    off_at: list[float] = []

    def watch(now: float, frames: list[CanFrame]) -> None:
        # Frames of a tick leave one after the other; a poll or its answer may be on the bus already.
        for place, frame in enumerate(frames):
            if (frame.data[:2], frame.data[7]) == OFF:
                off_at.append(now + (2 + place) * FRAME_S)

    sim.on_frames = watch
    samples = []
    for _ in range(events):
        sim.run(sim.now + rng.uniform(0.05, 0.15))
        off_at.clear()
        fault_s = sim.now
        assert isinstance(sim.source, ProgrammableSource)
        sim.source.sag(0.2, 0.12)
        sim.run(sim.now + 0.12)
        samples.append((off_at[0] if off_at else float("inf")) - fault_s)
        sim.until(lambda: sim.link.dc_i_a < -15.0, within_s=5.0)
    board = bench_board()
    window_ms = 1000.0 * board.guard.measure_window_s
    bound_ms = window_ms + 2000.0 / board.guard.rate_hz
    figures = latency(samples, 1e3)
    verdict = "met" if figures["p99"] <= bound_ms else "NOT met"
    return [
        Row(
            "fault in the plant -> off frame on the bus",
            "ms of simulated time",
            figures,
            "measuring window + 2 ticks",
            {"p99": bound_ms},
            ratio_of="p99",
            note=f"Bolted sag to 0.2 pu, {events} events: p99 no more than window + 2 ticks: {verdict}.",
        )
    ]
