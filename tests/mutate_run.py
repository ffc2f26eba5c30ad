"""Runs mutants (tests/mutate.py) against the tests of their package, as few tests for each as it takes.

One process collects the tests once and runs them once under coverage, which tells for each of them what it executes and
how long it takes. For each mutant it forks; the fork puts the spoiled code into the functions that are there already
and runs the tests that execute the spoiled function: first those that have killed another mutant of the same line, then
those that reach the line, the quick ones and the killers before the others. The first failure ends it.

A mutant that is not inside of a function (a number at the head of a module or a class, a default) has its module
imported anew from the spoiled text, in a process of its own with all tests of the package.
"""

from __future__ import annotations

import gc
import os
import pickle
import resource
import signal
import time
import types
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import coverage
import hypothesis
import pytest

MODULE_CPU_S = 120  # of a process of its own
TEST_CPU_S = 5.0  # and ten times what the test takes unspoiled: more hangs


class Mutant(Protocol):
    @property
    def module(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def path(self) -> str: ...
    @property
    def text(self) -> str: ...
    def compiled(self) -> types.CodeType: ...


class Outcome:
    """What a session found out. Numbers are those of the mutants chosen; those that it had no time for are in none."""

    def __init__(self) -> None:
        self.killed: list[int] = []
        self.alive: list[int] = []
        self.elsewhere: list[int] = []  # not inside of a function
        # Of each module, how many mutants each test has killed.
        self.killers: dict[str, Counter[str]] = {}
        self.broken = ""  # why nothing could be said: a test fails without any mutant


def _options(root: str) -> list[str]:
    # pytest rewrites the asserts of every package that brings a plugin, as this one does: its import hook would load a
    # module from its file, not spoiled.
    plain = ["-x", "-q", "-m", "not slow", "-p", "no:xdist", "--tb=no", "--timeout=0", "--assert=plain"]
    return [*plain, "--rootdir", root]


def _prepare() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    # No shrinking: that a mutant dies is all that is asked. A machine that is slow shall not kill any.
    hypothesis.settings.register_profile(
        "mutants",
        derandomize=True,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutants")


# --------------------------------------------------------------------------------------- the code inside of functions
def _roots(code: types.CodeType) -> dict[tuple[str, int], types.CodeType]:
    """The functions and methods of a module, by name and line; what is inside of them belongs to them."""
    found = {}
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            if const.co_flags & 0x2:  # its names are its own (CO_NEWLOCALS): a function, not the body of a class
                found[const.co_qualname, const.co_firstlineno] = const
            else:
                found.update(_roots(const))
    return found


def _shell(code: types.CodeType) -> tuple[object, ...]:
    """All of a module that is not inside of a function."""
    consts = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
    bodies = [_shell(c) for c in code.co_consts if isinstance(c, types.CodeType) and not c.co_flags & 0x2]
    return code.co_code, repr(consts), code.co_names, bodies


def _spoiled_functions(plain: types.CodeType, spoiled: types.CodeType) -> dict[tuple[str, int], types.CodeType]:
    """The functions that differ; none when something else does."""
    if _shell(plain) != _shell(spoiled):
        return {}
    before, after = _roots(plain), _roots(spoiled)
    return {key: after[key] for key in before if before[key] != after[key]}


def _functions(module: str) -> dict[tuple[str, int], list[types.FunctionType]]:
    """All function objects there are of a module, wherever a decorator or a class has put them."""
    found: dict[tuple[str, int], list[types.FunctionType]] = defaultdict(list)
    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType) and thing.__module__ == module:
            found[thing.__code__.co_qualname, thing.__code__.co_firstlineno].append(thing)
    return found


def _lines(code: types.CodeType) -> Iterator[int]:
    yield from (line for _, _, line in code.co_lines() if line is not None)
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _lines(const)


# --------------------------------------------------------------------------------------------------- one pytest session
class _Loop:
    """A pytest plugin that runs mutants in place of the tests."""

    def __init__(self, chosen: Sequence[Mutant], jobs: int, until: float, first: dict[str, list[str]] | None) -> None:
        """first: of each module, the tests to begin with; then nothing is measured beforehand."""
        self.chosen, self.jobs, self.until, self.first = chosen, jobs, until, first
        self.outcome = Outcome()
        self.began = False
        self._plain: dict[str, types.CodeType] = {}
        self._found: dict[str, dict[tuple[str, int], list[types.FunctionType]]] = {}
        self._line_killers: dict[tuple[str, int], list[int]] = defaultdict(list)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.began = True
        self.items = session.items
        self.names = [item.nodeid for item in self.items]
        numbers = {name: n for n, name in enumerate(self.names)}
        self.begin = {m: [numbers[t] for t in ts if t in numbers] for m, ts in (self.first or {}).items()}
        gc.collect()
        gc.freeze()
        self.cost_s: dict[int, float] = {}
        self.reached: dict[tuple[str, int], set[int]] = defaultdict(set)
        needed = (
            sorted({n for ns in self.begin.values() for n in ns}) if self.first is not None else range(len(self.items))
        )
        measured = self._in_fork(lambda: self._measure(session, needed))
        if isinstance(measured, str) or measured is None:
            self.outcome.broken = measured or "they ended without a word"
            return True
        costs, reached = measured
        self.cost_s = costs
        for key, tests in reached.items():
            self.reached[key] = set(tests)
        self._run(session)
        return True

    def _in_fork(self, work: Callable[[], object]) -> object:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(read)
                with os.fdopen(write, "wb") as out:
                    pickle.dump(work(), out)
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as data:
            raw = data.read()
        os.waitpid(pid, 0)
        return pickle.loads(raw) if raw else None

    def _measure(self, session: pytest.Session, numbers: Sequence[int]) -> object:
        """(CPU seconds of each test, who reaches each line), or what fails."""
        paths = {m.module: m.path for m in self.chosen}
        tracer = coverage.Coverage(data_file=None, include=list(paths.values()), config_file=False)
        if self.first is None:
            tracer.start()
        cost_s = {}
        for n, number in enumerate(numbers):
            if self.first is None:
                tracer.switch_context(str(number))
            begin = time.process_time()
            self._one(session, number, numbers[n + 1] if n + 1 < len(numbers) else None)
            cost_s[number] = time.process_time() - begin
            if session.testsfailed:
                return f"{self.names[number]} fails"
        reached: dict[tuple[str, int], list[int]] = {}
        if self.first is None:
            tracer.stop()
            data = tracer.get_data()
            for module, path in paths.items():
                for line, contexts in data.contexts_by_lineno(path).items():
                    reached[module, line] = [int(c) for c in contexts if c]
        return cost_s, reached

    def _one(self, session: pytest.Session, number: int, following: int | None) -> None:
        item = self.items[number]
        after = None if following is None else self.items[following]
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=after)

    # ------------------------------------------------------------------------------------------------------ the mutants
    def _order(self, mutant: Mutant, spoiled: dict[tuple[str, int], types.CodeType]) -> list[int]:
        kills = self.outcome.killers.setdefault(mutant.module, Counter())

        def worth(n: int) -> tuple[bool, float]:
            reaches = self.first is None and n not in self.reached[mutant.module, mutant.line]
            return reaches, (0.001 + self.cost_s.get(n, 1e3)) / (1 + kills[self.names[n]])

        line = self._line_killers[mutant.module, mutant.line]
        if self.first is None:
            mine = {n for code in spoiled.values() for x in set(_lines(code)) for n in self.reached[mutant.module, x]}
            return [*line, *sorted(mine - set(line), key=worth)]
        begin = self.begin.get(mutant.module, [])
        return [*line, *(n for n in begin if n not in line)]

    def _spoil(self, mutant: Mutant) -> dict[tuple[str, int], types.CodeType]:
        module = mutant.module
        if module not in self._plain:
            self._plain[module] = compile(mutant.text, mutant.path, "exec", dont_inherit=True)
            gc.unfreeze()
            self._found[module] = _functions(module)
            gc.freeze()
        spoiled = _spoiled_functions(self._plain[module], mutant.compiled())
        return spoiled if all(self._found[module].get(key) for key in spoiled) else {}

    def _run(self, session: pytest.Session) -> None:
        running: dict[int, tuple[int, int]] = {}  # pid: mutant, pipe
        queue = list(range(len(self.chosen)))[::-1]
        while queue or running:
            while queue and len(running) < self.jobs and time.monotonic() < self.until:
                number = queue.pop()
                mutant = self.chosen[number]
                spoiled = self._spoil(mutant)
                if not spoiled:
                    self.outcome.elsewhere.append(number)
                    continue
                order = self._order(mutant, spoiled)
                read, write = os.pipe()
                pid = os.fork()
                if pid == 0:
                    try:
                        for key, code in spoiled.items():
                            for function in self._found[mutant.module][key]:
                                function.__code__ = code
                        self._child(session, order, write)
                    finally:
                        os._exit(3)
                os.close(write)
                running[pid] = number, read
            if not running:
                return
            pid, status = os.wait()
            number, read = running.pop(pid)
            with os.fdopen(read, "rb") as data:
                said = data.read()
            if status == 0:
                self.outcome.alive.append(number)
            else:
                self._killed(number, int(said.split()[-1]) if said else None)

    def _child(self, session: pytest.Session, order: list[int], write: int) -> None:
        for k, number in enumerate(order):
            os.write(write, b"%d " % number)  # so that it is known on which one it hangs
            signal.setitimer(signal.ITIMER_PROF, TEST_CPU_S + 10.0 * self.cost_s.get(number, 6.0))
            self._one(session, number, order[k + 1] if k + 1 < len(order) else None)
            if session.testsfailed:
                os._exit(1)
        os._exit(0)

    def _killed(self, number: int, by: int | None) -> None:
        self.outcome.killed.append(number)
        if by is not None:
            mutant = self.chosen[number]
            self.outcome.killers.setdefault(mutant.module, Counter())[self.names[by]] += 1
            line = self._line_killers[mutant.module, mutant.line]
            if by in line:
                line.remove(by)
            line.insert(0, by)


