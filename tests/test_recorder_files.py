"""CAN logs that python-can reads back, and disturbance records that any tool opens."""

from __future__ import annotations

import csv
import datetime as dt
import io
import itertools
import json
import math
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import comtrade
import pytest
from can import BLFReader, CanutilsLogReader
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.guard.messages import CanLog, TripRecord
from firmware.recorder import record_files, trip_record
from firmware.recorder.can_log import CanLogWriter
from firmware.recorder.comtrade import NO_VALUE
from firmware.recorder.schema import RecorderError
from firmware.recorder.trip_record import StoredRecord

OFFSET_S = 1_700_000_000.0
BATCHES = (
    CanLog([(0.123456, "can0", 0x02A43FF0, bytes.fromhex("1101000000000000"), True)]),
    CanLog(
        [
            (0.125, "can0", 0x02A3F000, bytes.fromhex("1101000000000bbf"), False),
            (0.126, "can1", 0x123, b"", False),
        ]
    ),
)


def write(path: Path) -> None:
    log = CanLogWriter(path, OFFSET_S)
    for batch in BATCHES:
        log.write(batch.frames)
    assert log.frames == 3
    log.close()


def test_candump_text_has_the_form_that_candump_writes(tmp_path: Path) -> None:
    write(tmp_path / "a.log")
    assert (tmp_path / "a.log").read_text().splitlines() == [
        "(1700000000.123456) can0 02A43FF0#1101000000000000 T",
        "(1700000000.125000) can0 02A3F000#1101000000000BBF R",
        "(1700000000.126000) can1 123# R",
    ]


@pytest.mark.parametrize(("name", "reader"), [("a.log", CanutilsLogReader), ("a.BLF", BLFReader)])
def test_a_log_is_read_back_by_python_can_as_it_was_given(tmp_path: Path, name: str, reader: type) -> None:
    write(tmp_path / name)
    given_frames = [frame for batch in BATCHES for frame in batch.frames]
    read = list(reader(tmp_path / name))
    assert len(read) == len(given_frames)
    for message, (t, channel, identifier, data, sent) in zip(read, given_frames, strict=True):
        assert message.timestamp == pytest.approx(OFFSET_S + t, abs=2e-6)
        assert (message.arbitration_id, bytes(message.data)) == (identifier, data)
        assert message.is_extended_id == (identifier > 0x7FF)
        assert message.is_rx is not sent
        assert message.channel == (channel if name.endswith(".log") else int(channel[-1]))


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 1e6),
            st.sampled_from(["can0", "239.74.163.2", "slcan /dev/ttyUSB0"]),
            st.integers(0, 0x1FFFFFFF),
            st.binary(max_size=8),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_whatever_frames_arrive_both_formats_keep_all_of_them(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[float, str, int, bytes, bool]]
) -> None:
    frames.sort(key=lambda frame: frame[0])
    directory = tmp_path_factory.mktemp("log")
    for name, reader in (("a.log", CanutilsLogReader), ("a.blf", BLFReader)):
        log = CanLogWriter(directory / name, OFFSET_S)
        log.write(frames)
        log.close()
        read = [(m.arbitration_id, bytes(m.data), m.is_rx) for m in reader(directory / name)]
        assert read == [(identifier, data, not sent) for _, _, identifier, data, sent in frames]


def test_a_text_log_is_complete_up_to_the_last_batch_without_being_closed(tmp_path: Path) -> None:
    log = CanLogWriter(tmp_path / "a.log", OFFSET_S)
    log.write(BATCHES[0].frames)
    assert len(list(CanutilsLogReader(tmp_path / "a.log"))) == 1
    log.close()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("a.txt", r"must end in \.log or \.blf"),
        ("a", "must end in"),
        ("no/a.log", "No such file"),
        ("there.log", "exists"),
    ],
)
def test_a_can_log_that_cannot_be_is_refused_with_one_sentence_and_nothing_is_touched(
    tmp_path: Path, name: str, part: str
) -> None:
    (tmp_path / "there.log").write_text("mine")
    with pytest.raises(RecorderError, match=part):
        CanLogWriter(tmp_path / name, 0.0)
    assert [p.name for p in tmp_path.iterdir()] == ["there.log"]
    assert (tmp_path / "there.log").read_text() == "mine"


