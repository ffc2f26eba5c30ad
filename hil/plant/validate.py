"""The plant against closed forms: `python -m hil.plant.validate` prints docs/plant-validation.md (`--speed`: measures
how much faster than real time the plant runs on this machine).

Every row runs the production plant (`Plant.advance`, the same code that the rig runs) and compares what its
instruments say with a formula that knows nothing of the simulation.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from hil.plant import validate_battery, validate_shared, validate_waves
from hil.plant.ac import W0, IslandLoad
from hil.plant.contactors import DELAY_RANGE_S
from hil.plant.dc import BatteryParams, DcParams
from hil.plant.grid_source import ProgrammableSource
from hil.plant.link import PlantLink
from hil.plant.plant import Plant, PlantParams
from hil.plant.validation import BARE, Row, Rows, energy_error_share, powered, stores_j

P_W = 10_000.0


def delta_f_trap_hz(dt_s: float, qf: float, f0_hz: float = 50.0) -> float:
    """The step-size trap: f0*w0*dt/(2*Qf), the frequency error of an island when a held sample lags by one step."""
    return f0_hz * 2.0 * math.pi * f0_hz * dt_s / (2.0 * qf)


def discharge_current_a(params: PlantParams, p_w: float) -> float:
    """The DC current at which the DC/DC delivers p_w into the link: I*(E - I*R)*efficiency = p_w."""
    dc = params.dc
    e = dc.battery.cells * 3.70  # soc 0.5
    r = dc.battery.r0_ohm + dc.cable_ohm + dc.contactor_ohm
    return (e - math.sqrt(e * e - 4.0 * r * p_w / dc.efficiency)) / (2.0 * r)


def island(qf: float = 1.0, *, dp: float = 0.0, dc: float = 0.0, dt_s: float = 100e-6, p_w: float = P_W,
           tan_phi: float = 0.0) -> Plant:  # fmt: skip
    """10 kW into a tuned load, the grid taken away at 1.5 s; one second later everything is settled. The capacitance
    of the load includes the plant's own at the PCC, as a test laboratory tunes the sum."""
    load = IslandLoad.tuned(p_w, qf, dp=dp, dc=dc)
    load = replace(load, c_f=load.c_f - BARE.pcc_f)
    params = PlantParams(dt_s=dt_s, load=load, ac=BARE, contactor_delay_s=0.02)
    plant = powered(params, discharge_current_a(params, p_w), -1)
    plant.link.grid_switch_open = 1.0
    plant.link.conv_tan_phi = tan_phi
    plant.advance(3.0)
    return plant


def island_voltage_theory_v(plant: Plant) -> float:
    """sqrt(P_phase * R), P = what the DC/DC gives into the link, less the choke's copper loss: at resonance the
    current is V/R, so P = 3 V^2/R (1 + R_choke/R)."""
    g = plant.ac.load.g_s
    link = plant.link
    p_w = -link.dc_v_v * link.dc_i_a * plant.params.dc.efficiency
    return math.sqrt(p_w / (3.0 * g * (1.0 + plant.params.ac.choke_ohm * g)))


def island_voltage(dp: float) -> Row:
    plant = island(dp=dp)
    theory_v = island_voltage_theory_v(plant)
    return Row(f"island voltage, dP {dp:+.0%}", "V = sqrt(P_phase R)", "V", theory_v, plant.link.pcc_va_v, 0.05)


def island_frequency(dc: float, qf: float = 1.0, dt_s: float = 100e-6) -> Row:
    return Row(
        f"island frequency, dC {dc:+.0%}, Qf {qf:g}, step {dt_s * 1e6:g} us",
        "f = f0 / sqrt(1 + dC)",
        "Hz",
        50.0 / math.sqrt(1.0 + dc),
        island(qf, dc=dc, dt_s=dt_s).link.pcc_f_hz,
        0.003,
    )


def island_ndz(dq: float) -> Row:
    """Corner of the non-detection zone: the load's surplus of inductive power dq (of P, Qf 1) over its capacitive
    power moves the island to f0/sqrt(1 - dq)."""
    return Row(
        f"non-detection zone, dQ/P {dq:+.5f}", "dQ/P = 1 - (f0/f)^2", "Hz",
        50.0 / math.sqrt(1.0 - dq), island(dc=-dq).link.pcc_f_hz, 0.003,
    )  # fmt: skip


