"""Rows about the lockstep rig: simulated seconds per second of processor time, and where that time goes.

`python -m tests.bench.lockstep` measures and writes docs/lockstep.md.

Each part's time is taken around its calls; what the clock itself costs there is measured and taken off. The total comes
from a run without any clock inside, so the parts explain it and do not make it longer. Processor time of one thread,
so a busy neighbour counts less than on the wall; how fast this machine is just now is told by the yardstick.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from hil.plant.grid_source import ProgrammableSource
from hil.sim import Sim
from tests.bench.charger import bench_board
from tests.bench.harness import Row, machine, quantile

TARGET = 50.0  # times real time, on one core
CAR = "emulated car and SECC"
TICK, REST = "guard's tick: drivers, codecs, decisions", "the loop of the rig"
DOCUMENT = Path(__file__).parents[2] / "docs" / "lockstep.md"
# part -> the calls that make it: who holds what, under which name, and what is called there. A part named inside
# another one's time stands below it, indented.
PARTS: dict[str, Callable[[Sim], tuple[object, str, tuple[str, ...]]]] = {
    "plant": lambda sim: (sim, "plant", ("advance",)),
    "emulated converter": lambda sim: (sim, "converter", ("step", "rest", "ahead", "receive")),
    "emulated pilot MCU": lambda sim: (sim, "pilot", ("step", "rest", "receive", "carry")),
    CAR: lambda sim: (sim, "car", ("step",)),
    "emulated insulation monitor": lambda sim: (sim, "imd", ("step",)),
    "what services do": lambda sim: (sim, "services", ("step",)),
    TICK: lambda sim: (sim, "loop", ("tick",)),
    "- Guard.step alone": lambda sim: (sim.loop, "guard", ("step",)),
    "- the converter's driver": lambda sim: (sim.loop, "converter", ("receive", "poll", "command")),
    "- the pilot's driver": lambda sim: (sim.loop, "pilot", ("receive", "poll", "command")),
}


class _Clocked:
    """Stands in for a part and takes the time of its calls. (A compiled part lets nobody replace its methods.)"""

    def __init__(self, part: object, calls: dict[str, Callable[..., object]]) -> None:
        self.__dict__.update(calls)
        self._part = part

    def __getattr__(self, name: str) -> object:
        return getattr(self._part, name)


def discharging(compiled: bool, device_step_s: float = 0.001, plant_step_s: float = 1e-4) -> Sim:
    """A charger at 10 kW into the grid: every side works."""
    steps = {"device_step_s": device_step_s, "plant_step_s": plant_step_s}
    sim = Sim(bench_board(), ProgrammableSource(230.0, 60.0), seed=1, compiled=compiled, **steps)
    sim.wish.power_w = -10_000.0
    sim.run(1.0)
    sim.car.plug_in()
    sim.until(lambda: sim.link.dc_v_v * sim.link.dc_i_a < -9_500.0, within_s=60.0)
    return sim


def waiting(compiled: bool) -> Sim:
    """A charger in service without a car."""
    sim = Sim(bench_board(), ProgrammableSource(230.0, 60.0), seed=1, compiled=compiled)
    sim.run(10.0)
    return sim


def speed(sim: Sim, seconds: float, pieces: int = 5) -> float:
    """Simulated seconds per second of processor time: the median of `pieces` runs of together `seconds` simulated."""
    found = []
    for _ in range(pieces):
        start = time.thread_time()
        sim.run(sim.now + seconds / pieces)
        found.append(seconds / pieces / (time.thread_time() - start))
    return quantile(found, 0.5)


def split(sim: Sim, seconds: float, pieces: int = 20) -> dict[str, float]:
    """Milliseconds of processor time per simulated second, by part, in the fastest of `pieces` of `seconds`: a busy
    neighbour empties the caches, and only ever adds."""
    spent: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    calls: dict[str, int] = dict.fromkeys(PARTS, 0)
    inside: dict[str, int] = dict.fromkeys(PARTS, 0)  # clocked calls within this part's
    clock = time.thread_time

    def clocked(part: str, call: Callable[..., object]) -> Callable[..., object]:
        def timed(*args: object) -> object:
            start = clock()
            result = call(*args)
            spent[part] += clock() - start
            calls[part] += 1
            return result

        return timed

    # From the inside out: what stands for the loop still finds the loop's own parts.
    for part, where in reversed(PARTS.items()):
        holder, name, methods = where(sim)
        owner = getattr(holder, name)
        setattr(holder, name, _Clocked(owner, {m: clocked(part, getattr(owner, m)) for m in methods}))
    seconds, total = seconds / pieces, float("inf")
    fastest = spent, calls
    for _ in range(pieces):
        spent.update(dict.fromkeys(PARTS, 0.0))
        calls.update(dict.fromkeys(PARTS, 0))
        start = clock()
        sim.run(sim.now + seconds)
        spent_s = clock() - start
        if spent_s < total:
            total, fastest = spent_s, (dict(spent), dict(calls))
    spent, calls = fastest
    # One clocked call costs its own part about one reading of the clock, and whatever is around it about two.
    reading = min(_clock_s() for _ in range(5))
    inside[TICK] = sum(count for part, count in calls.items() if part.startswith("-"))
    for part in PARTS:
        spent[part] -= reading * (calls[part] + 2 * inside[part])
    outer = [part for part in PARTS if not part.startswith("-")]
    rest = total - sum(spent[part] for part in outer) - 2.0 * reading * sum(calls.values())
    return {part: 1e3 * s / seconds for part, s in {**spent, REST: rest}.items()}


def _clock_s(count: int = 50_000) -> float:
    start = time.thread_time()
    for _ in range(count):
        time.thread_time()
    return (time.thread_time() - start) / count


def yardstick_s() -> float:
    """A million float additions in Python."""
    found = []
    for _ in range(5):
        start = time.thread_time()
        x = 0.0
        for _ in range(1_000_000):
            x += 1.5
        found.append(time.thread_time() - start)
    return quantile(found, 0.5)


def rows(seconds: float) -> list[Row]:
    """Speed in transfer, in pure Python and compiled, each with its split."""
    result = []
    additions_per_s = 1.0 / yardstick_s()
    simulated = max(5.0, seconds)
    for name, compiled in (("lockstep, pure Python", False), ("lockstep, plant compiled", True)):
        times = speed(discharging(compiled), simulated)
        parts = split(discharging(compiled), simulated)
        whole = ", ".join(f"{part.removeprefix('- ')} {ms:.1f}" for part, ms in parts.items())
        verdict = "met" if times >= TARGET else "NOT met"
        result.append(
            Row(
                name, "simulated s per s of processor time", {"speed": times}, "a million float additions per s",
                {"speed": additions_per_s}, "speed",
                note=f"Target {TARGET:g}: {verdict}. ms of processor time per simulated second: {whole}.",
            )
        )  # fmt: skip
    return result


def document(seconds: float = 20.0) -> str:
    """docs/lockstep.md."""
    pure, fast = split(discharging(False), seconds), split(discharging(True), seconds)
    table = []
    for part in (*[p for p in PARTS if not p.startswith("-")], REST):
        table.append(f"| {part} | {pure[part]:.1f} | {fast[part]:.1f} |")
        if part == TICK:
            table += [f"| {p} | {pure[p]:.1f} | {fast[p]:.1f} |" for p in PARTS if p.startswith("-")]
    outer = [p for p in pure if not p.startswith("-")]
    table.append(f"| together | {sum(pure[p] for p in outer):.1f} | {sum(fast[p] for p in outer):.1f} |")
    speeds = [
        ("10 kW into the grid, the rig's own steps (devices 1 ms, plant 100 us)", discharging),
        ("the same at the tests' steps (devices 2.5 ms, plant 200 us)", lambda c: discharging(c, 0.0025, 2e-4)),
        ("in service, no car", waiting),
    ]
    measured = [(what, speed(make(False), seconds), speed(make(True), seconds)) for what, make in speeds]
    lines = [f"| {what} | {a:.1f} | {b:.1f} |" for what, a, b in measured]
    best = measured[0][2]
    verdict = "It is met." if best >= TARGET else f"It is not met on this machine: {best:.0f}."
    found = machine()
    return TEXT.format(
        machine=f"{found['arch']}, Python {found['python']}, {found['cpus']} CPUs, load {found['load_1min']:.1f}",
        yardstick=1e3 * yardstick_s(), speeds="\n".join(lines), verdict=verdict, target=TARGET, table="\n".join(table),
        tick=fast[TICK], ceiling=1e3 / fast[TICK],
    )  # fmt: skip


TEXT = """# The rig in lockstep: how fast, and where the time goes

