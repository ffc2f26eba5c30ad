"""Controls that somebody else sets (a back end, a grid operator): what they are, who wins, and until when.

Pure: the time is given. `Book` keeps the controls, `effective.compose` lays the active ones over a profile.

A control is a *default* (in force from when it is set, until it is cleared) or *scheduled* (from `start` to `end`).
Within one kind and one of these two classes one control counts: the lower `priority` wins, of equal ones the older.
Whoever begins to count supersedes the others of its kind and class that overlap with it, for good. Of the two classes
the scheduled one stands over the default, and that over the profile; must-trips are the exception: there the tightest
of all of them holds (effective.py). The rules are those of OCPP 2.1, block R, as public software implements them; how
the classes combine is left open there and is our own choice.

Times of a book are wall time (s since the epoch): a schedule outlives a restart.
"""

from __future__ import annotations

import enum
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

MAX_CONTROLS = 100  # own choice: far above what one charger is sent, below what would make a file or a tick long
MAX_ID_CHARS = 36  # OCPP 2.1, SetDERControlRequest.controlId
MAX_POINTS = 10  # OCPP 2.1, DERCurveType.curveData
MAX_DURATION_S = 366 * 86_400.0  # own choice: a year
SCHEMA = 1


class ControlRefused(ValueError):
    """A control that cannot be taken. The text is one sentence: what, where, what is allowed."""


class Kind(enum.Enum):
    """What a control sets. Signs: P + = charging, Q + = absorbing; pu of rated power, V in pu of nominal."""

    VOLT_VAR = "volt_var"
    VOLT_WATT = "volt_watt"
    FREQ_DROOP = "freq_droop"
    FREQ_WATT = "freq_watt"
    WATT_VAR = "watt_var"
    WATT_PF = "watt_pf"
    FIXED_PF = "fixed_pf"
    FIXED_PF_CHARGING = "fixed_pf_charging"
    FIXED_PF_DISCHARGING = "fixed_pf_discharging"
    FIXED_VAR = "fixed_var"
    POWER_LIMIT = "power_limit"
    RAMPS = "ramps"
    ENTER_SERVICE = "enter_service"
    HV_MUST_TRIP = "hv_must_trip"
    LV_MUST_TRIP = "lv_must_trip"
    HF_MUST_TRIP = "hf_must_trip"
    LF_MUST_TRIP = "lf_must_trip"
    HV_MAY_TRIP = "hv_may_trip"
    LV_MAY_TRIP = "lv_may_trip"
    HF_MAY_TRIP = "hf_may_trip"
    LF_MAY_TRIP = "lf_may_trip"
    HV_MOMENTARY_CESSATION = "hv_momentary_cessation"
    LV_MOMENTARY_CESSATION = "lv_momentary_cessation"


@dataclass(frozen=True, slots=True)
class Field:
    """One number of a control: its unit and what it may be at all (a profile may allow less)."""

    unit: str
    low: float
    high: float
    needed: bool = True


_PU = Field("pu", 0.0, 1.0)
_RESPONSE = Field("s", 0.0, 1000.0, needed=False)  # time to 90 % of a change; the profile's own where it is not given
_V = ("V pu", 0.0, 2.0)
_P = ("P pu", -1.0, 1.0)
_Q = ("Q pu", -1.0, 1.0)
_S = ("s", 0.0, 3600.0)
_HZ = ("Hz", 40.0, 70.0)
Axis = tuple[str, float, float]
LEAST_PF = 0.1  # own choice: below it hardly any active power is left beside the reactive power
# Below 0.7071 the reactive power at full active power would be more than the rated apparent power.
_ONE_WAY = {"pf": Field("1", 0.7072, 1.0), "absorbing": Field("0 or 1", 0.0, 1.0), "response_s": _RESPONSE}

