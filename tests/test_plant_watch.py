"""What lets the rig leave steps out: ranges of the link's fields, moments that are due; noise in pairs."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.bench.sim import COMPILED
from hil.devices.beg_module import SAMPLE_S, _first_after
from hil.devices.noise import two
from hil.plant.grid_source import ProgrammableSource
from hil.plant.link import INDEX, PlantLink
from hil.plant.plant import Plant
from hil.plant.watch import Watch, inside, join

NAMES = ("k_grid", "dc_v_v", "estop")
numbers = st.floats(-1e3, 1e3) | st.sampled_from((math.nan, math.inf, -math.inf, 0.0))
ends = st.tuples(*[numbers] * 6)


@given(ends, ends, st.tuples(*[numbers] * 3))
def test_the_joined_array_holds_when_every_watch_does(one: tuple[float, ...], other: tuple[float, ...], x) -> None:  # type: ignore[no-untyped-def]
    values = [0.0] * len(INDEX)
    for name, value in zip(NAMES, x, strict=True):
        values[INDEX[name]] = value
    a, b = Watch(NAMES), Watch(NAMES)
    a.keep(one)  # before it is joined, and after
    ranges = join(a, b)
    b.keep(other)
    assert inside(values, ranges) == (a.holds(values) and b.holds(values))
    assert a.holds(values) == all(one[2 * k] <= x[k] <= one[2 * k + 1] for k in range(3))


def test_a_watch_that_was_not_set_holds_for_every_number() -> None:
    assert Watch(NAMES).holds([1e300] * len(INDEX))


@given(st.floats(0.0, 1e6))
def test_a_sample_is_due_at_the_first_number_that_is_far_enough_from_the_last(start: float) -> None:
    due = _first_after(start, SAMPLE_S)
    assert due - start >= SAMPLE_S > math.nextafter(due, -math.inf) - start


@given(st.integers(0, 2**32), st.lists(st.booleans(), max_size=20))
def test_noise_in_pairs_is_the_noise_of_the_standard_library(seed: int, pairs: list[bool]) -> None:
    one, other = random.Random(seed), random.Random(seed)
    for pair in pairs:
        if pair:
            assert two(one) == (other.gauss(0.0, 1.0), other.gauss(0.0, 1.0))
        else:
            assert one.gauss(0.0, 1.0) == other.gauss(0.0, 1.0)
    assert one.getstate() == other.getstate()


@pytest.mark.skipif(not COMPILED, reason="numba is not installed")
@pytest.mark.parametrize(("name", "low"), [("pcc_va_v", 200.0), ("k_grid", 1.0), ("pcc_f_hz", 49.9)])
def test_the_compiled_plant_stops_after_the_block_in_which_a_range_is_left(name: str, low: float) -> None:
    from hil.plant.fast import FastPlant

    found = []
    for kind in (Plant, FastPlant):
        link, source = PlantLink(), ProgrammableSource(230.0, 50.0)
        plant, watch = kind(link, source, rng=random.Random(1)), Watch((name,))
        plant.ranges = join(watch)
        link.coil_grid = 1.0
        plant.advance(0.2)
        watch.keep((low, math.inf))
        source.sag(0.5, 0.1)
        source.ramp(0.05, f_hz=49.0)
        link.coil_grid = 0.0
        if plant.looks_ahead:
            assert plant.advance(0.3, True)
        else:
            while not plant.advance(plant.t_s + plant.block_s, True):
                pass
        found.append((plant.t_s, tuple(link.values)))
    (stopped_s, shown), (other_s, other) = found
    assert 0.2 < stopped_s == other_s < 0.3
    assert shown == pytest.approx(other)
