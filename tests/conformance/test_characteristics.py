"""The characteristics of grid support: what is planned from which numbers, and that a wrong charger fails them."""

from __future__ import annotations

import pytest

from firmware.grid_codes import names
from hil.conformance.case import Case
from hil.conformance.wrong import WRONG
from hil.scenarios.follow import Follow
from tests.conformance.rig import EN, VDE, built, case, verdict

NORM_A, NORM_B = "ieee1547_2018_cat1_normA", "ieee1547_2018_cat3_normB"


def demands(one: Case) -> list[Follow]:
    return [m.follow for m in one.scenario.musts if m.follow is not None]


def test_every_function_of_the_category_has_its_cases_and_the_rest_a_sentence() -> None:
    found, left_out = built("support", NORM_B)
    functions = {c.id.split("/")[1].rstrip("123") for c in found}
    assert functions >= {"volt_var_", "volt_watt_", "watt_var_", "freq_droop_", "fixed_pf_injecting"}
    assert any("0.68 pu" in text for text in left_out)
    without, said = built("support", "ieee1547_2018_cat3")
    assert not any("volt_var" in c.id for c in without)
    assert any("volt_var_1: the code has no volt_var" in text for text in said)


def test_volt_var_is_that_of_the_category_with_the_signs_of_the_capture() -> None:
    """IEEE 1547-2018 Table 8, Category B: 0.44 pu injected at 0.92 pu, absorbed at 1.08 pu. The capture counts
    absorbing as +."""
    f = demands(case("support/volt_var_1", NORM_B))[0]
    assert (f.x, f.y) == ("pcc_va_v", "ac_var")
    assert f.points[0] == (pytest.approx(0.92 * 230.0), pytest.approx(-0.44 * 22_000.0))
    assert f.points[-1] == (pytest.approx(1.08 * 230.0), pytest.approx(0.44 * 22_000.0))
    a = demands(case("support/volt_var_2", NORM_A))[0]
    assert a.points[0][1] == pytest.approx(-0.44 * 22_000.0)  # Category A injects 0.44 and absorbs 0.25
    assert a.points[-1][1] == pytest.approx(0.25 * 22_000.0)


def test_tolerances_are_one_and_a_half_times_the_accuracy_on_both_axes() -> None:
    f = demands(case("support/volt_var_1", NORM_B))[0]
    assert f.x_off == pytest.approx(1.5 * 0.01 * 230.0)
    assert f.y_off == pytest.approx(1.5 * 0.05 * 22_000.0)


def test_a_response_is_judged_after_one_and_after_two_of_its_times_where_a_mean_over_a_second_tells() -> None:
    windows = [(m.from_s, m.follow.share) for m in case("support/volt_var_3", NORM_B).scenario.musts if m.follow]
    assert windows == [(89.5, 0.9), (pytest.approx(179.7), 1.0)]
    assert {f.share for f in demands(case("support/volt_var_2", NORM_B))} == {1.0}


def test_a_function_that_the_code_has_in_force_is_tested_as_it_is_and_another_one_as_a_control() -> None:
    assert not any(step.controls for step in case("support/volt_watt_1", "se_alp_50549").scenario.steps)
    (control,) = case("support/volt_var_1", EN).scenario.steps[0].controls or ()
    assert control["kind"] == "volt_var"
    assert [q for _, q in control["points"]] == [-0.3, 0.0, 0.0, 0.3]


def test_volt_watt_asks_for_no_more_than_was_asked_of_the_charger() -> None:
    f = demands(case("support/volt_watt_1", NORM_B))[0]
    assert min(y for _, y in f.points) == pytest.approx(-0.9 * 22_000.0)
    assert f.points[1][0] == pytest.approx((1.06 + 0.1 * 0.04) * 230.0)  # where the curve passes 0.9 pu


