"""What the OCPP bridge orders beside power reaches guard once, and never undoes what a person did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from firmware.bridges.ocpp.view import CarWish, Orders, View
from firmware.guard.messages import Operator
from firmware.services.back_end import Absent
from firmware.services.negotiation import CarOrders
from tests.test_services_app import Bench


class Ordering(Absent):
    """A bridge that orders what the test says, and keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__("")
        self.seen: list[View] = []
        self.priorities: list[bool] = []

    def look(self, view: View) -> None:
        self.seen.append(view)

    def want_priority(self, on: bool) -> None:
        self.priorities.append(on)


class Desk(Bench):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.bridge = Ordering()
        self.services._back_end = self.bridge

    def order(self, hold: str = "", reset: bool = False) -> None:
        self.bridge.orders = Orders(hold, reset)
        self.report()

    async def operator(self, action: str) -> Any:
        return await self.heard(Operator, lambda message: message.action == action)

    async def silent(self) -> bool:
        """Guard hears nothing about stopping or starting for the next snapshots."""
        before = len(self.got)
        for _ in range(5):
            self.report()
            await asyncio.sleep(0.01)
        await self.heard(object)  # a renewal of the lease at the latest
        return not [m for m in self.got[before:] if isinstance(m, Operator)]


def played(tmp_path: Path, play: Callable[[Desk], Awaitable[None]]) -> Desk:
    desk = Desk(tmp_path)
    assert desk.run(lambda: play(desk)) == 0
    return desk


def test_a_hold_stops_guard_once_is_shown_and_its_end_starts_it(tmp_path: Path) -> None:
    async def play(desk: Desk) -> None:
        desk.order()
        await desk.operator("start")  # the first word: an earlier life of services may have held it back
        desk.order("nobody is authorized to charge")
        assert (await desk.operator("stop")).source == "back end"
        assert await desk.silent()
        desk.order("another reason")
        assert await desk.silent()
        problems = (await desk.ask(command="status"))["problems"]
        assert "Sessions are held back by OCPP: another reason." in problems
        desk.order()
        await desk.operator("start")
        assert "OCPP" not in "".join((await desk.ask(command="status"))["problems"])
        desk.report(boot="boot-2")
        assert await desk.silent()

    played(tmp_path, play)


def test_a_guard_that_was_started_again_is_held_back_again(tmp_path: Path) -> None:
    async def play(desk: Desk) -> None:
        desk.order("out of operation")
        await desk.operator("stop")
        desk.report(boot="boot-2")
        await desk.operator("stop")

    played(tmp_path, play)


def test_a_persons_stop_stands_when_the_back_end_lets_go(tmp_path: Path) -> None:
    async def play(desk: Desk) -> None:
        desk.order("out of operation")
        await desk.operator("stop")
        assert (await desk.ask(command="stop"))["ok"]
        await desk.operator("stop")
        desk.order()
        assert await desk.silent()
        assert desk.bridge.seen[-1].stopped
        assert (await desk.ask(command="start"))["ok"]
        await desk.operator("start")

    played(tmp_path, play)


def test_a_person_cannot_start_what_the_back_end_holds_back(tmp_path: Path) -> None:
    async def play(desk: Desk) -> None:
        assert await desk.silent()  # guard has been greeted
        await desk.ask(command="stop")
        await desk.operator("stop")
        desk.order("out of operation")
        assert await desk.silent()  # it is stopped already
        refused = await desk.ask(command="start")
        assert refused["error"] == "the charger cannot be started: out of operation (OCPP)."
        assert (await desk.ask(command="power", power_w=5000, for_s=60))["ok"]  # it waits with its lease
        assert await desk.silent()
        desk.order()
        await desk.operator("start")

    played(tmp_path, play)


def test_a_reset_is_the_orderly_shutdown(tmp_path: Path) -> None:
    async def play(desk: Desk) -> None:
        desk.order(reset=True)
        await desk.operator("shutdown")

    desk = played(tmp_path, play)
    assert "The back end resets the charger." in desk.said


def test_a_bridge_that_has_not_spoken_changes_nothing(tmp_path: Path) -> None:
    async def play(desk: Desk) -> None:
        assert await desk.silent()

    played(tmp_path, play)


def test_priority_charging_is_passed_on_and_refused_where_no_profile_is_set_for_it(
    tmp_path: Path,
) -> None:
    async def play(desk: Desk) -> None:
        desk.order()
        answer = await desk.ask(command="ocpp", priority=True)
        assert not answer["ok"]
        assert "no PriorityCharging profile" in answer["error"]
        assert (await desk.ask(command="ocpp", priority=False))["ok"]  # off needs none
        desk.bridge.report = {"profiles": [{"purpose": "PriorityCharging"}]}
        assert (await desk.ask(command="ocpp", priority=True))["ok"]
        assert (await desk.ask(command="ocpp"))["ok"]
        assert desk.bridge.priorities == [False, True]

    played(tmp_path, play)


def test_what_the_car_is_to_be_told_reaches_the_vehicle_side(tmp_path: Path) -> None:
    heard: list[CarOrders] = []

    async def play(desk: Desk) -> None:
        desk.services._vehicle.order = heard.append  # type: ignore[method-assign]
        desk.order()
        desk.bridge.orders = Orders("", False, CarWish(((0.0, 6_000.0, 0.0),), charge_only=True, replan=2))
        desk.report()
        await desk.operator("start")

    played(tmp_path, play)
    assert heard[-1] == CarOrders(((0.0, 6_000.0, 0.0),), True, 2)


def test_a_pause_is_refused_with_the_reason_where_the_vehicle_side_has_no_word_for_it(tmp_path: Path) -> None:
    async def play(desk: Desk) -> None:
        answer = await desk.ask(command="pause")
        assert not answer["ok"]
        assert "The SECC on CAN has no message" in answer["error"]
        desk.services._vehicle.pause = lambda: ""  # type: ignore[method-assign]
        assert (await desk.ask(command="pause"))["ok"]

    played(tmp_path, play)
