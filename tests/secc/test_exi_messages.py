"""The codec on the real schemas: recorded cars, every message there and back, limits, signed parts, the interface."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware.bridges.secc.exi.codec import (
    APP_PROTOCOL,
    DIN,
    ISO_2,
    ISO_20_COMMON,
    ISO_20_DC,
    SCHEMA_FILES,
    XML_SIGNATURE,
    ExiCodec,
)
from firmware.bridges.secc.exi.errors import ExiError, SchemaError
from tests.secc.environment import codec, needs_schemas, schemas
from tests.secc.messages import contents

pytestmark = needs_schemas

RECORDED = Path(__file__).resolve().parents[1] / "data" / "v2g" / "messages.txt"
NAMESPACES = {"sap": APP_PROTOCOL, "din": DIN, "iso2": ISO_2}
# DC_ChargeLoopReq of -20, BPT, Dynamic: 20 kW charge, 8 kW discharge.
CHARGE_LOOP: dict[str, Any] = {
    "DC_ChargeLoopReq": {
        "Header": {"SessionID": "0123456789ABCDEF", "TimeStamp": 1_790_000_000},
        "MeterInfoRequested": False,
        "EVPresentVoltage": {"Exponent": -1, "Value": 4005},
        "BPT_Dynamic_DC_CLReqControlMode": {
            "EVTargetEnergyRequest": {"Exponent": 2, "Value": 300},
            "EVMaximumEnergyRequest": {"Exponent": 2, "Value": 400},
            "EVMinimumEnergyRequest": {"Exponent": 2, "Value": -100},
            "EVMaximumChargePower": {"Exponent": 1, "Value": 2000},
            "EVMinimumChargePower": {"Exponent": 0, "Value": 0},
            "EVMaximumChargeCurrent": {"Exponent": -1, "Value": 500},
            "EVMaximumVoltage": {"Exponent": 0, "Value": 450},
            "EVMinimumVoltage": {"Exponent": 0, "Value": 300},
            "EVMaximumDischargePower": {"Exponent": 1, "Value": 800},
            "EVMinimumDischargePower": {"Exponent": 0, "Value": 0},
            "EVMaximumDischargeCurrent": {"Exponent": -1, "Value": 200},
        },
    }
}


def recorded() -> list[tuple[str, str, bytes]]:
    """Capture, namespace and bytes of every recorded message."""
    found, capture = [], ""
    for line in RECORDED.read_text().splitlines():
        if line.startswith("#"):
            capture = line[2:]
        else:
            tag, digits = line.split()
            found.append((capture, NAMESPACES[tag], bytes.fromhex(digits)))
    return found


def test_every_message_of_a_recorded_car_comes_back_byte_for_byte() -> None:
    different = []
    for capture, namespace, data in recorded():
        message = codec().decode_message(data, namespace)
        try:
            same = codec().encode_message(message, namespace) == data
        except ExiError as refusal:
            different.append((capture.split("/")[0], str(refusal)))
            continue
        if not same:
            assert codec().encode_message(message, namespace) + b"\0" == data, capture
            different.append((capture.split("/")[0], "a zero byte too many"))
    assert len(recorded()) == 827
    assert [car for car, _ in different] == ["Seres", "Tesla", "Tesla", "Tesla"]
    assert "ChargingProfileEntryMaxNumberOfPhasesInUse: 4 is outside 1..3" in different[0][1]


def test_a_car_that_breaks_its_schema_is_shown_as_it_spoke() -> None:
    data = bytes.fromhex("8098020e8a6bfddbcfdcdfd150000000010a38f78020c41002800000")
    assert data in [message for _, _, message in recorded()]
    (profile,) = codec().decode_message(data, ISO_2)["V2G_Message"]["Body"]["PowerDeliveryReq"]["ChargingProfile"][
        "ProfileEntry"
    ]
    assert profile["ChargingProfileEntryMaxNumberOfPhasesInUse"] == 4


@pytest.mark.parametrize("namespace", SCHEMA_FILES)
def test_whatever_the_schema_permits_comes_back(namespace: str) -> None:
    comes_back(namespace, 20)


@pytest.mark.slow
@pytest.mark.parametrize("namespace", SCHEMA_FILES)
def test_whatever_the_schema_permits_comes_back_in_many_examples(namespace: str) -> None:
    comes_back(namespace, 100)


def comes_back(namespace: str, examples: int) -> None:
    schema = codec().schema(namespace)
    roots = [(root, False) for root in schema.tables.documents if schema.is_message(root.name)]
    roots += [(root, True) for root in schema.fragments() if not root.name.startswith("SignatureProp")]

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        root, fragment = data.draw(st.sampled_from(roots))
        content = data.draw(contents(schema.tables, root.type))
        encoded = schema.encode(root.name, content, fragment)
        assert schema.decode(encoded, fragment) == {root.name: content}

    check()


def test_the_interface_of_the_package_is_met() -> None:
    text = json.dumps(CHARGE_LOOP)
    data = codec().encode(text, ISO_20_DC)
    assert json.loads(codec().decode(bytearray(data), ISO_20_DC)) == CHARGE_LOOP  # type: ignore[arg-type]
    assert codec().get_version() == "quadrant-exi 1"


def test_the_order_of_names_in_json_does_not_matter() -> None:
    body = CHARGE_LOOP["DC_ChargeLoopReq"]
    turned = {"DC_ChargeLoopReq": dict(reversed(body.items()))}
    assert codec().encode_message(turned, ISO_20_DC) == codec().encode_message(CHARGE_LOOP, ISO_20_DC)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "the message is not JSON"),
        ("[" * 100_000, "the message is not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "one root element expected, not 0"),
        ('{"a": 1, "b": 2}', "one root element expected, not 2"),
        ('{"Nonsense": {}}', "Nonsense cannot be the root of a fragment"),
        ('{"DC_PreChargeReq": {}}', "DC_PreChargeReq: something is missing: expected Header"),
        ('{"DC_PreChargeReq": null}', "DC_PreChargeReq: an object with names expected"),
    ],
)
def test_what_is_no_message_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ExiError, match=sentence):
        codec().encode(text, ISO_20_DC)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("", "the stream ends after 0 bytes"),
        ("24455849", "the stream begins with 0x24; 0x80"),
        ("a0", "the stream begins with 0xA0"),
        ("80ff", "root element number 63; the schema has"),
        ("80", "the stream ends after 1 bytes"),
        ("80" + "00" * 70_000, "70001 bytes; at most 65536"),
    ],
)
def test_what_is_no_stream_is_refused_in_one_sentence(data: str, sentence: str) -> None:
    with pytest.raises(ExiError, match=sentence):
        codec().decode_message(bytes.fromhex(data), ISO_20_DC)


def test_every_truncation_is_refused() -> None:
    data = codec().encode_message(CHARGE_LOOP, ISO_20_DC)
    for length in range(len(data)):
        with pytest.raises(ExiError):
            codec().decode_message(data[:length], ISO_20_DC)


def test_zero_bytes_behind_a_message_are_ignored_and_others_refused() -> None:
    data = codec().encode_message(CHARGE_LOOP, ISO_20_DC)
    assert codec().decode_message(data + b"\0\0", ISO_20_DC) == CHARGE_LOOP
    with pytest.raises(ExiError, match="2 bytes follow after DC_ChargeLoopReq"):
        codec().decode_message(data + b"\0\1", ISO_20_DC)


def test_an_unknown_namespace_is_refused() -> None:
    with pytest.raises(SchemaError, match="no schema is known for namespace 'urn:x'"):
        codec().decode_message(b"\x80", "urn:x")


def test_a_missing_schema_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="has no XSD files"):
        ExiCodec(tmp_path)


def test_repetition_is_bounded_where_the_schema_is_not() -> None:
    """xmldsig's Reference has no upper bound: a stream of a hundred thousand of them must end at the limit."""
    reference = {"DigestMethod": {"Algorithm": "a"}, "DigestValue": ""}
    info = {
        "SignedInfo": {
            "CanonicalizationMethod": {"Algorithm": "a"},
            "SignatureMethod": {"Algorithm": "a"},
            "Reference": [reference] * 30_000,
        }
    }
    with pytest.raises(ExiError, match="more than 20000 elements"):
        codec().encode_message(info, XML_SIGNATURE)