def island_reactive(tan_phi: float, qf: float) -> Row:
    """A converter that absorbs tan_phi of its active power moves the island to where the load gives as much: the
    load's Q is P Qf (f0/f - f/f0)."""
    x = tan_phi / qf
    return Row(
        f"island frequency, tan phi {tan_phi:+.2f}, Qf {qf:g}", "f/f0 - f0/f = tan phi / Qf", "Hz",
        25.0 * (x + math.sqrt(x * x + 4.0)), island(qf, tan_phi=tan_phi).link.pcc_f_hz, 0.003,
    )  # fmt: skip


def quadrant(direction: int, tan_phi: float) -> tuple[Row, Row]:
    """P and Q at the terminals in one quadrant: P is what the DC/DC takes plus the choke's copper loss, which grows
    with the reactive current."""
    params = PlantParams(ac=BARE, contactor_delay_s=0.02)
    plant = powered(params, 28.0, direction, tan_phi)
    plant.advance(2.5)
    link, eta = plant.link, params.dc.efficiency
    dc_w = link.dc_v_v * link.dc_i_a
    p_w = dc_w / eta if direction > 0 else dc_w * eta
    v, r = link.pcc_va_v, params.ac.choke_ohm
    loss_w = 0.0
    for _ in range(4):  # the loss is part of the power that makes it
        loss_w = r * (p_w + loss_w) ** 2 * (1.0 + tan_phi**2) / (3.0 * v * v)
    what = f"at {direction * 10:+d} kW, tan phi {tan_phi:+.2f}"
    p_w += loss_w
    return (
        Row(f"P {what}", "P_dc + 3 R I^2", "W", p_w, link.ac_p_w, 0.002 * abs(p_w)),
        Row(f"Q {what}", "tan phi abs(P)", "var", tan_phi * abs(p_w), link.ac_q_var, 0.002 * abs(p_w)),
    )


def current_limit() -> Row:
    """20 kW and more reactive power than the stage carries: active first, the current at its limit."""
    params = PlantParams(ac=BARE, contactor_delay_s=0.02)
    plant = powered(params, 55.0, 1, 1.0)
    plant.advance(2.5)
    link = plant.link
    s_va = 3.0 * link.pcc_va_v * params.ac.i_max_a / math.sqrt(2.0)
    q_var = math.sqrt(s_va**2 - link.ac_p_w**2)
    return Row(
        f"Q at {link.ac_p_w / 1e3:+.1f} kW, tan phi 1", "sqrt((3 V I_max)^2 - P^2)", "var", q_var, link.ac_q_var, 20.0
    )


def thevenin(p_w: float, weak: float = 1.0) -> Row:
    """PCC voltage with p_w drawn (+) or fed in (-) at unity power factor: the biquadratic of the Thevenin equivalent of
    grid and passive load. weak: so many times the house connection's impedance."""
    grid = replace(BARE, grid_ohm=weak * BARE.grid_ohm, grid_h=weak * BARE.grid_h)
    params = PlantParams(ac=grid, contactor_delay_s=0.02)
    current_a = abs(p_w) / 355.0
    plant = powered(params, current_a, 1 if p_w > 0 else -1)
    plant.advance(2.5)
    ac, load = params.ac, params.load
    yg = 1.0 / complex(ac.grid_ohm, W0 * ac.grid_h)
    y = complex(load.g_s, W0 * (ac.pcc_f + load.c_f))
    e2, z = abs(230.0 * yg / (yg + y)) ** 2, 1.0 / (yg + y)
    fed_w = -plant.link.ac_p_w / 3.0
    b = e2 + 2.0 * z.real * fed_w
    v2 = 0.5 * (b + math.sqrt(b * b - 4.0 * abs(z) ** 2 * fed_w**2))
    scr = 3.0 * 230.0**2 / abs(complex(ac.grid_ohm, W0 * ac.grid_h)) / 22_000.0
    where = "" if weak == 1.0 else f", weak grid (short-circuit ratio {scr:.1f} at 22 kW)"
    return Row(
        f"PCC voltage at {plant.link.ac_p_w / 1e3:+.2f} kW{where}", "V^4 - (E^2 + 2RP)V^2 + abs(Z)^2 P^2 = 0", "V",
        math.sqrt(v2), plant.link.pcc_va_v, 0.01,
    )  # fmt: skip


