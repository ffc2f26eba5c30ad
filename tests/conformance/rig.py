"""Subjects and cases for the tests of the conformance suites."""

from __future__ import annotations

import functools

import boards
from firmware.grid_codes import load
from firmware.guard.assemble import chain_of
from hil.bench.sim_grid import SIM_GRID
from hil.conformance.campaign import BUILDERS
from hil.conformance.case import Case, Subject
from hil.conformance.engine import Done, Job, perform
from hil.conformance.matrix import matrix_of

IEEE, VDE, EN = "ieee1547_2018_cat3", "de_vde_ar_n_4105_2018", "en50549_1_2019"


@functools.cache
def subject(name: str = IEEE) -> Subject:
    code = load(name, nominal_v=230.0)
    return Subject(code, matrix_of(code), chain_of(boards.load("desk")), SIM_GRID)


@functools.cache
def built(suite: str, name: str = IEEE) -> tuple[list[Case], list[str]]:
    return BUILDERS[suite](subject(name))


def case(name: str, code: str = IEEE) -> Case:
    """The one case whose id begins so."""
    found = [c for c in built(name.partition("/")[0], code)[0] if c.id.startswith(name)]
    assert found, f"there is no case {name}"
    return found[0]


def verdict(wanted: Case, wrong: str = "") -> Done:
    return perform(Job(wanted, "key", 1, wrong), None)
