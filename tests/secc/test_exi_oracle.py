"""Differential tests against the Java codec of the package: the same bytes for random messages of every kind.

Two oracles (see oracle.py). EXIficient with grammars from the same XSD must agree on everything: all messages, all
elements that can be a fragment. The package's own codec must agree on every message that its message models can carry;
where it cannot is listed here, each with what it does instead.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from firmware.bridges.secc.exi.codec import (
    APP_PROTOCOL,
    DIN,
    ISO_2,
    ISO_20_AC,
    ISO_20_COMMON,
    ISO_20_DC,
    SCHEMA_FILES,
    XML_SIGNATURE,
)
from firmware.bridges.secc.exi.tables import Root
from tests.secc.environment import Oracle, Refused, codec, needs_java, schemas
from tests.secc.messages import as_xml, contents
from tests.secc.test_exi_messages import CHARGE_LOOP, SIGNED_INFO, recorded

pytestmark = [pytest.mark.slow, needs_java, pytest.mark.timeout(600)]
# A child process answers: no deadlines, no shrinking for minutes.
QUIET = {
    "deadline": None,
    "database": None,
    "derandomize": True,  # the same messages in every run: what the jar invents shows up here or never
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": list(HealthCheck),
}
# What the package's codec cannot write although the schema permits it.
JAR_CANNOT = {
    # its XML mapper needs javax.mail for several binary values, which the jar lacks, and takes an Id for a reference
    DIN: {
        "CertificateInstallationReq",
        "CertificateInstallationRes",
        "CertificateUpdateReq",
        "CertificateUpdateRes",
        "ContractAuthenticationReq",
        "MeteringReceiptReq",
        "PaymentDetailsReq",
        "SalesTariff",
        "SigMeterReading",
    },
}
# Optional numbers that the package's codec writes as 0 when they are absent: then it says what nobody said, or, where 0
# is outside the type, leaves the schema. They are always given here.
JAR_INVENTS = {"supportedAppProtocolRes": ("SchemaID", 7), "MeteringReceiptReq": ("SAScheduleTupleID", 1)}
JAR_SIGNED_PARTS = {
    ISO_2: [
        "AuthorizationReq",
        "CertificateInstallationReq",
        "ContractSignatureCertChain",
        "ContractSignatureEncryptedPrivateKey",
        "DHpublickey",
    ],
    ISO_20_COMMON: ["OEMProvisioningCertificateChain", "PnC_AReqAuthorizationMode"],
}


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with Oracle() as running:
        yield running


def abstract_elements() -> set[str]:
    """Elements that only stand for others: they have an event code, but no document may contain them."""
    folder = schemas()
    assert folder is not None
    names: set[str] = set()
    for file in folder.rglob("*.xsd"):
        root = ElementTree.parse(file).getroot()
        prefix = root.tag.removesuffix("schema")
        types = {node.get("name") for node in root.iter(prefix + "complexType") if node.get("abstract") == "true"}
        for node in root.findall(prefix + "element"):
            if node.get("abstract") == "true" or (node.get("type") or "").split(":")[-1] in types:
                names.add(node.get("name") or "")
    return names


def filled(name: str, content: Any) -> Any:
    """`content` with the number that the package's codec would invent."""
    if name not in JAR_INVENTS:
        return content
    number, value = JAR_INVENTS[name]
    return {number: value, **content}


