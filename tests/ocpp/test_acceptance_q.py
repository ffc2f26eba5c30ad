"""Block Q, by the 25 titles of the OCTT's V2X cases. Only the titles are public: what each demands is how we read the
title and the rules of docs/ocpp.md, so passing here is no OCTT result. The number in a name is that of the case."""

from __future__ import annotations

from typing import Any

import pytest

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.dialect import V21
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.view import Ability, Car, External, Phase, View, Wanted
from firmware.services.back_end import obey
from firmware.services.requests import Requests
from tests.ocpp.back_end import WALL_S, BackEnd, station, view
from tests.ocpp.lockstep import tx_profile

ISO20 = Car(
    protocol="iso20",
    bidirectional=True,
    control="scheduled",
    charge_max_w=11_000.0,
    charge_max_a=30.0,
    discharge_max_w=10_000.0,
    discharge_max_a=30.0,
    max_v=450.0,
    min_v=300.0,
    departure_s=7200.0,
    target_wh=20_000.0,
    max_energy_wh=30_000.0,
    min_energy_wh=-5_000.0,
    max_v2x_wh=25_000.0,
    min_v2x_wh=-4_000.0,
)


class Point:
    """A registered 2.1 charger with a car; `look` moves time and senses."""

    def __init__(self, box: Outbox | None = None, **ability: Any) -> None:
        self.charger, self.box, self.said = station(box, ability=Ability(**ability))
        self.peer = BackEnd(V21)
        self.peer.answers["NotifyEVChargingNeeds"] = {"status": "Accepted"}
        self.now = 0.0
        self.linked = True
        self.senses: dict[str, Any] = {"voltage_v": 400.0, "frequency_hz": 50.0, "soc_pct": 60.0}
        self.phase = Phase.HOLDING
        self.look()
        self.charger.connected(0.0, V21)
        self.look(0.1)

    def look(self, now: float | None = None, **senses: Any) -> None:
        self.now = self.now if now is None else now
        self.senses |= senses
        self.charger.observe(self.view())
        if self.linked:
            self.peer.settle(self.charger, self.now)

    def view(self) -> View:
        return view(self.now, self.phase, **self.senses)

    def cut(self) -> None:
        self.linked = False
        self.charger.disconnected(self.now)
        self.look()

    def connect(self) -> None:
        self.linked = True
        self.charger.connected(self.now, V21)
        self.look()

    @property
    def tx(self) -> str:
        assert self.charger.transactions.id is not None
        return self.charger.transactions.id

    def ask(self, action: str, payload: dict[str, Any]) -> Any:
        answer = self.peer.ask(self.charger, action, payload, self.now)
        if self.linked:
            self.peer.settle(self.charger, self.now)
        return answer

    def set(self, period: dict[str, Any], **more: Any) -> Any:
        return self.ask("SetChargingProfile", tx_profile(self.tx, period, **more))

    def accept(self, period: dict[str, Any], **more: Any) -> None:
        assert self.set(period, **more) == {"status": "Accepted"}

    def refused(self, period: dict[str, Any], **more: Any) -> str:
        """The reasonCode."""
        answer = self.set(period, **more)
        assert answer["status"] == "Rejected", answer
        assert answer["statusInfo"]["additionalInfo"]
        return str(answer["statusInfo"]["reasonCode"])

    @property
    def wanted(self) -> Wanted:
        found = self.charger.wanted(self.now)
        assert found is not None
        return found

    @property
    def power_w(self) -> float | None:
        found = self.charger.wanted(self.now)
        return None if found is None else found.power_w


CHARGE = {"limit": 9_000.0}
SETPOINT = {"operationMode": "CentralSetpoint", "setpoint": -7_000.0}
FREQUENCY = {
    "operationMode": "LocalFrequency",
    "v2xBaseline": 1_000.0,
    "v2xFreqWattCurve": [{"frequency": 49.8, "power": -5_000.0}, {"frequency": 50.2, "power": 5_000.0}],
}
AFRR = {
    "operationMode": "CentralFrequency",
    "setpoint": 500.0,
    "v2xBaseline": 1_000.0,
    "v2xSignalWattCurve": [{"signal": -100, "power": -8_000.0}, {"signal": 100, "power": 8_000.0}],
}
DYNAMIC = {"chargingProfileKind": "Dynamic"}


