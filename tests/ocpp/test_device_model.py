"""Variables: what is read is true, what is written is checked, kept over power and really used."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.device_model import DAY_S, ITEMS, rows
from firmware.bridges.ocpp.dialect import V16, V21, V201, Dialect
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.tunables import Tunables
from firmware.bridges.ocpp.view import Ability, Car, External, Phase
from tests.ocpp.back_end import BackEnd, registered, station, view

TWO = pytest.mark.parametrize("dialect", [V201, V21], ids=lambda dialect: dialect.name)
HEARTBEAT = ("OCPPCommCtrlr", "HeartbeatInterval")


def item(component: str, name: str, **more: Any) -> dict[str, Any]:
    place = {"evse": more.pop("evse")} if "evse" in more else {}
    variable = {"name": name} | ({"instance": more.pop("instance")} if "instance" in more else {})
    return {"component": {"name": component, **place}, "variable": variable, **more}


def read(peer: BackEnd, charger: Any, *items: Any) -> list[dict[str, Any]]:
    answer = peer.ask(charger, "GetVariables", {"getVariableData": list(items)})
    found: list[dict[str, Any]] = answer["getVariableResult"]
    return found


def write(peer: BackEnd, charger: Any, component: str, name: str, value: str, **more: Any) -> dict[str, Any]:
    asked = item(component, name, attributeValue=value, **more)
    (found,) = peer.ask(charger, "SetVariables", {"setVariableData": [asked]})["setVariableResult"]
    return dict(found)


def report(peer: BackEnd, charger: Any, action: str, **asked: Any) -> list[dict[str, Any]]:
    before = len(peer.told("NotifyReport"))
    assert peer.ask(charger, action, {"requestId": 9, **asked}) == {"status": "Accepted"}
    peer.settle(charger, 1.0)
    parts = peer.told("NotifyReport")[before:]
    assert [p["seqNo"] for p in parts] == list(range(len(parts)))
    assert [p["tbc"] for p in parts] == [True] * (len(parts) - 1) + [False]
    assert all(p["requestId"] == 9 for p in parts)
    return [entry for p in parts for entry in p["reportData"]]


# ---------------------------------------------------------------------------------------------------------- the table
def test_labels_and_keys_are_unique_and_what_is_written_is_a_field_in_its_own_range() -> None:
    charger, _, _ = station()
    charger.observe(view())
    table = list(rows(charger))
    labels, keys = [row.label for row in table], [row.key for row in table if row.key]
    assert len(set(labels)) == len(labels)
    assert len(set(keys)) == len(keys)
    written = [row.field for row in table if row.field]
    assert set(written) == set(Tunables().as_dict())  # everything that may be set is reachable, and once
    assert len(set(written)) == len(written)
    for row in table:
        if row.field and row.kind == "integer":
            assert row.low <= float(row.read(charger, 0.0)) <= row.high, row.label


@TWO
def test_every_variable_of_a_full_report_can_be_read_by_its_name_and_says_the_same(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    entries = report(peer, charger, "GetBaseReport", reportBase="FullInventory")
    assert len(entries) == sum(bool(row.component) for row in rows(charger))
    components = {e["component"]["name"] for e in entries}
    assert components >= {
        "ChargingStation", "EVSE", "Connector", "SecurityCtrlr", "OCPPCommCtrlr", "ClockCtrlr", "AuthCtrlr", "TxCtrlr",
        "SmartChargingCtrlr", "V2XChargingCtrlr", "DCDERCtrlr", "SampledDataCtrlr", "LocalAuthListCtrlr",
    }  # fmt: skip
    for start in range(0, len(entries), ITEMS):
        part = entries[start : start + ITEMS]
        found = read(peer, charger, *({key: e[key] for key in ("component", "variable")} for e in part))
        for entry, got in zip(part, found, strict=True):
            if entry["variable"]["name"] == "BasicAuthPassword":  # B07.FR.03: written and never told
                assert got["attributeStatus"] == "Rejected"
                assert "attributeValue" not in got
                assert "value" not in entry["variableAttribute"][0]
                continue
            assert got["attributeStatus"] == "Accepted"
            if entry["variable"]["name"] != "DateTime":
                assert got["attributeValue"] == entry["variableAttribute"][0]["value"]


@TWO
def test_the_table_says_what_this_board_can_and_not_what_the_desk_can(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect, ability=Ability(charge_w=60_000.0, discharge_w=0.0))
    power, v2x, der = read(
        peer,
        charger,
        item("DCDERCtrlr", "MaxChargeRateW", evse={"id": 1}),
        item("V2XChargingCtrlr", "Enabled", evse={"id": 1}),
        item("DCDERCtrlr", "MaxW", evse={"id": 1}),
    )
    assert (power["attributeValue"], v2x["attributeValue"], der["attributeValue"]) == ("60000", "false", "0")
    (entry,) = report(peer, charger, "GetReport", componentVariable=[item("EVSE", "Power")])
    assert entry["variableCharacteristics"]["maxLimit"] == 60_000.0


@TWO
def test_the_state_follows_the_charger(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    asked = item("Connector", "AvailabilityState", evse={"id": 1, "connectorId": 1})
    assert read(peer, charger, asked)[0]["attributeValue"] == "Available"
    charger.observe(view(1.0, Phase.CHARGING, power_w=7000.4))
    assert read(peer, charger, asked)[0]["attributeValue"] == "Occupied"
    assert read(peer, charger, item("EVSE", "Power", evse={"id": 1}))[0]["attributeValue"] == "7000"


@TWO
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (item("NoSuchCtrlr", "Enabled"), "UnknownComponent"),
        (item("EVSE", "Power"), "UnknownComponent"),  # there is none without its id
        (item("EVSE", "Power", evse={"id": 2}), "UnknownComponent"),
        (item("OCPPCommCtrlr", "NoSuch"), "UnknownVariable"),
        (item("OCPPCommCtrlr", "MessageAttempts"), "UnknownVariable"),  # only with its instance
        (item(*HEARTBEAT, attributeType="Target"), "NotSupportedAttributeType"),
        (item("ocppcommctrlr", "HEARTBEATINTERVAL"), "Accepted"),
    ],
)
def test_what_is_not_there_says_what_of_it(dialect: Dialect, asked: dict[str, Any], status: str) -> None:
    charger, _, peer = registered(dialect)
    assert read(peer, charger, asked)[0]["attributeStatus"] == status
    (found,) = peer.ask(charger, "SetVariables", {"setVariableData": [{**asked, "attributeValue": "60"}]})[
        "setVariableResult"
    ]
    assert found["attributeStatus"] == status
    assert found["component"] == asked["component"]


@TWO
def test_too_many_variables_in_one_call_are_refused_whole(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    asked = [item(*HEARTBEAT)] * (ITEMS + 1)
    assert peer.ask(charger, "GetVariables", {"getVariableData": asked}) == "OccurrenceConstraintViolation"


# ------------------------------------------------------------------------------------------------------------ writing
@TWO
@pytest.mark.parametrize("value", ["0", "-5", "86401", "1e3", "60.5", "", "sixty", "9" * 40, "\u0661\u0662"])
def test_a_value_that_is_out_of_range_or_no_number_changes_nothing_and_says_why(dialect: Dialect, value: str) -> None:
    charger, box, peer = registered(dialect)
    found = write(peer, charger, *HEARTBEAT, value)
    assert found["attributeStatus"] == "Rejected"
    assert "HeartbeatInterval" in found["attributeStatusInfo"]["additionalInfo"]
    assert charger.tune.heartbeat_s == 300.0
    assert box.state("variables") is None


@TWO
def test_what_is_only_read_cannot_be_written(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    found = write(peer, charger, "SecurityCtrlr", "SecurityProfile", "0")
    assert (found["attributeStatus"], found["attributeStatusInfo"]["reasonCode"]) == ("Rejected", "ReadOnly")


@TWO
def test_a_heartbeat_interval_counts_at_once_and_after_a_restart(dialect: Dialect) -> None:
    box = Outbox(":memory:")
    charger, _, peer = registered(dialect, outbox=box)
    assert write(peer, charger, *HEARTBEAT, "20")["attributeStatus"] == "Accepted"
    peer.settle(charger, 19.9)
    assert not peer.told("Heartbeat")
    peer.settle(charger, 20.0)
    assert len(peer.told("Heartbeat")) == 1
    again, _, _ = station(box)
    assert again.tune.heartbeat_s == 20.0


@TWO
def test_the_meter_interval_counts_for_the_running_transaction(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    charger.observe(view(10.0, Phase.PLUGGED))
    assert write(peer, charger, "SampledDataCtrlr", "TxUpdatedInterval", "5")["attributeStatus"] == "Accepted"
    for t in (14.9, 15.0, 19.9, 20.0):
        charger.observe(view(t, Phase.PLUGGED))
    peer.settle(charger, 20.0)
    periodic = [e["timestamp"] for e in peer.told("TransactionEvent") if e["triggerReason"] == "MeterValuePeriodic"]
    assert len(periodic) == 2


@TWO
def test_the_attempts_for_a_refused_record_are_those_that_were_set(dialect: Dialect) -> None:
    charger, box, peer = registered(dialect)
    instance = {"instance": "TransactionEvent"}
    write(peer, charger, "OCPPCommCtrlr", "MessageAttempts", "2", **instance)
    write(peer, charger, "OCPPCommCtrlr", "MessageAttemptInterval", "4", **instance)
    peer.answers["TransactionEvent"] = "InternalError"
    charger.observe(view(10.0, Phase.PLUGGED))
    for now in (10.0, 13.9):
        peer.settle(charger, now)
    assert len(peer.told("TransactionEvent")) == 1
    peer.settle(charger, 14.0)
    assert len(peer.told("TransactionEvent")) == 2
    assert len(box) == 0


@TWO
def test_what_counts_from_the_next_start_says_so_and_is_there_then(dialect: Dialect) -> None:
    box = Outbox(":memory:")
    charger, _, peer = registered(dialect, outbox=box)
    found = write(peer, charger, "OCPPCommCtrlr", "RetryBackOffWaitMinimum", "33")
    assert found["attributeStatus"] == "RebootRequired"
    again, _, _ = station(box, tune=Tunables(retry_minimum_s=10.0))
    assert again.tune.retry_minimum_s == 33.0


def test_what_was_kept_and_fits_no_more_is_told_and_the_boards_value_counts() -> None:
    box = Outbox(":memory:")
    kept = {"OCPPCommCtrlr.HeartbeatInterval": "0", "Gone.Variable": "1", "TxCtrlr.EVConnectionTimeOut": 7}
    box.keep("variables", {**kept, "AuthCtrlr.LocalPreAuthorize": "false"})
    charger, _, said = station(box)
    assert (charger.tune.heartbeat_s, charger.tune.connect_timeout_s, charger.tune.local_pre) == (300.0, 60.0, False)
    assert sum("not taken any more" in sentence for sentence in said) == 3


def test_when_the_disk_refuses_nothing_is_changed() -> None:
    charger, box, peer = registered(V21)
    box.close()
    asked = item(*HEARTBEAT, attributeValue="20")
    assert peer.ask(charger, "SetVariables", {"setVariableData": [asked]}) == "InternalError"
    assert charger.tune.heartbeat_s == 300.0


@given(st.text(max_size=30), st.sampled_from(sorted(Tunables().as_dict())))
def test_whatever_is_written_a_setting_stays_in_its_range(text: str, field: str) -> None:
    tune = Tunables()
    before = getattr(tune, field)
    try:
        tune.set(field, text, 1, DAY_S)
    except ValueError:
        assert getattr(tune, field) == before
    else:
        value = getattr(tune, field)
        assert isinstance(value, bool) or 1 <= (len(value) if isinstance(value, str) else value) <= DAY_S
        assert type(value) is type(before)


# ------------------------------------------------------------------------------------------------------------ reports
@TWO
def test_the_bases_of_a_report(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    settable = report(peer, charger, "GetBaseReport", reportBase="ConfigurationInventory")
    assert {e["variableAttribute"][0]["mutability"] for e in settable} == {"ReadWrite", "WriteOnly"}
    assert all(e["variableAttribute"][0]["persistent"] for e in settable)
    beat = next(e for e in settable if e["variable"]["name"] == "HeartbeatInterval")
    assert beat["variableCharacteristics"] == {
        "unit": "s", "dataType": "integer", "minLimit": 1, "maxLimit": DAY_S, "supportsMonitoring": True,
    }  # fmt: skip
    summary = report(peer, charger, "GetBaseReport", reportBase="SummaryInventory")
    assert {e["variable"]["name"] for e in summary} == {"Available", "AvailabilityState", "Enabled", "Problem"}


@TWO
def test_a_chosen_report(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    found = report(peer, charger, "GetReport", componentVariable=[{"component": {"name": "ClockCtrlr"}}])
    assert [e["variable"]["name"] for e in found] == ["DateTime", "TimeSource", "TimeZone", "TimeOffset"]
    every = report(peer, charger, "GetReport", componentVariable=[item("DeviceDataCtrlr", "ItemsPerMessage")])
    assert len(every) == 3  # all instances
    empty = {"requestId": 1, "componentCriteria": ["Problem"]}
    assert peer.ask(charger, "GetReport", empty) == {"status": "EmptyResultSet"}
    charger.observe(view(1.0, Phase.FAULT, plugged=False, faults=("no insulation",)))
    troubled = report(peer, charger, "GetReport", componentCriteria=["Problem"])
    assert {e["component"]["name"] for e in troubled} == {"ChargingStation"}


@TWO
def test_a_report_whose_part_is_lost_is_not_told_further_and_a_new_one_is_whole(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    peer.answers["NotifyReport"] = "InternalError"
    peer.ask(charger, "GetBaseReport", {"requestId": 3, "reportBase": "FullInventory"})
    peer.settle(charger, 1.0)
    assert len(peer.told("NotifyReport")) == 1
    peer.answers["NotifyReport"] = {}
    report(peer, charger, "GetBaseReport", reportBase="FullInventory")
    peer.ask(charger, "GetBaseReport", {"requestId": 4, "reportBase": "FullInventory"})
    charger.disconnected(2.0)
    charger.connected(3.0, dialect)
    before = len(peer.told("NotifyReport"))
    peer.settle(charger, 3.0)
    assert len(peer.told("NotifyReport")) == before


# ---------------------------------------------------------------------------------------------------------------- 1.6
def test_the_keys_of_1_6_are_the_same_settings() -> None:
    charger, _, peer = registered(V16)
    every = peer.ask(charger, "GetConfiguration", {})["configurationKey"]
    found = {entry["key"]: entry for entry in every}
    assert found["HeartbeatInterval"] == {"key": "HeartbeatInterval", "readonly": False, "value": "300"}
    assert found["NumberOfConnectors"]["readonly"] is True
    answer = peer.ask(charger, "GetConfiguration", {"key": ["heartbeatinterval", "Nothing"]})
    assert [e["key"] for e in answer["configurationKey"]] == ["HeartbeatInterval"]
    assert answer["unknownKey"] == ["Nothing"]

    def change(key: str, value: str) -> str:
        return str(peer.ask(charger, "ChangeConfiguration", {"key": key, "value": value})["status"])

    assert change("HeartbeatInterval", "25") == "Accepted"
    assert charger.tune.heartbeat_s == 25.0
    assert change("HeartbeatInterval", "0") == "Rejected"
    assert change("NumberOfConnectors", "2") == "Rejected"
    assert change("Nothing", "1") == "NotSupported"
    assert charger.tune.heartbeat_s == 25.0


def test_quadrant_ocpp_variables_shows_which_were_set_by_the_back_end() -> None:
    charger, _, peer = registered(V21)
    write(peer, charger, *HEARTBEAT, "20")
    shown = {v["name"]: v for v in charger.functions[0].report(0.0)["variables"]}
    beat = shown["OCPPCommCtrlr.HeartbeatInterval"]
    assert (beat["value"], beat["set"], beat["writable"]) == ("20", True, True)
    assert shown["OCPPCommCtrlr.RetryBackOffRepeatTimes"]["set"] is False


# ------------------------------------------------------------------------------------------------- of smart charging
def smart(name: str, **more: Any) -> dict[str, Any]:
    return item("SmartChargingCtrlr", name, **more)


def test_the_number_of_profiles_is_that_of_those_that_are_there() -> None:
    charger, _, peer = registered(V21)
    asked = smart("Entries", instance="ChargingProfiles")
    assert read(peer, charger, asked)[0]["attributeValue"] == "0"
    plan = {"id": 1, "chargingRateUnit": "W", "startSchedule": "2026-01-01T00:00:00Z",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 5_000}]}  # fmt: skip
    profile = {"id": 1, "stackLevel": 0, "chargingProfilePurpose": "TxDefaultProfile",
               "chargingProfileKind": "Absolute", "chargingSchedule": [plan]}  # fmt: skip
    assert peer.ask(charger, "SetChargingProfile", {"evseId": 1, "chargingProfile": profile})["status"] == "Accepted"
    assert read(peer, charger, asked)[0]["attributeValue"] == "1"
    (entry,) = report(peer, charger, "GetReport", componentVariable=[asked])
    assert entry["variableCharacteristics"]["maxLimit"] == 50


def test_purposes_that_do_not_hold_offline_are_named_by_the_back_end_and_come_back_with_it() -> None:
    charger, _, peer = registered(V21)
    answer = write(peer, charger, "SmartChargingCtrlr", "IgnoredProfilePurposesOffline", "PriorityCharging")
    assert answer["attributeStatus"] == "Rejected"
    plan = {"id": 1, "chargingRateUnit": "W", "startSchedule": "2026-01-01T00:00:00Z",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 5_000}]}  # fmt: skip
    profile = {"id": 1, "stackLevel": 0, "chargingProfilePurpose": "TxDefaultProfile",
               "chargingProfileKind": "Absolute", "chargingSchedule": [plan]}  # fmt: skip
    assert peer.ask(charger, "SetChargingProfile", {"evseId": 1, "chargingProfile": profile})["status"] == "Accepted"
    charger.observe(view(1.0, Phase.HOLDING))
    for value, offline_w in (("TxDefaultProfile, ChargingStationMaxProfile", None), ("", 5_000.0)):
        answer = write(peer, charger, "SmartChargingCtrlr", "IgnoredProfilePurposesOffline", value)
        assert answer["attributeStatus"] == "Accepted"
        assert charger.wanted(2.0).power_w == 5_000.0
        charger.disconnected(2.0)
        charger.observe(view(3.0, Phase.HOLDING))
        assert charger.wanted(3.0).power_w == offline_w
        charger.connected(4.0, V21)
        peer.settle(charger, 4.0)
        charger.observe(view(5.0, Phase.HOLDING))
        assert charger.wanted(5.0).power_w == 5_000.0


def test_how_large_a_change_of_a_local_limit_is_told_and_whether_with_its_numbers() -> None:
    charger, _, peer = registered(V21)
    write(peer, charger, "SmartChargingCtrlr", "LimitChangeSignificance", "20")
    write(peer, charger, "SmartChargingCtrlr", "NotifyChargingLimitWithSchedules", "false")
    for t, limit_w in ((1.0, 10_000.0), (20.0, 14_000.0), (40.0, 15_000.0)):  # of 22 kW: 18 %, 23 %
        charger.observe(view(t, Phase.HOLDING, external=External(charge_w=limit_w, source="ems")))
        peer.settle(charger, t)
    told = peer.told("NotifyChargingLimit")
    assert len(told) == 2
    assert all("chargingSchedule" not in call for call in told)


# ------------------------------------------------------------------------------------------------- of V2X and the car
def test_each_operation_mode_may_have_an_interval_of_its_own_for_meter_values() -> None:
    charger, _, peer = registered(V21)
    write(peer, charger, "SampledDataCtrlr", "TxUpdatedInterval", "60")
    answer = write(
        peer, charger, "V2XChargingCtrlr", "TxUpdatedInterval", "10", evse={"id": 1}, instance="CentralSetpoint"
    )
    assert answer["attributeStatus"] == "Accepted"
    periodic: list[list[float]] = []
    for mode in ("CentralSetpoint", "CentralFrequency"):
        start_s = 1_000.0 * (len(periodic) + 1)
        before = len(peer.told("TransactionEvent"))
        for k in range(131):
            charger.transactions.rule(mode, False, 0.0)
            charger.observe(view(start_s + k, Phase.HOLDING))
            peer.settle(charger, start_s + k)
        told = peer.told("TransactionEvent")[before:]
        periodic.append([times.parse(e["timestamp"]) for e in told if e["triggerReason"] == "MeterValuePeriodic"])
    fast, slow = ([round(b - a) for a, b in itertools.pairwise(t)] for t in periodic)
    assert (set(fast), len(fast)) == ({10}, 12)
    assert (set(slow), len(slow)) == ({60}, 2)


@TWO
def test_the_protocol_of_the_car_is_named_while_it_is_there(dialect: Dialect) -> None:
    charger, _, peer = registered(dialect)
    asked = [item("ConnectedEV", name, evse={"id": 1}) for name in ("Available", "ProtocolAgreed")]
    for car, told in (
        (None, ["false", ""]),
        (Car("iso20"), ["true", "urn:iso:std:iso:15118:-20:DC,1,0"]),
        (Car("din"), ["true", "urn:din:70121:2012:MsgDef,2,0"]),
        (Car("chademo"), ["false", ""]),
    ):
        charger.observe(view(1.0, Phase.HOLDING, car=car))
        assert [v["attributeValue"] for v in read(peer, charger, *asked)] == told


def test_what_iso_15118_can_is_told_only_where_the_charger_has_an_secc() -> None:
    charger, _, peer = registered(V21)
    (missing,) = read(peer, charger, item("ISO15118Ctrlr", "Enabled", evse={"id": 1}))
    assert missing["attributeStatus"] == "UnknownComponent"
    charger, _, peer = registered(V21, ability=Ability(protocols=("iso20", "iso2")))
    found = {
        (e["variable"]["name"], e["variable"].get("instance")): e["variableAttribute"][0]["value"]
        for e in report(
            peer, charger, "GetReport", componentVariable=[{"component": {"name": "ISO15118Ctrlr", "evse": {"id": 1}}}]
        )
    }
    assert found["ServiceRenegotiationSupport", None] == "true"
    assert found["ProtocolSupported", "2"] == "urn:iso:15118:2:2013:MsgDef,2,0"
    assert ("ProtocolSupported", "3") not in found
    assert found["PnCEnabled", None] == "false"


# ------------------------------------------------------------------------------------------------------ is it complete
# What public software (libocpp's component files) has for these components and this charger can answer for. Not here:
# OverExcitedPF, OverExcitedW, UnderExcitedPF, UnderExcitedW, ReactiveSusceptance and InverterHwVersion of DCDERCtrlr
# (nothing on a board says them), VehicleId and certificates of ConnectedEV, SeccId.
WANTED: dict[str, str] = {
    "DCDERCtrlr": "Available Enabled ModesSupported MaxW MaxVA MaxVar MaxVarNeg MaxChargeRateW MaxChargeRateVA "
    "InverterManufacturer InverterModel InverterSwVersion",
    "V2XChargingCtrlr": "Available Enabled SupportedEnergyTransferModes SupportedOperationModes TxStartedMeasurands "
    "TxUpdatedMeasurands TxEndedMeasurands TxUpdatedInterval",
    "SmartChargingCtrlr": "Available Enabled Entries ProfileStackLevel PeriodsPerSchedule RateUnit SupportsFeature "
    "SupportedAdditionalPurposes UpdateRateLimit IgnoredProfilePurposesOffline MaxExternalConstraintsId "
    "ChargingProfilePersistence LimitChangeSignificance NotifyChargingLimitWithSchedules Phases3to1 "
    "ACPhaseSwitchingSupported ExternalControlSignalsEnabled",
    "ISO15118Ctrlr": "Available Enabled ServiceRenegotiationSupport ProtocolSupported PnCEnabled",
    "ConnectedEV": "Available ProtocolAgreed",
    "AlignedDataCtrlr": "Available Interval Measurands SendDuringIdle TxEndedInterval TxEndedMeasurands",
    "SampledDataCtrlr": "TxUpdatedInterval TxStartedMeasurands TxUpdatedMeasurands TxEndedMeasurands",
    "ClockCtrlr": "DateTime TimeSource TimeZone TimeOffset",
    "DeviceDataCtrlr": "ItemsPerMessage BytesPerMessage ConfigurationValueSize ReportingValueSize",
    "OCPPCommCtrlr": "HeartbeatInterval MessageAttempts MessageAttemptInterval RetryBackOffWaitMinimum "
    "RetryBackOffRandomRange RetryBackOffRepeatTimes NetworkProfileConnectionAttempts NetworkConfigurationPriority "
    "FileTransferProtocols MessageTimeout QueueAllMessages ResetRetries UnlockOnEVSideDisconnect WebSocketPingInterval",
    "LocalAuthListCtrlr": "Available Enabled Entries ItemsPerMessage BytesPerMessage",
}


def test_the_variables_that_others_have_for_these_components_are_there() -> None:
    charger, _, _ = registered(V21, ability=Ability(protocols=("iso20",)))
    there: dict[str, set[str]] = {}
    for row in rows(charger):
        there.setdefault(row.component, set()).add(row.name)
    for component, names in WANTED.items():
        assert set(names.split()) <= there[component], component


def test_no_value_is_longer_than_what_a_report_may_carry() -> None:
    charger, _, peer = registered(V21, ability=Ability(protocols=("iso20", "iso2", "din"), site_meter=True))
    entries = report(peer, charger, "GetBaseReport", reportBase="FullInventory")
    for entry in entries:
        value = entry["variableAttribute"][0].get("value", "")
        assert len(value) <= 1000, entry["variable"]


def test_the_entries_of_the_local_list_are_counted() -> None:
    charger, _, peer = registered(V21)
    entry = {"idToken": {"idToken": "A", "type": "Central"}, "idTokenInfo": {"status": "Accepted"}}
    full = {"versionNumber": 1, "updateType": "Full", "localAuthorizationList": [entry]}
    assert peer.ask(charger, "SendLocalList", full)["status"] == "Accepted"
    assert read(peer, charger, item("LocalAuthListCtrlr", "Entries"))[0]["attributeValue"] == "1"