def without_invented(theirs: Any, ours: Any) -> Any:
    """`theirs` without the zeros that the package's codec writes into a SalesTariff that has no such numbers."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return {
            name: without_invented(item, ours.get(name))
            for name, item in theirs.items()
            if name in ours or name not in ("EPriceLevel", "NumEPriceLevels") or item != 0
        }
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        return [without_invented(item, own) for item, own in zip(theirs, ours, strict=True)]
    return theirs


def message(name: str, content: Any) -> dict[str, Any]:
    return {name: filled(name, content)}


@pytest.mark.parametrize("namespace", SCHEMA_FILES)
def test_every_message_has_the_bytes_of_exificient(oracle: Oracle, namespace: str) -> None:
    schema = codec().schema(namespace)
    roots = [root for root in schema.tables.documents if schema.is_message(root.name)]
    if not roots:
        pytest.skip("xmldsig has fragments only; the next test has them")

    @settings(max_examples=150, **QUIET)
    @given(st.sampled_from(roots).flatmap(lambda r: st.tuples(st.just(r), contents(schema.tables, r.type))))
    def check(drawn: Any) -> None:
        root, content = drawn
        expected = oracle.encode(as_xml(schema.tables, root, content), namespace)
        assert schema.encode(root.name, content, False) == expected
        assert schema.decode(expected, False) == {root.name: content}

    check()


@pytest.mark.parametrize("namespace", SCHEMA_FILES)
def test_every_fragment_has_the_bytes_of_exificient(oracle: Oracle, namespace: str) -> None:
    schema = codec().schema(namespace)
    compared = 0
    for root in schema.fragments():
        if root.name.startswith("SignatureProp") or root.name == "eMAID":
            continue  # has a wildcard that must be filled; is in a test of its own

        @settings(max_examples=2, **QUIET)
        @given(st.just(root), contents(schema.tables, root.type))
        def check(root: Root, content: Any) -> None:
            expected = oracle.encode(as_xml(schema.tables, root, content), namespace, fragment=True)
            assert schema.encode(root.name, content, True) == expected
            assert schema.decode(expected, True) == {root.name: content}

        check()
        compared += 1
    assert compared >= len(schema.fragments()) - 3


def messages_for_the_jar(namespace: str) -> list[st.SearchStrategy[dict[str, Any]]]:
    """One strategy for each kind of message that the package's models can carry, without a signature: that has a test
    of its own."""
    schema = codec().schema(namespace)
    avoided = abstract_elements() | JAR_CANNOT.get(namespace, set()) | {"Signature"}
    tables = schema.tables
    roots = [root for root in tables.documents if schema.is_message(root.name)]
    choices = []
    for root in roots:
        if root.name != "V2G_Message":
            choices.append(contents(tables, root.type, True, avoid=avoided).map(partial(message, root.name)))
            continue
        kinds = {e.name: e.ref for state in tables.types[root.type].states for e in state.events}
        header = contents(tables, kinds["Header"], True, avoid=avoided)
        for event in tables.types[kinds["Body"]].states[0].events:
            if event.name and event.name not in avoided:
                body = contents(tables, event.ref, True, avoid=avoided).map(partial(message, event.name))
                choices.append(
                    st.fixed_dictionaries({"Header": header, "Body": body}).map(lambda c: {"V2G_Message": c})
                )
    return choices


@pytest.mark.parametrize("namespace", [APP_PROTOCOL, DIN, ISO_2, ISO_20_COMMON, ISO_20_DC, ISO_20_AC])
def test_every_message_has_the_bytes_of_the_packages_codec(oracle: Oracle, namespace: str) -> None:
    kinds: set[str] = set()

    def check(message: dict[str, Any]) -> None:
        expected = oracle.jar_encode(message, namespace)
        ours = codec().encode_message(message, namespace)
        if ours != expected:
            theirs = codec().decode_message(expected, namespace)
            assert theirs != message
            assert without_invented(theirs, message) == message
            return
        kinds.add(next(iter(message.get("V2G_Message", {}).get("Body", message))))
        assert codec().decode_message(expected, namespace) == message

    for kind in messages_for_the_jar(namespace):
        settings(max_examples=8, **QUIET)(given(kind)(check))()
    assert len(kinds) >= {APP_PROTOCOL: 2, DIN: 20, ISO_2: 25, ISO_20_COMMON: 20, ISO_20_DC: 8, ISO_20_AC: 3}[namespace]


@pytest.mark.parametrize("namespace", JAR_SIGNED_PARTS)
def test_every_signed_part_has_the_bytes_of_the_packages_codec(oracle: Oracle, namespace: str) -> None:
    schema = codec().schema(namespace)
    types = {root.name: root.type for root in schema.fragments()}
    for name in JAR_SIGNED_PARTS[namespace]:

        @settings(max_examples=15, **QUIET)
        @given(st.just(name), contents(schema.tables, types[name], plain=True))
        def check(name: str, content: Any) -> None:
            assert codec().encode_message({name: content}, namespace) == oracle.jar_encode({name: content}, namespace)

        check()


def test_what_a_signature_signs_has_the_bytes_of_the_packages_codec(oracle: Oracle) -> None:
    """With the algorithms of ISO 15118-2: the package's codec writes those whatever it is given."""
    ours = codec().encode_message(SIGNED_INFO, XML_SIGNATURE)
    assert ours == oracle.jar_encode(SIGNED_INFO, XML_SIGNATURE)
    for emaid in ({"Id": "id1", "value": "DE8AA1234567"}, {"Id": "x", "value": "A"}):
        assert codec().encode_message({"eMAID": emaid}, ISO_2) == oracle.jar_encode({"eMAID": emaid}, ISO_2)


def test_a_signed_message_reads_the_same_by_the_packages_codec(oracle: Oracle) -> None:
    signature = {**SIGNED_INFO, "SignatureValue": {"value": "AAEC"}}
    message = {
        "V2G_Message": {
            "Header": {"SessionID": "0011223344556677", "Signature": signature},
            "Body": {"AuthorizationReq": {"Id": "id1", "GenChallenge": "AAECAwQFBgcICQoLDA0ODw=="}},
        }
    }
    data = codec().encode_message(message, ISO_2)
    assert data == oracle.jar_encode(message, ISO_2)
    assert codec().decode_message(data, ISO_2) == message


def test_recorded_cars_read_the_same_by_the_packages_codec(oracle: Oracle) -> None:
    """JSON against JSON, over one message of each kind: the shape that the package's models are fed with."""
    seen: set[tuple[str, str]] = set()
    for _, namespace, data in recorded():
        ours = codec().decode_message(data, namespace)
        kind = (namespace, next(iter(ours.get("V2G_Message", {}).get("Body", ours))))
        if kind not in seen:
            seen.add(kind)
            assert oracle.jar_decode(data, namespace) == ours, kind
    assert len(seen) > 35
    data = codec().encode_message(CHARGE_LOOP, ISO_20_DC)
    assert oracle.jar_decode(data, ISO_20_DC) == CHARGE_LOOP


def test_exificient_understands_our_empty_values_and_we_understand_its(oracle: Oracle) -> None:
    ours = codec().encode_message({"ProtocolNamespace": ""}, APP_PROTOCOL, fragment=True)
    assert "ProtocolNamespace" in oracle.decode(ours, APP_PROTOCOL, fragment=True)
    theirs = oracle.encode("<ProtocolNamespace/>", APP_PROTOCOL, fragment=True)
    assert theirs != ours
    assert codec().decode_message(theirs, APP_PROTOCOL, fragment=True) == {"ProtocolNamespace": ""}


def test_the_oracle_can_refuse(oracle: Oracle) -> None:
    with pytest.raises(Refused):
        oracle.jar_encode({"Nonsense": {}}, ISO_20_DC)
