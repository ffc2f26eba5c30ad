"""The pytest plugin: fixtures, a charger by marker, and a teardown that asserts the charger's health."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]
CHARGER = """
import pytest
pytestmark = pytest.mark.charger(adjust={"enter_service.delay_s": 0.0, "enter_service.ramp_duration_s": 1.0})

def ready(unit, clock):
    unit.ask(0.0)
    assert clock.wait_until(lambda: unit.status().ready, 60.0)
"""
ARGS = ("-p", "no:quadrant", "-p", "hil.bench.pytest_plugin", "-p", "no:cacheprovider")


def test_a_test_in_the_usual_form_runs_on_the_simulated_bench(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        CHARGER
        + """
def test_fixtures(grid, load, ev, recorder, fault, unit, clock, bench):
    ready(unit, clock)
    recorder.start(100.0)
    fault.insert("plant.estop")
    clock.wait(0.5)
    capture = recorder.stop()
    assert "pilot_estop" in [e.code for e in capture.events]
    assert grid.read().f_hz == 60.0 and ev.soc() == 0.6 and load.caps.p_max_w > 0
"""
    )
    pytester.runpytest(*ARGS).assert_outcomes(passed=1)


def test_a_charger_left_unhealthy_is_an_error_of_the_teardown(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        CHARGER
        + """
def test_leaves_it_broken(unit, clock, fault):
    ready(unit, clock)
    fault.insert("plant.estop")
    fault.clear = lambda: None
    clock.wait(0.5)
"""
    )
    result = pytester.runpytest(*ARGS)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*the charger is not healthy after this test*pilot_estop*"])


def test_a_bad_bench_file_is_a_usage_error_with_a_sentence(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(unit): pass")
    path = pytester.makefile(".toml", bench="[bench]\nname = 'x'\n")
    result = pytester.runpytest(*ARGS, "--bench", str(path))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*the key 'grid' is missing*"])


def test_an_instrument_that_is_not_there_is_an_error_before_the_first_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(unit): pass")
    roles = {"load": "manual", "ev": "manual", "recorder": "polling", "fault": "manual", "clock": "real"}
    text = "[bench]\nname='x'\n[grid]\ndriver='scpi'\ninstrument='ac_source'\naddress='tcp:127.0.0.1:1'\n"
    text += "[unit]\ndriver='charger'\ndirectory='/nowhere'\n"
    text += "".join(f"[{role}]\ndriver='{driver}'\n" for role, driver in roles.items())
    path = pytester.makefile(".toml", bench=text)
    result = pytester.runpytest(*ARGS, "--bench", str(path))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no instrument at tcp:127.0.0.1:1*"])
