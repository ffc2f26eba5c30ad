"""What car and charger said to each other: durable, readable wherever it was cut off, decoded, and as a pcap file."""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
import subprocess
import zlib
from importlib.metadata import EntryPoint
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware import cli
from firmware.bridges.secc import recording
from firmware.bridges.secc.exi.codec import APP_PROTOCOL, DIN, ISO_20_COMMON
from firmware.bridges.secc.pcap import pcap
from firmware.bridges.secc.recording import Recorder, RecordingError, read, sessions
from firmware.bridges.secc.story import messages
from tests.secc.environment import codec, needs_schemas

PLUGIN = EntryPoint("session", "firmware.session_command:register", cli.PLUGIN_GROUP)
CAR = ["fe80::68fd:7aff:fe5c:5808", 50001]
SDP_RES = "01fe900100000014" + "fe80" + 27 * "0" + "1" + "ee48" + "1000"
ABOUT: dict[str, Any] = {
    "interface": "eth1",
    "tls": "",
    "car": ["fe80::68fd:7aff:fe5c:5808%eth1", 50000],
    "charger": ["fe80::1", 61000],
    "sdp": [
        {"t": 0.1, "from": "car", "car": CAR, "frame": "01fe9000000000021000"},
        {"t": 0.2, "from": "charger", "car": CAR, "frame": SDP_RES},
    ],
}  # fmt: skip


def frame(kind: int, payload: bytes) -> bytes:
    return b"\x01\xfe" + struct.pack("!HI", kind, len(payload)) + payload


def record(folder: Path, frames: list[tuple[str, bytes]], end: str | None = "SessionStop: good") -> str:
    recorder = Recorder(folder)
    recorder.begin(**ABOUT)
    for sender, one in frames:
        recorder.frame(sender, one)
    if end is not None:
        recorder.end(end)
    recorder.close()
    return sessions(folder)[-1]


FRAMES = [("car", frame(0x8001, b"abc")), ("charger", frame(0x8001, b"de")), ("car", frame(0x8002, bytes(3000)))]


# --------------------------------------------------------------------------------------------------------- the file
def test_a_session_comes_back_as_it_was_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    identity = record(tmp_path / "v2g", FRAMES)
    about, lines = read(tmp_path / "v2g", identity)
    assert {key: about[key] for key in ABOUT} == ABOUT
    assert [(line["from"], bytes.fromhex(line["frame"])) for line in lines[:-1]] == FRAMES
    assert lines[-1]["end"] == "SessionStop: good"
    assert [line["t"] for line in lines] == sorted(line["t"] for line in lines)
    path = tmp_path / "v2g" / f"{identity}.v2g"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, bytes]:
    folder = tmp_path_factory.mktemp("v2g")
    identity = record(folder, FRAMES)
    return folder, identity, (folder / f"{identity}.v2g").read_bytes()


@settings(deadline=None)
@given(st.data())
def test_wherever_the_file_was_cut_off_what_stands_before_can_be_read(
    whole: tuple[Path, str, bytes], data: st.DataObject
) -> None:
    folder, identity, content = whole
    (folder / f"{identity}.v2g").write_bytes(content)
    about, lines = read(folder, identity)
    (folder / f"{identity}.v2g").write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with contextlib.suppress(RecordingError):  # nothing of the first line is there
        again, some = read(folder, identity)
        assert again == about
        assert some == lines[: len(some)]


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_a_file_that_is_no_record_is_refused_with_a_sentence(whole: tuple[Path, str, bytes], content: bytes) -> None:
    folder, _, _ = whole
    (folder / "20200101-000000.v2g").write_bytes(content)
    with pytest.raises(RecordingError, match="has no beginning"):
        read(folder, "20200101-000000")


def test_the_second_session_of_a_second_has_a_name_of_its_own_and_comes_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording.time, "time", lambda: 1_700_000_000.0)
    for _ in range(11):
        record(tmp_path, [])
    assert sessions(tmp_path) == ["20231114-221320", *(f"20231114-221320-{k}" for k in range(2, 12))]


def test_the_oldest_sessions_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "KEPT", 3)
    for day in range(1, 6):
        (tmp_path / f"2020010{day}-000000.v2g").write_bytes(b"x")
    newest = record(tmp_path, FRAMES)
    assert sessions(tmp_path) == ["20200104-000000", "20200105-000000", newest]


def test_a_disk_that_refuses_is_said_once_and_the_next_session_is_tried_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "v2g"
    folder.write_text("in the way")
    recorder = Recorder(folder)
    recorder.begin(**ABOUT)
    recorder.frame("car", b"x")
    recorder.close()
    assert capfd.readouterr().err.count("are not recorded") == 1
    folder.unlink()
    assert record(folder, FRAMES)


