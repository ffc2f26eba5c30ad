"""Guard: one pure step from readings and requests to commands.

`Guard.step(now, readings, request)` does everything that decides: it keeps the lease, asks grid protection, weighs
the limits, moves the session on, passes the gate. The loop around it only moves bytes. It opens nothing, reads no
clock and never sleeps, so it runs the same at 100 Hz on a charger and fifty times faster in a simulated rig.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from firmware.grid_support.controls import from_dict
from firmware.grid_support.effective import compose
from firmware.grid_support.settings import capability_of, settings_of
from firmware.guard import numbers as n
from firmware.guard.blackbox import BlackBox
from firmware.guard.conditions import Conditions, usable
from firmware.guard.events import Severity
from firmware.guard.faults import Faults
from firmware.guard.gate import Decision, Outputs, Permission, gate
from firmware.guard.known import Commands, GuardSettings, Known, Readings
from firmware.guard.machine import AT_REST
from firmware.guard.machine import ChargerState as S
from firmware.guard.messages import (
    MAX_LEASE_S,
    CarReport,
    EventMessage,
    GridControls,
    InsulationReport,
    MeterReport,
    Operator,
    PowerRequest,
    SelfTestReport,
    ToGuard,
)
from firmware.guard.reports import Report, car_status, problem
from firmware.guard.session import Session
from firmware.guard.stack import LimitStack
from firmware.guard.support import Support
from firmware.guard.view import View
from firmware.power.arbiter import Limit, Permitted, permit
from firmware.protection.grid import GridProtection
from firmware.protection.types import GridSample, GridStatus, Transfer
from hal.ports import (
    CarPhase,
    ConverterStatus,
    CpState,
    GridTelemetry,
    InsulationAlarm,
    PilotStatus,
)

_LASTING = ("grid_sense_lost", "grid_sense_disagree")  # they begin and end: the book of faults tells both
_TRIP = Severity.TRIP
_DEVICE_FAULT, _ALARM = InsulationAlarm.DEVICE_FAULT.value, InsulationAlarm.ALARM.value


class Guard:
    """The charger's decisions. One instance per guard process (or simulated charger)."""

    def __init__(self, settings: GuardSettings, protection: GridProtection, *, restarted: bool = False) -> None:
        self.settings = settings
        self.protection = protection
        self._rated_w = max(settings.charge_w, settings.discharge_w)
        code = protection.code
        self.support = Support(
            settings_of(code, self._rated_w),
            replace(capability_of(code, self._rated_w), charge_w=settings.charge_w, discharge_w=settings.discharge_w),
            beyond_request=settings.support_beyond_request,
        )
        self._profile, self._profile_functions = code, self.support.settings
        self.controls_hash = ""  # of the controls in force; "" = the profile alone, and nobody has said so
        self.known = Known()
        self.faults = Faults()
        self.session = Session(settings.voltage_v)
        self.conditions = Conditions(settings)
        self.grid: GridStatus | None = None
        self.permitted = Permitted(0.0, None)
        self.limits: tuple[Limit, ...] = ()
        self.view: View | None = None
        self.outputs: Outputs | None = None
        self.readings: Readings | None = None
        self.last_grid: GridTelemetry | None = None
        self.last_grid_t = 0.0
        self.charged_wh = 0.0
        self.discharged_wh = 0.0
        self.tick = 0
        self.down = False
        self._restarted = restarted
        # Said at the first tick; put together now, because hashing a profile takes a good part of a period.
        self._grid_code = [("grid_code", protection.code.identity)]
        if protection.code.caution:
            self._grid_code.append(("grid_code_unverified", protection.code.caution))
        self._grid_code.append(("grid_support_functions", self.support.active()))
        if self.support.settings.left_out:
            self._grid_code.append(("grid_support_left_out", "; ".join(self.support.settings.left_out)))
        self._stack = LimitStack(settings)
        self._sense_detail: dict[str, str] = {}
        self._converter_grid_t = -math.inf
        self._last_energy_t: float | None = None
        self._box = BlackBox(settings.tick_s)

    # ------------------------------------------------------------------------------------------------ one tick
    def step(self, now: float, readings: Readings, request: Sequence[ToGuard] = ()) -> Commands:
        """One tick: `readings` from the drivers, `request` = the messages of services since the last tick."""
        self.tick += 1
        self.readings = readings
        events = self.known.events
        if self.tick == 1:
            self._say_start(now, readings)
        for message in request:
            self._take(now, message)
        self._lease(now)

        expected = self.conditions.converter_expected(now, readings, self.outputs)
        converter, session = readings.converter, self.session
        pilot_samples, converter_samples = self._pilot_samples(readings.pilot), self._converter_samples(converter)
        self.grid = grid = self.protection.step(
            now,
            pilot_samples,
            converter_samples,
            converter_expected=expected,
            transfer=self._transfer(now, converter),
        )
        for notice in grid.notices:
            if notice.code in _LASTING:
                self._sense_detail[notice.code] = notice.detail
            else:
                events.append(EventMessage(now, notice.code, notice.detail))

        state = session.machine.state
        conditions = self.conditions.present(now, readings, self.known, self.outputs, session, expected)
        for code in self.protection.conditions:
            conditions[code] = self._sense_detail.get(code, "")
        if self.protection.passive_only:
            conditions["anti_islanding_passive"] = "no change of reactive power confirmed while power flows"
        events += self.faults.update(now, conditions)

        self.limits = limits = self._stack.limits(now, converter, self.known, grid, self.faults)
        asked_w = self.known.asked_w if self._live(now) else 0.0
        self.support.hear(pilot_samples, converter_samples)
        available = permit(asked_w, limits)
        sent_a = self.outputs.converter.current_a if self.outputs is not None else 0.0
        supported = self.support.step(now, grid, converter, asked_w, available.power_w, sent_a)
        events += self.support.notes
        if supported.limits or supported.asked_w != asked_w:
            self.limits = limits = limits + supported.limits
            available = permit(supported.asked_w, limits)
        self.permitted = available
        self.view = view = self._view(now, readings, grid)
        decision = session.tick(now, view)
        for code, detail in session.faults:
            self.faults.report(code, detail)
        for notes in (session.notes, self.conditions.notes):
            for code, detail in notes:
                events.append(EventMessage(now, code, detail))

        permission = self._permission(now, view, grid)
        if readings.pilot.com_timeout and session.machine.state in AT_REST:
            decision = Decision(reset_pilot=True)
        elif self.known.shutdown and session.machine.state in AT_REST:
            decision = Decision()
        tan_phi = supported.tan_phi + grid.probe_tan_phi
        self.outputs = outputs = gate(decision, permission, converter, now, n.DC_MAX_AGE_S, tan_phi)
        self._count_energy(now, view)
        self._note_down(readings)
        self._box.note(
            (now, readings, outputs, session.machine.state, grid.state, grid.may_connect, grid.may_transfer,
             session.i_set_a, self.known.asked_w, view.permitted_w, view.lease, self.faults.worst)
        )  # fmt: skip
        record = self._box.take(now, events, state, self.down)
        self.known.events = []
        return Commands(outputs, tuple(events), record)

    # ------------------------------------------------------------------------------------- requests and leases
    def _say_start(self, now: float, readings: Readings) -> None:
        self.known.services_t = now
        self.known.events.append(EventMessage(now, "guard_restarted" if self._restarted else "guard_started"))
        self.known.events.extend(EventMessage(now, code, detail) for code, detail in self._grid_code)
        if readings.realtime_refused:
            self.known.events.append(EventMessage(now, "guard_not_realtime", "; ".join(readings.realtime_refused)))

    def _take(self, now: float, message: ToGuard) -> None:
        known = self.known
        known.services_t = now
        match message:
            case PowerRequest():
                self._take_power(now, message)
            case CarReport() | InsulationReport() | SelfTestReport() | MeterReport():
                self._take_report(now, message)
            case Operator():
                self._take_operator(now, message)
            case GridControls():
                self._take_controls(now, message)

    def _take_report(self, now: float, report: Report) -> None:
        """What cannot be believed, or is older than what is known, changes nothing."""
        known = self.known
        wrong = problem(now, report)
        if wrong:
            known.refused, known.refused_t = wrong, now
            return
        match report:
            case CarReport():
                if known.car is None or report.t >= known.car.t:
                    known.car, known.car_status = report, car_status(report)
            case InsulationReport():
                if known.insulation is None or report.t >= known.insulation.t:
                    known.insulation = report
            case SelfTestReport():
                known.self_test = report
            case MeterReport():
                if known.meter is None or report.t >= known.meter.t:
                    known.meter = report

    def _take_power(self, now: float, message: PowerRequest) -> None:
        known, old = self.known, self.known.request
        if not (math.isfinite(message.power_w) and math.isfinite(message.until_s)):
            known.events.append(EventMessage(now, "request_refused", f"{message.source}: not a number"))
            return
        if message.until_s <= now:
            return  # it died on the way
        if old is None or now > known.lease_until_s or message.source != old.source or message.rule != old.rule:
            new = True
        else:
            new = not message.rule and (message.power_w, message.reason) != (old.power_w, old.reason)
        if new:
            known.events.append(
                EventMessage(
                    now, "request", f"{message.source}: {message.power_w / 1000:+.2f} kW {message.reason}".strip()
                )
            )
        known.request = message
        known.asked_w = message.power_w
        known.lease_until_s = min(message.until_s, now + MAX_LEASE_S)

    def _take_controls(self, now: float, message: GridControls) -> None:
        """Lay the controls over the profile, all of them or none; told again without a change, nothing happens."""
        if message.hash == self.controls_hash:
            return
        try:
            effective = compose(
                self._profile, self._profile_functions, self.protection.chain, map(from_dict, message.controls)
            )
            self.protection.retune(now, effective.code)
        except ValueError as error:  # ControlRefused, GridCodeError
            self.known.events.append(EventMessage(now, "grid_controls_refused", f"{error}; sha256 {message.hash}"))
            return
        self.support.retune(effective.support)
        self.controls_hash = message.hash
        by = ", ".join(f"{key} by {name}" for key, name in effective.sources) or "none: the profile alone"
        self.known.events.append(EventMessage(now, "grid_controls", f"{by}; sha256 {message.hash}"))

    def _take_operator(self, now: float, message: Operator) -> None:
        known = self.known
        if message.action == "stop":
            known.stopped = True
            known.events.append(EventMessage(now, "operator_stop", message.source))
        elif message.action == "start":
            known.stopped = False
        elif message.action == "latch":
            event = self.faults.latch(now, message.source)
            if event is not None:
                known.events.append(event)
        elif message.action == "clear":
            self.faults.clear(now)
            known.events.append(EventMessage(now, "operator_clear", message.source))
        elif message.action == "record":
            known.events.append(EventMessage(now, "record_asked", message.source))
        elif message.action == "shutdown" and not known.shutdown:
            known.shutdown = known.stopped = True
            known.events.append(EventMessage(now, "shutdown", message.source))

    def _live(self, now: float) -> bool:
        return now <= self.known.lease_until_s and not self.known.shutdown

    def _lease(self, now: float) -> None:
        """The end of a lease is told once; what was asked under it is forgotten."""
        if self.known.request is not None and now > self.known.lease_until_s:
            self.known.events.append(EventMessage(now, "lease_ended", self.known.request.source))
            self.known.request = None
            self.known.asked_w = 0.0

    # -------------------------------------------------------------------------------------------------- inputs
    def _pilot_samples(self, pilot: PilotStatus) -> list[GridSample]:
        nominal = self.settings.nominal_v
        samples = []
        for reading in pilot.grid:
            (a, b, c), f_hz = reading.value
            fields = (reading.t, (a / nominal, b / nominal, c / nominal), f_hz, False)
            samples.append(tuple.__new__(GridSample, fields))  # half the time that it takes by name
        if samples:
            self.last_grid, self.last_grid_t = reading.value, reading.t
        return samples

    def _converter_samples(self, converter: ConverterStatus) -> list[GridSample]:
        reading = converter.grid
        if reading is None or reading.t <= self._converter_grid_t:
            return []
        self._converter_grid_t = reading.t
        (a, b, c), f_hz = reading.value
        nominal = self.settings.nominal_v
        return [GridSample(reading.t, (a / nominal, b / nominal, c / nominal), f_hz)]

    def _transfer(self, now: float, converter: ConverterStatus) -> Transfer | None:
        """What the charger does to the grid, as far as the converter has confirmed it; None = it transfers nothing."""
        p_w, held = usable(converter.p_ac_w, now), converter.tan_phi
        running = self.outputs is not None and self.outputs.converter.on and converter.online
        if not running or p_w is None or converter.limits is None:
            return None
        if not converter.limits.tan_phi_max:  # it knows no reactive power on command
            return Transfer(p_w / self._rated_w, 0.0)
        if held is None or not held.fresh(now, n.TAN_PHI_MAX_AGE_S):
            return Transfer(p_w / self._rated_w, 0.0)  # what nobody confirms proves nothing
        return Transfer(p_w / self._rated_w, held.value)

    def _view(self, now: float, readings: Readings, grid: GridStatus) -> View:
        known, converter, pilot = self.known, readings.converter, readings.pilot
        cp = pilot.cp.value if pilot.cp is not None and pilot.cp.fresh(now, n.CP_MAX_AGE_S) else None
        car = known.car_status if known.car is not None and now - known.car.t <= n.CAR_SILENT_S else None
        insulation = known.insulation
        # A device that reports its own fault measures nothing, whatever number stands beside it.
        fresh = insulation is not None and now - insulation.t <= n.INSULATION_MAX_AGE_S
        fresh = fresh and insulation is not None and insulation.alarm != _DEVICE_FAULT
        believed = insulation if fresh else None
        meter = known.meter
        # A result from before it was asked for belongs to an earlier guard, whose numbers began at 1 as well.
        test = known.self_test
        if test is not None and not test.t > self.session.machine.since:
            test = None
        in_c = cp is CpState.C or cp is CpState.D
        in_time = not known.shutdown
        return View(
            severity=self.faults.worst,
            lease=in_time and now <= known.lease_until_s,
            held=in_time and now <= known.lease_until_s + n.LEASE_GRACE_S,
            stopped=known.stopped,
            plugged=in_c or cp is CpState.B,
            in_c=in_c,
            car=car,
            converter=converter,
            grid=grid,
            v_dc_v=usable(converter.v_dc_v, now),
            i_dc_a=usable(converter.i_dc_a, now),
            cable_v=meter.dc_v if meter is not None and now - meter.t <= n.METER_MAX_AGE_S else None,
            mirrors=pilot.mirrors.value if pilot.mirrors is not None and pilot.mirrors.fresh(now, 0.5) else None,
            insulation_ohm=believed.r_ohm if believed is not None else None,
            insulation_t=believed.t if believed is not None else -math.inf,
            insulated=believed is not None
            and believed.r_ohm >= self.settings.insulation_min_ohm
            and believed.alarm != _ALARM,
            self_test=(test.serial, test.passed) if test is not None else None,
            permitted_w=self.permitted.power_w,
            rate_a_per_s=self.settings.ramp_a_per_s,
            sent_a=self.outputs.converter.current_a if self.outputs is not None else 0.0,
            # That nobody asks any more is no reason to switch a converter on.
            sleep=known.request.sleep if known.request is not None else self.view is not None and self.view.sleep,
        )

    # ---------------------------------------------------------------------------------------------- permission
    def _permission(self, now: float, view: View, grid: GridStatus) -> Permission:
        lease = view.held
        if not lease and self.session.machine.state in (S.RAMP_DOWN, S.OPENING, S.WELD_CHECK):  # winding down
            lease = now <= self.known.lease_until_s + n.WIND_DOWN_S
        car_wants = view.car is not None and view.car.phase is CarPhase.TRANSFER
        # Ramping down is still transfer: the car has asked to end, or the insulation has just failed, and current
        # falls along the ramp instead of being cut where only a bounded moment of it is left.
        ramping = self.session.machine.state is S.RAMP_DOWN
        return Permission(
            lease=lease,
            connect=grid.may_connect,
            energize=grid.may_transfer,
            idle=grid.may_idle and self.session.idle,
            transfer=(car_wants and view.insulated and view.in_c) or (ramping and view.in_c),
            car=view.in_c,
            tripped=self.faults.worst >= _TRIP,
        )

    # ---------------------------------------------------------------------------------------------- bookkeeping
    def _count_energy(self, now: float, view: View) -> None:
        """DC-side energy since this guard's boot (Wh), charge and discharge apart; an unknown power counts nothing."""
        last, self._last_energy_t = self._last_energy_t, now
        if last is None or view.v_dc_v is None or view.i_dc_a is None:
            return
        wh = view.v_dc_v * view.i_dc_a * min(now - last, n.DC_MAX_AGE_S) / 3600.0
        if wh > 0.0:
            self.charged_wh += wh
        else:
            self.discharged_wh -= wh

    def _note_down(self, readings: Readings) -> None:
        if not self.known.shutdown:
            self.down = False
            return
        mirrors = readings.pilot.mirrors
        opened = mirrors is None or not (mirrors.value.dc or mirrors.value.grid or mirrors.value.precharge)
        self.down = self.session.machine.state in AT_REST and opened
