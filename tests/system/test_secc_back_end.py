"""The whole charger between a back end and a car that speaks: what the one plans the other is told, and the other way.

Real processes and sockets; the back end is that of the desk, in this process. What is measured, the plant says.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.ocpp.dialect import V21
from hil.csms.calls import expand
from hil.csms.server import Csms
from tests.secc.environment import needs_schemas
from tests.system.charger import Charger, Rig, board_file
from tests.waiting import LIMIT_S, wait

pytestmark = needs_schemas
OCPP = """
[ocpp]
url = "ws://127.0.0.1:{port}"
identity = "CP-1"
security = 0
"""


class BackEnd:
    """The desk's back end in a thread of its own."""

    def __init__(self) -> None:
        self.csms = Csms()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._up.wait(LIMIT_S)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        async with self.csms.listen() as self.port:
            self._up.set()
            await self._end.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(LIMIT_S)

    def told(self, action: str) -> list[dict[str, Any]]:
        """What the charger said under `action`, the oldest first."""
        charger = self.csms.chargers.get("CP-1")
        return [] if charger is None else [payload for name, payload in charger.told if name == action]

    def call(self, line: str) -> dict[str, Any]:
        """A short line, as `quadrant csms` takes them; the charger's answer."""
        charger = self.csms.chargers["CP-1"]
        short = expand(line, V21, charger.transaction, time.time())
        assert short is not None
        return asyncio.run_coroutine_threadsafe(charger.call(*short), self._loop).result(LIMIT_S)


@pytest.fixture(scope="module")
def both(home: Path) -> Iterator[tuple[Charger, Rig, BackEnd]]:
    back_end = BackEnd()
    try:
        board = board_file(home / "board.toml", own_rig=False, speaking=True)
        board.write_text(board.read_text() + OCPP.format(port=back_end.port))
        rig = Rig(board, home)
        try:
            charger = Charger(board, home)
            try:
                wait(charger.snapshot, "guard is heard")
                wait(lambda: "secc listens for a car" in charger.log("services"), "secc listens")
                wait(lambda: back_end.told("BootNotification"), "the charger at its back end")
                yield charger, rig, back_end
            finally:
                charger.end()
        finally:
            rig.end()
    finally:
        back_end.close()


def car_of(rig: Rig) -> dict[str, Any]:
    return dict(rig.client.ask(device="car", state=True)["car"])


def limits(plan: dict[str, Any]) -> list[float]:
    return [period["limit"] for period in plan["chargingSchedule"]["chargingSchedulePeriod"]]


def test_a_profile_of_the_back_end_becomes_the_cars_schedule_in_its_session_and_a_pause_ends_it(
    both: tuple[Charger, Rig, BackEnd],
) -> None:
    charger, rig, back_end = both
    charger.ask("power", power_w=10_000.0, for_s=600.0, reason="test")
    settings = {"protocol": "iso20", "mode": "scheduled", "v2g": True, "tls": False, "target_a": 25.0}
    rig.client.ask(device="car", plug_in=True, **settings)
    wait(lambda: back_end.told("NotifyEVChargingSchedule"), "the car's plan at the back end", every_s=0.1)
    (first,) = back_end.told("NotifyEVChargingSchedule")
    assert limits(first) == [22_000.0]
    assert back_end.told("NotifyEVChargingNeeds")[-1]["chargingNeeds"]["requestedEnergyTransfer"] == "DC_BPT"
    wait(lambda: rig.client.read("ac_p_w") > 8_500.0, "power by the car's target", every_s=0.05)

    with rig.client.recording("schedule") as finish:
        assert back_end.call("set-profile ChargingOnly limit=6000")["status"] == "Accepted"
        wait(lambda: len(back_end.told("NotifyEVChargingSchedule")) == 2, "the car's new plan", every_s=0.05)
        wait(lambda: 5_000.0 < rig.client.read("ac_p_w") < 6_600.0, "power by the profile", every_s=0.05)
        record = finish()
    second = back_end.told("NotifyEVChargingSchedule")[-1]
    assert limits(second) == [6_000.0]
    assert second["selectedChargingScheduleId"] == 1
    assert set(record["k_dc"]) == {1.0}  # its contactors stayed closed
    assert "The car is asked for a new schedule." in charger.log("services")

    asked = charger.cli("session", "pause")
    assert asked.returncode == 0, asked.stderr
    wait(lambda: not car_of(rig)["session"], "the car's own end", every_s=0.1)
    assert car_of(rig)["last"] == "its session is paused; failed: nothing"
    wait(lambda: charger.snapshot().get("car_phase") == "pause", "the pause", every_s=0.1)
    assert rig.client.read("k_dc") == 0.0