def test_a_can_log_on_a_full_disk_says_after_how_many_frames_it_stopped(tmp_path: Path) -> None:
    log = CanLogWriter(tmp_path / "a.log", OFFSET_S)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(RecorderError, match=r"a\.log stops after \d+ frames"):
            log.write(BATCHES[0].frames * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# ------------------------------------------------------------------------------------------------- disturbance records
COLUMNS = ("t_s", "l1_v", "f_hz", "earlier_f_hz", "state", "k_dc")
ROWS = [
    [12.48, 229.9, 50.01, math.nan, 0.0, 1.0],
    [12.49, 230.1, math.nan, math.nan, 0.0, 1.0],
    [12.5, 69.0, 47.2, math.nan, 1.0, 0.0],
]
HEADER = {"board": "desk, 2", "nominal_hz": 50.0, "digital": ["k_dc"], "codes": {"state": ["idle", "fault"]}}


def stored(number: int = 42, **changes: Any) -> StoredRecord:
    made = StoredRecord(
        number, OFFSET_S + 0.25, 12.5, "b1", "grid_trip", "UF1, 47.20 Hz", "abc", COLUMNS, 3, 4, header=HEADER
    )
    return replace(made, **changes)


@pytest.mark.parametrize("suffix", [".cfg", ".cff"])
def test_a_record_opens_with_another_reader_channels_in_their_units_and_the_trigger_at_its_sample(
    tmp_path: Path, suffix: str
) -> None:
    record_files.write(tmp_path, stored(), ROWS)
    found = comtrade.load(str(tmp_path / f"trip-000042-grid_trip{suffix}"), use_double_precision=True)
    assert found.station_name == "desk_ 2"
    assert (found.rev_year, found.frequency) == ("2013", 50.0)
    assert [(c.name, c.uu) for c in found.cfg.analog_channels] == [("l1_v", "V"), ("f_hz", "Hz")]
    assert found.analog_phases[0] == "A"
    assert [round(x, 3) for x in found.analog[0]] == [229.9, 230.1, 69.0]
    assert found.analog[1][1] == NO_VALUE
    assert found.status_channel_ids == ["state: idle", "state: fault", "k_dc"]
    assert [list(x) for x in found.status] == [[1, 1, 0], [0, 0, 1], [1, 1, 0]]
    assert [round(t, 6) for t in found.time] == [0.0, 0.01, 0.02]
    assert found.trigger_time == pytest.approx(0.02, abs=2e-6)
    utc = dt.datetime.fromtimestamp(OFFSET_S + 0.25, dt.UTC).replace(tzinfo=None)
    assert found.trigger_timestamp == utc
    header = json.loads(found.hdr)
    assert header["event"]["code"] == "grid_trip"
    assert (header["settings_hash"], header["number"]) == ("abc", 42)


@given(
    st.lists(st.floats(0.0001, 3.0), min_size=0, max_size=50),
    st.integers(0, 49),
    st.floats(0.0, 1e7),
    st.floats(0.0, 4e9),
)
def test_whatever_the_clocks_are_the_trigger_is_found_within_a_sample(
    tmp_path_factory: pytest.TempPathFactory, steps: list[float], at: int, start: float, wall: float
) -> None:
    times = list(itertools.accumulate(steps, initial=start))
    at = min(at, len(times) - 1)
    rows = [[t, float(k)] for k, t in enumerate(times)]
    directory = tmp_path_factory.mktemp("r")
    record_files.write(directory, stored(columns=("t_s", "x"), t_mono=times[at], t_wall=wall), rows)
    found = comtrade.load(str(directory / "trip-000042-grid_trip.cff"), ignore_warnings=True)
    nearest = min(range(len(rows)), key=lambda k: abs(found.time[k] - found.trigger_time))
    # The stamps are of whole microseconds, and the clock itself is a double.
    assert found.analog[0][nearest] == at or min(steps) < 1e-5


def test_rows_that_do_not_go_on_are_left_out_and_do_not_cost_the_record() -> None:
    rows = [ROWS[0], ROWS[0], [math.nan, *ROWS[1][1:]], ROWS[2]]
    assert record_files.comtrade_of(stored(), rows).t_s == [0.0, pytest.approx(0.02)]
    for bad in ([], [[math.nan] * 6]):
        with pytest.raises(RecorderError, match="no samples"):
            record_files.comtrade_of(stored(), bad)
    with pytest.raises(RecorderError, match="no column of times"):
        record_files.comtrade_of(stored(columns=("x",)), [[1.0]])


def test_a_csv_has_a_line_a_tick_and_an_empty_cell_for_what_was_not_known() -> None:
    rows = list(csv.reader(io.StringIO(record_files.as_csv(stored(), ROWS))))
    assert rows[0] == list(COLUMNS)
    assert rows[1] == ["12.48", "229.9", "50.01", "", "0.0", "1.0"]
    assert rows[2][2] == ""


def test_an_event_of_any_name_makes_a_file_name() -> None:
    assert record_files.name_of(stored(code="../Ein Fall")) == "trip-000042-___ein_fall"
    assert record_files.name_of(stored(code="")) == "trip-000042-record"


def test_files_are_found_by_number_and_only_those_of_the_gone_are_removed(tmp_path: Path) -> None:
    assert record_files.numbers(tmp_path / "none") == []
    record_files.remove(tmp_path / "none", [1])
    (tmp_path / "notes.cfg").write_text("mine")
    (tmp_path / "trip-000003.json").write_text("mine too")
    for number in (3, 1_000_007):
        record_files.write(tmp_path, stored(number), ROWS)
    (tmp_path / "trip-000003-grid_trip.cff.part").write_text("cut off")
    assert record_files.numbers(tmp_path) == [3, 1_000_007]
    record_files.remove(tmp_path, [3, 4])
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["notes.cfg", "trip-000003.json"] + [f"trip-1000007-grid_trip{x}" for x in record_files.SUFFIXES]
    )


@given(st.lists(st.tuples(*[st.floats()] * 4).map(list), min_size=1, max_size=10))
def test_every_number_of_a_record_reads_back_exactly_and_what_is_none_is_empty(rows: list[list[float]]) -> None:
    size, data = trip_record.pack(["a", "b", "c", "d"], rows)
    back = trip_record.unpack(["a", "b", "c", "d"], data)
    for row, again in zip(rows, back, strict=True):
        for value, found in zip(row, again, strict=True):
            assert found == value if math.isfinite(value) else math.isnan(found)
    assert size > 0


@pytest.mark.parametrize("columns", [[], ["t", "t"]])
def test_a_record_without_proper_column_names_is_refused(columns: list[str]) -> None:
    with pytest.raises(RecorderError, match="column names"):
        trip_record.check(TripRecord(0.0, "grid_trip", "", columns, []))


def test_a_directory_that_cannot_be_made_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecorderError, match="cannot be written"):
        record_files.write(tmp_path / "file" / "x", stored(), ROWS)
