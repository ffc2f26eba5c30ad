"""npm `ocpp-rpc` in strict mode as a back end that nobody here wrote, and a charger in a session with it."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.view import GridPort
from tests.ocpp.test_bridge import Desk, settings
from tests.waiting import until

HERE = Path(__file__).parent / "foreign"


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server with its packages installed."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("foreign")
    for file in ("package.json", "server.js"):
        shutil.copy(HERE / file, folder)
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True, timeout=250
    )
    if done.returncode != 0:
        pytest.skip(f"npm could not install ocpp-rpc: {done.stderr[-300:]}")
    return folder


class Foreign:
    """The running server. said: its words."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[list[Any]] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.said.append(json.loads(line))

    def words(self, first: str) -> list[list[Any]]:
        return [word for word in self.said if word[0] == first]

    def told(self, action: str) -> list[Any]:
        """What the charger said under `action`, the oldest first."""
        return [word[2] for word in self.words("told") if word[1] == action]

    async def call(self, action: str, payload: dict[str, Any]) -> list[Any]:
        """["answer", action, payload] or ["refused", action, code]."""
        assert self._process.stdin is not None
        before = len(self.words("answer")) + len(self.words("refused"))
        self._process.stdin.write(json.dumps([action, payload]).encode() + b"\n")
        await until(lambda: len(self.words("answer")) + len(self.words("refused")) > before, action)
        return next(word for word in reversed(self.said) if word[0] in ("answer", "refused"))

    async def good(self, action: str, payload: dict[str, Any], status: str = "Accepted") -> dict[str, Any]:
        """A call whose answer has this status."""
        kind, _, answer = await self.call(action, payload)
        assert (kind, answer.get("status") if kind == "answer" else answer) == ("answer", status), (action, answer)
        return dict(answer)

    async def end(self) -> None:
        self._process.kill()
        await self._process.wait()
        await self._reading


Story = Callable[[Desk, Foreign], Awaitable[None]]


def played(dialect: Dialect, package: Path, story: Story, grid: GridPort | None = None, **more: Any) -> None:
    """A charger connects to the foreign back end, `story` is played, and neither side found a schema error. more: of
    tests.ocpp.test_bridge.Desk."""

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            "node", "server.js", dialect.subprotocol, cwd=package,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        foreign = Foreign(process)
        try:
            (_, port) = await until(lambda: next(iter(foreign.words("port")), None), "the port")
            async with Desk(settings(port, **more.pop("settings", {})), grid, **more) as desk:
                await story(desk, foreign)
                assert foreign.words("connected") == [["connected", "CP-1", dialect.subprotocol]]
                assert foreign.words("invalid") == foreign.words("bad") == []
                assert [sentence for sentence in desk.said if "failed" in sentence or "schema" in sentence] == []
        finally:
            await foreign.end()

    asyncio.run(main())
