"""Power decisions over a real socket: the desk's back end, the bridge in its thread, services' loop behind it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.ocpp.bridge import BridgeThread
from firmware.bridges.ocpp.dialect import V21
from firmware.bridges.ocpp.services_grid import ServicesGrid
from firmware.bridges.ocpp.view import Phase, PortRefused, Wanted
from firmware.services.back_end import obey
from firmware.services.requests import Requests
from hil.csms.calls import expand
from hil.csms.server import Charger, Csms
from tests.ocpp.back_end import view
from tests.ocpp.test_bridge import settings
from tests.waiting import LIMIT_S, until


class Grid:
    """Services' book of controls, only remembered; `refuses` makes it say no."""

    def __init__(self) -> None:
        self.tables: list[dict[str, Any]] = []
        self.refuses = ""
        self.threads: set[int] = set()

    def set(self, table: dict[str, Any], replace: bool) -> tuple[str, ...]:
        if self.refuses:
            raise PortRefused(self.refuses)
        self.tables.append(table)
        return ()

    def clear(self, control_id: str) -> None:
        self.tables = [t for t in self.tables if t["id"] != control_id]


def with_power(wanted: Wanted | None) -> Wanted | None:
    return wanted if wanted is not None and wanted.power_w is not None else None


async def say(charger: Charger, line: str) -> dict[str, Any]:
    call = expand(line, V21, charger.transaction, time.time())
    assert call is not None
    return await charger.call(*call)


def played(tmp_path: Path, story: Callable[[BridgeThread, Charger, Grid], Any]) -> None:
    async def main() -> None:
        csms = Csms()
        async with csms.listen(versions=(V21,)) as port:
            thread, grid = BridgeThread(settings(port, dialects=(V21,)), tmp_path, lambda line: None), Grid()
            thread.attach(asyncio.get_running_loop(), grid)
            thread.start()

            async def looks() -> None:
                while True:
                    thread.look(view(time.monotonic(), Phase.HOLDING, voltage_v=400.0))
                    await asyncio.sleep(0.05)

            looking = asyncio.create_task(looks())
            try:
                charger = await until(lambda: csms.chargers.get("CP-1"), "the charger")
                await until(lambda: charger.transaction, "a transaction")
                await story(thread, charger, grid)
            finally:
                looking.cancel()
                await asyncio.to_thread(thread.close, LIMIT_S)

    asyncio.run(main())


def test_a_setpoint_is_with_services_before_its_call_is_answered_and_is_withdrawn_when_the_bridge_dies(
    tmp_path: Path,
) -> None:
    async def story(thread: BridgeThread, charger: Charger, grid: Grid) -> None:
        assert await say(charger, "set-profile CentralSetpoint setpoint=-7000") == {"status": "Accepted"}
        # It waits for no look at the charger, which comes ten times a second.
        wanted = with_power(thread.wanted)
        assert wanted is not None
        requests = Requests(22_000.0, 22_000.0, 0.0)
        assert obey(requests, wanted.t, wanted)
        assert requests.for_guard(wanted.t, 2.0).power_w == -7_000.0
        # The same wish again and again, as from a bridge that is stuck: after 3 s it has no say.
        obey(requests, wanted.t + 3.1, wanted)
        assert requests.for_guard(wanted.t + 3.1, 2.0).power_w == 0.0
        await until(lambda: thread.report.get("profiles"), "a report")
        assert thread.report["rule"]["power_w"] == -7_000.0

    played(tmp_path, story)


def test_a_der_control_is_carried_out_in_services_own_loop_and_its_refusal_is_the_answer(tmp_path: Path) -> None:
    async def story(thread: BridgeThread, charger: Charger, grid: Grid) -> None:
        line = "der-control VoltVar id=q curve=92:44,108:-44"
        assert await say(charger, line) == {"status": "Accepted"}
        assert grid.tables[0]["points"] == [[0.92, -0.44], [1.08, 0.44]]
        grid.refuses = "it contradicts the grid code"
        answer = await say(charger, line.replace("id=q", "id=r"))
        assert answer["status"] == "Rejected"
        assert answer["statusInfo"]["additionalInfo"] == "it contradicts the grid code"

    played(tmp_path, story)


def test_services_that_do_not_answer_change_nothing_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware.bridges.ocpp.services_grid.ANSWER_S", 0.05)
    grid, ours = Grid(), ServicesGrid()
    with pytest.raises(PortRefused, match="not take controls yet"):
        ours.clear("a")
    loop = asyncio.new_event_loop()  # nobody runs it
    ours.attach(loop, grid)
    with pytest.raises(PortRefused, match="did not answer within"):
        ours.set({"id": "a"}, False)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert grid.tables == []
    loop.close()
    with pytest.raises(PortRefused, match="shuts down"):
        ours.clear("a")
