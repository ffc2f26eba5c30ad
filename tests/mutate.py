"""Tests of the tests: spoil one operator or number of the pure packages at a time and see whether a test notices.

    python -m tests.mutate                            a sample of mutants of all modules, chosen by --seed
    python -m tests.mutate --suite grid_support       of one package; --only volt_var: of one module
    python -m tests.mutate --all --record             every mutant (minutes); results into tests/mutation.json
    python -m tests.mutate --list                     what would be spoiled

A mutant is one change of one module: a comparison made strict, loose or turned round, `and` for `or`, plus for minus,
times for divided by, `min` for `max`, a sign or a `not` dropped, a truth value flipped, an integer by one, a decimal
number by one percent. Decorators are left alone. tests/mutate_run.py runs them, against the fast tests of their
package; nothing in the package is written. A mutant that no test kills is printed, and the exit code is 1, unless it
stands in EQUIVALENT (mutate_excuses.py) with the reason why it cannot be told apart. A test that hangs has noticed, and
it is processor time that says so, not the wall's.
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
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

from tests.mutate_anew import imported_anew
from tests.mutate_excuses import EQUIVALENT
from tests.mutate_run import Module, Outcome, in_functions

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "tests" / "mutation.json"


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
    "grid_support": _suite("grid_support", ("protection/test_shortcuts.py",)),
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

    def compiled(self) -> CodeType:
        """The whole module, spoiled, every line where it was."""
        tree = _Replace(self.number, self.new).visit(ast.parse(_text(self.module)))
        return compile(ast.fix_missing_locations(tree), _path(self.module), "exec", dont_inherit=True)

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.change}: {self.source}"

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
    return Path(_path(module)).read_text("utf-8")


def _sha(module: str) -> str:
    return hashlib.sha256(_text(module).encode()).hexdigest()[:12]


def _sha_now(module: str) -> str:
    """Of the file as it is, whatever was read before: somebody may be writing it while hours of mutants run."""
    return hashlib.sha256(Path(_path(module)).read_bytes()).hexdigest()[:12]


def _path(module: str) -> str:
    return str((ROOT / Path(*module.split("."))).with_suffix(".py"))


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
        exec(self.mutant.compiled(), module.__dict__)


def _is_about(test: str, module: str) -> bool:
    name = module.rpartition(".")[2]
    return name in test or f"from {module} import" in (ROOT / "tests" / test).read_text("utf-8")


def _runs(mutant: Mutant, suite: Suite) -> list[list[str]]:
    """The module's own tests first, by themselves: collecting all of them takes longer than most mutants live."""
    own = [t for t in suite.tests if _is_about(t, mutant.module)]
    others = [t for t in suite.tests if t not in own]
    return [[str(ROOT / "tests" / t) for t in tests] for tests in (own, others)]


def run(
    chosen: list[Mutant], suite: Suite, jobs: int, until: float, first: dict[str, list[str]] | None = None
) -> tuple[list[Mutant], list[Mutant], Outcome]:
    """(those that ran, the survivors, what the session found out)."""
    tests = [str(ROOT / "tests" / t) for t in suite.tests]
    modules = [Module(name, _path(name), _text(name)) for name in suite.modules]
    outcome = in_functions(chosen, modules, str(ROOT), tests, jobs, until, first)
    if outcome.broken:
        return [], [], outcome
    alive = [chosen[n] for n in outcome.alive]
    done = [chosen[n] for n in outcome.killed] + alive
    if first is not None:
        return done, alive, outcome  # a sample goes without those that are imported anew: each takes long
    outcome.ran_elsewhere, found, outcome.broken = imported_anew(
        [chosen[n] for n in outcome.elsewhere],
        str(ROOT),
        jobs,
        until,
        lambda m: sys.meta_path.insert(0, _Spoiled(m)),
        lambda m: _runs(m, suite),
    )
    return done + outcome.ran_elsewhere, alive + found, outcome


