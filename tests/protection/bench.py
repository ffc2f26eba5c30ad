"""A grid for the protection under test: whole milliseconds, one step after the other, nothing random."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from firmware.grid_codes import Chain, GridCode, Quantity, TripSetting, adjust, load
from firmware.protection.grid import GridProtection
from firmware.protection.types import GridSample, GridState, GridStatus, Notice

CHAIN = Chain(
    measure_window_s=0.010, report_period_s=0.005, tick_s=0.010, converter_off_s=0.020, contactor_open_s=0.030
)
VDE = load("de_vde_ar_n_4105_2018", nominal_v=230.0)
IEEE = load("ieee1547_2018_cat3", nominal_v=277.0)
IEEE_AT_ONCE = adjust(IEEE, {"enter_service.delay_s": 0.0})
CODES = (VDE, IEEE)


def at_once(code: GridCode) -> GridCode:
    """The same trips, entering service with the first good sample: for tests of what comes after."""
    wait = replace(code.enter_service.delay_s, value=0.0)
    return replace(code, enter_service=replace(code.enter_service, delay_s=wait, first_delay_s=None))


VDE_AT_ONCE = at_once(VDE)
QUICK = (VDE_AT_ONCE, IEEE_AT_ONCE)
ON = (GridState.CONNECTED, GridState.RIDING_THROUGH, GridState.CEASED)

Volts = tuple[float, float, float]


def all_phases(v: float) -> Volts:
    return (v, v, v)


def one_phase(phase: int, v: float) -> Volts:
    return tuple(v if i == phase else 1.0 for i in range(3))  # type: ignore[return-value]


def beyond(trip: TripSetting, steps: int = 1) -> float:
    """The next floating-point number outside of the threshold: nothing lies between."""
    value = trip.threshold.value
    for _ in range(steps):
        value = math.nextafter(value, math.inf if trip.side.value == "over" else -math.inf)
    return value


def trips_of(*quantities: Quantity) -> list[tuple[GridCode, TripSetting]]:
    return [(code, trip) for code in QUICK for trip in code.trips if trip.quantity in quantities]


def name(value: object) -> str | None:
    if isinstance(value, GridCode):
        return value.name
    return value.id if isinstance(value, TripSetting) else None


class Bench:
    """Steps of `tick_ms`, one sample at the very time of each step. `expected`: the converter speaks too."""

    def __init__(self, code: GridCode, *, expected: bool = False, start_ms: int = 1_000_000, **more: object) -> None:
        self.protection = GridProtection(code, CHAIN, **more)  # type: ignore[arg-type]
        self.nominal_f_hz = code.nominal_f_hz
        self.ms = start_ms
        self.expected = expected
        self.status: GridStatus | None = None
        self.notices: list[Notice] = []

    @property
    def now(self) -> float:
        return self.ms / 1000.0

    def step(
        self,
        pilot: tuple[Volts, float] | None,
        converter: tuple[Volts, float] | None = None,
        *,
        tick_ms: int = 5,
    ) -> GridStatus:
        """One step: what each source sees now; None = it is silent."""
        self.ms += tick_ms
        first = [GridSample(self.now, *pilot)] if pilot else []
        second = [GridSample(self.now, *converter)] if converter else []
        return self.give(first, second)

    def give(self, pilot: list[GridSample], converter: list[GridSample]) -> GridStatus:
        self.status = self.protection.step(self.now, pilot, converter, converter_expected=self.expected)
        self.notices += self.status.notices
        return self.status

    def see(self, v: Volts | float = 1.0, f: float | None = None, *, tick_ms: int = 5) -> GridStatus:
        """One step in which all sources see the same."""
        volts = all_phases(v) if isinstance(v, int | float) else v
        seen = (volts, self.nominal_f_hz if f is None else f)
        return self.step(seen, seen if self.expected else None, tick_ms=tick_ms)

    def hold(self, seconds: float, v: Volts | float = 1.0, f: float | None = None, *, tick_ms: int = 5) -> GridStatus:
        status = self.status
        for _ in range(round(seconds * 1000 / tick_ms)):
            status = self.see(v, f, tick_ms=tick_ms)
        assert status is not None
        return status

    def enter(self) -> Bench:
        """A healthy grid until the charger is in service."""
        for _ in range(10_000):
            if self.see(tick_ms=50).state in ON:
                return self.settle()
        raise AssertionError("did not enter service")

    def settle(self) -> Bench:
        self.see()
        self.notices.clear()
        return self

    def until_trip(self, seconds: float, look: Callable[[], GridStatus]) -> float | None:
        """Seconds from the first of the steps `look` to the step that trips; None when none does."""
        start: float | None = None
        while start is None or self.now - start < seconds:
            status = look()
            start = self.now if start is None else start
            if status.state is GridState.TRIPPED:
                return self.now - start
        return None

    def codes(self) -> list[str]:
        return [notice.code for notice in self.notices]
