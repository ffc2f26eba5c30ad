"""The back end watches variables (block N: monitors), and is told of faults: NotifyEvent.

Every variable of the device model can be watched that is a number (thresholds, deltas, periods), and every other one
for changes (Delta) and by period. What is watched, the level of severity and nothing else outlives power: after a
restart a threshold that is exceeded is told again. A fault of the charger is told as an event of its own
(ChargingStation.Problem, hard-wired) with the fault's words; it cannot be switched off.

A monitor of a transaction (`transaction`) watches while one runs. Events without a connection wait, at most MAX_EVENTS,
the oldest go first. TargetDelta needs an attribute Target, which no variable here has.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.checks import Objection, rejected
from firmware.bridges.ocpp.device_model import ITEMS, Row, component_of, variable_of
from firmware.bridges.ocpp.dialect import Code, Dialect
from firmware.bridges.ocpp.function import Function, Json, Refusal
from firmware.bridges.ocpp.rpc import DISCONNECTED, NO_ANSWER
from firmware.bridges.ocpp.variables import DeviceModel, wanted_row
from firmware.bridges.ocpp.view import View

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

KEPT = "monitors"  # name in the outbox
MAX_MONITORS = 50  # policy value
MAX_EVENTS = 200  # policy value: events that wait to be told
EVENTS_A_MESSAGE = 20  # policy value
LEAST_S = 1.0  # policy value: an event of one monitor at most so often
LOWEST_SEVERITY = 9  # of OCPP's ten, 0 is the worst
PROBLEM_SEVERITY = 2  # "Hardware Failure" in OCPP's list

_CRITERIA = {
    "UpperThreshold": "ThresholdMonitoring",
    "LowerThreshold": "ThresholdMonitoring",
    "Delta": "DeltaMonitoring",
    "Periodic": "PeriodicMonitoring",
    "PeriodicClockAligned": "PeriodicMonitoring",
}
_NUMBERS = ("integer", "decimal")


@dataclass(slots=True)
class Monitor:
    """One monitor. asked: as the back end set it, with its id. The rest is where it stands: `alert`: its threshold is
    exceeded; last: the value last told (Delta); due_s: monotonic or, clock-aligned, wall time of the next event."""

    row: Row
    asked: Json
    alert: bool = False
    last: str | None = None
    due_s: float | None = None
    quiet_until_s: float = field(default=-math.inf)

    @property
    def id(self) -> int:
        return int(self.asked["id"])

    def look(self, now: float, wall_s: float, text: str) -> tuple[str, bool] | None:
        """(trigger, cleared) of the event that the value `text` makes now; None: none."""
        kind, value = self.asked["type"], float(self.asked["value"])
        if kind in ("Periodic", "PeriodicClockAligned"):
            clock_s = now if kind == "Periodic" else wall_s
            if self.due_s is None or clock_s < self.due_s - 2.0 * value:  # new, or the clock was set back
                self.due_s = clock_s + value if kind == "Periodic" else _aligned(clock_s, value)
            if clock_s < self.due_s:
                return None
            self.due_s = clock_s + value if kind == "Periodic" else _aligned(clock_s, value)
            return "Periodic", False
        if now < self.quiet_until_s:
            return None
        found = self._changed(kind, value, text)
        if found is not None:
            self.quiet_until_s = now + LEAST_S
        return found

    def _changed(self, kind: str, value: float, text: str) -> tuple[str, bool] | None:
        if kind == "Delta":
            if self.last is None:
                self.last = text
                return None
            number, before = _number(text), _number(self.last)
            if number is None or before is None:
                moved = text != self.last
            else:
                moved = number != before and abs(number - before) >= value
            if not moved:
                return None
            self.last = text
            return "Delta", False
        number = _number(text)
        if number is None:
            return None
        beyond = number > value if kind == "UpperThreshold" else number < value
        if beyond is self.alert:
            return None
        self.alert = beyond
        return "Alerting", not beyond


def _aligned(wall_s: float, period_s: float) -> float:
    """The next moment after wall_s that is a multiple of the period since midnight UTC."""
    midnight_s = wall_s - wall_s % 86_400.0
    return midnight_s + (math.floor((wall_s - midnight_s) / period_s) + 1) * period_s


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


class Monitors(Function):
    """SetVariableMonitoring, ClearVariableMonitoring, SetMonitoringBase, SetMonitoringLevel, GetMonitoringReport,
    NotifyMonitoringReport, NotifyEvent; of 2.x only."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self.monitors: dict[int, Monitor] = {}
        self.level = LOWEST_SEVERITY
        self._next_id = 1
        self._event_id = 0
        self._events: deque[Json] = deque()
        self._sent = 0  # how many of them the open call has
        self._reports: deque[Json] = deque()
        self._problem: str | None = None  # the faults as last told
        self._kept: Any = station.outbox.state(KEPT)

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        calls = {
            "SetVariableMonitoring", "ClearVariableMonitoring", "SetMonitoringBase", "SetMonitoringLevel",
            "GetMonitoringReport",
        }  # fmt: skip
        return frozenset(calls) if dialect.two else frozenset()

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"NotifyMonitoringReport", "NotifyEvent"}) if dialect.two else frozenset()

    # --------------------------------------------------------------------------------------------------------- calls
    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        self._resume()
        match action:
            case "SetVariableMonitoring":
                asked = _limited(payload["setMonitoringData"])
                return {"setMonitoringResult": [self._set(item) for item in asked]}
            case "ClearVariableMonitoring":
                return {"clearMonitoringResult": [self._clear(id) for id in _limited(payload["id"])]}
            case "SetMonitoringBase":
                if payload["monitoringBase"] != "All":  # there are none but those that the back end has set
                    self._keep({}, self.level)
                return {"status": "Accepted"}
            case "SetMonitoringLevel":
                if not 0 <= payload["severity"] <= LOWEST_SEVERITY:
                    sentence = f"severity = {payload['severity']}; allowed: 0 to {LOWEST_SEVERITY}"
                    return rejected(Objection("InvalidValue", sentence))
                self._keep(self.monitors, payload["severity"])
                return {"status": "Accepted"}
            case _:
                return self._report(now, payload)

    def _set(self, item: Json) -> Json:
        row = self._model.find(item)
        status, why, id = (row, "", None) if isinstance(row, str) else self._take(row, item)
        echo = {key: item[key] for key in ("type", "component", "variable", "severity")}
        found = echo | {"status": status} | ({} if id is None else {"id": id})
        return found | ({"statusInfo": {"reasonCode": "InvalidValue", "additionalInfo": why}} if why else {})

    def _take(self, row: Row, item: Json) -> tuple[str, str, int | None]:
        kind, value, id = item["type"], item["value"], item.get("id")
        objection = _objection(row, item)
        if kind not in _CRITERIA or (row.kind not in _NUMBERS and _CRITERIA[kind] == "ThresholdMonitoring"):
            return "UnsupportedMonitorType", "", None
        if objection:
            return "Rejected", objection, None
        if id is not None and (id not in self.monitors or self.monitors[id].row is not row):
            return "Rejected", f"there is no monitor {id} of this variable", None
        twin = (row, kind, item["severity"])
        if any((m.row, m.asked["type"], m.asked["severity"]) == twin for m in self.monitors.values() if m.id != id):
            return "Duplicate", "", None
        if id is None and len(self.monitors) >= MAX_MONITORS:
            return "Rejected", f"there are {MAX_MONITORS} monitors already", None
        new_id = self._next_id if id is None else id
        asked = {"id": new_id, "type": kind, "value": value, "severity": item["severity"]}
        asked["transaction"] = item.get("transaction", False)
        self._keep({**self.monitors, new_id: Monitor(row, asked)}, self.level)
        self._next_id = max(self._next_id, new_id + 1)
        return "Accepted", "", new_id

    def _clear(self, id: int) -> Json:
        if id not in self.monitors:
            return {"id": id, "status": "NotFound"}
        self._keep({other: m for other, m in self.monitors.items() if other != id}, self.level)
        return {"id": id, "status": "Accepted"}

    def _keep(self, monitors: dict[int, Monitor], level: int) -> None:
        shown = [{"label": m.row.label, "asked": m.asked} for m in monitors.values()]
        self.station.outbox.keep(KEPT, {"monitors": shown, "level": level})
        self.monitors, self.level = monitors, level

    def _resume(self) -> None:
        """What was kept before this start. Later than in __init__: the functions know of one another only then."""
        kept, self._kept = self._kept, None
        if kept is None:
            return
        by_label = {row.label: row for row in self._model.rows}
        try:
            self.level = kept["level"]
            for entry in kept["monitors"]:
                if (row := by_label.get(entry["label"])) is not None:
                    monitor = Monitor(row, {**entry["asked"], "transaction": bool(entry["asked"]["transaction"])})
                    self.monitors[monitor.id] = monitor
        except (KeyError, TypeError, ValueError) as error:
            self.station.say(f"The stored monitors cannot be understood and are forgotten: {error!r}.")
        self._next_id = max(self.monitors, default=0) + 1

    # -------------------------------------------------------------------------------------------------------- report
    def _report(self, now: float, payload: Json) -> Json:
        criteria, asked = payload.get("monitoringCriteria"), payload.get("componentVariable")
        chosen: dict[str, list[Monitor]] = {}
        for m in self.monitors.values():
            if criteria is not None and _CRITERIA[m.asked["type"]] not in criteria:
                continue
            if asked is not None and not any(wanted_row(m.row, item) for item in asked):
                continue
            chosen.setdefault(m.row.label, []).append(m)
        if not chosen:
            return {"status": "EmptyResultSet"}
        groups = list(chosen.values())
        parts = [groups[at : at + ITEMS] for at in range(0, len(groups), ITEMS)]
        for number, part in enumerate(parts):
            self._reports.append(
                {
                    "requestId": payload["requestId"],
                    "generatedAt": times.show(self.station.wall_s(now)),
                    "seqNo": number,
                    "tbc": number + 1 < len(parts),
                    "monitor": [self._entry(group) for group in part],
                }
            )
        return {"status": "Accepted"}

    def _entry(self, group: list[Monitor]) -> Json:
        more = {"eventNotificationType": "CustomMonitor"} if self._new else {}
        shown = [m.asked | more for m in group]
        row = group[0].row
        return {"component": component_of(row), "variable": variable_of(row), "variableMonitoring": shown}

    # -------------------------------------------------------------------------------------------------------- events
    def observe(self, view: View) -> None:
        self._resume()
        with_tx = self.station.transactions.id is not None
        for m in self.monitors.values():
            if m.asked["transaction"] and not with_tx:
                m.alert, m.last, m.due_s = False, None, None
                continue
            text = m.row.read(self.station, view.t)
            found = m.look(view.t, self.station.wall_s(view.t), text)
            if found is not None and m.asked["severity"] <= self.level:
                trigger, cleared = found
                more: Json = {"variableMonitoringId": m.id}
                if trigger == "Alerting":
                    more["cleared"] = cleared
                self._event(view, m.row, text, trigger, "CustomMonitor", m.asked["severity"], more)
        self._problems(view)

    def _problems(self, view: View) -> None:
        problem = "; ".join(view.faults)
        if problem == (self._problem or ""):
            return
        first = self._problem is None and not problem
        self._problem = problem
        row = next(r for r in self._model.rows if r.label == "ChargingStation.Problem")
        if not first:
            more: Json = {"cleared": not problem} | ({"techInfo": problem[:500]} if problem else {})
            text = str(bool(problem)).lower()
            self._event(view, row, text, "Alerting", "HardWiredNotification", PROBLEM_SEVERITY, more)

    def _event(
        self, view: View, row: Row, text: str, trigger: str, notification: str, severity: int, more: Json
    ) -> None:
        self._event_id += 1
        tx = self.station.transactions.id
        event: Json = {
            "eventId": self._event_id,
            "timestamp": times.show(self.station.wall_s(view.t)),
            "trigger": trigger,
            "actualValue": text[:2500],
            "eventNotificationType": notification,
            "severity": severity,
            "component": component_of(row),
            "variable": variable_of(row),
            **more,
        }
        self._events.append(event | ({} if tx is None else {"transactionId": tx}))
        while len(self._events) > MAX_EVENTS:
            if self._sent:  # the head is on its way
                del self._events[self._sent]
            else:
                self._events.popleft()

    def next(self, now: float) -> tuple[str, Json] | None:
        dialect = self.station.dialect
        if dialect is None or not dialect.two:
            return None
        if self._reports:
            return "NotifyMonitoringReport", self._reports[0]
        if not self._events:
            return None
        events = list(self._events)[:EVENTS_A_MESSAGE]
        self._sent = len(events)
        if not self._new:
            events = [{k: v for k, v in event.items() if k != "severity"} for event in events]
        return "NotifyEvent", {"generatedAt": times.show(self.station.wall_s(now)), "seqNo": 0, "eventData": events}

    def answered(self, now: float, action: str, request: Json, payload: Json) -> None:
        if action == "NotifyMonitoringReport":
            self._reports.popleft()
        else:
            self._drop()

    def failed(self, now: float, action: str, request: Json, code: str) -> None:
        if action == "NotifyMonitoringReport":  # the rest of a report with a hole in it would only mislead
            self._reports = deque(r for r in self._reports if r["requestId"] != request["requestId"])
        elif code not in (NO_ANSWER, DISCONNECTED):
            self._drop()
        else:
            self._sent = 0

    def _drop(self) -> None:
        for _ in range(self._sent):
            self._events.popleft()
        self._sent = 0

    def disconnected(self, now: float) -> None:
        self._reports.clear()

    def report(self, now: float) -> Json:
        return {"monitors": [{"variable": m.row.label, **m.asked, "alert": m.alert} for m in self.monitors.values()]}

    @property
    def _model(self) -> DeviceModel:
        return next(f for f in self.station.functions if isinstance(f, DeviceModel))

    @property
    def _new(self) -> bool:
        return self.station.dialect is not None and self.station.dialect.name == "2.1"


