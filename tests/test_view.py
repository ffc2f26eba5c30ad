"""The live view, rendered from constructed snapshots."""

from __future__ import annotations

import io
import math
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from rich.console import Console

from firmware.guard.messages import ElementInfo, LimitInfo, Snapshot
from firmware.guard.snapshot import limited_sentence
from firmware.lines import follow, limiter
from firmware.power.arbiter import Limit, Permitted
from firmware.view import ViewModel, number, power_bar, render, show_live
from tests.view_snapshot import BASE, TRIP, snapshot


def screen(model: ViewModel, width: int = 80, height: int = 24) -> str:
    console = Console(record=True, width=width, height=height, file=io.StringIO(), legacy_windows=False)
    console.print(render(model, width, height, "12:34:56"), end="")
    return console.export_text()


def model_of(events: int = 0, **changes: Any) -> ViewModel:
    model = ViewModel("desk")
    model.feed({"snapshot": snapshot(**changes)})
    for i in range(events):
        model.feed({"event": {"code": "car_plugged", "detail": f"number {i}", "wall_s": 1_700_000_000.0 + i}})
    return model


def test_the_screen_fits_80_by_24_and_nothing_is_cut_off_at_the_bottom() -> None:
    lines = screen(model_of(events=9)).rstrip("\n").split("\n")
    assert len(lines) == 24
    assert all(len(line) <= 80 for line in lines)
    assert "late p99 62 µs" in lines[-1]
    assert lines[-1].endswith("memory locked") or "SCHED_FIFO 50" in lines[-1]


def test_every_number_that_a_user_needs_is_on_the_small_screen() -> None:
    text = screen(model_of(events=1))
    for wanted in (
        "transfer: charging",
        "connected",
        "230.1",
        "231.2",
        "229.3",
        "50.012",
        "50.010",
        "+11.0 kW",
        "+7.4 kW",
        "operator",
        "holiday",
        "1.8 s",
        "402.5 V",
        "18.3 A",
        "54.2 %",
        "41 °C",
        "10.0 MΩ",
        "bus 31 %",
        "● grid",
        "● DC contactors",
        "○ precharge",
        "+1.234",
        "0.056 kWh",
        "number 0",
    ):
        assert wanted in text, wanted


def test_the_sentence_that_says_why_stands_near_the_top_in_its_own_frame() -> None:
    lines = screen(model_of(why="Waits 42 s: the grid must be good for 60 s first.")).split("\n")
    assert "why" in lines[1]
    assert "Waits 42 s: the grid must be good for 60 s first." in lines[2]


def test_a_problem_of_services_stands_above_everything_else() -> None:
    model = model_of()
    model.feed({"snapshot": snapshot(), "problems": ["Guard is silent: what is shown is old, and no power flows."]})
    assert "Guard is silent" in screen(model).split("\n")[2]
    model.feed({"snapshot": snapshot(), "problems": []})
    assert "Guard is silent" not in screen(model)


def test_a_long_sentence_wraps_instead_of_being_cut() -> None:
    text = screen(model_of(why="word " * 20 + "end"))
    assert "end" in text.split("\n")[3]


def test_unknown_values_are_dashes_and_not_zeros() -> None:
    unknown = dict.fromkeys(
        (
            "measured_w",
            "grid_v",
            "grid_f_hz",
            "converter_grid_v",
            "converter_grid_f_hz",
            "converter_temp_c",
            "p_ac_w",
            "v_dc_v",
            "i_dc_a",
            "insulation_ohm",
            "soc_pct",
        )
    )
    text = screen(model_of(**unknown, elements=[], limits=[]))
    assert "insulation –" in text
    assert "AC –" in text
    assert "█ measured  –" in text
    assert "0.0 V" not in text


def test_a_frequency_that_is_not_a_number_is_a_dash() -> None:
    model = model_of(grid_f_hz=math.nan)
    assert model.snapshot is not None
    assert model.snapshot["grid_f_hz"] is None  # as msgspec writes it
    assert number(math.nan, 3, "Hz") == "–"
    screen(model)


def test_a_trip_is_named_with_its_element_and_value() -> None:
    text = screen(model_of(grid_state="tripped", trip=TRIP))
    assert "tripped" in text
    assert "UF1" in text
    assert "47.420 Hz" in text


def test_the_enter_service_countdown_is_shown_while_it_runs() -> None:
    text = screen(model_of(grid_state="waiting to enter service", enter_service_remaining_s=42.3, trip=TRIP))
    assert "enters in" in text
    assert "42 s" in text