def dynamic(period: dict[str, Any], point: Point, **more: Any) -> Any:
    request = tx_profile(point.tx, period, **DYNAMIC, **more)
    schedule = request["chargingProfile"]["chargingSchedule"][0]
    del schedule["startSchedule"]
    return point.ask("SetChargingProfile", request)


def update(point: Point, id: int = 7, **values: float) -> Any:
    return point.ask("UpdateDynamicSchedule", {"chargingProfileId": id, "scheduleUpdate": values})


# ------------------------------------------------------------------------------------------------- metering and needs
def test_q_100_v2x_measurands_are_told_with_import_and_export_apart() -> None:
    point = Point()
    point.accept(SETPOINT)
    point.phase = Phase.DISCHARGING
    point.look(1.0, car=ISO20, power_w=-6_900.0, current_a=-17.25)
    record = point.peer.told("TransactionEvent")[-1]
    values = {item["measurand"]: item["value"] for item in record["meterValue"][0]["sampledValue"]}
    assert record["transactionInfo"]["operationMode"] == "CentralSetpoint"
    assert (values["Power.Active.Import"], values["Power.Active.Export"]) == (0.0, 6_900.0)
    assert values["Power.Active.Setpoint"] == -7_000.0
    assert values["EnergyRequest.Target"] == 20_000.0
    assert (values["EnergyRequest.Minimum.V2X"], values["EnergyRequest.Maximum.V2X"]) == (-4_000.0, 25_000.0)


def test_q_101_charging_needs_that_are_processed_keep_the_rule_that_holds_and_take_the_profile_that_follows() -> None:
    point = Point()
    point.peer.answers["NotifyEVChargingNeeds"] = {"status": "Processing"}
    point.accept(CHARGE)
    point.look(1.0, car=ISO20)
    (needs,) = point.peer.told("NotifyEVChargingNeeds")
    told = needs["chargingNeeds"]
    assert told["requestedEnergyTransfer"] == "DC_BPT"
    assert told["departureTime"] == times.show(WALL_S + 1.0 + 7200.0)
    assert told["v2xChargingParameters"]["maxDischargePower"] == 10_000.0  # a magnitude there
    assert point.power_w == 9_000.0
    point.accept(SETPOINT)
    assert point.power_w == -7_000.0
    point.look(60.0)
    assert len(point.peer.told("NotifyEVChargingNeeds")) == 1
    point.look(61.0, car=ISO20.__class__(**{**_fields(ISO20), "departure_s": 3600.0}))
    assert len(point.peer.told("NotifyEVChargingNeeds")) == 2  # the car leaves earlier


def _fields(car: Car) -> dict[str, Any]:
    return {name: getattr(car, name) for name in car.__dataclass_fields__}


def test_q_102_an_allowed_energy_transfer_that_is_in_use_is_accepted() -> None:
    point = Point()
    point.look(1.0, car=ISO20)
    allowed = {"transactionId": point.tx, "allowedEnergyTransfer": ["DC", "DC_BPT"]}
    assert point.ask("NotifyAllowedEnergyTransfer", allowed) == {"status": "Accepted"}


def test_q_103_rejected_needs_give_no_power_until_others_are_accepted() -> None:
    point = Point()
    point.accept(CHARGE)
    point.peer.answers["NotifyEVChargingNeeds"] = {"status": "Rejected"}
    point.look(1.0, car=ISO20)
    point.look(1.1)
    assert point.power_w == 0.0
    assert "rejected" in point.wanted.reason
    requests = Requests(22_000.0, 22_000.0, 0.0)
    obey(requests, point.now, point.wanted)
    for power_w in (20_000.0, -20_000.0):
        requests.ask(point.now, "operator", power_w, 60.0)
        assert requests.for_guard(point.now, 5.0).power_w == 0.0  # whoever asks
    point.peer.answers["NotifyEVChargingNeeds"] = {"status": "Accepted"}
    point.look(2.0, car=Car(**{**_fields(ISO20), "bidirectional": False}))
    point.look(2.1)
    assert point.power_w == 9_000.0


