"""Sustained frequency response of AS/NZS 4777.2:2020, clause 3.3.4 (number not verified), for storage.

Falling: charging goes in a straight line from what it was at `f_llco_hz` to zero at `f_stop_charge_hz`, discharging
from there to its maximum at `f_pmax_hz`. Rising: discharging goes to zero between `f_ulco_hz` and `f_transition_hz`,
charging from there to its maximum at `f_pmin_hz`. A charger that was already on the helping side keeps what it had
until the second line begins. It lets go when the frequency is back inside by `hysteresis_hz`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache, partial

from firmware.grid_support.curve import Curve
from firmware.grid_support.frequency_power import FrequencyPower


@dataclass(frozen=True, slots=True)
class FreqResponseAuSettings:
    """Frequencies in Hz: pmax < stop_charge < llco < ulco < transition < pmin."""

    f_pmax_hz: float
    f_stop_charge_hz: float
    f_llco_hz: float
    f_ulco_hz: float
    f_transition_hz: float
    f_pmin_hz: float
    hysteresis_hz: float
    response_s: float
    clause: str

    def __post_init__(self) -> None:
        rising = (
            self.f_pmax_hz,
            self.f_stop_charge_hz,
            self.f_llco_hz,
            self.f_ulco_hz,
            self.f_transition_hz,
            self.f_pmin_hz,
        )
        if any(b <= a for a, b in itertools.pairwise(rising)):
            raise ValueError(f"the frequencies of the response must rise, but they are {rising}")


def au_levels_w(s: FreqResponseAuSettings, reference_w: float, rated_w: float) -> Curve:
    """The power (W, + = charging) over the frequency that a charger with `reference_w` at the edge of the band must be
    at, or beyond."""
    falling, rising = min(reference_w, 0.0), max(reference_w, 0.0)
    return Curve(
        (
            (s.f_pmax_hz, -rated_w),
            (s.f_stop_charge_hz, falling),
            (s.f_llco_hz, reference_w),
            (s.f_ulco_hz, reference_w),
            (s.f_transition_hz, rising),
            (s.f_pmin_hz, rated_w),
        )
    )


# The same for all of an excursion.
_levels_w = lru_cache(maxsize=4)(au_levels_w)


def _change_w(s: FreqResponseAuSettings, rated_w: float, f_hz: float, reference_w: float) -> float:
    return _levels_w(s, reference_w, rated_w).at(f_hz) - reference_w


def freq_response_au(s: FreqResponseAuSettings, rated_w: float) -> FrequencyPower:
    return FrequencyPower(
        "freq_response",
        partial(_change_w, s, rated_w),
        (s.f_llco_hz, s.f_ulco_hz),
        (s.clause, s.clause),
        rated_w,
        response_s=s.response_s,
        release=(s.f_llco_hz + s.hysteresis_hz, s.f_ulco_hz - s.hysteresis_hz),
    )
