"""Characteristics of grid support: volt-var, volt-watt, watt-var, fixed power factor, fixed reactive power, droop.

Each is set as a control while the charger feeds in, and then while it charges (a function that the code has in force
needs none; power_pu and powers in `at` below zero charge). Its input is stepped, and the measured output is compared
with the curve at the *measured* input: after one response time (where that is long enough to be told by a mean over a
second) and after two. Expected values are worked out here, from the numbers of the procedure or the code and what the
capture shows, never by the charger's own functions.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from firmware.grid_codes import Confidence, GridCodeError, Quantity, Section, Side, adjust, internal_delay
from hil.bench.strict import TableError
from hil.conformance.case import CLOSED, Case, Subject, movable, quick
from hil.conformance.matrix import Characteristic
from hil.conformance.ride import latest
from hil.conformance.trips import beyond
from hil.scenarios.follow import Follow
from hil.scenarios.schema import GridSegment, Start, Step
from hil.scenarios.verdict import Band, Instant, Must

BEFORE_S = 1.6  # the control is set at SET_S; the mean before the first step is over the last second
SET_S = 0.3
TO_90_PCT = math.log(10.0)  # time constants of a first-order lag
LIFT = 1.013  # of the voltage at the charger, by full power through the simulated source's impedance
Points = tuple[tuple[float, float], ...]


class Shape(NamedTuple):
    """points in W, var, V, Hz with the signs of the capture. x, y: its channels. olrt_s: to `share` of a change."""

    points: Points
    x: str
    y: str
    olrt_s: float
    share: float
    controls: tuple[dict[str, Any], ...]
    clause: str


def cases(subject: Subject) -> tuple[list[Case], list[str]]:
    """(cases, what cannot be tested and why)."""
    found: list[Case] = []
    left_out: list[str] = []
    for c in subject.matrix.characteristics:
        if c.only and not re.search(rf"\b{c.only}\b", subject.code.title):
            continue
        try:
            shape = _SHAPES[c.function](subject, c)
            _bearable(subject, c, shape)
        except (GridCodeError, TableError) as error:
            left_out.append(f"support {c.name}: {error}")
            continue
        found.append(_case(subject, c, shape))
    if not found:
        left_out.append("support: this matrix and this code have no function in common")
    if any(c.suite == "support" and "var" in c.id for c in found):
        left_out.append(
            "support: reactive power below 0.68 pu of active power; the converter takes it as a power factor of at "
            "least 0.8 and cannot make 0.44 pu there, which the code asks for from 0.2 pu on (a fault of the "
            "converter, not shown by a case)"
        )
    left_out.append("support: changes of what is asked for while the frequency or the voltage holds a limit")
    return found, left_out


class Works(NamedTuple):
    """A function that is at work while something else is tested. settle_s: until it has answered its setting, and then
    a change of the voltage."""

    title: str
    controls: tuple[dict[str, Any], ...]
    settle_s: tuple[float, float]


def at_work(subject: Subject, name: str) -> Works | str:
    """The setting of this characteristic of the matrix; a sentence where this code cannot have it."""
    c = next(c for c in subject.matrix.characteristics if c.name == name)
    try:
        shape = _SHAPES[c.function](subject, c)
    except (GridCodeError, TableError) as error:
        return str(error)
    settle_s = max(2.0 * shape.olrt_s, 2.0)
    return Works(name.replace("_", " "), shape.controls, (settle_s, settle_s if shape.x == "pcc_va_v" else 1.0))


# ------------------------------------------------------------------------------------------------------------- shapes
def _section(subject: Subject, name: str) -> Section:
    section = subject.code.section(name)
    if section is None:
        raise TableError(f"the code has no {name}")
    return section


def _curve(subject: Subject, c: Characteristic, section: Section, *keys: str) -> Points:
    """As the procedure writes it, or the code's own (of the first of its keys that is there)."""
    if c.points is not None:
        return c.points
    have = dict(section.curves)
    key = next((key for key in keys if key in have), None)
    if key is None:
        raise TableError(f"the code's {section.name} has no curve")
    if have[key].conf is Confidence.LOW and not subject.code.allow_unverified:
        raise TableError(f"the code's curve of {section.name} is only remembered")
    scale = 1.0 / subject.code.nominal_v if have[key].x == "V" else 1.0
    return tuple((x * scale, y) for x, y in have[key].points)


