"""Priority charging that is wanted at the charger (K21)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from firmware.bridges.ocpp.bridge import BridgeThread
from firmware.bridges.ocpp.dialect import V21
from firmware.bridges.ocpp.view import Phase
from hil.csms.server import Csms
from tests.ocpp.back_end import view
from tests.ocpp.test_bridge import settings
from tests.waiting import LIMIT_S, until


def profile(purpose: str, id: int, limit: float) -> dict[str, Any]:
    plan = {"id": 1, "chargingRateUnit": "W", "startSchedule": "2026-01-01T00:00:00Z",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}]}  # fmt: skip
    body = {"id": id, "stackLevel": 0, "chargingProfilePurpose": purpose, "chargingProfileKind": "Absolute"}
    return {"evseId": 1, "chargingProfile": body | {"chargingSchedule": [plan]}}


def test_it_leads_from_then_on_and_the_back_end_is_told_and_without_a_profile_nothing_happens(tmp_path: Path) -> None:
    said: list[str] = []

    async def main() -> None:
        csms = Csms()
        async with csms.listen(versions=(V21,)) as port:
            thread = BridgeThread(settings(port), tmp_path, said.append)
            thread.start()

            def see() -> None:
                thread.look(view(time.monotonic(), Phase.CHARGING, voltage_v=400.0))

            def power_w() -> float | None:
                see()
                return None if thread.wanted is None else thread.wanted.power_w

            try:
                see()
                charger = await until(lambda: see() or (thread._online and csms.chargers.get("CP-1")), "the charger")
                await until(lambda: see() or charger.transaction, "a transaction")
                thread.want_priority(True)
                await until(lambda: any("no PriorityCharging profile" in sentence for sentence in said), "the refusal")
                await charger.call("SetChargingProfile", profile("TxDefaultProfile", 1, 4_000.0))
                await charger.call("SetChargingProfile", profile("PriorityCharging", 2, 20_000.0))
                await until(lambda: power_w() == 4_000.0, "the default")
                for on, expected_w in ((True, 20_000.0), (False, 4_000.0)):
                    thread.want_priority(on)
                    await until(lambda w=expected_w: power_w() == w, "the power")
                told = lambda: [p["activated"] for a, p in charger.told if a == "NotifyPriorityCharging"]  # noqa: E731
                await until(lambda: len(told()) == 2, "both notices")
                assert told() == [True, False]
            finally:
                await asyncio.to_thread(thread.close, LIMIT_S)

    asyncio.run(main())
