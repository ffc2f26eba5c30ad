"""The status as Prometheus metrics: another parser reads them, and their names keep the conventions."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from firmware import cli, metrics
from firmware.guard.messages import ElementInfo, LimitInfo
from tests.fake_charger import served
from tests.view_snapshot import snapshot

ROOT = Path(__file__).parent.parent
ELEMENTS = [
    ElementInfo("UF1", "pilot MCU grid sense", 50.0, 47.5, "Hz", 2.5, 0.0, 0.1, ""),
    ElementInfo("OV2", "pilot MCU grid sense", 1.26, 1.25, "pu", -0.01, 0.05, 0.1, ""),
    ElementInfo("81R", "converter telemetry", math.nan, 2.0, "Hz/s", math.nan, math.nan, 0.5, ""),
    ElementInfo("NOW", "converter telemetry", 1.0, 2.0, "Hz/s", 1.0, 0.0, 0.0, ""),
]


def status(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "board": 'the "desk"\\\n', "problems": ["one"], "age_s": 0.04, "snapshot": snapshot(elements=ELEMENTS),
        "energy": {"charged_wh": 1000.5, "discharged_wh": 2.0, "session": {"charged_wh": 1.0, "discharged_wh": 0.0}},
        "services": {"version": "1.2", "records_waiting": 3, "records_lost": 1, "unread_trips": 2, "not_sent": 4,
                     "bad": 5, "clients": 6},
    }  # fmt: skip
    return {**made, **changes}


def read(text: str) -> dict[str, Metric]:
    families = list(text_string_to_metric_families(text))
    assert len({f.name for f in families}) == len(families)
    return {f.name: f for f in families}


def values(families: dict[str, Metric], name: str) -> dict[str, float]:
    return {",".join(s.labels.values()): s.value for s in families[name].samples}


def test_numbers_come_through_in_base_units() -> None:
    found = read(metrics.render(status()))
    assert values(found, "quadrant_energy_charged_joules") == {"": 1000.5 * 3600.0}  # the parser drops _total
    assert found["quadrant_energy_charged_joules"].type == "counter"
    assert values(found, "quadrant_state_of_charge_ratio") == {"": pytest.approx(0.542)}
    assert values(found, "quadrant_guard_lateness_p99_seconds") == {"": pytest.approx(62e-6)}
    assert values(found, "quadrant_dc_power_watts") == {"": 7350.0}
    assert values(found, "quadrant_grid_volts") == {"l1": 230.1, "l2": 231.2, "l3": 229.3}
    assert values(found, "quadrant_contactor_closed") == {"grid": 1.0, "dc": 1.0, "precharge": 0.0}
    assert values(found, "quadrant_state") == {"transfer: charging": 1.0}
    assert values(found, "quadrant_records_waiting") == {"": 3.0}
    assert values(found, "quadrant_converter_bus_load_ratio") == {"": 0.31}


def test_protection_margins_and_timers_are_told_by_unit_and_what_is_not_measured_is_left_out() -> None:
    found = read(metrics.render(status()))
    assert values(found, "quadrant_protection_frequency_margin_hertz") == {"UF1,pilot MCU grid sense": 2.5}
    assert values(found, "quadrant_protection_voltage_margin_ratio") == {"OV2,pilot MCU grid sense": -0.01}
    assert values(found, "quadrant_protection_rocof_margin_hertz_per_second") == {"NOW,converter telemetry": 1.0}
    assert values(found, "quadrant_protection_timer_ratio") == {
        "UF1,pilot MCU grid sense": 0.0, "OV2,pilot MCU grid sense": 0.5
    }  # fmt: skip


def test_text_from_outside_cannot_break_the_format() -> None:
    found = read(metrics.render(status()))
    assert found["quadrant_build_info"].samples[0].labels == {"version": "1.2", "board": 'the "desk"\\\n'}


@given(st.text(max_size=30))
def test_any_text_in_a_label_comes_back(text: str) -> None:
    text = text.replace("\r", "")
    found = read(metrics.render({"board": text}))
    assert found["quadrant_build_info"].samples[0].labels["board"] == text


def test_a_charger_of_which_nothing_is_known_says_nothing_instead_of_zero() -> None:
    found = read(metrics.render({"snapshot": None, "age_s": None, "energy": None}))
    assert set(found) == {"quadrant_build_info", "quadrant_problems"}
    unknown = dict.fromkeys(("measured_w", "grid_v", "grid_f_hz", "p_ac_w", "v_dc_v", "soc_pct", "q_ac_var"))
    found = read(metrics.render(status(snapshot={**snapshot(), **unknown})))
    missing = ("quadrant_dc_power_watts", "quadrant_grid_volts", "quadrant_state_of_charge_ratio", "quadrant_dc_volts")
    assert not set(missing) & set(found)


def test_a_source_with_several_limits_has_one_sample_and_one_without_a_limit_has_none() -> None:
    limits = [LimitInfo("car", "a", 5.0, 7.0, None), LimitInfo("car", "b", 9.0, 3.0, None)]
    shown = snapshot(limits=[*limits, LimitInfo("lfsm", "c", math.inf, 4.0, None)])
    found = read(metrics.render(status(snapshot=shown)))
    assert values(found, "quadrant_limit_charge_watts") == {"car": 5.0}
    assert values(found, "quadrant_limit_discharge_watts") == {"car": 3.0, "lfsm": 4.0}


# ---------------------------------------------------------------------------------------------------------------- names
# The rules of `promtool check metrics` (promlint), written again: that tool is no Python package.
NOT_BASE = {
    "milliseconds", "microseconds", "nanoseconds", "minutes", "hours", "days", "weeks", "kilowatts", "kilobytes",
    "megabytes", "gigabytes", "percent", "fahrenheit", "kelvins", "millivolts", "milliamperes", "calories",
}  # fmt: skip
ABBREVIATIONS = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d", "w", "wh", "kwh", "v",
                 "a", "hz", "pct"}  # fmt: skip
TYPES = {"gauge", "counter", "summary", "histogram", "untyped"}


def lint(text: str) -> list[str]:
    """What is wrong with a page of metrics, as promtool would say."""
    problems, seen, helped = [], set(), set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, words = line.split(" ", 3)
            helped |= {name} if words.strip() else set()
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            tokens = name.split("_")
            rules = {
                "has no help": name not in helped,
                "is told twice": name in seen,
                "is not snake_case": not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name),
                "has a unit that is no base unit": bool(NOT_BASE & set(tokens)),
                "abbreviates a unit": bool(ABBREVIATIONS & set(tokens)),
                "has its type in its name": bool(TYPES & set(tokens)),
                "a counter ends in _total and nothing else does": (kind == "counter") != name.endswith("_total"),
                "has a suffix of histograms": name.endswith(("_count", "_sum", "_bucket")),
            }
            seen.add(name)
            problems += [f"{name}: {rule}" for rule, broken in rules.items() if broken]
        else:
            labels = re.findall(r'([^{},"=]+)="(?:[^"\\]|\\.)*"', line)
            problems += [f"{line}: label" for n in labels if not re.fullmatch(r"[a-z_]+", n) or n in ("le", "quantile")]
    return problems


def test_names_help_and_labels_keep_prometheus_conventions() -> None:
    shown = snapshot(elements=ELEMENTS, faults=["pilot_lost"], q_ac_var=1.0)
    text = metrics.render(status(snapshot=shown))
    assert lint(text) == []
    assert len(re.findall("^# TYPE", text, re.MULTILINE)) > 45


@pytest.mark.parametrize(
    "page",
    [
        "# TYPE z_total counter\nz_total 1",
        "# HELP z x\n# TYPE z counter\nz 1",
        "# HELP z_total x\n# TYPE z_total gauge\nz_total 1",
        "# HELP z_hours x\n# TYPE z_hours gauge\nz_hours 1",
        "# HELP z_kwh x\n# TYPE z_kwh gauge\nz_kwh 1",
        "# HELP zB x\n# TYPE zB gauge\nzB 1",
        "# HELP z_gauge x\n# TYPE z_gauge gauge\nz_gauge 1",
        '# HELP z x\n# TYPE z gauge\nz{quantile="1"} 1',
        '# HELP z x\n# TYPE z gauge\nz{bA="1"} 1',
        "# HELP z_count x\n# TYPE z_count gauge\nz_count 1",
        "# HELP z x\n# TYPE z gauge\nz 1\n# HELP z x\n# TYPE z gauge\nz 1",
    ],
)
def test_the_lint_finds_what_it_is_for(page: str) -> None:
    assert len(lint(page)) == 1


def test_every_metric_stands_in_the_document_and_none_that_is_not() -> None:
    shown = snapshot(elements=ELEMENTS, faults=["pilot_lost"], q_ac_var=1.0)
    named = set(re.findall(r"^# TYPE (\w+)", metrics.render(status(snapshot=shown)), re.MULTILINE))
    text = (ROOT / "docs" / "metrics.md").read_text()
    assert set(re.findall(r"^\| `(quadrant_\w+)", text, re.MULTILINE)) == named


def test_the_command_prints_them_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(tmp_path, json.loads(json.dumps(snapshot()))):
        assert cli.main(["metrics", "--dir", str(tmp_path)]) == 0
    assert values(read(capsys.readouterr().out), "quadrant_faults") == {"": 0.0}
    assert cli.main(["metrics", "--dir", str(tmp_path)]) == cli.NO_CHARGER
