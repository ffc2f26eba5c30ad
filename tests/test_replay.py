"""Recordings through protection and support: events, gaps, steps, states, files and a user's mistakes."""

from __future__ import annotations

import csv
import json
import math
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware import cli
from firmware.grid_codes import Chain, GridCode, Quantity, load
from firmware.grid_support.settings import SupportSettings
from firmware.protection.types import GridSample
from firmware.recording import RecordingError, read_comtrade, read_csv, read_wav
from firmware.replay import TICK_S, Event, Replay, replay, spans

TOLEDO = Path(__file__).parent.parent / "hil" / "data" / "toledo-2025-04-28.csv"
TOLEDO_NOMINAL_V = 26_558.0  # 46 kV / sqrt 3
VDE = load("de_vde_ar_n_4105_2018", nominal_v=230.0)
IEEE = load("ieee1547_2018_cat3_normB", nominal_v=120.0)
CHAIN = Chain(0.010, 0.005, 0.010, 0.020, 0.030)
Column = Callable[[float], float]


def grid(until_s: float, step_s: float, v: Column = lambda t: 1.0, f: Column = lambda t: 50.0) -> list[GridSample]:
    count = round(until_s / step_s)
    return [GridSample(k * step_s, (v(k * step_s),) * 3, f(k * step_s)) for k in range(count + 1)]


def run(samples: Sequence[GridSample], code: GridCode = VDE, p_set_w: float = -10_000.0, **more: Any) -> Replay:
    return replay(samples, code, CHAIN, rated_w=22_000.0, p_set_w=p_set_w, **more)


def kinds(result: Replay, *without: str) -> list[str]:
    return [e.kind for e in result.events if e.kind not in without]


def at(result: Replay, kind: str) -> Event:
    return next(e for e in result.events if e.kind == kind)


