"""The control socket's protocol against the real server on a real Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware.services.control import (
    COMMANDS,
    MAX_CLIENTS,
    MAX_LINE_BYTES,
    MAX_UNREAD_EVENTS,
    CannotServe,
    ControlServer,
    Watcher,
)
from tests.fake_charger import FakeCharger
from tests.waiting import LIMIT_S, until

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SNAPSHOT = {"state": "idle", "limits": [{"charge_w": float("inf")}]}


def serve(tmp_path: Path, talk: Callable[[ControlServer, FakeCharger, Path], Awaitable[None]]) -> None:
    async def main() -> None:
        path = tmp_path / "control.sock"
        charger = FakeCharger(SNAPSHOT)
        server = ControlServer(path, charger)
        await server.start()
        try:
            async with asyncio.timeout(LIMIT_S):
                await talk(server, charger, path)
        finally:
            await server.close()
        assert not path.exists()

    asyncio.run(main())


async def ask(client: Client, line: bytes | dict[str, Any]) -> dict[str, Any]:
    reader, writer = client
    writer.write((json.dumps(line).encode() if isinstance(line, dict) else line) + b"\n")
    return await receive(reader)


async def receive(reader: asyncio.StreamReader) -> dict[str, Any]:
    def strict(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    answer: dict[str, Any] = json.loads(await reader.readline(), parse_constant=strict)
    return answer


def test_one_line_is_one_answer_and_the_connection_stays(tmp_path: Path) -> None:
    async def talk(server: ControlServer, charger: FakeCharger, path: Path) -> None:
        client = await asyncio.open_unix_connection(path)
        assert await ask(client, {"command": "hello"}) == {"ok": True, "protocol": 1, "name": "quadrant"}
        answer = await ask(client, {"command": "power", "power_w": -7000, "for_s": 1800, "reason": "peak", "id": 7})
        assert answer == {"ok": True, "id": 7}
        for action in ("stop", "start", "clear", "shutdown"):
            assert await ask(client, {"command": action}) == {"ok": True}
        assert charger.calls == [("power", -7000.0, 1800.0, "peak"), ("stop",), ("start",), ("clear",), ("shutdown",)]

    serve(tmp_path, talk)


def test_numbers_that_json_does_not_know_become_null(tmp_path: Path) -> None:
    async def talk(server: ControlServer, charger: FakeCharger, path: Path) -> None:
        client = await asyncio.open_unix_connection(path)
        answer = await ask(client, {"command": "status"})
        assert answer["snapshot"]["limits"] == [{"charge_w": None}]

    serve(tmp_path, talk)


def test_only_this_user_may_connect(tmp_path: Path) -> None:
    async def talk(server: ControlServer, charger: FakeCharger, path: Path) -> None:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600

    serve(tmp_path, talk)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"power", "the line is not JSON"),
        (b"\xff\xfe", "the line is not JSON"),
        (b"[1]", "a command is a JSON object"),
        (b"{}", "`command` is missing; commands: hello"),
        (b'{"command": "fly"}', "unknown command 'fly'; commands: hello"),
        (b'{"command": ["power"]}', "unknown command"),
        (b'{"command": "power", "power_w": 1}', "power: missing required field `for_s`"),
        (b'{"command": "power", "power_w": "7kW", "for_s": 1}', "power: Expected `float`, got `str`"),
        (b'{"command": "power", "power_w": NaN, "for_s": 1}', "the line is not JSON"),
        (b'{"command": "power", "power_w": 1e999, "for_s": 1}', "out of range"),
        (b'{"command": "power", "power_w": 50000, "for_s": 60}', "outside this charger's ratings"),
        (b'{"command": "stop", "now": true}', "contains unknown field `now`"),
        (b'{"command": "events", "limit": 0}', "limit = 0 is out of range: 1 to 10000"),
        (b'{"command": "can_log"}', "either `path`"),
        (b'{"command": "can_log", "path": "/x.log", "off": true}', "either `path`"),
        (b'{"command": "can_log", "path": "/x.txt"}', "must end with"),
    ],
)
def test_a_wrong_line_gets_a_sentence_changes_nothing_and_the_next_one_is_served(
    tmp_path: Path, line: bytes, words: str
) -> None:
    async def talk(server: ControlServer, charger: FakeCharger, path: Path) -> None:
        client = await asyncio.open_unix_connection(path)
        answer = await ask(client, line)
        assert answer["ok"] is False
        assert words in answer["error"]
        assert answer["error"].endswith(".")
        assert charger.calls == []
        assert (await ask(client, {"command": "hello"}))["ok"]

    serve(tmp_path, talk)


def test_a_line_that_is_too_long_is_refused_and_ends_the_connection(tmp_path: Path) -> None:
    async def talk(server: ControlServer, charger: FakeCharger, path: Path) -> None:
        client = await asyncio.open_unix_connection(path)
        answer = await ask(client, b" " * (2 * MAX_LINE_BYTES))
        assert "the line is too long: at most 16384 bytes" in answer["error"]
        # The server closes with our rest unread, which this side may see as a reset.
        with contextlib.suppress(ConnectionResetError):
            assert await client[0].read() == b""
        other = await asyncio.open_unix_connection(path)
        assert (await ask(other, {"command": "hello"}))["ok"]

    serve(tmp_path, talk)


def test_a_last_line_without_its_end_is_served_too(tmp_path: Path) -> None:
    async def talk(server: ControlServer, charger: FakeCharger, path: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"command": "stop"}')
        writer.write_eof()
        assert (await receive(reader))["ok"]
        assert charger.calls == [("stop",)]

    serve(tmp_path, talk)


def test_more_clients_than_allowed_are_told_so_and_the_others_go_on(tmp_path: Path) -> None:
    async def talk(server: ControlServer, charger: FakeCharger, path: Path) -> None:
        clients = [await asyncio.open_unix_connection(path) for _ in range(MAX_CLIENTS)]
        for client in clients:
            assert (await ask(client, {"command": "hello"}))["ok"]
        reader, _ = await asyncio.open_unix_connection(path)
        assert "too many clients: at most 16" in (await receive(reader))["error"]
        clients[0][1].close()
        await clients[0][1].wait_closed()
        await until(lambda: server.clients < MAX_CLIENTS, "the server has noticed")
        again = await asyncio.open_unix_connection(path)
        assert (await ask(again, {"command": "hello"}))["ok"]

    serve(tmp_path, talk)


def test_watch_begins_with_the_status_then_brings_events_in_order_and_the_newest_snapshot(tmp_path: Path) -> None:
    async def talk(server: ControlServer, charger: FakeCharger, path: Path) -> None:
        client = await asyncio.open_unix_connection(path)
        first = await ask(client, {"command": "watch"})
        assert first["ok"]
        assert first["snapshot"]["state"] == "idle"
        await until(lambda: server._watchers, "the watcher")
        for tick in range(3):
            server.publish_snapshot(lambda tick=tick: {"snapshot": {"tick": tick}})  # type: ignore[misc]
        server.publish_event({"code": "a"})
        server.publish_event({"code": "b"})
        got = [await receive(client[0]) for _ in range(3)]
        assert got == [{"event": {"code": "a"}}, {"event": {"code": "b"}}, {"snapshot": {"tick": 2}}]

    serve(tmp_path, talk)


def test_nobody_watching_costs_no_snapshot(tmp_path: Path) -> None:
    async def talk(server: ControlServer, charger: FakeCharger, path: Path) -> None:
        def make() -> dict[str, Any]:
            raise AssertionError("made for nobody")

        server.publish_snapshot(make)

    serve(tmp_path, talk)


def test_a_watcher_that_does_not_read_is_bounded_and_dropped() -> None:
    async def main() -> None:
        watcher = Watcher()
        for number in range(MAX_UNREAD_EVENTS + 1):
            watcher.event({"number": number})
        got = [message async for message in watcher.messages()]
        assert len(got) == MAX_UNREAD_EVENTS
        assert got[-1] == {"event": {"number": MAX_UNREAD_EVENTS - 1}}

    asyncio.run(main())


def test_a_watcher_that_goes_away_is_forgotten(tmp_path: Path) -> None:
    async def talk(server: ControlServer, charger: FakeCharger, path: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        await ask((reader, writer), {"command": "watch"})
        await until(lambda: len(server._watchers) == 1, "the watcher")
        writer.close()
        await until(lambda: not server._watchers, "nobody is left")

    serve(tmp_path, talk)


def test_a_socket_left_by_a_killed_process_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "control.sock").write_text("left over")

    async def talk(server: ControlServer, charger: FakeCharger, path: Path) -> None:
        client = await asyncio.open_unix_connection(path)
        assert (await ask(client, {"command": "hello"}))["ok"]

    serve(tmp_path, talk)


def test_a_path_that_is_too_long_for_a_unix_socket_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(CannotServe, match="at most 107 bytes"):
            await ControlServer(tmp_path / ("x" * 120) / "control.sock", FakeCharger(None)).start()

    asyncio.run(main())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.binary(max_size=60).filter(lambda line: b"\n" not in line and line.strip()), max_size=4))
def test_whatever_a_client_sends_every_line_gets_one_json_answer(tmp_path: Path, lines: list[bytes]) -> None:
    async def talk(server: ControlServer, charger: FakeCharger, path: Path) -> None:
        client = await asyncio.open_unix_connection(path)
        for line in lines:
            answer = await ask(client, line)
            assert answer["ok"] is False
            assert answer["error"]
        assert charger.calls == []

    serve(tmp_path, talk)


def test_the_manual_names_every_command() -> None:
    manual = (Path(__file__).parent.parent / "docs" / "control-socket.md").read_text()
    for command in COMMANDS:
        assert f'"{command}"' in manual


def test_what_a_person_did_is_noted_with_who_and_only_in_printable_words(tmp_path: Path) -> None:
    async def talk(server: ControlServer, charger: FakeCharger, path: Path) -> None:
        client = await asyncio.open_unix_connection(path)
        assert (await ask(client, {"command": "note", "who": "service at ::1", "text": "stop"}))["ok"]
        wrong = [("", "x"), ("x" * 81, "x"), ("x", ""), ("x", "x" * 1001), ("x", "two\nlines"), ("\x1b[2J", "x")]
        for who, text in wrong:
            answer = await ask(client, {"command": "note", "who": who, "text": text})
            assert answer["ok"] is False
            assert "printable characters" in answer["error"]
        assert charger.calls == [("note", "service at ::1", "stop")]

    serve(tmp_path, talk)


def test_a_change_on_trial_is_confirmed_or_taken_back_over_the_socket(tmp_path: Path) -> None:
    async def talk(server: ControlServer, charger: FakeCharger, path: Path) -> None:
        client = await asyncio.open_unix_connection(path)
        change = {"command": "controls_set", "controls": [{"id": "x"}], "replace": ["y"], "confirm_s": 30}
        assert (await ask(client, change))["ok"]
        for action in ("controls_confirm", "controls_revert"):
            assert (await ask(client, {"command": action}))["ok"]
        assert [call[0] for call in charger.calls] == ["controls_set", "controls_confirm", "controls_revert"]
        assert not (await ask(client, {**change, "confirm_s": "soon"}))["ok"]

    serve(tmp_path, talk)