def test_the_cache_gives_the_same_codec(tmp_path: Path) -> None:
    folder = schemas()
    assert folder is not None
    for _ in range(2):
        cached = ExiCodec(folder, tmp_path)
        cached.preload()
        assert cached.encode_message(CHARGE_LOOP, ISO_20_DC) == codec().encode_message(CHARGE_LOOP, ISO_20_DC)
    assert len(list(tmp_path.glob("exi-*.json"))) == len(SCHEMA_FILES)


# ---- signed parts (Plug & Charge). The bytes are those of EXIficient, which the oracle tests compare anew.

SIGNED_INFO = {
    "SignedInfo": {
        "CanonicalizationMethod": {"Algorithm": "http://www.w3.org/TR/canonical-exi/"},
        "SignatureMethod": {"Algorithm": "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"},
        "Reference": [
            {
                "URI": "#id1",
                "Transforms": {"Transform": [{"Algorithm": "http://www.w3.org/TR/canonical-exi/"}]},
                "DigestMethod": {"Algorithm": "http://www.w3.org/2001/04/xmlenc#sha256"},
                "DigestValue": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            }
        ],
    }
}


def test_what_gets_signed_is_a_fragment_and_comes_back() -> None:
    data = codec().encode_message(SIGNED_INFO, XML_SIGNATURE)
    assert data.hex().startswith("808112b43a3a381d1797bbbbbb973b999737b93397aa2917b1b0b737b734b1b0b616b2bc3497")
    assert codec().decode_message(data, XML_SIGNATURE) == SIGNED_INFO


