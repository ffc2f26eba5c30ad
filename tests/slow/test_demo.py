"""The demo as a user runs it: the whole recording, its JSON, its picture and its records."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import comtrade
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "firmware.cli", "demo", "blackout", "--json", "--out", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    result: dict[str, Any] = json.loads(run.stdout)
    return result


def test_every_demand_of_the_story_is_met(story: dict[str, Any]) -> None:
    assert story["good"]
    assert [demand for demand, met in story["demands"].items() if not met] == []


def test_under_frequency_trips_soon_after_the_grid_fell_below_its_threshold(story: dict[str, Any]) -> None:
    trip = story["trip"]
    assert trip["element"] == "UF1"
    # 0.1 s relay setting, plus two cycles of frequency measurement, report and tick; never before the setting.
    assert 0.1 <= trip["t_s"] - trip["grid_crossed_t_s"] <= 0.2


def test_current_is_gone_before_the_contactors_open_and_both_within_200_ms(story: dict[str, Any]) -> None:
    trip_s, cease_s, open_s = story["trip"]["t_s"], story["cease"]["t_s"], story["contactors_open"]["t_s"]
    assert trip_s <= cease_s <= open_s <= trip_s + 0.2


def test_ten_kilowatts_were_fed_through_the_mornings_oscillations(story: dict[str, Any]) -> None:
    ride = story["ride_through"]
    assert ride["p_pcc_w"] == pytest.approx(-10_000, rel=0.02)
    assert ride["fed_s"] > 18 * 60
    assert ride["v_max_pu"] < 1.10


def test_the_dead_grid_is_not_believed(story: dict[str, Any]) -> None:
    after = story["after"]
    assert not after["reconnected"]
    assert after["watched_s"] > 240
    assert "Will not connect" in after["reason"]


@pytest.mark.parametrize("suffix", ["cfg", "cff"])
def test_the_record_opens_with_another_reader_and_its_trigger_is_the_trip(story: dict[str, Any], suffix: str) -> None:
    record = comtrade.load(story["files"][f"record_1_{suffix}"], use_double_precision=True)
    header = json.loads(record.hdr)
    assert (header["event"]["code"], header["grid_code"]) == ("grid_trip", "de_vde_ar_n_4105_2018")
    assert header["settings"]["trip.UF1.threshold"]["value"] == 47.5
    at = min(range(record.total_samples), key=lambda k: abs(record.time[k] - record.trigger_time))
    assert abs(record.time[at] - record.trigger_time) < 1e-5
    assert abs(header["event"]["t_mono"] - story["trip"]["t_s"]) < 0.0101  # a tick
    f_hz = record.analog[record.analog_channel_ids.index("f_hz")]
    assert f_hz[at] < 47.5 < f_hz[0]  # hertz, not a scaled number
    volts = record.analog[record.analog_channel_ids.index("l1_v")]
    assert 150.0 < volts[0] < 260.0
    on, grid, dc = (record.status[record.status_channel_ids.index(n)] for n in ("command_on", "k_grid", "k_dc"))
    assert (on[at - 1], on[at]) == (1, 0)
    for contactor in (grid, dc):
        opened = next(k for k in range(at, record.total_samples) if not contactor[k])
        assert record.time[opened] - record.trigger_time <= 0.2
    tripped = record.status[record.status_channel_ids.index("grid_state: tripped")]
    assert (tripped[at - 1], tripped[at]) == (0, 1)


def test_the_picture_is_a_png_and_there_was_one_trip(story: dict[str, Any]) -> None:
    files = story["files"]
    assert Path(files["plot"]).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    codes = [json.loads(line)["code"] for line in Path(files["events"]).read_text().splitlines()]
    assert codes.count("grid_trip") == 1
