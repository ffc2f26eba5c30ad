"""A recorded session as messages: frames to names and content. Pure but for the schemas that the codec reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from firmware.bridges.secc.car import name_and_body
from firmware.bridges.secc.exi import ExiCodec, ExiError
from firmware.bridges.secc.exi.codec import APP_PROTOCOL, DIN, ISO_2, ISO_20_COMMON, ISO_20_DC
from firmware.bridges.secc.framing import HEADER_BYTES

# Payload types of V2GTP: ISO 15118-2 table 10, ISO 15118-20 table 12 (as the package names them).
_EXI = 0x8001
_OF_20 = {0x8002: ISO_20_COMMON, 0x8004: ISO_20_DC}


@dataclass(frozen=True, slots=True)
class Told:
    """One message. after_s: since the connection stood. problem: why it could not be decoded, in one sentence."""

    t: float
    after_s: float
    sender: str
    name: str
    namespace: str
    message: Mapping[str, Any]
    problem: str = ""


def messages(about: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], codec: ExiCodec) -> Iterator[Told]:
    """Every frame of a session (recording.read), decoded; one that cannot be says why."""
    began = float(about["t"])
    agreed = ""  # namespace of payload type 0x8001 after the agreement on a protocol
    asked: Mapping[str, str] = {}
    for line in lines:
        if "frame" not in line:
            continue
        frame, t, sender = bytes.fromhex(line["frame"]), float(line["t"]), str(line["from"])
        kind, payload = int.from_bytes(frame[2:4], "big"), frame[HEADER_BYTES:]
        namespace = _OF_20.get(kind, agreed or APP_PROTOCOL)
        try:
            if kind != _EXI and kind not in _OF_20:
                raise ExiError(f"payload type 0x{kind:04X} is not known")
            message = codec.decode_message(payload, namespace)
        except ExiError as fault:
            yield Told(t, t - began, sender, "", namespace, {}, f"{len(payload)} B: {fault}")
            continue
        name, body = name_and_body(message)
        yield Told(t, t - began, sender, name, namespace, message)
        if name == "supportedAppProtocolReq":
            asked = _offers(body)
        elif name == "supportedAppProtocolRes":
            agreed = asked.get(str(body.get("SchemaID")), "")


def _offers(body: Mapping[str, Any]) -> dict[str, str]:
    """Schema ID to namespace, of those whose messages have the payload type 0x8001."""
    offers = body.get("AppProtocol")
    return {
        str(offer.get("SchemaID")): name
        for offer in (offers if isinstance(offers, list) else [])
        if (name := str(offer.get("ProtocolNamespace"))) in (DIN, ISO_2)
    }
