"""One watch for all clients: events in order, the newest state, at most ten a second; and the ring of the scope."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.control_client import ControlError, NoCharger, Refused
from firmware.web.feed import COLUMNS, KEPT_S, MAX_UNREAD_EVENTS, PERIOD_S, Feed, History, Listener, ask, row_of
from tests.fake_charger import served
from tests.simulated_loop import Clock, run
from tests.view_snapshot import snapshot
from tests.waiting import until


def row(t: float, value: float = 1.0) -> tuple[float, ...]:
    return (t, *([value] * (len(COLUMNS) - 1)))


def line(**changes: Any) -> bytes:
    return json.dumps({"snapshot": snapshot(**changes), "age_s": 0.0}).encode()


def test_a_row_has_one_value_for_each_column_and_nan_for_what_is_unknown() -> None:
    known = row_of(snapshot())
    assert len(known) == len(COLUMNS)
    named = dict(zip(COLUMNS, known, strict=True))
    assert (named["v_l2_v"], named["f_hz"], named["temp_c"]) == (231.2, 50.012, 41.0)
    unknown = row_of({"t": 1.0})
    assert unknown[0] == 1.0
    assert all(math.isnan(v) for v in unknown[1:])


@given(st.lists(st.floats(0.01, 5.0), max_size=80), st.integers(2, 40))
def test_the_ring_keeps_the_newest_rows_in_order(steps: list[float], size: int) -> None:
    history, t, added = History(size), 0.0, []
    for step in steps:
        t += step
        history.add(row(t))
        if not added or t - added[-1] >= 0.05:
            added.append(t)
    expected = [t for t in added[-size:] if not added or t >= added[-1] - KEPT_S]
    assert [r[0] for r in history.rows()] == expected


def test_a_clock_that_began_anew_begins_a_new_ring() -> None:
    history = History(10)
    history.add(row(500.0))
    history.add(row(3.0))
    history.add(row(math.nan))
    assert [r[0] for r in history.rows()] == [3.0]


def test_the_ring_is_asked_by_time() -> None:
    history = History(50)
    for i in range(20):
        history.add(row(100.0 + i))
    assert [r[0] for r in history.rows(105.0, 107.0)] == [105.0, 106.0, 107.0]


async def collect(listener: Listener, seconds: float) -> list[tuple[float, bytes]]:
    found = []
    loop = asyncio.get_running_loop()

    async def read() -> None:
        async for chunk in listener.chunks():
            found.append((loop.time(), chunk))

    task = asyncio.create_task(read())
    await asyncio.sleep(seconds)
    task.cancel()
    return found


def test_a_client_gets_every_event_in_order_and_the_newest_state_at_most_ten_times_a_second(tmp_path: Path) -> None:
    async def main() -> None:
        feed = Feed(tmp_path)
        with feed.listen() as listener:
            reader = asyncio.create_task(collect(listener, 0.75))
            await asyncio.sleep(0)
            for i in range(300):  # 500 states a second and as many events
                feed.take(line(t=10.0 + i))
                feed.take(json.dumps({"event": {"code": "state", "n": i}}).encode())
                await asyncio.sleep(0.002)
            chunks = await reader
        times = [t for t, _ in chunks]
        assert all(b - a >= PERIOD_S * 0.9 for a, b in itertools.pairwise(times))
        text = b"".join(chunk for _, chunk in chunks).decode()
        events = [json.loads(part[6:])["n"] for part in text.split("\n") if '"n":' in part]
        assert events == list(range(events[-1] + 1))
        assert text.count("event: state") == sum(b"event: state" in chunk for _, chunk in chunks)
        assert feed.listeners == 0

    run(Clock(), main())


def test_a_client_that_does_not_read_costs_a_bounded_amount_of_memory(tmp_path: Path) -> None:
    async def main() -> None:
        feed = Feed(tmp_path)
        with feed.listen() as listener:
            for i in range(3 * MAX_UNREAD_EVENTS):
                feed.take(json.dumps({"event": {"n": i}}).encode())
                feed.take(line(t=float(i)))
            ((_, chunk),) = await collect(listener, 0.05)
        assert chunk.count(b"event: happened") == MAX_UNREAD_EVENTS
        assert chunk.count(b"event: state") == 1

    run(Clock(), main())


def test_whoever_comes_sees_the_newest_state_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        feed = Feed(tmp_path)
        feed.take(line(t=77.0))
        with feed.listen() as listener:
            ((_, chunk),) = await collect(listener, 0.05)
        assert b'event: link\ndata: {"connected":false}' in chunk
        assert b'"t": 77.0' in chunk or b'"t":77.0' in chunk

    run(Clock(), main())


def test_a_silent_line_is_kept_open_with_comments() -> None:
    async def main() -> None:
        listener = Listener()
        chunks = await collect(listener, 10.0)
        assert [chunk for _, chunk in chunks] == [b": still here\n\n"] * 3
        listener.close()
        assert await collect(listener, 10.0) == []

    run(Clock(), main())


@pytest.mark.parametrize("bad", [b"[]", b"3", b'{"snapshot": null}', b'{"snapshot": 3}', b"{}"])
def test_a_message_that_is_none_changes_nothing(tmp_path: Path, bad: bytes) -> None:
    feed = Feed(tmp_path)
    feed.take(bad)
    assert list(feed.history.rows()) == []


def test_the_watch_comes_back_after_the_charger_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware.web.feed.RETRY_S", 0.02)

    async def main() -> None:
        feed = Feed(tmp_path)
        task = asyncio.create_task(feed.run())
        with feed.listen() as listener:
            heard: list[bytes] = []

            async def read() -> None:
                async for chunk in listener.chunks():
                    heard.append(chunk)

            reader = asyncio.create_task(read())
            for t in (50.0, 60.0):
                with served(tmp_path, snapshot(t=t)):
                    await until(lambda: feed.connected, "the charger")
                    await until(lambda t=t: any(row[0] == t for row in feed.history.rows()), "its state")
                await until(lambda: not feed.connected, "its end")
            await until(lambda: b"".join(heard).count(b'"connected":false') == 3, "all of it")
            text = b"".join(heard).decode()
            reader.cancel()
        task.cancel()
        link = [part for part in text.split("\n") if "connected" in part]
        assert link[0].endswith("false}")
        assert sum(part.endswith("true}") for part in link) == 2
        assert [r[0] for r in feed.history.rows()] == [50.0, 60.0]

    asyncio.run(main())


def test_a_command_without_a_charger_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NoCharger, match="does not answer"):
        asyncio.run(ask(tmp_path, "status"))
    with served(tmp_path, snapshot()):
        assert asyncio.run(ask(tmp_path, "hello"))["name"] == "quadrant"
        with pytest.raises(Refused, match="unknown command"):
            asyncio.run(ask(tmp_path, "nonsense"))


@pytest.mark.parametrize("answer", [b"", b"[]\n", b"{}\n{"])
def test_a_charger_that_answers_nonsense_is_a_sentence(tmp_path: Path, answer: bytes) -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(answer)
            writer.close()

        server = await asyncio.start_unix_server(serve, tmp_path / "control.sock")
        try:
            if answer.startswith(b"{}"):
                assert await ask(tmp_path, "status") == {}
            else:
                with pytest.raises(ControlError):
                    await ask(tmp_path, "status")
        finally:
            server.close()

    asyncio.run(main())
