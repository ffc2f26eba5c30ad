"""Builds the tables of a schema from its components: EXI 1.0, chapter 8.5.4, schema-informed grammars, not strict."""

from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

from firmware.bridges.secc.exi.errors import SchemaError
from firmware.bridges.secc.exi.model import (
    ElementParticle,
    GroupParticle,
    Particle,
    Step,
    WildcardParticle,
    places_of,
    repeated_names,
)
from firmware.bridges.secc.exi.tables import NEXT_STATE, Event, Kind, Root, State, Tables, TypeTable, check
from firmware.bridges.secc.exi.values import Enumeration, Integer, Leaf, String, built_in
from firmware.bridges.secc.exi.xsd import XS, Components, Name, Node, local_name, read_components

# Facets that change nothing in the bits. A pattern would (EXI 1.0, 7.1.10.1: restricted character sets).
_HARMLESS_FACETS = {"length", "minLength", "maxLength", "whiteSpace", "totalDigits"}
_END = Event(Kind.END, "", "", 0, 0)
_ANYTHING = Event(Kind.WILDCARD, "", "", 0, 0)
_TEXT = Event(Kind.TEXT, "", "", 0, 0)


@dataclass
class _Attribute:
    name: Name
    leaf: Leaf
    required: bool


@dataclass
class _Type:
    """A type definition with what it inherits resolved."""

    attributes: list[_Attribute] = field(default_factory=list)
    model: Particle | None = None
    leaf: Leaf | None = None
    mixed: bool = False


def compile_schema(path: Path) -> Tables:
    """The tables of the schema at `path`; `SchemaError` if it uses what this codec does not know."""
    return _Compiler(read_components(path)).run()


