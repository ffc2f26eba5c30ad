"""Wrong chargers, to prove that the rig fails them. Each replaces a part of guard on the simulated bench, and nothing
else: the same firmware, drivers and devices around it. They exist in the rig only.

Every one is caught by the suite and the cases that `caught_by` names (tests/conformance/test_wrong.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from firmware.grid_codes import ClearingMax, DelayMinAndDisconnectMax, GridCode, RelaySetting, Setting, TripSetting
from firmware.protection.enter_service import EnterServiceTimer
from firmware.protection.grid import GridProtection
from firmware.protection.islanding import Islanding, Mode
from firmware.protection.types import GridSample, GridStatus
from hil.sim import Sim

LATE_S = 0.2
SHORTEST_S = 0.16  # what the board's chain can clear in
MRA_V_PU, MRA_F_HZ = 0.02, 0.1  # transient, as in ieee1547_1.toml


@dataclass(frozen=True, slots=True)
class Wrong:
    """caught_by: beginning of the ids of cases that must fail it; the right charger passes all of them."""

    title: str
    caught_by: str
    bend: Callable[[Sim], None]


def _protect(sim: Sim, protection: GridProtection) -> None:
    protection._islanding = sim.guard.protection._islanding
    sim.guard.protection = protection


def _with_trips(sim: Sim, change: Callable[[TripSetting], TripSetting]) -> None:
    right = sim.guard.protection
    code: GridCode = replace(right.code, trips=tuple(change(trip) for trip in right.code.trips))
    _protect(sim, GridProtection(code, right.chain))


def _times(trip: TripSetting, change: Callable[[float], float]) -> TripSetting:
    def moved(s: Setting) -> Setting:
        return replace(s, value=change(s.value))

    match trip.time:
        case ClearingMax(limit):
            return replace(trip, time=ClearingMax(moved(limit)))
        case RelaySetting(delay):
            return replace(trip, time=RelaySetting(moved(delay)))
        case DelayMinAndDisconnectMax(least, most):
            return replace(trip, time=DelayMinAndDisconnectMax(least, moved(most)))


def _late(sim: Sim) -> None:
    """Every stage waits LATE_S longer than its setting."""
    _with_trips(sim, lambda trip: _times(trip, lambda s: s + LATE_S))


def _at_once(sim: Sim) -> None:
    """No stage waits longer than it must."""
    _with_trips(sim, lambda trip: _times(trip, lambda s: min(s, SHORTEST_S)))


def _threshold(trip: TripSetting) -> TripSetting:
    by = {"pu": MRA_V_PU, "Hz": MRA_F_HZ}.get(trip.threshold.unit, 0.0)
    value = trip.threshold.value + (by if trip.side.value == "over" else -by)
    return replace(trip, threshold=replace(trip.threshold, value=value))


def _off_by_mra(sim: Sim) -> None:
    """Every stage lies one transient MRA further out than its setting."""
    _with_trips(sim, _threshold)


class _OnePhase(GridProtection):
    """L2 is never seen: its measurement is that of L1."""

    def step(self, now: float, pilot: Sequence[GridSample], converter: Sequence[GridSample], **rest: Any) -> GridStatus:
        def seen(samples: Sequence[GridSample]) -> list[GridSample]:
            return [s._replace(v_pu=(s.v_pu[0], s.v_pu[0], s.v_pu[2])) for s in samples]

        return super().step(now, seen(pilot), seen(converter), **rest)


def _wrong_phase(sim: Sim) -> None:
    right = sim.guard.protection
    _protect(sim, _OnePhase(right.code, right.chain))


def _no_islanding(sim: Sim) -> None:
    right = sim.guard.protection
    right._islanding = Islanding(Mode.OFF, right.code.nominal_f_hz, random.Random(1))


class _Forgetful(EnterServiceTimer):
    """An excursion out of the window does not begin the time anew."""

    __slots__ = ()

    def sample(self, t: float, inside: bool) -> None:
        if inside or self._t_good is None:
            super().sample(t, inside)

    def restart(self) -> None:
        """Not while it runs."""
        if self.ready or self._t_good is None:
            super().restart()


def _timer_goes_on(sim: Sim) -> None:
    right = sim.guard.protection
    right._timer = _Forgetful(right.code.enter_service, 0.0, None)


WRONG = {
    "late": Wrong("protection delayed by 0.2 s", "trips/OV2/as it is/all", _late),
    "phase": Wrong("the measurement of L2 shows L1", "trips/OV2/as it is/L2", _wrong_phase),
    "threshold": Wrong("every threshold off by one MRA", "trips/OV2/as it is/edge", _off_by_mra),
    "no-anti-islanding": Wrong("anti-islanding off", "islanding/", _no_islanding),
    "no-ride-through": Wrong("trips at once", "ride-through/low_cat3/1 ", _at_once),
    "timer": Wrong("the enter-service time is not begun anew", "enter-service/", _timer_goes_on),
}
