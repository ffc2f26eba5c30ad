"""Which tests run alone and which a few at a time (make test-slow), and which of them get a second try, told aloud.

The rule: a test waits for the condition itself, with a limit that no loaded machine misses (tests/waiting.py). What is
in simulated time (tests/simulated_loop.py too) does the same each time, and its failure is a failure: no second try.

What goes through real sockets, processes, threads or the clock on the wall can still be held up by a machine that does
something else for seconds. Such a test (mark `real`: the lists below, all that is `waits` or `alone`, users of the
helpers below, and tests that carry the mark themselves) is tried once more when it fails. The summary names it (RERUN,
with `-rR`) and `.ci/run` says so again at its end: a test that shows up there is looked into, for a race is a defect of
the test or of the program. A test that fails twice fails, and one that hung until its time was over gets no second try.
tests/test_second_try.py holds this to its word.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no wrong program: what must be quick is measured where that is the test. The Makefile asks for the
# same examples each time, so that a commit is judged by itself and not by luck; by hand every run searches anew. Who
# has chosen a profile (hypothesis itself in CI, tests/mutate_run.py) keeps it; both are like that too.
if settings.get_current_profile_name() == "default":
    same = bool(os.environ.get("QUADRANT_SAME_EXAMPLES"))
    settings.register_profile("tests", deadline=None, derandomize=same, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("tests")

HERE = Path(__file__).parent
# These measure what real processes do to milliseconds.
ALONE = ("system/test_killed.py", "test_bench.py")
# These run whole rigs and cars in real time and wait for them most of the time: for whatever comes, within seconds.
# Emulated devices that a busy machine leaves alone for a tenth of a second fall silent, and the charger rightly trips.
WAITS = ("system/", "slow/test_socketcan_uml.py", "secc/test_secc_sessions.py", "test_rig.py", "web/test_browser.py")
# Whoever uses something of these has real sockets, processes or threads, whether it is fast or slow.
HELPERS = frozenset({
    "tests.fake_charger", "tests.ocpp.foreign_peer", "tests.secc.stand", "tests.secc.tales", "tests.secc.talker",
    "tests.system.charger", "tests.waiting",
})  # fmt: skip
# And these have some of their own.
REAL = (
    "bench_roles/", "conformance/test_campaign.py", "conformance/test_cluster.py", "conformance/test_conform.py",
    "guard/test_loop.py", "guard/test_realtime.py", "ocpp/test_kill.py", "ocpp/test_transport.py",
    "secc/test_ev_command.py", "secc/test_ev_wires.py", "secc/test_secc_car.py", "secc/test_secc_recording.py",
    "test_compiled.py", "test_device_converter.py", "test_modbus_insulation.py", "test_modbus_line.py",
    "test_modbus_meters.py", "test_ocpp_command.py", "test_pilot_mcu.py", "test_recorder_kill.py",
    "test_runner.py", "test_secc_bridge.py", "test_serial_port.py", "test_services_back_end.py", "web/",
)  # fmt: skip
REAL_TIMEOUT_S = 300.0  # both tries together; several limits of tests/waiting.py fit into it


def of_helpers(item: pytest.Item) -> bool:
    """Does its module use something of HELPERS?"""
    module = getattr(item, "module", None)
    return any(str(getattr(value, "__module__", "")) in HELPERS for value in vars(module).values()) if module else False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            place = item.path.relative_to(HERE).as_posix()
            if place.startswith(ALONE):
                item.add_marker("alone")
            elif place.startswith(WAITS):
                item.add_marker("waits")
            if place.startswith((*ALONE, *WAITS, *REAL)) or of_helpers(item):
                item.add_marker("real")
            if item.get_closest_marker("real") is not None:
                item.add_marker(pytest.mark.flaky(reruns=1, rerun_except="from pytest-timeout"))
                if item.get_closest_marker("timeout") is None:
                    item.add_marker(pytest.mark.timeout(REAL_TIMEOUT_S))


def pytest_collection_finish() -> None:
    """Modules and thousands of collected tests stay to the end: the collector need not look through them each time."""
    gc.collect()
    gc.freeze()
