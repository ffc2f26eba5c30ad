"""The plant with three phases, unbalance and harmonics, against symmetrical components and dividers."""

from __future__ import annotations

import cmath
import math

from hil.plant.ac import W0, AcParams
from hil.plant.grid_source import ProgrammableSource, Shape, Volts
from hil.plant.link import PlantLink
from hil.plant.plant import Plant, PlantParams
from hil.plant.validation import BARE, Row, Rows, energy_error_share, powered, stores_j
from hil.plant.waves import A

WEAK = AcParams(aux_w=0.0, grid_ohm=1.0, grid_h=3.0e-3)  # so that a divider shows
V = 230.0
Phasors = tuple[complex, complex, complex]


class Shaped(ProgrammableSource):
    """A source whose phases differ in angle and shape from `from_s` on."""

    def __init__(self, shape: Shape, volts: Volts = (V, V, V), from_s: float = 0.0) -> None:
        super().__init__()
        self.set_voltage(volts)
        self._shape, self._from_s = shape, from_s

    def shape(self, t_s: float) -> Shape | None:
        return self._shape if t_s >= self._from_s else None


def symmetrical(phasors: Phasors) -> Phasors:
    """Zero, positive and negative sequence (Fortescue)."""
    a, b, c = phasors
    return (a + b + c) / 3.0, (a + A * b + A**2 * c) / 3.0, (a + A**2 * b + A * c) / 3.0


def phase_phasors(zero: complex, positive: complex, negative: complex) -> Phasors:
    return (
        zero + positive + negative,
        zero + A**2 * positive + A * negative,
        zero + A * positive + A**2 * negative,
    )


def divider(p: AcParams, g_s: float, w: float) -> complex:
    """PCC over source for a balanced set of either sequence: the network has no memory of which phase is which."""
    z = p.grid_ohm + 1j * w * p.grid_h
    return 1.0 / (1.0 + z * (g_s + 1j * w * p.pcc_f))


def standing(source: ProgrammableSource, params: PlantParams, for_s: float = 0.3) -> Plant:
    """Nothing switched on, for so long."""
    plant = Plant(PlantLink(), source, params)
    plant.advance(for_s)
    return plant


def unbalanced(name: str, volts: Volts, apart_deg: Volts, f_hz: float = 50.0) -> tuple[Row, ...]:
    """RMS of each phase behind a weak grid: zero sequence as at the source, the two others through the divider."""
    apart = tuple(math.radians(x) for x in apart_deg)
    shape = Shape((apart[0], apart[1], apart[2]))
    params = PlantParams(ac=WEAK, three_phase=True)
    source = Shaped(shape, volts)
    source.set_frequency(f_hz)
    plant = standing(source, params)
    own = [cmath.rect(v, x + base) for v, x, base in zip(volts, apart, (0.0, -2.0943951, 2.0943951), strict=True)]
    zero, positive, negative = symmetrical((own[0], own[1], own[2]))
    k = divider(WEAK, params.load.g_s, W0 * f_hz / 50.0)
    wanted = phase_phasors(zero, k * positive, k * negative)
    link = plant.link
    seen = (link.pcc_va_v, link.pcc_vb_v, link.pcc_vc_v)
    return (
        Row(f"{name}: frequency by the instrument", "of the source", "Hz", f_hz, link.pcc_f_hz, 0.005),
        *(
            Row(f"{name}: {phase} behind 1 ohm + 3 mH", "symmetrical components", "V", abs(theory), plant_v, 0.05)
            for phase, theory, plant_v in zip(("L1", "L2", "L3"), wanted, seen, strict=True)
        ),
    )


def harmonic(order: int, share: float) -> Row:
    """RMS with one harmonic: each through its own divider, then by squares."""
    params = PlantParams(ac=WEAK, three_phase=True)
    plant = standing(Shaped(Shape(harmonics=((order, share, 0.3),))), params)
    first, other = (abs(divider(WEAK, params.load.g_s, n * W0)) for n in (1, order))
    theory = V * math.hypot(first, 0.0 if order % 3 == 0 else share * other, share if order % 3 == 0 else 0.0)
    return Row(
        f"harmonic {order}, {share:.0%}: RMS behind 1 ohm + 3 mH", "V sqrt(k1^2 + (h kn)^2)", "V",
        theory, plant.link.pcc_va_v, 0.1,
    )  # fmt: skip


