"""What tests/test_second_try.py runs in a pytest of its own. Each case leaves a letter in a file for each try."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

TRIES = Path(os.environ["QUADRANT_TEST_TRIES"])


def tried(name: str) -> int:
    """How often this case was tried, this time included."""
    with (TRIES / name).open("a") as file:
        file.write("x")
    return len((TRIES / name).read_text())


@pytest.mark.real
def test_real_once() -> None:
    assert tried("real_once") > 1


@pytest.mark.real
def test_real_always() -> None:
    tried("real_always")
    raise AssertionError("it is broken")


@pytest.mark.real
@pytest.mark.timeout(0.2)
def test_real_hangs() -> None:
    tried("real_hangs")
    time.sleep(30.0)


def test_simulated_once() -> None:
    assert tried("simulated_once") > 1