def _time(c: Characteristic, section: Section) -> tuple[float, float]:
    """(s, share of a change that is made by then)."""
    if c.response_s is not None:
        return c.response_s, 0.9
    numbers = dict(section.numbers)
    for key in ("olrt_s", "response_max_s", "step_response_s"):
        if key in numbers and numbers[key].known:
            return numbers[key].value, 0.9
    if "tau_s" in numbers and numbers["tau_s"].known:
        return numbers["tau_s"].value * TO_90_PCT, 0.9
    return 10.0, 0.9  # own choice, as firmware/grid_support/settings.py does where a code names no time


def _rated_var(subject: Subject) -> tuple[float, float]:
    """Reactive power that the code asks for, injecting and absorbing."""
    section = subject.code.section("reactive_capability")
    numbers = {} if section is None else dict(section.numbers)
    both = []
    for key in ("q_inject_min_pu", "q_absorb_min_pu"):
        number = numbers.get(key, numbers.get("q_flat_pu"))
        if number is None:
            raise TableError("the code does not say how much reactive power it asks for")
        both.append(number.value * subject.rated_w)
    return both[0], both[1]


def _var(subject: Subject, c: Characteristic, q: float) -> float:
    """Q of a point (pu, + injects) as the capture has it (var, + absorbs)."""
    if not c.q_of_rated:
        return -q * subject.rated_w
    inject, absorb = _rated_var(subject)
    return -q * (inject if q > 0.0 else absorb)


def _controls(
    subject: Subject, c: Characteristic, section: Section | None, kind: str, **numbers: object
) -> tuple[dict[str, Any], ...]:
    """A function that the code has in force with its own numbers needs no control."""
    if section is not None and section.enabled and c.points is None and not c.numbers:
        return ()
    return ({"id": c.name, "kind": kind, **numbers},)


def _volt_var(subject: Subject, c: Characteristic) -> Shape:
    section = _section(subject, "volt_var")
    pu = _curve(subject, c, section, "curve", "curve_gt_4k6")
    olrt_s, share = _time(c, section)
    points = [(v, _var(subject, c, q)) for v, q in pu]
    controls = _controls(
        subject, c, section, "volt_var", points=[[v, q / subject.rated_w] for v, q in points], response_s=olrt_s
    )
    volts = tuple((v * subject.nominal_v, q) for v, q in points)
    return Shape(volts, "pcc_va_v", "ac_var", olrt_s, share, controls, "volt-var")


def _volt_watt(subject: Subject, c: Characteristic) -> Shape:
    section = _section(subject, "volt_watt")
    if not section.curves:
        raise TableError("the code's volt_watt has no curve")
    pu = _curve(subject, c, section, "curve")
    olrt_s, share = _time(c, section)
    controls = _controls(subject, c, section, "volt_watt", points=[list(point) for point in pu], response_s=olrt_s)
    asked_pu = c.power_pu.value
    if asked_pu < 0.0:  # high voltage limits nobody who charges
        charged_w = -asked_pu * subject.rated_w
        return Shape(((subject.nominal_v, charged_w),), "pcc_va_v", "dc_w", olrt_s, share, controls, "volt-watt")
    # A limit above what is asked for limits nothing.
    edges = sorted({*(v for v, _ in pu), *_crossings(pu, asked_pu)})
    volts = tuple((v * subject.nominal_v, -min(asked_pu, _at(pu, v)) * subject.rated_w) for v in edges)
    return Shape(volts, "pcc_va_v", "dc_w", olrt_s, share, controls, "volt-watt")


def _at(points: Points, x: float) -> float:
    """Of a curve without steps, level beyond its ends."""
    if x <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]


def _crossings(points: Points, y: float) -> Iterator[float]:
    """Where a curve passes y."""
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if (y0 - y) * (y1 - y) < 0.0:
            yield x0 + (x1 - x0) * (y - y0) / (y1 - y0)


def _watt_var(subject: Subject, c: Characteristic) -> Shape:
    section = _section(subject, "watt_var")
    keys = ("curve_gen", "curve_load")
    sides = [c.points] if c.points is not None else [_curve(subject, c, section, key) for key in keys]
    # The code writes P + = feeding in and Q + = injecting; the capture has it the other way round, both.
    pu = tuple(sorted((-p + 0.0, _var(subject, c, q) / subject.rated_w + 0.0) for side in sides for p, q in side))
    olrt_s, share = _time(c, section)
    controls = _controls(subject, c, section, "watt_var", points=[list(point) for point in pu], response_s=olrt_s)
    scaled = tuple((p * subject.rated_w, q * subject.rated_w) for p, q in pu)
    return Shape(scaled, "ac_w", "ac_var", olrt_s, share, controls, "watt-var")


