"""The decision of an operation mode: whatever is set and measured, it is a power that the charger has."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.bridges.ocpp.profiles import understand
from firmware.bridges.ocpp.stack import Situation, compose
from firmware.bridges.ocpp.v2x import Sense, decide, interpolate
from firmware.bridges.ocpp.view import BOUNDS_S, Car, External, Wanted
from firmware.services.back_end import SOURCE, obey
from firmware.services.requests import Requests
from tests.ocpp.back_end import WALL_S

WATTS = st.floats(-1e7, 1e7)
MAYBE_W = st.none() | st.floats(0.0, 1e6)
POINTS = st.lists(st.tuples(st.floats(45.0, 65.0), WATTS), min_size=2, max_size=20)
PERIODS = st.one_of(
    st.just({"operationMode": "Idle"}),
    st.builds(lambda w: {"operationMode": "ChargingOnly", "limit": w}, WATTS),
    st.builds(
        lambda w, up, down: {
            "operationMode": "CentralSetpoint", "setpoint": w, "limit": abs(up), "dischargeLimit": -abs(down),
        },
        WATTS, WATTS, WATTS,
    ),
    st.builds(
        lambda w, curve: {
            "operationMode": "LocalFrequency", "v2xBaseline": w,
            "v2xFreqWattCurve": [{"frequency": f, "power": p} for f, p in curve],
        },
        WATTS, POINTS,
    ),
    st.builds(
        lambda w, curve: {
            "operationMode": "CentralFrequency", "setpoint": w,
            "v2xSignalWattCurve": [{"signal": round(f), "power": p} for f, p in curve],
        },
        WATTS, POINTS,
    ),
    st.just({"operationMode": "LocalLoadBalancing"}),
    st.just({"operationMode": "ExternalLimits"}),
    st.just({"operationMode": "ExternalSetpoint"}),
)  # fmt: skip
CARS = st.none() | st.builds(
    Car,
    protocol=st.just("iso20"),
    bidirectional=st.booleans(),
    charge_max_w=MAYBE_W,
    departure_s=MAYBE_W,
    target_wh=st.none() | WATTS,
    max_energy_wh=st.none() | WATTS,
    min_energy_wh=st.none() | WATTS,
    min_v2x_wh=st.none() | WATTS,
)
SENSES = st.builds(
    Sense,
    st.just(22_000.0),
    st.just(11_000.0),
    frequency_hz=st.none() | st.floats(0.0, 100.0),
    signal=st.none() | st.integers(-(10**9), 10**9),
    external=st.builds(External, st.none() | WATTS, MAYBE_W, MAYBE_W, st.just("ems")),
    site_w=st.none() | WATTS,
    own_w=st.none() | WATTS,
    car=CARS,
)


def profile(period: dict[str, Any], id: int, purpose: str) -> Any:
    plan = {
        "id": 1,
        "chargingRateUnit": "W",
        "startSchedule": "2020-01-01T00:00:00Z",
        "chargingSchedulePeriod": [{"startPeriod": 0, **period}],
    }
    raw = {"id": id, "stackLevel": 0, "chargingProfilePurpose": purpose, "chargingProfileKind": "Absolute"}
    return understand({**raw, "chargingSchedule": [plan]}, 1, id, 0.0)


@settings(max_examples=400, deadline=None)
@given(PERIODS, MAYBE_W, SENSES)
def test_every_decision_is_a_power_that_the_charger_has_inside_of_every_limit(
    period: dict[str, Any], most_w: float | None, sense: Sense
) -> None:
    known = [profile(period, 1, "TxDefaultProfile")]
    if most_w is not None:
        known.append(profile({"limit": most_w}, 2, "ChargingStationMaxProfile"))
    composite = compose(known, Situation(WALL_S, "t", WALL_S, None, False, 400.0, 50.0))
    d = decide(composite, sense)
    assert d.profile == 1
    if d.power_w is None:
        assert period["operationMode"] == "ExternalSetpoint"
        return
    assert -11_000.0 <= d.power_w <= 22_000.0
    assert most_w is None or d.power_w <= most_w
    assert d.charge_w == most_w
    if period["operationMode"] == "CentralSetpoint":
        assert period["dischargeLimit"] <= d.power_w <= period["limit"]
        if sense.car is None and most_w is None and -11_000.0 <= period["setpoint"] <= 22_000.0:
            low, high = period["dischargeLimit"], period["limit"]
            assert d.power_w == min(max(period["setpoint"], low), high)
    if sense.car is not None and sense.car.bidirectional is False:
        assert d.power_w >= 0.0


@given(POINTS, st.floats(0.0, 100.0))
def test_a_curve_gives_nothing_beyond_its_points(points: list[tuple[float, float]], x: float) -> None:
    curve = sorted(points)
    found = interpolate(curve, x)
    lowest, highest = min(y for _, y in curve), max(y for _, y in curve)
    slack = 1e-6 * max(1.0, abs(lowest), abs(highest))
    assert lowest - slack <= found <= highest + slack
    assert interpolate(curve, 0.0) == curve[0][1]


@given(
    st.lists(
        st.tuples(st.none() | st.floats(-22_000.0, 22_000.0), MAYBE_W, MAYBE_W, st.floats(0.0, 5.0), st.booleans()),
        min_size=1,
        max_size=20,
    )
)
def test_services_follow_the_newest_decision_inside_of_its_bounds_and_never_longer_than_its_lease(
    decisions: list[tuple[float | None, float | None, float | None, float, bool]],
) -> None:
    requests, now = Requests(22_000.0, 22_000.0, 0.0), 100.0
    requests.ask(now, "operator", 5_000.0, 3600.0, "lunch")
    for power_w, charge_w, discharge_w, later_s, same in decisions:
        rule = "1" if same else f"{now}"
        obey(requests, now, Wanted(now, rule, power_w, charge_w, discharge_w, "why\n", "bound"))
        told = requests.for_guard(now, 2.0)
        asked_w = 5_000.0 if told.source == "operator" else power_w
        assert asked_w is not None
        low_w = -math.inf if discharge_w is None else -discharge_w
        assert told.power_w == min(max(asked_w, low_w), math.inf if charge_w is None else charge_w)
        assert power_w is not None or told.source == "operator"
        now += 0.1 + later_s
        if later_s > 3.0:
            obey(requests, now, None)
            assert requests.for_guard(now, 2.0).source == "operator"
    assert requests.for_guard(now + BOUNDS_S + 1.0, 2.0).power_w == 5_000.0


def test_what_an_operator_asks_for_stands_over_a_rule_whose_numbers_change_and_under_a_new_rule() -> None:
    requests = Requests(22_000.0, 22_000.0, 0.0)
    for now, rule, expected in ((0.0, "a", SOURCE), (1.0, "a", "operator"), (2.0, "b", SOURCE)):
        obey(requests, now, Wanted(now, rule, -1_000.0 - now, None, None, "why", ""))
        if now == 0.0:
            assert requests.for_guard(now, 2.0).source == expected
            requests.ask(0.5, "operator", 3_000.0, 60.0)
        assert requests.for_guard(now + 0.5, 2.0).source == (expected if now else "operator")