def test_q_104_scheduled_control_follows_the_periods_of_the_schedule() -> None:
    point = Point()
    point.look(1.0, car=ISO20)
    assert point.peer.told("NotifyEVChargingNeeds")[0]["chargingNeeds"]["controlMode"] == "ScheduledControl"
    periods = [
        {"startPeriod": 0, "operationMode": "ChargingOnly", "limit": 11_000.0},
        {"startPeriod": 600, "operationMode": "CentralSetpoint", "setpoint": -5_000.0},
        {"startPeriod": 1200, "operationMode": "Idle"},
    ]
    more = {"start": times.show(WALL_S), "schedule": {"chargingSchedulePeriod": periods, "duration": 1800}}
    point.accept({}, **more)
    seen = []
    for now in (599.0, 600.0, 1199.9, 1200.0, 1799.0, 1800.0):
        point.look(now)
        seen.append(point.power_w)
    assert seen == [11_000.0, -5_000.0, -5_000.0, 0.0, 0.0, None]


def test_q_107_a_session_begins_charging_only_and_discharges_when_a_profile_says_so() -> None:
    point = Point()
    default = tx_profile(point.tx, CHARGE, id=1)
    default["chargingProfile"] |= {"chargingProfilePurpose": "TxDefaultProfile"}
    del default["chargingProfile"]["transactionId"]
    assert point.ask("SetChargingProfile", default) == {"status": "Accepted"}
    assert point.power_w == 9_000.0
    point.look(1.0)
    point.accept(SETPOINT)
    point.look(2.0)
    assert point.power_w == -7_000.0
    events = point.peer.told("TransactionEvent")
    assert [e["transactionInfo"].get("operationMode") for e in events][-2:] == ["ChargingOnly", "CentralSetpoint"]
    assert events[-1]["triggerReason"] == "OperationModeChanged"


# --------------------------------------------------------------------------------------------------- central set-point
def test_q_109_a_dynamic_setpoint_is_pushed() -> None:
    point = Point()
    assert dynamic({"operationMode": "CentralSetpoint"}, point) == {"status": "Accepted"}
    assert point.power_w is None  # no value has come yet
    assert update(point, setpoint=-3_000.0) == {"status": "Accepted"}
    assert point.power_w == -3_000.0
    assert update(point, setpoint=4_000.0, limit=2_000.0) == {"status": "Accepted"}
    assert point.power_w == 2_000.0
    assert update(point, id=8, setpoint=1.0)["statusInfo"]["reasonCode"] == "NotFound"
    assert update(point, setpoint_L2=1.0)["statusInfo"]["reasonCode"] == "UnsupportedParam"
    assert point.power_w == 2_000.0


def test_q_110_a_dynamic_setpoint_is_pulled_at_its_interval_and_again_when_that_failed() -> None:
    point = Point()
    point.peer.answers["PullDynamicScheduleUpdate"] = {"status": "Accepted", "scheduleUpdate": {"setpoint": -2_500.0}}
    assert dynamic({"operationMode": "CentralSetpoint", "setpoint": 0.0}, point, dynUpdateInterval=60)
    point.look(59.0)
    assert point.peer.told("PullDynamicScheduleUpdate") == []
    point.look(60.2)
    assert point.peer.told("PullDynamicScheduleUpdate") == [{"chargingProfileId": 7}]
    assert point.power_w == -2_500.0
    point.peer.answers["PullDynamicScheduleUpdate"] = "InternalError"
    point.look(121.0)
    point.peer.answers["PullDynamicScheduleUpdate"] = {"status": "Accepted", "scheduleUpdate": {"setpoint": 100.0}}
    point.look(130.0)
    assert point.power_w == -2_500.0
    point.look(152.0)
    assert point.power_w == 100.0


# ----------------------------------------------------------------------------------------------- an external set-point
EXTERNAL = {"operationMode": "ExternalSetpoint"}


def test_q_111_an_external_setpoint_rules_where_the_back_ends_profile_leaves_it_to_him() -> None:
    point = Point()
    point.accept({**EXTERNAL, "limit": 8_000.0, "dischargeLimit": -6_000.0})
    point.look(1.0, external=External(setpoint_w=-4_000.0, source="ems"))
    assert point.power_w is None  # his request counts
    assert "set-point of ems" in point.wanted.reason


def test_q_112_the_limits_of_the_back_ends_profile_bind_the_external_setpoint() -> None:
    point = Point()
    point.accept({**EXTERNAL, "limit": 8_000.0, "dischargeLimit": -6_000.0})
    assert (point.wanted.charge_w, point.wanted.discharge_w) == (8_000.0, 6_000.0)