def _fixed_pf(subject: Subject, c: Characteristic) -> Shape:
    pf, sign = c.numbers["pf"], 1.0 if c.numbers["absorbing"] else -1.0
    olrt_s, share = _time(c, _section(subject, "const_pf"))
    controls = _controls(subject, c, None, "fixed_pf", pf=pf, absorbing=int(sign > 0.0), response_s=olrt_s)
    tan_phi = math.sqrt(1.0 / pf**2 - 1.0)
    # No more than the category asks for: Category A absorbs 0.25 pu, less than this power factor at full power.
    try:
        most = _rated_var(subject)[1 if sign > 0.0 else 0]
    except TableError:
        most = math.inf
    ends = sorted({0.0, min(subject.rated_w, most / tan_phi), subject.rated_w})
    line = tuple((p, sign * min(abs(p) * tan_phi, most)) for p in (*(-x for x in ends[:0:-1]), *ends))
    return Shape(line, "ac_w", "ac_var", olrt_s, share, controls, "constant power factor")


def _fixed_var(subject: Subject, c: Characteristic) -> Shape:
    q_var = _var(subject, c, c.numbers["q_pu"])
    olrt_s, share = _time(c, _section(subject, "const_q"))
    controls = _controls(subject, c, None, "fixed_var", q_pu=q_var / subject.rated_w, response_s=olrt_s)
    return Shape(((0.0, q_var),), "ac_w", "ac_var", olrt_s, share, controls, "constant reactive power")


def _freq_droop(subject: Subject, c: Characteristic) -> Shape:
    section, nominal = _section(subject, "freq_droop"), subject.code.nominal_f_hz
    if not section.enabled:
        raise TableError("the code's freq_droop is off")
    n = c.numbers or {key: section.number(key).value for key in ("db_of_hz", "db_uf_hz", "k_of", "k_uf")}
    olrt_s, share = _time(c, section)
    controls = _controls(subject, c, section, "freq_droop", **n, response_s=olrt_s)
    asked_w, charges = -c.power_pu.value * subject.rated_w, c.power_pu.value < 0.0
    band_hz, k = (-n["db_uf_hz"], -n["k_uf"]) if charges else (n["db_of_hz"], n["k_of"])
    stop = nominal + band_hz + abs(c.power_pu.value) * nominal * k
    # Beyond the other side of the band a droop would have more flow than asked for, and beyond zero the other way;
    # without leave to do so (docs/grid-support.md) it stays where it is.
    points = tuple(sorted(((nominal + band_hz, asked_w), (stop, 0.0))))
    return Shape(points, "pcc_f_hz", "dc_w", olrt_s, share, controls, "frequency droop")


_SHAPES: dict[str, Callable[[Subject, Characteristic], Shape]] = {
    "volt_var": _volt_var,
    "volt_watt": _volt_watt,
    "watt_var": _watt_var,
    "fixed_pf": _fixed_pf,
    "fixed_var": _fixed_var,
    "freq_droop": _freq_droop,
}
_MRA = {  # channel -> (number of the matrix, what it is a share of)
    "pcc_va_v": ("mra_v_pu", "v"),
    "pcc_f_hz": ("mra_f_hz", "hz"),
    "ac_w": ("mra_p_pu", "w"),
    "dc_w": ("mra_p_pu", "w"),
    "ac_var": ("mra_q_pu", "w"),
}


def _off(subject: Subject, channel: str) -> float:
    key, of = _MRA[channel]
    scale = {"v": subject.nominal_v, "hz": 1.0, "w": subject.rated_w}[of]
    return subject.matrix("general.accuracy_factor") * subject.matrix(f"general.{key}") * scale


# -------------------------------------------------------------------------------------------------------------- cases
def _outwards(subject: Subject) -> dict[str, float]:
    """Voltage stages as far out and as late as their ranges permit: they are tested elsewhere."""
    found = dict(latest(subject))
    for trip in subject.code.trips:
        for key, s in trip.numbers():
            if trip.quantity is Quantity.VOLTAGE and key == "threshold" and movable(s):
                assert s.min is not None
                assert s.max is not None
                found[f"trip.{trip.id}.{key}"] = s.max if trip.side is Side.OVER else s.min
    return found


def _hold_s(subject: Subject, shape: Shape) -> float:
    m = subject.matrix
    return round(max(m("support.hold_olrt") * shape.olrt_s, m("support.hold_least_s")) + 1.0, 3)


