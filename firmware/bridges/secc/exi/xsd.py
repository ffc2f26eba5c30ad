"""Reads XML Schema files into components: which elements, types, attributes and groups there are, and where.

Only what the V2G schemas use is understood; anything else is a `SchemaError`, because a construct that is silently
ignored would shift every bit that follows.
"""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from firmware.bridges.secc.exi.errors import SchemaError

XS = "http://www.w3.org/2001/XMLSchema"
_PREFIX = f"{{{XS}}}"


class Name(NamedTuple):
    """A qualified name; tuples sort by local name first, as EXI sorts qualified names (EXI 1.0, 8.5.1)."""

    local: str
    namespace: str


@dataclass(frozen=True, eq=False)
class Source:
    """The schema document a node stands in: what its prefixes mean and how its local names are qualified."""

    path: Path
    namespace: str
    prefixes: dict[str, str]
    elements_qualified: bool
    attributes_qualified: bool

    def name(self, text: str) -> Name:
        """The qualified name that `text` (prefix:local) stands for here."""
        prefix, _, local = text.rpartition(":")
        if prefix in self.prefixes:
            return Name(local, self.prefixes[prefix])
        if prefix:
            raise SchemaError(f"{self.path.name}: prefix {prefix} of {text} is not declared")
        return Name(local, "")


@dataclass(frozen=True, eq=False)
class Node:
    """One XML element of a schema document, with its document. Identity is what tells anonymous types apart."""

    xml: ElementTree.Element
    source: Source

    @property
    def tag(self) -> str:
        """Local name: element, complexType, sequence, ..."""
        return self.xml.tag.removeprefix(_PREFIX)

    def get(self, attribute: str) -> str | None:
        return self.xml.get(attribute)

    def name(self, attribute: str) -> Name | None:
        """The qualified name in `attribute`, None if absent."""
        text = self.xml.get(attribute)
        return None if text is None else self.source.name(text)

    def children(self) -> list["Node"]:
        """All child nodes but annotations."""
        return [Node(child, self.source) for child in self.xml if child.tag != _PREFIX + "annotation"]

    def fault(self, text: str) -> SchemaError:
        """A `SchemaError` that says where."""
        return SchemaError(f"{self.source.path.name}: {self.tag} {self.get('name') or ''}: {text}")

    def occurs(self) -> tuple[int, int | None]:
        """minOccurs and maxOccurs; None: unbounded."""
        low, high = self.get("minOccurs") or "1", self.get("maxOccurs") or "1"
        if not low.isdecimal() or not (high.isdecimal() or high == "unbounded"):
            raise self.fault(f"minOccurs {low}, maxOccurs {high}")
        return int(low), None if high == "unbounded" else int(high)


@dataclass
class Components:
    """The global components of a schema document and all it imports."""

    elements: dict[Name, Node] = field(default_factory=dict)
    types: dict[Name, Node] = field(default_factory=dict)
    attributes: dict[Name, Node] = field(default_factory=dict)
    groups: dict[Name, Node] = field(default_factory=dict)
    substitutes: dict[Name, list[Name]] = field(default_factory=dict)
    # every element declaration, global or local, with its name: a fragment may begin with any of them
    declarations: list[tuple[Name, Node]] = field(default_factory=list)
    attribute_names: set[Name] = field(default_factory=set)  # of all attributes, global or local

    def substitution_group(self, head: Name) -> list[Name]:
        """`head` and everything that may stand in its place, sorted (EXI 1.0, 8.5.4.1.6)."""
        group = [head]
        for member in group:  # grows while it is walked: members may be heads themselves
            group += [name for name in self.substitutes.get(member, []) if name not in group]
        return sorted(group)


def read_components(path: Path) -> Components:
    """The components of the schema at `path`, imports and includes followed; `SchemaError` if one cannot be read."""
    components = Components()
    _read(path, components, set())
    return components


def local_name(node: Node) -> Name:
    """The qualified name of a local declaration of an element or an attribute."""
    qualified = node.source.attributes_qualified if node.tag == "attribute" else node.source.elements_qualified
    if node.get("form") is not None:
        qualified = node.get("form") == "qualified"
    return Name(node.get("name") or "", node.source.namespace if qualified else "")


def _read(path: Path, components: Components, seen: set[Path]) -> None:
    path = path.resolve()
    if path in seen:
        return
    seen.add(path)
    prefixes: dict[str, str] = {}
    try:
        # The files are part of an installed package, as trusted as code; nothing from the wire is parsed as XML.
        events = ElementTree.iterparse(path, ("start-ns", "end"))
        root = None
        for event, item in events:
            if event == "start-ns":
                prefixes.setdefault(item[0], item[1])
            else:
                root = item
    except (OSError, ElementTree.ParseError) as fault:
        raise SchemaError(f"schema {path} cannot be read: {fault}") from None
    if root is None or root.tag != _PREFIX + "schema":
        raise SchemaError(f"{path} is not an XML schema")
    source = Source(
        path,
        root.get("targetNamespace", ""),
        prefixes,
        elements_qualified=root.get("elementFormDefault") == "qualified",
        attributes_qualified=root.get("attributeFormDefault") == "qualified",
    )
    tables = {
        "element": components.elements,
        "complexType": components.types,
        "simpleType": components.types,
        "attribute": components.attributes,
        "group": components.groups,
    }
    for node in Node(root, source).children():
        if node.tag in ("import", "include"):
            _read(_import_path(node), components, seen)
            continue
        if node.tag not in tables:
            raise node.fault("this kind of component is not supported")
        name = Name(node.get("name") or "", source.namespace)
        tables[node.tag][name] = node
        head = node.name("substitutionGroup")
        if head is not None:
            components.substitutes.setdefault(head, []).append(name)
    globals_ = set(root)
    for xml in root.iter(_PREFIX + "element"):
        if xml.get("name") is not None:
            node = Node(xml, source)
            name = Name(xml.get("name", ""), source.namespace) if xml in globals_ else local_name(node)
            components.declarations.append((name, components.elements[name] if xml in globals_ else node))
    for xml in root.iter(_PREFIX + "attribute"):
        if xml.get("name") is not None:
            is_global = xml in globals_
            components.attribute_names.add(
                Name(xml.get("name", ""), source.namespace) if is_global else local_name(Node(xml, source))
            )


def _import_path(node: Node) -> Path:
    """Where an imported document is: where it says, or, as the package installs them, beside or one level up."""
    location = node.get("schemaLocation")
    if location is None:
        raise node.fault("an import without schemaLocation")
    folder = node.source.path.parent
    places = [folder / location, folder / Path(location).name, folder.parent / Path(location).name]
    for place in places:
        if place.is_file():
            return place
    raise node.fault(f"{location} is at none of {', '.join(map(str, places))}")