Generated by `python -m tests.bench.lockstep`; do not edit. `make bench ARGS=lockstep` measures the same here and now.

`hil.sim.Sim` runs the whole charger in one process on simulated time: guard at 100 Hz, drivers, codecs, emulated
devices, plant. Every frame is encoded to bytes by one side and decoded by the other; the CAN bus's bit rate,
occupation, delays, losses and buffers and the UART's bytes are modelled. One seed gives one capture, byte for byte
(`tests/sim/test_determinism.py`).

Measured on {machine}; a million float additions took {yardstick:.1f} ms there.
Simulated seconds per second of processor time, one thread:

| What | pure Python | plant compiled |
|---|---|---|
{speeds}

The target is {target:g} in the first line. {verdict}
Guard's tick alone takes {tick:.1f} ms per simulated second, so on this machine no plant and no device, however fast,
could bring the rig beyond {ceiling:.0f}.

Milliseconds of processor time per simulated second at 10 kW into the grid, in the fastest of twenty pieces:

| Part | pure Python | plant compiled |
|---|---|---|
{table}

## What makes it fast, and why it changes nothing

- **The plant compiled** (`Sim(..., compiled=True)`, extra `hil`, numba): the same formulas in the same order as the
  reference in pure Python. Bounds: equal to the last bit on x86-64 with glibc, 1e-9 of a value elsewhere; held on
  random stories of switching, grid events and set-points and on the recorded Iberian grid
  (`tests/test_plant_fast.py`). The first run on a machine compiles for some ten seconds; the result is kept.
