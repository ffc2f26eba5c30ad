"""Runs mutants that are not inside of a function (see tests/mutate_run.py): numbers at the head of a module or a class.

Each has its module imported anew from the spoiled text, in a process of its own with all tests of the package, those of
its module first, of these the quick ones.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence

import pytest

from tests.mutate_run import Mutant, in_process, measured, options, prepare

MODULE_CPU_S = 120  # more hangs


def imported_anew(
    chosen: Sequence[Mutant],
    root: str,
    jobs: int,
    until: float,
    spoil: Callable[[Mutant], None],
    tests_of: Callable[[Mutant], Sequence[Sequence[str]]],
) -> tuple[list[Mutant], list[Mutant], str]:
    """(those that ran, survivors, what fails without any mutant). Stops taking new ones at `until` (monotonic).

    tests_of: files, run after run; the first run must pass without a mutant.
    """
    running: dict[int, Mutant] = {}
    done: list[Mutant] = []
    survivors: list[Mutant] = []
    queue = list(chosen)[::-1]
    if queue and time.monotonic() < until:
        first = sorted({test for mutant in chosen for test in tests_of(mutant)[0]})
        _import_what_stays(root, first)
        if in_process(lambda: _alone(root, [first])) != 0:
            return [], [], f"one of {', '.join(first)} fails"
    while queue or running:
        while queue and len(running) < jobs and time.monotonic() < until:
            mutant = queue.pop()
            pid = os.fork()
            if pid == 0:
                code = 3
                try:
                    spoil(mutant)
                    code = _alone(root, tests_of(mutant))
                finally:
                    os._exit(code)
            running[pid] = mutant
        if not running:
            break
        pid, status = os.wait()
        mutant = running.pop(pid)
        done.append(mutant)
        if os.waitstatus_to_exitcode(status) == 0:
            survivors.append(mutant)
            print(f"SURVIVED {mutant}", flush=True)
    return done, survivors, ""


def _import_what_stays(root: str, tests: Sequence[str]) -> None:
    """Everything that these tests import and that is not of this project: no mutant changes it, and it takes longer
    than most of them live."""

    def names() -> list[str]:
        prepare()
        pytest.main([*options(root), "--collect-only", *tests])
        modules = [(name, getattr(module, "__file__", None) or "") for name, module in sys.modules.items()]
        own = tuple(f"{root}/{p}/" for p in ("firmware", "tests", "hal", "hil", "boards"))
        return [name for name, file in modules if file and not file.startswith(own)]

    for name in in_process(names) or ():
        with contextlib.suppress(Exception):
            importlib.import_module(name)


class _QuickFirst:
    """The first failure ends a run: a mutant that a test of a millisecond kills does not wait for the properties."""

    def __init__(self) -> None:
        self._cost_s = {name: known.cost_s for name, known in measured().items()}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self._cost_s.get(item.nodeid, 0.0))


def _alone(root: str, runs: Sequence[Sequence[str]]) -> int:
    resource.setrlimit(resource.RLIMIT_CPU, (MODULE_CPU_S, MODULE_CPU_S))
    prepare()
    for tests in runs:
        code = int(pytest.main([*options(root), *tests], plugins=[_QuickFirst()])) if tests else 0
        if code not in (0, pytest.ExitCode.NO_TESTS_COLLECTED):  # a file of slow tests only says nothing
            return code
    return 0