def test_q_113_when_the_duration_of_that_profile_is_over_the_lower_one_holds() -> None:
    point = Point()
    point.accept(CHARGE, id=1)
    point.accept(EXTERNAL, id=2, stack=1, start=times.show(WALL_S), schedule={"duration": 300})
    point.look(299.0)
    assert point.power_w is None
    point.look(300.0)
    assert point.power_w == 9_000.0


def test_q_114_the_external_systems_limit_is_told_to_the_back_end() -> None:
    point = Point()
    point.look(1.0, external=External(charge_w=4_200.0, source="ems"))
    (told,) = point.peer.told("NotifyChargingLimit")
    assert told["chargingLimit"] == {"chargingLimitSource": "EMS"}
    assert told["chargingSchedule"][0]["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 4_200.0}]


def test_q_115_external_limits_are_what_the_car_charges_with() -> None:
    point = Point()
    point.accept({"operationMode": "ExternalLimits"})
    assert point.power_w == 0.0  # nobody gives a limit: no power rather than any
    point.look(1.0, external=External(charge_w=4_200.0, discharge_w=0.0, source="ems"))
    assert point.power_w == 4_200.0


def test_q_116_the_end_of_the_external_limit_is_told_and_ends_what_it_gave() -> None:
    point = Point()
    point.accept({"operationMode": "ExternalLimits"})
    point.look(1.0, external=External(charge_w=4_200.0, discharge_w=1_000.0, source="ems"))
    point.look(20.0, external=External())
    assert point.power_w == 0.0
    assert point.peer.told("ClearedChargingLimit") == [{"chargingLimitSource": "EMS", "evseId": 0}]


# ------------------------------------------------------------------------------------------------- central frequency
def test_q_117_central_frequency_setpoints_are_pushed() -> None:
    point = Point()
    assert dynamic({"operationMode": "CentralFrequency", "setpoint": 0.0}, point) == {"status": "Accepted"}
    for setpoint in (-6_000.0, 6_000.0):
        assert update(point, setpoint=setpoint) == {"status": "Accepted"}
        assert point.power_w == setpoint
    assert point.refused({"operationMode": "CentralFrequency"}, id=8, stack=1) == "InvalidSchedule"


def test_q_118_a_pushed_setpoint_ends_with_its_duration_and_begins_anew_with_every_update() -> None:
    point = Point()
    point.accept(CHARGE, id=1)
    central = {"operationMode": "CentralFrequency", "setpoint": -6_000.0}
    assert dynamic(central, point, stack=1, schedule={"duration": 30}) == {"status": "Accepted"}
    point.look(29.0)
    assert point.power_w == -6_000.0
    assert update(point, setpoint=-5_000.0) == {"status": "Accepted"}
    point.look(58.9)
    assert point.power_w == -5_000.0
    point.look(59.0)
    assert point.power_w == 9_000.0


# -------------------------------------------------------------------------------------------------- local frequency
@pytest.mark.parametrize(
    ("change", "more", "reason"),
    [
        ({"v2xBaseline": None}, {}, "InvalidSchedule"),
        ({"v2xFreqWattCurve": None}, {}, "InvalidSchedule"),
        ({"v2xFreqWattCurve": [{"frequency": 50.0, "power": 0.0}]}, {}, "InvalidSchedule"),
        ({"limit": 5_000.0}, {}, "InvalidSchedule"),
        ({"setpoint": 5_000.0}, {}, "InvalidSchedule"),
        ({}, {"unit": "A"}, "UnsupportedRateUnit"),
        ({}, {"chargingProfilePurpose": "ChargingStationMaxProfile"}, "InvalidOperationMode"),
    ],
)
def test_q_119_local_frequency_validations(change: Any, more: dict[str, Any], reason: str) -> None:
    point = Point()
    period = {key: value for key, value in {**FREQUENCY, **change}.items() if value is not None}
    assert point.refused(period, **more) == reason
    assert point.power_w is None


def test_q_119_local_frequency_follows_the_curve_on_the_chargers_own_frequency() -> None:
    point = Point()
    point.accept(FREQUENCY)
    for f_hz, expected_w in ((50.0, 1_000.0), (49.9, -1_500.0), (49.5, -4_000.0), (50.1, 3_500.0), (51.0, 6_000.0)):
        point.look(point.now + 0.1, frequency_hz=f_hz)
        assert point.power_w == pytest.approx(expected_w)
    point.look(point.now + 0.1, frequency_hz=None)
    assert point.power_w == 1_000.0
    assert "no believed frequency" in point.wanted.reason


def test_q_120_an_afrr_signal_is_looked_up_in_its_curve_and_refused_without_one() -> None:
    point = Point()
    signal = {"timestamp": times.show(WALL_S), "signal": 50}
    assert point.ask("AFRRSignal", signal)["statusInfo"]["reasonCode"] == "NoSignalWattCurve"
    point.accept(AFRR)
    assert point.power_w == 500.0  # no signal yet: the set-point
    assert point.ask("AFRRSignal", signal) == {"status": "Accepted"}
    assert point.power_w == pytest.approx(5_000.0)
    assert point.ask("AFRRSignal", {**signal, "signal": -400}) == {"status": "Accepted"}
    assert point.power_w == pytest.approx(-7_000.0)
    assert point.ask("AFRRSignal", {"timestamp": times.show(WALL_S - 60.0), "signal": 0})["status"] == "Rejected"
    point.cut()
    point.look(point.now + 59.0)
    assert point.power_w == pytest.approx(-7_000.0)
    point.look(point.now + 2.0)
    assert point.power_w == 500.0  # a signal does not outlive its sender


# -------------------------------------------------------------------------------------------------- load balancing
BALANCE = {"operationMode": "LocalLoadBalancing"}


@pytest.mark.parametrize(
    ("site_w", "own_w", "expected_w"),
    [
        (9_000.0, 0.0, -4_000.0),  # the site draws 9 kW, 5 kW are allowed
        (5_000.0, -4_000.0, -4_000.0),  # and while the car gives 4 kW it stays so
        (3_000.0, 0.0, 0.0),  # between the thresholds
        (-6_000.0, 0.0, 5_000.0),  # the sun: not more than 1 kW is fed in
        (-1_000.0, 5_000.0, 5_000.0),
        (None, 0.0, 0.0),
        (9_000.0, None, 0.0),
    ],
)
def test_q_122_load_balancing_keeps_the_grid_meter_between_its_thresholds(
    site_w: float | None, own_w: float | None, expected_w: float
) -> None:
    point = Point(site_meter=True, balance_upper_w=5_000.0, balance_lower_w=-1_000.0)
    point.accept(BALANCE)
    point.look(1.0, site_w=site_w, ac_w=own_w)
    assert point.power_w == expected_w


def threshold(point: Point, side: str, value: str) -> str:
    where = {"component": {"name": "V2XChargingCtrlr", "evse": {"id": 1}}}
    item = {**where, "variable": {"name": "LocalLoadBalancing", "instance": f"{side}Threshold"}}
    (found,) = point.ask("SetVariables", {"setVariableData": [{**item, "attributeValue": value}]})["setVariableResult"]
    return str(found["attributeStatus"])


def test_q_122_the_back_end_moves_the_thresholds_of_the_board_and_they_outlive_a_restart() -> None:
    box = Outbox(":memory:")
    board = {"site_meter": True, "balance_upper_w": 5_000.0, "balance_lower_w": -1_000.0}
    point = Point(box, **board)
    point.accept(BALANCE)
    point.look(1.0, site_w=9_000.0, ac_w=0.0)
    assert point.power_w == -4_000.0
    assert threshold(point, "Upper", "7000") == "Accepted"
    assert threshold(point, "Upper", "2000000") == "Rejected"
    for instant in (point, Point(box, **board)):
        instant.look(2.0, site_w=9_000.0, ac_w=0.0)
        assert instant.power_w == -2_000.0
    assert threshold(point, "Lower", "8000") == "Accepted"  # above the upper one: it counts as that
    for site_w, power_w in ((9_000.0, -2_000.0), (6_500.0, 500.0), (7_000.0, 0.0)):
        point.look(3.0, site_w=site_w, ac_w=0.0)
        assert point.power_w == power_w


def test_q_123_load_balancing_without_a_meter_at_the_sites_connection_is_unsupported() -> None:
    assert Point().refused(BALANCE) == "UnsupportedParam"


# ------------------------------------------------------------------------------------------------------------- idle
def test_q_125_idle_gives_no_power() -> None:
    point = Point()
    point.accept(SETPOINT, id=1)
    point.accept({"operationMode": "Idle"}, id=2, stack=1)
    assert point.power_w == 0.0
    point.look(1.0)
    assert point.peer.told("TransactionEvent")[-1]["transactionInfo"]["operationMode"] == "Idle"


def test_q_126_idle_takes_no_limits_and_sleep_belongs_to_idle_only() -> None:
    point = Point()
    assert point.refused({"operationMode": "Idle", "limit": 100.0}) == "InvalidSchedule"
    assert point.refused({**CHARGE, "evseSleep": True}) == "InvalidSchedule"


def test_q_127_evse_sleep_asks_for_power_electronics_that_are_off_and_only_while_idle_leads() -> None:
    point = Point()
    point.accept(SETPOINT, id=1)
    assert not point.wanted.sleep
    point.accept({"operationMode": "Idle"}, id=2, stack=1)
    assert not point.wanted.sleep
    point.accept({"operationMode": "Idle", "evseSleep": True}, id=3, stack=2)
    assert (point.power_w, point.wanted.sleep) == (0.0, True)
    asked = point.peer.ask(point.charger, "GetCompositeSchedule", {"duration": 60, "evseId": 1}, point.now)
    assert asked["schedule"]["chargingSchedulePeriod"][0]["evseSleep"] is True
    requests = Requests(22_000.0, 22_000.0, 0.0)
    assert obey(requests, point.now, point.wanted)
    assert requests.for_guard(point.now, 2.0).sleep is True
    requests.ask(point.now, "operator", 5_000.0, 60.0)  # who asks for power wakes it
    assert requests.for_guard(point.now, 2.0).sleep is False


# ------------------------------------------------------------------------------------------------------------ offline
@pytest.mark.parametrize("for_good", [False, True])
def test_q_128_a_profile_ends_when_the_back_end_is_away_for_too_long_and_returns_or_is_gone(for_good: bool) -> None:
    point = Point()
    point.accept(CHARGE, id=1)
    point.accept(SETPOINT, id=2, stack=1, maxOfflineDuration=100, invalidAfterOfflineDuration=for_good)
    point.cut()
    start = point.now
    point.look(start + 99.9)
    assert point.power_w == -7_000.0
    assert "profile 2" in point.wanted.reason
    assert "the back end has been away for 100 s" in point.wanted.reason
    point.look(start + 100.0)
    assert point.power_w == 9_000.0
    assert "profile 1" in point.wanted.reason
    point.connect()
    point.look(point.now + 0.1)
    assert point.power_w == (9_000.0 if for_good else -7_000.0)


def test_q_128_a_duration_of_zero_ends_at_once_and_none_never() -> None:
    point = Point()
    point.accept(CHARGE, id=1)
    point.accept(SETPOINT, id=2, stack=1, maxOfflineDuration=0)
    point.cut()
    assert point.power_w == 9_000.0
    point.look(7 * 86_400.0)
    assert point.power_w == 9_000.0


@pytest.mark.parametrize(
    ("car", "words"),
    [
        (Car(**{**_fields(ISO20), "bidirectional": False, "discharge_offered": True}), "has chosen DC"),
        (Car(protocol="iso2", bidirectional=False), "does not speak ISO 15118-20"),
        (None, "does not speak ISO 15118-20"),
    ],
)
def test_q_130_a_renegotiation_that_cannot_be_is_rejected(car: Car | None, words: str) -> None:
    point = Point()
    point.look(1.0, car=car)
    answer = point.ask("NotifyAllowedEnergyTransfer", {"transactionId": point.tx, "allowedEnergyTransfer": ["DC_BPT"]})
    assert answer["status"] == "Rejected"
    assert words in answer["statusInfo"]["additionalInfo"]
    assert not point.charger.orders(1.0).car.charge_only
    unknown = point.ask("NotifyAllowedEnergyTransfer", {"transactionId": "x", "allowedEnergyTransfer": ["DC"]})
    assert unknown["statusInfo"]["reasonCode"] == "TxNotFound"


def test_q_101_needs_are_told_when_the_car_has_said_them_and_not_before() -> None:
    point = Point()
    point.look(1.0, car=Car(protocol="iso20", bidirectional=True))
    assert point.peer.told("NotifyEVChargingNeeds") == []
    point.look(2.0, car=ISO20)
    assert len(point.peer.told("NotifyEVChargingNeeds")) == 1
