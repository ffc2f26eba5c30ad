"""A screen in front of the real control socket with a charger that only remembers (tests/fake_charger.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import boards
from tests.fake_charger import Served, served
from tests.view_snapshot import snapshot

pytest.importorskip("starlette", reason="the extra `web` is not installed")
from starlette.testclient import TestClient

from firmware.web.access import Role, save_password
from firmware.web.gate import TOKEN_HEADER, Gate
from firmware.web.screen import Screen

PASSWORDS = {Role.VIEWER: "seeing is all", Role.OPERATOR: "asking for power", Role.SERVICE: "changing the rest"}
PORT = 8080


class Clock:
    """Monotonic time of the screen, moved by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """One screen and whoever looks at it."""

    def __init__(self, run_dir: Path, charger: Served, board: str = "desk") -> None:
        self.dir = run_dir
        self.charger = charger
        self.clock = Clock()
        loaded = boards.load(board, run_dir)
        self.gate = Gate(run_dir, loaded.emulated, PORT, self.clock)
        self.screen = Screen(loaded, run_dir, self.gate, self.clock, lambda: self.clock.now + 1.7e9)

    def browser(self, host: str = "localhost", address: str = "127.0.0.1") -> TestClient:
        """A new browser without cookies, on a page of the screen."""
        client = TestClient(self.screen.app, base_url=f"http://{host}:{PORT}", client=(address, 50000))
        client.headers["origin"] = f"http://{host}:{PORT}"
        return client

    def opened(self, host: str = "localhost") -> TestClient:
        """A browser that has loaded the page, so it has the token."""
        client = self.browser(host)
        client.headers[TOKEN_HEADER] = client.get("/api/me").json().get("token", "")
        return client

    def logged_in(self, role: Role) -> TestClient:
        client = self.browser()
        answer = client.post("/api/login", json={"role": role.name.lower(), "password": PASSWORDS[role]})
        assert answer.status_code == 200, answer.text
        client.headers[TOKEN_HEADER] = client.get("/api/me").json()["token"]
        return client

    def calls(self, *names: str) -> list[tuple[Any, ...]]:
        """What the charger was asked; of these commands, or everything but notes."""
        return [c for c in self.charger.charger.calls if (c[0] in names if names else c[0] != "note")]

    def notes(self) -> list[str]:
        return [f"{who}: {text}" for _, who, text in self.calls("note")]


@pytest.fixture
def charger(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, snapshot()) as charger:
        yield charger


@pytest.fixture
def desk(tmp_path: Path, charger: Served) -> Desk:
    """The emulated board, nobody has set a password."""
    return Desk(tmp_path, charger)


@pytest.fixture
def locked(tmp_path: Path, charger: Served, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The emulated board with a password for every role. (scrypt is made cheap: its cost has a test of its own.)"""
    monkeypatch.setattr("firmware.web.access.SCRYPT_N", 2)
    for role, password in PASSWORDS.items():
        save_password(tmp_path, role, password)
    return Desk(tmp_path, charger)


@pytest.fixture
def real(tmp_path: Path, charger: Served) -> Desk:
    """A real board, nobody has set a password."""
    return Desk(tmp_path, charger, "beg22")


class FakeRig:
    """rig.sock that remembers."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import json

        while line := await reader.readline():
            command = json.loads(line)
            self.asked.append(command)
            if command == {"faults": "list"}:
                answer: dict[str, Any] = {"faults": [{"name": "sag", "group": "Grid", "title": "Sag", "params": []}]}
            elif command.get("fault") == "sag":
                answer = {"ok": True}
            else:
                answer = {"error": "there is no such fault"}
            writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[FakeRig]:
    import threading

    fake, loop = FakeRig(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    start = asyncio.start_unix_server(fake.client, tmp_path / "rig.sock")
    server = asyncio.run_coroutine_threadsafe(start, loop).result(60.0)
    yield fake
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(60.0)
    loop.close()
