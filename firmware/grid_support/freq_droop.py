"""Frequency droop of IEEE 1547-2018, clause 6.5.2.7, in all four quadrants.

The standard writes it for generation: below nominal p = p_pre + (f_n - db_uf - f) / (f_n k_uf), above nominal
p = p_pre - (f - f_n - db_of) / (f_n k_of). Counted as a load the signs turn; zero power is no limit, because a charger
that stops charging helps as much as a generator that starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from firmware.grid_support.frequency_power import FrequencyPower


@dataclass(frozen=True, slots=True)
class FreqDroopSettings:
    """Dead bands in Hz around nominal, k in pu of frequency a pu of power, olrt_s: time to 90 % of the change."""

    nominal_f_hz: float
    db_of_hz: float
    db_uf_hz: float
    k_of: float
    k_uf: float
    olrt_s: float
    clause: str


def droop_change_pu(s: FreqDroopSettings, f_hz: float) -> float:
    """Change of power at f_hz, in pu of rated power, + = towards charging."""
    over_hz = max(0.0, f_hz - (s.nominal_f_hz + s.db_of_hz))
    under_hz = max(0.0, (s.nominal_f_hz - s.db_uf_hz) - f_hz)
    return over_hz / (s.nominal_f_hz * s.k_of) - under_hz / (s.nominal_f_hz * s.k_uf)


def _change_w(s: FreqDroopSettings, rated_w: float, f_hz: float, _: float) -> float:
    return droop_change_pu(s, f_hz) * rated_w


def freq_droop(s: FreqDroopSettings, rated_w: float) -> FrequencyPower:
    return FrequencyPower(
        "freq_droop",
        partial(_change_w, s, rated_w),
        (s.nominal_f_hz - s.db_uf_hz, s.nominal_f_hz + s.db_of_hz),
        (s.clause, s.clause),
        rated_w,
        response_s=s.olrt_s,
    )