# kind -> numbers; (x, y) of `points` stands in POINTS. What is not named here is refused.
NUMBERS: dict[Kind, dict[str, Field]] = {
    Kind.VOLT_VAR: {
        "response_s": _RESPONSE,
        "vref_pu": Field("pu", 0.95, 1.05, needed=False),
        "autonomous_s": Field("s", 300.0, 5000.0, needed=False),
    },
    Kind.VOLT_WATT: {"response_s": _RESPONSE},
    Kind.WATT_VAR: {"response_s": _RESPONSE},
    Kind.WATT_PF: {"response_s": _RESPONSE},
    Kind.FREQ_WATT: {"response_s": _RESPONSE},
    Kind.FREQ_DROOP: {
        "db_of_hz": Field("Hz", 0.0, 5.0),
        "db_uf_hz": Field("Hz", 0.0, 5.0),
        "k_of": Field("pu/pu", 0.002, 1.0),
        "k_uf": Field("pu/pu", 0.002, 1.0),
        "response_s": _RESPONSE,
    },
    # 1 absorbs, 0 injects: a number like all others, so that a control is numbers and points only.
    Kind.FIXED_PF: {"pf": Field("1", LEAST_PF, 1.0), "absorbing": Field("0 or 1", 0.0, 1.0), "response_s": _RESPONSE},
    Kind.FIXED_PF_CHARGING: _ONE_WAY,
    Kind.FIXED_PF_DISCHARGING: _ONE_WAY,
    Kind.FIXED_VAR: {"q_pu": Field("pu", -1.0, 1.0), "response_s": _RESPONSE},
    Kind.POWER_LIMIT: {"charge_pu": _PU, "discharge_pu": _PU, "response_s": _RESPONSE},
    Kind.RAMPS: {
        "normal_pu_per_s": Field("pu/s", 0.0001, 100.0, needed=False),
        "soft_start_pu_per_s": Field("pu/s", 0.0001, 100.0, needed=False),
    },
    Kind.ENTER_SERVICE: {
        "v_min": Field("pu", 0.0, 1.0, needed=False),
        "v_max": Field("pu", 1.0, 2.0, needed=False),
        "f_min": Field("Hz", 40.0, 70.0, needed=False),
        "f_max": Field("Hz", 40.0, 70.0, needed=False),
        "delay_s": Field("s", 0.0, 3600.0, needed=False),
        "ramp_duration_s": Field("s", 1.0, 3600.0, needed=False),
        "ramp_pu_per_min": Field("pu/min", 0.001, 60.0, needed=False),
    },
    Kind.HV_MOMENTARY_CESSATION: {"threshold_pu": Field("pu", 1.0, 2.0)},
    Kind.LV_MOMENTARY_CESSATION: {"threshold_pu": Field("pu", 0.0, 1.0)},
}
POINTS: dict[Kind, tuple[Axis, Axis]] = {
    Kind.VOLT_VAR: (_V, _Q),
    Kind.VOLT_WATT: (_V, ("limit of discharging, pu", 0.0, 1.0)),
    Kind.WATT_VAR: (_P, _Q),
    Kind.WATT_PF: (_P, ("power factor, + absorbs, - injects", -1.0, 1.0)),
    Kind.FREQ_WATT: (_HZ, _P),
    Kind.HV_MUST_TRIP: (_V, _S),
    Kind.LV_MUST_TRIP: (_V, _S),
    Kind.HF_MUST_TRIP: (_HZ, _S),
    Kind.LF_MUST_TRIP: (_HZ, _S),
    Kind.HV_MAY_TRIP: (_V, _S),
    Kind.LV_MAY_TRIP: (_V, _S),
    Kind.HF_MAY_TRIP: (_HZ, _S),
    Kind.LF_MAY_TRIP: (_HZ, _S),
}
# One of these at a time (IEEE 1547-2018, clause 5.3.1); the two of ONE_WAY, one for each direction, count as one.
ONE_WAY = (Kind.FIXED_PF_CHARGING, Kind.FIXED_PF_DISCHARGING)
REACTIVE = (Kind.VOLT_VAR, Kind.WATT_VAR, Kind.WATT_PF, Kind.FIXED_PF, Kind.FIXED_VAR, *ONE_WAY)
MUST_TRIP = (Kind.HV_MUST_TRIP, Kind.LV_MUST_TRIP, Kind.HF_MUST_TRIP, Kind.LF_MUST_TRIP)
MAY_TRIP = (Kind.HV_MAY_TRIP, Kind.LV_MAY_TRIP, Kind.HF_MAY_TRIP, Kind.LF_MAY_TRIP)
DEFAULT_ONLY = (Kind.RAMPS, Kind.ENTER_SERVICE)  # OCPP 2.1: Gradients and EnterService cannot be scheduled