@pytest.mark.parametrize("identity", ["../records", "20200101-000000/x", "", "20200101-000009"])
def test_a_session_that_is_not_there_is_refused(tmp_path: Path, identity: str) -> None:
    with pytest.raises(RecordingError):
        read(tmp_path, identity)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["v", "t", "t_wall", "car", "charger", "sdp", "tls", "frame", "end"]), inner)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(JSON_VALUES, max_size=4), st.booleans())
@example([{"t": 1.0, "end": "", "frame": None}], True)
@example([{"v": 1, "t_wall": 1.0, "t": 0.0, **ABOUT, "sdp": [{"t": 0.0, "end": "", "car": ["::1", 1]}]}], False)
def test_lines_that_are_none_of_ours_change_nothing_and_raise_nothing(
    whole: tuple[Path, str, bytes], values: list[Any], begun: bool
) -> None:
    folder, _, _ = whole
    first = [{"v": 1, "t_wall": 1.0, "t": 0.0, **ABOUT}] if begun else []
    text = "".join(json.dumps(value) + "\n" for value in [*first, *values])
    (folder / "20200101-000001.v2g").write_bytes(zlib.compress(text.encode()))
    with contextlib.suppress(RecordingError):
        about, lines = read(folder, "20200101-000001")
        assert pcap(about, lines)


# ----------------------------------------------------------------------------------------------------- the messages
def spoken() -> list[tuple[str, bytes]]:
    offer = [
        {"ProtocolNamespace": "urn:iso:std:iso:15118:-20:DC", "VersionNumberMajor": 1, "VersionNumberMinor": 0,
         "SchemaID": 7, "Priority": 2},
        {"ProtocolNamespace": DIN, "VersionNumberMajor": 2, "VersionNumberMinor": 0, "SchemaID": 3, "Priority": 1},
    ]  # fmt: skip
    sap = codec().encode(json.dumps({"supportedAppProtocolReq": {"AppProtocol": offer}}), APP_PROTOCOL)
    res = codec().encode(
        json.dumps({"supportedAppProtocolRes": {"ResponseCode": "OK_SuccessfulNegotiation", "SchemaID": 3}}),
        APP_PROTOCOL,
    )
    setup = {
        "V2G_Message": {"Header": {"SessionID": "00"}, "Body": {"SessionSetupReq": {"EVCCID": "0102030405060708"}}}
    }
    stop = {
        "SessionStopReq": {
            "Header": {"SessionID": "0102030405060708", "TimeStamp": 1},
            "ChargingSession": "Terminate",
        }
    }
    return [
        ("car", frame(0x8001, sap)),
        ("charger", frame(0x8001, res)),
        ("car", frame(0x8001, codec().encode(json.dumps(setup), DIN))),
        ("car", frame(0x8001, b"\x80\xff\xff")),
        ("car", frame(0x8002, codec().encode(json.dumps(stop), ISO_20_COMMON))),
        ("car", frame(0x9999, b"")),
    ]


@needs_schemas
def test_each_message_is_decoded_by_what_was_agreed_and_what_cannot_be_says_why(tmp_path: Path) -> None:
    about, lines = read(tmp_path, record(tmp_path, spoken()))
    told = list(messages(about, lines, codec()))
    assert [one.name for one in told] == [
        "supportedAppProtocolReq", "supportedAppProtocolRes", "SessionSetupReq", "", "SessionStopReq", "",
    ]  # fmt: skip
    assert told[2].namespace == DIN
    assert told[2].message["V2G_Message"]["Body"]["SessionSetupReq"] == {"EVCCID": "0102030405060708"}
    assert told[3].problem.startswith("3 B: ")
    assert "payload type 0x9999" in told[5].problem
    assert all(0.0 <= one.after_s < 10.0 for one in told)


@needs_schemas
def test_the_command_shows_lists_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def session(*words: str) -> int:
        return cli.main(["session", *words, "--dir", str(tmp_path)], [PLUGIN])

    assert session("show") == 1
    assert "No session with messages in" in capsys.readouterr().err
    identity = record(tmp_path / "v2g", spoken())
    assert session("list", "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["id"], listed["frames"], listed["end"]) == (identity, 6, "SessionStop: good")
    assert session("show", identity, "--json") == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["name"] for one in shown][2] == "SessionSetupReq"
    assert "problem" in shown[3]
    assert session("show") == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0].startswith(f"Session {identity}, 20")
    assert "SessionStop: good" in text.splitlines()[-1]
    assert session("show", "20000101-000000") == 1
    assert "cannot be read" in capsys.readouterr().err
    assert session("show", "--pcap", str(tmp_path / "no" / "file")) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert session("show", "--schemas", str(tmp_path)) == 1
    assert "schemas of ISO 15118 are needed" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------- pcap