# ---------------------------------------------------------------------------------------------------------- the record
@pytest.fixture(scope="module")
def toledo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded collapse, its last minutes, in the columns of `quadrant replay` and the volts of its busbar."""
    path = tmp_path_factory.mktemp("toledo") / "toledo.csv"
    with TOLEDO.open(newline="") as source, path.open("w", newline="") as target:
        out = csv.writer(target)
        out.writerow(["t_s", "va_v", "vb_v", "vc_v", "f_hz"])
        for row in csv.DictReader(source):
            if not 1040.0 <= float(row["t_s"]) <= 1300.0:
                continue
            out.writerow([row["t_s"], row["v1_v"], row["v2_v"], row["v3_v"], row["f_hz"]])
    return path


def test_the_recorded_collapse_trips_on_under_frequency_and_nothing_comes_back(toledo: Path) -> None:
    recording = read_csv(toledo, TOLEDO_NOMINAL_V)
    assert (len(recording.samples), recording.holes) == (130, 1)
    result = run(recording.samples)
    assert result.first_trip is not None
    assert result.first_trip.element == "UF1"
    assert result.first_trip.t == pytest.approx(1198.1, abs=TICK_S)
    assert kinds(result).count("trip") == 1
    assert result.final_state == "tripped"
    assert [e.value for e in result.events if e.kind == "gap"] == [4.0]
    low = at(result, "ride_through")
    assert (low.t_s, low.element, low.value) == (1196.0, "LFRT", 48.556)
    assert at(result, "support").element == "lfsm"
    before = next(p for p in result.series if p.t_s == 1198.0)
    assert before.p_w < -15_000.0  # it was discharging 10 kW and was made to give more
    assert result.series[-1][1:] == (0.0, 0.0, "tripped", 0.0, 0.0)


def test_the_commands_files_say_the_same(toledo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, series, plot = tmp_path / "o.json", tmp_path / "o.csv", tmp_path / "o.png"
    words = ["replay", "--code", VDE.name, "--csv", str(toledo), "--nominal-v", "26558", "--p-set-w", "-10000"]
    assert cli.main([*words, "--json", str(out), "--series", str(series), "--plot", str(plot)]) == 0
    report = json.loads(out.read_text())
    assert report["first_trip"]["element"] == "UF1"
    assert report["first_trip"]["t_s"] == pytest.approx(1198.1, abs=TICK_S)
    assert (report["final_state"], report["code"], report["rows"], report["holes"]) == ("tripped", VDE.name, 130, 1)
    assert report["profile_hash"] == VDE.profile_hash
    assert set(report["events"][0]) == {"t_s", "kind", "element", "clause", "value", "text"}
    rows = list(csv.DictReader(series.open()))
    assert list(rows[0]) == ["t_s", "p_w", "q_var", "state", "permitted_min_w", "permitted_max_w"]
    assert (rows[0]["p_w"], rows[0]["state"]) == ("-10000.000", "connected")
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "trip UF1" in capsys.readouterr().out
    assert cli.main([*words, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["first_trip"] == report["first_trip"]


# ------------------------------------------------------------------------------------------------- steps and their size
@pytest.mark.parametrize("step_s", [pytest.param(0.001, marks=pytest.mark.slow), 0.01, 0.02, 0.1, 0.5, 2.0, 3.0])
def test_the_step_of_the_recording_does_not_change_when_a_trip_comes(step_s: float) -> None:
    begin = 12.0
    result = run(grid(30.0, step_s, v=lambda t: 0.7 if t >= begin - 1e-9 else 1.0))
    assert result.first_trip is not None
    assert result.first_trip.element == "UV1"
    assert result.first_trip.t == pytest.approx(begin + 3.0, abs=max(TICK_S, min(step_s, TICK_S)) + 1e-6)
    assert result.first_trip.t >= begin + 3.0 - 1e-6


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.floats(0.0, 1.3), st.floats(46.5, 52.5), st.sampled_from([-10_000.0, 0.0, 8_000.0]))
def test_one_millisecond_and_twenty_lead_to_the_same_trip_and_the_same_power(v: float, f: float, p_w: float) -> None:
    results = [
        run(
            grid(5.0, step, lambda t: v if t >= 0.1 - 1e-9 else 1.0, lambda t: f if t >= 0.1 - 1e-9 else 50.0),
            p_set_w=p_w,
        )
        for step in (0.001, 0.020)
    ]
    a, b = (r.first_trip for r in results)
    assert (a is None) == (b is None)
    if a is not None and b is not None:
        assert a.element == b.element
        assert a.t == pytest.approx(b.t, abs=TICK_S + 1e-6)
    assert results[0].final_state == results[1].final_state
    assert results[0].series[-1].p_w == pytest.approx(results[1].series[-1].p_w, abs=50.0)


def test_a_row_holds_and_no_element_starts_before_the_first_row_outside() -> None:
    samples = [GridSample(t, (v,) * 3, 50.0) for t, v in ((0.0, 1.0), (2.0, 1.0), (4.0, 1.3), (6.0, 1.3))]
    trip = run(samples).first_trip
    assert trip is not None
    assert (trip.element, trip.t_start) == ("OV2", 4.0)
    assert trip.t == pytest.approx(4.1)


def test_the_last_row_holds_for_one_step() -> None:
    samples = [GridSample(t, (v,) * 3, 50.0) for t, v in ((0.0, 1.0), (0.5, 1.0), (1.0, 1.3))]
    trip = run(samples).first_trip
    assert trip is not None
    assert trip.t == pytest.approx(1.1)


# ---------------------------------------------------------------------------------------------------------------- gaps
def rows(*times: float) -> list[GridSample]:
    return [GridSample(t, (1.0,) * 3, 50.0) for t in times]


def held(*times: float) -> list[tuple[float, float]]:
    return [(round(until - row.t, 6), gap_s) for row, until, gap_s in spans(rows(*times))]


def test_what_is_a_gap_and_how_long_a_row_holds_before_it() -> None:
    assert held(0.0, 3.0, 6.0) == [(3.0, 0.0)] * 3  # the longest step there may be
    assert held(0.0, 2.0, 6.0, 8.0) == [(2.0, 0.0), (2.0, 4.0), (2.0, 0.0), (2.0, 0.0)]
    assert held(0.0, 0.01, 0.51, 0.52) == [(0.01, 0.0), (0.01, 0.5), (0.01, 0.0), (0.01, 0.0)]
    assert held(0.0, 0.01, 0.06, 0.07)[1] == (0.05, 0.0)  # shorter than protection's age limit
    assert held(0.0, 1.0, 3.0, 4.0)[1] == (2.0, 0.0)  # one row lost in a slow recording
    assert held(0.0, 1.0, 2.0, 2.001, 2.002)[1] == (1.0, 0.0)  # a recorder that becomes fast at an event
    assert held(0.0, 0.001, 0.002, 1.002, 2.002)[2] == (1.0, 0.0)  # and slow again
    assert held(0.0, 5.0, 5.01) == [(0.01, 5.0), (0.01, 0.0), (0.01, 0.0)]  # nobody knows the step of the first row


def test_a_gap_is_an_event_that_trips_nothing_and_counts_for_no_timer() -> None:
    low = [s for s in grid(20.0, 0.01, v=lambda t: 0.7 if t >= 1.0 else 1.0) if not 3.0 < s.t < 9.0]
    result = run(low)
    assert kinds(result, "support", "support_end") == ["ride_through", "gap", "trip"]
    gap = at(result, "gap")
    assert gap.value == pytest.approx(6.0, abs=0.011)
    assert result.first_trip is not None
    assert result.first_trip.element == "UV1"
    assert result.first_trip.t == pytest.approx(10.0, abs=0.05)  # 2 s before, 1 s after


def test_a_gap_starts_the_time_to_enter_service_anew() -> None:
    samples = [s for s in grid(150.0, 1.0) if not 50.0 < s.t < 60.0]
    result = run(samples, in_service=False)
    assert at(result, "enter_service").t_s == pytest.approx(120.0, abs=1.1)


# -------------------------------------------------------------------------------------------------------------- states
def test_in_service_permits_everything_from_the_first_row() -> None:
    result = run(grid(1.0, 0.1))
    assert result.series[0][1:] == (-10_000.0, 0.0, "connected", -22_000.0, 22_000.0)
    assert (result.events, result.final_state, result.first_trip) == ([], "connected", None)


def test_waiting_permits_nothing_until_service_is_entered_and_then_follows_the_ramp() -> None:
    result = run(grid(180.0, 0.5), in_service=False)
    assert kinds(result) == ["wait", "enter_service"]
    entered = at(result, "enter_service").t_s
    assert entered == pytest.approx(60.0, abs=TICK_S)
    assert all(p[1:] == (0.0, 0.0, "waiting", 0.0, 0.0) for p in result.series if p.t_s < entered)
    minute = next(p for p in result.series if p.t_s == 120.0)
    assert minute.permitted_min_w == pytest.approx(-2_200.0, abs=5.0)  # 10 % a minute
    assert minute.p_w == minute.permitted_min_w
    assert minute.permitted_max_w == -minute.permitted_min_w


def test_momentary_cessation_takes_all_power_and_gives_it_back() -> None:
    result = run(grid(4.0, 0.01, v=lambda t: 0.4 if 1.0 <= t < 1.5 else 1.0, f=lambda t: 60.0), IEEE)
    assert kinds(result) == ["cease", "restore"]
    cease = at(result, "cease")
    assert (cease.t_s, cease.element, cease.value) == (1.0, "LVRT", 0.4)
    assert "1547" in cease.clause
    assert next(p for p in result.series if p.t_s == pytest.approx(1.2)).permitted_min_w == 0.0
    assert result.series[-1].p_w == -10_000.0
    assert (result.final_state, result.first_trip) == ("connected", None)


def test_after_a_trip_the_charger_waits_and_enters_service_again() -> None:
    result = run(grid(80.0, 0.1, f=lambda t: 52.0 if 5.0 <= t < 6.0 else 50.0))
    story = kinds(result, "support", "support_end")
    assert story[-3:] == ["trip", "wait", "enter_service"]
    assert at(result, "trip").element == "OF1"
    assert result.final_state == "connected"


@pytest.mark.parametrize(
    ("v", "f", "element", "value"),
    [(1.16, 60.0, "HVRT", 1.16), (0.8, 60.0, "LVRT", 0.8), (1.0, 61.5, "HFRT", 61.5), (1.0, 58.6, "LFRT", 58.6)],
)
def test_an_excursion_is_told_by_its_side_and_its_value(v: float, f: float, element: str, value: float) -> None:
    samples = grid(3.0, 0.1, lambda t: v if 1.0 <= t < 2.0 else 1.0, lambda t: f if 1.0 <= t < 2.0 else 60.0)
    result = run(samples, IEEE)
    begun = next(e for e in result.events if e.kind in ("ride_through", "cease"))
    assert (begun.element, begun.value) == (element, value)
    assert kinds(result, "support", "support_end")[-1] in ("restore", "continuous")


def test_a_lost_frequency_at_a_healthy_voltage_trips_as_in_the_charger() -> None:
    result = run(grid(2.0, 0.01, f=lambda t: math.nan if t >= 1.0 else 50.0))
    assert "sense" in kinds(result)
    assert result.first_trip is not None
    assert result.first_trip.element == "SENSE"


def away(t: float) -> float:
    return 50.0 - 8.0 * max(0.0, t - 1.0)


def test_a_frequency_that_runs_away_while_power_flows_is_an_island() -> None:
    slow = replace(VDE, trips=tuple(t for t in VDE.trips if t.quantity is not Quantity.FREQUENCY))
    result = run(grid(2.0, 0.01, f=away), slow)
    event = at(result, "island")
    assert (event.element, result.first_trip.element if result.first_trip else "") == ("ISLAND", "ISLAND")
    assert "8.1.1" in event.clause
    assert event.value is not None
    assert event.value < -6.0
    assert 1.2 < event.t_s < 1.7
    assert "trip" not in kinds(result)
    nothing = run(grid(2.0, 0.01, f=away), slow, p_set_w=0.0, support=SupportSettings())
    assert "island" not in kinds(nothing)  # it feeds nothing and holds up nothing


def test_rows_far_apart_are_a_staircase_and_no_island() -> None:
    slow = replace(VDE, trips=tuple(t for t in VDE.trips if t.quantity is not Quantity.FREQUENCY))
    assert "island" not in kinds(run(grid(3.0, 0.5, f=away), slow))


def test_the_end_of_support_names_the_clause_of_its_beginning() -> None:
    result = run(grid(30.0, 0.01, f=lambda t: 50.5 if 1.0 <= t < 3.0 else 50.0))
    assert at(result, "support").clause
    assert at(result, "support_end").clause == at(result, "support").clause


def test_a_function_is_told_when_it_moves_the_power_and_when_it_stops() -> None:
    result = run(grid(60.0, 0.5, f=lambda t: 50.6 if 5.0 <= t < 30.0 else 50.0))
    assert kinds(result) == ["support", "support_end"]
    begun = at(result, "support")
    assert (begun.element, begun.t_s) == ("lfsm", pytest.approx(5.2, abs=0.3))
    assert max(p.p_w for p in result.series) == pytest.approx(-10_000.0 + 0.16 * 22_000.0)
    assert result.series[-1].p_w == -10_000.0


# --------------------------------------------------------------------------------------------------------------- files
def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


HEAD = "t_s,va_pu,vb_pu,vc_pu,f_hz\n"


def test_columns_in_any_order_with_others_between_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = "﻿F_HZ, note ,vc_v,vb_v,va_v,T_S\n50.1,x,230,231,115,1\n,,230,231,115,2\n\n50,,230,nan,115,3\n"
    recording = read_csv(write(tmp_path / "a.csv", text), 230.0)
    first, second = recording.samples
    assert first == GridSample(1.0, pytest.approx((0.5, 231 / 230, 1.0)), 50.1)
    assert math.isnan(second.f_hz)
    assert recording.holes == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column t_s, va_v, vb_v, vc_v, f_hz"),
        ("t_s,va_pu,vb_pu,f_hz\n", "no column va_v, vb_v, vc_v"),
        (HEAD + "0,1,1,1,50\n", "at least 2"),
        (HEAD + "0,1,1,1,50\n0,1,1,1,50\n", "line 3: t_s is 0; it must be above 0"),
        (HEAD + "0,1,1,1,50\n,1,1,1,50\n", "line 3: t_s is '', not a number"),
        (HEAD + "0,1,1,1,50\nnan,1,1,1,50\n", "line 3: t_s is nan"),
        (HEAD + "0,1,1,one,50\n", "line 2: vc_pu is 'one', not a number"),
        (HEAD + "0,230,230,230,50\n", "are these volts?"),
        (HEAD + "0,-1,1,1,50\n", "allowed: 0..10 pu"),
        (HEAD + "0,1,1,1,-50\n", "f_hz is -50"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_with_the_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RecordingError, match=r"a\.csv: ") as refused:
        read_csv(write(tmp_path / "a.csv", text), 230.0)
    assert said in str(refused.value)


def sine(seconds: float, sag_s: float = 1e9, fs: float = 6400.0, f: float = 50.0) -> Any:
    t = np.arange(round(seconds * fs)) / fs
    peak = np.where(t >= sag_s, 0.5, 1.0) * 230.0 * math.sqrt(2.0)
    return np.column_stack([peak * np.sin(2 * math.pi * (f * t - k / 3.0)) for k in range(3)])


def wav(path: Path, samples: Any, kind: int, bits: int, full_v: float = 1.0, fs: int = 6400) -> Path:
    if kind == 3:
        data = samples.astype(f"<f{bits // 8}").tobytes()
    else:
        whole = np.round(samples / full_v * 2 ** (bits - 1)).astype("<i4")
        data = (
            whole.astype("<i2").tobytes()
            if bits == 16
            else whole.view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()
        )
    n = samples.shape[1]
    head = struct.pack("<HHIIHH", kind, n, fs, fs * n * bits // 8, n * bits // 8, bits)
    chunks = b"fmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


@pytest.mark.parametrize(("kind", "bits"), [(3, 32), (3, 64), (1, 16), (1, 24), (1, 32)])
def test_a_wav_of_any_known_kind_is_measured(tmp_path: Path, kind: int, bits: int) -> None:
    recording = read_wav(
        wav(tmp_path / "a.wav", sine(0.5), kind, bits, 800.0), 230.0, 50.0, 800.0 if kind == 1 else None
    )
    last = recording.samples[-1]
    assert last.v_pu == pytest.approx((1.0, 1.0, 1.0), abs=0.001)
    assert last.f_hz == pytest.approx(50.0, abs=0.002)


def test_a_sag_in_samples_trips_in_time(tmp_path: Path) -> None:
    samples = read_wav(wav(tmp_path / "a.wav", sine(6.0, sag_s=1.0), 3, 32), 230.0, 50.0, None).samples
    trip = run(samples).first_trip
    assert trip is not None
    assert trip.element == "UV1"
    assert trip.t == pytest.approx(4.0, abs=0.03)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no RIFF header"),
        (b"RIFF\0\0\0\0WAVE", "no fmt or no data"),
        (None, "No such file"),
    ],
)
def test_a_wav_that_is_none_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordingError, match=f"not readable as WAV: .*{said}"):
        read_wav(path, 230.0, 50.0, None)


def test_a_wav_without_volts_or_phases_or_of_a_strange_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="--full-scale-v"):
        read_wav(wav(tmp_path / "a.wav", sine(0.1), 1, 16, 800.0), 230.0, 50.0, None)
    with pytest.raises(RecordingError, match="2 channels"):
        read_wav(wav(tmp_path / "b.wav", sine(0.1)[:, :2], 3, 32), 230.0, 50.0, None)
    with pytest.raises(RecordingError, match="kind 7 with 16 bit"):
        read_wav(wav(tmp_path / "c.wav", sine(0.1), 7, 16, 800.0), 230.0, 50.0, 1.0)
    with pytest.raises(RecordingError, match="3200"):
        read_wav(wav(tmp_path / "d.wav", sine(0.1), 3, 32, fs=1000), 230.0, 50.0, None)


def comtrade(
    folder: Path, samples: Any, unit: str = "V", side: str = "P", ratio: float = 1.0, fs: float = 6400.0
) -> Path:
    """An ASCII COMTRADE of 1999 with counts of 0.01 V."""
    n = len(samples)
    channels = [f"{k + 1},V{p},{p},,{unit},0.01,0,0,-99999,99999,{ratio},1,{side}" for k, p in enumerate("ABC")]
    stamp = "01/01/2025,00:00:00.000000"
    lines = ["desk,1,1999", "3,3A,0D", *channels, "50", "1", f"{fs:g},{n}", stamp, stamp, "ASCII", "1"]
    (folder / "r.cfg").write_text("\r\n".join(lines) + "\r\n")
    counts = np.round(samples * 100.0).astype(int)
    data = [f"{k + 1},{round(k * 1e6 / fs)}," + ",".join(map(str, row)) for k, row in enumerate(counts)]
    (folder / "r.dat").write_text("\r\n".join(data) + "\r\n")
    return folder / "r.cfg"


@pytest.mark.parametrize(
    ("scale", "unit", "side", "ratio", "nominal_v"),
    [(1.0, "V", "P", 1.0, 230.0), (0.05, "kV", "P", 1.0, 11_500.0), (0.25, "V", "S", 200.0, 11_500.0)],
)
def test_comtrade_in_volts_kilovolts_and_at_the_secondary_side(
    tmp_path: Path, scale: float, unit: str, side: str, ratio: float, nominal_v: float
) -> None:
    path = comtrade(tmp_path, sine(0.5) * scale, unit, side, ratio)
    last = read_comtrade(path, nominal_v, 50.0).samples[-1]
    assert last.v_pu == pytest.approx((1.0, 1.0, 1.0), abs=0.005)
    assert last.f_hz == pytest.approx(50.0, abs=0.005)


def test_comtrade_without_three_voltages_or_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="three channels in V or kV"):
        read_comtrade(comtrade(tmp_path, sine(0.1), unit="A"), 230.0, 50.0)
    with pytest.raises(RecordingError, match="not readable as COMTRADE"):
        read_comtrade(tmp_path / "none.cfg", 230.0, 50.0)


def test_without_the_package_comtrade_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RecordingError, match=r"quadrant\[comtrade\]"):
        read_comtrade(tmp_path / "r.cfg", 230.0, 50.0)


# ---------------------------------------------------------------------------------------------------- a user's mistakes
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--code", "nowhere", "--csv", "CSV"], "there is no grid code 'nowhere'"),
        (["--code", "no_lv", "--csv", "CSV"], "no_lv"),
        (["--code", VDE.name, "--csv", "none.csv"], "none.csv: cannot be read"),
        (["--code", VDE.name, "--csv", "CSV", "--rated-w", "0"], "--rated-w is 0; allowed: 1..1e+09 W"),
        (["--code", VDE.name, "--csv", "CSV", "--p-set-w", "nan"], "--p-set-w is nan"),
        (
            ["--code", VDE.name, "--csv", "CSV", "--q-set-var", "-30000"],
            "--q-set-var is -30000; allowed: -22000..22000",
        ),
        (["--code", VDE.name, "--csv", "CSV", "--nominal-v", "1"], "--nominal-v is 1; allowed: 50..1e+06 V"),
        (["--code", VDE.name, "--csv", "CSV", "--plot", "a.txt"], "must end in .png or .svg"),
        (["--code", VDE.name, "--csv", "CSV", "--json", "/none/o.json"], "/none/o.json: cannot be written"),
        (["--code", VDE.name, "--csv", "CSV", "--board", "nowhere"], "nowhere"),
        (["--code", "uk_g98", "--csv", "CSV"], "uk_g98"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    good = write(tmp_path / "good.csv", HEAD + "0,1,1,1,50\n0.1,1,1,1,50\n")
    assert cli.main(["replay", *(str(good) if w == "CSV" else w for w in words)]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_fixed_reactive_power_takes_the_place_of_the_codes_function(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "good.csv", HEAD + "".join(f"{k},1,1,1,60\n" for k in range(30)))
    series = tmp_path / "s.csv"
    words = ["replay", "--code", IEEE.name, "--csv", str(good), "--q-set-var", "-5000", "--series", str(series)]
    assert cli.main(words) == 0
    assert [float(r["q_var"]) for r in csv.DictReader(series.open())][-1] == pytest.approx(-5_000.0)


def test_without_matplotlib_a_plot_is_refused_with_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = write(tmp_path / "good.csv", HEAD + "0,1,1,1,50\n0.1,1,1,1,50\n")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["replay", "--code", VDE.name, "--csv", str(good), "--plot", str(tmp_path / "a.png")]) == 1
    assert "quadrant[plot]" in capsys.readouterr().err
