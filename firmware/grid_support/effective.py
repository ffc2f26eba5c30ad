"""The active controls over a profile: one effective grid code, one set of support settings, and where each comes from.

    support functions   scheduled over default over profile
    must-trip           the tightest of scheduled, default and profile, stage by stage
    may-trip            a longer ride-through; a must-trip that would come sooner contradicts it
    momentary cessation permissive operation may become cessation; what must go on may not

A trip can only become tighter, only inside the range of adjustment that the code gives, and never so tight that it
cuts into what the code wants ridden through. What contradicts that is refused with a sentence, whole: a control is
never applied in part. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from firmware.grid_codes import (
    Chain,
    ClearingMax,
    GridCode,
    GridCodeError,
    Quantity,
    RelaySetting,
    RideThroughMode,
    RideThroughRow,
    Setting,
    Side,
    TripSetting,
    adjust,
    check_response,
    internal_delay,
)
from firmware.grid_support.controls import MAY_TRIP, MUST_TRIP, ONE_WAY, REACTIVE, Control, ControlRefused, Kind
from firmware.grid_support.curve import Curve
from firmware.grid_support.fixed import FixedPf, FixedVar, PowerLimitSettings
from firmware.grid_support.freq_droop import FreqDroopSettings
from firmware.grid_support.freq_response_au import FreqResponseAuSettings
from firmware.grid_support.freq_watt import FreqWattSettings
from firmware.grid_support.lfsm import LfsmSettings, LfsmSide
from firmware.grid_support.ramps import RampSettings
from firmware.grid_support.reactive import tan_phi
from firmware.grid_support.settings import (
    DEFAULT_FREQUENCY_S,
    DEFAULT_VOLTAGE_S,
    ReactiveSettings,
    SupportSettings,
)
from firmware.grid_support.volt_var import VoltVarSettings
from firmware.grid_support.volt_watt import VoltWattSettings
from firmware.grid_support.watt_var import WattPfSettings, WattVarSettings

PROFILE = "profile"
_SIDE = {"h": Side.OVER, "l": Side.UNDER}
_QUANTITY = {"v": Quantity.VOLTAGE, "f": Quantity.FREQUENCY}
_MUST_STAY = (RideThroughMode.CONTINUOUS, RideThroughMode.MANDATORY, RideThroughMode.MOMENTARY_CESSATION)


@dataclass(frozen=True, slots=True)
class Effective:
    """code: with the tightened trips. sources: number or function -> id of the control that set it; the rest is the
    profile's."""

    code: GridCode
    support: SupportSettings
    sources: tuple[tuple[str, str], ...] = ()

    def source(self, key: str) -> str:
        return dict(self.sources).get(key, PROFILE)


def compose(code: GridCode, support: SupportSettings, chain: Chain, controls: Iterable[Control]) -> Effective:
    """`controls`: those that are active now (`Book.active`). Raises ControlRefused when one contradicts the code, the
    board's chain or another control."""
    active = sorted(controls, key=lambda c: (c.kind.value, c.is_default))
    sources: dict[str, str] = {}
    effective = _enter_service(code, [c for c in active if c.kind is Kind.ENTER_SERVICE], sources)
    effective = _tightened(effective, [c for c in active if c.kind in MUST_TRIP], sources)
    # What must be ridden through is asked of the profile: cessation, below, changes how and not for how long.
    _keeps_ride_through(code, effective, chain, sources)
    for control in active:
        if control.kind in MAY_TRIP:
            _keeps_may_trip(effective, chain, control, sources)
    for control in active:
        if control.kind in (Kind.HV_MOMENTARY_CESSATION, Kind.LV_MOMENTARY_CESSATION):
            effective = _ceasing(effective, chain, control, sources)
    return Effective(effective, _support(effective, support, active, sources), tuple(sorted(sources.items())))


# ------------------------------------------------------------------------------------------------------- trips
def stages(code: GridCode, kind: Kind) -> tuple[TripSetting, ...]:
    """The stages of the code that a must-trip or may-trip of this kind is about, from nominal outwards."""
    side, quantity = _SIDE[kind.value[0]], _QUANTITY[kind.value[1]]
    found = [t for t in code.trips if t.side is side and t.quantity is quantity]
    return tuple(sorted(found, key=lambda t: t.threshold.value, reverse=side is Side.UNDER))


