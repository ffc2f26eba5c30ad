"""What may be set from the screen: controls over the grid code, with their ranges, and what a change would do.

The screen has one default control of each kind, named `screen-KIND`. A change is shown before it is applied, number by
number as it would be in force; services put it on trial and take it back when nobody confirms it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from boards import Board
from firmware.grid_codes import GridCode, Setting
from firmware.grid_support.controls import (
    MAY_TRIP,
    MUST_TRIP,
    NUMBERS,
    POINTS,
    ControlRefused,
    Field,
    Kind,
    control_of,
    from_dict,
)
from firmware.grid_support.curve import Curve
from firmware.grid_support.effective import Effective, compose, latest_s, stages
from firmware.grid_support.settings import settings_of
from firmware.guard.assemble import chain_of, code_of
from firmware.web.gate import Denied

CONFIRM_S = (10.0, 600.0)  # how long a trial may last; policy value
PREFIX = "screen-"
TITLES = {
    Kind.POWER_LIMIT: ("Power limit", "Share of rated power, charging and discharging."),
    Kind.ENTER_SERVICE: ("Entering service", "Window, time inside it, and the ramp after it."),
    Kind.RAMPS: ("Ramps", "How fast power may change."),
    Kind.VOLT_VAR: ("Volt-var", "Reactive power over voltage."),
    Kind.VOLT_WATT: ("Volt-watt", "Limit of discharging over voltage."),
    Kind.WATT_VAR: ("Watt-var", "Reactive power over active power."),
    Kind.WATT_PF: ("Power factor over power", "+ absorbs, - injects."),
    Kind.FREQ_DROOP: ("Frequency droop", "Active power over frequency."),
    Kind.FREQ_WATT: ("Frequency curve", "Most charging below nominal, least above it; rises with the frequency."),
    Kind.FIXED_PF: ("Power factor", "Constant, at every power."),
    Kind.FIXED_VAR: ("Reactive power", "Constant."),
    Kind.HV_MUST_TRIP: ("Over-voltage trips", "One stage a line, from nominal outwards; only tighter."),
    Kind.LV_MUST_TRIP: ("Under-voltage trips", "One stage a line, from nominal outwards; only tighter."),
    Kind.HF_MUST_TRIP: ("Over-frequency trips", "One stage a line, from nominal outwards; only tighter."),
    Kind.LF_MUST_TRIP: ("Under-frequency trips", "One stage a line, from nominal outwards; only tighter."),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """A change that may be asked for: what is set, what it takes the place of, and what it does, in words."""

    controls: list[dict[str, Any]]
    replaces: list[str]
    confirm_s: float
    sentence: str


class Parameters:
    """The board's profile, and what controls make of it."""

    def __init__(self, board: Board) -> None:
        """Raises GridCodeError."""
        self._code = code_of(board)
        self._support = settings_of(self._code, max(board.ratings.charge_w, board.ratings.discharge_w))
        self._chain = chain_of(board)

    def in_force(self, answer: dict[str, Any]) -> tuple[Effective, dict[str, dict[str, Any]]]:
        """What `controls` of the control socket says is in force, and the active controls by id."""
        listed = [{key: value for key, value in c.items() if key != "state"} for c in answer["controls"]]
        active = [c for c, raw in zip(listed, answer["controls"], strict=True) if raw["state"] == "active"]
        if answer.get("refused"):
            return Effective(self._code, self._support), {}
        effective = compose(self._code, self._support, self._chain, [from_dict(c) for c in active])
        return effective, {c["id"]: c for c in active}

    def shown(self, answer: dict[str, Any]) -> dict[str, Any]:
        """For the page: every kind with its fields, their ranges and what the screen has set; all numbers in force."""
        effective, _ = self.in_force(answer)
        own = {c["id"]: c for c in answer["controls"]}
        kinds = []
        for kind, (title, text) in TITLES.items():
            if not self._adjustable(kind):
                continue
            mine = own.get(PREFIX + kind.value)
            others = [c for c in own.values() if c["kind"] == kind.value and c is not mine]
            points = [list(p) for p in mine["points"]] if mine else self._points(kind, effective)
            kinds.append({
                "kind": kind.value,
                "title": title,
                "text": text,
                "set": mine is not None,
                "others": [f"{c['id']} of {c['by']}" for c in others],
                "numbers": [
                    {"key": key, "unit": f.unit, "low": f.low, "high": f.high, "needed": f.needed,
                     "value": dict(mine["numbers"]).get(key) if mine else self._number(kind, key, effective)}
                    for key, f in self._fields(kind).items()
                ],
                "axes": [{"unit": a[0], "low": a[1], "high": a[2]} for a in POINTS.get(kind, ())],
                "points": points,
                "stages": [t.id for t in stages(self._code, kind)] if kind in MUST_TRIP else None,
                "ranges": self._ranges(kind),
            })  # fmt: skip
        sources = dict(effective.sources)
        return {
            "kinds": kinds,
            "refused": answer.get("refused", ""),
            "trial": answer.get("trial"),
            "confirm_s": list(CONFIRM_S),
            "code": self._code.title,
            "in_force": [
                {"key": key, "value": s.value if s.known else None, "unit": s.unit, "low": s.min, "high": s.max,
                 "clause": s.clause, "confidence": s.conf.name.lower(), "by": sources.get(key, "")}
                for key, s in effective.code.numbers()
            ],
        }  # fmt: skip

    # --------------------------------------------------------------------------------------------------------- changes
    def changes(self, answer: dict[str, Any], body: dict[str, Any], now_s: float) -> list[dict[str, Any]]:
        """What a change would do to what is in force: key, before, after. Raises Denied with the reason."""
        before, active = self.in_force(answer)
        kind, table = self._table(body)
        kept = [from_dict(c) for name, c in active.items() if name != PREFIX + kind.value]
        try:
            new = [] if table is None else [control_of(table, now_s, "screen")]
            rivals = [c for c in kept if new and c.kind is kind and c.is_default]
            for rival in rivals:
                if rival.priority == 0:  # of equal rank, so the older one counts: Control.rank
                    raise ControlRefused(f"{rival.id} of {rival.by} is older and counts; clear it first")
            kept = [c for c in kept if c not in rivals]
            after = compose(self._code, self._support, self._chain, [*kept, *new])
        except ControlRefused as refusal:
            raise Denied(409, f"{refusal}.") from None
        return difference(before, after)

    def plan(self, answer: dict[str, Any], body: dict[str, Any], now_s: float) -> Plan:
        """Raises Denied: it is refused, or it changes nothing."""
        confirm_s = body.get("confirm_s")
        low, high = CONFIRM_S
        if isinstance(confirm_s, bool) or not isinstance(confirm_s, int | float) or not low <= confirm_s <= high:
            raise Denied(400, f"confirm_s must be {low:g} to {high:g} s.")
        if answer.get("trial"):
            raise Denied(409, "Another change is on trial: keep it or take it back first.")
        kind, table = self._table(body)
        found = self.changes(answer, body, now_s)
        own = PREFIX + kind.value
        there = any(c["id"] == own for c in answer["controls"])
        if not found and (table is None) is not there:
            raise Denied(409, "This changes nothing.")
        told = ", ".join(f"{c['key']} {_word(c['before'])} -> {_word(c['after'])}" for c in found)
        sentence = f"{kind.value}: {told or 'nothing that is in force now'}"
        return Plan([] if table is None else [table], [own] if there else [], float(confirm_s), sentence)

    def _table(self, body: dict[str, Any]) -> tuple[Kind, dict[str, Any] | None]:
        """(kind, the control as a table; None = the screen's own is taken away)."""
        kinds = {kind.value: kind for kind in TITLES}
        kind = kinds.get(str(body.get("kind")))
        if kind is None:
            raise Denied(400, f"kind must be one of {', '.join(kinds)}.")
        if set(body) - {"kind", "numbers", "points", "clear", "confirm_s"}:
            raise Denied(400, "A change has kind, numbers, points, clear and confirm_s.")
        if body.get("clear") is True:
            return kind, None
        numbers, points = body.get("numbers", {}), body.get("points")
        if not isinstance(numbers, dict) or not set(numbers) <= set(NUMBERS.get(kind, {})):
            raise Denied(400, f"numbers must be among {', '.join(NUMBERS.get(kind, {})) or 'none'}.")
        table = {"id": PREFIX + kind.value, "kind": kind.value, "default": True, **numbers}
        return kind, table | ({"points": points} if points else {})

    # ----------------------------------------------------------------------------------------------- what is there now
    def _adjustable(self, kind: Kind) -> bool:
        if kind in MUST_TRIP:
            return any(s.min is not None for trip in stages(self._code, kind) for _, s in trip.numbers())
        return bool(self._fields(kind) or kind in POINTS)

    def _fields(self, kind: Kind) -> dict[str, Field]:
        """The numbers of a kind that may be set here: of entering service only what the code lets anybody move."""
        fields = NUMBERS.get(kind, {})
        if kind is not Kind.ENTER_SERVICE:
            return fields
        found = {}
        for key, field in fields.items():
            setting: Setting | None = getattr(self._code.enter_service, key)
            if setting is not None and setting.min is not None and setting.max is not None:
                found[key] = dataclasses.replace(field, low=setting.min, high=setting.max)
        return found

    def _ranges(self, kind: Kind) -> list[list[Any]]:
        """Of each stage: [threshold low, high, seconds low, high], None where the code lets nobody move it."""
        if kind not in MUST_TRIP:
            return []
        found = []
        for trip in stages(self._code, kind):
            seconds = latest_s(trip)[1]
            found.append([trip.threshold.min, trip.threshold.max, seconds.min, seconds.max])
        return found

    def _points(self, kind: Kind, effective: Effective) -> list[list[float]]:
        if kind in MUST_TRIP or kind in MAY_TRIP:
            return [[t.threshold.value, latest_s(t)[1].value] for t in stages(effective.code, kind)]
        section = effective.code.section(kind.value)
        for _, curve in section.curves if section is not None else ():
            return [list(point) for point in curve.points]
        return []

    def _number(self, kind: Kind, key: str, effective: Effective) -> float | None:
        if kind is Kind.POWER_LIMIT and key != "response_s":
            return 1.0
        if kind is Kind.ENTER_SERVICE:
            setting = getattr(effective.code.enter_service, key)
            return setting.value if setting is not None else None
        return None


def difference(before: Effective, after: Effective) -> list[dict[str, Any]]:
    """Every number and function that is not the same; who set it counts too."""
    old, new = dict(_flat(before)), dict(_flat(after))
    keys = [*old, *(key for key in new if key not in old)]
    return [
        {"key": key, "before": old.get(key), "after": new.get(key)}
        for key in keys
        if old.get(key) != new.get(key)
    ]  # fmt: skip


def _flat(effective: Effective) -> Iterator[tuple[str, Any]]:
    code: GridCode = effective.code
    for key, setting in code.numbers():
        yield key, setting.value if setting.known else None
    for i, row in enumerate(code.ride_through):
        yield f"ride_through.{i}.mode", row.mode.value
    yield from _leaves("support", effective.support)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _leaves(f"{name}.{field.name}", getattr(value, field.name))
    elif isinstance(value, Curve):
        yield name, " ".join(f"({x:g}, {y:g})" for x, y in value.points)
    elif isinstance(value, float) and not math.isfinite(value):
        yield name, None
    elif isinstance(value, tuple):
        yield name, ", ".join(map(str, value))
    else:
        yield name, value if isinstance(value, int | float | str | None) else str(value)


def _word(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