def in_functions(
    chosen: Sequence[Mutant],
    root: str,
    tests: Sequence[str],
    jobs: int,
    until: float,
    first: dict[str, list[str]] | None,
) -> Outcome:
    """What one session says of them (see the module). Takes no new mutant after `until` (monotonic).

    first: of each module, the tests to begin with; then nothing is measured beforehand, and only these run.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            _prepare()
            loop = _Loop(chosen, jobs, until, first)
            code = pytest.main([*_options(root), *tests], plugins=[loop])
            if not loop.began:
                loop.outcome.broken = f"they cannot be collected ({code})"
            with os.fdopen(write, "wb") as out:
                pickle.dump(loop.outcome, out)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as data:
        raw = data.read()
    os.waitpid(pid, 0)
    if raw:
        found: Outcome = pickle.loads(raw)
        return found
    outcome = Outcome()
    outcome.broken = "the process that runs them ended without a word"
    return outcome


# ------------------------------------------------------------------------------------------------ a process of its own
def imported_anew(
    chosen: Sequence[Mutant], root: str, jobs: int, until: float, spoil: Callable[[Mutant], None],
    tests_of: Callable[[Mutant], Sequence[Sequence[str]]],
) -> tuple[list[Mutant], list[Mutant]]:  # fmt: skip
    """(those that ran, survivors). Stops taking new ones at `until` (monotonic). tests_of: files, run after run."""
    running: dict[int, Mutant] = {}
    done: list[Mutant] = []
    survivors: list[Mutant] = []
    queue = list(chosen)[::-1]
    while queue or running:
        while queue and len(running) < jobs and time.monotonic() < until:
            mutant = queue.pop()
            pid = os.fork()
            if pid == 0:
                code = 3
                try:
                    code = _alone(mutant, root, spoil, tests_of(mutant))
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
    return done, survivors


def _alone(mutant: Mutant, root: str, spoil: Callable[[Mutant], None], runs: Sequence[Sequence[str]]) -> int:
    resource.setrlimit(resource.RLIMIT_CPU, (MODULE_CPU_S, MODULE_CPU_S))
    spoil(mutant)
    _prepare()
    for tests in runs:
        code = int(pytest.main([*_options(root), *tests])) if tests else 0
        if code not in (0, pytest.ExitCode.NO_TESTS_COLLECTED):  # a file of slow tests only says nothing
            return code
    return 0
