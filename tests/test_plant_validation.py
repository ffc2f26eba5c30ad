"""The plant against closed forms: one test per row of docs/plant-validation.md."""

from pathlib import Path

import pytest

from hil.plant import validate

ROWS = validate.rows()
DOCUMENT = Path(__file__).parent.parent / "docs" / "plant-validation.md"


@pytest.mark.parametrize("name", ROWS)
def test_the_plant_agrees_with_the_closed_form(name: str) -> None:
    for row in validate.flat(ROWS[name]()):
        assert row.ok, f"{row.what}: {row.formula} gives {row.theory} {row.unit}, the plant {row.plant}"


@pytest.mark.parametrize("dt_s", [100e-6, 200e-6])
def test_the_island_is_far_from_the_step_size_trap(dt_s: float) -> None:
    trap = validate.delta_f_trap_hz(dt_s, 1.0)
    assert trap == pytest.approx(50.0 * 2 * 3.14159265 * 50.0 * dt_s / 2)
    error = abs(validate.island(dc=0.02, dt_s=dt_s).link.pcc_f_hz - 50.0 / 1.02**0.5)
    assert error < 0.005 * trap


def test_a_row_beyond_its_tolerance_fails() -> None:
    assert not validate.Row("x", "y", "V", 230.0, 230.2, 0.1).ok
    assert validate.Row("x", "y", "V", 230.0, 230.05, 0.1).ok


def test_the_document_lists_every_row_that_is_tested() -> None:
    table = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ") and "Closed form" not in line]
    assert len(table) >= len(ROWS)
    assert not any("FAILS" in line for line in table)
