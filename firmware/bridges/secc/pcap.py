"""A recorded session as a pcap file: real addresses, ports, times and V2GTP bytes in Ethernet, IPv6, UDP and TCP.

Pure, standard library. What was not recorded is made and is the same in every file: segments (one for each message),
sequence numbers (from 0), acknowledgements, the handshake, and hardware addresses where the IPv6 address does not tell
them. A session over TLS shows what was inside: `text`, where a capture on the wire shows ciphertext.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MAGIC_NS, _ETHERNET = 0xA1B23C4D, 1  # pcap(5): nanoseconds; LINKTYPE_ETHERNET
_TCP, _UDP = 6, 17
_FIN, _SYN, _PSH, _ACK = 0x01, 0x02, 0x08, 0x10
_GROUP = ipaddress.IPv6Address("ff02::1")  # all nodes: where a car's SDP request goes
_SDP_PORT = 15118
_SEGMENT_BYTES = 1440  # payload of a segment in an Ethernet frame of 1500 bytes

End = tuple[ipaddress.IPv6Address, int]


def pcap(about: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> bytes:
    """The file of a session (recording.read)."""
    offset_s = float(about["t_wall"]) - float(about["t"])
    out = [struct.pack("<IHHiIII", _MAGIC_NS, 2, 4, 0, 0, 65535, _ETHERNET)]
    for t, packet in _packets(about, lines):
        ns = max(0, min(round((t + offset_s) * 1e9), 2**32 * 10**9 - 1))  # what the format can hold
        out.append(struct.pack("<IIII", ns // 10**9, ns % 10**9, len(packet), len(packet)) + packet)
    return b"".join(out)


def _packets(about: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> Iterator[tuple[float, bytes]]:
    car, charger = _end(about["car"]), _end(about["charger"])
    for one in about.get("sdp", ()):
        asker, data = _end(one["car"]), bytes.fromhex(one["frame"])
        if one["from"] == "car":
            yield float(one["t"]), _udp(asker, (charger[0] if charger[0].is_loopback else _GROUP, _SDP_PORT), data)
        else:
            yield float(one["t"]), _udp((charger[0], _SDP_PORT), asker, data)
    ends = {"car": (car, charger), "charger": (charger, car)}
    sent = {"car": 1, "charger": 1}  # bytes of each side so far, SYN included
    t = float(about["t"])
    yield t, _tcp(car, charger, 0, 0, _SYN)
    yield t, _tcp(charger, car, 0, 1, _SYN | _ACK)
    yield t, _tcp(car, charger, 1, 1, _ACK)
    for line in lines:
        t = float(line["t"])
        if "frame" not in line:
            continue
        sender = str(line["from"])
        other = "car" if sender == "charger" else "charger"
        data = bytes.fromhex(line["frame"])
        for at in range(0, len(data), _SEGMENT_BYTES):
            part = data[at : at + _SEGMENT_BYTES]
            yield t, _tcp(*ends[sender], sent[sender], sent[other], _PSH | _ACK, part)
            sent[sender] += len(part)
    if lines and "end" in lines[-1]:
        yield t, _tcp(car, charger, sent["car"], sent["charger"], _FIN | _ACK)
        yield t, _tcp(charger, car, sent["charger"], sent["car"] + 1, _FIN | _ACK)
        yield t, _tcp(car, charger, sent["car"] + 1, sent["charger"] + 1, _ACK)


def _end(address: Sequence[Any]) -> End:
    return ipaddress.IPv6Address(str(address[0]).partition("%")[0]), int(address[1])


def _tcp(source: End, target: End, sequence: int, acknowledged: int, flags: int, data: bytes = b"") -> bytes:
    header = struct.pack(
        "!HHIIBBHHH", source[1], target[1], sequence & 0xFFFFFFFF, acknowledged & 0xFFFFFFFF, 5 << 4, flags, 65535, 0, 0
    )
    return _ip(source[0], target[0], _TCP, header + data, 16)


def _udp(source: End, target: End, data: bytes) -> bytes:
    header = struct.pack("!HHHH", source[1], target[1], 8 + len(data), 0)
    return _ip(source[0], target[0], _UDP, header + data, 6)


def _ip(
    source: ipaddress.IPv6Address, target: ipaddress.IPv6Address, protocol: int, segment: bytes, checksum_at: int
) -> bytes:
    """An Ethernet frame; the segment's checksum is filled in (RFC 8200, 8.1)."""
    pseudo = source.packed + target.packed + struct.pack("!II", len(segment), protocol)
    total = sum(struct.unpack(f"!{(len(pseudo + segment) + 1) // 2}H", _even(pseudo + segment)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    checksum = (~total & 0xFFFF) or 0xFFFF  # in UDP zero would mean that there is none
    segment = segment[:checksum_at] + struct.pack("!H", checksum) + segment[checksum_at + 2 :]
    header = struct.pack("!IHBB", 6 << 28, len(segment), protocol, 255 if target.is_multicast else 64)
    ethernet = _hardware(target) + _hardware(source) + b"\x86\xdd"
    return ethernet + header + source.packed + target.packed + segment


def _even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)


def _hardware(address: ipaddress.IPv6Address) -> bytes:
    """RFC 2464 for a group; the one in an EUI-64; otherwise a locally administered one of the address's last bytes."""
    packed = address.packed
    if address.is_multicast:
        return b"\x33\x33" + packed[12:]
    if packed[11:13] == b"\xff\xfe":
        return bytes([packed[8] ^ 0x02]) + packed[9:11] + packed[13:]
    return b"\x02\x00" + packed[12:]