def test_before_the_first_snapshot_the_screen_says_so() -> None:
    assert "no measurement yet" in screen(ViewModel("desk"))


def test_the_emergency_stop_and_dropped_messages_are_never_hidden() -> None:
    text = screen(model_of(estop=True, dropped=3, late_max_us=12345.0))
    assert "EMERGENCY STOP" in text


def test_the_limiter_is_named_as_guard_words_it_and_marked_in_the_stack() -> None:
    limit = Limit("car", "the car's maximum current", 7_400.0, 5_000.0)
    guard: Any = SimpleNamespace(permitted=Permitted(7_400.0, limit))
    assert limited_sentence(guard) == BASE.limited_by
    assert limiter(snapshot()) == "car: the car's maximum current"
    assert limiter(snapshot(limited_by="")) == ""
    console = Console(record=True, width=110, height=50, file=io.StringIO(), force_terminal=True)
    console.print(render(model_of(), 110, 50))
    marked = console.export_text(styles=True)
    assert "\x1b[33mcar: +7.4 kW / -5.0 kW  the car's maximum current" in marked


def test_a_tall_terminal_shows_the_limiter_stack_and_more_events() -> None:
    tall = screen(model_of(events=12), width=110, height=50)
    assert "the car's maximum current" in tall
    assert "number 0" in tall
    assert "number 0" not in screen(model_of(events=12), height=24)


@pytest.mark.parametrize(("width", "height"), [(60, 20), (40, 10), (20, 5), (200, 60)])
def test_no_size_of_terminal_breaks_the_view(width: int, height: int) -> None:
    assert len(screen(model_of(events=5), width, height).rstrip("\n").split("\n")) <= height


def test_charging_fills_the_bar_to_the_right_and_discharging_to_the_left() -> None:
    charging = power_bar(10_000.0, 8_000.0, 6_000.0, 10_000.0, 21).plain
    assert charging == "──────────┼██████─┃─◆"
    discharging = power_bar(-10_000.0, -8_000.0, -6_000.0, 10_000.0, 21).plain
    assert discharging == "◆─┃─██████┼──────────"


def test_the_bar_never_leaves_its_width_and_shows_no_measurement_when_there_is_none() -> None:
    bar = power_bar(99_000.0, -99_000.0, None, 10_000.0, 21).plain
    assert len(bar) == 21
    assert "█" not in bar


def float_fields(kind: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind) if "float" in str(field.type)]


@pytest.mark.parametrize("name", [name for name in float_fields(Snapshot) if name not in ("t", "state_since")])
def test_no_number_that_is_none_breaks_the_view_or_the_line(name: str) -> None:
    value = [math.nan] * 3 if name in ("grid_v", "converter_grid_v") else math.nan
    broken = snapshot(**{name: value}, trip=msgspec.structs.replace(TRIP, value=math.nan))
    model = ViewModel("desk")
    model.feed({"snapshot": broken})
    screen(model, 110, 50)
    out = io.StringIO()
    follow([{"snapshot": snapshot()}, {"snapshot": {**broken, "state": "fault", "t": 200.0}}], out, as_json=False)
    assert len(out.getvalue().splitlines()) == 2


@pytest.mark.parametrize("name", [*float_fields(ElementInfo), *float_fields(LimitInfo)])
def test_no_element_or_limit_with_an_unknown_number_breaks_the_view(name: str) -> None:
    element, limit = BASE.elements[0], BASE.limits[0]
    if name in float_fields(ElementInfo):
        element = msgspec.structs.replace(element, **{name: math.nan})
    else:
        limit = msgspec.structs.replace(limit, **{name: math.inf})
    text = screen(model_of(elements=[element, BASE.elements[1]], limits=[limit]), 110, 50)
    assert "OV2" in text
    assert "ratings" in text


def test_infinite_limits_do_not_reach_the_scale() -> None:
    limit = LimitInfo("lease", "none", math.inf, 22_000.0, None)
    assert "lease" in screen(model_of(limits=[limit]), height=50)


def test_the_live_view_gives_the_terminal_back_and_draws_the_last_message() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, legacy_windows=False)
    show_live([{"snapshot": snapshot()}], "desk", console)
    assert "the car permits no more" in out.getvalue()
    assert out.getvalue().rstrip("\x1b[?25h").endswith("\x1b[?1049l") or "\x1b[?1049l" in out.getvalue()
