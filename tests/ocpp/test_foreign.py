"""Against a back end that nobody here wrote: npm `ocpp-rpc` in strict mode, whose AJV judges both directions."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.view import Phase
from tests.ocpp.test_bridge import Desk, settings, until
from tests.ocpp.wire import ALL

HERE = Path(__file__).parent / "foreign"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server with its packages installed."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("foreign")
    for file in ("package.json", "server.js"):
        shutil.copy(HERE / file, folder)
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True, timeout=100
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

    async def call(self, action: str, payload: dict[str, Any]) -> list[Any]:
        assert self._process.stdin is not None
        before = len(self.words("answer")) + len(self.words("refused"))
        self._process.stdin.write(json.dumps([action, payload]).encode() + b"\n")
        await until(lambda: len(self.words("answer")) + len(self.words("refused")) > before, action)
        return next(word for word in reversed(self.said) if word[0] in ("answer", "refused"))

    async def end(self) -> None:
        self._process.kill()
        await self._process.wait()
        await self._reading


_TOKEN = {"idToken": "Alice-1", "type": "Central"}
_BEAT = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
# Whether it is 2.x -> calls to the device that are accepted.
DEVICE: dict[bool, tuple[tuple[str, dict[str, Any]], ...]] = {
    True: (
        ("GetVariables", {"getVariableData": [_BEAT]}),
        ("SetVariables", {"setVariableData": [_BEAT | {"attributeValue": "60"}]}),
        ("GetBaseReport", {"requestId": 1, "reportBase": "FullInventory"}),
        ("SendLocalList", {"versionNumber": 1, "updateType": "Full",
                           "localAuthorizationList": [{"idToken": _TOKEN, "idTokenInfo": {"status": "Accepted"}}]}),
        ("GetLocalListVersion", {}),
        ("ClearCache", {}),
        ("ChangeAvailability", {"operationalStatus": "Inoperative"}),
        ("ChangeAvailability", {"operationalStatus": "Operative"}),
        ("RequestStartTransaction", {"idToken": _TOKEN, "remoteStartId": 1}),
    ),
    False: (
        ("GetConfiguration", {}),
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"}),
        ("SendLocalList", {"listVersion": 1, "updateType": "Full",
                           "localAuthorizationList": [{"idTag": "Alice-1", "idTagInfo": {"status": "Accepted"}}]}),
        ("GetLocalListVersion", {}),
        ("ClearCache", {}),
        ("ChangeAvailability", {"connectorId": 0, "type": "Inoperative"}),
        ("ChangeAvailability", {"connectorId": 0, "type": "Operative"}),
        ("RemoteStartTransaction", {"idTag": "Alice-1"}),
    ),
}  # fmt: skip


def _report_is_whole(foreign: Foreign) -> bool:
    return sum(word[1] == "NotifyReport" for word in foreign.words("told")) >= 4


@pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)
def test_a_session_with_discharge_without_a_schema_error_in_either_direction(dialect: Dialect, package: Path) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            "node", "server.js", dialect.subprotocol, cwd=package,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        foreign = Foreign(process)
        try:
            (_, port) = await until(lambda: next(iter(foreign.words("port")), None), "the port")
            async with Desk(settings(port)) as desk:
                desk.see(Phase.FREE)
                await until(lambda: desk.bridge.station.online, "registration")
                assert foreign.words("connected") == [["connected", "CP-1", dialect.subprotocol]]
                for phase, exported_wh in ((Phase.CHARGING, 0.0), (Phase.DISCHARGING, 40.5), (Phase.FREE, 50.0)):
                    desk.see(phase, (10.0, exported_wh))
                    await asyncio.sleep(0.25)
                await until(lambda: len(desk.outbox) == 0, "an empty queue")
                for action, payload, expected in (
                    ("TriggerMessage", {"requestedMessage": "Heartbeat"}, ["answer", {"status": "Accepted"}]),
                    ("DataTransfer", {"vendorId": "v"}, ["answer", {"status": "UnknownVendorId"}]),
                    ("CertificateSigned", {"certificateChain": "x"}, ["refused", "NotSupported"]),
                ):
                    kind, _, what = await foreign.call(action, payload)
                    assert [kind, what] == expected, action
                for action, payload in DEVICE[dialect.two]:
                    kind, _, what = await foreign.call(action, payload)
                    assert kind == "answer", (action, what)
                    assert what.get("status", "Accepted") == "Accepted", (action, what)
                if dialect.two:
                    await until(lambda: _report_is_whole(foreign), "the report")
                await until(lambda: any(word[1] == "Heartbeat" for word in foreign.words("told")), "the heartbeat")
                told = [word[1] for word in foreign.words("told")]
                assert told[:2] == ["BootNotification", "StatusNotification"]
                needed = {"TransactionEvent"} if dialect.two else {"StartTransaction", "MeterValues", "StopTransaction"}
                assert needed <= set(told)
                assert foreign.words("invalid") == foreign.words("bad") == []
                assert [sentence for sentence in desk.said if "failed" in sentence or "schema" in sentence] == []
        finally:
            await foreign.end()

    asyncio.run(main())
