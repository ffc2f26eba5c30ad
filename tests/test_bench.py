"""The benchmark's own arithmetic, so that its figures can be believed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import codec, harness, run, wakeup
from tests.bench.compiled import deciding
from tests.bench.harness import Row, as_json, as_text, compare, latency, quantile


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0.0, 1.0))
def test_a_quantile_is_a_measured_sample_with_at_least_that_share_at_or_below_it(
    samples: list[float], q: float
) -> None:
    value = quantile(samples, q)
    assert value in samples
    assert sum(x <= value for x in samples) >= q * len(samples) - 1e-6
    assert sum(x < value for x in samples) <= q * len(samples) + 1e-6


def test_quantiles_of_a_known_list_are_by_nearest_rank() -> None:
    samples = [float(i) for i in range(1, 1001)]
    assert [quantile(samples, q) for q in (0.0, 0.5, 0.99, 0.999, 1.0)] == [1.0, 500.0, 990.0, 999.0, 1000.0]
    with pytest.raises(ValueError, match="of 0 samples"):
        quantile([], 0.5)


def test_latency_figures_are_microseconds() -> None:
    figures = latency([0.000_010] * 99 + [0.002])
    assert figures == {"p50": pytest.approx(10.0), "p99": pytest.approx(10.0), "p99.9": pytest.approx(2000.0),
                       "max": pytest.approx(2000.0), "n": 100.0}  # fmt: skip


def test_comparing_a_thing_with_twice_its_work_gives_two(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(harness.time, "perf_counter", lambda: clock[0])

    def works_for(seconds: float) -> Callable[[], None]:
        def work() -> None:
            clock[0] += seconds

        return work

    own, yardstick = compare(works_for(4e-6), works_for(2e-6), calls=2, rounds=15, batch=20)
    assert own["median"] == pytest.approx(2000.0)  # ns for one of the two calls
    assert yardstick["median"] == pytest.approx(1000.0)
    assert own["per_s"] == pytest.approx(5e5)


def test_the_struct_by_hand_does_the_same_work_as_the_codec() -> None:
    codec.check_same()


def test_cyclictests_histogram_becomes_samples_and_what_lies_beyond_it_counts_as_the_largest() -> None:
    thread = {"histogram": {"20": 3, "25": 1}, "cycles": 6, "min": 20, "max": 900, "avg": 30.0}
    samples = wakeup.cyclictest_samples({"thread": {"0": thread}})
    assert samples == pytest.approx([20e-6] * 3 + [25e-6] + [900e-6] * 2)


def test_a_missing_tool_is_named_with_its_package_and_the_row_says_that_it_was_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    (row,) = wakeup.rows(1.0)
    assert "stress-ng is not installed (Debian package stress-ng)" in row.skipped
    assert wakeup.missing("cyclictest") == "cyclictest is not installed (Debian package rt-tests)"
    assert "SKIPPED: stress-ng" in as_text([row])
    assert run.main(["wakeup", "--json"]) == 0
    assert "stress-ng" in json.loads(capsys.readouterr().out)["rows"][0]["skipped"]


def test_text_and_json_carry_figures_yardstick_and_ratio() -> None:
    row = Row("x", "us", {"p50": 30.0, "p99": 3000.0}, "y", {"p50": 10.0, "p99": 1000.0}, "p99", "a note")
    text = as_text([row])
    assert "3,000" in text
    assert "ratio of p99: 3.00" in text
    assert "a note" in text
    assert json.loads(as_json([row]))["rows"][0]["ratio"] == 3.0
    assert Row("x", values={"p99": 1.0}, ratio_of="p99").ratio is None


@pytest.mark.parametrize("arguments", [["nonsense"], ["--seconds", "0"], ["--seconds", "nan"]])
def test_wrong_arguments_end_with_a_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(arguments)
    assert "allowed" in (error := capsys.readouterr().err) or "there are" in error


@pytest.mark.slow
def test_the_wakeup_row_measures_the_loop_in_a_process_of_its_own() -> None:
    (row,) = wakeup.rows(2.0)
    if row.skipped:
        pytest.skip(row.skipped)
    assert row.values["n"] == 200.0
    assert all(math.isfinite(value) and value >= 0.0 for value in row.values.values())


def test_a_target_of_the_build_is_missed_by_the_sources_only_where_nothing_could_be_built() -> None:
    slow, fast = Row("a", missed="a: 15 times, not 20"), Row("a, compiled")
    none = Row("a, compiled", skipped="there is no C compiler")
    assert [row.missed for row in deciding([slow], [fast])] == ["", ""]
    assert [row.missed for row in deciding([slow], [none])] == ["a: 15 times, not 20", ""]
    assert [row.missed for row in deciding([slow], [slow])] == ["", "a: 15 times, not 20"]