def test_an_element_declared_with_two_types_is_a_fragment_of_its_own_kind() -> None:
    emaid = {"eMAID": {"Id": "id1", "value": "DE8AA1234567"}}
    data = codec().encode_message(emaid, ISO_2)
    assert data.hex() == "80ec0202b4b218c00391114e10504c4c8ccd0d4d8dfd3d00"
    assert codec().decode_message(data, ISO_2, fragment=True) == emaid


@pytest.mark.parametrize(
    ("namespace", "name", "fragment"),
    [
        (ISO_2, "AuthorizationReq", True),
        (ISO_2, "V2G_Message", False),
        (ISO_20_COMMON, "AuthorizationReq", False),
        (ISO_20_COMMON, "PnC_AReqAuthorizationMode", True),
        (ISO_20_COMMON, "SignedInstallationData", True),
        (ISO_20_COMMON, "AbsolutePriceSchedule", True),
        (APP_PROTOCOL, "supportedAppProtocolReq", False),
        (XML_SIGNATURE, "SignedInfo", True),
    ],
)
def test_a_message_is_a_document_and_a_part_of_one_a_fragment(namespace: str, name: str, fragment: bool) -> None:
    assert codec().schema(namespace).is_message(name) is not fragment


@pytest.mark.parametrize(
    ("data", "namespace", "message"),
    [
        ("8028a0", APP_PROTOCOL, {"ProtocolNamespace": ""}),
        ("807c03618b80", XML_SIGNATURE, {"SignatureValue": {"Id": "a", "value": ""}}),
    ],
)
def test_an_empty_value_by_a_processor_that_comes_from_xml_is_understood(
    data: str, namespace: str, message: dict[str, Any]
) -> None:
    assert codec().decode_message(bytes.fromhex(data), namespace, fragment=True) == message


def test_an_empty_number_is_refused() -> None:
    # VersionNumberMajor in four bits, the way out of the schema, the end at once; the end of the fragment.
    names = [root.name for root in codec().schema(APP_PROTOCOL).tables.fragments]
    bits = f"{names.index('VersionNumberMajor'):04b}" + "1" + "000" + f"{len(names) + 1:04b}"
    digits = (int(bits, 2) << 4).to_bytes(2, "big")
    with pytest.raises(ExiError, match="VersionNumberMajor: the stream leaves the schema"):
        codec().decode_message(b"\x80" + digits, APP_PROTOCOL, fragment=True)
