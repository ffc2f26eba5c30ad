"""A snapshot as the control socket sends it, made by guard's own message type so that no field can be forgotten."""

from __future__ import annotations

from typing import Any

import msgspec

from firmware.guard.messages import ElementInfo, LimitInfo, Snapshot, TripInfo

TRIP = TripInfo(
    element="UF1",
    source="pilot MCU grid sense",
    phase="",
    value=47.42,
    threshold=47.5,
    unit="Hz",
    delay_s=0.1,
    t_start=99.0,
    t=99.1,
    clause="VDE-AR-N 4105:2018-11, 6.5.2",
    text="Frequency 47.42 Hz was below 47.5 Hz for 0.1 s.",
)

BASE = Snapshot(
    t=100.0,
    boot="b",
    tick=10_000,
    state="transfer: charging",
    state_since=40.0,
    grid_state="connected",
    why="Charges with 7.4 kW: the car permits no more.",
    grid_reason="Voltage and frequency are inside the continuous range.",
    grid_clause="VDE-AR-N 4105:2018-11, 8.3.1",
    enter_service_remaining_s=0.0,
    asked_w=11_000.0,
    asked_by="operator",
    asked_reason="holiday",
    lease_s=1.8,
    permitted_w=7_400.0,
    limited_by="limited to 7.4 kW by car: the car's maximum current",
    limits=[
        LimitInfo("ratings", "charger's rated power", 22_000.0, 22_000.0, None),
        LimitInfo("car", "the car's maximum current", 7_400.0, 5_000.0, None),
    ],
    measured_w=7_350.0,
    grid_v=[230.1, 231.2, 229.3],
    grid_f_hz=50.012,
    converter_grid_v=[230.0, 231.0, 229.5],
    converter_grid_f_hz=50.01,
    converter_online=True,
    converter_ready=True,
    converter_on=True,
    converter_direction="charge",
    converter_temp_c=41.0,
    p_ac_w=7_700.0,
    v_dc_v=402.5,
    i_dc_a=18.26,
    i_set_a=18.3,
    cp="C",
    contactor_grid=True,
    contactor_dc=True,
    contactor_precharge=False,
    estop=False,
    insulation_ohm=10_000_000.0,
    car_phase="transfer",
    soc_pct=54.2,
    charged_wh=1_234.0,
    discharged_wh=56.0,
    faults=[],
    trip=None,
    elements=[
        ElementInfo("UF1", "pilot MCU grid sense", 50.012, 47.5, "Hz", 2.512, 0.0, 0.1, "VDE-AR-N 4105:2018-11, 6.5.2"),
        ElementInfo("OV2", "pilot MCU grid sense", 1.005, 1.25, "pu", 0.245, 0.0, 0.1, "VDE-AR-N 4105:2018-11, 6.5.1"),
    ],
    late_p99_us=62.0,
    late_max_us=840.0,
    missed=0,
    realtime="SCHED_FIFO 50, memory locked",
    bus_load=0.31,
    i_charge_max_a=18.5,
    i_discharge_max_a=12.0,
    v_max_v=450.0,
    ready=True,
    stop=False,
    self_test_serial=1,
    down=False,
    dropped=0,
)


def snapshot(**changes: Any) -> dict[str, Any]:
    """The JSON form of the base snapshot with some fields changed; a field that does not exist raises TypeError."""
    changed: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(BASE, **changes))
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(changed))  # nan becomes null, as on the socket
    return decoded