def packets(file: bytes) -> list[tuple[float, bytes]]:
    """A reader of its own: header, then time and bytes of each packet."""
    assert struct.unpack_from("<IHHiIII", file) == (0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
    found, at = [], 24
    while at < len(file):
        s, ns, kept, length = struct.unpack_from("<IIII", file, at)
        assert kept == length
        found.append((s + ns / 1e9, file[at + 16 : at + 16 + length]))
        at += 16 + length
    return found


def opened(packet: bytes) -> tuple[IPv6Address, IPv6Address, int, bytes]:
    """Source, destination, next header and segment of an Ethernet frame, its checksum checked."""
    assert packet[12:14] == b"\x86\xdd"
    first, length, following, _ = struct.unpack_from("!IHBB", packet, 14)
    assert first >> 28 == 6
    segment = packet[54:]
    assert length == len(segment)
    words = packet[22:54] + struct.pack("!II", length, following) + segment
    total = sum(int.from_bytes(words[k : k + 2].ljust(2, b"\0"), "big") for k in range(0, len(words), 2))
    assert total % 0xFFFF == 0, "checksum"
    return IPv6Address(packet[22:38]), IPv6Address(packet[38:54]), following, segment


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["car", "charger"]), st.binary(max_size=4000)), max_size=8), st.booleans())
def test_the_tcp_stream_of_the_pcap_is_what_was_said(frames: list[tuple[str, bytes]], ended: bool) -> None:
    about = {"v": 1, "t_wall": 1_700_000_000.25, "t": 100.0, **ABOUT}
    lines: list[dict[str, Any]] = [
        {"t": 100.5 + k, "from": sender, "frame": frame(0x8001, data).hex()} for k, (sender, data) in enumerate(frames)
    ]
    if ended:
        lines.append({"t": 200.0, "end": "good"})
    streams: dict[IPv6Address, bytes] = {}
    expected: dict[IPv6Address, int] = {}
    for _, packet in packets(pcap(about, lines)):
        source, _, following, segment = opened(packet)
        if following != 6:
            continue
        assert len(packet) <= 1514
        sequence, flags, data = int.from_bytes(segment[4:8], "big"), segment[13], segment[(segment[12] >> 4) * 4 :]
        assert sequence == expected.get(source, 0)
        expected[source] = sequence + len(data) + bool(flags & 0x03)  # SYN and FIN count as one byte
        streams[source] = streams.get(source, b"") + data
    ends = {"car": IPv6Address("fe80::68fd:7aff:fe5c:5808"), "charger": IPv6Address("fe80::1")}
    for sender, address in ends.items():
        assert streams[address] == b"".join(frame(0x8001, data) for who, data in frames if who == sender)


def test_the_discovery_stands_before_the_connection_with_the_times_of_the_wall() -> None:
    file = packets(pcap({"v": 1, "t_wall": 1_700_000_000.0, "t": 0.3, **ABOUT}, []))
    (t, first), (_, second) = file[:2]
    assert t == pytest.approx(1_699_999_999.8)
    source, target, following, segment = opened(first)
    assert (source, target, following) == (IPv6Address("fe80::68fd:7aff:fe5c:5808"), IPv6Address("ff02::1"), 17)
    assert struct.unpack_from("!HH", segment) == (50001, 15118)
    assert (first[:6].hex(), first[6:12].hex()) == ("333300000001", "6afd7a5c5808")
    assert opened(second)[0] == IPv6Address("fe80::1")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs Wireshark's tshark (Debian: tshark)")
@needs_schemas
def test_wireshark_reads_it_without_complaint(tmp_path: Path) -> None:
    about, lines = read(tmp_path, record(tmp_path, [*spoken(), ("charger", frame(0x8002, bytes(4000)))]))
    path = tmp_path / "session.pcap"
    path.write_bytes(pcap(about, lines))
    fields = ("_ws.expert.severity", "tcp.checksum.status", "udp.checksum.status", "tcp.len", "_ws.malformed")
    argv = ["tshark", "-r", str(path), "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-T", "fields"]
    argv += [word for field in fields for word in ("-e", field)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(rows) == 2 + 3 + 6 + 3 + 3
    assert {row[1] or row[2] for row in rows} == {"1"}, "every checksum is good"
    assert not any(row[4] for row in rows)
    stream = subprocess.run(
        ["tshark", "-r", str(path), "-q", "-z", "follow,tcp,raw,0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert spoken()[0][1].hex() in stream.stdout