def latest_s(trip: TripSetting) -> tuple[str, Setting]:
    """(key as `adjust` names it, number): the time by which the stage must have acted, or its setting."""
    match trip.time:
        case ClearingMax(limit):
            return "time_s", limit
        case RelaySetting(delay):
            return "time_s", delay
        case _:
            return "disconnect_max_s", trip.time.disconnect_max


def _tightened(code: GridCode, controls: list[Control], sources: dict[str, str]) -> GridCode:
    for control in controls:
        known = stages(code, control.kind)
        over = _SIDE[control.kind.value[0]] is Side.OVER
        points = sorted(control.points, key=lambda p: p[0], reverse=not over)
        if len(points) != len(known):
            names = ", ".join(t.id for t in known) or "none"
            raise ControlRefused(
                f"control {control.id}: {code.name} has {len(known)} stages for {control.kind.value} ({names}); "
                f"give one point [threshold, seconds] for each, not {len(points)}"
            )
        changes: dict[str, float] = {}
        for trip, (threshold, seconds) in zip(known, points, strict=True):
            now = trip.threshold.value
            if threshold < now if over else threshold > now:
                changes[f"trip.{trip.id}.threshold"] = threshold
            key, limit = latest_s(trip)
            if seconds < limit.value:
                changes[f"trip.{trip.id}.{key}"] = seconds
        try:
            code = adjust(code, changes)
        except GridCodeError as error:
            raise ControlRefused(f"control {control.id}: {error}") from None
        sources |= dict.fromkeys(changes, control.id)
    return code


def _keeps_ride_through(profile: GridCode, code: GridCode, chain: Chain, sources: Mapping[str, str]) -> None:
    for trip in code.trips:
        by = next((c for key, c in sources.items() if key.startswith(f"trip.{trip.id}.")), None)
        if by is None:
            continue
        try:
            delay_s = internal_delay(trip, chain)
        except GridCodeError as error:
            raise ControlRefused(f"control {by}: {error}") from None
        for row in profile.ride_through:
            must_s = _must_stay_s(row, trip)
            if must_s is not None and delay_s < must_s - 1e-9:
                long = "without end" if must_s == math.inf else f"for {must_s:g} s"
                raise ControlRefused(
                    f"control {by}: trip.{trip.id} at {trip.threshold.value:g} {trip.threshold.unit} after "
                    f"{latest_s(trip)[1].value:g} s would cut into {row.mode.value} at {row.lo.value:g}.."
                    f"{row.hi.value:g} {row.lo.unit}, which must be ridden through {long} "
                    f"({profile.cite(row.lo.clause)})"
                )


def _must_stay_s(row: RideThroughRow, trip: TripSetting) -> float | None:
    """How long the charger must stay connected on values of this row that the trip judges; None = it need not."""
    if row.quantity is not trip.quantity or row.mode not in _MUST_STAY:
        return None
    if trip.side is Side.OVER:
        low, high = max(row.lo.value, trip.threshold.value), row.hi.value
    else:
        low, high = row.lo.value, min(row.hi.value, trip.threshold.value)
    if not low < high:
        return None
    if row.mode is RideThroughMode.CONTINUOUS:
        return math.inf
    times = [t for t in (row.min_time_at(low), row.min_time_at(high)) if t is not None]
    return max(times) if times else None


def _keeps_may_trip(code: GridCode, chain: Chain, control: Control, sources: dict[str, str]) -> None:
    """Until (x, y) of the curve the charger must ride through: no must-trip that judges x may come before y."""
    for x, y in control.points:
        for trip in stages(code, control.kind):
            judges = x > trip.threshold.value if trip.side is Side.OVER else x < trip.threshold.value
            delay_s = internal_delay(trip, chain)
            if judges and delay_s < y - 1e-9:
                by = next((c for key, c in sources.items() if key.startswith(f"trip.{trip.id}.")), PROFILE)
                raise ControlRefused(
                    f"control {control.id}: riding through {x:g} {trip.threshold.unit} for {y:g} s contradicts "
                    f"trip.{trip.id}, which must trip beyond {trip.threshold.value:g} {trip.threshold.unit} after "
                    f"{delay_s:g} s on this board (set by: {by})"
                )
        sources.setdefault(control.kind.value, control.id)


