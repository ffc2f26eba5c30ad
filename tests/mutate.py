"""Tests of the tests: spoil one operator or number of the pure packages at a time and see whether a test notices.

    python -m tests.mutate                            a sample of mutants of all modules, chosen by --seed
    python -m tests.mutate --suite grid_support       of one package; --only volt_var: of one module
    python -m tests.mutate --all --record             every mutant (an hour); results into tests/mutation.json
    python -m tests.mutate --list                     what would be spoiled

A mutant is one change of one module: a comparison made strict, loose or turned round, `and` for `or`, plus for minus,
times for divided by, `min` for `max`, a sign or a `not` dropped, a truth value flipped, an integer by one, a decimal
number by one percent. Decorators are left alone. Each runs in a fork of its own with the fast tests of its package,
those of its module first; nothing is written to disk. A mutant that no test kills is printed, and the exit code is 1,
unless it stands in EQUIVALENT (mutate_excuses.py) with the reason why it cannot be told apart. A mutant that needs more
than CPU_LIMIT_S of processor time hangs, which counts as noticed; wall time counts for nothing.
"""

from __future__ import annotations

import argparse
import ast
import functools
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import hypothesis
import pytest

from tests.mutate_excuses import EQUIVALENT

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "tests" / "mutation.json"
CPU_LIMIT_S = 120


class Suite(NamedTuple):
    """Modules that are spoiled, and the tests (files below tests/) that must notice."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


def _suite(package: str, tests: tuple[str, ...], more: tuple[str, ...] = ()) -> Suite:
    """Every module of firmware/`package`, and every test in tests/`package`."""
    modules = sorted(p.stem for p in (ROOT / "firmware" / package).glob("*.py") if p.stem != "__init__")
    own = sorted(f"{package}/{p.name}" for p in (ROOT / "tests" / package).glob("test_*.py"))
    return Suite((*more, *(f"firmware.{package}.{m}" for m in modules)), (*own, *tests))


SUITES = {
    "grid_support": _suite("grid_support", ()),
    "protection": _suite(
        "protection", ("test_grid_codes.py", "test_grid_code_profiles.py"), ("firmware.grid_codes.chain",)
    ),
}

_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}
_MIN_MAX = {"min": "max", "max": "min"}


class Mutant(NamedTuple):
    module: str
    line: int
    source: str  # the line as written
    change: str
    number: int  # of the node in the order of a visit
    new: ast.AST  # to be put in its place

    @property
    def code(self) -> str:
        """The whole module, spoiled. Made when it is asked for: of thousands of mutants, few are run."""
        tree = _Replace(self.number, self.new).visit(ast.parse(_text(self.module)))
        return ast.unparse(ast.fix_missing_locations(tree))

    @property
    def key(self) -> tuple[str, str, str]:
        return self.module, self.source, self.change


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """(what is changed, the node to put in place) for every way to spoil this node."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for other in _COMPARE[type(op)]:
                ops = [*node.ops[:i], other(), *node.ops[i + 1 :]]
                yield f"{type(op).__name__} -> {other.__name__}", ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.BoolOp):
        swapped: ast.boolop = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield f"{type(node.op).__name__} -> {type(swapped).__name__}", ast.BoolOp(swapped, node.values)
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        op2 = _ARITHMETIC[type(node.op)]
        yield f"{type(node.op).__name__} -> {op2.__name__}", ast.BinOp(node.left, op2(), node.right)
    elif isinstance(node, ast.AugAssign) and type(node.op) in _ARITHMETIC:
        op2 = _ARITHMETIC[type(node.op)]
        yield f"{type(node.op).__name__}= -> {op2.__name__}=", ast.AugAssign(node.target, op2(), node.value)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield f"{type(node.op).__name__} dropped", node.operand
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _MIN_MAX:
        other = ast.Name(_MIN_MAX[node.func.id], ast.Load())
        yield f"{node.func.id} -> {other.id}", ast.Call(other, node.args, node.keywords)
    elif isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, bool):
            yield f"{value} -> {not value}", ast.Constant(not value)
        elif isinstance(value, int):
            yield f"{value} -> {value + 1}", ast.Constant(value + 1)
            yield f"{value} -> {value - 1}", ast.Constant(value - 1)
        elif isinstance(value, float):
            step = abs(value) / 100.0 or 0.01
            yield f"{value} + 1 %", ast.Constant(value + step)
            yield f"{value} - 1 %", ast.Constant(value - step)