def test_a_fixed_power_factor_is_no_more_reactive_power_than_the_category_asks_for() -> None:
    """Power factor 0.9: tan phi 0.484. Category A absorbs 0.25 pu, which is there from 0.516 pu of power on."""
    a = demands(case("support/fixed_pf_absorbing", NORM_A))[0].points
    assert a[0] == (-22_000.0, pytest.approx(5500.0))
    assert a[1] == (pytest.approx(-5500.0 / 0.48432, rel=1e-4), pytest.approx(5500.0, rel=1e-4))
    assert (0.0, 0.0) in a
    assert a[-1] == (22_000.0, pytest.approx(5500.0))
    inject = demands(case("support/fixed_pf_injecting", NORM_A))[0].points
    assert inject[0] == (-22_000.0, pytest.approx(-9680.0))
    free = demands(case("support/fixed_pf_absorbing", "ieee1547_2018_cat3"))[0].points
    assert free == (
        (-22_000.0, pytest.approx(10_655.0, rel=1e-4)),
        (0.0, 0.0),
        (22_000.0, pytest.approx(10_655.0, rel=1e-4)),
    )


def test_charging_is_tested_beside_feeding_in_with_the_signs_of_the_capture() -> None:
    found = {c.id.split("/")[1] for c in built("support", NORM_B)[0]}
    assert {f.replace("charging_", "") for f in found if f.startswith("charging_")} >= {
        "volt_var_1", "volt_watt_3", "watt_var_1", "fixed_pf_injecting", "fixed_pf_absorbing", "fixed_var_injecting",
        "fixed_var_absorbing", "freq_droop_1",
    }  # fmt: skip
    charging = case("support/charging_volt_var_1", NORM_B)
    assert charging.scenario.start.power_w == pytest.approx(0.75 * 22_000.0)
    assert demands(charging)[0].points == demands(case("support/volt_var_1", NORM_B))[0].points
    assert "while charging with 0.75 pu" in charging.scenario.title
    # High voltage is no reason to charge less.
    level = demands(case("support/charging_volt_watt_3", NORM_B))[0]
    assert [y for _, y in level.points] == [pytest.approx(0.6 * 22_000.0)]
    # IEEE 1547-2018, 6.5.2.7: 0.036 Hz and 5 % of 60 Hz a pu: 0.9 pu of charging are gone 2.7 Hz below the band.
    droop = demands(case("support/charging_freq_droop_1", NORM_B))[0]
    assert droop.points == ((pytest.approx(60.0 - 0.036 - 2.7), 0.0), (pytest.approx(59.964), pytest.approx(19_800.0)))
    steps = [s.ask_w for s in case("support/charging_watt_var_1", NORM_B).scenario.steps if s.ask_w is not None]
    assert steps == [pytest.approx(16_500.0), pytest.approx(-16_500.0), pytest.approx(19_800.0)]


def test_the_second_and_third_watt_var_go_through_their_points() -> None:
    """From 0.2 pu on: 0.22, 0.22 and 0.44 pu absorbed while discharging; 0, 0.44 and 0.44 pu. Charging: injected."""
    second = demands(case("support/watt_var_2", NORM_B))[0].points
    assert [(p / 22_000.0, q / 22_000.0) for p, q in second] == [
        pytest.approx(point)
        for point in ((-1.0, 0.44), (-0.5, 0.22), (-0.2, 0.22), (0.2, -0.22), (0.5, -0.22), (1.0, -0.44))
    ]
    third = demands(case("support/watt_var_3", NORM_B))[0].points
    assert third[1] == (pytest.approx(-11_000.0), pytest.approx(9_680.0))
    assert third[2] == (pytest.approx(-4_400.0), 0.0)


def test_islands_are_played_with_reactive_power_and_functions_at_work_and_balanced_twice() -> None:
    found, left_out = built("islanding", NORM_B)
    assert len(found) == 22 + 8 * 5
    assert left_out == []
    one = case("islanding/case 5/P +0 %, C -5 %", NORM_B)
    control, first, last, switch = one.scenario.steps
    assert [table["kind"] for table in control.controls or ()] == ["volt_var"]
    assert dict(first.island) == {"qf": 1.0, "dp": 0.0, "dc": 0.0, "reactive": 1.0}
    assert dict(last.island)["dc"] == -0.05
    assert first.at_s is not None
    assert last.at_s is not None
    assert switch.at_s is not None
    assert last.at_s - first.at_s >= 1.0 + 2.0  # tuned, and the function has answered
    assert switch.at_s - last.at_s >= 1.0
    without = built("islanding")[1]
    assert "islanding, case 5: the code has no volt_var" in without


