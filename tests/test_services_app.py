"""The services process around a fake guard: real socket pair, control socket and records file, in simulated time."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import can
import msgspec
import pytest

import boards
from boards.build import Meters
from firmware import metrics
from firmware import status_fields as fields
from firmware.guard.machine import ChargerState
from firmware.guard.messages import (
    CanLog,
    CarReport,
    EventMessage,
    InsulationReport,
    MeterReport,
    Operator,
    PowerRequest,
    SelfTestReport,
    Snapshot,
    ToGuard,
    TripRecord,
)
from firmware.recorder.reader import Reader
from firmware.recorder.store import Store
from firmware.services import app, wishes
from firmware.services.app import Services
from firmware.services.devices import MeterSide, VehicleSide, charger_report
from firmware.services.link import GuardLink
from firmware.services.records import FILE, Records
from firmware.supervisor import socket_pair
from hal.ports import (
    AcMeterValues,
    CanFrame,
    CarPhase,
    CarStatus,
    ChargerReport,
    DcMeterValues,
    HalError,
    InsulationAlarm,
    InsulationValues,
    Quality,
    Reading,
)
from tests.simulated_loop import Clock, run
from tests.view_snapshot import BASE

WALL_S = 1.8e9  # at second 0 of the clock


class FakeImd:
    self_test_max_s = 1.0

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.quality = Quality.GOOD
        self.error = ""
        self.tests = 0

    async def read(self) -> Reading[InsulationValues]:
        if self.error:
            raise HalError(self.error)
        return Reading(InsulationValues(250_000.0, 400.0, InsulationAlarm.NONE, False), self.clock(), self.quality)

    async def self_test(self) -> bool:
        self.tests += 1
        if self.error:
            raise HalError(self.error)
        return True


class FakeDc:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    async def read(self) -> Reading[DcMeterValues]:
        return Reading(DcMeterValues(400.0, 10.0, 4000.0, 0.0, 0.0), self.clock())


class FakeAc:
    async def read(self) -> Reading[AcMeterValues]:
        raise HalError("AC meter SDM630, address 1 on x, did not answer.")


class FakeCarLink:
    offline_after_s = 0.5

    def __init__(self) -> None:
        self.status: Reading[CarStatus] | None = None
        self.reports: list[ChargerReport] = []

    def receive(self, now: float, frame: CanFrame) -> None:
        self.status = Reading(CarStatus(CarPhase.TRANSFER, 400.0, 50.0, -20.0, 450.0, 300.0, 60.0, 50_000.0), now)

    def poll(self, now: float) -> Reading[CarStatus] | None:
        return self.status

    def report(self, now: float, report: ChargerReport) -> tuple[CanFrame, ...]:
        self.reports.append(report)
        return (CanFrame(0x63000, b"\x01"),)


class FakeBus:
    """Frames come in over a pipe's worth of bytes, so that the loop's reader is really used."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)
        self.sent: list[CanFrame] = []

    def recv(self, now: float) -> list[CanFrame]:
        try:
            return [CanFrame(0x6B003, bytes([byte]), now) for byte in self._ours.recv(100)]
        except BlockingIOError:
            return []

    def send(self, frame: CanFrame) -> bool:
        self.sent.append(frame)
        return True

    def fileno(self) -> int:
        return self._ours.fileno()


