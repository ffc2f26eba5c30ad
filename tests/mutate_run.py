"""Runs mutants (tests/mutate.py) against the tests of their package, as few tests for each as it takes.

One process collects the tests once and runs them once with functions that tell when they are called, so that it knows
of each test what it executes and how long it takes (kept in out/ for the next time). For each mutant it forks; the fork
puts the spoiled code into the functions that are there already and runs the tests that execute the spoiled one: first
those that have killed another mutant of the same line, then quick ones, those of few functions and killers before the
others. The first failure ends it.

A mutant that is not inside of a function (a number at the head of a module or a class, a default) is for
tests/mutate_anew.py.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import os
import pickle
import signal
import sys
import time
import types
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import hypothesis
import pytest

HANGS_CPU_S = 5.0  # a test that takes longer than this and ten times what it takes unspoiled hangs


MEASURED = Path(__file__).parent.parent / "out" / "mutate-tests.pickle"
REACHED = "_reached_by_the_test"
ENDED = "the process that runs them ended without a word"
First = dict[str, list[str]]


class Module(NamedTuple):
    name: str
    path: str
    text: str  # as it was when its mutants were made


class Mutant(Protocol):
    def __str__(self) -> str: ...
    @property
    def module(self) -> str: ...
    @property
    def line(self) -> int: ...
    def compiled(self) -> types.CodeType: ...


class Outcome:
    """What a session found out. Numbers are those of the mutants chosen; those that it had no time for are in none."""

    def __init__(self) -> None:
        self.killed: list[int] = []
        self.alive: list[int] = []
        self.elsewhere: list[int] = []  # not inside of a function
        self.ran_elsewhere: list[Any] = []  # of these, the mutants that were run after all
        # Of each module, how many mutants each test has killed.
        self.killers: dict[str, Counter[str]] = {}
        self.broken = ""  # why nothing could be said: a test fails without any mutant


def in_process(work: Callable[[], Any]) -> Any:
    """What a fork returns; None when it ended without."""
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


def options(root: str) -> list[str]:
    # pytest rewrites the asserts of every package that brings a plugin, as this one does: its import hook would load a
    # module from its file, not spoiled.
    plain = ["-x", "-q", "-m", "not slow", "-p", "no:xdist", "--tb=no", "--timeout=0", "--assert=plain"]
    return [*plain, "--rootdir", root]


def prepare() -> None:
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


def _reporting(module: Module) -> types.CodeType:
    """The module with functions and methods that put their name into REACHED when they are called."""
    tree = ast.parse(module.text)
    todo: list[tuple[str, ast.AST]] = [("", tree)]
    while todo:
        prefix, parent = todo.pop()
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.FunctionDef):
                report = ast.parse(f"{REACHED}.add({(module.name, prefix + node.name)!r})").body[0]
                for part in ast.walk(report):
                    ast.copy_location(part, node.body[0])
                node.body.insert(0, report)
            else:
                todo.append((f"{prefix}{node.name}." if isinstance(node, ast.ClassDef) else prefix, node))
    return compile(tree, module.path, "exec", dont_inherit=True)


# --------------------------------------------------------------------------------------------------- one pytest session
class Known(NamedTuple):
    """What was measured of a test."""

    file: str  # hash of its file and all modules as they were then
    cost_s: float  # of processor time
    reaches: frozenset[tuple[str, str]]  # module, function


def measured() -> dict[str, Known]:
    """Of each test, the last time."""
    return pickle.loads(MEASURED.read_bytes()) if MEASURED.exists() else {}


class _Loop:
    """A pytest plugin that runs mutants in place of the tests."""

    def __init__(
        self, chosen: Sequence[Mutant], jobs: int, until: float, modules: Sequence[Module], first: First | None
    ) -> None:
        self.chosen, self.jobs, self.until, self.modules, self.first = chosen, jobs, until, modules, first
        self.outcome = Outcome()
        self.began = False
        self.tell: Callable[[str], object] = print
        self._plain = {m.name: compile(m.text, m.path, "exec", dont_inherit=True) for m in modules}
        self._found: dict[str, dict[tuple[str, int], list[types.FunctionType]]] = {}
        self._line_killers: dict[tuple[str, int], list[int]] = defaultdict(list)
        self._cost_s: dict[int, float] = {}
        self._price: dict[int, float] = {}  # a test of few functions says more of each than one that uses all
        self._reaching: dict[tuple[str, str], set[int]] = defaultdict(set)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.began = True
        self.session = session
        self.names = [item.nodeid for item in session.items]
        gc.unfreeze()  # what somebody has frozen is not among the objects that the collector tells
        for module in self.modules:
            self._found[module.name] = _functions(module.name)
        gc.collect()
        gc.freeze()
        if self.first is None:
            self._learn()
        if not self.outcome.broken:
            self._run()
            self._check()
        return True

    def _test(self, number: int, following: int | None) -> bool:
        items = self.session.items
        after = None if following is None else items[following]
        self.session.config.hook.pytest_runtest_protocol(item=items[number], nextitem=after)
        return not self.session.testsfailed

    def _all(self, numbers: Sequence[int], before: Callable[[int], None]) -> int | None:
        """Run these tests in this order; the first that fails."""
        for k, number in enumerate(numbers):
            before(number)
            if not self._test(number, numbers[k + 1] if k + 1 < len(numbers) else None):
                return number
        return None

    # ----------------------------------------------------------------------------------------------------- the tests
    def _learn(self) -> None:
        """What each test executes, and how long it takes; as it was the last time, unless its file or one of the
        modules has changed since."""
        known = measured()
        texts = "".join(module.text for module in self.modules).encode()
        files = {str(i.path): hashlib.sha256(i.path.read_bytes() + texts).hexdigest() for i in self.session.items}
        now = [files[str(i.path)] for i in self.session.items]
        new = [n for n, name in enumerate(self.names) if name not in known or known[name].file != now[n]]
        MEASURED.parent.mkdir(exist_ok=True)
        for part in (new[i : i + 50] for i in range(0, len(new), 50)):
            said = in_process(lambda part=part: self._measure(part))
            if not isinstance(said, dict):
                self.outcome.broken = said or ENDED
                return
            known |= {self.names[n]: Known(now[n], *found) for n, found in said.items()}
            MEASURED.write_bytes(pickle.dumps(known))
        for n, name in enumerate(self.names):
            self._cost_s[n] = known[name].cost_s
            self._price[n] = (0.001 + known[name].cost_s) * len(known[name].reaches)
            for function in known[name].reaches:
                self._reaching[function].add(n)

    def _measure(self, numbers: Sequence[int]) -> object:
        """(CPU seconds, functions reached) of each test, or what fails."""
        reached: set[tuple[str, str]] = set()
        for module in self.modules:
            setattr(sys.modules[module.name], REACHED, reached)
            for key, code in _roots(_reporting(module)).items():
                for function in self._found[module.name].get(key, ()):
                    function.__code__ = code
        found = {}
        for n, number in enumerate(numbers):
            reached.clear()
            begin = time.process_time()
            if not self._test(number, numbers[n + 1] if n + 1 < len(numbers) else None):
                return f"{self.names[number]} fails"
            found[number] = time.process_time() - begin, frozenset(reached)
        return found

    def _check(self) -> None:
        """A test that fails without any mutant has killed none."""
        used = {name for counts in self.outcome.killers.values() for name in counts}
        numbers = [n for n, name in enumerate(self.names) if name in used]
        failing = in_process(lambda: (self._all(numbers, lambda _: None),))
        if failing != (None,):
            self.outcome.broken = f"{self.names[failing[0]]} fails" if failing else ENDED

    # --------------------------------------------------------------------------------------------------- the mutants
    def _order(self, mutant: Mutant, spoiled: Iterable[tuple[str, int]]) -> list[int]:
        kills = self.outcome.killers.setdefault(mutant.module, Counter())
        line = self._line_killers[mutant.module, mutant.line]
        if self.first is None:
            mine = {n for name, _ in spoiled for n in self._reaching[mutant.module, name]} - set(line)
            return [*line, *sorted(mine, key=lambda n: self._price[n] / (1 + kills[self.names[n]]))]
        numbers = {name: n for n, name in enumerate(self.names)}
        mine = [numbers[t] for t in self.first.get(mutant.module, ()) if t in numbers]
        mine.sort(key=lambda n: -kills[self.names[n]])
        return list(dict.fromkeys([*line, *mine, *numbers.values()]))

    def _run(self) -> None:
        running: dict[int, tuple[int, int]] = {}  # pid: mutant, pipe
        queue = list(range(len(self.chosen)))[::-1]
        while queue or running:
            while queue and len(running) < self.jobs and time.monotonic() < self.until:
                number = queue.pop()
                mutant = self.chosen[number]
                spoiled = _spoiled_functions(self._plain[mutant.module], mutant.compiled())
                if not spoiled or not all(self._found[mutant.module].get(key) for key in spoiled):
                    self.outcome.elsewhere.append(number)
                    continue
                read, write = os.pipe()
                pid = os.fork()
                if pid == 0:
                    try:
                        self._child(mutant, spoiled, write)
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
                self.tell(f"SURVIVED {self.chosen[number]}")
            else:
                self._killed(number, int(said.split()[-1]) if said else None)

    def _child(self, mutant: Mutant, spoiled: dict[tuple[str, int], types.CodeType], write: int) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        order = self._order(mutant, spoiled)
        for key, code in spoiled.items():
            for function in self._found[mutant.module][key]:
                function.__code__ = code

        def before(number: int) -> None:
            os.write(write, b"%d " % number)  # so that it is known on which one it hangs
            signal.setitimer(signal.ITIMER_PROF, HANGS_CPU_S + 10.0 * self._cost_s.get(number, 6.0))

        os._exit(0 if self._all(order, before) is None else 1)

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
    modules: Sequence[Module],
    root: str,
    tests: Sequence[str],
    jobs: int,
    until: float,
    first: First | None,
) -> Outcome:
    """What one session says of them (see the module). Takes no new mutant after `until` (monotonic).

    modules: all that may be spoiled. first: of each module the tests to begin with; then nothing is measured, and a
    mutant that lives has seen all tests.
    """

    def session() -> Outcome:
        loop = _Loop(chosen, jobs, until, modules, first)
        signal.signal(signal.SIGTERM, lambda *_: setattr(loop, "until", 0.0))  # what is done shall be told
        terminal = os.dup(1)
        loop.tell = lambda line: os.write(terminal, f"{line}\n".encode())
        prepare()
        code = pytest.main([*options(root), *tests], plugins=[loop])
        if not loop.began:
            loop.outcome.broken = f"they cannot be collected ({code})"
        return loop.outcome

    outcome: Outcome | None = in_process(session)
    if outcome is None:
        outcome = Outcome()
        outcome.broken = ENDED
    return outcome