class _Compiler:
    def __init__(self, components: Components) -> None:
        self._components = components
        self._definitions: dict[Element | Name, _Type] = {}
        self._indices: dict[Element | Name, int] = {}
        self._names: list[str] = []
        self._waiting: list[Element | Name] = []  # types that have an index but no table yet
        self._leaves: list[Leaf] = []
        self._leaf_indices: dict[str, int] = {}

    def run(self) -> Tables:
        documents = [
            Root(name.local, name.namespace, self._type_index(node))
            for name, node in sorted(self._components.elements.items(), key=lambda item: item[0])
        ]
        declared: dict[Name, list[int]] = {}
        for name, node in sorted(self._components.declarations, key=lambda item: item[0]):
            indices = declared.setdefault(name, [])
            index = self._type_index(node)
            if index not in indices:
                indices.append(index)
        types: list[TypeTable] = []
        while len(types) < len(self._waiting):  # building one may name more
            key = self._waiting[len(types)]
            types.append(self._table(self._names[len(types)], self._definitions[key]))
        fragments = []
        for name, indices in declared.items():
            if len(indices) > 1:
                types.append(self._relaxed_table(name, [types[index] for index in indices], list(declared)))
                indices = [len(types) - 1]
            fragments.append(Root(name.local, name.namespace, indices[0]))
        tables = Tables(self._leaves, types, documents, fragments)
        check(tables)
        return tables

    # ---- types

    def _type_index(self, element: Node) -> int:
        """The index of the type of an element declaration."""
        named = element.name("type")
        anonymous = next((c for c in element.children() if c.tag in ("complexType", "simpleType")), None)
        if element.get("nillable") == "true":
            raise element.fault("nillable is not supported")
        key: Element | Name
        if named is not None:
            key, definition = named, self._named(named, element)
        elif anonymous is not None:
            key = anonymous.xml
            definition = self._definitions.get(key) or self._define(anonymous)
        else:
            raise element.fault("an element without type is not supported")
        if key not in self._indices:
            self._definitions[key] = definition
            self._indices[key] = len(self._waiting)
            self._waiting.append(key)
            self._names.append(named.local if named is not None else element.get("name") or "")
        return self._indices[key]

    def _named(self, name: Name, user: Node) -> _Type:
        if name not in self._definitions:
            if name.namespace == XS:
                self._definitions[name] = _Type(leaf=built_in(name.local))
            elif name in self._components.types:
                self._definitions[name] = definition = _Type()  # first, for a type that contains itself
                built = self._define(self._components.types[name])
                definition.attributes, definition.model = built.attributes, built.model
                definition.leaf, definition.mixed = built.leaf, built.mixed
            else:
                raise user.fault(f"type {name.local} of {name.namespace} is not declared")
        return self._definitions[name]

    def _define(self, node: Node) -> _Type:
        if node.tag == "simpleType":
            return _Type(leaf=self._simple(node))
        result = _Type(mixed=node.get("mixed") == "true")
        parts: list[Particle] = []
        body = node
        content = next((c for c in node.children() if c.tag in ("complexContent", "simpleContent")), None)
        if content is not None:
            (body,) = content.children()
            base_name = body.name("base")
            if body.tag != "extension" or base_name is None or content.get("mixed") is not None:
                raise body.fault("only an extension is supported here")
            base = self._named(base_name, body)
            result.attributes += base.attributes
            result.leaf, result.mixed = base.leaf, result.mixed or base.mixed
            parts += [base.model] if base.model is not None else []
        for child in body.children():
            if child.tag in ("sequence", "choice", "group"):
                parts.append(self._particle(child))
            elif child.tag == "attribute":
                result.attributes.append(self._attribute(child))
            else:
                raise child.fault("not supported in a complex type")
        result.attributes.sort(key=lambda attribute: attribute.name)
        if parts:
            result.model = parts[0] if len(parts) == 1 else GroupParticle(1, 1, False, tuple(parts))
        return result

    def _attribute(self, node: Node) -> _Attribute:
        reference = node.name("ref")
        if reference is not None and reference not in self._components.attributes:
            raise node.fault(f"attribute {reference.local} is not declared")
        declaration = node if reference is None else self._components.attributes[reference]
        name = local_name(node) if reference is None else reference
        type_name = declaration.name("type")
        leaf = self._named(type_name, node).leaf if type_name is not None else self._simple(declaration.children()[0])
        if leaf is None:
            raise node.fault("an attribute needs a simple type")
        return _Attribute(name, leaf, node.get("use") == "required")

    def _simple(self, node: Node) -> Leaf:
        """The leaf of a simpleType: its base, narrowed by the facets that change the encoding."""
        (restriction,) = node.children()
        base_name = restriction.name("base")
        if restriction.tag != "restriction" or base_name is None:
            raise node.fault("only a restriction of a named type is supported")
        base = self._named(base_name, node).leaf
        if base is None:
            raise node.fault(f"base {base_name.local} is not a simple type")
        values = [c.get("value") or "" for c in restriction.children() if c.tag == "enumeration"]
        if values:
            if not isinstance(base, String | Enumeration):
                raise node.fault("enumerations of strings only")
            return Enumeration(tuple(values))
        bounds = {"minInclusive": 0, "maxInclusive": 0, "minExclusive": 1, "maxExclusive": -1}
        for facet in restriction.children():
            if facet.tag in bounds:
                if not isinstance(base, Integer):
                    raise facet.fault("a range is supported for whole numbers only")
                bound = int(facet.get("value") or "") + bounds[facet.tag]
                base = Integer(bound, base.high) if facet.tag.startswith("min") else Integer(base.low, bound)
            elif facet.tag not in _HARMLESS_FACETS:
                raise facet.fault("this facet is not supported")
        return base

    # ---- content models

    def _particle(self, node: Node) -> Particle:
        low, high = node.occurs()
        match node.tag:
            case "element":
                reference = node.name("ref")
                if reference is None:
                    return ElementParticle(low, high, ((local_name(node), self._type_index(node)),))
                members = self._components.substitution_group(reference)
                for name in members:
                    if name not in self._components.elements:
                        raise node.fault(f"element {name.local} is not declared")
                return ElementParticle(
                    low, high, tuple((name, self._type_index(self._components.elements[name])) for name in members)
                )
            case "any":
                return WildcardParticle(low, high)
            case "sequence" | "choice":
                children = tuple(self._particle(child) for child in node.children())
                return GroupParticle(low, high, node.tag == "choice", children)
            case "group":
                reference = node.name("ref")
                if reference is None or reference not in self._components.groups:
                    raise node.fault("a group must refer to a declared one")
                (body,) = self._components.groups[reference].children()
                return GroupParticle(low, high, False, (self._particle(body),))
        raise node.fault("not supported in a content model")

    # ---- tables

    def _table(self, name: str, definition: _Type) -> TypeTable:
        """Attributes in sorted order, each optional one sharing its state with all that may follow; then content."""
        content = self._content(definition)
        attributes = definition.attributes
        states: list[State] = []
        for index in range(len(attributes)):
            events: list[Event] = []
            for number, attribute in enumerate(attributes[index:], index):
                leaf = self._leaf_index(attribute.leaf)
                label = attribute.name
                events.append(Event(Kind.ATTRIBUTE, label.local, label.namespace, leaf, number + 1))
                if attribute.required:
                    break
            else:
                events += content[0]
            states.append(State(tuple(events)))
        states += [State(tuple(events)) for events in content]
        bare = definition.leaf is not None and not attributes
        clash = {a.name.local for a in attributes} & {e.name for events in content for e in events if e.name}
        if clash:
            raise SchemaError(f"type {name} has an attribute and an element of the name {', '.join(clash)}")
        return TypeTable(
            name,
            _folded(states),
            frozenset(repeated_names(definition.model)),
            self._leaf_index(definition.leaf) if bare and definition.leaf is not None else None,
        )

    def _relaxed_table(self, name: Name, tables: list[TypeTable], elements: list[Name]) -> TypeTable:
        """The type at the root of a fragment of an element that the schema declares with several types.

        EXI 1.0, 8.5.3: any attribute and any element of the whole schema may come, and untyped text. The numbering
        is that; what can be written and read are the attributes of the types declared, and text. (In the V2G schemas
        this is eMAID of ISO 15118-2 alone, which is signed when a contract is installed.)
        """
        known = {
            (e.name, e.namespace): e.ref for table in tables for e in table.states[0].events if e.kind is Kind.ATTRIBUTE
        }
        attributes = [
            Event(Kind.ATTRIBUTE, attribute.local, attribute.namespace, known[attribute], 0)
            if attribute in known
            else _ANYTHING
            for attribute in sorted(self._components.attribute_names)
        ]
        text = Event(Kind.VALUE, "value", "", self._leaf_index(String()), 1)
        rest = [*[_ANYTHING] * len(elements), _ANYTHING, _END]
        return TypeTable(
            name.local,
            [State((*attributes, _ANYTHING, *rest, text)), State((*rest, _TEXT))],
            frozenset(),
            None,
        )

    def _content(self, definition: _Type) -> list[list[Event]]:
        """The states of the content, numbered behind those of the attributes."""
        first = len(definition.attributes)
        if definition.leaf is not None:
            value = Event(Kind.VALUE, "value", "", self._leaf_index(definition.leaf), first + 1)
            return [[value], [_END]]
        places = places_of(definition.model)
        numbers = {place: first + number for number, place in enumerate(places)}
        content = []
        for steps, may_end in places.values():
            events = [self._event(step, numbers[step[1]]) for step in steps]
            if may_end:
                events.append(_END)
            if definition.mixed:
                events.append(_TEXT)
            content.append(events)
        return content

    def _event(self, step: Step, after: int) -> Event:
        if step[0] is None:
            return _ANYTHING
        name, type_index = step[0]
        return Event(Kind.ELEMENT, name.local, name.namespace, type_index, after)

    def _leaf_index(self, leaf: Leaf) -> int:
        key = repr(leaf.record())
        if key not in self._leaf_indices:
            self._leaf_indices[key] = len(self._leaves)
            self._leaves.append(leaf)
        return self._leaf_indices[key]


def _folded(states: list[State]) -> list[State]:
    """The same states; steps to the next one in the list say so, and equal neighbours are one object."""
    folded: list[State] = []
    for index, state in enumerate(states):
        events = tuple(
            Event(e.kind, e.name, e.namespace, e.ref, NEXT_STATE) if e.after == index + 1 else e for e in state.events
        )
        same = folded and folded[-1].events == events
        folded.append(folded[-1] if same else State(events))
    return folded
