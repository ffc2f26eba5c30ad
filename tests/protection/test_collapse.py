"""The collapse of the Iberian grid on 28 April 2025 as recorded near Toledo, under the German code.

Rows of the analyser (V phase to neutral on a 46 kV busbar, Hz), 2 s apart: LEMUR, Universidad de Oviedo, MIT licence.
"""

from __future__ import annotations

import itertools

from firmware.protection.types import GridSample, GridState
from tests.protection.bench import ON, VDE, Bench

NOMINAL_V = 26558.0  # 46 kV / sqrt 3
ROWS = [
    (14, (28497.389, 28604.967, 28496.344), 49.950),
    (16, (28709.445, 28818.625, 28691.455), 49.942),
    (18, (29077.078, 29125.900, 28990.225), 49.902),
    (20, (28771.088, 28885.328, 28813.234), 48.556),
    (22, (25872.705, 25624.500, 25750.898), 47.476),
    (24, (516.423, 553.244, 524.681), 47.408),
    (26, (62.402, 63.257, 61.579), 47.291),
    (28, (31.614, 23.103, 33.545), 47.245),
    (30, (31.911, 23.577, 37.526), 47.173),
]


def grid(t_ms: int) -> tuple[tuple[float, float, float], float]:
    """Linear between the rows, t_ms after 12:33:00; as in the first row before, as in the last one after."""
    s = min(max(t_ms / 1000.0, ROWS[0][0]), ROWS[-1][0])
    for (t0, v0, f0), (t1, v1, f1) in itertools.pairwise(ROWS):
        if t0 <= s <= t1:
            k = (s - t0) / (t1 - t0)
            a, b, c = ((x + k * (y - x)) / NOMINAL_V for x, y in zip(v0, v1, strict=True))
            return (a, b, c), f0 + k * (f1 - f0)
    raise AssertionError(t_ms)


def test_the_collapse_trips_on_under_frequency_first_and_nothing_reconnects_on_what_is_left() -> None:
    bench = Bench(VDE)
    base = bench.ms + 61_000  # enough to enter service before 12:33:14

    def tick() -> GridState:
        """One step of 10 ms with two samples, 5 ms apart."""
        bench.ms += 10
        times = (bench.ms - 5, bench.ms)
        return bench.give([GridSample(ms / 1000.0, *grid(ms - base + 14_000)) for ms in times], []).state

    def clock_s() -> float:
        return (bench.ms - base + 14_000) / 1000.0

    while clock_s() < 14.0:
        tick()
    assert bench.status is not None
    assert bench.status.state is GridState.CONNECTED
    bench.notices.clear()
    while tick() in ON:
        assert clock_s() < 30.0
    trip = bench.status.last_trip
    assert trip is not None
    assert (trip.element, trip.threshold, trip.unit) == ("UF1", 47.5, "Hz")
    assert 47.47 < trip.value < 47.5
    # 47.5 Hz is crossed at 20 + 2 * (48.556 - 47.5) / (48.556 - 47.476) = 21.9556 s.
    assert 22.055 <= clock_s() <= 22.071
    assert bench.codes() == ["grid_ride_through", "grid_trip"]
    bench.notices.clear()
    while clock_s() < 330.0:
        assert tick() is GridState.TRIPPED
    assert bench.status.reason.endswith("Will not connect: L1 0.001 pu is outside 0.85..1.10 pu.")
    assert bench.codes() == []
