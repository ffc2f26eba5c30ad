"""One sample is no frequency: the window in which a fault begins shows one that the grid never had."""

from __future__ import annotations

import pytest

from firmware.protection.types import GridSample, GridState
from tests.protection.bench import IEEE, Bench

NEAR_ZERO = (0.02, 0.02, 0.02)


def collapse(wild_hz: float) -> Bench:
    """In service; all phases fall to 2 %. The converter, heard every 60 ms on a busy bus, was just measuring:
    half of its window is before, half is in the fault."""
    bench = Bench(IEEE, expected=True).enter()
    base, until = bench.ms, bench.ms + 1000
    while bench.ms < until:
        bench.ms += 10
        fallen = bench.ms - base >= 20
        volts = NEAR_ZERO if fallen else (1.0, 1.0, 1.0)
        pilot = [GridSample((bench.ms - back) / 1000.0, volts, 60.0) for back in (5, 0)]
        converter = []
        if (bench.ms - base) % 60 == 20:
            wild = bench.ms - base == 20
            converter = [GridSample(bench.now, (0.51,) * 3 if wild else volts, wild_hz if wild else 60.0)]
        bench.give(pilot, converter)
    return bench


@pytest.mark.parametrize("wild_hz", [62.5, 55.0])
def test_a_fault_to_almost_nothing_is_ridden_through_whatever_one_sample_says_of_the_frequency(wild_hz: float) -> None:
    bench = collapse(wild_hz)
    assert bench.status is not None
    assert bench.status.last_trip is None
    assert bench.status.state is GridState.CEASED


def test_two_samples_in_a_row_are_a_frequency_and_the_converter_alone_still_trips() -> None:
    bench = Bench(IEEE, expected=True).enter()
    base = bench.ms
    good = (1.0, 1.0, 1.0)
    while bench.ms < base + 300:
        bench.ms += 10
        pilot = [GridSample((bench.ms - back) / 1000.0, good, 60.0) for back in (5, 0)]
        converter = [GridSample(bench.now, good, 62.5)] if (bench.ms - base) % 60 == 20 else []
        if bench.give(pilot, converter).state is GridState.TRIPPED:
            break
    assert bench.status is not None
    assert bench.status.last_trip is not None
    assert bench.status.last_trip.element == "OF2"
    assert bench.ms - base == 80  # at the second sample, 60 ms after the first
