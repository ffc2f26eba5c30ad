"""Controls over a profile: the very ends of what may be tightened, ridden through, ceased and set."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from firmware.grid_codes import Chain, GridCode, RideThroughMode, RideThroughRow, Setting, load
from firmware.grid_support.capability import Priority
from firmware.grid_support.controls import Control, ControlRefused, control_of
from firmware.grid_support.curve import Curve
from firmware.grid_support.effective import Effective, compose
from firmware.grid_support.fixed import FixedPf, PowerLimitSettings
from firmware.grid_support.freq_droop import FreqDroopSettings
from firmware.grid_support.freq_response_au import FreqResponseAuSettings
from firmware.grid_support.lfsm import LfsmSettings, LfsmSide
from firmware.grid_support.ramps import RampSettings
from firmware.grid_support.settings import SupportSettings
from firmware.grid_support.volt_var import VoltVarSettings
from firmware.grid_support.volt_watt import VoltWattSettings
from firmware.grid_support.watt_var import WattVarSettings

NOW = 1_800_000_000.0
AT_ONCE = Chain(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # so that a delay is the whole time that the code gives
CAT2 = load("ieee1547_2018_cat2_normB", nominal_v=120.0)
CAT3 = load("ieee1547_2018_cat3_normB", nominal_v=120.0)
NOTHING = SupportSettings()
# The profiles' own numbers as points.
HV2, HV3 = [[1.1, 2.0], [1.2, 0.16]], [[1.1, 13.0], [1.2, 0.16]]
LV2, LV3 = [[0.7, 10.0], [0.45, 0.16]], [[0.88, 21.0], [0.5, 2.0]]
HF, LF = [[61.2, 300.0], [62.0, 0.16]], [[58.5, 300.0], [56.5, 0.16]]


def control(kind: str, name: str = "c", **more: Any) -> Control:
    return control_of({"id": name, "kind": kind, **more}, NOW, "test")


def over(code: GridCode, *controls: Control, support: SupportSettings = NOTHING, chain: Chain = AT_ONCE) -> Effective:
    return compose(code, support, chain, controls)


def plain(settings: Any) -> dict[str, Any]:
    """Curves by their points: two of the same points are two."""
    found = {f.name: getattr(settings, f.name) for f in fields(settings)}
    return {k: v.points if isinstance(v, Curve) else v for k, v in found.items()}


def refused(code: GridCode, *controls: Control, support: SupportSettings = NOTHING) -> str:
    with pytest.raises(ControlRefused) as refusal:
        over(code, *controls, support=support)
    return str(refusal.value)


# ----------------------------------------------------------------------------------------------------------- must-trips
@pytest.mark.parametrize("kind", ["hv_must_trip", "lv_must_trip", "hf_must_trip", "lf_must_trip"])
def test_the_profiles_own_numbers_are_nobodys_control_and_their_order_does_not_matter(kind: str) -> None:
    points = {"hv": HV3, "lv": LV3, "hf": HF, "lf": LF}[kind[:2]]
    for given in (points, points[::-1]):
        found = over(CAT3, control(kind, points=given))
        assert (found.code, found.sources) == (CAT3, ())


def test_what_is_tightened_is_the_controls_and_nothing_else() -> None:
    found = over(CAT3, control("lf_must_trip", points=[[58.6, 299.5], [56.5, 0.16]]))
    assert found.sources == (("trip.UF1.threshold", "c"), ("trip.UF1.time_s", "c"))
    found = over(CAT3, control("hf_must_trip", points=[[61.8, 0.16], [61.2, 299.5]]))
    assert found.sources == (("trip.OF1.time_s", "c"), ("trip.OF2.threshold", "c"))
    assert found.code.trip("OF2").threshold.value == 61.8


def test_a_code_without_stages_of_a_kind_says_so() -> None:
    bare = replace(CAT3, trips=tuple(t for t in CAT3.trips if t.id[1] == "V"))
    words = refused(bare, control("hf_must_trip", points=HF))
    assert "has 0 stages for hf_must_trip (none); give one point [threshold, seconds] for each, not 2" in words


def test_a_trip_may_come_exactly_when_riding_through_ends_and_not_earlier() -> None:
    over(CAT3, control("hv_must_trip", points=[[1.1, 12.0], [1.2, 0.16]]))
    words = refused(CAT3, control("hv_must_trip", points=[[1.1, 11.999], [1.2, 0.16]]))
    assert "trip.OV1 at 1.1 pu after 11.999 s would cut into momentary_cessation at 1.1..1.2 pu" in words
    assert "must be ridden through for 12 s" in words


def test_what_is_ridden_through_longer_the_nearer_it_is_counts_with_its_longest_time() -> None:
    """Category II: 3 s at 0.65 pu and 8.7 s more for each pu above: 4.305 s at 0.8 pu."""
    over(CAT2, control("lv_must_trip", points=[[0.8, 4.31], [0.45, 0.16]]))
    words = refused(CAT2, control("lv_must_trip", points=[[0.8, 4.3], [0.45, 0.16]]))
    assert "mandatory_operation at 0.65..0.88 pu, which must be ridden through for 4.305 s" in words


@pytest.mark.parametrize("kind", ["lf_must_trip", "hf_must_trip"])
def test_nothing_may_cut_into_continuous_operation(kind: str) -> None:
    points = [[59.0, 300.0], [56.5, 0.16]] if kind[0] == "l" else [[61.0, 300.0], [62.0, 0.16]]
    words = refused(CAT3, control(kind, points=points))
    assert "continuous_operation at 58.8..61.2 Hz, which must be ridden through without end" in words


def test_permissive_operation_and_what_only_touches_the_threshold_need_not_be_ridden_through() -> None:
    over(CAT2, control("lv_must_trip", points=[[0.7, 10.0], [0.5, 0.16]]))  # 0.45..0.65 pu: permissive
    over(CAT3, control("hf_must_trip", points=[[61.2, 300.0], [61.8, 0.16]]))  # mandatory up to 61.8 Hz
    over(CAT3, control("lf_must_trip", points=[[58.5, 300.0], [57.0, 0.16]]))  # and down to 57 Hz


# ------------------------------------------------------------------------------------------------------------ may-trips
@pytest.mark.parametrize(
    ("kind", "fits", "too_long"),
    [
        ("hv_may_trip", [[1.05, 3600.0], [1.1, 3600.0], [1.11, 13.0], [1.2, 13.0], [1.21, 0.16]], [1.11, 13.001]),
        ("hv_may_trip", [[1.2, 13.0]], [1.21, 0.161]),
        ("lv_may_trip", [[0.9, 3600.0], [0.88, 3600.0], [0.87, 21.0], [0.5, 21.0], [0.49, 2.0]], [0.87, 21.001]),
        ("lv_may_trip", [[0.5, 21.0]], [0.49, 2.001]),
    ],
)
def test_riding_through_may_last_exactly_as_long_as_no_trip_comes(
    kind: str, fits: list[list[float]], too_long: list[float]
) -> None:
    assert over(CAT3, control(kind, points=fits)).sources == ((kind, "c"),)
    words = refused(CAT3, control(kind, points=[*fits, too_long]))
    assert f"riding through {too_long[0]:g} pu for {too_long[1]:g} s contradicts" in words
    assert "set by: profile" in words


# -------------------------------------------------------------------------------------------------------------- ceasing
def voltage_rows(code: GridCode) -> list[tuple[float, float, RideThroughMode]]:
    return [(r.lo.value, r.hi.value, r.mode) for r in code.ride_through if r.quantity.value == "voltage"]


def ceased(code: GridCode, *which: tuple[float, float]) -> list[tuple[float, float, RideThroughMode]]:
    cease = RideThroughMode.MOMENTARY_CESSATION
    return [(lo, hi, cease if (lo, hi) in which else mode) for lo, hi, mode in voltage_rows(code)]


def test_a_threshold_at_the_end_of_a_row_splits_nothing() -> None:
    high = over(CAT2, control("hv_momentary_cessation", threshold_pu=1.1))
    assert voltage_rows(high.code) == ceased(CAT2, (1.1, 1.15), (1.15, 1.175), (1.175, 1.2))
    assert high.sources == (("hv_momentary_cessation", "c"),)
    low = over(CAT2, control("lv_momentary_cessation", threshold_pu=0.65))
    assert voltage_rows(low.code) == ceased(CAT2, (0.45, 0.65), (0.3, 0.45))
    assert low.sources == (("lv_momentary_cessation", "c"),)
    assert [r for r in low.code.ride_through if r.quantity.value != "voltage"] == [
        r for r in CAT2.ride_through if r.quantity.value != "voltage"
    ]


def test_a_threshold_inside_of_a_row_splits_it_there() -> None:
    cease, permissive = RideThroughMode.MOMENTARY_CESSATION, RideThroughMode.PERMISSIVE
    high = voltage_rows(over(CAT2, control("hv_momentary_cessation", threshold_pu=1.16)).code)
    assert sorted(r for r in high if 1.1 <= r[0] < 1.2) == [
        (1.1, 1.15, permissive), (1.15, 1.16, permissive), (1.16, 1.175, cease), (1.175, 1.2, cease),
    ]  # fmt: skip
    low = voltage_rows(over(CAT2, control("lv_momentary_cessation", threshold_pu=0.4)).code)
    assert sorted(r for r in low if 0.3 <= r[0] < 0.65) == [
        (0.3, 0.4, cease), (0.4, 0.45, permissive), (0.45, 0.65, permissive),
    ]  # fmt: skip


def test_beyond_what_ceases_already_a_threshold_changes_nothing() -> None:
    for kind, limit in (("hv_momentary_cessation", 1.2), ("lv_momentary_cessation", 0.3)):
        found = over(CAT2, control(kind, threshold_pu=limit))
        assert (found.code, found.sources) == (CAT2, ())


def test_what_must_go_on_may_not_cease_however_little_of_it() -> None:
    high = refused(CAT2, control("hv_momentary_cessation", threshold_pu=1.0999))
    assert "ceasing above 1.0999 pu contradicts continuous_operation at 0.88..1.1 pu" in high
    low = refused(CAT2, control("lv_momentary_cessation", threshold_pu=0.6501))
    assert "ceasing below 0.6501 pu contradicts mandatory_operation at 0.65..0.88 pu" in low


def test_a_row_whose_time_slopes_cannot_be_split_and_can_cease_whole() -> None:
    row = next(r for r in CAT2.ride_through if r.min_time_slope_s_per_pu is not None)

    def with_slope(r: RideThroughRow) -> RideThroughRow:
        here = r.quantity.value == "voltage" and (r.lo.value, r.hi.value) == (0.45, 0.65)
        return replace(r, min_time_slope_s_per_pu=row.min_time_slope_s_per_pu) if here else r

    code = replace(CAT2, ride_through=tuple(with_slope(r) for r in CAT2.ride_through))
    words = refused(code, control("lv_momentary_cessation", threshold_pu=0.5))
    assert "0.5 pu lies inside of 0.45..0.65 pu, whose time slopes and which cannot be split" in words
    over(code, control("lv_momentary_cessation", threshold_pu=0.65))
    over(code, control("lv_momentary_cessation", threshold_pu=0.45))


def test_a_board_too_slow_to_cease_is_refused() -> None:
    limit = replace(CAT2.trip("OV1").threshold, unit="s", value=0.1)
    rows = tuple(
        replace(r, max_response_s=limit) if r.mode is RideThroughMode.PERMISSIVE else r for r in CAT2.ride_through
    )
    slow = Chain(0.0, 0.0, 0.0, 0.11, 0.0, 0.0)
    code = replace(CAT2, ride_through=rows)
    over(code, chain=slow)
    with pytest.raises(ControlRefused, match=r"control c: ride_through voltage .* this board ceases after 0.11 s"):
        over(code, control("lv_momentary_cessation", threshold_pu=0.65), chain=slow)


# ----------------------------------------------------------------------------------------------------- entering service
def test_entering_service_is_adjusted_within_the_ranges_of_the_code() -> None:
    found = over(CAT3, control("enter_service", delay_s=600.0, v_min=0.95, default=True))
    assert (found.code.enter_service.delay_s.value, found.code.enter_service.v_min.value) == (600.0, 0.95)
    assert found.sources == (("enter_service.delay_s", "c"), ("enter_service.v_min", "c"))
    assert "enter_service.delay_s cannot be 601" in refused(CAT3, control("enter_service", delay_s=601.0, default=True))


# -------------------------------------------------------------------------------------------------------------- support
OLD_VAR = VoltVarSettings(Curve([(0.9, -0.1), (1.1, 0.1)]), 3.0, "old")
OLD_WATT = VoltWattSettings(Curve([(1.0, 1.0), (1.1, 0.0)]), Curve([(0.9, 0.0), (1.0, 1.0)]), 4.0, "old")


def test_a_reactive_control_keeps_the_profiles_time_unless_it_has_its_own() -> None:
    points = [[0.92, -0.44], [1.08, 0.44]]
    for support, more, time_s in (
        (NOTHING, {}, 10.0), (SupportSettings(reactive=OLD_VAR), {}, 3.0),
        (SupportSettings(reactive=OLD_VAR), {"response_s": 7.0}, 7.0),
    ):  # fmt: skip
        found = over(CAT3, control("volt_var", points=points, **more), support=support).support.reactive
        curve = Curve([(0.92, -0.44), (1.08, 0.44)])
        wanted = VoltVarSettings(curve, time_s, "control c of test", vref_pu=1.0, autonomous_s=None)
        assert plain(found) == plain(wanted)
    found = over(CAT3, control("volt_var", points=points, vref_pu=1.02, autonomous_s=300.0)).support.reactive
    assert isinstance(found, VoltVarSettings)
    assert (found.vref_pu, found.autonomous_s) == (1.02, 300.0)
    watt_var = over(CAT3, control("watt_var", points=[[-1.0, 0.4], [0.0, 0.0]])).support.reactive
    wanted_watt_var = WattVarSettings(Curve([(-1.0, 0.4), (0.0, 0.0)]), 10.0, "control c of test")
    assert plain(watt_var) == plain(wanted_watt_var)


@pytest.mark.parametrize("absorbing", [0, 1])
def test_a_power_factor_absorbs_or_injects_as_it_says(absorbing: int) -> None:
    found = over(CAT3, control("fixed_pf", pf=0.9, absorbing=absorbing)).support.reactive
    assert found == FixedPf(0.9, absorbing == 1, 10.0, "control c of test")


def test_a_volt_watt_control_keeps_the_profiles_curve_of_charging_and_its_time() -> None:
    points = [[1.05, 1.0], [1.06, 1.0], [1.1, 0.2]]
    curve = Curve([(1.05, 1.0), (1.06, 1.0), (1.1, 0.2)])
    bare = over(CAT3, control("volt_watt", points=points)).support.volt_watt
    assert plain(bare) == plain(VoltWattSettings(curve, None, 10.0, "control c of test"))
    kept = over(CAT3, control("volt_watt", points=points), support=SupportSettings(volt_watt=OLD_WATT))
    wanted = VoltWattSettings(curve, OLD_WATT.charge, 4.0, "control c of test")
    assert plain(kept.support.volt_watt) == plain(wanted)
    words = refused(CAT3, control("volt_watt", points=[[1.06, 0.2], [1.1, 0.201]]))
    assert "must not permit more power at a higher voltage" in words


def test_points_whose_x_falls_are_refused() -> None:
    words = refused(CAT3, control("volt_var", points=[[1.08, 0.44], [0.92, -0.44]]))
    assert words == "control c: the x of its points must not fall"


DROOP = {"db_of_hz": 0.1, "db_uf_hz": 0.2, "k_of": 0.04, "k_uf": 0.05}


def test_a_droop_keeps_the_profiles_time_and_is_taken_exactly_within_its_ranges() -> None:
    old = FreqDroopSettings(60.0, 0.036, 0.036, 0.05, 0.05, 3.0, "old")
    for support, more, time_s in (
        (NOTHING, {}, 2.0), (SupportSettings(frequency=old), {}, 3.0),
        (SupportSettings(frequency=old), {"response_s": 7.0}, 7.0),
    ):  # fmt: skip
        found = over(CAT3, control("freq_droop", **DROOP, **more), support=support).support.frequency
        assert found == FreqDroopSettings(60.0, 0.1, 0.2, 0.04, 0.05, time_s, "control c of test")
    for key, low, high in (
        ("k_of", 0.02, 0.05),
        ("k_uf", 0.02, 0.05),
        ("db_of_hz", 0.017, 1.0),
        ("response_s", 0.2, 10),
    ):
        for value, fits in ((low, True), (high, True), (low * 0.999, False), (high * 1.001, False)):
            raw = {**DROOP, key: value}
            if fits:
                over(CAT3, control("freq_droop", **raw))
            else:
                words = refused(CAT3, control("freq_droop", **raw))
                assert f"{key} is {value:g}; ieee1547_2018_cat3_normB allows {low:g}..{high:g}" in words


@pytest.mark.parametrize("end", ["min", "max"])
def test_a_number_of_the_code_with_one_end_only_is_no_range(end: str) -> None:
    def open_ended(key: str, setting: Setting) -> Setting:
        return replace(setting, **{end: None}) if key == "k_of" else setting

    support = tuple(
        replace(s, numbers=tuple((k, open_ended(k, n)) for k, n in s.numbers)) if s.name == "freq_droop" else s
        for s in CAT3.support
    )
    over(replace(CAT3, support=support), control("freq_droop", **{**DROOP, "k_of": 0.5}))


def test_a_code_without_a_droop_of_its_own_takes_any_and_lfsm_keeps_its_time_and_release() -> None:
    side = LfsmSide(60.2, 0.05, 61.0, "old")
    bare = replace(CAT3, support=())
    support = SupportSettings(frequency=LfsmSettings(60.0, side, None, 3.0, 600.0, 0.1))
    found = over(bare, control("freq_droop", **{**DROOP, "k_of": 0.5}), support=support).support.frequency
    clause = "control c of test"
    assert found == LfsmSettings(
        60.0, LfsmSide(60.1, 0.5, None, clause), LfsmSide(59.8, 0.05, None, clause), 3.0, 600.0, 0.1
    )
    fixed = FreqResponseAuSettings(48.0, 49.0, 49.75, 50.25, 50.75, 52.0, 0.1, 1.0, "AS/NZS 4777.2")
    words = refused(bare, control("freq_droop", **DROOP), support=SupportSettings(frequency=fixed))
    assert words.endswith("fixes its response to frequency (AS/NZS 4777.2)")


def test_a_limit_and_ramps_change_what_they_name_and_leave_the_rest() -> None:
    old = SupportSettings(ramps=RampSettings(0.5, 0.25), priority=Priority.REACTIVE)
    limit = over(CAT3, control("power_limit", charge_pu=1.0, discharge_pu=0.3), support=old)
    assert limit.support == replace(old, limit=PowerLimitSettings(1.0, 0.3, 10.0, "control c of test"))
    assert limit.sources == (("limit", "c"),)
    for raw, ramps in (
        ({"normal_pu_per_s": 0.1}, RampSettings(0.1, 0.25)), ({"soft_start_pu_per_s": 0.1}, RampSettings(0.5, 0.1)),
    ):  # fmt: skip
        found = over(CAT3, control("ramps", default=True, **raw), support=old)
        assert (found.support.ramps, found.sources) == (ramps, (("ramps", "c"),))


def test_of_several_reactive_controls_the_scheduled_and_then_the_lower_rank_counts() -> None:
    low, high = control("fixed_var", "low", q_pu=0.1, priority=9), control("fixed_pf", "high", pf=0.9, absorbing=1)
    default = control("watt_var", "default", points=[[0.0, 0.0]], default=True)
    for given in ((low, high, default), (default, high, low)):
        assert over(CAT3, *given).source("reactive") == "high"
    assert over(CAT3, low, default).source("reactive") == "low"
    assert over(CAT3, default).source("reactive") == "default"
    assert over(CAT3).source("reactive") == "profile"
