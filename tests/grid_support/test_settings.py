"""From a profile to settings: the names and clauses of what is in force, what is left out, signs, and switching on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from firmware.grid_codes import Confidence, GridCode, GridCodeError, Section, Setting, inspect
from firmware.grid_codes import Curve as CodeCurve
from firmware.grid_support.curve import Curve
from firmware.grid_support.fixed import FixedPf, FixedVar, PowerLimitSettings
from firmware.grid_support.freq_droop import FreqDroopSettings
from firmware.grid_support.freq_response_au import FreqResponseAuSettings
from firmware.grid_support.lfsm import LfsmSettings, LfsmSide
from firmware.grid_support.ramps import RampSettings
from firmware.grid_support.settings import SupportSettings, capability_of, settings_of, switched
from firmware.grid_support.volt_var import VoltVarSettings
from firmware.grid_support.volt_watt import VoltWattSettings
from firmware.grid_support.watt_var import WattPfSettings, WattVarSettings

RATED_W = 22_000.0
BASE = inspect("ieee1547_2018_cat3_normB")
FLAT = Curve([(0.9, 0.0), (1.1, 0.0)])
SIDE = LfsmSide(50.2, 0.05, None, "over clause")


# ----------------------------------------------------------------------------------------------------- what is in force
def test_nothing_is_in_force_unless_it_is_set() -> None:
    assert SupportSettings().functions() == ()


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({"frequency": FreqDroopSettings(60.0, 0.036, 0.036, 0.05, 0.05, 5.0, "a")}, (("freq_droop", "a"),)),
        (
            {"frequency": LfsmSettings(50.0, SIDE, replace(SIDE, f_start_hz=49.8, clause="under clause"), 2.0)},
            (("lfsm (over)", "over clause"), ("lfsm (under)", "under clause")),
        ),
        ({"frequency": LfsmSettings(50.0, SIDE, None, 2.0)}, (("lfsm (over)", "over clause"),)),
        (
            {"frequency": FreqResponseAuSettings(48.0, 49.0, 49.75, 50.25, 50.75, 52.0, 0.1, 1.0, "b")},
            (("freq_response", "b"),),
        ),
        ({"volt_watt": VoltWattSettings(FLAT, None, 10.0, "c")}, (("volt_watt", "c"),)),
        ({"reactive": VoltVarSettings(FLAT, 5.0, "d")}, (("volt_var", "d"),)),
        ({"reactive": WattVarSettings(FLAT, 5.0, "d")}, (("watt_var", "d"),)),
        ({"reactive": WattPfSettings(Curve([(-1.0, 0.9), (0.0, 1.0)]), 5.0, "d")}, (("cosphi_p", "d"),)),
        ({"reactive": FixedPf(0.9, True, 5.0, "d")}, (("const_pf", "d"),)),
        ({"reactive": FixedVar(0.1, 5.0, "d")}, (("const_q", "d"),)),
        ({"limit": PowerLimitSettings(1.0, 0.5, 5.0, "e")}, (("limit_active_power", "e"),)),
        ({"ramps": RampSettings(0.1, None)}, (("ramps", ""),)),
        ({"ramps": RampSettings(None, 0.1)}, (("ramps", ""),)),
        ({"ramps": RampSettings(0.1, 0.1)}, (("ramps", ""),)),
    ],
    ids=lambda x: ",".join(x) if isinstance(x, dict) else None,
)
def test_what_is_set_is_named_with_its_clause(parts: dict[str, object], found: tuple[tuple[str, str], ...]) -> None:
    assert SupportSettings(**parts).functions() == found  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------- profiles in small
def number(value: float, conf: Confidence = Confidence.HIGH, unit: str = "1") -> Setting:
    return Setting(value, unit, "clause", (), conf)


def curve(*points: tuple[float, float], x: str = "V", conf: Confidence = Confidence.HIGH) -> CodeCurve:
    some = next(c for s in BASE.support for _, c in s.curves)
    return replace(some, x=x, points=tuple(points), conf=conf)


def code_with(*sections: Section, **more: object) -> GridCode:
    return replace(BASE, support=sections, **more)  # type: ignore[arg-type]


def section(name: str, enabled: bool | None = True, **values: object) -> Section:
    some = BASE.support[0]
    numbers = tuple((k, v if isinstance(v, Setting) else number(v)) for k, v in values.items() if k[:5] != "curve")  # type: ignore[arg-type]
    curves = tuple((k, v) for k, v in values.items() if k[:5] == "curve")
    return replace(some, name=name, enabled=enabled, numbers=numbers, curves=curves)  # type: ignore[arg-type]


DROOP = {"db_of_hz": 0.1, "db_uf_hz": 0.2, "k_of": 0.04, "k_uf": 0.05}
AU = {"f_pmax": 48.0, "f_stop_charge": 49.0, "f_llco": 49.75, "f_ulco": 50.25, "f_transition": 50.75, "f_pmin": 52.0}
LFSM = {"f_start_hz": 50.2, "droop": 0.05}


def test_numbers_of_a_droop_come_in_their_order_and_the_time_from_whichever_key_there_is() -> None:
    for key, share in (("olrt_s", 0.9), ("response_max_s", 0.9), ("step_response_s", 0.9)):
        found = settings_of(code_with(section("freq_droop", **DROOP, **{key: 7.0})), RATED_W)
        assert found.frequency == FreqDroopSettings(60.0, 0.1, 0.2, 0.04, 0.05, 7.0, BASE.cite("clause"))
        reactive = settings_of(
            code_with(section("volt_var", curve=curve((0.9, 0.1), (1.1, -0.1), x="pu"), **{key: 7.0})), RATED_W
        ).reactive
        assert isinstance(reactive, VoltVarSettings)
        assert (reactive.response_s, reactive.share) == (7.0, share)
    tau = settings_of(
        code_with(section("volt_var", curve=curve((0.9, 0.1), (1.1, -0.1), x="pu"), tau_s=3.0)), RATED_W
    ).reactive
    assert isinstance(tau, VoltVarSettings)
    assert (tau.response_s, tau.share) == (3.0, pytest.approx(1.0 - math.exp(-1.0)))
    none = settings_of(code_with(section("volt_var", curve=curve((0.9, 0.1), (1.1, -0.1), x="pu"))), RATED_W).reactive
    assert isinstance(none, VoltVarSettings)
    assert (none.response_s, none.share) == (10.0, 0.9)


def test_a_time_that_the_code_does_not_know_is_none() -> None:
    found = settings_of(code_with(section("freq_droop", **DROOP, olrt_s=number(math.nan))), RATED_W).frequency
    assert isinstance(found, FreqDroopSettings)
    assert found.olrt_s == 2.0


@pytest.mark.parametrize(
    ("name", "values"),
    [("freq_droop", DROOP), ("freq_response", AU), ("lfsm_o", LFSM), ("lfsm_u", LFSM)],
    ids=lambda x: x if isinstance(x, str) else None,
)
def test_a_function_is_used_when_it_is_on_whole_and_not_only_remembered(name: str, values: dict[str, float]) -> None:
    assert settings_of(code_with(section(name, **values)), RATED_W).frequency is not None
    assert settings_of(code_with(section(name, enabled=None, **values)), RATED_W).frequency is not None
    off = settings_of(code_with(section(name, enabled=False, **values)), RATED_W)
    assert (off.frequency, off.left_out) == (None, ())
    for key in values:
        rest = {k: v for k, v in values.items() if k != key}
        halved = settings_of(code_with(section(name, **rest)), RATED_W)
        assert (halved.frequency, halved.left_out) == (None, (f"{name}: the profile has no {key}",))
        remark = settings_of(code_with(section(name, enabled=None, **rest)), RATED_W)
        assert (remark.frequency, remark.left_out) == (None, ())
        guessed = {**values, key: number(values[key], Confidence.LOW)}
        code = code_with(section(name, **guessed), allow_unverified=False)
        left = settings_of(code, RATED_W)
        assert (left.frequency, left.left_out) == (None, (f"{name}: {key} is only remembered",))
        unverified = settings_of(replace(code, allow_unverified=True), RATED_W)
        assert unverified.frequency is not None
        assert unverified.left_out == ()


def test_a_stop_of_lfsm_that_is_only_remembered_is_used_only_on_request() -> None:
    for conf, allow, stop in (
        (Confidence.HIGH, False, 51.5), (Confidence.HIGH, True, 51.5), (Confidence.LOW, False, None),
        (Confidence.LOW, True, 51.5),
    ):  # fmt: skip
        code = code_with(section("lfsm_o", **LFSM, f_stop_hz=number(51.5, conf)), allow_unverified=allow)
        found = settings_of(code, RATED_W).frequency
        assert isinstance(found, LfsmSettings)
        assert found.over is not None
        assert found.over.f_stop_hz == stop
    assert isinstance(settings_of(code_with(section("lfsm_o", **LFSM)), RATED_W).frequency, LfsmSettings)


@pytest.mark.parametrize("low", ["release_hold_s", "release_pu_per_min", ""])
@pytest.mark.parametrize("allow", [True, False])
def test_the_release_of_lfsm_is_used_whole_or_left_out_by_name(low: str, allow: bool) -> None:
    values = {"release_hold_s": 600.0, "release_pu_per_min": 0.1}
    release = {k: number(v, Confidence.LOW if k == low else Confidence.HIGH) for k, v in values.items()}
    both = (section("lfsm_o", **LFSM, **release), section("lfsm_u", **{**LFSM, "f_start_hz": 49.8}, **release))
    for sections in (both, both[:1], both[1:]):
        found = settings_of(code_with(*sections, allow_unverified=allow), RATED_W)
        assert isinstance(found.frequency, LfsmSettings)
        used = allow or not low
        assert (found.frequency.release_hold_s, found.frequency.release_pu_per_min) == (
            (600.0, 0.1) if used else (0.0, None)
        )
        told = "lfsm: its release (release_hold_s, release_pu_per_min) is only remembered"
        assert found.left_out == (() if used else (told,))
    for key in release:
        half = settings_of(code_with(section("lfsm_o", **LFSM, **{key: release[key]}), allow_unverified=True), RATED_W)
        assert isinstance(half.frequency, LfsmSettings)
        assert (half.frequency.release_hold_s, half.frequency.release_pu_per_min) == (0.0, None)


def test_ramps_are_taken_one_by_one() -> None:
    assert settings_of(code_with(), RATED_W).ramps == RampSettings(None, None)
    normal, soft = number(0.1), number(0.01, Confidence.LOW)
    code = code_with(
        section("ramp_rates", normal_ramp_pu_per_s=normal, soft_start_pu_per_s=soft), allow_unverified=False
    )
    found = settings_of(code, RATED_W)
    assert (found.ramps, found.left_out) == (
        RampSettings(0.1, None),
        ("ramp_rates: soft_start_pu_per_s is only remembered",),
    )
    assert settings_of(replace(code, allow_unverified=True), RATED_W).ramps == RampSettings(0.1, 0.01)


# --------------------------------------------------------------------------------------------------------------- signs
def test_a_curve_in_volts_is_divided_by_the_nominal_voltage_and_one_in_pu_is_not() -> None:
    for x, scale in (("V", BASE.nominal_v), ("pu", 1.0)):
        points = ((0.9 * scale, 0.44), (1.0 * scale, 0.0), (1.1 * scale, -0.44))
        found = settings_of(code_with(section("volt_var", curve=curve(*points, x=x))), RATED_W).reactive
        assert isinstance(found, VoltVarSettings)
        assert [x for x, _ in found.curve.points] == pytest.approx([0.9, 1.0, 1.1])
        assert [y for _, y in found.curve.points] == [-0.44, 0.0, 0.44]  # a code's + injects, here + absorbs
        assert all(math.copysign(1.0, y) > 0.0 for _, y in found.curve.points if y == 0.0)


def test_a_curve_that_is_one_step_keeps_the_order_of_the_code() -> None:
    found = settings_of(code_with(section("volt_var", curve=curve((1.0, 0.3), (1.0, -0.3), x="pu"))), RATED_W).reactive
    assert isinstance(found, VoltVarSettings)
    assert found.curve.points == ((1.0, -0.3), (1.0, 0.3))


def test_the_two_halves_of_watt_var_are_turned_and_joined_from_full_discharging_to_full_charging() -> None:
    gen = curve((0.0, 0.0), (0.5, 0.0), (1.0, -0.44), x="p_pu")
    load = curve((-1.0, 0.44), (-0.5, 0.0), x="p_pu")
    found = settings_of(code_with(section("watt_var", curve_gen=gen, curve_load=load, olrt_s=8.0)), RATED_W).reactive
    assert isinstance(found, WattVarSettings)
    assert [p for p, _ in found.curve.points] == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert [q for _, q in found.curve.points] == [0.44, 0.0, 0.0, 0.0, -0.44]
    assert found.clause == BASE.cite(gen.clause)
    gone = settings_of(code_with(section("watt_var", curve_gen=gen)), RATED_W)
    assert (gone.reactive, gone.left_out) == (None, ("watt_var: the profile has no curve_load",))


def test_volt_watt_has_a_curve_for_charging_only_where_the_code_has_one() -> None:
    down, up = curve((1.06, 1.0), (1.1, 0.2), x="pu"), curve((0.9, 0.2), (0.95, 1.0), x="pu")
    one = settings_of(code_with(section("volt_watt", curve=down)), RATED_W).volt_watt
    two = settings_of(code_with(section("volt_watt", curve=down, curve_charge=up, olrt_s=4.0)), RATED_W).volt_watt
    assert one is not None
    assert two is not None
    assert (one.charge, one.olrt_s) == (None, 10.0)
    assert two.charge is not None
    assert two.discharge is not None
    assert (two.charge.points, two.olrt_s) == (((0.9, 0.2), (0.95, 1.0)), 4.0)
    assert two.discharge.points == ((1.06, 1.0), (1.1, 0.2))


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (section("const_q", q_pu=0.25, olrt_s=6.0), FixedVar(-0.25, 6.0, BASE.cite("clause"))),
        (section("const_pf", pf=0.95, olrt_s=6.0), FixedPf(0.95, True, 6.0, BASE.cite("clause"))),
    ],
    ids=["const_q", "const_pf"],
)
def test_a_fixed_reactive_function_is_in_force_only_when_the_code_says_so(found: Section, wanted: object) -> None:
    assert settings_of(code_with(found), RATED_W).reactive == wanted
    assert settings_of(code_with(replace(found, enabled=None)), RATED_W).reactive is None
    assert settings_of(code_with(replace(found, enabled=False)), RATED_W).reactive is None


def test_a_power_factor_over_power_that_is_merely_offered_is_not_in_force() -> None:
    offered = section("cosphi_p", curve=curve((0.5, 1.0), (1.0, 0.9), x="p_pu"))
    found = settings_of(code_with(offered), RATED_W).reactive
    assert isinstance(found, WattPfSettings)
    assert found.curve.points == ((-1.0, 0.9), (-0.5, 1.0))
    assert settings_of(code_with(replace(offered, enabled=None)), RATED_W).reactive is None
    step = section("cosphi_p", curve=curve((0.5, 1.0), (0.5, 0.95), (1.0, 0.9), x="p_pu"))
    found = settings_of(code_with(step), RATED_W).reactive
    assert isinstance(found, WattPfSettings)
    assert found.curve.points == ((-1.0, 0.9), (-0.5, 0.95), (-0.5, 1.0))  # a step turns with the axis


# --------------------------------------------------------------------------------------------------------- switching on
OFFERS = code_with(
    section("volt_var", enabled=False, curve=curve((0.9, 0.1), (1.1, -0.1), x="pu")),
    section("const_q", enabled=True, q_pu=0.1),
    section("volt_watt", enabled=None, curve=curve((1.06, 1.0), (1.1, 0.2), x="pu")),
    section("freq_droop", enabled=True, **DROOP),
)


@pytest.mark.parametrize(
    ("names", "enabled"),
    [
        ((), (False, True, None, True)),
        (("volt_var",), (True, False, None, True)),
        (("volt_watt",), (False, True, True, True)),
        (("const_q", "volt_watt"), (False, True, True, True)),
    ],
)
def test_a_reactive_function_that_is_switched_on_puts_the_others_out(
    names: tuple[str, ...], enabled: tuple[bool | None, ...]
) -> None:
    assert tuple(s.enabled for s in switched(OFFERS, names).support) == enabled


def test_two_reactive_functions_and_one_that_the_code_has_not_are_refused() -> None:
    with pytest.raises(GridCodeError, match="volt_var and const_q are both reactive functions; only one may be"):
        switched(OFFERS, ("volt_var", "const_q"))
    with pytest.raises(GridCodeError, match="has no function watt_var; it can switch on: volt_var, const_q, volt_watt"):
        switched(OFFERS, ("watt_var",))
    with pytest.raises(GridCodeError, match="it can switch on: none"):
        switched(code_with(), ("volt_var",))
    with pytest.raises(GridCodeError, match="has no function freq_droop"):
        switched(OFFERS, ("freq_droop",))


# ----------------------------------------------------------------------------------------------------------- capability
@pytest.mark.parametrize(
    ("numbers", "absorb", "inject"),
    [
        ({}, 1.0, 1.0),
        ({"q_flat_pu": 0.44}, 0.44, 0.44),
        ({"q_flat_pu": 0.44, "q_inject_min_pu": 0.5}, 0.44, 0.5),
        ({"q_flat_pu": 0.44, "q_absorb_min_pu": 0.25}, 0.25, 0.44),
        ({"q_inject_min_pu": 0.5}, 1.0, 0.5),
        ({"q_absorb_min_pu": 0.25}, 0.25, 1.0),
    ],
)
def test_reactive_capability_is_what_the_code_asks_for_or_all(
    numbers: dict[str, float], absorb: float, inject: float
) -> None:
    found = capability_of(code_with(section("reactive_capability", **numbers)), RATED_W)
    assert (found.q_absorb_pu, found.q_inject_pu) == (absorb, inject)
    assert (found.charge_w, found.discharge_w, found.s_va) == (RATED_W, RATED_W, RATED_W)
