"""The services process: everything that talks to people, cars and meters, in one asyncio loop beside guard.

Guard is the only one that may command the converter and the contactors. Services ask: they renew a lease twice a
second, pass on what car, meters and insulation monitor say, and write down what guard reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from boards import Board
from firmware.bridges.ocpp.view import Orders, View
from firmware.guard.machine import ChargerState
from firmware.guard.messages import CanLog, EventMessage, Operator, PowerRequest, Snapshot, TripRecord
from firmware.recorder.schema import RecorderError
from firmware.services import mqtt, wishes
from firmware.services.back_end import SOURCE as BACK_END
from firmware.services.back_end import BackEnd, ControlsPort, car_orders_of, controls_of, external_of, obey, view_of
from firmware.services.can_log import CanLogError, CanLogWriter, LoggedFrame
from firmware.services.control import ControlServer, Refused
from firmware.services.devices import CarSide, MeterSide
from firmware.services.grid_controls import Controls
from firmware.services.grid_desk import GridDesk
from firmware.services.in_force import software
from firmware.services.latches import Latches
from firmware.services.link import GuardLink
from firmware.services.mqtt import MqttSide
from firmware.services.records import Records
from firmware.services.requests import RequestRefused, Requests
from hal.ports import CanFrame

RENEW_S = 0.5  # guard holds services for lost after 1 s (firmware/guard/numbers.py: SERVICES_SILENT_S)
SHUTDOWN_S = 14.0  # below the supervisor's own limit, so that it hears why
GUARD_STALE_S = 1.0  # ten snapshots missed
ALIVE_S = 1.0
METER_STALE_S = 5.0  # policy value: older, and the site's power is not known
OPERATOR = "operator"  # the source whose requests lift the operator's stop
EXIT_DOWN = 0  # guard is down as asked
EXIT_NOT_DOWN = 3


class Services:
    """One charger's services. Also what the control socket commands (firmware/services/control.py: Charger)."""

    def __init__(
        self,
        board: Board,
        run_dir: Path,
        link: GuardLink,
        records: Records,
        meters: MeterSide,
        vehicle: CarSide,
        *,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None],
        alive_fd: int | None = None,
        restarted: bool = False,
        back_end: BackEnd | None = None,
    ) -> None:
        self._board = board
        self._back_end = back_end
        self._mqtt: MqttSide | None = None
        self._mqtt_problem = ""
        self._link = link
        self._records = records
        self._meters = meters
        self._vehicle = vehicle
        self._clock = clock
        self._say = say
        self._alive_fd = alive_fd
        self._restarted = restarted
        ratings = board.ratings
        self._requests = Requests(ratings.charge_w, ratings.discharge_w, board.policy.idle_power_w)
        self._run_dir = run_dir
        self._control = ControlServer(run_dir / "control.sock", self)
        self._snapshot: Snapshot | None = None
        self._stopped = False  # by the operator; a guard that is started again must be told again
        self._held: str | None = None  # why the back end holds sessions back; None: it has not spoken yet
        self._wishes_problem = ""
        self._can_log: CanLogWriter | None = None
        self._shutdown_until: float | None = None
        self._latches = Latches(run_dir)
        self._controls = Controls(run_dir, board, self._wall_s())
        self.grid = GridDesk(self._controls, self._wall_s, link.send, self._tell_control)
        records.in_force = lambda: {"board": board.name, **self._controls.in_force(self._wall_s())}
        self._done: asyncio.Event = asyncio.Event()
        self._exit_code = EXIT_NOT_DOWN
        vehicle.on_frames = self._vehicle_frames
        if not restarted:
            wishes.forget(run_dir)  # of a supervisor that was killed
        known = wishes.load(run_dir)
        if known is not None:
            self._stopped = known.stopped
            self._requests.restore(clock(), known.requests)

    # ------------------------------------------------------------------------------------------------------- life
    async def run(self) -> int:
        """Serve until guard is down after a shutdown. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.begin_shutdown)
        await self._control.start()
        loop.add_reader(self._link.fileno(), self._receive)
        if self._back_end is not None:
            self._back_end.attach(loop, ControlsPort(self._controls, self.grid.change))
        self._mqtt, self._mqtt_problem = mqtt.start(self._board, self._run_dir, self._say, loop, self)
        if self._restarted:
            self._publish_event(EventMessage(self._clock(), "services_restarted"))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(work)
                    for work in (self._every(RENEW_S, self._renew), self._every(ALIVE_S, self._second))
                ]
                tasks += [group.create_task(self._meters.run()), group.create_task(self._vehicle.run())]
                await self._done.wait()
                for task in tasks:
                    task.cancel()
        finally:
            loop.remove_reader(self._link.fileno())
            self._end_can_log()
            if self._shutdown_until is not None:
                wishes.forget(self._run_dir)
            await self._control.close()
            if self._mqtt is not None:
                await self._mqtt.close()
            if self._back_end is not None:
                await asyncio.to_thread(self._back_end.close)
            await self._records.close()
        return self._exit_code

    def begin_shutdown(self) -> None:
        """Ask guard to ramp down and open; `run` ends when guard says that it is down."""
        if self._shutdown_until is None:
            self._shutdown_until = self._clock() + SHUTDOWN_S
            self._renew()

    async def _every(self, period_s: float, work: Callable[[], None]) -> None:
        due = self._clock()
        while True:
            work()
            due = max(due + period_s, self._clock())
            await asyncio.sleep(due - self._clock())

    def _renew(self) -> None:
        """Twice a second: the lease, and what guard must not forget."""
        now = self._clock()
        request = self._requests.for_guard(now, self._board.policy.lease_s)
        rule = self._requests.rule_of(request.source)
        sleep = request.sleep
        self._link.send(PowerRequest(request.source, request.power_w, request.until_s, request.reason, rule, sleep))
        if request.until_s - now < RENEW_S:
            # It ends before the next renewal: what counts then is told at once, or the power would dip between the two.
            asyncio.get_running_loop().call_later(request.until_s - now, self._renew)
        if self._shutdown_until is not None:
            self._link.send(Operator("shutdown", "services"))
            if now > self._shutdown_until:
                self._say(f"Guard did not say within {SHUTDOWN_S:g} s that it is down.")
                self._done.set()

    def _second(self) -> None:
        silent = self._guard_age_s() > GUARD_STALE_S
        if self._alive_fd is not None:
            with contextlib.suppress(OSError):
                os.write(self._alive_fd, b"!" if silent else b".")
        self.grid.advance()
        if self._wishes_problem:
            self._save_wishes()
        jumped = self._records.check()
        if jumped is not None:
            self._publish_event(jumped)
        if silent and self._snapshot is not None:
            self._control.publish_snapshot(self._state)  # with its age: a watcher sees that nothing comes
        if self._mqtt is not None:
            self._mqtt.tick(self._clock(), self._state())
        if self._can_log is not None and self._can_log.problem:
            self._say(self._can_log.problem)
            self._end_can_log()

    # --------------------------------------------------------------------------------------------------- from guard
    def _receive(self) -> None:
        for message in self._link.receive():
            match message:
                case Snapshot():
                    self._take_snapshot(message)
                case EventMessage():
                    self._publish_event(message)
                case TripRecord():
                    held_back = self._records.trip(message)
                    if held_back is not None:
                        self._publish_event(held_back)
                case CanLog(frames=frames):
                    self._log(
                        [
                            LoggedFrame(self._records.wall_of(t), 0, i, data, True, sent)
                            for t, _, i, data, sent in frames
                        ]
                    )

    def _take_snapshot(self, snapshot: Snapshot) -> None:
        known = self._snapshot
        self._snapshot = snapshot
        if known is None or known.boot != snapshot.boot:
            self._greet()
        for code in self._latches.to_tell(snapshot.boot):
            self._link.send(Operator("latch", code))
        self._latches.take(snapshot.boot, snapshot.latched)
        self._records.snapshot(snapshot)
        if self._clock() - snapshot.t > GUARD_STALE_S:
            return  # it waited for us: its energy counts, but neither car nor screen may take it for the present
        self._meters.snapshot(snapshot, snapshot.state == ChargerState.CABLE_SELF_TEST.value)
        self._vehicle.snapshot(snapshot)
        if self._back_end is not None:
            self._back_end.look(self._view(snapshot))
            self._obey_orders(self._back_end.orders)
            if not (self._stopped or self._held) and obey(self._requests, self._clock(), self._back_end.wanted):
                self._renew()
        self._control.publish_snapshot(self._state)
        if snapshot.down and self._shutdown_until is not None:
            self._exit_code = EXIT_DOWN
            self._done.set()

    def _obey_orders(self, orders: Orders | None) -> None:
        """The back end may hold sessions back, and start the charger anew; a person's stop stands whatever it says."""
        if orders is None:
            return  # it has not spoken since services began: guard goes on as it does
        self._vehicle.order(car_orders_of(orders.car))
        if orders.hold != self._held:
            # Of an earlier life of services guard may still be held back: the first word is always passed on.
            new = self._held is None or bool(orders.hold) is not bool(self._held)
            action = "stop" if orders.hold else "start"
            if new and not self._stopped and not self._link.send(Operator(action, BACK_END)):
                return  # it is tried again with the next snapshot
            if orders.hold or self._held:
                why = f"are held back by OCPP: {orders.hold}" if orders.hold else "may run again"
                self._say(f"Sessions {why}.")
            self._held = orders.hold
        if orders.reset and self._shutdown_until is None:
            self._say("The back end resets the charger.")
            self.begin_shutdown()

    def _view(self, snapshot: Snapshot) -> View:
        """What the back end's bridge is told of the charger."""
        now, ocpp, meter = self._clock(), self._board.ocpp, self._meters.ac
        fresh = meter is not None and now - meter.t <= METER_STALE_S
        return view_of(
            snapshot,
            self._records.energy(),
            self._records.wall_of(snapshot.t),
            external=external_of(self._requests, now),
            site_w=meter.value.p_w if meter is not None and fresh and ocpp is not None and ocpp.site_meter else None,
            car=getattr(self._vehicle, "car", None),
            controls=controls_of(self._controls, self._wall_s()),
            stopped=self._stopped,
        )

    def _greet(self) -> None:
        """A guard that has just started knows nothing of what people want."""
        if self._stopped or self._held:
            self._link.send(Operator("stop"))
        if self._can_log is not None:
            self._link.send(Operator("can_log", "on"))
        self.grid.advance()
        self.grid.tell_guard(again=True)

    def _publish_event(self, event: EventMessage) -> None:
        self._control.publish_event(self._records.event(event))

    def _tell_control(self, sentence: str) -> None:
        self._publish_event(EventMessage(self._clock(), "grid_control", sentence))

    def _guard_age_s(self) -> float:
        return float("inf") if self._snapshot is None else self._clock() - self._snapshot.t

    # -------------------------------------------------------------------------------------------------- for clients
    def _state(self) -> dict[str, Any]:
        """What changes: the body of `status` and of every message of `watch`."""
        now = self._clock()
        request = self._requests.current(now)
        return {
            "snapshot": None if self._snapshot is None else msgspec.to_builtins(self._snapshot),
            "age_s": None if self._snapshot is None else now - self._snapshot.t,
            "request": None
            if request is None
            else {**msgspec.to_builtins(request), "remaining_s": request.until_s - now},
            "energy": self._records.energy(),
            "problems": self._problems(),
        }

    def _problems(self) -> list[str]:
        """Sentences about what services themselves miss."""
        found = [health.problem for health in self._meters.health.values()]
        found += [self._records.problem(), self._latches.problem, self._controls.problem, self._wishes_problem]
        found.append(self._mqtt_problem if self._mqtt is None else self._mqtt.problem)
        if self._back_end is not None:
            found.append(self._back_end.problem)
        if self._held:
            found.append(f"Sessions are held back by OCPP: {self._held}.")
        if self._guard_age_s() > GUARD_STALE_S:
            found.append("Guard is silent: what is shown is old, and no power flows.")
        return [problem for problem in found if problem]

    def hello(self) -> dict[str, Any]:
        return {"name": "quadrant", "version": software(), "pid": os.getpid(), **self._about()}

    def _about(self) -> dict[str, Any]:
        return {"board": self._board.name, "title": self._board.title, "emulated": self._board.emulated}

    def status(self) -> dict[str, Any]:
        can_log = None if self._can_log is None else str(self._can_log.path)
        return {**self._about(), **self._state(), "can_log": can_log, "services": self._own()}

    def _own(self) -> dict[str, Any]:
        """How services themselves are doing; field by field in firmware/status_fields.py."""
        health = self._records.store.health()
        return {
            "version": software(),
            "records_waiting": health.waiting,
            "records_lost": health.lost,
            "unread_trips": self._records.unread_trips(),
            "not_sent": self._link.not_sent,
            "bad": self._link.bad,
            "clients": self._control.clients,
        }

    def power(self, power_w: float, for_s: float, reason: str, source: str) -> dict[str, Any]:
        now = self._clock()
        try:
            if self._shutdown_until is not None:
                raise RequestRefused("the charger shuts down.")
            if self._stopped and source != OPERATOR:
                raise RequestRefused("the operator stopped the charger; only the operator can start it again.")
            request = self._requests.ask(now, source, power_w, for_s, reason)
        except RequestRefused as refusal:
            self._records.request(source[:40], power_w, for_s, reason[:200], str(refusal))
            raise Refused(str(refusal)) from None
        if self._stopped:
            if not self._held:
                self._tell_guard("start")
            self._stopped = False
        self._records.request(source, power_w, for_s, reason, "")
        self._save_wishes()
        self._renew()
        return {"request": {**msgspec.to_builtins(request), "remaining_s": for_s}}

    def withdraw(self, source: str) -> None:
        """What this source asks for ends now; the next one's wish counts."""
        self._requests.withdraw(source)
        self._save_wishes()
        self._renew()

    def asks(self, source: str) -> bool:
        """This source has a request that has not ended."""
        return any(request.source == source for request in self._requests.live(self._clock()))

    def bound_discharge(self, source: str, reason: str, for_s: float) -> None:
        """Nobody discharges for `for_s`, for this reason; an empty reason: everybody may."""
        before = self._requests.for_guard(self._clock(), 0.0).power_w
        self._requests.bound(self._clock(), source, None, 0.0 if reason else None, for_s, reason)
        if self._requests.for_guard(self._clock(), 0.0).power_w != before:
            self._renew()

    def operator(self, action: str) -> dict[str, Any]:
        if action == "stop":
            self._requests.cancel_all()  # a stop ends what was asked for, whatever happens to the message
            self._stopped = True
            self._save_wishes()
        if action == "start" and self._held:
            raise Refused(f"the charger cannot be started: {self._held} (OCPP).")
        self._tell_guard(action)
        if action == "start":
            self._stopped = False
        self._save_wishes()
        return {}

    def _save_wishes(self) -> None:
        problem = ""
        try:
            wishes.save(self._run_dir, self._stopped, self._requests.live(self._clock()))
        except OSError as error:  # tried again every second: an older file must not outlive the room that there is
            problem = f"What was asked for could not be kept for a restart of services: {error.strerror}."
        if problem and problem != self._wishes_problem:
            self._say(problem)
        self._wishes_problem = problem

    def _tell_guard(self, action: str) -> None:
        if not self._link.send(Operator(action)):
            raise Refused(f"guard does not take messages, so `{action}` was not passed on; try again in a second.")

    def events(self, since: float, limit: int) -> dict[str, Any]:
        try:
            return {"events": self._records.events(since, limit)}
        except RecorderError as error:
            raise Refused(str(error)) from None

    def can_log(self, path: str | None) -> dict[str, Any]:
        if path is None:
            return {"frames": self._end_can_log()}
        if self._can_log is not None:
            raise Refused(f"the CAN log already goes to {self._can_log.path}; switch it off first.")
        try:
            self._can_log = CanLogWriter(Path(path))
        except CanLogError as error:
            raise Refused(str(error)) from None
        self._link.send(Operator("can_log", "on"))
        return {"path": path}

    def _wall_s(self) -> float:
        return self._records.wall_of(self._clock())

    def note(self, who: str, text: str) -> dict[str, Any]:
        """What a person did through a client, for the record."""
        self._publish_event(EventMessage(self._clock(), "person", f"{who}: {text}"))
        return {}

    def record(self) -> dict[str, Any]:
        self._tell_guard("record")
        return {}

    def pause(self) -> dict[str, Any]:
        """Ask the car to pause its session."""
        refusal = self._vehicle.pause()
        if refusal:
            raise Refused(refusal)
        return {}

    def ocpp(self, priority: bool | None) -> dict[str, Any]:
        if self._back_end is None:
            raise Refused("this board has no [ocpp] section, so there is no back end.")
        if priority is not None:
            profiles = self._back_end.report.get("profiles", [])
            if priority and not any(profile["purpose"] == "PriorityCharging" for profile in profiles):
                raise Refused("the back end has set no PriorityCharging profile.")
            self._back_end.want_priority(priority)
        return {"ocpp": self._back_end.report, "problem": self._back_end.problem}

    def shutdown(self) -> dict[str, Any]:
        self.begin_shutdown()
        return {}

    # ------------------------------------------------------------------------------------------------------ CAN log
    def _vehicle_frames(self, frames: Sequence[CanFrame], sent: bool) -> None:
        if self._can_log is not None:
            now = self._clock()
            self._log(
                [LoggedFrame(self._records.wall_of(f.t or now), 1, f.id, f.data, f.extended, sent) for f in frames]
            )

    def _log(self, frames: Sequence[LoggedFrame]) -> None:
        if self._can_log is not None:
            self._can_log.write(frames)

    def _end_can_log(self) -> int:
        """How many frames were written; counted when the file is whole."""
        written = 0
        if self._can_log is not None:
            self._link.send(Operator("can_log", "off"))
            self._can_log.close()
            written, self._can_log = self._can_log.written, None
        return written
