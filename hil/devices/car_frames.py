"""What the emulated external SECC says on CAN, from what it knows. Pure; the layout is hal/can/secc_bridge_v3.dbc."""

from __future__ import annotations

import enum
import math
from typing import NamedTuple

from hal.can.secc_bridge import (
    EV_BATTERY,
    EV_CHARGE,
    EV_DISCHARGE,
    EV_ENERGY,
    EV_VOLTAGES,
    POWER_TRANSFER,
    PRECHARGE,
    SECC_EMERGENCY,
    SECC_REQUEST,
    SECC_STATUS,
    encode,
)
from hal.ports import CanFrame

PRECHARGE_A = 2.0  # at most, into an open contactor


class Secc(enum.IntEnum):
    INITIALISING = 0
    WAITING = 1
    NEGOTIATING = 2
    CONNECTED = 3
    INSULATION = 4
    PRECHARGE = 5
    WAIT_FOR_CHARGE = 6
    CHARGING = 7
    ENDING = 8
    WELDING = 9
    CLOSING = 10


class Battery(NamedTuple):
    """What a car tells of its battery. soc, soc_min, soc_target: 0..1. low_a, high_a: the range of current it permits
    now (A, + = charging), so low_a is zero or negative."""

    soc: float
    soc_min: float
    soc_target: float
    capacity_kwh: float
    v_min_v: float
    v_max_v: float
    v_present_v: float
    low_a: float
    high_a: float
    power_max_kw: int


def request_frames(
    state: Secc,
    function: int,
    volts: float,
    low_a: float,
    high_a: float,
    *,
    contactor_closed: bool,
    lower_voltage: bool,
) -> list[CanFrame]:
    """Where the session stands and what is asked of the charger: function, voltage (V), range of current (A)."""
    transfer = function == POWER_TRANSFER
    return [
        encode(SECC_STATUS, {"Secc_State": state}),
        encode(
            SECC_REQUEST,
            {
                "Req_Voltage": round(volts, 1),
                "Req_CurrentMax": round(high_a, 1) if transfer else PRECHARGE_A if function == PRECHARGE else 0.0,
                "Req_CurrentMin": round(low_a, 1) if transfer else 0.0,
                "Req_Function": function,
                "Req_RangeMode": transfer,
                "Req_ContactorsClosed": contactor_closed,
                "Req_LowerVoltage": lower_voltage,
            },
        ),
    ]


def battery_frames(b: Battery) -> list[CanFrame]:
    return [
        encode(
            EV_BATTERY,
            {
                "Ev_Capacity": round(b.capacity_kwh),
                "Ev_SocPresent": math.floor(b.soc * 100.0),
                "Ev_SocMin": round(b.soc_min * 100.0),
                "Ev_SocTarget": round(b.soc_target * 100.0),
                "Ev_SocMax": 100,
            },
        ),
        encode(
            EV_VOLTAGES,
            {
                "Ev_VoltageMin": round(b.v_min_v, 1),
                "Ev_VoltageMax": round(b.v_max_v, 1),
                "Ev_VoltagePresent": round(b.v_present_v, 1),
            },
        ),
        encode(
            EV_CHARGE,
            {
                "Ev_ChargeCurrentMin": 0.0,
                "Ev_ChargeCurrentMax": round(b.high_a, 1),
                "Ev_ChargePowerMin": 0,
                "Ev_ChargePowerMax": b.power_max_kw if b.high_a else 0,
            },
        ),
        encode(
            EV_DISCHARGE,
            {
                "Ev_DischargeCurrentMin": 0.0,
                "Ev_DischargeCurrentMax": round(-b.low_a, 1),
                "Ev_DischargePowerMin": 0,
                "Ev_DischargePowerMax": b.power_max_kw if b.low_a else 0,
            },
        ),
        encode(
            EV_ENERGY,
            {
                "Ev_EnergyMin": round((b.soc_min - b.soc) * b.capacity_kwh),
                "Ev_EnergyTarget": round((b.soc_target - b.soc) * b.capacity_kwh),
                "Ev_EnergyMax": round((1.0 - b.soc) * b.capacity_kwh),
            },
        ),
    ]


def emergency_frame() -> CanFrame:
    """The driver or the car wants everything to end at once."""
    return encode(SECC_EMERGENCY, {"Es_Origin": 3})
