"""What the screen shows of the records file: sessions, disturbance records, and plan against actual."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request

from firmware.control_client import Refused
from firmware.recorder.reader import Reader, mark_record_read
from firmware.recorder.schema import RecorderError
from firmware.web.feed import ask
from firmware.web.gate import Denied
from firmware.web.plan import Register, against_actual

RECORDS = "records.sqlite"
QUARTERS = 200  # rows of the energy registers beside a plan: quarter hours, more than a plan goes back


class Records:
    """Views of one run directory's records file, which is opened when it is first asked for. They raise RecorderError,
    Denied and, `plan`, ControlError."""

    def __init__(self, run_dir: Path, wall: Callable[[], float]) -> None:
        self._run_dir, self._wall = run_dir, wall
        self._reader: Reader | None = None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def _opened(self) -> Reader:
        if self._reader is None:
            self._reader = Reader(self._run_dir / RECORDS)
        return self._reader

    async def sessions(self, request: Request) -> Any:
        sessions = await asyncio.to_thread(lambda: self._opened().sessions(100))
        return {"sessions": [{name: getattr(s, name) for name in s.__slots__} for s in sessions]}

    async def records(self, request: Request) -> Any:
        records = await asyncio.to_thread(lambda: self._opened().records(100))
        # The header, with every number in force, would make the list a megabyte long.
        shown = [{name: getattr(r, name) for name in r.__slots__ if name != "header"} for r in records]
        return {"records": shown}

    async def record(self, request: Request) -> Any:
        number: int = request.path_params["number"]

        def read() -> dict[str, Any]:
            try:
                found = self._opened().find_record(number)
            except RecorderError as error:
                raise Denied(404, f"{error}.".capitalize()) from None
            rows = self._opened().record_rows(number)
            if not found.read:
                mark_record_read(self._run_dir / RECORDS, number)  # retention may have it in its time
            return {
                "columns": found.columns, "data": list(zip(*rows, strict=True)), "t": found.t_mono,
                "header": found.header,
            }  # fmt: skip

        return await asyncio.to_thread(read)

    async def plan(self, request: Request) -> Any:
        """`plan` is None on a board without a back end."""
        try:
            report = (await ask(self._run_dir, "ocpp"))["ocpp"]
        except Refused:
            return {"plan": None}

        def registers() -> list[Register]:
            newest = self._opened().ledger_state()
            found = self._opened().registers_history(QUARTERS)
            if newest is not None and newest.t_wall is not None:
                found.append((newest.t_wall, newest.charged_wh, newest.discharged_wh))
            return found

        return against_actual(report.get("plan") or [], await asyncio.to_thread(registers), self._wall())
