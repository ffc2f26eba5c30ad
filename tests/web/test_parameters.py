"""What a change would do is what it does: the difference against the real book of controls of services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import boards
from firmware.grid_support.controls import Kind
from firmware.services.grid_controls import Controls
from firmware.web.gate import Denied
from firmware.web.parameters import Parameters, difference

NOW = 1.8e9


def charger(tmp_path: Path, code: str = "ieee1547_2018_cat3") -> tuple[Parameters, Controls]:
    text = (boards.find("desk_can").read_text()).replace("de_vde_ar_n_4105_2018", code).replace('"230,50"', '"230,60"')
    path = tmp_path / "desk_x.toml"
    path.write_text(text.replace('name = "desk_can"', 'name = "desk_x"'))
    board = boards.load(path, tmp_path)
    return Parameters(board), Controls(tmp_path, board, NOW)


def shown(controls: Controls) -> dict[str, Any]:
    return controls.show(NOW)


CHANGES: list[dict[str, Any]] = [
    {"kind": "power_limit", "numbers": {"charge_pu": 0.5, "discharge_pu": 0.25}},
    {"kind": "enter_service", "numbers": {"delay_s": 60.0}},
    {"kind": "fixed_var", "numbers": {"q_pu": -0.1, "response_s": 3.0}},
    {"kind": "volt_watt", "points": [[1.05, 1.0], [1.1, 0.2]]},
    {"kind": "freq_droop", "numbers": {"db_of_hz": 0.03, "db_uf_hz": 0.03, "k_of": 0.04, "k_uf": 0.04}},
    {"kind": "hf_must_trip", "points": [[61.2, 300.0], [61.9, 0.16]]},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: str(c["kind"]))
def test_the_difference_that_is_shown_is_the_one_that_comes(tmp_path: Path, change: dict[str, Any]) -> None:
    parameters, controls = charger(tmp_path)
    before, _ = parameters.in_force(shown(controls))
    told = parameters.changes(shown(controls), change, NOW)
    plan = parameters.plan(shown(controls), {**change, "confirm_s": 60}, NOW)
    controls.set(plan.controls, NOW, "screen", plan.replaces, plan.confirm_s)
    controls.confirm()
    after, _ = parameters.in_force(shown(controls))
    assert difference(before, after) == told
    assert told
    assert all(str(c["key"]) in plan.sentence for c in told)
    # and the way back
    back = {"kind": change["kind"], "clear": True}
    returned = {c["key"]: (c["after"], c["before"]) for c in parameters.changes(shown(controls), back, NOW)}
    assert returned == {c["key"]: (c["before"], c["after"]) for c in told}
    plan = parameters.plan(shown(controls), {**back, "confirm_s": 60}, NOW)
    assert plan.controls == []
    controls.set(plan.controls, NOW, "screen", plan.replaces, plan.confirm_s)
    assert difference(before, parameters.in_force(shown(controls))[0]) == []


def test_a_second_change_takes_the_place_of_the_first(tmp_path: Path) -> None:
    parameters, controls = charger(tmp_path)
    for share in (0.5, 0.8):
        change = {"kind": "power_limit", "numbers": {"charge_pu": share, "discharge_pu": 1.0}, "confirm_s": 60}
        plan = parameters.plan(shown(controls), change, NOW)
        controls.set(plan.controls, NOW, "screen", plan.replaces, plan.confirm_s)
        controls.confirm()
    assert list(controls.book.controls) == ["screen-power_limit"]
    assert "support.limit.charge_pu 0.5 -> 0.8" in plan.sentence  # who reads the record sees the old value


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "warp"}, "kind must be one of"),
        (
            {"kind": "power_limit", "numbers": {"charge_pu": 2.0, "discharge_pu": 1}},
            "charge_pu is 2.0; allowed: 0 to 1",
        ),
        ({"kind": "power_limit", "numbers": {"charge_pu": "1"}}, "charge_pu is '1'"),
        ({"kind": "power_limit", "numbers": {"warp": 1}}, "numbers must be among"),
        ({"kind": "power_limit", "numbers": 3}, "numbers must be among"),
        ({"kind": "power_limit", "id": "mine"}, "A change has kind"),
        ({"kind": "volt_watt", "points": [[1.0, 0.2], [1.1, 0.9]]}, "must not permit more power at a higher voltage"),
        ({"kind": "volt_watt", "points": "all"}, "points must be"),
        ({"kind": "lv_must_trip", "points": [[0.7, 1.0]]}, "give one point"),
        ({"kind": "lv_must_trip", "points": [[1.3, 0.1], [0.5, 0.2]]}, "trip.UV1.threshold"),
        ({"kind": "enter_service", "numbers": {"delay_s": 1e4}}, "delay_s"),
    ],
)
def test_what_the_charger_would_refuse_is_refused_before(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    parameters, controls = charger(tmp_path)
    with pytest.raises(Denied) as caught:
        parameters.changes(shown(controls), change, NOW)
    assert sentence in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("confirm_s", [None, True, "60", 9, 601, float("nan")])
def test_a_change_without_a_time_to_confirm_it_is_refused(tmp_path: Path, confirm_s: Any) -> None:
    parameters, controls = charger(tmp_path)
    with pytest.raises(Denied, match="confirm_s must be 10 to 600 s"):
        parameters.plan(shown(controls), {**CHANGES[0], "confirm_s": confirm_s}, NOW)


def test_one_change_at_a_time_is_on_trial(tmp_path: Path) -> None:
    parameters, controls = charger(tmp_path)
    plan = parameters.plan(shown(controls), {**CHANGES[0], "confirm_s": 60}, NOW)
    controls.set(plan.controls, NOW, "screen", plan.replaces, plan.confirm_s)
    for change in CHANGES[:2]:
        with pytest.raises(Denied, match="on trial: keep it or take it back first"):
            parameters.plan(shown(controls), {**change, "confirm_s": 60}, NOW)
    controls.revert(NOW, "test")
    assert parameters.plan(shown(controls), {**CHANGES[1], "confirm_s": 60}, NOW)


def test_what_changes_nothing_is_not_applied(tmp_path: Path) -> None:
    parameters, controls = charger(tmp_path)
    with pytest.raises(Denied, match="changes nothing"):
        parameters.plan(shown(controls), {"kind": "power_limit", "clear": True, "confirm_s": 60}, NOW)


def test_a_default_of_somebody_else_that_counts_is_named(tmp_path: Path) -> None:
    parameters, controls = charger(tmp_path)
    theirs = {"id": "dso", "kind": "power_limit", "default": True, "charge_pu": 0.5, "discharge_pu": 0.5}
    controls.set([theirs], NOW, "csms")
    with pytest.raises(Denied, match="dso of csms is older and counts"):
        parameters.changes(shown(controls), CHANGES[0], NOW)
    # one of lower rank is superseded, as services do it
    controls.clear("dso", NOW, "test")
    controls.set([{**theirs, "priority": 5}], NOW, "csms")
    told = parameters.changes(shown(controls), CHANGES[0], NOW)
    plan = parameters.plan(shown(controls), {**CHANGES[0], "confirm_s": 60}, NOW)
    before, _ = parameters.in_force(shown(controls))
    controls.set(plan.controls, NOW, "screen", plan.replaces, plan.confirm_s)
    assert difference(before, parameters.in_force(shown(controls))[0]) == told


@pytest.mark.parametrize("code", ["de_vde_ar_n_4105_2018", "ieee1547_2018_cat3"])
def test_only_what_the_code_lets_anybody_move_is_offered_and_with_its_range(tmp_path: Path, code: str) -> None:
    parameters, controls = charger(tmp_path, code)
    answer = parameters.shown(shown(controls))
    kinds = {k["kind"]: k for k in answer["kinds"]}
    assert answer["trial"] is None
    assert "power_limit" in kinds
    if code.startswith("de"):
        assert not {"hv_must_trip", "lv_must_trip", "enter_service"} & kinds.keys()
    else:
        delay = next(n for n in kinds["enter_service"]["numbers"] if n["key"] == "delay_s")
        assert (delay["low"], delay["high"]) == (0.0, 600.0)  # IEEE 1547-2018, table 4
        assert kinds["lv_must_trip"]["stages"] == ["UV1", "UV2"]
    for kind in kinds.values():
        assert Kind(kind["kind"])
        for number in kind["numbers"]:
            assert number["low"] < number["high"]
    assert {row["key"] for row in answer["in_force"]} >= {"trip.UF1.threshold", "enter_service.delay_s"}
