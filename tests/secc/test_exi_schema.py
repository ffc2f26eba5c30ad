"""The schema compiler on small schemas of its own, and the cache of its tables."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.secc.exi import cache
from firmware.bridges.secc.exi.codec import Schema
from firmware.bridges.secc.exi.compile import compile_schema
from firmware.bridges.secc.exi.errors import ExiError, SchemaError
from firmware.bridges.secc.exi.tables import Tables, from_record, to_record
from firmware.bridges.secc.exi.walk import Limits

HEAD = '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:t" targetNamespace="urn:t">'
TOY = f"""{HEAD}
<xs:element name="Message"><xs:complexType><xs:sequence>
  <xs:element name="Header" type="xs:boolean"/>
  <xs:element name="Item" type="ItemType" minOccurs="0" maxOccurs="1024"/>
  <xs:element ref="Body" minOccurs="0"/>
  <xs:choice minOccurs="0" maxOccurs="unbounded">
    <xs:element name="Left" type="xs:byte"/><xs:element name="Right" type="xs:byte"/>
  </xs:choice>
</xs:sequence><xs:attribute name="b" type="xs:byte"/><xs:attribute name="a" type="xs:byte" use="required"/>
</xs:complexType></xs:element>
<xs:complexType name="ItemType"><xs:simpleContent><xs:extension base="xs:string">
  <xs:attribute name="Id" type="xs:ID"/></xs:extension></xs:simpleContent></xs:complexType>
<xs:element name="Body" type="BaseType"/>
<xs:element name="Apple" type="AppleType" substitutionGroup="Body"/>
<xs:complexType name="BaseType"><xs:sequence/></xs:complexType>
<xs:complexType name="AppleType"><xs:complexContent><xs:extension base="BaseType"><xs:sequence>
  <xs:element name="Seeds" type="xs:unsignedByte"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>
