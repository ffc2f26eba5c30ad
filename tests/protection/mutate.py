"""Tests of the tests: spoil one operator or number of firmware/protection at a time and see whether a test notices.

    python -m tests.protection.mutate              a sample of mutants, chosen by --seed
    python -m tests.protection.mutate --all        every mutant (minutes)
    python -m tests.protection.mutate --list       what would be spoiled

A mutant is one change of one module: a comparison made strict, loose or turned round, `and` for `or`, plus for minus,
a truth value flipped, a `not` dropped, an integer by one, a decimal number by one percent. Each runs in a fork of its
own with the fast protection tests; nothing is written to disk. A mutant that no test kills is printed, and the exit
code is 1, unless it stands in EQUIVALENT with the reason why it cannot be told apart.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import hypothesis
import pytest

ROOT = Path(__file__).parent.parent.parent
MODULES = (
    "firmware.grid_codes.chain",
    "firmware.protection.channel",
    "firmware.protection.element",
    "firmware.protection.enter_service",
    "firmware.protection.frequency_trip",
    "firmware.protection.grid",
    "firmware.protection.mean_10min",
    "firmware.protection.momentary_cessation",
    "firmware.protection.ride_through",
    "firmware.protection.sense",
    "firmware.protection.timers",
    "firmware.protection.voltage_trip",
)
TESTS = [
    *(f"protection/test_{name}.py" for name in ("timers", "words", "trips", "enter_service", "sense", "ride_through")),
    "protection/test_mean_10min.py",
    "test_grid_codes.py",
    "test_grid_code_profiles.py",
]
# (module, source of the line, change): why no test can tell it from the original.
_FIRST = "a value to begin with that is always written before it is read"
_TOLERANCE = "the limit carries a tolerance of a microsecond; whether its very end belongs to it cannot be seen"
_ROUNDING = "rounding far below any meter, only to take away the noise of doubles; a digit more or less is the same"
_THREE = "there are always three phases; the linter asks for the word"
_P = "firmware.protection."
EQUIVALENT: dict[tuple[str, str, str], str] = {
    (_P + module, line, change): reason
    for reason, module, line, changes in (
        (_FIRST, "timers", "self._from = 0.0  # t_start plus all time that must not count", ("0.0 + 1 %", "0.0 - 1 %")),
        (_FIRST, "timers", "self._last = 0.0", ("0.0 + 1 %", "0.0 - 1 %")),
        (_FIRST, "timers", "self._counting = False  # the last sample was outside", ("False -> True",)),
        (_FIRST, "enter_service", "self._last = 0.0", ("0.0 + 1 %", "0.0 - 1 %")),
        (_FIRST, "grid", "self._t_entered = 0.0", ("0.0 + 1 %", "0.0 - 1 %")),
        (_FIRST, "mean_10min", "self._index = 0", ("0 -> 1", "0 -> -1")),
        (_FIRST, "sense", "self.differs = False  # in the last comparison", ("False -> True",)),
        (_TOLERANCE, "timers", "return t - self._from >= self._need", ("GtE -> Gt",)),
        (
            _TOLERANCE,
            "timers",
            "return self.t_start is not None and self._counting and t - self._from >= self._need",
            ("GtE -> Gt",),
        ),
        (_TOLERANCE, "timers", "if t - self._t_clear >= self._need:", ("GtE -> Gt",)),
        (_TOLERANCE, "channel", "if t - self._t_last > self._max_age_s:", ("Gt -> GtE",)),
        (_TOLERANCE, "channel", "return now - self._t_last <= self._max_age_s", ("LtE -> Lt",)),
        (_TOLERANCE, "channel", "return now - self._t_ok > self._max_age_s", ("Gt -> GtE",)),
        (
            _TOLERANCE,
            "enter_service",
            "return self._t_good is not None and self._last - self._t_good >= self.delay_s - TIME_LSB_S",
            ("GtE -> Gt",),
        ),
        (
            _TOLERANCE,
            "mean_10min",
            "if self._weight >= MIN_FILL * self._interval_s - TIME_LSB_S:",
            ("GtE -> Gt",),
        ),
        (_ROUNDING, "sense", "if round(abs(a - b), 9) > DISAGREE_V_PU:", ("9 -> 8", "9 -> 10")),
        (
            _ROUNDING,
            "sense",
            "if round(abs(pilot.f_hz - converter.f_hz), 9) > DISAGREE_F_HZ:",
            ("9 -> 8", "9 -> 10"),
        ),
        (
            _ROUNDING,
            "mean_10min",
            "_DIGITS = 9  # rounding of the mean, far below any meter, so that a constant 1.10 has the mean 1.10",
            ("9 -> 8", "9 -> 10"),
        ),
        (
            _THREE,
            "sense",
            "for phase, (a, b) in enumerate(zip(pilot.v_pu, converter.v_pu, strict=True), 1):",
            ("True -> False",),
        ),
        (_THREE, "enter_service", "for phase, v in zip(PHASES, v_pu, strict=True):", ("True -> False",)),
        (
            "a frequency at the very end is continuous and never gets here",
            "ride_through",
            "found.append((f.below(f_hz) if f_hz < f.lo else f.above(f_hz), f_hz, f))",
            ("Lt -> LtE",),
        ),
    )
    for change in changes
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


class Mutant(NamedTuple):
    module: str
    line: int
    source: str  # the line as written
    change: str
    code: str  # the whole module, spoiled

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
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        op2: ast.operator = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield f"{type(node.op).__name__} -> {type(op2).__name__}", ast.BinOp(node.left, op2, node.right)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "Not dropped", node.operand
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
    def __init__(self, number: int, new: ast.AST) -> None:
        self.left, self.new = number, new

    def visit(self, node: ast.AST) -> ast.AST:
        self.left -= 1
        if self.left == -1:
            return ast.copy_location(self.new, node)
        return self.generic_visit(node)


def _visit_order(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes in the order in which _Replace counts them."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from _visit_order(child)


def mutants() -> list[Mutant]:
    found = []
    for module in MODULES:
        text = (ROOT / Path(*module.split("."))).with_suffix(".py").read_text("utf-8")
        lines = text.splitlines()
        for number, node in enumerate(_visit_order(ast.parse(text))):
            for change, new in _changes(node):
                spoiled = ast.fix_missing_locations(_Replace(number, new).visit(ast.parse(text)))
                line = getattr(node, "lineno", 1)
                found.append(Mutant(module, line, lines[line - 1].strip(), change, ast.unparse(spoiled)))
    return found


def wrong_excuses(found: list[Mutant]) -> list[tuple[str, str, str]]:
    """Excuses that fit no mutant any more, or more than one: the second might be a fault that nobody looked at."""
    keys = [m.key for m in found]
    return [key for key in EQUIVALENT if keys.count(key) != 1]


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


def _child(mutant: Mutant | None) -> int:
    """In the fork: run the tests; 0 = all passed."""
    if mutant is not None:
        sys.meta_path.insert(0, _Spoiled(mutant))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    # No shrinking: that a mutant dies is all that is asked.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, deadline=None, phases=phases)
    hypothesis.settings.load_profile("mutants")
    files = [str(ROOT / "tests" / name) for name in TESTS]
    return int(pytest.main(["-x", "-q", "-p", "no:xdist", "--tb=no", "--timeout=5", "--rootdir", str(ROOT), *files]))


def _fork(mutant: Mutant | None) -> int:
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            code = _child(mutant)
        finally:
            os._exit(code)
    return pid


def run(chosen: list[Mutant], jobs: int, until: float) -> tuple[list[Mutant], int]:
    """(survivors, how many ran). Stops taking new mutants at `until` (monotonic)."""
    running: dict[int, Mutant] = {}
    survivors, ran, queue = [], 0, list(chosen)
    while queue or running:
        while queue and len(running) < jobs and time.monotonic() < until:
            mutant = queue.pop()
            running[_fork(mutant)] = mutant
        if not running:
            break
        pid, status = os.wait()
        mutant = running.pop(pid)
        ran += 1
        if os.waitstatus_to_exitcode(status) == 0:
            survivors.append(mutant)
            print(f"SURVIVED {mutant.module}:{mutant.line}: {mutant.change}: {mutant.source}", flush=True)
    return survivors, ran


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Do the protection tests notice a spoiled firmware/protection?")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--for", type=float, default=None, dest="seconds", metavar="SECONDS")
    parser.add_argument("--only", default="", help="modules whose name ends with this")
    args = parser.parse_args(argv)
    found = [m for m in mutants() if m.module.endswith(args.only)]
    if not args.only and (wrong := wrong_excuses(found)):
        print("EQUIVALENT must name exactly one mutant each:", *wrong, sep="\n  ")
        return 2
    worth = [m for m in found if m.key not in EQUIVALENT]
    if args.list:
        for m in worth:
            print(f"{m.module}:{m.line}: {m.change}: {m.source}")
        return 0
    chosen = worth if args.all else random.Random(args.seed).sample(worth, min(args.sample, len(worth)))
    # Without a mutant everything must pass, or a broken test would kill them all.
    _, status = os.waitpid(_fork(None), 0)
    if os.waitstatus_to_exitcode(status) != 0:
        print("the protection tests fail without any mutant; mend them first")
        return 2
    survivors, ran = run(chosen, args.jobs, time.monotonic() + (args.seconds or 1e9))
    print(f"{ran} of {len(worth)} mutants ran, {ran - len(survivors)} killed, {len(survivors)} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