def _limited(items: list[Any]) -> list[Any]:
    if len(items) > ITEMS:
        raise Refusal(Code.OCCURRENCE, f"at most {ITEMS} monitors in one call, not {len(items)}")
    return items


def _objection(row: Row, item: Json) -> str:
    """Why this cannot be watched so; empty: it can."""
    kind, value = item["type"], item["value"]
    if "periodicEventStream" in item:
        return "periodic event streams are not supported"
    if row.secret:
        return f"{row.label} is never read"
    if not 0 <= item["severity"] <= LOWEST_SEVERITY:
        return f"severity = {item['severity']}; allowed: 0 to {LOWEST_SEVERITY}"
    if _CRITERIA.get(kind) == "PeriodicMonitoring" and not 1 <= value <= 86_400:
        return f"value = {value:g} s; a period is 1 to 86400 s"
    if kind == "Delta" and row.kind in _NUMBERS and value < 0:
        return f"value = {value:g}; a delta is not negative"
    limits = (0.0 if row.maximum is not None else row.low if row.field else -math.inf,
              row.maximum if row.maximum is not None else row.high if row.field else math.inf)  # fmt: skip
    if _CRITERIA.get(kind) == "ThresholdMonitoring" and not limits[0] <= value <= limits[1]:
        return f"value = {value:g} is outside of what {row.label} can be ({limits[0]:g} to {limits[1]:g})"
    return ""
