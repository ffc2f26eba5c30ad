"""The car's battery against circuit theory and counted charge, also beyond its ends."""

from __future__ import annotations

import math

from hil.plant.dc import BatteryParams, DcParams
from hil.plant.plant import PlantParams
from hil.plant.validation import BARE, Row, Rows, powered


def battery_step() -> Row:
    params = PlantParams(
        ac=BARE, contactor_delay_s=0.02, dc=DcParams(battery=BatteryParams(capacity_ah=1e6, c1_f=250.0))
    )
    plant = powered(params, 0.0, 1)
    link, b = plant.link, params.dc.battery
    rest_v, rest_a = link.batt_v_v, link.batt_i_a
    link.conv_i_a = 40.0
    start = plant.t_s
    plant.advance(start + 5.0)
    i = link.batt_i_a
    theory = (i - rest_a) * b.r0_ohm + i * b.r1_ohm * (1.0 - math.exp(-5.0 / (b.r1_ohm * b.c1_f)))
    return Row(
        "battery after 5 s of 40 A (R1C1 = 5 s)",
        "I R0 + I R1 (1 - exp(-t/R1C1))",
        "V",
        theory,
        link.batt_v_v - rest_v,
        0.002,
    )


def beyond(direction: int, soc: float) -> tuple[Row, ...]:
    """A tiny battery that is driven over its end: charge is counted, and the voltage goes on steeply there."""
    battery = BatteryParams(capacity_ah=0.5, r1_ohm=1e-6)
    params = PlantParams(ac=BARE, contactor_delay_s=0.02, dc=DcParams(battery=battery), soc=soc)
    plant = powered(params, 0.0, direction)
    link = plant.link
    began, start = link.soc, plant.t_s
    link.conv_i_a = 20.0
    charge_as = 0.0
    while plant.t_s < start + 3.0:
        plant.advance(plant.t_s + plant.block_s)
        charge_as += link.batt_i_a * plant.block_s
    counted = began + charge_as / (3600.0 * battery.capacity_ah)
    (s0, v0), (s1, v1) = battery.ocv[-2:] if direction > 0 else battery.ocv[:2]
    cell_v = v0 + (v1 - v0) * (counted - s0) / (s1 - s0)
    volts = battery.cells * cell_v + link.batt_i_a * battery.r0_ohm
    end = "full" if direction > 0 else "empty"
    return (
        Row(f"battery driven over {end}: state of charge", "integral of I dt / C", "%",
            100.0 * counted, 100.0 * link.soc, 0.01),
        Row(f"battery driven over {end}: voltage", "96 OCV(soc) + I R0", "V", volts, link.batt_v_v, 0.2),
    )  # fmt: skip


def rows() -> Rows:
    return {
        "battery_step": battery_step,
        "battery over full": lambda: beyond(1, 0.99),
        "battery over empty": lambda: beyond(-1, 0.01),
    }
