"""Which slow tests run alone: those with real processes, real time or both cores."""

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
ALONE = (
    "system/", "slow/test_socketcan_uml.py", "ocpp/", "secc/test_secc_sessions.py", "secc/test_secc_side.py",
    "conformance/test_campaign.py", "test_bench.py", "test_infy_beg.py", "test_modbus_line.py",
    "test_recorder_kill.py", "web/test_browser.py", "test_rig.py", "test_services_app.py",
    "test_services_controls.py", "test_supervisor.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE) and item.path.relative_to(HERE).as_posix().startswith(ALONE):
            item.add_marker("alone")


def pytest_collection_finish() -> None:
    """Modules and thousands of collected tests stay to the end: the collector need not look through them each time."""
    gc.collect()
    gc.freeze()