def phase_jump(degrees: float) -> tuple[Row, Row]:
    """Peak of the PLL's integrator after a phase jump, and when. Hardly any current and a stiff grid: the PLL alone."""
    params = PlantParams(ac=replace(BARE, grid_ohm=0.02, grid_h=30e-6), contactor_delay_s=0.02)
    plant = powered(params, 0.0, 1)
    source = plant.source
    assert isinstance(source, ProgrammableSource)
    source.jump(degrees)
    start = plant.t_s
    peak_hz, at_s = 0.0, start
    while plant.t_s < start + 0.04:
        plant.advance(plant.t_s + plant.block_s)
        hz = plant.ac.pll_w / (2.0 * math.pi) - 50.0
        if hz > peak_hz:
            peak_hz, at_s = hz, plant.t_s
    wn = params.ac.pll_rad_s
    return (
        Row(
            f"PLL after a phase jump of {degrees:g} deg: peak", "wn dphi / (2 pi e)", "Hz",
            wn * math.radians(degrees) / (2.0 * math.pi * math.e), peak_hz, 0.02 * peak_hz,
        ),
        Row(
            f"PLL after a phase jump of {degrees:g} deg: time of the peak", "1/wn", "ms",
            1e3 / wn, 1e3 * (at_s - start), 1.0,
        ),
    )  # fmt: skip


def precharge() -> tuple[Row, Row]:
    """A battery of 800 V charges 500 uF through 100 ohm."""
    battery = BatteryParams(cells=1, capacity_ah=1e6, ocv=((0.0, 800.0), (1.0, 800.0)))
    dc = DcParams(output_f=500e-6, bleed_ohm=1e9, cable_leak_ohm=1e9, cable_f=1e-9, battery=battery)
    plant = Plant(PlantLink(), ProgrammableSource(), PlantParams(dc=dc, contactor_delay_s=0.02))
    link = plant.link
    link.ev_plugged = link.ev_contactor = 1.0
    plant.advance(0.1)
    link.coil_precharge = 1.0
    while not link.k_precharge:
        plant.advance(plant.t_s + plant.block_s)
    start = plant.t_s - plant.block_s  # closed at the start of the block that shows it
    v_was = t_was = 0.0
    while link.dc_v_v < 720.0:
        v_was, t_was = link.dc_v_v, plant.t_s
        plant.advance(plant.t_s + plant.block_s)
    at = t_was + (720.0 - v_was) / (link.dc_v_v - v_was) * plant.block_s
    plant.advance(plant.t_s + 1.0)
    r = dc.precharge_ohm + dc.cable_ohm + battery.r0_ohm
    share = dc.precharge_ohm / r
    heat_j = share * 0.5 * dc.output_f * 800.0**2
    return (
        Row("precharge to 90 %", "RC ln 10", "ms", 1e3 * r * dc.output_f * math.log(10.0), 1e3 * (at - start), 0.1),
        Row("precharge resistor's heat", "1/2 C V^2", "J", heat_j, plant.dc.precharge_j, 0.2),
    )


def energy() -> Row:
    plant = powered(PlantParams(contactor_delay_s=0.02), 25.0, -1)
    before = (plant.ac_in_j, plant.ac_loss_j, plant.dc_out_j, stores_j(plant))
    link = plant.link
    for k, (current, tan_phi) in enumerate(((25.0, 0.0), (5.0, 0.5), (40.0, -0.5), (0.0, 0.5))):
        link.conv_dir, link.conv_i_a, link.conv_tan_phi = (-1.0 if k < 2 else 1.0), current, tan_phi
        plant.advance(plant.t_s + 0.5)
    return Row(
        "energy: AC in = losses + DC out + stored", "error / energy moved", "%",
        0.0, 100.0 * energy_error_share(plant, *before), 0.2,
    )  # fmt: skip