@dataclass(frozen=True, slots=True)
class Control:
    """One control. Made by `control_of`, which checks it.

    priority: 0 is the highest. start_s, end_s: wall time; a default has neither, a scheduled one both (end_s may be
    infinite: until superseded or cleared). by: who set it. set_no: the order in which a book took them.
    """

    id: str
    kind: Kind
    is_default: bool
    priority: int
    start_s: float
    end_s: float
    by: str
    points: tuple[tuple[float, float], ...] = ()
    numbers: tuple[tuple[str, float], ...] = ()
    set_no: int = 0

    def number(self, key: str, default: float | None = None) -> float | None:
        return dict(self.numbers).get(key, default)

    def runs(self, now_s: float) -> bool:
        return self.start_s <= now_s < self.end_s

    @property
    def rank(self) -> tuple[int, int]:
        """The lowest counts."""
        return self.priority, self.set_no

    def overlaps(self, other: Control) -> bool:
        return self.start_s < other.end_s and other.start_s < self.end_s


def control_of(raw: Mapping[str, Any], now_s: float, by: str) -> Control:
    """A control from a table of TOML or JSON. Raises ControlRefused with the first thing that is wrong.

    Keys: id, kind; default (false), priority (0); start_s (now), duration_s (no end); points, and the numbers of the
    kind. Unknown keys are refused.
    """
    table = dict(raw)
    name = table.pop("id", None)
    if not (isinstance(name, str) and 1 <= len(name) <= MAX_ID_CHARS and name.isprintable()):
        raise ControlRefused(f"id must be 1 to {MAX_ID_CHARS} printable characters, not {name!r}")

    def fail(text: str) -> ControlRefused:
        return ControlRefused(f"control {name}: {text}")

    def number(key: str, value: object, low: float, high: float, unit: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise fail(f"{key} is {value!r}; allowed: {low:g} to {high:g} {unit}".rstrip())
        return float(value)

    word = table.pop("kind", None)
    kinds = {kind.value: kind for kind in Kind}
    if not isinstance(word, str) or word not in kinds:
        raise fail(f"there is no kind {word!r}; kinds: {', '.join(kinds)}")
    kind = kinds[word]
    is_default = table.pop("default", False)
    if not isinstance(is_default, bool):
        raise fail(f"default must be true or false, not {is_default!r}")
    priority = table.pop("priority", 0)
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= 1_000_000:
        raise fail(f"priority is {priority!r}; allowed: whole numbers from 0, the highest, to 1000000")
    if is_default and ("start_s" in table or "duration_s" in table):
        raise fail("a default has neither start_s nor duration_s: it is in force until it is cleared")
    if not is_default and kind in DEFAULT_ONLY:
        raise fail(f"{kind.value} can only be a default, not scheduled")
    start_s, end_s = -math.inf, math.inf
    if not is_default:
        horizon = (now_s - MAX_DURATION_S, now_s + MAX_DURATION_S)
        start_s = number("start_s", table.pop("start_s", now_s), *horizon, "s since the epoch (a year around now)")
        if "duration_s" in table:
            end_s = start_s + number("duration_s", table.pop("duration_s"), 1.0, MAX_DURATION_S, "s")
        if end_s <= now_s:
            raise fail("it is over already: start_s and duration_s end in the past")
    points = _points(table.pop("points", None), POINTS.get(kind), fail, number)
    known = NUMBERS.get(kind, {})
    unknown = [key for key in table if key not in known]
    if unknown:
        allowed = ["id", "kind", "default", "priority", "start_s", "duration_s", *known]
        raise fail(f"unknown keys: {', '.join(map(str, unknown))}; a {kind.value} has {', '.join(allowed)}"
                   + (", points" if kind in POINTS else ""))  # fmt: skip
    found = []
    for key, field_ in known.items():
        if key in table:
            found.append((key, number(key, table[key], field_.low, field_.high, field_.unit)))
        elif field_.needed:
            raise fail(f"{key} is missing ({field_.low:g} to {field_.high:g} {field_.unit})")
    if not found and not points:
        raise fail(f"it sets nothing; a {kind.value} has {', '.join(known)}")
    if kind in (Kind.FIXED_PF, *ONE_WAY) and dict(found)["absorbing"] not in (0.0, 1.0):
        raise fail("absorbing must be 1 (absorbs) or 0 (injects)")
    if kind is Kind.WATT_PF and any(abs(pf) < LEAST_PF for _, pf in points):
        raise fail(f"the power factors must be {LEAST_PF:g} to 1 (absorbs) or -{LEAST_PF:g} to -1 (injects)")
    return Control(name, kind, is_default, priority, start_s, end_s, by, points, tuple(found))


def _points(raw: object, axes: tuple[Axis, Axis] | None, fail: Any, number: Any) -> tuple[tuple[float, float], ...]:
    if axes is None:
        if raw is not None:
            raise fail("this kind has no points")
        return ()
    if not isinstance(raw, list | tuple) or not 1 <= len(raw) <= MAX_POINTS:
        raise fail(f"points must be 1 to {MAX_POINTS} pairs [x, y]")
    (x_unit, x_low, x_high), (y_unit, y_low, y_high) = axes
    found = []
    for i, pair in enumerate(raw):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise fail(f"points.{i} must be a pair [{x_unit}, {y_unit}]")
        found.append(
            (number(f"points.{i} x", pair[0], x_low, x_high, x_unit),
             number(f"points.{i} y", pair[1], y_low, y_high, y_unit))
        )  # fmt: skip
    return tuple(found)


def as_dict(control: Control) -> dict[str, Any]:
    """Plain JSON: what a file and a message to guard carry. `from_dict` is its inverse."""
    plain = asdict(control)
    plain["kind"] = control.kind.value
    for key in ("start_s", "end_s"):  # JSON knows no infinity
        plain[key] = plain[key] if math.isfinite(plain[key]) else None
    return plain


def _is_time(value: object) -> bool:
    """Seconds since the epoch, or None for none."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12)


def from_dict(raw: Mapping[str, Any]) -> Control:
    """A control as `as_dict` wrote it, checked again: a file may have been touched. Raises ControlRefused."""
    plain = dict(raw)
    try:
        start_s, end_s, set_no, by = plain.pop("start_s"), plain.pop("end_s"), plain.pop("set_no"), plain.pop("by")
        numbers = {str(key): value for key, value in plain.pop("numbers")}
        table: dict[str, Any] = {
            "id": plain.pop("id"), "kind": plain.pop("kind"), "default": plain.pop("is_default"),
            "priority": plain.pop("priority"), **numbers,
        }  # fmt: skip
        points = plain.pop("points")
        for value in (start_s, end_s):
            if not _is_time(value):
                raise TypeError(f"{value!r} is no time")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ControlRefused(f"a stored control is not complete: {error!r}") from None
    if plain or not isinstance(by, str) or isinstance(set_no, bool) or not isinstance(set_no, int):
        raise ControlRefused(f"a stored control has wrong or unknown fields: {', '.join(plain) or 'by, set_no'}")
    if points:
        table["points"] = points
    start = -math.inf if start_s is None else float(start_s)
    end = math.inf if end_s is None else float(end_s)
    found = control_of(table, 0.0, by)
    if found.is_default != (start == -math.inf) or (found.is_default and end != math.inf) or not start < end:
        raise ControlRefused(f"control {found.id}: its stored times do not fit together")
    return Control(
        found.id, found.kind, found.is_default, found.priority, start, end, by, found.points, found.numbers, set_no
    )


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a control of `by`: it started, ended, or was superseded (then `other` says by which)."""

    at_s: float
    id: str
    what: str
    by: str
    other: str = ""


@dataclass(slots=True)
class Book:
    """All controls of one charger, by id. Call `advance` before `set`, so that what was due before has happened."""

    controls: dict[str, Control] = field(default_factory=dict)
    next_no: int = 1
    now_s: float = -math.inf  # everything due until then has happened

    def set(self, control: Control, now_s: float) -> tuple[str, ...]:
        """Take a control. Returns the ids that it supersedes, now or when it starts, or its own id when it is the one
        superseded. Raises ControlRefused (id in use, book full) and changes nothing."""
        if control.id in self.controls:
            raise ControlRefused(f"control {control.id}: there is one of this id already; clear it first")
        if len(self.controls) >= MAX_CONTROLS:
            raise ControlRefused(f"control {control.id}: there are {MAX_CONTROLS} controls already; clear one first")
        taken = replace(control, set_no=self.next_no)
        if self.now_s == -math.inf:
            self.now_s = now_s
        self.next_no += 1
        self.controls[taken.id] = taken
        rivals = [c for c in self._rivals(taken) if c.overlaps(taken)]
        if any(c.rank < taken.rank for c in rivals):
            return (taken.id,)
        return tuple(sorted(c.id for c in rivals))

    def clear(self, control_id: str) -> Control:
        """Forget one. Raises ControlRefused when there is none."""
        found = self.controls.pop(control_id, None)
        if found is None:
            there = ", ".join(sorted(self.controls)) or "none"
            raise ControlRefused(f"there is no control {control_id!r}; there are: {there}")
        return found

    def advance(self, now_s: float) -> tuple[Change, ...]:
        """Everything that was due up to now_s, in its order: the result does not depend on how often this is called.

        A clock that was set back changes nothing that has happened: what had begun goes on until its end by the new
        clock, also where its start lies ahead again; a limit does not vanish because the wall clock was corrected.
        """
        if now_s < self.now_s:
            for control in self.controls.values():
                if now_s < control.start_s <= self.now_s:
                    self.controls[control.id] = replace(control, start_s=now_s)
            self.now_s = now_s
        changes: list[Change] = []
        before = self.now_s
        due = {max(c.start_s, before) for c in self.controls.values()} | {c.end_s for c in self.controls.values()}
        for at_s in sorted(t for t in due if before <= t <= now_s) or [now_s]:
            self._at(at_s, changes, before)
        self.now_s = now_s
        return tuple(changes)

    def _at(self, at_s: float, changes: list[Change], before: float) -> None:
        for control in sorted(self.controls.values(), key=lambda c: c.set_no):
            if control.end_s <= at_s:
                del self.controls[control.id]
                changes.append(Change(control.end_s, control.id, "ended", control.by))
        for control in sorted(self.controls.values(), key=lambda c: c.rank):
            if control.id not in self.controls or not control.runs(at_s):
                continue
            if before < control.start_s == at_s:
                changes.append(Change(at_s, control.id, "started", control.by))
            for rival in self._rivals(control):
                # Who has not begun yet may still win over this one; of two that have, the rank decides.
                if rival.rank > control.rank and rival.overlaps(control):
                    del self.controls[rival.id]
                    changes.append(Change(at_s, rival.id, "superseded", rival.by, control.id))

    def _rivals(self, control: Control) -> list[Control]:
        return [
            c
            for c in self.controls.values()
            if c.id != control.id and (c.kind, c.is_default) == (control.kind, control.is_default)
        ]

    def active(self, now_s: float) -> tuple[Control, ...]:
        """The controls that count at now_s: at most one of a kind and class. In an order of their own (kind, class)."""
        best: dict[tuple[str, bool], Control] = {}
        for control in self.controls.values():
            key = (control.kind.value, control.is_default)
            if control.runs(now_s) and (key not in best or control.rank < best[key].rank):
                best[key] = control
        return tuple(best[key] for key in sorted(best))

    def instants(self, now_s: float) -> tuple[float, ...]:
        """now_s and every later moment at which another set of controls may count."""
        ends = {t for c in self.controls.values() for t in (c.start_s, c.end_s) if now_s < t < math.inf}
        return (now_s, *sorted(ends))

    def as_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "next_no": self.next_no,
            "now_s": self.now_s if math.isfinite(self.now_s) else None,
            "controls": [as_dict(c) for c in sorted(self.controls.values(), key=lambda c: c.set_no)],
        }

    @classmethod
    def from_dict(cls, raw: object) -> Book:
        """A book as `as_dict` wrote it. Raises ControlRefused: a file that is not understood is not half used."""
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA or set(raw) != {
            "schema", "next_no", "now_s", "controls"
        }:  # fmt: skip
            raise ControlRefused(f"this is no book of controls of schema {SCHEMA}")
        next_no, now_s = raw["next_no"], raw["now_s"]
        whole = isinstance(next_no, int) and not isinstance(next_no, bool)
        if not whole or not isinstance(raw["controls"], list) or not _is_time(now_s):
            raise ControlRefused("the book of controls has a field of the wrong type")
        book = cls(next_no=next_no, now_s=-math.inf if now_s is None else float(now_s))
        for entry in raw["controls"]:
            if not isinstance(entry, dict):
                raise ControlRefused("the book of controls has an entry that is no table")
            control = from_dict(entry)
            if control.id in book.controls or len(book.controls) >= MAX_CONTROLS or control.set_no >= next_no:
                raise ControlRefused(f"control {control.id}: twice in the book, one too many, or out of its order")
            book.controls[control.id] = control
        return book


def hash_of(controls: Iterable[Control]) -> str:
    """SHA-256 over controls, for the log: the same set gives the same hash, whatever their order."""
    plain = sorted((as_dict(c) for c in controls), key=lambda c: str(c["id"]))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
