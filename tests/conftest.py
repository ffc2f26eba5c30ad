"""Which slow tests run alone, and which a few at a time: those with real processes and real time (make test-slow)."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no wrong program: what must be quick is measured where that is the test. Who has chosen a profile
# (hypothesis itself in CI, tests/mutate_run.py) keeps it; neither has a deadline.
if settings.get_current_profile_name() == "default":
    settings.register_profile("tests", deadline=None)
    settings.load_profile("tests")

HERE = Path(__file__).parent
# These measure what real processes do to milliseconds.
ALONE = ("system/test_killed.py", "test_bench.py")
# These run real processes too, and wait for them most of the time: for whatever comes, within seconds.
WAITS = (
    "system/", "slow/test_socketcan_uml.py", "ocpp/test_foreign", "secc/test_secc_sessions.py",
    "secc/test_secc_side.py", "conformance/test_campaign.py", "test_modbus_line.py", "test_recorder_kill.py",
    "web/test_browser.py", "test_rig.py", "test_services_app.py", "test_services_controls.py",
    "test_supervisor.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            place = item.path.relative_to(HERE).as_posix()
            if place.startswith(ALONE):
                item.add_marker("alone")
            elif place.startswith(WAITS):
                item.add_marker("waits")


def pytest_collection_finish() -> None:
    """Modules and thousands of collected tests stay to the end: the collector need not look through them each time."""
    gc.collect()
    gc.freeze()
