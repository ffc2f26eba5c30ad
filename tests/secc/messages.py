"""Random messages that fit a schema, for hypothesis, and the same messages as XML for an oracle that knows no JSON.

No value is empty: XML has no event for empty text, so the oracles leave the schema there (see docs/exi.md). Empty
values have tests of their own.
"""

import base64
from collections.abc import Collection
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from hypothesis import reject
from hypothesis import strategies as st

from firmware.bridges.secc.exi.tables import NEXT_STATE, Event, Kind, Root, State, Tables
from firmware.bridges.secc.exi.values import Binary, Boolean, Enumeration, Integer, Leaf, String
from firmware.bridges.secc.exi.walk import _choose

# Every character that XML can carry unchanged, and with some weight the ones that cars send.
_PLAIN = st.text(
    st.characters(codec="ascii", categories=("L", "N"), include_characters=":/#-_."), min_size=1, max_size=24
)
_ANY = st.text(
    st.characters(min_codepoint=0x21, exclude_categories=("C", "Z"), exclude_characters="\ufffe\uffff"),
    min_size=1,
    max_size=12,
)


def leaf_values(leaf: Leaf, plain: bool) -> st.SearchStrategy[Any]:
    """Values of a simple type; `plain`: strings of ASCII letters, digits and some signs only."""
    match leaf:
        case Boolean():
            return st.booleans()
        case Enumeration():
            return st.sampled_from(leaf.values)
        case Integer():
            low = -(2**100) if leaf.low is None else leaf.low
            high = 2**100 if leaf.high is None else leaf.high
            return st.integers(low, high) | st.sampled_from([low, high])
        case Binary(base64=True):
            return st.binary(min_size=1, max_size=40).map(lambda data: base64.b64encode(data).decode())
        case Binary():
            return st.binary(min_size=1, max_size=8).map(lambda data: data.hex().upper())
        case String():
            return _PLAIN if plain else _PLAIN | _ANY
    raise AssertionError(leaf)


@st.composite
def contents(
    draw: st.DrawFn, tables: Tables, type_index: int, plain: bool = False, avoid: Collection[str] = (), fill: int = 2
) -> Any:
    """Content of an element of a type.

    `avoid`: elements that do not occur if there is another way; `fill`: how long a list grows where it may end.
    """
    table = tables.types[type_index]
    if table.leaf is not None:
        return draw(leaf_values(tables.leaves[table.leaf], plain))
    content: dict[str, Any] = {}
    position = 0
    while True:
        events = [
            e for e in table.states[position].events if e.kind not in (Kind.WILDCARD, Kind.TEXT) and e.name not in avoid
        ]
        if any(e.kind is Kind.END for e in events):
            full = [e.name for e in events if len(content.get(e.name, ())) >= fill and e.name in table.lists]
            events = [e for e in events if e.name not in full]
        if not events:
            reject()  # only a wildcard could come here
        event = draw(st.sampled_from(events))
        if event.kind is Kind.END:
            return content
        if event.kind is Kind.ELEMENT:
            item = draw(contents(tables, event.ref, plain, avoid, fill))
        else:
            item = draw(leaf_values(tables.leaves[event.ref], plain))
        if event.name in table.lists:
            content.setdefault(event.name, []).append(item)
        else:
            content[event.name] = item
        position = position + 1 if event.after == NEXT_STATE else event.after


def as_xml(tables: Tables, root: Root, content: Any) -> str:
    """The message as XML."""
    assert root.type is not None
    return _element(tables, root.name, root.namespace, root.type, content)


def _element(tables: Tables, name: str, namespace: str, type_index: int, content: Any) -> str:
    table = tables.types[type_index]
    attributes, body = "", ""
    if table.leaf is not None:
        body = _text(tables.leaves[table.leaf], content)
    else:
        for event, item in _in_order(table.states, table.lists, content):
            if event.kind is Kind.ATTRIBUTE:
                text = quoteattr(_text(tables.leaves[event.ref], item, raw=True))
                prefix = f"a{len(attributes)}"
                attributes += (
                    f" xmlns:{prefix}={quoteattr(event.namespace)} {prefix}:{event.name}={text}"
                    if event.namespace
                    else f" {event.name}={text}"
                )
            elif event.kind is Kind.VALUE:
                body += _text(tables.leaves[event.ref], item)
            else:
                body += _element(tables, event.name, event.namespace, event.ref, item)
    return f"<{name} xmlns={quoteattr(namespace)}{attributes}>{body}</{name}>"


def _in_order(states: list[State], lists: frozenset[str], content: dict[str, Any]) -> list[tuple[Event, Any]]:
    """The entries of an object in the order in which the codec writes them."""
    left = {name: list(item) if name in lists else [item] for name, item in content.items()}
    ordered, position = [], 0
    while True:
        state = states[position]
        event = state.events[_choose(state, left)]
        if event.kind is Kind.END:
            return ordered
        ordered.append((event, left[event.name].pop(0)))
        if not left[event.name]:
            del left[event.name]
        position = position + 1 if event.after == NEXT_STATE else event.after


def _text(leaf: Leaf, value: Any, raw: bool = False) -> str:
    text = str(value).lower() if isinstance(leaf, Boolean) else str(value)
    return text if raw else escape(text)