def _bearable(subject: Subject, c: Characteristic, shape: Shape) -> None:
    """TableError when a stage would trip before the function can be judged."""
    quantity = {"pcc_va_v": Quantity.VOLTAGE, "pcc_f_hz": Quantity.FREQUENCY}.get(shape.x)
    for trip in adjust(subject.code, _outwards(subject)).trips if quantity else ():
        if trip.quantity is not quantity:
            continue
        outside = [x for x in c.at if beyond(trip, x * (_moved(c, x) if quantity is Quantity.VOLTAGE else 1.0))]
        delay_s = internal_delay(trip, subject.chain)
        if outside and delay_s < _hold_s(subject, shape):
            raise TableError(f"{trip.id} trips at {outside[0]:g} within {delay_s:.3g} s and has no range to be moved")


def _moved(c: Characteristic, x_pu: float) -> float:
    """What is fed in lifts the voltage at the charger, what is charged pulls it down; never to the better."""
    if c.power_pu.value < 0.0:
        return 1.0 / LIFT if x_pu < 1.0 else 1.0
    return LIFT if x_pu > 1.0 else 1.0


def _moves(
    shape: Shape, c: Characteristic, hold_s: float, subject: Subject
) -> tuple[tuple[Step, ...], tuple[Instant, ...]]:
    """The input is stepped from one value to the next; an instant for each, at which the capture shows it."""
    was = {"pcc_va_v": 1.0, "pcc_f_hz": subject.code.nominal_f_hz, "ac_w": c.power_pu.value}[shape.x]
    channel = {"pcc_va_v": "grid_va_pu", "pcc_f_hz": "grid_f_hz", "ac_w": "asked_w"}[shape.x]
    scale = -subject.rated_w if shape.x == "ac_w" else 1.0
    instants: list[Instant] = []
    for n, value in enumerate(c.at, 1):
        half = 0.5 * (was + value) * scale
        band = Band(channel, low=half) if (value - was) * scale > 0.0 else Band(channel, high=half)
        after = instants[-1].name if instants else "start"
        instants.append(Instant(f"step{n}", band, after, 0.5 * hold_s if instants else 0.0))
        was = value
    if shape.x == "ac_w":
        asked = (Step(at_s=round(BEFORE_S + n * hold_s, 4), ask_w=x * scale) for n, x in enumerate(c.at))
        return tuple(asked), tuple(instants)
    key = "v_pu" if shape.x == "pcc_va_v" else "f_hz"
    played = tuple(GridSegment(hold_s, "step", **{key: x}) for x in c.at)  # type: ignore[arg-type]  # one field or the other
    return (Step(at_s=BEFORE_S, grid=played),), tuple(instants)


def _case(subject: Subject, c: Characteristic, shape: Shape) -> Case:
    m = subject.matrix
    hold_s = _hold_s(subject, shape)
    steps, instants = _moves(shape, c, hold_s, subject)
    says = f"{subject.code.standard} {shape.clause}, {c.name} ({c.conf}: {', '.join(c.src) or 'own choice'}); " + (
        m.because("general.accuracy_factor", "support.hold_olrt")
    )
    x_off, y_off = _off(subject, shape.x), _off(subject, shape.y)

    def follows(instant: str, from_s: float, share: float) -> Must:
        demand = Follow(shape.x, shape.y, shape.points, x_off, y_off, share)
        return Must("follows", says, instant, follow=demand, from_s=from_s, until_s=from_s + 1.0)

    musts = [
        Must("always", "stays connected", band=CLOSED),
        Must("event", "the charger takes the setting", code="grid_controls_refused", at_least=0, at_most=0),
    ]
    for instant in instants:
        if shape.olrt_s >= m("support.share_from_s"):
            musts.append(follows(instant.name, shape.olrt_s - 0.5, shape.share))
        musts.append(follows(instant.name, hold_s - 1.3, 1.0))
    power_w = -c.power_pu.value * subject.rated_w
    first = (Step(at_s=SET_S, controls=shape.controls),) if shape.controls else ()
    inputs = ", ".join(f"{x:g}" for x in c.at)
    flow = "at" if power_w < 0.0 else "while charging with"
    of = {"pcc_va_v": "pu of the voltage", "pcc_f_hz": "Hz", "ac_w": "pu of power"}[shape.x]
    return subject.case(
        "support",
        f"support/{c.name}",
        f"{shape.clause}, {inputs} {of} {flow} {abs(c.power_pu.value):g} pu, response {shape.olrt_s:g} s",
        shape.clause,
        start=Start("transfer", power_w),
        steps=(*first, *steps),
        instants=instants,
        musts=tuple(musts),
        duration_s=BEFORE_S + len(instants) * hold_s,
        adjust={**quick(subject.code), **_outwards(subject)},
        record_hz=100.0,
    )