class Bench:
    """Services with everything around them; `guard` is the other end of the socket pair."""

    def __init__(
        self, directory: Path, alive_fd: int | None = None, restarted: bool = False, clock: Clock | None = None
    ) -> None:
        """clock: of services that went before on the same machine; None: a new one."""
        self.dir = directory
        self.guard, ours = socket_pair()
        self.said: list[str] = []
        self.clock = Clock() if clock is None else clock
        self.imd, self.car, self.bus = FakeImd(self.clock), FakeCarLink(), FakeBus()
        link = GuardLink(ours)
        self.records = Records(directory, 22_000.0, self.clock, self.wall_s, self.said.append, "hash")
        meters = MeterSide(
            Meters(self.imd, FakeAc(), FakeDc(self.clock), ()), link.send, self.clock, self.said.append, period_s=0.05
        )
        vehicle = VehicleSide(self.car, self.bus, link.send, self.clock, self.said.append)
        board = boards.load("desk", directory)
        self.services = Services(
            board, directory, link, self.records, meters, vehicle,
            clock=self.clock, say=self.said.append, alive_fd=alive_fd, restarted=restarted,
        )  # fmt: skip
        self.got: list[ToGuard] = []
        self.snapshot = msgspec.structs.replace(BASE, state="idle", boot="boot-1", self_test_serial=0)

    def wall_s(self) -> float:
        return WALL_S + self.clock()

    def send(self, message: Any) -> None:
        self.guard.send(msgspec.msgpack.encode(message))

    def report(self, **changes: Any) -> Snapshot:
        self.snapshot = msgspec.structs.replace(self.snapshot, t=self.clock(), **changes)
        self.send(self.snapshot)
        return self.snapshot

    async def heard(self, kind: type[Any], match: Callable[[Any], bool] = lambda message: True) -> Any:
        """The next message of this kind that guard gets and that matches."""
        async with asyncio.timeout(10.0):
            while True:
                try:
                    message = msgspec.msgpack.decode(self.guard.recv(65536), type=ToGuard)
                except BlockingIOError:
                    await asyncio.sleep(0.005)
                    continue
                self.got.append(message)
                if isinstance(message, kind) and match(message):
                    return message

    async def ask(self, **command: Any) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(self.dir / "control.sock")
        writer.write(json.dumps(command).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        return answer

    def run(self, script: Callable[[], Awaitable[None]]) -> int:
        """Services beside the script; afterwards guard says that it is down. Returns the exit code."""

        async def main() -> int:
            task = asyncio.create_task(self.services.run())
            try:
                async with asyncio.timeout(60.0):
                    while not (self.dir / "control.sock").exists():
                        await asyncio.sleep(0.005)
                    await script()
                    self.services.begin_shutdown()
                    await self.heard(Operator, lambda message: message.action == "shutdown")
                    self.report(down=True)
                    return await task
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        return run(self.clock, main())


def test_without_any_request_guard_hears_the_boards_own_wish_twice_a_second(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        first = await bench.heard(PowerRequest)
        began = bench.clock()
        second = await bench.heard(PowerRequest)
        assert bench.clock() - began == pytest.approx(0.5, abs=0.01)
        assert (first.source, first.power_w) == ("board", 11_000.0)
        assert second.until_s > first.until_s
        assert second.until_s - bench.clock() == pytest.approx(2.0, abs=0.01)

    assert bench.run(script) == 0


def test_a_request_over_the_socket_reaches_guard_at_once_and_is_shown_and_recorded(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        bench.report()
        answer = await bench.ask(command="power", power_w=-7000, for_s=60, reason="peak")
        assert answer["ok"]
        assert answer["request"]["power_w"] == -7000.0
        told = await bench.heard(PowerRequest, lambda message: message.source == "operator")
        assert (told.power_w, told.reason) == (-7000.0, "peak")
        status = await bench.ask(command="status")
        assert status["request"]["reason"] == "peak"
        assert status["request"]["remaining_s"] == pytest.approx(60.0, abs=0.1)
        refused = await bench.ask(command="power", power_w=-70_000, for_s=60)
        assert "outside this charger's ratings: -22000 W" in refused["error"]

    assert bench.run(script) == 0
    rows = Reader(tmp_path / FILE).requests()
    assert [(row.power_w, bool(row.answer)) for row in rows] == [(-7000.0, False), (-70_000.0, True)]


def test_the_end_of_a_request_is_told_at_once_and_not_with_the_next_renewal(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        for for_s in (1.0, 1.25):  # half a renewal apart: one of the two ends is far from the next one
            answer = await bench.ask(command="power", power_w=5000, for_s=for_s)
            until_s = answer["request"]["until_s"]
            await bench.heard(PowerRequest, lambda message: message.source == "operator")
            await bench.heard(PowerRequest, lambda message: message.source == "board")
            assert 0.0 <= bench.clock() - until_s < 0.01

    assert bench.run(script) == 0


def test_after_a_stop_only_the_operator_can_start_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        await bench.ask(command="power", power_w=5000, for_s=60)
        assert (await bench.ask(command="stop"))["ok"]
        await bench.heard(Operator, lambda message: message.action == "stop")
        assert (await bench.ask(command="status"))["request"] is None
        refused = await bench.ask(command="power", power_w=5000, for_s=60, source="ems")
        assert "the operator stopped the charger" in refused["error"]
        assert (await bench.ask(command="power", power_w=5000, for_s=60))["ok"]
        await bench.heard(Operator, lambda message: message.action == "start")

    assert bench.run(script) == 0


def test_a_request_survives_a_crash_of_services_but_not_a_shutdown(tmp_path: Path) -> None:
    crashed = Bench(tmp_path)

    async def ask() -> None:
        task = asyncio.create_task(crashed.services.run())
        await asyncio.sleep(0.1)
        await crashed.ask(command="power", power_w=-7000, for_s=60, reason="peak")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(crashed.clock, ask())
    second = Bench(tmp_path, restarted=True, clock=crashed.clock)

    async def goes_on() -> None:
        told = await second.heard(PowerRequest)
        assert (told.source, told.power_w, told.reason) == ("operator", -7000.0, "peak")
        status = await second.ask(command="status")
        assert 59.0 < status["request"]["remaining_s"] < 60.0

    assert second.run(goes_on) == 0
    third = Bench(tmp_path, restarted=True, clock=crashed.clock)

    async def forgotten() -> None:
        assert (await third.heard(PowerRequest)).source == "board"

    assert third.run(forgotten) == 0


def test_a_first_start_forgets_the_wishes_that_a_killed_charger_left(tmp_path: Path) -> None:
    wishes.save(tmp_path, True, [])
    Bench(tmp_path)
    assert wishes.load(tmp_path) is None


def test_an_operators_stop_survives_a_crash_of_services(tmp_path: Path) -> None:
    crashed = Bench(tmp_path)

    async def stop() -> None:
        task = asyncio.create_task(crashed.services.run())
        await asyncio.sleep(0.1)
        await crashed.ask(command="stop")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(crashed.clock, stop())
    second = Bench(tmp_path, restarted=True, clock=crashed.clock)

    async def still_stopped() -> None:
        refused = await second.ask(command="power", power_w=5000, for_s=60, source="ems")
        assert "the operator stopped the charger" in refused["error"]

    assert second.run(still_stopped) == 0


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"machine": "another", "stopped": true, "requests": []}'])
def test_wishes_of_another_boot_or_a_torn_file_count_for_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / wishes.FILE).write_bytes(content)
    assert wishes.load(tmp_path) is None


def test_a_guard_that_was_started_again_is_told_of_the_stop(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        bench.report()
        await bench.ask(command="stop")
        await bench.heard(Operator, lambda message: message.action == "stop")
        bench.report(boot="boot-2")
        await bench.heard(Operator, lambda message: message.action == "stop")

    assert bench.run(script) == 0


def test_a_snapshot_that_waited_for_services_counts_for_the_energy_but_not_for_the_car(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        bench.report(charged_wh=10.0, v_dc_v=399.0)
        await bench.ask(command="hello")
        waited = msgspec.structs.replace(bench.snapshot, t=bench.clock() - 3.0, charged_wh=11.0, v_dc_v=111.0)
        bench.send(waited)
        async with asyncio.timeout(10.0):
            while (status := await bench.ask(command="status"))["energy"]["charged_wh"] != 11.0:
                await asyncio.sleep(0.01)
        assert status["age_s"] > 2.9
        assert any("Guard is silent" in problem for problem in status["problems"])
        await asyncio.sleep(0.1)
        assert 399.0 in [report.v_v for report in bench.car.reports]
        assert 111.0 not in [report.v_v for report in bench.car.reports]

    assert bench.run(script) == 0


def test_what_devices_say_goes_to_guard_with_its_time_and_silence_is_told_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        insulation = await bench.heard(InsulationReport)
        assert (insulation.r_ohm, insulation.alarm) == (250_000.0, "none")
        meter = await bench.heard(MeterReport)
        assert (meter.dc_v, meter.dc_p_w, meter.ac_p_w) == (400.0, 4000.0, None)
        bench.imd.quality = Quality.BAD
        await asyncio.sleep(0.1)
        while not isinstance(await bench.heard(object), PowerRequest):
            pass  # empty what was sent before
        bench.got.clear()
        await bench.heard(PowerRequest)
        assert not any(isinstance(message, InsulationReport) for message in bench.got)
        bench.imd.quality, bench.imd.error = Quality.GOOD, "no answer."
        await asyncio.sleep(0.2)
        bench.imd.error = ""
        await bench.heard(InsulationReport)

    assert bench.run(script) == 0
    assert sum("Insulation monitor" in text for text in bench.said) == 2  # invalid, then back; not one a poll
    assert sum("AC meter" in text for text in bench.said) == 1


def test_the_self_test_runs_once_for_every_rise_of_guards_serial(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        bench.report(self_test_serial=3)  # asked of services that are gone, and not waited for any more
        bench.report(self_test_serial=4, state=ChargerState.CABLE_SELF_TEST.value)
        assert await bench.heard(SelfTestReport) == SelfTestReport(4, True, bench.got[-1].t)  # type: ignore[union-attr]
        bench.report(self_test_serial=4)
        await asyncio.sleep(0.1)
        assert bench.imd.tests == 1
        bench.imd.error = "no answer."
        bench.report(self_test_serial=5)
        assert (await bench.heard(SelfTestReport)).passed is False

    assert bench.run(script) == 0


def test_services_that_were_started_during_a_self_test_run_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, restarted=True)

    async def script() -> None:
        bench.report(self_test_serial=2, state=ChargerState.CABLE_SELF_TEST.value)
        assert (await bench.heard(SelfTestReport)).serial == 2

    assert bench.run(script) == 0


def test_the_cars_frames_reach_guard_and_the_car_hears_of_guard(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        bench.report(ready=True, stop=False, i_charge_max_a=40.0)
        bench.bus.theirs.send(b"x")
        car = await bench.heard(CarReport)
        assert (car.phase, car.i_min_a, car.i_max_a) == ("transfer", -20.0, 50.0)
        await asyncio.sleep(0.05)
        assert bench.car.reports[-1].ready
        assert bench.car.reports[-1].i_charge_max_a == 40.0
        assert bench.bus.sent
        await asyncio.sleep(0.6)  # guard is silent
        assert bench.car.reports[-1] == ChargerReport(0.0, 0.0, 0.0, 0.0, 0.0, None, ready=False, stop=True)

    assert bench.run(script) == 0


def test_the_car_is_told_to_stop_when_nothing_is_known() -> None:
    assert charger_report(None).stop
    assert not charger_report(None).ready


def test_events_reach_watchers_and_the_records_with_wall_time_and_words(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        bench.report()
        reader, writer = await asyncio.open_unix_connection(tmp_path / "control.sock")
        writer.write(b'{"command": "watch"}\n')
        assert json.loads(await reader.readline())["ok"]
        await asyncio.sleep(0.05)
        bench.send(EventMessage(bench.clock(), "grid_trip", "UF1"))
        while "event" not in (message := json.loads(await reader.readline())):
            pass
        event = message["event"]
        assert (event["code"], event["severity"], event["detail"]) == ("grid_trip", "trip", "UF1")
        assert event["sentence"] == "Grid protection tripped."
        assert event["wall_s"] == pytest.approx(bench.wall_s(), abs=0.1)
        writer.close()
        bench.records.store.flush(bench.clock(), force=True)
        stored = (await bench.ask(command="events", limit=5))["events"]
        assert stored[-1]["code"] == "grid_trip"

    assert bench.run(script) == 0


def test_a_session_and_its_energy_are_booked_and_survive_a_restart_of_services(tmp_path: Path) -> None:
    first = Bench(tmp_path)

    async def charge() -> None:
        first.report(charged_wh=0.0, discharged_wh=0.0)
        first.report(state="transfer: charging", charged_wh=1.0, discharged_wh=0.0)
        await asyncio.sleep(0.1)
        energy = (await first.ask(command="status"))["energy"]
        assert (energy["charged_wh"], energy["session"]["number"]) == (1.0, 1)
        first.snapshot = msgspec.structs.replace(first.snapshot, charged_wh=2.0)

    first.run(charge)
    second = Bench(tmp_path, restarted=True, clock=first.clock)  # the same guard goes on
    second.snapshot = msgspec.structs.replace(first.snapshot, down=False)

    async def end() -> None:
        second.report(charged_wh=3.0, discharged_wh=0.5)
        second.report(state="finished", charged_wh=3.0, discharged_wh=0.5, why="The car ended the session.")
        await asyncio.sleep(0.1)

    second.run(end)
    reader = Reader(tmp_path / FILE)
    (session,) = reader.sessions()
    assert (session.number, session.charged_wh, session.discharged_wh) == (1, 2.0, 0.5)
    assert session.reason == "The car ended the session."
    state = reader.ledger_state()
    assert state is not None
    assert (state.charged_wh, state.discharged_wh) == (3.0, 0.5)


def test_a_session_whose_guard_is_gone_is_ended_before_the_new_guards_energy_is_booked(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        bench.report(charged_wh=0.0, discharged_wh=0.0)
        bench.report(state="transfer: charging", charged_wh=1.0)
        bench.report(boot="boot-2", state="idle", charged_wh=0.5, discharged_wh=0.0)
        await asyncio.sleep(0.1)

    bench.run(script)
    (session,) = Reader(tmp_path / FILE).sessions()
    assert session.charged_wh == 1.0 - session.start_charged_wh
    assert session.reason == "guard ended during the session"


def test_an_idle_charger_does_not_wear_its_disk(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        bench.report(charged_wh=5.0, discharged_wh=0.0)
        await asyncio.sleep(0.4)
        store = bench.records.store
        store.flush(bench.clock(), force=True)
        before = store.health().commits
        for _ in range(6):
            bench.report()
            await asyncio.sleep(0.1)
            store.flush(bench.clock(), force=True)
        assert store.health().commits == before

    bench.run(script)


def test_a_disturbance_record_is_kept_in_the_data_base_and_as_files(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        bench.report()
        bench.send(TripRecord(bench.clock(), "grid_trip", "UF1", ["t", "f_hz"], [[1.0, 50.0], [1.01, 47.0]]))
        await asyncio.sleep(0.3)

    bench.run(script)
    (record,) = Reader(tmp_path / FILE).records()
    assert (record.code, record.rows, record.settings_hash) == ("grid_trip", 2, "hash")
    assert record.header["board"] == "desk"
    assert record.header["settings"]["trip.UF1.threshold"]["value"] > 40.0
    assert sorted(p.suffix for p in (tmp_path / "trips").iterdir()) == [".cff", ".cfg", ".dat", ".hdr"]


def test_every_field_of_a_real_status_is_described_and_the_metrics_take_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    told: list[dict[str, Any]] = []

    async def script() -> None:
        bench.report(soc_pct=50.0)
        await bench.ask(command="power", power_w=1000.0, for_s=60.0)
        await asyncio.sleep(0.1)
        told.append(await bench.ask(command="status"))

    bench.run(script)
    (answer,) = told
    assert answer.pop("ok")
    assert set(answer) == set(fields.STATUS)
    for name, table in (("request", fields.REQUEST), ("energy", fields.ENERGY), ("services", fields.SERVICES)):
        assert set(answer[name]) == set(table)
    assert set(answer["snapshot"]) == set(fields.SNAPSHOT)
    text = metrics.render(answer)
    assert "quadrant_control_clients 1.0" in text
    assert "quadrant_state_of_charge_ratio 0.5" in text


def test_somebody_may_ask_for_a_record(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        bench.report()
        assert (await bench.ask(command="record"))["ok"]
        await bench.heard(Operator, lambda message: message.action == "record")

    bench.run(script)


@pytest.mark.parametrize("suffix", ["log", "blf"])
def test_the_can_log_holds_both_buses_and_can_be_read_back(tmp_path: Path, suffix: str) -> None:
    bench = Bench(tmp_path)
    path = tmp_path / f"frames.{suffix}"

    async def script() -> None:
        bench.report()
        assert (await bench.ask(command="can_log", path=str(path)))["ok"]
        assert (await bench.heard(Operator, lambda message: message.action == "can_log")).source == "on"
        assert "already goes to" in (await bench.ask(command="can_log", path=str(path)))["error"]
        bench.send(CanLog([(bench.clock(), "239.74.163.2", 0x02A33FF0, b"\x10\x01", True)]))
        await asyncio.sleep(0.1)
        assert (await bench.ask(command="can_log", off=True))["frames"] >= 2
        assert "exists already" in (await bench.ask(command="can_log", path=str(path)))["error"]
        for wrong, words in (("frames.log", "absolute"), (str(tmp_path / "x.txt"), ".blf"), ("/no/x.log", "No such")):
            assert words in (await bench.ask(command="can_log", path=wrong))["error"]

    bench.run(script)
    frames = list(can.LogReader(str(path)))
    converter = [frame for frame in frames if frame.arbitration_id == 0x02A33FF0]
    assert [(bytes(frame.data), frame.is_rx) for frame in converter] == [(b"\x10\x01", False)]
    assert any(frame.arbitration_id == 0x63000 for frame in frames)
    assert all(abs(frame.timestamp - bench.wall_s()) < 30.0 for frame in frames)


def test_services_say_that_they_live_and_whether_guard_talks_to_them(tmp_path: Path) -> None:
    read, write = os.pipe()
    bench = Bench(tmp_path, alive_fd=write)

    async def script() -> None:
        assert os.read(read, 10) == b"!"
        for _ in range(12):
            bench.report()
            await asyncio.sleep(0.1)
        assert os.read(read, 10) == b"."
        await asyncio.sleep(2.1)
        assert os.read(read, 10).endswith(b"!")
        assert any("Guard is silent" in text for text in (await bench.ask(command="status"))["problems"])

    bench.run(script)
    os.close(read)
    os.close(write)


def test_a_guard_that_never_comes_down_ends_services_with_a_code_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "SHUTDOWN_S", 0.3)
    bench = Bench(tmp_path)

    async def main() -> int:
        task = asyncio.create_task(bench.services.run())
        await asyncio.sleep(0.1)
        assert (await bench.ask(command="shutdown"))["ok"]
        assert "shuts down" in (await bench.ask(command="power", power_w=0, for_s=60))["error"]
        async with asyncio.timeout(10.0):
            return await task

    assert run(bench.clock, main()) == app.EXIT_NOT_DOWN
    assert any("did not say within 0.3 s" in text for text in bench.said)


def test_garbage_from_guards_end_is_counted_and_changes_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        bench.guard.send(b"\xc1garbage")
        bench.guard.send(msgspec.msgpack.encode({"type": "unknown"}))
        bench.report()
        await asyncio.sleep(0.1)
        assert (await bench.ask(command="status"))["snapshot"]["boot"] == "boot-1"

    assert bench.run(script) == 0


def test_a_full_queue_towards_guard_refuses_an_operator_and_blocks_nothing() -> None:
    guard, ours = socket_pair()
    link = GuardLink(ours)
    with guard, ours:
        while link.send(PowerRequest("x", 0.0, 1.0, "r" * 1000)):
            pass
        assert link.not_sent == 1
        assert not link.send(Operator("stop"))


def test_a_jump_of_the_wall_clock_is_told_and_shifts_only_what_comes_after(tmp_path: Path) -> None:
    now, wall = [100.0], [1000.0]
    records = Records(tmp_path, 22_000.0, lambda: now[0], lambda: wall[0], print, background=False)
    assert records.check() is None
    now[0] += 1.0
    wall[0] += 3601.0
    jump = records.check()
    assert jump is not None
    assert (jump.code, jump.detail) == ("clock_step", "by +3600.0 s")
    assert records.check() is None
    assert records.wall_of(101.0) == 4601.0


def test_a_records_file_of_another_program_is_set_aside_and_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a data base at all, but somebody's notes" * 100)
    said: list[str] = []
    Records(tmp_path, 22_000.0, time.monotonic, time.time, said.append, background=False)
    assert "set aside" in said[0]
    assert isinstance(Store.open(tmp_path / FILE), Store)


def test_a_reserve_ends_everybodys_discharge_at_once_and_a_withdrawn_request_makes_room(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def script() -> None:
        bench.report()
        await bench.ask(command="power", power_w=3000.0, for_s=60.0)
        bench.services.power(-5000.0, 60.0, "evening", "mqtt")
        await bench.heard(PowerRequest, lambda m: (m.source, m.power_w) == ("mqtt", -5000.0))
        assert bench.services.asks("mqtt")
        bench.services.bound_discharge("mqtt", "state of charge 29 %, reserve 30 %", 5.0)
        bounded = await bench.heard(PowerRequest, lambda m: m.power_w == 0.0)
        assert "reserve 30 %" in bounded.reason
        bench.services.bound_discharge("mqtt", "", 5.0)
        await bench.heard(PowerRequest, lambda m: m.power_w == -5000.0)
        bench.services.withdraw("mqtt")
        await bench.heard(PowerRequest, lambda m: (m.source, m.power_w) == ("operator", 3000.0))
        assert not bench.services.asks("mqtt")

    bench.run(script)