def _told(mutant: Mutant) -> str:
    return f"{mutant.source} [{mutant.change}]"


def _record(module: str, total: int, not_run: int, survivors: list[Mutant], killers: Counter[str]) -> None:
    """Result of a whole module, excused mutants not run, into tests/mutation.json. not_run: of the mutants that are
    imported anew, those that there was no time for."""
    record = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}
    excused = sum(1 for key in EQUIVALENT if key[0] == module)
    alive = [_told(m) for m in survivors]
    record[module] = {
        "sha256": _sha(module),
        "mutants": total,
        "equivalent": excused,
        "not_run": not_run,
        "survived": alive,
        "killers": [test for test, _ in killers.most_common()],
    }
    RECORD.write_text(json.dumps(dict(sorted(record.items())), indent=1) + "\n", "utf-8")


def _sample(worth: list[Mutant], size: int, seed: int) -> tuple[list[Mutant], dict[str, list[str]]]:
    """(mutants that were killed when their module, as it is now, was run; the tests that killed those of each module).

    What survived then is in the document and waits for a test: a sample asks whether what was killed still is."""
    record = json.loads(RECORD.read_text("utf-8"))
    first = {m: found["killers"] for m, found in record.items() if "killers" in found and not found.get("earlier")}
    worth = [m for m in worth if m.module in first and _told(m) not in record[m.module]["survived"]]
    chosen = random.Random(seed).sample(worth, min(size, len(worth)))
    return chosen, {m: tests for m, tests in first.items() if any(c.module == m for c in chosen)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Do the tests notice a spoiled firmware/protection or grid_support?")
    parser.add_argument("--suite", choices=sorted(SUITES), default=None, help="one package; default: all")
    parser.add_argument("--only", default="", help="modules of these names, commas between")
    parser.add_argument("--all", action="store_true", help="every mutant, not a sample")
    parser.add_argument("--record", action="store_true", help="with --all: results into tests/mutation.json")
    parser.add_argument("--excused", action="store_true", help="with --all: only the excused ones; none may be killed")
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
        modules = tuple(m for m in suite.modules if not args.only or m.rpartition(".")[2] in args.only.split(","))
        found = mutants(modules)
        if wrong := wrong_excuses(found):
            print("EQUIVALENT must name exactly one mutant each:", *wrong, sep="\n  ")
            return 2
        worth = [m for m in found if (m.key in EQUIVALENT) == args.excused]
        if args.list:
            print(*worth, sep="\n")
            continue
        first = None
        if not args.all:
            worth, first = _sample(worth, args.sample, args.seed)
        if not worth:
            continue
        sizes = Counter(m.module for m in worth)  # small modules first: of a run that is stopped the more are whole
        worth.sort(key=lambda m: sizes[m.module])
        shas = {m: _sha(m) for m in modules}
        done, survivors, outcome = run(worth, suite, args.jobs, until, first)
        if outcome.broken:
            # Or a broken test would kill them all.
            print(f"the tests of {name} must pass without any mutant; {outcome.broken}")
            return 2
        ran, alive = ran + len(done), alive + len(survivors)
        for module in modules if args.all else ():
            mine = [m for m in worth if m.module == module]
            ran_mine = sum(m.module == module for m in done)
            left = [m for m in survivors if m.module == module]
            print(f"{module}: {ran_mine} of {len(mine)} ran, {len(left)} survived")
            not_run = sum(worth[n].module == module for n in outcome.elsewhere) - sum(
                m.module == module for m in outcome.ran_elsewhere
            )
            whole = ran_mine + not_run == len(mine)
            if args.record and not args.excused and whole and shas[module] == _sha_now(module):
                killers = outcome.killers.get(module, Counter())
                _record(module, sum(m.module == module for m in found), not_run, left, killers)
    if not args.list:
        print(f"{ran} mutants ran, {ran - alive} killed, {alive} survived")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