def one_phase_jump() -> tuple[Row, ...]:
    """L1 by 60 degrees under 10 kW: what the converter follows is the positive sequence."""
    source = Shaped(Shape((math.radians(60.0), 0.0, 0.0)), from_s=1.5)
    plant = powered(PlantParams(contactor_delay_s=0.02, ac=BARE), 25.0, -1, source=source)
    before = plant.ac.pll_angle
    plant.advance(2.0)
    angles = []
    for _ in range(40):  # the PLL follows the ripple of the negative sequence: two cycles of the mean
        plant.advance(plant.t_s + plant.block_s)
        angles.append(plant.ac.pll_angle)
    positive = (2.0 + cmath.exp(1j * math.pi / 3.0)) / 3.0
    turned = math.degrees(sum(angles) / len(angles) - before)
    link = plant.link
    return (
        Row("L1 jumps by 60 deg: turn of the PLL", "arg((2 + exp(j60))/3)", "deg",
            math.degrees(cmath.phase(positive)), turned, 1.0),
        Row("L1 jumps by 60 deg: RMS of L2", "abs(V2) of a stiff grid", "V", V, link.pcc_vb_v, 4.0),
    )  # fmt: skip


def balanced() -> tuple[Row, ...]:
    """The same plant with waveforms and with its positive sequence alone, 10 kW fed in."""
    plain, waves = (
        powered(PlantParams(contactor_delay_s=0.02, ac=BARE, three_phase=three), 25.0, -1) for three in (False, True)
    )
    return tuple(
        Row(f"waveforms of a balanced grid: {what}", "the positive sequence alone", unit, getattr(plain.link, field),
            getattr(waves.link, field), tolerance)
        for what, field, unit, tolerance in (
            ("voltage", "pcc_va_v", "V", 0.02), ("power", "ac_p_w", "W", 5.0), ("frequency", "pcc_f_hz", "Hz", 0.001),
        )
    )  # fmt: skip


def energy() -> Row:
    """Energy with a phase at half its voltage and a fifth harmonic, in both directions."""
    source = Shaped(Shape(harmonics=((5, 0.05, 0.0), (7, 0.03, 1.0))), (0.5 * V, V, V), from_s=1.5)
    plant = powered(PlantParams(contactor_delay_s=0.02), 25.0, -1, source=source)
    before = (plant.ac_in_j, plant.ac_loss_j, plant.dc_out_j, stores_j(plant))
    for direction, current_a in ((-1.0, 15.0), (1.0, 15.0)):
        plant.link.conv_dir, plant.link.conv_i_a = direction, current_a
        plant.advance(plant.t_s + 0.3)
    return Row(
        "energy, L1 at half, harmonics 5 and 7", "error / energy moved", "%",
        0.0, 100.0 * energy_error_share(plant, *before), 1.0,
    )  # fmt: skip


def rows() -> Rows:
    table: Rows = {
        "waves balanced": balanced,
        "waves sag": lambda: unbalanced("L1 at half", (0.5 * V, V, V), (0.0, 0.0, 0.0)),
        "waves angle": lambda: unbalanced("L2 60 deg ahead", (V, V, V), (0.0, 60.0, 0.0)),
        "waves 60 Hz": lambda: unbalanced("60 Hz, L3 at 0.7", (V, V, 0.7 * V), (0.0, 0.0, -30.0), 60.0),
        "waves jump": one_phase_jump,
        "waves energy": energy,
    }
    for order, share in ((5, 0.1), (7, 0.05), (3, 0.1), (13, 0.03)):
        table[f"waves harmonic {order}"] = lambda order=order, share=share: harmonic(order, share)  # type: ignore[misc]
    return table
