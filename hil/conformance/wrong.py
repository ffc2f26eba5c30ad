"""Wrong chargers, to prove that the rig fails them. Each replaces a part of guard on the simulated bench, and nothing
else: the same firmware, drivers and devices around it. They exist in the rig only.

Every one is caught by the suite and the cases that `caught_by` names (tests/conformance/test_conform.py,
test_characteristics.py).
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from firmware.grid_codes import ClearingMax, DelayMinAndDisconnectMax, GridCode, RelaySetting, Setting, TripSetting
from firmware.grid_support.curve import Curve
from firmware.grid_support.settings import SupportSettings
from firmware.grid_support.volt_var import VoltVarSettings
from firmware.grid_support.watt_var import WattVarSettings
from firmware.guard.support import Support
from firmware.protection.grid import GridProtection
from firmware.protection.islanding import Islanding, Mode
from firmware.protection.types import GridSample, GridStatus
from hil.conformance.forgetful import ForgetfulTimer
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


class _Before:
    """Stands before the right protection and shows it something else. Not a subclass: the right one may be compiled."""

    def __init__(self, right: GridProtection) -> None:
        self._right = right

    def step(self, now: float, pilot: Sequence[GridSample], converter: Sequence[GridSample], **rest: Any) -> GridStatus:
        return self._right.step(now, self.shown(now, pilot, True), self.shown(now, converter, False), **rest)

    def shown(self, now: float, samples: Sequence[GridSample], of_pilot: bool) -> list[GridSample]:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if name == "_right" or name.startswith("__"):  # a copy that is just being made has none yet
            raise AttributeError(name)
        return getattr(self._right, name)


def _put_before(sim: Sim, kind: type[_Before]) -> None:
    right = sim.guard.protection
    _protect(sim, GridProtection(right.code, right.chain))
    sim.guard.protection = kind(sim.guard.protection)  # type: ignore[assignment]  # it answers whatever guard asks


class _OnePhase(_Before):
    """L2 is never seen: its measurement is that of L1."""

    def shown(self, now: float, samples: Sequence[GridSample], of_pilot: bool) -> list[GridSample]:
        return [s._replace(v_pu=(s.v_pu[0], s.v_pu[0], s.v_pu[2])) for s in samples]


def _wrong_phase(sim: Sim) -> None:
    _put_before(sim, _OnePhase)


def _no_islanding(sim: Sim) -> None:
    right = sim.guard.protection
    right._islanding = Islanding(Mode.OFF, right.code.nominal_f_hz, random.Random(1))


def _timer_goes_on(sim: Sim) -> None:
    right = sim.guard.protection
    right._timer = ForgetfulTimer(right.code.enter_service, 0.0, None)


class _Nervous(_Before):
    """A frequency that has moved by `limit_hz` within `window_s` is taken for 5 Hz too much for a second, which trips:
    what a vector-shift relay or one for the rate of change does."""

    window_s, limit_hz = 0.02, 0.5

    def __init__(self, right: GridProtection) -> None:
        super().__init__(right)
        self._until_s = -math.inf
        self._seen: deque[GridSample] = deque()

    def shown(self, now: float, samples: Sequence[GridSample], of_pilot: bool) -> list[GridSample]:
        for sample in samples if of_pilot else ():
            self._seen.append(sample)
            while sample.t - self._seen[0].t > self.window_s + 1e-9:
                self._seen.popleft()
            if abs(sample.f_hz - self._seen[0].f_hz) > self.limit_hz:
                self._until_s = sample.t + 1.0
        moved = now < self._until_s
        return [s._replace(f_hz=self._right.code.nominal_f_hz + 5.0) if moved else s for s in samples]


class _Steep(_Nervous):
    window_s, limit_hz = 0.5, 0.4


def _vector_shift(sim: Sim) -> None:
    _put_before(sim, _Nervous)


def _rocof(sim: Sim) -> None:
    _put_before(sim, _Steep)


class _Bent(Support):
    """Takes other settings than it is given."""

    def __init__(self, right: Support) -> None:
        super().__init__(self.bent(right.settings), right._functions.capability, beyond_request=right._beyond)

    def retune(self, settings: SupportSettings) -> None:
        super().retune(self.bent(settings))

    def bent(self, settings: SupportSettings) -> SupportSettings:
        raise NotImplementedError


class _NoVoltVar(_Bent):
    def bent(self, settings: SupportSettings) -> SupportSettings:
        return replace(settings, reactive=None) if isinstance(settings.reactive, VoltVarSettings) else settings


class _HalfVoltWatt(_Bent):
    def bent(self, settings: SupportSettings) -> SupportSettings:
        right = settings.volt_watt
        if right is None or right.discharge is None:
            return settings
        half = Curve([(v, 0.5 + 0.5 * p) for v, p in right.discharge.points])
        return replace(settings, volt_watt=replace(right, discharge=half))


class _TurnedWattVar(_Bent):
    def bent(self, settings: SupportSettings) -> SupportSettings:
        right = settings.reactive
        if not isinstance(right, WattVarSettings):
            return settings
        return replace(settings, reactive=replace(right, curve=Curve([(p, -q) for p, q in right.curve.points])))


class _Slow(_Bent):
    def bent(self, settings: SupportSettings) -> SupportSettings:
        right = settings.reactive
        return (
            settings if right is None else replace(settings, reactive=replace(right, response_s=3 * right.response_s))
        )


class _NoDroop(_Bent):
    def bent(self, settings: SupportSettings) -> SupportSettings:
        return replace(settings, frequency=None)


def _supports(kind: type[_Bent], sim: Sim) -> None:
    sim.guard.support = kind(sim.guard.support)


WRONG = {
    "late": Wrong("protection delayed by 0.2 s", "trips/OV2/as it is/all", _late),
    "phase": Wrong("the measurement of L2 shows L1", "trips/OV2/as it is/L2", _wrong_phase),
    "threshold": Wrong("every threshold off by one MRA", "trips/OV2/as it is/edge", _off_by_mra),
    "no-anti-islanding": Wrong("anti-islanding off", "islanding/", _no_islanding),
    "no-ride-through": Wrong("trips at once", "ride-through/low_cat3/1 ", _at_once),
    "vector-shift": Wrong("trips on a jump of the phase", "phase-jump/", _vector_shift),
    "rocof": Wrong("trips on a rate of change of 0.8 Hz/s", "rocof/", _rocof),
    "no-volt-var": Wrong("volt-var off", "support/volt_var", partial(_supports, _NoVoltVar)),
    "volt-watt": Wrong(
        "volt-watt falls half as far", "support/volt_watt_aggressive", partial(_supports, _HalfVoltWatt)
    ),
    "watt-var": Wrong("watt-var the wrong way round", "support/watt_var_1", partial(_supports, _TurnedWattVar)),
    "slow": Wrong("reactive power three times as slow", "support/fixed_var", partial(_supports, _Slow)),
    "no-droop": Wrong("no frequency droop", "support/freq_droop", partial(_supports, _NoDroop)),
    "timer": Wrong("the enter-service time is not begun anew", "enter-service/", _timer_goes_on),
}
