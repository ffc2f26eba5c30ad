"""Recordings of a grid as protection reads them: CSV of r.m.s. values, COMTRADE and WAV of samples.

Everything here is file in, rows out; what the rows mean for a charger is decided in replay.py. Every error is a
RecordingError of one sentence: file, row or channel, what is allowed.
"""

from __future__ import annotations

import csv
import importlib.util
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware.protection.types import GridSample

PHASES = ("a", "b", "c")
# More than this is not a share of nominal: somebody wrote volts under the name of pu.
MAX_PU = 10.0
METER_V = 230.0  # samples are brought to this nominal voltage: the measurement knows low voltage only


class RecordingError(ValueError):
    """The file is no such recording, or its content is not understood. One sentence."""


@dataclass(frozen=True, slots=True)
class Recording:
    """samples: strictly rising in time, voltages in pu. holes: rows of the file without a usable voltage."""

    source: str
    samples: tuple[GridSample, ...]
    holes: int = 0


# ---------------------------------------------------------------------------------------------------------------- CSV
def read_csv(path: Path, nominal_v: float) -> Recording:
    """Columns t_s, va_pu, vb_pu, vc_pu, f_hz; or va_v, vb_v, vc_v (V r.m.s., divided by nominal_v). Others are ignored.

    An empty or nan voltage makes the row a hole, an empty or nan frequency says that none was measured.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{path}: cannot be read: {error}") from None
    names = [name.strip().lower() for name in rows[0]] if rows else []
    in_pu = all(f"v{p}_pu" in names for p in PHASES)
    wanted = ["t_s", *(f"v{p}_{'pu' if in_pu else 'v'}" for p in PHASES), "f_hz"]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise RecordingError(
            f"{path}: no column {', '.join(missing)}; needed are t_s, va_pu, vb_pu, vc_pu, f_hz (or va_v, vb_v, vc_v)"
        )
    at = [names.index(name) for name in wanted]
    scale = 1.0 if in_pu else 1.0 / nominal_v
    found: list[GridSample] = []
    holes = 0
    t_last = -math.inf
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        t, a, b, c, f = (_cell(path, line, name, row, k) for name, k in zip(wanted, at, strict=True))
        if not t > t_last or math.isinf(t):
            raise RecordingError(f"{path}: line {line}: t_s is {t:g}; it must be above {t_last:g} of the row before")
        t_last = t
        if math.isnan(a + b + c):
            holes += 1
            continue
        v_pu = (a * scale, b * scale, c * scale)
        if not (min(v_pu) >= 0.0 and max(v_pu) <= MAX_PU):
            hint = "; are these volts? then name the columns va_v, vb_v, vc_v" if in_pu else ""
            raise RecordingError(f"{path}: line {line}: a voltage of {max(v_pu):g} pu; allowed: 0..{MAX_PU:g} pu{hint}")
        if f < 0.0 or math.isinf(f):
            raise RecordingError(f"{path}: line {line}: f_hz is {f:g}; it must be 0 or more, or empty")
        found.append(GridSample(t, v_pu, f))
    return _checked(Recording(str(path), tuple(found), holes))


def _cell(path: Path, line: int, name: str, row: Sequence[str], k: int) -> float:
    text = row[k].strip() if k < len(row) else ""
    if not text and name != "t_s":
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise RecordingError(f"{path}: line {line}: {name} is {text!r}, not a number") from None


def _checked(recording: Recording) -> Recording:
    if len(recording.samples) < 2:
        raise RecordingError(f"{recording.source}: {len(recording.samples)} usable rows; at least 2 are needed")
    return recording


# ----------------------------------------------------------------------------------------------------------- waveforms
def read_comtrade(path: Path, nominal_v: float, nominal_f_hz: float) -> Recording:
    """COMTRADE (.cfg with its .dat beside it): the first three analogue channels in V or kV, sampled at one rate.

    A channel recorded at the secondary side is multiplied by its transformer's ratio: nominal_v is of the grid.
    """
    if importlib.util.find_spec("comtrade") is None:
        raise RecordingError("COMTRADE needs a package that is not installed: pip install 'quadrant[comtrade]'")
    import comtrade
    import numpy as np

    try:
        record = comtrade.load(str(path))
    except (OSError, ValueError, IndexError, TypeError, struct.error, comtrade.ComtradeError) as error:
        raise RecordingError(f"{path}: not readable as COMTRADE: {error}") from None
    units = {"v": 1.0, "kv": 1000.0}
    channels = record.cfg.analog_channels
    volts = [k for k, channel in enumerate(channels) if channel.uu.strip().lower() in units][:3]
    if len(volts) < 3:
        seen = ", ".join(f"{c.name} [{c.uu}]" for c in channels) or "none"
        raise RecordingError(f"{path}: three channels in V or kV are needed; its analogue channels are: {seen}")
    rates = {rate for rate, _ in record.cfg.sample_rates}
    if len(rates) != 1 or not next(iter(rates)) > 0.0:
        raise RecordingError(f"{path}: the samples must be of one rate; its rates are: {sorted(rates)}")
    columns = []
    for k in volts:
        channel = channels[k]
        ratio = channel.primary / channel.secondary if channel.pors.strip().upper() == "S" else 1.0
        columns.append(np.asarray(record.analog[k], dtype=float) * units[channel.uu.strip().lower()] * ratio)
    samples = np.column_stack(columns)
    t0_s = float(record.time[0]) if len(record.time) else 0.0
    return _measure(path, samples, float(next(iter(rates))), nominal_v, nominal_f_hz, t0_s)


def read_wav(path: Path, nominal_v: float, nominal_f_hz: float, full_scale_v: float | None) -> Recording:
    """WAV with three channels or more, L1, L2, L3 first. Samples in floating point are volts; integer samples (16, 24
    or 32 bit) need full_scale_v, the volts of the largest sample."""
    import numpy as np

    try:
        kind, channels, rate, bits, data = _riff(path.read_bytes())
    except (OSError, struct.error, ValueError) as error:
        raise RecordingError(f"{path}: not readable as WAV: {error}") from None
    if channels < 3:
        raise RecordingError(f"{path}: {channels} channels; three are needed, L1, L2, L3")
    types = {(1, 16): "<i2", (1, 32): "<i4", (3, 32): "<f4", (3, 64): "<f8"}
    frame = channels * bits // 8
    data = data[: len(data) // frame * frame] if frame else b""
    if (kind, bits) == (1, 24):
        # Put the three bytes at the top of four: the sign comes along and the scale is that of 32 bit.
        wide = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        raw = wide.view("<i4").ravel().astype(float)
        bits = 32
    elif (kind, bits) in types:
        raw = np.frombuffer(data, types[kind, bits]).astype(float)
    else:
        raise RecordingError(f"{path}: samples of kind {kind} with {bits} bit; known: integer 16, 24, 32, float 32, 64")
    if kind == 1:
        if full_scale_v is None:
            raise RecordingError(f"{path}: integer samples have no unit: say with --full-scale-v what the largest is")
        raw *= full_scale_v / 2.0 ** (bits - 1)
    return _measure(path, raw.reshape(-1, channels)[:, :3], float(rate), nominal_v, nominal_f_hz, 0.0)


def _riff(content: bytes) -> tuple[int, int, int, int, bytes]:
    """(kind, channels, samples a second, bits, data): the standard library's reader knows no floating point."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ValueError("no RIFF header")
    found: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        found.setdefault(name, content[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    if b"fmt " not in found or b"data" not in found:
        raise ValueError("no fmt or no data chunk")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", found[b"fmt "])
    if kind == 0xFFFE:  # WAVE_FORMAT_EXTENSIBLE: the kind is the beginning of the sub-format
        (kind,) = struct.unpack_from("<H", found[b"fmt "], 24)
    return kind, channels, rate, bits, found[b"data"]


def _measure(path: Path, samples_v: Any, fs_hz: float, nominal_v: float, nominal_f_hz: float, t0_s: float) -> Recording:
    """Samples (n x 3, V) through the measurement: half-cycle r.m.s. voltages and the frequency of each record."""
    from firmware.measurement.waveform import WaveformMeter

    samples_v = samples_v * (METER_V / nominal_v)
    try:
        meter = WaveformMeter(fs_hz, nominal_f_hz, METER_V, t0_s=t0_s)
        block = max(1, int(fs_hz))  # a second at a time: memory, not results, depends on it
        records = [m for k in range(0, len(samples_v), block) for m in meter.feed(samples_v[k : k + block])]
    except ValueError as error:
        raise RecordingError(f"{path}: {error}") from None
    rows = []
    for m in records:
        a, b, c = m.v_half_v
        rows.append(GridSample(m.t_s, (a / METER_V, b / METER_V, c / METER_V), m.f_hz))
    return _checked(Recording(str(path), tuple(rows)))
