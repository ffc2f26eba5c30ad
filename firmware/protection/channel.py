"""Everything that one source of measurement decides on its own: freshness, trip elements, ride-through, cessation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from firmware.grid_codes import (
    Chain,
    ClearingMax,
    GridCode,
    GridCodeError,
    Quantity,
    RideThroughMode,
    TripSetting,
    internal_delay,
)
from firmware.grid_codes.chain import MIN_FREQUENCY_DELAY_S
from firmware.protection.element import Element, Operation
from firmware.protection.enter_service import Window
from firmware.protection.frequency_trip import BLOCK_V_PU, FrequencyTrip, measurable
from firmware.protection.mean_10min import MeanVoltageTrip, SlidingMean
from firmware.protection.momentary_cessation import Cessation, hold_s
from firmware.protection.ride_through import Band, RideThrough
from firmware.protection.rocof import RocofTrip
from firmware.protection.sense import LATE_S, MAX_AGE_S
from firmware.protection.timers import TIME_LSB_S, HoldFlag
from firmware.protection.types import ElementStatus, GridSample, Source
from firmware.protection.voltage_trip import VoltageTrip

# A sample from further ahead than this has a broken clock and is refused: it would stay fresh for ever.
MAX_AHEAD_S: Final = 0.05

_CONTINUOUS: Final = RideThroughMode.CONTINUOUS
_FINITE: Final = 1e6  # end of a box where a code has none: three times as much is still a number
NO_OPERATION: Final[tuple[Operation, ...]] = ()


def source_delay(setting: TripSetting, delay_s: float, source: Source) -> float:
    """The delay for a source whose reports come later than the board's chain says (LATE_S).

    Only a time that includes the chain (ClearingMax) gives way, and a frequency element keeps the wait that tells a
    phase jump from a change of frequency: the second source may then be a little late, which is better than blind.
    """
    if not isinstance(setting.time, ClearingMax):
        return delay_s
    floor_s = MIN_FREQUENCY_DELAY_S if setting.quantity is Quantity.FREQUENCY else 0.0
    return max(min(delay_s, floor_s), delay_s - LATE_S[source])


class Channel:
    """One source. Feed it with `take`; then ask.

    A sample is refused when its time does not rise or lies in the future, or when a voltage is negative or no number:
    then it is as if it had not come, and the source grows stale if nothing better follows.
    """

    def __init__(self, source: Source, code: GridCode, chain: Chain, window: Window) -> None:
        """GridCodeError when this board cannot keep the code's times (`internal_delay`)."""
        self.source = source
        self.refused = 0  # samples refused since start
        self.last: GridSample | None = None
        self.ride = RideThrough(code)
        self.cessation = Cessation(code, source)
        self.riding = HoldFlag(hold_s(code))  # outside of continuous operation
        self._window = window
        self._max_age_s = MAX_AGE_S[source] + TIME_LSB_S
        self._t_last: float  # of the newest sample
        self._t_ok: float  # of the newest usable one
        # A code may define the mean and give no stage for it; then nobody would ask for it.
        means = any(t.quantity is Quantity.VOLTAGE_10MIN for t in code.trips) and code.mean_10min
        self._mean = SlidingMean(means, MAX_AGE_S[source]) if means else None
        self._voltage: list[VoltageTrip] = []
        self._frequency: list[FrequencyTrip] = []
        self._means: list[MeanVoltageTrip] = []
        self._rates: list[RocofTrip] = []
        self._all: list[Element] = []
        for setting in code.trips:
            delay_s = source_delay(setting, internal_delay(setting, chain), source)
            element: Element
            if setting.quantity is Quantity.VOLTAGE:
                element = VoltageTrip(setting, delay_s, source)
                self._voltage.append(element)
            elif setting.quantity is Quantity.FREQUENCY:
                element = FrequencyTrip(setting, delay_s, source)
                self._frequency.append(element)
            elif setting.quantity is Quantity.ROCOF:
                element = RocofTrip(setting, delay_s, source)
                self._rates.append(element)
            else:
                assert self._mean is not None  # the loader sees to it
                element = MeanVoltageTrip(setting, delay_s, source, self._mean)
                self._means.append(element)
            element.clause = code.cite(setting.threshold.clause)
            self._all.append(element)
        self._under_v, self._over_v = ([e for e in self._voltage if e.over is over] for over in (False, True))
        self._under_f, self._over_f = ([e for e in self._frequency if e.over is over] for over in (False, True))
        self._always: list[Element] = [*self._means, *self._rates]  # not known to be idle by the last sample alone
        # Nothing is outside of anything, held, counting or stale: as of the last `take`, no question to this channel
        # but that of the enter-service window has another answer than in the step before.
        self.idle: bool
        # The last sample was inside of all elements of the kind on that side: none counts.
        self._uv_idle: bool
        self._ov_idle: bool
        self._uf_idle: bool
        self._of_idle: bool
        self.inside: bool  # of the enter-service window: the last sample, where `take` was given an `each`
        self._box = self._find_box()
        self.begin(math.nan)  # not expected yet

    def _find_box(self) -> tuple[float, float, float, float]:
        """Lowest and highest V (pu) and f (Hz) between which no element picks up and operation is continuous: one
        comparison for all of them."""

        def ends(elements: Sequence[Element], band: Band, floor: float) -> tuple[float, float]:
            low = [e.threshold for e in elements if not e.over]
            high = [e.threshold for e in elements if e.over]
            return max(floor, band.lo, *low), min(_FINITE, band.hi, *high)

        return *ends(self._voltage, self.ride.v, BLOCK_V_PU), *ends(self._frequency, self.ride.f, 0.0)

    def _nothing_idle(self) -> None:
        """Whatever comes next is judged by everybody."""
        self.idle = self._uv_idle = self._ov_idle = self._uf_idle = self._of_idle = False

    def delays(self, code: GridCode, chain: Chain) -> list[float]:
        """The delays of `code` for this source, in the order of the elements. GridCodeError when it has other elements
        than the code in force, or when this board cannot keep its times."""
        mine, theirs = [e.setting.id for e in self._all], [t.id for t in code.trips]
        if mine != theirs:
            raise GridCodeError(f"{code.name} has the trips {', '.join(theirs)}; in force are {', '.join(mine)}")
        return [source_delay(t, internal_delay(t, chain), self.source) for t in code.trips]

    def retune(self, now: float, code: GridCode, delays: Sequence[float], window: Window) -> None:
        """Other numbers for the same elements, from now on; nothing that runs is forgotten."""
        self._show()
        fresh = self.fresh(now)
        for element, setting, delay_s in zip(self._all, code.trips, delays, strict=True):
            element.retune(now, setting, delay_s, fresh=fresh)
            element.clause = code.cite(setting.threshold.clause)
        self._window = window
        ride = RideThrough(code)
        ride.remember(self.ride)
        self.ride = ride
        self._nothing_idle()
        self._box = self._find_box()

    def begin(self, now: float) -> None:
        """From now on the source is expected: nothing of before counts, and it has its age limit to send a sample.

        The 10-minute mean stays: it belongs to the grid and sorts out by itself what is too old.
        """
        self.last = None
        self.inside = False
        self._nothing_idle()
        self._t_last = -math.inf
        self._t_ok = now
        for element in self._all:
            element.reset()
        self.cessation.reset()
        self.riding.reset()

    def take(
        self, now: float, samples: Sequence[GridSample], each: Callable[[float, bool], None] | None
    ) -> Sequence[Operation]:
        """Judge new samples, oldest first. `each(t, inside the enter-service window)` is called for every one.

        Returns the operations of this step, those of a bad value that is merely held until `now` included.
        """
        if not self.idle:
            return self._judge(now, samples, each)
        v_min, v_max, f_min, f_max = self._box
        # An idle channel stays idle with a sample inside of everything. What is left to do is what every sample does.
        for k, sample in enumerate(samples):
            t, (a, b, c), f, held = sample
            if not (
                v_min <= a <= v_max
                and v_min <= b <= v_max
                and v_min <= c <= v_max
                and f_min <= f <= f_max
                and 0.0 < t - self._t_last <= self._max_age_s
                and t <= now + MAX_AHEAD_S
            ):
                return self._judge(now, samples[k:], each)
            self._t_last = self._t_ok = t
            self.last = sample
            if each is not None:
                self.inside = inside = self._window.holds(sample.v_pu, f)
                each(t, inside)
            other_mean = self._mean is not None and self._mean.add(t, sample.v_pu)
            counting = False
            operations: list[Operation] = []
            if other_mean:
                self._judge_mean(t, operations)
                counting = self._counting()
            if not held:
                for rate in self._rates:
                    if rate.feed(t, f, True):
                        operations.append(rate.operation())
                    counting = counting or rate.timer.t_start is not None
            if counting:
                return [*operations, *self._judge(now, samples[k + 1 :], each)]
        if now - self._t_last > self._max_age_s:
            return self._judge(now, (), each)
        return NO_OPERATION

    def _judge(
        self, now: float, samples: Sequence[GridSample], each: Callable[[float, bool], None] | None
    ) -> list[Operation]:
        """`take`, whatever the samples and the past."""
        operations: list[Operation] = []
        v_min, v_max, f_min, f_max = self._box
        for sample in samples:
            t, v, f, held = sample
            lo, hi = min(v), max(v)
            if not (self._t_last < t <= now + MAX_AHEAD_S and lo >= 0.0 and v[0] + v[1] + v[2] < math.inf):
                self.refused += 1
                continue
            if t - self._t_last > self._max_age_s:
                self._gap(t)
                if each is not None:
                    each(t, False)
            self._t_last = t
            self.last = sample
            known = excused = measurable(f, hi)
            uv, ov = lo < v_min or not self._uv_idle, hi > v_max or not self._ov_idle  # who has to judge it
            if uv or ov:
                for v_element in self._voltage if uv and ov else self._under_v if uv else self._over_v:
                    if v_element.feed(t, v, lo, hi):
                        operations.append(v_element.operation())
                    excused = excused or (not v_element.over and v_element.timer.t_start is not None)
                self._uv_idle, self._ov_idle = lo >= v_min, hi <= v_max
            uf, of = not (self._uf_idle and known and f >= f_min), not (self._of_idle and known and f <= f_max)
            if uf or of:
                for f_element in self._frequency if uf and of else self._under_f if uf else self._over_f:
                    if f_element.feed(t, f, known):
                        operations.append(f_element.operation())
                self._uf_idle, self._of_idle = known and f >= f_min, known and f <= f_max
            if self._mean is not None:
                self._mean.add(t, v)
                self._judge_mean(t, operations)
            if self._rates and not held:
                self._feed_rates(t, f, known, operations)
            # No frequency is excused while an under-voltage element times the same fault, and not longer.
            if excused:
                self._t_ok = t
            inside = v_min <= lo and hi <= v_max and known and f_min <= f <= f_max
            mode = _CONTINUOUS if inside else self.ride.judge(lo, hi, f)
            if mode is not _CONTINUOUS or self.riding.on:  # ceasing begins and ends inside of riding
                self.cessation.feed(t, mode.ceases)
                self.riding.feed(t, mode is not _CONTINUOUS)
            if each is not None:
                self.inside = self._window.holds(v, f)
                each(t, self.inside)
        # A bad value goes on counting while it is the newest there is, but not beyond its age limit. The end of that
        # is in the past when a tick came late, so that it makes no difference when the tick came.
        until = min(now, self._t_last + self._max_age_s)
        calm = self._uv_idle and self._ov_idle and self._uf_idle and self._of_idle
        for element in self._always if calm else self._all:
            if element.timer.t_start is not None and element.timer.due(until):
                operations.append(element.operation())
        self.idle = calm and not self.riding.on and self.fresh(now) and not self._counting()
        return operations

    def _judge_mean(self, t: float, operations: list[Operation]) -> None:
        for element in self._means:
            if element.feed(t):
                operations.append(element.operation())

    def _feed_rates(self, t: float, f_hz: float, known: bool, operations: list[Operation]) -> None:
        for element in self._rates:
            if element.feed(t, f_hz, known):
                operations.append(element.operation())

    def _counting(self) -> bool:
        """Of the elements that no single sample is the quantity of."""
        found = False
        for element in self._always:  # a generator for any() would cost more than all of it
            found = found or element.timer.t_start is not None
        return found

    def _gap(self, t: float) -> None:
        """No sample for longer than the age limit: what happened meanwhile is unknown, and counts neither way."""
        for element in self._all:
            element.timer.unknown(t)
        for rate in self._rates:
            rate.forget()

    def fresh(self, now: float) -> bool:
        """There is a sample within the age limit."""
        return now - self._t_last <= self._max_age_s

    def lost(self, now: float) -> bool:
        """No sample within the age limit, or none with a frequency where there should be one."""
        return now - self._t_ok > self._max_age_s

    def age_s(self, now: float) -> float:
        """Since the last usable sample, or since one was expected."""
        return now - self._t_ok

    def carries(self, now: float) -> bool:
        """All phases are inside of continuous operation in the newest sample; a source without a fresh one has no say.

        A converter that starts fills its DC link: on a deep sag with its current limit, in a swell with some amperes.
        """
        if not self.fresh(now):
            return True
        assert self.last is not None
        return min(self.last.v_pu) >= self.ride.v.lo and max(self.last.v_pu) <= self.ride.v.hi

    def forget_excursion(self) -> None:
        """A lost source no longer says what to do about its last value; the other one decides."""
        self.cessation.reset()
        self.riding.reset()

    def timing(self) -> list[Element]:
        """Elements whose quantity is outside now."""
        return [] if self.idle else [e for e in self._all if e.timer.t_start is not None]

    def problem(self) -> str:
        """Why the last sample is outside of the enter-service window; '' when it is inside. Only for a fresh source."""
        assert self.last is not None
        _, v, f, _ = self.last
        return "" if self._window.holds(v, f) else self._window.problem(v, f)

    def elements(self, now: float) -> list[ElementStatus]:
        """Elements with a value (an element that cannot measure has none)."""
        self._show()
        return [e.status(now) for e in self._all if e.value == e.value]

    def closest(self, now: float) -> ElementStatus | None:
        """The first of `elements` that is closest to operating: a third of the work of all of them."""
        self._show()
        found = [e for e in self._all if e.value == e.value]
        return min(found, key=lambda e: e.nearness(now)).status(now) if found else None

    def _show(self) -> None:
        """Give the elements that were passed over the value that they would have."""
        for rate in self._rates:
            rate.settle()
        if self.last is not None:
            _, v, f, _ = self.last
            lo, hi = min(v), max(v)
            for v_element in self._voltage:
                if self._ov_idle if v_element.over else self._uv_idle:
                    v_element.phases, v_element.value = v, hi if v_element.over else lo
            for f_element in self._frequency:
                if self._of_idle if f_element.over else self._uf_idle:
                    f_element.value = f
