"""A slice of the fuzzing, and the shapes of input that a mutation finds rarely. `make fuzz-exi` is the long run."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.bridges.secc.exi.codec import SCHEMA_FILES, XML_SIGNATURE
from firmware.bridges.secc.exi.errors import ExiError
from tests.secc.environment import codec, needs_schemas
from tests.secc.fuzz_exi import LONGEST_S, Result, check, run

pytestmark = needs_schemas


def test_ten_thousand_broken_messages_end_in_a_message_or_a_sentence() -> None:
    result = run(10_000, seed=2)
    assert result.inputs == 10_000
    assert result.decoded > 500


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_hundred_thousand_broken_messages_end_in_a_message_or_a_sentence() -> None:
    assert run(300_000, seed=int(time.time())).inputs == 300_000


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SCHEMA_FILES)), st.binary(max_size=200), st.booleans())
def test_any_bytes_end_in_a_message_or_a_sentence(namespace: str, data: bytes, fragment: bool) -> None:
    check(codec(), b"\x80" + data, namespace, fragment, Result())


@pytest.mark.parametrize("namespace", SCHEMA_FILES)
@pytest.mark.parametrize("byte", [0x00, 0xFF, 0x80, 0x7F, 0x01, 0x55, 0xAA, 0x24])
def test_the_longest_stream_of_one_byte_ends_soon(namespace: str, byte: int) -> None:
    """64 kB of the same byte: repetition without end, numbers without end, strings without end."""
    begun = time.process_time()
    check(codec(), b"\x80" + bytes([byte]) * 65_535, namespace, False, Result())
    check(codec(), b"\x80" + bytes([byte]) * 65_535, namespace, True, Result())
    assert time.process_time() - begun < 2 * LONGEST_S


def test_the_slowest_stream_that_can_be_composed_ends_soon() -> None:
    """As many elements as the limits permit: they end with the limit, within the time bound."""
    reference = {"DigestMethod": {"Algorithm": ""}, "DigestValue": ""}
    info = {
        "CanonicalizationMethod": {"Algorithm": ""},
        "SignatureMethod": {"Algorithm": ""},
        "Reference": [reference] * 6_600,
    }
    data = codec().encode_message({"SignedInfo": info}, XML_SIGNATURE)
    begun = time.process_time()
    assert len(codec().decode_message(data, XML_SIGNATURE)["SignedInfo"]["Reference"]) == 6_600
    assert time.process_time() - begun < LONGEST_S


def test_a_refusal_names_the_place() -> None:
    data = bytes.fromhex("8098020e8a6bfddbcfdcdfd150000000010a38f78020c41002800000")[:12]
    with pytest.raises(ExiError, match=r"^V2G_Message/Body"):
        codec().decode_message(data, "urn:iso:15118:2:2013:MsgDef")