def contactor() -> tuple[Row, ...]:
    """Twenty operations of the DC pair: the shortest and the longest delay lie in the range, to one block."""
    plant = Plant(PlantLink(), ProgrammableSource(), PlantParams(), random.Random(1))
    delays = []
    for k in range(20):
        plant.link.coil_dc = float(k % 2 == 0)
        start = plant.t_s
        while plant.link.k_dc != plant.link.coil_dc:
            plant.advance(plant.t_s + plant.block_s)
        delays.append(plant.t_s - start)
    low, high = DELAY_RANGE_S
    middle, half = 500.0 * (low + high), 500.0 * (high - low) + 1e3 * plant.block_s
    return (
        Row("DC contactor, shortest of 20 delays", "15..30 ms", "ms", middle, 1e3 * min(delays), half),
        Row("DC contactor, longest of 20 delays", "15..30 ms", "ms", middle, 1e3 * max(delays), half),
    )


def bounce() -> tuple[Row, ...]:
    """A DC pair that bounces for 8 ms: how often it parts, when it parts last, and what the grid contactor's bouncing
    does to the energy balance of the link that is charged through it."""
    plant = Plant(PlantLink(), ProgrammableSource(), PlantParams(contactor_bounce_s=0.008), random.Random(3))
    link = plant.link
    latest_s, partings = 0.0, 0
    for _ in range(20):
        link.coil_dc = 1.0
        touched, was = None, False
        for _ in range(100):
            plant.advance(plant.t_s + plant.block_s)
            closed = link.k_dc == 1.0
            touched = plant.t_s if touched is None and closed else touched
            if was and not closed and touched is not None:
                partings += 1
                latest_s = max(latest_s, plant.t_s - touched)
            was = closed
        link.coil_dc = 0.0
        plant.advance(plant.t_s + 0.05)
    before = (plant.ac_in_j, plant.ac_loss_j, plant.dc_out_j, stores_j(plant))
    link.coil_grid = 1.0
    plant.advance(plant.t_s + 0.5)
    return (
        Row("bouncing contact: partings per closing, of a block or longer", "up to 3", "", 2.0, partings / 20.0, 1.0),
        Row("bouncing contact: last parting after the first touch", "up to 8 ms", "ms", 4.0, 1e3 * latest_s, 4.0),
        Row(
            "energy over a bouncing grid contactor", "error / energy moved", "%",
            0.0, 100.0 * energy_error_share(plant, *before), 1.0,
        ),
    )  # fmt: skip


def leakage() -> Row:
    """A leak of 90 kohm beside charger and car."""
    plant = powered(PlantParams(contactor_delay_s=0.02), 0.0, 1)
    plant.link.leak_ohm = 90e3
    plant.advance(plant.t_s + 0.01)
    p = plant.params
    theory = 1.0 / (1.0 / p.insulation_ohm + 1.0 / p.ev_insulation_ohm + 1.0 / 90e3)
    return Row(
        "insulation with a leak of 90 kohm, car connected", "parallel resistances", "ohm",
        theory, plant.link.insulation_ohm, 1e-3,
    )  # fmt: skip


