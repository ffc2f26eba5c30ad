"""Plan against actual: energies of the same time are compared, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from firmware.recorder.store import Store
from firmware.web.plan import against_actual
from tests.fake_charger import OCPP
from tests.web.conftest import Desk

HOUR_S = 3600.0


def period(from_h: float, to_h: float, power_w: float | None) -> dict[str, Any]:
    return {
        "from_s": from_h * HOUR_S, "to_s": to_h * HOUR_S, "mode": "CentralSetpoint", "power_w": power_w,
        "low_w": -11_000.0, "high_w": 22_000.0,
    }  # fmt: skip


def test_means_between_two_rows_are_signed_powers() -> None:
    rows = [(0.0, 500.0, 0.0), (HOUR_S, 500.0, 7000.0), (1.5 * HOUR_S, 2500.0, 7000.0)]
    found = against_actual([period(0, 9, -7000.0)], rows, 1.5 * HOUR_S)
    assert [(a["from_s"], a["to_s"], a["power_w"]) for a in found["actual"]] == [
        (0.0, HOUR_S, -7000.0), (HOUR_S, 1.5 * HOUR_S, 4000.0),
    ]  # fmt: skip


def test_what_was_not_planned_counts_on_neither_side() -> None:
    plan = [period(1, 2, -7000.0), period(2, 3, None), period(3, 9, 2000.0)]
    rows = [(h * HOUR_S, 0.0, 6000.0 * h) for h in range(5)]
    found = against_actual(plan, rows, 4 * HOUR_S)
    assert found["planned_wh"] == pytest.approx(-7000.0 + 2000.0)
    assert found["actual_wh"] == pytest.approx(-6000.0 - 6000.0)
    assert found["actual"][0]["from_s"] == HOUR_S  # before the plan nothing is shown


def test_a_plan_of_the_future_has_no_energies_yet() -> None:
    found = against_actual([period(5, 6, -7000.0)], [], 4 * HOUR_S)
    assert found["planned_wh"] is found["actual_wh"] is None


def test_rows_of_a_clock_that_was_set_back_give_no_power() -> None:
    rows = [(2 * HOUR_S, 0.0, 0.0), (HOUR_S, 50.0, 0.0), (2 * HOUR_S, 1050.0, 0.0)]
    assert [a["power_w"] for a in against_actual([period(0, 9, 0.0)], rows, 2 * HOUR_S)["actual"]] == [1000.0]


def test_the_screen_has_it_and_says_none_for_a_board_without_a_back_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store.open(desk.dir / "records.sqlite").close()
    now_s = 1000.0 + 1.7e9
    monkeypatch.setitem(OCPP, "plan", [{**period(0, 0, -7000.0), "from_s": now_s - HOUR_S, "to_s": now_s + HOUR_S}])
    found = desk.opened().get("/api/plan").json()
    assert (found["planned_wh"], found["actual_wh"]) == (pytest.approx(-7000.0), 0.0)

    def none(self: object, priority: bool | None = None) -> None:
        from firmware.services.control import Refused

        raise Refused("this board has no [ocpp] section.")

    monkeypatch.setattr(type(desk.charger.charger), "ocpp", none)
    assert desk.opened().get("/api/plan").json() == {"plan": None}
