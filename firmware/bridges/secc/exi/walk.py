"""Writes and reads one element by the tables of its type: the only code that runs for every message.

An element is, in JSON: the bare value if its type is simple and has no attributes; else an object with an entry for
each attribute and child element (a list for what may come more than once), and `value` for the text of a simple type
that has attributes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from firmware.bridges.secc.exi.bits import BitReader, BitWriter
from firmware.bridges.secc.exi.errors import ExiError
from firmware.bridges.secc.exi.tables import NEXT_STATE, Event, Kind, State, Tables
from firmware.bridges.secc.exi.values import Binary, String


@dataclass(frozen=True)
class Limits:
    """What no message may exceed (policy values; both ways).

    Recorded messages without certificates have at most 80 bytes; a -20 CertificateInstallationRes with four
    certificates of 1600 bytes in each of two chains stays under 20 kB. The schemas would permit more (1024 price stacks
    of eight rules); no such message is accepted. With these limits no input takes as long as a second.
    """

    max_bytes: int = 65_536
    max_elements: int = 20_000
    max_depth: int = 24  # the schemas nest 9 deep


class ElementWriter:
    """Writes the elements of one message."""

    def __init__(self, tables: Tables, out: BitWriter, limits: Limits) -> None:
        self._tables = tables
        self._out = out
        self._limits = limits
        self._elements = 0

    def write(self, type_index: int, value: Any, depth: int = 1) -> None:
        """Appends the content of an element of type `type_index`, with its end."""
        table = self._tables.types[type_index]
        out = self._out
        self._elements += 1
        if self._elements > self._limits.max_elements:
            raise ExiError(f"more than {self._limits.max_elements} elements")
        if table.leaf is not None:
            out.write(0, 1)
            self._tables.leaves[table.leaf].write(out, value)
            out.write(0, 1)
            return
        if depth > self._limits.max_depth:
            raise ExiError(f"nested more than {self._limits.max_depth} deep")
        if not isinstance(value, Mapping):
            raise ExiError(f"an object with names expected for type {table.name}, not {type(value).__name__}")
        left: dict[str, Any] = {}
        for name, item in value.items():
            if name not in table.lists:
                left[name] = item
            elif not isinstance(item, list):
                raise ExiError(f"a list expected for {name}, not {type(item).__name__}")
            elif item:
                left[name] = item[::-1]  # taken from its end
        position = 0
        while True:
            state = table.states[position]
            code = _choose(state, left)
            event = state.events[code]
            out.write(code, state.width)
            if event.kind is Kind.END:
                return
            item = left.pop(event.name)
            if event.name in table.lists:
                items, item = item, item.pop()
                if items:
                    left[event.name] = items
            try:
                if event.kind is Kind.ELEMENT:
                    self.write(event.ref, item, depth + 1)
                else:
                    self._tables.leaves[event.ref].write(out, item)
            except ExiError as fault:
                fault.inside(event.name)
                raise
            position = position + 1 if event.after == NEXT_STATE else event.after


class ElementReader:
    """Reads the elements of one message."""

    def __init__(self, tables: Tables, source: BitReader, limits: Limits) -> None:
        self._tables = tables
        self._source = source
        self._limits = limits
        self._elements = 0

    def read(self, type_index: int, depth: int = 1) -> Any:
        """The content of an element of type `type_index`, up to its end."""
        table = self._tables.types[type_index]
        source = self._source
        self._elements += 1
        if self._elements > self._limits.max_elements:
            raise ExiError(f"more than {self._limits.max_elements} elements")
        if table.leaf is not None:
            if source.read(1):
                if self._is_empty_value(table.states[0]):
                    return ""
                raise _deviation(table.states[0])
            value = self._tables.leaves[table.leaf].read(source)
            if source.read(1):
                raise _deviation(table.states[1])
            return value
        if depth > self._limits.max_depth:
            raise ExiError(f"nested more than {self._limits.max_depth} deep")
        result: dict[str, Any] = {}
        position = 0
        while True:
            state = table.states[position]
            code = source.read(state.width)
            if code >= len(state.events):
                if self._is_empty_value(state):
                    result["value"] = ""
                    return result
                raise _deviation(state)
            event = state.events[code]
            if event.kind is Kind.END:
                return result
            name = event.name
            try:
                if event.kind is Kind.ELEMENT:
                    item = self.read(event.ref, depth + 1)
                elif event.kind is Kind.ATTRIBUTE or event.kind is Kind.VALUE:
                    item = self._tables.leaves[event.ref].read(source)
                else:
                    raise ExiError("content that no schema describes is not supported")
            except ExiError as fault:
                fault.inside(name or "?")
                raise
            if name in table.lists:
                result.setdefault(name, []).append(item)
            else:
                result[name] = item
            position = position + 1 if event.after == NEXT_STATE else event.after

    def _is_empty_value(self, state: State) -> bool:
        """Whether the way out of the schema, just taken at `state`, stands for an empty string or no bytes at all.

        An element without text has no event for its text in XML, so a processor that comes from XML (EXIficient, and
        with it Java vehicles) ends such an element at once, as a deviation. The second part of that event code is 0
        in three bits: where attributes may still come (EXI 1.0, 8.5.4.4.1) the end is the first of 5 to 8 deviations.
        """
        event = state.events[-1]
        if event.kind is not Kind.VALUE or any(other.kind is Kind.END for other in state.events):
            return False
        return isinstance(self._tables.leaves[event.ref], String | Binary) and self._source.read(3) == 0


def _choose(state: State, left: Mapping[str, Any]) -> int:
    """The number of the event that the remaining content takes at `state`: the first that fits, in schema order."""
    for code, event in enumerate(state.events):
        if event.kind is Kind.END:
            if not left:
                return code
        elif event.name in left:
            return code
    expected = [event.name for event in state.events if event.name]
    if left:
        names = ", ".join(map(str, left))
        raise ExiError(f"{names} cannot come here; {_alternatives(expected)}")
    raise ExiError(f"something is missing: {_alternatives(expected)}")


def _alternatives(names: list[str]) -> str:
    if not names:
        return "nothing more is expected"
    return f"expected {' or '.join(names[:6])}{' or another' if len(names) > 6 else ''}"


def _deviation(state: State) -> ExiError:
    expected = [_shown(event) for event in state.events]
    return ExiError(f"the stream leaves the schema where it {_alternatives(expected).replace('expected', 'expects')}")


def _shown(event: Event) -> str:
    return event.name or {Kind.END: "the end", Kind.TEXT: "text"}.get(event.kind, "any element")