def _ceasing(code: GridCode, chain: Chain, control: Control, sources: dict[str, str]) -> GridCode:
    """Permissive operation beyond the threshold becomes momentary cessation; rows are split where it falls inside."""
    limit = dict(control.numbers)["threshold_pu"]
    over = control.kind is Kind.HV_MOMENTARY_CESSATION
    rows: list[RideThroughRow] = []
    for row in code.ride_through:
        beyond = row.hi.value > limit if over else row.lo.value < limit  # the limit itself is beyond nominal (NUMBERS)
        if row.quantity is not Quantity.VOLTAGE or row.mode.ceases or not beyond:
            rows.append(row)
            continue
        if row.mode is not RideThroughMode.PERMISSIVE:
            raise ControlRefused(
                f"control {control.id}: ceasing {'above' if over else 'below'} {limit:g} pu contradicts "
                f"{row.mode.value} at {row.lo.value:g}..{row.hi.value:g} pu, where power must go on "
                f"({code.cite(row.lo.clause)})"
            )
        if row.lo.value < limit < row.hi.value:
            if row.min_time_slope_s_per_pu is not None:
                raise ControlRefused(
                    f"control {control.id}: {limit:g} pu lies inside of {row.lo.value:g}..{row.hi.value:g} pu, whose "
                    "time slopes and which cannot be split"
                )
            edge = replace(row.lo, value=limit, written="")
            inner, outer = replace(row, lo=edge), replace(row, hi=edge)
            if over:
                inner, outer = outer, inner
            rows += [inner, replace(outer, mode=RideThroughMode.MOMENTARY_CESSATION)]
        else:
            rows.append(replace(row, mode=RideThroughMode.MOMENTARY_CESSATION))
        sources[control.kind.value] = control.id
    changed = replace(code, ride_through=tuple(rows))
    try:
        for row in changed.ride_through:
            check_response(row, chain)
    except GridCodeError as error:
        raise ControlRefused(f"control {control.id}: {error}") from None
    return changed


def _enter_service(code: GridCode, controls: list[Control], sources: dict[str, str]) -> GridCode:
    for control in controls:
        changes = {f"enter_service.{key}": value for key, value in control.numbers}
        try:
            code = adjust(code, changes)
        except GridCodeError as error:
            raise ControlRefused(f"control {control.id}: {error}") from None
        sources |= dict.fromkeys(changes, control.id)
    return code


# ----------------------------------------------------------------------------------------------------- support
def _winner(active: list[Control], *kinds: Kind) -> Control | None:
    """Scheduled before default; of several kinds that exclude each other, the lower rank."""
    found = [c for c in active if c.kind in kinds]
    return min(found, key=lambda c: (c.is_default, *c.rank), default=None)


def _support(
    code: GridCode, support: SupportSettings, active: list[Control], sources: dict[str, str]
) -> SupportSettings:
    def take(key: str, control: Control) -> None:
        sources[key] = control.id

    if (c := _winner(active, *REACTIVE)) and c.kind in ONE_WAY:
        both = [found for kind in ONE_WAY if (found := _winner(active, kind)) is not None]
        support = replace(support, reactive=_one_way(both, support))
        sources["reactive"] = " and ".join(found.id for found in both)
    elif c:
        support = replace(support, reactive=_reactive(c, support))
        take("reactive", c)
    if c := _winner(active, Kind.VOLT_WATT):
        support = replace(support, volt_watt=_volt_watt(c, support))
        take("volt_watt", c)
    if c := _winner(active, Kind.FREQ_DROOP):
        support = replace(support, frequency=_droop(c, code, support))
        take("frequency", c)
    if c := _winner(active, Kind.FREQ_WATT):
        support = replace(support, freq_watt=_freq_watt(c, code))
        take("freq_watt", c)
    if c := _winner(active, Kind.POWER_LIMIT):
        n = dict(c.numbers)
        time_s = n.get("response_s", DEFAULT_VOLTAGE_S)
        limit = PowerLimitSettings(n["charge_pu"], n["discharge_pu"], time_s, _clause(c))
        support = replace(support, limit=limit)
        take("limit", c)
    if c := _winner(active, Kind.RAMPS):
        old, n = support.ramps, dict(c.numbers)
        support = replace(
            support,
            ramps=RampSettings(
                n.get("normal_pu_per_s", old.normal_pu_per_s), n.get("soft_start_pu_per_s", old.soft_start_pu_per_s)
            ),
        )
        take("ramps", c)
    return support


def _clause(control: Control) -> str:
    return f"control {control.id} of {control.by}"


def _curve(control: Control) -> Curve:
    points = sorted(control.points, key=lambda p: p[0])
    if list(control.points) != points:
        raise ControlRefused(f"control {control.id}: the x of its points must not fall")
    return Curve(points)


