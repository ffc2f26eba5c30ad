"""Framing, check sum and payloads of the pilot MCU's line."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hal.uart import pilot_frames as p
from hal.uart.pilot_frames import FrameReader, Id, crc8, decode, decode_grid_sense, encode, encode_grid_sense, frame

payloads = st.binary(min_size=8, max_size=8)
frames = st.tuples(st.integers(0, 255), payloads)


def whole_frames_at(data: bytes) -> list[int]:
    """Where in `data` a whole frame starts, by the definition alone."""
    return [
        i
        for i in range(len(data) - 11)
        if data[i] == 0xA5 and data[i + 11] == 0x03 and crc8(data[i + 1 : i + 10]) == data[i + 10]
    ]


@pytest.mark.parametrize(
    ("data", "crc"),
    [  # AUTOSAR CRC library specification, CRC8 SAE J1850; the last is the catalogue's check value
        (b"\x00\x00\x00\x00", 0x59),
        (b"\xf2\x01\x83", 0x37),
        (b"\x0f\xaa\x00\x55", 0x79),
        (b"\x00\xff\x55\x11", 0xB8),
        (b"\x33\x22\x55\xaa\xbb\xcc\xdd\xee\xff", 0xCB),
        (b"\x92\x6b\x55", 0x8C),
        (b"\xff\xff\xff\xff", 0x74),
        (b"123456789", 0x4B),
    ],
)
def test_the_check_sum_is_crc8_sae_j1850(data: bytes, crc: int) -> None:
    assert crc8(data) == crc


def test_a_frame_is_start_identifier_payload_check_sum_end() -> None:
    data = frame(0x07, bytes.fromhex("8212030000000000"))
    assert data[:2] == b"\xa5\x07"
    assert data[2:10] == bytes.fromhex("8212030000000000")
    assert data[10] == crc8(data[1:10])
    assert data[11] == 0x03
    assert len(data) == p.FRAME_BYTES


def test_the_fact_sheets_state_vector_decodes() -> None:
    fields = decode(0x07, bytes.fromhex("8212030000000000"))
    assert fields is not None
    assert (fields["Sta_PwmActive"], fields["Sta_Duty"], fields["Sta_CpState"]) == (1, 53.0, 3)


@given(payloads)
def test_the_fast_grid_decoder_equals_the_dbc_for_every_payload(payload: bytes) -> None:
    fields = decode(Id.GRID_SENSE, payload)
    assert fields is not None
    fast = decode_grid_sense(payload)
    assert fast.v_v == (fields["Grid_V1"], fields["Grid_V2"], fields["Grid_V3"])
    if fields["Grid_Frequency"] == 0:
        assert math.isnan(fast.f_hz)
    else:
        assert fast.f_hz == fields["Grid_Frequency"]
    assert fast.sequence == fields["Grid_Sequence"]


volts = st.floats(-10.0, 1000.0)


@given(st.tuples(volts, volts, volts), st.one_of(st.just(math.nan), st.floats(0.0, 100.0)), st.integers(0, 300))
def test_the_fast_grid_encoder_equals_the_dbc_inside_the_ranges(
    v_v: tuple[float, float, float], f_hz: float, sequence: int
) -> None:
    limited = [min(max(v, 0.0), 819.15) for v in v_v]
    f = 0.0 if math.isnan(f_hz) else min(f_hz, 81.915)
    # A value half-way between two steps may be rounded either way: keep clear of it.
    assume(all(abs(x / step % 1.0 - 0.5) > 1e-6 for x, step in [*((v, 0.05) for v in limited), (f, 0.005)]))
    names = ("Grid_V1", "Grid_V2", "Grid_V3")
    fields = dict(zip(names, limited, strict=True))
    assert encode_grid_sense(v_v, f_hz, sequence) == encode(
        Id.GRID_SENSE, {**fields, "Grid_Frequency": f, "Grid_Sequence": sequence & 0xFF}
    )


@given(st.binary(max_size=80), st.lists(frames, max_size=4), st.binary(max_size=80), st.data())
def test_frames_are_found_whatever_stands_around_them(
    before: bytes, wanted: list[tuple[int, bytes]], after: bytes, data: st.DataObject
) -> None:
    parts = [before]
    starts = []
    for ident, payload in wanted:
        starts.append(sum(map(len, parts)))
        parts += [frame(ident, payload), data.draw(st.binary(max_size=30))]
    stream = b"".join([*parts, after])
    assume(whole_frames_at(stream) == starts)  # the noise is noise: it forms no frame of its own
    reader = FrameReader()
    found = []
    at = 0
    while at < len(stream):  # in pieces of any size, as a serial line delivers them
        size = data.draw(st.integers(1, 40))
        found += reader.feed(stream[at : at + size])
        at += size
    # A half frame at the end may hold a whole one back until the line goes on; at most 11 bytes.
    found += reader.feed(bytes(11))
    assert found == wanted


@given(st.binary(max_size=2000))
def test_the_reader_holds_no_more_than_an_unfinished_frame(noise: bytes) -> None:
    reader = FrameReader()
    for at in range(0, len(noise), 100):
        reader.feed(noise[at : at + 100])
        assert len(reader._buffer) < p.FRAME_BYTES


@settings(max_examples=10, deadline=None)
@given(frames)
def test_a_frame_with_one_damaged_byte_is_never_taken(good: tuple[int, bytes]) -> None:
    """Every byte of the frame, damaged in every way: a drawn position may miss one, the end byte above all."""
    whole = frame(*good)
    for at in range(len(whole)):
        for flip in range(1, 256):
            data = bytearray(whole)
            data[at] ^= flip
            reader = FrameReader()
            assert reader.feed(bytes(data) + bytes(12)) == [], f"byte {at} xor {flip:02X}"
            assert reader.bad >= 1
            assert reader.feed(whole) == [good]  # and the next one is


def test_each_damaged_frame_counts_once() -> None:
    reader = FrameReader()
    bad = bytearray(frame(0x07, bytes(8)))
    bad[5] ^= 0x10
    for count in range(1, 6):
        reader.feed(bytes(bad))
        reader.feed(frame(0x07, bytes(8)))
        assert reader.bad == count


@given(st.binary(min_size=8, max_size=8).map(lambda b: b[:2] + bytes(6)))
def test_a_duty_above_100_percent_is_out_of_range(payload: bytes) -> None:
    raw = (payload[0] & 0x03) << 8 | payload[1]
    fields = decode(Id.CONTROL, payload)
    assert (fields is None) == (raw > 1000)


def test_undefined_values_of_an_enumeration_are_out_of_range() -> None:
    assert decode(Id.STATE, bytes(8)) is not None
    for bit in (33 + 0, 36, 41, 43, 45):  # contactor 1 and 2, emergency stops 1..3: value 2 has no meaning
        payload = bytearray(8)
        payload[bit // 8] |= 1 << bit % 8
        assert decode(Id.STATE, bytes(payload)) is None, f"bit {bit}"


def test_a_reset_needs_its_magic_number_and_its_complement() -> None:
    good = encode(Id.RESET, {"Rst_Magic": p.RESET_MAGIC, "Rst_Complement": p.RESET_MAGIC ^ 0xFFFFFFFF})
    assert decode(Id.RESET, good[2:10]) is not None
    for at in range(8):
        payload = bytearray(good[2:10])
        payload[at] ^= 1
        assert decode(Id.RESET, bytes(payload)) is None


@pytest.mark.parametrize("ident", [0x00, 0x05, 0x0B, 0xFE])
def test_an_unknown_identifier_decodes_to_nothing(ident: int) -> None:
    assert decode(ident, bytes(8)) is None
