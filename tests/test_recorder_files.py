"""CAN logs that python-can reads back, and disturbance records that any tool opens."""

from __future__ import annotations

import csv
import json
import math
import resource
from pathlib import Path

import pytest
from can import BLFReader, CanutilsLogReader
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.guard.messages import CanLog, TripRecord
from firmware.recorder import trip_record
from firmware.recorder.can_log import CanLogWriter
from firmware.recorder.schema import RecorderError

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


# --------------------------------------------------------------------------------------------------------- trip records
def record(rows: list[list[float]] | None = None, code: str = "grid_trip") -> TripRecord:
    columns = ["t", "pilot_l1_v", "pilot_f_hz", "state"]
    return TripRecord(
        12.5, code, "UV2, 0.30 pu", columns, rows or [[12.49, 229.9, 50.01, 7.0], [12.5, 69.0, math.nan, 8.0]]
    )


def test_a_trip_record_is_a_csv_with_a_header_that_says_what_the_columns_are(tmp_path: Path) -> None:
    path = trip_record.write(
        tmp_path / "trips", record(), t_wall=OFFSET_S, boot="b1", settings_hash="abc", grid_code="de_vde_ar_n_4105_2018"
    )
    assert path.name == "trip-000001-grid_trip.csv"
    rows = list(csv.reader(path.open()))
    assert rows == [
        ["t", "pilot_l1_v", "pilot_f_hz", "state"],
        ["12.49", "229.9", "50.01", "7.0"],
        ["12.5", "69.0", "", "8.0"],
    ]
    header = json.loads(path.with_suffix(".json").read_text())
    assert (header["code"], header["detail"], header["settings_hash"]) == ("grid_trip", "UV2, 0.30 pu", "abc")
    assert (header["t_wall"], header["t_mono"], header["boot"], header["rows"]) == (OFFSET_S, 12.5, "b1", 2)
    assert header["grid_code"] == "de_vde_ar_n_4105_2018"
    assert [c["unit"] for c in header["columns"]] == ["s", "V", "Hz", ""]
    assert header["samples"] == path.name


@given(st.lists(st.tuples(*[st.floats()] * 4).map(list), min_size=1, max_size=10))
def test_every_number_of_a_record_reads_back_exactly_and_what_is_none_is_empty(rows: list[list[float]]) -> None:
    size, data = trip_record.pack(["a", "b", "c", "d"], rows)
    back = trip_record.unpack(["a", "b", "c", "d"], data)
    for row, again in zip(rows, back, strict=True):
        for value, found in zip(row, again, strict=True):
            assert found == value if math.isfinite(value) else math.isnan(found)
            text = trip_record._text(value)
            assert float(text) == value if math.isfinite(value) else text == ""
    assert size > 0


def test_only_the_newest_records_are_kept_and_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("mine")
    (tmp_path / "trip-000001.json").write_text("mine too")
    for i in range(12):
        trip_record.write(tmp_path, record(code=f"trip_{i}"), t_wall=OFFSET_S + i, keep=5)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == sorted(
        ["notes.csv", "trip-000001.json"]
        + [f"trip-{i + 1:06d}-trip_{i}.{end}" for i in range(7, 12) for end in ("csv", "json")]
    )


def test_numbers_go_on_after_a_restart_so_that_no_record_is_overwritten(tmp_path: Path) -> None:
    paths = [trip_record.write(tmp_path, record(), t_wall=OFFSET_S) for _ in range(3)]
    assert len({path.name for path in paths}) == 3


@pytest.mark.parametrize("columns", [[], ["t", "t"]])
def test_a_record_without_proper_column_names_is_refused(tmp_path: Path, columns: list[str]) -> None:
    with pytest.raises(RecorderError, match="column names"):
        trip_record.write(tmp_path / "x", TripRecord(0.0, "grid_trip", "", columns, []), t_wall=0.0)
    assert not (tmp_path / "x").exists()


def test_a_directory_that_cannot_be_made_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecorderError, match="cannot be written"):
        trip_record.write(tmp_path / "file" / "x", record(), t_wall=0.0)
