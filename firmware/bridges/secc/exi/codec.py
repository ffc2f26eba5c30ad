"""Messages to EXI bytes and back, by namespace, as the SECC package asks for it.

EXI options are those of DIN 70121, ISO 15118-2 and ISO 15118-20: bit-packed, schema-informed, not strict, no options
in the header, no string table. `ExiCodec` has the methods of the package's codec interface (encode, decode,
get_version: JSON text and bytes), and the same with dictionaries for everybody else.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from firmware.bridges.secc.exi import cache
from firmware.bridges.secc.exi.bits import BitReader, BitWriter
from firmware.bridges.secc.exi.compile import compile_schema
from firmware.bridges.secc.exi.errors import ExiError, SchemaError
from firmware.bridges.secc.exi.tables import Root, Tables
from firmware.bridges.secc.exi.walk import ElementReader, ElementWriter, Limits

APP_PROTOCOL = "urn:iso:15118:2:2010:AppProtocol"
DIN = "urn:din:70121:2012:MsgDef"
ISO_2 = "urn:iso:15118:2:2013:MsgDef"
ISO_20_COMMON = "urn:iso:std:iso:15118:-20:CommonMessages"
ISO_20_AC = "urn:iso:std:iso:15118:-20:AC"
ISO_20_DC = "urn:iso:std:iso:15118:-20:DC"
ISO_20_WPT = "urn:iso:std:iso:15118:-20:WPT"
ISO_20_ACDP = "urn:iso:std:iso:15118:-20:ACDP"
XML_SIGNATURE = "http://www.w3.org/2000/09/xmldsig#"

# Where the schema of a namespace is, below the folder of schemas.
SCHEMA_FILES = {
    APP_PROTOCOL: "V2G_CI_AppProtocol.xsd",
    DIN: "din_spec/V2G_CI_MsgDef.xsd",
    ISO_2: "iso15118_2/V2G_CI_MsgDef.xsd",
    ISO_20_COMMON: "iso15118_20/V2G_CI_CommonMessages.xsd",
    ISO_20_AC: "iso15118_20/V2G_CI_AC.xsd",
    ISO_20_DC: "iso15118_20/V2G_CI_DC.xsd",
    ISO_20_WPT: "iso15118_20/V2G_CI_WPT.xsd",
    ISO_20_ACDP: "iso15118_20/V2G_CI_ACDP.xsd",
    XML_SIGNATURE: "xmldsig-core-schema.xsd",
}
# EXI header: distinguishing bits 10, no options, final version 1 (EXI 1.0, chapter 5).
_HEADER = 0x80


class Schema:
    """Documents and fragments of one compiled schema."""

    def __init__(self, tables: Tables, namespace: str, limits: Limits) -> None:
        self.tables = tables
        self._limits = limits
        self._documents = _by_name(tables.documents, namespace)
        self._fragments = _by_name(tables.fragments, namespace)
        self._document_width = len(tables.documents).bit_length()  # all roots, and any other element
        self._fragment_end = len(tables.fragments) + 1  # all elements, any other one, the end
        self._fragment_width = self._fragment_end.bit_length()
        self._fragments_only = namespace == XML_SIGNATURE
        # A message carries a header; what does not is a part of one, and only signed or verified by itself.
        self._messages = {
            root.name
            for root in tables.documents
            if namespace == APP_PROTOCOL
            or any(event.name == "Header" for event in tables.types[root.type].states[0].events)
        }

    def is_message(self, name: str) -> bool:
        """Whether element `name` is a whole message (a document), not a part of one (a fragment)."""
        return name in self._messages

    def fragments(self) -> list[Root]:
        """The elements that a fragment may begin with."""
        return [root for _, root in self._fragments.values()]

    def encode(self, name: str, value: Any, fragment: bool) -> bytes:
        """EXI bytes of element `name`, as a document or as a fragment."""
        code, root = (self._fragments if fragment else self._documents).get(name, (0, None))
        if root is None:
            raise ExiError(f"{name} cannot be the root of a {'fragment' if fragment else 'message'} of this schema")
        out = BitWriter()
        out.write(_HEADER, 8)
        out.write(code, self._fragment_width if fragment else self._document_width)
        try:
            ElementWriter(self.tables, out, self._limits).write(root.type, value)
        except ExiError as fault:
            fault.inside(name)
            raise
        if fragment:
            out.write(self._fragment_end, self._fragment_width)
        if len(out) > self._limits.max_bytes:
            raise ExiError(f"{name} takes {len(out)} bytes; at most {self._limits.max_bytes} are allowed")
        return out.finish()

    def decode(self, data: bytes, fragment: bool) -> dict[str, Any]:
        """The element in `data` as {name: value}."""
        fragment = fragment or self._fragments_only
        if len(data) > self._limits.max_bytes:
            raise ExiError(f"{len(data)} bytes; at most {self._limits.max_bytes} are allowed")
        source = BitReader(data)
        header = source.read(8)
        if header != _HEADER:
            raise ExiError(f"the stream begins with 0x{header:02X}; 0x80 (EXI without options) expected")
        roots = self.tables.fragments if fragment else self.tables.documents
        code = source.read(self._fragment_width if fragment else self._document_width)
        if code >= len(roots):
            raise ExiError(f"root element number {code}; the schema has {len(roots)}")
        root = roots[code]
        try:
            value = ElementReader(self.tables, source, self._limits).read(root.type)
        except ExiError as fault:
            fault.inside(root.name)
            raise
        if fragment and source.read(self._fragment_width) != self._fragment_end:
            raise ExiError(f"the fragment goes on after {root.name}")
        # One recorded car sends a zero byte too many; anything else behind a message is a framing fault.
        if source.rest().strip(b"\0"):
            raise ExiError(f"{len(source.rest())} bytes follow after {root.name}, not all of them zero")
        return {root.name: value}


class ExiCodec:
    """All schemas of V2G, each compiled or read from the cache when it is first used.

    `schemas` is the folder with the XSD files, laid out as in the package iso15118 (`iso15118/shared/schemas`).
    `cache_folder` keeps compiled tables between runs; None: they are compiled in every process.
    """

    def __init__(self, schemas: Path, cache_folder: Path | None = None, limits: Limits | None = None) -> None:
        self._folder = schemas
        self._cache_folder = cache_folder
        self._limits = limits or Limits()
        self._key = cache.schema_key(schemas)
        self._schemas: dict[str, Schema] = {}

    def schema(self, namespace: str) -> Schema:
        """The schema of `namespace`; `SchemaError` if there is none."""
        namespace = str.__str__(namespace)  # the package passes members of an enumeration of strings
        schema = self._schemas.get(namespace)
        if schema is None:
            schema = self._schemas[namespace] = Schema(self._load(namespace), namespace, self._limits)
        return schema

    def preload(self, *namespaces: str) -> None:
        """Makes ready what a session will need, so that its first message is not the slow one."""
        for namespace in namespaces or SCHEMA_FILES:
            self.schema(namespace)

    def encode_message(self, message: Mapping[str, Any], namespace: str, fragment: bool | None = None) -> bytes:
        """EXI bytes of `message`, which is {name of the root element: its content}.

        `fragment` None: a whole message becomes a document, a part of one a fragment, which is what gets signed.
        """
        if len(message) != 1:
            raise ExiError(f"one root element expected, not {len(message)}")
        ((name, value),) = message.items()
        schema = self.schema(namespace)
        return schema.encode(name, value, not schema.is_message(name) if fragment is None else fragment)

    def decode_message(self, data: bytes, namespace: str, fragment: bool = False) -> dict[str, Any]:
        """The message in `data` as {name of the root element: its content}."""
        return self.schema(namespace).decode(bytes(data), fragment)

    # ---- the package's codec interface

    def encode(self, message: str, namespace: str) -> bytes:
        """EXI bytes of a message in JSON."""
        try:
            content = json.loads(message)
        except (ValueError, RecursionError) as fault:
            raise ExiError(f"the message is not JSON: {fault}") from None
        if not isinstance(content, dict):
            raise ExiError("the message is not a JSON object")
        return self.encode_message(content, namespace)

    def decode(self, stream: bytes, namespace: str) -> str:
        """The message in `stream` as JSON."""
        return json.dumps(self.decode_message(stream, namespace))

    def get_version(self) -> str:
        """Name and version, for the log."""
        return f"quadrant-exi {cache.VERSION}"

    def _load(self, namespace: str) -> Tables:
        if namespace not in SCHEMA_FILES:
            raise SchemaError(f"no schema is known for namespace {namespace!r}")

        def compile_tables() -> Tables:
            return compile_schema(self._folder / SCHEMA_FILES[namespace])

        if self._cache_folder is None:
            return compile_tables()
        return cache.load_or_compile(self._cache_folder, self._key, namespace, compile_tables)


def _by_name(roots: list[Root], namespace: str) -> dict[str, tuple[int, Root]]:
    """Code and root by local name; of two with the same one, that of `namespace`."""
    found: dict[str, tuple[int, Root]] = {}
    for code, root in enumerate(roots):
        if root.name not in found or root.namespace == namespace:
            found[root.name] = (code, root)
    return found
