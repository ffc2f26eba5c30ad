"""BEG codec: the facts' vectors, equality with cantools for every frame, and nothing raises."""

from __future__ import annotations

import struct
from importlib import resources
from typing import Any

import cantools.database
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.can import infy_codec as codec

DATABASE: Any = cantools.database.load_string(
    resources.files("hal.can").joinpath(codec.DBC_FILE).read_text(), "dbc", frame_id_mask=codec.ID_MASK
)


def cantools_message(identifier: int) -> Any:
    return DATABASE.get_message_by_frame_id(identifier, force_extended_id=True)


READ_MESSAGE, WRITE_MESSAGE = cantools_message(0x02A33FF0), cantools_message(0x02A43FF0)


@pytest.mark.parametrize(
    ("selector", "value", "payload"),
    [
        (0x1001, 770.0, "10 01 00 00 00 0B BF D0"),
        (0x1132, 650.0, "11 32 00 00 00 09 EB 10"),
        (0x1131, 790.0, "11 31 00 00 00 0C 0D F0"),
        (0x1102, 2.5, "11 02 00 00 00 00 09 C4"),
        (0x2110, codec.MODE_INVERTER, "21 10 00 00 00 00 00 A1"),
        (0x1110, codec.OFF, "11 10 00 00 00 00 00 A1"),
    ],
)
def test_write_vectors_of_the_fact_sheet(selector: int, value: float, payload: str) -> None:
    assert codec.encode_write(selector, value) == bytes.fromhex(payload)
    assert codec.decode_write(bytes.fromhex(payload)) == (selector, pytest.approx(value))


@pytest.mark.parametrize(
    ("identifier", "command", "destination", "source"),
    [
        (0x02A43FF0, codec.WRITE, 0x3F, 0xF0),
        (0x02A33FF0, codec.READ, 0x3F, 0xF0),
        (0x02A301F0, codec.READ, 0x01, 0xF0),
        (0x02A3F000, codec.READ, 0xF0, 0x00),
        (0x02A3F03F, codec.READ, 0xF0, 0x3F),
    ],
)
def test_identifier_vectors_of_the_fact_sheet(identifier: int, command: int, destination: int, source: int) -> None:
    assert codec.make_id(command, destination, source) == identifier
    assert codec.split_id(identifier) == (0, codec.DEVICE_MODULE, command, destination, source)


@given(st.integers(0, (1 << 29) - 1))
def test_every_identifier_survives_splitting_and_making(identifier: int) -> None:
    error, device, command, destination, source = codec.split_id(identifier)
    assert codec.make_id(command, destination, source, device=device, error=error) == identifier


def test_one_selector_means_different_things_in_read_and_write() -> None:
    for selector in (0x1131, 0x1132, 0x1110, 0x1103, 0x2105, 0x2110):
        assert codec.READ_FIELDS[selector].name != codec.WRITE_FIELDS[selector].name


def test_status_bits_stand_where_the_fact_sheet_says() -> None:
    # byte.bit as in the sheet; byte 7 is the least significant one
    assert codec.STATUS_BITS["St_OutputShort"] == 1 << 0
    assert codec.STATUS_BITS["St_Sleeping"] == 1 << 4
    assert codec.STATUS_BITS["St_DcSideOff"] == 1 << 8
    assert codec.STATUS_BITS["St_CommInterrupt"] == 1 << 15
    assert codec.STATUS_BITS["St_IdRepeat"] == 1 << 17
    assert codec.STATUS_BITS["St_PfcSideOff"] == 1 << 23
    assert len(set(codec.STATUS_BITS.values())) == 19


tails = st.one_of(st.integers(0, 0xFFFFFFFF), st.integers(0, 2_000_000), st.integers(0xFFF00000, 0xFFFFFFFF))


def by_cantools(message: Any, data: bytes) -> dict[str, Any]:
    values: dict[str, Any] = message.decode(data, decode_choices=False)
    del values[message.signals[0].name]
    return values


@given(st.sampled_from(sorted(codec.READ_FIELDS)), tails)
def test_a_reply_decodes_as_cantools_decodes_it(selector: int, tail: int) -> None:
    data = struct.pack(">HHI", selector, 0, tail)
    theirs = by_cantools(READ_MESSAGE, data)
    ours = codec.decode_reply(data)
    field = codec.READ_FIELDS[selector]
    if field.name == "Status":
        assert ours == (selector, tail)
        assert {name: int(bool(tail & bit)) for name, bit in codec.STATUS_BITS.items()} == theirs
    elif field.minimum <= theirs[field.name] <= field.maximum:
        assert ours == (selector, theirs[field.name])
    else:
        assert ours is None


@given(st.sampled_from(sorted(codec.WRITE_FIELDS)), tails)
def test_a_write_decodes_as_cantools_decodes_it(selector: int, tail: int) -> None:
    data = struct.pack(">HHI", selector, 0, tail)
    theirs = by_cantools(WRITE_MESSAGE, data)
    field = codec.WRITE_FIELDS[selector]
    inside = field.minimum <= theirs[field.name] <= field.maximum
    assert codec.decode_write(data) == ((selector, theirs[field.name]) if inside else None)


@given(st.sampled_from(sorted(codec.WRITE_FIELDS)), st.floats(0.0, 1.0))
def test_a_write_is_encoded_as_cantools_encodes_it(selector: int, share: float) -> None:
    field = codec.WRITE_FIELDS[selector]
    raw = round((field.minimum + share * (field.maximum - field.minimum)) / field.scale)
    value = raw * field.scale
    theirs = WRITE_MESSAGE.encode({"Wr_Selector": selector, field.name: value}, strict=False)
    assert codec.encode_write(selector, value) == theirs
    decoded = codec.decode_write(theirs)
    assert decoded == (selector, value)


@given(st.sampled_from(sorted(set(codec.READ_FIELDS) - {0x1110})), st.floats(0.0, 1.0))
def test_a_reply_survives_encoding_and_decoding(selector: int, share: float) -> None:
    field = codec.READ_FIELDS[selector]
    value = field.minimum + share * (field.maximum - field.minimum)
    decoded = codec.decode_reply(codec.encode_reply(selector, value))
    assert decoded is not None
    assert decoded[1] == pytest.approx(value, abs=field.scale / 2)


@given(st.sampled_from(sorted(codec.WRITE_FIELDS)), st.floats())
def test_a_value_out_of_range_is_refused_before_it_can_leave(selector: int, value: float) -> None:
    field = codec.WRITE_FIELDS[selector]
    if not field.minimum <= value <= field.maximum:
        with pytest.raises(ValueError, match=field.name):
            codec.encode_write(selector, value)


@given(st.binary(max_size=10))
def test_no_payload_makes_the_decoder_raise(data: bytes) -> None:
    for decode in (codec.decode_reply, codec.decode_write):
        result = decode(data)
        assert result is None or len(data) == 8


@pytest.mark.parametrize("selector", [0x0000, 0x1133 + 1, 0x2120, 0xFFFF])
def test_a_selector_that_cannot_be_read_is_not_a_reply(selector: int) -> None:
    assert codec.decode_reply(struct.pack(">HHI", selector, 0, 1)) is None
    with pytest.raises(KeyError):
        codec.encode_read(selector)
