"""The meter for samples: any cut of the stream, any frequency in range, any point on the wave, and bad input."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware.measurement.record import Measured, Quality
from firmware.measurement.waveform import WaveformMeter
from tests.measurement.signals import HARMONICS_8_PCT, Floats, Signal, constant, ramp, step

FS_HZ = 3200.0
ROOT3 = math.sqrt(3.0)
frequencies = st.floats(45.0, 66.0)
rates = st.sampled_from([3200.0, 4000.0, 6400.0, 10_000.0, 12_800.0, 20_000.0])


def meter(fs_hz: float = FS_HZ, nominal_hz: float = 50.0, **more: float) -> WaveformMeter:
    return WaveformMeter(fs_hz, nominal_hz, 230.0, **more)


def settled(records: list[Measured]) -> list[Measured]:
    found = [record for record in records if record.quality is Quality.GOOD]
    assert found
    return found


# --------------------------------------------------------------------------------------------------- cuts of the stream
STREAM = replace(
    Signal(step(49.3, 50.4, 0.13), harmonics=HARMONICS_8_PCT, noise_pu=0.01, at_s=0.2),
    then_amplitude=(0.3, 1.0, 1.0),
    then_angle_deg=(40.0, 0.0, 0.0),
).samples(FS_HZ, 0.4)  # fmt: skip
CURRENT = 0.04 * np.roll(STREAM, 5, axis=0)


@settings(max_examples=8, deadline=None)
@given(
    cuts=st.lists(st.integers(0, len(STREAM)), max_size=40),
    update_s=st.sampled_from([None, 0.001, 0.0137, 0.25]),
    currents=st.booleans(),
)
@example(cuts=list(range(len(STREAM))), update_s=None, currents=True)  # sample by sample
@example(cuts=[0, 0, 1, 1, len(STREAM)], update_s=None, currents=False)  # empty blocks
def test_the_cut_of_the_stream_into_blocks_changes_no_bit(
    cuts: list[int], update_s: float | None, currents: bool
) -> None:
    whole = WaveformMeter(FS_HZ, 50.0, 230.0, update_s=update_s)
    parts = WaveformMeter(FS_HZ, 50.0, 230.0, update_s=update_s)
    expected = whole.feed(STREAM, CURRENT if currents else None)
    found: list[Measured] = []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in itertools.pairwise(edges):
        found += parts.feed(STREAM[start:end], CURRENT[start:end] if currents else None)
    assert repr(found) == repr(expected)  # repr: nan equals nan, and every bit of a float shows
    assert expected


def test_the_caller_may_use_its_buffer_again() -> None:
    signal = Signal(constant(50.0)).samples(FS_HZ, 0.3)
    expected = meter().feed(signal)
    reused, found, buffer = meter(), [], np.empty((32, 3))
    for start in range(0, len(signal), 32):
        buffer[:] = signal[start : start + 32]
        found += reused.feed(buffer)
        buffer[:] = 1e6
    assert repr(found) == repr(expected)


# ------------------------------------------------------------------------------------------------ steady, any frequency
@settings(max_examples=60, deadline=None)
@given(frequencies, rates, st.sampled_from([50.0, 60.0]), st.floats(-180.0, 180.0), st.floats(0.1, 1.3))
@example(45.0, 3200.0, 60.0, 0.0, 1.0)
@example(66.0, 3200.0, 50.0, 0.0, 1.0)
@example(50.0, 20_000.0, 50.0, 90.0, 1.0)
def test_nothing_ripples_at_any_frequency(
    f_hz: float, fs_hz: float, nominal_hz: float, angle: float, size: float
) -> None:
    signal = Signal(constant(f_hz), amplitude=(size,) * 3, angle_deg=(angle,) * 3)
    v = size * 230.0
    for record in settled(meter(fs_hz, nominal_hz).feed(signal.samples(fs_hz, 0.3))):
        assert record.f_hz == pytest.approx(f_hz, abs=1e-4)
        assert record.v_cycle_v == pytest.approx((v, v, v), rel=2e-4)
        assert record.v_half_v == pytest.approx((v, v, v), rel=2e-4)
        assert record.v_pp_v == pytest.approx((v * ROOT3,) * 3, rel=2e-4)
        assert record.dc_v == pytest.approx((0.0, 0.0, 0.0), abs=0.05)
        assert record.seq_v is not None
        assert record.seq_v == pytest.approx((v, 0.0, 0.0), rel=1e-3, abs=0.05)
        assert record.jump_deg == 0.0


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.floats(0.0, 1.2)] * 3),
    st.tuples(*[st.floats(-30.0, 30.0)] * 3),
    frequencies,
)
def test_symmetrical_components_are_those_of_the_phasors(
    size: tuple[float, float, float], angle: tuple[float, float, float], f_hz: float
) -> None:
    signal = Signal(constant(f_hz), amplitude=size, angle_deg=angle, dc_pu=(0.01, 0.0, -0.01))
    a = np.exp(2j * np.pi / 3.0)
    phasor = [
        230.0 * s * np.exp(1j * math.radians(d)) * a**-k for k, (s, d) in enumerate(zip(size, angle, strict=True))
    ]
    expected = [abs(phasor[0] + a**k * phasor[1] + a ** (2 * k) * phasor[2]) / 3.0 for k in (1, 2, 0)]
    record = meter(10_000.0).feed(signal.samples(10_000.0, 0.25))[-1]
    if math.isnan(record.f_hz):  # next to nothing is left of it: then the windows follow the nominal frequency
        assert max(expected[:2]) < 0.12 * 230.0
        return
    assert record.seq_v == pytest.approx(tuple(expected), abs=0.5)


@settings(max_examples=40, deadline=None)
@given(st.floats(-180.0, 180.0), st.floats(0.0, 32.0), frequencies)
def test_power_has_the_sign_of_a_load(phi_deg: float, i_a: float, f_hz: float) -> None:
    v = Signal(constant(f_hz)).samples(FS_HZ, 0.3)
    lagging = Signal(constant(f_hz), nominal_v=i_a, angle_deg=(-phi_deg,) * 3).samples(FS_HZ, 0.3)
    record = settled(meter().feed(v, lagging))[-1]
    s_va = 230.0 * i_a
    phi = math.radians(phi_deg)
    assert record.p_w == pytest.approx((s_va * math.cos(phi),) * 3, abs=1e-3 * s_va + 1e-6)
    assert record.q_var == pytest.approx((s_va * math.sin(phi),) * 3, abs=1e-3 * s_va + 1e-6)
    assert record.s_va == pytest.approx((s_va,) * 3, rel=1e-3, abs=1e-6)


def test_one_phase_alone_still_gives_the_frequency_whichever_it_is() -> None:
    for amplitude in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0), (0.0, 1.0, 1.0)):
        signal = Signal(constant(49.2), amplitude=amplitude)
        assert settled(meter().feed(signal.samples(FS_HZ, 0.3)))[-1].f_hz == pytest.approx(49.2, abs=1e-4)


def test_swapped_phases_change_neither_the_frequency_nor_the_sign_of_a_jump() -> None:
    signal = Signal(constant(51.2), at_s=0.15, then_angle_deg=(20.0,) * 3).samples(FS_HZ, 0.19)
    right, swapped = meter().feed(signal)[-1], meter().feed(signal[:, [0, 2, 1]])[-1]
    assert swapped.f_hz == pytest.approx(right.f_hz, abs=1e-6)
    assert swapped.jump_deg == pytest.approx(right.jump_deg, abs=1e-6)
    assert right.seq_v is not None
    assert swapped.seq_v is not None
    assert swapped.seq_v.negative_v == pytest.approx(right.seq_v.positive_v)


# ----------------------------------------------------------------------------------------------------- steps and jumps
@settings(max_examples=40, deadline=None)
@given(st.floats(5.0, 60.0), st.sampled_from([-1.0, 1.0]), st.floats(0.1, 0.12), frequencies)
def test_a_jump_is_reported_with_its_size_and_is_no_change_of_frequency(
    size: float, sign: float, at_s: float, f_hz: float
) -> None:
    signal = Signal(constant(f_hz), at_s=at_s, then_angle_deg=(sign * size,) * 3, noise_pu=0.002)
    records = meter(10_000.0).feed(signal.samples(10_000.0, at_s + 0.12))
    inside = [r for r in records if at_s + 1.0 / f_hz < r.t_s < at_s + 0.06]
    assert len(inside) >= 3
    for record in inside:
        assert record.jump_deg == pytest.approx(sign * size, abs=0.3 + 0.05 * size)
        assert record.f_hz == pytest.approx(f_hz, abs=0.05 + 0.002 * size)  # a plain slope: 1.4 Hz at 20 degrees
        assert record.quality is Quality.JUMP
    assert records[-1].jump_deg == 0.0  # it has left the window
    assert records[-1].quality is Quality.GOOD


@settings(max_examples=25, deadline=None)
@given(st.floats(5.0, 30.0), st.sampled_from([-1.0, 1.0]), st.floats(0.02, 0.1), st.floats(0.3, 1.0), frequencies)
def test_a_fault_that_clears_leaves_the_frequency_alone(
    size: float, sign: float, lasts_s: float, amplitude: float, f_hz: float
) -> None:
    """Jump there and back, all phases, with or without a sag. One jump taken out alone would leave 2 Hz for 50 ms."""
    signal = Signal(
        constant(f_hz), at_s=0.1, until_s=0.1 + lasts_s, then_angle_deg=(sign * size,) * 3, noise_pu=0.002,
        then_amplitude=(amplitude,) * 3,
    )  # fmt: skip
    records = meter(6400.0, update_s=0.002).feed(signal.samples(6400.0, 0.2 + lasts_s))
    errors = [abs(r.f_hz - f_hz) for r in records if not math.isnan(r.f_hz)]
    assert max(errors) < 1.2
    assert sum(error > 0.25 for error in errors) <= 6  # records of 2 ms
    assert errors[-1] < 0.01


@settings(max_examples=40, deadline=None)
@given(st.floats(-10.0, 10.0), st.floats(-3.0, 3.0), st.floats(47.0, 53.0))
def test_a_change_of_frequency_is_never_taken_for_a_jump(hz_s: float, by_hz: float, f_hz: float) -> None:
    for cycles in (ramp(f_hz, hz_s, 0.11), step(f_hz, f_hz + by_hz, 0.11)):
        signal = Signal(cycles, noise_pu=0.002, harmonics=HARMONICS_8_PCT)
        for record in meter(6400.0).feed(signal.samples(6400.0, 0.3)):
            assert not record.quality & Quality.JUMP
            assert not abs(record.jump_deg) > 0.0


def test_all_phases_lost_is_no_frequency_and_four_cycles_after_their_return_it_is_back() -> None:
    dead = Signal(constant(50.0), at_s=0.2, then_amplitude=(0.0,) * 3, noise_pu=0.002).samples(FS_HZ, 0.5)
    back = Signal(constant(50.0), noise_pu=0.002).samples(FS_HZ, 0.2)
    records = meter().feed(np.concatenate((dead, back)))
    lost = [r for r in records if 0.22 < r.t_s < 0.5]
    assert all(math.isnan(r.f_hz) and math.isnan(r.rocof_hz_s) and math.isnan(r.jump_deg) for r in lost)
    assert all(r.quality is Quality.NO_FREQUENCY for r in lost)
    assert max(max(r.v_cycle_v) for r in lost[1:]) < 0.01 * 230.0
    first = next(r for r in records if r.t_s > 0.5 and not math.isnan(r.f_hz))
    assert first.t_s <= 0.5 + 0.08 + 0.011
    assert first.f_hz == pytest.approx(50.0, abs=0.2)
    assert records[-1].f_hz == pytest.approx(50.0, abs=0.01)


def test_beyond_the_measurable_range_there_is_no_frequency() -> None:
    for f_hz in (36.0, 76.0):
        records = meter().feed(Signal(constant(f_hz)).samples(FS_HZ, 0.3))
        assert all(math.isnan(record.f_hz) for record in records)


@pytest.mark.parametrize("update_s", [0.001, 0.01, 0.05])
def test_the_rate_of_change_needs_its_window_filled_and_then_follows_the_ramp(update_s: float) -> None:
    signal = Signal(ramp(50.0, 2.0, 0.0)).samples(FS_HZ, 0.9)
    records = [r for r in meter(update_s=update_s).feed(signal) if not math.isnan(r.f_hz)]
    start = records[0].t_s
    for record in records:
        assert math.isnan(record.rocof_hz_s) == (record.t_s - start < 0.45 - 1e-6)
        assert math.isnan(record.rocof_fast_hz_s) == (record.t_s - start < 0.09 - 1e-6)
    assert records[-1].rocof_hz_s == pytest.approx(2.0, abs=0.01)
    assert records[-1].rocof_fast_hz_s == pytest.approx(2.0, abs=0.05)


# ---------------------------------------------------------------------------------------------------- times, bad input
def test_records_carry_the_time_of_the_last_sample_of_their_window() -> None:
    """A sag is seen by a record of its time and by none before."""
    v = Signal(constant(50.0), at_s=0.2, then_amplitude=(0.5,) * 3).samples(FS_HZ, 0.3)
    records = meter(t0_s=1000.0, update_s=0.001).feed(v)
    before = [r for r in records if r.t_s < 1000.2]
    assert min(min(r.v_half_v) for r in before) > 229.9
    assert all(b.t_s - a.t_s == pytest.approx(0.001, abs=1.01 / FS_HZ) for a, b in itertools.pairwise(records))
    after = next(r for r in records if r.t_s >= 1000.211)
    assert max(after.v_half_v) == pytest.approx(115.0, rel=0.01)


def test_half_cycle_windows_leave_no_sample_out() -> None:
    for f_hz in (45.0, 50.0, 66.0):
        records = settled(meter().feed(Signal(constant(f_hz)).samples(FS_HZ, 0.4)))
        gaps = [b.t_s - a.t_s for a, b in itertools.pairwise(records)]
        assert max(gaps) <= 0.5 / f_hz + 1e-9
        assert min(gaps) > 0.5 / f_hz - 1.01 / FS_HZ


def test_until_the_window_is_full_the_record_says_so_and_gives_the_voltages() -> None:
    records = meter().feed(Signal(constant(50.0)).samples(FS_HZ, 0.2))
    filling = [r for r in records if r.quality is Quality.FILLING]
    assert 0.02 <= filling[0].t_s <= 0.021
    assert filling[0].v_cycle_v == pytest.approx((230.0,) * 3, rel=1e-3)
    assert all(math.isnan(r.f_hz) for r in filling)
    assert filling[-1].t_s < 0.086
    assert len(filling) + len(settled(records)) == len(records)


def test_a_restart_forgets_all_samples() -> None:
    v = Signal(constant(50.0)).samples(FS_HZ, 0.3)
    used = meter()
    used.feed(Signal(constant(61.0), amplitude=(0.1,) * 3).samples(FS_HZ, 0.5))
    used.restart(7.0)
    assert repr(used.feed(v)) == repr(meter(t0_s=7.0).feed(v))


def bad_blocks() -> list[tuple[object, object, str]]:
    good = np.zeros((4, 3))
    spoilt = np.zeros((4, 3))
    spoilt[2, 1] = math.nan
    return [
        (np.zeros((4, 2)), None, r"v_v has the shape \(4, 2\); it must be n x 3"),
        (np.zeros(12), None, r"v_v has the shape \(12,\)"),
        ("volts", None, "v_v must be n x 3 numbers"),
        ([[1.0, 2.0, 3.0], [1.0]], None, "v_v must be n x 3 numbers"),
        (spoilt, None, "v_v contains values that are no finite numbers"),
        (np.full((1, 3), math.inf), None, "v_v contains values that are no finite numbers"),
        (good, np.zeros((3, 3)), "i_a has 3 samples, v_v has 4"),
        (good, spoilt, "i_a contains values that are no finite numbers"),
    ]


@pytest.mark.parametrize(("v_v", "i_a", "words"), bad_blocks())
def test_a_bad_block_is_refused_in_one_sentence_and_changes_nothing(
    v_v: Floats, i_a: Floats | None, words: str
) -> None:
    v = Signal(constant(50.0)).samples(FS_HZ, 0.2)
    used = meter()
    found = used.feed(v[:300])
    with pytest.raises(ValueError, match=words if i_a is None else r"i_a"):
        used.feed(v_v, i_a)
    found += used.feed(v[300:])
    assert repr(found) == repr(meter().feed(v))
    with pytest.raises(ValueError, match=words):  # also as the first block
        meter().feed(v_v, i_a)


def test_currents_come_with_every_block_or_with_none() -> None:
    v = np.zeros((4, 3))
    with_currents, without = meter(), meter()
    with_currents.feed(v, v)
    without.feed(v)
    with pytest.raises(ValueError, match="with every block or with none"):
        with_currents.feed(v)
    with pytest.raises(ValueError, match="with every block or with none"):
        without.feed(v, v)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3199.0, 50.0, 230.0), "fs_hz is 3199; allowed: 3200 to 20000"),
        ((20_001.0, 50.0, 230.0), "fs_hz is 20001"),
        ((math.nan, 50.0, 230.0), "fs_hz is nan"),
        ((3200.0, 55.0, 230.0), "nominal_hz is 55; allowed: 50 or 60"),
        ((3200.0, 50.0, 0.0), "nominal_v is 0; allowed: 50 to 1000"),
        ((3200.0, 50.0, 230.0, 0.0005), "update_s is 0.0005; allowed: 0.001 to 1"),
        ((3200.0, 50.0, 230.0, 1.5), "update_s is 1.5"),
        ((3200.0, 50.0, 230.0, None, math.inf), "t0_s is inf"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(arguments: tuple[float, ...], words: str) -> None:
    fs_hz, nominal_hz, nominal_v, *rest = arguments
    more = dict(zip(("update_s", "t0_s"), rest, strict=False))
    with pytest.raises(ValueError, match=words):
        WaveformMeter(fs_hz, nominal_hz, nominal_v, **more)