class _Replace(ast.NodeTransformer):
    """Puts `new` in place of the node with this number, counted as `_visit_order` does."""

    def __init__(self, number: int, new: ast.AST) -> None:
        self.left, self.new = number, new

    def visit(self, node: ast.AST) -> ast.AST:
        self.left -= 1
        if self.left == -1:
            return ast.copy_location(self.new, node)
        return self.generic_visit(node)


def _visit_order(tree: ast.AST) -> Iterator[ast.AST]:
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from _visit_order(child)


@functools.cache  # one reading: a mutant is made later than the list of them
def _text(module: str) -> str:
    return (ROOT / Path(*module.split("."))).with_suffix(".py").read_text("utf-8")


def _sha(module: str) -> str:
    return hashlib.sha256(_text(module).encode()).hexdigest()[:12]


def mutants(modules: tuple[str, ...]) -> list[Mutant]:
    found = []
    for module in modules:
        text = _text(module)
        lines = text.splitlines()
        tree = ast.parse(text)
        decorators = [d for n in ast.walk(tree) for d in getattr(n, "decorator_list", ())]
        spared = {id(n) for d in decorators for n in ast.walk(d)}
        for number, node in enumerate(_visit_order(tree)):
            for change, new in () if id(node) in spared else _changes(node):
                line = getattr(node, "lineno", 1)
                found.append(Mutant(module, line, lines[line - 1].strip(), change, number, new))
    return _numbered(found)


def _numbered(found: list[Mutant]) -> list[Mutant]:
    """The second and further ones of the same change in equal lines are told apart by a number behind the change."""
    times: Counter[tuple[str, str, str]] = Counter()
    numbered = []
    for mutant in found:
        times[mutant.key] += 1
        n = times[mutant.key]
        numbered.append(mutant if n == 1 else mutant._replace(change=f"{mutant.change} #{n}"))
    return numbered


def wrong_excuses(found: list[Mutant]) -> list[tuple[str, str, str]]:
    """Excuses that fit no mutant any more."""
    keys, modules = [m.key for m in found], {m.module for m in found}
    return [key for key in EQUIVALENT if key[0] in modules and keys.count(key) != 1]


class _Spoiled(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from the mutant's text, everything else as always."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, fullname: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if fullname == self.mutant.module:
            return importlib.util.spec_from_loader(fullname, self)
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.mutant.code, f"<mutant of {self.mutant.module}>", "exec"), module.__dict__)


