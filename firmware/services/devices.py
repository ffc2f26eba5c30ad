"""The devices that services own: meters and insulation monitor on Modbus, the external SECC on CAN.

Each is asked on its own schedule, and what it answers goes to guard with the time of the answer. A device that does
not answer is simply not reported: guard judges by age. People are told once when one falls silent and once when it is
back, not every second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol, TypeVar

from boards.build import Meters
from firmware.guard.messages import CarReport, InsulationReport, MeterReport, SelfTestReport, Snapshot, ToGuard
from firmware.services.negotiation import CarOrders
from hal.ports import (
    AcMeterValues,
    CanFrame,
    CarStatus,
    ChargerReport,
    DcMeterValues,
    HalError,
    InsulationValues,
    Quality,
    Reading,
    VehicleLink,
)

POLL_S = 1.0  # guard takes an insulation measurement or a meter value as old after 3 s (firmware/guard/numbers.py)
AC_MAX_AGE_S = 3.0  # an AC value older than this is not put beside a DC value
CAR_PERIOD_S = 0.02  # how often the link is served; its driver keeps the protocol's own period of 100 ms
GUARD_SILENT_S = 0.5  # without a snapshot for so long the car is told that nothing is available
SELF_TEST_MARGIN_S = 5.0  # beyond the driver's own bound, in case the driver hangs

Say = Callable[[str], None]
Send = Callable[[ToGuard], object]
Clock = Callable[[], float]
V = TypeVar("V")


class Health:
    """Says a sentence when a device falls silent and when it is back; nothing in between."""

    def __init__(self, name: str, say: Say) -> None:
        self._name = name
        self._say = say
        self.problem = ""

    def good(self) -> None:
        if self.problem:
            self.problem = ""
            self._say(f"{self._name} answers again.")

    def bad(self, problem: str) -> None:
        if not self.problem:
            self._say(f"{self._name}: {problem}")
        self.problem = f"{self._name}: {problem}"


class MeterSide:
    """Polls the Modbus devices of a board and runs the insulation monitor's self-test when guard asks for it."""

    def __init__(self, meters: Meters, send: Send, clock: Clock, say: Say, period_s: float = POLL_S) -> None:
        self._meters = meters
        self._send = send
        self._clock = clock
        self._period_s = period_s
        self.health = {
            "insulation": Health("Insulation monitor", say),
            "dc_meter": Health("DC meter", say),
            "ac_meter": Health("AC meter", say),
        }
        self.ac: Reading[AcMeterValues] | None = None  # last good answers, for the screen
        self.dc: Reading[DcMeterValues] | None = None
        self._serial = 0  # of the last self-test that guard asked for
        self._boot = ""
        self._test: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._poll(self._insulation))
                if self._meters.dc_meter is not None:
                    group.create_task(self._poll(self._dc_meter))
                if self._meters.ac_meter is not None:
                    group.create_task(self._poll(self._ac_meter))
        finally:
            if self._test is not None:
                self._test.cancel()
            for line in self._meters.lines:
                await line.close()

    def snapshot(self, snapshot: Snapshot, in_self_test: bool) -> None:
        """Look whether guard asks for a self-test: its serial rose. `in_self_test`: guard waits for one right now."""
        if snapshot.boot != self._boot:
            # A guard that we do not know yet: an old request of it is only repeated while it still waits for us.
            self._boot = snapshot.boot
            self._serial = snapshot.self_test_serial - (1 if in_self_test else 0)
        if snapshot.self_test_serial > self._serial:
            self._serial = snapshot.self_test_serial
            if self._test is not None:
                self._test.cancel()
            self._test = asyncio.create_task(self._self_test(self._serial))

    async def _self_test(self, serial: int) -> None:
        monitor = self._meters.insulation
        passed = False
        try:
            async with asyncio.timeout(monitor.self_test_max_s + SELF_TEST_MARGIN_S):
                passed = await monitor.self_test()
        except (HalError, TimeoutError) as error:
            self.health["insulation"].bad(f"the self-test was not finished: {error}")
        self._send(SelfTestReport(serial, passed, self._clock()))

    async def _poll(self, read: Callable[[], Coroutine[object, object, None]]) -> None:
        due = self._clock()
        while True:
            await read()
            due = max(due + self._period_s, self._clock())  # late: skip, never catch up
            await asyncio.sleep(due - self._clock())

    async def _insulation(self) -> None:
        health = self.health["insulation"]
        try:
            reading: Reading[InsulationValues] = await self._meters.insulation.read()
        except HalError as error:
            health.bad(str(error))
            return
        if reading.quality is Quality.GOOD:
            health.good()
            self._send(InsulationReport(reading.t, reading.value.r_ohm, reading.value.alarm.value))
        elif not reading.value.self_test_running:  # that it measures nothing while it tests itself is no news
            health.bad("it answers, but calls its measurement invalid.")

    async def _dc_meter(self) -> None:
        assert self._meters.dc_meter is not None
        self.dc = await self._meter("dc_meter", self._meters.dc_meter.read)
        if self.dc is not None:
            now, dc, ac = self._clock(), self.dc.value, self.ac
            fresh = ac is not None and ac.fresh(now, AC_MAX_AGE_S)
            self._send(
                MeterReport(
                    t=self.dc.t,
                    dc_v=dc.v_v,
                    dc_i=dc.i_a,
                    dc_p_w=dc.p_w,
                    ac_p_w=ac.value.p_w if ac is not None and fresh else None,
                    ac_f_hz=ac.value.f_hz if ac is not None and fresh else None,
                )
            )

    async def _ac_meter(self) -> None:
        assert self._meters.ac_meter is not None
        self.ac = await self._meter("ac_meter", self._meters.ac_meter.read)
        if self.ac is not None and self.dc is None:  # else it goes with the DC values
            self._send(MeterReport(t=self.ac.t, ac_p_w=self.ac.value.p_w, ac_f_hz=self.ac.value.f_hz))

    async def _meter(self, name: str, read: Callable[[], Coroutine[object, object, Reading[V]]]) -> Reading[V] | None:
        try:
            reading = await read()
        except HalError as error:
            self.health[name].bad(str(error))
            return None
        if reading.quality is not Quality.GOOD:
            self.health[name].bad("it answers, but doubts its own values.")
            return None
        self.health[name].good()
        return reading


