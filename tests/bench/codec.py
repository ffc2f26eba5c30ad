"""Row: decode and encode rate of the BEG codec against struct written by hand for the same frames."""

from __future__ import annotations

import struct

from hal.can import infy_codec as codec
from hal.can.infy_beg import InfyBeg
from hal.ports import CanFrame
from tests.bench.harness import Row, compare

MODULE, CONTROLLER = 0x00, 0xF0
# One round of what the module says: fast values often, status, mode, grid.
REPLIES = (
    ("Rd_ModuleVoltage", 402.5),
    ("Rd_ModuleCurrent", 25.125),
    ("Rd_AcPhaseVoltageA", 230.4),
    ("Rd_AcPhaseVoltageB", 229.9),
    ("Rd_AcPhaseVoltageC", 231.0),
    ("Rd_AcFrequency", 50.012),
    ("Rd_AcTotalActivePower", -10_125.0),
    ("Rd_AmbientTemp", 31.5),
    ("Rd_InverterMode", 1.0),
)
WRITES = (("Wr_SystemVoltage", 410.0), ("Wr_ModuleCurrent", 25.125), ("Wr_DischargeCutoffVoltage", 320.0))
STATUS = 0x1110
MODE = 0x1111

_signed = struct.Struct(">Hxxi").unpack
_raw = struct.Struct(">HxxI").unpack
_pack = struct.Struct(">HxxI").pack


def decode_by_hand(identifier: int, data: bytes) -> tuple[int, float] | None:
    """What a struct written for exactly these frames does: source, command and length checked, no ranges."""
    if identifier & 0x3FFFFF != 0x23F000 or len(data) != 8:
        return None
    selector, value = _signed(data)
    if selector == STATUS:
        return _raw(data)
    return (selector, float(value)) if selector == MODE else (selector, value * 0.001)


def encode_by_hand(selector: int, value: float) -> tuple[int, bytes]:
    return 0x02A400F0, _pack(selector, round(value * 1000))


def decode_by_codec(identifier: int, data: bytes) -> tuple[int, float] | None:
    address = codec.split_id(identifier)
    if address.command != codec.READ or address.source != MODULE or address.destination != CONTROLLER:
        return None
    return codec.decode_reply(data)


def encode_by_codec(selector: int, value: float) -> tuple[int, bytes]:
    return codec.make_id(codec.WRITE, MODULE, CONTROLLER), codec.encode_write(selector, value)


def reply_frames() -> list[tuple[int, bytes]]:
    identifier = codec.make_id(codec.READ, CONTROLLER, MODULE)
    frames = [(identifier, codec.encode_reply(codec.selector_of(name), value)) for name, value in REPLIES]
    return [*frames, (identifier, codec.encode_reply(STATUS, 0x0000_0080))]


def writes() -> list[tuple[int, float]]:
    return [(codec.selector_of(name), value) for name, value in WRITES]


def check_same() -> None:
    """The yardstick must do the same work. Raises ValueError where the two differ."""
    for identifier, data in reply_frames():
        own, hand = decode_by_codec(identifier, data), decode_by_hand(identifier, data)
        if own is None or hand is None or own[0] != hand[0] or abs(own[1] - hand[1]) > 1e-9:
            raise ValueError(f"decode of {data.hex()}: the codec says {own}, struct by hand says {hand}")
    for selector, value in writes():
        own_frame, hand_frame = encode_by_codec(selector, value), encode_by_hand(selector, value)
        if own_frame != hand_frame:
            raise ValueError(f"encode of {selector:#06x} {value}: the codec says {own_frame}, by hand {hand_frame}")


def rows() -> list[Row]:
    check_same()
    frames, values = reply_frames(), writes()

    def decode_all() -> None:
        for identifier, data in frames:
            decode_by_codec(identifier, data)

    def decode_all_by_hand() -> None:
        for identifier, data in frames:
            decode_by_hand(identifier, data)

    def encode_all() -> None:
        for selector, value in values:
            encode_by_codec(selector, value)

    def encode_all_by_hand() -> None:
        for selector, value in values:
            encode_by_hand(selector, value)

    driver = InfyBeg(CONTROLLER, MODULE)
    can_frames = [CanFrame(identifier, data, 1.0) for identifier, data in frames]

    def receive_all() -> None:
        for frame in can_frames:
            driver.receive(1.0, frame)

    result = []
    for name, own, hand, calls in (
        ("BEG decode (id, selector, range)", decode_all, decode_all_by_hand, len(frames)),
        ("BEG encode (id, selector, range)", encode_all, encode_all_by_hand, len(values)),
        ("BEG driver receive (whole frame)", receive_all, decode_all_by_hand, len(frames)),
    ):
        figures, yardstick = compare(own, hand, calls)
        result.append(
            Row(
                name,
                "ns a frame; frames/s",
                figures,
                "struct by hand, no ranges",
                yardstick,
                ratio_of="median",
                note="125 kbit/s carries at most 954 such frames a second." if "receive" in name else "",
            )
        )
    return result
