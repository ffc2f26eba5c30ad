"""The matrices: read strictly, every number with its source, and the numbers of the procedures as transcribed."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from firmware.grid_codes import inspect, names
from hil.bench.strict import TableError
from hil.conformance.matrix import Matrix, matrices, matrix_of, parse

GOOD: dict[str, Any] = {
    "title": "t",
    "standards": ["S"],
    "trips": {"repeats": {"v": 5, "u": "runs", "conf": "high", "src": ["a", "b"]}},
    "sequences": {
        "x": {"title": "Category II", "side": "low", "rows": {"A": [1.0, 0.5, 0.6]}, "order": ["AA"], "conf": "high",
              "src": ["a"]},
    },
}  # fmt: skip


@pytest.mark.parametrize("matrix", matrices(), ids=lambda m: m.name)
def test_every_number_has_a_source_or_says_that_it_is_our_own(matrix: Matrix) -> None:
    for key, number in matrix.numbers.items():
        assert number.src or number.conf == "own", key
        assert number.conf != "high" or len(number.src) >= 2, f"{key}: high needs two sources"
        assert matrix.because(key).startswith(matrix.name)


def test_the_procedures_are_those_of_the_code() -> None:
    assert matrix_of(inspect("ieee1547_2018_cat2_normB")).name == "ieee1547_1"
    assert matrix_of(inspect("us_ca_rule21")).name == "ieee1547_1"
    assert matrix_of(inspect("de_vde_ar_n_4105_2018")).name == "en50549_10"
    with pytest.raises(TableError, match="no test procedures"):
        matrix_of(inspect("uk_g98"))


def test_no_code_is_claimed_by_two_matrices() -> None:
    for name in names():
        assert sum(m.covers(inspect(name)) for m in matrices()) <= 1, name


def test_numbers_of_1547_1_are_as_transcribed() -> None:
    m = matrix_of(inspect("ieee1547_2018_cat3"))
    assert (m("trips.repeats"), m("general.accuracy_factor"), m("ride_through.f_hold_s")) == (5.0, 1.5, 299.0)
    low = {c.name: c for c in m.sequences}["low_cat3"]
    assert low.order == ("ABCD", "ABCD", "ABCDE", "ABcDE")
    assert low.rows["B"] == (1.0, 0.0, 0.05)
    assert len(m.lists["enter_service.rows"]) == 6
    assert m.lists["islanding.mismatch_pct"][0] == (0, -5)


def test_a_good_table_is_read() -> None:
    made = parse("g", GOOD, "g.toml")
    assert made("trips.repeats") == 5.0
    with pytest.raises(TableError, match="no number trips"):
        made("trips.other")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: d.update(more=1), "no key 'more'"),
        (lambda d: d["trips"]["repeats"].update(x=1), "no key 'x'"),
        (lambda d: d["trips"]["repeats"].update(conf="sure"), "one of high, medium, low, own"),
        (lambda d: d["trips"]["repeats"].update(v="five"), "a number"),
        (lambda d: d["trips"]["repeats"].pop("conf"), "'conf' is missing"),
        (lambda d: d["sequences"]["x"].update(order=["AB"]), "names 'B'"),
        (lambda d: d["sequences"]["x"]["rows"].update(A=[1.0, 0.7, 0.6]), "lowest pu, highest pu"),
        (lambda d: d["sequences"]["x"].update(side="left"), "one of low, high"),
        (lambda d: d.update(phase_jump={"rows": [["E", 20, 140, 260, 1, 2]]}), "need rows_conf"),
    ],
)
def test_a_wrong_table_is_refused_with_a_sentence(change: Any, sentence: str) -> None:
    data = copy.deepcopy(GOOD)
    change(data)
    with pytest.raises(TableError, match=sentence):
        parse("g", data, "g.toml")
