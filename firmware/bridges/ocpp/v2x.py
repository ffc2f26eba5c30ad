"""From what the profiles say to power: all operation modes of OCPP 2.1, block Q, executed. Pure.

Inside: + = charging, - = discharging. Nothing here protects: what comes out is a wish with bounds, and guard grants
what protection, the converter and the car permit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from firmware.bridges.ocpp.stack import Composite, Limits
from firmware.bridges.ocpp.view import NOBODY, Car, External


@dataclass(frozen=True, slots=True)
class Sense:
    """What the modes look at. frequency_hz: the charger's own measurement, None while it is not believed. signal: the
    aFRR signal that counts. site_w: at the grid meter, + = import, the charger included. own_w: the charger's part of
    it. charge_w, discharge_w: ratings (magnitudes)."""

    charge_w: float
    discharge_w: float
    frequency_hz: float | None = None
    signal: int | None = None
    external: External = NOBODY
    site_w: float | None = None
    own_w: float | None = None
    balance_upper_w: float = 0.0
    balance_lower_w: float = 0.0
    car: Car | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """power_w: what is wanted; None: nothing, whoever else asks may. charge_w, discharge_w: what whoever asks must keep
    to (magnitudes; None: free). mode, profile: for the back end and the log. why: words of the reason. sleep: the power
    electronics are to be off while nothing is wanted (Idle with evseSleep)."""

    power_w: float | None
    charge_w: float | None
    discharge_w: float | None
    mode: str
    profile: int | None
    why: str
    bound_why: str = ""
    sleep: bool = False


def interpolate(curve: Sequence[tuple[float, float]], x: float) -> float:
    """Straight lines between the points, flat beyond the ends. Of two points with one x the later counts from it on."""
    if x < curve[0][0]:
        return curve[0][1]
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if x0 <= x < x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return curve[-1][1]


def decide(c: Composite, sense: Sense) -> Decision:
    """What the charger wants now."""
    bound_w, bound_discharge_w, bound_why = _bounds(c.station)
    if c.lead is None or c.period is None:
        return Decision(None, bound_w, bound_discharge_w, "ChargingOnly", None, "no profile", bound_why)
    wanted_w, why = _wanted(c, sense)
    head = f"profile {c.lead.id} ({c.lead.purpose}, {c.mode})"
    if wanted_w is None:  # somebody else gives the power; the profile's limits bind him
        return Decision(None, *_bounds(c.all)[:2], c.mode, c.lead.id, f"{head}: {why}", head)
    limit_w, discharge_limit_w = c.all.limit_w, c.all.discharge_limit_w
    low_w, high_w = -sense.discharge_w, sense.charge_w
    if discharge_limit_w is not None:
        low_w = max(low_w, discharge_limit_w)
    if limit_w is not None:
        high_w = max(min(high_w, limit_w), -sense.discharge_w)  # a negative limit beyond the rating is the rating
    low_w = min(low_w, high_w)  # a negative limit of an old back end: no more than that is right
    power_w = min(max(wanted_w, low_w), high_w)
    if power_w != wanted_w:
        by = c.all.limit_by if power_w < wanted_w else c.all.discharge_by
        why += f", limited from {wanted_w:.0f} W" + (f" by profile {by}" if by not in (None, c.lead.id) else "")
    held = _car_window(power_w, sense.car)
    if held:
        power_w, why = 0.0, f"{why}; {held}"
    return Decision(power_w, bound_w, bound_discharge_w, c.mode, c.lead.id, f"{head}: {why}", bound_why, c.sleep)


def charging_only(decision: Decision, why: str) -> Decision:
    """The decision without its discharging."""
    power_w = None if decision.power_w is None else max(decision.power_w, 0.0)
    said = decision.why if power_w == decision.power_w else f"{decision.why}; {why}"
    bound_why = f"{decision.bound_why}; {why}" if decision.bound_why else why
    return replace(decision, power_w=power_w, discharge_w=0.0, why=said, bound_why=bound_why)


def _bounds(limits: Limits) -> tuple[float | None, float | None, str]:
    """As magnitudes, with the words of whose they are. A negative limit permits no charging."""
    ids = sorted({i for i in (limits.limit_by, limits.discharge_by) if i is not None})
    words = "limited by profile " + " and ".join(str(i) for i in ids) if ids else ""
    charge_w = None if limits.limit_w is None else max(limits.limit_w, 0.0)
    return charge_w, None if limits.discharge_limit_w is None else abs(limits.discharge_limit_w), words


def _wanted(c: Composite, sense: Sense) -> tuple[float | None, str]:
    assert c.period is not None
    setpoint_w, baseline_w = c.watts(c.period.setpoint), c.watts(c.period.baseline)
    match c.mode:
        case "Idle":
            return 0.0, "no power, the power electronics off" if c.sleep else "no power"
        case "ChargingOnly":
            limit_w = c.watts(c.period.limit)
            assert limit_w is not None
            return limit_w, "charge" if limit_w >= 0.0 else "discharge, by a negative limit"
        case "CentralSetpoint":
            assert setpoint_w is not None
            return setpoint_w, f"set-point {setpoint_w:.0f} W"
        case "CentralFrequency":
            assert setpoint_w is not None
            if sense.signal is None or not c.period.signal_curve:
                return setpoint_w, f"set-point {setpoint_w:.0f} W"
            base_w = setpoint_w if baseline_w is None else baseline_w
            power_w = interpolate(c.period.signal_curve, sense.signal)
            return base_w + power_w, f"{base_w:.0f} W and {power_w:+.0f} W for aFRR signal {sense.signal}"
        case "LocalFrequency":
            return _local_frequency(c, sense, baseline_w or 0.0)
        case "ExternalSetpoint":
            return None, f"set-point of {sense.external.source or 'an external system'}"
        case "ExternalLimits":
            return _external_limits(sense)
        case _:
            return _balance(sense)


def _local_frequency(c: Composite, sense: Sense, baseline_w: float) -> tuple[float, str]:
    assert c.period is not None
    power_w, words = baseline_w, [f"baseline {baseline_w:.0f} W"]
    if sense.frequency_hz is None:
        words.append("no believed frequency")
    else:
        part_w = interpolate(c.period.frequency_curve, sense.frequency_hz)
        power_w += part_w
        words.append(f"{part_w:+.0f} W at {sense.frequency_hz:.2f} Hz")
    if sense.signal is not None and c.period.signal_curve:
        part_w = interpolate(c.period.signal_curve, sense.signal)
        power_w += part_w
        words.append(f"{part_w:+.0f} W for aFRR signal {sense.signal}")
    return power_w, ", ".join(words)


def _external_limits(sense: Sense) -> tuple[float, str]:
    e = sense.external
    if e.charge_w is None:
        return 0.0, "no external system gives a limit"
    return e.charge_w, f"charge within the limit of {e.source}"


def _balance(sense: Sense) -> tuple[float, str]:
    """Whatever else the site draws, its connection stays between the thresholds, as far as the car can."""
    if sense.site_w is None or sense.own_w is None:
        return 0.0, "no believed value of the grid meter"
    rest_w = sense.site_w - sense.own_w
    if rest_w > sense.balance_upper_w:
        return sense.balance_upper_w - rest_w, f"the site draws {rest_w:.0f} W, above {sense.balance_upper_w:.0f} W"
    if rest_w < sense.balance_lower_w:
        return sense.balance_lower_w - rest_w, f"the site draws {rest_w:.0f} W, below {sense.balance_lower_w:.0f} W"
    return 0.0, f"the site draws {rest_w:.0f} W, between the thresholds"


def _car_window(power_w: float, car: Car | None) -> str:
    """Why the car must get or give nothing now; empty: no reason.

    Energies are what the car asks for (ISO 15118-20): a minimum of zero or more is at or below its floor, a maximum of
    zero or less is full, a V2X minimum of zero or more is at or below the band that it gives to V2X.
    """
    if car is None or power_w == 0.0:
        return ""
    if power_w > 0.0:
        full = car.max_energy_wh is not None and car.max_energy_wh <= 0.0
        return "the car takes no more energy" if full else ""
    if car.bidirectional is False:
        return "the car's service has no discharging"
    if car.min_energy_wh is not None and car.min_energy_wh >= 0.0:
        return "the car is at its least energy"
    if car.min_v2x_wh is not None and car.min_v2x_wh >= 0.0:
        return "the car is below its band for V2X"
    if car.departure_s is not None and car.target_wh is not None and car.target_wh > 0.0:
        needed_s = car.target_wh / car.charge_max_w * 3600.0 if car.charge_max_w else math.inf
        if car.departure_s <= needed_s:
            return f"the car leaves in {car.departure_s / 60.0:.0f} min and needs {car.target_wh / 1000.0:.1f} kWh"
    return ""
