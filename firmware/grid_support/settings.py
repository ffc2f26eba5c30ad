"""From a grid-code profile to the settings of the functions. The one place where the signs of the codes are turned.

A threshold, slope or curve that is only remembered is not applied unless the profile was loaded with allow_unverified,
like a ride-through row: power that moves on a number nobody checked may be the wrong way round for the grid. What is
left out for that reason is named in `left_out`. A response time that is only remembered is used as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from firmware.grid_codes import Confidence, GridCode, GridCodeError, Section, Setting
from firmware.grid_codes import Curve as CodeCurve
from firmware.grid_support.capability import Capability, Priority
from firmware.grid_support.curve import Curve
from firmware.grid_support.fixed import FixedPf, FixedVar, PowerLimitSettings
from firmware.grid_support.freq_droop import FreqDroopSettings
from firmware.grid_support.freq_response_au import FreqResponseAuSettings
from firmware.grid_support.freq_watt import FreqWattSettings
from firmware.grid_support.lfsm import LfsmSettings, LfsmSide
from firmware.grid_support.ramps import RampSettings
from firmware.grid_support.response import OPEN_LOOP_SHARE, TIME_CONSTANT_SHARE
from firmware.grid_support.volt_var import VoltVarSettings
from firmware.grid_support.volt_watt import VoltWattSettings
from firmware.grid_support.watt_var import WattPfSettings, WattVarSettings

# Where a profile names no time: policy values, inside what the codes with a time ask for.
DEFAULT_FREQUENCY_S = 2.0  # as the step response that EN 50549-1 is remembered to ask of LFSM
DEFAULT_VOLTAGE_S = 10.0  # as volt-watt and constant Q of IEEE 1547-2018

FrequencySettings = FreqDroopSettings | LfsmSettings | FreqResponseAuSettings
ReactiveSettings = VoltVarSettings | WattVarSettings | WattPfSettings | FixedPf | FixedVar


@dataclass(frozen=True, slots=True)
class SupportSettings:
    """What is active. None = the code has no such function, or it is off. left_out: what could not be used, and why."""

    frequency: FrequencySettings | None = None
    volt_watt: VoltWattSettings | None = None
    reactive: ReactiveSettings | None = None
    limit: PowerLimitSettings | None = None
    ramps: RampSettings = field(default_factory=RampSettings)
    priority: Priority = Priority.REACTIVE
    freq_watt: FreqWattSettings | None = None  # no profile has one: of a control, beside what the profile asks
    left_out: tuple[str, ...] = ()

    def functions(self) -> tuple[tuple[str, str], ...]:
        """(name, clause) of every function in force."""
        found: list[tuple[str, str]] = []
        match self.frequency:
            case FreqDroopSettings():
                found.append(("freq_droop", self.frequency.clause))
            case LfsmSettings(over=over, under=under):
                found += [
                    (f"lfsm ({side})", s.clause) for side, s in (("over", over), ("under", under)) if s is not None
                ]
            case FreqResponseAuSettings():
                found.append(("freq_response", self.frequency.clause))
        if self.freq_watt is not None:
            found.append(("freq_watt", self.freq_watt.clause))
        if self.volt_watt is not None:
            found.append(("volt_watt", self.volt_watt.clause))
        if self.reactive is not None:
            found.append((REACTIVE_NAMES[type(self.reactive)], self.reactive.clause))
        if self.limit is not None:
            found.append(("limit_active_power", self.limit.clause))
        if self.ramps.normal_pu_per_s is not None or self.ramps.soft_start_pu_per_s is not None:
            found.append(("ramps", ""))
        return tuple(found)


REACTIVE_NAMES: dict[type, str] = {
    VoltVarSettings: "volt_var",
    WattVarSettings: "watt_var",
    WattPfSettings: "cosphi_p",
    FixedPf: "const_pf",
    FixedVar: "const_q",
}


# VDE-AR-N 4105:2018-11, clause 5.7.2 (number not verified): above this sum of the rated powers the wider of two
# curves holds. A profile with a curve for each size names them curve_le_4k6 and curve_gt_4k6.
SMALL_W = 4600.0


class _Reader:
    def __init__(self, code: GridCode, rated_w: float) -> None:
        self.code, self.rated_w = code, rated_w
        self.left_out: list[str] = []

    def active(self, name: str, *needed: str) -> Section | None:
        """The section if it is on and its needed numbers and curves may be used."""
        section = self.code.section(name)
        if section is None or section.enabled is False:
            return None
        have: dict[str, Setting | CodeCurve] = {**dict(section.numbers), **dict(section.curves)}
        missing = [key for key in needed if key not in have]
        if missing:
            if section.enabled:  # a section that says nothing of on and off may be a mere remark
                self.left_out.append(f"{name}: the profile has no {', '.join(missing)}")
            return None
        remembered = [key for key in needed if have[key].conf is Confidence.LOW]
        if remembered and not self.code.allow_unverified:
            self.left_out.append(f"{name}: {', '.join(remembered)} is only remembered")
            return None
        return section

    def sized(self, name: str) -> str:
        """The key of the section's curve: 'curve', or where there is one for each size that of this charger."""
        section = self.code.section(name)
        sized = "curve_le_4k6" if self.rated_w <= SMALL_W else "curve_gt_4k6"
        return sized if section is not None and sized in dict(section.curves) else "curve"

    def curve(self, section: Section, key: str, *, x_sign: float = 1.0, y_sign: float = 1.0) -> Curve:
        found = section.curve(key)
        scale = x_sign / self.code.nominal_v if found.x == "V" else x_sign
        points = [
            (
                x * scale,
                y * y_sign + 0.0,  # a turned zero shall not be a negative one
            )
            for x, y in found.points
        ]
        # The axis may have been turned; a step (two points of one x) turns with it.
        return Curve(points if points[0][0] <= points[-1][0] else points[::-1])

    def time(self, section: Section, default_s: float) -> tuple[float, float]:
        """(time in s, share of the change by then) of whichever key the profile has."""
        numbers = dict(section.numbers)
        for key, share in (
            ("olrt_s", OPEN_LOOP_SHARE),
            ("response_max_s", OPEN_LOOP_SHARE),
            ("step_response_s", OPEN_LOOP_SHARE),
            ("tau_s", TIME_CONSTANT_SHARE),
        ):
            if key in numbers and numbers[key].known:
                return numbers[key].value, share
        return default_s, OPEN_LOOP_SHARE


