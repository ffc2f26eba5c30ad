"""Disturbance records as COMTRADE 2013 (IEEE C37.111-2013 / IEC 60255-24): the text of a .cfg, the bytes of a .dat,
and both with a header in one .cff.

Data as FLOAT32, so no value is scaled: what comes out of the file is what went in, to single precision. Every sample
carries its own time in whole microseconds. Pure: nothing here opens a file or asks for the time of day.

The layout is that of public readers and writers of the format (PyPI `comtrade`, against which the tests hold it); the
standard itself was not read.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from firmware.recorder.schema import RecorderError

REVISION = "2013"
NO_VALUE = 1.1754943508222875e-38  # smallest normal single: how a FLOAT32 file says that a sample is missing
MAX_SINGLE = 3.4028234663852886e38
_MAX_US = 0xFFFFFFFE  # of the 4-byte time stamp; all ones say that there is none


@dataclass(frozen=True, slots=True)
class Analog:
    """A channel of numbers. name without comma; phase: "A", "B", "C" or ""; nan in `values` is a missing sample."""

    name: str
    unit: str
    values: Sequence[float]
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """A channel of yes and no. normal: its state when nothing happens."""

    name: str
    values: Sequence[bool]
    normal: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """t_s: times of the samples, rising, in s from `begin`. trigger_s: of the event, on the same clock.

    begin: wall time of t_s = 0 in UTC; naive and aware (UTC) datetimes are the same to this file format.
    """

    station: str
    device: str
    nominal_hz: float
    t_s: Sequence[float]
    analog: Sequence[Analog]
    status: Sequence[Status] = ()
    begin: dt.datetime = dt.datetime(1970, 1, 1)  # noqa: DTZ001 (the file has no zone beside "UTC")
    trigger_s: float = 0.0


def _text(what: str, text: str, longest: int = 64) -> str:
    if not text or any(c in text for c in ",\r\n") or not text.isascii() or len(text) > longest:
        raise RecorderError(f"COMTRADE: {what} {text!r} must be 1 to {longest} ASCII characters without comma")
    return text


def _micros(record: Record) -> list[int]:
    micros = [round(t * 1e6) for t in record.t_s]
    if not micros:
        raise RecorderError("COMTRADE: a record without samples")
    if micros[0] < 0 or micros[-1] > _MAX_US:
        raise RecorderError(
            f"COMTRADE: samples from {record.t_s[0]:g} to {record.t_s[-1]:g} s; allowed: 0..{_MAX_US / 1e6:.0f} s"
        )
    if any(b <= a for a, b in itertools.pairwise(micros)):
        raise RecorderError("COMTRADE: the times of the samples do not rise by a microsecond or more")
    return micros


def check(record: Record) -> None:
    """Raises RecorderError when the record cannot be written: names, lengths, times."""
    _micros(record)
    if not (math.isfinite(record.nominal_hz) and record.nominal_hz > 0.0):
        raise RecorderError(f"COMTRADE: a nominal frequency of {record.nominal_hz:g} Hz; above 0 is allowed")
    if not record.analog and not record.status:
        raise RecorderError("COMTRADE: a record without channels")
    _text("the station", record.station)
    _text("the device", record.device)
    channels: list[Analog | Status] = [*record.analog, *record.status]
    for channel in channels:
        _text("the channel name", channel.name)
        if len(channel.values) != len(record.t_s):
            raise RecorderError(
                f"COMTRADE: channel {channel.name} has {len(channel.values)} values for {len(record.t_s)} times"
            )
    for analog in record.analog:
        _text("the unit", analog.unit or "1", 32)
        _text("the phase", analog.phase or "A", 2)
    names = [channel.name for channel in channels]
    if len(set(names)) != len(names):
        raise RecorderError("COMTRADE: two channels have the same name")


def _stamp(begin: dt.datetime, t_s: float) -> str:
    t = begin + dt.timedelta(seconds=t_s)
    return t.strftime("%d/%m/%Y,%H:%M:%S.") + f"{t.microsecond:06d}"


def cfg(record: Record) -> str:
    """The .cfg. Raises RecorderError as `check` does."""
    check(record)
    n, m = len(record.analog), len(record.status)
    lines = [
        f"{record.station},{record.device},{REVISION}",
        f"{n + m},{n}A,{m}D",
    ]
    for k, channel in enumerate(record.analog, 1):
        # a = 1, b = 0, no skew, full range of a single, primary : secondary 1 : 1, values are primary
        lines.append(
            f"{k},{channel.name},{channel.phase},,{channel.unit or '1'},1,0,0,-3.4028235E+38,3.4028235E+38,1,1,P"
        )
    for k, status in enumerate(record.status, 1):
        lines.append(f"{k},{status.name},,,{int(status.normal)}")
    lines += [
        f"{record.nominal_hz:g}",
        "0",  # no rate: the time stamps of the samples count
        f"0,{len(record.t_s)}",
        _stamp(record.begin, record.t_s[0]),
        _stamp(record.begin, record.trigger_s),
        "FLOAT32",
        "1",  # time stamps in microseconds
        "0,0",  # UTC, and local time is not stated otherwise
        "F,3",  # the clock's quality is not known; no leap second was looked for
    ]
    return "\r\n".join(lines) + "\r\n"


def _single(x: float) -> float:
    return NO_VALUE if math.isnan(x) else max(-MAX_SINGLE, min(MAX_SINGLE, x))


def _singles(values: Sequence[float]) -> Sequence[float]:
    """The values as the file holds them; nearly always they are that already."""
    if math.isfinite(sum(values)) and min(values) >= -MAX_SINGLE and max(values) <= MAX_SINGLE:
        return values
    return [_single(x) for x in values]


def dat(record: Record) -> bytes:
    """The .dat. The time stamps count from the first sample. Raises RecorderError as `check` does."""
    check(record)
    micros = _micros(record)
    words = [record.status[k : k + 16] for k in range(0, len(record.status), 16)]
    row = struct.Struct(f"<II{len(record.analog)}f{len(words)}H")
    packed = []
    for word in words:
        bits = [0] * len(micros)
        for bit, channel in enumerate(word):
            bits = list(map(int.__or__, bits, [1 << bit if x else 0 for x in channel.values]))
        packed.append(bits)
    begin = micros[0]
    columns = [_singles(channel.values) for channel in record.analog]
    return b"".join(map(row.pack, itertools.count(1), [us - begin for us in micros], *columns, *packed))


def cff(cfg_text: str, header: str, data: bytes) -> bytes:
    """The .cff: all files in one. cfg_text and data: of `cfg` and `dat`; header: ASCII text of any form.

    Every binary kind of data is announced as BINARY with its length; its kind stands in the configuration.
    """
    lines = header.replace("\r\n", "\n").rstrip("\n").replace("\n", "\r\n")
    text = (
        f"--- file type: CFG ---\r\n{cfg_text}--- file type: INF ---\r\n\r\n--- file type: HDR ---\r\n{lines}\r\n"
        f"--- file type: DAT BINARY: {len(data)} ---\r\n"
    )
    return text.encode("ascii") + data
