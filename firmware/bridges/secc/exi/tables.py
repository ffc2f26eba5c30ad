"""The compiled form of a schema: for every type a list of states, and how that is kept in a file.

A state lists the events that may come next. The event with number n is written as n in as few bits as hold the number
of events + 1: the one number more is the way out of the schema (EXI 1.0, 8.5.4.4, not strict), which no V2G message
may take and this codec refuses.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from firmware.bridges.secc.exi.errors import SchemaError
from firmware.bridges.secc.exi.values import Leaf, leaf_from_record

# `Event.after` of an event that leads to the state that comes next in the list. 1024 repetitions are then one state
# that stands in the list 1023 times, in memory as in the file.
NEXT_STATE = -1


class Kind(IntEnum):
    """What an event is."""

    ATTRIBUTE = 0  # `ref` is a leaf
    ELEMENT = 1  # `ref` is a type
    WILDCARD = 2  # an element of xs:any: part of the numbering, refused if met
    END = 3
    VALUE = 4  # the text of an element with a simple type; `ref` is a leaf
    TEXT = 5  # text between the elements of a mixed type: part of the numbering, refused if met


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that may come next."""

    kind: Kind
    name: str  # of the attribute or element
    namespace: str
    ref: int
    after: int  # index of the state that follows, or NEXT_STATE


class State:
    """What may come next at one place of a type's content, in the order of EXI's event codes."""

    __slots__ = ("events", "width")

    def __init__(self, events: tuple[Event, ...]) -> None:
        self.events = events
        self.width = len(events).bit_length()  # bits of an event code here


@dataclass(frozen=True, slots=True)
class TypeTable:
    """One type of the schema."""

    name: str  # for messages and diagnosis
    states: list[State]
    lists: frozenset[str]  # names of elements that may come more than once: a list in JSON
    leaf: int | None  # set if the type is simple and has no attributes: then JSON has the bare value


@dataclass(frozen=True, slots=True)
class Root:
    """An element that a document or a fragment may begin with."""

    name: str
    namespace: str
    type: int


@dataclass(frozen=True, slots=True)
class Tables:
    """All of one schema."""

    leaves: list[Leaf]
    types: list[TypeTable]
    documents: list[Root]  # in the order of their event codes
    fragments: list[Root]  # likewise


def to_record(tables: Tables) -> dict[str, Any]:
    """`tables` as plain JSON values."""
    return {
        "leaves": [leaf.record() for leaf in tables.leaves],
        "types": [
            [table.name, _packed_states(table.states), sorted(table.lists), table.leaf] for table in tables.types
        ],
        "documents": [[root.name, root.namespace, root.type] for root in tables.documents],
        "fragments": [[root.name, root.namespace, root.type] for root in tables.fragments],
    }


def from_record(record: dict[str, Any]) -> Tables:
    """The tables that `to_record` wrote; `SchemaError` for anything it cannot have written."""
    try:
        tables = Tables(
            [leaf_from_record(leaf) for leaf in record["leaves"]],
            [
                TypeTable(name, _unpacked_states(states), frozenset(lists), leaf)
                for name, states, lists, leaf in record["types"]
            ],
            [Root(*root) for root in record["documents"]],
            [Root(*root) for root in record["fragments"]],
        )
    except (KeyError, TypeError, ValueError) as fault:
        raise SchemaError(f"the stored tables are not readable: {fault!r}") from None
    check(tables)
    return tables


def check(tables: Tables) -> None:
    """Every reference leads somewhere, every type can be walked: the codec relies on it without looking again."""
    leaves, types = len(tables.leaves), len(tables.types)
    for table in tables.types:
        checked: set[int] = set()
        for index, state in enumerate(table.states):
            last = index + 1 == len(table.states)
            if id(state) in checked and not last:
                continue
            checked.add(id(state))
            for event in state.events:
                limit = {Kind.ATTRIBUTE: leaves, Kind.VALUE: leaves, Kind.ELEMENT: types}.get(event.kind, 1)
                follows = not last if event.after == NEXT_STATE else 0 <= event.after < len(table.states)
                if not 0 <= event.ref < limit or not follows:
                    raise SchemaError(f"the tables of type {table.name} are inconsistent at state {index}")
        if not table.states or (table.leaf is not None and not 0 <= table.leaf < leaves):
            raise SchemaError(f"the tables of type {table.name} are inconsistent")
    for root in (*tables.documents, *tables.fragments):
        if not 0 <= root.type < types:
            raise SchemaError(f"the tables of element {root.name} are inconsistent")


def _packed_states(states: list[State]) -> list[list[Any]]:
    """Runs of the same state as [how often, events]."""
    packed: list[list[Any]] = []
    previous: State | None = None
    for state in states:
        if previous is not None and state.events == previous.events:
            packed[-1][0] += 1
            continue
        packed.append([1, [[int(e.kind), e.name, e.namespace, e.ref, e.after] for e in state.events]])
        previous = state
    return packed


def _unpacked_states(packed: list[list[Any]]) -> list[State]:
    states: list[State] = []
    for count, events in packed:
        state = State(tuple(Event(Kind(kind), *rest) for kind, *rest in events))
        states += [state] * count
    return states
