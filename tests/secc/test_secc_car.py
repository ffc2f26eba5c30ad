"""The car's wishes out of its messages, and cars that break the schema."""

import json
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.bridges.secc import quirks
from firmware.bridges.secc.car import name_and_body, number, read
from firmware.bridges.secc.exi.codec import DIN, ISO_2, ISO_20_COMMON, ISO_20_DC
from firmware.bridges.secc.messages import CarState, FromSecc, Lines, encode
from tests.secc.environment import ROOT, SECC_PYTHON, codec, needs_schemas, schemas
from tests.secc.test_exi_messages import recorded

NOBODY = CarState(t=0.0, sent_t=0.0)


def rational(value: int, exponent: int = 0) -> dict[str, int]:
    return {"Exponent": exponent, "Value": value}


def loop(mode: str, **values: Any) -> dict[str, Any]:
    return {"DC_ChargeLoopReq": {"Header": {"TimeStamp": 1}, "EVPresentVoltage": rational(400), mode: values}}


def v2(name: str, **body: Any) -> dict[str, Any]:
    return {"V2G_Message": {"Header": {"SessionID": "00"}, "Body": {name: body}}}


def amps(value: int) -> dict[str, Any]:
    return {"Multiplier": 0, "Unit": "A", "Value": value}


def test_legal_zeros_are_values_and_not_absent() -> None:
    message = {
        "ScheduleExchangeReq": {
            "Dynamic_SEReqControlMode": {
                "DepartureTime": 0,
                "MinimumSOC": 0,
                "TargetSOC": 0,
                "EVMinimumEnergyRequest": rational(0),
            }
        }
    }
    car = read(NOBODY, ISO_20_COMMON, message, 5.0)
    assert (car.departure_s, car.min_soc_pct, car.target_soc_pct, car.min_energy_wh) == (0.0, 0.0, 0.0, 0.0)
    assert car.soc_pct is None
    charge = read(NOBODY, ISO_2, v2("CurrentDemandReq", DC_EVStatus={"EVRESSSOC": 0}, EVTargetCurrent=amps(0)), 5.0)
    assert (charge.soc_pct, charge.target_a) == (0.0, 0.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_discharge_limits_hold_with_either_sign(sign: int) -> None:
    message = loop(
        "BPT_Dynamic_DC_CLReqControlMode",
        EVMaximumDischargePower=rational(sign * 11, 3),
        EVMaximumDischargeCurrent=rational(sign * 30),
        EVMaximumChargeCurrent=rational(100),
    )
    car = read(NOBODY, ISO_20_DC, message, 5.0)
    assert (car.discharge_max_w, car.discharge_max_a, car.charge_max_a) == (11_000.0, 30.0, 100.0)


def test_a_negative_charge_limit_permits_nothing() -> None:
    car = read(NOBODY, ISO_20_DC, loop("Dynamic_DC_CLReqControlMode", EVMaximumChargeCurrent=rational(-5)), 5.0)
    assert car.charge_max_a == 0.0


def test_the_energy_window_keeps_its_signs() -> None:
    message = loop(
        "BPT_Dynamic_DC_CLReqControlMode",
        EVTargetEnergyRequest=rational(18, 3),
        EVMinimumEnergyRequest=rational(-12, 3),
        EVMaximumV2XEnergyRequest=rational(5, 3),
        EVMinimumV2XEnergyRequest=rational(-4, 3),
    )
    car = read(NOBODY, ISO_20_DC, message, 5.0)
    assert (car.target_energy_wh, car.min_energy_wh) == (18_000.0, -12_000.0)
    assert (car.max_v2x_wh, car.min_v2x_wh) == (5_000.0, -4_000.0)


def test_there_is_no_target_in_dynamic_mode() -> None:
    scheduled = read(
        NOBODY,
        ISO_20_DC,
        loop("BPT_Scheduled_DC_CLReqControlMode", EVTargetCurrent=rational(-15), EVTargetVoltage=rational(450)),
        5.0,
    )
    assert (scheduled.control, scheduled.target_a, scheduled.target_v) == ("scheduled", -15.0, 450.0)
    dynamic = read(scheduled, ISO_20_DC, loop("BPT_Dynamic_DC_CLReqControlMode"), 6.0)
    assert (dynamic.control, dynamic.target_a, dynamic.target_v) == ("dynamic", None, None)


@pytest.mark.parametrize(
    ("namespace", "message", "phase"),
    [
        (ISO_20_DC, {"DC_CableCheckReq": {}}, "insulation"),
        (ISO_20_DC, {"DC_PreChargeReq": {}}, "precharge"),
        (ISO_20_DC, {"DC_ChargeLoopReq": {}}, "transfer"),
        (ISO_20_COMMON, {"PowerDeliveryReq": {"ChargeProgress": "Stop"}}, "ending"),
        (ISO_20_COMMON, {"PowerDeliveryReq": {"ChargeProgress": "ScheduleRenegotiation"}}, "ending"),
        (ISO_20_COMMON, {"PowerDeliveryReq": {"ChargeProgress": "Standby"}}, "ending"),
        (ISO_20_COMMON, {"PowerDeliveryReq": {"ChargeProgress": "Start"}}, "none"),
        (ISO_20_COMMON, {"SessionStopReq": {"ChargingSession": "Pause"}}, "pause"),
        (ISO_20_COMMON, {"SessionStopReq": {"ChargingSession": "Terminate"}}, "ending"),
        (ISO_2, v2("PowerDeliveryReq", ChargeProgress="Renegotiate"), "ending"),
        (DIN, v2("PowerDeliveryReq", ReadyToChargeState=False), "ending"),
        (DIN, v2("PowerDeliveryReq", ReadyToChargeState=True), "none"),
        (DIN, v2("WeldingDetectionReq"), "welding"),
        (ISO_2, v2("ChargeParameterDiscoveryReq"), "wait"),
    ],
)
def test_what_a_request_means_for_the_power_side(namespace: str, message: dict[str, Any], phase: str) -> None:
    assert read(NOBODY, namespace, message, 5.0).phase == phase


def test_limits_that_a_new_negotiation_does_not_name_hold_no_more() -> None:
    first = v2("ChargeParameterDiscoveryReq", DC_EVChargeParameter={"EVMaximumCurrentLimit": amps(200)})
    car = read(NOBODY, ISO_2, first, 5.0)
    assert car.charge_max_a == 200.0
    assert read(car, ISO_2, v2("CableCheckReq"), 6.0).charge_max_a == 200.0
    assert read(car, ISO_2, v2("ChargeParameterDiscoveryReq"), 7.0).charge_max_a is None


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["EVMaximumChargeCurrent", "Value", "Exponent", "PresentSOC", "EVTargetVoltage", "DepartureTime", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(["DC_ChargeLoopReq", "DC_PreChargeReq", "PowerDeliveryReq", "SessionSetupReq"]), anything)
def test_whatever_a_car_says_can_be_told_to_services(name: str, body: object) -> None:
    for namespace, message in ((ISO_20_DC, {name: body}), (ISO_2, {"V2G_Message": {"Body": {name: body}}})):
        car = read(NOBODY, namespace, message, 5.0)
        assert Lines(FromSecc).feed(encode(car)) == [car]


@given(anything)
def test_a_number_is_finite_or_none(value: object) -> None:
    found = number(value)
    assert found is None or abs(found) < float("inf")


@needs_schemas
def test_every_message_of_the_recorded_cars_can_be_read() -> None:
    car, phases = NOBODY, set()
    for _, namespace, data in recorded():
        message = codec().decode_message(data, namespace)
        if not quirks.is_request(message):
            continue
        quirks.put_right(namespace, message)
        car = read(car, namespace, message, 1.0)
        phases.add(car.phase)
        assert Lines(FromSecc).feed(encode(car)) == [car], name_and_body(message)
    assert {"insulation", "precharge", "transfer", "ending"} <= phases


# ---------------------------------------------------------------------------------------------------------- quirks
@pytest.mark.parametrize(("minutes", "told"), [(10, (0, 600)), (0, (0, 0)), (1000, (1, 6000)), (32767, (2, 19660))])
def test_a_remaining_time_in_minutes_becomes_seconds(minutes: int, told: tuple[int, int]) -> None:
    message = v2("CurrentDemandReq", RemainingTimeToFullSoC={"Multiplier": 0, "Unit": "m", "Value": minutes})
    assert quirks.put_right(ISO_2, message) == ["remaining_time_in_minutes"]
    value = name_and_body(message)[1]["RemainingTimeToFullSoC"]
    assert value["Unit"] == "s"
    assert (value["Multiplier"], value["Value"]) == told


def test_an_empty_session_id_asks_for_a_new_session() -> None:
    message = v2("SessionSetupReq", EVCCID="AABBCC")
    message["V2G_Message"]["Header"]["SessionID"] = ""
    assert quirks.put_right(ISO_2, message) == ["empty_session_id"]
    assert message["V2G_Message"]["Header"]["SessionID"] == "00"


def test_four_phases_of_a_dc_profile_are_left_out() -> None:
    entry = {"ChargingProfileEntryStart": 0, "ChargingProfileEntryMaxNumberOfPhasesInUse": 4}
    message = v2("PowerDeliveryReq", ChargingProfile={"ProfileEntry": [entry]})
    assert quirks.put_right(ISO_2, message) == ["phases_of_a_dc_profile"]
    assert entry == {"ChargingProfileEntryStart": 0}


def test_a_car_that_keeps_the_schema_is_left_alone() -> None:
    message = v2("CurrentDemandReq", RemainingTimeToFullSoC={"Multiplier": 0, "Unit": "s", "Value": 10})
    before = json.dumps(message)
    assert quirks.put_right(ISO_2, message) == []
    assert json.dumps(message) == before


@given(anything)
def test_no_message_makes_the_quirks_fail(body: object) -> None:
    for message in ({"V2G_Message": body}, {"PowerDeliveryReq": body}, {"V2G_Message": {"Header": body, "Body": body}}):
        quirks.put_right(ISO_2, message)


# Reads [namespace, hex] pairs into the package's models through our codec, quirks and omissions.
SCRIPT = """
import json, logging, sys
from pathlib import Path
logging.disable(logging.CRITICAL)
sys.path.append(sys.argv[1])
from iso15118.shared.exceptions import V2GMessageValidationError
from iso15118.shared.exi_codec import EXI
from iso15118.shared.messages.enums import Namespace
from iso15118.shared.settings import shared_settings, SettingKey
from firmware.bridges.secc.engine import TappedCodec, allow_omissions, schemas
from firmware.bridges.secc.exi import ExiCodec
shared_settings[SettingKey.MESSAGE_LOG_JSON] = shared_settings[SettingKey.MESSAGE_LOG_EXI] = False
allow_omissions()
exi = EXI()
exi.set_exi_codec(TappedCodec(ExiCodec(schemas()), lambda namespace, message: None))
rejected = []
for namespace, digits in json.load(sys.stdin):
    try:
        exi.from_exi(bytes.fromhex(digits), Namespace(namespace))
    except V2GMessageValidationError as error:
        rejected.append(f"{error.message}: {error.reason}"[:300])
print(json.dumps(rejected))
"""


@needs_schemas
def test_the_package_rejects_no_message_of_a_recorded_dc_session_any_more() -> None:
    assert schemas() is not None
    messages = [(namespace, data.hex()) for _, namespace, data in recorded()]
    # What two foreign -20 cars leave out (no recording of them is ours to keep).
    start = {
        "PowerDeliveryReq": {
            "Header": {"SessionID": "AAAAAAAAAAAAAAAA", "TimeStamp": 1},
            "EVProcessing": "Finished",
            "ChargeProgress": "Start",
        }
    }
    messages.append((ISO_20_COMMON, codec().encode_message(start, ISO_20_COMMON).hex()))
    done = subprocess.run(
        [str(SECC_PYTHON), "-P", "-c", SCRIPT, str(ROOT)],
        input=json.dumps(messages),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rejected = json.loads(done.stdout.splitlines()[-1])
    # A Seres at an AC charger asks for AC and names DC parameters: V2G2-477 wants that refused, and we have no AC.
    assert len(rejected) == 1, rejected
    assert "V2G2-477" in rejected[0]
    assert "AC_THREE_PHASE_CORE" in rejected[0]
