"""Phase jumps and rates of change that must be ridden through, as instruments show them, under every profile.

Angles and rates are the profile's own (`phase_jump`, `rocof_ride_through`). Where it has none: 20 degrees in all phases
and 60 in one, as in IEEE 1547-2018 and AS/NZS 4777.2; a profile without a rate is not asked for one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.grid_codes import GridCode, GridCodeError, Quantity, load, names
from firmware.protection.grid import GridProtection
from firmware.protection.types import GridSample, GridState
from tests.measurement.signals import HARMONICS_8_PCT, Floats, Signal
from tests.protection.bench import CHAIN, at_once
from tests.protection.measured import four_cycle, two_cycle

ALL_DEG, ONE_DEG = 20.0, 60.0
AT_S = 0.5
Measure = Callable[[Signal, float, float], list[GridSample]]
MEASURES = (two_cycle, pytest.param(four_cycle, marks=pytest.mark.slow))


def every_code() -> list[GridCode]:
    found = []
    for name in names():
        try:
            found.append(at_once(load(name, nominal_v=230.0 if "jp" not in name else 101.0, allow_unverified=True)))
        except GridCodeError:  # Austria and Japan lack numbers; test_grid_code_profiles.py says which
            continue
    return found


EVERY = every_code()


def number(code: GridCode, section: str, key: str) -> float | None:
    found = code.section(section)
    return None if found is None else next((s.value for k, s in found.numbers if k == key), None)


def steepest(code: GridCode) -> float | None:
    """The highest rate (Hz/s) that the profile wants ridden through; None = it names none."""
    section = code.section("rocof_ride_through")
    rates = [s.value for k, s in section.numbers if s.unit == "Hz/s" and k != "synchronous_hz_s"] if section else []
    trip = next((t.threshold.value for t in code.trips if t.quantity is Quantity.ROCOF), math.inf)
    if not rates:
        return None
    # Where the trip begins at the very rate (Great Britain), the type test leaves a margin for measuring it.
    return max(rates) if max(rates) < trip else number(code, "rocof_ride_through", "stability_ramp_hz_s")


def states(code: GridCode, samples: list[GridSample]) -> list[GridState]:
    """In service long before; the states from then on."""
    protection = GridProtection(code, CHAIN)
    begin = samples[0].t - 5.0
    for k in range(100):
        protection.step(begin + 0.05 * k, [GridSample(begin + 0.05 * k, (1.0,) * 3, code.nominal_f_hz)], [],
                        converter_expected=False)  # fmt: skip
    assert protection.state is GridState.CONNECTED
    filled = [s for s in samples if s.f_hz == s.f_hz]
    protection._pilot.begin(filled[0].t - 0.001)
    return [protection.step(s.t, [s], [], converter_expected=False).state for s in filled]


@functools.cache
def jump(measure: Measure, f_hz: float, degrees: tuple[float, float, float], at_s: float) -> list[GridSample]:
    signal = Signal(lambda t: f_hz * t, then_angle_deg=degrees, at_s=at_s, harmonics=HARMONICS_8_PCT, noise_pu=0.002)
    return measure(signal, f_hz, 1.5)


def test_the_profiles_that_name_rates_and_angles_are_the_known_ones() -> None:
    rates = {c.name: r for c in EVERY if (r := steepest(c)) is not None}
    assert [rates[f"ieee1547_2018_cat{n}"] for n in (1, 2, 3)] == [0.5, 2.0, 3.0]
    assert (rates["uk_g98"], rates["se_alp_50549"], rates["as4777_2_2020_au_a"]) == (0.95, 2.0, 4.0)
    angles = {c.name: number(c, "phase_jump", "positive_sequence_deg") for c in EVERY}
    assert {n for n, a in angles.items() if a is not None and n.startswith(("ieee", "as"))} == {
        c.name for c in EVERY if c.name.startswith(("ieee", "as"))
    }
    assert {a for a in angles.values() if a is not None} == {ALL_DEG}


@pytest.mark.parametrize("measure", MEASURES, ids=["two_cycle", "four_cycle"])
@pytest.mark.parametrize("code", EVERY, ids=lambda c: c.name)
def test_a_phase_jump_of_the_profile_trips_nothing(code: GridCode, measure: Measure) -> None:
    named = [number(code, "phase_jump", key) for key in ("stability_deg", "positive_sequence_deg")]
    every = next((x for x in named if x is not None), ALL_DEG)
    one = number(code, "phase_jump", "single_phase_deg") or ONE_DEG
    cases = [(d, d, d) for d in (every, -every)] + [(0.0, d, 0.0) for d in (one, -one)]
    for degrees in cases:
        seen = states(code, jump(measure, code.nominal_f_hz, degrees, AT_S))
        assert GridState.TRIPPED not in seen, degrees
        # A jump may look like an excursion for a moment, and no longer than the half second that IEEE 1547 grants.
        assert sum(s is not GridState.CONNECTED for s in seen) * 0.005 < 0.5, degrees
        assert seen[-1] is GridState.CONNECTED, degrees


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(EVERY),
    st.integers(0, 2),
    st.floats(-ONE_DEG, ONE_DEG),
    st.floats(-ALL_DEG, ALL_DEG),
    st.floats(0.0, 0.02),
    st.sampled_from([0.0, 0.06, 0.1, 0.15, 0.3]),
)
def test_no_jump_up_to_the_limits_trips_anything_wherever_on_the_wave_and_there_and_back(
    code: GridCode, phase: int, one: float, every: float, point_s: float, back_s: float
) -> None:
    f0 = code.nominal_f_hz
    for degrees in ((every,) * 3, tuple(one if k == phase else 0.0 for k in range(3))):
        signal = Signal(
            lambda t: f0 * t,
            then_angle_deg=degrees,  # type: ignore[arg-type]
            at_s=AT_S + point_s,
            until_s=AT_S + point_s + back_s if back_s else math.inf,
            harmonics=HARMONICS_8_PCT,
            noise_pu=0.002,
        )
        assert GridState.TRIPPED not in states(code, two_cycle(signal, f0, 1.5))


def there_and_back(f0: float, hz_s: float, far_hz: float) -> Callable[[Floats], Floats]:
    """Cycles of a frequency that leaves f0 at AT_S with hz_s, turns at f0 + far_hz and returns as fast."""
    turn_s = AT_S + abs(far_hz / hz_s)
    until_s = turn_s + abs(far_hz / hz_s)

    def cycles(t: Floats) -> Floats:
        part = [np.maximum(t - x, 0.0) for x in (AT_S, turn_s, until_s)]
        return f0 * t + hz_s * (0.5 * part[0] ** 2 - part[1] ** 2 + 0.5 * part[2] ** 2)

    return cycles


@functools.cache
def excursion(measure: Measure, f0: float, hz_s: float, far_hz: float) -> list[GridSample]:
    length_s = AT_S + 2.0 * abs(far_hz / hz_s) + 0.5
    return measure(Signal(there_and_back(f0, hz_s, far_hz), noise_pu=0.001), f0, length_s)


@pytest.mark.parametrize("measure", MEASURES, ids=["two_cycle", "four_cycle"])
@pytest.mark.parametrize("code", [c for c in EVERY if steepest(c) is not None], ids=lambda c: c.name)
def test_a_frequency_that_moves_at_the_profiles_rate_trips_nothing_inside_of_its_limits(
    code: GridCode, measure: Measure
) -> None:
    f0, rate = code.nominal_f_hz, steepest(code)
    assert rate is not None
    limits = [t.threshold.value for t in code.trips if t.quantity is Quantity.FREQUENCY]
    for sign in (1.0, -1.0):
        nearest = min(abs(x - f0) for x in limits if (x - f0) * sign > 0.0)
        seen = states(code, excursion(measure, f0, sign * rate, sign * round(nearest - 0.1, 3)))
        assert GridState.TRIPPED not in seen
        assert seen[-1] is GridState.CONNECTED


@pytest.mark.parametrize("code", [c for c in EVERY if any(t.quantity is Quantity.ROCOF for t in c.trips)],
                         ids=lambda c: c.name)  # fmt: skip
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_measured_rate_five_percent_above_the_threshold_does_trip_in_time(code: GridCode, sign: float) -> None:
    """So that the tests above do not pass because nothing is seen at all. From far on the other side."""
    trip = next(t for t in code.trips if t.quantity is Quantity.ROCOF)
    hz_s = sign * 1.05 * trip.threshold.value

    def cycles(t: Floats) -> Floats:
        moved = np.clip(t - AT_S, 0.0, 2.8 / abs(hz_s))
        rest = np.maximum(t - AT_S - 2.8 / abs(hz_s), 0.0)
        return (50.0 - sign * 1.4) * t + 0.5 * hz_s * moved**2 + sign * 2.8 * rest

    samples = two_cycle(Signal(cycles, noise_pu=0.001), 50.0, AT_S + 2.8 / abs(hz_s))
    seen = states(code, samples)
    assert GridState.TRIPPED in seen
    filled = [s for s in samples if s.f_hz == s.f_hz]
    took = filled[seen.index(GridState.TRIPPED)].t - AT_S
    delay_s = dict(trip.numbers())["time_s"].value
    assert delay_s < took < delay_s + CHAIN.window_s(Quantity.ROCOF) + 0.02
