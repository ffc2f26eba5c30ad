"""Bits and values of the EXI codec: what no schema is needed for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.bridges.secc.exi.bits import BitReader, BitWriter
from firmware.bridges.secc.exi.errors import ExiError
from firmware.bridges.secc.exi.values import (
    MAX_VALUE_LENGTH,
    Binary,
    Boolean,
    Enumeration,
    Integer,
    Leaf,
    String,
    built_in,
    leaf_from_record,
)

LEAVES: list[Leaf] = [
    Boolean(),
    Enumeration(("a", "b", "c")),
    Integer(-3, 3),
    Integer(0, 2**16 - 1),
    Integer(None, None),
    Binary(base64=True),
    Binary(base64=False),
    String(),
]


def written(leaf: Leaf, value: object) -> bytes:
    out = BitWriter()
    leaf.write(out, value)
    return out.finish()


@given(st.lists(st.integers(0, 40).flatmap(lambda w: st.tuples(st.integers(0, 2**w - 1), st.just(w))), max_size=80))
def test_bit_fields_come_back_whatever_their_widths(fields: list[tuple[int, int]]) -> None:
    out = BitWriter()
    for value, width in fields:
        out.write(value, width)
    source = BitReader(out.finish())
    assert [source.read(width) for _, width in fields] == [value for value, _ in fields]
    assert source.left < 8


@given(st.integers(0, 2**160 - 1))
def test_unsigned_integers_come_back(value: int) -> None:
    out = BitWriter()
    out.write_unsigned(value)
    assert BitReader(out.finish()).read_unsigned() == value


def test_an_integer_that_never_ends_is_refused() -> None:
    with pytest.raises(ExiError, match="more than 24 octets"):
        BitReader(b"\xff" * 100).read_unsigned()


@pytest.mark.parametrize(
    ("leaf", "value", "expected"),
    [
        (Boolean(), True, "80"),
        (Enumeration(("a", "b", "c")), "c", "80"),  # 2 in two bits
        (Integer(-3, 3), 3, "c0"),  # 6 in three bits
        (Integer(0, 4095), 4095, "fff0"),  # 4096 values: twelve bits
        (Integer(0, 4096), 4096, "8020"),  # 4097 values: groups of seven bits
        (Integer(-32768, 32767), -1, "8000"),  # sign bit, then -value - 1
        (Integer(None, None), 128, "400080"),
        (String(), "A", "0341"),
        (String(), "", "02"),
        (Binary(base64=False), "0aFF", "020aff"),
        (Binary(base64=True), "Cv8=", "020aff"),
    ],
)
def test_values_have_the_bits_of_the_exi_recommendation(leaf: Leaf, value: object, expected: str) -> None:
    assert written(leaf, value).hex() == expected


@pytest.mark.parametrize(
    ("leaf", "value", "sentence"),
    [
        (Boolean(), 1, "true or false expected, not 1"),
        (Enumeration(("a", "b")), "d", "'d' is not one of a, b"),
        (Enumeration(("a", "b")), ["a"], "is not one of"),
        (Integer(-3, 3), 4, r"4 is outside -3\.\.3"),
        (Integer(0, None), -1, r"-1 is outside 0\.\.infinity"),
        (Integer(0, 255), True, "a whole number expected, not True"),
        (Integer(0, 255), 1.0, "a whole number expected, not 1.0"),
        (Integer(0, 255), "1", "a whole number expected, not '1'"),
        (Integer(None, None), 2**160, "at most 160 bits"),
        (Binary(base64=False), "abc", "is not hex digits"),
        (Binary(base64=True), "a b=", "is not base64"),
        (Binary(base64=True), b"ab", "base64 expected"),
        (Binary(base64=False), "00" * (MAX_VALUE_LENGTH + 1), "at most 8192"),
        (String(), 5, "a string expected, not 5"),
        (String(), "x" * (MAX_VALUE_LENGTH + 1), "at most 8192"),
        (String(), "\ud800", "surrogate"),
    ],
)
def test_a_value_that_cannot_be_written_is_refused_in_one_sentence(leaf: Leaf, value: object, sentence: str) -> None:
    with pytest.raises(ExiError, match=sentence) as refusal:
        written(leaf, value)
    assert "\n" not in str(refusal.value)


def test_even_a_number_too_long_to_print_gets_its_sentence() -> None:
    with pytest.raises(ExiError, match="a very large number is outside"):
        written(Integer(0, 255), 10**5000)


@pytest.mark.parametrize(
    ("leaf", "data", "sentence"),
    [
        (Enumeration(("a", "b", "c")), "c0", "value number 3 of an enumeration that has 3"),
        (String(), "00", "string table"),
        (String(), "01", "string table"),
        (String(), "0a41", "8 characters announced, but only 1 bytes follow"),
        (String(), "0380b003", "55296 is not the number of a character"),
        (String(), "03ffffff7f", "is not the number of a character"),
        (String(), "ffffff7f", "at most 8192"),
        (Binary(base64=False), "05aa", "5 bytes announced, but only 1 bytes follow"),
        (Binary(base64=True), "ffffff7f", "at most 8192"),
        (Integer(0, 255), "", "the stream ends after 0 bytes"),
    ],
)
def test_bits_that_are_no_value_are_refused(leaf: Leaf, data: str, sentence: str) -> None:
    with pytest.raises(ExiError, match=sentence):
        leaf.read(BitReader(bytes.fromhex(data)))


@given(st.sampled_from(LEAVES), st.binary(max_size=40))
def test_reading_any_bytes_gives_a_value_that_writes_the_same_bits_or_a_sentence(leaf: Leaf, data: bytes) -> None:
    source = BitReader(data)
    try:
        value = leaf.read(source)
    except ExiError:
        return
    try:
        again = BitReader(written(leaf, value))
    except ExiError:
        return  # an integer beyond its type: reading shows what was sent, writing refuses it
    assert leaf.read(again) == value


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_survives_the_table_cache(leaf: Leaf) -> None:
    assert leaf_from_record(leaf.record()).record() == leaf.record()


@pytest.mark.parametrize("name", ["float", "dateTime", "decimal", "QName", "nonsense"])
def test_a_type_that_the_codec_does_not_know_is_refused(name: str) -> None:
    with pytest.raises(ExiError, match=f"xs:{name} is not a type"):
        built_in(name)