- **Blocks in one go**: while every contactor is where its coil wants it and the source stands still, all blocks up to
  the next event run in one call.
- **Steps are left out**: the emulated converter and pilot know when something of their own is due, and give ranges of
  the link's fields for which that holds (`hil/plant/watch.py`). The loop goes from one step of the devices to the next
  in which one of them has something to do, some four in a tick instead of ten; the compiled plant looks at the ranges
  after each of its blocks and stops where one is left, and the device's step of that moment is done. Ramps of the
  module's power stage are told to the plant ahead, step by step. What was only under way on a wire in the steps
  between arrives with the times that it would have had. So no delay changes: a rig whose devices look at everything
  at every step gives the same bytes, with random faults on wires, grid, car and guard
  (`tests/sim/test_lockstep.py`). The plant in pure Python does not look ahead; there every step is looked at.
- **Whoever bends something** (a fault, a switch, an attribute of a device) does so between two calls of `run` or in
  `on_event`; the devices look at everything in their next step then. `stop`, `on_frames` and `on_sample` only look.
- **Noise in pairs**: two draws of a normal distribution at the price of one, the same numbers as the standard
  library's (`hil/devices/noise.py`).
- **A held profile stands still**: while a source plays a hold, nothing moves until its next point, so the plant runs in
  one go then too. Trip and ride-through cases are holds for nearly all of their time (`Compiled.rests`, by property in
  `tests/bench_roles/test_profile.py`).
- **Samples in the loop**: who records is called by the simulation when a sample is due; whether and how often somebody
  records changes nothing in the charger (`tests/bench_roles/test_bench.py`).
- **Frames by shifts and masks**: pilot and SECC frames are coded by tables that are made from the DBC at start
  (`hal/dbc.py`), which says what cantools says (`tests/test_dbc.py`).

Reading `sim.plant.ac`, `.dc` or an instrument brings the compiled plant's state home and costs some 50 us; a scenario
that only needs what an instrument on the terminals shows reads `sim.link`.
"""


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