</xs:schema>"""


def compiled(tmp_path: Path, text: str = TOY) -> Tables:
    file = tmp_path / "toy.xsd"
    file.write_text(text)
    return compile_schema(file)


def toy(tmp_path: Path, limits: Limits | None = None) -> Schema:
    return Schema(compiled(tmp_path), "urn:t", limits or Limits())


@pytest.mark.parametrize(
    "content",
    [
        {"a": 1, "Header": True},
        {"a": 1, "b": -128, "Header": False, "Item": [{"value": ""}, {"Id": "x", "value": "y"}]},
        {"a": 1, "Header": False, "Item": [{"value": "z"}] * 1024},
        {"a": 1, "Header": False, "Apple": {"Seeds": 5}},
        {"a": 1, "Header": False, "Body": {}, "Left": [1, 2], "Right": [3]},
    ],
)
def test_content_that_fits_comes_back(tmp_path: Path, content: dict[str, Any]) -> None:
    schema = toy(tmp_path)
    assert schema.decode(schema.encode("Message", content, False), False) == {"Message": content}


def test_the_bits_are_those_of_the_exi_recommendation(tmp_path: Path) -> None:
    # 10000000 header; roots Apple, Body, Message: Message is 2 in 2 bits; attribute a (one event: 1 bit), then its
    # byte 1 + 128; the next state has b and Header: Header is 1 in 2 bits; value 1 bit event, true, 1 bit end; the
    # last state has Item, Apple, Body, Left, Right and the end: 5 in 3 bits.
    assert toy(tmp_path).encode("Message", {"a": 1, "Header": True}, False) == bytes.fromhex("80") + (
        int("10" + "0" + "10000001" + "01" + "0" + "1" + "0" + "101", 2) << 5
    ).to_bytes(3, "big")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"Header": True}, "Message: Header cannot come here; expected a"),
        ({"a": 1}, "Message: something is missing: expected b or Header"),
        ({"a": 1, "Header": 1}, "Message/Header: true or false expected, not 1"),
        ({"a": 1, "Header": True, "Pear": {}}, "Message: Pear cannot come here; expected Item or Apple or Body or"),
        ({"a": 1, "Header": True, "Item": {"value": "x"}}, "Message: a list expected for Item, not dict"),
        ({"a": 1, "Header": True, "Item": [{"value": "x"}] * 1025}, "Message: Item cannot come here"),
        ({"a": 1, "Header": True, "Item": [{"Id": "x"}]}, "Message/Item: something is missing: expected value"),
        ({"a": 1, "Header": True, "Apple": {"Seeds": 256}}, r"Message/Apple/Seeds: 256 is outside 0\.\.255"),
        ({"a": 1, "Header": True, "Apple": 5}, "Message/Apple: an object with names expected for type AppleType"),
        ({"a": 1, "Header": True, "Apple": {"Seeds": 1}, "Body": {}}, "Message: Body cannot come here"),
        (None, "Message: an object with names expected"),
    ],
)
def test_content_that_does_not_fit_is_refused_with_its_place(tmp_path: Path, content: Any, sentence: str) -> None:
    with pytest.raises(ExiError, match=sentence):
        toy(tmp_path).encode("Message", content, False)


def test_limits_hold_in_both_directions(tmp_path: Path) -> None:
    wide = toy(tmp_path)
    content = {"a": 1, "Header": True, "Item": [{"value": "abcdefgh"}] * 100}
    data = wide.encode("Message", content, False)
    for limits, sentence in (
        (Limits(max_bytes=len(data) - 1), f"at most {len(data) - 1} are allowed"),
        (Limits(max_elements=101), "more than 101 elements"),
        (Limits(max_depth=1), "nested more than 1 deep"),
    ):
        narrow = toy(tmp_path, limits)
        with pytest.raises(ExiError, match=sentence):
            narrow.encode("Message", content, False)
        with pytest.raises(ExiError, match=sentence):
            narrow.decode(data, False)
    exact = toy(tmp_path, Limits(max_bytes=len(data), max_elements=102, max_depth=2))
    assert exact.decode(exact.encode("Message", content, False), False) == {"Message": content}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('<xs:element name="E" type="xs:float"/>', "xs:float is not a type"),
        ('<xs:element name="E" type="Missing"/>', "type Missing of urn:t is not declared"),
        ('<xs:element name="E" type="q:T"/>', "prefix q of q:T is not declared"),
        ('<xs:element name="E"/>', "an element without type"),
        ('<xs:element name="E" type="xs:byte" nillable="true"/>', "nillable"),
        ('<xs:notation name="N" public="x"/>', "this kind of component is not supported"),
        ('<xs:import namespace="urn:x" schemaLocation="nowhere.xsd"/>', "nowhere.xsd is at none of"),
        (
            '<xs:element name="E"><xs:complexType><xs:all><xs:element name="F" type="xs:byte"/></xs:all>'
            "</xs:complexType></xs:element>",
            "all : not supported in a complex type",
        ),
        (
            '<xs:element name="E"><xs:simpleType><xs:restriction base="xs:string"><xs:pattern value="a*"/>'
            "</xs:restriction></xs:simpleType></xs:element>",
            "pattern : this facet is not supported",
        ),
        (
            '<xs:element name="E"><xs:simpleType><xs:list itemType="xs:byte"/></xs:simpleType></xs:element>',
            "only a restriction",
        ),
        (
            '<xs:element name="E"><xs:complexType><xs:choice><xs:element name="F" type="xs:byte"/><xs:sequence>'
            '<xs:element name="F" type="xs:byte"/><xs:element name="G" type="xs:byte"/></xs:sequence></xs:choice>'
            "</xs:complexType></xs:element>",
            "element F leads to two different places",
        ),
        (
            '<xs:element name="E"><xs:complexType><xs:sequence><xs:element name="F" type="xs:byte"/></xs:sequence>'
            '<xs:attribute name="F" type="xs:byte"/></xs:complexType></xs:element>',
            "an attribute and an element of the name F",
        ),
    ],
)
def test_a_schema_beyond_what_the_codec_knows_is_refused_not_guessed(tmp_path: Path, body: str, sentence: str) -> None:
    with pytest.raises(SchemaError, match=sentence):
        compiled(tmp_path, f"{HEAD}{body}</xs:schema>")


def test_a_schema_that_would_explode_is_refused(tmp_path: Path) -> None:
    inner = '<xs:element name="F" type="xs:byte" minOccurs="0" maxOccurs="999999"/>'
    with pytest.raises(SchemaError, match="more than 20000 states"):
        compiled(
            tmp_path,
            f'{HEAD}<xs:element name="E"><xs:complexType><xs:sequence>{inner}</xs:sequence></xs:complexType>'
            "</xs:element></xs:schema>",
        )


# ---- the cache


def test_tables_survive_the_cache(tmp_path: Path) -> None:
    tables = compiled(tmp_path)
    record = to_record(tables)
    assert to_record(from_record(json.loads(json.dumps(record)))) == record


def test_the_output_of_the_compiler_is_that_of_this_version(tmp_path: Path) -> None:
    """When this fails on purpose, raise cache.VERSION and write the new hash: files of the old one must not be read."""
    record = json.dumps(to_record(compiled(tmp_path))).encode()
    assert (cache.VERSION, hashlib.sha256(record).hexdigest()[:16]) == ("1", "d406f38607d2801e")


def test_the_second_start_reads_what_the_first_compiled(tmp_path: Path) -> None:
    compilations = []

    def compile_tables() -> Tables:
        compilations.append(1)
        return compiled(tmp_path)

    for _ in range(2):
        cache.load_or_compile(tmp_path / "cache", "key", "urn:t", compile_tables)
    assert len(compilations) == 1
    cache.load_or_compile(tmp_path / "cache", "other key", "urn:t", compile_tables)
    assert len(compilations) == 2


@pytest.mark.parametrize("damage", ["torn", "empty", "flipped", "no JSON", "wrong shape", "bad reference", "folder"])
def test_a_damaged_cache_is_compiled_anew_and_replaced(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "cache"
    good = to_record(cache.load_or_compile(folder, "key", "urn:t", lambda: compiled(tmp_path)))
    (file,) = folder.glob("*.json")
    content = file.read_bytes()

    def signed(body: bytes) -> bytes:
        return hashlib.sha256(body).hexdigest().encode() + b"\n" + body

    bad = json.loads(json.dumps(good))
    bad["types"][0][3] = 999
    damaged = {
        "torn": content[: len(content) // 2],
        "empty": b"",
        "flipped": content[:-20] + bytes([content[-20] ^ 1]) + content[-19:],
        "no JSON": signed(b"\xff{"),
        "wrong shape": signed(b'{"leaves": [["integer"]], "types": 5}'),
        "bad reference": signed(json.dumps(bad).encode()),
    }
    if damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(damaged[damage])
    assert to_record(cache.load_or_compile(folder, "key", "urn:t", lambda: compiled(tmp_path))) == good
    if damage != "folder":
        assert file.read_bytes() == content


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    tables = cache.load_or_compile(tmp_path / "file" / "cache", "key", "urn:t", lambda: compiled(tmp_path))
    assert tables.documents


def test_the_key_changes_with_any_schema_file(tmp_path: Path) -> None:
    compiled(tmp_path)
    before = cache.schema_key(tmp_path)
    assert cache.schema_key(tmp_path) == before
    (tmp_path / "toy.xsd").write_text(TOY + " ")
    assert cache.schema_key(tmp_path) != before


def test_a_folder_without_schemas_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="has no XSD files"):
        cache.schema_key(tmp_path)