def _child(mutant: Mutant | None, suite: Suite) -> int:
    """In the fork: run the tests; 0 = all passed."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
    if mutant is not None:
        sys.meta_path.insert(0, _Spoiled(mutant))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    # No shrinking: that a mutant dies is all that is asked.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, deadline=None, phases=phases)
    hypothesis.settings.load_profile("mutants")
    options = ["-x", "-q", "-m", "not slow", "-p", "no:xdist", "--tb=no", "--timeout=0", "--rootdir", str(ROOT)]
    # pytest rewrites the asserts of every package that brings a plugin, as this one does: its import hook would then
    # load the module from its file, not spoiled.
    options.append("--assert=plain")
    # The module's own tests first, by themselves: collecting all of them takes longer than most mutants live.
    own = [] if mutant is None else [t for t in suite.tests if _is_about(t, mutant.module)]
    for tests in (own, [t for t in suite.tests if t not in own]):
        code = int(pytest.main([*options, *(str(ROOT / "tests" / t) for t in tests)])) if tests else 0
        if code not in (0, pytest.ExitCode.NO_TESTS_COLLECTED):  # a file of slow tests only says nothing
            return code
    return 0


def _is_about(test: str, module: str) -> bool:
    name = module.rpartition(".")[2]
    return name in test or f"from {module} import" in (ROOT / "tests" / test).read_text("utf-8")


def _fork(mutant: Mutant | None, suite: Suite) -> int:
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            code = _child(mutant, suite)
        finally:
            os._exit(code)
    return pid


def run(chosen: list[Mutant], suite: Suite, jobs: int, until: float) -> tuple[list[Mutant], int]:
    """(survivors, how many ran). Stops taking new mutants at `until` (monotonic)."""
    running: dict[int, Mutant] = {}
    survivors, ran, queue = [], 0, chosen[::-1]
    while queue or running:
        while queue and len(running) < jobs and time.monotonic() < until:
            mutant = queue.pop()
            running[_fork(mutant, suite)] = mutant
        if not running:
            break
        pid, status = os.wait()
        mutant = running.pop(pid)
        ran += 1
        if os.waitstatus_to_exitcode(status) == 0:
            survivors.append(mutant)
            print(f"SURVIVED {mutant.module}:{mutant.line}: {mutant.change}: {mutant.source}", flush=True)
    return survivors, ran


def _record(module: str, total: int, survivors: list[Mutant]) -> None:
    """Result of a whole module, excused mutants not run, into tests/mutation.json."""
    record = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}
    excused = sum(1 for key in EQUIVALENT if key[0] == module)
    alive = [f"{m.source} [{m.change}]" for m in survivors]
    record[module] = {"sha256": _sha(module), "mutants": total, "equivalent": excused, "survived": alive}
    RECORD.write_text(json.dumps(dict(sorted(record.items())), indent=1) + "\n", "utf-8")


def _passes(suite: Suite) -> bool:
    _, status = os.waitpid(_fork(None, suite), 0)
    return os.waitstatus_to_exitcode(status) == 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Do the tests notice a spoiled firmware/protection or grid_support?")
    parser.add_argument("--suite", choices=sorted(SUITES), default=None, help="one package; default: all")
    parser.add_argument("--only", default="", help="modules whose name ends with this")
    parser.add_argument("--all", action="store_true", help="every mutant, not a sample")
    parser.add_argument("--record", action="store_true", help="with --all: results into tests/mutation.json")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", type=int, default=60, help="mutants of each package, of modules on record")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--for", type=float, default=1e9, dest="seconds", metavar="SECONDS")
    args = parser.parse_args(argv)
    until = time.monotonic() + args.seconds
    ran = alive = 0
    for name in [args.suite] if args.suite else sorted(SUITES):
        suite = SUITES[name]
        modules = tuple(m for m in suite.modules if m.endswith(args.only))
        found = mutants(modules)
        if wrong := wrong_excuses(found):
            print("EQUIVALENT must name exactly one mutant each:", *wrong, sep="\n  ")
            return 2
        worth = [m for m in found if m.key not in EQUIVALENT]
        if args.list:
            print(*(f"{m.module}:{m.line}: {m.change}: {m.source}" for m in worth), sep="\n")
            continue
        # Without a mutant everything must pass, or a broken test would kill them all.
        if worth and not _passes(suite):
            print(f"the tests of {name} fail without any mutant; mend them first")
            return 2
        if not args.all:
            # Of the modules whose mutants have all been run once: docs/mutation.md names the others.
            held = {m for m, found in json.loads(RECORD.read_text("utf-8")).items() if not found.get("earlier")}
            worth = [m for m in worth if m.module in held]
            chosen = random.Random(args.seed).sample(worth, min(args.sample, len(worth)))
            survivors, count = run(chosen, suite, args.jobs, until)
            ran, alive = ran + count, alive + len(survivors)
            continue
        for module in modules:
            sha = _sha(module)
            mine = [m for m in worth if m.module == module]
            survivors, count = run(mine, suite, args.jobs, until)
            ran, alive = ran + count, alive + len(survivors)
            print(f"{module}: {count} of {len(mine)} ran, {len(survivors)} survived", flush=True)
            if args.record and count == len(mine) and sha == _sha(module):
                _record(module, sum(m.module == module for m in found), survivors)
    if not args.list:
        print(f"{ran} mutants ran, {ran - alive} killed, {alive} survived")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
