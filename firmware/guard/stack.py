"""The set-point stack: who limits the power now, in watts at the DC terminals. What is unknown permits nothing.

The functions of grid support add theirs (firmware/guard/support.py), the arbiter finds the one that decides.
"""

from __future__ import annotations

from firmware.guard import numbers as n
from firmware.guard.conditions import usable
from firmware.guard.events import Severity
from firmware.guard.faults import Faults
from firmware.guard.known import GuardSettings, Known
from firmware.power.arbiter import Limit
from firmware.protection.types import GridStatus
from hal.ports import CarStatus, ConverterLimits, ConverterStatus

_SOFT_STOP = Severity.SOFT_STOP


class LimitStack:
    """The limits of one charger. It remembers those of ratings, module and car: they stay the same for some ticks."""

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings
        self._rating = Limit("rating", "the charger's rating", settings.charge_w, settings.discharge_w)
        self._current_words = f"the charger's {settings.current_a:.1f} A"
        self._lasting: tuple[Limit, ...] = ()
        self._of: tuple[float | None, ConverterLimits | None, CarStatus | None] | None = None  # what they are of

    def limits(
        self, now: float, converter: ConverterStatus, known: Known, grid: GridStatus, faults: Faults
    ) -> tuple[Limit, ...]:
        """All of them as of `now` (s)."""
        v, live, car = usable(converter.v_dc_v, now), converter.limits, known.car_status
        if known.car is None or now - known.car.t > n.CAR_SILENT_S:
            car = None
        before = self._of
        if before is None or v != before[0] or live is not before[1] or car is not before[2]:
            self._lasting, self._of = self._anew(v, live, car), (v, live, car)
        limits = self._lasting
        if not grid.may_transfer:
            limits += (Limit("grid", grid.state.value, 0.0, 0.0),)
        elif grid.ramping:
            s, share = self._settings, grid.power_limit_pu
            words = f"ramp after entering service ({grid.clause})"
            limits += (Limit("grid", words, share * s.charge_w, share * s.discharge_w),)
        if faults.worst >= _SOFT_STOP:
            limits += (Limit("fault", faults.codes[0], 0.0, 0.0),)
        return limits

    def _anew(self, v: float | None, live: ConverterLimits | None, car: CarStatus | None) -> tuple[Limit, ...]:
        """Those that only depend on the DC voltage (V, None: unknown), the module's limits and the car's (None:
        unknown, or too old)."""
        limits, amps = [self._rating], self._settings.current_a
        if v is None:
            limits.append(Limit("converter", "its DC voltage is unknown", 0.0, 0.0))
        else:
            limits.append(Limit("current", self._current_words, v * amps, v * amps))
            w = min(live.p_rated_w, v * live.i_max_a) if live is not None else 0.0
            limits.append(Limit("converter", "what the module offers" if live else "its limits are unknown", w, w))
        if car is None:
            limits.append(Limit("car", "nothing is known of it", 0.0, 0.0))
        elif v is not None:
            # A voltage limit that the car has not told (0) is not the charger's own: nothing flows towards it.
            charge_a = max(0.0, car.i_max_a) if car.v_max_v > 0.0 else 0.0
            discharge_a = max(0.0, -car.i_min_a) if car.v_min_v > 0.0 else 0.0
            limits.append(Limit("car", "its own limits", v * charge_a, v * discharge_a))
        return tuple(limits)
