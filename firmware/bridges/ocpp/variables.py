"""Variables are read, written and reported (B05 to B08), and in 1.6 configuration keys: all over one table.

What the back end wrote is kept by its label and read again at the start; it counts over the board's value. What does
not fit the ranges of this release any more is told and forgotten.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.checks import Objection, rejected
from firmware.bridges.ocpp.device_model import ITEMS, Row, component_of, rows, variable_of
from firmware.bridges.ocpp.dialect import Code, Dialect
from firmware.bridges.ocpp.function import Function, Json, Refusal
from firmware.bridges.ocpp.tunables import MODE_INTERVALS

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

KEPT = "variables"  # under this name the outbox keeps what was written
MAX_REPORTS = 100  # policy value: parts of reports that wait; a report of all variables has five
_SUMMARY = frozenset({"Available", "AvailabilityState", "Enabled", "Problem"})

_TWO = frozenset({"GetVariables", "SetVariables", "GetBaseReport", "GetReport"})
_ONE = frozenset({"GetConfiguration", "ChangeConfiguration"})


class DeviceModel(Function):
    """GetVariables, SetVariables, GetBaseReport, GetReport, NotifyReport; GetConfiguration, ChangeConfiguration."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self.rows = tuple(rows(station))
        self._reports: deque[Json] = deque()
        self._kept: dict[str, str] = {}
        found = station.outbox.state(KEPT) or {}
        by_label = {row.label: row for row in self.rows if row.field}
        for label, text in found.items() if isinstance(found, dict) else ():
            try:
                row = by_label[label]
                station.tune.set(row.field, text, row.low, row.high)
                self._kept[label] = text
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                station.say(f"The stored value of {label} is not taken any more: {error}.")
        self._apply()

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        return _TWO if dialect.two else _ONE

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"NotifyReport"}) if dialect.two else frozenset()

    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        match action:
            case "GetVariables":
                asked = self._limited(payload["getVariableData"])
                return {"getVariableResult": [self._get(now, item) for item in asked]}
            case "SetVariables":
                asked = self._limited(payload["setVariableData"])
                return {"setVariableResult": [self._set(item) for item in asked]}
            case "GetBaseReport":
                return self._report(now, payload["requestId"], self._base(payload["reportBase"]))
            case "GetReport":
                return self._report(now, payload["requestId"], self._chosen(now, payload))
            case "GetConfiguration":
                return self._get_16(now, payload)
            case _:
                return {"status": self._set_16(payload["key"], payload["value"])}

    @staticmethod
    def _limited(items: list[Json]) -> list[Json]:
        if len(items) > ITEMS:
            raise Refusal(Code.OCCURRENCE, f"at most {ITEMS} variables in one call, not {len(items)}")
        return items

    # ------------------------------------------------------------------------------------------------- one variable
    def find(self, item: Json) -> Row | str:
        """The row, or the attributeStatus that says why there is none. Names are compared without case (OCPP 2.x)."""
        of = [row for row in self.rows if row.component and _same_component(row, item["component"])]
        if not of:
            return "UnknownComponent"
        name, instance = item["variable"]["name"].lower(), item["variable"].get("instance")
        row = next((r for r in of if r.name.lower() == name and _same(r.instance, instance)), None)
        if row is None:
            return "UnknownVariable"
        return row if item.get("attributeType", "Actual") == "Actual" else "NotSupportedAttributeType"

    def _get(self, now: float, item: Json) -> Json:
        row = self.find(item)
        echo = {key: item[key] for key in ("component", "variable", "attributeType") if key in item}
        if isinstance(row, str):
            return echo | {"attributeStatus": row}
        if row.secret:
            return echo | {"attributeStatus": "Rejected"}
        return echo | {"attributeStatus": "Accepted", "attributeValue": row.read(self.station, now)}

    def _set(self, item: Json) -> Json:
        row = self.find(item)
        echo = {key: item[key] for key in ("component", "variable", "attributeType") if key in item}
        if isinstance(row, str):
            return echo | {"attributeStatus": row}
        status, why = self._write(row, item["attributeValue"])
        if not why:
            return echo | {"attributeStatus": status}
        code = "InvalidValue" if row.writable else "ReadOnly"
        return echo | {"attributeStatus": status, "attributeStatusInfo": {"reasonCode": code, "additionalInfo": why}}

    def _write(self, row: Row, text: str) -> tuple[str, str]:
        """(status, why not). Raises OutboxError; then nothing changed."""
        tune = self.station.tune
        if row.secret:
            return self._password(row, text)
        if not row.field:
            return "Rejected", f"{row.label} is read only"
        before = getattr(tune, row.field)
        try:
            tune.set(row.field, text, row.low, row.high)
        except ValueError as error:
            return "Rejected", f"{row.label} {error}"
        kept = {**self._kept, row.label: text}
        try:
            self.station.outbox.keep(KEPT, kept)
        except Exception:  # what could not be kept does not hold either: it would be gone after a restart
            setattr(tune, row.field, before)
            raise
        self._kept = kept
        self._apply()
        return ("RebootRequired" if row.reboot else "Accepted"), ""

    def _password(self, row: Row, text: str) -> tuple[str, str]:
        """A01: it counts from the next connection, which is made at once."""
        dialect = self.station.dialect
        try:
            self.station.credentials.set_password(text, hexadecimal=dialect is not None and not dialect.two)
        except ValueError as error:
            return "Rejected", f"{row.label} {error}"
        self.station.security("ReconfigurationOfSecurityParameters", "a new password for the back end")
        self.station.reconnect = True
        return "Accepted", ""

    def _apply(self) -> None:
        transactions, tune = self.station.transactions, self.station.tune
        transactions.interval_s = tune.meter_interval_s
        transactions.mode_interval_s = {mode: getattr(tune, field) for mode, field in MODE_INTERVALS.items()}

    # ------------------------------------------------------------------------------------------------------ reports
    def _base(self, base: str) -> list[Row]:
        told = [row for row in self.rows if row.component]
        if base == "ConfigurationInventory":
            return [row for row in told if row.writable]
        return told if base == "FullInventory" else [row for row in told if row.name in _SUMMARY]

    def _chosen(self, now: float, payload: Json) -> list[Row]:
        """componentCriteria and componentVariable both hold. What a criterion's variable is absent of counts as
        active, available and enabled, and as having no problem (own choice; the text was not at hand)."""
        asked = payload.get("componentVariable")
        found = []
        for row in self._base("FullInventory"):
            if asked is not None and not any(wanted_row(row, item) for item in asked):
                continue
            values = [self._of_component(now, row, name) for name in payload.get("componentCriteria", ())]
            if not values or any(values):
                found.append(row)
        return found

    def _of_component(self, now: float, row: Row, name: str) -> bool:
        place = (row.component, row.evse, row.connector)
        for other in self.rows:
            if (other.component, other.evse, other.connector) == place and other.name == name:
                return other.read(self.station, now) == "true"
        return name != "Problem"

    def _report(self, now: float, request: int, chosen: list[Row]) -> Json:
        if not chosen:
            return {"status": "EmptyResultSet"}
        parts = [chosen[at : at + ITEMS] for at in range(0, len(chosen), ITEMS)]
        if len(self._reports) + len(parts) > MAX_REPORTS:
            return rejected(Objection("TooManyElements", "earlier reports are still being told"))
        for number, part in enumerate(parts):
            self._reports.append(
                {
                    "requestId": request,
                    "generatedAt": times.show(self.station.wall_s(now)),
                    "seqNo": number,
                    "tbc": number + 1 < len(parts),
                    "reportData": [self._entry(now, row) for row in part],
                }
            )
        return {"status": "Accepted"}

    def _entry(self, now: float, row: Row) -> Json:
        attribute: Json = {
            "type": "Actual",
            "mutability": "WriteOnly" if row.secret else "ReadWrite" if row.field else "ReadOnly",
            "persistent": row.writable,
        }
        if not row.secret:  # B07.FR.03 in the errata of 2025-01
            attribute["value"] = row.read(self.station, now)
        traits: Json = {"dataType": row.kind, "supportsMonitoring": not row.secret}
        if row.unit:
            traits["unit"] = row.unit
        if row.kind in ("OptionList", "MemberList", "SequenceList") and row.choices:
            traits["valuesList"] = row.choices
        if row.field and row.kind == "integer":
            traits |= {"minLimit": row.low, "maxLimit": row.high}
        elif row.maximum is not None:
            traits |= {"minLimit": 0, "maxLimit": row.maximum}
        return {
            "component": component_of(row),
            "variable": variable_of(row),
            "variableAttribute": [attribute],
            "variableCharacteristics": traits,
        }

    def next(self, now: float) -> tuple[str, Json] | None:
        return ("NotifyReport", self._reports[0]) if self._reports else None

    def answered(self, now: float, action: str, request: Json, payload: Json) -> None:
        self._reports.popleft()

    def failed(self, now: float, action: str, request: Json, code: str) -> None:
        if self._reports:  # the rest of a report with a hole in it would only mislead
            self._reports = deque(r for r in self._reports if r["requestId"] != request["requestId"])

    def disconnected(self, now: float) -> None:
        self._reports.clear()

    # ---------------------------------------------------------------------------------------------------------- 1.6
    def _get_16(self, now: float, payload: Json) -> Json:
        known = {row.key.lower(): row for row in self.rows if row.key}
        asked = payload.get("key") or [row.key for row in known.values()]
        there = {k: known[k] for k in (name.lower() for name in asked) if k in known}
        missing = [name for name in asked if name.lower() not in known]
        shown = [
            {"key": row.key, "readonly": not row.writable}
            | ({} if row.secret else {"value": row.read(self.station, now)})
            for row in there.values()
        ]
        return {"configurationKey": shown} | ({"unknownKey": missing} if missing else {})

    def _set_16(self, key: str, text: str) -> str:
        row = next((r for r in self.rows if r.key and r.key.lower() == key.lower()), None)
        if row is None:
            return "NotSupported"
        status, why = self._write(row, text)
        if why:
            self.station.say(f"The back end's value of {key[:50]} was refused: {why}.")
        return status

    def report(self, now: float) -> Json:
        shown = [
            {
                "name": row.label,
                "key": row.key,
                "value": row.read(self.station, now),
                "unit": row.unit,
                "writable": row.writable,
                "set": row.label in self._kept,
            }
            for row in self.rows
            if self.station.view is not None
        ]
        return {"variables": shown}


def _same(ours: str | None, theirs: str | None) -> bool:
    return (ours or "").lower() == (theirs or "").lower()


def _same_component(row: Row, component: Json) -> bool:
    place = component.get("evse", {})
    return (
        _same(row.component, component["name"])
        and "instance" not in component
        and (row.evse, row.connector) == (place.get("id"), place.get("connectorId"))
    )


def wanted_row(row: Row, item: Json) -> bool:
    """For reports what is not named stands for all."""
    component, variable = item["component"], item.get("variable")
    place = component.get("evse")
    if not _same(row.component, component["name"]) or "instance" in component:
        return False
    if place is not None and (row.evse != place["id"] or row.connector != place.get("connectorId", row.connector)):
        return False
    if variable is None:
        return True
    return _same(row.name, variable["name"]) and (
        "instance" not in variable or _same(row.instance, variable["instance"])
    )
