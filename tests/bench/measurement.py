"""Row: three-phase samples through the meters, as a multiple of real time."""

from __future__ import annotations

import gc
import time

from firmware.measurement.harmonics import HarmonicMeter
from firmware.measurement.waveform import WaveformMeter
from tests.bench.harness import Row, quantile
from tests.measurement.signals import HARMONICS_8_PCT, Floats, Signal, constant

FS_HZ = 10_000.0
BLOCK = 100  # samples: 10 ms, what a guard tick would hand over
SIGNAL_S = 1.0


def rows(seconds: float) -> list[Row]:
    """Each meter is fed blocks of 10 ms for a share of `seconds`; the yardstick is the rate at which samples come."""
    signal = Signal(constant(50.02), harmonics=HARMONICS_8_PCT, noise_pu=0.005)
    v = signal.samples(FS_HZ, SIGNAL_S)
    share = seconds / 4.0
    meters = (
        ("measurement (half-cycle records)", WaveformMeter(FS_HZ, 50.0, 230.0), False),
        ("measurement with currents", WaveformMeter(FS_HZ, 50.0, 230.0), True),
        ("measurement (record every 1 ms)", WaveformMeter(FS_HZ, 50.0, 230.0, update_s=0.001), False),
        ("harmonics to the 40th", HarmonicMeter(FS_HZ, 50.0, 230.0), False),
    )
    return [_row(name, meter, v, share, currents) for name, meter, currents in meters]


def _row(name: str, meter: WaveformMeter | HarmonicMeter, v: Floats, seconds: float, currents: bool) -> Row:
    blocks = [v[start : start + BLOCK] for start in range(0, len(v), BLOCK)]
    rates: list[float] = []
    worst_block_s = 0.0
    records = 0
    gc.collect()
    until = time.perf_counter() + seconds
    while not rates or time.perf_counter() < until:
        start = last = time.perf_counter()
        for block in blocks:
            if isinstance(meter, WaveformMeter):
                records += len(meter.feed(block, block if currents else None))
            else:
                records += len(meter.feed(block))
            now = time.perf_counter()
            worst_block_s = max(worst_block_s, now - last)
            last = now
        rates.append(len(v) / (last - start))
    figures = {"samples/s": quantile(rates, 0.5), "slowest s": min(rates), "records/s": records / len(rates)}
    note = f"Longest block of 10 ms took {1000.0 * worst_block_s:.2f} ms."
    yardstick = {"samples/s": FS_HZ, "slowest s": FS_HZ}
    return Row(name, "three-phase samples/s", figures, "real time, 10 kS/s", yardstick, "samples/s", note)