class CarBus(Protocol):
    """What is used of hal.can.bus.CanPort."""

    def recv(self, now: float) -> list[CanFrame]: ...

    def send(self, frame: CanFrame) -> bool: ...

    def fileno(self) -> int | None: ...


class CarSide(Protocol):
    """The vehicle seam of services: an external SECC on CAN (VehicleSide), the process secc (secc.SeccSide) or EVerest
    (everest.EverestSide)."""

    on_frames: Callable[[Sequence[CanFrame], bool], None]

    def snapshot(self, snapshot: Snapshot) -> None: ...

    def order(self, orders: CarOrders) -> None:
        """What the car is to be told beside limits, which hold in any case. A side without words for it ignores it."""

    def pause(self) -> str:
        """Ask the car to pause; returns why it cannot be asked, empty: it is."""

    async def run(self) -> None:
        """Serve until cancelled."""


def car_report(status: Reading[CarStatus]) -> CarReport:
    """What guard is told about the car."""
    car = status.value
    return CarReport(
        t=status.t,
        phase=car.phase.value,
        target_v=car.target_v,
        i_max_a=car.i_max_a,
        i_min_a=car.i_min_a,
        v_max_v=car.v_max_v,
        v_min_v=car.v_min_v,
        soc_pct=car.soc_pct,
        capacity_wh=car.capacity_wh,
    )


class VehicleSide:
    """Carries the SECC's wishes to guard and guard's state to the SECC."""

    def __init__(self, link: VehicleLink, bus: CarBus, send: Send, clock: Clock, say: Say) -> None:
        self._link = link
        self._bus = bus
        self._send = send
        self._clock = clock
        self._health = Health("The vehicle side (SECC)", say)
        self._reported: Reading[CarStatus] | None = None
        self._snapshot: Snapshot | None = None
        self._snapshot_t = float("-inf")
        self.on_frames: Callable[[Sequence[CanFrame], bool], None] = lambda frames, sent: None  # for the CAN log

    def snapshot(self, snapshot: Snapshot) -> None:
        self._snapshot, self._snapshot_t = snapshot, self._clock()
        self.report()  # a stop must not wait for the next period

    def order(self, orders: CarOrders) -> None:
        """The interface of version 3 has limits and nothing of schedules or services."""

    def pause(self) -> str:
        return "The SECC on CAN has no message by which a charger asks for a pause; stop the session instead."

    def receive(self) -> None:
        """Frames wait: take them and pass on what is new."""
        now = self._clock()
        frames = self._bus.recv(now)
        for frame in frames:
            self._link.receive(now, frame)
        if frames:
            self.on_frames(frames, False)
        status = self._link.poll(now)
        if status is None:
            self._health.bad("it is silent. Check the SECC, its CAN wiring, termination and bit rate.")
            return
        self._health.good()
        if status != self._reported and status.quality is Quality.GOOD:
            self._reported = status
            self._send(car_report(status))

    def report(self) -> None:
        """Tell the SECC about the power side."""
        now = self._clock()
        snapshot = self._snapshot if now - self._snapshot_t <= GUARD_SILENT_S else None
        frames = self._link.report(now, charger_report(snapshot))
        for frame in frames:
            self._bus.send(frame)  # not taken: the next one is newer
        if frames:
            self.on_frames(frames, True)

    async def run(self, period_s: float = CAR_PERIOD_S) -> None:
        """Serve the bus until cancelled."""
        loop = asyncio.get_running_loop()
        fd = self._bus.fileno()
        if fd is not None:
            loop.add_reader(fd, self.receive)
        try:
            due = self._clock()
            while True:
                self.receive()  # also notices silence, and serves buses without a descriptor
                self.report()
                due = max(due + period_s, self._clock())
                await asyncio.sleep(due - self._clock())
        finally:
            if fd is not None:
                loop.remove_reader(fd)


def charger_report(snapshot: Snapshot | None) -> ChargerReport:
    """What the car is told. Without a fresh snapshot nothing is known and nothing is available: stop."""
    if snapshot is None:
        return ChargerReport(0.0, 0.0, 0.0, 0.0, 0.0, None, ready=False, stop=True)
    return ChargerReport(
        v_v=snapshot.v_dc_v or 0.0,  # silent converter: its supply is open, and so is the output
        i_a=snapshot.i_dc_a or 0.0,
        i_charge_max_a=snapshot.i_charge_max_a,
        i_discharge_max_a=snapshot.i_discharge_max_a,
        v_max_v=snapshot.v_max_v,
        insulation_ohm=snapshot.insulation_ohm,
        ready=snapshot.ready,
        stop=snapshot.stop,
    )