def rows() -> Rows:
    """Every row by its name, not yet run."""
    table: Rows = {}
    # Lambdas with a default, so that each keeps its number; mypy infers no type for such a one.
    for dp in (-0.2, -0.1, 0.1, 0.2):
        table[f"island_voltage {dp:+g}"] = lambda dp=dp: island_voltage(dp)  # type: ignore[misc]
    for dc in (-0.05, -0.02, -0.01, 0.0, 0.01, 0.02, 0.05):
        table[f"island_frequency {dc:+g}"] = lambda dc=dc: island_frequency(dc)  # type: ignore[misc]
    table["island_frequency Qf 2.5"] = lambda: island_frequency(0.02, 2.5)
    table["island_frequency step 200 us"] = lambda: island_frequency(-0.02, dt_s=200e-6)
    for dq in (-0.10803, -0.04123, 0.03883, 0.05740):
        table[f"ndz {dq:+g}"] = lambda dq=dq: island_ndz(dq)  # type: ignore[misc]
    for tan_phi, qf in ((0.05, 1.0), (-0.05, 1.0), (0.05, 2.5), (-0.05, 2.5)):
        table[f"island_reactive {tan_phi:+g} {qf:g}"] = lambda t=tan_phi, qf=qf: island_reactive(t, qf)  # type: ignore[misc]
    for direction in (1, -1):
        for tan_phi in (0.4, -0.4):
            table[f"quadrant {direction:+d} {tan_phi:+g}"] = lambda d=direction, t=tan_phi: quadrant(d, t)  # type: ignore[misc]
    table["current_limit"] = current_limit
    for p_w in (-10_000.0, 10_000.0):
        table[f"thevenin {p_w:+g}"] = lambda p_w=p_w: thevenin(p_w)  # type: ignore[misc]
    for p_w, weak in ((-10_000.0, 8.0), (-10_000.0, 16.0), (10_000.0, 4.0)):
        table[f"thevenin weak {weak:g} {p_w:+g}"] = lambda p_w=p_w, weak=weak: thevenin(p_w, weak)  # type: ignore[misc]
    for degrees in (10.0, 20.0, 60.0):
        table[f"phase_jump {degrees:g}"] = lambda degrees=degrees: phase_jump(degrees)  # type: ignore[misc]
    table["precharge"] = precharge
    table["energy"] = energy
    table["contactor"] = contactor
    table["bounce"] = bounce
    table["leakage"] = leakage
    return table | validate_battery.rows() | validate_waves.rows() | validate_shared.rows()


def flat(result: Row | tuple[Row, ...]) -> tuple[Row, ...]:
    return (result,) if isinstance(result, Row) else result


HEAD = """# The plant against closed forms

Written by `python -m hil.plant.validate`; every row is a test (`tests/test_plant_validation.py`). The plant is the one
that the rig runs, measured through its own instruments.

A simulated island deserves distrust. With a step of dt, a set-point that lags by one sample shifts the frequency of
an island by delta_f = f0 w0 dt / (2 Qf): {trap:.2f} Hz at 100 us and Qf 1, nearly enough to leave the trip window by
itself and to "prove" an anti-islanding method that does nothing. A check of the voltage does not see it. The rows with
dC and dQ do.

Charging through a weak grid (10 kW at a short-circuit ratio below about 7) the plant's converter does not settle: its
constant-power loop behind an unfiltered PLL oscillates against the grid's inductance, as such converters do. Where a
real module's limit lies is unknown, so no row says so.

| What | Closed form | Theory | Plant | Difference | Allowed | |
|---|---|---|---|---|---|---|
"""


def lines() -> Iterator[str]:
    yield HEAD.format(trap=delta_f_trap_hz(100e-6, 1.0))
    for function in rows().values():
        for row in flat(function()):
            yield (
                f"| {row.what} | {row.formula} | {row.theory:.4f} {row.unit} | {row.plant:.4f} {row.unit} "
                f"| {row.plant - row.theory:+.4f} | {row.tolerance:.3g} | {'ok' if row.ok else '**FAILS**'} |\n"
            )


def speed() -> dict[str, float]:
    """Simulated seconds per second of CPU at 100 us: discharging, and idle (see AcSide.run_idle)."""
    plant = powered(PlantParams(), 25.0, -1)
    result = {}
    for name, seconds in (("discharging", 3.0), ("idle", 15.0)):
        plant.link.conv_on = float(name == "discharging")
        plant.advance(plant.t_s + 0.1)
        start = time.process_time()
        plant.advance(plant.t_s + seconds)
        result[name] = seconds / (time.process_time() - start)
    return result


def main() -> int:
    if sys.argv[1:] == ["--speed"]:
        for name, factor in speed().items():
            print(f"{name}: {factor:.1f} x real time")
        return 0
    text = "".join(lines())
    print(text, end="")
    return 1 if "FAILS" in text else 0


if __name__ == "__main__":
    raise SystemExit(main())
