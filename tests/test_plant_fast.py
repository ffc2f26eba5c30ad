"""The compiled plant is the reference plant: stories of random switching, grid events and set-points, and a rig."""

from __future__ import annotations

import platform
import random

import pytest

from hil.bench.roles import GridPoint
from hil.bench.sim import SimBench, SimSpec
from hil.plant.fast import FastPlant
from hil.plant.grid_source import ProgrammableSource, toledo
from hil.plant.link import FIELDS, PlantLink
from hil.plant.plant import Plant, PlantParams
from hil.sim import Sim
from tests.bench.charger import bench_board
from tests.sim.rig import duplicate

# Where CPython and the compiled code call the same mathematical library they agree to the last bit.
EXACT = platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"
SHARE = 1e-9  # elsewhere: of a value, or of the unit for small ones
SWITCHES = ("coil_grid", "coil_dc", "coil_precharge", "ev_plugged", "ev_contactor", "converter_enable", "conv_on")


def story(plant: Plant, seed: int, looks: bool) -> list[tuple[float, ...]]:
    """What the link shows after each of 300 random events. looks: somebody reads the plant's objects in between."""
    rng, link, source = random.Random(seed), plant.link, plant.source
    assert isinstance(source, ProgrammableSource)
    for name in SWITCHES:
        setattr(link, name, 1.0)
    shown: list[tuple[float, ...]] = []
    t = 0.0
    for _ in range(300):
        t += rng.choice((0.0005, 0.001, 0.004, 0.013, 0.02))
        kind = rng.random()
        if kind < 0.25:
            setattr(link, rng.choice(SWITCHES), 0.0 if rng.random() < 0.2 else 1.0)
        elif kind < 0.4:
            link.conv_dir, link.conv_i_a = rng.choice((1.0, -1.0)), rng.uniform(0.0, 80.0)
            link.conv_v_v, link.conv_cutoff_v = rng.uniform(300.0, 450.0), rng.uniform(200.0, 350.0)
            link.conv_tan_phi = rng.choice((0.0, 0.3, -0.6))
        elif kind < 0.47:
            source.sag(rng.uniform(0.0, 1.2), rng.uniform(0.001, 0.05), rng.choice(("a", "bc", "abc")))
        elif kind < 0.51:
            source.jump(rng.uniform(-60.0, 60.0))
        elif kind < 0.54:
            link.grid_switch_open = rng.choice((0.0, 1.0))
        elif kind < 0.58:
            link.leak_ohm, link.weld_dc = rng.choice((0.0, 1e5)), rng.choice((0.0, 1.0))
        elif kind < 0.62 and looks:
            ac, dc = plant.ac, plant.dc
            shown.append((abs(ac.v), ac.link_j, dc.v1_v, dc.battery.soc, plant.temperature_c, plant.ac_in_j))
        elif kind < 0.64:
            plant.dc.battery.soc = rng.uniform(0.1, 0.9)
        plant.advance(t)
        shown.append(tuple(link.values))
        v, i = plant.envelope()  # brings nothing home
        shown.append((v.real, v.imag, i.real, i.imag))
    return shown


def same(one: list[tuple[float, ...]], other: list[tuple[float, ...]]) -> None:
    if EXACT:
        assert one == other
    else:
        for a, b in zip(one, other, strict=True):
            assert a == pytest.approx(b, rel=SHARE, abs=SHARE, nan_ok=True)


@pytest.mark.parametrize("seed", range(6))
def test_every_story_ends_as_the_reference_tells_it(seed: int) -> None:
    params = PlantParams(
        dt_s=(100e-6, 50e-6, 200e-6)[seed % 3], fast_idle=seed % 2 == 0, contactor_bounce_s=(0.0, 0.007)[seed // 2 % 2]
    )
    told = []
    for kind in (Plant, FastPlant):
        plant = kind(PlantLink(), ProgrammableSource(230.0, 50.0), params, random.Random(seed))
        told.append(story(plant, seed, looks=seed >= 3))
    assert max(abs(x[FIELDS.index("dc_i_a")]) for x in told[0] if len(x) == len(FIELDS)) > 5.0  # it did run
    same(*told)


def test_a_recording_moves_the_compiled_plant_as_it_moves_the_reference() -> None:
    shown = []
    for kind in (Plant, FastPlant):
        link = PlantLink()
        plant = kind(link, toledo(start_s=1195.0), rng=random.Random(1))
        link.coil_grid = 1.0
        shown.append([])
        for ms in range(1, 800):
            plant.advance(0.01 * ms)
            shown[-1].append(tuple(link.values))
    same(*shown)


def rig(compiled: bool) -> Sim:
    return Sim(bench_board(), ProgrammableSource(230.0, 60.0), seed=3, compiled=compiled)


def test_a_copy_of_a_running_rig_goes_on_as_its_original() -> None:
    sim = rig(compiled=True)
    sim.run(4.0)
    twin = duplicate(sim)
    for one in (sim, twin):
        one.source.sag(0.5, 0.1)
        one.run(5.0)
    assert sim.link.as_dict() == twin.link.as_dict()
    twin.run(6.0)
    assert sim.link.t_s < 5.001  # each on its own link


@pytest.mark.slow
def test_a_whole_charger_on_the_compiled_plant_says_the_same_bytes() -> None:
    said: list[list[object]] = []
    for compiled in (False, True):
        sim = rig(compiled)
        frames: list[object] = []
        sim.on_frames = lambda now, sent, log=frames: log.append((now, list(sent)))  # type: ignore[misc]
        sim.wish.power_w = -10_000.0
        sim.run(1.0)
        sim.car.plug_in()
        sim.run(20.0)
        sim.source.sag(0.3, 0.2)
        sim.run(24.0)
        said.append([frames, sim.services.events, sim.link.as_dict() if EXACT else None])
    assert len(said[0][0]) > 500  # type: ignore[arg-type]
    assert said[0] == said[1]


def test_a_played_scenario_leaves_the_same_capture() -> None:
    """The bench's own source stands still between profiles; its voltage, frequency and angle must not be missed."""
    captures = []
    for compiled in (False, True):
        bench = SimBench(SimSpec(compiled=compiled))
        bench.recorder.start(1000.0)
        bench.clock.wait(0.2)
        bench.sim.source.steady = GridPoint((200.0, 230.0, 225.0), 60.4)  # type: ignore[attr-defined]
        bench.clock.wait(0.1)
        bench.sim.source.turned_deg = 25.0  # type: ignore[attr-defined]
        bench.clock.wait(0.2)
        captures.append(repr(bench.recorder.stop()))
    assert len(captures[0]) > 10_000
    if EXACT:
        assert captures[0] == captures[1]
