"""Several chargers at one point of connection: what they share, and that one alone is the plant as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hil.plant.ac import IslandLoad
from hil.plant.grid_source import ProgrammableSource
from hil.plant.plant import PlantParams
from hil.plant.shared import Junction
from hil.plant.validate_shared import pair
from hil.plant.validation import BARE, powered

PARAMS = PlantParams(ac=BARE, contactor_delay_s=0.02, fast_idle=False)


def test_one_charger_alone_at_a_junction_is_the_plant_as_it_always_was() -> None:
    alone = powered(replace(PARAMS, fast_idle=True), 28.0, -1)
    _, (joined,) = pair((-28.0,))
    for field, value in alone.link.as_dict().items():
        assert getattr(joined.link, field) == pytest.approx(value, rel=1e-9, abs=1e-9), field
    for plant in (alone, joined):  # also as an island, with reactive power, and when it stops
        plant.ac.set_load(IslandLoad.tuned(9_000.0, 1.0))
        plant.link.grid_switch_open, plant.link.conv_tan_phi = 1.0, 0.1
        plant.advance(2.0)
    for _ in range(2):
        for field in ("pcc_va_v", "pcc_f_hz", "ac_p_w", "ac_q_var", "dc_v_v"):
            assert getattr(joined.link, field) == pytest.approx(getattr(alone.link, field), rel=1e-6, abs=1e-6), field
        for plant in (alone, joined):
            plant.link.conv_on = 0.0
            plant.advance(2.05)


def test_who_opens_leaves_the_other_one_alone_and_both_see_one_voltage() -> None:
    junction, (one, other) = pair((-28.0, -14.0))
    before_w = other.link.ac_p_w
    one.link.coil_grid = one.link.conv_on = 0.0
    junction.advance(2.5)
    assert one.link.ac_p_w == 0.0
    assert other.link.ac_p_w == pytest.approx(before_w, rel=0.01)
    assert one.link.pcc_va_v == other.link.pcc_va_v
    assert one.link.ac_va_v == 0.0  # behind its open contactor
    _, (single,) = pair((-14.0,))
    assert other.link.pcc_va_v == pytest.approx(single.link.pcc_va_v, abs=0.02)


def test_the_first_ones_island_switch_is_everybodys() -> None:
    junction, (one, other) = pair((-14.0, -14.0))
    other.link.grid_switch_open = 1.0
    junction.advance(1.6)
    assert other.link.grid_switch_open == 0.0
    one.link.grid_switch_open = 1.0
    junction.advance(1.7)
    assert other.link.grid_switch_open == 1.0
    assert junction.ig == 0j


def test_what_does_not_fit_a_junction_is_refused() -> None:
    junction = Junction()
    with pytest.raises(ValueError, match="fast_idle off"):
        junction.join(ProgrammableSource(), PlantParams())
    junction.join(ProgrammableSource(), PARAMS)
    with pytest.raises(ValueError, match="one step for all"):
        junction.join(ProgrammableSource(), PlantParams(dt_s=2e-4, fast_idle=False))
    junction.advance(0.01)
    with pytest.raises(ValueError, match="at the beginning"):
        junction.join(ProgrammableSource(), PARAMS)
