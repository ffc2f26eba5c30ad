"""The demo as a user runs it: the whole recording, its JSON, its picture and its records."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("demo")]  # one run for all


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


def test_the_record_holds_the_collapse_and_the_picture_is_a_png(story: dict[str, Any]) -> None:
    files = story["files"]
    with Path(files["record_1"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    frequencies = [float(row["f_hz"]) for row in rows if row["f_hz"]]
    assert max(frequencies) > 47.5 > min(frequencies)
    assert {row["k_grid"] for row in rows} == {"0.0", "1.0"} or {row["k_grid"] for row in rows} == {"0", "1"}
    assert Path(files["plot"]).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    codes = [json.loads(line)["code"] for line in Path(files["events"]).read_text().splitlines()]
    assert codes.count("grid_trip") == 1
