"""A power factor for each direction: two controls that hold together."""

from __future__ import annotations

import math

import pytest

from firmware.grid_support.controls import Book, ControlRefused, control_of
from firmware.grid_support.effective import compose
from firmware.grid_support.settings import DEFAULT_VOLTAGE_S, SupportSettings
from firmware.grid_support.watt_var import WattVarSettings
from tests.grid_support.test_controls import IEEE, over
from tests.protection.bench import CHAIN

CHARGING = {"id": "c", "kind": "fixed_pf_charging", "pf": 0.95, "absorbing": 1, "default": True}
DISCHARGING = {"id": "d", "kind": "fixed_pf_discharging", "pf": 0.9, "absorbing": 0, "default": True}
FULL = {pf: math.sqrt(1.0 - pf * pf) / pf for pf in (0.9, 0.95)}


@pytest.mark.parametrize(
    ("raws", "at_charge", "at_discharge", "source"),
    [
        ([CHARGING], FULL[0.95], 0.0, "c"),
        ([DISCHARGING], 0.0, -FULL[0.9], "d"),
        ([CHARGING, DISCHARGING], FULL[0.95], -FULL[0.9], "c and d"),
    ],
)
def test_each_direction_has_its_own_power_factor_and_the_other_is_left_alone(
    raws: list[dict[str, object]], at_charge: float, at_discharge: float, source: str
) -> None:
    book = Book()
    for raw in raws:
        assert book.set(control_of(raw, 0.0, "op"), 0.0) == ()
    effective = over(IEEE, *book.active(0.0))
    settings = effective.support.reactive
    assert isinstance(settings, WattVarSettings)
    for p_pu, q_pu in (
        (1.0, at_charge),
        (0.5, at_charge / 2),
        (0.0, 0.0),
        (-0.5, at_discharge / 2),
        (-1.0, at_discharge),
    ):
        assert settings.curve.at(p_pu) == pytest.approx(q_pu, abs=1e-12)
    assert effective.source("reactive") == source


@pytest.mark.parametrize(("times", "time_s"), [((3.0, 7.0), 3.0), ((7.0, 3.0), 3.0), ((None, 7.0), 7.0)])
def test_of_two_directions_the_shorter_response_time_holds(times: tuple[float | None, float], time_s: float) -> None:
    """One that names none has the time of the function before, here 10 s."""
    raws = [
        raw | ({} if t is None else {"response_s": t}) for raw, t in zip((CHARGING, DISCHARGING), times, strict=True)
    ]
    effective = over(IEEE, *(control_of(raw, 0.0, "op") for raw in raws))
    assert isinstance(effective.support.reactive, WattVarSettings)
    assert effective.support.reactive.response_s == time_s


def test_a_scheduled_curve_stands_over_default_power_factors() -> None:
    curve = control_of({"id": "v", "kind": "volt_var", "points": [[0.9, -0.3], [1.1, 0.3]]}, 0.0, "op")
    effective = over(IEEE, control_of(CHARGING, 0.0, "op"), curve)
    assert effective.source("reactive") == "v"


@pytest.mark.parametrize("wrong", [{"pf": 0.5}, {"pf": 1.1}, {"absorbing": 0.5}])
def test_a_power_factor_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ControlRefused):
        control_of({**CHARGING, **wrong}, 0.0, "op")


def test_without_a_reactive_function_before_it_takes_the_time_that_functions_of_voltage_take() -> None:
    found = compose(IEEE, SupportSettings(), CHAIN, [control_of(CHARGING, 0.0, "op")]).support.reactive
    assert isinstance(found, WattVarSettings)
    assert found.response_s == DEFAULT_VOLTAGE_S
