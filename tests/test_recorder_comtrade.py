"""Our COMTRADE files, read by somebody else's reader (PyPI `comtrade`)."""

from __future__ import annotations

import datetime as dt
import io
import math
import struct
from dataclasses import replace
from pathlib import Path

import comtrade
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.recorder.comtrade import NO_VALUE, Analog, Record, Status, cfg, dat
from firmware.recorder.schema import RecorderError

BEGIN = dt.datetime(2025, 4, 28, 10, 33, 24, 250_000)  # noqa: DTZ001


def record(n: int = 5, **changes: object) -> Record:
    t = [0.5 + 0.001 * k for k in range(n)]
    made = Record(
        "desk", "quadrant", 50.0, t,
        (
            Analog("v_l1", "V", [230.0 + k for k in range(n)], "A"),
            Analog("f", "Hz", [50.0 - 0.25 * k for k in range(n)]),
        ),
        (Status("k_dc", [k < 2 for k in range(n)], True), Status("estop", [k == 3 for k in range(n)])),
        BEGIN, 0.502,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def read(made: Record) -> comtrade.Comtrade:
    reader = comtrade.Comtrade(ignore_warnings=True, use_double_precision=True)
    reader.read(io.StringIO(cfg(made)), dat(made))
    return reader


def test_another_reader_finds_what_was_written() -> None:
    found = read(record())
    assert (found.station_name, found.rec_dev_id, found.rev_year, found.frequency) == ("desk", "quadrant", "2013", 50.0)
    assert found.analog_channel_ids == ["v_l1", "f"]
    assert [c.uu for c in found.cfg.analog_channels] == ["V", "Hz"]
    assert found.analog_phases == ["A", ""]
    assert list(found.analog[0]) == [230.0, 231.0, 232.0, 233.0, 234.0]
    assert list(found.analog[1]) == [50.0, 49.75, 49.5, 49.25, 49.0]
    assert found.status_channel_ids == ["k_dc", "estop"]
    assert [list(s) for s in found.status] == [[1, 1, 0, 0, 0], [0, 0, 0, 1, 0]]
    assert [round(t, 9) for t in found.time] == [0.0, 0.001, 0.002, 0.003, 0.004]
    assert found.start_timestamp == BEGIN + dt.timedelta(seconds=0.5)
    assert found.trigger_timestamp == BEGIN + dt.timedelta(seconds=0.502)


def test_the_files_are_read_from_a_disk_too(tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_text(cfg(record()), newline="")
    (tmp_path / "a.dat").write_bytes(dat(record()))
    assert list(comtrade.load(str(tmp_path / "a.cfg"), ignore_warnings=True).analog[0])[-1] == 234.0


@given(
    st.lists(st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False), min_size=1, max_size=20),
    st.integers(0, 40),
    st.randoms(use_true_random=False),
)
def test_any_single_precision_value_and_any_number_of_flags_come_back_unchanged(values, flags, rng) -> None:  # type: ignore[no-untyped-def]
    n = len(values)
    wanted = [[rng.random() < 0.5 for _ in range(n)] for _ in range(flags)]
    made = record(n, analog=(Analog("x", "A", values),), status=[Status(f"s{k}", w) for k, w in enumerate(wanted)])
    found = read(made)
    assert list(found.analog[0]) == values
    assert [[bool(x) for x in s] for s in found.status] == wanted


def test_times_that_are_not_even_are_kept_to_the_microsecond() -> None:
    t = [0.0, 0.000001, 0.5, 299.999999, 4000.0]
    found = read(record(5, t_s=t, trigger_s=0.5))
    assert [round(x, 6) for x in found.time] == t


def test_a_missing_sample_is_marked_and_an_infinite_one_is_the_largest() -> None:
    raw = dat(record(3, analog=(Analog("x", "", [math.nan, math.inf, -math.inf]),), status=()))
    values = [x[2] for x in struct.iter_unpack("<IIf", raw)]
    assert values[0] == NO_VALUE
    assert values[1] == -values[2] == pytest.approx(3.4028235e38)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"t_s": [0.0, 0.1, 0.1, 0.2, 0.3]}, "do not rise"),
        ({"t_s": [-0.1, 0.1, 0.2, 0.3, 0.4]}, "allowed: 0..4295 s"),
        ({"t_s": [0.0, 0.1, 0.2, 0.3, 4300.0]}, "allowed: 0..4295 s"),
        ({"t_s": [0.0]}, "has 5 values for 1 times"),
        ({"station": "a,b"}, "without comma"),
        ({"device": ""}, "1 to 64 ASCII"),
        ({"nominal_hz": 0.0}, "above 0"),
        ({"analog": (), "status": ()}, "without channels"),
        ({"status": (Status("f", [False] * 5),)}, "the same name"),
    ],
)
def test_what_cannot_be_written_is_refused_with_a_sentence(changes: dict[str, object], sentence: str) -> None:
    for write in (cfg, dat):
        with pytest.raises(RecorderError, match=sentence):
            write(record(**changes))