# Sections of a profile that an operator may switch on: one of the reactive ones, and volt-watt.
REACTIVE_SECTIONS = ("volt_var", "watt_var", "cosphi_p", "const_q", "const_pf")
SWITCHES = (*REACTIVE_SECTIONS, "volt_watt")


def switched(code: GridCode, names: Sequence[str]) -> GridCode:
    """`code` with these functions in force; a reactive one puts the others out. GridCodeError when the code's profile
    has none of a name, or two reactive ones are named."""
    have = [s.name for s in code.support if s.name in SWITCHES]
    for name in names:
        if name not in have:
            raise GridCodeError(f"{code.name} has no function {name}; it can switch on: {', '.join(have) or 'none'}")
    reactive = [name for name in names if name in REACTIVE_SECTIONS]
    if len(reactive) > 1:
        raise GridCodeError(f"{' and '.join(reactive)} are both reactive functions; only one may be in force")

    def enabled(section: Section) -> bool | None:
        if section.name in names:
            return True
        return False if reactive and section.name in REACTIVE_SECTIONS else section.enabled

    return replace(code, support=tuple(replace(s, enabled=enabled(s)) for s in code.support))


def settings_of(code: GridCode, rated_w: float) -> SupportSettings:
    """What the profile asks of a charger of rated_w (W, the larger direction). Of several reactive functions that are
    on, the first of volt-var, watt-var, cos phi (P), constant Q, constant power factor is taken: only one may be."""
    reader = _Reader(code, rated_w)
    return SupportSettings(
        frequency=_frequency(reader),
        volt_watt=_volt_watt(reader),
        reactive=_reactive(reader),
        ramps=_ramps(reader),
        left_out=tuple(reader.left_out),
    )


def capability_of(code: GridCode, rated_w: float) -> Capability:
    """A converter of rated_w both ways and as many VA, with the reactive capability that the code asks for, or all."""
    section = code.section("reactive_capability")
    numbers = {} if section is None else dict(section.numbers)
    flat = numbers.get("q_flat_pu")
    inject, absorb = numbers.get("q_inject_min_pu", flat), numbers.get("q_absorb_min_pu", flat)
    return Capability(
        rated_w,
        rated_w,
        rated_w,
        q_absorb_pu=1.0 if absorb is None else absorb.value,
        q_inject_pu=1.0 if inject is None else inject.value,
    )


