"""Services' controls over the grid code, asked from the bridge's thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any, TypeVar

from firmware.bridges.ocpp.view import GridPort, PortRefused

ANSWER_S = 2.0  # policy value: services' loop is never busy for so long

T = TypeVar("T")


class ServicesGrid:
    """Services' controls, asked from the bridge's thread: done in services' own loop, the answer awaited."""

    def __init__(self) -> None:
        self._there: tuple[asyncio.AbstractEventLoop, GridPort] | None = None

    def attach(self, loop: asyncio.AbstractEventLoop, grid: GridPort) -> None:
        """From now on `grid` is asked, in `loop`."""
        self._there = loop, grid

    def set(self, table: dict[str, Any], replace: bool) -> tuple[str, ...]:
        """As GridPort."""
        return self._ask(lambda grid: grid.set(table, replace))

    def clear(self, control_id: str) -> None:
        """As GridPort."""
        self._ask(lambda grid: grid.clear(control_id))

    def _ask(self, question: Callable[[GridPort], T]) -> T:
        if self._there is None:
            raise PortRefused("the charger does not take controls yet")
        loop, grid = self._there
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def answer() -> None:
            if future.set_running_or_notify_cancel():  # nobody waits any more: then nothing is done
                try:
                    future.set_result(question(grid))
                except Exception as error:  # whatever it is belongs to who asked, in the other thread
                    future.set_exception(error)

        try:
            loop.call_soon_threadsafe(answer)
            return future.result(ANSWER_S)
        except TimeoutError:
            if future.cancel():
                raise PortRefused(f"the charger did not answer within {ANSWER_S:g} s; nothing was changed") from None
            return future.result()  # it has just begun: milliseconds
        except RuntimeError:
            raise PortRefused("the charger shuts down") from None
