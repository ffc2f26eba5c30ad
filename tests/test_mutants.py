"""A sample of spoiled modules must not pass the tests of their package."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import mutate_document
from tests.mutate import ROOT, SUITES, mutants, wrong_excuses
from tests.mutate_excuses import EQUIVALENT


@pytest.mark.slow
@pytest.mark.timeout(600)  # of a machine that is busy: half a minute of processor time
@pytest.mark.parametrize("suite", sorted(SUITES))
def test_a_sample_of_mutants_is_killed_by_the_tests_of_their_package(suite: str) -> None:
    command = [sys.executable, "-m", "tests.mutate", "--suite", suite, "--sample", "40"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=590, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) >= 15, done.stdout  # the others are in no function


def test_every_excuse_names_exactly_one_mutant_and_a_reason() -> None:
    found = [m for suite in SUITES.values() for m in mutants(suite.modules)]
    assert wrong_excuses(found) == []
    assert {key[0] for key in EQUIVALENT} <= {m.module for m in found}
    assert all(EQUIVALENT.values())


def test_the_document_of_survivors_is_current() -> None:
    assert mutate_document.PATH.read_text("utf-8") == mutate_document.render(), "run `make docs`"