def test_the_second_droop_is_that_of_the_category() -> None:
    for name in (n for n in names() if n.startswith("ieee1547_2018_cat")):
        found = [c.id for c in built("support", name)[0] if "droop_2" in c.id]
        category = {"cat1": "", "cat2": "_cat2", "cat3": "_cat3"}[name.split("_")[2]]
        assert found == [f"support/freq_droop_2{category}"], name


def test_a_function_that_a_trip_is_faster_than_is_left_out_with_the_stage() -> None:
    """EN 50549-1 as one product has it: OV1 opens above 1.10 pu after 3 s, where volt-watt only begins."""
    assert any("volt_watt_1: OV1 trips at 1.13 within" in text for text in built("support", EN)[1])


def test_only_remembered_curves_are_left_out_with_a_sentence() -> None:
    left_out = built("support", "us_ca_rule21")[1]
    assert "support volt_var_1: the code's curve of volt_var is only remembered" in left_out


def test_rates_of_change_are_those_of_the_profile_for_as_long_as_it_says() -> None:
    assert "3 Hz/s" in case("rocof/limit_hz_s/1").scenario.title
    assert case("rocof/limit_0_5_s/1", VDE).scenario.title == "2 Hz/s between 49.50 and 50.50 Hz"
    assert case("rocof/limit_2_0_s/1", VDE).scenario.title == "1.25 Hz/s between 48.75 and 51.25 Hz"
    assert built("rocof", "es_rd1699") == ([], ["rocof: the code has no limit, or this matrix no procedure"])


def test_iec_62116_has_its_own_matrix_with_31_mismatches_beside_the_sweep_of_ieee_1547_1() -> None:
    found = [c.id for c in built("iec62116", VDE)[0]]
    assert len(found) == 31
    assert len([i for i in found if i.startswith("iec62116/A/")]) == 9
    assert built("islanding", VDE)[0] == []
    assert built("iec62116")[0] == []
    assert len(built("islanding")[0]) == 22 + 2 * 5  # fixed power factors are there in every category
    because = built("iec62116", VDE)[0][0].scenario.musts[1].because
    assert "NOT read" in because
    assert "low" in because


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ("no-volt-var", "support/volt_var_2"),
        ("volt-watt", "support/volt_watt_aggressive"),
        ("slow", "support/fixed_var_injecting"),
        ("watt-var", "support/watt_var_1"),
        ("no-droop", "support/freq_droop_2"),
        ("no-anti-islanding", "islanding/case 5/P +0 %, C +0 %"),
        ("rocof", "rocof/limit_hz_s/1"),
        ("vector-shift", "phase-jump/B/1"),
    ],
)
def test_a_wrong_charger_fails_the_case_that_is_named_for_it(wrong: str, name: str) -> None:
    assert name.startswith(WRONG[wrong].caught_by)
    done = verdict(case(name, NORM_B), wrong)
    assert done.verdict == "FAIL", (done.error, done.outcomes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "name"),
    [("no-volt-var", "support/charging_volt_var_1"), ("no-droop", "support/charging_freq_droop_1")],
)
def test_a_wrong_charger_fails_while_charging_as_well(wrong: str, name: str) -> None:
    done = verdict(case(name, NORM_B), wrong)
    assert done.verdict == "FAIL", (done.error, done.outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["support/volt_watt_aggressive", "support/volt_var_2", "phase-jump/B/1"])
def test_the_right_charger_passes(name: str) -> None:
    done = verdict(case(name, NORM_B))
    assert done.verdict == "PASS", (done.error, done.outcomes)
