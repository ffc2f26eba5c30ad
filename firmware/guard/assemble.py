"""From a board to a Guard: the grid code, its reaction chain and the settings. Shared by the process and the rig."""

from __future__ import annotations

import random

from boards import Board
from firmware.grid_codes import Chain, GridCode, adjust, load
from firmware.grid_support.settings import switched
from firmware.guard.known import GuardSettings
from firmware.guard.step import Guard
from firmware.protection.grid import GridProtection
from firmware.protection.islanding import Islanding, Mode


def chain_of(board: Board) -> Chain:
    """The reaction chain that the board's figures make."""
    return Chain(
        measure_window_s=board.guard.measure_window_s,
        report_period_s=board.guard.report_period_s,
        tick_s=1.0 / board.guard.rate_hz,
        converter_off_s=board.guard.converter_off_s,
        contactor_open_s=board.guard.contactor_open_s,
    )


def code_of(board: Board) -> GridCode:
    """The board's grid code with the operator's adjustments and the functions that he switched on. GridCodeError."""
    code = load(board.grid.code, nominal_v=board.grid.nominal_v, allow_unverified=board.grid.allow_unverified)
    if board.grid.adjust:
        code = adjust(code, dict(board.grid.adjust))
    return switched(code, [name.strip() for name in (board.grid.functions_on or "").split(",") if name.strip()])


def build_guard(board: Board, *, restarted: bool = False, rng: random.Random | None = None) -> Guard:
    """Raises GridCodeError when the code cannot be met by this board or an adjustment is out of its range, or it has
    no function of a name in `functions_on`. rng: of anti-islanding's pattern; None seeds one from the system."""
    tick_s = 1.0 / board.guard.rate_hz
    code = code_of(board)
    settings = GuardSettings(
        charge_w=board.ratings.charge_w,
        discharge_w=board.ratings.discharge_w,
        current_a=board.ratings.current_a,
        voltage_v=board.ratings.voltage_v,
        nominal_v=board.grid.nominal_v,
        insulation_min_ohm=board.limits.insulation_min_ohm,
        ramp_a_per_s=board.limits.ramp_a_per_s,
        tick_s=tick_s,
        support_beyond_request=board.grid.support_beyond_request,
    )
    islanding = Islanding(Mode(board.grid.anti_islanding), code.nominal_f_hz, rng or random.Random())
    protection = GridProtection(code, chain_of(board), restarted=restarted, islanding=islanding)
    return Guard(settings, protection, restarted=restarted)
