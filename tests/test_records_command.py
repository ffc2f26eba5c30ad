"""`quadrant records` on the records file of a charger, running or not."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import comtrade
import pytest

from firmware import cli
from firmware.guard.messages import TripRecord
from firmware.recorder.reader import FILE, Reader
from firmware.recorder.store import Store
from tests.fake_charger import served

T0 = 1_800_000_000.0
HEADER = {
    "board": "desk", "grid_code": "de_vde_ar_n_4105_2018", "nominal_hz": 50.0, "digital": ["k_dc"],
    "codes": {"state": ["idle", "fault"]}, "controls": {"sources": {"trip.UF1.threshold": "tight"}},
}  # fmt: skip
COLUMNS = ["t_s", "l1_v", "f_hz", "i_dc_a", "state", "k_dc", "never_v"]


def rows(trigger: float) -> list[list[float]]:
    """Half a second before and after: at the event L1 falls and the contactor opens."""
    return [
        [trigger + k / 100, 230.0 if k < 0 else 60.0, 50.0 - k / 1000, -20.0 if k < 0 else 0.0,
         float(k >= 0), float(k < 2), math.nan]
        for k in range(-50, 51)
    ]  # fmt: skip


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    store = Store.open(directory / FILE)
    for number, code, severity in ((1, "grid_trip", 4), (2, "record_asked", 0)):
        record = TripRecord(100.0 * number, code, f"detail {number}", COLUMNS, rows(100.0 * number))
        store.record(T0 + number + 0.25, "boot", record, "cafe", severity, HEADER)
    store.close()
    return directory


def quadrant(run_dir: Path, *words: str) -> int:
    return cli.main(["records", *words, "--dir", str(run_dir)])


def unread(run_dir: Path) -> int:
    reader = Reader(run_dir / FILE)
    try:
        return reader.unread_trips()
    finally:
        reader.close()


def test_the_list_has_a_line_a_record_and_says_which_trip_nobody_has_read(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quadrant(run_dir, "list") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "grid_trip" in first
    assert "unread" in first
    assert "record_asked" in second
    assert "unread" not in second
    assert quadrant(run_dir, "list", "--json") == 0
    (one, two) = json.loads(capsys.readouterr().out)
    assert (one["id"], one["read"], one["wall_s"], one["rows"]) == (1, False, T0 + 1.25, 101)
    assert two["detail"] == "detail 2"
    assert unread(run_dir) == 1  # a list reads nothing


def test_show_tells_the_channels_around_the_event_and_counts_as_read(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quadrant(run_dir, "show", "1", "--keep-unread", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["channels"]["l1_v"] == {"before": 230.0, "event": 60.0, "end": 60.0, "min": 60.0, "max": 230.0}
    assert shown["channels"]["state"]["before"] == "idle"
    assert shown["channels"]["state"]["event"] == "fault"
    assert "never_v" not in shown["channels"]
    assert shown["header"]["settings_hash"] == "cafe"
    assert unread(run_dir) == 1
    assert quadrant(run_dir, "show", "1") == 0
    text = capsys.readouterr().out
    assert "Grid protection tripped. detail 1" in text
    assert "trip.UF1.threshold by tight" in text
    assert "de_vde_ar_n_4105_2018" in text
    assert unread(run_dir) == 0


def test_without_a_number_the_newest_is_meant(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quadrant(run_dir, "show", "--json") == 0
    assert json.loads(capsys.readouterr().out)["id"] == 2


@pytest.mark.parametrize(("format_", "suffixes"), [("cff", {".cff"}), ("comtrade", {".cfg", ".dat", ".hdr"})])
def test_an_exported_record_opens_with_another_reader(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], format_: str, suffixes: set[str]
) -> None:
    out = tmp_path / "out"
    assert quadrant(run_dir, "export", "1", "--format", format_, "--out", str(out), "--json") == 0
    files = [Path(name) for name in json.loads(capsys.readouterr().out)["files"]]
    assert {path.suffix for path in files} == suffixes
    found = comtrade.load(str(next(p for p in files if p.suffix in (".cff", ".cfg"))), ignore_warnings=True)
    at = round(found.trigger_time * 100)
    assert list(found.analog[0][at - 1 : at + 1]) == [230.0, 60.0]
    assert json.loads(found.hdr)["event"]["code"] == "grid_trip"
    assert unread(run_dir) == 0


def test_an_exported_csv_has_every_number(run_dir: Path, tmp_path: Path) -> None:
    assert quadrant(run_dir, "export", "1", "--format", "csv", "--out", str(tmp_path)) == 0
    lines = list(csv.reader((tmp_path / "trip-000001-grid_trip.csv").open()))
    assert lines[0] == COLUMNS
    assert [float(line[0]) for line in lines[1:]] == [row[0] for row in rows(100.0)]


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_plot_is_a_picture(run_dir: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"trip.{suffix}"
    assert quadrant(run_dir, "plot", "1", "--out", str(out)) == 0
    assert out.read_bytes().startswith(b"\x89PNG" if suffix == "png" else b"<?xml")
    if suffix == "svg":
        text = out.read_text()
        for word in ("l1_v", "state: fault", "k_dc", "detail 1"):
            assert f"<!-- {word}" in text or word in text


def test_a_plot_without_matplotlib_says_what_to_install(
    run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware.records_command.importlib.util.find_spec", lambda name: None)
    assert quadrant(run_dir, "plot", "1", "--out", "x.svg") == 1
    assert "pip install 'quadrant[plot]'" in capsys.readouterr().err
    assert unread(run_dir) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("show", "7"), "there is no disturbance record 7."),
        (("plot", "1", "--out", "x.pdf"), "must end in .png or .svg"),
        (("export", "1", "--out", "/proc/no"), "cannot be written"),
        (("export", "1", "--format", "csv", "--out", "/proc/no"), "cannot be written"),
        (("plot", "1", "--out", "/proc/no/x.svg"), "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_leaves_the_record_unread(
    run_dir: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    assert quadrant(run_dir, *words) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert unread(run_dir) == 1


def test_no_records_at_all_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quadrant(tmp_path, "list") == 1
    assert "does not exist" in capsys.readouterr().err
    Store.open(tmp_path / FILE).close()
    assert quadrant(tmp_path, "list") == 0
    assert quadrant(tmp_path, "show") == 1
    assert "There is no disturbance record." in capsys.readouterr().out


def test_a_running_charger_is_asked_for_a_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(tmp_path, None) as charger:
        assert quadrant(tmp_path, "trigger") == 0
        assert ("record",) in charger.charger.calls
    assert quadrant(tmp_path, "trigger") == cli.NO_CHARGER
