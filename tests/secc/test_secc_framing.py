"""One V2GTP frame per read, whatever TCP did on the way."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from firmware.bridges.secc.framing import HEADER_BYTES, MAX_PAYLOAD_BYTES, FramedReader


def frame(payload: bytes) -> bytes:
    return b"\x01\xfe\x80\x01" + len(payload).to_bytes(4, "big") + payload


async def frames_of(chunks: list[bytes]) -> list[bytes]:
    """What comes out when `chunks` arrive one after the other and then the connection ends."""
    stream = asyncio.StreamReader()
    reader = FramedReader(stream)

    async def arrive() -> None:
        for chunk in chunks:
            stream.feed_data(chunk)
            await asyncio.sleep(0)
        reader.feed_eof()

    arriving = asyncio.create_task(arrive())
    found = []
    while read := await reader.read(7000):
        found.append(read)
        if len(read) == HEADER_BYTES and read != frame(b""):
            break  # the package ends the session here
    await arriving
    return found


payloads = st.lists(st.binary(max_size=300), min_size=1, max_size=4)


@given(payloads, st.data())
def test_cuts_and_joins_make_no_difference(sent: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frame(payload) for payload in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if b > a]
    assert asyncio.run(frames_of(chunks)) == [frame(payload) for payload in sent]


def test_a_message_cut_at_every_byte_is_one_message() -> None:
    whole = frame(bytes(range(200))) + frame(b"next")
    for cut in range(1, len(whole)):
        assert asyncio.run(frames_of([whole[:cut], whole[cut:]])) == [frame(bytes(range(200))), frame(b"next")]


def test_a_connection_that_ends_inside_a_message_gives_no_message() -> None:
    whole = frame(b"hello")
    for end in range(len(whole)):
        assert asyncio.run(frames_of([whole[:end]] if end else [])) == []


def test_what_is_no_header_is_handed_on_alone_so_that_the_package_refuses_it() -> None:
    assert asyncio.run(frames_of([b"GET / HTTP/1.1\r\n"])) == [b"GET / HT"]


def test_a_length_beyond_the_limit_is_not_waited_for() -> None:
    header = b"\x01\xfe\x80\x01" + (MAX_PAYLOAD_BYTES + 1).to_bytes(4, "big")
    assert asyncio.run(frames_of([header])) == [header]
    largest = frame(bytes(MAX_PAYLOAD_BYTES))
    assert asyncio.run(frames_of([largest])) == [largest]