def _reactive(c: Control, support: SupportSettings) -> ReactiveSettings:
    old, n = support.reactive, dict(c.numbers)
    time_s = n.get("response_s", DEFAULT_VOLTAGE_S if old is None else old.response_s)
    match c.kind:
        case Kind.VOLT_VAR:
            return VoltVarSettings(
                _curve(c), time_s, _clause(c), vref_pu=n.get("vref_pu", 1.0), autonomous_s=n.get("autonomous_s")
            )
        case Kind.WATT_VAR:
            return WattVarSettings(_curve(c), time_s, _clause(c))
        case Kind.WATT_PF:
            return WattPfSettings(_curve(c), time_s, _clause(c))
        case Kind.FIXED_PF:
            return FixedPf(n["pf"], n["absorbing"] == 1.0, time_s, _clause(c))
        case _:
            return FixedVar(n["q_pu"], time_s, _clause(c))


def _one_way(both: list[Control], support: SupportSettings) -> WattVarSettings:
    """A power factor for each direction is reactive power over active power: straight lines from zero."""
    ends = {Kind.FIXED_PF_CHARGING: 0.0, Kind.FIXED_PF_DISCHARGING: 0.0}
    for c in both:
        n = dict(c.numbers)
        ends[c.kind] = tan_phi(n["pf"]) * (1.0 if n["absorbing"] == 1.0 else -1.0)
    old = support.reactive
    time_s = min(dict(c.numbers).get("response_s", DEFAULT_VOLTAGE_S if old is None else old.response_s) for c in both)
    points = [(-1.0, ends[Kind.FIXED_PF_DISCHARGING]), (0.0, 0.0), (1.0, ends[Kind.FIXED_PF_CHARGING])]
    return WattVarSettings(Curve(points), time_s, " and ".join(_clause(c) for c in both))


def _volt_watt(c: Control, support: SupportSettings) -> VoltWattSettings:
    old = support.volt_watt
    time_s = dict(c.numbers).get("response_s", DEFAULT_VOLTAGE_S if old is None else old.olrt_s)
    curve = _curve(c)
    falls = [y for _, y in curve.points]
    if falls != sorted(falls, reverse=True):
        raise ControlRefused(f"control {c.id}: a volt-watt curve must not permit more power at a higher voltage")
    return VoltWattSettings(curve, None if old is None else old.charge, time_s, _clause(c))


def _freq_watt(c: Control, code: GridCode) -> FreqWattSettings:
    """Beside the function of frequency that the profile has, which goes on: the tighter of the two holds."""
    time_s = dict(c.numbers).get("response_s", DEFAULT_FREQUENCY_S)
    curve = _curve(c)
    try:
        return FreqWattSettings(code.nominal_f_hz, curve, time_s, _clause(c))
    except ValueError as error:
        raise ControlRefused(f"control {c.id}: {error}") from None


def _droop(c: Control, code: GridCode, support: SupportSettings) -> FreqDroopSettings | LfsmSettings:
    n, old, f_n = dict(c.numbers), support.frequency, code.nominal_f_hz
    section = code.section("freq_droop")
    for key, setting in section.numbers if section is not None else ():
        name = "response_s" if key == "olrt_s" else key
        if (
            name in n
            and setting.min is not None
            and setting.max is not None
            and (not setting.min <= n[name] <= setting.max)
        ):
            raise ControlRefused(
                f"control {c.id}: {name} is {n[name]:g}; {code.name} allows {setting.min:g}..{setting.max:g} "
                f"{setting.unit}"
            )
    match old:
        case FreqResponseAuSettings():
            raise ControlRefused(f"control {c.id}: {code.name} fixes its response to frequency ({old.clause})")
        case LfsmSettings():
            time_s = n.get("response_s", old.response_s)
            over = LfsmSide(f_n + n["db_of_hz"], n["k_of"], None, _clause(c))
            under = LfsmSide(f_n - n["db_uf_hz"], n["k_uf"], None, _clause(c))
            return replace(old, over=over, under=under, response_s=time_s)
        case FreqDroopSettings():
            default_s = old.olrt_s
        case None:
            default_s = DEFAULT_FREQUENCY_S
    return FreqDroopSettings(
        f_n, n["db_of_hz"], n["db_uf_hz"], n["k_of"], n["k_uf"], n.get("response_s", default_s), _clause(c)
    )
