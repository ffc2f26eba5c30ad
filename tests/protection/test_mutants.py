"""A sample of spoiled protection modules must not pass the protection tests."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.protection.mutate import EQUIVALENT, ROOT, mutants, wrong_excuses


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_sample_of_mutants_is_killed_by_the_protection_tests() -> None:
    command = [sys.executable, "-m", "tests.protection.mutate", "--sample", "60", "--for", "150"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=230, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) >= 15, done.stdout  # however slow the machine is


def test_every_excuse_names_exactly_one_mutant_and_a_reason() -> None:
    assert wrong_excuses(mutants()) == []
    assert all(EQUIVALENT.values())