def _frequency(r: _Reader) -> FrequencySettings | None:
    code = r.code
    if au := r.active("freq_response", "f_pmax", "f_stop_charge", "f_llco", "f_ulco", "f_transition", "f_pmin"):
        v = {key: setting.value for key, setting in au.numbers}
        return FreqResponseAuSettings(
            v["f_pmax"],
            v["f_stop_charge"],
            v["f_llco"],
            v["f_ulco"],
            v["f_transition"],
            v["f_pmin"],
            v.get("hysteresis_hz", 0.0),
            r.time(au, DEFAULT_FREQUENCY_S)[0],
            code.cite(au.number("f_llco").clause),
        )
    if droop := r.active("freq_droop", "db_of_hz", "db_uf_hz", "k_of", "k_uf"):
        return FreqDroopSettings(
            code.nominal_f_hz,
            droop.number("db_of_hz").value,
            droop.number("db_uf_hz").value,
            droop.number("k_of").value,
            droop.number("k_uf").value,
            r.time(droop, DEFAULT_FREQUENCY_S)[0],
            code.cite(droop.number("k_of").clause),
        )
    over, under = r.active("lfsm_o", "f_start_hz", "droop"), r.active("lfsm_u", "f_start_hz", "droop")
    if over is None and under is None:
        return None
    times = [r.time(side, DEFAULT_FREQUENCY_S)[0] for side in (over, under) if side is not None]
    hold_s, pu_per_min = _release(r, under or over)
    return LfsmSettings(code.nominal_f_hz, _side(r, over), _side(r, under), min(times), hold_s, pu_per_min)


def _release(r: _Reader, section: Section | None) -> tuple[float, float | None]:
    """How long after the event the power stays, and how fast it then may return (pu a minute)."""
    numbers = {} if section is None else dict(section.numbers)
    hold, ramp = numbers.get("release_hold_s"), numbers.get("release_pu_per_min")
    if hold is None or ramp is None:
        return 0.0, None
    if Confidence.LOW in (hold.conf, ramp.conf) and not r.code.allow_unverified:
        r.left_out.append("lfsm: its release (release_hold_s, release_pu_per_min) is only remembered")
        return 0.0, None
    return hold.value, ramp.value


def _side(r: _Reader, section: Section | None) -> LfsmSide | None:
    if section is None:
        return None
    stop = dict(section.numbers).get("f_stop_hz")
    use_stop = stop is not None and (stop.conf is not Confidence.LOW or r.code.allow_unverified)
    return LfsmSide(
        section.number("f_start_hz").value,
        section.number("droop").value,
        stop.value if stop is not None and use_stop else None,
        r.code.cite(section.number("f_start_hz").clause),
    )


def _volt_watt(r: _Reader) -> VoltWattSettings | None:
    section = r.active("volt_watt", "curve")
    if section is None:
        return None
    charge = r.curve(section, "curve_charge") if "curve_charge" in dict(section.curves) else None
    time_s, share = r.time(section, DEFAULT_VOLTAGE_S)
    return VoltWattSettings(r.curve(section, "curve"), charge, time_s, r.code.cite(section.curve().clause), share)


def _reactive(r: _Reader) -> ReactiveSettings | None:
    code = r.code
    key = r.sized("volt_var")
    if found := r.active("volt_var", key):
        time_s, share = r.time(found, DEFAULT_VOLTAGE_S)
        return VoltVarSettings(r.curve(found, key, y_sign=-1.0), time_s, code.cite(found.curve(key).clause), share)
    if found := r.active("watt_var", "curve_gen", "curve_load"):
        gen = r.curve(found, "curve_gen", x_sign=-1.0, y_sign=-1.0)
        load = r.curve(found, "curve_load", x_sign=-1.0, y_sign=-1.0)
        time_s, share = r.time(found, DEFAULT_VOLTAGE_S)
        return WattVarSettings(
            Curve(gen.points + load.points), time_s, code.cite(found.curve("curve_gen").clause), share
        )
    # A code that merely offers cos phi (P) leaves the choice to the operator.
    key = r.sized("cosphi_p")
    if (found := r.active("cosphi_p", key)) and found.enabled:
        return WattPfSettings(r.curve(found, key, x_sign=-1.0), DEFAULT_VOLTAGE_S, code.cite(found.curve(key).clause))
    if (found := r.active("const_q", "q_pu")) and found.enabled:
        time_s, share = r.time(found, DEFAULT_VOLTAGE_S)
        q = found.number("q_pu")
        return FixedVar(-q.value + 0.0, time_s, code.cite(q.clause), share)
    if (found := r.active("const_pf", "pf")) and found.enabled:
        time_s, share = r.time(found, DEFAULT_VOLTAGE_S)
        pf = found.number("pf")
        return FixedPf(pf.value, True, time_s, code.cite(pf.clause), share)
    return None


def _ramps(r: _Reader) -> RampSettings:
    section = r.code.section("ramp_rates")
    numbers = {} if section is None else dict(section.numbers)

    def rate(key: str) -> float | None:
        setting = numbers.get(key)
        if setting is None:
            return None
        if setting.conf is Confidence.LOW and not r.code.allow_unverified:
            r.left_out.append(f"ramp_rates: {key} is only remembered")
            return None
        return setting.value

    return RampSettings(rate("normal_ramp_pu_per_s"), rate("soft_start_pu_per_s"))
