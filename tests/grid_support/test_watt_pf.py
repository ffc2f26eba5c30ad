"""Power factor over active power, cos phi (P), absorbing and injecting."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firmware.grid_support.capability import Capability
from firmware.grid_support.compose import GridSupport
from firmware.grid_support.controls import ControlRefused, control_of
from firmware.grid_support.curve import Curve
from firmware.grid_support.effective import compose
from firmware.grid_support.fixed import FixedVar
from firmware.grid_support.reactive import tan_phi
from firmware.grid_support.settings import SupportSettings
from firmware.grid_support.watt_var import WattPf, WattPfSettings
from tests.grid_support.test_controls import IEEE
from tests.protection.bench import CHAIN

RATED_W = 22_000.0


def q_pu(p_pu: float, *points: tuple[float, float]) -> float:
    return WattPf(WattPfSettings(Curve(points), 0.0, "")).target_pu(0.0, 1.0, p_pu)


# VDE-AR-N 4105: up to half of rated power 1, then to 0.9 absorbing at all of it; discharging is on the left here.
VDE = ((-1.0, 0.9), (-0.5, 1.0))


@pytest.mark.parametrize(("p_pu", "pf"), [(-1.0, 0.9), (-0.75, 0.95), (-0.5, 1.0), (-0.2, 1.0), (0.0, 1.0), (1.0, 1.0)])
def test_discharging_absorbs_by_the_line_of_the_power_factor_and_charging_is_left_alone(p_pu: float, pf: float) -> None:
    assert q_pu(p_pu, *VDE) == pytest.approx(abs(p_pu) * tan_phi(pf))


def test_a_negative_power_factor_injects_and_each_direction_may_have_its_own() -> None:
    points = ((-1.0, 0.9), (0.0, 1.0), (1.0, -0.95))
    assert q_pu(-1.0, *points) == pytest.approx(math.tan(math.acos(0.9)))
    assert q_pu(1.0, *points) == pytest.approx(-math.tan(math.acos(0.95)))
    assert q_pu(0.5, *points) == pytest.approx(-0.5 * tan_phi(0.975))
    assert q_pu(0.0, *points) == 0.0


@pytest.mark.parametrize("p_pu", [0.5, -0.5])
def test_between_absorbing_and_injecting_the_power_factor_passes_one_and_not_zero(p_pu: float) -> None:
    """A straight line of the number from +0.9 to -0.9 would pass 0, where reactive power has no end."""
    assert q_pu(p_pu, (p_pu - 0.1, 0.9), (p_pu + 0.1, -0.9)) == pytest.approx(0.0, abs=1e-12)
    assert q_pu(p_pu + 0.05, (p_pu - 0.1, 0.9), (p_pu + 0.1, -0.9)) == pytest.approx(
        -abs(p_pu + 0.05) * tan_phi(0.95)
    )  # fmt: skip


@pytest.mark.parametrize("pf", [1.0, -1.0])
def test_a_power_factor_of_one_is_no_reactive_power_and_no_negative_zero(pf: float) -> None:
    assert math.copysign(1.0, q_pu(0.7, (0.0, pf))) == 1.0
    assert q_pu(0.7, (0.0, pf)) == 0.0


factors = st.builds(math.copysign, st.floats(0.1, 1.0), st.sampled_from([1.0, -1.0]))


@given(st.lists(st.tuples(st.floats(-1.0, 1.0), factors), min_size=1, max_size=6), st.floats(-1.0, 1.0))
@example([(-1.0, 0.9), (1.0, -0.9)], 0.3)
def test_the_power_factor_lies_between_those_of_the_two_points_around(
    points: list[tuple[float, float]], p_pu: float
) -> None:
    points.sort(key=lambda point: point[0])
    q = q_pu(p_pu, *points)
    around = [y for x, y in points if x <= p_pu][-1:] + [y for x, y in points if x > p_pu][:1]
    ends = sorted(abs(p_pu) * math.copysign(tan_phi(abs(pf)), pf) for pf in around)
    assert ends[0] - 1e-9 <= q <= ends[-1] + 1e-9


@pytest.mark.parametrize("pf", [0.0, -0.0, 1.01, -1.01, math.inf])
def test_a_power_factor_that_cannot_be_is_refused(pf: float) -> None:
    with pytest.raises(ValueError, match=r"power factor|finite"):
        WattPfSettings(Curve([(0.0, 1.0), (1.0, pf)]), 10.0, "")
    for fits in (1.0, -1.0, 0.001, -0.001):
        WattPfSettings(Curve([(0.0, fits)]), 10.0, "")


@given(st.floats(-1.0, 1.0), factors)
def test_active_power_gives_way_so_that_both_stay_in_the_circle(p_pu: float, pf: float) -> None:
    curve = Curve([(-1.0, pf), (1.0, pf)])
    s = GridSupport(
        SupportSettings(reactive=WattPfSettings(curve, 0.0, "c")), Capability(RATED_W, RATED_W, RATED_W, 0.6, 0.6)
    )
    for t in range(4):
        r = s.step(float(t), (1.0, 1.0, 1.0), 50.0, p_pu * RATED_W)
        assert math.hypot(r.p_w, r.q_var) <= RATED_W * (1 + 1e-9)
        assert abs(r.q_var) <= 0.6 * RATED_W * (1 + 1e-9)
        assert r.q_var * pf >= 0.0
        assert r.p_w * p_pu >= 0.0
    assert r.q_by == "cosphi_p"


# ------------------------------------------------------------------------------------------------------------ a control
def control(id: str = "c", **raw: object) -> object:
    return control_of({"id": id, "kind": "watt_pf", "points": [[-1.0, 0.9], [0.0, 1.0]], **raw}, 0.0, "test")


def test_a_control_takes_the_place_of_the_profiles_reactive_function_and_keeps_its_time() -> None:
    old = SupportSettings(reactive=FixedVar(0.1, 3.0, "old"))
    for support, more, time_s in ((SupportSettings(), {}, 10.0), (old, {}, 3.0), (old, {"response_s": 7.0}, 7.0)):
        found = compose(IEEE, support, CHAIN, [control(**more)])  # type: ignore[list-item, arg-type]
        assert isinstance(found.support.reactive, WattPfSettings)
        assert found.support.reactive.curve.points == ((-1.0, 0.9), (0.0, 1.0))
        assert (found.support.reactive.response_s, found.support.reactive.clause) == (time_s, "control c of test")
        assert found.source("reactive") == "c"


def test_of_two_reactive_controls_the_one_of_the_lower_priority_number_counts() -> None:
    var = control_of({"id": "v", "kind": "fixed_var", "q_pu": 0.1, "priority": 1}, 0.0, "test")
    assert compose(IEEE, SupportSettings(), CHAIN, [var, control(priority=2)]).source("reactive") == "v"  # type: ignore[list-item]
    assert compose(IEEE, SupportSettings(), CHAIN, [var, control(priority=0)]).source("reactive") == "c"  # type: ignore[list-item]


@pytest.mark.parametrize("pf", [0.1, -0.1, 1.0, -1.0])
def test_the_smallest_power_factor_of_a_control_is_a_tenth(pf: float) -> None:
    assert control(points=[[0.0, pf]])
    within = math.nextafter(pf, 0.0) if abs(pf) < 1.0 else 0.0
    with pytest.raises(ControlRefused, match=r"^control c: the power factors must be 0.1 to 1 .absorbs. or -0.1 to -1"):
        control(points=[[0.0, 1.0], [1.0, within]])
